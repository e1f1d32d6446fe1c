"""How many bits of ``page->flags`` a configuration leaves: is there one for PG_dynamic?

The word holds the flags proper at its low end, and fields packed from the top. include/linux/page-flags-
layout.h (v7.3) decides in this order: section, node and zone are always in; a KASAN tag; last_cpupid moves
out into a field of struct page of its own where it does not fit; LRU generation and references take what
they need of the rest. What is left over is free, but contested: alloc tags and MGLRU tiers want it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig

_LAST_PID_SHIFT = 8  # LAST__PID_SHIFT, include/linux/page-flags-layout.h, v7.3
_LRU_GEN_WIDTH = 3  # order_base_2(MAX_NR_GENS + 1), MAX_NR_GENS 4; kernel/bounds.c, v7.3
_LRU_REFS_WIDTH = 2  # MAX_NR_TIERS - 2; the same
KASAN_TAG_BITS = {"": 0, "sw_tags": 8, "hw_tags": 4}  # the same


@dataclass(frozen=True, kw_only=True)
class FlagBudget:
    """What is packed into ``page->flags``; the defaults are x86-64 defconfig with NUMA_BALANCING and LRU_GEN.

    Examples
    --------
    >>> FlagBudget().free_bits
    15
    >>> distro = FlagBudget(nr_page_flags=25, nodes_shift=10, nr_cpus=8192)
    >>> distro.free_bits, distro.last_cpupid_evicted
    (1, False)
    """

    nr_page_flags: int = 22  # __NR_PAGEFLAGS
    nr_zones: int = 4  # MAX_NR_ZONES
    nodes_shift: int = 6  # CONFIG_NODES_SHIFT
    nr_cpus: int = 64  # CONFIG_NR_CPUS
    section_bits: int = 0  # MAX_PHYSMEM_BITS - SECTION_SIZE_BITS without vmemmap, else 0
    numa_balancing: bool = True
    lru_gen: bool = True
    kasan: str = ""  # "", "sw_tags" or "hw_tags"
    word_bits: int = 64

    def __post_init__(self) -> None:
        if self.kasan not in KASAN_TAG_BITS:
            raise InputError(f"kasan {self.kasan!r} is none of '', 'sw_tags', 'hw_tags'")
        if min(self.nr_page_flags, self.nodes_shift, self.section_bits) < 0 or self.nr_cpus < 1:
            raise InputError("a number of bits or CPUs is negative")
        fixed = self.nr_page_flags + self.section_bits + self.nodes_shift + self.zone_bits
        if fixed + self.lru_gen * _LRU_GEN_WIDTH > self.word_bits:
            raise InputError(
                f"flags, section, node, zone and LRU generation need more than {self.word_bits} bits: "
                "the kernel does not build (#error in page-flags-layout.h)"
            )

    @classmethod
    def of(cls, kernel: KernelConfig, **over: Any) -> FlagBudget:
        """The budget of a preset: from its build's configuration where it has one, else its defconfig."""
        options = kernel.options
        found: dict[str, Any] = {"nr_page_flags": kernel.nr_page_flags, "nodes_shift": kernel.nodes_shift}
        if options:
            zones = 2 + sum(f"ZONE_{z}" in options for z in ("DMA", "DMA32", "DEVICE"))
            found |= {
                "nr_cpus": int(options.get("NR_CPUS", 1)),
                "lru_gen": "LRU_GEN" in options,
                "numa_balancing": "NUMA_BALANCING" in options,
                "nr_zones": zones,
            }
            if "SPARSEMEM_VMEMMAP" not in options:
                found["section_bits"] = kernel.max_physmem_bits - kernel.section_size_bits
        else:
            found |= _DEFCONFIG.get(kernel.arch, {})
        return cls(**(found | over))

    @property
    def zone_bits(self) -> int:
        """ZONES_WIDTH: 0, 1, 2 or 3 bits for up to 1, 2, 4 or 8 zones."""
        return (self.nr_zones - 1).bit_length()

    @property
    def last_cpupid_bits_wanted(self) -> int:
        """LAST_CPUPID_SHIFT: a pid's low bits and the CPU."""
        return _LAST_PID_SHIFT + (self.nr_cpus - 1).bit_length() if self.numa_balancing else 0

    @property
    def last_cpupid_evicted(self) -> bool:
        """last_cpupid does not fit: struct page grows by a field, LAST_CPUPID_NOT_IN_PAGE_FLAGS."""
        used = sum(bits for name, bits in self._fixed.items())
        return used + self.last_cpupid_bits_wanted > self.word_bits

    @property
    def _fixed(self) -> dict[str, int]:
        return {
            "flags": self.nr_page_flags,
            "section": self.section_bits,
            "node": self.nodes_shift,
            "zone": self.zone_bits,
            "kasan tag": KASAN_TAG_BITS[self.kasan],
            "lru gen": _LRU_GEN_WIDTH if self.lru_gen else 0,
        }

    @property
    def fields(self) -> dict[str, int]:
        """Bits of each field, in the order in which they are decided."""
        found = dict(self._fixed)
        found["last cpupid"] = 0 if self.last_cpupid_evicted else self.last_cpupid_bits_wanted
        left = self.word_bits - sum(found.values())
        found["lru refs"] = min(_LRU_REFS_WIDTH, max(left, 0)) if self.lru_gen else 0
        return found

    @property
    def used_bits(self) -> int:
        """Bits in use."""
        return sum(self.fields.values())

    @property
    def free_bits(self) -> int:
        """Bits left: one of them could be PG_dynamic."""
        return self.word_bits - self.used_bits


#: What defconfig plus MEMCG of mainline 7.3 sets, compiled: NR_CPUS, NUMA_BALANCING, LRU_GEN, zones.
_DEFCONFIG: dict[str, dict[str, Any]] = {
    "x86_64": {"nr_cpus": 64, "nr_zones": 4, "lru_gen": True},
    "aarch64": {"nr_cpus": 512, "nr_zones": 4, "lru_gen": False},
    "ppc64le": {"nr_cpus": 2048, "nr_zones": 3, "lru_gen": False},
    "s390x": {"nr_cpus": 512, "nr_zones": 3, "lru_gen": False},
    "riscv64": {"nr_cpus": 64, "nr_zones": 4, "lru_gen": False},
}


def budget_rows(budgets: Mapping[str, FlagBudget]) -> list[dict[str, Any]]:
    """One row for each field of each named configuration: config, field, bits; the last field is ``free``."""
    return [
        {"config": name, "field": field, "bits": bits}
        for name, budget in budgets.items()
        for field, bits in {**budget.fields, "free": budget.free_bits}.items()
    ]
