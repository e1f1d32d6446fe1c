"""Plain text for a mailing list: ASCII, at most 72 columns, and nothing that a mail client or git cuts at.

The width is guaranteed, not hoped for: quoted twice ("> > ") a line has 76 columns, and a client that wraps
at 78 leaves it alone. Long cells wrap, a table too wide for that is turned on its side, and what cannot fit
at all (a number of more than 60 digits) is an InputError; a number is never cut. A word that is too long is
broken after punctuation and the break marked with a backslash; a URL is broken inside angle brackets, where
white space does not count (RFC 3986, appendix C).

Lines have no tab, no trailing blank, and none starts with what means something to git-am, mbox or a
signature separator: such a line gets one blank in front, as RFC 3676 does it ("space-stuffing").
"""

from __future__ import annotations

import math
import os
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 72  # columns; quoted twice it is 76, below the 78 of RFC 5322
_INDENT = "  "
_GAP = 2  # blanks between columns of a table
_TEXT_COLUMN = 14  # columns below which a column of text is not squeezed; assumed
_KEY_COLUMN = 24  # the same for the labels of a list, at most; assumed

#: What git-mailinfo takes for a header, a patch or its end (mailinfo.c), mbox for a new mail, and clients for
#: a quote or a signature.
_RESERVED = re.compile(
    r"(>|From |diff |Index: |---|-- ?$|-- *>8|-- *8<|(From|Subject|Date|To|Cc|Content-[\w-]+|MIME-Version):)",
    re.IGNORECASE,
)

_PLAIN = str.maketrans({
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-", "\u2018": "'",
    "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2026": "...", "\u00d7": "x", "\u00b5": "u", "\u03bc": "u",
    "\u2264": "<=", "\u2265": ">=", "\u2260": "!=", "\u00b1": "+-", "\u2192": "->", "\u2190": "<-",
    "\u2248": "~", "\u00b7": ".", "\u2022": "-", "\u00df": "ss", "\u00f8": "o", "\u00d8": "O", "\u00e6": "ae",
    "\u00c6": "AE",
})  # fmt: skip


def plain(text: object) -> str:
    """Any text as one line of printable ASCII: accents go, blanks are one, what is left is escaped.

    Examples
    --------
    >>> plain("na\\u00efve \\u2264 3\\t\\u00b5s\\n\\x1b[31m\\u202e")
    'naive <= 3 us \\\\x1b[31m\\\\u202e'
    """
    found = []
    for char in " ".join(str(text).split()).translate(_PLAIN):
        simple = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
        good = simple and simple.isprintable()
        found.append(simple if good else char.encode("unicode_escape", "backslashreplace").decode("ascii"))
    return " ".join("".join(found).split())


# -- words and lines ----------------------------------------------------------------------------------------

_URL = re.compile(r"<?(https?://[^\s<>]+?)>?([),.;:]*)$")


def wrapped(text: object, width: int = WIDTH, first: str = "", rest: str | None = None) -> list[str]:
    """Text in lines of at most ``width`` columns, the first after ``first`` and the others after ``rest``.

    Examples
    --------
    >>> wrapped("one two three", 8, "- ")
    ['- one', '  two', '  three']
    """
    rest = " " * len(first) if rest is None else rest
    room = width - max(len(first), len(rest), 1)  # 1: a reserved start gets a blank in front
    lines = _filled(plain(text), room)
    return [_stuffed(((rest if nr else first) + line).rstrip()) for nr, line in enumerate(lines)]


def _filled(text: str, room: int) -> list[str]:
    """Words in lines of at most ``room`` columns; one empty line for no words."""
    lines, at = [], ""
    for word in text.split():
        for cut in _pieces(word, room):
            piece = cut.removesuffix("\0")
            if at and len(at) + 1 + len(piece) <= room:
                at += " " + piece
            else:
                lines += [at] if at else []
                at = piece
            if cut.endswith("\0"):  # broken here: the next piece is on the next line
                lines.append(at)
                at = ""
    return [*lines, at] if at or not lines else lines


