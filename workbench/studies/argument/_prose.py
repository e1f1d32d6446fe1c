"""Prose whose numbers are computed: ``"adds {dynamic_page.added} to {ram}"``, filled from values with units.

A field is a name, or two of them with ``-`` or ``/`` between: ``{a.total / b.total}``. A number that was
typed into a text is refused; names with digits in them (``x86-64``, ``order-9``, ``2^34``, ``Linux 6.12``)
are not.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.model.errors import InputError
from workbench.studies.argument._mail import number

_FIELD = re.compile(r"\{([^{}]*)\}")
_EXPRESSION = re.compile(r"\s*([\w.]+)\s*(?:([-/])\s*([\w.]+)\s*)?")
#: Number words that stand for a quantity; "one" is more often a pronoun.
_WORDS = frozenset(
    ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty",
     "fifty", "twice", "thrice", "double", "doubled", "doubles", "triple", "tripled", "half", "halved",
     "halves", "quarter", "dozen", "dozens", "hundred", "hundreds", "thousand", "thousands", "million",
     "millions", "billion", "billions"]
)  # fmt: skip
#: Words after which a number is a name.
_NAMED = {"bit", "order", "node", "line", "level", "linux", "python", "commit", "case", "version"}
_IDENTIFIER = re.compile(
    r"[A-Za-z_][\w.:+/^@#-]*"  # x86-64, order-9, v6.12, memdesc32, FOLL_PIN
    r"|\d+\^\d+"  # 2^34
    r"|\d{4}-\d\d-\d\d"  # a date
    r"|(?=[0-9a-f]*[a-f])[0-9a-f]{12,40}"  # a commit
)


@dataclass(frozen=True)
class Value:
    """A number and its unit: "bytes", "ns", "%", "pages" and so on, or "" for a plain count or ratio."""

    value: int | float | str
    unit: str = ""

    def __str__(self) -> str:
        """As prose has it; bytes in binary units with four digits, since a table has them all.

        Examples
        --------
        >>> str(Value(21475328, "bytes")), str(Value(1.5625, "%")), str(Value(4, "pages"))
        ('20.48 MiB', '1.562 %', '4 pages')
        """
        if isinstance(self.value, str):
            return self.value
        if self.unit == "bytes":
            return nr_bytes(self.value)
        return f"{number(self.value)} {self.unit}".rstrip()


def nr_bytes(value: float) -> str:
    """Bytes for a reader.

    Examples
    --------
    >>> nr_bytes(584), nr_bytes(1 << 30), nr_bytes(-1536000)
    ('584 bytes', '1 GiB', '-1.465 MiB')
    >>> nr_bytes((1 << 30) - 1), nr_bytes(float("nan"))    # no whole number that it is not
    ('1.0000 GiB', '-')
    """
    if value != value:
        return "-"
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(value) < (10_000 if unit == "bytes" else 1023.5):
            return f"{number(value)} {unit}"
        value = value / 1024
    return f"{number(value)} TiB"


def typed_number(text: str) -> str | None:
    """The first number that a template has typed into it, or None.

    Examples
    --------
    >>> typed_number("adds {a} on x86-64, 2^34 pages of order-9"), typed_number("adds 20 MiB")
    (None, '20')
    >>> typed_number("is twice as fast"), typed_number("bit 0 of Linux 6.12"), typed_number("{a} to 3x")
    ('twice', None, '3x')
    """
    before = ""
    for token in _FIELD.sub("", text).split():
        for word in re.split(r"[,;()\[\]\"'`=]|--+|\.\.+", token):
            word = word.strip(".,:;!?*~<>+-")
            if word.lower() in _WORDS:
                return word
            if re.search(r"\d", word):
                factor = re.fullmatch(r"x\d[\d.]*", word) and not word.startswith("x86")
                if factor or not (_IDENTIFIER.fullmatch(word) or before in _NAMED):
                    return word
            before = word.lower() or before
    return None


def check(text: str, what: str) -> None:
    """Refuse a text with a typed number or a brace that is no field."""
    if found := typed_number(text):
        raise InputError(
            f"{what}: {found!r} is typed into {text!r}; a number in prose is computed: write the name of a "
            "value in braces"
        )
    if re.search(r"[{}]", _FIELD.sub("", text)):
        raise InputError(f"{what}: a brace without its pair in {text!r}")


def filled(text: str, values: Mapping[str, Value], what: str = "text") -> str:
    """A template with its fields replaced.

    Examples
    --------
    >>> filled("{a} is {a / b} of b", {"a": Value(1024, "bytes"), "b": Value(4096, "bytes")})
    '1,024 bytes is 0.2500 of b'
    """
    check(text, what)
    return _FIELD.sub(lambda found: str(_value(found[1], values, what)), text)


def _value(expression: str, values: Mapping[str, Value], what: str) -> Value:
    match = _EXPRESSION.fullmatch(expression)
    if not match:
        raise InputError(f"{what}: {{{expression}}} is neither a name nor two with - or / between")
    left = _named(match[1], values, what)
    if not match[2]:
        return left
    right = _named(match[3], values, what)
    if isinstance(left.value, str) or isinstance(right.value, str):
        raise InputError(f"{what}: {{{expression}}}: a text is no number")
    if left.unit != right.unit:
        raise InputError(f"{what}: {{{expression}}}: {left.unit or 'no unit'} and {right.unit or 'no unit'}")
    if match[2] == "-":
        return Value(left.value - right.value, left.unit)
    if not right.value:
        raise InputError(f"{what}: {{{expression}}} divides by zero")
    return Value(left.value / right.value)


def _named(name: str, values: Mapping[str, Value], what: str) -> Value:
    if name not in values:
        near = difflib.get_close_matches(name, values, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{what}: {name!r} is none of {', '.join(values)}{meant}")
    return values[name]
