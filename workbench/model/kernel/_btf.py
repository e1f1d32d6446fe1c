"""BTF, the type information that a kernel carries: struct layouts, enums and sizes out of it.

Reads the blob itself (``/sys/kernel/btf/vmlinux``, or a file made by ``pahole --btf_encode_detached``), the
``.BTF`` section of an ELF file, and compressed kernel images (gzip, xz, lzma, bzip2, zstd, lz4), of either
byte order. The format: Documentation/bpf/btf.rst and include/uapi/linux/btf.h, v7.3.

A reader is lazy: loading walks the types once to find where each begins; only what a struct needs is
decoded. Left out: function and variable types beyond their place, and split BTF (``/sys/kernel/btf/MODULE``),
whose type numbers continue those of vmlinux.
"""

from __future__ import annotations

import bz2
import difflib
import io
import lzma
import os
import re
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from workbench.model.errors import InputError, printable
from workbench.model.kernel._layout import (
    MAX_MEMBERS,
    MAX_NESTING,
    Layout,
    Member,
    infer_align,
    natural_align,
    place_rows,
    split_keyword,
)

MAGIC = 0xEB9F  # BTF_MAGIC, include/uapi/linux/btf.h, v7.3
MAX_BLOB_BYTES = 64 << 20  # assumed; an allyesconfig kernel's BTF has about 30 MiB
MAX_IMAGE_BYTES = 256 << 20  # assumed; a distribution's vmlinux without debug information has about 60 MiB
MAX_PAYLOAD_TRIES = 32  # places in an image that look like the beginning of one format

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST = range(1, 11)
RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(11, 20)
_QUALIFIERS = frozenset((VOLATILE, CONST, RESTRICT, TYPE_TAG))
#: Words behind the three of struct btf_type: fixed, and for each of its vlen entries.
_TAIL_WORDS = {INT: (1, 0), ARRAY: (3, 0), STRUCT: (0, 3), UNION: (0, 3), ENUM: (0, 2), FUNC_PROTO: (0, 2),
               VAR: (1, 0), DATASEC: (0, 3), DECL_TAG: (1, 0), ENUM64: (0, 3)}


class _Words(dict[int, int]):
    """Words of a whole type record, by its info word; filled as info words turn up."""

    def __missing__(self, info: int) -> int:
        kind = info >> 24 & 0x1F
        if not INT <= kind <= ENUM64:
            raise InputError(f"type kind {kind} (info {info:#010x}) is none of the known kinds 1..{ENUM64}")
        fixed, each = _TAIL_WORDS.get(kind, (0, 0))
        self[info] = 3 + fixed + each * (info & 0xFFFF)
        return self[info]


class _Layout(NamedTuple):
    """A struct or union: its rows, its size and its inferred alignment, bytes."""

    rows: tuple[Member, ...]
    size: int
    align: int


