"""What leaves an explorer: the mail, the CSV, and that names from files are inert in both."""

from __future__ import annotations

import csv
import dataclasses
import email.policy
import io
import json
import shlex

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import cli
from workbench.model.errors import InputError
from workbench.views import explorers as widgets
from workbench.views.explorers import Explorer, OverheadExplorer
from workbench.views.explorers._sharing import FORMULA, csv_text
from workbench.views.explorers._state import decode

EXPLORERS = sorted((cls for cls in vars(widgets).values()
                    if isinstance(cls, type) and issubclass(cls, Explorer) and cls is not Explorer),
                   key=lambda cls: cls.__name__)
EVIL = "<script>alert(1)</script>\x1b[31m\u202egnp.exe"


@pytest.mark.parametrize("cls", EXPLORERS, ids=lambda cls: cls.__name__)
def test_an_open_row_shows_mail_state_and_every_table(cls):
    explorer = cls()
    assert explorer.share_row.shown == {}
    explorer.share_row.is_open = True
    shown = explorer.share_row.shown
    assert shown["mail"].isascii() and max(map(len, shown["mail"].splitlines())) <= 72
    sent = email.message_from_string(shown["mail"], policy=email.policy.default)
    assert sent["Subject"] == explorer.title() and "Result:" in sent.get_payload()
    assert shown["state"] == explorer.state_string() and shown["state"] in shown["python"]
    nothing: dict = {}
    exec(shown["python"], nothing)  # a notebook that has imported nothing
    assert eval(shown["python"].splitlines()[-1], nothing).state() == explorer.state()
    assert shown["tables"] == list(explorer.tables)
    for name, table in explorer.tables.items():
        file, text = explorer._csv(name)
        rows = list(csv.reader(io.StringIO(text)))
        assert file.endswith(".csv") and " " not in file
        assert len(rows) == len(table) + 1 and all(len(row) == len(table.columns) for row in rows)
    explorer.share_row.is_open = False
    assert explorer.share_row.shown == {}


def test_the_open_row_follows_the_controls_and_says_when_there_is_nothing():
    explorer = OverheadExplorer(machine="ram=64GiB")
    explorer.share_row.is_open = True
    explorer.controls["nr_pinned"].value = "5%"
    assert "838,861 pages (5%)" in explorer.share_row.shown["mail"]
    assert "nr_pinned=5*25" in explorer.share_row.shown["state"]
    explorer.controls["machine"].value = "ram=nonsense"
    assert "nothing is drawn" in explorer.share_row.shown["mail"] and not explorer.share_row.shown["tables"]
    assert decode(explorer.share_row.shown["state"])["machine"] == "ram=nonsense"
    with pytest.raises(InputError):
        explorer.mail()


def printed(capsys, command):
    """The JSON that a mail's command prints."""
    words = shlex.split(command)
    assert words[0] == "workbench" and cli.main([*words[1:], "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("values", [
    {}, {"machine": "ram=64TiB,nodes=8", "nr_pinned": "1%", "run_pages": 512, "pfn_map": "flat"},
    {"machine": "h100-128g-6.18", "describe_device": True, "nr_device_used": "2%", "folio_order": 4},
    {"machine": "ram=1TiB", "kernel": "arm64-64k", "designs": ["dynamic_page", "memdesc8"]}])
def test_the_command_of_an_overhead_mail_prints_its_numbers(values, capsys):
    explorer = OverheadExplorer(**values)
    assert explorer.error.value == ""
    rows = printed(capsys, explorer.command())["rows"]
    assert [(row["design"], row["total_bytes"]) for row in rows] == list(
        zip(explorer.rows["design"], explorer.rows["total_bytes"], strict=True))
    for row in rows:
        assert f"{row['total_bytes']:,}" in explorer.mail()


def test_no_command_is_offered_for_what_the_command_line_cannot_say():
    assert OverheadExplorer(machine="ram=64GiB", mix="database").command() == ""
    assert "Command:" not in OverheadExplorer(machine="ram=64GiB", mix="database").mail()


def test_a_note_of_an_overhead_mail_names_its_designs():
    explorer = OverheadExplorer(machine="ram=64GiB", designs=["static", "hvo", "dynamic_page"])
    assert explorer.notes() and "Notes:" in explorer.mail()
    for row in explorer.rows.to_dict("records"):
        for note in filter(None, row["notes"].split("; ")):
            said = [text.removesuffix(f": {note}") for text in explorer.notes() if text.endswith(f": {note}")]
            assert len(said) == 1 and row["design"] in said[0].split(", ")


