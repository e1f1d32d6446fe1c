"""``workbench typesafety``."""

from __future__ import annotations

import argparse

from workbench.cli._command import Answer, Command, call, names, say, table


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--design", nargs="+", action="extend", metavar="NAME", help="headers or designs; default: all"
    )
    sub.add_argument("--mistake", nargs="+", action="extend", metavar="NAME", help="default: all of them")
    sub.add_argument(
        "--header", metavar="FILE",
        help="a header of your own, or a folder; start from workbench/evidence/typesafety/headers/foll_pin.h",
    )
    sub.add_argument("--compiler", metavar="NAME", help="libclang (default), gcc, clang or sparse")
    sub.add_argument("--werror", action="store_true", help="warnings are errors, as with CONFIG_WERROR")
    sub.add_argument(
        "--ms-extensions",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compile as with -fms-extensions (default)",
    )


def _run(args: argparse.Namespace) -> Answer:
    from workbench.evidence.typesafety import _compilers as compilers
    from workbench.evidence.typesafety import matrix

    found = matrix.rows(
        names(args.design) or None,
        mistake=names(args.mistake) or None,
        header=args.header,
        compiler=args.compiler,
        ms_extensions=args.ms_extensions,
        werror=args.werror,
    )
    rows = matrix.summary(found)
    if compilers.runner() is None:
        say(["no C compiler to run call sites with: those that compile have recorded verdicts, or none"])
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


def _python(args: argparse.Namespace) -> str:
    rows = call("studies.mistakes.rows", names(args.design) or None, mistake=names(args.mistake) or None,
                header=args.header, compiler=args.compiler, ms_extensions=args.ms_extensions,
                werror=args.werror)
    return f"from workbench import studies\n\nfound = {rows}\nstudies.mistakes.summary(found)"


COMMAND = Command(
    wing="evidence",
    about="call-site mistakes against each design: compile error, runtime error, or silent",
    example="workbench typesafety --design foll_pin proxy_typed --mistake put_on_pin",
    arguments=_arguments,
    run=_run,
    python=_python,
)
