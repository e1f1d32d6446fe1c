"""What the pages of a machine are: folios of each type and order. From a capture, or assumed shares.

Types are those of ``memory/pageflags.py``. A mix taken to another machine keeps its shares of pages, in
whole folios.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.model.errors import InputError
from workbench.model.memory.machine import Machine
from workbench.model.memory.pageflags import TYPES, PageFlags

#: Types of pages that belong to a folio with a descriptor of its own.
FOLIO_TYPES = ("anon", "file", "shmem", "hugetlb")

#: Assumed shares of pages by type and order, in percent; each sums to 100. Nobody measured these.
ASSUMED: Mapping[str, Mapping[str, Mapping[int, float]]] = {
    "database": {
        "hugetlb": {9: 70.0}, "anon": {0: 8.0, 9: 4.0}, "file": {0: 6.0, 4: 2.0}, "slab": {0: 1.0, 3: 1.0},
        "pgtable": {0: 0.5}, "buddy": {0: 6.0}, "unknown/kernel": {0: 1.5},
    },
    "file server": {
        "file": {0: 20.0, 2: 15.0, 4: 25.0, 9: 10.0}, "anon": {0: 5.0}, "slab": {0: 3.0, 3: 9.0},
        "pgtable": {0: 0.5}, "buddy": {0: 10.0}, "unknown/kernel": {0: 2.5},
    },
    "small anon": {
        "anon": {0: 80.0, 4: 2.0}, "file": {0: 6.0}, "slab": {0: 2.0, 3: 2.0}, "pgtable": {0: 2.0},
        "buddy": {0: 4.0}, "unknown/kernel": {0: 2.0},
    },
    "GPU host": {
        "anon": {0: 4.0, 9: 46.0}, "hugetlb": {9: 20.0}, "file": {0: 5.0, 4: 10.0}, "slab": {3: 2.0},
        "pgtable": {0: 0.5}, "buddy": {0: 10.0}, "unknown/kernel": {0: 2.5},
    },
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class PageMix:
    """Folios by type and order. ``source`` says whose they are; ``measured`` is False for assumed shares."""

    name: str
    folios: Mapping[str, Mapping[int, int]]
    source: str
    measured: bool

    @functools.cached_property
    def nr_pages(self) -> int:
        """All pages."""
        return sum(nr << order for orders in self.folios.values() for order, nr in orders.items())

    def nr_folios(self, *types: str) -> int:
        """Folios of these types, all orders."""
        return sum(nr for kind in types for nr in self.folios.get(kind, {}).values())

    def scaled_to(self, nr_pages: int) -> PageMix:
        """The same shares of ``nr_pages`` pages, in whole folios; what is left over becomes free pages.

        Examples
        --------
        >>> mix = PageMix("half", {"anon": {0: 512, 9: 1}}, "made up", False).scaled_to(3000)
        >>> mix.folios, mix.nr_pages
        ({'anon': {0: 1500, 9: 2}, 'buddy': {0: 476}}, 3000)
        """
        if not self.nr_pages:
            raise InputError(f"page mix {self.name!r} has no pages")
        scaled = {
            kind: {order: nr * nr_pages // self.nr_pages for order, nr in orders.items()}
            for kind, orders in self.folios.items()
        }
        left = nr_pages - sum(nr << order for orders in scaled.values() for order, nr in orders.items())
        free = scaled.setdefault("buddy", {})
        free[0] = free.get(0, 0) + left
        return PageMix(self.name, scaled, self.source, self.measured)

    @classmethod
    def from_shares(cls, name: str, shares: Mapping[str, Mapping[int, float]], nr_pages: int) -> PageMix:
        """A mix from shares in percent, which must sum to 100."""
        total = sum(share for orders in shares.values() for share in orders.values())
        bad = [kind for kind in shares if kind not in TYPES]
        if (
            bad
            or abs(total - 100) > 1e-6
            or min((s for o in shares.values() for s in o.values()), default=0) < 0
        ):
            raise InputError(
                f"page mix {name!r}: shares must be of known types, not negative, and sum to 100 "
                f"({', '.join(bad) or f'they sum to {total:g}'})"
            )
        folios = {
            kind: {order: int(nr_pages * share / 100) >> order for order, share in orders.items()}
            for kind, orders in shares.items()
        }
        return cls(name, folios, "assumed shares", False)

    @classmethod
    def from_capture(cls, name: str) -> PageMix:
        """The folios of a capture's RAM; ``NAME#LABEL`` picks one of several page-flag files."""
        return _from_capture(name)


def _from_capture(name: str) -> PageMix:
    path = Path(name.partition("#")[0])
    return _read(name, path.stat().st_mtime_ns if path.is_file() else 0)


@functools.lru_cache(maxsize=16)
def _read(name: str, stamp: int) -> PageMix:
    """A capture's mix, kept; ``stamp`` changes when its file does."""
    path, _, label = name.partition("#")
    flags = PageFlags.load(path, label or None).within(Machine.load(path).pfns("ram", "nomap"))
    return PageMix(name, flags.folio_orders(), f"page flags of {name}", True)


def parse_shares(text: str) -> dict[str, dict[int, float]]:
    """``"anon:9=40,file:0=10"``: percent of pages by type and order; what is left of 100 is free memory.

    Examples
    --------
    >>> parse_shares("anon:9=40,file:0=10")
    {'anon': {9: 40.0}, 'file': {0: 10.0}, 'buddy': {0: 50.0}}
    """
    shares: dict[str, dict[int, float]] = {}
    for item in text.split(","):
        found = re.fullmatch(r"\s*([a-z/]+):(\d{1,2})=(\d+(?:\.\d+)?)\s*", item)
        if not found:
            raise InputError(f"page mix: {item!r} is not TYPE:ORDER=PERCENT, such as anon:9=40")
        shares.setdefault(found[1], {})[int(found[2])] = float(found[3])
    left = 100 - sum(share for orders in shares.values() for share in orders.values())
    if left < -1e-9:
        raise InputError(f"page mix {text!r}: the shares sum to {100 - left:g} percent")
    free = shares.setdefault("buddy", {})
    free[0] = free.get(0, 0.0) + max(left, 0.0)
    return shares


#: The capture whose mix stands in for a machine without page flags of its own.
STAND_IN = "microvm-24g-6.18"


def mix_for(machine: Machine, name: str | PageMix = "") -> tuple[PageMix, str]:
    """The page mix of a machine, and a note on whose it is.

    ``name`` is one of ``ASSUMED``, shares such as ``"anon:9=40,file:0=10"``, a capture, or a mix that was
    counted on this very machine. Without one it is the machine's own, where it is a capture
    with page flags, else that of ``STAND_IN``.
    """
    if isinstance(name, PageMix):
        return name, ""
    if not name:
        try:
            return _from_capture(machine.capture), ""
        except InputError:
            name = STAND_IN
    if name in ASSUMED or "=" in name:
        shares = ASSUMED[name] if name in ASSUMED else parse_shares(name)
        mix = PageMix.from_shares(name, shares, machine.nr_pages_ram)
    elif name in (machine.name, machine.capture):
        return _from_capture(machine.capture or name), ""
    else:
        try:
            mix = _from_capture(name)
        except InputError as error:
            raise InputError(
                f"page mix {name!r} is none of {', '.join(ASSUMED)} and no capture: {error}"
            ) from None
    which = "assumed" if not mix.measured else "measured there, scaled to this machine"
    return mix.scaled_to(machine.nr_pages_ram), f"page mix of {name!r}, {which}"
