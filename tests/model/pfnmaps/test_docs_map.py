"""The pfn map of docs/extend.md works as it stands there."""

import json
import re
import sys
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.model import pfnmaps
from workbench.model.files import data_dir

PAGE = Path(__file__).parents[3] / "docs" / "extend.md"


def test_the_map_of_the_docs_answers_both_commands(tmp_path, monkeypatch, capsys):
    if not PAGE.is_file():
        pytest.skip("no docs beside the tests")
    source = re.search(r"```python\n(\"\"\"A linked list.*?)```", PAGE.read_text(), re.S)[1]
    (tmp_path / "linked_list.py").write_text(source)
    monkeypatch.setattr(pfnmaps, "__path__", [*pfnmaps.__path__, str(tmp_path)])
    pfnmaps.registry.cache_clear()
    try:
        assert main(["pfnmap", "linked_list", "--ops", str(data_dir() / "ops" / "dense.json"), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["bytes"] == 24 * found["nr_entries"] > 0
        assert main(["overhead", "ram=1GiB", "--design", "dynamic_page", "--pinned", "100", "--map",
                     "linked_list", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rows"][0]["parts"]["pfn map bytes"] == 2400
    finally:
        sys.modules.pop("workbench.model.pfnmaps.linked_list", None)
        pfnmaps.registry.cache_clear()
