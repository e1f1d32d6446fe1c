"""Layouts of C text against gcc on generated structs, against data/kernels, and by hand."""

import random
import shutil
import subprocess

import pytest

from workbench.kernel.structs import Struct

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="no gcc to compare with")

#: What both gcc and the parser are given before the generated structs.
COMMON = """
typedef long long wide16 __attribute__((aligned(16))); typedef int narrow2 __attribute__((aligned(2)));
typedef unsigned char byte8 __attribute__((aligned(8)));
typedef struct { short a; char b; } pair_t; typedef struct { char c; } __attribute__((aligned(32))) wide32_t;
typedef int (*callback_t)(const char *, ...); typedef int vec3_t[3];
enum small { S0, S1, S2 = 7, S3 }; enum tiny { T0, T1 = 200 } __attribute__((packed));
enum tiny2 { U0 = -1, U1 = 300 } __attribute__((packed)); enum huge { H0, H1 = 1ULL << 40 };
enum minus { M0 = -5, M1 = 0x7fffffff }; enum top { P0 = 0xffffffffU };
struct tagged { char c; long l; int b:5; }; union either { int i; char c[9]; };
struct packed_tag { char c; long l; } __attribute__((packed)); struct empty { };
#define FOUR 4
#define SQUARE(x) ((x) * (x))
"""
#: The same for gcc alone: what the parser knows of the kernel.
KERNEL = """
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8; typedef long long s64; typedef _Bool bool; typedef struct { int counter; } atomic_t;
struct list_head { struct list_head *next, *prev; };
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define BITS_TO_LONGS(n) DIV_ROUND_UP(n, 64)
#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]
#define __packed __attribute__((packed))
#define __aligned(x) __attribute__((aligned(x)))
"""
INTEGERS = ["char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned", "long",
            "unsigned long int", "long long", "unsigned long long", "u8", "u16", "u32", "u64", "s8", "s64"]
ENUMS = ["enum small", "enum tiny", "enum tiny2", "enum huge", "enum minus", "enum top"]
OTHERS = ["float", "double", "long double", "_Bool", "bool", "__int128", "unsigned __int128", "_Float16",
          "_Complex float", "_Complex double", "wide16", "narrow2", "byte8", "pair_t", "wide32_t",
          "callback_t", "vec3_t", "struct tagged", "union either", "struct packed_tag", "struct empty",
          "atomic_t", "struct list_head", "const volatile int", *ENUMS]
UNEVEN = {"wide16": 16, "byte8": 8}  # larger alignment than size: no arrays of these
COUNTS = ["1", "2", "3", "FOUR", "SQUARE(3)", "S2", "sizeof(int)", "sizeof(struct tagged) / 3", "1 << 2",
          "BITS_TO_LONGS(100)", "(7 & ~1) - 2", "M1 > 3 ? 2 : 5", "0", "'a' - 95", "0x10 >> 1",
          "-1U / 1000000000", "sizeof(long [2][2])", "_Alignof(double)", "(unsigned char)259", "!S0 + 1",
          "__builtin_offsetof(struct tagged, l)"]


