"""One question, frozen: a machine, what is pinned in it, a design, a pfn map. ``evaluate`` answers it.

Here counts meet; bytes are exact integers, or say that they are expectations. Measured times meet them in
``pin_costs``, ``slow_fast`` and ``share_curve``, and always say whose they are.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from workbench import designs, pfnmaps
from workbench.designs.base import Setting
from workbench.errors import InputError
from workbench.kernel.config import KernelConfig
from workbench.kernel.slab import SlabCache
from workbench.memory.machine import Machine
from workbench.memory.pfns import PfnSet
from workbench.memory.population import Population, drawn_from

if TYPE_CHECKING:
    import pandas as pd

    from workbench.lookups.costs import CostRow, CostTable
    from workbench.pins.replay import Replay


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Everything that a footprint depends on.

    Parameters
    ----------
    machine : str or Machine
        A shipped capture's name, a path to a capture, a spec such as ``"ram=1TiB"``, or ``"live"``.
    kernel : str, optional
        A preset to use instead of what the machine says, such as ``"arm64-64k"``.
    design : str
        A name of ``designs.registry()``, with its variant: ``"dynamic_page:range"``.
    pfn_map : str
        A name of ``pfnmaps.registry()``; only designs that keep a pfn map use it.
    nr_pinned : int or str
        Pinned pages, or a share of RAM such as ``"0.1%"``.
    run_pages : int
        Clustering: pinned pages come in naturally aligned runs of this many, a power of two.
    folio_order : int
        The pinned folios' order; a descriptor describes a folio.
    describe_device : bool
        pmem and device memory need descriptors too: a memmap, or dynamic descriptors instead of one.
    nr_device_used : int or str
        Pages of pmem and device memory in use, or a share of them.
    proxy_bytes : int
        sizeof(struct page_proxy), assumed.
    mix : str
        The page mix that memdescs are counted for: a capture's name or one of ``pagemix.ASSUMED``; ``""`` is
        the machine's own.
    folio_desc_bytes : int
        Size of a folio descriptor; 80 as in the memdesc plan.
    pinned : PfnSet, optional
        The exact set of pinned pages, instead of ``nr_pinned`` and ``run_pages``.

    Examples
    --------
    >>> row = evaluate(Scenario(machine="ram=1GiB", design="foll_pin"))
    >>> row.parts["memmap"]
    16777216
    """

    machine: str | Machine = "microvm-24g-6.18"
    kernel: str | None = None
    design: str = "dynamic_page"
    pfn_map: str = "xarray"
    nr_pinned: int | str = 0
    run_pages: int = 1
    folio_order: int = 0
    describe_device: bool = False
    nr_device_used: int | str = 0
    proxy_bytes: int = 64
    mix: str = ""
    folio_desc_bytes: int = 80
    pinned: PfnSet | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.proxy_bytes < 8:
            raise InputError(f"a proxy of {self.proxy_bytes} bytes cannot hold a pfn: 8 or more")

    def with_(self, **values: Any) -> Scenario:
        """The same scenario with some fields changed; an unknown field is an InputError."""
        known = {f.name for f in fields(self)}
        if unknown := set(values) - known:
            raise InputError(f"scenario field {sorted(unknown)[0]!r} is none of {', '.join(sorted(known))}")
        return replace(self, **values)


