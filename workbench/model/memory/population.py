"""What is pinned: how many pages, how clustered, in folios of which order, and where."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.model.errors import InputError
from workbench.model.memory.machine import Machine
from workbench.model.memory.pfns import PfnSet, Scatter, least, most

if TYPE_CHECKING:
    from workbench.model.memory.pageflags import PageFlags


@dataclass(frozen=True, eq=False)
class Population:
    """Pages of a machine that a design must tell from the others.

    Either an exact set (``pinned``, from a trace or a capture), or a number of pages that come in naturally
    aligned runs of ``run_pages``, placed at random: then every count over placements is an expectation and
    says so. ``nr_device_used`` pages of pmem and device memory are in use, for the designs that describe
    such memory without a memmap. Either number may be an array of int64: so many populations alike.
    """

    nr_pinned: Any = 0
    run_pages: int = 1
    folio_order: int = 0
    nr_device_used: Any = 0
    pinned: PfnSet | None = None

    def __post_init__(self) -> None:
        fewest = min(least(self.nr_pinned), least(self.nr_device_used))
        if fewest < 0:
            raise InputError(f"{fewest} pages: a number of pages is not negative")
        if not 0 <= self.folio_order <= 40:
            raise InputError(f"folio order {self.folio_order} is not in 0..40")
        if self.run_pages < 1 or self.run_pages & (self.run_pages - 1):
            raise InputError(f"runs of {self.run_pages} pages: a run is a power of two long")

    def scatter(self, machine: Machine, kind: str = "ram") -> Scatter:
        """The pages as random runs inside a machine's RAM, or (``"device"``) its pmem and device memory."""
        nr = self.nr_pinned if kind == "ram" else self.nr_device_used
        within = machine.ram if kind == "ram" else machine.pfns("pmem", "device")
        if most(nr) > within.nr_pages:
            raise InputError(
                f"{most(nr)} pages to describe, but {machine.name} has {within.nr_pages} pages of {kind}"
            )
        run = max(self.run_pages, 1 << self.folio_order)
        return Scatter(nr_pages=nr, run_pages=run, order=self.folio_order, within=within)

    @functools.cached_property
    def nr_pages(self) -> Any:
        """Pinned pages."""
        return self.pinned.nr_pages if self.pinned is not None else self.nr_pinned


#: Types of pages that user space can pin (memory/pageflags.py names them).
USER_TYPES = ("anon", "file", "shmem", "hugetlb")
_MOST_FOLIOS = 1 << 24


def drawn_from(flags: PageFlags, machine: Machine, nr_pages: int, seed: int) -> PfnSet:
    """Pinned folios drawn from a capture's own user memory: their orders, and their places in memory.

    On the machine of the capture the folios stay where they are. On a larger one the capture's memory is
    laid end to end over the machine's, and only folios wholly inside its RAM count. Folios are drawn
    uniformly until ``nr_pages`` are reached; a last one that would go beyond is left out.

    Raises
    ------
    InputError
        The capture has no user memory, or less than ``nr_pages`` where it is laid over the machine.
    """
    found = [flags.folios(kind) for kind in USER_TYPES]
    first = np.concatenate([f.first_pfn for f in found])
    nr_folios = np.concatenate([f.nr_folios for f in found])
    order = np.concatenate([f.order for f in found])
    if not first.size:
        raise InputError(f"no pages of {', '.join(USER_TYPES)} to pin in it", file=flags.where)
    ends = np.cumsum(nr_folios)
    tile = -(-int(flags.ram[-1, 1]) >> 18) << 18  # whole folios of 2^18 pages, the largest there are
    nr_tiles = max(1, -(-machine.max_pfn // tile))
    total = int(ends[-1]) * nr_tiles
    if nr_pages > _MOST_FOLIOS:
        raise InputError(f"{nr_pages} pages to draw, {_MOST_FOLIOS} at most; give --pinned without a capture")
    rng = np.random.default_rng(seed)
    nth = (
        np.sort(rng.choice(total, min(total, _MOST_FOLIOS), replace=False))
        if total <= _MOST_FOLIOS
        else np.unique(rng.integers(0, total, min(_MOST_FOLIOS, 2 * nr_pages + 1024)))
    )
    nth = rng.permutation(nth)
    which = nth % int(ends[-1])
    run = np.searchsorted(ends, which, side="right")
    orders = order[run]
    step = (which - (ends[run] - nr_folios[run])).astype(np.uint64) << orders.astype(np.uint64)
    pfn = first[run] + step + (nth // int(ends[-1])).astype(np.uint64) * np.uint64(tile)
    size = np.uint64(1) << orders.astype(np.uint64)
    inside = machine.ram.contains(pfn) & machine.ram.contains(pfn + size - np.uint64(1))
    pfn, orders, size = pfn[inside], orders[inside], size[inside]
    reached = np.cumsum(size, dtype=np.uint64)
    take = int(np.searchsorted(reached, nr_pages, side="right"))
    if not take or (take == pfn.size and int(reached[-1]) < nr_pages):
        raise InputError(
            f"{nr_pages} pages to pin, but only {int(reached[-1]) if reached.size else 0} lie in "
            f"its user memory inside the RAM of {machine.name}",
            file=flags.where,
        )
    by = np.argsort(pfn[:take])
    return PfnSet.from_extents(pfn[:take][by], (pfn + size - np.uint64(1))[:take][by], orders[:take][by])
