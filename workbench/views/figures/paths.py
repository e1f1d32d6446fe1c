"""Figures of what page_to_pfn() and pfn_to_page() cost: paths, mixes, latency, the cost model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.model.units import size
from workbench.views.figures._base import (
    COLOURS,
    DASHES,
    GREY,
    MARKERS,
    dressed,
    inert,
    powers_of_two,
    rows_of,
    style_of,
    wrapped,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_NS_AXIS = {"type": "log", "title": {"text": "ns a call"}, "tickformat": ",~g", "dtick": "D2"}
_MARGIN = {"l": 8, "r": 16, "t": 62, "b": 8}


def path_costs(table: pd.DataFrame, *, note: str = "") -> go.Figure:
    """Each path's time in a chain of dependent calls: the median as a dot, minimum to maximum as a bar.

    ``table`` is as ``scenario.path_costs()``: path, dynamic, shape, nr_entries, ns_min, ns_median, ns_max.
    """
    rows = sorted(rows_of(table), key=lambda row: -row["ns_median"])
    names = [inert(_path_label(row)) for row in rows]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "y": names,
        "x": [row["ns_median"] for row in rows],
        "marker": {"color": COLOURS[0], "size": 8},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [max((row["ns_max"] or row["ns_median"]) - row["ns_median"], 0) for row in rows],
            "arrayminus": [row["ns_median"] - row["ns_min"] for row in rows],
            "thickness": 1.2,
        },
        "customdata": [
            [row["ns_min"], row["ns_max"] or row["ns_median"], row["nr_entries"] or 0] for row in rows
        ],
        "hovertemplate": "<b>%{y}</b><br>%{x:.3g} ns, %{customdata[0]:.3g} to %{customdata[1]:.3g}<br>"
        "measured with %{customdata[2]:,} entries<extra></extra>",
    }
    return dressed(
        "What each path costs",
        130 + 19 * len(rows),
        [dots],
        file="path-costs",
        alt="Dots: ns of each path, median with minimum and maximum",
        below=wrapped(note, 64),
        meta={"names": names},
        margin=_MARGIN,
        showlegend=False,
        xaxis=_NS_AXIS,
        yaxis={"autorange": "reversed", "tickfont": {"size": 11}},
    )


def _path_label(row: Mapping[str, Any]) -> str:
    mixed = {0.0: ", static", 0.5: ", half dynamic", 1.0: ", dynamic"}[row["dynamic"]]
    mixed = mixed if "/" in row["path"] or row["path"] == "proxy_test" else ""
    if row["path"].startswith(("vmemmap", "sparsemem")):
        mixed = ""
    nr = f" ({int(row['nr_entries']):,})" if row["nr_entries"] and row["working_set_bytes"] else ""
    shape = f", {'dense' if row['shape'].startswith('dense') else 'scattered'}" if row["shape"] else ""
    return f"{row['path']}{mixed}{shape}{nr}"


def share_curve(
    curve: pd.DataFrame, crossings: pd.DataFrame, at: float | None = None, *, note: str = ""
) -> go.Figure:
    """ns of a call against the share of calls that meet a dynamic page, with break-evens marked.

    ``curve`` and ``crossings`` are as ``scenario.share_curve()`` gives them; ``at`` is the share to mark.
    """
    data: list[dict[str, Any]] = []
    for design, rows in curve.groupby("design", sort=False):
        style = style_of(str(design))
        beyond = ", beyond the measured sizes" if rows["extrapolated"].any() else ""
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": inert(design),
                "x": [100 * float(v) for v in rows["share"]],
                "y": [float(f"{v:.6g}") for v in rows["ns"]],
                "line": {"color": style["color"], "dash": style["dash"]},
                "hovertemplate": f"<b>{inert(design)}</b><br>%{{x:.3g}} % dynamic<br>%{{y:.3g}} ns, "
                f"weighed from measured medians{beyond}<extra></extra>",
            }
        )
    for place, row in enumerate(rows_of(crossings)):
        text = f"{inert(row['design'])} = {inert(row['other'])}"
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": f"{place + 1}. {text}: {100 * row['share']:.3g} %",
                "x": [100 * float(row["share"])],
                "y": [float(row["ns"])],
                "text": [str(place + 1)],
                "textposition": "top center",
                "marker": {"symbol": "circle-open", "size": 13, "color": GREY, "line": {"width": 3}},
                "hovertemplate": f"<b>{text}</b><br>%{{x:.3g}} % dynamic, %{{y:.3g}} ns<br>"
                "where two lines of measured medians cross<extra></extra>",
            }
        )
    shapes = (
        []
        if at is None
        else [
            {
                "type": "line",
                "xref": "x",
                "x0": 100 * at,
                "x1": 100 * at,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": GREY, "dash": "dot"},
            }
        ]
    )
    return dressed(
        "A call, against how many calls are dynamic",
        440,
        data,
        file="share-curve",
        alt="Lines: ns per call against the share of dynamic calls",
        below=wrapped(note),
        shapes=shapes,
        margin=_MARGIN,
        xaxis={"title": {"text": "calls that meet a dynamic page, %"}, "range": [0, 100]},
        yaxis={"title": {"text": "ns a call"}, "rangemode": "tozero", "tickformat": ",~g"},
    )


def latency(table: pd.DataFrame, caches: Sequence[Mapping[str, Any]], *, note: str = "") -> go.Figure:
    """ns of a dependent load or lookup against its working set, with the machine's caches drawn in.

    ``table`` has path, working_set_bytes, ns_min, ns_median, ns_max, a row for each size.
    """
    data: list[dict[str, Any]] = []
    for place, (path, rows) in enumerate(table.groupby("path", sort=False)):
        rows = rows.sort_values("working_set_bytes")
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": inert(path),
                "x": [int(v) for v in rows["working_set_bytes"]],
                "y": [float(v) for v in rows["ns_median"]],
                "line": {"color": COLOURS[place % 8], "dash": DASHES[place % 5]},
                "marker": {"symbol": MARKERS[place % 8], "size": 6, "color": COLOURS[place % 8]},
                "customdata": [size(int(v)) for v in rows["working_set_bytes"]],
                "hovertemplate": f"<b>{inert(path)}</b><br>%{{customdata}}<br>%{{y:.3g}} ns, "
                "the measured passes' median<extra></extra>",
            }
        )
    drawn = [cache for cache in caches if cache["type"] != "Instruction"]
    shapes = [
        {
            "type": "line",
            "xref": "x",
            "x0": c["size_bytes"],
            "x1": c["size_bytes"],
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": GREY, "dash": "dot", "width": 1},
        }
        for c in drawn
    ]
    import math

    notes = [
        {
            "text": f"L{c['level']}, {size(int(c['size_bytes']))}",
            "x": math.log10(c["size_bytes"]),
            "y": 1,
            "yref": "paper",
            "xanchor": "right",
            "yanchor": "top",
            "textangle": -90,
            "showarrow": False,
            "font": {"size": 11},
        }
        for c in drawn
    ]
    ticks = powers_of_two([int(v) for v in table["working_set_bytes"] if v > 0])
    return dressed(
        "Latency, against the working set",
        440,
        data,
        file="latency",
        alt="Lines: ns against working set, caches marked",
        below=wrapped(note),
        shapes=shapes,
        annotations=notes,
        margin=_MARGIN,
        xaxis={
            "type": "log",
            "title": {"text": "working set"},
            "tickvals": ticks,
            "ticktext": [size(tick) for tick in ticks],
        },
        yaxis=_NS_AXIS,
    )


def model_checks(table: pd.DataFrame, *, note: str = "") -> go.Figure:
    """What the cost model predicts against what was measured; on the line it is right.

    ``table`` is as ``scenario.model_checks()``.
    """
    data: list[dict[str, Any]] = []
    for place, (path, rows) in enumerate(table.groupby("path", sort=False)):
        errors = rows["error_percent"]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{inert(path)}: {errors.median():+.0f} %, {errors.min():+.0f}..{errors.max():+.0f}",
                "x": [float(v) for v in rows["measured_ns"]],
                "y": [float(v) for v in rows["predicted_ns"]],
                "marker": {"symbol": MARKERS[place % 8], "size": 8, "color": COLOURS[place % 8]},
                "customdata": [
                    [f"{inert(r['shape'])}, {int(r['nr_entries'] or 0):,} entries", r["error_percent"]]
                    for r in rows_of(rows)
                ],
                "hovertemplate": f"<b>{inert(path)}</b>, %{{customdata[0]}}<br>measured %{{x:.3g}}, "
                "predicted %{y:.3g} ns (%{customdata[1]:+.0f} %)<extra></extra>",
            }
        )
    both = [float(v) for column in ("measured_ns", "predicted_ns") for v in table[column]] or [1.0]
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "predicted = measured",
            "x": [min(both), max(both)],
            "y": [min(both), max(both)],
            "line": {"color": GREY, "dash": "dot"},
            "hoverinfo": "skip",
        }
    )
    return dressed(
        "The cost model, against measurement",
        560,
        data,
        file="model-checks",
        alt="Dots: predicted against measured ns",
        below=wrapped(note),
        margin=_MARGIN,
        xaxis={**_NS_AXIS, "title": {"text": "measured, ns a lookup"}},
        yaxis={**_NS_AXIS, "title": {"text": "predicted, ns a lookup"}},
    )


def slow_fast(table: pd.DataFrame, *, note: str = "") -> go.Figure:
    """How many times as long the slow path takes, by design, conversion, CPU, pinned pages and clustering.

    ``table`` is as ``scenario.slow_fast()``: cpu, design, op, nr_pinned, run_pages, fast_ns, slow_ns, ratio.
    """
    data: list[dict[str, Any]] = []
    for place, ((cpu, run), rows) in enumerate(table.groupby(["cpu", "run_pages"], sort=False)):
        name = f"{inert(cpu)}, {'scattered' if run == 1 else f'runs of {run:,}'}"
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "y": [
                    inert(f"{r['design']}, {r['op']}, {int(r['nr_pinned']):,} pinned") for r in rows_of(rows)
                ],
                "x": [float(v) for v in rows["ratio"]],
                "marker": {"symbol": MARKERS[place % 8], "size": 9, "color": COLOURS[place % 8]},
                "customdata": [
                    [
                        r["fast_ns"],
                        r["slow_ns"],
                        "; a working set beyond the measured ones" if r["extrapolated"] else "",
                    ]
                    for r in rows_of(rows)
                ],
                "hovertemplate": f"<b>%{{y}}</b><br>{name}<br>slow %{{customdata[1]:.3g}} ns, fast "
                "%{customdata[0]:.3g} ns%{customdata[2]}<br>%{x:.3g} times, from measured medians"
                "<extra></extra>",
            }
        )
    nr = table.groupby(["design", "op", "nr_pinned"]).ngroups
    return dressed(
        "The slow path, in fast paths",
        150 + 22 * nr,
        data,
        file="slow-fast",
        alt="Dots: ratio of slow to fast path by design",
        below=wrapped(note, 64),
        margin=_MARGIN,
        xaxis={"type": "log", "title": {"text": "slow : fast"}, "tickformat": ",~g"},
        yaxis={"autorange": "reversed", "tickfont": {"size": 11}},
    )
