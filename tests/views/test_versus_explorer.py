"""The head-to-head explorer: linked views, tables, states, errors; its figures, data read back."""

from __future__ import annotations

import math
import re

import pytest

from workbench import InputError, versus
from workbench.evidence.lookups.costs import CostTable
from workbench.model.scenario import Scenario, evaluate
from workbench.studies.versus import bytes_map, ns_map
from workbench.views import explorers as widgets
from workbench.views import figures
from workbench.views.explorers.versus import shown

BASE = Scenario(machine="ram=64GiB", nr_pinned="1%")


@pytest.fixture(scope="module")
def explorer():
    return widgets.VersusExplorer(machine="ram=64GiB", nr_pinned="1%")


@pytest.fixture(autouse=True)
def _back(request):
    yield
    if "explorer" in request.fixturenames:
        explorer = request.getfixturevalue("explorer")
        explorer.reset()
        explorer.controls["machine"].value, explorer.controls["nr_pinned"].value = "ram=64GiB", "1%"


def score(explorer, criterion):
    return explorer.tables["scoreboard"].set_index("criterion").loc[criterion]


def test_every_table_is_what_the_package_says(explorer):
    table = CostTable.load(explorer.controls["table"].value)
    found = versus("proxy_bit", "dynamic_page", base=BASE, table=table, share=0.01)
    frame = explorer.tables["scoreboard"]
    assert sorted(frame["criterion"]) == sorted(row.criterion for row in found.rows)
    for row in found.rows:
        one = score(explorer, row.criterion)
        assert (one["value_a"], one["value_b"], one["better"]) == (row.value_a, row.value_b, row.better)
    assert explorer.tables["bytes map"].equals(bytes_map("proxy_bit", "dynamic_page", BASE))
    assert explorer.tables["ns map"].equals(ns_map("proxy_bit", "dynamic_page", table))
    assert set(explorer.tables) == {"scoreboard", "against pinned", "break even", "bytes map",
                                    "share of dynamic calls", "crossings", "ns map"}


def test_each_control_moves_what_depends_on_it(explorer):
    def drawn():
        return {name: dict(host.fig) for name, host in explorer.hosts.items()} | {
            "score": explorer.texts["score"].value}

    moves = {"page_to_pfn": (75, {"ns", "ns_map", "score"}),
             "nr_pinned": ("10%", {"memory", "bytes_map", "score"}), "run_pages": (512, {"memory", "score"}),
             "folio_order": (3, {"memory", "bytes_map", "score"}), "dynamic": (50, {"ns", "ns_map", "score"}),
             "proxy_bytes": (256, {"memory", "bytes_map", "score"}), "calls": (64, {"ns", "ns_map", "score"}),
             "b": ("dynamic_page:range", set(drawn())),
             "machine": ("ram=1TiB", {"memory", "bytes_map", "score"}),
             "pfn_map": ("two_level", {"memory", "bytes_map", "ns", "score"})}
    for name, (value, wanted) in moves.items():
        before = drawn()
        explorer.controls[name].value = value
        assert explorer.error.value == "", name
        moved = {view for view, now in drawn().items() if now != before[view]}
        assert wanted <= moved, (name, moved)
    assert evaluate(explorer.scenario().with_(design="proxy_bit")).total_bytes == evaluate(
        Scenario(machine="ram=1TiB", nr_pinned="10%", run_pages=512, folio_order=3, proxy_bytes=256,
                 pfn_map="two_level", design="proxy_bit")).total_bytes


def test_redrawn_in_part_it_shows_what_drawn_anew_it_shows(explorer):
    for name, value in {"nr_pinned": "0.1%", "b": "dynamic_page:range", "run_pages": 64, "dynamic": 30,
                        "nr_pinned ": "5%", "proxy_bytes": 128}.items():
        explorer.controls[name.strip()].value = value
    again = widgets.VersusExplorer.from_state(explorer.state())
    assert again.texts["score"].value == explorer.texts["score"].value
    for name in explorer.hosts:
        ours, theirs = (dict(one.hosts[name].fig) for one in (explorer, again))
        assert ours["data"] == theirs["data"], name
        assert ours["layout"].get("shapes") == theirs["layout"].get("shapes"), name


def test_presets_are_controls_of_it_and_draw():
    for name, values in widgets.VersusExplorer.presets.items():
        found = widgets.VersusExplorer(**values)
        assert found.error.value == "", name
        assert {key: found.state()[key] for key in values} == dict(values)


def test_the_same_design_twice_and_bad_input_are_one_line_and_nothing_old_is_shown(explorer):
    explorer.controls["b"].value = "proxy_bit"
    assert "pick two" in explorer.error.value and explorer.tables == {}
    assert explorer.texts["score"].value == "" and not explorer.hosts["memory"].fig["data"]
    explorer.controls["b"].value = "dynamic_page"
    assert explorer.error.value == "" and explorer.hosts["memory"].fig["data"]
    explorer.controls["machine"].value = "<b>ram=1</b>"
    assert "<b>" not in explorer.error.value and explorer.texts["score"].value == ""
    explorer.controls["machine"].value = "ram=64GiB"
    explorer.controls["table"].value = "nowhere.json"
    assert "nowhere.json" in explorer.error.value
    with pytest.raises(InputError, match="no control"):
        widgets.VersusExplorer(colour="red")


