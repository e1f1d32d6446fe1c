"""Published figures, recomputed by the package's own models from the inputs that each was published with.

``data/claims.csv`` has one row per claim. ``quantity`` names a function of ``QUANTITIES`` below, ``inputs``
are its arguments, and bytes are told in the row's ``unit``: a new claim is a new row wherever a function for
it exists. Three verdicts: ``agrees`` (within ``tolerance``), ``differs``, and ``measured elsewhere``, for a
benchmark's figure of which at most a part (a ratio of the given times, a lower bound) can be recomputed.
``also`` holds inputs to change for a second look, such as another page size; ``reason`` says what arithmetic
cannot.

Left out: whether a source says what its row says, and the benchmarks themselves.
"""

from __future__ import annotations

import csv
import functools
import inspect
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workbench.model.designs.compound_devmap import VMEMMAP_RESERVE_NR, dedup_pages
from workbench.model.designs.page_ext import PAGE_EXT_BYTES, page_ext_bytes
from workbench.model.errors import InputError, printable
from workbench.model.files import data_dir
from workbench.model.kernel.config import KernelConfig
from workbench.model.kernel.flagbits import FlagBudget
from workbench.model.memory.machine import Machine
from workbench.model.memory.memmap import hvo_freed_pages
from workbench.model.scenario import Scenario, evaluate

if TYPE_CHECKING:
    import pandas as pd

AGREES, DIFFERS, MEASURED = "agrees", "differs", "measured elsewhere"
_UNIT_BYTES = {"bytes": 1, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
               "TiB": 1 << 40, "PiB": 1 << 50}  # fmt: skip
_MAX_FILE_BYTES = 4 << 20
_COLUMNS = ("id", "stated", "computed", "unit", "verdict", "why", "statement", "source", "quantity", "inputs",
            "also", "tolerance", "expected_verdict", "as_expected")  # fmt: skip
_REQUIRED = ("id", "statement", "inputs", "value", "unit", "source", "quantity", "tolerance")

#: What a claim can be of, by the name in its ``quantity`` column. Names in ``_bytes`` are scaled to the unit.
QUANTITIES: dict[str, Callable[..., float]] = {}


def _quantity(function: Callable[..., float]) -> Callable[..., float]:
    QUANTITIES[function.__name__] = function
    return function


# -- memmap -------------------------------------------------------------------------------------------------


def _kernel(page_size: int, sizeof_struct_page: int = KernelConfig().sizeof_page) -> KernelConfig:
    if page_size.bit_count() != 1:
        raise InputError(f"page_size {page_size} is not a power of two")
    return replace(KernelConfig(), page_shift=page_size.bit_length() - 1, sizeof_page=sizeof_struct_page)


def _section_percent(nr_bytes: int, kernel: KernelConfig) -> float:
    return 100 * nr_bytes / (1 << kernel.section_size_bits)


@_quantity
def memmap_percent(*, page_size: int, sizeof_struct_page: int) -> float:
    """Percent of memory that its memmap takes, section by section.

    Examples
    --------
    >>> memmap_percent(page_size=4096, sizeof_struct_page=64)
    1.5625
    """
    kernel = _kernel(page_size, sizeof_struct_page)
    return _section_percent(kernel.memmap_pages_per_section * page_size, kernel)


@_quantity
def memmap_bytes(*, ram_bytes: int, page_size: int, sizeof_struct_page: int) -> int:
    """The memmap of a machine with that much RAM from address 0, as the static design has it."""
    machine = Machine.load(f"ram={ram_bytes}", _kernel(page_size, sizeof_struct_page))
    return evaluate(Scenario(machine=machine, design="static")).parts["memmap"]


@_quantity
def memmap_gain(*, page_size_from: int, page_size_to: int) -> float:
    """How many times smaller the memmap gets with another page size."""
    size = KernelConfig().sizeof_page
    return memmap_percent(page_size=page_size_from, sizeof_struct_page=size) / memmap_percent(
        page_size=page_size_to, sizeof_struct_page=size
    )


@_quantity
def slab_memmap_bytes(*, slabs: int, pages_per_slab: int, sizeof_struct_page: int) -> int:
    """The memmap that describes a cache's slabs."""
    return slabs * pages_per_slab * sizeof_struct_page


@_quantity
def descriptor_align_bytes(*, tag_bits: int) -> int:
    """Alignment that leaves the low ``tag_bits`` of a pointer clear."""
    return 1 << tag_bits


