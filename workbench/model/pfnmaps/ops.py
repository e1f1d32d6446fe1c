"""Ops files: what was stored into and erased from a map, replayed as lib/xarray.c would do it.

A file is a JSON list of ops, or an object that has one under ``"ops"``, or a ``.npy`` of uint64 pfns. It is
data only; nothing in it is evaluated. The ops::

    {"op": "store", "start": 0, "count": 100, "stride": 1}         indices start, start + stride, ...
    {"op": "erase", "start": 0, "count": 100, "stride": 1}
    {"op": "store_order", "start": 512, "count": 1, "stride": 512, "order": 9}    entries of 2^order pages
    {"op": "store_range", "first": 100, "last": 10000}             xa_store_range()
    {"op": "store_draw", "seed": 1, "low": 0, "high": 4096, "size": 10}           NumPy's default_rng
    {"op": "store_runs", "starts": [0, 64], "lengths": [8, 8]}     and "erase_runs"
    {"op": "checkpoint", "label": "full"}                          keep the state; the end is "final"

Exact, for histories too: storing or erasing inside a multi-index entry acts on the whole of it, a larger
entry replaces what it covers, and a range is cut into pieces as xas_set_range() cuts it, which need not be
powers of two. Where pieces of one level overlap in part, the kernel moves the new one to the start of the
old; so does this. Bulk ops cost time by extents, strided ones by entries. Left out: marks, and a range that
ends at index 2^64-1, on which xa_store_range() never returns.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import MAX_ORDER, MAX_PFN, U64, PfnSet, sorted_unique
from workbench.model.pfnmaps.base import MapCounts, PfnMap
from workbench.model.pfnmaps.xarray import (
    XArray,
    entries_at_most,
    needed_shift,
    nodes_per_shift,
    occupancy,
    root_shift,
)

MAX_EXPANDED = 1 << 24  # entries of one op that are no extent; assumed, to bound memory near 1 GiB
MAX_EXTENTS = 1 << 25  # of all ops together; assumed, for the same
MAX_PFNS = 1 << 27  # of a .npy; the same
VALUE_MODULUS = 1 << 61  # the golden file's values are kept modulo this

Piece = tuple[int, int, int]  # first and last index of an entry, node->shift of the node it sits in
Hits = list[tuple[Piece, int]]  # the entries that took a value, and the index for which they did


@dataclass(frozen=True)
class Entries:
    """What a replay leaves: entries, and how tall the tree is.

    Parameters
    ----------
    aligned : PfnSet
        Entries that are naturally aligned blocks of ``2**order`` pages; single indices among them.
    odd : PfnSet
        Pieces of ranges that are not: each extent is one entry, its order the shift of its slots.
    root : int, optional
        node->shift of the root; None where ``xa_head`` holds no node.
    chunk_shift : int
        XA_CHUNK_SHIFT, which decided how ranges were cut.
    ascending : bool
        They were stored in ascending order and nothing was erased: a maple tree depends on it.

    Examples
    --------
    >>> entries = replay([{"op": "store_range", "first": 100, "last": 10000}]).final
    >>> entries.nr_entries, entries.nodes_per_shift, entries.height
    (5, {0: 2, 6: 2, 12: 1}, 3)
    """

    aligned: PfnSet = field(default_factory=PfnSet.empty)
    odd: PfnSet = field(default_factory=PfnSet.empty)
    root: int | None = None
    chunk_shift: int = 6
    ascending: bool = False

    @property
    def nr_entries(self) -> int:
        """Entries, however many slots each takes."""
        return self.aligned.nr_entries + self.odd.nr_extents

    @functools.cached_property
    def slots(self) -> PfnSet:
        """The same pages, odd pieces as one entry per slot: these have the same nodes."""
        return self.aligned | self.odd if self.odd else self.aligned

    @functools.cached_property
    def pfns(self) -> PfnSet:
        """The same pages, odd pieces cut into naturally aligned entries: what another map would hold."""
        cut = [block for first, last, _ in self.odd for block in _aligned_blocks(first, last)]
        return self.aligned | _from_rows(cut) if cut else self.aligned

    @property
    def height(self) -> int:
        """Levels of xa_nodes."""
        return 0 if self.root is None else self.root // self.chunk_shift + 1

    @functools.cached_property
    def nodes_per_shift(self) -> dict[int, int]:
        """node->shift to nodes."""
        return nodes_per_shift(self.slots, self.chunk_shift, self.root)

    @property
    def nr_nodes(self) -> int:
        """All xa_nodes."""
        return sum(self.nodes_per_shift.values())

    @property
    def occupancy(self) -> dict[int, dict[int, int]]:
        """node->shift to ``{node->count: nodes}``."""
        return occupancy(self.slots, self.chunk_shift, self.root)

    def counts(self, pfn_map: PfnMap, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """The counts of any map that holds these entries; of an XArray also by its history."""
        if isinstance(pfn_map, XArray):
            return replace(pfn_map.of_nodes(self.slots, kernel, self.root), nr_entries=self.nr_entries)
        if self.ascending:
            pfn_map = pfn_map.built_ascending()
        return pfn_map.counts(self.pfns, kernel, span=span)

    def at(self, index: int) -> Piece | None:
        """The entry that holds an index."""
        for pfns in (self.odd, self.aligned):
            nth = int(np.searchsorted(pfns.first, np.uint64(index), side="right")) - 1
            if nth >= 0 and index <= pfns.last[nth]:
                order = int(pfns.order[nth])
                if pfns is self.odd:
                    return int(pfns.first[nth]), int(pfns.last[nth]), order
                first = index >> order << order
                return first, first + (1 << order) - 1, order - order % self.chunk_shift
        return None

    def node_sets(self) -> dict[int, PfnSet]:
        """node->shift to the prefixes of its nodes."""
        return {shift: entries_at_most(self.slots, shift, self.chunk_shift).prefixes(shift + self.chunk_shift)
                for shift in self.nodes_per_shift}


# The tree's operations: each takes what is there and gives what is there then. Every op first becomes a
# PfnSet or pieces, so that a bulk op is a few set operations.

def _grown(entries: Entries, max_index: int) -> int | None:
    """Shift of the root once the tree reaches an index: xas_expand(), lib/xarray.c, v6.12."""
    if not max_index:
        return entries.root
    return max(entries.root or 0, needed_shift(max_index, entries.chunk_shift))


def _xas_max(first: int, last: int) -> int:
    """The index that the tree must reach for a multi-index entry: xas_max(), lib/xarray.c, v6.12."""
    mask = last - first
    return (first | mask) + (mask == first | mask if mask else 0)


def _multi(entries: Entries, within: PfnSet) -> PfnSet:
    """The pages of ``within`` that multi-index entries hold."""
    aligned, several = entries.aligned, entries.aligned.order > 0
    multi = PfnSet(aligned.first[several], aligned.last[several], aligned.order[several])
    return (multi | entries.odd).flat() & within if several.any() or entries.odd else PfnSet.empty()


def _store(entries: Entries, singles: PfnSet) -> Entries:
    """xa_store() of each index; inside a multi-index entry it only replaces that entry's value."""
    if not singles:
        return entries
    return replace(entries, aligned=entries.aligned | (singles - _multi(entries, singles)),
                   root=_grown(entries, singles.max_pfn or 0))


