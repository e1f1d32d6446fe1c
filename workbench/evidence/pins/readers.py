"""Trace text to a pin trace: ftrace, trace-cmd report, perf script and bpftrace lines.

Two passes in bounded memory: the text, plain or compressed, becomes records in an unnamed temporary file;
once the whole text has said where vmemmap begins, they are sorted, converted to pfns, balanced folio by
folio and written. What is wrong with a trace is collected in ``why``; a trace with a reason there is
written all the same, marked as incomplete.

Left out: perf trace (signed decimals, relative times) and the function tracer (no arguments before 6.15).
Where the text has no ``head`` field (bpftrace, short perf probes) a tail page's folio is unknown and the page
itself stands for it. On a kernel with HVO the fake head of a hugetlb folio counts as a head.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from workbench.evidence.pins._recording import Recording
from workbench.evidence.pins.trace import MAX_PFNS, TAKE, Trace, TraceWriter, check_output, counted, foll_pin
from workbench.model.errors import InputError, printable
from workbench.model.kernel.config import KernelConfig, kernel_version

_BLOCK_BYTES = 2 << 20
_HOPELESS_BYTES = 64 << 20  # a text without any event so far is given up: /dev/zero, a disk image; assumed
_LINE_BYTES = 1 << 20  # longer lines are dropped; assumed, far above any event
_BATCH_ROWS = 1 << 18  # of the second pass; a row group each. 12 MiB stay in the allocator's pool
_WINDOW_ROWS = 1 << 16  # rows that may be out of order and are still sorted; assumed
#: How far time may step back between lines. trace_pipe merges per-CPU rings nearly in order: 31 steps of up
#: to 3.9 ms in data/traces/ftrace-kprobe.A.full.txt.gz. Assumed: 1 s is another recording.
_BACKWARDS_NS = 1_000_000_000
#: KASLR moves vmemmap in steps of PUD_SIZE: kernel_randomize_memory(), arch/x86/mm/kaslr.c, v6.12.
_KASLR_STEP = 1 << 30

_BINARY = {
    b"PERFILE2": "perf.data; import the output of 'perf script'",
    b"\x17\x08Dtracing": "a trace.dat; import the output of 'trace-cmd report'",
    b"PAR1": "a Parquet file; traces are imported from text",
    b"\xfd7zXZ\x00": "compressed by xz; unpack it first",
    b"BZh": "compressed by bzip2; unpack it first",
}
_LOST = re.compile(
    rb"CPU:\d+ \[(?:LOST )?(?P<n>\d*) ?EVENTS(?: DROPPED)?\]$"  # ftrace, trace-cmd
    rb"|.*PERF_RECORD_LOST(?:_SAMPLES)? lost (?P<perf>\d+)|.*events and lost (?P<chunks>\d+) chunks"
    rb"|(?:WARNING: )?Lost (?P<bpf>\d+) events"
)
_OVERWRITTEN = re.compile(rb"# entries-in-buffer/entries-written: (\d+)/(\d+)")
_NO_EVENT = re.compile(rb"\s*$|#|cpus=\d+$|version = \d+$|Attach(?:ing|ed) \d+ probes?|<stack trace>$|\s*=> ")
_HINTS = (
    (rb"\(__probe_ip: ", "this is perf trace; import the output of 'perf script'"),
    (rb" <-\w+$", "this is the function tracer, which prints no arguments; record fprobe events"),
)


@dataclass
class _Found:
    """What the first pass learns about a text."""

    text: Path
    state: np.ndarray  # of parse_block
    why: list[str] = field(default_factory=list)
    nr_rows: int = 0
    lost: int = 0
    unparsed: int = 0
    first_unparsed: str = ""
    hint: str = ""
    is_report: bool = False
    lowest: int = 0  # pointers, signed
    highest: int = -1 << 63
    max_cpu: int = 0
    earliest_ns: int = 1 << 62
    latest_ns: int = -1
    reordered: int = 0
    back_ns: int = 0
    comms: tuple[str, ...] = ()

    def add(self, rows: np.ndarray) -> None:
        """What is needed of the records before the second pass."""
        self.nr_rows += len(rows)
        self.lowest = min(self.lowest, int(rows["page"].min()))
        self.highest = max(self.highest, int(rows["page"].max()))
        self.max_cpu = max(self.max_cpu, int(rows["cpu"].max()))
        self.earliest_ns = min(self.earliest_ns, int(rows["ts_ns"].min()))
        before = np.maximum.accumulate(np.concatenate([[self.latest_ns], rows["ts_ns"]]))
        back = before[:-1] - rows["ts_ns"]
        self.reordered += int(np.count_nonzero(back > 0))
        self.back_ns = max(self.back_ns, int(back.max()))
        self.latest_ns = int(before[-1])

    def odd_line(self, line: bytes, number: int) -> None:
        """A line that is no event: a notice of loss, a header, or unreadable."""
        if lost := _LOST.match(line):
            count = next((value for value in lost.groups() if value), None)
            self.lost += int(count) if count else 1  # "[LOST EVENTS]": the kernel does not know how many
        elif ring := _OVERWRITTEN.match(line):
            self.lost += max(0, int(ring[2]) - int(ring[1]))
        elif _NO_EVENT.match(line):
            self.is_report |= line.startswith(b"cpus=")
        else:
            self.bad_line(number, line[:200].decode("utf-8", "backslashreplace"))
            self.hint = self.hint or next((hint for rule, hint in _HINTS if re.search(rule, line)), "")

    @property
    def nr_events(self) -> int:
        """Lines that are an event of some tool, pins or not."""
        return int(self.state[_parser().FIRST_LINE + 1 :: 2].sum())

    @property
    def shown(self) -> str:
        """The first line that could not be read, for a message."""
        return f" ({self.first_unparsed})" if self.first_unparsed else ""

    def bad_line(self, number: int, said: str) -> None:
        """Count a line that cannot be read; the first is kept to show."""
        self.unparsed += 1
        self.first_unparsed = self.first_unparsed or f"line {number}: {printable(said, 120)}"


def import_text(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    vmemmap_base: int | str | None = None,
    kernel: str | None = None,
    end_pfn: int | None = None,
) -> dict[str, Any]:
    """Read trace text and write the pin trace that it holds.

    Parameters
    ----------
    path : path
        Text, plain, .gz or .zst; ``-`` is standard input; or a folder that ``record.sh`` made, whose
        counters then show whether anything was lost. A pipe is read to its end, and waited for while its
        writer is silent. What has no event in its first 64 MiB (/dev/zero) is refused.
    out : path
        The Parquet file to write; it appears whole or not at all.
    vmemmap_base : int or hexadecimal text, optional
        Where vmemmap begins. By default the trace's own ``vmemmap=`` events say it, else it is inferred.
    kernel : str, optional
        The release that recorded, such as ``"6.12.95"``, or a preset. It fixes FOLL_PIN, PG_head and
        sizeof(struct page). Assumed if absent: 6.6 or later on x86-64.
    end_pfn : int, optional
        The machine's last pfn plus 1.

    Returns
    -------
    dict
        ``complete`` is false, and ``why`` says why, where something is known to be missing. ``not_pins``
        are events without FOLL_PIN. ``gup_fast_known`` is false where the text does not say which pins came
        through gup_fast (bpftrace): they have the probe ``take``, and count as gup_fast's.

    Examples
    --------
    >>> from workbench.model.files import data_dir
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = import_text(data_dir() / "traces/bpftrace-pins.txt.gz", Path(folder, "pins.parquet"))
    >>> found["pins"], found["unpins"], found["unparsed"], found["complete"]
    (50696, 50696, 0, True)
    """
    text, out = Path(path), Path(out)
    with _as_input_error("read", text):
        recording = Recording.load(text) if text.is_dir() else None
        if recording:
            text = recording.text
            kernel, end_pfn = kernel or recording.kernel, end_pfn or recording.end_pfn
        if out.exists() and text.exists() and out.samefile(text):
            raise InputError("the output would overwrite the input", file=out)
    by_hand = _address(vmemmap_base)
    config, release = _kernel(kernel)
    with _as_input_error("written", out):
        check_output(out)
    with _as_input_error("written", out), tempfile.TemporaryFile(dir=out.parent) as spool:
        found = _to_records(text, spool, release, recording)
        kind = _one_kind(found)
        probes = _parser().PROBES
        if kind != "bpftrace":
            probes = tuple(name for name in probes if name != TAKE)  # the last one: codes stay
        base, source = _vmemmap_base(found, by_hand, config)
        with TraceWriter(
            out,
            max_pfn=min((found.highest - base) // config.sizeof_page, _nr_pfns(config, end_pfn) - 1),
            max_cpu=found.max_cpu,
            zstd_level=3,
        ) as writer:
            result = {
                **_to_rows(spool, found, writer, base, config, release, end_pfn, probes),
                "gup_fast_known": TAKE not in probes,
                "lost": found.lost,
                "unparsed": found.unparsed,
                "other_events": int(found.state[_parser().OTHER]),
                "reordered": found.reordered,
                "format": kind,
                "kernel": release,
                "vmemmap_base": _hex(base),
                "vmemmap_base_source": source,
            }
            if recording:
                result |= recording.check(result["balance"], found.why)
            result |= {"complete": not found.why, "why": found.why}
            meta = {key: value for key, value in result.items() if key != "format"}
            writer.meta.update(clock="ns since the first event", tool=kind, **meta)
    return result


def _parser() -> Any:
    from workbench.evidence.pins import _parse as parse

    return parse


def _kernel(kernel: str | None) -> tuple[KernelConfig, str | None]:
    if kernel is None or kernel_version(kernel) != (0, 0):
        return KernelConfig(), kernel
    config = KernelConfig.preset(kernel)
    return config, config.release


def _hex(address: int) -> str:
    return f"{address % 2**64:#x}"


def _address(value: int | str | None) -> int | None:
    """A 64-bit address as a signed number."""
    if isinstance(value, str):
        try:
            value = int(value, 16)
        except ValueError:
            raise InputError(f"vmemmap base {value!r} is not a hexadecimal number") from None
    if value is not None and not 0 <= value < 1 << 64:
        raise InputError(f"vmemmap base {value:#x} is not a 64-bit address")
    return value if value is None or value < 1 << 63 else value - (1 << 64)


@contextlib.contextmanager
def _as_input_error(done: str, file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot be {done} ({reason})", file=file) from None


# -- bytes to lines -----------------------------------------------------------------------------------------


def _pieces(text: Path, why: list[str], room: memoryview) -> Iterator[int]:
    """Put the text, unpacked, into `room`, piece by piece; the bytes there are now.

    Damage is said in `why`, and what came before it is kept.
    """
    with contextlib.ExitStack() as stack, _as_input_error("read", text):
        raw: Any = sys.stdin.buffer if str(text) == "-" else stack.enter_context(text.open("rb", buffering=0))
        file = io.BufferedReader(raw, 1 << 20)
        stack.callback(file.detach)  # standard input stays open
        start = file.peek(16)[:16]
        for magic, what in _BINARY.items():
            if start.startswith(magic):
                raise InputError(f"this is {what}", file=text)
        if start.startswith(b"\x1f\x8b"):
            unpacked = _unpack(file, lambda: zlib.decompressobj(31), 4 << 10, "gzip", why)
        elif start.startswith(b"\x28\xb5\x2f\xfd"):
            import zstandard

            # Steps this small bound what a hostile file can unpack to at once.
            unpacked = _unpack(file, zstandard.ZstdDecompressor().decompressobj, 1 << 10, "zstd", why)
        else:
            while size := file.readinto(room):
                yield size
            return
        size = 0
        for data in unpacked:
            while data:
                part = data[: len(room) - size]
                room[size : size + len(part)] = part
                size, data = size + len(part), data[len(part) :]
                if size == len(room):
                    yield size
                    size = 0
        if size:
            yield size


def _unpack(
    file: IO[bytes], fresh: Callable[[], Any], step: int, name: str, why: list[str]
) -> Iterator[bytes]:
    left, unpacker = b"", None
    while data := left or file.read(step):
        left = b""
        if unpacker is None:
            data = data.lstrip(b"\0")  # padding behind a member
            if not data:
                continue
            unpacker = fresh()
        try:
            yield unpacker.decompress(data)
        except Exception as error:  # zlib.error or ZstdError
            why.append(f"the {name} data are damaged ({error}); what came before is kept")
            return
        if unpacker.eof:
            left, unpacker = unpacker.unused_data, None
    if unpacker is not None:
        why.append(f"the {name} data end early; what came before is kept")


def _blocks(found: _Found) -> Iterator[tuple[bytearray, int, int]]:
    """Whole lines, a few MiB at a time: the buffer, and where in it they start and end.

    A line above 1 MiB and half a last line are counted and dropped.
    """
    line = _parser().LINE
    first = _LINE_BYTES  # a piece starts here, what is left of the one before lies in front of it
    buffer = bytearray(first + _BLOCK_BYTES + 8)
    start, long_bytes, nr_bytes = first, 0, 0
    for size in _pieces(found.text, found.why, memoryview(buffer)[first : first + _BLOCK_BYTES]):
        stop = first + size
        if long_bytes:
            end = buffer.find(b"\n", first, stop)
            long_bytes += (end if end >= 0 else stop) - first
            if end >= 0:
                found.state[line] += 1
                found.bad_line(int(found.state[line]), f"a line of {long_bytes:,} bytes")
                start, long_bytes = end + 1, 0
        if not long_bytes:
            end = buffer.rfind(b"\n", start, stop) + 1
            if end:
                yield buffer, start, end
                start = end
            rest = stop - start
            if rest > _LINE_BYTES:
                long_bytes = rest
            else:
                buffer[first - rest : first] = buffer[start:stop]
                start = first - rest
        nr_bytes += size
        if nr_bytes >= _HOPELESS_BYTES and not found.nr_events:
            raise InputError(
                f"no event of a known tool in its first {nr_bytes >> 20} MiB{found.shown}", file=found.text
            )
    if long_bytes or buffer[start:first].strip(b"\0\r\n\t "):
        found.bad_line(int(found.state[line]) + 1, "the last line is cut short (it has no newline)")


# -- lines to records ---------------------------------------------------------------------------------------


def _to_records(
    text: Path, spool: IO[bytes], release: str | None, recording: Recording | None
) -> _Found:
    """The first pass: every reference in the text as a record in `spool`."""
    parse = _parser()
    found = _Found(text, np.zeros(parse.NR_STATE, dtype=np.int64))
    state = found.state
    # PG_head is bit 6, and the order lies in the second page's flags, since commit ebc1baf5c9b4 ("mm: free up
    # a word in the first tail page", in v6.6); PG_head is bit 16 in v6.1 (include/linux/page-flags.h).
    new = not (0, 0) < kernel_version(release) < (6, 6)
    rows = np.empty(_BLOCK_BYTES // 64, dtype=parse.RECORD)
    odd = np.empty((4096, 3), dtype=np.int64)
    comms, table = np.zeros((1024, 3), dtype=np.int64), np.full(4096, -1, dtype=np.int32)
    for buffer, pos, end in _blocks(found):
        buf = np.frombuffer(buffer, dtype=np.uint8)
        while pos < end:
            if state[parse.NR_COMMS] == len(comms):
                comms = np.concatenate([comms, np.zeros_like(comms)])
                table = np.full(4 * len(comms), -1, dtype=np.int32)
                parse.fill_table(table, comms, int(state[parse.NR_COMMS]))
            pos, nr_rows, nr_odd = parse.parse_block(
                buf, pos, end, parse.NAMES, rows, odd, comms, table, state, 6 if new else 16, new
            )
            for first, last, number in odd[:nr_odd].tolist():
                found.odd_line(bytes(buffer[first:last]), number)
            if nr_rows:
                spool.write(rows[:nr_rows].view(np.uint8).data)
                found.add(rows[:nr_rows])
    names = comms[: state[parse.NR_COMMS]]
    found.comms = tuple(row[:2].tobytes()[: int(row[2])].decode("utf-8", "backslashreplace") for row in names)
    if found.lost:
        found.why.append(f"the tracer says that it lost {counted(found.lost, 'event', 'events')} or more")
    if found.unparsed:
        lines = counted(found.unparsed, "line", "lines")
        found.why.append(f"{lines} could not be read; the first is {found.first_unparsed}")
    if found.back_ns > _BACKWARDS_NS:
        found.why.append(f"time goes back by {found.back_ns / 1e9:.3f} s; are these several recordings?")
    if not found.nr_rows:
        what = found.hint or "known are ftrace, trace-cmd report, perf script and bpftrace lines"
        if recording and (found.nr_events or not found.unparsed):
            why = found.why + recording.objections({"acquired_refs": 0, "released_refs": 0})
            what = why[0] if why else "nothing was pinned meanwhile, and the kernel's counters agree"
            raise InputError(f"no pin event in it; {what}", file=text)
        raise InputError(f"no pin event in it; {what}{found.shown}", file=text)
    return found


def _one_kind(found: _Found) -> str:
    parse = _parser()
    first, events = found.state[parse.FIRST_LINE :: 2], found.state[parse.FIRST_LINE + 1 :: 2]
    seen = sorted((int(first[kind]), kind) for kind in range(len(parse.KINDS)) if events[kind])
    if len(seen) > 1:
        (_, one), (line, other) = seen[:2]
        raise InputError(
            f"a line of {parse.KINDS[other]} in a text of {parse.KINDS[one]}; import each tool's text alone",
            file=found.text,
            place=f"line {line}",
        )
    kind = seen[0][1]
    return parse.KINDS[parse.TRACE_CMD if found.is_report and kind == parse.FTRACE else kind]


# -- records to rows ----------------------------------------------------------------------------------------


def _nr_pfns(config: KernelConfig, end_pfn: int | None) -> int:
    """Pfns that the machine can have; 52 bits is what 5-level paging and 64K pages allow."""
    return min(end_pfn, MAX_PFNS) if end_pfn else 1 << (max(52, config.max_physmem_bits) - config.page_shift)


def _vmemmap_base(found: _Found, by_hand: int | None, config: KernelConfig) -> tuple[int, str]:
    """Where vmemmap begins, as a signed address, and who says so."""
    parse = _parser()
    if found.state[parse.NR_VMEMMAP_DIFFER]:
        raise InputError("its vmemmap= events differ; are these traces of several boots?", file=found.text)
    own = int(found.state[parse.VMEMMAP]) if found.state[parse.NR_VMEMMAP] else None
    if by_hand is not None:
        if own not in (None, by_hand):
            raise InputError(
                f"vmemmap base {_hex(by_hand)} was given, but its own events say {_hex(own)}",
                file=found.text,
            )
        return by_hand, "by hand"
    if own is not None:
        return own, "trace"
    if config.arch != "x86_64":
        raise InputError(
            f"the vmemmap base of {config.arch} cannot be inferred; give it, or record a vmemmap= event",
            file=found.text,
        )
    return _inferred(found), "inferred"


def _inferred(found: _Found) -> int:
    """The lowest pointer, down to KASLR's step: right if one of the pages lies below 64 GiB."""
    return found.lowest // _KASLR_STEP * _KASLR_STEP


