"""``workbench callsites``: how often a kernel tree calls each page API, and where."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.cli._command import Answer, Command, call, names, say, table

if TYPE_CHECKING:
    from workbench.evidence.typesafety.callsites import Census
    from workbench.evidence.typesafety.conversion import Conversion


def _arguments(sub: argparse.ArgumentParser) -> None:
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


def _run(args: argparse.Namespace) -> Answer:
    from workbench.evidence.typesafety.callsites import census
    from workbench.evidence.typesafety.conversion import needed, rule_of

    for name in names(args.design):
        rule_of(name)  # a wrong name is told before the tree is read

    def progress(done: int, of: int) -> None:
        print(f"\r{done:,} of {of:,} files" if done < of else "\r\x1b[K", end="", file=sys.stderr, flush=True)

    found = census(args.tree, progress if sys.stderr.isatty() else None, cache=not args.no_cache)
    say(found.notes())
    wanted = [needed(found, name) for name in names(args.design)]
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


def _python(args: argparse.Namespace) -> str:
    census = call("studies.callsites.census", args.tree, cache=not args.no_cache)
    return f"from workbench import studies\n\nfound = {census}\nfound.to_dict({args.rule!r})"


COMMAND = Command(
    wing="evidence",
    about="how often a kernel tree calls each page API, and where",
    example="workbench callsites ~/src/linux --rule gup",
    arguments=_arguments,
    run=_run,
    python=_python,
)
