"""Every design's conversions have a timed path, and arithmetic ones share theirs."""

import pytest

from workbench.evidence.lookups import _table as table
from workbench.evidence.lookups import paths
from workbench.model import designs
from workbench.model.designs.base import Path, Step
from workbench.model.designs.static import Static


@pytest.mark.parametrize("name", designs.names(variants=True))
@pytest.mark.parametrize("op", paths.OPS)
def test_every_design_has_its_timed_path(name, op):
    found = paths.timed_path(designs.get(name), op)
    more_than_arithmetic = (name, op) in paths.TIMED
    assert found == (paths.TIMED[name, op] if more_than_arithmetic else f"vmemmap/{op}")
    assert more_than_arithmetic == (name.startswith("dynamic_page") or (
        op == "page_to_pfn" and name.startswith(("proxy_bit", "netmem"))))


def test_a_design_with_loads_of_its_own_is_not_taken_for_arithmetic():
    class Loads(Static):
        def paths(self, kernel, map_loads=0):
            return (Path("page_to_pfn", "static", (Step("load", "page->flags", 1),)),)

    assert paths.timed_path(Loads(), "page_to_pfn") is None


def test_a_quick_table_times_every_path():
    groups = dict(table.groups(full=False))
    arithmetic = {subject.path for subject in groups["arithmetic"]()}
    small = [build() for name, build in groups.items() if "256 " in name]
    timed = arithmetic | {subject.path for group in small for subject in group}
    assert set(paths.TIMED.values()) | {"vmemmap/page_to_pfn", "vmemmap/pfn_to_page"} <= timed
