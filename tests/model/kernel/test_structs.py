"""Layouts of C text against gcc on generated structs, against data/kernels, and by hand."""

import contextlib
import math
import random
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.model.errors import InputError
from workbench.model.kernel._layout import Member
from workbench.model.kernel.config import KernelConfig, load_layouts, presets
from workbench.model.kernel.structs import Struct

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
INTEGERS = [
    "char",
    "signed char",
    "unsigned char",
    "short",
    "unsigned short",
    "int",
    "unsigned",
    "long",
    "unsigned long int",
    "long long",
    "unsigned long long",
    "u8",
    "u16",
    "u32",
    "u64",
    "s8",
    "s64",
]
ENUMS = ["enum small", "enum tiny", "enum tiny2", "enum huge", "enum minus", "enum top"]
OTHERS = [
    "float",
    "double",
    "long double",
    "_Bool",
    "bool",
    "__int128",
    "unsigned __int128",
    "_Float16",
    "_Complex float",
    "_Complex double",
    "wide16",
    "narrow2",
    "byte8",
    "pair_t",
    "wide32_t",
    "callback_t",
    "vec3_t",
    "struct tagged",
    "union either",
    "struct packed_tag",
    "struct empty",
    "atomic_t",
    "struct list_head",
    "const volatile int",
    *ENUMS,
]
UNEVEN = {"wide16": 16, "byte8": 8}  # larger alignment than size: no arrays of these
COUNTS = [
    "1",
    "2",
    "3",
    "FOUR",
    "SQUARE(3)",
    "S2",
    "sizeof(int)",
    "sizeof(struct tagged) / 3",
    "1 << 2",
    "BITS_TO_LONGS(100)",
    "(7 & ~1) - 2",
    "M1 > 3 ? 2 : 5",
    "0",
    "'a' - 95",
    "0x10 >> 1",
    "-1U / 1000000000",
    "sizeof(long [2][2])",
    "_Alignof(double)",
    "(unsigned char)259",
    "!S0 + 1",
    "__builtin_offsetof(struct tagged, l)",
]


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
            out += r.choice(
                [
                    f" __aligned({bytes_})",
                    f" __attribute__((aligned({bytes_})))",
                    " __attribute__((aligned))",
                    f" __aligned(sizeof(short) * {bytes_} / 2)",
                    f" __attribute__((unused, __aligned__({bytes_})))",
                ]
            )
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
            return r.choice(
                [
                    f"int (*{n})(struct unknown *, u32 x);",
                    f"void *{n}{self.attributes(8)};",
                    f"const char *const {n}[2];",
                    f"int (*{n}[3])(void);",
                    f"char (*{n})[7];",
                    f"struct unknown **{n};",
                    f"enum {{ E{n} = 3 }} {n};",
                ]
            ), [(n, "plain")]
        type_ = r.choice(INTEGERS + OTHERS)
        before = r.choice(
            [
                "",
                "",
                "",
                "",
                "const ",
                f"_Alignas({r.choice([32, 64])}) ",
                "_Alignas(0) ",
                "_Alignas(wide32_t) ",
                "__aligned(8) ",
                "__attribute__((packed)) ",
            ]
        )
        names = [self.name() for _ in range(r.choice([1, 1, 1, 2, 3]))]
        dims = ["".join(f"[{r.choice(COUNTS)}]" for _ in range(r.choice([0, 0, 0, 1, 2]))) for _ in names]
        if type_ in UNEVEN:
            dims = [""] * len(names)
        declarators = ", ".join(f"{n}{d}{self.attributes(8)}" for n, d in zip(names, dims, strict=True))
        return f"{before}{type_} {declarators};", [(n, "plain") for n in names]

    def bit_field(self):
        r = self.rng
        type_ = r.choice(
            [*INTEGERS, *INTEGERS, *ENUMS, "_Bool", "bool", "narrow2", "__int128", "wide16", "byte8"]
        )
        most = {
            "_Bool": 1,
            "bool": 1,
            "char": 8,
            "signed char": 8,
            "unsigned char": 8,
            "u8": 8,
            "s8": 8,
            "byte8": 8,
            "short": 16,
            "unsigned short": 16,
            "u16": 16,
            "long": 64,
            "unsigned long int": 64,
            "long long": 64,
            "unsigned long long": 64,
            "u64": 64,
            "s64": 64,
            "wide16": 64,
            "__int128": 128,
            "enum tiny": 8,
            "enum tiny2": 16,
            "enum huge": 64,
        }.get(type_, 32)
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
            f"struct early_{n} {{ {body} }}; typedef struct early_{n} early_{n}_t;\n"
        )
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
        lines.append(
            f"static void show{nr}(void) {{ static {name} o; (void)o;"
            f' printf("type %zu %zu\\n", sizeof({name}), _Alignof({name}));'
        )
        for path, what in leaves:
            if what == "plain":
                lines.append(f'printf("plain {path} %zu\\n", offsetof({name}, {path}));')
            else:
                lines.append(
                    f"memset(&o, 0, sizeof o); o.{path} = {'1' if what == 'bool' else '-1'};"
                    f' bits("{path}", &o, sizeof o);'
                )
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
    at = {
        path: (rows[path].offset,) if what == "plain" else (rows[path].bit_offset, rows[path].bit_size)
        for path, what in leaves
    }
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


