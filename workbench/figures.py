"""Tables in, plotly figures out. Nothing is computed here that a test would want to check.

Sizes stay exact integers in the hover texts and become KiB, MiB, GiB only on an axis. Every colour has a
second coding (pattern, dash, marker or text), so that no figure depends on colour alone; the colours are
those of Okabe and Ito, readable on light and on dark paper. Text that comes from files is inert: plotly
understands a little HTML, so it is escaped first.
"""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import printable

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from workbench.kernel.structs import Struct

#: Okabe and Ito's palette without black, which would vanish on dark paper; grey stands in for it.
GREY = "#8A8A8A"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B3A900", GREY)
PATTERNS = ("", "/", "x", ".", "\\", "-", "+", "|")
DASHES = ("solid", "dash", "dashdot", "longdash", "longdashdot")
MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "triangle-down")
PART = "part:"  # prefix of the columns that hold a design's parts, in bytes
PNG_WIDTH = 900  # pixels; a code host shows notebooks about that wide
CACHE_LINE = 64  # bytes; x86-64, arm64 and riscv64 (ppc64 has 128, s390 256)
MAX_LINES = 64  # cache lines that a struct picture shows; longer structs are cut, and the title says so
_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))


def inert(text: object) -> str:
    """Text that neither HTML nor plotly's own markup can act on.

    Examples
    --------
    >>> inert("<b>x</b>")
    '&lt;b&gt;x&lt;/b&gt;'
    """
    return html.escape(printable(str(text)), quote=True)


def unit(largest_bytes: float) -> tuple[int, str]:
    """The unit whose axis shows this many bytes with one to four digits before the point.

    Examples
    --------
    >>> unit(3 * 2**30)
    (1073741824, 'GiB')
    """
    return next((scale, name) for scale, name in _UNITS if largest_bytes >= scale or scale == 1)


def size(nr_bytes: int) -> str:
    """Bytes for people, rounded: ``"1.5 GiB"``; exact where it says bytes.

    Examples
    --------
    >>> size(1536), size(1 << 40), size(80)
    ('1.5 KiB', '1 TiB', '80 bytes')
    """
    scale, name = unit(abs(nr_bytes))
    return f"{nr_bytes / scale:.4g} {name}"


@functools.cache
def _order() -> dict[str, tuple[int, int]]:
    """A design's place in the registry, and its variant's: what keeps its colour on every figure."""
    from workbench import designs

    names, variants = designs.names(), list(designs.registry())
    return {name: (names.index(name.split(":")[0]), place) for place, name in enumerate(variants)}


def _style(design: str) -> dict[str, str]:
    """Colour by design, dash and marker by variant; grey and dotted for what is not a design."""
    own = design.removeprefix("freed by ")
    if own not in _order():
        return {"color": GREY, "dash": "dot", "symbol": "circle"}
    place, variant = _order()[own]
    return {"color": COLOURS[(place + 3) % 7], "symbol": MARKERS[variant % 8],
            "dash": DASHES[variant % 5] if own == design else "dot"}


@functools.cache
def _template() -> go.layout.Template:
    import plotly.graph_objects as go

    grid = {"gridcolor": "#d9d9d9", "zerolinecolor": "#b0b0b0", "automargin": True,
            "title": {"standoff": 8, "font": {"size": 13}}}
    return go.layout.Template(layout={
        "font": {"family": "system-ui, 'DejaVu Sans', sans-serif", "size": 13, "color": "#1c1c1c"},
        "paper_bgcolor": "white", "plot_bgcolor": "white", "colorway": COLOURS, "separators": ".,",
        "xaxis": grid, "yaxis": {**grid, "ticklabelstandoff": 6},
        "hoverlabel": {"align": "left", "bgcolor": "white"},
        "legend": {"orientation": "h", "xref": "container", "x": 0, "yref": "container", "y": 0,
                   "yanchor": "bottom"},
        "margin": {"l": 8, "r": 16, "t": 44, "b": 8},
        "title": {"x": 0, "xref": "paper", "y": 0.99, "yanchor": "top", "font": {"size": 15}},
    })


def _figure(title: str, height: int, data: list[dict[str, Any]], *, file: str, alt: str,
            below: str = "", **layout: Any) -> go.Figure:
    """A figure in the workbench's clothes, built in one go; ``alt`` is what a screen reader says."""
    import plotly.graph_objects as go

    return go.Figure({"data": data, "layout": {
        "template": _template(), "height": height, "autosize": True,
        "title": {"text": title, "subtitle": {"text": below}},
        "meta": {"file": file, "alt": alt}, **layout}})


