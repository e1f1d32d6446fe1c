"""The flag-bit and claims explorers, and the figures of notebooks 07 and 08: data read back, not pixels."""

import pandas as pd
import pytest

from workbench import InputError, KernelConfig
from workbench.model import pfnmaps
from workbench.model.designs import memdesc
from workbench.model.kernel.flagbits import FlagBudget, budget_rows
from workbench.model.pfnmaps.compare import bytes_per_entry
from workbench.studies import claims
from workbench.views import explorers as widgets
from workbench.views import figures

X86 = KernelConfig.preset("x86-64")


def test_flag_budget_explorer_shows_what_its_controls_say():
    explorer = widgets.FlagBudgetExplorer()
    assert "15 bits are free" in explorer.texts["answer"].value
    explorer.controls["nr_cpus"].value = 8192
    explorer.controls["nodes_shift"].value = 10
    explorer.controls["nr_page_flags"].value = 25
    assert "1 bit is free" in explorer.texts["answer"].value
    free = next(trace for trace in explorer.hosts["bits"].fig["data"] if trace["name"] == "free")
    assert free["x"][0] == explorer.budget().free_bits == 1


def test_a_preset_sets_the_controls_and_a_state_comes_back():
    explorer = widgets.FlagBudgetExplorer()
    explorer.controls["kernel"].value = "arm64-4k"
    assert explorer.budget() == FlagBudget.of(KernelConfig.preset("arm64-4k"))
    explorer.controls["kasan"].value = "hw_tags"
    again = widgets.FlagBudgetExplorer.from_state(explorer.state())
    assert again.state() == explorer.state()
    explorer.reset()
    assert explorer.budget() == FlagBudget()


def test_what_does_not_build_is_said_and_nothing_is_drawn():
    explorer = widgets.FlagBudgetExplorer()
    explorer.controls["section_bits"].value = 25
    explorer.controls["nr_page_flags"].value = 32
    assert "does not build" in explorer.error.value
    assert explorer.hosts["bits"].fig["data"] == () or not explorer.hosts["bits"].fig["data"]


def test_claims_explorer_filters_and_sorts():
    explorer = widgets.ClaimsExplorer()
    every = explorer.texts["claims"].value.count("<details>")
    assert every == len(claims.recompute())
    explorer.controls["verdict"].value = "differs"
    assert 0 < explorer.texts["claims"].value.count("<details>") < every
    explorer.controls["verdict"].value = "all"
    explorer.controls["sort"].value = "verdict"
    cells = explorer.texts["claims"].value.split('white-space:nowrap">')[1:]
    verdicts = [part.split("<")[0] for part in cells]
    assert verdicts == sorted(verdicts, key=lambda v: v.split()[-1] if v[0] in "\u2713\u2260" else v)


def test_claims_are_inert_html():
    row = claims.recompute(["PC01"])[0]
    import dataclasses

    evil = dataclasses.replace(row, statement="<script>alert(1)</script>")
    assert "<script" not in widgets.claims_table([evil])


def test_an_unknown_state_is_refused():
    with pytest.raises(InputError, match="no control"):
        widgets.ClaimsExplorer(colour="red")


def test_percent_by_order_shows_the_table():
    table = pd.DataFrame(memdesc.percent_by_order(X86))
    figure = figures.percent_by_order(table)
    for trace in figure.data:
        rows = table[table["design"] == trace.name]
        assert list(trace.y) == list(rows["percent"])


def test_flag_bits_sum_to_the_word():
    table = pd.DataFrame(budget_rows({"a": FlagBudget(), "b": FlagBudget(section_bits=19)}))
    assert table.groupby("config")["bits"].sum().tolist() == [64, 64]
    figure = figures.flag_bits(table)
    assert sum(trace.x[0] for trace in figure.data) == 64


def test_bytes_per_entry_shows_every_map():
    table = pd.DataFrame(bytes_per_entry(pfnmaps.registry(), [1, 512], 1000, 1 << 28, X86))
    figure = figures.bytes_per_entry(table)
    assert len(figure.data) == len(pfnmaps.registry())
    for trace in figure.data:
        assert list(trace.y) == list(table[table["title"] == trace.name]["bytes_per_page"])


def test_mix_sliders_move_the_memdescs_and_too_much_is_refused():
    explorer = widgets.MixExplorer()
    before = explorer.rows.set_index("design")["total_bytes"]
    explorer.controls["anon:0"].value = 40
    after = explorer.rows.set_index("design")["total_bytes"]
    assert after["static"] == before["static"] and after["memdesc8"] > before["memdesc8"]
    assert widgets.MixExplorer.from_state(explorer.state()).mix() == explorer.mix()
    explorer.controls["hugetlb:9"].value = 100
    assert "sum to" in explorer.error.value and not explorer.hosts["percent"].fig["data"]