@_quantity
def struct_pages(*, align_bytes: int, page_size: int) -> int:
    """struct pages that describe one aligned mapping."""
    return align_bytes >> _kernel(page_size).page_shift


@_quantity
def nr_mem_sections(*, max_physmem_bits: int, section_size_bits: int) -> int:
    """NR_MEM_SECTIONS of a kernel with these two constants.

    Examples
    --------
    >>> nr_mem_sections(max_physmem_bits=52, section_size_bits=29) == 1 << 23    # arm64 with 64K pages
    True
    """
    kernel = replace(KernelConfig(), max_physmem_bits=max_physmem_bits, section_size_bits=section_size_bits)
    return kernel.nr_mem_sections


@_quantity
def vmemmap_bytes(*, max_physmem_bits: int, page_size: int, sizeof_struct_page: int) -> int:
    """The vmemmap that all sections of the physical address space need."""
    kernel = replace(_kernel(page_size, sizeof_struct_page), max_physmem_bits=max_physmem_bits)
    return kernel.nr_mem_sections * kernel.memmap_pages_per_section * page_size


@_quantity
def subsection_bytes(*, subsection_shift: int) -> int:
    """A subsection, in which ZONE_DEVICE memory comes and goes."""
    kernel = replace(KernelConfig(), subsection_shift=subsection_shift)
    return (1 << kernel.section_size_bits) // kernel.subsections_per_section


# -- HVO and compound devmaps -------------------------------------------------------------------------------


@_quantity
def vmemmap_pages(*, hugepage_bytes: int, page_size: int, sizeof_struct_page: int) -> int:
    """vmemmap pages of one huge page, nothing shared."""
    return dedup_pages(hugepage_bytes, replace(_kernel(page_size, sizeof_struct_page), dax_vmemmap=False))


@_quantity
def hvo_saved_pages(
    *, hugepage_bytes: int, page_size: int, sizeof_struct_page: int, reserved_vmemmap_pages: int
) -> int:
    """vmemmap pages that HVO frees for one huge page; the model keeps one, older kernels reserved two."""
    freed = hvo_freed_pages(hugepage_bytes, _kernel(page_size, sizeof_struct_page))
    return max(0, freed + 1 - reserved_vmemmap_pages)


@_quantity
def devmap_saved_pages(
    *, align_bytes: int, page_size: int, sizeof_struct_page: int, reserved_vmemmap_pages: int
) -> int:
    """vmemmap pages that one compound page of a devmap saves."""
    kernel = _kernel(page_size, sizeof_struct_page)
    kept = dedup_pages(align_bytes, kernel) + reserved_vmemmap_pages - VMEMMAP_RESERVE_NR
    return max(0, dedup_pages(align_bytes, replace(kernel, dax_vmemmap=False)) - kept)


@_quantity
def devmap_share_of_hvo(
    *, hvo_saved_2m: int, dax_saved_2m: int, hugepage_bytes: int = 1 << KernelConfig().pmd_shift
) -> float:
    """What a devmap saves as a share of what HVO saves, each keeping as much of any size as of 2 MiB."""
    kernel = replace(KernelConfig(), dax_vmemmap=False)
    grown = dedup_pages(hugepage_bytes, kernel) - dedup_pages(1 << kernel.pmd_shift, kernel)
    return (dax_saved_2m + grown) / (hvo_saved_2m + grown)


