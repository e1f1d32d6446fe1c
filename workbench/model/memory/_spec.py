"""Made-up machines from one line of text: ``ram=1TiB,nodes=2,hole=3GiB-4GiB,pmem=6TiB@2TiB``."""

from __future__ import annotations

import itertools
import re

from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.regions import NO_RANGES, Memory, Region, section_ranges

_UNITS = {
    "": 1,
    "b": 1,
    "k": 10,
    "kib": 10,
    "m": 20,
    "mib": 20,
    "g": 30,
    "gib": 30,
    "t": 40,
    "tib": 40,
    "p": 50,
    "pib": 50,
}
_SPEC_KEYS = ("ram", "base", "nodes", "hole", "pmem", "device", "kernel")


def parse_size(text: str, what: str = "size") -> int:
    """Bytes of ``"3GiB"``, ``"512M"``, ``"0x1000"`` or ``"4096"``; binary units only.

    Examples
    --------
    >>> parse_size("1.5GiB") == 3 << 29
    True
    """
    number = r"0[xX][0-9a-fA-F]{1,40}|[0-9]{1,40}(?:\.[0-9]{1,40})?"
    match = re.fullmatch(rf"({number})\s*([A-Za-z]*)", text.strip())
    if not match or match[2].lower() not in _UNITS:
        raise InputError(f"{what} {text!r} is not a number with one of KiB, MiB, GiB, TiB, PiB")
    shift = _UNITS[match[2].lower()]
    scale = 1 if shift == 1 else 1 << shift
    if match[1].lower().startswith("0x"):
        value = int(match[1], 16) * scale
    else:
        whole, _, part = match[1].partition(".")
        value, rest = divmod(int(whole + part) * scale, 10 ** len(part))
        if rest:
            raise InputError(f"{what} {text!r} is not a whole number of bytes")
    if value >= 1 << 63:
        raise InputError(f"{what} {text!r} is 2^63 bytes or more")
    return value


def memory_from_spec(spec: str, kernel: KernelConfig | None) -> Memory:
    """The machine that a spec string describes; ``Machine.from_spec`` says what it may hold."""
    given: dict[str, list[str]] = {}
    for item in spec.split(","):
        key, equals, value = (part.strip() for part in item.partition("="))
        if key not in _SPEC_KEYS or not equals:
            raise InputError(
                f"machine spec: {item.strip()!r} is not KEY=VALUE with a key of {', '.join(_SPEC_KEYS)}"
            )
        if key in given and key not in ("hole", "pmem", "device"):
            raise InputError(f"machine spec: {key!r} is given twice")
        given.setdefault(key, []).append(value)
    if "ram" not in given and not ("pmem" in given or "device" in given):
        raise InputError("machine spec: ram=SIZE is missing")
    if kernel is None:
        kernel = KernelConfig.preset(given.get("kernel", ["x86-64"])[0])
    ram = parse_size(given.get("ram", ["0"])[0], "machine spec: ram")
    base = parse_size(given.get("base", ["0"])[0], "machine spec: base")
    nodes = given.get("nodes", ["1"])[0]
    if not re.fullmatch(r"[0-9]{1,4}", nodes) or not 1 <= int(nodes) <= 1024:
        raise InputError(f"machine spec: nodes={nodes} is not a number from 1 to 1024")
    holes = sorted(_spec_range(text) for text in given.get("hole", []))
    for a, b in itertools.pairwise(holes):
        if b[0] < a[1]:
            raise InputError(f"machine spec: holes {a[0]:#x}-{a[1]:#x} and {b[0]:#x}-{b[1]:#x} overlap")
    page = kernel.page_size
    for what, size in (("ram", ram), ("base", base), *(("hole", edge) for hole in holes for edge in hole)):
        if size % page:
            raise InputError(f"machine spec: {what} {size:#x} is not a multiple of the page size {page}")
    regions = _lay_ram(base, ram, holes, int(nodes), kernel)
    for kind in ("pmem", "device"):
        for number, text in enumerate(given.get(kind, [])):
            size_text, at, where = text.partition("@")
            if not at:
                raise InputError(f"machine spec: {kind}={text!r} is not SIZE@ADDRESS")
            size = parse_size(size_text, f"machine spec: {kind}")
            start = parse_size(where, f"machine spec: {kind} address")
            if size % page or start % page or not size:
                raise InputError(f"machine spec: {kind}={text} is not a whole number of {page}-byte pages")
            regions.append(Region(start // page, (start + size) // page, kind, None, f"{kind}{number}"))
    regions.sort(key=lambda r: r.first_pfn)
    for left, right in itertools.pairwise(regions):
        if right.first_pfn < left.end_pfn:
            raise InputError(
                f"machine spec: {right.name} at pfn {right.first_pfn:#x} overlaps {left.name}, "
                f"which ends at {left.end_pfn:#x}"
            )
    top = max((r.end_pfn for r in regions), default=0) << kernel.page_shift
    if top > 1 << kernel.max_physmem_bits:
        raise InputError(
            f"machine spec: memory ends at {top:#x}, past the 2^{kernel.max_physmem_bits} bytes "
            f"of {kernel.name}; another kernel= allows more"
        )
    early = section_ranges([(r.first_pfn, r.end_pfn) for r in regions if r.kind == "ram"], kernel)
    return Memory(
        name=spec,
        kernel=kernel,
        regions=tuple(regions),
        early_sections=early,
        hot_sections=NO_RANGES,
        mmu="radix" if kernel.arch == "ppc64le" else "",
        source="spec",
        notes=("made up: no machine was captured",),
    )


def _spec_range(text: str) -> tuple[int, int]:
    start, dash, end = text.partition("-")
    if not dash:
        raise InputError(f"machine spec: hole={text!r} is not FROM-TO")
    first, last = (parse_size(part, "machine spec: hole") for part in (start, end))
    if last <= first:
        raise InputError(f"machine spec: hole={text} ends before it starts")
    return first, last


def _lay_ram(
    base: int, ram: int, holes: list[tuple[int, int]], nodes: int, kernel: KernelConfig
) -> list[Region]:
    """RAM around the holes, split evenly over the nodes, in whole pages."""
    pieces, at, left = [], base, ram
    for low, high in [*holes, (1 << 63, 1 << 63)]:
        if at < low and left:
            take = min(left, low - at)
            pieces.append((at, at + take))
            left -= take
        at = max(at, high)
    regions: list[Region] = []
    pages = ram >> kernel.page_shift
    bounds = [pages * n // nodes for n in range(1, nodes + 1)]
    done, node = 0, 0
    for low, high in pieces:
        first, end = low >> kernel.page_shift, high >> kernel.page_shift
        while first < end:
            take = min(end - first, bounds[node] - done)
            if take:
                regions.append(Region(first, first + take, "ram", node, "System RAM"))
            first, done = first + take, done + take
            if done == bounds[node] and node < nodes - 1:
                node += 1
    return regions
