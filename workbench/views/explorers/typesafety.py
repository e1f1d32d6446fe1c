"""Mistakes at call sites, compiled against each design: the matrix, and what is behind a cell of it."""

from __future__ import annotations

import functools
import html
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets as w

from workbench.evidence.typesafety import _compilers as compilers
from workbench.evidence.typesafety import matrix
from workbench.views import figures
from workbench.views.explorers._base import PRE, WRAP, Explorer, control, sources_of
from workbench.views.figures import inert
from workbench.views.figures.typesafety import VERDICTS

if TYPE_CHECKING:
    import pandas as pd


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

    views: ClassVar = {"matrix": "figure", "sites": "text"}
    presets: ClassVar = {
        "a pin dropped with put_page(): typed, gcc stops": {},
        "the same today: silent": {"design": "foll_pin"},
        "a page kept in an XArray: the tag bit is lost": {"mistake": "xarray_store", "design": "proxy_bit"},
    }
    share_axes: ClassVar = {"mistake": ..., "design": ..., "ms_extensions": ...}

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
        super().__init__(**values)

    def _draw(self, changed: str | None) -> None:
        import pandas as pd

        found = cells(self._value("ms_extensions"))
        self.tables = {"matrix": summary(found), "cells": pd.DataFrame(found)}
        self.show("matrix", figures.mistake_matrix(self.tables["matrix"], note=found[0]["compiler"]))
        mistake, design = self._value("mistake"), self._value("design")
        self.say("sites", opened([r for r in found if (r["mistake"], r["design"]) == (mistake, design)]))

    def title(self) -> str:
        return "What a compiler says of a mistake at a call site"

    def setup(self) -> dict[str, str]:
        return {**super().setup(), "compiler": self.tables["cells"]["compiler"].iloc[0]}

    def command(self) -> str:
        """``workbench typesafety`` for the chosen mistake and design."""
        words = ["workbench", "typesafety", "--design", self._value("design"),
                 "--mistake", self._value("mistake")]
        return shlex.join(words + ([] if self._value("ms_extensions") else ["--no-ms-extensions"]))

    def result(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """The call sites of the chosen mistake and design."""
        table = self.tables["cells"]
        chosen = (table["mistake"] == self._value("mistake")) & (table["design"] == self._value("design"))
        return table[chosen], {"pattern": "call site", "verdict": "verdict", "diagnostic": "diagnostic"}

    def sources(self) -> list[str]:
        return [f"compiled by {self.tables['cells']['compiler'].iloc[0]}",
                *sources_of([self._value("design").split("_typed")[0]])]

    def _layout(self) -> w.Widget:
        bar = w.Box([*self.controls.values()], layout=WRAP)
        return w.VBox([bar, self.error, *self.view_widgets()])


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
            f'<pre style="{PRE}">{source}</pre></details>'
        )
    return f'<div style="line-height:1.6">{"".join(parts) or "No call site can have this mistake."}</div>'


def compiled_by() -> str:
    """The compilers that are here, by name and version."""
    return "; ".join(f"{name}: {version}" for name, version in compilers.versions().items())