@needs_gcc
def test_constants_equal_gcc(tmp_path):
    rng = random.Random(4)

    def expression(depth):
        if depth == 0 or rng.random() < 0.2:
            return rng.choice(
                [
                    "1",
                    "7",
                    "0x7fffffff",
                    "0xffffffff",
                    "3u",
                    "5ul",
                    "-2",
                    "sizeof(int)",
                    "010",
                    "2ll",
                    "0x8000000000000000",
                    "(signed char)200",
                    "(unsigned short)-1",
                    "S3",
                    "(u64)9",
                ]
            )
        left, right = expression(depth - 1), expression(depth - 1)
        return rng.choice(
            [
                f"({left} {rng.choice('+-*&|^')} {right})",
                f"(- {left})",
                f"(~{left})",
                f"(!{left})",
                f"({left} {rng.choice(['<', '>=', '==', '!=', '&&', '||'])} {right})",
                f"({left} ? {right} : {expression(depth - 1)})",
                f"({left} >> {rng.randint(0, 31)})",
                f"({left} / ({right} | 1))",
                f"({left} % ({right} | 1))",
            ]
        )

    texts = [expression(4) for _ in range(400)]
    shown = "\n".join(f'printf("%d\\n", (int)(({t}) & 0xfff));' for t in texts)
    (tmp_path / "c.c").write_text(f"#include <stdio.h>\n{KERNEL}{COMMON}int main(void) {{ {shown} }}")
    subprocess.run([GCC, "-w", "-fwrapv", "-o", tmp_path / "c", tmp_path / "c.c"], check=True)
    values = subprocess.run([tmp_path / "c"], check=True, capture_output=True, text=True).stdout.split()
    fields = " ".join(f"char m{i}[({t}) & 0xfff];" for i, t in enumerate(texts))
    rows = Struct.from_c(f"{COMMON} struct sizes {{ {fields} }};").members
    assert [row.size for row in rows] == [int(value) for value in values]


@needs_gcc
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.lists(
        st.tuples(
            st.sampled_from(["char", "short", "int", "long", "enum tiny", "_Bool", "u64"]),
            st.one_of(st.none(), st.integers(0, 64)),
            st.sampled_from(["", " __packed"]),
            st.sampled_from(["", " __aligned(2)", " __aligned(16)"]),
        ),
        min_size=1,
        max_size=8,
    ),
    packed=st.booleans(),
    word=st.sampled_from(["struct", "union"]),
)
def test_bit_field_runs_equal_gcc(tmp_path, fields, packed, word):
    most = {"char": 8, "short": 16, "int": 32, "long": 64, "enum tiny": 8, "_Bool": 1, "u64": 64}
    parts, leaves = [], []
    for i, (type_, width, tight, aligned) in enumerate(fields):
        if width == 0:
            parts.append(f"{type_} : 0;")
            continue
        bits = "" if width is None else f":{min(width, most[type_])}"
        parts.append(f"{type_} m{i}{bits}{tight}{aligned};")
        leaves.append((f"m{i}", "plain" if width is None else "bool" if type_ == "_Bool" else "bits"))
    text = f"{word} t0 {{ {' '.join(parts)} }}{' __packed' if packed else ''};"
    assert compare_with_gcc([(text, f"{word} t0", leaves)], tmp_path) == []


