"""Mutators: a broken input from good ones, the same for the same random generator.

Each takes a ``random.Random`` and the reader's seeds and returns bytes. Text and binary formats have one
each; the containers (zip, npz, compressed kernels, Parquet) also break what is inside and pack it again with
right checksums, so that the layers behind the checksum are reached.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

Mutate = Callable[[random.Random, Sequence[bytes]], bytes]

MAX_BYTES = 1 << 20  # of an input
#: Written as a number's new value.
EXTREMES = [
    b"0",
    b"-1",
    b"1",
    b"7",
    b"63",
    b"64",
    b"255",
    b"256",
    b"65536",
    b"4294967295",
    b"4294967296",
    b"2147483647",
    b"2147483648",
    b"4503599627370496",
    b"9007199254740993",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"1" + b"0" * 400,
    b"9" * 5000,
    b"1e400",
    b"-1e400",
    b"1e-400",
    b"nan",
    b"inf",
    b"0.5",
    b"-0",
    b"0x0",
    b"0xffffffffffffffff",
    b"ffffffffffffffff",
    b"0x1ffffffffffffffff",
    b"1_000",
    b"007",
    b"true",
    b"null",
    b"1.2.3",
    b"\xd9\xa3",
]
WORDS = [
    0,
    1,
    2,
    3,
    7,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x10000,
    1 << 20,
    1 << 28,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
]
#: Spliced into any text.
ODD = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b" ",
    b"\x1b[31m",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    "\u202e".encode(),
    "\u2028".encode(),
    "\U0001f4a9".encode(),
    b"\xed\xa0\x80",
    b"\x85",
    b"\x0c",
    b"=",
    b":",
    b",",
    b"-",
    b"..",
    b"/",
    b"\\",
    b'"',
    b"'",
    b"#",
    b"%s",
    b"{0}",
    b"${HOME}",
    b"../../etc/passwd",
    b"<script>alert(1)</script>",
    b"__import__('os').system('touch CANARY')",
    b"`touch CANARY`",
    b"$(touch CANARY)",
]
NUMBER = re.compile(rb"0x[0-9a-fA-F]+|[0-9a-f]*[0-9][0-9a-f]*")


def text(tokens: Sequence[bytes] = ()) -> Mutate:
    """A mutator of lines of text; ``tokens`` are the format's own words."""

    def mutate(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
        data = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
            data = rng.choice(_TEXT)(rng, data, seeds, tokens)[:MAX_BYTES]
        return data

    return mutate


def _numbers(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    found = list(NUMBER.finditer(data))
    if not found:
        return data + rng.choice(EXTREMES)
    at = rng.choice(found)
    new = (
        rng.choice(EXTREMES)
        if rng.random() < 0.8
        else b"%d" % max(0, int(at[0][:18], 16) + rng.choice((-1, 1)))
    )
    return data[: at.start()] + new + data[at.end() :]


def _bytes(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    out = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(out))
        out[at] = out[at] ^ 1 << rng.randrange(8) if rng.random() < 0.5 else rng.randrange(256)
    return bytes(out)


def _cut(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    at, to = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:at] if rng.random() < 0.3 else data[:at] + data[min(to, at + rng.choice((1, 4, 64, 4096))) :]


def _double(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    at, to = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    piece = data[at : min(to, at + 256)]
    times = rng.choice((1, 1, 2, 16, 10_000))
    return data[:at] + piece * min(times, MAX_BYTES // (len(piece) + 1)) + data[at:]


def _token(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    new = rng.choice(tokens if tokens and rng.random() < 0.6 else ODD)
    at = rng.randrange(len(data) + 1)
    if rng.random() < 0.5 and (words := list(re.finditer(rb"[\w.-]+", data))):
        word = rng.choice(words)
        return data[: word.start()] + new + data[word.end() :]
    return data[:at] + new + data[at:]


def _lines(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    lines = data.splitlines(keepends=True) or [b"\n"]
    at, other = rng.randrange(len(lines)), rng.choice(rng.choice(seeds).splitlines(keepends=True) or [b"\n"])
    how = rng.randrange(7)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(at, lines[at])
    elif how == 2:
        to = rng.randrange(len(lines))
        lines[at], lines[to] = lines[to], lines[at]
    elif how == 3:
        lines.insert(at, other)
    elif how == 4:
        lines[at] = other
    elif how == 5:
        lines.insert(
            at, rng.choice((b"x", b" ", b"9", b"[", b"(", b"\0")) * rng.choice((999, 70_000)) + b"\n"
        )
    else:
        return data.replace(b"\n", b"\r\n")
    return b"".join(lines)


def _nest(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    opening, closing = rng.choice(
        [
            (b"[", b"]"),
            (b"(", b")"),
            (b"{", b"}"),
            (b'{"a":', b"}"),
            (b"struct{", b"};"),
            (b"((", b"))"),
            (b"-", b""),
            (b"*", b""),
            (b"a.", b""),
        ]
    )
    depth, at = rng.choice((30, 100, 3_000, 60_000)), rng.randrange(len(data) + 1)
    return data[:at] + opening * depth + b"1" + closing * depth + data[at:]


_TEXT = [_numbers, _numbers, _numbers, _bytes, _cut, _double, _token, _token, _lines, _lines, _nest]


def binary(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Flipped bits, 32-bit words set to extremes in either byte order, pieces cut, doubled or moved."""
    data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 2, 4))):
        how = rng.randrange(6)
        if how < 3 and len(data) >= 4:
            at = rng.randrange(len(data) - 3) // rng.choice((1, 4)) * rng.choice((1, 1, 4)) % (len(data) - 3)
            word = rng.choice(WORDS) if rng.random() < 0.7 else rng.randrange(64)
            data = data[:at] + struct.pack(rng.choice("<>") + "I", word) + data[at + 4 :]
        elif how == 3:
            data = _cut(rng, data, seeds, ())
        elif how == 4:
            data = _double(rng, data, seeds, ())[:MAX_BYTES]
        else:
            data = _bytes(rng, data, seeds, ())
    return data


def json_tree(tokens: Sequence[bytes] = ()) -> Mutate:
    """JSON: half the time its tree, else its text."""
    plain = text(tokens)

    def mutate(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
        if rng.random() < 0.3:
            return plain(rng, seeds)
        try:
            tree = json.loads(rng.choice(seeds))
        except ValueError:  # it was broken before
            return plain(rng, seeds)
        for _ in range(rng.choice((1, 1, 2, 3))):
            tree = _in_tree(rng, tree, tokens)
        return json.dumps(tree).encode()

    return mutate


def _in_tree(rng: random.Random, tree: Any, tokens: Sequence[bytes]) -> Any:
    root: Any = [tree]
    holder, at = root, 0
    while isinstance(holder[at], (dict, list)) and holder[at] and rng.random() < 0.9:
        holder = holder[at]
        at = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    old = holder[at]
    how = rng.randrange(6)
    if how == 0 and isinstance(holder, dict):
        del holder[at]
    elif how == 1 and holder is not root and isinstance(holder, list):
        holder.insert(at, old)
    elif how == 2 and isinstance(holder, dict):
        holder[rng.choice([*(t.decode("utf-8", "replace") for t in tokens), "", "x", "__class__"])] = old
    else:
        holder[at] = _value(rng, old, tokens)
    return root[0]


def _value(rng: random.Random, old: Any, tokens: Sequence[bytes]) -> Any:
    numbers = [
        0,
        -1,
        1,
        5,
        63,
        64,
        2**31,
        2**32 - 1,
        2**52,
        2**53 + 1,
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64,
        10**400,
        -(2**63) - 1,
        0.5,
        -0.0,
        1e308,
        1e-320,
        float("nan"),
        float("inf"),
        float("-inf"),
    ]
    if isinstance(old, int | float) and not isinstance(old, bool) and rng.random() < 0.6:
        return rng.choice(numbers)
    texts = [t.decode("utf-8", "replace") for t in (*tokens, *ODD)]
    return rng.choice(
        [
            *numbers[:14],
            True,
            False,
            None,
            "",
            "1",
            "x" * 10_000,
            [],
            {},
            [[]],
            [old],
            {"x": old},
            [0] * 1000,
            rng.choice(texts),
            rng.choice(texts),
        ]
    )


# -- bundles: several texts in one input -------------------------------------------------------------------

_HEAD = re.compile(rb"^==> ([\w.-]+) <==\n", re.MULTILINE)


def bundle(parts: dict[str, bytes]) -> bytes:
    """Texts by name as one, each below a line ``==> NAME <==``."""
    return b"".join(b"==> %s <==\n%s\n" % (name.encode(), part) for name, part in sorted(parts.items()))


def unbundle(data: bytes) -> dict[str, bytes]:
    """The texts again; what comes before the first head line is dropped."""
    _, *found = _HEAD.split(data)
    return {name.decode(): part[:-1] for name, part in zip(found[::2], found[1::2], strict=True)}


# -- zips --------------------------------------------------------------------------------------------------

_NAMES = [
    "../evil",
    "/etc/passwd",
    "a/../../b",
    "..\\x",
    "C:\\x",
    "",
    ".",
    "ram.npy",
    "meta.npy",
    "iomem.txt",
    "proc/iomem.txt",
    "proc/vmstat.end.txt",
    "sys/nodes.txt",
    "manifest.json",
    "pages.npz",
    "x" * 60_000,
    "a\0b",
    "\u202egpj.exe",
    "proc/",
]


def unzip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(
    members: Sequence[tuple[str, bytes]], links: Sequence[str] = (), method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """A zip of these members, doubled names and all; those in ``links`` say that they are symbolic links."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.external_attr = (0o120777 if name in links else 0o100644) << 16
            archive.writestr(info, content)
    return out.getvalue()


def zipped(member: Callable[[random.Random, str, bytes], bytes]) -> Mutate:
    """Zips: flipped bytes, or broken members in a whole zip (``member`` breaks one), or odd members."""

    def mutate(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
        if rng.random() < 0.3:
            return binary(rng, seeds)
        try:
            members = list(unzip(rng.choice(seeds)).items())
        except zipfile.BadZipFile:  # a member that was broken before
            return binary(rng, seeds)
        links: list[str] = []
        method = zipfile.ZIP_DEFLATED
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(len(members)) if members else 0
            how = rng.randrange(10) if members else 8
            name, content = members[at] if members else ("", b"")
            if how < 5:
                members[at] = name, member(rng, name, content)
            elif how == 5:
                del members[at]
            elif how == 6:
                members[at] = rng.choice(_NAMES), content
            elif how == 7:
                members.append((name, content if rng.random() < 0.5 else member(rng, name, content)))
            elif how == 8:
                many = rng.choice((1, 1, 3, 300))
                members += [
                    (rng.choice(_NAMES) + "x" * nr, bytes(rng.choice((0, 9, 1 << 20)) if nr < 3 else 1))
                    for nr in range(many)
                ]
            else:
                links.append(name)
                method = rng.choice(
                    (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED)
                )
        data = pack(members, links, method)
        return binary(rng, [data]) if rng.random() < 0.1 else data

    return mutate


def npy(rng: random.Random, name: str, content: bytes) -> bytes:
    """A .npy member: its header's words, its numbers, or its bytes."""
    if rng.random() < 0.4:
        return binary(rng, [content])
    at = content.find(b"}") + 1
    head, body = content[10:at], content[at:]
    if rng.random() < 0.5:
        tokens = [
            b"'<f8'",
            b"'<u8'",
            b"'|O'",
            b"'|V8'",
            b"'>u8'",
            b"'<U9'",
            b"'|b1'",
            b"'<i8'",
            b"'<M8[s]'",
            b"True",
            b"False",
            b"(2,)",
            b"(99999999999,)",
            b"(-1,)",
            b"(0,)",
            b"()",
            b"(1,2,3)",
            b"(4294967296,4294967296)",
            b"[('a','<u8')]",
            b"'<u2'",
            b"'|u1'",
        ]
        found = list(re.finditer(rb"'[<>|]\w+'|\([\d, ]*\)|True|False", head))
        if found:
            spot = rng.choice(found)
            head = head[: spot.start()] + rng.choice(tokens) + head[spot.end() :]
        if rng.random() < 0.2:
            head = text(tokens)(rng, [head])[:60_000]
    else:
        words = bytearray(body)
        for _ in range(rng.choice((1, 1, 3))):
            size = rng.choice((1, 2, 8))
            if len(words) > size:
                to = rng.randrange(1, len(words) - size + 1) // size * size
                value = rng.choice([*WORDS, 1 << 52, 1 << 63, (1 << 64) - 1, rng.randrange(1 << 16)])
                words[to : to + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        body = bytes(words)
        if rng.random() < 0.2:
            body = body * 2 if rng.random() < 0.5 else body[: len(body) // 2]
    return content[:8] + struct.pack("<H", len(head) & 0xFFFF) + head + body


# -- compressed --------------------------------------------------------------------------------------------


def packed_as(rng: random.Random, data: bytes, kinds: Sequence[str]) -> bytes:
    """The data packed as one of ``kinds``, sometimes with other bytes around it."""
    import zstandard

    kind = rng.choice(kinds)
    if kind == "gzip":
        data = gzip.compress(data, 1, mtime=0)
    elif kind == "zstd":
        data = zstandard.ZstdCompressor().compress(data)
    elif kind == "xz":
        data = lzma.compress(data, preset=0)
    elif kind == "lzma":
        data = lzma.compress(data, lzma.FORMAT_ALONE, preset=0)
    elif kind == "bzip2":
        data = bz2.compress(data)
    if kind != "plain" and rng.random() < 0.3:
        data = binary(rng, [data])
    return data


def inside(mutate: Mutate, kinds: Sequence[str], padding: bytes = b"") -> Mutate:
    """Break what is inside, then pack it."""

    def both(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
        data = packed_as(rng, mutate(rng, seeds), kinds)
        return padding + data if padding and rng.random() < 0.5 else data

    return both


# -- Parquet -----------------------------------------------------------------------------------------------


def parquet(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Parquet: flipped bytes, or a table with other values, types, names or metadata, written whole."""
    if rng.random() < 0.5:
        return binary(rng, seeds)
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(rng.choice(seeds)))
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(table.num_columns)
        name, column = table.column_names[at], table.column(at)
        how = rng.randrange(8)
        values = column.to_pylist()
        try:
            if how < 3 and values:
                new = rng.choice(
                    [
                        0,
                        -1,
                        1,
                        127,
                        255,
                        2**31 - 1,
                        2**31,
                        2**32 - 1,
                        2**52,
                        2**62,
                        2**63 - 1,
                        -(2**63),
                        None,
                        "",
                        "x" * 1000,
                        "\0",
                        "swapper/0",
                    ]
                )
                values[rng.randrange(len(values))] = new
                new_column = pa.array(values, column.type if rng.random() < 0.7 else None)
                table = table.set_column(at, name, new_column)
            elif how == 3:
                table = table.set_column(
                    at,
                    name,
                    column.cast(
                        rng.choice(
                            [pa.int64(), pa.uint64(), pa.float64(), pa.string(), pa.int8(), pa.binary()]
                        )
                    ),
                )
            elif how == 4:
                table = (
                    table.drop_columns([name]) if rng.random() < 0.5 else table.append_column(name, column)
                )
            elif how == 5:
                table = table.rename_columns([rng.choice([n, n, n, n, "x", ""]) for n in table.column_names])
            elif how == 6:
                order = list(range(table.num_rows))
                rng.shuffle(order)
                table = table.take(order)
            else:
                meta = dict(table.schema.metadata or {})
                raw = meta.get(b"pin_trace", b"{}")
                meta[b"pin_trace"] = json_tree([b"why", b"kernel", b"format"])(rng, [raw])
                table = table.replace_schema_metadata(meta)
        except (pa.ArrowException, KeyError, OverflowError, TypeError, ValueError):
            continue
    out = io.BytesIO()
    options: dict[str, Any] = {
        "compression": rng.choice(["none", "snappy", "zstd", "gzip"]),
        "use_dictionary": rng.random() < 0.5,
    }
    try:
        pq.write_table(table, out, row_group_size=rng.choice((1, 3, 1 << 20)), **options)
    except (pa.ArrowException, ValueError):
        return binary(rng, seeds)
    return out.getvalue()
