"""What a design would make a kernel tree change: call sites, files and subsystems, from a census.

A call site must change when the C type of what it passes or gets back changes there, so that it no longer
compiles. A call site may have to change when it is wrong only if its page came from a pin, or is of another
kind; text alone does not show that. Hence two numbers for each design:

- ``must``: a lower bound, exact for the named families;
- ``most``: an upper bound for the named families, as if every such call were reached by such a page.

``near`` lies between them: ``must`` and those other calls that stand in a file which also pins or unpins. It
bounds nothing, since pages travel between files; but it is where a first patch series would look.

The rules below are this project's reading of the designs, not of any posted series (assumed, except where a
source is named). Left out: call sites of APIs outside the census, fields of struct page used directly,
pointers stored in structures, and the implementation itself (the census' rule ``gup`` leaves out its files).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from workbench.evidence.typesafety.callsites import FAMILY_OF, Census, directory_of
from workbench.model.errors import InputError
from workbench.model.files import data_dir

if TYPE_CHECKING:
    import pandas as pd

_PINS = ("pin_user_pages", "iov_iter_extract_pages", "unpin")
_GETS = ("get_user_pages", "iov_iter_get_pages")
_REACHED = (  # what is done to a page that came from a pin
    "put_page", "get_page", "page_to_pfn", "set_page_dirty_lock", "maybe_dma_pinned", "scatterlist",
    "page_folio",
)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which families of calls a design touches.

    Parameters
    ----------
    must : tuple of str
        Families whose type changes at every call.
    may : tuple of str
        Families that are touched where the page is of the new kind, which the text does not show.
    why : str
        The rule in words.
    directories : tuple of str
        Only calls below these, if there are any.
    """

    must: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    why: str
    directories: tuple[str, ...] = ()


_NO_CHANGE = Rule(why="the memmap lies elsewhere or is shared; no function's type changes")
_COUNT_ELSEWHERE = Rule(
    may=_GETS,
    why="pinned pages stay struct page *, and pin and unpin keep their types; what still gets pages for I/O "
    "without FOLL_PIN may have to pin them",
)
_MEMDESC = Rule(
    may=("page_folio", "get_page", "put_page", "set_page_dirty_lock", "maybe_dma_pinned"),
    why="struct page * stays, but has no refcount of its own: references and folio look-ups break where "
    "the page has no folio",
)

CONVERSIONS: Mapping[str, Rule] = MappingProxyType({
    "static": Rule(why="today's kernel: nothing changes"),
    "hvo": _NO_CHANGE,
    "altmap": _NO_CHANGE,
    "compound_devmap": _NO_CHANGE,
    "proxy_bit": Rule(
        may=(*_PINS, *_REACHED),
        why="a proxy is a struct page * with bit 0 set, so everything still compiles; each use of a page "
        "that came from a pin has to be looked at",
    ),
    "proxy_bit_typed": Rule(
        must=_PINS,
        may=_REACHED,
        why="pin returns and unpin takes a proxy type: each of their calls changes, and each use of what "
        "they returned",
    ),
    "dynamic_page": Rule(
        may=("page_to_pfn", "put_page", "get_page"),
        why="the embedded struct page keeps its type and the flag is tested inside the helpers; a call is "
        "wrong only where it relies on the memmap",
    ),
    "dynamic_page_typed": Rule(
        must=_PINS,
        may=_REACHED,
        why="pin returns and unpin takes struct dynamic_page *: each of their calls changes, and each use of "
        "what they returned; how many page_to_pfn and put_page calls that is, is unknown: between none and "
        "all",
    ),
    "lru_field": _COUNT_ELSEWHERE,
    "foll_pin": _COUNT_ELSEWHERE,
    "flag_side_table": _COUNT_ELSEWHERE,
    "page_ext": _COUNT_ELSEWHERE,
    "memdesc32": _MEMDESC,
    "memdesc16": _MEMDESC,
    "memdesc8": _MEMDESC,
    "netmem": Rule(
        may=("page_to_pfn", "get_page", "put_page", "scatterlist", "page_folio"),
        directories=("net", "drivers/net"),
        why="netmem_ref stays in networking: pages of receive buffers there change type, other pages do not",
    ),
})


@dataclass(frozen=True, slots=True)
class Needed:
    """Call sites and files below one directory that a design touches."""

    directory: str
    must_calls: int
    near_calls: int
    most_calls: int
    must_files: int
    near_files: int
    most_files: int


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What a design would touch in one tree: ``total`` and, directory by directory, ``rows``."""

    design: str
    release: str
    rule: Rule
    total: Needed
    rows: tuple[Needed, ...]

    def to_frame(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame([_fields(row) for row in self.rows], columns=list(Needed.__slots__))

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "design": self.design, "must": list(self.rule.must), "may": list(self.rule.may),
            "directories": list(self.rule.directories), "why": self.rule.why,
            "total": _fields(self.total), "rows": [_fields(row) for row in self.rows],
        }


def rule_of(design: str) -> Rule:
    """The rule of a design; an unknown name is an InputError."""
    rule = CONVERSIONS.get(design.partition(":")[0])
    if rule is None:
        raise InputError(f"design {design!r}; it must be one of {', '.join(CONVERSIONS)}")
    return rule


def needed(census: Census, design: str) -> Conversion:
    """Call sites and files that a design touches in a tree, with bounds, by subsystem.

    Parameters
    ----------
    census : Census
        The calls of the tree; those that the rule ``gup`` counts are used.
    design : str
        A name in `CONVERSIONS`; a variant, such as ``dynamic_page:flag``, goes by its design.
    """
    rule = rule_of(design)
    pinning = census.files(*_PINS)
    found: dict[str, list[tuple[str, int, bool, bool]]] = {}
    for call in census.calls_by("gup"):
        family, directory = FAMILY_OF[call.api], directory_of(call.path)
        if family in rule.must + rule.may and (not rule.directories or directory in rule.directories):
            must = family in rule.must
            site = (call.path, call.count, must, must or call.path in pinning)
            found.setdefault(directory, []).append(site)
    rows = tuple(_sum(directory, sites) for directory, sites in sorted(found.items()))
    total = _sum("", [site for sites in found.values() for site in sites])
    return Conversion(design=design, release=census.release, rule=rule, total=total, rows=rows)


def _sum(directory: str, sites: list[tuple[str, int, bool, bool]]) -> Needed:
    groups = [
        [site for site in sites if site[2]],
        [site for site in sites if site[3]],
        sites,
    ]
    calls = [sum(site[1] for site in group) for group in groups]
    files = [len({site[0] for site in group}) for group in groups]
    return Needed(directory, *calls, *files)


def _fields(row: Needed) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Needed.__slots__}


def history() -> pd.DataFrame:
    """Recorded counts of releases 5.10, 6.1, 6.12 and 7.3: release, quantity, directory, count, source.

    ``directory`` is "" for a whole tree. Counts by directory are recorded for pin_user_pages, and for
    get_user_pages of 7.3; a few directories with a single call are not among them. In 5.10 io_uring still
    lay in fs/.
    """
    return _table("history.csv", {"release": "str", "count": "int64"}).fillna({"directory": ""})


def series() -> pd.DataFrame:
    """Sizes of posted patch series: series, month, patches, files, insertions, deletions, source."""
    sizes = ("patches", "files", "insertions", "deletions")
    return _table("series.csv", dict.fromkeys(sizes, "Int64")).fillna({"month": ""})


def _table(name: str, dtypes: dict[str, str]) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(data_dir() / "callsites" / name, dtype=dtypes)  # type: ignore[arg-type]
