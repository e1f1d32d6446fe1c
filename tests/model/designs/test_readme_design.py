"""The example of docs/extend.md of a design in one file works as it stands there."""

import re
import sys
from pathlib import Path

import pytest

from workbench import KernelConfig, Scenario, evaluate
from workbench.cli import main
from workbench.model import designs
from workbench.model.kernel.structs import Struct

PAGE = Path(__file__).parents[3] / "docs" / "extend.md"


def test_the_readmes_design_shows_up_everywhere(tmp_path, monkeypatch, capsys):
    if not PAGE.is_file():
        pytest.skip("no docs beside the tests")
    source = re.search(r"```python\n(\"\"\"D14.*?)```", PAGE.read_text(), re.S)[1]
    (tmp_path / "phyr.py").write_text(source)
    monkeypatch.setattr(designs, "__path__", [*designs.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "workbench.model.designs.phyr", raising=False)
    designs.registry.cache_clear()
    try:
        row = evaluate(Scenario(machine="ram=1TiB", design="phyr", nr_pinned=5120, run_pages=512))
        assert row.parts == {"ranges in flight": 160}
        text = designs.get("phyr").structs(KernelConfig())["phyr"]
        assert Struct.from_c(text, kernel=KernelConfig.preset("x86-64")).size == 16
        assert main(["overhead", "ram=1TiB", "--json"]) == 0
        assert '"phyr"' in capsys.readouterr().out
        from workbench.views.explorers import OverheadExplorer

        assert "phyr" in OverheadExplorer(machine="ram=1GiB").controls["designs"].boxes
    finally:
        sys.modules.pop("workbench.model.designs.phyr", None)
        designs.registry.cache_clear()
