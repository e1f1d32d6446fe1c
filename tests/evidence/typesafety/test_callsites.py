"""The census counts calls, and nothing else that looks like one."""

import errno
import json
import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.cli import main
from workbench.evidence.typesafety import callsites, conversion
from workbench.evidence.typesafety.callsites import FAMILIES, FAMILY_OF, Call, Census, census, count_calls
from workbench.evidence.typesafety.conversion import needed
from workbench.model import designs
from workbench.model.errors import InputError
from workbench.model.files import data_dir

SOURCES = Path("/usr/src")


def calls(source):
    return sum(count_calls(source.encode()).values())


@pytest.mark.parametrize(("source", "expected"), [
    ("void f(void) { put_page(page); }", 1),
    ("void f(void) { put_page\n\t(page); }", 1),
    ("void f(void) { put_page /* why */ (page); }", 1),
    ("void f(void) { put_page // why\n(page); }", 1),
    ("void f(void) { put_\\\npage(page); }", 1),
    ("void f(void) { put_\\  \r\npage(page); }", 1),
    ("void f(void) { p\\\nut_pa\\\nge(page); }", 1),
    ("void f(void) { foo(a,\n\tpage_to_pfn(virt_to_page(x)),\n\tb); }", 2),
    ("x = cond ? page_to_pfn(a) : page_to_pfn(b);", 2),
    ("int f(void) { return page_to_pfn(a); }", 1),
    ("int f(void) { if (x) put_page(a); else put_page(b); do put_page(c); while (0); }", 3),
    ("int f(void) { out: put_page(a); case 1: put_page(b); }", 2),
    ("int f(void) { (void)put_page(a); !get_page(b); &virt_to_page(x)->lru; }", 3),
    ("int f(void) { *virt_to_page(a) = x; y = **virt_to_page(b); }", 2),
    ("int f(void) { x = n * page_to_pfn(a); y = (u64)n * page_to_pfn(b); z = 2 * page_to_pfn(c); }", 3),
    ("int x[] = { n * page_to_pfn(a), [0 ... page_to_pfn(b)] = 1 };", 2),
    ("int f(void) { return sizeof * virt_to_page(p); }", 1),
    ("#ifdef A\nf(put_page(a));\n#else\ng(put_page(a));\n#endif\n", 2),
    ("#if 0\nvoid f(void) { put_page(a); }\n#endif\n", 1),
    ("void f(void) { if (a)\n#ifdef A\n\tput_page(a)\n#else\n\tput_page(b)\n#endif\n\t; }", 2),
    ("void f(void) {\n\telse\n#ifdef A\n\tput_page(a);\n#endif\n}", 1),
    # bodies of macros, once each
    ("#define drop(p) put_page(p)", 1),
    ("#define drop put_page(p)", 1),
    ("#define drop(p) do { \\\n\tput_page(p); \\\n\tput_page(p); \\\n} while (0)", 2),
    ("#define drop(p) /* a\n b */ put_page(p)", 1),
    ("  #  define drop(p) put_page(p)", 1),
    ("#define virt_to_page(x) pfn_to_page(virt_to_pfn(x))", 1),
    ("#define put_page(p) do { } while (0)", 0),
    ("#define put_page (p)", 0),
    ("#define f(p) put_page(p) else", 1),
    ("#define f(x) x##_put_page(p), put_page##x(p), x##put_page(p)", 0),
    # other directives
    ("#if defined(A) && page_to_pfn(x)\n#error put_page(page)\n#pragma put_page(page)\n#endif", 0),
    ("#error don't\nvoid f(void) { put_page(a); } // it's", 1),
    # no code
    ("/* put_page(page); */", 0),
    ("/* \" */ put_page(a); /* \" */", 1),
    ("// put_page(page); \\\nput_page(page);", 0),
    ("/* never closed put_page(page);", 0),
    ('s = "put_page(page)";', 0),
    ('s = "\\"put_page(page)"; put_page(a);', 1),
    ('s = "a\\\nb put_page(page)";', 0),
    ("c = '\"'; put_page(a); c = '\"';", 1),
    ("c = '\\''; put_page(a);", 1),
    ('s = "/*"; put_page(a); t = "*/";', 1),
    ("a = b /*c*/ / put_page(d);", 1),
    # no calls
    (".release = put_page, x = &get_page; (put_page)(page);", 0),
    ("ops->get_page(p); ops.put_page(p); ops -> put_page(p); a.b->c.get_page (p);", 0),
    ("while (n-->put_page(p)) ; a--->put_page(p); a---put_page(p); a....get_page(p);", 2),
    ("int x = a.b * page_to_pfn(p);", 1),
    ("foo_put_page(p); put_page_foo(p); _put_page(p); put_pages(p); $put_page(p);", 0),
    # prototypes
    ("void put_page(struct page *page);", 0),
    ("struct page *virt_to_page(const void *x);", 0),
    ("page_t *virt_to_page(const void *x);", 0),
    ("extern unsigned long\npage_to_pfn(const struct page *page);", 0),
    ("struct page * __must_check\n#ifdef A\nvirt_to_page(const void *x);\n#endif", 0),
    ("void f(void) { extern void put_page(struct page *); put_page(a); }", 1),
    ("static void __printf(1, 2) put_page(const char *s, ...);", 0),
    ("__printf(1, 2) page_t *get_page(const char *s, ...);", 0),
    ("DEFINE(a) struct page *virt_to_page(const void *x);", 0),
    ("void (*put_page)(struct page *page);", 0),
    ("typedef int get_page(struct page *page);", 0),
    # definitions
    ("void put_page(struct page *page)\n{\n\tget_page(page);\n}", 1),
    ("static inline struct page *virt_to_page(const void *x) { return pfn_to_page(1); }", 1),
    ("page_t *virt_to_page(x) { }", 0),
    ("put_page(page) struct page *page; { get_page(page); }", 1),
    ("int a;\nput_page(page) { get_page(page); }", 1),
    ("int f(void) { } get_page(x) int x; { }", 0),
])
def test_what_counts_as_a_call(source, expected):
    assert calls(source) == expected


