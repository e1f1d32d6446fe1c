"""Many scenarios at a time: the same footprints, with arrays where a scenario has a number.

Scenarios that share machine, kernel, design, pfn map, mix and clustering are one group. Within it the numbers
of pages and the sizes of objects are arrays, which the designs' and maps' own formulas take: each row equals
``evaluate()`` of its scenario, bit for bit. Where there is no formula over arrays (the maple tree is
replayed, a design may ask ``if``), and where a scenario cannot be used, ``evaluate()`` answers, one by one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.model import designs, pfnmaps
from workbench.model.designs.base import Setting
from workbench.model.errors import InputError
from workbench.model.memory.machine import Machine
from workbench.model.memory.pfns import Scatter
from workbench.model.memory.population import Population
from workbench.model.pfnmaps.base import EachNote
from workbench.model.scenario.footprints import Scenario, evaluate, machine_of, nr_pages_of

I64 = NDArray[np.int64]

#: Fields that tell groups apart; all others are numbers, which vary within one.
NAMES = ("machine", "kernel", "design", "pfn_map", "describe_device", "mix")
NUMBERS = ("nr_pinned", "nr_device_used", "proxy_bytes", "folio_desc_bytes", "run_pages", "folio_order")
_CLUSTERING = ("run_pages", "folio_order")
#: Beyond these, sums could leave 63 bits: 64 PiB in 4 KiB pages, and objects of 64 KiB. One by one there.
_MOST_PAGES, _MOST_BYTES = 1 << 44, 1 << 16


@dataclass(frozen=True)
class Choice:
    """A column of few values: ``values[codes[i]]`` is that of point i."""

    values: Sequence[Any]
    codes: I64

    def __getitem__(self, at: Any) -> Choice:
        return Choice(self.values, self.codes[at])

    def one(self, at: int) -> Any:
        """The value of one point."""
        return self.values[self.codes[at]]


@dataclass(frozen=True)
class Shares:
    """A column of percentages, of RAM for ``nr_pinned``, of pmem and device memory for ``nr_device_used``."""

    percent: NDArray[np.float64]

    def __getitem__(self, at: Any) -> Shares:
        return Shares(self.percent[at])

    def one(self, at: int) -> str:
        """As a scenario has it: Python prints a float so that it reads back the same."""
        return f"{float(self.percent[at])!r}%"


Column = Choice | Shares | I64


@dataclass
class Rows:
    """The answers to many scenarios, by column. Where ``error`` says why there is none, numbers are 0."""

    parts: dict[str, I64]  # bytes, in the order in which the points bring them up; 0 where a point has none
    total_bytes: I64
    bytes_per_page: NDArray[np.float64]
    percent_of_ram: NDArray[np.float64]
    exact: NDArray[np.bool_]
    nr_pinned: I64  # pages, shares resolved
    nr_device_used: I64
    notes: NDArray[np.object_]
    error: NDArray[np.object_]  # "" where all is well
    vectorised: int  # points that were not evaluated one by one

    def __len__(self) -> int:
        return self.total_bytes.size


class _Clustered(Exception):
    """A footprint asked how pages are clustered."""


class _AnyClustering(Population):
    """Stands for all clusterings at once: good for designs that never ask."""

    def __getattribute__(self, name: str) -> Any:
        if name in _CLUSTERING:
            raise _Clustered
        return super().__getattribute__(name)

    def __init__(self, nr_pinned: Any, nr_device_used: Any, pinned: Any) -> None:
        for name, value in (("nr_pinned", nr_pinned), ("nr_device_used", nr_device_used), ("pinned", pinned)):
            object.__setattr__(self, name, value)


def scenario_at(base: Scenario, columns: Mapping[str, Column], at: int) -> Scenario:
    """The scenario of one point."""
    values = {
        name: int(column[at]) if isinstance(column, np.ndarray) else column.one(at)
        for name, column in columns.items()
    }
    return base.with_(**values)


def evaluate_all(base: Scenario, columns: Mapping[str, Column], nr: int) -> Rows:
    """``evaluate()`` of ``nr`` scenarios that differ from ``base`` in some columns.

    Parameters
    ----------
    base : Scenario
    columns : mapping of field name to Choice, Shares or ndarray of int64, each of ``nr`` points
    nr : int
        Points.

    Examples
    --------
    >>> rows = evaluate_all(Scenario(machine="ram=1GiB"), {"nr_pinned": np.array([0, 64, 10**9])}, 3)
    >>> rows.parts["dynamic_page objects"].tolist(), rows.vectorised
    ([0, 5120, 0], 2)
    >>> rows.error[2]
    '1000000000 pinned pages, but ram=1GiB has 262144 pages of RAM'
    """
    known = {field.name for field in fields(Scenario)} - {"pinned"}
    if unknown := set(columns) - known:
        raise InputError(f"scenario field {sorted(unknown)[0]!r} is none of {', '.join(sorted(known))}")
    return _Run(base, columns, nr).rows()


class _Run:
    def __init__(self, base: Scenario, columns: Mapping[str, Column], nr: int) -> None:
        self.base, self.columns, self.nr = base, dict(columns), nr
        for name in NUMBERS:  # an array of one number each, or a choice of what reads as numbers
            column = self.columns.get(name)
            if isinstance(column, Choice) and all(type(value) is int for value in column.values):
                with contextlib.suppress(OverflowError):  # evaluate() says what is wrong with it
                    self.columns[name] = np.array(column.values, dtype=np.int64)[column.codes]
        self.parts: dict[str, I64] = {}
        self.first: dict[str, tuple[int, int]] = {}  # part -> the point that brings it up, and where
        self.total = np.zeros(nr, np.int64)
        self.nr_pages, self.ram_bytes = np.ones(nr, np.int64), np.ones(nr, np.int64)
        self.exact = np.zeros(nr, np.bool_)
        self.pinned, self.used = np.zeros(nr, np.int64), np.zeros(nr, np.int64)
        self.notes, self.error = np.full(nr, "", object), np.full(nr, "", object)
        self.vectorised = nr

    def rows(self) -> Rows:
        for group in _groups([self._codes(name) for name in NAMES], self.nr):
            self._same_names(group)
        ok = self.error == ""
        names = sorted(self.parts, key=self.first.__getitem__)
        return Rows(
            parts={name: self.parts[name] for name in names},
            total_bytes=self.total,
            bytes_per_page=np.where(ok, _ratio(self.total, self.nr_pages, 1), np.nan),
            percent_of_ram=np.where(ok, _ratio(self.total, self.ram_bytes, 100), np.nan),
            exact=self.exact,
            nr_pinned=self.pinned,
            nr_device_used=self.used,
            notes=self.notes,
            error=self.error,
            vectorised=self.vectorised,
        )

    def _codes(self, name: str) -> I64 | None:
        column = self.columns.get(name)
        if not isinstance(column, Choice | None):
            raise InputError(f"{name} is a name: a column of it is a Choice")
        return None if column is None else column.codes

    def _value(self, name: str, at: I64) -> Any:
        """The base's value, or the points' own."""
        column = self.columns.get(name)
        return getattr(self.base, name) if column is None else column[at]

    def _same_names(self, at: I64) -> None:
        """Points that share all names."""
        names = {name: self.columns[name] for name in NAMES if name in self.columns}
        try:
            scenario = scenario_at(self.base, names, int(at[0]))
            machine = machine_of(scenario)
            designs.get(scenario.design)
            pfnmaps.get(scenario.pfn_map)
            device = machine.pages("pmem", "device")
            pinned = self._pages("nr_pinned", at, machine.nr_pages_ram, "pinned")
            used = self._pages("nr_device_used", at, device, "device memory used")
        except (InputError, OSError):
            self._one_by_one(at)
            return
        self.pinned[at], self.used[at] = pinned, used
        numbers = {name: self._value(name, at) for name in NUMBERS[2:]} | {"pinned": pinned, "used": used}
        numbers = {
            name: np.broadcast_to(np.asarray(value, dtype=np.int64), at.shape)
            if not isinstance(value, Choice)
            else None
            for name, value in numbers.items()
        }
        if any(value is None for value in numbers.values()):
            self._one_by_one(at)
            return
        run, order = numbers["run_pages"], numbers["folio_order"]
        fine = (
            (pinned >= 0)
            & (used >= 0)
            & (used <= min(device, _MOST_PAGES))
            & (run >= 1)
            & (run & (run - 1) == 0)
            & (order >= 0)
            & (order <= 40)
            & (numbers["proxy_bytes"] >= 8)
            & (numbers["proxy_bytes"] <= _MOST_BYTES)
            & (numbers["folio_desc_bytes"] >= 1)
            & (numbers["folio_desc_bytes"] <= _MOST_BYTES)
        )
        if scenario.pinned is None:
            fine &= pinned <= min(machine.nr_pages_ram, _MOST_PAGES)
        elif scenario.pinned.nr_pages > machine.nr_pages_ram:
            fine &= False
        self._one_by_one(at[~fine])
        if not fine.any():
            return
        at, numbers = at[fine], {name: value[fine] for name, value in numbers.items()}
        self._same_sizes(scenario, machine, at, numbers)

    def _pages(self, name: str, at: I64, total: int, what: str) -> I64:
        """Numbers of pages, as nr_pages_of() has them."""
        column = self.columns.get(name)
        if column is None:
            return np.full(at.size, nr_pages_of(getattr(self.base, name), total, what))
        if isinstance(column, np.ndarray):
            return column[at]
        if isinstance(column, Shares):
            if not np.all((column.percent >= 0) & (column.percent <= 100)):
                raise InputError(f"{what}: a share is not between 0% and 100%")
            return np.rint(total * column.percent[at] / 100).astype(np.int64)
        return np.array([nr_pages_of(value, total, what) for value in column.values])[column.codes[at]]

    def _same_sizes(
        self, scenario: Scenario, machine: Machine, at: I64, numbers: Mapping[str, Any]
    ) -> None:
        """Points without a mistake of their own, split until their formula is one."""
        empty = [(numbers[name] == 0).astype(np.int64) for name in ("pinned", "used")]
        for part in _groups(empty, at.size):
            own = {name: value[part] for name, value in numbers.items()}
            population = _AnyClustering(_plain(own["pinned"]), _plain(own["used"]), scenario.pinned)
            try:
                self._footprints(scenario, machine, at[part], own, population)
                continue
            except _Clustered:
                pass
            _, run = np.unique(own["run_pages"], return_inverse=True)
            for same in _groups([run, own["folio_order"]], part.size):
                self._clustered(scenario, machine, at[part[same]], {n: v[same] for n, v in own.items()})

    def _clustered(self, scenario: Scenario, machine: Machine, at: I64, own: Mapping[str, Any]) -> None:
        run, order = int(own["run_pages"][0]), int(own["folio_order"][0])
        fits = np.ones(at.size, np.bool_)
        size = max(run, 1 << order)
        for name, within in (("pinned", machine.ram), ("used", machine.pfns("pmem", "device"))):
            if size > 1 and own[name].any():
                room = Scatter(nr_pages=0, run_pages=size, within=within).places.nr_pages
                fits &= -(-own[name] // size) <= room
        self._one_by_one(at[~fits])
        if not fits.any():
            return
        at, own = at[fits], {name: value[fits] for name, value in own.items()}
        population = Population(_plain(own["pinned"]), run, order, _plain(own["used"]), scenario.pinned)
        self._footprints(scenario, machine, at, own, population)

    def _footprints(
        self, scenario: Scenario, machine: Machine, at: I64, own: Mapping[str, Any], population: Population
    ) -> None:
        design, pfn_map = designs.get(scenario.design), pfnmaps.get(scenario.pfn_map)
        if (design.uses_pfn_map and not pfn_map.by_arrays and scenario.pinned is None):
            self._one_by_one(at)
            return
        setting = Setting(
            machine,
            population,
            pfn_map,
            describe_device=scenario.describe_device,
            proxy_bytes=_plain(own["proxy_bytes"]),
            mix=scenario.mix,
            folio_desc_bytes=_plain(own["folio_desc_bytes"]),
        )
        try:
            found = design.footprint(setting)
            parts = {name: np.broadcast_to(_whole(value), at.shape) for name, value in found.parts.items()}
            exact = bool(found.exact)
        except (ValueError, TypeError, ArithmeticError):  # an InputError too: evaluate() says it of its point
            self._one_by_one(at)
            return
        total = np.zeros(at.size, np.int64)
        for place, (name, value) in enumerate(parts.items()):
            self._part(name, int(at[0]), place)[at] = value
            total += value
        self.total[at], self.exact[at] = total, exact
        self._about(machine, at, scenario)
        if population.pinned is not None:
            self.pinned[at] = population.pinned.nr_pages
        if any(isinstance(note, EachNote) for note in found.notes):
            columns = [n.texts if isinstance(n, EachNote) else [n] * at.size for n in found.notes]
            self.notes[at] = ["; ".join(dict.fromkeys(texts)) for texts in zip(*columns, strict=True)]
        else:
            self.notes[at] = "; ".join(found.notes)

    def _part(self, name: str, at: int, place: int) -> I64:
        self.first[name] = min(self.first.get(name, (at, place)), (at, place))
        return self.parts.setdefault(name, np.zeros(self.nr, np.int64))

    def _about(self, machine: Machine, at: I64, scenario: Scenario) -> None:
        device = machine.pages("pmem", "device") if scenario.describe_device else 0
        self.nr_pages[at] = machine.nr_pages_ram + device
        self.ram_bytes[at] = machine.ram_bytes

    def _one_by_one(self, points: I64) -> None:
        self.vectorised -= points.size
        for at in points.tolist():
            try:
                row = evaluate(scenario_at(self.base, self.columns, at))
                whole = {name: np.int64(value) for name, value in row.parts.items()}
                self.total[at] = row.total_bytes
            except (InputError, OSError) as error:
                self.error[at] = str(error)
                continue
            except OverflowError:
                self.error[at] = "a part of more than 2^63 bytes"
                continue
            for place, (name, value) in enumerate(whole.items()):
                self._part(name, at, place)[at] = value
            self.exact[at], self.notes[at] = row.exact, "; ".join(row.notes)
            self._about(row.machine, np.array([at]), row.scenario)
            self.pinned[at] = row.nr_pinned
            used = nr_pages_of(row.scenario.nr_device_used, row.machine.pages("pmem", "device"))
            self.used[at] = used


def _plain(values: I64) -> Any:
    """One int where all are the same; the formulas are quicker with it."""
    return int(values[0]) if (values == values[0]).all() else values


def _whole(value: Any) -> I64:
    found = np.asarray(value)
    if found.dtype.kind not in "iu":
        raise TypeError(f"{found.dtype} bytes")
    return found.astype(np.int64)


def _groups(codes: Sequence[I64 | None], nr: int) -> list[I64]:
    """Points that agree in all codes, in the order of their first ones; codes are small and not negative."""
    key = np.zeros(nr, np.int64)
    for code in codes:
        if code is not None and code.size and (code != code[0]).any():
            key = key * (int(code.max()) + 1) + code
            if key.size and key.max() > 1 << 40:
                key = np.unique(key, return_inverse=True)[1]
    if not key.size:
        return []
    if (key == key[0]).all():
        return [np.arange(nr)]
    by = np.argsort(key, kind="stable")
    cuts = np.flatnonzero(np.diff(key[by])) + 1
    return sorted(np.split(by, cuts), key=lambda group: int(group[0]))


def _ratio(part: I64, whole: I64, times: int) -> NDArray[np.float64]:
    """``times * part / whole`` as Python divides ints: rounded once, also where they exceed 2^53."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(whole > 0, times * part / whole, 0.0)
    for at in np.flatnonzero((part > (1 << 53) // times) | (whole > 1 << 53)).tolist():
        found[at] = times * int(part[at]) / int(whole[at]) if whole[at] else 0.0
    return found
