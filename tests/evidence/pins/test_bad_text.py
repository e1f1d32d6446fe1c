"""Broken, hostile and half text: one line that says what is wrong, or a trace that says what it lacks."""

import gzip
import os
import resource
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import zstandard

from workbench import InputError
from workbench.evidence.pins.readers import import_text
from workbench.evidence.pins.trace import TraceWriter, load_trace
from workbench.model.files import data_dir

TRACES = data_dir() / "traces"
BASE = 0xFFD4000000000000
GZ = (TRACES / "ftrace-kprobe.A.full.txt.gz").read_bytes()
FTRACE = gzip.decompress(GZ).splitlines(keepends=True)[:3000]
PERF = (TRACES / "perf-script.txt").read_bytes().splitlines(keepends=True)
REPORT = (TRACES / "trace-cmd-report.txt").read_bytes().splitlines(keepends=True)
BPFTRACE = gzip.decompress((TRACES / "bpftrace-pins.txt.gz").read_bytes()).splitlines(keepends=True)[:500]


def line(op="grab", page=BASE + 64 * 7, refs="1", flags="0x80000", seconds="1.000001", cpu="000"):
    """One ftrace line."""
    args = f"page={page:#x} refs={refs} flags={flags}"
    return f"             fio-42      [{cpu}] d....     {seconds}: {op}: (f+0x0/0x9) {args}\n".encode()


PAIR = [line(), line("put", seconds="1.000002")]


@pytest.fixture
def read(tmp_path):
    """Import lines; the result, and the trace beside it."""
    def run(*lines, **options):
        (tmp_path / "text").write_bytes(b"".join(lines))
        found = import_text(tmp_path / "text", tmp_path / "out.parquet", **options)
        assert found["complete"] == (not found["why"])
        return found, load_trace(tmp_path / "out.parquet")
    return run


@pytest.fixture
def refuse(tmp_path):
    """What the one line says when the text is refused; nothing may be written."""
    def run(*lines, **options):
        (tmp_path / "text").write_bytes(b"".join(lines))
        before = {*tmp_path.iterdir()}
        with pytest.raises(InputError) as error:
            import_text(tmp_path / "text", tmp_path / "new.parquet", **options)
        assert {*tmp_path.iterdir()} == before
        assert str(error.value).count("\n") == 0
        return str(error.value)
    return run


