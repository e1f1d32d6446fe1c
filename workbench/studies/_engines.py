"""Where batches are evaluated: here, in other processes, or by a Dask cluster. The results are the same bits.

A batch is anything that has a number ``nr``; ``work(batch)`` gives its rows as an Arrow file.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import platform
import socket
import sys
import types
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

import workbench
from workbench import __version__
from workbench.model.errors import InputError

CONNECT_S = 5.0  # until a scheduler that does not answer is given up; assumed
Results = Generator[tuple[int, bytes], None, None]  # a batch's number and its rows, as they are done
Work = Callable[[Any], bytes]


def check(engine: str, workers: int | None) -> None:
    """An InputError unless there is such an engine, and so many workers."""
    if workers is not None and (isinstance(workers, bool) or not 1 <= workers <= 1024):
        raise InputError(f"{workers!r} workers, not from 1 to 1024")
    if engine not in ("in-process", "processes") and ":" not in engine and engine != "local":
        raise InputError(f"engine {engine!r} is none of in-process, processes, local, tcp://HOST:PORT")


@contextlib.contextmanager
def no_main() -> Iterator[None]:
    """New processes do not run the caller's script again, which then needs no ``__main__`` guard."""
    kept = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = kept


def nr_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_process(work: Work, batches: Iterable[Any]) -> Results:
    """One after the other, here."""
    for batch in batches:
        yield batch.nr, work(batch)


def in_pool(pool: Executor, work: Work, batches: Iterable[Any], workers: int) -> Results:
    """By the workers of a pool, two batches waiting for each."""
    running: dict[Future[bytes], int] = {}

    def done() -> Iterator[tuple[int, bytes]]:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()

    for batch in batches:
        running[pool.submit(work, batch)] = batch.nr
        if len(running) >= 2 * workers:
            yield from done()
    while running:
        yield from done()


def processes(work: Work, batches: Iterable[Any], workers: int | None = None, started: Any = None) -> Results:
    """In processes of this machine, as many as it has CPUs."""
    import multiprocessing

    nr = workers or nr_cpus()
    pool = ProcessPoolExecutor(nr, mp_context=multiprocessing.get_context("spawn"))
    try:
        with no_main():
            pool.submit(source_sha256).result()  # all of them start with the first task, and import
        if started:
            started()
        yield from in_pool(pool, work, batches, nr)
    except BrokenProcessPool as error:
        raise InputError(f"a worker process ended by itself: {error}; is there enough memory?") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def dask_client(address: str, workers: int | None = None) -> Iterator[Any]:
    """A client of that scheduler, whose workers have been found to be like this process.

    ``address`` is ``tcp://HOST:PORT``; ``local`` or ``local:N`` starts a cluster of N processes here.
    """
    import dask
    from distributed import Client, LocalCluster

    cluster = None
    with dask.config.set({"distributed.comm.timeouts.connect": CONNECT_S}), _silent("distributed", "tornado"):
        try:
            if address == "local" or address.startswith("local:"):
                nr = _nr_workers(address) or workers or nr_cpus()
                with no_main():
                    cluster = LocalCluster(n_workers=nr, threads_per_worker=1, processes=True,
                                           dashboard_address=None, silence_logs=50)  # fmt: skip
                client = Client(cluster, timeout=CONNECT_S, direct_to_workers=True)
            else:
                _reachable(address)
                try:
                    client = Client(address, timeout=CONNECT_S, direct_to_workers=True)
                except (OSError, ValueError) as error:
                    raise InputError(f"scheduler {address}: {error}") from None
        except BaseException:
            if cluster is not None:
                cluster.close()
            raise
        try:
            _check_workers(client, address)
            yield client
        finally:
            with contextlib.suppress(Exception):
                client.close(timeout=2)
            if cluster is not None:
                cluster.close()


@contextlib.contextmanager
def _silent(*names: str) -> Iterator[None]:
    """No logs of a lost connection: the one line of an InputError says it."""
    known = [name for name in logging.Logger.manager.loggerDict if name.split(".")[0] in names]
    kept = [(logging.getLogger(name), logging.getLogger(name).level) for name in known]
    try:
        for logger, _ in kept:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in kept:
            logger.setLevel(level)


def _nr_workers(address: str) -> int:
    count = address.partition(":")[2]
    if not count:
        return 0
    if not count.isdecimal() or not 1 <= int(count) <= 1024:
        raise InputError(f"scheduler {address!r}: local:N takes a number of processes from 1 to 1024")
    return int(count)


