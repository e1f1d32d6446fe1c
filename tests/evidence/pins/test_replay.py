"""Replay against the kernel's own answers, and against a slow plain one that counts sets at every event."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import InputError, KernelConfig, PfnSet
from workbench.cli import main
from workbench.evidence.pins import _engine as engine
from workbench.evidence.pins._select import settled, without_longterm
from workbench.evidence.pins.replay import life_edges, replay
from workbench.evidence.pins.trace import Trace, load_trace
from workbench.model import designs, pfnmaps
from workbench.model.designs.base import Setting
from workbench.model.files import data_dir
from workbench.model.memory.machine import Machine
from workbench.model.memory.population import Population

X86 = KernelConfig()
PIN, GET = 0x80000, 0x2


def make(rows, **meta):
    """A trace of (ts_ns, op, pfn, head_off, nr, flags) rows, all by gup_fast."""
    ts, op, pfn, off, nr, flags = (np.array(column) for column in zip(*rows, strict=True))
    nothing = np.zeros(len(rows), dtype=np.int32)
    return Trace(
        ts_ns=ts.astype(np.int64),
        cpu=nothing.astype(np.uint8),
        pid=nothing,
        comm=nothing,
        op=op.astype(np.int8),
        probe=(op < 0).astype(np.int32),
        pfn=pfn.astype(np.uint64),
        nr=nr.astype(np.int32),
        order=nothing.astype(np.int8),
        gup_flags=flags.astype(np.uint32),
        head_off=off.astype(np.int32),
        comm_names=("a",),
        probe_names=("grab_fast", "put"),
        meta={"format": "pin-trace/1", **meta},
    )


def plainly(rows, by_page, chunk=6):
    """The same by the rule's words: dicts and sets, nodes as a set of (level, prefix)."""
    counts, pages, found = {}, {}, []
    negative = 0
    for _, op, pfn, off, nr, flags in rows:
        if not flags & PIN:
            continue
        folio = pfn - off
        count = counts.get(folio, 0) + op * nr
        negative -= min(count, 0)
        counts[folio] = max(count, 0)
        if op > 0:
            for page in range(pfn, pfn + nr):
                if page not in {p for held in pages.values() for p in held}:
                    pages.setdefault(folio, set()).add(page)
        if counts[folio] == 0:
            pages.pop(folio, None)
        live = {f for f, c in counts.items() if c > 0}
        entries = {p for held in pages.values() for p in held} if by_page else live
        nodes = set()
        shift = chunk
        while entries and max(entries) >> (shift - chunk):
            nodes |= {(shift - chunk, e >> shift) for e in entries}
            shift += chunk
        found.append((len(live), sum(counts.values()), entries, nodes))
    return found, negative


PFNS = st.one_of(
    st.integers(0, 70), st.integers(0, 5000), st.integers(2**27, 2**27 + 200), st.integers(0, 2**40)
)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.sampled_from([1, -1]),
        PFNS,
        st.integers(0, 3),
        st.integers(1, 4),
        st.sampled_from([PIN, PIN, PIN, GET]),
    ).filter(lambda r: r[3] <= r[2]),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60)
