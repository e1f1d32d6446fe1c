"""``workbench live``."""

from __future__ import annotations

import argparse

from workbench.cli._command import Answer, Command, call, positive, say, table
from workbench.model.errors import printable


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("map", choices=["xarray", "maple"])
    sub.add_argument(
        "--entries", type=positive, metavar="N", help="default: 100000, or 50000 VMAs of a maple tree"
    )
    sub.add_argument(
        "--bits", type=positive, default=28, metavar="B", help="at random among 2^B pages (default: 28)"
    )
    sub.add_argument("--dense", action="store_true", help="the first N pages instead")
    sub.add_argument("--seed", type=int, default=1, help="of the choice of pages and the order of lookups")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.evidence.lookups import live

    measure = live.live_xarray if args.map == "xarray" else live.live_maple
    given = {"nr_entries": args.entries, "bits": args.bits}
    found = measure(
        **{name: value for name, value in given.items() if value is not None},
        seed=args.seed,
        dense=args.dense,
        progress=lambda note: say([note]),
    )

    def text() -> str:
        keys = ("nr_entries", "predicted_nodes", "measured_nodes", "noise_nodes", "ns_lookup", "ns_baseline")
        facts = [(key.replace("_", " "), found[key]) for key in (*keys, "ns_one_node", "ns_walk")]
        reasons = dict.fromkeys(found[key] for key in ("reason", "ns_reason") if found[key])
        spread = [(name, *of.values()) for name, of in (found["spread"] or {}).items()]
        return "\n\n".join(
            [
                f"{found['map']} in the running kernel: Linux {found['kernel']}, {found['cpu']}\n"
                f"a lookup is {found['lookup_is']}",
                table(("", "value"), facts),
                *([table(("ns", "min", "median", "max"), spread)] if spread else []),
                *(f"not measured: {printable(why)}" for why in reasons),
                *(["predicted and measured nodes differ by more than 1 % and the noise"] if failed else []),
            ]
        )

    failed = found["agrees"] is False
    return found, text, 1 if failed else 0


def _python(args: argparse.Namespace) -> str:
    run = call(f"studies.lookups.live.live_{args.map}", nr_entries=args.entries,
               bits=args.bits, seed=args.seed, dense=args.dense)
    return f"from workbench import studies\n\n{run}"


COMMAND = Command(
    wing="evidence",
    about="nodes of a map in the running kernel against the prediction (as root), and its lookup time",
    example="workbench live xarray --entries 100000 --bits 28",
    arguments=_arguments,
    run=_run,
    python=_python,
)
