"""``workbench trace``."""

from __future__ import annotations

import argparse
import os

from workbench.cli._command import Answer, Command, call, say, table
from workbench.model.errors import printable

#: What the keys of an import and of a replay are called in the text.
_IMPORT_WORDS = {
    "format": "read as",
    "events": "events",
    "pins": "  pins",
    "unpins": "  unpins",
    "not_pins": "  without FOLL_PIN",
    "other_events": "events of other probes, left out",
    "lost": "events lost",
    "unparsed": "lines that could not be read",
    "acquired_refs": "references taken",
    "released_refs": "references dropped",
    "outstanding": "held at the end",
    "negative": "dropped but never taken",
    "missed": "probe hits missed",
    "overrun": "events that the ring dropped",
    "vmstat_acquired": "vmstat's references taken",
    "vmstat_released": "vmstat's references dropped",
}


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("what", choices=["import"])
    sub.add_argument("text", metavar="TEXT", help="trace text, plain, .gz or .zst; or a folder that "
                     "record.sh made; - reads standard input")
    sub.add_argument("-o", dest="out", metavar="OUT.parquet", required=True)
    sub.add_argument("--vmemmap-base", metavar="HEX", help="default: the trace's own, else inferred")
    sub.add_argument("--kernel", metavar="REL", help="the release that recorded, such as 6.12.95")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.evidence.pins.readers import import_text

    found = import_text(args.text, args.out, vmemmap_base=args.vmemmap_base, kernel=args.kernel)
    say(f"incomplete: {why}" for why in found["why"])
    if not found["gup_fast_known"]:
        which = f"{found['format']} lines do not say which pins came through gup_fast"
        say([f"{which}: all count as such, an upper bound"])

    def text() -> str:
        has = found | found["balance"]
        facts = [(name, has[key]) for key, name in _IMPORT_WORDS.items() if key in has]
        facts.insert(1, ("vmemmap base", f"{found['vmemmap_base']} ({found['vmemmap_base_source']})"))
        complete = "complete" if found["complete"] else "incomplete, see the notes"
        return "\n\n".join(
            [
                f"{printable(os.fspath(args.out))}: {complete}",
                table(("", "value"), [(n, v if isinstance(v, int) else str(v)) for n, v in facts]),
            ]
        )

    return found, text, 0 if found["complete"] else 1


def _python(args: argparse.Namespace) -> str:
    read = call("studies.pins.readers.import_text", args.text, args.out, vmemmap_base=args.vmemmap_base,
                kernel=args.kernel)
    return f"from workbench import studies\n\n{read}"


COMMAND = Command(
    wing="evidence",
    about="pins and unpins from trace text (ftrace, perf script, trace-cmd, bpftrace) to Parquet",
    example="workbench trace import data/traces/bpftrace-pins.txt.gz -o pins.parquet",
    arguments=_arguments,
    run=_run,
    python=_python,
)
