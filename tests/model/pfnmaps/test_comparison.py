"""All pfn maps side by side: the published table, and how clustering turns it over."""

import pytest

from workbench.model import pfnmaps
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet, Scatter
from workbench.model.pfnmaps.compare import bytes_per_entry

X86 = KernelConfig()
TIB = 1 << 28  # pfns of 1 TiB
NR_PINNED = (1000, 100_000, 1_000_000)
# Bytes, in the digits they are published with: unit, and the three numbers. Dependent loads of a hit.
PUBLISHED = {
    "xarray": (1e6, ("1.5", "87", "552"), (11, 11, 11)),
    "maple": (1e6, ("0.042", "4.2", "42"), (6, 10, 12)),
    "rhashtable": (1e6, ("0.024", "2.9", "24.8"), (3, 3, 3)),  # and the chain
    "two_level": (1e9, ("0.0083", "0.377", "1.83"), (2, 2, 2)),
    "sorted_array": (1e6, ("0.016", "1.6", "16"), (10, 17, 20)),
    "flat": (1 << 30, ("2", "2", "2"), (1, 1, 1)),
}


def expected(name, nr_pages, **more):
    scatter = Scatter(nr_pages=nr_pages, within=PfnSet.from_ranges([(0, TIB)]), **more)
    return pfnmaps.get(name).expected(scatter, X86, span=TIB)


def test_every_map_has_published_bytes():
    assert set(PUBLISHED) <= set(pfnmaps.registry())
    assert "compare" not in pfnmaps.registry()


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("nth", range(3))
def test_scattered_pins_in_1_tib_take_the_published_bytes_and_loads(name, nth):
    unit, published, loads = PUBLISHED[name]
    counts = expected(name, NR_PINNED[nth])
    # published without slab waste and kmalloc rounding
    size = counts.node_bytes if name in ("xarray", "maple", "rhashtable") else counts.bytes
    digits = len(published[nth].partition(".")[2])
    assert f"{size / unit:.{digits}f}" == published[nth]
    more = counts.dependent_loads - loads[nth]
    if name == "rhashtable":
        assert 3 <= more <= 8  # the chain
    else:
        assert more == (name == "sorted_array")  # its first entry, which no halving reads


@pytest.mark.parametrize("nr_pages", [51_200, 512_000, 1_000_000])
def test_the_order_flips_when_pages_come_in_runs_of_512(nr_pages):
    rows = bytes_per_entry(pfnmaps.registry(), [1, 512], nr_pages, TIB, X86)
    size = {(row["map"], row["run_pages"]): row["bytes"] for row in rows}
    per_page = {row["map"]: row["bytes_per_page"] for row in rows if row["run_pages"] == 512}
    assert min(PUBLISHED, key=lambda name: size[name, 1]) == "sorted_array"
    assert size["xarray", 1] > size["rhashtable", 1] > size["sorted_array", 1]
    assert min(PUBLISHED, key=lambda name: size[name, 512]) == "xarray"
    assert 10.7 < per_page["xarray"] < 11.8


def test_an_entry_per_folio_leaves_the_tables_with_a_word_per_page_behind():
    rows = bytes_per_entry(PUBLISHED, [512], 512_000, TIB, X86, folios=True)
    per_page = {row["map"]: row["bytes_per_page"] for row in rows}
    assert {row["order"] for row in rows} == {9} and {row["nr_pages"] for row in rows} == {512_000}
    assert round(per_page["xarray"], 1) == 1.9
    assert per_page["xarray"] < min(per_page["two_level"], per_page["flat"]) / 8
    # maps that keep one range or one object per folio pay nothing for its pages, and are smaller still
    assert max(per_page[name] for name in ("maple", "rhashtable", "sorted_array")) < 0.1


def test_clustering_helps_every_map_or_leaves_it():
    rows = bytes_per_entry(PUBLISHED, [1, 8, 64, 512], 1 << 19, TIB, X86)
    assert len(rows) == len(PUBLISHED) * 4
    for name in PUBLISHED:
        per_entry = [row["bytes_per_entry"] for row in rows if row["map"] == name]
        assert per_entry == sorted(per_entry, reverse=True)
        assert (per_entry[0] == per_entry[-1]) == (name in ("rhashtable", "sorted_array", "flat"))
