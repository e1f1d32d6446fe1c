"""Two designs head to head: criterion by criterion, and over two axes where each takes less.

Nothing here is a judgement: a criterion has a value for each design, says how that was made, and which of the
two is lower (or higher, where that is the better). Bytes come from ``evaluate``, loads from ``Design.paths``,
times from a cost table with the spread of its passes, mistakes from compiled headers, limits from the designs
themselves. What does not apply says so, and two times that passes do not tell apart are undecided.

Left out: weights. How many silent mistakes are worth a nanosecond, nobody has measured.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.model import designs, pfnmaps
from workbench.model.errors import InputError
from workbench.model.kernel.flagbits import FlagBudget
from workbench.model.memory.population import Population
from workbench.model.scenario.footprints import Row, Scenario, break_even, evaluate, machine_of, nr_pages_of
from workbench.studies.calls import call_ns, measured_numbers
from workbench.studies.times import _APART, pin_costs

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evidence.lookups.costs import CostTable

A, B, SAME, UNDECIDED, APART = "a", "b", "same", "undecided", "not comparable"
#: How the values of a criterion were made: as the weaker of the two.
MADE = ("exact", "cited", "compiled", "expected", "measured", "assumed")
POOL_SIZE = 16  # descriptors that each CPU keeps ready for gup_fast; assumed
RELEASE = "7.3"  # the newest release whose call sites are counted in data/callsites/history.csv
#: A distribution-like build: NODES_SHIFT 10, NR_CPUS 8192, flags of MEMORY_FAILURE, IDLE_PAGE_TRACKING and
#: PAGE_OWNER; include/linux/page-flags-layout.h, v7.3, compiled.
DISTRIBUTION = FlagBudget(nr_page_flags=25, nodes_shift=10, nr_cpus=8192)
SHARES = ("0.0001%", "0.001%", "0.01%", "0.1%", "1%", "10%", "50%")
RUNS = (1, 8, 64, 512, 4096, 32768, 262144)
DYNAMIC = (0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One row of the scoreboard. ``better`` is "a", "b", "same", "undecided" or "not comparable"."""

    group: str  # memory, time, paths, pins, flag bits, type safety, conversion, limits
    criterion: str
    unit: str  # "" for words
    value_a: float | str | None
    value_b: float | str | None
    better: str
    made: str  # one of MADE
    how: str
    source: str


@dataclass(frozen=True)
class Versus:
    """Two designs head to head. ``a`` and ``b`` are their names, variants included."""

    a: str
    b: str
    rows: tuple[Criterion, ...]

    def row(self, criterion: str) -> Criterion:
        """The criterion of that name; an unknown one is an InputError."""
        for row in self.rows:
            if row.criterion == criterion:
                return row
        known = ", ".join(row.criterion for row in self.rows)
        raise InputError(f"criterion {criterion!r} is none of {known}")

    def to_frame(self) -> pd.DataFrame:
        """A row for each criterion, the columns of `Criterion`; values are numbers, words or None."""
        import pandas as pd

        names = [field.name for field in fields(Criterion)]
        return pd.DataFrame([[getattr(row, name) for name in names] for row in self.rows], columns=names,
                            dtype=object)


def versus(a: str, b: str, *, base: Scenario, table: CostTable | None = None, share: float = 0.01,
           page_to_pfn: float = 0.5, run: int = 1, trace: str | None = None) -> Versus:
    """Put two designs of the registry head to head on one machine.

    Parameters
    ----------
    a, b : str
        Designs, with their variants: ``"dynamic_page:range"``.
    base : Scenario
        Machine, kernel, pinned pages, clustering and pfn map; its design does not matter.
    table : CostTable, optional
        With whole conversions; without one there are no times.
    share, page_to_pfn : float
        Calls that meet a dynamic page, and calls that are page_to_pfn(); 0 to 1.
    run : int
        Calls in a row that go the same way, as measured: 1 or 64.
    trace : str, optional
        A pin trace to replay, such as ``"pins-fio"``; without one there are no rows of real pins.

    Examples
    --------
    >>> base = Scenario(machine="ram=1TiB", nr_pinned=100_000)
    >>> found = versus("proxy_bit", "dynamic_page", base=base)
    >>> row = found.row("page_to_pfn(), dynamic: serial loads")
    >>> row.value_a, row.value_b, row.better
    (1, 2, 'a')
    """
    rows = memory_rows(a, b, base) + path_rows(a, b, base)
    if table is not None:
        rows += time_rows(a, b, table, base, share=share, page_to_pfn=page_to_pfn, run=run)
    if trace is not None:
        rows += pin_rows(a, b, trace, base, table)
    return Versus(a, b, tuple(rows + kernel_rows(a, b, base) + type_rows(a, b)))


