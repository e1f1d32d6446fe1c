"""An explorer as one HTML file: its sliders move without a kernel and without a network.

``share(explorer, "page.html")`` sets the explorer's controls to every point of a grid, keeps what each view
shows there, and packs it into a page together with plotly.js. A control of the page has the computed
positions and no others: every picture is the one that the explorer drew, nothing is interpolated. The page
names those positions, says at which values the other controls are fixed, and gives the line that opens the
same point in JupyterLab. Where the input cannot be used, the page shows the explorer's error line.

Left out: controls that are not on the grid, and what follows from clicks on a figure. The page holds exact
numbers as they were; what bounds it is its size (``limit_bytes``).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.model.errors import InputError, printable
from workbench.model.files import write_whole
from workbench.studies.provenance import provenance
from workbench.views import _assets as pages
from workbench.views.figures import PNG_WIDTH

if TYPE_CHECKING:
    import pandas as pd

    from workbench.views.explorers import Explorer

LIMIT_BYTES = 4_000_000  # of the whole page; chosen: what a mail or a code host still takes
RULE_POINTS = 600  # where an explorer proposes no axes: at most this many points; chosen
RULE_VALUES = 8  # and at most this many values of a slider
STATIC_ROWS = 40  # of a table, on a page without JavaScript
_EXACT_IN_JS = 1 << 53  # beyond it a double has no room for every integer


@dataclass(frozen=True)
class Axis:
    """A control of the page: the values that were computed, and what each is called."""

    name: str
    label: str
    kind: str  # "range", "select" or "check"
    values: list[Any]
    labels: list[str]
    keys: list[str]  # in the address of the page
    start: int


@dataclass
class Kept:
    """What one view showed: each distinct document once, and which of them at which point."""

    docs: list[Any] = field(default_factory=list)
    at: dict[int, int] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)
    _last: tuple[Any, int] = (None, -1)

    def put(self, point: int, shown: Any, document: Callable[[Any], Any]) -> None:
        """Keep ``document(shown)``; the very object of the last call is the same document."""
        if shown is not self._last[0]:
            doc = document(shown)
            text = json.dumps(doc, allow_nan=False)
            if text not in self._seen:
                self._seen[text] = len(self.docs)
                self.docs.append(json.loads(text))
            self._last = (shown, self._seen[text])
        self.at[point] = self._last[1]


def share(explorer: Explorer, path: str | Path, *, axes: Mapping[str, Any] | None = None,
          title: str | None = None, notebook: str | Path | None = None, limit_bytes: int = LIMIT_BYTES,
          pictures: bool = True, progress: Callable[[str], None] | None = None) -> Path:
    """Write one self-contained page on which the explorer's controls work.

    Parameters
    ----------
    explorer : Explorer
        Where its controls stand is where the page starts; it is not changed.
    path : path
        The file to write; nothing is left there unless all of it is.
    axes : mapping, optional
        Control to the values that the page offers; ``...`` stands for all that the control has. The value it
        stands at joins them. Without ``axes``: what the explorer proposes (``share_axes``), or a rule.
    title : str, optional
        The page's heading; otherwise the explorer's own first line.
    notebook : path, optional
        A notebook that the page hands out beside the small one that opens this explorer.
    limit_bytes : int
        A page that would be larger is refused, if possible before all of it is computed.
    pictures : bool
        Draw the PNGs that a page without JavaScript shows, where a Chromium is there to draw them.
    progress : callable, optional
        Gets lines of text; by default they go to stderr.

    Returns
    -------
    Path
        The file.
    """
    say = progress or (lambda line: print(f"share: {line}", file=sys.stderr, flush=True))
    path, extra = Path(path), _notebook(notebook)
    if path.is_dir() or not path.parent.is_dir():
        raise InputError("is a folder, not a file to write" if path.is_dir() else "its folder is not there",
                         file=path)
    began = time.perf_counter()
    grid = Grid(explorer, axes)
    room = limit_bytes - len(pages.plotly_text())
    grid.estimate(room, limit_bytes, say)
    grid.compute(say)
    start = grid.start_point()
    shown = start["figures"] if pictures else {}
    pngs = {name: pages.picture(figure, PNG_WIDTH) for name, figure in shown.items()}
    text = _page(grid, title, pngs, extra)
    size = len(text.encode())
    if size > limit_bytes:
        raise InputError(grid.too_large(size, limit_bytes), file=path)
    write_whole(path, text)
    say(f"wrote {path}: {grid.nr_points:,} points, {size / 1e6:.2f} MB, {time.perf_counter() - began:.1f} s")
    return path


class Grid:
    """Every combination of the axes' values, and what the explorer showed at each.

    A point's number counts the combinations row by row, the last axis fastest.
    """

    def __init__(self, explorer: Explorer, axes: Mapping[str, Any] | None = None):
        self.explorer = type(explorer).from_state(explorer.state())  # the user's own stays as it is
        chosen = axes if axes is not None else getattr(type(explorer), "share_axes", None)
        self.axes = [_axis(self.explorer, name, values)
                     for name, values in (chosen or _rule(self.explorer)).items()]
        if not self.axes:
            raise InputError(f"{type(explorer).__name__}: no axis is given, and its controls propose none")
        self.shape = [len(axis.values) for axis in self.axes]
        self.nr_points = math.prod(self.shape)
        self.views: dict[tuple[str, str], Kept] = {}
        self.errors: dict[int, str] = {}
        self.start = self._number([axis.start for axis in self.axes])
        self._done: set[int] = set()
        self._here = [axis.start for axis in self.axes]
        self._keep(self.start)  # it was drawn when the explorer was made

    def _number(self, places: Sequence[int]) -> int:
        number = 0
        for place, length in zip(places, self.shape, strict=True):
            number = number * length + place
        return number

    def _go(self, places: Sequence[int]) -> None:
        """Set the controls and keep what the views show; as a user does, where one control moves."""
        point = self._number(places)
        if point in self._done:
            return
        moved = [at for at, (old, new) in enumerate(zip(self._here, places, strict=True)) if old != new]
        names = [self.axes[at].name for at in moved]
        for at in moved:
            _taken(self.explorer, self.axes[at].name, self.axes[at].values[places[at]])
        self.explorer.redraw(names[0] if len(names) == 1 else None)
        self._here = list(places)
        self._keep(point)

    def _keep(self, point: int) -> None:
        explorer = self.explorer
        self._done.add(point)
        if explorer.error.value:
            self.errors[point] = explorer.error.value
            return
        for name, figure in explorer.figures.items():
            self._view("figures", name).put(point, figure, _figure)
        for name, text in explorer.texts.items():
            self._view("texts", name).put(point, text.value, str)
        for name, table in explorer.tables.items():
            self._view("tables", name).put(point, table, _table)
        if mail := _mail(explorer):
            self._view("mail", "mail").put(point, mail, str)

    def _view(self, kind: str, name: str) -> Kept:
        return self.views.setdefault((kind, name), Kept())

    def estimate(self, room: int, limit_bytes: int, say: Callable[[str], None]) -> None:
        """Move each control alone, see which views follow, and refuse what would be far too large."""
        start, began = list(self._here), time.perf_counter()
        follows: dict[tuple[str, str], float] = dict.fromkeys(self.views, 1.0)
        usable = not self.errors
        for at, axis in enumerate(self.axes):
            tried = sorted({0, len(axis.values) // 2, len(axis.values) - 1} - {axis.start})
            before = {key: len(kept.docs) for key, kept in self.views.items()}
            for place in tried:
                self._go([*start[:at], place, *start[at + 1:]])
            for key, kept in self.views.items():
                if tried and (new := len(kept.docs) - before.get(key, 0)):
                    follows[key] = follows.get(key, 1.0) * max(1.0, len(axis.values) * new / len(tried))
            if tried and usable and before == {key: len(kept.docs) for key, kept in self.views.items()}:
                say(f"{axis.name}: no view follows it from where the page starts")
        self._go(start)
        seconds = (time.perf_counter() - began) / len(self._done)
        nr_bytes = 0.0
        for key, kept in self.views.items():
            one = len(_zip(pack(kept.docs[:1])))
            more = (len(_zip(pack(kept.docs))) - one) / max(1, len(kept.docs) - 1)
            nr_bytes += one + more * follows.get(key, 1.0)
        size = limit_bytes - room + 4 / 3 * nr_bytes
        shape = " x ".join(f"{len(axis.values)} {axis.name}" for axis in self.axes)
        say(f"{self.nr_points:,} points ({shape}), about {size / 1e6:.1f} MB and "
            f"{self.nr_points * seconds:.0f} s")
        if size > 1.5 * limit_bytes:
            raise InputError("estimated: " + self.too_large(int(size), limit_bytes))

    def too_large(self, size: int, limit_bytes: int) -> str:
        """Why not, and what would help."""
        plotly = len(pages.plotly_text())
        longest = max(self.axes, key=lambda axis: len(axis.values))
        return (f"the page would take {size:,} bytes of {limit_bytes:,}: plotly.js {plotly:,}, "
                f"{self.nr_points:,} points about {(size - plotly) // self.nr_points:,} each; give fewer "
                f"values, first of {longest.name} ({len(longest.values)}), or a larger limit_bytes")

    def compute(self, say: Callable[[str], None]) -> None:
        """Every point; the first axis moves fastest, back and forth, so that one control moves at a time."""
        said = time.perf_counter()
        for places in _back_and_forth(self.shape):
            self._go(places)
            if time.perf_counter() - said > 5:
                said = time.perf_counter()
                say(f"{len(self._done):,} of {self.nr_points:,} points")
        if len(self.errors) == self.nr_points:
            raise InputError(f"no point of the grid can be used; the first says: {_plain(self.errors[0])}")

    def payload(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        views = []
        for (kind, name), kept in self.views.items():
            at = [kept.at.get(point, -1) for point in range(self.nr_points)]
            views.append({"kind": kind, "name": name, "at": at, "docs": pack(kept.docs)})
        return {
            "explorer": type(self.explorer).__name__, "state": self.explorer.state(), "start": self.start,
            "axes": [vars(axis) for axis in self.axes], "views": views, "errors": self.errors,
        }

    def start_point(self) -> dict[str, dict[str, Any]]:
        """What the views show where the page starts."""
        found: dict[str, dict[str, Any]] = {"figures": {}, "texts": {}, "tables": {}, "mail": {}}
        for (kind, name), kept in self.views.items():
            if self.start in kept.at:
                found[kind][name] = kept.docs[kept.at[self.start]]
        return found

    def state(self) -> dict[str, Any]:
        """The controls where the page starts."""
        return {**self.explorer.state(), **{axis.name: axis.values[axis.start] for axis in self.axes}}


def _back_and_forth(shape: Sequence[int]) -> Iterator[list[int]]:
    """Every point of a grid, each one step from the one before; the first axis fastest.

    Examples
    --------
    >>> list(_back_and_forth([2, 2]))
    [[0, 0], [1, 0], [1, 1], [0, 1]]
    """
    if not shape:
        yield []
        return
    forth = range(shape[0])
    for nth, rest in enumerate(_back_and_forth(shape[1:])):
        for first in (reversed(forth) if nth % 2 else forth):
            yield [first, *rest]


def pack(docs: Sequence[Any]) -> dict[str, Any]:
    """JSON documents, with what they have in common written once.

    Documents of the same shape share their first; each place where they differ (a scalar, or a list with no
    objects in it) becomes a column of distinct values. Exact: ``unpack`` gives the same JSON back.

    Returns
    -------
    dict
        ``shapes``: {first, columns: [{path, values, at}]}; ``of``: per document its shape and its row.

    Examples
    --------
    >>> packed = pack([{"a": 1, "b": [1, 2]}, {"a": 1, "b": [3]}])
    >>> packed["shapes"][0]["columns"], unpack(packed, 1)
    ([{'path': ['b'], 'values': [[1, 2], [3]], 'at': [0, 1]}], {'a': 1, 'b': [3]})
    """
    shapes: dict[str, tuple[Any, list[tuple[Any, ...]], list[list[Any]]]] = {}
    of = []
    for doc in docs:
        paths: list[tuple[Any, ...]] = []
        leaves: list[Any] = []
        shape = json.dumps(_shape(doc, (), paths, leaves))
        _, _, rows = shapes.setdefault(shape, (doc, paths, []))
        of.append([list(shapes).index(shape), len(rows)])
        rows.append(leaves)
    return {"shapes": [{"first": first, "columns": list(_columns(paths, rows))}
                       for first, paths, rows in shapes.values()], "of": of}


def _shape(node: Any, path: tuple[Any, ...], paths: list[tuple[Any, ...]], leaves: list[Any]) -> Any:
    if isinstance(node, dict) and node:
        return {key: _shape(value, (*path, key), paths, leaves) for key, value in node.items()}
    if isinstance(node, list) and _holds_objects(node):
        return [_shape(value, (*path, at), paths, leaves) for at, value in enumerate(node)]
    paths.append(path)
    leaves.append(node)
    return 0


def _holds_objects(node: list[Any]) -> bool:
    return any(isinstance(value, dict) or (isinstance(value, list) and _holds_objects(value))
               for value in node)


def _columns(paths: Sequence[tuple[Any, ...]], rows: Sequence[Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for path, column in zip(paths, zip(*rows, strict=True), strict=True):
        values: dict[str, int] = {}  # by JSON text: 1, 1.0 and true are three things
        at = [values.setdefault(json.dumps(value), len(values)) for value in column]
        if len(values) > 1:
            yield {"path": list(path), "values": [json.loads(text) for text in values], "at": at}


def unpack(packed: Mapping[str, Any], number: int) -> Any:
    """The document of that number; the page's ``unpack`` does the same."""
    shape, row = packed["of"][number]
    doc = json.loads(json.dumps(packed["shapes"][shape]["first"]))
    for column in packed["shapes"][shape]["columns"]:
        value = column["values"][column["at"][row]]
        if not column["path"]:
            doc = value
            continue
        node = doc
        for key in column["path"][:-1]:
            node = node[key]
        node[column["path"][-1]] = value
    return doc


