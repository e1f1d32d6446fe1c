"""What every page that leaves the workbench has: templates, plotly.js, pictures."""

from __future__ import annotations

import atexit
import base64
import functools
import gzip
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.model.errors import printable
from workbench.studies.argument import _document as argument
from workbench.views import _png as png

TEMPLATES = Path(__file__).with_name("templates")
_BASE = argument.TEMPLATES  # the layout that argument and every page share


def template(name: str) -> Any:
    """A template of the package; HTML in what it is given is escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader([TEMPLATES, _BASE])
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