def _row(group: str, criterion: str, unit: str, values: Sequence[Any], better: str = APART, *,
         made: str = "exact", how: str = "", source: str = "") -> Criterion:
    a, b = values
    return Criterion(group=group, criterion=criterion, unit=unit, value_a=a, value_b=b, better=better,
                     made=made, how=how, source=source)


def lower(a: float | None, b: float | None) -> str:
    """Which of two counts is lower.

    Examples
    --------
    >>> lower(1, 2), lower(2, 2), lower(None, 2)
    ('a', 'same', 'not comparable')
    """
    if a is None or b is None:
        return APART
    return SAME if a == b else A if a < b else B


def _sized(name: str, base: Scenario) -> bool:
    """Whether the assumed size of a proxy goes into a design's bytes."""
    kernel, design = machine_of(base).kernel, designs.get(name)
    return design.descriptor_bytes(kernel, 64) != design.descriptor_bytes(kernel, 128)


# -- bytes ------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def _evaluated(scenario: Scenario) -> Row:
    return evaluate(scenario)


def _bytes(scenario: Scenario) -> Row:
    """A row; kept, except of the running machine, which changes."""
    if not designs.get(scenario.design).uses_pfn_map:
        scenario = scenario.with_(pfn_map="flat")  # it has none, and this one is counted soonest
    return evaluate(scenario) if scenario.machine == "live" else _evaluated(scenario)


def added_bytes(scenario: Scenario) -> int:
    """Bytes beyond today's static memmap; negative where a design frees some."""
    return _bytes(scenario).total_bytes - _bytes(_today(scenario)).total_bytes


def _today(scenario: Scenario) -> Scenario:
    return scenario.with_(design="static", describe_device=False, nr_pinned=0, nr_device_used=0, pinned=None,
                          run_pages=1, folio_order=0)


def memory_rows(a: str, b: str, base: Scenario) -> list[Criterion]:
    """Bytes: beyond the static memmap, per pinned page, by part, and where one comes to take more."""
    pair = [base.with_(design=name) for name in (a, b)]
    found = [_bytes(one) for one in pair]
    assumed = any(_sized(name, base) for name in (a, b))
    made = "assumed" if assumed else "exact" if all(row.exact for row in found) else "expected"
    why = "evaluate(): slabs of descriptors, the pfn map" + ("" if all(row.exact for row in found) else
                                                            " expected over random places")
    why += f"; a proxy of {base.proxy_bytes} bytes is assumed" if assumed else ""
    today, nr = _bytes(_today(base)), found[0].nr_pinned
    added = [row.total_bytes - today.total_bytes for row in found]
    in_map = [sum(v for part, v in row.parts.items() if part.startswith("pfn map")) for row in found]

    def put(criterion: str, unit: str, values: Sequence[float | None], how: str,
            made: str = made) -> Criterion:
        return _row("memory", criterion, unit, values, lower(*values), made=made, how=how,
                    source=f"{found[0].machine.name}; workbench/designs, workbench/pfnmaps")

    rows = [
        put("beyond the static memmap", "bytes", added, f"{nr:,} pages pinned; {why}"),
        put("beyond it, per pinned page", "bytes", [v / nr if nr else None for v in added], why),
        put("of that, descriptors", "bytes", [v - m for v, m in zip(added, in_map, strict=True)],
            "objects and slab waste"),
        put("of that, the pfn map", "bytes", in_map, f"{base.pfn_map}; 0 where a design keeps none",
            "exact" if all(row.exact for row in found) else "expected"),
    ]
    for share, run in (("0.001%", 1), ("1%", 1), ("1%", 512)):
        count = nr_pages_of(share, found[0].machine.nr_pages_ram)
        if count >= max(run, 1 << base.folio_order):
            few = [one.with_(nr_pinned=count, run_pages=run, pinned=None) for one in pair]
            rows.append(put(f"per page, {share} of RAM pinned {_runs(run)}", "bytes",
                            [added_bytes(one) / count for one in few], f"{count:,} pages"))
    at = [takes_more_from(pair[0], pair[1]), takes_more_from(pair[1], pair[0])]
    better = SAME if at == [None, None] else B if at[1] is None else A if at[0] is None else APART
    rows.append(_row("memory", "pinned share from which it takes more", "% of RAM", at, better, made=made,
                     how="bisection over whole pages",
                     source="scenario.break_even"))
    if sum(_sized(name, base) for name in (a, b)) == 1:
        which = 0 if _sized(a, base) else 1
        largest = largest_proxy(pair[which], pair[1 - which])
        rows.append(_row("memory", "largest proxy that takes no more", "bytes",
                         (largest, None) if which == 0 else (None, largest), made="exact" if
                         found[1 - which].exact else "expected",
                         how=f"the assumed size varied; {base.proxy_bytes} here", source="scenario.versus"))
    return rows


