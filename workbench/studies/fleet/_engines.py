"""Where captures are looked at: each in a :class:`Guard`, but for "in-process".

There nothing is guarded: a capture may take its time, and all memory; for captures that one trusts, and for
``memory://``.
"""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from workbench.studies import _engines as engines
from workbench.studies.fleet._answers import Options, look
from workbench.studies.fleet._captures import Found
from workbench.studies.fleet._guard import LIMIT_S, Guard
from workbench.studies.fleet._table import rows_of


class Batch(NamedTuple):
    """Captures in sequence."""

    nr: int
    captures: Sequence[Found]


def in_process(batches: Iterator[Batch], options: Options) -> engines.Results:
    """One after the other, here."""
    return engines.in_process(
        lambda batch: rows_of([look(found, options) for found in batch.captures], options), batches
    )


def processes(
    batches: Iterator[Batch], options: Options, workers: int, limit_s: float = LIMIT_S
) -> engines.Results:
    """In ``workers`` guarded processes of this machine, in the order in which batches are done."""
    guards = [Guard(options, limit_s) for _ in range(workers)]
    idle: queue.SimpleQueue[Guard] = queue.SimpleQueue()
    for guard in guards:
        idle.put(guard)

    def work(batch: Batch) -> bytes:
        guard = idle.get()
        try:
            return rows_of([guard.ask(found) for found in batch.captures if not over.is_set()], options)
        finally:
            idle.put(guard)

    over = threading.Event()
    pool = ThreadPoolExecutor(workers)
    try:
        yield from engines.in_pool(pool, work, batches, workers)
    finally:
        over.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for guard in guards:
            guard.kill()
        pool.shutdown(wait=True)
        for guard in guards:
            guard.close()


def dask(
    batches: Iterator[Batch], options: Options, address: str, limit_s: float = LIMIT_S
) -> engines.Results:
    """By the workers of a Dask scheduler, which must see the captures under the same paths."""
    work = functools.partial(_guarded, options=options, limit_s=limit_s)
    return engines.dask(work, batches, address, ended=_close_guards)


_guards: dict[tuple[Options, float], list[Guard]] = {}
_lock = threading.Lock()


def _guarded(batch: Batch, options: Options, limit_s: float) -> bytes:
    """A batch on a worker of Dask, by a guard that stays there for the next one."""
    with _lock:
        own = _guards.setdefault((options, limit_s), [])
        guard = own.pop() if own else Guard(options, limit_s)
    try:
        return rows_of([guard.ask(found) for found in batch.captures], options)
    finally:
        with _lock:
            own.append(guard)


def _close_guards() -> None:
    """End the guards of this process."""
    with _lock:
        for guard in [guard for own in _guards.values() for guard in own]:
            guard.close()
        _guards.clear()
