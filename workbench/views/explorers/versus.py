"""Two designs head to head: a scoreboard, memory against pins, ns against dynamic calls, who wins where."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets as w

from workbench.evidence.lookups.costs import CostTable, shipped
from workbench.model import designs, pfnmaps
from workbench.model.errors import InputError
from workbench.model.scenario import Scenario, machine_of
from workbench.model.scenario.footprints import nr_pages_of
from workbench.studies.calls import call_ns, measured_numbers
from workbench.studies.versus import (
    Criterion,
    bytes_map,
    kernel_rows,
    leads_to_static,
    memory_rows,
    ns_curves,
    ns_map,
    path_rows,
    time_rows,
    type_rows,
)
from workbench.views import figures
from workbench.views.explorers._base import HALF, WRAP, Explorer, Listed, control, machine_source, sources_of
from workbench.views.explorers.overhead import SHARES, SPECS, _captures, _share, pinned_curve
from workbench.views.explorers.paths import PERCENT, own_tables, whose
from workbench.views.figures import inert

if TYPE_CHECKING:
    import pandas as pd

    from workbench.model.memory.machine import Machine

#: What each outcome reads as: a mark that does not need its colour, and what a screen reader says.
MARKS = {"a": "\u25c0 {a}", "b": "{b} \u25b6", "same": "= same", "undecided": "? undecided",
         "not comparable": "\u2013 not comparable"}
#: Of those controls the memory of both designs depends; of others it does not.
_OF_MEMORY = {"a", "b", "machine", "run_pages", "folio_order", "pfn_map", "proxy_bytes"}
_OF_TIME = {"a", "b", "table", "page_to_pfn", "calls"}
_MailRow = tuple[str, str, str, str]  # criterion, value of A, value of B, which is better
#: The scoreboard's order.
_GROUPS = ("memory", "time", "paths", "pins", "flag bits", "type safety", "conversion", "limits")


class VersusExplorer(Explorer):
    """Any two designs, criterion by criterion, and where each takes fewer bytes or less time.

    Keyword arguments are the names of ``controls``. ``nr_pinned`` sets the number of descriptors for the
    times too, as far as the cost table has measured so many.
    """

    views: ClassVar = {"memory": "figure", "bytes_map": "figure", "ns": "figure", "ns_map": "figure",
                       "score": "text"}
    share_axes: ClassVar = {"nr_pinned": ("0.01%", "0.05%", "0.1%", "1%", "10%"), "dynamic": (0, 1, 10, 50),
                            "proxy_bytes": (32, 64, 128), "run_pages": (1, 512), "folio_order": (0, 9)}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "proxy bit and dynamic_page, 1 TiB": {
            "a": "proxy_bit", "b": "dynamic_page", "machine": "ram=1TiB", "nr_pinned": "0.05%"},
        "pins in large folios, 64 TiB": {
            "a": "proxy_bit", "b": "dynamic_page:range", "machine": "ram=64TiB,nodes=8", "nr_pinned": "1%",
            "run_pages": 512, "folio_order": 9},
        "a proxy that can be found, in another map": {
            "a": "proxy_bit:indexed", "b": "dynamic_page:range", "machine": "ram=1TiB", "nr_pinned": "0.1%",
            "pfn_map": "maple"},
        "what mainline does instead": {
            "a": "foll_pin", "b": "dynamic_page", "machine": "microvm-24g-6.18", "nr_pinned": "1%"},
    }

    def __init__(self, **values: Any):
        names = list(designs.registry())
        pages = [f"{1 << shift:,} page{'s' if shift else ''}" for shift in range(19)]
        self.controls = {
            "a": control(w.Dropdown, "design A", options=names),
            "b": control(w.Dropdown, "design B", options=names),
            "machine": control(w.Text, "or any other", continuous_update=False,
                               tooltip="Path of a capture, or a spec such as ram=1TiB,nodes=2",
                               placeholder="capture, or ram=1TiB,nodes=2"),
            "nr_pinned": control(w.SelectionSlider, "pinned, % of RAM", options=SHARES),
            "run_pages": control(w.SelectionSlider, "in runs of",
                                 options=[(text, 1 << shift) for shift, text in enumerate(pages)],
                                 tooltip="Clustering: pinned pages come in naturally aligned runs"),
            "folio_order": control(w.SelectionSlider, "folio order",
                                   options=[(f"{order}: {text}", order) for order, text in enumerate(pages)]),
            "pfn_map": control(w.Dropdown, "pfn map", options=list(pfnmaps.registry())),
            "proxy_bytes": control(w.SelectionSlider, "proxy, bytes",
                                   options=(16, 24, 32, 48, 64, 80, 96, 128, 192, 256, 512, 1024),
                                   tooltip="sizeof(struct page_proxy): never stated, 64 is assumed"),
            "table": control(w.Text, "or your own", continuous_update=False, placeholder="FILE.json",
                             tooltip="workbench measure --full -o FILE.json"),
            "dynamic": control(w.SelectionSlider, "dynamic, %", options=PERCENT,
                               tooltip="Calls that meet a dynamic page"),
            "page_to_pfn": control(w.SelectionSlider, "page_to_pfn, %", options=tuple(range(0, 101, 5)),
                                   tooltip="Share of the calls; the others are pfn_to_page"),
            "calls": control(w.Dropdown, "dynamic calls",
                             options=[("each by itself", 1), ("64 in a row go the same way", 64)]),
        }
        start = {"a": "proxy_bit", "b": "dynamic_page", "machine": "ram=1TiB", "nr_pinned": "0.05%",
                 "pfn_map": "xarray", "proxy_bytes": 64, "table": next(iter(own_tables()), ""), "dynamic": 1,
                 "page_to_pfn": 50}
        for name, value in start.items():
            self.controls[name].value = value
        self.machines = Listed(["ram=1TiB", *SPECS, *_captures()], self.controls["machine"],
                               description="machine", tooltip="A shipped capture or a made-up machine")
        self.tables_list = Listed(own_tables(), self.controls["table"], description="cost table",
                                  tooltip="A shipped table")
        self._live: Machine | None = None
        self._rows: dict[str, list[Criterion]] = {}
        self._found: dict[str, Any] = {}
        super().__init__(**values)

    def _assign(self, name: str, value: Any) -> None:
        options = getattr(self.controls[name], "options", ())
        if name == "nr_pinned" and value not in options:
            self.controls[name].options = sorted({*options, str(value)}, key=_share)
        elif name == "proxy_bytes" and isinstance(value, int) and value >= 8 and value not in options:
            self.controls[name].options = sorted({*options, value})
        super()._assign(name, value)

    def scenario(self) -> Scenario:
        """What both designs are evaluated on; its own design is the first of them."""
        fields = {name: self._value(name) for name in ("machine", "nr_pinned", "run_pages", "folio_order",
                                                        "pfn_map", "proxy_bytes")}
        if fields["machine"] == "live":  # one reading serves all, until the machine is set anew
            self._live = self._live or machine_of(Scenario(machine="live"))
            fields["machine"] = self._live
        else:
            self._live = None
        return Scenario(**fields, design=self._value("a"))

    def _draw(self, changed: str | None) -> None:
        a, b, base = self._value("a"), self._value("b"), self.scenario()
        if a == b:
            raise InputError(f"design A and design B are both {a}: pick two")
        table = _cost_table(self._value("table").strip())
        share, mix = self._value("dynamic") / 100, self._value("page_to_pfn") / 100
        of_memory, of_time = changed is None or changed in _OF_MEMORY, changed is None or changed in _OF_TIME
        pinned = changed == "nr_pinned"
        if of_memory or pinned:
            self._draw_memory(a, b, base, anew=of_memory)
        if of_time or of_memory or pinned or changed == "dynamic":
            self._draw_times(a, b, base, table, share, mix, changed)
        ordered = (row for part in ("memory", "times", "paths", "kernel", "types")
                   for row in self._rows[part])
        self.tables["scoreboard"] = frame = _frame(sorted(ordered, key=lambda row: _GROUPS.index(row.group)))
        self.say("score", scoreboard(frame, a, b))

    def _draw_memory(self, a: str, b: str, base: Scenario, *, anew: bool) -> None:
        at = _share(self._value("nr_pinned"))
        if anew:
            plain = base.with_(nr_pinned=0)
            self._found["curve"] = _curve(tuple(plain.with_(design=name) for name in (a, b)))
            self._found["bytes"] = _bytes_map(a, b, plain.with_(design=a, run_pages=1))
            self._rows |= {"types": type_rows(a, b), "kernel": kernel_rows(a, b, base)}
        curve, even = self._found["curve"]
        table = self._found["bytes"]
        self.show("memory", figures.overhead_against_pinned(curve, even, at))
        assumed = (table["made"] == "assumed").any()
        frame = (figures.nearest(table["percent"], at) if at else 0.0,
                 int(figures.nearest(table["run_pages"], base.run_pages)))
        if self._moved("bytes_map", frame) or anew:
            note = f"{machine_of(base).name}, {base.pfn_map}, folios of order {base.folio_order}"
            note += f", proxies of {base.proxy_bytes} bytes assumed" if assumed else ""
            self.show("bytes_map", figures.bytes_map(table, a, b, frame, note=note))
        self._rows |= {"memory": memory_rows(a, b, base), "paths": path_rows(a, b, base)}
        self.tables |= {"against pinned": curve, "break even": even, "bytes map": table}

    def _moved(self, view: str, frame: Any) -> bool:
        """Whether a view has another frame than when it was last drawn."""
        before, self._found[f"frame of {view}"] = self._found.get(f"frame of {view}"), frame
        return before != frame

    def _draw_times(self, a: str, b: str, base: Scenario, table: CostTable, share: float, mix: float,
                    changed: str | None) -> None:
        run = self._value("calls")
        nr = max(1, nr_pages_of(base.nr_pinned, machine_of(base).nr_pages_ram) >> base.folio_order)
        self._rows["times"] = time_rows(a, b, table, base, share=share, page_to_pfn=mix, run=run)
        try:
            anew = changed is None or changed in _OF_TIME or "ns" not in self._found
            if anew:
                self._found["ns"] = ns_map(a, b, table, page_to_pfn=mix, run=run)
                self._found["curves"] = {}
            where = self._found["ns"]
            drawn = min(max(nr, int(where["nr_descriptors"].min())), int(where["nr_descriptors"].max()))
            curves = self._found["curves"]
            if drawn not in curves:
                curves[drawn] = ns_curves((a, b), table, nr_descriptors=drawn, page_to_pfn=mix, run=run)
        except InputError as error:
            self._found.pop("ns", None)
            for name in ("ns", "ns_map"):
                self.show(name, figures.nothing(f"No times: {error}"))
            for name in ("share of dynamic calls", "crossings", "ns map"):
                self.tables.pop(name, None)
            return
        curve, crossings = curves[drawn]
        note = f"{drawn:,} descriptors" + (f", the measured number nearest to {nr:,}" if drawn != nr else "")
        if any(designs.get(d).uses_pfn_map for d in (a, b)) and mix < 1 and base.pfn_map != "xarray":
            note += "; pfn_to_page() as measured, with an XArray"
        lost = [name for name in (a, b) if mix < 1 and leads_to_static(name, base)]
        said = f"; pfn_to_page() of {lost[0]} gives the static page" if len(lost) == 1 else ""
        if self._moved("ns", (share, note)) or anew:
            text = f"{whose(table)}; {note}{said}"
            self.show("ns", figures.share_curve(curve, crossings, share, note=text))
        frame = (figures.nearest(where["share"], share), int(figures.nearest(where["nr_descriptors"], nr)))
        if self._moved("ns_map", frame) or anew:
            self.show("ns_map", figures.ns_map(where, a, b, frame,
                                               note=f"{whose(table)}; one page in 16 dynamic{said}"))
        self.tables |= {"share of dynamic calls": curve, "crossings": crossings, "ns map": where}

    def title(self) -> str:
        return f"{self._value('a')} against {self._value('b')}"

    def setup(self) -> dict[str, str]:
        said = super().setup()
        machine, table = (said.pop(self.controls[name].description) for name in ("machine", "table"))
        return {"machine": machine, **said, "cost table": table,
                "measured on": whose(_cost_table(self._value("table").strip()))}

    def result(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """The criteria that matter most, a dozen at most; the scoreboard has all of them."""
        import pandas as pd

        a, b = self._value("a"), self._value("b")
        rows = [*self._mail_memory(), *self._mail_times(), *self._mail_counts()]
        frame = pd.DataFrame(rows, columns=["what", "in_a", "in_b", "better"])
        return frame, {"what": "criterion", "in_a": f"A: {a}", "in_b": f"B: {b}", "better": "better"}

    def notes(self) -> list[str]:
        """How the mail's numbers were made, and what of them does not compare."""
        by = self._by_criterion()
        base, added = self.scenario(), by["beyond the static memmap"]
        assumed = by["sizeof a descriptor"].made == "assumed"
        said = [f"bytes: a proxy of {base.proxy_bytes} bytes is assumed: its size was never stated" if assumed
                else f"bytes: {added.made}"]
        if "largest proxy that takes no more" in by:
            said.append("largest proxy: the largest assumed size with which it takes no more than the other")
        said.append("ns: median, and in brackets the fastest and the slowest pass, measured; loads: serial, "
                    "static / dynamic, exact; mistakes: compiled; -: not comparable")
        for op in ("page_to_pfn", "pfn_to_page"):
            how = by[f"{op}(), all calls dynamic"].how.split("; ")
            said.append(f"{op}(), ns: " + "; ".join(text for text in how if ": passes " not in text))
        return [*said, "all criteria, and where each number is from: the scoreboard's CSV"]

    def _by_criterion(self) -> dict[str, Criterion]:
        return {row.criterion: row for part in self._rows.values() for row in part}

    def _mail_memory(self) -> Iterator[_MailRow]:
        by = self._by_criterion()
        for name, heading in (("beyond the static memmap", "bytes beyond static"),
                              ("beyond it, per pinned page", "bytes per pinned page")):
            yield _mail_row(by[name], heading)
        order = self.scenario().folio_order
        first = 100 * (1 << order) / machine_of(self.scenario()).nr_pages_ram

        def share(value: Any) -> str:
            if value is not None and value <= first:
                return f"first {'folio' if order else 'page'} on"
            return shown(value, "% of RAM") + (" %" if value is not None else "")

        yield _mail_row(by["pinned share from which it takes more"], "takes more from", share)
        if proxy := by.get("largest proxy that takes no more"):
            yield _mail_row(proxy, "largest proxy, bytes")

    def _mail_times(self) -> Iterator[_MailRow]:
        by, names = self._by_criterion(), (self._value("a"), self._value("b"))
        table, run = _cost_table(self._value("table").strip()), self._value("calls")
        base = self.scenario()
        nr = nr_pages_of(base.nr_pinned, machine_of(base).nr_pages_ram) >> base.folio_order
        for op, mix in (("page_to_pfn", 1.0), ("pfn_to_page", 0.0)):
            for case, calls, share in (("static", "no call", 0.0), ("dynamic", "all calls", 1.0)):
                row, cells = by[f"{op}(), {calls} dynamic"], ["none", "none"]
                if row.value_a is not None:  # both are timed, or the row says why not
                    ends = measured_numbers(table, names, page_to_pfn=mix, run=run) or (nr, nr)
                    at = min(max(nr, ends[0]), ends[1])
                    cells = [_passes(call_ns(table, name, [share], [at], page_to_pfn=mix, run=run)[:, 0, 0])
                             for name in names]
                yield f"{op} {case}, ns", cells[0], cells[1], _who(row.better)

    def _mail_counts(self) -> Iterator[_MailRow]:
        by = self._by_criterion()
        for op in ("page_to_pfn", "pfn_to_page"):
            pair = [by[f"{op}(), {case}: serial loads"] for case in ("static", "dynamic")]
            left, right = (" / ".join(shown(getattr(row, side), "") for row in pair)
                           for side in ("value_a", "value_b"))
            yield f"{op}, loads", left, right, " / ".join(dict.fromkeys(_who(row.better) for row in pair))
        yield _mail_row(by["classes of mistakes: silent"], "silent mistake classes")
        yield _mail_row(by["page flags taken"], "page flag bits taken")

    def sources(self) -> list[str]:
        return [machine_source(machine_of(self.scenario())),
                f"cost table {self._value('table').strip()}: "
                f"{whose(_cost_table(self._value('table').strip()))}",
                *sources_of([self._value("a"), self._value("b")])]

    def _blank(self, why: str) -> None:
        super()._blank(why)
        self._rows.clear()
        self._found.clear()

    def _layout(self) -> w.Widget:
        c = self.controls
        left = w.VBox([c["a"], self.machines.widget, c["machine"], c["nr_pinned"], c["run_pages"],
                       c["folio_order"]], layout=HALF)
        right = w.VBox([c["b"], c["pfn_map"], c["proxy_bytes"], self.tables_list.widget, c["table"]],
                       layout=HALF)
        calls = w.Box([w.VBox([c["dynamic"], c["page_to_pfn"]], layout=HALF),
                       w.VBox([c["calls"], self.reset_button], layout=HALF)], layout=WRAP)
        return w.VBox([w.Box([left, right], layout=WRAP), calls, self.error, *self.view_widgets()])


