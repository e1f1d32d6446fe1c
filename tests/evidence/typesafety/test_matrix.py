"""The matrix: correct call sites are clean everywhere, and a verdict is what a compiler and a run said."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.cli import main
from workbench.evidence.typesafety import _compilers as compilers
from workbench.evidence.typesafety import _variants as variants
from workbench.evidence.typesafety import matrix, mistakes
from workbench.evidence.typesafety._variants import HEADERS
from workbench.model.errors import InputError

needs_cc = pytest.mark.skipif(compilers.runner() is None, reason="no C compiler to run call sites with")
FOUND_BY = {matrix.COMPILE, matrix.RUNTIME, matrix.SILENT, matrix.NOT_APPLICABLE}


@pytest.fixture(scope="module")
def whole():
    """The whole matrix."""
    return matrix.rows()


@pytest.fixture(scope="module")
def cells(whole):
    """Its rows by mistake, pattern and design."""
    return {(row["mistake"], row["pattern"], row["design"]): row for row in whole}


@pytest.fixture
def header(tmp_path):
    """A header of one's own: a shipped one, edited."""

    def write(name, start="foll_pin", **edits):
        text = (HEADERS / f"{start}.h").read_text()
        for find, become in edits.values():
            assert find in text
            text = text.replace(find, become)
        path = tmp_path / f"{name}.h"
        path.write_text(text)
        return path

    return write


# -- controls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("compiler", "ms_extensions"), [
    ("libclang", True), ("libclang", False), ("gcc", True), ("clang", True), ("sparse", True),
])  # fmt: skip
def test_correct_call_sites_compile_without_warnings_and_run_clean(compiler, ms_extensions):
    if compiler not in compilers.versions():
        pytest.skip(f"no {compiler}")
    found = matrix.controls(compiler=compiler, ms_extensions=ms_extensions)
    assert len(found) == len(variants.ORDER) * len(mistakes.patterns())
    clean = {matrix.NOT_APPLICABLE} if compilers.runner() else {matrix.NOT_APPLICABLE, matrix.NOT_RUN}
    for row in found:
        assert row["verdict"] in clean and row["production"] in clean, row
        assert not row["warning"], row


@needs_cc
@pytest.mark.parametrize("name", variants.ORDER)
def test_a_correct_call_site_copes_with_a_short_pin(name):
    """Where the pool runs empty, it returns -ENOMEM (or the work is done) and leaves nothing behind."""
    variant = variants.shipped()[name]
    snippets = tuple(
        matrix._Snippet(mistakes.Mistake("", "", "", (), pool=2), pattern, pattern.source, pattern.name)
        for pattern in mistakes.patterns().values()
        if "give_up" in pattern.source
    )
    for snippet, runs in zip(snippets, matrix._ran(variant, snippets, compilers.runner(), True), strict=True):
        for verdict, text in runs:
            gave_up = text.startswith("returned: -12 instead of")
            assert verdict == matrix.NOT_APPLICABLE or gave_up, (snippet.name, text)


# -- mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mistake", mistakes.MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_changes_the_call_site_and_only_where_it_has_a_place(mistake):
    made = {name: mistake.apply(pattern.source) for name, pattern in mistakes.patterns().items()}
    places = [name for name, source in made.items() if source is not None]
    assert places
    for name in places:
        assert made[name] != mistakes.patterns()[name].source


def test_each_mistake_meets_the_patterns_that_have_its_place(whole):
    places = {}
    for row in whole:
        places.setdefault(row["mistake"], set()).add(row["pattern"])
    pinning = {name for name, pattern in mistakes.patterns().items() if re.search(r"\bpin\(", pattern.source)}
    assert len(pinning) == 14
    mixing = {"mixed_bio", "release_queue"}
    assert places["alloc_failure"] == pinning == places["double_unpin"] | mixing
    assert places["unpin_on_get"] == {"mmu_notifier", "page_only", "find_page"} | mixing
    assert places["pfn_of_pin"] == {
        "direct_io", "rdma_region", "mixed_bio", "scatterlist", "dma_map", "lookup_table"}  # fmt: skip
    assert places["mixed_list"] == mixing
    assert places["xarray_store"] == {"keep_in_xarray", "lookup_table"}
    assert places["pin_outlives"] == {"rdma_region", "dma_map"}
    longterm = {"rdma_region", "dma_map", "keep_in_xarray"}
    assert places["longterm_dax"] == places["longterm_missing"] == longterm


