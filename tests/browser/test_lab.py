"""Notebook 02 in a real JupyterLab: figures are there, follow the keyboard, and are right after a reload."""

from __future__ import annotations

import json
from typing import Any

import pytest

EXPLORER = "[...document.querySelectorAll('.js-plotly-plot')].filter(g => g.layout?.meta?.state)"


def figures(page: Any) -> list[dict[str, Any]]:
    """What the explorer's figures show: traces, state, marks, and bars or points really on the screen."""
    return page.evaluate(f"""{EXPLORER}.map(g => ({{
        traces: g.data.length, state: g.layout.meta.state, at: g.layout.shapes?.[0]?.x0,
        drawn: g.querySelectorAll('.point, .points path').length,
        width: g.getBoundingClientRect().width }}))""")


def drawn(page: Any) -> None:
    """Wait for the explorer's figures; JupyterLab keeps cells out of the page that are scrolled away."""
    page.wait_for_function(
        f"(document.querySelector('.jp-WindowedPanel-outer')?.scrollTo(0, 300), {EXPLORER}.length >= 3)",
        timeout=60_000, polling=250)
    page.locator(".widget-readout").first.wait_for()


def shows(page: Any, share: str) -> None:
    """Wait until all figures and the slider's read-out show that share."""
    page.wait_for_function(
        f"""share => {EXPLORER}.every(g => g.data.length && g.layout.meta.state.nr_pinned === share)
            && new Set({EXPLORER}.map(g => JSON.stringify(g.layout.meta.state))).size === 1""",
        arg=share, timeout=20_000)
    assert page.locator(".widget-readout").first.inner_text() == share
    found = figures(page)
    assert len(found) == 3 and all(one["traces"] and one["drawn"] and one["width"] > 300 for one in found)
    assert float(found[2]["at"]) == float(share.removesuffix("%"))  # the mark on the curve


@pytest.fixture(scope="module")
def page(lab: Any, browser: Any) -> Any:
    """Notebook 02 after Run All."""
    page = lab.open(browser, "02_memory_overhead.ipynb")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.click(".lm-MenuBar-item:has-text('Run')")
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    drawn(page)
    yield page
    page.context.close()


def test_run_all_draws_every_figure_and_asks_nobody_else(page):
    shows(page, "0.1%")
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert not page.strays


def test_arrow_keys_move_the_figures_and_the_last_key_wins(page):
    page.locator(".noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    shows(page, "0.2%")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    shows(page, "10%")


def test_controls_are_reached_by_tab_and_have_names(page):
    page.locator(".jupyter-widgets select").first.focus()
    names = []
    for _ in range(6):
        names.append(page.evaluate(
            "(document.activeElement.labels?.[0] ?? document.activeElement.closest('.jupyter-widgets')"
            ".querySelector('label')).textContent"))
        page.keyboard.press("Tab")
    assert names[:4] == ["machine", "or any other", "kernel", "page mix"] and all(names)


def test_a_machine_that_cannot_be_used_is_said_inline(page):
    box = page.locator(".jupyter-widgets input[type=text]").first
    box.fill("ram=<b>nonsense</b>")
    box.press("Enter")
    page.locator("[role=alert]", has_text="<b>nonsense</b>").wait_for(timeout=20_000)
    page.wait_for_function(f"{EXPLORER}.every(g => g.data.length === 0)", timeout=20_000)
    box.fill("ram=64TiB,nodes=8")
    box.press("Enter")
    shows(page, "10%")
    page.locator("[role=alert]").wait_for(state="detached", timeout=20_000)


def test_after_a_reload_control_and_figures_agree(page):
    with page.expect_response(lambda response: response.request.method == "PUT"):  # or there is no output
        page.click(".lm-MenuBar-item:has-text('File')")
        page.locator(".lm-Menu-item[data-command='docmanager:save']").click()
    page.reload()
    drawn(page)
    shows(page, "10%")
    assert json.dumps(figures(page)[0]["state"]).count("64TiB") == 1
    page.locator(".noUi-handle").first.focus()
    page.keyboard.press("ArrowLeft")
    shows(page, "5%")


def test_a_restarted_kernel_is_said_beside_the_figures(page):
    page.click(".lm-MenuBar-item:has-text('Kernel')")
    page.locator(".lm-Menu-item[data-command='kernelmenu:restart']").click()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.locator(".workbench-note", has_text="Kernel gone").first.wait_for(timeout=20_000)
    assert figures(page)[0]["drawn"]
