"""Page flags against page-types' own output, a walk page by page, and broken files."""

import io
import os
import struct
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.memory.capture import load_capture
from workbench.model.memory.pageflags import (
    FLAGS,
    TYPES,
    PageFlags,
    aligned_pieces,
    classify,
    page_flag_longname,
    page_flag_name,
    read_live,
)
from workbench.model.memory.pfns import PfnSet

CAPTURES = data_dir() / "captures"
NPZS = sorted(CAPTURES.rglob("*.npz"))
BIT = {name: 1 << bit for bit, (_, name) in FLAGS.items()}
HEAD, TAIL, ANON, LRU, BUDDY, PGTABLE = 1 << 15, 1 << 16, 1 << 12, 1 << 5, 1 << 10, 1 << 26


def flags_of(words, ram=None):
    """PageFlags from one flag word per pfn."""
    values, codes = np.unique(np.array(words, np.uint64), return_inverse=True)
    return PageFlags([[0, len(words)]] if ram is None else ram, values, codes, page_size=4096)


# page-types


@pytest.mark.parametrize("name, suffix, nr_rows, nr_raw", [
    ("microvm-24g-6.18", ".same-file", 89, 179),
    ("debian-6.12-states/before", "", 21, 41),
    ("debian-6.12-states/during", "", 31, 52),
])
def test_page_types_output_is_reproduced_byte_for_byte(name, suffix, nr_rows, nr_raw):
    capture = load_capture(name)
    flags = PageFlags.load(capture)
    for raw, nr in ((False, nr_rows), (True, nr_raw)):
        rows = flags.flag_rows(raw)
        assert flags.page_types_text(raw) == capture.text(f"page-types{'-raw' * raw}{suffix}")
        assert len(rows) == nr and sum(row["pages"] for row in rows) == flags.nr_pages


def page_types_one_by_one(words, raw):
    """tools/vm/page-types.c, v6.1, for one page after the other."""
    slots, nr_pages = {}, Counter()
    for flags in words:
        if raw:
            if flags & ANON and flags & 1 << 34:
                flags ^= 1 << 34 | 1 << 47
            if flags & 1 << 7:
                for old, new in ((35, 49), (6, 50), (1, 51)):
                    if flags & 1 << old:
                        flags ^= 1 << old | 1 << new
            if flags & (1 << 9 | 1 << 8) == 1 << 9:
                flags ^= 1 << 9 | 1 << 48
        else:
            flags &= ~(0xFFFF << 32)
            if not flags & 1 << 17:
                flags &= ~(HEAD | TAIL)
        slot = flags & 8191
        if flags:
            slot = slot or 1
            while slots.get(slot, flags) != flags:
                slot = slot + 1 if slot < 8191 else 1
        slots[slot] = flags
        nr_pages[flags] += 1
    return [(f"0x{slots[slot]:016x}", nr_pages[slots[slot]]) for slot in sorted(slots)]


some_flags = st.builds(lambda bits: sum(1 << bit for bit in bits),
                       st.sets(st.sampled_from(sorted(FLAGS)), max_size=6))


@given(st.lists(some_flags, min_size=1, max_size=60), st.booleans())
def test_flag_rows_match_the_tool_page_by_page(words, raw):
    rows = flags_of(words).flag_rows(raw)
    assert [(row["flags"], row["pages"]) for row in rows] == page_types_one_by_one(words, raw)


def test_hash_order_wraps_at_the_end_of_the_table():
    words = [8191 + (1 << 20), 8191, 8191 + (1 << 22), 1, 0, 1 << 32]
    for raw in (False, True):
        assert [(r["flags"], r["pages"]) for r in flags_of(words).flag_rows(raw)] == \
            page_types_one_by_one(words, raw)


def test_more_flag_words_than_the_tool_has_slots_are_all_listed():
    words = np.arange(9000, dtype=np.uint64) << np.uint64(13)
    rows = PageFlags([[0, 9000]], words, np.arange(9000)).flag_rows(raw=True)
    assert len({row["flags"] for row in rows}) == 9000


def test_names_of_flags():
    assert page_flag_name(0) == "_" * 45 and page_flag_longname(0) == ""
    assert page_flag_longname(1 << 5 | 1 << 42) == "lru,bit_42"


# Types and folios