def _erase(entries: Entries, singles: PfnSet) -> Entries:
    """xa_erase() of each index, and with it of the whole entry that holds it."""
    hit = _multi(entries, singles)
    aligned = entries.aligned
    for order in np.unique(aligned.order[aligned.order > 0]).tolist() if hit else ():
        same = aligned.order == order
        pages = PfnSet(aligned.first[same], aligned.last[same], np.zeros(np.count_nonzero(same), np.uint8))
        aligned = aligned - (pages & hit).with_order(order)
    odd = entries.odd
    if odd and hit:
        kept = ~_overlaps(odd, hit)
        odd = PfnSet(odd.first[kept], odd.last[kept], odd.order[kept])
    left = replace(entries, aligned=aligned - singles, odd=odd)
    # xas_shrink() runs when a slot of the root empties. A root taller than needed has one slot, so it stays.
    taller = entries.root != root_shift(entries.slots, entries.chunk_shift)
    root = entries.root if taller and left.slots else root_shift(left.slots, left.chunk_shift)
    return replace(left, root=root)


def _overlaps(pfns: PfnSet, other: PfnSet) -> Any:
    """For each extent of ``pfns``, whether it has a page of ``other``."""
    nth = np.searchsorted(other.last, pfns.first)
    return (nth < other.nr_extents) & (other.first[np.minimum(nth, other.nr_extents - 1)] <= pfns.last)