@needs_cc
def test_every_mistake_does_harm_somewhere_and_no_cell_is_left_open(whole):
    harmful = {row["mistake"] for row in whole if row["verdict"] != matrix.NOT_APPLICABLE}
    assert harmful == {mistake.name for mistake in mistakes.MISTAKES}
    assert {row["verdict"] for row in whole} == FOUND_BY


@needs_cc
@pytest.mark.parametrize(("place", "verdict", "production", "text"), [
    # 4 pages, each with one reference less than the 1024 of a pin: 4 * 1023
    (("put_on_pin", "direct_io", "foll_pin"), "silent", "silent", "4092 references leaked"),
    (("put_on_pin", "mark_folio", "foll_pin"), "runtime error", "silent", "nonzero pincount"),
    (("put_on_pin", "direct_io", "proxy_bit"), "runtime error", "silent", "VM_BUG_ON_PAGE"),
    (("put_on_pin", "direct_io", "dynamic_page"), "runtime error", "runtime error", "the page is dynamic"),
    (("put_on_pin", "direct_io", "memdesc_typed"), "runtime error", "silent", "nonzero pincount"),
    (("unpin_on_get", "page_only", "foll_pin"), "runtime error", "runtime error", "next gup"),
    (("double_unpin", "direct_io", "get_put"), "runtime error", "runtime error", "has it mapped"),
    (("double_unpin", "direct_io", "proxy_typed"), "runtime error", "silent", "KASAN: use-after-free"),
    (("no_dirty", "rdma_region", "proxy_struct"), "silent", "silent", "data lost"),
    (("mixed_list", "mixed_bio", "proxy_bit"), "not applicable", "not applicable", "no mistake"),
    (("pfn_of_pin", "dma_map", "proxy_bit"), "silent", "silent", "wrote to a pfn that nobody pinned"),
    (("pfn_of_pin", "scatterlist", "proxy_bit"), "runtime error", "runtime error", "BUG_ON: sg_assign_page"),
    (("pointer_compare", "count_pages", "dynamic_page"), "silent", "silent", "8 pages are charged"),
    (("xarray_store", "keep_in_xarray", "proxy_bit"), "silent", "silent", "0 entries with a pin counted"),
    (("folio_of_pin", "count_heads", "proxy_bit"), "silent", "silent", "4 folios counted, there are 1"),
    (("folio_of_pin", "mark_folio", "dynamic_page"), "silent", "silent", "data lost"),
    (("longterm_dax", "dma_map", "foll_pin"), "runtime error", "runtime error", "EOPNOTSUPP"),
    (("longterm_missing", "dma_map", "foll_pin"), "silent", "silent", "ZONE_MOVABLE"),
    (("alloc_failure", "direct_io", "proxy_typed"), "runtime error", "runtime error", "NULL pointer"),
    (("alloc_failure", "direct_io", "foll_pin"), "not applicable", "not applicable", "no mistake"),
    (("pin_outlives", "dma_map", "foll_pin"), "runtime error", "runtime error", "hung task"),
])  # fmt: skip
def test_what_runs_ends_as_worked_out_by_hand(cells, place, verdict, production, text):
    row = cells[place]
    assert (row["verdict"], row["production"]) == (verdict, production), row
    assert text in row["diagnostic"]


@pytest.mark.parametrize(("place", "text"), [
    (("put_on_pin", "direct_io", "proxy_typed"), "struct pin_ref"),
    (("put_on_pin", "direct_io", "proxy_bitwise"), "int-conversion"),
    (("put_on_pin", "direct_io", "proxy_struct"), "incompatible type"),
    (("put_on_pin", "direct_io", "dynamic_page_typed"), "struct dynamic_page"),
    (("pfn_of_pin", "direct_io", "memdesc_typed"), "struct folio"),
    (("mixed_list", "mixed_bio", "proxy_typed"), "assigning"),
    (("pointer_compare", "count_pages", "proxy_struct"), "invalid operands"),
    (("xarray_store", "keep_in_xarray", "proxy_bitwise"), "int-conversion"),
])  # fmt: skip
def test_the_compiler_refuses_with_its_own_words(place, text):
    if "libclang" not in compilers.versions():
        pytest.skip("no libclang")
    row = next(row for row in matrix.rows([place[2]], mistake=[place[0]], compiler="libclang")
               if row["pattern"] == place[1])  # fmt: skip
    assert row["verdict"] == row["production"] == matrix.COMPILE
    assert re.match(r"line \d+: ", row["diagnostic"]) and text in row["diagnostic"]


