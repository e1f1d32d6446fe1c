"""A notebook as one self-contained page, and the site: an index and a page for each notebook.

A page holds one copy of plotly.js, its figures as gzipped JSON, and a PNG of each that stands in until they
are drawn, for good without JavaScript, and on paper. It asks for nothing else; a Content-Security-Policy
makes sure, and lets no script run but the page's own. The notebook to download is in the page once, without
its figures: the page's script puts them back on a click. Markup in outputs is trusted as the code that wrote
it is, up to that policy; elements that load, lead away or submit are shown as text.
"""

from __future__ import annotations

import base64
import copy
import ctypes
import functools
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.model.errors import InputError
from workbench.studies.provenance import provenance as stated
from workbench.views import _png as png
from workbench.views._assets import packed, plotly_text, template
from workbench.views._words import _plain, answer, question, title
from workbench.views.pages import _explorers as explorers
from workbench.views.pages import _gallery as gallery
from workbench.views.pages._run import JOBS, PLOTLY, Run, runs

MAX_BYTES = 4_000_000  # a page is small enough to mail; chosen
_LEAD = 420  # characters of an answer that the index shows at once; chosen
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Nothing that loads, leads away, submits, or makes text of the rest of the page.
_ACTIVE = re.compile(r"<(?=/?(?:script|meta|base|link|iframe|frame|frameset|object|embed|form|"
                     r"noscript|template|textarea|title|xmp|plaintext|noembed|noframes|body|html|head)\b"
                     r"|!--|\?)", re.I)
_NUMBER = re.compile(r"<td>\s*(?:[-+]?[\d.,]+(?:e[-+]?\d+)?(?:\s?[%\w/]{1,6})?|nan|none|-?inf|)\s*</td>",
                     re.I)
_STYLE = re.compile(r"<(?=/?style\b)", re.I)  # a table may bring its own, text may not


def site(paths: Sequence[Path], folder: Path, *, jobs: int = JOBS, with_explorers: bool = False,
         log: Any = sys.stderr) -> list[Path]:
    """Execute notebooks and write ``folder``: index.html and one page each. Returns the pages.

    ``with_explorers`` adds a page for each explorer, with controls that work.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file, not the folder to write the site to", file=folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "index.html").is_file():
        raise InputError("holds something else than a site; name an empty or new folder", file=folder)
    more = functools.partial(explorers.write, jobs=jobs, log=log) if with_explorers else None
    return publish(list(runs(paths, jobs=jobs, log=log)), folder, more)


def publish(done: Sequence[Run], folder: Path,
            more: Callable[[Path], list[dict[str, str]]] | None = None) -> list[Path]:
    """Write the pages beside ``folder``, then let them take its place: never half of a site, or none.

    ``more`` writes other pages into the folder that it is given, and says what the index has to of them.
    """
    entries = [entry(run.path, run.notebook) for run in done]
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    new = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        new.mkdir()
        for run in done:
            text = page(run.path, run.notebook, entries, seconds=run.seconds)
            (new / f"{run.path.stem}.html").write_text(text, encoding="utf-8")
        index = _index(entries, more(new) if more else [])
        (new / "index.html").write_text(index, encoding="utf-8")
        _take_place(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return [folder / f"{run.path.stem}.html" for run in done]


def _take_place(new: Path, old: Path) -> None:
    """Exchange two folders in one step, or in two where the file system knows no better."""
    if not old.exists():
        new.rename(old)
        return
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc 2.28
    here, both = -100, 2  # AT_FDCWD (fcntl.h), RENAME_EXCHANGE (linux/fs.h)
    if exchange and exchange(here, os.fsencode(new), here, os.fsencode(old), both) == 0:
        return
    aside = new.with_name(f"{new.name}.old")
    old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)


def _clear(folder: Path) -> None:
    """Remove what killed runs left beside a site."""
    for left in folder.parent.glob(f".{folder.name}.*.part"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)


def entry(path: Path, notebook: Any) -> dict[str, str]:
    """What the index and every page's navigation say of a notebook."""
    shown = gallery.picture(notebook)
    blocks = re.split(r"\n\s*\n|\n(?=[*-] )", answer(notebook))
    kept = 3 if blocks[0].endswith(":") else 1  # a list that is announced begins
    while kept < len(blocks) and sum(map(len, blocks[: kept + 1])) <= _LEAD:
        kept += 1
    return {
        "href": f"{quote(path.stem)}.html", "name": path.stem.replace("_", " "), "title": title(notebook),
        "about": question(notebook), "lead": _html(_joined(blocks[:kept])),
        "rest": _html(_joined(blocks[kept:])),
        "picture": base64.b64encode(png.small(shown[0])).decode() if shown else "",
    }


def _joined(blocks: Sequence[str]) -> str:
    return re.sub(r"\n\n(?=[*-] )", "\n", "\n\n".join(blocks))


