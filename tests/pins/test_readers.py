"""Text traces against the rows and balances that are known of them, and against broken text."""

import gzip
import json

import numpy as np
import pytest

from workbench import InputError
from workbench.cli import main
from workbench.paths import data_dir
from workbench.pins.readers import import_text
from workbench.pins.trace import load_trace

TRACES = data_dir() / "traces"
COLUMNS = ("ts_ns", "cpu", "pid", "op", "pfn", "nr", "order", "gup_flags", "head_off")


def test_the_ftrace_text_becomes_the_very_rows_of_its_parquet(tmp_path):
    found = import_text(TRACES / "ftrace-kprobe.A.full.txt.gz", tmp_path / "out.parquet")
    ours, known = load_trace(tmp_path / "out.parquet"), load_trace("pins-fio")
    for column in COLUMNS:
        assert np.array_equal(getattr(ours, column), getattr(known, column)), column
    assert found["balance"] == {
        "acquired_refs": 83330,
        "released_refs": 83330,
        "outstanding": 0,
        "negative": 0,
    }
    assert (found["complete"], found["unparsed"], found["lost"]) == (True, 0, 0)


def test_bpftraces_text_balances(tmp_path):
    found = import_text(TRACES / "bpftrace-pins.txt.gz", tmp_path / "out.parquet")
    assert (found["balance"]["acquired_refs"], found["balance"]["released_refs"]) == (50696, 50696)
    assert found["complete"]


@pytest.mark.parametrize(("name", "events"), [
    ("perf-script.txt", 600), ("perf-script-ns.txt", 100), ("trace-cmd-report.txt", 78),
])  # fmt: skip
def test_samples_of_other_tools_have_no_unparsed_line(name, events, tmp_path):
    found = import_text(TRACES / name, tmp_path / "out.parquet")
    assert (found["events"], found["unparsed"]) == (events, 0)
    assert not found["complete"] and found["why"]  # cut out of longer traces


def test_carriage_returns_change_nothing(tmp_path):
    lines = gzip.decompress((TRACES / "ftrace-kprobe.A.full.txt.gz").read_bytes()).splitlines()[:2000]
    for name, end in (("lf", b"\n"), ("crlf", b"\r\n")):
        (tmp_path / name).write_bytes(end.join(lines) + end)
        import_text(tmp_path / name, tmp_path / f"{name}.parquet")
    lf, crlf = (load_trace(tmp_path / f"{name}.parquet") for name in ("lf", "crlf"))
    assert all(np.array_equal(getattr(lf, c), getattr(crlf, c)) for c in COLUMNS)


def test_a_base_given_by_hand_moves_the_pfns(tmp_path):
    text = TRACES / "perf-script.txt"
    import_text(text, tmp_path / "a.parquet", vmemmap_base="0xffd4000000000000")
    import_text(text, tmp_path / "b.parquet", vmemmap_base="0xffd4000000000040")
    a, b = load_trace(tmp_path / "a.parquet"), load_trace(tmp_path / "b.parquet")
    assert np.array_equal(a.pfn.astype(np.int64), b.pfn.astype(np.int64) + 1)


def test_lost_lines_make_it_incomplete(tmp_path):
    lines = gzip.decompress((TRACES / "ftrace-kprobe.A.full.txt.gz").read_bytes()).splitlines()[:500]
    (tmp_path / "t").write_bytes(b"\n".join([*lines, b"CPU:1 [LOST 753 EVENTS]", b""]))
    found = import_text(tmp_path / "t", tmp_path / "out.parquet")
    assert found["lost"] == 753 and not found["complete"]


@pytest.mark.parametrize("content", [b"", b"hello\nworld\n", b"\0" * 4096])
def test_what_is_no_trace_is_refused_and_nothing_is_written(content, tmp_path):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(InputError):
        import_text(tmp_path / "t", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_the_command_prints_one_document_and_says_what_is_incomplete(tmp_path, capsys):
    out = tmp_path / "out.parquet"
    assert main(["trace", "import", str(TRACES / "bpftrace-pins.txt.gz"), "-o", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"events", "pins", "unpins", "lost", "unparsed", "vmemmap_base", "balance"} <= set(found)
    assert main(["trace", "import", str(TRACES / "perf-script.txt"), "-o", str(out)]) == 1
    capsys.readouterr()
    assert main(["trace", "import", "/nonexistent", "-o", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