class Btf:
    """The types of one BTF blob, by number; 0 is void.

    Parameters
    ----------
    blob : bytes
        The header, the types and the strings.
    file : path, optional
        Where it came from, for errors.
    """

    def __init__(self, blob: bytes, file: str | os.PathLike[str] | None = None):
        self.file = file
        self._words, self._strings, type_offset = self._sections(blob)
        self._starts = [0]
        words, starts, position, sizes = self._words, self._starts, 0, _Words()
        try:
            while position < len(words):
                starts.append(position)
                position += sizes[words[position + 1]]
        except InputError as error:
            raise self._error(str(error), type_id=len(starts) - 1) from None
        except IndexError:
            position = len(words) + 1
        if position != len(words):
            raise InputError(f"type [{len(starts) - 1}] runs past the end of the type section",
                             file=file, place=f"byte {type_offset + 4 * starts[-1]:#x}")
        self._layouts: dict[int, _Layout] = {}
        self._busy: list[int] = []
        self._pointer_bytes = 0

    @classmethod
    def load(cls, source: str | os.PathLike[str] | bytes) -> Btf:
        """Find the BTF in a file, or in its content: a raw blob, an ELF file or a compressed kernel."""
        if isinstance(source, bytes):
            return cls(_find_blob(io.BytesIO(source), len(source), None))
        try:
            with Path(source).open("rb") as stream:
                return cls(_find_blob(stream, os.fstat(stream.fileno()).st_size, source), source)
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=source) from None

    def struct(self, name: str) -> Layout:
        """A struct or union by its tag, or by a typedef of one; the first where a name occurs twice."""
        keyword, tag = split_keyword(name)
        kinds = {None: (STRUCT, UNION, TYPEDEF), "struct": (STRUCT,), "union": (UNION,)}[keyword]
        for kind in kinds:
            for type_id in self._named(tag, kind):
                type_id = self._resolve(type_id)
                if (kind := self._kind(type_id)) in (STRUCT, UNION):
                    rows, size, align = self._layout(type_id)
                    word = "struct" if kind == STRUCT else "union"
                    return Layout(tag, word, size, align, rows, f"BTF of {self.file or 'a blob'}")
        names = {self._name(i) for i, at in enumerate(self._starts) if i and
                 (self._words[at + 1] >> 24 & 0x1F) in kinds}
        near = difflib.get_close_matches(tag, names, n=3)
        raise InputError(f"no {keyword or 'struct'} {tag} in this BTF"
                         + (f"; did you mean {', '.join(near)}?" if near else ""), file=self.file)

    def enum(self, name: str) -> dict[str, int]:
        """The constants of an enum by its tag, in the order of their declaration."""
        for kind, words in ((ENUM, 2), (ENUM64, 3)):
            for type_id in self._named(name, kind):
                at = self._starts[type_id]
                info = self._words[at + 1]
                bits, found = 32 * (words - 1), {}
                for i in range(at + 3, at + 3 + words * (info & 0xFFFF), words):
                    value = self._words[i + 1] | (self._words[i + 2] << 32 if words == 3 else 0)
                    signed = info >> 31 and value >> (bits - 1)
                    found[self._string(self._words[i])] = value - (signed << bits)
                return found
        raise InputError(f"no enum {name} in this BTF", file=self.file)

    def _sections(self, blob: bytes) -> tuple[array[int], bytes, int]:
        """The type section as native 32-bit words, the strings, and where the types begin in the blob."""
        order = {b"\x9f\xeb": "<", b"\xeb\x9f": ">"}.get(blob[:2])
        if order is None or len(blob) < 24:
            raise InputError(f"{len(blob)} bytes that begin with {blob[:2].hex() or 'nothing'}; BTF begins "
                             f"with magic {MAGIC:#x} and a header of 24 bytes", file=self.file)
        version, _, length, type_at, type_bytes, text_at, text_bytes = struct.unpack_from(f"{order}BBIIIII",
                                                                                          blob, 2)
        if version != 1 or length < 24:
            raise InputError(f"header of version {version} and {length} bytes; known is version 1, at least "
                             "24 bytes", file=self.file, place="byte 0x2")
        for what, at, size in (("types", type_at, type_bytes), ("strings", text_at, text_bytes)):
            if length + at + size > len(blob):
                raise InputError(f"the {what} end at {length + at + size:#x}, the blob at {len(blob):#x}; "
                                 "was it cut?", file=self.file, place="header")
        if type_bytes % 4 or type_at % 4:
            raise InputError(f"type section of {type_bytes} bytes at {type_at:#x}; both must be multiples of "
                             "4", file=self.file, place="header")
        words = array("I", blob[length + type_at:length + type_at + type_bytes])
        if order != {"little": "<", "big": ">"}[sys.byteorder]:
            words.byteswap()
        return words, blob[length + text_at:length + text_at + text_bytes], length + type_at

    def _error(self, rule: str, type_id: int) -> InputError:
        return InputError(rule, file=self.file, place=f"type [{type_id}]")

    def _string(self, offset: int) -> str:
        end = self._strings.find(b"\0", offset)
        if end < 0 or end - offset > 4096:
            raise InputError(f"a name at string offset {offset:#x} does not end within the strings "
                             f"({len(self._strings):#x} bytes)", file=self.file)
        return printable(self._strings[offset:end].decode("utf-8", "backslashreplace"))

    def _name(self, type_id: int) -> str:
        return self._string(self._words[self._starts[type_id]])

    def _kind(self, type_id: int) -> int:
        if not 0 <= type_id < len(self._starts):
            raise self._error(f"there is no such type, the last is [{len(self._starts) - 1}]; a module's BTF "
                              "builds on vmlinux's and cannot be read alone", type_id)
        return self._words[self._starts[type_id] + 1] >> 24 & 0x1F if type_id else 0

    def _third(self, type_id: int) -> int:
        """The third word: a size, or the type that is referred to."""
        return self._words[self._starts[type_id] + 2]

    def _array(self, type_id: int) -> tuple[int, int]:
        """The element's type and the number of elements."""
        at = self._starts[type_id]
        return self._words[at + 3], self._words[at + 5]

    def _named(self, name: str, kind: int) -> Iterator[int]:
        wanted, offsets = name.encode("utf-8", "replace") + b"\0", set()
        at = self._strings.find(wanted)
        while at >= 0:
            offsets.add(at)
            at = self._strings.find(wanted, at + 1)
        words = self._words
        hits = [i for i, at in enumerate(self._starts) if words and words[at] in offsets] if offsets else []
        return (i for i in hits if i and self._kind(i) == kind)

    def _resolve(self, type_id: int, through: frozenset[int] = _QUALIFIERS | {TYPEDEF}) -> int:
        """The type behind qualifiers and typedefs."""
        at = type_id
        for _ in range(MAX_NESTING):
            if self._kind(at) not in through:
                return at
            at = self._third(at)
        raise self._error(f"more than {MAX_NESTING} typedefs and qualifiers in a row; a cycle?", type_id)

    def _type_name(self, type_id: int) -> str:
        """A type as C-like text, without qualifiers: ``struct page *``, ``void *[64]``, ``fnptr``."""
        at, suffix, dims = type_id, "", ""
        for _ in range(MAX_NESTING):
            at = self._resolve(at, _QUALIFIERS)
            kind = self._kind(at)
            if kind == ARRAY:
                at, nr = self._array(at)
                dims += f"[{nr}]"
                continue
            suffix, dims = dims + suffix, ""
            if kind == PTR:
                at = self._third(at)
                if self._kind(self._resolve(at)) == FUNC_PROTO and self._kind(at) != TYPEDEF:
                    return "fnptr" + suffix
                suffix = " *" + suffix
                continue
            if kind == FWD:
                kind = UNION if self._words[self._starts[at] + 1] >> 31 else STRUCT
            word = {STRUCT: "struct ", UNION: "union ", ENUM: "enum ", ENUM64: "enum "}.get(kind, "")
            name = self._name(at) if kind else "void"
            return word + (name or "(anon)") + suffix
        raise self._error(f"more than {MAX_NESTING} pointers and arrays in a row; a cycle?", type_id)

    def _size_align(self, type_id: int) -> tuple[int, int]:
        """Bytes of a type that a member can have, and its natural alignment."""
        at, count = type_id, 1
        for _ in range(MAX_NESTING):
            at = self._resolve(at)
            kind = self._kind(at)
            if kind == ARRAY:
                at, nr = self._array(at)
                count *= nr
            elif kind == PTR:
                return count * self.pointer_bytes, self.pointer_bytes
            elif kind in (STRUCT, UNION):
                return count * self._third(at), self._layout(at).align
            elif kind in (INT, ENUM, ENUM64, FLOAT):
                return count * self._third(at), natural_align(self._third(at))
            else:
                raise self._error(f"a type of kind {kind} has no size and cannot be a member's", at)
        raise self._error(f"arrays nested deeper than {MAX_NESTING}; a cycle?", type_id)

    @property
    def pointer_bytes(self) -> int:
        """Bytes of a pointer: BTF does not say, so those of ``long``, as libbpf takes them; else 8."""
        if not self._pointer_bytes:
            longs = ("long unsigned int", "unsigned long", "long int", "long")
            sizes = (self._third(i) for i in range(1, len(self._starts))
                     if self._kind(i) == INT and self._name(i) in longs)
            self._pointer_bytes = 4 if next(sizes, 8) == 4 else 8
        return self._pointer_bytes

    def _layout(self, type_id: int) -> _Layout:
        """Lay out a struct or union, and what lies in it by value; each one once."""
        if type_id in self._layouts:
            return self._layouts[type_id]
        if type_id in self._busy:
            raise self._error("a struct that contains itself; a type cycle", type_id)
        if len(self._busy) >= MAX_NESTING:
            raise self._error(f"structs nested deeper than {MAX_NESTING}", type_id)
        self._busy.append(type_id)
        try:
            self._layouts[type_id] = self._lay_out(type_id)
        finally:
            self._busy.pop()
        return self._layouts[type_id]

    def _lay_out(self, type_id: int) -> _Layout:
        at, words = self._starts[type_id], self._words
        info, size = words[at + 1], words[at + 2]
        rows: list[Member] = []
        own: list[tuple[Member, int]] = []
        for i in range(at + 3, at + 3 + 3 * (info & 0xFFFF), 3):
            name, member_id, bit = self._string(words[i]), words[i + 1], words[i + 2]
            bits: int | None = None
            if info >> 31:  # kind_flag: the width lies in the upper byte
                bits, bit = bit >> 24 or None, bit & 0xFFFFFF
            target = self._resolve(member_id)
            nr_bytes, align = self._size_align(member_id)
            if self._kind(target) == INT:
                encoding = words[self._starts[target] + 3]
                if bits is None and encoding & 0xFF != 8 * nr_bytes:  # a type per width
                    bits, bit = encoding & 0xFF, bit + (encoding >> 16 & 0xFF)
            elif bits is not None and self._kind(target) not in (ENUM, ENUM64):
                raise self._error(f"bit-field {name!r} is of type [{member_id}], no integer", type_id)
            if (bits or 0) > 8 * nr_bytes or bit + (8 * nr_bytes if bits is None else bits) > 8 * size:
                raise self._error(f"member {name!r} at bit {bit} ends behind the {size} bytes of its struct",
                                  type_id)
            if bits is None and bit % 8:
                raise self._error(f"member {name!r} at bit {bit} must lie on a byte", type_id)
            type_name = self._type_name(member_id)
            inner = self._layout(target).rows if type_name.endswith(" (anon)") and self._kind(target) in (
                STRUCT, UNION) else ()
            if not name and not inner and not type_name.startswith(("struct ", "union ")):
                continue  # an unnamed bit-field holds nothing
            placed = list(place_rows(name or None, type_name, nr_bytes, bit, bits, inner))
            rows += placed
            own.append((placed[0], align))
            if len(rows) > MAX_MEMBERS:
                raise self._error(f"more than {MAX_MEMBERS} members", type_id)
        kind = "struct" if info >> 24 & 0x1F == STRUCT else "union"
        return _Layout(tuple(rows), size, infer_align(kind, size, own))