# -- the same rule, one character and one token at a time


def slow_tokens(text):
    """(kind, token): kinds name, other, and eol at the end of a directive, begin at its #."""
    joined, i = "", 0
    while i < len(text):
        if text[i] == "\\":
            j = i + 1
            while text[j:j + 1] in (" ", "\t"):
                j += 1
            if text[j:j + 1] == "\n":
                i = j + 1
                continue
        joined += text[i]
        i += 1
    tokens, i, fresh, in_directive = [], 0, True, False
    while i < len(joined):
        c = joined[i]
        if c == "\n":
            if in_directive:
                tokens.append(("eol", ""))
            fresh, in_directive = True, False
            i += 1
        elif c in " \t":
            i += 1
        elif joined[i:i + 2] == "//":
            while i < len(joined) and joined[i] != "\n":
                i += 1
        elif joined[i:i + 2] == "/*":
            end = joined.find("*/", i + 2)
            i = len(joined) if end < 0 else end + 2
        elif c in "\"'":
            i += 1
            while i < len(joined) and joined[i] not in (c, "\n"):
                i += 2 if joined[i] == "\\" and joined[i + 1:i + 2] not in ("", "\n") else 1
            i += joined[i:i + 1] == c
            tokens.append(("other", "literal"))
            fresh = False
        elif c == "#" and fresh:
            tokens.append(("begin", "#"))
            fresh, in_directive, i = False, True, i + 1
        elif c.isalpha() or c == "_":
            j = i
            while j < len(joined) and (joined[j].isalnum() or joined[j] == "_"):
                j += 1
            tokens.append(("name", joined[i:j]))
            fresh, i = False, j
        else:
            width = next(n for n in (3, 2, 1) if n == 1 or joined[i:i + n] in ("->", "--", "..."))
            tokens.append(("other", joined[i:i + width]))
            fresh, i = False, i + width
    return tokens


def slow_count(text):
    main_text, bodies, current = [("other", ";")], [], None
    for token in slow_tokens(text):
        if token[0] == "begin":
            current = []
            main_text.append(("gone", ""))
        elif token[0] == "eol":
            bodies.append(current)
            current = None
        elif current is not None:
            current.append(token)
        else:
            main_text.append(token)
    bodies.append(current or [])
    bodies = [b[2:] for b in bodies if b[:1] == [("name", "define")] and b[1:2] and b[1][0] == "name"]
    return sum(slow_is_call(text, i) for text in [main_text, *bodies] for i in range(len(text)))


