"""What is pinned: how many pages, how clustered, in folios of which order, and where."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from workbench.errors import InputError
from workbench.memory.machine import Machine
from workbench.memory.pfns import PfnSet, Scatter


@dataclass(frozen=True, eq=False)
class Population:
    """Pages of a machine that a design must tell from the others.

    Either an exact set (``pinned``, from a trace or a capture), or a number of pages that come in naturally
    aligned runs of ``run_pages``, placed at random: then every count over placements is an expectation and
    says so. ``nr_device_used`` pages of pmem and device memory are in use, for the designs that describe
    such memory without a memmap.
    """

    nr_pinned: int = 0
    run_pages: int = 1
    folio_order: int = 0
    nr_device_used: int = 0
    pinned: PfnSet | None = None

    def __post_init__(self) -> None:
        if self.nr_pinned < 0 or self.nr_device_used < 0:
            raise InputError(
                f"{min(self.nr_pinned, self.nr_device_used)} pages: a number of pages is not negative"
            )
        if not 0 <= self.folio_order <= 40:
            raise InputError(f"folio order {self.folio_order} is not in 0..40")
        if self.run_pages < 1 or self.run_pages & (self.run_pages - 1):
            raise InputError(f"runs of {self.run_pages} pages: a run is a power of two long")

    def scatter(self, machine: Machine, kind: str = "ram") -> Scatter:
        """The pages as random runs inside a machine's RAM, or (``"device"``) its pmem and device memory."""
        nr = self.nr_pinned if kind == "ram" else self.nr_device_used
        within = machine.ram if kind == "ram" else machine.pfns("pmem", "device")
        if nr > within.nr_pages:
            raise InputError(
                f"{nr} pages to describe, but {machine.name} has {within.nr_pages} pages of {kind}"
            )
        run = max(self.run_pages, 1 << self.folio_order)
        return Scatter(nr_pages=nr, run_pages=run, order=self.folio_order, within=within)

    @functools.cached_property
    def nr_pages(self) -> int:
        """Pinned pages."""
        return self.pinned.nr_pages if self.pinned is not None else self.nr_pinned
