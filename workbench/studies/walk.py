"""What one pfn's conversion touches: where the pfn lies, each step of ``page_to_pfn``, each cache line.

A design says its steps (``Design.paths``); here each of them gets this pfn's numbers: addresses, offsets of
members, and for a walk of the pfn map every load of it (``PfnMap.walk``). The dependent loads stay those of
the design. The case is "dynamic" where the pfn is a pinned page and the design treats those apart.

Left out: page-table walks and the TLB; the pfn map's lock and RCU; the pointer ``mem_section`` or
``vmemmap_base`` being anywhere but in L1. A struct page's cache line is exact; another object's depends on
where the allocator puts it, so that lines come as the fewest and the most.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.model import designs, pfnmaps
from workbench.model.designs import Design, Path, Step
from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.kernel.slab import SlabCache
from workbench.model.kernel.structs import Struct
from workbench.model.memory._spec import parse_size
from workbench.model.memory.machine import Machine
from workbench.model.memory.pfns import PfnSet
from workbench.model.memory.population import Population
from workbench.model.memory.regions import Region, merge_ranges
from workbench.model.pfnmaps.walks import MapWalk, Touch, member_offset, nr_lines
from workbench.model.scenario.footprints import nr_pages_of

if TYPE_CHECKING:
    import pandas as pd

#: A memory model beside the designs: sparsemem without vmemmap, as x86-64 could be built through v6.12.
CLASSIC = "classic sparsemem"
OPS = ("page_to_pfn", "pfn_to_page")
MAX_RUNS = 1 << 22  # assumed: placing so many takes about a second
_LAYOUTS = "amd64_6.12.117-1"  # for kernels without layouts: struct page is the same there
_TAGS = {"page": "page", "proxy": "page_proxy"}  # what a design's steps call a struct -> its tag


# -- where a pfn lies ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A pfn on a machine: its region and section, and whether it has a struct page."""

    pfn: int
    machine: Machine = field(repr=False)
    region: Region | None  # None: a hole
    vmemmap: int | None  # address of the struct page that pfn 0 would have; None where it is not known
    is_early: bool  # its section is from boot
    is_present: bool  # its section has a memmap of RAM
    has_device_memmap: bool  # its subsection belongs to a pmem or device range with a memmap

    @property
    def kernel(self) -> KernelConfig:
        """The machine's kernel."""
        return self.machine.kernel

    @property
    def kind(self) -> str:
        """ram, nomap, pmem, device or hole."""
        return self.region.kind if self.region else "hole"

    @property
    def section(self) -> int:
        """pfn_to_section_nr(), include/linux/mmzone.h, v6.12."""
        return self.pfn >> self.kernel.pfn_section_shift

    @property
    def root(self) -> int:
        """SECTION_NR_TO_ROOT(), the same."""
        return self.section // self.kernel.sections_per_root

    @property
    def in_root(self) -> int:
        """Section number & SECTION_ROOT_MASK, the same."""
        return self.section % self.kernel.sections_per_root

    @property
    def in_section(self) -> int:
        """Page of the section."""
        return self.pfn & (self.kernel.pages_per_section - 1)

    @property
    def subsection(self) -> int:
        """subsection_map_index(), the same."""
        return self.in_section >> max(0, self.kernel.subsection_shift - self.kernel.page_shift)

    @property
    def is_valid(self) -> bool:
        """pfn_valid(), include/linux/mmzone.h, v6.12: a hole in a present section has a struct page too."""
        return self.is_present or self.has_device_memmap

    @property
    def why_valid(self) -> str:
        """What decides pfn_valid()."""
        if self.is_present:
            since = "present since boot" if self.is_early else "hot-added"
            return f"section {self.section:,} is {since}; all its pages have a struct page"
        if self.has_device_memmap:
            return f"subsection {self.subsection} of section {self.section:,} is mapped as ZONE_DEVICE"
        return f"section {self.section:,} is not present"

    def page_address(self, sizeof_page: int | None = None) -> int | None:
        """Address of its struct page in vmemmap."""
        size = self.kernel.sizeof_page if sizeof_page is None else sizeof_page
        return None if self.vmemmap is None else self.vmemmap + self.pfn * size

    def facts(self) -> dict[str, str]:
        """All of it in words, for a table."""
        kernel, region = self.kernel, self.region
        node = "" if region is None or region.node is None else f", node {region.node}"
        address, size = self.page_address(), kernel.sizeof_page
        where = "not known: give the address of vmemmap" if address is None else f"{address:#x}"
        lines = sorted({self.pfn * size // 64, (self.pfn * size + size - 1) // 64})
        return {
            "pfn": f"{self.pfn:#x} = {self.pfn:,}",
            "physical address": f"{self.pfn << kernel.page_shift:#x}",
            "memory": f"{self.kind}{node}" + (f": {region.name}" if region else ""),
            "section": f"{self.section:,}: root {self.root:,}, section {self.in_root} of "
                       f"{kernel.sections_per_root} in it; page {self.in_section:,} of "
                       f"{kernel.pages_per_section:,}, subsection {self.subsection}",
            "pfn_valid()": f"{'true' if self.is_valid else 'false'}: {self.why_valid}",
            "struct page": f"{where}, {size} bytes, cache line {' and '.join(f'{n:,}' for n in lines)} of "
                           "vmemmap" + ("" if self.is_valid else "; nothing is mapped there"),
        }  # fmt: skip


def parse_pfn(text: str, kernel: KernelConfig) -> int:
    """A pfn from text: a plain number, decimal or 0x, is a pfn; a size or ``@ADDRESS`` is a physical address.

    Examples
    --------
    >>> x86 = KernelConfig()
    >>> [parse_pfn(text, x86) for text in ("4096", "0x1_000", "1GiB", "@0x40000fff")]
    [4096, 4096, 262144, 262144]
    """
    given = text.strip().replace("_", "").replace(",", "")
    limit = 1 << kernel.max_physmem_bits - kernel.page_shift
    if re.fullmatch(r"0[xX][0-9a-fA-F]+|\d+", given):
        pfn = int(given, 16) if given[:2] in ("0x", "0X") else int(given)
    elif given.startswith("@") or re.fullmatch(r"\d+(\.\d+)?\s*[A-Za-z]+", given):
        pfn = parse_size(given.removeprefix("@"), "pfn") >> kernel.page_shift
    else:
        raise InputError(f"pfn {text.strip()!r} is neither a number (4096, 0x1000) nor a physical address "
                         "(64GiB, @0x100000000)")
    if pfn >= limit:
        raise InputError(f"pfn {pfn:#x} is not below {limit:#x}: {kernel.name} has MAX_PHYSMEM_BITS "
                         f"{kernel.max_physmem_bits}")
    return pfn


def parse_pfns(text: str, kernel: KernelConfig) -> PfnSet:
    """Pfns and ranges, ``7, 0x1000-0x1fff, 1GiB-2GiB``: a range of numbers ends at its last pfn, one of
    addresses before its end, as in /proc/iomem and in a machine's spec.

    Examples
    --------
    >>> list(parse_pfns("7, 0x1000-0x1fff, 1GiB-1025MiB", KernelConfig()))
    [(7, 7, 0), (4096, 8191, 0), (262144, 262399, 0)]
    """
    found = []
    for part in re.findall(r"[^,;\s]+", re.sub(r"\s*-\s*", "-", text)):
        low, dash, high = part.partition("-")
        first = parse_pfn(low, kernel)
        end = parse_pfn(high, kernel) if dash else first
        if dash and not re.fullmatch(r"0[xX][0-9a-fA-F]+|\d+", high.strip()):
            end -= 1
        if end < first:
            raise InputError(f"range {part!r} ends before it starts")
        found.append((first, end + 1))
    firsts, ends = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return PfnSet.from_ranges(zip(*(part.tolist() for part in merge_ranges(firsts, ends)), strict=True))


def vmemmap_of(machine: Machine) -> int | None:
    """The kernel's ``vmemmap``: the address that pfn 0's struct page has, without KASLR; None if not known.

    On arm64 VMEMMAP_START is the page of the start of RAM, rounded down: arch/arm64/include/asm/pgtable.h,
    and ARM64_MEMSTART_ALIGN in arch/arm64/mm/init.c, v6.12.
    """
    kernel = machine.kernel
    if kernel.vmemmap_start is None or kernel.arch != "aarch64":
        return kernel.vmemmap_start
    align = max({12: kernel.pud_shift, 14: kernel.pmd_shift + 5}.get(kernel.page_shift, kernel.pmd_shift),
                kernel.section_size_bits)
    first = min((r.first_pfn for r in machine.regions if r.kind in ("ram", "nomap")), default=0)
    memstart = first << kernel.page_shift >> align << align
    return kernel.vmemmap_start - (memstart >> kernel.page_shift) * kernel.sizeof_page


def place_of(pfn: int, machine: Machine, vmemmap: int | None = None) -> Place:
    """Where a pfn lies; ``vmemmap`` replaces the kernel's constant, as KASLR does.

    Examples
    --------
    >>> place = place_of(0x8012, Machine.load("ram=1GiB"))
    >>> place.section, place.in_section, place.is_valid, hex(place.page_address())
    (1, 18, True, '0xffffea0000200480')
    """
    kernel = machine.kernel
    if not 0 <= pfn < 1 << kernel.max_physmem_bits - kernel.page_shift:
        raise InputError(f"pfn {pfn:#x} is beyond the MAX_PHYSMEM_BITS {kernel.max_physmem_bits} of "
                         f"{kernel.name}")
    section, start_end = pfn >> kernel.pfn_section_shift, machine.section_ranges
    at = int(np.searchsorted(start_end[0], section, side="right")) - 1
    per = 1 << max(0, kernel.subsection_shift - kernel.page_shift)
    block = range(pfn // per * per, pfn // per * per + per)
    return Place(
        pfn=pfn, machine=machine, vmemmap=vmemmap_of(machine) if vmemmap is None else vmemmap,
        region=next((r for r in machine.regions if r.first_pfn <= pfn < r.end_pfn), None),
        is_early=machine.is_early_section(section),
        is_present=at >= 0 and section < int(start_end[1][at]),
        has_device_memmap=any(r.memmap is not None and r.first_pfn < block.stop and block.start < r.end_pfn
                              for r in machine.regions if r.kind in ("pmem", "device")),
    )  # fmt: skip


def pinned_set(machine: Machine, *, nr_pinned: int | str = 0, run_pages: int = 1, folio_order: int = 0,
               seed: int = 1) -> PfnSet:
    """The pinned pages that scenario fields describe: one exact placement, the same for the same seed."""
    nr = nr_pages_of(nr_pinned, machine.nr_pages_ram)
    scatter = Population(nr_pinned=nr, run_pages=run_pages, folio_order=folio_order).scatter(machine)
    if scatter.nr_runs > MAX_RUNS:
        raise InputError(f"{nr} pages in runs of {scatter.run_pages} are {scatter.nr_runs} runs to place; "
                         f"the limit is {MAX_RUNS}")
    return scatter.draw(seed)


# -- a conversion, step by step -----------------------------------------------------------------------------


@dataclass(frozen=True)
class WalkStep:
    """One step: ``what`` it does and gives; ``touch`` where it reads memory that can be placed."""

    kind: str  # load, branch, arith or walk, as a design's steps
    what: str
    nr_loads: int = 0
    touch: Touch | None = None
    gives: str = ""
    in_map: bool = False  # it belongs to the pfn map's walk


@dataclass(frozen=True)
class Conversion:
    """One design's conversion of one pfn."""

    design: str
    op: str
    case: str
    place: Place = field(repr=False)
    steps: tuple[WalkStep, ...]
    notes: tuple[str, ...] = ()
    exact: bool = True

    @property
    def dependent_loads(self) -> int:
        """Serial memory reads before the result is known."""
        return sum(step.nr_loads for step in self.steps)

    @property
    def lines(self) -> tuple[int, int] | None:
        """The fewest and the most distinct cache lines; None where a step's lines are not known."""
        touches = [step.touch for step in self.steps if step.touch]
        return nr_lines(touches) if len(touches) == self.dependent_loads else None


def convert(design: str, op: str, place: Place, pinned: PfnSet, pfn_map: str = "xarray", *,
            proxy_bytes: int = 64, walk: MapWalk | None = None) -> Conversion:
    """What a design's conversion of one pfn reads, step by step.

    Parameters
    ----------
    design : str
        A name of ``designs.registry()``, or :data:`CLASSIC`.
    op : str
        ``"page_to_pfn"`` or ``"pfn_to_page"``.
    place : Place
        The pfn, as :func:`place_of` gives it.
    pinned : PfnSet
        The pages that have a dynamic descriptor, in the designs that have such.
    pfn_map : str
        A name of ``pfnmaps.registry()``.
    proxy_bytes : int
        sizeof(struct page_proxy), assumed.
    walk : MapWalk, optional
        What :func:`map_walk` gave for this pfn, where it is at hand.

    Examples
    --------
    >>> machine = Machine.load("ram=1TiB")
    >>> pinned = PfnSet.from_pfns([5, 1 << 27])
    >>> found = convert("dynamic_page:range", "pfn_to_page", place_of(5, machine), pinned)
    >>> found.case, found.dependent_loads, found.lines    # slot 0 of four nodes may share the header's line
    ('dynamic', 11, (7, 11))
    """
    if op not in OPS:
        raise InputError(f"op {op!r} is none of {', '.join(OPS)}")
    if design == CLASSIC:
        return _classic(op, place)
    one = designs.get(design)
    is_dynamic = bool(pinned.contains([place.pfn])[0])
    walk = (walk or map_walk(place, pinned, pfn_map)) if one.uses_pfn_map else None
    loads = walk.nr_loads if walk else 0
    if one.uses_pfn_map and walk is None:
        loads = _modelled_loads(pinned, pfn_map, place.machine)
    path = _path(one.paths(place.kernel, loads), op, place, is_dynamic)
    steps = tuple(_Steps(one, path, place, walk, proxy_bytes).all())
    notes, exact = [], True
    if any(step.kind == "walk" for step in path.steps):
        exact = walk is not None and walk.exact
        if walk is None:
            notes.append(f"{pfn_map}: the steps depend on how the tree grew; {loads} loads are the model's")
        elif walk.note:
            notes.append(walk.note)
    if any(step.touch and step.touch.object == "page_proxy" for step in steps):
        notes.append("struct page_proxy is assumed: its size and members were never stated")
    if is_dynamic and path.case == "static":
        notes.append("the same for a pinned page")
    if op == "pfn_to_page" and path.case == "static" and one.map_lookups(1, 0, 0) and walk:
        notes.append(f"who must know that the page is static walks the pfn map first: {walk.nr_loads} loads, "
                     "a miss")
    if not place.is_valid and path.case == "static":
        notes.append("pfn_valid() is false: there is no struct page, and no caller may come here")
    return Conversion(one.full_name, op, path.case, place, steps, tuple(notes), exact)


def map_walk(place: Place, pinned: PfnSet, pfn_map: str) -> MapWalk | None:
    """The pfn map's own lookup of this pfn; None where no rule decides it."""
    span = max(place.machine.span, (pinned.max_pfn or 0) + 1)
    return pfnmaps.get(pfn_map).walk(pinned, place.pfn, place.kernel, span=span)


def _modelled_loads(pinned: PfnSet, pfn_map: str, machine: Machine) -> int:
    span = max(machine.span, (pinned.max_pfn or 0) + 1)
    return pfnmaps.get(pfn_map).counts(pinned, machine.kernel, span=span).dependent_loads


def _path(paths: Sequence[Path], op: str, place: Place, is_dynamic: bool) -> Path:
    """The path that this pfn takes: "dynamic" when pinned; a case of device memory only there."""
    device = place.kind in ("pmem", "device")
    wanted = [path for path in paths if path.op == op and path.case != "static"
              and (path.case == "dynamic" or device)]
    static = [path for path in paths if path.op == op and path.case == "static"]
    return wanted[0] if is_dynamic and wanted else static[0]


@dataclass
class _Steps:
    """A design's steps with a pfn's numbers put in."""

    design: Design
    path: Path
    place: Place
    walk: MapWalk | None
    proxy_bytes: int

    def all(self) -> list[WalkStep]:
        return [one for step in self.path.steps for one in self.of(step)]

    def of(self, step: Step) -> list[WalkStep]:
        if step.kind == "walk" and self.walk:
            return [WalkStep("load", _short(touch), 1, touch, touch.found, in_map=True)
                    for touch in self.walk.touches]
        if step.kind == "walk":
            return [WalkStep("walk", step.what, step.nr_loads, in_map=True)]
        if step.kind == "load":
            touch = self.touch(step)
            return [WalkStep("load", step.what, step.nr_loads, touch, touch.found if touch else step.line)]
        if step.kind == "arith" and "vmemmap" in step.what:
            return [WalkStep("arith", step.what.partition(",")[0], 0, gives=self.arithmetic())]
        return [WalkStep(step.kind, step.what.partition(", in")[0], step.nr_loads, gives=f"{self.path.case}"
                         if step.kind == "branch" else "")]

    def arithmetic(self) -> str:
        size = getattr(self.design, "page_bytes", self.place.kernel.sizeof_page)
        address, base = self.place.page_address(size), self.place.vmemmap
        if address is None:
            return f"{self.place.pfn * size:#x} bytes from vmemmap, which is not known"
        if self.path.op == "pfn_to_page":
            return f"{base:#x} + {self.place.pfn:#x} * {size} = {address:#x}"
        return f"({address:#x} - {base:#x}) / {size} = pfn {self.place.pfn:#x}"

    def touch(self, step: Step) -> Touch | None:
        """Where a step such as ``page->flags`` reads."""
        named = re.match(r"(\w+)->(\w+)", step.what)
        if not named or step.nr_loads != 1:
            return None
        tag, member = _TAGS.get(named[1], named[1]), named[2]
        texts, kernel = self.design.structs(self.place.kernel), self.place.kernel
        if self.path.case != "static" and tag == "page":  # it points to a descriptor that begins as a page
            tag = next((name for name, text in texts.items() if "struct page;" in text), tag)
        byte = _offset(texts.get(tag, ""), tag, member, kernel)
        if tag == "page":
            size = getattr(self.design, "page_bytes", kernel.sizeof_page)
            return Touch("vmemmap", step.what, self.place.pfn * size + byte, member)
        size = self.design.descriptor_bytes(kernel, self.proxy_bytes)
        stride = SlabCache.of(size, kernel).object_bytes if size else 0
        gives = f"pfn {self.place.pfn:#x}" if member == "pfn" else member
        return Touch(tag, step.what, byte, gives, stride)


def _short(touch: Touch) -> str:
    node = f"shift {touch.shift}: " if touch.shift is not None else ""
    return f"{node}node->shift" if touch.what == "shift" else f"{node}{touch.what}"


@functools.lru_cache(maxsize=64)
def _offset(text: str, tag: str, member: str, kernel: KernelConfig) -> int:
    """offsetof(struct tag, member): of the design's C text, or of the kernel's own struct."""
    build = kernel if kernel.layouts else replace(kernel, layouts=_LAYOUTS)
    if not text:
        return Struct.from_kernel(tag, build).member(member).offset
    return Struct.from_c(text, tag, build, ms_extensions=True).member(member).offset


def _classic(op: str, place: Place) -> Conversion:
    """SPARSEMEM_EXTREME without vmemmap: include/asm-generic/memory_model.h, v6.12."""
    kernel, size = place.kernel, place.kernel.sizeof_page
    map_at = member_offset(kernel, "mem_section", "section_mem_map", 0)
    stride = kernel.sizeof_mem_section
    reads = [
        Touch("mem_section, the pointer", "mem_section", 0, "the root array; a global that stays in L1"),
        Touch("root array", f"mem_section[{place.root:,}]", 8 * place.root, "sections",
              slot=place.root, nr_slots=kernel.nr_section_roots),
        Touch(f"sections of root {place.root:,}", f"[{place.in_root}].section_mem_map",
              stride * place.in_root + map_at, "the memmap less the section's first pfn, and flags",
              slot=place.in_root, nr_slots=kernel.sections_per_root),
    ]
    steps = [WalkStep("load", touch.what, 1, touch, touch.found) for touch in reads]
    at = f"byte {size * place.in_section:,} of the section's memmap"
    if op == "page_to_pfn":
        flags = Touch(f"memmap of section {place.section:,}", "page->flags", size * place.in_section,
                      f"section {place.section:,}, from its top bits")
        steps.insert(0, WalkStep("load", flags.what, 1, flags, flags.found))
        steps.append(WalkStep("arith", "page - memmap", gives=f"pfn {place.pfn:#x}"))
    else:
        steps.insert(0, WalkStep("arith", "pfn_to_section_nr(pfn)", gives=f"section {place.section:,}"))
        steps.append(WalkStep("arith", "memmap + pfn", gives=at))
    notes = [f"{size} bytes a page; on x86-64 80 with NUMA_BALANCING: section bits push last_cpupid out"]
    if not place.is_valid:
        notes.append("pfn_valid() is false: the section is empty, and a conversion gives nonsense")
    return Conversion(CLASSIC, op, "static", place, tuple(steps), tuple(notes))


def steps_table(conversions: Sequence[Conversion]) -> pd.DataFrame:
    """Rows of design, op, case, step, kind, what, loads_before, nr_loads, object, byte, line, gives, in_map.

    ``line`` is the cache line inside the object if that starts on one; vmemmap does.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for one in conversions:
        before = 0
        for nth, step in enumerate(one.steps):
            touch = step.touch
            rows.append({
                "design": one.design, "op": one.op, "case": one.case, "step": nth + 1, "kind": step.kind,
                "what": step.what, "loads_before": before, "nr_loads": step.nr_loads,
                "object": touch.object if touch else "", "byte": touch.byte if touch else None,
                "line": touch.line if touch else None, "gives": step.gives, "in_map": step.in_map,
            })  # fmt: skip
            before += step.nr_loads
    table = pd.DataFrame(rows)
    return table.astype({"byte": "Int64", "line": "Int64"}) if rows else table


def landmarks(machine: Machine, pinned: PfnSet, most: int = 24) -> dict[str, int]:
    """Pfns worth a look, by name: the ends of regions, the first page of each hole, some pinned pages."""
    found: dict[str, int] = {}
    regions = sorted(machine.regions, key=lambda r: r.first_pfn)
    if pinned:
        ends = pinned.nr_extents
        found |= {"first pinned": int(pinned.first[0]), "a pinned one": int(pinned.first[ends // 2]),
                  "behind it": int(pinned.last[ends // 2]) + 1, "last pinned": int(pinned.last[-1])}
    for at, region in enumerate(regions):
        node = "" if region.node is None else f", node {region.node}"
        found[f"first of {region.kind} {at}{node}"] = region.first_pfn
        found[f"last of {region.kind} {at}{node}"] = region.end_pfn - 1
        if at + 1 < len(regions) and region.end_pfn < regions[at + 1].first_pfn:
            found[f"hole behind {region.kind} {at}"] = region.end_pfn
        if len(found) >= most:
            break
    limit = 1 << machine.kernel.max_physmem_bits - machine.kernel.page_shift
    return {name: pfn for name, pfn in found.items() if pfn < limit}
