"""The table-like maps and the comparison of all of them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.model import pfnmaps
from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet, Scatter

X86 = KernelConfig()
TIB = 1 << 28  # pfns of 1 TiB


def expected(name, nr_pages, **more):
    scatter = Scatter(nr_pages=nr_pages, within=PfnSet.from_ranges([(0, TIB)]), **more)
    return pfnmaps.get(name).expected(scatter, X86, span=TIB)


@pytest.mark.parametrize("name, megabytes, loads", [
    ("xarray", ("1.5", "87", "552"), (11, 11, 11)),
    ("two_level", ("8.3", "377", "1830"), (2, 2, 2)),
    ("sorted_array", ("0.016", "1.6", "16"), (11, 18, 21)),  # published as log2 n; the first entry: one more
    ("flat", ("2147",) * 3, (1, 1, 1)),  # 2 GiB
])
def test_scattered_pins_in_1_tib_take_the_published_bytes(name, megabytes, loads):
    for nr, published, nr_loads in zip((1000, 100_000, 1_000_000), megabytes, loads, strict=True):
        counts = expected(name, nr)
        size = counts.node_bytes if name == "xarray" else counts.bytes  # published without the slabs' waste
        digits = len(published.partition(".")[2])
        shown = round(size / 1e6, -1) if published == "1830" else round(size / 1e6, digits)
        assert (shown, counts.dependent_loads) == (float(published), nr_loads)
        assert counts.nr_entries == nr


def test_the_order_flips_when_pins_are_clustered():
    maps = ("xarray", "two_level", "flat")
    sizes = {name: expected(name, 512_000, run_pages=512, order=9).bytes for name in maps}
    assert sizes["xarray"] < sizes["two_level"] < sizes["flat"]
    assert expected("sorted_array", 512_000, run_pages=512, order=9).bytes == 16_000


@given(st.sets(st.integers(0, 5000), max_size=40), st.sampled_from([12, 14, 16]))
def test_tables_count_slots_leaves_and_pairs(pfns, page_shift):
    kernel = replace(X86, page_shift=page_shift, section_size_bits=29)
    held, span = PfnSet.from_pfns(sorted(pfns)), max(pfns, default=-1) + 1
    per_leaf = (1 << page_shift) // 8
    leaves = len({pfn // per_leaf for pfn in pfns})
    flat, two_level, pairs = (pfnmaps.get(name).counts(held, kernel)
                              for name in ("flat", "two_level", "sorted_array"))
    assert flat.bytes == 8 * span
    assert (two_level.nr_nodes, two_level.bytes) == (leaves, leaves * 8 * per_leaf + -(-span // per_leaf) * 8)
    assert pairs.bytes == 16 * len(pfns)
    walks = [pfnmaps.get("sorted_array").walk(held, pfn, kernel).nr_loads for pfn in pfns]
    assert pairs.dependent_loads == max(walks, default=0)


def test_a_folio_is_one_pair_but_many_slots():
    folios = PfnSet.from_pfns([0, 1024], order=10)
    counts = {name: pfnmaps.get(name).counts(folios, X86) for name in ("flat", "two_level", "sorted_array")}
    assert {name: (c.nr_entries, c.bytes) for name, c in counts.items()} == {
        "flat": (2, 2048 * 8), "two_level": (2, 4 * 4096 + 4 * 8), "sorted_array": (2, 32)}


@pytest.mark.parametrize("name", ["xarray", "flat", "two_level", "sorted_array"])
def test_every_map_answers_in_the_same_words(name):
    pfn_map = pfnmaps.get(name)
    assert pfn_map.title and pfn_map.source and pfn_map.summary.endswith(".")
    for pfns in (PfnSet.empty(), PfnSet.from_pfns([0]), PfnSet.from_pfns([3, 2**40])):
        counts = pfn_map.counts(pfns, X86)
        assert counts.exact and counts.map == name and counts.nr_entries == pfns.nr_pages
        assert sum(counts.parts.values()) == counts.bytes
        assert sum(counts.nodes_per_shift.values()) == counts.nr_nodes
        assert all(type(value) is int for key, value in counts.to_dict().items()
                   if key.startswith(("nr_", "bytes", "node_b", "slab", "height", "dep")))
    assert not pfn_map.expected(Scatter(nr_pages=1, within=PfnSet.from_pfns([1])), X86).exact


def test_a_table_that_ends_too_early_is_refused():
    for name in ("flat", "two_level"):
        with pytest.raises(InputError, match="does not reach pfn 0x7"):
            pfnmaps.get(name).counts(PfnSet.from_pfns([7]), X86, span=7)
