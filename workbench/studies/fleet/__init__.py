"""Fleets: many captures at once, and how the savings of each design are distributed over their machines.

``workbench.studies.fleet`` is this package and its main function at once: ``fleet("captures/")``,
``fleet.summary(...)``, ``fleet.generate(...)``.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from workbench.studies.fleet._answers import Options, Seen, look
from workbench.studies.fleet._captures import Found, find
from workbench.studies.fleet._generator import generate
from workbench.studies.fleet._run import GROUPS, QUANTILES, Done, fleet, read, summary

__all__ = [
    "GROUPS",
    "QUANTILES",
    "Done",
    "Found",
    "Options",
    "Seen",
    "find",
    "fleet",
    "generate",
    "look",
    "read",
    "summary",
]


class _Callable(types.ModuleType):
    """A package that is called like its main function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As :func:`workbench.studies.fleet._run.fleet`."""
        return fleet(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
