"""Fleets: generated captures keep the kernel's arithmetic, every engine says the same, no file ends a run."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import Machine, Scenario, evaluate, load_capture
from workbench.cli import main
from workbench.model import designs
from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.memory.pageflags import PageFlags
from workbench.model.scenario import PART
from workbench.studies.fleet import (
    Options,
    find,
    fleet,
    generate,
    look,
    read,
    summary,
)
from workbench.studies.fleet import (
    _engines as engines,
)
from workbench.studies.fleet import (
    _guard as guard,
)
from workbench.studies.fleet._answers import NO_MIX
from workbench.studies.fleet._generator import captures, templates
from workbench.views import figures

EVIL = "<img src=x onerror=alert(1)>\u202e\x1b[31m.mmsnap"


@pytest.fixture(scope="module")
def forty(tmp_path_factory) -> Path:
    """A fleet of 40, one of them cut short, another not a capture at all but named like one."""
    folder = tmp_path_factory.mktemp("forty")
    paths = generate(folder, 40, seed=3)
    paths[17].write_bytes(paths[17].read_bytes()[:2000])
    return folder


@pytest.fixture(scope="module")
def table(forty) -> pd.DataFrame:
    return fleet(forty, engine="in-process")


def written(folder: Path, seed: int, name: str = "one.mmsnap") -> Path:
    path = folder / name
    path.write_bytes(next(captures(1, seed)))
    return path


# -- the generator ------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_a_generated_capture_counts_as_its_kernel_would(seed, tmp_path_factory):
    path = written(tmp_path_factory.mktemp("generated"), seed)
    machine = Machine.load(path)
    assert machine.counter is not None and machine.memmap_pages == sum(machine.counter)
    assert path.stat().st_size <= 20_000
    ram = machine.pfns("ram")
    assert ram.nr_pages == machine.nr_pages_ram  # no two regions overlap
    assert sum(node["nr_pages"] for node in machine.nodes) == machine.nr_pages_ram  # each page has a node
    capture = load_capture(path)
    if capture.npz_names:
        flags = PageFlags.load(capture)
        assert flags.within(ram).nr_pages == flags.nr_pages == machine.nr_pages_ram


def test_generated_captures_are_marked_distinct_and_the_same_every_time(tmp_path):
    paths = generate(tmp_path / "a", 12, seed=5)
    again = generate(tmp_path / "b", 4, seed=5)
    content = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in again] == content[:4] and len(set(content)) == 12
    assert next(captures(1, seed=6)) != content[0]
    for path in paths:
        manifest = load_capture(path).manifest()
        assert manifest["generated"] is True and manifest["made_from"] in {one.name for one in templates()}
    assert set(fleet(tmp_path / "a", designs=["static"], engine="in-process")["generated"]) == {True}


def test_a_fleet_varies_in_what_it_is_grouped_by(table):
    whole = table.drop_duplicates("capture")
    assert whole["kernel"].nunique() >= 4 and whole["size"].nunique() >= 4
    assert whole["page_mix"].nunique() >= 3
    assert set(whole["nr_nodes"].dropna()) >= {1, 2}


def test_templates_are_real_captures_of_every_architecture():
    assert {one.kernel.arch for one in templates()} == {"x86_64", "aarch64", "ppc64le", "s390x", "riscv64"}


# -- what is said of a capture ------------------------------------------------------------------------------


def test_shipped_captures_are_a_fleet_and_their_counters_agree():
    table = fleet(data_dir() / "captures", designs=["static"], engine="in-process")
    assert len(table) >= 20 and not table["error"].notna().any() and not table["generated"].any()
    assert (table["memmap_pages"] == table["counter_pages"]).all()
    assert {"amd64-6g-hvo-1g", "debian-6.12-states/during"} <= set(table["capture"])


@pytest.mark.parametrize("name", ["microvm-24g-6.18", "debian-6.12-8g-hugetlb-hvo", "arm64-16k-3g-2node"])
def test_rows_are_those_of_evaluate(name):
    path = data_dir() / "captures" / name
    wanted = list(designs.registry())
    table = fleet(path, designs=wanted, pinned="1%", run_pages=8, engine="in-process")
    machine, parts = Machine.load(path), [column for column in table if column.startswith(PART)]
    assert list(table["design"]) == wanted
    for _, row in table.iterrows():
        other = evaluate(Scenario(machine=machine, design=row["design"], nr_pinned="1%", run_pages=8))
        nonzero = {name: size for name, size in other.parts.items() if size}
        assert row["total_bytes"] == other.total_bytes and row["exact"] == other.exact
        assert row["bytes_per_page"] == other.bytes_per_page and row["nr_pinned"] == other.nr_pinned
        assert {name.removeprefix(PART): row[name] for name in parts if row[name]} == nonzero
    static = table.set_index("design")["total_bytes"]["static"]
    assert list(table["saved_bytes"]) == [static - total for total in table["total_bytes"]]
    assert list(table["saved_percent"]) == [100 * saved / machine.ram_bytes for saved in table["saved_bytes"]]
    types = PageFlags.load(path).within(machine.pfns("ram", "nomap")).types()
    assert {kind: table[f"pages:{kind}"][0] for kind in types} == types


def test_without_page_flags_memdescs_have_no_answer_and_borrow_no_mix():
    table = fleet(data_dir() / "captures/amd64-66g-pc-1gblocks-hole", engine="in-process").set_index("design")
    unknown = table[table["error"].notna()]
    assert set(unknown.index) == {"memdesc8", "memdesc16", "memdesc32"} and set(unknown["error"]) == {NO_MIX}
    assert unknown[["total_bytes", "saved_bytes", "saved_percent", "part:memmap"]].isna().all(axis=None)
    assert set(table["page_mix"]) == {"no page flags"} and table["pages:anon"].isna().all()
    assert table.loc["hvo", "total_bytes"] > 0


# -- failures are rows --------------------------------------------------------------------------------------


def test_one_corrupt_capture_among_forty_is_one_row(table, forty):
    bad = table[table["design"].isna()]
    assert list(bad["capture"]) == ["generated-0000017.mmsnap"]
    assert bad["error"].iloc[0] == "neither a folder nor a zip (.mmsnap)"
    assert bad.drop(columns=["capture", "error"]).isna().all(axis=None)
    failed = [{"capture": "generated-0000017.mmsnap", "reason": "neither a folder nor a zip (.mmsnap)"}]
    assert table.attrs["fleet"]["failed"] == failed
    assert (table.groupby("capture").size().drop(bad["capture"]) == len(designs.names())).all()
    assert summary(table)["captures"].max() == 39


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\0" * 4096], ids=["empty", "head", "zeros"])
def test_what_is_no_capture_is_a_row(tmp_path, content):
    (tmp_path / "x.mmsnap").write_bytes(content)
    (row,) = fleet(tmp_path, engine="in-process").to_dict("records")
    assert row["capture"] == "x.mmsnap" and row["error"] and "\n" not in row["error"]


def test_a_link_in_an_archive_and_a_pipe_are_rows(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.mmsnap", "w") as archive:
        link = zipfile.ZipInfo("proc/iomem.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    os.mkfifo(tmp_path / "b.mmsnap")
    reasons = fleet(tmp_path, engine="in-process").set_index("capture")["error"]
    assert "a link or device" in reasons["a.mmsnap"] and "not a regular file" in reasons["b.mmsnap"]


def test_broken_page_flags_fail_the_capture(tmp_path):
    whole = next(path for path in generate(tmp_path, 12, 1) if load_capture(path).npz_names)
    with zipfile.ZipFile(whole) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["pages.npz"] = parts["pages.npz"][:300]
    broken = tmp_path / "sub" / "broken.mmsnap"
    broken.parent.mkdir()
    with zipfile.ZipFile(broken, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    (row,) = fleet(broken, engine="in-process").to_dict("records")
    assert "pages.npz" in row["error"] and pd.isna(row["design"])


def child(says: str) -> tuple[str, str]:
    """The guard's child, in which looking at a capture does something else first."""
    return "-c", f"""
import os, sys, time
from workbench.studies.fleet import _guard as guard
honest = guard.look
def look(found, options):
    {says}
    return honest(found, options)
guard.look = look
guard.serve(sys.argv[1])
"""