def _panels(heights: Sequence[int], gap: int) -> list[tuple[float, float]]:
    """Domains of panels below each other, first on top, from heights in pixels."""
    total, at, found = sum(heights) + gap * (len(heights) - 1), 0, []
    for height in heights:
        found.append((1 - (at + height) / total, 1 - at / total))
        at += height + gap
    return found


def _axes(panel: int) -> tuple[str, str]:
    """What traces call the axes of a panel, counted from 0."""
    return (f"x{panel + 1}", f"y{panel + 1}") if panel else ("x", "y")


def nothing(why: str, height: int = 160) -> go.Figure:
    """A figure that says why there is none: never an old picture under new labels."""
    note = {"text": inert(why), "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    return _figure("", height, [], file="none", alt=printable(why), annotations=[note],
                   xaxis={"visible": False}, yaxis={"visible": False})


def parts_of(table: pd.DataFrame) -> list[str]:
    """The names of the parts in a table, in its column order, without those that are 0 in every row."""
    return [c.removeprefix(PART) for c in table.columns if c.startswith(PART) and (table[c] != 0).any()]


def _rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _how(table: pd.DataFrame) -> list[str]:
    """Per row, how its numbers were made, for the hover text."""
    return ["counted exactly" if exact else "an expectation, not a count" for exact in table["exact"]]


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
    names, how = [inert(name) for name in labels(table)], _how(table)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for panel, (label, shown, most) in enumerate(panels):
        (scale, name), (x, y) = unit(most), _axes(panel)
        for part, values in shown.items():
            place = parts.index(part) if part in parts else 7
            pattern = PATTERNS[(place + place // 8) % 8]  # all pairs differ, for 64 parts
            data.append({
                "type": "bar", "orientation": "h", "y": names, "x": [value / scale for value in values],
                "xaxis": x, "yaxis": y, "name": inert(part), "legendgroup": part, "showlegend": part in parts,
                "marker": {"color": COLOURS[place % 8], "line": {"width": 0},
                           "pattern": {"shape": pattern, "size": 6, "solidity": 0.35,
                                       "fgcolor": "rgba(255,255,255,0.65)", "fillmode": "overlay"}},
                "customdata": [[f"{value:,}", made] for value, made in zip(values, how, strict=True)],
                "hovertemplate": f"<b>%{{y}}</b><br>{inert(part)}: %{{customdata[0]}} bytes<br>"
                                 "%{customdata[1]}<extra></extra>"})
        domain = [0.0, 1.0] if len(panels) == 1 else [0.53 * panel, 0.47 + 0.53 * panel]
        layout[x.replace("x", "xaxis")] = {"title": {"text": f"{name}, {label}"}, "tickformat": ",~g",
                                           "rangemode": "tozero", "domain": domain, "anchor": y,
                                           "automargin": False}
        layout[y.replace("y", "yaxis")] = {"autorange": "reversed", "showgrid": False, "anchor": x,
                                           "showticklabels": panel == 0, "automargin": False}
    left = 14 + 7.5 * max((len(name) for name in names), default=0)  # automargin would draw it all twice
    legend = round(sum(56 + 7.6 * len(part) for part in parts))  # pixels, were it one row
    rows, high = math.ceil(legend / (PNG_WIDTH - left - 46)), 30 * len(table) + 106
    figure = _figure("Memory that describes pages, by part", high + 30 * rows, data, file="overhead-by-part",
                     barmode="stack", alt="Stacked bars: bytes of each design by part",
                     margin={"l": left, "r": 16, "t": 44, "b": 62 + 30 * rows}, **layout)
    figure.layout.meta = {**figure.layout.meta, "legend": legend, "high": high}  # fit.js knows the real width
    return figure


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
    differ = [column for column in _LABELS if column in table and table[column].nunique() > 1]
    if not differ or table["design"].is_unique:
        differ = ["design"]
    return [", ".join(_LABELS[column].format(row[column]) for column in differ) for row in _rows_of(table)]


def percent_of_ram(table: pd.DataFrame) -> go.Figure:
    """What share of RAM each design takes, with the value written beside its bar."""
    values = [float(value) for value in table["percent_of_ram"]]
    bars = {
        "type": "bar", "orientation": "h", "y": [inert(name) for name in labels(table)], "x": values,
        "text": [f"{value:,.6g} %" for value in values], "textposition": "outside", "cliponaxis": False,
        "marker": {"color": [_style(name)["color"] for name in table["design"]]},
        "customdata": [[f"{int(row['total_bytes']):,}", float(row["bytes_per_page"]), how]
                       for row, how in zip(_rows_of(table), _how(table), strict=True)],
        "hovertemplate": "<b>%{y}</b><br>%{x:.8g} % of RAM<br>%{customdata[0]} bytes<br>"
                         "%{customdata[1]:,.6g} bytes per page<br>%{customdata[2]}<extra></extra>"}
    return _figure("Share of RAM", 120 + 30 * len(table), [bars], file="percent-of-ram", showlegend=False,
                   alt="Bars: percent of RAM that each design takes",
                   xaxis={"title": {"text": "% of RAM"}, "range": [0, max([*values, 1e-9]) * 1.3],
                          "tickformat": "~g"},
                   yaxis={"autorange": "reversed", "showgrid": False})


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
        style = _style(str(design))
        data.append({
            "type": "scatter", "x": [float(value) for value in rows["percent"]],
            "y": [int(value) for value in rows["added_bytes"]], "name": inert(design),
            "mode": "lines" if rows["added_bytes"].nunique() == 1 else "lines+markers",
            "line": {"color": style["color"], "dash": style["dash"]},
            "marker": {"symbol": style["symbol"], "size": 6, "color": style["color"]},
            "customdata": [[f"{int(row['nr_pages']):,}", f"{int(row['added_bytes']):,}", how]
                           for row, how in zip(_rows_of(rows), _how(rows), strict=True)],
            "hovertemplate": f"<b>{inert(design)}</b><br>%{{customdata[0]}} pages, %{{x:.4g}} %<br>"
                             "%{customdata[1]} bytes<br>%{customdata[2]}<extra></extra>"})
    break_even = table.head(0) if break_even is None else break_even
    for place, row in enumerate(_rows_of(break_even)):
        x, y = float(row["percent"]), int(row["added_bytes"])
        text = f"{inert(row['design'])} = {inert(row['other'])}"
        label = f"{place + 1}. {text}: {x:.3g} %"
        data.append({
            "type": "scatter", "x": [x], "y": [y], "name": label, "mode": "markers+text",
            "text": [str(place + 1)], "textposition": ("bottom right", "top left", "bottom left")[place % 3],
            "marker": {"symbol": "circle-open", "size": 14, "color": GREY, "line": {"width": 3}},
            "customdata": [[f"{int(row['nr_pages']):,}", f"{y:,}"]],
            "hovertemplate": f"<b>break-even: {text}</b><br>%{{customdata[0]}} pages, %{{x:.4g}} %<br>"
                             "%{customdata[1]} bytes<extra></extra>"})
        if len(break_even) == 1:
            ax, ay = (-110, 110) if x > 0.01 else (110, -50)  # off the lines: they rise
            notes.append({"x": math.log10(x), "y": math.log10(y), "ax": ax, "ay": ay, "arrowhead": 0,
                          "text": f"break-even at {x:.3g} %", "arrowcolor": GREY, "borderpad": 2,
                          "bgcolor": "rgba(128,128,128,0.18)"})
    line = {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper",
            "line": {"color": GREY, "dash": "dot", "width": 2}}
    said = f"{', '.join(nothing_added)}: nothing beyond it" if nothing_added else ""
    ticks = _powers_of_two([int(value) for value in table["added_bytes"] if value > 0])
    return _figure("Memory beyond the static memmap", 380 + 22 * -(-len(data) // 3), data,
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
                           for row, how in zip(_rows_of(rows), _how(rows), strict=True)],
            "hovertemplate": f"<b>%{{y}}, runs of {run:,}</b><br>%{{customdata[0]}} bytes<br>"
                             "%{customdata[1]} entries<br>%{customdata[2]}<extra></extra>"})
    ticks = _powers_of_two([int(value) for value in table["bytes"]])
    return _figure("Bytes of the pfn map", 120 + 44 * table["map"].nunique(), data, file="pfn-maps",
                   alt="Dots: bytes of each pfn map, by the length of the runs",
                   xaxis={"type": "log", "tickvals": ticks, "ticktext": [size(tick) for tick in ticks]},
                   yaxis={"autorange": "reversed"})


def percent_by_order(table: pd.DataFrame) -> go.Figure:
    """Percent of memory that describes pages, by the order of the folios that all of it is in.

    ``table`` has ``design``, ``order``, ``folio_bytes``, ``percent``.
    """
    data: list[dict[str, Any]] = []
    for design, rows in table.groupby("design", sort=False):
        style = _style(str(design))
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": inert(design),
            "x": [int(value) for value in rows["order"]], "y": [float(value) for value in rows["percent"]],
            "line": {"color": style["color"], "dash": style["dash"]},
            "marker": {"symbol": style["symbol"], "size": 8, "color": style["color"]},
            "customdata": [size(int(value)) for value in rows["folio_bytes"]],
            "hovertemplate": f"<b>{inert(design)}</b><br>folios of order %{{x}}, %{{customdata}}<br>"
                             "%{y:.3f} % of memory<br>page words and one folio descriptor, exact"
                             "<extra></extra>"})
    return _figure("Memory that describes folios", 400, data, file="percent-by-order",
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
                           for row, how in zip(_rows_of(rows), _how(rows), strict=True)],
            "hovertemplate": f"<b>{inert(name)}</b>, runs of %{{x:,}}<br>%{{y:,.4g}} bytes per page<br>"
                             "%{customdata[0]} bytes in all<br>%{customdata[1]}<extra></extra>"})
    runs = sorted({int(value) for value in table["run_pages"]})
    return _figure("Memory of each pfn map, against clustering", 420, data, file="map-bytes-per-page",
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
            "text": [int(value) or "" for value in rows["bits"]], "textposition": "inside",
            "insidetextanchor": "middle",
            "marker": {"color": "rgba(0,0,0,0)" if free else COLOURS[place % 8],
                       "line": {"width": 1, "color": GREY},
                       "pattern": {"shape": "" if free else PATTERNS[place % 8], "size": 6, "solidity": 0.3,
                                   "fgcolor": "rgba(255,255,255,0.65)", "fillmode": "overlay"}},
            "hovertemplate": f"<b>%{{y}}</b><br>{inert(field)}: %{{x}} bits<extra></extra>"})
    return _figure("page->flags, bit by bit", 140 + 34 * table["config"].nunique(), data, file="flag-bits",
                   barmode="stack", alt="Stacked bars: bits of page flags by field",
                   xaxis={"title": {"text": "bits of 64"}, "dtick": 8, "range": [0, 64]},
                   yaxis={"autorange": "reversed", "showgrid": False})


