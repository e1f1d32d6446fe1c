"""Arguments: mail text fits, numbers are computed, counter-evidence is found, and all is made again."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import textwrap
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import Argument, Machine, Scenario, cli
from workbench.model.errors import InputError
from workbench.model.files import data_dir, write_whole
from workbench.model.scenario import evaluate
from workbench.model.scenario.files import load as load_scenarios
from workbench.studies.argument import (
    Document,
    EvidenceError,
    Memory,
    Mistakes,
    Pins,
    Published,
    Section,
    Times,
    grid,
    mail_note,
    mail_table,
)
from workbench.studies.argument._counter import pairs, strongest_untold, strongest_worse
from workbench.studies.argument._evidence import Point, from_recipe
from workbench.studies.argument._mail import WIDTH, check, footnotes, number, plain, shell_lines, wrapped
from workbench.studies.argument._prose import Value, filled
from workbench.views import pages as render

texts = st.text(max_size=120)
cells = st.one_of(
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=True, allow_infinity=True),
    st.booleans(),
    st.none(),
    texts,
)
tables = st.integers(1, 9).flatmap(
    lambda nr: st.lists(st.lists(cells, min_size=nr, max_size=nr), max_size=4).map(
        lambda rows: pd.DataFrame(
            rows, columns=[f"a_long_column_name_{at}" for at in range(nr)], dtype=object
        )
    )
)


def quoted(text, times=2):
    for _ in range(times):
        text = "".join(f"> {line}" for line in text.splitlines(keepends=True))
    return text


def is_fit(text):
    """What a mail needs, said again without the formatter's own check."""
    for line in text.splitlines():
        assert len(line) <= 72
        assert all(" " <= char <= "~" for char in line)
        assert line == line.rstrip()
        assert not line.startswith((">", "From ", "diff ", "--- ", "---", "Index: ", "From:", "Subject:"))
        assert line not in ("--", "-- ")
    # A client that wraps at 78 columns finds nothing to wrap, even quoted twice.
    for line in quoted(text).splitlines():
        assert textwrap.wrap(line, 78, drop_whitespace=False, replace_whitespace=False) == [line]
    return True


@given(tables)
def test_any_table_fits_and_keeps_every_number(table):
    try:
        text = mail_table(table)
    except InputError as error:
        assert "digits" in str(error)
        return
    assert is_fit(text)
    for cell in table.to_numpy().ravel().tolist():
        if isinstance(cell, int) and not isinstance(cell, bool):
            assert f"{cell:,}" in text


@given(
    texts, st.dictionaries(texts, texts, max_size=3), st.lists(texts, max_size=3), st.lists(texts, max_size=3)
)
def test_any_note_fits(title, setup, notes, sources):
    table = pd.DataFrame({"design": ["static"], "bytes": [1]})
    try:
        text = mail_note(title, setup=setup, command="true", table=table, notes=notes, sources=sources)
    except InputError as error:
        assert "digits" in str(error)
        return
    assert is_fit(text)


@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200)))
def test_wrapping_loses_no_character(words):
    words = [re.sub(r"\d", "x", word) for word in words]
    try:
        lines = wrapped(" ".join(words))
    except InputError:
        return
    joined = "".join(line.removesuffix("\\") if len(line) > 30 else line for line in lines)
    assert sorted(re.sub(r"[\s\\<>]", "", joined)) == sorted(re.sub(r"[\s\\<>]", "", "".join(words)))


@given(
    st.lists(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200), min_size=1, max_size=8
    )
)
def test_a_shell_reads_a_broken_command_as_the_same_words(words):
    lines = shell_lines(shlex.join(["printf", "%s\\0", *words]))
    assert all(len(line) <= WIDTH and not line.startswith((">", "---")) for line in lines)
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\0")[:-1] == words


