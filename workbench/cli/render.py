"""``workbench render``: notebooks run, and turned into a site.

Exit status: 0 written; 1 a notebook failed; 2 bad input or a full disk; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workbench.cli._command import Answer, Command
from workbench.model.errors import InputError


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("notebook", nargs="*", type=Path, help="these only (default: all of --notebooks)")
    sub.add_argument("--notebooks", type=Path,
                     help="folder with the notebooks (default: notebooks, and pages of the explorers)")
    sub.add_argument("--out", type=Path, default=Path("site"), help="folder to write (default: site)")
    sub.add_argument("--jobs", type=int, help="notebooks to run at a time (default: 2)")
    sub.add_argument("--in-place", action="store_true", help="execute and normalise the notebooks themselves")
    sub.add_argument("--gallery", action="store_true",
                     help="write docs/gallery and its page from the stored notebooks")


def _run(args: argparse.Namespace) -> Answer:
    from workbench.views.pages import _gallery, _site
    from workbench.views.pages._run import JOBS, RenderError, in_place, notebooks

    jobs = JOBS if args.jobs is None else args.jobs
    if jobs < 1:
        raise InputError(f"argument --jobs: {jobs} is below 1")
    status = 0
    try:
        if args.gallery:
            written = _gallery.build(Path.cwd())
            print(f"render: {len(written)} pictures in {_gallery.FOLDER}", file=sys.stderr)
            return {}, str, 0
        paths = args.notebook or notebooks(args.notebooks or Path("notebooks"))
        if args.in_place:
            in_place(paths, jobs=jobs)
        else:
            _site.site(paths, args.out, jobs=jobs, with_explorers=not (args.notebook or args.notebooks))
            print(f"render: wrote {args.out / 'index.html'}", file=sys.stderr)
    except RenderError as error:
        for line in str(error).splitlines():
            print(f"render: {line}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("render: stopped; the site and the gallery are as they were", file=sys.stderr)
        status = 130
    except OSError as error:  # a full disk, a folder that may not be written
        raise InputError(error.strerror or str(error), file=error.filename) from None
    return {}, str, status


COMMAND = Command(
    wing="views",
    about="run the notebooks; write the site, or what they store",
    example="workbench render --out site",
    arguments=_arguments,
    run=_run,
    json=False,
)
