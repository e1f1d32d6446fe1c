"""The heat map, the byte curves and the clusters of a replay, against what the trace itself says."""

import numpy as np
import pytest

from workbench import InputError, figures
from workbench.pins.heat import pfn_heat
from workbench.pins.replay import replay
from workbench.pins.trace import load_trace


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
