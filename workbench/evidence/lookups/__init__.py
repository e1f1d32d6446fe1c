"""What a lookup costs in nanoseconds: timed loops over real structures, and tables of what they took.

Times belong to one machine and one day; counts are in ``pfnmaps`` and ``designs``, and the two meet in
``scenario/``. To measure a table of this machine: ``workbench measure --full -o FILE.json``.

==============  =============================================================================================
``costs``       cost tables: files, interpolation, the shipped reference rows of the kernel's own functions
``paths``       which timed path a design's page_to_pfn and pfn_to_page take
``host``        CPU, caches, versions, pinning to one CPU
``arena``       memory for the structures
``structures``  pfn maps as they lie in memory, with counted loads and lines
``loops``       the loops that are timed
``subjects``    what can be timed: keys, expected results, mixes of static and dynamic pages
``measure``     interleaved passes, their spread, what makes a row unusable
``model``       nanoseconds from counts and the latency curve, with the error of that
``table``       what a whole cost table holds
==============  =============================================================================================

``costs``, ``paths``, ``host`` and ``model`` need no Numba; import the others late.
"""

from __future__ import annotations

import importlib.util
from typing import Any


def __getattr__(name: str) -> Any:
    """A module of this package, imported when it is first used."""
    if name.startswith("_") or importlib.util.find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
