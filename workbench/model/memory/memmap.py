"""What the memmap of a machine costs: the kernel's own counters, and what lies beside the memmap.

``nr_memmap_boot_pages + nr_memmap_pages`` of /proc/vmstat is arithmetic on sections, not on bytes and not
on what was allocated (mm/sparse.c sparse_init_nid(), section_activate(), v6.12). The rules here give that
sum exactly. Where backing differs from the counter (ppc64 with 64K pages), ``backed_bytes`` says so.

Left out: rounding of kmalloc for a hot-added section's usage map, and page tables above the level that the
kernel shares with everything else (the top one).
"""

from __future__ import annotations

import numpy as np

from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.regions import Memory, distinct_blocks


def hvo_pages(machine: Memory) -> int:
    """vmemmap pages that HVO has freed on this machine; none where it is off."""
    return machine.hvo_on * sum(pool.nr * pool.freed_pages for pool in machine.hugetlb)


def hvo_freed_pages(size_bytes: int, kernel: KernelConfig) -> int:
    """vmemmap pages that HVO frees for one hugetlb page, all but one: mm/hugetlb_vmemmap.c, v6.12.

    Examples
    --------
    >>> hvo_freed_pages(2 << 20, KernelConfig()), hvo_freed_pages(1 << 30, KernelConfig())
    (7, 4095)
    """
    power_of_two = kernel.sizeof_page & (kernel.sizeof_page - 1) == 0
    if not (kernel.hugetlb_vmemmap and power_of_two):
        return 0
    return max(0, (size_bytes >> kernel.page_shift) * kernel.sizeof_page // kernel.page_size - 1)


def counter_terms(machine: Memory) -> dict[str, int]:
    """The terms, in pages, that sum to ``nr_memmap_boot_pages + nr_memmap_pages``.

    ZONE_DEVICE memory counts by piece of a section, and not at all inside an early section, which has its
    memmap already (section_activate(), mm/sparse.c, v6.12).
    """
    kernel = machine.kernel
    per_section = kernel.memmap_pages_per_section
    terms = {
        "boot sections": per_section * machine.nr_early_sections,
        "hot-added sections": per_section * machine.nr_hot_sections,
        "HVO": -hvo_pages(machine),
        "page_ext": machine.page_ext_pages_per_section * machine.nr_sections,
        "ZONE_DEVICE": 0,
    }
    for region in machine.regions:
        if region.memmap is not None:
            terms["ZONE_DEVICE"] += zone_device_pages(machine, region.first_pfn, region.end_pfn)
    return terms


def zone_device_pages(machine: Memory, first_pfn: int, end_pfn: int) -> int:
    """Pages counted for mapping a device range: each piece of a section that is not early, rounded up."""
    kernel = machine.kernel
    shift, per = kernel.pfn_section_shift, kernel.pages_per_section
    edges = np.array([first_pfn, end_pfn], dtype=np.int64)
    first, last = int(edges[0]) >> shift, (int(edges[1]) - 1) >> shift
    total = 0
    for section, nr in (
        (first, min(end_pfn, (first + 1) * per) - first_pfn),
        *(((last, end_pfn - last * per),) if last > first else ()),
    ):
        if not machine.is_early_section(section):
            total += -(-nr * kernel.sizeof_page // kernel.page_size)
    inner = max(0, last - first - 1) - machine.nr_early_sections_in(first + 1, last)
    return total + inner * kernel.memmap_pages_per_section


def backed_bytes(machine: Memory) -> tuple[int | None, str]:
    """Bytes that really back the RAM sections' memmap at boot, and the rule that says so.

    Only ppc64 differs from the counter: there one block of vmemmap serves several sections
    (arch/powerpc/mm/book3s64/radix_pgtable.c radix__vmemmap_populate(), arch/powerpc/mm/init_64.c
    __vmemmap_populate(), v6.12). What HVO frees is not taken off.
    """
    kernel = machine.kernel
    counted = kernel.page_size * kernel.memmap_pages_per_section * machine.nr_sections
    if kernel.arch != "ppc64le":
        return counted, "each section's memmap is allocated as counted, before HVO"
    start, end = machine.section_ranges
    bytes_per_section = kernel.pages_per_section * kernel.sizeof_page
    if machine.mmu.startswith("hash"):
        block = 1 << int(machine.mmu.partition(":")[2] or kernel.page_shift)
        nr = distinct_blocks(start * bytes_per_section, end * bytes_per_section, block)
        return nr * block, f"hash MMU: blocks of {block >> 10} KiB, each shared by the sections in it"
    if machine.mmu != "radix":
        return None, "the capture does not say whether the MMU is radix or hash"
    return _radix_backed(
        start, end, bytes_per_section, kernel.page_size
    ), "radix MMU: a 2 MiB block where a section starts one, base pages where a range starts inside it"


def _radix_backed(start: np.ndarray, end: np.ndarray, bytes_per_section: int, page_size: int) -> int:
    """2 MiB blocks begun by a section that starts at one, and base pages for the sections before that."""
    block = 2 << 20
    per_block = max(1, block // bytes_per_section)
    total, begun = 0, -1
    for low, high in zip(start.tolist(), end.tolist(), strict=True):
        head = min(high, -(-low // per_block) * per_block)  # sections before the first whole block
        if head > low and low // per_block != begun:
            first, last = low * bytes_per_section // page_size, (head * bytes_per_section - 1) // page_size
            total += (last - first + 1) * page_size
        if high > head:
            blocks = -(-high // per_block) - head // per_block
            total += blocks * max(block, bytes_per_section)
            begun = (high - 1) // per_block
    return total


def beside_parts(machine: Memory) -> dict[str, int]:
    """Bytes beside the memmap itself, by name: all that lets a pfn find its section and its memmap."""
    kernel = machine.kernel
    start, end = machine.section_ranges
    roots = distinct_blocks(start, end, kernel.sections_per_root)
    return {
        "section roots": kernel.section_root_array_bytes + roots * kernel.page_size,
        "section usage": machine.nr_sections * kernel.mem_section_usage_bytes,
        "vmemmap page tables": _mapping_bytes(machine, start, end),
    }


def _mapping_bytes(machine: Memory, start: np.ndarray, end: np.ndarray) -> int:
    """Page tables, or ppc64 hash's list of vmemmap blocks: 24 bytes each, whole pages of them."""
    backed = backed_bytes(machine)[0]
    if not machine.mmu.startswith("hash") or backed is None:
        return vmemmap_table_bytes(start, end, machine.kernel)
    page_size = machine.kernel.page_size
    blocks = backed >> int(machine.mmu.partition(":")[2] or machine.kernel.page_shift)
    return -(-blocks // (page_size // 24)) * page_size


def vmemmap_table_bytes(start: np.ndarray, end: np.ndarray, kernel: KernelConfig) -> int:
    """Page-table bytes that map the vmemmap of the sections, without the top table.

    Levels and leaf size come from the config: x86-64, riscv64 and 4K arm64 map it with PMDs, the others of
    arm64 with base pages (arch/arm64/mm/mmu.c vmemmap_populate(), v6.12), s390 with 1 MiB segments. The
    vmemmap's start is taken as aligned to the tables, as it is in every preset.
    """
    scale = kernel.pages_per_section * kernel.sizeof_page
    return sum(
        kernel.table_bytes * distinct_blocks(start * scale, end * scale, 1 << span)
        for span in kernel.vmemmap_table_spans
    )
