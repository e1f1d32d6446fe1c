"""Notebooks execute, normalise to the same bytes, and become pages that ask the network for nothing."""

from __future__ import annotations

import base64
import io
import json
import re

import nbformat
import pytest

from workbench import render
from workbench.errors import InputError

FIGURE = {"data": [{"type": "bar", "x": [1, 2], "y": [3, 4]}],
          "layout": {"height": 300, "meta": {"alt": "two bars"}}}


def notebook(*sources, title="# What is </script> `x`?\n\nA question.\n\n## More"):
    cells = [nbformat.v4.new_markdown_cell(title), *map(nbformat.v4.new_code_cell, sources)]
    return nbformat.v4.new_notebook(cells=cells)


def with_output(data, **more):
    book = notebook("x")
    book.cells[1].outputs = [nbformat.v4.new_output("display_data", data, **more)]
    return book


def text_of(book):
    return render.text_of(render.normalise(book))


def test_normalising_twice_changes_nothing_and_hides_where_it_ran():
    book = notebook("1")
    book.metadata["widgets"] = {"state": 1}
    book.cells[1].metadata["execution"] = {"iopub.status.busy": "2026-01-01"}
    book.cells[1].execution_count = 7
    book.cells[1].outputs = [
        nbformat.v4.new_output("execute_result", {"text/plain": "<object object at 0x7f0123456789>"},
                               execution_count=7),
        nbformat.v4.new_output("stream", name="stderr", text="noise"),
        nbformat.v4.new_output("display_data", {"text/html": '<table id="T_1a2b3"><td id="T_1a2b3_row0">'})]
    once = text_of(book)
    assert text_of(nbformat.reads(once, as_version=4)) == once
    for gone in ("widgets", "busy", "0x7f", "noise", "1a2b3"):
        assert gone not in once
    assert json.loads(once)["cells"][1]["id"] == "cell-01"


def test_random_ids_become_counters_the_same_way_each_time():
    books = [with_output({"text/html": f'<div id="{uuid}"></div>'})
             for uuid in ("0a2b4c6d-0000-4000-8000-0123456789ab", "1a2b4c6d-0000-4000-8000-0123456789ab")]
    assert text_of(books[0]) == text_of(books[1])


def test_a_widget_becomes_a_line_and_never_a_dead_slider():
    kept = text_of(with_output({render.WIDGET: {"model_id": "abc"}, "text/plain": "IntSlider(value=0)"}))
    assert "IntSlider" not in kept and "widget-view" not in kept and "make lab" in kept


def test_a_failing_cell_is_one_line_with_its_place(tmp_path, capsys):
    nbformat.write(notebook("1 + 1", "raise ValueError('bad\\nthing')"), tmp_path / "07_bad.ipynb")
    out = tmp_path / "site"
    assert render.main(["--notebooks", str(tmp_path), "--out", str(out)]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("render: 07_bad.ipynb, cell 3: ValueError: bad")
    assert [path.name for path in tmp_path.iterdir()] == ["07_bad.ipynb"]  # nothing half-written


def test_in_place_leaves_a_failing_notebook_alone(tmp_path):
    path = tmp_path / "a.ipynb"
    nbformat.write(notebook("nope"), path)
    before = path.read_bytes()
    assert render.main(["--notebooks", str(tmp_path), "--in-place"]) == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"cells": 3, "nbformat": 4}'])
def test_what_is_no_notebook_is_one_input_error(tmp_path, content):
    (tmp_path / "a.ipynb").write_text(content)
    assert render.main(["--notebooks", str(tmp_path), "--out", str(tmp_path / "site")]) == 2


def test_an_empty_folder_and_a_foreign_one_are_refused(tmp_path):
    assert render.main(["--notebooks", str(tmp_path)]) == 2
    (tmp_path / "a.ipynb").write_text(nbformat.writes(notebook()))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("keep")
    with pytest.raises(InputError, match="something else"):
        render.site([tmp_path / "a.ipynb"], tmp_path / "precious")
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "keep"


def test_without_a_browser_there_is_a_note_and_no_failure(monkeypatch):
    def missing(*_):
        raise RuntimeError("no Chromium here")

    monkeypatch.setattr("kaleido.start_sync_server", missing)
    render._browser.cache_clear()
    log, book = io.StringIO(), with_output({render.PLOTLY: FIGURE})
    try:
        assert render.add_pictures(book, log=log) == 0
    finally:
        render._browser.cache_clear()
    assert "no Chromium here" in log.getvalue() and "image/png" not in book.cells[1].outputs[0].data


def test_a_page_holds_its_figure_its_notebook_and_its_provenance(tmp_path):
    book = render.normalise(with_output({render.PLOTLY: FIGURE, "image/png": "aGk="}))
    page = render.page(tmp_path / "01_x.ipynb", book, [{"href": "01_x.html", "title": "X", "about": "?"}])
    shown = re.search(r'<script type="application/json">(.*?)</script>', page)[1]
    assert json.loads(shown) == FIGURE
    inside = re.search(r"data:application/x-ipynb\+json;base64,([\w+/=]+)", page)[1]
    assert json.loads(base64.b64decode(inside)) == json.loads(nbformat.writes(book))
    assert 'src="data:image/png;base64,aGk="' in page and "make render" in page and "Python 3" in page
    assert page.count("</html>") == 1 and 'aria-label="two bars"' in page


def test_a_page_without_figures_carries_no_plotly(tmp_path):
    page = render.page(tmp_path / "a.ipynb", render.normalise(notebook("1")))
    assert len(page) < 50_000


def test_title_and_question_come_from_the_notebook():
    book = notebook(title="intro\n\n# What is `x`?\n\nTwo lines\nof *question*.\n\nMore.")
    assert (render.title(book), render.question(book)) == ("What is x?", "Two lines of question.")


def test_the_site_opens_offline_from_a_file(tmp_path, browser):
    code = ("import plotly.graph_objects as go\n"
            "go.Figure(go.Bar(x=[1, 2], y=[3, 4]), layout={'height': 300, 'template': 'none'})")
    nbformat.write(notebook(code, "from IPython.display import Markdown\n"
                                  "Markdown('see [other](02_b.ipynb)<img src=x onerror=\"window.hit=1\">')"),
                   tmp_path / "01_a.ipynb")
    nbformat.write(notebook("print('</pre><b>x')"), tmp_path / "02_b.ipynb")
    assert render.main(["--notebooks", str(tmp_path), "--out", str(tmp_path / "site")]) == 0
    written = sorted(path.name for path in (tmp_path / "site").iterdir())
    assert written == ["01_a.html", "02_b.html", "index.html"]
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "site" / "index.html").as_uri())
    page.click("dl.contents a >> nth=0")
    page.wait_for_selector(".js-plotly-plot .bars")
    assert page.evaluate("document.querySelector('.js-plotly-plot').data[0].x.length") == 2
    assert page.evaluate("window.hit") is None  # markup from a notebook does not run
    page.click("main a[href='02_b.html']")
    assert page.locator(".scroll pre", has_text="</pre><b>x").count() == 1
    page.go_back()
    with page.expect_download() as download:
        page.click("nav a[download]")
    assert download.value.suggested_filename == "01_a.ipynb"
    context.close()
    strange = [url for url in asked if not url.startswith(("file:", "data:", "blob:"))
               and not url.endswith("/site/x")]
    assert not strange and not errors