def _stuffed(line: str) -> str:
    return " " + line if line and _RESERVED.match(line) else line


def _pieces(word: str, room: int) -> list[str]:
    """A word, or what it is broken into; every piece but the last ends in NUL, which is not printed."""
    if len(word) <= room:
        return [word]
    if found := _URL.match(word):
        marked = f"<{found[1]}>{found[2]}"
        return _cut(marked, room, lambda at: marked[at - 1] in "/?&=#;,_.~%+:@", "")
    return _cut(word, room, lambda at: word[at - 1] in "/_-.,:;=&?+|)", "\\")


def _cut(word: str, room: int, good: Callable[[int], bool], mark: str) -> list[str]:
    """Cut after a good place if one is in the second half, never inside a number."""
    found, start = [], 0
    while len(word) - start > room:
        limit = start + room - len(mark)
        places = [at for at in range(start + 1, limit + 1) if mark == "" or not _inside_number(word, at)]
        if not places:
            raise InputError(f"a number of more than {room - len(mark)} digits does not fit: {word}")
        chosen = max((at for at in places if good(at) and at > start + room // 2), default=places[-1])
        found.append(word[start:chosen] + mark + "\0")
        start = chosen
    return [*found, word[start:]]


def _inside_number(word: str, at: int) -> bool:
    return bool(re.match(r"[\d.,]", word[at])) and bool(re.match(r"[\d.,+-]", word[at - 1]))


def heading(text: str) -> list[str]:
    """A heading and the line below it."""
    lines = wrapped(text)
    return [*lines, "=" * max(len(line) for line in lines)] if lines else []


# -- numbers ------------------------------------------------------------------------------------------------


def number(value: Any, decimals: int | None = None) -> str:
    """A number for a reader: integers exact with thousands, others with about four significant digits.

    The part before the point is always whole.

    Examples
    --------
    >>> number(1234567), number(0.98437), number(12345.678), number(2.0), number(None)
    ('1,234,567', '0.9844', '12,346', '2', '-')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if abs(value) >= 2**53:  # not every integer is a float there: its own digits, no more
        return repr(value)
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    if value == int(value):
        return f"{int(value):,}"
    size = math.floor(math.log10(abs(value)))
    return f"{value:.3e}" if size < -5 else f"{value:,.{max(0, 3 - size)}f}"


def _plain_value(value: Any) -> Any:
    """numpy's scalars as Python's; pandas' NA as None."""
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def _column(values: Sequence[Any]) -> tuple[list[str], bool]:
    """The cells of a column, and whether they are numbers: then with the same number of decimals."""
    values = [_plain_value(value) for value in values]
    numeric = all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values)
    if not numeric or all(v is None for v in values):
        shown = (number(v) if v is None or isinstance(v, bool | int | float) else plain(v) for v in values)
        return [text or "-" for text in shown], False
    real = [abs(v) for v in values if isinstance(v, float) and math.isfinite(v) and v]
    if not real:
        return [number(v) for v in values], True
    most, least = (math.floor(math.log10(v)) for v in (max(real), min(real)))
    if all(v == int(v) for v in real):
        decimals: int | None = 0
    else:
        decimals = min(max(2 if least <= 0 and most <= 3 else 0, 3 - most, 1 - least), 6)
    if least < -5:
        decimals = None
    return [number(v, decimals if isinstance(v, float) else None) for v in values], True


# -- tables -------------------------------------------------------------------------------------------------


def mail_table(table: pd.DataFrame, columns: Mapping[str, str] | None = None) -> str:
    """A table as lines of at most 72 columns of ASCII that survive quoting.

    Numbers stand to the right with thousands and are never cut; text wraps. What is too wide even so is
    printed row by row, a line for each cell.

    Parameters
    ----------
    table : DataFrame
        The index is left out.
    columns : mapping of str to str, optional
        Which columns, in this order, and how their heads read; by default all, by their names.

    Returns
    -------
    str
        Lines, each after two blanks; no newline at the end.

    Raises
    ------
    InputError
        An unknown column, or a number of more digits than a line has.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"design": ["static", "proxy_bit"], "total_bytes": [16777216, 16842752]})
    >>> print(mail_table(table, {"design": "design", "total_bytes": "bytes"}))
      design          bytes
      ---------  ----------
      static     16,777,216
      proxy_bit  16,842,752
    """
    heads, cells, numeric = _read(table, columns)
    if not heads:
        return f"{_INDENT}(no columns)"
    if not len(table):
        return "\n".join(wrapped(f"({', '.join(heads)}: no rows)", WIDTH, _INDENT))
    widths = _widths(heads, cells, numeric)
    lines = _side_by_side(heads, cells, numeric, widths) if widths else _one_by_one(heads, cells)
    return "\n".join(lines)


def _read(
    table: pd.DataFrame, columns: Mapping[str, str] | None
) -> tuple[list[str], list[list[str]], list[bool]]:
    names = list(table.columns)
    if columns is None:
        places, heads = list(range(len(names))), [plain(name) or "-" for name in names]
    else:
        if unknown := [name for name in columns if name not in names]:
            raise InputError(f"column {unknown[0]!r} is none of {', '.join(map(str, names))}")
        places = [names.index(name) for name in columns]
        heads = [plain(head) or "-" for head in columns.values()]
    found = [_column(table.iloc[:, place].tolist()) for place in places]
    return heads, [cells for cells, _ in found], [numeric for _, numeric in found]


def _atom(word: str) -> int:
    """The least room that a word needs: its longest number and the mark of a break."""
    longest = max((len(run) for run in re.findall(r"[-+]?[\d.,]+", word)), default=0)
    return min(len(word), max(_TEXT_COLUMN, longest + 2))


def _head_words(head: str) -> list[str]:
    return re.findall(r"[^\s_]+_?|_", head)


def _widths(heads: list[str], cells: list[list[str]], numeric: list[bool]) -> list[int] | None:
    """A width for each column, or None if they cannot stand side by side."""
    room = WIDTH - len(_INDENT) - _GAP * (len(heads) - 1)
    full = [max(len(head), *map(len, column)) for head, column in zip(heads, cells, strict=True)]
    if sum(full) <= room:
        return full
    for size in (len, _atom):  # without breaking a word, if that will do
        least = [
            max(
                *(len(cell) if is_number else max(map(size, cell.split())) for cell in column),
                *map(size, _head_words(head)),
            )
            for head, column, is_number in zip(heads, cells, numeric, strict=True)
        ]
        if sum(least) <= room:
            break
    else:
        return None
    widths = [max(low, *map(len, column)) for low, column in zip(least, cells, strict=True)]
    while sum(widths) > room:  # the widest that can give way gives way
        spare = [width if width > low else 0 for width, low in zip(widths, least, strict=True)]
        widths[spare.index(max(spare))] -= 1
    while (left := room - sum(widths)) > 0:  # and heads take what is left
        short = [full[at] - width for at, width in enumerate(widths)]
        if not any(0 < more <= left for more in short):
            break
        at = short.index(min(more for more in short if 0 < more <= left))
        widths[at] = full[at]
    return widths


def _wrapped_head(head: str, width: int) -> list[str]:
    """Heads also break after an underscore."""
    if len(head) <= width:
        return [head]
    lines, at = [], ""
    for word in re.findall(r"\s*[^\s_]+_?|\s*_", head):
        if at and len(at) + len(word) > width:
            lines.append(at)
            at = word.strip()
        else:
            at = (at + word).strip()
    return [part for line in [*lines, at] for part in _filled(line, width)]


def _side_by_side(
    heads: list[str], cells: list[list[str]], numeric: list[bool], widths: list[int]
) -> list[str]:
    rows = [[_wrapped_head(head, width) for head, width in zip(heads, widths, strict=True)]]
    tops = max(len(part) for part in rows[0])
    rows[0] = [[""] * (tops - len(part)) + part for part in rows[0]]  # heads stand on the line
    rows.append([["-" * width] for width in widths])
    rows += [
        [_filled(cell, width) for cell, width in zip(row, widths, strict=True)]
        for row in zip(*cells, strict=True)
    ]
    lines = []
    for row in rows:
        for nr in range(max(len(part) for part in row)):
            texts = [part[nr] if nr < len(part) else "" for part in row]
            shown = (
                text.rjust(width) if right else text.ljust(width)
                for text, width, right in zip(texts, widths, numeric, strict=True)
            )
            lines.append((_INDENT + (" " * _GAP).join(shown)).rstrip())
    return lines


def _one_by_one(heads: list[str], cells: list[list[str]]) -> list[str]:
    """Each row as a list of its cells."""
    lines: list[str] = []
    for row in zip(*cells, strict=True):
        lines += [""] if lines else []
        lines += listed(dict(enumerate(row)), heads)
    return lines


def listed(values: Mapping[Any, str], heads: Sequence[str] | None = None) -> list[str]:
    """Named values, one below the other: the name, a colon, the value, wrapped."""
    names = [plain(name) for name in (values if heads is None else heads)]
    room = min(max((len(name) for name in names), default=0), _KEY_COLUMN) + 1
    lines = []
    for name, value in zip(names, values.values(), strict=True):
        text = plain(value) or "-"
        longest = max(len(word) if len(word) <= WIDTH - 5 else _atom(word) for word in text.split())
        label = wrapped(f"{name}:", WIDTH, _INDENT)
        if len(name) > _KEY_COLUMN or longest > WIDTH - room - 3:
            lines += [*label, *wrapped(text, WIDTH, _INDENT * 2)]
        else:
            lines += wrapped(text, WIDTH, _INDENT + f"{name}:".ljust(room) + " ", " " * (room + 3))
    return lines


# -- commands -----------------------------------------------------------------------------------------------


def shell_lines(command: str) -> list[str]:
    """A shell command in lines of at most 72 columns that a shell reads as the same words.

    Lines end in a backslash between words. A single word that is too long is cut into quoted pieces, and its
    next line begins in the first column, for the shell to join them.

    Examples
    --------
    >>> shell_lines("workbench overhead ram=1TiB --design static")
    ['  workbench overhead ram=1TiB --design static']
    """
    lines: list[str] = []
    for line in command.strip("\n").splitlines():
        lines += _shell_line(line)
    return lines


def _shell_line(line: str) -> list[str]:
    if not line.isascii() or not line.isprintable():
        raise InputError(f"command {line!r} has characters that are no printable ASCII")
    try:
        shlex.split(line)
    except ValueError as error:
        raise InputError(f"command {line!r}: {error}") from None
    words = re.findall(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""", line)
    lines, at = [], _INDENT
    for word in words:
        if len(at) + 1 + len(word) <= WIDTH - 2 or (at == _INDENT and len(at) + len(word) <= WIDTH - 2):
            at += word if at.isspace() else " " + word
        elif len(word) <= WIDTH - 8:
            lines.append(at + " \\")
            at = _INDENT * 3 + word
        else:
            pieces = _quoted_pieces(word)
            lines += [at + " \\"] if at.strip() else []
            lines += [piece + "\\" for piece in pieces[:-1]]
            at = pieces[-1]
    return [*lines, at]


def _quoted_pieces(word: str) -> list[str]:
    said = shlex.split(word)
    if len(said) != 1 or re.search(r"[$`*?\[~|&;<>(){}]", re.sub(r"'[^']*'", "", word)):
        raise InputError(f"command: a word is too long for a mail: {word}")
    pieces, text = [], said[0]
    while text:
        nr = WIDTH - 4
        while len("'" + text[:nr].replace("'", "'\"'\"'") + "'") > WIDTH - 2:
            nr -= 1
        pieces.append("'" + text[:nr].replace("'", "'\"'\"'") + "'")
        text = text[nr:]
    return pieces


def shell_word(text: str) -> str:
    """A word for a shell, in printable ASCII whatever it holds.

    Examples
    --------
    >>> shell_word("a b.toml"), shell_word("na\u00efve.toml")
    ("'a b.toml'", "$'na\\\\xc3\\\\xafve.toml'")
    """
    if text.isascii() and text.isprintable():
        return shlex.quote(text)
    plain = (chr(b) if 31 < b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}" for b in os.fsencode(text))
    return f"$'{''.join(plain)}'"


# -- a note -------------------------------------------------------------------------------------------------


def mail_note(
    title: str,
    *,
    setup: Mapping[str, str],
    command: str,
    table: pd.DataFrame,
    notes: Sequence[str] = (),
    sources: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
) -> str:
    """One result as a block to paste into a mail: title, test setup, command, result, notes, sources.

    Parameters
    ----------
    title : str
    setup : mapping of str to str
        What it was computed or measured on: ``{"machine": ..., "kernel": ...}``.
    command : str
        A shell line that prints the same numbers; "" leaves the part out.
    table : DataFrame
        As for ``mail_table``.
    notes : sequence of str
        What the result leaves out or assumes.
    sources : sequence of str
        Numbered from 1.
    columns : mapping of str to str, optional
        As for ``mail_table``.

    Returns
    -------
    str
        At most 72 columns, ASCII, a newline at the end.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"bytes": [16777216]})
    >>> print(mail_note("memmap of 1 GiB", setup={"machine": "ram=1GiB"},
    ...                 command="workbench machine ram=1GiB", table=table), end="")
    memmap of 1 GiB
    ===============
    <BLANKLINE>
    Test setup:
      machine: ram=1GiB
    <BLANKLINE>
    Command:
      workbench machine ram=1GiB
    <BLANKLINE>
    Result:
           bytes
      ----------
      16,777,216
    """
    blocks = [heading(title)] if title else []
    blocks += note_blocks(setup, command, table, columns)
    if notes:
        blocks.append(["Notes:", *(line for note in notes for line in wrapped(note, WIDTH, "  - "))])
    if sources:
        blocks.append(["Sources:", *footnotes(sources)])
    return text_of(blocks)


def note_blocks(
    setup: Mapping[str, str], command: str, table: pd.DataFrame, columns: Mapping[str, str] | None = None
) -> list[list[str]]:
    """The parts Test setup, Command and Result, each a list of lines."""
    blocks = [["Test setup:", *listed(setup)]] if setup else []
    if command:
        blocks.append(["Command:", *shell_lines(command)])
    return [*blocks, ["Result:", *mail_table(table, columns).split("\n")]]


def footnotes(sources: Sequence[str], first: int = 1) -> list[str]:
    """Numbered sources; where a URL had to be broken, a last line says how to read it."""
    lines: list[str] = []
    pad = len(f"[{first + len(sources) - 1}] ")
    for nr, source in enumerate(sources, first):
        lines += wrapped(source, WIDTH, f"[{nr}]".ljust(pad))
    if any(len(word) > WIDTH - pad and _URL.match(word) for s in sources for word in plain(s).split()):
        lines += wrapped("A URL in <> over several lines is one URL (RFC 3986, appendix C).")
    return lines


def text_of(blocks: Iterable[Sequence[str]]) -> str:
    """Blocks of lines with an empty line between them; what breaks the rules above is an error here."""
    text = "\n\n".join("\n".join(block) for block in blocks if block) + "\n"
    check(text)
    return text


def check(text: str) -> None:
    """Raise InputError for a line that is not fit for a mail; the last gate before any text leaves."""
    for nr, line in enumerate(text.split("\n"), 1):
        if len(line) > WIDTH:
            raise InputError(f"{len(line)} columns, at most {WIDTH} fit: {line}", place=f"mail line {nr}")
        if not line.isascii() or (line and not line.isprintable()):
            raise InputError(f"not printable ASCII: {line!r}", place=f"mail line {nr}")
        if line != line.rstrip() or (line and _RESERVED.match(line)):
            raise InputError(f"git or a mail client would cut here: {line!r}", place=f"mail line {nr}")
