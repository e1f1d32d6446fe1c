"""Sweeps: which points, the same rows everywhere, nothing lost when killed; and what is made of the rows."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench
from workbench import InputError, Machine, PfnSet, Scenario, evaluate
from workbench.model.scenario import break_even, compare
from workbench.model.scenario.batch import scenario_at
from workbench.studies._engines import dask_client
from workbench.studies.sweep import (
    Range,
    break_even_surface,
    load,
    pareto,
    read,
    sobol,
    spec,
    sweep,
    tornado,
    with_ns,
)
from workbench.studies.sweep._analysis import sobol_of
from workbench.studies.sweep._axes import MAX_POINTS

TIB = Scenario(machine="ram=1TiB")
SHARE = Range("0.001%", "10%", log=True)


def test_the_package_is_its_main_function():
    table = workbench.sweep(TIB, folio_order=range(3))
    assert table["folio_order"].tolist() == [0, 1, 2]
    assert workbench.studies.sweep.tornado is tornado


def test_importing_the_workbench_imports_no_dask():
    late = ("dask", "distributed", "scipy", "pandas", "pyarrow", "numba")
    code = f"import sys, workbench.studies.sweep; print([m for m in {late} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


# -- which points -------------------------------------------------------------------------------------------


def test_rows_are_those_of_compare():
    fields = {"design": ["static", "proxy_bit", "dynamic_page"], "pfn_map": ["xarray", "maple"],
              "nr_pinned": ["0.1%", 4096], "run_pages": [1, 8]}
    table = sweep(TIB, **fields)
    wanted = compare(TIB.with_(design=d, pfn_map=m, nr_pinned=n, run_pages=r)
                     for d in fields["design"] for m in fields["pfn_map"] for n in fields["nr_pinned"]
                     for r in fields["run_pages"])
    both = [name for name in table.columns if name in wanted.columns]
    assert {"design", "total_bytes", "notes", "part:memmap", "part:pfn map xa_nodes"} <= set(both)
    pd.testing.assert_frame_equal(table[both], wanted[both], check_dtype=False, check_like=True)
    assert table["point"].tolist() == list(range(24))
    assert table.attrs["sweep"]["vectorised"] == 20  # all but dynamic_page with the maple tree


@given(st.integers(1, 60), st.sampled_from(["random", "lhs"]), st.integers(0, 2**64))
def test_points_do_not_depend_on_how_they_are_cut(size, how, seed):
    sampled = {"nr_pinned": SHARE, "proxy_bytes": Range(8, 200), "run_pages": Range(1, 512),
               "pfn_map": ["xarray", "flat"]}
    what = spec(TIB, grid={"design": ["static", "proxy_bit", "hvo"]}, **{how: sampled}, samples=37, seed=seed)
    assert what.nr_points == 111
    whole = what.columns(0, 111)
    alone = [scenario_at(TIB, whole, at) for at in range(111)]
    cut = []
    for first in range(0, 111, size):
        end = min(first + size, 111)
        columns = what.columns(first, end)
        cut += [scenario_at(TIB, columns, at) for at in range(end - first)]
    assert cut == alone
    assert [s.with_(design="hvo") for s in alone[:37]] == [s.with_(design="hvo") for s in alone[37:74]]


def test_a_field_more_leaves_the_samples_of_the_others():
    one = spec(TIB, random={"proxy_bytes": Range(8, 200)}, samples=50).columns(0, 50)
    two = spec(TIB, random={"nr_pinned": SHARE, "proxy_bytes": Range(8, 200)}, samples=50).columns(0, 50)
    assert one["proxy_bytes"].tolist() == two["proxy_bytes"].tolist()


def test_samples_fill_their_ranges():
    drawn = {"nr_pinned": Range(1, 1_000_000, log=True), "proxy_bytes": Range(8, 11),
             "run_pages": Range(2, 16)}
    columns = spec(TIB, random=drawn, samples=20_000).columns(0, 20_000)
    assert sorted(set(columns["proxy_bytes"].tolist())) == [8, 9, 10, 11]
    assert np.bincount(columns["proxy_bytes"])[8:].min() > 4700
    assert sorted(set(columns["run_pages"].tolist())) == [2, 4, 8, 16]
    assert columns["nr_pinned"].min() >= 1 and columns["nr_pinned"].max() <= 1_000_000
    assert abs(np.median(columns["nr_pinned"]) - 1000) < 150  # as many below 10^3 as above


def test_a_latin_hypercube_has_one_sample_in_each_stratum():
    columns = spec(TIB, lhs={"nr_pinned": Range("0%", "100%"), "proxy_bytes": Range(8, 107)}, samples=100)
    found = columns.columns(0, 100)
    assert sorted(np.floor(found["nr_pinned"].percent).astype(int).tolist()) == list(range(100))
    assert sorted(found["proxy_bytes"].tolist()) == list(range(8, 108))


def test_a_sampled_share_is_pages_and_percent():
    table = sweep(TIB, random={"nr_pinned": SHARE}, samples=30)
    for row in table.to_dict("records"):
        for nr in f"{row['nr_pinned_percent']!r}%", row["nr_pinned"]:
            assert row["total_bytes"] == evaluate(TIB.with_(nr_pinned=nr)).total_bytes


def test_placed_points_are_exact_and_their_own():
    base = Scenario(machine="ram=1GiB", nr_pinned=500)
    table = sweep(base, run_pages=[1, 8], placed=True, proxy_bytes=range(8, 18), batch=3)
    assert table["exact"].all()
    assert table["total_bytes"].nunique() > 3  # placements differ from point to point
    again = sweep(base, run_pages=[1, 8], placed=True, proxy_bytes=range(8, 18), batch=20)
    pd.testing.assert_frame_equal(table, again)


def test_a_point_that_cannot_be_is_a_row():
    table = sweep(Scenario(machine="ram=1MiB"), nr_pinned=[0, 256, 257], design=["proxy_bit", "static"])
    assert table["error"].notna().tolist() == [False] * 4 + [True] * 2
    assert table["error"].iloc[4] == "257 pinned pages, but ram=1MiB has 256 pages of RAM"
    assert table["total_bytes"].isna().tolist() == [False] * 4 + [True] * 2
    assert table["part:memmap"].dtype == "Int64"
    assert table.attrs["sweep"]["errors"] == 2


@pytest.mark.parametrize(("given", "says"), [
    ({"grid": {"nr_pined": [1]}}, "'nr_pined' is no field"),
    ({"grid": {"pinned": [PfnSet.empty()]}}, "'pinned' is no field"),
    ({"grid": {"design": []}}, "empty list"),
    ({"grid": {"design": "static"}}, "not a list"),
    ({"grid": {"design": ["statik"]}}, "'statik' is none of"),
    ({"grid": {"nr_pinned": [math.nan]}}, "nan"),
    ({"grid": {"nr_pinned": [-1]}}, "-1"),
    ({"grid": {"nr_pinned": ["-1%"]}}, "-1%"),
    ({"grid": {"nr_pinned": ["nan%"]}}, "nan%"),
    ({"grid": {"nr_pinned": ["101%"]}}, "more than 100%"),
    ({"grid": {"proxy_bytes": ["1%"]}}, "text"),
    ({"grid": {"run_pages": [True]}}, "True"),
    ({"grid": {"nr_pinned": Range(1, 10)}}, "steps"),
    ({"random": {"nr_pinned": Range(0, 10, log=True)}, "samples": 2}, "above 0"),
    ({"random": {"nr_pinned": Range(9, 1)}, "samples": 2}, "reversed"),
    ({"random": {"nr_pinned": Range("1%", 10)}, "samples": 2}, "one end"),
    ({"random": {"run_pages": Range(1, 500)}, "samples": 2}, "power of two"),
    ({"random": {"design": Range(1, 500)}, "samples": 2}, "takes a list"),
    ({"random": {"nr_pinned": SHARE}}, "samples"),
    ({"samples": 5}, "no fields to sample"),
    ({"random": {"nr_pinned": SHARE}, "lhs": {"run_pages": Range(1, 2)}, "samples": 2}, "in one way"),
    ({"random": {"nr_pinned": SHARE}, "grid": {"nr_pinned": [1]}, "samples": 2}, "in the grid and sampled"),
    ({"grid": {"nr_pinned": range(10**6), "proxy_bytes": range(10**6)}}, "1000000000000 points, at most"),
    ({"lhs": {"nr_pinned": SHARE}, "samples": 10**8}, "at most 10000000"),
    ({"seed": -1}, "seed -1"),
    ({"engine": "ray"}, "engine 'ray'"),
    ({"batch": 0}, "batch of 0"),
    ({"grid": {"nr_pinned": range(10**4), "proxy_bytes": range(10**4)}}, "too many for a DataFrame"),
])
def test_what_cannot_be_swept_is_refused_in_one_line(given, says):
    with pytest.raises(InputError) as error:
        sweep(TIB, **given)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_the_limit_of_points_is_a_limit():
    half = {"nr_pinned": range(1000), "proxy_bytes": range(1000)}
    assert spec(TIB, grid=half | {"folio_desc_bytes": range(1000)}).nr_points == MAX_POINTS
    with pytest.raises(InputError, match="points, at most"):
        spec(TIB, grid=half | {"folio_desc_bytes": range(1001)})


# -- the same rows everywhere -------------------------------------------------------------------------------

MIXED = {"grid": {"design": ["static", "proxy_bit", "dynamic_page"],
                  "pfn_map": ["xarray", "rhashtable", "maple"]},
         "random": {"nr_pinned": SHARE, "run_pages": Range(1, 64), "folio_order": Range(0, 3)}, "samples": 60}
BASE = Scenario(machine="ram=3GiB,hole=1GiB-2GiB")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """MIXED in this process, in one batch."""
    out = tmp_path_factory.mktemp("plain") / "plain.parquet"
    sweep(BASE, **MIXED, out=out, batch=1 << 16)
    return out


def same(one, other):
    left, right = pq.read_table(one), pq.read_table(other)
    return left.schema.equals(right.schema, check_metadata=True) and left.equals(right)


@pytest.mark.parametrize("batch", [7, 100, None])
def test_batches_do_not_show(plain, tmp_path, batch):
    done = sweep(BASE, **MIXED, out=tmp_path / "a.parquet", batch=batch)
    assert (done.points, done.resumed) == (540, 0)
    assert (tmp_path / "a.parquet").read_bytes() == plain.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_processes_and_dask_give_the_same_bytes(plain, tmp_path):
    """Two workers each; the cluster is started once, and used by its address and by its name."""
    sweep(BASE, **MIXED, out=tmp_path / "p.parquet", batch=64, engine="processes", workers=2)
    assert (tmp_path / "p.parquet").read_bytes() == plain.read_bytes()
    with dask_client("local:2") as client:
        address = client.scheduler.address
        done = sweep(BASE, **MIXED, out=tmp_path / "d.parquet", batch=64, engine=address)
        assert done.engine == address
        assert len(client.nthreads()) == 2
    assert (tmp_path / "d.parquet").read_bytes() == plain.read_bytes()
    assert same(tmp_path / "d.parquet", plain)


def test_a_file_and_a_frame_hold_the_same(plain):
    frame, kept = sweep(BASE, **MIXED), read(plain)
    pd.testing.assert_frame_equal(frame, kept)
    about = kept.attrs["sweep"]
    assert (about["format"], about["seed"], about["points"]) == ("page-sweep/1", 1, 540)
    assert about["spec"]["base"]["machine"] == BASE.machine
    assert about["spec"]["random"]["nr_pinned"] == {"min": "0.001%", "max": "10%", "scale": "log"}
    assert about["vectorised"] == 480


def test_a_script_without_a_guard_may_use_processes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import workbench\nprint('once')\n"
                      "table = workbench.sweep(workbench.Scenario(machine='ram=1GiB'), engine='processes', "
                      "workers=2, nr_pinned=range(100))\nprint(len(table))\n")
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100)
    assert (found.returncode, found.stdout, found.stderr) == (0, "once\n100\n", "")


def test_another_version_on_a_worker_is_named(monkeypatch):
    from workbench.studies import _engines as engines

    class Client:
        def nthreads(self):
            return {"tcp://w": 1}

        def get_versions(self):
            packages = {"packages": {"distributed": "1", "dask": "1"}}
            return {"client": packages, "scheduler": packages, "workers": {"tcp://w": packages}}

        def run(self, function, on_error):
            return {"tcp://w": self.there}

    client = Client()
    client.there = engines.about()
    engines._check_workers(client, "tcp://s")
    client.there = engines.about() | {"workbench": "0.0.9"}
    with pytest.raises(InputError, match=r"worker tcp://w has workbench 0\.0\.9, here is"):
        engines._check_workers(client, "tcp://s")
    client.there = ModuleNotFoundError("No module named 'workbench'")
    with pytest.raises(InputError, match="worker tcp://w cannot run this workbench"):
        engines._check_workers(client, "tcp://s")


# -- interrupted --------------------------------------------------------------------------------------------

def test_killed_and_resumed_is_as_if_never_killed(plain, tmp_path):
    """SIGKILL after some of 18 batches; what was done is not done again, and the bytes are the same."""
    out = tmp_path / "k.parquet"
    code = ("import time; from workbench.studies.sweep import _store as store, sweep, Range\n"
            "from workbench import Scenario\nkeep = store.Parts.add\n"
            "def slow(self, nr, rows):\n    keep(self, nr, rows); print(nr, flush=True); time.sleep(0.05)\n"
            "store.Parts.add = slow\n"
            f"sweep(Scenario(machine={BASE.machine!r}), grid={MIXED['grid']!r}, samples=60, batch=30, "
            f"out={str(out)!r}, random=dict(nr_pinned=Range('0.001%', '10%', log=True), "
            "run_pages=Range(1, 64), folio_order=Range(0, 3)))")
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.strip() == "5":
            child.send_signal(signal.SIGKILL)
            break
    child.wait()
    child.stdout.close()
    assert child.returncode == -signal.SIGKILL and not out.exists()
    folder = tmp_path / "k.parquet.parts"
    kept = sorted(folder.glob("*.arrow"))
    assert 6 <= len(kept) < 18
    (folder / "0000017.arrow.new").write_bytes(b"half")  # as if killed while writing
    kept[2].write_bytes(kept[2].read_bytes()[:-100])  # as if the disk had lost its end
    done = sweep(BASE, **MIXED, out=out, batch=540, engine="in-process")
    assert done.resumed == 30 * (len(kept) - 1)
    assert out.read_bytes() == plain.read_bytes()
    assert not folder.exists()
    folder.mkdir()
    (folder / "0000000.arrow").write_bytes(b"")  # as if killed while the parts were removed
    again = sweep(BASE, **MIXED, out=out)
    assert (again.resumed, out.read_bytes()) == (540, plain.read_bytes())
    assert not folder.exists()


def test_another_sweep_with_the_same_output_is_refused(plain, tmp_path):
    out = tmp_path / "a.parquet"
    out.write_bytes(plain.read_bytes())
    with pytest.raises(InputError, match=r"a\.parquet: is of another sweep \(seed differs\)"):
        sweep(BASE, **MIXED, seed=2, out=out)
    with pytest.raises(InputError, match=r"\(proxy_bytes differs\)"):
        sweep(BASE.with_(proxy_bytes=32), **MIXED, out=out)
    assert out.read_bytes() == plain.read_bytes()
    other = tmp_path / "b.parquet"
    folder = tmp_path / "b.parquet.parts"
    folder.mkdir()
    about = json.loads(pq.read_schema(plain).metadata[b"page_sweep"]) | {"batch": 10, "source": "x"}
    (folder / "spec.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"holds parts of another sweep \(source differs\)"):
        sweep(BASE, **MIXED, out=other)
    assert list(folder.iterdir()) and not other.exists()


def test_what_is_no_sweep_is_not_touched(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"mine")
    with pytest.raises(InputError, match="is no table of a sweep"):
        sweep(BASE, nr_pinned=[1], out=tmp_path / "a.parquet")
    (tmp_path / "b.parquet.parts").mkdir()
    (tmp_path / "b.parquet.parts" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="is in the way"):
        sweep(BASE, nr_pinned=[1], out=tmp_path / "b.parquet")
    assert (tmp_path / "b.parquet.parts" / "thesis.tex").read_text() == "mine"
    with pytest.raises(InputError, match="no such folder"):
        sweep(BASE, nr_pinned=[1], out=tmp_path / "nowhere" / "b.parquet")


def test_two_sweeps_do_not_write_one_file(tmp_path):
    from workbench.studies.sweep import _store as store

    what = spec(BASE, grid={"nr_pinned": [1, 2]})
    with store.Parts(tmp_path / "a.parquet", what, 1).held(), pytest.raises(InputError, match="it now"):
        sweep(BASE, nr_pinned=[1, 2], out=tmp_path / "a.parquet")


# -- what is made of the rows -------------------------------------------------------------------------------


def test_tornado_moves_one_input_at_a_time():
    base = TIB.with_(nr_pinned="1%")
    inputs = {"run_pages": (1, 512), "pfn_map": ("sorted_array", "flat"), "proxy_bytes": (8, 99)}
    found = tornado(base, inputs)
    for row in found.to_dict("records"):
        ends = [evaluate(base.with_(**{row["field"]: row[end]})).total_bytes for end in ("low", "high")]
        assert [row["low_bytes"], row["high_bytes"]] == ends
        assert row["swing_bytes"] == max(*ends, row["base_bytes"]) - min(*ends, row["base_bytes"])
    assert found["swing_bytes"].is_monotonic_decreasing
    assert found["swing_bytes"].iloc[-1] == 0 and found["field"].iloc[-1] == "proxy_bytes"


def test_sobol_of_ishigami_is_what_is_known():
    """Ishigami and Homma, a = 7, b = 0.1: S1 = 0.3139, 0.4424, 0; ST = 0.5576, 0.4424, 0.2437."""
    def ishigami(u):
        x = (2 * u - 1) * math.pi
        return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])

    found = sobol_of(ishigami, ["x1", "x2", "x3"], samples=4096)
    assert np.abs(found["first"] - [0.3139, 0.4424, 0]).max() < 0.02
    assert np.abs(found["total"] - [0.5576, 0.4424, 0.2437]).max() < 0.02
    assert (found["first_confidence"] < 0.1).all()


def test_sobol_of_a_sum_has_no_interactions():
    found = sobol_of(lambda u: 3 * u[:, 0] + 4 * u[:, 1], ["a", "b"])
    assert np.abs(found["first"] - [0.36, 0.64]).max() < 0.01
    assert np.abs(found["total"] - found["first"]).max() < 0.01


def test_sobol_of_scenarios():
    """Objects of a proxy are pages times bytes; what plays no part has index 0."""
    base = TIB.with_(design="proxy_bit")
    inputs = {"nr_pinned": Range(1000, 100_000), "proxy_bytes": Range(16, 64), "pfn_map": ["xarray", "flat"]}
    found = sobol(base, inputs, samples=256).set_index("input")
    assert found.loc["nr_pinned", "total"] > found.loc["proxy_bytes", "total"] > 0.1
    assert found.loc["pfn_map", "total"] == 0
    assert (sobol(base.with_(design="static"), inputs, samples=8)["total"] == 0).all()
    with pytest.raises(InputError, match="pinned pages, but"):
        sobol(Scenario(machine="ram=1MiB", design="proxy_bit"), inputs, samples=8)
    with pytest.raises(InputError, match="power of two"):
        sobol(base, inputs, samples=100)


rows_of_points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3)), max_size=25)


@given(rows_of_points, st.integers(1, 3))
def test_the_front_is_what_nothing_beats(points, width):
    names = ["a", "b", "c"][:width]
    table = pd.DataFrame(points, columns=["a", "b", "c"])
    picked = [row[:width] for row in points]
    wanted = [at for at, row in enumerate(picked)
              if not any(all(x <= y for x, y in zip(o, row, strict=True)) and o != row for o in picked)]
    assert pareto(table, names).index.tolist() == wanted


def test_the_front_tells_large_numbers_apart_and_leaves_out_what_has_none():
    table = pd.DataFrame({"total_bytes": [2**60 + 1, 2**60, 5], "ns": [1.0, 1.0, math.nan]})
    assert pareto(table).index.tolist() == [1]
    with pytest.raises(InputError, match="no column 'loads'"):
        pareto(table, ["loads"])


def test_ns_are_those_of_the_share_curve():
    from workbench.evidence.lookups.costs import CostTable
    from workbench.studies.times import share_curve

    costs = CostTable.load("epyc-2vcpu-full")
    swept = sweep(TIB, design=["static", "dynamic_page:range", "page_ext"], nr_pinned=["1%"])
    table = with_ns(swept, costs, share=0.25)
    curve, _ = share_curve(costs, ["dynamic_page:range"])
    assert table["ns"].iloc[1] == curve["ns"].iloc[25]
    assert len(pareto(table)) >= 1
    with pytest.raises(InputError, match="share of 2"):
        with_ns(table, costs, share=2)


def test_the_surface_is_break_even_of_each_cell():
    a, b = TIB.with_(design="dynamic_page"), TIB.with_(design="flag_side_table", pfn_map="flat")
    found = break_even_surface(a, b, x=("run_pages", [1, 8]), y=("folio_order", [0, 2, 3]))
    for row in found.to_dict("records"):
        cell = {"run_pages": row["run_pages"], "folio_order": row["folio_order"]}
        one = break_even(a.with_(**cell), b.with_(**cell))
        assert row["percent"] == one if one is not None else math.isnan(row["percent"])
    assert found["percent"].notna().any()
    with pytest.raises(InputError, match="cannot be an axis"):
        break_even_surface(a, b, x=("nr_pinned", [1]), y=("run_pages", [1]))


def test_the_running_machine_is_read_once():
    what = spec(Scenario(machine="live"), grid={"nr_pinned": [1]})
    assert isinstance(what.base.machine, Machine)


def test_shipped_files_can_be_read():
    folder = Path(workbench.__file__).parent.parent / "data" / "scenarios"
    found = sorted(folder.glob("sweep-*.toml"))
    assert found
    for path in found:
        assert 1 <= load(path).nr_points <= 100_000


# -- figures ------------------------------------------------------------------------------------------------


def test_figures_show_the_tables_numbers():
    from workbench.views.figures import sweep as figures

    base = TIB.with_(nr_pinned="1%")
    moved = tornado(base, {"run_pages": (1, 512), "pfn_map": ("sorted_array", "flat")})
    bars = figures.tornado(moved).data
    shown = [[int(hover[1].replace(",", "")) for hover in bar.customdata] for bar in bars]
    assert shown == [moved["low_bytes"].tolist(), moved["high_bytes"].tolist()]
    indices = sobol(base, {"nr_pinned": Range(10, 1000), "run_pages": [1, 8]}, samples=16)
    bars = figures.sobol(indices).data
    assert [list(bar.x) for bar in bars] == [indices[kind].tolist() for kind in ("first", "total")]
    table = pd.DataFrame({"design": ["static", "hvo", "hvo"], "total_bytes": [1024, 2048, 4096],
                          "ns": [3.0, 2.0, 5.0]})
    *dots, line = figures.pareto(table, pareto(table)).data
    assert (list(line.x), list(line.y)) == ([1.0, 2.0], [3.0, 2.0])
    assert sum(len(one.x) for one in dots) == 3
    cells = pd.DataFrame({"run_pages": [1, 1, 8, 8], "<b>": [0, 1, 0, 1],
                          "percent": [1.0, 10.0, math.nan, 0.0]})
    heat, = figures.break_even_surface(cells).data
    assert [list(row) for row in heat.text] == [["1 %", "never"], ["10 %", "0 %"]]
    assert heat.z[0][0] == 0 and heat.z[1][0] == 1 and heat.z[0][1] is None
    empty = moved.head(0), indices.head(0)
    assert not figures.tornado(empty[0]).data and not figures.sobol(empty[1]).data
