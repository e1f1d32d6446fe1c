"""Scenarios from a TOML file: what they share in ``[base]``, what differs in ``[[scenario]]``.

    title = "A GPU host with pinned pages"

    [base]
    machine = "h100-128g-6.18"
    nr_pinned = "1%"

    [[scenario]]
    design = "foll_pin"

    [[scenario]]
    name = "clustered"
    design = "dynamic_page"
    run_pages = 512

Fields are those of ``Scenario`` (but ``pinned``, a set of pages, which a file cannot hold). A scenario's name
is its design unless it says another. Values are data only; nothing is evaluated.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from workbench.model.errors import InputError, unknown
from workbench.model.scenario.footprints import Scenario

MAX_BYTES = 1 << 20  # of a file; assumed
MAX_SCENARIOS = 1_000  # of a file; assumed: a table for people
_MOST_DOTS = 64  # of a line: tomllib takes quadratic time over a key of many parts
_KINDS: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,), "int | str": (int, str)}
_WORDS = {str: "text", int: "a whole number", bool: "true or false"}


def field_kinds() -> dict[str, tuple[type, ...]]:
    """The fields that a file may set, and which types each takes.

    Examples
    --------
    >>> field_kinds()["nr_pinned"]
    (<class 'int'>, <class 'str'>)
    """
    found = {}
    for field in fields(Scenario):
        declared = str(field.type).replace(" | None", "").replace(" | Machine", "")
        if declared in _KINDS:
            found[field.name] = _KINDS[declared]
    return found


@dataclass(frozen=True)
class ScenarioFile:
    """The scenarios of a file, by name, in its order; ``extra`` holds other tables that were allowed."""

    file: str
    title: str
    scenarios: Mapping[str, Scenario]
    extra: Mapping[str, Mapping[str, Any]]


def load(path: str | os.PathLike[str], extra: Iterable[str] = ()) -> ScenarioFile:
    """Read and check a file.

    Parameters
    ----------
    path : path
    extra : iterable of str
        Other top-level tables to let through, unchecked but for being tables.

    Raises
    ------
    InputError
        With file, place, value and rule: not TOML, an unknown table or field, a wrong type, a name that is
        there twice, no scenario.
    """
    file, extra = os.fspath(path), tuple(extra)
    content = _read(file)
    base = _table(content.pop("base", {}), "[base]", file)
    listed = content.pop("scenario", [])
    title = content.pop("title", "")
    if not isinstance(title, str):
        raise InputError(f"{title!r} is no text", file=file, place="title")
    allowed = ("title", "base", "scenario", *extra)
    for name in content:
        if name not in extra:
            rule = unknown("table or key", name, allowed)
            if {"grid", "random", "lhs"} & set(content):
                rule += "; this is a sweep: workbench sweep runs it"
            raise InputError(rule, file=file)
    if not isinstance(listed, list):
        raise InputError("write [[scenario]], with two brackets, once for each", file=file, place="scenario")
    if not listed:
        raise InputError("no [[scenario]]: there is nothing to compare", file=file)
    if len(listed) > MAX_SCENARIOS:
        raise InputError(f"{len(listed)} scenarios, at most {MAX_SCENARIOS}", file=file)
    check_fields(base, "[base]", file)
    found: dict[str, Scenario] = {}
    for nr, given in enumerate(listed, 1):
        place = f"[[scenario]] {nr}"
        own = _table(given, place, file)
        name = own.pop("name", None)
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise InputError(f"name {name!r} is no text", file=file, place=place)
        check_fields(own, place, file)
        try:
            scenario = Scenario().with_(**base | own)
        except InputError as error:
            raise InputError(str(error), file=file, place=place) from None
        name = name or scenario.design
        if name in found:
            other = list(found).index(name) + 1
            raise InputError(
                f"name {name!r} is that of [[scenario]] {other} too; give each a name of its own",
                file=file,
                place=place,
            )
        found[name] = scenario
    return ScenarioFile(
        file=file,
        title=title or Path(file).name,
        scenarios=found,
        extra={name: _table(content[name], f"[{name}]", file) for name in extra if name in content},
    )


def _read(file: str) -> dict[str, Any]:
    with open(file, "rb") as source:  # noqa: PTH123
        raw = source.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise InputError(f"more than {MAX_BYTES >> 20} MiB of scenarios", file=file)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8: {error}", file=file) from None
    for nr, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _MOST_DOTS or len(re.findall(r"[\[{]", line)) > _MOST_DOTS:
            what = f"more than {_MOST_DOTS} dots or brackets in a line: scenarios are not nested"
            raise InputError(what, file=file, place=f"line {nr}")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an int of too many digits
        raise InputError(f"not TOML: {error}", file=file) from None


def _table(given: Any, place: str, file: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InputError(f"is {_kind(given)} and no table", file=file, place=place)
    return dict(given)


def check_fields(given: Mapping[str, Any], place: str, file: str | None = None) -> None:
    """Raise InputError for a field that is not known or has a value of another type."""
    kinds = field_kinds()
    for name, value in given.items():
        if name not in kinds:
            raise InputError(unknown("field", name, kinds), file=file, place=place)
        if type(value) not in kinds[name]:  # bool is an int elsewhere, not here
            wanted = " or ".join(_WORDS[kind] for kind in kinds[name])
            raise InputError(f"{name} is {_kind(value)}, not {wanted}", file=file, place=place)


def _kind(value: Any) -> str:
    shown = repr(value)
    return f"{shown if len(shown) <= 60 else shown[:57] + '...'} ({type(value).__name__})"
