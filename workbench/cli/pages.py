"""``workbench pages``: what the pages of a capture are."""

from __future__ import annotations

import argparse

from workbench.cli._command import Answer, Command, call, say, table
from workbench.model.errors import printable


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("capture", metavar="CAPTURE")
    sub.add_argument("--label", help="which kpageflags of the capture, such as 'pinned' or 'before'")
    sub.add_argument("--raw", action="store_true", help="flag rows as page-types -r prints them")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.model.memory import pages

    found = pages.of(args.capture, args.label, raw=args.raw)
    say(found.pop("notes"))

    def text() -> str:
        folios = [(kind, int(order), nr, nr << int(order))
                  for kind, by in found["folio_orders"].items() for order, nr in by.items()]
        flags = [(r["flags"], r["pages"], r["symbols"]) for r in found["flag_rows"]]
        return "\n\n".join([
            f"{found['nr_pages']:,} pages ({printable(found['source'])})",
            table(("type", "pages"), sorted(found["types"].items(), key=lambda item: -item[1])),
            table(("type", "order", "folios", "pages"), folios),
            table(("flags", "pages", "symbols"), flags),
        ])

    return found, text, 0


def _python(args: argparse.Namespace) -> str:
    return ("from workbench import studies\n\n"
            + call("studies.pages.of", args.capture, args.label, raw=args.raw or None))


COMMAND = Command(
    wing="model",
    about="what the pages of a capture are: types, folio orders, flags",
    example="workbench pages data/captures/microvm-24g-6.18",
    arguments=_arguments,
    run=_run,
    python=_python,
)