class Generator:
    """Random struct definitions: all that the layout rules tell apart, and what gcc shall be asked."""

    def __init__(self, seed, ms_extensions=False):
        self.rng = random.Random(seed)
        self.ms_extensions = ms_extensions
        self.names = 0

    def chance(self, percent):
        return self.rng.randrange(100) < percent

    def name(self):
        self.names += 1
        return f"m{self.names}"

    def attributes(self, percent=12):
        r, out = self.rng, ""
        if self.chance(percent):
            out += r.choice([" __packed", " __attribute__((packed))", " __attribute__((__packed__))"])
        if self.chance(percent):
            bytes_ = r.choice([2, 8, 16, 32, 64])
            out += r.choice([f" __aligned({bytes_})", f" __attribute__((aligned({bytes_})))",
                             " __attribute__((aligned))", f" __aligned(sizeof(short) * {bytes_} / 2)",
                             f" __attribute__((unused, __aligned__({bytes_})))"])
        return out

    def member(self, depth):
        """One declaration: its text, and (path, what) of everything in it that has an offset."""
        r, kind = self.rng, self.rng.randrange(100)
        if kind < 30:
            return self.bit_field()
        if kind < 45 and depth < 4:
            return self.aggregate_member(depth)
        if kind < 48:
            n = self.name()
            return f"DECLARE_BITMAP({n}, {r.choice([1, 64, 65, 200])});", [(n, "plain")]
        if kind < 53:
            n = self.name()
            return r.choice([f"int (*{n})(struct unknown *, u32 x);", f"void *{n}{self.attributes(8)};",
                             f"const char *const {n}[2];", f"int (*{n}[3])(void);", f"char (*{n})[7];",
                             f"struct unknown **{n};", f"enum {{ E{n} = 3 }} {n};"]), [(n, "plain")]
        type_ = r.choice(INTEGERS + OTHERS)
        before = r.choice(["", "", "", "", "const ", f"_Alignas({r.choice([32, 64])}) ", "_Alignas(0) ",
                           "_Alignas(wide32_t) ", "__aligned(8) ", "__attribute__((packed)) "])
        names = [self.name() for _ in range(r.choice([1, 1, 1, 2, 3]))]
        dims = ["".join(f"[{r.choice(COUNTS)}]" for _ in range(r.choice([0, 0, 0, 1, 2]))) for _ in names]
        if type_ in UNEVEN:
            dims = [""] * len(names)
        declarators = ", ".join(f"{n}{d}{self.attributes(8)}" for n, d in zip(names, dims, strict=True))
        return f"{before}{type_} {declarators};", [(n, "plain") for n in names]

    def bit_field(self):
        r = self.rng
        type_ = r.choice([*INTEGERS, *INTEGERS, *ENUMS, "_Bool", "bool", "narrow2", "__int128", "wide16",
                          "byte8"])
        most = {"_Bool": 1, "bool": 1, "char": 8, "signed char": 8, "unsigned char": 8, "u8": 8, "s8": 8,
                "byte8": 8, "short": 16, "unsigned short": 16, "u16": 16, "long": 64, "unsigned long int": 64,
                "long long": 64, "unsigned long long": 64, "u64": 64, "s64": 64, "wide16": 64,
                "__int128": 128, "enum tiny": 8, "enum tiny2": 16, "enum huge": 64}.get(type_, 32)
        width = r.choice([r.randint(1, most), r.randint(1, most), 1, most, min(8, most)])
        if self.chance(8):
            return f"{type_} : {r.choice([0, 0, width])};", []
        n = self.name()
        return f"{type_} {n}:{width}{self.attributes(10)};", [(n, "bool" if most == 1 else "bits")]

    def aggregate_member(self, depth):
        r, word, n = self.rng, self.rng.choice(["struct", "union"]), self.name()
        if self.ms_extensions and self.chance(40):
            return self.unnamed_tagged()
        body, leaves = self.body(word, depth + 1)
        before = self.attributes(6)
        form = r.randrange(4)
        if form == 0:
            return f"{word}{before} {{ {body} }}{self.attributes(6)};", leaves
        if form == 1:
            return f"{word} {{ {body} }}{before} {n};", [(n, "plain"), *((f"{n}.{p}", w) for p, w in leaves)]
        if form == 2:
            return f"{word}{before} tag_{n} {{ {body} }} {n};", [(n, "plain")]
        return f"{word} {{ {body} }}{before} *{n};", [(n, "plain")]

    def unnamed_tagged(self):
        """A tagged struct or a typedef as a member without a name; its members must be new names."""
        n, (body, leaves) = self.name(), self.body("struct", 3)
        self.early = getattr(self, "early", "") + (
            f"struct early_{n} {{ {body} }}; typedef struct early_{n} early_{n}_t;\n")
        return self.rng.choice([f"struct early_{n};", f"early_{n}_t;"]), leaves

    def body(self, word, depth):
        r, parts, leaves = self.rng, [], []
        for _ in range(r.choice([0, 1, 2, 3, 4, 5, 7]) if depth else r.randint(1, 9)):
            text, inner = self.member(depth)
            parts.append(text)
            leaves += inner
        if depth == 0 and word == "struct" and leaves and self.chance(15):
            n = self.name()
            parts.append(f"{r.choice(INTEGERS)} {n}[];")
            leaves.append((n, "plain"))
        return " ".join(parts), leaves

    def struct(self, nr):
        """(text, name as a type, leaves) of one definition at file scope."""
        self.early = ""
        word, form = self.rng.choice(["struct", "struct", "struct", "union"]), self.rng.randrange(5)
        body, leaves = self.body(word, 0)
        before, behind = self.attributes(10), self.attributes(10)
        if form == 0:
            align = self.rng.choice(["", " __aligned(16)", " __aligned(64)"])
            return f"{self.early}typedef {word}{before} {{ {body} }}{behind} t{nr}{align};", f"t{nr}", leaves
        return f"{self.early}{word}{before} t{nr} {{ {body} }}{behind};", f"{word} t{nr}", leaves


