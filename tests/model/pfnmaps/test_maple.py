"""The maple tree: the split rule by hand, against the kernel's own counts, and the model against replays."""

import functools
import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import MAX_PFN, PfnSet, Scatter
from workbench.model.pfnmaps import ops
from workbench.model.pfnmaps.maple import MapleTree, replay

X86 = KernelConfig()
TIB = PfnSet.from_ranges([(0, 1 << 28)])
GOLDEN = Path(__file__).parents[3] / "data" / "golden" / "xarray_cases.json"


@functools.cache
def published_draw(nr, bits):
    """xorshift64 (13, 7, 17), masked, duplicates skipped: the sets of the published tables."""
    state, seen = 88172645463325252, {}
    while len(seen) < nr:
        state ^= state << 13 & MAX_PFN
        state ^= state >> 7
        state ^= state << 17 & MAX_PFN
        seen[state & (1 << bits) - 1] = None
    return np.array(list(seen), dtype=np.uint64)


def off_percent(got, want):
    return abs(got / want - 1) * 100


# By hand

def test_nothing_and_a_lone_entry_at_0_need_no_node():
    assert replay([]) == replay([0]) == []
    assert replay([1]) == replay([0], [9]) == replay([MAX_PFN]) == [1]
    counts = MapleTree().counts(PfnSet.from_pfns([0]), X86)
    assert (counts.exact, counts.nr_nodes, counts.height, counts.bytes, counts.dependent_loads) == (
        True, 0, 0, 0, 1)
    assert MapleTree().counts(PfnSet.empty(), X86).dependent_loads == 0


def test_a_leaf_splits_when_17_slots_are_needed():
    assert replay(range(15)) == [1]  # 15 entries and the gap behind them
    assert replay(range(16)) == [2, 1]
    assert replay(range(10, 25)) == [2, 1]  # a gap before them too
    assert replay(range(1, 15, 2)) == [1]  # 7 entries, 8 gaps
    assert replay(range(1, 17, 2)) == [2, 1]


def test_an_overfull_leaf_first_gives_to_its_neighbours():
    # 9 + 8 slots after the first split; then 15 + 16 before a third leaf is made
    assert replay(range(30)) == [2, 1] and replay(range(31)) == [3, 1]
    assert replay(range(30, -1, -1)) == [3, 1]


@pytest.mark.parametrize("first, last", [([5, 5], None), ([5, 1], [9, 5]), ([9], [5]), ([1, 2], [3])])
def test_ranges_that_cannot_be_stored_are_refused(first, last):
    with pytest.raises(InputError):
        replay(first, last)
    with pytest.raises(InputError, match="neither"):
        MapleTree("sideways")


# The kernel's own counts

@pytest.mark.parametrize("case", [case for case in json.loads(GOLDEN.read_text())["cases"]
                                  if "maple" in case["answer"]], ids=lambda case: case["name"])
def test_ascending_equals_the_golden_answers(case):
    answer = case["answer"]["maple"]
    held = ops.replay(case["ops"]).final.pfns
    counts = MapleTree("ascending").counts(held, X86)
    assert counts.exact
    assert (counts.nr_nodes, counts.height, counts.node_bytes) == tuple(
        answer[key] for key in ("nodes", "height", "bytes"))


def test_replay_equals_the_kernel_on_the_published_draws():
    # levels that lib/maple_tree.c of 6.1.192 leaves, compiled in user space
    single, folios = published_draw(10_000, 28), published_draw(10_000, 19) * np.uint64(512)
    assert replay(single[:1000]) == [152, 12, 1]
    assert replay(single) == [1537, 116, 10, 1]
    assert replay(folios, folios + np.uint64(511)) == [1530, 116, 9, 1]


@pytest.mark.parametrize("nr, nodes, height", [(1000, 164, 3), (10_000, 1641, 4), (100_000, 16_480, 5),
                                               (1_000_000, 164_645, 6)])
