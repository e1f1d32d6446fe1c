"""What designs cost in memory: machine, design, pinned share, clustering, page mix."""

from __future__ import annotations

import functools
import itertools
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets as w

from workbench.model import designs, pfnmaps
from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.kernel.config import presets
from workbench.model.memory.machine import Machine
from workbench.model.memory.population import Population
from workbench.model.scenario import Scenario, compare, evaluate, machine_of
from workbench.views import figures
from workbench.views.explorers._base import (
    HALF,
    WRAP,
    Explorer,
    Listed,
    control,
    design_row,
    machine_source,
    sources_of,
    tick_boxes,
)
from workbench.views.figures import PART, inert

if TYPE_CHECKING:
    import pandas as pd

#: Made-up machines beside the shipped captures.
SPECS = ("ram=1TiB,nodes=2,hole=3GiB-4GiB", "ram=64TiB,nodes=8",
         "ram=1TiB,nodes=2,hole=3GiB-4GiB,pmem=6TiB@2TiB,device=128GiB@16TiB", "live")
#: Pinned shares of the slider: 0, then 1-2-5 steps from a millionth of a percent.
SHARES = ("0%", *(f"{digit * 10.0 ** power:.6f}".rstrip("0").rstrip(".") + "%"
                  for power in range(-6, 2) for digit in (1, 2, 5)), "100%")
DEVICE_TITLE = "pages in use, % of pmem and device memory"
#: Columns of a mail's table, and their headings.
BYTES = {"design": "design", "total_bytes": "bytes", "bytes_per_page": "bytes per page",
         "percent_of_ram": "% of RAM"}
LARGEST_SLAB_BYTES = 4096 << 3  # slub_max_order 3, PAGE_ALLOC_COSTLY_ORDER, mm/slub.c, v6.12


