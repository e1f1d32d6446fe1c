"""The pins explorer in a real JupyterLab: follows the keyboard, says what is wrong, right after a reload."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest

FIGURES = "[...document.querySelectorAll('.js-plotly-plot')].filter(g => g.layout?.meta?.state?.trace)"


@pytest.fixture(scope="module")
def page(lab: Any, browser: Any) -> Any:
    """A notebook with nothing but the explorer, after Run All."""
    book = nbformat.v4.new_notebook()
    book.cells = [
        nbformat.v4.new_code_cell("from workbench import widgets\nwidgets.PinsExplorer(pool_size=16)")
    ]
    book.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "name": "python3"}
    nbformat.write(book, lab.folder / "pins_explorer.ipynb")
    page = lab.open(browser, "pins_explorer.ipynb")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.click(".lm-MenuBar-item:has-text('Run')")
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    drawn(page)
    yield page
    page.context.close()


def drawn(page: Any) -> None:
    page.wait_for_function(f"{FIGURES}.length === 5", timeout=90_000, polling=250)


def shows(page: Any, **state: Any) -> None:
    """Wait until every figure shows that state; the mark on the pool figure is where the slider is."""
    page.wait_for_function(
        f"""state => {FIGURES}.length === 5 && {FIGURES}.every(g => g.data.length
            && Object.entries(state).every(([k, v]) => k !== 'trace' || g.layout.meta.state[k] === v))""",
        arg=state, timeout=20_000,
    )  # fmt: skip
    if "pool_size" in state:
        page.wait_for_function(
            f"at => {FIGURES}.some(g => g.layout.shapes?.[0]?.x0 === at)",
            arg=state["pool_size"],
            timeout=20_000,
        )


def test_arrow_keys_move_the_pool(page):
    shows(page, trace="pins-fio", pool_size=16)
    page.locator(".noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    shows(page, trace="pins-fio", pool_size=23)
    assert not page.strays


def test_a_trace_that_is_none_is_said_and_the_list_leads_back(page):
    box = page.locator(".jupyter-widgets input[type=text]").first
    box.fill("<b>nonsense</b>")
    box.press("Enter")
    page.locator("[role=alert]", has_text="<b>nonsense</b>").wait_for(timeout=20_000)
    page.wait_for_function(f"{FIGURES}.every(g => g.data.length === 0)", timeout=20_000)
    page.locator(".jupyter-widgets select").first.select_option("pins-fio")
    shows(page, trace="pins-fio")
    page.locator(".jupyter-widgets select").first.select_option("pins-mixed-lossy-kprobe")
    shows(page, trace="pins-mixed-lossy-kprobe")
    assert "incomplete" in page.evaluate(f"{FIGURES}[0].layout.title.subtitle.text")


def test_after_a_reload_control_and_figures_agree(page):
    with page.expect_response(lambda response: response.request.method == "PUT"):
        page.click(".lm-MenuBar-item:has-text('File')")
        page.locator(".lm-Menu-item[data-command='docmanager:save']").click()
    page.reload()
    drawn(page)
    shows(page, trace="pins-mixed-lossy-kprobe", pool_size=23)
    assert page.locator(".widget-readout").first.inner_text() == "23"
