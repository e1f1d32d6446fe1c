"""What all explorers share: the figure host, controls by name, state, errors."""

from __future__ import annotations

import functools
import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

import anywidget
import ipywidgets as w
import traitlets

from workbench.model import designs
from workbench.model.errors import InputError
from workbench.views import figures
from workbench.views._assets import TEMPLATES, plotly_gz
from workbench.views.explorers import _interrupts as interrupts
from workbench.views.explorers._sharing import ShareRow, csv_text
from workbench.views.explorers._state import decode, encode
from workbench.views.figures import inert, plain, with_meta

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from workbench.model.memory.machine import Machine

LIVE = "*The controls are live in JupyterLab: `make lab`, then run this cell.*"
STATE_VERSION = 1  # of an explorer that does not say its own
HISTORY = 100  # steps that can be undone
ONE_STEP_S = 1.0  # changes of one control that follow each other within that are one step: a drag
STOPPED = "stopped; nothing is drawn. Move a control, or undo, to draw again"
STYLE = {"description_width": "128px"}


def _as_json(fig: Mapping[str, Any], _: Any) -> str:
    """A figure as one string: what carries it need not look into it; NaN, which JSON lacks, becomes null."""
    from plotly.utils import PlotlyJSONEncoder

    return json.dumps(fig, cls=PlotlyJSONEncoder, separators=(",", ":"))


