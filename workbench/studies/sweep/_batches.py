"""The batches of a sweep: points that are drawn and evaluated wherever an engine sends them.

A batch is points that take 0.1 to 1 s, so that what an engine adds to each (a Dask task about 2 ms) does not
count. Where it is evaluated its numbers are drawn as well, which are the same anywhere; only those of a Latin
hypercube, and long lists, are sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench.model.errors import InputError
from workbench.model.memory.population import Population
from workbench.model.scenario import Scenario, machine_of
from workbench.model.scenario.batch import Choice, Column, Rows, Shares, evaluate_all, scenario_at
from workbench.model.scenario.footprints import PART, nr_pages_of
from workbench.studies._store import to_bytes
from workbench.studies.sweep._axes import Spec


@dataclass(frozen=True)
class Batch:
    """Points in sequence, ready to evaluate anywhere."""

    nr: int
    first: int
    size: int
    base: Scenario
    columns: Mapping[str, Column] | Spec  # a specification, where it is smaller: it has the same columns
    seed: int | None = None  # of exact placements; None: expectations

    def drawn(self) -> Batch:
        """The same, with columns."""
        if isinstance(self.columns, Spec):
            return replace(self, columns=self.columns.columns(self.first, self.first + self.size))
        return self


def work(batch: Batch) -> bytes:
    """Evaluate a batch: its rows as an Arrow file, whose metadata count what went which way."""
    batch = batch.drawn()
    columns = batch.columns
    assert not isinstance(columns, Spec)
    placed = batch.seed is not None
    rows = _placed(batch, columns) if placed else evaluate_all(batch.base, columns, batch.size)
    return to_bytes(_table(batch, columns, rows))


def _placed(batch: Batch, columns: Mapping[str, Column]) -> Rows:
    """Each point with one exact placement of its pinned pages, drawn from the point's own seed."""
    parts: list[Rows] = []
    for at in range(batch.size):
        own = {name: column[at : at + 1] for name, column in columns.items()}
        base = batch.base
        with contextlib.suppress(InputError, OSError):  # evaluate_all() says it again, in its row
            scenario = scenario_at(batch.base, columns, at)
            machine = machine_of(scenario)
            nr = nr_pages_of(scenario.nr_pinned, machine.nr_pages_ram)
            scatter = Population(nr, scenario.run_pages, scenario.folio_order).scatter(machine)
            seed = np.random.SeedSequence(batch.seed, spawn_key=(0, batch.first + at))
            base = batch.base.with_(pinned=scatter.draw(seed))
        parts.append(evaluate_all(base, own, 1))
    names = dict.fromkeys(name for part in parts for name in part.parts)
    zero = np.zeros(1, np.int64)
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("total_bytes", "bytes_per_page", "percent_of_ram", "exact", "nr_pinned",
                     "nr_device_used", "notes", "error")
    }  # fmt: skip
    every = {name: np.concatenate([part.parts.get(name, zero) for part in parts]) for name in names}
    return Rows(parts=every, vectorised=0, **joined)


def _table(batch: Batch, columns: Mapping[str, Column], rows: Rows) -> Any:
    import pyarrow as pa

    failed = rows.error != ""
    mask = failed if failed.any() else None
    found: dict[str, Any] = {"point": pa.array(np.arange(batch.first, batch.first + batch.size))}
    for name, column in columns.items():
        if name in ("nr_pinned", "nr_device_used"):
            found[name] = pa.array(getattr(rows, name), mask=mask)
            if isinstance(column, Shares):
                found[f"{name}_percent"] = pa.array(column.percent)
        elif isinstance(column, Choice):
            values = [one if isinstance(one, str | int | None) else one.name for one in column.values]
            kind = pa.bool_() if name == "describe_device" else pa.int64() if _ints(values) else pa.string()
            found[name] = pa.array(values, kind).take(pa.array(column.codes))
        else:
            found[name] = pa.array(column)
    found["total_bytes"] = pa.array(rows.total_bytes, mask=mask)
    found["bytes_per_page"] = pa.array(rows.bytes_per_page, mask=mask)
    found["percent_of_ram"] = pa.array(rows.percent_of_ram, mask=mask)
    found["exact"] = pa.array(rows.exact, mask=mask)
    found["notes"] = pa.array(rows.notes, pa.string())
    found["error"] = pa.array(rows.error, pa.string(), mask=~failed)
    for name, part in rows.parts.items():
        found[PART + name] = pa.array(part, mask=mask)
    counts = {"vectorised": str(rows.vectorised), "errors": str(int(failed.sum()))}
    return pa.table(found).replace_schema_metadata(counts)


def _ints(values: Any) -> bool:
    return all(isinstance(value, int) for value in values)