@functools.lru_cache(maxsize=256)
def _takes_more_from(a: Scenario, b: Scenario) -> float | None:
    machine = machine_of(a)
    total = machine.pages("pmem", "device") if a.describe_device else machine.nr_pages_ram
    field = "nr_device_used" if a.describe_device else "nr_pinned"
    first = max(1, 1 << a.folio_order)
    none, one = ([_bytes(s.with_(**{field: nr})).total_bytes for s in (a, b)] for nr in (0, first))
    if none[0] <= none[1] and one[0] > one[1] and first <= total:
        return 100 * first / total
    return break_even(a, b)


def takes_more_from(a: Scenario, b: Scenario) -> float | None:
    """``break_even``, with the first folio tried before the bisection: the share in percent, or None."""
    pair = [s.with_(nr_pinned=0, nr_device_used=0, pinned=None) for s in (a, b)]
    return (_takes_more_from.__wrapped__ if a.machine == "live" else _takes_more_from)(*pair)


def _runs(run: int) -> str:
    return "one by one" if run == 1 else f"in runs of {run}"


def largest_proxy(proxy: Scenario, other: Scenario, most: int = 4096) -> int | None:
    """The largest sizeof a proxy, a multiple of 8, with which ``proxy`` takes no more than ``other``.

    Found by bisection; None if 8 bytes are too many, ``most`` if that still is not. Slabs fill in steps, so
    that some larger size may fit too.
    """
    limit = _bytes(other).total_bytes

    def fits(eights: int) -> bool:
        return _bytes(proxy.with_(proxy_bytes=8 * eights)).total_bytes <= limit

    low, high = 1, most // 8
    if not fits(low):
        return None
    if fits(high):
        return most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return 8 * low


def bytes_map(a: str, b: str, base: Scenario, *, shares: Iterable[str] = SHARES,
              runs: Iterable[int] = RUNS) -> pd.DataFrame:
    """Which design takes fewer bytes beyond the static memmap, by pinned share and length of runs.

    Each cell is two evaluations. Where less than one run is pinned, or runs do not fit the machine, there is
    no answer.

    Returns
    -------
    DataFrame
        percent (of RAM), nr_pinned, run_pages, bytes_a, bytes_b (added), factor (the larger by the smaller;
        NaN where one adds nothing), better, made.
    """
    import pandas as pd

    machine = machine_of(base)
    if base.machine == "live":
        base = base.with_(machine=machine)
    assumed = any(_sized(name, base) for name in (a, b))
    rows = []
    for run in runs:
        for share in shares:
            nr = nr_pages_of(share, machine.nr_pages_ram)
            cell = base.with_(nr_pinned=nr, run_pages=run, pinned=None, describe_device=False)
            found: list[int] | None = None
            exact = True
            if nr >= max(run, 1 << base.folio_order):
                try:
                    pair = [_bytes(cell.with_(design=name)) for name in (a, b)]
                    today = _bytes(_today(cell)).total_bytes
                    found, exact = [r.total_bytes - today for r in pair], all(r.exact for r in pair)
                except InputError:  # such runs do not fit
                    found = None
            left, right = found or (None, None)
            made = "assumed" if assumed else "exact" if exact else "expected"
            rows.append((float(share.rstrip("%")), nr, run, left, right, _factor(left, right),
                         lower(left, right), made))
    columns = ["percent", "nr_pinned", "run_pages", "bytes_a", "bytes_b", "factor", "better", "made"]
    return pd.DataFrame(rows, columns=columns).astype({"bytes_a": "Int64", "bytes_b": "Int64"})


