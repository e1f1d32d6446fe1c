"""What machine this is: CPU, caches, versions, load. No host name, so that a table can be shown."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from workbench import __version__

CACHE_DIR = Path("/sys/devices/system/cpu/cpu0/cache")
LLC_BYTES = 32 << 20  # where the system does not say; assumed


def cpu_model() -> str:
    """As /proc/cpuinfo names it; the architecture where it does not."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "cpu\t", "uarch")):
                return line.split(":", 1)[1].strip()
    return platform.machine() or "unknown"


def caches(folder: Path = CACHE_DIR) -> tuple[dict[str, Any], ...]:
    """The caches of CPU 0 by level and type; empty where the system does not say.

    A virtual machine shows what its host wants it to; the part of the last level that one may really use is
    seen only in the measured curve.
    """
    found = []
    for index in sorted(folder.glob("index[0-9]*")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            size = (index / "size").read_text().strip()
            found.append({
                "level": int((index / "level").read_text()), "type": (index / "type").read_text().strip(),
                "size_bytes": int(size.rstrip("KMG")) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[size[-1]],
                "line_bytes": int((index / "coherency_line_size").read_text()),
                "shared_by": (index / "shared_cpu_list").read_text().strip()})
    return tuple(found)


def last_level_bytes() -> int:
    """Nominal size of the last-level cache."""
    return max((cache["size_bytes"] for cache in caches()), default=LLC_BYTES)


def machine() -> str:
    """In words."""
    memory = ""
    with contextlib.suppress(OSError, ValueError, IndexError):
        kb = int(Path("/proc/meminfo").read_text().split(maxsplit=2)[1])
        memory = f", {kb / 2**20:.0f} GiB"
    return f"{cpu_model()}, {os.cpu_count()} CPUs{memory}"


def versions() -> dict[str, str]:
    """Of what has a part in the numbers."""
    return {"workbench": __version__, "python": platform.python_version(), "numba": metadata.version("numba"),
            "llvmlite": metadata.version("llvmlite"), "numpy": metadata.version("numpy"),
            "kernel": f"{platform.system()} {platform.release()}"}


def now() -> str:
    """ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def load() -> float | None:
    """Load average over a minute; None where there is none."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


@contextlib.contextmanager
def pinned() -> Iterator[int | None]:
    """Stay on one CPU, the last of those allowed; gives None where the system does not let one choose."""
    try:
        before = os.sched_getaffinity(0)
        cpu = max(before)
        os.sched_setaffinity(0, {cpu})
    except (AttributeError, OSError, ValueError):
        yield None
        return
    try:
        yield cpu
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, before)
