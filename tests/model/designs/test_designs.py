"""Footprints worked out by hand, and what has to hold for every design."""

import sys
from dataclasses import replace

import pytest

from workbench import InputError, KernelConfig, Machine, PfnSet, Scenario, evaluate
from workbench.model import designs, pfnmaps
from workbench.model.designs.dynamic_page import DYNAMIC_PAGE, sizeof_dynamic_page
from workbench.model.kernel.config import presets
from workbench.model.kernel.structs import Struct
from workbench.model.scenario import break_even, compare

TIB = "ram=1TiB"


def test_the_first_five_designs_are_there():
    assert {"static", "hvo", "proxy_bit", "dynamic_page", "foll_pin"} <= set(designs.names())
    assert {"dynamic_page:flag", "dynamic_page:range"} <= set(designs.names(variants=True))


@pytest.mark.parametrize("name", designs.names(variants=True))
def test_parts_are_ints_that_sum_to_the_total(name):
    for machine in (TIB, "ppc64le-64k-3g-2node-radix", "debian-6.12-8g-hugetlb-hvo", "h100-128g-6.18"):
        row = evaluate(Scenario(machine=machine, design=name, nr_pinned="1%", run_pages=8))
        assert all(type(value) is int and value >= 0 for value in row.parts.values()), row.parts
        assert row.total_bytes == sum(row.parts.values())
        assert row.bytes_per_page == row.total_bytes / row.nr_pages


@pytest.mark.parametrize("name", designs.names(variants=True))
def test_every_design_says_what_it_is(name):
    design = designs.get(name)
    assert design.title and design.summary.endswith(".") and design.source and design.tag
    assert design.full_name == name
    ops = {path.op for path in design.paths(KernelConfig())}
    assert {"page_to_pfn", "pfn_to_page"} <= ops
    assert design.limits(KernelConfig())


def test_static_is_64_bytes_a_page_of_every_present_section():
    row = evaluate(Scenario(machine=TIB, design="static"))
    assert row.parts["memmap"] == 64 * 2**28
    assert row.parts["section usage"] == 8192 * 56
    assert row.parts["section roots"] == 16384 + 32 * 4096
    assert row.parts["vmemmap page tables"] == (16 + 1) * 4096  # 16 GiB of vmemmap: 16 PMD tables, one PUD


def test_hvo_saves_what_the_documentation_derives():
    """Per TiB of hugetlb pages: 14 GiB of 16 with 2 MiB pages, 15.996 with 1 GiB pages."""
    tib = Machine.load(TIB)
    for size, saved in ((2 << 20, 7), (1 << 30, 4095)):
        nr = (1 << 40) // size
        machine = replace(tib, hugetlb=(type_hugetlb()(size, nr, saved),))
        static, hvo = (evaluate(Scenario(machine=machine, design=d)) for d in ("static", "hvo"))
        assert static.parts["memmap"] - hvo.parts["memmap"] == nr * saved * 4096


def type_hugetlb():
    from workbench.model.memory.regions import HugeTlb

    return HugeTlb


def test_hvo_on_a_captured_machine_is_the_kernels_own_count():
    machine = Machine.load("debian-6.12-8g-hugetlb-hvo")
    assert evaluate(Scenario(machine=machine, design="hvo")).parts["memmap"] == sum(machine.counter) * 4096


def test_dynamic_page_is_80_bytes_and_agrees_with_its_own_c_text():
    for kernel in presets().values():
        if kernel.layouts:
            laid_out = Struct.from_c(DYNAMIC_PAGE, kernel=kernel, ms_extensions=True)
            assert laid_out.size == sizeof_dynamic_page(kernel) == 80


@pytest.mark.parametrize("name", designs.names())
def test_structs_of_every_design_can_be_laid_out(name):
    for struct, text in designs.get(name).structs(KernelConfig.preset("x86-64")).items():
        laid_out = Struct.from_c(text, name=struct, kernel=KernelConfig.preset("x86-64"), ms_extensions=True)
        assert laid_out.size > 0


def test_the_proxys_c_text_has_the_assumed_size():
    text = designs.get("proxy_bit").structs(KernelConfig())["page_proxy"]
    assert Struct.from_c(text, kernel=KernelConfig.preset("x86-64")).size == Scenario().proxy_bytes


def test_descriptors_and_map_of_an_exact_set_by_hand():
    """100 folios of order 9, packed from pfn 512: 14 nodes of 584 bytes, all in one order-1 slab."""
    first = 512 + 512 * range_array(100)
    pinned = PfnSet.from_extents(first, first + 511, 9)
    row = evaluate(Scenario(machine="ram=1GiB", design="dynamic_page", pinned=pinned))
    assert row.parts["dynamic_page objects"] == 100 * 80
    assert row.parts["dynamic_page slab waste"] == 2 * 4096 - 8000  # 51 objects in each 4 KiB slab
    assert row.exact
    counts = pfnmaps.get("xarray").counts(pinned, Machine.load("ram=1GiB").kernel)
    assert (counts.nr_nodes, counts.node_bytes, counts.bytes) == (14, 14 * 576, 8192)
    assert sum(v for k, v in row.parts.items() if k.startswith("pfn map")) == 8192


def range_array(n):
    import numpy as np

    return np.arange(n, dtype=np.uint64)


