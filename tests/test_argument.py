"""Mail text keeps its width and its numbers, whatever it is made of."""

from __future__ import annotations

import re
import subprocess
import textwrap

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.argument import mail_note, mail_table
from workbench.argument.mail import WIDTH, check, footnotes, number, plain, shell_lines, wrapped
from workbench.errors import InputError

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
    import shlex

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
