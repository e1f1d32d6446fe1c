"""Physical memory of a machine: RAM, holes, nodes, sections, persistent and device ranges.

A machine comes from a capture, from a spec string, or from the running system. Each capture has several
sources for the same facts, with different gaps; ``Machine.source`` says which one was used, and
``Machine.notes`` when it can be off. From best to worst: the kernel log's ``Early memory node ranges``
(memblock.memory, NOMAP ranges included), debugfs memblock, memory blocks where a block is one section,
/proc/iomem, larger memory blocks, zoneinfo.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from workbench.model.kernel.config import KernelConfig
from workbench.model.memory import memmap
from workbench.model.memory.memmap import HugeTlb, merge_ranges
from workbench.model.memory.pfns import PfnSet


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
class Machine:
    """Physical memory, section by section. Pfns and section numbers are exact ints, ends exclusive."""

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

    # -- where a machine comes from ---------------------------------------------------------------------

    @classmethod
    def load(cls, what: str | os.PathLike[str], kernel: KernelConfig | None = None) -> Machine:
        """A machine from a capture (path or shipped name), a spec string, or ``"live"``.

        Examples
        --------
        >>> Machine.load("microvm-24g-6.18").memmap_pages
        98304
        >>> Machine.load("ram=1TiB,hole=3GiB-4GiB").memmap_pages == (1 << 40) // 4096 * 64 // 4096
        True
        """
        text = os.fspath(what)
        if text == "live":
            return cls.live(kernel)
        if "=" in text and not Path(text).exists():
            return cls.from_spec(text, kernel)
        from workbench.model.memory.capture import load_capture

        return replace(cls.from_capture(load_capture(text), kernel), capture=text)

    @classmethod
    def live(cls, kernel: KernelConfig | None = None) -> Machine:
        """This machine, now. Without root /proc/iomem is blank and memory blocks take its place."""
        from workbench.model.memory._reader import LiveTexts

        return cls.from_capture(LiveTexts(), kernel)

    @classmethod
    def from_spec(cls, spec: str, kernel: KernelConfig | None = None) -> Machine:
        """A made-up machine, such as ``ram=1TiB,nodes=2,hole=3GiB-4GiB,pmem=6TiB@2TiB``.

        ``ram=SIZE`` (the bytes of RAM, laid around the holes from address 0, or from ``base=ADDRESS``),
        ``nodes=N`` (RAM split evenly), ``hole=FROM-TO`` (may repeat), ``pmem=SIZE@ADDRESS`` and
        ``device=SIZE@ADDRESS`` (may repeat; neither has a memmap), ``kernel=PRESET``. Sizes take KiB, MiB,
        GiB, TiB or PiB.
        """
        from workbench.model.memory._spec import machine_from_spec

        return machine_from_spec(spec, kernel)

    @classmethod
    def from_capture(cls, capture: Texts, kernel: KernelConfig | None = None) -> Machine:
        """The machine that a capture shows."""
        from workbench.model.memory._reader import CaptureReader

        return CaptureReader(capture, kernel).machine()

    # -- counts ------------------------------------------------------------------------------------------

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
    def memmap_terms(self) -> dict[str, int]:
        """The named terms, in pages, of ``memmap_pages``."""
        return memmap.counter_terms(self)

    @functools.cached_property
    def memmap_pages(self) -> int:
        """What nr_memmap_boot_pages + nr_memmap_pages of /proc/vmstat is."""
        return sum(self.memmap_terms.values())

    @property
    def memmap_bytes(self) -> int:
        """``memmap_pages`` in bytes: what the kernel counts, which on ppc64 is not what it allocates."""
        return self.memmap_pages << self.kernel.page_shift

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

    def to_dict(self) -> dict[str, Any]:
        """The keys that ``workbench machine --json`` prints."""
        backed, rule = memmap.backed_bytes(self)
        return {
            "name": self.name,
            "arch": self.kernel.arch,
            "release": self.kernel.release,
            "kernel": self.kernel.name,
            "page_size": self.kernel.page_size,
            "section_size": 1 << self.kernel.section_size_bits,
            "nr_pages_ram": self.nr_pages_ram,
            "nr_sections": self.nr_sections,
            "memmap_pages": self.memmap_pages,
            "memmap_bytes": self.memmap_bytes,
            "memmap_terms": self.memmap_terms,
            "memmap_backed_bytes": backed,
            "memmap_backed_rule": rule,
            "beside_memmap_bytes": memmap.beside_parts(self),
            "kernel_counter": {
                "nr_memmap_boot_pages": self.counter[0],
                "nr_memmap_pages": self.counter[1],
                "sum": sum(self.counter),
            }
            if self.counter
            else None,
            "max_pfn": self.max_pfn,
            "nodes": self.nodes,
            "regions": [
                {
                    "first_pfn": r.first_pfn,
                    "end_pfn": r.end_pfn,
                    "kind": r.kind,
                    "node": r.node,
                    "name": r.name,
                    "memmap": r.memmap,
                }
                for r in self.regions
            ],
            "source": self.source,
            "notes": list(self.notes),
        }
