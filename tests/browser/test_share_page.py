"""Shared pages in a real browser, by file:// and offline: controls, address, tables, print, no JavaScript."""

from __future__ import annotations

import csv
import io
import itertools
from typing import Any, ClassVar

import ipywidgets as w
import pandas as pd
import pytest

from workbench.model.errors import InputError
from workbench.views import explorers as widgets
from workbench.views import figures
from workbench.views.explorers._base import Explorer
from workbench.views.pages import share

EVIL = "<img src=x onerror=window.evil=1>\x1b[31m\u202e<script>window.evil=1</script>"
AXES = {"nr_pinned": ["0%", "0.1%", "1%", "50%"], "pfn_map": ["xarray", "two_level"], "folio_order": [0, 9]}


class Named(Explorer):
    """Named by an enemy: every text that a page shows, from a file that someone sent."""

    views: ClassVar = {"line": "figure", "words": "text"}

    def __init__(self, **values: Any):
        self.controls = {"at": w.IntSlider(description=EVIL, min=0, max=2), "name": w.Text(value=EVIL),
                         "on": w.Checkbox(description="on")}
        super().__init__(**values)

    def _draw(self, changed: Any) -> None:
        at, name = self._value("at"), self._value("name")
        if at == 2:
            raise InputError(f"{name} at 2")
        trace = {"type": "bar", "x": [figures.inert(name)], "y": [at + 1], "name": figures.inert(name),
                 "hovertext": [figures.inert(name)]}
        title = figures.inert(name)
        self.show("line", figures._base.dressed(title, 300, [trace, trace], file="named", alt=name))
        self.say("words", figures.inert(name))
        self.tables = {EVIL: pd.DataFrame({EVIL: [EVIL, "a,\"b\"\n"], "n": [at, 2**60]})}

    def _layout(self) -> w.Widget:
        return w.VBox([])


@pytest.fixture(scope="module")
def overhead(tmp_path_factory: Any) -> Any:
    path = tmp_path_factory.mktemp("share") / "page.html"
    return share.share(widgets.OverheadExplorer(machine="ram=1TiB"), path, axes=AXES, progress=lambda _: None)


@pytest.fixture
def visit(browser: Any) -> Any:
    """Opens pages offline; at the end no request has failed and no error was logged."""
    contexts, wrong = [], []

    def go(path: Any, hash_: str = "", *, ready: bool = True, **more: Any) -> Any:
        context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("requestfailed", lambda request: wrong.append(request.url[:80]))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda one: wrong.append(one.text) if one.type == "error" else None)
        page.goto(f"{path.as_uri()}{hash_}")
        if ready:
            page.wait_for_selector("body[data-shown]", timeout=60_000)
        return page

    yield go
    for context in contexts:
        context.close()
    assert not wrong


def settled(page: Any, **values: Any) -> None:
    """Wait until everything shows the point with these values."""
    page.wait_for_function(
        """values => document.body.dataset.shown === String(pointOf(places())) && page.axes.every((axis, i) =>
             !(axis.name in values) || axis.values[places()[i]] === values[axis.name])""",
        arg=values, timeout=20_000)


def drawn(page: Any) -> list[Any]:
    """What the figures on the page are drawn from: names and numbers of their traces."""
    return page.evaluate("[...document.querySelectorAll('.js-plotly-plot')].map(g => g.data.map(t => "
                         "({name: t.name ?? null, x: t.x ?? null, y: t.y ?? null})))")


def computed(path: Any, **values: Any) -> list[Any]:
    """The same from Python, by a fresh explorer."""
    fresh = widgets.OverheadExplorer(**{"machine": "ram=1TiB", **values})
    assert not fresh.error.value
    found = [share._figure(fresh.figures[name]) for name, kind in fresh.views.items() if kind == "figure"]
    return [[{key: trace.get(key) for key in ("name", "x", "y")} for trace in one["data"]] for one in found]


def test_arrow_keys_move_every_figure_to_what_python_computes(overhead, visit):
    page = visit(overhead)
    settled(page, nr_pinned="0.1%")
    first_ms = page.evaluate("performance.getEntriesByName('first figure')[0].startTime")
    print(f"first figure after {first_ms:.0f} ms")  # a measurement, not a check
    assert drawn(page) == computed(overhead, nr_pinned="0.1%")
    page.get_by_label("pinned, % of RAM").focus()
    page.keyboard.press("ArrowRight")
    settled(page, nr_pinned="1%")
    assert drawn(page) == computed(overhead, nr_pinned="1%") != computed(overhead, nr_pinned="0.1%")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "c2"
    page.keyboard.press("End")
    settled(page, nr_pinned="1%", folio_order=9)
    page.get_by_label("pfn map").select_option("two_level")
    settled(page, pfn_map="two_level")
    assert drawn(page) == computed(overhead, nr_pinned="1%", folio_order=9, pfn_map="two_level")


def test_the_address_brings_a_point_back(overhead, visit):
    page = visit(overhead)
    slider = page.get_by_label("pinned, % of RAM")
    slider.press("ArrowRight")
    settled(page, nr_pinned="1%")
    assert page.url.endswith("#nr_pinned=1%25&pfn_map=xarray&folio_order=0")
    slider.press("ArrowRight")
    settled(page, nr_pinned="50%")
    page.reload()
    page.wait_for_selector("body[data-shown]")
    settled(page, nr_pinned="50%")
    page.go_back()
    settled(page, nr_pinned="1%")
    assert drawn(page) == computed(overhead, nr_pinned="1%")
    page.go_forward()
    settled(page, nr_pinned="50%")
    page.get_by_role("button", name="Reset", exact=True).click()
    settled(page, nr_pinned="0.1%")
    assert 'nr_pinned": "0.1%"' in page.locator("#code").inner_text()


