"""A real JupyterLab on a free port, token on, with a copy of the notebooks and nothing of the user's."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@dataclass
class Lab:
    """A running server, and pages on it."""

    address: str
    token: str
    folder: Path
    settings: Path

    def theme(self, name: str) -> None:
        """``"JupyterLab Light"`` or ``"JupyterLab Dark"``, for pages opened from now on."""
        self._setting("themes", {"theme": name})

    def _setting(self, plugin: str, values: dict[str, Any]) -> None:
        file = self.settings / "@jupyterlab" / "apputils-extension" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))

    def open(self, browser: Any, notebook: str, width: int = 1280) -> Any:
        """A page with that notebook; requests to anywhere else fail and are listed in ``page.strays``."""
        page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
        page.strays = []

        def guard(route: Any) -> None:
            if route.request.url.startswith(self.address):
                route.continue_()
            else:
                page.strays.append(route.request.url)
                route.abort()

        page.route(lambda url: url.startswith("http"), guard)
        page.goto(f"{self.address}/lab/tree/{notebook}?token={self.token}&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        return page


@pytest.fixture(scope="session")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab, started once for all tests of this folder."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(NOTEBOOKS, home / "notebooks", ignore=shutil.ignore_patterns(".*"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = Lab(f"http://127.0.0.1:{port}", secrets.token_hex(16), home / "notebooks", home / "settings")
    found._setting("notification", {"fetchNews": "false", "checkForUpdates": False})
    found.theme("JupyterLab Light")
    environment = {
        **os.environ, "JUPYTER_TOKEN": found.token, "JUPYTERLAB_SETTINGS_DIR": str(found.settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"), "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "IPYTHONDIR": str(home / "ipython")}
    log = (home / "lab.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
         f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={found.folder}"],
        env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=home)
    try:
        _wait(found, server, home / "lab.log")
        yield found
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
        log.close()


def _wait(found: Lab, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"{found.address}/api/status?token={found.token}", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
