"""The counters as a series: a text worked by hand, broken texts, a made-up proc, and the sh script itself."""

import json
import subprocess
from pathlib import Path

import pytest

import workbench.evidence.pins
from workbench import InputError
from workbench.evidence.pins.vmstat import load_series, registration, watch
from workbench.model.files import data_dir

SCRIPT = Path(workbench.evidence.pins.__file__).with_name("vmstat.sh")
HEADER = "# vmstat-series/1 kernel=6.12.95+deb12-amd64 exact=1\n# ns acquired released\n"


def written(folder, text):
    path = folder / "vmstat.series.txt"
    path.write_text(text)
    return path


def test_a_series_worked_by_hand(tmp_path):
    series = load_series(written(tmp_path, HEADER + "5000 100 100\n6000 164 100\n8000 164 132\n"))
    assert series.ts_ns.tolist() == [0, 1000, 3000]
    assert series.acquired_refs.tolist() == [100, 164, 164]
    assert series.released_refs.tolist() == [100, 100, 132]
    assert series.outstanding_refs.tolist() == [0, 64, 32]
    assert (len(series), series.exact, series.kernel) == (3, True, "6.12.95+deb12-amd64")


def test_a_counter_that_lags_makes_the_difference_negative_and_is_kept(tmp_path):
    text = HEADER.replace("exact=1", "exact=0") + "0 1000 1000\n10 1000 1031\n20 1062 1031\n"
    series = load_series(written(tmp_path, text))
    assert series.outstanding_refs.tolist() == [0, -31, 31] and not series.exact


@pytest.mark.parametrize(("text", "place", "said"), [
    ("", "line 1", "must begin with"),
    ("0 1 2\n", "line 1", "must begin with"),
    (HEADER.replace("/1", "/2") + "0 1 2\n", "line 1", "must begin with"),
    (HEADER, None, "no reading"),
    (HEADER + "0 1\n", "line 3", "three numbers"),
    (HEADER + "0 1 -1\n", "line 3", "three numbers"),
    (HEADER + "0 1 \N{ARABIC-INDIC DIGIT ONE}\n", "line 3", "three numbers"),
    (HEADER + f"0 1 {2**63}\n", "line 3", "below 2**63"),
    (HEADER + "9 1 1\n\n8 1 1\n", "line 5", "time 8 is below 9"),
    (HEADER + "0 7 1\n1 6 1\n", "line 4", "nr_foll_pin_acquired 6 is below 7"),
    (HEADER + "0 7 3\n1 7 2\n", "line 4", "nr_foll_pin_released 2 is below 3"),
    (HEADER + "0 1 1\n1 123 1", "line 4", "cut short"),
])  # fmt: skip
def test_a_bad_series_is_refused_in_one_line(text, place, said, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        load_series(path)
    message = str(error.value)
    assert said in message and str(path) in message and (place or "") in message and "\n" not in message


def test_what_is_no_file_or_no_text_is_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError):
            load_series(path)
    path = written(tmp_path, "")
    path.write_bytes(b"\xff\xfe\x00" * 100)
    with pytest.raises(InputError, match="must begin with"):
        load_series(path)


def made_up_proc(folder, vmstat, *, refresh=True):
    (folder / "sys/vm").mkdir(parents=True)
    if refresh:
        (folder / "sys/vm/stat_refresh").write_text("")
    (folder / "vmstat").write_text(vmstat)
    return folder


@pytest.mark.parametrize("refresh", [True, False])
def test_watching_reads_both_ends_and_says_whether_it_could_fold(refresh, tmp_path):
    vmstat = "nr_free_pages 5\nnr_foll_pin_acquired 96\nnr_foll_pin_released 64\n"
    series = watch(0.05, 0.02, proc=made_up_proc(tmp_path, vmstat, refresh=refresh))
    assert 2 <= len(series) <= 4  # at 0, 20, 40 and 50 ms; fewer where the machine is slow
    assert series.ts_ns[0] == 0 and series.ts_ns[-1] >= 50_000_000
    assert set(series.outstanding_refs.tolist()) == {32} and series.exact is refresh
    assert len(watch(0, proc=tmp_path)) == 1


def test_a_kernel_without_the_counters_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no nr_foll_pin_acquired, which Linux has since 5\.7"):
        watch(0, proc=made_up_proc(tmp_path, "nr_free_pages 5\n"))
    with pytest.raises(InputError):
        watch(0, proc=tmp_path / "none")


@pytest.mark.parametrize(("seconds", "interval"), [(-1, 1), (1, 0), (float("nan"), 1), (float("inf"), 1)])
def test_watching_needs_a_finite_time(seconds, interval, tmp_path):
    with pytest.raises(InputError, match="must be finite"):
        watch(seconds, interval, proc=tmp_path)


def script(*arguments):
    return subprocess.run(["sh", SCRIPT, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.skipif(
    "\nnr_foll_pin_acquired " not in Path("/proc/vmstat").read_text(), reason="a kernel before 5.7"
)
def test_what_the_script_writes_is_read_back_and_agrees_with_a_live_reading(tmp_path):
    path = tmp_path / "live.txt"
    before = watch(0)
    done = script(path, "1", "0.3")
    after = watch(0)
    assert done.returncode == 0, done.stderr
    series = load_series(path)
    assert 2 <= len(series) <= 8 and series.kernel == before.kernel
    readings = ((before, 0), (series, 0), (series, -1), (after, 0))
    for counter in ("acquired_refs", "released_refs"):
        values = [int(getattr(read, counter)[at]) for read, at in readings]
        assert values == sorted(values)
    assert series.exact == ("may lag" not in done.stderr)
    assert script(path, "1").returncode == 2  # it exists
    assert len(load_series(path)) == len(series)


@pytest.mark.parametrize("arguments", [(), ("1.5",), ("x",), ("1", "0"), ("1", "1.2.3"), ("1", "1", "1")])
def test_the_script_refuses_what_is_no_time(arguments, tmp_path):
    done = script(tmp_path / "out.txt", *arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not any(tmp_path.iterdir())


def test_the_h100_registration_pins_what_was_registered():
    h100 = registration("h100-128g-6.18")
    assert h100.registered_bytes == 4 << 30 and h100.registered_pages == 1_048_576
    assert h100.acquired_refs["registered"] - h100.acquired_refs["before"] == 1_048_576 + h100.other_refs
    assert h100.outstanding_refs == {"before": 0, "registered": 1_050_625, "after": 2_097}


@pytest.mark.parametrize(("key", "value"), [
    ("registered_bytes", -1), ("registered_bytes", "4"), ("registered_bytes", None),
    ("register_seconds", "x"), ("vmstat_after", None), ("vmstat_after", {"nr_foll_pin_acquired": 1}),
    ("vmstat_before", []),
])  # fmt: skip
def test_a_broken_registration_is_refused(key, value, tmp_path):
    known = json.loads((data_dir() / "captures/h100-128g-6.18/pins.json").read_text())
    (tmp_path / "pins.json").write_text(json.dumps({**known, key: value}))
    with pytest.raises(InputError, match=key):
        registration(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_what_is_no_registration_is_refused(content, tmp_path):
    (tmp_path / "pins.json").write_text(content)
    with pytest.raises(InputError):
        registration(tmp_path)
    with pytest.raises(InputError):
        registration(tmp_path / "none")
