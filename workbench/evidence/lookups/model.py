"""Predict a dependent lookup from counts and the latency curve, and say how far off that is.

The model: the loads of a lookup follow one another, and each takes what a load of a random line takes in a
ring as large as everything that this level and those above it touch; the upper levels are few lines, met
often, and stay in the nearer caches. The counts are exact, the curve is measured (``chase``), nothing is
fitted. A load of no line of its own (xa_head, kept in a register) takes nothing.

Left out: instructions between the loads, mispredicted branches, TLB misses beyond the ring's (tables whose
lines are scattered over many pages have more), and what hardware prefetch finds by itself. So it is low for
trees in the near caches, for searches that mispredict and for sparse tables; how much is measured too, and no
prediction is given without it.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from workbench.evidence.lookups.costs import CostRow, CostTable
from workbench.model.errors import InputError
from workbench.model.pfnmaps import MapCounts
from workbench.model.pfnmaps.maple import SIZEOF_MAPLE_NODE
from workbench.model.pfnmaps.rhashtable import mean_chain

LINE_BYTES = 64  # of a cache; x86-64 and most arm64
Levels = Iterable[tuple[float, int]]  # serial loads and bytes of distinct lines, by step


def levels_of(counts: MapCounts) -> tuple[tuple[float, int], ...]:
    """The levels of a map that was counted and not built: its exact loads, and the lines to expect.

    The lines are an expectation: within a node, entries lie in random slots. For single pages, dense and
    scattered, within 10 % of the lines counted in the built structures (a dense maple tree: 25 %). A folio
    fills many slots of a table, and its lines are too few here.

    Examples
    --------
    >>> from workbench import KernelConfig, PfnSet, pfnmaps
    >>> levels_of(pfnmaps.get("xarray").counts(PfnSet.from_ranges([(0, 4096)]), KernelConfig()))
    ((1, 0), (2, 576), (2, 36858))
    """
    nr, line = counts.nr_entries, LINE_BYTES
    if not nr:
        return ()
    match counts.map:
        case "xarray":
            levels: list[tuple[float, int]] = [(1, 0)]
            shifts = sorted(counts.nodes_per_shift)
            children = {shift: counts.nodes_per_shift.get(shift - 6, 0) for shift in shifts}
            children[shifts[0] if shifts else 0] = nr
            for shift in reversed(shifts):
                nodes = counts.nodes_per_shift[shift]
                slot_lines = 8 * -math.expm1(children[shift] / nodes * math.log(7 / 8))  # of the 8, or 9
                levels.append((2, round(line * nodes * (1 + slot_lines))))
            return tuple(levels)
        case "maple":
            sizes = [counts.nr_nodes * SIZEOF_MAPLE_NODE]
            while len(sizes) < counts.height:  # each level has a fan-out's share of the one below
                sizes.append(max(SIZEOF_MAPLE_NODE, round(sizes[-1] / 13)))
            return tuple((2, size) for size in reversed(sizes))
        case "rhashtable":
            buckets = counts.parts["buckets"]
            return (1, buckets), (mean_chain(nr, buckets // 8) - 1, line * nr)
        case "two_level":
            root, leaves = counts.parts["root"], counts.parts["leaves"]
            return (1, min(root, line * counts.nr_nodes)), (1, min(leaves, line * nr))
        case "flat":
            return ((1, min(counts.bytes, line * nr)),)
        case "sorted_array":
            sizes = [min(line << step, counts.bytes) for step in range(counts.height)]
            return tuple((1, size - before) for before, size in itertools.pairwise([0, *sizes]))
    raise InputError(f"pfn map {counts.map!r} has no model of its lookup")


@dataclass(frozen=True)
class Check:
    """A measured row and what the model says of it."""

    row: CostRow
    predicted_ns: float

    @property
    def error(self) -> float:
        """Relative: -0.2 where the prediction is 20 % too low."""
        return self.predicted_ns / self.row.ns_median - 1


@dataclass(frozen=True)
class Prediction:
    """ns of a dependent lookup, with the model's errors where it could be checked."""

    ns: float
    error_median: float  # relative; of the checks below
    error_worst: float
    nr_checks: int
    extrapolated: bool  # some level touches more than the curve's largest ring


def ns_of_levels(levels: Levels, table: CostTable) -> tuple[float, bool]:
    """The sum over the levels, and whether one lies beyond the curve."""
    total, reached, beyond = 0.0, 0, False
    for nr_loads, line_bytes in levels:
        reached += line_bytes
        if line_bytes:
            latency = table.ns("chase", "dependent", reached)
            total += nr_loads * latency.ns_median
            beyond |= reached > latency.measured_bytes[1]
    return total, beyond


def check(table: CostTable) -> list[Check]:
    """The model against every measured map whose keys are random and all hit, dependent loop."""
    rows = [row for row in table.usable(loop="dependent", order="random", hit=1.0)
            if row.levels and row.path != "chase"]
    return [Check(row, ns_of_levels(row.levels, table)[0]) for row in rows]


def predict(path: str, levels: Levels, table: CostTable) -> Prediction:
    """ns of a lookup that was not measured, of a path that was at other sizes.

    Parameters
    ----------
    path : str
        Whose checks say how good the model is.
    levels : iterable of (nr_loads, line_bytes)
        As in ``CostRow.levels``.
    table : CostTable
        With a latency curve, and rows of that path.
    """
    errors = [found.error for found in check(table) if found.row.path == path]
    if not errors:
        raise InputError(f"cost table {table.name or table.machine!r} has no usable dependent rows of "
                         f"{path!r} that a prediction could be checked with")
    ns, beyond = ns_of_levels(levels, table)
    return Prediction(ns, statistics.median(errors), max(errors, key=abs), len(errors), beyond)