def test_the_pins_explorer_follows_its_controls_and_says_what_is_incomplete():
    explorer = widgets.PinsExplorer()
    assert "83,330 pins of 560 folios" in explorer.texts["readout"].value
    explorer.controls["trace"].value = "pins-mixed-lossy-kprobe"
    assert "incomplete" in explorer.texts["readout"].value
    assert all("incomplete" in f.layout.title.subtitle.text for f in explorer.figures.values())
    assert explorer.preset.widget.value == "pins-mixed-lossy-kprobe"
    small, large = [], []
    for size, into in ((1, small), (1024, large)):
        explorer.controls["pool_size"].value = size
        into.append(explorer.texts["readout"].value)
    assert small != large
    explorer.controls["trace"].value = "<b>nowhere</b>"
    assert "&lt;b&gt;nowhere" in explorer.error.value and explorer.texts["table"].value == ""
    assert explorer.preset.widget.value == ""  # so that the same trace can be picked again
    explorer.preset.widget.value = "pins-mixed-lossy-kprobe"
    assert explorer.error.value == ""
    explorer.preset.widget.value = ""
    assert explorer.preset.widget.value == "pins-mixed-lossy-kprobe"  # the list never shows another trace
    explorer.controls["trace"].value = "pins-fio"
    assert explorer.error.value == "" and len(explorer.figures) == 5
    assert widgets.PinsExplorer.from_state(explorer.state()).state() == explorer.state()


def test_names_in_a_trace_are_inert_in_the_pins_explorer(tmp_path):
    import dataclasses

    from workbench.evidence.pins.trace import load_trace

    trace = load_trace("pins-fio").select(slice(0, 2000))
    evil = dataclasses.replace(trace, comm_names=("<img src=x onerror=alert(1)>",) * len(trace.comm_names),
                               meta={**trace.meta, "why": ["<script>alert(1)</script>"]})  # fmt: skip
    explorer = widgets.PinsExplorer(trace=str(evil.write(tmp_path / "evil.parquet")))
    readout = explorer.texts["readout"].value
    assert "<script" not in readout and "&lt;script" in readout
    assert all("<script" not in f.to_json() for f in explorer.figures.values())


def test_the_paths_explorer_follows_its_controls():
    explorer = widgets.PathsExplorer()
    assert explorer.error.value == "" and len(explorer.figures) == 4
    first = explorer.texts["readout"].value
    explorer.controls["dynamic"].value = 50
    assert explorer.texts["readout"].value != first and explorer.figures["share"].layout.shapes[0].x0 == 50
    assert "2026" in explorer.figures["share"].layout.title.subtitle.text  # whose times they are
    explorer.controls["table"].value = "xeon-16vcpu"
    assert "no usable rows" in explorer.error.value and explorer.texts["readout"].value == ""
    explorer.controls["table"].value = "<b>nowhere</b>"
    assert "&lt;b&gt;nowhere" in explorer.error.value
    explorer.controls["table"].value = "epyc-2vcpu-full"
    assert explorer.error.value == "" and explorer.preset.widget.value == "epyc-2vcpu-full"
    assert widgets.PathsExplorer.from_state(explorer.state()).state() == explorer.state()


def test_the_mistakes_explorer_opens_what_is_behind_a_cell():
    explorer = widgets.MistakesExplorer(mistake="put_on_pin", design="dynamic_page_typed")
    assert explorer.error.value == "" and "compile error" in explorer.texts["sites"].value
    assert "incompatible" in explorer.texts["sites"].value and "<details>" in explorer.texts["sites"].value
    letters = {text for row in explorer.figures["matrix"].data[0].text for text in row}
    assert {"<b>C</b>", "<b>S</b>"} <= letters
    explorer.controls["design"].value = "foll_pin"
    assert "compile error" not in explorer.texts["sites"].value
    assert "<script" not in explorer.texts["sites"].value
    assert widgets.MistakesExplorer.from_state(explorer.state()).state() == explorer.state()


def test_a_trace_is_found_from_home_this_folder_and_the_clone(tmp_path, monkeypatch):
    from workbench import InputError
    from workbench.views.explorers.pins import found_trace

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.parquet").write_bytes(b"")
    assert found_trace("~/a.parquet") == str(tmp_path / "a.parquet")
    assert found_trace(" a.parquet ") == "a.parquet"
    assert found_trace("data/traces/pins-fio.parquet").endswith("data/traces/pins-fio.parquet")
    assert found_trace("pins-fio") == "pins-fio"
    for wrong in ("no/such.parquet", "~nobody-there/x.parquet", "x" * 400 + "/y"):
        with pytest.raises(InputError):
            found_trace(wrong)
