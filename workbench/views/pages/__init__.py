"""Notebooks executed, made reproducible, and turned into pages that need no kernel and no network.

``workbench render`` executes every notebook in a temporary copy and writes ``site/``: an index and
one self-contained page for each notebook. ``--in-place`` executes the notebooks where they are and normalises
them: counted ids, no widget state, no timings, and beside each interactive figure a PNG, so that a code host
shows them and a second run writes the same bytes. ``--gallery`` takes the README's pictures from them.

Controls need a kernel, so pages show figures instead of them and say where the controls are. What appears in
the output folder is complete: it is written beside it and takes its place in one step.
"""

from workbench.views._words import answer, contents, question, title
from workbench.views.pages._run import (
    PLOTLY,
    WIDGET,
    RenderError,
    Run,
    add_pictures,
    execute,
    in_place,
    normalise,
    notebooks,
    read,
    runs,
    text_of,
)
from workbench.views.pages._site import page, provenance, publish, site

__all__ = [
    "PLOTLY",
    "WIDGET",
    "RenderError",
    "Run",
    "add_pictures",
    "answer",
    "contents",
    "execute",
    "in_place",
    "normalise",
    "notebooks",
    "page",
    "provenance",
    "publish",
    "question",
    "read",
    "runs",
    "site",
    "text_of",
    "title",
]
