"""Captures: what one real machine showed of itself, opened part by part.

A capture is one of

* a folder of verbatim /proc and /sys text with ``kpageflags*.npz``, as in ``data/captures``; a sub-folder
  of a capture folder is a later snapshot of the same boot;
* ``NAME.mmsnap``, a zip with ``manifest.json``, ``proc/``, ``sys/`` and ``pages.npz``; its parts get the
  names that a folder gives them (``MMSNAP_PARTS``);
* any zip of such a folder, or one ``.npz`` alone.

Text is kept verbatim and parsed by those who know its format; every part may be missing. A later snapshot
takes from its parent the texts that it lacks, never page flags nor what was made from them: those show
another moment. Nothing is unpickled, nothing is unpacked to disk, and every size is checked before use.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from workbench.model.errors import InputError, printable
from workbench.model.files import data_dir
from workbench.model.kernel.config import ARCH_FAMILY

#: Where a ``.mmsnap`` keeps a part, and its name in a folder; other names lose only their folder.
MMSNAP_PARTS = {
    "sys/memory-blocks.txt": "sys-memory-blocks", "sys/nodes.txt": "sys-node", "sys/cache.txt": "cpu-cache",
    "sys/slab.txt": "sys-slab", "dmesg-memory.txt": "dmesg", "pages.npz": "kpageflags.npz",
}
#: A folder with one of these is a capture.
CAPTURE_PARTS = frozenset((
    "buddyinfo", "dmesg", "getconf", "hugepages", "iomem", "kernel", "meminfo", "memblock-memory",
    "sys-memory-blocks", "sys-node", "vmstat", "zoneinfo", "manifest.json", "kpageflags.npz",
))
#: Limits, assumed: 64 MiB hold the memory blocks of 64 TiB five times over; a real .mmsnap is 1 MB.
MAX_TEXT_BYTES = 64 << 20
MAX_MEMBER_BYTES = 1 << 30
MAX_ZIP_BYTES = 4 << 30
MAX_MEMBERS = 10_000

#: What nobody can answer without a part. Those behind OPTIONAL do not exist on every machine.
UNANSWERED = {
    "iomem": "where RAM begins and ends inside a memory block; persistent and device memory",
    "sys-memory-blocks": "which sections are present",
    "zoneinfo": "zones, and pages present in each",
    "vmstat": "the kernel's own count of memmap pages; pins acquired and released",
    "meminfo": "how much memory is in use, and for what",
    "kpageflags": "page types, folio orders, this machine's page mix",
    "kpagecount": "which pages are mapped, and how often",
    "pagetypeinfo": "free blocks by migrate type",
    "slabinfo": "how full the slab caches are",
    "sys-slab": "object sizes and merging of the slab caches",
    "sys-node": "distances between nodes",
    "cpu-cache": "the sizes of the caches",
    "hugepages": "how many hugetlb pages of each size there are",
    "dmesg": "memory as it was at boot: ranges without a direct map (NOMAP), what HVO frees, page_ext",
    "btf-structs.json": "this build's own struct layouts; those of the nearest preset are used",
    "memblock-memory": "ranges without a direct map (NOMAP)",
    "nd-pfn": "whether persistent memory has a memmap, and where",
    "hugetlb_optimize_vmemmap": "whether the memmap of hugetlb pages is optimised",
    "memmap_on_memory": "whether hot-added memory may hold its own memmap",
}
OPTIONAL = frozenset(("memblock-memory", "nd-pfn", "hugetlb_optimize_vmemmap", "memmap_on_memory"))
ROOT_ONLY = frozenset(("EACCES", "EPERM", "addresses hidden: shown with CAP_SYS_ADMIN only"))


class Missing(NamedTuple):
    """A part that a capture lacks, why, and what cannot be answered without it."""

    part: str
    reason: str
    unanswered: str

    def __str__(self) -> str:
        return f"without {self.part} ({self.reason}) it cannot say: {self.unanswered}"


@contextlib.contextmanager
def _input(file: str, place: str | None = None) -> Iterator[None]:
    """Turn whatever the system, zipfile or NumPy say about a bad file into one InputError."""
    try:
        yield
    except InputError:
        raise
    except PermissionError:
        raise InputError("may not be read by this user", file=file, place=place) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=file, place=place) from None
    except MemoryError:
        raise InputError("needs more memory than there is", file=file, place=place) from None
    except Exception as error:  # broken zips and headers raise some fifteen kinds
        what = f"{error}" or type(error).__name__
        raise InputError(f"damaged or not what its name says: {what}", file=file, place=place) from None


@dataclass(frozen=True)
class _File:
    """One part's bytes: a file, or a member of a zip."""

    path: Path
    where: str
    member: str | None = None

    def read(self, limit: int) -> bytes:
        """All bytes; InputError where there are more than ``limit``."""
        with _input(self.where):
            if self.member is not None:
                with zipfile.ZipFile(self.path) as archive:
                    nr_bytes = archive.getinfo(self.member).file_size
                    data = archive.read(self.member) if nr_bytes <= limit else b""
            else:
                with _open_regular(self.path) as file:
                    nr_bytes = os.fstat(file.fileno()).st_size
                    data = file.read(limit + 1) if nr_bytes <= limit else b""
            if max(nr_bytes, len(data)) > limit:
                raise InputError(f"{nr_bytes} bytes are too many for this part; the limit is {limit}",
                                 file=self.where)
            return data