def page(path: Path, notebook: Any, contents: Sequence[dict[str, str]] = (), *,
         seconds: float | None = None) -> str:
    """One notebook as one self-contained HTML page, with the notebook itself in it."""
    import nbformat

    figures = [out.data[PLOTLY] for cell in notebook.cells for out in cell.get("outputs", ())
               if PLOTLY in out.get("data", {})]
    return template("page.html").render(
        title=title(notebook), about=question(notebook), stem=path.stem, href=f"{quote(path.stem)}.html",
        cells=[_cell(place, cell) for place, cell in enumerate(notebook.cells)], contents=contents,
        nonce=_nonce(nbformat.writes(notebook)), footer=provenance(path, seconds=seconds),
        plotly=plotly_text() if figures else "", figures=packed(json.dumps(figures, separators=(",", ":"))),
        notebook=base64.b64encode(nbformat.writes(_without_figures(notebook)).encode()).decode())


def _index(contents: Sequence[dict[str, str]], explored: Sequence[dict[str, str]]) -> str:
    nonce = _nonce(json.dumps([*contents, *explored]))
    return template("index.html").render(contents=contents, explorers=explored, nonce=nonce,
                                         footer=provenance(None))


def _nonce(content: str) -> str:
    """The same for the same page, and unknown to whatever is in it."""
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def _without_figures(notebook: Any) -> Any:
    """The notebook as it is in its page; figures.js puts the figures back."""
    bare = copy.deepcopy(notebook)
    for cell in bare.cells:
        for out in cell.get("outputs", ()):
            if PLOTLY in out.get("data", {}):
                out["data"] = {"text/plain": out.data.get("text/plain", "figure")}
    return bare


def _cell(place: int, cell: Any) -> dict[str, Any]:
    """A cell as the template wants it: its kind, its source as HTML, its outputs as parts."""
    from nbconvert.filters import Highlight2HTML

    if cell.cell_type == "markdown":
        return {"source": "", "parts": [{"kind": "html", "html": _html(cell.source)}]}
    if cell.cell_type != "code":
        return {"source": "", "parts": []}
    source = Highlight2HTML()(_CONTROL.sub("", cell.source)) if cell.source.strip() else ""
    return {"source": source, "parts": [_part(out, f"{place},{at}") for at, out in enumerate(cell.outputs)]}


def _part(out: Any, at: str) -> dict[str, Any]:
    if out.output_type == "stream":
        return {"kind": "html", "html": _text(out.text)}
    data = out.get("data", {})
    picture = data.get("image/png", "").replace("\n", "")
    if not re.fullmatch(r"[\w+/=]*", picture):
        picture = ""
    if PLOTLY in data:
        layout = data[PLOTLY].get("layout", {})
        return {"kind": "figure", "png": picture, "at": at, "height": int(layout.get("height", 450)),
                "alt": layout.get("meta", {}).get("alt", "figure")}
    if picture:
        return {"kind": "image", "png": picture, "alt": _plain(str(data.get("text/plain", "picture")))[:200]}
    if "text/html" in data:
        return {"kind": "html", "html": _aligned(_inert(data["text/html"]))}
    if "text/markdown" in data:
        return {"kind": "html", "html": _html(data["text/markdown"])}
    return {"kind": "html", "html": _text(data.get("text/plain", ""))}


def _aligned(text: str) -> str:
    """A DataFrame's columns of words get a class of their own, so that only numbers stand at the right."""

    def table(found: re.Match[str]) -> str:
        rows = [re.split(r"(?=<t[hd]\b)", row) for row in re.split(r"(?=<tr\b)", found[0])]
        wide = max(sum(cell.startswith("<td>") for cell in row) for row in rows)
        body = [row[-wide:] for row in rows if sum(cell.startswith("<td>") for cell in row) == wide]
        words = {at for row in body for at, cell in enumerate(row) if wide and not _NUMBER.match(cell)}
        for row in rows:
            if len(row) > wide and not any("colspan" in cell for cell in row):
                for at in words:
                    row[at - wide] = re.sub(r"^<(t[hd])>", r'<\1 class="words">', row[at - wide])
        return "".join("".join(row) for row in rows)

    return re.sub(r'<table[^>]*class="dataframe".*?</table>', table, text, flags=re.DOTALL)


def _text(text: str) -> str:
    """What a program printed: its colours stay, its other control characters go."""
    from nbconvert.filters import ansi2html

    return f"<pre>{_CONTROL.sub('', ansi2html(text))}</pre>"


def _html(markdown: str) -> str:
    """Markdown as HTML; links between notebooks become links between pages, heading marks go."""
    from nbconvert.filters import markdown2html

    text = re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html(markdown))
    return _STYLE.sub("&lt;", _inert(re.sub(r'href="([\w-]+)\.ipynb', r'href="\1.html', text)))


def _inert(text: str) -> str:
    """Markup that formats stays; elements that load, lead away, submit or swallow the page become text."""
    return _ACTIVE.sub("&lt;", _CONTROL.sub("", text))


def provenance(path: Path | None, *, seconds: float | None = None) -> dict[str, str]:
    """A page's provenance: of a notebook, or (None) of the index."""
    name = f"notebooks/{path.name}" if path else ""
    alone = f".venv/bin/workbench render {name}" if path else ""
    folder = path.parent if path else Path.cwd()
    return stated(folder, "make render", notebook=name, seconds=seconds, alone=alone)
