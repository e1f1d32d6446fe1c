"""C source text to struct layouts, by the x86-64 ABI.

`_cpp` makes pasted kernel code fit for pycparser; what it parsed is laid out here as gcc
does it (System V x86-64 ABI 3.1.2; for bit-fields, gcc 12's stor-layout.cc). A type is looked for in the
text, then in the chosen kernel's layouts, then in ``basic_types.h``. Definitions may come in any order.

Left out: ``#include``, ``#pragma pack``, ``typeof``, vector types, the ``mode`` attribute, and what other
ABIs do otherwise (32-bit alignment; arm64 and s390 differ in bit-fields without a name).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pycparser import c_ast
from pycparser.c_parser import CParser, ParseError

from workbench.model.errors import InputError
from workbench.model.kernel._cpp import BASIC_TYPES, MARKER, Attribute, Rewriter, fail, preprocess
from workbench.model.kernel._layout import (
    MAX_MEMBERS,
    MAX_NESTING,
    Layout,
    Member,
    place_rows,
    shipped,
    sizes_in_members,
    split_keyword,
)
from workbench.model.kernel.config import KernelConfig, load_layouts

MAX_TEXT_CHARS = 512 << 10  # assumed; include/linux/mm.h, v7.3, has 140 KiB
MAX_OBJECT_BYTES = 2**63 - 1  # PTRDIFF_MAX, gcc's limit for an array
BIGGEST_ALIGNMENT = 16  # bytes; __BIGGEST_ALIGNMENT__ of gcc 12 on x86-64 without AVX
POINTER_BYTES = 8

_INTEGERS = {"char": (1, True), "signed char": (1, True), "unsigned char": (1, False), "short int": (2, True),
             "short unsigned int": (2, False), "int": (4, True), "unsigned int": (4, False),
             "long int": (8, True), "long unsigned int": (8, False), "long long int": (8, True),
             "long long unsigned int": (8, False), "__int128": (16, True), "__int128 unsigned": (16, False)}
_FLOATS = {"float": 4, "double": 8, "long double": 16, "_Float16": 2, "_Float32": 4, "_Float64": 8,
           "_Float128": 16, "__float128": 16}
_UNSUPPORTED = ("mode", "vector_size", "ms_struct", "scalar_storage_order")


class Int(NamedTuple):
    """A C integer constant: its value, width and signedness."""

    value: int
    bits: int = 32
    signed: bool = True

    def to(self, bits: int, signed: bool) -> Int:
        """Converted to another integer type."""
        value = self.value & ((1 << bits) - 1)
        return Int(value - (1 << bits) if signed and value >> (bits - 1) else value, bits, signed)


@dataclass(frozen=True)
class Type:
    """A C type: ``size`` and ``align`` in bytes (size None: incomplete), ``rows``: what lies in a struct.

    ``inline`` says that a struct has no tag and stands where it is used; ``flexible``, that an array has no
    length.
    """

    text: str
    size: int | None
    align: int
    kind: str  # int, bool, float, enum, pointer, array, struct, union, function, void, opaque
    signed: bool = False
    dims: str = ""
    rows: tuple[Member, ...] = ()
    inline: bool = False
    flexible: bool = False

    @property
    def full_text(self) -> str:
        """With an array's dimensions."""
        return self.text + self.dims


def parse_struct(text: str, name: str | None, kernel: KernelConfig | None, ms_extensions: bool) -> Layout:
    """`Struct.from_c`, with every default decided."""
    if len(text) > MAX_TEXT_CHARS:
        raise InputError(f"C text of {len(text)} characters; at most {MAX_TEXT_CHARS} are read")
    try:
        return _Unit(text, kernel, ms_extensions).struct(name)
    except RecursionError:
        raise InputError(f"C text nests expressions or declarators too deep; {MAX_NESTING} levels are read") \
            from None


def constant(text: str, line: int) -> Int:
    """The value of an integer constant expression without types, as in ``#if``.

    Examples
    --------
    >>> constant("(1UL << 12) / sizeof(long) > 256 && -1 < 0u", 1).value
    0
    """
    return _Unit("", None, False, basic=True).expression(text, line)


def _value(text: str, line: int) -> int:
    return constant(text, line).value


