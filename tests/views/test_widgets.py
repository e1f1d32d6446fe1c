"""Explorers: controls move figures, states round-trip, errors stay in the error line."""

from __future__ import annotations

import json

import plotly.graph_objects as go
import pytest

from workbench import KernelConfig, Scenario, compare, evaluate
from workbench.model.errors import InputError
from workbench.views import explorers as widgets
from workbench.views.explorers import OverheadExplorer, PlotHost, StructExplorer


@pytest.fixture
def explorer() -> OverheadExplorer:
    return OverheadExplorer(machine="ram=64GiB")


def drawn(explorer, name="by_part"):
    return json.dumps(explorer.hosts[name].fig)


def test_an_explorer_shows_what_compare_says(explorer):
    rows = compare(explorer.scenarios())
    assert list(explorer.rows["total_bytes"]) == list(rows["total_bytes"])
    for value in rows["total_bytes"]:
        assert f"{value:,}" in explorer.texts["table"].value
    assert explorer.hosts["percent"].fig["data"][0]["x"] == list(rows["percent_of_ram"])


@pytest.mark.parametrize(("control", "value"), [
    ("machine", "ram=128GiB"), ("kernel", "arm64-64k"), ("nr_pinned", "5%"), ("run_pages", 512),
    ("folio_order", 4), ("pfn_map", "flat"), ("designs", ("static", "dynamic_page")), ("mix", "database"),
    ("describe_device", True)])
def test_every_control_moves_a_figure_or_the_state(explorer, control, value):
    before = [drawn(explorer, name) for name in explorer.hosts]
    explorer.controls[control].value = value
    assert explorer.error.value == ""
    assert [drawn(explorer, name) for name in explorer.hosts] != before
    for host in explorer.hosts.values():
        assert host.fig["layout"]["meta"]["state"] == explorer.state()


def test_the_mark_on_the_curve_is_where_the_slider_is(explorer):
    for share in ("0.5%", "20%"):
        explorer.controls["nr_pinned"].value = share
        assert explorer.hosts["pinned"].fig["layout"]["shapes"][0]["x0"] == float(share[:-1])
    explorer.controls["nr_pinned"].value = "0%"
    assert not explorer.hosts["pinned"].fig["layout"].get("shapes")


def test_state_round_trips_as_json(explorer):
    explorer.controls["nr_pinned"].value = "2%"
    explorer.controls["designs"].value = ("static", "foll_pin")
    explorer.controls["run_pages"].value = 64
    again = OverheadExplorer.from_state(json.loads(json.dumps(explorer.state())))
    assert again.state() == explorer.state()
    assert [drawn(again, name) for name in again.hosts] == [drawn(explorer, name) for name in explorer.hosts]


def test_a_share_between_the_sliders_steps_is_kept():
    explorer = OverheadExplorer(machine="ram=64GiB", nr_pinned="0.123%")
    assert explorer.state()["nr_pinned"] == "0.123%"
    assert explorer.rows["nr_pinned"][0] == round(64 * 2**30 / 4096 * 0.00123)


@pytest.mark.parametrize("state", [
    {"version": 99}, {"explorer": "StructExplorer", "version": 1}, {"version": 1, "nonsense": 1},
    {"version": 1, "designs": ["no_such"]}, {"version": 1, "run_pages": 3}, {"version": 1, "pfn_map": "no"},
    {"version": 1, "nr_pinned": "many"}])
def test_a_state_that_cannot_be_used_is_one_input_error(state):
    with pytest.raises(InputError):
        OverheadExplorer.from_state(state)


def test_reset_goes_back_to_the_start(explorer):
    start = OverheadExplorer().state()
    explorer.controls["nr_pinned"].value = "50%"
    explorer.reset()
    assert explorer.state() == start and explorer.preset.widget.value == start["machine"]


@pytest.mark.parametrize("machine", [
    "ram=1TiB,hole=5-3", "no/such/capture", "ram=<script>alert(1)</script>", "/etc/passwd", "ram=1PiB", ""])
def test_a_machine_that_cannot_be_used_is_said_inline_and_nothing_is_drawn(explorer, machine):
    explorer.controls["machine"].value = machine
    assert 'role="alert"' in explorer.error.value and "Traceback" not in explorer.error.value
    assert "<script" not in explorer.error.value
    assert all(not host.fig["data"] for host in explorer.hosts.values())
    assert explorer.texts["table"].value == ""
    explorer.controls["machine"].value = "ram=64GiB"
    assert explorer.error.value == "" and all(host.fig["data"] for host in explorer.hosts.values())


def test_no_design_is_an_error_and_not_an_empty_figure(explorer):
    explorer.controls["designs"].value = ()
    assert "no design is chosen" in explorer.error.value


