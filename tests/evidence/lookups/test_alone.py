"""Two measurements at once notice each other, and nobody waits for ever."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from workbench.evidence.lookups import _alone as alone
from workbench.evidence.lookups import measure, subjects

HOLDER = """if True:
    import sys
    from workbench.evidence.lookups._alone import alone
    with alone("a table of mine") as reason:
        print(repr(reason), flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(alone, "_said", set())
    return tmp_path


@pytest.fixture
def holder(folder):
    """Another process that measures until its stdin is closed."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDER], text=True, **pipes) as process:
        assert process.stdout.readline() == "''\n"
        yield process
        process.kill()


def row(**options):
    subject = replace(subjects.chase(1 << 12), loops=("dependent",))
    return measure.measure([subject], passes=2, nr_lookups=2048, **options)[0]


def test_who_is_alone_is_told_nothing(folder):
    said = []
    with alone.alone("a", say=said.append) as first, alone.alone("b", say=said.append) as nested:
        assert (first, nested, said) == ("", "", [])
        assert (folder / alone.NAME).read_text() == f"{os.getpid()} a"
    assert (folder / alone.NAME).read_text() == ""
    with alone.alone("again", say=said.append) as reason:
        assert (reason, said) == ("", [])


def test_the_second_says_who_measures_waits_as_long_as_stated_and_marks_its_rows(holder, monkeypatch, capsys):
    monkeypatch.setattr(alone, "WAIT_S", 0.3)
    start = time.monotonic()
    found = row()
    assert time.monotonic() - start >= 0.3
    who = f"process {holder.pid} measures a table of mine"
    assert found.unusable == f"another measurement ran meanwhile: {who}"
    said = capsys.readouterr().err
    assert f"{who} on this machine: waiting for it, 0.3 s at most" in said and "going on beside it" in said


def test_the_second_goes_on_unmarked_once_the_first_is_done(holder):
    said = []

    def end(line):
        said.append(line)
        holder.stdin.close()

    with alone.alone("mine", wait_s=60, say=end) as reason:
        assert reason == "" and len(said) == 1


def test_a_lock_dies_with_its_process(holder, folder):
    holder.kill()
    holder.wait()
    with alone.alone("mine", wait_s=0, say=pytest.fail) as reason:
        assert reason == ""


def test_a_holder_that_is_not_named_or_dead_is_not_named_either(holder, folder):
    for text in ("", "99999999999 x", "0 x", "text", f"{2**22 + 1} gone", "\x1b[31m x"):
        (folder / alone.NAME).write_text(text)
        with alone.alone("mine", wait_s=0, say=lambda line: None) as reason:
            assert reason == "another measurement ran meanwhile: another process measures"


def test_a_link_a_folder_and_a_pipe_in_its_place_are_not_touched(folder, tmp_path_factory):
    victim = tmp_path_factory.mktemp("elsewhere") / "victim"
    victim.write_text("precious")
    path = folder / alone.NAME
    for put in (lambda: path.symlink_to(victim), lambda: path.hardlink_to(victim), path.mkdir,
                lambda: os.mkfifo(path)):  # fmt: skip
        put()
        said = []
        with alone.alone("mine", wait_s=5, say=said.append) as reason:
            assert reason == "" and "cannot tell whether another measurement runs" in said[0]
        assert victim.read_text() == "precious"
        alone._said.clear()
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def test_where_no_file_can_be_locked_it_is_said_once_and_the_times_are_kept(folder, monkeypatch):
    monkeypatch.setenv("WORKBENCH_LOCK_DIR", str(folder / "none"))
    said = []
    for _ in range(2):
        with alone.alone("mine", say=said.append) as reason:
            assert reason == ""
    assert len(said) == 1 and "No such file" in said[0]


def test_a_wait_can_be_interrupted_and_leaves_nothing_open(holder, folder, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    before = {*Path("/proc/self/fd").iterdir()}
    monkeypatch.setattr(alone.time, "sleep", stop)
    with pytest.raises(measure.Interrupted):
        row()
    assert len({*Path("/proc/self/fd").iterdir()} - before) <= 1


def test_threads_of_one_process_notice_each_other_too(folder):
    import threading

    found = []

    def second():
        with alone.alone("second", wait_s=0, say=lambda line: None) as reason:
            found.append(reason)

    with alone.alone("first"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert found == [f"another measurement ran meanwhile: process {os.getpid()} measures first"]


def test_a_row_measured_alone_is_not_marked(folder):
    assert not row().unusable.startswith("another") and np.isfinite(row().ns_min)