def _find_blob(stream: IO[bytes], size: int, file: str | os.PathLike[str] | None) -> bytes:
    """The BTF blob in a file: itself, an ELF section, or in what a compressed kernel unpacks to."""
    head = stream.read(4)
    if head == b"\x7fELF":
        return _elf_section(stream, file)
    if size > MAX_IMAGE_BYTES:
        raise InputError(f"{size} bytes; this reader takes {MAX_IMAGE_BYTES}", file=file)
    data = head + stream.read(MAX_IMAGE_BYTES)
    if head[:2] in (b"\x9f\xeb", b"\xeb\x9f"):
        return data
    budget, reasons = MAX_IMAGE_BYTES, []
    places = sorted((found.start(), unpack) for magic, unpack in _PAYLOADS
                    for found, _ in zip(re.finditer(re.escape(magic), data), range(MAX_PAYLOAD_TRIES),
                                        strict=False))
    for at, unpack in places:
        try:
            image = unpack(memoryview(data)[at:], budget)
        except (ValueError, EOFError, OSError, lzma.LZMAError, zlib.error, MemoryError, IndexError) as error:
            reasons.append(f"{unpack.__name__[3:]} data at {at:#x}: {printable(str(error), 100)}")
            continue
        budget -= len(image)
        if image[:4] == b"\x7fELF":
            return _elf_section(io.BytesIO(image), file)
        if image[:2] in (b"\x9f\xeb", b"\xeb\x9f"):
            return image
        if blob := _embedded(image):
            return blob
    if blob := _embedded(data):
        return blob
    why = f"; {reasons[0]}" if reasons else ""
    raise InputError(f"neither BTF (it begins with {head[:4].hex() or 'nothing'}), ELF nor a compressed "
                     f"kernel with BTF in it{why}", file=file)


