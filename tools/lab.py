"""Start JupyterLab on the first notebook: loopback only, token on, browser only where there is one.

What ``LAB_FLAGS`` holds is passed on to JupyterLab.
"""

from __future__ import annotations

import os
import shlex
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


def flags(given: list[str]) -> list[str]:
    """JupyterLab's command line: the defaults, but for options that are given, and what is given.

    JupyterLab takes an option once only; ``--ip`` and ``--ServerApp.ip`` are the same one.
    """
    defaults = ["--ServerApp.ip=127.0.0.1", "--ServerApp.root_dir=.", "--Application.log_level=WARN",
                "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"]
    if not has_browser():
        defaults.append("--no-browser")
    if os.geteuid() == 0:
        defaults.append("--allow-root")  # Jupyter refuses root without it
    taken = {_option(flag) for flag in given}
    return [flag for flag in defaults if _option(flag) not in taken] + given


def _option(flag: str) -> str:
    name = flag.split("=")[0].lstrip("-").split(".")[-1].replace("-", "_")
    return {"notebook_dir": "root_dir", "debug": "log_level"}.get(name, name)


def main() -> None:
    """Serve until Ctrl-C."""
    from jupyterlab.labapp import LabApp

    server = LabApp.initialize_server(flags(shlex.split(os.environ.get("LAB_FLAGS", ""))))
    print("JupyterLab is served from this terminal; Ctrl-C twice stops it.", flush=True)
    if not server.identity_provider.token_generated:  # else start() prints the address with its token
        print(f"Open {server.local_url}", flush=True)
    server.start()


if __name__ == "__main__":
    main()
