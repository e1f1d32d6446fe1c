"""Pasted kernel code, made fit for pycparser: comments, ``#if``, macros, GNU attributes.

`preprocess` strips comments, decides conditionals and expands macros: the text's own and those of
``basic_types.h``. Includes are ignored. A name that neither the text nor the kernel's recorded options decide
counts as not defined, and a warning says so. `Rewriter` then keeps the declarations that define types, drops
functions and variables, and sets attributes aside.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from workbench.model.errors import InputError
from workbench.model.kernel._layout import MAX_NESTING
from workbench.model.kernel.config import KernelConfig, load_layouts

MARKER = r"__attribute_(\d+)__"
MAX_TOKENS = 200_000  # assumed; some ten times what include/linux/mm.h, v7.3, has
BASIC_TYPES = (Path(__file__).parent / "basic_types.h").read_text()

#: L1_CACHE_BYTES, arch/*/include/asm/cache.h, v7.3; 64 elsewhere.
_CACHE_LINE_BYTES = {"ppc64le": 128, "s390x": 256}
#: What the compiler defines for an architecture, and the options that are its name.
_ARCH_MACROS = {"x86_64": ("__x86_64__", "CONFIG_X86", "CONFIG_X86_64"),
                "aarch64": ("__aarch64__", "CONFIG_ARM64"),
                "ppc64le": ("__powerpc64__", "CONFIG_PPC", "CONFIG_PPC64"),
                "s390x": ("__s390x__", "CONFIG_S390"),
                "riscv64": ("__riscv", "CONFIG_RISCV")}
_TOKEN = re.compile(r"""\s+|(?P<word>[A-Za-z_]\w*)|(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<mark>\.\.\.|…|<<=|>>=|->|<<|>>|&&|\|\||[=!<>+*/%&|^-]=|\#\#|\+\+|--|[][(){}<>=?:;,.+*/%&|^~!\#-])""",
                    re.VERBOSE)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)
_OPTION_TEST = re.compile(r"\b(defined|IS_ENABLED|IS_BUILTIN|IS_REACHABLE|IS_MODULE)\s*"
                          r"(?:\(\s*(\w+)\s*\)|(\w+))")
