"""D10: page_ext. A second array beside the memmap, found through the section, with the pin count in it."""

from __future__ import annotations

from dataclasses import replace

from workbench.model.designs.base import VMEMMAP_PATHS, Design, Footprint, Path, Setting, Step, static_parts
from workbench.model.kernel.config import KernelConfig

PAGE_EXT_BYTES = 8  # sizeof(struct page_ext), include/linux/page_ext.h, v7.3
PIN_COUNT_BYTES = 8  # assumed: what a client's page_ext_operations.size would be for a pin count


def page_ext_bytes(nr_sections: int, kernel: KernelConfig, client_bytes: int = PIN_COUNT_BYTES) -> int:
    """Bytes of the tables: whole pages for each section (init_section_page_ext(), mm/page_ext.c, v6.12)."""
    per = -(-(PAGE_EXT_BYTES + client_bytes) * kernel.pages_per_section // kernel.page_size)
    return nr_sections * per * kernel.page_size


class PageExt(Design):
    """A pin count for every page, pinned or not."""

    name = "page_ext"
    title = "page_ext"
    summary = "a pin count for every page in page_ext, beside the memmap."
    tag = "none in struct page"
    source = "mm/page_ext.c, include/linux/page_ext.h, v7.3"
    order = 70

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        return (
            *VMEMMAP_PATHS,
            Path("pin count", "dynamic", (
                Step("arith", "page_to_pfn, pfn_to_section_nr"),
                Step("load", "mem_section root, section", 2, "mem_section"),
                Step("load", "section->page_ext", 1, "mem_section"),
                Step("load", "the entry", 1, "page_ext"))),
        )  # fmt: skip

    def footprint(self, setting: Setting) -> Footprint:
        kernel = setting.kernel
        machine = replace(setting.machine, kernel=replace(kernel, sizeof_mem_section=32))
        parts, notes = static_parts(replace(setting, machine=machine))
        parts["pin counts in page_ext"] = page_ext_bytes(machine.nr_sections, kernel)
        notes.append(f"{PAGE_EXT_BYTES} bytes of page_ext and {PIN_COUNT_BYTES} of pin count for each page")
        return Footprint(parts, notes=tuple(notes))

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        return {"mem_section": "doubles from 16 to 32 bytes with page_ext",
                "lookup": "two to three loads of the section before the entry"}  # fmt: skip
