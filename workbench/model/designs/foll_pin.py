"""D8: FOLL_PIN, what mainline does since 5.7: pins counted in fields that struct page already has."""

from __future__ import annotations

from workbench.model.designs.base import VMEMMAP_PATHS, Design, Footprint, Path, Setting, Step, static_parts
from workbench.model.kernel.config import KernelConfig

#: include/linux/mm.h, v5.7 to v7.3.
GUP_PIN_COUNTING_BIAS = 1024


class FollPin(Design):
    """A pin adds 1024 to a small folio's _refcount, or 1 to a large folio's _pincount."""

    name = "foll_pin"
    title = "FOLL_PIN"
    summary = "a pin adds 1024 to _refcount of a small folio, or counts in _pincount of a large one."
    tag = "none: a count of 1024 or more means maybe pinned"
    source = "include/linux/mm.h, mm/gup.c, v5.7 (3faa52c03f44, 47e29d32afba) to v7.3"
    order = 50

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        refcount = Step("atomic", "folio_ref_add_unless_zero(1)", 1, "struct page, line 0")
        return (
            *VMEMMAP_PATHS,
            Path(
                "like a pin on a small folio",
                "small folio",
                (refcount, Step("atomic", "folio_ref_add(1023), full barrier", 0, "struct page, line 0")),
            ),
            Path(
                "like a pin on a small folio",
                "large folio",
                (refcount, Step("atomic", "_pincount add, full barrier", 0, "first tail page")),
            ),
        )

    def footprint(self, setting: Setting) -> Footprint:
        parts, notes = static_parts(setting)
        return Footprint(parts, notes=tuple(notes))

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        most = ((1 << 31) - 1) // GUP_PIN_COUNTING_BIAS  # _refcount is a signed 32-bit atomic_t
        return {
            "pins per small page": f"{most:,}",
            "false positives": f"{GUP_PIN_COUNTING_BIAS} or more ordinary references look "
            "like a pin on a small folio",
            "type safety": "none: struct page * before and after",
        }
