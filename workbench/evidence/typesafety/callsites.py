"""Call-site census of a Linux kernel tree: how often each page API is called, and where.

What is counted
---------------
A call is the name of an API followed by ``(``, in a ``.c`` or ``.h`` file, after C's translation phases 2
and 3 as gcc does them: continued lines are joined, a comment is one space, a string or character literal is
no code (one that is not closed ends with its line). White space and comments may stand between the name
and ``(``. Both arms of every ``#if`` count, ``#if 0`` too: the census has no configuration. The body of a
``#define`` counts once, where it is written, not where it is used; all other directives hold no calls.

Not a call:

- a prototype or a definition, with or without a return type, and a macro's own name after ``#define``;
- a member of that name: ``x->get_page(...)``, ``x.get_page(...)``; it calls whatever the pointer holds;
- the name without ``(``: ``.release = put_page``, ``(put_page)(page)``; and a part of a longer or pasted
  name: ``foo_put_page(``, ``x##put_page(``.

A declaration is told from a call by the tokens before the name, up to the start of its statement: only names
and ``*`` (``static inline struct page *virt_to_page(``) make a declaration. So a bare macro name directly
before a call (``MACRO put_page(page);``) would hide that call, and a prototype that a macro
builds from pasted names is not seen.

Measured on Linux 6.1.192 (Debian), 55,405 files: tree-sitter-c 0.24.2 needs 23 s for the 1,335 files that
hold a name, reports a syntax error in 1,059 of them, and does not look into ``#define`` bodies; this reader
needs 3 s. Both found the same calls in every file, but for macro bodies: 213 of now 3,795 calls lie there.

Two rules choose the files: ``all`` takes every file; ``gup`` leaves out mm/gup.c, the gup tests,
lib/iov_iter.c, the headers that declare the APIs (include/linux/mm.h, uio.h, memfd.h), tools/ and
Documentation/. Its counts are those of data/callsites/history.csv.

Left out: assembler, Rust, files below a hidden directory (.git, .pc), symbolic links (what they point to in
the tree counts at its own place), and files above 64 MiB.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import string
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from workbench.model.errors import InputError, printable

if TYPE_CHECKING:
    import pandas as pd

# Family -> the names in it. include/linux/mm.h, uio.h, scatterlist.h and asm-generic/memory_model.h of v5.10,
# v6.1, v6.12 and v7.3; a name that a release lacks counts 0 there.
FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "get_user_pages": (
        "get_user_pages", "get_user_pages_remote", "get_user_pages_locked", "get_user_pages_unlocked",
        "get_user_pages_fast", "get_user_pages_fast_only", "get_user_page_fast_only",
        "get_user_page_vma_remote", "get_user_pages_longterm",
    ),
    "pin_user_pages": (
        "pin_user_pages", "pin_user_pages_remote", "pin_user_pages_locked", "pin_user_pages_unlocked",
        "pin_user_pages_fast", "pin_user_pages_fast_only", "memfd_pin_folios",
    ),
    "unpin": (
        "unpin_user_page", "unpin_user_pages", "unpin_user_pages_dirty_lock",
        "unpin_user_page_range_dirty_lock", "unpin_user_folio", "unpin_user_folio_dirty_locked",
        "unpin_folio", "unpin_folios",
    ),
    "iov_iter_get_pages": (
        "iov_iter_get_pages", "iov_iter_get_pages_alloc", "iov_iter_get_pages2", "iov_iter_get_pages_alloc2",
    ),
    "iov_iter_extract_pages": ("iov_iter_extract_pages",),
    "set_page_dirty_lock": ("set_page_dirty_lock",),
    "maybe_dma_pinned": ("page_maybe_dma_pinned", "folio_maybe_dma_pinned"),
    "get_page": ("get_page", "try_get_page", "get_page_unless_zero"),
    "put_page": ("put_page",),
    "page_to_pfn": ("page_to_pfn", "page_to_phys"),
    "pfn_to_page": ("pfn_to_page", "phys_to_page"),
    "virt_to_page": ("virt_to_page",),
    "scatterlist": ("sg_set_page", "sg_page"),
    "page_folio": ("page_folio", "compound_head"),
})
FAMILY_OF: Mapping[str, str] = MappingProxyType(
    {api: family for family, apis in FAMILIES.items() for api in apis}
)
RULES = ("all", "gup")

MAX_FILE_BYTES = 64 << 20  # assumed; the largest generated header of v6.12 has 22 MB
_RACY_NS = 2_000_000_000  # assumed; the coarsest time stamps, of FAT, are 2 s
_GUP_FILES = frozenset({
    "mm/gup.c", "mm/gup_test.c", "mm/gup_benchmark.c", "lib/iov_iter.c",
    "include/linux/mm.h", "include/linux/uio.h", "include/linux/memfd.h",
})
_SUFFIXES = (".c", ".h")

_STEMS = (b"page", b"unpin_", b"memfd_pin_folios")  # every name holds one of them
_SPLICE = re.compile(rb"\\[ \t\f\v]*\r?\n")
_JOINED_NAME = re.compile(_SPLICE.pattern + rb"(?=[\w$])")  # a name may go on there
_NOT_CODE = re.compile(
    rb"/\*(?:.*?\*/|.*)|//[^\n]*"
    rb'|"(?:[^"\\\n]++|\\[^\n])*+"?'
    rb"|'(?:[^'\\\n]++|\\[^\n])*+'?",
    re.DOTALL,
)
_DIRECTIVE = re.compile(rb"^[ \t\f\v\r]*(?:#|%:)[ \t\f\v]*(define\b)?([^\n]*)", re.MULTILINE)
_MACRO_HEAD = re.compile(rb"\s*[A-Za-z_$][\w$]*(?:\([^)]*\)?)?")
_ANY_NAME = b"|".join(sorted((api.encode() for api in FAMILY_OF), reverse=True))
_CALL = re.compile(rb"(?<![\w$])(" + _ANY_NAME + rb")\s*\(")
_WHERE_DIRECTIVES_WERE = b"@"  # no character of C
_BEFORE = (string.ascii_letters + string.digits + string.whitespace + "_$*@").encode()  # before a name
_WORD = re.compile(rb"[A-Za-z_$][\w$]*|[0-9][\w$]*|\*")
_LAST_WORD = re.compile(rb"([\w$]+)\s*\Z")
_MEMBER = re.compile(rb"(?<!\.)(?:\.\.\.)*\.\.?\Z|(?<!-)(?:--)*->\Z")  # . and ->, not ... and -- >
_BRACKET = re.compile(rb"[(){};]")
_VERSION_LINE = re.compile(
    r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*(\S*)[ \t]*$", re.MULTILINE
)
_KEYWORDS = frozenset(  # a name after one of these is in an expression
    b"return else do case sizeof goto typeof __typeof__ __extension__ _Alignof __alignof__".split()
)
_ATTRIBUTES = frozenset(  # include/linux/compiler_attributes.h and compiler_types.h, v6.12
    b"__attribute__ __printf __scanf __aligned __section __acquires __releases __must_hold __cond_acquires "
    b"__alloc_size __assume_aligned".split()
)


def count_calls(source: bytes) -> dict[str, int]:
    """How often each API is called in one C source text.

    Examples
    --------
    >>> count_calls(b"struct page *virt_to_page(void *);  f(virt_to_page(p)); // put_page(p)")
    {'virt_to_page': 1}
    """
    found: Counter[str] = Counter()
    if any(stem in source for stem in _STEMS) or _JOINED_NAME.search(source):
        for text in _code(source):
            for match in _CALL.finditer(text):
                if _is_call(text, match.start(), match.end()):
                    found[match[1].decode()] += 1
    return dict(sorted(found.items()))


def _code(source: bytes) -> Iterator[bytes]:
    """The text without comments, literals and directives, after a ``;``; then each ``#define``'s body."""
    text = _NOT_CODE.sub(_blank, _SPLICE.sub(b"", source))
    bodies: list[bytes] = []

    def directive(match: re.Match[bytes]) -> bytes:
        if match[1] and (head := _MACRO_HEAD.match(match[2])):
            bodies.append(match[2][head.end():])
        return _WHERE_DIRECTIVES_WERE

    yield b";" + _DIRECTIVE.sub(directive, text)
    yield from bodies


