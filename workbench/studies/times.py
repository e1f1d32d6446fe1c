"""Counts meet times: what lookups add to pins, slow paths against fast ones, shares of dynamic calls.

A cost table's times always say whose they are: CPU, date, spread.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from workbench.model import designs, pfnmaps
from workbench.model.errors import InputError
from workbench.model.kernel.slab import SlabCache
from workbench.model.memory.population import Population
from workbench.model.scenario.footprints import Scenario, machine_of
from workbench.studies.calls import call_ns, measured_numbers

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evidence.lookups.costs import CostRow, CostTable
    from workbench.evidence.pins.replay import Replay


def pin_costs(found: Replay, table: CostTable) -> pd.DataFrame:
    """What looking descriptors up adds to a pin and its unpin: a replay's counts, a cost table's times.

    A design says which pins and unpins walk its pfn map (``Design.map_lookups``); a walk takes what
    ``lookups.nearest`` finds for the map at its peak. Left out: taking a descriptor from the pool, storing it
    into the map and erasing it, locks, and that a walk which finds nothing may be shorter.

    Returns
    -------
    DataFrame
        design, map, lookups_per_pin, lookup_ns (median; NaN where the table has no such map), ns_per_pin (the
        mean over all pins), error_percent (of lookup_ns, median over the table's own rows), taken_from (the
        row's shape, entries and height), cpu, date, note (what is wrong with the trace).
    """
    import pandas as pd

    from workbench.evidence.lookups.nearest import nearest

    rows = []
    for peak in found.designs:
        if not peak.map:
            continue
        kept = found.maps[peak.map]
        most, leaves = max(found.peak_entries, 1), found.maps["xarray"].peak_per_shift.get(0, 1)
        facts = {"nr_entries": most, "dense": most > 8 * leaves}  # of the 64 slots of a leaf; assumed
        if peak.map == "xarray":
            nr_bytes = kept.peak_nodes * SlabCache.xa_node(found.kernel).object_bytes
            facts |= {"loads": 1 + 2 * kept.peak_height, "nr_bytes": nr_bytes}
        per_pin = peak.lookups / max(found.pins, 1)
        try:
            near = nearest(table, peak.map, **facts)  # type: ignore[arg-type]
            known = (near.ns, near.ns * per_pin, 100 * near.error_median, near.taken_from)
        except InputError:
            known = (math.nan, math.nan, math.nan, "not measured")
        rows.append((peak.design, peak.map, per_pin, *known, table.cpu, table.date, found.caveat))
    columns = ["design", "map", "lookups_per_pin", "lookup_ns", "ns_per_pin", "error_percent", "taken_from",
               "cpu", "date", "note"]
    return pd.DataFrame(rows, columns=columns)


# -- counts and times of page_to_pfn() and pfn_to_page() ----------------------------------------------------

#: The dynamic designs whose conversions have a slow path, as ``lookups.paths`` times them.
SLOW_DESIGNS = ("proxy_bit", "dynamic_page:flag", "dynamic_page:range")


def slow_fast(
    tables: Iterable[CostTable],
    *,
    machine: str = "ram=1TiB",
    nr_pinned: Iterable[int] = (1_000, 100_000, 1_000_000),
    run_pages: Iterable[int] = (1, 512),
) -> pd.DataFrame:
    """What the slow path of a conversion takes against the fast one, in chains of dependent calls.

    Fast, where the test is in registers, is the arithmetic alone: a predicted test hides behind it (measured
    whole, proxy, range and plain vmemmap take the same time). Slow is what the result waits for: the load of
    a proxy (``proxy_test``, all tagged), of a dynamic_page (``flag_test`` in as many bytes), the walk of an
    XArray that holds the pinned pages of ``machine`` (``lookups.nearest``).

    The flag in struct page has rows only where a table has its whole conversions: a predicted branch does not
    wait for the flag, so that its cost cannot be composed from the load of a flag. Its fast path is the
    measured one at the largest memmap; pfn_to_page() adds the walk to it.

    Left out: what a branch costs that goes both ways (``share_curve`` has it measured), TLB misses of a
    larger machine, RCU.

    Parameters
    ----------
    tables : iterable of CostTable
        With rows of ``flag_test``, ``proxy_test``, ``vmemmap/...`` and ``xarray``.
    machine : str
        Pinned pages are placed at random in its RAM, in runs of ``run_pages``.

    Returns
    -------
    DataFrame
        cpu, design, op, nr_pinned, run_pages, fast_ns, slow_ns, ratio, slow_percent (of calls that meet a
        page of RAM at random), error_percent (of the walk), extrapolated (a size that was not measured).
    """
    import pandas as pd

    from workbench.evidence.lookups.nearest import nearest

    ram = machine_of(Scenario(machine=machine))
    size = designs.get("dynamic_page").descriptor_bytes(ram.kernel, 64)
    rows = []
    for table in tables:
        arith = {
            op: table.ns(f"vmemmap/{op}", "dependent", 0).ns_median for op in ("page_to_pfn", "pfn_to_page")
        }
        known = [row.nr_entries or 0 for row in table.usable(path="xarray", loop="dependent", hit=1.0)]
        flag = {op: _conversion(table, f"dynamic_page:flag/{op}", 0.0) for op in arith}
        whole = _conversion(table, "dynamic_page:flag/page_to_pfn", 1.0)
        for nr, run in itertools.product(nr_pinned, run_pages):
            counts = pfnmaps.get("xarray").expected(
                Population(nr_pinned=nr, run_pages=run).scatter(ram), ram.kernel
            )
            near = nearest(
                table,
                "xarray",
                nr_entries=counts.nr_entries,
                dense=run >= 64,
                loads=counts.dependent_loads,
                nr_bytes=counts.nr_nodes * SlabCache.xa_node(ram.kernel).object_bytes,
            )
            walk = (near.ns, not min(known) <= counts.nr_entries <= max(known))
            load = table.ns("flag_test", "dependent", nr * size)
            found = {
                ("proxy_bit", "page_to_pfn"): (arith["page_to_pfn"], *_proxy_ns(table, nr, 1.0)),
                ("dynamic_page:range", "page_to_pfn"): (
                    arith["page_to_pfn"],
                    load.ns_median,
                    load.extrapolated,
                ),
                ("dynamic_page:range", "pfn_to_page"): (arith["pfn_to_page"], *walk),
            }
            if whole and flag["page_to_pfn"]:
                fast = max(flag["page_to_pfn"], key=lambda row: row.nr_entries or 0).ns_median
                found["dynamic_page:flag", "page_to_pfn"] = (fast, *_by_entries(whole, nr))
            if flag["pfn_to_page"]:
                fast = max(flag["pfn_to_page"], key=lambda row: row.nr_entries or 0).ns_median
                found["dynamic_page:flag", "pfn_to_page"] = (fast, fast + walk[0], walk[1])
            for (design, op), (fast, slow, beyond) in found.items():
                error = 100 * near.error_median if op == "pfn_to_page" else math.nan
                share = 100 * nr / ram.nr_pages_ram
                rows.append((table.cpu, design, op, nr, run, fast, slow, slow / fast, share, error, beyond))
    columns = ["cpu", "design", "op", "nr_pinned", "run_pages", "fast_ns", "slow_ns", "ratio", "slow_percent",
               "error_percent", "extrapolated"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _conversion(table: CostTable, path: str, share: float) -> tuple[CostRow, ...]:
    return table.usable(path=path, loop="dependent", order="random", dynamic=share, run=1)


def _by_entries(rows: Sequence[CostRow], nr: int) -> tuple[float, bool]:
    """ns at a number of entries, linear in its logarithm; beyond the measured ones their end, and True."""
    import numpy as np

    by = {row.nr_entries: row.ns_median for row in rows if row.nr_entries}
    if not by:
        raise InputError("no row says how many entries it had")
    known = sorted(by)
    ns = float(np.interp(math.log(nr), [math.log(n) for n in known], [by[n] for n in known]))
    return ns, not known[0] <= nr <= known[-1]


def _proxy_ns(table: CostTable, nr: int, share: float) -> tuple[float, bool]:
    rows = table.usable(path="proxy_test", loop="dependent", order="random", dynamic=share, run=1)
    if not rows:
        raise InputError(
            f"cost table {table.name or table.machine!r} has no usable proxy_test at {share:.0%}"
        )
    return _by_entries(rows, nr)


#: Two curves that never part by more are one: what passes of a measurement differ by. Assumed.
_APART = 0.05


def share_curve(
    table: CostTable,
    names: Iterable[str],
    *,
    nr_descriptors: int = 100_000,
    run: int = 1,
    page_to_pfn: float = 0.5,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measured ns of a call against the share of calls that meet a dynamic page, and where two designs cross.

    Parameters
    ----------
    table : CostTable
        With rows of whole conversions (``dynamic_page:flag/page_to_pfn`` and so on).
    names : iterable of str
        Designs; those without a dynamic path are a constant.
    nr_descriptors : int
        Dynamic objects among which the calls choose at random. As the tables measure it, one page in 16 is
        dynamic: the map of pfn_to_page() is far denser, and its walk faster, than with as few in 1 TiB.
    run : int
        Calls in a row that go the same way; 1 is what branch prediction likes least. As measured: 1 or 64.
    page_to_pfn : float
        Share of the calls that are page_to_pfn(); the others are pfn_to_page().

    Returns
    -------
    curve : DataFrame
        design, share, ns, extrapolated (more descriptors than were measured, or fewer).
    crossings : DataFrame
        design, other, share, ns: where ``design`` comes to take longer than ``other``, of those that part by
        5 % or more on both sides.
    """
    import numpy as np
    import pandas as pd

    if not 0 <= page_to_pfn <= 1:
        raise InputError(f"a share of {page_to_pfn} page_to_pfn() calls is not in 0..1")
    shares = np.linspace(0, 1, 101)
    curves: dict[str, Any] = {}
    beyond: dict[str, bool] = {}
    for name in names:
        known = measured_numbers(table, [name], page_to_pfn=page_to_pfn, run=run)
        at = min(max(nr_descriptors, known[0]), known[1]) if known else nr_descriptors
        curves[name] = call_ns(table, name, shares, [at], page_to_pfn=page_to_pfn, run=run)[1, 0]
        beyond[name] = at != nr_descriptors
    curve = pd.DataFrame(
        [
            (name, float(share), float(ns), beyond[name])
            for name, line in curves.items()
            for share, ns in zip(shares, line, strict=True)
        ],
        columns=["design", "share", "ns", "extrapolated"],
    )
    crossed = []
    for (a, left), (b, right) in itertools.permutations(curves.items(), 2):
        ahead = left - right
        apart = np.abs(ahead) / np.minimum(left, right)
        changes = np.flatnonzero((ahead[:-1] < 0) != (ahead[1:] < 0))
        parts = np.split(apart, changes + 1)  # between two changes of the lead
        for place, at in enumerate(changes.tolist()):
            if ahead[at] >= 0 or min(parts[place].max(), parts[place + 1].max()) < _APART:
                continue
            part = -ahead[at] / (ahead[at + 1] - ahead[at])
            crossed.append(
                (a, b, float(shares[at] + part * 0.01), float(left[at] + part * (left[at + 1] - left[at])))
            )
    return curve, pd.DataFrame(crossed, columns=["design", "other", "share", "ns"])


def path_costs(table: CostTable, nr_descriptors: int = 100_000, loop: str = "dependent") -> pd.DataFrame:
    """Every path that a table has, at the measured number of entries nearest to one.

    Returns
    -------
    DataFrame
        path, dynamic (share of calls), shape, nr_entries, working_set_bytes, ns_min, ns_median, ns_max. Of a
        path that was measured with several shares, those where all calls go the same way and the even mix.
    """
    import pandas as pd

    best: dict[tuple[str, float, str], CostRow] = {}
    for row in table.usable(loop=loop, order="random", hit=1.0, run=1):
        if row.path == "chase" or row.dynamic not in (0.0, 0.5, 1.0):
            continue
        key = (row.path, row.dynamic, row.shape)
        known = best.get(key)
        apart = abs(math.log((row.nr_entries or 1) / nr_descriptors))
        if known is None or apart < abs(math.log((known.nr_entries or 1) / nr_descriptors)):
            best[key] = row
    rows = [
        (path, dynamic, shape, row.nr_entries, row.working_set_bytes, row.ns_min, row.ns_median, row.ns_max)
        for (path, dynamic, shape), row in best.items()
    ]
    return pd.DataFrame(
        rows,
        columns=[
            "path",
            "dynamic",
            "shape",
            "nr_entries",
            "working_set_bytes",
            "ns_min",
            "ns_median",
            "ns_max",
        ],
    )


def model_checks(table: CostTable) -> pd.DataFrame:
    """The cost model against measurement: path, shape, nr_entries, measured_ns, predicted_ns, error_percent.

    The model adds up a latency for each serial load (``lookups.model``); nothing in it is fitted.
    """
    import pandas as pd

    from workbench.evidence.lookups import model

    rows = [
        (c.row.path, c.row.shape, c.row.nr_entries, c.row.ns_median, c.predicted_ns, 100 * c.error)
        for c in model.check(table)
    ]
    return pd.DataFrame(
        rows, columns=["path", "shape", "nr_entries", "measured_ns", "predicted_ns", "error_percent"]
    )


def lean_walks(table: CostTable) -> pd.DataFrame:
    """The kernel's XArray walk against one that knows the shift from the height: ns of both, ratio."""
    import pandas as pd

    rows = {(row.path.split("@")[0], row.shape, row.nr_entries): row.ns_median
            for row in table.usable(loop="dependent", order="random", hit=1.0)}
    lean = {key[1:]: ns for key, ns in rows.items() if key[0] == "xarray_lean"}
    found = [(shape, nr, ns, lean[shape, nr], lean[shape, nr] / ns)
             for (path, shape, nr), ns in rows.items() if path == "xarray" and (shape, nr) in lean]
    return pd.DataFrame(found, columns=["entries are", "entries", "kernel's walk, ns",
                                        "shift from height, ns", "ratio"])


def kernel_walks(runs: list[dict[str, Any]]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Recorded lookups of the running kernel beside the user-space walk, and the maple tree's run."""
    import pandas as pd

    *xarray, maple = runs
    live = pd.DataFrame([run | {"walk_ns": run["user_space_walk"]["ns_median"]} for run in xarray])
    live["set"] = ["dense" if dense else f"random in 2^{bits}"
                   for dense, bits in zip(live["dense"], live["bits"], strict=True)]
    live["kernel : user space"] = live["ns_walk"] / live["walk_ns"]
    return live, maple
