"""The resizable hash table: buckets of one pointer, and a link in each object; a folio is one object.

Exact: the table holds a power of two of buckets and doubles above 75 % load, so only the number of entries
counts, not where they are. Chains are an expectation: hashes are taken as uniform.

``node_bytes`` is buckets and links. ``bytes`` has beside them struct rhashtable and what kvzalloc() makes of
the table: its header, and the rounding to a kmalloc size. A table is a power of two *and* a header, so while
it is physically contiguous (up to 4 MiB with 4 KiB pages) it takes nearly twice its buckets. Left out: the
object's own bytes, the old table while a rehash runs, the fall-back to nested tables or to vmalloc() where
memory is fragmented, and the early growth when a chain exceeds 16 objects (RHT_ELASTICITY), which uniform
hashes do not reach.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.model.kernel.config import KernelConfig, load_layouts
from workbench.model.memory.pfns import PfnSet, Scatter, bit_length
from workbench.model.pfnmaps.base import MapCounts, PfnMap, each_note
from workbench.model.pfnmaps.walks import MapWalk, Touch, entry_at, entry_ends

BUCKET_BYTES = 8  # struct rhash_lock_head *; include/linux/rhashtable.h, v6.12
HASH_DEFAULT_SIZE = 64  # buckets; lib/rhashtable.c, v6.12
HASH_MIN_SIZE = 4  # the same
# bytes; include/linux/rhashtable.h and rhashtable-types.h: v7.3 without lock debugging, v6.12 had 136, 64, 8
SIZES = {"rhashtable": 160, "bucket_table": 64, "rhash_head": 8}

HASH_RND = 0x9E3779B9  # assumed, for a walk: the kernel draws tbl->hash_rnd for each table
JHASH_INITVAL = 0xDEADBEEF  # include/linux/jhash.h, v6.12


def jhash2(pfns: NDArray[np.uint64], initval: int = HASH_RND) -> NDArray[np.uint32]:
    """jhash2() of each pfn as two 32-bit words, as rht_key_get_hash() calls it: include/linux/jhash.h, v6.12.

    Examples
    --------
    >>> [f"{value:#x}" for value in jhash2(np.array([0, 1 << 32], np.uint64), 0)]
    ['0x58c184bf', '0xbe213431']
    """
    start = np.uint32(JHASH_INITVAL + (2 << 2) + initval & 0xFFFFFFFF)
    a = (pfns & np.uint64(0xFFFFFFFF)).astype(np.uint32) + start
    b, c = (pfns >> np.uint64(32)).astype(np.uint32) + start, np.full(pfns.shape, start, np.uint32)

    def rol(x: NDArray[np.uint32], by: int) -> NDArray[np.uint32]:
        return (x << np.uint32(by)) | (x >> np.uint32(32 - by))

    c = (c ^ b) - rol(b, 14)  # __jhash_final()
    a = (a ^ c) - rol(c, 11)
    b = (b ^ a) - rol(a, 25)
    c = (c ^ b) - rol(b, 16)
    a = (a ^ c) - rol(c, 4)
    b = (b ^ a) - rol(a, 14)
    return (c ^ b) - rol(b, 24)


def entry_firsts(pfns: PfnSet) -> NDArray[np.uint64]:
    """The first pfn of each entry; memory goes by entries."""
    ends = entry_ends(pfns).astype(np.int64)
    sizes = np.diff(ends, prepend=0)
    order = pfns.order.astype(np.uint64)
    nth = np.arange(int(ends[-1]) if ends.size else 0) - np.repeat(ends - sizes, sizes)
    return np.repeat(pfns.first, sizes) + (nth.astype(np.uint64) << np.repeat(order, sizes))


def nr_buckets(nr_entries: Any, *, peak: int = 0, automatic_shrinking: bool = False,
               min_size: int = HASH_MIN_SIZE) -> Any:
    """Buckets, where the deferred worker keeps up: grow above 75 % load, shrink below 30 %.

    rht_grow_above_75() and rht_shrink_below_30(), include/linux/rhashtable.h, v6.12. A table shrinks as soon
    as it may, halved each time unless it never filled up.

    Parameters
    ----------
    nr_entries : int, or ndarray of int64
        Entries there are; an array only without shrinking.
    peak : int
        The most entries there have been, since when some were removed.
    automatic_shrinking : bool
        The parameter of that name; without it a table never shrinks.
    min_size : int
        The parameter of that name, a power of two.

    Examples
    --------
    >>> nr_buckets(48), nr_buckets(49), nr_buckets(100_000)
    (64, 128, 262144)
    >>> nr_buckets(1000, peak=100_000), nr_buckets(1000, peak=100_000, automatic_shrinking=True)
    (262144, 2048)
    """
    size = max(HASH_DEFAULT_SIZE, min_size)
    reached = max(nr_entries, peak) if isinstance(nr_entries, int) else np.maximum(nr_entries, peak)
    # It doubles until at most 75 % are used: the lowest power of two of such fillings.
    size = size << bit_length(-(-reached // (size // 4 * 3)) - (reached > 0) * 1)
    while automatic_shrinking and size > min_size:
        nelems = min(size * 3 // 10, peak) - 1  # what is left when a removal first sees that it may shrink
        smaller = max(_roundup_pow_of_two(nelems * 3 // 2), min_size)  # rhashtable_shrink()
        if nelems < nr_entries or smaller >= size:
            break
        size = smaller
    return size


def _roundup_pow_of_two(number: Any) -> Any:
    return (number > 0) * 1 << bit_length(number - (number > 0) * 1)


def kvmalloc_bytes(size: Any, kernel: KernelConfig) -> Any:
    """What kvmalloc() takes for ``size`` bytes when memory is not fragmented: mm/util.c, mm/slub.c, v6.12.

    A power of two, up to the buddy allocator's largest block; beyond that vmalloc()'s whole pages. Left out:
    kmalloc-96 and kmalloc-192, which only a shrunken table could use.

    Examples
    --------
    >>> x86 = KernelConfig()
    >>> kvmalloc_bytes(576, x86), kvmalloc_bytes(16448, x86), kvmalloc_bytes((4 << 20) + 64, x86)
    (1024, 32768, 4198400)
    """
    contiguous = _roundup_pow_of_two(size)
    fits = contiguous <= kernel.page_size << kernel.max_page_order
    return fits * contiguous + (1 - fits * 1) * (-(-size // kernel.page_size) * kernel.page_size)


def mean_chain(nr_entries: Any, buckets: Any) -> Any:
    """Objects that a hit compares on average, itself included; hashes are uniform.

    Examples
    --------
    >>> mean_chain(96, 128)    # load 75 %
    1.37109375
    """
    return 1 + (nr_entries - (nr_entries > 0) * 1) / (2 * buckets)


def longest_chain(nr_entries: Any, buckets: Any) -> Any:
    """The longest chain to expect: the greatest length that half a bucket or more reaches, by Poisson.

    Examples
    --------
    >>> longest_chain(96, 128), longest_chain(1_000_000, 1 << 21)
    (4, 7)
    """
    if not isinstance(nr_entries, int):
        return np.array(list(map(longest_chain, nr_entries.tolist(), buckets.tolist())), dtype=np.int64)
    if not nr_entries:
        return 0
    load = nr_entries / buckets
    chances = [math.exp(-load)]  # of exactly that length
    while chances[-1] * buckets > 1e-9:
        chances.append(chances[-1] * load / len(chances))
    length, reach = len(chances) - 1, 0.0  # the chance of more than that, summed from its small end
    while length > 1 and (reach + chances[length]) * buckets < 0.5:
        reach += chances[length]
        length -= 1
    return max(length, 1)


class RHashTable(PfnMap):
    """lib/rhashtable.c, keyed by pfn; a folio is one object.

    Parameters
    ----------
    peak, automatic_shrinking, min_size
        History and parameters of the table; see :func:`nr_buckets`.
    """

    name = "rhashtable"
    title = "rhashtable"
    summary = "Hash table with at most 75 % load; one pointer per bucket, one link in each object."
    source = "lib/rhashtable.c, v6.12"

    def __init__(self, peak: int = 0, *, automatic_shrinking: bool = False,
                 min_size: int = HASH_MIN_SIZE) -> None:
        self.peak, self.automatic_shrinking, self.min_size = peak, automatic_shrinking, min_size

    def of_entries(self, nr_entries: int, kernel: KernelConfig, *, span: int,
                   peak: int = 0) -> MapCounts:
        grown = RHashTable(max(peak, self.peak), automatic_shrinking=self.automatic_shrinking,
                           min_size=self.min_size)
        return grown._of(nr_entries, kernel)

    def counts(self, pfns: PfnSet, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """Exact.

        Examples
        --------
        >>> counts = RHashTable().counts(PfnSet.from_pfns(range(0, 10000, 10)), KernelConfig())
        >>> counts.node_bytes, counts.parts["buckets"]    # 2048 buckets and 1000 links
        (24384, 16384)
        """
        return self._of(pfns.nr_entries, kernel)

    def expected(self, scatter: Scatter, kernel: KernelConfig, *, span: int | None = None) -> MapCounts:
        """The same, exact too: placement plays no part."""
        return self._of(scatter.nr_entries, kernel)

    def walk(self, pfns: PfnSet, pfn: int, kernel: KernelConfig, *, span: int | None = None) -> MapWalk:
        """The bucket and who is in it for one :data:`HASH_RND`; not exact, for a kernel draws its own.

        The objects of a chain are taken as ascending insertion leaves them, the highest pfn first: a rehash
        would reorder them. A folio is found by its first pfn, as its key. Time goes by entries.

        Examples
        --------
        >>> table = PfnSet.from_pfns(range(0, 1000, 10))
        >>> walk = RHashTable().walk(table, 500, KernelConfig())
        >>> walk.found, walk.nr_loads >= 4
        (True, True)
        """
        entry, nr = entry_at(pfns, pfn), pfns.nr_entries
        key = entry[0] if entry else pfn
        buckets = nr_buckets(nr, peak=self.peak, automatic_shrinking=self.automatic_shrinking,
                             min_size=self.min_size)
        mask, firsts = np.uint32(buckets - 1), entry_firsts(pfns)
        bucket = int(jhash2(np.array([key], np.uint64))[0] & mask)
        chain = np.sort(firsts[(jhash2(firsts) & mask) == bucket])[::-1].tolist()
        header = sizes_of(kernel)["bucket_table"]
        touches = [Touch("struct rhashtable", "tbl", 0, "the table"),
                   Touch("struct bucket_table", "size, hash_rnd", 0, f"{buckets:,} buckets"),
                   Touch("struct bucket_table", f"buckets[{bucket:,}]", header + BUCKET_BYTES * bucket,
                         "an object" if chain else "the end", slot=bucket, nr_slots=buckets)]
        for place, other in enumerate(chain):
            hit = other == key
            last = place + 1 == len(chain)
            gives = "the entry" if hit else "another; the end" if last else "another; the next"
            touches.append(Touch(f"object of pfn {other:#x}", "key and rhash_head", 0, gives))
            if hit:
                break
        return MapWalk(self.name, pfn, tuple(touches), bool(entry), exact=False,
                       note=f"for hash_rnd {HASH_RND:#x}, assumed: each table draws its own; an object's key "
                            "and link count as one load and one line")

    def _of(self, nr: Any, kernel: KernelConfig) -> MapCounts:
        sizes = sizes_of(kernel)
        buckets = nr_buckets(nr, peak=self.peak, automatic_shrinking=self.automatic_shrinking,
                             min_size=self.min_size)
        table, links = buckets * BUCKET_BYTES, nr * sizes["rhash_head"]
        header = sizes["bucket_table"]
        parts = {"buckets": table, "rhash_heads": links, "bucket_table header": header,
                 "table rounding": kvmalloc_bytes(header + table, kernel) - header - table,
                 "struct rhashtable": sizes["rhashtable"]}
        return MapCounts(
            map=self.name, exact=True, nr_entries=nr, nr_nodes=0, nodes_per_shift={}, height=(nr > 0) * 1,
            node_bytes=table + links, slab_bytes=0, bytes=sum(parts.values()),
            # ht->tbl, tbl->size and hash_rnd, the bucket; then the objects: rhashtable_lookup(), v6.12
            dependent_loads=(nr > 0) * 3 + longest_chain(nr, buckets),
            note=each_note("loads are 3 and the longest chain to expect; on average 3 + {:.2f}",
                           mean_chain(nr, buckets)),
            parts=parts,
        )


def sizes_of(kernel: KernelConfig) -> Mapping[str, int]:
    """Bytes of the structs: of the build where its layouts ship, else of mainline."""
    shipped = load_layouts(kernel.layouts)["sizes"] if kernel.layouts else {}
    return {name: shipped.get(name, size) for name, size in SIZES.items()}
