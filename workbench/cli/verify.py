"""``workbench verify``: compare the XArray model with the kernel's own answers."""

from __future__ import annotations

import argparse

from workbench.cli._command import Answer, Command
from workbench.model.errors import printable


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("what", choices=["xarray"])
    sub.add_argument("cases", metavar="CASES.json")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.model.pfnmaps import ops

    found = ops.verify(args.cases)

    def text() -> str:
        lines = [f"{found['passed']} of {found['cases']} cases agree with the kernel's own answers"]
        return "\n".join(
            [
                *lines,
                *(
                    f"  {printable(name)}: {printable(str(why))}"
                    for name, why in found["differences"].items()
                ),
            ]
        )

    return found, text, 1 if found["failed"] else 0


def _python(args: argparse.Namespace) -> str:
    return f"from workbench import pfnmaps\n\npfnmaps.ops.verify({args.cases!r})"


COMMAND = Command(
    wing="model",
    about="compare the XArray model with the kernel's own answers",
    example="workbench verify xarray data/golden/xarray_cases.json",
    arguments=_arguments,
    run=_run,
    python=_python,
)