def test_microvm_orders_are_those_of_the_golden_histogram():
    flags = PageFlags.load("microvm-24g-6.18")
    orders = flags.folio_orders()
    file_orders = {1 << order: nr for order, nr in orders["file"].items() if order}
    # capture.md counts 512:20 as file: one of them is the huge zero page
    assert file_orders == {2: 1992, 4: 3251, 8: 330, 16: 471, 32: 120, 64: 173, 128: 128, 256: 50, 512: 19}
    assert orders["zero"][9] == 1 and orders["anon"][9] == 764
    assert flags.nr_irregular == 0


@pytest.mark.parametrize("path", NPZS, ids=lambda path: str(path.relative_to(CAPTURES)))
def test_types_and_folios_of_every_capture_sum_to_its_pages(path):
    flags = PageFlags.load(load_capture(path.parent), path.name)
    types, orders = flags.types(), flags.folio_orders()
    assert sum(types.values()) == flags.nr_pages == flags.codes.size
    folios = {name: sum(nr << order for order, nr in by.items()) for name, by in orders.items()}
    assert folios == {name: nr for name, nr in types.items() if name != "nopage"}
    assert flags.nr_irregular == 0
    assert (found := flags.mapcounts()) is None or found[0].size == found[1].size
    for name, nr in types.items():
        assert flags.pages_of(name).nr_pages == nr


def test_states_agree_with_meminfo_as_far_as_two_moments_can():
    for name, anon in (("before", (380, 115)), ("during", (172718, 172482))):
        capture = load_capture(f"debian-6.12-states/{name}")
        rows = {row["name"]: (row["flags_pages"], row["meminfo_pages"])
                for row in PageFlags.load(capture).crosscheck(capture.text("meminfo"))}
        assert rows["AnonPages"] == anon
        for exact in ("AnonHugePages", "ShmemHugePages", "Hugetlb"):
            assert rows[exact][0] == rows[exact][1]
    flags = PageFlags.load("debian-6.12-states/during")
    assert flags.folio_orders()["hugetlb"] == {9: 64}
    assert flags.pages_of("hugetlb", mmap=True).nr_pages == 32 * 512  # 64 pages, 32 of them in use


def test_tails_without_a_type_belong_to_their_head():
    flags = PageFlags.load("s390x-1100m")  # 16 KiB page tables: four pages, one flag
    assert flags.folio_orders()["pgtable"] == {0: 35, 2: 7}


def test_first_matching_type_wins():
    nopage, slab, anon, ksm, huge = (BIT[n] for n in ("nopage", "slab", "anonymous", "ksm", "huge"))
    words = [nopage | BUDDY, BUDDY | 8, slab | anon | ksm, PGTABLE | 4, BIT["offline"], huge | anon,
             anon | ksm, BIT["zero_page"] | BIT["reserved"], BIT["swapbacked"] | LRU, LRU | 8, 8,
             BIT["owner_private"], BIT["reserved"] | BIT["mmap"], BIT["mmap"], HEAD, ksm, 0]
    assert [TYPES[i] for i in classify(words)] == [
        "nopage", "buddy", "slab", "pgtable", "offline", "hugetlb", "anon", "zero", "shmem", "file", "file",
        "memmap", "reserved", "mapped", "unknown/kernel", "unknown/kernel", "unknown/kernel"]


def folios_one_by_one(words, ram):
    """({(type, order): folios}, irregular pages) by walking from pfn to pfn."""
    at = dict(zip((p for first, end in ram for p in range(first, end)), words, strict=True))
    kind = {pfn: TYPES[classify([word])[0]] for pfn, word in at.items()}

    def is_tail(pfn):
        return pfn in at and at[pfn] & TAIL and not at[pfn] & HEAD

    stretches, pfn = [], 0
    while pfn <= max(at):
        end = pfn + 1
        while pfn in at and (at[pfn] & HEAD or is_tail(pfn)) and is_tail(end):
            end += 1
        if pfn in at and {kind[p] for p in range(pfn, end)} - {kind[pfn], "unknown/kernel"}:
            cuts = [p for p in range(pfn + 1, end) if kind[p] != kind[p - 1]]
            stretches += zip([pfn, *cuts], [*cuts, end], strict=True)
        elif pfn in at:
            stretches.append((pfn, end))
        pfn = end
    found, irregular = Counter(), 0
    for first, end in stretches:
        nr, name = end - first, kind[first]
        folio = at[first] & HEAD and nr > 1 and nr & nr - 1 == 0 and first % nr == 0
        irregular += nr if at[first] & (HEAD | TAIL) and not folio else 0
        while first < end:
            order = max(o for o in range(10) if first % (1 << o) == 0 and first + (1 << o) <= end)
            found[name, order] += 1
            first += 1 << order
    return {key: nr for key, nr in found.items() if key[0] != "nopage"}, irregular


