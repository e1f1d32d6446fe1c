"""``workbench share``: an explorer as one HTML file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli._command import Answer, Command
from workbench.model.errors import InputError, unknown

if TYPE_CHECKING:
    from workbench.views.explorers import Explorer


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("explorer", metavar="EXPLORER", help="such as OverheadExplorer")
    sub.add_argument("-o", "--out", type=Path, required=True, help="file to write")
    sub.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                     help="where a control stands")
    sub.add_argument("--axis", action="append", default=[], metavar="FIELD=V1,V2",
                     help="the values of a control that the page offers; FIELD=... offers all it has")
    sub.add_argument("--limit-bytes", type=int, help="default: 4 MB")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.views import explorers
    from workbench.views.pages.share import LIMIT_BYTES, share

    known = sorted(name for name in vars(explorers) if name.endswith("Explorer") and name != "Explorer")
    if args.explorer not in known:
        raise InputError(unknown("explorer", args.explorer, known))
    made = getattr(explorers, args.explorer)
    plain = made()
    values = {name: _typed(plain, name, text) for name, text in map(_pair, args.set)}
    axes: dict[str, Any] = {}
    for name, text in map(_pair, args.axis):
        axes[name] = ... if text == "..." else [_typed(plain, name, one) for one in text.split(",")]
    share(made(**values), args.out, axes=axes or None,
          limit_bytes=LIMIT_BYTES if args.limit_bytes is None else args.limit_bytes)
    return {}, str, 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{text!r} is not FIELD=VALUE")
    return name, value


def _typed(explorer: Explorer, name: str, text: str) -> Any:
    """A value from the command line: one of the control's own, by value or label, or of the type it holds."""
    from workbench.views.pages.share import every_value, key_of, value_label

    control = explorer.controls.get(name)
    if control is None:
        return text  # refused later, by name
    for value in every_value(control) or []:
        if text in (str(value), key_of(value, ""), value_label(control, value)):
            return value
    here = explorer._value(name)
    try:
        return text.split("+") if isinstance(here, list) else type(here)(text)
    except ValueError:
        raise InputError(f"{name} = {text!r} is not a number") from None


COMMAND = Command(
    wing="views",
    about="an explorer as one HTML file whose controls work without a kernel",
    example="workbench share OverheadExplorer -o page.html --set machine=ram=1TiB --axis nr_pinned=0%,1%,10%",
    arguments=_arguments,
    run=_run,
    json=False,
)
