"""Where pins fall, over pfn and time: the data of one heat map.

Memory goes by the map's cells, whatever the trace's length: two readings, one for the extent, one to count.
Only blocks of pfns that some pin touched have a row, so that the holes between buffers take no room.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.errors import InputError
from workbench.pins.replay import Source, batches_of


@dataclass(frozen=True, eq=False)
class Heat:
    """References taken, by block of pfns (rows, ascending) and by time (columns).

    Examples
    --------
    >>> heat = pfn_heat("pins-fio", nr_times=50, nr_blocks=40)
    >>> heat.refs.shape[1], int(heat.refs.sum()), heat.block_pages
    (50, 83330, 32)
    """

    first_pfn: np.ndarray  # of each block
    block_pages: int  # a power of two; blocks are aligned to it
    seconds: np.ndarray  # where each column begins
    refs: np.ndarray  # int64, blocks x times


def pfn_heat(trace: Source, nr_times: int = 160, nr_blocks: int = 96) -> Heat:
    """Count the references that pins took, in the finest blocks of which at most ``nr_blocks`` have any."""
    if nr_times < 1 or nr_blocks < 1:
        raise InputError(f"a heat map of {nr_blocks} x {nr_times} cells; it has one at least")
    shift, blocks = 0, np.empty(0, dtype=np.uint64)
    first = last = None
    for batch in batches_of(trace):
        rows = batch.is_pin & (batch.op > 0)
        if not rows.any():
            continue
        times = batch.ts_ns[rows]
        first, last = int(times[0]) if first is None else first, int(times.max())
        blocks = np.union1d(blocks, np.unique(batch.pfn[rows].astype(np.uint64) >> np.uint64(shift)))
        while len(blocks) > nr_blocks:
            blocks, shift = np.unique(blocks >> np.uint64(1)), shift + 1
    if first is None or last is None:
        raise InputError("no pin in the trace, so there is nothing to draw")
    width = (last - first) // nr_times + 1
    refs = np.zeros((len(blocks), nr_times), dtype=np.int64)
    for batch in batches_of(trace):
        rows = batch.is_pin & (batch.op > 0)
        row = np.searchsorted(blocks, batch.pfn[rows].astype(np.uint64) >> np.uint64(shift))
        column = np.clip((batch.ts_ns[rows] - first) // width, 0, nr_times - 1)
        np.add.at(refs, (row, column), batch.nr[rows].astype(np.int64))
    seconds = np.arange(nr_times) * width / 1e9
    return Heat(blocks << np.uint64(shift), 1 << shift, seconds, refs)
