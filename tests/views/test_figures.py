"""Figures show the numbers of their tables: the data is read, not the pixels."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import KernelConfig, Scenario, Struct, compare
from workbench.views import figures
from workbench.views._assets import TEMPLATES
from workbench.views.figures import PART

DESIGNS = ("static", "hvo", "proxy_bit", "proxy_bit:indexed", "dynamic_page", "foll_pin")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return compare(Scenario(machine="ram=64GiB", nr_pinned="0.5%", design=name) for name in DESIGNS)


def test_importing_figures_imports_neither_pandas_nor_plotly():
    code = "import sys, workbench.views.figures; print({'pandas', 'plotly', 'ipywidgets'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def shown_bytes(figure, xaxis="x"):
    """Exact bytes of each trace on one panel, from the hover data: {part: [bytes of each bar]}."""
    return {trace.name: [int(row[0].replace(",", "")) for row in trace.customdata]
            for trace in figure.data if (trace.xaxis or "x") == xaxis}


def test_bars_are_the_parts_and_sum_to_the_total(table):
    figure = figures.overhead_by_part(table)
    left, right = shown_bytes(figure), shown_bytes(figure, "x2")
    assert [sum(bars) for bars in zip(*left.values(), strict=True)] == list(table["total_bytes"])
    assert {**right, "memmap": left["memmap"]} == {
        part: list(table[PART + part]) for part in figures.parts_of(table)}
    gib, mib = 1 << 30, 1 << 20
    lengths = {t.name: list(t.x) for t in figure.data}
    assert lengths["memmap"] == [value / gib for value in left["memmap"]]
    assert lengths["dynamic_page objects"] == [value / mib for value in right["dynamic_page objects"]]
    assert figure.layout.xaxis.title.text.startswith("GiB")
    assert figure.layout.xaxis2.title.text.startswith("MiB")


def test_parts_differ_by_more_than_colour(table):
    bars = [trace for trace in figures.overhead_by_part(table).data if trace.showlegend]
    coded = {(bar.marker.color, bar.marker.pattern.shape) for bar in bars}
    assert len(bars) > 8 and len(coded) == len(bars)


def test_one_panel_where_no_part_hides_the_rest(table):
    flat = table.drop(columns=PART + "memmap")
    flat["total_bytes"] = [sum(int(row[PART + part]) for part in figures.parts_of(flat))
                           for _, row in flat.iterrows()]
    figure = figures.overhead_by_part(flat)
    assert {trace.xaxis for trace in figure.data} == {"x"}
    assert set(shown_bytes(figure)) == set(figures.parts_of(flat))


def test_percent_of_ram_is_the_tables(table):
    bars = figures.percent_of_ram(table).data[0]
    assert list(bars.x) == list(table["percent_of_ram"])
    assert bars.text[0] == f"{table['percent_of_ram'][0]:,.6g} %"


def lines_of(figure):
    return {trace.name: trace for trace in figure.data}


def test_lines_are_the_curve_and_break_evens_are_marked():
    curve = pd.DataFrame([(design, nr, nr / 10, add, True) for design, nr, add in
                          [("static", 0, 0), ("static", 10, 0), ("dynamic_page", 0, 0),
                           ("dynamic_page", 10, 800), ("the static memmap", 0, 640),
                           ("the static memmap", 10, 640)]],
                         columns=["design", "nr_pages", "percent", "added_bytes", "exact"])
    even = pd.DataFrame([("dynamic_page", "the static memmap", 8, 0.8, 640)],
                        columns=["design", "other", "nr_pages", "percent", "added_bytes"])
    figure = figures.overhead_against_pinned(curve, even, at=0.5)
    lines = lines_of(figure)
    assert list(lines) == ["dynamic_page", "the static memmap", "1. dynamic_page = the static memmap: 0.8 %"]
    assert (list(lines["dynamic_page"].x), list(lines["dynamic_page"].y)) == ([1.0], [800])
    mark = figure.data[-1]
    assert (mark.x[0], mark.y[0], mark.customdata[0][0]) == (0.8, 640, "8")
    assert figure.layout.shapes[0].x0 == 0.5
    assert "static" in figure.layout.title.subtitle.text
    assert not figures.overhead_against_pinned(curve).layout.shapes


def test_pfn_maps_shows_every_row():
    rows = pd.DataFrame([("flat", 1, 5, 4096, True), ("xarray", 1, 5, 576, True),
                         ("xarray", 8, 5, 600, True)],
                        columns=["map", "run_pages", "nr_entries", "bytes", "exact"])
    lines = lines_of(figures.pfn_maps(rows))
    assert list(lines["runs of 1"].x) == [4096, 576] and list(lines["runs of 8"].x) == [600]


def test_a_picture_of_struct_page_has_every_member_where_it_is():
    page = Struct.from_kernel("page", KernelConfig.preset("amd64_6.12"))
    drawn = {piece.name: piece for piece in figures.pieces(page)}
    for member in page.members:
        if not member.name.startswith("<anon"):
            piece = drawn[member.name]
            assert (piece.line * 64 + piece.start, piece.width) == (member.offset, member.size)


def test_arms_of_a_union_have_lanes_of_their_own():
    struct = Struct.from_c("struct s { int a; union { long b; struct { char c; short d; }; }; char e; };")
    lanes = {piece.name: piece.lane for piece in figures.pieces(struct)}
    assert lanes["b"] != lanes["c"] == lanes["d"]
    assert lanes["a"] == lanes["b"] == lanes["e"]


def test_bitfields_holes_and_padding_are_drawn_to_the_bit():
    struct = Struct.from_c("struct s { unsigned a:3, b:7; char c; long d; char e; };")
    found = sorted(figures.pieces(struct), key=lambda piece: piece.start)
    at = [(piece.name, piece.start, piece.width) for piece in found]
    assert at == [("a:3", 0, 0.375), ("b:7", 0.375, 0.875), ("hole", 1.25, 0.75), ("c", 2, 1), ("hole", 3, 5),
                  ("d", 8, 8), ("e", 16, 1), ("padding", 17, 7)]


def test_a_member_across_cache_lines_is_drawn_in_each():
    struct = Struct.from_c("struct s { char a[60]; char b[100]; };")
    parts = [(p.line, p.start, p.width) for p in figures.pieces(struct) if p.name == "b"]
    assert parts == [(0, 60, 4), (1, 0, 64), (2, 0, 32)]


KINDS = st.sampled_from(["char", "short", "int", "long", "void *", "char [3]"])


def declared(name: str, kind: str) -> str:
    base, _, size = kind.partition(" [")
    return f"{base} {name}{'[' + size if size else ''};"


@given(st.lists(KINDS, min_size=1, max_size=12), st.lists(KINDS, max_size=4))
def test_pieces_tile_the_struct_and_none_hides_another(plain, arms):
    body = " ".join(declared(f"m{n}", kind) for n, kind in enumerate(plain))
    union = " ".join(declared(f"u{n}", kind) for n, kind in enumerate(arms))
    struct = Struct.from_c(f"struct s {{ {body} {f'union {{ {union} }};' if arms else ''} }};")
    found = sorted((p.lane, p.line * 64 + p.start, p.width) for p in figures.pieces(struct))
    for (lane, start, width), (next_lane, next_start, _) in pairwise(found):
        assert lane != next_lane or start + width <= next_start
    covered = set()
    for _, start, width in found:
        covered |= set(range(int(start), int(start + width)))
    assert covered == set(range(struct.size))


def test_several_structs_share_one_figure():
    page = Struct.from_kernel("page", "amd64_6.12")
    figure = figures.struct_layout(page, Struct.from_c("struct two { long a, b; };"))
    assert {trace.xaxis for trace in figure.data} == {"x", "x2"}
    assert len(figure.layout.annotations) == 2


def test_names_from_files_are_inert():
    evil = "<img src=x onerror=alert(1)>\u202e"
    table = compare([Scenario(machine="ram=1GiB", design="static")])
    table["design"] = evil
    for figure in (figures.overhead_by_part(table), figures.percent_of_ram(table), figures.nothing(evil)):
        assert "\u202e" not in figure.to_json()
        figure.layout.meta = None  # its alt text is set as an attribute, never as HTML
        text = figure.to_json()
        assert "<img" not in text and "\\u003cimg" not in text


@pytest.mark.parametrize("script", ["plothost.js", "share.js", "figures.js"])
def test_the_bar_above_a_figure_is_the_same_wherever_it_is_drawn(script):
    text = (TEMPLATES / script).read_text()
    removed = re.search(r"displaylogo: false,\s+modeBarButtonsToRemove: (\[.*?\])", text)
    assert removed and {"select2d", "lasso2d", "autoScale2d"} <= set(json.loads(removed[1]))
