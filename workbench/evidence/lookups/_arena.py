"""Memory for the structures that are timed: whole pages, huge ones where the system gives them.

A structure that does not fit is refused before it is made: the system would otherwise end the process.
"""

from __future__ import annotations

import contextlib
import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.model.errors import InputError

U64 = NDArray[np.uint64]
LINE_BYTES = 64  # of a cache; x86-64 and most arm64
HUGE_BYTES = 2 << 20
SPARE_BYTES = 256 << 20  # left for the rest of the process; assumed


def available_bytes() -> int | None:
    """Memory that can still be had: MemAvailable, or less where a cgroup limits it; None where unknown."""
    found = []
    if (available := _meminfo("MemAvailable")) is not None:
        found.append(available)
    for folder in _cgroups():
        for limit, usage in (("memory.max", "memory.current"),  # version 2, then version 1
                             ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            top, used = _number(folder / limit), _number(folder / usage)
            if top is not None and used is not None and top < 1 << 60:
                found.append(max(top - used + _inactive_file_bytes(folder), 0))
    return min(found) if found else None


def _meminfo(key: str) -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _cgroups() -> list[Path]:
    """This process's cgroup and those above it, and the root: version 2 and the memory part of version 1."""
    root = Path("/sys/fs/cgroup")
    found = [root, root / "memory"]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers in ("", "memory"):
            folder = root / controllers / name.lstrip("/")
            found += [folder, *(up for up in folder.parents if root in up.parents)]
    return found


def _inactive_file_bytes(folder: Path) -> int:
    """Page cache that a cgroup counts as used and gives back at once."""
    try:
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None


def check_room(nr_bytes: int, what: str) -> None:
    """Refuse what does not fit in available memory."""
    available = available_bytes()
    if available is not None and nr_bytes + SPARE_BYTES > available:
        raise InputError(f"{what} takes {nr_bytes:,} bytes ({nr_bytes / 2**30:.1f} GiB); "
                         f"{available / 2**30:.1f} GiB of memory are available")


def words(nr: int, what: str) -> U64:
    """So many zero words on a page boundary, or a huge page's; the caller fills them.

    Examples
    --------
    >>> a = words(100, "a table")
    >>> int(a.sum()), a.ctypes.data % 4096
    (0, 0)
    """
    nr_bytes = max(nr, 1) * 8
    check_room(nr_bytes, what)
    slack = HUGE_BYTES if nr_bytes >= HUGE_BYTES else 0
    area = mmap.mmap(-1, nr_bytes + slack, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared: no huge pages
    if slack and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            area.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(area, np.uint64)
    skip = -whole.ctypes.data % HUGE_BYTES // 8 if slack else 0
    return whole[skip:skip + nr]


def huge_bytes() -> int:
    """Bytes of this process in transparent huge pages."""
    try:
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
            if line.startswith("AnonHugePages:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0
