"""Time subjects pass by pass, interleaved, and say so where the times are not fit to use.

A pass draws new keys, reads the structure once if a cache may hold it, walks a few keys untimed, and times
the rest. No two passes have the same keys: a key vector that repeats becomes a test of the cache. Contenders
take turns in each pass, so that what else runs on the machine meets all of them. The clock is the thread's
CPU time, where there is one, so that time given to other processes does not count; what they did to the
caches does. What comes out of each loop is compared with what must come out. Two measurements at once notice
each other (``alone``): the second waits a while, and marks its rows where it went on beside the first.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.evidence.lookups import _alone as alone
from workbench.evidence.lookups import _host as host
from workbench.evidence.lookups._arena import U64
from workbench.evidence.lookups.costs import LOOPS, CostRow

PASSES = 9
MIN_PASSES = 7
MAX_LOOKUPS = 1 << 17  # of a pass; more than a branch predictor learns
MIN_LOOKUPS = 1 << 12
PASS_NS = 20e6  # a slow loop gets fewer lookups, about so long; assumed
WILD = 1.5  # upper quartile by lower: beyond it the times say more of the machine's other work; assumed

Progress = Callable[[int, int, str], None]
clock: Callable[[], int] = getattr(time, "thread_time_ns", time.perf_counter_ns)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Something to time: a loop, its structure, and where its keys come from."""

    path: str
    loop: Any  # of workbench.evidence.lookups._loops, or one called like it: loop(keys, z, *args)
    args: tuple[Any, ...]
    draw: Callable[[int, np.random.Generator], U64]  # so many new keys
    expected: Callable[[U64], int]  # what the results of these keys sum up to, modulo 2**64
    arrays: tuple[U64, ...] = ()  # memory to read before a pass
    facts: Mapping[str, Any] = field(default_factory=dict)  # of its CostRow
    loops: Sequence[str] = LOOPS


class Interrupted(KeyboardInterrupt):
    """The user stopped the measuring; ``rows`` has what was measured often enough before."""

    def __init__(self, rows: list[CostRow]) -> None:
        super().__init__("interrupted")
        self.rows = rows


class WrongResult(AssertionError):
    """A loop's results are not what the structure holds: its time would be worthless."""


