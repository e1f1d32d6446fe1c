"""``workbench machine``: a machine's RAM, sections and memmap."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.cli._command import Answer, Command, say, table
from workbench.model.errors import printable

if TYPE_CHECKING:
    from workbench.model.memory.regions import Region


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "machine",
        metavar="CAPTURE_OR_SPEC",
        help="a capture, 'live', or a spec such as ram=1TiB,nodes=2,hole=3GiB-4GiB",
    )
    sub.add_argument("--kernel", metavar="PRESET", help="use this kernel's constants")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.model.kernel.config import KernelConfig
    from workbench.model.memory.machine import Machine

    machine = Machine.load(args.machine, KernelConfig.preset(args.kernel) if args.kernel else None)
    found = machine.to_dict()
    say(machine.notes)

    def text() -> str:
        counter = found["kernel_counter"]
        facts = [
            ("pages of RAM", found["nr_pages_ram"]),
            ("page size, bytes", found["page_size"]),
            ("sections", found["nr_sections"]),
            ("section size, bytes", found["section_size"]),
            ("memmap, pages", found["memmap_pages"]),
            ("  the kernel's own count", counter["sum"] if counter else None),
            ("memmap, bytes counted", found["memmap_bytes"]),
            ("memmap, bytes backed", found["memmap_backed_bytes"]),
            ("max_pfn", found["max_pfn"]),
            *((f"{name}, bytes", value) for name, value in found["beside_memmap_bytes"].items()),
        ]
        ranges = [
            (f"{run[0].first_pfn:#x}", f"{run[-1].end_pfn:#x}", sum(r.nr_pages for r in run), run[0].kind,
             str(run[0].node), run[0].name)
            for run in _adjoining(machine.regions)
        ]  # fmt: skip
        nodes = [
            (n["node"], n["nr_pages"], f"{n['first_pfn']:#x}", f"{n['end_pfn']:#x}") for n in found["nodes"]
        ]
        return "\n\n".join(
            [
                printable(
                    f"{found['name']}: {found['arch']}, Linux {found['release']} "
                    f"(constants: {found['kernel']})"
                )
                + f"\nfrom {printable(found['source'])}",
                table(("", "value"), facts),
                table(("first pfn", "end pfn", "pages", "kind", "node", "name"), ranges),
                *([table(("node", "pages of RAM", "first pfn", "end pfn"), nodes)] if nodes else []),
            ]
        )

    return found, text, 0


def _adjoining(regions: Sequence[Region]) -> list[list[Region]]:
    """Regions of one kind, node and name that follow one another, such as memory blocks, are one row."""
    runs: list[list[Region]] = []
    for region in regions:
        last = runs[-1][-1] if runs else None
        if last and (last.end_pfn, last.kind, last.node, last.name) == (
            region.first_pfn, region.kind, region.node, region.name
        ):  # fmt: skip
            runs[-1].append(region)
        else:
            runs.append([region])
    return runs


def _python(args: argparse.Namespace) -> str:
    kernel = f", KernelConfig.preset({args.kernel!r})" if args.kernel else ""
    return ("from workbench import KernelConfig, Machine\n\n"
            f"found = Machine.load({args.machine!r}{kernel})\nfound.to_dict()")


COMMAND = Command(
    wing="model",
    about="a machine's RAM, sections and memmap",
    example="workbench machine data/captures/h100-128g-6.18",
    arguments=_arguments,
    run=_run,
    python=_python,
)
