"""The BTF reader: blobs made by hand, cut and broken ones, containers, and the running kernel's."""

import bz2
import contextlib
import gzip
import lzma
import random
import shutil
import struct as packing
import subprocess
from pathlib import Path

import pytest
import zstandard

from workbench.model.errors import InputError
from workbench.model.kernel import _btf as btf
from workbench.model.kernel._btf import Btf
from workbench.model.kernel._layout import Member
from workbench.model.kernel.config import load_layouts, presets
from workbench.model.kernel.structs import Struct

LIVE = Path("/sys/kernel/btf/vmlinux")
PAHOLE = shutil.which("pahole")


class Blob:
    """Builds a BTF blob, type by type; ids count from 1."""

    def __init__(self, order="<"):
        self.order, self.strings, self.types = order, b"\0", []

    def name(self, text):
        if not text:
            return 0
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(self, kind, name="", third=0, tail=(), vlen=0, flag=0):
        words = (self.name(name), flag << 31 | kind << 24 | vlen, third, *tail)
        self.types.append(packing.pack(f"{self.order}{len(words)}I", *(w & 0xFFFFFFFF for w in words)))
        return len(self.types)

    def int(self, name, size, bits=None, offset=0):
        return self.add(btf.INT, name, size, [offset << 16 | (8 * size if bits is None else bits)])

    def aggregate(self, kind, name, size, members, flag=0):
        tail = [word for label, type_id, bit in members for word in (self.name(label), type_id, bit)]
        return self.add(kind, name, size, tail, len(members), flag)

    def array(self, element, nr):
        return self.add(btf.ARRAY, "", 0, [element, 1, nr])

    def bytes(self):
        types = b"".join(self.types)
        header = packing.pack(
            f"{self.order}HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self.strings)
        )
        return header + types + self.strings


def every_kind(order="<"):
    """A blob with all kinds, and the rows of its struct s, worked out by hand."""
    b = Blob(order)
    int_, long_ = b.int("int", 4), b.int("long unsigned int", 8)
    b.add(btf.FLOAT, "double", 8)
    enum = b.add(btf.ENUM, "zone", 4, [b.name("LOW"), 0, b.name("HIGH"), -2], 2, 1)
    big = b.add(btf.ENUM64, "huge", 8, [b.name("FAR"), 1, 256], 1)
    forward = b.add(btf.FWD, "address_space")
    qualified = b.add(btf.CONST, third=b.add(btf.VOLATILE, third=forward))
    pointer = b.add(btf.PTR, third=b.add(btf.TYPE_TAG, "rcu", qualified))
    proto = b.add(btf.FUNC_PROTO, third=int_, tail=[b.name("x"), int_], vlen=1)
    callback = b.add(btf.PTR, third=proto)
    b.add(btf.FUNC, "f", proto, vlen=2)  # vlen is its linkage
    b.add(btf.VAR, "v", int_, [1])
    b.add(btf.DATASEC, ".data", 4, [12, 0, 4], 1)
    b.add(btf.DECL_TAG, "tag", int_, [0xFFFFFFFF])
    typedef = b.add(btf.TYPEDEF, "count_t", b.add(btf.RESTRICT, third=long_))
    inner = b.aggregate(btf.STRUCT, "", 8, [("low", int_, 0), ("high", int_, 32)])
    union = b.aggregate(btf.UNION, "", 8, [("", inner, 0), ("word", long_, 0)])
    b.aggregate(
        btf.STRUCT,
        "s",
        104,
        [
            ("a", int_, 3 << 24),
            ("b", enum, 7 << 24 | 3),
            ("c", big, 40 << 24 | 64),
            ("", union, 128),
            ("ops", callback, 192),
            ("named", inner, 256),
            ("map", pointer, 320),
            ("grid", b.array(b.array(typedef, 2), 3), 384),
            ("tail", b.array(int_, 0), 832),
        ],
        flag=1,
    )
    rows = (
        Member("a", "int", 0, 4, 0, 3),
        Member("b", "enum zone", 0, 4, 3, 7),
        Member("c", "enum huge", 8, 8, 64, 40),
        Member("<anon union>", "union (anon)", 16, 8),
        Member("<anon struct>", "struct (anon)", 16, 8, depth=1),
        Member("low", "int", 16, 4, depth=2),
        Member("high", "int", 20, 4, depth=2),
        Member("word", "long unsigned int", 16, 8, depth=1),
        Member("ops", "fnptr", 24, 8),
        Member("named", "struct (anon)", 32, 8),
        Member("named.low", "int", 32, 4, depth=1),
        Member("named.high", "int", 36, 4, depth=1),
        Member("map", "struct address_space *", 40, 8),
        Member("grid", "count_t[3][2]", 48, 48),
        Member("tail", "int[0]", 104, 0),
    )
    return b.bytes(), rows


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_kind_in_either_byte_order(order):
    blob, rows = every_kind(order)
    found = Struct.from_btf("s", blob)
    assert found.members == rows
    assert (found.name, found.kind, found.size, found.align) == ("s", "struct", 104, 8)
    assert Btf(blob).enum("zone") == {"LOW": 0, "HIGH": -2}
    assert Btf(blob).enum("huge") == {"FAR": 256 << 32 | 1}


