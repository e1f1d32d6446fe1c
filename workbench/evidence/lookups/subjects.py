"""What can be timed: pfn maps over a PfnSet, and the designs' conversions where some pages are dynamic.

Each function here builds a structure and says where its keys come from and what its results must be. Random
keys are uniform over the entries' pages; sequential ones are consecutive from a random place on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from workbench.evidence.lookups import _loops as loops
from workbench.evidence.lookups import _structures as structures
from workbench.evidence.lookups._arena import LINE_BYTES, U64, words
from workbench.evidence.lookups.costs import ORDERS
from workbench.evidence.lookups.measure import Subject
from workbench.model.errors import InputError
from workbench.model.memory.pfns import MAX_PFN, PfnSet
from workbench.model.pfnmaps.ops import Entries

Draw = Callable[[int, np.random.Generator], U64]
Mixes = Sequence[tuple[float, int]]  # shares of calls that meet a dynamic page, and calls in a row alike

VMEMMAP = 0xFFFF_EA00_0000_0000  # VMEMMAP_START without KASLR, arch/x86/include/asm/pgtable_64_types.h, v6.12
PAGE_BYTES, PROXY_BYTES, DYNAMIC_BYTES = 64, 64, 80  # designs/proxy_bit.py and designs/dynamic_page.py
ONE_IN = 16  # pages of a memmap for each that has a dynamic_page; assumed
_EXPANDED = 1 << 24  # pages; of more, keys are searched for instead of looked up


# Keys

def _ordinals(nr: int, of: int, order: str, rng: np.random.Generator) -> U64:
    """``nr`` numbers below ``of``: uniformly at random, or consecutive from a random one on."""
    if order == "random":
        return rng.integers(0, of, nr, dtype=np.uint64)
    return (rng.integers(0, of, dtype=np.uint64) + np.arange(nr, dtype=np.uint64)) % np.uint64(of)


def _pages(pfns: PfnSet, order: str) -> Draw:
    """Draw pages of a set."""
    if pfns.nr_pages <= _EXPANDED:
        return _of(pfns.to_pfns(), order)
    sizes = pfns.last - pfns.first + np.uint64(1)
    ends = np.cumsum(sizes, dtype=np.uint64)

    def draw(nr: int, rng: np.random.Generator) -> U64:
        nth = _ordinals(nr, pfns.nr_pages, order, rng)
        at = np.searchsorted(ends, nth, side="right")
        return pfns.last[at] - (ends[at] - np.uint64(1) - nth)
    return draw


def misses(pfns: PfnSet) -> PfnSet:
    """Pfns that a lookup does not find: the gaps, or as many as there are entries beyond the last of them.

    Examples
    --------
    >>> misses(PfnSet.from_pfns([1, 5])), misses(PfnSet.from_ranges([(0, 100)]))
    (PfnSet(2 extents, 4 pages, 0x0..0x4), PfnSet(1 extent, 100 pages, 0x64..0xc7))
    """
    top = pfns.max_pfn or 0
    gaps = PfnSet.from_extents([0], [top]) - pfns
    if gaps.nr_pages * LINE_BYTES >= top or top == MAX_PFN:  # fewer would all be in the cache
        return gaps
    return PfnSet.from_extents([top + 1], [min(top + pfns.nr_pages, MAX_PFN)])


def pfn_map(built: structures.Structure, pfns: PfnSet, *, order: str = "random", hit: float = 1.0,
            shape: str = "") -> Subject:
    """The lookup of a pfn map that holds these entries.

    Parameters
    ----------
    built : Structure
        By :func:`structures.build`.
    pfns : PfnSet
        What it was built of. Maps that know a folio by its first pfn only are asked for that.
    order : str
        ``random`` or ``sequential`` keys.
    hit : float
        Share of the keys that are there; the rest are drawn from :func:`misses`.
    shape : str
        What the row calls this set.
    """
    if order not in ORDERS:
        raise InputError(f"order {order!r} is neither {' nor '.join(map(repr, ORDERS))}")
    if not 0 <= hit <= 1:
        raise InputError(f"hit {hit} is outside 0..1")
    if built.path in structures.FIRST_PFN_ONLY:
        draw_hit = _of(structures.entry_pfns(pfns), order)
    else:
        draw_hit = _pages(pfns, order)
    draw_miss = None
    if hit < 1:
        absent = misses(pfns)
        if not absent:
            raise InputError(f"hit {hit}: every pfn is there, so that no lookup can miss")
        draw_miss = _pages(absent, order)

    def draw(nr: int, rng: np.random.Generator) -> U64:
        keys = draw_hit(nr, rng)
        if draw_miss is not None:
            missing = rng.random(nr) >= hit
            keys[missing] = draw_miss(int(np.count_nonzero(missing)), rng)
            if order == "sequential":
                keys.sort()
        return keys

    def expected(keys: U64) -> int:
        nth, found = structures.nth_entry(pfns, keys)
        return int(built.entry(nth)[found].sum(dtype=np.uint64))

    facts = {"order": order, "hit": float(hit), "shape": shape, "working_set_bytes": built.nr_bytes,
             "nr_entries": pfns.nr_entries, "height": built.height,
             "levels": tuple((level.nr_loads, level.line_bytes) for level in built.levels)}
    return Subject(path=built.path, loop=built.loop, args=built.args, draw=draw, expected=expected,
                   facts=facts, arrays=built.arrays)


def chase(nr_bytes: int, seed: int = 1) -> Subject:
    """Dependent loads, one from each of so many bytes' lines in random order: the latency curve."""
    nr_lines = max(nr_bytes // LINE_BYTES, 2)
    a = words(nr_lines * 8, f"a ring of {nr_lines:,} lines")
    order = np.random.default_rng(seed).permutation(nr_lines).astype(np.uint64)
    loops.fill_chase(a, order)

    def expected(keys: U64) -> int:
        place = np.empty(nr_lines, np.int64)
        place[order.astype(np.int64)] = np.arange(nr_lines)
        at = place[int(keys[0]) >> 3] + 1 + np.arange(keys.size)
        return int((order[at % nr_lines] << np.uint64(3)).sum(dtype=np.uint64))

    return Subject(
        path="chase", loop=loops.chase, args=(a,), expected=expected, arrays=(a,), loops=("dependent",),
        draw=lambda nr, rng: rng.integers(0, nr_lines, nr, dtype=np.uint64) << np.uint64(3),
        facts={"working_set_bytes": nr_lines * LINE_BYTES, "nr_entries": nr_lines,
               "levels": ((1, nr_lines * LINE_BYTES),)})


# Pages, some of them dynamic

def is_dynamic(nr: int, share: float, run: int, rng: np.random.Generator) -> Any:
    """Which of ``nr`` calls meet a dynamic page: that share of all runs of ``run`` calls, at random.

    Examples
    --------
    >>> is_dynamic(12, 0.5, 3, np.random.default_rng(1)).astype(int).tolist()
    [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    """
    nr_runs = -(-nr // run)
    nr_dynamic = int(share * nr_runs + rng.random())  # on average the share, also of few runs
    chosen = np.zeros(nr_runs, np.bool_)
    chosen[rng.permutation(nr_runs)[:nr_dynamic]] = True
    return np.repeat(chosen, run)[:nr]


def _check_mixes(mixes: Mixes, order: str) -> None:
    for share, run in mixes:
        if not 0 <= share <= 1:
            raise InputError(f"dynamic share {share} is outside 0..1")
        if run < 1:
            raise InputError(f"run of {run} calls: must be 1 or more")
    if order not in ORDERS:
        raise InputError(f"order {order!r} is neither {' nor '.join(map(repr, ORDERS))}")


def _mixed(static: Draw, dynamic: Draw, share: float, run: int) -> Draw:
    """Keys of both kinds."""
    def draw(nr: int, rng: np.random.Generator) -> U64:
        keys = static(nr, rng)
        chosen = is_dynamic(nr, share, run, rng)
        keys[chosen] = dynamic(int(np.count_nonzero(chosen)), rng)
        return keys
    return draw


def _spread(base: int, step: int, nr_of: int, order: str) -> Draw:
    """``base + step * n``, n below ``nr_of``."""
    return lambda nr, rng: np.uint64(base) + _ordinals(nr, nr_of, order, rng) * np.uint64(step)


def _address(a: U64) -> int:
    return a.ctypes.data


def memmap(nr_pages: int) -> U64:
    """struct pages whose flags hold their section, as classic sparsemem has it; nothing else is filled."""
    a = words(nr_pages * PAGE_BYTES // 8, f"a memmap of {nr_pages:,} pages")
    pfn = np.arange(nr_pages, dtype=np.uint64)
    a[::8] = pfn >> loops.SECTION_PAGES_SHIFT << loops.SECTIONS_PGSHIFT
    return a


def sections(pages: U64) -> tuple[U64, U64]:
    """mem_section's root pointers and the roots' sections, for a memmap in one piece."""
    nr = -(-(pages.size * 8 // PAGE_BYTES) >> int(loops.SECTION_PAGES_SHIFT))
    roots = words(2048, "mem_section roots")  # NR_SECTION_ROOTS, x86-64 with 4 levels
    nr_roots = -(-nr >> int(loops.SECTIONS_PER_ROOT_SHIFT))
    table = words(nr_roots * 512, "mem_sections")
    roots[:nr_roots] = np.uint64(_address(table)) + np.arange(nr_roots, dtype=np.uint64) * np.uint64(4096)
    # section_mem_map is the memmap less the section's first pfn, which is the same for all; then the flags
    table[:2 * nr:2] = np.uint64(_address(pages) | 0xF)
    return roots, table


def _objects(nr: int, nr_words: int, pfn_at: int, first_pfn: int, flags: int, what: str) -> U64:
    """Allocated descriptors that carry their pfn."""
    a = words(nr * nr_words, f"{nr:,} {what}")
    a[::nr_words] = flags
    a[pfn_at::nr_words] = np.uint64(first_pfn) + np.arange(nr, dtype=np.uint64)
    return a


def _facts(order: str, nr_bytes: int, nr: int, share: float = 0.0, run: int = 1) -> dict[str, Any]:
    return {"order": order, "working_set_bytes": int(nr_bytes), "nr_entries": nr, "dynamic": float(share),
            "run": run}


def vmemmap(op: str, order: str = "random") -> Subject:
    """``page - vmemmap`` or ``vmemmap + pfn``: no memory at all."""
    nr, base = 1 << 28, VMEMMAP
    if op == "page_to_pfn":
        return Subject(path="vmemmap/page_to_pfn", loop=loops.vmemmap_page_to_pfn, args=(np.uint64(base),),
                       draw=_spread(base, PAGE_BYTES, nr, order), facts=_facts(order, 0, nr),
                       expected=lambda keys: _sum(keys - np.uint64(base) >> np.uint64(6)))
    return Subject(path="vmemmap/pfn_to_page", loop=loops.vmemmap_pfn_to_page, args=(np.uint64(base),),
                   draw=_spread(0, 1, nr, order), facts=_facts(order, 0, nr),
                   expected=lambda keys: _sum(np.uint64(base) + (keys << np.uint64(6))))


def _sum(values: U64) -> int:
    return int(values.sum(dtype=np.uint64))


def sparsemem(op: str, nr_pages: int, order: str = "random") -> Subject:
    """Classic sparsemem, SPARSEMEM_EXTREME: by section; page_to_pfn reads the page's flags first."""
    pages = memmap(nr_pages)
    roots, table = sections(pages)
    base, nr_sections = _address(pages), int(np.count_nonzero(table))
    arguments = (np.uint64(_address(roots)),)
    if op == "page_to_pfn":
        return Subject(path="sparsemem/page_to_pfn", loop=loops.sparsemem_page_to_pfn, args=arguments,
                       draw=_spread(base, PAGE_BYTES, nr_pages, order), arrays=(pages, table, roots),
                       facts=_facts(order, pages.nbytes + nr_sections * 16, nr_pages),
                       expected=lambda keys: _sum(keys - np.uint64(base) >> np.uint64(6)))
    return Subject(path="sparsemem/pfn_to_page", loop=loops.sparsemem_pfn_to_page, args=arguments,
                   draw=_spread(0, 1, nr_pages, order), arrays=(table, roots, pages[:0]),
                   facts=_facts(order, nr_sections * 16, nr_pages),
                   expected=lambda keys: _sum(np.uint64(base) + (keys << np.uint64(6))))


def flag_test(nr_pages: int, order: str = "random") -> Subject:
    """One load from each page: the tax of a flag in struct page."""
    pages = memmap(nr_pages)
    return Subject(path="flag_test", loop=loops.flag_test, args=(), expected=lambda keys: 0, arrays=(pages,),
                   draw=_spread(_address(pages), PAGE_BYTES, nr_pages, order),
                   facts={**_facts(order, pages.nbytes, nr_pages), "levels": ((1, pages.nbytes),)})


def range_test(order: str = "random") -> Subject:
    """Two instructions in registers."""
    nr, base = 1 << 20, VMEMMAP
    args = (np.uint64(base), np.uint64(nr * PAGE_BYTES))
    return Subject(path="range_test", loop=loops.range_test, args=args, expected=_sum,
                   draw=_spread(base, PAGE_BYTES, nr, order), facts=_facts(order, 0, nr))


def proxy(path: str, nr: int, mixes: Mixes, order: str = "random") -> list[Subject]:
    """``proxy_test`` or ``proxy_bit/page_to_pfn``: a share of the pointers is tagged and leads to proxies."""
    _check_mixes(mixes, order)
    a = _objects(nr, PROXY_BYTES // 8, 1, 0, 0, "proxies")
    base, tagged = VMEMMAP, _address(a) | 1
    whole = path != "proxy_test"

    def expected(keys: U64) -> int:
        is_tagged = keys & np.uint64(1) == 1
        plain = keys - np.uint64(base) >> np.uint64(6) if whole else keys
        return _sum(np.where(is_tagged, (keys - np.uint64(tagged)) >> np.uint64(6), plain))

    return [Subject(path=path, expected=expected, arrays=(a,),
                    loop=loops.proxy_page_to_pfn if whole else loops.proxy_test,
                    args=(np.uint64(base),) if whole else (),
                    draw=_mixed(_spread(base, PAGE_BYTES, 1 << 28, order),
                                _spread(tagged, PROXY_BYTES, nr, order), share, run),
                    facts=_facts(order, a.nbytes if share else 0, nr, share, run)) for share, run in mixes]


def dynamic_page_to_pfn(test: str, nr: int, mixes: Mixes, order: str = "random") -> list[Subject]:
    """``dynamic_page:flag`` or ``:range``: ``nr`` dynamic_pages, and 16 times as many static pages.

    The range test reads no static page, so that those are addresses only.
    """
    _check_mixes(mixes, order)
    nr_pages = nr * ONE_IN
    a = _objects(nr, DYNAMIC_BYTES // 8, 9, nr_pages, int(loops.DYNAMIC_FLAG), "dynamic_pages")
    pages = memmap(nr_pages) if test == "flag" else a[:0]
    base, at = _address(pages) if test == "flag" else VMEMMAP, _address(a)

    def expected(keys: U64) -> int:
        in_memmap = keys - np.uint64(base) < np.uint64(nr_pages * PAGE_BYTES)
        nth = (keys - np.uint64(at)) // np.uint64(DYNAMIC_BYTES)
        return _sum(np.where(in_memmap, keys - np.uint64(base) >> np.uint64(6), np.uint64(nr_pages) + nth))

    return [Subject(
        path=f"dynamic_page:{test}/page_to_pfn", expected=expected, arrays=(pages, a),
        loop=loops.flag_page_to_pfn if test == "flag" else loops.range_page_to_pfn,
        args=(np.uint64(base),) if test == "flag" else (np.uint64(base), np.uint64(nr_pages * PAGE_BYTES)),
        draw=_mixed(_spread(base, PAGE_BYTES, nr_pages, order), _spread(at, DYNAMIC_BYTES, nr, order), share,
                    run),
        facts=_facts(order, pages.nbytes * (share < 1) + a.nbytes * (share > 0), nr, share, run))
        for share, run in mixes]


def dynamic_pfn_to_page(test: str, nr: int, mixes: Mixes, order: str = "random",
                        seed: int = 1) -> list[Subject]:
    """The same the other way, dynamic_pages in an XArray.

    ``flag``: ``nr`` random pages of a memmap 16 times as large have a dynamic_page, and the static page's
    flag says so. ``range``: the dynamic ones are random pfns past the memmap, of device memory as large; the
    pfn itself tells.
    """
    _check_mixes(mixes, order)
    nr_pages = nr * ONE_IN
    rng = np.random.default_rng(seed)
    dynamic = np.sort(rng.choice(nr_pages, nr, replace=False)).astype(np.uint64)
    static: U64 = np.arange(nr_pages, dtype=np.uint64)
    more: tuple[np.uint64, ...] = ()
    if test == "flag":
        pages = memmap(nr_pages)
        pages[dynamic * np.uint64(8)] |= loops.DYNAMIC_FLAG
        static, base = np.delete(static, dynamic.astype(np.int64)), _address(pages)
    else:
        dynamic = dynamic + np.uint64(nr_pages)
        pages, base, more = words(0, "no memmap"), VMEMMAP, (np.uint64(nr_pages),)
    pfns = PfnSet.from_pfns(dynamic)
    tree = structures.xarray(pfns)

    def expected(keys: U64) -> int:
        nth, found = structures.nth_entry(pfns, keys)
        return _sum(np.where(found, tree.entry(nth), np.uint64(base) + (keys << np.uint64(6))))

    return [Subject(
        path=f"dynamic_page:{test}/pfn_to_page", expected=expected, arrays=(pages, *tree.arrays),
        loop=loops.flag_pfn_to_page if test == "flag" else loops.range_pfn_to_page,
        args=(np.uint64(base), *more, *tree.args),
        draw=_mixed(_of(static, order), _of(dynamic, order), share, run),
        facts=_facts(order, pages.nbytes + tree.nr_bytes * (share > 0), nr, share, run))
        for share, run in mixes]


def _of(values: U64, order: str) -> Draw:
    """One of these."""
    return lambda nr, rng: values[_ordinals(nr, values.size, order, rng)]


def of_entries(name: str, entries: Entries, *, order: str = "random", hit: float = 1.0) -> Subject:
    """The lookup of a pfn map that holds what a replay of ops left; an XArray is as tall as they made it."""
    built = structures.build(name, entries.pfns, root=entries.root)
    return pfn_map(built, entries.pfns, order=order, hit=hit)
