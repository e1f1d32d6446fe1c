"""Structures in memory: every lookup finds what a dict finds, and nodes are as many as pfnmaps counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.evidence.lookups import _arena as arena
from workbench.evidence.lookups import _loops as loops
from workbench.evidence.lookups import _structures as structures
from workbench.evidence.lookups._structures import FIRST_PFN_ONLY, MAPS, build, nth_entry
from workbench.model import pfnmaps
from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet
from workbench.model.pfnmaps.ops import replay

X86 = KernelConfig()
TOP = 2**64 - 1
Z = np.uint64(0)


def lookup(structure, key):
    """One lookup through the very loop that is timed."""
    return int(structure.loop(np.array([key], np.uint64), None, *structure.args))


def stored(name, structure, pfns):
    """What a dict would hold, entry by entry."""
    found, nth = {}, 0
    for first, last, order in pfns:
        for index in range(first, last + 1, 1 << order):
            value = nth * structure.scale + structure.offset
            pages = 1 if name in FIRST_PFN_ONLY else 1 << order
            found.update(dict.fromkeys(range(index, index + pages), value))
            nth += 1
    return found


def assert_agrees(name, pfns, keys):
    structure = build(name, pfns)
    expected = stored(name, structure, pfns)
    assert 0 not in expected.values()
    keys = [*expected, *keys]
    assert {k: lookup(structure, k) for k in keys} == {k: expected.get(k, 0) for k in keys}
    every = np.array(keys, np.uint64)
    total = sum(expected.get(k, 0) for k in keys) % 2**64
    for z in (Z, None):
        assert int(structure.loop(every, z, *structure.args)) == total


SETS = {
    "index 0 alone": PfnSet.from_pfns([0]),
    "one entry at 1": PfnSet.from_pfns([1]),
    "dense from 0": PfnSet.from_ranges([(0, 100)]),
    "a full node and one more": PfnSet.from_ranges([(0, 65)]),
    "dense at 4096": PfnSet.from_ranges([(4096, 4300)]),
    "three heights": PfnSet.from_pfns([0, 63, 64, 4095, 4096, 1 << 17]),
    "sparse": PfnSet.from_pfns([5, 1000, 70_000, 99_999]),
    "folios": PfnSet.from_extents([64, 512, 1 << 14], [67, 1023, (1 << 14) + 511], [2, 9, 3]),
    "an order-6 entry at 0": PfnSet.from_pfns([0], order=6),
}
NEAR = [0, 1, 2, 62, 63, 64, 65, 66, 127, 128, 4095, 4096, 4097, 1 << 17, (1 << 17) + 1, 1 << 18,
        1 << 60, TOP]


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("which", SETS)
def test_a_map_finds_what_a_dict_finds(name, which):
    assert_agrees(name, SETS[which], NEAR)


@pytest.mark.parametrize("name", ["xarray", "xarray_lean", "maple", "rhashtable", "sorted_array"])
def test_the_highest_indices(name):
    assert_agrees(name, PfnSet.from_pfns([0, 7, 1 << 40, TOP - 64, TOP]), [*NEAR, TOP - 1, TOP - 63, 1 << 63])
    assert_agrees(name, PfnSet.from_pfns([TOP]), NEAR)


entries = st.lists(st.tuples(st.integers(0, 2**17), st.integers(0, 8)), min_size=1, max_size=40)


def drawn(pairs):
    """Entries at random places, those that would overlap left out."""
    found, taken = PfnSet.empty(), PfnSet.empty()
    for at, order in pairs:
        entry = PfnSet.from_pfns([at >> order << order], order)
        if not entry & taken:
            found, taken = found | entry, taken | entry.flat()
    return found


@settings(max_examples=40)
@given(entries, st.lists(st.integers(0, 2**19), max_size=30))
def test_any_entries_are_found_and_nothing_else(pairs, keys):
    pfns = drawn(pairs)
    for name in MAPS:
        assert_agrees(name, pfns, keys)


@settings(max_examples=60)
@given(st.sets(st.integers(0, TOP), min_size=1, max_size=60), st.lists(st.integers(0, TOP), max_size=60))
def test_xarray_of_sparse_indices_of_any_height(pfns, keys):
    near = [min(p + 1, TOP) for p in pfns]
    assert_agrees("xarray", PfnSet.from_pfns(sorted(pfns)), [*keys, *near])


# Nodes

@settings(max_examples=60)
@given(entries)
def test_the_nodes_made_are_the_nodes_counted(pairs):
    pfns = drawn(pairs)
    counts = pfnmaps.get("xarray").counts(pfns, X86)
    made = structures.xarray(pfns)
    assert (made.nr_nodes, made.height) == (counts.nr_nodes, counts.height)
    assert made.nr_bytes == 584 * counts.nr_nodes
    if not pfns.order.any():
        assert made.dependent_loads == counts.dependent_loads
        assert structures.xarray_lean(pfns).dependent_loads == 1 + counts.height
    table = pfnmaps.get("two_level").counts(pfns, X86)
    built = structures.two_level(pfns)
    assert (built.nr_nodes, built.nr_bytes) == (table.nr_nodes, table.bytes)
    assert structures.flat(pfns).nr_bytes == pfnmaps.get("flat").counts(pfns, X86).bytes
    assert structures.sorted_array(pfns).nr_bytes == pfnmaps.get("sorted_array").counts(pfns, X86).bytes


def test_a_node_is_as_the_kernel_has_it():
    built = structures.xarray(PfnSet.from_pfns([64 * 5 + 7, 64 * 5 + 8]))
    a, head = built.args
    root, leaf = 64 * 73, 65 * 73
    assert head == 64 << 2 | 2
    header = a.view(np.uint8)
    assert header[root * 8:root * 8 + 3].tolist() == [6, 0, 1]  # shift, offset, count
    assert header[leaf * 8:leaf * 8 + 3].tolist() == [0, 5, 2]
    assert a[root + 5 + 5] == 65 << 2 | 2  # slots begin at byte 40
    assert a[leaf + 5 + 7:leaf + 5 + 9].tolist() == [8, 16]
    assert a.ctypes.data % 4096 == 0


def test_siblings_lead_to_their_entry():
    a, _ = structures.xarray(PfnSet.from_pfns([8], order=2)).args
    assert a[64 * 73 + 5 + 8:64 * 73 + 5 + 12].tolist() == [8, 8 << 2 | 2, 8 << 2 | 2, 8 << 2 | 2]


def test_a_history_that_made_the_root_taller_is_kept():
    left = replay([{"op": "store", "start": 0, "count": 1, "stride": 1},
                   {"op": "store", "start": 5000, "count": 1, "stride": 1}]).final
    built = build("xarray", left.pfns, root=18)
    assert (built.height, built.nr_nodes) == (4, 1 + left.nr_nodes)
    assert [lookup(built, k) for k in (0, 5000, 4999, 1 << 24)] == [8, 16, 0, 0]


@pytest.mark.parametrize(("pfns", "least", "most"), [
    (PfnSet.from_pfns(np.arange(0, 40_000, 4)), 12.5, 13), (PfnSet.from_ranges([(0, 10_000)]), 14.5, 15)])
def test_maple_nodes_are_filled_as_insertion_fills_them(pfns, least, most):
    built = structures.maple(pfns)
    nodes = built.args[0].reshape(-1, 32)
    assert built.nr_bytes == 256 * built.nr_nodes
    nr_leaves = int(built.levels[-1].line_bytes / 256)
    gaps = pfns.nr_extents if pfns.nr_extents > 1 else 1
    assert least <= (pfns.nr_entries + gaps) / nr_leaves <= most
    pivots = nodes[:nr_leaves, 1:14].astype(object)
    assert all(np.diff(row[row > 0]).min() > 0 for row in pivots)  # ascending in each node


def test_hash_tables_hold_at_most_three_quarters():
    built = structures.rhashtable(PfnSet.from_ranges([(0, 10_000)]))
    counts = pfnmaps.get("rhashtable").counts(PfnSet.from_ranges([(0, 10_000)]), X86)
    assert int(built.args[1]) + 1 == counts.parts["buckets"] // 8
    mean_chain = 1 + 10_000 / (2 * 16384)  # of uniform hashes
    assert built.dependent_loads == pytest.approx(1 + mean_chain - 1, rel=0.02)  # the bucket, then the links


def test_jhash_is_lookup3():
    """By the public definition of lookup3's hashword() for two words, all by Python's own integers."""
    def hashword(words, seed):
        m = 0xFFFFFFFF
        def rot(x, n):
            return (x << n | x >> 32 - n) & m
        a = b = c = (0xDEADBEEF + (len(words) << 2) + seed) & m
        a, b = (a + words[0]) & m, (b + words[1]) & m
        for x, y, n in (("c", "b", 14), ("a", "c", 11), ("b", "a", 25), ("c", "b", 16), ("a", "c", 4),
                        ("b", "a", 14), ("c", "b", 24)):
            v = {"a": a, "b": b, "c": c}
            v[x] = ((v[x] ^ v[y]) - rot(v[y], n)) & m
            a, b, c = v["a"], v["b"], v["c"]
        return c

    for key in (0, 1, 12345, 1 << 33, TOP):
        assert int(loops._jhash(np.uint64(key), np.uint64(7))) == hashword([key & 0xFFFFFFFF, key >> 32], 7)


# Lines and loads

def test_lines_that_lookups_touch_by_hand():
    dense = structures.xarray(PfnSet.from_ranges([(0, 64)]))  # one node, where a line begins
    assert [(level.nr_loads, level.line_bytes) for level in dense.levels] == [(1, 0), (2, 9 * 64)]
    one = structures.xarray(PfnSet.from_pfns([63]))  # the header, and byte 40 + 63 * 8 = 544 in the 9th line
    assert one.touched_bytes == 128
    lean = structures.xarray_lean(PfnSet.from_pfns([63]))
    assert lean.touched_bytes == 64
    assert structures.flat(PfnSet.from_pfns([0, 7, 8])).touched_bytes == 128
    assert structures.two_level(PfnSet.from_pfns([0, 511, 512 * 9])).levels == (
        structures.Level(1, 128), structures.Level(1, 192))
    assert structures.sorted_array(PfnSet.from_ranges([(0, 64)])).touched_bytes == 64 * 16


def test_nth_entry_by_hand():
    nth, found = nth_entry(SETS["folios"], np.array([0, 64, 67, 68, 512, 1023, 1 << 14], np.uint64))
    assert found.tolist() == [False, True, True, False, True, True, True]
    assert nth[found].tolist() == [0, 0, 1, 1, 2]


# Memory

def test_what_does_not_fit_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr(arena, "available_bytes", lambda: 1 << 30)
    with pytest.raises(InputError) as error:
        structures.flat(PfnSet.from_pfns([1 << 30]))
    assert str(error.value) == ("a flat table of 1,073,741,825 words takes 8,589,934,600 bytes (8.0 GiB); "
                                "1.0 GiB of memory are available")


def test_a_cgroup_s_limit_counts(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1200\n")
    (tmp_path / "memory.stat").write_text("anon 900\ninactive_file 200\n")
    monkeypatch.setattr(arena, "_cgroups", lambda: [tmp_path])
    assert arena.available_bytes() == 3000 - 1200 + 200
    (tmp_path / "memory.max").write_text("max\n")
    assert arena.available_bytes() == arena._meminfo("MemAvailable") or arena.available_bytes() > 3000


def test_nothing_and_unknown_maps_are_refused():
    with pytest.raises(InputError, match="no entries"):
        build("xarray", PfnSet.empty())
    with pytest.raises(InputError, match="'btree' is none of those that can be timed: xarray, "):
        build("btree", PfnSet.from_pfns([1]))
    with pytest.raises(InputError, match="the limit is"):
        build("sorted_array", PfnSet.from_ranges([(0, 1 << 40)]))


def test_every_pfn_map_of_the_registry_can_be_timed():
    assert set(pfnmaps.registry()) <= set(MAPS)
