"""What a reader needs in order to judge and repeat a page."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

_STATED = ("page-workbench", "plotly", "numpy", "pandas", "jupyterlab")  # versions in the footer


def provenance(folder: Path, again: str, *, notebook: str = "", seconds: float | None = None,
               alone: str = "") -> dict[str, str]:
    """What a reader needs in order to judge and repeat a page; what is not known is ``""``.

    Commit, date, versions, machine and command; of a notebook also its name, how to run it alone, and how
    long it ran. With SOURCE_DATE_EPOCH the date is that, and the run time is left out: the same bytes again.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    at = datetime.datetime.fromtimestamp(int(epoch or time.time()), datetime.UTC)
    versions = [f"{name} {metadata.version(name)}" for name in _STATED]
    return {
        "notebook": notebook, "took": "" if seconds is None or epoch else f"{seconds:.0f} s",
        "commit": _commit(folder), "date": at.strftime("%Y-%m-%d %H:%M UTC"),
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
        "machine": f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} CPUs",
        "again": again, "alone": alone,
    }


def _commit(folder: Path) -> str:
    def git(*args: str) -> str:
        ran = subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True)
        return ran.stdout.strip()

    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        changed = ", with changes not committed" if git("status", "--porcelain", "-uno") else ""
        return git("rev-parse", "--short=12", "HEAD") + changed
    return "not in a git clone"