def _store_order(entries: Entries, new: PfnSet) -> tuple[Entries, PfnSet, Hits]:
    """A multi-order store of each entry of ``new``, all of one order."""
    hits: Hits = []
    if not new or not new.order[0]:
        return _store(entries, new), new, hits
    order = int(new.order[0])
    if entries.odd:  # these may overlap in part: one by one
        beside = (entries.odd.flat() & new).with_order(order)
        for block in beside.prefixes(order).to_pfns(MAX_EXPANDED).tolist():
            first, shift = block << order, order - order % entries.chunk_shift
            entries, stored = _put(entries, (first, first + (1 << order) - 1, shift))
            hits.append((stored, first))
        new = new - beside
    if not new:
        return entries, new, hits
    reach = max(new.max_pfn or 0, 0 if new.first[0] else _xas_max(0, (1 << order) - 1))
    return replace(entries, aligned=entries.aligned | new, root=_grown(entries, reach)), new, hits


def _put(entries: Entries, piece: Piece) -> tuple[Entries, Piece]:
    """xas_store() of one entry of several slots; also the entry that took the value."""
    first, last, shift = piece
    root = _grown(entries, _xas_max(first, last))
    there = entries.at(first)
    if there and there[2] > shift:  # xas_create() stops at the larger entry
        return replace(entries, root=root), there
    if there and there[2] == shift:  # xas_descend() goes to the head of the entry whose sibling is there
        first, last = there[0], there[0] + last - first
    over = entries.at(last)
    if over and over[2] == shift and over[1] > last:  # its other siblings now lead to the new head
        last = over[1]
    return replace(_placed(entries, [(first, last, shift)]), root=root), (first, last, shift)


def _placed(entries: Entries, pieces: list[Piece]) -> Entries:
    """The entries with these neighbouring pieces in place of whatever was there."""
    gone = PfnSet.from_extents([pieces[0][0]], [pieces[-1][1]])
    aligned, odd = entries.aligned - gone, entries.odd
    whole, other = [], []
    for first, last, shift in pieces:
        nr = last - first + 1
        slots = nr >> shift
        if slots.bit_count() == 1 and slots < 1 << entries.chunk_shift and first % nr == 0:
            whole.append((first, last, nr.bit_length() - 1))
        else:
            other.append((first, last, shift))
    if whole:
        aligned = aligned | _from_rows(whole)
    kept = ~_overlaps(odd, gone)
    if other or not kept.all():
        rows = sorted([*PfnSet(odd.first[kept], odd.last[kept], odd.order[kept]), *other])
        columns = zip(*rows, strict=True) if rows else ((), (), ())
        odd = PfnSet(*map(np.array, columns, (np.uint64, np.uint64, np.uint8)))
    return replace(entries, aligned=aligned, odd=odd)


def _store_range(entries: Entries, first: int, last: int) -> tuple[Entries, Hits]:
    """xa_store_range(), lib/xarray.c, v6.12."""
    order = (last + 1 & -(last + 1)).bit_length() - 1
    block = last >> order << order  # it first makes way for the largest entry that could end at last
    entries = replace(entries, root=_grown(entries, _xas_max(block, block + (1 << order) - 1)))
    index, pieces, hits = first, [], []
    if not _multi(entries, PfnSet.from_extents([first], [last])):
        while index <= last:
            pieces.append(xas_set_range(index, last, entries.chunk_shift))
            index = pieces[-1][1] + 1
        root = _grown(entries, max(_xas_max(*piece[:2]) for piece in pieces))
        return replace(_placed(entries, pieces), root=root), [(piece, first) for piece in pieces]
    while index <= last:
        piece, there = xas_set_range(index, last, entries.chunk_shift), entries.at(index)
        entries, stored = _put(entries, piece)
        hits.append((stored, first))
        if there and there[2] > piece[2]:  # the kernel goes on inside the larger entry, with no effect
            index = (index >> there[2]) + 1 << there[2]
        else:
            index = piece[1] + 1
    return entries, hits


