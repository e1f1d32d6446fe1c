"""Notebooks execute, normalise to the same bytes, and become pages that ask the network for nothing."""

from __future__ import annotations

import base64
import functools
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest

from workbench.cli import main
from workbench.model.errors import InputError
from workbench.views import _assets as shared
from workbench.views import _png as png
from workbench.views import pages as render
from workbench.views.pages import _explorers as explorers
from workbench.views.pages import _gallery as gallery
from workbench.views.pages import _site as pages

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


def test_every_failing_notebook_is_named_and_the_others_still_run(tmp_path, capsys):
    for name in ("a", "b"):
        nbformat.write(notebook(f"{name}_is_missing"), tmp_path / f"{name}.ipynb")
    nbformat.write(notebook("1"), tmp_path / "c.ipynb")
    assert main(["render", "--notebooks", str(tmp_path), "--in-place"]) == 1
    failed = [line for line in capsys.readouterr().err.splitlines() if "NameError" in line]
    assert len(failed) == 2 and "a.ipynb, cell 2" in failed[0] and "b.ipynb, cell 2" in failed[1]
    assert render.read(tmp_path / "c.ipynb").cells[1].outputs[0].data["text/plain"] == "1"


def test_a_failing_cell_is_one_line_with_its_place(tmp_path, capsys):
    nbformat.write(notebook("1 + 1", "raise ValueError('bad\\nthing')"), tmp_path / "07_bad.ipynb")
    out = tmp_path / "site"
    assert main(["render", "--notebooks", str(tmp_path), "--out", str(out)]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("render: 07_bad.ipynb, cell 3: ValueError: bad")
    assert [path.name for path in tmp_path.iterdir()] == ["07_bad.ipynb"]  # nothing half-written


def test_in_place_leaves_a_failing_notebook_alone(tmp_path):
    path = tmp_path / "a.ipynb"
    nbformat.write(notebook("nope"), path)
    before = path.read_bytes()
    assert main(["render", "--notebooks", str(tmp_path), "--in-place"]) == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"cells": 3, "nbformat": 4}'])
def test_what_is_no_notebook_is_one_input_error(tmp_path, content):
    (tmp_path / "a.ipynb").write_text(content)
    assert main(["render", "--notebooks", str(tmp_path), "--out", str(tmp_path / "site")]) == 2


def test_an_empty_folder_and_a_foreign_one_are_refused(tmp_path):
    assert main(["render", "--notebooks", str(tmp_path)]) == 2
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
    shared.browser.cache_clear()
    log, book = io.StringIO(), with_output({render.PLOTLY: FIGURE})
    try:
        assert render.add_pictures(book, log=log) == 0
    finally:
        shared.browser.cache_clear()
    assert "no Chromium here" in log.getvalue() and "image/png" not in book.cells[1].outputs[0].data


def test_a_page_holds_its_figure_its_notebook_and_its_provenance(tmp_path):
    book = render.normalise(with_output({render.PLOTLY: FIGURE, "image/png": "aGk="}))
    page = render.page(tmp_path / "01_x.ipynb", book, [{"href": "01_x.html", "title": "X", "name": "01 x"}])
    shown = re.search(r'<script type="application/gzip" id="figures">(.*?)</script>', page)[1]
    assert json.loads(gzip.decompress(base64.b64decode(shown))) == [FIGURE]
    inside = re.search(r"data:application/x-ipynb\+json;base64,([\w+/=]+)", page)[1]
    bare = json.loads(base64.b64decode(inside))
    assert bare["cells"][1]["outputs"][0]["data"] == {"text/plain": ["figure"]}
    assert bare["cells"][0] == json.loads(nbformat.writes(book))["cells"][0]
    assert 'src="data:image/png;base64,aGk="' in page and "make render" in page and "Python 3" in page
    assert "notebooks/01_x.ipynb" in page
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
    assert main(["render", "--notebooks", str(tmp_path), "--out", str(tmp_path / "site")]) == 0
    written = sorted(path.name for path in (tmp_path / "site").iterdir())
    assert written == ["01_a.html", "02_b.html", "index.html"]
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "site" / "index.html").as_uri())
    page.click("h2 a >> nth=0")
    page.wait_for_selector(".js-plotly-plot .bars")
    assert page.evaluate("document.querySelector('.js-plotly-plot').data[0].x.length") == 2
    assert page.evaluate("window.hit") is None  # markup from a notebook does not run
    page.click("main a[href='02_b.html']")
    assert page.locator(".scroll pre", has_text="</pre><b>x").count() == 1
    page.go_back()
    with page.expect_download() as download:
        page.click("nav a[download]")
    assert download.value.suggested_filename == "01_a.ipynb"
    whole = json.loads(Path(download.value.path()).read_text())  # the figures are back in it
    figure = whole["cells"][1]["outputs"][0]["data"]
    assert figure[render.PLOTLY]["data"][0]["y"] == [3, 4] and figure["text/plain"]
    assert base64.b64decode(figure["image/png"]).startswith(png.MAGIC)
    context.close()
    strange = [url for url in asked if not url.startswith(("file:", "data:", "blob:"))
               and not url.endswith("/site/x")]
    assert not strange and not errors


