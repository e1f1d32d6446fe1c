"""One question, frozen: a machine, what is pinned in it, a design, a pfn map. ``evaluate`` answers it.

Bytes are exact integers, or say that they are expectations. Measured times meet them in ``scenario.times``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from workbench.model import designs, pfnmaps
from workbench.model.designs.base import Setting
from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.machine import Machine
from workbench.model.memory.pfns import PfnSet
from workbench.model.memory.population import Population, drawn_from

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Everything that a footprint depends on.

    Parameters
    ----------
    machine : str or Machine
        A shipped capture's name, a path to a capture, a spec such as ``"ram=1TiB"``, or ``"live"``.
    kernel : str, optional
        A preset to use instead of what the machine says, such as ``"arm64-64k"``.
    design : str
        A name of ``designs.registry()``, with its variant: ``"dynamic_page:range"``.
    pfn_map : str
        A name of ``pfnmaps.registry()``; only designs that keep a pfn map use it.
    nr_pinned : int or str
        Pinned pages, or a share of RAM such as ``"0.1%"``.
    run_pages : int
        Clustering: pinned pages come in naturally aligned runs of this many, a power of two.
    folio_order : int
        The pinned folios' order; a descriptor describes a folio.
    describe_device : bool
        pmem and device memory need descriptors too: a memmap, or dynamic descriptors instead of one.
    nr_device_used : int or str
        Pages of pmem and device memory in use, or a share of them.
    proxy_bytes : int
        sizeof(struct page_proxy), assumed.
    mix : str
        The page mix that memdescs are counted for: a capture's name or one of ``pagemix.ASSUMED``; ``""`` is
        the machine's own.
    folio_desc_bytes : int
        Size of a folio descriptor; 80 as in the memdesc plan.
    pinned : PfnSet, optional
        The exact set of pinned pages, instead of ``nr_pinned`` and ``run_pages``.

    Examples
    --------
    >>> row = evaluate(Scenario(machine="ram=1GiB", design="foll_pin"))
    >>> row.parts["memmap"]
    16777216
    """

    machine: str | Machine = "microvm-24g-6.18"
    kernel: str | None = None
    design: str = "dynamic_page"
    pfn_map: str = "xarray"
    nr_pinned: int | str = 0
    run_pages: int = 1
    folio_order: int = 0
    describe_device: bool = False
    nr_device_used: int | str = 0
    proxy_bytes: int = 64
    mix: str = ""
    folio_desc_bytes: int = 80
    pinned: PfnSet | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.proxy_bytes < 8:
            raise InputError(f"a proxy of {self.proxy_bytes} bytes cannot hold a pfn: 8 or more")

    def with_(self, **values: Any) -> Scenario:
        """The same scenario with some fields changed; an unknown field is an InputError."""
        known = {f.name for f in fields(self)}
        if unknown := set(values) - known:
            raise InputError(f"scenario field {sorted(unknown)[0]!r} is none of {', '.join(sorted(known))}")
        return replace(self, **values)

    def draw(self, capture: str, seed: int = 1) -> Scenario:
        """The same scenario with its pinned folios drawn from a capture's own; see `pinned_from_capture`."""
        return self.with_(pinned=pinned_from_capture(self, capture, seed))


@dataclass(frozen=True)
class Row:
    """The answer to one scenario. ``parts`` sum to ``total_bytes``."""

    scenario: Scenario
    machine: Machine = field(repr=False)
    parts: Mapping[str, int]
    exact: bool
    notes: tuple[str, ...]
    elsewhere: Mapping[str, int]  # bytes outside RAM, by name; not part of the total
    nr_pages: int  # pages that the design describes: RAM, and device memory where that is asked for
    nr_pinned: int

    @property
    def design(self) -> str:
        """The design's name with its variant."""
        return self.scenario.design

    @property
    def total_bytes(self) -> int:
        """All bytes of the design."""
        return sum(self.parts.values())

    @property
    def bytes_per_page(self) -> float:
        """Bytes for each page that is described."""
        return self.total_bytes / self.nr_pages if self.nr_pages else 0.0

    @property
    def percent_of_ram(self) -> float:
        """Of the machine's RAM, in percent."""
        return 100 * self.total_bytes / self.machine.ram_bytes if self.machine.ram_bytes else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The keys of a row of ``workbench overhead --json``."""
        return {
            "design": self.design,
            "total_bytes": self.total_bytes,
            "parts": dict(self.parts),
            "bytes_per_page": self.bytes_per_page,
            "percent_of_ram": self.percent_of_ram,
            "exact": self.exact,
            "notes": list(self.notes),
            "elsewhere": dict(self.elsewhere),
            "machine": self.machine.name,
            "kernel": self.machine.kernel.name,
            "pfn_map": self.scenario.pfn_map,
            "nr_pinned": self.nr_pinned,
            "run_pages": self.scenario.run_pages,
            "folio_order": self.scenario.folio_order,
        }


@functools.lru_cache(maxsize=64)
def _machine(what: str, kernel: str | None) -> Machine:
    return Machine.load(what, KernelConfig.preset(kernel) if kernel else None)


def machine_of(scenario: Scenario) -> Machine:
    """The scenario's machine; those given by name are read once and kept ("live" is read each time)."""
    if isinstance(scenario.machine, Machine):
        return scenario.machine
    if scenario.machine == "live":
        return _machine.__wrapped__("live", scenario.kernel)
    return _machine(scenario.machine, scenario.kernel)