@pytest.mark.parametrize(("says", "reason"), [
    ("'0005' in found.name and os._exit(7)", "its worker ended by itself, with status 7"),
    ("'0005' in found.name and os.kill(os.getpid(), 9)",
     "its worker was ended by SIGKILL; too little memory?"),
    ("'0005' in found.name and time.sleep(60)", "took longer than 2 s"),
    ("'0005' in found.name and bytearray(64 << 30)", "its worker ended by itself, with status 1"),
])
def test_a_capture_that_ends_or_holds_its_worker_is_one_row(tmp_path, monkeypatch, says, reason):
    generate(tmp_path, 8, 1)
    monkeypatch.setattr(guard, "CHILD", child(says))
    table = fleet(tmp_path, designs=["hvo"], workers=1, limit_s=2)
    assert table.attrs["fleet"]["failed"] == [{"capture": "generated-0000005.mmsnap", "reason": reason}]
    assert len(table) == 8 and table["total_bytes"].notna().sum() == 7


def test_a_capture_that_needs_more_memory_than_it_may_is_a_row(tmp_path, monkeypatch):
    paths = generate(tmp_path, 12, 1)
    path = max(paths, key=lambda path: path.stat().st_size)  # two million page flags
    monkeypatch.setattr(guard, "MEMORY_BYTES", 1 << 20)
    (row,) = fleet(path, designs=["hvo"], workers=1).to_dict("records")
    assert "needs more memory than" in row["error"] and pd.isna(row["design"])


