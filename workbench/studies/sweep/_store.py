"""A sweep's table on disk: batches as files while it runs, one Parquet file at the end.

While it runs, ``OUT.parquet.parts/`` holds ``spec.json`` and one Arrow file for each batch that is done, each
renamed into place when it is whole. Whoever starts the same sweep again goes on from there. The Parquet file
is written from them in the order of the points, and renamed into place as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from workbench import __version__
from workbench.model.errors import InputError
from workbench.model.scenario.footprints import PART
from workbench.studies.sweep._axes import Spec
from workbench.studies.sweep._engines import source_sha256

FORMAT = "page-sweep/1"
KEY = b"page_sweep"  # of the Parquet file's metadata
ROWS = 1 << 16  # of a row group, whatever the batches were


def description(spec: Spec) -> dict[str, Any]:
    """What a file says of itself."""
    return {
        "format": FORMAT,
        "workbench": __version__,
        "source": source_sha256(),
        "spec_sha256": spec.sha256(),
        "points": spec.nr_points,
        "seed": spec.seed,
        "spec": spec.to_dict(),
    }


def read_description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a sweep's Parquet file says of itself; an InputError if it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = json.loads(pq.read_schema(path).metadata[KEY])
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']!r}, not {FORMAT!r}")
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise InputError(f"is no table of a sweep: {error}", file=path) from None
    return found


class Parts:
    """The parts of one sweep on disk, held by one process at a time."""

    def __init__(self, out: Path, spec: Spec, batch: int) -> None:
        self.out, self.folder = out, out.with_name(out.name + ".parts")
        self.about, self.batch = description(spec), batch
        self.done: set[int] = set()

    @contextlib.contextmanager
    def held(self) -> Iterator[Parts]:
        """Make the folder, or take over what an interrupted sweep left."""
        if not self.out.parent.is_dir():
            raise InputError("there is no such folder", file=self.out.parent)
        if self.folder.exists() and not (self.folder.is_dir() and self._is_ours()):
            raise InputError("is in the way: it holds no parts of a sweep", file=self.folder)
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError("another sweep is writing it now", file=self.out) from None
            self._take_over()
            yield self

    def _is_ours(self) -> bool:
        names = {path.name for path in self.folder.iterdir()}
        return not names - {"lock", "spec.json", "spec.json.new"} or "spec.json" in names

    def _take_over(self) -> None:
        try:
            found = json.loads((self.folder / "spec.json").read_text())
        except FileNotFoundError:
            write(self.folder / "spec.json", json.dumps(self.about | {"batch": self.batch}).encode())
            return
        except ValueError as error:
            raise InputError(f"cannot be read: {error}", file=self.folder / "spec.json") from None
        refuse(found, self.about, self.folder, "holds parts")
        self.batch = found["batch"]
        nr = -(-self.about["points"] // self.batch)
        for path in self.folder.glob("*.arrow"):
            if path.stem.isdecimal() and int(path.stem) < nr and self._is_whole(path):
                self.done.add(int(path.stem))

    def _is_whole(self, path: Path) -> bool:
        import pyarrow as pa

        try:
            rows = _read(path).num_rows
        except (OSError, pa.ArrowException):
            return False
        first = int(path.stem) * self.batch
        return rows == min(self.batch, self.about["points"] - first)

    def add(self, nr: int, rows: bytes) -> None:
        """Keep a batch."""
        write(self._path(nr), rows)
        self.done.add(nr)

    def _path(self, nr: int) -> Path:
        return self.folder / f"{nr:07d}.arrow"

    def finish(self) -> tuple[int, int]:
        """Write the Parquet file, remove the parts; points that were vectorised, and errors."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        nr = -(-self.about["points"] // self.batch)
        schemas = [_schema(self._path(at)) for at in range(nr)]
        counts = totals(schemas)
        extra = {"vectorised": counts[0], "errors": counts[1]}
        schema = union(schemas).with_metadata({KEY: json.dumps(self.about | extra).encode()})
        new = self.out.with_name(self.out.name + ".new")
        with new.open("wb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                waiting: list[Any] = []
                for at in range(nr):
                    waiting.append(filled(_read(self._path(at)), schema))
                    if sum(part.num_rows for part in waiting) >= ROWS or at == nr - 1:
                        table = pa.concat_tables(waiting).combine_chunks()
                        whole = table.num_rows if at == nr - 1 else table.num_rows // ROWS * ROWS
                        writer.write_table(table.slice(0, whole), row_group_size=ROWS)
                        waiting = [table.slice(whole)]
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.out)
        shutil.rmtree(self.folder)
        return counts


def clear(out: Path) -> None:
    """Remove what is left of the parts of a finished table, killed before they were gone."""
    folder = out.with_name(out.name + ".parts")
    with contextlib.suppress(OSError):
        names = [path.name for path in folder.iterdir()]
        if all(name == "lock" or name.endswith((".arrow", ".new", ".json")) for name in names):
            shutil.rmtree(folder)


def refuse(found: dict[str, Any], own: dict[str, Any], path: Path, what: str) -> None:
    """Raise InputError, naming what differs, where a file is of another sweep."""
    for key in ("format", "workbench", "source", "spec"):
        if found.get(key) == own[key]:
            continue
        name = key
        if key == "spec":
            there = found.get("spec") or {}
            name = next((k for k in {**own["spec"], **there} if there.get(k) != own["spec"].get(k)), key)
            if name == "base":
                name = next(k for k in own["spec"]["base"] if there["base"].get(k) != own["spec"]["base"][k])
        raise InputError(f"{what} of another sweep ({name} differs): remove it, or choose another output",
                         file=path)  # fmt: skip


def write(path: Path, content: bytes) -> None:
    """All of it or nothing."""
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _read(path: Path) -> Any:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _schema(path: Path) -> Any:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).schema


def of_bytes(rows: bytes) -> Any:
    """A batch's table."""
    import pyarrow as pa

    return pa.ipc.open_file(io.BytesIO(rows)).read_all()


def totals(schemas: Iterable[Any]) -> tuple[int, int]:
    """Points that were vectorised, and errors, of all batches."""
    found = [(int(s.metadata[b"vectorised"]), int(s.metadata[b"errors"])) for s in schemas]
    return sum(one for one, _ in found), sum(other for _, other in found)


def union(schemas: Iterable[Any]) -> Any:
    """All columns, in the order in which the points bring them up."""
    import pyarrow as pa

    found = {field.name: field for schema in schemas for field in schema}
    return pa.schema([f for f in found.values() if not f.name.startswith(PART)] +
                     [f for f in found.values() if f.name.startswith(PART)])  # fmt: skip


def filled(table: Any, schema: Any) -> Any:
    """A batch with the columns of all: 0 bytes of a part that none of its points has."""
    import pyarrow as pa
    import pyarrow.compute as pc

    zero = None
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(table[field.name])
            continue
        if zero is None:
            nothing = pa.scalar(None, pa.int64())
            zero = pc.if_else(pc.is_valid(table["error"]), nothing, pa.scalar(0, pa.int64()))
        columns.append(zero)
    return pa.table(columns, schema=schema)
