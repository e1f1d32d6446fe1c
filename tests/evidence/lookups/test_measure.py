"""Measuring: what is said of the passes, what stops it, and where it works. No test asserts a nanosecond."""

import os
from dataclasses import replace

import numpy as np
import pytest

from workbench.cli import main
from workbench.evidence.lookups import (
    _host as host,
)
from workbench.evidence.lookups import (
    _structures as structures,
)
from workbench.evidence.lookups import (
    _table as table,
)
from workbench.evidence.lookups import (
    measure,
    model,
    subjects,
)
from workbench.evidence.lookups.costs import CostRow, CostTable
from workbench.model import pfnmaps
from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet

FEW = {"passes": 3, "nr_lookups": 64}


@pytest.fixture(scope="module")
def subject():
    pfns = PfnSet.from_pfns(range(0, 500, 5))
    return subjects.pfn_map(structures.xarray(pfns), pfns, shape="every fifth")


def test_a_row_says_what_was_measured(subject):
    told = []
    dependent, independent = measure.measure([subject], **FEW, progress=lambda *args: told.append(args))
    assert (dependent.loop, independent.loop) == ("dependent", "independent")
    assert dependent.passes in (3, 6)
    assert 0 < dependent.ns_min <= dependent.ns_median <= dependent.ns_max
    assert (dependent.nr_lookups, dependent.nr_entries, dependent.height) == (64, 100, 2)
    assert dependent.working_set_bytes == 584 * 9
    assert dependent.dependent_loads == 5
    assert dependent.shape == "every fifth"
    assert [nr for nr, _, _ in told] == list(range(1, 9))
    assert {total for _, total, _ in told} == {8}


def test_no_two_passes_have_the_same_keys(subject):
    drawn = []

    def draw(nr, rng):
        drawn.append(subject.draw(nr, rng))
        return drawn[-1]
    measure.measure([replace(subject, draw=draw, loops=("dependent",))], **FEW)
    assert len({keys.tobytes() for keys in drawn}) == len(drawn) >= 6


def test_a_loop_that_skips_work_is_not_timed(subject):
    skips = replace(subject, loop=lambda keys, z, *args: subject.loop(keys[1:], z, *args))
    with pytest.raises(measure.WrongResult, match="xarray, dependent: results sum up to 0x"):
        measure.measure([skips], **FEW)


@pytest.mark.parametrize(("ns", "is_wild"), [
    ([1.0] * 7, False), ([1.0, 1.1, 1.2, 1.3, 1.4, 1.4, 1.45], False), ([1.0] * 6 + [50.0], False),
    ([1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0], True), ([1.0, 1.0, 1.0, 5.0, 9.0, 9.0, 9.0], True), ([3.0], False)])
def test_a_wild_spread_is_said(ns, is_wild):
    found = measure.summary(ns)
    assert bool(found["unusable"]) == is_wild
    assert (found["ns_min"], found["ns_max"], found["passes"]) == (min(ns), max(ns), len(ns))


def test_a_wild_row_gets_twice_the_passes_and_is_marked(subject, monkeypatch):
    clock = iter(np.cumsum([0, *([1000, 0] * 3), *([1000, 0, 5000, 0, 1000, 0, 9000, 0] * 20)]).tolist())
    monkeypatch.setattr(measure, "clock", lambda: next(clock))
    (row,) = measure.measure([replace(subject, loops=("dependent",))], passes=7, nr_lookups=64)
    assert row.passes == 14
    assert "the middle half of 14 passes spreads from" in row.unusable


def stops_after(nr):
    def progress(done, total, what):
        if done == nr:
            raise KeyboardInterrupt
    return progress


