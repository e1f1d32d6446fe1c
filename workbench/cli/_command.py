"""What every command has: arguments, an answer, and how the answer is printed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.model.errors import printable

#: The JSON document, the text for people (made when it is wanted), the exit status.
Answer = tuple[dict[str, Any], Callable[[], str], int]


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command: a file in this folder that has a ``COMMAND``; nothing else is registered."""

    wing: str  # model, evidence, studies or views: where it stands in the help
    about: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Answer]
    python: Callable[[argparse.Namespace], str] | None = None  # lines that give the same table
    json: bool = True  # whether it takes --json


def call(function: str, *given: Any, **named: Any) -> str:
    """A call as Python writes it; names whose value is None are left out.

    Examples
    --------
    >>> call("Machine.load", "ram=1GiB", kernel=None)
    "Machine.load('ram=1GiB')"
    """
    words = [repr(value) for value in given]
    words += [f"{name}={value!r}" for name, value in named.items() if value is not None]
    return f"{function}({', '.join(words)})"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Aligned text: numbers to the right with thousands, words to the left."""
    cells = [[_cell(value) for value in row] for row in rows]
    rows = list(rows) if not isinstance(rows, list) else rows
    numeric = [
        all(isinstance(row[i], int | float) or row[i] is None for row in rows) and bool(rows)
        for i in range(len(header))
    ]
    width = [max(len(header[i]), *(len(row[i]) for row in cells), 0) for i in range(len(header))]
    lines = []
    for row in [list(header), *cells]:
        lines.append(
            "  ".join(
                text.rjust(w) if right else text.ljust(w)
                for text, w, right in zip(row, width, numeric, strict=True)
            ).rstrip()
        )
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4f}" if isinstance(value, float) else printable(str(value), 200)


def names(groups: Sequence[str] | None) -> list[str]:
    """``--design a b --design c,d`` as one list."""
    return [name for group in groups or [] for name in group.split(",")]


def say(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)


def positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return value
