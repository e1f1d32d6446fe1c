"""``sweep()``: from a specification to a table."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.model.errors import InputError
from workbench.model.scenario import Scenario
from workbench.studies import _engines as engines
from workbench.studies import _store as store
from workbench.studies.sweep._axes import Spec, spec
from workbench.studies.sweep._batches import Batch, work
from workbench.studies.sweep._store import FORMAT, Parts, description, refuse, totals

if TYPE_CHECKING:
    import pandas as pd

# Points of a batch, so that one takes 0.1 to 1 s: 3 us a point by arrays, 0.1 to 1 ms one by one.
BATCH, BATCH_ONE_BY_ONE = 1 << 16, 1 << 10
MAX_ROWS = 10_000_000  # of a DataFrame; assumed: some GB. A file may have axes.MAX_POINTS.


@dataclass(frozen=True)
class Done:
    """What became of a sweep."""

    points: int
    seconds: float  # wall clock, without the start of processes or of a cluster
    engine: str
    vectorised: int  # points that formulas over arrays answered
    errors: int  # rows that say why they have no answer
    resumed: int = 0  # points that were there before
    out: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The keys that ``workbench sweep --json`` prints."""
        return dict(vars(self))


def sweep(
    base: Scenario | None = None,
    *,
    grid: Mapping[str, Any] | None = None,
    random: Mapping[str, Any] | None = None,
    lhs: Mapping[str, Any] | None = None,
    samples: int = 0,
    seed: int = 1,
    placed: bool = False,
    engine: str = "in-process",
    workers: int | None = None,
    out: str | os.PathLike[str] | None = None,
    batch: int | None = None,
    **fields: Any,
) -> pd.DataFrame | Done:
    """Evaluate many scenarios that differ from ``base`` in some fields.

    Parameters
    ----------
    base : Scenario, optional
        What they share.
    grid, **fields : mapping of field name to list of values, or to Range with ``steps``
        Every combination is a point: ``sweep(base, folio_order=range(10))``.
    random, lhs : mapping of field name to Range, or to list of values
        Drawn independently, or as a Latin hypercube: ``samples`` of them, with each combination of the grid.
    seed : int
        Of all that is drawn.
    placed : bool
        Instead of expectations: each point's pages placed once, exactly, by a seed of the point's own.
    engine : str
        "in-process"; "processes"; or a Dask scheduler: ``tcp://HOST:PORT``, ``local``, ``local:N``.
        The rows are the same, bit for bit.
    workers : int, optional
        Processes of "processes" and "local"; as many as CPUs.
    out : path, optional
        A Parquet file instead of a DataFrame. A sweep that was interrupted goes on where it stopped.
    batch : int, optional
        Points of one batch.

    Returns
    -------
    DataFrame, or with ``out`` a Done
        One row per point: point, the varied fields (``nr_pinned`` and ``nr_device_used`` in pages; a sampled
        share beside it as ``nr_pinned_percent``), total_bytes, bytes_per_page, percent_of_ram, exact, notes,
        error, and ``part:NAME`` in bytes. A point that cannot be evaluated says so in ``error`` and has no
        numbers. ``.attrs["sweep"]`` is what ``Done.to_dict()`` gives.

    Examples
    --------
    >>> from workbench.studies.sweep import sweep
    >>> table = sweep(Scenario(machine="ram=1GiB"), nr_pinned=[0, 51], run_pages=[1, 512])
    >>> table[["nr_pinned", "run_pages", "part:dynamic_page objects"]].values.tolist()
    [[0, 1, 0], [0, 512, 0], [51, 1, 4080], [51, 512, 4080]]
    """
    grid = dict(grid or {})
    if both := set(grid) & set(fields):
        raise InputError(f"field {sorted(both)[0]!r} is given twice")
    what = spec(base, grid=grid | fields, random=random, lhs=lhs, samples=samples, seed=seed, placed=placed)
    if batch is not None and (not isinstance(batch, int) or not 1 <= batch <= 1 << 20):
        raise InputError(f"a batch of {batch!r} points is not from 1 to {1 << 20}")
    return run(what, engine=engine, workers=workers, out=out, batch=batch)