def test_a_subject_holds_a_name_that_no_line_does():
    name = "a" * 200
    mail = widgets.StructExplorer(text=f"struct {name} {{ int a; }};").mail()
    assert mail.startswith("Subject: ") and max(map(len, mail.splitlines())) <= 72


def test_the_command_of_a_pins_mail_prints_its_numbers(capsys):
    explorer = widgets.PinsExplorer(pfn_map="flat")
    found = printed(capsys, explorer.command())["designs"]
    for row in explorer.result()[0].itertuples():
        assert any(one["design"] == row.design and one["peak_bytes"] == row.peak_bytes for one in found)


def test_the_commands_of_claims_structs_and_mistakes_print_their_numbers(capsys):
    claims = widgets.ClaimsExplorer(verdict="differs")
    rows = printed(capsys, claims.command())["rows"]
    assert [row["id"] for row in rows] == sorted(claims.tables["claims"]["id"])
    struct = widgets.StructExplorer(kernel="amd64_6.12.117-1", text="", name="folio")
    assert printed(capsys, struct.command())["size"] == struct.struct().size
    assert widgets.StructExplorer().command() == ""
    mistakes = widgets.MistakesExplorer(design="foll_pin")
    words = shlex.split(mistakes.command())
    assert words[words.index("--design") + 1] == "foll_pin" and "--mistake" in words


def test_a_mail_quoted_and_wrapped_gives_the_state_again():
    explorer = widgets.StructExplorer(text="struct s {\n\tint a; /* % + & = ~ */\n};\n", name="s")
    mail = explorer.mail()
    lines = mail[mail.index("  state:"):mail.index("  by:")].removeprefix("  state:")
    quoted = "\n".join("> > " + line for line in lines.splitlines())
    assert widgets.StructExplorer.from_string(quoted).state() == explorer.state()


def test_names_from_a_trace_are_inert_in_mail_and_csv(tmp_path):
    from workbench.evidence.pins.trace import load_trace

    trace = load_trace("pins-fio").select(slice(0, 2000))
    evil = dataclasses.replace(trace, comm_names=("=cmd|' /C calc'!A0",) * len(trace.comm_names),
                               meta={**trace.meta, "why": [EVIL]})  # fmt: skip
    explorer = widgets.PinsExplorer(trace=str(evil.write(tmp_path / "=evil.parquet")))
    assert explorer.error.value == ""
    everything = [explorer.mail(), *(explorer.csv(name) for name in explorer.tables)]
    assert all("\x1b" not in text and "\u202e" not in text for text in everything)
    explorer = widgets.MixExplorer()
    explorer.tables["evil"] = pd.DataFrame({"name": [EVIL, "=1+1", "@x"], "+heading": [1, 2, 3]})
    assert explorer.csv("evil") == ("name,'+heading\r\n<script>alert(1)</script>\\x1b[31m\\u202egnp.exe,1\r\n"
                                    "'=1+1,2\r\n'@x,3\r\n")
    struct = widgets.StructExplorer(text=f"struct s {{ int a; }}; /* {EVIL} */")
    assert struct.mail().isascii() and "\x1b" not in struct.mail()


@given(st.lists(st.tuples(st.text(), st.integers(-2**63, 2**64)), min_size=1, max_size=8))
def test_csv_keeps_integers_exact_and_no_cell_of_text_is_a_formula(rows):
    table = pd.DataFrame(rows, columns=["text", "nr"]).astype({"nr": object})
    found = list(csv.reader(io.StringIO(csv_text(table), newline="")))[1:]
    assert [int(nr) for _, nr in found] == [nr for _, nr in rows]
    for (shown, _), (text, _) in zip(found, rows, strict=True):
        assert not shown.startswith(FORMULA)
        assert shown.removeprefix("'") == text.removeprefix("'") or not text.isprintable() or "'" in text[:1]
        assert all(c.isprintable() or c in "\n\t" for c in shown)


def test_missing_values_are_empty_cells():
    table = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [None, float("nan")]})
    assert csv_text(table) == "a,b\r\n1,\r\n,\r\n"


def test_an_unknown_table_is_refused():
    explorer = widgets.MixExplorer()
    with pytest.raises(InputError, match="no table 'x'; there are designs"):
        explorer.csv("x")
    sent = []
    explorer.share_row.send = sent.append
    for message in ({"csv": "designs"}, {"csv": 5}, "csv", {"csv": "<b>"}):
        explorer.share_row._answer(explorer.share_row, message, [])
    assert [one["file"] for one in sent] == ["mix-designs.csv", "nothing.csv"]
