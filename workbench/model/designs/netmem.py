"""D15: netmem. Device memory that the network stack receives into is described by struct net_iov."""

from __future__ import annotations

from dataclasses import replace

from workbench.model.designs.base import VMEMMAP_PATHS, Design, Footprint, Path, Setting, Step, static_parts
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import most

NET_IOV_BYTES = 64  # sizeof(struct net_iov), include/net/netmem.h, v7.3
NETMEM_DESC_BYTES = 48  # sizeof(struct netmem_desc), the same


class Netmem(Design):
    """One net_iov for each page-sized chunk of device memory that is bound, and no struct page."""

    name = "netmem"
    title = "netmem"
    summary = "bit 0 of netmem_ref tells a net_iov from a struct page; 64 bytes for each bound chunk."
    tag = "bit 0 of netmem_ref, which is unsigned long __bitwise"
    source = "include/net/netmem.h, net/core/devmem.c, v7.3"
    order = 80

    def structs(self, kernel: KernelConfig) -> dict[str, str]:
        text = (
            "struct net_iov { struct { unsigned long _flags, pp_magic; void *pp; "
            "unsigned long _pp_mapping_pad, dma_addr; atomic_long_t pp_ref_count; } desc; "
            "unsigned int type; void *owner; };"
        )
        return {"net_iov": text}

    def paths(self, kernel: KernelConfig, map_loads: int = 0) -> tuple[Path, ...]:
        test = Step("branch", "netmem & NET_IOV, in a register")
        return (
            Path("page_to_pfn", "static", (test, *VMEMMAP_PATHS[0].steps)),
            Path("page_to_pfn", "net_iov", (test, Step("branch", "not defined: the trace helper returns 0"))),
            VMEMMAP_PATHS[1],
        )

    def footprint(self, setting: Setting) -> Footprint:
        parts, notes = static_parts(replace(setting, describe_device=False))
        if setting.describe_device:
            parts.pop("pmem memmap", None)
        bound = setting.population.nr_device_used if setting.describe_device else 0
        parts["net_iov"] = bound * NET_IOV_BYTES
        if not most(bound):
            notes.append("no device memory is bound, so there is no net_iov")
        return Footprint(parts, notes=tuple(notes))

    def limits(self, kernel: KernelConfig) -> dict[str, str]:
        return {"pfn": "page_to_pfn() of a net_iov is not defined", "scope": "networking only",
                "type safety": "sparse catches misuse: __bitwise"}  # fmt: skip