def _zip(value: Any) -> bytes:
    return gzip.compress(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(), 9, mtime=0)


def read(path: str | Path) -> dict[str, Any]:
    """The payload of a page that ``share`` wrote."""
    import re

    found = re.search(r'<script type="application/gzip" id="points">([^<]*)</script>',
                      Path(path).read_text(encoding="utf-8"))
    if not found:
        raise InputError("is not a page that share() wrote", file=path)
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def _figure(figure: Any) -> Any:
    """A figure as plotly.js gets it, without the state it was drawn from: that the page knows."""
    import plotly.io as pio

    found = json.loads(pio.to_json(figure, validate=False, engine="json"))
    found.get("layout", {}).get("meta", {}).pop("state", None)
    return {"data": found["data"], "layout": found["layout"]}


def _table(table: pd.DataFrame) -> dict[str, Any]:
    """A table, column by column, with exact numbers."""
    return {"columns": [str(name) for name in table.columns],
            "data": [[_cell(value) for value in table.iloc[:, at].tolist()] for at in range(table.shape[1])]}


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT_IN_JS else str(value)
    if type(value).__name__ in ("NAType", "NaTType"):  # what a column of integers has for a missing one
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    item = getattr(value, "item", None)  # a numpy scalar in a column of objects
    return _cell(item()) if callable(item) else str(value)


