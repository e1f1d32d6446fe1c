"""``workbench sweep``: a file in, a table out, one line where it cannot be."""

from __future__ import annotations

import json
import socket
import time

import pyarrow.parquet as pq
import pytest

from workbench.cli import main

GOOD = """
seed = 7
[base]
machine = "ram=1GiB"
[grid]
design = ["static", "proxy_bit"]
run_pages = { min = 1, max = 64, scale = "log", steps = 7 }
[random]
samples = 10
nr_pinned = { min = "0.1%", max = "10%", scale = "log" }
"""


def run(tmp_path, capsys, text, *options):
    (tmp_path / "s.toml").write_text(text)
    status = main(["sweep", str(tmp_path / "s.toml"), "-o", str(tmp_path / "s.parquet"), *options])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_file_becomes_a_table(tmp_path, capsys):
    status, out, err = run(tmp_path, capsys, GOOD, "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert {"points", "seconds", "engine"} <= set(found)
    assert (found["points"], found["engine"], found["vectorised"]) == (140, "in-process", 140)
    table = pq.read_table(tmp_path / "s.parquet").to_pandas()
    assert len(table) == 140 and table["run_pages"].nunique() == 7
    status, out, err = run(tmp_path, capsys, GOOD)
    assert status == 0 and "resumed" in out
    status, out, err = run(tmp_path, capsys, GOOD.replace("seed = 7", "seed = 8"))
    assert status == 2 and err.count("\n") == 1 and "seed differs" in err


def test_rows_without_an_answer_are_told(tmp_path, capsys):
    two = GOOD.replace("[random]", 'machine = ["ram=1GiB", "ram=lots"]\n[random]')
    status, _, err = run(tmp_path, capsys, two)
    assert status == 0 and err == "note: 140 points have no answer; the column error says why\n"


@pytest.mark.parametrize(("text", "says"), [
    ("", None),
    ("[grid", "not TOML"),
    ("[grids]\nx = 1", "'grids' is none of"),
    ("grid = 3", "grid: is no table"),
    ("[base]\nmachin = 'x'", "[base]: field 'machin' is none of"),
    ("[base]\nproxy_bytes = '64'", "[base]: proxy_bytes is '64' (str), not a whole number"),
    ("[base]\nproxy_bytes = 3", "[base]: a proxy of 3 bytes"),
    ("[grid]\nrun_page = [1]", "'run_page' is no field"),
    ("[grid]\nrun_pages = []", "empty list"),
    ("[grid]\nnr_pinned = [nan]", "nan"),
    ("[grid]\nnr_pinned = [[1]]", "[1]"),
    ("[grid]\nnr_pinned = { min = 1 }", "min and max"),
    ("[grid]\nnr_pinned = { min = 1, max = 2, size = 2 }", "'size' is none of"),
    ("[grid]\nnr_pinned = { min = 1, max = 2, scale = 'cubic' }", "'cubic'"),
    ("[grid]\nnr_pinned = { min = 1, max = 2 }", "steps"),
    ("[random]\nnr_pinned = { min = 1, max = 2 }", "samples is missing"),
    ("[random]\nsamples = 0\nnr_pinned = [1]", "samples 0"),
    ("[random]\nsamples = 5", "no fields"),
    ("[lhs]\nsamples = 5\nnr_pinned = { min = 0, max = 9, scale = 'log' }", "above 0"),
    ("[random]\nsamples = 1000000000000\nnr_pinned = [1]", "1000000000000 points, at most 1000000000"),
    ("seed = 'x'", "seed 'x'"),
    ("title = 1", "title 1"),
    ("x = " + "[" * 3000, "dots or brackets"),
    ("x" + ".x" * 3000 + " = 1", "dots or brackets"),
    ("x = '" + "y" * (1 << 20) + "'", "more than 1 MiB"),
    ("x = " + "9" * 5000, "not TOML"),
])
def test_what_cannot_be_used_is_one_line(tmp_path, capsys, text, says):
    status, out, err = run(tmp_path, capsys, text)
    if says is None:  # an empty file is the one scenario that has all defaults
        assert status == 0 and pq.read_table(tmp_path / "s.parquet").num_rows == 1
        return
    assert (status, out) == (2, "")
    assert err.startswith("workbench sweep: ") and err.count("\n") == 1 and "s.toml" in err
    assert says in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.toml"]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{free}", "127.0.0.1:{free}", "local:0", "local:many",
                                     "http://x:1", "tcp://x", "tcp://x:99999"])
def test_a_dead_scheduler_is_one_line_soon(tmp_path, capsys, address):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    begin = time.monotonic()
    status, _, err = run(tmp_path, capsys, GOOD, "--scheduler", address.format(free=free))
    assert status == 2 and err.count("\n") == 1 and "scheduler" in err
    assert time.monotonic() - begin < 30
    assert not (tmp_path / "s.parquet").exists()


def test_no_scheduler_answers_at_an_open_port(tmp_path, capsys):
    """Something listens, but says nothing: given up after some seconds."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        status, _, err = run(tmp_path, capsys, GOOD, "--scheduler", address)
    assert status == 2 and err.count("\n") == 1 and "scheduler" in err
