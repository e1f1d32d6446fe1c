"""``workbench replay``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from workbench.cli._command import Answer, Command, call, names, positive, say, table
from workbench.model.errors import printable

_REPLAY_WORDS = {
    "not_pins_dropped": "events without FOLL_PIN, left out",
    "acquired_refs": "references taken",
    "released_refs": "references dropped",
    "outstanding_refs_end": "references held at the end",
    "negative": "references dropped but never taken",
    "folios_distinct": "distinct folios",
    "folio_transitions": "first pins and last unpins of a folio",
    "peak_live_folios": "most folios pinned at once",
    "peak_live_folios_event": "  at event",
    "peak_refs": "most references held at once",
    "peak_refs_event": "  at event",
    "live_folios_end": "folios pinned at the end",
    "peak_entries": "most entries of a pfn map at once",
    "longterm_pins": "pins with FOLL_LONGTERM",
    "gup_fast_pins": "pins by gup_fast",
}


class _Known:
    """Names that are looked up only when a help text is shown: it takes imports."""

    def __init__(self, names: Callable[[], Iterable[str]]):
        self._names = names

    def __str__(self) -> str:
        return ", ".join(self._names())


def _known_designs() -> Iterable[str]:
    from workbench.model import designs

    return designs.names(variants=True)


def _known_maps() -> Iterable[str]:
    from workbench.model import pfnmaps

    return pfnmaps.registry()


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("trace", metavar="TRACE.parquet", help="a pin trace, or the name of a shipped one")
    # "-1,-1" is a wrong value of --vmstat, not an option that nobody knows.
    sub._negative_number_matcher = re.compile(r"-[\d.,-]+$")
    for option, known, about in (
        ("--design", _known_designs, "default: foll_pin, proxy_bit, dynamic_page; known: %(names)s"),
        ("--map", _known_maps, "pfn maps beside the XArray; known: %(names)s"),
    ):
        action = sub.add_argument(option, nargs="+", action="extend", metavar="NAME")
        vars(action).update(names=_Known(known), help=about)
    sub.add_argument(
        "--vmstat",
        type=_two_counts,
        metavar="A,R",
        help="by how much nr_foll_pin_acquired and nr_foll_pin_released grew meanwhile",
    )
    sub.add_argument(
        "--granularity",
        choices=["folio", "page"],
        default="folio",
        help="a descriptor for each folio (default), or for each base page (an upper bound)",
    )
    sub.add_argument(
        "--machine",
        metavar="MACHINE",
        help="what it was recorded on: a capture, 'live', or a spec; pfns beyond it are noticed",
    )
    sub.add_argument("--kernel", metavar="PRESET", help="sizes and slabs (default: x86-64)")
    sub.add_argument("--nr-cpus", type=positive, default=2, metavar="N", help="SLUB's slab order goes by it")
    sub.add_argument("--proxy-bytes", type=positive, default=64, metavar="N", help="assumed: 64")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.evidence.pins.replay import DESIGNS, MAPS, replay
    from workbench.model import pfnmaps
    from workbench.model.kernel.config import KernelConfig
    from workbench.model.memory.machine import Machine
    from workbench.model.memory.pfns import PfnSet
    from workbench.model.units import duration

    kernel = KernelConfig.preset(args.kernel) if args.kernel else KernelConfig()
    end_pfn = Machine.load(args.machine).span if args.machine else None
    found = replay(
        args.trace,
        designs=names(args.design) or DESIGNS,
        maps=names(args.map) or MAPS,
        granularity=args.granularity,
        vmstat=args.vmstat,
        kernel=replace(kernel, nr_cpus=args.nr_cpus),
        end_pfn=end_pfn,
        proxy_bytes=args.proxy_bytes,
    )
    say(f"incomplete: {why}" for why in found.why)
    said = found.to_dict()
    settings = {
        "kernel": found.kernel.name,
        "nr_cpus": found.kernel.nr_cpus,
        "proxy_bytes": found.proxy_bytes,
        "granularity": found.granularity,
        "span": found.span,
        "gup_fast_known": found.meta.get("gup_fast_known", True),
    }
    facts = said | settings

    def text() -> str:
        words = dict(_REPLAY_WORDS)
        if not facts["gup_fast_known"]:
            words["gup_fast_pins"] += ", at most"
        counts = [
            (words.get(key, key.replace("_", " ")), value)
            for key, value in said.items()
            if isinstance(value, int) and not isinstance(value, bool) and key not in settings
        ]
        about = [
            f"kernel {found.kernel.name}, CPUs: {found.kernel.nr_cpus}, a descriptor for each "
            f"{found.granularity}, a proxy object of {found.proxy_bytes} bytes (assumed)"
        ]
        if end_pfn is not None and found.span == end_pfn:
            about.append(f"all pfns within {printable(args.machine)}")
        lives = [
            (what, " to ".join(duration(ns) for ns in facts["lifetime_ns"][key]))
            for key, what in (("median", "median"), ("p99", "99th percentile"))
            if facts["lifetime_ns"][key] and any(row.descriptor_bytes for row in found.designs)
        ]
        tables = [
            name
            for name in found.maps
            if pfnmaps.get(name).counts(PfnSet.empty(), found.kernel, span=found.span).bytes
        ]
        peaks = [
            (name, peak.peak_nodes, peak.peak_bytes, peak.alloc_total, peak.exact)
            for name, peak in found.maps.items()
        ]
        kept = [
            (
                row.design,
                row.map,
                *(
                    (row.peak_descriptors, row.peak_bytes, row.pins_met, row.percent_met, row.exact)
                    if row.map or row.descriptor_bytes
                    else (None,) * 5  # it keeps nothing for a pin
                ),
            )
            for row in found.designs
        ]
        complete = "complete" if found.complete else "incomplete, see the notes"
        of_what = "the machine" if found.span == end_pfn else "the trace"
        return "\n\n".join(
            [
                "\n".join(
                    [f"{printable(found.name)}: recorded {facts['seconds']:,.3f} s, {complete}", *about]
                ),
                table(("", "value"), counts),
                *([table(("lifetime of a descriptor", "in"), lives)] if lives else []),
                table(("pfn map", "peak nodes", "peak bytes", "nodes allocated", "exact"), peaks),
                table(
                    (
                        "design",
                        "map",
                        "peak descriptors",
                        "peak bytes",
                        "pins that meet one",
                        "% of pins",
                        "exact",
                    ),
                    kept,
                ),
                *(
                    [f"{', '.join(tables)}: sized for pfns 0 to {found.span - 1:#x}, the last of {of_what}"]
                    if tables and found.span
                    else []
                ),
            ]
        )

    return facts, text, 0 if found.complete else 1


def _two_counts(text: str) -> tuple[int, int]:
    first, _, second = text.partition(",")
    if not (first.strip().isdecimal() and second.strip().isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not A,R: two whole numbers of pages")
    return int(first), int(second)


def _python(args: argparse.Namespace) -> str:
    kernel = f"replace(KernelConfig.preset({args.kernel or 'x86-64'!r}), nr_cpus={args.nr_cpus})"
    run = call("replay", args.trace, designs=names(args.design) or None, maps=names(args.map) or None,
               granularity=args.granularity, vmstat=args.vmstat, proxy_bytes=args.proxy_bytes)
    end = f", end_pfn=Machine.load({args.machine!r}).span" if args.machine else ""
    return ("from dataclasses import replace\n\nfrom workbench import KernelConfig, Machine, replay\n\n"
            f"found = {run[:-1]}, kernel={kernel}{end})\nfound.to_dict()")


COMMAND = Command(
    wing="evidence",
    about="a pin trace through designs and pfn maps: descriptors, nodes and bytes at the peak",
    example="workbench replay data/traces/pins-fio.parquet --design dynamic_page --map two_level",
    arguments=_arguments,
    run=_run,
    python=_python,
)