def _from_json(text: str, _: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


class PlotHost(anywidget.AnyWidget):
    """A figure in a notebook. ``fig`` is all its state: assign a new dict and it is drawn."""

    _esm = "".join((TEMPLATES / name).read_text() for name in ("fit.js", "plothost.js"))
    _css = ".workbench-note:not(:empty) { padding: 6px 10px; border-left: 3px solid #D55E00; }"
    fig = traitlets.Dict().tag(sync=True, to_json=_as_json, from_json=_from_json)

    def __init__(self, figure: go.Figure | None = None, **traits: Any):
        super().__init__(**traits)
        self.layout.width, self.layout.margin = "100%", "2px 0 12px"
        self.on_msg(self._answer)
        if figure is not None:
            self.show(figure)

    def show(self, figure: go.Figure) -> None:
        """Draw this figure from now on."""
        self.fig = plain(figure)

    def _answer(self, _: Any, message: Any, __: Any) -> None:
        if isinstance(message, Mapping) and message.get("want") == "plotly.js":
            self.send({"send": "plotly.js"}, buffers=[plotly_gz()])


class Working(anywidget.AnyWidget):
    """Says that the kernel computes, and for how long, once that takes longer than a blink.

    The kernel answers nothing while it computes, so Stop asks the server to interrupt it, as the square
    button of JupyterLab does; Voila has no such request, and then it says so.
    """

    _esm = TEMPLATES / "working.js"
    busy = traitlets.Bool(False).tag(sync=True)


class Explorer:
    """Controls by name, an error line, and the views that they drive. Subclasses say which, and draw.

    A subclass names its ``views`` in the order in which they stand below the controls, each ``"figure"`` or
    ``"text"``; makes its ``controls`` and then calls ``super().__init__``; and in ``_draw`` hands each view
    what it shows: ``self.show(name, figure)``, ``self.say(name, html)``, and for those who want the numbers,
    ``self.tables[name] = table``. ``_layout`` arranges the controls above ``self.error`` and the views; the
    row with presets, Undo, Redo and Reset comes in between by itself.
    """

    views: ClassVar[Mapping[str, str]] = {}
    #: Raised whenever a control goes, changes its meaning or starts elsewhere; ``migrations`` then tells how
    #: a state of the version before becomes one of the next: version -> function from values to values. A
    #: state string leaves out what was not moved: the function adds what started elsewhere then.
    version: ClassVar[int] = STATE_VERSION
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], Mapping[str, Any]]]] = {}
    #: Starting points worth seeing, by name: the values of those controls that are not where they start.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    controls: dict[str, Any]
    widget: w.Widget | None = None

    def __init__(self, **values: Any):
        self._quiet, self._blanked, self._turn = False, True, threading.RLock()
        self.figures: dict[str, go.Figure] = {}
        self.tables: dict[str, pd.DataFrame] = {}
        self.hosts = {name: PlotHost() for name, kind in self.views.items() if kind == "figure"}
        self.texts = {name: w.HTML() for name, kind in self.views.items() if kind == "text"}
        self.error = w.HTML()
        self.working = Working()
        self.share_row = ShareRow(self._shared, self._csv)
        self.undo_button = _button("Undo", "One step back", self.undo)
        self.redo_button = _button("Redo", "One step forward again", self.redo)
        self.reset_button = _button("Reset", "All controls back to where they started", self.reset)
        self.presets_list = control(w.Dropdown, "worth seeing", tooltip="Sets all controls",
                                    options=[("", None), *((name, name) for name in self.presets)],
                                    layout={"flex": "0 1 480px", "min_width": "280px"})
        self.presets_list.observe(self._preset_picked, "value")
        for name, one in self.controls.items():
            one.observe(functools.partial(self._changed, name), "value")
        self._first = self.state()
        self._past: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._future: list[dict[str, Any]] = []
        self._last: tuple[str | None, float] = (None, 0.0)
        self._at = self._values()
        with self._one_redraw():
            self._set(values)
        self._past.clear()  # there is no way back to before the first picture
        self._show_history()
        self.widget = self._assembled()

    def state(self) -> dict[str, Any]:
        """All controls as JSON-ready values, by scenario field."""
        return {"explorer": type(self).__name__, "version": self.version, **self._values()}

    def _values(self) -> dict[str, Any]:
        return {name: self._value(name) for name in self.controls}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The explorer that a state came from; an unknown field or version is an InputError.

        A state of an older version is brought up to date by ``migrations``, step by step.
        """
        values = dict(state)
        kind, version = values.pop("explorer", cls.__name__), values.pop("version", None)
        this = f"state of {kind!r}, version {version!r}: this is {cls.__name__}, version {cls.version}"
        if kind != cls.__name__ or type(version) is not int or not 0 <= version <= cls.version:
            raise InputError(this)
        for step in range(version, cls.version):
            if step not in cls.migrations:
                raise InputError(f"{this}, and none that reads version {step}")
            values = dict(cls.migrations[step](values))
        return cls(**values)

    def state_string(self) -> str:
        """The state as one line for an address or a mail: what is not where it starts (``widgets.state``)."""
        now = self.state()
        values = {name: now[name] for name in self.controls if now[name] != self._first[name]}
        return encode(type(self).__name__, self.version, values)

    @classmethod
    def from_string(cls, line: str) -> Self:
        """The explorer that ``state_string`` describes; whatever is wrong with the line is an InputError."""
        return cls.from_state(decode(line))

    def reset(self) -> None:
        """All controls back to where they started."""
        self._start_from({})

    def _start_from(self, values: Mapping[str, Any]) -> None:
        """All controls to where they start, but for these."""
        first = {name: self._first[name] for name in self.controls}
        with self._one_redraw():
            self._set({**first, **values})

    def _preset_picked(self, change: Any) -> None:
        if change["new"] is not None and change["new"] != self._preset_shown():
            self._start_from(self.presets[change["new"]])

    def _preset_shown(self) -> str | None:
        """The preset that the controls stand at."""
        first = {name: self._first[name] for name in self.controls}
        return next((name for name, values in self.presets.items() if {**first, **values} == self._at), None)

    def undo(self) -> None:
        """One step back; the changes of a drag are one step."""
        self._travel(self._past, self._future)

    def redo(self) -> None:
        """One step forward again, after ``undo``."""
        self._travel(self._future, self._past)

    def _travel(self, source: deque | list, target: deque | list) -> None:
        while source and source[-1] == self._at:  # a drag that ended where it began
            source.pop()
        if source:
            target.append(self._at)
            self._at, self._last = source.pop(), (None, 0.0)
            with self._one_redraw():
                self._set(self._at)
        self._show_history()

    def _remember(self, changed: str | None) -> None:
        """Before a drawing: a step of the history, unless this goes on with the last one."""
        now = self._values()
        if now != self._at:
            name, when = self._last
            self._last = (changed, time.monotonic())
            if changed is None or changed != name or self._last[1] - when > ONE_STEP_S:
                self._past.append(self._at)
            self._at = now
            self._future.clear()
        self._show_history()

    def _show_history(self) -> None:
        self.undo_button.disabled, self.redo_button.disabled = not self._past, not self._future
        self.presets_list.value = self._preset_shown()

    def _set(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if name not in self.controls:
                raise InputError(f"{type(self).__name__} has no control {name!r}; it has "
                                 f"{', '.join(self.controls)}")
            try:
                self._assign(name, value)
            except (traitlets.TraitError, TypeError, ValueError) as error:
                raise InputError(f"{name} = {value!r}: {error}") from None
            kept = self._value(name)  # a slider clamps, a number casts, a design without a box is dropped
            if sorted(kept) != sorted(set(value)) if isinstance(kept, list) else kept != value:
                raise InputError(f"{name} = {value!r} would become {kept!r}")

    def _assign(self, name: str, value: Any) -> None:
        self.controls[name].value = tuple(value) if isinstance(self.controls[name], Several) else value

    def _value(self, name: str) -> Any:
        value = self.controls[name].value
        return list(value) if isinstance(self.controls[name], Several) else value

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
        """Compute and draw; whatever goes wrong is said in the error line.

        An interrupt of the kernel ends the drawing and leaves a picture that says so. In a cell that makes
        an explorer it goes on to end the cell.
        """
        with self._turn:  # a cell and the controls can ask at once: JupyterLab's widgets have a thread
            self._redraw(changed)

    def _redraw(self, changed: str | None) -> None:
        try:
            interrupts.hear()
            self._remember(changed)
            self.working.busy = True
            trouble = self._trouble(changed)
            with interrupts.deaf():
                self._settle(trouble)
        except KeyboardInterrupt:
            with interrupts.deaf():
                self._settle(STOPPED)
            if self.widget is None:
                raise

    def _trouble(self, changed: str | None) -> str:
        """Draw; what went wrong."""
        try:
            self._draw(None if self._blanked else changed)
        except InputError as error:
            return str(error)
        except Exception as error:  # a bug of ours must not leave an old picture under new labels
            return f"{type(error).__name__}: {error}"
        return ""

    def _settle(self, trouble: str) -> None:
        """What is left of a drawing: the picture and no error, or the error and no picture."""
        if trouble:
            self.error.value = f'<div role="alert" class="workbench-note">{inert(trouble)}</div>'
            self._blank("Nothing is drawn: the computation was stopped." if trouble is STOPPED else
                        "Nothing is drawn: the input above cannot be used.")
        else:
            self.error.value, self._blanked = "", False
        self.share_row.renew()
        self.working.busy = False

    def title(self) -> str:
        """What the mail is about, in one line."""
        return (type(self).__doc__ or type(self).__name__).splitlines()[0].rstrip(".")

    def setup(self) -> dict[str, str]:
        """What the numbers belong to, for the mail; by default every control by its label."""
        def said(name: str) -> str:
            value = self._value(name)
            return ", ".join(value) if isinstance(value, list) else str(getattr(
                self.controls[name], "label", value))
        return {getattr(one, "description", "") or name: said(name) for name, one in self.controls.items()}

    def command(self) -> str:
        """A shell line that prints the mail's table; "" where the command line has none."""
        return ""

    def result(self) -> tuple[pd.DataFrame, Mapping[str, str] | None]:
        """The mail's table, and its columns with their headings (None: all of them)."""
        return next(iter(self.tables.values())), None

    def notes(self) -> list[str]:
        """What the table leaves out or assumes."""
        return []

    def sources(self) -> list[str]:
        """Where the numbers come from: every explorer says so."""
        return []

    def mail(self) -> str:
        """The result as a mail, its subject first: at most 72 columns of ASCII, with the state in it."""
        from workbench import __version__
        from workbench.studies.argument import mail_note
        from workbench.studies.argument._document import subject
        from workbench.studies.argument._mail import plain as plain_text

        if self._blanked or not self.tables:
            raise InputError("nothing is drawn, so there is nothing to send")
        table, columns = self.result()
        if columns:
            table = table[list(columns)].rename(columns=dict(columns))
        setup = {name: value for name, value in self.setup().items() if value}
        setup |= {"state": self.state_string(), "by": f"page-workbench {__version__}"}
        title = re.sub(r"(\S{50})(?=\S)", r"\1 ", plain_text(self.title()))  # else no header line holds it
        return subject(title) + "\n\n" + mail_note("", setup=setup, command=self.command(), table=table,
                                                   notes=self.notes(), sources=self.sources())

    def python(self) -> str:
        """Two lines of Python that make this explorer again, whatever has been imported before."""
        name, module = type(self).__name__, type(self).__module__
        public = "workbench.views.explorers" if module.startswith("workbench.views.explorers.") else module
        return f"from {public} import {name}\n{name}.from_string({json.dumps(self.state_string())})"

    def csv(self, name: str) -> str:
        """One of the tables as CSV (``widgets.sharing.csv_text``)."""
        if name not in self.tables:
            raise InputError(f"no table {name!r}; there are {', '.join(self.tables) or 'none'}")
        return csv_text(self.tables[name])

    def _csv(self, name: str) -> tuple[str, str]:
        own = re.sub("(?<!^)(?=[A-Z])", "-", type(self).__name__.removesuffix("Explorer")).lower()
        try:
            return f"{own}-{name.replace(' ', '-')}.csv", self.csv(name)
        except InputError as error:
            return "nothing.csv", f"{error}\r\n"

    def _shared(self) -> dict[str, Any]:
        """What the open row shows."""
        found: dict[str, Any] = {"tables": list(self.tables)}
        for name, said in (("mail", self.mail), ("state", self.state_string), ("python", self.python)):
            try:
                found[name] = said()
            except InputError as error:
                found[name] = str(error)
        return found

    def show(self, name: str, figure: go.Figure) -> None:
        """A figure for one of the views; it carries the state that it was drawn from."""
        self.figures[name] = with_meta(figure, state=self.state())
        self.hosts[name].show(self.figures[name])

    def say(self, name: str, text: str) -> None:
        """HTML for one of the views."""
        self.texts[name].value = text

    def _blank(self, why: str) -> None:
        """Never an old picture under new labels; the next drawing draws everything."""
        self._blanked = True
        self.tables.clear()
        for name in self.hosts:
            self.show(name, figures.nothing(why))
        for text in self.texts.values():
            text.value = ""

    def _draw(self, changed: str | None) -> None:
        """Hand every view what it shows; only those that ``changed`` moves where that is a control's name."""
        raise NotImplementedError

    def _layout(self) -> w.Box:
        raise NotImplementedError

    def _assembled(self) -> w.Box:
        """The layout, and the rows that all explorers share in front of the error line."""
        root = self._layout()
        buttons = [button for button in (self.undo_button, self.redo_button, self.reset_button)
                   if button not in _inside(root)]
        bar = w.Box([*([self.presets_list] if self.presets else []), *buttons], layout=WRAP)
        at = root.children.index(self.error) if self.error in root.children else 0
        root.children = (*root.children[:at], bar, self.share_row, self.working, *root.children[at:])
        return root

    def view_widgets(self) -> list[w.Widget]:
        """The views, in their order."""
        return [(self.hosts if kind == "figure" else self.texts)[name] for name, kind in self.views.items()]

    def snapshot(self) -> list[Any]:
        """What to leave where there is no front end: figures and texts, in their order."""
        from IPython.display import HTML

        return [self.figures[name] if kind == "figure" else HTML(self.texts[name].value)
                for name, kind in self.views.items()]

    def _ipython_display_(self) -> None:
        from IPython.display import Markdown, display

        if os.environ.get("WORKBENCH_BATCH"):
            display(*self.snapshot(), Markdown(LIVE))
        else:
            display(self.widget)


