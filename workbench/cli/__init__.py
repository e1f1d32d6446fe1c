"""The ``workbench`` command. Thin: parses, calls, prints.

Exit status: 0 done; 1 understood, but a check failed; 2 the input cannot be used (one line on stderr).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from workbench import __version__
from workbench.model.errors import InputError, printable

if TYPE_CHECKING:
    from workbench.evidence.typesafety.callsites import Census
    from workbench.evidence.typesafety.conversion import Conversion
    from workbench.model.memory.pageflags import PageFlags
    from workbench.model.memory.regions import Region

Answer = tuple[dict[str, Any], Callable[[], str], int]


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as all the others are."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {printable(message)} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Aligned text: numbers to the right with thousands, words to the left."""
    cells = [[_cell(value) for value in row] for row in rows]
    rows = list(rows) if not isinstance(rows, list) else rows
    numeric = [
        all(isinstance(row[i], int | float) or row[i] is None for row in rows) and bool(rows)
        for i in range(len(header))
    ]
    width = [max(len(header[i]), *(len(row[i]) for row in cells), 0) for i in range(len(header))]
    lines = []
    for row in [list(header), *cells]:
        lines.append(
            "  ".join(
                text.rjust(w) if right else text.ljust(w)
                for text, w, right in zip(row, width, numeric, strict=True)
            ).rstrip()
        )
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4f}" if isinstance(value, float) else printable(str(value), 200)


# -- the commands ------------------------------------------------------------------------------------------


def _struct(args: argparse.Namespace) -> Answer:
    from workbench.model.kernel.config import KernelConfig
    from workbench.model.kernel.structs import Struct

    kernel = KernelConfig.preset(args.kernel or "x86-64")
    if args.c is not None:
        if args.btf:
            raise InputError("--c and --btf: give one source of layouts")
        text = sys.stdin.read() if args.c == "-" else _read_text(args.c)
        try:
            found = Struct.from_c(
                text, name=args.name or args.struct, kernel=kernel, ms_extensions=args.ms_extensions
            )
        except InputError as error:
            raise InputError(str(error), file=None if args.c == "-" else args.c) from None
    elif not args.struct:
        raise InputError("name a struct, or give C source with --c FILE")
    elif args.btf:
        found = Struct.from_btf(args.struct, args.btf)
    else:
        found = Struct.from_kernel(args.struct, kernel)
    for warning in found.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    return found.to_dict(), found.pahole, 0


