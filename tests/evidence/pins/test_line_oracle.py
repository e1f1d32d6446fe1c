"""The compiled line parser against one regular expression a tool, on real lines and on mutated ones."""

import gzip
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import InputError
from workbench.evidence.pins import _parse as parse
from workbench.evidence.pins.readers import import_text
from workbench.evidence.pins.trace import load_trace
from workbench.model.files import data_dir

TRACES = data_dir() / "traces"
HEADER = rb"\[(?P<cpu>\d{1,18})\] +%b(?P<s>\d{1,9})\.(?P<frac>\d{1,9}): +(?P<event>[^ ]+):(?: ++|\Z)"
EVENT = HEADER + rb"(?:\((?P<symbol>[^+) ]*)[^)]*\)|(?!\())(?P<arguments>.*)"
LINES = {
    "ftrace": rb"(?P<comm>.{16})-(?P<pid>\d{1,18}) +(?:\( *[\d-]+\) +)?" + EVENT % rb"[^ \d][^ ]{3,5} +",
    "trace-cmd report": rb"(?P<comm>.{16})-(?P<pid>\d{1,18}) +" + EVENT % b"",
    "perf script": rb"(?P<comm>.{16}) +(?:\d+/)?(?P<pid>-1|\d{1,18}) +" + EVENT % b"",
    "bpftrace": rb"(?P<ns>\d{1,18}) (?P<cpu>\d{1,18}) (?P<pid>\d{1,18}) (?P<comm>.*) (?P<op>[AR])"
                rb" (?P<page>[\da-fA-F]{1,16}) (?P<nr>\d{1,18}) (?P<flags>[\da-fA-F]{1,16})",
}  # fmt: skip
NUMBER = re.compile(rb"0x[\da-fA-F]{1,16}|-?\d{1,18}")
PROBES = {
    "grab_fast": (b"grab_fast", b"try_grab_folio_fast"),
    "grab": (b"grab", b"try_grab_folio", b"try_grab_page"),
    "put": (b"put", b"gup_put_folio"),
    "vb": (b"vb",),
}


def number(text):
    value = int(text, 16 if text.startswith(b"0x") else 10)
    return value - (1 << 64) if value >> 63 == 1 else value


def known(name):
    for probe, names in PROBES.items():
        if name.removeprefix(b"pin_") in names:
            return probe


def expected(line):
    """What the line says, as (kind, record or None), or None where no expression fits."""
    line = line.removesuffix(b"\r")
    for kind, rule in LINES.items():
        if found := re.fullmatch(rule, line, re.DOTALL):
            return kind, record(found.groupdict())


def record(said):
    comm = said["comm"].lstrip(b" ")[:16]
    cpu, pid = int(said["cpu"]), int(said["pid"])
    if "ns" in said:
        ts_ns, probe = int(said["ns"]), {b"A": "take", b"R": "put"}[said["op"]]
        values = {b"page": number(b"0x" + said["page"]), b"flags": number(b"0x" + said["flags"])}
        refs = int(said["nr"])
    else:
        ts_ns = int(said["s"]) * 10**9 + int(said["frac"].ljust(9, b"0"))
        probe = known(said["event"].rpartition(b":")[2]) or known(said["symbol"] or b"")
        values, refs = {}, 1
        for token in said["arguments"].split(b" "):
            key, equals, value = token.partition(b"=")
            if key == b"refs" and equals:
                refs = number(value) if NUMBER.fullmatch(value) else 0
            elif NUMBER.fullmatch(value):
                values[key] = number(value)
    page, flags = values.get(b"page"), values.get(b"flags", -1)
    good = page is not None and 0 <= flags < 1 << 32 and 0 < refs < 1 << 31
    if probe in (None, "vb") or not good or cpu >= 1 << 16 or pid >= 1 << 31:
        return None
    folio, order = page, -1
    if values.get(b"head", 0) & 1:
        folio = values[b"head"] - 1
        is_mask = -folio in [1 << bit for bit in range(35)]
        folio = page & folio if is_mask else folio
    elif b"pflags" in values:
        is_large = values[b"pflags"] >> 6 & 1
        order = (values[b"f1"] & 0xFF if b"f1" in values else -1) if is_large else 0
    return ts_ns, page, folio, pid, comm, refs, flags, cpu, probe, order if order < 64 else -1


