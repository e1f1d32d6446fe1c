"""Figures of memory: bytes by design, part, pinned share, folio order and pfn map; page flag bits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workbench.model.units import size, unit
from workbench.views.figures._base import (
    COLOURS,
    DASHES,
    GREY,
    MARKERS,
    PART,
    PATTERNS,
    PNG_WIDTH,
    axes,
    dressed,
    how_made,
    inert,
    parts_of,
    powers_of_two,
    rows_of,
    style_of,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def overhead_by_part(table: pd.DataFrame) -> go.Figure:
    """Bytes of each design, stacked by part; a second panel without the largest part where it hides the rest.

    Parameters
    ----------
    table : DataFrame
        One row per scenario, as ``compare()`` returns it: ``design``, ``exact``, ``part:NAME`` in bytes.
    """
    parts = parts_of(table)
    columns = {part: [int(value) for value in table[PART + part]] for part in parts}
    totals = [int(value) for value in table["total_bytes"]]
    largest = max(parts, key=lambda part: max(columns[part]), default="")
    rest = [total - most for total, most in zip(totals, columns.get(largest, totals), strict=True)]
    panels = [("all parts", columns, max(totals, default=0))]
    if 0 < max(rest, default=0) < max(totals) / 8:
        small = {part: values for part, values in columns.items() if part != largest}
        panels = [("all parts", {largest: columns[largest], f"all but {largest}": rest}, max(totals)),
                  (f"all but {largest}", small, max(rest))]
    names, how = [inert(name) for name in labels(table)], how_made(table)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for panel, (label, shown, most) in enumerate(panels):
        (scale, name), (x, y) = unit(most), axes(panel)
        for part, values in shown.items():
            place = parts.index(part) if part in parts else 7
            pattern = PATTERNS[(place + place // 8) % 8]  # past eight they come again, coarser
            data.append({
                "type": "bar", "orientation": "h", "y": names, "x": [value / scale for value in values],
                "xaxis": x, "yaxis": y, "name": inert(part), "legendgroup": part, "showlegend": part in parts,
                "marker": {"color": COLOURS[place % 8], "line": {"width": 0},
                           "pattern": {"shape": pattern, "size": 6 + 6 * (place // 8), "solidity": 0.35,
                                       "fgcolor": "rgba(255,255,255,0.65)", "fillmode": "overlay"}},
                "customdata": [[f"{value:,}", made] for value, made in zip(values, how, strict=True)],
                "hovertemplate": f"<b>%{{y}}</b><br>{inert(part)}: %{{customdata[0]}} bytes<br>"
                                 "%{customdata[1]}<extra></extra>"})
        domain = [0.0, 1.0] if len(panels) == 1 else [0.53 * panel, 0.47 + 0.53 * panel]
        layout[x.replace("x", "xaxis")] = {"title": {"text": f"{name}, {label}"}, "tickformat": ",~g",
                                           "rangemode": "tozero", "domain": domain, "anchor": y, "nticks": 4,
                                           "automargin": False}
        layout[y.replace("y", "yaxis")] = {"autorange": "reversed", "showgrid": False, "anchor": x,
                                           "showticklabels": panel == 0, "automargin": False}
    left = _left(names)
    legend = round(sum(56 + 7.6 * len(part) for part in parts))  # pixels, were it one row
    rows, high = math.ceil(legend / (PNG_WIDTH - left - 46)), 30 * len(table) + 106
    return dressed("Memory that describes pages, by part", high + 30 * rows, data, file="overhead-by-part",
                   barmode="stack", alt="Stacked bars: bytes of each design by part",
                   meta={"legend": legend, "high": high},  # fit.js knows the real width
                   margin={"l": left, "r": 16, "t": 44, "b": 62 + 30 * rows}, **layout)


#: Column -> how its value reads in a row's label.
_LABELS = {"design": "{}", "machine": "{}", "kernel": "{}", "pfn_map": "{}", "nr_pinned": "{:,} pinned",
           "run_pages": "runs of {:,}", "folio_order": "order {}"}


def labels(table: pd.DataFrame) -> list[str]:
    """What to call each row: its design, or else the columns that tell the rows apart.

    Examples
    --------
    >>> import pandas as pd
    >>> labels(pd.DataFrame({"design": ["static", "static"], "run_pages": [1, 512]}))
    ['runs of 1', 'runs of 512']
    """
    differ = ["design"]
    if not table["design"].is_unique:
        differ = [name for name in _LABELS if name in table and table[name].nunique() > 1] or differ
    return [", ".join(_LABELS[column].format(row[column]) for column in differ)
            for row in rows_of(table, *differ)]


def percent_of_ram(table: pd.DataFrame) -> go.Figure:
    """What share of RAM each design takes, with the value written beside its bar."""
    values, names = table["percent_of_ram"].tolist(), [inert(name) for name in labels(table)]
    bars = {
        "type": "bar", "orientation": "h", "y": names, "x": values,
        "text": [f"{value:,.6g} %" for value in values], "textposition": "outside", "cliponaxis": False,
        "marker": {"color": [style_of(name)["color"] for name in table["design"]]},
        "customdata": [[f"{int(row['total_bytes']):,}", float(row["bytes_per_page"]), how]
                       for row, how in zip(rows_of(table, "total_bytes", "bytes_per_page"),
                                           how_made(table), strict=True)],
        "hovertemplate": "<b>%{y}</b><br>%{x:.8g} % of RAM<br>%{customdata[0]} bytes<br>"
                         "%{customdata[1]:,.6g} bytes per page<br>%{customdata[2]}<extra></extra>"}
    return dressed("Share of RAM", 120 + 30 * len(table), [bars], file="percent-of-ram", showlegend=False,
                   alt="Bars: percent of RAM that each design takes",
                   margin={"l": _left(names), "r": 16, "t": 44, "b": 48},
                   xaxis={"title": {"text": "% of RAM"}, "range": [0, max([*values, 1e-9]) * 1.3],
                          "tickformat": "~g", "automargin": False},
                   yaxis={"autorange": "reversed", "showgrid": False, "automargin": False})


def _left(names: list[str]) -> float:
    """Pixels for the names of bars; automargin would draw the figure twice."""
    return 14 + 7.5 * max((len(name) for name in names), default=0)


def overhead_against_pinned(table: pd.DataFrame, break_even: pd.DataFrame | None = None,
                            at: float | None = None,
                            x_title: str = "pinned pages, % of RAM") -> go.Figure:
    """Bytes beyond the static memmap as more pages are pinned, on two logarithmic axes.

    Parameters
    ----------
    table : DataFrame
        Lines over counts of pages: ``design``, ``nr_pages``, ``percent``, ``added_bytes``, ``exact``.
    break_even : DataFrame, optional
        One row per crossing: ``design``, ``other``, ``nr_pages``, ``percent``, ``added_bytes``.
    at : float, optional
        The percent to mark: where the slider is.
    x_title : str
        What the percentages count, and of what.
    """
    table = table[table["percent"] > 0]
    data: list[dict[str, Any]] = []
    notes, nothing_added = [], []
    for design, rows in table.groupby("design", sort=False):
        if not (rows["added_bytes"] > 0).any():
            nothing_added.append(inert(design))
            continue
        style = style_of(str(design))
        data.append({
            "type": "scatter", "x": [float(value) for value in rows["percent"]],
            "y": [int(value) for value in rows["added_bytes"]], "name": inert(design),
            "mode": "lines" if rows["added_bytes"].nunique() == 1 else "lines+markers",
            "line": {"color": style["color"], "dash": style["dash"]},
            "marker": {"symbol": style["symbol"], "size": 6, "color": style["color"]},
            "customdata": [[f"{int(row['nr_pages']):,}", f"{int(row['added_bytes']):,}", how]
                           for row, how in zip(rows_of(rows), how_made(rows), strict=True)],
            "hovertemplate": f"<b>{inert(design)}</b><br>%{{customdata[0]}} pages, %{{x:.4g}} %<br>"
                             "%{customdata[1]} bytes<br>%{customdata[2]}<extra></extra>"})
    break_even = table.head(0) if break_even is None else break_even
    for place, row in enumerate(rows_of(break_even)):
        x, y = float(row["percent"]), int(row["added_bytes"])
        text = f"{inert(row['design'])} = {inert(row['other'])}"
        label = f"{place + 1}. {text}: {x:.3g} %"
        data.append({
            "type": "scatter", "x": [x], "y": [y], "name": label, "mode": "markers+text",
            "text": [str(place + 1)], "textposition": ("bottom right", "top left", "bottom left")[place % 3],
            "marker": {"symbol": "circle-open", "size": 14, "color": GREY, "line": {"width": 3}},
            "customdata": [[f"{int(row['nr_pages']):,}", f"{y:,}"]],
            "hovertemplate": f"<b>break-even: {text}</b><br>%{{customdata[0]}} pages, %{{x:.4g}} %<br>"
                             "%{customdata[1]} bytes<br>the first page at which it holds, by bisection"
                             "<extra></extra>"})
        if len(break_even) == 1:
            ax, ay = (-110, 110) if x > 0.01 else (110, -50)  # off the lines: they rise
            notes.append({"x": math.log10(x), "y": math.log10(y), "ax": ax, "ay": ay, "arrowhead": 0,
                          "text": f"break-even at {x:.3g} %", "arrowcolor": GREY, "borderpad": 2,
                          "bgcolor": "rgba(128,128,128,0.18)"})
    line = {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper",
            "line": {"color": GREY, "dash": "dot", "width": 2}}
    said = f"{', '.join(nothing_added)}: nothing beyond it" if nothing_added else ""
    ticks = powers_of_two([int(value) for value in table["added_bytes"] if value > 0])
    return dressed("Memory beyond the static memmap", 380 + 22 * -(-len(data) // 3), data,
                   file="overhead-against-pinned", annotations=notes, shapes=[line] if at else [],
                   alt="Lines: bytes that each design adds, against the share of pinned pages",
                   below=said,
                   xaxis={"type": "log", "title": {"text": x_title}, "dtick": 1,
                          "exponentformat": "none",
                          "range": [math.log10(table["percent"].min()) - 0.05 if len(table) else -6, 2.08]},
                   yaxis={"type": "log", "tickvals": ticks, "ticktext": [size(tick) for tick in ticks]})


def pfn_maps(table: pd.DataFrame) -> go.Figure:
    """Bytes that pfn maps take for the same pages, more or less clustered, on a logarithmic axis.

    ``table`` has ``map``, ``run_pages``, ``nr_entries``, ``bytes``, ``exact``.
    """
    data = []
    for place, (run, rows) in enumerate(table.groupby("run_pages")):
        data.append({
            "type": "scatter", "mode": "markers", "name": f"runs of {run:,}", "y": list(rows["map"]),
            "x": [int(value) for value in rows["bytes"]],
            "marker": {"symbol": MARKERS[place % 8], "size": 13, "color": COLOURS[place % 8]},
            "customdata": [[f"{int(row['bytes']):,}", f"{int(row['nr_entries']):,}", how]
                           for row, how in zip(rows_of(rows), how_made(rows), strict=True)],
            "hovertemplate": f"<b>%{{y}}, runs of {run:,}</b><br>%{{customdata[0]}} bytes<br>"
                             "%{customdata[1]} entries<br>%{customdata[2]}<extra></extra>"})
    ticks = powers_of_two([int(value) for value in table["bytes"]])
    return dressed("Bytes of the pfn map", 120 + 44 * table["map"].nunique(), data, file="pfn-maps",
                   alt="Dots: bytes of each pfn map, by the length of the runs",
                   xaxis={"type": "log", "tickvals": ticks, "ticktext": [size(tick) for tick in ticks]},
                   yaxis={"autorange": "reversed"})


def percent_by_order(table: pd.DataFrame) -> go.Figure:
    """Percent of memory that describes pages, by the order of the folios that all of it is in.

    ``table`` has ``design``, ``order``, ``folio_bytes``, ``percent``.
    """
    data: list[dict[str, Any]] = []
    for design, rows in table.groupby("design", sort=False):
        style = style_of(str(design))
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": inert(design),
            "x": [int(value) for value in rows["order"]], "y": [float(value) for value in rows["percent"]],
            "line": {"color": style["color"], "dash": style["dash"]},
            "marker": {"symbol": style["symbol"], "size": 8, "color": style["color"]},
            "customdata": [size(int(value)) for value in rows["folio_bytes"]],
            "hovertemplate": f"<b>{inert(design)}</b><br>folios of order %{{x}}, %{{customdata}}<br>"
                             "%{y:.3f} % of memory<br>page words and one folio descriptor, exact"
                             "<extra></extra>"})
    return dressed("Memory that describes folios", 400, data, file="percent-by-order",
                   alt="Lines: percent of memory against folio order",
                   xaxis={"title": {"text": "folio order"}, "dtick": 1},
                   yaxis={"type": "log", "title": {"text": "% of memory"}, "tickformat": "~g",
                          "tickvals": [0.1, 0.2, 0.5, 1, 1.5625, 2, 3]})


def bytes_per_entry(table: pd.DataFrame) -> go.Figure:
    """Bytes per page that a pfn map takes, against how clustered the pages are, one line for each map.

    ``table`` has ``title``, ``run_pages``, ``bytes``, ``bytes_per_page``, ``exact``.
    """
    data: list[dict[str, Any]] = []
    for place, (name, rows) in enumerate(table.groupby("title", sort=False)):
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": inert(name),
            "x": [int(value) for value in rows["run_pages"]],
            "y": [float(value) for value in rows["bytes_per_page"]],
            "line": {"color": COLOURS[place % 8], "dash": DASHES[place % len(DASHES)]},
            "marker": {"symbol": MARKERS[place % 8], "size": 8, "color": COLOURS[place % 8]},
            "customdata": [[f"{int(row['bytes']):,}", how]
                           for row, how in zip(rows_of(rows), how_made(rows), strict=True)],
            "hovertemplate": f"<b>{inert(name)}</b>, runs of %{{x:,}}<br>%{{y:,.4g}} bytes per page<br>"
                             "%{customdata[0]} bytes in all<br>%{customdata[1]}<extra></extra>"})
    runs = sorted({int(value) for value in table["run_pages"]})
    return dressed("Memory of each pfn map, against clustering", 420, data, file="map-bytes-per-page",
                   alt="Lines: bytes per page of each pfn map against the length of runs",
                   xaxis={"type": "log", "title": {"text": "pages in a run"}, "tickvals": runs,
                          "ticktext": [f"{run:,}" for run in runs]},
                   yaxis={"type": "log", "title": {"text": "bytes per page"}, "tickformat": ",~g",
                          "dtick": 1})


def flag_bits(table: pd.DataFrame) -> go.Figure:
    """The 64 bits of ``page->flags``, field by field, one bar for each configuration.

    ``table`` has ``config``, ``field``, ``bits``; fields in the order in which the bars stack.
    """
    data: list[dict[str, Any]] = []
    for place, (field, rows) in enumerate(table.groupby("field", sort=False)):
        free = field == "free"
        data.append({
            "type": "bar", "orientation": "h", "name": inert(field), "y": [inert(c) for c in rows["config"]],
            "x": [int(value) for value in rows["bits"]],
            "text": [str(int(value)) if value else "" for value in rows["bits"]],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "marker": {"color": "rgba(0,0,0,0)" if free else COLOURS[place % 8],
                       "line": {"width": 1, "color": GREY},
                       "pattern": {"shape": "" if free else PATTERNS[place % 8], "size": 6, "solidity": 0.3,
                                   "fgcolor": "rgba(255,255,255,0.65)", "fillmode": "overlay"}},
            "hovertemplate": f"<b>%{{y}}</b><br>{inert(field)}: %{{x}} bits, counted exactly<extra></extra>"})
    return dressed("page->flags, bit by bit", 140 + 34 * table["config"].nunique(), data, file="flag-bits",
                   barmode="stack", alt="Stacked bars: bits of page flags by field",
                   xaxis={"title": {"text": "bits of 64"}, "dtick": 8, "range": [0, 64]},
                   yaxis={"autorange": "reversed", "showgrid": False})