def test_bit_fields_without_kind_flag_have_their_width_in_the_int():
    b = Blob()
    b.aggregate(
        btf.STRUCT,
        "s",
        4,
        [
            ("low", b.int("unsigned int", 4, bits=5), 0),
            ("high", b.int("unsigned int", 4, bits=2, offset=3), 5),
        ],
    )
    assert Struct.from_btf("s", b.bytes()).members == (
        Member("low", "unsigned int", 0, 4, 0, 5),
        Member("high", "unsigned int", 1, 4, 8, 2),
    )


def test_names_find_tags_typedefs_and_unions_and_the_first_of_two():
    b = Blob()
    int_ = b.int("int", 4)
    b.add(btf.TYPEDEF, "pair_t", b.aggregate(btf.UNION, "", 4, [("x", int_, 0)]))
    b.aggregate(btf.UNION, "u", 4, [("x", int_, 0)])
    b.aggregate(btf.STRUCT, "twice", 4, [("x", int_, 0)])
    b.aggregate(btf.STRUCT, "twice", 8, [("x", int_, 0)])
    blob = b.bytes()
    assert [Struct.from_btf(name, blob).kind for name in ("pair_t", "union u", "twice")] == [
        "union",
        "union",
        "struct",
    ]
    assert Struct.from_btf("twice", blob).size == 4
    with pytest.raises(InputError, match="no struct twic in this BTF; did you mean twice"):
        Struct.from_btf("twic", blob)
    with pytest.raises(InputError, match="no struct u in"):
        Struct.from_btf("struct u", blob)


def test_pointers_are_as_wide_as_long():
    b = Blob()
    b.int("long int", 4)
    b.aggregate(btf.STRUCT, "s", 8, [("p", b.add(btf.PTR), 0), ("q", b.add(btf.PTR), 32)])
    assert [row.offset for row in Struct.from_btf("s", b.bytes()).members] == [0, 4]


def test_a_blob_cut_anywhere_is_refused():
    blob, _ = every_kind()
    for end in range(len(blob)):
        with pytest.raises(InputError) as caught:
            Struct.from_btf("s", blob[:end])
        assert "\n" not in str(caught.value)


def test_broken_blobs_are_refused_or_read():
    blob, _ = every_kind()
    rng = random.Random(7)
    for _ in range(4000):
        broken = bytearray(blob)
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(len(broken))
            broken[at] = rng.choice(
                [0, 1, 0x7F, 0xFF, rng.randrange(256), broken[at] ^ 1 << rng.randrange(8)]
            )
        with contextlib.suppress(InputError):
            found = Struct.from_btf("s", bytes(broken))
            assert all(row.start_bit >= 0 and row.end_bit <= 8 * found.size for row in found.members)
            found.pahole()


def struct_holding(make):
    b = Blob()
    int_ = b.int("int", 4)
    make(b, int_)
    return b.bytes()


def nested(depth):
    def make(b, int_):
        for _ in range(depth):
            int_ = b.aggregate(btf.STRUCT, "", 4, [("", int_, 0)])
        b.aggregate(btf.STRUCT, "s", 4, [("", int_, 0)])

    return make


