"""The timed loops, one for each path. Numba compiles them on first use; import this module late.

Every loop is ``loop(keys, z, ...)`` and gives the sum of its results modulo 2**64, which a caller compares
with what must come out. With ``z`` 0 each key needs the result before it (``keys[i] + (r & z)``, and the
compiler cannot know that ``z`` is 0): latency. With ``z`` None the lookups are independent: throughput.
Numba drops the branch that a ``z`` does not take.

The walks stand in the loops' bodies: an array passed to a helper would be reference-counted at every lookup.
All numbers are uint64; a plain literal would make them signed. Where the kernel follows a pointer to a struct
page, so do these: a page is its address, and :func:`_load` reads there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from workbench.evidence._jit import jit

OPTIONS: Any = {"boundscheck": False, "error_model": "numpy", "nogil": True}


_jit = jit(**OPTIONS)


def _load_uint64(typingctx, address):
    """The 8 bytes at an address."""
    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], cgutils.intp_t.as_pointer())
        return builder.load(pointer)
    return types.uint64(types.uint64), codegen


_load: Any = intrinsic(_load_uint64)


_0, _1, _2, _3, _5, _6, _7, _8, _9 = (np.uint64(n) for n in (0, 1, 2, 3, 5, 6, 7, 8, 9))
_63 = np.uint64(63)

# struct page and its kin; include/linux/mm_types.h, v6.12, and designs/dynamic_page.py
_PAGE_SHIFT = np.uint64(6)  # log2 sizeof(struct page)
DYNAMIC_FLAG = np.uint64(1 << 24)  # PG_dynamic: assumed, above the flags of v6.12
_PFN_AT = np.uint64(72)  # offsetof(struct dynamic_page, pfn)
_PROXY_PFN_AT = np.uint64(8 - 1)  # offsetof(struct page_proxy, pfn), less the tag; designs/proxy_bit.py

# SPARSEMEM_EXTREME on x86-64, include/linux/mmzone.h and page-flags-layout.h, v6.12
SECTION_PAGES_SHIFT = np.uint64(15)  # PFN_SECTION_SHIFT
SECTIONS_PGSHIFT = np.uint64(64 - 19)  # MAX_PHYSMEM_BITS 46 - SECTION_SIZE_BITS 27 = 19 bits of page->flags
SECTIONS_PER_ROOT_SHIFT = np.uint64(8)  # PAGE_SIZE / sizeof(struct mem_section) = 256
_ROOT_MASK = np.uint64(255)
_MEM_SECTION_SHIFT = np.uint64(4)  # log2 sizeof(struct mem_section)
SECTION_MAP_MASK = np.uint64(2**64 - 64)  # the low bits of section_mem_map are flags

# struct xa_node, include/linux/xarray.h, v6.12, in words: header, parent, array, list, slots
NODE_WORDS = np.uint64(73)  # SLUB's object of 584 bytes
SLOTS_AT = np.uint64(5)
FIRST_NODE = 64  # lower internal entries are siblings, as in the kernel, where nodes' are above 4096
_FIRST_NODE_ENTRY = np.uint64(FIRST_NODE << 2)

# struct maple_range_64, include/linux/maple_tree.h, v6.12, in words: parent, 15 pivots, 16 slots
_MAPLE_SLOTS_AT, _MAPLE_PIVOTS = np.uint64(16), np.uint64(15)
MAPLE_LEAF = np.uint64(4)  # in a node's entry, beside bit 1: assumed; the kernel has a type there

# An object with its link: struct dynamic_page and a struct rhash_head, in words
OBJECT_WORDS, OBJECT_PFN_AT, OBJECT_NEXT_AT = 11, np.uint64(9), np.uint64(10)
_M32 = np.uint64(0xFFFF_FFFF)
_32 = np.uint64(32)
JHASH_INITVAL = 0xDEADBEEF  # include/linux/jhash.h, v6.12

TWO_LEVEL_SHIFT = np.uint64(9)  # log2 of the words of a 4 KiB leaf
_LEAF_MASK = np.uint64(511)


# Steps that other loops are compared with

@_jit
def chase(keys, z, a):
    """Follow pointers from line to line, from ``keys[0]`` on, as many as there are keys."""
    r, total = keys[0], _0
    for _ in range(keys.size):
        r = a[r]
        total += r
    return total


@_jit
def flag_test(keys, z):
    """page->flags & PG_dynamic."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        r = _load(k) & DYNAMIC_FLAG
        total += r
    return total


