"""PfnSet against plain dicts of pages, and Scatter against its own draws."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.model.errors import InputError
from workbench.model.memory.pfns import PfnSet, Scatter, group_sizes

TOP = 2**64 - 1
BASES = st.sampled_from([0, 2**40, 2**64 - 64])


@st.composite
def entries(draw):
    """A page-by-page dict ``{pfn: (order, head)}`` of entries in 64 pages."""
    pages = {}
    for order, at in draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 63)), max_size=12)):
        head = at >> order << order
        block = range(head, head + (1 << order))
        if not pages.keys() & set(block):
            pages.update(dict.fromkeys(block, (order, head)))
    return pages


def shifted(pages, base):
    return {base + pfn: (order, base + head) for pfn, (order, head) in pages.items()}


def as_set(pages):
    heads = sorted({(head, order) for order, head in pages.values()})
    if not heads:
        return PfnSet.empty()
    first, order = np.array(heads, np.uint64).T
    return PfnSet.from_extents(first, first + (np.uint64(1) << order) - np.uint64(1), order)


def as_pages(pfns):
    """Expand a set page by page."""
    return {pfn: (order, head) for first, last, order in pfns for head in range(first, last + 1, 1 << order)
            for pfn in range(head, head + (1 << order))}


@given(entries(), BASES)
def test_a_set_holds_its_entries(pages, base):
    pages = shifted(pages, base)
    pfns = as_set(pages)
    assert as_pages(pfns) == pages
    assert (pfns.nr_pages, pfns.nr_entries) == (len(pages), len(set(pages.values())))
    assert (bool(pfns), pfns.max_pfn) == (bool(pages), max(pages, default=None))
    around = [base + n for n in range(64)]
    assert pfns.contains(around).tolist() == [pfn in pages for pfn in around]
    assert pfns.to_pfns().tolist() == sorted(pages)
    assert pfns.nr_pages_from(base + 20) == sum(pfn >= base + 20 for pfn in pages)
    assert all(a != b for a, b in zip(pfns, list(pfns)[1:], strict=False))


@given(entries(), entries(), BASES)
def test_set_operations_go_by_pages(left, right, base):
    left, right = shifted(left, base), shifted(right, base)
    a, b = as_set(left), as_set(right)
    both = left.keys() & right.keys()
    union = {pfn: max(page for page in (left.get(pfn), right.get(pfn)) if page) for pfn in left | right}
    assert as_pages(a | b) == union == as_pages(b | a)
    assert as_pages(a & b) == {pfn: min(left[pfn], right[pfn]) for pfn in both} == as_pages(b & a)
    cut = {left[pfn] for pfn in both}
    assert as_pages(a - b) == {pfn: (0, pfn) if page in cut else page
                               for pfn, page in left.items() if pfn not in both}
    assert (a - b).nr_pages + (a & b).nr_pages == a.nr_pages


@given(entries(), BASES, st.sampled_from([0, 1, 3, 6, 63, 64]))
def test_prefixes_are_those_of_every_page(pages, base, shift):
    pages = shifted(pages, base)
    prefixes = sorted({pfn >> shift for pfn in pages})
    pfns = as_set(pages)
    assert pfns.distinct_prefixes(shift) == len(prefixes)
    assert pfns.prefixes(shift).to_pfns().tolist() == prefixes
    groups = [sum(pfn >> shift == prefix for pfn in pages) for prefix in prefixes]
    if shift < 7:
        full, partial = group_sizes(pfns, shift)
        assert sorted([*partial.tolist(), *[1 << shift] * full]) == sorted(groups)


@given(st.lists(st.integers(0, 300)), st.integers(0, 9))
def test_with_order_covers_every_page_once(pfns, order):
    covered = PfnSet.from_pfns(pfns).with_order(order)
    assert {entry >> order for entry in covered.to_pfns().tolist()} == {pfn >> order for pfn in pfns}
    assert covered.nr_entries == len({pfn >> order for pfn in pfns})


def test_from_pfns_sorts_merges_and_takes_any_integers():
    assert list(PfnSet.from_pfns([5, 3, 4, 4, TOP])) == [(3, 5, 0), (TOP, TOP, 0)]
    assert list(PfnSet.from_pfns(np.array([8, 0, 4], np.int32), order=2)) == [(0, 11, 2)]
    assert not PfnSet.from_pfns([])
    assert PfnSet.from_pfns([7, 7]) == PfnSet.from_ranges([(7, 8)])


def test_the_whole_address_space_is_a_set():
    everything = PfnSet.from_extents([0], [TOP])
    assert (everything.nr_pages, everything.distinct_prefixes(6)) == (2**64, 2**58)
    assert (everything - PfnSet.from_pfns([TOP])).max_pfn == TOP - 1
    assert not everything - everything
    assert (everything | PfnSet.from_pfns([0], order=63)).nr_entries == 1 + 2**63


def test_sets_are_immutable_and_hash_by_content():
    pfns = PfnSet.from_ranges([(1, 4)])
    with pytest.raises(ValueError, match="read-only"):
        pfns.first[0] = 0
    assert {pfns, PfnSet.from_pfns([1, 2, 3])} == {pfns}
    assert pfns != PfnSet.empty()


@pytest.mark.parametrize("make, message", [
    (lambda: PfnSet.from_pfns([-1]), "-1 is outside"),
    (lambda: PfnSet.from_pfns([2**64]), "18446744073709551616 is outside"),
    (lambda: PfnSet.from_pfns([2**63, -5]), "-5 is outside"),
    (lambda: PfnSet.from_pfns([1.5]), "1.5 is not an integer"),
    (lambda: PfnSet.from_pfns(["1"]), "must be integers"),
    (lambda: PfnSet.from_pfns([True]), "must be integers"),
    (lambda: PfnSet.from_pfns([3], order=1), "0x3 is not a multiple of 2"),
    (lambda: PfnSet.from_pfns([0], order=64), "order 64 is outside"),
    (lambda: PfnSet.from_extents([5], [4]), "reversed"),
    (lambda: PfnSet.from_extents([0, 4], [4, 9]), "0x4..0x9 overlaps 0x0..0x4"),
    (lambda: PfnSet.from_extents([0], [510], 9), "whole aligned entries of 2\\^9"),
    (lambda: PfnSet.from_extents([0, 1], [0]), "do not pair up"),
    (lambda: PfnSet.from_ranges([(4, 4)]), "empty or reversed"),
    (lambda: PfnSet.from_ranges([(-1, 4)]), "-1 is outside"),
    (lambda: PfnSet.from_ranges([(0, 2**65)]), "outside 0..2\\^64-1"),
    (lambda: PfnSet.from_ranges([(0, 2**40)]).to_pfns(), "1099511627776 pages is not expanded"),
    (lambda: Scatter(nr_pages=-1, within=PfnSet.empty()), "negative"),
    (lambda: Scatter(nr_pages=1, run_pages=3, within=PfnSet.empty()), "not a power of two"),
    (lambda: Scatter(nr_pages=1, order=1, within=PfnSet.empty()), "does not fit runs"),
    (lambda: Scatter(nr_pages=8, run_pages=8, within=PfnSet.from_ranges([(1, 15)])), "room for 0 aligned"),
])
def test_what_is_no_set_of_pfns_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


RAM = PfnSet.from_ranges([(3, 160), (256, 1 << 18), ((1 << 18) + 1000, 1 << 20)])


@pytest.mark.parametrize("nr_pages, run_pages, order", [
    (0, 1, 0), (1, 1, 0), (1000, 1, 0), (1000, 8, 0), (1003, 8, 1), (51200, 512, 9), (900_000, 1, 0),
    (51200, 64, 6), (RAM.nr_pages, 1, 0),
])
def test_draws_lie_aligned_within_memory(nr_pages, run_pages, order):
    scatter = Scatter(nr_pages=nr_pages, run_pages=run_pages, order=order, within=RAM)
    drawn = scatter.draw(seed=3)
    assert drawn == scatter.draw(seed=3)
    assert drawn.nr_pages == scatter.nr_entries << order >= nr_pages
    assert drawn.nr_entries == scatter.nr_entries
    assert not drawn - RAM
    assert drawn.with_order(run_pages.bit_length() - 1).nr_entries == scatter.nr_runs


def test_every_placement_is_as_likely():
    scatter = Scatter(nr_pages=6, run_pages=4, within=PfnSet.from_ranges([(3, 9), (16, 24)]))
    placements = [tuple(scatter.draw(seed)) for seed in range(3000)]
    nr_each = [placements.count(placement) for placement in set(placements)]
    assert len(nr_each) == 6  # 3 pairs of 3 aligned runs, either of them the partial one
    assert 420 < min(nr_each) <= max(nr_each) < 580


@pytest.mark.parametrize("nr_pages, run_pages, order", [
    (1, 1, 0), (10, 1, 0), (5000, 1, 0), (900_000, 1, 0), (5000, 8, 3), (51200, 512, 9), (100, 64, 0)])
def test_expected_prefixes_are_the_mean_of_draws(nr_pages, run_pages, order):
    scatter = Scatter(nr_pages=nr_pages, run_pages=run_pages, order=order, within=RAM)
    draws = [scatter.draw(seed) for seed in range(40)]
    for shift in (6, 9, 12, 18):
        mean = np.mean([draw.distinct_prefixes(shift) for draw in draws])
        spread = np.std([draw.distinct_prefixes(shift) for draw in draws]) / 40**0.5
        assert abs(scatter.expected_prefixes(shift) - mean) <= 4 * spread + 0.01


@given(st.sets(st.integers(0, 40), min_size=2, max_size=9), st.integers(1, 3), st.integers(1, 3))
def test_expected_prefixes_are_exact_in_small(pfns, nr_pages, shift):
    nr_pages = min(nr_pages, len(pfns))
    ways = [len({pfn >> shift for pfn in chosen}) for chosen in combinations(sorted(pfns), nr_pages)]
    scatter = Scatter(nr_pages=nr_pages, within=PfnSet.from_pfns(sorted(pfns)))
    assert scatter.expected_prefixes(shift) == pytest.approx(np.mean(ways))
