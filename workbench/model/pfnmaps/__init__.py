"""Auxiliary pfn maps. Each file here that defines a PfnMap subclass is one; nothing else to register.

A map counts its nodes and bytes for a set of pfns, and says, where its rules decide it, what one lookup reads
(``walks.py``).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil

from workbench.model.errors import InputError, unknown
from workbench.model.pfnmaps import ops
from workbench.model.pfnmaps.base import MapCounts, PfnMap

__all__ = ["MapCounts", "PfnMap", "get", "ops", "registry"]


@functools.cache
def registry() -> dict[str, PfnMap]:
    """Every pfn map by name, in the order of the names of their files."""
    found = {}
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, PfnMap) and cls.__module__ == module.__name__ and not inspect.isabstract(cls):
                found[cls.name] = cls()
    return found


def get(name: str) -> PfnMap:
    """The pfn map of that name; an unknown name is an InputError that lists the known ones."""
    try:
        return registry()[name]
    except KeyError:
        raise InputError(unknown("pfn map", name, registry())) from None
