"""Text traces against the rows and balances that are known of them, and against broken text."""

import gzip
import json

import numpy as np
import pytest

from workbench import InputError
from workbench.cli import main
from workbench.evidence.pins.readers import import_text
from workbench.evidence.pins.trace import load_trace
from workbench.model.files import data_dir
from workbench.model.kernel.config import KernelConfig, kernel_version, load_layouts

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
    assert (found["not_pins"], found["gup_fast_known"], ours.knows_fast) == (56, True, True)
    assert [ours.probe_names[k] for k in ours.probe] == [known.probe_names[k] for k in known.probe]


def test_bpftraces_text_balances(tmp_path):
    found = import_text(TRACES / "bpftrace-pins.txt.gz", tmp_path / "out.parquet")
    assert (found["balance"]["acquired_refs"], found["balance"]["released_refs"]) == (50696, 50696)
    assert found["complete"] and not found["gup_fast_known"]
    assert found["events"] == found["pins"] + found["unpins"] + found["not_pins"]
    trace = load_trace(tmp_path / "out.parquet")
    assert not trace.knows_fast and np.array_equal(trace.is_fast, trace.op > 0)


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


# -- what is known to be missing ----------------------------------------------------------------------------

GRAB, PUT = (
    f"             fio-42      [000] d....  {{:.6f}}: {op}: (f+0x0/0) page={{:#x}} refs={{}} flags=0x80000\n"
    for op in ("grab", "put")
)
PAGE = 0xFFD4000000000040
WHOLE = {
    "trace.txt": GRAB.format(1, PAGE, 2) + PUT.format(2, PAGE, 2),
    "kernel.txt": "6.12.95\nx86_64\n",
    "zoneinfo.txt": "Node 0, zone   Normal\n        spanned  1000\n  start_pfn:           0\n",
    **dict.fromkeys(
        ("vmstat.before.txt", "vmstat.start.txt"), "nr_foll_pin_acquired 10\nnr_foll_pin_released 10\n"
    ),
    **dict.fromkeys(
        ("vmstat.end.txt", "vmstat.after.txt"), "nr_foll_pin_acquired 12\nnr_foll_pin_released 12\n"
    ),
    "kprobe_profile.txt": "  grab      1      0\n  put      1      0\n",
    "stats.txt": "overrun: 0\ncommit overrun: 0\ndropped events: 0\n",
}


@pytest.mark.parametrize(("part", "content", "reason"), [
    ("trace.txt", "", None),
    ("trace.txt", GRAB.format(3, PAGE, 7), "7 references are still held"),
    ("trace.txt", PUT.format(3, PAGE, 7), "7 references were dropped that nobody had taken"),
    ("trace.txt", PUT.format(3, PAGE + 64, 1) + GRAB.format(4, PAGE, 1), "1 reference was dropped"),
    ("trace.txt", "CPU:0 [LOST 9 EVENTS]\n", "lost 9 events"),
    ("trace.txt", "# entries-in-buffer/entries-written: 2/6\n", "lost 4 events"),
    ("trace.txt", "half a li", "could not be read"),
    ("trace.txt", GRAB.format(3, PAGE + 64 * 1000, 1), "outside pfns 0..0x3e8"),
    ("trace.txt", GRAB.format(0.5, PAGE, 1) + PUT.format(0.6, PAGE, 1), "time goes back by 1.500 s"),
    ("vmstat.end.txt", "nr_foll_pin_acquired 13\nnr_foll_pin_released 12\n", "3 to 2, the trace has 2"),
    ("vmstat.after.txt", "nr_foll_pin_acquired 11\nnr_foll_pin_released 12\n", "2 to 1, the trace has 2"),
    ("vmstat.start.txt", "nr_foll_pin_acquired 10\nnr_foll_pin_released 9\n", "3 to 2, the trace has 2"),
    ("kprobe_profile.txt", "  put      1      5\n", "5 probe hits were missed"),
    ("stats.txt", "overrun: 3\n", "dropped 3 events"),
    ("kernel.txt", "6.1.0\n", "no event has FOLL_PIN (0x40000)"),
])  # fmt: skip
def test_what_shows_a_loss_ends_in_why_and_in_exit_status_1(part, content, reason, tmp_path, capsys):
    folder = tmp_path / "recording"
    folder.mkdir()
    for name, text in WHOLE.items():
        (folder / name).write_text(text)
    old = WHOLE[part] if part == "trace.txt" else ""
    (folder / part).write_text(old + content)
    status = main(["trace", "import", str(folder), "-o", str(tmp_path / "out.parquet"), "--json"])
    printed = capsys.readouterr()
    found, trace = json.loads(printed.out), load_trace(tmp_path / "out.parquet")
    if reason is None:
        assert (status, found["why"], found["complete"], trace.complete) == (0, [], True, True)
    else:
        assert (status, found["complete"], trace.complete) == (1, False, False)
        assert any(reason in why for why in found["why"]) and reason in printed.err
        assert list(trace.why) == found["why"]