class OverheadExplorer(Explorer):
    """What designs cost in memory: machine x design x pinned share x clustering x folio order x pfn map.

    Keyword arguments are the names of ``controls``, with the values of the same fields of ``Scenario``;
    ``designs`` is a list of them.
    """

    views: ClassVar = {"by_part": "figure", "percent": "figure", "pinned": "figure", "table": "text"}
    presets: ClassVar = {
        "1 TiB server, 0.1 % pinned": {
            "machine": SPECS[0],
            "designs": ["static", "hvo", "proxy_bit", "dynamic_page", "flag_side_table"]},
        "128 GiB GPU behind a 24 GiB host, 1 % in use": {
            "machine": "ram=24GiB,device=128GiB@1TiB", "describe_device": True, "nr_device_used": "1%",
            "designs": ["static", "altmap", "dynamic_page"]},
        "64 TiB, 8 nodes, a millionth of it pinned": {"machine": SPECS[1], "nr_pinned": "0.0001%"},
        "1 TiB, pinned in 2 MiB runs: the XArray gets cheap": {
            "machine": SPECS[0], "nr_pinned": "1%", "run_pages": 512},
    }
    share_axes: ClassVar = {"nr_pinned": SHARES[7:], "run_pages": (1, 8, 64, 512), "folio_order": (0, 4, 9),
                            "pfn_map": ("xarray", "maple", "rhashtable", "two_level")}

    def __init__(self, **values: Any):
        from workbench.model.memory.pagemix import ASSUMED

        pages = [f"{1 << shift:,} page{'s' if shift else ''}" for shift in range(19)]
        runs = [(text, 1 << shift) for shift, text in enumerate(pages)]
        orders = [(f"{order}: {text}", order) for order, text in enumerate(pages)]
        self.controls = {
            "machine": control(w.Text, "or any other", continuous_update=False,
                                tooltip="Path of a capture, or a spec such as ram=1TiB,nodes=2",
                                placeholder="capture, or ram=1TiB,nodes=2"),
            "kernel": control(w.Dropdown, "kernel",
                               options=[("as the machine says", None), *((k, k) for k in presets())]),
            "designs": tick_boxes(_offered()),
            "nr_pinned": control(w.SelectionSlider, "pinned, % of RAM", options=SHARES),
            "run_pages": control(w.SelectionSlider, "in runs of", options=runs,
                                  tooltip="Clustering: pinned pages come in naturally aligned runs"),
            "folio_order": control(w.SelectionSlider, "folio order", options=orders),
            "pfn_map": control(w.Dropdown, "pfn map", options=list(pfnmaps.registry())),
            "mix": control(w.Combobox, "page mix", options=list(ASSUMED), continuous_update=False,
                            placeholder="the machine's own", ensure_option=False,
                            tooltip="For memdescs: a capture's name, or an assumed mix"),
            "describe_device": control(
                w.Checkbox, "pmem, device memory too", indent=False,
                tooltip="Describe the pages of pmem and device memory as well",
                layout={"flex": "0 0 auto", "width": "auto", "margin": "2px 2px 2px 144px"}),
            "nr_device_used": control(w.SelectionSlider, "in use, % of it", options=SHARES,
                                       layout={"flex": "1 1 280px"},
                                       tooltip="Share of pmem and device memory that is in use"),
        }
        self.controls["kernel"].observe(_named_none, "index")
        _named_none({"new": None, "owner": self.controls["kernel"]})
        self.controls["machine"].value = "microvm-24g-6.18"
        self.controls["designs"].value = tuple(n for n in ("static", "hvo", "proxy_bit", "dynamic_page")
                                               if n in self.controls["designs"].boxes)
        self.controls["nr_pinned"].value = "0.1%"
        self.controls["pfn_map"].value = "xarray"
        self.controls["nr_device_used"].value = "10%"
        self.preset = Listed([*_captures(), *SPECS], self.controls["machine"], description="machine",
                             tooltip="A shipped capture or a made-up machine")
        self.readout = w.HTML()
        self.rows: pd.DataFrame | None = None
        self._live: tuple[str | None, Machine] | None = None
        super().__init__(**values)

    def _assign(self, name: str, value: Any) -> None:
        control = self.controls[name]
        if name in ("nr_pinned", "nr_device_used") and value not in control.options:
            value = str(value)
            control.options = sorted({*control.options, value}, key=_share)
        super()._assign(name, value)

    def scenarios(self) -> list[Scenario]:
        """One scenario for each chosen design."""
        fields = {name: self._value(name) for name in self.controls}
        chosen = fields.pop("designs")
        if not chosen:
            raise InputError("no design is chosen: tick at least one")
        if fields["machine"] == "live":  # one reading serves all scenarios, until the machine is set anew
            if not self._live or self._live[0] != fields["kernel"]:
                self._live = (fields["kernel"], machine_of(Scenario(machine="live", kernel=fields["kernel"])))
            fields["machine"] = self._live[1]
        else:
            self._live = None
        return [Scenario(**fields, design=name) for name in chosen]

    def _draw(self, changed: str | None) -> None:
        scenarios = self.scenarios()
        machine = machine_of(scenarios[0])
        self.rows = compare(scenarios)
        of_device = bool(scenarios[0].describe_device)
        self.readout.value = _readout(self.rows, machine, of_device)
        self.controls["nr_device_used"].disabled = not of_device
        self.show("by_part", figures.overhead_by_part(self.rows))  # the browser draws while we go on
        self.show("percent", figures.percent_of_ram(self.rows))
        curve, crossings = _curve(tuple(one.with_(**{_moved(of_device): 0}) for one in scenarios))
        at = _share(self._value(_moved(of_device)))
        self.show("pinned", figures.overhead_against_pinned(
            curve, crossings, at, **({"x_title": DEVICE_TITLE} if of_device else {})))
        self.say("table", exact_table(self.rows))
        self.tables = {"designs": self.rows, "against pinned": curve, "break even": crossings}

    def title(self) -> str:
        return "What designs cost in memory"

    def setup(self) -> dict[str, str]:
        first, row = self.scenarios()[0], self.tables["designs"].iloc[0]
        found = {"machine": self._value("machine"), "RAM": f"{machine_of(first).nr_pages_ram:,} pages",
                 "kernel": row["kernel"],
                 "pinned": f"{row['nr_pinned']:,} pages ({self._value('nr_pinned')})",
                 "in runs of": f"{first.run_pages:,} pages, folio order {first.folio_order}",
                 "pfn map": first.pfn_map, "page mix": self._value("mix") or "the machine's own"}
        if first.describe_device:
            found["pmem, device"] = f"described, {self._value('nr_device_used')} in use"
        return found

    def command(self) -> str:
        """``workbench overhead`` with the same inputs; it has no page mix."""
        value = {name: self._value(name) for name in self.controls}
        words = ["workbench", "overhead", value["machine"], "--design", *value["designs"],
                 "--pinned", value["nr_pinned"], "--map", value["pfn_map"]]
        words += ["--kernel", value["kernel"]] if value["kernel"] else []
        words += ["--run-pages", str(value["run_pages"])] if value["run_pages"] > 1 else []
        words += ["--folio-order", str(value["folio_order"])] if value["folio_order"] else []
        if value["describe_device"]:
            words += ["--describe-device", "--device-used", value["nr_device_used"]]
        return "" if value["mix"] else shlex.join(words)

    def result(self) -> tuple[pd.DataFrame, dict[str, str]]:
        return self.tables["designs"], BYTES

    def notes(self) -> list[str]:
        return named_notes_of(self.tables["designs"])

    def sources(self) -> list[str]:
        return [machine_source(machine_of(self.scenarios()[0])), *sources_of(self._value("designs"))]

    def _blank(self, why: str) -> None:
        super()._blank(why)
        self.rows, self.readout.value = None, ""

    def _layout(self) -> w.Widget:
        c = self.controls
        left = w.VBox([self.preset.widget, c["machine"], c["kernel"], c["mix"]], layout=HALF)
        right = w.VBox([c["nr_pinned"], self.readout, c["run_pages"], c["folio_order"], c["pfn_map"]],
                       layout=HALF)
        device = w.HBox([c["describe_device"], c["nr_device_used"]], layout=WRAP)
        return w.VBox([w.Box([left, right], layout=WRAP), design_row(c["designs"]), device, self.error,
                       *self.view_widgets()])


