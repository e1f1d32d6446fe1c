"""The figure of a fleet: how the bytes that each design saves are distributed over machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.views.figures._base import (
    GREY,
    axes,
    dressed,
    inert,
    nothing,
    panels,
    rows_of,
    style_of,
    wrapped,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

MAX_GROUPS = 12  # panels; the largest groups of a fleet
_BOX = {"lowerfence": "p05", "q1": "p25", "median": "median", "q3": "p75", "upperfence": "p95"}
_QUANTILES = ("min", "p05", "p25", "median", "p75", "p95", "max")
_ROW, _HEAD = 26, 34  # pixels: a design; the title of a panel


def fleet_savings(table: pd.DataFrame) -> go.Figure:
    """Bytes saved against ``static``, in percent of RAM: a box for each design, a panel for each group.

    Parameters
    ----------
    table : DataFrame
        As ``fleet.summary()`` returns it; a column before ``design`` holds the groups. Designs that no
        capture answers are left out.
    """
    known = table[table["captures"] > 0]
    if known.empty:
        return nothing("no capture of this fleet has an answer")
    by = None if str(table.columns[0]) == "design" else str(table.columns[0])
    spread = known[(known["min"] != 0) | (known["max"] != 0)]["design"]
    alike = [name for name in dict.fromkeys(known["design"]) if name not in set(spread)]
    shown = known if spread.empty else known[known["design"].isin(spread)]
    groups = [(str(name), rows) for name, rows in shown.groupby(by, sort=False)] if by else [("", shown)]
    largest = sorted((_nr(rows) for _, rows in groups), reverse=True)[:MAX_GROUPS]
    groups = [group for group in groups if _nr(group[1]) >= largest[-1]][:MAX_GROUPS]
    heights = [_ROW * len(rows) + 8 for _, rows in groups]
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    titles = []
    for panel, ((name, rows), domain) in enumerate(zip(groups, panels(heights, _HEAD), strict=True)):
        (x, y), last = axes(panel), panel == len(groups) - 1
        data += _boxes(rows, x, y)
        layout[x.replace("x", "xaxis")] = {
            "anchor": y, "matches": "x" if panel else None, "ticksuffix": " %", "tickformat": "~g",
            "zeroline": True, "zerolinewidth": 2, "showticklabels": last,
            "title": {"text": "saved, % of RAM; left of 0 it takes more" if last else ""}}
        layout[y.replace("y", "yaxis")] = {"anchor": x, "domain": domain, "autorange": "reversed",
                                           "showgrid": False}
        if by:
            titles.append({"text": f"<b>{inert(name)}</b>, {_nr(rows):,} captures", "showarrow": False,
                           "xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "y": domain[1],
                           "yanchor": "bottom"})
    nr = sum(_nr(rows) for _, rows in known.groupby(by)) if by else _nr(known)
    below = "box: middle half of the machines; whiskers: 5 to 95 %; marks: least and most; in numbers: median"
    if alike and len(alike) < known["design"].nunique():
        below += f". No difference on any machine: {', '.join(alike)}"
    if by and known[by].nunique() > len(groups):
        below += f". {known[by].nunique() - len(groups)} smaller groups are not shown"
    top = 82 if by else 52
    height = sum(heights) + _HEAD * len(heights) + top + 20
    return dressed(f"Saved against today's memmap, over {nr:,} captures", height, data, file="fleet-savings",
                   showlegend=False,
                   below=wrapped(below), annotations=titles, margin={"l": 8, "r": 16, "t": top, "b": 8},
                   alt="Boxes: distribution over machines of the bytes that each design saves, in % of RAM",
                   **layout)


def _nr(rows: pd.DataFrame) -> int:
    """The captures behind a group of rows: each design has all of them."""
    return int((rows["captures"] + rows["unknown"]).max())


def _boxes(rows: pd.DataFrame, x: str, y: str) -> list[dict[str, Any]]:
    """A box for each design, and marks at the ends, which carry the numbers."""
    found: list[dict[str, Any]] = []
    labels, said = [], []
    for row in rows_of(rows):
        label = f"{inert(row['design'])}  {float(row['median']):.3g} %"
        line = {"color": style_of(row["design"])["color"], "width": 2}
        found.append({"type": "box", "orientation": "h", "y": [label], "xaxis": x, "yaxis": y, "name": label,
                      "hoverinfo": "skip", "fillcolor": "rgba(0,0,0,0)", "line": line,
                      **{to: [float(row[name])] for to, name in _BOX.items()}})
        labels.append(label)
        said.append([inert(row["design"]), *(f"{float(row[name]):.6g}" for name in _QUANTILES),
                     *(f"{int(row[name]):,}" for name in ("captures", "unknown", "more", "saved_bytes"))])
    hover = ("<b>%{customdata[0]}</b>, % of RAM saved<br>least %{customdata[1]}, 5 %: %{customdata[2]}, "
             "25 %: %{customdata[3]}<br>median %{customdata[4]}<br>75 %: %{customdata[5]}, "
             "95 %: %{customdata[6]}, most %{customdata[7]}<br>%{customdata[8]} captures, "
             "%{customdata[9]} without an answer<br>it takes more on %{customdata[10]} of them<br>"
             "%{customdata[11]} bytes saved in all<extra></extra>")
    for end in ("min", "max"):
        found.append({"type": "scatter", "mode": "markers", "x": [float(value) for value in rows[end]],
                      "y": labels, "xaxis": x, "yaxis": y, "customdata": said, "hovertemplate": hover,
                      "marker": {"symbol": "line-ns-open", "size": 9, "color": GREY,
                                 "line": {"width": 2, "color": GREY}}})
    return found
