"""Counts and times meet in scenario: worked by hand on made-up tables, and bounds on the shipped ones."""

import math

import pytest

from workbench import InputError
from workbench.evidence.lookups.costs import CostRow, CostTable, shipped
from workbench.studies.times import SLOW_DESIGNS, model_checks, path_costs, share_curve, slow_fast


def row(path, ns, **more):
    facts = {"loop": "dependent", "working_set_bytes": 0, "nr_entries": 1000, "passes": 7, **more}
    return CostRow(path=path, ns_min=ns, ns_median=ns, ns_max=ns, **facts)


def table(*rows):
    return CostTable(machine="m", cpu="c", date="2026-01-01", rows=rows)


CONVERSIONS = (
    row("vmemmap/page_to_pfn", 1.0),
    row("vmemmap/pfn_to_page", 1.0),
    *(row("proxy_bit/page_to_pfn", ns, dynamic=share) for share, ns in ((0.0, 2.0), (0.5, 6.0), (1.0, 4.0))),
    row("proxy_bit/page_to_pfn", 3.0, dynamic=0.5, run=64),
    *(row("dynamic_page:range/page_to_pfn", ns, dynamic=share) for share, ns in ((0.0, 1.0), (1.0, 9.0))),
    *(row("dynamic_page:range/pfn_to_page", ns, dynamic=share) for share, ns in ((0.0, 1.0), (1.0, 101.0))),
)


def at(curve, design, share):
    return float(curve[(curve["design"] == design) & (curve["share"].round(6) == share)]["ns"].iloc[0])


def test_a_curve_goes_through_what_was_measured_and_marks_where_designs_cross():
    names = ["static", "proxy_bit", "dynamic_page:range"]
    curve, crossings = share_curve(table(*CONVERSIONS), names, nr_descriptors=1000, page_to_pfn=1.0)
    assert [at(curve, "proxy_bit", share) for share in (0, 0.25, 0.5, 1)] == [2.0, 4.0, 6.0, 4.0]
    assert at(curve, "static", 0.3) == 1.0 and not curve["extrapolated"].any()
    # 1 + 8s against 2 + 8s up to one half, then 8 - 4s: equal at 7/12
    (over,) = crossings[crossings["other"] == "proxy_bit"].itertuples()
    assert over.design == "dynamic_page:range" and math.isclose(over.share, 7 / 12, abs_tol=1e-3)
    assert math.isclose(over.ns, 1 + 8 * 7 / 12, rel_tol=1e-3)


def test_a_share_that_was_not_measured_with_as_many_lies_on_the_line_between_its_neighbours():
    here = CostTable.load("epyc-2vcpu-full")  # 0.99 was measured with 8,192 descriptors, not with 131,072
    curve, _ = share_curve(here, ["dynamic_page:flag"], nr_descriptors=131_072, page_to_pfn=1.0)
    low, mid, high = curve["ns"].iloc[[90, 99, 100]]
    assert math.isclose(mid, low + 0.9 * (high - low))


def test_calls_in_a_row_and_the_mix_of_conversions_count():
    here = table(*CONVERSIONS)
    runs, _ = share_curve(here, ["proxy_bit"], nr_descriptors=1000, run=64, page_to_pfn=1.0)
    assert at(runs, "proxy_bit", 0.5) == 3.0
    half, _ = share_curve(here, ["dynamic_page:range"], nr_descriptors=1000, page_to_pfn=0.25)
    assert math.isclose(at(half, "dynamic_page:range", 1.0), 0.25 * 9 + 0.75 * 101)


def test_what_a_table_does_not_have_is_named():
    with pytest.raises(InputError, match="proxy_bit/page_to_pfn"):
        share_curve(table(*CONVERSIONS[:2]), ["proxy_bit"])
    with pytest.raises(InputError, match="not in 0"):
        share_curve(table(*CONVERSIONS), ["static"], page_to_pfn=2)
    with pytest.raises(InputError, match="proxy_test"):
        flags = row("flag_test", 5.0, working_set_bytes=1 << 20)
        slow_fast([table(*CONVERSIONS[:2], flags, row("xarray", 9.0))])