# -- where the bytes come from ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "packed"), [
    ("gzip", GZ), ("zstd", zstandard.ZstdCompressor().compress(gzip.decompress(GZ))),
])  # fmt: skip
def test_a_truncated_archive_keeps_what_came_before_and_says_so(name, packed, read):
    found, _ = read(packed[: len(packed) // 2])
    assert 10_000 < found["events"] < 166_716 and any(f"{name} data end early" in why for why in found["why"])


def test_a_damaged_archive_keeps_what_came_before_and_says_so(read):
    half = len(GZ) // 2
    found, _ = read(GZ[:half], bytes(64), GZ[half + 64 :])
    assert found["events"] > 10_000 and any("gzip data are damaged" in why for why in found["why"])


def test_members_and_frames_may_follow_each_other(read):
    first, second = b"".join(FTRACE[:100]), b"".join(FTRACE[100:200])
    assert read(gzip.compress(first), gzip.compress(second))[0]["events"] == 200
    pack = zstandard.ZstdCompressor().compress
    assert read(pack(first), pack(second))[0]["events"] == 200


def test_half_a_last_line_is_not_an_event(read):
    found, trace = read(*PAIR, line()[:-5])
    assert (found["unparsed"], len(trace), found["complete"]) == (1, 2, False)
    assert "no newline" in found["why"][0]


def test_a_line_of_10_mb_is_dropped_and_counted(read):
    found, trace = read(PAIR[0], b"x" * 10_000_000, b"\n", PAIR[1], b"y" * 3_000_000)
    assert (found["unparsed"], len(trace)) == (2, 2)
    assert "line 2: a line of 10,000,000 bytes" in found["why"][0]


@pytest.mark.parametrize(("content", "said"), [
    (b"", "no pin event"),
    (b"PERFILE2" + bytes(99), "perf script"),
    (b"\x17\x08Dtracing6\0" + bytes(99), "trace-cmd report"),
    (b"0.000 fio/368 probe:pin_put(__probe_ip: -2127054016, page: -12384898904493888)\n", "perf trace"),
    (b"             fio-390   [000] ...1.   131.985940: try_grab_folio <-follow_page_pte\n", "no arguments"),
    (bytes(1 << 27), "no event of a known tool in its first 64 MiB"),
    (b"\n" * 1000, "no pin event"),
    (gzip.compress(b"", mtime=0), "no pin event"),
])  # fmt: skip
def test_what_is_no_trace_text_is_refused_with_a_hint(content, said, refuse):
    assert said in refuse(content)


def test_devices_folders_and_missing_files_are_refused(tmp_path):
    for path, said in {
        "/dev/zero": "64 MiB", "/dev/null": "no pin event", "/proc/self/status": "no pin event",
        tmp_path: "trace.txt", tmp_path / "none": "No such file",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=said):
            import_text(path, tmp_path / "out.parquet")
    assert not list(tmp_path.iterdir())


def test_a_fifo_is_read_to_its_end(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(b"".join(PAIR),))
    writer.start()
    assert import_text(tmp_path / "fifo", tmp_path / "out.parquet")["events"] == 2
    writer.join()


# -- where they go ------------------------------------------------------------------------------------------


def test_an_output_that_cannot_be_is_refused_before_the_work(tmp_path):
    text = tmp_path / "text"
    text.write_bytes(b"".join(PAIR))
    for out, said in {
        tmp_path: "not a folder", tmp_path / "no/out": "does not exist", "/dev/null": "device",
        text: "overwrite", tmp_path / ("x" * 300): "File name too long",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=said):
            import_text(text, out)
    assert [path.name for path in tmp_path.iterdir()] == ["text"] and text.read_bytes() == b"".join(PAIR)


@pytest.mark.parametrize("stage", ["the records", "the Parquet file"])
def test_a_full_disk_leaves_nothing_and_says_so(stage, tmp_path, read, monkeypatch):
    read(*PAIR)  # what is compiled is stored before
    (tmp_path / "out.parquet").unlink()
    (tmp_path / "text").write_bytes(b"".join(FTRACE))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    write = TraceWriter.write

    def limit(*args):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        return args and write(*args)

    try:
        monkeypatch.setattr(TraceWriter, "write", limit)
        if stage == "the records":
            limit()
        with pytest.raises(InputError, match=r"out\.parquet: cannot be written \(.*File too large"):
            import_text(tmp_path / "text", tmp_path / "out.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_is_killed_while_writing_leaves_the_old_file_alone(how, tmp_path):
    (tmp_path / "text").write_bytes(b"".join(PAIR))
    (tmp_path / "out.parquet").write_bytes(b"old")
    code = f"""if True:
        import os
        from workbench.evidence.pins import readers, trace
        write = trace.TraceWriter.write
        def write_and_die(*args):
            write(*args)
            os.kill(os.getpid(), {int(how)})
        trace.TraceWriter.write = write_and_die
        readers.import_text({str(tmp_path / "text")!r}, {str(tmp_path / "out.parquet")!r})"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -how
    assert (tmp_path / "out.parquet").read_bytes() == b"old"


# -- lines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("comm", [
    b"a b-1 [000] x", b"-", b"--[001]--", b"[000]", b"(123)", b"<...>", b"<idle>", b"'\"`$(id)", b"<b>b</b>",
    b"\x1b[31mred\x1b[0m", b"\xff\xfe\x80", "\u202egnp.exe".encode(), "\N{SNOWMAN}".encode() * 5, b"a\0b",
    b"fifteen-chars-x", b"1", b"12 34 A",
])  # fmt: skip
def test_any_comm_comes_through_every_tools_columns(comm, read):
    name = comm.decode("utf-8", "backslashreplace")
    args = f"page={BASE + 64:#x} refs=2 flags=0x80000\n".encode()
    for text in (
        comm.rjust(16) + b"-42      [001] d....     1.5: grab: (f+0x0/0x9) " + args,
        comm.rjust(16) + b"-42      (     41) [001] d....     1.5: grab: (f+0x0/0x9) " + args,
        b"%16b-42    [001]     1.500000: grab:                 (ffffffff8137bb40) " % comm + args,
        b"%16b    42 [001]     1.500000: probe:pin_grab: (ffffffff8137bb40) " % comm + args,
        b"%16b    41/42    [001]     1.500000: probe:pin_grab: (ffffffff8137bb40) " % comm + args,
        b"1500000000 1 42 %b A %x 2 80000\n" % (comm, BASE + 64),
    ):
        found, trace = read(text)
        assert (found["events"], found["unparsed"], trace.comm_names) == (1, 0, (name,)), text
        assert (int(trace.pid[0]), int(trace.cpu[0]), int(trace.nr[0]), int(trace.pfn[0])) == (42, 1, 2, 1)


def test_two_tools_in_one_text_are_refused(refuse):
    kinds = {"ftrace": FTRACE, "perf script": PERF, "trace-cmd report": REPORT[1:], "bpftrace": BPFTRACE[1:]}
    for one, first in kinds.items():
        for other, second in kinds.items():
            if one != other:
                said = refuse(*first[:5], *second[:5])
                assert f"line 6: a line of {other} in a text of {one}" in said


@pytest.mark.parametrize("bad", [
    line(page=1 << 64), line(page=(1 << 68) + 5), line(refs="-1"), line(refs="0"), line(refs=str(1 << 31)),
    line(refs="9" * 40), line(refs="one"), line(flags="0x100000000"), line(flags="-1"), line(flags=""),
    line(seconds="9999999999.0"), line(seconds="1"), line(seconds="-1.0"), line(cpu="65536"),
    line(cpu="9" * 30), PAIR[0].replace(b"-42", b"-4294967296"), PAIR[0].replace(b"page=", b"\0page="),
    PAIR[0].replace(b" page=", b" "), PAIR[0][:90] + b"\n", bytes(200) + b"\n",
    b"1 2 3 fio A ffd4000000000040 1 \n", b"1 2 3 fio A\n", b"1 2 3 fio X ffd4000000000040 1 80000\n",
    b"1 2 3 fio A ffd4000000000040 -1 80000\n", b"1 65536 3 fio A ffd4000000000040 1 80000\n",
    b"1" * 19 + b" 2 3 fio A ffd4000000000040 1 80000\n",
])  # fmt: skip
def test_a_line_out_of_range_is_counted_and_makes_it_incomplete(bad, read):
    found, trace = read(PAIR[0], bad, PAIR[1])
    assert (len(trace), found["unparsed"]) == (2, 1)
    assert found["why"][0].startswith("1 line could not be read; the first is line 2: ")


@pytest.mark.parametrize(("said", "nr"), [
    (b"CPU:1 [LOST 753 EVENTS]", 753), (b"CPU:1 [LOST EVENTS]", 1),
    (b"CPU:0 [12 EVENTS DROPPED]", 12), (b"CPU:0 [EVENTS DROPPED]", 1),
    (b"             fio   357 [000]   110.026244: PERF_RECORD_LOST lost 21", 21),
    (b"             fio   357 [000]   110.026244: PERF_RECORD_LOST_SAMPLES lost 22", 22),
    (b"Warning: Processed 4711 events and lost 3 chunks!", 3),
    (b"Lost 31 events", 31), (b"WARNING: Lost 32 events", 32),
    (b"# entries-in-buffer/entries-written: 100/250   #P:4", 150),
])  # fmt: skip
def test_every_tools_notice_of_loss_makes_it_incomplete(said, nr, read):
    found, _ = read(PAIR[0], said, b"\n", PAIR[1])
    assert (found["lost"], found["unparsed"]) == (nr, 0)
    assert f"lost {nr} event{'s' * (nr > 1)} or" in found["why"][0]


def test_a_ring_that_was_not_overwritten_is_complete(read):
    header = b"# tracer: nop\n#\n# entries-in-buffer/entries-written: 2/2   #P:4\n#\n"
    assert read(header, *PAIR)[0]["complete"]


# -- pointers and time --------------------------------------------------------------------------------------


def test_a_wrong_base_is_refused_and_one_that_fits_is_named(refuse):
    for wrong in ("0xffea000000000000", "0xffd4000000000001", "0xffd5000000000000"):
        said = refuse(*FTRACE[:100], vmemmap_base=wrong)
        assert wrong in said and f"{BASE:#x}" in said
    for wrong in ("junk", 1 << 64, -1):
        assert "vmemmap base" in refuse(*PAIR, vmemmap_base=wrong)


def test_pages_beyond_the_machine_are_dropped_and_counted(read, refuse):
    beyond = line(page=BASE + 64 * 1000, seconds="1.0000015")
    found, trace = read(PAIR[0], beyond, PAIR[1], end_pfn=1000)
    assert (len(trace), found["why"]) == (2, ["1 event was dropped: its page lies outside pfns 0..0x3e8"])
    assert "outside pfns 0..0x7" in refuse(*PAIR, end_pfn=7)


def test_vmemmap_events_that_differ_or_contradict_are_refused(refuse, read):
    event = b"             fio-42      [000] d....     1.000000: vb: (f+0x0/0x9) vmemmap=%#x\n"
    assert read(event % BASE, *PAIR)[0]["vmemmap_base_source"] == "trace"
    assert "differ" in refuse(event % BASE, event % (BASE + (1 << 30)), *PAIR)
    assert "its own events say" in refuse(event % BASE, *PAIR, vmemmap_base=f"{BASE + 64:#x}")


def test_a_head_that_is_no_head_of_this_page_is_dropped(read):
    head = line().replace(b"\n", b" head=%#x\n")
    found, trace = read(*PAIR, *[head % wrong for wrong in (BASE + 64 * 9 + 1, BASE + 3)], *PAIR)
    assert (len(trace), found["why"][0][:25]) == (4, "2 events were dropped: th")


def test_time_that_goes_back_a_little_is_sorted_and_much_is_said(read):
    found, trace = read(PAIR[1], PAIR[0])
    assert (trace.op.tolist(), found["reordered"], found["complete"]) == ([1, -1], 1, True)
    found, trace = read(line(seconds="9.0"), line("put", seconds="9.1"), *PAIR)
    assert (trace.ts_ns >= 0).all() and (np.diff(trace.ts_ns) >= 0).all()
    assert "time goes back by 8.100 s" in found["why"][0]
