"""Pin traces made from a seed and a few numbers: for what-ifs larger than any recording.

A `Pattern` is a machine and some `Stream`s. A stream keeps ``queue_depth`` requests going, as fio does: a
slot of the queue pins a buffer of its own, holds it for a lognormal lifetime, drops it, rests, and goes on
to the slot's next buffer, round and round. All queues fill at time 0. One row for each page taken, or for
each folio of order 9 and more, and one for each folio dropped (gup_fast_pte_range, gup_fast_pmd_leaf and
unpin_user_pages in mm/gup.c, v6.12). The same pattern gives the same rows whatever the size of the batches.

`measure` reads such numbers off a trace, and `Pattern.like` makes its twin. The twins of the two shipped
traces agree with them in rows, rate, references, distinct folios and mean run length within 5 %, in median
lifetime and peak of live folios within 10 %, in the shares of orders within one point
(tests/pins/test_synthetic.py). All of that is meant without folios that stay pinned to the end for want of a
release: a twin loses nothing, so that its replay peaks far below that of a trace that lost releases (about
900 live folios; pins-mixed-lossy-kprobe has 1,864, and 858 without those). Other quantiles of the lifetime
are off, the outer ones by up to 80 %.

Left out: bursts and idle times of a whole workload, the spread of request and run sizes within a stream,
migration of CPUs, pages that two streams share, several pins of one folio of order 9 at a time by chance,
failed pins, and the two rows that the slow path takes for one folio of order 9 (one row here). A synthetic
trace names no kernel; its flags are those of 6.12.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from workbench.evidence._jit import jit
from workbench.evidence.pins.trace import _TYPES, BATCH_ROWS, Trace, TraceWriter
from workbench.model.errors import InputError

_jit = jit()
# The FOLL_ flags, as pins-fio and pins-mixed-lossy-kprobe show them (6.12.95).
_PIN, _WRITE, _LONGTERM, _TOUCH, _UNLOCKABLE = 0x80000, 0x1, 0x100, 0x10000, 0x200000
_PMD_ORDER = 9  # x86-64 with 4 KiB pages: below, gup takes page by page
_COMM_BYTES = 16  # TASK_COMM_LEN, include/linux/sched.h, v6.12
_PROBES = ("grab_fast", "grab", "put")
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SOON = 3  # rows of one request are at most so many median times apart; assumed
_MOST_ROWS = 1 << 30  # 45 GiB; assumed
#: Who runs when an interrupt drops a pin: idle, else ksoftirqd, else the process. Idle and process as in
#: pins-fio (46 and 45 %); the rest there was many others.
_IDLE_SHARE, _KSOFTIRQD_SHARE = 0.46, 0.09


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Requests of one kind, by one process.

    Parameters
    ----------
    name : str
        The process's name, at most 15 bytes.
    request_pages : int
        Base pages that a request pins; of a registration: that are registered in one go.
    queue_depth : int
        Requests at the same time, each with its own share of the footprint.
    footprint_pages : int
        Base pages of all buffers together.
    requests_per_s : float or None
        Requests started in a second, all slots together; None of a registration.
    lifetime_ns : float or None
        Median time from pinning to dropping a page; None: a registration, the footprint is pinned
        once and held until the end.
    lifetime_sigma : float
        Standard deviation of the logarithm of the lifetime; 0: all the same.
    buffer_pages : int
        Base pages from one buffer to the next, where that is more than request_pages.
    run_pages : float
        Mean length of the physically contiguous pieces that the footprint lies in, in base pages.
    order : int
        log2 of the base pages of its folios.
    longterm, fast : bool
        FOLL_LONGTERM; whether GUP-fast takes the pages. Long-term pins are dropped by the process itself,
        others by interrupts.
    row_ns : int
        Time from one row of a request to the next. 1000: assumed; 2000 in the emulated 6.12 guests.
    """

    name: str
    request_pages: int
    queue_depth: int
    footprint_pages: int
    requests_per_s: float | None = None
    lifetime_ns: float | None = None
    lifetime_sigma: float = 0.0
    buffer_pages: int = 1
    run_pages: float = 1.0
    order: int = 0
    longterm: bool = False
    fast: bool = True
    row_ns: int = 1000

    def __post_init__(self) -> None:
        where = f"stream {self.name!r}"
        if not isinstance(self.name, str) or not 0 < len(self.name.encode(errors="replace")) < _COMM_BYTES:
            raise InputError(f"name {self.name!r} must be text of 1 to {_COMM_BYTES - 1} bytes", place=where)
        _check_numbers(self, where, {
            "request_pages": (1, 2**31 - 1), "queue_depth": (1, 2**20), "footprint_pages": (1, 2**31),
            "requests_per_s": (1e-9, 1e9), "lifetime_ns": (1, 1e17), "lifetime_sigma": (0, 5),
            "buffer_pages": (1, 2**31 - 1), "run_pages": (1, 2**31), "order": (0, 30), "row_ns": (0, 10**9),
        })  # fmt: skip
        if (self.requests_per_s is None) != (self.lifetime_ns is None):
            raise InputError("requests_per_s and lifetime_ns: both, or none for a registration", place=where)
        if self.footprint_pages < self.queue_depth * self.request_pages:
            raise InputError(
                f"footprint_pages {self.footprint_pages} is less than queue_depth x request_pages = "
                f"{self.queue_depth * self.request_pages}; each request in flight has its own buffer",
                place=where,
            )
        if self.gap_ns < 0:
            raise InputError(
                f"requests_per_s {self.requests_per_s:g} is more than queue_depth {self.queue_depth} can do "
                f"at {self._busy_ns:.0f} ns a request; at most {self.queue_depth * 1e9 / self._busy_ns:.0f}",
                place=where,
            )

    @property
    def held(self) -> bool:
        """Whether it is a registration, held until the end."""
        return self.lifetime_ns is None

    @property
    def stride_pages(self) -> int:
        """Base pages from one buffer of a slot to its next; a registration takes every page."""
        return self.request_pages if self.held else max(self.request_pages, self.buffer_pages)

    @property
    def mean_pages(self) -> float:
        """Base pages of the average request; the last buffer in a slot's share may be short."""
        share = self.footprint_pages / self.queue_depth
        whole, rest = divmod(share, self.stride_pages)
        return (whole * self.request_pages + min(rest, self.request_pages)) / (whole + (rest > 0))

    def requests_in(self, seconds: float) -> float:
        """Requests started, about: a queue that fills at once is half a request a slot ahead of its rate."""
        if self.requests_per_s is None:
            return self.footprint_pages / self.mean_pages
        return self.requests_per_s * seconds + self.queue_depth / 2

    @property
    def rows_per_request(self) -> tuple[float, float]:
        """Rows that take and rows that drop the pages of the average request; approximate for order > 0."""
        drops = max(1.0, self.mean_pages / (1 << self.order))
        return (self.mean_pages if self.order < _PMD_ORDER else drops), drops

    @property
    def gap_ns(self) -> float:
        """Mean rest of a slot between two requests; it follows from rate, depth and lifetime."""
        if self.requests_per_s is None:
            return 0.0
        return self.queue_depth * 1e9 / self.requests_per_s - self._busy_ns

    @property
    def _busy_ns(self) -> float:
        """Mean time from a request's first row past its last: E[max(lifetime, taking it)] + dropping it."""
        takes, drops = (self.row_ns * rows for rows in self.rows_per_request)
        if self.lifetime_ns is None:
            return takes
        mu, sigma = math.log(self.lifetime_ns), self.lifetime_sigma
        if sigma == 0 or takes == 0:
            return max(self.lifetime_ns * math.exp(sigma * sigma / 2), takes) + drops
        x = (math.log(takes) - mu) / sigma
        cdf = NormalDist().cdf
        return takes * cdf(x) + self.lifetime_ns * math.exp(sigma * sigma / 2) * cdf(sigma - x) + drops


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Streams on a machine.

    Parameters
    ----------
    streams : tuple of Stream
        They share no page.
    seconds : float
        After this no request starts; what is pinned then is still dropped.
    first_pfn, end_pfn : int
        Where pages may lie; the default is 32 GiB from 4 GiB on.
    release_at_end : bool
        Whether registrations are dropped at the end, or left outstanding.

    Examples
    --------
    >>> trace = generate(storage(seconds=0.01) + gpu(nr_pages=1024))
    >>> int(trace.op[trace.is_pin] @ trace.nr[trace.is_pin])    # all that was pinned is dropped
    0
    """

    name: str
    streams: tuple[Stream, ...]
    seconds: float
    first_pfn: int = 1 << 20
    end_pfn: int = 9 << 20
    nr_cpus: int = 8
    seed: int = 0
    release_at_end: bool = True

    def __post_init__(self) -> None:
        where = f"pattern {self.name!r}"
        _check_numbers(self, where, {
            "seconds": (1e-9, 1e9), "first_pfn": (0, 2**52), "end_pfn": (1, 2**52), "nr_cpus": (1, 2**15),
            "seed": (0, 2**64 - 1),
        })  # fmt: skip
        if not 0 < len(self.streams) < 2**15:
            raise InputError(f"{len(self.streams)} streams; 1 to 32767 are needed", place=where)
        self._layout()

    def __add__(self, other: Pattern) -> Pattern:
        """Both at once, for the longer time, on the larger machine, with the first one's seed."""
        return replace(
            self,
            name=f"{self.name}+{other.name}",
            streams=self.streams + other.streams,
            seconds=max(self.seconds, other.seconds),
            first_pfn=min(self.first_pfn, other.first_pfn),
            end_pfn=max(self.end_pfn, other.end_pfn),
            nr_cpus=max(self.nr_cpus, other.nr_cpus),
            release_at_end=self.release_at_end and other.release_at_end,
        )

    @property
    def expected_rows(self) -> float:
        """Rows that the pattern gives, about."""
        return sum(self._rows(stream, self.seconds) for stream in self.streams)

    def lasting(self, nr_rows: float) -> Pattern:
        """The same, for the time that gives about `nr_rows` rows."""
        once = sum(self._rows(stream, 0) for stream in self.streams)
        per_s = sum(self._rows(stream, 1) for stream in self.streams) - once
        if per_s == 0 or nr_rows <= once:
            raise InputError(
                f"{nr_rows:.0f} rows: it gives {once:.0f} however short it is, and {per_s:.0f} a second",
                place=f"pattern {self.name!r}",
            )
        return replace(self, seconds=(nr_rows - once) / per_s)

    def _rows(self, stream: Stream, seconds: float) -> float:
        takes, drops = stream.rows_per_request
        return stream.requests_in(seconds) * (takes + drops * (self.release_at_end or not stream.held))

    @classmethod
    def like(cls, trace: Trace, *, seed: int = 0) -> Pattern:
        """The twin of a trace: one stream for each kind of folio that `measure` finds.

        Depth is what was live when the trace's live folios peaked, and never less than rate and mean
        lifetime need. Spread is chosen so that median and mean lifetime are right, not the quantiles.
        """
        found = measure(trace)
        known = [kind for kind in found["kinds"] if kind["lifetime_ns"] or trace.complete]
        if not known:
            raise InputError("no pin in it is dropped: no lifetime is known", file=trace.name)
        # Neighbours of different kinds make the runs of the whole longer than those of the kinds.
        nr_runs = sum(kind["distinct_folios"] / kind["mean_run_folios"] for kind in known)
        longer = found["mean_run_folios"] * nr_runs / sum(kind["distinct_folios"] for kind in known)
        streams = tuple(_stream_like(kind, found["seconds_taking"], longer) for kind in known)
        first, end = found["first_pfn"], found["end_pfn"]
        end = max(end, first + 4 * sum(stream.footprint_pages + (1 << stream.order) for stream in streams))
        return cls(
            name=f"like {trace.name}", streams=streams, seconds=found["seconds_taking"], seed=seed,
            first_pfn=first, end_pfn=end, nr_cpus=found["nr_cpus"],
            release_at_end=found["outstanding_folios"] == 0 or not trace.complete,
        )  # fmt: skip

    def _layout(self) -> list[tuple[int, int, int, int]]:
        """For each stream: pfn of its zone, folios, pieces, folios from one piece's place to the next."""
        shapes = []
        for stream in self.streams:
            nr_folios = -(-stream.footprint_pages >> stream.order)
            nr_pieces = min(max(round(stream.footprint_pages / stream.run_pages), 1), nr_folios)
            shapes.append((nr_folios, nr_pieces))
        needs = [
            ((-(-nr // pieces) + 1) * pieces + 2) << stream.order  # a gap after each piece; alignment
            for stream, (nr, pieces) in zip(self.streams, shapes, strict=True)
        ]
        whole, span = sum(needs), self.end_pfn - self.first_pfn
        if span < whole:
            raise InputError(
                f"pfn {self.first_pfn:#x} to {self.end_pfn:#x} are {span} pages; the footprints need "
                f"{whole}, with a gap after each piece",
                place=f"pattern {self.name!r}",
            )
        found, before = [], 0
        for stream, need, (nr_folios, nr_pieces) in zip(self.streams, needs, shapes, strict=True):
            first = -(-(self.first_pfn + span * before // whole) >> stream.order)
            before += need
            end = (self.first_pfn + span * before // whole) >> stream.order
            found.append((first << stream.order, nr_folios, nr_pieces, (end - first) // nr_pieces))
        return found


def storage(
    *, iops: float = 200_000, queue_depth: int = 32, request_pages: int = 1, seconds: float = 1.0,
    seed: int = 0,
) -> Pattern:  # fmt: skip
    """O_DIRECT of one process: short lives, few buffers, all of them used again and again.

    Lifetimes are assumed, as an NVMe drive answers: median 80 us, sigma 0.5.
    """
    stream = Stream(
        name="fio", request_pages=request_pages, queue_depth=queue_depth, requests_per_s=iops,
        footprint_pages=queue_depth * request_pages, lifetime_ns=80_000, lifetime_sigma=0.5, row_ns=100,
        run_pages=min(16, queue_depth * request_pages),
    )  # fmt: skip
    return Pattern(name="storage", streams=(stream,), seconds=seconds, seed=seed)


def mixed(*, seconds: float = 1.0, seed: int = 0) -> Pattern:
    """Direct I/O into folios of orders 0, 4 and 9, process_vm_readv, and a registration; numbers assumed."""
    common: dict[str, Any] = {"lifetime_sigma": 1.0, "row_ns": 100}
    streams = (
        Stream(name="db", request_pages=4, queue_depth=64, footprint_pages=1 << 16, requests_per_s=50_000,
               lifetime_ns=200_000, run_pages=14, **common),
        Stream(name="copy", request_pages=16, queue_depth=16, footprint_pages=1 << 15, requests_per_s=10_000,
               lifetime_ns=300_000, run_pages=64, order=4, **common),
        Stream(name="qemu", request_pages=64, queue_depth=32, footprint_pages=1 << 18, requests_per_s=20_000,
               lifetime_ns=300_000, run_pages=2048, order=9, **common),
        Stream(name="gdb", request_pages=8, queue_depth=1, footprint_pages=1 << 12, requests_per_s=5_000,
               lifetime_ns=20_000, run_pages=4, fast=False, **common),
        Stream(name="uring", request_pages=16, queue_depth=1, footprint_pages=4096, run_pages=32,
               longterm=True, fast=False, row_ns=100),
    )  # fmt: skip
    return Pattern(name="mixed", streams=streams, seconds=seconds, seed=seed)


def rdma(
    *, regions: int = 16, region_pages: int = 1 << 14, order: int = 0, lifetime_ns: float = 2e9,
    seconds: float = 10.0, seed: int = 0,
) -> Pattern:  # fmt: skip
    """Memory regions, pinned page by page, held for seconds, dropped folio by folio by their owner.

    ib_umem_get takes 512 pages a call, __ib_umem_release drops them with unpin_user_page_range_dirty_lock
    (drivers/infiniband/core/umem.c, v6.12). Times and sizes are assumed.
    """
    stream = Stream(
        name="rdma", request_pages=region_pages, queue_depth=regions,
        requests_per_s=regions * 1e9 / (3 * lifetime_ns),
        footprint_pages=2 * regions * region_pages, lifetime_ns=lifetime_ns, lifetime_sigma=0.5, row_ns=200,
        run_pages=max(16, 4 << order), order=order, longterm=True,
    )  # fmt: skip
    return Pattern(name="rdma", streams=(stream,), seconds=seconds, seed=seed)


def gpu(
    *, nr_pages: int = 1 << 20, order: int = 9, run_pages: float = 2048, seconds: float = 1.0, seed: int = 0
) -> Pattern:
    """One buffer registered for a GPU and held: 4 GiB in folios of 2 MiB; run_pages is assumed.

    The capture h100-128g-6.18 pinned as many pages, but in folios of order 0 and runs of 952 pages on
    average (new anonymous pages, kpageflags.pinned less .before), in 0.72 s, 685 ns a page (pins.json):
    ``gpu(order=0, run_pages=952)``.
    """
    row_ns = 685 << order if order >= _PMD_ORDER else 685
    stream = Stream(
        name="cuda", request_pages=min(512, nr_pages), queue_depth=1, footprint_pages=nr_pages,
        run_pages=run_pages, order=order, longterm=True, fast=False, row_ns=row_ns,
    )  # fmt: skip
    return Pattern(name="gpu", streams=(stream,), seconds=seconds, seed=seed)


def generate(pattern: Pattern) -> Trace:
    """The whole trace in memory, about 45 bytes a row; for more see `batches` and `write`."""
    if pattern.expected_rows > _MOST_ROWS:
        raise InputError(
            f"about {pattern.expected_rows:.3g} rows do not go into memory, at most {_MOST_ROWS} do; "
            "use batches() or write()",
            place=f"pattern {pattern.name!r}",
        )
    found = list(batches(pattern, rows=int(1.02 * pattern.expected_rows) + 10_000))
    if len(found) == 1:  # the rule; what is not written of the arrays takes no memory
        return found[0]
    columns: dict[str, Any] = {c: np.concatenate([getattr(b, c) for b in found]) for c in _TYPES}
    return replace(found[-1], **columns)


def write(pattern: Pattern, path: str | os.PathLike[str], *, zstd_level: int = 6) -> Path:
    """Write the trace to Parquet; memory does not grow with it."""
    with TraceWriter(
        path, max_pfn=pattern.end_pfn - 1, max_cpu=pattern.nr_cpus - 1, zstd_level=zstd_level
    ) as writer:
        for batch in batches(pattern):
            writer.write(batch)
        writer.meta.update(_meta(pattern))
    return Path(path)


def batches(pattern: Pattern, rows: int = BATCH_ROWS) -> Iterator[Trace]:
    """The trace in pieces of at most `rows` rows; joined, they are the same for every `rows`."""
    if rows < 1:
        raise InputError(f"rows {rows} must be 1 or more")
    table, slots = _tables(pattern), _slots(pattern)
    heap_ns, heap = np.zeros(len(slots), np.int64), np.arange(len(slots))  # all due at 0: a valid heap
    size = np.array([len(slots)])
    rng = np.random.Generator(np.random.PCG64(pattern.seed))
    processes = tuple(dict.fromkeys(s.name for s in pattern.streams))
    idle = len(processes)
    names = (*processes, "<idle>", *(f"ksoftirqd/{cpu}" for cpu in range(pattern.nr_cpus)))
    ends = (round(pattern.seconds * 1e9), pattern.release_at_end)
    pfn_type = np.uint64 if pattern.end_pfn > 1 << 32 else np.uint32
    cpu_type = np.uint16 if pattern.nr_cpus > 1 << 8 else np.uint8
    while True:
        out = {c: np.empty(rows, t) for c, t in zip(_TYPES, _OUT_TYPES, strict=True)}
        nr = _run(rng, *table, slots, heap_ns, heap, size, *ends, pattern.nr_cpus, idle, *out.values())
        if nr == 0:
            return
        columns: dict[str, Any] = {c: values[:nr] for c, values in out.items()}
        columns["pfn"] = columns["pfn"].astype(pfn_type)
        columns["cpu"] = columns["cpu"].astype(cpu_type)
        yield Trace(**columns, comm_names=names, probe_names=_PROBES, meta=_meta(pattern), name=pattern.name)


def _meta(pattern: Pattern) -> dict[str, Any]:
    return {"synthetic": True, "pattern": asdict(pattern), "seed": pattern.seed}


def _check_numbers(what: Any, where: str, limits: dict[str, tuple[float, float]]) -> None:
    for name, (low, high) in limits.items():
        value, kind = getattr(what, name), {f.name: str(f.type) for f in fields(what)}[name]
        if value is None and "None" in kind:
            continue
        whole = kind == "int"
        good = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not good or not low <= value <= high:
            rule = f"{name} {value!r} must be a {'whole ' * whole}number from {low:g} to {high:g}"
            raise InputError(rule, place=where)


# Columns of the tables that the loop reads, and the types it writes.
(_ORDER, _REQUEST, _BUFFER, _FIRST, _FOLIOS, _PIECES, _STRIDE, _STEP, _ROW, _HELD, _FAST, _FLAGS, _OWN) = (
    range(13)
)
_MU, _SIGMA, _GAP = range(3)
(_STREAM, _LOW, _HIGH, _AT, _NR, _DONE, _PHASE, _DUE, _CPU) = range(9)  # of a slot
_LONG_NS = 10**18  # far above, and sums of a few still fit into int64
_IDLE, _TAKE, _DROP, _FULL = range(4)  # its phase; _FULL: all of a registration is taken
_OUT_TYPES = (
    np.int64, np.int64, np.int32, np.int32, np.int8, np.int32, np.int64, np.int32, np.int8, np.uint32,
    np.int32,
)  # fmt: skip


def _tables(pattern: Pattern) -> tuple[np.ndarray, np.ndarray]:
    processes = list(dict.fromkeys(s.name for s in pattern.streams))
    whole, real = [], []
    for stream, (first, nr_folios, nr_pieces, stride) in zip(pattern.streams, pattern._layout(), strict=True):
        step = round(nr_pieces * 0.618)  # neighbours in the footprint lie far apart, each piece somewhere
        while math.gcd(step, nr_pieces) > 1:
            step += 1
        flags = _PIN | _WRITE | _LONGTERM * stream.longterm | (not stream.fast) * (_TOUCH | _UNLOCKABLE)
        whole.append((stream.order, stream.request_pages, stream.stride_pages, first,
                      nr_folios, nr_pieces, stride, step, stream.row_ns,
                      stream.held, stream.fast, flags, processes.index(stream.name)))  # fmt: skip
        real.append((math.log(stream.lifetime_ns or 1), stream.lifetime_sigma, min(stream.gap_ns, _LONG_NS)))
    return np.array(whole, np.int64), np.array(real, np.float64)


def _slots(pattern: Pattern) -> np.ndarray:
    found: list[tuple[int, ...]] = []
    for nr, stream in enumerate(pattern.streams):
        depth, pages = stream.queue_depth, stream.footprint_pages
        for i in range(depth):
            low, high = i * pages // depth, (i + 1) * pages // depth
            found.append((nr, low, high, low, 0, 0, _IDLE, 0, len(found) % pattern.nr_cpus))
    return np.array(found, np.int64)


@_jit
def _run(
    rng, streams, reals, slots, heap_ns, heap, size, end_ns, release_at_end, nr_cpus, idle,
    ts_ns, cpu, pid, comm, op, probe, pfn, nr, order, gup_flags, head_off,
):  # fmt: skip
    """Fill the arrays with the next rows; returns how many. All state is in the slots, the heap and rng."""
    row = 0
    while row < len(ts_ns) and size[0]:
        now, slot = heap_ns[0], slots[heap[0]]
        stream, real = streams[slot[_STREAM]], reals[slot[_STREAM]]
        if slot[_PHASE] == _FULL:
            slot[_PHASE], slot[_AT] = _DROP, slot[_LOW]
            slot[_NR] = min(stream[_REQUEST], slot[_HIGH] - slot[_AT])
        elif slot[_PHASE] == _IDLE:
            if now >= end_ns and not stream[_HELD]:
                _next_due(heap_ns, heap, size, -1)
                continue
            slot[_NR] = min(stream[_REQUEST], slot[_HIGH] - slot[_AT])
            life_ns = np.exp(real[_MU] + real[_SIGMA] * rng.standard_normal())
            slot[_DUE] = now + np.int64(min(max(life_ns, 1), _LONG_NS))
            slot[_PHASE] = _TAKE

        take = slot[_PHASE] == _TAKE
        page = slot[_AT] + slot[_DONE]
        folio_pages = np.int64(1) << stream[_ORDER]
        sub = page & (folio_pages - 1)
        step = min(slot[_NR] - slot[_DONE], folio_pages - sub)
        if take and stream[_ORDER] < 9:  # _PMD_ORDER
            step = np.int64(1)
        head = _folio(stream, page >> stream[_ORDER])
        tail = sub if take and stream[_FAST] else np.int64(0)
        ts_ns[row], op[row], nr[row] = now, 1 if take else -1, step
        pfn[row], head_off[row] = head + tail, tail
        order[row] = -1 if tail else stream[_ORDER]
        probe[row] = 2 if not take else 0 if stream[_FAST] else 1
        gup_flags[row] = stream[_FLAGS] if take else 0x80000  # _PIN
        cpu[row], comm[row], pid[row] = slot[_CPU], stream[_OWN], 1000 + stream[_OWN]
        if not take and not stream[_FLAGS] & 0x100:  # _LONGTERM
            cpu[row] = np.int64(rng.random() * nr_cpus)
            who = rng.random()
            if who < _IDLE_SHARE:
                comm[row], pid[row] = idle, 0
            elif who < _IDLE_SHARE + _KSOFTIRQD_SHARE:
                comm[row], pid[row] = idle + 1 + cpu[row], 10 + cpu[row]
        row += 1

        slot[_DONE] += step
        due = now + stream[_ROW]
        if slot[_DONE] == slot[_NR]:  # the request is taken or dropped
            slot[_DONE] = 0
            slot[_PHASE] = _IDLE
            if take and not stream[_HELD]:
                slot[_PHASE] = _DROP
                due = max(due, slot[_DUE])
            else:
                slot[_AT] += stream[_BUFFER]
                if not stream[_HELD]:
                    due += np.int64(2 * real[_GAP] * rng.random())
                    if slot[_AT] >= slot[_HIGH]:
                        slot[_AT] = slot[_LOW]
                elif slot[_AT] < slot[_HIGH]:
                    slot[_PHASE] = _IDLE if take else _DROP
                    slot[_NR] = min(stream[_REQUEST], slot[_HIGH] - slot[_AT])
                elif take and release_at_end:
                    slot[_PHASE] = _FULL
                    due = max(due, end_ns)
                else:
                    due = -1
        _next_due(heap_ns, heap, size, due)
    return row


@_jit
def _folio(stream, index):
    """Head pfn of a stream's folio: piece by piece, each at a pseudo-random place within its stride."""
    nr_folios, nr_pieces = stream[_FOLIOS], stream[_PIECES]
    piece = index * nr_pieces // nr_folios
    within = index - -(-piece * nr_folios // nr_pieces)
    place = piece * stream[_STEP] % nr_pieces
    room = min(stream[_STRIDE] - -(-nr_folios // nr_pieces), 1 << 31)  # at least 1: pieces do not touch
    shift = ((place + 1) * 0x9E3779B1 & 0xFFFFFFFF) * room >> 32
    return stream[_FIRST] + (place * stream[_STRIDE] + shift + within << stream[_ORDER])


@_jit
def _next_due(heap_ns, heap, size, due):
    """Give the first of the heap its next time, or take it out where that is negative; ties by slot."""
    if due < 0:
        size[0] -= 1
        due, slot = heap_ns[size[0]], heap[size[0]]
    else:
        slot = heap[0]
    at, last = 0, size[0]
    while 2 * at + 1 < last:
        child = 2 * at + 1
        right = child + 1
        if right < last and (heap_ns[right], heap[right]) < (heap_ns[child], heap[child]):
            child = right
        if (due, slot) <= (heap_ns[child], heap[child]):
            break
        heap_ns[at], heap[at] = heap_ns[child], heap[child]
        at = child
    heap_ns[at], heap[at] = due, slot


def measure(trace: Trace) -> dict[str, Any]:
    """Read the parameters of a pattern off a trace's pins.

    A folio lives from when its count leaves 0 until it is 0 again. Lives that do not end give no lifetime;
    of a trace that is known to be incomplete they are left out altogether (a lost unpin, not a long pin), of
    another they count as live. Where no row knows a folio's order, it is the least that holds its rows.

    Returns
    -------
    dict
        rows, refs (base pages pinned), seconds, seconds_taking (until the last row that pins), rows_per_s,
        nr_cpus, first_pfn, end_pfn; distinct_folios, mean_run_folios (adjacent folios are a run),
        folios_by_order, refs_by_order; lives, lifetime_ns (mean and quantiles), peak_live_folios,
        mean_run_at_peak, outstanding_folios; refs_per_row, rows_per_life (of rows that pin) and, as shares
        of those rows, repin_share (the folio was pinned already), fast_share, longterm_share;
        request_pages, row_ns (pages of a request, time between its rows); kinds: the same for each (order,
        longterm, fast).

    Examples
    --------
    >>> from workbench.evidence.pins.trace import load_trace
    >>> found = measure(load_trace("pins-fio"))
    >>> found["distinct_folios"], found["peak_live_folios"], found["lifetime_ns"]["0.5"]
    (560, 560, 980000.0)
    """
    pins = trace.select(trace.is_pin)
    if len(pins) == 0 or not (pins.op > 0).any():
        raise InputError("it has no row that pins a page: nothing to measure", file=trace.name)
    folios, index = np.unique(pins.folio.astype(np.int64), return_inverse=True)
    take = pins.op > 0
    order = np.full(folios.size, -1, np.int8)
    np.maximum.at(order, index, pins.order)
    least = np.zeros(folios.size, np.int64)
    np.maximum.at(least, index, np.ceil(np.log2(pins.head_off + np.where(take, pins.nr, 1))).astype(np.int64))
    order = np.where(order < 0, least, order).astype(np.int64)
    fast = pins.is_fast
    nr_takes = np.maximum(np.bincount(index[take], minlength=folios.size), 1)
    longterm = take & (pins.gup_flags & _LONGTERM != 0)
    is_longterm = 2 * np.bincount(index[longterm], minlength=folios.size) > nr_takes
    is_fast = 2 * np.bincount(index[fast], minlength=folios.size) > nr_takes

    by_folio = np.argsort(index, kind="stable")
    of, delta = index[by_folio], (pins.op * pins.nr.astype(np.int64))[by_folio]
    count = np.cumsum(delta)
    opens = np.flatnonzero(np.diff(of, prepend=-1))
    count -= np.repeat((count - delta)[opens], np.diff(opens, append=of.size))
    starts = np.flatnonzero((count > 0) & (count - delta <= 0))
    ends = np.append(np.flatnonzero((count <= 0) & (count - delta > 0)), -1)
    end = ends[np.searchsorted(ends[:-1], starts)]
    ended = (end >= 0) & (of[end] == of[starts])
    counted = ended | trace.complete
    life_ns = np.where(ended, pins.ts_ns[by_folio][end] - pins.ts_ns[by_folio][starts], -1)
    live = np.zeros(len(pins), np.int64)
    live[by_folio[starts[counted]]] = 1
    live[by_folio[end[ended]]] -= 1
    peak = int(np.cumsum(live).argmax())
    at_peak = counted & (by_folio[starts] <= peak) & (~ended | (by_folio[end] > peak))

    kind_of = np.stack([order, is_longterm, is_fast], axis=1)
    seconds = max(int(pins.ts_ns[-1] - pins.ts_ns[0]), 1) / 1e9
    seconds_taking = max(int(pins.ts_ns[take][-1] - pins.ts_ns[0]), 1) / 1e9
    repin = take.copy()
    repin[by_folio[starts]] = False
    # A request goes on where the last row by its process took the page before, or any page soon before.
    by_pid = np.argsort(pins.pid, kind="stable")
    own = pins.pid[by_pid]
    after_take = take[by_pid] & np.roll(take[by_pid], 1) & (np.diff(own, prepend=own[0] - 1) == 0)
    gap_ns = np.diff(pins.ts_ns[by_pid], prepend=0)
    pfn = pins.pfn[by_pid].astype(np.int64)
    adjacent = after_take & (pfn == np.roll(pfn + pins.nr[by_pid], 1))

    def about(which: np.ndarray) -> dict[str, Any]:
        rows, lives = which[index], which[of[starts]]
        pinning = rows & take
        times = life_ns[lives & ended]
        refs = int(pins.nr[pinning].sum())
        lifetime_ns = {str(q): float(np.quantile(times, q)) for q in _QUANTILES if times.size}
        here = pinning[by_pid]
        inner = gap_ns[adjacent & here]
        row_ns = int(np.median(inner)) if inner.size else 0
        goes_on = adjacent | after_take & np.roll(here, 1) & (gap_ns <= _SOON * row_ns)
        at = folios[of[starts[at_peak & lives]]]
        return {
            "rows": int(rows.sum()), "refs": refs, "distinct_folios": int(which.sum()),
            "mean_run_folios": _mean_run(folios[which], order[which]),
            "lives": int(lives.sum()),
            "lifetime_ns": {"mean": float(times.mean()), **lifetime_ns} if times.size else {},
            "live_at_peak": at.size, "mean_run_at_peak": _mean_run(at, order[np.searchsorted(folios, at)]),
            "refs_per_row": refs / max(int(pinning.sum()), 1),
            "rows_per_life": float(pinning.sum() / max(lives.sum(), 1)),
            "repin_share": _share(repin, pinning), "fast_share": _share(fast, pinning),
            "longterm_share": _share(longterm, pinning),
            "request_pages": refs / max(int((here & ~goes_on).sum()), 1),
            "row_ns": row_ns,
        }  # fmt: skip

    kinds = []
    for kind in np.unique(kind_of, axis=0):
        which = (kind_of == kind).all(axis=1)
        is_what = {"order": int(kind[0]), "longterm": bool(kind[1]), "fast": bool(kind[2])}
        kinds.append({**is_what, **about(which)})
    whole = about(np.ones(folios.size, bool))
    last = count[np.append(opens[1:], of.size) - 1]
    return {
        **whole, "peak_live_folios": whole["live_at_peak"], "seconds": seconds,
        "seconds_taking": seconds_taking, "rows_per_s": whole["rows"] / seconds,
        "nr_cpus": int(pins.cpu.max()) + 1, "first_pfn": int(folios[0]),
        "end_pfn": int(folios[-1] + (1 << order[-1])),
        "folios_by_order": {int(o): int((order == o).sum()) for o in np.unique(order)},
        "refs_by_order": {int(o): int(pins.nr[take & (order[index] == o)].sum()) for o in np.unique(order)},
        "outstanding_folios": int((last > 0).sum()), "kinds": kinds,
    }  # fmt: skip


def _share(of: np.ndarray, among: np.ndarray) -> float:
    return float((of & among).sum() / max(among.sum(), 1))


def _mean_run(folios: np.ndarray, order: np.ndarray) -> float:
    """Folios in a run of adjacent ones, on average; `folios` in rising order."""
    return float(folios.size / max(folios.size - (np.diff(folios) == 1 << order[:-1]).sum(), 1))


def _stream_like(kind: dict[str, Any], seconds: float, longer: float) -> Stream:
    """The stream for one of the kinds that `measure` found."""
    size, times = 1 << kind["order"], kind["lifetime_ns"]
    footprint = kind["distinct_folios"] * size
    request = min(max(round(kind["request_pages"]), 1), footprint)
    name = f"order{kind['order']}{'-longterm' * kind['longterm']}{'-slow' * (not kind['fast'])}"[:15]
    common: dict[str, Any] = {
        "name": name, "footprint_pages": footprint,
        "run_pages": max(kind["mean_run_folios"] * longer, 1) * size, "order": kind["order"],
        "longterm": kind["longterm"], "fast": kind["fast"], "row_ns": min(kind["row_ns"], 10**9),
    }  # fmt: skip
    if not times or (kind["lives"] <= kind["distinct_folios"] and times["0.5"] > seconds * 1e9 / 2):
        return Stream(request_pages=request, queue_depth=1, **common)
    median = common["lifetime_ns"] = max(times["0.5"], 1)
    common["lifetime_sigma"] = min(math.sqrt(2 * math.log(max(times["mean"] / median, 1))), 5.0)
    depth = min(max(round(kind["live_at_peak"] * size / max(request, size)), 1), footprint)
    while True:
        request = min(request, footprint // depth)
        buffer = max(footprint * request // kind["refs"], 1)  # so that the requests get round all of it
        common |= {"request_pages": request, "queue_depth": depth, "buffer_pages": buffer}
        stream = Stream(requests_per_s=1e-9, **common)
        rate = max(kind["refs"] / stream.mean_pages - depth / 2, 1) / seconds
        needed = math.ceil(rate * stream._busy_ns / 1e9)
        if needed <= depth or depth == footprint:
            return replace(stream, requests_per_s=min(rate, 0.999 * depth * 1e9 / stream._busy_ns, 1e9))
        depth = min(needed, footprint)
