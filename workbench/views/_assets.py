"""What every page that leaves the workbench has: templates, plotly.js, pictures, provenance, a whole file."""

from __future__ import annotations

import atexit
import base64
import contextlib
import datetime
import functools
import gzip
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from workbench.errors import InputError, printable
from workbench.pages import png

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
_STATED = ("page-workbench", "plotly", "numpy", "pandas", "jupyterlab")  # versions in the footer


def template(name: str) -> Any:
    """A template of the package; HTML in what it is given is escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    rooms = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return rooms.get_template(name)


@functools.cache
def plotly_gz() -> bytes:
    """plotly.js as browsers unpack it: gzip."""
    from plotly.offline import get_plotlyjs

    return gzip.compress(get_plotlyjs().encode(), 9, mtime=0)


def plotly_text() -> str:
    """plotly.js, gzipped and in base64: less than half of its plain size."""
    return base64.b64encode(plotly_gz()).decode()


def packed(text: str) -> str:
    """Text as gzip in base64, the same bytes each time."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


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


def picture(figure: Mapping[str, Any], width: int, log: Any = None) -> str:
    """A figure as PNG in base64; empty, and said, where no browser is there to draw it or it fails to.

    All figures of a process are drawn by one browser.
    """
    log = log or sys.stderr
    if not browser(log):
        return ""
    import kaleido

    options = {"format": "png", "width": width, "height": figure["layout"].get("height", 400), "scale": 1}
    try:
        image = kaleido.calc_fig_sync({key: figure[key] for key in ("data", "layout")}, opts=options)
    except Exception as error:  # a browser that died: the figure is there without its picture
        print(f"no PNG of a figure: {printable(str(error), 120)}", file=log)
        return ""
    return base64.b64encode(png.small(image)).decode()


@functools.cache
def browser(log: Any) -> bool:
    """Start the one browser that draws every PNG; False, and said, where there is none."""
    try:
        import kaleido

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "kopts ignored"
            kaleido.start_sync_server()
        atexit.register(kaleido.stop_sync_server)
        return True
    except Exception as error:  # no Chromium, or one that does not start: many kinds of error
        print(f"no PNG beside the figures: {printable(str(error), 120)}", file=log)
        return False


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
