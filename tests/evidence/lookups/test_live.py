"""Trees in the running kernel: counted where this user may, looked up, and gone afterwards."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.cli import main
from workbench.evidence.lookups import live
from workbench.model.errors import InputError
from workbench.model.pfnmaps.maple import replay

KEYS = {"predicted_nodes", "measured_nodes", "reason", "noise_nodes", "ns_lookup", "ns_baseline", "kernel"}
PAGE = os.sysconf("SC_PAGESIZE")
MAPS = pytest.mark.parametrize("name", ["xarray", "maple"])


def may_count():
    try:
        live.read_slabinfo()
    except live.CannotMeasure:
        return False
    return True


as_root = pytest.mark.skipif(not may_count(), reason="only root reads /proc/slabinfo")


@pytest.fixture
def not_root(monkeypatch):
    def denied():
        raise live.CannotMeasure("/proc/slabinfo: Permission denied; counting nodes takes root")

    monkeypatch.setattr(live, "read_slabinfo", denied)


def memfds():
    links = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return [link for link in links if "workbench-live" in link]


def run(capsys, *args):
    status = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return status, out, err


def running(pid):
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# -- counts in the kernel -----------------------------------------------------------------------------------


@as_root
@pytest.mark.parametrize(("bits", "dense"), [(22, False), (34, False), (51, False), (22, True)])
def test_the_kernels_xarray_has_the_predicted_nodes(bits, dense):
    found = live.live_xarray(2000, bits, dense=dense, passes=1)
    assert found["agrees"], found
    assert found["exact"] and found["reason"] is None


@as_root
def test_the_kernels_vma_tree_has_the_predicted_nodes():
    found = live.live_maple(20_000, passes=1)
    assert found["agrees"], found
    assert not found["exact"]


@as_root
@MAPS
def test_a_wrong_prediction_is_a_failed_check(name, monkeypatch, capsys):
    monkeypatch.setattr(live._NodeCache, "settled", lambda self: 1000)  # nothing was built, it says
    status, out, _ = run(capsys, "live", name, "--entries", 2000, "--json")
    found = json.loads(out)
    assert (status, found["agrees"]) == (1, False)
    assert found["difference_nodes"] == found["measured_nodes"] - found["predicted_nodes"] < 0
    assert "differ by more than 1 %" in run(capsys, "live", name, "--entries", 2000)[1]


SLABINFO = """slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables
radix_tree_node    19096  19110    584   14    2 : tunables    0    0    0 : slabdata   1364   1364      0
kmalloc-256         1030   1088    256   16    1 : tunables    0    0    0 : slabdata     68     68      0
"""


def test_a_cache_is_read_also_under_the_name_it_is_merged_with(monkeypatch, tmp_path):
    monkeypatch.setattr(live, "read_slabinfo", lambda: SLABINFO)
    monkeypatch.setattr(live, "SYS_SLAB", tmp_path)
    assert live._NodeCache("radix_tree_node").read() == (19096, 584, 14)
    with pytest.raises(live.CannotMeasure, match="no cache maple_node"):
        live._NodeCache("maple_node")
    (tmp_path / ":0000256").mkdir()
    for name in ("kmalloc-256", "maple_node"):
        (tmp_path / name).symlink_to(":0000256")
    merged = live._NodeCache("maple_node")
    assert (merged.row, merged.read()) == ("kmalloc-256", (1030, 256, 16))
    merged.shrink()
    assert (tmp_path / ":0000256/shrink").read_text() == "1"


def test_a_cache_that_cannot_shrink_is_less_certain(monkeypatch, tmp_path):
    monkeypatch.setattr(live, "read_slabinfo", lambda: SLABINFO)
    monkeypatch.setattr(live, "SYS_SLAB", tmp_path / "none")
    monkeypatch.setattr(live, "SETTLE_S", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    cache = live._NodeCache("radix_tree_node")
    assert (cache.settled(), cache.uncertain) == (19096, 4 * 14)


def test_settled_waits_for_three_readings_that_agree(monkeypatch):
    readings = iter([900, 700, 500, 500, 501, 300])
    monkeypatch.setattr(live, "read_slabinfo", lambda: SLABINFO)
    monkeypatch.setattr(live, "SETTLE_S", 0)
    cache = live._NodeCache("radix_tree_node")
    monkeypatch.setattr(cache, "shrink", lambda: None)
    monkeypatch.setattr(cache, "read", lambda: (next(readings), 584, 14))
    assert cache.settled() == 500
    assert next(readings) == 300


def test_broken_slabinfo_is_a_reason(monkeypatch):
    monkeypatch.setattr(live, "read_slabinfo", lambda: "radix_tree_node many few\n")
    with pytest.raises(live.CannotMeasure, match="no numbers for radix_tree_node"):
        live._NodeCache("radix_tree_node").read()


class Rounds(live._Tree):
    """A tree of 100 nodes in a kernel where others add a few in each interval."""

    def __init__(self, drift):
        self.now, self.drift, self.built = 0, iter(drift), 0

    def settled(self):
        self.now += next(self.drift)
        return self.now + 100 * self.built

    def build(self):
        self.built = 1

    def drop(self):
        self.built = 0

    def contenders(self):
        return {}

    def close(self):
        pass

    uncertain, row = 0, "radix_tree_node"


@pytest.mark.parametrize(("drift", "measured", "noise", "nr_rounds"), [
    ([0] * 7, 100, 0, 2),
    ([5, 9, 0, 0, 0, 0, 0, 0, 1, 0], 100, 1, 3),  # the first round is not quiet, the others are
    ([0, 30, -30, 0, *[0] * 6], 100, 0, 3),  # the first looks quiet, and agrees with no other
    ([0, 40, 0, 20, 3, 0, 30, 5, 0, 10, 4, 0, 9, 50, 0, 8], 105, 50, 5),  # none is: median and largest drift
])
def test_two_quiet_rounds_that_agree_count_else_the_median(drift, measured, noise, nr_rounds):
    tree = Rounds(drift)
    found = live._count_rounds(tree, tree, 100, 0, lambda _: None)
    assert (found["measured_nodes"], found["noise_nodes"]) == (measured, noise)
    assert len(found["rounds"]) == nr_rounds


# -- without root, without everything -----------------------------------------------------------------------


@MAPS
def test_without_root_the_reason_is_said_and_times_are_there(name, not_root, capsys):
    status, out, err = run(capsys, "live", name, "--entries", 2000, "--bits", 22, "--json")
    found = json.loads(out)
    assert status == 0
    assert set(found) >= KEYS
    assert found["measured_nodes"] is None and found["noise_nodes"] is None and found["agrees"] is None
    assert found["reason"].endswith("takes root") and found["ns_reason"] is None
    assert found["predicted_nodes"] > 0 and found["kernel"] == os.uname().release
    spread = found["spread"]["lookup"]
    assert 0 < spread["ns_min"] <= spread["ns_median"] == found["ns_lookup"] <= spread["ns_max"]
    assert found["passes"] >= 7
    assert found["ns_walk"] == round(found["ns_lookup"] - found["ns_baseline"], 1)
    assert "note: takes" in err
    status, out, _ = run(capsys, "live", name, "--entries", 2000, "--bits", 22)
    assert (status, "takes root" in out) == (0, True)


@MAPS
def test_without_proc_and_sys_it_still_predicts(name, monkeypatch, tmp_path):
    for where in ("PROC", "SYS_SLAB", "CGROUPS"):
        monkeypatch.setattr(live, where, tmp_path / where)
    found = getattr(live, f"live_{name}")(500, 22, passes=1)
    assert found["predicted_nodes"] > 0
    assert found["reason"].startswith("/proc/slabinfo: No such file")
    assert found["cpu"] == os.uname().machine


@MAPS
def test_a_kernel_without_such_trees_is_not_measured(name, monkeypatch):
    uname = os.uname()
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(
        sysname="Linux", release="4.4.0", machine=uname.machine))
    found = getattr(live, f"live_{name}")(500, 22)
    assert found["measured_nodes"] is None and found["ns_lookup"] is None
    assert "Linux 4.4.0" in found["reason"] and "since v" in found["ns_reason"]
    assert found["predicted_nodes"] > 0


@pytest.mark.parametrize("denied", ["memfd_create", "pwrite"])
def test_no_memfd_is_a_reason(denied, monkeypatch, capsys, not_root):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, denied, refuse)
    status, out, _ = run(capsys, "live", "xarray", "--entries", 100, "--json")
    found = json.loads(out)
    assert (status, found["ns_lookup"], found["ns_reason"]) == (0, None, "memfd: Operation not permitted")
    assert not memfds()


def test_refused_mappings_are_a_reason(monkeypatch, not_root):
    ask = live._Child.ask
    monkeypatch.setattr(live._Child, "ask", lambda self, *what: 7 if what == ("build",) else ask(self, *what))
    found = live.live_maple(100)
    assert found["ns_lookup"] is None
    assert found["ns_reason"] == "mmap: 7 of 100 mappings were refused"


@pytest.mark.parametrize(("python", "reason"), [
    ("/bin/false", "the child process ended: no word"),
    ("/no/python", "no child process: /no/python: No such file or directory"),
])
def test_a_child_that_cannot_start_is_a_reason(python, reason, monkeypatch):
    monkeypatch.setattr(sys, "executable", python)
    found = live.live_maple(100)
    assert found["ns_reason"] == reason
    assert found["predicted_nodes"] > 0


def test_lookups_that_find_something_else_give_no_time(monkeypatch, not_root):
    monkeypatch.setattr(live, "_seek_all", lambda fd, offsets: 3)
    found = live.live_xarray(100, passes=2)
    assert found["ns_lookup"] is None
    assert found["ns_reason"].startswith(f"{3 * 3 * 3} of {live.LOOKUPS * 3 * 3} lookups did not find")


def test_huge_pages_are_seen():
    with live._SparseFile([np.array([1, 5], np.uint64)], PAGE) as file:
        file.build()
        file._check(0)
        os.pwrite(file.fds[0], b"x" * PAGE, 9 * PAGE)  # as if one write had taken more than its page
        with pytest.raises(live.CannotMeasure, match="shared memory takes huge pages"):
            file._check(0)


# -- the loops ----------------------------------------------------------------------------------------------


def test_the_lseek_loop_finds_the_very_offsets_and_counts_others():
    pages = np.array([3, 7, 100, 1 << 40], np.uint64)
    with live._SparseFile([pages], PAGE) as file:
        file.build()
        fd, offsets = file.fds[0], file.offsets[0]
        assert [os.lseek(fd, offset, os.SEEK_DATA) for offset in offsets.tolist()] == offsets.tolist()
        assert live._seek_all(np.int32(fd), offsets) == 0
        holes = np.array([0, 4, 99, 101, 1 << 41], np.int64) * PAGE
        assert live._seek_all(np.int32(fd), holes) == 5
        assert live._seek_all(np.int32(fd), np.concatenate([offsets, holes, offsets])) == 5
    assert live._seek_all(np.int32(-1), offsets) == 4
    assert not memfds()


def test_the_mapping_loops_map_find_and_count():
    base = live._window(live._read_maps(Path("/proc/self/maps").read_text()), 1 << 10, PAGE)
    at = np.uint64(base) + np.array([1, 2, 3, 500], np.uint64) * np.uint64(PAGE)
    size = np.uint64(PAGE)
    assert live._msync_all(size, at) == 4
    assert live._map_all(size, at) == 0
    try:
        assert live._msync_all(size, at) == 0
        assert live._msync_all(size, at + size) == 2  # 4 and 501 are not mapped
        maps = live._read_maps(Path("/proc/self/maps").read_text())
        own = [(first, end) for first, end in maps if first in at.tolist()]
        assert own == [(first, first + PAGE) for first in at.tolist()]  # neighbours did not merge
        assert live._map_all(size, at) == 4  # nothing is mapped over
    finally:
        live._unmap(at, PAGE)
    assert live._msync_all(size, at) == 4


def test_every_pass_looks_up_as_many():
    seen = []

    def loop(first, keys):
        seen.append(keys)
        return first

    for nr in (1, 64, live.LOOKUPS + 10):
        ns, wrong = live._timed(loop, 2, np.arange(nr), seed=1)
        assert wrong == 2 and ns >= 0 and seen[-1].size == live.LOOKUPS
        assert np.unique(seen[-1]).size == min(nr, live.LOOKUPS)
    assert (np.diff(seen[-1]) != 1).sum() > live.LOOKUPS // 2  # not in order


def test_the_window_lies_in_the_largest_gap():
    maps = [(0x400000, 0x500000), (0x10000000, 0x10001000), (0x7ff000000000, 0x7ff000021000)]
    base = live._window(maps, 1 << 30, 4096)
    assert base > 0x10001000 and base + (4096 << 30) < 0x7ff000000000 and base % 4096 == 0
    with pytest.raises(InputError, match="enough for 34 bits"):
        live._window(maps, 1 << 35, 4096)


def test_vsyscall_is_no_mapping():
    text = ("00400000-00401000 r-xp 00000000 00:01 1 /bin/x y\n"
            "7fff1000-7fff3000 rw-p 00000000 00:00 0 [stack]\n"
            "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n")
    assert live._read_maps(text) == [(0x400000, 0x401000), (0x7fff1000, 0x7fff3000)]


# -- the maple tree that tracks gaps ------------------------------------------------------------------------


def test_nodes_of_gap_tracking_trees_by_hand():
    assert live.replay_gap_tracking([]) == [1]
    scattered = [0x10000 * n for n in range(1, 60)]
    assert live.replay_gap_tracking(scattered[:7]) == [1]  # 7 mappings and 8 gaps are 15 slots
    assert live.replay_gap_tracking(scattered[:8]) == [2, 1]  # 17 do not fit
    levels = live.replay_gap_tracking([0x10000 * n for n in range(1, 2000)])
    assert levels[-1] == 1 and levels[-2] <= 10 < levels[-3] // levels[-2] * 10


@given(st.lists(st.integers(1, 4000), unique=True, min_size=1, max_size=600))
def test_with_16_slots_everywhere_it_is_the_tree_that_tracks_no_gaps(pages):
    first = [page << 12 for page in pages]
    last = [address + 4095 for address in first]
    assert live.replay_gap_tracking(first, inner_slots=16) == replay(first, last)
    assert sum(live.replay_gap_tracking(first)) >= sum(replay(first, last))


# -- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("args", "rule"), [
    (("xarray", "--bits", 63 - PAGE.bit_length() + 2), "a file's offset is below 2^63"),
    (("xarray", "--entries", 1000, "--bits", 9), "there are 512 indices of 9 bits"),
    (("xarray", "--entries", 10**15), "MemAvailable"),
    (("xarray", "--seed", -1), "a seed of 0 or more"),
    (("xarray", "--entries", 0), "whole number"),
    (("maple", "--entries", 10**9, "--bits", 34), "vm.max_map_count"),
    (("maple", "--bits", 47), "the largest gap between this process's mappings"),
    (("maple", "--bits", 60), "more than any address space has"),
])
def test_what_does_not_fit_is_refused_in_one_line(args, rule, capsys):
    try:
        status, out, err = run(capsys, "live", *args)
    except SystemExit as stop:
        status, (out, err) = stop.code, capsys.readouterr()
    line = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert (status, out, len(line)) == (2, "", 1)
    assert rule in line[0]


def test_a_mapping_count_just_above_the_limit_is_refused():
    most = int(Path("/proc/sys/vm/max_map_count").read_text())
    if most > 1 << 20:
        pytest.skip("vm.max_map_count is very high here")
    with pytest.raises(InputError, match=r"vm.max_map_count\), and has \d+ already"):
        live.live_maple(most - 1)


@MAPS
def test_more_memory_than_there_is_is_refused(name, monkeypatch):
    monkeypatch.setattr(live, "available_bytes", lambda: {"the test": 1 << 16})
    with pytest.raises(InputError, match=r"the test leaves 0\.1 MiB, of which at most 80% are taken"):
        getattr(live, f"live_{name}")(5000)


def test_a_file_size_limit_is_told():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(InputError, match="RLIMIT_FSIZE"):
            live.live_xarray(100, 28)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("line", "folder", "limit", "used", "cache"), [
    ("0::/a/b", "a", "memory.max", "memory.current", "inactive_file"),
    ("4:cpu,memory:/a/b", "memory/a", "memory.limit_in_bytes", "memory.usage_in_bytes",
     "total_inactive_file"),
])
def test_limits_of_all_cgroups_above_count(line, folder, limit, used, cache, monkeypatch, tmp_path):
    monkeypatch.setattr(live, "PROC", tmp_path / "proc")
    monkeypatch.setattr(live, "CGROUPS", tmp_path / "cgroup")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"9:pids:/\n{line}\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 100 kB\nMemAvailable:      40 kB\n")
    own = tmp_path / "cgroup" / folder / "b"
    own.mkdir(parents=True)
    for at, most in ((own, "max"), (own.parent, "10000")):
        (at / limit).write_text(most)
        (at / used).write_text("6000\n")
        (at / "memory.stat").write_text(f"{cache} 500\nanon 1\n")
    assert live.available_bytes() == {
        "MemAvailable of /proc/meminfo": 40960, str(own.parent / limit): 10000 - 6000 + 500}


# -- interrupted --------------------------------------------------------------------------------------------


def test_interrupted_it_leaves_no_memfd(monkeypatch, not_root):
    during = []

    def interrupt(fd, offsets):
        if offsets.size:
            during.extend(memfds())
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(live, "_seek_all", interrupt)
    with pytest.raises(KeyboardInterrupt):
        live.live_xarray(100)
    assert len(during) == 3 and not memfds()


def test_interrupted_it_leaves_no_child(monkeypatch, not_root):
    alive, pids = [], []

    def interrupt(contenders, seed, passes):
        pids.extend(int(pid) for task in Path("/proc/self/task").iterdir()
                    for pid in (task / "children").read_text().split())
        alive.extend(pid for pid in pids if b"live.serve" in Path(f"/proc/{pid}/cmdline").read_bytes())
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "_times", interrupt)
    affinity = os.sched_getaffinity(0)
    with pytest.raises(KeyboardInterrupt):
        live.live_maple(100)
    assert len(alive) == 2 and not any(running(pid) for pid in alive)
    assert os.sched_getaffinity(0) == affinity


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_the_command_and_its_children(how):
    command = [sys.executable, "-m", "workbench.cli", "live", "maple", "--entries", "3000", "--json"]
    # A test run in the background of a shell inherits an ignored SIGINT.
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    told = ""
    while "building" not in told and "timing" not in told:
        line = process.stderr.readline()
        assert line, told
        told += line
    children = [int(pid) for task in Path(f"/proc/{process.pid}/task").iterdir()
                for pid in (task / "children").read_text().split()]
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    until = time.monotonic() + 30
    while any(running(pid) for pid in children) and time.monotonic() < until:
        time.sleep(0.05)
    assert len(children) == 2 and not any(running(pid) for pid in children)
    assert out == "" and "Traceback" not in err
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
