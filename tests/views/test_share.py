"""A shared page holds exactly what the explorer showed, at every point, and is refused where it cannot."""

from __future__ import annotations

import base64
import itertools
import json
import random
import re
from typing import ClassVar

import ipywidgets as w
import nbformat
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.cli import main
from workbench.model.errors import InputError
from workbench.views import explorers as widgets
from workbench.views import figures
from workbench.views.explorers._base import Explorer
from workbench.views.pages import share

NAME = "<img src=x onerror=alert(1)>\x1b[31m\u202eevil</script>"


class Toy(Explorer):
    """A toy: two sliders, a tick box and a text; cannot be used where both sliders are at their end."""

    views: ClassVar = {"line": "figure", "words": "text"}

    def __init__(self, **values):
        self.controls = {"low": w.IntSlider(description="low", min=0, max=3),
                         "high": w.SelectionSlider(description="high", options=[("one", 1), ("two", 2)]),
                         "bold": w.Checkbox(description="bold"), "name": w.Text(value=NAME)}
        self.drawn = 0
        super().__init__(**values)

    def _draw(self, changed):
        low, high, bold = (self._value(name) for name in ("low", "high", "bold"))
        self.drawn += 1
        if low == 3 and high == 2:
            raise InputError(f"{NAME} is too much")
        name = figures.inert(self._value("name"))
        traces = [{"type": "scatter", "x": [0, 1], "y": [low, high / 3], "name": name}] * high
        if changed != "bold":
            self.show("line", figures._base.dressed("toy", 300, traces, file="toy", alt=f"{low} {high}"))
        self.say("words", f"<b>{low}</b> {name}" if bold else f"{low}")
        self.tables["numbers"] = pd.DataFrame({"name": [self._value("name")], "value": [low * (2**60 + 1)],
                                               "share": [low / 3 if low else float("nan")]})

    def _layout(self):
        return w.VBox([*self.controls.values(), self.error, *self.view_widgets()])


TOY_AXES = {"low": ..., "high": ..., "bold": ...}


def write(explorer, path, **more):
    return share.share(explorer, path, pictures=False, progress=lambda line: None, **more)


def shown(page, kind, name, point):
    """What a page's payload says that a view shows."""
    view = next(view for view in page["views"] if (view["kind"], view["name"]) == (kind, name))
    return None if view["at"][point] < 0 else share.unpack(view["docs"], view["at"][point])


def drawn(explorer):
    """What an explorer shows, as the page keeps it."""
    return {**{("figures", name): share._figure(one) for name, one in explorer.figures.items()},
            **{("texts", name): one.value for name, one in explorer.texts.items()},
            **{("tables", name): share._table(one) for name, one in explorer.tables.items()}}


def test_every_point_is_what_a_fresh_explorer_shows(tmp_path):
    page = share.read(write(Toy(low=1), tmp_path / "page.html", axes=TOY_AXES))
    assert [axis["labels"] for axis in page["axes"]] == [["0", "1", "2", "3"], ["one", "two"], ["off", "on"]]
    places = list(itertools.product(*(axis["values"] for axis in page["axes"])))
    assert page["start"] == places.index((1, 1, False))
    for point, values in enumerate(places):
        fresh = Toy(**dict(zip(TOY_AXES, values, strict=True)))
        if fresh.error.value:
            assert page["errors"][str(point)] == fresh.error.value and values[:2] == (3, 2)
            continue
        for (kind, name), document in drawn(fresh).items():
            assert json.dumps(shown(page, kind, name, point)) == json.dumps(document)
    assert len(page["errors"]) == 2


AXES = {  # small, and one that is not the explorer's own
    "OverheadExplorer": {"nr_pinned": ["0%", "1%", "3.25%"], "folio_order": [0, 9], "run_pages": [1, 8],
                         "machine": ["ram=1TiB", "ram=64TiB,nodes=8"]},
    "PathsExplorer": {"dynamic": [0, 1, 50], "page_to_pfn": [0, 50], "nr_descriptors": [1000, 100_000]},
    "FlagBudgetExplorer": {"nr_page_flags": [20, 24, 32], "lru_gen": ..., "kasan": ...},
    "MixExplorer": {"anon:0": [0, 30, 90], "slab:3": [0, 5, 60]},
    "StructExplorer": {"kernel": ..., "text": [widgets.MAIL, "", "struct x { int a; };"]},
    "ClaimsExplorer": None,
}


