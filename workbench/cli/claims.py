"""``workbench claims``: published figures, recomputed: do they hold?."""

from __future__ import annotations

import argparse

from workbench.cli._command import Answer, Command, call, say, table
from workbench.model.errors import printable


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("id", nargs="*", metavar="ID", help="default: all of them")
    sub.add_argument("--file", metavar="CSV", help="claims of your own (default: data/claims.csv)")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.studies import claims

    rows = claims.recompute(args.id or None, args.file)
    surprising = [row for row in rows if not row.as_expected]
    say(f"{row.id}: {row.verdict}, but {row.expected_verdict} was expected" for row in surprising)

    def text() -> str:
        facts = [(row.id, row.stated, row.computed, row.unit, row.verdict) for row in rows]
        told = rows if args.id else [row for row in rows if row.verdict != "agrees"]
        return "\n\n".join(
            [
                table(("claim", "stated", "computed", "unit", "verdict"), facts),
                *(f"{row.id}: {printable(row.why, 1000)}" for row in told),
            ]
        )

    return {"rows": [row.to_dict() for row in rows]}, text, 1 if surprising else 0


def _python(args: argparse.Namespace) -> str:
    rows = call("studies.claims.recompute", args.id or None, args.file)
    return f"from workbench import studies\n\n[row.to_dict() for row in {rows}]"


COMMAND = Command(
    wing="studies",
    about="published figures, recomputed: do they hold?",
    example="workbench claims PC22 PC31",
    arguments=_arguments,
    run=_run,
    python=_python,
)
