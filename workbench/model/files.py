"""Where the workbench's own data lies: data/ of the clone, or its copy inside an installed wheel."""

from __future__ import annotations

import os
from pathlib import Path


def data_dir() -> Path:
    """The data folder; ``WORKBENCH_DATA`` overrides it."""
    if override := os.environ.get("WORKBENCH_DATA"):
        return Path(override)
    package = Path(__file__).resolve().parent
    clone = package.parent / "data"
    return clone if clone.is_dir() else package / "_data"