@_quantity
def initialised_struct_pages(
    *,
    pages_per_section: int,
    reserved_vmemmap_pages: int,
    structs_per_vmemmap_page: int,
    compound_bytes: int = 1 << KernelConfig().pmd_shift,
) -> int:
    """struct pages of its own that a section of compound devmap has to initialise."""
    kernel = KernelConfig()
    kernel = replace(kernel, sizeof_page=kernel.page_size // structs_per_vmemmap_page)
    kept = dedup_pages(compound_bytes, kernel) + reserved_vmemmap_pages - VMEMMAP_RESERVE_NR
    return max(1, pages_per_section * kernel.page_size // compound_bytes) * kept * structs_per_vmemmap_page


# -- pins and references ------------------------------------------------------------------------------------


@_quantity
def pins_per_small_page(*, refcount_bits: int, bias: int, sign_bits: int = 1) -> int:
    """Pins that fit into a biased refcount. A whole C type (32 bits) has a sign bit, as atomic_t does.

    Examples
    --------
    >>> pins_per_small_page(refcount_bits=32, bias=1024)
    2097151
    """
    value_bits = refcount_bits - (sign_bits if refcount_bits % 8 == 0 else 0)
    return ((1 << value_bits) - 1) // bias


@_quantity
def pin_counter_bits(*, refcount_bits: int, bias_bits: int) -> int:
    """Bits that count pins above the bias."""
    return int(pins_per_small_page(refcount_bits=refcount_bits, bias=1 << bias_bits)).bit_length()


@_quantity
def false_positive_references(*, bias: int) -> int:
    """Plain references from which folio_maybe_dma_pinned() says yes: it tests ``refcount >= bias``."""
    return bias


@_quantity
def holder_bytes(*, references: int, pointer_bytes: int = 8) -> int:
    """The pointers alone, where each reference is held by one."""
    return references * pointer_bytes


@_quantity
def speedup(*, before_us: float, after_us: float, bytes: int) -> float:
    """Ratio of two pin rates over the same memory, from given times."""
    return (bytes / after_us) / (bytes / before_us)


# -- side tables and flags ----------------------------------------------------------------------------------


@_quantity
def page_ext_percent(*, page_size: int, bytes_per_page: int) -> float:
    """Percent of memory that page_ext takes, with so many bytes per page in all."""
    kernel = _kernel(page_size)
    return _section_percent(page_ext_bytes(1, kernel, bytes_per_page - PAGE_EXT_BYTES), kernel)


@_quantity
def page_owner_bytes(*, sizeof_page_owner: int) -> float:
    """Bytes per page by which page_owner makes page_ext grow."""
    kernel = KernelConfig()
    grown = page_ext_bytes(1, kernel, sizeof_page_owner) - page_ext_bytes(1, kernel, 0)
    return grown / kernel.pages_per_section


@_quantity
def side_table_ratio(*, side_table_pct: float, in_flags_pct: float) -> float:
    """Ratio of two given overheads: lookup in a side table, bits in the page."""
    return side_table_pct / in_flags_pct


@_quantity
def free_flag_bits(*, word_bits: int, flags: int, node_zone: int, nr_cpus: int = FlagBudget().nr_cpus) -> int:
    """Bits that page->flags has left, with NUMA_BALANCING and LRU_GEN as in x86-64 defconfig."""
    base = FlagBudget()
    budget = replace(base, word_bits=word_bits, nr_page_flags=flags, nodes_shift=node_zone - base.zone_bits,
                     nr_cpus=nr_cpus)  # fmt: skip
    return budget.free_bits


@_quantity
def allocations_bytes(*, allocations: int, page_size: int) -> int:
    """So many single-page allocations."""
    return allocations * _kernel(page_size).page_size


# -- swap, and what a conversion takes ----------------------------------------------------------------------


@_quantity
def swap_saved_bytes(
    *, swap_bytes: int, page_size: int, bytes_per_slot_before: float, bytes_per_slot_after: float
) -> float:
    """Saved by fewer bytes for each page-sized slot of a swap device."""
    slots = swap_bytes >> _kernel(page_size).page_shift
    return slots * (bytes_per_slot_before - bytes_per_slot_after)


@_quantity
def swap_table_bytes(*, entries: int, entry_bytes: int) -> int:
    """The table of one swap cluster."""
    return entries * entry_bytes


@_quantity
def net_text_bytes(*, grow: int, shrink: int) -> int:
    """What bloat-o-meter's two totals come to."""
    return grow - shrink


@_quantity
def net_lines(*, insertions: int, deletions: int) -> int:
    """Lines by which a diffstat grows a tree."""
    return insertions - deletions


@_quantity
def renamed_lines(*, files: int, insertions: int, deletions: int) -> int:
    """Lines that a rename replaces: one insertion and one deletion each, and at least one in each file."""
    return max(files, min(insertions, deletions))


# -- claims -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row of the CSV, checked."""

    id: str
    statement: str
    stated: int | float
    unit: str
    source: str
    quantity: str  # a name of QUANTITIES; "" for a measurement of which nothing can be recomputed
    inputs: Mapping[str, Any]
    tolerance: str  # "exact", "abs 0.05", "rel 0.03", or "at least": the stated is not below the computed
    is_measured: bool
    expected_verdict: str
    also: Mapping[str, Any]
    reason: str
    file: str
    place: str  # "line 7"


@dataclass(frozen=True, kw_only=True)
class Row(Claim):
    """A claim with what came out."""

    computed: int | float | None
    verdict: str
    why: str

    @property
    def as_expected(self) -> bool:
        """The verdict is the one that is written down for this claim."""
        return self.verdict == self.expected_verdict

    def to_dict(self) -> dict[str, Any]:
        """The keys of a row of ``workbench claims --json``."""
        return {name: getattr(self, name) for name in _COLUMNS}


def load(path: str | os.PathLike[str] | None = None) -> list[Claim]:
    """The claims of a CSV file, by default ``data/claims.csv``.

    Raises
    ------
    InputError
        For anything that cannot be used, with file, line, value and rule.

    Examples
    --------
    >>> load()[0].id, load()[0].stated
    ('PC01', 1.6)
    """
    file = os.fspath(path or data_dir() / "claims.csv")
    with open(file, "rb") as source:  # noqa: PTH123
        raw = source.read(_MAX_FILE_BYTES + 1)
    if len(raw) > _MAX_FILE_BYTES:
        raise InputError(f"more than {_MAX_FILE_BYTES >> 20} MiB of claims", file=file)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8: {error}", file=file) from None
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    claims: dict[str, Claim] = {}
    try:
        header = rows.fieldnames or []
        for name in dict.fromkeys([*_REQUIRED, *header]):
            if header.count(name) != 1:
                what = f"column {name!r} is there {header.count(name)} times, not once"
                raise InputError(f"{what}; claims need {', '.join(_REQUIRED)}", file=file, place="line 1")
        for cells in rows:
            place = f"line {rows.reader.line_num}"
            try:
                claim = _claim(cells, file, place)
                if claim.id in claims:
                    raise InputError(f"id {claim.id!r} is already on {claims[claim.id].place}")
            except InputError as error:
                raise InputError(str(error), file=file, place=place) from None
            claims[claim.id] = claim
    except csv.Error as error:
        raise InputError(f"not CSV: {error}", file=file, place=f"line {rows.reader.line_num}") from None
    return list(claims.values())


def _claim(cells: dict[Any, Any], file: str, place: str) -> Claim:
    if None in cells or None in cells.values():
        raise InputError("more or fewer cells than the header has columns")
    cells = {name: cell.strip() for name, cell in cells.items()}
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,31}", cells["id"], re.ASCII):
        raise InputError(f"id {cells['id']!r} is not 1 to 32 letters, digits, '_', '.' or '-'")
    kind = cells.get("kind") or "derived"
    if kind not in ("derived", "measured"):
        raise InputError(f"kind {kind!r} is neither 'derived' nor 'measured'")
    expected = cells.get("expected_verdict") or (MEASURED if kind == "measured" else AGREES)
    if expected not in (AGREES, DIFFERS, MEASURED):
        raise InputError(f"expected_verdict {expected!r} is none of {AGREES}, {DIFFERS}, {MEASURED}")
    tolerance = cells["tolerance"] or "exact"
    _within(0, 0, tolerance)
    inputs, also = _json_object("inputs", cells["inputs"]), _json_object("also", cells.get("also") or "{}")
    quantity, unit = cells["quantity"], cells["unit"]
    if quantity:
        if quantity.endswith("_bytes") and (unit.split() or [""])[0] not in _UNIT_BYTES:
            raise InputError(f"unit {unit!r} of {quantity} begins with none of {', '.join(_UNIT_BYTES)}")
        _check_inputs(quantity, inputs)
        _check_inputs(quantity, {**inputs, **also})
    elif kind == "derived":
        raise InputError("no quantity; only a claim of kind 'measured' may leave it empty")
    return Claim(
        id=cells["id"], statement=cells["statement"], stated=_number("value", cells["value"]),
        unit=unit, source=cells["source"], quantity=quantity, inputs=inputs, tolerance=tolerance,
        is_measured=kind == "measured", expected_verdict=expected, also=also,
        reason=cells.get("reason", ""), file=file, place=place,
    )  # fmt: skip


def _number(what: str, text: str) -> int | float:
    try:
        value: int | float = int(text) if re.fullmatch(r"-?\d{1,40}", text, re.ASCII) else float(text)
    except ValueError:
        raise InputError(f"{what} {text!r} is not a number") from None
    if not math.isfinite(value):
        raise InputError(f"{what} {text!r} is not finite")
    return value


def _json_object(what: str, text: str) -> dict[str, Any]:
    try:
        finite = functools.partial(_number, "a number")
        found = json.loads(text, parse_float=finite, parse_constant=finite)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} {text[:100]!r} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{what} {text[:100]!r} is not a JSON object")
    return found