@given(rows=ROWS, by_page=st.booleans())
def test_a_replay_is_what_the_rule_says_event_by_event(rows, by_page):
    rows = [(ts, *row[1:]) for ts, row in zip(sorted(r[0] for r in rows), rows, strict=True)]
    known, negative = plainly(rows, by_page)
    names = ("xarray", "two_level", "rhashtable", "sorted_array")
    found = replay(
        make(rows), maps=names, designs=["dynamic_page"], granularity="page" if by_page else "folio"
    )
    assert (found.events, found.negative) == (len(known), negative)
    live, refs, entries, nodes = zip(*known, strict=True) if known else ((0,), (0,), (set(),), (set(),))
    assert (found.peak_live_folios, found.peak_refs) == (max(live), max(refs))
    assert (found.live_folios_end, found.outstanding_refs_end) == (live[-1], refs[-1])
    xarray = found.maps["xarray"]
    sizes = [len(n) for n in nodes]
    assert (xarray.peak_nodes, xarray.end_nodes) == (max(sizes), sizes[-1])
    if max(sizes):
        assert xarray.peak_nodes_event == sizes.index(max(sizes))
        at = nodes[xarray.peak_nodes_event]
        assert xarray.peak_per_shift == {s: sum(n[0] == s for n in at) for s in {n[0] for n in at}}
    grown = [max(0, len(n) - len(b)) for b, n in zip([set(), *nodes], nodes, strict=False)]
    if not by_page:  # a pin of several pages allocates one after the other
        assert xarray.alloc_total == sum(grown)
    for name in names:  # the map's own counts of each event's set
        counts = [
            pfnmaps.get(name).counts(PfnSet.from_pfns(sorted(e)), X86, span=found.span).bytes for e in entries
        ]
        assert found.maps[name].exact != by_page and found.maps[name].peak_bytes == max(counts)


@pytest.mark.parametrize("name", ["pins-fio", "pins-mixed-lossy-kprobe"])
def test_the_shipped_traces_give_the_kernels_own_answers(name):
    golden = json.loads((data_dir() / "golden" / f"{name}.json").read_text())
    answer = replay(name).to_dict()
    answer |= {f"xarray_{key}": value for key, value in answer["maps"]["xarray"].items()}
    compared = {key: value for key, value in golden.items() if key not in ("rule", "trace")}
    assert {key: answer[key] for key in compared} == compared
    assert answer["complete"] == (name == "pins-fio")


def test_designs_cost_what_their_footprints_say_at_every_snapshot():
    names = ["proxy_bit", "dynamic_page", "proxy_bit:indexed", "flag_side_table"]
    found = replay("pins-fio", designs=names, maps=["xarray", "maple"], snapshots=40)
    machine = Machine.from_spec("ram=1GiB")
    rows = {(row.design, row.map): row for row in found.designs}
    for name in names:
        design = designs.get(name)
        for pfn_map in ("xarray", "maple") if design.uses_pfn_map else ("",):

            def total(pinned, design=design, pfn_map=pfn_map):
                setting = Setting(machine, Population(pinned=pinned), pfnmaps.get(pfn_map or "xarray"))
                return design.footprint(setting).total_bytes

            empty = total(PfnSet.empty())
            seen = [total(entries) - empty for _, _, entries in found.snapshots]
            row = rows[name, pfn_map]
            assert row.exact == (pfn_map != "maple")
            assert row.peak_bytes >= max(seen)
            if pfn_map == "maple":
                assert row.peak_bytes == max(seen)
            at = {event: nr for (event, _, _), nr in zip(found.snapshots, seen, strict=True)}
            assert at.get(row.peak_bytes_event, row.peak_bytes) == row.peak_bytes


def test_a_timeline_sums_to_the_totals():
    found = replay("pins-mixed-lossy-kprobe")
    table = found.timeline()
    assert table["events"].sum() == found.events
    assert table["pins"].sum() == found.pins
    assert table["first_pins"].sum() + table["last_unpins"].sum() == found.folio_transitions
    assert table["max_live"].max() == found.peak_live_folios
    assert table["max_nodes"].max() == found.maps["xarray"].peak_nodes
    assert table["live"].iloc[-1] == found.live_folios_end
    assert len(table) > 300 and table["end_ns"].iloc[-1] >= found.duration_ns
    assert found.lives.sum() == table["last_unpins"].sum()
    assert sum(pins for pins, _, _ in found.by_comm.values()) == found.pins


def test_pieces_and_one_array_give_the_same(tmp_path):
    trace = load_trace("pins-fio")
    path = trace.write(tmp_path / "t.parquet")
    one, pieces = replay(trace).to_dict(), replay(path).to_dict()
    assert one == {**pieces, "trace": one["trace"]}