def doubling(b, int_):
    for _ in range(40):
        int_ = b.aggregate(btf.UNION, "", 4, [("x", int_, 0), ("y", int_, 0)])
    b.aggregate(btf.STRUCT, "s", 4, [("", int_, 0)])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda b, i: b.aggregate(btf.STRUCT, "s", 4, [("x", 2, 0)]), "contains itself; a type cycle"),
        (
            lambda b, i: (
                b.add(btf.TYPEDEF, "t", 3),
                b.add(btf.CONST, "", 2),
                b.aggregate(btf.STRUCT, "s", 4, [("x", 2, 0)]),
            ),
            "typedefs and qualifiers in a row",
        ),
        (
            lambda b, i: (b.array(2, 2), b.aggregate(btf.STRUCT, "s", 4, [("x", 2, 0)])),
            "arrays nested deeper",
        ),
        (lambda b, i: (b.add(btf.PTR, "", 2), b.aggregate(btf.STRUCT, "s", 8, [("x", 2, 0)])), "in a row"),
        (nested(1000), "structs nested deeper than 64"),
        (doubling, "more than 65536 members"),
        (lambda b, i: b.aggregate(btf.STRUCT, "s", 4, [("x", 99, 0)]), r"type \[99\]: there is no such type"),
        (lambda b, i: b.aggregate(btf.STRUCT, "s", 4, [("x", i, 8)]), "ends behind the 4 bytes"),
        (lambda b, i: b.aggregate(btf.STRUCT, "s", 4, [("x", i, 40 << 24)], 1), "ends behind"),
        (lambda b, i: b.aggregate(btf.STRUCT, "s", 8, [("x", i, 3)]), "must lie on a byte"),
        (
            lambda b, i: (b.array(i, 0xFFFFFFFF), b.aggregate(btf.STRUCT, "s", 4, [("x", 2, 0)])),
            "ends behind",
        ),
        (lambda b, i: b.aggregate(btf.STRUCT, "s", 4, [("x", 0, 0)]), "cannot be a member's"),
        (lambda b, i: b.add(25, "s"), r"type \[2\]: type kind 25"),
        (lambda b, i: b.add(btf.STRUCT, "s", 4, vlen=7), "runs past the end of the type section"),
    ],
)
def test_types_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        Struct.from_btf("s", struct_holding(make))


def elf(section):
    """A minimal ELF file with one section .BTF."""
    names = b"\0.shstrtab\0.BTF\0"
    body = section + names
    table = bytes(64)
    table += packing.pack("<IIQQQQIIQQ", 1, 3, 0, 0, 64 + len(section), len(names), 0, 0, 1, 0)
    table += packing.pack("<IIQQQQIIQQ", 11, 1, 0, 0, 64, len(section), 0, 0, 1, 0)
    head = (
        b"\x7fELF\2\1\1"
        + bytes(9)
        + packing.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, 3, 1)
    )
    return head + body + table


def lz4(data):
    """The legacy format: one block of literals, then a match that repeats the last byte 19 times."""
    block, rest = bytearray([0xFF]), len(data) - 15
    while rest >= 255:
        block.append(255)
        rest -= 255
    block += bytes([rest]) + data + b"\1\0\0" + bytes([0x50]) + b"12345"
    return b"\x02\x21\x4c\x18" + len(block).to_bytes(4, "little") + bytes(block)


PACKERS = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "lz4": lz4,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "lzma": lambda data: lzma.compress(
        data, format=lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 24}]
    ),
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("inside", ["elf", "flat image", "blob"])
def test_compressed_kernels_are_unpacked(tmp_path, packer, inside):
    blob, rows = every_kind()
    image = {"elf": elf(blob), "flat image": bytes(5000) + blob + bytes(100), "blob": blob}[inside]
    setup = bytes(512) + b"HdrS\x1f\x8b\x08 BZh \x28\xb5\x2f\xfd not packed data"
    path = tmp_path / "vmlinuz"
    path.write_bytes(setup + PACKERS[packer](image) + len(image).to_bytes(4, "little"))
    assert Struct.from_btf("s", path).members == rows
    for cut in (0, 3, 100, len(setup) + 30, path.stat().st_size - 60):
        with pytest.raises(InputError, match="vmlinuz"):
            path.write_bytes(path.read_bytes()[:cut])
            Struct.from_btf("s", path)


