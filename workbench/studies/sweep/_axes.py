"""What a sweep varies: lists of values, ranges, samples; and the columns of any stretch of its points.

Point i is a combination of the grid (the last field fastest) and, within it, one of the samples: each
combination meets the same samples, so that designs are compared on the same ground. A number drawn depends
on the seed, the field and the sample's number alone, not on batches, engines or the other fields.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.model import designs, pfnmaps
from workbench.model.errors import InputError
from workbench.model.memory.machine import Machine
from workbench.model.scenario import Scenario, machine_of
from workbench.model.scenario.batch import NAMES, NUMBERS, Choice, Column, Shares

FIELDS = (*NAMES, *NUMBERS)
MAX_POINTS = 1_000_000_000  # of a sweep; assumed: at 300,000 points a second, an hour
MAX_VALUES = 1_000_000  # of one list; assumed
MAX_LHS = 10_000_000  # samples of a Latin hypercube, 8 bytes each and field; assumed
_SHARES = ("nr_pinned", "nr_device_used")
_MOST = 1 << 62


@dataclass(frozen=True)
class Range:
    """From ``low`` to ``high``, both included: numbers, or shares such as ``"0.1%"``.

    Sampled, every value between is as likely (with ``log``, every factor); ``run_pages`` takes powers of two
    only, each as likely. In a grid it is ``steps`` values, evenly spaced; the same one counts once.

    Examples
    --------
    >>> Range(1, 1000, log=True, steps=4).values("nr_pinned")
    (1, 10, 100, 1000)
    >>> Range("0.1%", "10%", log=True, steps=3).values("nr_pinned")
    ('0.1%', '1.0%', '10.0%')
    """

    low: int | str
    high: int | str
    log: bool = False
    steps: int = 0

    def ends(self, name: str) -> tuple[float, float, bool]:
        """Both ends, checked, and whether they are shares."""
        if name not in NUMBERS:
            raise InputError(f"{name} takes a list of values, not a range")
        shares = [isinstance(end, str) and end.strip().endswith("%") for end in (self.low, self.high)]
        if shares[0] != shares[1]:
            raise InputError(f"{name}: one end of {self.low!r}..{self.high!r} is a share, the other is not")
        if shares[0] and name not in _SHARES:
            raise InputError(f"{name}: a share such as {self.low!r} is for {' and '.join(_SHARES)}")
        low, high = (_end(end, name) for end in (self.low, self.high))
        if not low <= high:
            raise InputError(f"{name}: range {self.low!r}..{self.high!r} is reversed")
        if shares[0] and high > 100:
            raise InputError(f"{name}: {self.high!r} is more than 100%")
        if self.log and low <= 0:
            raise InputError(f"{name}: a logarithmic range cannot begin at {self.low!r}; give a low above 0")
        if name == "run_pages" and any(end < 1 or end & (end - 1) for end in (int(low), int(high))):
            raise InputError(f"{name}: {self.low!r}..{self.high!r} is not from one power of two to another")
        return low, high, shares[0]

    def at(self, name: str, u: NDArray[np.float64]) -> Column:
        """Values for numbers from 0 to below 1."""
        low, high, shares = self.ends(name)
        if name == "run_pages":
            first, last = int(low).bit_length() - 1, int(high).bit_length() - 1
            return np.int64(1) << (first + np.floor(u * (last - first + 1)).astype(np.int64))
        if self.log:
            found = low * np.exp(u * math.log(high / low))
        elif shares:
            found = low + u * (high - low)
        else:
            found = np.floor(low + u * (high - low + 1))
        found = np.clip(found, low, high)
        return Shares(found) if shares else np.rint(found).astype(np.int64)

    def values(self, name: str) -> tuple[Any, ...]:
        """The values of a grid."""
        low, high, shares = self.ends(name)
        if not 2 <= self.steps <= MAX_VALUES:
            raise InputError(f"{name}: a range in a grid needs steps, from 2 to {MAX_VALUES}")
        place = np.arange(self.steps) / (self.steps - 1)
        if name == "run_pages":
            found = 2.0 ** np.rint(math.log2(low) + place * math.log2(high / low))
        else:
            found = low * (high / low) ** place if self.log else low + place * (high - low)
        found = np.clip(found, low, high)
        if shares:
            return tuple(f"{one!r}%" for one in found.tolist())
        return tuple(dict.fromkeys(int(one) for one in np.rint(found).tolist()))

    def to_dict(self) -> dict[str, Any]:
        """As in a file."""
        scale = {"scale": "log"} if self.log else {}
        return {"min": self.low, "max": self.high, **scale, **({"steps": self.steps} if self.steps else {})}


def _end(end: Any, name: str) -> float:
    try:
        if isinstance(end, str):
            value = float(end.strip().removesuffix("%"))
        elif isinstance(end, bool) or not isinstance(end, int | np.integer):
            raise ValueError
        else:
            value = int(end)
    except ValueError:
        raise InputError(f"{name}: {end!r} is neither a whole number nor a share such as 0.1%") from None
    if not 0 <= value < _MOST:  # NaN too
        raise InputError(f"{name}: {end!r} is not from 0 to below 2^62")
    return value


@dataclass
class Spec:
    """A sweep: what it starts from, and what it varies. Make one with :func:`spec`."""

    base: Scenario
    grid: dict[str, tuple[Any, ...]]
    sampled: dict[str, Range | tuple[Any, ...]]
    method: str  # how: "random", "lhs", or "" where nothing is sampled
    samples: int
    seed: int
    placed: bool
    _kept: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    @property
    def nr_points(self) -> int:
        """Points: combinations times samples."""
        return math.prod(len(values) for values in self.grid.values()) * self.samples

    @property
    def by_arrays(self) -> bool:
        """Whether formulas over arrays answer every point."""
        maps = self.grid.get("pfn_map", self.sampled.get("pfn_map", (self.base.pfn_map,)))
        assert not isinstance(maps, Range)
        return not self.placed and all(pfnmaps.get(name).by_arrays for name in maps)

    @property
    def is_small(self) -> bool:
        """Whether it is quicker to send and to draw from than the columns of a batch."""
        axes = [*self.grid.values(), *self.sampled.values()]
        return self.method != "lhs" and sum(len(axis) for axis in axes if isinstance(axis, tuple)) < 1000

    def columns(self, first: int, end: int) -> dict[str, Column]:
        """The varied fields of points ``first`` to below ``end``."""
        point = np.arange(first, end)
        combination, sample = np.divmod(point, self.samples)
        found: dict[str, Column] = {}
        for name, values in reversed(self.grid.items()):
            combination, codes = np.divmod(combination, len(values))
            found[name] = Choice(values, codes)
        found = dict(reversed(found.items()))
        for name, axis in self.sampled.items():
            u = self._uniform(name, sample)
            if isinstance(axis, Range):
                found[name] = axis.at(name, u)
            else:
                found[name] = Choice(axis, np.floor(u * len(axis)).astype(np.int64))
        return found

    def _uniform(self, name: str, sample: NDArray[np.int64]) -> NDArray[np.float64]:
        """A number from 0 to below 1 for each sample: one stream for each field, entered anywhere."""
        seed = np.random.SeedSequence(self.seed, spawn_key=(1, FIELDS.index(name)))
        if self.method == "lhs":
            if name not in self._kept:
                from scipy.stats import qmc

                cube = qmc.LatinHypercube(1, rng=np.random.default_rng(seed))
                self._kept[name] = np.minimum(cube.random(self.samples)[:, 0], np.nextafter(1, 0))
            return self._kept[name][sample]
        if sample.size >= self.samples:
            return _stream(seed, 0, self.samples)[sample]
        first, end = int(sample[0]), int(sample[-1]) + 1
        if first < end:
            return _stream(seed, first, end)
        return np.concatenate([_stream(seed, first, self.samples), _stream(seed, 0, end)])

    def to_dict(self) -> dict[str, Any]:
        """All that its results follow from, fit for JSON."""
        base = {f.name: _said(getattr(self.base, f.name)) for f in fields(Scenario)}
        sampled = {
            name: axis.to_dict() if isinstance(axis, Range) else [_said(value) for value in axis]
            for name, axis in self.sampled.items()
        }
        how = {self.method: {"samples": self.samples, **sampled}} if self.method else {}
        grid = {name: [_said(value) for value in values] for name, values in self.grid.items()}
        return {"base": base, "grid": grid, **how, "seed": self.seed, "placed": self.placed}


def _stream(seed: np.random.SeedSequence, first: int, end: int) -> NDArray[np.float64]:
    bits = np.random.Philox(seed)
    bits.advance(first // 4)  # each count gives four numbers
    return np.random.Generator(bits).random(end - first + first % 4)[first % 4 :]


def _said(value: Any) -> Any:
    """A value for JSON; what has no short name stands by its digest."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Machine):
        own: list[Any] = [getattr(value, f.name) for f in fields(Machine)]
        text = repr([one.tolist() if isinstance(one, np.ndarray) else one for one in own])
        return {"machine": value.name, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    raw = b"".join(getattr(value, name).tobytes() for name in ("first", "last", "order"))
    return {"pinned": repr(value), "sha256": hashlib.sha256(raw).hexdigest()}


def spec(
    base: Scenario | None = None,
    *,
    grid: Mapping[str, Any] | None = None,
    random: Mapping[str, Any] | None = None,
    lhs: Mapping[str, Any] | None = None,
    samples: int = 0,
    seed: int = 1,
    placed: bool = False,
) -> Spec:
    """A checked specification; see :func:`workbench.studies.sweep.sweep` for what the parameters mean."""
    base = base or Scenario()
    grid, random, lhs = (dict(given or {}) for given in (grid, random, lhs))
    if random and lhs:
        raise InputError("random and lhs: a sweep is sampled in one way")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 128:
        raise InputError(f"seed {seed!r} is not a whole number from 0 to below 2^128")
    sampled, method = (lhs, "lhs") if lhs else (random, "random") if random else ({}, "")
    if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < 0:
        raise InputError(f"samples {samples!r} is not a whole number of 1 or more")
    if bool(sampled) != bool(samples):
        raise InputError("samples and the fields to sample go together: give both" if sampled else
                         f"{samples} samples, but no fields to sample (random or lhs)")  # fmt: skip
    if method == "lhs" and samples > MAX_LHS:
        raise InputError(f"{samples} samples of a Latin hypercube, at most {MAX_LHS}; random has no such "
                         "limit")  # fmt: skip
    if both := set(grid) & set(sampled):
        raise InputError(f"field {sorted(both)[0]!r} is in the grid and sampled; once is enough")
    axes: dict[str, Any] = {}
    for name, given in (grid | sampled).items():
        if name not in FIELDS:
            raise InputError(f"{name!r} is no field that a sweep can vary: {', '.join(FIELDS)}")
        if isinstance(given, Range):
            given.ends(name)
            axes[name] = given.values(name) if name in grid else given
        else:
            axes[name] = _values(name, given)
    nr = math.prod(len(axes[name]) for name in grid) * max(int(samples), 1)
    if nr > MAX_POINTS:
        sizes = [f"{name} {len(axes[name])}" for name in grid] + ([f"samples {samples}"] if samples else [])
        raise InputError(f"{nr} points, at most {MAX_POINTS}: {' x '.join(sizes)}")
    for name, known in (("design", designs), ("pfn_map", pfnmaps)):
        for value in axes.get(name, (getattr(base, name),)):
            known.get(value)
    # The running machine is read now: its memory may change while a sweep runs.
    if "machine" in axes:
        axes["machine"] = tuple(Machine.live() if one == "live" else one for one in axes["machine"])
    elif base.machine == "live":
        base = base.with_(machine=machine_of(base))
    return Spec(base, {n: axes[n] for n in grid}, {n: axes[n] for n in sampled}, method,
                max(int(samples), 1), int(seed), bool(placed))  # fmt: skip


_TEXT = {"machine": (str, Machine), "kernel": (str, type(None)), "design": (str,), "pfn_map": (str,),
         "mix": (str,), "describe_device": (bool,)}  # fmt: skip


def _values(name: str, given: Any) -> tuple[Any, ...]:
    """A list of values of the right kind, or InputError."""
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise InputError(f"{name}: {given!r} is not a list of values, nor a range with min and max")
    found: list[Any] = []
    for value in given:
        if len(found) == MAX_VALUES:
            raise InputError(f"{name}: more than {MAX_VALUES} values in a list")
        if isinstance(value, np.generic):
            value = value.item()
        if name in _TEXT:
            if type(value) not in _TEXT[name]:
                raise InputError(f"{name}: {value!r} is {type(value).__name__}, not "
                                 f"{' or '.join(kind.__name__ for kind in _TEXT[name])}")  # fmt: skip
        elif isinstance(value, str) and name in _SHARES:
            if _end(value, name) > 100 and value.strip().endswith("%"):
                raise InputError(f"{name}: {value!r} is more than 100%")
            value = value if value.strip().endswith("%") else int(_end(value, name))
        else:
            if isinstance(value, str):
                raise InputError(f"{name}: {value!r} is text, not a whole number")
            value = int(_end(value, name))
        found.append(value)
    if not found:
        raise InputError(f"{name}: an empty list leaves no points")
    return tuple(found)
