"""Where the captures of a fleet are: folders, globs and fsspec URLs.

Local: every ``.mmsnap`` and ``.zip`` below a folder, and every folder below it that is a capture. Links to
folders are not followed. At a URL: every ``.mmsnap`` and ``.zip``; each is copied to a temporary file of
bounded size, and removed again. Names come from strangers: they are kept printable, and never joined to a
path that is written.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.model.errors import InputError, printable
from workbench.model.memory.capture import CAPTURE_PARTS

SUFFIXES = (".mmsnap", ".zip")
MAX_REMOTE_BYTES = 256 << 20  # of a capture at a URL; assumed: a real one is 1 MB, of 24 TiB some 500 MB
MAX_CAPTURES = 10_000_000
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A capture: the name that tables use, its path, and the URL of its file system; "" is this machine's."""

    name: str
    path: str
    where: str = ""
    stamp: str = ""  # size and time: what differs when the file does


def find(where: str | os.PathLike[str]) -> list[Found]:
    """The captures at a place, by name.

    Examples
    --------
    >>> from workbench.model.files import data_dir
    >>> [found.name for found in find(data_dir() / "captures" / "debian-6.12-*")][:2]
    ['debian-6.12-2g', 'debian-6.12-4g-nvdimm2g']
    """
    text = os.fspath(where)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    found = _at_url(text) if "://" in text else _local(text)
    if not found:
        raise InputError(
            "no capture there: no .mmsnap, no .zip, no folder with parts of a capture", file=text
        )
    if len(found) > MAX_CAPTURES:
        raise InputError(f"{len(found)} captures are too many; the limit is {MAX_CAPTURES}", file=text)
    return sorted(found, key=lambda one: (one.name, one.path))


def _local(text: str) -> list[Found]:
    if glob.has_magic(text) and not Path(text).exists():
        root = Path(text)
        while glob.has_magic(str(root)):
            root = root.parent
        starts = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - of a path that may be absolute
        found = {one.path: one for start in starts for one in _below(start, str(root))}
        return list(found.values())
    if not Path(text).exists():
        raise InputError("there is no such file or folder", file=text)
    return list(_below(text, text if Path(text).is_dir() else str(Path(text).parent)))


def _below(start: str, root: str) -> Iterator[Found]:
    if not Path(start).is_dir():
        if start.endswith(SUFFIXES):
            yield _found(start, root)
        return
    for folder, folders, files in os.walk(start):
        folders.sort()
        for name in files:
            if name.endswith(SUFFIXES):
                yield _found(os.path.join(folder, name), root)  # noqa: PTH118 - a million times
        if any(name.removesuffix(".txt") in CAPTURE_PARTS or name.endswith(".npz") for name in files):
            yield _found(folder, root)


def _found(path: str, root: str) -> Found:
    try:
        about = os.stat(path, follow_symlinks=False)  # noqa: PTH116
        stamp = f"{about.st_size} {about.st_mtime_ns}"
    except OSError:
        stamp = ""
    name, path = os.path.relpath(path, root), os.path.abspath(path)  # noqa: PTH100 - and PTH109, as above
    return Found(_shown(os.path.basename(path) if name == "." else name), path, "", stamp)  # noqa: PTH119


def _shown(name: str) -> str:
    """A name fit for a table, a figure and a terminal: no control or direction character is left."""
    return printable(name, 4096)


def _at_url(url: str) -> list[Found]:
    system, path = _system(url)
    with _said(url):
        if glob.has_magic(path):
            root = path[: min(path.find(c) for c in "*?[" if c in path)].rpartition("/")[0]
            listed = system.glob(path, detail=True)
        elif path and not system.isdir(path):
            root, listed = path.rpartition("/")[0], {path: system.info(path)}
        else:
            root, listed = path.rstrip("/"), system.find(path, detail=True)
    found = []
    for name, about in listed.items():
        if name.endswith(SUFFIXES) and about.get("type", "file") != "directory":
            stamp = " ".join(
                str(about.get(key)) for key in ("size", "mtime", "LastModified", "ETag", "created")
            )
            shown = name.removeprefix(root).lstrip("/") if root else name.lstrip("/")
            found.append(Found(_shown(shown), name, url, stamp))
    return found


@functools.lru_cache(maxsize=8)
def _system(url: str) -> tuple[Any, str]:
    import fsspec

    with _said(url):
        system, path = fsspec.core.url_to_fs(url)
    return system, path


@contextlib.contextmanager
def _said(url: str) -> Iterator[None]:
    """Whatever a file system raises, as one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each file system has its own kinds
        said = str(error).split("\n")[0] or type(error).__name__
        raise InputError(f"cannot be listed or read: {said}", file=url) from None


@contextlib.contextmanager
def local_file(found: Found) -> Iterator[str]:
    """The path of a capture on this machine; a remote one is there until the block ends."""
    if not found.where:
        yield found.path
        return
    system, _ = _system(found.where)
    with tempfile.TemporaryDirectory(prefix="workbench-fleet-") as folder:
        copy = Path(folder) / ("capture.zip" if found.path.endswith(".zip") else "capture.mmsnap")
        with _said(found.path), system.open(found.path, "rb") as source, copy.open("wb") as target:
            size = 0
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                if size > MAX_REMOTE_BYTES:
                    raise InputError(
                        f"more than {MAX_REMOTE_BYTES} bytes are too many to copy", file=found.path
                    )
                target.write(chunk)
        yield str(copy)