@pytest.mark.parametrize("bits", [28, 34, 40])
def test_random_single_pfns_lie_within_5_percent_of_the_published_nodes(nr, nodes, height, bits):
    scatter = Scatter(nr_pages=nr, within=PfnSet.from_ranges([(0, 1 << bits)]))
    for counts in (MapleTree().expected(scatter, X86), MapleTree().counts(scatter.draw(seed=1), X86)):
        assert off_percent(counts.nr_nodes, nodes) <= 1.3
        assert counts.height == height and counts.dependent_loads == 2 * height
        assert not counts.exact and counts.note


@pytest.mark.parametrize("nr, nodes, height", [(10, 3, 2), (100, 17, 2), (1000, 161, 3), (10_000, 1639, 4),
                                               (100_000, 14_849, 5)])
def test_random_512_page_ranges_lie_within_5_percent_of_the_published_nodes(nr, nodes, height):
    if nr <= 1000:
        folios = published_draw(nr, 19) * np.uint64(512)
        levels = replay(folios, folios + np.uint64(511))
        assert off_percent(sum(levels), nodes) <= 3.2 and len(levels) == height
    if nr >= 1000 or nr == 10:
        counts = MapleTree().expected(Scatter(nr_pages=512 * nr, run_pages=512, order=9, within=TIB), X86)
        assert off_percent(counts.nr_nodes, nodes) <= 3.2
        assert abs(counts.height - height) <= (nr == 100_000)  # 16 or 17 nodes below the root


@pytest.mark.parametrize("nr, nodes, height", [(4096, 296, 4), (65_536, 4685, 5), (1_048_576, 74_902, 6)])
def test_dense_pfns_take_the_published_nodes(nr, nodes, height):
    dense = PfnSet.from_ranges([(0, nr)])
    ascending, default = MapleTree("ascending").counts(dense, X86), MapleTree().counts(dense, X86)
    assert (ascending.nr_nodes, ascending.height) == (default.nr_nodes, default.height) == (nodes, height)
    assert ascending.exact and not default.exact


# The models against replays

extents = st.lists(st.tuples(st.integers(2, 9), st.integers(1, 40)), min_size=1, max_size=80)


def placed(steps, at_0=False, at_max=False):
    """Extents by the gap before each one and its length."""
    last = np.cumsum([gap + length for gap, length in steps]).astype(np.uint64)
    first = last - np.array([length - 1 for _, length in steps], np.uint64)
    if at_0:
        return PfnSet.from_extents(first - first[0], last - first[0])
    shift = np.uint64(MAX_PFN) - last[-1] if at_max else np.uint64(0)
    return PfnSet.from_extents(first + shift, last + shift)


@settings(max_examples=150)
@given(extents, st.sampled_from([(False, False), (True, False), (False, True)]))
def test_ascending_equals_its_replay(steps, ends):
    held = placed(steps, *ends)
    levels = replay([pfn for first, last, _ in held for pfn in range(first, last + 1)])
    counts = MapleTree("ascending").counts(held, X86)
    assert (counts.nr_nodes, counts.height) == (sum(levels), len(levels))