def nr_pages_of(amount: int | str, total: int, what: str = "pinned") -> int:
    """A number of pages from ``4096``, ``"4096"`` or a share such as ``"1.5%"`` of ``total``.

    Examples
    --------
    >>> nr_pages_of("1.5%", 2000)
    30
    """
    if isinstance(amount, int) and not isinstance(amount, bool):
        return amount
    text = str(amount).strip().replace(",", "").replace("_", "")
    try:
        if text.endswith("%"):
            share = float(text[:-1])
            if not 0 <= share <= 100:
                raise InputError(f"{what} {amount!r} is not between 0% and 100%")
            return round(total * share / 100)
        return int(text)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} {amount!r} is neither a number of pages nor a share such as 0.1%") from None


def evaluate(scenario: Scenario) -> Row:
    """One scenario's bytes, part by part.

    Raises
    ------
    InputError
        For an unknown design, pfn map or machine, or more pages pinned than the machine has.
    """
    machine = machine_of(scenario)
    design = designs.get(scenario.design)
    device_pages = machine.pages("pmem", "device")
    population = Population(
        nr_pinned=nr_pages_of(scenario.nr_pinned, machine.nr_pages_ram),
        run_pages=scenario.run_pages,
        folio_order=scenario.folio_order,
        nr_device_used=nr_pages_of(scenario.nr_device_used, device_pages, "device memory used"),
        pinned=scenario.pinned,
    )
    if population.nr_pages > machine.nr_pages_ram:
        raise InputError(
            f"{population.nr_pages} pinned pages, but {machine.name} has {machine.nr_pages_ram} pages of RAM"
        )
    setting = Setting(
        machine,
        population,
        pfnmaps.get(scenario.pfn_map),
        describe_device=scenario.describe_device,
        proxy_bytes=scenario.proxy_bytes,
        mix=scenario.mix,
        folio_desc_bytes=scenario.folio_desc_bytes,
    )
    found = design.footprint(setting)
    return Row(
        scenario=scenario,
        machine=machine,
        parts=found.parts,
        exact=found.exact,
        notes=found.notes,
        elsewhere=found.elsewhere,
        nr_pages=machine.nr_pages_ram + (device_pages if scenario.describe_device else 0),
        nr_pinned=population.nr_pages,
    )


def pinned_from_capture(scenario: Scenario, capture: str, seed: int = 1) -> PfnSet:
    """``scenario.nr_pinned`` pages as folios drawn from a capture's own user memory.

    See ``memory.population.drawn_from``; a capture with several page-flag files takes ``NAME#LABEL``.
    """
    from workbench.model.memory.pageflags import PageFlags

    name, _, label = capture.partition("#")
    machine = machine_of(scenario)
    nr = nr_pages_of(scenario.nr_pinned, machine.nr_pages_ram)
    return drawn_from(PageFlags.load(name, label or None), machine, nr, seed) if nr else PfnSet.empty()


#: Columns of ``compare`` that are not scenario fields; part columns follow as ``part:NAME``.
PART = "part:"


def compare(scenarios: Iterable[Scenario]) -> pd.DataFrame:
    """Many scenarios side by side, one row each.

    Returns
    -------
    DataFrame
        design, machine, kernel, pfn_map, nr_pinned (pages), pinned_percent (of RAM), run_pages, folio_order,
        total_bytes, bytes_per_page, percent_of_ram, exact, notes, and one int64 column ``part:NAME`` per
        part, in bytes; the part columns sum to total_bytes.
    """
    import pandas as pd

    records: list[dict[str, Any]] = []
    parts: list[Mapping[str, int]] = []
    for row in map(evaluate, scenarios):
        records.append(
            {
                "design": row.design,
                "machine": row.machine.name,
                "kernel": row.machine.kernel.name,
                "pfn_map": row.scenario.pfn_map,
                "nr_pinned": row.nr_pinned,
                "pinned_percent": 100 * row.nr_pinned / max(1, row.machine.nr_pages_ram),
                "run_pages": row.scenario.run_pages,
                "folio_order": row.scenario.folio_order,
                "total_bytes": row.total_bytes,
                "bytes_per_page": row.bytes_per_page,
                "percent_of_ram": row.percent_of_ram,
                "exact": row.exact,
                "notes": "; ".join(row.notes),
            }
        )
        parts.append(row.parts)
    for name in dict.fromkeys(name for row_parts in parts for name in row_parts):
        for record, row_parts in zip(records, parts, strict=True):
            record[PART + name] = row_parts.get(name, 0)
    return pd.DataFrame(records)


def break_even(a: Scenario, b: Scenario, *, upto: float = 100.0) -> float | None:
    """The share, in percent, from which ``a`` takes more bytes than ``b``; None if it never does.

    The share is of pinned pages in RAM, or with ``describe_device`` of pmem and device memory in use. Found
    by bisection over whole pages: the difference of the totals grows with the share. Edges of memory too
    small for a whole run stay empty, so that less than ``upto`` percent may be all that can be filled.

    Examples
    --------
    >>> gpu = Scenario(machine="ram=1GiB,device=1GiB@1TiB", describe_device=True)
    >>> round(break_even(gpu.with_(design="dynamic_page"), gpu.with_(design="static")))    # the memmap wins
    68
    """
    machine = machine_of(a)
    field = "nr_device_used" if a.describe_device else "nr_pinned"
    total = machine.pages("pmem", "device") if a.describe_device else machine.nr_pages_ram

    def over(nr: int) -> bool:
        left, right = (evaluate(s.with_(**{field: nr, "pinned": None})).total_bytes for s in (a, b))
        return left > right

    shape = Population(run_pages=a.run_pages, folio_order=a.folio_order)
    places = shape.scatter(machine, "device" if a.describe_device else "ram").places.nr_pages
    room = places * max(a.run_pages, 1 << a.folio_order)
    low, high = 0, min(room, int(total * upto / 100))
    if over(low):
        return 0.0
    if not over(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if over(middle) else (middle, high)
    return 100 * high / total
