"""Scenarios side by side as a document: what ``workbench compare --mail`` and ``--html`` write."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.model import designs
from workbench.model.scenario import Row
from workbench.studies.argument._document import Document, Section
from workbench.studies.argument._evidence import machine_source, machine_words, set_fields, shared_fields
from workbench.studies.argument._mail import shell_word


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
    shared = shared_fields([row.scenario for row in rows.values()])
    if shared:
        setup["all scenarios"] = ", ".join(shared.values())
    for name, row in rows.items():
        own = ", ".join(
            [row.design, *(text for f, text in set_fields(row.scenario).items() if f not in shared)]
        )
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