REPO = Path(__file__).resolve().parents[2]
HOSTILE = (
    "<script>window.hit = 1</script><img src=x onerror='window.hit=2'>"
    "<a id=js href='javascript:window.hit=3'>a</a>"
    "<meta http-equiv=refresh content='0;url=https://example.invalid/'><base href='https://example.invalid/'>"
    "<iframe src='https://example.invalid/'></iframe><form action='https://example.invalid/'></form>"
    "<svg onload='window.hit=4'></svg><object data='x'></object>")
ODD = "\x1b[31mred\x1b[0m\x1b]8;;https://example.invalid/\x07link\x1b]8;;\x07 \u202egpj.exe"


def hostile(title=f"# Is <img src=x onerror='window.hit=5'> {HOSTILE} \u202e a title?\n\nAn <b>answer</b>?"):
    """A notebook with markup and control characters wherever a name from a trace could come out."""
    book = notebook("x", title=title)
    new = nbformat.v4.new_output
    book.cells[1].outputs = [
        new("stream", name="stdout", text=f"</pre>{HOSTILE}{ODD}"),
        new("display_data", {"text/html": f"<table><tr><td>{HOSTILE}</td></tr></table>"}),
        new("display_data", {"text/markdown": f"{HOSTILE}\n\n<style>body {{ display: none }}\n\n<!-- {ODD}"}),
        new("execute_result", {"text/plain": f"{HOSTILE}<!-- "}),
        new("display_data", {"image/png": "x' onerror='window.hit=6", "text/plain": "p"}),
        new("display_data", {render.PLOTLY: {"data": [{"type": "bar", "y": [1], "name": HOSTILE}],
                                             "layout": {"height": 300, "meta": {"alt": f'"{HOSTILE}'},
                                                        "title": {"text": HOSTILE}}}})]
    book.cells.append(nbformat.v4.new_markdown_cell(f"## Answer\n\n{HOSTILE}<!-- <plaintext>"))
    return book


def opened(browser, path, **options):
    """A page of a file, offline, with what it asked for and what went wrong."""
    page = browser.new_context(offline=True, **options).new_page()
    page.asked, page.errors = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("name", ["01_a", "q'\"<img src=x onerror=alert(1)>#?%41"], ids=["plain", "odd"])
def test_names_and_outputs_with_markup_do_nothing_in_a_page(tmp_path, browser, name):
    render.publish([render.Run(Path(f"{name}.ipynb"), render.normalise(hostile()))], tmp_path / "site")
    page = opened(browser, tmp_path / "site" / "index.html")
    assert page.locator("article").count() == 1 and page.locator("footer").is_visible()
    assert page.evaluate("window.hit") is None
    page.click("h2 a")
    page.wait_for_selector("figure.live .bars")
    page.locator("#js").first.click()
    assert page.evaluate("window.hit") is None and page.locator("footer").is_visible()
    assert page.locator("iframe, object, form, main script, main style, base").count() == 0
    assert page.url.endswith(".html") and not page.errors
    assert not [url for url in page.asked if "example.invalid" in url]
    shown = page.locator("main").text_content()
    assert "\x1b" not in shown and "\x07" not in shown
    page.context.close()


