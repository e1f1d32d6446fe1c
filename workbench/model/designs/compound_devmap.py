"""D4: compound devmap. Device memory in compound pages keeps two vmemmap pages of each compound's memmap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from workbench.model.designs.base import VMEMMAP_PATHS, Design, Footprint, Path, Setting, static_parts
from workbench.model.kernel.config import KernelConfig

#: Documentation/mm/vmemmap_dedup.rst and mm/sparse-vmemmap.c, v7.3.
VMEMMAP_RESERVE_NR = 2


def dedup_pages(compound_bytes: int, kernel: KernelConfig) -> int:
    """vmemmap pages kept for one compound page.

    Examples
    --------
    >>> dedup_pages(2 << 20, KernelConfig()), dedup_pages(1 << 30, KernelConfig())
    (2, 2)
    """
    whole = -(-(compound_bytes >> kernel.page_shift) * kernel.sizeof_page // kernel.page_size)
    power_of_two = kernel.sizeof_page & (kernel.sizeof_page - 1) == 0
    return min(whole, VMEMMAP_RESERVE_NR) if kernel.dax_vmemmap and power_of_two else whole


class CompoundDevmap(Design):
    """The memmap of pmem and device memory, with the tails of each compound page shared."""

    name = "compound_devmap"
    title = "compound devmap"
    summary = "pmem and device memory in compound pages: two vmemmap pages each, the tails shared."
    tag = "none"
    source = "commit 4917f55b4ef9; Documentation/mm/vmemmap_dedup.rst, v7.3"
    order = 24
    variants: ClassVar[Mapping[str, str]] = {"1G": "compounds of 1 GiB instead of 2 MiB"}

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        return VMEMMAP_PATHS

    def footprint(self, setting: Setting) -> Footprint:
        parts, notes = static_parts(replace(setting, describe_device=False))
        kernel, compound = setting.kernel, (1 << 30) if self.variant == "1G" else (2 << 20)
        step = compound >> kernel.page_shift
        pages = whole = 0
        for region in setting.machine.regions:
            if region.memmap == "ram" or (setting.describe_device and region.kind in ("pmem", "device")
                                          and region.memmap is None):  # fmt: skip
                first, end = -(-region.first_pfn // step), region.end_pfn // step
                nr = max(0, end - first)
                whole += nr
                rest = region.nr_pages - nr * step  # pages at the edges stay uncompounded
                pages += nr * dedup_pages(compound, kernel) - (-rest * kernel.sizeof_page // kernel.page_size)
        parts.pop("pmem memmap", None)
        parts["device memmap"] = pages * kernel.page_size
        if not kernel.dax_vmemmap:
            notes.append(f"{kernel.arch} does not share the tails (ARCH_WANT_OPTIMIZE_DAX_VMEMMAP)")
        elif not whole:
            notes.append("the machine maps no pmem or device memory in compounds, so nothing is shared")
        return Footprint(parts, notes=tuple(notes))

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        return {"struct page": "its size must be a power of two", "altmap": "not with an altmap",
                "mapping": "device DAX only, at 2 MiB or 1 GiB alignment"}  # fmt: skip