def test_foll_pin_costs_nothing_more_and_counts_2097151_pins():
    static, pinned = (
        evaluate(Scenario(machine=TIB, design=d, nr_pinned="5%")) for d in ("static", "foll_pin")
    )
    assert static.parts == pinned.parts
    assert designs.get("foll_pin").limits(KernelConfig())["pins per small page"] == "2,097,151"


def test_flag_and_range_tests_differ_in_loads_not_in_bytes():
    flag, by_range = designs.get("dynamic_page:flag"), designs.get("dynamic_page:range")
    loads = [
        {(p.op, p.case): p.dependent_loads for p in d.paths(KernelConfig(), 11)} for d in (flag, by_range)
    ]
    assert loads[0] == {
        ("page_to_pfn", "static"): 1,
        ("page_to_pfn", "dynamic"): 2,
        ("pfn_to_page", "static"): 0,
        ("pfn_to_page", "dynamic"): 11,
    }
    assert loads[1] == loads[0] | {("page_to_pfn", "static"): 0, ("page_to_pfn", "dynamic"): 1}
    rows = [
        evaluate(Scenario(machine=TIB, design=f"dynamic_page:{v}", nr_pinned=1000)) for v in ("flag", "range")
    ]
    assert rows[0].parts == rows[1].parts


def test_instead_of_a_memmap_descriptors_cost_by_what_is_in_use():
    base = Scenario(machine="h100-128g-6.18", describe_device=True)
    static = evaluate(base.with_(design="static"))
    assert static.parts["device memmap"] == (128 << 30) // 4096 * 64
    none, half, most = (evaluate(base.with_(nr_device_used=n)) for n in (0, "50%", "90%"))
    assert "device memmap" not in none.parts
    assert none.parts["dynamic_page objects"] == 0
    assert half.parts["dynamic_page objects"] == (128 << 30) // 4096 // 2 * 80
    assert none.total_bytes < half.total_bytes < static.total_bytes < most.total_bytes


def test_break_even_is_where_the_totals_cross():
    base = Scenario(machine="ram=64GiB")
    left, right = base.with_(design="proxy_bit"), base.with_(design="dynamic_page", pfn_map="sorted_array")
    share = break_even(right, left)
    nr = round(share / 100 * 2**24)
    before, after = (
        evaluate(right.with_(nr_pinned=n)).total_bytes - evaluate(left.with_(nr_pinned=n)).total_bytes
        for n in (nr - 1, nr)
    )
    assert before <= 0 < after
    assert break_even(base.with_(design="static"), left) is None


@pytest.mark.parametrize("run", [8, 512, 4096])
def test_break_even_fills_no_more_than_whole_runs_fit(run):
    base = Scenario(machine="microvm-24g-6.18", run_pages=run)  # its RAM has odd edges
    assert break_even(base.with_(design="foll_pin"), base.with_(design="dynamic_page")) is None


def test_compare_has_one_row_each_and_parts_that_sum():
    table = compare(Scenario(machine=TIB, design=name, nr_pinned="0.1%") for name in designs.names())
    parts = table.filter(like="part:")
    assert (parts.sum(axis=1) == table["total_bytes"]).all()
    assert {str(t) for t in parts.dtypes} == {"int64"}
    assert table["design"].tolist() == designs.names()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"design": "nonesuch"}, "nonesuch"),
        ({"pfn_map": "btree"}, "btree"),
        ({"machine": "ram=oops"}, "oops"),
        ({"nr_pinned": 2**40}, "pages of RAM"),
        ({"nr_pinned": "120%"}, "120%"),
        ({"nr_pinned": "many"}, "many"),
        ({"run_pages": 3}, "power of two"),
        ({"nr_pinned": -1}, "negative"),
        ({"folio_order": 99}, "order 99"),
        ({"kernel": "vax"}, "vax"),
        ({"proxy_bytes": 0}, "proxy"),
    ],
)
def test_what_a_scenario_cannot_mean_is_named(change, says):
    with pytest.raises(InputError, match=says):
        evaluate(Scenario(machine=TIB).with_(**change) if "machine" not in change else Scenario(**change))


def test_an_unknown_field_is_named():
    with pytest.raises(InputError, match="pined"):
        Scenario().with_(pined=3)


def test_a_new_design_shows_up_everywhere_with_no_other_edit(tmp_path, monkeypatch):
    from workbench.cli import main

    (tmp_path / "phyr.py").write_text("""
from workbench.model.designs.base import VMEMMAP_PATHS, Design, Footprint

class Phyr(Design):
    name, title, order = "phyr", "phyr", 990
    summary, tag, source = "16 bytes for each contiguous range in flight.", "none", "Wilcox, 2022"
    def paths(self, kernel, map_loads=0): return VMEMMAP_PATHS
    def footprint(self, setting): return Footprint({"phyrs": 16 * setting.population.nr_pages})
    def limits(self, kernel): return {"pages": "none"}
""")
    monkeypatch.setattr(designs, "__path__", [*designs.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "workbench.model.designs.phyr", raising=False)
    designs.registry.cache_clear()
    try:
        assert "phyr" in designs.names()
        assert evaluate(Scenario(machine=TIB, design="phyr", nr_pinned=1000)).total_bytes == 16000
        assert main(["overhead", TIB, "--design", "phyr", "--json"]) == 0
    finally:
        sys.modules.pop("workbench.model.designs.phyr", None)
        designs.registry.cache_clear()
