"""Layout layouts: what lies where in a C struct of a kernel build.

A layout comes from one of three places and looks the same from all of them:

* :meth:`Layout.from_kernel`: a build that ships with the workbench (``data/kernels``);
* :meth:`Layout.from_btf`: the BTF of a running kernel, an ELF file, a raw blob or a compressed vmlinuz;
* :meth:`Layout.from_c`: C source text, laid out by the System V x86-64 ABI.

Left out: type qualifiers (``const``, ``volatile``), which BTF's users do not need for a layout, and the
arguments of function pointers, whose type reads ``fnptr``.
"""

from __future__ import annotations

import difflib
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from workbench.model.errors import InputError
from workbench.model.kernel.config import ARCH_FAMILY, load_layouts

CACHE_LINE_BYTES = 64  # L1_CACHE_BYTES, arch/x86/include/asm/cache.h, v6.12; pahole's default too
MAX_MEMBERS = 65536  # assumed; task_struct, the longest of the kernel's, has some 300
#: Where struct page is aligned to two words: HAVE_ALIGNED_STRUCT_PAGE in arch/*/Kconfig, v6.1 to v7.3.
_ALIGNED_STRUCT_PAGE = ("x86_64", "aarch64", "s390x")
MAX_NESTING = 64  # assumed; C asks compilers for 63 (C11 5.2.4.1), the kernel uses 6


@dataclass(frozen=True)
class Member:
    """One row of a layout. Offsets count from the start of the outermost struct.

    An anonymous struct or union has a row of its own, named ``<anon struct>`` or ``<anon union>``, and its
    members follow one deeper under their own names. A *named* member whose struct has no tag
    (``struct { ... } shared;``) is followed by its members too, one deeper, as ``shared.rb``: that struct
    can be looked up nowhere else. A member of a tagged type or of an array is one row. This is what pahole
    expands, and every name is what ``offsetof()`` takes.

    A bit-field's ``size`` is that of its declared type in bytes, its ``offset`` is the byte that holds its
    first bit, and ``bit_offset`` and ``bit_size`` are bits, from the start of the struct; both are None
    for other members.
    """

    name: str
    type: str
    offset: int
    size: int
    bit_offset: int | None = None
    bit_size: int | None = None
    depth: int = 0

    @property
    def start_bit(self) -> int:
        """First bit, from the start of the struct."""
        return self.offset * 8 if self.bit_offset is None else self.bit_offset

    @property
    def end_bit(self) -> int:
        """First bit behind the member."""
        return self.start_bit + (self.size * 8 if self.bit_size is None else self.bit_size)

    @property
    def unit_bits(self) -> tuple[int, int]:
        """First and end bit of the storage unit: for a bit-field, of the aligned words of its type."""
        unit = 1 if self.bit_size is None or not self.size else 8 * self.size
        return self.start_bit // unit * unit, -(-self.end_bit // unit) * unit