def _powers_of_two(values: Sequence[int]) -> list[int]:
    """At most ten ticks that cover the values, each a power of two: 1 MiB, 32 MiB, 1 GiB."""
    if not values:
        return []
    low, high = min(values).bit_length() - 1, max(values).bit_length()
    step = next(step for step in (1, 2, 5, 10, 20) if (high - low) // step < 10)
    return [1 << shift for shift in range(low - low % step, high + 1, step)]


def pfn_anatomy(table: pd.DataFrame, pfn: int) -> go.Figure:
    """The bits of a pfn, most significant left, as each structure reads them.

    ``table`` has ``structure``, ``field``, ``first_bit``, ``nr_bits``, ``value``.
    """
    data = []
    for place, row in enumerate(_rows_of(table)):
        last = row["first_bit"] + row["nr_bits"] - 1
        data.append({
            "type": "bar", "orientation": "h", "y": [inert(row["structure"])], "base": [row["first_bit"]],
            "x": [row["nr_bits"]], "text": [f"{inert(row['field'])}<br>{row['value']:,}"],
            "textposition": "inside", "insidetextanchor": "middle", "textangle": 0, "constraintext": "inside",
            "textfont": {"color": "#1c1c1c", "size": 12},
            "marker": {"color": list(_FILLS.values())[place % 4], "line": {"color": "#4d4d4d", "width": 1}},
            "hovertemplate": f"<b>{inert(row['structure'])}: {inert(row['field'])}</b><br>"
                             f"bits {row['first_bit']} to {last}: {row['value']:,}<extra></extra>"})
    top = int((table["first_bit"] + table["nr_bits"]).max())
    return _figure(f"pfn {pfn:#x} = {pfn:,}", 108 + 62 * table["structure"].nunique(), data, bargap=0.25,
                   file="pfn-anatomy", alt="Bits of a pfn as sparsemem and an XArray read them",
                   showlegend=False, barmode="overlay",
                   xaxis={"range": [top, 0], "dtick": 6, "title": {"text": "bit of the pfn"}},
                   yaxis={"autorange": "reversed", "showgrid": False})


# -- structs -------------------------------------------------------------------------------------------------

#: kind of bytes -> fill; light, since the text on it is dark on any paper.
_FILLS = {"scalar": "#9FD3F2", "pointer": "#8FD9BF", "struct": "#F6CF80", "bit-field": "#E6B8D3",
          "hole": "#D6D6D6", "padding": "#D6D6D6"}
_HATCH = {"hole": "/", "padding": "."}


@dataclass(frozen=True)
class Piece:
    """A stretch of a struct inside one cache line, in one lane; offsets and widths in bytes."""

    line: int
    lane: int
    start: float
    width: float
    kind: str
    name: str
    hover: str


def struct_layout(*structs: Struct) -> go.Figure:
    """Structs as pictures: a row for each 64-byte cache line, a lane for each arm of a union.

    Holes are hatched. A member that crosses a cache line appears in both. What shares bytes stands one above
    the other, so nothing hides anything. Several structs stand below each other, on one scale.
    """
    drawn = [_rows(pieces(struct)) for struct in structs]
    lanes = [max((row for row, _ in rows), default=0) + 1 for rows in drawn]
    titles = [_struct_title(struct) for struct in structs]
    heights, gap = [27 * nr for nr in lanes], 84
    layout: dict[str, Any] = {"annotations": [], "shapes": []}
    data: list[dict[str, Any]] = []
    shown: set[str] = set()
    for panel, rows in enumerate(drawn):
        (x, y), domain = _axes(panel), _panels(heights, gap)[panel]
        for kind, fill in _FILLS.items():
            own = [(row, piece) for row, piece in rows if piece.kind == kind]
            if own:
                data.append(_bars(kind, fill, own, xaxis=x, yaxis=y, showlegend=kind not in shown))
                shown.add(kind)
        first = {piece.line: row for row, piece in reversed(rows)}
        layout[x.replace("x", "xaxis")] = {
            "range": [0, CACHE_LINE], "dtick": 8, "anchor": y,
            "title": {"text": "byte in the cache line" if panel == len(drawn) - 1 else ""}}
        layout[y.replace("y", "yaxis")] = {
            "range": [lanes[panel] - 0.5, -0.5], "showgrid": False, "zeroline": False, "anchor": x,
            "domain": domain, "tickvals": list(first.values()),
            "ticktext": [f"line {line}, byte {line * CACHE_LINE}" for line in first]}
        layout["shapes"] += [{"type": "line", "xref": x, "x0": 0, "x1": CACHE_LINE, "yref": y, "y0": at - 0.5,
                              "y1": at - 0.5, "line": {"color": GREY, "width": 1}}
                             for at in list(first.values())[1:]]
        if len(drawn) > 1:
            layout["annotations"].append({
                "text": f"{titles[panel]}<br><span style='font-size:11px'>"
                        f"{inert(structs[panel].source)}</span>",
                "align": "left", "showarrow": False, "xref": "paper", "x": 0, "xanchor": "left",
                "yref": "paper", "y": domain[1], "yanchor": "bottom", "font": {"size": 15}})
    height, one = sum(heights) + gap * (len(heights) - 1) + 144, len(structs) == 1
    return _figure(titles[0] if one else "", height, data, file="struct-layout", barmode="overlay",
                   bargap=0, alt="; ".join(titles), below=inert(structs[0].source) if one else "",
                   margin={"l": 8, "r": 16, "t": 52, "b": 8}, **layout)


def _bars(kind: str, fill: str, own: Sequence[tuple[int, Piece]], **more: Any) -> dict[str, Any]:
    """All pieces of one kind as one trace."""
    return {
        "type": "bar", "orientation": "h", "name": kind, "legendgroup": kind, "width": 0.9,
        "y": [row for row, _ in own], "base": [piece.start for _, piece in own],
        "x": [piece.width for _, piece in own], "textposition": "inside", "insidetextanchor": "middle",
        "text": [inert(piece.name) if len(piece.name) <= 3.5 * piece.width else "" for _, piece in own],
        "textangle": 0, "constraintext": "inside", "textfont": {"color": "#1c1c1c", "size": 12},
        "customdata": [piece.hover for _, piece in own], "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {"color": fill, "line": {"color": "#4d4d4d", "width": 1},
                   "pattern": {"shape": _HATCH.get(kind, ""), "size": 7, "solidity": 0.25,
                               "fgcolor": "#6d6d6d", "fillmode": "overlay"}},
        **more}