def _embedded(image: bytes) -> bytes | None:
    """A BTF blob inside a flat image, such as arm64's Image: its header gives the length."""
    for order, magic in (("<", b"\x9f\xeb\1\0\x18\0\0\0\0\0\0\0"), (">", b"\xeb\x9f\1\0\0\0\0\x18\0\0\0\0")):
        at = image.find(magic)
        while at >= 0:
            if at + 24 <= len(image):
                types, text_at, text = struct.unpack_from(f"{order}III", image, at + 12)
                if types and text_at == types and text and at + 24 + types + text <= len(image):
                    return image[at:at + 24 + types + text]
            at = image.find(magic, at + 1)
    return None


def _elf_section(stream: IO[bytes], file: str | os.PathLike[str] | None) -> bytes:
    """The .BTF section of an ELF file."""
    from elftools.elf.elffile import ELFFile

    try:
        section = ELFFile(stream).get_section_by_name(".BTF")
        header = section and (section["sh_offset"], section["sh_size"], section["sh_flags"])
    except Exception as error:  # the ELF reader raises whatever a broken file leads it to
        raise InputError(f"not a readable ELF file: {error or type(error).__name__}", file=file) from None
    if not header:
        raise InputError("this ELF file has no .BTF section; it needs CONFIG_DEBUG_INFO_BTF", file=file)
    offset, size, flags = header
    if size > MAX_BLOB_BYTES or flags & 0x800:  # SHF_COMPRESSED
        raise InputError(f"section .BTF of {size} bytes, flags {flags:#x}; it must be uncompressed and at "
                         f"most {MAX_BLOB_BYTES} bytes", file=file)
    if offset >= 1 << 63:
        raise InputError(f"section .BTF at byte {offset:#x} lies behind any file's end", file=file)
    stream.seek(offset)
    return stream.read(size)