def test_an_interrupt_keeps_what_is_done(subject):
    both = [subject, subject]
    with pytest.raises(measure.Interrupted) as stop:
        measure.measure(both, passes=9, nr_lookups=64, progress=stops_after(4 + 4 * 7 + 2))
    assert [row.passes for row in stop.value.rows] in ([8, 8, 7, 7], [7, 7, 8, 8])
    with pytest.raises(measure.Interrupted) as stop:
        measure.measure(both, passes=9, nr_lookups=64, progress=stops_after(4 + 4 * 3))
    assert stop.value.rows == []


@pytest.mark.parametrize("missing", ["sched_setaffinity", "sched_getaffinity"])
def test_without_a_choice_of_cpus_it_measures_all_the_same(subject, monkeypatch, missing):
    monkeypatch.delattr(os, missing, raising=False)
    with host.pinned() as cpu:
        assert cpu is None
    assert len(measure.measure([subject], **FEW)) == 2


def test_one_cpu_is_chosen_and_given_back(monkeypatch):
    allowed = {3, 5}
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(allowed), raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: (allowed.clear(), allowed.update(cpus)),
                        raising=False)
    with host.pinned() as cpu:
        assert (cpu, allowed) == (5, {5})
    assert allowed == {3, 5}
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: (_ for _ in ()).throw(OSError("no")))
    with host.pinned() as cpu:
        assert cpu is None


# This machine

def test_caches_by_level_and_type(tmp_path):
    for nr, (level, kind, size) in enumerate([("1", "Data", "48K"), ("3", "Unified", "32M")]):
        folder = tmp_path / f"index{nr}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size), ("coherency_line_size", "64"),
                           ("shared_cpu_list", "0-1")):
            (folder / name).write_text(text + "\n")
    (tmp_path / "index2").mkdir()  # a cache that says nothing
    found = host.caches(tmp_path)
    assert [(c["level"], c["type"], c["size_bytes"]) for c in found] == [(1, "Data", 49152),
                                                                       (3, "Unified", 32 << 20)]
    assert found[0] == {"level": 1, "type": "Data", "size_bytes": 49152, "line_bytes": 64, "shared_by": "0-1"}
    assert host.caches(tmp_path / "nowhere") == ()


def test_the_machine_is_named_without_its_host_name():
    assert host.cpu_model() in host.machine()
    assert os.uname().nodename not in host.machine()
    assert {"numba", "numpy", "python", "kernel"} <= set(host.versions())


# The model

def curve(**latency):
    """A table with a latency curve and one measured map."""
    rows = [CostRow(path="chase", loop="dependent", working_set_bytes=int(size), ns_min=ns, ns_median=ns,
                    ns_max=ns, passes=7) for size, ns in latency.items()]
    flat = CostRow(path="flat", loop="dependent", working_set_bytes=4096, levels=((1, 4096),), ns_min=5.0,
                   ns_median=5.0, ns_max=5.0, passes=7)
    return CostTable(machine="m", cpu="c", date="d", rows=(*rows, flat))


def test_a_prediction_by_hand_and_its_error():
    some = curve(**{"4096": 4.0, "65536": 8.0, "1048576": 100.0})
    (only,) = model.check(some)
    assert (only.predicted_ns, only.error) == (4.0, pytest.approx(-0.2))
    levels = [(1, 0), (2, 4096), (2, 65536 - 4096), (2, 1048576 - 65536)]
    found = model.predict("flat", levels, some)
    assert found.ns == 2 * 4.0 + 2 * 8.0 + 2 * 100.0  # each level among all that is touched above it too
    assert (found.error_median, found.error_worst) == (pytest.approx(-0.2),) * 2
    assert (found.nr_checks, found.extrapolated) == (1, False)
    assert model.predict("flat", [*levels, (1, 1 << 30)], some).extrapolated


def test_no_prediction_without_its_error():
    with pytest.raises(InputError, match="no usable dependent rows of 'maple'"):
        model.predict("maple", [(1, 64)], curve(**{"4096": 4.0}))
    with pytest.raises(InputError, match="has no rows of path 'chase'"):
        model.predict("flat", [(1, 64)], curve())


