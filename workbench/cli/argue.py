"""One piece of evidence by its recipe: ``workbench argue times table_name=epyc-2vcpu-full ...``.

For evidence that no ``workbench`` command prints. Arguments are NAME=VALUE, lists are separated by commas.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from workbench.model.errors import InputError, printable
from workbench.studies.argument._evidence import Times, from_recipe
from workbench.studies.argument._mail import mail_table


def main(argv: Sequence[str]) -> int:
    """Print the table of one recipe; 0 done, 2 it cannot be used."""
    try:
        if not argv or argv[0] != Times.kind:
            raise InputError(f"usage: workbench argue {Times.kind} NAME=VALUE...")
        recipe: dict[str, Any] = {"kind": argv[0]}
        for given in argv[1:]:
            name, equals, value = given.partition("=")
            if not equals:
                raise InputError(f"{given!r} is not NAME=VALUE")
            recipe[name] = _value(name, value)
        found = from_recipe(recipe).found
        print(mail_table(found.table, found.columns))
        return 0
    except (InputError, OSError) as error:
        print(f"workbench argue: {printable(str(error))}", file=sys.stderr)
        return 2


def _value(name: str, text: str) -> Any:
    try:
        if name == "percents":
            return tuple(int(part) for part in text.split(","))
        if name == "nr_descriptors":
            return int(text)
    except ValueError:
        raise InputError(f"{name} {text!r} is no whole number") from None
    return tuple(text.split(",")) if name == "names" else text


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
