"""Which timed path a design's conversion takes: the names under which cost tables have it. Needs no Numba."""

from __future__ import annotations

from workbench.model.designs import Design
from workbench.model.kernel.config import KernelConfig

OPS = ("page_to_pfn", "pfn_to_page")
#: Conversions that are more than arithmetic. dynamic_page without a variant tests the flag; a net_iov is told
#: by bit 0, as a proxy is, but has no pfn.
TIMED = {
    **{(design, op): f"dynamic_page:{design.partition(':')[2] or 'flag'}/{op}"
       for design in ("dynamic_page", "dynamic_page:flag", "dynamic_page:range") for op in OPS},
    ("proxy_bit", "page_to_pfn"): "proxy_bit/page_to_pfn",
    ("proxy_bit:indexed", "page_to_pfn"): "proxy_bit/page_to_pfn",
    ("netmem", "page_to_pfn"): "proxy_bit/page_to_pfn",
}


def timed_path(design: Design, op: str, kernel: KernelConfig | None = None) -> str | None:
    """The path of a design's static or mixed conversion; None where it is not timed.

    A design whose ``op`` is arithmetic only is ``vmemmap/OP``. What finds a proxy from a pfn is the pfn map
    itself, so that ``proxy_bit:indexed`` has the lookup of its map beside this.

    Examples
    --------
    >>> from workbench import designs
    >>> timed_path(designs.get("foll_pin"), "pfn_to_page")
    'vmemmap/pfn_to_page'
    >>> timed_path(designs.get("dynamic_page"), "page_to_pfn")
    'dynamic_page:flag/page_to_pfn'
    """
    if (design.full_name, op) in TIMED:
        return TIMED[design.full_name, op]
    paths = design.paths(kernel or KernelConfig())
    steps = [step for path in paths if (path.op, path.case) == (op, "static") for step in path.steps]
    if steps and all(step.kind == "arith" for step in steps):
        return f"vmemmap/{op}"
    return None
