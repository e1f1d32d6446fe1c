"""A workbench for arguing about how the Linux kernel should describe pages.

The names below are the notebooks' vocabulary. Each is imported when it is first used, so that
``import workbench`` itself stays fast and pulls in neither pandas nor plotly.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Argument": "workbench.argument",
    "KernelConfig": "workbench.kernel.config",
    "Struct": "workbench.kernel.structs",
    "PfnSet": "workbench.memory.pfns",
    "Machine": "workbench.memory.machine",
    "load_capture": "workbench.memory.capture",
    "load_trace": "workbench.pins.trace",
    "replay": "workbench.pins.replay",
    "Scenario": "workbench.scenario",
    "evaluate": "workbench.scenario",
    "break_even": "workbench.scenario",
    "compare": "workbench.scenario",
    "InputError": "workbench.errors",
}
_MODULES = {"argument", "claims", "pfnmaps", "designs", "figures", "widgets", "kernel", "memory", "pins",
            "scenario", "sweep", "fleet", "typesafety"}

__all__ = [
    "Argument",
    "InputError",
    "KernelConfig",
    "Machine",
    "PfnSet",
    "Scenario",
    "Struct",
    "argument",
    "break_even",
    "claims",
    "compare",
    "designs",
    "evaluate",
    "figures",
    "fleet",
    "load_capture",
    "load_trace",
    "pfnmaps",
    "pins",
    "replay",
    "sweep",
    "typesafety",
    "widgets",
]

if TYPE_CHECKING:
    from workbench.argument import Argument
    from workbench.errors import InputError
    from workbench.kernel.config import KernelConfig
    from workbench.kernel.structs import Struct
    from workbench.memory.capture import load_capture
    from workbench.memory.machine import Machine
    from workbench.memory.pfns import PfnSet
    from workbench.pins.replay import replay
    from workbench.pins.trace import load_trace
    from workbench.scenario import Scenario, break_even, compare, evaluate
    from workbench.sweep import sweep


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"workbench.{name}")
    else:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
