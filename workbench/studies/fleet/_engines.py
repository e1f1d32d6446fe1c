"""Where batches of captures are evaluated: here, in guarded processes, or by a Dask cluster. Same rows.

Here nothing is guarded: a capture may take its time, and all memory; for captures that one trusts, and for
``memory://``. Both others look at each capture in a :class:`Guard`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from workbench.model.errors import InputError
from workbench.studies.fleet._answers import Options, look
from workbench.studies.fleet._captures import Found
from workbench.studies.fleet._guard import LIMIT_S, Guard
from workbench.studies.fleet._table import rows_of

Rows = Generator[tuple[int, bytes], None, None]  # a batch's number, and its rows as an Arrow file


class Batch(NamedTuple):
    """Captures in sequence."""

    nr: int
    captures: Sequence[Found]


def in_process(batches: Iterator[Batch], options: Options) -> Rows:
    """One after the other, here."""
    for batch in batches:
        yield batch.nr, rows_of([look(found, options) for found in batch.captures], options)


def processes(batches: Iterator[Batch], options: Options, workers: int, limit_s: float = LIMIT_S) -> Rows:
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
    running: dict[Future[bytes], int] = {}
    pool = ThreadPoolExecutor(workers)
    try:
        for batch in batches:
            running[pool.submit(work, batch)] = batch.nr
            if len(running) >= 2 * workers:
                yield from _done(running)
        while running:
            yield from _done(running)
    finally:
        over.set()
        for future in running:
            future.cancel()
        for guard in guards:
            guard.kill()
        pool.shutdown(wait=True)
        for guard in guards:
            guard.close()


def _done(running: dict[Future[bytes], int]) -> Iterator[tuple[int, bytes]]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        yield running.pop(future), future.result()


def dask(batches: Iterator[Batch], options: Options, address: str, limit_s: float = LIMIT_S) -> Rows:
    """By the workers of a Dask scheduler, which must see the captures under the same paths."""
    from distributed import CancelledError, as_completed
    from distributed.scheduler import KilledWorker

    from workbench.studies.sweep._engines import dask_client

    with dask_client(address) as client:
        room = 2 * max(1, sum(client.nthreads().values()))
        waiting = as_completed()
        numbers: dict[str, int] = {}

        def next_() -> tuple[int, bytes]:
            future = next(waiting)
            try:
                found = future.result()
            except (CancelledError, KilledWorker) as error:
                raise InputError(f"scheduler {address}: a batch was lost with its workers: {error}") from None
            future.release()
            return numbers.pop(future.key), found

        try:
            for batch in batches:
                future = client.submit(guarded, batch.captures, options, limit_s, pure=False)
                numbers[future.key] = batch.nr
                waiting.add(future)
                if len(numbers) >= room:
                    yield next_()
            while numbers:
                yield next_()
        except OSError as error:
            raise InputError(f"scheduler {address} is lost: {error}") from None
        finally:
            with contextlib.suppress(Exception):
                client.run(close_guards)


_guards: dict[tuple[Options, float], list[Guard]] = {}
_lock = threading.Lock()


def guarded(captures: Sequence[Found], options: Options, limit_s: float) -> bytes:
    """A batch on a worker of Dask, by a guard that stays there for the next one."""
    with _lock:
        own = _guards.setdefault((options, limit_s), [])
        guard = own.pop() if own else Guard(options, limit_s)
    try:
        return rows_of([guard.ask(found) for found in captures], options)
    finally:
        with _lock:
            own.append(guard)


def close_guards() -> None:
    """End the guards of this process."""
    with _lock:
        for guard in [guard for own in _guards.values() for guard in own]:
            guard.close()
        _guards.clear()


def nr_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