page_words = st.sampled_from([0, LRU, LRU | HEAD, LRU | TAIL, LRU | TAIL | 8, ANON | HEAD, ANON | TAIL, HEAD,
                              TAIL, PGTABLE | HEAD, BUDDY, 1 << 20, HEAD | TAIL])


@given(st.lists(st.tuples(page_words, st.integers(1, 9)), min_size=1, max_size=30),
       st.lists(st.integers(0, 3), min_size=3, max_size=3), st.integers(0, 40))
def test_folios_match_a_walk_page_by_page(stretches, gaps, first):
    words = [word for word, nr in stretches for _ in range(nr)]
    cuts = sorted({0, len(words) // 3, len(words) // 2, len(words)})
    ram = []
    for low, high, gap in zip(cuts, cuts[1:], gaps, strict=False):
        ram.append((first + gap, first + gap + high - low))
        first = ram[-1][1]
    flags = flags_of(words, ram)
    orders = {(name, order): nr for name, by in flags.folio_orders().items() for order, nr in by.items()}
    assert (orders, flags.nr_irregular) == folios_one_by_one(words, ram)
    types = flags.types()
    assert sum(types.values()) == flags.nr_pages
    for name in types:
        assert flags.pages_of(name).nr_pages == types[name]
    folios = flags.folios()
    assert (np.diff(folios.first_pfn.astype(np.int64)) > 0).all()
    assert not (folios.first_pfn & ((np.uint64(1) << folios.order.astype(np.uint64)) - np.uint64(1))).any()


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)), min_size=1, max_size=5))
def test_aligned_pieces_cover_their_range_once(ranges):
    first, nr = (np.array(column) for column in zip(*ranges, strict=True))
    at, order, owner = aligned_pieces(first.astype(np.uint64), nr)
    for index, (low, length) in enumerate(ranges):
        pieces = sorted(zip(at[owner == index].tolist(), order[owner == index].tolist(), strict=True))
        assert all(pfn % (1 << o) == 0 for pfn, o in pieces)
        ends = [pfn + (1 << o) for pfn, o in pieces]
        assert [pfn for pfn, _ in pieces] == [low, *ends[:-1]] and ends[-1] == low + length


def test_within_keeps_flags_and_mapcounts_at_their_pfns():
    flags = PageFlags.load("debian-6.12-states/during")
    some = PfnSet.from_extents([10, 0x20000, 0xBFF00], [99, 0x3FFFF, 0xFFFFF])
    inside = flags.within(some)
    assert inside.ram.tolist() == [[10, 100], [0x20000, 0x40000], [0xBFF00, 0xC0000]]
    codes = flags.codes
    assert inside.codes.tolist() == [*codes[10:100], *codes[0x20000:0x40000], *codes[0xBFF00:]]
    pfn, count = flags.mapcounts()
    kept = some.contains(pfn)
    assert [a.tolist() for a in inside.mapcounts()] == [pfn[kept].tolist(), count[kept].tolist()]
    assert flags.within([[0, 1 << 40]]).types() == flags.types()
    with pytest.raises(InputError, match="no pfn of"):
        flags.within([[1 << 30, 1 << 31]])


@given(st.lists(some_flags, min_size=30, max_size=30), st.sets(st.integers(0, 45), min_size=2, max_size=8),
       st.sets(st.integers(0, 45), min_size=2, max_size=8))