_QUALIFIERS = {"const", "volatile", "typedef", "static", "extern", "inline", "register", "restrict"}
_KEYWORDS = _QUALIFIERS | {
    "void", "char", "short", "int", "long", "float", "double", "signed", "unsigned", "_Bool", "_Complex",
    "__int128", "struct", "union", "enum", "sizeof", "_Alignof", "_Alignas", "_Atomic", "__attribute__"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class Token(NamedTuple):
    """A word, number or mark of C, and its line."""

    text: str
    line: int

    @property
    def is_name(self) -> bool:
        """Whether it can name something."""
        return (self.text[0].isalpha() or self.text[0] == "_") and self.text not in _KEYWORDS


class Attribute(NamedTuple):
    """A GNU attribute: its name without underscores, its argument's text, its line."""

    name: str
    argument: str
    line: int


def fail(line: int, rule: str) -> InputError:
    """An error at a line of the text."""
    return InputError(rule, place=f"line {line}")


Constant = Callable[[str, int], "int"]  # the value of an integer constant expression in a line


def preprocess(text: str, kernel: KernelConfig | None,
               constant: Constant) -> tuple[list[Token], list[str]]:
    """The tokens of C text with macros expanded, and warnings about conditionals.

    ``constant`` is what evaluates the expression of an ``#if``.
    """
    config = kernel or KernelConfig()
    options = dict(config.options)
    if kernel and kernel.layouts and not options:  # an architecture with a build's layouts: its options too
        options = load_layouts(kernel.layouts)["config"]
    line_bytes = _CACHE_LINE_BYTES.get(config.arch, 64)
    numbers = {"PAGE_SHIFT": config.page_shift, "PAGE_SIZE": f"(1UL << {config.page_shift})",
               "L1_CACHE_BYTES": line_bytes, "SMP_CACHE_BYTES": line_bytes, "NODES_SHIFT": config.nodes_shift,
               "MAX_NUMNODES": 1 << config.nodes_shift, "XA_CHUNK_SHIFT": config.xa_chunk_shift,
               "XA_CHUNK_SIZE": 1 << config.xa_chunk_shift}
    numbers |= {f"CONFIG_{name}": 1 if value == "y" else value for name, value in options.items()
                if value == "y" or re.fullmatch(r"0x[0-9a-f]+|\d+", value)}
    numbers |= dict.fromkeys(_ARCH_MACROS.get(config.arch, ())[:None if kernel else 1], 1)
    macros = {name: _Macro(None, False, _tokens(str(value), 0)) for name, value in numbers.items()}
    known = _basic_macros(constant) if text is not BASIC_TYPES else {}
    reader = _Preprocessor({**known, **macros}, options, kernel.name if kernel else "", constant)
    return reader.run(text), reader.warnings


class _Macro(NamedTuple):
    """A macro: its parameters (None: it takes none), whether the last takes the rest, its tokens."""

    params: list[str] | None
    variadic: bool
    body: list[Token]


@dataclass
class _Arm:
    """One arm of an ``#if``: whether it, one before it, and what is around it are read; unknown names."""

    line: int
    reads: bool
    had: bool
    outer: bool
    unknown: list[str]


@functools.cache
def _basic_macros(constant: Constant) -> dict[str, _Macro]:
    reader = _Preprocessor({}, {}, "", constant)
    reader.run(BASIC_TYPES)
    return reader.macros


class _Preprocessor:
    """Directives and macros of one text."""

    def __init__(self, macros: dict[str, _Macro], options: dict[str, str], kernel: str, constant: Constant):
        self.constant = constant
        self.macros, self.options, self.kernel = macros, options, kernel
        self.warnings: list[str] = []
        self.arms: list[_Arm] = []
        self.nr_tokens = 0

    def run(self, text: str) -> list[Token]:
        out: list[Token] = []
        pending: list[Token] = []  # not expanded yet: a macro's arguments may span lines
        lines = list(_logical_lines(text))
        for (nr, line), (_, following) in zip(lines, [*lines[1:], (0, "")], strict=True):
            reads = all(arm.reads for arm in self.arms)
            directive = re.match(r"\s*#\s*(\w*)\s*(.*)", line, re.S)
            if not directive:
                pending += _tokens(line, nr) if reads else []
                continue
            word, rest = directive[1], directive[2].strip()
            if word in ("if", "ifdef", "ifndef"):
                guard = word == "ifndef" and re.match(rf"\s*#\s*define\s+{re.escape(rest)}\b", following)
                self._if(word, rest, nr, reads, bool(guard))
            elif word in ("elif", "else", "endif"):
                self._next_arm(word, rest, nr)
            elif reads and word in ("define", "undef"):
                out += self.expand(pending)
                pending = []
                self._define(word, rest, nr)
            elif reads and word == "pragma" and re.match(r"pack\b", rest):
                raise fail(nr, "#pragma pack is not supported; write __packed behind each struct")
        if self.arms:
            raise fail(self.arms[-1].line, "#if without #endif")
        return out + self.expand(pending)

    def _define(self, word: str, rest: str, nr: int) -> None:
        found = re.match(r"([A-Za-z_]\w*)(\(([^)]*)\))?", rest)
        if not found:
            raise fail(nr, f"#{word} needs a name, not {rest!r}")
        self.macros.pop(found[1], None)
        if word == "define":
            params = None if found[2] is None else [p.strip() for p in found[3].split(",") if p.strip()]
            variadic = bool(params and params[-1].endswith("..."))
            if params and variadic:
                params[-1] = params[-1][:-3].strip() or "__VA_ARGS__"
            self.macros[found[1]] = _Macro(params, variadic, _tokens(rest[found.end():], nr))

    def _if(self, word: str, rest: str, nr: int, outer: bool, guard: bool) -> None:
        unknown: list[str] = []
        test = {"if": rest, "ifdef": f"defined({rest})", "ifndef": f"!defined({rest})"}[word]
        holds = outer and self._holds(test, nr, unknown)
        self.arms.append(_Arm(nr, holds, holds, outer, [] if guard else unknown))

    def _next_arm(self, word: str, rest: str, nr: int) -> None:
        if not self.arms:
            raise fail(nr, f"#{word} without #if")
        arm = self.arms[-1]
        if arm.unknown and nr > arm.line + 1:
            what = f"line {arm.line + 1} is" if nr == arm.line + 2 else f"lines {arm.line + 1}-{nr - 1} are"
            why = f"not recorded for kernel {self.kernel}" if self.kernel else "not known without a kernel"
            names = ", ".join(dict.fromkeys(arm.unknown))
            self.warnings.append(f"line {arm.line}: {names} {why}, taken as not defined; {what} "
                                 + ("kept" if arm.reads else "left out"))
            arm.unknown = []
        if word == "endif":
            self.arms.pop()
            return
        holds = arm.outer and not arm.had and (word == "else" or self._holds(rest, nr, arm.unknown))
        arm.line, arm.reads, arm.had = nr, holds, arm.had or holds

    def _is_defined(self, test: str, name: str, unknown: list[str]) -> bool:
        """``defined(name)``, ``IS_ENABLED(name)`` and their like."""
        value = self.options.get(name.removeprefix("CONFIG_").removesuffix("_MODULE"))
        if name in self.macros:
            return test != "IS_MODULE"
        if not name.startswith("CONFIG_") or value is None:
            unknown.append(name)
            return False
        return value == "m" and (name.endswith("_MODULE") or test not in ("defined", "IS_BUILTIN"))

    def _holds(self, rest: str, nr: int, unknown: list[str]) -> bool:
        """The value of an ``#if``; a name that is not known is 0, as in C."""
        tested = _OPTION_TEST.sub(lambda f: f" {int(self._is_defined(f[1], f[2] or f[3], unknown))} ", rest)
        tokens = self.expand(_tokens(tested, nr))
        unknown += [token.text for token in tokens if token.is_name]
        return bool(self.constant(" ".join("0" if token.is_name else token.text for token in tokens), nr))

    def expand(self, tokens: list[Token], active: frozenset[str] = frozenset()) -> list[Token]:
        """Expand macros; none expands inside itself."""
        out: list[Token] = []
        i = 0
        while i < len(tokens):
            token, macro = tokens[i], self.macros.get(tokens[i].text)
            i += 1
            calls = i < len(tokens) and tokens[i].text == "("
            if macro is None or token.text in active or (macro.params is not None and not calls):
                out.append(token)
                continue
            args: dict[str, list[Token]] = {}
            if macro.params is not None:
                args, i = self._arguments(token, macro, tokens, i + 1, active)
            body = _substitute(macro.body, args, token.line)
            self.nr_tokens += len(body) + 1
            if self.nr_tokens > MAX_TOKENS:
                raise fail(token.line, f"macros expand to more than {MAX_TOKENS} tokens, last {token.text}")
            out += self.expand(body, active | {token.text})
        return out

    def _arguments(self, name: Token, macro: _Macro, tokens: list[Token], i: int,
                   active: frozenset[str]) -> tuple[dict[str, list[Token]], int]:
        params, depth = macro.params or [], 0
        args: list[list[Token]] = [[]]
        while i < len(tokens) and (depth or tokens[i].text != ")"):
            text = tokens[i].text
            depth += (text in _CLOSING) - (text in ")]}")
            if text == "," and not depth and not (macro.variadic and len(args) >= len(params)):
                args.append([])
            else:
                args[-1].append(tokens[i])
            i += 1
        if i >= len(tokens):
            raise fail(name.line, f"macro {name.text}( is not closed")
        args += [[]] * (macro.variadic and len(args) == len(params) - 1)
        if len(args) != len(params) and (params or args != [[]]):
            raise fail(name.line, f"macro {name.text} takes {len(params)} arguments, not {len(args)}")
        return {p: self.expand(a, active) for p, a in zip(params, args, strict=False)}, i + 1


def _substitute(body: list[Token], args: dict[str, list[Token]], line: int) -> list[Token]:
    """A macro's body with its arguments put in and ``##`` applied."""
    out: list[Token] = []
    paste = False
    for token in body:
        piece = args.get(token.text, [Token(token.text, line)])
        if paste and out and piece:
            out[-1] = Token(out[-1].text + piece[0].text, line)
            piece = piece[1:]
        paste = token.text == "##"
        if not paste:
            out += piece
    return out


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, continued ones joined, each with the number of its first."""
    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0][0] in "\"'" else " " + "\n" * found[0].count("\n")

    text = _COMMENT.sub(blank, text)
    if "/*" in text:
        raise fail(text[:text.index("/*")].count("\n") + 1, "the comment /* is not closed")
    held = ""
    first = 1
    for nr, line in enumerate(text.split("\n"), 1):
        if line.rstrip().endswith("\\"):
            held += line.rstrip()[:-1] + " "
            continue
        yield first, held + line
        held, first = "", nr + 1


def _tokens(line: str, nr: int) -> list[Token]:
    out, at = [], 0
    while at < len(line):
        found = _TOKEN.match(line, at)
        if not found:
            raise fail(nr, f"{line[at]!r} is not part of C")
        if found.lastgroup:
            out.append(Token(found[0], nr))
        at = found.end()
    return out


class Rewriter:
    """Declarations of types in the C that pycparser takes; attributes become markers.

    A marker is a declaration named ``__attribute_N__``: the first in each struct, union and enum body, and
    one behind each declaration with attributes. ``attributes[N]`` holds the number of declarators it follows
    and the attributes, each with the declarator it belongs to (None: to the body, or to all).
    """

    def __init__(self, tokens: list[Token], basic_names: frozenset[str] = frozenset()):
        _check_brackets(tokens)
        for token in tokens:
            if re.fullmatch(MARKER, token.text):
                raise fail(token.line, f"the name {token.text} is taken")
        self.tokens, self.at = tokens, 0
        self.out: list[Token] = []
        self.attributes: list[tuple[int, list[tuple[int | None, Attribute]]]] = []
        self.constants: set[str] = set()  # of enums
        self.warnings: list[str] = []
        while self.at < len(tokens):
            self._declaration(top=True)
        self.types = list(dict.fromkeys(_type_names(self.out, self.constants, basic_names)))

    def text(self) -> str:
        """The C text, each token on its line; names that must be types are declared ahead."""
        parts, line = [f"typedef int {name};" for name in self.types], 1
        for token in self.out:
            if token.line != line:
                parts.append("\n" if token.line == line + 1 else f"\n#line {token.line}\n")
                line = token.line
            parts.append(token.text)
        return " ".join(parts)

    def _peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.tokens[at].text if at < len(self.tokens) else ""

    def _next(self) -> Token:
        if self.at >= len(self.tokens):
            raise fail(self.tokens[-1].line, "the text ends inside a declaration; is a ';' missing?")
        self.at += 1
        return self.tokens[self.at - 1]

    def _skip(self, until: str) -> list[Token]:
        """Pass over everything up to a mark outside of brackets."""
        start, depth, text = self.at, 0, ""
        while text != until or depth > 0:
            text = self._next().text
            depth += (text in _CLOSING) - (text in ")]}")
        return self.tokens[start:self.at]

    def _mark(self, nr_declarators: int, attributes: list[tuple[int | None, Attribute]]) -> str:
        self.attributes.append((nr_declarators, attributes))
        return f"__attribute_{len(self.attributes) - 1}__"

    def _emit(self, text: str, line: int) -> None:
        self.out += [Token(word, line) for word in text.split()]

    def _declaration(self, top: bool) -> None:
        start, first = len(self.out), self._next()
        self.at -= 1
        if first.text in (";", "_Static_assert"):
            self._skip(";")
            return
        if first.is_name and self._peek(1) == "(" and self._peek(2) not in ("*", "__attribute__"):
            if not top:
                raise fail(first.line, f"macro {first.text}(...) is not known; #define it in the text, or "
                                       "write out the members it stands for")
            self.at += 1
            self._skip(")")
            return
        own: list[tuple[int | None, Attribute]] = []
        body: list[tuple[int | None, Attribute]] | None = None
        nr, keeps = 0, first.text == "typedef"
        while (token := self._next()).text != ";":
            if token.text == "__attribute__":
                found = self._attributes(token.line)
                before = self.out[-1].text if len(self.out) > start else ""
                of_all = not nr and before != "*" and self._peek() not in (",", ";", ":")
                if body is not None and before == "}":
                    body += [(None, attribute) for attribute in found]
                else:
                    own += [(None if of_all else nr, attribute) for attribute in found]
            elif token.text in ("struct", "union", "enum"):
                body = self._tag(token)
                keeps |= body is not None
            elif token.text in ("(", "["):
                self._group(token)
            elif token.text == "=" and top:
                self._skip(";")
                self.at -= 1
            elif token.text == "{" and top:  # a function
                self.at -= 1
                self._skip("}")
                keeps = False
                break
            elif token.text in ("{", "}"):
                raise fail(token.line, f"unexpected {token.text!r}; is a ';' missing before it?")
            else:
                nr += token.text == ","
                self.out.append(token)
        if top and not keeps:
            del self.out[start:]
            return
        self._emit(";", token.line)
        if own:
            self._emit(("typedef " if top else "") + f"char {self._mark(nr + 1, own)} ;", token.line)

    def _attributes(self, line: int) -> list[Attribute]:
        """What stands in ``__attribute__((...))`` and in those that follow it at once."""
        if self._peek() != "(" or self._peek(1) != "(":
            raise fail(line, "__attribute__ needs two brackets, as in __attribute__((packed))")
        depth, parts = 0, [[]]  # type: int, list[list[Token]]
        for token in self._skip(")")[2:-2]:
            depth += (token.text == "(") - (token.text == ")")
            if token.text == "," and not depth:
                parts.append([])
            else:
                parts[-1].append(token)
        found = [Attribute(words[0].text.strip("_"), " ".join(word.text for word in words[2:-1]), line)
                 for words in parts if words]
        if self._peek() == "__attribute__":
            self.at += 1
            found += self._attributes(line)
        return found

    def _tag(self, keyword: Token) -> list[tuple[int | None, Attribute]] | None:
        """``struct``, its attributes, tag and body; the list for the body's attributes, if it has a body."""
        self.out.append(keyword)
        found: list[tuple[int | None, Attribute]] = []
        if self._peek() == "__attribute__":
            self.at += 1
            found = [(None, attribute) for attribute in self._attributes(keyword.line)]
        if self.at < len(self.tokens) and self.tokens[self.at].is_name:
            self.out.append(self._next())
        if self._peek() != "{":
            return None
        line, marker = self._next().line, self._mark(0, found)
        self._emit(f"{{ {marker} ," if keyword.text == "enum" else f"{{ char {marker} ;", line)
        if keyword.text == "enum":
            self.at -= 1
            inside = self._skip("}")
            self.constants |= {name.text for before, name in itertools.pairwise(inside)
                               if before.text in ("{", ",")}
            self.out += [token for token in inside[1:] if token.text != "__attribute__"]
            return found
        while self._peek() != "}":
            if self._peek() in ("...", "…"):
                self.warnings.append(f"line {self._next().line}: '...' left out; what it stands for would "
                                     f"make the {keyword.text} larger")
            else:
                self._declaration(top=False)
        self.out.append(self._next())
        return found

    def _group(self, opening: Token) -> None:
        """A bracket and what is in it, without attributes: they change no layout there."""
        self.out.append(opening)
        while (token := self._next()).text != _CLOSING[opening.text]:
            if token.text in _CLOSING:
                self._group(token)
            elif token.text == "__attribute__":
                self._attributes(token.line)
            else:
                self.out.append(token)
        self.out.append(token)


def _check_brackets(tokens: list[Token]) -> None:
    opened: list[Token] = []
    for token in tokens:
        if token.text in _CLOSING:
            opened.append(token)
            if len(opened) > MAX_NESTING:
                raise fail(token.line, f"brackets nest deeper than {MAX_NESTING} levels")
        elif token.text in ")]}" and (not opened or _CLOSING[opened.pop().text] != token.text):
            raise fail(token.line, f"{token.text!r} closes nothing")
    if opened:
        raise fail(opened[-1].line, f"{opened[-1].text!r} is not closed")


def _type_names(tokens: list[Token], constants: set[str], basic_names: frozenset[str]) -> Iterator[str]:
    """Names that stand where C wants a type, by what is around them."""
    texts = ["", ";", *(token.text for token in tokens), ""]
    depth = 0
    for i, token in enumerate(tokens, 2):
        depth += (token.text == "(") - (token.text == ")")
        if not token.is_name or token.text in constants:
            continue
        at = i - 1
        while texts[at] in _QUALIFIERS and at > 1:
            at -= 1
        before, opener, behind = texts[at], texts[at - 1], texts[i + 1]
        declares = behind == "*" or behind[:1].isalpha() or behind[:1] == "_"
        if before == ";":
            found = declares or behind in (";", ":", "(")
        elif before == "(" and opener in ("sizeof", "_Alignof", "_Alignas", "_Atomic"):
            found = True
        elif before == "," or (before == "(" and Token(opener or "(", 0).is_name | (opener == ")")):
            found = declares or (depth > 0 and behind in (")", ","))
        else:
            found = (before == ")" and declares) or (before == "(" and token.text in basic_names)
        if found:
            yield token.text
