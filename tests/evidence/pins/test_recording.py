"""Folders that record.sh made on real kernels, as it wrote them, and the same folders tampered with.

data/debian-6.12-mixed is from fprobe events (O_DIRECT, process_vm_readv and io_uring buffers, partly huge
pages) with 5-level page tables; data/debian-6.1-pvr from kprobe events (process_vm_readv) with 4-level ones.
Both under KASLR.
"""

import gzip
import re
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest

from workbench import InputError
from workbench.cli import main
from workbench.evidence.pins import _recording as recording
from workbench.evidence.pins._recording import Recording
from workbench.evidence.pins.readers import import_text
from workbench.evidence.pins.trace import load_trace

DATA = Path(__file__).parent / "data"
FPROBE, KPROBE = "debian-6.12-mixed", "debian-6.1-pvr"
FPROBE_REFS, KPROBE_REFS = 7352, 330  # of both counters, by the vmstat files
HUGE_REFS = 5824


@pytest.fixture
def folder(tmp_path):
    """A copy of the fprobe recording, to tamper with."""
    return Path(shutil.copytree(DATA / FPROBE, tmp_path / "recording"))


def imported(folder, tmp_path):
    return import_text(folder, tmp_path / "out.parquet")


def replace(path, old, new):
    text = path.read_text()
    assert re.search(old, text, re.M), f"{path} has no {old}"
    path.write_text(re.sub(old, new, text, flags=re.M))


def vmstat_growth(folder, counter):
    """From before to after, worked out here by other means than the module's."""
    before, after = (
        dict(line.split() for line in (folder / f"vmstat.{when}.txt").read_text().splitlines())
        for when in ("before", "after")
    )
    return int(after[counter]) - int(before[counter])


@pytest.mark.parametrize(("name", "kernel", "refs"), [
    (FPROBE, "6.12.95+deb12-amd64", FPROBE_REFS), (KPROBE, "6.1.0-56-amd64", KPROBE_REFS),
])  # fmt: skip
def test_a_recording_balances_and_agrees_with_the_kernels_counters(name, kernel, refs, tmp_path):
    found = imported(DATA / name, tmp_path)
    assert found["balance"] == {"acquired_refs": refs, "released_refs": refs, "outstanding": 0, "negative": 0}
    for what in ("acquired", "released"):
        assert found[f"vmstat_{what}"] == found[f"vmstat_{what}_least"] == refs
        assert vmstat_growth(DATA / name, f"nr_foll_pin_{what}") == refs
    assert (found["complete"], found["why"], found["missed"], found["overrun"]) == (True, [], 0, 0)
    assert found["kernel"] == kernel
    trace = load_trace(tmp_path / "out.parquet")
    assert trace.complete and trace.is_pin.all()


@pytest.mark.parametrize("name", [FPROBE, KPROBE])
def test_its_own_vmemmap_base_puts_every_pfn_inside_the_machine(name, tmp_path):
    found = imported(DATA / name, tmp_path)
    first = gzip.decompress((DATA / name / "trace.txt.gz").read_bytes()).split(b"\n", 1)[0]
    base = re.search(rb"vb: .*vmemmap=(0x[0-9a-f]+)", first)
    assert base and found["vmemmap_base"] == base[1].decode() and found["vmemmap_base_source"] == "trace"
    end_pfn = Recording.load(DATA / name).end_pfn
    assert end_pfn == 4096 + 389_082  # start_pfn and spanned of zone DMA32, in a guest of 1536 MiB
    assert load_trace(tmp_path / "out.parquet").pfn.max() < end_pfn


def test_huge_pages_have_order_9_on_both_sides(tmp_path):
    imported(DATA / FPROBE, tmp_path)
    trace = load_trace(tmp_path / "out.parquet")
    for op in (1, -1):
        huge = trace.select((trace.op == op) & (trace.order == 9))
        assert len(huge) and (huge.folio % 512 == 0).all() and huge.nr.max() <= 512
        assert int(huge.nr.sum()) == HUGE_REFS
    assert set(np.unique(trace.order)) == {0, 9}


def test_missed_probes_are_said(folder, tmp_path):
    (folder / "kprobe_profile.txt").write_text("  grab_fast          1236        0\n  put     2568    17\n")
    assert imported(folder, tmp_path)["why"] == ["kprobe_profile: 17 probe hits were missed"]


@pytest.mark.parametrize("what", ["overrun", "commit overrun", "dropped events"])
def test_an_overrun_of_the_ring_is_said(what, folder, tmp_path):
    replace(folder / "stats.txt", rf"cpu1/stats:{what}: 0$", f"cpu1/stats:{what}: 1234")
    assert imported(folder, tmp_path)["why"] == ["per_cpu/*/stats: the ring dropped 1,234 events"]