@pytest.mark.parametrize(
    "line",
    [
        "From here on",
        ">= 3",
        "diff of two",
        "--- a/mm/gup.c",
        "-- ",
        "Subject: x",
        "---",
        "Index: mm",
        "-- >8 --",
    ],
)
def test_no_line_starts_with_what_git_or_a_client_cuts_at(line):
    assert wrapped(line) == [" " + line.rstrip()]
    with pytest.raises(InputError, match="cut here"):
        check(line if line != "-- " else "--")


def test_a_long_url_is_whole_again_without_its_white_space():
    url = "https://patchwork.kernel.org/project/kvm/cover/20220106004656.126790-1-daniel.m.jordan@oracle.com/?a=1"
    text = "\n".join(footnotes([f"Jordan RFC, {url}, read today"]))
    assert is_fit(text)
    found = re.search(r"<([^>]*)>", text)
    assert re.sub(r"\s", "", found[1]) == url
    assert "RFC 3986" in text
    assert "RFC 3986" not in "\n".join(footnotes(["https://lkml.org/lkml/2018/7/9/158"]))


def test_a_wide_table_is_turned_on_its_side_and_a_long_one_wraps():
    wide = pd.DataFrame({f"column_{nr}": [10**9 + nr, 5] for nr in range(12)})
    text = mail_table(wide)
    assert is_fit(text)
    assert text.splitlines()[:2] == ["  column_0:  1,000,000,000", "  column_1:  1,000,000,001"]
    wordy = mail_table(pd.DataFrame({"design": ["a", "b"], "why": ["word " * 40, "short"], "bytes": [1, 2]}))
    assert is_fit(wordy)
    assert wordy.count("word") == 40


def test_numbers_of_a_column_share_their_decimals_and_a_huge_one_is_refused():
    table = pd.DataFrame({"ns": [0.98, 24.154, float("nan")], "n": pd.array([1, None, 3], dtype="Int64")})
    assert mail_table(table).splitlines()[2:] == ["   0.98  1", "  24.15  -", "      -  3"]
    with pytest.raises(InputError, match="digits does not fit"):
        mail_table(pd.DataFrame({"n": [10**90]}, dtype=object))
    assert number(16 * 2**30) == "17,179,869,184"
    with pytest.raises(InputError, match="'b' is none of a"):
        mail_table(pd.DataFrame({"a": [1]}), {"b": "b"})


def test_hostile_names_are_inert():
    assert plain("\x1b[2J\u202eevil\x00<b>") == "\\x1b[2J\\u202eevil\\x00<b>"
    assert is_fit(
        mail_table(pd.DataFrame({"comm": ["\x1b]0;x\x07", "a\nFrom me", "\u200f\ud800"]}, dtype=object))
    )


# -- prose --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "adds 20 MiB",
        "is twice as fast",
        "takes 1.5x",
        "about 100% more",
        "x2 slower",
        "+5",
        "(7)",
        "~3 ns",
        "in 2018",
    ],
)
def test_a_typed_number_is_refused(text):
    with pytest.raises(InputError, match=r"typed into .* in braces"):
        filled(text + " than {a}", {"a": Value(1)})


@pytest.mark.parametrize(
    "text",
    ["on x86-64", "order-9 folios", "2^34 pages", "bit 0 of the pointer", "Linux 6.12", "v7.3", "page_ext",
     "commit 3faa52c03f44", "memdesc32", "dynamic_page:range", "on 2018-12-14", "FOLL_PIN (D8)"],
)  # fmt: skip
def test_names_with_digits_are_not_numbers(text):
    assert filled(text, {}) == text


def test_fields_are_computed_with_their_units():
    values = {
        "a": Value(3 << 20, "bytes"),
        "b": Value(1 << 20, "bytes"),
        "t": Value(2.5, "ns"),
        "w": Value("x"),
    }
    assert filled("{a}, {a - b}, {a / b}, {t}, {w}", values) == "3 MiB, 2 MiB, 3, 2.500 ns, x"
    for wrong, why in (
        ("{c}", "none of a, b"),
        ("{a - t}", "bytes and ns"),
        ("{a / w}", "no number"),
        ("{a + b}", "neither a name"),
        ("{a", "without its pair"),
        ("{a.__class__}", "none of a, b"),
    ):
        with pytest.raises(InputError, match=why):
            filled(wrong, values)


