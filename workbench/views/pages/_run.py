"""Notebooks executed and normalised, so that a second run writes the same bytes."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.model.errors import InputError, printable
from workbench.views import _assets as pages

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
CELL_SECONDS = 300  # one cell may take this long
JOBS = 2  # notebooks at a time; assumed: they wait for one another's memory and disk beyond that


class RenderError(Exception):
    """Notebooks that did not run: the name, the cell and the error of each on a line."""


@dataclass
class Run:
    """A notebook after its run: normalised, with pictures."""

    path: Path
    notebook: Any
    seconds: float | None = None  # None: not run now
    inputs: list[str] = field(default_factory=list)  # files under data/ that it opened, if known


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
            notebook = nbformat.read(path, as_version=4)  # of another version, it is made 4.5
            nbformat.validate(notebook, version=4, version_minor=5)
            return notebook
    except Exception as error:  # nbformat raises whatever its parser raised
        raise InputError(f"not a notebook: {type(error).__name__}: {error}", file=path) from None


def execute(path: Path, started: list[Any] | None = None) -> Any:
    """Run a notebook on a fresh kernel, among copies of its siblings, and return it with outputs.

    Who wants to stop it half-way finds the nbclient in ``started``.
    """
    import nbclient

    notebook = read(path)
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        for sibling in path.parent.glob("*.ipynb"):
            shutil.copy2(sibling, folder)
        client = nbclient.NotebookClient(
            notebook, timeout=CELL_SECONDS, kernel_name="python3", record_timing=False,
            store_widget_state=False, resources={"metadata": {"path": folder}},
            extra_arguments=["--IPKernelApp.log_level=ERROR"])
        if started is not None:
            started.append(client)
        try:
            client.execute(env={**os.environ, "WORKBENCH_BATCH": "1"})
        except (nbclient.exceptions.CellExecutionError, nbclient.exceptions.CellTimeoutError,
                nbclient.exceptions.DeadKernelError) as error:
            raise RenderError(f"{path.name}, {_where(notebook)}: {_what(notebook, error)}") from None
    return notebook


def runs(paths: Sequence[Path], *, jobs: int = JOBS, log: Any = sys.stderr) -> Iterator[Run]:
    """Run notebooks, ``jobs`` at a time; each is given, in the order of ``paths``, when it is complete.

    A failing notebook does not stop the others; at the end one RenderError names every one that failed.
    """
    started: list[Any] = []
    failed: list[str] = []
    pool = ThreadPoolExecutor(jobs)  # each thread waits for a kernel, which is a process
    try:
        waiting: list[tuple[Path, Future[tuple[Any, float]]]] = [
            (path, pool.submit(_timed, path, started, log)) for path in paths]
        for path, future in waiting:
            try:
                notebook, seconds = future.result()
            except RenderError as error:
                failed.append(str(error))
                continue
            notebook = normalise(notebook)
            add_pictures(notebook, log=log)
            yield Run(path, notebook, seconds)
    except BaseException:  # Ctrl-C, a full disk: do not wait for kernels that nobody wants any more
        pool.shutdown(wait=False, cancel_futures=True)
        for client in started:
            _stop(client)
        raise
    finally:
        pool.shutdown()
    if failed:
        raise RenderError("\n".join(failed))


def _timed(path: Path, started: list[Any], log: Any) -> tuple[Any, float]:
    print(f"render: {path.name}", file=log, flush=True)
    start = time.monotonic()
    return execute(path, started), time.monotonic() - start


def _stop(client: Any) -> None:
    atexit.unregister(client._cleanup_kernel)  # its thread does that already; a second time is an error
    provisioner = client.km.provisioner if client.km else None
    if provisioner and getattr(provisioner, "pid", None) and provisioner.has_process:
        with contextlib.suppress(ProcessLookupError):
            os.kill(provisioner.pid, signal.SIGKILL)


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

    from workbench.views.explorers import LIVE

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
    if not figures or not pages.browser(log):
        return 0
    from workbench.views.figures import PNG_WIDTH

    for data in figures:
        if image := pages.picture(data[PLOTLY], PNG_WIDTH, log):
            data["image/png"] = image
    return len(figures)


def in_place(paths: Sequence[Path], *, jobs: int = JOBS, log: Any = sys.stderr) -> None:
    """Execute and normalise notebooks where they are; none is replaced until it ran to its end."""
    for done in runs(paths, jobs=jobs, log=log):
        write(done.path, text_of(done.notebook))


def text_of(notebook: Any) -> str:
    """A notebook as it is written to disk."""
    import nbformat

    return nbformat.writes(notebook).rstrip("\n") + "\n"


def write(path: Path, content: str | bytes) -> None:
    """All of it or nothing."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