@dataclass(frozen=True)
class Layout:
    """A struct's or union's layout: sizes and offsets in bytes, members flattened (see `Member`).

    ``align`` is exact for C text. BTF and ``data/kernels`` hold no alignment: there it is the smallest power
    of two that explains the members' types, every offset and the size. A struct aligned to more than its
    members and size show reads less; only ``struct page`` of the shipped builds is known to be such.

    Examples
    --------
    >>> from workbench import KernelConfig, Struct
    >>> page = Struct.from_kernel("page", KernelConfig.preset("amd64_6.12"))
    >>> page.size, page.align, page.member("_refcount").offset
    (64, 16, 52)
    >>> dynamic = "struct dynamic_page { struct page; unsigned long vaddr; unsigned long pfn; };"
    >>> Struct.from_c(dynamic, kernel=KernelConfig.preset("x86-64")).size
    80
    >>> plain = Struct.from_c(dynamic, ms_extensions=False)
    >>> plain.size, plain.warnings
    (16, ('line 1: declaration does not declare anything',))
    """

    name: str
    kind: str
    size: int
    align: int
    members: tuple[Member, ...]
    source: str
    warnings: tuple[str, ...] = ()

    def member(self, name: str) -> Member:
        """The member of that name."""
        for row in self.members:
            if row.name == name:
                return row
        near = difflib.get_close_matches(name, [row.name for row in self.members])
        raise InputError(f"{self.kind} {self.name} has no member {name!r}"
                         + (f"; did you mean {', '.join(near)}?" if near else ""))

    @property
    def holes(self) -> list[dict[str, int]]:
        """Bytes between the struct's own members that none uses: offset and size.

        As pahole counts: what a bit-field leaves of its storage unit is a bit hole; only what lies behind
        that unit is a hole in bytes. Space inside a member is that member's business, as is a union's.
        """
        return [{"offset": -(-(gap.bit + gap.bits) // 8), "size": gap.bytes}
                for gap in self._gaps if gap.bytes]

    @property
    def bit_holes(self) -> list[dict[str, int]]:
        """Bits that bit-fields leave unused in their storage units: bit_offset and bit_size."""
        return [{"bit_offset": gap.bit, "bit_size": gap.bits} for gap in self._gaps if gap.bits]

    @property
    def _gaps(self) -> list[_Gap]:
        own = [row for row in self.members if not row.depth]
        return list(_gaps(own)) if self.kind == "struct" else []

    @property
    def padding(self) -> int:
        """Bytes behind the last member, and behind its storage unit if that is a bit-field."""
        own = [row for row in self.members if not row.depth]
        run = itertools.takewhile(lambda row: row.bit_size is not None, reversed(own))
        end = max([row.end_bit for row in own] + [row.unit_bits[1] for row in run], default=0)
        return max(0, self.size - -(-end // 8))

    @property
    def cache_lines(self) -> list[int]:
        """Offsets inside the struct where a new cache line begins, if the struct starts on one."""
        return list(range(CACHE_LINE_BYTES, self.size, CACHE_LINE_BYTES))

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON types."""
        return {"name": self.name, "kind": self.kind, "size": self.size, "align": self.align,
                "members": [asdict(row) for row in self.members], "holes": self.holes,
                "padding": self.padding, "source": self.source, "warnings": list(self.warnings)}

    def pahole(self) -> str:
        """The layout as pahole(1) prints it: ``/* offset size */``, holes, cache lines, a summary.

        Examples
        --------
        >>> from workbench import Struct
        >>> print(Struct.from_c("struct pin { u8 tag; u64 pfn; };").pahole().expandtabs())
        struct pin {
                u8                         tag;                  /*     0     1 */
        <BLANKLINE>
                /* XXX 7 bytes hole, try to pack */
        <BLANKLINE>
                u64                        pfn;                  /*     8     8 */
        <BLANKLINE>
                /* size: 16, cachelines: 1, members: 2 */
                /* sum members: 9, holes: 1, sum holes: 7 */
                /* last cacheline: 16 bytes */
        };
        """
        lines, line_nr = [f"{self.kind} {self.name} {{"], 0
        open_rows: list[Member] = []
        gaps = _gaps_by_row(self)
        for index, row in enumerate(self.members):
            while open_rows and row.depth <= open_rows[-1].depth:
                lines.append(_closing(open_rows.pop()))
            tabs = "\t" * (row.depth + 1)
            if gap := gaps.get(index):
                notes = [f"{tabs}/* XXX {n} {what}{'s' * (n > 1)} hole, try to pack */"
                         for n, what in ((gap.bits, "bit"), (gap.bytes, "byte")) if n]
                lines += ["", *notes, ""]
            if row.size and row.offset // CACHE_LINE_BYTES > line_nr:
                line_nr, ago = divmod(row.offset, CACHE_LINE_BYTES)
                at = f"{line_nr} boundary ({line_nr * CACHE_LINE_BYTES} bytes)"
                was = f" was {ago} bytes ago" if ago else ""
                lines.append(f"{tabs}/* --- cacheline {at}{was} --- */")
            if index + 1 < len(self.members) and self.members[index + 1].depth > row.depth:
                open_rows.append(row)
                lines.append(f"{tabs}{row.type.removesuffix(' (anon)')} {{")
            else:
                base, dims = _split_dims(row.type)
                width = "" if row.bit_size is None else f":{row.bit_size}"
                shown = f"{base:{max(0, 26 - 8 * row.depth)}} {row.name.rpartition('.')[2]}{dims}{width};"
                lines.append(_with_place(tabs, shown, row))
        lines += [_closing(row) for row in reversed(open_rows)]
        return "\n".join([*lines, "", *self._summary(), "};"])

    def _summary(self) -> Iterator[str]:
        own = [row for row in self.members if not row.depth]
        nr_lines, last = -(-self.size // CACHE_LINE_BYTES), self.size % CACHE_LINE_BYTES
        yield f"\t/* size: {self.size}, cachelines: {nr_lines}, members: {len(own)} */"
        holes, bits = [hole["size"] for hole in self.holes], [hole["bit_size"] for hole in self.bit_holes]
        fields = sum(row.bit_size or 0 for row in own)
        used = sum(row.size for row in own if row.bit_size is None)
        if (holes or bits) and used:
            yield (f"\t/* sum members: {used}"
                   + (f", holes: {len(holes)}, sum holes: {sum(holes)}" if holes else "") + " */")
        if (holes or bits) and fields:
            yield (f"\t/* sum bitfield members: {fields} bits"
                   + (f", bit holes: {len(bits)}, sum bit holes: {sum(bits)} bits" if bits else "") + " */")
        if self.padding:
            yield f"\t/* padding: {self.padding} */"
        if last:
            yield f"\t/* last cacheline: {last} bytes */"


def place_rows(name: str | None, type_: str, size: int, bit: int, bit_size: int | None = None,
               inner: Sequence[Member] = ()) -> Iterator[Member]:
    """The row of one member at a bit offset, and the rows that lie inside it one deeper.

    Without a name the member is anonymous and its members keep their names; else they become paths.
    """
    kind = type_.split()[0]
    offset = bit // 8
    yield Member(name or f"<anon {kind}>", type_, offset, size, None if bit_size is None else bit, bit_size)
    path = f"{name}." if name else ""
    for row in inner:
        yield replace(row, name=row.name if row.name[0] == "<" else path + row.name,
                      offset=offset + row.offset, depth=row.depth + 1,
                      bit_offset=None if row.bit_offset is None else bit + row.bit_offset)


def infer_align(kind: str, size: int, own: Iterable[tuple[Member, int]]) -> int:
    """The smallest alignment, bytes, that explains a layout without one: see `Layout`.

    ``own`` are the struct's own members, each with the natural alignment of its type.

    Examples
    --------
    >>> infer_align("struct", 128, [(Member("lock", "int", 0, 4), 4), (Member("count", "long", 64, 8), 8)])
    64
    """
    align, end, own = 1, 0, list(own)
    packed = any(row.bit_size is None and row.offset % natural for row, natural in own)
    for row, natural in own:
        natural = 1 if packed else natural
        if row.bit_size is None and end and kind == "struct":
            natural = max(natural, _align_that_ends(end, row.offset))
        align, end = max(align, natural), max(end, -(-row.end_bit // 8))
    align = min(align, _lowest_bit(size))
    return max(align, _align_that_ends(end, size))


def natural_align(size: int) -> int:
    """The alignment of a scalar of ``size`` bytes: its size, 16 at most (System V x86-64 ABI, 3.1.2)."""
    return min(16, _lowest_bit(size)) if size else 1


def split_keyword(name: str) -> tuple[str | None, str]:
    """``"struct page"`` -> ``("struct", "page")``; ``"page"`` -> ``(None, "page")``."""
    words = name.split()
    if len(words) == 2 and words[0] in ("struct", "union"):
        return words[0], words[1]
    if len(words) != 1:
        raise InputError(f"{name!r} does not name a struct; write a tag, as in 'page' or 'struct page'")
    return None, words[0]


def _lowest_bit(number: int) -> int:
    """The largest power of two that divides a number; 4096 for 0, more than any struct's alignment."""
    return number & -number if number else 4096


def _align_that_ends(end: int, start: int) -> int:
    """The smallest power of two to which ``end`` rounds up to ``start``; 1 where none does."""
    align = 1
    while align <= 4096 and -(-end // align) * align < start:
        align *= 2
    return align if align <= 4096 and -(-end // align) * align == start else 1


def _split_dims(type_: str) -> tuple[str, str]:
    base, bracket, dims = type_.partition("[")
    return base.rstrip(), bracket + dims


def _with_place(tabs: str, shown: str, row: Member) -> str:
    """A declaration with pahole's ``/* offset size */``; a bit-field's as ``unit:bit size``."""
    width = 57 - 8 * len(tabs)
    if row.bit_size is None:
        return f"{tabs}{shown:{width}}/* {row.offset:5} {row.size:5} */".replace(";/*", "; /*")
    unit = row.start_bit // (8 * row.size) * row.size
    place = f"{unit:5}:{row.start_bit - 8 * unit:2} {row.size:2}"
    return f"{tabs}{shown:{width}}/* {place} */".replace(";/*", "; /*")


def _closing(row: Member) -> str:
    name = "" if row.name[0] == "<" else " " + row.name.rpartition(".")[2]
    return _with_place("\t" * (row.depth + 1), f"}}{name};", row)


@dataclass(frozen=True)
class _Gap:
    """Unused space before a row: its first bit, the bits in a storage unit, the whole bytes behind that."""

    row: Member
    bit: int
    bits: int
    bytes: int


def _gaps(rows: Sequence[Member]) -> Iterator[_Gap]:
    """The gaps between the members of one struct, given in order."""
    end = unit_end = rows[0].start_bit // 8 * 8 if rows and rows[0].depth else 0
    for row in rows:
        first, last = row.unit_bits
        if row.start_bit > end:
            behind = max(0, min(unit_end, row.start_bit) - end)  # in the unit of the bit-fields before
            bits = behind + row.start_bit - max(first, end + behind)
            nr_bytes, rest = divmod(row.start_bit - end - bits, 8)
            yield _Gap(row, end, bits + rest, nr_bytes)
        end = max(end, row.end_bit)
        unit_end = max(last, unit_end) if row.bit_size is not None else end


def _gaps_by_row(struct: Layout) -> dict[int, _Gap]:
    """The gaps at every depth of a layout, by the index of the row behind the gap."""
    found: dict[int, _Gap] = {}
    stack: list[tuple[str, list[int]]] = [(struct.kind, [])]
    for index in range(len(struct.members) + 1):
        depth = struct.members[index].depth if index < len(struct.members) else -1
        while len(stack) > depth + 1:
            kind, own = stack.pop()
            if kind == "struct":
                position = {id(struct.members[i]): i for i in own}
                found |= {position[id(gap.row)]: gap for gap in _gaps([struct.members[i] for i in own])}
        if depth >= 0:
            stack[-1][1].append(index)
            stack.append((struct.members[index].type.split()[0], []))
    return found


@functools.cache
def shipped(tag: str, layouts: str) -> Layout:
    """A struct of ``data/kernels``, with the depths that its flat rows leave unsaid."""
    known = load_layouts(layouts)
    found = known["structs"].get(tag)
    if found is None:
        size = known["sizes"].get(tag)
        names = sorted(known["structs"])
        near = difflib.get_close_matches(tag, names, n=3)
        what = f"knows only the size of struct {tag} ({size} bytes)" if size else f"has no struct {tag}"
        raise InputError(f"layouts of {layouts}: the build {what};"
                         + (f" did you mean {', '.join(near)}?" if near else "")
                         + f" it has {', '.join(names)}")
    members: list[Member] = []
    open_rows: list[tuple[int, Member]] = []  # containers whose rows may still come, with their index
    for raw in found["members"]:
        bits = raw.get("bits")
        row = Member(raw["name"], raw["type"], raw["off"], raw["size"],
                     raw["bit_offset"] if bits is not None else None, bits)
        while open_rows and not _fits(row, open_rows[-1][1], members[open_rows[-1][0] + 1:]):
            open_rows.pop()
        row = replace(row, depth=len(open_rows))
        members.append(row)
        if row.type.endswith(" (anon)"):
            open_rows.append((len(members) - 1, row))
    kind, size = found["kind"], found["size"]
    align = _align_of_rows(kind, size, members, 0, layouts)
    if tag == "page" and ARCH_FAMILY[known["arch"]] in _ALIGNED_STRUCT_PAGE:
        align = max(align, 16)
    return Layout(tag, kind, size, align, tuple(members), f"{known['kernel']}: {known['source']}")


def _fits(row: Member, container: Member, inside: list[Member]) -> bool:
    """Whether the next row of a flat layout can lie in the container that is still open."""
    if container.name[0] != "<":  # its rows carry its path
        return row.name.startswith(container.name + ".") or (
            row.name[0] == "<" and _inside(row, container) and row.size < container.size)
    if not _inside(row, container):
        return False
    if container.type.startswith("union"):
        return row.start_bit == container.start_bit
    own = [m for m in inside if m.depth == container.depth + 1]
    return not own or row.start_bit >= own[-1].end_bit


def _inside(row: Member, container: Member) -> bool:
    if row.size == 0 and container.size and row.start_bit == container.end_bit:
        return False  # a flexible array behind it
    return container.start_bit <= row.start_bit and row.end_bit <= container.end_bit


def _align_of_rows(kind: str, size: int, rows: Sequence[Member], depth: int, layouts: str) -> int:
    """The inferred alignment of a container that holds the rows of one depth."""
    base = rows[0].offset if depth and rows else 0
    own = []
    for index, row in enumerate(rows):
        if row.depth == depth:
            stop = next((i for i in range(index + 1, len(rows)) if rows[i].depth <= depth), len(rows))
            inner = rows[index + 1:stop]
            own.append((replace(row, offset=row.offset - base, bit_offset=None if row.bit_offset is None
                                else row.bit_offset - 8 * base),
                        _align_of_rows(row.type.split()[0], row.size, inner, depth + 1, layouts)
                        if inner else _align_of_type(row.type, row.size, layouts)))
    return infer_align(kind, size, own)


def _align_of_type(type_: str, size: int, layouts: str) -> int:
    """The alignment of a shipped build's type: exact for scalars, inferred for structs, else by its size."""
    element, dims = _split_dims(type_)
    if element.endswith("*") or element == "fnptr":
        return 8
    for dim in dims.replace("]", "").split("[")[1:]:
        size = size // int(dim) if int(dim) else 0
    words = element.split()
    if words[0] in ("struct", "union") and words[1] in load_layouts(layouts)["structs"]:
        return shipped(words[1], layouts).align
    if words[0] in ("struct", "union") or element.endswith("_t"):
        return min(8, natural_align(size))
    return natural_align(size)


@functools.cache
def sizes_in_members(layouts: str) -> dict[str, tuple[int, int]]:
    """Types that a build's structs hold by value: bytes, and the largest alignment that fits every use."""
    found: dict[str, tuple[int, int]] = {}
    for known in load_layouts(layouts)["structs"].values():
        for row in known["members"]:
            text = row["type"]
            if text.endswith(("*", "]", "(anon)")) or text == "fnptr" or not row["size"]:
                continue
            align = min(_align_of_type(text, row["size"], layouts), _lowest_bit(row["off"]))
            found[text] = (row["size"], min(align, found.get(text, (0, align))[1]))
    return found
