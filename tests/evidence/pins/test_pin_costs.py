"""Counts of a replay and times of a table meet in scenario.pin_costs: worked by hand on a made-up table."""

import math

from workbench import replay
from workbench.evidence.lookups.costs import CostRow, CostTable
from workbench.evidence.lookups.nearest import nearest
from workbench.studies.times import pin_costs


def row(path, entries, height, ns, shape, **more):
    return CostRow(path=path, loop="dependent", working_set_bytes=None, ns_min=ns, ns_median=ns, ns_max=ns,
                   passes=7, nr_entries=entries, height=height, shape=shape, **more)  # fmt: skip


def test_the_row_most_like_the_map_gives_the_time_and_no_other():
    table = CostTable(
        machine="m", cpu="c", date="2026-01-01",
        rows=(row("xarray", 2000, 4, 30.0, "u"), row("xarray", 2000, 4, 5.0, "dense"),
              row("xarray", 10**6, 4, 77.0, "u"), row("xarray", 1864, 4, 1.0, "u", unusable="wild"),
              row("maple", 2000, None, 8.0, "dense"), row("maple", 2000, None, 9.0, "u")))  # fmt: skip
    names = ["dynamic_page", "foll_pin", "flag_side_table"]
    found = replay("pins-mixed-lossy-kprobe", designs=names, maps=["maple", "flat"])
    costs = pin_costs(found, table).set_index(["design", "map"])
    assert {design for design, _ in costs.index} == {"dynamic_page", "flag_side_table"}
    ours = costs.loc["dynamic_page"]
    assert ours.loc["xarray", "lookup_ns"] == 30.0  # scattered, of its size
    assert ours.loc["maple", "lookup_ns"] == 9.0
    assert math.isclose(ours.loc["xarray", "ns_per_pin"], 30.0 * 51417 / 173205)
    assert math.isclose(costs.loc[("flag_side_table", "maple"), "ns_per_pin"], 9.0 * 297084 / 173205)
    assert math.isnan(ours.loc["flat", "lookup_ns"]) and ours.loc["flat", "taken_from"] == "not measured"
    assert costs["note"].str.contains("incomplete").all() and (costs["date"] == "2026-01-01").all()


def test_an_estimate_is_scaled_by_loads_and_comes_with_its_error():
    rows = (row("xarray", 1000, 4, 90.0, "u"), row("xarray", 1000, 5, 100.0, "u"))
    table = CostTable(machine="m", cpu="c", date="d", rows=rows)
    found = nearest(table, "xarray", nr_entries=1000, dense=False, loads=13)
    assert math.isclose(found.ns, 100.0 * 13 / 11)
    errors = (100 * 9 / 11 / 90 - 1, 90 * 11 / 9 / 100 - 1)
    assert math.isclose(found.error_median, sum(abs(e) for e in errors) / 2)
