"""Maps whose counts depend on the order of insertion get it from the ops file."""

import json

import numpy as np
import pytest

from workbench import KernelConfig
from workbench.model import pfnmaps
from workbench.model.files import data_dir
from workbench.model.pfnmaps import ops

GOLDEN = json.loads((data_dir() / "golden/xarray_cases.json").read_text())["cases"]
MAPLE = [case for case in GOLDEN if "maple" in case["answer"]]


@pytest.mark.parametrize("case", MAPLE, ids=lambda case: case["name"])
def test_maple_trees_of_ops_files_are_the_kernels_own(case, tmp_path):
    path = tmp_path / "ops.json"
    path.write_text(json.dumps(case["ops"]))
    counts = ops.load_entries(path, KernelConfig()).counts(pfnmaps.get("maple"), KernelConfig())
    assert (counts.nr_nodes, counts.height, counts.node_bytes) == tuple(case["answer"]["maple"].values())
    assert counts.exact


def _store(start, count=1, stride=1):
    return {"op": "store", "start": start, "count": count, "stride": stride}


@pytest.mark.parametrize(("stored", "ascending"), [
    ([_store(5, 3, 2), _store(10)], True),
    ([_store(5, 3, 2), _store(9)], False),
    ([{"op": "store_runs", "starts": [64, 0], "lengths": [8, 8]}], False),
    ([_store(5), _store(5) | {"op": "erase"}], False),
    ([{"op": "store_range", "first": 1, "last": 9}, {"op": "checkpoint", "label": "x"},
      {"op": "store_order", "start": 16, "count": 2, "stride": 8, "order": 3}], True),
])  # fmt: skip
def test_ascending_means_each_above_the_one_before(stored, ascending, tmp_path):
    path = tmp_path / "ops.json"
    path.write_text(json.dumps(stored))
    assert ops.load_entries(path, KernelConfig()).ascending is ascending


def test_an_array_of_pfns_says_its_order_itself(tmp_path):
    for pfns, ascending in (([1, 2, 3], True), ([3, 1, 2], False)):
        np.save(tmp_path / "pfns.npy", np.array(pfns, dtype=np.uint64))
        assert ops.load_entries(tmp_path / "pfns.npy", KernelConfig()).ascending is ascending