@given(st.integers(0, 2**62))
def test_a_lifetimes_bin_holds_it(ns):
    at = engine.life_bin(ns)
    assert life_edges(at) <= ns < life_edges(at + 1)
    assert ns < 16 or life_edges(at + 1) / life_edges(at) <= 1.125


def test_lifetimes_by_hand():
    rows = [
        (0, 1, 7, 0, 2, PIN),
        (10, -1, 7, 0, 1, PIN),
        (900, -1, 7, 0, 1, PIN),
        (950, 1, 7, 0, 1, PIN),
        (955, -1, 7, 0, 1, PIN),
    ]
    found = replay(make(rows))
    assert {life_edges(at): n for at, n in enumerate(found.lives.tolist()) if n} == {5: 1, 896: 1}
    assert found.lifetime_ns(0.5) == (5, 6)


def test_what_speaks_against_a_trace():
    held = [(0, 1, 7, 0, 1, PIN)]
    assert "still held" in replay(make(held)).why[0]
    assert replay(make(held), vmstat=(1, 0)).complete  # the machine held it too
    assert "vmstat nr_foll_pin_released" in replay(make(held), vmstat=(1, 1)).why[0]
    assert "beyond the machine" in replay(make(held), vmstat=(1, 0), end_pfn=7).why[0]
    assert "nobody had taken" in replay(make([(0, -1, 7, 0, 1, PIN)])).why[0]
    back = [(5, 1, 7, 0, 1, PIN), (4, -1, 7, 0, 1, PIN)]
    assert "time goes back" in replay(make(back)).why[0]
    assert "FOLL_PIN" in replay(make([(0, 1, 7, 0, 1, GET)])).why[0]


def test_names_are_checked():
    for wrong in ({"maps": ["x"]}, {"designs": ["x"]}, {"granularity": "x"}):
        with pytest.raises(InputError, match="'x'"):
            replay("pins-fio", **wrong)
    with pytest.raises(InputError, match="no such trace"):
        replay("nowhere")