def slow_is_call(tokens, i):
    if tokens[i][1] not in ("put_page", "get_page") or tokens[i + 1:i + 2] != [("other", "(")]:
        return False
    j, words = i, []
    while j and (tokens[j - 1][0] in ("name", "gone") or tokens[j - 1] == ("other", "*")):
        j -= 1
        words.insert(0, tokens[j][1])
    words = [word for word in words if word]
    before = tokens[j - 1][1] if j else ""
    depth, after = 0, None
    for k in range(i + 1, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[k][1], 0)
        if tokens[k][1] in tuple(";{}"):
            break
        if depth == 0:
            after = (*tokens[k + 1:k + 2], ("", ""))[0]
            break
    defines = after is not None and (after[0] == "name" or after[1] == "{")
    names = [word for word in words if word != "*"]
    if "return" in names or "else" in names:
        return True
    if not words:
        return before not in (".", "->", "#") and not (before in (";", "{", "}") and defines)
    if not names:
        return True
    if words[-1] != "*" or len(names) > 1:
        return False
    return not (before in ("", ";", "{", "}") and (defines or (after is not None and after[1] == ";")))


CALLS = [" get_page(p)", "put_page (p);", "put_page(p) {", "put_page(p) a", "get_page(p)\n"]
FRAGMENTS = [
    "put_page", "put_page(", "(", ")", ";", "{", "}",
    "*", " ", "\n", "\\\n", "\\ \n", "/*", "*/", "//", '"', "'", "\\", "a",
    "x = ", "return ", "else ", "struct page ", "->", "-", ">", ".", "...", ",", "\n#define X ", "\n#if 0\n",
    "\n#else\n", "\n#", "##", "/* it's */", '"s"', "'\\''", "p", "ut_page(",
]