def _named_none(change: Any) -> None:
    """A list whose first value is None shows that entry's name, not an empty line."""
    if change["new"] is None:
        change["owner"].index = 0


def _captures() -> list[str]:
    """The shipped captures, and those inside them, as ``Machine.load`` takes them."""
    root = data_dir() / "captures"
    return sorted({str(file.parent.relative_to(root)) for file in root.rglob("*.txt")})


def _offered() -> list[str]:
    """Designs, and those variants that differ in bytes: they use a pfn map where the design does not."""
    return [name for name, design in designs.registry().items()
            if not design.variant or design.uses_pfn_map != designs.get(design.name).uses_pfn_map]


def _share(text: str) -> float:
    """The percent of a slider's share."""
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = math.nan
    if not text.endswith("%") or not 0 <= percent <= 100:
        raise InputError(f"{text!r} is not a share from 0% to 100%, such as 0.1%")
    return percent


def _moved(of_device: bool) -> str:
    """The scenario field along the curve's x axis."""
    return "nr_device_used" if of_device else "nr_pinned"


@functools.lru_cache(maxsize=32)
def _curve(scenarios: tuple[Scenario, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pinned_curve(scenarios)


def pinned_curve(scenarios: Sequence[Scenario]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What designs take beyond today's static memmap as more pages are pinned, and where two break even.

    With ``describe_device`` the pages are those of pmem and device memory in use, and the memmap that a
    static design would need for such memory counts as an addition too.

    Parameters
    ----------
    scenarios : sequence of Scenario
        One for each design, all on one machine; their ``nr_pinned`` (or ``nr_device_used``) is varied.

    Returns
    -------
    curve : DataFrame
        design, nr_pages, percent, added_bytes, exact. Two reference lines stand among the designs: the
        static memmap itself, and what HVO frees where it frees something.
    break_even : DataFrame
        design, other, nr_pages, percent, added_bytes: the first whole number of pages at which ``design``
        takes as much as ``other`` or more, found by bisection.
    """
    import pandas as pd

    first = scenarios[0]
    machine, field = machine_of(first), _moved(first.describe_device)
    total = machine.pages("pmem", "device") if first.describe_device else machine.nr_pages_ram
    kind, run = "device" if first.describe_device else "ram", max(first.run_pages, 1 << first.folio_order)
    shape = Population(run_pages=first.run_pages, folio_order=first.folio_order).scatter(machine, kind)
    room = shape.places.nr_pages * run  # edges of memory too small for a whole run stay empty
    static = evaluate(first.with_(design="static", describe_device=False)).total_bytes
    counts = sorted({min(room, round(total * _share(share) / 100)) for share in SHARES[1::2]})

    @functools.cache
    def added(scenario: Scenario, nr: int) -> tuple[int, bool]:
        row = evaluate(scenario.with_(**{field: nr, "pinned": None}))
        return row.total_bytes - static, row.exact

    lines: dict[str, _Line] = {}
    for scenario in scenarios:
        ends = {added(scenario, nr) for nr in (counts[0], counts[-1])}
        if len(ends) > 1:
            lines[scenario.design] = functools.partial(added, scenario)
            continue
        value, exact = ends.pop()  # no slider moves it: evaluated once
        name = f"freed by {scenario.design}" if value < 0 else scenario.design
        lines[name] = functools.partial(_constant, abs(value), exact)
    if not first.describe_device:
        lines["the static memmap"] = functools.partial(_constant, static, True)
    rows = [(name, nr, *line(nr)) for name, line in lines.items() for nr in counts]
    curve = pd.DataFrame(rows, columns=["design", "nr_pages", "added_bytes", "exact"])
    crossed = [(a, b, nr, lines[a](nr)[0]) for a, b in itertools.permutations(lines, 2)
               for nr in _first_over(lines[a], lines[b], counts)]
    even = pd.DataFrame(crossed, columns=["design", "other", "nr_pages", "added_bytes"])
    even = even.groupby(["design", "nr_pages", "added_bytes"], as_index=False, sort=False).agg(", ".join)
    for table in (curve, even):
        table["percent"] = 100 * table["nr_pages"] / max(1, total)
    return curve, even


_Line = Callable[[int], tuple[int, bool]]  # pages -> bytes, and whether they are exact


def _constant(value: int, exact: bool, nr: int) -> tuple[int, bool]:
    return value, exact


def _first_over(a: _Line, b: _Line, counts: Sequence[int]) -> Iterator[int]:
    """Where ``a`` comes to cost as much as ``b`` or more, having cost less: once per grid step at most.

    Two that differ by less than a slab on both sides are taken as one: slabs fill in steps.
    """
    def ahead(nr: int) -> float:
        left, right = a(nr)[0], b(nr)[0]
        return (math.log(left) - math.log(right)) if left > 0 < right else float(left - right)

    for low, high in itertools.pairwise(counts):
        below, above = ahead(low), ahead(high)
        apart = max(abs(a(nr)[0] - b(nr)[0]) for nr in (low, high))
        if not below < 0 <= above or apart < LARGEST_SLAB_BYTES:
            continue
        for step in itertools.count():
            if high - low <= 1:
                break
            guess = (low + high) // 2
            if step % 3:  # costs grow like powers of nr: straight lines on logarithmic axes
                start = max(low, 1)
                guess = round(start * (high / start) ** (below / (below - above))) + step % 3 - 1
                guess = min(max(guess, low + 1), high - 1)
            if (here := ahead(guess)) < 0:
                low, below = guess, here
            else:
                high, above = guess, here
        yield high


def exact_table(table: pd.DataFrame) -> str:
    """A table of scenarios as HTML: a row for each part, a column for each design, exact integers."""
    parts = figures.parts_of(table)
    cells = [["", *figures.labels(table)]]
    cells += [[part, *(f"{int(value):,}" for value in table[PART + part])] for part in parts]
    cells += [["total, bytes", *(f"{int(value):,}" for value in table["total_bytes"])],
              ["bytes per page", *(f"{value:,.6g}" for value in table["bytes_per_page"])],
              ["% of RAM", *(f"{value:.6g}" for value in table["percent_of_ram"])],
              ["how", *("exact" if exact else "expected: see below" for exact in table["exact"])]]
    head, *body = ["".join(f'<{tag} style="text-align:{"right" if place else "left"};padding:2px 10px">'
                           f"{inert(text)}</{tag}>" for place, text in enumerate(row))
                   for row, tag in zip(cells, ["th"] + ["td"] * len(cells), strict=False)]
    notes = notes_of(table)
    style = "font-variant-numeric:tabular-nums;line-height:1.5;margin:8px 0;white-space:nowrap"
    return (f'<div style="overflow-x:auto"><table style="{style}">'
            f"<thead><tr>{head}</tr></thead><tbody><tr>{'</tr><tr>'.join(body)}</tr></tbody></table>"
            f"<ul>{''.join(f'<li>{inert(note)}</li>' for note in notes)}</ul></div>")


def notes_of(table: pd.DataFrame) -> list[str]:
    """What scenarios leave out or assume, each once."""
    return list(_designs_by_note(table))


def named_notes_of(table: pd.DataFrame) -> list[str]:
    """The same, with the designs that each is about."""
    return [f"{', '.join(names)}: {note}" for note, names in _designs_by_note(table).items()]


def _designs_by_note(table: pd.DataFrame) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, row in zip(table["design"], table["notes"], strict=True):
        for note in dict.fromkeys(str(row).split("; ")):
            if note:
                found.setdefault(note, []).append(name)
    return found


def _readout(table: pd.DataFrame, machine: Any, of_device: bool) -> str:
    nr, total = int(table["nr_pinned"].iloc[0]), machine.nr_pages_ram
    text = f"{nr:,} of {total:,} pages"
    if of_device:
        text += f"; pmem and device memory: {machine.pages('pmem', 'device'):,} pages"
    return f'<div style="margin-left:140px">{text}</div>'


class MixExplorer(Explorer):
    """Memdescs against today's struct page on a page mix set by sliders; what is left of 100 % is free."""

    views: ClassVar = {"percent": "figure", "table": "text"}
    presets: ClassVar = {
        "all in 4 KiB pages": {"anon:0": 60, "anon:9": 0, "file:0": 35, "file:4": 0},
        "all in 2 MiB folios": {"anon:0": 0, "anon:9": 60, "file:0": 0, "file:4": 0, "file:9": 35},
        "hugetlb host": {"anon:0": 5, "anon:9": 0, "file:0": 2, "file:4": 0, "hugetlb:9": 90, "slab:3": 1},
    }
    share_axes: ClassVar = {"anon:0": range(0, 61, 10), "anon:9": range(0, 61, 20), "file:0": (0, 15, 30),
                            "file:4": (0, 15, 30), "slab:3": (0, 5, 10)}
    KINDS = ("anon:0", "anon:4", "anon:9", "file:0", "file:4", "file:9", "hugetlb:9", "slab:0", "slab:3")

    def __init__(self, **values: Any):
        self.controls = {
            kind: control(w.FloatSlider, f"{kind.replace(':', ', order ')}, %", min=0, max=100, step=1)
            for kind in self.KINDS
        }
        for kind, share in (("anon:0", 30), ("anon:9", 20), ("file:0", 15), ("file:4", 15), ("slab:3", 5)):
            self.controls[kind].value = share
        super().__init__(**values)

    def mix(self) -> str:
        """The shares, as ``Scenario(mix=...)`` takes them."""
        return ",".join(f"{kind}={self._value(kind):g}" for kind in self.KINDS)

    def _draw(self, changed: str | None) -> None:
        base = Scenario(machine="ram=1TiB", mix=self.mix())
        names = ("static", "memdesc32", "memdesc16", "memdesc8")
        self.rows = compare(base.with_(design=name) for name in names)
        self.show("percent", figures.percent_of_ram(self.rows))
        self.say("table", exact_table(self.rows))
        self.tables = {"designs": self.rows}

    def title(self) -> str:
        return "Memdescs against struct page on a page mix"

    def setup(self) -> dict[str, str]:
        return {"machine": "ram=1TiB", "page mix": ", ".join(
            f"{kind} {self._value(kind):g} %" for kind in self.KINDS if self._value(kind))}

    def result(self) -> tuple[pd.DataFrame, dict[str, str]]:
        return self.tables["designs"], BYTES

    def notes(self) -> list[str]:
        return named_notes_of(self.tables["designs"])

    def sources(self) -> list[str]:
        return sources_of(list(self.rows["design"]))

    def _layout(self) -> w.Widget:
        boxes = [w.Box([c], layout=HALF) for c in self.controls.values()]
        sliders = w.Box(boxes, layout=WRAP)
        return w.VBox([sliders, self.error, *self.view_widgets()])
