"""A sweep from a TOML file.

    title = "How clustering moves the break-even"
    seed = 1

    [base]                  # fields of Scenario
    machine = "ram=1TiB"

    [grid]                  # every combination; lists, or ranges with steps
    design = ["proxy_bit", "dynamic_page"]
    run_pages = { min = 1, max = 512, scale = "log", steps = 10 }

    [random]                # or [lhs]: so many samples with each combination
    samples = 1000
    nr_pinned = { min = "0.01%", max = "10%", scale = "log" }

Values are data only; nothing is evaluated.
"""

from __future__ import annotations

import os
import re
import tomllib
from typing import Any

from workbench.model.errors import InputError
from workbench.model.scenario import Scenario
from workbench.model.scenario.files import check_fields
from workbench.studies.sweep._axes import Range, Spec, spec

MAX_BYTES = 1 << 20  # of a file; assumed
_MOST_DEEP = 64  # dots or brackets of a line: nothing here is nested so
_TABLES = ("base", "grid", "random", "lhs")


def load(path: str | os.PathLike[str]) -> Spec:
    """Read and check a file; an InputError names the file and the place."""
    file = os.fspath(path)
    content = _read(file)
    for name in content:
        if name not in (*_TABLES, "title", "seed", "placed"):
            rule = f"{name!r} is none of title, seed, placed, [base], [grid], [random], [lhs]"
            listed = "; this lists scenarios: workbench compare reads it" * ("scenario" in content)
            raise InputError(rule + listed, file=file)
    for name in _TABLES:
        if not isinstance(content.get(name, {}), dict):
            raise InputError("is no table", file=file, place=name)
    if not isinstance(content.get("title", ""), str):
        raise InputError(f"title {content['title']!r} is no text", file=file)
    if not isinstance(content.get("placed", False), bool):
        raise InputError(f"placed {content['placed']!r} is neither true nor false", file=file)
    check_fields(content.get("base", {}), "[base]", file)
    place: str | None = "[base]"
    try:
        base = Scenario().with_(**content.get("base", {}))
        given: dict[str, Any] = {}
        for name in ("grid", "random", "lhs"):
            place = f"[{name}]"
            table = dict(content.get(name, {}))
            if name != "grid" and name in content:
                if "samples" not in table:
                    raise InputError("samples is missing: how many?")
                given["samples"] = _whole(table.pop("samples"), "samples")
                if not table:
                    raise InputError("names no fields to sample")
            given[name] = {field: _axis(field, value) for field, value in table.items()}
        place = None
        return spec(base, seed=content.get("seed", 1), placed=content.get("placed", False), **given)
    except InputError as error:
        raise InputError(str(error), file=file, place=place) from None


def _read(file: str) -> dict[str, Any]:
    with open(file, "rb") as source:  # noqa: PTH123
        raw = source.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise InputError(f"more than {MAX_BYTES >> 20} MiB for a sweep", file=file)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8: {error}", file=file) from None
    for nr, line in enumerate(text.splitlines(), 1):
        keys = re.sub(r'"[^"]*"|\d\.\d', "", line)
        if max(keys.count("."), keys.count("{"), keys.count("[")) > _MOST_DEEP:
            raise InputError(f"more than {_MOST_DEEP} dots or brackets", file=file, place=f"line {nr}")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an int of too many digits
        raise InputError(f"not TOML: {error}", file=file) from None


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} {value!r} is not a whole number of 1 or more")
    return value


def _axis(name: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if unknown := set(value) - {"min", "max", "scale", "steps"}:
        raise InputError(f"{name}: {sorted(unknown)[0]!r} is none of min, max, scale, steps")
    if not {"min", "max"} <= set(value):
        raise InputError(f"{name}: a range has min and max")
    if value.get("scale", "linear") not in ("linear", "log"):
        raise InputError(f"{name}: scale {value['scale']!r} is neither 'linear' nor 'log'")
    steps = _whole(value["steps"], f"{name}: steps") if "steps" in value else 0
    return Range(value["min"], value["max"], log=value.get("scale") == "log", steps=steps)
