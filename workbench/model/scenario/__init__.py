"""Where counts meet: one frozen question and its answer, and what measured times make of it."""

from workbench.scenario.files import ScenarioFile
from workbench.scenario.footprints import (
    PART,
    Row,
    Scenario,
    break_even,
    compare,
    evaluate,
    machine_of,
    nr_pages_of,
    pinned_from_capture,
)
from workbench.scenario.times import (
    SLOW_DESIGNS,
    model_checks,
    path_costs,
    pin_costs,
    share_curve,
    slow_fast,
)
from workbench.scenario.versus import Criterion, Versus, bytes_map, ns_curves, ns_map, versus
from workbench.scenario.walk import (
    convert,
    landmarks,
    map_walk,
    parse_pfn,
    parse_pfns,
    pinned_set,
    place_of,
    steps_table,
)
