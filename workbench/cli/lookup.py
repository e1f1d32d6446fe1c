"""``workbench lookup``: ns of a lookup in a pfn map after some stores and erases, measured here."""

from __future__ import annotations

import argparse
from dataclasses import replace

from workbench.cli._command import Answer, Command, say, table
from workbench.model.errors import InputError


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("map", metavar="MAP", help="a pfn map, or xarray_lean: shift from the height")
    sub.add_argument("--ops", metavar="FILE", required=True, help="a JSON list of ops, or a .npy of pfns")
    sub.add_argument("--loop", choices=["dependent", "independent"], required=True,
                     help="latency: each key needs the result before it; or throughput")  # fmt: skip
    sub.add_argument("--order", choices=["random", "sequential"], default="random", help="of the keys")
    sub.add_argument("--hit", type=float, default=1.0, metavar="0..1", help="share of lookups that find one")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.evidence.lookups import _host as host
    from workbench.model.kernel.config import KernelConfig
    from workbench.model.pfnmaps import ops

    entries = ops.load_entries(args.ops, KernelConfig())
    if not entries.nr_entries:
        raise InputError("leaves no entries: there is nothing to look up", file=args.ops)
    from workbench.evidence.lookups import measure, subjects

    subject = subjects.of_entries(args.map, entries, order=args.order, hit=args.hit)
    (row,) = measure.measure([replace(subject, loops=(args.loop,))])
    found = {**row.to_dict(), "map": args.map, "machine": host.machine()}
    if row.unusable:
        say([f"not to be used: {row.unusable}; the machine does other work"])

    def text() -> str:
        facts = [(key.replace("_", " "), value) for key, value in found.items() if key != "levels"]
        return table(("", "value"), [(key, v if isinstance(v, int | float) else str(v)) for key, v in facts])

    return found, text, 0


def _python(args: argparse.Namespace) -> str:
    return ("from dataclasses import replace\n\nfrom workbench import KernelConfig, pfnmaps, studies\n\n"
            f"entries = pfnmaps.ops.load_entries({args.ops!r}, KernelConfig())\n"
            f"subject = studies.lookups.subjects.of_entries({args.map!r}, entries, order={args.order!r},"
            f" hit={args.hit})\n"
            f"(row,) = studies.lookups.measure.measure([replace(subject, loops=({args.loop!r},))])\n"
            "row.to_dict()")


COMMAND = Command(
    wing="evidence",
    about="ns of a lookup in a pfn map after some stores and erases, measured here",
    example="workbench lookup xarray --ops pfns.npy --loop dependent",
    arguments=_arguments,
    run=_run,
    python=_python,
)