def _who(better: str) -> str:
    """The outcome in a narrow column."""
    return {"a": "A", "b": "B", "not comparable": "-"}.get(better, better)


def _mail_row(row: Criterion, heading: str, says: Callable[[Any], str] | None = None) -> _MailRow:
    says = says or (lambda value: shown(value, row.unit))
    return heading, says(row.value_a), says(row.value_b), _who(row.better)


def _passes(found: Iterable[float]) -> str:
    """The median, and the fastest and the slowest pass.

    Examples
    --------
    >>> _passes([1.1, 1.234, 1250.5])
    '1.23 (1.1-1,250)'
    """
    low, middle, high = (f"{ns:,.0f}" if ns >= 100 else f"{ns:.3g}" for ns in found)
    return f"{middle} ({low}-{high})"


@functools.lru_cache(maxsize=32)
def _curve(scenarios: tuple[Scenario, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pinned_curve(scenarios)


@functools.lru_cache(maxsize=32)
def _bytes_map(a: str, b: str, base: Scenario) -> pd.DataFrame:
    return bytes_map(a, b, base)


@functools.lru_cache(maxsize=16)
def _loaded(name: str, stamp: int) -> CostTable:
    return CostTable.load(name)


def _cost_table(name: str) -> CostTable:
    """A shipped table, or a file, which is read again when it changes."""
    path = Path(name).expanduser()
    known = name in shipped() or not path.is_file()
    return _loaded(name, 0) if known else _loaded(str(path), path.stat().st_mtime_ns)


def _frame(rows: Iterable[Criterion]) -> pd.DataFrame:
    from workbench.studies.versus import Versus

    return Versus("", "", tuple(rows)).to_frame()


def shown(value: Any, unit: str) -> str:
    """A value for people: exact integers with separators, others with four digits.

    Examples
    --------
    >>> shown(6402048, "bytes"), shown(64.02048, "bytes"), shown(None, "ns")
    ('6,402,048', '64.02', 'none')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "never" if unit == "% of RAM" else "none"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def scoreboard(table: pd.DataFrame, a: str, b: str) -> str:
    """The criteria as HTML: one row each, by group; which is better is said by a mark and in words.

    Parameters
    ----------
    table : DataFrame
        As ``Versus.to_frame()`` gives it.
    a, b : str
        The designs' names.
    """
    names = {"a": inert(a), "b": inert(b)}
    cell = '<td style="padding:2px 10px;text-align:{};vertical-align:top{}">{}</td>'
    body, group = [], ""
    for row in table.to_dict("records"):
        if row["group"] != group:
            group = row["group"]
            body.append('<tr><th colspan="5" scope="rowgroup" style="text-align:left;padding:8px 10px 2px">'
                        f"{inert(group)}</th></tr>")
        unit = f", {row['unit']}" if row["unit"] and row["unit"] not in row["criterion"] else ""
        words = not row["unit"]
        values = [cell.format("left" if words else "right",
                              ";max-width:22em" if words else ";white-space:nowrap" +
                              (";font-weight:600" if row["better"] == side else ""),
                              inert(shown(row[f"value_{side}"], row["unit"]))) for side in ("a", "b")]
        mark = MARKS[row["better"]].format(**names)
        how = (f'<details><summary style="white-space:nowrap">{inert(row["made"])}</summary>'
               f"{inert(row['how'])}<br>"
               f"<i>{inert(row['source'])}</i></details>")
        what = cell.format("left", ";min-width:12em", inert(row["criterion"] + unit))
        body.append("<tr>" + what + values[0] + values[1]
                    + cell.format("left", ";white-space:nowrap", mark)
                    + cell.format("left", ";max-width:30em", how) + "</tr>")
    columns = (("criterion", "left"), (f"A: {names['a']}", "right"), (f"B: {names['b']}", "right"),
               ("better", "left"), ("made", "left"))
    heads = "".join(f'<th scope="col" style="text-align:{side};padding:2px 10px">{text}</th>'
                    for text, side in columns)
    style = "font-variant-numeric:tabular-nums;line-height:1.45;border-collapse:collapse"
    return (f'<div style="overflow-x:auto;margin:8px 0"><table style="{style}">'
            f"<thead><tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table></div>")
