"""Where counts meet: one frozen question and its answer, and what measured times make of it."""

from workbench.model.scenario.files import ScenarioFile
from workbench.model.scenario.footprints import (
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
