"""The pool model against a plain simulation of one pool at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import InputError
from workbench.evidence.pins.pool import pool_shares
from workbench.evidence.pins.trace import Trace

PIN = 0x80000


def make(rows):
    """A trace of (ts_ns, cpu, op, pfn, probe) rows; probes are 0 grab_fast, 1 grab, 2 put."""
    ts, cpu, op, pfn, probe = (np.array(column) for column in zip(*rows, strict=True))
    zeros = np.zeros(len(rows), dtype=np.int32)
    return Trace(
        ts_ns=ts.astype(np.int64),
        cpu=cpu.astype(np.uint8),
        pid=zeros,
        comm=zeros,
        op=op.astype(np.int8),
        probe=probe.astype(np.int32),
        pfn=pfn.astype(np.uint32),
        nr=zeros + 1,
        order=zeros.astype(np.int8),
        gup_flags=np.full(len(rows), PIN, dtype=np.uint32),
        head_off=zeros,
        comm_names=("a",),
        probe_names=("grab_fast", "grab", "put"),
        meta={"format": "pin-trace/1"},
    )


def plainly(rows, size, refill_ns, recycle):
    counts, free, since, empty = {}, {}, {}, 0
    for ts, cpu, op, pfn, probe in rows:
        before = counts.get(pfn, 0)
        counts[pfn] = max(0, before + op)
        free.setdefault(cpu, size)
        if op > 0 and before == 0 and probe == 0:
            if cpu in since and ts - since[cpu] >= refill_ns:
                free[cpu] = size
                del since[cpu]
            since.setdefault(cpu, ts)
            if free[cpu]:
                free[cpu] -= 1
            else:
                empty += 1
        elif op < 0 and before > 0 and counts[pfn] == 0 and recycle:
            free[cpu] = min(size, free[cpu] + 1)
    return empty


ROWS = st.lists(
    st.tuples(
        st.integers(0, 2000),
        st.integers(0, 2),
        st.sampled_from([1, 1, -1]),
        st.integers(0, 5),
        st.sampled_from([0, 0, 1]),
    ),
    min_size=1,
    max_size=80,
)


@settings(max_examples=60)
@given(rows=ROWS, refill_ns=st.integers(0, 500), recycle=st.booleans())
def test_shares_are_those_of_a_plain_simulation(rows, refill_ns, recycle):
    rows = [
        (ts, cpu, op, pfn, 2 if op < 0 else probe)
        for ts, (_, cpu, op, pfn, probe) in zip(sorted(r[0] for r in rows), rows, strict=True)
    ]
    sizes = [0, 1, 2, 3, 7]
    found = pool_shares(make(rows), sizes, refill_ns=refill_ns, recycle=recycle)
    assert found.nr_empty.tolist() == [plainly(rows, size, refill_ns, recycle) for size in sizes]
    assert found.nr_pins == sum(op > 0 for _, _, op, _, _ in rows)


def test_a_burst_by_hand():
    rows = [(t, 0, 1, t, 0) for t in range(10)] + [(1000, 0, 1, 1000, 0)]
    found = pool_shares(make(rows), [0, 4, 10], refill_ns=1000)
    assert found.nr_empty.tolist() == [11, 6, 0]  # the last take comes after the refill
    table = found.table()
    assert table["nr_slow"].tolist() == [11, 6, 0]
    assert table["fast_to_slow"].tolist() == [0, 5 / 6, np.inf]


def test_time_that_goes_back_stands_still():
    rows = [(1000, 0, 1, 1, 0), (500, 0, 1, 2, 0), (600, 0, 1, 3, 0)]
    assert pool_shares(make(rows), [1], refill_ns=0).nr_empty.tolist() == [0]
    assert pool_shares(make(rows), [1], refill_ns=1).nr_empty.tolist() == [2]


def test_larger_pools_are_never_emptier_and_bad_sizes_are_refused():
    found = pool_shares("pins-mixed-lossy-kprobe")
    assert (np.diff(found.nr_empty) <= 0).all() and found.nr_empty[0] > 0
    for wrong in ({"sizes": []}, {"sizes": [-1]}, {"sizes": [1.5]}, {"refill_ns": -1}):
        with pytest.raises(InputError):
            pool_shares("pins-fio", **wrong)