def _check_inputs(quantity: str, inputs: Mapping[str, Any]) -> None:
    """Every argument is there, has a name that the quantity knows, and is a number that it can use."""
    if quantity not in QUANTITIES:
        raise InputError(f"quantity {quantity!r} is none of {', '.join(QUANTITIES)}")
    known = inspect.signature(QUANTITIES[quantity]).parameters
    for name, parameter in known.items():
        if name not in inputs and parameter.default is parameter.empty:
            raise InputError(f"inputs lack {name!r}, which {quantity} needs")
    for name, value in inputs.items():
        if name not in known:
            raise InputError(f"input {name!r} is none that {quantity} takes: {', '.join(known)}")
        whole = known[name].annotation == "int"
        most = 64 if name.endswith(("_bits", "_shift")) else 1 << 62
        fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not (fits and 0 <= value <= most):
            what = "whole number" if whole else "number"
            raise InputError(f"input {name} is {str(value)[:60]!r}, not a {what} from 0 to {most}")


def recompute(ids: Iterable[str] | None = None, path: str | os.PathLike[str] | None = None) -> list[Row]:
    """Claims with their verdicts: those asked for, in that order, or all of the file.

    Examples
    --------
    >>> row = recompute(["PC31"])[0]
    >>> row.stated, row.computed, row.verdict
    (4000000, 2097151, 'differs')
    """
    claims = {claim.id: claim for claim in load(path)}
    wanted = list(claims) if ids is None else list(dict.fromkeys(ids))
    if unknown := [name for name in wanted if name not in claims]:
        raise InputError(f"claim {unknown[0]!r} is none of {', '.join(claims)}")
    return [_recomputed(claims[name]) for name in wanted]


