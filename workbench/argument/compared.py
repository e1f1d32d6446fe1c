"""Scenarios side by side as a document: what ``workbench compare --mail`` and ``--html`` write."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from workbench import designs
from workbench.argument.document import Document, Section
from workbench.argument.evidence import PLAIN_FIELDS, machine_source, machine_words
from workbench.scenario import Row, Scenario


def compared(title: str, rows: Mapping[str, Row], file: str) -> Document:
    """A document of one section.

    Parameters
    ----------
    title : str
    rows : mapping of str to Row
        By the scenarios' names.
    file : str
        The TOML file, for the command that prints the same.
    """
    import pandas as pd

    first = next(iter(rows.values())).total_bytes
    columns = {
        "name": "scenario",
        "nr_pinned": "pinned pages",
        "total_bytes": "bytes",
        "over_first": "over the first",
        "percent_of_ram": "% of RAM",
    }
    records = [
        (name, row.nr_pinned, row.total_bytes, row.total_bytes - first, row.percent_of_ram)
        for name, row in rows.items()
    ]
    setup: dict[str, str] = {}
    for row in rows.values():
        setup |= machine_words(row)
    shared = _shared([row.scenario for row in rows.values()])
    if shared:
        setup["all scenarios"] = ", ".join(shared.values())
    for name, row in rows.items():
        own = ", ".join([row.design, *(text for f, text in _fields(row.scenario).items() if f not in shared)])
        if name != own:
            setup[f"scenario {name}"] = own
    noted: dict[str, list[str]] = {}
    for name, row in rows.items():
        for note in row.notes:
            noted.setdefault(note, []).append(name)
    notes = [
        note if len(names) == len(rows) else f"{', '.join(names)}: {note}" for note, names in noted.items()
    ]
    used = dict.fromkeys(row.design for row in rows.values())
    sources = [f"{name}: {designs.get(name).source}" for name in used]
    return Document(
        title=title,
        about="",
        claims=(),
        against=None,
        searched="",
        sections=[
            Section(
                title="",
                setup=setup,
                command=f"workbench compare {shell_word(file)}",
                table=pd.DataFrame(records, columns=list(columns)),
                columns=columns,
                lists={"Notes": notes},
            )
        ],
        sources=[*sources, *dict.fromkeys(machine_source(row) for row in rows.values())],
    )


def _fields(scenario: Scenario) -> dict[str, str]:
    """What is not as by default, beside machine and design."""
    return {
        name: name if getattr(scenario, name) is True else f"{name} {getattr(scenario, name)}"
        for name in PLAIN_FIELDS
        if name not in ("machine", "design") and getattr(scenario, name) != getattr(Scenario, name)
    }


def _shared(scenarios: Sequence[Scenario]) -> dict[str, str]:
    """Fields that all scenarios set to the same."""
    first, *others = (_fields(scenario) for scenario in scenarios)
    return {name: text for name, text in first.items() if all(o.get(name) == text for o in others)}


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
