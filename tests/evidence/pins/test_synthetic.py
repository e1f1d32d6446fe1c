"""Made-up traces against plain loops over their rows, and twins against the recorded traces."""

import json
import tracemalloc
from collections import defaultdict
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import InputError
from workbench.evidence.pins.synthetic import (
    Pattern,
    Stream,
    batches,
    generate,
    gpu,
    measure,
    mixed,
    rdma,
    storage,
    write,
)
from workbench.evidence.pins.trace import Trace, load_trace

COLUMNS = ("ts_ns", "cpu", "pid", "comm", "op", "probe", "pfn", "nr", "order", "gup_flags", "head_off")
LONGTERM = 0x100


@st.composite
def streams(draw):
    """Any small stream that can keep its rate."""
    request, depth = draw(st.integers(1, 40)), draw(st.integers(1, 9))
    order = draw(st.sampled_from([0, 0, 1, 4, 9, 10]))
    footprint = request * depth + draw(st.integers(0, 700))
    common = {
        "name": draw(st.sampled_from(["a", "b", "c"])), "request_pages": request, "queue_depth": depth,
        "footprint_pages": footprint, "order": order, "buffer_pages": draw(st.integers(1, 100)),
        "run_pages": draw(st.floats(1, 300)), "longterm": draw(st.booleans()), "fast": draw(st.booleans()),
        "row_ns": draw(st.sampled_from([0, 1, 500])),
    }  # fmt: skip
    if draw(st.booleans()):
        return Stream(**common)
    common |= {"lifetime_ns": draw(st.floats(1, 1e6)), "lifetime_sigma": draw(st.floats(0, 2))}
    most = depth * 1e9 / Stream(**common, requests_per_s=1e-9)._busy_ns
    return Stream(**common, requests_per_s=draw(st.floats(1e-3, 1)) * min(most, 1e6) * 0.99)


PATTERNS = st.builds(
    Pattern, name=st.just("any"), streams=st.lists(streams(), min_size=1, max_size=4).map(tuple),
    seconds=st.sampled_from([1e-6, 1e-3]), nr_cpus=st.sampled_from([1, 3, 300]),
    seed=st.integers(0, 2**64 - 1),
    first_pfn=st.sampled_from([0, 12345, 1 << 33]), end_pfn=st.just((1 << 33) + (1 << 20)),
    release_at_end=st.booleans(),
)  # fmt: skip


def rows_of(trace):
    """The rows with names in place of codes, so that they do not depend on the codes."""
    columns = {c: getattr(trace, c) for c in COLUMNS}
    columns["comm"] = np.array(trace.comm_names)[trace.comm]
    columns["probe"] = np.array(trace.probe_names)[trace.probe]
    return columns


def assert_same(one, other):
    one, other = rows_of(one), rows_of(other)
    assert all(np.array_equal(one[c], other[c]) for c in COLUMNS)


def counts_one_by_one(trace):
    """Pins of each folio at the end; no count may fall below 0 on the way."""
    counts = defaultdict(int)
    for folio, op, nr in zip(trace.folio.tolist(), trace.op.tolist(), trace.nr.tolist(), strict=True):
        counts[folio] += op * nr
        assert counts[folio] >= 0
    return counts


def lives_one_by_one(trace):
    """Lifetimes, the peak of folios live at once, and acquires of a folio that was pinned already."""
    count, since, lives, live, peak, repins = defaultdict(int), {}, [], 0, 0, 0
    pins = trace.select(trace.is_pin)
    for ts, folio, op, nr in zip(
        pins.ts_ns.tolist(), pins.folio.tolist(), pins.op.tolist(), pins.nr.tolist(), strict=True
    ):
        before, count[folio] = count[folio], count[folio] + op * nr
        repins += op > 0 and before > 0
        if before <= 0 < count[folio]:
            since[folio], live = ts, live + 1
        if count[folio] <= 0 < before:
            lives.append(ts - since.pop(folio))
            live -= 1
        peak = max(peak, live)
    return lives, peak, repins