@_jit
def proxy_test(keys, z):
    """A tagged pointer's proxy holds the answer, a plain one is it."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        if k & _1 != _0:
            r = _load(k + _PROXY_PFN_AT)
        else:
            r = k
        total += r
    return total


@_jit
def range_test(keys, z, base, size):
    """Whether a page lies inside vmemmap."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        r = k if k - base < size else _0
        total += r
    return total


# page_to_pfn and pfn_to_page of the designs

@_jit
def vmemmap_page_to_pfn(keys, z, base):
    """``page - vmemmap``."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        r = (k - base) >> _PAGE_SHIFT
        total += r
    return total


@_jit
def vmemmap_pfn_to_page(keys, z, base):
    """``vmemmap + pfn``."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        r = base + (k << _PAGE_SHIFT)
        total += r
    return total


@_jit
def sparsemem_page_to_pfn(keys, z, roots):
    """page->flags -> section number -> root -> section_mem_map."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        nr = _load(k) >> SECTIONS_PGSHIFT
        root = _load(roots + (nr >> SECTIONS_PER_ROOT_SHIFT << _3))
        mem_map = _load(root + ((nr & _ROOT_MASK) << _MEM_SECTION_SHIFT)) & SECTION_MAP_MASK
        r = (k - mem_map) >> _PAGE_SHIFT
        total += r
    return total


@_jit
def sparsemem_pfn_to_page(keys, z, roots):
    """pfn -> section number -> root -> section_mem_map + pfn."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        nr = k >> SECTION_PAGES_SHIFT
        root = _load(roots + (nr >> SECTIONS_PER_ROOT_SHIFT << _3))
        mem_map = _load(root + ((nr & _ROOT_MASK) << _MEM_SECTION_SHIFT)) & SECTION_MAP_MASK
        r = mem_map + (k << _PAGE_SHIFT)
        total += r
    return total


@_jit
def proxy_page_to_pfn(keys, z, base):
    """Bit 0: proxy->pfn; else arithmetic."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        if k & _1 != _0:
            r = _load(k + _PROXY_PFN_AT)
        else:
            r = (k - base) >> _PAGE_SHIFT
        total += r
    return total


@_jit
def flag_page_to_pfn(keys, z, base):
    """page->flags says dynamic: dynamic_page->pfn; else arithmetic."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        if _load(k) & DYNAMIC_FLAG != _0:
            r = _load(k + _PFN_AT)
        else:
            r = (k - base) >> _PAGE_SHIFT
        total += r
    return total


@_jit
def range_page_to_pfn(keys, z, base, size):
    """Outside vmemmap: dynamic_page->pfn; else arithmetic."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        at = k - base
        if at < size:
            r = at >> _PAGE_SHIFT
        else:
            r = _load(k + _PFN_AT)
        total += r
    return total


@_jit
def flag_pfn_to_page(keys, z, base, a, head):
    """The static page's flags say dynamic: the XArray's entry; else that page."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        r = base + (k << _PAGE_SHIFT)
        if _load(r) & DYNAMIC_FLAG != _0:
            e = head
            if e & _3 == _2:
                if k >> (a[(e >> _2) * NODE_WORDS] & _63) > _63:
                    e = _0
            elif k != _0:
                e = _0
            while e & _3 == _2:
                n = (e >> _2) * NODE_WORDS
                e = a[n + SLOTS_AT + (k >> (a[n] & _63) & _63)]
                if e & _3 == _2 and e < _FIRST_NODE_ENTRY:
                    e = a[n + SLOTS_AT + (e >> _2)]
            r = e
        total += r
    return total


