"""The ``workbench`` command. Thin: parses, calls, prints. One file in this folder is one command.

Exit status: 0 done; 1 understood, but a check failed; 2 the input cannot be used (one line on stderr).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from workbench import __version__
from workbench.cli._command import Command
from workbench.model.errors import InputError, printable

_WINGS = {"model": "counts", "evidence": "measured, recorded, compiled", "studies": "questions",
          "views": "what people look at"}


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as all the others are."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {printable(message)} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def _commands() -> dict[str, Command]:
    """Every command by name: each file here that has a COMMAND."""
    names = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module.COMMAND for name, module in modules.items() if hasattr(module, "COMMAND")}


def _listed(commands: dict[str, Command]) -> str:
    """The commands by wing, a line each."""
    lines = []
    for wing, what in _WINGS.items():
        lines += ["", f"{wing}: {what}"]
        lines += [f"  {name:<12}{one.about}" for name, one in commands.items() if one.wing == wing]
    return "\n".join(lines[1:])


def _parser() -> argparse.ArgumentParser:
    commands = _commands()
    parser = _Parser(
        prog="workbench",
        usage="workbench [--version] COMMAND ... (COMMAND --help says more)",
        description="How should the kernel describe pages? Exact counts on real machines.",
        epilog=_listed(commands),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    subs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser,
                                 prog="workbench", help=argparse.SUPPRESS)
    for name, command in commands.items():
        sub = subs.add_parser(
            name,
            description=command.about,
            epilog=f"example:\n  {command.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=command.run, python=None)
        command.arguments(sub)
        if command.json:
            sub.add_argument("--json", action="store_true", help="print one JSON document")
        if command.python:
            sub.add_argument("--python", dest="python", action="store_const", const=command.python,
                             help="print the Python that gives the same table, and compute nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    args = _parser().parse_args(argv)
    try:
        if args.python:
            print(args.python(args))
            return 0
        found, text, status = args.run(args)
        shown = json.dumps(found) if getattr(args, "json", False) else text()
        if shown:
            print(shown)
        sys.stdout.flush()
        return status
    except InputError as error:
        message = str(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except KeyboardInterrupt:
        print("workbench: interrupted", file=sys.stderr)
        return 130
    print(f"workbench {args.command}: {printable(message)}", file=sys.stderr)
    return 2
