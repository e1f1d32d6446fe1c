"""The pin trace, ``pin-trace/1``: one row for each reference taken on a folio or dropped from it.

A Parquet file whose metadata key ``pin_trace`` holds a JSON object (format, kernel, tool, vmemmap_base, ...).

=========  ================  ==================================================================
column     type              meaning
=========  ================  ==================================================================
ts_ns      int64             nanoseconds since the first event
cpu        uint8 or uint16   where it happened
pid        int32             who ran there; of a release: whoever was interrupted
comm       dictionary        its name
op         int8              +1 a reference is taken, -1 dropped
probe      dictionary        which probe saw it: grab_fast, grab, put; take: one of the two grabs
pfn        uint32 or uint64  the page that the kernel was given; of a release: the folio's head
nr         int32             references; of grab_fast: consecutive base pages from pfn
order      int8              the folio's order, -1 where the probe cannot know it
gup_flags  uint32            the FOLL_ flags; rows without FOLL_PIN are not pins
head_off   int32             pages from the folio's head to pfn: folio = pfn - head_off
=========  ================  ==================================================================

Left out: which subpages a release covers (the kernel itself knows only the folio and a count).
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.kernel.config import kernel_version

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

#: A reference taken by grab_fast or grab: the tool does not say which.
TAKE = "take"
#: What a row may hold at most: 146 years, and the pfns of 64-bit physical addresses.
MAX_NS, MAX_PFNS = 1 << 62, 1 << 52
#: Value of "format" under the metadata key "pin_trace".
FORMAT = "pin-trace/1"
#: Rows in a row group, and in a batch of `iter_batches`: memory stays bounded, deltas stay long. Assumed.
BATCH_ROWS = 1 << 20

_TYPES: dict[str, tuple[str, ...]] = {
    "ts_ns": ("int64",),
    "cpu": ("uint8", "uint16"),  # 16 bits only for machines with more than 256 CPUs
    "pid": ("int32",),
    "comm": ("dictionary", "string"),
    "op": ("int8",),
    "probe": ("dictionary", "string"),
    "pfn": ("uint32", "uint64"),  # 64 bits only for pages at 16 TiB and above
    "nr": ("int32",),
    "order": ("int8",),
    "gup_flags": ("uint32",),
    "head_off": ("int32",),
}
_NAMES = ("comm", "probe")


def counted(nr: int, one: str, many: str) -> str:
    """A number and its noun.

    Examples
    --------
    >>> counted(1, "event was", "events were"), counted(1581, "event was", "events were")
    ('1 event was', '1,581 events were')
    """
    return f"{nr:,} {one if nr == 1 else many}"


def foll_pin(kernel: str | None) -> int:
    """The value of FOLL_PIN in a kernel release; an unknown release counts as a new one.

    0x40000 in include/linux/mm_types.h, v6.1; 1 << 19 in mm/internal.h since commit 2c2241081f7d
    ("mm/gup: move private gup FOLL_ flags to internal.h", in v6.3).

    Examples
    --------
    >>> hex(foll_pin("6.12.95")), hex(foll_pin("6.1.0-18-amd64"))
    ('0x80000', '0x40000')
    """
    return 0x40000 if (0, 0) < kernel_version(kernel) < (6, 3) else 0x80000


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """Recorded pins, one array for each column, all of the same length and in the order of time.

    ``comm`` and ``probe`` are int32 codes into ``comm_names`` and ``probe_names``. The names are as
    recorded: whoever shows them escapes them.

    Examples
    --------
    >>> trace = load_trace("pins-fio")
    >>> len(trace), int(trace.is_pin.sum()), trace.complete
    (166716, 166660, True)
    >>> int(trace.op[trace.is_pin].sum())    # everything pinned was unpinned
    0
    """

    ts_ns: np.ndarray
    cpu: np.ndarray
    pid: np.ndarray
    comm: np.ndarray
    op: np.ndarray
    probe: np.ndarray
    pfn: np.ndarray
    nr: np.ndarray
    order: np.ndarray
    gup_flags: np.ndarray
    head_off: np.ndarray
    comm_names: tuple[str, ...]
    probe_names: tuple[str, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    name: str = "trace"

    def __post_init__(self) -> None:
        lengths = {column: len(getattr(self, column)) for column in _TYPES}
        if len(set(lengths.values())) > 1:
            raise InputError(f"the columns of a Trace differ in length: {lengths}", file=self.name)

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def kernel(self) -> str | None:
        """The release that the trace was recorded on, where known."""
        return self.meta.get("kernel")

    @property
    def foll_pin(self) -> int:
        """The bit of ``gup_flags`` that makes a row a pin."""
        return foll_pin(self.kernel)

    @property
    def folio(self) -> np.ndarray:
        """Head pfn of each row's folio, in the type of ``pfn``."""
        return self.pfn - self.head_off.astype(self.pfn.dtype)

    @property
    def is_pin(self) -> np.ndarray:
        """Which rows took or dropped a pin (others came through the same functions with FOLL_GET)."""
        return (self.gup_flags & np.uint32(self.foll_pin)) != 0

    @property
    def is_fast(self) -> np.ndarray:
        """Which rows came through gup_fast, where interrupts are off; an upper bound if not `knows_fast`."""
        fast = [c for c, name in enumerate(self.probe_names) if name.endswith("grab_fast") or name == TAKE]
        return np.isin(self.probe, fast)

    @property
    def knows_fast(self) -> bool:
        """Whether the tool told gup_fast from the slow path. Goes by names: the same in every batch."""
        return TAKE not in self.probe_names

    @property
    def why(self) -> tuple[str, ...]:
        """Why the trace is known to be incomplete, by its own metadata; empty where nothing says so."""
        said = [str(reason) for reason in self.meta.get("why", ())]
        if not said:
            for key, what in (("lost", "event{} lost"), ("missed", "probe hit{} missed")):
                if nr := self.meta.get(key):
                    said.append(f"{nr} {what.format('' if nr == 1 else 's')}")
            if self.meta.get("complete") is False and not said:
                said.append("marked incomplete when it was imported")
        return tuple(said)

    @property
    def complete(self) -> bool:
        """Whether nothing says that events are missing."""
        return not self.why

    def select(self, rows: np.ndarray | slice) -> Trace:
        """The rows that a mask, an index array or a slice picks."""
        return replace(self, **{column: getattr(self, column)[rows] for column in _TYPES})

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the trace; the file appears whole or not at all."""
        with TraceWriter(
            path, max_pfn=int(self.pfn.max(initial=0)), max_cpu=int(self.cpu.max(initial=0))
        ) as writer:
            for start in range(0, max(len(self), 1), BATCH_ROWS):
                writer.write(self.select(slice(start, start + BATCH_ROWS)))
            writer.meta.update(self.meta)
        return Path(path)


class TraceWriter:
    """Writes a trace batch by batch into a temporary file that takes its name when all went well.

    ``meta`` may be filled until the end. The largest pfn and CPU fix the columns' types. Level 19 is for
    files that are kept; level 3 is seven times as fast and makes them 11 % larger (2.62 against 2.37
    bytes an event of pins-fio).
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_pfn: int = 0, max_cpu: int = 0, zstd_level: int = 19
    ):
        self.path = Path(path)
        self._level = zstd_level
        self.meta: dict[str, Any] = {}
        self._schema = _schema(wide={"pfn": max_pfn >= 1 << 32, "cpu": max_cpu >= 1 << 8})
        self._writer: pq.ParquetWriter | None = None
        check_output(self.path)

    def __enter__(self) -> TraceWriter:
        handle, self._temporary = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        os.close(handle)
        return self

    def write(self, batch: Trace) -> None:
        """Append one batch as one row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._temporary,
                self._schema,
                compression="zstd",
                compression_level=self._level,
                use_dictionary=[c for c in _TYPES if c not in ("ts_ns", "pfn")],
                column_encoding={"ts_ns": "DELTA_BINARY_PACKED", "pfn": "DELTA_BINARY_PACKED"},
            )
        columns = []
        for column in self._schema:
            values = getattr(batch, column.name)
            if column.name in _NAMES:
                names = pa.array(getattr(batch, f"{column.name}_names"), pa.string())
                array = pa.DictionaryArray.from_arrays(pa.array(values, pa.int32()), names)
            else:
                array = pa.array(values).cast(column.type)  # safe: a value that does not fit is an error
            columns.append(array)
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema), len(batch) or None)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._writer is not None:
                if kind is None:
                    meta = {"format": FORMAT, **self.meta}
                    self._writer.add_key_value_metadata({"pin_trace": json.dumps(meta)})
                self._writer.close()
                if kind is None:
                    mask = os.umask(0)
                    os.umask(mask)
                    Path(self._temporary).chmod(0o666 & ~mask)  # mkstemp made it private
                    Path(self._temporary).replace(self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(self._temporary).unlink()


def check_output(path: Path) -> None:
    """Refuse what no file can be written to, before the work."""
    if not path.parent.is_dir():
        raise InputError("the folder to write into does not exist", file=path.parent)
    if path.exists() and not path.is_file():
        raise InputError("the output must be a file, not a folder or a device", file=path)


def _schema(wide: Mapping[str, bool]) -> pa.Schema:
    import pyarrow as pa

    names = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        (column, names if column in _NAMES else pa.type_for_alias(types[-1 if wide.get(column) else 0]))
        for column, types in _TYPES.items()
    )


def load_trace(path: str | os.PathLike[str]) -> Trace:
    """Load a whole pin trace into memory, about 45 bytes an event; for more see `iter_batches`.

    Parameters
    ----------
    path : path
        A Parquet file, or the name of a shipped trace, such as ``"pins-fio"``.

    Examples
    --------
    >>> trace = load_trace("pins-mixed-lossy-kprobe")
    >>> trace.complete, trace.why
    (False, ('1581 probe hits missed',))
    """
    batches = list(iter_batches(path))
    columns: dict[str, Any] = {c: np.concatenate([getattr(b, c) for b in batches]) for c in _TYPES}
    return replace(batches[-1], **columns)


def iter_batches(path: str | os.PathLike[str], rows: int = BATCH_ROWS) -> Iterator[Trace]:
    """Read a pin trace in pieces of at most `rows` rows; memory does not grow with the file.

    A code of ``comm`` or ``probe`` means the same in every batch; later batches may know more names.
    An empty trace gives one empty batch.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = _find(path)
    _check_magic(file)
    with _readable(file), pq.ParquetFile(file) as parquet:
        meta = _metadata(parquet, file)
        _check_types(parquet.schema_arrow, file)
    with _readable(file):  # only now, because read_dictionary takes the columns to be there for granted
        parquet = pq.ParquetFile(file, read_dictionary=list(_NAMES), pre_buffer=False, buffer_size=1 << 20)
    with parquet:
        known: dict[str, dict[str, int]] = {column: {} for column in _NAMES}
        first = 0
        batches = parquet.iter_batches(batch_size=rows, columns=list(_TYPES))
        while True:
            with _readable(file, f"after row {first}"):
                batch = next(batches, None)
            if batch is None:
                break
            yield _to_trace(batch, known, meta, file, first)
            first += batch.num_rows
        if first == 0:
            yield _to_trace(pa.RecordBatch.from_pylist([], schema=parquet.schema_arrow), known, meta, file, 0)


