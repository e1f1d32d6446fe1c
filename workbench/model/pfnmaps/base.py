"""What every auxiliary pfn map answers: how many entries, nodes, bytes and serial loads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet, Scatter
from workbench.model.pfnmaps.walks import MapWalk


@dataclass(frozen=True, eq=False)
class EachNote:
    """A note whose words differ from one to the next of many scenarios."""

    texts: Sequence[str]


def each_note(template: str, value: Any) -> Any:
    """The note of one value, or of each of an array.

    Examples
    --------
    >>> each_note("{} bytes", 64), each_note("{} bytes", np.array([8, 64])).texts
    ('64 bytes', ['8 bytes', '64 bytes'])
    """
    if isinstance(value, int | float):
        return template.format(value)
    values, which = np.unique(value, return_inverse=True)
    texts = [template.format(one) for one in values.tolist()]
    return EachNote([texts[at] for at in which.tolist()])


@dataclass(frozen=True, kw_only=True)
class MapCounts:
    """A pfn map that holds some entries, counted. Bytes are exact ints; no time anywhere.

    Where a Scatter stands for many placements, the numbers are arrays of int64.
    """

    map: str
    exact: bool  # False: an expectation over random placement, or a model; `note` says which
    nr_entries: Any
    nr_nodes: Any
    nodes_per_shift: Mapping[int, Any]  # node->shift -> nodes; empty where the map has no such levels
    height: Any  # levels from the root to the leaves, or steps of a search
    node_bytes: Any  # sizeof of all nodes
    slab_bytes: Any  # bytes of the slab pages that hold them; 0 where no slab is used
    bytes: Any  # all memory the map takes: nodes, slab waste, tables
    dependent_loads: Any  # serial loads of a hit, worst entry
    note: Any = ""
    parts: Mapping[str, Any] = field(default_factory=dict)  # named bytes that sum to `bytes`

    def __post_init__(self) -> None:
        wrong = bool(self.parts) and sum(self.parts.values()) != self.bytes
        if wrong if isinstance(wrong, bool) else wrong.any():
            raise AssertionError(f"{self.map}: parts {dict(self.parts)} do not sum to {self.bytes}")

    def to_dict(self) -> dict[str, Any]:
        """The keys that ``workbench pfnmap --json`` prints."""
        return {
            "map": self.map, "exact": self.exact, "nr_entries": self.nr_entries, "nr_nodes": self.nr_nodes,
            "nodes_per_shift": {str(k): v for k, v in sorted(self.nodes_per_shift.items())},
            "height": self.height, "node_bytes": self.node_bytes, "slab_bytes": self.slab_bytes,
            "bytes": self.bytes, "dependent_loads": self.dependent_loads, "note": self.note,
            "parts": dict(self.parts),
        }


def span_over(pfns: PfnSet, span: int | None) -> int:
    """The span of a table that can index these pfns: as given, or up to the highest of them."""
    least = 0 if pfns.max_pfn is None else pfns.max_pfn + 1
    if span is None:
        return least
    if span < least:
        raise InputError(f"a table of {span} pfns does not reach pfn {pfns.max_pfn:#x}")
    return span


class PfnMap(ABC):
    """An auxiliary structure from pfn to descriptor. One file in this folder is one map."""

    name: ClassVar[str]  # as on the command line
    title: ClassVar[str]  # as in figures
    summary: ClassVar[str]  # one sentence
    source: ClassVar[str]  # kernel file and version, or where the idea is from

    @abstractmethod
    def counts(self, pfns: PfnSet, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """Count the map that holds exactly these entries.

        ``span`` is the number of pfns that a table-like map must be able to index (a machine's highest
        pfn + 1); by default the highest entry + 1.
        """

    @abstractmethod
    def expected(self, scatter: Scatter, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """The expected counts over uniformly random placements of ``scatter``'s runs (``exact=False``).

        Where ``scatter.nr_pages`` is an array, so are they; a map that cannot has ``by_arrays = False``.
        """

    by_arrays: ClassVar[bool] = True

    def walk(self, pfns: PfnSet, pfn: int, kernel: KernelConfig, *,
             span: int | None = None) -> MapWalk | None:
        """What a lookup of one pfn reads where the map holds these entries; None where no rule decides it."""
        return None

    # For maps that change over time (pins/replay.py): what a map says here is counted at every event.

    def node_shifts(self, kernel: KernelConfig) -> tuple[int, ...]:
        """Where the nodes are prefixes: level by level the shift whose distinct ``pfn >> shift`` they are.

        Leaves first, as many levels as the highest pfn could need; empty where nodes are something else.
        """
        return ()

    grows: ClassVar[bool] = False  # only as many of those levels exist as the highest entry needs

    def node_slab(self, kernel: KernelConfig) -> tuple[int, int]:
        """How many nodes lie in one slab (or page), and the bytes of that."""
        raise NotImplementedError(f"{self.name} has no node_shifts()")

    def of_nodes_per_level(
        self, nodes: Sequence[int], nr_entries: int, kernel: KernelConfig, *, span: int
    ) -> MapCounts:
        """The counts of a map that has so many nodes on each of its levels, leaves first."""
        raise NotImplementedError(f"{self.name} has no node_shifts()")

    def of_entries(
        self, nr_entries: int, kernel: KernelConfig, *, span: int, peak: int = 0
    ) -> MapCounts | None:
        """The counts by number of entries alone; None where it matters which pfns they are.

        ``peak`` is the most entries that there have been.
        """
        return None

    def built_ascending(self) -> PfnMap:
        """The same map when its entries came in ascending order; only where that changes its counts."""
        return self
