"""One capture of a fleet: the machine's facts, and the bytes of each design on it.

A capture whose page flags are there is counted with its own page mix; without them the designs whose bytes
follow the page mix (memdescs) have no answer, and say so: no other machine's mix stands in. Whatever is wrong
with a capture becomes its reason; nothing is raised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workbench.model import designs, pfnmaps
from workbench.model.designs.base import Setting
from workbench.model.errors import InputError, printable
from workbench.model.memory.capture import Capture, load_capture
from workbench.model.memory.machine import Machine
from workbench.model.memory.pageflags import TYPES, PageFlags
from workbench.model.memory.pagemix import PageMix
from workbench.model.memory.population import Population
from workbench.model.scenario import nr_pages_of
from workbench.studies.fleet._captures import Found, local_file

NO_MIX = "no page flags in the capture, so that its page mix is not known"
#: Page types by what they are called in ``page_mix``: the group that most pages of RAM are in.
GROUPS = {
    "free": ("buddy", "offline"),
    "anon": ("anon",),
    "file": ("file", "shmem"),
    "hugetlb": ("hugetlb",),
    "kernel": ("slab", "pgtable", "memmap", "reserved", "zero", "mapped", "unknown/kernel"),
}
#: Ends of the size classes, in GiB.
SIZES = (4, 16, 64, 256, 1024)


@dataclass(frozen=True)
class Options:
    """What is asked of each capture.

    ``pinned`` is a number of pages or a share of RAM such as ``"0.1%"``, in naturally aligned runs of
    ``run_pages``; ``designs`` are names of the registry, where it is empty all of them without variants.
    """

    designs: Sequence[str] = ()
    pfn_map: str = "xarray"
    pinned: int | str = "0.1%"
    run_pages: int = 1

    def __post_init__(self) -> None:
        for name in self.designs:
            designs.get(name)
        pfnmaps.get(self.pfn_map)
        nr_pages_of(self.pinned, 1 << 20)
        Population(run_pages=self.run_pages)
        object.__setattr__(self, "designs", tuple(self.designs) or tuple(designs.names()))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; ``Options(**d)`` reads it back."""
        return {**asdict(self), "designs": list(self.designs)}


@dataclass(frozen=True)
class Seen:
    """What became of one capture: a reason, or facts and a list of answers."""

    capture: str
    reason: str = ""
    again: bool = False  # the reason may be gone next time: too slow, or its worker died
    static_bytes: int = 0  # what the design "static" takes on it
    facts: Mapping[str, Any] = field(default_factory=dict)
    answers: Sequence[Mapping[str, Any]] = ()


def look(found: Found, options: Options) -> Seen:
    """Evaluate one capture for every design; never raises for what a capture holds."""
    path = ""
    try:
        with local_file(found) as path:
            capture = load_capture(path)
            machine = Machine.from_capture(capture)
            mix, lack = page_mix(capture, machine)
            static = _answer(machine, mix, lack, "static", options)
            answers = [_answer(machine, mix, lack, name, options) for name in options.designs]
            return Seen(
                found.name,
                static_bytes=sum(static["parts"].values()),
                facts=facts_of(capture, machine, mix),
                answers=answers,
            )
    except InputError as error:
        why = str(error)
    except MemoryError:
        why = "needs more memory than a worker may have"
    except RecursionError:
        why = "nested too deeply"
    except OSError as error:
        why = f"cannot be read: {error.strerror or error}"
    except Exception as error:  # no capture may end the run of a million
        why = f"{type(error).__name__}: {error}"
    for name in (path, found.path):
        why = why.replace(printable(name), found.name) if name else why
    return Seen(found.name, printable(why.removeprefix(f"{found.name}: ")))


def page_mix(capture: Capture, machine: Machine) -> tuple[PageMix | None, str]:
    """The folios of the machine's own RAM; without page flags None, and why."""
    if not capture.npz_names:
        return None, NO_MIX
    flags = PageFlags.load(capture).within(machine.pfns("ram", "nomap"))
    return PageMix(machine.name, flags.folio_orders(), "its own page flags", True), ""


def facts_of(capture: Capture, machine: Machine, mix: PageMix | None) -> dict[str, Any]:
    """A capture's columns; COLUMNS in ``table`` says what each is."""
    manifest = capture.text("manifest.json") if "manifest.json" in capture else None
    kernel, counter = machine.kernel, sum(machine.counter) if machine.counter else None
    version = re.match(r"\d+\.\d+", capture.release or "")
    pages = {
        kind: sum(nr << order for order, nr in orders.items())
        for kind, orders in (mix.folios if mix else {}).items()
    }
    return {
        "generated": '"generated": true' in (manifest or ""),
        "release": capture.release,
        "arch": kernel.arch,
        "page_size": kernel.page_size,
        "kernel": f"{version[0] if version else '?'}, {kernel.arch}, {kernel.page_size >> 10} KiB pages",
        "ram_bytes": machine.ram_bytes,
        "size": size_class(machine.ram_bytes),
        "nr_nodes": len(machine.nodes),
        "nr_sections": machine.nr_sections,
        "memmap_pages": machine.memmap_pages,
        "counter_pages": counter,
        "page_mix": mix_class(pages),
        "nr_folios": mix.nr_folios(*mix.folios) if mix else None,
        **{f"pages:{kind}": pages.get(kind, 0) if mix else None for kind in TYPES if kind != "nopage"},
    }


def size_class(ram_bytes: int) -> str:
    """The class of sizes that a machine belongs to.

    Examples
    --------
    >>> [size_class(size << 30) for size in (1, 4, 100, 5000)]
    ['below 4 GiB', '4 to 16 GiB', '64 to 256 GiB', '1024 GiB and more']
    """
    for low, end in zip((0, *SIZES), SIZES, strict=False):
        if ram_bytes < end << 30:
            return f"{low} to {end} GiB" if low else f"below {end} GiB"
    return f"{SIZES[-1]} GiB and more"


def mix_class(pages: Mapping[str, int]) -> str:
    """The group of page types that most pages are in.

    Examples
    --------
    >>> mix_class({"buddy": 5, "file": 4, "shmem": 3}), mix_class({})
    ('mostly file', 'no page flags')
    """
    if not pages:
        return "no page flags"
    of = {group: sum(pages.get(kind, 0) for kind in kinds) for group, kinds in GROUPS.items()}
    return f"mostly {max(of, key=of.__getitem__)}"


def _answer(machine: Machine, mix: PageMix | None, lack: str, name: str, options: Options) -> dict[str, Any]:
    """One design on one machine: its parts, or why there are none."""
    design = designs.get(name)
    found: dict[str, Any] = {
        "design": name,
        "error": "",
        "nr_pinned": 0,
        "exact": False,
        "notes": "",
        "parts": {},
    }
    if mix is None and design.uses_page_mix:
        return found | {"error": lack}
    nr = nr_pages_of(options.pinned, machine.nr_pages_ram)
    population = Population(nr_pinned=nr, run_pages=options.run_pages)
    try:
        if nr > machine.nr_pages_ram:
            raise InputError(f"{nr} pinned pages, but it has {machine.nr_pages_ram} pages of RAM")
        footprint = design.footprint(
            Setting(machine, population, pfnmaps.get(options.pfn_map), mix=mix or "")
        )
    except InputError as error:
        return found | {"error": str(error)}
    return found | {
        "nr_pinned": nr,
        "exact": footprint.exact,
        "notes": "; ".join(footprint.notes),
        "parts": dict(footprint.parts),
    }
