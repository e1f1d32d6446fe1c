"""Every reader under test: its seeds, how they are broken, and what must hold of what it reads.

Most run a command as ``workbench`` does, both its document and its text. The checks of results are the ones
that know the truth without reading the input again: parts sum to the total, what is written reads back, the
other byte order or another packing says the same.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import importlib.util
import io
import json
import random
import struct
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import harness  # noqa: E402
import mutations as broken  # noqa: E402
from harness import Reader, Wrong  # noqa: E402

from workbench import cli  # noqa: E402
from workbench.model.errors import InputError  # noqa: E402
from workbench.model.files import data_dir  # noqa: E402
from workbench.studies import provenance  # noqa: E402

provenance._commit = lambda folder: ""  # it asks git; no reader's business
DATA = data_dir()
ROOT = HERE.parents[1]
CAPTURES = DATA / "captures"
SMALL = (
    "s390x-1100m",
    "debian-6.12-4g-nvdimm2g",
    "debian-6.12-8g-hugetlb-hvo",
    "arm64-16k-3g-2node",
    "ppc64le-64k-3g-2node-radix",
)
PARTS = (
    "iomem",
    "zoneinfo",
    "vmstat",
    "meminfo",
    "sys-memory-blocks",
    "sys-node",
    "hugepages",
    "dmesg",
    "nd-pfn",
    "memblock-memory",
    "getconf",
    "kernel",
    "hugetlb_optimize_vmemmap",
    "memmap_on_memory",
)


def hold(right: bool, what: object) -> None:
    if not right:
        raise Wrong(str(what)[:500])


@functools.cache
def _parser() -> Any:
    return cli._parser()


def command(*argv: str | Path, text: bool = True) -> dict[str, Any]:
    """One command's document, after it went to JSON and to text; its errors as the command line has them."""
    args = _parser().parse_args([str(word) for word in argv])
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            found, as_text, status = args.run(args)
            hold(status in (0, 1), f"status {status}")
            if text:
                hold("\x1b" not in as_text(), "an escape sequence in the text")
        except OSError as error:
            raise InputError(error.strerror or str(error), file=error.filename) from error
    try:
        return json.loads(json.dumps(found, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise Wrong(f"not JSON: {error}") from None


def numbers_are_counts(found: Any, place: str = "", allow: Sequence[str] = ()) -> None:
    """Every number in a document is a count: no less than 0, and no more than bytes can be."""
    if isinstance(found, dict):
        for key, value in found.items():
            if key not in allow:
                numbers_are_counts(value, f"{place}.{key}", allow)
    elif isinstance(found, list):
        for value in found:
            numbers_are_counts(value, place, allow)
    elif isinstance(found, int | float) and not isinstance(found, bool):
        hold(0 <= found < 1 << 80, f"{place} is {found}")


# -- captures ----------------------------------------------------------------------------------------------


class _Part:
    """A part of a capture that lies in memory."""

    def __init__(self, name: str, data: bytes):
        self.where, self.data = name, data

    def read(self, limit: int) -> bytes:
        return self.data


def capture_bundles() -> list[bytes]:
    found = []
    for name in SMALL:
        files = {
            path.stem: path.read_bytes() for path in (CAPTURES / name).glob("*.txt") if path.stem in PARTS
        }
        found.append(broken.bundle(files))
    return found


def check_machine(machine: Any) -> None:
    found = json.loads(json.dumps(machine.to_dict(), allow_nan=False))
    numbers_are_counts(found, allow=("HVO",))  # what it gives back
    hold(machine.ram.nr_pages == machine.nr_pages_ram, "regions of RAM overlap")
    for region in machine.regions:
        hold(region.first_pfn < region.end_pfn <= 1 << 64, region)
    hold(sum(n["nr_pages"] for n in found["nodes"]) <= machine.nr_pages_ram, "nodes have more than there is")
    hold(machine.memmap_pages == sum(machine.memmap_terms.values()), "memmap terms")


def read_capture(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.model.memory.capture import Capture
    from workbench.model.memory.machine import Machine
    from workbench.model.scenario import Scenario, evaluate

    parts = broken.unbundle(path.read_bytes())
    machine = Machine.from_capture(Capture("x", "x", {n: _Part(n, d) for n, d in parts.items()}))  # type: ignore[misc]
    check_machine(machine)
    for part in ("vmstat", "meminfo"):  # a counter's line may stand anywhere
        if part in parts:
            parts[part] = b"\n".join(reversed(parts[part].split(b"\n")))
    again = Machine.from_capture(Capture("x", "x", {n: _Part(n, d) for n, d in parts.items()}))  # type: ignore[misc]
    hold(again.to_dict() == machine.to_dict(), "the order of counters matters")
    design = rng.choice(("static", "hvo", "proxy_bit", "dynamic_page", "foll_pin", "page_ext"))
    row = evaluate(Scenario(machine=machine, design=design, nr_pinned="1%"))
    hold(row.total_bytes == sum(row.parts.values()), "parts do not sum to the total")
    hold(all(type(part) is int and part >= 0 for part in row.parts.values()), row.parts)


def mmsnaps() -> list[bytes]:
    found = []
    for name in ("s390x-1100m", "debian-6.12-4g-nvdimm2g"):
        members = []
        for path in sorted((CAPTURES / name).iterdir()):
            names = {
                "sys-memory-blocks.txt": "sys/memory-blocks.txt",
                "sys-node.txt": "sys/nodes.txt",
                "kpageflags.npz": "pages.npz",
                "dmesg.txt": "dmesg-memory.txt",
            }
            members.append((names.get(path.name, f"proc/{path.name}"), path.read_bytes()))
        manifest = {"release": "6.12.95", "arch": "x86_64", "page_size": 4096, "parts": {}}
        members.append(("manifest.json", json.dumps(manifest).encode()))
        found.append(broken.pack(members))
    return found


def _mmsnap_member(rng: random.Random, name: str, content: bytes) -> bytes:
    if name.endswith(".npz"):
        return broken.zipped(broken.npy)(rng, [content])
    if name.endswith(".json"):
        return broken.json_tree([b"page_size", b"release", b"arch", b"parts"])(rng, [content])
    return broken.text(CAPTURE_TOKENS)(rng, [content])


def read_mmsnap(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.model.memory.capture import load_capture
    from workbench.model.memory.machine import Machine
    from workbench.model.memory.pageflags import PageFlags

    capture = load_capture(path)
    errors = []
    for look in (
        lambda: check_machine(Machine.from_capture(capture)),
        lambda: command("machine", path),
        lambda: [check_flags(PageFlags.load(capture, name)) for name in capture.npz_names],
        lambda: command("pages", path),
        lambda: capture.release,
    ):
        try:
            look()
        except InputError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def npzs() -> list[bytes]:
    return [
        (CAPTURES / name / "kpageflags.npz").read_bytes()
        for name in ("s390x-1100m", "debian-6.12-4g-nvdimm2g", "debian-6.12-2g")
    ]


def check_flags(flags: Any) -> None:
    hold(sum(flags.types().values()) == flags.nr_pages, "types do not sum to the pages")
    hold(
        sum(row["pages"] for row in flags.flag_rows()) == flags.nr_pages, "flag rows do not sum to the pages"
    )
    folios = sum(nr << order for by in flags.folio_orders().values() for order, nr in by.items())
    hold(0 <= folios <= flags.nr_pages, f"{folios} pages in folios, {flags.nr_pages} in all")
    counts = flags.mapcounts()
    if counts is not None:
        hold(len(counts[0]) == len(counts[1]), "mapcounts")


@functools.cache
def _arrays() -> dict[str, list[Any]]:
    """What each array of the seeds holds, by its name."""
    import numpy as np

    found: dict[str, list[Any]] = {}
    for seed in npzs():
        with np.load(io.BytesIO(seed), allow_pickle=False) as npz:
            for name in npz.files:
                found.setdefault(name, []).append(npz[name])
    return found


def read_npz(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.model.memory.pageflags import PageFlags

    check_flags(PageFlags.load(path))
    command("pages", path, "--raw")


def read_npz_bytes(path: Path, out: Path, rng: random.Random) -> None:
    """Bytes that changed below the checksums: the same arrays as before, or an error."""
    import numpy as np

    from workbench.model.memory.capture import load_capture

    npz = load_capture(path).npz()
    for name in npz.names:
        known = _arrays().get(name)
        if known is None or name == "meta":
            continue
        found = npz.read(name, kinds="iu", shape=(None,) * known[0].ndim)
        hold(any(np.array_equal(found, one) for one in known), f"{name} has other numbers")


# -- layouts -----------------------------------------------------------------------------------------------


@functools.cache
def _blobs() -> tuple[bytes, ...]:
    spec = importlib.util.spec_from_file_location("blob_builder", ROOT / "tests/model/kernel/test_btf.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return tuple(module.every_kind(order)[0] for order in "<>")


def swapped(blob: bytes) -> bytes:
    """The same BTF in the other byte order; for whole blobs only."""
    order, other = ("<", ">") if blob[:2] == b"\x9f\xeb" else (">", "<")
    head = struct.unpack_from(f"{order}HBBIIIII", blob)
    start, nr = head[3] + head[4], head[5] // 4
    words = struct.unpack_from(f"{order}{nr}I", blob, start)
    return (
        struct.pack(f"{other}HBBIIIII", *head)
        + blob[24:start]
        + struct.pack(f"{other}{nr}I", *words)
        + blob[start + 4 * nr :]
    )


def layouts_of(blob: bytes) -> list[Any]:
    from workbench.model.kernel._btf import Btf

    loaded, found = Btf.load(blob), []
    for ask in (
        lambda: loaded.struct("s"),
        lambda: loaded.struct("count_t"),
        lambda: loaded.enum("zone"),
        lambda: loaded.enum("huge"),
        lambda: loaded.struct(""),
    ):
        try:
            answer = ask()
            found.append(answer)
            if not isinstance(answer, dict):
                check_struct(answer)
        except InputError:
            found.append(None)
    return found


def check_struct(struct: Any) -> None:
    json.dumps(struct.to_dict(), allow_nan=False)
    struct.pahole()
    hold(struct.size >= 0 and struct.align >= 1, struct)
    for member in struct.members:
        hold(0 <= member.start_bit <= member.end_bit <= 8 * struct.size, f"{member} in {struct.size} bytes")


def read_btf(path: Path, out: Path, rng: random.Random) -> None:
    blob = path.read_bytes()
    found = layouts_of(blob)
    if blob[:2] in (b"\x9f\xeb", b"\xeb\x9f"):
        head = struct.unpack_from(("<" if blob[:2] == b"\x9f\xeb" else ">") + "HBBIIIII", blob)
        if head[3] == 24 and head[6] >= head[5] + head[4]:  # the strings do not lie in the types
            hold(layouts_of(swapped(blob)) == found, "the other byte order says something else")


def images() -> list[bytes]:
    return [*_blobs(), *(elf(blob) for blob in _blobs())]


def elf(blob: bytes) -> bytes:
    """A 64-bit ELF file with the blob as its section .BTF."""
    order = "<" if blob[:2] == b"\x9f\xeb" else ">"
    names = b"\0.BTF\0.shstrtab\0"
    at, names_at = 64, 64 + len(blob)
    table = names_at + len(names)
    head = b"\x7fELF\2" + (b"\1" if order == "<" else b"\2") + b"\1" + bytes(9)
    head += struct.pack(f"{order}HHIQQQIHHHHHH", 2, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)
    sections = [(0, 0, 0, 0), (1, 1, at, len(blob)), (6, 3, names_at, len(names))]
    rows = b"".join(
        struct.pack(f"{order}IIQQQQIIQQ", name, kind, 0, 0, where, size, 0, 0, 1, 0)
        for name, kind, where, size in sections
    )
    return head + blob + names + rows


def read_image(path: Path, out: Path, rng: random.Random) -> None:
    command("struct", "s", "--btf", path)


C_SEEDS = [
    b"""#define N 4
#define ALIGN(x) __attribute__((aligned(x)))
typedef unsigned int u32; typedef unsigned long long u64;
enum zone { DMA, NORMAL = 3, HIGH };
struct dynamic_page {
	unsigned long flags;	/* flags */
	union { struct { u32 a:3, b:29; u64 pfn; }; void *p[N][2]; };
	enum zone zone; // zone
	int (*fn)(struct page *, int);
	u32 tail[];
} ALIGN(2 * 8 << 1);
""",
    b"#ifdef CONFIG_64BIT\nstruct a { long x; } __packed;\n#else\nstruct a { int x; };\n#endif\n"
    b"#if defined(A) && (B + 1) * 2 > 3\n#error no\n#elif 1\nstruct b { struct a a[3]; char c : 2; };\n#endif\n",  # noqa: E501
    b"struct page { unsigned long flags; struct list_head { struct list_head *next, *prev; } lru;"
    b" _Alignas(64) char c; _Bool b : 1; union { atomic_t _refcount; }; };",
]
C_TOKENS = [
    b"struct",
    b"union",
    b"enum",
    b"{",
    b"}",
    b";",
    b"(",
    b")",
    b"[",
    b"]",
    b"*",
    b":",
    b"#define ",
    b"#if ",
    b"#endif\n",
    b"#include </etc/passwd>\n",
    b'#include "/dev/zero"\n',
    b"##",
    b"sizeof",
    b"sizeof(struct page)",
    b"__aligned(",
    b"<<",
    b">>",
    b"/",
    b"% 0",
    b"/ 0",
    b"?",
    b"unsigned",
    b"long",
    b"char",
    b"int",
    b"__attribute__((packed))",
    b"/*",
    b"*/",
    b"//",
    b"\\\n",
    b"'a'",
    b"'\\xfff'",
    b"0x",
    b"1ull",
    b"1 << 63",
    b"1 << 64",
    b"-1",
    b"_Alignas(0)",
    b"typeof(int)",
    b"_Pragma",
    b"page",
    b"#define page page\n",
    b"#define A A A\n",
    b"#define F(x) x x\n",
    b"F(F(F(F(F(F(1))))))",
    b"#elif",
    b"#else\n",
]


def read_c(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.model.kernel.config import KernelConfig
    from workbench.model.kernel.structs import Struct

    text = path.read_bytes().decode("utf-8", "replace")
    kernel = KernelConfig.preset("x86-64")
    found = Struct.from_c(text, kernel=kernel)
    check_struct(found)
    command("struct", "--c", path)
    blanks = "\n".join(line if line.endswith("\\") else line + " \t" for line in text.split("\n"))
    with contextlib.suppress(InputError):
        hold(
            Struct.from_c(blanks, kernel=kernel).members == found.members, "blanks at the end of lines matter"
        )


def read_callsites(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.evidence.typesafety.callsites import count_calls

    numbers_are_counts(count_calls(path.read_bytes()))


CALL_SEEDS = [
    b"static int f(struct page *page)\n{\n\tput_page(page); /* put_page(page) */\n\tunpin_user_page(pages[i]);\n"  # noqa: E501
    b'\tpr_info("get_page(%p)\\n", get_page(page));\n\treturn page_to_pfn(page) + pfn_to_page(3);\n}\n'
    b"EXPORT_SYMBOL(put_page);\n#define X(p) \\\n\tget_page(p)\nvoid put_page(struct page *page);\n",
]


# -- traces ------------------------------------------------------------------------------------------------


def trace_texts() -> list[bytes]:
    traces = DATA / "traces"

    def lines(path: Path, nr: int = 40) -> bytes:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
        return b"".join(raw.splitlines(keepends=True)[:nr])

    names = (
        "ftrace-kprobe.A.full.txt.gz",
        "bpftrace-pins.txt.gz",
        "perf-script.txt",
        "perf-script-ns.txt",
        "trace-cmd-report.txt",
    )
    return [lines(traces / name) for name in names]


TRACE_TOKENS = [
    b"page=",
    b"refs=",
    b"flags=",
    b"head=",
    b"pflags=",
    b"f1=",
    b"vmemmap=0xffd4000000000000",
    b"grab_fast:",
    b"grab:",
    b"put:",
    b"CPU:1 [LOST 753 EVENTS]\n",
    b"Lost 5 events\n",
    b"[001]",
    b"d....",
    b"-245",
    b"<idle>-0",
    b"<...>",
    b"swapper 0",
    b"A",
    b"R",
    b"0x80000",
    b"refs=-1",
    b"refs=0",
    b"page=0xffffffffffffffff",
    b"page=0x0",
    b"28.700025:",
    b"99999999999999.000001:",
    b"# entries-in-buffer/entries-written: 10/20   #P:4\n",
    b"Attaching 3 probes...\n",
    b"vb:",
    b"cpus=2\n",
]


def check_trace(trace: Any, found: dict[str, Any] | None = None) -> None:
    from workbench.evidence.pins.replay import replay

    result = replay(trace)
    numbers_are_counts(result.to_dict(), allow=("outstanding_refs_end",))
    nr = result.events + result.not_pins_dropped
    hold(nr == len(trace), f"{nr} of {len(trace)} events replayed")
    balance = result.acquired_refs - result.released_refs
    hold(result.outstanding_refs_end == balance or result.negative, "references do not balance")
    hold(result.pins <= len(trace), "more pins than events")
    if found is not None:
        hold(found["events"] == len(trace), f"{found['events']} events were imported, {len(trace)} read back")
        hold(found["pins"] + found["unpins"] + found["not_pins"] == found["events"], "pins and unpins")
        hold(found["complete"] == (not found["why"]), "complete, or not")


def read_trace(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.evidence.pins.readers import import_text
    from workbench.evidence.pins.trace import load_trace

    target = out / "trace.parquet"
    try:
        found = import_text(path, target)
    except InputError:
        hold(not list(out.iterdir()), "a refused text left a file")
        raise
    json.dumps(found, allow_nan=False)
    hold([p.name for p in out.iterdir()] == [target.name], "more than one file")
    check_trace(load_trace(target), found)
    data = path.read_bytes()
    if rng.random() < 0.2 and data[:2] != b"\x1f\x8b" and data[:4] != b"\x28\xb5\x2f\xfd":
        again = out / "again.gz"
        again.write_bytes(gzip.compress(data, 1))
        other = import_text(again, out / "again.parquet")
        hold(other == found, "packed text gives something else")


def read_packed_trace(path: Path, out: Path, rng: random.Random) -> None:
    read_trace(path, out, rng)


def recordings() -> list[bytes]:
    text = trace_texts()[0]
    vmstat = b"nr_foll_pin_acquired %d\nnr_foll_pin_released %d\n"
    parts = {
        "trace.txt": text,
        "kernel.txt": b"6.12.95+deb13-amd64\n",
        "kprobe_profile.txt": b"  grab_fast  10  0\n  put 12  3\n",
        "stats.txt": b"per_cpu/cpu0/stats:overrun: 0\nper_cpu/cpu0/stats:dropped events: 0\n",
        "zoneinfo.txt": (CAPTURES / "debian-6.12-2g/zoneinfo.txt").read_bytes(),
    }
    for nr, when in enumerate(("before", "start", "end", "after")):
        parts[f"vmstat.{when}.txt"] = vmstat % (10 + nr, 10 + nr)
    return [broken.bundle(parts)]


def read_recording(path: Path, out: Path, rng: random.Random) -> None:
    folder = out / "recording"
    folder.mkdir()
    for name, part in broken.unbundle(path.read_bytes()).items():
        if name not in (".", "..") and len(name) < 200:
            (folder / name).write_bytes(part)
    command("trace", "import", folder, "-o", out / "t.parquet")


@functools.cache
def _parquets() -> tuple[bytes, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = []
    for rows, compression in ((12, "none"), (60, "zstd"), (0, "none")):
        table = pq.read_table(DATA / "traces/pins-fio.parquet").slice(1000, rows)
        columns = [c.combine_chunks() for c in table.columns]
        small = pa.table([pa.array(c.to_pylist(), c.type) for c in columns], schema=table.schema)
        out = io.BytesIO()
        pq.write_table(small, out, compression=compression)
        found.append(out.getvalue())
    return tuple(found)


def read_parquet(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.evidence.pins.trace import iter_batches, load_trace

    trace = load_trace(path)
    check_trace(trace)
    hold(sum(len(batch) for batch in iter_batches(path, rows=5)) == len(trace), "batches hold something else")
    again = load_trace(trace.write(out / "again.parquet"))
    for column in ("ts_ns", "cpu", "pid", "op", "pfn", "nr", "order", "gup_flags", "head_off"):
        hold((getattr(again, column) == getattr(trace, column)).all(), f"{column} does not read back")
    command("replay", path, "--design", "dynamic_page", "--map", "maple", "flat")


def read_series(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.evidence.pins.vmstat import load_series

    series = load_series(path)
    hold((series.ts_ns >= 0).all() and len(series) > 0, "times below 0")


SERIES = [
    b"# vmstat-series/1 kernel=6.12.95 exact=1\n1000 96 64\n3000 160 64\n9000 160 160\n",
    b"# vmstat-series/1 kernel=6.12.95 exact=0\n5 0 0\n# stopped\n",
]


def read_registration(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.evidence.pins.vmstat import registration

    (out / "pins.json").write_bytes(path.read_bytes())
    found = registration(out)
    hold(found.registered_pages * 4096 >= found.registered_bytes and found.register_ns >= 0, found)


# -- what people write -------------------------------------------------------------------------------------

TOML_TOKENS = [
    b"[base]\n",
    b"[[scenario]]\n",
    b"design = ",
    b'"dynamic_page"',
    b'machine = "ram=1TiB"\n',
    b'nr_pinned = "1%"\n',
    b'"100%"',
    b'"101%"',
    b'"-1%"',
    b'"1e9%"',
    b'"nan%"',
    b"run_pages = 512\n",
    b"folio_order = 9\n",
    b'pfn_map = "xarray"\n',
    b"'''",
    b'"""',
    b"= {a = 1}",
    b"= [1, 2]",
    b"= 1979-05-27T07:32:00Z",
    b"= inf",
    b"= nan",
    b"name = ",
    b'"live"',
    b'"/proc/self/environ"',
    b"pinned = 1\n",
    b"seed = -1\n",
    b"proxy_bytes = 0\n",
    b"nodes=99999999",
    b"hole=0-1PiB",
    b"ram=16EiB",
    b"ram=1",
    b'"ram=64PiB"',
]


def tomls() -> list[bytes]:
    small = (
        b'title = "t"\n[base]\nmachine = "ram=64GiB,nodes=2,hole=3GiB-4GiB"\nnr_pinned = "1%"\n\n[[scenario]]\n'  # noqa: E501
        b'design = "foll_pin"\n\n[[scenario]]\nname = "clustered"\ndesign = "dynamic_page"\nrun_pages = 512\n'
        b'pfn_map = "maple"\n'
    )
    return [
        small,
        *(
            path.read_bytes()
            for path in (
                DATA / f"scenarios/{name}.toml" for name in ("device-memory", "gpu-host", "pfn-maps")
            )
        ),
    ]


def read_toml(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.model.scenario.files import load

    given = load(path)
    plain = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    for wanted, scenario in zip(plain["scenario"], given.scenarios.values(), strict=True):
        for name, value in {**plain.get("base", {}), **wanted}.items():
            hold(name == "name" or getattr(scenario, name) == value, f"{name} is {value!r} in the file")
    rows = (
        command("compare", path, "--mail", "--html", out / "page.html")
        if rng.random() < 0.2
        else command("compare", path)
    )
    for row in rows["rows"]:
        hold(row["total_bytes"] == sum(row["parts"].values()), row)
        numbers_are_counts(row["parts"])


SPECS = [
    b"ram=1TiB,nodes=2,hole=3GiB-4GiB,pmem=6TiB@2TiB,device=128GiB@16TiB",
    b"ram=64GiB,base=4GiB,kernel=arm64-64k",
    b"ram=1GiB",
]


def read_spec(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.model.memory.machine import Machine

    check_machine(Machine.from_spec(path.read_bytes().decode("utf-8", "replace")))


STATES = [
    b"OverheadExplorer.1~machine=ram=64TiB,nodes=8~nr_pinned=5*25~designs=,static,proxy_bit~end",
    b"MixExplorer.1~anon:0=12.5~end",
    b"X.2~a=*~b=,~c=*2ctext~d=-1e-7~e=null~f=*74rue~g=*zeJwrSS0uAQAEXQHB~end",
]


def read_state(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.views.explorers._state import decode, encode

    state = decode(path.read_bytes().decode("utf-8", "replace"))
    values = dict(state)
    line = encode(values.pop("explorer"), values.pop("version"), values)
    hold(decode(line) == state, f"{state} is written as {line}")


def claims_csvs() -> list[bytes]:
    lines = (DATA / "claims.csv").read_bytes().splitlines(keepends=True)
    return [b"".join(lines[:8]), b"".join([lines[0], *lines[20:28]])]


def read_claims(path: Path, out: Path, rng: random.Random) -> None:
    for row in command("claims", "--file", path)["rows"]:
        hold(row["verdict"] in ("agrees", "differs", "measured elsewhere"), row)


OPS = [
    b'[{"op": "store", "start": 0, "count": 100, "stride": 1}, {"op": "store_order", "start": 512, "count": 2, "stride": 512, '  # noqa: E501
    b'"order": 9}, {"op": "erase", "start": 7, "count": 3, "stride": 5}]',
    b'{"ops": [{"op": "store_range", "first": 100, "last": 10000}, {"op": "checkpoint", "label": "full"}, {"op": "erase_runs", '  # noqa: E501
    b'"starts": [128, 512], "lengths": [8, 64]}, {"op": "store_draw", "seed": 1, "low": 0, "high": 4096, "size": 10}]}',  # noqa: E501
    b'[{"op": "store_runs", "starts": [0, 64], "lengths": [8, 8]}]',
]
OP_TOKENS = [
    b"store",
    b"erase",
    b"store_order",
    b"store_range",
    b"erase_range",
    b"store_draw",
    b"store_runs",
    b"erase_runs",
    b"checkpoint",
    b"order",
    b"start",
    b"count",
    b"stride",
    b"first",
    b"last",
    b"seed",
    b"low",
    b"high",
    b"size",
    b"ops",
    b"starts",
    b"lengths",
    b"label",
]


def check_map(path: Path, rng: random.Random) -> None:
    found = command("pfnmap", "xarray", "--ops", path)
    hold(found["nr_nodes"] == sum(found["nodes_per_shift"].values()), "nodes by shift")
    hold(
        found["node_bytes"] == 576 * found["nr_nodes"] and found["bytes"] >= found["node_bytes"],
        "bytes of the nodes",
    )
    command("pfnmap", rng.choice(("maple", "rhashtable", "two_level", "flat", "sorted_array")), "--ops", path)


def read_ops(path: Path, out: Path, rng: random.Random) -> None:
    check_map(path, rng)


def npys() -> list[bytes]:
    import numpy as np

    found = []
    for pfns in ([0, 63, 64, 4095], [5], [], range(1000, 0, -1)):
        out = io.BytesIO()
        np.save(out, np.array(list(pfns), dtype=np.uint64))
        found.append(out.getvalue())
    return found


def golden_cases() -> list[bytes]:
    golden = json.loads((DATA / "golden/xarray_cases.json").read_bytes())
    return [json.dumps({**golden, "cases": golden["cases"][at : at + 2]}).encode() for at in (0, 7, 20)]


def read_golden(path: Path, out: Path, rng: random.Random) -> None:
    found = command("verify", "xarray", path)
    hold(
        found["passed"] + len(found["failed"]) == found["cases"]
        or len(set(found["failed"])) < found["cases"],
        found,
    )


def cost_tables() -> list[bytes]:
    found = []
    for name in ("epyc-2vcpu", "xeon-16vcpu"):
        table = json.loads((DATA / f"costs/{name}.json").read_bytes())
        for key in ("rows", "contenders"):
            if isinstance(table.get(key), list):
                table[key] = table[key][:4]
        found.append(json.dumps(table).encode())
    full = json.loads((DATA / "costs/epyc-2vcpu-full.json").read_bytes())
    found.append(json.dumps({**full, "rows": full["rows"][:5]}).encode())
    return found


def read_costs(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.evidence.lookups.costs import CostTable

    table = CostTable.load(path)
    for row in table.rows:
        numbers_are_counts(row.to_dict())
    if not table.reference:
        table.save(out / "again.json")
        again = CostTable.load(out / "again.json")
        hold(again.rows == table.rows and again.method == table.method, "does not read back")
    for name in table.paths:
        with contextlib.suppress(InputError):
            hold(float(table.ns(name, "dependent", 1 << 20)) >= 0, name)


def arguments() -> list[bytes]:
    from workbench.studies.argument import Argument
    from workbench.studies.argument._evidence import Memory, grid

    made = Argument("A title", proposed="dynamic_page", about="About it.")
    claim = {
        "format": _format(),
        "title": "T",
        "proposed": "dynamic_page",
        "about": "",
        "claims": [
            {
                "text": "It takes {x}.",
                "assumes": ["a"],
                "limits": ["b {x}"],
                "evidence": Memory(grid(["static", "foll_pin"], machine="ram=1GiB")).recipe(),
                "values": {"x": [12, "bytes"]},
            }
        ],
    }
    return [json.dumps(claim).encode()] if made else []


def _format() -> str:
    from workbench.studies.argument import _collect as collect

    return str(collect.FORMAT)


def read_argument(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.studies.argument import Argument

    found = Argument.load(path)
    found.save(out / "again.json")
    again = Argument.load(out / "again.json")
    hold([c.text for c in again.claims] == [c.text for c in found.claims], "does not read back")


def notebook_seeds() -> list[bytes]:
    cells = [
        {
            "cell_type": "markdown",
            "id": "a",
            "metadata": {},
            "source": "# Title\n\nQuestion? $x$ <b>bold</b> [link](x.md)\n\n## Answer\n\nYes.",
        },
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {"tags": ["x"]},
            "source": "1 + 1",
            "execution_count": 1,
            "outputs": [
                {
                    "output_type": "execute_result",
                    "execution_count": 1,
                    "metadata": {},
                    "data": {"text/plain": "2", "text/html": "<table><tr><td>2</td></tr></table>"},
                },
                {"output_type": "stream", "name": "stdout", "text": "hello\n"},
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {"image/png": "iVBORw0KGgo=", "text/markdown": "*m*"},
                },
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {"application/vnd.plotly.v1+json": {"data": [], "layout": {}}},
                },
                {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[31mE\x1b[0m"]},
            ],
        },
    ]
    book = {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    old = {
        "worksheets": [
            {
                "cells": [
                    {
                        "cell_type": "code",
                        "input": "1",
                        "outputs": [],
                        "language": "python",
                        "collapsed": False,
                        "metadata": {},
                        "prompt_number": 1,
                    }
                ],
                "metadata": {},
            }
        ],
        "metadata": {"name": ""},
        "nbformat": 3,
        "nbformat_minor": 0,
    }
    return [json.dumps(book).encode(), json.dumps(old).encode()]


NOTEBOOK_TOKENS = [
    b"<script>alert(1)</script>",
    b"</script><script>alert(1)</script>",
    b"<img src=x onerror=alert(1)>",
    b"javascript:alert(1)",
    b"[x](javascript:alert(1))",
    b"# T\n\nq\n\n## Answer\n\n",
    b"text/html",
    b"image/svg+xml",
    b"application/javascript",
    b"text/latex",
    b"application/vnd.plotly.v1+json",
    b"image/png",
    b"outputs",
    b"source",
    b"cells",
    b"data",
    b"cell_type",
    b"code",
    b"markdown",
    b"raw",
    b"output_type",
    b"stream",
    b"error",
    b"display_data",
    b"execution_count",
    b"nbformat",
    b"metadata",
    b"`" * 300,
    b"*" * 300,
    b"[" * 300,
    b"<" * 300,
    b"> " * 200,
    b"| a |\n|---|\n" * 30,
    b"$" * 301,
    b"- " * 300,
    b"!" * 99 + b"[",
    b"&" * 99,
    b"\\" * 99,
]


def read_notebook(path: Path, out: Path, rng: random.Random) -> None:
    from workbench.views import pages as render
    from workbench.views.pages._run import read, text_of

    book = read(path)
    render.normalise(book)
    text = text_of(render.normalise(book))
    (out / "n.ipynb").write_text(text, encoding="utf-8", errors="surrogatepass")
    hold(text_of(render.normalise(read(out / "n.ipynb"))) == text, "a second run writes something else")
    for about in (render.title, render.question, render.answer):
        about(book)
    page = render.page(path, book)
    shown = page.split('<script type="application/', 1)[0]
    for bad in ("<script>alert", "<img src=x onerror", 'href="javascript:'):
        hold(bad not in shown, f"{bad} is active in the page")


CAPTURE_TOKENS = [
    b"00100000-bfffffff : System RAM\n",
    b"  00000000-ffffffff : Persistent Memory\n",
    b"100000000-63fffffff : 0000:00:05.0\n",
    b"Node 0, zone   Normal\n",
    b"        start_pfn:           1\n",
    b"        spanned  99999\n",
    b"memory3 phys_index=00000003 state=online node=1\n",
    b"block_size_bytes:8000000\n",
    b"nr_memmap_pages 1\n",
    b"nr_memmap_boot_pages 1\n",
    b"HugePages_Total: 5\n",
    b"Hugepagesize: 2048 kB\n",
    b"hugepages-2048kB nr=64 free=64\n",
    b"HugeTLB: 28 KiB vmemmap can be freed for a 2.00 MiB page\n",
    b"aarch64",
    b"ppc64le",
    b"riscv64",
    b"s390x",
    b"x86_64",
    b"6.12.95",
    b"PAGE_SIZE 65536\n",
    b"[    0.0]   node   0: [mem 0x0000000000001000-0x000000000009efff]\n",
    b"allocated 999999 bytes of page_ext\n",
    b"namespace0.0 mode=fsdax memmap=ram size=2147483648 resource=0x100000000\n",
    b"   0: 0x0000000004000000..0x0000000007ffffff    0 NOMAP\n",
    b"==> iomem <==\n",
    b"node0/memory3/phys_index:00000003\n",
    b"    cpu: 5\n",
    b"cpulist:0-3\n",
    b"radix-mmu:",
    b"Page orders: linear mapping = 24, vmemmap = 24",
]

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        Reader("mmsnap", mmsnaps, broken.zipped(_mmsnap_member), read_mmsnap, ".mmsnap", 30),
        Reader("npz", npzs, broken.zipped(broken.npy), read_npz, ".npz", 40),
        Reader("npz-bytes", npzs, broken.binary, read_npz_bytes, ".npz", 200),
        Reader("trace", trace_texts, broken.text(TRACE_TOKENS), read_trace, ".txt", 16),
        Reader(
            "trace-packed",
            trace_texts,
            broken.inside(broken.text(TRACE_TOKENS), ("gzip", "zstd")),
            read_packed_trace,
            ".gz",
            16,
        ),
        Reader(
            "recording",
            recordings,
            broken.text([*TRACE_TOKENS, b"overrun: 5\n", b"==> trace.txt.gz <==\n"]),
            read_recording,
            quick=16,
        ),
        Reader("parquet", lambda: list(_parquets()), broken.parquet, read_parquet, ".parquet", 25),
        Reader("btf", lambda: list(_blobs()), broken.binary, read_btf, quick=300),
        Reader(
            "image",
            images,
            broken.inside(
                broken.binary, ("plain", "gzip", "zstd", "xz", "lzma", "bzip2"), b"MZ" + bytes(510)
            ),
            read_image,
            quick=100,
        ),
        Reader("c", lambda: C_SEEDS, broken.text(C_TOKENS), read_c, ".c", 40),
        Reader("capture", capture_bundles, broken.text(CAPTURE_TOKENS), read_capture, quick=40),
        Reader("toml", tomls, broken.text(TOML_TOKENS), read_toml, ".toml", 30),
        Reader(
            "spec",
            lambda: SPECS,
            broken.text(
                [
                    b",",
                    b"=",
                    b"@",
                    b"-",
                    b"ram=1TiB",
                    b"nodes=3",
                    b"hole=1GiB-2GiB",
                    b"PiB",
                    b"EiB",
                    b"pmem=1GiB@1TiB",
                    b"base=1GiB",
                    b"kernel=arm64-16k",
                ]
            ),
            read_spec,
            quick=200,
        ),
        Reader(
            "state",
            lambda: STATES,
            broken.text(
                [
                    b"~",
                    b"=",
                    b",",
                    b"*",
                    b"*z",
                    b"*2c",
                    b"~end",
                    b"%25",
                    b"true",
                    b"1e9",
                    b".1",
                    b"*ff",
                    b"*c3*a9",
                    b"~a=1",
                    b"e-5",
                    b"-0",
                ]
            ),
            read_state,
            quick=400,
        ),
        Reader(
            "claims",
            claims_csvs,
            broken.text(
                [
                    b'"',
                    b",",
                    b"exact",
                    b"abs 0.5",
                    b"rel nan",
                    b"at least",
                    b"derived",
                    b"measured",
                    b'{""page_size"": 4096}',
                    b"memmap_percent",
                    b"GiB",
                    b"TB",
                    b"%",
                    b"ns",
                ]
            ),
            read_claims,
            ".csv",
            100,
        ),
        Reader("ops", lambda: OPS, broken.json_tree(OP_TOKENS), read_ops, ".json", 60),
        Reader("npy", npys, lambda rng, seeds: broken.npy(rng, "", rng.choice(seeds)), read_ops, ".npy", 120),
        Reader(
            "golden",
            golden_cases,
            broken.json_tree([*OP_TOKENS, b"cases", b"answer", b"loads", b"checkpoints", b"name"]),
            read_golden,
            ".json",
            40,
        ),
        Reader(
            "costs",
            cost_tables,
            broken.json_tree(
                [
                    b"rows",
                    b"path",
                    b"map",
                    b"loop",
                    b"dependent",
                    b"ns_min",
                    b"ns_max",
                    b"hit",
                    b"caches",
                    b"format",
                    b"levels",
                    b"working_set_bytes",
                ]
            ),
            read_costs,
            ".json",
            20,
        ),
        Reader(
            "argument",
            arguments,
            broken.json_tree(
                [
                    b"claims",
                    b"evidence",
                    b"values",
                    b"kind",
                    b"{x}",
                    b"{x:",
                    b"{x.__class__}",
                    b"{y}",
                    b"{x!r}",
                    b"{{",
                    b"Memory",
                    b"Published",
                    b"Pins",
                ]
            ),
            read_argument,
            ".json",
            150,
        ),
        Reader("notebook", notebook_seeds, broken.json_tree(NOTEBOOK_TOKENS), read_notebook, ".ipynb", 15),
        Reader(
            "series",
            lambda: SERIES,
            broken.text([b"exact=", b"kernel=", b"#", b"1000 96 64\n"]),
            read_series,
            ".txt",
            200,
        ),
        Reader(
            "registration",
            lambda: [(CAPTURES / "h100-128g-6.18/pins.json").read_bytes()],
            broken.json_tree([b"registered_bytes", b"register_seconds", b"vmstat_before"]),
            read_registration,
            ".json",
            100,
        ),
        Reader(
            "callsites",
            lambda: CALL_SEEDS,
            broken.text(
                [
                    b"put_page",
                    b"(",
                    b")",
                    b"/*",
                    b"*/",
                    b'"',
                    b"'",
                    b"//",
                    b"\\\n",
                    b"#define ",
                    b"get_page(",
                    b"__attribute__((x))",
                    b"return ",
                ]
            ),
            read_callsites,
            ".c",
            200,
        ),
    )
}

if __name__ == "__main__":
    raise SystemExit(harness.main(READERS))