def test_markup_that_asks_or_leads_away_is_text_and_a_table_stays_one():
    assert pages._inert("<SCRIPT>a</script><b>c</b><!-- ") == "&lt;SCRIPT>a&lt;/script><b>c</b>&lt;!-- "
    table = "<style scoped>td {}</style><table><thead><tr><th>pfn</th></tr></thead></table>"
    assert pages._inert(table) == table
    assert "<style" not in pages._html("a <style>b")


def test_columns_of_words_stand_at_the_left_and_numbers_at_the_right():
    import pandas as pd

    table = pd.DataFrame({"pages": [1, 20], "why": ["a", "7 is odd, too"], "share": ["3.5 %", "nan"]})
    html = pages._aligned(table._repr_html_())
    assert re.findall(r'<(t[hd]) class="words">(.*?)<', html) == [("th", "why"), ("td", "a"),
                                                                  ("td", "7 is odd, too")]
    assert html.replace(' class="words"', "") == table._repr_html_()
    wide = table.pivot(index="pages", columns=["why"])._repr_html_()  # two rows of headings
    assert pages._aligned(wide).replace(' class="words"', "") == wide
    assert pages._aligned(pd.DataFrame()._repr_html_()) == pd.DataFrame()._repr_html_()


def test_the_index_shows_the_first_items_of_an_announced_list():
    items = "\n".join(f"* {'x' * 200}{place}" for place in range(5))
    book = notebook(title=f"# T?\n\nQ\n\n## Answer\n\nThese:\n\n{items}")
    said = pages.entry(Path("a.ipynb"), book)
    assert "x1</li>" in said["lead"] and "x2</li>" not in said["lead"] and "x4</li>" in said["rest"]


def picture(height=40, width=60, **colour):
    image = np.full((height, width, 3), 255, np.uint8)
    image[10:20, 5:30] = (0, 90, 160)
    return base64.b64encode(png.written(image)).decode()


def test_without_javascript_there_are_pictures_and_tables(tmp_path, browser):
    book = with_output({render.PLOTLY: FIGURE, "image/png": picture()})
    table = nbformat.v4.new_output("display_data", {"text/html": "<table><td>7</table>"})
    book.cells[1].outputs.append(table)
    render.publish([render.Run(Path("a.ipynb"), render.normalise(book))], tmp_path / "site")
    page = opened(browser, tmp_path / "site" / "a.html", java_script_enabled=False)
    image = page.locator("figure.plot img")
    assert image.is_visible() and image.bounding_box()["width"] == 60 and page.locator("td").is_visible()
    with page.expect_download() as download:
        page.click("nav a[download]")
    assert json.loads(Path(download.value.path()).read_text())["cells"][1]["source"] == ["x"]
    assert page.locator("noscript").count() == 1
    page.context.close()


def test_paper_gets_the_pictures_in_light_colours_and_no_navigation(tmp_path, browser):
    book = with_output({render.PLOTLY: FIGURE, "image/png": picture()})
    render.publish([render.Run(Path("a.ipynb"), render.normalise(book))], tmp_path / "site")
    page = opened(browser, tmp_path / "site" / "a.html", color_scheme="dark")
    page.wait_for_selector("figure.live .drawn")
    assert not page.locator("figure.plot img").is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("figure.plot img").is_visible() and not page.locator("nav").is_visible()
    assert not page.locator("figure.plot .drawn").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.context.close()


CONTRAST = """() => {
  const colour = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (text) => colour(text).reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const under = (el) => { for (; el; el = el.parentElement) {
    const at = getComputedStyle(el).backgroundColor; if (!/, 0\\)|transparent/.test(at)) return at; } };
  return [...document.querySelectorAll("body *")].filter((el) =>
    [...el.childNodes].some((n) => n.nodeType == 3 && n.data.trim()) && el.getClientRects().length
    && !el.closest("svg, .skip")).map((el) => {
      const [a, b] = [light(getComputedStyle(el).color), light(under(el))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), el.tagName + "." + el.className + ": " + el.textContent.slice(0, 30)];
    }).filter(([ratio]) => ratio < 4.5); }"""  # WCAG 2.2, 1.4.3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["01_page_and_pfn", "06_type_safety"])