def shipped() -> dict[str, Path]:
    """The traces that ship with the workbench, by name."""
    return {path.stem: path for path in sorted((data_dir() / "traces").glob("*.parquet"))}


def _find(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    with contextlib.suppress(RuntimeError):  # ~nobody stays as it is
        file = file.expanduser()
    try:
        exists = file.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL in it
        exists = False
    if not exists:
        names = shipped()
        if str(path) not in names:
            is_name = os.sep not in os.fspath(path) and file.suffix != ".parquet"
            rule = f"no such trace; the shipped ones are {', '.join(names)}" if is_name else "no such file"
            raise InputError(rule, file=file)
        file = names[str(path)]
    if file.is_dir() and any(file.glob("trace.txt*")):
        raise InputError(f"this is a recording: {_IMPORT}", file=file)
    if not file.is_file():
        raise InputError("a trace is one Parquet file, not a folder or a device", file=file)
    return file


_IMPORT = "import it first with 'workbench trace import'"


def _check_magic(file: Path) -> None:
    """Text and archives of text are not damaged Parquet files: say what to do with them."""
    with _readable(file), file.open("rb") as opened:
        start = opened.read(512)
    packed = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
    for magic, name in packed.items():
        if start.startswith(magic):
            raise InputError(f"this is packed by {name}: if it is text, {_IMPORT}", file=file)
    if start and not start.startswith(b"PAR") and not start.translate(None, _TEXT):
        raise InputError(f"this is text, not a pin trace: {_IMPORT}", file=file)


#: Bytes that text is made of: whatever is printed, above ASCII too, and white space.
_TEXT = bytes([9, 10, 13, *range(32, 127), *range(128, 256)])


@contextlib.contextmanager
def _readable(file: Path, place: str | None = None) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise InputError(
            f"not a readable Parquet file ({reason}); it is damaged or cut short", file=file, place=place
        ) from None


def _metadata(parquet: pq.ParquetFile, file: Path) -> dict[str, Any]:
    raw = {**(parquet.schema_arrow.metadata or {}), **(parquet.metadata.metadata or {})}.get(b"pin_trace")
    if raw is None:
        raise InputError(
            "the metadata have no key 'pin_trace': a Parquet file, but not a pin trace", file=file
        )
    try:
        meta = json.loads(raw)
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        said = meta.get("format") if isinstance(meta, dict) else raw[:40]
        raise InputError(f"format {said!r} is not {FORMAT!r}", file=file, place="metadata key 'pin_trace'")
    if not isinstance(meta.get("kernel"), str | None) or not isinstance(meta.get("why", []), list):
        raise InputError(
            "'kernel' must be text and 'why' a list", file=file, place="metadata key 'pin_trace'"
        )
    return meta


def _check_types(schema: pa.Schema, file: Path) -> None:
    import pyarrow as pa

    for column, allowed in _TYPES.items():
        at = schema.get_all_field_indices(column)
        if len(at) != 1:
            raise InputError(
                f"{len(at) or 'no'} such columns; {FORMAT} has exactly one",
                file=file,
                place=f"column {column!r}",
            )
        found = schema.field(at[0]).type
        if column in _NAMES:
            values = found.value_type if pa.types.is_dictionary(found) else found
            good = pa.types.is_string(values)
        else:
            good = str(found) in allowed
        if not good:
            wanted = "dictionary of string" if column in _NAMES else " or ".join(allowed)
            raise InputError(f"its type is {found}, not {wanted}", file=file, place=f"column {column!r}")


def _to_trace(
    batch: pa.RecordBatch, known: dict[str, dict[str, int]], meta: dict[str, Any], file: Path, first: int
) -> Trace:
    columns: dict[str, np.ndarray] = {}
    for column in _TYPES:
        array = batch.column(column)
        if array.null_count:
            raise InputError(
                "it has empty values; every row needs one", file=file, place=f"column {column!r}"
            )
        if column in _NAMES:
            encoded = array if hasattr(array, "dictionary") else array.dictionary_encode()
            codes = known[column]
            try:
                names = encoded.dictionary.to_pylist()
            except UnicodeDecodeError:
                raise InputError("a name is not UTF-8", file=file, place=f"column {column!r}") from None
            here = np.array([codes.setdefault(name, len(codes)) for name in names], dtype=np.int32)
            columns[column] = here[encoded.indices.to_numpy(zero_copy_only=False)] if names else here[:0]
        else:
            columns[column] = array.to_numpy(zero_copy_only=False)
    _check_values(columns, file, first)
    return Trace(
        **columns,
        comm_names=tuple(known["comm"]),
        probe_names=tuple(known["probe"]),
        meta=meta,
        name=file.stem,
    )


def _check_values(columns: dict[str, np.ndarray], file: Path, first: int) -> None:
    pfn, ts_ns = columns["pfn"], columns["ts_ns"]
    for column, wrong, rule in (
        ("ts_ns", (ts_ns < 0) | (ts_ns > MAX_NS), "must be 0..2^62 ns"),
        ("pfn", pfn.astype(np.uint64) >= MAX_PFNS, "must be below 2^52"),
        ("op", np.abs(columns["op"]) != 1, "must be +1 or -1"),
        ("nr", columns["nr"] < 1, "must be 1 or more"),
        ("order", (columns["order"] < -1) | (columns["order"] > 63), "must be -1 (unknown) or 0..63"),
        ("head_off", columns["head_off"] < 0, "must be 0 or more"),
        ("head_off", columns["head_off"].astype(np.uint64) > pfn, "must not be more than pfn"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"{columns[column][row]} {rule}", file=file, place=f"column {column!r}, row {first + row}"
            )
