"""What real pins look like: a trace replayed through designs, pfn maps and pools of descriptors."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets as w

from workbench.evidence.pins.heat import Heat, pfn_heat
from workbench.evidence.pins.pool import SIZES, PoolShares, pool_shares
from workbench.evidence.pins.replay import GRANULARITIES, SNAPSHOTS, Replay, replay
from workbench.evidence.pins.trace import shipped
from workbench.model import designs, pfnmaps
from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.kernel.config import KernelConfig
from workbench.views import figures
from workbench.views.explorers._base import (
    HALF,
    WRAP,
    Explorer,
    Listed,
    control,
    design_row,
    sources_of,
    tick_boxes,
)
from workbench.views.figures import inert

if TYPE_CHECKING:
    import pandas as pd

REFILLS = tuple((figures.duration(ns), ns) for power in range(3, 8) for ns in (10**power, 3 * 10**power))


@functools.lru_cache(maxsize=16)
def _replayed(trace: str, stamp: int, pfn_map: str, granularity: str) -> Replay:
    """A replay through every design that keeps something for pins; `stamp` is the file's time."""
    return replay(trace, designs=offered(), maps=[pfn_map], granularity=granularity, snapshots=SNAPSHOTS)


@functools.lru_cache(maxsize=32)
def _pools(trace: str, stamp: int, refill_ns: int, recycle: bool) -> PoolShares:
    return pool_shares(trace, refill_ns=refill_ns, recycle=recycle)


@functools.lru_cache(maxsize=8)
def _heat(trace: str, stamp: int) -> Heat:
    return pfn_heat(trace)


def _stamp(trace: str) -> int:
    """What changes when a trace's file does."""
    path = Path(trace)
    return path.stat().st_mtime_ns if path.is_file() else 0


def found_trace(text: str) -> str:
    """A shipped trace's name, or a file: from the user's home, this folder, or the workbench's own."""
    text = text.strip()
    if not text:
        raise InputError("no trace is chosen")
    try:
        given = Path(text).expanduser()
        places = [given] if given.is_absolute() else [given, data_dir().parent / given]
        known = next((str(place) for place in places if place.is_file()), None)
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, no such home, a NUL byte
        raise InputError(f"cannot be a path: {error}", file=text[:80]) from None
    if known is None and ("/" in text or text.endswith(".parquet")):
        raise InputError(
            f"no such file; looked in {', '.join(str(p.resolve().parent) for p in places)}", file=text
        )
    return known or text


def offered() -> list[str]:
    """Designs that keep something for a pin, and FOLL_PIN, which keeps nothing."""
    kernel = KernelConfig()
    found = {
        name: design
        for name, design in designs.registry().items()
        if design.uses_pfn_map or design.descriptor_bytes(kernel, 64)
    }
    return [
        "foll_pin",
        *(
            name
            for name, design in found.items()
            if not design.variant or design.uses_pfn_map != designs.get(design.name).uses_pfn_map
        ),
    ]


