"""SLUB packing: how many pages the slab allocator takes for n objects.

Modelled: a cache's object stride and slab order, as mm/slub.c ``calculate_sizes()`` and
``calculate_order()`` choose them (v6.12; the same in v7.3), and n objects packed into full slabs. It
reproduces every row of the four slabinfo files and of the sys-slab listing under ``data/captures``.
Left out: cache merging, debugging options (slub_debug, KASAN), partial and per-CPU slabs, which
keep more slabs on a live machine than n objects need.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.model.errors import InputError
from workbench.model.kernel.config import FREE_POINTER_BYTES, KernelConfig

WORD_BYTES = 8  # sizeof(void *); mm/slub.c rounds every object up to it, v6.12
SLAB_MAX_ORDER = 3  # slub_max_order = PAGE_ALLOC_COSTLY_ORDER, mm/slub.c, v6.12
MAX_OBJS_PER_PAGE = 32767  # slab->objects is 15 bits; mm/slub.c, v6.12
MAX_PAGE_ORDER = 10  # include/linux/mmzone.h, v6.12


@dataclass(frozen=True, kw_only=True)
class SlabCache:
    """One kmem_cache: the arguments of kmem_cache_create() and what SLUB makes of them.

    Parameters
    ----------
    object_size : int
        sizeof the object, bytes.
    align : int
        Alignment asked for, a power of two; at least a word.
    ctor : bool
        The free pointer lies behind the object and adds a word: caches with a constructor or
        SLAB_TYPESAFE_BY_RCU, whose free objects must stay intact.
    hwcache_align : bool
        SLAB_HWCACHE_ALIGN: aligned to a cache line, or for small objects to a half, a quarter, ... of it.
    nr_cpus : int
        num_present_cpus() when the cache is made; nr_cpu_ids where that is 1. More CPUs, larger slabs.
    page_size, cache_line : int
        PAGE_SIZE and cache_line_size(), bytes.
    min_order : int
        slab_min_order= on the kernel's command line.

    Examples
    --------
    >>> node = SlabCache(object_size=576, ctor=True, nr_cpus=2)    # radix_tree_node
    >>> node.object_bytes, node.order, node.objects_per_slab
    (584, 1, 14)
    >>> node.slab_bytes(15), node.waste(15)
    (16384, 7744)
    """

    object_size: int
    align: int = WORD_BYTES
    ctor: bool = False
    hwcache_align: bool = False
    nr_cpus: int = 2
    page_size: int = 4096
    cache_line: int = 64
    min_order: int = 0

    def __post_init__(self) -> None:
        for name in ("object_size", "nr_cpus", "align", "page_size", "cache_line"):
            value = getattr(self, name)
            if value < 1 or (name not in ("object_size", "nr_cpus") and value.bit_count() != 1):
                raise InputError(f"{name} of a slab cache is {value}; counts and sizes are at least 1, and "
                                 f"alignments, pages and lines are powers of two")
        if not 0 <= self.min_order <= SLAB_MAX_ORDER:
            raise InputError(f"min_order of a slab cache is {self.min_order}, not 0..{SLAB_MAX_ORDER}")
        if self.object_bytes > self.page_size << MAX_PAGE_ORDER:
            raise InputError(f"an object of {self.object_bytes} bytes does not fit into 2^{MAX_PAGE_ORDER} "
                             f"pages of {self.page_size} bytes")

    @classmethod
    def of(cls, object_size: int, kernel: KernelConfig, *, align: int = WORD_BYTES, ctor: bool = False,
           hwcache_align: bool = False) -> SlabCache:
        """A cache in that kernel: its page size and CPUs."""
        return cls(object_size=object_size, align=align, ctor=ctor, hwcache_align=hwcache_align,
                   nr_cpus=kernel.nr_cpus, page_size=kernel.page_size)

    @classmethod
    def xa_node(cls, kernel: KernelConfig) -> SlabCache:
        """The radix_tree_node cache of that kernel."""
        return cls.of(kernel.sizeof_xa_node, kernel, ctor=kernel.xa_node_has_ctor)

    @functools.cached_property
    def object_bytes(self) -> int:
        """Stride of the objects, ``s->size``: calculate_sizes(), mm/slub.c, v6.12."""
        align = max(self.align, WORD_BYTES)
        if self.hwcache_align:  # calculate_alignment(), mm/slab_common.c, v6.12
            line = self.cache_line
            while self.object_size <= line // 2:
                line //= 2
            align = max(align, line)
        size = _round_up(self.object_size, WORD_BYTES) + (FREE_POINTER_BYTES if self.ctor else 0)
        return _round_up(size, align)

    @functools.cached_property
    def order(self) -> int:
        """log2 of the pages of one slab: calculate_order(), mm/slub.c, v6.12."""
        size = self.object_bytes
        min_objects = 4 * (self.nr_cpus.bit_length() + 1)
        min_objects = min(min_objects, max((self.page_size << SLAB_MAX_ORDER) // size, 1))
        min_order = max(self.min_order, self._get_order(min_objects * size))
        if (self.page_size << min_order) // size > MAX_OBJS_PER_PAGE:
            return self._get_order(size * MAX_OBJS_PER_PAGE) - 1
        for fraction in (16, 8, 4, 2):  # the share of a slab that may stay unused, relaxed step by step
            for order in range(min_order, SLAB_MAX_ORDER + 1):
                slab = self.page_size << order
                if slab % size <= slab // fraction:
                    return order
        return self._get_order(size)

    @property
    def objects_per_slab(self) -> int:
        """Objects in one slab."""
        return (self.page_size << self.order) // self.object_bytes

    def slab_bytes(self, nr_objects: Any) -> Any:
        """Bytes of the whole slabs that ``nr_objects`` objects (int, or array of int64) fill when packed."""
        return -(-nr_objects // self.objects_per_slab) * (self.page_size << self.order)

    def waste(self, nr_objects: int) -> int:
        """Bytes of those slabs that are no object: padding, free pointers, what is left over."""
        return self.slab_bytes(nr_objects) - nr_objects * self.object_size

    def _get_order(self, size: int) -> int:
        """get_order(): log2 of the pages that hold ``size`` bytes, include/asm-generic/getorder.h."""
        return (-(-size // self.page_size) - 1).bit_length()


def slab_bytes(object_size: Any, nr_objects: Any, kernel: KernelConfig) -> Any:
    """Bytes of the whole slabs for objects of a size; either may be an array of int64, then so is the answer.

    Examples
    --------
    >>> import numpy as np
    >>> slab_bytes(80, 52, KernelConfig()), slab_bytes(np.array([64, 80]), 52, KernelConfig()).tolist()
    (8192, [4096, 8192])
    """
    if isinstance(object_size, int):
        return SlabCache.of(object_size, kernel).slab_bytes(nr_objects)
    sizes, which = np.unique(object_size, return_inverse=True)
    caches = [SlabCache.of(size, kernel) for size in sizes.tolist()]
    per_slab = np.array([cache.objects_per_slab for cache in caches])[which]
    return -(-nr_objects // per_slab) * np.array([cache.slab_bytes(1) for cache in caches])[which]


def _round_up(size: int, align: int) -> int:
    return -(-size // align) * align
