"""Physical memory as plain data: regions of pfns, ranges of sections, pools of hugetlb pages."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet

#: No sections at all.
NO_RANGES = np.empty((0, 2), dtype=np.int64)


def merge_ranges(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted, disjoint, non-touching [start, end) ranges that cover the same numbers.

    Examples
    --------
    >>> [part.tolist() for part in merge_ranges(np.array([5, 0, 2]), np.array([9, 3, 4]))]
    [[0, 5], [4, 9]]
    """
    keep = end > start
    start, end = start[keep], end[keep]
    if not start.size:
        return start, end
    by = np.argsort(start, kind="stable")
    start, reach = start[by], np.maximum.accumulate(end[by])
    cut = np.flatnonzero(start[1:] > reach[:-1]) + 1
    return start[np.r_[0, cut]], reach[np.r_[cut - 1, start.size - 1]]


def distinct_blocks(start: np.ndarray, end: np.ndarray, size: int) -> int:
    """Aligned blocks of ``size`` that sorted, disjoint ranges touch."""
    if not start.size:
        return 0
    low, high = start // size, (end - 1) // size
    return int((high - low + 1).sum() - (low[1:] == high[:-1]).sum())


def section_ranges(pfn_ranges: Iterable[tuple[int, int]], kernel: KernelConfig) -> np.ndarray:
    """Sections that pfn ranges touch (memory_present(), mm/sparse.c): both partial ends count whole."""
    pfns = np.array(list(pfn_ranges), dtype=np.int64).reshape(-1, 2)
    pfns = pfns[pfns[:, 1] > pfns[:, 0]]
    shift = kernel.pfn_section_shift
    return np.stack(merge_ranges(pfns[:, 0] >> shift, ((pfns[:, 1] - 1) >> shift) + 1), axis=1)


@dataclass(frozen=True)
class HugeTlb:
    """A pool of hugetlb pages."""

    size_bytes: int
    nr: int
    freed_pages: int  # vmemmap pages that HVO frees for each


@dataclass(frozen=True)
class Region:
    """A range of pfns of one kind on one node.

    ``kind``: "ram"; "nomap" (RAM that the kernel keeps off the direct map; it has a memmap); "pmem";
    "device" (memory behind a device, such as a GPU's BAR). ``memmap`` says where the struct pages of a pmem
    or device range lie: "ram", "pmem" or "device"; None where it has none, and for RAM, which always has one.
    """

    first_pfn: int
    end_pfn: int
    kind: str
    node: int | None
    name: str
    memmap: str | None = None

    @property
    def nr_pages(self) -> int:
        """Pages in it."""
        return self.end_pfn - self.first_pfn


class Texts(Protocol):
    """What a machine is read from: verbatim text by part name, as ``Capture`` offers it."""

    name: str

    @property
    def release(self) -> str | None: ...
    @property
    def arch(self) -> str | None: ...
    @property
    def page_size(self) -> int | None: ...
    def text(self, part: str) -> str | None: ...
    def where(self, part: str) -> str: ...


@dataclass(frozen=True, eq=False)
class Memory:
    """Physical memory, section by section: plain data, and what can be counted of it alone.

    Pfns and section numbers are exact ints, ends exclusive. ``Machine`` adds its origin and its memmap.
    """

    name: str
    kernel: KernelConfig
    regions: tuple[Region, ...]
    early_sections: np.ndarray = field(repr=False)  # int64 (n, 2): section numbers [start, end) from boot
    hot_sections: np.ndarray = field(repr=False)  # the same, added later
    hugetlb: tuple[HugeTlb, ...] = ()  # every pool that holds pages
    hvo_on: bool = False  # their vmemmap is optimised
    page_ext_pages_per_section: int = 0
    mmu: str = ""  # ppc64 only: "radix", or "hash:SHIFT" with log2 of a vmemmap block
    source: str = ""
    notes: tuple[str, ...] = ()
    counter: tuple[int, int] | None = None  # the kernel's own (boot, run) memmap pages
    capture: str = ""  # what load_capture() opens again: a path or a shipped name

    @functools.cached_property
    def section_ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """Present sections as sorted, disjoint [start, end) ranges."""
        both = np.concatenate([self.early_sections, self.hot_sections])
        return merge_ranges(both[:, 0], both[:, 1])

    @functools.cached_property
    def nr_early_sections(self) -> int:
        """Sections present since boot."""
        return int((self.early_sections[:, 1] - self.early_sections[:, 0]).sum())

    @functools.cached_property
    def nr_hot_sections(self) -> int:
        """Sections added later."""
        return self.nr_sections - self.nr_early_sections

    @functools.cached_property
    def nr_sections(self) -> int:
        """Sections with a RAM memmap."""
        start, end = self.section_ranges
        return int((end - start).sum())

    def is_early_section(self, section: int) -> bool:
        """early_section(), include/linux/mmzone.h."""
        return self.nr_early_sections_in(section, section + 1) == 1

    def nr_early_sections_in(self, first: int, end: int) -> int:
        """Early sections among [first, end)."""
        low = np.maximum(self.early_sections[:, 0], first)
        high = np.minimum(self.early_sections[:, 1], end)
        return int(np.maximum(high - low, 0).sum())

    def pages(self, *kinds: str) -> int:
        """Pages in the regions of these kinds."""
        return sum(r.nr_pages for r in self.regions if r.kind in kinds)

    def pfns(self, *kinds: str) -> PfnSet:
        """The pfns of the regions of these kinds."""
        picked = np.array([(r.first_pfn, r.end_pfn) for r in self.regions if r.kind in kinds], dtype=np.int64)
        start, end = merge_ranges(*picked.reshape(-1, 2).T)
        return PfnSet.from_extents(start.astype(np.uint64), (end - 1).astype(np.uint64))

    @functools.cached_property
    def ram(self) -> PfnSet:
        """The pfns of RAM, NOMAP ranges left out."""
        return self.pfns("ram")

    @functools.cached_property
    def nr_pages_ram(self) -> int:
        """Pages of RAM, NOMAP ranges left out."""
        return self.pages("ram")

    @functools.cached_property
    def ram_bytes(self) -> int:
        """Bytes of RAM, NOMAP ranges left out."""
        return self.nr_pages_ram << self.kernel.page_shift

    @functools.cached_property
    def max_pfn(self) -> int:
        """One past the last pfn of RAM, as the kernel's max_pfn (mm/memblock.c, v6.12)."""
        return max((r.end_pfn for r in self.regions if r.kind in ("ram", "nomap")), default=0)

    @functools.cached_property
    def span(self) -> int:
        """One past the last pfn of anything that a pfn map may have to hold."""
        return max((r.end_pfn for r in self.regions), default=0)

    @functools.cached_property
    def nodes(self) -> list[dict[str, Any]]:
        """Per node: number, pages of RAM, first and end pfn."""
        numbers = sorted({r.node for r in self.regions if r.node is not None and r.kind in ("ram", "nomap")})
        rows = []
        for node in numbers:
            own = [r for r in self.regions if r.node == node and r.kind in ("ram", "nomap")]
            rows.append(
                {
                    "node": node,
                    "nr_pages": sum(r.nr_pages for r in own if r.kind == "ram"),
                    "first_pfn": min(r.first_pfn for r in own),
                    "end_pfn": max(r.end_pfn for r in own),
                }
            )
        return rows
