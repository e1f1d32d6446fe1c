"""A lookup that was not measured at this size, by the measured one that is most like it.

Alike are lookups with as many serial loads, as many entries and as many bytes for each entry: the distance is
the sum of the logarithms of the three ratios, of those that both know, and 1 more where one set is dense and
the other scattered. The time is the row's, scaled by the loads. How far off that is comes with it: the same
rule, asked for every row of the path as if that one had not been measured. It needs no latency curve, so that
it works on reference tables.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.evidence.lookups.costs import CostRow, CostTable
from workbench.evidence.lookups.model import levels_of
from workbench.model.errors import InputError
from workbench.model.pfnmaps import MapCounts


@dataclass(frozen=True)
class Nearest:
    """ns of a lookup, the row that it is from, and the rule's error on the table's own rows."""

    ns: float
    row: CostRow
    error_median: float  # of |estimate / measured - 1|, each row by the others; NaN where there is no other

    @property
    def taken_from(self) -> str:
        """The row in words."""
        height = f", height {self.row.height}" if self.row.height else ""
        return f"{self.row.shape or self.row.path}, {self.row.nr_entries:,} entries{height}"


def loads_of(row: CostRow) -> float | None:
    """Serial loads of a row's lookup: counted, or by the height of an XArray (1 + 2h)."""
    if row.dependent_loads:
        return row.dependent_loads
    return 1.0 + 2 * row.height if row.height and row.path.startswith("xarray") else None


def measured_loads(counts: MapCounts) -> float:
    """Serial loads of a map's average hit, as the timed loops count them and not of the worst entry.

    Examples
    --------
    >>> from workbench import KernelConfig, PfnSet, pfnmaps
    >>> table = PfnSet.from_pfns(range(0, 10_000, 10))    # 1000 entries in 2048 buckets
    >>> round(measured_loads(pfnmaps.get("rhashtable").counts(table, KernelConfig())), 3)
    1.244
    """
    return sum(nr_loads for nr_loads, _ in levels_of(counts))


def nearest(
    table: CostTable,
    path: str,
    *,
    nr_entries: int,
    dense: bool,
    loads: float | None = None,
    nr_bytes: float | None = None,
    loop: str = "dependent",
) -> Nearest:
    """Estimate a random lookup that hits.

    Parameters
    ----------
    table : CostTable
    path : str
        A pfn map, such as ``"xarray"``.
    nr_entries : int
    dense : bool
        Whether entries mostly have neighbours.
    loads, nr_bytes : float, optional
        Serial loads of an average hit (`measured_loads`), and bytes of the structure.

    Raises
    ------
    InputError
        The table has no usable row of the path.

    Examples
    --------
    >>> table = CostTable.load("epyc-2vcpu")
    >>> found = nearest(table, "xarray", nr_entries=100_000, dense=False, loads=11)
    >>> found.taken_from, round(found.ns)
    ('u1e5_2^30, 99,996 entries, height 5', 827)
    """  # fmt: skip
    rows = [row for row in table.usable(path=path, loop=loop, order="random", hit=1.0) if row.nr_entries]
    if not rows:
        raise InputError(f"cost table {table.name or table.machine!r} has no usable rows of {path!r}")
    ns, row = _estimate(rows, nr_entries, dense, loads, nr_bytes)
    errors = []
    for place, known in enumerate(rows):
        others = rows[:place] + rows[place + 1 :]
        if others and known.ns_median:
            facts = (known.nr_entries or 1, _is_dense(known), loads_of(known), known.working_set_bytes)
            guess, _ = _estimate(others, *facts)
            errors.append(abs(guess / known.ns_median - 1))
    return Nearest(ns, row, statistics.median(errors) if errors else math.nan)


def _is_dense(row: CostRow) -> bool:
    return row.shape.startswith("dense")


def _estimate(
    rows: Sequence[CostRow], nr_entries: int, dense: bool, loads: float | None, nr_bytes: float | None
) -> tuple[float, CostRow]:
    wanted = (nr_entries, loads, nr_bytes / nr_entries if nr_bytes else None)

    def distance(row: CostRow) -> float:
        entries = row.nr_entries or 1
        has = (entries, loads_of(row), row.working_set_bytes / entries if row.working_set_bytes else None)
        apart = sum(abs(math.log(a / b)) for a, b in zip(wanted, has, strict=True) if a and b)
        return apart + (_is_dense(row) != dense)

    row = min(rows, key=distance)
    own = loads_of(row)
    return row.ns_median * (loads / own if loads and own else 1.0), row