def _blank(match: re.Match[bytes]) -> bytes:
    return b" " if match[0][:1] == b"/" else b'""'


def _is_call(text: bytes, start: int, end: int) -> bool:
    """Whether the name that starts at ``start``, its ``(`` just before ``end``, is called."""
    words, stop = _words_before(text, start)
    last = text[max(0, stop - 1):stop]
    names = [word for word in words if word != b"*"]
    if any(name in _KEYWORDS or name[:1].isdigit() for name in names):
        return True
    if not names:
        if words:  # *virt_to_page(p)
            return True
        if last == b"#" or _MEMBER.search(text, max(0, stop - 64), stop):
            return False
        return last not in (b";", b"{", b"}") or not _defines(text, end)
    if words[-1] != b"*" or len(names) > 1:  # void put_page(, struct page *virt_to_page(
        return False
    # page_t *virt_to_page(p), or a product
    declares = last in (b"", b";", b"{", b"}")
    return not (declares and (_defines(text, end) or _after(text, end) == b";"))


def _words_before(text: bytes, end: int) -> tuple[list[bytes], int]:
    """Names and stars directly before ``end``, attributes skipped, and where they begin."""
    words: list[bytes] = []
    while True:
        size = 128
        while len(rest := text[max(0, end - size):end].rstrip(_BEFORE)) == 0 and size < end:
            size *= 2
        begin = max(0, end - size) + len(rest)
        words = _WORD.findall(text[begin:end]) + words
        if text[max(0, begin - 1):begin] != b")" or (attribute := _attribute(text, begin)) is None:
            return words, begin
        end = attribute


