"""A machine worked out of a capture's texts, or of the running system's, source by source."""

from __future__ import annotations

import functools
import itertools
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.model.errors import InputError
from workbench.model.kernel.config import ARCH_FAMILY, KernelConfig, kernel_version, presets
from workbench.model.memory import layout, memmap
from workbench.model.memory.capture import Capture
from workbench.model.memory.regions import (
    NO_RANGES,
    HugeTlb,
    Memory,
    Region,
    Texts,
    merge_ranges,
    section_ranges,
)

#: A PCI BAR of at least this size is taken as device memory (assumed: register BARs are smaller).
DEVICE_BAR_BYTES = 1 << 30
MAX_BLOCKS = 1 << 24
#: The parts that a machine is worked out from.
_MACHINE_PARTS = frozenset((
    "iomem", "sys-memory-blocks", "zoneinfo", "vmstat", "dmesg", "hugepages", "nd-pfn", "btf-structs.json"))
_Span = tuple[int, int]
_Named = tuple[int, int, str]


def _cut(ranges: list[tuple[int, int]], away: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges without the parts in ``away`` (both lists of [start, end), any order)."""
    left = []
    away = sorted(away)
    for start, end in ranges:
        for low, high in away:
            if high <= start:
                continue
            if low >= end:
                break
            if low > start:
                left.append((start, low))
            start = max(start, high)
        if start < end:
            left.append((start, end))
    return left


class CaptureReader:
    """Works a machine out of a capture's texts, source by source."""

    def __init__(self, capture: Texts, kernel: KernelConfig | None):
        self.capture = capture
        self.notes: list[str] = []
        self.iomem = self._parsed("iomem", layout.parse_iomem)
        if self.iomem is None and capture.text("iomem") is not None:
            self.notes.append("iomem holds only zero addresses: it was read without root")
        self.blocks = self._parsed("sys-memory-blocks", layout.parse_memory_blocks)
        self.zones = layout.parse_zoneinfo(capture.text("zoneinfo") or "", capture.where("zoneinfo"))
        dmesg = capture.text("dmesg") or ""
        self.dmesg = dmesg
        self.early = layout.parse_early_ranges(dmesg, capture.where("dmesg"))
        self.memblock = self._parsed("memblock-memory", layout.parse_memblock) or []
        self.kernel = kernel or self._as_built(self._kernel())
        self.notes += self._said_missing()
        if self.blocks and self.blocks.block_bytes < 1 << self.kernel.section_size_bits and not kernel:
            self.notes.append(
                f"sections taken as {self.blocks.block_bytes >> 20} MiB: memory blocks are no larger"
            )
            self.kernel = replace(self.kernel, section_size_bits=self.blocks.block_bytes.bit_length() - 1)

    def _parsed(self, part: str, parse: Any) -> Any:
        text = self.capture.text(part)
        return parse(text, self.capture.where(part)) if text is not None and text.strip() else None

    def _kernel(self) -> KernelConfig:
        """The nearest preset: same architecture, page size and, if there is one, the same release."""
        arch = self.capture.arch
        if arch not in ARCH_FAMILY:
            self.notes.append(f"architecture {arch or 'unknown'}: taken as x86_64")
            arch = "x86_64"
        page_size = self._page_size() or self._page_size_from_counts()
        if page_size is None:
            self.notes.append("page size unknown: taken as 4096 bytes")
            page_size = 4096
        release = self.capture.release or ""
        base = KernelConfig.for_machine(arch, page_size, release)
        same = [
            p
            for p in presets().values()
            if p.name == p.layouts
            and p.arch == base.arch
            and p.page_size == page_size
            and kernel_version(p.release) == kernel_version(release)
        ]
        if same:
            # no release string says whether 5-level paging is on; four levels unless RAM needs more
            return replace(
                same[0],
                release=release,
                nr_cpus=self._nr_cpus(),
                max_physmem_bits=base.max_physmem_bits,
                pgtable_levels=base.pgtable_levels,
            )
        if "+deb" in release:  # Debian enables PAGE_EXTENSION: mem_section is 32 in all its builds here
            base = replace(base, sizeof_mem_section=32)
            if base.name == "arm64-16k":  # and 52-bit addresses; a 512 KiB root array was measured
                base = replace(base, max_physmem_bits=52)
        return replace(base, nr_cpus=self._nr_cpus())

    def _as_built(self, kernel: KernelConfig) -> KernelConfig:
        """The sizes that the captured kernel's own BTF gives, over those of the preset."""
        text, where = self.capture.text("btf-structs.json"), self.capture.where("btf-structs.json")
        if text is None:
            return kernel
        try:
            known = json.loads(text)["sizes"]
            names = [name for name in ("page", "mem_section", "xa_node") if name in known]
            sizes = {f"sizeof_{name}": known[name] for name in names}
        except (ValueError, KeyError, TypeError):
            raise InputError("no JSON object with the sizes of structs", file=where) from None
        for name, size in sizes.items():
            if not isinstance(size, int) or not 0 < size <= 1 << 16:
                raise InputError(f"{name} {str(size)[:40]!r} is not a whole number of 1..65536", file=where)
        return replace(kernel, **sizes)

    def _said_missing(self) -> list[str]:
        """What a capture's manifest says is missing or moved, of what a machine is worked out from."""
        if not isinstance(self.capture, Capture) or not (manifest := self.capture.manifest()):
            return []
        notes = [str(lack) for lack in self.capture.missing() if lack.part in _MACHINE_PARTS]
        if changed := manifest.get("changed"):
            notes.append(f"memory came or went while the capture was taken: {changed} differ at its end")
        return notes

    def _page_size(self) -> int | None:
        """What the capture says; broken page flags, where it looks last, are no reason to stop here."""
        try:
            return self.capture.page_size
        except InputError as error:
            self.notes.append(str(error))
            return None

    def _nr_cpus(self) -> int:
        """CPUs that zoneinfo lists pagesets for, else those of the nodes' cpulists, else 2 (assumed)."""
        pagesets = re.findall(r"^\s+cpu: (\d+)", self.capture.text("zoneinfo") or "", re.M)
        if pagesets:
            return max(layout.whole(nr, self.capture.where("zoneinfo")) for nr in pagesets) + 1
        lists = re.findall(r"cpulist:([\d,-]+)", self.capture.text("sys-node") or "")
        where = self.capture.where("sys-node")
        numbers = (layout.whole(n, where) for text in lists for n in re.findall(r"\d+", text))
        return max(numbers, default=1) + 1

    def _page_size_from_counts(self) -> int | None:
        """RAM bytes of iomem over the zones' present pages, to the nearest power of two."""
        present = sum(zone.present for zone in self.zones)
        ram = sum(r.end - r.start for r in self.iomem or () if layout.RAM_NAME.match(r.name))
        if not present or not ram:
            return None
        shift = round(np.log2(ram / present))
        if not 9 <= shift <= 24:
            return None  # no page size: one of the two is broken, or not all there
        size = 1 << shift
        self.notes.append(f"page size {size} inferred from iomem and zoneinfo")
        return size

    # sources, all in pfns

    def _pfns(self, start: int, end: int) -> tuple[int, int]:
        """Whole pages inside a byte range: PFN_UP(start), PFN_DOWN(end)."""
        size = self.kernel.page_size
        return -(-start // size), end // size

    def _iomem_ram(self) -> list[tuple[int, int, str]]:
        """RAM of iomem, hot-added RAM below a device included."""
        return [
            (*self._pfns(r.start, r.end), r.name) for r in self.iomem or () if layout.RAM_NAME.match(r.name)
        ]

    def _iomem_nomap(self) -> list[tuple[int, int, str]]:
        """Top-level ``reserved`` (arm64) and ``Reserved`` (riscv64): NOMAP memory, which has a memmap.

        On x86 the same word means memory that never entered memblock.
        """
        word = {"aarch64": "reserved", "riscv64": "Reserved"}.get(self.kernel.arch)
        return [
            (*self._pfns(r.start, r.end), r.name) for r in self.iomem or () if r.depth == 0 and r.name == word
        ]

    def _block_ranges(self) -> list[tuple[int, int, int | None]]:
        if self.blocks is None:
            return []
        per = self.blocks.block_bytes >> self.kernel.page_shift
        if len(self.blocks.indices) > MAX_BLOCKS:
            raise InputError(
                f"{len(self.blocks.indices)} memory blocks; no more than {MAX_BLOCKS} are read",
                file=self.capture.where("sys-memory-blocks"),
            )
        return [
            (i * per, (i + 1) * per, node)
            for i, node in zip(self.blocks.indices, self.blocks.nodes, strict=True)
        ]

    def memory(self) -> Memory:
        """The machine, from the best source of each fact."""
        blocks = self._block_ranges()
        block_ranges = [(low, high) for low, high, _ in blocks]
        boot = self.early or self.memblock
        one_section_blocks = (
            bool(blocks)
            and self.blocks is not None
            and self.blocks.block_bytes == 1 << self.kernel.section_size_bits
        )
        hot = NO_RANGES
        if boot:
            source = "the kernel log's early memory node ranges" if self.early else "debugfs memblock"
            ram, nomap = self._split_nomap()
            early = section_ranges([(low, high) for low, high, *_ in (*ram, *nomap)], self.kernel)
            if blocks:
                early, hot, ram, nomap = self._with_hotplug(early, ram, nomap, block_ranges)
                source += ", with memory blocks for what came or went since"
            elif self.iomem is not None:
                known = [(low, high) for low, high, *_ in (*ram, *nomap)]
                new = [
                    (low, high, name)
                    for a, b, name in self._iomem_ram()
                    for low, high in _cut([(a, b)], known)
                ]
                ram += new
                hot = self._hot(early, [(low, high) for low, high, _ in new])
                source += ", with iomem for what was added since"
        elif self.iomem is not None:
            ram, nomap = self._iomem_ram(), self._iomem_nomap()
            touched = [(low, high) for low, high, _ in (*ram, *nomap)]
            if one_section_blocks:
                source = "memory blocks (one section each), iomem for what is in them"
                early = section_ranges(block_ranges, self.kernel)
            else:
                source = "iomem"
                early = section_ranges(touched, self.kernel)
                if blocks:
                    kept = _cut([(0, 1 << 52)], block_ranges)
                    early = section_ranges(_cut(touched, kept), self.kernel)
                elif self.kernel.arch in ("aarch64", "riscv64"):
                    self.notes.append("NOMAP memory may be missing: iomem does not always name it")
        elif blocks:
            source = "memory blocks"
            if not one_section_blocks:
                self.notes.append(
                    "a memory block here holds several sections: holes inside a block are counted as memory"
                )
            ram, nomap = [(low, high, "memory block") for low, high in block_ranges], []
            early = section_ranges(block_ranges, self.kernel)
        elif self.zones:
            source = "zoneinfo"
            self.notes.append("only the zones' spans are known: holes inside a zone are counted as memory")
            ram = []
            for z in self.zones:  # one may span another's holes
                others = [(low, high) for low, high, _ in ram]
                ram += [
                    (low, high, f"zone {z.name}")
                    for low, high in _cut([(z.start_pfn, z.start_pfn + z.spanned)], others)
                ]
            nomap = []
            early = section_ranges([(low, high) for low, high, _ in ram], self.kernel)
        else:
            why = "; ".join(self.notes) or "no iomem, no memory blocks, no kernel log, no zoneinfo"
            raise InputError(
                f"nothing in it says where RAM lies ({why}); capture it as root", file=self.capture.name
            )
        for (_, end, name), (low, _, other) in itertools.pairwise(sorted(ram)):
            if low < end:
                raise InputError(
                    f"{other} from pfn {low:#x} on overlaps {name}, which ends at {end:#x}: pages would "
                    f"count twice (from {source})",
                    file=self.capture.name,
                )
        hugetlb = self._hugetlb()
        huge, pages = sum(pool.nr * pool.size_bytes for pool in hugetlb), sum(b - a for a, b, _ in ram)
        if huge > pages << self.kernel.page_shift:
            raise InputError(
                f"{huge} bytes of hugetlb pages do not fit into {pages} pages of RAM", file=self.capture.name
            )
        regions = [
            Region(low, high, kind, node, name)
            for kind, ranges in (("ram", ram), ("nomap", nomap))
            for start, end, name in ranges
            for low, high, node in self._by_node(start, end)
            if low < high  # less than a page is none
        ]
        regions += self._devices()
        memory = Memory(
            name=self.capture.name,
            kernel=self.kernel,
            regions=tuple(sorted(regions, key=lambda r: (r.first_pfn, r.end_pfn))),
            early_sections=early,
            hot_sections=hot,
            hugetlb=hugetlb,
            hvo_on=self._hvo_on(),
            page_ext_pages_per_section=self._page_ext(early),
            mmu=self._mmu(),
            source=source,
            notes=tuple(self.notes),
            counter=self._counter(),
        )
        left = sum(memmap.counter_terms(memory).values())
        if left < 0:
            raise InputError(
                f"its hugetlb pages free {-left} pages of memmap more than there are",
                file=self.capture.name,
            )
        return memory

    def _split_nomap(self) -> tuple[list[tuple[int, int, str]], list[tuple[int, int, str]]]:
        """memblock's ranges as RAM and NOMAP: flagged by memblock, else what iomem does not call RAM."""
        ranges = [self._pfns(r.start, r.end) for r in self.early or self.memblock]
        flagged = [self._pfns(r.start, r.end) for r in self.memblock if r.nomap]
        if not flagged and self.early and self.iomem is not None:
            flagged = [(low, high) for low, high, _ in self._iomem_nomap()]
        ram = [(low, high, "System RAM") for low, high in _cut(ranges, flagged)]
        whole = _cut(ranges, [(low, high) for low, high, _ in ram])
        return ram, [(low, high, "reserved") for low, high in whole if high > low]

    def _hot(self, early: np.ndarray, pfn_ranges: list[tuple[int, int]]) -> np.ndarray:
        """The sections that these ranges touch, without the early ones."""
        touched = [tuple(r) for r in section_ranges(pfn_ranges, self.kernel).tolist()]
        cut = _cut(touched, [tuple(r) for r in early.tolist()])
        return np.array(cut, dtype=np.int64).reshape(-1, 2)

    def _with_hotplug(
        self, early: np.ndarray, ram: list, nomap: list, blocks: list[tuple[int, int]]
    ) -> tuple:
        """What memory blocks say has come and gone since boot.

        A block without an early section was added whole; an early section without its block was removed.
        """
        shift = self.kernel.pfn_section_shift
        early_ranges = [tuple(r) for r in early.tolist()]
        block_sections = [(low >> shift, high >> shift) for low, high in blocks]
        added = [b for b in block_sections if _cut([b], early_ranges) == [b]]
        gone = _cut(early_ranges, block_sections)
        early = np.array(_cut(early_ranges, gone), dtype=np.int64).reshape(-1, 2)
        gone_pfns = [(low << shift, high << shift) for low, high in gone]
        ram, nomap = (
            [(low, high, name) for a, b, name in ranges for low, high in _cut([(a, b)], gone_pfns)]
            for ranges in (ram, nomap)
        )
        added_pfns = [(low << shift, high << shift) for low, high in added]
        outside = _cut([(0, 1 << 52)], added_pfns)
        named = [
            (low, high, name) for a, b, name in self._iomem_ram() for low, high in _cut([(a, b)], outside)
        ]
        if not named:
            named = [
                (low, high, "memory block")
                for low, high in zip(
                    *(part.tolist() for part in merge_ranges(*_columns(added_pfns))), strict=True
                )
            ]
        return early, np.array(added, dtype=np.int64).reshape(-1, 2), ram + named, nomap

    def _by_node(self, start: int, end: int) -> list[tuple[int, int, int | None]]:
        """A range cut where its node changes; node None where no source tells."""
        pieces: list[tuple[int, int, int | None]] = []
        at = start
        for low, high, node in self._node_ranges:
            if high <= at or low >= end:
                continue
            if low > at:
                pieces.append((at, low, None))
            pieces.append((max(low, at), min(high, end), node))
            at = min(high, end)
        if at < end:
            pieces.append((at, end, None))
        merged: list[tuple[int, int, int | None]] = []
        for low, high, on in pieces:
            if merged and merged[-1][1] == low and merged[-1][2] == on:
                merged[-1] = (merged[-1][0], high, on)
            else:
                merged.append((low, high, on))
        return merged

    @functools.cached_property
    def _node_ranges(self) -> list[tuple[int, int, int]]:
        """Sorted, disjoint pfn ranges with their node: from the log, then blocks, then zoneinfo."""
        found = [(*self._pfns(r.start, r.end), r.node) for r in self.early if r.node is not None]
        owner = {}
        for match in re.finditer(
            r"^node(\d+)/memory(\d+)/phys_index:([0-9a-fA-F]+)", self.capture.text("sys-node") or "", re.M
        ):
            where = self.capture.where("sys-node")
            owner[layout.whole(match[3], where, 16)] = layout.whole(match[1], where)
        if self.blocks is not None:
            per = self.blocks.block_bytes >> self.kernel.page_shift
            logged = [(low, high) for low, high, _ in found]
            for low, high, own in self._block_ranges():
                on = owner.get(low // per, own)
                if on is not None:
                    found += [(*piece, on) for piece in _cut([(low, high)], logged)]
        nodes = {zone.node for zone in self.zones}
        if not found and len(nodes) == 1:
            found = [(0, 1 << 52, nodes.pop())]
        elif not found:
            spans = {
                n: (
                    min(z.start_pfn for z in self.zones if z.node == n),
                    max(z.start_pfn + z.spanned for z in self.zones if z.node == n),
                )
                for n in nodes
            }
            ordered = sorted((low, high, n) for n, (low, high) in spans.items())
            if all(a[1] <= b[0] for a, b in itertools.pairwise(ordered)):
                found = ordered
        return sorted(found)

    def _devices(self) -> list[Region]:
        """Persistent memory, and PCI BARs large enough to be device memory."""
        found = []
        text = self.capture.text("nd-pfn") or ""
        namespaces = {n.name: n for n in layout.parse_namespaces(text, self.capture.where("nd-pfn"))}
        inner = {r.parent for r in self.iomem or () if r.parent}
        for r in self.iomem or ():
            first, end = self._pfns(r.start, r.end)
            if layout.PMEM_NAME.match(r.name):
                claimed = [c for c in self.iomem or () if c.parent is r and c.name.startswith("namespace")]
                for child in claimed or [r]:
                    space = namespaces.get(child.name)
                    where = space.memmap if space else self._legacy_memmap(r, child)
                    low, high = self._pfns(child.start, child.end)
                    found.append(
                        Region(
                            low,
                            high,
                            "pmem",
                            None,
                            f"{r.name} ({child.name})" if child is not r else r.name,
                            where,
                        )
                    )
            elif (
                re.fullmatch(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|PCI device \d+", r.name)
                and r not in inner
                and r.end - r.start >= DEVICE_BAR_BYTES
            ):
                found.append(Region(first, end, "device", None, f"PCI BAR of {r.name}"))
        if self.iomem is None:
            found += self._unplaced_namespaces(namespaces.values())
        return found

    def _unplaced_namespaces(self, namespaces: Iterable[layout.Namespace]) -> list[Region]:
        """Namespaces by their own resource and size, which leave out the info block before them."""
        found = []
        for space in namespaces:
            if space.size and space.resource is not None:
                first, end = self._pfns(space.resource, space.resource + space.size)
                found.append(Region(first, end, "pmem", None, space.name, space.memmap))
                self.notes.append(f"{space.name}: without iomem its info block (1-2 MiB) is not counted")
        return found

    def _legacy_memmap(self, region: layout.Resource, child: layout.Resource) -> str | None:
        """Without nd-pfn text: e820 (legacy) regions are mapped once a driver claims them.

        ND_REGION_PAGEMAP, drivers/nvdimm/e820.c and pmem_should_map_pages(), v6.12.
        """
        if child is not region and "legacy" not in region.name:
            self.notes.append(f"{child.name}: mode unknown, taken as raw (no memmap)")
        return "ram" if child is not region and "legacy" in region.name else None

    def _hvo_on(self) -> bool:
        on = (self.capture.text("hugetlb_optimize_vmemmap") or "").strip() in ("1", "Y")
        if on and any(pool.freed_pages for pool in self._hugetlb()):
            self.notes.append("every hugetlb page is taken as optimised: the switch is on in the capture")
        return on

    def _hugetlb(self) -> tuple[HugeTlb, ...]:
        """hugetlb pools and what HVO frees of each page: as the kernel log says, else by the rule."""
        said = layout.parse_freed_vmemmap(self.dmesg, self.capture.where("dmesg"))
        for size, freed in said.items():
            whole = size // self.kernel.page_size * self.kernel.sizeof_page
            if freed >= max(whole, 1):
                raise InputError(
                    f"{freed} bytes freed of the {whole} bytes of vmemmap of a {size}-byte hugetlb page",
                    file=self.capture.where("dmesg"),
                )
        pools = layout.parse_hugepages(self.capture.text("hugepages") or "", self.capture.where("hugepages"))
        if not pools:
            info = layout.parse_counters(self.capture.text("meminfo") or "", self.capture.where("meminfo"))
            if info.get("Hugepagesize"):
                pools = [layout.HugePool(info["Hugepagesize"] << 10, info.get("HugePages_Total", 0))]
        return tuple(
            HugeTlb(
                pool.size_bytes,
                pool.nr,
                said[pool.size_bytes] >> self.kernel.page_shift
                if pool.size_bytes in said
                else memmap.hvo_freed_pages(pool.size_bytes, self.kernel),
            )
            for pool in pools
            if pool.nr
        )

    def _page_ext(self, early: np.ndarray) -> int:
        """page_ext pages for each section, where the kernel log reports its tables."""
        total = layout.parse_page_ext(self.dmesg, self.capture.where("dmesg"))
        nr = int((early[:, 1] - early[:, 0]).sum())
        return -(-total // max(1, nr) // self.kernel.page_size) if total else 0

    def _mmu(self) -> str:
        if self.kernel.arch != "ppc64le":
            return ""
        if "radix-mmu:" in self.dmesg:
            return "radix"
        shift = re.search(r"Page orders:.*vmemmap = (\d+)", self.dmesg)
        if shift or "hash-mmu:" in self.dmesg:
            return f"hash:{shift[1]}" if shift else "hash"
        return "unknown"

    def _counter(self) -> tuple[int, int] | None:
        stat = layout.parse_counters(self.capture.text("vmstat") or "", self.capture.where("vmstat"))
        if "nr_memmap_boot_pages" not in stat and "nr_memmap_pages" not in stat:
            return None
        return stat.get("nr_memmap_boot_pages", 0), stat.get("nr_memmap_pages", 0)


def _columns(ranges: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(ranges, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


class LiveTexts:
    """The running system's own text, in the shape of a capture."""

    name = "live"
    _FILES: ClassVar[Mapping[str, str]] = {
        "iomem": "/proc/iomem",
        "zoneinfo": "/proc/zoneinfo",
        "vmstat": "/proc/vmstat",
        "meminfo": "/proc/meminfo",
        "memblock-memory": "/sys/kernel/debug/memblock/memory",
        "hugetlb_optimize_vmemmap": "/proc/sys/vm/hugetlb_optimize_vmemmap",
    }

    release = platform.release()
    arch = platform.machine()

    @property
    def page_size(self) -> int:
        return os.sysconf("SC_PAGE_SIZE")

    def where(self, part: str) -> str:
        return self._FILES.get(part, part)

    def text(self, part: str) -> str | None:
        try:
            if part == "sys-memory-blocks":
                return self._memory_blocks()
            if part == "hugepages":
                return "".join(
                    f"{d.name} nr={(d / 'nr_hugepages').read_text().strip()}\n"
                    for d in Path("/sys/kernel/mm/hugepages").iterdir()
                )
            return Path(self._FILES[part]).read_text(errors="backslashreplace")
        except (KeyError, OSError):
            return None

    @staticmethod
    def _memory_blocks() -> str:
        root = Path("/sys/devices/system/memory")
        lines = [f"block_size_bytes:{(root / 'block_size_bytes').read_text().strip()}"]
        for block in root.glob("memory[0-9]*"):
            node = next((p.name.removeprefix("node") for p in block.glob("node[0-9]*")), "")
            lines.append(f"{block.name} phys_index={(block / 'phys_index').read_text().strip()} node={node}")
        return "\n".join(lines)