def _mail(explorer: Explorer) -> str:
    """The explorer's text for a mailing list, where it has one."""
    mail = getattr(explorer, "mail", None)
    try:
        return str(mail()) if callable(mail) else ""
    except Exception:  # no mail is no reason to have no page
        return ""


def _axis(explorer: Explorer, name: str, values: Any) -> Axis:
    """A control as an axis; the value it stands at is among its values."""
    import ipywidgets as w

    if name not in explorer.controls:
        raise InputError(f"{type(explorer).__name__} has no control {name!r}; it has "
                         f"{', '.join(explorer.controls)}")
    control, here = explorer.controls[name], explorer._value(name)
    every = every_value(control)
    if values is ...:
        if every is None:
            raise InputError(f"axes: {name} can hold any text; list its values instead of ...")
        values = every
    if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
        raise InputError(f"axes: {name} = {values!r} is not a list of values")
    found: list[Any] = []
    for value in [*values, here]:
        taken = _taken(explorer, name, list(value) if isinstance(value, tuple) else value)
        if not any(taken == other and type(taken) is type(other) for other in found):
            found.append(taken)
    _taken(explorer, name, here)
    slides = isinstance(control, w.SelectionSlider | w.IntSlider | w.FloatSlider)
    if slides:
        order = every_value(control) or []  # again: a control may have taken on a value that it did not offer
        found.sort(key=order.index if all(value in order for value in found) else None)
    kind = "check" if isinstance(control, w.Checkbox) else "range" if slides else "select"
    labels = [value_label(control, value) for value in found]
    keys = [key_of(value, label) for value, label in zip(found, labels, strict=True)]
    keys = [key if keys.index(key) == at else f"{key}~{at}" for at, key in enumerate(keys)]
    return Axis(name, control_label(name, control), kind, found, labels, keys, found.index(here))


