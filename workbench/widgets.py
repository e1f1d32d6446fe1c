"""Explorers: controls keyed by scenario fields, linked figures, exact tables.

An explorer turns its controls into scenarios, calls what a notebook would call, and hands the figures to
``PlotHost``, which draws from synced state alone: the picture is right after a page reload and in Voila.
Input that cannot be used is answered in one line above the figures, never by a traceback, and the figures
then say that they show nothing. Executed without a front end (``WORKBENCH_BATCH=1``) an explorer leaves its
figures and its table as ordinary outputs.
"""

from __future__ import annotations

import functools
import gzip
import html
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as w
import traitlets

from workbench import designs, figures, pfnmaps
from workbench.errors import InputError
from workbench.figures import PART, inert
from workbench.kernel.config import KernelConfig, presets
from workbench.kernel.flagbits import FlagBudget, budget_rows
from workbench.kernel.structs import Struct
from workbench.memory.machine import Machine
from workbench.memory.population import Population
from workbench.paths import data_dir
from workbench.scenario import Scenario, compare, evaluate, machine_of

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

LIVE = "*The controls are live in JupyterLab: `make lab`, then run this cell.*"
#: Made-up machines beside the shipped captures.
SPECS = ("ram=1TiB,nodes=2,hole=3GiB-4GiB", "ram=64TiB,nodes=8",
         "ram=1TiB,nodes=2,hole=3GiB-4GiB,pmem=6TiB@2TiB,device=128GiB@16TiB", "live")
#: Pinned shares of the slider: 0, then 1-2-5 steps from a millionth of a percent.
SHARES = ("0%", *(f"{digit * 10.0 ** power:.6f}".rstrip("0").rstrip(".") + "%"
                  for power in range(-6, 2) for digit in (1, 2, 5)), "100%")
DEVICE_TITLE = "pages in use, % of pmem and device memory"
LARGEST_SLAB_BYTES = 4096 << 3  # slub_max_order 3, PAGE_ALLOC_COSTLY_ORDER, mm/slub.c, v6.12
STATE_VERSION = 1
#: struct dynamic_page, as in the mail of 14 December 2018.
MAIL = "struct dynamic_page {\n\tstruct page;\n\tunsigned long vaddr;\n\tunsigned long pfn;\n};\n"
_STYLE = {"description_width": "128px"}
_TEMPLATES = Path(__file__).with_name("templates")


@functools.cache
def plotly_gz() -> bytes:
    """plotly.js as browsers unpack it: gzip."""
    from plotly.offline import get_plotlyjs

    return gzip.compress(get_plotlyjs().encode(), 6, mtime=0)


class PlotHost(anywidget.AnyWidget):
    """A figure in a notebook. ``fig`` is all its state: assign a new dict and it is drawn."""

    _esm = "".join((_TEMPLATES / name).read_text() for name in ("fit.js", "plothost.js"))
    _css = ".workbench-note:not(:empty) { padding: 6px 10px; border-left: 3px solid #D55E00; }"
    fig = traitlets.Dict().tag(sync=True)

    def __init__(self, figure: go.Figure | None = None, **traits: Any):
        super().__init__(**traits)
        self.layout.width, self.layout.margin = "100%", "2px 0 12px"
        self.on_msg(self._answer)
        if figure is not None:
            self.show(figure)

    def show(self, figure: go.Figure) -> None:
        """Draw this figure from now on."""
        self.fig = figure.to_plotly_json()

    def _answer(self, _: Any, message: Any, __: Any) -> None:
        if isinstance(message, Mapping) and message.get("want") == "plotly.js":
            self.send({"send": "plotly.js"}, buffers=[plotly_gz()])