def test_the_command(capsys, tmp_path):
    assert main(["replay", "pins-fio", "--map", "two_level,flat", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {
        "events",
        "not_pins_dropped",
        "acquired_refs",
        "released_refs",
        "outstanding_refs_end",
        "negative",
        "folios_distinct",
        "peak_live_folios",
        "peak_refs",
        "complete",
        "maps",
    } <= set(found)
    assert set(found["maps"]) == {"xarray", "two_level", "flat"}
    assert all({"peak_nodes", "peak_bytes"} <= set(peak) for peak in found["maps"].values())
    assert main(["replay", "pins-mixed-lossy-kprobe"]) == 1
    assert "incomplete" in capsys.readouterr().err
    assert main(["replay", "pins-fio", "--vmstat", "1,2"]) == 1
    capsys.readouterr()
    assert main(["replay", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# -- found by an attack on the numbers ----------------------------------------------------------------------


def test_times_and_pfns_that_no_machine_has_are_refused():
    for rows in (
        [(-(1 << 62), 1, 1, 0, 1, PIN), (1 << 62, -1, 1, 0, 1, PIN)],
        [(0, 1, 2**63 + 5, 0, 1, PIN)],
        [(0, 1, 2**52, 0, 1, PIN)],
    ):
        with pytest.raises(InputError, match="is not in 0"):
            replay(make(rows))
    with pytest.raises(InputError, match="by page"):
        replay(make([(0, 1, 0, 0, 2**31 - 1, PIN)]), granularity="page")
    with pytest.raises(InputError, match="cannot hold a pfn"):
        replay("pins-fio", proxy_bytes=0)


def test_by_page_a_pin_that_names_its_folio_only_takes_the_next_pages():
    rows = [(t, 1, 1024, 0, 1, PIN) for t in range(16)] + [(20, -1, 1024, 0, 16, PIN)]
    trace = make(rows)
    slow = dataclasses.replace(trace, probe_names=("grab", "put"), order=np.full(17, 4, dtype=np.int8))
    found = replay(slow, granularity="page", designs=["dynamic_page"])
    assert (found.peak_entries, found.designs[0].descriptors_allocated, found.designs[0].pins_met) == (
        16,
        16,
        0,
    )
    assert not found.designs[0].exact and "page" in found.caveat
    order_0 = dataclasses.replace(slow, order=np.zeros(17, dtype=np.int8))
    assert replay(order_0, granularity="page").peak_entries == 1


def test_by_page_descriptors_are_counted_by_page():
    found = replay(make([(0, 1, 512, 0, 512, PIN), (1, 1, 512, 0, 2, PIN)]), granularity="page")
    row = found.designs[-1]
    assert (row.peak_descriptors, row.descriptors_allocated, row.pins_met) == (512, 512, 1)


def test_a_bin_begins_with_what_the_one_before_it_ended_with():
    rows = [(t, 1, t, 0, 1, PIN) for t in range(100)] + [(10**9 + t, -1, t, 0, 1, PIN) for t in range(100)]
    table = replay(make(rows)).timeline()
    assert table["max_live"].tolist() == [100, 100] and table["live"].tolist() == [100, 0]


def test_a_hash_table_does_not_shrink_over_time():
    found = replay("pins-mixed-lossy-kprobe", maps=["rhashtable"], designs=["flag_side_table"])
    curve = found.bytes_over_time(["flag_side_table"], "rhashtable")
    after = curve.iloc[int(curve["entries"].argmax()) :]
    entries = int(after["entries"].min())
    of = pfnmaps.get("rhashtable").of_entries
    grown, fresh = (of(entries, X86, span=1, peak=peak).bytes for peak in (found.peak_entries, 0))
    assert after[after["entries"] == entries]["bytes"].iloc[0] == grown > fresh
    with pytest.raises(InputError, match="was not replayed"):
        found.bytes_over_time(["dynamic_page"], "maple")


def test_one_counter_alone_speaks_too_and_agreement_clears_what_is_held():
    held = [(0, 1, 7, 0, 1, PIN)]
    assert "grew by 99" in replay(make(held, vmstat_acquired=99)).why[0]
    assert replay(make(held, why=["1 references are still held at the end: x"]), vmstat=(1, 0)).complete


def test_small_chunks_give_the_right_nodes():
    rows = [(0, 1, 8, 0, 1, PIN), (1, 1, 1000, 0, 1, PIN), (2, -1, 8, 0, 1, PIN)]
    for chunk in (1, 3, 4, 6):
        known, _ = plainly(rows, False, chunk)
        kernel = dataclasses.replace(X86, xa_chunk_shift=chunk)
        assert replay(make(rows), kernel=kernel).maps["xarray"].end_nodes == len(known[-1][3])


def test_the_end_of_a_map_that_is_counted_at_moments_is_the_end():
    found = replay("pins-mixed-lossy-kprobe", maps=["maple"])
    event, _, entries = found.snapshots[-1]
    assert event == found.events - 1 and entries.nr_entries == found.live_folios_end
    assert found.maps["maple"].end_nodes == pfnmaps.get("maple").counts(entries, X86).nr_nodes


def test_parts_of_a_trace_add_up():
    trace = load_trace("pins-fio")
    short = replay(without_longterm(trace))
    assert short.peak_live_folios == 48 and short.complete and "512 folios" in short.caveat
    lossy = load_trace("pins-mixed-lossy-kprobe")
    kept = replay(settled(lossy))
    assert (kept.peak_live_folios, kept.outstanding_refs_end) == (858, 0)
    assert kept.folios_distinct == 66460 - replay(lossy).live_folios_end and not kept.complete


def test_what_a_design_looks_up():
    found = replay("pins-mixed-lossy-kprobe", designs=designs.names(variants=True))
    rows = {row.design: row for row in found.designs}
    pins, met = 173205, 51417
    assert (rows["dynamic_page"].lookups, rows["dynamic_page:range"].lookups) == (met, pins)
    assert (rows["proxy_bit"].lookups, rows["proxy_bit:indexed"].lookups) == (0, pins)
    assert rows["flag_side_table"].lookups == 297084
