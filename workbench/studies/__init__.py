"""The studies: questions put to the model and the evidence, one file or package each.

``from workbench import studies``, then ``studies.claims.recompute()``: each is imported when it is first
used, and so is the evidence that they rest on (``pins``, ``mistakes``, ``callsites``, ``lookups``).
"""

from __future__ import annotations

import importlib
from typing import Any

_EVIDENCE = {
    "capture": "workbench.capture",
    "captures": "workbench.model.memory.capture",
    "callsites": "workbench.evidence.typesafety.callsites",
    "conversion": "workbench.evidence.typesafety.conversion",
    "lookups": "workbench.evidence.lookups",
    "maps": "workbench.model.pfnmaps.compare",
    "memdescs": "workbench.model.designs.memdesc",
    "mistakes": "workbench.evidence.typesafety.matrix",
    "mistake_classes": "workbench.evidence.typesafety.mistakes",
    "page_mixes": "workbench.model.memory.pagemix",
    "page_flags": "workbench.model.memory.pageflags",
    "pages": "workbench.model.memory.pages",
    "pfns": "workbench.model.memory.pfns",
    "pins": "workbench.evidence.pins",
    "scenario_files": "workbench.model.scenario.files",
}
_STUDIES = ("answers", "argument", "calls", "claims", "fleet", "sweep", "times", "versus", "walk")


def __getattr__(name: str) -> Any:
    if name not in _EVIDENCE and name not in _STUDIES:
        raise AttributeError(f"studies has no {name!r}; it has {', '.join(__dir__())}")
    return importlib.import_module(_EVIDENCE.get(name, f"workbench.studies.{name}"))


def __dir__() -> list[str]:
    return sorted([*_EVIDENCE, *_STUDIES])
