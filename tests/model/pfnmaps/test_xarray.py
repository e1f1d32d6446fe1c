"""XArray node counts: the kernel's own, the published table, and a plain walk."""

import functools
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet, Scatter
from workbench.model.pfnmaps.ops import replay
from workbench.model.pfnmaps.xarray import (
    XArray,
    expected_nodes_per_shift,
    nodes_per_shift,
    occupancy,
    root_shift,
)

X86 = KernelConfig()


def nr_nodes(pfns):
    return sum(nodes_per_shift(pfns).values())


# The random rows of the published table (nodes of lib/xarray.c 7.3.4): xorshift64 (13, 7, 17), masked to some
# bits, duplicates skipped.

@functools.cache
def xorshift64(nr):
    state, states, mask = 88172645463325252, np.empty(nr, np.uint64), 2**64 - 1
    for nth in range(nr):
        state ^= (state << 13) & mask
        state ^= state >> 7
        state ^= (state << 17) & mask
        states[nth] = state
    return states


def first_distinct(values, nr):
    _, seen = np.unique(values, return_index=True)
    return values[np.sort(seen)[:nr]]


@pytest.mark.parametrize("bits, nodes", [
    (22, {1000: 1653, 10_000: 10302, 100_000: 52513}),
    (28, {1000: 2643, 10_000: 20323, 100_000: 151185, 1_000_000: 958011}),
    (34, {1000: 3645, 10_000: 30298, 100_000: 251104, 1_000_000: 1954992}),
    (40, {1000: 4654, 10_000: 40342, 100_000: 351131, 1_000_000: 2954401}),
])
def test_random_pfns_take_the_published_nodes(bits, nodes):
    masked = xorshift64(1_010_000) & np.uint64((1 << bits) - 1)
    for nr, published in nodes.items():
        pfns = PfnSet.from_pfns(first_distinct(masked, nr))
        assert (pfns.nr_entries, nr_nodes(pfns)) == (nr, published)
        counts = XArray().expected(Scatter(nr_pages=nr, within=PfnSet.from_ranges([(0, 1 << bits)])), X86)
        assert counts.height == -(-bits // 6) and abs(counts.nr_nodes / published - 1) < 0.004


@pytest.mark.parametrize("nr, pages, as_pages, as_folios", [
    (10, 5120, 109, 29), (100, 51200, 1011, 211), (1000, 511488, 9646, 1654)])
def test_random_512_page_runs_take_the_published_nodes(nr, pages, as_pages, as_folios):
    heads = (xorshift64(1000)[:nr] & np.uint64((1 << 19) - 1)) << np.uint64(9)
    runs = PfnSet.from_pfns(heads, order=9)
    assert (runs.nr_pages, nr_nodes(runs.flat()), nr_nodes(runs)) == (pages, as_pages, as_folios)
    for order, published in ((0, as_pages), (9, as_folios)):
        tib = PfnSet.from_ranges([(0, 1 << 28)])
        scatter = Scatter(nr_pages=pages, run_pages=512, order=order, within=tib)
        assert abs(XArray().expected(scatter, X86).nr_nodes - published) <= max(1, 0.004 * published)


def test_dense_pfns_take_the_published_nodes():
    nodes = [nr_nodes(PfnSet.from_ranges([(0, nr)])) for nr in (64, 4096, 262_144, 1_048_576)]
    assert nodes == [1, 65, 4161, 16645]


@pytest.mark.parametrize("orders, nodes", [((0, 3), 5), ((6, 9), 4), ((12, 15), 3), ((18,), 2)])
def test_one_entry_at_2_27_takes_fewer_nodes_the_larger_it_is(orders, nodes):
    for order in orders:
        counts = XArray().counts(PfnSet.from_pfns([1 << 27], order), X86)
        assert (counts.nr_nodes, counts.height) == (nodes, 5)


@pytest.mark.parametrize("start, nodes", [(1 << 28, 1), ((1 << 28) + 12345, 9)])
def test_a_range_of_64_gib_at_1_tib_takes_the_published_nodes(start, nodes):
    entries = replay([{"op": "store_range", "first": start, "last": start + (1 << 24) - 1}]).final
    assert (entries.nr_nodes, entries.height) == (nodes, 5)


@pytest.mark.parametrize("physical_bits, heights", [
    (40, (5, 5, 4)), (46, (6, 6, 5)), (48, (6, 6, 6)), (51, (7, 7, 6)), (52, (7, 7, 6))])
def test_height_follows_the_pfn_bits_and_loads_follow_the_height(physical_bits, heights):
    for page_shift, height in zip((12, 14, 16), heights, strict=True):
        counts = XArray().counts(PfnSet.from_pfns([(1 << physical_bits - page_shift) - 1]), X86)
        assert (counts.height, counts.dependent_loads) == (height, 1 + 2 * height)


def test_nothing_and_a_lone_0_need_no_node():
    nothing, lone = (XArray().counts(PfnSet.from_pfns(pfns), X86) for pfns in ([], [0]))
    assert (nothing.nr_nodes, nothing.height, nothing.bytes, nothing.dependent_loads) == (0, 0, 0, 0)
    assert (lone.nr_nodes, lone.height, lone.bytes, lone.dependent_loads) == (0, 0, 0, 1)


def test_bytes_are_whole_slabs():
    counts = XArray().counts(PfnSet.from_ranges([(0, 4096)]), X86)
    assert (counts.node_bytes, counts.slab_bytes, counts.bytes) == (65 * 576, 5 * 8192, 5 * 8192)
    assert counts.parts == {"xa_nodes": 65 * 576, "slab waste": 5 * 8192 - 65 * 576}


# A slow reference: walk down for each entry, keep every node passed and every slot used

def plain_tree(pages, chunk=6):
    """``{(shift, prefix): slots used}`` of a dict ``{first pfn: order}``."""
    if not pages or (len(pages) == 1 and pages.get(0) == 0):
        return {}
    reach = max(first + (1 << order) - 1 for first, order in pages.items())
    top = max(order // chunk * chunk for order in pages.values())
    while reach >> top + chunk:
        top += chunk
    nodes = {}
    for first, order in pages.items():
        own = order // chunk * chunk
        for shift in range(own, top + 1, chunk):
            slots = range(first >> shift, (first + (1 << order) - 1 >> shift) + 1)
            for slot in slots:
                nodes.setdefault((shift, slot >> chunk), set()).add(slot)
    return nodes


@st.composite
def entries(draw):
    """Disjoint multi-order entries as ``{first pfn: order}``."""
    bits = draw(st.sampled_from([3, 7, 13, 20, 40, 64]))
    pages, taken = {}, []
    some = st.tuples(st.integers(0, min(bits, 20)), st.integers(0, 2**bits - 1))
    for order, at in draw(st.lists(some, max_size=20)):
        first = at >> order << order
        if all(first + (1 << order) <= low or high < first for low, high in taken):
            pages[first] = order
            taken.append((first, first + (1 << order) - 1))
    return pages


@given(entries(), st.sampled_from([4, 6]))
def test_counts_and_occupancy_match_a_plain_walk(pages, chunk):
    pfns = PfnSet.empty()
    for first, order in pages.items():
        pfns = pfns | PfnSet.from_pfns([first], order)
    nodes, used = {}, {}
    for (shift, _), taken in plain_tree(pages, chunk).items():
        nodes[shift] = nodes.get(shift, 0) + 1
        used.setdefault(shift, []).append(len(taken))
    assert nodes_per_shift(pfns, chunk) == nodes
    assert occupancy(pfns, chunk) == {shift: {n: sizes.count(n) for n in sizes}
                                      for shift, sizes in used.items()}
    assert pfns.nr_entries == len(pages)
    assert (root_shift(pfns, chunk) is None) == (not nodes)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 3000)), max_size=8))