# -- what depends on the kernel -----------------------------------------------------------------------------


def one_event(folder, fields, **options):
    """The result and the rows of one ftrace line."""
    line = GRAB.format(1, PAGE, 1).replace("flags=0x80000\n", f"{fields}\n")
    (folder / "t").write_text(line)
    found = import_text(folder / "t", folder / "out.parquet", vmemmap_base=PAGE - 64, **options)
    return found, load_trace(folder / "out.parquet")


@pytest.mark.parametrize(("kernel", "pin"), [
    ("6.1.0-18-amd64", 0x40000), ("6.2.16", 0x40000), ("6.3.0", 0x80000), ("6.12.95", 0x80000),
    (None, 0x80000),
    ("amd64_6.1.192-2", 0x40000), ("amd64_6.12.117-1", 0x80000), ("x86-64", 0x80000),
])  # fmt: skip
def test_the_release_says_which_bit_is_foll_pin(kernel, pin, tmp_path):
    for flags in (0x40000, 0x80000):
        found, trace = one_event(tmp_path, f"flags={flags:#x}", kernel=kernel)
        assert (found["pins"], trace.is_pin.tolist()) == (int(flags == pin), [flags == pin])


@pytest.mark.parametrize("build", ["amd64_6.1.192-2", "amd64_6.12.117-1", "microvm_6.18"])
def test_pg_head_is_where_the_builds_btf_has_it(build, tmp_path):
    head = 1 << load_layouts(build)["enums"]["pageflags"]["PG_head"]
    in_f1 = kernel_version(KernelConfig.preset(build).release) >= (6, 6)
    for pflags, order in ((0, 0), (~head % (1 << 64), 0), (head, 9 if in_f1 else -1)):
        _, trace = one_event(tmp_path, f"flags=0x80000 head=0x0 pflags={pflags:#x} f1=0x109", kernel=build)
        assert trace.order.tolist() == [order]


def test_a_tail_of_either_encoding_finds_its_head(tmp_path):
    page = PAGE + 64 * 6  # pfn 7
    for head in (PAGE + 64 * 3 + 1, (-64 * 4 + 1) % (1 << 64)):  # pfn 4; a mask of order 2
        fields = f"flags=0x80000 head={head:#x} page={page:#x}"
        _, trace = one_event(tmp_path, fields)
        assert (trace.pfn.tolist(), trace.folio.tolist(), trace.order.tolist()) == ([7], [4], [-1])


def test_the_preset_says_how_large_a_struct_page_is(tmp_path, monkeypatch):
    monkeypatch.setattr(KernelConfig, "preset", lambda name: KernelConfig(sizeof_page=32))
    assert one_event(tmp_path, "flags=0x80000", kernel="any")[1].pfn.tolist() == [2]


@pytest.mark.parametrize("kernel", ["arm64-4k", "s390"])
def test_no_base_is_inferred_where_no_rule_is_known(kernel, tmp_path):
    (tmp_path / "t").write_text(GRAB.format(1, PAGE, 1))
    with pytest.raises(InputError, match="cannot be inferred"):
        import_text(tmp_path / "t", tmp_path / "out.parquet", kernel=kernel)
