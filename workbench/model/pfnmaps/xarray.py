"""The XArray: a radix tree of xa_nodes, 64 slots each, as tall as its highest index needs.

Exact for single indices and for multi-order entries: up to the root, a node of shift s exists iff an entry of
its own level or of one below lies under it. {} has no node, and a lone index 0 sits in ``xa_head`` and needs
none. An entry of order o sits in a node of shift ``o - o % 6``, takes ``2**(o % 6)`` slots there, and has no
leaves below.

History matters in one way only, and :mod:`workbench.model.pfnmaps.ops` follows it: xa_store_range() can leave
the root one level above what the entries need. Left out: marks, and xa_alloc's tracking of free indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.model.kernel.config import KernelConfig
from workbench.model.kernel.slab import SlabCache
from workbench.model.memory.pfns import PfnSet, Scatter, group_sizes, most, rounded
from workbench.model.pfnmaps.base import MapCounts, PfnMap
from workbench.model.pfnmaps.walks import MapWalk, Touch, any_within, entry_at, member_offset


def needed_shift(max_index: int, chunk_shift: int = 6) -> int:
    """Shift of the lowest root whose node reaches ``max_index``: xas_expand(), lib/xarray.c, v6.12."""
    return max(0, max_index.bit_length() - 1) // chunk_shift * chunk_shift


def root_shift(pfns: PfnSet, chunk_shift: int = 6) -> int | None:
    """node->shift of the root; None where ``xa_head`` holds no node.

    Examples
    --------
    >>> root_shift(PfnSet.from_pfns([4095])), root_shift(PfnSet.from_pfns([0])) is None
    (6, True)
    >>> root_shift(PfnSet.from_pfns([0], order=12))    # one slot of a node at shift 12
    12
    """
    if not pfns.max_pfn:
        return None
    tallest = int(pfns.order.max())
    return max(needed_shift(pfns.max_pfn, chunk_shift), tallest - tallest % chunk_shift)


def entries_at_most(pfns: PfnSet, shift: int, chunk_shift: int = 6) -> PfnSet:
    """The entries that sit in nodes of that shift or below."""
    low = pfns.order < shift + chunk_shift
    return pfns if low.all() else PfnSet(pfns.first[low], pfns.last[low], pfns.order[low])


def nodes_per_shift(pfns: PfnSet, chunk_shift: int = 6, root: int | None = None) -> dict[int, int]:
    """Count the xa_nodes that hold a set of entries, level by level, leaves first.

    Parameters
    ----------
    pfns : PfnSet
        The entries; time goes by their extents.
    chunk_shift : int
        log2 of the slots per node (XA_CHUNK_SHIFT, include/linux/xarray.h, v6.12).
    root : int, optional
        node->shift of the root where it is taller than the entries need.

    Returns
    -------
    dict of int to int
        node->shift to nodes; only levels that have some.

    Examples
    --------
    >>> nodes_per_shift(PfnSet.from_pfns([0, 63, 64, 4095]))    # 3 leaves under one root
    {0: 3, 6: 1}
    >>> nodes_per_shift(PfnSet.from_pfns([1 << 27], order=9))    # no leaf: it sits at shift 6
    {6: 1, 12: 1, 18: 1, 24: 1}
    """
    tallest = max(-1 if shift is None else shift for shift in (root, root_shift(pfns, chunk_shift)))
    counts = {}
    for shift in range(0, tallest + 1, chunk_shift):
        nodes = entries_at_most(pfns, shift, chunk_shift).distinct_prefixes(shift + chunk_shift)
        if nodes:
            counts[shift] = nodes
    return counts


def occupancy(pfns: PfnSet, chunk_shift: int = 6, root: int | None = None) -> dict[int, dict[int, int]]:
    """How full the nodes are: node->shift to ``{node->count: nodes}``; siblings count as used slots.

    Examples
    --------
    >>> occupancy(PfnSet.from_pfns([0, 63, 64, 4095]))
    {0: {1: 2, 2: 1}, 6: {3: 1}}
    """
    used = {}
    for shift in nodes_per_shift(pfns, chunk_shift, root):
        slots = entries_at_most(pfns, shift, chunk_shift).prefixes(shift)
        nr_full, sizes = group_sizes(slots, chunk_shift)
        counts, nodes = np.unique(sizes, return_counts=True)
        used[shift] = dict(zip(counts.tolist(), nodes.tolist(), strict=True))
        if nr_full:
            used[shift][1 << chunk_shift] = nr_full
    return used


def expected_nodes_per_shift(scatter: Scatter, chunk_shift: int = 6) -> tuple[dict[int, Any], Any]:
    """Expected nodes per level, and expected height, over random placements of ``scatter``'s runs.

    Per level the exact mean; a partial run counts as if it began anywhere but at index 0.

    Examples
    --------
    >>> ram = PfnSet.from_ranges([(0, 1 << 28)])
    >>> nodes, height = expected_nodes_per_shift(Scatter(nr_pages=1000, within=ram))
    >>> round(sum(nodes.values())), height
    (2648, 5.0)
    """
    counts: dict[int, Any] = {}
    height: Any = 0.0
    if not most(scatter.nr_runs):
        return counts, height
    lowest = scatter.order - scatter.order % chunk_shift
    highest = max(needed_shift(scatter.within.max_pfn or 0, chunk_shift), lowest)
    run_shift = scatter.run_pages.bit_length() - 1
    for shift in range(0, highest + 1, chunk_shift):
        no_level: Any = 0.0  # chance that nothing reaches 2^shift: then the tree ends below this level
        if shift >= run_shift and (shift > lowest or not scatter.order):
            above = scatter.places.nr_pages_from(1 << shift - run_shift)
            chance = np.exp(scatter.log_chance_empty([above]))[..., 0]
            no_level = chance if chance.ndim else float(chance)
        height += 1 - no_level
        if shift >= lowest:  # without this level, everything has prefix 0 and was counted as one node
            counts[shift] = scatter.expected_prefixes(shift + chunk_shift) - no_level
    return counts, height


def xa_load(pfns: PfnSet, pfn: int, kernel: KernelConfig, root: int | None = None) -> MapWalk:
    """What xa_load() reads: xas_start() and xas_descend(), lib/xarray.c, v6.12.

    xa_head, then per level node->shift and the slot. It ends at the entry; at an entry of a larger order
    above the leaves, by way of a sibling where the slot is not the entry's first; at an empty slot; or at the
    root, which does not reach the index.

    Parameters
    ----------
    pfns : PfnSet
        The entries.
    pfn : int
        The index to look up.
    root : int, optional
        node->shift of the root where it is taller than the entries need.

    Examples
    --------
    >>> tree = PfnSet.from_pfns([0, 63, 64, 4095])
    >>> [xa_load(tree, pfn, KernelConfig()).nr_loads for pfn in (64, 65, 128, 4096)]
    [5, 5, 3, 2]
    """
    chunk, needed = kernel.xa_chunk_shift, root_shift(pfns, kernel.xa_chunk_shift)
    top = max((shift for shift in (root, needed) if shift is not None), default=None)
    head = member_offset(kernel, "xarray", "xa_head", 8)  # include/linux/xarray.h, v6.12
    slots = member_offset(kernel, "xa_node", "slots", 40)  # the same
    entry, touches = entry_at(pfns, pfn), []
    if top is None:
        gives = "the entry" if entry else "the entry of index 0" if pfns else "NULL"
        touches.append(Touch("struct xarray", "xa_head", head, gives))
        return MapWalk("xarray", pfn, tuple(touches), bool(entry))
    touches.append(Touch("struct xarray", "xa_head", head, f"the root, shift {top}"))
    for shift in range(top, -1, -chunk):
        node = f"xa_node, shift {shift}, number {pfn >> shift + chunk:#x}"
        slot, beyond = pfn >> shift & (1 << chunk) - 1, bool(shift == top and pfn >> shift + chunk)
        if beyond:
            node = f"xa_node, shift {shift}, number 0x0"
        touches.append(Touch(node, "shift", 0, "the index lies beyond" if beyond else f"{shift}",
                             kernel.xa_node_object_bytes, shift=shift))
        if beyond:
            break
        found = _in_slot(pfns, pfn, shift, entry, chunk)
        reads = [(slot, found)]
        if entry and found == "the entry" and (first := entry[0] >> shift & (1 << chunk) - 1) != slot:
            reads = [(slot, f"a sibling of slot {first}"), (first, found)]
        touches += [Touch(node, f"slots[{at}]", slots + 8 * at, gives, kernel.xa_node_object_bytes, at,
                          1 << chunk, shift) for at, gives in reads]
        if found != "a node":
            break
    return MapWalk("xarray", pfn, tuple(touches), touches[-1].found == "the entry")


def _in_slot(pfns: PfnSet, pfn: int, shift: int, entry: tuple[int, int] | None, chunk_shift: int) -> str:
    """What the slot for a pfn holds in a node of that shift that exists."""
    if entry and entry[1] - entry[1] % chunk_shift == shift:
        return "the entry"
    first = pfn >> shift << shift
    return "a node" if shift and any_within(pfns, first, first + (1 << shift) - 1) else "NULL"


def slots_used(pfns: PfnSet, pfn: int, shift: int, chunk_shift: int = 6) -> list[bool]:
    """Which slots hold something in the node of that shift over a pfn.

    Examples
    --------
    >>> [slot for slot, used in enumerate(slots_used(PfnSet.from_pfns([3, 5, 70]), 3, 0)) if used]
    [3, 5]
    """
    low = pfn >> shift + chunk_shift << shift + chunk_shift
    return [any_within(pfns, low + (slot << shift), low + (slot + 1 << shift) - 1)
            for slot in range(1 << chunk_shift)]


class XArray(PfnMap):
    """lib/xarray.c, indexed by pfn; a folio is one multi-order entry."""

    name = "xarray"
    title = "XArray"
    summary = "Radix tree of 64-slot nodes; a folio is one multi-order entry."
    source = "lib/xarray.c, v6.12; counts equal those of the kernel's own code"

    grows = True

    def node_shifts(self, kernel: KernelConfig) -> tuple[int, ...]:
        return tuple(range(kernel.xa_chunk_shift, 64, kernel.xa_chunk_shift))

    def node_slab(self, kernel: KernelConfig) -> tuple[int, int]:
        cache = SlabCache.xa_node(kernel)
        return cache.objects_per_slab, cache.slab_bytes(1)

    def of_nodes_per_level(self, nodes: Sequence[int], nr_entries: int, kernel: KernelConfig, *,
                           span: int) -> MapCounts:
        per_shift = {level * kernel.xa_chunk_shift: nr for level, nr in enumerate(nodes) if nr}
        return self._of(per_shift, len(per_shift), nr_entries, kernel, exact=True, multi=False)

    def counts(self, pfns: PfnSet, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """Exact. ``span`` plays no part: the tree is as tall as its highest index needs.

        Examples
        --------
        >>> XArray().counts(PfnSet.from_ranges([(0, 4096)]), KernelConfig()).bytes    # 65 nodes, 14 a slab
        40960
        """
        return self.of_nodes(pfns, kernel, root_shift(pfns, kernel.xa_chunk_shift))

    def walk(self, pfns: PfnSet, pfn: int, kernel: KernelConfig, *, span: int | None = None) -> MapWalk:
        return xa_load(pfns, pfn, kernel)

    def of_nodes(self, pfns: PfnSet, kernel: KernelConfig, root: int | None) -> MapCounts:
        """The same for a tree whose root, for its history, is taller than the entries need."""
        height = 0 if root is None else root // kernel.xa_chunk_shift + 1
        return self._of(nodes_per_shift(pfns, kernel.xa_chunk_shift, root), height, pfns.nr_entries, kernel,
                        exact=True, multi=bool(pfns.order.any()))

    def expected(self, scatter: Scatter, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """The mean node count of each level, rounded; see :func:`expected_nodes_per_shift`."""
        nodes, height = expected_nodes_per_shift(scatter, kernel.xa_chunk_shift)
        whole = {shift: rounded(count) for shift, count in nodes.items()}
        whole = {shift: count for shift, count in whole.items() if most(count)}
        return self._of(whole, rounded(height), scatter.nr_entries, kernel, exact=False,
                        multi=scatter.order > 0)

    def _of(self, nodes: Mapping[int, Any], height: Any, nr_entries: Any, kernel: KernelConfig, *,
            exact: bool, multi: bool) -> MapCounts:
        nr_nodes = sum(nodes.values())
        node_bytes = nr_nodes * kernel.sizeof_xa_node
        slab_bytes = SlabCache.xa_node(kernel).slab_bytes(nr_nodes)
        note = "" if exact else "mean over random placements, each level rounded"
        if multi:
            note += "; " * bool(note) + ("a multi-order entry takes two loads fewer for each level that is "
                                         "not below it, and one more where its slot is a sibling's")
        return MapCounts(
            map=self.name, exact=exact, nr_entries=nr_entries, nr_nodes=nr_nodes, nodes_per_shift=nodes,
            height=height, node_bytes=node_bytes, slab_bytes=slab_bytes, bytes=slab_bytes,
            dependent_loads=(nr_entries > 0) * (1 + 2 * height), note=note,
            parts={"xa_nodes": node_bytes, "slab waste": slab_bytes - node_bytes},
        )
