"""Every figure of every explorer: what it hands over, what its marks say, and that no colour stands alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from workbench.model.errors import InputError
from workbench.views import explorers as widgets
from workbench.views.explorers import Explorer
from workbench.views.figures import plain

EXPLORERS = (widgets.OverheadExplorer, widgets.MixExplorer, widgets.PathsExplorer, widgets.PinsExplorer,
             widgets.StructExplorer, widgets.FlagBudgetExplorer, widgets.ClaimsExplorer,
             widgets.MistakesExplorer, widgets.WalkExplorer, widgets.VersusExplorer)
UNIT = re.compile(r"bytes|bits|\d ns| ns|%|pages?\b|times|entries|references|loads?\b|calls|cell|address|"
                  r"offset \d|compile")
HOW = re.compile(r"exact|counted|expectation|measured|predicted|assumed|bisection|compiled|recorded|replayed")
#: Traces that say nothing, and why.
SILENT = {("model-checks", "predicted = measured"): "a line to compare with; its name says all",
          ("pfn-steps", None): "words beside bars, which speak themselves"}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def shown() -> dict[str, Explorer]:
    """Each explorer as it starts, with its figures."""
    return {kind.__name__: kind() for kind in EXPLORERS}


def test_these_are_all_explorers_that_there_are():
    assert {kind for kind in vars(widgets).values() if isinstance(kind, type)
            and issubclass(kind, Explorer) and kind is not Explorer} == set(EXPLORERS)


def figures_of(shown: dict[str, Explorer]) -> Iterator[tuple[str, go.Figure, dict[str, Any]]]:
    for name, explorer in shown.items():
        for view, figure in explorer.figures.items():
            spec = explorer.hosts[view].fig
            assert spec["data"], (name, view)
            yield f"{name}, {view}", figure, spec


def listed(value: Any) -> Any:
    """JSON as plotly writes it and as ours is, alike: typed arrays and numpy become lists, None and [] go."""
    if isinstance(value, dict) and set(value) >= {"dtype", "bdata"}:
        import base64
        flat = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
        shape = [int(n) for n in str(value.get("shape", flat.size)).split(",")]
        return flat.reshape(shape).tolist()
    if isinstance(value, dict):
        return {key: listed(one) for key, one in value.items() if one is not None and one != []}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [listed(one) for one in value]
    plain_value = value.item() if isinstance(value, np.generic) else value
    return "NaN" if plain_value != plain_value else plain_value


def test_what_the_browser_gets_is_what_plotly_accepts_and_a_notebook_shows(shown):
    for where, _, spec in figures_of(shown):
        checked = go.Figure(spec)  # raises where plotly knows no such property or value
        assert listed(checked.to_plotly_json()) == listed(spec), where


def test_a_picture_is_a_figure_at_the_first_look_and_can_be_changed(shown):
    spec = shown["OverheadExplorer"].hosts["percent"].fig
    for look in (lambda f: f.data, lambda f: f.layout.title, lambda f: f.to_plotly_json(), repr):
        figure = widgets.OverheadExplorer(machine="ram=64GiB").figures["percent"]
        assert isinstance(figure, go.Figure) and look(figure)
        figure.layout.title.text = "mine"
        assert plain(figure)["layout"]["title"]["text"] == "mine"
    assert spec["layout"]["title"]["text"] == "Share of RAM"


def words(trace: dict[str, Any]) -> list[str]:
    """The hover texts of a trace: its template, with each of the custom texts that it shows."""
    template = trace.get("hovertemplate", "")
    if "%{customdata}" not in template and "%{customdata[" not in template:
        return [template]
    rows = listed(trace.get("customdata", []))
    if trace["type"] == "heatmap":
        rows = [cell for row in rows for cell in row]
    return [f"{template} {row}" for row in rows]


def test_every_mark_says_its_unit_and_how_its_number_was_made(shown):
    said = set()
    for where, _, spec in figures_of(shown):
        for trace in spec["data"]:
            key = (spec["layout"]["meta"]["file"], trace.get("name"))
            if trace.get("hoverinfo") == "skip":
                said.add(key)
                assert key in SILENT, (where, key)
                continue
            assert trace["hovertemplate"].endswith("<extra></extra>"), (where, key)
            for text in words(trace):
                assert UNIT.search(text) or "no answer" in text, (where, key, text)
                assert HOW.search(text) or "no answer" in text, (where, key, text)
    assert said == set(SILENT)


def coding(trace: dict[str, Any]) -> tuple[Any, ...]:
    """What tells a trace from another without its colour; a panel of its own does."""
    marker, line = trace.get("marker", {}), trace.get("line", {})
    lines = line.get("dash", "solid") if "lines" in trace.get("mode", "") else None
    symbol = marker.get("symbol", "circle") if "markers" in trace.get("mode", "") else None
    pattern = marker.get("pattern", {})
    filled = marker.get("color") != "rgba(0,0,0,0)"
    panel = trace.get("yaxis", "y")
    shape = json.dumps(pattern.get("shape", ""))
    return panel, trace["type"], filled, lines, symbol, shape, pattern.get("size")


def test_no_two_series_differ_by_colour_alone(shown):
    many = 0
    for where, _, spec in figures_of(shown):
        series: dict[str, tuple[Any, ...]] = {}
        for trace in spec["data"]:
            name, group = trace.get("name"), trace.get("legendgroup", trace.get("name"))
            alone = trace["type"] == "bar" and trace.get("text") and len(set(map(str, trace["y"]))) > 1
            if name is None or trace.get("mode", "").endswith("text") or (alone and len(spec["data"]) == 1):
                continue  # a single series, or one with its words beside it
            if trace.get("showlegend") is not False:
                series[str(group)] = coding(trace)
        many += len(series) > 1
        assert len(set(series.values())) == len(series), (where, series)
    assert many >= 8


def test_heatmaps_write_in_their_cells_what_their_colours_mean(shown):
    for where, _, spec in figures_of(shown):
        for trace in spec["data"]:
            if trace["type"] == "heatmap" and len({z for row in listed(trace["z"]) for z in row}) > 2:
                assert trace.get("texttemplate") or trace.get("colorbar"), where


def test_every_explorer_offers_starting_points_and_says_where_its_numbers_are_from(shown):
    for name, explorer in shown.items():
        assert explorer.presets, name
        assert explorer.sources() and all(source.strip() for source in explorer.sources()), name
        mail = explorer.mail()
        assert "\nSources:\n" in mail and mail.isascii() and max(map(len, mail.splitlines())) <= 72, name
        labels = [line.partition(":")[0].strip() for line in mail.splitlines() if line.startswith("  ")]
        assert not {"or any other", "or your own"} & set(labels), name


@pytest.mark.parametrize(("kind", "values"), [
    (widgets.OverheadExplorer, {"machine": HOSTILE}), (widgets.PathsExplorer, {"table": HOSTILE}),
    (widgets.PinsExplorer, {"trace": HOSTILE}), (widgets.WalkExplorer, {"machine": HOSTILE}),
    (widgets.WalkExplorer, {"pfn": HOSTILE}), (widgets.WalkExplorer, {"pinned": HOSTILE}),
    (widgets.WalkExplorer, {"vmemmap": HOSTILE}), (widgets.VersusExplorer, {"machine": HOSTILE}),
    (widgets.VersusExplorer, {"table": HOSTILE}), (widgets.StructExplorer, {"name": HOSTILE}),
    (widgets.StructExplorer, {"text": f"struct s {{ int {HOSTILE}; }};"}),
    (widgets.OverheadExplorer, {"mix": HOSTILE, "designs": ["memdesc8"]})])
def test_hostile_input_is_inert_in_figures_texts_and_the_error_line(kind, values):
    explorer = kind(**values)
    assert explorer.error.value and "<img" not in explorer.error.value
    assert all("<img" not in text.value for text in explorer.texts.values())
    for host in explorer.hosts.values():
        layout = {key: one for key, one in host.fig["layout"].items() if key != "meta"}  # data, never HTML
        assert "<img" not in json.dumps([host.fig["data"], layout], default=str)
    with pytest.raises(InputError):
        explorer.mail()