@pytest.mark.parametrize("packer", ["gzip", "xz", "bzip2", "zstd"])
def test_what_unpacks_to_too_much_is_refused(monkeypatch, packer):
    monkeypatch.setattr(btf, "MAX_IMAGE_BYTES", 1 << 20)
    with pytest.raises(InputError, match=r"unpacks to more than 1048576 bytes|limit"):
        Struct.from_btf("s", PACKERS[packer](bytes(3 << 20)))


def test_elf_files_and_what_is_none(tmp_path):
    blob, rows = every_kind()
    whole = elf(blob)
    assert Struct.from_btf("s", whole).members == rows
    for end in range(4, len(whole), 7):
        with pytest.raises(InputError):
            Struct.from_btf("s", whole[:end])
    with pytest.raises(InputError, match=r"no \.BTF section"):
        Struct.from_btf("s", whole.replace(b".BTF", b".xyz"))
    for content in (b"", b"\0", b"text", bytes(1000)):
        with pytest.raises(InputError, match="neither BTF"):
            Struct.from_btf("s", content)
    with pytest.raises(InputError, match="cannot be read"):
        Struct.from_btf("s", tmp_path / "missing")
    with pytest.raises(InputError, match="cannot be read"):
        Struct.from_btf("s", tmp_path)


@pytest.mark.skipif(not (shutil.which("gcc") and PAHOLE), reason="needs gcc and pahole to make BTF")
def test_btf_that_pahole_made_equals_the_layout_of_the_text(tmp_path):
    text = """enum e { A, B = 9 }; typedef struct { int counter; } atomic_t;
        struct tagged { char c; long l; };
        struct s { char a; unsigned b:3; unsigned c:9; enum e d:4; _Bool f:1; short g; struct tagged h;
            union { long i; struct { char j; int k[3]; }; }; struct { atomic_t n; void *o; } p;
            int (*q)(struct s *, int); const char *volatile r[4]; long long t; struct s *u[2]; char v[]; };
        struct packed { char a; int b; unsigned c:5; long d; } __attribute__((packed));"""
    (tmp_path / "s.c").write_text(text + "struct s s; struct packed p;")
    subprocess.run(["gcc", "-g", "-c", "-o", tmp_path / "s.o", tmp_path / "s.c"], check=True)
    subprocess.run([PAHOLE, "--btf_encode_detached", tmp_path / "s.btf", tmp_path / "s.o"], check=True)
    for name in ("s", "packed", "tagged"):
        ours, theirs = Struct.from_c(text, name), Struct.from_btf(name, tmp_path / "s.btf")
        assert (ours.size, ours.align, ours.members) == (theirs.size, theirs.align, theirs.members)


@pytest.mark.skipif(not LIVE.exists(), reason="this kernel shows no BTF")
def test_the_running_kernels_structs_are_well_formed():
    types = Btf.load(LIVE)
    release = Path("/proc/sys/kernel/osrelease").read_text().strip()
    same = [
        name for name, kernel in presets().items() if kernel.layouts == name and kernel.release == release
    ]
    for name in ("page", "folio", "xa_node", "mem_section", "zone", "task_struct"):
        struct = types.struct(name)
        assert all(row.end_bit <= 8 * struct.size for row in struct.members)
        if same and name in load_layouts(same[0])["structs"]:
            assert struct.members == Struct.from_kernel(name, same[0]).members
    assert types.enum("zone_type")["ZONE_NORMAL"] > 0


@pytest.mark.skipif(not (LIVE.exists() and PAHOLE), reason="needs BTF of the running kernel, and pahole")
@pytest.mark.parametrize("name", ["page", "mem_section", "xarray", "xa_node"])
def test_the_running_kernels_structs_read_as_pahole_prints_them(name):
    run = subprocess.run([PAHOLE, "-C", name, LIVE], capture_output=True, text=True, check=True)
    assert Struct.from_btf(name, LIVE).pahole() == run.stdout.strip()