def test_slow_and_fast_are_the_steps_that_they_are_said_to_be():
    rows = (
        row("vmemmap/page_to_pfn", 1.0), row("vmemmap/pfn_to_page", 2.0),
        row("flag_test", 10.0, working_set_bytes=1 << 10), row("flag_test", 200.0, working_set_bytes=1 << 34),
        row("proxy_test", 0.5), row("proxy_test", 7.0, dynamic=1.0),
        row("xarray", 110.0, height=5, shape="random"),
    )  # fmt: skip
    keys = ["design", "op"]
    found = slow_fast([table(*rows)], nr_pinned=[1000], run_pages=[1]).set_index(keys)
    times = {key: (r.fast_ns, r.slow_ns) for key, r in found.iterrows()}
    load = times["dynamic_page:range", "page_to_pfn"][1]
    assert 10.0 < load < 200.0  # 80,000 bytes lie between the two
    plain = {
        ("proxy_bit", "page_to_pfn"): (1.0, 7.0),  # the test hides behind the arithmetic
        ("dynamic_page:range", "page_to_pfn"): (1.0, load),
        ("dynamic_page:range", "pfn_to_page"): (2.0, 110.0),
    }
    assert times == plain and not found["extrapolated"].any()
    assert math.isclose(found["slow_percent"].iloc[0], 100 * 1000 / (1 << 28))
    whole = [row(f"dynamic_page:flag/{op}", ns, dynamic=share, nr_entries=nr)
             for op, share, ns, nr in (("page_to_pfn", 0.0, 3.0, 100), ("page_to_pfn", 0.0, 9.0, 1000),
                                       ("page_to_pfn", 1.0, 50.0, 1000),
                                       ("pfn_to_page", 0.0, 4.0, 1000))]  # fmt: skip
    found = slow_fast([table(*rows, *whole)], nr_pinned=[1000], run_pages=[1]).set_index(keys)
    assert {key: (r.fast_ns, r.slow_ns) for key, r in found.iterrows()} == plain | {
        ("dynamic_page:flag", "page_to_pfn"): (9.0, 50.0),
        ("dynamic_page:flag", "pfn_to_page"): (4.0, 114.0),
    }
    far = slow_fast([table(*rows)], nr_pinned=[10**6], run_pages=[1]).set_index(keys)["extrapolated"]
    assert far["proxy_bit", "page_to_pfn"] and far["dynamic_page:range", "pfn_to_page"]


def test_a_test_in_registers_costs_nothing_in_the_measured_whole():
    own = CostTable.load("epyc-2vcpu-full")  # what slow_fast's fast paths rest on
    curve, _ = share_curve(own, ["static", "proxy_bit", "dynamic_page:range"], page_to_pfn=1.0)
    plain = at(curve, "static", 0)
    assert all(abs(at(curve, name, 0) / plain - 1) < 0.05 for name in ("proxy_bit", "dynamic_page:range"))


def test_curves_that_never_part_do_not_cross():
    near = (
        *CONVERSIONS[:2],
        *(row("proxy_bit/page_to_pfn", ns, dynamic=s) for s, ns in ((0.0, 0.99), (1.0, 1.01))),
    )
    _, crossings = share_curve(table(*near), ["static", "proxy_bit"], nr_descriptors=1000, page_to_pfn=1.0)
    assert crossings.empty


def test_the_shipped_tables_answer_for_two_cpus():
    tables = [CostTable.load(name) for name in shipped()]
    assert len({t.cpu for t in tables}) >= 2 and len([t for t in tables if not t.reference]) >= 1
    ratios = slow_fast(tables)
    own = [not t.reference for t in tables]
    assert len(ratios) == 3 * 2 * sum(5 if whole else 3 for whole in own)
    walks = ratios[(ratios["design"] == "dynamic_page:range") & (ratios["op"] == "pfn_to_page")]
    for _, rows in walks.groupby(["cpu", "nr_pinned"]):
        scattered, clustered = rows.sort_values("run_pages")["slow_ns"].groupby(rows["run_pages"]).mean()
        assert scattered > clustered
    assert (ratios[ratios["nr_pinned"] > 1000]["ratio"] > 1).all()


def test_a_random_mix_costs_more_than_its_parts_in_the_shipped_table():
    own = CostTable.load("epyc-2vcpu-full")
    alone, _ = share_curve(own, SLOW_DESIGNS, nr_descriptors=256, page_to_pfn=1.0)
    rows, _ = share_curve(own, SLOW_DESIGNS, nr_descriptors=256, run=64, page_to_pfn=1.0)
    for design in SLOW_DESIGNS:  # recorded times: the file, not this machine
        ends = max(at(alone, design, 0), at(alone, design, 1))
        assert at(alone, design, 0.5) > 1.1 * ends
        assert at(alone, design, 0.5) > at(rows, design, 0.5)


def test_paths_and_checks_are_the_tables_own_rows():
    own = CostTable.load("epyc-2vcpu-full")
    costs = path_costs(own, 1000)
    assert {"flag_test", "proxy_bit/page_to_pfn", "xarray", "vmemmap/page_to_pfn"} <= set(costs["path"])
    assert (costs["ns_min"] <= costs["ns_median"]).all()
    assert (costs[costs["path"] == "xarray"]["nr_entries"] == 1000).all()
    checks = model_checks(own)
    error = 100 * (checks["predicted_ns"] / checks["measured_ns"] - 1)
    assert (error - checks["error_percent"]).abs().max() < 1e-9 and len(checks) > 20