@contextlib.contextmanager
def _open_regular(path: Path) -> Iterator[io.BufferedReader]:
    """Open a regular file; a pipe, which could wait for ever, and a device are refused."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InputError("not a regular file", file=path)
        yield file


class Capture:
    """One machine's files by part; made by :func:`load_capture`.

    Attributes
    ----------
    name : str
        The capture's name, for titles.
    parts : tuple of str
        Names of the parts that are there, inherited ones included: a text without its ``.txt``, other files
        with their full name.
    npz_names : tuple of str
        The page-flag files among them.
    inherited : frozenset of str
        The parts that come from the parent capture.

    Examples
    --------
    >>> capture = load_capture("microvm-24g-6.18")
    >>> capture.release, capture.arch, capture.page_size, capture.npz_names
    ('6.18.44', 'x86_64', 4096, ('kpageflags.same-file.npz',))
    >>> capture.text("vmstat").splitlines()[0]
    'nr_free_pages 2154163'
    >>> capture.text("btf") is None
    True
    """

    def __init__(self, name: str, where: str, files: dict[str, _File],
                 parent: dict[str, _File] | None = None):
        self.name = name
        self._where = where
        lacking = {part: file for part, file in (parent or {}).items() if part not in files}
        self._files = {**lacking, **files}
        self.inherited = frozenset(lacking)
        self.parts = tuple(sorted(self._files))
        self.npz_names = tuple(part for part in self.parts if part.endswith(".npz"))

    def __repr__(self) -> str:
        return f"Capture({self.name!r}, {len(self.parts)} parts)"

    def __contains__(self, part: str) -> bool:
        return part in self._files

    def text(self, part: str) -> str | None:
        """A part's text as it was captured, or None where it is missing.

        Bytes that are not UTF-8 are shown as ``\\xNN``: one odd name in a log must not hide the rest.
        """
        file = self._files.get(part)
        if file is None:
            return None if part not in ("kernel", "getconf") else self._from_manifest(part)
        return file.read(MAX_TEXT_BYTES).decode("utf-8", errors="backslashreplace")

    def where(self, part: str) -> str:
        """The file that holds a part, or would hold it; for messages."""
        if part in self._files:
            return self._files[part].where
        if part in ("kernel", "getconf") and "manifest.json" in self._files:
            return self._files["manifest.json"].where
        return f"{self._where}/{part}" + ("" if "." in part else ".txt")

    def manifest(self) -> dict[str, Any]:
        """What the capture says of itself (``.mmsnap``: release, page size, root, parts); else empty."""
        file = self._files.get("manifest.json")
        if file is None:
            return {}
        with _input(file.where):
            found = json.loads(file.read(MAX_TEXT_BYTES))
        if not isinstance(found, dict):
            raise InputError("the manifest is not a JSON object", file=file.where)
        return found

    def missing(self) -> list[Missing]:
        """The parts that are not there, with the reason, and what therefore cannot be answered.

        Examples
        --------
        >>> [lack.part for lack in load_capture("debian-6.12-2g").missing()][:2]
        ['pagetypeinfo', 'slabinfo']
        """
        manifest = self.manifest()
        parts = manifest.get("parts")
        said = parts if isinstance(parts, dict) else {}
        as_root = "; even as root" if manifest.get("root") is True else "; root may read it"
        found = []
        for part, unanswered in UNANSWERED.items():
            own = said.get(part, said.get(f"{part}.end"))
            status = printable(str(own.get("status", "ok"))) if isinstance(own, dict) else None
            if status is None:
                there = self.npz_names if part.startswith("kpage") else part in self
                status = "ok" if there or part in OPTIONAL else "not in the capture"
            if status not in ("ok", "empty") and not (part in OPTIONAL and status == "absent"):
                found.append(Missing(part, status + as_root * (status in ROOT_ONLY), unanswered))
        return found

    @property
    def release(self) -> str | None:
        """The kernel release, ``uname -r``; None where the capture does not say."""
        found = re.search(r"(?<!\S)\d+\.\d+\S*", self.text("kernel") or "")
        return found[0] if found else None

    @property
    def arch(self) -> str | None:
        """``uname -m``; None where the capture does not say."""
        words = re.split(r"[\s:=\"']+", self.text("kernel") or "")
        return next((word for word in words if word in ARCH_FAMILY), None)

    @property
    def page_size(self) -> int | None:
        """PAGE_SIZE in bytes; None where the capture does not say.

        From getconf, else KernelPageSize of a smaps, else what the page-flag file says; never from the
        name of the architecture: ppc64le and arm64 have several.
        """
        for part, pattern, unit in (("getconf", r"^\s*PAGE_?SIZE\b[ \t:=]*(\S+)", 1),
                                    ("smaps", r"^KernelPageSize:\s*(\S+)\s+kB", 1024)):
            if found := re.search(pattern, self.text(part) or "", re.MULTILINE):
                return _page_size(found[1], unit, self.where(part))
        for name in self.npz_names:
            if found := re.search(r'"page_size":\s*(\d+)', self.npz(name).meta()):
                return _page_size(found[1], 1, self.where(name))
        return None

    def npz(self, label: str | None = None) -> Npz:
        """A page-flag file, not read yet.

        Parameters
        ----------
        label : str, optional
            ``"before"`` for ``kpageflags.before.npz``, or the full name. Without it ``kpageflags.npz``, else
            the first of ``npz_names``.
        """
        wanted = [label, f"kpageflags.{label}.npz"] if label else ["kpageflags.npz", *self.npz_names]
        for name in wanted:
            if name in self.npz_names:
                return Npz(self._files[name])
        lack = next((lack for lack in self.missing() if lack.part == "kpageflags"), None)
        if lack and self.manifest():
            rule = f"no page flags ({lack.reason}) when the capture was taken"
            if "root may" in lack.reason:
                rule += ": take the capture with sudo"
            raise InputError(rule, file=self._where)
        there = ", ".join(self.npz_names) or "none"
        raise InputError(f"no page flags{f' named {label!r}' if label else ''}; there: {there}",
                         file=self._where)

    def _from_manifest(self, part: str) -> str | None:
        """kernel and getconf of a ``.mmsnap``, from release, arch and page_size in its manifest."""
        manifest = self.manifest()
        if part == "getconf":
            return f"PAGE_SIZE {manifest['page_size']}\n" if "page_size" in manifest else None
        keys = ("release", "kernel_release", "kernel", "arch", "machine")  # the first is ours
        return "".join(f"{manifest[key]}\n" for key in keys if key in manifest) or None


class Npz:
    """The arrays of one ``.npz``, each checked before it is read; nothing is ever unpickled.

    Examples
    --------
    >>> pages = load_capture("debian-6.12-2g").npz()
    >>> pages.names
    ('ram', 'flag_values', 'flag_counts', 'flag_code', 'mapcount_idx', 'mapcount', 'meta')
    >>> pages.read("ram", shape=(None, 2)).tolist()
    [[0, 524288]]
    """

    def __init__(self, file: _File):
        self.where = file.where
        self._data: Path | io.BytesIO = (
            file.path if file.member is None else io.BytesIO(file.read(MAX_MEMBER_BYTES)))
        with _input(self.where), self._open() as archive:
            self._members = {info.filename.removesuffix(".npy"): info
                             for info in _checked_members(archive, self.where, limit=memory_limit_bytes())}
        self.names = tuple(self._members)

    @contextlib.contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        if isinstance(self._data, io.BytesIO):
            with zipfile.ZipFile(self._data) as archive:
                yield archive
        else:
            with _open_regular(self._data) as file, zipfile.ZipFile(file) as archive:
                yield archive

    def bad(self, rule: str, member: str) -> InputError:
        """An InputError that names this file and a member."""
        return InputError(rule, file=self.where, place=f"member {member!r}")

    def read(self, name: str, *, kinds: str = "u", shape: tuple[int | None, ...] = (None,)) -> NDArray[Any]:
        """One array, in native byte order.

        Parameters
        ----------
        name : str
            The member, without ``.npy``.
        kinds : str
            The kinds of dtype that will do, as in ``numpy.dtype.kind``.
        shape : tuple of int or None
            The shape that it must have; None where any length will do.
        """
        if name not in self._members:
            raise self.bad(f"missing; there: {', '.join(self.names) or 'nothing'}", name)
        info = self._members[name]
        with _input(self.where, f"member {name!r}"), self._open() as archive, archive.open(info) as file:
            version = npy_format.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise self.bad(f".npy version {version} is neither 1.0 nor 2.0", name)
            read_header = (npy_format.read_array_header_1_0 if version == (1, 0)
                           else npy_format.read_array_header_2_0)
            found, fortran, dtype = read_header(file)
            fits = len(found) == len(shape) and all(
                length >= 0 and want in (None, length) for length, want in zip(found, shape, strict=True))
            if not fits:
                wanted = "x".join("n" if want is None else str(want) for want in shape) or "a scalar"
                raise self.bad(f"shape {found} must be {wanted}", name)
            if dtype.hasobject or dtype.kind not in kinds:
                raise self.bad(f"dtype {dtype} is none of the kinds {kinds!r}", name)
            nr_bytes = math.prod(found) * dtype.itemsize
            if nr_bytes != info.file_size - file.tell():
                raise self.bad(f"its header says {nr_bytes} bytes, the file has "
                               f"{info.file_size - file.tell()}", name)
            array = np.empty(math.prod(found), dtype)
            target = array.view(np.uint8).data if nr_bytes else memoryview(bytearray())
            at = 0
            while at < nr_bytes and (chunk := file.read(min(1 << 20, nr_bytes - at))):
                target[at:at + len(chunk)] = chunk
                at += len(chunk)
            if at < nr_bytes or file.read(1):  # the read at the end makes zipfile check the CRC
                raise self.bad(f"holds {at} of {nr_bytes} bytes", name)
            array = array.reshape(found, order="F" if fortran else "C")
            return array.astype(dtype.newbyteorder("="), copy=False)

    def meta(self) -> str:
        """The text of member ``meta`` (JSON about the capture), empty where there is none."""
        if "meta" not in self._members or self._members["meta"].file_size > MAX_TEXT_BYTES:
            return ""
        with _input(self.where, "member 'meta'"):
            return str(self.read("meta", kinds="U", shape=())[()])


def load_capture(path_or_name: str | os.PathLike[str]) -> Capture:
    """Open a capture: a folder, a zip or ``.mmsnap``, an ``.npz``, or the name of one that ships.

    Examples
    --------
    >>> later = load_capture("amd64-6g-hvo-1g/after-free")
    >>> later.name, later.page_size, "getconf" in later.inherited, later.npz_names
    ('amd64-6g-hvo-1g/after-free', 4096, True, ())
    """
    given = os.fspath(path_or_name)
    shipped = data_dir() / "captures"
    with _input(given):
        path = Path(given)
        name = path.name.removesuffix(".mmsnap").removesuffix(".zip")
        if given and not path.exists() and not path.is_absolute() and ".." not in path.parts:
            path, name = shipped / given, str(path)
        if not given or not path.exists():
            known = ", ".join(sorted(p.name for p in shipped.iterdir())) if shipped.is_dir() else "none"
            raise InputError(f"capture {given!r} is neither a file nor a folder nor one that ships: {known}")
        resolved = path.resolve()
        if resolved.is_relative_to(shipped.resolve()) and resolved != shipped.resolve():
            name = str(resolved.relative_to(shipped.resolve()))
        name = name or resolved.name
        if not path.is_dir():
            return Capture(name, str(path), _zip_files(path))
        files = _folder_files(path)
        if not _is_capture(files):
            inside = ", ".join(sorted(p.name for p in path.iterdir() if p.is_dir() and
                                      _is_capture(_folder_files(p))))
            raise InputError(f"the folder holds no part of a capture (iomem.txt, vmstat.txt, ...)"
                             f"{'; name one of its sub-folders: ' + inside if inside else ''}", file=path)
        parent = {}
        with contextlib.suppress(OSError):  # a parent that cannot be listed has nothing to give
            parent = _folder_files(resolved.parent)
        if not {"kernel", "iomem"} & parent.keys():
            parent = {}
        texts = {part: file for part, file in parent.items()
                 if "." not in part and not part.startswith(("page-types", "pagetypeinfo"))}
        return Capture(name, str(path), files, texts)


def memory_limit_bytes() -> int:
    """The largest array that a capture may ask for: half of this machine's memory, 16 GiB at most."""
    return min(16 << 30, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)