# -- counter-evidence ---------------------------------------------------------------------------------------

points = st.lists(
    st.builds(
        lambda metric, place, design, value, spread: Point(
            metric,
            "",
            place,
            design,
            value,
            value - spread if spread else None,
            value + spread if spread else None,
        ),
        st.sampled_from("mn"),
        st.sampled_from("xyz"),
        st.sampled_from(["dynamic_page:range", "dynamic_page", "proxy_bit", "foll_pin"]),
        st.integers(0, 6),
        st.integers(0, 2),
    ),
    max_size=30,
    unique_by=lambda point: (point.metric, point.place, point.design),
)


@given(points)
def test_the_strongest_counter_evidence_is_that_of_a_plain_search(found):
    proposed = "dynamic_page:range"
    worse, ahead = {}, {}
    for own in found:
        exact = own.design == proposed
        short = own.design == "dynamic_page" and not any(
            (p.metric, p.place, p.design) == (own.metric, own.place, proposed) for p in found
        )
        if not (exact or short):
            continue
        for other in found:
            if (other.metric, other.place) != (own.metric, own.place) or other is own:
                continue
            if own.value > other.value:
                factor = own.value / other.value if other.value else float("inf")
                worse[own.metric] = max(worse.get(own.metric, 0), factor)
            meet = (
                own.low is not None
                and other.low is not None
                and not (own.high < other.low or other.high < own.low)
            )
            if own.value < other.value and meet:
                ahead[own.metric] = min(ahead.get(own.metric, 9), own.value / other.value)
    both = pairs(found, proposed)
    assert {pair.own.metric: pair.factor for pair in reversed(strongest_worse(both))} == worse
    assert {pair.own.metric: pair.factor for pair in strongest_untold(both)} == ahead


def told(*rows):
    """Of (own, other) and perhaps a spread, each at a place of its own."""
    found = []
    for place, (own, other, *spread) in enumerate(rows):
        for design, value in (("a", own), ("b", other)):
            ends = (value - spread[0], value + spread[0]) if spread else (None, None)
            found.append(Point("m", "bytes", str(place), design, value, *ends))
    return [(pair.own.value, pair.other.value) for pair in strongest_worse(pairs(found, "a"))]


@pytest.mark.parametrize("rows, strongest", [
    ([(11, 10), (10, -5)], [(10, -5)]),  # the other frees bytes: worse than any factor
    ([(1, 0), (10**9, 0)], [(10**9, 0)]),  # both infinite: the larger
    ([(-5, -10), (12, 10)], [(-5, -10)]),  # it frees half as much
    ([(-5, -10), (30, 10)], [(30, 10)]),
    ([(30, 10, 15), (20, 10, 1)], [(30, 10), (20, 10)]),  # ranges that meet hide none that do not
    ([(30, 10, 1), (20, 10, 15)], [(30, 10)]),
])  # fmt: skip
def test_a_negative_a_zero_or_a_wide_range_hides_nothing_worse(rows, strongest):
    assert told(*rows) == strongest
    assert told(*rows[::-1]) == strongest


def test_a_factor_is_told_of_positive_numbers_only():
    frees = [Point("m", "bytes", "x", "a", -5), Point("m", "bytes", "x", "b", -10)]
    assert pairs(frees, "a")[0].text() == "m: a -5 bytes, b -10 bytes (x)"


