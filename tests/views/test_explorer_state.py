"""The state of every explorer as JSON and as one line: round trips, old versions, what cannot be used."""

from __future__ import annotations

import _thread
import functools
import json
import re
import signal
import threading
import time
from urllib.parse import quote

import ipywidgets as w
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.model.errors import InputError
from workbench.views import explorers as widgets
from workbench.views.explorers import Explorer, OverheadExplorer
from workbench.views.explorers import _base as base
from workbench.views.explorers import _interrupts as interrupts
from workbench.views.explorers._base import Several, control
from workbench.views.explorers._state import LONGEST, decode, encode

EXPLORERS = sorted((cls for cls in vars(widgets).values()
                    if isinstance(cls, type) and issubclass(cls, Explorer) and cls is not Explorer),
                   key=lambda cls: cls.__name__)
TEXTS = st.text(max_size=40) | st.sampled_from(
    ["", "null", "true", "12", "-1e5", ",", "a,b", "*", "*z", "~end", "=", "ram=64TiB,nodes=8", "<script>",
     "\x1b[31m", "\u202egnp", "50%", "%41", "a b", "\n" * 30, "+1", "x" * 2000])


@functools.cache
def one(cls: type[Explorer]) -> Explorer:
    """One of each, drawing nothing: these tests are about states."""
    class Silent(cls):
        def _draw(self, changed):
            pass
    Silent.__name__ = cls.__name__
    return Silent()


def values_of(thing) -> st.SearchStrategy:
    """What a control can be set to."""
    if isinstance(thing, Several):
        return st.lists(st.sampled_from(list(thing.boxes)), unique=True).map(
            lambda names: [name for name in thing.boxes if name in names])
    if isinstance(thing, (w.Dropdown, w.SelectionSlider)):
        return st.sampled_from([value for _, value in thing._options_full])
    if isinstance(thing, w.Checkbox):
        return st.booleans()
    if isinstance(thing, (w.IntSlider, w.BoundedIntText)):
        return st.integers(thing.min, thing.max)
    if isinstance(thing, w.FloatSlider):
        return st.floats(thing.min, thing.max)
    assert isinstance(thing, (w.Text, w.Textarea, w.Combobox)), thing
    return TEXTS


@pytest.mark.parametrize("cls", EXPLORERS, ids=lambda cls: cls.__name__)
@given(data=st.data())
@settings(max_examples=15)
def test_every_state_comes_back_from_json_and_from_its_line(cls, data):
    explorer = one(cls)
    wanted = {name: data.draw(values_of(thing), label=name) for name, thing in explorer.controls.items()}
    explorer.reset()
    with explorer._one_redraw():
        explorer._set(wanted)
    state, line = explorer.state(), explorer.state_string()
    assert {name: state[name] for name in wanted} == wanted
    assert re.fullmatch(r"[A-Za-z0-9._:/@=,*~-]+", line) and len(line) <= LONGEST
    assert json.loads(json.dumps(state)) == state
    for read in (line, quote(line, safe=""), quote(line), " \n".join(line), "#" + line):
        assert explorer.from_string(read).state() == state if read is line else decode(read) == decode(line)
    assert type(explorer).from_state(json.loads(json.dumps(state))).state_string() == line


@pytest.mark.parametrize("cls", EXPLORERS, ids=lambda cls: cls.__name__)
def test_a_line_says_only_what_differs(cls):
    explorer = one(cls)
    explorer.reset()
    assert explorer.state_string() == f"{cls.__name__}.{cls.version}~end"


def test_a_line_can_be_read():
    explorer = OverheadExplorer(machine="ram=64TiB,nodes=8", nr_pinned="5%", designs=["static", "hvo"])
    assert explorer.state_string() == (
        "OverheadExplorer.1~machine=ram=64TiB,nodes=8~designs=,static,hvo~nr_pinned=5*25~end")
    assert OverheadExplorer.from_string(explorer.state_string()).state() == explorer.state()


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_:]{0,12}", fullmatch=True).filter(
    lambda name: name not in ("explorer", "version")), scalars | st.lists(scalars), max_size=6))
def test_decode_undoes_encode(values):
    found = decode(encode("Any", 3, values))
    assert found == {"explorer": "Any", "version": 3, **values}
    assert [type(value) for value in found.values()][2:] == [type(value) for value in values.values()]