def _reachable(address: str) -> None:
    """Whether a scheduler is there: Dask itself tries again and again, and waits for whatever listens."""
    try:
        where = urlsplit(address if "://" in address else f"tcp://{address}")
        host, port = where.hostname, where.port
    except ValueError as error:
        raise InputError(f"scheduler {address!r}: {error}") from None
    if where.scheme not in ("tcp", "tls") or not host or not port:
        raise InputError(f"scheduler {address!r} is neither tcp://HOST:PORT nor local:N")
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S) as found:
            # A scheduler speaks first, a few hundred bytes after their number.
            hello = found.recv(8, socket.MSG_WAITALL) if where.scheme == "tcp" else bytes(8)
        if len(hello) < 8 or int.from_bytes(hello, "little") > 1 << 16:
            raise InputError(f"scheduler {address}: what listens there is no Dask scheduler")
    except OSError as error:
        raise InputError(f"scheduler {address}: {error.strerror or error}; does it run?") from None


def dask(
    work: Work, batches: Iterable[Any], address: str, workers: int | None = None, started: Any = None,
    ended: Callable[[], None] | None = None,
) -> Results:  # fmt: skip
    """By the workers of a Dask scheduler; each calls ``ended`` when there is nothing more to do."""
    from distributed import as_completed

    with dask_client(address, workers) as client:
        if started:
            started()
        room = 2 * max(1, sum(client.nthreads().values()))
        waiting = as_completed()
        numbers: dict[str, int] = {}
        try:
            for batch in batches:
                future = client.submit(work, batch, pure=False)
                numbers[future.key] = batch.nr
                waiting.add(future)
                if len(numbers) >= room:
                    yield _next(waiting, numbers, address)
            while numbers:
                yield _next(waiting, numbers, address)
        except OSError as error:
            raise InputError(f"scheduler {address} is lost: {error}") from None
        finally:
            if ended:
                with contextlib.suppress(Exception):
                    client.run(ended)


def _next(waiting: Any, numbers: dict[str, int], address: str) -> tuple[int, bytes]:
    from distributed import CancelledError
    from distributed.scheduler import KilledWorker

    future = next(waiting)
    try:
        found = future.result()
    except (CancelledError, KilledWorker) as error:
        raise InputError(f"scheduler {address}: it or a worker was lost, and a batch with it ({error}); the "
                         "same again with the same output file goes on from there") from None  # fmt: skip
    future.release()
    return numbers.pop(future.key), found


# -- are workers like this process? -------------------------------------------------------------------------


def about() -> dict[str, str]:
    """What the bits of a result could depend on."""
    import pyarrow

    return {"workbench": __version__, "workbench's source": source_sha256(),
            "python": platform.python_version(), "numpy": np.__version__, "pyarrow": pyarrow.__version__,
            "floating point": _float_digest()}  # fmt: skip


@functools.cache
def source_sha256() -> str:
    """Of the package's code and of the kernels that it ships."""
    from workbench.model.files import data_dir

    package = Path(workbench.__file__).resolve().parent
    found = hashlib.sha256()
    for path in [*sorted(package.rglob("*.py")), *sorted((data_dir() / "kernels").glob("*.json"))]:
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def _float_digest() -> str:
    """numpy's log1p() and expm1() differ in the last bit between CPUs with and without AVX-512."""
    x = np.linspace(-0.999, 0, 4001)
    found = np.log1p(x).tobytes() + np.expm1(37 * x).tobytes() + np.exp(37 * x).tobytes()
    return hashlib.sha256(found).hexdigest()[:16]


def _check_workers(client: Any, address: str) -> None:
    if not client.nthreads():
        with contextlib.suppress(Exception):
            client.wait_for_workers(1, timeout=CONNECT_S)
    if not client.nthreads():
        raise InputError(f"scheduler {address} has no workers")
    versions = client.get_versions()
    mine = versions["client"]["packages"]
    for where, found in [("its scheduler", versions["scheduler"]), *versions["workers"].items()]:
        for package in ("distributed", "dask", "msgpack", "cloudpickle"):
            if mine.get(package) != found["packages"].get(package):
                raise InputError(f"scheduler {address}: {where} has {package} "
                                 f"{found['packages'].get(package)}, here is {mine.get(package)}; install "
                                 "the same requirements.lock")  # fmt: skip
    here = about()
    try:
        everywhere = client.run(about, on_error="return")
    except Exception as error:
        raise InputError(f"scheduler {address}: {error}") from None
    for worker, there in everywhere.items():
        if not isinstance(there, dict):
            raise InputError(f"worker {worker} cannot run this workbench: {there!r}; install it there")
        for what, value in here.items():
            if there.get(what) != value:
                raise InputError(f"worker {worker} has {what} {there.get(what)}, here is {value}; "
                                 "results would not be the same bits")  # fmt: skip