def test_a_break_even_has_both_ends_where_a_design_takes_more_at_first_only():
    both = Memory(grid(["proxy_bit", "dynamic_page"], machine="ram=1GiB", nr_pinned=9, proxy_bytes=256))
    one = Scenario(machine="ram=1GiB", proxy_bytes=256)

    def more(nr):
        dynamic, proxy = (evaluate(one.with_(design=name, nr_pinned=nr)).total_bytes
                          for name in ("dynamic_page", "proxy_bit"))
        return dynamic > proxy

    (line,) = both.loses("dynamic_page")
    ends = re.search(r"from ([\d,]+) of 262,144 pages pinned on .*; from ([\d,]+) on, ", line).groups()
    first, end = (int(found.replace(",", "")) for found in ends)
    assert [more(nr) for nr in (first - 1, first, end // 2, end)] == [False, True, True, False]
    assert f"from {end:,} of 262,144 pages pinned on" in both.loses("proxy_bit")[0]


def test_where_nothing_speaks_against_it_the_mail_says_what_was_searched():
    one = Argument("Does a published figure hold")
    one.claim("It does: {PC30.verdict}.", Published(("PC30",)))
    assert one.against() == {}
    assert "None found. Searched: published figures only" in one.to_mail()
    ahead = Argument("Why static", proposed="static")
    ahead.claim("{static.added}", Memory(grid(["static", "proxy_bit"], machine="ram=1GiB", nr_pinned=9)))
    assert list(ahead.against()) == ["Limits of the design"]
    assert "Searched: 2 pairs of numbers (metrics: bytes in all, bytes" in ahead.to_mail()


def test_the_counter_evidence_of_a_proposal_has_every_rule():
    found = argument().against()
    assert [rule.split()[0] for rule in found] == ["Worse,", "Break-even", "Published", "Limits"]
    worse = found["Worse, the largest factor of each metric"]
    assert worse[0].startswith("bytes in all: dynamic_page:range 17.36 MiB, foll_pin 16.03 MiB")
    assert "from 1 of 262,144 pages pinned on" in found["Break-even"][0]
    assert "PC31" in found["Published figures among the evidence that do not hold"][0]


# -- arguments ----------------------------------------------------------------------------------------------


def argument():
    names = ["foll_pin", "proxy_bit", "dynamic_page:range"]
    one = Argument("Why dynamic_page", proposed="dynamic_page:range", about="Does it pay?")
    one.claim(
        "With {dynamic_page_range.pinned} pinned it adds {dynamic_page_range.added}.",
        Memory(grid(names, machine="ram=1GiB", nr_pinned="1%")),
        assumes=["pins are scattered"],
    )
    return one.claim("{PC31.stated} are published.", Published(("PC31", "PC30")))


def test_a_mail_has_setup_command_result_counter_evidence_and_sources_and_quotes_twice():
    text = argument().to_mail()
    assert is_fit(text.split("\n\n", 1)[1])
    for part in (
        "Test setup:",
        "Command:",
        "Result:",
        "Against it, by rule",
        "Assumed:",
        "Limits:",
        "Sources:",
    ):
        assert part in text
    assert quoted(text).replace("> > ", "").replace("> >", "") == text
    marks = set(re.findall(r"\[(\d+)\]", text.split("Against it")[0]))
    assert marks == set(re.findall(r"^\[(\d+)\] ", text, re.MULTILINE))


@pytest.mark.skipif(not shutil.which("git"), reason="no git here")
def test_git_takes_the_whole_body_for_the_message(tmp_path):
    text = argument().to_mail()
    command = ["git", "mailinfo", "--scissors", tmp_path / "message", tmp_path / "patch"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "Subject: Why dynamic_page" in done.stdout
    assert (tmp_path / "message").read_text() == text.split("\n\n", 1)[1]
    assert (tmp_path / "patch").read_text() == ""


def test_a_saved_mail_is_one_for_a_mail_parser():
    import email

    text = argument().to_mail()
    parsed = email.message_from_string(text)
    assert parsed["Subject"] == "Why dynamic_page"
    assert parsed.keys() == ["Subject"]
    assert not parsed.defects
    assert parsed.get_payload() == text.split("\n\n", 1)[1]
    long = Argument("Why " + "dynamic_page " * 12)
    long.claim("{PC31.stated}", Published(("PC31",)))
    subject = email.message_from_string(long.to_mail())["Subject"]
    assert " ".join(subject.split()) == "Why " + "dynamic_page " * 11 + "dynamic_page"


def test_a_claim_that_does_not_recompute_fails_loudly_in_every_form(tmp_path):
    file = tmp_path / "a.json"
    argument().save(file)
    assert Argument.load(file).to_mail() == argument().to_mail()
    text = file.read_text()
    stored = argument().claims[0].values["dynamic_page_range.added"].value
    file.write_text(text.replace(f"{stored},", f"{stored + 1},"))
    one = Argument.load(file)
    for form in (one.to_mail, one.to_markdown, one.to_html, one.to_csv, one._repr_html_, one.verify):
        with pytest.raises(
            EvidenceError, match=rf"claim 1 .*added: stored {stored + 1} bytes, recomputed {stored} "
        ):
            form()
    file.write_text(text.replace('"ram=1GiB"', '"no-such-machine"'))
    with pytest.raises(EvidenceError, match="cannot be made again"):
        Argument.load(file).verify()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("argument/1", "argument/9", "format 'argument/9'"),
        ('"kind": "memory"', '"kind": "magic"', "'magic' is none of"),
        ('"run_pages": 1', '"run_pages": "1"', "run_pages is '1'"),
        ('"nr_pinned"', '"nr_pined"', "did you mean 'nr_pinned'"),
        ('"text": "With', '"text": "With 9', "'9' is typed into"),
        ('"claims": [', '"claims": {', "not JSON"),
        ('"bytes"', "7", "no pair of a number or text and its unit"),
        ('"proposed": "dynamic_page', '"proposed": "dynamic_pag', "no design and no header; did you mean"),
        ('"values": {', '"values": {"x": [1' + 400 * "0" + ', "bytes"],', "more than 256 bits"),
    ],
)
def test_a_spoilt_file_is_one_line(tmp_path, old, new, why):
    file = tmp_path / "a.json"
    argument().save(file)
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=why) as caught:
        Argument.load(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_scenario_file_that_says_something_else_now_is_caught(tmp_path):
    file = tmp_path / "a.toml"
    text = '[base]\nmachine = "ram=1GiB"\nnr_pinned = 9\n[[scenario]]\ndesign = "proxy_bit"\n'
    file.write_text(text)
    one = Argument("Why")
    one.claim("{proxy_bit.added}", Memory(load_scenarios(file).scenarios, file=str(file)))
    one.verify()
    for spoilt, why in (
        (text.replace("9", "10"), "a.toml: scenario 'proxy_bit': nr_pinned is 10, not 9"),
        (text.replace("proxy_bit", "static"), "a.toml: scenario 'proxy_bit' is not there"),
        ("", "no \\[\\[scenario]]"),
    ):
        file.write_text(spoilt)
        with pytest.raises(EvidenceError, match=why):
            one.to_mail()
    file.unlink()
    with pytest.raises(EvidenceError, match="cannot be made again"):
        one.to_mail()


def test_what_cannot_be_made_again_is_no_evidence():
    for machine in ("live", Machine.from_spec("ram=1GiB")):
        with pytest.raises(InputError, match="made again from a name"):
            Memory({"a": Scenario(machine=machine)})


EVIDENCE = {
    "memory": lambda: Memory(grid(["foll_pin", "dynamic_page:range"], machine="ram=1GiB", run_pages=[1, 512],
                                  nr_pinned="1%")),
    "file": lambda: Memory(
        load_scenarios(data_dir() / "scenarios/device-memory.toml").scenarios,
        file=str(data_dir() / "scenarios/device-memory.toml"),
    ),
    "pins": lambda: Pins("pins-fio", ("foll_pin", "dynamic_page:range")),
    "published": lambda: Published(("PC31", "PC01")),
    "mistakes": lambda: Mistakes(("foll_pin", "dynamic_page")),
    "times": lambda: Times("epyc-2vcpu-full", ("static", "proxy_bit", "dynamic_page:range")),
}  # fmt: skip


@pytest.mark.parametrize("name", EVIDENCE)
def test_evidence_survives_its_recipe_and_its_command_prints_the_same_numbers(name, capsys):
    made = EVIDENCE[name]()
    again = from_recipe(json.loads(json.dumps(made.recipe())))
    assert again == made
    assert again.recompute().values == made.values()
    printed = ""
    for line in "\n".join(shell_lines(made.command)).replace("\\\n", "").splitlines():
        program, *words = shlex.split(line)
        assert program == "workbench" and cli.main(words) == 0
        printed += capsys.readouterr().out
    shown = printed.replace(",", "")
    table = made.table()
    if name == "memory":  # what it adds is over static, which the command prints too
        static = int(re.search(r"^static +(\d+)", shown, re.MULTILINE)[1])
        assert (table["total_bytes"] - table["added_bytes"] == static).all()
        table = table.drop(columns=["added_bytes", "run_pages"])
    numbers = set(re.findall(r"\d+(?:\.\d+)?", shown))
    for cell in table.to_numpy(dtype=object).ravel().tolist():
        if isinstance(cell, int) and not isinstance(cell, bool):
            assert name == "file" or str(cell) in numbers
        elif isinstance(cell, float) and name == "times":
            assert f"{cell:.2f}" in numbers
        elif name == "mistakes":
            assert cell in shown
    if name == "published":
        assert all(row["verdict"] in shown for row in table.to_dict("records"))
    if name == "file":
        assert set(map(str, table["total_bytes"])) <= numbers


def test_measurements_carry_their_spread_and_whose_they_are():
    made = EVIDENCE["times"]()
    assert "AMD EPYC" in made.setup["measured on"]
    table = made.table()
    assert (table["ns_min"] <= table["ns"]).all()
    assert (table["ns"] <= table["ns_max"]).all()
    with pytest.raises(InputError, match="no usable rows"):
        Times("xeon-16vcpu", ("proxy_bit",)).recompute()


def test_a_page_is_whole_and_inert(tmp_path):
    hostile = '<script>alert("x")</script>\x1b[31m\u202e'
    doc = Document(hostile, hostile, [hostile], {hostile: [hostile]}, hostile,
                   [Section(hostile, {hostile: hostile}, "true", pd.DataFrame({hostile: [hostile]}), {},
                            {hostile: [hostile]})], [hostile])  # fmt: skip
    html = doc.to_html()
    assert "<script" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "default-src 'none'" in html
    assert not re.search(r'(src|href)="(?!data:|https?://)', html)
    assert "<script" not in doc.to_markdown()
    assert is_fit(doc.to_mail().split("\n\n", 1)[1])
    page = argument().to_html()
    assert "Why dynamic_page</h1>" in page
    assert "https://" not in re.sub(r'<a href="[^"]*">[^<]*</a>', "", page)
    write_whole(tmp_path / "a.html", page)
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / "no/a.html", page)


def test_csv_has_every_number_in_full():
    one = argument()
    rows = list(csv.DictReader(io.StringIO(one.to_csv())))
    added = next(row for row in rows if row["name"] == "dynamic_page_range.added")
    assert added["value"] == str(one.claims[0].values["dynamic_page_range.added"].value)
    assert added["unit"] == "bytes"
    assert len(rows) == sum(len(claim.values) for claim in one.claims)


def test_the_mail_of_notebook_10_is_fit_and_a_reader_finds_all_of_it():
    notebook = render.read(Path(__file__).resolve().parents[2] / "notebooks/10_design_argument.ipynb")
    texts = [out.text for cell in notebook.cells for out in cell.get("outputs", ()) if "text" in out]
    (text,) = [text for text in texts if text.startswith("Subject: ")]
    assert is_fit(text.split("\n\n", 1)[1])
    heads = ["Claims", "Against it, by rule", "Worse, ", "Break-even:", "Limits of the design:"]
    heads += ["Test setup:", "Command:", "Result:", "Sources:", "[1]"]
    places = [text.index(f"\n{head}") for head in heads]
    assert places == sorted(places)