@given(st.data())
def test_a_line_that_was_cut_off_is_never_taken_for_another(data):
    explorer = one(OverheadExplorer)
    explorer.reset()
    with explorer._one_redraw():
        explorer._set({"nr_pinned": "50%", "mix": data.draw(TEXTS)})
    line = explorer.state_string()
    with pytest.raises(InputError):
        decode(line[: data.draw(st.integers(0, len(line) - 1))])


@given(st.text() | st.from_regex(r"[A-Z][a-z]+\.1~[!-~]{0,30}~end", fullmatch=True))
def test_any_text_is_a_state_or_an_input_error(line):
    try:
        decode(line)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 600


@pytest.mark.parametrize(("line", "named"), [
    ("", "starts with ''"), ("garbage", "garbage"), ("MixExplorer.1~end", "MixExplorer"),
    ("OverheadExplorer.1~nr_pinned=5", "cut off"), ("OverheadExplorer.1~colour=red~end", "colour"),
    ("OverheadExplorer.1~nr_pinned=*~end", "nr_pinned"), ("OverheadExplorer.1~nr_pinned=*4~end", "[*]4"),
    ("OverheadExplorer.1~run_pages=3~end", "run_pages = 3"), ("OverheadExplorer.7~end", "version 7"),
    ("OverheadExplorer.0~end", "version 0"), ("OverheadExplorer.1~machine~end", "machine"),
    ("OverheadExplorer.1~mix=a~mix=b~end", "once"), ("OverheadExplorer.1~explorer=x~end", "explorer"),
    ("OverheadExplorer.1~mix=*zAAAA~end", "mix"),
    ("OverheadExplorer.1~designs=,dynamic_page:range~end", "dynamic_page:range"),
    ("OverheadExplorer.1~machine=12~end", "machine = 12"), ("x" * 10**6, "1,000,000 characters"),
    ("OverheadExplorer.1~mix=" + "a" * LONGEST + "*~end", "mix"), (b"OverheadExplorer.1~end", "bytes")])
def test_a_line_that_cannot_be_used_is_one_input_error(line, named):
    with pytest.raises(InputError, match=named) as caught:
        OverheadExplorer.from_string(line)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


def test_a_packed_text_is_not_unpacked_without_bound():
    bomb = encode("StructExplorer", 1, {"text": " " * (2 << 20)})
    assert len(bomb) < LONGEST
    with pytest.raises(InputError, match=r"text=.*at most 1,048,576 bytes"):
        decode(bomb)


def test_a_value_that_a_slider_would_move_is_refused():
    with pytest.raises(InputError, match=r"anon:0 = 500 would become 100\.0"):
        widgets.MixExplorer.from_string("MixExplorer.1~anon:0=500~end")


class Aged(Explorer):
    """Version 3: 'pages' was called 'nr' in version 1, started at 1 in version 2, and starts at 2 now."""

    version = 3

    @staticmethod
    def _renamed(values):
        return {{"nr": "pages"}.get(name, name): value for name, value in values.items()}

    migrations = {1: _renamed, 2: lambda values: {"pages": 1, **values}}  # noqa: RUF012

    def __init__(self, **values):
        self.controls = {"pages": control(w.IntSlider, "pages", min=0, max=9, value=2)}
        super().__init__(**values)

    def _draw(self, changed):
        pass

    def _layout(self):
        return w.VBox([*self.controls.values(), self.error])


@pytest.mark.parametrize(("line", "pages"), [
    ("Aged.3~end", 2), ("Aged.2~end", 1), ("Aged.1~end", 1), ("Aged.2~pages=5~end", 5),
    ("Aged.1~nr=5~end", 5)])
def test_a_state_of_an_older_version_is_brought_up_to_date(line, pages):
    assert Aged.from_string(line).state() == {"explorer": "Aged", "version": 3, "pages": pages}
    assert Aged.from_state(decode(line)).controls["pages"].value == pages


@pytest.mark.parametrize("line", ["Aged.0~end", "Aged.4~end", "Aged.2~nr=5~end", "Aged.1~nr=10~end"])
def test_a_version_that_nothing_reads_and_a_name_of_another_are_refused(line):
    with pytest.raises(InputError, match=r"version|no control|would become"):
        Aged.from_string(line)


