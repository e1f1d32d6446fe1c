"""Numba's njit, its result kept on disk where that may be written. Import it late: it imports Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def jit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: ``njit(cache=True, **options)``, or without the cache where none can be written."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # no cache folder can be written
            return njit(**options)(function)

    return compiled