def test_text_stands_out_and_the_keyboard_finds_its_way(tmp_path, browser, scheme, name):
    path = REPO / "notebooks" / f"{name}.ipynb"
    render.publish([render.Run(path, render.read(path))], tmp_path / "site")
    for file in ("index.html", f"{name}.html"):
        page = opened(browser, tmp_path / "site" / file, color_scheme=scheme)
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate("[...document.images].every((i) => i.alt || i.closest('[aria-hidden]'))")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.locator("nav[aria-label]").count() == 1


@pytest.mark.parametrize("path", render.notebooks(REPO / "notebooks"), ids=lambda path: path.stem)
def test_a_page_is_small_enough_to_mail_and_its_figures_are_described(path):
    page = render.page(path, render.read(path), [])
    assert len(page.encode()) < pages.MAX_BYTES
    assert not re.search(r'<img alt=""|aria-label=""|aria-label="figure"', page)
    assert render.answer(render.read(path)), "its last section answers its question in words"


def test_the_answer_is_the_section_that_says_so_with_what_its_cells_say():
    book = notebook("x", title="# T?\n\nQ\n\n## First\n\nno\n\n## The answer in words\n\nBy hand.")
    book.cells[1].outputs = [nbformat.v4.new_output("display_data", {"text/markdown": "**7** bytes."})]
    assert render.answer(book) == "By hand.\n\n**7** bytes."
    book.cells.append(nbformat.v4.new_markdown_cell("## Others\n\n| a |\n|---|"))
    assert render.answer(book) == "By hand.\n\n**7** bytes."
    assert render.answer(notebook(title="# T?\n\nQ")) == ""


def test_the_same_date_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    nbformat.write(notebook("import uuid\nprint(object())"), tmp_path / "a.ipynb")
    nbformat.write(notebook("2"), tmp_path / "b.ipynb")
    for out in ("one", "two"):
        assert main(["render", "--notebooks", str(tmp_path), "--out", str(tmp_path / out)]) == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert "2023-11-14" in (tmp_path / "one" / "a.html").read_text()


