"""A root array of pointers over leaf pages of one pointer per pfn, as the swap cache's tables are.

Exact. A leaf is one page and exists iff one of its pfns does: 512 pfns with 4 KiB pages. The root covers the
whole span. Each page has its own slot, so a folio of order o fills ``2**o`` slots, in several leaves where it
is larger than one. Left out: freeing or sharing of empty parts of the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet, Scatter, most, rounded
from workbench.model.pfnmaps.base import MapCounts, PfnMap, span_over
from workbench.model.pfnmaps.walks import MapWalk, Touch, any_within, entry_at

SLOT_BYTES = 8  # sizeof(void *)


class TwoLevel(PfnMap):
    """Root array, and one leaf page for each touched ``PAGE_SIZE / 8`` pfns."""

    name = "two_level"
    title = "Two-level table"
    summary = "Root array over leaf pages of one word per pfn; one for each 2 MiB touched (4 KiB pages)."
    source = "as mm/swap_table.h, v6.18, indexed by pfn; not in the kernel"

    def node_shifts(self, kernel: KernelConfig) -> tuple[int, ...]:
        return (_leaf_shift(kernel),)

    def node_slab(self, kernel: KernelConfig) -> tuple[int, int]:
        return 1, kernel.page_size

    def of_nodes_per_level(self, nodes: Sequence[int], nr_entries: int, kernel: KernelConfig, *,
                           span: int) -> MapCounts:
        return self._of(sum(nodes), nr_entries, span, kernel, exact=True)

    def counts(self, pfns: PfnSet, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """Exact.

        Examples
        --------
        >>> counts = TwoLevel().counts(PfnSet.from_pfns([0, 511, 512]), KernelConfig(), span=1 << 28)
        >>> counts.nr_nodes, counts.bytes    # two leaf pages and 2^19 pointers
        (2, 4202496)
        """
        leaves = pfns.distinct_prefixes(_leaf_shift(kernel))
        return self._of(leaves, pfns.nr_entries, span_over(pfns, span), kernel, exact=True)

    def expected(self, scatter: Scatter, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """The mean number of leaves, rounded; without a span the root covers the memory of the placement."""
        leaves = rounded(scatter.expected_prefixes(_leaf_shift(kernel)))
        return self._of(leaves, scatter.nr_entries, span_over(scatter.within, span), kernel, exact=False)

    def walk(self, pfns: PfnSet, pfn: int, kernel: KernelConfig, *, span: int | None = None) -> MapWalk:
        """Exact: the root's pointer and the leaf's word; beyond the span a compare in registers.

        Examples
        --------
        >>> pfns, table = (512, 513, 1024, 4096), PfnSet.from_pfns([0, 512])
        >>> [TwoLevel().walk(table, pfn, KernelConfig(), span=2048).nr_loads for pfn in pfns]
        [2, 2, 1, 0]
        """
        shift, span = _leaf_shift(kernel), span_over(pfns, span)
        if pfn >= span:
            return MapWalk(self.name, pfn, (), False, note="the pfn is beyond the table")
        number, at = pfn >> shift, pfn & (1 << shift) - 1
        has_leaf = any_within(pfns, number << shift, (number + 1 << shift) - 1)
        touches = [Touch("root array", f"root[{number:,}]", SLOT_BYTES * number,
                         "a leaf" if has_leaf else "NULL", slot=number, nr_slots=-(-span >> shift))]
        entry = entry_at(pfns, pfn)
        if has_leaf:
            touches.append(Touch(f"leaf page {number:#x}", f"leaf[{at}]", SLOT_BYTES * at,
                                 "the entry" if entry else "NULL", slot=at, nr_slots=1 << shift))
        return MapWalk(self.name, pfn, tuple(touches), bool(entry))

    def _of(self, leaves: Any, nr_entries: Any, span: int, kernel: KernelConfig, *, exact: bool) -> MapCounts:
        shift = _leaf_shift(kernel)
        root, leaf_bytes = -(-span >> shift) * SLOT_BYTES, leaves * kernel.page_size
        return MapCounts(
            map=self.name, exact=exact, nr_entries=nr_entries, nr_nodes=leaves,
            nodes_per_shift={0: leaves} if most(leaves) else {}, height=2 if span else 0,
            node_bytes=leaf_bytes, slab_bytes=0, bytes=root + leaf_bytes,
            dependent_loads=(nr_entries > 0) * 2,
            note="" if exact else "mean over random placements, rounded to whole leaves",
            parts={"root": root, "leaves": leaf_bytes},
        )


def _leaf_shift(kernel: KernelConfig) -> int:
    """log2 of the pfns of one leaf page."""
    return kernel.page_shift - (SLOT_BYTES.bit_length() - 1)
