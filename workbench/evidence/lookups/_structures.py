"""Pfn maps and page descriptors as they lie in memory, filled from a PfnSet.

Node sizes, strides and places of fields are the kernel's, so that a lookup touches the same cache lines.
Entries are numbered in ascending order of pfns, and nodes lie in the order in which ascending insertion
would allocate them. What a map stores for entry n is ``n * scale + offset``, an aligned nonzero word.

Left out: what a lookup never reads (marks, parents, locks), nodes that fragmentation scatters, and TLB misses
where huge pages back the arena.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.evidence.lookups import _loops as loops
from workbench.evidence.lookups._arena import LINE_BYTES, U64, words
from workbench.model.errors import InputError
from workbench.model.memory.pfns import PfnSet
from workbench.model.pfnmaps.maple import ASCENDING_SLOTS, MAPLE_RANGE64_SLOTS
from workbench.model.pfnmaps.rhashtable import nr_buckets
from workbench.model.pfnmaps.xarray import nodes_per_shift, root_shift

MAX_ENTRIES = 1 << 26  # assumed; beyond that building takes minutes
MAPLE_WORDS = 2 * MAPLE_RANGE64_SLOTS
MAPLE_SLOTS = 13  # per node, as insertion in random order leaves (13.05 in pfnmaps/maple.py)
_DENSE = 64  # entries of a mean extent from which a maple tree is filled as by ascending insertion; assumed
_JHASH_SEED = 0x9E3779B9  # hash_rnd; random in the kernel


@dataclass(frozen=True)
class Level:
    """One step of a lookup: its serial loads, and the bytes of the distinct lines that all entries touch."""

    nr_loads: float
    line_bytes: int


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A filled structure and the arguments of its loops."""

    path: str
    loop: Any  # of workbench.evidence.lookups._loops
    args: tuple[Any, ...]  # after keys and z
    scale: int = 8
    offset: int = 8
    nr_bytes: int  # of the structure
    nr_nodes: int = 0
    height: int = 0
    count: Callable[[], tuple[Level, ...]]  # counts the levels when they are first asked for
    arrays: tuple[U64, ...]  # its memory

    @functools.cached_property
    def levels(self) -> tuple[Level, ...]:
        """The steps of a lookup, in order."""
        return self.count()

    @property
    def dependent_loads(self) -> float:
        """Serial loads of a hit, on average over the pages that keys are drawn from."""
        return sum(level.nr_loads for level in self.levels)

    @property
    def touched_bytes(self) -> int:
        """64 times the distinct lines that lookups of all entries touch."""
        return sum(level.line_bytes for level in self.levels)

    def entry(self, nth: U64) -> U64:
        """What the map stores for those entries."""
        return nth * np.uint64(self.scale) + np.uint64(self.offset)


def _checked(pfns: PfnSet) -> PfnSet:
    if not pfns:
        raise InputError("no entries: there is nothing to look up")
    if pfns.nr_entries > MAX_ENTRIES:
        raise InputError(f"{pfns.nr_entries} entries are not built; the limit is {MAX_ENTRIES}")
    return pfns


def entry_pfns(pfns: PfnSet) -> U64:
    """The first pfn of each entry, ascending.

    Examples
    --------
    >>> entry_pfns(PfnSet.from_extents([0, 512], [3, 1535], [0, 9])).tolist()
    [0, 1, 2, 3, 512, 1024]
    """
    order = pfns.order.astype(np.uint64)
    sizes = ((pfns.last - pfns.first) >> order).astype(np.int64) + 1
    nth: U64 = np.arange(sizes.sum(), dtype=np.uint64)
    before = np.cumsum(sizes) - sizes
    return np.repeat(pfns.first, sizes) + (nth - np.repeat(before.astype(np.uint64), sizes) << np.repeat(
        order, sizes))


def nth_entry(pfns: PfnSet, keys: U64) -> tuple[U64, Any]:
    """Which entry holds each key, and whether one does."""
    at = np.searchsorted(pfns.first, keys, side="right") - 1
    found = (at >= 0) & (keys <= pfns.last[at])
    order = pfns.order.astype(np.uint64)
    steps = ((pfns.last - pfns.first) >> order) + np.uint64(1)
    before = np.cumsum(steps) - steps
    return np.where(found, before[at] + (keys - pfns.first[at] >> order[at]), np.uint64(0)), found


