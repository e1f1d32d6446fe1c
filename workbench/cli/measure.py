"""Measure a cost table of this machine: ``workbench measure --quick|--full -o FILE.json``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from workbench.evidence.lookups import model
from workbench.evidence.lookups.costs import CostTable
from workbench.model.errors import InputError, printable


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, save, and say how good the cost model is on it."""
    parser = argparse.ArgumentParser(prog="workbench measure", description="Measure a cost table.")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--quick", action="store_true", help="15 seconds: few sizes")
    how.add_argument("--full", action="store_true", help="under three minutes")
    parser.add_argument("-o", dest="out", metavar="FILE.json", required=True)
    args = parser.parse_args(argv)
    folder = Path(args.out).resolve().parent
    if not folder.is_dir():  # before three minutes of measuring
        print(f"workbench measure: {printable(args.out)}: there is no folder {printable(str(folder))}",
              file=sys.stderr)
        return 2
    if Path(args.out).is_dir() or not os.access(folder, os.W_OK):
        print(f"workbench measure: {printable(args.out)}: is a folder, or lies in one that cannot be written",
              file=sys.stderr)
        return 2
    from workbench.evidence.lookups import _table as table

    start = time.monotonic()
    found = table.measured(full=args.full, progress=_progress)
    try:
        found.save(args.out)
    except InputError as error:
        print(f"workbench measure: {error}", file=sys.stderr)
        return 2
    print(report(found, time.monotonic() - start))
    return 0 if found.method["complete"] else 130


def _progress(done: int, total: int, what: str) -> None:
    print(f"[{done + 1}/{total}] {what}", file=sys.stderr, flush=True)


def report(found: CostTable, seconds: float) -> str:
    """Rows, those that are unusable, and the model's errors by path."""
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


if __name__ == "__main__":
    raise SystemExit(main())
