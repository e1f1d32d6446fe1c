"""The explorers in Voila: figures are drawn, follow a key, and need no other address."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest

CELLS = ("from workbench import widgets\nwidgets.OverheadExplorer(machine='ram=64TiB,nodes=8')",
         "widgets.MixExplorer()", "widgets.StructExplorer()", "widgets.FlagBudgetExplorer()",
         "widgets.PathsExplorer()", "widgets.ClaimsExplorer()")
FIGURES = 3 + 1 + 1 + 1 + 4
PLOTS = "[...document.querySelectorAll('.js-plotly-plot')].filter(g => g.layout?.meta?.state)"


@pytest.fixture(scope="module")
def voila(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Voila that serves a notebook of explorers."""
    pytest.importorskip("voila")
    home = tmp_path_factory.mktemp("voila")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    book.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "name": "python3"}
    nbformat.write(book, home / "explorers.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(home / "config"),
                   "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "IPYTHONDIR": str(home / "ipython")}
    address = f"http://127.0.0.1:{port}"
    log = (home / "voila.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "voila", "explorers.ipynb", "--no-browser", f"--port={port}",
         "--Voila.ip=127.0.0.1"],
        env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=home)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/voila/static/", timeout=5).close()
                break
            except urllib.error.HTTPError:
                break  # it answers
            except OSError:
                assert server.poll() is None, (home / "voila.log").read_text()[-2000:]
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
        log.close()


@pytest.fixture(scope="module")
def page(voila: str, browser: Any) -> Iterator[Any]:
    """The page, on which no other address can be reached."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.strays = []

    def guard(route: Any) -> None:
        if route.request.url.startswith(voila):
            route.continue_()
        else:
            page.strays.append(route.request.url)
            route.abort()

    page.route(lambda url: url.startswith("http"), guard)
    page.goto(voila, timeout=180_000, wait_until="commit")
    page.wait_for_function(f"{PLOTS}.length === {FIGURES} && {PLOTS}.every(g => g.data.length)",
                           timeout=240_000, polling=500)
    yield page
    page.context.close()


def test_every_figure_is_drawn_and_no_other_address_is_needed(page):
    assert page.locator("[role=alert]").count() == 0
    points = page.evaluate(f"{PLOTS}.map(g => g.querySelectorAll('.point, .points path, .js-line').length)")
    assert len(points) == FIGURES and all(points)
    assert all("font" in url.lower() or "cdn" in url for url in page.strays)  # Voila's own, and blocked here
    for name in ("Undo", "Redo", "Reset"):
        assert page.get_by_role("button", name=name).first.inner_text() == name  # words, not icons alone


def test_a_key_moves_the_figures(page):
    page.locator(".noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        f"{PLOTS}.filter(g => g.layout.meta.state.nr_pinned === '0.2%' && g.data.length).length === 3",
        timeout=60_000)
    assert page.locator(".widget-readout").first.inner_text() == "0.2%"
    page.get_by_role("button", name="Undo").first.click()
    page.wait_for_function(
        f"{PLOTS}.filter(g => g.layout.meta.state.nr_pinned === '0.1%' && g.data.length).length === 3",
        timeout=60_000)


def test_the_mail_is_there_too(page):
    page.locator("details summary", has_text="Share").first.click()
    page.wait_for_function("document.querySelector('textarea[aria-label=mail]').value.includes('Result:')",
                           timeout=60_000)