def _factor(a: float | None, b: float | None) -> float:
    if a is None or b is None or min(a, b) <= 0:
        return math.nan
    return max(a, b) / min(a, b)


# -- paths ------------------------------------------------------------------------------------------------


def path_rows(a: str, b: str, base: Scenario) -> list[Criterion]:
    """Serial loads and cache lines of each conversion, walks of the pfn map by pins, the descriptor."""
    machine = machine_of(base)
    kernel, kinds = machine.kernel, [designs.get(name) for name in (a, b)]
    nr = nr_pages_of(base.nr_pinned, machine.nr_pages_ram)
    population = Population(nr_pinned=nr, run_pages=base.run_pages, folio_order=base.folio_order)
    loads = 0
    if nr and any(design.uses_pfn_map for design in kinds):
        the_map = pfnmaps.get(base.pfn_map)
        loads = the_map.expected(population.scatter(machine), kernel, span=machine.max_pfn).dependent_loads
    rows = []
    for op in ("page_to_pfn", "pfn_to_page"):
        for case in ("static", "dynamic"):
            paths = [next((p for p in d.paths(kernel, loads) if p.op == op and (p.case == "static") ==
                           (case == "static")), None) for d in kinds]
            serial = [path.dependent_loads if path else None for path in paths]
            lines = [_lines(path) if path else None for path in paths]
            how = "; ".join(f"{d.full_name}: {_words(p)}" for d, p in zip(kinds, paths, strict=True))
            for what, values in (("serial loads", serial), ("cache lines, at most", lines)):
                rows.append(_row("paths", f"{op}(), {case}: {what}", what.split(",")[0], values,
                                 lower(*values), how=how, source="workbench/designs: paths()"))
    kept = [base.pfn_map if d.uses_pfn_map else "none" for d in kinds]
    rows.append(_row("paths", "pfn map", "", kept, SAME if kept[0] == kept[1] else APART,
                     how="without one nothing leads from a pfn to the descriptor",
                     source="workbench/designs"))
    for what, counts in (("pin of a page that is not yet pinned", (1, 0, 0)),
                         ("pin of a page that is pinned already", (1, 1, 0)), ("unpin", (0, 0, 1))):
        walks = [d.map_lookups(*counts) for d in kinds]
        rows.append(_row("pins", f"walks of the pfn map, {what}", "walks", walks, lower(*walks),
                         how="Design.map_lookups(); storing and erasing are not walks",
                         source="workbench/designs"))
    sizes = [d.descriptor_bytes(kernel, base.proxy_bytes) for d in kinds]
    assumed = any(_sized(name, base) for name in (a, b))
    rows.append(_row("memory", "sizeof a descriptor", "bytes", sizes, lower(*sizes),
                     made="assumed" if assumed else "exact", how="0: a pinned page gets none",
                     source="workbench/designs: structs()"))
    allocates = [int(size > 0) for size in sizes]
    rows.append(_row("pins", "allocations of a first pin", "allocations", allocates, lower(*allocates),
                     how="gup_fast runs with interrupts off and cannot allocate: it needs a pool",
                     source="mm/gup.c, v7.3; workbench/pins/pool.py"))
    return rows


def _lines(path: Any) -> int:
    """Distinct lines named by the steps; a walk touches at most one for each of its loads."""
    alone = {step.line for step in path.steps if step.line and step.kind != "walk"}
    return len(alone) + sum(step.nr_loads for step in path.steps if step.kind == "walk")


def _words(path: Any) -> str:
    return ", then ".join(step.what for step in path.steps) if path else "no such path"


# -- times ------------------------------------------------------------------------------------------------


