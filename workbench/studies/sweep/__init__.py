"""Many scenarios: grids and samples of them, here, in many processes, or on a Dask cluster.

``workbench.sweep`` is this package and its main function at once: ``sweep(base, run_pages=[1, 512])``,
``sweep.tornado(...)``.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from workbench.studies.sweep._analysis import break_even_surface, pareto, sobol, tornado, with_ns
from workbench.studies.sweep._axes import Range, Spec, spec
from workbench.studies.sweep._files import load
from workbench.studies.sweep._run import Done, read, run, sweep

__all__ = ["Done", "Range", "Spec", "break_even_surface", "load", "pareto", "read", "run", "sobol", "spec",
           "sweep", "tornado", "with_ns"]  # fmt: skip


class _Callable(types.ModuleType):
    """A package that is called like its main function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As :func:`workbench.studies.sweep._run.sweep`."""
        return sweep(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
