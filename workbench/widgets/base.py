"""What all explorers share: the figure host, controls by name, state, errors."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import anywidget
import ipywidgets as w
import traitlets

from workbench import designs, figures
from workbench.errors import InputError
from workbench.figures import inert
from workbench.pages import plotly_gz
from workbench.widgets.state import decode, encode

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

LIVE = "*The controls are live in JupyterLab: `make lab`, then run this cell.*"
STATE_VERSION = 1  # of an explorer that does not say its own
STYLE = {"description_width": "128px"}
_TEMPLATES = Path(__file__).parents[1] / "templates"


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
    """Controls by name, an error line, and the views that they drive. Subclasses say which, and draw.

    A subclass names its ``views`` in the order in which they stand below the controls, each ``"figure"`` or
    ``"text"``; makes its ``controls`` and then calls ``super().__init__``; and in ``_draw`` hands each view
    what it shows: ``self.show(name, figure)``, ``self.say(name, html)``, and for those who want the numbers,
    ``self.tables[name] = table``.
    """

    views: ClassVar[Mapping[str, str]] = {}
    #: Raised whenever a control goes, changes its meaning or starts elsewhere; ``migrations`` then tells how
    #: a state of the version before becomes one of the next: version -> function from values to values. A
    #: state string leaves out what was not moved: the function adds what started elsewhere then.
    version: ClassVar[int] = STATE_VERSION
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], Mapping[str, Any]]]] = {}
    controls: dict[str, Any]

    def __init__(self, **values: Any):
        self._quiet, self._blanked = False, True
        self.figures: dict[str, go.Figure] = {}
        self.tables: dict[str, pd.DataFrame] = {}
        self.hosts = {name: PlotHost() for name, kind in self.views.items() if kind == "figure"}
        self.texts = {name: w.HTML() for name, kind in self.views.items() if kind == "text"}
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
        return {"explorer": type(self).__name__, "version": self.version, **found}

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
        """Compute and draw; whatever goes wrong is said in the error line."""
        try:
            self._draw(None if self._blanked else changed)
        except InputError as error:
            self._fail(str(error))
        except Exception as error:  # a bug of ours must not leave an old picture under new labels
            self._fail(f"{type(error).__name__}: {error}")
        else:
            self.error.value, self._blanked = "", False

    def _fail(self, why: str) -> None:
        self.error.value = f'<div role="alert" class="workbench-note">{inert(why)}</div>'
        self._blank("Nothing is drawn: the input above cannot be used.")

    def show(self, name: str, figure: go.Figure) -> None:
        """A figure for one of the views; it carries the state that it was drawn from."""
        figure.layout.meta = {**figure.layout.meta, "state": self.state()}
        self.figures[name] = figure
        self.hosts[name].show(figure)

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

    def _layout(self) -> w.Widget:
        raise NotImplementedError

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


class Several(traitlets.HasTraits):
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


def tick_boxes(names: Sequence[str]) -> Several:
    """Designs to choose from, each with its summary as a tooltip."""
    return Several({name: w.Checkbox(description=name, indent=False, tooltip=designs.get(name).summary,
                                     layout={"width": "auto", "margin": "0 14px 0 0"}) for name in names})


#: Layouts that explorers share: half of the width where there is room, and rows that wrap.
HALF = {"flex": "1 1 420px", "min_width": "320px"}
WRAP = {"flex_flow": "row wrap"}


def design_row(several: Several, *more: w.Widget) -> w.Widget:
    """The labelled row of check boxes, and what stands behind them."""
    label = w.Label("designs", layout={"flex": "0 0 128px", "margin": "2px 8px 2px 2px",
                                       "justify_content": "flex-end"})
    return w.HBox([label, w.Box([*several.boxes.values(), *more], layout=WRAP)])