@dataclass(frozen=True)
class Row:
    """The answer to one scenario. ``parts`` sum to ``total_bytes``."""

    scenario: Scenario
    machine: Machine = field(repr=False)
    parts: Mapping[str, int]
    exact: bool
    notes: tuple[str, ...]
    elsewhere: Mapping[str, int]  # bytes outside RAM, by name; not part of the total
    nr_pages: int  # pages that the design describes: RAM, and device memory where that is asked for
    nr_pinned: int

    @property
    def design(self) -> str:
        """The design's name with its variant."""
        return self.scenario.design

    @property
    def total_bytes(self) -> int:
        """All bytes of the design."""
        return sum(self.parts.values())

    @property
    def bytes_per_page(self) -> float:
        """Bytes for each page that is described."""
        return self.total_bytes / self.nr_pages if self.nr_pages else 0.0

    @property
    def percent_of_ram(self) -> float:
        """Of the machine's RAM, in percent."""
        return 100 * self.total_bytes / self.machine.ram_bytes if self.machine.ram_bytes else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The keys of a row of ``workbench overhead --json``."""
        return {
            "design": self.design,
            "total_bytes": self.total_bytes,
            "parts": dict(self.parts),
            "bytes_per_page": self.bytes_per_page,
            "percent_of_ram": self.percent_of_ram,
            "exact": self.exact,
            "notes": list(self.notes),
            "elsewhere": dict(self.elsewhere),
            "machine": self.machine.name,
            "kernel": self.machine.kernel.name,
            "pfn_map": self.scenario.pfn_map,
            "nr_pinned": self.nr_pinned,
            "run_pages": self.scenario.run_pages,
            "folio_order": self.scenario.folio_order,
        }


@functools.lru_cache(maxsize=64)
def _machine(what: str, kernel: str | None) -> Machine:
    return Machine.load(what, KernelConfig.preset(kernel) if kernel else None)


def machine_of(scenario: Scenario) -> Machine:
    """The scenario's machine; those given by name are read once and kept ("live" is read each time)."""
    if isinstance(scenario.machine, Machine):
        return scenario.machine
    if scenario.machine == "live":
        return _machine.__wrapped__("live", scenario.kernel)
    return _machine(scenario.machine, scenario.kernel)


def nr_pages_of(amount: int | str, total: int, what: str = "pinned") -> int:
    """A number of pages from ``4096``, ``"4096"`` or a share such as ``"1.5%"`` of ``total``.

    Examples
    --------
    >>> nr_pages_of("1.5%", 2000)
    30
    """
    if isinstance(amount, int) and not isinstance(amount, bool):
        return amount
    text = str(amount).strip().replace(",", "").replace("_", "")
    try:
        if text.endswith("%"):
            share = float(text[:-1])
            if not 0 <= share <= 100:
                raise InputError(f"{what} {amount!r} is not between 0% and 100%")
            return round(total * share / 100)
        return int(text)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} {amount!r} is neither a number of pages nor a share such as 0.1%") from None


def evaluate(scenario: Scenario) -> Row:
    """One scenario's bytes, part by part.

    Raises
    ------
    InputError
        For an unknown design, pfn map or machine, or more pages pinned than the machine has.
    """
    machine = machine_of(scenario)
    design = designs.get(scenario.design)
    device_pages = machine.pages("pmem", "device")
    population = Population(
        nr_pinned=nr_pages_of(scenario.nr_pinned, machine.nr_pages_ram),
        run_pages=scenario.run_pages,
        folio_order=scenario.folio_order,
        nr_device_used=nr_pages_of(scenario.nr_device_used, device_pages, "device memory used"),
        pinned=scenario.pinned,
    )
    if population.nr_pages > machine.nr_pages_ram:
        raise InputError(
            f"{population.nr_pages} pinned pages, but {machine.name} has {machine.nr_pages_ram} pages of RAM"
        )
    setting = Setting(
        machine,
        population,
        pfnmaps.get(scenario.pfn_map),
        describe_device=scenario.describe_device,
        proxy_bytes=scenario.proxy_bytes,
        mix=scenario.mix,
        folio_desc_bytes=scenario.folio_desc_bytes,
    )
    found = design.footprint(setting)
    return Row(
        scenario=scenario,
        machine=machine,
        parts=found.parts,
        exact=found.exact,
        notes=found.notes,
        elsewhere=found.elsewhere,
        nr_pages=machine.nr_pages_ram + (device_pages if scenario.describe_device else 0),
        nr_pinned=population.nr_pages,
    )


def pinned_from_capture(scenario: Scenario, capture: str, seed: int = 1) -> PfnSet:
    """``scenario.nr_pinned`` pages as folios drawn from a capture's own user memory.

    See ``memory.population.drawn_from``; a capture with several page-flag files takes ``NAME#LABEL``.
    """
    from workbench.memory.pageflags import PageFlags

    name, _, label = capture.partition("#")
    machine = machine_of(scenario)
    nr = nr_pages_of(scenario.nr_pinned, machine.nr_pages_ram)
    return drawn_from(PageFlags.load(name, label or None), machine, nr, seed) if nr else PfnSet.empty()


#: Columns of ``compare`` that are not scenario fields; part columns follow as ``part:NAME``.
PART = "part:"