#: struct page, folio, xa_node and mem_section of the five builds; KERNEL is 601, 612 or 618.
MM_TYPES = """
#if KERNEL >= 618
#define FLAGS_T memdesc_flags_t
#else
#define FLAGS_T unsigned long
#endif
struct page {
    FLAGS_T flags;
    union {
        struct {
            union {
                struct list_head lru;
#if KERNEL < 618
                struct { void *__filler; unsigned int mlock_count; };
#endif
                struct list_head buddy_list, pcp_list;
#if KERNEL >= 618
                struct llist_node pcp_llist;
#endif
            };
            struct address_space *mapping;
#if KERNEL == 601
            unsigned long index;
#elif KERNEL == 612
            union { unsigned long index, share; };
#else
            union { unsigned long __folio_index, share, buddy_since; };
#endif
            unsigned long private;
        };
        struct {
            unsigned long pp_magic;
            struct page_pool *pp;
            unsigned long _pp_mapping_pad, dma_addr;
#if KERNEL == 601
            union { unsigned long dma_addr_upper; atomic_long_t pp_frag_count; };
#else
            atomic_long_t pp_ref_count;
#endif
        };
#if KERNEL == 601
        struct {
            unsigned long compound_head;
            unsigned char compound_dtor, compound_order;
            atomic_t compound_mapcount, compound_pincount;
            unsigned int compound_nr;
            unsigned long _private_1;
        };
        struct { unsigned long _compound_pad_1, _compound_pad_2; struct list_head deferred_list; };
        struct {
            unsigned long _pt_pad_1;
            pgtable_t pmd_huge_pte;
            unsigned long _pt_pad_2;
            union {
                struct mm_struct *pt_mm;
                atomic_t pt_frag_refcount;
#ifndef PPC
                atomic_t pt_share_count;
#endif
            };
            spinlock_t ptl;
        };
#else
        struct { unsigned long compound_head; };
#endif
#if KERNEL >= 618
        struct { void *_unused_pgmap_compound_head, *zone_device_data; };
#else
        struct { struct dev_pagemap *pgmap; void *zone_device_data; };
#endif
        struct rcu_head rcu_head;
    };
#if KERNEL == 601
    union { atomic_t _mapcount; unsigned int page_type; };
#else
    union { unsigned int page_type; atomic_t _mapcount; };
#endif
    atomic_t _refcount;
#ifdef CONFIG_MEMCG
    unsigned long memcg_data;
#endif
} _struct_page_alignment;
struct folio {
    union {
        struct {
            FLAGS_T flags;
            union {
                struct list_head lru;
                struct { void *__filler; unsigned int mlock_count; };
#if KERNEL >= 618
                struct dev_pagemap *pgmap;
#endif
            };
            struct address_space *mapping;
#if KERNEL >= 618
            union { unsigned long index, share; };
#else
            unsigned long index;
#endif
#if KERNEL >= 612
            union { void *private; swp_entry_t swap; };
#else
            void *private;
#endif
            atomic_t _mapcount, _refcount;
#ifdef CONFIG_MEMCG
            unsigned long memcg_data;
#endif
        };
        struct page page;
    };
#if KERNEL == 601
    unsigned long _flags_1, __head;
    unsigned char _folio_dtor, _folio_order;
    atomic_t _total_mapcount, _pincount;
    unsigned int _folio_nr_pages;
    unsigned long _private_1;
#else
    union {
        struct {
            unsigned long _flags_1, _head_1;
#if KERNEL == 612
            atomic_t _large_mapcount, _entire_mapcount, _nr_pages_mapped, _pincount;
            unsigned int _folio_nr_pages;
#else
            union {
                struct {
                    atomic_t _large_mapcount, _nr_pages_mapped, _entire_mapcount, _pincount;
                    mm_id_mapcount_t _mm_id_mapcount[2];
                    union { mm_id_t _mm_id[2]; unsigned long _mm_ids; };
                };
                unsigned long _usable_1[4];
            };
            atomic_t _mapcount_1, _refcount_1;
            unsigned int _nr_pages;
#endif
        };
        struct page __page_1;
    };
    union {
        struct { unsigned long _flags_2, _head_2; struct list_head _deferred_list; };
        struct page __page_2;
    };
    union {
        struct {
            unsigned long _flags_3, _head_3;
            void *_hugetlb_subpool, *_hugetlb_cgroup, *_hugetlb_cgroup_rsvd, *_hugetlb_hwpoison;
        };
        struct page __page_3;
    };
#endif
};
#define XA_MAX_MARKS 3
#define XA_MARK_LONGS BITS_TO_LONGS(XA_CHUNK_SIZE)
struct xa_node {
    unsigned char shift, offset, count, nr_values;
    struct xa_node __rcu *parent;
    struct xarray *array;
    union { struct list_head private_list; struct rcu_head rcu_head; };
    void __rcu *slots[XA_CHUNK_SIZE];
    union {
        unsigned long tags[XA_MAX_MARKS][XA_MARK_LONGS];
        unsigned long marks[XA_MAX_MARKS][XA_MARK_LONGS];
    };
};
struct mem_section {
    unsigned long section_mem_map;
    struct mem_section_usage *usage;
#ifdef CONFIG_PAGE_EXTENSION
    struct page_ext *page_ext;
    unsigned long pad;
#endif
};
"""


