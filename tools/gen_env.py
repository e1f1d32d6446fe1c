"""Write environment.yml, for conda, from the dependencies in pyproject.toml.

The lower bounds and the reasons beside them are pyproject.toml's; only names that conda-forge spells
otherwise change. ``--check`` writes nothing and exits with status 1 when the file is stale.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
# conda-forge's "kaleido" was the old 0.2 with a browser inside; its "libclang" has no Python in it
CONDA_NAME = {"kaleido": "python-kaleido", "libclang": "python-clang"}


def conda_specs(pyproject: str) -> dict[str, str]:
    """Conda match specs of the run-time dependencies, each with the reason written beside it.

    Examples
    --------
    >>> conda_specs('''[project]
    ... requires-python = ">=3.11"
    ... dependencies = [
    ...     "kaleido>=1.1",  # pictures
    ... ]''')
    {'python >=3.11': '', 'pip': 'installs the workbench', 'python-kaleido >=1.1': 'pictures'}
    """
    project = tomllib.loads(pyproject)["project"]
    specs = {f"python {project['requires-python']}": "", "pip": "installs the workbench"}
    for text in project["dependencies"]:
        need = Requirement(text)
        beside = re.search(rf'^\s*"{re.escape(text)}",?[ \t]*(?:#[ \t]*(.*))?$', pyproject, re.MULTILINE)
        name = CONDA_NAME.get(need.name, need.name)
        specs[f"{name} {need.specifier}"] = (beside and beside[1]) or ""
    return specs


def environment(pyproject: str) -> str:
    """The text of environment.yml."""
    specs = conda_specs(pyproject)
    width = max(map(len, specs)) + 2
    lines = [f"  - {spec:{width}}# {reason}" if reason else f"  - {spec}" for spec, reason in specs.items()]
    return "\n".join([
        "# generated from pyproject.toml by tools/gen_env.py",
        "# conda env create -f environment.yml",
        "name: page-workbench",
        "channels: [conda-forge, nodefaults]",
        "dependencies:",
        *lines,
        "  - pip:",
        '    - "-e ."',
    ]) + "\n"


def main() -> int:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if the file is stale")
    check = parser.parse_args().check
    target = ROOT / "environment.yml"
    text = environment((ROOT / "pyproject.toml").read_text())
    if check:
        if target.exists() and target.read_text() == text:
            return 0
        print("environment.yml is not what pyproject.toml says; `make lock` rewrites it", file=sys.stderr)
        return 1
    target.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