def xas_set_range(first: int, last: int, chunk_shift: int = 6) -> Piece:
    """The first piece of a range, as xas_set_range() cuts it: lib/xarray.c, v6.12.

    Examples
    --------
    >>> xas_set_range(100, 10000), xas_set_range(128, 10000)
    ((100, 127, 0), (128, 4095, 6))
    """
    mask = (1 << chunk_shift) - 1
    start, shift, sibs, offset = first, 0, last - first, mask
    while start & mask == 0:
        if sibs < mask or (sibs == mask and offset < mask):
            break
        shift += chunk_shift
        if offset == mask:
            offset = sibs & mask
        sibs >>= chunk_shift
        start >>= chunk_shift
    sibs = min(sibs, mask - (start & mask))
    if (start + sibs + 1 << shift) - 1 > last:
        sibs -= 1
    return first, first + (sibs + 1 << shift) - 1, shift


def _from_rows(rows: Iterable[tuple[int, int, int]]) -> PfnSet:
    return PfnSet.from_extents(*map(list, zip(*rows, strict=True)))


def _aligned_blocks(first: int, last: int) -> Iterable[tuple[int, int, int]]:
    """A range as naturally aligned blocks ``(first, last, order)``, as large as they go."""
    while first <= last:
        aligned = (first & -first).bit_length() - 1 if first else MAX_ORDER
        order = min((last - first + 1).bit_length() - 1, aligned)
        yield first, first + (1 << order) - 1, order
        first += 1 << order


# Replay

@dataclass(frozen=True)
class Replay:
    """Every kept state of a replay by its label, ``"final"`` among them."""

    checkpoints: Mapping[str, Entries]
    loads: Mapping[int, int]  # for each probed index, the value there at the end; 0 where there is none
    allocated: Mapping[str, int]  # nodes allocated up to each label, and freed; empty where not tracked
    freed: Mapping[str, int]

    @property
    def final(self) -> Entries:
        """The state after the last op."""
        return self.checkpoints["final"]


def replay(ops: Iterable[Any], *, chunk_shift: int = 6, probes: Iterable[int] = (), track: bool = False,
           file: str | os.PathLike[str] | None = None, where: str = "") -> Replay:
    """Do the ops one after the other.

    Parameters
    ----------
    ops : iterable of dict
        As the module's docstring says; anything else is an InputError that names the op, counted from 1.
    chunk_shift : int
        XA_CHUNK_SHIFT.
    probes : iterable of int
        Indices whose value at the end is wanted: index + 1 for what a store left, first + 1 for a range,
        and for a store_order the how-manieth of its entries it was.
    track : bool
        Count allocated and freed nodes; this costs a few set operations per op.
    file, where
        What an InputError names.

    Examples
    --------
    >>> done = replay([{"op": "store_order", "start": 512, "count": 2, "stride": 512, "order": 9},
    ...                {"op": "erase", "start": 600, "count": 1, "stride": 1}], probes=[600, 1024])
    >>> done.loads, done.final.nodes_per_shift
    ({600: 0, 1024: 2}, {6: 1})
    """
    entries = Entries(chunk_shift=chunk_shift)
    kept: dict[str, Entries] = {}
    loads = dict.fromkeys(probes, 0)
    allocated: dict[str, int] = {}
    freed: dict[str, int] = {}
    nr_allocated = nr_freed = 0
    for nth, op in enumerate(ops, 1):
        try:
            todo = _read_op(op)
            if isinstance(todo, str):
                if todo in kept or todo == "final":
                    raise InputError(f"label {todo!r} is taken")
                kept[todo], allocated[todo], freed[todo] = entries, nr_allocated, nr_freed
                continue
            before = entries
            entries, stored, hits = todo.apply(before)
            if entries.aligned.nr_extents > MAX_EXTENTS:
                raise InputError(f"{entries.aligned.nr_extents} extents; the limit is {MAX_EXTENTS}")
        except InputError as error:
            raise InputError(str(error), file=file, place=f"{where}op {nth}") from None
        for index in loads:
            here = entries.at(index)
            hit = _last_hit(stored, hits, here) if here else None
            loads[index] = 0 if not here else loads[index] if hit is None else todo.value(hit)
        if track:
            gone = before.nr_nodes - entries.nr_nodes
            lost = _nr_lost(before, entries) if todo.may_replace else max(0, gone)
            nr_freed += lost
            nr_allocated += lost - gone
    kept["final"], allocated["final"], freed["final"] = entries, nr_allocated, nr_freed
    return Replay(kept, loads, allocated if track else {}, freed if track else {})