@pytest.mark.parametrize("name", AXES)
def test_moving_one_control_at_a_time_gives_what_a_fresh_explorer_shows(tmp_path, name):
    kind = getattr(widgets, name)
    page = share.read(write(kind(), tmp_path / "page.html", axes=AXES[name]))
    places = list(itertools.product(*(axis["values"] for axis in page["axes"])))
    for point in random.Random(1).sample(range(len(places)), 4):
        state = page["state"] | dict(zip((axis["name"] for axis in page["axes"]), places[point], strict=True))
        fresh = kind.from_state(state)
        assert page["errors"].get(str(point), "") == fresh.error.value
        for (what, view), document in {} if fresh.error.value else drawn(fresh).items():
            assert json.dumps(shown(page, what, view, point)) == json.dumps(document), (what, view, state)


@pytest.mark.parametrize("name", [n for n in vars(widgets) if n.endswith("Explorer") and n != "Explorer"])
def test_what_an_explorer_proposes_can_be_set(name):
    grid = share.Grid(getattr(widgets, name)())
    assert 1 < grid.nr_points <= 2000
    assert all(len(set(axis.keys)) == len(axis.values) == len(axis.labels) for axis in grid.axes)


json_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
json_values = st.recursive(json_leaves, lambda inner: st.lists(inner, max_size=3)
                           | st.dictionaries(st.sampled_from(["a", "b", "__proto__"]), inner, max_size=3))


@given(st.lists(json_values, min_size=1, max_size=6))
def test_unpack_undoes_pack(docs):
    packed = json.loads(json.dumps(share.pack(docs)))
    assert [json.dumps(share.unpack(packed, at)) for at in range(len(docs))] == [json.dumps(d) for d in docs]


def test_what_documents_share_is_written_once():
    same = {"layout": {"title": "x" * 1000}}
    packed = share.pack([{**same, "y": [at, at]} for at in range(10)])
    assert json.dumps(packed).count("x" * 1000) == 1 and len(packed["shapes"]) == 1
    assert [column["path"] for column in packed["shapes"][0]["columns"]] == [["y"]]


def test_integers_that_a_double_cannot_hold_stay_exact():
    assert share._table(pd.DataFrame({"n": [2**53, 2**53 + 1], "x": [0.1, float("nan")]})) == {
        "columns": ["n", "x"], "data": [[2**53, str(2**53 + 1)], [0.1, None]]}


def test_the_page_asks_for_nothing_and_names_are_inert(tmp_path):
    text = write(Toy(), tmp_path / "page.html", axes={"low": ...}).read_text()
    packed = re.compile(r'(<script type="application/gzip"[^>]*>)[^<]*')
    text = packed.sub(r"\1", text)
    assert not re.search(r'(src|href)="(?!data:)', text) and "default-src 'none'" in text
    assert "<img src=x" not in text and "\x1b" not in text and "\u202e" not in text
    assert text.count("<script") == text.count("</script>") == 3


def test_the_explorer_itself_is_left_alone(tmp_path):
    toy = Toy(low=2)
    before, state = toy.drawn, toy.state()
    write(toy, tmp_path / "page.html", axes=TOY_AXES)
    assert (toy.drawn, toy.state()) == (before, state)


def test_the_notebooks_on_the_page_open_the_same_explorer(tmp_path):
    own = tmp_path / "mine.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")]), own)
    page = write(widgets.MixExplorer(), tmp_path / "page.html", axes={"anon:0": [0, 30]}, notebook=own)
    link = r'download="([^"]+)" href="data:application/x-ipynb\+json;base64,([^"]+)"'
    books = re.findall(link, page.read_text())
    read = {name: nbformat.reads(base64.b64decode(book).decode(), as_version=4) for name, book in books}
    assert read["mine.ipynb"].cells[0].source == "1 + 1"
    names: dict = {}
    exec(read["MixExplorer.ipynb"].cells[1].source.replace("\nexplorers.", "\nfound = explorers."), names)
    assert names["found"].state() == widgets.MixExplorer().state()
    nbformat.validate(read["MixExplorer.ipynb"])


