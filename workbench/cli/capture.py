"""``workbench capture``: what this machine shows of its memory, in one file; as root it shows more."""

from __future__ import annotations

import argparse

from workbench.cli._command import Answer, Command, say, table
from workbench.model.errors import InputError


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("out", metavar="OUT.mmsnap", help="made anew; what exists is refused")
    sub.add_argument("--scrub", action="store_true", help="leave out names of devices, drivers and builds")
    sub.add_argument("--force", action="store_true", help="replace OUT if it is a regular file")
    sub.add_argument("--root", metavar="DIR", default="/", help="holds proc and sys (default: /)")


def _run(args: argparse.Namespace) -> Answer:
    from workbench import capture

    try:
        found = capture.take(args.out, args.scrub, args.force, args.root)
    except capture.CannotWrite as error:
        raise InputError(str(error)) from None
    if found["changed"]:
        say([f"memory came or went meanwhile: {', '.join(found['changed'])}"])

    def text() -> str:
        lines = [(name, status) for name, status in found["parts"].items()]
        return table(("part", ""), lines) + f"\n\n{found['bytes']:,} bytes in {found['seconds']:.2f} s"

    return found, text, 0


COMMAND = Command(
    wing="evidence",
    about="what this machine shows of its memory, in one file; as root it shows more",
    example="sudo workbench capture host.mmsnap --scrub",
    arguments=_arguments,
    run=_run,
)