def test_a_diagnostic_names_the_line_of_the_source_that_the_row_shows(cells):
    row = cells["put_on_pin", "direct_io", "proxy_typed"]
    line = int(re.match(r"line (\d+)", row["diagnostic"])[1])
    assert row["source"].splitlines()[line - 1].strip() == "put(pins[i]);"
    assert "long direct_io__put_on_pin(void)" in row["source"]


def test_no_diagnostic_names_a_folder_of_this_machine(whole):
    assert not [row for row in whole if "/tmp" in row["diagnostic"] or str(HEADERS) in row["diagnostic"]]


# -- compilers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compilers_agree_about_every_call_site(whole, compiler):
    if compiler not in compilers.versions():
        pytest.skip(f"no {compiler}")
    other = matrix.rows(compiler=compiler)
    assert [row["verdict"] for row in other] == [row["verdict"] for row in whole]
    assert {row["compiler"].split(":")[0] for row in other} == {compiler}


def test_sparse_sees_besides_that_pins_and_pages_are_compared(whole):
    if "sparse" not in compilers.versions():
        pytest.skip("no sparse")
    pairs = zip(whole, matrix.rows(compiler="sparse"), strict=True)
    more = {(row["mistake"], row["pattern"], row["design"]): sparse["verdict"]
            for row, sparse in pairs if row["verdict"] != sparse["verdict"]}  # fmt: skip
    designs = ("proxy_typed", "proxy_bitwise", "dynamic_page_typed")
    assert more == {("pointer_compare", "find_page", design): matrix.COMPILE for design in designs}


def test_a_compiler_that_fails_without_a_diagnostic_is_not_taken_for_content(tmp_path, monkeypatch):
    (tmp_path / "gcc").write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    (tmp_path / "gcc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(InputError, match=r"^gcc fails: broken$"):
        compilers.diagnose("gcc", {"a.c": "int a;\n"}, "a.c", ms_extensions=False)


def test_ms_extensions_change_no_verdict(whole):
    assert [row["verdict"] for row in matrix.rows(ms_extensions=False)] == [row["verdict"] for row in whole]


@pytest.mark.parametrize("name", ["proxy_typed", "proxy_struct"])
def test_a_call_site_compiled_alone_is_told_the_same_as_in_the_unit_of_all(name):
    variant = variants.shipped()[name]
    snippets = matrix._snippets(mistakes.MISTAKES)
    together = matrix._compiled(variant, snippets, compilers.default(), True)
    for at in range(0, len(snippets), 5):
        alone = matrix._compiled(variant, (snippets[at],), compilers.default(), True)
        assert alone[0] == together[at]


def test_a_warning_is_an_error_only_with_config_werror():
    def verdicts(werror):
        found = matrix.rows(["proxy_typed"], mistake=["pointer_compare"], werror=werror)
        return {row["pattern"]: (row["verdict"], bool(row["warning"])) for row in found}

    plain, strict = verdicts(False), verdicts(True)
    assert plain["find_page"][0] != matrix.COMPILE and plain["find_page"][1]
    assert strict["find_page"] == (matrix.COMPILE, True)
    assert strict["count_pages"] == plain["count_pages"] and not plain["count_pages"][1]


def test_sparse_text_is_read_and_its_type_errors_count():
    text = (
        "call-sites.c:9:24: warning: incorrect type in argument 1 (different base types)\n"
        "call-sites.c:9:24:    expected struct page *page\n"
        "call-sites.c:12:1: warning: symbol 'f' was not declared. Should it be static?\n"
    )
    assert [(said.line, said.error) for said in compilers._parse(text, "sparse")] == [(9, True), (12, False)]


@pytest.mark.parametrize("script", ["echo no libc >&2; exit 1", "exit 0"])
def test_a_compiler_whose_programs_do_not_run_counts_as_none(tmp_path, monkeypatch, script):
    (tmp_path / "mycc").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "mycc").chmod(0o755)
    monkeypatch.setenv("CC", str(tmp_path / "mycc"))
    assert compilers.runner() is None


