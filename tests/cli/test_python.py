"""``--python``: what it prints runs, imports from ``workbench`` alone, and gives what ``--json`` prints."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench import cli
from workbench.model.files import data_dir

DATA = data_dir()
TINY = str(DATA / "captures" / "s390x-1100m")
TREE = "include/linux/mm.h"
# Commands that write or measure and print no table of their own.
WITHOUT = {"argue", "capture", "measure", "render", "share"}
CASES: dict[str, list[str]] = {
    "struct": ["page", "--kernel", "amd64_6.12"],
    "machine": ["ram=1TiB,nodes=2"],
    "pages": [str(DATA / "captures" / "microvm-24g-6.18")],
    "pfnmap": ["xarray", "--ops", str(DATA / "ops" / "dense.json")],
    "verify": ["xarray", str(DATA / "golden" / "xarray_cases.json")],
    "overhead": ["ram=64GiB", "--design", "static", "proxy_bit,dynamic_page", "--pinned", "1%"],
    "compare": [str(DATA / "scenarios" / "gpu-host.toml")],
    "sweep": [str(DATA / "scenarios" / "sweep-clustering.toml"), "-o", "sweep.parquet"],
    "fleet": [str(DATA / "captures"), "--design", "hvo", "memdesc8", "-o", "fleet.parquet"],
    "claims": ["PC22"],
    "typesafety": ["--design", "foll_pin", "--mistake", "put_on_pin"],
    "callsites": ["tree", "--no-cache"],
    "replay": ["pins-fio", "--design", "proxy_bit"],
    "trace": ["import", str(DATA / "traces" / "bpftrace-pins.txt.gz"), "-o", "pins.parquet"],
    "lookup": ["xarray", "--ops", str(DATA / "ops" / "dense.json"), "--loop", "dependent"],
    "live": ["maple", "--entries", "1000"],
}
TIMES = {"lookup", "live"}  # run twice, their numbers differ
ROWS = {"overhead", "compare", "claims", "typesafety", "fleet"}


def printed(*words: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        cli.main(list(words))
    return out.getvalue()


def value_of(lines: str) -> Any:
    """What the last line of some Python gives."""
    *before, last = ast.parse(lines).body
    assert isinstance(last, ast.Expr)
    names: dict[str, Any] = {}
    exec(compile(ast.Module(before, []), "--python", "exec"), names)
    return eval(compile(ast.Expression(last.value), "--python", "eval"), names)


def test_every_command_that_prints_a_table_has_it():
    has = {name for name, command in cli._commands().items() if command.python}
    assert has == set(CASES) == set(cli._commands()) - WITHOUT


@pytest.mark.parametrize("name", CASES)
def test_the_python_gives_the_same_table(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tree" / "mm").mkdir(parents=True)
    (tmp_path / "tree" / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 0\n")
    for folder in ("include/linux", "kernel", "drivers", "fs"):
        (tmp_path / "tree" / folder).mkdir(parents=True)
    (tmp_path / "tree" / "mm" / "a.c").write_text("void f(struct page *p)\n{\n\tput_page(p);\n}\n")
    lines = printed(name, *CASES[name], "--python")
    for node in ast.walk(ast.parse(lines)):
        if isinstance(node, ast.ImportFrom):
            assert node.module in ("workbench", "dataclasses", "pathlib")
    expected = json.loads(printed(name, *CASES[name], "--json"))
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    found = value_of(lines)
    if name in TIMES:
        assert set(found) <= set(expected)
        return
    if name == "sweep":
        assert len(found) == expected["points"]
        return
    if isinstance(found, pd.DataFrame):
        found = found.replace({np.nan: None}).to_dict("records")
    expected = expected["rows"] if name in ROWS else expected
    if name in ROWS:
        assert len(found) == len(expected)
        for one, row in zip(found, expected, strict=True):
            shared = set(one) & set(row)
            assert shared >= {"total_bytes"} or name not in ("overhead", "compare")
            for key in shared - {"notes"}:
                assert one[key] == row[key], key
        return
    found = json.loads(json.dumps(found))
    for key in {"notes", "seconds", "nr_cached"} & set(found):
        del found[key]
    assert found == {key: expected[key] for key in found}
