"""What speaks against a proposal, found in its own evidence by rule and not by taste.

1. **Worse.** Of every metric, every place where the proposed design and another one have a number: where
   the proposed one's is larger (less is better in all of them), by which factor. Of each metric the largest
   factor is told; a factor over what costs nothing or frees something is infinite and comes first, of equal
   ones the largest difference. Where the ranges of that one meet, the largest of those that do not is too.
2. **Not told apart.** Where the proposed design is ahead in a measurement but the two ranges from minimum
   to maximum meet. Of each metric the largest lead.
3. **Break-even.** From which share of pinned pages, or of dynamic calls, it costs more than another design:
   of all places the smallest share.
4. **Published.** Figures among the evidence that do not hold.
5. **Limits.** What the design says of itself.

Where a rule finds nothing, it says so, and what it searched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.model import designs
from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.studies.argument._evidence import Evidence, Point, as_named
from workbench.studies.argument._mail import number
from workbench.studies.argument._prose import Value


@dataclass(frozen=True)
class Pair:
    """The proposed design and another one at one place of one metric."""

    own: Point
    other: Point

    @property
    def factor(self) -> float:
        """The proposed design's number over the other's; infinite over zero or less.

        Of two that free something, how much more the other frees.
        """
        own, other = self.own.value, self.other.value
        if own == other:
            return 1.0
        if other > 0:
            return own / other
        if own < 0 and other < 0:
            return other / own
        return math.inf if own > other else 0.0

    @property
    def excess(self) -> tuple[float, float]:
        """What orders pairs where the proposed design is worse: the factor, then the difference."""
        return self.factor, self.own.value - self.other.value

    @property
    def overlap(self) -> bool:
        """Both are measured, and their ranges meet."""
        own, other = self.own, self.other
        if own.low is None or own.high is None or other.low is None or other.high is None:
            return False
        return own.low <= other.high and other.low <= own.high

    def text(self) -> str:
        own, other = self.own, self.other
        shown = [str(Value(point.value, point.unit)) for point in (own, other)]
        times = f", {number(self.factor)} times as much" if other.value > 0 and self.factor > 1 else ""
        return f"{own.metric}: {own.design} {shown[0]}, {other.design} {shown[1]}{times} ({own.place})"


def pairs(points: Iterable[Point], proposed: str) -> list[Pair]:
    """Every other design's point beside the proposed one's, by metric and place, in their order."""
    places: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        places.setdefault((point.metric, point.place), []).append(point)
    found = []
    for group in places.values():
        name = as_named(proposed, (point.design for point in group))
        own = next((point for point in group if point.design == name), None)
        found += [Pair(own, point) for point in group if own and point.design != name]
    return found


def strongest_worse(found: Iterable[Pair]) -> list[Pair]:
    """Rule 1: of each metric, the pair where the proposed design is worse by the largest factor.

    Where a measurement does not tell these two apart, the largest that it does tell apart comes behind.
    """
    worse: dict[str, list[Pair]] = {}
    for pair in found:
        if pair.own.value > pair.other.value:
            worse.setdefault(pair.own.metric, []).append(pair)
    told = []
    for some in worse.values():
        best = max(some, key=lambda pair: pair.excess)
        clear = [pair for pair in some if not pair.overlap]
        told += [best, max(clear, key=lambda pair: pair.excess)] if best.overlap and clear else [best]
    return told


def strongest_untold(found: Iterable[Pair]) -> list[Pair]:
    """Rule 2: of each metric, the largest lead of the proposed design within the measurement's range."""
    best: dict[str, Pair] = {}
    for pair in found:
        if pair.own.value < pair.other.value and pair.overlap:
            known = best.get(pair.own.metric)
            if known is None or pair.factor < known.factor:
                best[pair.own.metric] = pair
    return list(best.values())


def against(evidence: Sequence[Evidence], proposed: str) -> tuple[dict[str, list[str]], str]:
    """What speaks against a design, by rule, and in words what was searched.

    Parameters
    ----------
    evidence : sequence of Evidence
    proposed : str
        A design's name; "" leaves out all rules but that of published figures.
    """
    found = pairs((point for one in evidence for point in one.found.points), proposed) if proposed else []
    lines = {
        "Worse, the largest factor of each metric": [
            pair.text() + ("; the measured ranges meet" if pair.overlap else "")
            for pair in strongest_worse(found)
        ],
        "Ahead, but the measured ranges meet": [pair.text() for pair in strongest_untold(found)],
        "Break-even": [text for one in evidence for text in one.loses(proposed)] if proposed else [],
        "Published figures among the evidence that do not hold": [
            text for one in evidence for text in one.found.differs
        ],
        "Limits of the design": _limits(proposed),
    }
    lines = {rule: list(dict.fromkeys(texts)) for rule, texts in lines.items() if texts}
    if not proposed:
        return lines, "published figures only: no design is proposed"
    metrics = ", ".join(dict.fromkeys(pair.own.metric for pair in found)) or "none"
    compared = f"{len(found)} {'pair' if len(found) == 1 else 'pairs'} of numbers (metrics: {metrics})"
    return lines, f"{compared}, break-evens, published figures, the design's own limits"


def _limits(proposed: str) -> list[str]:
    try:
        limits = designs.get(proposed).limits(KernelConfig())
    except InputError:
        return []  # none, or a header of typesafety
    return [f"{name}: {text}" for name, text in limits.items()]