@given(st.lists(st.sampled_from(FRAGMENTS) | st.sampled_from(CALLS), max_size=30))
def test_the_reader_agrees_with_a_tokenizer_that_goes_one_character_at_a_time(fragments):
    text = "".join(fragments)
    assert calls(text) == slow_count(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_read(source):
    assert all(n > 0 for n in count_calls(source).values())


@pytest.mark.parametrize("piece", [
    b"put_page(", b'"\\"', b"'\\'", b"/*", b"* ", b"a ", b"\\ ", b"n * get_page(;", b"__printf() ",
    b"#define ", b"__printf(get_page(", b"\n#", b"(put_page ",
])
def test_a_megabyte_of_anything_takes_no_long_time(piece):
    began = time.process_time()
    count_calls(b"put_page(p);" + piece * ((1 << 20) // len(piece)) + b"\nput_page(p)")
    assert time.process_time() - began < 20  # a quadratic reader would need hours


# -- trees


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    top = tmp_path / "linux"
    write(top, "Makefile", "# x\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 7\nEXTRAVERSION = -rc1\n")
    write(top, "mm/gup.c", "int f(void) { unpin_user_page(p); put_page(p); }")
    write(top, "mm/a.c", "int f(void) { put_page(p); put_page(q); }")
    write(top, "drivers/gpu/drm/a.c", "int f() { pin_user_pages(a); unpin_user_pages(a); page_to_pfn(a);}")
    write(top, "drivers/gpu/b.h", "#define x(p) put_page(p)")
    write(top, "drivers/gpu/b.S", "put_page(p)")
    write(top, "drivers/one.c", "int f(void) { page_to_pfn(a); }")
    write(top, "arch/x86/mm/a.c", "int f(void) { get_user_pages_fast(a); }")
    write(top, "tools/a.c", "int f(void) { put_page(a); }")
    write(top, "fs/none.c", "int f(void) { }")
    write(top, ".pc/old.c", "int f(void) { put_page(a); }")
    return top


def write(top, path, text):
    file = top / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(file, (1e9, 1e9))


def as_tuples(rows):
    return {(row.api, row.directory): (row.count, row.files) for row in rows}


ALL_ROWS = {
    ("get_user_pages_fast", "arch/x86"): (1, 1), ("pin_user_pages", "drivers/gpu"): (1, 1),
    ("unpin_user_page", "mm"): (1, 1), ("unpin_user_pages", "drivers/gpu"): (1, 1),
    ("put_page", "drivers/gpu"): (1, 1), ("put_page", "mm"): (3, 2), ("put_page", "tools"): (1, 1),
    ("page_to_pfn", "drivers"): (1, 1), ("page_to_pfn", "drivers/gpu"): (1, 1),
}


def test_a_tree_is_counted_by_api_and_directory(tree):
    found = census(tree)
    assert as_tuples(found.rows) == ALL_ROWS
    assert (found.release, found.nr_files, found.skipped) == ("6.1.7-rc1", 8, {})
    gup = as_tuples(found.rows_by("gup"))
    assert gup == {**{k: v for k, v in ALL_ROWS.items() if k[1] not in ("tools", "mm")},
                   ("put_page", "mm"): (2, 1)}
    assert found.families["put_page"] == {"count": 3, "files": 2, "directories": {"drivers/gpu": 1, "mm": 2}}
    assert found.nr_files_get_or_pin == 2
    assert found.to_frame()["count"].sum() == sum(count for count, _ in ALL_ROWS.values())
    with pytest.raises(InputError, match="rule 'x'"):
        found.rows_by("x")


def test_the_cache_gives_the_same_and_notices_changes(tree, monkeypatch):
    monkeypatch.setattr(callsites, "_RACY_NS", -(1 << 60))
    first = census(tree)
    again = census(tree)
    assert (first.nr_cached, again.nr_cached) == (0, 8)
    assert again.calls == first.calls
    write(tree, "mm/a.c", "int f(void) { put_page(p); get_page(q); }")  # same size, same mtime
    changed = census(tree)
    assert changed.nr_cached == 7
    assert as_tuples(changed.rows)["get_page", "mm"] == (1, 1)
    assert census(tree, cache=False).nr_cached == 0


def test_a_file_written_just_now_is_not_cached(tree):
    census(tree)
    assert census(tree).nr_cached == 0


@pytest.mark.parametrize("damage", [
    b"", b"{", b"[]", b"\xff", b'{"files": 1}', b"[" * 100_000,
    b'{"files": {"mm/a.c": [1, 2, 3, 4, {"put_page": -1}]}}',
    b'{"files": {"mm/a.c": [1, 2, 3, 4, {"evil": 1}]}}',
])
def test_a_damaged_cache_is_as_good_as_none(tree, damage, monkeypatch):
    monkeypatch.setattr(callsites, "_RACY_NS", -(1 << 60))
    census(tree)
    [file] = Path(os.environ["XDG_CACHE_HOME"]).rglob("*.json")
    file.write_bytes(damage)
    assert as_tuples(census(tree).rows) == ALL_ROWS
    assert census(tree).nr_cached == 8


def test_a_cache_that_cannot_be_written_is_no_error(tree, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tree / "Makefile"))
    assert as_tuples(census(tree).rows) == ALL_ROWS


def test_progress_ends_with_all_files(tree):
    seen = []
    census(tree, lambda done, of: seen.append((done, of)))
    assert (seen[0], seen[-1]) == ((0, 8), (8, 8))


def test_what_is_no_readable_text_is_skipped_and_told(tree, monkeypatch):
    monkeypatch.setattr(callsites, "MAX_FILE_BYTES", 1 << 20)
    os.mkfifo(tree / "mm/fifo.c")
    with socket.socket(socket.AF_UNIX) as sock:
        monkeypatch.chdir(tree / "mm")
        sock.bind("sock.c")
    (tree / "mm/loop").symlink_to(tree)
    (tree / "mm/link.c").symlink_to("a.c")
    (tree / "mm/dangling.c").symlink_to("nowhere.c")
    write(tree, "mm/big.c", b"put_page(p);" * 100_000)
    write(tree, "mm/latin.c", b"/* \xe9 */ int f(void) { get_page(p); } \0\xff")
    Path(os.fsdecode(os.fsencode(tree / "mm") + b"/\xff.c")).write_bytes(b"int f(void) { get_page(p); }")
    real = callsites._read

    def read(path):
        if path.name == "one.c":
            raise callsites._Skip(callsites._reason(OSError(errno.EACCES, "Permission denied")))
        if path.name == "none.c":
            path.unlink()
        return real(path)

    monkeypatch.setattr(callsites, "_read", read)
    found = census(tree)
    assert as_tuples(found.rows)["get_page", "mm"] == (2, 2)
    assert {reason: len(paths) for reason, paths in found.skipped.items()} == {
        "not a regular file": 2, "symbolic link": 2, "above 1 MiB": 1, "vanished": 1,
        "unreadable (Permission denied)": 1,
    }
    assert len(found.notes()) == 5
    json.dumps(found.to_dict())


@pytest.mark.parametrize(("path", "text", "message"), [
    ("Makefile", None, "it has no Makefile"),
    ("Makefile", "all:\n\ttrue\n", "VERSION and PATCHLEVEL"),
    ("Makefile", "VERSION = six\nPATCHLEVEL = 1\n", "VERSION and PATCHLEVEL"),
    ("Makefile", b"\xff\0", "VERSION and PATCHLEVEL"),
])
def test_what_is_no_kernel_tree_is_refused_in_one_line(tree, path, text, message, capsys):
    (tree / path).unlink()
    if text is not None:
        write(tree, path, text)
    assert main(["callsites", str(tree)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err and str(tree) in err


def test_other_bad_trees(tree, tmp_path):
    for bad in (tmp_path / "none", tree / "Makefile"):
        with pytest.raises(InputError, match="not a directory"):
            census(bad)
    write(tmp_path, "other/Makefile", "VERSION = 1\nPATCHLEVEL = 2\n")
    with pytest.raises(InputError, match=r"must have mm/ or a Kbuild file"):
        census(tmp_path / "other")
    (tree / "Makefile").unlink()
    os.mkfifo(tree / "Makefile")
    with pytest.raises(InputError, match="not a regular file"):
        census(tree)


def test_the_command(tree, capsys):
    assert main(["callsites", str(tree), "--json", "--design", "dynamic_page_typed,static"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {(r["api"], r["directory"]): (r["count"], r["files"]) for r in found["rows"]} == ALL_ROWS
    assert [c["design"] for c in found["needed"]] == ["dynamic_page_typed", "static"]
    assert main(["callsites", str(tree), "--rule", "gup", "--design", "netmem"]) == 0
    assert "page_to_pfn" in capsys.readouterr().out
    assert main(["callsites", str(tree), "--design", "nothing"]) == 2
    assert "design 'nothing'" in capsys.readouterr().err


# -- conversion


def test_bounds_of_a_typed_design_by_hand(tree):
    found = needed(census(tree), "dynamic_page_typed")
    gpu = next(row for row in found.rows if row.directory == "drivers/gpu")
    assert (gpu.must_calls, gpu.near_calls, gpu.most_calls) == (2, 3, 4)
    assert (gpu.must_files, gpu.near_files, gpu.most_files) == (1, 1, 2)
    assert (found.total.must_calls, found.total.near_calls, found.total.most_calls) == (2, 3, 7)
    assert needed(census(tree), "static").total.most_calls == 0
    assert needed(census(tree), "netmem").rows == ()


@given(
    st.dictionaries(
        st.tuples(
            st.sampled_from(sorted(FAMILY_OF)), st.sampled_from(["net/a.c", "mm/a.c", "drivers/gpu/a.c"])
        ),
        st.integers(1, 9),
    ),
    st.sampled_from(sorted(conversion.CONVERSIONS)),
)
def test_bounds_are_ordered_and_rows_sum_to_the_total(counts, design):
    tree = Census(tree="t", release="1", calls=tuple(Call(api, path, n) for (api, path), n in counts.items()))
    found = needed(tree, design)
    for row in (found.total, *found.rows):
        assert 0 <= row.must_calls <= row.near_calls <= row.most_calls
        assert 0 <= row.must_files <= row.near_files <= row.most_files <= row.most_calls
    for name in conversion.Needed.__slots__[1:]:
        assert sum(getattr(row, name) for row in found.rows) == getattr(found.total, name)


def test_every_design_has_a_rule_of_known_families():
    for name in designs.names(variants=True):
        assert conversion.rule_of(name).why
    for rule in conversion.CONVERSIONS.values():
        assert set(rule.must + rule.may) <= set(FAMILIES)


def test_recorded_counts():
    history = conversion.history()
    assert set(history["release"]) == {"5.10", "6.1", "6.12", "7.3"}
    assert set(history["quantity"]) <= {*FAMILIES, "files_with_get_or_pin"}
    whole = history[history["directory"] == ""].set_index(["release", "quantity"])["count"]
    parts = history[history["directory"] != ""].groupby(["release", "quantity"])["count"].sum()
    assert parts["7.3", "get_user_pages"] == whole["7.3", "get_user_pages"]
    assert (parts <= whole.loc[parts.index]).all()
    assert conversion.series()["patches"].max() == 33
    assert (data_dir() / "callsites" / "series.csv").is_file()


@pytest.mark.skipif("WORKBENCH_FAST" in os.environ, reason="reads a whole kernel tree")
@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_an_unpacked_kernel_has_the_recorded_counts(release):
    tree = SOURCES / f"linux-source-{release}"
    if not (tree / "mm").is_dir():
        pytest.skip(f"{tree} is not there")
    found, history = census(tree), conversion.history()
    for row in history[history["release"] == release].itertuples():
        family = found.families.get(row.quantity)
        if family is None:
            assert found.nr_files_get_or_pin == row.count
        else:
            at = family["directories"]
            assert (at.get(row.directory, 0) if row.directory else family["count"]) == row.count