def _taken(explorer: Explorer, name: str, value: Any) -> Any:
    """What a control holds once it is set to a value; one that it bends into another is refused."""
    explorer._quiet = True
    try:
        explorer._set({name: value})
    finally:
        explorer._quiet = False
    taken = explorer._value(name)
    if taken != value:
        raise InputError(f"axes: {name} = {value!r} becomes {taken!r} when it is set")
    return taken


def every_value(control: Any) -> list[Any] | None:
    """All values that a control can take; None where it takes any text."""
    import ipywidgets as w

    if isinstance(control, w.Checkbox):
        return [False, True]
    if isinstance(control, w.IntSlider):
        return list(range(control.min, control.max + 1, control.step or 1))
    if isinstance(control, w.FloatSlider):
        nr = round((control.max - control.min) / control.step)
        return [control.min + at * control.step for at in range(nr + 1)]
    if isinstance(control, w.SelectionSlider | w.Dropdown | w.Select | w.RadioButtons | w.ToggleButtons):
        return [value for _, value in _options(control)]
    return None


def _options(control: Any) -> list[tuple[str, Any]]:
    """Labels and values of a control that has a list of them."""
    options = control.options.items() if isinstance(control.options, Mapping) else control.options
    return [one if isinstance(one, tuple) and len(one) == 2 else (str(one), one) for one in options]


