"""``workbench pfnmap``: nodes and bytes of a pfn map after some stores and erases."""

from __future__ import annotations

import argparse
from dataclasses import replace

from workbench.cli._command import Answer, Command, positive, table


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("map", metavar="MAP", help="a pfn map, such as xarray")
    sub.add_argument("--ops", metavar="FILE", required=True, help="a JSON list of ops, or a .npy of pfns")
    sub.add_argument("--kernel", metavar="PRESET", help="a shipped kernel (default: x86-64)")
    sub.add_argument("--nr-cpus", metavar="N", type=positive, default=2, help="CPUs, for SLUB's slab order")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.model import pfnmaps
    from workbench.model.kernel.config import KernelConfig
    from workbench.model.pfnmaps import ops

    kernel = replace(KernelConfig.preset(args.kernel or "x86-64"), nr_cpus=args.nr_cpus)
    pfn_map = pfnmaps.get(args.map)
    found = ops.load_entries(args.ops, kernel).counts(pfn_map, kernel).to_dict()

    def text() -> str:
        levels = [(f"nodes at shift {shift}", nr) for shift, nr in found["nodes_per_shift"].items()]
        facts = [
            (key.replace("_", " "), found[key])
            for key in (
                "nr_entries",
                "nr_nodes",
                "height",
                "node_bytes",
                "slab_bytes",
                "bytes",
                "dependent_loads",
            )
        ]
        exact = "exact" if found["exact"] else f"not exact: {found['note']}"
        return f"{args.map}, {exact}\n\n" + table(("", "value"), [*facts, *levels])

    return found, text, 0


def _python(args: argparse.Namespace) -> str:
    return ("from dataclasses import replace\n\nfrom workbench import KernelConfig, pfnmaps\n\n"
            f"kernel = replace(KernelConfig.preset({args.kernel or 'x86-64'!r}), nr_cpus={args.nr_cpus})\n"
            f"entries = pfnmaps.ops.load_entries({args.ops!r}, kernel)\n"
            f"entries.counts(pfnmaps.get({args.map!r}), kernel).to_dict()")


COMMAND = Command(
    wing="model",
    about="nodes and bytes of a pfn map after some stores and erases",
    example="workbench pfnmap xarray --ops pfns.npy",
    arguments=_arguments,
    run=_run,
    python=_python,
)
