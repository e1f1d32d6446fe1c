"""Parts of a trace: what a replay of all of it mixes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from workbench.evidence.pins.trace import Trace

_COUNTERS = ("vmstat_acquired", "vmstat_released", "vmstat_acquired_least", "vmstat_released_least")
#: FOLL_LONGTERM, by the value of FOLL_PIN: 0x10000 in include/linux/mm_types.h until v6.2, 1 << 8 since v6.3
#: (commit 2c2241081f7d).
LONGTERM = {0x40000: 0x10000, 0x80000: 0x100}


def without_longterm(trace: Trace) -> Trace:
    """The trace without folios that some pin took with FOLL_LONGTERM: I/O without registered buffers.

    Examples
    --------
    >>> from workbench import load_trace, replay
    >>> replay(without_longterm(load_trace("pins-fio"))).peak_live_folios    # 560 with them
    48
    """
    longterm = trace.is_pin & ((trace.gup_flags & np.uint32(LONGTERM[trace.foll_pin])) != 0)
    return _without(trace, np.unique(trace.folio[longterm]), "pinned with FOLL_LONGTERM")


def settled(trace: Trace) -> Trace:
    """The trace without folios that are still pinned at its end: a lower bound where releases were lost.

    Examples
    --------
    >>> from workbench import load_trace, replay
    >>> replay(settled(load_trace("pins-mixed-lossy-kprobe"))).peak_live_folios    # 1864 with them
    858
    """
    rows = trace.is_pin
    folios, back = np.unique(trace.folio[rows], return_inverse=True)
    change = trace.nr[rows].astype(np.int64) * trace.op[rows]
    return _without(trace, folios[np.bincount(back, change, len(folios)) > 0], "still pinned at the end")


def _without(trace: Trace, folios: np.ndarray, what: str) -> Trace:
    kept = trace.select(~np.isin(trace.folio, folios))
    meta: Mapping[str, Any] = {key: value for key, value in trace.meta.items() if key not in _COUNTERS}
    said = [*trace.meta.get("left_out", ()), f"{len(folios):,} folios {what} are left out"]
    return replace(kept, meta={**meta, "left_out": said}, name=trace.name)