def test_what_a_slow_capture_left_in_a_temporary_folder_goes(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.tar", "w") as archive:
        archive.write(written(tmp_path, 1), "one.mmsnap")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(guard, "CHILD", child(
        "import workbench.studies.fleet._answers as a; "
        "a.load_capture = lambda path: [open(path), time.sleep(60)]"))
    (row,) = fleet(f"zip://::{tmp_path}/all.tar", workers=1, limit_s=3).to_dict("records")
    assert row["error"] == "took longer than 3 s" and not list((tmp_path / "tmp").iterdir())


def test_a_worker_that_cannot_start_is_one_error(tmp_path, monkeypatch):
    written(tmp_path, 1)
    monkeypatch.setattr(guard, "CHILD", ("-c", "raise SystemExit(3)"))
    with pytest.raises(InputError, match="did not start: its worker ended by itself, with status 3"):
        fleet(tmp_path)


# -- engines ------------------------------------------------------------------------------------------------


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_processes_say_what_this_process_says(table, forty):
    same(fleet(forty, engine="processes", workers=2), table)


def test_dask_says_what_this_process_says(table, forty, tmp_path):
    pytest.importorskip("distributed")
    fleet(forty, engine="in-process", out=tmp_path / "here.parquet")
    done = fleet(forty, engine="local:2", out=tmp_path / "there.parquet")
    assert done.engine == "local:2" and done.failed == table.attrs["fleet"]["failed"]
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "there.parquet").read_bytes()


@pytest.mark.parametrize(("engine", "workers", "rule"), [
    ("threads", None, "none of in-process"), ("processes", 0, "not from 1"), ("local:0", None, "local:N"),
    ("tcp://127.0.0.1:9", None, "does it run"),
])
def test_engines_that_are_none(tmp_path, engine, workers, rule):
    written(tmp_path, 1)
    with pytest.raises(InputError, match=rule):
        fleet(tmp_path, engine=engine, workers=workers)


# -- on disk ------------------------------------------------------------------------------------------------


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr("workbench.studies.fleet._run.MIN_BATCH", 4)


