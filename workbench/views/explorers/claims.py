"""Published figures, recomputed, as a table that opens."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets as w

from workbench.views.explorers._base import Explorer, control
from workbench.views.figures import inert

if TYPE_CHECKING:
    import pandas as pd


class ClaimsExplorer(Explorer):
    """Published figures, recomputed: sorted and filtered, each row opening its computation."""

    views: ClassVar = {"claims": "text"}
    presets: ClassVar = {"what does not hold": {"verdict": "differs"},
                         "what cannot be counted": {"verdict": "measured elsewhere"}}
    share_axes: ClassVar = {"verdict": ..., "sort": ...}
    SORTS: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "id": lambda row: row.id, "verdict": lambda row: (row.verdict, row.id),
        "unit": lambda row: (row.unit, row.id), "quantity": lambda row: (row.quantity, row.id),
    }

    def __init__(self, **values: Any):
        from workbench.studies import claims

        self.rows = claims.recompute()
        verdicts = sorted({row.verdict for row in self.rows})
        self.controls = {
            "verdict": control(w.Dropdown, "verdict", options=["all", *verdicts]),
            "sort": control(w.Dropdown, "sorted by", options=list(self.SORTS)),
        }
        super().__init__(**values)

    def _draw(self, changed: str | None) -> None:
        import pandas as pd

        wanted, key = self._value("verdict"), self.SORTS[self._value("sort")]
        rows = sorted((row for row in self.rows if wanted in ("all", row.verdict)), key=key)
        self.say("claims", claims_table(rows))
        self.tables = {"claims": pd.DataFrame([row.to_dict() for row in rows])}

    def title(self) -> str:
        return "Published figures, recomputed"

    def command(self) -> str:
        """``workbench claims``, of those that are shown."""
        ids = [] if self._value("verdict") == "all" else sorted(self.tables["claims"]["id"])
        return shlex.join(["workbench", "claims", *ids])

    def result(self) -> tuple[pd.DataFrame, dict[str, str]]:
        return self.tables["claims"], {name: name for name in ("id", "stated", "computed", "unit", "verdict")}

    def sources(self) -> list[str]:
        """The claims' own, each once."""
        return list(dict.fromkeys(self.tables["claims"]["source"]))

    def _layout(self) -> w.Widget:
        bar = w.Box([self.controls["verdict"], self.controls["sort"]])
        return w.VBox([bar, self.error, *self.view_widgets()])


def claims_table(rows: Sequence[Any]) -> str:
    """Claims as an HTML table; each row opens its inputs, the quantity that recomputes it, its source."""
    mark = {"agrees": "\u2713 agrees", "differs": "\u2260 differs"}
    left, wide = "text-align:left;vertical-align:top", "text-align:left;vertical-align:top;min-width:260px"
    body = []
    for row in rows:
        computed = "" if row.computed is None else f"{row.computed:,.6g}"
        inputs = ", ".join(f"{name} = {value}" for name, value in row.inputs.items())
        more = [("recomputed by", row.quantity or "nothing"), ("from", inputs), ("source", row.source)]
        opened = "".join(f"<div><i>{inert(name)}</i>: {inert(value)}</div>" for name, value in more)
        statement = f"<details><summary>{inert(row.statement)}</summary>{opened}</details>"
        cells = [(left, inert(row.id)), (wide, statement), ("vertical-align:top", f"{row.stated:,.6g}"),
                 ("vertical-align:top", computed), (left, inert(row.unit)),
                 (f"{left};white-space:nowrap", inert(mark.get(row.verdict, row.verdict))),
                 (wide, inert(row.why))]
        body.append("".join(f'<td style="padding:4px 8px;{style}">{cell}</td>' for style, cell in cells))
    head = "".join(f'<th style="text-align:left;padding:4px 8px">{name}</th>' for name in
                   ("id", "statement (opens)", "stated", "computed", "unit", "verdict", "why"))
    return ('<div style="overflow-x:auto;line-height:1.35"><table style="font-variant-numeric:tabular-nums">'
            f"<thead><tr>{head}</tr></thead><tbody><tr>{'</tr><tr>'.join(body)}</tr></tbody></table></div>")
