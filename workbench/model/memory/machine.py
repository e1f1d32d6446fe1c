"""Physical memory of a machine: RAM, holes, nodes, sections, persistent and device ranges.

A machine comes from a capture, from a spec string, or from the running system. Each capture has several
sources for the same facts, with different gaps; ``Machine.source`` says which one was used, and
``Machine.notes`` when it can be off. From best to worst: the kernel log's ``Early memory node ranges``
(memblock.memory, NOMAP ranges included), debugfs memblock, memory blocks where a block is one section,
/proc/iomem, larger memory blocks, zoneinfo.
"""

from __future__ import annotations

import functools
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from workbench.model.kernel.config import KernelConfig
from workbench.model.memory import memmap
from workbench.model.memory.regions import Memory, Texts


class Machine(Memory):
    """Physical memory, where it was read from, and what its memmap costs."""

    @classmethod
    def load(cls, what: str | os.PathLike[str], kernel: KernelConfig | None = None) -> Machine:
        """A machine from a capture (path or shipped name), a spec string, or ``"live"``.

        Examples
        --------
        >>> Machine.load("microvm-24g-6.18").memmap_pages
        98304
        >>> Machine.load("ram=1TiB,hole=3GiB-4GiB").memmap_pages == (1 << 40) // 4096 * 64 // 4096
        True
        """
        text = os.fspath(what)
        if text == "live":
            return cls.live(kernel)
        if "=" in text and not Path(text).exists():
            return cls.from_spec(text, kernel)
        from workbench.model.memory.capture import load_capture

        return replace(cls.from_capture(load_capture(text), kernel), capture=text)

    @classmethod
    def live(cls, kernel: KernelConfig | None = None) -> Machine:
        """This machine, now. Without root /proc/iomem is blank and memory blocks take its place."""
        from workbench.model.memory._reader import LiveTexts

        return cls.from_capture(LiveTexts(), kernel)

    @classmethod
    def from_spec(cls, spec: str, kernel: KernelConfig | None = None) -> Machine:
        """A made-up machine, such as ``ram=1TiB,nodes=2,hole=3GiB-4GiB,pmem=6TiB@2TiB``.

        ``ram=SIZE`` (the bytes of RAM, laid around the holes from address 0, or from ``base=ADDRESS``),
        ``nodes=N`` (RAM split evenly), ``hole=FROM-TO`` (may repeat), ``pmem=SIZE@ADDRESS`` and
        ``device=SIZE@ADDRESS`` (may repeat; neither has a memmap), ``kernel=PRESET``. Sizes take KiB, MiB,
        GiB, TiB or PiB.
        """
        from workbench.model.memory._spec import memory_from_spec

        return cls._of(memory_from_spec(spec, kernel))

    @classmethod
    def from_capture(cls, capture: Texts, kernel: KernelConfig | None = None) -> Machine:
        """The machine that a capture shows."""
        from workbench.model.memory._reader import CaptureReader

        return cls._of(CaptureReader(capture, kernel).memory())

    @classmethod
    def _of(cls, memory: Memory) -> Machine:
        return cls(**{field.name: getattr(memory, field.name) for field in fields(memory)})

    @functools.cached_property
    def memmap_terms(self) -> dict[str, int]:
        """The named terms, in pages, of ``memmap_pages``."""
        return memmap.counter_terms(self)

    @functools.cached_property
    def memmap_pages(self) -> int:
        """What nr_memmap_boot_pages + nr_memmap_pages of /proc/vmstat is."""
        return sum(self.memmap_terms.values())

    @property
    def memmap_bytes(self) -> int:
        """``memmap_pages`` in bytes: what the kernel counts, which on ppc64 is not what it allocates."""
        return self.memmap_pages << self.kernel.page_shift

    def to_dict(self) -> dict[str, Any]:
        """The keys that ``workbench machine --json`` prints."""
        backed, rule = memmap.backed_bytes(self)
        return {
            "name": self.name,
            "arch": self.kernel.arch,
            "release": self.kernel.release,
            "kernel": self.kernel.name,
            "page_size": self.kernel.page_size,
            "section_size": 1 << self.kernel.section_size_bits,
            "nr_pages_ram": self.nr_pages_ram,
            "nr_sections": self.nr_sections,
            "memmap_pages": self.memmap_pages,
            "memmap_bytes": self.memmap_bytes,
            "memmap_terms": self.memmap_terms,
            "memmap_backed_bytes": backed,
            "memmap_backed_rule": rule,
            "beside_memmap_bytes": memmap.beside_parts(self),
            "kernel_counter": {
                "nr_memmap_boot_pages": self.counter[0],
                "nr_memmap_pages": self.counter[1],
                "sum": sum(self.counter),
            }
            if self.counter
            else None,
            "max_pfn": self.max_pfn,
            "nodes": self.nodes,
            "regions": [
                {
                    "first_pfn": r.first_pfn,
                    "end_pfn": r.end_pfn,
                    "kind": r.kind,
                    "node": r.node,
                    "name": r.name,
                    "memmap": r.memmap,
                }
                for r in self.regions
            ],
            "source": self.source,
            "notes": list(self.notes),
        }