@pytest.mark.parametrize("what", ["acquired", "released"])
def test_counters_that_grew_by_more_or_less_than_the_trace_are_said(what, folder, tmp_path):
    inside, around = folder / "vmstat.end.txt", folder / "vmstat.after.txt"
    counter = f"nr_foll_pin_{what}"
    value = int(re.search(rf"^{counter} (\d+)$", around.read_text(), re.M)[1])
    for path in (inside, around):
        replace(path, rf"^{counter} \d+$", f"{counter} {value + 1}")
    assert imported(folder, tmp_path)["why"] == [
        f"vmstat {counter} grew by {FPROBE_REFS + 1:,}, the trace has {FPROBE_REFS:,}"
    ]
    replace(inside, rf"^{counter} \d+$", f"{counter} {value - 3}")
    assert imported(folder, tmp_path)["complete"]  # others pinned between the inner and the outer readings
    replace(around, rf"^{counter} \d+$", f"{counter} {value - 1}")
    assert imported(folder, tmp_path)["why"] == [
        f"vmstat {counter} grew by {FPROBE_REFS - 3:,} to {FPROBE_REFS - 1:,}, the trace has {FPROBE_REFS:,}"
    ]


def test_a_release_cut_out_is_said_by_the_balance_and_by_the_counters(folder, tmp_path):
    lines = gzip.decompress((folder / "trace.txt.gz").read_bytes()).splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if b" put: " in line)
    refs = int(re.search(rb"refs=(\d+)", lines.pop(last))[1])
    (folder / "trace.txt.gz").write_bytes(gzip.compress(b"".join(lines)))
    found = imported(folder, tmp_path)
    assert found["balance"]["outstanding"] == refs and len(found["why"]) == 2
    assert "vmstat nr_foll_pin_released grew by" in found["why"][1]


@pytest.mark.parametrize("name", [
    "vmstat.before.txt", "vmstat.start.txt", "vmstat.end.txt", "vmstat.after.txt", "stats.txt",
    "kprobe_profile.txt",
])  # fmt: skip
def test_an_interrupted_recording_is_never_whole(name, folder, tmp_path, capsys):
    (folder / name).unlink()
    assert any(f"{name} is missing" in reason for reason in imported(folder, tmp_path)["why"])
    assert main(["trace", "import", str(folder), "-o", str(tmp_path / "out.parquet")]) == 1
    assert f"note: incomplete: {name} is missing" in capsys.readouterr().err


def test_counters_of_an_old_kernel_prove_nothing(folder, tmp_path):
    for when in ("before", "start", "end", "after"):
        replace(folder / f"vmstat.{when}.txt", r"^nr_foll_pin_\w+ \d+\n", "")
    why = imported(folder, tmp_path)["why"]
    assert len(why) == 2 and all("nothing proves the trace whole" in reason for reason in why)


def test_a_folder_without_one_trace_text_is_refused(folder):
    (folder / "trace.txt").write_text("")
    with pytest.raises(InputError, match=r"2 trace\.txt"):
        Recording.load(folder)
    for path in folder.glob("trace.txt*"):
        path.unlink()
    with pytest.raises(InputError, match=r"no trace\.txt"):
        Recording.load(folder)


def test_a_recording_in_which_nothing_was_pinned_says_so(folder, tmp_path):
    first = gzip.decompress((folder / "trace.txt.gz").read_bytes()).split(b"\n", 1)[0]
    (folder / "trace.txt.gz").write_bytes(gzip.compress(first + b"\n"))
    with pytest.raises(InputError, match="no pin event in it; vmstat nr_foll_pin_acquired grew by 7,352"):
        imported(folder, tmp_path)
    for when in ("start", "end", "after"):
        shutil.copy(folder / "vmstat.before.txt", folder / f"vmstat.{when}.txt")
    with pytest.raises(InputError, match="nothing was pinned meanwhile, and the kernel's counters agree"):
        imported(folder, tmp_path)
    assert not (tmp_path / "out.parquet").exists()


def test_the_recipe_for_publishing_leaves_names_and_addresses_out(tmp_path, monkeypatch):
    imported(DATA / FPROBE, tmp_path)
    (tmp_path / "out.parquet").rename(tmp_path / "pins.parquet")
    guide = Path(recording.__file__).with_name("record.md").read_text()
    recipe = re.search(r"(?:^    .*\n)*^    .*public\.parquet.*\n", guide, re.M)
    assert recipe
    monkeypatch.chdir(tmp_path)
    exec(textwrap.dedent(recipe[0]), {})
    before, after = load_trace("pins.parquet"), load_trace("./public.parquet")
    assert "vmemmap_base" in before.meta and "vmemmap_base" not in after.meta and after.complete
    assert set(after.comm_names).isdisjoint(before.comm_names) and not after.pid.any()
    assert np.array_equal(after.pfn, before.pfn)
