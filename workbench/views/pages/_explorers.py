"""The site's explorers: each a page of its own whose controls work without a kernel."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from workbench.model.errors import printable
from workbench.views.pages._run import JOBS, RenderError


def names() -> list[str]:
    """The explorers, in the order in which the package names them."""
    from workbench.views import explorers as widgets

    return [name for name, found in vars(widgets).items()
            if inspect.isclass(found) and name != "Explorer" and issubclass(found, widgets.Explorer)]


def href(name: str) -> str:
    """The file of an explorer's page.

    Examples
    --------
    >>> href("OverheadExplorer"), href("FlagBudgetExplorer")
    ('explore_overhead.html', 'explore_flag_budget.html')
    """
    words = re.findall(r"[A-Z][a-z]*", name.removesuffix("Explorer"))
    return f"explore_{'_'.join(words).lower()}.html"


def entry(name: str) -> dict[str, str]:
    """What the index says of an explorer: its heading, and what follows there."""
    from workbench.views import explorers as widgets
    from workbench.views.pages import share

    title, about = share.heading(getattr(widgets, name))
    return {"href": href(name), "title": title, "about": about}


def write(folder: Path, *, jobs: int = JOBS, log: Any = sys.stderr) -> list[dict[str, str]]:
    """Write every explorer's page into ``folder``, ``jobs`` at a time, each by a Python of its own.

    A page that cannot be made does not stop the others; at the end one RenderError names all of them.
    """
    running: list[subprocess.Popen[str]] = []

    def make(name: str) -> str:
        print(f"render: {href(name)}", file=log, flush=True)
        command = [sys.executable, "-m", "workbench.cli", "share", name, "-o", os.fspath(folder / href(name))]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)
        running.append(process)
        _, said = process.communicate()
        last = said.strip().splitlines()[-1] if said.strip() else f"status {process.returncode}"
        return f"{href(name)}: {printable(last)}" if process.returncode else ""

    pool = ThreadPoolExecutor(jobs)
    try:
        found = names()
        failed = [why for why in pool.map(make, found) if why]
    except BaseException:  # Ctrl-C: nobody waits for them any more
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.terminate()
        raise
    finally:
        pool.shutdown()
    if failed:
        raise RenderError("\n".join(failed))
    return [entry(name) for name in found]
