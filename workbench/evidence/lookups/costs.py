"""Cost tables: measured nanoseconds per path, with their machine, date, method and spread.

A :class:`CostTable` is what one machine took on one day (``cost-table/1``), or what was taken elsewhere of
the kernel's own functions (``lookup-times/1``, the reference rows that ship in ``data/costs``). Nothing here
measures, and nothing here knows bytes of a design: a working set is only where on the curve a time lies.

Paths are named ``xarray``, ``maple``, ... for a pfn map's lookup, ``DESIGN/OP`` for a design's
(``vmemmap/page_to_pfn``, ``dynamic_page:flag/pfn_to_page``), and ``flag_test``, ``proxy_test``, ``chase`` for
single steps. In reference tables the plain name is the kernel's own code, or plain C where the kernel has no
function of its own; ``PATH@CONTENDER`` is another way to do the same.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from workbench.model.errors import InputError
from workbench.model.files import data_dir

FORMAT = "cost-table/1"
REFERENCE_FORMAT = "lookup-times/1"
LOOPS = ("dependent", "independent")
ORDERS = ("random", "sequential")
MOST = 1 << 64  # no number in a table reaches it
MAX_BYTES = 1 << 26  # of a file; assumed, a full table takes 1 MiB
XA_NODE_STRIDE = 584  # bytes; SLUB's object of an xa_node, see the contenders of the reference files


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """One path in one loop at one size: ns per lookup over the passes.

    Parameters
    ----------
    path : str
        A pfn map, ``DESIGN/OP`` or a step; see the module.
    loop : str
        ``dependent``: each key needs the result before it (latency). ``independent``: throughput.
    order : str
        ``random`` or ``sequential`` keys.
    working_set_bytes : int, optional
        Bytes of the structure that the lookups may touch, without the keys; 0 for registers only, None where
        a reference does not say.
    hit : float
        Share of the lookups that find an entry.
    dynamic : float
        Share of the lookups that meet a dynamic descriptor, where the path tells them apart.
    run : int
        Lookups in a row that go the same way: 1 is a random mix, which branch prediction likes least.
    unusable : str
        Why the times are not to be used, such as a wild spread; "" for a good row.
    """

    path: str
    loop: str
    order: str = "random"
    working_set_bytes: int | None
    hit: float = 1.0
    dynamic: float = 0.0
    run: int = 1
    shape: str = ""  # where the entries lie: "dense", "random in 2^30"
    nr_entries: int | None = None
    height: int | None = None  # levels of a tree
    levels: tuple[tuple[float, int], ...] = ()  # counted: serial loads and bytes of distinct lines, by step
    nr_lookups: int | None = None  # of one pass
    ns_min: float
    ns_median: float
    ns_max: float | None  # None where a reference does not say
    passes: int
    source: str = ""  # whose code it is, where not the workbench's loop
    unusable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As in the file: ``map`` where the path is a pfn map's lookup, else ``path``; defaults are left out.

        Examples
        --------
        >>> CostRow(path="xarray", loop="dependent", working_set_bytes=584, ns_min=1.0, ns_median=1.5,
        ...         ns_max=2.0, passes=7).to_dict()["map"]
        'xarray'
        """
        row = {name: value for name, value in asdict(self).items()
               if name in _KEYS or value != _DEFAULTS.get(name)}
        path = row.pop("path")
        return {"map" if is_map(path) else "path": path, **row}

    @property
    def dependent_loads(self) -> float | None:
        """Serial loads of a lookup, counted, on average over the keys; None where unknown."""
        return sum(loads for loads, _ in self.levels) if self.levels else None

    @property
    def touched_bytes(self) -> int | None:
        """64 times the distinct cache lines that lookups of all entries touch; None where unknown."""
        return sum(line_bytes for _, line_bytes in self.levels) if self.levels else None


_DEFAULTS = {f.name: f.default for f in fields(CostRow) if f.default is not MISSING}
_KEYS = {"path", "loop", "order", "working_set_bytes", "hit", "nr_entries", "ns_min", "ns_median", "ns_max",
         "passes"}  # in every row of a file


def is_map(path: str) -> bool:
    """Whether a path is the lookup of a pfn map."""
    from workbench.model import pfnmaps

    return path.split("@")[0] in pfnmaps.registry()


@dataclass(frozen=True)
class Estimate:
    """What a table says about one working set. ``float()`` of it is the median."""

    ns_median: float
    ns_min: float
    extrapolated: bool  # outside measured_bytes: the nearest measured end, unchanged
    measured_bytes: tuple[int, int]  # smallest and largest working set of the rows

    def __float__(self) -> float:
        return self.ns_median