class _Unit:
    """The types of one text."""

    def __init__(self, text: str, kernel: KernelConfig | None, ms_extensions: bool, basic: bool = False):
        self.kernel, self.ms_extensions, self.basic = kernel, ms_extensions, basic
        tokens, warnings = preprocess(text, kernel, _value) if text else ([], [])
        rewriter = Rewriter(tokens, frozenset() if basic else frozenset(_basic_unit(KernelConfig()).typedefs))
        self.attributes, self.warnings = rewriter.attributes, warnings + rewriter.warnings
        self.prelude = "".join(f"typedef int {name};" for name in rewriter.types)
        self.used: dict[str, None] = {}  # structs that came from the kernel's layouts, in order
        self.tags: dict[tuple[str, str], Any] = {}
        self.typedefs: dict[str, tuple[Any, list[Attribute]]] = {}
        self.enums: dict[str, Any] = {}  # constant -> its enum
        self.values: dict[str, Int] = {}
        self.definitions: dict[str, Any] = {}
        self.layouts: dict[int, Type] = {}
        self.busy: list[Any] = []
        if tokens:
            self._collect(_parse(rewriter.text()).ext[len(rewriter.types):])

    def struct(self, name: str | None) -> Layout:
        """One struct or union of the text, laid out."""
        if name is None and not self.definitions:
            raise InputError("C text defines no struct or union; write one as struct NAME { ... };")
        keyword, tag = split_keyword(list(self.definitions)[-1] if name is None else name)
        nodes = [self.tags[word, tag] for word in ("struct", "union")
                 if keyword in (None, word) and (word, tag) in self.tags]
        if nodes:
            found = self._type(nodes[0])
        elif not keyword and tag in self.typedefs:
            found = self._typedef(tag)
        elif not keyword and tag in self.definitions:  # a variable's, without a tag
            found = self._type(self.definitions[tag])
        else:
            raise InputError(f"C text defines no {keyword or 'struct'} {tag}; it has "
                             + (", ".join(self.definitions) or "none"))
        if found.kind not in ("struct", "union") or found.size is None:
            raise InputError(f"{tag} is {found.full_text}, not a struct or union")
        source = "C text, System V x86-64 ABI" + (", -fms-extensions" if self.ms_extensions else "")
        if self.used and self.kernel:
            source += f"; {', '.join(self.used)} of {self.kernel.name}"
        return Layout(tag, found.kind, found.size, found.align, found.rows, source,
                      tuple(dict.fromkeys(self.warnings)))

    def _collect(self, ext: list[Any]) -> None:
        for node, attributes in self._with_attributes(ext):
            if isinstance(node, c_ast.Typedef):
                self.typedefs[node.name] = (node, attributes)
            base = node.type
            while isinstance(base, c_ast.TypeDecl):
                base = base.type
            is_body = isinstance(base, c_ast.Struct | c_ast.Union) and base.decls is not None
            if is_body and (name := base.name or node.name):
                self.definitions[name] = base
            stack = [node]
            while stack:
                found = stack.pop()
                if isinstance(found, c_ast.Struct | c_ast.Union) and found.decls is not None:
                    self._define(_keyword(found), found)
                elif isinstance(found, c_ast.Enum) and found.values is not None:
                    self._define("enum", found)
                    for item in found.values.enumerators:
                        if item.name in self.enums:
                            raise fail(_line(item), f"enum constant {item.name} is defined twice")
                        self.enums[item.name] = found
                stack += [child for _, child in found.children()]

    def _define(self, keyword: str, node: Any) -> None:
        if node.name and self.tags.setdefault((keyword, node.name), node) is not node:
            lines = sorted((_line(node), _line(self.tags[keyword, node.name])))
            raise fail(lines[1], f"{keyword} {node.name} is defined twice, first in line {lines[0]}")

    def _with_attributes(self, decls: list[Any]) -> list[tuple[Any, list[Attribute]]]:
        """Declarations without the markers between them, each with its own attributes."""
        found: list[tuple[Any, list[Attribute]]] = []
        for decl in decls:
            if not isinstance(decl, c_ast.Decl | c_ast.Typedef):
                raise fail(_line(decl), f"a {type(decl).__name__} is no declaration of a type or a member")
            marker = re.fullmatch(MARKER, decl.name or "")
            if not marker:
                found.append((decl, []))
                continue
            nr_declarators, attributes = self.attributes[int(marker[1])]
            for k, attribute in attributes:
                for i in range(nr_declarators) if k is None else [k]:
                    found[i - nr_declarators][1].append(attribute)
        for _, attributes_of in found:
            self._refuse(attributes_of)
        return found

    def _of_body(self, first: Any) -> list[Attribute]:
        """The attributes of a struct's or enum's body, which its first declaration marks."""
        attributes = [attribute for _, attribute in self.attributes[int(first.name.split("_")[3])][1]]
        self._refuse(attributes)
        return attributes

    @staticmethod
    def _refuse(attributes: list[Attribute]) -> None:
        for attribute in attributes:
            if attribute.name in _UNSUPPORTED:
                raise fail(attribute.line, f"attribute {attribute.name} is not supported")

    # -- types

    def _type(self, node: Any) -> Type:
        if isinstance(node, c_ast.Decl | c_ast.Typename | c_ast.TypeDecl | c_ast.Typedef):
            return self._type(node.type)
        if isinstance(node, c_ast.IdentifierType):
            return _base_type(node.names, _line(node)) or self._named(node.names[0], _line(node))
        if isinstance(node, c_ast.PtrDecl):
            target = node.type
            while isinstance(target, c_ast.TypeDecl):
                target = target.type
            text = "fnptr" if isinstance(target, c_ast.FuncDecl) else self._text(target) + " *"
            return Type(text, POINTER_BYTES, POINTER_BYTES, "pointer")
        if isinstance(node, c_ast.ArrayDecl):
            return self._array(node)
        if isinstance(node, c_ast.FuncDecl):
            return Type("a function", None, 1, "function")
        if isinstance(node, c_ast.Enum):
            return self._enum(node)
        if isinstance(node, c_ast.Struct | c_ast.Union):
            return self._aggregate(node)
        raise fail(_line(node), f"{type(node).__name__} types are not supported")

    def _text(self, node: Any) -> str:
        """A pointer's target as text; it needs no layout and may be unknown."""
        if isinstance(node, c_ast.Struct | c_ast.Union | c_ast.Enum):
            return f"{_keyword(node)} {node.name or '(anon)'}"
        if isinstance(node, c_ast.IdentifierType) and _base_type(node.names, 0) is None:
            return node.names[0]
        return self._type(node).full_text

    def _array(self, node: Any) -> Type:
        element, line = self._type(node.type), _line(node)
        if element.size is None or (element.flexible and element.kind == "array"):
            raise fail(line, f"an array of {element.full_text}, whose size is not known")
        count = 0 if node.dim is None else self._eval(node.dim).value
        if not 0 <= count * max(element.size, 1) <= MAX_OBJECT_BYTES:
            raise fail(line, f"an array of {count} x {element.size} bytes; it must have 0..2^63 bytes")
        if element.size % element.align:
            raise fail(line, f"elements of {element.size} bytes cannot be aligned to {element.align} bytes")
        base, dims = (element.text, element.dims) if element.kind == "array" else (element.full_text, "")
        return Type(base, count * element.size, element.align, "array", dims=f"[{count}]{dims}",
                    flexible=node.dim is None)

    def _enum(self, node: Any) -> Type:
        if node.values is None:
            if ("enum", node.name) not in self.tags:
                return self._outside("enum", node.name, _line(node))
            node = self.tags["enum", node.name]
        mark, *items = node.values.enumerators
        values = [self._constant(item.name, _line(item)).value for item in items]
        if not items:
            raise fail(_line(node), "an enum without constants")
        low, high = min(values), max(values)
        packed = any(attribute.name == "packed" for attribute in self._of_body(mark))
        for size in (1, 2, 4, 8) if packed else (4, 8):
            if -(1 << (8 * size - 1)) <= low and high < 1 << (8 * size - (low < 0)):
                return Type(f"enum {node.name or '(anon)'}", size, size, "enum", low < 0)
        raise fail(_line(node), f"enum constants {low}..{high} do not fit in 64 bits")

    def _constant(self, name: str, line: int) -> Int:
        """The value of an enum constant: the one before it plus one, where it states none."""
        enum, last = self.enums[name], Int(-1)
        for item in enum.values.enumerators[1:] if name not in self.values else ():
            if item.name not in self.values:
                if item in self.busy:
                    raise fail(line, f"enum constant {name} is defined by itself")
                if item.value is None:
                    value = last.value + 1
                    fits = ((b, s) for b, s in ((32, True), (32, False), (64, True)) if value < 1 << (b - s))
                    self.values[item.name] = Int(value, *next(fits, (64, False)))
                else:
                    self.busy.append(item)
                    self.values[item.name] = self._eval(item.value)
                    self.busy.pop()
            last = self.values[item.name]
        return self.values[name]

    def _named(self, name: str, line: int) -> Type:
        """What a typedef name stands for."""
        if name in self.typedefs:
            return self._typedef(name)
        if name in _FLOATS:
            return Type(name, _FLOATS[name], _FLOATS[name], "float")
        return self._outside("", name, line)

    def _typedef(self, name: str) -> Type:
        node, attributes = self.typedefs[name]
        if node in self.busy:
            raise fail(_line(node), f"typedef {name} is defined by itself")
        self.busy.append(node)
        found = self._type(node.type)
        self.busy.pop()
        align = [self._aligned(attribute) for attribute in attributes if attribute.name == "aligned"]
        return replace(found, text=name, dims="", align=[found.align, *align][-1], inline=False)

    def _outside(self, keyword: str, name: str, line: int) -> Type:
        """A type that the text does not define: the kernel's, or a basic one."""
        text = f"{keyword} {name}".strip()
        layouts = None if self.kernel is None else self.kernel.layouts
        basic = None if self.basic else _basic_unit(self.kernel or KernelConfig())
        known = None
        if basic and not keyword and name in basic.typedefs:
            known = basic._typedef(name)
        elif basic and (keyword, name) in basic.tags:
            known = basic._type(basic.tags[keyword, name])
        if keyword in ("struct", "union") and layouts and name in load_layouts(layouts)["structs"]:
            found = shipped(name, layouts)
            self.used[text] = None
            align = known.align if known else found.align
            return Type(text, found.size, align, found.kind, rows=found.members)
        size, align = sizes_in_members(layouts).get(text, (None, 1)) if layouts else (None, 1)
        if size is not None and (known is None or known.size != size):
            self.used[text] = None
            return Type(text, size, align, keyword or "opaque")
        if known is None:
            where = "" if layouts else ", or choose a kernel whose layouts have it"
            raise fail(line, f"type {text!r} is not known; define it in the text{where}")
        return known

    def _aligned(self, attribute: Attribute) -> int:
        """The bytes that an ``aligned`` attribute asks for."""
        if not attribute.argument:
            return BIGGEST_ALIGNMENT
        value = self.expression(attribute.argument, attribute.line).value
        if not 0 < value <= 1 << 28 or value & (value - 1):
            raise fail(attribute.line, f"aligned({value}); it must be a power of two, 2^28 at most")
        return value

    # -- structs

    def _aggregate(self, node: Any) -> Type:
        keyword = _keyword(node)
        if node.decls is None:
            if (keyword, node.name) not in self.tags:
                return self._outside(keyword, node.name, _line(node))
            node = self.tags[keyword, node.name]
        if id(node) not in self.layouts:
            if node in self.busy:
                raise fail(_line(node), f"{keyword} {node.name or '(anon)'} contains itself; use a pointer")
            if len(self.busy) > MAX_NESTING:
                raise fail(_line(node), f"types nest deeper than {MAX_NESTING} levels")
            self.busy.append(node)
            self.layouts[id(node)] = self._lay_out(keyword, node)
            self.busy.pop()
        return self.layouts[id(node)]

    def _lay_out(self, keyword: str, node: Any) -> Type:
        """gcc's layout of a struct or union: stor-layout.cc, place_field() and finish_struct(), gcc 12."""
        of_body = self._of_body(node.decls[0])
        packed = any(attribute.name == "packed" for attribute in of_body)
        rows: list[Member] = []
        names: dict[str, int] = {}
        bit, end, align, flexible = 0, 0, 8, False  # bits
        for decl, attributes in self._with_attributes(node.decls[1:]):
            line, what = _line(decl), f"member {decl.name!r}" if decl.name else "a member without a name"
            if flexible:
                raise fail(line, f"{what} behind a flexible array; that must be the last of its {keyword}")
            if decl.name is None and decl.bitsize is None and not self._is_anonymous_member(decl):
                self.warnings.append(f"line {line}: declaration does not declare anything")
                continue
            found = self._type(decl)
            if found.size is None:
                raise fail(line, f"{what} is {found.full_text}, which has no size")
            flexible = found.flexible and found.kind == "array" and keyword == "struct"
            tight = packed or any(attribute.name == "packed" for attribute in attributes)
            asked = 8 * max([self._aligned(a) for a in attributes if a.name == "aligned"]
                            + [self._alignas(a) for a in decl.align or []], default=0)
            width = None
            if decl.bitsize is not None:
                width = self._width(decl, found, what)
                named, in_union = decl.name is not None, keyword == "union"
                bit, wanted = _place_bits(bit, width, found, tight, asked, named, in_union)
            else:
                wanted = asked or 8 if tight else max(8 * found.align, asked)
                bit = _round_up(bit, wanted)
            if decl.name or width is None:
                inner = found.rows if decl.name is None or found.inline else ()
                for row in place_rows(decl.name, found.full_text, found.size, bit, width, inner):
                    if row.name[0] != "<" and names.setdefault(row.name, len(rows)) != len(rows):
                        raise fail(line, f"duplicate member {row.name!r}")
                    rows.append(row)
            align = max(align, wanted)
            bit += 8 * found.size if width is None else width
            end, bit = max(end, bit), 0 if keyword == "union" else bit
            if len(rows) > MAX_MEMBERS or end > 8 * MAX_OBJECT_BYTES:
                raise fail(line, f"a {keyword} of more than {MAX_MEMBERS} members or 2^63 bytes")
        asked_of_body = [self._aligned(attribute) for attribute in of_body if attribute.name == "aligned"]
        align = max([align // 8, *asked_of_body[-1:]])  # gcc takes the last
        return Type(f"{keyword} {node.name or '(anon)'}", _round_up(-(-end // 8), align), align, keyword,
                    rows=tuple(rows), inline=node.name is None, flexible=flexible)

    def _is_anonymous_member(self, decl: Any) -> bool:
        """Whether a declaration without a name is a member: c-decl.cc, grokfield(), gcc 12."""
        node = decl.type.type if isinstance(decl.type, c_ast.TypeDecl) else decl.type
        if self.ms_extensions:
            return self._type(node).kind in ("struct", "union")
        if isinstance(node, c_ast.IdentifierType) and node.names[0] not in self.typedefs:
            self._type(node)  # unknown: perhaps a macro that stands for members
        return isinstance(node, c_ast.Struct | c_ast.Union) and node.name is None

    def _alignas(self, node: Any) -> int:
        if isinstance(node.alignment, c_ast.Typename):
            return self._type(node.alignment).align
        value = self._eval(node.alignment).value
        if value < 0 or value & (value - 1):
            raise fail(_line(node), f"_Alignas({value}); it must be a power of two")
        return value

    def _width(self, decl: Any, found: Type, what: str) -> int:
        """The width of a bit-field, checked as gcc does."""
        if found.kind not in ("int", "bool", "enum") or found.size is None:
            raise fail(_line(decl), f"{what} is a bit-field of type {found.full_text}; it must be an integer")
        width = self._eval(decl.bitsize).value
        most = 1 if found.kind == "bool" else 8 * found.size
        if not (1 if decl.name else 0) <= width <= most:
            raise fail(_line(decl), f"{what} is a bit-field of {width} bits; {found.text} takes 1..{most}"
                                    + ("" if decl.name else ", and 0"))
        return width

    # -- expressions

    def expression(self, text: str, line: int) -> Int:
        """The value of an expression that stands outside of the parsed text."""
        ast = _parse(f"{self.prelude}\n#line {line}\nenum {{ x = ({text}) }};")
        return self._eval(ast.ext[-1].type.values.enumerators[0].value)

    def _eval(self, node: Any) -> Int:
        line = _line(node)
        if isinstance(node, c_ast.Constant):
            return _literal(node.value, line)
        if isinstance(node, c_ast.ID):
            if node.name in self.enums:
                return self._constant(node.name, line)
            raise fail(line, f"{node.name!r} is not an integer constant here; #define it in the text")
        if isinstance(node, c_ast.UnaryOp):
            if node.op in ("sizeof", "_Alignof"):
                return self._sizeof(node)
            found = _promote(self._eval(node.expr))
            results = {"-": -found.value, "+": found.value, "~": ~found.value}
            if node.op == "!":
                return Int(int(not found.value))
            if node.op in results:
                return Int(results[node.op]).to(found.bits, found.signed)
        if isinstance(node, c_ast.BinaryOp):
            return _binary(node.op, self._eval(node.left), self._eval(node.right), line)
        if isinstance(node, c_ast.TernaryOp):
            condition = self._eval(node.cond).value
            return _common(self._eval(node.iftrue), self._eval(node.iffalse))[0 if condition else 1]
        if isinstance(node, c_ast.Cast):
            to, found = self._type(node.to_type), self._eval(node.expr)
            if to.kind == "bool":
                return Int(int(bool(found.value)), 8, False)
            if to.kind in ("int", "enum") and to.size:
                return found.to(8 * to.size, to.signed)
        if isinstance(node, c_ast.FuncCall) and getattr(node.name, "name", "") == "offsetof" and node.args:
            return self._offsetof(node.args.exprs, line)
        raise fail(line, "not an integer constant expression")

    def _sizeof(self, node: Any) -> Int:
        if not isinstance(node.expr, c_ast.Typename):
            return Int(self._eval(node.expr).bits // 8, 64, False)
        found = self._type(node.expr)
        if found.size is None:
            raise fail(_line(node), f"{node.op} of {found.full_text}, which has no size")
        return Int(found.size if node.op == "sizeof" else found.align, 64, False)

    def _offsetof(self, args: list[Any], line: int) -> Int:
        path: list[str] = []
        struct, step = args
        while isinstance(step, c_ast.StructRef):
            path.insert(0, step.field.name)
            step = step.name
        wanted, found = ".".join([getattr(step, "name", "?"), *path]), self._type(struct)
        for row in found.rows:
            if row.name == wanted:
                return Int(row.offset, 64, False)
        raise fail(line, f"{found.full_text} has no member {wanted!r}")


def _parse(text: str) -> Any:
    try:
        return CParser().parse(text)
    except ParseError as error:
        found = re.match(r"[^:]*:(\d+)(?::\d+)?: ?(.*)", str(error), re.DOTALL)
        line, what = (int(found[1]), found[2]) if found else (1, str(error))
        raise fail(line, f"C syntax error: {what.lstrip(': ').replace('before: ', 'unexpected ')}") from None
    except AssertionError:
        raise InputError("C syntax error: a declaration that cannot stand in a struct") from None


def _line(node: Any) -> int:
    return getattr(getattr(node, "coord", None), "line", 0) or 1


def _keyword(node: Any) -> str:
    return type(node).__name__.lower()  # struct, union, enum


@functools.cache
def _basic_unit(kernel: KernelConfig) -> _Unit:
    return _Unit(BASIC_TYPES, replace(kernel, layouts=None, options={}), False, basic=True)


def _base_type(names: Sequence[str], line: int) -> Type | None:
    """A type of C itself under the name that gcc gives it; None if the name is no word of C."""
    words = [word for word in names if word != "int"]
    if words in (["void"], ["_Bool"]):
        return Type(words[0], 1, 1, "bool") if words == ["_Bool"] else Type("void", None, 1, "void")
    if set(words) & {"float", "double"}:
        text = " ".join(sorted((word for word in words if word != "_Complex"), reverse=True))
        if text in _FLOATS:
            scale = 2 if "_Complex" in words else 1
            return Type("complex " * (scale - 1) + text, scale * _FLOATS[text], _FLOATS[text], "float")
    sign = "unsigned " if "unsigned" in words else ""
    rest = " ".join(word for word in words if word not in ("signed", "unsigned"))
    text = {"char": ("signed " if "signed" in words else sign) + "char",
            "__int128": f"__int128 {sign}".strip()}.get(rest, f"{rest} {sign}int".strip())
    if text in _INTEGERS and len(words) <= 3:
        nr_bytes, signed = _INTEGERS[text]
        return Type(text, nr_bytes, nr_bytes, "int", signed)
    if len(names) == 1:
        return None
    raise fail(line, f"{' '.join(names)!r} is not a C type")


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _place_bits(bit: int, width: int, type_: Type, tight: bool, asked: int, named: bool,
                in_union: bool) -> tuple[int, int]:
    """Where a bit-field begins and the alignment, bits, that it asks of its struct.

    It may not span more units of its type's alignment than its type does, unless packed; a width of 0
    goes to the next such unit, packed or not; only fields with a name align the struct
    (stor-layout.cc: place_field(), excess_unit_span(), update_alignment_for_field(); gcc 12).
    """
    size, align = 8 * (type_.size or 0), 8 * type_.align
    if width == 0:
        return _round_up(bit, max(align, asked)), 8
    wanted = max(asked, 1)
    bit = _round_up(bit, wanted)
    if width in (8, 16, 32, 64, 128) and bit % width == 0 and not (tight and width > 8):
        wanted = max(wanted, width)  # gcc makes it an ordinary field
    elif not tight and not in_union and -(-(bit % align + width) // align) > size // align:
        bit = _round_up(bit, align)
    if not named:
        return bit, 8
    return bit, max(wanted, 8 if tight else align)


def _literal(text: str, line: int) -> Int:
    if text[0] == "'" and len(text) == 3:
        return Int(ord(text[1]))
    found = re.fullmatch(r"(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)([uUlL]*)", text)
    if not found:
        raise fail(line, f"{text} is not an integer")
    digits, suffix = found[1], found[2].lower()
    octal = digits[0] == "0" and len(digits) > 1 and digits[1].isdigit()
    try:
        value = int(digits, 8 if octal else 0)
    except ValueError:
        raise fail(line, f"{text[:40]} is not an integer") from None
    for bits in (32, 64) if "l" not in suffix else (64,):
        if "u" not in suffix and value < 1 << (bits - 1):
            return Int(value, bits, True)
        if ("u" in suffix or digits[0] == "0") and value < 1 << bits:
            return Int(value, bits, False)
    raise fail(line, f"{text[:40]} does not fit in 64 bits")


def _promote(value: Int) -> Int:
    return value.to(32, True) if value.bits < 32 else value


def _common(left: Int, right: Int) -> tuple[Int, Int]:
    """Both in the type that C's usual arithmetic conversions give."""
    left, right = _promote(left), _promote(right)
    bits = max(left.bits, right.bits)
    signed = all(v.signed for v in (left, right) if v.bits == bits)
    return left.to(bits, signed), right.to(bits, signed)


def _binary(op: str, left: Int, right: Int, line: int) -> Int:
    if op in ("&&", "||"):
        both = (bool(left.value), bool(right.value))
        return Int(int(all(both) if op == "&&" else any(both)))
    if op in ("<<", ">>"):
        left = _promote(left)
        if not 0 <= right.value < left.bits:
            raise fail(line, f"a shift by {right.value} of a number of {left.bits} bits")
        value = left.value << right.value if op == "<<" else left.value >> right.value
        return Int(value).to(left.bits, left.signed)
    left, right = _common(left, right)
    a, b = left.value, right.value
    if op in ("/", "%") and b == 0:
        raise fail(line, "division by zero")
    if op in ("<", ">", "<=", ">=", "==", "!="):
        return Int(int({"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "==": a == b, "!=": a != b}[op]))
    quotient = 0 if op not in ("/", "%") else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    result = {"+": a + b, "-": a - b, "*": a * b, "/": quotient, "%": a - b * quotient,
              "&": a & b, "|": a | b, "^": a ^ b}.get(op)
    if result is None:
        raise fail(line, f"operator {op} in a constant")
    return Int(result).to(left.bits, left.signed)
