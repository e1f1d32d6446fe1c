"""An argument: claims, each with the evidence that made it, and what speaks against them.

Prose is a template, its numbers come from the evidence. What a claim was written with is kept; before an
argument is shown, all evidence is made anew and compared with that, and a number that is another now is an
error, not a new text.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.model import designs
from workbench.model.errors import InputError
from workbench.model.files import write_whole
from workbench.studies.argument import _prose as prose
from workbench.studies.argument._counter import against
from workbench.studies.argument._document import Document, Section
from workbench.studies.argument._evidence import Evidence, from_recipe
from workbench.studies.argument._prose import Value

FORMAT = "argument/1"
MAX_BYTES = 1 << 22  # of a file; assumed
_MOST_BITS = 256  # of a whole number in a file; assumed: more than any count, and still a float
_CLOSE = 1e-9  # of a float that is made again; assumed: another order of summation


class EvidenceError(InputError):
    """A claim whose evidence does not come to the same any more: claim, value, stored, recomputed."""


@dataclass(frozen=True)
class Claim:
    """One claim as it was made.

    Parameters
    ----------
    text : str
        A template for ``prose.filled``.
    evidence : Evidence
    values : mapping of str to Value
        What the evidence came to when the claim was made.
    assumes, limits : tuple of str
        Templates too.
    """

    text: str
    evidence: Evidence
    values: Mapping[str, Value]
    assumes: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


class Argument:
    """Claims for one proposal, with evidence, assumptions, limits and counter-evidence.

    Parameters
    ----------
    title : str
        The mail's subject and the page's heading.
    proposed : str
        The design that is argued for, or a header of ``typesafety``; counter-evidence is searched against it.
    about : str
        What is asked, in a paragraph without numbers.

    Examples
    --------
    >>> from workbench.studies.argument import Memory, grid
    >>> why = Argument("Why foll_pin", proposed="foll_pin")
    >>> cost = Memory(grid(["foll_pin", "dynamic_page"], machine="ram=1GiB", nr_pinned=512))
    >>> _ = why.claim("dynamic_page adds {dynamic_page.added}, foll_pin {foll_pin.added}.", cost)
    >>> print(why.to_mail().splitlines()[7])
      1. dynamic_page adds 364 KiB, foll_pin 0 bytes. [1][2][3]
    """

    def __init__(self, title: str, *, proposed: str = "", about: str = ""):
        for what, text in (("title", title), ("about", about)):
            prose.filled(text, {}, what)
        _check_proposed(proposed)
        self.title, self.proposed, self.about = title, proposed, about
        self.claims: list[Claim] = []

    def claim(
        self, text: str, evidence: Evidence, *, assumes: Iterable[str] = (), limits: Iterable[str] = ()
    ) -> Argument:
        """Add a claim; returns the argument, for the next one."""
        assumes, limits = _texts(assumes), _texts(limits)
        values = evidence.values()
        nr = len(self.claims) + 1
        for template in (text, *assumes, *limits):
            prose.filled(template, values, f"claim {nr}")
        self.claims.append(Claim(text, evidence, dict(values), assumes, limits))
        return self

    # -- checking -------------------------------------------------------------------------------------------

    def verify(self) -> None:
        """Make all evidence anew and compare it with what the claims were made with.

        Raises
        ------
        EvidenceError
            For the first value that is another now, or that is gone.
        """
        for nr, claim in enumerate(self.claims, 1):
            place = f"claim {nr} ({claim.text[:60]!r})"
            try:
                now = claim.evidence.recompute()
            except (ValueError, OSError) as error:
                raise EvidenceError(f"the evidence cannot be made again: {error}", place=place) from None
            for name, value in claim.values.items():
                if name not in now.values:
                    raise EvidenceError(f"{name}: stored {_exact(value)}, not computed any more", place=place)
                if not _same(value, now.values[name]):
                    what = f"{name}: stored {_exact(value)}, recomputed {_exact(now.values[name])}"
                    raise EvidenceError(what, place=place)
            claim.evidence.__dict__["found"] = now

    def against(self) -> dict[str, list[str]]:
        """What speaks against the proposal, by rule and in words; ``counter`` has the rules."""
        return against([claim.evidence for claim in self.claims], self.proposed)[0]

    # -- forms ----------------------------------------------------------------------------------------------

    def document(self) -> Document:
        """All parts filled in, after ``verify()``."""
        if not self.claims:
            raise InputError(f"argument {self.title!r} has no claim")
        self.verify()
        sources: dict[str, int] = {}
        said, sections = [], []
        for nr, claim in enumerate(self.claims, 1):
            found = claim.evidence.found
            cited = sorted(sources.setdefault(text, len(sources) + 1) for text in found.sources)
            marks = "".join(f"[{one}]" for one in cited)
            said.append(f"{prose.filled(claim.text, claim.values)} {marks}".rstrip())
            assumed = [prose.filled(text, claim.values) for text in claim.assumes]
            limits = [prose.filled(text, claim.values) for text in claim.limits]
            sections.append(
                Section(
                    title=f"Evidence for claim {nr}",
                    setup=found.setup,
                    command=found.command,
                    table=found.table,
                    columns=found.columns,
                    lists={"Assumed": assumed, "Limits": [*limits, *found.limits]},
                )
            )
        lines, searched = against([claim.evidence for claim in self.claims], self.proposed)
        proposed = f"Proposed: {self.proposed}." if self.proposed else ""
        return Document(
            title=self.title,
            about=f"{self.about} {proposed}".strip(),
            claims=said,
            against=lines,
            searched=searched,
            sections=sections,
            sources=list(sources),
        )

    def to_mail(self) -> str:
        """A plain-text mail: at most 72 columns of ASCII, a Subject line first, ready for git send-email."""
        return self.document().to_mail()

    def to_markdown(self) -> str:
        """The same in Markdown."""
        return self.document().to_markdown()

    def to_html(self) -> str:
        """The same as one page that needs neither script nor network."""
        return self.document().to_html(again="\n".join(c.evidence.command for c in self.claims))

    def _repr_html_(self) -> str:
        return self.document().to_fragment()

    def to_csv(self) -> str:
        """Every number: claim, text, name, value, unit, evidence, command. Exact, not rounded."""
        self.verify()
        out = io.StringIO()
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(["claim", "text", "name", "value", "unit", "evidence", "command"])
        for nr, claim in enumerate(self.claims, 1):
            text = _cell(prose.filled(claim.text, claim.values))
            command = _cell(claim.evidence.command)
            for name, value in claim.values.items():
                shown = _cell(value.value) if isinstance(value.value, str) else value.value
                rows.writerow([nr, text, name, shown, value.unit, claim.evidence.kind, command])
        return out.getvalue()

    # -- files ----------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``argument/1``: the claims, their recipes, and the values that they were made with."""
        claims = [
            {
                "text": claim.text,
                "assumes": list(claim.assumes),
                "limits": list(claim.limits),
                "evidence": claim.evidence.recipe(),
                "values": {name: [value.value, value.unit] for name, value in claim.values.items()},
            }
            for claim in self.claims
        ]
        head = {"format": FORMAT, "title": self.title, "proposed": self.proposed, "about": self.about}
        write_whole(path, json.dumps(head | {"claims": claims}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Argument:
        """Read one that was saved. Nothing is made again until it is verified or shown."""
        with open(path, "rb") as source:  # noqa: PTH123
            raw = source.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise InputError(f"more than {MAX_BYTES >> 20} MiB of argument", file=path)
        place = ""
        try:
            content = json.loads(raw)
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                found = content.get("format") if isinstance(content, dict) else None
                raise InputError(f"format {found!r} is not {FORMAT!r}")
            for key in ("title", "proposed", "about"):
                _text(content.get(key), key)
            self = cls(content["title"], proposed=content["proposed"], about=content["about"])
            if not isinstance(content.get("claims"), list):
                raise InputError("'claims' is no list")
            for nr, given in enumerate(content["claims"], 1):
                place = f"claim {nr}"
                self.claims.append(_claim(given))
            return self
        except InputError as error:
            raise InputError(str(error), file=path, place=place) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"not JSON: {error}", file=path) from None


def _check_proposed(proposed: str) -> None:
    """Against a name that nothing has, nothing speaks."""
    from workbench.evidence.typesafety import _variants as variants

    known = [*designs.registry(), *variants.shipped()]
    if proposed and proposed not in known:
        near = difflib.get_close_matches(proposed, known, 1)
        meant = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
        raise InputError(f"proposed: {proposed!r} is no design and no header{meant}")


def _texts(given: Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _text(given: Any, what: str) -> str:
    if not isinstance(given, str):
        raise InputError(f"{what} is no text")
    return given


def _claim(given: Any) -> Claim:
    """One claim of a file, checked."""
    if not isinstance(given, dict) or not isinstance(given.get("values"), dict):
        raise InputError("is no object with 'values'")
    values = {}
    for name, pair in given["values"].items():
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], str)
                and isinstance(pair[0], int | float | str) and not isinstance(pair[0], bool)):  # fmt: skip
            raise InputError(f"value {name!r} is no pair of a number or text and its unit")
        if isinstance(pair[0], int) and pair[0].bit_length() > _MOST_BITS:
            raise InputError(f"value {name!r} has more than {_MOST_BITS} bits")
        values[name] = Value(pair[0], pair[1])
    lists = []
    for key in ("assumes", "limits"):
        if not isinstance(given.get(key), list):
            raise InputError(f"{key!r} is no list")
        lists.append(tuple(_text(text, key) for text in given[key]))
    if not isinstance(given.get("evidence"), dict):
        raise InputError("'evidence' is no object")
    text = _text(given.get("text"), "'text'")
    for template in (text, *lists[0], *lists[1]):
        prose.filled(template, values, "text")
    return Claim(text, from_recipe(given["evidence"]), values, *lists)


def _same(stored: Value, now: Value) -> bool:
    if stored.unit != now.unit:
        return False
    a, b = stored.value, now.value
    if isinstance(a, float) or isinstance(b, float):
        numbers = isinstance(a, int | float) and isinstance(b, int | float)
        return numbers and (math.isclose(a, b, rel_tol=_CLOSE) or (a != a and b != b))  # type: ignore[arg-type]
    return a == b


def _exact(value: Value) -> str:
    """All digits, for an error."""
    shown = value.value if isinstance(value.value, str) else repr(value.value)
    return f"{shown} {value.unit}".rstrip()


def _cell(text: Any) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if str(text).startswith(("=", "+", "-", "@", "\t", "\r")) else str(text)
