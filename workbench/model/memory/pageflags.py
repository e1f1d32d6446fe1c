"""Page types and folio orders from /proc/kpageflags.

Flags stay as they are stored: a dictionary of the few distinct 64-bit values and one small code per pfn.
Tests on flags look at the dictionary only; everything about runs looks at the places where the code
changes. ``flag_rows`` prints what tools/mm/page-types prints, row for row.

A page has the type of its folio, a folio that of its head: the tails of a page table of several pages carry
no flag but compound_tail (s390x).

What the flags cannot say, and is therefore left out: reference counts and pins; the order of a free block
(buddy pages carry no head bit: each counts as order 0); what an allocation without flags is for
(``unknown/kernel``). The file is no snapshot: the kernel walks it while pages move, so a folio may be seen
half in its old and half in its new state. Such a run, and one cut by the end of an extent, is counted as
the fewest naturally aligned pieces, and its pages are in ``nr_irregular``. KPF_KSM is not used: 6.12 shows
it on every anonymous page.
"""

from __future__ import annotations

import errno
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.model.errors import InputError
from workbench.model.memory.capture import Capture, Npz, load_capture, memory_limit_bytes

if TYPE_CHECKING:
    from workbench.model.memory.pfns import PfnSet

#: Bit: (letter, long name), as page-types prints them: include/uapi/linux/kernel-page-flags.h for bits
#: 0..26, include/linux/kernel-page-flags.h for 32..41, tools/vm/page-types.c for the rest; all v6.1, the
#: version whose output ships beside the captures. Bits without a letter take no column.
FLAGS = {bit: (name[0], name[2:]) for bit, name in {
    0: "L:locked", 1: "E:error", 2: "R:referenced", 3: "U:uptodate", 4: "D:dirty", 5: "l:lru",
    6: "A:active", 7: "S:slab", 8: "W:writeback", 9: "I:reclaim", 10: "B:buddy", 11: "M:mmap",
    12: "a:anonymous", 13: "s:swapcache", 14: "b:swapbacked", 15: "H:compound_head", 16: "T:compound_tail",
    17: "G:huge", 18: "u:unevictable", 19: "X:hwpoison", 20: "n:nopage", 21: "x:ksm", 22: "t:thp",
    23: "o:offline", 24: "z:zero_page", 25: "i:idle_page", 26: "g:pgtable",
    32: "r:reserved", 33: "m:mlocked", 34: "d:mappedtodisk", 35: "P:private", 36: "p:private_2",
    37: "O:owner_private", 38: "h:arch", 39: "c:uncached", 40: "f:softdirty", 41: "H:arch_2",
    47: "d:anon_exclusive", 48: "I:readahead", 49: "P:slob_free", 50: "A:slub_frozen", 51: "E:slub_debug",
    61: "F:file", 62: "w:swap", 63: "1:mmap_exclusive",
}.items()}
_BIT = {name: np.uint64(1 << bit) for bit, (_, name) in FLAGS.items()}
_HACKERS_BITS = np.uint64(0xFFFF << 32)  # KPF_HACKERS_BITS, tools/vm/page-types.c, v6.1
_HASH_SIZE = 1 << 13  # the same

#: Page types in the order of the test, first match wins: (name, flags of which one must be set). The order
#: keeps flags that a type overlays (slab's "anonymous", buddy's "uptodate") from being believed.
_TYPE_RULES = (
    ("nopage", "nopage"),  # no struct page: a hole, or ZONE_DEVICE; 6.18 shows holes as plain 0
    ("buddy", "buddy"),  # free, in the buddy allocator
    ("slab", "slab"),
    ("pgtable", "pgtable"),
    ("offline", "offline"),  # balloon, or unplugged by virtio-mem: logically not there
    ("hugetlb", "huge"),  # in use or free
    ("anon", "anonymous"),  # anonymous memory, THP of every order included
    ("zero", "zero_page"),  # the shared zero page and the huge one
    ("shmem", "swapbacked"),  # tmpfs, memfd, shared anonymous
    ("file", "lru uptodate dirty writeback"),  # page cache; without lru while on its way to the LRU
    ("memmap", "owner_private"),  # PG_vmemmap_self_hosted: memmap_on_memory
    ("reserved", "reserved"),  # PageReserved: firmware, kernel image, boot-time allocations
    ("mapped", "mmap"),  # kernel or driver memory mapped into a process
    ("unknown/kernel", ""),  # no flag that tells: kernel allocations, vmalloc, per-cpu, never initialised
)
#: The types, in the order in which they are tested; ``Folios.type`` indexes it.
TYPES = tuple(name for name, _ in _TYPE_RULES)
_SINGLE, _HEAD, _TAIL = range(3)