@pytest.mark.parametrize("name", pfnmaps.registry())
@pytest.mark.parametrize("step", [1, 1000])
def test_lines_of_a_map_that_is_not_built_are_near_those_of_one_that_is(name, step):
    places = np.random.default_rng(1).integers(0, step, 30_000, dtype=np.uint64)
    pfns = PfnSet.from_pfns(np.arange(30_000, dtype=np.uint64) * np.uint64(step) + places)
    counted = model.levels_of(pfnmaps.get(name).counts(pfns, KernelConfig()))
    built = structures.build(name, pfns)
    loads = [level.nr_loads for level in built.levels]
    assert [nr for nr, _ in counted] == pytest.approx(loads, rel=0.05)
    # maple: counts are of insertion in random order of single pages, which dense extents are not
    near = 0.25 if name == "maple" else 0.1
    assert sum(size for _, size in counted) == pytest.approx(built.touched_bytes, rel=near)


def test_levels_of_nothing_and_of_an_unknown_map():
    counts = pfnmaps.get("flat").counts(PfnSet.empty(), KernelConfig())
    assert model.levels_of(counts) == ()
    with pytest.raises(InputError, match="'btree' has no model"):
        model.levels_of(replace(counts, map="btree", nr_entries=1))


# Tables

@pytest.fixture
def tiny(monkeypatch):
    """A plan of two groups, few passes of few lookups."""
    plan = [("curve", lambda: [subjects.chase(4096)]),
            ("maps", lambda: table._maps(100, "dense", ("random",), ())),
            ("too large", lambda: [subjects.flag_test(1 << 40)])]
    monkeypatch.setattr(table, "groups", lambda full: iter(plan))
    monkeypatch.setattr(measure, "MIN_LOOKUPS", 64)
    monkeypatch.setattr(measure, "MAX_LOOKUPS", 64)


def test_a_table_is_measured_saved_and_read(tiny, tmp_path, capsys):
    target = tmp_path / "t.json"
    assert main(["measure", "--full", "-o", str(target)]) == 0
    out, err = capsys.readouterr()
    found = CostTable.load(target)
    assert f"{len(found.rows)} rows in" in out
    assert "[1/3] curve" in err
    assert found.paths == ["chase", *structures.MAPS]
    assert len(found.rows) == 1 + 2 * len(structures.MAPS)
    assert found.method["complete"]
    assert found.method["left_out"][0].startswith("too large: a memmap of 1,099,511,627,776 pages takes")
    assert all(row.passes >= 7 for row in found.rows)
    (dense,) = found.select(path="xarray", loop="dependent")
    assert (dense.shape, dense.height, dense.dependent_loads) == ("dense", 2, 5)


def test_an_interrupted_table_keeps_its_rows(tiny, monkeypatch, tmp_path):
    real, calls = measure.measure, []

    def stopped(group, **options):
        calls.append(1)
        rows = real(group, **options)
        if len(calls) == 2:
            raise measure.Interrupted(rows[:1])
        return rows
    monkeypatch.setattr(measure, "measure", stopped)
    assert main(["measure", "--quick", "-o", str(tmp_path / "t.json")]) == 130
    found = CostTable.load(tmp_path / "t.json")
    assert found.paths == ["chase", "xarray"]
    assert found.method["complete"] is False


def test_a_table_is_not_measured_for_a_folder_that_is_not_there(tmp_path, capsys):
    assert main(["measure", "--quick", "-o", str(tmp_path / "no" / "t.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("full", [False, True])
def test_the_plan_reaches_from_the_nearest_cache_to_beyond_the_last(full):
    names = [name for name, _ in table.groups(full=full)]
    assert len(set(names)) == len(names)
    sizes = table._sizes(1 << 12, table.largest_bytes(), 2)
    assert sizes[0] == 4096
    assert sizes[-1] == table.largest_bytes() >= min(4 * host.last_level_bytes(), 1 << 20)
    assert sizes == sorted(set(sizes))
