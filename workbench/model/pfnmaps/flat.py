"""One word per pfn in one array: page_ext, or a memdesc word beside a memmap.

Exact. The array covers every pfn up to the span, holes included. Each page has its own slot, so a folio of
order o fills ``2**o`` slots and saves nothing.
"""

from __future__ import annotations

from typing import Any

from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet, Scatter
from workbench.model.pfnmaps.base import MapCounts, PfnMap, span_over
from workbench.model.pfnmaps.walks import MapWalk, Touch, entry_at

SLOT_BYTES = 8  # one pointer; assumed, as page_ext and memdesc words have it on 64 bit


class Flat(PfnMap):
    """A pointer for each pfn of the span."""

    name = "flat"
    title = "Flat table"
    summary = "One 8-byte word for every pfn of the machine, used or not; a folio fills a word per page."
    source = "side table as in mm/page_ext.c, v6.12; one word per page assumed"

    def of_entries(self, nr_entries: int, kernel: KernelConfig, *, span: int,
                   peak: int = 0) -> MapCounts:
        return self._of(nr_entries, span, exact=True)

    def counts(self, pfns: PfnSet, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """Exact.

        Examples
        --------
        >>> Flat().counts(PfnSet.from_pfns([7]), KernelConfig(), span=1 << 28).bytes    # 1 TiB
        2147483648
        """
        return self._of(pfns.nr_entries, span_over(pfns, span), exact=True)

    def expected(self, scatter: Scatter, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """The table does not depend on the placement; without a span it covers the memory of placement."""
        return self._of(scatter.nr_entries, span_over(scatter.within, span), exact=False)

    def walk(self, pfns: PfnSet, pfn: int, kernel: KernelConfig, *, span: int | None = None) -> MapWalk:
        """Exact: one word; beyond the span a compare in registers."""
        span, found = span_over(pfns, span), entry_at(pfns, pfn) is not None
        if pfn >= span:
            return MapWalk(self.name, pfn, (), False, note="the pfn is beyond the table")
        word = Touch("table", f"table[{pfn:#x}]", SLOT_BYTES * pfn, "the entry" if found else "NULL",
                     slot=pfn, nr_slots=span)
        return MapWalk(self.name, pfn, (word,), found)

    def _of(self, nr_entries: Any, span: int, *, exact: bool) -> MapCounts:
        table = span * SLOT_BYTES
        return MapCounts(
            map=self.name, exact=exact, nr_entries=nr_entries, nr_nodes=0, nodes_per_shift={},
            height=1 if span else 0, node_bytes=0, slab_bytes=0, bytes=table,
            dependent_loads=(nr_entries > 0) * 1, parts={"table": table},
        )
