"""``workbench sweep``."""

from __future__ import annotations

import argparse

from workbench.cli._command import Answer, Command, call, positive, say, table
from workbench.model.errors import printable


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", metavar="FILE.toml", help="[base], [grid], and [random] or [lhs]")
    sub.add_argument("-o", dest="out", metavar="OUT.parquet", required=True)
    sub.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="a Dask scheduler, tcp://HOST:PORT; local or local:N starts N processes of Dask here",
    )
    sub.add_argument("--workers", type=positive, metavar="N", help="processes (default: 1, this one)")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.studies.sweep import Done, load, run

    engine = args.scheduler or ("processes" if args.workers and args.workers > 1 else "in-process")
    done = run(load(args.file), engine=engine, workers=args.workers, out=args.out)
    assert isinstance(done, Done)
    if done.errors:
        say([f"{done.errors:,} points have no answer; the column error says why"])

    def text() -> str:
        facts = [(key, value) for key, value in done.to_dict().items() if key != "out"]
        return f"{printable(args.out)}\n\n" + table(("", "value"), facts)

    return done.to_dict(), text, 0


def _python(args: argparse.Namespace) -> str:
    engine = args.scheduler or ("processes" if args.workers and args.workers > 1 else "in-process")
    given = call("", engine=engine, workers=args.workers, out=args.out)[1:]
    return (f"from workbench import sweep\n\nspec = sweep.load({args.file!r})\n"
            f"done = sweep.run(spec, {given}\nsweep.read({args.out!r})")


COMMAND = Command(
    wing="studies",
    about="many scenarios from a TOML file to one Parquet table; goes on where it was interrupted",
    example="workbench sweep data/scenarios/sweep-clustering.toml -o sweep.parquet",
    arguments=_arguments,
    run=_run,
    python=_python,
)
