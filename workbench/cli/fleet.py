"""``workbench fleet``: many captures: how the savings of each design are distributed over their machines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from workbench.cli._command import Answer, Command, call, names, positive, say, table


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("where", metavar="WHERE", help="a folder, a glob or an fsspec URL of captures")
    sub.add_argument("--design", nargs="+", action="extend", metavar="NAME", help="default: all of them")
    sub.add_argument("--map", default="xarray", metavar="MAP", help="the pfn map of designs that keep one")
    sub.add_argument("--pinned", metavar="N|PCT", default="0.1%", help="pinned pages of each machine")
    sub.add_argument("--run-pages", type=positive, default=1, metavar="N", help="in aligned runs of N pages")
    sub.add_argument("--by", choices=("kernel", "size", "page_mix"), help="a distribution for each group")
    sub.add_argument("-o", dest="out", metavar="OUT.parquet", help="a row for each capture and design")
    sub.add_argument("--workers", type=positive, metavar="N", help="processes (default: as many as CPUs)")
    sub.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, tcp://HOST:PORT, or local:N")
    sub.add_argument("--generate", type=positive, metavar="N", help="put N made-up captures into WHERE")
    sub.add_argument("--seed", type=int, default=1, help="of the made-up captures")


def _run(args: argparse.Namespace) -> Answer:
    from tempfile import TemporaryDirectory

    from workbench.studies.fleet import Done, fleet, generate, summary

    def run(out: str) -> tuple[Done, list[dict[Any, Any]]]:
        done = fleet(
            args.where,
            designs=names(args.design),
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
        say([f"{len(made):,} captures made up in {args.where}"])
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


def _python(args: argparse.Namespace) -> str:
    out = args.out or "fleet.parquet"
    run = call("studies.fleet.fleet", args.where, designs=names(args.design) or None, pfn_map=args.map,
               pinned=args.pinned, run_pages=args.run_pages, engine=args.scheduler or "processes",
               workers=args.workers, out=out)
    return f"from workbench import studies\n\n{run}\n{call('studies.fleet.summary', out, args.by)}"


COMMAND = Command(
    wing="studies",
    about="many captures: how the savings of each design are distributed over their machines",
    example="workbench fleet captures/ --by size -o fleet.parquet",
    arguments=_arguments,
    run=_run,
    python=_python,
)