def test_a_page_says_how_long_its_notebook_ran(tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert "which ran for 12 s" in render.page(tmp_path / "a.ipynb", notebook("1"), seconds=12.3)
    assert "which ran" not in render.page(tmp_path / "a.ipynb", notebook("1"))


def in_another_process(code, folder):
    return subprocess.run([sys.executable, "-c", f"from pathlib import Path\n{code}"], cwd=folder, text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": str(REPO)})


PUBLISH = """
import nbformat
from workbench.views.pages import _site as pages, Run, publish
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# New?" + "x" * 100_000)])
publish([Run(Path("a.ipynb"), book)], Path("site"))
"""


def test_a_killed_run_leaves_the_old_site_and_the_next_one_cleans_up(tmp_path):
    render.publish([render.Run(Path("old.ipynb"), notebook("1"))], tmp_path / "site")
    before = {path.name: path.read_bytes() for path in (tmp_path / "site").iterdir()}
    kill = "import os, signal\nfrom workbench.views.pages import _site as pages\n" \
           "pages._index = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    assert in_another_process(kill + PUBLISH, tmp_path).returncode == -9
    assert {path.name: path.read_bytes() for path in (tmp_path / "site").iterdir()} == before
    assert len(list(tmp_path.iterdir())) == 2  # what was begun lies beside it
    assert in_another_process(PUBLISH, tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == ["a.html", "index.html"]


def test_a_full_disk_is_one_line_and_leaves_the_old_site(tmp_path):
    nbformat.write(notebook("1", title="# New?\n\n" + "x" * 200_000), tmp_path / "a.ipynb")
    render.publish([render.Run(Path("old.ipynb"), notebook("1"))], tmp_path / "site")
    full = ("import resource\nfrom workbench.cli import main\n"
            "from workbench.views import pages as render\n"
            "from workbench.views.pages import _run as run\n"
            "from workbench.views.pages import _site\n"
            "_site.site = lambda paths, out, **_: render.publish(\n"
            "    [run.Run(path, run.read(path)) for path in paths], out)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
            "raise SystemExit(main(['render', '--notebooks', '.', '--out', 'site']))")
    ran = in_another_process(full, tmp_path)
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1 and "File too large" in ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ipynb", "site"]
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == ["index.html", "old.html"]


def test_ctrl_c_stops_at_once_and_leaves_no_kernel(tmp_path):
    nbformat.write(notebook("import time\ntime.sleep(100)"), tmp_path / "a.ipynb")
    code = ("import os, signal, sys, threading, time\nfrom workbench.cli import main\n"
            "from workbench.views.pages import _run as run\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "def stop():\n"
            "    while not any(c.kc and c.km.provisioner.has_process for c in started): time.sleep(0.1)\n"
            "    time.sleep(2); print(started[0].km.provisioner.pid, flush=True)\n"
            "    os.kill(os.getpid(), signal.SIGINT)\n"
            "started, timed = [], run._timed\n"
            "def seen(path, into, log):\n"
            "    global started\n"
            "    started = into\n"
            "    return timed(path, into, log)\n"
            "run._timed = seen\nthreading.Thread(target=stop, daemon=True).start()\n"
            "sys.exit(main(['render', '--notebooks', '.', '--out', 'site']))")
    start = time.monotonic()
    ran = in_another_process(code, tmp_path)
    assert ran.returncode == 130 and time.monotonic() - start < 60
    assert "\nrender: stopped" in ran.stderr and "Traceback" not in ran.stderr, ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.ipynb"]
    assert not Path("/proc", ran.stdout.strip()).exists()


def test_a_site_replaces_another_also_where_folders_cannot_be_exchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(pages.ctypes, "CDLL", lambda *_, **__: object())
    for name in ("old", "new"):
        render.publish([render.Run(Path(f"{name}.ipynb"), notebook("1"))], tmp_path / "site")
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == ["index.html", "new.html"]


# Pictures.

def rgba(image, lines=2):
    """A PNG as Chromium writes it: RGBA, each line filtered against the one above (2) or the left (1)."""
    import struct
    import zlib

    whole = np.concatenate([image, np.full((*image.shape[:2], 1), 255, np.uint8)], axis=2)
    before = np.zeros_like(whole)
    if lines == 2:
        before[1:] = whole[:-1]
    elif lines == 1:
        before[:, 1:] = whole[:, :-1]
    rows = np.pad((whole - before).reshape(len(whole), -1), ((0, 0), (1, 0)), constant_values=lines)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", whole.shape[1], whole.shape[0], 8, 6, 0, 0, 0)),
             (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")]
    return png.MAGIC + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts)


@pytest.mark.parametrize("lines", [0, 1, 2])
def test_a_picture_is_read_back_as_it_was(lines):
    image = np.random.default_rng(1).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    assert (png.pixels(rgba(image, lines)) == image).all()
    assert png.pixels(rgba(image, 4)) is None and png.small(rgba(image, 4)) == rgba(image, 4)


def test_a_browser_sees_in_the_small_picture_what_was_in_the_large_one(browser):
    image = np.full((40, 300, 3), 255, np.uint8)
    image[5:30] = np.linspace(0, 255, 300).astype(np.uint8)[None, :, None]  # 256 greys and
    image[31:33, 3:9] = (200, 0, 60)  # one colour more
    large = rgba(image)
    small = png.small(large, "here")
    assert png.source_of(small) == "here" and png.source_of(large) == ""
    page = browser.new_page()
    seen = page.evaluate("""async (data) => { const i = new Image(); i.src = "data:image/png;base64," + data;
        await i.decode(); const c = document.createElement("canvas"); c.width = i.width; c.height = i.height;
        const g = c.getContext("2d"); g.drawImage(i, 0, 0);
        return [...g.getImageData(0, 0, i.width, i.height).data]; }""", base64.b64encode(small).decode())
    shown = np.array(seen, np.int16).reshape(40, 300, 4)[..., :3]
    assert np.abs(shown - image).max() <= png._FAR
    page.close()


def test_a_picture_of_too_many_colours_keeps_them_all():
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert png._palette(image) is None
    small = png.small(rgba(image), "x")
    assert small[25] == 2 and (png.pixels(small) == image).all()  # RGB


def test_the_gallery_agrees_with_the_notebooks():
    assert gallery.stale(REPO) == [], "run `make gallery`"


def clone(tmp_path):
    book = with_output({render.PLOTLY: FIGURE, "image/png": picture()})
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "docs").mkdir(exist_ok=True)
    (tmp_path / gallery.PAGE).write_text(f"before\n{gallery.BEGIN}\nold\n{gallery.END}\nafter\n")
    nbformat.write(render.normalise(book), tmp_path / "notebooks" / "01_a.ipynb")
    return book


def test_the_gallery_is_built_from_what_notebooks_store_and_says_when_it_is_stale(tmp_path):
    book = clone(tmp_path)
    assert gallery.stale(tmp_path) == ["01_a.png: missing", f"{gallery.PAGE}: the section differs"]
    gallery.build(tmp_path)
    assert gallery.stale(tmp_path) == []
    text = (tmp_path / gallery.PAGE).read_text()
    assert text.startswith("before\n<!--") and text.endswith("-->\nafter\n") and "A question." in text
    book.cells[1].outputs[0].data["image/png"] = picture(50)
    nbformat.write(render.normalise(book), tmp_path / "notebooks" / "01_a.ipynb")
    shutil.copy(tmp_path / "notebooks" / "01_a.ipynb", tmp_path / "notebooks" / "02_b.ipynb")
    assert gallery.stale(tmp_path) == ["01_a.png: not the notebook's picture", "02_b.png: missing",
                                       f"{gallery.PAGE}: the section differs"]
    gallery.build(tmp_path)
    (tmp_path / "notebooks" / "02_b.ipynb").unlink()
    assert gallery.stale(tmp_path) == ["02_b.png: of no notebook", f"{gallery.PAGE}: the section differs"]
    gallery.build(tmp_path)
    assert gallery.stale(tmp_path) == []


def test_a_notebook_without_a_picture_fails_the_gallery_by_name(tmp_path, monkeypatch, capsys):
    clone(tmp_path)
    nbformat.write(notebook("1"), tmp_path / "notebooks" / "04_new.ipynb")
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / gallery.PAGE).read_bytes()
    assert main(["render", "--gallery"]) == 2
    assert "04_new.ipynb: stores no picture" in capsys.readouterr().err
    assert (tmp_path / gallery.PAGE).read_bytes() == before and not (tmp_path / gallery.FOLDER).exists()


def test_a_tag_chooses_the_picture_and_a_large_one_is_halved():
    book = with_output({"image/png": picture(40)})
    book.cells.append(nbformat.v4.new_code_cell("y", metadata={"tags": ["gallery"]}))
    book.cells[2].outputs = [nbformat.v4.new_output("display_data", {"image/png": picture(50)})]
    assert base64.b64encode(gallery.picture(book)[0]).decode() == picture(50)
    noise = rgba(np.random.default_rng(3).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    assert len(noise) > gallery.MAX_BYTES >= len(gallery.shrunk(noise))


def test_a_title_with_markup_stays_text_in_the_readme():
    assert gallery._escaped("a|b [c](d) <e>") == r"a\|b \[c\](d) \<e\>"


def test_the_site_has_explorers_whose_pages_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(explorers, "names", lambda: ["ClaimsExplorer"])
    done = [render.Run(Path("a.ipynb"), notebook("1"))]
    render.publish(done, tmp_path / "site", functools.partial(explorers.write, log=io.StringIO()))
    assert sorted(p.name for p in (tmp_path / "site").iterdir()) == [
        "a.html", "explore_claims.html", "index.html"]
    assert "explore_claims.html" in (tmp_path / "site" / "index.html").read_text()
    monkeypatch.setattr(explorers, "names", lambda: ["NoSuchExplorer"])
    with pytest.raises(render.RenderError, match="NoSuchExplorer"):
        render.publish(done, tmp_path / "site", functools.partial(explorers.write, log=io.StringIO()))
    assert (tmp_path / "site" / "explore_claims.html").is_file()  # the old site is as it was


def test_every_explorer_gets_a_page_of_its_own():
    files = [explorers.href(name) for name in explorers.names()]
    assert len(set(files)) == len(files) >= 10 and "explore_overhead.html" in files