def faster(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which of two times is lower, where passes tell them apart: "a", "b", "undecided", "not comparable".

    Undecided are medians less than 5 % apart (assumed: what passes of one measurement differ by), and those
    of which one lies within the range of the other's passes.

    Parameters
    ----------
    a, b : ndarray of float64, shape (3, ...)
        Fastest pass, median and slowest pass.

    Examples
    --------
    >>> faster(np.array([1.0, 1.1, 1.2]), np.array([2.0, 2.2, 2.5])).item()
    'a'
    >>> faster(np.array([1.0, 1.1, 2.3]), np.array([2.0, 2.2, 2.5])).item()
    'undecided'
    """
    def ahead(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        clear: np.ndarray = ((other[1] >= (1 + _APART) * one[1]) & (one[2] < other[1]) & (other[0] > one[1]))
        return clear

    unknown = np.isnan(a).any(axis=0) | np.isnan(b).any(axis=0)
    with np.errstate(invalid="ignore"):
        return np.select([unknown, ahead(a, b), ahead(b, a)], [APART, A, B], UNDECIDED)


def ns_map(a: str, b: str, table: CostTable, *, page_to_pfn: float = 0.5, run: int = 1,
           shares: Sequence[float] = DYNAMIC, steps: int = 7) -> pd.DataFrame:
    """Which design's calls are faster, by the share of dynamic calls and the number of descriptors.

    Returns
    -------
    DataFrame
        share, nr_descriptors, ns_a, ns_b (medians), low_a, high_a, low_b, high_b (fastest and slowest pass),
        factor, better.
    """
    import pandas as pd

    ends = measured_numbers(table, (a, b), page_to_pfn=page_to_pfn, run=run) or (1, 1)
    nr = np.unique(np.geomspace(*ends, steps).round().astype(int))
    left, right = (call_ns(table, name, shares, nr, page_to_pfn=page_to_pfn, run=run) for name in (a, b))
    which = faster(left, right)
    rows = [(share, int(count), *(float(x[k, i, j]) for k, x in ((1, left), (1, right), (0, left), (2, left),
                                                                 (0, right), (2, right))),
             _factor(float(left[1, i, j]), float(right[1, i, j])), str(which[i, j]))
            for i, count in enumerate(nr) for j, share in enumerate(shares)]
    columns = ["share", "nr_descriptors", "ns_a", "ns_b", "low_a", "high_a", "low_b", "high_b", "factor",
               "better"]
    return pd.DataFrame(rows, columns=columns)


def ns_curves(names: Iterable[str], table: CostTable, *, nr_descriptors: int, page_to_pfn: float = 0.5,
              run: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """ns of a call against the dynamic share, and where one design comes to take longer than another.

    The columns are those of ``scenario.share_curve``. A number of descriptors beyond the measured ones is
    taken at their end and marked. A crossing counts where passes tell the two apart on both sides of it.
    """
    import itertools

    import pandas as pd

    names, shares = tuple(dict.fromkeys(names)), np.linspace(0, 1, 101)
    nr = _within(table, names, nr_descriptors, page_to_pfn, run)
    lines = {name: call_ns(table, name, shares, [nr], page_to_pfn=page_to_pfn, run=run)[:, 0]
             for name in names}
    curve = pd.DataFrame([(name, float(s), float(ns), nr != nr_descriptors) for name, line in lines.items()
                          for s, ns in zip(shares, line[1], strict=True)],
                         columns=["design", "share", "ns", "extrapolated"])
    crossed = []
    for (one, left), (other, right) in itertools.permutations(lines.items(), 2):
        which = faster(left, right)
        decided = np.flatnonzero((which == A) | (which == B))
        for low, high in itertools.pairwise(decided.tolist()):
            if which[low] == A and which[high] == B:
                ahead = (left - right)[1, low:high + 1]
                at = low + int(np.flatnonzero((ahead[:-1] < 0) & (ahead[1:] >= 0))[0])
                gap = left[1] - right[1]
                part = float(-gap[at] / (gap[at + 1] - gap[at]))
                crossed.append((one, other, float(shares[at] + part * 0.01),
                                float(left[1, at] + part * (left[1, at + 1] - left[1, at]))))
    return curve, pd.DataFrame(crossed, columns=["design", "other", "share", "ns"])


def time_rows(a: str, b: str, table: CostTable, base: Scenario, *, share: float = 0.01,
              page_to_pfn: float = 0.5, run: int = 1) -> list[Criterion]:
    """ns of each conversion's fast and slow path, of a mix of calls, and of a walk of the pfn map."""
    folios = _folios(base)
    whose = f"{table.cpu}, {table.date[:10]}, {table.name or 'own table'}"
    lost = [name for name in (a, b) if leads_to_static(name, base)]

    def put(criterion: str, mix: float, at: float) -> Criterion:
        try:
            nr = _within(table, (a, b), folios, mix, run)
            left, right = (call_ns(table, name, [at], [nr], page_to_pfn=mix, run=run)[:, 0, 0]
                           for name in (a, b))
            if mix < 1 and base.pfn_map != "xarray" and any(designs.get(n).uses_pfn_map for n in (a, b)):
                raise InputError(f"pfn_to_page() was measured with an XArray, not with {base.pfn_map}")
        except InputError as error:
            return _row("time", criterion, "ns", (None, None), made="measured", how=str(error), source=whose)
        how = "; ".join(f"{name}: passes {x[0]:.3g} to {x[2]:.3g}" for name, x in ((a, left), (b, right)))
        how += f"; {nr:,} descriptors" + (f" (the scenario has {folios:,})" if nr != folios else "")
        how += ", one page in 16 dynamic: a dense map" if mix < 1 else ""
        better = str(faster(left, right))
        if mix < 1 and len(lost) == 1 and at > 0:
            how += f"; pfn_to_page() of {lost[0]} gives the static page, not the descriptor"
            better = APART if mix == 0 else better
        return _row("time", criterion, "ns", (float(left[1]), float(right[1])), better, made="measured",
                    how=how, source=whose)

    rows = [put(f"{op}(), {words} dynamic", mix, at)
            for op, mix in (("page_to_pfn", 1.0), ("pfn_to_page", 0.0))
            for words, at in (("no call", 0.0), ("all calls", 1.0))]
    rows.append(put("a call of the mix", page_to_pfn, share))
    crossed, how = (None, None), "none: passes do not show that it comes to take longer"
    try:
        _, crossings = ns_curves((a, b), table, nr_descriptors=folios, page_to_pfn=page_to_pfn, run=run)
        first = dict(zip(crossings["design"], 100 * crossings["share"], strict=True))
        crossed = (first.get(a), first.get(b))  # type: ignore[assignment]
    except InputError as error:
        how = str(error)
    rows.append(_row("time", "dynamic share from which it takes longer", "% of calls", crossed,
                     made="measured", how=how, source=whose))
    ns, how = _walk_ns(table, base)
    walks = [ns if designs.get(name).uses_pfn_map else None for name in (a, b)]
    rows.append(_row("time", "a walk of the pfn map on this machine", "ns", walks,
                     SAME if walks[0] == walks[1] and walks[0] is not None else APART, made="measured",
                     how=f"{base.pfn_map}: {how}; none where a design keeps no map", source=whose))
    return rows


def _folios(base: Scenario) -> int:
    """Pinned folios, of which each has a descriptor."""
    return nr_pages_of(base.nr_pinned, machine_of(base).nr_pages_ram) >> base.folio_order


def _within(table: CostTable, names: Iterable[str], nr: int, page_to_pfn: float, run: int) -> int:
    """The measured number of descriptors nearest to one; the same where it makes no difference."""
    ends = measured_numbers(table, names, page_to_pfn=page_to_pfn, run=run)
    return min(max(nr, ends[0]), ends[1]) if ends else nr


def leads_to_static(name: str, base: Scenario) -> bool:
    """Whether pfn_to_page() of a pinned page gives the static page though there is a descriptor."""
    kernel, design = machine_of(base).kernel, designs.get(name)
    back = any(path.op == "pfn_to_page" and path.case != "static" for path in design.paths(kernel))
    return not back and design.descriptor_bytes(kernel, base.proxy_bytes) > 0


def _walk_ns(table: CostTable, base: Scenario) -> tuple[float | None, str]:
    """ns of a walk that finds its entry among the scenario's pinned pages, and where that is from."""
    from workbench.evidence.lookups.nearest import measured_loads, nearest

    machine = machine_of(base)
    if not _folios(base):
        return None, "nothing is pinned"
    population = Population(nr_pinned=nr_pages_of(base.nr_pinned, machine.nr_pages_ram),
                            run_pages=base.run_pages, folio_order=base.folio_order)
    counts = pfnmaps.get(base.pfn_map).expected(population.scatter(machine), machine.kernel,
                                                span=machine.max_pfn)
    loads = measured_loads(counts)
    try:
        near = nearest(table, base.pfn_map, nr_entries=counts.nr_entries,
                       dense=base.run_pages >> base.folio_order >= 64, loads=loads,
                       nr_bytes=counts.bytes)
    except InputError as error:
        return None, str(error)
    return near.ns, (f"{loads:.4g} serial loads, scaled from {near.taken_from}; the rule's "
                     f"median error is {100 * near.error_median:.0f} %")


# -- pins, flag bits, types, limits -----------------------------------------------------------------------


@functools.lru_cache(maxsize=16)
def _replayed(trace: str, names: tuple[str, ...], pfn_map: str, proxy_bytes: int) -> Any:
    from workbench.evidence.pins.replay import replay

    return replay(trace, designs=names, maps=(pfn_map,), proxy_bytes=proxy_bytes)


@functools.lru_cache(maxsize=16)
def _pools(trace: str) -> Any:
    from workbench.evidence.pins.pool import pool_shares

    return pool_shares(trace, [POOL_SIZE])


def pin_rows(a: str, b: str, trace: str, base: Scenario, table: CostTable | None = None) -> list[Criterion]:
    """What a real trace's pins keep and cost: peak bytes, walks, ns, pins that find gup_fast's pool empty."""
    found = _replayed(trace, tuple(dict.fromkeys((a, b))), base.pfn_map, base.proxy_bytes)
    peaks = [next(p for p in found.designs if p.design == designs.get(name).full_name) for name in (a, b)]
    source = f"trace {trace}, {found.pins:,} pins" + (f"; {found.caveat}" if found.caveat else "")
    exact = "exact" if all(p.exact for p in peaks) else "expected"
    kept, walks = [p.peak_bytes for p in peaks], [1000 * p.lookups / max(found.pins, 1) for p in peaks]
    rows = [
        _row("pins", f"peak bytes kept, {trace}", "bytes", kept, lower(*kept),
             made="assumed" if any(_sized(name, base) for name in (a, b)) else exact,
             how=f"replayed; {found.peak_live_folios:,} folios pinned at once", source=source),
        _row("pins", f"walks per 1,000 pins, {trace}", "walks", walks, lower(*walks),
             how="replayed; Design.map_lookups()", source=source),
    ]
    if table is not None:
        cost = pin_costs(found, table)
        by = dict(zip(cost["design"], cost["ns_per_pin"], strict=True))
        ns = [None if p.map and math.isnan(by[p.design]) else float(by[p.design]) if p.map else 0.0
              for p in peaks]
        rows.append(_row("pins", f"walks add to a pin, {trace}", "ns", ns, lower(*ns), made="measured",
                         how="walks by the time of one at the peak; taking, storing and erasing left out",
                         source=f"{source}; {table.cpu}, {table.date[:10]}"))
    pool = _pools(trace)
    empty = [int(pool.nr_empty[0]) if p.descriptor_bytes else 0 for p in peaks]
    rows.append(_row("pins", f"pins that find a pool of {POOL_SIZE} empty, {trace}", "pins", empty,
                     lower(*empty), made="assumed",
                     how=f"of {pool.nr_first_fast:,} first pins by gup_fast; refill after "
                         f"{pool.refill_ns:,} ns assumed", source=source))
    return rows


def kernel_rows(a: str, b: str, base: Scenario) -> list[Criterion]:
    """Page flags that are taken and left, and the limits that each design states of itself."""
    kernel = machine_of(base).kernel
    said = [designs.get(name).limits(kernel) for name in (a, b)]
    taken = [int("page flag" in limits) for limits in said]
    rows = [_row("flag bits", "page flags taken", "bits", taken, lower(*taken), how="a limit of the design",
                 source="workbench/designs: limits()")]
    for what, budget in ((f"kernel {kernel.name}", _budget(kernel)),
                         ("a distribution-like build", DISTRIBUTION)):
        left = [budget.free_bits - nr if budget else None for nr in taken]
        rows.append(_row("flag bits", f"flag bits left, {what}", "bits", left,
                         lower(*(None if v is None else -v for v in left)),
                         how=f"{budget.used_bits} of {budget.word_bits} used before" if budget else
                         "its configuration is unknown",
                         source="include/linux/page-flags-layout.h, v7.3; workbench/kernel/flagbits.py"))
    for key in dict.fromkeys(key for limits in said for key in limits):
        words = [limits.get(key, "none stated") for limits in said]
        rows.append(_row("limits", key, "", words, SAME if words[0] == words[1] else APART, made="cited",
                         how="stated by the design", source="workbench/designs: limits()"))
    return rows


def _budget(kernel: Any) -> FlagBudget | None:
    try:
        return FlagBudget.of(kernel)
    except InputError:
        return None


@functools.lru_cache(maxsize=64)
def _mistakes(header: str) -> dict[str, int]:
    """Classes of mistakes by verdict (the weakest over the call sites), and the compiler that said so."""
    from workbench.evidence.typesafety import matrix

    found = matrix.summary(matrix.rows([header]))
    return {verdict: sum(row["verdict"] == verdict for row in found) for verdict in matrix.VERDICTS}


def _headers(design: str) -> list[str]:
    """The call-site headers of a design: the plain one first, then those with a type of their own."""
    from workbench.evidence.typesafety import _variants as variants

    name = design.partition(":")[0]
    found = [v.name for v in variants.shipped().values() if name == v.name or name in v.designs]
    return sorted(found, key=lambda one: one != name)


@functools.lru_cache(maxsize=64)
def _compiled(a: str, b: str) -> tuple[Criterion, ...]:
    from workbench.evidence.typesafety import _compilers as compilers
    from workbench.evidence.typesafety import matrix

    headers = [_headers(name) for name in (a, b)]
    plain = [_mistakes(some[0]) if some else None for some in headers]
    source = f"workbench/typesafety: {compilers.default()} {compilers.versions()[compilers.default()]}"
    rows = []
    for verdict, sign in ((matrix.COMPILE, -1), (matrix.RUNTIME, 0), (matrix.SILENT, 1)):
        values = [found[verdict] if found else None for found in plain]
        total = next((sum(found.values()) for found in plain if found), 0)
        better = lower(*(None if v is None else sign * v for v in values)) if sign else APART
        names = ", ".join(some[0] if some else "no header" for some in headers)
        rows.append(_row("type safety", f"classes of mistakes: {verdict}", "classes", values, better,
                         made="compiled", how=f"of {total}, the weakest verdict over all call sites; {names}",
                         source=source))
    typed = [{name: _mistakes(name) for name in some[1:]} for some in headers]
    best = [max(some, key=lambda name, some=some: some[name][matrix.COMPILE], default=None)  # type: ignore[misc]
            for some in typed]
    values = [some[name][matrix.COMPILE] if name else None for some, name in zip(typed, best, strict=True)]
    rows.append(_row("type safety", "compile errors, with a type of its own", "classes", values,
                     lower(*(None if v is None else -v for v in values)), made="compiled",
                     how=f"the strongest header: {', '.join(name or 'none' for name in best)}",
                     source=source))
    return tuple(rows)


def type_rows(a: str, b: str) -> list[Criterion]:
    """Classes of mistakes that a compiler or a run catches, and call sites that must or may change."""
    from workbench.evidence.typesafety import conversion

    table = conversion.history()
    counts = table[(table["directory"] == "") & (table["release"] == RELEASE)].set_index("quantity")["count"]
    rows = list(_compiled(a, b))
    known = {family: int(count) for family, count in counts.items()}
    for what, ending in (("as it is", ""), ("with a type of its own", "_typed")):
        names = [name.partition(":")[0] + ending for name in (a, b)]
        rules = [conversion.CONVERSIONS.get(name) for name in names]
        must = [sum(known.get(f, 0) for f in rule.must) if rule else None for rule in rules]
        most = [None if rule is None or set(rule.may) - set(known) or rule.directories
                else sum(known[f] for f in rule.must + rule.may) for rule in rules]
        why = "; ".join(f"{n}: {r.why}" if r else f"{n}: no rule" for n, r in zip(names, rules, strict=True))
        source = f"data/callsites/history.csv, Linux {RELEASE}; workbench/typesafety/conversion.py"
        rows.append(_row("conversion", f"call sites that must change, {what}", "calls", must, lower(*must),
                         made="assumed", how=f"counts exact, rules ours; {why}", source=source))
        if any(v is not None for v in most):
            rows.append(_row("conversion", f"call sites that may have to change, {what}", "calls", most,
                             lower(*most), made="assumed",
                             how="at most; none where a family of calls is not in the recorded counts",
                             source=source))
    return rows