@dataclass(frozen=True, kw_only=True)
class CostTable:
    """What lookups cost on one machine on one day.

    Parameters
    ----------
    machine : str
        In words; no host name.
    cpu : str
        As /proc/cpuinfo has it.
    caches : tuple of mapping
        ``level``, ``type``, ``size_bytes``, ``line_bytes``, ``shared_by`` (CPUs); empty where unknown.
    date : str
        ISO 8601.
    versions : mapping
        workbench, python, numpy, numba, kernel.
    method : mapping
        How it was measured: passes, pinning, huge pages, load, and what else a reader has to know.
    rows : tuple of CostRow

    Examples
    --------
    >>> table = CostTable.load("epyc-2vcpu")    # reference: the kernel's own code
    >>> int(table.ns("xarray", "dependent", 9_000_000, shape="dense_1e6").extrapolated)
    1
    """

    machine: str
    cpu: str
    date: str
    caches: tuple[Mapping[str, Any], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    method: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[CostRow, ...]
    reference: bool = False  # taken of the kernel's own code, not by the workbench
    name: str = ""  # the file it was read from

    # Files

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> CostTable:
        """A table by the name of a shipped one, or by its file."""
        path = Path(source)
        if path.name == str(source) and path.name in shipped() and not path.exists():
            path = data_dir() / "costs" / f"{path.name}.json"
        content = _read(path)
        found = content.get("format")
        if found == REFERENCE_FORMAT:
            return _reference(content, path)
        if found != FORMAT:
            raise InputError(f"format {found!r} is neither {FORMAT!r} nor {REFERENCE_FORMAT!r}", file=path)
        return _own(content, path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``cost-table/1``; the file is whole or as it was before."""
        if self.reference:
            raise InputError("a reference table is not written again; copy its file", file=path)
        path = Path(path)
        try:
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as stream:
                    stream.write(self.to_json())
                Path(temporary).chmod(0o644)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror or error}", file=path) from None

    def to_json(self) -> str:
        """The file's text: one line per row."""
        head = {"format": FORMAT, "machine": self.machine, "cpu": self.cpu, "caches": list(self.caches),
                "date": self.date, "versions": dict(self.versions), "method": dict(self.method)}
        rows = ",\n".join("  " + json.dumps(row.to_dict(), allow_nan=False) for row in self.rows)
        return json.dumps(head, indent=1, allow_nan=False)[:-2] + f',\n "rows": [\n{rows}\n ]\n}}\n'

    # Questions

    @property
    def paths(self) -> list[str]:
        """The paths that it has rows of, in their order."""
        return list(dict.fromkeys(row.path for row in self.rows))

    def select(self, **values: Any) -> tuple[CostRow, ...]:
        """The rows that have these values: ``select(path="xarray", loop="dependent")``."""
        return tuple(row for row in self.rows
                     if all(getattr(row, name) == value for name, value in values.items()))

    def usable(self, **values: Any) -> tuple[CostRow, ...]:
        """The same without rows marked unusable."""
        return tuple(row for row in self.select(**values) if not row.unusable)

    def records(self) -> list[dict[str, Any]]:
        """A dict per row, for a DataFrame."""
        return [asdict(row) for row in self.rows]

    def ns(self, path: str, loop: str, working_set_bytes: float, *, order: str = "random", hit: float = 1.0,
           dynamic: float = 0.0, run: int = 1, shape: str | None = None) -> Estimate:
        """ns per lookup at a working set: linear between measured sizes on a logarithmic axis.

        Outside the measured sizes the nearest of them is given, unchanged, and marked ``extrapolated``. A
        path that touches no memory has one row for all sizes. Between measured dynamic shares it goes
        linearly too, and outside them it is refused; ``hit`` and ``run`` must have been measured.

        Parameters
        ----------
        path, loop, order, hit, dynamic, run
            As in :class:`CostRow`.
        working_set_bytes : float
        shape : str, optional
            Which rows, where the path was measured for several shapes: a tree of one size costs more if it
            is taller.

        Examples
        --------
        >>> table = CostTable.load("xeon-16vcpu")
        >>> table.ns("flag_test", "dependent", 1 << 22)
        Estimate(ns_median=..., ns_min=..., extrapolated=False, measured_bytes=(1048576, 1073741824))
        """
        wanted = {"path": path, "loop": loop, "order": order, "hit": hit, "run": run}
        rows = self.usable(**wanted)
        if rows and run > 1:  # calls that all go one way come in runs of any length
            del wanted["run"]
            rows += tuple(row for row in self.usable(**wanted) if row.run == 1 and row.dynamic in (0, 1))
        if not rows:
            raise InputError(self._why_none(wanted))
        shapes = {row.shape for row in rows}
        if shape is not None:
            rows = tuple(row for row in rows if row.shape == shape)
        if not rows or (shape is None and len(shapes) > 1):
            raise InputError(f"{path} has rows of shape {', '.join(sorted(shapes))}; "
                             + (f"none of {shape!r}" if shape is not None else "name one"))
        if not working_set_bytes >= 0:
            raise InputError(f"working set of {working_set_bytes} bytes: must be 0 or more")
        known = tuple(row for row in rows if row.working_set_bytes is not None)
        if not known:
            raise InputError(f"{path}: the table does not say how large the working sets were")
        shares = sorted({row.dynamic for row in known})
        at = bisect_left(shares, dynamic)
        if at < len(shares) and shares[at] == dynamic:
            return _by_size([row for row in known if row.dynamic == dynamic], working_set_bytes)
        if at in (0, len(shares)):
            raise InputError(f"{path} was measured at a dynamic share of {_numbers(shares)}, not {dynamic}")
        low, high = (_by_size([row for row in known if row.dynamic == share], working_set_bytes)
                     for share in shares[at - 1:at + 1])
        part = (dynamic - shares[at - 1]) / (shares[at] - shares[at - 1])
        return Estimate(_between(low.ns_median, high.ns_median, part),
                        _between(low.ns_min, high.ns_min, part),
                        low.extrapolated or high.extrapolated, low.measured_bytes)

    def _why_none(self, wanted: Mapping[str, Any]) -> str:
        """Which of the wanted values no usable row has."""
        where = f"cost table {self.name or self.machine!r}"
        if spoilt := self.select(**wanted):
            return f"{where}: {wanted['path']}: {spoilt[0].unusable}"
        some: dict[str, Any] = {}
        for name, value in wanted.items():
            have = {getattr(row, name) for row in self.select(**some)}
            if value not in have:
                given = "".join(f", {key} {some[key]}" for key in some)
                return f"{where} has no rows of {name} {value!r}{given}; it has {_numbers(sorted(have))}"
            some[name] = value
        raise AssertionError(wanted)


def shipped() -> list[str]:
    """The names of the tables in ``data/costs``.

    Examples
    --------
    >>> shipped()
    ['epyc-2vcpu', 'epyc-2vcpu-full', 'xeon-16vcpu']
    """
    return sorted(path.stem for path in (data_dir() / "costs").glob("*.json"))


def _by_size(rows: Sequence[CostRow], size: float) -> Estimate:
    """Interpolate in the logarithm of the working set."""
    by_size: dict[int, CostRow] = {}
    for row in rows:
        by_size.setdefault(row.working_set_bytes or 0, row)
    sizes = sorted(by_size)
    ends = (sizes[0], sizes[-1])
    if ends == (0, 0):
        return Estimate(by_size[0].ns_median, by_size[0].ns_min, False, ends)
    at = bisect_left(sizes, size)
    if at == len(sizes) or size <= sizes[0]:
        row = by_size[sizes[min(at, len(sizes) - 1)]]
        return Estimate(row.ns_median, row.ns_min, not ends[0] <= size <= ends[1], ends)
    low, high = by_size[sizes[at - 1]], by_size[sizes[at]]
    below = math.log2(max(sizes[at - 1], 1))
    part = (math.log2(size) - below) / (math.log2(sizes[at]) - below)
    return Estimate(_between(low.ns_median, high.ns_median, part), _between(low.ns_min, high.ns_min, part),
                    False, ends)


def _between(low: float, high: float, part: float) -> float:
    return low + (high - low) * part


def _numbers(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values) or "none"


# Reading what somebody else may have written

def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InputError(f"is larger than {MAX_BYTES} bytes", file=path)
        content = json.loads(data, parse_constant=_no_constant)
    except OSError as error:
        known = f"; shipped tables: {', '.join(shipped())}" if isinstance(error, FileNotFoundError) else ""
        raise InputError(f"cannot be read: {error.strerror or error}{known}", file=path) from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON: {error}", file=path) from None
    if not isinstance(content, dict):
        raise InputError(f"holds a JSON {type(content).__name__} and no cost table", file=path)
    return content


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _own(content: Mapping[str, Any], path: Path) -> CostTable:
    """A ``cost-table/1``, all checked."""
    for key, kind in (("machine", str), ("cpu", str), ("date", str), ("caches", list), ("versions", dict),
                      ("method", dict), ("rows", list)):
        if key not in content:
            raise InputError(f"lacks {key!r}", file=path)
        if not isinstance(content[key], kind):
            raise InputError(f"{key!r} is a {type(content[key]).__name__}, not a {kind.__name__}", file=path)
    if not all(isinstance(cache, dict) for cache in content["caches"]):
        raise InputError("'caches' holds something that is no object", file=path)
    rows = tuple(_row(row, path, f"row {nr}") for nr, row in enumerate(content["rows"]))
    try:
        json.dumps([content["caches"], content["versions"], content["method"]], allow_nan=False)
    except ValueError:
        raise InputError("a number in caches, versions or method is larger than any", file=path) from None
    return CostTable(machine=content["machine"], cpu=content["cpu"], date=content["date"],
                     caches=tuple(content["caches"]), versions=content["versions"], method=content["method"],
                     rows=rows, name=path.name)


_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("path", "loop", "order", "shape", "source", "unusable"), (str,)),
    **dict.fromkeys(("working_set_bytes", "nr_entries", "height", "nr_lookups", "run", "passes"), (int,)),
    **dict.fromkeys(("hit", "dynamic", "ns_min", "ns_median", "ns_max"), (int, float)), "levels": (list,)}