STARTS = {
    "ClaimsExplorer.1": {"verdict": "all", "sort": "id"},
    "FlagBudgetExplorer.1": {
        "kernel": "x86-64", "nr_page_flags": 22, "nr_zones": 4, "nodes_shift": 6, "nr_cpus": 64,
        "section_bits": 0, "numa_balancing": True, "lru_gen": True, "kasan": ""},
    "MistakesExplorer.1": {"mistake": "put_on_pin", "design": "dynamic_page_typed", "ms_extensions": True},
    "MixExplorer.1": {"anon:0": 30, "anon:4": 0, "anon:9": 20, "file:0": 15, "file:4": 15, "file:9": 0,
                      "hugetlb:9": 0, "slab:0": 0, "slab:3": 5},
    "OverheadExplorer.1": {
        "machine": "microvm-24g-6.18", "kernel": None, "nr_pinned": "0.1%", "run_pages": 1, "folio_order": 0,
        "designs": ["static", "hvo", "proxy_bit", "dynamic_page"], "pfn_map": "xarray", "mix": "",
        "describe_device": False, "nr_device_used": "10%"},
    "PathsExplorer.1": {
        "table": "epyc-2vcpu-full", "page_to_pfn": 50, "dynamic": 1, "run": 1, "nr_descriptors": 100_000,
        "designs": ["static", "proxy_bit", "dynamic_page:flag", "dynamic_page:range"]},
    "PinsExplorer.1": {
        "trace": "pins-fio", "designs": ["foll_pin", "proxy_bit", "dynamic_page"], "pfn_map": "xarray",
        "granularity": "folio", "pool_size": 16, "refill_ns": 100_000, "recycle": False},
    "VersusExplorer.1": {
        "a": "proxy_bit", "b": "dynamic_page", "machine": "ram=1TiB", "nr_pinned": "0.05%", "run_pages": 1,
        "folio_order": 0, "pfn_map": "xarray", "proxy_bytes": 64, "table": "epyc-2vcpu-full", "dynamic": 1,
        "page_to_pfn": 50, "calls": 1},
    "WalkExplorer.1": {
        "machine": "ram=1TiB,nodes=2,hole=3GiB-4GiB", "kernel": "", "vmemmap": "", "pfn": "a pinned one",
        "op": "pfn_to_page", "design": "proxy_bit", "other": "dynamic_page:range", "pfn_map": "xarray",
        "nr_pinned": 10_000, "run_pages": 1, "folio_order": 0, "seed": 1, "pinned": ""},
    "StructExplorer.1": {"kernel": "x86-64", "name": "", "ms_extensions": True, "text": widgets.MAIL},
}


@pytest.mark.parametrize("name", STARTS)
def test_controls_start_where_the_version_says(name):
    """A line leaves out what was not moved: a control may start elsewhere only in a new ``version``."""
    state = one(getattr(widgets, name.split(".")[0]))._first.copy()
    assert f"{state.pop('explorer')}.{state.pop('version')}" == name and state == STARTS[name]


NO_PRESETS = ("WalkExplorer",)


def drawn_for(explorer):
    """What the figures were drawn from, which must be one state."""
    states = [host.fig["layout"]["meta"]["state"] for host in explorer.hosts.values()]
    assert all(state == states[0] for state in states)
    return states[0]


@pytest.mark.parametrize("cls", EXPLORERS, ids=lambda cls: cls.__name__)
def test_presets_are_drawn_and_can_be_undone(cls):
    explorer = cls()
    start = explorer.state()
    shown = list(base._inside(explorer.widget))
    assert len(explorer.presets) <= 4 and (len(explorer.presets) >= 2 or cls.__name__ in NO_PRESETS)
    for one_of_them in (explorer.presets_list, explorer.undo_button, explorer.redo_button,
                        explorer.reset_button, explorer.share_row, explorer.working):
        assert shown.count(one_of_them) == 1
    for name, values in explorer.presets.items():
        explorer.presets_list.value = name
        assert explorer.error.value == "" and explorer.presets_list.value == name, name
        assert explorer.state() == {**start, **values}
    steps = [explorer.state()]
    while not explorer.undo_button.disabled:
        explorer.undo_button.click()
        steps.append(explorer.state())
        assert explorer.error.value == "" and (not explorer.hosts or drawn_for(explorer) == steps[-1])
    assert steps[-1] == start and len(steps) == 1 + len(
        [values for values in explorer.presets.values() if {**start, **values} != start])
    for step in steps[-2::-1]:
        explorer.redo_button.click()
        assert explorer.state() == step
    assert explorer.redo_button.disabled