def by_hand(rows, **meta):
    """A trace of (ts_ns, op, pfn, nr) with folios of order 0, by one process through GUP-fast."""
    ts_ns, op, pfn, nr = (np.array(column) for column in zip(*rows, strict=True))
    zeros = np.zeros(len(rows), np.int32)
    return Trace(
        ts_ns=ts_ns, cpu=zeros, pid=zeros, comm=zeros, op=op.astype(np.int8), probe=np.where(op > 0, 0, 1),
        pfn=pfn.astype(np.uint32), nr=nr, order=zeros, gup_flags=np.full(len(rows), 0x80000, np.uint32),
        head_off=zeros, comm_names=("a",), probe_names=("grab_fast", "put"), meta=meta, name="by hand",
    )  # fmt: skip


@given(PATTERNS)
def test_every_pin_is_dropped_once_and_registrations_as_asked(pattern):
    trace = generate(pattern)
    assert trace.is_pin.all() and trace.complete
    left = sum(nr for nr in counts_one_by_one(trace).values())
    held = sum(s.footprint_pages for s in pattern.streams if s.held)
    assert left == (0 if pattern.release_at_end else held)


@given(PATTERNS)
def test_rows_are_in_order_of_time_and_within_the_machine(pattern):
    trace = generate(pattern)
    assert trace.ts_ns[0] == 0 and (np.diff(trace.ts_ns) >= 0).all()
    folio = trace.folio.astype(np.int64)
    known = trace.order >= 0
    last = folio + np.where(known, 1 << np.maximum(trace.order, 0).astype(np.int64), trace.head_off + 1)
    assert folio.min() >= pattern.first_pfn and last.max() <= pattern.end_pfn
    assert (folio[known] % (1 << trace.order[known].astype(np.int64)) == 0).all()
    assert (trace.head_off + trace.nr <= 1 << 10).all() and (trace.nr >= 1).all()
    assert trace.cpu.max() < pattern.nr_cpus


