"""``workbench compare``: scenarios of a TOML file side by side: a table, a mail, a page."""

from __future__ import annotations

import argparse
import os
from typing import Any

from workbench.cli._command import Answer, Command, say, table
from workbench.model.errors import InputError, printable


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", metavar="FILE.toml", help="[base] and [[scenario]]; see data/scenarios")
    sub.add_argument("--mail", action="store_true", help="as a plain-text mail of at most 72 columns")
    sub.add_argument("--html", metavar="OUT", help="also write a page that needs no script and no network")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.model.scenario import evaluate
    from workbench.model.scenario.files import load

    given = load(args.file)
    rows = {}
    for name, scenario in given.scenarios.items():
        try:
            rows[name] = evaluate(scenario)
        except InputError as error:
            raise InputError(str(error), file=args.file, place=f"scenario {name!r}") from None
    say(dict.fromkeys(f"{name}: {note}" for name, row in rows.items() for note in row.notes))
    found: dict[str, Any] = {
        "title": given.title,
        "rows": [{"name": name, **row.to_dict()} for name, row in rows.items()],
    }
    if args.mail or args.html:
        from workbench.model.files import write_whole
        from workbench.studies.argument import compared

        document = compared(given.title, rows, args.file)
        if args.mail:
            found["mail"] = document.to_mail()
        if args.html:
            if os.path.exists(args.html) and os.path.samefile(args.html, args.file):  # noqa: PTH110, PTH121
                raise InputError("--html would overwrite the scenarios", file=args.html)
            write_whole(args.html, document.to_html(again=f"workbench compare {args.file}"))
            say([f"wrote {args.html}"])
            found["html"] = args.html

    def text() -> str:
        if args.mail:
            return found["mail"].rstrip("\n")
        lines = [
            (name, row.design, row.machine.name, row.nr_pinned, row.total_bytes, row.bytes_per_page,
             row.percent_of_ram, row.exact)
            for name, row in rows.items()
        ]  # fmt: skip
        header = ("scenario", "design", "machine", "pinned", "bytes", "bytes per page", "% of RAM", "exact")
        parts = [(name, part, value) for name, row in rows.items() for part, value in row.parts.items()]
        return "\n\n".join(
            [printable(given.title), table(header, lines), table(("scenario", "part", "bytes"), parts)]
        )

    return found, text, 0


def _python(args: argparse.Namespace) -> str:
    return ("from workbench import compare, studies\n\n"
            f"given = studies.scenario_files.load({args.file!r})\ncompare(given.scenarios.values())")


COMMAND = Command(
    wing="studies",
    about="scenarios of a TOML file side by side: a table, a mail, a page",
    example="workbench compare data/scenarios/gpu-host.toml --mail",
    arguments=_arguments,
    run=_run,
    python=_python,
)