def _struct_title(struct: Struct) -> str:
    holes = sum(hole["size"] for hole in struct.holes)
    cut = f" (the first {MAX_LINES} cache lines)" if struct.size > MAX_LINES * CACHE_LINE else ""
    return (f"{struct.kind} {inert(struct.name)}: {struct.size:,} bytes, {holes:,} in holes, "
            f"{struct.padding:,} of padding{cut}")


def _rows(found: Iterable[Piece]) -> list[tuple[int, Piece]]:
    """Number the lanes in use of each cache line, lines one below the other."""
    found = sorted(found, key=lambda piece: (piece.line, piece.lane, piece.start))
    lanes = {lane: row for row, lane in enumerate(dict.fromkeys((p.line, p.lane) for p in found))}
    return [(lanes[piece.line, piece.lane], piece) for piece in found]


def pieces(struct: Struct) -> list[Piece]:
    """What a struct's picture shows, cut at cache lines: its innermost members, and what none of them uses.

    Unlike pahole this counts unused bytes and bits at every depth, also inside members that are structs.
    """
    found: list[Piece] = []
    leaves = _leaves(struct.members, struct.kind == "union")
    for member, lane in leaves:
        start, end = member.start_bit / 8, member.end_bit / 8
        bits = member.bit_size is not None
        what = f"{member.bit_size} bits from bit {member.bit_offset:,}" if bits else f"{member.size:,} bytes"
        hover = f"<b>{inert(member.name)}</b><br>{inert(member.type)}<br>offset {member.offset:,}, {what}"
        name = f"{member.name}:{member.bit_size}" if bits else member.name
        found += _cut(start, end - start, lane, _kind(member), name, hover)
    at, last = 0, max((member.end_bit for member, _ in leaves), default=0)
    ends = sorted((member.start_bit, member.end_bit) for member, _ in leaves)
    for start, end in [*ends, (8 * struct.size, 8 * struct.size)]:
        if start > at:
            kind = "padding" if at >= last else "hole"
            hover = f"<b>{kind}</b><br>offset {at / 8:,g}, {(start - at) / 8:,g} bytes that no member uses"
            found += _cut(at / 8, (start - at) / 8, 0, kind, kind, hover)
        at = max(at, end)
    return found