def test_what_no_table_times_is_said_and_the_bytes_stay(explorer):
    explorer.controls["a"].value = "proxy_bit:indexed"
    assert explorer.error.value == "" and explorer.hosts["memory"].fig["data"]
    assert not explorer.hosts["ns"].fig["data"] and "ns map" not in explorer.tables
    explorer.controls["page_to_pfn"].value = 100
    assert explorer.hosts["ns"].fig["data"] and explorer.hosts["ns_map"].fig["data"]


def test_the_scoreboard_says_who_is_better_in_words_and_marks(explorer):
    text = explorer.texts["score"].value
    assert "\u25c0 proxy_bit" in text and "= same" in text and "\u2013 not comparable" in text
    assert text.count("<tr>") == len(explorer.tables["scoreboard"]) + 1 + explorer.tables["scoreboard"][
        "group"].nunique()
    assert shown(1234567, "bytes") == "1,234,567" and shown(0.000123456, "%") == "0.0001235"


@pytest.mark.parametrize("values", [{}, *widgets.VersusExplorer.presets.values(), {"pfn_map": "maple"}])
def test_the_mail_is_a_dozen_rows_of_whole_words(values):
    explorer = widgets.VersusExplorer(**{"machine": "ram=64GiB", **values})
    mail = explorer.mail()
    table = mail.split("Result:\n")[1].split("\n\n")[0].splitlines()
    rows, _ = explorer.result()
    assert 10 <= len(rows) <= 12 and len(table) <= 2 * len(rows)
    assert all(not line.endswith("\\") for line in table)
    scores = explorer.tables["scoreboard"].set_index("criterion")
    said = rows.set_index("what")
    one = scores.loc["beyond the static memmap"]
    assert tuple(said.loc["bytes beyond static"])[:2] == (f"{one['value_a']:,}", f"{one['value_b']:,}")
    for op in ("page_to_pfn", "pfn_to_page"):
        for case, calls in (("static", "no call"), ("dynamic", "all calls")):
            one, cells = scores.loc[f"{op}(), {calls} dynamic"], said.loc[f"{op} {case}, ns"]
            for value, cell in zip((one["value_a"], one["value_b"]), (cells["in_a"], cells["in_b"]),
                                   strict=True):
                if value is None or value != value:
                    assert cell == "none"
                    continue
                middle, low, high = (float(part.replace(",", "")) for part in re.fullmatch(
                    r"([\d.,]+) \(([\d.,]+)-([\d.,]+)\)", cell).groups())
                assert low <= middle <= high and math.isclose(middle, value, rel_tol=0.006)
    is_assumed = scores.loc["sizeof a descriptor", "made"] == "assumed"
    assert ("a proxy of 64 bytes is assumed" in " ".join(mail.split())) == is_assumed


def test_the_mail_says_from_the_first_page_or_folio_and_what_leads_nowhere(explorer):
    assert explorer.result()[0].set_index("what").loc["takes more from", "in_b"] == "first page on"
    explorer.controls["folio_order"].value = 3
    explorer.controls["proxy_bytes"].value = 128
    assert explorer.result()[0].set_index("what").loc["takes more from", "in_b"] == "first folio on"
    mail = " ".join(explorer.mail().split())
    assert "a proxy of 128 bytes is assumed" in mail
    assert "pfn_to_page() of proxy_bit gives the static page, not the descriptor" in mail


def test_the_map_of_bytes_shows_its_table():
    cells = bytes_map("proxy_bit", "dynamic_page", BASE.with_(proxy_bytes=256))
    figure = figures.bytes_map(cells, "proxy_bit", "dynamic_page", (1.0, 512))
    heat = figure.data[0]
    text = [one for line in heat.text for one in line]
    for shown_, row in zip(text, cells.itertuples(), strict=True):
        letter = {"a": "A", "b": "B", "same": "=", "not comparable": "\u2013"}[row.better]
        assert shown_.startswith(letter)
        if row.better in "ab":
            assert math.isclose(float(shown_[1:].strip(" \u00d7")), row.factor, rel_tol=0.006)
    shares = list(dict.fromkeys(cells["percent"]))
    runs = list(dict.fromkeys(cells["run_pages"]))
    frame = figure.layout.shapes[0]
    assert (round(frame.x0 + 0.48), round(frame.y0 + 0.46)) == (shares.index(1.0), runs.index(512))
    first = cells.iloc[0]
    assert f"{int(first['bytes_b']):,} bytes" in heat.customdata[0][0]


def test_the_map_of_times_shows_its_table_and_its_key():
    table = CostTable.load("epyc-2vcpu-full")
    cells = ns_map("proxy_bit", "dynamic_page:range", table, page_to_pfn=1.0)
    figure = figures.ns_map(cells, "proxy_bit", "dynamic_page:range")
    letters = [one[0] for line in figure.data[0].text for one in line]
    assert letters == [{"a": "A", "b": "B", "undecided": "?"}[v] for v in cells["better"]]
    assert "passes do not tell them apart" in figure.layout.title.subtitle.text
    assert not figure.layout.shapes
