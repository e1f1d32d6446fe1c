"""The clothes that all figures wear: palette, units, panels, escaping.

Sizes stay exact integers in the hover texts and become KiB, MiB, GiB only on an axis. Every colour has a
second coding (pattern, dash, marker or text), so that no figure depends on colour alone; the colours are
those of Okabe and Ito, readable on light and on dark paper. Text that comes from files is inert: plotly
understands a little HTML, so it is escaped first.
"""

from __future__ import annotations

import functools
import html
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.model.errors import printable

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


#: Okabe and Ito's palette without black, which would vanish on dark paper; grey stands in for it.
GREY = "#8A8A8A"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B3A900", GREY)
PATTERNS = ("", "/", "x", ".", "\\", "-", "+", "|")
DASHES = ("solid", "dash", "dashdot", "longdash", "longdashdot")
MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "triangle-down")
PART = "part:"  # prefix of the columns that hold a design's parts, in bytes
PNG_WIDTH = 900  # pixels; a code host shows notebooks about that wide
def inert(text: object) -> str:
    """Text that neither HTML nor plotly's own markup can act on.

    Examples
    --------
    >>> inert("<b>x</b>")
    '&lt;b&gt;x&lt;/b&gt;'
    """
    return html.escape(printable(str(text)), quote=True)


@functools.cache
def _order() -> dict[str, tuple[int, int]]:
    """A design's place in the registry, and its variant's: what keeps its colour on every figure."""
    from workbench.model import designs

    names, variants = designs.names(), list(designs.registry())
    return {name: (names.index(name.split(":")[0]), place) for place, name in enumerate(variants)}


def style_of(design: str) -> dict[str, str]:
    """Colour by design, dash and marker by variant; grey and dotted for what is not a design."""
    own = design.removeprefix("freed by ")
    if own not in _order():
        return {"color": GREY, "dash": "dot", "symbol": "circle"}
    place, variant = _order()[own]
    return {"color": COLOURS[(place + 3) % 7], "symbol": MARKERS[variant % 8],
            "dash": DASHES[variant % 5] if own == design else "dot"}


@functools.cache
def _template() -> dict[str, Any]:
    grid = {"gridcolor": "#d9d9d9", "zerolinecolor": "#b0b0b0", "automargin": True,
            "title": {"standoff": 8, "font": {"size": 13}}}
    return {"layout": {
        "font": {"family": "system-ui, 'DejaVu Sans', sans-serif", "size": 13, "color": "#1c1c1c"},
        "paper_bgcolor": "white", "plot_bgcolor": "white", "colorway": COLOURS, "separators": ".,",
        "xaxis": grid, "yaxis": {**grid, "ticklabelstandoff": 6},
        "hoverlabel": {"align": "left", "bgcolor": "white"},
        "legend": {"orientation": "h", "xref": "container", "x": 0, "yref": "container", "y": 0,
                   "yanchor": "bottom"},
        "margin": {"l": 8, "r": 16, "t": 44, "b": 8},
        "title": {"x": 0, "xref": "paper", "y": 0.99, "yanchor": "top", "font": {"size": 15}},
    }}


def dressed(title: str, height: int, data: list[dict[str, Any]], *, file: str, alt: str,
            below: str = "", meta: dict[str, Any] | None = None, **layout: Any) -> go.Figure:
    """A figure in the workbench's clothes; ``alt`` is what a screen reader says, ``meta`` is for fit.js."""
    from workbench.views.figures._picture import Picture

    more = 15 * below.count("<br>") + 14 * bool(below and "margin" not in layout)  # lines of the subtitle
    if more:
        margin = layout.get("margin", {"l": 8, "r": 16, "t": 44, "b": 8})
        height, layout = height + more, {**layout, "margin": {**margin, "t": margin["t"] + more}}
    return Picture({"data": data, "layout": {
        "template": _template(), "height": height, "autosize": True,
        "title": {"text": title, "subtitle": {"text": below}},
        "meta": {"file": file, "alt": alt, **(meta or {})}, **layout}})


def plain(figure: go.Figure) -> dict[str, Any]:
    """A figure's data and layout, to be read and not written to."""
    found: dict[str, Any] = figure.__dict__.get("_spec") or figure.to_plotly_json()
    return found


def with_meta(figure: go.Figure, **more: Any) -> go.Figure:
    """The same figure with more entries in ``layout.meta``."""
    from workbench.views.figures._picture import Picture

    if "_spec" not in figure.__dict__:
        figure.layout.meta = {**(figure.layout.meta or {}), **more}
        return figure
    spec = plain(figure)
    return Picture({**spec, "layout": {**spec["layout"], "meta": {**spec["layout"]["meta"], **more}}})


def wrapped(note: str, width: int = 100) -> str:
    """A note as lines of a subtitle, escaped; `dressed` makes room for them.

    A blank before the ``<br>`` says that the line may go on: fit.js breaks it anew at the width there is.

    Examples
    --------
    >>> wrapped("a <b> c", width=5)
    'a &lt;b&gt; <br>c'
    """
    return " <br>".join(inert(line) for line in textwrap.wrap(note, width))


def panels(heights: Sequence[int], gap: int) -> list[tuple[float, float]]:
    """Domains of panels below each other, first on top, from heights in pixels."""
    total, at, found = sum(heights) + gap * (len(heights) - 1), 0, []
    for height in heights:
        found.append((1 - (at + height) / total, 1 - at / total))
        at += height + gap
    return found


def axes(panel: int) -> tuple[str, str]:
    """What traces call the axes of a panel, counted from 0."""
    return (f"x{panel + 1}", f"y{panel + 1}") if panel else ("x", "y")


def nothing(why: str, height: int = 160) -> go.Figure:
    """A figure that says why there is none: never an old picture under new labels."""
    note = {"text": inert(why), "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    return dressed("", height, [], file="none", alt=printable(why), annotations=[note],
                   xaxis={"visible": False}, yaxis={"visible": False})


def parts_of(table: pd.DataFrame) -> list[str]:
    """The names of the parts in a table, in its column order, without those that are 0 in every row."""
    return [c.removeprefix(PART) for c in table.columns if c.startswith(PART) and any(table[c].tolist())]


def rows_of(table: pd.DataFrame, *columns: str) -> list[dict[str, Any]]:
    """The rows as dicts of Python's own numbers: of these columns, or of all."""
    names = columns or [str(name) for name in table.columns]
    values = zip(*(table[name].tolist() for name in columns or table.columns), strict=True)
    return [dict(zip(names, row, strict=True)) for row in values]


def how_made(table: pd.DataFrame) -> list[str]:
    """Per row, how its numbers were made, for the hover text."""
    return ["counted exactly" if exact else "an expectation, not a count" for exact in table["exact"]]


def powers_of_two(values: Sequence[int]) -> list[int]:
    """At most ten ticks that cover the values, each a power of two: 1 MiB, 32 MiB, 1 GiB."""
    if not values:
        return []
    low, high = min(values).bit_length() - 1, max(values).bit_length()
    step = next(step for step in (1, 2, 5, 10, 20) if (high - low) // step < 10)
    return [1 << shift for shift in range(low - low % step, high + 1, step)]