def _in_order(spool: IO[bytes], found: _Found) -> Iterator[np.ndarray]:
    """The records in batches, sorted by time within a sliding window; ties keep the text's order.

    A batch is overwritten by the next one.
    """
    spool.seek(0)
    rows = np.empty(_WINDOW_ROWS + _BATCH_ROWS, dtype=_parser().RECORD)
    kept, last, more = 0, None, True
    while more:
        new = spool.readinto(rows[kept : kept + _BATCH_ROWS].view(np.uint8)) // rows.itemsize  # type: ignore
        more = new == _BATCH_ROWS
        here = rows[: kept + new]
        if found.reordered:
            order = np.argsort(here["ts_ns"], kind="stable")
            moved = np.flatnonzero(order != np.arange(len(order)))  # few, and moving a record is slow
            here[moved] = here[order[moved]]
        cut = max(0, len(here) - _WINDOW_ROWS) if more else len(here)
        if cut and last is not None and here["ts_ns"][0] < last:
            reason = f"events are more than {_WINDOW_ROWS:,} lines out of order"
            found.why.extend([reason] if reason not in found.why else [])
        if cut:
            last = here["ts_ns"][cut - 1]
            yield here[:cut]
        kept = len(here) - cut
        rows[:kept] = here[cut:].copy()


