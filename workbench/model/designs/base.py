"""What every design says of itself: its structs, its tag, the steps of each path, its bytes, its limits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.kernel.slab import slab_bytes
from workbench.model.memory import memmap
from workbench.model.memory.machine import Machine
from workbench.model.memory.pagemix import PageMix
from workbench.model.memory.pfns import PfnSet, most
from workbench.model.memory.population import Population
from workbench.model.pfnmaps import MapCounts, PfnMap


@dataclass(frozen=True)
class Step:
    """One step of a path. ``kind``: load, branch, arith, atomic, alloc or walk (a pfn map's lookup)."""

    kind: str
    what: str
    nr_loads: int = 0  # serial memory reads in this step
    line: str = ""  # which cache line it touches, in words; "" for registers


@dataclass(frozen=True)
class Path:
    """The steps that one call takes. ``op``: page_to_pfn, pfn_to_page, pin or unpin."""

    op: str
    case: str  # "static" or "dynamic", or what else tells the cases apart
    steps: tuple[Step, ...]

    @property
    def dependent_loads(self) -> int:
        """Serial memory reads before the result is known; page-table walks excluded."""
        return sum(step.nr_loads for step in self.steps)

    @property
    def is_slow(self) -> bool:
        """It meets a dynamic descriptor, walks a pfn map, or allocates."""
        return self.case != "static" or any(step.kind in ("walk", "alloc") for step in self.steps)


@dataclass(frozen=True)
class Footprint:
    """Bytes of a design on a machine, as named integer parts; arrays of int64 of a setting with arrays."""

    parts: Mapping[str, Any]
    exact: bool = True  # False where a part is an expectation over random placement, or a bound
    notes: tuple[Any, ...] = ()
    elsewhere: Mapping[str, Any] = field(
        default_factory=dict
    )  # bytes that are not RAM, by name; not in the total

    @property
    def total_bytes(self) -> Any:
        """The sum of the parts."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class Setting:
    """What a footprint is taken of: a machine, what is pinned in it, and the pfn map to use.

    Many at a time (``scenario.batch``): the numbers of pages and bytes are arrays of int64, either all 0 or
    none. A footprint that only adds, multiplies and divides them needs no second formula; one that asks
    ``if`` of them fails there, and its scenarios are evaluated one by one.
    """

    machine: Machine
    population: Population
    pfn_map: PfnMap
    describe_device: bool = False  # pmem and device memory need descriptors too
    proxy_bytes: Any = 64  # assumed; designs/proxy_bit.py says why
    mix: str | PageMix = ""  # page mix: a capture, an assumed one, or "" for the machine's own
    folio_desc_bytes: Any = 80  # designs/memdesc.py

    @property
    def kernel(self) -> KernelConfig:
        """The machine's kernel."""
        return self.machine.kernel


class Design(ABC):
    """A way to describe pages. One file in this folder is one design."""

    name: ClassVar[str]  # as on the command line
    title: ClassVar[str]  # as in figures
    summary: ClassVar[str]  # one sentence
    tag: ClassVar[str]  # which bit tells a dynamic descriptor from a static one
    source: ClassVar[str]  # where it is from
    order: ClassVar[int] = 100  # where it stands in tables
    variants: ClassVar[Mapping[str, str]] = {}  # name -> what is different
    uses_pfn_map: ClassVar[bool] = False
    uses_page_mix: ClassVar[bool] = False  # its bytes follow what is in memory, not what is pinned

    def __init__(self, variant: str = ""):
        if variant and variant not in self.variants:
            raise InputError(
                f"design {self.name!r} has no variant {variant!r}; it has "
                f"{', '.join(self.variants) or 'none'}"
            )
        self.variant = variant

    @property
    def full_name(self) -> str:
        """The name with its variant: ``dynamic_page:range``."""
        return f"{self.name}:{self.variant}" if self.variant else self.name

    def structs(self, kernel: KernelConfig) -> dict[str, str]:
        """C text of the structs that it adds, by name, for ``kernel/structs`` to lay out."""
        return {}

    def descriptor_bytes(self, kernel: KernelConfig, proxy_bytes: int) -> int:
        """sizeof the object that a pinned folio gets, a proxy being ``proxy_bytes``; 0 where it gets none."""
        return 0

    def map_lookups(self, pins: int, met: int, unpins: int) -> int:
        """Walks of the pfn map that so many pins and unpins take; ``met`` pins find a descriptor there.

        gup hands out the descriptor, and an unpin gets it back: neither page_to_pfn() nor an unpin walks.
        """
        return 0

    @abstractmethod
    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        """The steps of page_to_pfn and pfn_to_page in each case; ``map_loads`` is a hit in the pfn map."""

    @abstractmethod
    def footprint(self, setting: Setting) -> Footprint:
        """Its bytes, all parts named."""

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        """Hard limits and what breaks, by short name."""
        return {}


# -- parts that several designs share ---------------------------------------------------------------------


def static_parts(setting: Setting, *, hvo: bool = False) -> tuple[dict[str, Any], list[Any]]:
    """The memmap of all RAM and what lies beside it; with ``hvo`` less what HVO frees.

    Bytes are what really backs the memmap; where a capture does not tell, what the kernel counts.
    """
    machine, notes = setting.machine, []
    kernel, page = machine.kernel, machine.kernel.page_size
    terms = machine.memmap_terms
    per_section = kernel.memmap_pages_per_section * page
    counted = machine.nr_sections * per_section
    backed, rule = memmap.backed_bytes(machine)
    if backed is None:
        notes.append(f"memmap as the kernel counts it: {rule}")
    freed = page * sum(pool.nr * pool.freed_pages for pool in machine.hugetlb)
    parts = {"memmap": (counted if backed is None else backed) - (freed if hvo else 0)}
    if terms["ZONE_DEVICE"]:
        in_ram = sum(
            memmap.zone_device_pages(machine, r.first_pfn, r.end_pfn)
            for r in machine.regions
            if r.memmap == "ram"
        )
        parts["pmem memmap"] = in_ram * page
        if in_ram != terms["ZONE_DEVICE"]:
            notes.append(f"{(terms['ZONE_DEVICE'] - in_ram) * page} bytes of memmap lie on the device itself")
    if setting.describe_device:
        parts["device memmap"] = page * sum(
            memmap.zone_device_pages(machine, r.first_pfn, r.end_pfn)
            for r in machine.regions
            if r.kind in ("pmem", "device") and r.memmap is None
        )
    if terms["page_ext"]:
        parts["page_ext"] = terms["page_ext"] * page
    parts.update(memmap.beside_parts(machine))
    return parts, notes


def descriptor_parts(label: str, sizeof: Any, nr: Any, kernel: KernelConfig) -> dict[str, Any]:
    """``nr`` slab objects of ``sizeof`` bytes: the objects, and what their slabs waste."""
    used = nr * sizeof
    return {f"{label} objects": used, f"{label} slab waste": slab_bytes(sizeof, nr, kernel) - used}


def nr_entries(setting: Setting) -> Any:
    """Pinned folios: what a pfn map over them would hold."""
    population = setting.population
    if population.pinned is not None:
        return population.pinned.nr_entries
    return population.scatter(setting.machine).nr_entries if most(population.nr_pinned) else 0


def map_counts(setting: Setting, kind: str = "ram") -> MapCounts:
    """The pfn map over what is pinned (``kind`` "ram") or over device memory in use ("device")."""
    population, machine = setting.population, setting.machine
    span = machine.max_pfn if kind == "ram" else machine.span
    if kind == "ram" and population.pinned is not None:
        return setting.pfn_map.counts(population.pinned, machine.kernel, span=span)
    if not most(population.nr_pinned if kind == "ram" else population.nr_device_used):
        return setting.pfn_map.counts(PfnSet.empty(), machine.kernel, span=span)
    return setting.pfn_map.expected(population.scatter(machine, kind), machine.kernel, span=span)


def map_parts(counts: MapCounts) -> dict[str, Any]:
    """A pfn map's bytes as parts of a footprint."""
    named = counts.parts or {"bytes": counts.bytes}
    return {f"pfn map {name}": value for name, value in named.items()}


VMEMMAP_PATHS = (
    Path("page_to_pfn", "static", (Step("arith", "page - vmemmap, in registers"),)),
    Path("pfn_to_page", "static", (Step("arith", "vmemmap + pfn, in registers"),)),
)
