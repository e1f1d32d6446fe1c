"""What the workbench says when an input cannot be used."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable


class InputError(ValueError):
    """An input that cannot be used: what, where, which value, which rule.

    The message is one line, fit for a terminal and for a notebook. ``workbench`` on the command line
    prints it and exits with status 2.

    Parameters
    ----------
    rule : str
        What is wrong and which rule it breaks, with the offending value in it.
    file : path, optional
        The file it was found in.
    place : str, optional
        Where in the file: ``"line 7"``, ``"member 'flag_code'"``.

    Examples
    --------
    >>> str(InputError("end 0x10 is before start 0x20", file="iomem.txt", place="line 3"))
    'iomem.txt, line 3: end 0x10 is before start 0x20'
    """

    def __init__(self, rule: str, *, file: str | os.PathLike[str] | None = None, place: str | None = None):
        where = ", ".join(printable(os.fspath(part)) for part in (file, place) if part)
        super().__init__(f"{where}: {printable(rule)}" if where else printable(rule))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """A rule that a name breaks which is none of some: with the one that may be meant.

    Examples
    --------
    >>> unknown("design", "dynamic_pag", ["static", "dynamic_page"])
    "design 'dynamic_pag' is none of static, dynamic_page; did you mean 'dynamic_page'?"
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"{what} {name!r} is none of {', '.join(known)}{meant}"


def printable(text: str, limit: int = 500) -> str:
    """Text from a file, made harmless for a terminal: one line, no control or direction characters.

    Examples
    --------
    >>> printable("a\\x1b[31mb\\nc")
    'a\\\\x1b[31mb\\\\nc'
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