_OPTIONAL = {"working_set_bytes", "nr_entries", "height", "nr_lookups", "ns_max"}  # may be null


def _row(given: Any, path: Path, place: str) -> CostRow:
    """One row, checked: kinds, known words, shares within 0..1, ns_min <= ns_median <= ns_max."""
    def bad(rule: str) -> InputError:
        return InputError(rule, file=path, place=place)

    if not isinstance(given, dict):
        raise bad(f"is a {type(given).__name__} and no object")
    if ("map" in given) == ("path" in given):
        raise bad("has not exactly one of 'map' and 'path'")
    row: dict[str, Any] = {"path" if key == "map" else key: value for key, value in given.items()}
    if missing := sorted(_KEYS - row.keys()):
        raise bad(f"lacks {missing[0]!r}")
    if unknown := sorted(row.keys() - _KINDS.keys()):
        raise bad(f"has a key {unknown[0]!r} that {FORMAT} does not know")
    for key, value in row.items():
        if value is None and key in _OPTIONAL:
            continue
        if isinstance(value, bool) or not isinstance(value, _KINDS[key]):
            raise bad(f"{key} {value!r} is not of kind {_KINDS[key][-1].__name__}")
        if isinstance(value, int | float) and not 0 <= value < MOST:
            raise bad(f"{key} {str(value)[:40]} is negative or infinite, or 2^64 or more")
    for key, words in (("loop", LOOPS), ("order", ORDERS)):
        if row[key] not in words:
            raise bad(f"{key} {row[key]!r} is neither {' nor '.join(map(repr, words))}")
    for key in ("hit", "dynamic"):
        if row.get(key, 0.0) > 1.0:
            raise bad(f"{key} {row[key]} is outside 0..1")
    top = math.inf if row["ns_max"] is None else row["ns_max"]
    if not row["ns_min"] <= row["ns_median"] <= top:
        raise bad(f"ns_min {row['ns_min']}, ns_median {row['ns_median']}, ns_max {row['ns_max']} "
                  "are not in ascending order")
    if row["passes"] < 1 or row.get("run", 1) < 1:
        raise bad("passes and run must be 1 or more")
    levels = row.get("levels", [])
    for level in levels:
        if not (isinstance(level, list) and len(level) == 2
                and all(isinstance(n, int | float) and 0 <= n < MOST for n in level)):
            raise bad(f"level {level!r} is not a number of loads and of bytes")
    row["levels"] = tuple((loads, line_bytes) for loads, line_bytes in levels)
    return CostRow(**row)


