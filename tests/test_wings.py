"""Imports go down one list of wings and rooms, and in no circle."""

from __future__ import annotations

import ast
import functools
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench

PACKAGE = Path(workbench.__file__).parent

# A module may import what is in the wings before its own, and in its own wing the rooms before its own.
WINGS = {
    "capture": [],
    "model": ["errors", "files", "units", "kernel", "memory", "pfnmaps", "designs", "scenario"],
    "evidence": ["_jit", "lookups", "pins", "typesafety"],
    "studies": ["provenance", "calls", "times", "versus", "walk", "_engines", "_store", "sweep", "fleet",
                "claims", "argument", "answers"],
    "views": ["_png", "_assets", "_words", "figures", "explorers", "pages"],
    "cli": [],
}
ORDER = {f"{wing}.{room}".rstrip("."): (at, nr) for at, (wing, rooms) in enumerate(WINGS.items())
         for nr, room in enumerate(["", *rooms])}


def room_of(module: str) -> str:
    """``workbench.model.memory.pfns`` is in ``model.memory``, ``workbench.cli.render`` in ``cli``."""
    _, wing, room, *_ = [*module.split("."), "", ""]
    return f"{wing}.{room}" if room and WINGS.get(wing) else wing


def imported_modules(source: str, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and name of each workbench module that a source imports, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = node.level - is_package  # a package is its own first level
                parents = module.split(".")[: -above or None]
                base = ".".join([*parents, base]).rstrip(".")
            names = [_meant(base, alias.name) for alias in node.names]
        elif (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
              and node.args and isinstance(node.args[0], ast.Constant)):
            names = [str(node.args[0].value)]
        for name in names:
            if name.startswith("workbench.") and not name.startswith("workbench.__"):
                yield node.lineno, name


def _meant(base: str, name: str) -> str:
    """The module that ``from base import name`` reads: the front door's homes, a submodule, or base."""
    if base == "workbench":
        return {**workbench._HOME, **workbench._MODULES}.get(name, f"workbench.{name}")
    return f"{base}.{name}" if f"{base}.{name}" in {module for _, module in modules()} else base


@functools.cache
def modules() -> list[tuple[Path, str]]:
    """Every module of the package but ``workbench/__init__.py``, which only names where things live."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != "workbench":
            found.append((path, name))
    return found


BTF = "workbench.model.kernel._btf"


@pytest.mark.parametrize(("source", "module", "is_package", "expected"), [
    ("import workbench.cli, json", BTF, False, ["workbench.cli"]),
    ("def f():\n    from workbench.model.memory import pfns", BTF, False, ["workbench.model.memory.pfns"]),
    ("from workbench.model.errors import InputError", BTF, False, ["workbench.model.errors"]),
    ("from ..memory import pfns", BTF, False, ["workbench.model.memory.pfns"]),
    ("from .config import KernelConfig", BTF, False, ["workbench.model.kernel.config"]),
    ("from .config import KernelConfig", "workbench.model.kernel", True, ["workbench.model.kernel.config"]),
    ("from ..errors import InputError", "workbench.model.kernel", True, ["workbench.model.errors"]),
    ("from workbench import Machine, figures", BTF, False,
     ["workbench.model.memory.machine", "workbench.views.figures"]),
    ("importlib.import_module('workbench.cli')", BTF, False, ["workbench.cli"]),
    ("from workbench import __version__", "workbench.cli", False, []),
])
def test_every_way_to_import_is_seen(source, module, is_package, expected):
    assert [name for _, name in imported_modules(source, module, is_package=is_package)] == expected


def test_every_module_is_in_a_room():
    strange = [name for _, name in modules() if room_of(name) not in ORDER]
    assert not strange, f"{strange}: give each its place in WINGS"


def imports() -> Iterator[tuple[str, str, str]]:
    """Where, the importing module, the imported one."""
    for path, module in modules():
        for line, name in imported_modules(path.read_text(), module, is_package=path.name == "__init__.py"):
            yield f"{path.relative_to(PACKAGE.parent)}:{line}", module, name


def test_imports_go_down_the_list():
    print("wings, each may import those before it: " + ", ".join(WINGS))
    wrong = [f"{where}: {room_of(module)} imports {name}" for where, module, name in imports()
             if ORDER.get(room_of(name), (len(WINGS), 0)) > ORDER[room_of(module)]]
    assert not wrong, "\n".join(wrong)


def test_no_circle_of_imports():
    graph: dict[str, set[str]] = {}
    for _, module, name in imports():
        if module != name:
            graph.setdefault(module, set()).add(name)
    graphlib.TopologicalSorter(graph).prepare()  # a CycleError names the circle
