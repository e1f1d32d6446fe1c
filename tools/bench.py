"""The speed goals, measured on this machine: minimum and median of several passes.

    python tools/bench.py            # all of them
    python tools/bench.py xarray     # those with "xarray" in their name
    python tools/bench.py xa_load    # the Numba walk against its C twin

A goal concerns the minimum: other work on the machine only ever adds time. What cannot be measured here says
why. Left out: the first set-up (``time make setup`` in a fresh clone).
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import gzip
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
LIVE_BTF = Path("/sys/kernel/btf/vmlinux")
SCRATCH = tempfile.TemporaryDirectory()  # removed at exit


@dataclass(frozen=True)
class Bench:
    """What is timed. ``prepare`` runs before each pass, untimed, and returns the timed call.

    A call that returns a float has timed itself, in seconds.
    """

    what: str
    goal_s: float | None
    prepare: Callable[[], Callable[[], object]]
    passes: int = 5

    def measure(self) -> list[float]:
        """Seconds of each pass."""
        found = []
        for _ in range(self.passes):
            call = self.prepare()
            start = time.perf_counter()
            own = call()
            elapsed = time.perf_counter() - start
            found.append(own if isinstance(own, float) else elapsed)
        return found


def benches() -> Iterator[Bench]:
    """Every line of the table."""
    yield Bench("start of the Python interpreter, to compare with", None,
                lambda: functools.partial(python, "pass"))
    yield Bench("import workbench, interpreter start included", 0.3,
                lambda: functools.partial(python, "import workbench"))
    yield Bench("XArray count of 10,000,000 random pfns", 1.0, xarray_count, passes=3)
    from workbench.model import designs

    for design in designs.names(variants=True):
        for tib, extents, goal in ((64, 10_000, 0.020), (64, 100, None), (1, 10_000, None)):
            yield Bench(f"footprint of {design}: {tib} TiB, {extents:,} extents", goal,
                        functools.partial(footprint, design, tib, extents))
    for design, pfn_map in sweeps():
        yield Bench(f"300,000 scenarios of {design}, {pfn_map}, by arrays", 1.0,
                    functools.partial(scenarios, design, pfn_map), passes=3)
    yield Bench("XArray arena of 10,000,000 scattered entries", 3.0, xarray_arena, passes=3)
    yield Bench("decode kpageflags of h100-128g-6.18 (33.8 million pfns)", 0.5, kpageflags, passes=3)
    yield Bench(f"struct page from {LIVE_BTF}, reader started cold", 0.150, struct_page)
    for what, name, stamp, goal in (  # 1.5 million lines a second
        ("ftrace", "ftrace-kprobe.A.full.txt.gz", rb"(?<= )(\d+)(?=\.\d{6}: )", 1 / 1.5),
        ("bpftrace", "bpftrace-pins.txt.gz", rb"^(\d+)(?=\d{9} )", None),
    ):
        yield Bench(f"import of 1,000,000 {what} lines, text to Parquet, compiled", goal,
                    functools.partial(trace_import, name, stamp), passes=3)
    for shift, what in ((0, "66,460"), (1 << 21, "2,259,640")):
        yield Bench(f"replay of 10,100,856 events of {what} folios, one design, compiled", 2.0,
                    functools.partial(trace_replay, shift), passes=3)
    yield Bench("a shared page of 912 points: opened by file:// to first figure", 1.5, shared_page, passes=7)
    yield Bench("a shared page: one step of a slider, three figures", 0.060, shared_step, passes=15)


@functools.cache
def shared_tab() -> Any:
    """The overhead explorer as a page, and a Chromium's tab to show it in."""
    import atexit

    from playwright.sync_api import sync_playwright

    from workbench.views import explorers as widgets
    from workbench.views.pages import share

    sys.path.insert(0, str(ROOT / "tests"))
    from conftest import CHROMIUM_ARGS, find_chromium

    if not (chromium := find_chromium()):
        raise FileNotFoundError("no Chromium on PATH")
    path = Path(SCRATCH.name, "page.html")
    share.share(widgets.OverheadExplorer(), path, pictures=False, progress=lambda _: None)
    driver = sync_playwright().start()
    browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
    atexit.register(driver.stop)
    atexit.register(browser.close)
    return browser.new_context(offline=True).new_page(), path.as_uri()


def shared_page() -> Callable[[], float]:
    """The browser's own clock, from navigation; the first pass may find the file not yet in memory."""
    tab, address = shared_tab()

    def opened() -> float:
        tab.goto(address)
        tab.wait_for_selector("body[data-shown]")
        return tab.evaluate("performance.getEntriesByName('first figure')[0].startTime") / 1000
    return opened


def shared_step() -> Callable[[], float]:
    """From the slider's event until every figure, text and table shows the new point."""
    tab, address = shared_tab()
    if not tab.url.startswith(address):
        shared_page()()
    step = """async () => {
        const slider = document.querySelector("input[type=range]"), start = performance.now();
        slider.value = (Number(slider.value) + 1) % (Number(slider.max) + 1);
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        const point = String(pointOf(places()));
        while (document.body.dataset.shown !== point) await new Promise((next) => setTimeout(next, 1));
        return performance.now() - start;
    }"""
    return lambda: tab.evaluate(step) / 1000