@_jit
def range_pfn_to_page(keys, z, base, nr_static, a, head):
    """A pfn past those of the memmap: the XArray's entry; else arithmetic."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        if k < nr_static:
            r = base + (k << _PAGE_SHIFT)
        else:
            e = head
            if e & _3 == _2:
                if k >> (a[(e >> _2) * NODE_WORDS] & _63) > _63:
                    e = _0
            elif k != _0:
                e = _0
            while e & _3 == _2:
                n = (e >> _2) * NODE_WORDS
                e = a[n + SLOTS_AT + (k >> (a[n] & _63) & _63)]
                if e & _3 == _2 and e < _FIRST_NODE_ENTRY:
                    e = a[n + SLOTS_AT + (e >> _2)]
            r = e
        total += r
    return total


# The pfn maps

@_jit
def xarray(keys, z, a, head):
    """xa_load(): per level node->shift, then the slot; a sibling's slot leads to its entry's."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        e = head
        if e & _3 == _2:
            if k >> (a[(e >> _2) * NODE_WORDS] & _63) > _63:
                e = _0
        elif k != _0:
            e = _0
        while e & _3 == _2:
            n = (e >> _2) * NODE_WORDS
            e = a[n + SLOTS_AT + (k >> (a[n] & _63) & _63)]
            if e & _3 == _2 and e < _FIRST_NODE_ENTRY:
                e = a[n + SLOTS_AT + (e >> _2)]
        r = e
        total += r
    return total


@_jit
def xarray_lean(keys, z, a, head, root_shift):
    """The same, but the shift comes from the height, in a register: one load for each level."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        e, shift = head, root_shift
        if e & _3 == _2:
            if k >> shift > _63:
                e = _0
        elif k != _0:
            e = _0
        while e & _3 == _2:
            n = (e >> _2) * NODE_WORDS + SLOTS_AT
            e = a[n + (k >> (shift & _63) & _63)]
            if e & _3 == _2 and e < _FIRST_NODE_ENTRY:
                e = a[n + (e >> _2)]
            shift -= _6
        r = e
        total += r
    return total


@_jit
def maple(keys, z, a, root):
    """mtree_load(): per level the pivots in order, then the slot."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        e = root
        if e & _2 != _0:
            more = True
            while more:
                n = e >> _8 << _5
                more = e & MAPLE_LEAF == _0
                at = n + _1
                end = n + _MAPLE_SLOTS_AT
                while at < end and a[at] < k:
                    at += _1
                e = a[at + _MAPLE_PIVOTS]
        elif k != _0:
            e = _0
        r = e
        total += r
    return total


@_jit
def _jhash(k, seed):
    """jhash2() of two 32-bit words: Bob Jenkins' lookup3, as include/linux/jhash.h, v6.12, has it."""
    b = a = c = (np.uint64(JHASH_INITVAL + (2 << 2)) + seed) & _M32
    b = (b + (k >> _32)) & _M32
    a = (a + (k & _M32)) & _M32
    c = ((c ^ b) - (b << np.uint64(14) | b >> np.uint64(18))) & _M32
    a = ((a ^ c) - (c << np.uint64(11) | c >> np.uint64(21))) & _M32
    b = ((b ^ a) - (a << np.uint64(25) | a >> np.uint64(7))) & _M32
    c = ((c ^ b) - (b << np.uint64(16) | b >> np.uint64(16))) & _M32
    a = ((a ^ c) - (c << np.uint64(4) | c >> np.uint64(28))) & _M32
    b = ((b ^ a) - (a << np.uint64(14) | a >> np.uint64(18))) & _M32
    return ((c ^ b) - (b << np.uint64(24) | b >> np.uint64(8))) & _M32


@_jit
def rhashtable(keys, z, a, mask, seed):
    """rhashtable_lookup(): hash, bucket, then the objects of its chain until one has the key.

    A link is an object's first word times two; an odd one ends the chain, as the kernel's nulls marker does.
    """
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        r = _0
        p = a[_jhash(k, seed) & mask]
        while p & _1 == _0:
            n = p >> _1
            if a[n + OBJECT_PFN_AT] == k:
                r = p
                break
            p = a[n + OBJECT_NEXT_AT]
        total += r
    return total


