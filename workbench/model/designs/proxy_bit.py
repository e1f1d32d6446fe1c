"""D5: a proxy object behind bit 0 of the ``struct page *`` that gup hands out.

The proxy's size was never stated; 64 bytes is assumed, as struct net_iov, the same idea in mainline
(include/net/netmem.h, v7.3). From pfn to proxy there is no way back unless an index is kept; the variant
``indexed`` keeps one in a pfn map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from workbench.model.designs.base import (
    VMEMMAP_PATHS,
    Design,
    Footprint,
    Path,
    Setting,
    Step,
    descriptor_parts,
    map_counts,
    map_parts,
    nr_entries,
    static_parts,
)
from workbench.model.kernel.config import KernelConfig
from workbench.model.pfnmaps.base import each_note

#: Assumed: sizeof(struct net_iov), include/net/netmem.h, v7.3. The scenario field proxy_bytes varies it.
PROXY_BYTES = 64


class ProxyBit(Design):
    """Every pinned folio gets a proxy; page_to_pfn tests bit 0 of the pointer, in a register."""

    name = "proxy_bit"
    title = "proxy, bit 0"
    summary = "gup hands out a pointer with bit 0 set to a proxy object that holds the pfn and a pin count."
    tag = "bit 0 of the struct page pointer"
    source = "the put_user_page() thread, December 2018; precedent struct net_iov, include/net/netmem.h, v7.3"
    order = 30
    variants: ClassVar[Mapping[str, str]] = {"indexed": "a pfn map finds the proxy from the pfn"}

    @property
    def uses_pfn_map(self) -> bool:  # type: ignore[override]
        return self.variant == "indexed"

    def structs(self, kernel: KernelConfig) -> dict[str, str]:
        return {
            "page_proxy": "struct page_proxy { struct page *page; unsigned long pfn; atomic_t pins; "
            "unsigned int nr; unsigned long pad[5]; };"
        }

    def descriptor_bytes(self, kernel: KernelConfig, proxy_bytes: int) -> int:
        return proxy_bytes

    def map_lookups(self, pins: int, met: int, unpins: int) -> int:
        return pins if self.uses_pfn_map else 0  # nothing in the static page says whether to look

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        test = Step("branch", "page & 1, in a register")
        found = [
            Path("page_to_pfn", "static", (test, *VMEMMAP_PATHS[0].steps)),
            Path("page_to_pfn", "dynamic", (test, Step("load", "proxy->pfn", 1, "the proxy"))),
            VMEMMAP_PATHS[1],
        ]
        if self.variant == "indexed":
            found.append(
                Path(
                    "pfn_to_page",
                    "dynamic",
                    (Step("walk", "the pfn map, from pfn to proxy", map_loads, "the map's nodes"),),
                )
            )
        return tuple(found)

    def footprint(self, setting: Setting) -> Footprint:
        parts, notes = static_parts(setting)
        parts |= descriptor_parts("proxy", setting.proxy_bytes, nr_entries(setting), setting.kernel)
        notes.append(
            each_note("a proxy of {} bytes is assumed: its size was never stated", setting.proxy_bytes)
        )
        exact = True
        if self.variant == "indexed":
            counts = map_counts(setting)
            parts |= map_parts(counts)
            notes += [counts.note] if counts.note else []
            exact = counts.exact
        return Footprint(parts, exact=exact, notes=tuple(notes))

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        return {
            "vmemmap arithmetic": "page - vmemmap on a tagged pointer gives a wrong pfn, silently",
            "scatterlist": "sg_assign_page() traps: BUG_ON(page & 3), include/linux/scatterlist.h",
            "XArray": "a pointer with bit 0 set is a value entry",
            "comparing": "two proxies of one page compare unequal",
            "allocation": "gup_fast runs with interrupts off and cannot allocate: it needs a pool",
        }
