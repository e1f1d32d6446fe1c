"""A document before it has a form, and its forms: mail, Markdown, HTML.

The same parts in the same order everywhere: claims, what speaks against them, then for each claim its setup,
command, result, assumptions and limits, and numbered sources.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.header import Header
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.model.errors import InputError, printable
from workbench.studies.argument import _mail as mail
from workbench.studies.provenance import provenance

if TYPE_CHECKING:
    import pandas as pd

TEMPLATES = Path(__file__).with_name("templates")



@dataclass(frozen=True)
class Section:
    """What stands behind a claim."""

    title: str
    setup: Mapping[str, str]
    command: str
    table: pd.DataFrame
    columns: Mapping[str, str]
    lists: Mapping[str, Sequence[str]]  # "Assumed", "Limits" and so on


@dataclass(frozen=True)
class Document:
    """The parts of an argument, filled in. ``against`` is None where nothing was searched."""

    title: str
    about: str
    claims: Sequence[str]
    against: Mapping[str, Sequence[str]] | None  # by rule
    searched: str
    sections: Sequence[Section]
    sources: Sequence[str]

    # -- mail -----------------------------------------------------------------------------------------------

    def to_mail(self) -> str:
        """Headers and body of a plain-text mail; see ``mail``."""
        body: list[Sequence[str]] = []
        if self.about:
            body.append(mail.wrapped(self.about))
        if self.claims:
            body += [mail.heading("Claims"), _numbered(self.claims)]
        if self.against is not None:
            body.append(mail.heading("Against it, by rule"))
            for rule, texts in self.against.items():
                lines = [line for text in texts for line in mail.wrapped(text, first="  - ")]
                body.append([*mail.wrapped(f"{rule}:"), *lines])
            none = "" if self.against else "None found. "
            body.append(mail.wrapped(f"{none}Searched: {self.searched}."))
        for section in self.sections:
            if section.title:
                body.append(mail.heading(section.title))
            body += mail.note_blocks(section.setup, section.command, section.table, section.columns)
            for name, texts in section.lists.items():
                if texts:
                    lines = [line for text in texts for line in mail.wrapped(text, first="  - ")]
                    body.append([*mail.wrapped(f"{name}:"), *lines])
        if self.sources:
            body += [["Sources:", *mail.footnotes(self.sources)]]
        return subject(self.title) + "\n\n" + mail.text_of(body)

    # -- Markdown -------------------------------------------------------------------------------------------

    def to_markdown(self) -> str:
        """The same in GitHub's Markdown."""
        out = [f"# {_md(self.title)}"]
        if self.about:
            out.append(_md(self.about))
        if self.claims:
            out.append("\n".join(f"{nr}. {_md(text)}" for nr, text in enumerate(self.claims, 1)))
        if self.against is not None:
            out.append("## Against it, by rule")
            for rule, texts in self.against.items():
                out += [f"{_md(rule)}:", "\n".join(f"- {_md(text)}" for text in texts)]
            none = "" if self.against else "None found. "
            out.append(f"{none}Searched: {_md(self.searched)}.")
        for section in self.sections:
            if section.title:
                out.append(f"## {_md(section.title)}")
            if section.setup:
                out.append("\n".join(f"- {_md(k)}: {_md(v)}" for k, v in section.setup.items()))
            if section.command:
                lines = (f"    {printable(line, 10_000)}" for line in section.command.splitlines())
                out.append("\n".join(lines))
            out.append(_md_table(section))
            for name, texts in section.lists.items():
                if texts:
                    out += [f"{_md(name)}:", "\n".join(f"- {_md(text)}" for text in texts)]
        if self.sources:
            out.append("## Sources")
            out.append("\n".join(f"{nr}. {_md(text)}" for nr, text in enumerate(self.sources, 1)))
        return "\n\n".join(out) + "\n"

    # -- HTML -----------------------------------------------------------------------------------------------

    def to_html(self, again: str = "") -> str:
        """A whole page that needs neither script nor network."""
        return self._render("base.html", again)

    def to_fragment(self) -> str:
        """The body alone, for a notebook's output."""
        return self._render(None, "")

    def _render(self, layout: str | None, again: str) -> str:
        import jinja2

        room = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=_visible,
        )
        return room.get_template("argument.html").render(
            layout=layout or room.from_string("{% block body %}{% endblock %}"),
            doc=self,
            linked=linked,
            tables=[_cells(section) for section in self.sections],
            nonce="none",
            footer=provenance(TEMPLATES, again) if layout else {},
        )


def subject(title: str) -> str:
    """A Subject header, folded as RFC 5322 has it where it is long."""
    text = mail.plain(title) or "-"
    lines = Header(text, "us-ascii", maxlinelen=mail.WIDTH, header_name="Subject").encode().split("\n")
    lines[0] = f"Subject: {lines[0]}"
    if any(len(line) > mail.WIDTH for line in lines):
        raise InputError(f"a title with a word that no header line holds: {text}")
    return "\n".join(line.rstrip() for line in lines)


def _numbered(texts: Sequence[str]) -> list[str]:
    pad = len(f"  {len(texts)}. ")
    return [
        line
        for nr, text in enumerate(texts, 1)
        for line in mail.wrapped(text, first=f"  {nr}.".ljust(pad), rest=" " * pad)
    ]


def _md(text: str) -> str:
    """Text that Markdown shows as it is: one line, nothing active."""
    text = printable(" ".join(str(text).split()), 10_000)
    text = html.escape(text, quote=False)
    return re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", text)


def _cells(section: Section) -> tuple[list[str], list[list[str]], list[bool]]:
    heads, columns, numeric = mail._read(section.table, section.columns or None)
    return heads, [list(row) for row in zip(*columns, strict=True)], numeric


def _md_table(section: Section) -> str:
    heads, rows, numeric = _cells(section)
    rule = "|".join("---:" if right else "---" for right in numeric)
    lines = [" | ".join(map(_md, cells)) for cells in (heads, *rows)]
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])


def _visible(value: Any) -> Any:
    """Control and direction characters written out; markup is left as it is."""
    if type(value) is not str:
        return value
    return "\n".join(printable(line, 100_000) for line in value.split("\n"))


def linked(text: str) -> Any:
    """Escaped text with its http addresses as links."""
    import markupsafe

    parts = re.split(r"(https?://[^\s<>\"']+[^\s<>\"'.,;:)])", _visible(str(text)))
    shown = [
        markupsafe.Markup('<a href="{0}">{0}</a>').format(part) if nr % 2 else markupsafe.escape(part)
        for nr, part in enumerate(parts)
    ]
    return markupsafe.Markup("").join(shown)