def _after(text: bytes, position: int) -> bytes:
    """The character after the ``)`` of a ``(`` just before ``position``; b"" if a statement is inside."""
    depth = 1
    for match in _BRACKET.finditer(text, position):
        depth += {b"(": 1, b")": -1}.get(match[0], 1 << 30)
        if depth == 0:
            return text[match.end():match.end() + 256].lstrip()[:1]
        if depth >= 1 << 30:
            break
    return b""


def _defines(text: bytes, position: int) -> bool:
    """Whether a body, or the parameters of an old definition, follow the parentheses."""
    return re.match(rb"[A-Za-z_{]", _after(text, position)) is not None


def _attribute(text: bytes, end: int) -> int | None:
    """Where the attribute begins whose arguments the ``)`` just before ``end`` closes; None if it is none."""
    depth = 0
    for position in range(end - 1, max(-1, end - 257), -1):
        depth += {41: 1, 40: -1}.get(text[position], 0)
        if depth == 0:
            head = _LAST_WORD.search(text[max(0, position - 64):position])
            return position - len(head[0]) if head and head[1] in _ATTRIBUTES else None
    return None


# -- a tree -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """Calls of one API below one directory."""

    api: str
    directory: str
    count: int
    files: int

    @property
    def family(self) -> str:
        """The API's family."""
        return FAMILY_OF[self.api]


