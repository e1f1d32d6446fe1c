"""What page_to_pfn() and pfn_to_page() cost, by how many calls are dynamic and how clustered."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np
import pandas as pd

from workbench import designs, figures
from workbench.errors import InputError
from workbench.figures import inert
from workbench.lookups.costs import CostTable, shipped
from workbench.scenario import SLOW_DESIGNS, model_checks, path_costs, share_curve
from workbench.widgets.base import Explorer, PlotHost, Several, control

if TYPE_CHECKING:
    import plotly.graph_objects as go

DESIGNS = ("static", *SLOW_DESIGNS)
NUMBERS = tuple(round(10**exponent) for exponent in (2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5))
PERCENT = (0, 0.1, 0.3, 1, 2, 3, 5, *range(10, 100, 5), 97, 99, 100)
CURVES = ("chase", "flag_test", "xarray", "xarray_lean", "maple", "rhashtable")


@functools.lru_cache(maxsize=16)
def _table(name: str, stamp: int) -> CostTable:
    return CostTable.load(name)


def own_tables() -> list[str]:
    """The shipped tables that have whole conversions; reference tables have single steps only."""
    return [name for name in shipped() if not CostTable.load(name).reference]


class PathsExplorer(Explorer):
    """ns of a call against the share of dynamic calls; what each path costs; latency; the cost model.

    Keyword arguments are the names of ``controls``; ``table`` is a shipped cost table's name or a file that
    ``python -m workbench.lookups --full -o FILE`` wrote.
    """

    def __init__(self, **values: Any):
        self.preset = control(
            w.Dropdown, "cost table", options=["", *own_tables()], tooltip="A shipped table"
        )
        self._boxes = {
            name: w.Checkbox(description=name, indent=False, tooltip=designs.get(name).summary,
                             layout={"width": "auto", "margin": "0 14px 0 0"})
            for name in DESIGNS
        }  # fmt: skip
        self.controls = {
            "table": control(w.Text, "or your own", continuous_update=False, placeholder="FILE.json",
                             tooltip="python -m workbench.lookups --full -o FILE.json"),
            "designs": Several(self._boxes),
            "page_to_pfn": control(w.SelectionSlider, "page_to_pfn, %", options=tuple(range(0, 101, 5)),
                                   tooltip="Share of the calls; the others are pfn_to_page"),
            "dynamic": control(w.SelectionSlider, "dynamic, %", options=PERCENT,
                               tooltip="Calls that meet a dynamic page"),
            "run": control(w.Dropdown, "clustering",
                           options=[("each call by itself", 1), ("64 calls in a row go the same way", 64)]),
            "nr_descriptors": control(w.SelectionSlider, "descriptors", tooltip="Dynamic pages or proxies",
                                      options=[(f"{nr:,}", nr) for nr in NUMBERS]),
        }  # fmt: skip
        self.controls["table"].value = next(iter(own_tables()), "")
        self.controls["designs"].value = DESIGNS
        self.controls["page_to_pfn"].value = 50
        self.controls["dynamic"].value = 1
        self.controls["nr_descriptors"].value = 100_000
        self.preset.observe(self._picked, "value")
        self.readout = w.HTML()
        self.hosts = {name: PlotHost() for name in ("share", "paths", "latency", "model")}
        self.figures: dict[str, go.Figure] = {}
        super().__init__(**values)

    def _picked(self, change: Any) -> None:
        if change["new"]:
            self.controls["table"].value = change["new"]
        elif not self._quiet:
            self._mark()

    def _mark(self) -> None:
        text = self.controls["table"].value.strip()
        self.preset.value = text if text in self.preset.options else ""

    def _value(self, name: str) -> Any:
        value = self.controls[name].value
        return list(value) if name == "designs" else value

    def _assign(self, name: str, value: Any) -> None:
        self.controls[name].value = tuple(value) if name == "designs" else value

    def table(self) -> CostTable:
        """The cost table that the controls name."""
        name = self._value("table").strip()
        path = Path(name).expanduser()
        known = name in shipped() or not path.is_file()
        return _table(name, 0) if known else _table(str(path), path.stat().st_mtime_ns)

    def _draw(self, changed: str | None) -> None:
        self._mark()
        table, chosen = self.table(), self._value("designs")
        if not chosen:
            raise InputError("no design is chosen: tick at least one")
        nr, run, at = self._value("nr_descriptors"), self._value("run"), self._value("dynamic") / 100
        mix = self._value("page_to_pfn") / 100
        curve, crossings = share_curve(table, chosen, nr_descriptors=nr, run=run, page_to_pfn=mix)
        note = whose(table)
        self.readout.value = _readout(curve, at, note)
        self._show("share", figures.share_curve(curve, crossings, at, note=note))
        if changed in (None, "table", "nr_descriptors") or len(self.figures) < len(self.hosts):
            self._show("paths", figures.path_costs(path_costs(table, nr), note=note))
        if changed in (None, "table") or len(self.figures) < len(self.hosts):
            self._show("latency", figures.latency(latency_rows(table), table.caches, note=note))
            self._show("model", figures.model_checks(model_checks(table), note=note))

    def _show(self, name: str, figure: go.Figure) -> None:
        figure.layout.meta = {**figure.layout.meta, "state": self.state()}
        self.figures[name] = figure
        self.hosts[name].show(figure)

    def _blank(self, why: str) -> None:
        self.figures = {}
        for host in self.hosts.values():
            host.show(figures.nothing(why))
        self.readout.value = ""

    def _layout(self) -> w.Widget:
        c, half, wrap = self.controls, {"flex": "1 1 420px", "min_width": "320px"}, {"flex_flow": "row wrap"}
        left = w.VBox([self.preset, c["table"], c["run"]], layout=half)
        right = w.VBox([c["dynamic"], c["page_to_pfn"], c["nr_descriptors"]], layout=half)
        label = w.Label("designs", layout={"flex": "0 0 128px", "margin": "2px 8px 2px 2px",
                                           "justify_content": "flex-end"})  # fmt: skip
        chosen = w.HBox([label, w.Box([*self._boxes.values(), self.reset_button], layout=wrap)])
        return w.VBox(
            [w.Box([left, right], layout=wrap), chosen, self.error, self.readout, *self.hosts.values()]
        )

    def snapshot(self) -> list[Any]:
        from IPython.display import HTML

        return [HTML(self.readout.value), *self.figures.values()]


def whose(table: CostTable) -> str:
    """Whose times these are, for a figure: CPU, date, how."""
    how = "measured by others, the kernel's own code" if table.reference else "dependent loops, random keys"
    return f"{table.machine}, {table.date[:10]}; {how}"


def latency_rows(table: CostTable) -> pd.DataFrame:
    """The dependent rows of loads and scattered maps, by working set."""
    rows = [
        row
        for row in table.usable(loop="dependent", order="random", hit=1.0, dynamic=0.0)
        if row.path in CURVES and not row.shape.startswith("dense") and row.working_set_bytes
    ]
    columns = ["path", "working_set_bytes", "ns_min", "ns_median", "ns_max"]
    return pd.DataFrame([[getattr(row, c) for c in columns] for row in rows], columns=columns)


def _readout(curve: pd.DataFrame, at: float, note: str) -> str:
    lines = dict(iter(curve.groupby("design", sort=False)))
    found = {name: np.interp(at, rows["share"], rows["ns"]) for name, rows in lines.items()}
    items = ", ".join(f"{inert(name)} {ns:.3g} ns" for name, ns in found.items())
    beyond = " Some sizes lie beyond the measured ones." if curve["extrapolated"].any() else ""
    text = f"At {100 * at:g} % dynamic calls: {items}. {inert(note)}.{beyond}"
    return f'<div style="line-height:1.5;margin:4px 0 4px 12px">{text}</div>'