BUILDS = sorted(name for name, kernel in presets().items() if kernel.layouts == name)


def without_array_shape(type_):
    """BTF of these builds flattens arrays of arrays: long[3][1] reads long[3] there."""
    base, _, dims = type_.partition("[")
    return f"{base}[{math.prod(map(int, dims.strip(']').split('][')))}]" if dims else type_


@pytest.mark.parametrize("name", ["page", "folio", "xa_node", "mem_section"])
@pytest.mark.parametrize("build", BUILDS)
def test_pasted_structs_equal_the_builds_btf(build, name):
    kernel = KernelConfig.preset(build)
    version = {"6.1": 601, "6.12": 612, "6.18": 618}[".".join(kernel.release.split(".")[:2])]
    header = f"#define KERNEL {version}\n#define _struct_page_alignment __aligned(2 * sizeof(long))\n"
    if kernel.arch == "ppc64le":
        header = f"#define KERNEL {version}\n#define PPC\n#define _struct_page_alignment\n"
    found, expected = Struct.from_c(header + MM_TYPES, name, kernel), Struct.from_kernel(name, kernel)
    rows = tuple(replace(row, type=without_array_shape(row.type)) for row in found.members)
    assert (found.size, found.align, rows) == (expected.size, expected.align, expected.members)


def test_there_are_five_builds():
    assert len(BUILDS) == 5


DYNAMIC_PAGE = (
    "struct dynamic_page {\n    struct page;\n    unsigned long vaddr;\n    unsigned long pfn;\n};\n"
)


@pytest.mark.parametrize("build", BUILDS)
def test_dynamic_page_with_ms_extensions_holds_the_page(build):
    struct = Struct.from_c(DYNAMIC_PAGE, kernel=KernelConfig.preset(build), ms_extensions=True)
    page = Struct.from_kernel("page", build)
    assert (struct.size, struct.member("vaddr").offset, struct.member("pfn").offset) == (80, 64, 72)
    assert struct.members[0] == Member("<anon struct>", "struct page", 0, 64)
    assert struct.members[1:-2] == tuple(replace(row, depth=row.depth + 1) for row in page.members)
    assert struct.warnings == ()


def test_dynamic_page_without_ms_extensions_drops_the_page_as_gcc_does(tmp_path):
    struct = Struct.from_c(DYNAMIC_PAGE, kernel=KernelConfig.preset("amd64_6.12"))
    assert (struct.size, [row.name for row in struct.members]) == (16, ["vaddr", "pfn"])
    assert struct.warnings == ("line 2: declaration does not declare anything",)
    if GCC:
        (tmp_path / "d.c").write_text(DYNAMIC_PAGE)
        run = subprocess.run(
            [GCC, "-c", "-o", tmp_path / "d.o", tmp_path / "d.c"], capture_output=True, text=True
        )
        assert "d.c:2:" in run.stderr and "declaration does not declare anything" in run.stderr


def test_the_mails_ellipsis_is_left_out_with_a_warning():
    text = "struct dynamic_page { struct page; unsigned long vaddr; unsigned long pfn; ... };"
    struct = Struct.from_c(text, kernel=KernelConfig.preset("x86-64"))
    assert struct.size == 80
    assert "'...' left out" in struct.warnings[0]


def test_kernel_types_resolve_from_text_then_kernel_then_basic_types():
    kernel = KernelConfig.preset("microvm")
    text = (
        "struct s { struct zone z; mm_context_t c; spinlock_t l; u8 a; atomic64_t n; struct hlist_head h; };"
    )
    struct = Struct.from_c(text, kernel=kernel)
    assert struct.member("z").size == Struct.from_kernel("zone", kernel).size
    assert struct.member("c").size == 144
    assert "struct zone, mm_context_t of microvm_6.18" in struct.source
    assert Struct.from_c("typedef struct { char c[3]; } u8; struct s { u8 x; };").size == 3


