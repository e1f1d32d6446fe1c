"""Parsers for the kernel's own text about physical memory. Addresses are bytes, ends are exclusive.

Each takes the verbatim text and the name to put into error messages. What a file of that kind may hold
on other machines is accepted; what no kernel can have written (reversed or overlapping ranges, a line of
another shape) is an InputError that names the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.model.errors import InputError

#: iomem names of RAM that has a memmap: kernel/resource.c, drivers/dax/kmem.c, drivers/virtio/virtio_mem.c.
RAM_NAME = re.compile(r"System RAM( \([^()]*\))?$")
PMEM_NAME = re.compile(r"Persistent Memory( \(legacy\))?$")
_MAX_LINES = 2_000_000


@dataclass(frozen=True)
class Resource:
    """One line of /proc/iomem."""

    start: int
    end: int  # exclusive
    name: str
    depth: int
    parent: Resource | None = None


def whole(text: str, where: str, base: int = 10) -> int:
    """A number that a kernel wrote; none of them is 2^64 or more."""
    if len(text) > 100 or (value := int(text, base)) >= 1 << 64:
        raise InputError(f"{text[:40]!r} is 2^64 or more; no number in it can be", file=where)
    return value


def _lines(text: str, where: str) -> Iterator[tuple[int, str]]:
    lines = text.split("\n")
    if len(lines) > _MAX_LINES:
        raise InputError(f"{len(lines)} lines; no more than {_MAX_LINES} are read", file=where)
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def parse_iomem(text: str, where: str = "iomem") -> list[Resource] | None:
    """The resource tree of /proc/iomem, in file order; None where it was read without root (all zero).

    Examples
    --------
    >>> [r.name for r in parse_iomem("00001000-0009fbff : System RAM\\n000f0000-000fffff : System ROM")]
    ['System RAM', 'System ROM']
    """
    found: list[Resource] = []
    stack: list[Resource] = []
    before: dict[int, Resource] = {}
    all_zero = True
    for number, line in _lines(text, where):
        match = re.fullmatch(r"( *)([0-9a-fA-F]{1,16})-([0-9a-fA-F]{1,16}) : ?(.*)", line.rstrip("\r"))
        if not match or len(match[1]) % 2:
            raise InputError(
                f"{line[:80]!r} is not 'START-END : NAME' in hex, indented by twos",
                file=where,
                place=f"line {number}",
            )
        start, last, depth = int(match[2], 16), int(match[3], 16), len(match[1]) // 2
        all_zero &= start == 0 and last == 0
        if last < start:
            raise InputError(
                f"range {start:#x}-{last:#x} ends before it starts", file=where, place=f"line {number}"
            )
        if depth > len(stack):
            raise InputError(
                f"indented {2 * depth} blanks below a line indented {2 * (len(stack) - 1)}",
                file=where,
                place=f"line {number}",
            )
        del stack[depth:]
        for deeper in [d for d in before if d > depth]:
            del before[deeper]
        entry = Resource(start, last + 1, match[4].strip(), depth, stack[-1] if stack else None)
        sibling = before.get(depth)
        if sibling and not all_zero and entry.start < sibling.end:
            raise InputError(
                f"{entry.name!r} {start:#x}-{last:#x} overlaps {sibling.name!r} "
                f"{sibling.start:#x}-{sibling.end - 1:#x} before it",
                file=where,
                place=f"line {number}",
            )
        before[depth] = entry
        stack.append(entry)
        found.append(entry)
    if not found:
        raise InputError("no line in it", file=where)
    return None if all_zero else found


@dataclass(frozen=True)
class EarlyRange:
    """A range of memblock.memory: RAM that the kernel found at boot, NOMAP ranges included."""

    start: int
    end: int  # exclusive
    node: int | None
    nomap: bool = False


def parse_early_ranges(dmesg: str, where: str = "dmesg") -> list[EarlyRange]:
    """The ``Early memory node ranges`` of a kernel log; empty where the log has none.

    Examples
    --------
    >>> parse_early_ranges("[ 0.0]   node   0: [mem 0x0000000000001000-0x000000000009efff]")
    [EarlyRange(start=4096, end=651264, node=0, nomap=False)]
    """
    pattern = re.compile(r"(?<=\s)node[ \t]+(\d+): \[mem 0x([0-9a-f]+)-0x([0-9a-f]+)\]")
    ranges = [
        (whole(m[1], where), whole(m[2], where, 16), whole(m[3], where, 16))
        for m in pattern.finditer(dmesg)
    ]
    for _, first, last in ranges:
        if last < first:
            raise InputError(f"early range {first:#x}-{last:#x} ends before it starts", file=where)
    return [EarlyRange(first, last + 1, node) for node, first, last in ranges]


def parse_memblock(text: str, where: str = "memblock-memory") -> list[EarlyRange]:
    """/sys/kernel/debug/memblock/memory: ``0: 0x40000000..0x7fffffff    0 NONE``; empty if unreadable.

    Examples
    --------
    >>> parse_memblock("   0: 0x0000000004000000..0x0000000007ffffff    0 NOMAP")
    [EarlyRange(start=67108864, end=134217728, node=0, nomap=True)]
    """
    found = []
    for number, line in _lines(text, where):
        match = re.match(r"\s*\d+: 0x([0-9a-f]+)\.\.0x([0-9a-f]+)(?:\s+(\d+|x)\s+(.*))?$", line.rstrip())
        if not match:
            if line.startswith("cat:") or "No such file" in line:
                return []
            raise InputError(
                f"{line[:80]!r} is not 'N: 0xSTART..0xEND NODE FLAGS'", file=where, place=f"line {number}"
            )
        start, last = whole(match[1], where, 16), whole(match[2], where, 16)
        if last < start:
            raise InputError(
                f"range {start:#x}..{last:#x} ends before it starts", file=where, place=f"line {number}"
            )
        node = whole(match[3], where) if (match[3] or "x") != "x" else None
        found.append(EarlyRange(start, last + 1, node, "NOMAP" in (match[4] or "")))
    return found


@dataclass(frozen=True)
class MemoryBlocks:
    """/sys/devices/system/memory: present memory blocks; ``nodes`` is parallel to ``indices``."""

    block_bytes: int
    indices: tuple[int, ...]
    nodes: tuple[int | None, ...]


def parse_memory_blocks(text: str, where: str = "sys-memory-blocks") -> MemoryBlocks | None:
    """Block size (hex without 0x, as sysfs has it) and the blocks that exist; None without a size.

    Examples
    --------
    >>> parse_memory_blocks("block_size_bytes:8000000\\nmemory3 phys_index=00000003 state=online node=1")
    MemoryBlocks(block_bytes=134217728, indices=(3,), nodes=(1,))
    """
    size = re.search(r"^block_size_bytes:\s*([0-9a-fA-F]+)\s*$", text, re.M)
    if not size:
        return None
    block_bytes = whole(size[1], where, 16)
    if block_bytes & (block_bytes - 1) or not block_bytes:
        raise InputError(f"block_size_bytes {size[1]} (hex) is not a power of two", file=where)
    blocks: dict[int, int | None] = {}
    for line in re.finditer(r"^memory(\d+)\b(.*)$", text, re.M):
        phys = re.search(r"phys_index=([0-9a-fA-F]+)", line[2])
        index = whole(phys[1], where, 16) if phys else whole(line[1], where)
        if index * block_bytes >= 1 << 64:
            raise InputError(f"block {index:#x} of {block_bytes:#x} bytes lies beyond 2^64", file=where)
        node = re.search(r"\bnode=(\d+)", line[2])
        blocks[index] = whole(node[1], where) if node else None
    ordered = sorted(blocks)
    return MemoryBlocks(block_bytes, tuple(ordered), tuple(blocks[i] for i in ordered))


@dataclass(frozen=True)
class Zone:
    """One zone of /proc/zoneinfo, in pages."""

    node: int
    name: str
    start_pfn: int
    spanned: int
    present: int
    managed: int


def parse_zoneinfo(text: str, where: str = "zoneinfo") -> list[Zone]:
    """The zones that span anything; a zone without a start_pfn (an empty one) is left out."""
    zones = []
    for part in re.split(r"^(?=Node +\d+, zone)", text, flags=re.M):
        head = re.match(r"Node +(\d+), zone +(\S+)", part)
        found = {
            key: re.search(rf"^[ \t]+{key}:?[ \t]+(\d+)[ \t\r]*$", part, re.M)
            for key in ("start_pfn", "spanned", "present", "managed")
        }
        start, spanned = found["start_pfn"], found["spanned"]
        if head and start and spanned and whole(spanned[1], where):
            values = {key: whole(m[1], where) if m else 0 for key, m in found.items()}
            zones.append(
                Zone(
                    whole(head[1], where),
                    head[2],
                    values["start_pfn"],
                    values["spanned"],
                    values["present"],
                    values["managed"],
                )
            )
    return zones


def parse_counters(text: str, where: str = "counters") -> dict[str, int]:
    """``name value`` or ``name: value kB`` lines (vmstat, meminfo); kB values stay in kB.

    Examples
    --------
    >>> parse_counters("nr_memmap_pages 2\\nMemTotal:  1024 kB")
    {'nr_memmap_pages': 2, 'MemTotal': 1024}
    """
    found: dict[str, int] = {}
    for m in re.finditer(r"^(\w[\w()]*):?\s+(\d+)(?: kB)?\s*$", text, re.M):
        value = whole(m[2], where)
        if found.setdefault(m[1], value) != value:
            raise InputError(f"{m[1]} is there twice, as {found[m[1]]} and as {value}", file=where)
    return found


@dataclass(frozen=True)
class HugePool:
    """One hugetlb page size and how many pages of it exist."""

    size_bytes: int
    nr: int


def parse_hugepages(text: str, where: str = "hugepages") -> list[HugePool]:
    """``hugepages-2048kB nr=64 free=64`` lines; sizes without a count are left out."""
    return [
        HugePool(whole(m[1], where) << 10, whole(m[2], where))
        for m in re.finditer(r"^hugepages-(\d+)kB\b.*?\bnr=(\d+)", text, re.M)
    ]


def parse_freed_vmemmap(dmesg: str, where: str = "dmesg") -> dict[int, int]:
    """``HugeTLB: 28 KiB vmemmap can be freed for a 2.00 MiB page`` -> {page size: freed bytes}.

    Examples
    --------
    >>> parse_freed_vmemmap("HugeTLB: 28 KiB vmemmap can be freed for a 2.00 MiB page")
    {2097152: 28672}
    """
    unit = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    pattern = r"HugeTLB: (\d+) KiB vmemmap can be freed for a (\d{1,6}(?:\.\d+)?) (KiB|MiB|GiB) page"
    found = re.finditer(pattern, dmesg)
    return {round(float(m[2]) * unit[m[3]]): whole(m[1], where) << 10 for m in found}


def parse_page_ext(dmesg: str, where: str = "dmesg") -> int:
    """Bytes of page_ext tables that a kernel log reports (mm/page_ext.c page_ext_init(), v6.12), or 0."""
    found = re.search(r"allocated (\d+) bytes of page_ext", dmesg)
    return whole(found[1], where) if found else 0


@dataclass(frozen=True)
class Namespace:
    """A persistent-memory namespace; ``memmap`` is 'ram', 'pmem' or None where its mode has none."""

    name: str
    mode: str
    memmap: str | None
    size: int | None
    resource: int | None


def parse_namespaces(text: str, where: str = "nd-pfn") -> list[Namespace]:
    """``namespace0.0 mode=fsdax memmap=ram align=2097152 size=... resource=0x...`` lines."""
    found = []
    for line in text.splitlines():
        if not line.startswith("namespace"):
            continue
        name, _, rest = line.partition(" ")
        field = dict(word.split("=", 1) for word in rest.split() if "=" in word)
        mode = field.get("mode", "raw")
        mapped = mode in ("fsdax", "devdax", "memory", "dax")
        size, resource = (_number(field.get(key), where) for key in ("size", "resource"))
        found.append(Namespace(name, mode, field.get("memmap", "ram") if mapped else None, size, resource))
    return found


def _number(text: str | None, where: str) -> int | None:
    return whole(text, where, 0) if text and re.fullmatch(r"0x[0-9a-fA-F]+|[1-9]\d*|0", text) else None