def test_an_absent_compiler_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"^compiler 'icc' is not here; here are: "):
        matrix.rows(["foll_pin"], compiler="icc")


# -- runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "expected"), [
    ("== 0\n-- 0\n== end\n", "not applicable"),
    ("== 0\nWRONG silent: a\nWRONG silent: a\nWRONG silent: b\n-- 1024\n== end\n", "silent"),
    ("== 0\nWRONG silent: a\nTRAP Oops: b\n-- 768\n== end\n", "runtime error"),
    ("== 0\n-- 11\n== end\n", "runtime error"),
    ("== 0\n-- 14\n== end\n", "runtime error"),
    ("== 0\n-- 256\n== end\n", "runtime error"),
    ("== 0\n", "runtime error"),
    ("", "runtime error"),
])  # fmt: skip
def test_what_a_run_prints_is_read(text, expected):
    assert [verdict for verdict, _ in matrix._read_run(text, 1)] == [expected]


def test_a_run_names_each_wrong_thing_once_and_the_signal_it_died_of():
    first = "== 0\nWRONG silent: a\nWRONG silent: a\nWRONG silent: b\n-- 1024\n"
    run = first + "== 1\n-- 11\n== 2\n-- 14\n== end\n"
    texts = [text for _, text in matrix._read_run(run, 3)]
    assert texts == ["a; b", "dies of SIGSEGV", "hangs: no end after 2 seconds"]


# -- summary ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verdicts", "expected", "mixed"), [
    (["compile error", "compile error"], "compile error", False),
    (["compile error", "silent", "runtime error"], "silent", True),
    (["compile error", "runtime error"], "runtime error", True),
    (["compile error", "not applicable"], "compile error", True),
    (["not applicable", "not applicable"], "not applicable", False),
    (["compile error", "not run here", "silent"], "not run here", True),
])  # fmt: skip
def test_summary_shows_the_weakest_verdict(verdicts, expected, mixed):
    given = [
        {"mistake": "m", "design": "d", "pattern": f"p{i}", "verdict": v, "production": v, "warning": "",
         "diagnostic": f"said {i}"} for i, v in enumerate(verdicts)
    ]  # fmt: skip
    (row,) = matrix.summary(given)
    assert (row["verdict"], row["mixed"]) == (expected, mixed)
    assert f"p{verdicts.index(expected)}: said {verdicts.index(expected)}" in row["diagnostic"]
    assert row["diagnostic"].startswith("mixed (") == mixed
    assert sum(row["verdicts"].values()) == len(verdicts)


# -- recorded runs ------------------------------------------------------------------------------------------