def xarray_arena() -> Callable[[], object]:
    """Entries scattered over 1 TiB: 3.9 million nodes, 2.3 GB, whose pages the system zeroes meanwhile.

    In a virtual machine the first pass may also wait for the host to find that memory.
    """
    from workbench import PfnSet
    from workbench.evidence.lookups import _structures as structures

    structures.xarray(PfnSet.from_pfns([99]))  # compiled before
    pfns = PfnSet.from_pfns(np.random.default_rng(1).integers(0, 1 << 28, 10_000_000, dtype=np.uint64))

    def build() -> None:
        structures.xarray(pfns)  # and dropped, so that the next pass gets the same memory
    return build


def lookup_ratios() -> Iterator[str]:
    """The Numba walk over an XArray and its C twin over the same nodes: medians of paired ratios."""
    import xa_walk

    from workbench import PfnSet
    from workbench.evidence.lookups import _structures as structures
    from workbench.evidence.lookups import measure, subjects

    rng = np.random.default_rng(1)

    def scattered(nr: int, bits: int) -> PfnSet:
        return PfnSet.from_pfns(rng.integers(0, 1 << bits, nr, dtype=np.uint64))

    with tempfile.TemporaryDirectory() as folder:
        twin = xa_walk.functions(Path(folder))
        for name, pfns in (("dense 1e3", PfnSet.from_ranges([(0, 1000)])),
                           ("dense 1e5", PfnSet.from_ranges([(0, 100_000)])),
                           ("dense 1e7", PfnSet.from_ranges([(0, 10_000_000)])),
                           ("random 1e5 in 2^30", scattered(100_000, 30)),
                           ("random 1e6 in 2^36", scattered(1_000_000, 36))):
            built = structures.xarray(pfns)
            numba = subjects.pfn_map(built, pfns)
            for loop, most in (("dependent", 1.1), ("independent", 1.0)):
                pair = [replace(numba, loops=(loop,)), replace(numba, loops=(loop,), loop=twin[loop])]
                timed = [one.ns[:21] for one in measure.interleaved(pair, passes=21)]
                ratio = statistics.median(a / b for a, b in zip(*timed, strict=True))
                low = 0.9 if loop == "dependent" else 0.0
                ns = [statistics.median(one) for one in timed]
                yield (f"xa_load, {name}, {loop:11}  Numba {ns[0]:8.2f} ns, C {ns[1]:8.2f} ns, ratio "
                       f"{ratio:.2f}  goal {low or 'at most'}{'-' if low else ' '}{most}  "
                       f"{'met' if low <= ratio <= most else 'MISSED'}")


def python(code: str) -> None:
    """Run a fresh interpreter."""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def xarray_count() -> Callable[[], object]:
    """Pfns of 64 TiB, drawn with repetition; sorting them is part of the work."""
    from workbench import KernelConfig, PfnSet
    from workbench.model import pfnmaps

    pfns = np.random.default_rng(1).integers(0, 1 << 34, 10_000_000, dtype=np.uint64)
    kernel = KernelConfig()
    counted = pfnmaps.get("xarray")
    return lambda: counted.counts(PfnSet.from_pfns(pfns), kernel)


