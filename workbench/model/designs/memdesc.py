"""D11 to D13: memdescs. A page is one to four words that point to a descriptor of what it belongs to.

The page shrinks to 8, 16 or 32 bytes; folios, slabs and page tables get descriptors from slabs of their
own, aligned to 16 bytes so that four bits of the word can tell the type. Free, reserved and unknown memory
needs no descriptor. So the bytes follow the folio orders of what is in memory: the page mix.

Sizes: the folio descriptor is the 80 bytes of the plan's newest stored form; slab and page-table descriptors
are taken as large as struct slab and struct ptdesc are today (64), since the plan does not say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

from workbench.model.designs.base import (
    Design,
    Footprint,
    Path,
    Setting,
    Step,
    descriptor_parts,
    static_parts,
)
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pagemix import FOLIO_TYPES, mix_for

#: As in kernelnewbies.org/MatthewWilcox/Memdescs/Path: 80 bytes; note its pfn and pincount.
FOLIO = (
    "struct folio_desc { unsigned long flags; struct list_head lru; void *mapping; unsigned long index; "
    "unsigned long private; atomic_t _refcount; atomic_t _mapcount; atomic_t pincount; u8 order; u8 pad[3]; "
    "unsigned long pfn; unsigned long memcg_data; };"
)
FOLIO_BYTES = 80
SLAB_DESC_BYTES = 64  # assumed: sizeof(struct slab) in all shipped builds (data/kernels)
PTDESC_BYTES = 64  # assumed: sizeof(struct ptdesc), include/linux/mm_types.h, v6.12
ALIGN = 16  # four tag bits


def folio_percent(page_bytes: int, order: int, kernel: KernelConfig, folio_bytes: int = FOLIO_BYTES) -> float:
    """Percent of memory for folios of one order: the page words, and one descriptor each.

    Examples
    --------
    >>> round(folio_percent(8, 0, KernelConfig()), 3), round(folio_percent(8, 9, KernelConfig()), 3)
    (2.148, 0.199)
    """
    return 100 * ((page_bytes << order) + folio_bytes) / (kernel.page_size << order)


def break_even_order(page_bytes: int, kernel: KernelConfig, folio_bytes: int = FOLIO_BYTES) -> int | None:
    """The lowest folio order from which it takes less than today's struct page; None if it never does.

    Examples
    --------
    >>> [break_even_order(size, KernelConfig()) for size in (32, 16, 8)]
    [2, 1, 1]
    """
    for order in range(kernel.max_folio_order + 1):
        if (page_bytes << order) + folio_bytes < kernel.sizeof_page << order:
            return order
    return None


class _Memdesc(Design):
    page_bytes: ClassVar[int]
    page: ClassVar[str]  # the page's C text
    uses_page_mix = True
    tag = "the low four bits of the page's memdesc word give the type"
    source = "kernelnewbies.org/MatthewWilcox/Memdescs and Memdescs/Path; a plan, not a patch"

    def structs(self, kernel: KernelConfig) -> dict[str, str]:
        return {"memdesc_page": self.page, "folio_desc": FOLIO}

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        word = Step("load", "page->memdesc", 1, "the page")
        return (
            Path("page_to_pfn", "static", (Step("arith", "page - vmemmap, in registers"),)),
            Path("pfn_to_page", "static", (Step("arith", "vmemmap + pfn, in registers"),)),
            Path("page_to_folio", "static", (word, Step("arith", "mask the type bits"))),
            Path("folio_to_pfn", "static", (Step("load", "folio->pfn", 1, "the descriptor, line 1"),)),
        )

    def footprint(self, setting: Setting) -> Footprint:
        machine = setting.machine
        kernel = machine.kernel
        small = replace(machine, kernel=replace(kernel, sizeof_page=self.page_bytes))
        parts, notes = static_parts(replace(setting, machine=small))
        mix, note = mix_for(machine, setting.mix)
        notes += [note] if note else []
        for label, size, nr in (
            ("folio", setting.folio_desc_bytes, mix.nr_folios(*FOLIO_TYPES)),
            ("slab", SLAB_DESC_BYTES, mix.nr_folios("slab")),
            ("page table", PTDESC_BYTES, mix.nr_folios("pgtable")),
        ):
            parts |= descriptor_parts(f"{label} descriptor", -(-size // ALIGN) * ALIGN, nr, kernel)
        if "hugetlb" in mix.folios:
            notes.append("a descriptor pointer in each tail page rules out HVO's shared tails")
        return Footprint(parts, exact=mix.measured and not note, notes=tuple(notes))

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        order = break_even_order(self.page_bytes, kernel)
        return {
            "order 0": f"{folio_percent(self.page_bytes, 0, kernel):.3f} % of order-0 memory, today "
                       f"{100 * kernel.sizeof_page / kernel.page_size:.3f} %",
            "break-even": f"folios of order {order} and up take less than today",
            "alignment": f"descriptors are aligned to {ALIGN} bytes: four tag bits",
            "allocation": "allocating a folio must allocate its descriptor, which can fail",
        }  # fmt: skip


class Memdesc32(_Memdesc):
    """The transition step: the flags word is kept."""

    name = "memdesc32"
    title = "memdesc, 32-byte page"
    summary = "32 bytes per page, with flags and refcount; a descriptor for each folio, slab and page table."
    order = 110
    page_bytes = 32
    page = (
        "struct memdesc_page { unsigned long flags; union { struct list_head buddy_list; struct { "
        "unsigned long memdesc; union { unsigned long private; atomic_t _mapcount; }; }; }; int _refcount; };"
    )


class Memdesc16(_Memdesc):
    """The buddy allocator's list lives in the page, so free memory needs no descriptor."""

    name = "memdesc16"
    title = "memdesc, 16-byte page"
    summary = "two words per page: a memdesc word, or the buddy list of a free page."
    order = 120
    page_bytes = 16
    page = (
        "struct memdesc_page { union { unsigned long memdesc; "
        "struct { unsigned long next; unsigned long prev; }; }; };"
    )


class Memdesc8(_Memdesc):
    """One word per page."""

    name = "memdesc8"
    title = "memdesc, 8-byte page"
    summary = "one word per page: type bits and a pointer to the descriptor."
    order = 130
    page_bytes = 8
    page = "struct memdesc_page { unsigned long memdesc; };"

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        return super().limits(kernel) | {"buddy": "the buddy allocator's lists need another place"}


def percent_by_order(kernel: KernelConfig, orders: Iterable[int] = range(11)) -> list[dict[str, Any]]:
    """Percent of memory by folio order, for today's struct page and the three memdesc pages.

    Returns
    -------
    list of dict
        design, order, folio_bytes (of memory), percent: all pages in folios of one order.

    Examples
    --------
    >>> [round(row["percent"], 3) for row in percent_by_order(KernelConfig(), [4])]
    [1.562, 0.903, 0.513, 0.317]
    """
    rows = []
    for order in orders:
        words = [("static", kernel.sizeof_page, 0)]
        words += [(cls.name, cls.page_bytes, FOLIO_BYTES) for cls in (Memdesc32, Memdesc16, Memdesc8)]
        rows += [
            {
                "design": name,
                "order": order,
                "folio_bytes": kernel.page_size << order,
                "percent": folio_percent(word, order, kernel, folio),
            }
            for name, word, folio in words
        ]
    return rows