@needs_cc
def test_the_recorded_runs_are_those_of_the_shipped_text():
    known = dict(matrix._recorded())
    assert known["runs"] == matrix.record("today")["runs"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", known["date"])
    assert "libclang" in known["compiled"] and known["run"]


@needs_cc
def test_write_record_writes_what_is_shipped(tmp_path):
    matrix.write_record(tmp_path / "m.json", "2018-12-14")
    written = json.loads((tmp_path / "m.json").read_text())
    assert written["runs"] == matrix._recorded()["runs"] and written["date"] == "2018-12-14"


def test_without_a_compiler_the_recorded_verdicts_stand(monkeypatch, whole):
    monkeypatch.setenv("CC", "")
    found = matrix.rows()
    assert [row["verdict"] for row in found] == [row["verdict"] for row in whole]
    ran = [row for row in found if row["verdict"] != matrix.COMPILE]
    assert all(matrix._recorded()["date"] in row["run_by"] for row in ran)


def test_without_a_compiler_a_text_that_was_never_run_says_so(monkeypatch, header):
    monkeypatch.setenv("CC", "")
    path = header("mine", new=("/* title: ", "/* never run */ /* title: "))
    found = matrix.rows(header=path, mistake=["put_on_pin"])
    assert {row["verdict"] for row in found} == {matrix.NOT_RUN}
    with pytest.raises(InputError, match="nothing to record"):
        matrix.record("today")


# -- headers of one's own -----------------------------------------------------------------------------------


@needs_cc
def test_a_header_of_ones_own_gets_its_row(header):
    """As foll_pin, but put_page() refuses a page that looks pinned."""
    path = header(
        "checked_put",
        mapping=("#define put(page) put_page(page)", "#define put(page) checked_put(page)"),
        lists=("#define put_list(pages, nr) put_pages(pages, nr)",
               "static inline void checked_put(struct page *page)\n{\n\tif (page->_refcount >= 1024)\n"
               '\t\ttrap("WARN_ON_ONCE", "put of a pinned page");\n\tput_page(page);\n}\n'
               "static inline void checked_list(struct page **pages, long nr)\n{\n\tlong i;\n\n"
               "\tfor (i = 0; i < nr; i++)\n\t\tchecked_put(pages[i]);\n}\n"
               "#define put_list(pages, nr) checked_list(pages, nr)"),
        title=("/* title: pin_user_pages(), unpin_user_page() */", "/* title: checked put */"),
    )  # fmt: skip
    # find_page() rightly puts a plain reference on a page that is pinned too
    with pytest.raises(InputError, match=r"checked_put\.h: the correct call site find_page goes wrong: WARN"):
        matrix.rows(header=path, mistake=["put_on_pin"])
    path.write_text(path.read_text().replace(">= 1024", ">= 1024 && page->_refcount % 1024 == 1"))
    found = matrix.summary(matrix.rows(header=path, mistake=["put_on_pin"]))
    assert [row["design"] for row in found] == ["checked_put"]
    assert found[0]["verdicts"]["runtime error"] >= 6
    both = matrix.rows(["foll_pin"], header=path, mistake=["put_on_pin"])
    assert {row["design"] for row in both} == {"foll_pin", "checked_put"}


def test_the_mail_s_unnamed_struct_page_needs_ms_extensions(tmp_path):
    text = (HEADERS / "dynamic_page_typed.h").read_text().replace('#include "dynamic_pages.h"', "")
    support = (HEADERS / "dynamic_pages.h").read_text()
    support = support.replace("\tstruct page page;\n", "\tstruct page;\n")
    support = support.replace("dynamic->page.", "dynamic->")
    (tmp_path / "as_in_the_mail.h").write_text(support + text)
    found = matrix.rows(header=tmp_path / "as_in_the_mail.h", mistake=["put_on_pin"])
    assert {row["verdict"] for row in found} == {matrix.COMPILE}
    with pytest.raises(InputError, match=r"^as_in_the_mail\.h, line \d+: static assertion failed"):
        matrix.rows(header=tmp_path / "as_in_the_mail.h", mistake=["put_on_pin"], ms_extensions=False)


@pytest.mark.parametrize(("edits", "message"), [
    ({"a": ("typedef struct page *pin_t;", "typedef struct page *pin_t")}, r"^bad\.h, line \d+: .*;"),
    ({"a": ('#include "pages.h"', '#include "nowhere.h"')}, r"^bad\.h, line \d+: .*nowhere\.h"),
    ({"a": ("#define unpin(pin)", "#define unpinned(pin)")}, r"^bad\.h: call\.h, line \d+: .*unpin"),
    ({"a": ("(struct page *)(entry))", "(struct page *)(ent'y))")}, r"^bad\.h(, line \d|: the correct call)"),
    ({"a": ("#define unpin_list(pins", "#define unpin_some(pins")},
     r"^bad\.h: the correct call site \w+, line \d+: .*unpin_list"),
    ({"a": ("typedef struct page *got_t;", "typedef struct scatterlist *got_t;")},
     r"^bad\.h: the correct call site \w+, line "),
])  # fmt: skip
def test_a_bad_header_is_refused_with_its_line_and_the_compiler_s_words(header, edits, message):
    with pytest.raises(InputError, match=message) as caught:
        matrix.rows(header=header("bad", **edits), mistake=["put_on_pin"])
    assert "\n" not in str(caught.value)


@settings(max_examples=25)
@given(st.sampled_from(variants.ORDER), st.integers(0, 10**6), st.sampled_from("(){};,*\0\"#& "))
def test_a_header_with_a_wrong_character_is_taken_or_refused_in_one_line(tmp_path_factory, name, place, char):
    text = (HEADERS / f"{name}.h").read_text()
    place %= len(text)
    path = tmp_path_factory.mktemp("headers") / "mutated.h"
    path.write_text(text[:place] + char + text[place + 1 :])
    try:
        found = matrix.rows(header=path, mistake=["put_on_pin"])
    except InputError as error:
        assert str(error).startswith("mutated.h") and "\n" not in str(error)
    else:
        assert {row["design"] for row in found} == {"mutated"}


@needs_cc
def test_a_header_whose_correct_call_sites_leak_is_refused(header):
    path = header("leaky", a=("\tadd_pins(page, -1);", ""))
    with pytest.raises(InputError, match=r"^leaky\.h: the correct call site \w+ goes wrong: .*leaked"):
        matrix.rows(header=path)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("foll_pin.h", b"", "shipped header's name"),
    ("a-b.h", b"", "no C name"),
    ("bin.h", b"\xff\xfe", "byte 0 is not UTF-8"),
    ("big.h", b" " * (1 << 20) + b"x", "more than 1 MiB"),
])  # fmt: skip
def test_a_file_that_is_no_header_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        matrix.rows(header=tmp_path / name)


