"""What one lookup in a pfn map reads, load by load: for one pfn, in a map that holds given entries.

Each map answers in its own file (``PfnMap.walk``) from the same rules as its counts. A walk is exact where
its rules decide each read; where history or a random seed does too, it says so.

An object's cache lines depend on where the allocator puts it. ``Touch.stride`` is the distance of such
objects in their slab, so that :func:`nr_lines` can give the fewest and the most lines that the reads touch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig, load_layouts
from workbench.model.memory.pfns import PfnSet

CACHE_LINE_BYTES = 64  # L1_CACHE_BYTES, arch/x86/include/asm/cache.h, v6.12; assumed elsewhere


@dataclass(frozen=True)
class Touch:
    """One load: which object, which byte of it, and what it gives."""

    object: str  # "xa_node, shift 24, number 0x2"
    what: str  # "slots[18]"
    byte: int  # from the start of the object
    found: str  # "a node", "NULL", "the entry"
    stride: int = 0  # bytes from one such object to the next in its slab; 0 where it starts on a cache line
    slot: int | None = None  # of an array: which element, of how many
    nr_slots: int = 0
    shift: int | None = None  # node->shift, where the object has one

    @property
    def line(self) -> int:
        """The cache line inside the object, if that starts on one."""
        return self.byte // CACHE_LINE_BYTES


@dataclass(frozen=True)
class MapWalk:
    """One lookup. ``touches`` are its serial loads; the last gives the entry, or shows that there is none."""

    map: str
    pfn: int
    touches: tuple[Touch, ...]
    found: bool
    exact: bool = True
    note: str = ""

    @property
    def nr_loads(self) -> int:
        """Dependent loads."""
        return len(self.touches)


def nr_lines(touches: Iterable[Touch]) -> tuple[int, int]:
    """The fewest and the most distinct cache lines, over all places where the objects can start.

    Examples
    --------
    >>> header, near, far = (Touch("xa_node", "", byte, "", stride=584) for byte in (0, 56, 64))
    >>> nr_lines([header, near]), nr_lines([header, far])    # slots 0 to 2 may share the header's line
    ((1, 2), (2, 2))
    """
    objects: dict[tuple[str, int], set[int]] = {}
    for touch in touches:
        objects.setdefault((touch.object, touch.stride), set()).add(touch.byte)
    low = high = 0
    for (_, stride), reads in objects.items():
        starts = range(0, CACHE_LINE_BYTES, math.gcd(stride, CACHE_LINE_BYTES) or CACHE_LINE_BYTES)
        counts = [len({(start + byte) // CACHE_LINE_BYTES for byte in reads}) for start in starts]
        low, high = low + min(counts), high + max(counts)
    return low, high


def entry_at(pfns: PfnSet, pfn: int) -> tuple[int, int] | None:
    """First pfn and order of the entry that covers a pfn.

    Examples
    --------
    >>> entry_at(PfnSet.from_pfns([512, 1024], order=9), 1030), entry_at(PfnSet.from_pfns([7]), 8)
    ((1024, 9), None)
    """
    at = int(np.searchsorted(pfns.first, np.uint64(pfn), side="right")) - 1
    if at < 0 or pfn > int(pfns.last[at]):
        return None
    order = int(pfns.order[at])
    return pfn >> order << order, order


def any_within(pfns: PfnSet, first: int, last: int) -> bool:
    """Whether some entry has a page in first..last, both included."""
    at = int(np.searchsorted(pfns.last, np.uint64(first)))
    return at < pfns.nr_extents and int(pfns.first[at]) <= last


def nth_entry(pfns: PfnSet, nth: int, ends: np.ndarray | None = None) -> int:
    """First pfn of the entry of that rank; ``ends`` are the running totals of entries by extent."""
    ends = entry_ends(pfns) if ends is None else ends
    at = int(np.searchsorted(ends, nth, side="right"))
    if nth < 0 or at >= pfns.nr_extents:
        raise InputError(f"entry {nth} of {pfns.nr_entries}")
    before = int(ends[at - 1]) if at else 0
    return int(pfns.first[at]) + (nth - before << int(pfns.order[at]))


def entry_ends(pfns: PfnSet) -> np.ndarray:
    """Entries up to and including each extent."""
    return np.cumsum(((pfns.last - pfns.first) >> pfns.order.astype(np.uint64)) + np.uint64(1))


@functools.cache
def _offsets(layouts: str, struct: str) -> dict[str, int]:
    rows = load_layouts(layouts)["structs"].get(struct, {"members": []})["members"]
    return {row["name"]: row["off"] for row in rows}


def member_offset(kernel: KernelConfig, struct: str, member: str, default: int) -> int:
    """offsetof(), from the build's layouts where it ships with some; else what mainline has."""
    return _offsets(kernel.layouts, struct).get(member, default) if kernel.layouts else default
