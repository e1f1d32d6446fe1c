"""A whole cost table of this machine, measured in groups that are built, timed and dropped in turn."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator

from workbench.evidence.lookups import (
    _alone as alone,
)
from workbench.evidence.lookups import (
    _arena as arena,
)
from workbench.evidence.lookups import (
    _host as host,
)
from workbench.evidence.lookups import (
    _structures as structures,
)
from workbench.evidence.lookups import (
    measure,
    subjects,
)
from workbench.evidence.lookups.costs import CostRow, CostTable
from workbench.evidence.lookups.measure import Interrupted, Progress, Subject
from workbench.model.errors import InputError
from workbench.model.memory.pfns import PfnSet, Scatter

Group = tuple[str, Callable[[], list[Subject]]]

ONE_IN = 1024  # pfns for each entry of the scattered sets
SCATTERED = f"random, 1 pfn in {ONE_IN}"
SHARES = (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
RUN = 64  # calls in a row that go the same way, where not each by itself
MAX_STRUCTURE = 1 << 30  # bytes; a larger one is left out


def _sizes(first: int, last: int, factor: int) -> list[int]:
    """``first`` times powers of ``factor``, and ``last``; none so near to it that it would say the same."""
    found = []
    while first * min(factor, 4) <= last:
        found.append(first)
        first *= factor
    return [*found, last]


def largest_bytes() -> int:
    """The largest working set: four times the last-level cache, if memory allows."""
    available = arena.available_bytes() or 4 << 30
    return max(min(4 * host.last_level_bytes(), available // 4, MAX_STRUCTURE), 1 << 20)


def groups(*, full: bool) -> Iterator[Group]:
    """What is timed together, with what builds it."""
    largest = largest_bytes()
    yield "latency curve", lambda: [subjects.chase(size)
                                    for size in _sizes(1 << 12, largest, 2 if full else 4)]
    yield "arithmetic", lambda: [subjects.vmemmap("page_to_pfn"), subjects.vmemmap("pfn_to_page"),
                                 subjects.range_test()]
    orders = ("random", "sequential") if full else ("random",)
    yield "flag test", lambda: [subjects.flag_test(size // 64, order)
                                for size in _sizes(1 << 16, largest, 4 if full else 64) for order in orders]
    yield "classic sparsemem", lambda: [
        *(subjects.sparsemem("page_to_pfn", size // 64) for size in _sizes(1 << 20, largest, 16)),
        subjects.sparsemem("pfn_to_page", largest // 64)]
    alone = [(share, 1) for share in (SHARES if full else (0.0, 0.5, 1.0))]
    mixes = alone + [(share, RUN) for share in ((0.1, 0.5, 0.9) if full else ())]
    # by objects: in the nearest cache, in the second, and in none
    for nr in _sizes(1 << 8, largest // 64, 1 << 6) if full else (1 << 8, largest // 64):
        for path in ("proxy_test", "proxy_bit/page_to_pfn"):
            yield f"{path}, {nr:,} proxies", functools.partial(subjects.proxy, path, nr, mixes)
        yield (f"range test, {nr:,} dynamic_pages",
               functools.partial(subjects.dynamic_page_to_pfn, "range", nr, mixes))
    for nr in _sizes(1 << 8, largest // 1024, 1 << 5) if full else (1 << 8, largest // 1024):
        for build, test in ((subjects.dynamic_page_to_pfn, "flag"), (subjects.dynamic_pfn_to_page, "flag"),
                            (subjects.dynamic_pfn_to_page, "range")):
            name = build.__name__.removeprefix("dynamic_")
            yield f"{name}, {test}, {nr:,} dynamic_pages", functools.partial(build, test, nr, mixes)
    for nr in (1_000, 10_000, 100_000, 1_000_000, 10_000_000) if full else (1_000, 1_000_000):
        yield f"maps, {nr:,} dense entries", functools.partial(_maps, nr, "dense", orders, ())
    for nr in (1_000, 10_000, 100_000, 1_000_000) if full else (1_000, 100_000):
        yield (f"maps, {nr:,} scattered entries",
               functools.partial(_maps, nr, SCATTERED, orders, (0.5,) if full else ()))


def _maps(nr: int, shape: str, orders: tuple[str, ...], hits: tuple[float, ...]) -> list[Subject]:
    """Every map over the same entries; those that would be too large are left out."""
    pfns = PfnSet.from_ranges([(0, nr)])
    if shape == SCATTERED:
        pfns = Scatter(nr_pages=nr, within=PfnSet.from_ranges([(0, nr * ONE_IN)])).draw(seed=nr)
    found = []
    for name in structures.MAPS:
        if _bytes_of(name, pfns) > MAX_STRUCTURE:
            continue
        built = structures.build(name, pfns)
        found += [subjects.pfn_map(built, pfns, order=order, shape=shape) for order in orders]
        found += [subjects.pfn_map(built, pfns, hit=hit, shape=shape) for hit in hits]
    return found


def _bytes_of(name: str, pfns: PfnSet) -> int:
    """A bound for what is too large to build: tables that go by the span, objects of a hash."""
    span = (pfns.max_pfn or 0) + 1
    return {"flat": span * 8, "rhashtable": pfns.nr_entries * 104,
            "two_level": span // 64 + 4096 * pfns.distinct_prefixes(9)}.get(name, 0)


def measured(*, full: bool, progress: Progress | None = None, seed: int = 1) -> CostTable:
    """Measure this machine: under three minutes, or 15 s if not ``full``, compiling not counted.

    Ctrl-C keeps what is done; ``method["complete"]`` says whether it is all.
    """
    with alone.alone("a cost table"):
        return _measured(full, progress, seed)


def _measured(full: bool, progress: Progress | None, seed: int) -> CostTable:
    plan = list(groups(full=full))
    rows: list[CostRow] = []
    left_out: list[str] = []
    complete, huge, before = True, 0, host.load()
    lookups, passes = (measure.MAX_LOOKUPS, measure.PASSES) if full else (1 << 14, measure.MIN_PASSES)
    try:
        for nr, (name, build) in enumerate(plan):
            if progress is not None:
                progress(nr, len(plan), name)
            try:
                group = build()
            except InputError as error:
                left_out.append(f"{name}: {error}")
                continue
            huge = max(huge, arena.huge_bytes())
            rows += measure.measure(group, passes=passes, nr_lookups=lookups, seed=seed + nr)
            del group
    except Interrupted as stop:
        rows, complete = rows + stop.rows, False
    except KeyboardInterrupt:
        complete = False
    with host.pinned() as cpu:
        pass
    method = {
        "loops": "Numba; dependent: each key needs the result before it; independent: no dependence",
        "passes": passes, "most_lookups_per_pass": lookups, "seed": seed, "complete": complete,
        "clock": "CPU time of the thread" if measure.clock is not time.perf_counter_ns else "wall clock",
        "contenders": "interleaved pass by pass within a group, new keys in each pass",
        "unusable": f"rows whose upper quartile is more than {measure.WILD} times the lower, after twice the "
                    "passes",
        "largest_structure_bytes": MAX_STRUCTURE,
        "pinned_to_cpu": cpu, "huge_page_bytes": huge, "load_before": before, "load_after": host.load(),
        "left_out": left_out}
    return CostTable(machine=host.machine(), cpu=host.cpu_model(), date=host.now(), caches=host.caches(),
                     versions=host.versions(), method=method, rows=tuple(rows))
