"""D1: struct page in vmemmap, as in mainline: one for every page of every present section."""

from __future__ import annotations

from workbench.model.designs.base import VMEMMAP_PATHS, Design, Footprint, Path, Setting, static_parts
from workbench.model.kernel.config import KernelConfig


class Static(Design):
    """Nothing but the memmap; pins cannot be told from other references."""

    name = "static"
    title = "static memmap"
    summary = "struct page for every page in vmemmap, both conversions by arithmetic; pins are not tracked."
    tag = "none"
    source = "include/asm-generic/memory_model.h, mm/sparse-vmemmap.c, v7.3"
    order = 10

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        return VMEMMAP_PATHS

    def footprint(self, setting: Setting) -> Footprint:
        parts, notes = static_parts(setting)
        return Footprint(parts, notes=tuple(notes))

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        return {"pins": "a pin is a reference like any other: writeback, truncate and migration cannot ask"}
