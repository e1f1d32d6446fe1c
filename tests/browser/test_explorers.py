"""What all explorers share, in a real JupyterLab: sharing, undo, Stop, names of controls, narrow windows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest

PLOTS = "[...document.querySelectorAll('.js-plotly-plot')].filter(g => g.layout?.meta?.state)"
#: Everything that says something: a figure's texts that stick out of it, on any side.
CUT = f"""{PLOTS}.flatMap(g => {{
    const box = g.getBoundingClientRect();
    const out = t => {{
        const at = t.getBoundingClientRect();
        return Math.max(box.left - at.left, at.right - box.right, box.top - at.top, at.bottom - box.bottom);
    }};
    return [...g.querySelectorAll('.gtitle, .gtitle-subtitle, .legendtext, .xtitle, .ytitle')]
        .filter(t => t.getBoundingClientRect().width && out(t) > 1)
        .map(t => `${{g.layout.meta.file}}: ${{t.textContent}}, by ${{out(t).toFixed(1)}}`); }})"""
#: A subtitle must not touch what is drawn below it, nor a legend what stands above.
TOUCHING = f"""{PLOTS}.flatMap(g => {{
    const below = g.querySelector('.gtitle-subtitle')?.getBoundingClientRect();
    const legend = g.querySelector('.legend')?.getBoundingClientRect();
    const over = [...g.querySelectorAll('.xtitle')].map(t => t.getBoundingClientRect().bottom);
    if (legend?.width && over.length && legend.top < Math.max(...over) - 1)
        return [`${{g.layout.meta.file}}: legend over the axis, ${{Math.max(...over) - legend.top}}`];
    const plot = g.querySelector('.cartesianlayer .bg, .bglayer .bg, .plot')?.getBoundingClientRect();
    return below?.width && plot && below.bottom > plot.top
        ? [`${{g.layout.meta.file}}: subtitle over the plot, ${{(below.bottom - plot.top).toFixed(1)}}`] : [];
    }})"""
#: Controls without a name, as assistive technology hears it.
NAMELESS = """[...document.querySelectorAll(
        '.jp-OutputArea :is(input, select, textarea, button, [role=slider])')].filter(e => e.offsetParent
        && !e.closest('.modebar')).filter(e => !(e.labels?.[0]?.textContent.trim()
        || e.getAttribute('aria-label') || e.textContent.trim() || e.title || e.closest('.jupyter-widgets')
            ?.querySelector('label')?.textContent.trim())).map(e => e.outerHTML.slice(0, 200))"""
#: A folder for pictures of every explorer, to be looked at.
SHOTS = os.environ.get("WORKBENCH_SHOTS")
SLOW = """
import time
from workbench import widgets
slow = widgets.OverheadExplorer(machine="ram=64GiB")
draw = slow._draw
def _draw(changed):
    draw(changed)
    if slow.controls["nr_pinned"].value == "0.2%":
        for _ in range(1200):
            time.sleep(0.05)
slow._draw = _draw
slow
"""
#: Every explorer, and how many figures it has.
EXPLORERS = {"OverheadExplorer": 3, "MixExplorer": 1, "PathsExplorer": 4, "PinsExplorer": 5,
             "StructExplorer": 1, "FlagBudgetExplorer": 1, "ClaimsExplorer": 0, "MistakesExplorer": 1,
             "WalkExplorer": 2, "VersusExplorer": 4}


def book(lab: Any, name: str, *cells: str) -> str:
    """A notebook with these cells, in the server's folder."""
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    made.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "name": "python3"}
    nbformat.write(made, lab.folder / name)
    return name


def run(lab: Any, browser: Any, name: str, width: int = 1280) -> Any:
    """The notebook's page after Run All."""
    page = lab.open(browser, name, width)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)
    page.click(".lm-MenuBar-item:has-text('Run')")
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    return page


def drawn(page: Any, figures: int) -> None:
    page.wait_for_function(f"{PLOTS}.length >= {figures} && {PLOTS}.every(g => g.data.length)",
                           timeout=180_000, polling=250)


def shows(page: Any, share: str) -> None:
    page.wait_for_function(
        f"share => {PLOTS}.length >= 3 && {PLOTS}.every(g => g.data.length && "
        "g.layout.meta.state.nr_pinned === share)", arg=share, timeout=60_000)


@pytest.fixture(scope="module")
def page(lab: Any, browser: Any) -> Any:
    """An explorer whose drawing at 0.2 % takes a minute."""
    page = run(lab, browser, book(lab, "shared.ipynb", SLOW))
    drawn(page, 3)
    yield page
    page.context.close()


