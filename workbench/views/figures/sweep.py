"""Figures of sweeps: tornado, Sobol bars, Pareto front, break-even surface."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workbench.model.units import size, unit
from workbench.views.figures._base import COLOURS, GREY, dressed, inert, nothing, rows_of, style_of

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def tornado(table: pd.DataFrame) -> go.Figure:
    """How far each input alone moves the bytes, the widest on top.

    ``table`` has ``field``, ``low``, ``high``, ``low_bytes``, ``base_bytes``, ``high_bytes``, as
    ``sweep.tornado()`` returns it.
    """
    if table.empty:
        return nothing("no inputs to vary")
    base = int(table["base_bytes"].iloc[0])
    scale, name = unit(max(int(table[["low_bytes", "high_bytes"]].to_numpy().max()), base))
    data = []
    for place, end in enumerate(("low", "high")):
        data.append({
            "type": "bar", "orientation": "h", "name": f"{end} value",
            "y": [inert(one) for one in table["field"]],
            "base": [base / scale] * len(table),
            "x": [(int(value) - base) / scale for value in table[f"{end}_bytes"]],
            "text": [inert(value) for value in table[end]], "textposition": "inside",
            "marker": {"color": COLOURS[place], "pattern": {"shape": ("", "/")[place], "solidity": 0.3}},
            "customdata": [[inert(row[end]), f"{int(row[f'{end}_bytes']):,}",
                            f"{int(row[f'{end}_bytes']) - base:+,}"] for row in rows_of(table)],
            "hovertemplate": "<b>%{y} = %{customdata[0]}</b><br>%{customdata[1]} bytes<br>"
                             "%{customdata[2]} bytes against the base<extra></extra>"})
    line = {"type": "line", "x0": base / scale, "x1": base / scale, "y0": 0, "y1": 1, "yref": "paper",
            "line": {"color": GREY, "dash": "dot", "width": 2}}
    return dressed("What moves the total, one input at a time", 150 + 40 * len(table), data, file="tornado",
                   alt="Bars: bytes at the low and the high value of each input, around the base",
                   below=f"dotted: the base, {size(base)}", barmode="overlay", shapes=[line],
                   xaxis={"title": {"text": f"total, {name}"}, "tickformat": ",~g"},
                   yaxis={"autorange": "reversed", "showgrid": False})


def sobol(table: pd.DataFrame) -> go.Figure:
    """First-order and total Sobol indices of each input, with their 95 % confidence.

    ``table`` has ``input``, ``first``, ``first_confidence``, ``total``, ``total_confidence``.
    """
    if table.empty:
        return nothing("no inputs to vary")
    data = []
    for place, (kind, label) in enumerate((("first", "alone"), ("total", "with interactions"))):
        data.append({
            "type": "bar", "orientation": "h", "name": label, "y": [inert(one) for one in table["input"]],
            "x": [float(value) for value in table[kind]],
            "error_x": {"type": "data", "array": [float(value) for value in table[f"{kind}_confidence"]],
                        "color": GREY},
            "marker": {"color": COLOURS[place], "pattern": {"shape": ("", "/")[place], "solidity": 0.3}},
            "hovertemplate": f"<b>%{{y}}</b>, {label}<br>%{{x:.3f}} of the variance<extra></extra>"})
    return dressed("Which input explains the variance", 150 + 56 * len(table), data, file="sobol",
                   alt="Bars: first-order and total Sobol indices", barmode="group",
                   xaxis={"title": {"text": "share of the variance of the total"}, "rangemode": "tozero"},
                   yaxis={"autorange": "reversed", "showgrid": False})


def pareto(table: pd.DataFrame, front: pd.DataFrame, x: str = "total_bytes", y: str = "ns") -> go.Figure:
    """All points, and a line through those that no other beats.

    Parameters
    ----------
    table, front : DataFrame
        ``design`` and the two columns; ``front`` is what ``sweep.pareto()`` picked of ``table``.
    """
    if front.empty:
        return nothing("no point has both numbers")
    is_bytes = x.endswith("_bytes")
    scale, name = unit(float(table[x].max())) if is_bytes else (1, x)
    data: list[dict[str, Any]] = []
    for design, rows in table[table[[x, y]].notna().all(axis=1)].groupby("design", sort=False):
        style = style_of(str(design))
        data.append({
            "type": "scattergl" if len(rows) > 2000 else "scatter", "mode": "markers", "name": inert(design),
            "x": [float(value) / scale for value in rows[x]], "y": [float(value) for value in rows[y]],
            "marker": {"symbol": style["symbol"], "size": 7, "color": style["color"], "opacity": 0.6},
            "customdata": [f"{value:,}" for value in rows[x]],
            "hovertemplate": f"<b>{inert(design)}</b><br>%{{customdata}} {inert(x)}<br>%{{y:.4g}} {inert(y)}"
                             "<extra></extra>"})
    best = front.sort_values([x, y])
    data.append({"type": "scatter", "mode": "lines", "name": "nothing is better", "line": {"color": GREY,
                 "shape": "hv", "width": 2}, "x": [float(value) / scale for value in best[x]],
                 "y": [float(value) for value in best[y]], "hoverinfo": "skip"})  # fmt: skip
    return dressed("Memory against time", 440, data, file="pareto",
                   alt="Dots: each scenario's bytes and nanoseconds; a line joins those that no other beats",
                   xaxis={"title": {"text": f"{x.removesuffix('_bytes')}, {name}" if is_bytes else inert(x)}},
                   yaxis={"title": {"text": inert(y)}, "rangemode": "tozero"})


def break_even_surface(table: pd.DataFrame) -> go.Figure:
    """Where one design overtakes another, over two inputs; a gap where it never does.

    ``table`` has two columns of inputs and ``percent``, as ``sweep.break_even_surface()`` returns it.
    """
    x, y = (name for name in table.columns if name != "percent")
    xs, ys = list(dict.fromkeys(table[x])), list(dict.fromkeys(table[y]))
    known = {(row[x], row[y]): float(row["percent"]) for row in rows_of(table)}
    z = [[None if math.isnan(known[a, b]) else known[a, b] for a in xs] for b in ys]
    text = [["never" if one is None else f"{one:.3g} %" for one in line] for line in z]
    heat = {"type": "heatmap", "x": [inert(a) for a in xs], "y": [inert(b) for b in ys],
            "z": [[None if one is None else math.log10(max(one, 1e-6)) for one in line] for line in z],
            "text": text, "texttemplate": "%{text}" if len(xs) * len(ys) <= 150 else None,
            "colorscale": "Cividis", "showscale": False, "xgap": 1, "ygap": 1, "hoverongaps": True,
            "hovertemplate": f"{inert(x)} %{{x}}, {inert(y)} %{{y}}<br><b>%{{text}}</b><extra></extra>"}
    return dressed("Share of pages from which it takes more", 150 + 34 * max(4, len(ys)), [heat],
                   file="break-even-surface", alt="Grid: percent of pages at break-even, over two inputs",
                   below="brighter: later, on a logarithmic scale; empty: never",
                   xaxis={"title": {"text": inert(x)}, "type": "category"},
                   yaxis={"title": {"text": inert(y)}, "type": "category"})