def _button(name: str, tooltip: str, act: Callable[[], None]) -> w.Button:
    button = w.Button(description=name, tooltip=tooltip, layout={"width": "72px"})
    button.on_click(lambda _: act())
    return button


def _inside(box: w.Widget) -> Iterator[w.Widget]:
    yield box
    for child in getattr(box, "children", ()):
        yield from _inside(child)


class Several(traitlets.HasTraits):
    """Check boxes as one control: ``value`` is a tuple of the ticked names."""

    value = traitlets.Tuple()

    def __init__(self, boxes: Mapping[str, w.Checkbox]):
        super().__init__()
        self.boxes, self._ticking = boxes, False
        for box in boxes.values():
            box.observe(self._ticked, "value")

    def _ticked(self, _: Any) -> None:
        if not self._ticking:
            self.value = tuple(name for name, box in self.boxes.items() if box.value)

    @traitlets.validate("value")
    def _known(self, proposal: Any) -> tuple[str, ...]:
        for name in proposal["value"]:
            designs.get(name)  # an unknown one is an InputError
        return tuple(name for name in self.boxes if name in proposal["value"])

    @traitlets.observe("value")
    def _tick(self, change: Any) -> None:
        self._ticking = True  # the boxes follow, and are not followed
        try:
            for name, box in self.boxes.items():
                box.value = name in change["new"]
        finally:
            self._ticking = False


