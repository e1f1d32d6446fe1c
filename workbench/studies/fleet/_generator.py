"""Fleets of any size, made from the shipped captures, to try out what takes a million of them.

Each capture is made from one real one: its kernel, architecture, page size, section size, the lines of its
iomem beside RAM, its counters' names, and pageblocks of its page flags. Made up are the size of RAM (1 GiB to
1 TiB, and no more than 1024 memory blocks; small ones more often), the nodes it is split over, pools of
hugetlb pages and whether HVO is on, and which pageblocks lie where. ``nr_memmap_boot_pages`` is what the
kernel would count: whole sections that RAM touches, less what HVO frees. Machines of more than 2.6 million
pages get no page flags, as a capture that was taken without root has none.

The manifest says ``"generated": true`` and which capture it was made from: such a fleet shows that the tools
work, and nothing about real machines.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench import __version__
from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory import layout
from workbench.model.memory.capture import Capture, load_capture
from workbench.model.memory.machine import Machine
from workbench.model.memory.memmap import hvo_freed_pages
from workbench.model.memory.pageflags import PageFlags, classify

MAX_FLAGGED_PAGES = 5 << 19  # 10 GiB of 4 KiB pages; deflated, a huge page takes 3 bytes: 15 KiB
MAX_BLOCKS = 1 << 10  # memory blocks, a line each
BLOCK_PAGES = 512  # of a stretch of page flags that is copied; all its folios must begin in it
NR_STAMPS = 14
MAX_STAMPS = 4096  # pageblocks of a capture that are looked at
NR_SEGMENTS = 24
_HUGE = (1 << 15 | 1 << 17, 1 << 16 | 1 << 17)  # a free hugetlb page: compound_head/tail, huge
_GIB = 1 << 30


@dataclass(frozen=True, eq=False)
class Template:
    """What is taken over from a real capture."""

    name: str
    capture: Capture
    kernel: KernelConfig
    ram: tuple[tuple[int, int], ...]  # top-level System RAM, bytes
    lines: tuple[layout.Resource, ...]  # every other top-level resource
    block_bytes: int
    values: NDArray[np.uint64]  # distinct flag words
    stamps: tuple[NDArray[np.uint8], ...]  # (n, BLOCK_PAGES) codes, by their commonest type

    def texts(self, *parts: str) -> dict[str, str]:
        """Parts that are kept verbatim, where they are there."""
        return {part: text for part in parts if (text := self.capture.text(part)) is not None}


@functools.cache
def templates() -> tuple[Template, ...]:
    """The shipped captures that have iomem, memory blocks and page flags with few enough flag words."""
    found = []
    for folder in sorted((data_dir() / "captures").iterdir()):
        try:
            one = _template(load_capture(folder))
        except InputError:
            continue
        if one is not None:
            found.append(one)
    return tuple(found)


def _template(capture: Capture) -> Template | None:
    iomem, blocks = capture.text("iomem"), capture.text("sys-memory-blocks")
    if iomem is None or blocks is None or not capture.npz_names:
        return None
    machine, flags = Machine.from_capture(capture), PageFlags.load(capture)
    tree, memory = layout.parse_iomem(iomem), layout.parse_memory_blocks(blocks)
    if tree is None or memory is None or flags.codes.dtype != np.uint8 or flags.values.size > 250:
        return None
    top = [line for line in tree if line.depth == 0]
    ram = tuple((line.start, line.end) for line in top if line.name == "System RAM")
    others = tuple(line for line in top if line.name not in ("System RAM", "RAM buffer"))
    stamps = _stamps(flags)
    if not ram or not stamps:
        return None
    return Template(
        capture.name, capture, machine.kernel, ram, others, memory.block_bytes, flags.values, stamps
    )


def _stamps(flags: PageFlags) -> tuple[NDArray[np.uint8], ...]:
    """Whole pageblocks in which no folio from before goes on, by their commonest type."""
    found, at = [], 0
    tail, kind = (flags.values & np.uint64(1 << 16)) > 0, classify(flags.values)
    for first, end in flags.ram.tolist():
        skip = -first % BLOCK_PAGES
        nr = max(0, (end - first - skip) // BLOCK_PAGES)
        found.append(flags.codes[at + skip : at + skip + nr * BLOCK_PAGES].reshape(nr, BLOCK_PAGES))
        at += end - first
    blocks = np.concatenate(found)
    blocks = blocks[~tail[blocks[:, 0]]]
    by_type: dict[int, dict[bytes, NDArray[np.uint8]]] = {}
    for block in blocks[:: max(1, len(blocks) // MAX_STAMPS)]:
        commonest = int(np.bincount(kind[block]).argmax())
        by_type.setdefault(commonest, {}).setdefault(block.tobytes(), block)
    return tuple(np.stack(list(own.values())) for _, own in sorted(by_type.items()))


def generate(folder: str | os.PathLike[str], n: int, seed: int = 1) -> list[Path]:
    """Make ``n`` captures ``generated-0000000.mmsnap`` and on in a folder; same seed, same bytes.

    Parameters
    ----------
    folder : path
        Made where it is not there; files of these names are replaced.
    n : int
        How many.
    seed : int
        Each capture has a stream of its own: the first ones of a larger fleet are those of a smaller one.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= 10_000_000:
        raise InputError(f"{n!r} captures, not from 0 to 10000000")
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for nr, content in enumerate(captures(n, seed)):
        made.append(out / f"generated-{nr:07d}.mmsnap")
        new = made[-1].with_suffix(".new")
        new.write_bytes(content)
        new.replace(made[-1])
    return made