def _read_text(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123
        data = file.read((1 << 24) + 1)
    if len(data) > 1 << 24:
        raise InputError("more than 16 MiB of C source", file=path)
    return data.decode("utf-8", errors="replace")


def _machine(args: argparse.Namespace) -> Answer:
    from workbench.model.kernel.config import KernelConfig
    from workbench.model.memory.machine import Machine

    machine = Machine.load(args.machine, KernelConfig.preset(args.kernel) if args.kernel else None)
    found = machine.to_dict()
    _say(machine.notes)

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


def _pages(args: argparse.Namespace) -> Answer:
    from workbench.model.memory.pageflags import PageFlags

    flags = PageFlags.load(args.capture, args.label)
    rows = flags.flag_rows(raw=args.raw)
    holes = _without_holes(args.capture, flags)
    types, orders = holes.types(), holes.folio_orders()
    if flags.nr_pages > holes.nr_pages:
        types["nopage"] = types.get("nopage", 0) + flags.nr_pages - holes.nr_pages
    found = {
        "nr_pages": flags.nr_pages,
        "types": types,
        "folio_orders": {
            kind: {str(order): nr for order, nr in sorted(by.items())} for kind, by in orders.items()
        },
        "flag_rows": rows,
        "raw": args.raw,
        "source": flags.where,
    }

    def text() -> str:
        folios = [
            (kind, order, nr, nr << order) for kind, by in orders.items() for order, nr in sorted(by.items())
        ]
        return "\n\n".join(
            [
                f"{flags.nr_pages:,} pages ({printable(flags.where)})",
                table(("type", "pages"), sorted(types.items(), key=lambda item: -item[1])),
                table(("type", "order", "folios", "pages"), folios),
                table(("flags", "pages", "symbols"), [(r["flags"], r["pages"], r["symbols"]) for r in rows]),
            ]
        )

    return found, text, 0


def _without_holes(capture: str, flags: PageFlags) -> PageFlags:
    """The flags inside RAM only: since 6.18 a hole's flags are 0, as those of an ordinary kernel page."""
    from workbench.model.memory.machine import Machine

    try:
        ram = Machine.load(capture).pfns("ram", "nomap")
    except InputError as error:
        _say([f"holes are counted as pages: {error}"])
        return flags
    return flags.within(ram)


def _pfnmap(args: argparse.Namespace) -> Answer:
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


def _lookup(args: argparse.Namespace) -> Answer:
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
        _say([f"not to be used: {row.unusable}; the machine does other work"])

    def text() -> str:
        facts = [(key.replace("_", " "), value) for key, value in found.items() if key != "levels"]
        return table(("", "value"), [(key, v if isinstance(v, int | float) else str(v)) for key, v in facts])

    return found, text, 0


def _verify(args: argparse.Namespace) -> Answer:
    from workbench.model.pfnmaps import ops

    found = ops.verify(args.cases)

    def text() -> str:
        lines = [f"{found['passed']} of {found['cases']} cases agree with the kernel's own answers"]
        return "\n".join(
            [
                *lines,
                *(
                    f"  {printable(name)}: {printable(str(why))}"
                    for name, why in found["differences"].items()
                ),
            ]
        )

    return found, text, 1 if found["failed"] else 0


def _overhead(args: argparse.Namespace) -> Answer:
    from workbench.model import designs
    from workbench.model.scenario import Scenario, evaluate, machine_of, pinned_from_capture

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
        base = base.with_(pinned=pinned_from_capture(base, args.population, args.seed))
    wanted = _names(args.design) or designs.names()
    rows = [evaluate(base.with_(design=name)) for name in wanted]
    _say(dict.fromkeys(f"{row.design}: {note}" for row in rows for note in row.notes))

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


def _compare(args: argparse.Namespace) -> Answer:
    from workbench.model.scenario import evaluate
    from workbench.model.scenario.files import load

    given = load(args.file)
    rows = {}
    for name, scenario in given.scenarios.items():
        try:
            rows[name] = evaluate(scenario)
        except InputError as error:
            raise InputError(str(error), file=args.file, place=f"scenario {name!r}") from None
    _say(dict.fromkeys(f"{name}: {note}" for name, row in rows.items() for note in row.notes))
    found: dict[str, Any] = {
        "title": given.title,
        "rows": [{"name": name, **row.to_dict()} for name, row in rows.items()],
    }
    if args.mail or args.html:
        from workbench.model.files import write_whole
        from workbench.studies.argument import compared

        document = compared(given.title, rows, args.file)
        if args.mail:
            found["mail"] = document.to_mail()
        if args.html:
            if os.path.exists(args.html) and os.path.samefile(args.html, args.file):  # noqa: PTH110, PTH121
                raise InputError("--html would overwrite the scenarios", file=args.html)
            write_whole(args.html, document.to_html(again=f"workbench compare {args.file}"))
            _say([f"wrote {args.html}"])
            found["html"] = args.html

    def text() -> str:
        if args.mail:
            return found["mail"].rstrip("\n")
        lines = [
            (name, row.design, row.machine.name, row.nr_pinned, row.total_bytes, row.bytes_per_page,
             row.percent_of_ram, row.exact)
            for name, row in rows.items()
        ]  # fmt: skip
        header = ("scenario", "design", "machine", "pinned", "bytes", "bytes per page", "% of RAM", "exact")
        parts = [(name, part, value) for name, row in rows.items() for part, value in row.parts.items()]
        return "\n\n".join(
            [printable(given.title), table(header, lines), table(("scenario", "part", "bytes"), parts)]
        )

    return found, text, 0


def _sweep(args: argparse.Namespace) -> Answer:
    from workbench.studies.sweep import Done, load, run

    engine = args.scheduler or ("processes" if args.workers and args.workers > 1 else "in-process")
    done = run(load(args.file), engine=engine, workers=args.workers, out=args.out)
    assert isinstance(done, Done)
    if done.errors:
        _say([f"{done.errors:,} points have no answer; the column error says why"])

    def text() -> str:
        facts = [(key, value) for key, value in done.to_dict().items() if key != "out"]
        return f"{printable(args.out)}\n\n" + table(("", "value"), facts)

    return done.to_dict(), text, 0


def _fleet(args: argparse.Namespace) -> Answer:
    from tempfile import TemporaryDirectory

    from workbench.studies.fleet import Done, fleet, generate, summary

    def run(out: str) -> tuple[Done, list[dict[Any, Any]]]:
        done = fleet(
            args.where,
            designs=_names(args.design),
            pfn_map=args.map,
            pinned=args.pinned,
            run_pages=args.run_pages,
            engine=args.scheduler or "processes",
            workers=args.workers,
            out=out,
            progress=_progress("captures"),
        )
        assert isinstance(done, Done)
        rows = summary(out, args.by).astype(object)
        return done, rows.where(rows.notna(), None).to_dict("records")

    if args.generate is not None:
        made = generate(args.where, args.generate, args.seed)
        _say([f"{len(made):,} captures made up in {args.where}"])
    if args.out:
        done, rows = run(args.out)
    else:
        with TemporaryDirectory(prefix="workbench-fleet-") as folder:
            done, rows = run(f"{folder}/fleet.parquet")
    found = {**done.to_dict(), "out": args.out, "rows": rows}

    def text() -> str:
        keys = [args.by] if args.by else []
        header = (*keys, "design", "captures", "unknown", "5 %", "median", "95 %", "more on", "bytes saved")
        names = (*keys, "design", "captures", "unknown", "p05", "median", "p95", "more", "saved_bytes")
        lines = [[row[name] for name in names] for row in rows]
        bad = [(one["capture"], one["reason"]) for one in done.failed]
        more = [f"... and {len(bad) - 20:,} more"] if len(bad) > 20 else []
        return "\n".join([
            f"{done.captures:,} captures in {done.seconds:.1f} s ({done.engine}); saved, % of RAM",
            "",
            table(header, lines),
            *(["", table(("failed", "reason"), bad[:20]), *more] if bad else []),
        ])  # fmt: skip

    return found, text, 1 if len(done.failed) == done.captures else 0


def _progress(what: str) -> Callable[[int, int], None] | None:
    """Counts up on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        return None

    def progress(done: int, of: int) -> None:
        print(f"\r{done:,} of {of:,} {what}", end="\n" if done == of else "", file=sys.stderr, flush=True)

    return progress


def _claims(args: argparse.Namespace) -> Answer:
    from workbench.studies import claims

    rows = claims.recompute(args.id or None, args.file)
    surprising = [row for row in rows if not row.as_expected]
    _say(f"{row.id}: {row.verdict}, but {row.expected_verdict} was expected" for row in surprising)

    def text() -> str:
        facts = [(row.id, row.stated, row.computed, row.unit, row.verdict) for row in rows]
        told = rows if args.id else [row for row in rows if row.verdict != "agrees"]
        return "\n\n".join(
            [
                table(("claim", "stated", "computed", "unit", "verdict"), facts),
                *(f"{row.id}: {printable(row.why, 1000)}" for row in told),
            ]
        )

    return {"rows": [row.to_dict() for row in rows]}, text, 1 if surprising else 0


def _typesafety(args: argparse.Namespace) -> Answer:
    from workbench.evidence.typesafety import _compilers as compilers
    from workbench.evidence.typesafety import matrix

    found = matrix.rows(
        _names(args.design) or None,
        mistake=_names(args.mistake) or None,
        header=args.header,
        compiler=args.compiler,
        ms_extensions=args.ms_extensions,
        werror=args.werror,
    )
    rows = matrix.summary(found)
    if compilers.runner() is None:
        _say(["no C compiler to run call sites with: those that compile have recorded verdicts, or none"])
    designs = list(dict.fromkeys(row["design"] for row in rows))
    chosen = args.design or args.mistake or args.header

    def text() -> str:
        verdicts = {(row["mistake"], row["design"]): row["verdict"] + "*" * row["mixed"] for row in rows}
        names = dict.fromkeys(row["mistake"] for row in rows)
        parts = [
            table(("mistake", *designs), [(n, *(verdicts.get((n, d), "-") for d in designs)) for n in names]),
            "* call sites differ: the weakest verdict is shown",
        ]
        if chosen:
            columns = ("mistake", "pattern", "design", "verdict", "production", "diagnostic")
            parts.append(table(columns, [[row[name] for name in columns] for row in found]))
        parts.append(f"compiled by {found[0]['compiler']}" if found else "no call site has this mistake")
        return "\n\n".join(parts)

    return {"rows": rows, "call_sites": found, "compilers": compilers.versions()}, text, 0


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


def _trace(args: argparse.Namespace) -> Answer:
    from workbench.evidence.pins.readers import import_text

    found = import_text(args.text, args.out, vmemmap_base=args.vmemmap_base, kernel=args.kernel)
    _say(f"incomplete: {why}" for why in found["why"])
    if not found["gup_fast_known"]:
        which = f"{found['format']} lines do not say which pins came through gup_fast"
        _say([f"{which}: all count as such, an upper bound"])

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


def _replay(args: argparse.Namespace) -> Answer:
    from workbench.evidence.pins.replay import DESIGNS, MAPS, replay
    from workbench.model import pfnmaps
    from workbench.model.kernel.config import KernelConfig
    from workbench.model.memory.machine import Machine
    from workbench.model.memory.pfns import PfnSet
    from workbench.views.figures.pins import duration

    kernel = KernelConfig.preset(args.kernel) if args.kernel else KernelConfig()
    end_pfn = Machine.load(args.machine).span if args.machine else None
    found = replay(
        args.trace,
        designs=_names(args.design) or DESIGNS,
        maps=_names(args.map) or MAPS,
        granularity=args.granularity,
        vmstat=args.vmstat,
        kernel=replace(kernel, nr_cpus=args.nr_cpus),
        end_pfn=end_pfn,
        proxy_bytes=args.proxy_bytes,
    )
    _say(f"incomplete: {why}" for why in found.why)
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


def _callsites(args: argparse.Namespace) -> Answer:
    from workbench.evidence.typesafety.callsites import census
    from workbench.evidence.typesafety.conversion import needed, rule_of

    for name in _names(args.design):
        rule_of(name)  # a wrong name is told before the tree is read

    def progress(done: int, of: int) -> None:
        print(f"\r{done:,} of {of:,} files" if done < of else "\r\x1b[K", end="", file=sys.stderr, flush=True)

    found = census(args.tree, progress if sys.stderr.isatty() else None, cache=not args.no_cache)
    _say(found.notes())
    wanted = [needed(found, name) for name in _names(args.design)]
    answer = found.to_dict(args.rule)
    if wanted:
        answer["needed"] = [conversion.to_dict() for conversion in wanted]
    return answer, lambda: _callsites_text(found, args.rule, wanted), 0


def _callsites_text(found: Census, rule: str, wanted: Sequence[Conversion]) -> str:
    columns = ["get_user_pages", "pin_user_pages", "unpin", "put_page", "page_to_pfn", "pfn_to_page"]
    apis: dict[str, list[int]] = {}
    by_directory: dict[str, dict[str, int]] = {}
    for row in found.rows_by(rule):
        total = apis.setdefault(row.api, [0, 0])
        total[0], total[1] = total[0] + row.count, total[1] + row.files
        at = by_directory.setdefault(row.directory, {})
        at[row.family] = at.get(row.family, 0) + row.count
    families = [(name, facts["count"], facts["files"]) for name, facts in found.families.items()]
    return "\n\n".join(
        [
            f"Linux {found.release}: {found.nr_files:,} files, {found.nr_cached:,} of them from the cache, "
            f"{found.seconds:.1f} s",
            table(("API", "calls", "files"), [(api, *counts) for api, counts in apis.items()]),
            table(
                ("directory", *columns),
                [(d, *(at.get(name) for name in columns)) for d, at in sorted(by_directory.items())],
            ),
            f"Outside the APIs' own files (rule gup); {found.nr_files_get_or_pin:,} files get or pin:",
            table(("family", "calls", "files"), families),
            *([_conversion_text(wanted)] if wanted else []),
        ]
    )


def _conversion_text(wanted: Sequence[Conversion]) -> str:
    totals = [(c.design, c.total) for c in wanted]
    rows = [(d, t.must_calls, t.near_calls, t.most_calls, t.must_files, t.most_files) for d, t in totals]
    header = ("design", "calls, at least", "and in files that pin", "at most", "files, at least", "at most")
    return "\n".join(["Call sites that a design touches:", table(header, rows),
                      *(f"{c.design}: {c.rule.why}" for c in wanted)])


def _names(groups: Sequence[str] | None) -> list[str]:
    """``--design a b --design c,d`` as one list."""
    return [name for group in groups or [] for name in group.split(",")]


def _capture(args: argparse.Namespace) -> Answer:
    from workbench import capture

    try:
        found = capture.take(args.out, args.scrub, args.force, args.root)
    except capture.CannotWrite as error:
        raise InputError(str(error)) from None
    if found["changed"]:
        _say([f"memory came or went meanwhile: {', '.join(found['changed'])}"])

    def text() -> str:
        lines = [(name, status) for name, status in found["parts"].items()]
        return table(("part", ""), lines) + f"\n\n{found['bytes']:,} bytes in {found['seconds']:.2f} s"

    return found, text, 0


def _live(args: argparse.Namespace) -> Answer:
    from workbench.evidence.lookups import live

    measure = live.live_xarray if args.map == "xarray" else live.live_maple
    given = {"nr_entries": args.entries, "bits": args.bits}
    found = measure(
        **{name: value for name, value in given.items() if value is not None},
        seed=args.seed,
        dense=args.dense,
        progress=lambda note: _say([note]),
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


def _say(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)


# -- the parser ---------------------------------------------------------------------------------------------


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return value


def _two_counts(text: str) -> tuple[int, int]:
    first, _, second = text.partition(",")
    if not (first.strip().isdecimal() and second.strip().isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not A,R: two whole numbers of pages")
    return int(first), int(second)


_TEXT_HELP = "trace text, plain, .gz or .zst; or a folder that record.sh made; - reads standard input"


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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="workbench",
        description="How should the kernel describe pages? Exact counts on real machines.",
    )
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Callable[[argparse.Namespace], Answer], about: str, example: str) -> _Parser:
        sub = commands.add_parser(
            name,
            help=about,
            description=about,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        sub.add_argument("--json", action="store_true", help="print one JSON document")
        return sub

    sub = command(
        "struct",
        _struct,
        "the layout of a C struct, from a kernel's BTF or from C source",
        "workbench struct page --kernel amd64_6.12",
    )
    sub.add_argument("struct", nargs="?", metavar="NAME", help="the struct's name")
    sub.add_argument("--kernel", metavar="PRESET", help="a shipped kernel (default: x86-64)")
    sub.add_argument("--btf", metavar="FILE", help="BTF: a raw blob, an ELF vmlinux, or a vmlinuz")
    sub.add_argument("--c", metavar="FILE", help="C source; - reads standard input")
    sub.add_argument("--name", metavar="NAME", help="which struct of the C source (default: the last)")
    sub.add_argument(
        "--ms-extensions",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="compile as with -fms-extensions (default: as the kernel preset does)",
    )

    sub = command(
        "machine",
        _machine,
        "a machine's RAM, sections and memmap",
        "workbench machine data/captures/h100-128g-6.18",
    )
    sub.add_argument(
        "machine",
        metavar="CAPTURE_OR_SPEC",
        help="a capture, 'live', or a spec such as ram=1TiB,nodes=2,hole=3GiB-4GiB",
    )
    sub.add_argument("--kernel", metavar="PRESET", help="use this kernel's constants")

    sub = command(
        "pages",
        _pages,
        "what the pages of a capture are: types, folio orders, flags",
        "workbench pages data/captures/microvm-24g-6.18",
    )
    sub.add_argument("capture", metavar="CAPTURE")
    sub.add_argument("--label", help="which kpageflags of the capture, such as 'pinned' or 'before'")
    sub.add_argument("--raw", action="store_true", help="flag rows as page-types -r prints them")

    sub = command(
        "pfnmap",
        _pfnmap,
        "nodes and bytes of a pfn map after some stores and erases",
        "workbench pfnmap xarray --ops pfns.npy",
    )
    sub.add_argument("map", metavar="MAP", help="a pfn map, such as xarray")
    sub.add_argument("--ops", metavar="FILE", required=True, help="a JSON list of ops, or a .npy of pfns")
    sub.add_argument("--kernel", metavar="PRESET", help="a shipped kernel (default: x86-64)")
    sub.add_argument("--nr-cpus", metavar="N", type=_positive, default=2, help="CPUs, for SLUB's slab order")

    sub = command(
        "lookup",
        _lookup,
        "ns of a lookup in a pfn map after some stores and erases, measured here",
        "workbench lookup xarray --ops pfns.npy --loop dependent",
    )
    sub.add_argument("map", metavar="MAP", help="a pfn map, or xarray_lean: shift from the height")
    sub.add_argument("--ops", metavar="FILE", required=True, help="a JSON list of ops, or a .npy of pfns")
    sub.add_argument("--loop", choices=["dependent", "independent"], required=True,
                     help="latency: each key needs the result before it; or throughput")  # fmt: skip
    sub.add_argument("--order", choices=["random", "sequential"], default="random", help="of the keys")
    sub.add_argument("--hit", type=float, default=1.0, metavar="0..1", help="share of lookups that find one")

    sub = command(
        "verify",
        _verify,
        "compare the XArray model with the kernel's own answers",
        "workbench verify xarray data/golden/xarray_cases.json",
    )
    sub.add_argument("what", choices=["xarray"])
    sub.add_argument("cases", metavar="CASES.json")

    sub = command(
        "overhead",
        _overhead,
        "bytes of each design on a machine, part by part",
        "workbench overhead ram=1TiB --design static dynamic_page --pinned 0.1%%",
    )
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
        type=_positive,
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
        "--proxy-bytes", type=_positive, default=64, metavar="N", help="size of a proxy object (assumed: 64)"
    )
    sub.add_argument("--kernel", metavar="PRESET", help="use this kernel's constants")

    sub = command(
        "compare",
        _compare,
        "scenarios of a TOML file side by side: a table, a mail, a page",
        "workbench compare data/scenarios/gpu-host.toml --mail",
    )
    sub.add_argument("file", metavar="FILE.toml", help="[base] and [[scenario]]; see data/scenarios")
    sub.add_argument("--mail", action="store_true", help="as a plain-text mail of at most 72 columns")
    sub.add_argument("--html", metavar="OUT", help="also write a page that needs no script and no network")

    sub = command(
        "sweep",
        _sweep,
        "many scenarios from a TOML file to one Parquet table; goes on where it was interrupted",
        "workbench sweep data/scenarios/sweep-clustering.toml -o sweep.parquet",
    )
    sub.add_argument("file", metavar="FILE.toml", help="[base], [grid], and [random] or [lhs]")
    sub.add_argument("-o", dest="out", metavar="OUT.parquet", required=True)
    sub.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="a Dask scheduler, tcp://HOST:PORT; local or local:N starts N processes of Dask here",
    )
    sub.add_argument("--workers", type=_positive, metavar="N", help="processes (default: 1, this one)")

    sub = command(
        "fleet",
        _fleet,
        "many captures: how the savings of each design are distributed over their machines",
        "workbench fleet captures/ --by size -o fleet.parquet",
    )
    sub.add_argument("where", metavar="WHERE", help="a folder, a glob or an fsspec URL of captures")
    sub.add_argument("--design", nargs="+", action="extend", metavar="NAME", help="default: all of them")
    sub.add_argument("--map", default="xarray", metavar="MAP", help="the pfn map of designs that keep one")
    sub.add_argument("--pinned", metavar="N|PCT", default="0.1%", help="pinned pages of each machine")
    sub.add_argument("--run-pages", type=_positive, default=1, metavar="N", help="in aligned runs of N pages")
    sub.add_argument("--by", choices=("kernel", "size", "page_mix"), help="a distribution for each group")
    sub.add_argument("-o", dest="out", metavar="OUT.parquet", help="a row for each capture and design")
    sub.add_argument("--workers", type=_positive, metavar="N", help="processes (default: as many as CPUs)")
    sub.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, tcp://HOST:PORT, or local:N")
    sub.add_argument("--generate", type=_positive, metavar="N", help="put N made-up captures into WHERE")
    sub.add_argument("--seed", type=int, default=1, help="of the made-up captures")

    sub = command(
        "claims",
        _claims,
        "published figures, recomputed: do they hold?",
        "workbench claims PC22 PC31",
    )
    sub.add_argument("id", nargs="*", metavar="ID", help="default: all of them")
    sub.add_argument("--file", metavar="CSV", help="claims of your own (default: data/claims.csv)")
    sub = command(
        "typesafety",
        _typesafety,
        "call-site mistakes against each design: compile error, runtime error, or silent",
        "workbench typesafety --design foll_pin proxy_typed --mistake put_on_pin",
    )
    sub.add_argument(
        "--design", nargs="+", action="extend", metavar="NAME", help="headers or designs; default: all"
    )
    sub.add_argument("--mistake", nargs="+", action="extend", metavar="NAME", help="default: all of them")
    sub.add_argument(
        "--header", metavar="FILE",
        help="a header of your own, or a folder; start from workbench/typesafety/headers/foll_pin.h",
    )
    sub.add_argument("--compiler", metavar="NAME", help="libclang (default), gcc, clang or sparse")
    sub.add_argument("--werror", action="store_true", help="warnings are errors, as with CONFIG_WERROR")
    sub.add_argument(
        "--ms-extensions",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compile as with -fms-extensions (default)",
    )

    sub = command(
        "trace",
        _trace,
        "pins and unpins from trace text (ftrace, perf script, trace-cmd, bpftrace) to Parquet",
        "workbench trace import data/traces/bpftrace-pins.txt.gz -o pins.parquet",
    )
    sub.add_argument("what", choices=["import"])
    sub.add_argument("text", metavar="TEXT", help=_TEXT_HELP)
    sub.add_argument("-o", dest="out", metavar="OUT.parquet", required=True)
    sub.add_argument("--vmemmap-base", metavar="HEX", help="default: the trace's own, else inferred")
    sub.add_argument("--kernel", metavar="REL", help="the release that recorded, such as 6.12.95")

    sub = command(
        "replay",
        _replay,
        "a pin trace through designs and pfn maps: descriptors, nodes and bytes at the peak",
        "workbench replay data/traces/pins-fio.parquet --design dynamic_page --map two_level",
    )
    sub.add_argument("trace", metavar="TRACE.parquet", help="a pin trace, or the name of a shipped one")
    # "-1,-1" is a wrong value of --vmstat, not an option that nobody knows.
    sub._negative_number_matcher = re.compile(r"-[\d.,-]+$")
    for option, names, about in (
        ("--design", _known_designs, "default: foll_pin, proxy_bit, dynamic_page; known: %(names)s"),
        ("--map", _known_maps, "pfn maps beside the XArray; known: %(names)s"),
    ):
        action = sub.add_argument(option, nargs="+", action="extend", metavar="NAME")
        vars(action).update(names=_Known(names), help=about)
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
    sub.add_argument("--nr-cpus", type=_positive, default=2, metavar="N", help="SLUB's slab order goes by it")
    sub.add_argument("--proxy-bytes", type=_positive, default=64, metavar="N", help="assumed: 64")

    sub = command(
        "live",
        _live,
        "nodes of a map in the running kernel against the prediction (as root), and its lookup time",
        "workbench live xarray --entries 100000 --bits 28",
    )
    sub.add_argument("map", choices=["xarray", "maple"])
    sub.add_argument(
        "--entries", type=_positive, metavar="N", help="default: 100000, or 50000 VMAs of a maple tree"
    )
    sub.add_argument(
        "--bits", type=_positive, default=28, metavar="B", help="at random among 2^B pages (default: 28)"
    )
    sub.add_argument("--dense", action="store_true", help="the first N pages instead")
    sub.add_argument("--seed", type=int, default=1, help="of the choice of pages and the order of lookups")

    sub = command(
        "capture",
        _capture,
        "what this machine shows of its memory, in one file; as root it shows more",
        "sudo workbench capture host.mmsnap --scrub",
    )
    sub.add_argument("out", metavar="OUT.mmsnap", help="made anew; what exists is refused")
    sub.add_argument("--scrub", action="store_true", help="leave out names of devices, drivers and builds")
    sub.add_argument("--force", action="store_true", help="replace OUT if it is a regular file")
    sub.add_argument("--root", metavar="DIR", default="/", help="holds proc and sys (default: /)")

    sub = command(
        "callsites",
        _callsites,
        "how often a kernel tree calls each page API, and where",
        "workbench callsites ~/src/linux --rule gup",
    )
    sub.add_argument("tree", metavar="TREE", help="the top of a kernel source tree")
    sub.add_argument(
        "--rule",
        choices=["all", "gup"],
        default="all",
        help="all files, or all but the APIs' own, tools/ and Documentation/ (default: all)",
    )
    sub.add_argument(
        "--design", nargs="+", action="extend", metavar="NAME", help="also count what a design touches"
    )
    sub.add_argument("--no-cache", action="store_true", help="read every file, and leave the cache as it is")
    return parser


_OWN_PARSER = {"measure": "workbench.cli.measure", "argue": "workbench.cli.argue",
               "render": "workbench.cli.render", "share": "workbench.views.pages.share"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in _OWN_PARSER:
        run = importlib.import_module(_OWN_PARSER[words[0]]).main
        return run(words[1:])
    args = _parser().parse_args(words)
    try:
        found, text, status = args.run(args)
        print(json.dumps(found) if args.json else text())
        sys.stdout.flush()
        return status
    except InputError as error:
        message = str(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except KeyboardInterrupt:
        print("workbench: interrupted", file=sys.stderr)
        return 130
    print(f"workbench {args.command}: {printable(message)}", file=sys.stderr)
    return 2