def test_extents_count_as_their_pages_do(ranges):
    pages = sorted({pfn for first, nr in ranges for pfn in range(first, first + nr)})
    extents = PfnSet.empty()
    for first, nr in ranges:
        extents = extents | PfnSet.from_ranges([(first, first + nr)])
    assert extents == PfnSet.from_pfns(pages)
    one_by_one = {shift: len({pfn >> shift + 6 for pfn in pages}) for shift in range(0, 24, 6)}
    for shift, nodes in nodes_per_shift(extents).items():
        assert nodes == one_by_one[shift]


# Expectations

RAM = PfnSet.from_ranges([(1, 0x9f), (0x100, 0xbffe0), (0x100000, 0x840000)])


@pytest.mark.parametrize("nr_pages, run_pages, order", [
    (1, 1, 0), (100, 1, 0), (20_000, 1, 0), (1_000_000, 1, 0), (20_000, 8, 0), (20_000, 8, 3),
    (512_000, 512, 9), (512_000, 512, 0), (512_000, 512, 4), (500_000, 4096, 6), (RAM.nr_pages, 1, 0)])
def test_expected_counts_are_the_mean_of_draws(nr_pages, run_pages, order):
    scatter = Scatter(nr_pages=nr_pages, run_pages=run_pages, order=order, within=RAM)
    expected = XArray().expected(scatter, X86)
    drawn = [XArray().counts(scatter.draw(seed), X86) for seed in range(2 if nr_pages > 10**6 else 12)]
    mean = np.mean([counts.nr_nodes for counts in drawn])
    assert not expected.exact and expected.nr_entries == drawn[0].nr_entries
    spread = np.std([counts.nr_nodes for counts in drawn]) / 12**0.5
    assert abs(expected.nr_nodes - mean) <= max(0.004 * mean, 4 * spread, 1)
    assert {expected.height} <= {counts.height for counts in drawn}


def test_expected_counts_of_certain_placements_are_exact():
    nothing = XArray().expected(Scatter(nr_pages=0, within=RAM), X86)
    assert (nothing.nr_nodes, nothing.height, nothing.bytes) == (0, 0, 0)
    everything = XArray().expected(Scatter(nr_pages=RAM.nr_pages, within=RAM), X86)
    assert everything.nodes_per_shift == nodes_per_shift(RAM)
    lone = XArray().expected(Scatter(nr_pages=1, within=PfnSet.from_pfns([0])), X86)
    assert (lone.nr_nodes, lone.height) == (0, 0)
    folio = Scatter(nr_pages=512, run_pages=512, order=9, within=PfnSet.from_ranges([(0, 512)]))
    assert XArray().expected(folio, X86).nodes_per_shift == {6: 1}


@given(st.sets(st.sampled_from([0, 1, 5, 63, 64, 100, 4095, 4096, 70_000]), min_size=1), st.data())
def test_expected_nodes_are_exact_in_small(pfns, data):
    nr = data.draw(st.integers(1, len(pfns)))
    trees = [plain_tree(dict.fromkeys(chosen, 0)) for chosen in combinations(sorted(pfns), nr)]
    nodes, height = expected_nodes_per_shift(Scatter(nr_pages=nr, within=PfnSet.from_pfns(sorted(pfns))))
    assert sum(nodes.values()) == pytest.approx(np.mean([len(tree) for tree in trees]))
    heights = [len({shift for shift, _ in tree}) for tree in trees]
    assert height == pytest.approx(np.mean(heights))