@dataclass
class Contender:
    """A subject in one of its loops, and ns per lookup of its passes."""

    subject: Subject
    loop: str
    nr_lookups: int = 0
    ns: list[float] = field(default_factory=list)
    beside: str = ""  # another measurement, if one ran meanwhile

    @property
    def z(self) -> Any:
        return np.uint64(0) if self.loop == "dependent" else None

    def warm_up(self, nr: int, rng: np.random.Generator) -> None:
        """Compile, check the results, and fit the number of lookups to a pass."""
        keys = self.subject.draw(min(nr, MIN_LOOKUPS), rng)
        got, want = self._run(keys)[0], self.subject.expected(keys)
        if got != want:
            raise WrongResult(f"{self.subject.path}, {self.loop}: results sum up to {got:#x}, not {want:#x}")
        ns = min(self._run(self.subject.draw(keys.size, rng))[1] for _ in range(2)) / keys.size
        self.nr_lookups = int(min(nr, max(PASS_NS / ns, MIN_LOOKUPS)))

    def one_pass(self, rng: np.random.Generator, resident_bytes: int) -> None:
        nr_warm = max(self.nr_lookups // 16, 1024)
        keys = self.subject.draw(self.nr_lookups + nr_warm, rng)
        if sum(a.nbytes for a in self.subject.arrays) <= resident_bytes:
            for a in self.subject.arrays:
                a[::8].sum()
        self._run(keys[:nr_warm])
        self.ns.append(self._run(keys[nr_warm:])[1] / (keys.size - nr_warm))

    def _run(self, keys: U64) -> tuple[int, int]:
        z, loop, args = self.z, self.subject.loop, self.subject.args
        start = clock()
        total = loop(keys, z, *args)
        return int(total), max(clock() - start, 1)

    def row(self) -> CostRow:
        facts = {"path": self.subject.path, **self.subject.facts}
        found = summary(self.ns)
        found["unusable"] = self.beside or found["unusable"]
        return CostRow(loop=self.loop, nr_lookups=self.nr_lookups, **facts, **found)


def summary(ns: Sequence[float]) -> dict[str, Any]:
    """Minimum, median and maximum of the passes, and why they are not to be used, if so.

    Examples
    --------
    >>> summary([1.0, 1.1, 1.2, 1.0, 9.0, 1.1, 1.0])["unusable"]    # one bad pass does not matter
    ''
    >>> summary([1.0, 1.1, 5.0, 4.0, 1.2, 6.0, 3.0])["unusable"]
    'the middle half of 7 passes spreads from 1.15 to 4.5 ns'
    """
    found = {"ns_min": min(ns), "ns_median": statistics.median(ns), "ns_max": max(ns)}
    return {**{name: round(float(value), 4) for name, value in found.items()}, "passes": len(ns),
            "unusable": wild(ns)}


def wild(ns: Sequence[float]) -> str:
    """Why passes do not agree well enough; "" where they do."""
    if len(ns) < 2:
        return ""
    low, _, high = statistics.quantiles(ns, n=4, method="inclusive")
    if high <= WILD * low:
        return ""
    return f"the middle half of {len(ns)} passes spreads from {low:.3g} to {high:.3g} ns"


def interleaved(subjects: Iterable[Subject], *, passes: int = PASSES, nr_lookups: int = MAX_LOOKUPS,
                seed: int = 1, progress: Progress | None = None) -> list[Contender]:
    """Time each subject in each of its loops; ``ns[i]`` of all contenders are of the same pass.

    A loop whose passes spread wildly gets as many again. The arguments and what is raised are as for
    :func:`measure`.
    """
    rng = np.random.default_rng(seed)
    contenders = [Contender(subject, loop) for subject in subjects for loop in subject.loops]
    resident = 2 * host.last_level_bytes()
    total, done = len(contenders) * (passes + 1), 0
    try:
        what = ", ".join(dict.fromkeys(contender.subject.path for contender in contenders))
        with alone.alone(what) as beside, host.pinned():
            for contender in contenders:
                contender.beside = beside
                contender.warm_up(nr_lookups, rng)
                done += 1
                _tell(progress, done, total, contender)
            for nr in range(passes):
                for contender in contenders[:: -1 if nr % 2 else 1]:
                    contender.one_pass(rng, resident)
                    done += 1
                    _tell(progress, done, total, contender)
            for contender in [c for c in contenders if wild(c.ns)]:
                for _ in range(passes):
                    contender.one_pass(rng, resident)
    except KeyboardInterrupt:
        enough = min(passes, MIN_PASSES)
        raise Interrupted([c.row() for c in contenders if len(c.ns) >= enough]) from None
    return contenders


def measure(subjects: Iterable[Subject], *, passes: int = PASSES, nr_lookups: int = MAX_LOOKUPS,
            seed: int = 1, progress: Progress | None = None) -> list[CostRow]:
    """Time each subject in each of its loops; a row for each, marked unusable if its passes spread wildly.

    Parameters
    ----------
    subjects : iterable of Subject
        They take turns in each pass.
    passes : int
        Timed passes, at least one; a table has :data:`MIN_PASSES` or more.
    nr_lookups : int
        Most lookups of a pass.
    seed : int
        Of the keys.
    progress : callable, optional
        Called as ``progress(done, total, what)``.

    Raises
    ------
    Interrupted
        On Ctrl-C, with the rows of those that have :data:`MIN_PASSES` passes, or as many as were asked for.
    WrongResult
        Where a loop does not find what the structure holds.
    """
    timed = interleaved(subjects, passes=passes, nr_lookups=nr_lookups, seed=seed, progress=progress)
    return [contender.row() for contender in timed]


def _tell(progress: Progress | None, done: int, total: int, contender: Contender) -> None:
    if progress is not None:
        progress(done, total, f"{contender.subject.path}, {contender.loop}")
