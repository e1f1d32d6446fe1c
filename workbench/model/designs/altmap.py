"""D3: altmap. The memmap of pmem or device memory lies on the device itself."""

from __future__ import annotations

from dataclasses import replace

from workbench.model.designs.base import VMEMMAP_PATHS, Design, Footprint, Path, Setting, Step, static_parts
from workbench.model.kernel.config import KernelConfig


class Altmap(Design):
    """No RAM for the memmap of pmem and device memory, 64 bytes a page of the device."""

    name = "altmap"
    title = "altmap"
    summary = "the memmap of pmem and device memory lies on the device: no RAM, but slower struct pages."
    tag = "none"
    source = "struct vmem_altmap, include/linux/memremap.h; drivers/nvdimm/pfn_devs.c, v7.3"
    order = 22

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        return (
            *VMEMMAP_PATHS,
            Path("page->flags", "device", (Step("load", "page->flags", 1, "device memory"),)),
        )

    def footprint(self, setting: Setting) -> Footprint:
        parts, notes = static_parts(replace(setting, describe_device=False))
        parts.pop("pmem memmap", None)
        kernel = setting.kernel
        per = kernel.sizeof_page
        pages = sum(
            r.nr_pages for r in setting.machine.regions
            if r.memmap is not None or (setting.describe_device and r.kind in ("pmem", "device"))
        )  # fmt: skip
        on_device = -(-pages * per // kernel.page_size) * kernel.page_size
        if not pages:
            notes.append("the machine maps no pmem or device memory, so altmap moves nothing")
        return Footprint(parts, notes=tuple(notes), elsewhere={"memmap on the device": on_device})

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        return {
            "struct page": "nvdimm reserves 64 bytes a page on media and refuses kernels with a larger one "
                           "(MAX_STRUCT_PAGE_SIZE)",
            "dedup": "excludes compound devmap's shared tails",
            "wear": "every refcount is a write to the device",
        }  # fmt: skip