def _nr_lost(before: Entries, after: Entries) -> int:
    """Nodes that a larger entry replaced, also such as xas_expand() had just put above the old root."""
    now, none = after.node_sets(), PfnSet.empty()
    lost = sum((nodes - now.get(shift, none)).nr_pages for shift, nodes in before.node_sets().items())
    if not before.slots or after.root is None:
        return lost
    above = 0 if before.root is None else before.root + before.chunk_shift
    return lost + sum(not now.get(shift, none).contains([0])[0]
                      for shift in range(above, after.root, after.chunk_shift))


@dataclass(frozen=True)
class _Op:
    """One op, understood."""

    apply: Callable[[Entries], tuple[Entries, PfnSet, Hits]]  # also the indices that took a value, and hits
    value: Callable[[int], int] = lambda index: 0  # what is stored for an index
    may_replace: bool = False  # whether it can replace nodes by a larger entry


def _last_hit(stored: PfnSet, hits: Hits, entry: Piece) -> int | None:
    """The last index for which an entry took a value; they come in ascending order."""
    nth = int(np.searchsorted(stored.first, np.uint64(entry[1]), side="right")) - 1
    found = [index for (first, last, _), index in hits if first <= entry[1] and entry[0] <= last]
    if nth >= 0 and stored.last[nth] >= entry[0]:
        found.append(min(int(stored.last[nth]), entry[1]))
    return max(found, default=None)


def _index_value(index: int) -> int:
    """What the golden file's driver stores at an index."""
    return 1 if index == MAX_PFN else (index + 1) % VALUE_MODULUS


# Reading: every op is checked here, and nowhere else

_KEYS = {
    "store": {"start", "count", "stride"}, "erase": {"start", "count", "stride"},
    "store_order": {"start", "count", "stride", "order"}, "store_range": {"first", "last"},
    "store_draw": {"seed", "low", "high", "size"}, "store_runs": {"starts", "lengths"},
    "erase_runs": {"starts", "lengths"}, "checkpoint": {"label"},
}
_OPTIONAL = {"store_draw": {"n", "sha256_le_u64"}}


