"""The set-up and the promises of the top level: lock, conda file, README, Makefile, sizes, imports."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
README = (ROOT / "README.md").read_text()
PAGES = {path.relative_to(ROOT): path.read_text()
         for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))}


def declared() -> list[Requirement]:
    """Every direct dependency, those of the extras included."""
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for texts in (PROJECT["dependencies"], *extras) for text in texts]


def locked() -> dict[str, list[str]]:
    """The lock's versions by package; more than one where they depend on the Python version."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", LOCK, re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def tracked() -> list[Path]:
    """The files that git knows, without those deleted in the working tree."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_lock_satisfies_every_declared_dependency():
    versions = locked()
    for need in declared():
        found = versions.get(canonicalize_name(need.name), [])
        assert found and all(v in need.specifier for v in found), f"{need}: locked {found}; run `make lock`"


def test_lock_holds_nothing_that_is_no_longer_declared():
    direct, name = set(), ""
    for line in LOCK.splitlines():
        if match := re.match(r"[A-Za-z0-9._-]+(?===)", line):
            name = canonicalize_name(match[0])
        elif f"{PROJECT['name']} (pyproject.toml)" in line:
            direct.add(name)
    assert direct == {canonicalize_name(need.name) for need in declared()}, "run `make lock`"


def test_lock_has_a_hash_for_each_pin_and_names_no_index():
    for entry in re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in entry, entry
    assert "://" not in LOCK
    assert not re.search(r"^--|^-[efi]", LOCK, re.MULTILINE)


def test_environment_yml_is_what_pyproject_says():
    command = [sys.executable, "tools/gen_env.py", "--check"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_every_conda_spec_is_valid_and_the_checker_refuses_a_bad_one():
    rattler = pytest.importorskip("rattler")
    text = (ROOT / "environment.yml").read_text()
    specs = re.findall(r"^  - ([^#:\n]+?)\s*(?:#.*)?$", text, re.MULTILINE)
    assert len(specs) == len(PROJECT["dependencies"]) + 2  # python and pip
    for spec in specs:
        rattler.MatchSpec(spec, strict=True)
    with pytest.raises(Exception, match="not valid"):
        rattler.MatchSpec("bad spec >>1", strict=True)


@pytest.mark.parametrize(
    "target", ["help", "lab", "test", "quick", "render", "notebooks", "gallery", "bench", "fuzz",
               "fuzz-properties", "floors", "lock"])
def test_make_knows_the_target(target):
    if not shutil.which("make"):
        pytest.skip("no make")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    run = subprocess.run(["make", "-n", target], cwd=ROOT, env=outside, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    if target != "help":
        assert run.stdout.startswith("sh tools/set_up.sh\n"), "a target must set everything up first"


def test_readme_names_both_commands_and_ci_runs_its_test_command():
    commands = re.search(r"^    make lab\b.*\n    (make test)\b", README, re.MULTILINE)
    assert commands, "README.md gives the two commands in one block"
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert ci[-1] == commands[1]


def test_the_readme_is_short():
    assert len(README.split()) <= 700


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page):
    links = re.findall(r"(?<!!)\[[^]]*\]\(([^)#]+)", PAGES[page])
    missing = [link for link in links if "://" not in link and not (ROOT / page.parent / link).exists()]
    assert not missing, missing


def commands() -> list[str]:
    """The commands of all pages; those that need a kernel tree or a machine of one's own begin otherwise."""
    pattern = r"^    (workbench .*)$"
    return [line for text in PAGES.values() for line in re.findall(pattern, text, re.MULTILINE)]


@pytest.mark.parametrize("line", dict.fromkeys(commands()))
def test_a_command_of_the_pages_runs(line, monkeypatch, capsys, tmp_path):
    cli = pytest.importorskip("workbench.cli")
    (tmp_path / "data").symlink_to(ROOT / "data")  # what a command writes stays out of the clone
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(line)[1:]) == 0
    out = capsys.readouterr()
    assert out.out or "share" in line


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_python_of_the_pages_imports_from_workbench_alone(page):
    modules = re.findall(r"^ *from (workbench[\w.]*) import", PAGES[page], re.MULTILINE)
    assert set(modules) <= {"workbench", "workbench.cli._command"}  # a command's own file needs its Command


def test_import_workbench_pulls_in_nothing_heavy():
    code = "import sys, workbench; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found = set(run.stdout.split())
    assert "workbench" in found
    assert not {"pandas", "numba", "dask", "scipy", "plotly", "ipywidgets", "matplotlib"} & found


def test_licence_is_there():
    assert PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_tracked_files_are_small():
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in tracked()}
    assert not {str(path): size for path, size in sizes.items() if size > 2_000_000}
    assert sum(size for path, size in sizes.items() if path.parts[0] == "data") < 15_000_000


def test_nothing_tracked_names_the_author_s_folders():
    inside = re.compile(rb"(?<![\w./])/(?:work|root|home/\w+)/")
    named = [path.relative_to(ROOT) for path in tracked() if inside.search(path.read_bytes())]
    assert not named, f"{named}: a path of one machine means nothing on another"
