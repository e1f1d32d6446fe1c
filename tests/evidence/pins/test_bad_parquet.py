"""Parquet files that are no pin trace, or a broken one: one line that names the file and the place."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import InputError
from workbench.evidence.pins.trace import FORMAT, Trace, iter_batches, load_trace

GOOD = pa.table({
    "ts_ns": pa.array([0, 5, 9], "int64"), "cpu": pa.array([0, 1, 1], "uint8"),
    "pid": pa.array([1, 2, 2], "int32"),
    "comm": pa.array(["fio", "a", "fio"]).dictionary_encode(), "op": pa.array([1, 1, -1], "int8"),
    "probe": pa.array(["grab", "grab", "put"]).dictionary_encode(), "pfn": pa.array([8, 9, 8], "uint32"),
    "nr": pa.array([1, 1, 2], "int32"), "order": pa.array([1, -1, 1], "int8"),
    "gup_flags": pa.array([1 << 19] * 3, "uint32"), "head_off": pa.array([0, 1, 0], "int32"),
})  # fmt: skip
META = {"format": FORMAT, "kernel": "6.12.95"}


def write(path, table, meta=META):
    raw = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    pq.write_table(table.replace_schema_metadata({"pin_trace": raw}), path)
    return path


def said(path):
    """The one line; iter_batches and load_trace agree that there is one."""
    with pytest.raises(InputError) as error:
        load_trace(path)
    with pytest.raises(InputError):
        list(iter_batches(path, rows=2))
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value).replace(str(path), "")


def test_the_table_that_the_others_are_broken_from_is_good(tmp_path):
    trace = load_trace(write(tmp_path / "t", GOOD))
    assert (trace.folio.tolist(), trace.complete, trace.kernel) == ([8, 8, 8], True, "6.12.95")


@pytest.mark.parametrize("column", GOOD.column_names)
def test_a_column_that_is_missing_mistyped_doubled_or_has_holes_is_named(column, tmp_path):
    at = GOOD.column_names.index(column)
    old = GOOD.column(column).combine_chunks()
    holes = old.take(pa.array([0, None, 1]))
    for table, rule in (
        (GOOD.drop_columns([column]), "no such columns"),
        (GOOD.append_column(column, old), "2 such columns"),
        (GOOD.set_column(at, column, pa.array([1.5, 2.5, 3.5])), "its type is double"),
        (GOOD.set_column(at, column, pa.array([[1], [2], [3]])), "its type is list<"),
        (GOOD.set_column(at, column, holes), "empty values"),
    ):
        found = said(write(tmp_path / "t", table))
        assert rule in found and f"column {column!r}" in found


@pytest.mark.parametrize(("column", "values", "rule"), [
    ("ts_ns", [0, 1, -(1 << 62)], "row 2: -4611686018427387904 must be 0..2^62 ns"),
    ("ts_ns", [0, (1 << 62) + 1, 1], "row 1: 4611686018427387905 must be"),
    ("pfn", [0, 1, 1 << 52], "row 2: 4503599627370496 must be below 2^52"),
    ("op", [1, 0, -1], "row 1: 0 must be"), ("op", [1, 1, -128], "row 2: -128 must be"),
    ("nr", [1, 1, 0], "row 2: 0 must be 1"), ("nr", [1, -(1 << 31), 1], "row 1: -2147483648 must be"),
    ("order", [0, 64, 0], "row 1: 64 must be"), ("order", [-2, 0, 0], "row 0: -2 must be"),
    ("head_off", [0, -1, 0], "row 1: -1 must be"),
    ("head_off", [0, 0, 9], "row 2: 9 must not be more than pfn"),
])  # fmt: skip
def test_a_value_out_of_range_is_named_with_its_row(column, values, rule, tmp_path):
    at = GOOD.column_names.index(column)
    new = pa.array(values, "uint64" if column == "pfn" else GOOD.schema.field(column).type)
    assert rule in said(write(tmp_path / "t", GOOD.set_column(at, column, new)))


@pytest.mark.parametrize("meta", [
    {"format": "pin-trace/2"}, {}, [], "text", None, b"", b"{", b"\xff", b"[" * 100_000, b'{"format": NaN}',
    {**META, "kernel": 6}, {**META, "why": "text"},
])  # fmt: skip
def test_metadata_that_are_not_a_pin_traces_are_refused(meta, tmp_path):
    assert "pin_trace" in said(write(tmp_path / "t", GOOD, meta))


def test_files_that_are_no_pin_trace_are_refused(tmp_path):
    for table in (GOOD, pa.table({"a": [1]}), pa.table({})):
        pq.write_table(table, tmp_path / "foreign")
        assert "no key 'pin_trace'" in said(tmp_path / "foreign")
    for name, content in {"empty": b"", "magic": b"PAR1", "zeros": bytes(9999)}.items():
        (tmp_path / name).write_bytes(content)
        assert "damaged or cut short" in said(tmp_path / name)
    for name, content, what in (
        ("text", b"hi\n" * 99, "this is text"), ("gz", gzip.compress(b"hi"), "packed by gzip"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert what in said(tmp_path / name) and "workbench trace import" in said(tmp_path / name)
    assert "not a folder" in said(tmp_path)
    (tmp_path / "trace.txt").write_text("")
    assert "this is a recording: import it first" in said(tmp_path)
    assert "no such file" in said(tmp_path / "none")
    for name, what in {"none": "shipped ones are pins-fio", "none.parquet": "no such file"}.items():
        with pytest.raises(InputError, match=what):
            load_trace(name)


def test_a_path_may_begin_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(write(tmp_path / "t", GOOD).parent))
    assert len(load_trace("~/t")) == 3


def test_only_take_hides_which_path_a_pin_came_through(tmp_path):
    trace = load_trace(write(tmp_path / "t", GOOD))
    assert (trace.knows_fast, trace.is_fast.any()) == (True, False)
    at = GOOD.column_names.index("probe")
    probes = pa.array(["take", "grab_fast", "put"]).dictionary_encode()
    trace = load_trace(write(tmp_path / "t", GOOD.set_column(at, "probe", probes)))
    assert (trace.knows_fast, trace.is_fast.tolist()) == (False, [True, True, False])


def test_an_empty_trace_is_one_empty_batch(tmp_path):
    (batch,) = iter_batches(write(tmp_path / "t", GOOD.slice(0, 0)))
    assert len(batch) == 0 and len(load_trace(batch.write(tmp_path / "again"))) == 0


def test_columns_of_other_lengths_make_no_trace():
    arrays = {name: np.zeros(2, dtype=np.int64) for name in GOOD.column_names}
    with pytest.raises(InputError, match="differ in length"):
        Trace(**{**arrays, "pfn": arrays["pfn"][:1]}, comm_names=("a",), probe_names=("put",))


@given(st.data())
def test_a_file_cut_short_or_with_other_bytes_is_refused_or_read(tmp_path_factory, data):
    path = write(tmp_path_factory.getbasetemp() / "t", GOOD)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert len(load_trace(path)) >= 0
    except InputError as error:
        assert "\n" not in str(error)