def test_a_folder_of_headers_gives_a_row_for_each(tmp_path, header):
    with pytest.raises(InputError, match=r"no \.h file in it"):
        matrix.rows(header=tmp_path)
    header("one")
    header("two", start="proxy_typed")
    (tmp_path / "helper.h").write_text("/* included by others */\n")
    found = matrix.rows(header=tmp_path, mistake=["put_on_pin"])
    assert {row["design"] for row in found} == {"one", "two"}


# -- names and the command ----------------------------------------------------------------------------------


def test_headers_go_by_their_own_names_and_by_the_designs():
    from workbench.model import designs

    known = set(designs.names())
    for variant in variants.shipped().values():
        assert set(variant.designs) <= known and variant.title and variant.about
    assert [variant.name for variant in variants.select(["dynamic_page:flag"])] == ["dynamic_page"]
    for name in variants.MAPPING:
        assert re.search(rf"\b{name}\b", variants.shipped()["foll_pin"].text)


def test_no_header_includes_a_system_header():
    for path in HEADERS.glob("*.h"):
        assert not re.search(r"#\s*include\s*<", path.read_text()), path.name


def test_command_prints_one_document_with_the_contract_s_keys(capsys):
    chosen = ["--design", "foll_pin", "proxy_typed", "--mistake", "put_on_pin"]
    assert main(["typesafety", "--json", *chosen]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [(row["mistake"], row["design"]) for row in found["rows"]] == [
        ("put_on_pin", "foll_pin"), ("put_on_pin", "proxy_typed")]  # fmt: skip
    assert {"mistake", "design", "verdict", "diagnostic"} <= found["rows"][0].keys()
    assert found["rows"][1]["verdict"] == "compile error"
    assert len(found["call_sites"]) == 22 and found["call_sites"][0]["source"]


def test_command_prints_a_table(capsys):
    assert main(["typesafety", "--design", "foll_pin,proxy_typed"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^mistake +foll_pin +proxy_typed$", out, re.MULTILINE)
    assert re.search(r"^put_on_pin +\S.* +compile error$", out, re.MULTILINE)


@pytest.mark.parametrize("arguments", [
    ["--design", "nope"], ["--mistake", "nope"], ["--compiler", "nope"], ["--header", "nope.h"],
])  # fmt: skip
def test_command_refuses_in_one_line(capsys, arguments):
    assert main(["typesafety", *arguments]) == 2
    printed = capsys.readouterr()
    assert not printed.out and printed.err.count("\n") == 1 and "nope" in printed.err


@needs_cc
def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch, header):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    matrix.rows(header=header("fresh"), mistake=["no_dirty"])
    assert not list((tmp_path / "t").iterdir())


def test_libclang_is_what_compiles_by_default():
    if not shutil.which("gcc") and "libclang" not in compilers.versions():
        pytest.skip("no compiler at all")
    assert compilers.default() == "libclang"