def parsed(data):
    """The records in the text, and how many lines were neither records nor other events."""
    buf = np.frombuffer(data + bytes(8), dtype=np.uint8)
    nr = data.count(b"\n")
    rows, odd = np.empty(nr, dtype=parse.RECORD), np.empty((nr + 1, 3), dtype=np.int64)
    comms, table = np.zeros((1024, 3), dtype=np.int64), np.full(4096, -1, dtype=np.int32)
    state = np.zeros(parse.NR_STATE, dtype=np.int64)
    pos, nr_rows, nr_odd = parse.parse_block(
        buf, 0, len(data), parse.NAMES, rows[: nr + 1], odd, comms, table, state, 6, True
    )
    assert pos == len(data) or nr_rows == nr
    names = [row[:2].tobytes()[: int(row[2])] for row in comms]
    kinds = [parse.KINDS[kind] for kind in range(4) if state[parse.FIRST_LINE + 1 + 2 * kind]]
    records = [
        (ts, page, folio, pid, names[comm], nr, flags, cpu, parse.PROBES[probe], order)
        for ts, page, folio, pid, comm, nr, flags, cpu, probe, order in rows[:nr_rows].tolist()
    ]
    return records, nr_odd, kinds


def sample(name):
    data = (TRACES / name).read_bytes()
    return (gzip.decompress(data) if name.endswith(".gz") else data).splitlines()


SAMPLES = {
    "ftrace": sample("ftrace-kprobe.A.full.txt.gz"),
    "trace-cmd report": sample("trace-cmd-report.txt")[1:],
    "perf script": sample("perf-script.txt") + sample("perf-script-ns.txt"),
    "bpftrace": [line for line in sample("bpftrace-pins.txt.gz") if line[:1].isdigit()],
}
SOME = [line for lines in SAMPLES.values() for line in lines[:: max(1, len(lines) // 40)]] + [
    b"            bash-242     (    240) [001] ...1.    27.209687: put: (gup_put_folio+0x0/0x90)"
    b" page=0xffd40000000ec6c0 refs=1 flags=0x80000 head=0xffd40000000ec681 pflags=0x840 f1=0x109",
    b"            bash   240/242   [001]    27.209687: pin:grab: (try_grab_folio+0x0/0x90)"
    b" page=0xffd40000000ec6c0 refs=1 flags=0x80000 head=0x0 pflags=0x840 f1=0x9",
]


@pytest.mark.parametrize("kind", LINES)
def test_every_line_of_the_samples_is_what_the_expression_says(kind):
    lines = SAMPLES[kind][:20_000]
    rows, nr_odd, kinds = parsed(b"\n".join(lines) + b"\n")
    told = [expected(line) for line in lines]
    assert (rows, nr_odd, kinds) == ([record for _, record in told if record], 0, [kind])


BITS = [b"9" * 20, b"f" * 17, b" ", b"-1", b"0x", b"=", b"[1]", b"\r", b"\t", b"\0"]


@st.composite
def mutated(draw, lines=SOME, most=4):
    """A real line with bytes replaced, put in, cut out or said twice."""
    line = bytearray(draw(st.sampled_from(lines)))
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(line)))
        cut = draw(st.integers(0, 3))
        new = draw(st.binary(max_size=4) | st.sampled_from(BITS) | st.just(bytes(line[at : at + 30])))
        line[at : at + cut] = new.replace(b"\n", b"0")
    return bytes(line)


@given(mutated())
def test_a_mutated_line_that_an_expression_fits_is_what_it_says(line):
    rows, nr_odd, kinds = parsed(line + b"\n")
    assert len(rows) + nr_odd <= 1
    if told := expected(line):
        kind, record = told
        assert rows == ([] if record is None else [record])
        assert record is None or kinds == [kind]


TEXTS = [st.lists(mutated(lines[:50], most=1), max_size=12) for lines in SAMPLES.values()]


@given(st.one_of(TEXTS), st.sampled_from([b"\n", b"\r\n"]))
def test_mutated_text_is_refused_in_one_line_or_read(tmp_path_factory, lines, end):
    folder = tmp_path_factory.getbasetemp()
    (folder / "text").write_bytes(end.join(lines))
    try:
        found = import_text(folder / "text", folder / "out.parquet")
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert len(load_trace(folder / "out.parquet")) == found["events"]
        assert found["complete"] == (not found["why"])
