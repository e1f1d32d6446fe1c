"""``fleet()``: from a place full of captures to a table, and from the table to a distribution.

A million captures, on paper. Measured: 5,000 generated captures of 7 KB (1,000, each five times) for 14
designs in two processes of a 2-core virtual machine, busy with other work too (load average 7 to 9): 165 s,
30 captures a second. CPU for each capture: 11 ms in a process that looks, 1 ms in the one that collects;
memory: at most 95 MB in each of the former, 170 MB in the latter. A real capture of 24 GiB (444 KB) takes
0.1 s.

* CPU: 12,000 s; on two idle cores 1 h 40 min, on 64 cores 3 to 4 min. With "processes" the collecting process
  alone needs 1,000 s, and keeps 11 others busy. Beyond, Dask: its workers make the tables, and this process
  only writes them.
* Memory of the collecting process: 310 bytes for each name in the list of captures, 0.3 GB in all. Of each
  worker: 0.1 GB, and 4 GiB at most (``guard.MEMORY_BYTES``) where a capture asks for it.
* Disk: 1.2 KB for each capture in parts while it runs (1.2 GB), of which Parquet makes 0.4 KB (0.4 GB,
  14 million rows). ``summary`` reads three of the columns: some 0.5 GB of memory.
* Batches: 100 captures, 1 s of work; 10,000 tasks, 2 ms of Dask's time for each. One thread for each worker
  (``dask worker ADDRESS --nworkers N --nthreads 1``). The guard is a child of the worker, whose memory Dask
  does not count: leave room for it. The captures must be there under the same paths, or lie at a URL; to list
  a folder of a million takes half a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__
from workbench.model.errors import InputError
from workbench.studies import _store as store
from workbench.studies._engines import check, nr_cpus, source_sha256
from workbench.studies.fleet import _engines as engines
from workbench.studies.fleet._answers import Options
from workbench.studies.fleet._captures import Found, find
from workbench.studies.fleet._engines import Batch
from workbench.studies.fleet._guard import LIMIT_S

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "page-fleet/1"
MIN_BATCH, MAX_BATCHES = 32, 10_000
MAX_ROWS = 10_000_000  # of a DataFrame; assumed: some GB. A file may have more.
QUANTILES = {"min": 0.0, "p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
GROUPS = ("kernel", "size", "page_mix")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Done:
    """What became of a fleet."""

    captures: int
    failed: list[dict[str, str]]  # capture, reason
    seconds: float
    engine: str
    resumed: int = 0  # captures that were evaluated before
    out: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Keys of ``workbench fleet --json``."""
        return dict(vars(self))