class Explorer:
    """Controls by name, an error line, and what they drive. Subclasses say which, and draw."""

    controls: dict[str, Any]

    def __init__(self, **values: Any):
        self._quiet = False
        self.error = w.HTML()
        self.reset_button = w.Button(description="Reset", tooltip="All controls back to where they started",
                                     icon="undo", layout={"width": "100px"})
        self.reset_button.on_click(lambda _: self.reset())
        for name, control in self.controls.items():
            control.observe(functools.partial(self._changed, name), "value")
        self._first = self.state()
        with self._one_redraw():
            self._set(values)
        self.widget = self._layout()

    def state(self) -> dict[str, Any]:
        """All controls as JSON-ready values, by scenario field."""
        found = {name: self._value(name) for name in self.controls}
        return {"explorer": type(self).__name__, "version": STATE_VERSION, **found}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Explorer:
        """The explorer that a state came from; an unknown field or version is an InputError."""
        values = dict(state)
        kind, version = values.pop("explorer", cls.__name__), values.pop("version", None)
        if kind != cls.__name__ or version != STATE_VERSION:
            raise InputError(f"state of {kind!r}, version {version!r}: this is {cls.__name__}, "
                             f"version {STATE_VERSION}")
        return cls(**values)

    def reset(self) -> None:
        """All controls back to where they started."""
        with self._one_redraw():
            self._set({k: v for k, v in self._first.items() if k in self.controls})

    def _set(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if name not in self.controls:
                raise InputError(f"{type(self).__name__} has no control {name!r}; it has "
                                 f"{', '.join(self.controls)}")
            try:
                self._assign(name, value)
            except (traitlets.TraitError, TypeError, ValueError) as error:
                raise InputError(f"{name} = {value!r}: {error}") from None

    def _assign(self, name: str, value: Any) -> None:
        self.controls[name].value = value

    def _value(self, name: str) -> Any:
        return self.controls[name].value

    @contextmanager
    def _one_redraw(self) -> Iterator[None]:
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False
        self.redraw()

    def _changed(self, name: str, _: Any) -> None:
        if not self._quiet:
            self.redraw(name)

    def redraw(self, changed: str | None = None) -> None:
        """Compute and draw; whatever goes wrong is said in the error line."""
        try:
            self._draw(changed)
        except InputError as error:
            self._fail(str(error))
        except Exception as error:  # a bug of ours must not leave an old picture under new labels
            self._fail(f"{type(error).__name__}: {error}")
        else:
            self.error.value = ""

    def _fail(self, why: str) -> None:
        self.error.value = f'<div role="alert" class="workbench-note">{inert(why)}</div>'
        self._blank("Nothing is drawn: the input above cannot be used.")

    def _draw(self, changed: str | None) -> None:
        raise NotImplementedError

    def _blank(self, why: str) -> None:
        raise NotImplementedError

    def _layout(self) -> w.Widget:
        raise NotImplementedError

    def snapshot(self) -> list[Any]:
        """What to leave where there is no front end: figures and tables."""
        raise NotImplementedError

    def _ipython_display_(self) -> None:
        from IPython.display import Markdown, display

        if os.environ.get("WORKBENCH_BATCH"):
            display(*self.snapshot(), Markdown(LIVE))
        else:
            display(self.widget)


class OverheadExplorer(Explorer):
    """What designs cost in memory: machine x design x pinned share x clustering x folio order x pfn map.

    Keyword arguments are the names of ``controls``, with the values of the same fields of ``Scenario``;
    ``designs`` is a list of them.
    """

    def __init__(self, **values: Any):
        from workbench.memory.pagemix import ASSUMED

        pages = [f"{1 << shift:,} page{'s' if shift else ''}" for shift in range(19)]
        runs = [(text, 1 << shift) for shift, text in enumerate(pages)]
        orders = [(f"{order}: {text}", order) for order, text in enumerate(pages)]
        self.preset = _control(w.Dropdown, "machine", options=["", *_captures(), *SPECS],
                               tooltip="A shipped capture or a made-up machine")
        self._boxes = {name: w.Checkbox(description=name, indent=False, tooltip=designs.get(name).summary,
                                        layout={"width": "auto", "margin": "0 14px 0 0"})
                       for name in _offered()}
        self.controls = {
            "machine": _control(w.Text, "or any other", continuous_update=False,
                                tooltip="Path of a capture, or a spec such as ram=1TiB,nodes=2",
                                placeholder="capture, or ram=1TiB,nodes=2"),
            "kernel": _control(w.Dropdown, "kernel",
                               options=[("as the machine says", None), *((k, k) for k in presets())]),
            "designs": _Several(self._boxes),
            "nr_pinned": _control(w.SelectionSlider, "pinned, % of RAM", options=SHARES),
            "run_pages": _control(w.SelectionSlider, "in runs of", options=runs,
                                  tooltip="Clustering: pinned pages come in naturally aligned runs"),
            "folio_order": _control(w.SelectionSlider, "folio order", options=orders),
            "pfn_map": _control(w.Dropdown, "pfn map", options=list(pfnmaps.registry())),
            "mix": _control(w.Combobox, "page mix", options=list(ASSUMED), continuous_update=False,
                            placeholder="the machine's own", ensure_option=False,
                            tooltip="For memdescs: a capture's name, or an assumed mix"),
            "describe_device": _control(
                w.Checkbox, "describe pmem and device memory too", indent=False,
                layout={"flex": "0 0 auto", "width": "auto", "margin": "2px 2px 2px 144px"}),
            "nr_device_used": _control(w.SelectionSlider, "in use, % of it", options=SHARES,
                                       layout={"flex": "1 1 280px"},
                                       tooltip="Share of pmem and device memory that is in use"),
        }
        self.controls["machine"].value = "microvm-24g-6.18"
        self.controls["designs"].value = tuple(n for n in ("static", "hvo", "proxy_bit", "dynamic_page")
                                               if n in self._boxes)
        self.controls["nr_pinned"].value = "0.1%"
        self.controls["pfn_map"].value = "xarray"
        self.controls["nr_device_used"].value = "10%"
        self.preset.observe(self._picked, "value")
        self.readout, self.table = w.HTML(), w.HTML()
        self.hosts = {name: PlotHost() for name in ("by_part", "percent", "pinned")}
        self.rows: pd.DataFrame | None = None
        self.figures: dict[str, go.Figure] = {}
        self._live: tuple[str | None, Machine] | None = None
        super().__init__(**values)

    def _picked(self, change: Any) -> None:
        if change["new"]:
            self.controls["machine"].value = change["new"]

    def _assign(self, name: str, value: Any) -> None:
        control = self.controls[name]
        if name in ("nr_pinned", "nr_device_used") and value not in control.options:
            value = str(value)
            control.options = sorted({*control.options, value}, key=_share)
        control.value = tuple(value) if name == "designs" else value

    def _value(self, name: str) -> Any:
        value = self.controls[name].value
        return list(value) if name == "designs" else value

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
        text = self.controls["machine"].value
        self.preset.value = text if text in self.preset.options else ""
        self._show("by_part", figures.overhead_by_part(self.rows))  # the browser draws while we go on
        self._show("percent", figures.percent_of_ram(self.rows))
        curve, crossings = _curve(tuple(one.with_(**{_moved(of_device): 0}) for one in scenarios))
        at = _share(self._value(_moved(of_device)))
        self._show("pinned", figures.overhead_against_pinned(
            curve, crossings, at, **({"x_title": DEVICE_TITLE} if of_device else {})))
        self.table.value = exact_table(self.rows)

    def _show(self, name: str, figure: go.Figure) -> None:
        figure.layout.meta = {**figure.layout.meta, "state": self.state()}
        self.figures[name] = figure
        self.hosts[name].show(figure)

    def _blank(self, why: str) -> None:
        self.rows = None
        for name in self.hosts:
            self._show(name, figures.nothing(why))
        self.table.value = self.readout.value = ""

    def _layout(self) -> w.Widget:
        c, half, wrap = self.controls, {"flex": "1 1 420px", "min_width": "320px"}, {"flex_flow": "row wrap"}
        left = w.VBox([self.preset, c["machine"], c["kernel"], c["mix"]], layout=half)
        right = w.VBox([c["nr_pinned"], self.readout, c["run_pages"], c["folio_order"], c["pfn_map"]],
                       layout=half)
        label = w.Label("designs", layout={"flex": "0 0 128px", "margin": "2px 8px 2px 2px",
                                           "justify_content": "flex-end"})
        chosen = w.HBox([label, w.Box([*self._boxes.values()], layout=wrap)])
        device = w.HBox([c["describe_device"], c["nr_device_used"], self.reset_button], layout=wrap)
        return w.VBox([w.Box([left, right], layout=wrap), chosen, device, self.error, *self.hosts.values(),
                       self.table])

    def snapshot(self) -> list[Any]:
        from IPython.display import HTML

        return [*self.figures.values(), HTML(self.table.value)]


class StructExplorer(Explorer):
    """A struct from pasted C source, or one that a kernel build has: picture, pahole text, gcc's warnings.

    With an empty ``text`` the struct of that ``name`` comes from the kernel's own layouts.
    """

    def __init__(self, **values: Any):
        self.controls = {
            "kernel": _control(w.Dropdown, "kernel",
                               options=[k.name for k in presets().values() if k.layouts],
                               tooltip="Gives the types that the text does not define"),
            "name": _control(w.Text, "struct", continuous_update=False,
                             placeholder="the last one in the text"),
            "ms_extensions": _control(w.Checkbox, "-fms-extensions", indent=False,
                                      tooltip="Makes `struct page;` a member; plain gcc drops it"),
            "text": w.Textarea(value=MAIL, description="C source", style=_STYLE, rows=8,
                               tooltip="Empty: the struct is the kernel's own",
                               layout={"width": "98%"}),
        }
        self.controls["kernel"].value = "x86-64"
        self.controls["ms_extensions"].value = True
        self.host, self.pahole = PlotHost(), w.HTML()
        super().__init__(**values)

    def struct(self) -> Struct:
        """The struct that the controls describe."""
        value = {name: self._value(name) for name in self.controls}
        kernel, name = KernelConfig.preset(value["kernel"]), value["name"].strip() or None
        if value["text"].strip():
            return Struct.from_c(value["text"], name, kernel, ms_extensions=value["ms_extensions"])
        return Struct.from_kernel(name or "page", kernel)

    def _draw(self, changed: str | None) -> None:
        struct = self.struct()
        self.figure = figures.struct_layout(struct)
        self.figure.layout.meta = {**self.figure.layout.meta, "state": self.state()}
        self.host.show(self.figure)
        warnings = "".join(f'<div class="workbench-note">warning: {inert(text)}</div>'
                           for text in struct.warnings)
        self.pahole.value = f'{warnings}<pre style="line-height:1.35">{html.escape(struct.pahole())}</pre>'

    def _blank(self, why: str) -> None:
        self.figure = figures.nothing(why)
        self.host.show(self.figure)
        self.pahole.value = ""

    def _layout(self) -> w.Widget:
        c, half = self.controls, {"flex": "1 1 420px", "min_width": "320px"}
        right = w.VBox([c["kernel"], c["name"], c["ms_extensions"], self.reset_button], layout=half)
        controls = w.Box([w.Box([c["text"]], layout=half), right], layout={"flex_flow": "row wrap"})
        return w.VBox([controls, self.error, self.host, self.pahole])

    def snapshot(self) -> list[Any]:
        from IPython.display import HTML

        return [self.figure, HTML(self.pahole.value)]


class _Several(traitlets.HasTraits):
    """Check boxes as one control: ``value`` is a tuple of the ticked names."""

    value = traitlets.Tuple()

    def __init__(self, boxes: Mapping[str, w.Checkbox]):
        super().__init__()
        self.boxes = boxes
        for box in boxes.values():
            box.observe(self._ticked, "value")

    def _ticked(self, _: Any) -> None:
        self.value = tuple(name for name, box in self.boxes.items() if box.value)

    @traitlets.validate("value")
    def _known(self, proposal: Any) -> tuple[str, ...]:
        for name in proposal["value"]:
            designs.get(name)  # an unknown one is an InputError
        return tuple(name for name in self.boxes if name in proposal["value"])

    @traitlets.observe("value")
    def _tick(self, change: Any) -> None:
        for name, box in self.boxes.items():
            box.value = name in change["new"]


def _control(kind: Callable[..., w.Widget], label: str, **traits: Any) -> Any:
    return kind(description=label, style=_STYLE, **{"layout": {"width": "98%"}, **traits})


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
    notes = dict.fromkeys(note for row in table["notes"] for note in str(row).split("; ") if note)
    style = "font-variant-numeric:tabular-nums;line-height:1.5;margin:8px 0;white-space:nowrap"
    return (f'<div style="overflow-x:auto"><table style="{style}">'
            f"<thead><tr>{head}</tr></thead><tbody><tr>{'</tr><tr>'.join(body)}</tr></tbody></table>"
            f"<ul>{''.join(f'<li>{inert(note)}</li>' for note in notes)}</ul></div>")


def _readout(table: pd.DataFrame, machine: Any, of_device: bool) -> str:
    nr, total = int(table["nr_pinned"].iloc[0]), machine.nr_pages_ram
    text = f"{nr:,} of {total:,} pages"
    if of_device:
        text += f"; pmem and device memory: {machine.pages('pmem', 'device'):,} pages"
    return f'<div style="margin-left:140px">{text}</div>'


def pfn_anatomy(pfn: int, kernel: KernelConfig, nr_pages: int | None = None) -> pd.DataFrame:
    """Which bits of a pfn say what: to sparsemem, and to an XArray that holds pfns below ``nr_pages``.

    Returns
    -------
    DataFrame
        structure, field, first_bit, nr_bits, value; most significant first within a structure. The values
        put together give the pfn again, in each structure.

    Examples
    --------
    >>> anatomy = pfn_anatomy(0x12345, KernelConfig.preset("x86-64"), nr_pages=1 << 28)
    >>> [int(value) for value in anatomy[anatomy.structure == "XArray"].value]
    [0, 0, 18, 13, 5]
    """
    import pandas as pd

    pfn_bits = kernel.max_physmem_bits - kernel.page_shift
    if not 0 <= pfn < 1 << pfn_bits:
        raise InputError(f"pfn {pfn:#x} is not below 2^{pfn_bits}: {kernel.name} has MAX_PHYSMEM_BITS "
                         f"{kernel.max_physmem_bits}")
    nr_pages = max(nr_pages or 1 << pfn_bits, pfn + 1)
    in_root = kernel.sections_per_root.bit_length() - 1
    section = kernel.pfn_section_shift
    cuts = {"sparsemem": [("pfn in its section", section), ("section in its root", in_root),
                          ("section root", pfn_bits - section - in_root)]}
    height = max(1, -(-(nr_pages - 1).bit_length() // kernel.xa_chunk_shift))
    cuts["XArray"] = [(f"slot, shift {level * kernel.xa_chunk_shift}", kernel.xa_chunk_shift)
                      for level in range(height)]
    rows: list[tuple[str, str, int, int, int]] = []
    for structure, fields in cuts.items():
        at, found = 0, []
        for field, bits in fields:
            found.append((structure, field, at, bits, pfn >> at & ((1 << bits) - 1)))
            at += bits
        rows += reversed(found)
    return pd.DataFrame(rows, columns=["structure", "field", "first_bit", "nr_bits", "value"])


class FlagBudgetExplorer(Explorer):
    """Is there a bit for PG_dynamic? The bits of ``page->flags`` that a configuration leaves free."""

    def __init__(self, **values: Any):
        self.controls = {
            "kernel": _control(w.Dropdown, "start from", options=list(presets()),
                               tooltip="A preset; picking one sets the controls below"),
            "nr_page_flags": _control(w.IntSlider, "page flags", min=18, max=32),
            "nr_zones": _control(w.IntSlider, "zones", min=1, max=8),
            "nodes_shift": _control(w.IntSlider, "NODES_SHIFT", min=0, max=10),
            "nr_cpus": _control(w.SelectionSlider, "NR_CPUS", options=[1 << n for n in range(14)]),
            "section_bits": _control(w.IntSlider, "section bits", min=0, max=25,
                                     tooltip="0 with vmemmap; classic sparsemem keeps the section number"),
            "numa_balancing": _control(w.Checkbox, "NUMA_BALANCING", indent=False),
            "lru_gen": _control(w.Checkbox, "LRU_GEN", indent=False),
            "kasan": _control(w.Dropdown, "KASAN tags",
                              options=[("none", ""), ("sw_tags", "sw_tags"), ("hw_tags", "hw_tags")]),
        }
        self._start("x86-64")
        self.host, self.answer = PlotHost(), w.HTML()
        super().__init__(**values)

    def _start(self, preset: str) -> None:
        budget = FlagBudget.of(KernelConfig.preset(preset))
        for name in self.controls:
            if name != "kernel":
                self.controls[name].value = getattr(budget, name)
        self.controls["kernel"].value = preset

    def _changed(self, name: str, change: Any) -> None:
        if name == "kernel" and not self._quiet:
            with self._one_redraw():
                self._start(change["new"])
        else:
            super()._changed(name, change)

    def budget(self) -> FlagBudget:
        """The budget that the controls describe."""
        return FlagBudget(**{name: self._value(name) for name in self.controls if name != "kernel"})

    def _draw(self, changed: str | None) -> None:
        import pandas as pd

        budget = self.budget()
        named = {"as set above": budget}
        named |= {name: FlagBudget.of(KernelConfig.preset(name))
                  for name in ("x86-64", "arm64-4k", "amd64_6.12")}
        self.figure = figures.flag_bits(pd.DataFrame(budget_rows(named)))
        self.figure.layout.meta = {**self.figure.layout.meta, "state": self.state()}
        self.host.show(self.figure)
        grown = " last_cpupid does not fit: struct page grows." if budget.last_cpupid_evicted else ""
        word = f"{budget.free_bits} bits are free: " if budget.free_bits != 1 else "1 bit is free: "
        fits = "PG_dynamic fits." if budget.free_bits else "no bit is left for PG_dynamic."
        self.answer.value = f"<b>{word}{fits}</b>{grown}"

    def _blank(self, why: str) -> None:
        self.figure = figures.nothing(why)
        self.host.show(self.figure)
        self.answer.value = ""

    def _layout(self) -> w.Widget:
        c, half = self.controls, {"flex": "1 1 420px", "min_width": "320px"}
        left = w.VBox([c[n] for n in ("kernel", "nr_page_flags", "nr_zones", "nodes_shift")], layout=half)
        right = w.VBox([c[n] for n in ("nr_cpus", "section_bits", "kasan")], layout=half)
        switches = w.HBox([c["numa_balancing"], c["lru_gen"], self.reset_button])
        return w.VBox([w.Box([left, right], layout={"flex_flow": "row wrap"}), switches, self.error,
                       self.answer, self.host])

    def snapshot(self) -> list[Any]:
        from IPython.display import HTML

        return [self.figure, HTML(self.answer.value)]


class MixExplorer(Explorer):
    """Memdescs against today's struct page on a page mix set by sliders; what is left of 100 % is free."""

    KINDS = ("anon:0", "anon:4", "anon:9", "file:0", "file:4", "file:9", "hugetlb:9", "slab:0", "slab:3")

    def __init__(self, **values: Any):
        self.controls = {
            kind: _control(w.FloatSlider, f"{kind.replace(':', ', order ')}, %", min=0, max=100, step=1)
            for kind in self.KINDS
        }
        for kind, share in (("anon:0", 30), ("anon:9", 20), ("file:0", 15), ("file:4", 15), ("slab:3", 5)):
            self.controls[kind].value = share
        self.host, self.table = PlotHost(), w.HTML()
        super().__init__(**values)

    def mix(self) -> str:
        """The shares, as ``Scenario(mix=...)`` takes them."""
        return ",".join(f"{kind}={self._value(kind):g}" for kind in self.KINDS)

    def _draw(self, changed: str | None) -> None:
        base = Scenario(machine="ram=1TiB", mix=self.mix())
        names = ("static", "memdesc32", "memdesc16", "memdesc8")
        self.rows = compare(base.with_(design=name) for name in names)
        self.figure = figures.percent_of_ram(self.rows)
        self.figure.layout.meta = {**self.figure.layout.meta, "state": self.state()}
        self.host.show(self.figure)
        self.table.value = exact_table(self.rows)

    def _blank(self, why: str) -> None:
        self.figure = figures.nothing(why)
        self.host.show(self.figure)
        self.table.value = ""

    def _layout(self) -> w.Widget:
        half = {"flex": "1 1 420px", "min_width": "320px"}
        boxes = [w.Box([c], layout=half) for c in self.controls.values()]
        sliders = w.Box(boxes, layout={"flex_flow": "row wrap"})
        return w.VBox([sliders, self.reset_button, self.error, self.host, self.table])

    def snapshot(self) -> list[Any]:
        from IPython.display import HTML

        return [self.figure, HTML(self.table.value)]


class ClaimsExplorer(Explorer):
    """Published figures, recomputed: sorted and filtered, each row opening its computation."""

    SORTS: Mapping[str, Callable[[Any], Any]] = {
        "id": lambda row: row.id, "verdict": lambda row: (row.verdict, row.id),
        "unit": lambda row: (row.unit, row.id), "quantity": lambda row: (row.quantity, row.id),
    }

    def __init__(self, **values: Any):
        from workbench import claims

        self.rows = claims.recompute()
        verdicts = sorted({row.verdict for row in self.rows})
        self.controls = {
            "verdict": _control(w.Dropdown, "verdict", options=["all", *verdicts]),
            "sort": _control(w.Dropdown, "sorted by", options=list(self.SORTS)),
        }
        self.html = w.HTML()
        super().__init__(**values)

    def _draw(self, changed: str | None) -> None:
        wanted, key = self._value("verdict"), self.SORTS[self._value("sort")]
        rows = sorted((row for row in self.rows if wanted in ("all", row.verdict)), key=key)
        self.html.value = claims_table(rows)

    def _blank(self, why: str) -> None:
        self.html.value = ""

    def _layout(self) -> w.Widget:
        bar = w.Box([self.controls["verdict"], self.controls["sort"], self.reset_button])
        return w.VBox([bar, self.error, self.html])

    def snapshot(self) -> list[Any]:
        from IPython.display import HTML

        return [HTML(self.html.value)]


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