def test_ifdefs_follow_the_kernels_options_and_say_what_is_not_known():
    text = "struct s {\n#ifdef CONFIG_MEMCG\nlong a;\n#else\nint b;\n#endif\n"
    text += "#ifdef CONFIG_NOPE\nint c;\n#endif\n};"
    struct = Struct.from_c(text, kernel=KernelConfig.preset("x86-64"))
    assert [row.name for row in struct.members] == ["a"]
    assert struct.warnings == (
        "line 7: CONFIG_NOPE not recorded for kernel x86-64, taken as not defined; line 8 is left out",
    )
    assert [row.name for row in Struct.from_c(text).members] == ["b"]
    assert len(Struct.from_c(text).warnings) == 2


def test_conditions_and_macros():
    text = """#ifndef _H
    #define _H
    #include <linux/types.h>
    #define N (1 << 2) /* two
    lines */
    #if defined(CONFIG_SLUB) && !defined CONFIG_NOPE && IS_ENABLED(CONFIG_ZSMALLOC) && N * 2 == 8 // true
    #define PAIR(a, b) u16 a##_##b; \\
        u16 b
    #endif
    static inline int f(struct s *s) { return s->a[0] ? ({ 1; }) : 2; }
    extern int array[] = { 1, 2 };
    EXPORT_SYMBOL(f);
    struct s { char a[N + sizeof(u64)]; PAIR(x, y); DECLARE_BITMAP(map, 65) ____cacheline_aligned;
        struct_group(tail, u8 k; u32 l __counted_by(k);); DECLARE_FLEX_ARRAY(u8, data); };
    #endif"""
    struct = Struct.from_c(text, kernel=KernelConfig.preset("amd64_6.12"))
    assert {row.name: row.offset for row in struct.members if not row.depth and row.name[0] != "<"} == {
        "a": 0,
        "x_y": 12,
        "y": 14,
        "map": 64,
    }
    assert (struct.member("l").offset, struct.member("tail.l").offset, struct.member("data").offset) == (
        84,
        84,
        88,
    )
    assert (struct.size, struct.align) == (128, 64)


