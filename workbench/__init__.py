"""A workbench for arguing about how the Linux kernel should describe pages.

The names below are the notebooks' vocabulary. Each is imported when it is first used, so that
``import workbench`` itself stays fast and pulls in neither pandas nor plotly.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__path__.append(f"{__path__[0]}/cli/old")  # `python -m workbench.lookups` says where it went

_HOME = {  # where each name lives
    "Argument": "workbench.studies.argument",
    "CostTable": "workbench.evidence.lookups.costs",
    "KernelConfig": "workbench.model.kernel.config",
    "Machine": "workbench.model.memory.machine",
    "PfnSet": "workbench.model.memory.pfns",
    "Scenario": "workbench.model.scenario",
    "Struct": "workbench.model.kernel.structs",
    "compare": "workbench.model.scenario",
    "evaluate": "workbench.model.scenario",
    "replay": "workbench.evidence.pins.replay",
    "share": "workbench.views.pages.share",
    "versus": "workbench.studies.versus",
}
_MODULES = {
    "designs": "workbench.model.designs",
    "explorers": "workbench.views.explorers",
    "figures": "workbench.views.figures",
    "pfnmaps": "workbench.model.pfnmaps",
    "studies": "workbench.studies",
    "sweep": "workbench.studies.sweep",
}
__all__ = sorted([*_HOME, *_MODULES])
# What other people's scripts import from earlier versions: still here, not shown.
_OLD = {
    "InputError": "workbench.model.errors",
    "break_even": "workbench.model.scenario",
    "load_capture": "workbench.model.memory.capture",
    "load_trace": "workbench.evidence.pins.trace",
}
_OLD_MODULES = {
    "argument": "workbench.studies.argument",
    "claims": "workbench.studies.claims",
    "fleet": "workbench.studies.fleet",
    "kernel": "workbench.model.kernel",
    "memory": "workbench.model.memory",
    "pins": "workbench.evidence.pins",
    "scenario": "workbench.model.scenario",
    "typesafety": "workbench.evidence.typesafety",
    "widgets": "workbench.views.explorers",
}

if TYPE_CHECKING:
    from workbench import studies
    from workbench.evidence.lookups.costs import CostTable
    from workbench.evidence.pins.replay import replay
    from workbench.model import designs, pfnmaps
    from workbench.model.kernel.config import KernelConfig
    from workbench.model.kernel.structs import Struct
    from workbench.model.memory.machine import Machine
    from workbench.model.memory.pfns import PfnSet
    from workbench.model.scenario import Scenario, compare, evaluate
    from workbench.studies import sweep
    from workbench.studies.argument import Argument
    from workbench.studies.versus import versus
    from workbench.views import explorers, figures
    from workbench.views.pages.share import share


def __getattr__(name: str) -> Any:
    if home := (_HOME | _OLD).get(name):
        value = getattr(importlib.import_module(home), name)
    elif home := (_MODULES | _OLD_MODULES).get(name):
        value = importlib.import_module(home)
    else:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
