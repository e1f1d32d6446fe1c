"""Figures of two designs head to head: over two axes, which one takes less, and by what factor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.model.units import size
from workbench.views.figures._base import COLOURS, dressed, inert, rows_of, style_of, wrapped

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_CODES = ("a", "b", "same", "undecided", "not comparable")
_LETTERS = {"a": "A", "b": "B", "same": "=", "undecided": "?", "not comparable": "–"}
_INK = "#1c1c1c"


def pair_colours(a: str, b: str) -> tuple[str, str]:
    """The two designs' colours; where they share one, the first two of the palette.

    Examples
    --------
    >>> len(set(pair_colours("dynamic_page:flag", "dynamic_page:range")))
    2
    """
    found = (style_of(a)["color"], style_of(b)["color"])
    return found if found[0] != found[1] else (COLOURS[0], COLOURS[1])


def _tint(colour: str) -> str:
    """A colour light enough for dark letters."""
    parts = [round(255 - 0.45 * (255 - int(colour[at : at + 2], 16))) for at in (1, 3, 5)]
    return f"rgb({','.join(map(str, parts))})"


def _who_wins(table: pd.DataFrame, a: str, b: str, *, x: Sequence[str], y: Sequence[str],
              hover: Sequence[str], at: tuple[int, int] | None, words: str, note: str, title: str, file: str,
              x_title: str, y_title: str) -> go.Figure:
    """A cell for each row of ``table`` (factor, better), row by row of the map."""
    rows = rows_of(table)
    nr = len(x)
    colours = [*map(_tint, pair_colours(a, b)), "#E4E4E4", "#F4F4F4", "#CFCFCF"]
    text = []
    for row in rows:
        factor = float(row["factor"])
        shown = "" if math.isnan(factor) or row["better"] not in "ab" else f" {factor:.3g}\u00d7"
        text.append(f"{_LETTERS[row['better']]}{shown}")
    cut = range(0, len(rows), nr)
    heat = {
        "type": "heatmap", "showscale": False, "xgap": 2, "ygap": 2, "zmin": -0.5, "zmax": 4.5,
        "x": list(range(nr)), "y": list(range(len(y))),
        "z": [[_CODES.index(row["better"]) for row in rows[i : i + nr]] for i in cut],
        "colorscale": [[(k + edge) / 5, colour] for k, colour in enumerate(colours) for edge in (0, 1)],
        "text": [text[i : i + nr] for i in cut], "texttemplate": "%{text}",
        "textfont": {"color": _INK, "size": 12},
        "customdata": [list(hover[i : i + nr]) for i in cut],
        "hovertemplate": "%{customdata}<extra></extra>"}
    shapes = [] if at is None else [
        {"type": "rect", "x0": at[0] - 0.48, "x1": at[0] + 0.48, "y0": at[1] - 0.46, "y1": at[1] + 0.46,
         "line": {"color": _INK, "width": 3}}]
    keys = [f"A {inert(a)} {words}, B {inert(b)} {words}"]
    keys += [f"{_LETTERS[code]} {said}" for code, said in (
        ("same", "the same"), ("undecided", "passes do not tell them apart"), ("not comparable", "no answer"))
        if any(row["better"] == code for row in rows)]
    keys += ["frame: the controls"] if at is not None else []
    below = "<br>".join(filter(None, ("; ".join(keys), wrapped(note))))
    axis = {"tickmode": "array", "showgrid": False, "zeroline": False}
    return dressed(
        title, 150 + 34 * len(y), [heat], file=file, alt=f"Map of who {words}: {a} or {b}", below=below,
        shapes=shapes, margin={"l": 8, "r": 16, "t": 64, "b": 8},
        xaxis={**axis, "title": {"text": x_title}, "tickvals": list(range(nr)), "ticktext": list(x)},
        yaxis={**axis, "title": {"text": y_title}, "tickvals": list(range(len(y))), "ticktext": list(y)})


def bytes_map(table: pd.DataFrame, a: str, b: str, at: tuple[float, int] | None = None, *,
              note: str = "") -> go.Figure:
    """Which design takes fewer bytes, by pinned share and length of runs; ``at`` is (percent, run_pages).

    ``table`` is as ``scenario.bytes_map()`` gives it.
    """
    shares, runs = (list(dict.fromkeys(table[column])) for column in ("percent", "run_pages"))
    hover = []
    for row in rows_of(table):
        place = f"{row['nr_pinned']:,} pages pinned, runs of {row['run_pages']:,}"
        if row["better"] == "not comparable":
            hover.append(f"{place}<br>no answer: less than one run, or runs that do not fit")
            continue
        amounts = [f"{inert(name)}: {int(row[key]):,} bytes beyond the static memmap, "
                   f"{size(int(row[key]))}" for name, key in ((a, "bytes_a"), (b, "bytes_b"))]
        hover.append("<br>".join([place, *amounts, row["made"]]))
    near = None if at is None or not at[0] else (shares.index(nearest(shares, at[0])),
                                                runs.index(nearest(runs, at[1])))
    return _who_wins(
        table, a, b, x=[f"{share:f}".rstrip("0").rstrip(".") for share in shares],
        y=[f"{run:,}" for run in runs], hover=hover, at=near, words="takes fewer bytes", note=note,
        title="Who takes fewer bytes", file="who-wins-bytes", x_title="pinned pages, % of RAM",
        y_title="pages in a run")


def ns_map(table: pd.DataFrame, a: str, b: str, at: tuple[float, int] | None = None, *,
           note: str = "") -> go.Figure:
    """Which design's calls are faster, by dynamic share and descriptors; ``at`` is (share, descriptors).

    ``table`` is as ``scenario.ns_map()`` gives it.
    """
    shares, numbers = (list(dict.fromkeys(table[column])) for column in ("share", "nr_descriptors"))
    hover = []
    for row in rows_of(table):
        amounts = [f"{inert(name)}: {row['ns_' + k]:.3g} ns, passes {row['low_' + k]:.3g} to "
                   f"{row['high_' + k]:.3g}" for name, k in ((a, "a"), (b, "b"))]
        place = f"{100 * row['share']:g} % dynamic, {row['nr_descriptors']:,} descriptors"
        hover.append("<br>".join([place, *amounts, "measured"]))
    near = None if at is None else (shares.index(nearest(shares, at[0])),
                                   numbers.index(nearest(numbers, at[1])))
    return _who_wins(
        table, a, b, x=[f"{100 * share:g}" for share in shares], y=[f"{nr:,}" for nr in numbers], hover=hover,
        at=near, words="is faster", note=note, title="Whose calls are faster", file="who-wins-ns",
        x_title="calls that meet a dynamic page, %", y_title="descriptors")


def nearest(values: Sequence[float], wanted: float) -> float:
    """The value nearest to one, in its logarithm; to 0 the smallest.

    Examples
    --------
    >>> nearest([0, 0.1, 10], 0.5), nearest([0, 0.1, 10], 0), nearest([1, 8], 3)
    (0.1, 0, 8)
    """
    if not wanted:
        return min(values)
    return min((value for value in values if value), key=lambda value: abs(math.log(value / wanted)))