def _is_capture(files: dict[str, _File]) -> bool:
    return bool(CAPTURE_PARTS & files.keys()) or any(part.endswith(".npz") for part in files)


def _part(relative: str) -> str:
    """The name of a part from a file's name inside its capture."""
    name = MMSNAP_PARTS.get(relative, PurePosixPath(relative).name.removesuffix(".txt"))
    return re.sub(r"^(vmstat|meminfo)\.end$", r"\1", name)


def _by_part(files: dict[str, _File]) -> dict[str, _File]:
    """Files by part, from files by their name inside the capture; where two fit, the shorter name wins."""
    found: dict[str, _File] = {}
    for relative in sorted(files, key=lambda name: (len(name), name)):
        if re.search(r"\.(txt|json)$|^(kpageflags(\..+)?|pages)\.npz$", relative):
            found.setdefault(_part(relative), files[relative])
    for part in ("vmstat", "meminfo"):
        if part not in found and f"{part}.start" in found:
            found[part] = found[f"{part}.start"]
    return found


def _folder_files(folder: Path) -> dict[str, _File]:
    return _by_part({entry.name: _File(entry, str(entry)) for entry in folder.iterdir()})


def _zip_files(path: Path) -> dict[str, _File]:
    """The parts in a zip: of the shallowest folder that has any."""
    where = str(path)
    with _open_regular(path) as file:
        if not zipfile.is_zipfile(file):
            raise InputError("neither a folder nor a zip (.mmsnap)", file=where)
        with zipfile.ZipFile(file) as archive:
            members = _checked_members(archive, where, limit=MAX_ZIP_BYTES)
    names = [info.filename for info in members if not info.is_dir()]
    if names and all(name.endswith(".npy") for name in names):
        return {"kpageflags.npz": _File(path, where)}
    for info in members:
        if info.file_size > MAX_MEMBER_BYTES:
            raise InputError(f"{info.file_size} bytes are too many; the limit is {MAX_MEMBER_BYTES}",
                             file=where, place=f"member {info.filename!r}")
    tops = {}
    for name in names:
        top = PurePosixPath(name).parent
        if top.name in ("proc", "sys"):
            top = top.parent
        if _part(str(PurePosixPath(name).relative_to(top))) in CAPTURE_PARTS or name.endswith(".npz"):
            tops[top] = len(top.parts)
    shallowest = [top for top, depth in tops.items() if depth == min(tops.values())]
    if len(shallowest) != 1:
        raise InputError("the zip holds no part of a capture (iomem.txt, vmstat.txt, ...)" if not tops else
                         f"the zip holds several captures ({', '.join(map(str, sorted(shallowest)))}); "
                         "unpack it and name one", file=where)
    top, inside = shallowest[0], {}
    for name in names:
        if PurePosixPath(name).is_relative_to(top):
            relative = PurePosixPath(name).relative_to(top)
            if relative.parts[:-1] in ((), ("proc",), ("sys",)):
                inside[str(relative)] = _File(path, f"{where}/{name}", name)
    return _by_part(inside)


def _checked_members(archive: zipfile.ZipFile, where: str, *, limit: int) -> list[zipfile.ZipInfo]:
    """A zip's members, once names, kinds and declared sizes are all harmless.

    zipfile never hands out more bytes than a member declares, so the declared sizes bound what is read.
    """
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise InputError(f"{len(members)} members are too many; the limit is {MAX_MEMBERS}", file=where)
    seen: set[str] = set()
    for info in members:
        name, place = info.filename, f"member {info.filename!r}"
        if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
            raise InputError("a name that leads out of the archive", file=where, place=place)
        if name in seen:
            raise InputError("the name occurs twice", file=where, place=place)
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InputError("a link or device, not a file", file=where, place=place)
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError("encrypted, or packed with something else than deflate", file=where, place=place)
        seen.add(name)
    if (total := sum(info.file_size for info in members)) > limit:
        raise InputError(f"{total} bytes when unpacked are too many; the limit is {limit}", file=where)
    return members


def _page_size(text: str, unit: int, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 512 <= (size := int(text) * unit) <= 1 << 24 \
            or size & (size - 1):
        raise InputError(f"page size {text[:40]!r} is not a power of two of 512 bytes to 16 MiB", file=where)
    return size
