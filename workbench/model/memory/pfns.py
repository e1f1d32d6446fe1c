"""Sets of pfns as sorted disjoint extents, and pages placed at random.

A :class:`PfnSet` holds *entries*: naturally aligned blocks of ``2**order`` pages (order 0: single pages).
Entries of one order that lie side by side form one *extent*, so that a 64 TiB machine with a few holes is a
few extents. Everything here costs time by extents, never by pages, unless it says so. What is left out:
what is stored under a pfn; a set knows only which entries exist.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.model.errors import InputError

U64 = NDArray[np.uint64]
MAX_PFN = 2**64 - 1  # an index is an unsigned long on 64-bit kernels
MAX_ORDER = 63
_ONE = np.uint64(1)
_CELLS = 1 << 18  # floats at a time where many numbers of runs meet many sizes of blocks; assumed


def as_pfns(values: ArrayLike, what: str = "pfn") -> U64:
    """A flat uint64 array of what may be a list of ints; anything else is an InputError.

    Examples
    --------
    >>> as_pfns([2**64 - 1, 0])
    array([18446744073709551615,                    0], dtype=uint64)
    >>> as_pfns([3, -1])
    Traceback (most recent call last):
    workbench.model.errors.InputError: pfn -1 is outside 0..2^64-1
    """
    array = np.asarray(values)
    if array.dtype.kind in "fO":  # ints past 2^63 beside negative ones arrive as floats
        array = np.asarray(values, dtype=object)
        for value in array.ravel():
            if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
                raise InputError(f"{what} {value!r} is not an integer")
            if not 0 <= value <= MAX_PFN:
                raise InputError(f"{what} {value} is outside 0..2^64-1")
    elif array.dtype.kind not in "iu":
        raise InputError(f"{what}s have dtype {array.dtype}; they must be integers")
    elif array.dtype.kind == "i" and array.size and array.min() < 0:
        raise InputError(f"{what} {array.min()} is outside 0..2^64-1")
    return array.ravel().astype(np.uint64, copy=False)


def sorted_unique(pfns: U64) -> U64:
    """np.unique() by sorting; by hashing, as NumPy 2.3 and later do it, a million takes seconds."""
    pfns = np.sort(pfns)
    new = np.ones(pfns.size, np.bool_)
    np.not_equal(pfns[1:], pfns[:-1], out=new[1:])
    return pfns[new]


@dataclass(frozen=True, eq=False, repr=False)
class PfnSet:
    """A set of pfns: sorted, disjoint extents of naturally aligned entries.

    Make one with :meth:`from_pfns`, :meth:`from_extents`, :meth:`from_ranges` or :meth:`empty`; they check
    and sort. The plain constructor trusts its arrays. Set operations go by pages: where two sets overlap, a
    union keeps the larger entry, an intersection the smaller, and what a difference leaves of a cut entry
    falls to order 0.

    Parameters
    ----------
    first, last : ndarray of uint64, shape (nr_extents,)
        Pfns of each extent; ``last`` is inclusive, so that pfn 2^64-1 can be a member.
    order : ndarray of uint8, shape (nr_extents,)
        log2 of the pages of each entry of the extent.

    Examples
    --------
    >>> ram = PfnSet.from_ranges([(0x1, 0x9f), (0x100, 0x80000)])
    >>> ram
    PfnSet(2 extents, 524190 pages, 0x1..0x7ffff)
    >>> ram.contains([0, 1, 0x9f, 0x100]).tolist()
    [False, True, False, True]
    >>> (ram - PfnSet.from_ranges([(0x0, 0x40000)])).nr_pages
    262144
    """

    first: U64
    last: U64
    order: NDArray[np.uint8]

    def __post_init__(self) -> None:
        for array in (self.first, self.last, self.order):
            array.flags.writeable = False

    # Constructors

    @classmethod
    def empty(cls) -> PfnSet:
        """The set of nothing."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.uint8))

    @classmethod
    def from_pfns(cls, pfns: ArrayLike, order: int = 0) -> PfnSet:
        """Entries of one order by their first pfn, in any sequence; duplicates count once.

        Time goes by pfns: one sort and one pass.

        Examples
        --------
        >>> list(PfnSet.from_pfns([9, 7, 8, 8, 64]))
        [(7, 9, 0), (64, 64, 0)]
        """
        pfn, size = as_pfns(pfns), np.uint64(1 << _checked_order(order))
        if not pfn.size:
            return cls.empty()
        if order and (pfn & (size - _ONE)).any():
            bad = pfn[(pfn & (size - _ONE)) != 0][0]
            raise InputError(f"pfn {bad:#x} is not a multiple of 2^{order}, the size of its entry")
        if (pfn[1:] < pfn[:-1]).any():
            pfn = np.sort(pfn)
        starts = np.ones(pfn.size + 1, np.bool_)
        np.greater(pfn[1:] - pfn[:-1], size, out=starts[1:-1])
        first = pfn[starts[:-1]]
        return cls(first, pfn[starts[1:]] + (size - _ONE), np.full(first.size, order, np.uint8))

    @classmethod
    def from_extents(cls, first: ArrayLike, last: ArrayLike, order: ArrayLike = 0) -> PfnSet:
        """Extents by first and inclusive last pfn; ``order`` is one number or one per extent.

        Examples
        --------
        >>> PfnSet.from_extents([512, 0], [1023, 511], 9)
        PfnSet(1 extent, 1024 pages, 0x0..0x3ff, 2 entries)
        >>> PfnSet.from_extents([0, 3], [4, 9])
        Traceback (most recent call last):
        workbench.model.errors.InputError: range 0x3..0x9 overlaps 0x0..0x4
        """
        low, high = as_pfns(first), as_pfns(last)
        given = np.asarray(order)
        if given.dtype.kind not in "iu" or (given.size and not 0 <= given.min() <= given.max() <= MAX_ORDER):
            raise InputError(f"order {order!r} is outside 0..{MAX_ORDER}")
        if low.shape != high.shape or given.shape not in ((), low.shape):
            raise InputError(f"{low.size} firsts, {high.size} lasts and {given.size} orders do not pair up")
        orders = np.broadcast_to(given, low.shape).astype(np.uint8)
        if (low > high).any():
            at = np.flatnonzero(low > high)[0]
            raise InputError(f"range {low[at]:#x}..{high[at]:#x} is reversed; its last is before its first")
        mask = (_ONE << orders.astype(np.uint64)) - _ONE
        unaligned = ((low & mask) | (~high & mask)) != 0
        if unaligned.any():
            at = np.flatnonzero(unaligned)[0]
            raise InputError(f"range {low[at]:#x}..{high[at]:#x} is not made of whole aligned entries of "
                             f"2^{orders[at]} pages")
        by_first = np.argsort(low, kind="stable")
        low, high, orders = low[by_first], high[by_first], orders[by_first]
        if (low[1:] <= high[:-1]).any():
            at = np.flatnonzero(low[1:] <= high[:-1])[0]
            raise InputError(f"range {low[at + 1]:#x}..{high[at + 1]:#x} overlaps "
                             f"{low[at]:#x}..{high[at]:#x}")
        return cls._merged(low, high, orders)

    @classmethod
    def from_ranges(cls, ranges: Iterable[tuple[int, int]]) -> PfnSet:
        """Order-0 entries by ``(first, end)`` pairs of pfns; ``end`` is exclusive, as in ``zone->end_pfn``.

        Examples
        --------
        >>> list(PfnSet.from_ranges([(16, 32), (0, 16), (64, 65)]))
        [(0, 31, 0), (64, 64, 0)]
        """
        pairs = list(ranges)
        for first, end in pairs:
            if end <= first:
                raise InputError(f"range {first:#x}-{end:#x} is empty or reversed; the end is exclusive")
        return cls.from_extents([first for first, _ in pairs] if pairs else np.empty(0, np.uint64),
                                [end - 1 for _, end in pairs] if pairs else np.empty(0, np.uint64))

    @classmethod
    def _merged(cls, first: U64, last: U64, order: NDArray[np.uint8]) -> PfnSet:
        """Sorted disjoint extents, with neighbours of one order joined."""
        if first.size > 1:
            joins = (first[1:] - last[:-1] == _ONE) & (order[1:] == order[:-1])
            if joins.any():
                starts = np.concatenate(([True], ~joins))
                first, last, order = first[starts], last[np.append(~joins, True)], order[starts]
        return cls(first, last, order)

    # What is in it

    @property
    def nr_extents(self) -> int:
        """Extents; what the time of every operation goes by."""
        return self.first.size

    @functools.cached_property
    def nr_pages(self) -> int:
        """Pfns in the set."""
        return int((self.last - self.first).sum(dtype=np.uint64)) + self.nr_extents

    @functools.cached_property
    def nr_entries(self) -> int:
        """Entries in the set: an order-9 entry of 512 pages counts once."""
        if not self.order.any():
            return self.nr_pages
        steps = (self.last - self.first) >> self.order.astype(np.uint64)
        return int(steps.sum(dtype=np.uint64)) + self.nr_extents

    @property
    def max_pfn(self) -> int | None:
        """The highest pfn in the set; None when it is empty. (The kernel's ``max_pfn`` is one more.)"""
        return int(self.last[-1]) if self.last.size else None

    def __len__(self) -> int:
        return self.nr_extents

    def __bool__(self) -> bool:
        return self.nr_extents > 0

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Each extent as ``(first, last, order)``, last inclusive."""
        return zip(self.first.tolist(), self.last.tolist(), self.order.tolist(), strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PfnSet):
            return NotImplemented
        return all(np.array_equal(getattr(self, a), getattr(other, a)) for a in ("first", "last", "order"))

    def __hash__(self) -> int:
        return hash((self.first.tobytes(), self.last.tobytes(), self.order.tobytes()))

    def __repr__(self) -> str:
        if not self:
            return "PfnSet(empty)"
        entries = f", {self.nr_entries} entries" if self.order.any() else ""
        return (f"PfnSet({self.nr_extents} extent{'s' * (self.nr_extents > 1)}, {self.nr_pages} pages, "
                f"{self.first[0]:#x}..{self.last[-1]:#x}{entries})")

    def contains(self, pfns: ArrayLike) -> NDArray[np.bool_]:
        """For each pfn, whether some entry covers it.

        Parameters
        ----------
        pfns : array_like of uint64, shape (n,)

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        return self._order_at(as_pfns(pfns)) >= 0

    def nr_pages_from(self, pfn: int) -> int:
        """Pfns in the set that are not below ``pfn``.

        Examples
        --------
        >>> PfnSet.from_ranges([(0, 10), (20, 30)]).nr_pages_from(5)
        15
        """
        at = np.searchsorted(self.last, np.uint64(pfn))
        first, last = np.maximum(self.first[at:], np.uint64(pfn)), self.last[at:]
        return int((last - first).sum(dtype=np.uint64)) + last.size

    def to_pfns(self, limit: int = 1 << 24) -> U64:
        """Every pfn, expanded: time and memory go by pages; more than ``limit`` of them is an InputError.

        Examples
        --------
        >>> PfnSet.from_extents([8], [11], 1).to_pfns()
        array([ 8,  9, 10, 11], dtype=uint64)
        """
        if self.nr_pages > limit:
            raise InputError(f"a set of {self.nr_pages} pages is not expanded; the limit is {limit}")
        sizes = (self.last - self.first).astype(np.int64) + 1
        ends = np.cumsum(sizes)
        nth: U64 = np.arange(self.nr_pages, dtype=np.uint64)
        return np.repeat(self.first - (ends - sizes).astype(np.uint64), sizes) + nth

    # Prefixes: sections, blocks and xa_nodes are all "distinct pfn >> shift"

    @functools.cached_property
    def _steps(self) -> tuple[U64, U64, U64]:
        """What differs from each extent to the next, and the extents of more than one page."""
        wide = self.first != self.last
        return self.first[1:] ^ self.last[:-1], self.first[wide], self.last[wide]

    def distinct_prefixes(self, shift: int) -> int:
        """How many different ``pfn >> shift`` there are.

        Examples
        --------
        >>> ram = PfnSet.from_ranges([(0, 0x9f), (0x100, 0x80000), (0x88000, 0x90000)])
        >>> ram.distinct_prefixes(15)    # sections of 2^15 pages
        17
        """
        if not self or shift > 63:
            return int(bool(self))
        between, first, last = self._steps
        bits = np.uint64(shift)
        inside = int(((last >> bits) - (first >> bits)).sum(dtype=np.uint64))
        return 1 + inside + int(np.count_nonzero(between >= _ONE << bits))

    def prefixes(self, shift: int) -> PfnSet:
        """The different ``pfn >> shift``, as a set of numbers: section numbers, leaf numbers.

        Examples
        --------
        >>> list(PfnSet.from_ranges([(0, 0x9f), (0x100, 0x10000)]).prefixes(15))
        [(0, 1, 0)]
        """
        if shift > 63:
            return PfnSet.from_pfns([0] if self else [])
        first, last = self.first >> np.uint64(shift), self.last >> np.uint64(shift)
        if first.size:
            starts = np.concatenate(([True], first[1:] - last[:-1] > _ONE))  # equal or next to it: joined
            first, last = first[starts], last[np.append(starts[1:], True)]
        return PfnSet(first, last, np.zeros(first.size, np.uint8))

    def with_order(self, order: int) -> PfnSet:
        """The same pages in aligned entries of one order; where they do not fill an entry, it counts whole.

        Examples
        --------
        >>> list(PfnSet.from_pfns([3, 520]).with_order(9))
        [(0, 1023, 9)]
        """
        blocks, bits = self.prefixes(_checked_order(order)), np.uint64(order)
        return PfnSet(blocks.first << bits, (blocks.last << bits) | ((_ONE << bits) - _ONE),
                      np.full(blocks.nr_extents, order, np.uint8))

    def flat(self) -> PfnSet:
        """The same pages as order-0 entries."""
        return PfnSet._merged(self.first, self.last, np.zeros_like(self.order)) if self.order.any() else self

    # Set operations

    def _order_at(self, pfn: U64) -> NDArray[np.int16]:
        """The order of the entry that covers each pfn; -1 where none does."""
        if not self:
            return np.full(pfn.shape, -1, np.int16)
        at = np.searchsorted(self.first, pfn, side="right") - 1
        covered = (at >= 0) & (pfn <= self.last[at])
        return np.where(covered, self.order[at].astype(np.int16), np.int16(-1))

    def _segments(self, other: PfnSet) -> tuple[U64, U64, NDArray[np.int16], NDArray[np.int16]]:
        """Cut at every boundary of both: segments, and either's order there (-1: absent)."""
        ends = np.concatenate((self.last, other.last))
        first = sorted_unique(np.concatenate((self.first, other.first, ends[ends < MAX_PFN] + _ONE)))
        last = np.append(first[1:] - _ONE, np.uint64(MAX_PFN))[: first.size]
        return first, last, self._order_at(first), other._order_at(first)

    def union(self, other: PfnSet) -> PfnSet:
        """Pages in either. A larger entry takes in the smaller ones that it covers.

        Examples
        --------
        >>> list(PfnSet.from_pfns([5, 600]) | PfnSet.from_pfns([0], order=9))
        [(0, 511, 9), (600, 600, 0)]
        """
        if not self or not other:
            return self or other
        first, last, mine, theirs = self._segments(other)
        return self._picked(first, last, np.maximum(mine, theirs))

    def intersection(self, other: PfnSet) -> PfnSet:
        """Pages in both, in entries of the smaller order."""
        if not self or not other:
            return self.empty()
        first, last, mine, theirs = self._segments(other)
        return self._picked(first, last, np.minimum(mine, theirs))

    def difference(self, other: PfnSet) -> PfnSet:
        """Pages in this set only. An entry that is cut falls to order-0 entries, as if it had been split.

        Examples
        --------
        >>> list(PfnSet.from_extents([0], [1023], 9) - PfnSet.from_pfns([511]))
        [(0, 510, 0), (512, 1023, 9)]
        """
        if not self or not other:
            return self
        first, last, mine, theirs = self._segments(other)
        left = self._picked(first, last, np.where(theirs < 0, mine, np.int16(-1)))
        if not left.order.any():
            return left
        mask = (_ONE << left.order.astype(np.uint64)) - _ONE
        # The whole entries of each extent, modulo 2^64: the end of the last may be 0.
        inner_size = ((left.last + _ONE) & ~mask) - ((left.first + mask) & ~mask)
        inner_first = (left.first + mask) & ~mask
        whole = ((left.last - left.first) >= mask) & (inner_size - _ONE <= left.last - left.first)
        inner_last = inner_first + inner_size - _ONE
        return left.flat() | PfnSet._merged(inner_first[whole], inner_last[whole], left.order[whole])

    @classmethod
    def _picked(cls, first: U64, last: U64, order: NDArray[np.int16]) -> PfnSet:
        keep = order >= 0
        return cls._merged(first[keep], last[keep], order[keep].astype(np.uint8))

    __or__ = union
    __and__ = intersection
    __sub__ = difference


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Pinned pages placed at random: how many, how clustered, in which folios, inside which memory.

    Runs of ``run_pages`` lie at naturally aligned places wholly inside ``within``, uniformly at random and
    without replacement; edges of RAM too small for a whole run stay empty. A run holds folios of ``order``.
    Pages come in whole folios: ``nr_pages`` is rounded up to them, and where it is no multiple of
    ``run_pages``, one of the runs is partial, filled from its start.

    Parameters
    ----------
    nr_pages : int, or ndarray of int64, shape (n,)
        Pages to place. An array stands for n placements that differ in nothing else: whatever is counted of
        them is an array too, each number bit for bit what one placement alone has. ``draw`` takes one.
    run_pages : int
        Pages of one run, a power of two; 1 scatters single pages.
    order : int
        log2 of the pages of each folio, at most log2(run_pages).
    within : PfnSet
        The memory to place them in.

    Examples
    --------
    >>> ram = PfnSet.from_ranges([(0, 1 << 28)])
    >>> pinned = Scatter(nr_pages=51200, run_pages=512, order=9, within=ram)
    >>> pinned.nr_runs, pinned.nr_entries, pinned.draw(seed=1).nr_pages
    (100, 100, 51200)
    """

    nr_pages: Any
    run_pages: int = 1
    order: int = 0
    within: PfnSet

    def __post_init__(self) -> None:
        if least(self.nr_pages) < 0:
            raise InputError(f"nr_pages {least(self.nr_pages)} is negative")
        if self.run_pages < 1 or self.run_pages & (self.run_pages - 1) or self.run_pages >= 1 << 64:
            raise InputError(f"run_pages {self.run_pages} is not a power of two below 2^64")
        if self.run_pages < 1 << _checked_order(self.order):
            raise InputError(f"order {self.order} does not fit runs of {self.run_pages} pages")
        if most(self.nr_runs) > self.places.nr_pages:
            raise InputError(f"{most(self.nr_runs)} runs of {self.run_pages} pages do not fit; memory has "
                             f"room for {self.places.nr_pages} aligned runs")

    @property
    def nr_entries(self) -> Any:
        """Folios placed."""
        return -(-self.nr_pages >> self.order)

    @property
    def nr_runs(self) -> Any:
        """Runs placed, the partial one included."""
        return -(-self.nr_pages // self.run_pages)

    @property
    def partial_pages(self) -> Any:
        """Pages of the partial run, in whole folios; 0 when every run is full."""
        return (self.nr_entries << self.order) % self.run_pages

    @functools.cached_property
    def places(self) -> PfnSet:
        """Where a run may lie, as run numbers: run n starts at pfn ``n * run_pages``."""
        flat = self.within.flat()
        if self.run_pages == 1:
            return flat
        bits, mask = np.uint64(self.run_pages.bit_length() - 1), np.uint64(self.run_pages - 1)
        first = (flat.first >> bits) + ((flat.first & mask) != 0)
        end = (flat.last >> bits) + ((flat.last & mask) == mask)
        whole = first < end
        return PfnSet(first[whole], end[whole] - _ONE, np.zeros(np.count_nonzero(whole), np.uint8))

    def draw(self, seed: int | np.random.SeedSequence) -> PfnSet:
        """One exact placement; the same seed gives the same pages. Time goes by runs."""
        rng = np.random.default_rng(seed)
        nth = _draw_distinct(rng, self.places.nr_pages, self.nr_runs)
        if not nth.size:
            return PfnSet.empty()
        sizes = self.places.last - self.places.first + _ONE
        ends = np.cumsum(sizes, dtype=np.uint64)
        at = np.searchsorted(ends, nth, side="right")
        first = (self.places.last[at] - (ends[at] - _ONE - nth)) * np.uint64(self.run_pages)
        last = first + np.uint64(self.run_pages - 1)
        if self.partial_pages:
            cut = rng.integers(first.size)
            last[cut] = first[cut] + np.uint64(self.partial_pages - 1)
        return PfnSet._merged(first, last, np.full(first.size, self.order, np.uint8))

    def expected_prefixes(self, shift: int) -> Any:
        """How many different ``pfn >> shift`` a placement has on average.

        Exact up to rounding: a block of ``2**shift`` pages that has m of the M places stays empty with the
        hypergeometric chance C(M-m, N) / C(M, N).

        Examples
        --------
        >>> pair = Scatter(nr_pages=2, within=PfnSet.from_ranges([(0, 128)]))
        >>> round(pair.expected_prefixes(6), 6) == round(1 + 64 / 127, 6)
        True
        """
        one = isinstance(self.nr_pages, int)
        if one and not self.nr_runs:
            return 0.0
        run_shift = self.run_pages.bit_length() - 1
        if shift <= run_shift:
            full = self.nr_pages // self.run_pages << run_shift - shift
            nr_prefixes = full + -(-self.partial_pages >> shift)
            return float(nr_prefixes) if one else nr_prefixes.astype(np.float64)
        nr_full, sizes = group_sizes(self.places, shift - run_shift)
        m, nr = np.unique(np.append(sizes, _ONE << np.uint64(min(shift - run_shift, 63))), return_counts=True)
        nr[-1] += nr_full - 1
        if one:
            return float((nr * -np.expm1(self.log_chance_empty(m))).sum())
        # Row by row the sum above, in the same sequence: no BLAS, whose sums go by the shape.
        found = np.empty(self.nr_pages.size)
        step = max(1, _CELLS // m.size)
        for at in range(0, found.size, step):
            part = slice(at, at + step)
            found[part] = (nr * -np.expm1(self.log_chance_empty(m, part))).sum(axis=-1)
        return found

    def log_chance_empty(self, nr_places: ArrayLike, part: slice | None = None) -> NDArray[np.float64]:
        """log of the chance that none of the runs lies in given places, so many of all places.

        Shape (k,) for k numbers of places; (n, k) where ``nr_pages`` is an array, of which ``part`` picks.
        """
        total = self.places.nr_pages
        m = np.minimum(np.asarray(nr_places, dtype=np.float64), total)
        runs = self.nr_runs if part is None else self.nr_runs[part]
        runs = np.asarray(runs, dtype=np.float64)[..., None]
        few, many = np.minimum(m, runs), np.maximum(m, runs)
        with np.errstate(divide="ignore", invalid="ignore"):
            if total >= 1 << 17:
                # log of prod (1 - many / (total - j)) for j < few, by the midpoint rule: where its error
                # would matter, few > total / 50, the chance is below e^-50.
                log_chance = few * np.log1p(-many / np.maximum(total - (few - 1) / 2, many))
            else:
                gone = total - few - many
                terms = ((total - few, 1), (total - many, 1), (np.full_like(few, total), -1),
                         (np.maximum(gone, 0), -1))
                log_of = _log_factorials()
                log_chance = np.zeros_like(few)
                for x, sign in terms:
                    log_chance += sign * log_of[x.astype(np.int64)]
        return np.where(few + many > total, -np.inf, np.where(few == 0, 0.0, log_chance))


@functools.cache
def _log_factorials() -> NDArray[np.float64]:
    """log of n! for n up to 2^17."""
    return np.array([math.lgamma(n + 1) for n in range((1 << 17) + 1)])


# Numbers of pages are ints, exact at any size; many scenarios at a time have arrays of int64 in their place.

def least(nr: Any) -> int:
    """The number, or the least of an array of them."""
    return nr if isinstance(nr, int) else int(np.min(nr))


def most(nr: Any) -> int:
    """The number, or the most of an array of them."""
    return nr if isinstance(nr, int) else int(np.max(nr))


def rounded(mean: Any) -> Any:
    """``round()``, of one float or of each of an array."""
    return round(mean) if isinstance(mean, float | int) else np.rint(mean).astype(np.int64)


def bit_length(nr: Any) -> Any:
    """``int.bit_length()``, of one int or of each of an array of numbers below 2^53.

    Examples
    --------
    >>> bit_length(5), bit_length(np.array([0, 1, 4, 5, 2**40])).tolist()
    (3, [0, 1, 3, 3, 41])
    """
    return nr.bit_length() if isinstance(nr, int) else np.frexp(nr)[1].astype(np.int64)


def group_sizes(pfns: PfnSet, shift: int) -> tuple[int, U64]:
    """How many pfns share each ``pfn >> shift``: the number of full groups, and the sizes of the others.

    Examples
    --------
    >>> group_sizes(PfnSet.from_ranges([(0, 4), (6, 20), (22, 23)]), 3)
    (1, array([6, 5], dtype=uint64))
    """
    if not pfns:
        return 0, np.empty(0, np.uint64)
    shift = min(shift, 63)
    bits, mask = np.uint64(shift), np.uint64((1 << shift) - 1)
    low, high = pfns.first >> bits, pfns.last >> bits
    one = low == high
    inside = int((high - low - _ONE)[~one].sum(dtype=np.uint64))
    heads = np.where(one, pfns.last - pfns.first, mask - (pfns.first & mask)) + _ONE
    tails = (pfns.last[~one] & mask) + _ONE
    group = np.concatenate((low, high[~one]))
    by_group = np.argsort(group, kind="stable")
    group = group[by_group]
    starts = np.concatenate(([0], np.flatnonzero(group[1:] != group[:-1]) + 1))
    sizes = np.add.reduceat(np.concatenate((heads, tails))[by_group], starts)
    return inside + int(np.count_nonzero(sizes > mask)), sizes[sizes <= mask]


def _draw_distinct(rng: np.random.Generator, total: int, nr: int) -> U64:
    """``nr`` different numbers below ``total``, uniformly, sorted; memory goes by ``nr``."""
    if nr > total // 2:  # fewer are left out than taken
        left_out = _draw_distinct(rng, total, total - nr)
        return np.delete(np.arange(total, dtype=np.uint64), left_out.astype(np.int64))
    drawn = np.empty(0, np.uint64)
    while drawn.size < nr:
        more = rng.integers(0, total, size=nr - drawn.size + 16, dtype=np.uint64)
        drawn = sorted_unique(np.concatenate((drawn, more)))
    return np.delete(drawn, rng.choice(drawn.size, drawn.size - nr, replace=False))


def _checked_order(order: Any) -> int:
    if isinstance(order, bool) or not isinstance(order, int | np.integer) or not 0 <= order <= MAX_ORDER:
        raise InputError(f"order {order!r} is outside 0..{MAX_ORDER}")
    return int(order)