# The reference files: one driver, contenders interleaved in one process; times as [median, min].

_TREE = {"c_kernel_xa_load": "xarray", "c_arena": "xarray@c_arena", "nb_manual": "xarray@nb_manual",
         "nb_ptr": "xarray@nb_ptr", "nb_helper": "xarray@nb_helper", "nb_naive": "xarray@nb_naive",
         "nb_lean": "xarray_lean@nb_lean", "c_maple": "maple", "c_hash": "open_addressing"}
_FLAT = {"c_flag64": ("flag_test", 64), "nb_flag64": ("flag_test@nb_flag64", 64),
         "c_flag8": ("flag_test@c_flag8", 8), "c_byte": ("flag_test@c_byte", 1),
         "c_pfn_to_page": ("vmemmap/pfn_to_page", 0), "nb_pfn_to_page": ("vmemmap/pfn_to_page@nb", 0),
         "c_page_to_pfn": ("vmemmap/page_to_pfn", 0), "nb_page_to_pfn": ("vmemmap/page_to_pfn@nb", 0)}
_PROXY = {"c_proxy": "proxy_test", "nb_proxy": "proxy_test@nb_proxy", "c_plain": "proxy_test@c_plain"}
_WORDS = {"dep": "dependent", "indep": "independent", "rand": "random", "seq": "sequential"}