@pytest.mark.parametrize(
    "text, message",
    [
        ("struct s {\n int a;\n int b\n};", "line 4: unexpected '}'; is a ';' missing before it?"),
        ("struct s {\n int 3a;\n};", "line 2: C syntax error: unexpected 3"),
        (
            "struct s {\n foo_t a;\n};",
            "line 2: type 'foo_t' is not known; define it in the text, or choose a kernel "
            "whose layouts have it",
        ),
        ("struct s {\n struct other a;\n};", "line 2: type 'struct other' is not known"),
        ("struct s {\n struct s a;\n};", "line 1: struct s contains itself; use a pointer"),
        ("struct a { struct b x; };\nstruct b { struct a y; };", "contains itself"),
        ("typedef a b; typedef b a;\nstruct s { a x; };", "typedef a is defined by itself"),
        ("enum { A = B, B = A };\nstruct s { int x[A]; };", "is defined by itself"),
        ("struct a {" * 1000 + "} x;" * 1000, "line 1: brackets nest deeper than 64 levels"),
        ("struct s { int x[" + "(" * 70 + "1" + ")" * 70 + "]; };", "deeper than 64 levels"),
        ("struct s { int " + "*" * 9999 + "x; };", "too deep"),
        ("struct s { int x[" + "-" * 9999 + "1]; };", "too deep"),
        ("struct s {\n int a;\n long a;\n};", "line 3: duplicate member 'a'"),
        ("struct s { int a; union { int b; struct { int a; }; }; };", "duplicate member 'a'"),
        ("struct s { int a[-2]; };", "line 1: an array of -2 x 4 bytes"),
        ("struct s { int a[1L << 62]; };", "must have 0..2^63 bytes"),
        ("struct s { int a:33; };", "line 1: member 'a' is a bit-field of 33 bits; int takes 1..32"),
        ("struct s { int a:0; };", "is a bit-field of 0 bits"),
        ("struct s { float a:3; };", "must be an integer"),
        ("struct s { void a; };", "member 'a' is void, which has no size"),
        ("struct s { int f(int); };", "is a function, which has no size"),
        ("struct s { int a[]; int b; };", "behind a flexible array"),
        ("struct s { int a; tc_gen; };", "type 'tc_gen' is not known"),
        ("struct s { int a[N]; };", "'N' is not an integer constant here"),
        ("struct s { int a[1 / 0]; };", "division by zero"),
        ("struct s { int a[1 << 40]; };", "a shift by 40"),
        ("struct s { int a; };\nstruct s { int b; };", "line 2: struct s is defined twice, first in line 1"),
        ("struct s { RH_KABI_RESERVE(1) };", "line 1: macro RH_KABI_RESERVE(...) is not known"),
        ("struct s { int a __aligned(3); };", "aligned(3); it must be a power of two"),
        ("struct s { int a __attribute__((mode(DI))); };", "attribute mode is not supported"),
        ("struct s { int a; } @", "line 1: '@' is not part of C"),
        ("struct s { int a; ", "line 1: '{' is not closed"),
        ("struct s { int a; }", "is a ';' missing?"),
        ("/* struct s", "the comment /* is not closed"),
        ("#if 1\nstruct s { int a; };", "line 1: #if without #endif"),
        ("#endif", "line 1: #endif without #if"),
        ("#pragma pack(1)\nstruct s { int a; };", "#pragma pack is not supported"),
        (
            "".join(f"#define A{i} A{i + 1} A{i + 1}\n" for i in range(40)) + "struct s { A0 };",
            "expand to more than",
        ),
        ("int x;", "C text defines no struct or union"),
        ("x" * 600_000, "C text of 600000 characters; at most 524288 are read"),
    ],
)
def test_text_that_cannot_be_laid_out_is_refused_in_one_line(text, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        Struct.from_c(text)
    assert "\n" not in str(caught.value)


def test_cut_text_is_refused_or_laid_out():
    text = COMMON + MM_TYPES
    for end in range(0, len(text), 37):
        with contextlib.suppress(InputError):
            Struct.from_c(text[:end])


def test_names_choose_the_struct():
    text = "struct a { int x; }; union u { char c; }; typedef struct { long y; } b_t; struct c; int v;"
    assert Struct.from_c(text).name == "b_t"
    assert [Struct.from_c(text, name).size for name in ("a", "struct a", "union u", "u", "b_t")] == [
        4,
        4,
        1,
        1,
        8,
    ]
    for name in ("c", "union a", "struct b_t", "a b c", ""):
        with pytest.raises(InputError):
            Struct.from_c(text, name)


def test_holes_padding_and_cache_lines_by_hand():
    struct = Struct.from_c("struct s { u8 a; u32 b; u32 c:3; u32 d:4; u8 e[60]; u64 f; u16 g; };")
    assert struct.holes == [{"offset": 1, "size": 3}, {"offset": 69, "size": 3}]
    assert struct.bit_holes == [{"bit_offset": 71, "bit_size": 1}]
    assert (struct.size, struct.padding, struct.cache_lines) == (88, 6, [64])
    assert list(struct.to_dict()) == [
        "name",
        "kind",
        "size",
        "align",
        "members",
        "holes",
        "padding",
        "source",
        "warnings",
    ]
    assert list(struct.to_dict()["members"][0]) == [
        "name",
        "type",
        "offset",
        "size",
        "bit_offset",
        "bit_size",
        "depth",
    ]


@pytest.mark.skipif(not GCC or not shutil.which("pahole"), reason="no pahole to compare with")
def test_pahole_text_equals_pahole(tmp_path):
    text = """struct s { u8 a; u32 b; u32 c:3; u32 d:4; u32 e[15]; union { u64 f; struct { u8 g; u32 h; }; };
        struct { u16 i; u64 j; } k; struct list_head l; u8 m:4; u16 n; void *o; };"""
    (tmp_path / "s.c").write_text(f"{KERNEL}{text} struct s instance;")
    subprocess.run([GCC, "-g", "-c", "-o", tmp_path / "s.o", tmp_path / "s.c"], check=True)
    run = subprocess.run(["pahole", "-C", "s", tmp_path / "s.o"], capture_output=True, text=True, check=True)
    assert Struct.from_c(text).pahole() == run.stdout.strip()


def test_shipped_structs_are_well_formed():
    for build in BUILDS:
        for name in load_layouts(build)["structs"]:
            struct = Struct.from_kernel(name, build)
            assert struct.size % struct.align == 0
            for row, before in zip(struct.members[1:], struct.members, strict=False):
                assert row.depth <= before.depth + 1 and row.end_bit <= 8 * struct.size


def test_from_kernel_says_what_there_is():
    with pytest.raises(InputError, match="did you mean xa_node"):
        Struct.from_kernel("xa_nod", "amd64_6.12")
    with pytest.raises(InputError, match="ships without struct layouts; these have them: x86-64"):
        Struct.from_kernel("page", KernelConfig.preset("s390"))