class PinsExplorer(Explorer):
    """A pin trace: what is pinned over time and where, for how long, what designs keep, how often pools fail.

    Keyword arguments are the names of ``controls``; ``trace`` is a shipped trace's name or a file.
    """

    views: ClassVar = {"readout": "text", "over_time": "figure", "pool": "figure", "lifetimes": "figure",
                       "heat": "figure", "clusters": "figure", "table": "text"}  # fmt: skip
    presets: ClassVar = {
        "fio: few folios, pinned again and again": {},
        "a mixed load, recorded with losses": {"trace": "pins-mixed-lossy-kprobe"},
        "a mixed load, a descriptor for each page": {
            "trace": "pins-mixed-lossy-kprobe", "granularity": "page"},
        "a pool of one, refilled after 10 ms": {"pool_size": 1, "refill_ns": 10_000_000},
    }
    share_axes: ClassVar = {"pool_size": ..., "refill_ns": ..., "recycle": ...,
                            "pfn_map": ("xarray", "maple")}  # fmt: skip

    def __init__(self, **values: Any):
        self.controls = {
            "trace": control(
                w.Text,
                "or any other",
                continuous_update=False,
                tooltip="A Parquet file that `workbench trace import` wrote",
                placeholder="pins.parquet",
            ),
            "designs": tick_boxes(offered()),
            "pfn_map": control(w.Dropdown, "pfn map", options=list(pfnmaps.registry())),
            "granularity": control(w.Dropdown, "a descriptor for", options=list(GRANULARITIES)),
            "pool_size": control(
                w.SelectionSlider,
                "pool, descriptors",
                options=SIZES,
                tooltip="Descriptors that each CPU keeps ready for gup_fast",
            ),
            "refill_ns": control(
                w.SelectionSlider,
                "refill (assumed)",
                options=REFILLS,
                tooltip="From the first take to the refill; assumed",
            ),
            "recycle": control(
                w.Checkbox,
                "unpins refill the pool",
                indent=False,
                layout={"width": "auto", "margin": "2px 2px 2px 144px"},
            ),
        }
        self.controls["trace"].value = "pins-fio"
        self.controls["pfn_map"].value = "xarray"
        self.controls["designs"].value = ("foll_pin", "proxy_bit", "dynamic_page")
        self.controls["pool_size"].value = 16
        self.controls["refill_ns"].value = 100_000
        self.preset = Listed(list(shipped()), self.controls["trace"], description="trace",
                             tooltip="A shipped trace")  # fmt: skip
        super().__init__(**values)

    def replay(self) -> Replay:
        """The replay that the controls describe."""
        trace = found_trace(self._value("trace"))
        return _replayed(trace, _stamp(trace), self._value("pfn_map"), self._value("granularity"))

    def _draw(self, changed: str | None) -> None:
        found, trace = self.replay(), found_trace(self._value("trace"))
        chosen = self._value("designs")
        if not chosen:
            raise InputError("no design is chosen: tick at least one")
        pools = _pools(trace, _stamp(trace), self._value("refill_ns"), self._value("recycle"))
        pool = pools.table()
        here = pool[pool["size"] == self._value("pool_size")].iloc[0]
        self.say("readout", _readout(found, here))
        self.tables["pools"] = pool
        if changed not in ("pool_size", "refill_ns", "recycle"):
            kept = found.bytes_over_time(chosen, self._value("pfn_map"))
            shown = self._value("pfn_map") if self._value("pfn_map") in found.bins else "xarray"
            label = shown if shown == self._value("pfn_map") else f"{shown}, for comparison"
            timeline = found.timeline(shown)
            self.show(
                "over_time", figures.pins_over_time(timeline, kept, nodes_of=label, note=found.caveat)
            )
            self.say("table", peaks_table(found, chosen, self._value("pfn_map")))
            self.tables["designs"] = peaks(found, chosen, self._value("pfn_map"))
            self.tables |= {"over time": timeline, "bytes over time": kept}
            if changed not in ("designs", "pfn_map"):
                self.tables |= {"lifetimes": found.lifetimes(), "clusters": found.clusters()}
                self.show("lifetimes", figures.lifetimes(self.tables["lifetimes"], note=found.caveat))
                self.show("heat", figures.pfn_heat(_heat(trace, _stamp(trace)), note=found.caveat))
                self.show("clusters", figures.clusters(self.tables["clusters"], note=found.caveat))
        self.show("pool", figures.pool_size(pool, self._value("pool_size"), note=found.caveat))

    def title(self) -> str:
        return "What real pins look like, and what designs keep for them"

    def setup(self) -> dict[str, str]:
        said = super().setup()
        return {"trace": said.pop(self.controls["trace"].description), **said}

    def command(self) -> str:
        """``workbench replay`` with the same inputs; it has no pool."""
        value = {name: self._value(name) for name in self.controls}
        return shlex.join(["workbench", "replay", value["trace"].strip(), "--design", *value["designs"],
                           "--map", value["pfn_map"], "--granularity", value["granularity"]])

    def result(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """What each design kept at its peak."""
        return self.tables["designs"], {
            "design": "design", "map": "pfn map", "descriptor_bytes": "descriptor bytes",
            "peak_descriptors": "descriptors at the peak", "peak_bytes": "bytes at the peak"}

    def notes(self) -> list[str]:
        found = self.replay()
        size, pool = self._value("pool_size"), self.tables["pools"]
        slow = pool[pool["size"] == size]["slow_percent"].iloc[0]
        pools = f"Pool of {size:,} descriptors a CPU, refill assumed: {slow:.3g} % of pins are slow."
        return [note for note in (found.caveat, pools) if note]

    def sources(self) -> list[str]:
        found, trace = self.replay(), self._value("trace").strip()
        return [f"trace {trace}: {found.events:,} recorded events", *sources_of(self._value("designs"))]

    def _layout(self) -> w.Widget:
        c = self.controls
        left = w.VBox([self.preset.widget, c["trace"], c["pfn_map"], c["granularity"]], layout=HALF)
        right = w.VBox([c["pool_size"], c["refill_ns"], c["recycle"]], layout=HALF)
        return w.VBox(
            [w.Box([left, right], layout=WRAP), design_row(c["designs"]), self.error, *self.view_widgets()]
        )


def _readout(found: Replay, pool: pd.Series) -> str:
    size = int(pool["size"])
    text = (
        f"{found.pins:,} pins of {found.folios_distinct:,} folios, {found.duration_ns / 1e9:,.3g} s; at most "
        f"{found.peak_live_folios:,} folios and {found.peak_refs:,} references at once. "
        f"Where a design allocates, with {size:,} descriptor{'s' * (size != 1)} a CPU, "
        f"{pool['slow_percent']:.3g} % of pins are slow "
        f"(fast : slow = {figures.ratio(pool['fast_to_slow'])}): the pool is empty, or a descriptor "
        "has to be found."
    )
    worst = f"<b>{inert(found.caveat)}</b><br>" if found.caveat else ""
    return f'<div style="line-height:1.5;margin:4px 0 4px 12px">{worst}{text}</div>'


def peaks(found: Replay, chosen: Sequence[str], pfn_map: str) -> pd.DataFrame:
    """What each design kept at its peak, one row each."""
    import pandas as pd

    names = ["design", "map", "descriptor_bytes", "peak_descriptors", "descriptors_allocated", "peak_bytes",
             "peak_bytes_event", "exact"]  # fmt: skip
    rows = [row for row in found.designs if row.design in chosen and row.map in ("", pfn_map)]
    return pd.DataFrame([[getattr(row, name) for name in names] for row in rows], columns=names)


def peaks_table(found: Replay, chosen: list[str], pfn_map: str) -> str:
    """What each design kept at its peak, as an HTML table of exact integers."""
    rows = [row for row in found.designs if row.design in chosen and row.map in ("", pfn_map)]
    head = (
        "design",
        "pfn map",
        "descriptor, bytes",
        "descriptors at the peak",
        "descriptors allocated",
        "bytes at the peak",
        "at event",
        "how",
    )
    cells = [
        [
            row.design,
            row.map or "-",
            f"{row.descriptor_bytes:,}",
            f"{row.peak_descriptors:,}",
            f"{row.descriptors_allocated:,}",
            f"{row.peak_bytes:,}",
            f"{row.peak_bytes_event:,}",
            "exact" if row.exact else "at snapshots",
        ]
        for row in rows
    ]
    peak = found.maps[pfn_map]
    style = "font-variant-numeric:tabular-nums;line-height:1.5;margin:8px 0;white-space:nowrap"

    def line(values: Any, tag: str) -> str:
        return "".join(
            f'<{tag} style="text-align:{"left" if at < 2 else "right"};padding:2px 10px">'
            f"{inert(value)}</{tag}>"
            for at, value in enumerate(values)
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in cells)
    total = "" if peak.alloc_total is None else f", {peak.alloc_total:,} allocated in all"
    nodes = f"<p>{inert(pfn_map)}: at most {peak.peak_nodes:,} nodes{total}. {inert(peak.note)}</p>"
    return (
        f'<div style="overflow-x:auto"><table style="{style}"><thead><tr>{line(head, "th")}</tr></thead>'
        f"<tbody>{body}</tbody></table>{nodes}</div>"
    )
