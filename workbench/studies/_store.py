"""A table on disk that grows by batches: files while it runs, one Parquet file at the end.

While it runs, ``OUT.parquet.parts/`` holds a JSON file that says of what the parts are, and one Arrow file
for each batch that is done, each renamed into place when it is whole. Whoever starts the same again goes on
from there. The Parquet file is written from them in order, and renamed into place as well.
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

from workbench.model.errors import InputError
from workbench.model.scenario.footprints import PART

ROWS = 1 << 16  # of a row group


class Parts:
    """The parts of one table on disk, held by one process at a time; each study has its own kind."""

    what: str  # it is, in errors: "sweep"
    file: str  # that says of what the parts are
    key: bytes  # of the Parquet file's metadata
    even = False  # row groups of just so many ROWS, whatever the batches were

    def __init__(self, out: Path, about: dict[str, Any]) -> None:
        self.out, self.folder, self.about = out, out.with_name(out.name + ".parts"), about
        self.done: set[int] = set()

    @property
    def nr_batches(self) -> int:
        """Of the whole table."""
        raise NotImplementedError

    def is_same(self, found: bytes) -> bool:
        """Whether parts are of this table, by what their JSON file says."""
        raise NotImplementedError

    def is_whole(self, nr: int, table: Any) -> bool:
        """Whether batch ``nr`` is complete."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return self.about

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, or take over what an interrupted run left."""
        about = self.folder / self.file
        if not self.out.parent.is_dir():
            raise InputError("there is no such folder", file=self.out.parent)
        if self.out.exists() and not self.out.is_file():
            raise InputError("is in the way: not a file", file=self.out)
        if self.folder.exists() and not about.is_file() and (not self.folder.is_dir() or self._strangers()):
            raise InputError(f"is in the way: it holds no parts of a {self.what}", file=self.folder)
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError("another process is writing it now", file=self.out) from None
            same = about.exists() and self.is_same(about.read_bytes())
            for path in self.folder.glob("*.arrow"):
                if same and path.stem.isdecimal() and self._is_whole(path):
                    self.done.add(int(path.stem))
                else:
                    path.unlink()  # cut short, or of what is no longer asked
            _write(about, json.dumps(self.to_dict()).encode())
            yield

    def _strangers(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"lock", self.file + ".new"}

    def _is_whole(self, path: Path) -> bool:
        import pyarrow as pa

        nr = int(path.stem)
        try:
            return nr < self.nr_batches and self.is_whole(nr, _read(path))
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
            return False

    def add(self, nr: int, rows: bytes) -> None:
        """Keep a batch."""
        _write(self._path(nr), rows)
        self.done.add(nr)

    def _path(self, nr: int) -> Path:
        return self.folder / f"{nr:07d}.arrow"

    def schemas(self) -> list[Any]:
        """Of all batches."""
        import pyarrow as pa

        found = []
        for nr in range(self.nr_batches):
            with pa.memory_map(str(self._path(nr))) as source:
                found.append(pa.ipc.open_file(source).schema)
        return found

    def tables(self) -> Iterator[Any]:
        """All batches."""
        return (_read(self._path(nr)) for nr in range(self.nr_batches))

    def finish(self, schema: Any, **extra: Any) -> None:
        """Write the Parquet file, which says ``about`` and ``extra`` of itself; remove the parts."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = schema.with_metadata({self.key: json.dumps(self.about | extra).encode()})
        new = self.out.with_name(self.out.name + ".new")
        with new.open("wb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                waiting: list[Any] = []
                for nr, table in enumerate(self.tables(), 1):
                    waiting.append(filled(table, schema))
                    if sum(part.num_rows for part in waiting) < ROWS and nr < self.nr_batches:
                        continue
                    table, waiting = pa.concat_tables(waiting), []
                    if self.even:
                        table = table.combine_chunks()
                        whole = table.num_rows if nr == self.nr_batches else table.num_rows // ROWS * ROWS
                        table, waiting = table.slice(0, whole), [table.slice(whole)]
                    writer.write_table(table, row_group_size=ROWS if self.even else None)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.out)
        shutil.rmtree(self.folder)


def clear(out: Path) -> None:
    """Remove what is left of the parts of a finished table, killed before they were gone."""
    folder = out.with_name(out.name + ".parts")
    with contextlib.suppress(OSError):
        names = [path.name for path in folder.iterdir()]
        if all(name == "lock" or name.endswith((".arrow", ".new", ".json")) for name in names):
            shutil.rmtree(folder)


def about_of(path: str | os.PathLike[str], parts: type[Parts], format_: str) -> dict[str, Any]:
    """What a Parquet file says of itself; an InputError if it is none of this kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = json.loads(pq.read_schema(path).metadata[parts.key])
        if found["format"] != format_:
            raise ValueError(f"format {found['format']!r}, not {format_!r}")
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise InputError(f"is no table of a {parts.what}: {error}", file=path) from None
    return found


def _write(path: Path, content: bytes) -> None:
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


def to_bytes(table: Any) -> bytes:
    """A batch's table as an Arrow file."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def of_bytes(rows: bytes) -> Any:
    """A batch's table."""
    import pyarrow as pa

    return pa.ipc.open_file(io.BytesIO(rows)).read_all()


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