def test_within_is_the_intersection(words, mine, theirs):
    mine, theirs = ([tuple(sorted(s)[i:i + 2]) for i in range(0, len(s) // 2 * 2, 2)] for s in (mine, theirs))
    pfns = [pfn for low, end in mine for pfn in range(low, end)]
    words = (words * 2)[:len(pfns)]
    flags = flags_of(words, mine)
    wanted = {pfn: word for pfn, word in zip(pfns, words, strict=True)
              if any(low <= pfn < end for low, end in theirs)}
    if wanted:
        inside = flags.within(theirs)
        found = [pfn for low, end in inside.ram.tolist() for pfn in range(low, end)]
        assert dict(zip(found, inside.values[inside.codes].tolist(), strict=True)) == wanted
    else:
        with pytest.raises(InputError):
            flags.within(theirs)


def test_pages_of_by_flags():
    flags = flags_of([LRU, LRU | 4, 0, LRU, LRU | 4], [[0, 4], [8, 9]])
    assert [(low, high) for low, high, _ in flags.pages_of(lru=True)] == [(0, 1), (3, 3), (8, 8)]
    assert [(low, high) for low, high, _ in flags.pages_of("file", referenced=False)] == [(0, 0), (3, 3)]
    assert not flags.pages_of("slab")
    for wrong in ({"type": "no such"}, {"nosuch": True}):
        with pytest.raises(InputError, match="is none of"):
            flags.pages_of(**wrong)


def test_page_types_text_needs_a_page_size():
    flags = PageFlags([[0, 1]], [0], [0])
    assert flags.flag_rows()[0]["pages"] == 1
    with pytest.raises(InputError, match="page size is not known"):
        flags.page_types_text()


# Live


@pytest.mark.skipif(not os.access("/proc/kpageflags", os.R_OK), reason="needs root")
def test_live_flags_classify_every_page():
    flags = read_live([[0, 1 << 18]])
    assert sum(flags.types().values()) == flags.nr_pages <= 1 << 18
    assert flags.page_size == os.sysconf("SC_PAGE_SIZE")


def test_live_reader_encodes_what_the_file_holds(tmp_path):
    words = np.random.default_rng(1).choice(np.array([0, 1 << 10, 1 << 63], np.uint64), 300_000)
    words.tofile(tmp_path / "kpageflags")
    whole = read_live(path=tmp_path / "kpageflags")
    assert (whole.values[whole.codes] == words).all() and whole.codes.dtype == np.uint8
    part = read_live([[5, 10], [1 << 17, 290_000], [299_999, 1 << 30]], path=tmp_path / "kpageflags")
    assert part.ram.tolist() == [[5, 10], [1 << 17, 290_000], [299_999, 300_000]]
    assert part.values[part.codes].tolist() == [*words[5:10], *words[1 << 17:290_000], *words[-1:]]
    many = np.arange(300, dtype=np.uint64)
    many.tofile(tmp_path / "many")
    assert read_live(path=tmp_path / "many").codes.dtype == np.uint16


def test_live_reader_says_what_to_do_when_it_may_not_read(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="CONFIG_PROC_PAGE_MONITOR"):
        read_live(path=tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="no pfn"):
        read_live(path=tmp_path / "empty")

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(InputError, match="run as root"):
        read_live()


# Broken files


def saved(path, **changed):
    """A small valid npz with members changed or, with None, left out."""
    members = {"ram": np.array([[0, 3], [8, 10]], np.uint64), "flag_values": np.array([0, 1024], np.uint64),
               "flag_counts": np.array([3, 2]), "flag_code": np.array([0, 0, 1, 1, 0], np.uint8),
               "mapcount_idx": np.array([1, 2], np.uint32), "mapcount": np.array([5, 6], np.uint16)}
    np.savez_compressed(path, **{k: v for k, v in {**members, **changed}.items() if v is not None})
    return path


def test_optional_members_may_be_missing(tmp_path):
    path = saved(tmp_path / "kpageflags.npz", flag_counts=None, mapcount=None, mapcount_idx=None)
    flags = PageFlags.load(path)
    assert flags.types() == {"buddy": 2, "unknown/kernel": 3} and flags.mapcounts() is None
    pfn, count = PageFlags.load(saved(tmp_path / "kpageflags.npz")).mapcounts()
    assert pfn.tolist() == [1, 8] and count.tolist() == [5, 6]


@pytest.mark.parametrize("member, value, rule", [
    ("ram", None, "missing"),
    ("flag_code", None, "missing"),
    ("ram", [[3, 0], [8, 10]], "reversed"),
    ("ram", [[8, 10], [0, 3]], "overlaps"),
    ("ram", [[0, 3], [2, 4]], "overlaps"),
    ("ram", [[-3, 0], [8, 10]], "below 0"),
    ("ram", [[0, 4], [8, 10]], "shape"),
    ("ram", [0, 3], "shape"),
    ("ram", np.array([[0, 2**64 - 1]], np.uint64), "2^52"),
    ("ram", np.array([[0, 2**51]], np.uint64), "memory"),
    ("ram", np.empty((0, 2), np.uint64), "rows"),
    ("ram", [["0", "3"]], "dtype"),
    ("ram", np.array([[0.0, 3.0], [8, 10]]), "dtype"),
    ("flag_code", np.array([0, 0, 2, 1, 0], np.uint8), "flag_values"),
    ("flag_code", np.array([0, 0, 1, 1, 0], np.uint32), "uint8 or uint16"),
    ("flag_code", np.array([0, 0, 1, 1, 0], np.int8), "dtype"),
    ("flag_code", np.array([0, 0, 1, 1], np.uint8), "shape"),
    ("flag_values", np.array([], np.uint64), "flag_values"),
    ("flag_values", np.array([0.0, 1.0]), "dtype"),
    ("flag_values", np.array([0, {}], object), "dtype"),
    ("flag_counts", np.array([2, 3]), "flag_code has"),
    ("flag_counts", np.array([5]), "shape"),
    ("mapcount", np.array([5], np.uint16), "shape"),
    ("mapcount", None, "missing"),
    ("mapcount_idx", np.array([4, 1], np.uint32), "ascend"),
    ("mapcount_idx", np.array([1, 0], np.uint32), "ascend"),
    ("mapcount_idx", np.array([2**32 - 1, 2**32 - 1], np.uint32), "steps"),
    ("mapcount_idx", np.array([-1, 1]), "steps"),
])
def test_a_broken_member_is_named(tmp_path, member, value, rule):
    path = saved(tmp_path / "kpageflags.npz", **{member: value if value is None else np.asarray(value)})
    with pytest.raises(InputError, match=rule.replace("^", r"\^")) as caught:
        PageFlags.load(path)
    assert "kpageflags.npz" in str(caught.value) and "\n" not in str(caught.value)
    assert member in str(caught.value) or rule in ("flag_values", "shape")


def with_member(path, name, content):
    with zipfile.ZipFile(saved(io.BytesIO())) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, content if info.filename == name else old.read(info))
    return path


def header(text):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize("content", [
    b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00" + bytes(100), b"PK" * 50,
    header("{"), header("0"), header("[" * 5000),
    header("{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }") + bytes(3),
    header("{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }") + bytes(9),
    header("{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }"),
    header("{'descr': '|u1', 'fortran_order': False, 'shape': (-5,), }"),
    header("{'descr': '|O', 'fortran_order': False, 'shape': (5,), }") + b"cos\nsystem\n(S'exit 1'\ntR.",
    header("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (5,), }") + bytes(5),
    header("{'descr': ('|u1', (1000000000,)), 'fortran_order': False, 'shape': (5,), }") + bytes(5),
])
def test_a_broken_npy_header_is_an_input_error(tmp_path, content):
    with pytest.raises(InputError, match="flag_code"):
        PageFlags.load(with_member(tmp_path / "x.npz", "flag_code.npy", content))


def test_big_endian_and_fortran_order_are_read(tmp_path):
    path = saved(tmp_path / "kpageflags.npz", ram=np.asfortranarray(np.array([[0, 3], [8, 10]], ">u8")),
                 flag_values=np.array([0, 1024], ">u8"), flag_code=np.array([0, 0, 1, 1, 0], ">u2"))
    assert PageFlags.load(path).types() == {"buddy": 2, "unknown/kernel": 3}


def same_or_refused(path: Path, content: bytes, expected):
    path.write_bytes(content)
    try:
        flags = PageFlags.load(path)
    except InputError as error:
        assert "\n" not in str(error)
        return "refused"
    assert (flags.types(), flags.flag_rows()) == expected
    return "same"


def test_a_file_cut_anywhere_or_with_a_flipped_bit_is_refused_or_means_the_same(tmp_path):
    whole = (CAPTURES / "arm64-64k-1100m" / "kpageflags.npz").read_bytes()
    flags = PageFlags.load("arm64-64k-1100m")
    expected = (flags.types(), flags.flag_rows())
    path = tmp_path / "kpageflags.npz"
    for cut in {*range(0, len(whole), len(whole) // 150), *range(len(whole) - 60, len(whole))}:
        assert same_or_refused(path, whole[:cut], expected) == "refused"
    rng = np.random.default_rng(1)
    for at in {*range(0, len(whole), 17), *range(len(whole) - 500, len(whole))}:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << int(rng.integers(8))
        same_or_refused(path, bytes(flipped), expected)