def gcc_layouts(definitions, tmp_path, *flags):
    """What gcc says of each definition: (size, align, {path: (offset, size) or ("bits", first, count)})."""
    lines = ["#include <stdio.h>", "#include <string.h>", "#include <stddef.h>", KERNEL, COMMON]
    lines += [text for text, _, _ in definitions]
    lines.append("""static void bits(const char *path, const void *at, size_t size) {
      const unsigned char *p = at; size_t n = 0, first = 0;
      for (size_t i = 0; i < size * 8; i++) if (p[i / 8] >> i % 8 & 1) { if (!n) first = i; n++; }
      printf("bits %s %zu %zu\\n", path, first, n); }""")
    for nr, (_, name, leaves) in enumerate(definitions):
        lines.append(f"static void show{nr}(void) {{ static {name} o; (void)o;"
                     f' printf("type %zu %zu\\n", sizeof({name}), _Alignof({name}));')
        for path, what in leaves:
            if what == "plain":
                lines.append(f'printf("plain {path} %zu\\n", offsetof({name}, {path}));')
            else:
                lines.append(f"memset(&o, 0, sizeof o); o.{path} = {'1' if what == 'bool' else '-1'};"
                             f' bits("{path}", &o, sizeof o);')
        lines.append("}")
    lines += ["int main(void) {", *(f"show{nr}();" for nr in range(len(definitions))), "return 0; }"]
    source, binary = tmp_path / "layouts.c", tmp_path / "layouts"
    source.write_text("\n".join(lines))
    subprocess.run([GCC, "-w", "-O0", *flags, "-o", binary, source], check=True, capture_output=True)
    found = []
    for line in subprocess.run([binary], check=True, capture_output=True, text=True).stdout.splitlines():
        what, *rest = line.split()
        if what == "type":
            found.append((int(rest[0]), int(rest[1]), {}))
        else:
            found[-1][2][rest[0]] = tuple(map(int, rest[1:]))
    return found


def our_layout(struct, leaves):
    rows = {row.name: row for row in struct.members if row.name[0] != "<"}
    at = {path: (rows[path].offset,) if what == "plain" else (rows[path].bit_offset, rows[path].bit_size)
          for path, what in leaves}
    return struct.size, struct.align, at


def compare_with_gcc(definitions, tmp_path, *flags):
    """Lay out every definition alone, as a user would paste it; return those that differ from gcc's."""
    wrong = []
    layouts = gcc_layouts(definitions, tmp_path, *flags)
    for (text, name, leaves), expected in zip(definitions, layouts, strict=True):
        struct = Struct.from_c(COMMON + text, name.split()[-1], ms_extensions="-fms-extensions" in flags)
        found = our_layout(struct, leaves)
        if found != expected:
            wrong.append((text, found, expected))
    return wrong


@needs_gcc
@pytest.mark.parametrize("flags", [(), ("-fms-extensions",)])
def test_layouts_equal_gcc_on_generated_structs(tmp_path, flags):
    generator = Generator(1, bool(flags))
    assert compare_with_gcc([generator.struct(nr) for nr in range(320)], tmp_path, *flags) == []