def captures(n: int, seed: int = 1) -> Iterator[bytes]:
    """The same captures as bytes, one after the other."""
    for nr in range(n):
        yield _one(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(nr,))))


def _one(rng: np.random.Generator) -> bytes:
    known = templates()
    template = known[int(rng.integers(len(known)))]
    kernel = template.kernel
    page = kernel.page_size
    most = 40 if kernel.arch == "x86_64" else min(40, math.log2(template.block_bytes * MAX_BLOCKS))
    ram = _ram(template, int(2 ** (30 + (most - 30) * rng.random() ** 1.6)), rng)
    total = sum(end - start for start, end in ram)
    others = [
        line for line in template.lines if all(line.end <= low or line.start >= high for low, high in ram)
    ]
    block = template.block_bytes
    if kernel.arch == "x86_64" and total >= 64 * _GIB:
        block = max(block, 2 * _GIB)  # probe_memory_block_size(), arch/x86/mm/init_64.c, v6.12
    word = {"aarch64": "reserved", "riscv64": "Reserved"}.get(kernel.arch)  # NOMAP memory, which has a memmap
    present = [*ram, *((line.start, line.end) for line in others if line.name == word)]
    present = [(-(-low // page) * page, high // page * page) for low, high in present]
    nr_nodes = int(rng.choice([1, 1, 2, 4, 8])) if total > 8 * _GIB else 1
    node_of = _nodes(ram, nr_nodes, block)
    huge, nr_huge, hvo = _hugetlb(template, total, rng)
    boot = kernel.memmap_pages_per_section * len(_touched(present, 1 << kernel.section_size_bits))
    boot -= hvo * nr_huge * hvo_freed_pages(huge, kernel)

    parts = template.texts("kernel", "getconf")
    parts["iomem"] = _iomem(ram, others)
    parts["sys-memory-blocks"] = _blocks(sorted(_touched(present, block)), block, node_of)
    parts["zoneinfo"] = _zoneinfo(ram, kernel, nr_nodes, node_of)
    scale = total / sum(end - start for start, end in template.ram)
    parts["vmstat"] = _vmstat(template, scale, boot)
    parts["meminfo"] = _meminfo(template, scale, total, nr_huge, huge)
    if huge:
        parts["hugepages"] = f"hugepages-{huge >> 10}kB nr={nr_huge} free={nr_huge}\n"
        parts["hugetlb_optimize_vmemmap"] = f"{int(hvo)}\n"
    if radix := re.search(r"^.*radix-mmu:.*$", template.capture.text("dmesg") or "", re.M):
        parts["dmesg"] = radix[0] + "\n"
    flags = _page_flags(template, ram, huge, nr_huge, rng) if total // page <= MAX_FLAGGED_PAGES else None
    return _zipped(template, parts, flags)


def _ram(template: Template, size: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """The template's RAM, cut or grown at its end to about ``size`` bytes; the end lies inside a section."""
    unit = max(1 << 20, template.kernel.page_size)
    found: list[tuple[int, int]] = []
    left = max(size // unit * unit, 256 << 20) + unit * int(rng.integers(128))
    for low, high in template.ram:
        if left > 0:
            found.append((low, min(high, low + left)))
            left -= found[-1][1] - low
    low, high = found[-1]
    if left > 0 and template.kernel.arch == "x86_64" and high <= 4 * _GIB:
        found.append((4 * _GIB, 4 * _GIB + -(-left // unit) * unit))  # below 4 GiB lie devices
    elif left > 0:
        found[-1] = (low, -(-(high + left) // unit) * unit)
    return found


def _touched(ranges: Sequence[tuple[int, int]], size: int) -> set[int]:
    """Numbers of the aligned blocks of ``size`` bytes that ranges touch."""
    return {nr for low, high in ranges if high > low for nr in range(low // size, (high - 1) // size + 1)}


def _nodes(ram: Sequence[tuple[int, int]], nr_nodes: int, block: int) -> list[int]:
    """The first byte of each node, at memory blocks: RAM split about evenly."""
    total, starts, at, done = sum(high - low for low, high in ram), [0], 0, 0
    for low, high in ram:
        while len(starts) < nr_nodes and done + high - low > (want := total * len(starts) // nr_nodes):
            at = max(starts[-1] + block, (low + want - done) // block * block)
            starts.append(at)
        done += high - low
    return starts


def _node(at: int, starts: Sequence[int]) -> int:
    return sum(start <= at for start in starts) - 1


def _hugetlb(template: Template, total: int, rng: np.random.Generator) -> tuple[int, int, bool]:
    """Size and number of huge pages, and whether HVO is on; a third of the machines have a pool."""
    kernel = template.kernel
    huge = BLOCK_PAGES * kernel.page_size
    if huge != 1 << kernel.pmd_shift or rng.random() > 1 / 3:
        return 0, 0, False
    nr = int(total // huge * rng.uniform(0.01, 0.5))
    return huge, nr, bool(kernel.hugetlb_vmemmap and rng.random() < 0.5)


def _iomem(ram: Sequence[tuple[int, int]], others: Sequence[layout.Resource]) -> str:
    lines = [(low, high, "System RAM") for low, high in ram] + [(r.start, r.end, r.name) for r in others]
    return "".join(f"{low:08x}-{high - 1:08x} : {name}\n" for low, high, name in sorted(lines))


def _blocks(numbers: Sequence[int], size: int, starts: Sequence[int]) -> str:
    lines = [f"block_size_bytes:{size:x}"]
    lines += [
        f"memory{nr} phys_index={nr:08x} state=online node={_node(nr * size, starts)}" for nr in numbers
    ]
    return "\n".join(lines) + "\n"


def _zoneinfo(
    ram: Sequence[tuple[int, int]], kernel: KernelConfig, nr_nodes: int, starts: Sequence[int]
) -> str:
    """One paragraph for each zone of each node; x86 has DMA and DMA32 below 4 GiB."""
    edges = [("DMA", 0, 1 << 24), ("DMA32", 1 << 24, 1 << 32), ("Normal", 1 << 32, 1 << 52)]
    text = ""
    for node in range(nr_nodes):
        end = starts[node + 1] if node + 1 < nr_nodes else 1 << 52
        for name, low, high in edges if kernel.arch == "x86_64" else [("Normal", 0, 1 << 52)]:
            low, high = max(low, starts[node]), min(high, end)
            own = [
                (max(a, low) // kernel.page_size, min(b, high) // kernel.page_size)
                for a, b in ram
                if a < high and b > low
            ]
            own = [(a, b) for a, b in own if b > a]
            if not own:
                continue
            present = sum(b - a for a, b in own)
            text += (
                f"Node {node}, zone {name:>8}\n  pages free     {present * 3 // 4}\n        spanned  "
                f"{own[-1][1] - own[0][0]}\n        present  {present}\n        managed  "
                f"{present * 63 // 64}\n  start_pfn:           {own[0][0]}\n"
            )
    return text


def _vmstat(template: Template, scale: float, boot: int) -> str:
    """The template's counters, pages scaled with RAM."""
    counts = {"nr_memmap_pages": 0, "nr_memmap_boot_pages": boot}

    def line(found: re.Match[str]) -> str:
        return f"{found[1]} {counts.get(found[1], round(int(found[2]) * scale))}"

    return re.sub(r"^(nr_\w+) (\d+)$", line, template.capture.text("vmstat") or "", flags=re.M)


def _meminfo(template: Template, scale: float, total: int, nr_huge: int, huge: int) -> str:
    fixed = {
        "MemTotal": total * 63 // 64 >> 10,
        "HugePages_Total": nr_huge,
        "HugePages_Free": nr_huge,
        "HugePages_Rsvd": 0,
        "HugePages_Surp": 0,
        "Hugetlb": nr_huge * huge >> 10,
    }

    def line(found: re.Match[str]) -> str:
        kept = found[1] == "Hugepagesize" or found[1].startswith(("Vmalloc", "DirectMap"))
        value = int(found[3]) if kept else fixed.get(found[1], round(int(found[3]) * scale))
        return f"{found[1]}:{found[2]}{value}"

    return re.sub(r"^([\w()]+):( +)(\d+)", line, template.capture.text("meminfo") or "", flags=re.M)


def _page_flags(
    template: Template, ram: Sequence[tuple[int, int]], huge: int, nr_huge: int, rng: np.random.Generator
) -> bytes:
    """An npz: segments that repeat one pageblock each; hugetlb pages in the first whole pageblocks."""
    page = template.kernel.page_size
    extents = np.array([(-(-low // page), high // page) for low, high in ram], np.uint64)
    extents = extents[extents[:, 1] > extents[:, 0]]
    nr_blocks = -(-int(extents[-1, 1]) // BLOCK_PAGES)
    values = np.append(template.values, np.array(_HUGE, np.uint64))
    hugetlb = np.full(BLOCK_PAGES, values.size - 1, np.uint8)
    hugetlb[0] = values.size - 2
    weights = rng.dirichlet(np.full(len(template.stamps), 0.5))
    kinds = rng.choice(len(template.stamps), NR_STAMPS, p=weights)
    stamps = np.stack([rng.choice(template.stamps[kind]) for kind in kinds] + [hugetlb])
    cuts = np.sort(rng.integers(0, nr_blocks + 1, NR_SEGMENTS - 1))
    lengths = np.diff(np.concatenate(([0], cuts, [nr_blocks])))
    which = np.repeat(rng.integers(0, NR_STAMPS, NR_SEGMENTS), lengths)
    if huge:
        whole = np.zeros(nr_blocks, np.bool_)
        for first, end in extents.tolist():
            whole[-(-first // BLOCK_PAGES) : end // BLOCK_PAGES] = True
        which[np.flatnonzero(whole)[:nr_huge]] = NR_STAMPS
    codes = stamps[which].reshape(-1)
    sink = io.BytesIO()
    np.savez_compressed(
        sink,
        ram=extents,
        flag_values=values,
        flag_code=np.concatenate([codes[low:high] for low, high in extents.tolist()]),
    )
    return sink.getvalue()


#: A part's name, and its member in a .mmsnap.
_MEMBERS = {
    "iomem": "proc/iomem.txt",
    "zoneinfo": "proc/zoneinfo.txt",
    "vmstat": "proc/vmstat.txt",
    "meminfo": "proc/meminfo.txt",
    "sys-memory-blocks": "sys/memory-blocks.txt",
    "hugepages": "sys/hugepages.txt",
    "hugetlb_optimize_vmemmap": "proc/hugetlb_optimize_vmemmap.txt",
    "dmesg": "dmesg-memory.txt",
    "kernel": "kernel.txt",
    "getconf": "getconf.txt",
}


def _zipped(template: Template, parts: dict[str, str], flags: bytes | None) -> bytes:
    capture, sink = template.capture, io.BytesIO()
    manifest = {
        "format": 1,
        "tool": f"workbench fleet {__version__}",
        "generated": True,
        "made_from": template.name,
        "release": capture.release,
        "arch": capture.arch,
        "page_size": template.kernel.page_size,
    }
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [
            ("manifest.json", json.dumps(manifest)),
            *((_MEMBERS[part], text) for part, text in sorted(parts.items())),
        ]:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        if flags is not None:
            archive.writestr(zipfile.ZipInfo("pages.npz"), flags, zipfile.ZIP_STORED)
    return sink.getvalue()