class Folios(NamedTuple):
    """Runs of folios, ascending: ``nr_folios`` neighbours of one order and type from ``first_pfn`` on."""

    first_pfn: NDArray[np.uint64]
    nr_folios: NDArray[np.int64]
    order: NDArray[np.uint8]
    type: NDArray[np.uint8]  # index into TYPES


class _Runs(NamedTuple):
    """Stretches of one code; ``joins`` where a run's first pfn follows the last one of the run before."""

    start: NDArray[np.int64]
    nr_pages: NDArray[np.int64]
    code: NDArray[np.intp]
    first_pfn: NDArray[np.uint64]
    joins: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PageFlags:
    """The flags of every pfn in some extents of physical memory.

    Attributes
    ----------
    ram : ndarray of uint64, shape (n, 2)
        Extents [first, end) in pfns, ascending and disjoint.
    values : ndarray of uint64, shape (v,)
        The distinct flag words.
    codes : ndarray of uint8 or uint16, shape (nr_pages,)
        Index into ``values`` per pfn, the extents one after the other.
    mapped_at : ndarray of int64 or None, shape (m,)
        Positions in ``codes`` with a mapcount that is not 0; None where it was not captured.
    mapcount : ndarray of uint16 or None, shape (m,)
        Their mapcounts.
    page_size : int or None
        Bytes; None where nobody says.
    where : str
        The file, for messages.

    Examples
    --------
    >>> flags = PageFlags([[16, 24]], [0, 0x8068, 0x10068], [0, 1, 2, 2, 2, 0, 0, 0], page_size=4096)
    >>> flags.types()
    {'file': 4, 'unknown/kernel': 4}
    >>> flags.folio_orders()
    {'file': {0: 2, 1: 1}, 'unknown/kernel': {0: 4}}
    >>> flags.nr_irregular    # a folio of order 2 lies at a multiple of 4, this one does not
    4
    """

    ram: NDArray[np.uint64]
    values: NDArray[np.uint64]
    codes: NDArray[np.uint8] | NDArray[np.uint16]
    mapped_at: NDArray[np.int64] | None = None
    mapcount: NDArray[np.uint16] | None = None
    page_size: int | None = None
    where: str = "page flags"

    def __post_init__(self) -> None:
        ram = _extents(self.ram, self.where)
        values, codes = np.asarray(self.values, np.uint64), np.asarray(self.codes)
        nr_pages = int((ram[:, 1] - ram[:, 0]).sum())
        if codes.shape != (nr_pages,):
            raise self._bad("flag_code", f"{codes.size} codes for {nr_pages} pfns in ram")
        if not 0 <= int(codes.min()) <= int(codes.max()) < values.size <= 1 << 16:
            raise self._bad("flag_code", f"codes {codes.min()}..{codes.max()} are not all among the "
                                         f"{values.size} flag_values (65536 at most)")
        if codes.dtype not in (np.uint8, np.uint16):
            codes = codes.astype(np.uint16)
        if self.mapped_at is not None and self.mapcount is not None:
            at = np.asarray(self.mapped_at, np.int64)
            if at.shape != np.shape(self.mapcount):
                raise self._bad("mapcount", f"{np.size(self.mapcount)} mapcounts for {at.size} positions")
            if at.size and not (at[0] >= 0 and (at[1:] > at[:-1]).all() and at[-1] < nr_pages):
                raise self._bad("mapcount_idx", f"positions must ascend from 0 to below {nr_pages}")
            object.__setattr__(self, "mapped_at", at)
        for name, array in (("ram", ram), ("values", values), ("codes", codes)):
            object.__setattr__(self, name, array)

    def _bad(self, member: str, rule: str) -> InputError:
        return InputError(rule, file=self.where, place=f"member {member!r}")

    @classmethod
    def load(cls, source: Capture | str | os.PathLike[str], label: str | None = None) -> PageFlags:
        """The page flags of a capture, or of ``"live"``; ``label`` picks one of several (``"before"``).

        Examples
        --------
        >>> PageFlags.load("debian-6.12-states/during").types()["pgtable"]
        756
        """
        if source == "live":
            return read_live()
        capture = source if isinstance(source, Capture) else load_capture(source)
        return cls.from_npz(capture.npz(label), page_size=capture.page_size)

    @classmethod
    def from_npz(cls, npz: Npz, page_size: int | None = None) -> PageFlags:
        """Page flags from an ``.npz`` with ram, flag_values, flag_code, and, where they are there,
        flag_counts, and mapcount_idx (delta-coded) with mapcount."""
        ram = _extents(npz.read("ram", kinds="iu", shape=(None, 2)), npz.where)
        nr_pages = int((ram[:, 1] - ram[:, 0]).sum())
        if nr_pages > memory_limit_bytes():
            raise npz.bad(f"{nr_pages} pfns need more than half of this machine's memory", "ram")
        values = npz.read("flag_values")
        codes = npz.read("flag_code", shape=(nr_pages,))
        if codes.itemsize > 2:
            raise npz.bad(f"dtype {codes.dtype} must be uint8 or uint16", "flag_code")
        mapped_at = mapcount = None
        if {"mapcount_idx", "mapcount"} & set(npz.names):
            mapcount = npz.read("mapcount")
            step = npz.read("mapcount_idx", kinds="iu", shape=(mapcount.size,))
            if step.size and not 0 <= int(step.min()) <= int(step.max()) < nr_pages:
                raise npz.bad(f"steps {step.min()}..{step.max()} do not lie in 0..{nr_pages - 1}",
                              "mapcount_idx")
            mapped_at = np.cumsum(step, dtype=np.int64)
        flags = cls(ram, values, codes, mapped_at, mapcount, page_size, npz.where)
        if "flag_counts" in npz.names:
            counts = npz.read("flag_counts", kinds="iu", shape=(values.size,))
            if (wrong := np.flatnonzero(counts != flags._pages_per_code)).size:
                raise npz.bad(f"{counts[wrong[0]]} pages of flags {values[wrong[0]]:#x}, but flag_code has "
                              f"{flags._pages_per_code[wrong[0]]}", "flag_counts")
        return flags

    @property
    def nr_pages(self) -> int:
        """Pfns in the extents."""
        return self.codes.size

    def within(self, extents: PfnSet | ArrayLike) -> PageFlags:
        """The same flags, only where ``extents`` (a PfnSet, or rows [first, end)) lie: RAM without its holes.

        Needed where holes show flags 0 like ordinary kernel pages (6.18).

        Examples
        --------
        >>> flags = PageFlags([[0, 8]], [0, 0x400], [0, 0, 1, 1, 1, 1, 0, 0])
        >>> flags.within([[3, 7]]).types()
        {'buddy': 3, 'unknown/kernel': 1}
        """
        wanted = _extents(extents, "extents")
        low, end = self.ram.T
        first = np.searchsorted(wanted[:, 1], low, side="right")
        nr = np.maximum(np.searchsorted(wanted[:, 0], end) - first, 0)
        mine = np.repeat(np.arange(len(low)), nr)
        theirs = np.arange(mine.size) - np.repeat(np.cumsum(nr) - nr, nr) + np.repeat(first, nr)
        ram = np.stack([np.maximum(low[mine], wanted[theirs, 0]),
                        np.minimum(end[mine], wanted[theirs, 1])], axis=1)
        if not ram.size:
            raise InputError(f"no pfn of {low[0]:#x}..{end[-1]:#x} lies in the extents", file=self.where)
        begin = self._offset[mine] + (ram[:, 0] - low[mine]).astype(np.int64)
        length = (ram[:, 1] - ram[:, 0]).astype(np.int64)
        codes = np.concatenate([self.codes[at:at + nr] for at, nr in zip(begin, length, strict=True)])
        mapped_at, mapcount = self.mapped_at, self.mapcount
        if mapped_at is not None and mapcount is not None:
            piece = np.searchsorted(begin, mapped_at, side="right") - 1
            keep = (piece >= 0) & (mapped_at < (begin + length)[piece])
            piece, mapcount = piece[keep], mapcount[keep]
            mapped_at = mapped_at[keep] - begin[piece] + (np.cumsum(length) - length)[piece]
        return PageFlags(ram, self.values, codes, mapped_at, mapcount, self.page_size, self.where)

    # Runs and what is counted from them

    @functools.cached_property
    def _offset(self) -> NDArray[np.int64]:
        length = (self.ram[:, 1] - self.ram[:, 0]).astype(np.int64)
        return np.cumsum(length) - length

    def _pfn_at(self, position: NDArray[np.int64]) -> NDArray[np.uint64]:
        extent = np.searchsorted(self._offset, position, side="right") - 1
        return self.ram[extent, 0] + (position - self._offset[extent]).astype(np.uint64)

    @functools.cached_property
    def _runs(self) -> _Runs:
        gaps = self._offset[1:][self.ram[1:, 0] != self.ram[:-1, 1]]
        starts = np.empty(self.nr_pages, np.bool_)
        np.not_equal(self.codes[1:], self.codes[:-1], out=starts[1:])
        starts[0] = True
        starts[gaps] = True
        start = np.flatnonzero(starts)
        joins = np.ones(start.size, np.bool_)
        joins[0] = False
        joins[np.searchsorted(start, gaps)] = False
        return _Runs(start, np.diff(start, append=self.nr_pages), self.codes[start].astype(np.intp),
                     self._pfn_at(start), joins)

    @functools.cached_property
    def _pages_per_code(self) -> NDArray[np.int64]:
        pages = np.bincount(self._runs.code, weights=self._runs.nr_pages, minlength=self.values.size)
        return pages.astype(np.int64)  # exact: the weights' sums stay below 2^53

    @functools.cached_property
    def _run_types(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
        """Per run: its role (single pages, heads, tails), its type, and whether it goes on with the folio
        before it. Tails do, if they are of its type or show none; where some do not, all must look alike."""
        run = self._runs
        head, tail = (self.values & _BIT["compound_head"]) > 0, (self.values & _BIT["compound_tail"]) > 0
        role = np.where(head, _HEAD, np.where(tail, _TAIL, _SINGLE)).astype(np.uint8)[run.code]
        kind = classify(self.values)[run.code]
        same = np.concatenate(([False], kind[1:] == kind[:-1]))
        goes_on = (role == _TAIL) & run.joins
        goes_on[1:] &= role[:-1] != _SINGLE
        begin, of = np.flatnonzero(~goes_on), np.cumsum(~goes_on) - 1
        fits = (kind == kind[begin][of]) | (kind == len(TYPES) - 1)
        goes_on &= np.logical_and.reduceat(fits, begin)[of] | same
        return role, kind[np.flatnonzero(~goes_on)][np.cumsum(~goes_on) - 1], goes_on

    def types(self) -> dict[str, int]:
        """Pages of each type, in the order of ``TYPES``; they sum to ``nr_pages``."""
        pages = np.bincount(self._run_types[1], weights=self._runs.nr_pages, minlength=len(TYPES))
        return {name: int(nr) for name, nr in zip(TYPES, pages, strict=True) if nr}

    @functools.cached_property
    def _folios(self) -> tuple[Folios, int]:
        """The folios, unsorted, and the pages in irregular runs.

        A folio starts at the last page of a run of heads and goes on over its tails.
        """
        run, (role, kind, goes_on) = self._runs, self._run_types
        begin = np.flatnonzero(~goes_on)
        role, kind, first = role[begin], kind[begin], run.first_pfn[begin]
        nr_pages = np.add.reduceat(run.nr_pages, begin)
        nr_single = np.where(role == _SINGLE, nr_pages, np.where(role == _HEAD, run.nr_pages[begin] - 1, 0))

        large = np.flatnonzero(nr_pages > nr_single)
        size, at = (nr_pages - nr_single)[large], first[large] + nr_single[large].astype(np.uint64)
        regular = ((role[large] == _HEAD) & (size > 1) & (size & (size - 1) == 0)
                   & (at & (size - 1).astype(np.uint64) == 0))
        nr_irregular = int(size[~regular].sum() + nr_single[role == _HEAD].sum())
        single = np.flatnonzero(nr_single)
        at, order, owner = aligned_pieces(at, size)
        found = Folios(np.concatenate((first[single], at)),
                       np.concatenate((nr_single[single], np.ones(at.size, np.int64))),
                       np.concatenate((np.zeros(single.size, np.uint8), order)),
                       np.concatenate((kind[single], kind[large][owner])))
        return _picked(found, found.type != TYPES.index("nopage")), nr_irregular

    @property
    def nr_irregular(self) -> int:
        """Pages in runs that are no folio: not 2^order pages, not aligned to that, or without a head."""
        return self._folios[1]

    def folio_orders(self) -> dict[str, dict[int, int]]:
        """Folios of each type by order; per type, ``sum(nr << order)`` is its pages. Holes have none.

        Examples
        --------
        >>> PageFlags.load("microvm-24g-6.18").folio_orders()["anon"]
        {0: 31350, 9: 764}
        """
        folios = self._folios[0]
        nr = np.bincount(folios.type.astype(np.intp) * 64 + folios.order, weights=folios.nr_folios,
                         minlength=64 * len(TYPES)).astype(np.int64).reshape(-1, 64)
        return {name: {int(order): int(row[order]) for order in np.flatnonzero(row)}
                for name, row in zip(TYPES, nr, strict=True) if row.any()}

    def folios(self, type: str | None = None) -> Folios:
        """All folios, or those of one type, by ascending pfn; single pages that touch are one row.

        Examples
        --------
        >>> folios = PageFlags.load("debian-6.12-states/during").folios("hugetlb")
        >>> folios.first_pfn.size, set(folios.order.tolist())
        (64, {9})
        """
        folios = self._folios[0]
        keep = np.arange(folios.type.size) if type is None else np.flatnonzero(folios.type == _type(type))
        keep = keep[np.argsort(folios.first_pfn[keep], kind="stable")]
        return _picked(folios, keep)

    def pages_of(self, type: str | None = None, **flags: bool) -> PfnSet:
        """The pfns of one type, or with and without some flags, as ``page-types -r`` names them.

        Examples
        --------
        >>> PageFlags.load("debian-6.12-states/during").pages_of("anon", mlocked=True, thp=False).nr_pages
        16384
        """
        from workbench.model.memory.pfns import PfnSet

        wanted = np.ones(self.values.size, np.bool_)
        for name, on in flags.items():
            if name not in _BIT:
                raise InputError(f"flag {name!r} is none of {', '.join(_BIT)}")
            wanted &= ((expand_overloaded_flags(self.values) & _BIT[name]) > 0) == on
        picked = wanted[self._runs.code]
        if type is not None:
            picked &= self._run_types[1] == _type(type)
        starts = picked & ~(np.concatenate(([False], picked[:-1])) & self._runs.joins)
        begin, pages = np.flatnonzero(starts), np.where(picked, self._runs.nr_pages, 0)
        if not begin.size:
            return PfnSet.empty()
        first = self._runs.first_pfn[begin]
        nr_pages = np.add.reduceat(pages, begin).astype(np.uint64)
        return PfnSet.from_extents(first, first + nr_pages - np.uint64(1))

    def mapcounts(self) -> tuple[NDArray[np.uint64], NDArray[np.uint16]] | None:
        """Pfns that are mapped, and how often (/proc/kpagecount); None where it was not captured."""
        if self.mapped_at is None or self.mapcount is None:
            return None
        return self._pfn_at(self.mapped_at), self.mapcount

    # What other tools say

    def flag_rows(self, raw: bool = False) -> list[dict[str, Any]]:
        """The rows of ``page-types`` (``raw``: ``page-types -r``), in its order, over all extents.

        Exact row for row for the bits that page-types of v6.1 knows; a higher bit is named ``bit_NN``.
        The tool's hash table has 8192 slots; more distinct rows make it stop, and us go on at the end.

        Returns
        -------
        list of dict
            flags (``0x`` and 16 digits), pages, symbols (a letter or ``_`` for each bit), names.
        """
        shown = expand_overloaded_flags(self.values) if raw else well_known_flags(self.values)
        seen_at = np.full(self.values.size, self.nr_pages, np.int64)
        seen_at[self._runs.code[::-1]] = self._runs.start[::-1]  # the last write, the first run, wins
        slots: dict[int, int] = {}  # slot: flags
        pages: dict[int, int] = {}
        for code in np.argsort(seen_at, kind="stable"):
            flags, nr = int(shown[code]), int(self._pages_per_code[code])
            if nr and flags not in pages:
                slots[_hash_slot(flags, slots)] = flags
            if nr:
                pages[flags] = pages.get(flags, 0) + nr
        return [{"flags": f"{flags:#018x}", "pages": pages[flags], "symbols": page_flag_name(flags),
                 "names": page_flag_longname(flags)} for _, flags in sorted(slots.items())]

    def page_types_text(self, raw: bool = False) -> str:
        """What ``page-types`` prints; needs the page size for its MB column."""
        if self.page_size is None:
            raise InputError("the page size is not known: no getconf.txt says PAGE_SIZE", file=self.where)
        rows = [(row["flags"], row["pages"], f"  {row['symbols']}\t{row['names']}")
                for row in self.flag_rows(raw)] + [("             total", self.nr_pages, "")]
        head = "             flags\tpage-count       MB  symbolic-flags\t\t\tlong-symbolic-flags\n"
        return head + "".join(f"{flags}\t{pages:10} {pages * self.page_size >> 20:8}{rest}\n"
                              for flags, pages, rest in rows)

    def crosscheck(self, meminfo: str) -> list[dict[str, Any]]:
        """Pages by the flags beside pages by /proc/meminfo, for the lines that count the same thing.

        They differ by what moved between the two files, by pages not on the LRU yet, and (Slab) by large
        kmalloc, which meminfo counts and flags do not show.

        Returns
        -------
        list of dict
            name (in meminfo), meminfo_pages, flags_pages.
        """
        found = re.findall(r"^([\w()]+): +(\d{1,18})(?: kB)?$", meminfo, re.MULTILINE)
        kb = {name: int(nr) for name, nr in found}
        if self.page_size is None:
            raise InputError("the page size is not known: no getconf.txt says PAGE_SIZE", file=self.where)
        types, orders, page_kb = self.types(), self.folio_orders(), self.page_size / 1024
        huge = int(kb.get("Hugepagesize", 0) / page_kb)
        order = huge.bit_length() - 1

        def in_huge(name: str) -> int:
            return orders.get(name, {}).get(order, 0) * huge

        ours = {"AnonPages": types.get("anon", 0), "AnonHugePages": in_huge("anon"),
                "ShmemHugePages": in_huge("shmem"), "FileHugePages": in_huge("file"),
                "Hugetlb": types.get("hugetlb", 0), "Shmem": types.get("shmem", 0),
                "Slab": types.get("slab", 0), "PageTables": types.get("pgtable", 0),
                "MemFree": types.get("buddy", 0)}
        return [{"name": name, "meminfo_pages": int(kb[name] / page_kb), "flags_pages": nr}
                for name, nr in ours.items() if name in kb]


def classify(values: ArrayLike) -> NDArray[np.uint8]:
    """The type of each flag word, as an index into ``TYPES``; the first rule that fits wins.

    Examples
    --------
    >>> [TYPES[i] for i in classify([0x400, 0x1080, 0x205828, 0x68, 0])]
    ['buddy', 'slab', 'anon', 'file', 'unknown/kernel']
    """
    flags = np.asarray(values, np.uint64)
    found = np.full(flags.shape, len(TYPES) - 1, np.uint8)
    for index, (_, names) in reversed(list(enumerate(_TYPE_RULES))):
        for name in names.split():
            found[(flags & _BIT[name]) > 0] = index
    return found


def expand_overloaded_flags(values: ArrayLike) -> NDArray[np.uint64]:
    """Flags as ``page-types -r`` shows them: a bit that means something else there moves to its own.

    tools/vm/page-types.c, v6.1: expand_overloaded_flags().
    """
    flags = np.array(values, np.uint64)

    def move(where: NDArray[np.bool_], old: str, new: str) -> None:
        flags[where & ((flags & _BIT[old]) > 0)] ^= _BIT[old] | _BIT[new]

    move((flags & _BIT["anonymous"]) > 0, "mappedtodisk", "anon_exclusive")
    slab = (flags & _BIT["slab"]) > 0
    move(slab, "private", "slob_free")
    move(slab, "active", "slub_frozen")
    move(slab, "error", "slub_debug")
    move((flags & _BIT["writeback"]) == 0, "reclaim", "readahead")
    return flags


def well_known_flags(values: ArrayLike) -> NDArray[np.uint64]:
    """Flags as ``page-types`` shows them by default: without bits 32..47, compound bits only for hugetlb.

    tools/vm/page-types.c, v6.1: well_known_flags().
    """
    flags = np.asarray(values, np.uint64) & ~_HACKERS_BITS
    compound = np.uint64(_BIT["compound_head"] | _BIT["compound_tail"])
    return np.where(flags & _BIT["huge"], flags, flags & ~compound)


def page_flag_name(flags: int) -> str:
    """The short form: the letter of each known bit, ``_`` where it is not set.

    Examples
    --------
    >>> page_flag_name(0x400000068)
    '___U_lA______________________d_______________'
    """
    return "".join(letter if flags >> bit & 1 else "_" for bit, (letter, _) in FLAGS.items())


def page_flag_longname(flags: int) -> str:
    """The long form.

    Examples
    --------
    >>> page_flag_longname(0x400000068)
    'uptodate,lru,active,mappedtodisk'
    """
    return ",".join(FLAGS[bit][1] if bit in FLAGS else f"bit_{bit}" for bit in range(64) if flags >> bit & 1)


def _hash_slot(flags: int, slots: dict[int, int]) -> int:
    """hash_slot(), tools/vm/page-types.c, v6.1: the low bits, then the next free slot; 0 is for no flags."""
    if flags == 0:
        return 0
    slot = flags % _HASH_SIZE or 1
    if len(slots) >= _HASH_SIZE - 1:
        return _HASH_SIZE + len(slots)
    while slot in slots:
        slot = slot + 1 if slot + 1 < _HASH_SIZE else 1
    return slot


def aligned_pieces(first: NDArray[np.uint64], nr_pages: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """Cut ranges into the fewest blocks of 2^order pages at multiples of 2^order.

    Returns
    -------
    first_pfn, order, owner : ndarrays
        The blocks, and the index of the range that each is from; not sorted.

    Examples
    --------
    >>> at, order, _ = aligned_pieces(np.array([17], np.uint64), np.array([4]))
    >>> at.tolist(), order.tolist()
    ([17, 18, 20], [0, 1, 0])
    """
    at, left = first.astype(np.int64), nr_pages.copy()
    pieces: list[tuple[NDArray[Any], ...]] = []
    orders = range(int(left.max(initial=0)).bit_length())
    for order in (*orders, *reversed(orders)):  # up while the start asks for it, then down
        up = len(pieces) < len(orders)
        owner = np.flatnonzero((left >> order > 0) & ((at >> order & 1 > 0) | (not up)))
        pieces.append((at[owner], np.full(owner.size, order, np.uint8), owner))
        at[owner] += 1 << order
        left[owner] -= 1 << order
    if not pieces:
        return first[:0], np.empty(0, np.uint8), nr_pages[:0]
    first_pfn, order_of, owners = map(np.concatenate, zip(*pieces, strict=True))
    return first_pfn.astype(np.uint64), order_of, owners


def _picked(folios: Folios, which: NDArray[Any]) -> Folios:
    return Folios(folios.first_pfn[which], folios.nr_folios[which], folios.order[which], folios.type[which])


def _type(name: str) -> int:
    if name not in TYPES:
        raise InputError(f"page type {name!r} is none of {', '.join(TYPES)}")
    return TYPES.index(name)


def _extents(extents: Any, where: str) -> NDArray[np.uint64]:
    """Rows [first, end) in pfns, also from a PfnSet, checked: none empty or reversed, ascending, disjoint."""
    if hasattr(extents, "last"):
        extents = np.stack([extents.first, extents.last + np.uint64(1)], axis=1)
    rows, place = np.asarray(extents), "member 'ram'"
    if rows.ndim != 2 or rows.shape[1] != 2 or not rows.size:
        raise InputError(f"shape {rows.shape} is not n rows of [first, end)", file=where, place=place)
    first, end = rows.T
    overlaps = np.append(first[1:] < end[:-1], False)
    for bad, rule in ((end <= first, "is empty or reversed"), (first < 0, "starts below 0"),
                      (end > 1 << 52, "ends past pfn 2^52"), (overlaps, "overlaps the next one")):
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(f"extent {row}, {int(first[row]):#x}..{int(end[row]):#x}, {rule}",
                             file=where, place=place)
    return rows.astype(np.uint64)


def read_live(extents: PfnSet | ArrayLike | None = None, *,
              path: str | os.PathLike[str] = "/proc/kpageflags") -> PageFlags:
    """The flags of the running machine: 1 MiB reads of /proc/kpageflags, encoded as they come.

    Parameters
    ----------
    extents : PfnSet or array_like, shape (n, 2), optional
        RAM, in pfns [first, end); without it the whole file. What lies past its end is left out.
    path : path
        A file of native u64, one per pfn.
    """
    wanted = _extents([[0, 1 << 52]] if extents is None else extents, "extents")
    known: dict[int, int] = {}
    ram: list[list[int]] = []
    chunks = []
    for first, flags in _live_chunks(Path(path), wanted):
        starts = np.flatnonzero(np.concatenate(([True], flags[1:] != flags[:-1])))
        values, index = np.unique(flags[starts], return_inverse=True)
        code = np.array([known.setdefault(value, len(known)) for value in values.tolist()])
        if len(known) > 1 << 16:
            raise InputError("more than 65536 distinct flag words", file=path, place=f"pfn {first:#x}")
        chunks.append(np.repeat(code[index].astype(np.uint16), np.diff(starts, append=flags.size)))
        if ram and ram[-1][1] == first:
            ram[-1][1] += flags.size
        else:
            ram.append([first, first + flags.size])
    if not ram:
        raise InputError("no pfn of the extents is in the file", file=path)
    codes = np.concatenate(chunks)
    return PageFlags(np.array(ram, np.uint64), np.array(list(known), np.uint64),
                     codes.astype(np.uint8) if len(known) <= 256 else codes,
                     page_size=os.sysconf("SC_PAGE_SIZE"), where=os.fspath(path))


def _live_chunks(path: Path, extents: NDArray[np.uint64]) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """(first pfn, flags) by 1 MiB: offsets and lengths must be multiples of 8, larger reads gain nothing."""
    buffer = np.empty(1 << 17, np.uint64)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for first, end in extents.tolist():
                while first < end:
                    want = min(end - first, buffer.size)
                    got = os.preadv(descriptor, [buffer[:want].data], first * 8) // 8
                    if not got:
                        break
                    yield first, buffer[:got].copy()
                    first += got
        finally:
            os.close(descriptor)
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
        if error.errno in (errno.EACCES, errno.EPERM):
            why = "may be read by root only: run as root, or take a capture as root and load that"
        elif error.errno == errno.ENOENT:
            why = "does not exist: the kernel has no CONFIG_PROC_PAGE_MONITOR, or /proc is not mounted"
        raise InputError(why, file=path) from None
