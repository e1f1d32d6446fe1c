"""Figures of pin traces: what is pinned over time, how long, where, and how often a pool is empty.

Each takes a ``note``, what a reader has to know of the trace (incomplete, synthetic), and shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.model.units import duration, size, unit
from workbench.views.figures._base import (
    COLOURS,
    DASHES,
    GREY,
    MARKERS,
    axes,
    dressed,
    inert,
    panels,
    powers_of_two,
    rows_of,
    style_of,
    wrapped,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from workbench.evidence.pins.heat import Heat

#: How a trace's numbers were made, for the hover text.
RECORDED = "counted exactly from the recorded events"


def ratio(value: float) -> str:
    """A ratio to three digits, as people read it.

    Examples
    --------
    >>> ratio(4899.3), ratio(2.3456), ratio(float("inf"))
    ('4,900 : 1', '2.35 : 1', 'no slow pin')
    """
    if value == float("inf"):
        return "no slow pin"
    return (f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}") + " : 1"


def _step(label: str, x: Any, y: Any, colour: str, dash: str, hover: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label,
        "x": [float(f"{float(v):.6g}") for v in x],
        "y": [int(v) for v in y],
        "line": {"color": colour, "dash": dash, "shape": "hv", "width": 1.6},
        "hovertemplate": f"<b>{label}</b><br>%{{x:.6g}} s<br>{hover}<br>{RECORDED}<extra></extra>",
        **more,
    }


def pins_over_time(
    timeline: pd.DataFrame, kept: pd.DataFrame, *, nodes_of: str = "xarray", note: str = ""
) -> go.Figure:
    """Three panels on one time axis: what is pinned, nodes of a pfn map, and bytes that designs keep for it.

    Parameters
    ----------
    timeline : DataFrame
        As ``Replay.timeline(nodes_of)``: start_ns, max_live, max_refs, max_nodes.
    kept : DataFrame
        As ``Replay.bytes_over_time()``: design, map, seconds, entries, bytes, exact.
    """
    seconds = [ns / 1e9 for ns in timeline["start_ns"]]
    most = int(kept["bytes"].max()) if len(kept) else 0
    scale, name = unit(most)
    data = []
    for panel, label, column, colour, dash, what in (
        (0, "references held", "max_refs", COLOURS[1], "solid", "%{y:,} references, the most in the bin"),
        (0, "folios pinned", "max_live", COLOURS[0], "dash", "%{y:,} folios, the most in the bin"),
        (1, f"nodes of {nodes_of}", "max_nodes", COLOURS[2], "solid", "%{y:,} nodes, the most in the bin"),
    ):
        x, y = axes(panel)
        data.append(_step(label, seconds, timeline[column], colour, dash, what, xaxis=x, yaxis=y))
    data[0]["line"]["width"] = 4  # under the folios, where the two are equal
    x, y = axes(2)
    for (design, pfn_map), rows in kept.groupby(["design", "map"], sort=False):
        style = style_of(str(design))
        label = inert(f"{design} with {pfn_map}" if pfn_map else design)
        how = "exact at the event with the most entries" if rows["exact"].all() else "a model, not exact"
        line = _step(
            label, rows["seconds"], rows["bytes"], style["color"], style["dash"], "", xaxis=x, yaxis=y
        )
        line["y"] = [float(f"{int(value) / scale:.6g}") for value in rows["bytes"]]
        line["customdata"] = [[int(row["bytes"]), int(row["entries"])] for row in rows_of(rows)]
        line["hovertemplate"] = (
            f"<b>{label}</b><br>%{{x:.6g}} s<br>%{{customdata[0]:,}} bytes for "
            f"%{{customdata[1]:,}} entries<br>{how}<extra></extra>"
        )
        data.append(line)
    domains = panels((150, 110, 150), 34)
    layout: dict[str, Any] = {}
    for panel, title in enumerate(("folios, references", f"nodes, {nodes_of}", f"kept, {name}")):
        x, y = axes(panel)
        layout[x.replace("x", "xaxis")] = {
            "anchor": y,
            "matches": "x",
            "title": {"text": "seconds since the first event" if panel == 2 else ""},
            "showticklabels": panel == 2,
        }
        layout[y.replace("y", "yaxis")] = {
            "anchor": x,
            "domain": domains[panel],
            "rangemode": "tozero",
            "title": {"text": title},
            "tickformat": ",~g",
        }
    return dressed(
        "Pins over time",
        640,
        data,
        file="pins-over-time",
        alt="Lines over time: folios pinned, nodes of a pfn map, bytes of each design",
        below=wrapped(note),
        margin={"l": 8, "r": 16, "t": 62, "b": 8},
        **layout,
    )


def lifetimes(table: pd.DataFrame, long_lived: pd.DataFrame | None = None, *, note: str = "") -> go.Figure:
    """How long folios stayed pinned, on two logarithmic axes.

    Parameters
    ----------
    table : DataFrame
        As ``Replay.lifetimes()``: from_ns, below_ns, folios.
    long_lived : DataFrame, optional
        Points to show beside it, such as registrations: label, seconds, pages.
    """
    rows = rows_of(table)
    data = [
        {
            "type": "bar",
            "name": "times a folio was pinned so long",
            "x": [(max(r["from_ns"], 0.5) * r["below_ns"]) ** 0.5 / 1e9 for r in rows],
            "width": [(r["below_ns"] - max(r["from_ns"], 0.5)) / 1e9 for r in rows],
            "y": [int(r["folios"]) for r in rows],
            "marker": {"color": COLOURS[0], "line": {"width": 0}},
            "customdata": [[duration(r["from_ns"]), duration(r["below_ns"])] for r in rows],
            "hovertemplate": "%{y:,} times<br>%{customdata[0]} to %{customdata[1]}<br>"
            f"{RECORDED}<extra></extra>",
        }
    ]
    for place, row in enumerate(rows_of(long_lived) if long_lived is not None else []):
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": inert(row["label"]),
                "x": [float(row["seconds"])],
                "y": [int(row["pages"])],
                "marker": {"symbol": MARKERS[place + 2], "size": 12, "color": COLOURS[4]},
                "hovertemplate": f"<b>{inert(row['label'])}</b><br>%{{y:,}} pages<br>%{{x:.3g}} s or more<br>"
                f"{RECORDED}<extra></extra>",
            }
        )
    return dressed(
        "How long folios stay pinned",
        360,
        data,
        file="pin-lifetimes",
        below=wrapped(note),
        alt="Histogram of pin lifetimes on logarithmic axes",
        margin={"l": 8, "r": 16, "t": 62, "b": 8},
        xaxis={
            "type": "log",
            "title": {"text": "seconds pinned"},
            "exponentformat": "power",
            "dtick": 1,
            "range": _span(data),
        },
        yaxis={"type": "log", "title": {"text": "times (point: pages)"}, "tickformat": ",~g", "dtick": 1},
    )


def _span(data: Sequence[dict[str, Any]]) -> list[float]:
    """A logarithmic range with a third of a decade to spare on both sides."""
    import math

    xs = [x for trace in data for x in trace["x"]] or [1.0]
    return [math.log10(min(xs)) - 0.3, math.log10(max(xs)) + 0.3]


def pool_size(table: pd.DataFrame, at: int | None = None, *, note: str = "") -> go.Figure:
    """Share of pins that take the slow path, against the descriptors that each CPU keeps ready.

    Parameters
    ----------
    table : DataFrame
        As ``PoolShares.table()``: size, nr_empty, empty_percent, nr_slow, slow_percent, fast_to_slow.
    at : int, optional
        The size to mark: where the slider is.
    """
    data: list[dict[str, Any]] = []
    for place, (column, count, label) in enumerate(
        (
            ("empty_percent", "nr_empty", "the pool was empty"),
            ("slow_percent", "nr_slow", "slow: empty, or a descriptor to be found"),
        )
    ):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label,
                "x": [int(v) for v in table["size"]],
                "y": [float(v) for v in table[column]],
                "line": {"color": COLOURS[4 * place], "dash": DASHES[place]},
                "marker": {"symbol": MARKERS[place], "size": 7, "color": COLOURS[4 * place]},
                "customdata": [
                    [f"{int(row[count]):,}", ratio(row["fast_to_slow"])] for row in rows_of(table)
                ],
                "hovertemplate": f"<b>{label}</b><br>%{{x:,}} descriptors a CPU<br>%{{y:.4g}} % of pins, "
                "%{customdata[0]}<br>fast : slow = %{customdata[1]}<br>the recorded pins, replayed; "
                "the refill's time is assumed<extra></extra>",
            }
        )
    shapes = (
        []
        if at is None
        else [
            {
                "type": "line",
                "xref": "x",
                "x0": at,
                "x1": at,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": GREY, "dash": "dot"},
            }
        ]
    )
    sizes = [int(v) for v in table["size"]]
    return dressed(
        "Slow pins, where a design allocates",
        380,
        data,
        file="pool-size",
        shapes=shapes,
        alt="Lines: percent of pins that are slow against pool size",
        below=wrapped(note),
        margin={"l": 8, "r": 16, "t": 62, "b": 8},
        xaxis={
            "type": "log",
            "title": {"text": "descriptors that each CPU keeps ready"},
            "tickvals": [v for v in sizes if v.bit_count() == 1],
            "tickangle": 0,
            "tickfont": {"size": 11},
        },
        yaxis={"title": {"text": "% of pins"}, "rangemode": "tozero", "tickformat": "~g"},
    )


def pfn_heat(heat: Heat, *, note: str = "") -> go.Figure:
    """References taken, by pfn and time: a row for each block of pfns that was touched, gaps left out."""
    import numpy as np
    from plotly.colors import sequential

    counts = heat.refs
    shown = np.where(counts > 0, np.log10(np.maximum(counts, 1)), np.nan)
    pfns = [int(value) for value in heat.first_pfn]
    top = int(counts.max())
    ticks = list(range(len(str(top))))
    every = max(1, -(-len(pfns) // 12))
    block = f"blocks of {heat.block_pages:,} pages ({size(heat.block_pages * 4096)} where a page has 4 KiB)"
    data = [
        {
            "type": "heatmap",
            "x": [float(f"{value:.6g}") for value in heat.seconds],
            "y": [f"{pfn:#x}" for pfn in pfns],
            "z": [[None if value != value else round(float(value), 3) for value in row] for row in shown],
            "customdata": counts.tolist(),
            "hovertemplate": "%{x:.6g} s, pfn %{y} and up<br>%{customdata:,} references taken"
            f"<br>{RECORDED}<extra></extra>",
            "colorscale": [[place / 9, colour] for place, colour in enumerate(sequential.Cividis)],
            "hoverongaps": False,
            "colorbar": {
                "title": {"text": "references"},
                "tickvals": ticks,
                "ticktext": [f"{10**power:,}" for power in ticks],
                "thickness": 14,
            },
        }
    ]
    below = f"{block}; untouched ones are left out" + (f"; {note}" if note else "")
    return dressed(
        "Where pins fall",
        420,
        data,
        file="pfn-heat",
        below=wrapped(below),
        alt="Heat map of references taken by pfn and time",
        margin={"l": 8, "r": 16, "t": 62, "b": 8},
        xaxis={"title": {"text": "seconds since the first event"}, "showgrid": False},
        yaxis={
            "type": "category",
            "tickvals": list(range(0, len(pfns), every)),
            "showgrid": False,
            "ticktext": [f"{pfns[at]:#x}" for at in range(0, len(pfns), every)],
            "title": {"text": "pfn"},
        },
    )


def clusters(table: pd.DataFrame, *, note: str = "") -> go.Figure:
    """In runs of how many neighbours the pinned folios come, where most are pinned at once.

    ``table`` is as ``Replay.clusters()``: run_entries, runs, entries.
    """
    bars = {
        "type": "scatter",
        "mode": "markers",
        "x": [int(v) for v in table["run_entries"]],
        "y": [int(v) for v in table["entries"]],
        "customdata": [f"{int(v):,}" for v in table["runs"]],
        "marker": {"color": COLOURS[2], "size": 9, "symbol": "diamond"},
        "hovertemplate": f"%{{customdata}} runs of %{{x:,}}<br>%{{y:,}} entries<br>{RECORDED}<extra></extra>",
    }
    ticks = powers_of_two([1, *[int(v) for v in table["run_entries"]]])
    return dressed(
        "Runs of neighbours, where most are pinned",
        320,
        [bars],
        file="pin-clusters",
        alt="Dots: entries by the length of their run",
        below=wrapped(note),
        margin={"l": 8, "r": 16, "t": 62, "b": 8},
        xaxis={
            "type": "log",
            "title": {"text": "neighbours in a run"},
            "tickvals": ticks,
            "ticktext": [f"{tick:,}" for tick in ticks],
        },
        yaxis={"type": "log", "title": {"text": "entries in such runs"}, "tickformat": ",~g", "dtick": 1},
    )