def _rule(explorer: Explorer) -> dict[str, list[Any]]:
    """Axes for an explorer that proposes none: whole controls with the fewest values first, up to a limit."""
    offered = {}
    for name, control in explorer.controls.items():
        every = every_value(control)
        if every and not getattr(control, "disabled", False):
            if len(every) > RULE_VALUES:
                every = [every[round(at * (len(every) - 1) / (RULE_VALUES - 1))] for at in range(RULE_VALUES)]
            offered[name] = every
    chosen: dict[str, list[Any]] = {}
    for name in sorted(offered, key=lambda name: len(offered[name])):
        nr = math.prod(len(values) + 1 for values in chosen.values())  # the value it stands at may join
        if nr * len(offered[name]) <= RULE_POINTS and len(offered[name]) > 1:
            chosen[name] = offered[name]
    return {name: chosen[name] for name in explorer.controls if name in chosen}


def control_label(name: str, control: Any) -> str:
    """What a control is called on the page."""
    import ipywidgets as w

    said = "" if type(control) is w.Text else getattr(control, "description", "")
    return printable(said or name.replace("_", " "))


def value_label(control: Any, value: Any) -> str:
    """What one of a control's values is called, on one line."""
    for label, other in _options(control) if hasattr(control, "options") else []:
        if other == value and type(other) is type(value):
            return printable(str(label), 60)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return printable(", ".join(map(str, value)), 80) or "none"
    lines = str(value).strip().splitlines()
    return printable(lines[0], 60) + (" ..." if len(lines) > 1 else "") if lines else "(empty)"


def key_of(value: Any, label: str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return f"{value}"
    plain = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return plain if plain and len(plain) <= 60 and plain.isprintable() and value is not None else label


def _plain(markup: str) -> str:
    """The text of a line of HTML."""
    import html
    import re

    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def _code(explorer: str, state: Mapping[str, Any]) -> str:
    return f"from workbench import explorers\nexplorers.{explorer}.from_state({dict(state)!r})"


def _again(grid: Grid) -> str:
    """The call that makes the page again."""
    axes = {axis.name: axis.values for axis in grid.axes}
    return (f"share(explorers.{type(grid.explorer).__name__}.from_state({grid.state()!r}), "
            f"\"page.html\", axes={axes!r})")


def _own_notebook(grid: Grid, title: str) -> str:
    """A small notebook that opens the explorer where the page starts."""
    import nbformat

    name = type(grid.explorer).__name__
    book = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell(f"# {title}\n\nThe explorer of the page, with all its controls."),
        nbformat.v4.new_code_cell(_code(name, grid.state())),
        nbformat.v4.new_markdown_cell("The page itself again:"),
        nbformat.v4.new_code_cell(f"# from workbench import explorers, share\n# {_again(grid)}")])
    for at, cell in enumerate(book.cells):
        cell["id"] = f"cell-{at:02d}"
    book.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python",
                                   "name": "python3"}
    return nbformat.writes(book)


