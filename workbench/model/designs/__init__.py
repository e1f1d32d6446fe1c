"""Ways to describe pages. Each file here that defines a Design subclass is one; nothing else to register.

To add one, copy ``foll_pin.py`` (the shortest), give it a name, and fill in its structs, paths and
footprint. It then shows up in every table, figure, widget and notebook, and on the command line.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil

from workbench.model.designs.base import VMEMMAP_PATHS, Design, Footprint, Path, Step
from workbench.model.errors import InputError, unknown

__all__ = ["VMEMMAP_PATHS", "Design", "Footprint", "Path", "Step", "get", "names", "registry"]


@functools.cache
def registry() -> dict[str, Design]:
    """Every design by name, its variants (``dynamic_page:range``) after it, in the designs' own order."""
    classes = []
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        classes += [
            cls
            for _, cls in inspect.getmembers(module, inspect.isclass)
            if issubclass(cls, Design)
            and cls.__module__ == module.__name__
            and not inspect.isabstract(cls)
            and hasattr(cls, "name")
        ]
    found: dict[str, Design] = {}
    for cls in sorted(classes, key=lambda cls: (cls.order, cls.name)):
        found[cls.name] = cls()
        for variant in cls.variants:
            found[f"{cls.name}:{variant}"] = cls(variant)
    return found


def names(*, variants: bool = False) -> list[str]:
    """The designs' names, with or without their variants."""
    return [name for name in registry() if variants or ":" not in name]


def get(name: str) -> Design:
    """The design of that name; an unknown name is an InputError that lists the known ones."""
    try:
        return registry()[name]
    except KeyError:
        raise InputError(unknown("design", name, registry())) from None
