"""D7: dma_pinned_flags and dma_pinned_count over ``page->lru``: a pinned page leaves the LRU."""

from __future__ import annotations

from workbench.model.designs.base import VMEMMAP_PATHS, Design, Footprint, Path, Setting, Step, static_parts
from workbench.model.kernel.config import KernelConfig


class LruField(Design):
    """Fields that struct page has, taken while the page is pinned."""

    name = "lru_field"
    title = "LRU field"
    summary = "pin flags and count over page->lru; a pinned page has to be off the LRU."
    tag = "bits of the stolen first word of page->lru; bit 0 stays clear, it means PageTail"
    source = "John Hubbard, put_user_page() proposal, July 2018 (lkml.org/lkml/2018/7/9/158)"
    order = 45

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        return (
            *VMEMMAP_PATHS,
            Path("pin", "first pin", (
                Step("atomic", "lruvec->lru_lock", 1, "the lruvec"),
                Step("load", "page->lru neighbours, to isolate", 2, "two other pages"),
                Step("atomic", "dma_pinned_count = 1", 0, "struct page, line 0"))),
            Path("pin", "later pins", (Step("atomic", "dma_pinned_count add", 1, "struct page, line 0"),)),
        )  # fmt: skip

    def footprint(self, setting: Setting) -> Footprint:
        parts, notes = static_parts(setting)
        return Footprint(parts, notes=tuple(notes))

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        return {
            "LRU": "a pinned page cannot be on it: isolate and put back, each under lru_lock",
            "call sites": "all gup call sites must be converted before it can be switched on",
            "bit 0": "of page->lru means PageTail: the flags must keep it clear",
        }
