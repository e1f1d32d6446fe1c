"""Start JupyterLab on the first notebook: loopback only, token on, browser only where there is one.

What ``LAB_FLAGS`` holds is passed on to JupyterLab.
"""

from __future__ import annotations

import os
import shlex
import sys
import webbrowser


def has_browser() -> bool:
    """Whether opening a browser can work here: a display, and a program for it."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("BROWSER")):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def flags() -> list[str]:
    """JupyterLab's command line."""
    found = ["--ServerApp.ip=127.0.0.1", "--ServerApp.root_dir=.", "--log-level=WARN",
             "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"]
    if not has_browser():
        found.append("--no-browser")
    if os.geteuid() == 0:
        found.append("--allow-root")  # Jupyter refuses root without it
    return found + shlex.split(os.environ.get("LAB_FLAGS", ""))


if __name__ == "__main__":
    print("JupyterLab starts; its address, token included, follows. Ctrl-C twice stops it.", flush=True)
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *flags()])
