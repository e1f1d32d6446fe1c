"""D6: ``struct dynamic_page``, an allocated struct page that carries its own pfn.

Two uses. Beside a memmap: every pinned folio gets a dynamic_page in addition to its static struct page.
Instead of one: pmem and device memory have no memmap, and only what is in use gets a descriptor
(``describe_device``). Either way a pfn map leads from the pfn to the object, which vmemmap cannot hold.

Two tests tell static from dynamic: a flag in struct page, which every page_to_pfn() has to load (the fast
path's tax), or whether the pointer lies inside vmemmap, in registers. Their bytes are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from workbench.model.designs.base import (
    VMEMMAP_PATHS,
    Design,
    Footprint,
    Path,
    Setting,
    Step,
    descriptor_parts,
    map_counts,
    map_parts,
    static_parts,
)
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import most

#: As in the mail of 14 December 2018; needs -fms-extensions.
DYNAMIC_PAGE = "struct dynamic_page { struct page; unsigned long vaddr; unsigned long pfn; };"


def sizeof_dynamic_page(kernel: KernelConfig) -> int:
    """Bytes of struct dynamic_page: struct page, then two longs (80 with a page of 64)."""
    return kernel.sizeof_page + 2 * 8


class DynamicPage(Design):
    """Allocated descriptors beside the memmap, or instead of one, found through a pfn map."""

    name = "dynamic_page"
    title = "dynamic_page"
    summary = "allocated struct dynamic_page { struct page; vaddr; pfn; }, found from the pfn by a pfn map."
    tag = "a flag in struct page, or the vmemmap address range"
    source = "Matthew Wilcox in the put_user_page() thread, 14 December 2018"
    order = 40
    variants: ClassVar[Mapping[str, str]] = {
        "flag": "static or dynamic by a flag in struct page: every call loads the page",
        "range": "static or dynamic by the vmemmap address range: registers only",
    }
    uses_pfn_map = True

    def structs(self, kernel: KernelConfig) -> dict[str, str]:
        return {"dynamic_page": DYNAMIC_PAGE}

    def descriptor_bytes(self, kernel: KernelConfig, proxy_bytes: int) -> int:
        return sizeof_dynamic_page(kernel)

    def map_lookups(self, pins: int, met: int, unpins: int) -> int:
        return pins if self.variant == "range" else met  # a flag in the static page says whether to look

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        if self.variant == "range":
            test: tuple[Step, ...] = (Step("branch", "VMEMMAP_START <= page < VMEMMAP_END, in registers"),)
        else:
            test = (Step("load", "page->flags", 1, "the page, line 0"), Step("branch", "PG_dynamic"))
        walk = Step("walk", "the pfn map, from pfn to dynamic_page", map_loads, "the map's nodes")
        return (
            Path("page_to_pfn", "static", (*test, *VMEMMAP_PATHS[0].steps)),
            Path(
                "page_to_pfn",
                "dynamic",
                (*test, Step("load", "dynamic_page->pfn", 1, f"the object, byte {kernel.sizeof_page + 8}")),
            ),
            VMEMMAP_PATHS[1],
            Path("pfn_to_page", "dynamic", (walk,)),
        )

    def footprint(self, setting: Setting) -> Footprint:
        parts, notes = static_parts(replace(setting, describe_device=False))
        uses = ["ram"]
        if setting.describe_device:
            parts.pop("pmem memmap", None)
            uses = ["ram", "device"] if most(setting.population.nr_pages) else ["device"]
            notes.append("pmem and device memory: descriptors for what is in use, instead of a memmap")
        exact = True
        size = sizeof_dynamic_page(setting.kernel)
        for use in uses:
            counts = map_counts(setting, use)
            found = descriptor_parts("dynamic_page", size, counts.nr_entries, setting.kernel)
            found |= map_parts(counts)
            exact &= counts.exact
            notes += [counts.note] if counts.note else []
            for name, value in found.items():
                parts[name] = parts.get(name, 0) + value
        if len(uses) == 2:
            notes.append("one pfn map for RAM and one for device memory")
        return Footprint(parts, exact=exact, notes=tuple(dict.fromkeys(notes)))

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        flag = {} if self.variant == "range" else {"page flag": "one bit of page->flags, which are scarce"}
        return flag | {
            "comparing": "a static and a dynamic struct page of one pfn compare unequal",
            "allocation": "gup_fast runs with interrupts off and cannot allocate: it needs a pool",
            "compiler": "an unnamed struct page needs -fms-extensions; without it gcc drops it and warns",
        }