def run(
    what: Spec,
    *,
    engine: str = "in-process",
    workers: int | None = None,
    out: str | os.PathLike[str] | None = None,
    batch: int | None = None,
) -> pd.DataFrame | Done:
    """The same for a checked specification."""
    engines.check(engine, workers)
    size = batch or (BATCH if what.by_arrays else BATCH_ONE_BY_ONE)
    clock = _Clock(what.nr_points)
    if out is None:
        if what.nr_points > MAX_ROWS:
            raise InputError(f"{what.nr_points} points are too many for a DataFrame (at most {MAX_ROWS}): "
                             "give out=FILE.parquet")  # fmt: skip
        found = {}
        for nr, rows in _results(what, engine, workers, size, set(), clock):
            found[nr] = store.of_bytes(rows)
            clock.add(found[nr].num_rows)
        tables = [found.pop(nr) for nr in range(len(found))]
        counts = totals(table.schema for table in tables)
        frame = _frame(tables)
        frame.attrs["sweep"] = Done(what.nr_points, clock.seconds(), engine, *counts).to_dict()
        clock.end()
        return frame
    path = Path(out)
    if path.exists():
        there = store.about_of(path, Parts, FORMAT)
        refuse(there, description(what), path, "is")
        store.clear(path)
        counts = there["vectorised"], there["errors"]
        return Done(what.nr_points, 0.0, engine, *counts, resumed=what.nr_points, out=str(path))
    parts = Parts(path, what, size)
    with parts.held():
        resumed = sum(parts.size(nr) for nr in parts.done)
        clock.add(resumed)
        for nr, rows in _results(what, engine, workers, parts.batch, set(parts.done), clock):
            parts.add(nr, rows)
            clock.add(parts.size(nr))
        schemas = parts.schemas()
        counts = totals(schemas)
        parts.finish(store.union(schemas), vectorised=counts[0], errors=counts[1])
    clock.end()
    return Done(what.nr_points, clock.seconds(), engine, *counts, resumed=resumed, out=str(path))


def _results(
    what: Spec, engine: str, workers: int | None, size: int, done: set[int], clock: _Clock
) -> Iterator[tuple[int, bytes]]:
    batches = _batches(what, size, done)
    if len(done) * size >= what.nr_points:
        return iter(())
    if engine == "in-process":
        return engines.in_process(work, batches)
    if engine == "processes":
        return engines.processes(work, batches, workers, started=clock.start)
    return engines.dask(work, batches, engine, workers, started=clock.start)


def _batches(what: Spec, size: int, done: set[int]) -> Iterator[Batch]:
    for nr in range(-(-what.nr_points // size)):
        if nr in done:
            continue
        first, end = nr * size, min((nr + 1) * size, what.nr_points)
        columns = what if what.is_small else what.columns(first, end)
        yield Batch(nr, first, end - first, what.base, columns, what.seed if what.placed else None)


def _frame(tables: list[Any]) -> pd.DataFrame:
    """A DataFrame: int64, or where some points have no numbers pandas' Int64, which can say so."""
    import pandas as pd
    import pyarrow as pa

    schema = store.union([table.schema for table in tables])
    table = pa.concat_tables([store.filled(one, schema) for one in tables])
    if table["error"].null_count == table.num_rows:
        return table.to_pandas()
    nullable: dict[Any, Any] = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    return table.to_pandas(types_mapper=nullable.get)


def read(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The table of a finished sweep; ``.attrs["sweep"]`` is what the file says of itself."""
    import pyarrow.parquet as pq

    about = store.about_of(path, Parts, FORMAT)
    frame = _frame([pq.read_table(path)])
    frame.attrs["sweep"] = about
    return frame


class _Clock:
    """Counts points, and says how far it is on a terminal."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.shown = total, 0, 0.0
        self.quiet = bool(os.environ.get("WORKBENCH_BATCH")) or not (sys.stderr and sys.stderr.isatty())
        self.start()

    def start(self) -> None:
        self.began = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def add(self, nr: int) -> None:
        self.done += nr
        now = time.perf_counter()
        if self.quiet or now - self.shown < 0.5:
            return
        self.shown = now
        rate = self.done / max(self.seconds(), 1e-9)
        left = (self.total - self.done) / max(rate, 1e-9)
        print(f"\r{self.done:,} of {self.total:,} points, {rate:,.0f}/s, {left:,.0f} s left \x1b[K",
              end="", file=sys.stderr, flush=True)  # fmt: skip

    def end(self) -> None:
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