@pytest.mark.parametrize(("axes", "said"), [
    ({"lower": [1]}, "no control 'lower'; it has low, high, bold, name"),
    ({"low": []}, "low = [] is not a list"),
    ({"low": "123"}, "low = '123' is not a list"),
    ({"low": [1, 7]}, "low = 7 would become 3"),
    ({"high": [1, 3]}, "high = 3"),
    ({"name": ...}, "name can hold any text"),
])
def test_axes_that_cannot_be_are_refused_in_one_line(tmp_path, axes, said):
    with pytest.raises(InputError) as refused:
        write(Toy(), tmp_path / "page.html", axes=axes)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_page_that_is_too_large_is_refused_before_all_is_computed(tmp_path):
    with pytest.raises(InputError, match=r"estimated: the page would take .* 16 points .* low \(4\)"):
        write(Toy(), tmp_path / "page.html", axes=TOY_AXES, limit_bytes=1_000_000)
    plotly = len(share.pages.plotly_text())
    with pytest.raises(InputError, match=r"page\.html: the page would take"):
        write(Toy(), tmp_path / "page.html", axes=TOY_AXES, limit_bytes=plotly)
    assert not list(tmp_path.iterdir())


def test_an_old_page_stays_when_the_new_one_cannot_be_written(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("old")
    with pytest.raises(InputError):
        write(Toy(), page, axes=TOY_AXES, limit_bytes=1_000_000)

    def stop(line):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        share.share(Toy(), page, axes=TOY_AXES, progress=stop)
    assert page.read_text() == "old" and [one.name for one in tmp_path.iterdir()] == ["page.html"]


def test_where_nothing_can_be_used_there_is_no_page(tmp_path):
    with pytest.raises(InputError, match=r"no point of the grid can be used; the first says: <img"):
        write(Toy(low=3, high=2), tmp_path / "page.html", axes={"bold": ...})


@pytest.mark.parametrize("place", ["missing/page.html", "."])
def test_a_place_that_cannot_be_written_is_refused(tmp_path, place):
    with pytest.raises(InputError):
        write(Toy(), tmp_path / place)


def test_an_explorer_that_proposes_nothing_gets_axes_by_rule(tmp_path):
    grid = share.Grid(Toy())
    assert [axis.name for axis in grid.axes] == ["low", "high", "bold"]
    assert [axis.kind for axis in grid.axes] == ["range", "range", "check"]


def test_from_the_command_line(tmp_path, capsys):
    page = tmp_path / "page.html"
    args = ["MixExplorer", "-o", str(page), "--set", "anon:9=10", "--axis", "anon:0=0,20"]
    assert main(["share", *args]) == 0
    found = share.read(page)
    assert found["axes"][0]["labels"] == ["0.0", "20.0", "30.0"] and found["state"]["anon:9"] == 10
    assert main(["share", *args, "--axis", "nothing=1"]) == 2
    assert "no control 'nothing'" in capsys.readouterr().err
    assert main(["share", *args, "--set", "anon:0"]) == 2
    assert "'anon:0' is not FIELD=VALUE" in capsys.readouterr().err


def test_a_page_that_is_none_cannot_be_read(tmp_path):
    (tmp_path / "x.html").write_text("x")
    with pytest.raises(InputError, match="not a page"):
        share.read(tmp_path / "x.html")


def test_a_missing_value_of_any_type_is_an_empty_cell():
    table = pd.DataFrame({"n": pd.array([2**53, None], "Int64"), "x": [0.5, float("nan")], "t": ["a", None]})
    table["day"] = pd.to_datetime(["2018-12-14", None])
    assert [column[1] for column in share._table(table)["data"]] == [None] * 4
