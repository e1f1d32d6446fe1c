"""D2: HugeTLB vmemmap optimisation: the tail pages' part of the memmap is freed for hugetlb pages.

Three generations differ in bytes. Until 5.17 each hugetlb page kept two vmemmap pages (RESERVE_VMEMMAP_NR,
mm/hugetlb_vmemmap.c); from 5.18 to 7.2 one (e7d324850bfc, "free the 2nd vmemmap page"; the release is from
memory, not read); in 7.3 one of its own, and the tails of all share one read-only page per zone and order.
The kernel's release decides; the variants force one. Page tables: an optimised range of vmemmap is mapped by
base pages, one table for each PMD that it splits. How hugetlb pages share a PMD's range depends on where they
lie; they are taken as packed, which is the least.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from workbench.model.designs.base import VMEMMAP_PATHS, Design, Footprint, Path, Setting, static_parts
from workbench.model.kernel.config import KernelConfig, kernel_version


class Hvo(Design):
    """The memmap less what HVO frees for the machine's hugetlb pages."""

    name = "hvo"
    title = "HVO"
    summary = "the static memmap, with the tail struct pages of hugetlb pages freed."
    tag = "none"
    source = "mm/hugetlb_vmemmap.c, v6.12; shared tail pages, v7.3"
    order = 20
    variants: ClassVar[Mapping[str, str]] = {
        "reserve2": "two vmemmap pages kept for each hugetlb page, as until 5.17",
        "reserve1": "one kept, as from 5.18 to 7.2",
        "shared": "one kept, and shared tail pages, as in 7.3",
    }

    def generation(self, kernel: KernelConfig) -> str:
        """Which of the variants the kernel's release has."""
        version = kernel_version(kernel.release)
        by_release = (
            "reserve2" if (0, 0) < version < (5, 18) else "shared" if version >= (7, 3) else "reserve1"
        )
        return self.variant or by_release

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        return VMEMMAP_PATHS

    def footprint(self, setting: Setting) -> Footprint:
        machine, kernel = setting.machine, setting.kernel
        parts, notes = static_parts(setting, hvo=True)
        pools = [pool for pool in machine.hugetlb if pool.nr and pool.freed_pages]
        if not kernel.hugetlb_vmemmap:
            notes.append(f"{kernel.arch} has no HVO for HugeTLB (ARCH_WANT_OPTIMIZE_HUGETLB_VMEMMAP)")
        elif not pools:
            notes.append("the machine has no hugetlb pages, so HVO frees nothing")
        if pools:
            split = sum(
                -(-pool.nr * (pool.size_bytes >> kernel.page_shift) * kernel.sizeof_page >> kernel.pmd_shift)
                for pool in pools
            )
            parts["vmemmap split tables"] = split * kernel.page_size
            notes.append("split tables: hugetlb pages taken as packed, which is the least")
            if self.generation(kernel) == "reserve2":
                parts["memmap"] += sum(pool.nr for pool in pools) * kernel.page_size
            if self.generation(kernel) == "shared":
                parts["shared tail pages"] = len(pools) * kernel.page_size
                notes.append("one shared tail page for each order, all in one zone")
        return Footprint(parts, exact=not pools, notes=tuple(notes))

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        return {
            "sharing": "a pointer in each tail page (a memdesc, a dynamic descriptor) breaks the sharing",
            "struct page": "its size must be a power of two",
            "undo": "dissolving a hugetlb page has to allocate its vmemmap again, which can fail",
        }
