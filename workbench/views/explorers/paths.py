"""What page_to_pfn() and pfn_to_page() cost, by how many calls are dynamic and how clustered."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets as w
import numpy as np
import pandas as pd

from workbench.evidence.lookups.costs import CostTable, shipped
from workbench.model.errors import InputError
from workbench.studies.times import SLOW_DESIGNS, model_checks, path_costs, share_curve
from workbench.views import figures
from workbench.views.explorers._base import (
    HALF,
    WRAP,
    Explorer,
    Listed,
    control,
    design_row,
    sources_of,
    tick_boxes,
)
from workbench.views.figures import inert

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
    ``workbench measure --full -o FILE`` wrote.
    """

    views: ClassVar = {"readout": "text", "share": "figure", "paths": "figure", "latency": "figure",
                       "model": "figure"}  # fmt: skip
    presets: ClassVar = {
        "hardly any dynamic page": {"dynamic": 0.1},
        "half of the calls are dynamic, one by one: the branch is a coin": {"dynamic": 50},
        "half are dynamic, in rows of 64: the branch is predicted": {"dynamic": 50, "run": 64},
        "a million descriptors, all dynamic": {"dynamic": 100, "nr_descriptors": 1_000_000},
    }
    share_axes: ClassVar = {"dynamic": ..., "page_to_pfn": (0, 50, 100), "run": ...,
                            "nr_descriptors": (1_000, 10_000, 100_000, 1_000_000)}  # fmt: skip

    def __init__(self, **values: Any):
        self.controls = {
            "table": control(w.Text, "or your own", continuous_update=False, placeholder="FILE.json",
                             tooltip="workbench measure --full -o FILE.json"),
            "designs": tick_boxes(DESIGNS),
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
        self.preset = Listed(own_tables(), self.controls["table"], description="cost table",
                             tooltip="A shipped table")
        super().__init__(**values)

    def table(self) -> CostTable:
        """The cost table that the controls name."""
        name = self._value("table").strip()
        path = Path(name).expanduser()
        known = name in shipped() or not path.is_file()
        return _table(name, 0) if known else _table(str(path), path.stat().st_mtime_ns)

    def _draw(self, changed: str | None) -> None:
        table, chosen = self.table(), self._value("designs")
        if not chosen:
            raise InputError("no design is chosen: tick at least one")
        nr, run, at = self._value("nr_descriptors"), self._value("run"), self._value("dynamic") / 100
        mix = self._value("page_to_pfn") / 100
        curve, crossings = share_curve(table, chosen, nr_descriptors=nr, run=run, page_to_pfn=mix)
        note = whose(table)
        self.say("readout", _readout(curve, at, note))
        self.show("share", figures.share_curve(curve, crossings, at, note=note))
        self.tables |= {"share of dynamic calls": curve, "crossings": crossings}
        if changed in (None, "table", "nr_descriptors"):
            self.tables["paths"] = costs = path_costs(table, nr)
            self.show("paths", figures.path_costs(costs, note=note))
        if changed in (None, "table"):
            self.tables |= {"latency": latency_rows(table), "cost model": model_checks(table)}
            self.show("latency", figures.latency(self.tables["latency"], table.caches, note=note))
            self.show("model", figures.model_checks(self.tables["cost model"], note=note))

    def title(self) -> str:
        return "What page_to_pfn() and pfn_to_page() cost"

    def setup(self) -> dict[str, str]:
        said = {**super().setup(), "measured on": whose(self.table())}
        return {"cost table": said.pop(self.controls["table"].description), **said}

    def result(self) -> tuple[pd.DataFrame, None]:
        """ns of a call at the chosen share of dynamic calls, per design."""
        curve, at = self.tables["share of dynamic calls"], self._value("dynamic") / 100
        rows = [(design, round(float(np.interp(at, line["share"], line["ns"])), 3))
                for design, line in curve.groupby("design", sort=False)]
        return pd.DataFrame(rows, columns=["design", "ns a call"]), None

    def notes(self) -> list[str]:
        beyond = self.tables["share of dynamic calls"]["extrapolated"].any()
        return ["Some sizes lie beyond the measured ones."] if beyond else []

    def sources(self) -> list[str]:
        return [f"cost table {self._value('table').strip()}: {whose(self.table())}",
                *sources_of(self._value("designs"))]

    def _layout(self) -> w.Widget:
        c = self.controls
        left = w.VBox([self.preset.widget, c["table"], c["run"]], layout=HALF)
        right = w.VBox([c["dynamic"], c["page_to_pfn"], c["nr_descriptors"]], layout=HALF)
        return w.VBox([w.Box([left, right], layout=WRAP), design_row(c["designs"]),
                       self.error, *self.view_widgets()])  # fmt: skip


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