def compare(scenarios: Iterable[Scenario]) -> pd.DataFrame:
    """Many scenarios side by side, one row each.

    Returns
    -------
    DataFrame
        design, machine, kernel, pfn_map, nr_pinned (pages), pinned_percent (of RAM), run_pages, folio_order,
        total_bytes, bytes_per_page, percent_of_ram, exact, notes, and one int64 column ``part:NAME`` per
        part, in bytes; the part columns sum to total_bytes.
    """
    import pandas as pd

    records: list[dict[str, Any]] = []
    parts: list[Mapping[str, int]] = []
    for row in map(evaluate, scenarios):
        records.append(
            {
                "design": row.design,
                "machine": row.machine.name,
                "kernel": row.machine.kernel.name,
                "pfn_map": row.scenario.pfn_map,
                "nr_pinned": row.nr_pinned,
                "pinned_percent": 100 * row.nr_pinned / max(1, row.machine.nr_pages_ram),
                "run_pages": row.scenario.run_pages,
                "folio_order": row.scenario.folio_order,
                "total_bytes": row.total_bytes,
                "bytes_per_page": row.bytes_per_page,
                "percent_of_ram": row.percent_of_ram,
                "exact": row.exact,
                "notes": "; ".join(row.notes),
            }
        )
        parts.append(row.parts)
    for name in dict.fromkeys(name for row_parts in parts for name in row_parts):
        for record, row_parts in zip(records, parts, strict=True):
            record[PART + name] = row_parts.get(name, 0)
    return pd.DataFrame(records)


def break_even(a: Scenario, b: Scenario, *, upto: float = 100.0) -> float | None:
    """The share, in percent, from which ``a`` takes more bytes than ``b``; None if it never does.

    The share is of pinned pages in RAM, or with ``describe_device`` of pmem and device memory in use. Found
    by bisection over whole pages: the difference of the totals grows with the share.

    Examples
    --------
    >>> gpu = Scenario(machine="ram=1GiB,device=1GiB@1TiB", describe_device=True)
    >>> round(break_even(gpu.with_(design="dynamic_page"), gpu.with_(design="static")))    # the memmap wins
    68
    """
    machine = machine_of(a)
    field = "nr_device_used" if a.describe_device else "nr_pinned"
    total = machine.pages("pmem", "device") if a.describe_device else machine.nr_pages_ram

    def over(nr: int) -> bool:
        left, right = (evaluate(s.with_(**{field: nr, "pinned": None})).total_bytes for s in (a, b))
        return left > right

    low, high = 0, int(total * upto / 100)
    if over(low):
        return 0.0
    if not over(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if over(middle) else (middle, high)
    return 100 * high / total


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

    from workbench.lookups.nearest import nearest

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

    from workbench.lookups.nearest import nearest

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

    from workbench.lookups.paths import OPS, timed_path

    if not 0 <= page_to_pfn <= 1:
        raise InputError(f"a share of {page_to_pfn} page_to_pfn() calls is not in 0..1")
    weights = dict(zip(OPS, (page_to_pfn, 1 - page_to_pfn), strict=True))
    shares = np.linspace(0, 1, 101)
    curves: dict[str, Any] = {}
    beyond: dict[str, bool] = {}
    for name in names:
        total, out = np.zeros(len(shares)), False
        for op, weight in weights.items():
            path = timed_path(designs.get(name), op)
            if path is None:
                raise InputError(f"{op}() of design {name!r} is not timed")
            rows = table.usable(path=path, loop="dependent", order="random")
            by_share = {}
            for share in sorted({row.dynamic for row in rows}):
                own = [
                    row for row in rows if row.dynamic == share and (row.run == run or share in (0.0, 1.0))
                ]
                if own:
                    by_share[share], far = _by_entries(own, nr_descriptors)
                    out |= far and len(own) > 1
            if not by_share:
                raise InputError(f"cost table {table.name or table.machine!r} has no usable rows of {path!r}")
            total += weight * np.interp(shares, list(by_share), list(by_share.values()))
        curves[name], beyond[name] = total, out
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

    from workbench.lookups import model

    rows = [
        (c.row.path, c.row.shape, c.row.nr_entries, c.row.ns_median, c.predicted_ns, 100 * c.error)
        for c in model.check(table)
    ]
    return pd.DataFrame(
        rows, columns=["path", "shape", "nr_entries", "measured_ns", "predicted_ns", "error_percent"]
    )