def lines(nr_bytes: int) -> int:
    """Bytes in whole lines."""
    return -(-nr_bytes // LINE_BYTES) * LINE_BYTES


def _line_bytes(words_at: U64) -> int:
    """Bytes of the distinct lines of these words, which ascend."""
    line = words_at >> np.uint64(3)
    return LINE_BYTES * (1 + int(np.count_nonzero(line[1:] != line[:-1]))) if line.size else 0


# The pfn maps

def xarray(pfns: PfnSet, *, lean: bool = False, root: int | None = None) -> Structure:
    """xa_nodes 584 bytes apart; multi-order entries with their siblings. ``root``: its shift, if taller."""
    pfns = _checked(pfns)
    root = root_shift(pfns) if root is None else root
    nr_nodes = sum(nodes_per_shift(pfns, root=root).values())
    first, stride = loops.FIRST_NODE, int(loops.NODE_WORDS)
    a = words((first + nr_nodes) * stride, f"an XArray of {nr_nodes:,} nodes")
    head = np.uint64(8)
    if root is not None:
        head = np.uint64(first << 2 | 2)
        made = int(loops.fill_xarray(a, pfns.first, pfns.last, pfns.order, np.uint64(root)))
        if made != nr_nodes:
            raise AssertionError(f"{made} nodes were made; {nr_nodes} were counted")
    args = (a, head, np.uint64(root or 0)) if lean else (a, head)
    return Structure(
        path="xarray_lean" if lean else "xarray", loop=loops.xarray_lean if lean else loops.xarray, args=args,
        nr_bytes=nr_nodes * stride * 8, nr_nodes=nr_nodes, height=0 if root is None else root // 6 + 1,
        count=functools.partial(_xa_levels, a, pfns, root, lean), arrays=(a[first * stride:],))


def _xa_levels(a: U64, pfns: PfnSet, root: int | None, lean: bool) -> tuple[Level, ...]:
    """xa_head, then two loads for each shift: node->shift and the slot; without the first if ``lean``.

    A page of a multi-order entry goes no deeper than that, and from a sibling's slot to the entry's.
    """
    levels = [Level(1, 0)]
    if root is None:
        return tuple(levels)
    seen = np.zeros(a.size // 8 + 1, np.uint16)  # a bit for each shift
    loops.xa_lines(a, not lean, seen)
    pages = (pfns.last - pfns.first).astype(np.float64) + 1
    at, siblings = pfns.order - pfns.order % 6, 1 - 0.5 ** (pfns.order % 6)
    for shift in range(root, -1, -6):
        nr_lines = int(np.count_nonzero(seen & np.uint16(1 << shift // 6)))
        if nr_lines:  # none below the lowest multi-order entry
            reach = pages[at <= shift].sum() * (1 if lean else 2) + (pages * siblings)[at == shift].sum()
            levels.append(Level(float(reach / pages.sum()), LINE_BYTES * nr_lines))
    return tuple(levels)


def xarray_lean(pfns: PfnSet) -> Structure:
    """The same tree, walked with the shift from its height."""
    return xarray(pfns, lean=True)


def maple(pfns: PfnSet) -> Structure:
    """maple_range_64 nodes of 256 bytes, leaves filled evenly; an entry is a range, and so is a gap."""
    pfns = _checked(pfns)
    dense = pfns.nr_entries >= _DENSE * pfns.nr_extents
    per_node = ASCENDING_SLOTS if dense else MAPLE_SLOTS
    last, value = _maple_slots(pfns)
    if last.size == 1 or pfns.max_pfn == 0:  # one entry at index 0 needs no node
        a = words(1, "a maple tree")
        return Structure(path="maple", loop=loops.maple, args=(a, np.uint64(8)), nr_bytes=0, arrays=(a,),
                         count=lambda: (Level(1, 0),))
    sizes = [max(1, -(-last.size // per_node))]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // per_node))
    a = words(sum(sizes) * MAPLE_WORDS, f"a maple tree of {sum(sizes):,} nodes")
    base = 0
    for depth, nr in enumerate(sizes):
        ends = _fill_maple(a[base * MAPLE_WORDS:(base + nr) * MAPLE_WORDS], last, value)
        leaf = int(loops.MAPLE_LEAF) if depth == 0 else 0
        last = last[ends]
        value = np.arange(base, base + nr, dtype=np.uint64) << np.uint64(8) | np.uint64(leaf | 2)
        base += nr
    return Structure(path="maple", loop=loops.maple, args=(a, np.uint64(value[0])), arrays=(a,),
                     nr_bytes=base * MAPLE_WORDS * 8, nr_nodes=base, height=len(sizes),
                     # the pivots, in order, then the slot: two lines each
                     count=lambda: tuple(Level(2, nr * MAPLE_WORDS * 8) for nr in sizes[::-1]))


def _maple_slots(pfns: PfnSet) -> tuple[U64, U64]:
    """The last index and the entry of each slot of all leaves: entries, and 0 for the gaps between."""
    firsts = entry_pfns(pfns)
    order = pfns.order.astype(np.uint64)
    order = np.repeat(order, ((pfns.last - pfns.first) >> order).astype(np.int64) + 1)
    ends = firsts + ((np.uint64(1) << order) - np.uint64(1))
    gap = np.ones(firsts.size, np.bool_)  # before each entry
    gap[0] = firsts[0] != 0
    gap[1:] = firsts[1:] != ends[:-1] + np.uint64(1)
    at = np.arange(firsts.size) + np.cumsum(gap)
    top = np.uint64(2**64 - 1)
    nr = int(at[-1]) + 1 + int(ends[-1] != top)
    last, value = np.full(nr, top, np.uint64), np.zeros(nr, np.uint64)
    last[at], value[at] = ends, np.arange(1, firsts.size + 1, dtype=np.uint64) << np.uint64(3)
    last[at[gap] - 1] = firsts[gap] - np.uint64(1)
    return last, value


def _fill_maple(nodes: U64, last: U64, value: U64) -> Any:
    """Spread slots over nodes evenly; where each node's last one is."""
    nr = nodes.size // MAPLE_WORDS
    node = np.arange(last.size) * nr // last.size
    starts = np.searchsorted(node, np.arange(nr))
    slot = np.arange(last.size) - starts[node]
    table = nodes.reshape(nr, MAPLE_WORDS)
    has_pivot = slot < MAPLE_RANGE64_SLOTS - 1
    table[node[has_pivot], slot[has_pivot] + 1] = last[has_pivot]
    table[node, slot + MAPLE_RANGE64_SLOTS] = value
    return np.append(starts[1:], last.size) - 1


def rhashtable(pfns: PfnSet) -> Structure:
    """Buckets of one pointer, then dynamic_pages that carry their pfn and their link; folios by first pfn.

    Left out: the loads of ht->tbl, its size and its seed, which every lookup has in the nearest cache.
    """
    pfns = _checked(pfns)
    nr, buckets = pfns.nr_entries, nr_buckets(pfns.nr_entries)
    a = words(buckets + nr * loops.OBJECT_WORDS, f"a hash table of {nr:,} objects")
    steps = loops.fill_rhashtable(a, entry_pfns(pfns), np.uint64(buckets), np.uint64(_JHASH_SEED))
    objects = nr * loops.OBJECT_WORDS * 8
    # The last object's key is compared by a branch that predicts well: what a hit gives is the pointer before
    # it. So one object less than the chain has is in the way of the next lookup.
    levels = (Level(1, lines(buckets * 8)), Level(int(steps) / nr - 1, min(objects, nr * LINE_BYTES)))
    return Structure(path="rhashtable", loop=loops.rhashtable, arrays=(a,), scale=2 * loops.OBJECT_WORDS,
                     offset=2 * buckets, args=(a, np.uint64(buckets - 1), np.uint64(_JHASH_SEED)),
                     nr_bytes=buckets * 8 + objects, count=lambda: levels, height=1)


def _filled_slots(pfns: PfnSet) -> tuple[U64, U64]:
    """Every pfn, and what is stored for it."""
    pages = pfns.to_pfns(limit=MAX_ENTRIES)
    nth, _ = nth_entry(pfns, pages)
    return pages, (nth + np.uint64(1)) << np.uint64(3)


def two_level(pfns: PfnSet) -> Structure:
    """A root of one word per 512 pfns, then leaves of 4 KiB."""
    pfns = _checked(pfns)
    shift, span = int(loops.TWO_LEVEL_SHIFT), (pfns.max_pfn or 0) + 1
    nr_root, nr_leaves = -(-span >> shift), pfns.distinct_prefixes(shift)
    leaf_at = -(-nr_root // 512) * 512  # leaves begin on a page
    a = words(leaf_at + nr_leaves * 512, f"a two-level table of {nr_root:,} pointers, {nr_leaves:,} leaves")
    pages, value = _filled_slots(pfns)
    at = pages >> np.uint64(shift)
    new = np.ones(at.size, np.bool_)
    np.not_equal(at[1:], at[:-1], out=new[1:])
    leaf = np.uint64(leaf_at) + (np.cumsum(new).astype(np.uint64) - np.uint64(1)) * np.uint64(512)
    a[at[new]] = leaf[new]
    slot = leaf + (pages & np.uint64(511))
    a[slot] = value
    levels = (Level(1, _line_bytes(at[new])), Level(1, _line_bytes(slot)))
    return Structure(path="two_level", loop=loops.two_level, args=(a, np.uint64(span)), arrays=(a,), height=2,
                     nr_bytes=nr_root * 8 + nr_leaves * 4096, nr_nodes=nr_leaves, count=lambda: levels)


def sorted_array(pfns: PfnSet) -> Structure:
    """Pairs of pfn and pointer; folios by first pfn."""
    pfns = _checked(pfns)
    nr = pfns.nr_entries
    a = words(2 * nr, f"a sorted array of {nr:,} pairs")
    a[0::2], a[1::2] = entry_pfns(pfns), np.arange(1, nr + 1, dtype=np.uint64) << np.uint64(3)
    steps = max(1, (nr - 1).bit_length())
    levels = tuple(Level(1, min(LINE_BYTES << step, lines(nr * 16))) for step in range(steps))
    return Structure(path="sorted_array", loop=loops.sorted_array, args=(a,), arrays=(a,), nr_bytes=nr * 16,
                     height=steps, count=lambda: _without_repeats(levels))


def _without_repeats(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Steps of a search share their lines: each counts only those that no step before it had."""
    found, before = [], 0
    for level in levels:
        found.append(Level(level.nr_loads, max(level.line_bytes - before, 0)))
        before = max(before, level.line_bytes)
    return tuple(found)


def flat(pfns: PfnSet) -> Structure:
    """One word per pfn."""
    pfns = _checked(pfns)
    span = (pfns.max_pfn or 0) + 1
    a = words(span, f"a flat table of {span:,} words")
    pages, value = _filled_slots(pfns)
    a[pages] = value
    return Structure(path="flat", loop=loops.flat, args=(a, np.uint64(span)), arrays=(a,), nr_bytes=span * 8,
                     height=1, count=lambda: (Level(1, _line_bytes(pages)),))


#: What builds each pfn map; a key that it holds is found by any page of an entry, or by the first only.
MAPS: dict[str, Callable[[PfnSet], Structure]] = {
    "xarray": xarray, "xarray_lean": xarray_lean, "maple": maple, "rhashtable": rhashtable,
    "two_level": two_level, "flat": flat, "sorted_array": sorted_array}
FIRST_PFN_ONLY = {"rhashtable", "sorted_array"}


def build(name: str, pfns: PfnSet, *, root: int | None = None) -> Structure:
    """The pfn map of that name, filled; one that is not timed is an InputError.

    ``root`` is the shift of an XArray's root where its history made it taller than the entries need.
    """
    if name not in MAPS:
        raise InputError(f"pfn map {name!r} is none of those that can be timed: {', '.join(MAPS)}")
    if name.startswith("xarray"):
        return xarray(pfns, lean=name == "xarray_lean", root=root)
    return MAPS[name](pfns)
