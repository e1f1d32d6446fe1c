"""Shared by all tests: Hypothesis profiles, and a Chromium for the tests that need a real browser."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings

# Property tests give the same answer on every run of `make test`; `make fuzz` looks further each time.
SLOW_IS_FINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("test", derandomize=True, **SLOW_IS_FINE)
settings.register_profile("fuzz", max_examples=5000, **SLOW_IS_FINE)
settings.load_profile("test")

# Test processes measure side by side, and nobody uses their times.
_LOCKS = tempfile.TemporaryDirectory(prefix="workbench-locks-")
os.environ["WORKBENCH_LOCK_DIR"] = _LOCKS.name

BROWSER_REQUIRED = os.environ.get("WORKBENCH_REQUIRE_BROWSER", "") not in ("", "0")
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]


def find_chromium() -> str | None:
    """The Chromium to drive: what ``CHROMIUM`` names, or the first that is installed."""
    for name in (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        if name and (path := shutil.which(name)):
            return path
    return None


def _unavailable(reason: str) -> NoReturn:
    if BROWSER_REQUIRED:
        pytest.fail(f"{reason}, and WORKBENCH_REQUIRE_BROWSER is set", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; the test is skipped where there is none."""
    return find_chromium() or _unavailable("no chromium, chromium-browser or google-chrome on PATH")


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """A running Playwright browser, one for each test process."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _unavailable("playwright is not installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        yield running
        running.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses the browser carries the mark ``browser`` (deselect with ``-m "not browser"``)."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A browser test may not be skipped, for whatever reason, where browser tests are required."""
    report = yield
    if BROWSER_REQUIRED and report.skipped and item.get_closest_marker("browser"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and WORKBENCH_REQUIRE_BROWSER is set: {report.longrepr}"
    return report