def _reference(content: Mapping[str, Any], path: Path) -> CostTable:
    """A ``lookup-times/1``. Working sets of xa_nodes are nodes times their stride; a hash's, a maple tree's
    and a proxy table's bytes are not stated there."""
    try:
        machine, told = content["machine"], content["contenders"]
        told = {**told, "nb_flag64": "Numba, load flags of a random 64-byte page",
                "nb_pfn_to_page": "Numba, vmemmap + pfn", "nb_page_to_pfn": "Numba, page - vmemmap",
                "nb_proxy": "Numba, test bit 0, untag and load the proxy when set"}
        rows = [row for case in content["tree"] for row in _tree_rows(case, told, machine["reps"])]
        rows += [row for case in content["flat"] for row in _flat_rows(case, told, machine["reps"])]
        rows += [row for case in content["proxy"] for row in _proxy_rows(case, told, machine["reps"])]
        cpu, date = str(machine["cpu"]), str(machine["date"])
        versions = {key: str(machine[key]) for key in ("kernel", "numba", "numpy")}
        unit = str(content["unit"])
    except KeyError as error:
        raise InputError(f"lacks {error.args[0]!r}, which {REFERENCE_FORMAT} has", file=path) from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"is not as {REFERENCE_FORMAT} has it: {error}", file=path) from None
    for row in rows:
        _row(row.to_dict(), path, f"{row.path}, {row.loop}")
    return CostTable(machine=cpu, cpu=cpu.split(",")[0], date=date, versions=versions, rows=tuple(rows),
                     method={"passes": machine["reps"], "note": unit}, reference=True, name=path.stem)


def _times(pair: Sequence[float], passes: int) -> dict[str, Any]:
    median, least = pair
    return {"ns_min": float(least), "ns_median": float(median), "ns_max": None, "passes": int(passes)}


def _known(names: Mapping[str, Any], contender: str) -> Any:
    if contender not in names:
        raise ValueError(f"contender {contender!r} is none of {', '.join(names)}")
    return names[contender]


def _entries(log2: int) -> int:
    if not 0 <= log2 < 64:
        raise ValueError(f"2^{log2} entries are not below 2^64")
    return 1 << log2


def _tree_rows(case: Mapping[str, Any], told: Mapping[str, str], passes: int) -> Iterable[CostRow]:
    for contender, pair in case["ns"].items():
        path = _known(_TREE, contender)
        yield CostRow(
            path=path, loop=_WORDS[case["mode"]], order=_WORDS[case["order"]], hit=case["hit"],
            working_set_bytes=case["nodes"] * XA_NODE_STRIDE if path.startswith("xarray") else None,
            shape=case["case"], nr_entries=case["entries"], source=told[contender],
            height=case["height"] if path.startswith("xarray") else None, **_times(pair, passes))


def _flat_rows(case: Mapping[str, Any], told: Mapping[str, str], passes: int) -> Iterable[CostRow]:
    for contender, pair in case["ns"].items():
        path, per_page = _known(_FLAT, contender)
        if per_page or case["log2_pages"] == 14:  # arithmetic does not depend on the memmap's size
            yield CostRow(path=path, loop=_WORDS[case["mode"]], order=_WORDS[case["order"]],
                          working_set_bytes=per_page * _entries(case["log2_pages"]), source=told[contender],
                          nr_entries=_entries(case["log2_pages"]), **_times(pair, passes))


def _proxy_rows(case: Mapping[str, Any], told: Mapping[str, str], passes: int) -> Iterable[CostRow]:
    for contender, pair in case["ns"].items():
        yield CostRow(path=_known(_PROXY, contender), loop=_WORDS[case["mode"]], dynamic=case["tagged"],
                      working_set_bytes=None, shape=f"table of 2^{case['log2_table']}",
                      nr_entries=_entries(case["log2_table"]), source=told[contender], **_times(pair, passes))