def _read_op(op: Any) -> _Op | str:
    """An op as what it does, or the label of a checkpoint."""
    if not isinstance(op, dict):
        raise InputError(f"{op!r} is no object with an \"op\"")
    kind = op.get("op")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise InputError(f"op {kind!r} is none of {', '.join(_KEYS)}")
    given, wanted = set(op) - {"op"}, _KEYS[kind]
    if wanted - given or given - wanted - _OPTIONAL.get(kind, set()):
        raise InputError(f"{kind} has the keys {', '.join(sorted(given)) or 'none'}; it needs "
                         f"{', '.join(sorted(wanted))} and no others")
    if kind == "checkpoint":
        if not isinstance(op["label"], str):
            raise InputError(f"label {op['label']!r} is no text")
        return op["label"]
    if kind == "store_range":
        first, last = _int(op, "first"), _int(op, "last")
        if last < first:
            raise InputError(f"range {first}..{last} is reversed")
        if last == MAX_PFN:
            raise InputError(f"last {last} is the last index, on which xa_store_range() never returns")
        def store_range(entries: Entries) -> tuple[Entries, PfnSet, Hits]:
            entries, hits = _store_range(entries, first, last)
            return entries, PfnSet.empty(), hits
        return _Op(store_range, _index_value, may_replace=True)
    if kind == "store_order":
        order = _int(op, "order", MAX_ORDER)
        new, start, stride = _progression(op, order), op["start"], op["stride"] or 1
        return _Op(lambda entries: _store_order(entries, new), may_replace=True,
                   value=lambda index: ((index >> order << order) - start) // stride + 1)
    if kind == "store_draw":
        singles = _drawn(op)
    else:
        singles = _runs(op) if kind.endswith("_runs") else _progression(op, 0)
    if kind.startswith("erase"):
        return _Op(lambda entries: (_erase(entries, singles), PfnSet.empty(), []))
    return _Op(lambda entries: (_store(entries, singles), singles, []), _index_value)


def _int(op: Mapping[str, Any], key: str, most: int = MAX_PFN) -> int:
    return _checked(op[key], key, most)


def _checked(value: Any, what: str, most: int = MAX_PFN) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{what} {value!r} is not an integer")
    if not 0 <= value <= most:
        raise InputError(f"{what} {value} is outside 0..{'2^64-1' if most == MAX_PFN else most}")
    return value


def _progression(op: Mapping[str, Any], order: int) -> PfnSet:
    """Entries of one order at start, start + stride, ...: one extent where they touch, else expanded."""
    start, count, stride = _int(op, "start"), _int(op, "count"), _int(op, "stride")
    size = 1 << order
    if not count:
        return PfnSet.empty()
    if not stride and count > 1:
        raise InputError(f"stride 0 with count {count} names one index again and again")
    if start % size or (count > 1 and stride % size):
        raise InputError(f"start {start} and stride {stride} are no multiples of an entry's 2^{order} pages")
    last = start + (count - 1) * stride + size - 1
    if last > MAX_PFN:
        raise InputError(f"the last index of {count} from {start} by {stride} is {last}, past 2^64-1")
    if stride == size or count == 1:
        return PfnSet.from_extents([start], [last], order)
    if count > MAX_EXPANDED:
        raise InputError(f"count {count} with stride {stride} is too many apart; the limit is {MAX_EXPANDED}")
    nth: U64 = np.arange(count, dtype=np.uint64)
    return PfnSet.from_pfns(np.uint64(start) + nth * np.uint64(stride), order)


def _drawn(op: Mapping[str, Any]) -> PfnSet:
    """NumPy's uniform draw, and whether it is the one that the file means."""
    seed, low, size = _int(op, "seed"), _int(op, "low"), _int(op, "size", MAX_EXPANDED)
    high = _int(op, "high", MAX_PFN + 1)
    if low >= high:
        raise InputError(f"low {low} is not below high {high}")
    drawn = sorted_unique(np.random.default_rng(seed).integers(low, high, size=size, dtype=np.uint64))
    if "n" in op and _int(op, "n") != drawn.size:
        raise InputError(f"seed {seed} draws {drawn.size} different indices, not {op['n']}; another NumPy?")
    digest = hashlib.sha256(drawn.astype("<u8").tobytes()).hexdigest()
    if op.get("sha256_le_u64", digest) != digest:
        raise InputError(f"seed {seed} draws indices of sha256 {digest}, not {op['sha256_le_u64']!r}; "
                         "another NumPy?")
    return PfnSet.from_pfns(drawn)


def _runs(op: Mapping[str, Any]) -> PfnSet:
    starts, lengths = op["starts"], op["lengths"]
    if not isinstance(starts, list) or not isinstance(lengths, list) or len(starts) != len(lengths):
        raise InputError("starts and lengths must be lists of the same length")
    first, last = [], []
    for start, length in zip(starts, lengths, strict=True):
        if _checked(start, "start") + _checked(length, "length") - 1 > MAX_PFN:
            raise InputError(f"the run of {length} from {start} goes past 2^64-1")
        if length:
            first.append(start)
            last.append(start + length - 1)
    if not first:
        return PfnSet.empty()
    low, high = np.array(first, np.uint64), np.array(last, np.uint64)
    by_first = np.argsort(low)
    low, high = low[by_first], np.maximum.accumulate(high[by_first])
    starts_new = np.concatenate(([True], low[1:] > high[:-1]))  # runs may overlap
    return PfnSet.from_extents(low[starts_new], high[np.append(starts_new[1:], True)])


def read_ops(path: str | os.PathLike[str]) -> list[Any] | U64:
    """What is in an ops file: a list of ops, yet unchecked, or an array of pfns."""
    path = Path(path)
    try:
        with path.open("rb") as stream:
            magic = stream.read(6)
        if magic == b"\x93NUMPY" or path.suffix == ".npy":
            return _read_npy(path)
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, numbers of thousands of digits
        raise InputError(f"is no JSON: {error}", file=path) from None
    ops = content.get("ops") if isinstance(content, dict) else content
    if not isinstance(ops, list):
        raise InputError(f"holds a JSON {type(content).__name__} and no list of ops", file=path)
    return ops


def _read_npy(path: Path) -> U64:
    try:
        with np.errstate(over="ignore"):  # a shape whose size overflows does not fit the file either
            pfns = np.lib.format.open_memmap(path, mode="r")  # never unpickles
    except Exception as error:  # its header is Python text, and broken text raises some ten kinds
        raise InputError(f"is no array of numbers in NumPy's format: {error}", file=path) from None
    if pfns.size > MAX_PFNS:
        raise InputError(f"holds {pfns.size} pfns; the limit is {MAX_PFNS}", file=path)
    if pfns.dtype.newbyteorder("=") != np.uint64 or pfns.ndim != 1:
        raise InputError(f"holds {pfns.dtype} of shape {pfns.shape}; pfns are uint64 in one row", file=path)
    return np.array(pfns, dtype=np.uint64)


def load_entries(path: str | os.PathLike[str], kernel: KernelConfig) -> Entries:
    """Replay an ops file; ``Entries.counts`` then counts any map that holds the outcome."""
    ops = read_ops(path)
    if isinstance(ops, np.ndarray):
        pfns = PfnSet.from_pfns(ops)
        return Entries(pfns, root=root_shift(pfns, kernel.xa_chunk_shift), chunk_shift=kernel.xa_chunk_shift,
                       ascending=bool((ops[1:] > ops[:-1]).all()))
    final = replay(ops, chunk_shift=kernel.xa_chunk_shift, file=path).final
    return replace(final, ascending=_ascending(ops))


def _ascending(ops: list[Any]) -> bool:
    """Whether checked ops only store, each above the one before it."""
    reached = -1
    for op in ops:
        match op["op"]:
            case "store" | "store_order":
                low, high = op["start"], op["start"] + (op["count"] - 1) * op["stride"]
            case "store_draw":
                low, high = op["low"], op["high"] - 1
            case "store_range":
                low, high = op["first"], op["last"]
            case "store_runs" if op["starts"]:
                low, high = op["starts"][0], op["starts"][-1] + op["lengths"][-1] - 1
                if any(b <= a for a, b in itertools.pairwise(op["starts"])):
                    return False
            case "checkpoint" | "store_runs":
                continue
            case _:
                return False
        if low <= reached:
            return False
        reached = high
    return True


# The golden file

def verify(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Replay each case of a golden file and compare with the kernel's own answers.

    Returns
    -------
    dict
        ``cases`` and ``passed``, counts; ``failed``, names; ``differences``, name to what differs first.
    """
    path = Path(path)
    try:
        golden = json.loads(path.read_bytes())
        node_bytes, cases = golden.get("node_bytes", KernelConfig().sizeof_xa_node), golden["cases"]
        named = [(str(case["name"]), case["ops"], case["answer"]) for case in cases]
        _checked(node_bytes, "node_bytes", 1 << 20)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from None
    except InputError as error:
        raise InputError(str(error), file=path) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON: {error}", file=path) from None
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"is no list of cases with name, ops and answer: {error!r}", file=path) from None
    differences = {}
    for name, ops, answer in named:
        try:
            found = _differences(ops, answer, node_bytes, path, name)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"answer of another form: {error!r}", file=path, place=f"case {name}") from None
        if found:
            differences[name] = found
    return {"cases": len(named), "passed": len(named) - len(differences), "failed": list(differences),
            "differences": differences}


def _differences(ops: Any, answer: Mapping[str, Any], node_bytes: int, file: Path, name: str) -> str:
    """The first thing in which a case's answer is not ours; empty where there is none."""
    if not isinstance(ops, list):
        raise InputError("ops is no list", file=file, place=f"case {name}")
    loads = {int(index): value for index, value in answer.get("loads", {}).items()}
    done = replay(ops, probes=loads, track=True, file=file, where=f"case {name}, ")
    for label, theirs in answer["checkpoints"].items():
        if label not in done.checkpoints:
            return f"no checkpoint {label!r}"
        entries = done.checkpoints[label]
        used = entries.occupancy
        ours = {
            "nodes": entries.nr_nodes, "height": entries.height, "bytes": entries.nr_nodes * node_bytes,
            "root_entry": int(bool(entries.slots) and entries.root is None),
            "slots_used": sum(count * nodes for level in used.values() for count, nodes in level.items()),
            "per_shift": {str(shift): nodes for shift, nodes in entries.nodes_per_shift.items()},
            "occupancy": {str(shift): {str(count): nodes for count, nodes in level.items()}
                          for shift, level in used.items()},
            "alloc_total": done.allocated[label], "freed_total": done.freed[label],
        }
        for key, value in ours.items():
            if key in theirs and theirs[key] != value:
                return f"{label}: {key} is {value}, and {theirs[key]} in the file"
    for index, value in loads.items():
        if done.loads[index] != value:
            return f"value at {index} is {done.loads[index]}, and {value} in the file"
    return ""
