"""Cost tables: what is read is what was written, bad files name their fault, estimates say their range."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.evidence.lookups.costs import CostRow, CostTable, Estimate, shipped
from workbench.model.errors import InputError
from workbench.model.files import data_dir


def row(size, ns, **values):
    given = {"path": "xarray", "loop": "dependent", "working_set_bytes": size, "ns_min": ns - 1,
             "ns_median": ns, "ns_max": ns + 1, "passes": 7}
    return CostRow(**{**given, **values})


def table(*rows):
    return CostTable(machine="a machine", cpu="a CPU", date="2026-11-24T00:00:00+00:00", rows=rows,
                     caches=({"level": 1, "type": "Data", "size_bytes": 32768},), versions={"numba": "0.68"},
                     method={"passes": 7})


FULL = table(row(1024, 4.0, levels=((1, 0), (2, 576), (1.5, 1024))),
             row(4096, 8.0, nr_entries=10, height=2, shape="dense", nr_lookups=100),
             row(0, 1.0, path="vmemmap/page_to_pfn", loop="independent", order="sequential"),
             row(64, 9.0, path="proxy_test", dynamic=0.5, run=8, unusable="passes took 1 to 9 ns"))


def test_what_is_read_is_what_was_saved(tmp_path):
    FULL.save(tmp_path / "t.json")
    assert CostTable.load(tmp_path / "t.json") == replace(FULL, name="t.json")
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


def test_the_file_has_the_keys_of_a_cost_table():
    content = json.loads(FULL.to_json())
    assert content["format"] == "cost-table/1"
    assert {"machine", "cpu", "caches", "date", "versions", "method", "rows"} <= set(content)
    for found in content["rows"]:
        assert {"loop", "working_set_bytes", "hit", "ns_min", "ns_median", "ns_max", "passes"} <= set(found)
    assert [("map" in found, "path" in found) for found in content["rows"]] == [(True, False)] * 2 + [
        (False, True)] * 2


def test_loads_and_lines_are_the_sums_of_the_levels():
    assert (FULL.rows[0].dependent_loads, FULL.rows[0].touched_bytes) == (4.5, 1600)
    assert (FULL.rows[1].dependent_loads, FULL.rows[1].touched_bytes) == (None, None)


def test_a_save_that_fails_leaves_what_was_there(tmp_path):
    target = tmp_path / "t.json"
    FULL.save(target)
    before = target.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        table(row(1, 1.0, ns_max=float("inf"))).save(target)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]
    with pytest.raises(InputError, match="cannot be written: No such file"):
        FULL.save(tmp_path / "nowhere" / "t.json")


def changed(change):
    content = json.loads(FULL.to_json())
    change(content)
    return content


@pytest.mark.parametrize(("change", "told"), [
    (lambda c: c.pop("caches"), "t.json: lacks 'caches'"),
    (lambda c: c.update(format="cost-table/2"), "format 'cost-table/2' is neither 'cost-table/1' nor"),
    (lambda c: c.pop("format"), "format None is neither"),
    (lambda c: c.update(rows={}), "'rows' is a dict, not a list"),
    (lambda c: c["rows"][1].pop("hit"), "t.json, row 1: lacks 'hit'"),
    (lambda c: c["rows"][0].pop("map"), "row 0: has not exactly one of 'map' and 'path'"),
    (lambda c: c["rows"][2].update(map="xarray"), "row 2: has not exactly one of"),
    (lambda c: c["rows"][0].update(loop="latency"), "row 0: loop 'latency' is neither 'dependent' nor"),
    (lambda c: c["rows"][0].update(hit=1.5), "row 0: hit 1.5 is outside 0..1"),
    (lambda c: c["rows"][0].update(hit=True), "row 0: hit True is not of kind float"),
    (lambda c: c["rows"][0].update(ns_median="4"), "row 0: ns_median '4' is not of kind float"),
    (lambda c: c["rows"][0].update(ns_min=5.5), "row 0: ns_min 5.5, ns_median 4.0, ns_max 5.0 are not in"),
    (lambda c: c["rows"][0].update(working_set_bytes=-1), "row 0: working_set_bytes -1 is negative"),
    (lambda c: c["rows"][0].update(ns_max=float("1e999")), "Infinity is no JSON number"),
    (lambda c: c["rows"][0].update(passes=0), "row 0: passes and run must be 1 or more"),
    (lambda c: c["rows"][0].update(ns_mean=3), "row 0: has a key 'ns_mean'"),
    (lambda c: c["rows"][0].update(levels=[[1, 0], [2]]), "row 0: level [2] is not a number of loads and of"),
    (lambda c: c["rows"].append(3), "row 4: is a int and no object"),
])
def test_a_bad_table_names_its_fault(tmp_path, change, told):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(changed(change)))
    with pytest.raises(InputError) as error:
        CostTable.load(path)
    assert told in str(error.value)
    assert "t.json" in str(error.value)


@pytest.mark.parametrize(("text", "told"), [
    ("", "is no JSON"), ("[1]", "holds a JSON list"), ('{"format": NaN}', "NaN is no JSON number"),
    (FULL.to_json().replace('"ns_max": 5.0', '"ns_max": 1e999', 1), "row 0: ns_max inf is negative or inf"),
    ('{"format": "lookup-times/1"}', "lacks 'machine', which lookup-times/1 has"),
    ('{"format": "lookup-times/1", "machine": {"reps": 7, "cpu": "", "date": ""}, "contenders": {}, '
     '"flat": [], "proxy": [], "tree": [{"ns": {"odd": [1, 1]}}]}', "contender 'odd' is none of"),
])
def test_what_is_no_table_is_refused(tmp_path, text, told):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(InputError, match=told):
        CostTable.load(tmp_path / "t.json")


def test_a_missing_table_names_the_shipped_ones(tmp_path):
    with pytest.raises(InputError, match=r"No such file.*shipped tables: .*epyc-2vcpu, .*xeon-16vcpu"):
        CostTable.load(tmp_path / "none.json")


# Estimates

def test_halfway_between_two_sizes_on_a_logarithmic_axis():
    found = table(row(1024, 4.0), row(4096, 8.0)).ns("xarray", "dependent", 2048)
    assert found == Estimate(6.0, 5.0, False, (1024, 4096))
    assert float(found) == 6.0


def test_beyond_the_measured_sizes_the_nearest_is_given_and_marked():
    some = table(row(1024, 4.0), row(4096, 8.0))
    assert some.ns("xarray", "dependent", 1 << 30) == Estimate(8.0, 7.0, True, (1024, 4096))
    assert some.ns("xarray", "dependent", 0) == Estimate(4.0, 3.0, True, (1024, 4096))
    assert not some.ns("xarray", "dependent", 4096).extrapolated
    assert not some.ns("xarray", "dependent", 1024).extrapolated


def test_a_path_in_registers_has_no_size():
    assert FULL.ns("vmemmap/page_to_pfn", "independent", 1 << 40, order="sequential").extrapolated is False


def test_between_dynamic_shares_linearly_and_never_outside_them():
    mixed = table(*(row(64, ns, path="proxy_test", dynamic=share)
                    for share, ns in ((0, 1), (0.5, 5), (1, 2))))
    assert mixed.ns("proxy_test", "dependent", 64, dynamic=0.25).ns_median == 3.0
    assert mixed.ns("proxy_test", "dependent", 64, dynamic=0.5).ns_median == 5.0
    part = table(row(64, 5, path="proxy_test", dynamic=0.5))
    with pytest.raises(InputError, match=r"measured at a dynamic share of 0\.5, not 0\.25"):
        part.ns("proxy_test", "dependent", 64, dynamic=0.25)


def test_calls_that_all_go_one_way_are_a_run_of_any_length():
    mixed = table(row(64, 1.0, path="proxy_test"), row(64, 9.0, path="proxy_test", dynamic=0.5),
                  row(64, 5.0, path="proxy_test", dynamic=0.5, run=64))
    assert mixed.ns("proxy_test", "dependent", 64, dynamic=0.25, run=64).ns_median == 3.0
    assert mixed.ns("proxy_test", "dependent", 64, dynamic=0.25).ns_median == 5.0
    with pytest.raises(InputError, match="no rows of run 8"):
        mixed.ns("proxy_test", "dependent", 64, dynamic=0.25, run=8)


@pytest.mark.parametrize(("asked", "told"), [
    ({"path": "maple"}, "has no rows of path 'maple'; it has proxy_test, vmemmap/page_to_pfn, xarray"),
    ({"hit": 0.5}, "has no rows of hit 0.5, path xarray, loop dependent, order random; it has 1.0"),
    ({"path": "proxy_test", "run": 8}, "passes took 1 to 9 ns"),
    ({"shape": "odd"}, "none of 'odd'"),
    ({"working_set_bytes": -1}, "must be 0 or more"),
    ({"working_set_bytes": float("nan")}, "must be 0 or more"),
])
def test_what_was_not_measured_is_refused(asked, told):
    rows = table(row(1024, 4.0), *FULL.rows[2:])
    with pytest.raises(InputError) as error:
        rows.ns(**{"path": "xarray", "loop": "dependent", "working_set_bytes": 64, **asked})
    assert told in str(error.value)


def test_trees_of_several_shapes_are_not_mixed():
    both = table(row(1024, 4.0, shape="dense"), row(1024, 9.0, shape="sparse"))
    with pytest.raises(InputError, match="rows of shape dense, sparse; name one"):
        both.ns("xarray", "dependent", 1024)
    assert both.ns("xarray", "dependent", 1024, shape="sparse").ns_median == 9.0


@given(st.dictionaries(st.integers(1, 1 << 40), st.floats(1, 1e4), min_size=1), st.integers(0, 1 << 42))
def test_an_estimate_lies_between_its_neighbours(times, size):
    found = table(*(row(at, ns) for at, ns in times.items())).ns("xarray", "dependent", size)
    below = [at for at in times if at <= size]
    above = [at for at in times if at >= size]
    near = [times[at] for at in (*sorted(below)[-1:], *sorted(above)[:1])]
    assert min(near) * (1 - 1e-9) <= found.ns_median <= max(near) * (1 + 1e-9)
    assert found.extrapolated == (not below or not above)


# The shipped ones

@pytest.mark.parametrize("name", [name for name in shipped() if CostTable.load(name).reference])
def test_reference_rows_are_the_file_s_numbers(name):
    found = CostTable.load(name)
    content = json.loads((data_dir() / "costs" / f"{name}.json").read_text())
    case = next(c for c in content["tree"] if (c["case"], c["mode"], c["hit"], c["order"])
                == ("u1e6_2^30", "dep", 0.5, "rand"))
    (xa_load,) = found.select(path="xarray", shape="u1e6_2^30", loop="dependent", hit=0.5)
    assert [xa_load.ns_median, xa_load.ns_min] == case["ns"]["c_kernel_xa_load"]
    assert "the kernel's own lib/xarray.c xa_load(), 6.1.192" in xa_load.source
    assert (xa_load.working_set_bytes, xa_load.height) == (case["nodes"] * 584, case["height"])
    assert found.reference
    nr = sum(len(c["ns"]) for kind in ("tree", "proxy") for c in content[kind])
    arithmetic = 4  # contenders that touch no memory: one row for all sizes, in each loop and order
    nr += sum(len(c["ns"]) - arithmetic * (c["log2_pages"] != 14) for c in content["flat"])
    assert len(found.rows) == nr
    assert all(r.source for r in found.rows)


def test_a_reference_is_not_saved_as_a_table_of_this_workbench(tmp_path):
    with pytest.raises(InputError, match="reference table is not written"):
        CostTable.load("epyc-2vcpu").save(tmp_path / "t.json")
    assert not list(tmp_path.iterdir())


def test_reading_tables_needs_no_numba():
    code = ("import sys; from workbench import CostTable; CostTable.load('epyc-2vcpu'); "
            "print({'numba', 'pandas', 'pyarrow'} & set(sys.modules))")
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "set()"