@dataclass(frozen=True, slots=True)
class Call:
    """Calls of one API in one file; the path is relative to the tree."""

    api: str
    path: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Census:
    """The calls of a kernel tree.

    Parameters
    ----------
    tree : str
        Where it lies.
    release : str
        From its Makefile, such as ``6.1.192``.
    calls : tuple of Call
        One for each API and file that has calls, sorted by path and API.
    nr_files, nr_cached : int
        .c and .h files looked at, and how many of them the cache knew.
    skipped : mapping of str to tuple of str
        Reason -> the paths that were left out because of it.
    seconds : float
        How long the census took.
    """

    tree: str
    release: str
    calls: tuple[Call, ...]
    nr_files: int = 0
    nr_cached: int = 0
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0

    def calls_by(self, rule: str = "all") -> tuple[Call, ...]:
        """The calls that count under a rule."""
        if rule not in RULES:
            raise InputError(f"rule {rule!r}; it must be one of {', '.join(RULES)}")
        return self.calls if rule == "all" else tuple(call for call in self.calls if _in_gup_rule(call.path))

    def rows_by(self, rule: str = "all") -> tuple[Row, ...]:
        """Calls per API and directory under a rule, in the order of `FAMILIES`."""
        found: dict[tuple[str, str], list[int]] = {}
        for call in self.calls_by(rule):
            row = found.setdefault((call.api, directory_of(call.path)), [0, 0])
            row[0] += call.count
            row[1] += 1
        order = list(FAMILY_OF)
        return tuple(
            Row(api, directory, count, files)
            for (api, directory), (count, files) in sorted(
                found.items(), key=lambda item: (order.index(item[0][0]), item[0][1])
            )
        )

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Calls per API and directory, all files."""
        return self.rows_by("all")

    @cached_property
    def families(self) -> dict[str, dict[str, Any]]:
        """Family -> its calls, files and calls per directory, under the rule ``gup``."""
        found = {}
        for family in FAMILIES:
            calls = [call for call in self.calls_by("gup") if FAMILY_OF[call.api] == family]
            directories: Counter[str] = Counter()
            for call in calls:
                directories[directory_of(call.path)] += call.count
            found[family] = {
                "count": directories.total(),
                "files": len({call.path for call in calls}),
                "directories": dict(sorted(directories.items())),
            }
        return found

    @property
    def nr_files_get_or_pin(self) -> int:
        """Files that get or pin user pages, under the rule ``gup``."""
        return len(self.files("get_user_pages", "pin_user_pages"))

    def files(self, *families: str, rule: str = "gup") -> set[str]:
        """The files that call something of these families."""
        return {call.path for call in self.calls_by(rule) if FAMILY_OF[call.api] in families}

    def to_frame(self, rule: str = "all") -> pd.DataFrame:
        """The rows as a DataFrame: api, family, directory, count, files."""
        import pandas as pd

        return pd.DataFrame(
            [(r.api, r.family, r.directory, r.count, r.files) for r in self.rows_by(rule)],
            columns=["api", "family", "directory", "count", "files"],
        )

    def to_dict(self, rule: str = "all") -> dict[str, Any]:
        """For ``--json``."""
        return {
            "rows": [
                {"api": r.api, "family": r.family, "directory": r.directory, "count": r.count,
                 "files": r.files}
                for r in self.rows_by(rule)
            ],
            "rule": rule,
            "families": self.families,
            "files_with_get_or_pin": self.nr_files_get_or_pin,
            "tree": self.tree,
            "release": self.release,
            "nr_files": self.nr_files,
            "nr_cached": self.nr_cached,
            "skipped": {reason: len(paths) for reason, paths in self.skipped.items()},
            "seconds": round(self.seconds, 3),
        }

    def notes(self) -> list[str]:
        """One line for each reason why files were skipped."""
        return [
            f"{len(paths)} skipped, {reason}: {', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''}"
            for reason, paths in self.skipped.items()
        ]


def directory_of(path: str) -> str:
    """The directory that a file counts for: two levels below drivers/ and arch/, else one.

    Examples
    --------
    >>> directory_of("drivers/gpu/drm/drm_gem.c"), directory_of("mm/gup.c"), directory_of("drivers/x.c")
    ('drivers/gpu', 'mm', 'drivers')
    """
    parts = path.split("/")[:-1]
    return "/".join(parts[: 2 if parts[:1] in (["drivers"], ["arch"]) else 1]) or "."


def _in_gup_rule(path: str) -> bool:
    return path not in _GUP_FILES and not path.startswith(("tools/", "Documentation/"))


def census(
    tree: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None, *, cache: bool = True
) -> Census:
    """Count the calls of every API in a kernel tree.

    Exact by the rule of this module, whatever the tree's configuration.

    Parameters
    ----------
    tree : path
        The top of a kernel source tree.
    progress : callable, optional
        Called now and then with the number of files done and the number of all.
    cache : bool
        Whether to use and write the cache, which knows a file by size, inode, mtime and ctime. It lies in
        ``$XDG_CACHE_HOME/page-workbench`` (default ``~/.cache``); where that cannot be written, none is.
    """
    began = time.monotonic()
    top = Path(tree)
    release = _release(top)
    skipped: dict[str, list[str]] = {}
    found = sorted(_sources(top, skipped), key=lambda source: source[0])
    known_file = _cache_file(top) if cache else None
    known = _load_cache(known_file)
    now_ns = time.time_ns()
    new: dict[str, list[Any]] = {}
    calls: list[Call] = []
    nr_cached = nr_files = 0
    for done, (path, key) in enumerate(found):
        if progress and done % 500 == 0:
            progress(done, len(found))
        entry = known.get(path)
        if entry and entry[:4] == key:
            counts = entry[4]
            nr_cached += 1
        else:
            try:
                counts = count_calls(_read(top / path))
            except _Skip as skip:
                skipped.setdefault(str(skip), []).append(path)
                continue
        nr_files += 1
        if key[3] < now_ns - _RACY_NS:  # one that is being written may change within the same tick
            new[path] = [*key, counts]
        calls += [Call(api, path, count) for api, count in counts.items()]
    if progress:
        progress(len(found), len(found))
    if known_file and new != known:
        _store_cache(known_file, new)
    return Census(
        tree=str(top), release=release, calls=tuple(calls), nr_files=nr_files, nr_cached=nr_cached,
        skipped={reason: tuple(paths) for reason, paths in sorted(skipped.items())},
        seconds=time.monotonic() - began,
    )


class _Skip(Exception):
    """Why one file is not counted."""


def _release(top: Path) -> str:
    """The tree's release; refuses what is no kernel tree."""
    if not top.is_dir():
        raise InputError("not a directory; it must be the top of a kernel tree", file=top)
    if not os.path.lexists(top / "Makefile"):
        raise InputError("not a kernel tree: it has no Makefile", file=top)
    try:
        text = _read(top / "Makefile")[:4096].decode("utf-8", errors="replace")
    except _Skip as why:
        raise InputError(f"not a kernel tree: its Makefile is {why}", file=top) from None
    said = dict(_VERSION_LINE.findall(text))
    if not all(re.fullmatch("[0-9]{1,6}", said.get(name, "")) for name in ("VERSION", "PATCHLEVEL")):
        raise InputError(
            "not a kernel tree: its Makefile must set VERSION and PATCHLEVEL to numbers", file=top
        )
    if not ((top / "mm").is_dir() or (top / "Kbuild").is_file()):
        raise InputError("not a kernel tree: it must have mm/ or a Kbuild file", file=top)
    numbers = [said["VERSION"], said["PATCHLEVEL"], *([said["SUBLEVEL"]] if said.get("SUBLEVEL") else [])]
    return printable(".".join(numbers) + said.get("EXTRAVERSION", ""), 60)


