"""Type a pfn and watch its path: section, slots, cache lines, two designs side by side."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import ipywidgets as w
import pandas as pd

from workbench.model import designs, pfnmaps
from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.kernel.config import presets
from workbench.model.memory.machine import Machine
from workbench.model.memory.pfns import PfnSet
from workbench.model.pfnmaps.walks import MapWalk
from workbench.model.pfnmaps.xarray import slots_used
from workbench.model.scenario import Scenario, machine_of
from workbench.studies.walk import (
    CLASSIC,
    OPS,
    Conversion,
    Place,
    convert,
    landmarks,
    map_walk,
    parse_pfn,
    parse_pfns,
    pinned_set,
    place_of,
    steps_table,
)
from workbench.views import figures
from workbench.views.explorers._base import HALF, WRAP, Explorer, Listed, control, machine_source, sources_of
from workbench.views.figures import inert

#: Made-up machines beside the shipped captures.
SPECS = ("ram=1TiB,nodes=2,hole=3GiB-4GiB", "ram=64TiB,nodes=8",
         "ram=1TiB,nodes=2,hole=3GiB-4GiB,pmem=6TiB@2TiB,device=128GiB@16TiB")
NUMBERS = (0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
_CELLS = figures.CELLS
#: Of pfn maps whose walk follows from more than the pages in them.
UNDRAWN = "its walk depends on how the tree grew; not exact, so not drawn"


@functools.lru_cache(maxsize=4)
def _pinned(machine: Machine, nr: int, run: int, order: int, seed: int) -> PfnSet:
    return pinned_set(machine, nr_pinned=nr, run_pages=run, folio_order=order, seed=seed)


class WalkExplorer(Explorer):
    """A pfn's way through two designs: where it lies, each slot and cache line, each load.

    Keyword arguments are the names of ``controls``. ``pfn`` takes a pfn (``4096``, ``0x1000``), a physical
    address (``64GiB``, ``@0x100000000``) or the name of a landmark (``last of ram 0, node 0``).
    """

    views: ClassVar = {"place": "text", "slots": "figure", "path": "figure", "steps": "text"}
    share_axes: ClassVar = {"pfn": ("a pinned one", "behind it", "last pinned"), "op": ...,
                            "folio_order": (0, 9),
                            "design": ("static", "proxy_bit", "dynamic_page:flag", "dynamic_page:range"),
                            "other": ("static", "proxy_bit", "dynamic_page:flag", "dynamic_page:range")}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "a pinned page, two proposals": {},
        "a page that nobody pinned, in a pinned neighbourhood": {"pfn": "behind it", "run_pages": 512},
        "2 MiB folios: the walk ends above the leaves": {"run_pages": 512, "folio_order": 9,
                                                        "pfn": "last pinned"},
        "classic sparsemem beside vmemmap": {"design": CLASSIC, "other": "static", "op": "page_to_pfn"},
    }  # fmt: skip

    def __init__(self, **values: Any):
        models = [*designs.registry(), CLASSIC]
        self.controls = {
            "machine": control(w.Text, "or any other", continuous_update=False,
                               placeholder="capture, or ram=1TiB,nodes=2",
                               tooltip="Path of a capture, or a spec such as ram=1TiB,nodes=2"),
            "kernel": control(w.Dropdown, "kernel",
                              options=[("as the machine says", ""), *((k, k) for k in presets())]),
            "vmemmap": control(w.Text, "vmemmap", continuous_update=False, placeholder="without KASLR",
                               tooltip="Address of vmemmap, such as 0xffffd10000000000; empty: the constant"),
            "pfn": control(w.Text, "pfn", continuous_update=False, placeholder="0x1000, 4096, 64GiB, @0x1000",
                           tooltip="A number is a pfn; a size or @ADDRESS is a physical address"),
            "op": control(w.Dropdown, "conversion", options=list(OPS)),
            "design": control(w.Dropdown, "left", options=models),
            "other": control(w.Dropdown, "right", options=models),
            "pfn_map": control(w.Dropdown, "pfn map", options=list(pfnmaps.registry())),
            "nr_pinned": control(w.SelectionSlider, "pinned pages", options=[(f"{n:,}", n) for n in NUMBERS]),
            "run_pages": control(w.SelectionSlider, "in runs of",
                                 options=[(f"{1 << n:,}", 1 << n) for n in range(19)],
                                 tooltip="Pinned pages come in naturally aligned runs, placed by the seed"),
            "folio_order": control(w.SelectionSlider, "folio order", options=list(range(19))),
            "seed": control(w.BoundedIntText, "seed", min=0, max=2**31 - 1),
            "pinned": control(w.Text, "or these pages", continuous_update=False,
                              placeholder="7, 0x1000-0x1fff, 1GiB-2GiB",
                              tooltip="Pfns and ranges instead of the pages placed by the seed"),
        }  # fmt: skip
        start = {"machine": SPECS[0], "pfn": "a pinned one", "op": "pfn_to_page", "design": "proxy_bit",
                 "other": "dynamic_page:range", "pfn_map": "xarray", "nr_pinned": 10_000, "seed": 1}
        for name, value in start.items():
            self.controls[name].value = value
        self.listed = Listed([*_captures(), *SPECS], self.controls["machine"], description="machine",
                             tooltip="A shipped capture or a made-up machine")
        self.jump = control(w.Dropdown, "go to", options=[""], tooltip="Ends of regions, holes, pinned pages")
        self.jump.observe(self._jumped, "value")
        self.before = w.Button(icon="step-backward", tooltip="The landmark before", layout={"width": "48px"})
        self.after = w.Button(icon="step-forward", tooltip="The landmark behind", layout={"width": "48px"})
        self.before.on_click(lambda _: self.step(-1))
        self.after.on_click(lambda _: self.step(1))
        self.marks: dict[str, int] = {}
        self.at: int | None = None
        self._notes: list[str] = []
        super().__init__(**values)

    def _jumped(self, change: Any) -> None:
        if change["new"]:
            self.controls["pfn"].value = change["new"]

    def step(self, by: int) -> None:
        """Go to the next landmark, or with -1 to the one before; at either end it stays."""
        places = sorted({pfn: name for name, pfn in reversed(self.marks.items())}.items())
        there = [one for one in places if self.at is None or (one[0] - self.at) * by > 0]
        if there:
            self.controls["pfn"].value = there[0 if by > 0 else -1][1]

    def pinned(self, machine: Machine) -> PfnSet:
        """The pages that have descriptors: those that are typed, or as many as the slider says."""
        value = {name: self._value(name) for name in ("nr_pinned", "run_pages", "folio_order", "seed")}
        if self._value("pinned").strip():
            return parse_pfns(self._value("pinned"), machine.kernel)
        return _pinned(machine, *value.values())

    def conversions(self) -> tuple[Place, PfnSet, MapWalk | None, list[Conversion]]:
        """Where the pfn lies, what is pinned, the pfn map's walk, and both designs' conversions."""
        value = {name: self._value(name) for name in self.controls}
        machine = machine_of(Scenario(machine=value["machine"].strip(), kernel=value["kernel"] or None))
        pinned = self.pinned(machine)
        self.marks = landmarks(machine, pinned)
        text = value["pfn"].strip()
        pfn = self.marks[text] if text in self.marks else parse_pfn(text, machine.kernel)
        place = place_of(pfn, machine, _address(value["vmemmap"]))
        walk = map_walk(place, pinned, value["pfn_map"])
        found = [convert(name, value["op"], place, pinned, value["pfn_map"], walk=walk)
                 for name in (value["design"], value["other"])]
        return place, pinned, walk, found

    def _draw(self, changed: str | None) -> None:
        place, pinned, walk, found = self.conversions()
        self.at = place.pfn
        self._offer()
        strips = _strips(place, pinned, walk)
        regions = pd.DataFrame([(r.kind, r.node, r.name, r.first_pfn, r.end_pfn)
                                for r in place.machine.regions],
                               columns=["kind", "node", "name", "first_pfn", "end_pfn"]).astype(
                                   {"node": object})
        steps = pd.concat([steps_table([one]).assign(column=nth) for nth, one in enumerate(found)])
        totals = pd.DataFrame([(nth, one.design, one.case, one.dependent_loads, _lines(one), len(one.steps),
                                *(one.lines or (None, None))) for nth, one in enumerate(found)],
                              columns=["column", "design", "case", "loads", "lines", "rows", "lines_least",
                                       "lines_most"]).astype({"lines_least": "Int64", "lines_most": "Int64"})
        self._notes = list(dict.fromkeys(f"{one.design}: {note}" for one in found for note in (
            *one.notes, *(() if one.exact else ("not exact",)))))
        if walk is None and any(designs.get(one.design).uses_pfn_map for one in found
                                if one.design != CLASSIC):
            self._notes.append(f"{self._value('pfn_map')}: {UNDRAWN}")
        is_pinned = bool(pinned.contains([place.pfn])[0])
        self.say("place", _facts(place, pinned, is_pinned, walk, self._value("pfn_map")))
        self.show("slots", figures.pfn_place(regions, strips, place.pfn, place.kernel.page_shift))
        self.show("path", figures.pfn_steps(steps, totals, title=f"{self._value('op')}(), load by load"))
        self.say("steps", '<div style="display:flex;flex-wrap:wrap;gap:4px 20px">'
                          f'{"".join(_table(one) for one in found)}</div>')
        self.tables = {"steps": steps, "totals": totals, "strips": strips, "regions": regions}

    def title(self) -> str:
        return "A pfn's way through two designs, load by load"

    def setup(self) -> dict[str, str]:
        said = super().setup()
        machine = said.pop(self.controls["machine"].description)
        if said["or these pages"]:  # then the seed places none
            said = {name: text for name, text in said.items()
                    if name not in ("pinned pages", "in runs of", "folio order", "seed")}
        at = "" if self.at is None else f"{self.at:#x}"
        text = said.pop("pfn")
        return {"machine": machine, "pfn": at if text in ("", at) else f"{at} ({text})", **said}

    def result(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """Loads and cache lines of both; the steps are a table of their own."""
        return self.tables["totals"], {"design": "design", "case": "case", "loads": "dependent loads",
                                       "lines_least": "cache lines, least", "lines_most": "most"}

    def notes(self) -> list[str]:
        """What the screen says below the steps of both designs."""
        return self._notes

    def sources(self) -> list[str]:
        machine = machine_of(Scenario(machine=self._value("machine").strip(),
                                      kernel=self._value("kernel") or None))
        return [machine_source(machine), *sources_of([self._value("design"), self._value("other")])]

    def _offer(self) -> None:
        """The list of landmarks follows the machine and the pages; it shows the one that is drawn."""
        names = ("", *self.marks)
        self.jump.unobserve(self._jumped, "value")
        if tuple(self.jump.options) != names:
            self.jump.options = names
        text = self._value("pfn").strip()
        self.jump.value = text if text in self.marks else ""
        self.jump.observe(self._jumped, "value")

    def _layout(self) -> w.Widget:
        c = self.controls
        self.jump.layout = {"flex": "1 1 auto", "width": "auto"}
        steps = w.HBox([self.jump, self.before, self.after], layout={"width": "98%"})
        left = w.VBox([c["pfn"], steps, c["op"], c["design"], c["other"], c["pfn_map"]], layout=HALF)
        right = w.VBox([self.listed.widget, c["machine"], c["kernel"], c["vmemmap"], c["nr_pinned"],
                        c["run_pages"], c["folio_order"], c["seed"], c["pinned"]], layout=HALF)
        return w.VBox([w.Box([left, right], layout=WRAP), self.reset_button, self.error,
                       *self.view_widgets()])


def _captures() -> list[str]:
    root = data_dir() / "captures"
    return sorted({str(file.parent.relative_to(root)) for file in root.rglob("*.txt")})


def _address(text: str) -> int | None:
    if not text.strip():
        return None
    try:
        value = int(text.strip(), 16)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64 or value % 4096:
        raise InputError(f"vmemmap {text.strip()!r} is no page-aligned address such as 0xffffea0000000000")
    return value


def _strips(place: Place, pinned: PfnSet, walk: MapWalk | None) -> pd.DataFrame:
    """The strips of the figure: sections, subsections, then the pfn map's slots."""
    kernel, machine = place.kernel, place.machine
    first = max(0, place.section - _CELLS // 2)
    start, end = machine.section_ranges
    mapped = [(r.first_pfn >> kernel.pfn_section_shift, r.end_pfn - 1 >> kernel.pfn_section_shift)
              for r in machine.regions if r.memmap is not None]
    present = [bool(((start <= section) & (section < end)).any()) or any(a <= section <= b for a, b in mapped)
               for section in range(first, first + _CELLS)]
    rows: list[tuple[str, list[bool] | None, float, str]] = [
        (f"section {place.section:,}", present, place.section - first + 0.5,
         f"sections {first:,} to {first + _CELLS - 1:,}, used: with a memmap; {place.why_valid}"),
        (f"page {place.in_section:,} of it", None,
         _CELLS * (place.in_section + 0.5) / kernel.pages_per_section,
         f"page {place.in_section:,} of {kernel.pages_per_section:,}"),
    ]  # fmt: skip
    for nth, touch in enumerate(walk.touches if walk else ()):
        if touch.slot is None:
            continue
        says = f"gives {touch.found}; {touch.object}, byte {touch.byte:,}, cache line {touch.line:,}"
        cells, at = None, _CELLS * (touch.slot + 0.5) / touch.nr_slots
        if touch.shift is not None and touch.nr_slots == _CELLS:
            cells = slots_used(pinned, place.pfn, touch.shift, kernel.xa_chunk_shift)
        level = "" if touch.shift is None else f"shift {touch.shift}: "
        rows.append((f"{nth + 1}. {level}{touch.what}", cells, at, says))
    return pd.DataFrame(rows, columns=["label", "cells", "at", "says"])


def _lines(one: Conversion) -> str:
    if one.lines is None:
        return "lines not known"
    low, high = one.lines
    text = f"{low}" if low == high else f"{low} to {high}"
    return f"{text} cache line{'s' * (high != 1)}"


def _facts(place: Place, pinned: PfnSet, is_pinned: bool, walk: MapWalk | None, name: str) -> str:
    facts = place.facts()
    facts["pinned"] = (f"{'yes' if is_pinned else 'no'}; {pinned.nr_pages:,} pages are, in "
                       f"{pinned.nr_entries:,} entries")
    if walk is None:
        facts["pfn map"] = f"{name}: {UNDRAWN}"
    else:
        facts["pfn map"] = (f"{name}: {'found' if walk.found else 'not found'} after {walk.nr_loads} loads"
                            + (f"; {walk.note}" if walk.note else ""))
    rows = "".join(f'<tr><td style="padding:1px 12px 1px 0;white-space:nowrap"><b>{inert(key)}</b></td>'
                   f"<td>{inert(text)}</td></tr>" for key, text in facts.items())
    return f'<table style="line-height:1.45;margin:8px 0 8px 12px">{rows}</table>'


def _table(one: Conversion) -> str:
    """One conversion's steps as HTML."""
    heads = ("step", "loads", "reads", "byte", "line", "gives")
    cells = []
    for nth, step in enumerate(one.steps):
        touch = step.touch
        where = touch.object if touch else "the pfn map" if step.nr_loads else "registers"
        cells.append((f"{nth + 1}. {step.what}", str(step.nr_loads or ""), where,
                      f"{touch.byte:,}" if touch else "", f"{touch.line:,}" if touch else "", step.gives))
    head, *body = ["".join(f'<{tag} style="padding:1px 8px;{_style(at)}">{inert(text)}</{tag}>'
                           for at, text in enumerate(row))
                   for row, tag in zip([heads, *cells], ["th"] + ["td"] * len(cells), strict=True)]
    made = "counted exactly" if one.exact else "not exact"
    notes = "".join(f"<li>{inert(note)}</li>" for note in one.notes)
    style = "font-variant-numeric:tabular-nums;line-height:1.45"
    return (f'<div style="overflow-x:auto;margin:8px 0 8px 12px"><b>{inert(one.design)}</b>, '
            f"{inert(one.op)}(), {inert(one.case)}: {one.dependent_loads} dependent loads, {_lines(one)}; "
            f'{made}<table style="{style}"><thead><tr>{head}</tr></thead>'
            f"<tbody><tr>{'</tr><tr>'.join(body)}</tr></tbody></table>"
            f"<ul>{notes}</ul></div>")


def _style(column: int) -> str:
    side = "right" if column in (1, 3, 4) else "left"
    return f"text-align:{side}" + (";white-space:nowrap" if not column else "")