def _un_zlib(data: memoryview, limit: int) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    return _whole(reader.decompress(data, limit + 1), limit, reader.eof)


def _un_bz2(data: memoryview, limit: int) -> bytes:
    reader = bz2.BZ2Decompressor()
    return _whole(reader.decompress(data, limit + 1), limit, reader.eof)


def _un_xz(data: memoryview, limit: int) -> bytes:
    reader = lzma.LZMADecompressor(memlimit=MAX_IMAGE_BYTES)
    return _whole(reader.decompress(data, limit + 1), limit, reader.eof)


def _un_zstd(data: memoryview, limit: int) -> bytes:
    import zstandard

    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as reader:
            image = reader.read(limit + 1)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
    return _whole(image, limit, bool(image))


def _un_lz4(data: memoryview, limit: int) -> bytes:
    """The legacy format of ``lz4 -l``, as kernels use it: blocks, each with its length before it."""
    image, at = bytearray(), 4
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at:at + 4], "little")
        if end > len(data) or end == at + 4:
            break  # the kernel's build appends the unpacked size
        _lz4_block(data[at + 4:end].tobytes(), image, limit)
        at = end
    return _whole(bytes(image), limit, bool(image))


def _lz4_block(block: bytes, image: bytearray, limit: int) -> None:
    """Append one unpacked lz4 block (doc/lz4_Block_format.md of lz4 1.9)."""
    at, start = 0, len(image)

    def length(nibble: int) -> int:
        nonlocal at
        more = 255 if nibble == 15 else 0
        while more == 255:
            more = block[at]
            at += 1
            nibble += more
        return nibble

    while at < len(block):
        token = block[at]
        at += 1
        nr_literals = length(token >> 4)
        image += block[at:at + nr_literals]
        at += nr_literals
        if at >= len(block):
            return
        back = block[at] | block[at + 1] << 8
        at += 2
        nr_copied = length(token & 15) + 4
        if not 0 < back <= len(image) - start or len(image) + nr_copied > limit:
            raise ValueError(f"a match {back} bytes back, of {nr_copied}, leaves the block or the limit")
        chunk = image[-back:] if back >= nr_copied else image[-back:] * (nr_copied // back + 1)
        image += chunk[:nr_copied]


def _whole(image: bytes, limit: int, ended: bool) -> bytes:
    if len(image) > limit:
        raise ValueError(f"unpacks to more than {limit} bytes")
    if not ended:
        raise ValueError("ends before its end; was the file cut?")
    return image


#: Magic numbers of compressed kernels, as scripts/extract-vmlinux, v7.3, looks for them.
_PAYLOADS: tuple[tuple[bytes, Callable[[memoryview, int], bytes]], ...] = (
    (b"\x1f\x8b\x08", _un_zlib), (b"\xfd7zXZ\0", _un_xz), (b"BZh", _un_bz2), (b"\x5d\0\0\0", _un_xz),
    (b"\x02\x21\x4c\x18", _un_lz4), (b"\x28\xb5\x2f\xfd", _un_zstd),
)