def test_the_file_holds_the_table_and_leaves_nothing_beside_it(table, forty, tmp_path, small_batches):
    done = fleet(forty, engine="in-process", out=tmp_path / "t.parquet")
    assert (done.captures, len(done.failed), done.resumed) == (40, 1, 0)
    stored = read(tmp_path / "t.parquet")
    assert list(stored["capture"]) == sorted(stored["capture"])
    same(stored.astype(object).where(stored.notna(), None), table.astype(object).where(table.notna(), None))
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
    same(summary(tmp_path / "t.parquet", "size"), summary(table, "size"))


class Stop(Exception):
    pass


def interrupted(where: Path, out: Path, after: int, **more) -> None:
    def progress(done: int, of: int) -> None:
        if done >= after:
            raise Stop

    with pytest.raises(Stop):
        fleet(where, engine="in-process", out=out, progress=progress, **more)


def test_an_interrupted_fleet_goes_on_where_it_stopped(forty, tmp_path, small_batches):
    whole, out = tmp_path / "whole.parquet", tmp_path / "t.parquet"
    fleet(forty, engine="in-process", out=whole)
    interrupted(forty, out, 12)
    assert not out.exists()
    done = fleet(forty, engine="in-process", out=out)
    assert done.resumed == 8 and out.read_bytes() == whole.read_bytes()  # the third batch was not kept yet
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.parquet", "whole.parquet"]


def test_nothing_is_taken_over_of_other_captures_or_another_question(tmp_path, small_batches):
    folder, out = tmp_path / "captures", tmp_path / "t.parquet"
    paths = generate(folder, 12, 1)
    interrupted(folder, out, 8)
    assert fleet(folder, engine="in-process", out=out, pinned="5%").resumed == 0
    interrupted(folder, out, 8)
    paths[0].write_bytes(next(captures(1, 99)))
    assert fleet(folder, engine="in-process", out=out).resumed == 0
    interrupted(folder, out, 8)
    paths[11].unlink()
    assert fleet(folder, engine="in-process", out=out).resumed == 0
    interrupted(folder, out, 8)
    part = next((tmp_path / "t.parquet.parts").glob("*.arrow"))
    part.write_bytes(part.read_bytes()[:100])
    assert fleet(folder, engine="in-process", out=out).resumed == 0


def test_captures_that_were_too_slow_are_tried_again(tmp_path, monkeypatch, small_batches):
    folder, out = tmp_path / "captures", tmp_path / "t.parquet"
    generate(folder, 8, 1)
    with monkeypatch.context() as patch:
        patch.setattr(guard, "CHILD", child("'0001' in found.name and os._exit(7)"))

        def progress(done: int, of: int) -> None:
            if done == of:
                raise Stop

        with pytest.raises(Stop):
            fleet(folder, workers=1, out=out, progress=progress)
    assert len(list((tmp_path / "t.parquet.parts").glob("*.arrow"))) == 1
    done = fleet(folder, workers=1, out=out)
    assert done.resumed == 0 and not done.failed


@pytest.mark.parametrize(("make", "rule"), [
    (lambda tmp: (tmp / "t.parquet.parts").write_text("mine"), "in the way"),
    (lambda tmp: (tmp / "t.parquet").mkdir(), "in the way"),
    (lambda tmp: [(tmp / "t.parquet.parts").mkdir(), (tmp / "t.parquet.parts/x").touch()], "in the way"),
])
def test_what_is_in_the_way_stays(tmp_path, make, rule):
    path = written(tmp_path, 1)
    make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=rule):
        fleet(path, engine="in-process", out=tmp_path / "t.parquet")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_of_something_else_is_refused(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="no table of a fleet"):
        summary(tmp_path / "x.parquet")


# -- where captures are -------------------------------------------------------------------------------------


