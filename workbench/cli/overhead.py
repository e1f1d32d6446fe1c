"""``workbench overhead``: bytes of each design on a machine, part by part."""

from __future__ import annotations

import argparse

from workbench.cli._command import Answer, Command, call, names, positive, say, table
from workbench.model.errors import printable


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("machine", metavar="MACHINE", help="a capture, 'live', or a spec")
    sub.add_argument("--design", nargs="+", action="extend", metavar="NAME", help="default: all of them")
    sub.add_argument("--pinned", default="0", metavar="N|PCT", help="pinned pages, or a share such as 0.1%%")
    sub.add_argument(
        "--population",
        metavar="CAPTURE",
        help="draw the pinned folios from this capture's own, with their orders and places",
    )
    sub.add_argument("--seed", type=int, default=1, help="of that draw")
    sub.add_argument("--map", default="xarray", metavar="MAP", help="the pfn map (default: xarray)")
    sub.add_argument(
        "--run-pages",
        type=positive,
        default=1,
        metavar="N",
        help="pinned pages come in aligned runs of N (default: 1, scattered)",
    )
    sub.add_argument("--folio-order", type=int, default=0, metavar="N", help="order of the pinned folios")
    sub.add_argument(
        "--describe-device", action="store_true", help="pmem and device memory need descriptors too"
    )
    sub.add_argument("--device-used", default="0", metavar="N|PCT", help="how much of that is in use")
    sub.add_argument(
        "--proxy-bytes", type=positive, default=64, metavar="N", help="size of a proxy object (assumed: 64)"
    )
    sub.add_argument("--kernel", metavar="PRESET", help="use this kernel's constants")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.model import designs
    from workbench.model.scenario import Scenario, evaluate, machine_of

    base = Scenario(
        machine=args.machine,
        kernel=args.kernel,
        pfn_map=args.map,
        nr_pinned=args.pinned,
        run_pages=args.run_pages,
        folio_order=args.folio_order,
        describe_device=args.describe_device,
        nr_device_used=args.device_used,
        proxy_bytes=args.proxy_bytes,
    )
    base = base.with_(machine=machine_of(base))
    if args.population:
        base = base.draw(args.population, args.seed)
    wanted = names(args.design) or designs.names()
    rows = [evaluate(base.with_(design=name)) for name in wanted]
    say(dict.fromkeys(f"{row.design}: {note}" for row in rows for note in row.notes))

    def text() -> str:
        lines = []
        for row in rows:
            lines.append((row.design, row.total_bytes, row.bytes_per_page, row.percent_of_ram, row.exact))
        parts = [(row.design, name, value) for row in rows for name, value in row.parts.items()]
        return "\n\n".join(
            [
                f"{printable(rows[0].machine.name)}: {rows[0].machine.nr_pages_ram:,} pages of RAM, "
                f"{rows[0].nr_pinned:,} pinned",
                table(("design", "bytes", "bytes per page", "% of RAM", "exact"), lines),
                table(("design", "part", "bytes"), parts),
            ]
        )

    return {"rows": [row.to_dict() for row in rows]}, text, 0


def _python(args: argparse.Namespace) -> str:
    wanted = names(args.design)
    base = call("Scenario", machine=args.machine, kernel=args.kernel, pfn_map=args.map, nr_pinned=args.pinned,
                run_pages=args.run_pages, folio_order=args.folio_order,
                describe_device=args.describe_device or None, nr_device_used=args.device_used,
                proxy_bytes=args.proxy_bytes)
    lines = ["from workbench import Scenario, compare, designs", "", f"base = {base}"]
    if args.population:
        lines.append(f"base = base.draw({args.population!r}, seed={args.seed})")
    chosen = repr(wanted) if wanted else "designs.names()"
    return "\n".join([*lines, f"compare(base.with_(design=name) for name in {chosen})"])


COMMAND = Command(
    wing="model",
    about="bytes of each design on a machine, part by part",
    example="workbench overhead ram=1TiB --design static dynamic_page --pinned 0.1%",
    arguments=_arguments,
    run=_run,
    python=_python,
)