@settings(max_examples=40)
@given(extents, st.integers(0, 2**32))
def test_every_node_holds_7_to_16_and_all_slots_are_there(steps, seed):
    held = placed(steps)
    levels = replay(np.random.default_rng(seed).permutation(held.to_pfns()))
    below = held.nr_pages + held.nr_extents + 1
    for nodes in levels:
        assert -(-below // 16) <= nodes <= max(1, below // 7)
        below = nodes
    assert levels[-1] == 1


@pytest.mark.parametrize("run_pages", [1, 2, 8, 64, 512])
def test_the_model_lies_within_3_percent_of_a_replay(run_pages):
    held = Scatter(nr_pages=20_000, run_pages=run_pages, within=TIB).draw(seed=3)
    runs = [np.arange(first, last + 1) for first, last, _ in held]
    order = np.random.default_rng(5).permutation(len(runs))
    levels = replay(np.concatenate([runs[nth] for nth in order]))
    counts = MapleTree().counts(held, X86)
    assert off_percent(counts.nr_nodes, sum(levels)) <= 3 and counts.height == len(levels)


def test_the_model_follows_a_mixture_of_runs_and_folios():
    ram = PfnSet.from_ranges([(0, 3 << 16), (1 << 20, 1 << 24)])  # with a hole
    mixture = functools.reduce(PfnSet.union, (
        Scatter(nr_pages=nr << order, run_pages=run, order=order, within=ram).draw(seed)
        for seed, nr, run, order in ((0, 5000, 1, 0), (1, 8000, 64, 0), (2, 4000, 16, 2), (3, 2000, 512, 9))))
    parts = [np.arange(first, last + 1, 1 << order) for first, last, order in mixture]
    sizes = [np.full(part.size, (1 << order) - 1) for part, (_, _, order) in zip(parts, mixture, strict=True)]
    order = np.random.default_rng(1).permutation(len(parts))
    first = np.concatenate([parts[nth] for nth in order])
    levels = replay(first, first + np.concatenate([sizes[nth] for nth in order]))
    assert off_percent(MapleTree().counts(mixture, X86).nr_nodes, sum(levels)) <= 3


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200_000), st.integers(0, 9), st.integers(0, 9), st.sampled_from([20, 28, 40]),
       st.sampled_from(["random", "ascending"]))
def test_expected_is_close_to_what_a_placement_counts(nr_pages, run_shift, order, bits, insertion):
    scatter = Scatter(nr_pages=nr_pages, run_pages=1 << run_shift, order=min(order, run_shift),
                      within=PfnSet.from_ranges([(0, 1 << bits)]))
    tree = MapleTree(insertion)
    expected, drawn = tree.expected(scatter, X86), tree.counts(scatter.draw(seed=2), X86)
    assert not expected.exact and expected.nr_entries == drawn.nr_entries
    for counts in (expected, drawn):
        assert sum(counts.parts.values()) == counts.bytes == counts.slab_bytes >= counts.node_bytes
    assert abs(expected.nr_nodes - drawn.nr_nodes) <= 4 + 0.06 * drawn.nr_nodes


def test_folios_take_as_many_nodes_as_pages():
    pages = Scatter(nr_pages=3000, within=PfnSet.from_ranges([(0, 1 << 20)])).draw(seed=1)
    folios = PfnSet.from_pfns(pages.to_pfns() << np.uint64(9), order=9)
    assert MapleTree().counts(folios, X86).nr_nodes == MapleTree().counts(pages, X86).nr_nodes


def test_orders_that_touch_leave_no_gap():
    touching = PfnSet.from_extents([0, 512, 1024], [511, 1023, 1100], [0, 9, 0])
    levels = replay([*range(512), 512, *range(1024, 1101)], [*range(512), 1023, *range(1024, 1101)])
    assert MapleTree("ascending").counts(touching, X86).nr_nodes == sum(levels)


def test_more_entries_never_take_fewer_nodes():
    nodes = [MapleTree().expected(Scatter(nr_pages=nr, within=TIB), X86).nr_nodes
             for nr in (300, 1000, 3000, 10_000, 100_000, 1_000_000)]
    assert nodes == sorted(nodes)


def test_nodes_lie_16_to_a_page():
    counts = MapleTree("ascending").counts(PfnSet.from_ranges([(0, 4096)]), X86)
    assert counts.parts == {"maple_nodes": 296 * 256, "slab waste": 8 * 256}  # 19 pages


def test_huge_sets_cost_no_time():
    tree = MapleTree()
    scatter = Scatter(nr_pages=1 << 40, run_pages=1 << 10, within=PfnSet.from_ranges([(0, 1 << 44)]))
    assert off_percent(tree.counts(PfnSet.from_ranges([(0, 1 << 44)]), X86).nr_nodes, (1 << 44) / 14) < 0.1
    started = time.perf_counter()
    for _ in range(20):
        tree.expected(scatter, X86)
    assert time.perf_counter() - started < 0.4  # 1 ms each; an extent walk would take hours
