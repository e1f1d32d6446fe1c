"""Counts of a replay and times of a table meet in scenario.pin_costs: worked by hand on a made-up table."""

import math

from workbench import replay
from workbench.lookups.costs import CostRow, CostTable
from workbench.scenario import pin_costs


def row(path, entries, height, ns, **more):
    return CostRow(path=path, loop="dependent", working_set_bytes=1, ns_min=ns, ns_median=ns, ns_max=ns,
                   passes=7, nr_entries=entries, height=height, shape="s", **more)  # fmt: skip


def test_the_nearest_row_of_the_map_and_nothing_else_gives_the_time():
    table = CostTable(
        machine="m", cpu="c", date="2026-01-01",
        rows=(row("xarray", 1000, 4, 30.0), row("xarray", 1800, 5, 99.0), row("xarray", 10**6, 4, 77.0),
              row("xarray", 1864, 4, 1.0, unusable="wild"), row("maple", 10, None, 5.0)))  # fmt: skip
    found = replay("pins-mixed-lossy-kprobe", designs=["dynamic_page", "foll_pin"], maps=["maple", "flat"])
    costs = pin_costs(found, table).set_index("map")
    assert set(costs.index) == {"xarray", "maple", "flat"}
    assert costs.loc["xarray", "lookup_ns"] == 30.0  # of its height, and the nearest number of entries
    share = found.designs[0].percent_met / 100
    assert math.isclose(costs.loc["xarray", "ns_per_pin"], 30.0 * share)
    assert costs.loc["maple", "lookup_ns"] == 5.0
    assert math.isnan(costs.loc["flat", "lookup_ns"]) and costs.loc["flat", "taken_from"] == ""
    assert (costs["machine"] == "m").all()
