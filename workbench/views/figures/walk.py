"""Figures of one pfn's way: where it lies, which slots it takes, and each load of two conversions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.model.units import size
from workbench.views.figures._base import COLOURS, GREY, MARKERS, axes, dressed, inert, panels, rows_of

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

CELLS = 64  # of a strip: an xa_node's slots
_KINDS = {"ram": COLOURS[0], "nomap": COLOURS[6], "pmem": COLOURS[2], "device": COLOURS[3]}
_TAKEN, _USED, _EMPTY = COLOURS[4], COLOURS[5], "rgba(128,128,128,0.22)"
_LABEL = 24  # characters of a step beside its bar; the whole is in the hover text
_LEAST = 8  # loads that the axis always has room for, so that labels fit beside the bars


def pfn_place(regions: pd.DataFrame, strips: pd.DataFrame, pfn: int, page_shift: int) -> go.Figure:
    """A machine's memory with a pfn marked, and below it, strip by strip, the sections and slots it takes.

    Parameters
    ----------
    regions : DataFrame
        kind, node, name, first_pfn, end_pfn.
    strips : DataFrame
        label; cells, a list of 64 bools (used or not), or None where there are too many to show; at, where
        the pfn's own cell lies, 0 to 64; says, for the hover text.
    """
    high, low = panels([46, 25 * len(strips)], 52)
    data: list[dict[str, Any]] = []
    for kind in dict.fromkeys(regions["kind"]):
        rows = rows_of(regions[regions["kind"] == kind])
        data.append({
            "type": "bar", "orientation": "h", "name": inert(kind), "y": ["memory"] * len(rows),
            "base": [row["first_pfn"] << page_shift for row in rows],
            "x": [row["end_pfn"] - row["first_pfn"] << page_shift for row in rows],
            "marker": {"color": _KINDS.get(str(kind), GREY), "line": {"width": 0}},
            "customdata": [[inert(row["name"]), "" if row["node"] is None else f", node {row['node']}",
                            f"{row['first_pfn']:#x} to {row['end_pfn'] - 1:#x}"] for row in rows],
            "hovertemplate": f"<b>{inert(kind)}</b>%{{customdata[1]}}: %{{customdata[0]}}<br>"
                             "pfn %{customdata[2]}, exact<extra></extra>"})  # fmt: skip
    data.append({
        "type": "scatter", "mode": "markers", "x": [pfn << page_shift], "y": ["memory"], "name": "the pfn",
        "marker": {"symbol": "line-ns-open", "size": 34, "color": _TAKEN, "line": {"width": 3}},
        "hovertemplate": f"<b>pfn {pfn:#x}</b><br>byte address {pfn << page_shift:#x}, exact<extra></extra>"})
    labels = [inert(label) for label in strips["label"]]
    cells = [[0] * CELLS if row["cells"] is None else [int(used) for used in row["cells"]]
             for row in rows_of(strips)]
    x, y = axes(1)
    data.append({
        "type": "heatmap", "z": cells, "y": labels, "x0": 0.5, "dx": 1, "xaxis": x, "yaxis": y, "xgap": 1,
        "ygap": 5, "zmin": 0, "zmax": 1, "showscale": False, "colorscale": [[0, _EMPTY], [1, _USED]],
        "hovertemplate": "<b>%{y}</b><br>cell %{x:.0f} of 64: %{customdata}, exact<extra></extra>",
        "customdata": [["too many to show" if row["cells"] is None else "used" if used else "empty"
                        for used in row["cells"] or [0] * CELLS] for row in rows_of(strips)]})  # fmt: skip
    data.append({
        "type": "scatter", "mode": "markers", "x": [float(at) for at in strips["at"]], "y": labels,
        "xaxis": x, "yaxis": y, "showlegend": False, "customdata": [inert(says) for says in strips["says"]],
        "marker": {"symbol": "square-open", "size": 15, "color": _TAKEN, "line": {"width": 3}},
        "hovertemplate": "<b>%{y}</b><br>%{customdata}<br>exact<extra></extra>"})  # fmt: skip
    end = max([*(int(value) for value in regions["end_pfn"]), pfn + 1], default=1) << page_shift
    ticks = _ticks(end)
    return dressed(f"Where pfn {pfn:#x} lies, and the slots that it takes", 190 + 25 * len(strips), data,
                   file="pfn-place", alt=f"Strips: memory, sections and slots with pfn {pfn:#x} marked",
                   barmode="overlay", bargap=0.35, legend={"traceorder": "normal"},
                   margin={"l": 8, "r": 16, "t": 44, "b": 40},
                   xaxis={"domain": [0, 1], "anchor": "y", "range": [0, end], "tickvals": ticks,
                          "ticktext": [size(tick) if tick else "0" for tick in ticks], "showgrid": False},
                   yaxis={"domain": list(high), "showgrid": False, "tickfont": {"size": 11}},
                   xaxis2={"domain": [0, 1], "anchor": "y2", "range": [-0.3, CELLS + 0.3],
                           "showticklabels": False, "showgrid": False, "zeroline": False, "ticks": ""},
                   yaxis2={"domain": list(low), "autorange": "reversed", "showgrid": False, "ticks": "",
                           "type": "category", "tickfont": {"size": 11}})


def _ticks(end_bytes: int) -> list[int]:
    step = 1 << max(0, end_bytes.bit_length() - 3)
    return list(range(0, end_bytes + 1, step))


def pfn_steps(steps: pd.DataFrame, totals: pd.DataFrame, *, title: str) -> go.Figure:
    """The steps of one or two conversions side by side: a bar for each load, begun when the last one is back.

    Parameters
    ----------
    steps : DataFrame
        As ``scenario.steps_table()``, with a column ``column``: 0 for the left, 1 for the right.
    totals : DataFrame
        One row for each column: column, design, case, loads, lines (text).
    """
    most = max([int(value) for value in totals["loads"]] + [_LEAST])
    nr_rows = int(max(totals["rows"]))
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    notes = []
    for place, total in enumerate(rows_of(totals)):
        x, y = axes(place)
        rows = rows_of(steps[steps["column"] == total["column"]])
        for name, colour, pattern in (("load", COLOURS[1], ""), ("load of the pfn map", _USED, "/")):
            picked = [row for row in rows if row["nr_loads"] and bool(row["in_map"]) == bool(pattern)]
            data.append({
                "type": "bar", "orientation": "h", "xaxis": x, "yaxis": y, "name": name, "legendgroup": name,
                "width": 0.78, "y": [row["step"] for row in picked],
                "base": [row["loads_before"] for row in picked],
                "x": [row["nr_loads"] for row in picked], "text": [_line(row, most) for row in picked],
                "textposition": "inside", "textangle": 0, "insidetextanchor": "middle",
                "textfont": {"color": "#1c1c1c", "size": 11}, "constraintext": "none",
                "marker": {"color": colour, "line": {"width": 0},
                           "pattern": {"shape": pattern, "size": 7, "solidity": 0.15, "fillmode": "overlay",
                                       "fgcolor": "rgba(255,255,255,0.7)"}},
                "customdata": [_hover(row) for row in picked],
                "hovertemplate": "%{customdata}<extra></extra>"})  # fmt: skip
        free = [row for row in rows if not row["nr_loads"]]
        data.append({
            "type": "scatter", "mode": "markers", "xaxis": x, "yaxis": y, "name": "in registers",
            "legendgroup": "in registers", "y": [row["step"] for row in free],
            "x": [row["loads_before"] for row in free],
            "marker": {"symbol": MARKERS[2], "size": 10, "color": GREY},
            "customdata": [_hover(row) for row in free],
            "hovertemplate": "%{customdata}<extra></extra>"})  # fmt: skip
        data.append({
            "type": "scatter", "mode": "text", "xaxis": x, "yaxis": y, "showlegend": False,
            "hoverinfo": "skip", "textfont": {"size": 11}, "y": [row["step"] for row in rows],
            "x": [_beside(row, most)[0] for row in rows],
            "text": [_shortened(row["what"]) if row["nr_loads"] < 2 else "" for row in rows],
            "textposition": [_beside(row, most)[1] for row in rows]})  # fmt: skip
        domain = [0.0, 1.0] if len(totals) == 1 else [0.53 * place, 0.47 + 0.53 * place]
        layout[x.replace("x", "xaxis")] = {
            "domain": domain, "anchor": y, "range": [-0.3, most + 0.3], "dtick": 1 if most < 10 else 5,
            "title": {"text": "dependent loads"}}
        layout[y.replace("y", "yaxis")] = {"anchor": x, "range": [nr_rows + 0.5, 0.5], "showgrid": False,
                                           "zeroline": False, "showticklabels": False}
        loads = f"{total['loads']} load{'s' * (total['loads'] != 1)}"
        notes.append({"text": f"<b>{inert(total['design'])}</b><br>{inert(total['case'])}: {loads},<br>"
                              f"{inert(total['lines'])}", "showarrow": False, "xref": "paper",
                      "yref": "paper", "x": domain[0], "xanchor": "left", "y": 1, "yanchor": "bottom",
                      "align": "left"})  # fmt: skip
    named: set[str] = set()
    for trace in data:
        if trace["mode" if "mode" in trace else "type"] != "text":
            trace["showlegend"] = bool(trace["x"]) and trace["name"] not in named
            named |= {trace["name"]} if trace["x"] else set()
    return dressed(title, 229 + 24 * nr_rows, data, file="pfn-steps", annotations=notes,
                   below="L3: cache line 3 of what it reads, if that starts on one",
                   alt="Bars: each load of two conversions, one after the other", barmode="overlay",
                   margin={"l": 8, "r": 16, "t": 113, "b": 84}, **layout)


def _beside(row: dict[str, Any], most: int) -> tuple[float, str]:
    """Where a step's label stands: right of its bar in the left half, left of it in the right half."""
    start, end = row["loads_before"], row["loads_before"] + row["nr_loads"]
    gap = 0.06 * most / _LEAST if row["nr_loads"] else 0.022 * most + 0.1
    return (end + gap, "middle right") if start + end <= most else (start - gap, "middle left")


def _shortened(what: str) -> str:
    return inert(what if len(what) <= _LABEL else what[: _LABEL - 1] + "\u2026")


def _line(row: dict[str, Any], most: int) -> str:
    """What stands in a bar: its cache line, where there is room."""
    if row["nr_loads"] > 1:
        return f"the pfn map, modelled: {row['nr_loads']} loads"
    return "" if row["object"] == "" or row["line"] > 99 or most > 16 else f"L{int(row['line'])}"


def _hover(row: dict[str, Any]) -> str:
    where = ""
    if row["object"]:
        where = f"<br>{inert(row['object'])}: byte {int(row['byte']):,}, cache line {int(row['line']):,}"
    nr = row["nr_loads"]
    loads = f"{nr} load{'s' * (nr != 1)} after {row['loads_before']}" if nr else "no load"
    gives = inert(row["gives"] or "-")
    return f"<b>{inert(row['what'])}</b>{where}<br>gives {gives}<br>{loads}, counted exactly"
