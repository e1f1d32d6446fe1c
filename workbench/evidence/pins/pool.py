"""The pool that an allocating design needs: gup_fast runs with interrupts off and cannot allocate.

Each CPU keeps up to ``size`` descriptors ready. A pin through gup_fast that needs a new one takes it from the
pool of its CPU; where that is empty, the pin has to fall back to the slow path. The pool is filled up again
``refill_ns`` after the first take from a full pool, by whatever may allocate (a work item, the return from
gup_fast); with ``recycle`` an unpin also puts its descriptor back into the pool of the CPU that it runs on.

Exact for this rule and a trace's times. Assumed: ``refill_ns``, since nobody has built such a pool; that a
refill finds memory; and that the fall-back takes no descriptor from the pool. Left out: pins that take the
slow path anyway (``grab``): they can allocate before they take their locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.evidence.pins.replay import Source, _Pass, _read_only, batches_of
from workbench.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SIZES = tuple(dict.fromkeys(round(2 ** (step / 2)) for step in range(21)))  # 1, 2, 3, 4, 6, ... 1024
REFILL_NS = 100_000  # assumed: a work item soon after; the explorer's slider varies it


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolShares:
    """How often a trace's pins find their CPU's pool empty, by the pool's size.

    Examples
    --------
    >>> shares = pool_shares("pins-fio", sizes=[1, 16, 64])
    >>> shares.nr_pins, shares.nr_first_fast, shares.nr_empty.tolist()
    (83330, 82798, [64065, 13, 0])
    """

    sizes: np.ndarray  # descriptors of one CPU's pool
    nr_empty: np.ndarray  # pins that found it empty, one for each size
    nr_pins: int
    nr_first_fast: int  # pins by gup_fast that need a new descriptor: those that ask the pool
    nr_met: int  # pins of a folio that has its descriptor already
    refill_ns: int
    recycle: bool

    def table(self) -> pd.DataFrame:
        """One row for each size.

        Returns
        -------
        DataFrame
            size; nr_empty; empty_percent (of all pins); nr_slow (empty, or of a folio that has its descriptor
            already, which has to be found); slow_percent; fast_to_slow (infinite where none is slow).
        """
        import pandas as pd

        slow = self.nr_empty + self.nr_met
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(slow > 0, (self.nr_pins - slow) / slow, np.inf)
        return pd.DataFrame(
            {
                "size": self.sizes,
                "nr_empty": self.nr_empty,
                "empty_percent": 100 * self.nr_empty / max(self.nr_pins, 1),
                "nr_slow": slow,
                "slow_percent": 100 * slow / max(self.nr_pins, 1),
                "fast_to_slow": ratio,
            }
        )


def pool_shares(
    trace: Source, sizes: Sequence[int] = SIZES, *, refill_ns: int = REFILL_NS, recycle: bool = False
) -> PoolShares:
    """Run a trace's pins through pools of several sizes at once.

    Parameters
    ----------
    trace : Trace or path
        As for ``replay``.
    sizes : sequence of int
        Descriptors that each CPU keeps ready; 0 for no pool.
    refill_ns : int
        From the first take to the refill, in ns; 0: every take finds a full pool.
    recycle : bool
        The last unpin of a folio puts its descriptor into the pool of its CPU.
    """
    from workbench.evidence.pins import _engine as engine

    if refill_ns < 0:
        raise InputError(f"a refill after {refill_ns} ns: a time is not negative")
    if not len(sizes) or any(int(size) != size or size < 0 for size in sizes):
        raise InputError(f"pool sizes {list(sizes)}: one or more whole numbers, none of them negative")
    wanted = np.array(sizes, dtype=np.int64)
    run = _Pass((63,), False, np.zeros((0, 4), dtype=np.int64), by_page=False)
    free = np.tile(wanted, (1 << 16, 1))  # pin traces have 16 bits for a CPU
    first_take = np.full(1 << 16, -1, dtype=np.int64)
    empty = np.zeros(len(wanted), dtype=np.int64)
    latest = 0
    for batch in batches_of(trace):
        _, outcome = run.feed(batch)
        now = np.maximum.accumulate(
            np.maximum(batch.ts_ns, latest)
        )  # as the replay takes time that goes back
        latest = int(now[-1]) if len(now) else latest
        rows = (now, batch.cpu.astype(np.uint16), outcome, batch.is_fast)
        engine.pool_block(*map(_read_only, rows), refill_ns, recycle, wanted, free, first_take, empty)
    return PoolShares(
        sizes=wanted,
        nr_empty=empty,
        nr_pins=int(run.paths.sum()),
        nr_first_fast=int(run.paths[1, 1].sum()),
        nr_met=int(run.paths[:, 0].sum()),
        refill_ns=refill_ns,
        recycle=recycle,
    )