def test_an_address_with_what_was_not_computed_leads_to_the_nearest_and_says_so(overhead, visit):
    page = visit(overhead, "#nr_pinned=2%25&pfn_map=%3Cb%3E&nothing=1")
    settled(page, nr_pinned="1%", pfn_map="xarray")
    note = page.locator("#note").inner_text()
    assert "2% was not computed; shown: 1%" in note and "no control nothing" in note and "<b> was not" in note
    page.get_by_label("pinned, % of RAM").press("ArrowLeft")
    settled(page, nr_pinned="0.1%")
    assert page.locator("#note").inner_text() == ""


def test_tables_come_as_csv_with_the_numbers_of_python(overhead, visit):
    page = visit(overhead, "#nr_pinned=50%25")
    fresh = widgets.OverheadExplorer(machine="ram=1TiB", nr_pinned="50%")
    for name, table in fresh.tables.items():
        one = page.locator(f"details[data-table='{name}']")
        if one.get_attribute("open") is None:
            one.locator("summary").click()
        with page.expect_download() as download:
            one.get_by_role("button", name=f"{name} as CSV").click()
        head, *rows = csv.reader(io.StringIO(download.value.path().read_text()))
        assert head == list(table.columns)
        expected = share._table(table)["data"]
        for found, column in zip(zip(*rows, strict=True), expected, strict=True):
            for text, value in zip(found, column, strict=True):
                plain = text == ("" if value is None else str(value))
                assert plain or float(text) == value


def test_the_browser_unpacks_what_python_packed(overhead, visit):
    page, packed = visit(overhead), share.read(overhead)
    assert page.evaluate("page") == packed
    for view in packed["views"]:
        found = page.evaluate(
            "([kind, name, { docs } = view(kind, name)]) => docs.of.map((_, n) => unpack(docs, n))",
            [view["kind"], view["name"]])
        assert found == [share.unpack(view["docs"], number) for number in range(len(view["docs"]["of"]))]


@pytest.fixture(scope="module")
def named(tmp_path_factory: Any) -> Any:
    path = tmp_path_factory.mktemp("named") / "page.html"
    return share.share(Named(), path, axes={"at": ..., "on": ...}, progress=lambda _: None, pictures=False)


def test_no_name_runs_a_script_and_none_hides(named, visit):
    page = visit(named)
    settled(page, at=0)
    slider = page.locator("#c0")
    for _ in range(2):
        slider.press("ArrowRight")
        settled(page)
    assert page.locator("#error").inner_text().startswith("<img src=x")
    assert page.locator(".plot:visible, .said:visible").count() == 0
    slider.press("ArrowLeft")
    settled(page, at=1)
    assert page.locator(".plot:visible").count() == 1 and page.locator("#error:visible").count() == 0
    text = page.locator("main").inner_text()
    assert "<script>window.evil=1</script>" in text and "\u202e" not in text and "\x1b" not in text
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.reader(io.StringIO(download.value.path().read_text(encoding="utf-8"), newline="")))
    assert rows == [[EVIL, "n"], [EVIL, "1"], ['a,"b"\n', str(2**60)]]
    page.get_by_label("on", exact=True).check()
    settled(page, at=1, on=True)
    assert page.evaluate("window.evil") is None
    labels = page.evaluate("[...document.querySelectorAll('[aria-label]')].map(e => e.ariaLabel).join()")
    assert "\u202e" not in labels and "\x1b" not in labels


def test_without_javascript_there_are_picture_and_table(overhead, visit):
    page = visit(overhead, ready=False, java_script_enabled=False)
    assert page.locator("form:visible").count() == 0
    assert "Without it, this page shows the point where it starts" in page.locator("main").inner_text()
    assert page.locator("figure.plot img").count() == 3
    widths = page.locator("figure.plot img").evaluate_all("all => all.map(one => one.clientWidth)")
    assert min(widths) > 400
    total = widgets.OverheadExplorer(machine="ram=1TiB").rows["total_bytes"].iloc[0]
    assert f"{total:,}" in page.locator("[data-view=table]").inner_text()
    assert str(total) in page.locator("#tables").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_follow_the_colour_scheme_and_paper_is_white_and_whole(overhead, visit, scheme):
    page = visit(overhead, color_scheme=scheme)
    papers = "[...document.querySelectorAll('.js-plotly-plot')].map(g => g.layout.paper_bgcolor)"
    assert set(page.evaluate(papers)) == {"#fff" if scheme == "light" else "#17191b"}
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = "[...document.querySelectorAll('.js-plotly-plot')].map(g => g.layout.width)"
    assert set(page.evaluate(papers)) == {"#fff"} and set(page.evaluate(widths)) == {680}
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_every_explorer_makes_a_page_that_draws(tmp_path, visit):
    for kind in (widgets.StructExplorer, widgets.ClaimsExplorer, widgets.FlagBudgetExplorer):
        explorer = kind()
        rule = dict(itertools.islice(share._rule(explorer).items(), 1))
        page = visit(share.share(explorer, tmp_path / "page.html", axes=rule, pictures=False,
                                 progress=lambda _: None))
        figures_there = sum(one == "figure" for one in kind.views.values())
        assert page.locator(".drawn .main-svg").count() >= figures_there
        assert page.locator("#controls .control").count() == len(rule) + 1
