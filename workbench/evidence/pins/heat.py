"""Where pins fall, over pfn and time: the data of one heat map.

Memory goes by the map's cells, whatever the trace's length: two readings, one for the extent, one to count.
Only blocks of pfns that some pin touched have a row, so that the holes between buffers take no room.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.evidence.pins.replay import Source, batches_of
from workbench.model.errors import InputError


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
        times, nr = batch.ts_ns[rows], batch.nr[rows].astype(np.int64)
        low, high = int(times.min()), int(times.max())
        first, last = min(low if first is None else first, low), max(high if last is None else last, high)
        # One pin alone touches nr >> shift blocks, so that finer ones cannot do.
        finest = max(shift, int(-(-int(nr.max()) // nr_blocks) - 1).bit_length())
        blocks, shift = np.unique(blocks >> np.uint64(finest - shift)), finest
        blocks = np.union1d(blocks, _by_block(batch.pfn[rows], nr, shift)[0])
        while len(blocks) > nr_blocks:
            blocks, shift = np.unique(blocks >> np.uint64(1)), shift + 1
    if first is None or last is None:
        raise InputError("no pin in the trace, so there is nothing to draw")
    width = (last - first) // nr_times + 1
    refs = np.zeros((len(blocks), nr_times), dtype=np.int64)
    for batch in batches_of(trace):
        rows = batch.is_pin & (batch.op > 0)
        block, row, nr = _by_block(batch.pfn[rows], batch.nr[rows].astype(np.int64), shift)
        column = (batch.ts_ns[rows][row] - first) // width
        np.add.at(refs, (np.searchsorted(blocks, block), column), nr)
    seconds = np.arange(nr_times) * width / 1e9
    return Heat(blocks << np.uint64(shift), 1 << shift, seconds, refs)


def _by_block(pfn: np.ndarray, nr: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The blocks that pins of ``nr`` pages from ``pfn`` on touch, whose pin it is, and the pages in each."""
    low = pfn.astype(np.int64)
    high, size = low + nr - 1, 1 << shift
    pieces = (high >> shift) - (low >> shift) + 1
    row = np.repeat(np.arange(len(low)), pieces)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    block = (low[row] >> shift) + nth
    inside = np.minimum(high[row] + 1, (block + 1) * size) - np.maximum(low[row], block * size)
    return block.astype(np.uint64), row, inside