def test_a_bug_of_ours_is_said_inline_too(explorer, monkeypatch):
    monkeypatch.setattr(widgets.overhead, "compare", lambda _: 1 / 0)
    explorer.controls["nr_pinned"].value = "1%"
    assert "ZeroDivisionError" in explorer.error.value and not explorer.hosts["by_part"].fig["data"]


def test_picking_a_preset_fills_the_machine(explorer):
    explorer.preset.widget.value = "h100-128g-6.18"
    assert explorer.state()["machine"] == "h100-128g-6.18"
    assert explorer.rows["machine"][0] == "h100-128g-6.18"


def test_every_shipped_capture_and_spec_is_offered_and_draws(explorer):
    for name in explorer.preset.widget.options:
        if name and name != "live":
            explorer.preset.widget.value = name
            assert explorer.error.value == "", name


def test_every_control_is_labelled(explorer):
    for name, control in [*explorer.controls.items(), *StructExplorer().controls.items()]:
        assert name == "designs" or control.description, name


def test_curve_and_break_even_are_exact():
    device = [Scenario(machine="h100-128g-6.18", describe_device=True, design=name)
              for name in ("static", "dynamic_page")]
    curve, even = widgets.pinned_curve(device)
    static, dynamic = device
    plain = evaluate(static.with_(describe_device=False)).total_bytes
    for row in curve[curve.design == "dynamic_page"].itertuples():
        assert row.added_bytes == evaluate(dynamic.with_(nr_device_used=row.nr_pages)).total_bytes - plain
    (nr,) = even["nr_pages"]
    most = evaluate(static).total_bytes
    assert evaluate(dynamic.with_(nr_device_used=int(nr))).total_bytes >= most
    assert evaluate(dynamic.with_(nr_device_used=int(nr) - 1)).total_bytes < most


def test_a_curve_ends_where_no_more_runs_fit():
    curve, _ = widgets.pinned_curve([Scenario(machine="debian-6.12-2g", run_pages=1 << 15)])
    assert curve["nr_pages"].max() % (1 << 15) == 0


def test_pfn_anatomy_gives_the_pfn_again():
    for pfn in (0, 0x812345, (1 << 34) - 1):
        anatomy = widgets.pfn_anatomy(pfn, KernelConfig.preset("x86-64"))
        for _, rows in anatomy.groupby("structure"):
            assert sum(int(row.value) << int(row.first_bit) for row in rows.itertuples()) == pfn
    with pytest.raises(InputError):
        widgets.pfn_anatomy(1 << 34, KernelConfig.preset("x86-64"))


def test_struct_explorer_shows_the_mail_both_ways():
    explorer = StructExplorer(kernel="amd64_6.12.117-1")
    assert "80 bytes" in explorer.hosts["layout"].fig["layout"]["title"]["text"]
    explorer.controls["ms_extensions"].value = False
    assert "16 bytes" in explorer.hosts["layout"].fig["layout"]["title"]["text"]
    assert "declaration does not declare anything" in explorer.texts["pahole"].value
    explorer.controls["text"].value = ""
    assert "struct page: 64 bytes" in explorer.hosts["layout"].fig["layout"]["title"]["text"]


@pytest.mark.parametrize("text", ["struct x { int", "struct x { nosuch_t a; };", "<script>", "int a;",
                                  "struct x { struct x a; };"])
def test_source_that_cannot_be_laid_out_is_said_inline(text):
    explorer = StructExplorer(text=text)
    assert 'role="alert"' in explorer.error.value and "<script>" not in explorer.error.value
    assert not explorer.hosts["layout"].fig["data"] and explorer.texts["pahole"].value == ""


def test_plot_host_sends_plotly_only_when_asked(monkeypatch):
    host, sent = PlotHost(), []
    monkeypatch.setattr(host, "send", lambda message, buffers: sent.append((message, len(buffers[0]))))
    for message in ("need", {"want": "something"}, {"want": "plotly.js"}):
        host._answer(host, message, [])
    assert len(sent) == 1 and sent[0][1] < 2_000_000


def test_payloads_stay_small():
    explorer = OverheadExplorer(machine="ram=64TiB,nodes=8")
    assert sum(len(drawn(explorer, name)) for name in explorer.hosts) < 40_000


def test_without_a_front_end_an_explorer_leaves_pictures(explorer, monkeypatch):
    shown = []
    monkeypatch.setenv("WORKBENCH_BATCH", "1")
    monkeypatch.setattr("IPython.display.display", lambda *objects: shown.extend(objects))
    explorer._ipython_display_()
    assert [type(thing).__name__ for thing in shown[3:]] == ["HTML", "Markdown"]
    assert all(isinstance(thing, go.Figure) and thing.data for thing in shown[:3])
