"""The command; exit status: 0 written; 1 a notebook failed; 2 bad input or a full disk; 130 Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from workbench.model.errors import InputError
from workbench.views.pages import _gallery as gallery
from workbench.views.pages._run import JOBS, RenderError, in_place, notebooks
from workbench.views.pages._site import site


def main(argv: Sequence[str] | None = None) -> int:
    """Render, or say in one line for each notebook why not."""
    parser = argparse.ArgumentParser(
        prog="workbench render", description="Run notebooks; write the site, or what they store.",
        epilog="example: workbench render --out site")
    parser.add_argument("notebook", nargs="*", type=Path, help="these only (default: all of --notebooks)")
    parser.add_argument("--notebooks", type=Path,
                        help="folder with the notebooks (default: notebooks, and pages of the explorers)")
    parser.add_argument("--out", type=Path, default=Path("site"), help="folder to write (default: site)")
    parser.add_argument("--jobs", type=int, default=JOBS,
                        help=f"notebooks to run at a time (default: {JOBS})")
    parser.add_argument("--in-place", action="store_true",
                        help="execute and normalise the notebooks themselves")
    parser.add_argument("--gallery", action="store_true",
                        help="write docs/gallery and its section of README.md from the stored notebooks")
    args = parser.parse_args(argv)
    if args.jobs < 1:
        parser.error(f"argument --jobs: {args.jobs} is below 1")
    try:
        if args.gallery:
            written = gallery.build(Path.cwd())
            print(f"render: {len(written)} pictures in {gallery.FOLDER}", file=sys.stderr)
            return 0
        paths = args.notebook or notebooks(args.notebooks or Path("notebooks"))
        if args.in_place:
            in_place(paths, jobs=args.jobs)
        else:
            site(paths, args.out, jobs=args.jobs, with_explorers=not (args.notebook or args.notebooks))
            print(f"render: wrote {args.out / 'index.html'}", file=sys.stderr)
        return 0
    except RenderError as error:
        for line in str(error).splitlines():
            print(f"render: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("render: stopped; the site and the gallery are as they were", file=sys.stderr)
        return 130
    except InputError as error:
        print(f"render: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"render: {InputError(error.strerror or str(error), file=error.filename)}", file=sys.stderr)
        return 2