def test_the_row_opens_by_keyboard_and_gives_mail_state_csv_and_svg(page, tmp_path):
    shows(page, "0.1%")
    page.locator("details summary").first.focus()
    page.keyboard.press("Enter")
    mail = page.get_by_label("mail", exact=True)
    page.wait_for_function("document.querySelector('textarea[aria-label=mail]').value.includes('Result:')",
                           timeout=60_000)
    text = mail.input_value()
    assert "--pinned 0.1%" in text and max(map(len, text.splitlines())) <= 72
    assert page.get_by_label("state", exact=True).input_value() == "OverheadExplorer.1~machine=ram=64GiB~end"
    assert mail.evaluate("e => e.style.whiteSpace") == "pre"
    page.set_viewport_size({"width": 400, "height": 720})
    lines = mail.evaluate("e => (e.scrollHeight - 4) / parseFloat(getComputedStyle(e).lineHeight)")
    assert lines < len(text.splitlines()) + 3  # none is wrapped
    page.set_viewport_size({"width": 1280, "height": 720})
    for name in ("Copy state", "Copy as mail", "Copy as Python"):
        page.get_by_role("button", name=name).click()
        page.locator(f"button:text-is('{name}') + [role=status]", has_text="cop").wait_for(timeout=20_000)
    with page.expect_download(timeout=60_000) as saved:
        page.get_by_role("button", name="CSV: designs").click()
    assert saved.value.suggested_filename == "overhead-designs.csv"
    saved.value.save_as(tmp_path / "designs.csv")
    assert "part:memmap_bytes" in (tmp_path / "designs.csv").read_text()
    page.locator(".js-plotly-plot").first.hover()
    with page.expect_download(timeout=60_000) as saved:
        page.locator(".js-plotly-plot .modebar-btn[data-title='Download as SVG']").first.click()
    assert saved.value.suggested_filename.endswith(".svg")
    saved.value.save_as(tmp_path / "figure.svg")
    assert Path(tmp_path / "figure.svg").read_text().startswith("<svg")
    page.locator("details summary").first.click()


def test_undo_and_redo_move_figures_and_controls(page):
    page.locator(".noUi-handle").first.focus()
    page.keyboard.press("ArrowLeft")
    shows(page, "0.05%")
    page.get_by_role("button", name="Undo").click()
    shows(page, "0.1%")
    assert page.locator(".widget-readout").first.inner_text() == "0.1%"
    page.get_by_role("button", name="Redo").click()
    shows(page, "0.05%")
    page.get_by_role("button", name="Undo").click()
    shows(page, "0.1%")


@pytest.mark.parametrize("how", ["Stop", "the square button"])
def test_a_long_drawing_says_so_and_can_be_stopped(page, how):
    page.locator(".noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    page.locator("[role=status]", has_text="computing ...").wait_for(timeout=20_000)
    if how == "Stop":
        page.get_by_role("button", name="Stop", exact=True).click()
    else:
        page.locator("[data-command='notebook:interrupt-kernel'], "
                     "button[title^='Interrupt the kernel'], "
                     "jp-button[data-command='notebook:interrupt-kernel']").first.click()
    page.locator("[role=alert]", has_text="stopped; nothing is drawn").wait_for(timeout=30_000)
    page.wait_for_function(f"{PLOTS}.length === 3 && {PLOTS}.every(g => !g.data.length)", timeout=20_000)
    page.locator("[role=status]", has_text="computing ...").wait_for(state="hidden", timeout=20_000)
    page.get_by_role("button", name="Undo").click()
    shows(page, "0.1%")


@pytest.fixture(scope="module")
def all_of_them(lab: Any, browser: Any) -> Any:
    """One page with every explorer, each the output of a cell; all of it is on the screen."""
    cells = [f"from workbench import widgets\nwidgets.{name}()" for name in EXPLORERS]
    page = run(lab, browser, book(lab, "all.ipynb", *cells))
    page.set_viewport_size({"width": 1280, "height": 18_000})  # else JupyterLab leaves out what is not seen
    drawn(page, sum(EXPLORERS.values()))
    yield page
    page.context.close()


def theme(page: Any, name: str) -> None:
    """Another theme in a page that is open, as the Settings menu does it."""
    page.click(".lm-MenuBar-item:has-text('Settings')")
    page.locator(".lm-Menu-item:has-text('Theme')").first.hover()
    page.locator(f".lm-Menu-item[data-command='apputils:change-theme']:has-text('{name}')").first.click()
    page.wait_for_function("dark => document.body.dataset.jpThemeLight === dark",
                           arg=str("Light" in name).lower(), timeout=60_000)


@pytest.mark.parametrize(("width", "colours"), [(1280, "JupyterLab Light"), (800, "JupyterLab Dark")])
def test_every_explorer_fits_and_every_control_has_a_name(all_of_them, width, colours):
    page = all_of_them
    if "Dark" in colours:
        theme(page, colours)
    page.set_viewport_size({"width": width, "height": 18_000})
    page.wait_for_function(  # every figure is drawn at the width that there is
        f"{PLOTS}.length === {sum(EXPLORERS.values())} && {PLOTS}.every(g => g.data.length && "
        "Math.abs(g._fullLayout.width - g.parentElement.clientWidth) <= 1)", timeout=180_000, polling=250)
    if SHOTS:
        for at, name in enumerate(EXPLORERS):
            page.locator(".jp-Cell").nth(at).screenshot(path=f"{SHOTS}/{name}-{width}-{colours[11:]}.png")
    ink = page.evaluate(f"{PLOTS}.map(g => getComputedStyle(g.querySelector('.gtitle')).fill)")
    paper = page.evaluate("getComputedStyle(document.body).getPropertyValue('--jp-content-font-color1')")
    assert len(set(ink)) == 1, (ink, paper)
    assert page.evaluate(CUT) + page.evaluate(TOUCHING) + page.evaluate(NAMELESS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not page.strays