def _notebook(path: str | Path | None) -> tuple[str, str] | None:
    """Name and text of a notebook that the caller gave."""
    if path is None:
        return None
    import nbformat

    try:
        book = nbformat.read(Path(path), as_version=4)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    except Exception as error:  # nbformat raises whatever its parser raised
        raise InputError(f"not a notebook: {type(error).__name__}: {error}", file=path) from None
    return Path(path).name, nbformat.writes(book)


def heading(kind: type[Explorer]) -> tuple[str, str]:
    """A kind of explorer in words: the first clause of its documentation, and the others."""
    text = " ".join((kind.__doc__ or kind.__name__).strip().split("\n\n")[0].replace("`", "").split())
    title, _, about = text.replace("? ", "?\0").replace(": ", "\0").replace("; ", "\0").partition("\0")
    return title.removesuffix("."), about.replace("?\0", "? ").replace("\0", "; ")


def _page(grid: Grid, title: str | None, pngs: Mapping[str, str], extra: tuple[str, str] | None) -> str:
    explorer = grid.explorer
    first, about = heading(type(explorer))
    title, about = (first, about) if title is None else (title, f"{first}: {about}" if about else first)
    start, shared = grid.start_point(), {axis.name for axis in grid.axes}
    fixed = [(control_label(name, control), value_label(control, explorer._value(name)))
             for name, control in explorer.controls.items()
             if name not in shared and not getattr(control, "disabled", False)]
    views = []
    for name, kind in explorer.views.items():
        layout = start["figures"].get(name, {}).get("layout", {})
        views.append({"name": name, "kind": kind, "html": start["texts"].get(name, ""),
                      "png": pngs.get(name, ""), "alt": layout.get("meta", {}).get("alt", "figure"),
                      "height": int(layout.get("height") or 300)})
    tables = [_shown(name, doc) for name, doc in start["tables"].items()]
    books = [(f"{type(explorer).__name__}.ipynb", "This explorer", _own_notebook(grid, title))]
    if extra:
        books.append((extra[0], extra[0], extra[1]))
    payload = _zip(grid.payload())
    return pages.template("share.html").render(
        title=title, about=about, axes=grid.axes, fixed=fixed, views=views, tables=tables, errors=grid.errors,
        start_error=grid.errors.get(grid.start, ""), nr_points=grid.nr_points, nr_unusable=len(grid.errors),
        books=[(name, text, base64.b64encode(book.encode()).decode()) for name, text, book in books],
        code=_code(type(explorer).__name__, grid.state()), mail=start["mail"].get("mail", ""),
        has_mail=("mail", "mail") in grid.views, static_rows=STATIC_ROWS, plotly=pages.plotly_text(),
        points=base64.b64encode(payload).decode(), nonce=hashlib.sha256(payload).hexdigest()[:24],
        printable=lambda value: "" if value is None else printable(str(value)),
        footer=provenance(Path(__file__).parent, _again(grid)))


def _shown(name: str, doc: Mapping[str, Any]) -> dict[str, Any]:
    """The first rows of a table; few rows of many columns lie on their side, as the page's code does it."""
    nr_rows = len(doc["data"][0]) if doc["data"] else 0
    if 0 < nr_rows <= 6 and len(doc["columns"]) > 8:
        turned = [[column, *values] for column, values in zip(doc["columns"], doc["data"], strict=True)]
        return {"name": name, "nr_rows": nr_rows, "columns": turned[0], "rows": turned[1:], "all": True}
    rows = list(itertools.islice(zip(*doc["data"], strict=True), STATIC_ROWS))
    return {"name": name, "nr_rows": nr_rows, "columns": doc["columns"], "rows": rows,
            "all": nr_rows <= STATIC_ROWS}
