"""The C twin of the XArray walk: compiled from xa_walk.c where there is a C compiler, called by ctypes."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SOURCE = Path(__file__).with_suffix(".c")
SHARED = ("-fPIC", "-shared")


def compiler() -> str | None:
    """The C compiler: what ``CC`` names, or ``cc``; None where there is none."""
    return shutil.which(os.environ.get("CC") or "cc")


def build(folder: Path, *flags: str) -> Path:
    """Compile the twin into that folder, with the kernel's -O2; a failure is a RuntimeError."""
    cc = compiler()
    if cc is None:
        raise RuntimeError("no C compiler (cc) on PATH")
    target = folder / "xa_walk"
    command = [cc, "-O2", *flags, "-o", str(target), str(SOURCE)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{cc} failed: {run.stderr.strip().splitlines()[:1]}")
    return target


def functions(folder: Path) -> dict[str, Callable[..., int]]:
    """The twin's loops by name, called as those of the lookups' ``_loops``: ``(keys, z, arena, head)``."""
    loaded = ctypes.CDLL(str(build(folder, *SHARED)))
    return {name: _wrapped(getattr(loaded, name)) for name in ("dependent", "independent", "out_of_line")}


def instructions(program: Path, height: int, nr: int = 1000) -> float:
    """Instructions of one out-of-line lookup in a tree of that height, by callgrind.

    ``program`` is :func:`build` with ``-DWITH_MAIN``.
    """
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=xa_walk",
         str(program), str(height), str(nr)], capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not found:
        raise RuntimeError(f"valgrind failed: {run.stderr.strip().splitlines()[-1:]}")
    return int(found[1]) / nr


def _wrapped(function: ctypes._NamedFuncPointer) -> Callable[..., int]:
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64]

    def loop(keys: NDArray[np.uint64], z: int | None, a: NDArray[np.uint64], head: int) -> int:
        return function(keys.ctypes.data, keys.size, int(z or 0), a.ctypes.data, int(head))
    return loop
