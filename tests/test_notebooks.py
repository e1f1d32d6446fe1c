"""The committed notebooks are clean, thin, executed, and still say what they compute."""

from __future__ import annotations

import ast
import re
import statistics
import time
from pathlib import Path

import pytest

import workbench
from workbench.views import pages as render

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
PATHS = render.notebooks(FOLDER)
RERUN = [path for path in PATHS if path.name.startswith(("00_", "01_", "02_"))]


def ids(path):
    return path.stem


def outputs(book):
    return [out for cell in book.cells for out in cell.get("outputs", ())]


def words(book):
    return [out.data["text/markdown"] for out in outputs(book) if "text/markdown" in out.get("data", {})]


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_it_is_normalised(path):
    assert render.text_of(render.normalise(render.read(path))) == path.read_text(), "run `make notebooks`"


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_it_is_executed_without_errors_and_has_a_png_beside_each_figure(path):
    found = outputs(render.read(path))
    assert found, "run `make notebooks`"
    assert not [out for out in found if out.output_type == "error"]
    assert all("image/png" in out.data for out in found if render.PLOTLY in out.get("data", {}))


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_it_names_no_place_of_the_machine_it_ran_on(path):
    text = path.read_text()
    assert render.WIDGET not in text
    assert not re.search(r"/(?:home|root|tmp|Users|work)/", text)


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_it_is_thin_and_opens_with_its_question(path):
    book = render.read(path)
    lines = [len(cell.source.splitlines()) for cell in book.cells if cell.cell_type == "code"]
    assert statistics.median(lines) <= 3
    assert render.title(book) != "Untitled" and "?" in render.title(book) + render.question(book)


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_its_cells_are_small_and_import_from_the_front_door_alone(path):
    for cell in render.read(path).cells:
        if cell.cell_type != "code":
            continue
        lines = cell.source.splitlines()
        assert len(lines) <= 12 and max(map(len, lines), default=0) <= 110, cell.source
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "workbench":
                assert node.module == "workbench"
                assert {alias.name for alias in node.names} <= set(workbench.__all__)


def test_the_front_door_is_short():
    assert len(workbench.__all__) <= 18
    assert all(getattr(workbench, name) is not None for name in workbench.__all__)


@pytest.mark.parametrize("path", RERUN, ids=ids)
def test_it_runs_top_to_bottom_and_says_the_same_again(path):
    start = time.monotonic()
    again = render.execute(path)
    assert time.monotonic() - start < 60
    if not path.name.startswith("00_"):  # it lists the other notebooks
        assert words(render.normalise(again)) == words(render.read(path)), "run `make notebooks`"
