"""Notebooks executed, made reproducible, and turned into pages that need no kernel and no network.

``python -m workbench.render`` executes every notebook in a temporary copy and writes ``site/``: an index and
one self-contained page for each notebook. ``python -m workbench.render --in-place`` executes the notebooks
where they are and normalises them: counted ids, no widget state, no timings, and beside each interactive
figure a PNG, so that a code host shows them and a second run writes the same bytes.

A page holds one copy of plotly.js and asks for nothing else (a Content-Security-Policy makes sure). Controls
need a kernel, so pages show figures instead of them and say where the controls are. What appears in the
output folder is complete: it is written beside it and renamed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import datetime
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from workbench.errors import InputError, printable

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
CELL_SECONDS = 300  # one cell may take this long
TEMPLATES = Path(__file__).with_name("templates")
_STATED = ("page-workbench", "plotly", "numpy", "pandas", "jupyterlab")  # versions in the footer


class RenderError(Exception):
    """A notebook that did not run: its name, the cell and the error, on one line."""


def notebooks(folder: Path) -> list[Path]:
    """The notebooks of a folder, by name; none is an InputError."""
    found = sorted(path for path in folder.glob("*.ipynb") if not path.name.startswith("."))
    if not found:
        raise InputError("no notebook (*.ipynb) here", file=folder)
    return found


def read(path: Path) -> Any:
    """A notebook as nbformat 4; anything else is an InputError."""
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing cell ids: normalise() counts them anyway
            return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises whatever its parser raised
        raise InputError(f"not a notebook: {type(error).__name__}: {error}", file=path) from None


def execute(path: Path) -> Any:
    """Run a notebook on a fresh kernel, among copies of its siblings, and return it with outputs."""
    import nbclient

    notebook = read(path)
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder, _environment(WORKBENCH_BATCH="1"):
        for sibling in path.parent.glob("*.ipynb"):
            shutil.copy2(sibling, folder)
        client = nbclient.NotebookClient(
            notebook, timeout=CELL_SECONDS, kernel_name="python3", record_timing=False,
            store_widget_state=False, resources={"metadata": {"path": folder}},
            extra_arguments=["--IPKernelApp.log_level=ERROR"])
        try:
            client.execute()
        except (nbclient.exceptions.CellExecutionError, nbclient.exceptions.CellTimeoutError,
                nbclient.exceptions.DeadKernelError) as error:
            raise RenderError(f"{path.name}, {_where(notebook)}: {_what(notebook, error)}") from None
    return notebook


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _where(notebook: Any) -> str:
    """The cell that stopped the run: the one with an error, else the first without a count."""
    code = [(place, cell) for place, cell in enumerate(notebook.cells, 1) if cell.cell_type == "code"]
    failed = [at for at, cell in code if any(out.output_type == "error" for out in cell.outputs)]
    running = [at for at, cell in code if cell.execution_count is None and cell.source.strip()]
    return f"cell {(failed or running or [len(notebook.cells)])[0]}"


def _what(notebook: Any, error: Exception) -> str:
    for cell in notebook.cells:
        for out in cell.get("outputs", ()):
            if out.output_type == "error":
                return printable(f"{out.ename}: {out.evalue}")
    return printable(f"{type(error).__name__}: {error}".strip().splitlines()[0])


def normalise(notebook: Any) -> Any:
    """Drop what differs from run to run or belongs to one front end; the same input gives the same bytes.

    Ids become counters, widget views a line that says where they live, streams one block each. Outputs,
    sources and tags stay. Idempotent.
    """
    names: dict[str, str] = {}
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{place:02d}"
        cell["metadata"] = {k: cell.metadata[k] for k in ("tags",) if cell.metadata.get(k)}
        if cell.cell_type != "code":
            continue
        cell["outputs"] = [kept for out in cell.outputs for kept in _normal_output(out)]
        cell["execution_count"] = None
        for out in cell.outputs:
            if "execution_count" in out:
                out["execution_count"] = None
            out.get("metadata", {}).clear()
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    # Object addresses in a repr, and the random ids that pandas' Styler and plotly put into HTML.
    text = re.sub(r"(?<= at )0x[0-9a-f]{8,}(?=>)", "0x0", json.dumps(notebook))
    text = re.sub(r"(?<=T_)[0-9a-f]{5}(?=[_\"\\ ])|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
                  lambda found: names.setdefault(found[0], f"{len(names):05x}"), text)
    import nbformat

    return nbformat.from_dict(json.loads(text))


def _normal_output(out: Any) -> list[Any]:
    """An output as it is kept: noise goes, a widget becomes a line of text."""
    import nbformat

    from workbench.widgets import LIVE

    if out.output_type == "stream" and out.name == "stderr":
        return []
    data = out.get("data", {})
    if WIDGET in data:
        return [nbformat.v4.new_output("display_data", {"text/markdown": LIVE, "text/plain": LIVE})]
    if PLOTLY in data:
        data.pop("text/html", None)
        data.setdefault("text/plain", "figure")
    return [out]


def add_pictures(notebook: Any, *, log: Any = sys.stderr) -> int:
    """Put a PNG beside every interactive figure, with one browser for all; return how many.

    Without a browser the figures stay without a PNG and ``log`` says so: no reason to fail.
    """
    figures = [out.data for cell in notebook.cells for out in cell.get("outputs", ())
               if PLOTLY in out.get("data", {})]
    if not figures or not _browser(log):
        return 0
    import kaleido

    from workbench.figures import PNG_WIDTH

    for data in figures:
        figure = {key: data[PLOTLY][key] for key in ("data", "layout")}
        height = figure["layout"].get("height", 400)
        options = {"format": "png", "width": PNG_WIDTH, "height": height, "scale": 1}
        image = kaleido.calc_fig_sync(figure, opts=options)
        data["image/png"] = base64.b64encode(image).decode()
    return len(figures)


@functools.cache
def _browser(log: Any) -> bool:
    """Start the one browser that draws every PNG; False where there is none."""
    import atexit

    try:
        import kaleido

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "kopts ignored"
            kaleido.start_sync_server()
        atexit.register(kaleido.stop_sync_server)
        return True
    except Exception as error:  # no Chromium, or one that does not start: many kinds of error
        print(f"render: no PNG beside the figures: {printable(str(error), 120)}", file=log)
        return False


def in_place(paths: Sequence[Path], *, log: Any = sys.stderr) -> None:
    """Execute and normalise notebooks where they are; none is replaced until it ran to its end."""
    for path in paths:
        print(f"render: {path.name}", file=log, flush=True)
        notebook = normalise(execute(path))
        add_pictures(notebook, log=log)
        _write(path, text_of(notebook))


def text_of(notebook: Any) -> str:
    """A notebook as it is written to disk."""
    import nbformat

    return nbformat.writes(notebook).rstrip("\n") + "\n"


def _write(path: Path, text: str) -> None:
    """All of the text or nothing."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def site(paths: Sequence[Path], folder: Path, *, log: Any = sys.stderr) -> list[Path]:
    """Execute notebooks and write ``folder``: index.html and one page each. Returns the pages."""
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file, not the folder to write the site to", file=folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "index.html").is_file():
        raise InputError("holds something else than a site; name an empty or new folder", file=folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as work:
        new = Path(work) / "new"
        new.mkdir()
        done = []
        for path in paths:
            print(f"render: {path.name}", file=log, flush=True)
            notebook = normalise(execute(path))
            add_pictures(notebook, log=log)
            done.append((path, notebook))
        contents = [{"href": f"{path.stem}.html", "title": title(notebook), "about": question(notebook)}
                    for path, notebook in done]
        for path, notebook in done:
            (new / f"{path.stem}.html").write_text(page(path, notebook, contents), encoding="utf-8")
        (new / "index.html").write_text(_index(contents), encoding="utf-8")
        new.chmod(0o755)
        if folder.exists():
            folder.rename(Path(work) / "old")
        new.rename(folder)
    return [folder / entry["href"] for entry in contents]


def title(notebook: Any) -> str:
    """The first heading of a notebook, as plain text."""
    found = re.search(r"^#\s+(.+)$", _markdown(notebook), re.MULTILINE)
    return re.sub(r"[`*]", "", found[1].strip()) if found else "Untitled"


def question(notebook: Any) -> str:
    """What a notebook asks: the first paragraph below its heading, as plain text."""
    found = re.search(r"^#\s+.+\n+((?:[^#\n].*\n?)+)", _markdown(notebook), re.MULTILINE)
    return re.sub(r"[`*]|\[|\]\([^)]*\)", "", " ".join(found[1].split())) if found else ""


def _markdown(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def contents(folder: str | Path = ".") -> str:
    """A Markdown table of the notebooks in a folder: what each asks. For notebook 00."""
    rows = [(path, read(path)) for path in notebooks(Path(folder))]
    lines = [f"| [{path.stem}]({path.name}) | {question(notebook)} |" for path, notebook in rows]
    return "\n".join(["| notebook | question |", "|---|---|", *lines])


def page(path: Path, notebook: Any, contents: Sequence[dict[str, str]] = ()) -> str:
    """One notebook as one self-contained HTML page, with the notebook itself in it."""
    import nbformat

    source = nbformat.writes(notebook)
    cells = [_cell(cell) for cell in notebook.cells]
    return _template("page.html").render(
        title=title(notebook), stem=path.stem, cells=cells, contents=contents,
        nonce=hashlib.sha256(source.encode()).hexdigest()[:24], footer=provenance(path),
        plotly=_plotly() if any(part["kind"] == "figure" for cell in cells for part in cell["parts"]) else "",
        notebook=base64.b64encode(source.encode()).decode())


def _index(contents: Sequence[dict[str, str]]) -> str:
    return _template("index.html").render(contents=contents, nonce="none", footer=provenance(None))


def _template(name: str) -> Any:
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    rooms = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return rooms.get_template(name)


def _plotly() -> str:
    """plotly.js, gzipped and in base64: less than half of its plain size."""
    from workbench.widgets import plotly_gz

    return base64.b64encode(plotly_gz()).decode()


def _cell(cell: Any) -> dict[str, Any]:
    """A cell as the template wants it: its kind, its source as HTML, its outputs as parts."""
    from nbconvert.filters import Highlight2HTML, markdown2html

    if cell.cell_type == "markdown":
        return {"source": "", "parts": [{"kind": "html", "html": _links(markdown2html(cell.source))}]}
    if cell.cell_type != "code":
        return {"source": "", "parts": []}
    source = Highlight2HTML()(cell.source) if cell.source.strip() else ""
    return {"source": source, "parts": [_part(out) for out in cell.outputs]}


def _part(out: Any) -> dict[str, Any]:
    from nbconvert.filters import ansi2html, markdown2html

    if out.output_type == "stream":
        return {"kind": "html", "html": f"<pre>{ansi2html(out.text)}</pre>"}
    data = out.get("data", {})
    png = data.get("image/png", "").replace("\n", "")
    if PLOTLY in data:
        figure = {key: data[PLOTLY][key] for key in ("data", "layout")}
        text = json.dumps(figure, separators=(",", ":")).replace("<", "\\u003c")
        alt = figure["layout"].get("meta", {}).get("alt", "figure")
        return {"kind": "figure", "json": text, "png": png, "alt": alt,
                "height": int(figure["layout"].get("height", 450))}
    if png:
        return {"kind": "image", "png": png}
    if "text/html" in data:
        return {"kind": "html", "html": data["text/html"]}
    if "text/markdown" in data:
        return {"kind": "html", "html": _links(markdown2html(data["text/markdown"]))}
    return {"kind": "html", "html": f"<pre>{ansi2html(data.get('text/plain', ''))}</pre>"}


def _links(text: str) -> str:
    """Links between notebooks become links between pages; heading marks go."""
    text = re.sub(r'<a class="anchor-link".*?</a>', "", text)
    return re.sub(r'href="([\w-]+)\.ipynb', r'href="\1.html', text)


def provenance(path: Path | None) -> dict[str, str]:
    """What a reader needs in order to judge and repeat a page: commit, date, versions, machine, command."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    versions = [f"{name} {metadata.version(name)}" for name in _STATED]
    return {
        "commit": _commit(path.parent if path else Path.cwd()), "date": at.strftime("%Y-%m-%d %H:%M UTC"),
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
        "machine": f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} CPUs",
        "again": "make render",
    }


def _commit(folder: Path) -> str:
    def git(*args: str) -> str:
        ran = subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True)
        return ran.stdout.strip()

    try:
        changed = " with changes" if git("status", "--porcelain", "-uno") else ""
        return git("rev-parse", "--short=12", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return "not in a git clone"


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m workbench.render``: 0 written; 1 a notebook failed; 2 nothing to render."""
    parser = argparse.ArgumentParser(prog="python -m workbench.render", description=__doc__.split("\n\n")[0],
                                     epilog="example: python -m workbench.render --out site")
    parser.add_argument("notebook", nargs="*", type=Path, help="these only (default: all of --notebooks)")
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="folder with the notebooks")
    parser.add_argument("--out", type=Path, default=Path("site"), help="folder to write (default: site)")
    parser.add_argument("--in-place", action="store_true",
                        help="execute and normalise the notebooks themselves")
    args = parser.parse_args(argv)
    try:
        paths = args.notebook or notebooks(args.notebooks)
        if args.in_place:
            in_place(paths)
        else:
            site(paths, args.out)
            print(f"render: wrote {args.out / 'index.html'}", file=sys.stderr)
        return 0
    except RenderError as error:
        print(f"render: {error}", file=sys.stderr)
        return 1
    except InputError as error:
        print(f"render: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
