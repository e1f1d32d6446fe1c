"""The walk explorer: what it draws is what scenario.walk says, and what cannot be used is one line."""

from __future__ import annotations

import time

import pandas as pd
import pytest

from workbench.model import pfnmaps
from workbench.studies.walk import CLASSIC, convert, map_walk, place_of
from workbench.views import figures
from workbench.views.explorers import WalkExplorer


@pytest.fixture
def explorer() -> WalkExplorer:
    return WalkExplorer(machine="ram=64GiB,nodes=2,hole=3GiB-4GiB,device=1GiB@1TiB", nr_pinned=1_000)


def bars(figure, axis):
    """(first load, loads) of each bar of one column."""
    return sorted((first, nr) for trace in figure.data if trace.type == "bar" and (trace.xaxis or "x") == axis
                  for first, nr in zip(trace.base, trace.x, strict=True))


def test_bars_are_the_loads_one_after_the_other(explorer):
    for op in ("pfn_to_page", "page_to_pfn"):
        explorer.controls["op"].value = op
        _, _, _, found = explorer.conversions()
        for axis, one in zip(("x", "x2"), found, strict=True):
            assert bars(explorer.figures["path"], axis) == [(n, 1) for n in range(one.dependent_loads)]
    assert "dynamic" in explorer.texts["steps"].value


def test_the_taken_slots_are_the_walks(explorer):
    place, pinned, walk, _ = explorer.conversions()
    assert walk == map_walk(place, pinned, "xarray") and walk.found
    strips = explorer.tables["strips"]
    taken = [touch.slot for touch in walk.touches if touch.slot is not None]
    assert [int(at) for at in strips["at"][2:]] == taken
    for cells, slot in zip(strips["cells"][2:], taken, strict=True):
        assert cells[slot]
    used = sum(sum(cells) for cells in strips["cells"][-1:])
    leaf = place.pfn >> 6 << 6
    assert used == pinned.contains(range(leaf, leaf + 64)).sum()


def test_strips_show_the_sections_that_are_there(explorer):
    explorer.controls["pfn"].value = "3.5GiB"
    strips = explorer.tables["strips"].iloc[0]
    place = explorer.conversions()[0]
    first = max(0, place.section - 32)
    assert strips["cells"] == [place_of((first + n) << 15, place.machine).is_present for n in range(64)]
    assert not strips["cells"][int(strips["at"])] and "false" in explorer.texts["place"].value


@pytest.mark.parametrize("name", list(pfnmaps.registry()))
def test_every_map_and_every_landmark_draws(explorer, name):
    explorer.controls["pfn_map"].value = name
    for mark, pfn in explorer.marks.items():
        explorer.controls["pfn"].value = mark
        assert explorer.error.value == "" and explorer.at == pfn
        assert explorer.jump.value == mark
        assert all(host.fig["data"] for host in explorer.hosts.values())


def test_every_design_draws_on_either_side(explorer):
    for name in explorer.controls["design"].options:
        explorer.controls["design"].value = name
        explorer.controls["other"].value = name
        assert explorer.error.value == ""
        assert list(explorer.tables["totals"]["loads"]) == [explorer.conversions()[3][0].dependent_loads] * 2
    assert CLASSIC in explorer.controls["design"].options


@pytest.mark.parametrize(("name", "value"), [
    ("pfn", "-1"), ("pfn", "a word"), ("pfn", ""), ("pfn", str(1 << 34)), ("pfn", "<script>x</script>"),
    ("machine", "ram=1TiB,hole=5-3"), ("machine", ""), ("vmemmap", "0x123"), ("vmemmap", "here"),
    ("pinned", "9-3"), ("pinned", "<b>")])
def test_what_cannot_be_used_is_said_and_nothing_is_drawn(explorer, name, value):
    explorer.controls[name].value = value
    assert 'role="alert"' in explorer.error.value and "Error:" not in explorer.error.value
    assert "<script" not in explorer.error.value and "<b>" not in explorer.error.value
    assert all(not host.fig["data"] for host in explorer.hosts.values())
    explorer.reset()
    assert explorer.error.value == "" and all(host.fig["data"] for host in explorer.hosts.values())


