"""``workbench compare``: the same rows as a table, JSON, a mail and a page; a wrong file is one line."""

from __future__ import annotations

import json
import re

import pytest

from workbench import InputError, cli
from workbench.model import designs
from workbench.model.files import data_dir
from workbench.model.scenario import Scenario, evaluate
from workbench.model.scenario.files import MAX_BYTES, field_kinds, load
from workbench.studies import sweep

SHIPPED = sorted(path for path in (data_dir() / "scenarios").glob("*.toml") if "sweep-" not in path.name)
SMALL = """
title = "Two designs"
[base]
machine = "ram=1GiB"
nr_pinned = 512
[[scenario]]
design = "foll_pin"
[[scenario]]
name = "clustered"
design = "dynamic_page"
run_pages = 512
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(SMALL)
    return path


def run(capsys, *args):
    status = cli.main(["compare", *map(str, args)])
    return status, *capsys.readouterr()


def test_rows_are_those_of_evaluate(file, capsys):
    status, out, _ = run(capsys, file, "--json")
    found = json.loads(out)
    assert status == 0
    assert [row["name"] for row in found["rows"]] == ["foll_pin", "clustered"]
    expected = evaluate(Scenario(machine="ram=1GiB", nr_pinned=512, run_pages=512, design="dynamic_page"))
    assert found["rows"][1]["total_bytes"] == expected.total_bytes
    assert sum(found["rows"][1]["parts"].values()) == expected.total_bytes
    _, text, _ = run(capsys, file)
    assert "Two designs" in text
    assert f"{expected.total_bytes:,}" in text


def test_the_mail_and_the_page_have_the_same_totals(file, tmp_path, capsys):
    page = tmp_path / "out.html"
    _, out, _ = run(capsys, file, "--json", "--mail", "--html", page)
    found = json.loads(out)
    _, mail, _ = run(capsys, file, "--mail")
    assert mail == found["mail"]
    assert mail.startswith("Subject: Two designs\n\nTest setup:\n")
    assert all(len(line) <= 72 and line.isascii() for line in mail.splitlines())
    assert f"workbench compare {file}" in mail.replace("\\\n", "").replace("'", "").replace("    ", "")
    for row in found["rows"]:
        assert f"{row['total_bytes']:,}" in mail
        assert f"{row['total_bytes']:,}" in page.read_text()
    assert "<script" not in page.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.html", "s.toml"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_files_run(path, capsys):
    status, out, _ = run(capsys, path, "--mail")
    assert status == 0
    assert "Result:" in out
    assert len(load(path).scenarios) > 2


@pytest.mark.parametrize(
    ("old", "new", "place", "why"),
    [
        ("nr_pinned", "nr_pined", "[base]", "field 'nr_pined' is none of .*; did you mean 'nr_pinned'?"),
        ("run_pages = 512", 'run_pages = "512"', "scenario]] 2", "is '512' (str), not a whole number"),
        ("run_pages = 512", "run_pages = true", "scenario]] 2", "is True (bool), not a whole number"),
        ("run_pages = 512", "run_pages = 3", "'clustered'", "power of two"),
        ('"foll_pin"', '"fol_pin"', "'fol_pin'", "design 'fol_pin' is none of"),
        ('"clustered"', '"foll_pin"', "[[scenario]] 2", "that of [[scenario]] 1 too"),
        ('"clustered"', "7", "[[scenario]] 2", "name 7 is no text"),
        ("[base]", "[bas]", "", "'bas' is none of title, base, scenario; did you mean 'base'?"),
        (SMALL, "[scenario]\ndesign = 'static'", "scenario", "two brackets"),
        ('title = "Two designs"', "title = 3", "title", "3 is no text"),
        ("nr_pinned = 512", "pinned = 512", "[base]", "field 'pinned' is none of"),
        ("nr_pinned = 512", 'nr_pinned = "lots"', "'foll_pin'", "neither a number of pages nor a share"),
        ("[base]", "[base", "", "not TOML"),
        ("[base]", "base = 1\n[x]", "[base]", "is 1 (int) and no table"),
        (SMALL, "title = 'x'\n", "", "no [[scenario]]"),
        (SMALL, "scenario = [1]\n", "[[scenario]] 1", "no table"),
        (SMALL, "x = " + "[" * 100, "line 1", "not nested"),
        (SMALL, "x = " + "[\n" * 20_000, "", "not TOML"),
        (SMALL, "a" + ".a" * 1000 + " = 1", "line 1", "not nested"),
        (SMALL, "x = 1" + "0" * 5000, "", "not TOML"),
        (SMALL, "#" * (MAX_BYTES + 1), "", "more than 1 MiB"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line_with_file_place_and_rule(file, capsys, tmp_path, old, new, place, why):
    assert old in SMALL
    file.write_text(SMALL.replace(old, new, 1))
    status, out, err = run(capsys, file, "--html", tmp_path / "x.html")
    assert status == 2
    assert out == ""
    line = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert len(line) == 1
    assert line[0].startswith(f"workbench compare: {file}")
    assert place in line[0]
    parts = why.split(".*")
    assert all(part in line[0] for part in parts), line[0]
    assert not (tmp_path / "x.html").exists()


def test_bytes_that_are_no_text_and_a_missing_file_are_one_line(file, capsys, tmp_path):
    file.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in run(capsys, file)[2]
    status, _, err = run(capsys, tmp_path / "none.toml")
    assert (status, len(err.splitlines())) == (2, 1)


def test_a_page_that_cannot_be_written_is_one_line(file, capsys, tmp_path):
    status, out, err = run(capsys, file, "--html", tmp_path / "no" / "x.html")
    assert (status, out) == (2, "")
    assert "cannot be written" in err
    status, out, err = run(capsys, file, "--html", file)
    assert (status, out) == (2, "")
    assert "would overwrite" in err
    assert file.read_text() == SMALL


def test_names_from_a_file_are_inert_everywhere(file, capsys, tmp_path):
    hostile = SMALL.replace("clustered", r"<b>\u001b[31m\u202eFrom me").replace("Two", r"\u001b]0;x\u0007")
    file.write_text(hostile)
    for args in ((), ("--mail",), ("--html", tmp_path / "x.html")):
        status, out, err = run(capsys, file, *args)
        assert status == 0
        assert not re.search(r"[\x1b\x07\u202e]", out + err)
    assert not re.search(r"[\x1b\x07\u202e]|<b>", (tmp_path / "x.html").read_text())


def test_every_scenario_field_but_the_set_of_pages_can_be_set():
    assert set(Scenario.__dataclass_fields__) - set(field_kinds()) == {"pinned"}


def test_a_sweep_and_a_comparison_are_told_apart(capsys):
    folder = data_dir() / "scenarios"
    with pytest.raises(InputError, match="workbench sweep runs it"):
        load(folder / "sweep-clustering.toml")
    with pytest.raises(InputError, match="workbench compare reads it"):
        sweep.load(folder / "gpu-host.toml")


def test_an_unknown_design_gets_the_one_that_may_be_meant():
    with pytest.raises(InputError, match="did you mean 'dynamic_page'"):
        designs.get("dynamic_pag")