class _Balance:
    """References held, folio by folio; memory grows with distinct folios only."""

    def __init__(self) -> None:
        self.keys = np.full(1 << 16, -1, dtype=np.int64)
        self.counts = np.zeros(1 << 16, dtype=np.int64)
        self.folios = self.acquired = self.released = self.negative = 0

    def add(self, folio: np.ndarray, change: np.ndarray) -> None:
        for start in range(0, len(folio), 1 << 15):
            part = slice(start, start + (1 << 15))
            if 2 * (self.folios + (1 << 15)) > len(self.keys):
                keys, counts = np.full(2 * len(self.keys), -1, dtype=np.int64), np.tile(self.counts * 0, 2)
                _parser().rehash(self.keys, self.counts, keys, counts)
                self.keys, self.counts = keys, counts
            new, negative = _parser().add_counts(folio[part], change[part], self.keys, self.counts)
            self.folios += new
            self.negative += negative
        self.acquired += int(change[change > 0].sum())
        self.released -= int(change[change < 0].sum())

    def result(self) -> dict[str, int]:
        return {
            "acquired_refs": self.acquired,
            "released_refs": self.released,
            "outstanding": int(self.counts.sum()),
            "negative": self.negative,
        }


def _to_rows(
    spool: IO[bytes],
    found: _Found,
    writer: TraceWriter,
    base: int,
    config: KernelConfig,
    release: str | None,
    end_pfn: int | None,
    probes: tuple[str, ...],
) -> dict[str, Any]:
    """The second pass: pointers to pfns, the balance, and the Parquet file."""
    parse = _parser()
    size, pin_bit, nr_pfns = config.sizeof_page, foll_pin(release), _nr_pfns(config, end_pfn)
    balance, nr, nr_bad = _Balance(), {1: 0, -1: 0}, 0
    for rows in _in_order(spool, found):
        page, head = rows["page"] - base, rows["folio"] - base
        good = (page >= 0) & (page < nr_pfns * size) & (page % size == 0)
        good &= (head >= 0) & (head <= page) & (page - head < parse.MAX_FOLIO) & (head % size == 0)
        if not good.all():
            nr_bad += int(np.count_nonzero(~good))
            rows, page, head = rows[good], page[good], head[good]
        op = np.where(rows["probe"] == parse.PROBES.index("put"), -1, 1).astype(np.int8)
        is_pin = (rows["gup_flags"] & np.uint32(pin_bit)) != 0
        for sign in nr:
            nr[sign] += int(np.count_nonzero(op[is_pin] == sign))
        balance.add((head // size)[is_pin], (rows["nr"] * op.astype(np.int64))[is_pin])
        as_they_are: dict[str, Any] = {
            name: rows[name] for name in ("cpu", "pid", "comm", "nr", "order", "gup_flags")
        }
        writer.write(
            Trace(
                **as_they_are,
                ts_ns=rows["ts_ns"] - found.earliest_ns,
                op=op,
                probe=rows["probe"].astype(np.int32),
                pfn=page // size,
                head_off=(page - head) // size,
                comm_names=found.comms,
                probe_names=probes,
            )
        )
    if 2 * nr_bad > found.nr_rows:
        fits = _inferred(found)
        raise InputError(
            f"vmemmap base {_hex(base)} puts {nr_bad:,} of {found.nr_rows:,} pages outside pfns "
            f"0..{nr_pfns:#x} or between two struct pages"
            + (f"; {_hex(fits)} is what the lowest pointer suggests" if fits != base else ""),
            file=found.text,
        )
    held, why = balance.result(), found.why
    if nr_bad:
        dropped = counted(nr_bad, "event was dropped: its page lies", "events were dropped: their pages lie")
        why.append(f"{dropped} outside pfns 0..{nr_pfns:#x}")
    if not nr[1] and not nr[-1]:
        why.append(
            f"no event has FOLL_PIN ({pin_bit:#x}); is the kernel release {release or 'unknown'} right?"
        )
    if held["negative"]:
        dropped = counted(held["negative"], "reference was", "references were")
        why.append(f"{dropped} dropped that nobody had taken")
    if held["outstanding"]:
        still = counted(held["outstanding"], "reference is", "references are")
        why.append(f"{still} still held at the end: releases lost, or yet to come")
    events = found.nr_rows - nr_bad
    return {
        "events": events,
        "pins": nr[1],
        "unpins": nr[-1],
        "not_pins": events - nr[1] - nr[-1],
        "balance": held,
    }
