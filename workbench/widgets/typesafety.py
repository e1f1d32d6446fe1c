"""Mistakes at call sites, compiled against each design: the matrix, and what is behind a cell of it."""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from workbench import figures
from workbench.figures import inert
from workbench.figures.typesafety import VERDICTS
from workbench.typesafety import compilers, matrix
from workbench.widgets.base import Explorer, PlotHost, control

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@functools.lru_cache(maxsize=4)
def cells(ms_extensions: bool = True) -> list[dict[str, Any]]:
    """Every mistake at every call site, by libclang: compiled once for each set of flags."""
    return matrix.rows(ms_extensions=ms_extensions)


def summary(found: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """``matrix.summary`` as a table."""
    import pandas as pd

    return pd.DataFrame(matrix.summary(found))


class MistakesExplorer(Explorer):
    """A mistake and a design: every call site that can have it, its source, the compiler's own words."""

    def __init__(self, **values: Any):
        found = cells()
        names = {key: list(dict.fromkeys(row[key] for row in found)) for key in ("mistake", "design")}
        self.controls = {
            "mistake": control(w.Dropdown, "mistake", options=names["mistake"]),
            "design": control(w.Dropdown, "design", options=names["design"]),
            "ms_extensions": control(w.Checkbox, "-fms-extensions", indent=False,
                                     tooltip="Off as in 6.12, on as in 7.3"),
        }  # fmt: skip
        self.controls["design"].value = "dynamic_page_typed"
        self.controls["ms_extensions"].value = True
        self.host, self.html = PlotHost(), w.HTML()
        self.figure: go.Figure
        super().__init__(**values)

    def _draw(self, changed: str | None) -> None:
        found = cells(self._value("ms_extensions"))
        self.figure = figures.mistake_matrix(summary(found), note=found[0]["compiler"])
        self.figure.layout.meta = {**self.figure.layout.meta, "state": self.state()}
        self.host.show(self.figure)
        mistake, design = self._value("mistake"), self._value("design")
        self.html.value = opened([r for r in found if (r["mistake"], r["design"]) == (mistake, design)])

    def _blank(self, why: str) -> None:
        self.figure = figures.nothing(why)
        self.host.show(self.figure)
        self.html.value = ""

    def _layout(self) -> w.Widget:
        return w.VBox([w.Box([*self.controls.values(), self.reset_button], layout={"flex_flow": "row wrap"}),
                       self.error, self.host, self.html])  # fmt: skip

    def snapshot(self) -> list[Any]:
        from IPython.display import HTML

        return [self.figure, HTML(self.html.value)]


def opened(found: Sequence[dict[str, Any]]) -> str:
    """Call sites as HTML: the verdict, the words of compiler or run, and the source, which opens."""
    order = list(VERDICTS)
    ranked = sorted(found, key=lambda r: -order.index(r["verdict"]) if r["verdict"] in order else 0)
    parts = []
    for row in ranked:
        letter = VERDICTS.get(row["verdict"], ("?", ""))[0]
        words = html.escape(str(row["diagnostic"]))
        source = html.escape(str(row["source"]))
        parts.append(
            f"<details><summary><b>{letter}</b> {inert(row['pattern'])}: {inert(row['verdict'])}. {words}"
            "</summary>"
            f'<pre style="line-height:1.35">{source}</pre></details>'
        )
    return f'<div style="line-height:1.6">{"".join(parts) or "No call site can have this mistake."}</div>'


def compiled_by() -> str:
    """The compilers that are here, by name and version."""
    return "; ".join(f"{name}: {version}" for name, version in compilers.versions().items())
