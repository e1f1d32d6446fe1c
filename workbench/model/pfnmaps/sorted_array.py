"""Pairs of pfn and pointer in one array sorted by pfn, searched by halves.

Exact. A folio is one pair whatever its order. Left out: the copying that an insertion costs, and
the slack that an array keeps so as not to copy every time.
"""

from __future__ import annotations

from typing import Any

from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet, Scatter, bit_length
from workbench.model.pfnmaps.base import MapCounts, PfnMap
from workbench.model.pfnmaps.walks import MapWalk, Touch, entry_at, entry_ends, nth_entry

PAIR_BYTES = 16  # a pfn and a pointer


class SortedArray(PfnMap):
    """16 bytes per entry; ``ceil(log2 n)`` halvings, and for the first entry a load more: see ``walk()``."""

    name = "sorted_array"
    title = "Sorted array"
    summary = "One 16-byte pair per folio, found by binary search; an insertion moves half of it."
    source = "not in the kernel; the smallest map there is"

    def of_entries(self, nr_entries: int, kernel: KernelConfig, *, span: int,
                   peak: int = 0) -> MapCounts:
        return self._of(nr_entries, exact=True)

    def counts(self, pfns: PfnSet, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """Exact.

        Examples
        --------
        >>> counts = SortedArray().counts(PfnSet.from_pfns(range(0, 10000, 10)), KernelConfig())
        >>> counts.bytes, counts.dependent_loads
        (16000, 11)
        """
        return self._of(pfns.nr_entries, exact=True)

    def expected(self, scatter: Scatter, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """The array does not depend on the placement."""
        return self._of(scatter.nr_entries, exact=False)

    def walk(self, pfns: PfnSet, pfn: int, kernel: KernelConfig, *, span: int | None = None) -> MapWalk:
        """Exact: halve until one pair is left, the last that is not past the pfn.

        ``ceil(log2 n)`` loads, and one more for the first pair, which no halving has read. Where a folio is
        one pair, the pfn is compared by the folio's range.

        Examples
        --------
        >>> array = PfnSet.from_pfns(range(0, 10000, 10))
        >>> [SortedArray().walk(array, pfn, KernelConfig()).nr_loads for pfn in (9990, 9, 0)]
        [10, 11, 11]
        """
        entry, ends = entry_at(pfns, pfn), entry_ends(pfns)
        total = nr = int(ends[-1]) if ends.size else 0
        low, reads = 0, []
        while nr > 1:
            half = nr >> 1
            first = nth_entry(pfns, low + half, ends)
            reads.append((low + half, first))
            low, nr = (low + half if first <= pfn else low), nr - half
        if total and all(at != low for at, _ in reads):
            reads.append((low, nth_entry(pfns, low, ends)))
        touches = tuple(Touch("array of pairs", f"pair {at:,}", PAIR_BYTES * at,
                              f"pfn {first:#x}, {'not past it' if first <= pfn else 'past it'}",
                              slot=at, nr_slots=total) for at, first in reads)
        return MapWalk(self.name, pfn, touches, bool(entry))

    def _of(self, nr: Any, *, exact: bool) -> MapCounts:
        halvings = bit_length(nr - (nr > 0) * 1)
        return MapCounts(
            map=self.name, exact=exact, nr_entries=nr, nr_nodes=0, nodes_per_shift={},
            height=halvings + ((nr > 0) & (halvings == 0)) * 1, node_bytes=0, slab_bytes=0,
            bytes=nr * PAIR_BYTES,
            dependent_loads=halvings + (nr > 0) * 1,  # worst is the first entry: no halving has read it
            parts={"pairs": nr * PAIR_BYTES},
        )