def test_folders_globs_and_urls_name_the_same_captures(tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    paths = generate(tmp_path / "in", 3, 1)
    (tmp_path / "in/notes.txt").write_text("no capture")
    names = [path.name for path in paths]
    with zipfile.ZipFile(tmp_path / "all.tar", "w") as archive:  # a container that is no capture by its name
        for path in paths:
            archive.write(path, path.name)
    system = fsspec.filesystem("memory")
    for path in paths:
        system.pipe(f"/fleet/{path.name}", path.read_bytes())
    tables = []
    for where in (tmp_path / "in", f"{tmp_path}/in/*.mmsnap", f"{tmp_path}/i*", f"file://{tmp_path}/in",
                  "memory://fleet", "memory://fleet/*.mmsnap", f"zip://::{tmp_path}/all.tar",
                  f"zip://*.mmsnap::{tmp_path}/all.tar"):
        table = fleet(where, designs=["hvo"], engine="in-process")
        assert [Path(name).name for name in table["capture"]] == names, where
        tables.append(table.drop(columns="capture"))
    for other in tables[1:]:
        same(other, tables[0])
    with pytest.raises(InputError, match="in-process"):
        fleet("memory://fleet")
    monkeypatch.setattr("workbench.studies.fleet._captures.MAX_REMOTE_BYTES", 1000)
    assert fleet("memory://fleet", engine="in-process")["error"].str.contains("too many to copy").all()
    system.rm("/fleet", recursive=True)


@pytest.mark.parametrize(("where", "rule"), [
    ("nowhere", "no such file or folder"), ("memory://nothing-there", "nothing-there"),
    ("ftpx://host/", "ftpx"), ("zip://::nowhere.zip", "nowhere"), ("*.none", "no capture there"),
])
def test_places_without_captures(where, rule, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rule) as error:
        fleet(where, engine="in-process")
    assert "\n" not in str(error.value)


def test_links_to_folders_are_not_followed(tmp_path):
    written(tmp_path, 1)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [one.name for one in find(tmp_path)] == ["one.mmsnap"]


# -- what is shown ------------------------------------------------------------------------------------------


def test_summary_by_hand():
    table = pd.DataFrame({"design": [*"aaaaab", None], "size": [*"xxxyyy", None],
                          "saved_percent": [0.0, 1.0, 2.0, 3.0, None, -1.0, None],
                          "saved_bytes": [0, 10, 20, 30, None, -7, None]})
    a, b = summary(table).to_dict("records")
    assert (a["captures"], a["unknown"]) == (4, 1)
    assert (a["min"], a["p25"], a["median"], a["max"]) == (0.0, 0.75, 1.5, 3.0)
    assert (a["saved_bytes"], a["more"], b["saved_bytes"], b["more"], b["p95"]) == (60, 0, -7, 1, -1.0)
    grouped = summary(table, "size").set_index(["size", "design"])
    assert grouped.loc[("x", "a"), "captures"] == 3 and grouped.loc[("y", "a"), "saved_bytes"] == 30
    with pytest.raises(InputError, match="none of kernel, size, page_mix"):
        summary(table, "arch")


def test_sizes_are_in_their_order(table):
    sizes = list(dict.fromkeys(summary(table, "size")["size"]))
    assert sizes == [s for s in ("below 4 GiB", "4 to 16 GiB", "16 to 64 GiB", "64 to 256 GiB",
                                 "256 to 1024 GiB", "1024 GiB and more") if s in sizes] and len(sizes) > 3


@pytest.mark.parametrize("by", [None, "kernel", "size", "page_mix"])
def test_the_figure_shows_the_summary(table, by):
    rows = summary(table, by)
    figure = figures.fleet_savings(rows)
    rows = rows[rows["captures"] > 0]
    spread = set(rows[(rows["min"] != 0) | (rows["max"] != 0)]["design"])
    rows = rows[rows["design"].isin(spread)]
    boxes = [trace for trace in figure.data if trace.type == "box"]
    for name, column in (("lowerfence", "p05"), ("q1", "p25"), ("median", "median"), ("q3", "p75"),
                         ("upperfence", "p95")):
        assert [box[name][0] for box in boxes] == list(rows[column])
    ends = [trace for trace in figure.data if trace.type == "scatter"]
    assert [x for trace in ends[::2] for x in trace.x] == list(rows["min"])
    assert [x for trace in ends[1::2] for x in trace.x] == list(rows["max"])
    assert len({box.yaxis for box in boxes}) == (rows[by].nunique() if by else 1)
    assert "static" in figure.layout.title.subtitle.text.replace("<br>", "")


def test_a_figure_of_nothing_says_so(tmp_path):
    (tmp_path / "x.mmsnap").write_bytes(b"")
    figure = figures.fleet_savings(summary(fleet(tmp_path, engine="in-process")))
    assert not figure.data and "no capture" in figure.layout.annotations[0].text


def test_hostile_names_are_inert(tmp_path, capsys):
    (tmp_path / EVIL).write_bytes(b"junk")
    written(tmp_path, 1)
    table = fleet(tmp_path, designs=["hvo"], engine="in-process")
    bad = table[table["design"].isna()].iloc[0]
    assert bad["capture"].isprintable() and bad["error"].isprintable() and "\u202e" not in bad["capture"]
    assert main(["fleet", str(tmp_path), "--design", "hvo", "--workers", "1"]) == 0
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown and "\u202e" not in shown and "<img" in shown
    for name in ("kernel", "page_mix"):
        rows = summary(table.assign(**{name: EVIL}), name)
        figure = figures.fleet_savings(rows.assign(min=-1.0, design=EVIL))
        figure.layout.meta = None
        assert "\\u003cimg" not in figure.to_json() and "<img" not in figure.to_json()


def test_the_command(forty, tmp_path, capsys):
    out = tmp_path / "t.parquet"
    wanted = ["--design", "hvo", "memdesc8", "--by", "size"]
    assert main(["fleet", str(forty), *wanted, "-o", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["captures"] == 40 and found["engine"] == "processes" and found["seconds"] > 0
    assert [one["capture"] for one in found["failed"]] == ["generated-0000017.mmsnap"]
    medians = [None if pd.isna(median) else median for median in summary(out, "size")["median"]]
    assert [row["median"] for row in found["rows"]] == medians
    assert {row["design"] for row in found["rows"]} == {"hvo", "memdesc8"} and found["rows"][0]["size"]
    assert main(["fleet", str(tmp_path / "new"), "--generate", "2", "--design", "hvo", "--workers", "1"]) == 0
    assert "2 captures in" in capsys.readouterr().out and len(list((tmp_path / "new").iterdir())) == 2


@pytest.mark.parametrize("bad", [["--design", "nix"], ["--pinned", "200%"], ["--run-pages", "3"],
                                 ["--map", "nix"], ["-o", "/nowhere/x.parquet"]])
def test_a_bad_question_is_one_line_and_status_2(tmp_path, capsys, bad):
    written(tmp_path, 1)
    assert main(["fleet", str(tmp_path), *bad]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_fleet_of_which_nothing_is_left_has_status_1(tmp_path, capsys):
    (tmp_path / "x.mmsnap").write_bytes(b"junk")
    assert main(["fleet", str(tmp_path), "--workers", "1"]) == 1
    assert "neither a folder nor a zip" in capsys.readouterr().out


def test_looking_never_raises(tmp_path, monkeypatch):
    (found,) = find(written(tmp_path, 1))
    for error in (RuntimeError("x\ny"), MemoryError(), RecursionError(), OSError(5, "Input/output error")):

        def load(path, error=error):
            raise error

        monkeypatch.setattr("workbench.studies.fleet._answers.load_capture", load)
        reason = look(found, Options()).reason
        assert reason and reason.isprintable()


def test_guards_end_with_their_engine(forty):
    guards = []
    start = guard.Guard._start

    def watched(self):
        guards.append(self)
        return start(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard.Guard, "_start", watched)
        rows = engines.processes(iter([engines.Batch(0, find(forty)[:2])]), Options(["hvo"]), 1)
        next(rows)
        child = guards[0]._child
        rows.close()
    assert child is not None and child.poll() is not None
