"""``workbench argue``: one piece of evidence by its recipe, which no other command prints."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.cli._command import Answer, Command
from workbench.model.errors import InputError


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("kind", choices=["times"])
    sub.add_argument("given", nargs="*", metavar="NAME=VALUE", help="lists are separated by commas")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.studies.argument._evidence import from_recipe
    from workbench.studies.argument._mail import mail_table

    recipe: dict[str, Any] = {"kind": args.kind}
    for given in args.given:
        name, equals, value = given.partition("=")
        if not equals:
            raise InputError(f"{given!r} is not NAME=VALUE")
        recipe[name] = _value(name, value)
    found = from_recipe(recipe).found
    return {"rows": found.table.to_dict("records")}, lambda: mail_table(found.table, found.columns), 0


def _value(name: str, text: str) -> Any:
    try:
        if name == "percents":
            return tuple(int(part) for part in text.split(","))
        if name == "nr_descriptors":
            return int(text)
    except ValueError:
        raise InputError(f"{name} {text!r} is no whole number") from None
    return tuple(text.split(",")) if name == "names" else text


COMMAND = Command(
    wing="studies",
    about="one piece of evidence of an argument, by its recipe",
    example="workbench argue times table_name=epyc-2vcpu-full",
    arguments=_arguments,
    run=_run,
    json=False,
)
