"""The C twin of the XArray walk: it finds the same, and its instructions grow as the kernel's own do."""

import itertools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from workbench.evidence.lookups import _structures as structures
from workbench.model.files import data_dir
from workbench.model.memory.pfns import PfnSet

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))
import xa_walk

needs_cc = pytest.mark.skipif(xa_walk.compiler() is None, reason="no C compiler (cc) on PATH")


@needs_cc
def test_the_c_twin_finds_the_same(tmp_path):
    twin = xa_walk.functions(tmp_path)
    for pfns in (PfnSet.from_pfns([0]), PfnSet.from_pfns([0, 63, 64, 4095, 1 << 30]),
                 PfnSet.from_extents([64, 512], [67, 1023], [2, 9])):
        built = structures.xarray(pfns)
        for key in [*structures.entry_pfns(pfns).tolist(), 1, 65, 66, 600, 1 << 31, 2**64 - 1]:
            one_key = np.array([key], np.uint64)
            expected = int(built.loop(one_key, None, *built.args))
            assert {int(f(one_key, 0, *built.args)) for f in twin.values()} == {expected}


@needs_cc
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_instructions_of_the_c_twin_grow_as_those_of_xa_load(tmp_path):
    golden = json.loads((data_dir() / "golden" / "xa_load_instructions.json").read_text())["hit_by_height"]
    kernel = [int(golden[str(height)]) for height in range(1, 8)]
    program = xa_walk.build(tmp_path, "-DWITH_MAIN")
    ours = [xa_walk.instructions(program, height, 100) for height in range(1, 8)]
    per_level = {b - a for a, b in itertools.pairwise(ours)}
    assert len(per_level) == 1  # exactly linear, as the kernel's own code is
    assert {b - a for a, b in itertools.pairwise(kernel)} == {29}
    assert 5 < per_level.pop() <= 29  # the same steps, without the kernel's checks for races