@_jit
def two_level(keys, z, a, span):
    """The root's pointer, then the leaf's word."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        r = _0
        if k < span:
            leaf = a[k >> TWO_LEVEL_SHIFT]
            if leaf != _0:
                r = a[leaf + (k & _LEAF_MASK)]
        total += r
    return total


@_jit
def sorted_array(keys, z, a):
    """Halve until one pair is left: the last that is not past the key."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        low, nr = _0, np.uint64(a.size) >> _1
        while nr > _1:
            half = nr >> _1
            if a[(low + half) << _1] <= k:
                low += half
            nr -= half
        r = a[(low << _1) + _1] if a[low << _1] == k else _0
        total += r
    return total


@_jit
def flat(keys, z, a, span):
    """One load."""
    r = total = _0
    for i in range(keys.size):
        k = keys[i]
        if z is not None:
            k += r & z
        r = a[k] if k < span else _0
        total += r
    return total


# Filling, and counting what was filled

@_jit
def fill_xarray(a, first, last, order, root_shift):
    """Store entries in ascending order; the nodes made. The first node is the root."""
    top = np.uint64(FIRST_NODE)
    a[top * NODE_WORDS] = root_shift
    nodes, entry = top + _1, _8
    for extent in range(first.size):
        bits = np.uint64(order[extent])
        step, nr_slots = _1 << bits, _1 << bits % _6
        leaf_shift = bits - bits % _6
        index = first[extent]
        while True:
            n, shift = top * NODE_WORDS, root_shift
            while shift > leaf_shift:
                offset = index >> shift & _63
                e = a[n + SLOTS_AT + offset]
                shift -= _6
                if e == _0:
                    e = nodes << _2 | _2
                    a[n + SLOTS_AT + offset] = e
                    a[n] += np.uint64(1 << 16)  # node->count
                    a[nodes * NODE_WORDS] = shift | offset << _8
                    nodes += _1
                n = (e >> _2) * NODE_WORDS
            offset = index >> shift & _63
            a[n + SLOTS_AT + offset] = entry
            for sibling in range(_1, nr_slots):
                a[n + SLOTS_AT + offset + np.uint64(sibling)] = offset << _2 | _2
            a[n] += nr_slots << np.uint64(16)
            entry += _8
            if last[extent] - index < step:
                break
            index += step
    return nodes - top


@_jit
def xa_lines(a, header, seen):
    """Mark the lines that lookups of all entries touch: bit n of ``seen[line]`` for nodes of shift 6n."""
    n = np.uint64(FIRST_NODE) * NODE_WORDS
    while n < np.uint64(a.size):
        bit = np.uint16(_1 << (a[n] & _63) // _6)
        if header:
            seen[n >> _3] |= bit
        for slot in range(64):
            at = n + SLOTS_AT + np.uint64(slot)
            if a[at] != _0:
                seen[at >> _3] |= bit
        n += NODE_WORDS


@_jit
def fill_rhashtable(a, pfns, buckets, seed):
    """Objects in order of their number, each at its chain's start; the objects that all hits compare."""
    for bucket in range(buckets):
        a[bucket] = np.uint64(bucket) << _1 | _1
    for nth in range(pfns.size):
        at = buckets + np.uint64(nth) * np.uint64(OBJECT_WORDS)
        bucket = _jhash(pfns[nth], seed) & (buckets - _1)
        a[at + OBJECT_PFN_AT] = pfns[nth]
        a[at + OBJECT_NEXT_AT] = a[bucket]
        a[bucket] = at << _1
    compared = _0
    for bucket in range(buckets):
        p, depth = a[bucket], _0
        while p & _1 == _0:
            depth += _1
            compared += depth
            p = a[(p >> _1) + OBJECT_NEXT_AT]
    return compared


@_jit
def fill_chase(a, order):
    """One ring through all lines in this order: each line's first word is the next line's."""
    for i in range(order.size - 1):
        a[order[i] << _3] = order[i + 1] << _3
    a[order[order.size - 1] << _3] = order[0] << _3