@functools.cache
def spec(tib: int, extents: int) -> str:
    """That much RAM in so many pieces, a hole of 128 MiB after each."""
    mib = tib << 20
    step = -(-mib // extents // 128) * 128
    holes = (f"hole={i * (step + 128) + step}MiB-{(i + 1) * (step + 128)}MiB" for i in range(extents - 1))
    return ",".join([f"ram={tib}TiB", "kernel=x86-64-5level", *holes])


def footprint(design: str, tib: int, extents: int) -> Callable[[], object]:
    """1 % of a new machine pinned, page by page at random, so that nothing is cached."""
    from workbench import Machine, Scenario, evaluate

    scenario = Scenario(machine=Machine.from_spec(spec(tib, extents)), design=design, nr_pinned="1%")
    return lambda: evaluate(scenario)


def sweeps() -> Iterator[tuple[str, str]]:
    """Designs and the pfn maps that they use, where a formula takes arrays."""
    from workbench.model import designs, pfnmaps

    for design in designs.names():
        maps = [name for name, one in pfnmaps.registry().items() if one.by_arrays]
        yield from ((design, name) for name in (maps if designs.get(design).uses_pfn_map else ["xarray"]))


def scenarios(design: str, pfn_map: str) -> Callable[[], object]:
    """Random shares of 1 TiB, runs and sizes, in batches as a sweep has them; one core."""
    from workbench import Scenario
    from workbench.model.scenario.batch import evaluate_all
    from workbench.studies.sweep import Range, spec

    what = spec(Scenario(machine="ram=1TiB", design=design, pfn_map=pfn_map),
                random={"nr_pinned": Range("0.001%", "10%", log=True), "run_pages": Range(1, 512),
                        "folio_order": Range(0, 2), "proxy_bytes": Range(8, 256),
                        "folio_desc_bytes": Range(64, 128)}, samples=300_000)
    size = 50_000
    batches = [what.columns(first, first + size) for first in range(0, what.nr_points, size)]

    def evaluate() -> None:
        for columns in batches:
            evaluate_all(what.base, columns, size)
    return evaluate


def trace_replay(shift: int) -> Callable[[], object]:
    """pins-mixed-lossy-kprobe 34 times, each time ``shift`` pfns further up, from memory."""
    from workbench import load_trace, replay

    trace, times = load_trace("pins-mixed-lossy-kprobe"), 34
    nth = np.repeat(np.arange(times), len(trace))
    long = trace.select(np.tile(np.arange(len(trace)), times))
    long = dataclasses.replace(long, ts_ns=long.ts_ns + nth * (int(trace.ts_ns[-1]) + 1000),
                               pfn=(long.pfn + nth * shift).astype(np.uint32))
    replay(trace)
    return lambda: replay(long, designs=["dynamic_page"])


def kpageflags() -> Callable[[], object]:
    """From the file to page types and folio orders."""
    from workbench.model.memory.pageflags import PageFlags

    def decode() -> None:
        flags = PageFlags.load("h100-128g-6.18", "pinned")
        flags.types()
        flags.folio_orders()
    return decode


def struct_page() -> Callable[[], float]:
    """In a new process each time; its imports are not counted."""
    code = ("import time; from workbench.model.kernel import _btf; "
            "from workbench.model.kernel.structs import Struct; "
            f"start = time.perf_counter(); Struct.from_btf('page', '{LIVE_BTF}'); "
            "print(time.perf_counter() - start)")

    def child() -> float:
        command = [sys.executable, "-c", code]
        return float(subprocess.run(command, check=True, cwd=ROOT, capture_output=True).stdout)
    if not LIVE_BTF.exists():
        raise FileNotFoundError(f"no {LIVE_BTF} on this kernel")
    return child


def trace_import(name: str, stamp: bytes) -> Callable[[], object]:
    """A shipped text over and over, each time a little later; what is compiled is compiled before."""
    from workbench.evidence.pins.readers import import_text

    text = trace_text(name, stamp)
    import_text(ROOT / "data/traces" / name, text.with_name("out.parquet"))
    return lambda: import_text(text, text.with_name("out.parquet"))


@functools.cache
def trace_text(name: str, stamp: bytes) -> Path:
    """1,000,000 lines; `stamp` finds the seconds."""
    lines = gzip.decompress((ROOT / "data/traces" / name).read_bytes()).splitlines(keepends=True)
    parts = [re.split(stamp, line, maxsplit=1) for line in lines if re.search(stamp, line)]
    span = int(parts[-1][1]) - int(parts[0][1]) + 1
    path = Path(SCRATCH.name, name).with_suffix("")
    with path.open("wb") as file:
        for k in range(1_000_000):
            repeat, at = divmod(k, len(parts))
            before, seconds, after = parts[at]
            file.write(b"%b%d%b" % (before, int(seconds) + repeat * span, after))
    return path


def cpu_model() -> str:
    """As /proc/cpuinfo names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "cpu\t")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def ms(seconds: float) -> str:
    """Milliseconds for a table."""
    return f"{1000 * seconds:,.1f}"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="", help="only lines whose name holds this")
    wanted = parser.parse_args().name
    ratios = "xa_load, the Numba walk against its C twin: ratios"
    redraw = "redraw in JupyterLab, key press to figures"
    names = [*(bench.what for bench in benches()), ratios, redraw]
    if not any(wanted in name for name in names):
        print("\n  ".join([f"bench.py: no line's name holds {wanted!r}; they are:", *names]), file=sys.stderr)
        return 2
    print(f"{datetime.date.today()}, {cpu_model()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, "
          f"Linux {platform.release()}, Python {platform.python_version()}, numpy {np.__version__}\n")
    print(f"{'':66} {'min ms':>9} {'median ms':>10} {'goal ms':>8}")
    for bench in benches():
        if wanted not in bench.what:
            continue
        goal = "-" if bench.goal_s is None else ms(bench.goal_s)
        try:
            times = bench.measure()
        except Exception as error:
            print(f"{bench.what:66} {'':9} {'':10} {goal:>8}  not measured: {error}")
            continue
        verdict = "" if bench.goal_s is None else "met" if min(times) <= bench.goal_s else "MISSED"
        middle = statistics.median(times)
        print(f"{bench.what:66} {ms(min(times)):>9} {ms(middle):>10} {goal:>8}  {verdict}", flush=True)
    if wanted in ratios:
        print()
        try:
            for line in lookup_ratios():
                print(line, flush=True)
        except RuntimeError as error:
            print(f"xa_load, Numba against C: not measured: {error}")
    if wanted in redraw:
        import lab_redraw

        print()
        try:
            print(lab_redraw.summary(), flush=True)
        except Exception as error:  # no browser, or a page that does not answer
            print(f"{redraw}: not measured: {str(error).splitlines()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