def test_buttons_walk_over_all_landmarks_and_back(explorer):
    explorer.controls["pfn"].value = "0"
    seen = [0]
    for _ in range(100):
        explorer.step(1)
        if explorer.at == seen[-1]:
            break
        seen.append(explorer.at)
    assert seen == sorted({0, *explorer.marks.values()})
    for _ in seen:
        explorer.step(-1)
    assert explorer.at == min(explorer.marks.values())


def test_a_list_of_pages_replaces_the_random_ones(explorer):
    explorer.controls["pinned"].value = "0x100-0x1ff, 0x40000"
    explorer.controls["pfn"].value = "0x123"
    place, pinned, _, found = explorer.conversions()
    assert pinned.nr_pages == 257
    designs = ("proxy_bit", "dynamic_page:range")
    assert found == [convert(name, "pfn_to_page", place, pinned) for name in designs]
    assert found[1].case == "dynamic"
    explorer.controls["pfn"].value = "0x200"
    assert explorer.conversions()[3][1].case == "static"
    assert "walks the pfn map first" in explorer.texts["steps"].value


def test_the_mail_says_what_the_screen_says_and_counts_lines_as_numbers(explorer):
    explorer.controls["pfn"].value = "behind it"
    found = explorer.conversions()[3]
    mail = " ".join(explorer.mail().split())
    notes = [f"{one.design}: {note}" for one in found for note in one.notes]
    assert any("walks the pfn map first" in note for note in notes)
    assert all(note in mail for note in notes)
    table = explorer.result()[0]
    for one, least, most in zip(found, table["lines_least"], table["lines_most"], strict=True):
        assert (least, most) == one.lines
    assert "cache lines" not in mail.split("Result:")[1].split("Notes:")[0].replace("cache lines, least", "")
    explorer.controls["pfn_map"].value = "maple"
    assert "maple: its walk depends on how the tree grew" in explorer.mail().replace("\n    ", " ")


def test_a_state_comes_back_and_presets_are_states(explorer):
    explorer.controls["pfn"].value = "64MiB"
    again = WalkExplorer.from_state(explorer.state())
    assert again.state() == explorer.state() and again.at == explorer.at
    assert len(WalkExplorer.presets) >= 3
    for name, values in WalkExplorer.presets.items():
        made = WalkExplorer(**values)
        assert made.error.value == "", name
        assert {key: made.state()[key] for key in values} == dict(values)


def test_folios_end_the_walk_above_the_leaves():
    folios = WalkExplorer(run_pages=512, folio_order=9)
    _, _, walk, _ = folios.conversions()
    assert walk.found and min(touch.shift for touch in walk.touches if touch.shift is not None) == 6


def test_a_large_machine_with_a_million_pages_is_quick_and_small():
    explorer = WalkExplorer(machine="ram=64TiB,nodes=8", nr_pinned=1_000_000)
    took = []
    for mark in ("first pinned", "behind it", "last pinned", "a pinned one"):
        start = time.process_time()
        explorer.controls["pfn"].value = mark
        took.append(time.process_time() - start)
    assert explorer.error.value == "" and min(took) < 0.5  # no tree of a million entries was built
    assert sum(len(figure.to_json()) for figure in explorer.figures.values()) < 60_000


def test_too_many_pages_to_place_are_refused():
    explorer = WalkExplorer(machine="ram=64TiB,nodes=8")
    with explorer._one_redraw():
        explorer.controls["nr_pinned"].options = [*explorer.controls["nr_pinned"].options, ("2^30", 1 << 30)]
        explorer.controls["nr_pinned"].value = 1 << 30
    assert "limit" in explorer.error.value


def test_names_in_figures_are_inert():
    evil = "<img src=x onerror=alert(1)>"
    regions = pd.DataFrame([(evil, 0, evil, 0, 10)], columns=["kind", "node", "name", "first_pfn", "end_pfn"])
    strips = pd.DataFrame([(evil, None, 1.0, evil)], columns=["label", "cells", "at", "says"])
    figure = figures.pfn_place(regions, strips, 1, 12)
    figure.layout.meta = None
    assert "<img" not in figure.to_json() and "\\u003cimg" not in figure.to_json()


def test_every_control_is_labelled(explorer):
    assert all(control.description for control in explorer.controls.values())
