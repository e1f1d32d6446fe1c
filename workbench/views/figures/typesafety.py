"""Figures of type safety: which mistakes each design catches, and how call sites were converted over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.views.figures._base import COLOURS, DASHES, GREY, MARKERS, dressed, inert, rows_of, wrapped

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

#: verdict -> letter, colour; the letter carries the meaning, the colour helps.
VERDICTS = {
    "compile error": ("C", "#009E73"),
    "runtime error": ("R", "#E69F00"),
    "silent": ("S", "#D55E00"),
    "not applicable": ("-", "#D6D6D6"),
}
_UNKNOWN = ("?", "#FFFFFF")


def mistake_matrix(table: pd.DataFrame, *, note: str = "") -> go.Figure:
    """Mistakes by designs: C compile error, R run-time error, S silent; * where call sites differ.

    ``table`` has a row for each mistake and design: ``mistake``, ``design``, ``verdict`` (the weakest over
    the call sites), ``mixed``, ``diagnostic``.
    """
    designs, mistakes = (list(dict.fromkeys(table[column])) for column in ("design", "mistake"))
    order = list(VERDICTS)
    steps = len(order) + 1
    colours = [colour for _, colour in (*VERDICTS.values(), _UNKNOWN)]
    at = {(row["mistake"], row["design"]): row for row in rows_of(table)}
    z, text, hover = [], [], []
    for mistake in mistakes:
        cells = [at.get((mistake, design)) for design in designs]
        known = [order.index(c["verdict"]) if c and c["verdict"] in VERDICTS else len(order) for c in cells]
        z.append(known)
        letters = [(list(VERDICTS.values())[k] if k < len(order) else _UNKNOWN)[0] for k in known]
        text.append(
            [f"<b>{a}{'*' if c and c['mixed'] else ''}</b>" for a, c in zip(letters, cells, strict=True)]
        )
        hover.append([inert(f"{c['verdict']}: {c['diagnostic']}")[:300] if c else "" for c in cells])
    heat = {
        "type": "heatmap",
        "x": [inert(d) for d in designs],
        "y": [inert(m) for m in mistakes],
        "z": z,
        "zmin": -0.5,
        "zmax": steps - 0.5,
        "showscale": False,
        "colorscale": [[(k + edge) / steps, colour] for k, colour in enumerate(colours) for edge in (0, 1)],
        "text": text,
        "texttemplate": "%{text}",
        "textfont": {"color": "#1c1c1c", "size": 14},
        "customdata": hover,
        "hovertemplate": "<b>%{y}, %{x}</b><br>%{customdata}<br>compiled, and run where it compiles"
        "<extra></extra>",
        "xgap": 2,
        "ygap": 2,
    }
    key = "C compile error, R run-time error, S silent, - no mistake there, * call sites differ: the weakest"
    return dressed(
        "What each design makes of a mistake",
        150 + 30 * len(mistakes),
        [heat],
        file="mistake-matrix",
        alt="Matrix of mistakes by designs with letters",
        below="<br>".join(filter(None, (wrapped(key), wrapped(note)))),
        margin={"l": 8, "r": 16, "t": 62, "b": 8},
        xaxis={"side": "bottom", "showgrid": False, "tickangle": -30},
        yaxis={"autorange": "reversed", "showgrid": False},
    )


def callsites_over_releases(table: pd.DataFrame, *, note: str = "") -> go.Figure:
    """Call sites of each family of APIs, release by release; ``table`` has release, quantity, count."""
    data: list[dict[str, Any]] = []
    for place, (name, rows) in enumerate(table.groupby("quantity", sort=False)):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers+text",
                "name": inert(name),
                "x": [inert(v) for v in rows["release"]],
                "y": [int(v) for v in rows["count"]],
                "text": [int(v) for v in rows["count"]],
                "textposition": "top center",
                "textfont": {"size": 10, "color": GREY},
                "line": {"color": COLOURS[place % 8], "dash": DASHES[place % 5]},
                "marker": {"symbol": MARKERS[place % 8], "size": 8},
                "hovertemplate": f"<b>{inert(name)}</b>, Linux %{{x}}<br>%{{y:,}} calls, "
                "counted in the sources<extra></extra>",
            }
        )
    return dressed(
        "Call sites over releases",
        460,
        data,
        file="callsites-over-releases",
        alt="Lines: call sites by release",
        below=wrapped(note),
        margin={"l": 8, "r": 16, "t": 62, "b": 8},
        xaxis={"type": "category", "title": {"text": "Linux release"}},
        yaxis={"title": {"text": "call sites"}, "rangemode": "tozero"},
    )
