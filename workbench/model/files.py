"""Where the workbench's own data lies, and how a file is written: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import workbench
from workbench.model.errors import InputError


def data_dir() -> Path:
    """data/ of the clone, or its copy inside an installed wheel; ``WORKBENCH_DATA`` overrides it."""
    if override := os.environ.get("WORKBENCH_DATA"):
        return Path(override)
    package = Path(workbench.__file__).resolve().parent
    clone = package.parent / "data"
    return clone if clone.is_dir() else package / "_data"


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """All of the text, or the file as it was before."""
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        part = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(text)
            part.chmod(0o644)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=path) from None