@given(PATTERNS, st.integers(1, 50))
def test_batches_joined_are_the_same_rows_whatever_their_size(pattern, rows):
    whole = generate(pattern)
    rows = max(rows, len(whole) // 200)
    parts = list(batches(pattern, rows))
    assert all(len(part) == rows for part in parts[:-1]) and sum(map(len, parts)) == len(whole)
    for c in COLUMNS:
        assert np.array_equal(np.concatenate([getattr(p, c) for p in parts]), getattr(whole, c)), c


@given(PATTERNS)
def test_no_stream_holds_more_than_its_queue_and_its_footprint(pattern):
    """One stream at a time, so that all references are its own."""
    for stream in pattern.streams:
        trace = generate(replace(pattern, streams=(stream,)))
        refs = np.cumsum(trace.op.astype(np.int64) * trace.nr)
        most = stream.footprint_pages if stream.held else stream.queue_depth * stream.request_pages
        assert refs.max() <= most
        assert len(np.unique(trace.folio)) <= -(-stream.footprint_pages >> stream.order)


@given(PATTERNS)
def test_a_trace_that_was_made_can_be_measured_and_made_again(pattern):
    trace = generate(pattern)
    found = measure(trace)
    lives, peak, repins = lives_one_by_one(trace)
    assert (found["peak_live_folios"], found["rows"]) == (peak, len(trace))
    assert found["repin_share"] == pytest.approx(repins / (trace.op > 0).sum())
    if lives:
        assert found["lifetime_ns"]["0.5"] == np.median(lives)
    twin = generate(Pattern.like(trace, seed=1))
    assert set(counts_one_by_one(twin).values()) == {0} or not pattern.release_at_end


def test_a_seed_gives_the_same_rows_and_another_seed_others():
    pattern = mixed(seconds=0.01, seed=5)
    assert_same(generate(pattern), generate(pattern))
    other = generate(replace(pattern, seed=6))
    assert len(other) != len(generate(pattern)) or (other.ts_ns != generate(pattern).ts_ns).any()


@pytest.mark.parametrize("name", ["pins-fio", "pins-mixed-lossy-kprobe"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_twin_of_a_recorded_trace_agrees_with_it(name, seed):
    real = load_trace(name)
    twin = generate(Pattern.like(real, seed=seed))
    ours, theirs = measure(twin), measure(real)
    for what in ("rows", "rows_per_s", "refs", "distinct_folios", "mean_run_folios", "rows_per_life"):
        assert ours[what] == pytest.approx(theirs[what], rel=0.05), what
    assert ours["peak_live_folios"] == pytest.approx(theirs["peak_live_folios"], rel=0.1)
    assert ours["lifetime_ns"]["0.5"] == pytest.approx(theirs["lifetime_ns"]["0.5"], rel=0.1)
    for what, points in (("repin_share", 0.03), ("fast_share", 0.01), ("longterm_share", 0.01)):
        assert ours[what] == pytest.approx(theirs[what], abs=points), what
    for what in ("refs_by_order", "folios_by_order"):  # as shares: one folio of order 2 has no twin
        for order in theirs[what]:
            share = theirs[what][order] / sum(theirs[what].values())
            assert ours[what].get(order, 0) / sum(ours[what].values()) == pytest.approx(share, abs=0.01)


def test_measure_of_a_recorded_trace_matches_a_loop_over_its_rows():
    trace = load_trace("pins-fio")
    found = measure(trace)
    lives, peak, repins = lives_one_by_one(trace)
    assert (found["lives"], found["peak_live_folios"]) == (len(lives), peak) == (83326, 560)
    assert found["lifetime_ns"]["0.5"] == np.median(lives) and repins == 83330 - 83326
    assert found["lifetime_ns"]["mean"] == pytest.approx(np.mean(lives))


def test_measure_by_hand():
    found = measure(by_hand([
        (0, 1, 8, 1), (10, 1, 9, 1), (20, 1, 20, 1), (100, 1, 8, 1),
        (110, -1, 8, 1), (110, -1, 9, 1), (130, -1, 8, 1), (220, -1, 20, 1),
    ]))  # fmt: skip
    assert (found["lives"], found["peak_live_folios"], found["distinct_folios"]) == (3, 3, 3)
    assert found["lifetime_ns"]["0.5"] == 130
    assert found["lifetime_ns"]["mean"] == pytest.approx((130 + 100 + 200) / 3)
    assert found["mean_run_folios"] == 1.5 and found["repin_share"] == 0.25
    assert found["request_pages"] == 2  # 8, 9 and, soon after, 20; later 8 again
    assert (found["row_ns"], found["refs_per_row"], found["rows_per_life"]) == (10, 1, 4 / 3)


def test_a_lost_unpin_is_no_life_in_a_lossy_trace_and_a_long_one_in_a_whole_trace():
    rows = [(0, 1, 5, 1), (1, 1, 7, 1), (2, 1, 9, 1), (10, -1, 5, 1), (12, -1, 9, 1)]
    lossy, whole = measure(by_hand(rows, missed=1)), measure(by_hand(rows))
    assert (lossy["peak_live_folios"], whole["peak_live_folios"]) == (2, 3)
    assert lossy["lifetime_ns"]["mean"] == whole["lifetime_ns"]["mean"] == 10
    assert lossy["outstanding_folios"] == whole["outstanding_folios"] == 1
    assert Pattern.like(by_hand(rows, missed=1)).release_at_end


def test_twins_of_lossy_traces_balance():
    twin = generate(Pattern.like(load_trace("pins-mixed-lossy-kprobe")))
    assert not any(counts_one_by_one(twin).values())


def test_lifetimes_have_the_median_and_spread_that_were_asked_for():
    stream = Stream(
        name="a", request_pages=1, queue_depth=50, footprint_pages=50, requests_per_s=50_000,
        lifetime_ns=200_000, lifetime_sigma=0.8, row_ns=0,
    )  # fmt: skip
    lives, peak, repins = lives_one_by_one(generate(Pattern(name="a", streams=(stream,), seconds=2, seed=3)))
    assert (peak, repins) == (50, 0)
    assert len(lives) == pytest.approx(100_000, rel=0.02)
    assert np.median(lives) == pytest.approx(200_000, rel=0.02)
    assert np.log(lives).std() == pytest.approx(0.8, rel=0.02)


def test_the_gpus_buffer_is_the_captures():
    trace = generate(gpu())
    took = trace.op > 0
    assert int(trace.nr[took].sum()) == int(trace.nr[~took].sum()) == 1_048_576  # pins.json: 4294967296 bytes
    assert took.sum() == 2048 and ((trace.gup_flags[took] & LONGTERM) != 0).all()
    assert trace.ts_ns[took].max() < 0.75e9 < trace.ts_ns[~took].min() == 1e9  # held until the end
    small = generate(gpu(order=0, run_pages=952))
    assert (small.op > 0).sum() == 1_048_576
    assert measure(small)["mean_run_folios"] == pytest.approx(952, rel=0.01)
    assert small.ts_ns[small.op > 0].max() / 1e9 == pytest.approx(0.7177, rel=0.01)  # register_seconds


def test_a_registration_may_stay_outstanding_in_tail_or_head():
    trace = generate(replace(gpu(nr_pages=3000), release_at_end=False))
    assert (trace.op > 0).all() and trace.nr.sum() == 3000


def test_the_ready_patterns_balance_and_expect_about_as_many_rows_as_they_give():
    for pattern in (storage(), mixed(), rdma(region_pages=512), gpu(), storage() + mixed() + gpu()):
        pattern = pattern if pattern.name == "gpu" else pattern.lasting(60_000)
        trace = generate(pattern)
        assert not any(counts_one_by_one(trace).values())
        assert len(trace) == pytest.approx(pattern.expected_rows, rel=0.05), pattern.name


def test_pieces_of_the_footprint_have_the_mean_length_asked_for():
    stream = Stream(
        name="a", request_pages=8, queue_depth=4, footprint_pages=6400, requests_per_s=1e6, lifetime_ns=1000,
        run_pages=12.8, row_ns=0,
    )  # fmt: skip
    trace = generate(Pattern(name="a", streams=(stream,), seconds=0.01))
    found = np.unique(trace.folio.astype(np.int64))
    assert found.size == 6400 and 1 + (np.diff(found) > 1).sum() == 500


def test_folios_below_order_9_are_taken_page_by_page_and_dropped_at_once():
    stream = Stream(
        name="a",
        request_pages=16,
        queue_depth=1,
        footprint_pages=16,
        requests_per_s=1000,
        lifetime_ns=1000,
        order=4,
    )
    trace = generate(Pattern(name="a", streams=(stream,), seconds=1e-6))
    assert trace.op.tolist() == [1] * 16 + [-1]
    assert trace.nr.tolist() == [1] * 16 + [16]
    assert trace.head_off.tolist() == [*range(16), 0]
    assert trace.order.tolist() == [4] + [-1] * 15 + [4]
    at_once = replace(stream, order=9)
    assert generate(Pattern(name="a", streams=(at_once,), seconds=1e-6)).nr.tolist() == [16, 16]


@pytest.mark.parametrize(("end_pfn", "nr_cpus", "types"), [
    (1 << 32, 256, ("uint32", "uint8")), ((1 << 32) + 1, 257, ("uint64", "uint16")),
])  # fmt: skip
def test_it_goes_through_parquet_and_says_what_it_is(end_pfn, nr_cpus, types, tmp_path):
    pattern = replace(mixed(seconds=0.01, seed=9), end_pfn=end_pfn, nr_cpus=nr_cpus)
    assert write(pattern, tmp_path / "t.parquet") == tmp_path / "t.parquet"
    read, made = load_trace(tmp_path / "t.parquet"), generate(pattern)
    assert_same(read, made)
    assert (str(made.pfn.dtype), str(made.cpu.dtype)) == (str(read.pfn.dtype), str(read.cpu.dtype)) == types
    for meta in (made.meta, read.meta):
        assert meta["synthetic"] is True and meta["seed"] == 9
        assert json.loads(json.dumps(meta["pattern"])) == json.loads(json.dumps(asdict(pattern)))
    assert read.kernel is None and made.kernel is None and read.is_pin.all()


def test_memory_does_not_grow_with_the_number_of_rows():
    def peak(nr_rows):
        tracemalloc.start()
        made = sum(len(batch) for batch in batches(storage().lasting(nr_rows), rows=10_000))
        assert made == pytest.approx(nr_rows, rel=0.02)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(20_000)  # Numba has loaded its code
    assert peak(1_000_000) < peak(50_000) + 100_000


GOOD = {"name": "a", "request_pages": 2, "queue_depth": 4, "footprint_pages": 8}
SHORT = {"requests_per_s": 100.0, "lifetime_ns": 1000.0}


@pytest.mark.parametrize(("wrong", "said"), [
    ({"name": "sixteen letters!"}, "must be text of 1 to 15 bytes"),
    ({"name": 7}, "name 7 must be text"),
    ({"request_pages": 0}, "request_pages 0 must be a whole number"),
    ({"request_pages": 1.5}, "request_pages 1.5 must be a whole number"),
    ({"queue_depth": True}, "queue_depth True must be"),
    ({"queue_depth": 5}, "footprint_pages 8 is less than queue_depth x request_pages = 10"),
    ({"footprint_pages": "8"}, "footprint_pages '8' must be"),
    ({"lifetime_ns": 5.0}, "both, or none"),
    ({"requests_per_s": 5.0}, "both, or none"),
    ({**SHORT, "lifetime_ns": float("nan")}, "lifetime_ns nan must be"),
    ({**SHORT, "lifetime_ns": -1.0}, "lifetime_ns -1.0 must be"),
    ({**SHORT, "lifetime_sigma": 6}, "lifetime_sigma 6 must be"),
    ({**SHORT, "requests_per_s": float("inf")}, "requests_per_s inf must be"),
    ({**SHORT, "requests_per_s": 5e6}, "requests_per_s 5e\\+06 is more than queue_depth 4 can do"),
    ({"order": -1}, "order -1 must be"),
    ({"run_pages": 0.5}, "run_pages 0.5 must be"),
    ({"row_ns": None}, "row_ns None must be"),
])  # fmt: skip
def test_a_bad_stream_is_refused_in_one_line(wrong, said):
    with pytest.raises(InputError, match=said) as error:
        Stream(**{**GOOD, **wrong})
    assert str(error.value).startswith("stream ") and "\n" not in str(error.value)


@pytest.mark.parametrize(("wrong", "said"), [
    ({"seconds": 0}, "seconds 0 must be"),
    ({"seed": -1}, "seed -1 must be"),
    ({"seed": 1.5}, "seed 1.5 must be a whole number"),
    ({"nr_cpus": 0}, "nr_cpus 0 must be"),
    ({"streams": ()}, "0 streams"),
    ({"end_pfn": (1 << 20) + 9}, "are 9 pages; the footprints need 18"),
    ({"end_pfn": 5}, "0x5 are -1048571 pages"),
])  # fmt: skip
def test_a_bad_pattern_is_refused_in_one_line(wrong, said):
    with pytest.raises(InputError, match=said) as error:
        Pattern(**{"name": "p", "streams": (Stream(**GOOD),), "seconds": 1.0, **wrong})
    assert str(error.value).startswith("pattern 'p'") and "\n" not in str(error.value)


def test_other_bad_input_is_refused(tmp_path):
    with pytest.raises(InputError, match="rows 0 must be"):
        next(batches(storage(), 0))
    with pytest.raises(InputError, match="use batches"):
        generate(storage().lasting(10**12))
    with pytest.raises(InputError, match="0 a second"):
        gpu().lasting(10**9)
    with pytest.raises(InputError, match="nothing to measure"):
        measure(by_hand([(0, -1, 5, 1)]))
    with pytest.raises(InputError, match="no lifetime is known"):
        Pattern.like(by_hand([(0, 1, 5, 1)], missed=1))
    with pytest.raises(InputError, match="folder"):
        write(storage(seconds=0.001), tmp_path / "none" / "t.parquet")
