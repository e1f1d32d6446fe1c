"""Imports go down one list of rooms, so that each can be read without the ones after it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench

PACKAGE = Path(workbench.__file__).parent

# Facts, what is described, designs, what they cost, one meeting point, views. A room may import the rooms
# before it; errors, paths, jit, pages and capture come before all.
ROOMS = [
    "errors", "paths", "jit", "pages", "capture", "kernel", "memory", "pfnmaps", "designs", "lookups", "pins",
    "typesafety", "scenario", "sweep", "fleet", "claims", "argument", "figures", "widgets", "share", "render",
    "cli",
]


def room_of(module: str) -> str:
    """``workbench.memory.pfns`` is in the room ``memory``; ``workbench`` itself in none."""
    return [*module.split("."), ""][1]


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
            names = [base]
            if base == "workbench":  # such a name stands for the module it lives in
                names = [workbench._HOME.get(alias.name, f"workbench.{alias.name}") for alias in node.names]
        elif (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
              and node.args and isinstance(node.args[0], ast.Constant)):
            names = [str(node.args[0].value)]
        for name in names:
            if name.split(".")[0] == "workbench" and not name.startswith("workbench.__"):
                yield node.lineno, name


def modules() -> list[tuple[Path, str]]:
    """Every module of the package but ``workbench/__init__.py``, which only names where things live."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != "workbench":
            found.append((path, name))
    return found


@pytest.mark.parametrize(("source", "module", "is_package", "expected"), [
    ("import workbench.cli, json", "workbench.kernel.btf", False, ["workbench.cli"]),
    ("def f():\n    from workbench.memory import pfns", "workbench.kernel.btf", False, ["workbench.memory"]),
    ("from ..memory import pfns", "workbench.kernel.btf", False, ["workbench.memory"]),
    ("from .config import KernelConfig", "workbench.kernel.btf", False, ["workbench.kernel.config"]),
    ("from .config import KernelConfig", "workbench.kernel", True, ["workbench.kernel.config"]),
    ("from ..errors import InputError", "workbench.kernel", True, ["workbench.errors"]),
    ("from workbench import Machine, figures", "workbench.kernel.btf", False,
     ["workbench.memory.machine", "workbench.figures"]),
    ("importlib.import_module('workbench.cli')", "workbench.kernel.btf", False, ["workbench.cli"]),
    ("from workbench import __version__", "workbench.cli", False, []),
])
def test_every_way_to_import_is_seen(source, module, is_package, expected):
    assert [name for _, name in imported_modules(source, module, is_package=is_package)] == expected


def test_every_module_is_in_a_room():
    strange = [name for _, name in modules() if room_of(name) not in ROOMS]
    assert not strange, f"{strange}: give each its place in ROOMS"


def test_imports_go_down_the_list():
    wrong = []
    for path, module in modules():
        own = room_of(module)
        for line, name in imported_modules(path.read_text(), module, is_package=path.name == "__init__.py"):
            other = room_of(name)
            if other not in ROOMS or (own in ROOMS and ROOMS.index(other) > ROOMS.index(own)):
                wrong.append(f"{path.relative_to(PACKAGE.parent)}:{line}: {own} imports {name}")
    assert not wrong, "\n".join(wrong)
