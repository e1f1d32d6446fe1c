"""The maple tree: a B-tree of ranges with 16 slots per node; a folio is one range, whatever its order.

A stretch of pfns without an entry takes a slot too. How full the nodes are depends on the order of insertion:

* :func:`replay` follows the split rule of lib/maple_tree.c insertion by insertion: exact for a known order;
* ``MapleTree("ascending")`` counts what ascending insertion leaves, exactly, in one step per extent;
* ``MapleTree()``, where nobody knows the order, stores the extents in random order, the entries of each one
  ascending. Up to :data:`REPLAY_MAX` entries it replays one such order, beyond that it takes the mean number
  of slots per node; both are marked as not exact. From 1,000 entries on, the model lies within 2 % of the
  kernel's own code (6.1.192 in user space: extents of 1 to 4096 entries, mixtures of them, folios), within
  5 % if most extents have 13 to 15 or 28 to 31 entries, and within 3.2 % of the counts published for v7.3.
  Where the entries of long extents come in random order too, the tree takes up to 15 % more nodes.

Left out: what erasing leaves behind, gap-tracking trees (10 slots), nodes kept for RCU, and struct
maple_tree (16 bytes in v6.12), which lies in the object that owns the tree.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig, load_layouts
from workbench.model.kernel.slab import SlabCache
from workbench.model.memory.pfns import MAX_PFN, PfnSet, Scatter, as_pfns
from workbench.model.pfnmaps.base import MapCounts, PfnMap

SIZEOF_MAPLE_NODE = 256  # bytes; include/linux/maple_tree.h, v6.1 to v7.3
MAPLE_RANGE64_SLOTS = 16  # the same, 64 bit; of leaves too, while no gaps are tracked
MIN_SLOTS = MAPLE_RANGE64_SLOTS // 2 - 2  # mt_min_slots, lib/maple_tree.c, v6.1
ASCENDING_SLOTS = MAPLE_RANGE64_SLOTS - 1  # what mas_push_data() leaves in the left node, lib/maple_tree.c
REPLAY_MAX = 256  # entries; assumed, so that counting a small tree takes 1 ms

# Mean slots per node by the entries of each extent, extents in random order, each ascending, from replay() of
# 400,000 entries and more. Around 14 and 29, extents fill whole leaves if all are of one length (14.7), and
# do not in a mixture (13.2); these are in between.
FILL = {1: 13.05, 8: 13.0, 12: 13.35, 14: 14.0, 15: 14.0, 16: 13.15, 24: 13.45, 28: 13.9, 30: 13.9,
        32: 13.15, 48: 13.75, 64: 14.1, 128: 14.35, 256: 14.6, 1024: 14.8, 16384: 14.92}

_FILL_LOG, _FILL_SLOTS = np.log(list(FILL)), np.array(list(FILL.values()))


# The split rule. All functions below bear the names of those in lib/maple_tree.c that they follow, v6.1 to
# v6.12. A node has no fewer than 7 slots here, so that nothing is ever rebalanced: entries only arrive.

class _Node:
    """A node: the last index of each slot, and its children; in a leaf, whether it holds an entry."""

    __slots__ = ("is_leaf", "last", "slot")

    def __init__(self, last: list[int], slot: list[Any], is_leaf: bool) -> None:
        self.last, self.slot, self.is_leaf = last, slot, is_leaf

    def __add__(self, right: _Node) -> _Node:
        return _Node(self.last + right.last, self.slot + right.slot, self.is_leaf)

    def cut(self, split: int) -> tuple[_Node, _Node]:
        """Two nodes; the left one ends with slot ``split``, or next to it where that slot is empty."""
        if self.is_leaf and not self.slot[split]:  # mab_no_null_split()
            room = split < MAPLE_RANGE64_SLOTS - 1 and len(self.last) - 1 - split > MIN_SLOTS
            split += 1 if room else -1
        at = split + 1
        return (_Node(self.last[:at], self.slot[:at], self.is_leaf),
                _Node(self.last[at:], self.slot[at:], self.is_leaf))


def replay(first: ArrayLike, last: ArrayLike | None = None) -> list[int]:
    """Nodes per level, leaves first, of a tree into which ranges were stored one by one.

    Exact: the nodes that mtree_store_range() of lib/maple_tree.c (v6.1 and v6.12) leaves, in a tree without
    flags. Time goes by entries, about 5 us each.

    Parameters
    ----------
    first, last : array_like of uint64, shape (n,)
        The ranges in the order of their insertion, each with its own value; they do not overlap. Without
        ``last``, single pfns.

    Returns
    -------
    list of int
        Empty where the tree needs no node: nothing stored, or one entry at index 0 alone.

    Examples
    --------
    >>> replay(range(4096)), replay([0]), replay([512], [1023])
    ([274, 19, 2, 1], [], [1])
    """
    low = as_pfns(first)
    high = low if last is None else as_pfns(last)
    if low.shape != high.shape:
        raise InputError(f"{low.size} firsts and {high.size} lasts do not pair up")
    root, nr_at_0 = None, 0
    for index, end in zip(low.tolist(), high.tolist(), strict=True):
        if end < index:
            raise InputError(f"range {index:#x}..{end:#x} is reversed; its last is before its first")
        if root is None and index == end == 0 and not nr_at_0:
            nr_at_0 = 1  # mas_store_root(): the entry itself is the root
            continue
        root = _store(root or _Node([0] * nr_at_0 + [MAX_PFN], [True] * nr_at_0 + [False], True), index, end)
    levels, row = [], [root] if root else []
    while row:
        levels.append(len(row))
        row = [] if row[0].is_leaf else [child for node in row for child in node.slot]
    return levels[::-1]


def _store(root: _Node, first: int, last: int) -> _Node:
    """mas_wr_store_entry() of an entry where there is none; gives the root."""
    path, node, start = [], root, 0
    while not node.is_leaf:
        at = bisect_left(node.last, first)
        start = node.last[at - 1] + 1 if at else start
        path.append((node, at))
        node = node.slot[at]
    at = bisect_left(node.last, first)
    start, end = node.last[at - 1] + 1 if at else start, node.last[at]
    if node.slot[at] or end < last:
        raise InputError(f"range {first:#x}..{last:#x} overlaps one stored before")
    before, after = first > start, last < end
    node.last[at:at + 1] = [first - 1] * before + [last] + [end] * after
    node.slot[at:at + 1] = [False] * before + [True] + [False] * after
    return root if len(node.last) <= MAPLE_RANGE64_SLOTS else _mas_split(root, path, node)


def _mas_split(root: _Node, path: list[tuple[_Node, int]], node: _Node) -> _Node:
    """Make two nodes of an overfull one, and so on up, unless a neighbour has room; gives the root."""
    while len(node.last) > MAPLE_RANGE64_SLOTS:
        split = (len(node.last) - 1) // 2  # mab_calc_split()
        if not path:
            left, right = node.cut(split)
            return _Node([left.last[-1], right.last[-1]], [left, right], False)
        parent, at = path.pop()
        if _mas_push_data(parent, at, at - 1) or _mas_push_data(parent, at, at + 1):
            return root
        left, right = node.cut(split)
        parent.slot[at:at + 1], parent.last[at:at + 1] = [left, right], [left.last[-1], right.last[-1]]
        node = parent
    return root


def _mas_push_data(parent: _Node, at: int, to: int) -> bool:
    """Move slots of an overfull child to the one beside it, if that has room."""
    if not 0 <= to < len(parent.slot):
        return False
    node, beside = parent.slot[at], parent.slot[to]
    space = 2 * MAPLE_RANGE64_SLOTS - 2 - node.is_leaf - (node.last[-1] == MAX_PFN)
    slot_total = len(node.last) - 1 + len(beside.last) - 1
    if slot_total >= space:
        return False
    split = MAPLE_RANGE64_SLOTS - 2
    left, right = (beside + node).cut(split) if to < at else (node + beside).cut(slot_total - split)
    low = min(at, to)
    parent.slot[low:low + 2], parent.last[low] = [left, right], left.last[-1]
    return True


# Without a replay: what the slots of all extents come to.

@dataclass(frozen=True)
class _Extents:
    """Stretches of entries without a gap between them, an empty slot before each one and behind the last."""

    entries: NDArray[np.float64]  # of each extent, in order of pfns; or of each kind of extent
    weight: NDArray[np.float64]  # extents of that kind
    at_0: bool = False  # no empty slot before the first
    at_max: bool = False  # none behind the last

    @classmethod
    def of(cls, pfns: PfnSet) -> _Extents:
        """Those of a set; where extents of different orders touch they are one here."""
        entries = ((pfns.last - pfns.first) >> pfns.order.astype(np.uint64)).astype(np.float64) + 1
        starts = np.concatenate(([True], pfns.first[1:] - pfns.last[:-1] > np.uint64(1)))
        if not starts.all():
            entries = np.add.reduceat(entries, np.flatnonzero(starts))
        return cls(entries, np.ones(entries.size), not pfns.first[0], pfns.max_pfn == MAX_PFN)

    @classmethod
    def expected(cls, scatter: Scatter) -> _Extents:
        """Those of an average placement: one run touches the next by chance, so their sizes are geometric."""
        nr_runs, nr_places = scatter.nr_runs, scatter.places.nr_pages
        touch = min((nr_runs - 1) / max(nr_places - 1, 1), 1 - 1e-9)
        weight = np.full(64, max(nr_runs * (1 - touch), scatter.places.nr_extents * touch, 1) / 64)
        runs = np.ones(64)
        if touch > 1e-9:
            runs = np.ceil(np.log1p(-(np.arange(64) + 0.5) / 64) / np.log(touch))
        return cls(runs * (scatter.nr_entries / (runs @ weight)), weight)

    @property
    def nr_slots(self) -> float:
        """Slots of all leaves."""
        return float(self.weight @ self.entries + self.weight.sum()) + 1 - self.at_0 - self.at_max

    def random(self) -> list[int]:
        """Nodes per level, leaves first; the extents came in random order."""
        added, weight = self.entries, self.weight  # to a level at a time by one extent
        if added.size == 1:
            return self.ascending()
        if added.size > 64:
            added, nr_same = np.unique(added, return_counts=True)
            weight = nr_same.astype(np.float64)
        levels, nr, gaps = [], self.nr_slots, 1
        while nr > MAPLE_RANGE64_SLOTS:
            fill = np.interp(np.log(np.maximum(added, 1)), _FILL_LOG, _FILL_SLOTS)
            added, gaps = (added + gaps) / fill, 0
            nr = max(2, round(float(weight @ added)))
            levels.append(nr)
        return [*levels, 1]

    def ascending(self) -> list[int]:
        """The same; everything came in ascending order. Exact, for extents in order of pfns."""
        # An overfull leaf pushes all but 15 slots to the right, or but 16 where the 15th is empty.
        empty = np.cumsum(self.entries + 1) - self.entries - 1 - self.at_0
        start = leaves = 0
        for at in empty[int(self.at_0):].astype(np.int64).tolist():
            if (at - start) % ASCENDING_SLOTS == ASCENDING_SLOTS - 1:
                leaves += (at - start) // ASCENDING_SLOTS + 1
                start = at + 2
        return _filled_up(leaves + _filled(int(self.nr_slots) - start))

    def mean_ascending(self) -> list[int]:
        """The same for kinds of extents: the leaves by a sample of them, in random sequence."""
        kinds = np.rint(np.repeat(self.entries, 16))
        sample = _Extents(np.random.default_rng(1).permutation(kinds), np.ones(kinds.size))
        return _filled_up(round(self.nr_slots * sample.ascending()[0] / sample.nr_slots))


def _filled(nr_slots: int) -> int:
    """Nodes for so many slots that come in ascending order; the last takes up to 16."""
    return max(-(-(nr_slots - 1) // ASCENDING_SLOTS), int(nr_slots > 0))


def _filled_up(leaves: int) -> list[int]:
    """The nodes of all levels above so many leaves, and those."""
    levels = [leaves]
    while levels[-1] > 1:
        levels.append(_filled(levels[-1]))
    return levels


class MapleTree(PfnMap):
    """lib/maple_tree.c, indexed by pfn; a folio is one range.

    Parameters
    ----------
    order : str
        How the entries came: ``"ascending"``, or ``"random"``, extents in random order.
    seed : int
        Of the random order in which a small tree is replayed.
    """

    name = "maple"
    title = "Maple tree"
    summary = "B-tree of ranges, 16 slots per 256-byte node; a folio is one range, a gap takes a slot too."
    source = "lib/maple_tree.c, v6.12; replayed counts equal those of the kernel's own code, v6.1"

    by_arrays = False  # a small tree is replayed, a large one counted level by level

    def __init__(self, order: str = "random", seed: int = 1) -> None:
        if order not in ("random", "ascending"):
            raise InputError(f"order of insertion {order!r} is neither 'random' nor 'ascending'")
        self.order, self.seed = order, seed

    def built_ascending(self) -> MapleTree:
        """This map with its entries stored in ascending order."""
        return MapleTree("ascending", self.seed)

    def counts(self, pfns: PfnSet, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """Exact for ascending insertion, else a model; ``span`` plays no part.

        Examples
        --------
        >>> dense = PfnSet.from_ranges([(0, 4096)])
        >>> MapleTree("ascending").counts(dense, KernelConfig()).nr_nodes
        296
        """
        if not pfns or (pfns.max_pfn == 0):
            return self._of([], pfns.nr_entries, kernel, exact=True)
        extents = _Extents.of(pfns)
        if self.order == "ascending":
            note = "exact for entries stored in ascending order"
            return self._of(extents.ascending(), pfns.nr_entries, kernel, exact=True, note=note)
        if pfns.nr_entries <= REPLAY_MAX:
            note = "the kernel's split rule replayed for one random order of insertion"
            return self._of(replay(*self._shuffled(pfns)), pfns.nr_entries, kernel, note=note)
        note = ("model of extents in random order, each ascending: within 2 % of lib/maple_tree.c, or 5 % "
                "if most have 13 to 15 or 28 to 31 entries; other orders take 20 % less to 15 % more")
        return self._of(extents.random(), pfns.nr_entries, kernel, note=note)

    def expected(self, scatter: Scatter, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """The model with the extents of an average placement; a small tree is drawn and replayed."""
        if scatter.nr_entries <= REPLAY_MAX:
            return replace(self.counts(scatter.draw(self.seed), kernel), exact=False)
        extents = _Extents.expected(scatter)
        levels = extents.mean_ascending() if self.order == "ascending" else extents.random()
        return self._of(levels, scatter.nr_entries, kernel, note=f"model of {self.order} order of insertion")

    def _shuffled(self, pfns: PfnSet) -> tuple[list[int], list[int]]:
        """First and last index of each entry: extents in random order, each ascending."""
        extents = list(pfns)
        order = np.random.default_rng(self.seed).permutation(len(extents)).tolist()
        entries = [(index, (1 << extents[nth][2]) - 1) for nth in order
                   for index in range(extents[nth][0], extents[nth][1] + 1, 1 << extents[nth][2])]
        return [index for index, _ in entries], [index + more for index, more in entries]

    def _of(self, levels: list[int], nr_entries: int, kernel: KernelConfig, *, exact: bool = False,
            note: str = "") -> MapCounts:
        size = sizeof_maple_node(kernel)
        node_bytes = sum(levels) * size
        # maple_tree_init() aligns each node to its size: its pointers carry type and slot, lib/maple_tree.c
        slab_bytes = SlabCache.of(size, kernel, align=size).slab_bytes(sum(levels))
        return MapCounts(
            map=self.name, exact=exact, nr_entries=nr_entries, nr_nodes=sum(levels), nodes_per_shift={},
            height=len(levels), node_bytes=node_bytes, slab_bytes=slab_bytes, bytes=slab_bytes,
            # per level the pivots, then the slot: mtree_range_walk(), lib/maple_tree.c, v6.12
            dependent_loads=max(2 * len(levels), int(nr_entries > 0)), note=note,
            parts={"maple_nodes": node_bytes, "slab waste": slab_bytes - node_bytes},
        )


def sizeof_maple_node(kernel: KernelConfig) -> int:
    """sizeof(struct maple_node): of the build where its layouts ship, else of mainline."""
    sizes = load_layouts(kernel.layouts)["sizes"] if kernel.layouts else {}
    return sizes.get("maple_node", SIZEOF_MAPLE_NODE)
