"""The heat map, the byte curves and the clusters of a replay, against what the trace itself says."""

import dataclasses

import numpy as np
import pytest

from workbench import InputError
from workbench.evidence.pins.heat import pfn_heat
from workbench.evidence.pins.replay import replay
from workbench.evidence.pins.trace import load_trace
from workbench.views import figures


@pytest.mark.parametrize("name", ["pins-fio", "pins-mixed-lossy-kprobe"])
def test_a_heat_map_counts_every_reference_once_and_in_its_block(name):
    trace = load_trace(name)
    rows = trace.is_pin & (trace.op > 0)
    heat = pfn_heat(trace, nr_times=40, nr_blocks=30)
    assert heat.refs.sum() == trace.nr[rows].sum()
    blocks = trace.pfn[rows] // heat.block_pages * heat.block_pages
    assert np.array_equal(heat.first_pfn, np.unique(blocks)) and len(heat.first_pfn) <= 30
    finer = np.unique(trace.pfn[rows] // (heat.block_pages // 2))
    assert len(finer) > 30  # the finest that fits
    for pfn, row in zip(heat.first_pfn, heat.refs, strict=True):
        assert row.sum() == trace.nr[rows][blocks == pfn].sum()
    with pytest.raises(InputError, match="no pin"):
        pfn_heat(trace.select(~rows))


def test_a_pin_of_many_pages_lies_in_all_of_their_blocks():
    trace = load_trace("pins-fio").select(slice(0, 1))
    one = dataclasses.replace(
        trace,
        op=np.ones(1, dtype=np.int8),
        pfn=np.array([1000], dtype=np.uint32),
        head_off=np.zeros(1, dtype=np.int32),
        nr=np.array([512], dtype=np.int32),
        gup_flags=np.array([0x80000], dtype=np.uint32),
    )
    heat = pfn_heat(one, 1, 8)
    assert heat.block_pages == 128  # 1000..1511 touches nine blocks of 64
    assert heat.first_pfn.tolist() == [896, 1024, 1152, 1280, 1408]
    assert heat.refs[:, 0].tolist() == [24, 128, 128, 128, 104]


def test_byte_curves_reach_the_peaks_and_say_what_is_exact():
    found = replay(
        "pins-fio", maps=["two_level", "rhashtable", "maple"], designs=["dynamic_page", "foll_pin"]
    )
    for pfn_map in ("xarray", "two_level", "rhashtable", "maple"):
        curve = found.bytes_over_time(["foll_pin", "dynamic_page"], pfn_map)
        (row,) = [r for r in found.designs if r.design == "dynamic_page" and r.map == pfn_map]
        kept = curve[curve["design"] == "dynamic_page"]
        assert kept["bytes"].max() <= row.peak_bytes
        assert kept["exact"].all() == (pfn_map != "maple")
        assert (curve[curve["design"] == "foll_pin"]["bytes"] == 0).all()


def test_clusters_hold_every_entry_of_the_fullest_moment():
    found = replay("pins-mixed-lossy-kprobe", snapshots=5)
    assert found.clusters()["entries"].sum() == found.peak_live_folios
    with pytest.raises(InputError, match="snapshots"):
        replay("pins-fio").clusters()


def test_every_figure_of_an_incomplete_trace_says_so():
    found = replay("pins-mixed-lossy-kprobe", snapshots=5)
    assert "incomplete" in found.caveat
    for figure in (
        figures.pins_over_time(found.timeline(), found.bytes_over_time(["dynamic_page"]), note=found.caveat),
        figures.lifetimes(found.lifetimes(), note=found.caveat),
        figures.pfn_heat(pfn_heat("pins-mixed-lossy-kprobe"), note=found.caveat),
        figures.clusters(found.clusters(), note=found.caveat),
    ):
        assert "incomplete" in figure.layout.title.subtitle.text
    assert replay("pins-fio").caveat == ""
