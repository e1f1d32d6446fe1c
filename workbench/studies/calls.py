"""Whole conversions as a cost table measured them: ns of a call by descriptors and by dynamic share.

Where a measurement is missing, what lies between its neighbours is taken, first along the share with one
number of descriptors, then along that number; beyond the measured numbers there is no answer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.model import designs
from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig

if TYPE_CHECKING:
    from workbench.evidence.lookups.costs import CostRow, CostTable


def call_ns(table: CostTable, design: str, shares: Sequence[float] | np.ndarray,
            nr: Sequence[float] | np.ndarray, *,
            page_to_pfn: float = 0.5, run: int = 1) -> np.ndarray:
    """Measured ns of a call: fastest pass, median, slowest pass, by descriptors and by dynamic share.

    Linear in the share between those measured with one number of descriptors, then linear in the logarithm of
    that number. Beyond the measured numbers there is no answer: NaN.

    Returns
    -------
    ndarray of float64, shape (3, len(nr), len(shares))

    Raises
    ------
    InputError
        The table has no rows of a conversion of the design.
    """
    from workbench.evidence.lookups.paths import OPS

    total = np.zeros((3, len(nr), len(shares)))
    for op, weight in zip(OPS, (page_to_pfn, 1 - page_to_pfn), strict=True):
        if weight:
            levels = _levels(table, design, op, run)
            total += weight * _between(levels, np.asarray(shares, float), np.asarray(nr, float))
    return total


def _between(levels: dict[int, list[CostRow]], shares: np.ndarray, nr: np.ndarray) -> np.ndarray:
    lines = np.array([[np.interp(shares, [r.dynamic for r in rows], values) for rows in levels.values()
                       for values in [[_passes(r)[k] for r in rows]]] for k in range(3)])
    if list(levels) == [0]:  # arithmetic alone: the same with any number
        return np.broadcast_to(lines, (3, len(nr), len(shares)))
    known = np.log(list(levels))
    part = np.array([np.interp(np.log(nr), known, one, left=math.nan, right=math.nan)
                     for one in np.eye(len(known))])
    found: np.ndarray = np.einsum("ln,kls->kns", part, lines)
    return found


def _passes(row: CostRow) -> tuple[float, float, float]:
    return row.ns_min, row.ns_median, row.ns_median if row.ns_max is None else row.ns_max


class _Same:
    """A cost table that equals itself alone, so that what was picked from it can be kept."""

    def __init__(self, table: CostTable):
        self.table = table

    def __hash__(self) -> int:
        return id(self.table)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.table is other.table


def _levels(table: CostTable, design: str, op: str, run: int) -> dict[int, list[CostRow]]:
    """Rows of a conversion by number of descriptors, by rising share; number 0 for arithmetic."""
    return _picked(_Same(table), design, op, run)


@functools.lru_cache(maxsize=128)
def _picked(same: _Same, design: str, op: str, run: int) -> dict[int, list[CostRow]]:
    from workbench.evidence.lookups.paths import timed_path

    table = same.table
    path = timed_path(designs.get(design), op)
    if path is None:
        raise InputError(f"{op}() of design {design!r} is not timed")
    rows = table.usable(path=path, loop="dependent", order="random")
    if not rows:
        raise InputError(f"cost table {table.name or table.machine!r} has no usable rows of {path!r}")
    if path.startswith("vmemmap/"):
        kind = designs.get(design)
        if any(p.op == op and step.kind == "walk" for p in kind.paths(KernelConfig()) for step in p.steps):
            raise InputError(f"{op}() of design {design!r} walks its pfn map: not timed whole")
        return {0: [rows[0]]}
    found: dict[int, list[CostRow]] = {}
    for row in sorted(rows, key=lambda r: (r.nr_entries or 0, r.dynamic)):
        if row.nr_entries and (row.run == run or row.dynamic in (0.0, 1.0)):
            found.setdefault(row.nr_entries, []).append(row)
    found = {nr: some for nr, some in found.items() if {0.0, 1.0} <= {r.dynamic for r in some}}
    if not found or (run > 1 and not any(r.run == run for some in found.values() for r in some)):
        raise InputError(f"cost table {table.name or table.machine!r} has no {path!r} in runs of {run} calls")
    return found


def measured_numbers(table: CostTable, names: Iterable[str], *, page_to_pfn: float = 0.5,
                     run: int = 1) -> tuple[int, int] | None:
    """Fewest and most descriptors with which all of these were measured; None if none of them has any."""
    from workbench.evidence.lookups.paths import OPS

    ranges = [tuple(levels) for name in names for op, weight in zip(OPS, (page_to_pfn, 1 - page_to_pfn),
              strict=True) if weight for levels in [_levels(table, name, op, run)] if list(levels) != [0]]
    if not ranges:
        return None
    return max(min(one) for one in ranges), min(max(one) for one in ranges)