def control(kind: Callable[..., w.Widget], description: str, **traits: Any) -> Any:
    """A control with its label, in the style that all share."""
    return kind(description=description, style=STYLE, **{"layout": {"width": "98%"}, **traits})


class Listed:
    """A list of shipped names beside a text that also takes any other: the list follows the text."""

    def __init__(self, names: Sequence[str], text: w.Text, **traits: Any):
        self.text, self.names = text, ("", *names)
        self.widget = control(w.Dropdown, options=self.names, **traits)
        self.widget.observe(self._picked, "value")
        text.observe(self._follow, "value")
        self._follow()

    def _picked(self, change: Any) -> None:
        if change["new"]:
            self.text.value = change["new"]
        else:
            self._follow()

    def _follow(self, _: Any = None) -> None:
        name = self.text.value.strip()
        self.widget.value = name if name in self.names else ""


def sources_of(names: Sequence[str]) -> list[str]:
    """Where the designs of these names are from; variants share theirs."""
    found = {name.split(":")[0]: designs.get(name).source for name in names if name in designs.registry()}
    return [f"{name}: {source}" for name, source in found.items()]


def machine_source(machine: Machine) -> str:
    """Where a machine's memory layout is from."""
    made = "made up" if machine.source == "spec" else machine.source
    return f"machine {machine.name}: {made}; struct sizes: {machine.kernel.source}"


def tick_boxes(names: Sequence[str]) -> Several:
    """Designs to choose from, each with its summary as a tooltip."""
    return Several({name: w.Checkbox(description=name, indent=False, tooltip=designs.get(name).summary,
                                     layout={"width": "auto", "margin": "0 14px 0 0"}) for name in names})


#: Layouts that explorers share: half of the width where there is room, and rows that wrap.
HALF = {"flex": "1 1 420px", "min_width": "320px"}
WRAP = {"flex_flow": "row wrap"}
#: Lines of source stay lines: JupyterLab wraps them otherwise.
PRE = "line-height:1.35;white-space:pre;overflow-x:auto"


def design_row(several: Several, *more: w.Widget) -> w.Widget:
    """The labelled row of check boxes, and what stands behind them."""
    label = w.Label("designs", layout={"flex": "0 0 128px", "margin": "2px 8px 2px 2px",
                                       "justify_content": "flex-end"})
    return w.HBox([label, w.Box([*several.boxes.values(), *more], layout=WRAP)])
