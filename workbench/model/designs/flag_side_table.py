"""D9: a page flag says pinned, and a side table indexed by pfn holds the count."""

from __future__ import annotations

from workbench.model.designs.base import (
    VMEMMAP_PATHS,
    Design,
    Footprint,
    Path,
    Setting,
    Step,
    map_counts,
    map_parts,
    static_parts,
)
from workbench.model.kernel.config import KernelConfig


class FlagSideTable(Design):
    """A pfn map whose entries are the counts themselves (XArray value entries): no descriptor."""

    name = "flag_side_table"
    title = "flag + side table"
    summary = "a page flag says pinned; a pfn map holds the pin count as its value."
    tag = "a flag in struct page"
    source = "an alternative to FOLL_PIN's bias in the same fields; lib/xarray.c value entries, v7.3"
    order = 60
    uses_pfn_map = True

    def map_lookups(self, pins: int, met: int, unpins: int) -> int:
        return pins + unpins  # the count is in the map

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        test = Step("load", "page->flags", 1, "the page, line 0")
        walk = Step("walk", "the pfn map, from pfn to count", map_loads, "the map's nodes")
        return (
            *VMEMMAP_PATHS,
            Path("is pinned?", "static", (test, Step("branch", "PG_pinned"))),
            Path("pin", "first pin", (test, walk, Step("alloc", "the map's nodes, if missing"))),
            Path("unpin", "dynamic", (test, walk)),
        )

    def footprint(self, setting: Setting) -> Footprint:
        parts, notes = static_parts(setting)
        counts = map_counts(setting)
        parts |= map_parts(counts)
        notes += [counts.note] if counts.note else []
        return Footprint(parts, exact=counts.exact, notes=tuple(notes))

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        return {
            "page flag": "one bit of page->flags, which are scarce",
            "allocation": "the first pin may allocate map nodes: gup_fast runs with interrupts off",
            "locking": "every pin and unpin takes the map's lock",
        }