def table(ids: Iterable[str] | None = None, path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """The same as a DataFrame: a row per claim, the columns of ``Row.to_dict``; computed may be NaN."""
    import pandas as pd

    found = pd.DataFrame([row.to_dict() for row in recompute(ids, path)], columns=list(_COLUMNS))
    return found.astype({"stated": float, "computed": float})


def _compute(claim: Claim, changed: Mapping[str, Any]) -> int | float:
    inputs = {**claim.inputs, **changed}
    scale = _UNIT_BYTES[claim.unit.split()[0]] if claim.quantity.endswith("_bytes") else 1
    try:
        found = QUANTITIES[claim.quantity](**inputs)
        if not math.isfinite(found):
            raise ArithmeticError("the result is not finite")
        return found / scale if scale > 1 else found
    except (ArithmeticError, ValueError) as error:
        shown = ", ".join(f"{name}={value}" for name, value in inputs.items())
        raise InputError(f"{claim.quantity}({shown}): {error}", file=claim.file, place=claim.place) from None


def _within(stated: float, computed: float, tolerance: str) -> bool:
    match = re.fullmatch(r"(exact|at least)|(abs|rel) (\d+(?:\.\d+)?)", tolerance, re.ASCII)
    if not match:
        raise InputError(f"tolerance {tolerance!r} is none of 'exact', 'abs 0.05', 'rel 0.03', 'at least'")
    if match[1]:
        return stated == computed if match[1] == "exact" else stated >= computed
    return abs(stated - computed) <= float(match[3]) * (abs(stated) if match[2] == "rel" else 1)


def _recomputed(claim: Claim) -> Row:
    computed, verdict = None, MEASURED
    why = "a measurement, nothing of it follows from the inputs"
    if claim.quantity:
        computed = _compute(claim, {})
        fits = _within(claim.stated, computed, claim.tolerance)
        verdict = (MEASURED if claim.is_measured else AGREES) if fits else DIFFERS
        why = (
            f"{_shown(computed)} {claim.unit} recomputed, {_shown(claim.stated)} stated, "
            f"{'within' if fits else 'outside'} the tolerance ({claim.tolerance})"
        )
        if claim.also:
            change = ", ".join(f"{name} {_shown(value)}" for name, value in claim.also.items())
            why += f", and {_shown(_compute(claim, claim.also))} with {change}"
    reason = f": {claim.reason.rstrip('.')}" if claim.reason else ""
    return Row(**vars(claim), computed=computed, verdict=verdict, why=printable(f"{why}{reason}.", 1000))


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
