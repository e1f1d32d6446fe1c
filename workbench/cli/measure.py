"""``workbench measure``: a cost table of this machine."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli._command import Answer, Command
from workbench.model.errors import InputError

if TYPE_CHECKING:
    from workbench.evidence.lookups.costs import CostTable


def _arguments(sub: argparse.ArgumentParser) -> None:
    how = sub.add_mutually_exclusive_group(required=True)
    how.add_argument("--quick", action="store_true", help="15 seconds: few sizes")
    how.add_argument("--full", action="store_true", help="under three minutes")
    sub.add_argument("-o", dest="out", metavar="FILE.json", required=True)


def _run(args: argparse.Namespace) -> Answer:
    folder = Path(args.out).resolve().parent
    if not folder.is_dir():  # before three minutes of measuring
        raise InputError(f"there is no folder {folder}", file=args.out)
    if Path(args.out).is_dir() or not os.access(folder, os.W_OK):
        raise InputError("is a folder, or lies in one that cannot be written", file=args.out)
    from workbench.evidence.lookups import _table as table  # Numba

    start = time.monotonic()
    found = table.measured(full=args.full, progress=_progress)
    found.save(args.out)
    return {}, lambda: report(found, time.monotonic() - start), 0 if found.method["complete"] else 130


def _progress(done: int, total: int, what: str) -> None:
    print(f"[{done + 1}/{total}] {what}", file=sys.stderr, flush=True)


def report(found: CostTable, seconds: float) -> str:
    """Rows, those that are unusable, and the model's errors by path."""
    from workbench.evidence.lookups import model

    spoilt = [row for row in found.rows if row.unusable]
    lines = [f"{found.machine}: {len(found.rows)} rows in {seconds:.0f} s, {len(spoilt)} unusable"
             + ("" if found.method["complete"] else ", interrupted")]
    lines += [f"  unusable: {row.path}, {row.loop}, {row.working_set_bytes} bytes: {row.unusable}"
              for row in spoilt[:10]]
    checks = model.check(found) if found.usable(path="chase") else []
    for path in dict.fromkeys(one.row.path for one in checks):
        errors = sorted(one.error for one in checks if one.row.path == path)
        lines.append(f"  model, {path}: {len(errors)} sizes, error {errors[0]:+.0%} to {errors[-1]:+.0%}, "
                     f"median {errors[len(errors) // 2]:+.0%}")
    return "\n".join(lines)


COMMAND = Command(
    wing="evidence",
    about="measure a cost table of this CPU: ns per path, loop and working set",
    example="workbench measure --full -o mine.json",
    arguments=_arguments,
    run=_run,
    json=False,
)