def test_the_list_of_presets_names_no_preset_that_is_not_shown():
    explorer = OverheadExplorer(machine="ram=64TiB,nodes=8", nr_pinned="0.0001%")
    assert explorer.presets_list.value.startswith("64 TiB")
    explorer.controls["nr_pinned"].value = "5%"
    assert explorer.presets_list.value is None


@pytest.fixture
def aged(monkeypatch):
    """An explorer of one slider, and a clock that stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(base.time, "monotonic", lambda: now[0])
    explorer = Aged()
    return explorer, explorer.controls["pages"], now


def test_a_drag_is_one_step_and_a_pause_ends_it(aged):
    explorer, pages, now = aged
    for value in (3, 4, 5):
        pages.value, now[0] = value, now[0] + 0.4
    now[0] += 2
    for value in (6, 7):
        pages.value, now[0] = value, now[0] + 0.4
    explorer.undo()
    assert pages.value == 5
    explorer.undo()
    assert pages.value == 2 and explorer.undo_button.disabled
    explorer.undo()
    assert pages.value == 2
    explorer.redo()
    assert pages.value == 5
    pages.value = 9  # a new step leaves no way forward
    assert explorer.redo_button.disabled
    explorer.undo()
    assert pages.value == 5


def test_reset_can_be_undone_and_the_history_is_bounded(aged):
    explorer, pages, now = aged
    pages.value = 7
    explorer.reset_button.click()
    assert pages.value == 2
    explorer.undo()
    assert pages.value == 7
    for step in range(3 * base.HISTORY):
        now[0] += 5
        pages.value = step % 10
    for _ in range(base.HISTORY):
        assert not explorer.undo_button.disabled
        explorer.undo()
    assert explorer.undo_button.disabled


def test_an_interrupt_leaves_a_picture_that_says_so_and_the_next_move_draws_all():
    explorer = OverheadExplorer(machine="ram=64GiB")
    draw, started = explorer._draw, threading.Event()

    def slow(changed):
        draw(changed)  # figures of the new values are out already
        started.set()
        while True:
            time.sleep(0.01)
    explorer._draw = slow
    seen = []
    explorer.working.observe(lambda change: seen.append(change["new"]), "busy")
    threading.Thread(target=lambda: started.wait(60) and _thread.interrupt_main(), daemon=True).start()
    explorer.controls["nr_pinned"].value = "5%"
    assert seen == [True, False]
    assert "stopped; nothing is drawn" in explorer.error.value and 'role="alert"' in explorer.error.value
    assert all(not host.fig["data"] for host in explorer.hosts.values()) and not explorer.tables
    assert drawn_for(explorer) == explorer.state() and explorer.state()["nr_pinned"] == "5%"
    explorer._draw = draw
    explorer.undo()
    assert explorer.error.value == "" and drawn_for(explorer)["nr_pinned"] == "0.1%"
    assert all(host.fig["data"] for host in explorer.hosts.values())


def test_an_interrupt_reaches_a_drawing_in_another_thread():
    explorer = OverheadExplorer(machine="ram=64GiB")
    draw, started = explorer._draw, threading.Event()

    def slow(changed):
        draw(changed)
        started.set()
        while True:
            time.sleep(0.01)
    explorer._draw = slow
    thread = threading.Thread(target=lambda: setattr(explorer.controls["nr_pinned"], "value", "5%"))
    thread.start()
    assert started.wait(60)
    interrupts._interrupted()
    thread.join(20)
    assert not thread.is_alive() and not interrupts._drawing
    assert "stopped; nothing is drawn" in explorer.error.value and drawn_for(explorer)["nr_pinned"] == "5%"
    assert all(not host.fig["data"] for host in explorer.hosts.values()) and not explorer.working.busy


def test_an_interrupt_while_an_explorer_is_made_ends_the_cell(monkeypatch):
    monkeypatch.setattr(Aged, "_draw", lambda self, changed: _thread.interrupt_main() or time.sleep(1))
    with pytest.raises(KeyboardInterrupt):
        Aged()


def test_an_interrupt_while_the_rest_is_put_in_order_is_ignored():
    before = signal.getsignal(signal.SIGINT)
    with interrupts.deaf():
        _thread.interrupt_main()
        time.sleep(0.01)
    assert signal.getsignal(signal.SIGINT) is before
