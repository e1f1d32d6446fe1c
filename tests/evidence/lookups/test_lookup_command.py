"""``workbench lookup``: its keys, the tree that ops leave, and refusals in one line."""

import json

import numpy as np
import pytest

from workbench.cli import main
from workbench.evidence.lookups import measure


def lookup(capsys, *args):
    try:
        status = main(["lookup", *(str(arg) for arg in args)])
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(measure, "PASS_NS", 1e4)
    monkeypatch.setattr(measure, "MIN_LOOKUPS", 64)


@pytest.mark.parametrize("loop", ["dependent", "independent"])
def test_lookup_has_its_keys(capsys, tmp_path, quick, loop):
    path = tmp_path / "pfns.npy"
    np.save(path, np.arange(0, 1000, 10, dtype=np.uint64))
    status, out, _ = lookup(capsys, "maple", "--ops", path, "--loop", loop, "--hit", 0.5, "--order",
                            "sequential", "--json")
    assert status == 0
    found = json.loads(out)
    assert {"ns_min", "ns_median", "ns_max", "passes", "nr_lookups", "working_set_bytes",
            "machine"} <= set(found)
    assert (found["map"], found["loop"], found["order"], found["hit"]) == ("maple", loop, "sequential", 0.5)
    assert found["passes"] >= 7
    assert found["nr_entries"] == 100


def test_lookup_after_ops_has_the_tree_that_they_left(capsys, tmp_path, quick):
    path = tmp_path / "ops.json"
    path.write_text(json.dumps([{"op": "store_range", "first": 100, "last": 10000}]))
    status, out, _ = lookup(capsys, "xarray", "--ops", path, "--loop", "dependent", "--json")
    assert status == 0
    assert (json.loads(out)["working_set_bytes"], json.loads(out)["height"]) == (5 * 584, 3)
    status, out, _ = lookup(capsys, "xarray_lean", "--ops", path, "--loop", "independent")
    assert (status, "ns median" in out) == (0, True)


@pytest.mark.parametrize(("args", "told"), [
    (["btree"], "'btree' is none of those that can be timed"),
    (["xarray", "--hit", "2"], "hit 2.0 is outside 0..1"),
    (["xarray", "--loop", "latency"], "invalid choice: 'latency'"),
    (["flat", "--ops", "{high}"], "a flat table of 1,099,511,627,777 words takes 8,796,093,022,216 bytes"),
    (["xarray", "--ops", "{none}"], "none.npy: leaves no entries"),
    (["xarray", "--ops", "{missing}"], "missing.npy: cannot be read"),
])
def test_lookup_refuses_in_one_line(capsys, tmp_path, args, told):
    for name, pfns in (("some", [1, 2]), ("high", [1 << 40]), ("none", [])):
        np.save(tmp_path / f"{name}.npy", np.array(pfns, np.uint64))
    names = {name: tmp_path / f"{name}.npy" for name in ("some", "high", "none", "missing")}
    given = ["--ops", names["some"], "--loop", "dependent", *[a.format(**names) for a in args[1:]]]
    status, out, err = lookup(capsys, args[0], *given)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert told in err
