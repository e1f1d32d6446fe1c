"""A pin trace replayed: how many folios are pinned at once, for how long, and what designs keep for them.

The rule: rows without FOLL_PIN are not pins; a folio's count grows by ``nr`` with a pin and falls by ``nr``
with an unpin, never below 0; while it is above 0 the folio has one descriptor, and one order-0 entry at its
head pfn in the pfn map. By page, each page has an entry from its first pin until its folio's count is 0,
since an unpin names the folio and not the page. Where a pin names only its folio too (``grab``), the folio's
next pages are taken; nothing by page is called exact.

Exact at every event: descriptors, references, nodes of the XArray and the two-level table, and the bytes
that follow from a number of entries or nodes, in packed slabs. A map whose shape depends on history (the
maple tree) is counted at moments of the trace only, and says so. Left out: RCU's delay before an object can
be used again, partly filled slabs, and folios split or merged while they were held.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.evidence.pins._select import LONGTERM
from workbench.evidence.pins.trace import Trace, counted, iter_batches
from workbench.model import designs, pfnmaps
from workbench.model.designs.base import Design
from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.kernel.slab import SlabCache
from workbench.model.memory.pfns import PfnSet
from workbench.model.pfnmaps import MapCounts, PfnMap

if TYPE_CHECKING:
    import pandas as pd

#: Designs that a replay shows unless others are named: those that the put_user_page() thread weighed.
DESIGNS = ("foll_pin", "proxy_bit", "dynamic_page")
MAPS = ("xarray",)
GRANULARITIES = ("folio", "page")
#: Moments at which maps are counted that cannot be followed event by event. Assumed: enough for a figure.
SNAPSHOTS = 100
_SNAPSHOT_WORK = 1 << 28  # table rows that all snapshots together may scan
_MOST_PAGES = 1 << 22  # pages of the largest folio, MAX_FOLIO_ORDER on x86-64, include/linux/mmzone.h, v7.3
_BLOCK = 1 << 18  # rows of a batch that are replayed at once

Source = Trace | str | os.PathLike[str]
Moment = tuple[int, int, PfnSet]  # event, ns since the first, live entries


@dataclass(frozen=True, kw_only=True)
class MapPeak:
    """What a pfn map came to during a trace. ``exact``: at every event, and not at some moments only."""

    map: str
    exact: bool
    peak_nodes: int
    peak_nodes_event: int
    peak_per_shift: dict[int, int]
    peak_height: int
    peak_bytes: int
    end_nodes: int
    alloc_total: int | None  # nodes allocated in all; None where they are not followed
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class DesignPeak:
    """What a design kept for pins during a trace: descriptors, and with them the pfn map where it has one."""

    design: str
    map: str  # "" where the design has none
    exact: bool
    descriptor_bytes: int
    peak_descriptors: int
    descriptors_allocated: int
    peak_bytes: int
    peak_bytes_event: int
    pins_met: int  # pins that needed no new descriptor: what they pin had one already
    percent_met: float
    lookups: int  # walks of the pfn map by pins and unpins, as Design.map_lookups() says


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """One replay. Events count pins and unpins from 0, in the trace's order.

    Examples
    --------
    >>> found = replay("pins-fio")
    >>> found.peak_live_folios, found.maps["xarray"].peak_nodes, found.complete
    (560, 24, True)
    """

    name: str
    meta: dict[str, Any]
    granularity: str
    kernel: KernelConfig
    events: int
    not_pins_dropped: int
    acquired_refs: int
    released_refs: int
    outstanding_refs_end: int
    negative: int  # references dropped that nobody had taken
    folios_distinct: int
    folio_transitions: int  # counts that became positive or 0
    peak_live_folios: int
    peak_live_folios_event: int
    peak_refs: int
    peak_refs_event: int
    peak_entries: int
    live_folios_end: int
    duration_ns: int
    span: int  # highest pfn + 1
    maps: dict[str, MapPeak]
    designs: list[DesignPeak]
    why: tuple[str, ...]  # what is known to be wrong with the trace
    paths: np.ndarray  # pins by gup_fast (0, 1), first pin of the folio (0, 1), FOLL_LONGTERM (0, 1)
    lives: np.ndarray  # lifetimes, in bins of engine.life_bin
    by_comm: dict[str, tuple[int, int, int]]  # pins, references and first pins, by who took them
    bins: dict[str, np.ndarray] = field(repr=False)  # by radix map
    bin_ns: int = 0
    snapshots: tuple[Moment, ...] = field(default=(), repr=False)
    proxy_bytes: int = 64
    knows_fast: bool = True  # whether the trace says which pins came through gup_fast

    @property
    def complete(self) -> bool:
        """Whether nothing says that events are missing."""
        return not self.why

    @property
    def pins(self) -> int:
        """Pins, whatever their number of references."""
        return int(self.paths.sum())

    def to_dict(self) -> dict[str, Any]:
        """The keys that ``workbench replay --json`` prints."""
        plain = (
            "events",
            "not_pins_dropped",
            "acquired_refs",
            "released_refs",
            "outstanding_refs_end",
            "negative",
            "folios_distinct",
            "folio_transitions",
            "peak_live_folios",
            "peak_live_folios_event",
            "peak_refs",
            "peak_refs_event",
            "live_folios_end",
            "granularity",
            "peak_entries",
        )
        maps = {}
        for name, peak in self.maps.items():
            maps[name] = dataclasses.asdict(peak)
            maps[name]["peak_per_shift"] = {str(k): v for k, v in peak.peak_per_shift.items()}
        median, p99 = (self.lifetime_ns(q) for q in (0.5, 0.99))
        return {
            "trace": self.name,
            **{key: getattr(self, key) for key in plain},
            "complete": self.complete,
            "why": list(self.why),
            "seconds": self.duration_ns / 1e9,
            "lifetime_ns": {"median": median, "p99": p99, "nr": int(self.lives.sum())},
            "longterm_pins": int(self.paths[:, :, 1].sum()),
            "gup_fast_pins": int(self.paths[1].sum()),
            "maps": maps,
            "designs": [dataclasses.asdict(row) for row in self.designs],
        }

    def lifetime_ns(self, share: float) -> tuple[int, int] | None:
        """The bin (from, below, in ns) that a share of the ended lifetimes has reached; None if none ended.

        Folios that were still pinned at the end have no lifetime yet.
        """
        total = int(self.lives.sum())
        if not total:
            return None
        at = int(np.searchsorted(np.cumsum(self.lives), max(share * total, 1)))
        return life_edges(at), life_edges(at + 1)

    @property
    def caveat(self) -> str:
        """What a figure of this replay has to say beside its numbers; "" where there is nothing to say."""
        said = ["synthetic, not recorded"] if self.meta.get("synthetic") else []
        said += [str(part) for part in self.meta.get("left_out", ())]
        if self.why:
            said.append(f"incomplete trace: {'; '.join(self.why)}")
        if self.granularity == "page":
            said.append("a descriptor for each page: which page of a folio is meant is not always recorded")
        if not self.knows_fast:
            said.append("which pins were gup_fast's is not recorded: all count as such")
        return "; ".join(said)

    def lifetimes(self) -> pd.DataFrame:
        """How long folios stayed pinned: from_ns, below_ns, folios, one row for each bin that has some."""
        import pandas as pd

        used = np.flatnonzero(self.lives)
        rows = [(life_edges(at), life_edges(at + 1), int(self.lives[at])) for at in used.tolist()]
        return pd.DataFrame(rows, columns=["from_ns", "below_ns", "folios"])

    def clusters(self) -> pd.DataFrame:
        """Runs of neighbouring entries where most are alive: run_entries, runs, entries; needs snapshots."""
        import pandas as pd

        if not self.snapshots:
            raise InputError("this replay kept no sets of live entries: replay(..., snapshots=1)")
        most = max((entries for _, _, entries in self.snapshots), key=lambda entries: entries.nr_entries)
        lengths = (most.last - most.first).astype(np.int64) + 1
        run, nr = np.unique(lengths, return_counts=True)
        return pd.DataFrame({"run_entries": run, "runs": nr, "entries": run * nr})

    def bytes_over_time(self, designs: Iterable[str], pfn_map: str = "xarray") -> pd.DataFrame:
        """What designs keep for pins, at the event of each time bin that has the most entries.

        Parameters
        ----------
        designs : iterable of str
        pfn_map : str
            One of the maps that were replayed.

        Returns
        -------
        DataFrame
            design, map ("" where it has none), seconds, entries, bytes, exact. A map that cannot be followed
            event by event has rows at the snapshots only.
        """
        import pandas as pd

        if pfn_map not in self.maps:
            raise InputError(f"pfn map {pfn_map!r} was not replayed; {', '.join(self.maps)} were")
        rows = []
        for name in designs:
            design = _designs.get(name)
            size = design.descriptor_bytes(self.kernel, self.proxy_bytes)
            seconds, entries, extra = self._curve(pfn_map if design.uses_pfn_map else "")
            slabs = SlabCache.of(size, self.kernel) if size else None
            own = -(-entries // slabs.objects_per_slab) * slabs.slab_bytes(1) if slabs else 0
            exact = self.granularity == "folio" and (not design.uses_pfn_map or self.maps[pfn_map].exact)
            rows.append(
                pd.DataFrame(
                    {
                        "design": name,
                        "map": pfn_map if design.uses_pfn_map else "",
                        "seconds": seconds,
                        "entries": entries,
                        "bytes": own + extra,
                        "exact": exact,
                    }
                )
            )
        return pd.concat(rows, ignore_index=True)

    def _curve(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Seconds, entries and bytes of a map; of no map where the name is empty."""
        from workbench.evidence.pins import _engine as engine

        used = np.flatnonzero(self.bins["xarray"][:, engine.B_EVENTS])
        seconds, entries = used * self.bin_ns / 1e9, self.bins["xarray"][used, engine.B_MAX_ENTRIES]
        if not name:
            return seconds, entries, np.zeros(len(used), dtype=np.int64)
        pfn_map = pfnmaps.get(name)
        if name in self.bins:
            per, slab = pfn_map.node_slab(self.kernel)
            fixed = pfn_map.of_nodes_per_level([], 0, self.kernel, span=self.span).bytes
            return seconds, entries, fixed + -(-self.bins[name][used, engine.B_NODES_AT] // per) * slab
        if pfn_map.of_entries(0, self.kernel, span=self.span):
            before = np.maximum.accumulate(entries)  # a hash table does not shrink again
            pairs, back = np.unique(np.stack([entries, before]), axis=1, return_inverse=True)
            counts = [
                pfn_map.of_entries(int(nr), self.kernel, span=self.span, peak=int(most))
                for nr, most in pairs.T
            ]
            return seconds, entries, np.array([c.bytes for c in counts if c], dtype=np.int64)[back.ravel()]
        moments = [
            (ns / 1e9, live.nr_entries, pfn_map.counts(live, self.kernel, span=self.span).bytes)
            for _, ns, live in self.snapshots
        ]
        return tuple(np.array(column) for column in zip(*moments, strict=True))  # type: ignore[return-value]

    def timeline(self, pfn_map: str = "xarray") -> pd.DataFrame:
        """One row per time bin that has an event; nodes are those of a map that is followed event by event.

        Returns
        -------
        DataFrame
            start_ns, end_ns (since the first event); events, pins, unpins, first_pins, last_unpins,
            nodes_allocated, nodes_freed (sums); max_live, max_refs, max_entries, max_nodes (the most in the
            bin); live, refs, entries, nodes (at its end); event, nodes_at (the event with the most entries,
            and the nodes then).
        """
        import pandas as pd

        columns = [
            "events",
            "pins",
            "unpins",
            "first_pins",
            "last_unpins",
            "nodes_allocated",
            "nodes_freed",
            "max_live",
            "max_refs",
            "max_entries",
            "max_nodes",
            "live",
            "refs",
            "entries",
            "nodes",
            "event",
            "nodes_at",
        ]
        if pfn_map not in self.bins:
            raise InputError(
                f"pfn map {pfn_map!r} is not followed event by event; {', '.join(self.bins)} are"
            )
        used = np.flatnonzero(self.bins[pfn_map][:, 0])
        table = pd.DataFrame(self.bins[pfn_map][used], columns=columns)
        table.insert(0, "start_ns", used * self.bin_ns)
        table.insert(1, "end_ns", (used + 1) * self.bin_ns)
        return table


def life_edges(at: int) -> int:
    """The least lifetime, in ns, that falls into a bin of ``Replay.lives``; the inverse of engine.life_bin.

    Examples
    --------
    >>> [life_edges(at) for at in (0, 15, 16, 63, 64)]
    [0, 15, 16, 960, 1024]
    """
    return at if at < 16 else (at % 8 + 8) << (at // 8 - 1)


class _Pass:
    """The engine's state through one reading of a trace, for one radix map."""

    def __init__(self, shifts: Sequence[int] | np.ndarray, grows: bool, sizes: np.ndarray, by_page: bool):
        from workbench.evidence.pins import _engine as engine

        self.engine, self.by_page, self.grows = engine, by_page, grows
        self.shifts = np.array(shifts, dtype=np.int64)
        self.sizes = sizes
        self.s = np.zeros(engine.NR_COUNTERS, dtype=np.int64)
        self.table = np.full((1 << 12, engine.NR_COLUMNS), -1, dtype=np.int64)
        self.pages, self.page_slots = _rows(1 << 12 if by_page else 2, 4)
        self.nodes, self.slots = _rows(1 << 12, 3)
        self.per_level = np.zeros(self.shifts.size, dtype=np.int64)
        self.per_height = np.zeros(self.shifts.size + 1, dtype=np.int64)
        self.peak_per_level = np.zeros(self.shifts.size, dtype=np.int64)
        self.bins = np.zeros((engine.NR_BINS, engine.NR_FIELDS), dtype=np.int64)
        self.lives = np.zeros(engine.NR_LIFE_BINS, dtype=np.int64)
        self.comms = np.zeros((64, 3), dtype=np.int64)
        self.paths = np.zeros((2, 2, 2), dtype=np.int64)
        self.peaks = np.zeros((len(sizes), 2), dtype=np.int64)

    def feed(self, trace: Trace, stop: int = -1, start: int = 0) -> tuple[int, np.ndarray]:
        """Replay one batch from row ``start``; the row after the last one done, and what came of each."""
        engine, s = self.engine, self.s
        pin = trace.foll_pin
        _check_ranges(trace)
        page = trace.pfn.astype(np.int64)
        rows = [
            trace.ts_ns,
            page,
            page - trace.head_off,
            trace.op,
            trace.nr,
            trace.gup_flags,
            trace.comm,
            trace.is_fast,
            _inside(trace) if self.by_page else np.zeros(len(trace), dtype=np.int64),
        ]
        rows = [_read_only(column) for column in rows]
        while (top := int(trace.comm.max(initial=0))) >= len(self.comms):
            self.comms = np.concatenate([self.comms, np.zeros((max(top, 64), 3), dtype=np.int64)])
        outcome = np.zeros(len(trace), dtype=np.int8)
        while start < len(trace):
            before = start
            start = engine.replay_block(
                start,
                *rows,
                pin,
                LONGTERM[pin],
                self.by_page,
                self.shifts,
                self.grows,
                self.sizes,
                stop,
                s,
                self.table,
                self.pages,
                self.page_slots,
                self.nodes,
                self.slots,
                self.per_level,
                self.per_height,
                self.peak_per_level,
                self.bins,
                self.lives,
                self.comms,
                self.paths,
                self.peaks,
                outcome,
            )
            if stop >= 0 and s[engine.EVENTS] > stop:
                break
            if start < len(trace):
                self._grow(int(trace.nr[start]) if self.by_page else 1, stuck=start == before)
        return start, outcome

    def _grow(self, room: int, stuck: bool) -> None:
        """Double what is full, by the rules of replay_block."""
        engine, s = self.engine, self.s
        if 5 * (s[engine.FOLIOS] + 1) > 4 * len(self.table):
            bigger = np.full((2 * len(self.table), engine.NR_COLUMNS), -1, dtype=np.int64)
            engine.move_table(self.table, bigger)
            self.table = bigger
        need = s[engine.NR_NODES] + engine.room_for_nodes(room)
        if need > len(self.nodes):
            self.nodes, self.slots = _rows(2 * int(need), 3, self.nodes, int(s[engine.NR_NODES]))
        if s[engine.NR_PAGES] + room > len(self.pages) and self.by_page:
            more = 2 * (int(s[engine.NR_PAGES]) + room)
            self.pages, self.page_slots = _rows(more, 4, self.pages, int(s[engine.NR_PAGES]))

    def entries(self) -> PfnSet:
        """The live entries now."""
        out = np.empty(int(self.s[self.engine.ENTRIES]), dtype=np.int64)
        nr = self.engine.live_entries(
            self.by_page, self.table, self.pages, int(self.s[self.engine.NR_PAGES]), out
        )
        return PfnSet.from_pfns(out[:nr].astype(np.uint64))


def _check_ranges(trace: Trace) -> None:
    """What the engine relies on; files are checked when they are read, traces made by hand are not."""
    from workbench.evidence.pins import _engine as engine

    for column, values, most in (("ts_ns", trace.ts_ns, engine.MAX_NS), ("pfn", trace.pfn, engine.MAX_PFN)):
        if len(values) and not 0 <= values.min() <= values.max() < most:
            wrong = values.min() if values.min() < 0 else values.max()
            raise InputError(f"{column} {wrong} is not in 0..{most - 1:#x}", file=trace.name)


def _inside(trace: Trace) -> np.ndarray:
    """Pages of the folio, for pins that name their folio only (``grab``, large folios); else 0."""
    most = int(trace.nr.max(initial=0))
    if most > _MOST_PAGES:
        raise InputError(
            f"nr {most} by page: a pin of more than {_MOST_PAGES} pages is no pin of one folio",
            file=trace.name,
        )
    slow = (trace.op > 0) & ~trace.is_fast & (trace.head_off == 0) & (trace.order > 0)
    return np.where(slow, np.int64(1) << np.maximum(trace.order, 0).astype(np.int64), 0)


def _read_only(column: np.ndarray) -> np.ndarray:
    """A view that cannot be written: as Arrow's arrays are, so that Numba compiles the loop once."""
    column = np.ascontiguousarray(column).view()
    column.flags.writeable = False
    return column


def _rows(
    nr: int, columns: int, old: np.ndarray | None = None, used: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Numbered rows and the hash slots over them, with `used` rows taken over."""
    from workbench.evidence.pins import _engine as engine

    nr = 1 << (nr - 1).bit_length()
    rows, slots = np.zeros((nr, columns), dtype=np.int64), np.full(2 * nr, -1, dtype=np.int32)
    if old is not None:
        rows[:used] = old[:used]
        engine.fill_slots(slots, rows, used)
    return rows, slots


def batches_of(source: Source) -> Iterator[Trace]:
    """A trace in pieces: a loaded one, a shipped one's name, or a file of any size."""
    if not isinstance(source, Trace):
        yield from _ahead(iter_batches(source, _BLOCK))
        return
    for start in range(0, max(len(source), 1), _BLOCK):
        yield source.select(slice(start, start + _BLOCK))


def _ahead(batches: Iterator[Trace]) -> Iterator[Trace]:
    """The same batches, each read while the one before it is being replayed."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def replay(
    trace: Source,
    *,
    designs: Iterable[str] = DESIGNS,
    maps: Iterable[str] = MAPS,
    granularity: str = "folio",
    vmstat: tuple[int, int] | None = None,
    kernel: KernelConfig | None = None,
    end_pfn: int | None = None,
    proxy_bytes: int = 64,
    snapshots: int | None = None,
) -> Replay:
    """Replay a trace through designs and pfn maps.

    Parameters
    ----------
    trace : Trace or path
        A loaded trace, a Parquet file (read in pieces: memory goes by distinct folios), or a shipped
        trace's name.
    designs, maps : iterable of str
        Names of ``designs.registry()`` and ``pfnmaps.registry()``. The XArray is always followed.
    granularity : str
        ``"folio"``, or ``"page"``: an entry for each base page (see above).
    vmstat : (int, int), optional
        By how much nr_foll_pin_acquired and nr_foll_pin_released grew meanwhile, in base pages.
    kernel : KernelConfig, optional
        Sizes and slabs; x86-64 by default.
    end_pfn : int, optional
        The machine's last pfn plus 1. Tables reach that far; a pfn beyond it makes the trace incomplete.
    proxy_bytes : int
        sizeof(struct page_proxy), assumed.
    snapshots : int, optional
        Moments at which to keep the set of live entries; by default none, or what a map needs.

    Raises
    ------
    InputError
        Unknown names, or a file that is no pin trace.
    """
    kernel = kernel or KernelConfig()
    if proxy_bytes < 8:
        raise InputError(f"a proxy of {proxy_bytes} bytes cannot hold a pfn: 8 or more")
    if granularity not in GRANULARITIES:
        raise InputError(f"granularity {granularity!r} is none of {', '.join(GRANULARITIES)}")
    wanted = {name: pfnmaps.get(name) for name in dict.fromkeys((*MAPS, *maps))}
    chosen = [_designs.get(name) for name in dict.fromkeys(designs)]
    sizes = {name: _sizes(chosen, pfn_map, kernel, proxy_bytes) for name, pfn_map in wanted.items()}
    by_page = granularity == "page"
    passes: dict[str, _Pass] = {}
    seen = _Seen()
    for name, pfn_map in wanted.items():
        if shifts := pfn_map.node_shifts(kernel):
            passes[name] = run = _Pass(shifts, pfn_map.grows, sizes[name], by_page)
            for batch in batches_of(trace):
                seen.note(batch)
                run.feed(batch)
    base = passes["xarray"]
    engine, s = base.engine, base.s
    span = max(seen.max_pfn + 1, end_pfn or 0)
    if snapshots is None:
        needs = any(n not in passes and m.of_entries(0, kernel, span=span) is None for n, m in wanted.items())
        snapshots = SNAPSHOTS if needs else 0
    moments = _snapshots(trace, base, snapshots, by_page) if snapshots and s[engine.EVENTS] else ()
    found = {
        name: _map_peak(pfn_map, passes.get(name), base, moments, kernel, span)
        for name, pfn_map in wanted.items()
    }
    rows = [
        row
        for name, pfn_map in wanted.items()
        for nth, design in enumerate(chosen)
        if name == "xarray" or design.uses_pfn_map
        for row in [
            _design_peak(design, pfn_map, passes.get(name), nth, base, moments, kernel, span, proxy_bytes)
        ]
    ]
    names = seen.last.comm_names
    return Replay(
        name=seen.last.name,
        meta=dict(seen.last.meta),
        granularity=granularity,
        kernel=kernel,
        events=int(s[engine.EVENTS]),
        not_pins_dropped=int(s[engine.DROPPED]),
        acquired_refs=int(s[engine.ACQUIRED]),
        released_refs=int(s[engine.RELEASED]),
        outstanding_refs_end=int(s[engine.REFS]),
        negative=int(s[engine.NEGATIVE]),
        folios_distinct=int(s[engine.FOLIOS]),
        folio_transitions=int(s[engine.TRANSITIONS]),
        peak_live_folios=int(s[engine.PEAK_LIVE]),
        peak_live_folios_event=int(s[engine.PEAK_LIVE_AT]),
        peak_refs=int(s[engine.PEAK_REFS]),
        peak_refs_event=int(s[engine.PEAK_REFS_AT]),
        peak_entries=int(s[engine.PEAK_ENTRIES]),
        live_folios_end=int(s[engine.LIVE]),
        duration_ns=int(s[engine.LAST_NS] - s[engine.FIRST_NS]),
        span=span,
        maps=found,
        designs=rows,
        why=_why(seen, s, engine, vmstat, end_pfn),
        paths=base.paths,
        lives=base.lives,
        by_comm={names[k]: (row[0], row[1], row[2]) for k, row in enumerate(base.comms.tolist()) if any(row)},
        bins={name: run.bins for name, run in passes.items()},
        bin_ns=1 << int(s[engine.BIN_SHIFT]),
        snapshots=tuple(moments),
        proxy_bytes=proxy_bytes,
        knows_fast=seen.last.knows_fast,
    )


_designs = designs  # replay() has a parameter of that name


class _Seen:
    """What is noted of a trace beside its replay."""

    def __init__(self) -> None:
        self.max_pfn = -1
        self.last: Trace

    def note(self, batch: Trace) -> None:
        self.last = batch
        is_pin = batch.is_pin
        top = (batch.pfn.astype(np.int64) + np.where(batch.op > 0, batch.nr - 1, 0))[is_pin]
        self.max_pfn = max(self.max_pfn, int(top.max(initial=-1)))


def _why(
    seen: _Seen, s: np.ndarray, engine: Any, vmstat: tuple[int, int] | None, end_pfn: int | None
) -> tuple[str, ...]:
    """What the trace's own words, its counts and the kernel's counters say against it."""
    meta, why = seen.last.meta, list(seen.last.why)
    acquired, released = int(s[engine.ACQUIRED]), int(s[engine.RELEASED])
    said = vmstat or [meta.get(f"vmstat_{what}") for what in ("acquired", "released")]
    agree = []
    for counter, theirs, ours in zip(("acquired", "released"), said, (acquired, released), strict=True):
        least = meta.get(f"vmstat_{counter}_least", theirs) if vmstat is None else theirs
        agree.append(isinstance(theirs, int) and isinstance(least, int) and least <= ours <= theirs)
        if theirs is not None and not agree[-1]:
            grew = f"{theirs:,}" if isinstance(theirs, int) else repr(theirs)
            why.append(f"vmstat nr_foll_pin_{counter} grew by {grew}, the trace has {ours:,}")
    if nr := int(s[engine.NEGATIVE]):
        why.append(counted(nr, "reference was", "references were") + " dropped that nobody had taken")
    if all(agree):  # the machine held them too
        why = [reason for reason in why if "still held at the end" not in reason]
    elif nr := int(s[engine.REFS]):
        why.append(
            counted(nr, "reference is", "references are")
            + " still held at the end: releases lost, or yet to come"
        )
    if nr := int(s[engine.BACKWARDS]):
        why.append("time goes back in " + counted(nr, "place", "places"))
    if end_pfn is not None and seen.max_pfn >= end_pfn:
        why.append(f"pfn {seen.max_pfn:#x} is beyond the machine, whose last is {end_pfn - 1:#x}")
    if not s[engine.EVENTS]:
        why.append(
            f"no event has FOLL_PIN ({seen.last.foll_pin:#x}); is the kernel release "
            f"{seen.last.kernel or 'unknown'} right?"
        )
    return tuple(dict.fromkeys(why))


def _sizes(chosen: Sequence[Design], pfn_map: PfnMap, kernel: KernelConfig, proxy_bytes: int) -> np.ndarray:
    """The rows that replay_block wants: slabs of descriptors and of nodes, for each design."""
    rows = np.zeros((len(chosen), 4), dtype=np.int64)
    for nth, design in enumerate(chosen):
        if size := design.descriptor_bytes(kernel, proxy_bytes):
            cache = SlabCache.of(size, kernel)
            rows[nth, :2] = cache.objects_per_slab, cache.slab_bytes(1)
        if design.uses_pfn_map and pfn_map.node_shifts(kernel):
            rows[nth, 2:] = pfn_map.node_slab(kernel)
    return rows


def _snapshots(trace: Source, base: _Pass, wanted: int, by_page: bool) -> list[Moment]:
    """A second reading: the live entries where each time bin has the most, and at the peak."""
    engine, s = base.engine, base.s
    used = base.bins[base.bins[:, engine.B_EVENTS] > 0]
    wanted = int(max(2, min(wanted, _SNAPSHOT_WORK // len(base.table), len(used))))
    at = used[np.linspace(0, len(used) - 1, wanted).astype(int), engine.B_AT]
    peaks = (int(s[engine.PEAK_ENTRIES_AT]), int(s[engine.PEAK_NODES_AT]), int(s[engine.EVENTS]) - 1)
    stops = sorted({*at.tolist(), *peaks})
    run, found = _Pass(base.shifts, base.grows, base.sizes, by_page), []
    for batch in batches_of(trace):
        row = 0
        while row < len(batch) and stops:
            row, _ = run.feed(batch, stops[0], row)
            if run.s[engine.EVENTS] > stops[0]:
                found.append(
                    (stops.pop(0), int(run.s[engine.LAST_NS] - run.s[engine.FIRST_NS]), run.entries())
                )
        if not stops:
            break
    return found


def _map_peak(
    pfn_map: PfnMap,
    run: _Pass | None,
    base: _Pass,
    moments: Sequence[Moment],
    kernel: KernelConfig,
    span: int,
) -> MapPeak:
    engine, s = base.engine, base.s
    most, end = int(s[engine.PEAK_ENTRIES]), int(s[engine.ENTRIES])
    if run is not None:
        levels = run.peak_per_level.tolist()
        peak = pfn_map.of_nodes_per_level(levels, most, kernel, span=span)
        return MapPeak(
            map=pfn_map.name,
            exact=not base.by_page,
            peak_nodes=int(run.s[engine.PEAK_NODES]),
            peak_nodes_event=int(run.s[engine.PEAK_NODES_AT]),
            peak_per_shift=dict(peak.nodes_per_shift),
            peak_height=peak.height if run.s[engine.PEAK_NODES] else 0,
            peak_bytes=peak.bytes,
            end_nodes=int(run.s[engine.NODES]),
            alloc_total=int(run.s[engine.ALLOCATED]),
        )
    counts = pfn_map.of_entries(most, kernel, span=span)
    at, exact, note = int(s[engine.PEAK_ENTRIES_AT]), not base.by_page, ""
    last = pfn_map.of_entries(end, kernel, span=span)
    if counts is None:
        at, counts = _largest(pfn_map, moments, kernel, span)
        last = pfn_map.counts(moments[-1][2] if end else PfnSet.empty(), kernel, span=span)
        exact, note = False, f"counted at {len(moments)} moments, between them perhaps larger; {counts.note}"
    return MapPeak(
        map=pfn_map.name,
        exact=exact,
        peak_nodes=counts.nr_nodes,
        peak_nodes_event=at,
        peak_per_shift=dict(counts.nodes_per_shift),
        peak_height=counts.height,
        peak_bytes=counts.bytes,
        end_nodes=last.nr_nodes if last else 0,
        alloc_total=None,
        note=note,
    )


def _largest(
    pfn_map: PfnMap, moments: Sequence[Moment], kernel: KernelConfig, span: int
) -> tuple[int, MapCounts]:
    found = [(event, pfn_map.counts(entries, kernel, span=span)) for event, _, entries in moments]
    return max(
        found, key=lambda item: item[1].bytes, default=(0, pfn_map.counts(PfnSet.empty(), kernel, span=span))
    )


def _design_peak(
    design: Design,
    pfn_map: PfnMap,
    run: _Pass | None,
    nth: int,
    base: _Pass,
    moments: Sequence[Moment],
    kernel: KernelConfig,
    span: int,
    proxy_bytes: int,
) -> DesignPeak:
    engine, s = base.engine, base.s
    size = design.descriptor_bytes(kernel, proxy_bytes)
    most, exact = int(s[engine.PEAK_ENTRIES]), not base.by_page
    own = SlabCache.of(size, kernel).slab_bytes(most) if size else 0
    if not design.uses_pfn_map:
        total, at = (int(value) for value in base.peaks[nth])
    elif run is not None:
        fixed = pfn_map.of_nodes_per_level([], 0, kernel, span=span).bytes
        total, at = int(run.peaks[nth, 0]) + fixed, int(run.peaks[nth, 1])
    elif (counts := pfn_map.of_entries(most, kernel, span=span)) is not None:
        total, at = own + counts.bytes, int(s[engine.PEAK_ENTRIES_AT])
    else:
        slabs = SlabCache.of(size, kernel) if size else None
        sums = [
            (
                pfn_map.counts(e, kernel, span=span).bytes + (slabs.slab_bytes(e.nr_entries) if slabs else 0),
                at,
            )
            for at, _, e in moments
        ]
        (total, at), exact = max(sums, default=(0, 0)), False
    met = int(s[engine.MET]) if size or design.uses_pfn_map else 0
    pins = int(base.paths.sum())
    return DesignPeak(
        design=design.full_name,
        map=pfn_map.name if design.uses_pfn_map else "",
        exact=exact,
        descriptor_bytes=size,
        peak_descriptors=most if size else 0,
        descriptors_allocated=int(s[engine.ENTRIES_BORN]) if size else 0,
        peak_bytes=total,
        peak_bytes_event=at,
        pins_met=met,
        percent_met=100 * met / pins if pins else 0.0,
        lookups=design.map_lookups(pins, met, int(s[engine.EVENTS]) - pins),
    )