def fleet(
    where: str | os.PathLike[str] | Sequence[Found],
    *,
    designs: Sequence[str] = (),
    pfn_map: str = "xarray",
    pinned: int | str = "0.1%",
    run_pages: int = 1,
    engine: str = "processes",
    workers: int | None = None,
    out: str | os.PathLike[str] | None = None,
    limit_s: float = LIMIT_S,
    progress: Progress | None = None,
) -> pd.DataFrame | Done:
    """Evaluate every capture of a fleet for every design.

    Parameters
    ----------
    where : path, glob or fsspec URL
        See :mod:`workbench.studies.fleet._captures`.
    designs : sequence of str
        Names of ``designs.registry()``; all designs, without their variants, if there are none.
    pinned : int or str
        Pinned pages of each machine, or a share of its RAM, in aligned runs of ``run_pages``.
    engine : str
        "processes"; "in-process"; or a Dask scheduler: ``tcp://HOST:PORT``, ``local``, ``local:N``. The rows
        are the same.
    workers : int, optional
        Processes of "processes"; as many as CPUs.
    out : path, optional
        A Parquet file instead of a DataFrame. A fleet that was interrupted goes on where it stopped, if
        neither the captures nor the question nor the workbench changed; captures that took too long or ended
        their worker are tried again.
    limit_s : float
        Seconds that one capture may take, "in-process" left out.
    progress : callable, optional
        Told how many captures are done, and of how many.

    Returns
    -------
    DataFrame, or with ``out`` a Done
        The columns of :mod:`workbench.studies.fleet._table`, by capture, in the order of the designs.
        ``.attrs["fleet"]`` is what ``Done.to_dict()`` gives.
    """
    options = Options(designs, pfn_map, pinned, run_pages)
    check(engine, workers)
    start = time.perf_counter()
    found = find(where) if isinstance(where, str | os.PathLike) else list(where)
    if engine != "in-process" and any(one.where.startswith("memory:") for one in found):
        raise InputError("memory:// is known to this process only: engine in-process")
    size = max(MIN_BATCH, -(-len(found) // MAX_BATCHES))
    batches = [Batch(nr, found[at : at + size]) for nr, at in enumerate(range(0, len(found), size))]

    def results(skip: set[int]) -> Iterator[tuple[int, bytes]]:
        done = sum(len(batches[nr].captures) for nr in skip)
        left = (batch for batch in batches if batch.nr not in skip)
        if engine == "in-process":
            rows = engines.in_process(left, options)
        elif engine == "processes":
            nr = min(workers or nr_cpus(), max(1, len(batches)))
            rows = engines.processes(left, options, nr, limit_s)
        else:
            rows = engines.dask(left, options, engine, limit_s)
        with contextlib.closing(rows):
            for nr, content in rows:
                done += len(batches[nr].captures)
                if progress:
                    progress(done, len(found))
                yield nr, content

    if out is None:
        if len(found) * len(options.designs) > MAX_ROWS:
            raise InputError(
                f"{len(found)} captures for {len(options.designs)} designs are too many rows for a "
                f"DataFrame (at most {MAX_ROWS}): give out=FILE.parquet"
            )
        tables = {nr: store.of_bytes(rows) for nr, rows in results(set())}
        return _frame([tables[nr] for nr in range(len(tables))], len(found), start, engine)
    parts = _Parts(Path(out), options, batches)
    with parts.held():
        resumed = set(parts.done)
        for nr, content in results(resumed):
            parts.add(nr, content)
        failed = _failed(parts.tables())
        parts.finish(store.union(parts.schemas()))
    nr_resumed = sum(len(batches[nr].captures) for nr in resumed)
    return Done(len(found), failed, time.perf_counter() - start, engine, nr_resumed, os.fspath(out))


def _frame(tables: list[Any], nr: int, start: float, engine: str) -> pd.DataFrame:
    import pyarrow as pa

    schema = store.union(table.schema for table in tables)
    frame = pa.concat_tables([store.filled(table, schema) for table in tables]).to_pandas()
    for name in frame.columns:
        if frame[name].dtype == float and schema.field(name).type == pa.int64():
            frame[name] = frame[name].astype("Int64")
    frame.attrs["fleet"] = Done(nr, _failed(tables), time.perf_counter() - start, engine).to_dict()
    return frame


def _failed(tables: Iterable[Any]) -> list[dict[str, str]]:
    import pyarrow.compute as pc

    rows = [
        row
        for table in tables
        if int(table.schema.metadata[b"failed"])
        for row in table.filter(pc.is_null(table["design"])).select(["capture", "error"]).to_pylist()
    ]
    return [{"capture": row["capture"], "reason": row["error"]} for row in rows]


# -- on disk ------------------------------------------------------------------------------------------------


class _Parts(store.Parts):
    """The parts of one fleet."""

    what, file, key = "fleet", "fleet.json", b"page_fleet"

    def __init__(self, out: Path, options: Options, batches: Sequence[Batch]):
        listing = hashlib.sha256()
        for batch in batches:
            for one in batch.captures:
                listing.update(
                    "\0".join((one.name, one.path, one.where, one.stamp, "")).encode("utf-8", "replace")
                )
            listing.update(b"\n")
        about = {
            "format": FORMAT,
            "workbench": __version__,
            "source": source_sha256(),
            "options": options.to_dict(),
            "captures": sum(len(b.captures) for b in batches),
            "listing_sha256": listing.hexdigest(),
        }
        super().__init__(out, about)
        self.batches = batches

    @property
    def nr_batches(self) -> int:
        """Of the whole fleet."""
        return len(self.batches)

    def is_same(self, found: bytes) -> bool:
        """Whether they are of these captures, this question and this workbench."""
        try:
            return bool(json.loads(found) == self.about)
        except ValueError:
            return False

    def is_whole(self, nr: int, table: Any) -> bool:
        """Whether each capture is there, and none is to be tried again."""
        counts = table.schema.metadata
        return int(counts[b"captures"]) == len(self.batches[nr].captures) and not int(counts[b"again"])


# -- what it says -------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A fleet's table from its Parquet file; ``columns`` saves memory. An InputError if it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    store.about_of(path, _Parts, FORMAT)
    try:
        return pq.read_table(path, columns=columns).to_pandas(integer_object_nulls=False)
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise InputError(f"is no table of a fleet: {error}", file=path) from None


def summary(table: pd.DataFrame | str | os.PathLike[str], by: str | None = None) -> pd.DataFrame:
    """How saved memory is distributed over the machines of a fleet, for each design.

    Parameters
    ----------
    table : DataFrame, or the path of a Parquet file
        What :func:`fleet` made.
    by : str, optional
        "kernel", "size" or "page_mix": the same for each group of machines, in a column of this name.

    Returns
    -------
    DataFrame
        design, captures (with an answer), unknown (without), then of saved_percent, in percent of RAM: min,
        p05, p25, median, p75, p95, max (linear between two captures); more (captures on which the design
        takes more than ``static``), saved_bytes (over the whole fleet).
    """
    import pandas as pd

    if by is not None and by not in GROUPS:
        raise InputError(f"by {by!r} is none of {', '.join(GROUPS)}")
    columns = ["design", "saved_percent", "saved_bytes", *([by] if by else [])]
    frame = table if isinstance(table, pd.DataFrame) else read(table, columns)
    frame = frame[frame["design"].notna()]
    keys = [*([by] if by else []), "design"]
    rows = []
    for key, own in frame.groupby(keys, sort=False):
        known = own["saved_percent"].astype(float).dropna()
        quantiles = known.quantile(list(QUANTILES.values())) if len(known) else [None] * len(QUANTILES)
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "captures": len(known),
                "unknown": len(own) - len(known),
                **dict(zip(QUANTILES, quantiles, strict=True)),
                "more": int((known < 0).sum()),
                "saved_bytes": int(own["saved_bytes"].dropna().sum()),
            }
        )
    names = [*keys, "captures", "unknown", *QUANTILES, "more", "saved_bytes"]
    found = pd.DataFrame(rows, columns=names)
    return found.sort_values(by, kind="stable", key=_in_order, ignore_index=True) if by else found


def _in_order(groups: pd.Series) -> pd.Series:
    """Size classes by size; all other groups by name."""
    from workbench.studies.fleet._answers import SIZES, size_class

    order = [size_class((size << 30) - 1) for size in SIZES] + [size_class(SIZES[-1] << 30)]
    return groups.map(lambda name: f"{order.index(name)}" if name in order else name)