def _sources(top: Path, skipped: dict[str, list[str]]) -> Iterator[tuple[str, list[int]]]:
    """Relative path and key (size, inode, mtime, ctime) of each .c and .h file."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(top / folder) as entries:
                listed = list(entries)
        except OSError as error:
            skipped.setdefault(f"directory {_reason(error)}", []).append(folder or ".")
            continue
        for entry in listed:
            path = folder + entry.name
            if entry.is_symlink():
                if entry.name.endswith(_SUFFIXES):
                    skipped.setdefault("symbolic link", []).append(path)
            elif entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith("."):
                    folders.append(path + "/")
            elif entry.name.endswith(_SUFFIXES):
                try:
                    info = entry.stat(follow_symlinks=False)
                except OSError as error:
                    skipped.setdefault(_reason(error), []).append(path)
                    continue
                if stat.S_ISREG(info.st_mode):
                    yield path, [info.st_size, info.st_ino, info.st_mtime_ns, info.st_ctime_ns]
                else:
                    skipped.setdefault("not a regular file", []).append(path)


def _read(path: Path) -> bytes:
    """A regular file's bytes; never waits for a FIFO."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb", buffering=0) as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise _Skip("not a regular file")
            data = file.read(MAX_FILE_BYTES + 1) or b""
    except OSError as error:
        raise _Skip(_reason(error)) from None
    if len(data) > MAX_FILE_BYTES:
        raise _Skip(f"above {MAX_FILE_BYTES >> 20} MiB")
    return data


def _reason(error: OSError) -> str:
    return {"ENOENT": "vanished", "ELOOP": "a symbolic link"}.get(
        errno.errorcode.get(error.errno or 0, ""), f"unreadable ({error.strerror})"
    )


# -- the cache ----------------------------------------------------------------------------------------------


def _cache_file(top: Path) -> Path | None:
    """The tree's cache; this module's text is in its name, so that another rule never meets old counts."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        rule = Path(__file__).read_bytes()
        name = hashlib.sha256(rule + b"\0" + os.fsencode(top.resolve())).hexdigest()[:32]
    except (OSError, RuntimeError):  # no home
        return None
    return base / "page-workbench" / f"callsites-{name}.json"


def _load_cache(file: Path | None) -> dict[str, list[Any]]:
    if file is None:
        return {}
    try:
        found = json.loads(_read(file))
    except (_Skip, ValueError, RecursionError):
        return {}
    entries = found.get("files") if isinstance(found, dict) else None
    return entries if isinstance(entries, dict) and all(map(_is_entry, entries.values())) else {}


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, list) and len(entry) == 5 and all(type(value) is int for value in entry[:4])
        and isinstance(entry[4], dict)
        and all(api in FAMILY_OF and type(count) is int and count > 0 for api, count in entry[4].items())
    )


def _store_cache(file: Path, entries: dict[str, list[Any]]) -> None:
    """Written whole or not at all; a cache that cannot be written is no error."""
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.stem, suffix=".tmp")
        with open(handle, "w", encoding="ascii") as out:  # noqa: PTH123
            json.dump({"files": entries}, out, separators=(",", ":"))
        os.replace(temporary, file)  # noqa: PTH105
    except OSError:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
