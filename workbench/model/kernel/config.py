"""Constants that a kernel build fixes, and the presets that ship with the workbench.

Two kinds of preset:

* **builds** (``amd64_6.12.117-1``, ``microvm_6.18``, ...): struct sizes read from the BTF of a real kernel,
  in ``data/kernels/layouts_*.json``; what BTF does not hold comes from the architecture below.
* **architectures** (``x86-64``, ``arm64-16k``, ``s390``, ...): the defaults of mainline 7.3 (defconfig plus
  MEMCG), with the struct layouts of the nearest build where one ships.

What is left out: kernels built with CONFIG_BASE_SMALL (16-slot xa_nodes) and classic, non-vmemmap
sparsemem, except as explicit values of the fields below.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from workbench.model.errors import InputError
from workbench.model.files import data_dir

#: Bytes of the free pointer that SLUB puts behind an object whose cache has a constructor
#: (mm/slub.c calculate_sizes(), v6.12).
FREE_POINTER_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class KernelConfig:
    """Sizes that a kernel build fixes; the defaults are x86-64 with 4-level paging, v7.3.

    Vary one with ``dataclasses.replace(config, page_shift=16)``. Sizes are bytes, shifts are log2.
    """

    name: str = "x86-64"
    arch: str = "x86_64"  # as `uname -m` says it
    release: str = "7.3"  # the kernel whose source or BTF gave the numbers
    page_shift: int = 12
    pmd_shift: int = 21
    pud_shift: int = 30
    section_size_bits: int = 27  # arch/x86/include/asm/sparsemem.h, v7.3
    max_physmem_bits: int = 46  # the same; 52 with 5-level paging
    subsection_shift: int = 21  # include/linux/mmzone.h, v7.3
    pageblock_order: int = 9  # HUGETLB_PAGE_ORDER; include/linux/pageblock-flags.h, v7.3
    nr_pageblock_bits: int = 4  # NR_PAGEBLOCK_BITS; include/linux/pageblock-flags.h, v6.12
    sizeof_page: int = 64  # include/linux/mm_types.h, v7.3, with MEMCG
    sizeof_mem_section: int = 16  # include/linux/mmzone.h, v7.3; 32 with PAGE_EXTENSION
    sizeof_xa_node: int = 576  # include/linux/xarray.h, v7.3
    xa_chunk_shift: int = 6  # XA_CHUNK_SHIFT, include/linux/xarray.h, v7.3
    xa_node_has_ctor: bool = True  # radix_tree_node_cachep, lib/radix-tree.c, v7.3
    pgtable_levels: int = 4  # CONFIG_PGTABLE_LEVELS
    vmemmap_leaf: str = "pmd"  # what maps vmemmap: "pmd" or "pte"; vmemmap_populate(), arch/*/mm, v6.12
    max_page_order: int = 10  # MAX_PAGE_ORDER, include/linux/mmzone.h, v7.3
    max_folio_order: int = 22  # MAX_FOLIO_ORDER, include/linux/mm.h, v7.3
    nodes_shift: int = 6  # CONFIG_NODES_SHIFT, defconfig
    nr_page_flags: int = 22  # __NR_PAGEFLAGS, defconfig
    nr_cpus: int = 2  # CPUs online at boot; only SLUB's choice of slab order uses it
    vmemmap_start: int | None = 0xFFFFEA0000000000  # without KASLR; Documentation/arch/x86/x86_64/mm.rst
    hugetlb_vmemmap: bool = True  # ARCH_WANT_OPTIMIZE_HUGETLB_VMEMMAP, arch/x86/Kconfig, v7.3
    dax_vmemmap: bool = True  # ARCH_WANT_OPTIMIZE_DAX_VMEMMAP, arch/x86/Kconfig, v7.3
    ms_extensions: bool = True  # -fms-extensions: init/Kconfig, since 7.x; not in 6.12
    layouts: str | None = None  # stem of the file in data/kernels with the struct layouts
    source: str = "mainline 7.3.4 source, defconfig plus MEMCG"
    options: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("page_shift", 10, 24),
            ("section_size_bits", 20, 40),
            ("xa_chunk_shift", 1, 8),
            ("sizeof_page", 1, 4096),
        ):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"KernelConfig.{name} is {getattr(self, name)}; it must be {low}..{high}")
        if self.section_size_bits < self.page_shift:
            raise InputError(
                f"a section of 2^{self.section_size_bits} bytes is smaller than a page of 2^{self.page_shift}"
            )

    @property
    def page_size(self) -> int:
        """PAGE_SIZE, bytes."""
        return 1 << self.page_shift

    @property
    def pages_per_section(self) -> int:
        """PAGES_PER_SECTION, include/linux/mmzone.h."""
        return 1 << (self.section_size_bits - self.page_shift)

    @property
    def pfn_section_shift(self) -> int:
        """PFN_SECTION_SHIFT, include/linux/mmzone.h."""
        return self.section_size_bits - self.page_shift

    @property
    def nr_mem_sections(self) -> int:
        """NR_MEM_SECTIONS, include/linux/mmzone.h."""
        return 1 << (self.max_physmem_bits - self.section_size_bits)

    @property
    def subsections_per_section(self) -> int:
        """SUBSECTIONS_PER_SECTION, include/linux/mmzone.h."""
        return 1 << (self.section_size_bits - self.subsection_shift)

    @property
    def sections_per_root(self) -> int:
        """SECTIONS_PER_ROOT with SPARSEMEM_EXTREME, include/linux/mmzone.h."""
        return self.page_size // self.sizeof_mem_section

    @property
    def nr_section_roots(self) -> int:
        """NR_SECTION_ROOTS: pointers in the root array, include/linux/mmzone.h."""
        return -(-self.nr_mem_sections // self.sections_per_root)

    @property
    def section_root_array_bytes(self) -> int:
        """The root array itself: one pointer for each root."""
        return self.nr_section_roots * 8

    @property
    def memmap_pages_per_section(self) -> int:
        """Pages that one section's memmap counts: sparse_init_nid(), mm/sparse.c, v6.12."""
        return -(-self.pages_per_section * self.sizeof_page // self.page_size)

    @property
    def sizeof_mem_section_usage(self) -> int:
        """struct mem_section_usage: an rcu_head and the subsection bitmap, include/linux/mmzone.h, v6.12."""
        return 16 + 8 * -(-self.subsections_per_section // 64)

    @property
    def mem_section_usage_bytes(self) -> int:
        """mem_section_usage_size(): the struct and its pageblock bitmap, mm/sparse.c, v6.12."""
        blocks = max(1, self.pages_per_section >> self.pageblock_order)
        words = -(-blocks * self.nr_pageblock_bits // 64)
        return self.sizeof_mem_section_usage + 8 * words

    @property
    def table_bytes(self) -> int:
        """One page table: 2048 entries on s390, 512 on ppc64 radix with any page size, else a page.

        arch/s390/include/asm/pgtable.h, arch/powerpc/include/asm/book3s/64/radix-{4k,64k}.h, v6.12.
        """
        return {"s390x": 16384, "ppc64le": 4096}.get(self.arch, self.page_size)

    @property
    def vmemmap_table_spans(self) -> tuple[int, ...]:
        """log2 of the bytes that one page table maps, for each level below the top that maps vmemmap."""
        bits = self.table_bytes.bit_length() - 4  # 8-byte entries
        spans = [self.pud_shift + bits * level for level in range(self.pgtable_levels - 2)]
        return tuple(spans if self.vmemmap_leaf == "pmd" else [self.pmd_shift, *spans])

    @property
    def xa_node_object_bytes(self) -> int:
        """What SLUB stores per xa_node: with a constructor the free pointer lies outside."""
        return self.sizeof_xa_node + (FREE_POINTER_BYTES if self.xa_node_has_ctor else 0)

    @classmethod
    def preset(cls, name: str) -> KernelConfig:
        """A shipped configuration by its name, or by any unambiguous part of it.

        Examples
        --------
        >>> KernelConfig.preset("arm64-64k").pages_per_section
        8192
        >>> KernelConfig.preset("microvm").sizeof_mem_section
        16
        """
        known = presets()
        key = name.strip()
        if key in known:
            return known[key]
        found = re.compile(rf"{re.escape(key.lower())}(?![a-z0-9])")  # 6.1 is not 6.12
        hits = [k for k in known if key and key.lower() in k.lower()]
        for some in (
            hits,
            [k for k in hits if found.match(k.lower())],
            [k for k in hits if found.search(k.lower())],
        ):
            if len(some) == 1:
                return known[some[0]]
        what = f"fits {', '.join(hits)}" if hits else "is none of " + ", ".join(known)
        raise InputError(f"kernel preset {key!r} {what}; name one")

    @classmethod
    def for_machine(cls, arch: str, page_size: int, release: str | None = None) -> KernelConfig:
        """The constants for ``uname -m`` and a page size, as that release has them.

        s390 sections were 256 MiB until 6.12 and are 128 MiB in 7.3; the release decides.

        Examples
        --------
        >>> KernelConfig.for_machine("ppc64le", 65536).memmap_pages_per_section
        1
        >>> KernelConfig.for_machine("s390x", 4096, "6.12.95").section_size_bits
        28
        """
        family = ARCH_FAMILY.get(arch)
        if family is None:
            raise InputError(f"architecture {arch!r} is none of {', '.join(ARCH_FAMILY)}")
        for config in presets().values():
            if config.layouts != config.name and config.arch == family and config.page_size == page_size:
                break
        else:
            raise InputError(f"no constants for {arch} with a page size of {page_size} bytes")
        if family == "s390x" and kernel_version(release) < (7, 0):
            config = replace(config, section_size_bits=28)  # arch/s390/include/asm/sparsemem.h, v6.12
        return replace(config, release=release or config.release)


#: uname -m, and the names that distributions use for the same, to the arch of the presets below.
ARCH_FAMILY = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "ppc64le": "ppc64le",
    "ppc64el": "ppc64le",
    "powerpc64le": "ppc64le",
    "ppc64": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}


def kernel_version(release: str | None) -> tuple[int, int]:
    """``(major, minor)`` of a release string; (0, 0) where it does not say.

    Examples
    --------
    >>> kernel_version("6.12.95+deb12-amd64")
    (6, 12)
    """
    found = re.match(r"\s*(\d{1,9})\.(\d{1,9})(?!\d)", release or "")
    return (int(found[1]), int(found[2])) if found else (0, 0)


# Source of every number below: arch/*/include/asm/{sparsemem,page,pgtable}.h, arch/*/Kconfig and
# mm/Kconfig, v7.3, as collected in the table "Constants per architecture" (data/README.md).
_X86 = KernelConfig()
_ARM = replace(
    _X86,
    name="arm64-4k",
    arch="aarch64",
    max_physmem_bits=48,
    nodes_shift=4,
    nr_page_flags=24,
    vmemmap_start=0xFFFFFDFFC0000000,
    hugetlb_vmemmap=False,
    dax_vmemmap=False,
    layouts="arm64_6.1.176-1",
)
_PPC = replace(
    _X86,
    name="ppc64-64k",
    arch="ppc64le",
    page_shift=16,
    section_size_bits=24,
    max_physmem_bits=51,
    pageblock_order=5,
    max_page_order=8,
    max_folio_order=18,
    nodes_shift=8,
    nr_page_flags=21,
    vmemmap_start=0xC00C000000000000,
    hugetlb_vmemmap=False,
    layouts="ppc64el_6.1.176-1",
)
_ARCHITECTURES = (
    replace(_X86, layouts="amd64_6.12.117-1"),
    replace(
        _X86,
        name="x86-64-5level",
        max_physmem_bits=52,
        pgtable_levels=5,
        vmemmap_start=0xFFD4000000000000,
        layouts="amd64_6.12.117-1",
    ),
    _ARM,
    replace(
        _ARM,
        name="arm64-16k",
        page_shift=14,
        pmd_shift=25,
        pud_shift=36,
        pgtable_levels=3,
        vmemmap_leaf="pte",
        pageblock_order=11,
        max_page_order=11,
        max_folio_order=20,
        vmemmap_start=None,
    ),
    replace(
        _ARM,
        name="arm64-64k",
        page_shift=16,
        pmd_shift=29,
        pud_shift=42,
        section_size_bits=29,
        pgtable_levels=3,
        vmemmap_leaf="pte",
        max_physmem_bits=52,
        pageblock_order=13,
        max_page_order=13,
        max_folio_order=18,
        vmemmap_start=0xFFFFFC1FC0000000,
    ),
    replace(
        _PPC,
        name="ppc64-4k",
        page_shift=12,
        pageblock_order=9,
        max_page_order=12,
        max_folio_order=22,
        layouts=None,
    ),
    _PPC,
    replace(
        _X86,
        name="s390",
        arch="s390x",
        pmd_shift=20,
        pud_shift=31,
        pgtable_levels=3,
        pageblock_order=8,
        nodes_shift=1,
        nr_page_flags=23,
        vmemmap_start=None,
        hugetlb_vmemmap=False,
        dax_vmemmap=False,
    ),
    replace(
        _X86,
        name="riscv64",
        arch="riscv64",
        max_physmem_bits=56,
        pgtable_levels=5,
        nodes_shift=2,
        vmemmap_start=None,
    ),
)


@functools.cache
def presets() -> dict[str, KernelConfig]:
    """Every shipped configuration by name: architectures first, then builds."""
    found = {config.name: config for config in _ARCHITECTURES}
    for path in sorted((data_dir() / "kernels").glob("layouts_*.json")):
        config = _from_layouts(path)
        found[config.name] = config
    return found


@functools.cache
def load_layouts(stem: str) -> dict[str, Any]:
    """The content of ``data/kernels/layouts_STEM.json``: sizes, structs, enums, config."""
    path = data_dir() / "kernels" / f"layouts_{stem}.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"no struct layouts named {stem!r}", file=path) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not JSON: {error}", file=path) from None


def _from_layouts(path: Path) -> KernelConfig:
    """A build's constants: its architecture's, with what its BTF says put over them."""
    stem = path.stem.removeprefix("layouts_")
    known = load_layouts(stem)
    options, sizes = known["config"], known["structs"]
    arch = ARCH_FAMILY[known["arch"]]
    if "PPC_64K_PAGES" in options or "ARM64_64K_PAGES" in options:
        page_size = 65536
    else:
        page_size = 16384 if "ARM64_16K_PAGES" in options else 4096
    levels = int(options.get("PGTABLE_LEVELS", 4))
    base = next(c for c in _ARCHITECTURES if c.arch == arch and c.page_size == page_size)
    version = kernel_version(known["kernel"])
    over: dict[str, Any] = {
        "max_physmem_bits": 52 if arch == "x86_64" and levels == 5 else base.max_physmem_bits,
        "pgtable_levels": levels,
        "section_size_bits": 28 if arch == "s390x" and version < (7, 0) else base.section_size_bits,
        "hugetlb_vmemmap": "HUGETLB_PAGE_OPTIMIZE_VMEMMAP" in options,
        "ms_extensions": version >= (7, 0),
        "nodes_shift": int(options.get("NODES_SHIFT", base.nodes_shift)),
        "nr_page_flags": known["enums"].get("pageflags", {}).get("__NR_PAGEFLAGS", base.nr_page_flags),
    }
    if "ARCH_FORCE_MAX_ORDER" in options:  # until 6.3 it counted one more: MAX_ORDER was exclusive
        over["max_page_order"] = int(options["ARCH_FORCE_MAX_ORDER"]) - (version < (6, 4))
    for name in ("page", "mem_section", "xa_node"):
        over[f"sizeof_{name}"] = sizes[name]["size"]
    return replace(
        base,
        name=stem,
        release=known["kernel"],
        layouts=stem,
        options=options,
        source=known["source"],
        **over,
    )


def field_names() -> tuple[str, ...]:
    """The names of KernelConfig's fields, for callers that offer them as options."""
    return tuple(f.name for f in fields(KernelConfig))