def _kind(member: Any) -> str:
    if member.bit_size is not None:
        return "bit-field"
    if member.type.rstrip().endswith("*") or "(*" in member.type:
        return "pointer"
    return "struct" if member.type.startswith(("struct ", "union ")) else "scalar"


def _cut(start: float, width: float, lane: int, kind: str, name: str, hover: str) -> list[Piece]:
    """One piece for each cache line that the stretch touches."""
    cut, end = [], min(start + width, MAX_LINES * CACHE_LINE)
    while start < end:
        line = int(start // CACHE_LINE)
        stop = min(end, (line + 1) * CACHE_LINE)
        cut.append(Piece(line, lane, start - line * CACHE_LINE, stop - start, kind, name, hover))
        start = stop
    return cut


def _leaves(members: Sequence[Any], union: bool) -> list[tuple[Any, int]]:
    """The innermost members, each with its lane: an arm of a union gets lanes of its own."""
    found: list[tuple[Any, int]] = []

    def place(at: int, end: int, lane: int, union: bool) -> int:
        """Place members[at:end]; return how many lanes they take."""
        used = 0
        while at < end:
            inner = at + 1
            while inner < end and members[inner].depth > members[at].depth:
                inner += 1
            own = lane + (used if union else 0)
            if inner > at + 1:
                took = place(at + 1, inner, own, members[at].type.startswith("union"))
            else:
                found.append((members[at], own))
                took = 1
            used = used + took if union else max(used, took)
            at = inner
        return used

    place(0, len(members), 0, union)
    return found
