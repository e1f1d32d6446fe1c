"""Published figures: each has its verdict, follows from its inputs, and a bad file is refused in one line."""

import csv
import inspect
import io
import json

import pytest

from workbench.cli import main
from workbench.model.designs import compound_devmap, foll_pin, memdesc
from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.memmap import hvo_freed_pages
from workbench.model.memory.pfns import PfnSet
from workbench.model.pfnmaps.two_level import TwoLevel
from workbench.studies import claims

#: Every claim that differs, and why.
DIFFERS = {
    "PC22": "a devmap keeps one vmemmap page more than HVO: 6/7, not a half",
    "PC24": "128 only where one compound page is one section; with 2 MiB compounds 64 times as many",
    "PC31": "_refcount is signed, so 21 bits are left and not 22",
    "PC50": "last_cpupid and the LRU generation are in page->flags too",
    "PC59": "the address space reserved for vmemmap is 8 times what 52 bits need",
}
MEASURED = {"PC19", "PC35", "PC36", "PC37", "PC38", "PC39", "PC40", "PC41", "PC42", "PC46", "PC47", "PC56"}
ALL = claims.load()
COMPUTED = [claim for claim in ALL if claim.quantity]
GIVEN = {"id": "X1", "statement": "s", "inputs": '{"tag_bits":4}', "value": "16", "unit": "bytes",
         "source": "a mail", "quantity": "descriptor_align_bytes", "tolerance": "exact"}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """A claims file of these rows."""

    def write(*rows):
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path = tmp_path / "claims.csv"
        path.write_text(out.getvalue())
        return path

    return write


def value_of(claim, **changed):
    return claims.QUANTITIES[claim.quantity](**{**claim.inputs, **changed})


def test_every_row_has_the_verdict_that_is_written_down():
    rows = claims.recompute()
    assert len(rows) == len(ALL) > 40
    assert {row.id for row in rows if row.verdict == "differs"} == set(DIFFERS)
    assert {row.id for row in rows if row.verdict == "measured elsewhere"} == MEASURED
    assert {row.verdict for row in rows} == {"agrees", "differs", "measured elsewhere"}
    assert all(row.as_expected for row in rows)


def test_what_agrees_lies_within_the_tolerance_that_was_published_with_it():
    with (data_dir() / "claims.csv").open(newline="") as file:
        hints = {row["id"]: row["tolerance_hint"] for row in csv.DictReader(file)}
    for row in claims.recompute():
        kind, _, rest = hints[row.id].partition(" ")
        if row.verdict == "agrees" and kind in ("abs", "rel"):
            size = float(rest.split()[0].rstrip("%"))
            most = size if kind == "abs" else size / 100 * abs(row.stated)
            assert abs(row.stated - row.computed) <= most, row.id
        elif row.verdict == "agrees" and kind == "exact":
            assert row.stated == row.computed, row.id
        if hints[row.id].startswith("EXPECTED MISMATCH"):
            assert row.verdict == "differs"


def test_why_is_one_sentence_with_both_figures():
    for row in claims.recompute():
        assert row.why.endswith(".") and "\n" not in row.why
        if row.computed is not None:
            assert "recomputed" in row.why and "stated" in row.why
        if row.verdict != "agrees":
            assert ": " in row.why, f"{row.id} gives no reason"


@pytest.mark.parametrize("claim", COMPUTED, ids=lambda claim: claim.id)
def test_the_figure_follows_from_every_input(claim):
    for name, value in claim.inputs.items():
        if name == "bytes":  # the same memory on both sides of a ratio
            continue
        tried = [value * 2, value // 2 if isinstance(value, int) else value / 2, value + 3, value * 8]
        if name in ("align_bytes", "hugepage_bytes", "page_size"):
            tried = [value * 2, value * 4]
        found = set()
        for other in tried:
            try:
                found.add(value_of(claim, **{name: other}))
            except ValueError:
                continue
        assert found - {value_of(claim)}, f"{claim.quantity} ignores {name}"


def test_figures_by_hand():
    computed = {row.id: row.computed for row in claims.recompute()}
    assert computed["PC01"] == 100 * 64 / 4096
    assert computed["PC22"] == pytest.approx(6 / 7)
    assert computed["PC24"] == 64 * 2 * 64  # 64 compounds, two vmemmap pages each, 64 struct pages a page
    assert computed["PC31"] == computed["PC30"] == 2**21 - 1
    assert computed["PC35"] == 2**32 * 8 / 10**9
    assert computed["PC36"] == pytest.approx(87600 / 12800)
    assert computed["PC50"] == 64 - 28 - 13 - (8 + 6) - 3 - 2  # last_cpupid: a pid's 8 bits, 64 CPUs
    assert computed["PC52"] == 512 - 24
    assert computed["PC59"] * 2**50 == 2**52 // 4096 * 64


def test_the_second_look_is_in_why():
    why = {row.id: row.why for row in claims.recompute(["PC22", "PC24", "PC31"])}
    assert "and 0.999756 with hugepage_bytes 1,073,741,824" in why["PC22"]  # 4094 of 4095
    assert "and 128 with compound_bytes 134,217,728" in why["PC24"]
    assert "and 4,194,303 with sign_bits 0" in why["PC31"]


def test_given_figures_are_those_of_the_models():
    inputs = {claim.id: claim.inputs for claim in ALL}
    stated = {claim.id: claim.stated for claim in ALL}
    kernel = KernelConfig()
    assert inputs["PC22"]["hvo_saved_2m"] == hvo_freed_pages(2 << 20, kernel)
    assert inputs["PC22"]["dax_saved_2m"] == 8 - compound_devmap.dedup_pages(2 << 20, kernel)
    assert inputs["PC20"]["reserved_vmemmap_pages"] == compound_devmap.VMEMMAP_RESERVE_NR
    assert inputs["PC24"]["pages_per_section"] == kernel.pages_per_section
    assert inputs["PC32"]["bias"] == stated["PC32"] == foll_pin.GUP_PIN_COUNTING_BIAS
    assert stated["PC10"] == memdesc.ALIGN
    leaves = TwoLevel().counts(PfnSet.from_pfns(range(inputs["PC54"]["entries"])), kernel)
    assert stated["PC54"] == leaves.node_bytes


def test_bytes_are_told_in_the_rows_unit(write):
    row = {**GIVEN, "inputs": '{"references":1000000}', "quantity": "holder_bytes"}
    units = {"bytes": 8_000_000, "MB": 8, "MiB per host": 8_000_000 / 2**20, "GB": 0.008}
    rows = [{**row, "id": unit[:3], "unit": unit} for unit in units]
    assert [found.computed for found in claims.recompute(None, write(*rows))] == list(units.values())


def test_every_quantity_says_what_it_is_and_takes_numbers_by_name():
    for name, function in claims.QUANTITIES.items():
        assert function.__doc__, name
        parameters = inspect.signature(function).parameters.values()
        assert all(p.kind is p.KEYWORD_ONLY and p.annotation in ("int", "float") for p in parameters), name
    assert {claim.quantity for claim in COMPUTED} == set(claims.QUANTITIES)


def test_a_new_claim_is_one_row(write):
    right, wrong = GIVEN, {**GIVEN, "id": "X2", "value": "15.5"}
    found = claims.recompute(None, write(right, wrong))
    assert [(row.id, row.computed) for row in found] == [("X1", 16), ("X2", 16)]
    assert [(row.verdict, row.as_expected) for row in found] == [("agrees", True), ("differs", False)]
    inputs = '{"max_physmem_bits":48,"section_size_bits":27}'  # arm64
    changed = {"inputs": inputs, "quantity": "nr_mem_sections", "value": 1 << 21, "unit": "sections"}
    assert claims.recompute(["X1"], write({**GIVEN, **changed}))[0].verdict == "agrees"


def test_a_measured_ratio_that_does_not_follow_differs(write):
    inputs = '{"before_us":10,"after_us":2,"bytes":1}'
    row = {**GIVEN, "inputs": inputs, "quantity": "speedup", "kind": "measured"}
    assert claims.recompute(None, write({**row, "value": "5"}))[0].verdict == "measured elsewhere"
    assert claims.recompute(None, write({**row, "value": "6"}))[0].verdict == "differs"
    nothing = {**row, "quantity": "", "inputs": '{"what":"a run"}'}
    assert claims.recompute(None, write(nothing))[0].computed is None


def test_the_table_has_one_row_per_claim():
    table = claims.table()
    assert list(table["id"]) == [claim.id for claim in ALL]
    assert table["computed"].isna().sum() == sum(not claim.quantity for claim in ALL)
    assert claims.table(["PC57"]).iloc[0][["stated", "computed"]].tolist() == [524288, 524288]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"id": ""}, "id ''"),
        ({"id": "a b"}, "id 'a b'"),
        ({"value": "lots"}, "value 'lots' is not a number"),
        ({"value": "nan"}, "not finite"),
        ({"value": "1e999"}, "not finite"),
        ({"value": ""}, "value '' is not a number"),
        ({"inputs": "{"}, "not JSON"),
        ({"inputs": ""}, "not JSON"),
        ({"inputs": "[" * 100_000}, "not JSON"),
        ({"inputs": "[4]"}, "not a JSON object"),
        ({"inputs": '{"tag_bits":NaN}'}, "not finite"),
        ({"inputs": '{"tag_bits":1e999}'}, "not finite"),
        ({"inputs": '{"tag_bits":true}'}, "not a whole number"),
        ({"inputs": '{"tag_bits":4.5}'}, "not a whole number"),
        ({"inputs": '{"tag_bits":"4"}'}, "not a whole number"),
        ({"inputs": '{"tag_bits":-1}'}, "not a whole number"),
        ({"inputs": '{"tag_bits":1000000000000}'}, "from 0 to 64"),
        ({"inputs": '{"tag_bits":' + "9" * 5000 + "}"}, "not JSON"),
        ({"inputs": "{}"}, "lack 'tag_bits'"),
        ({"inputs": '{"tag_bits":4,"colour":1}'}, "'colour'"),
        ({"also": '{"colour":1}'}, "'colour'"),
        ({"quantity": "__import__"}, "is none of"),
        ({"quantity": ""}, "no quantity"),
        ({"unit": "furlongs"}, "'furlongs'"),
        ({"unit": ""}, "unit ''"),
        ({"tolerance": "about"}, "tolerance 'about'"),
        ({"tolerance": "abs nan"}, "tolerance"),
        ({"kind": "guessed"}, "kind 'guessed'"),
        ({"expected_verdict": "maybe"}, "expected_verdict 'maybe'"),
        ({"inputs": '{"align_bytes":1,"page_size":0}', "quantity": "struct_pages"}, "page_size 0"),
        ({"inputs": '{"align_bytes":1,"page_size":3}', "quantity": "struct_pages"}, "power of two"),
        ({"inputs": '{"subsection_shift":40}', "quantity": "subsection_bytes"}, "subsection_shift=40"),
        ({"inputs": '{"side_table_pct":1,"in_flags_pct":0}', "quantity": "side_table_ratio"}, "by zero"),
        ({"inputs": '{"side_table_pct":1e19,"in_flags_pct":1}', "quantity": "side_table_ratio"}, "from 0 to"),
        ({"inputs": '{"side_table_pct":9,"in_flags_pct":1e-320}', "quantity": "side_table_ratio"}, "finite"),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_with_file_line_and_value(write, changed, said):
    with pytest.raises(InputError) as error:
        claims.recompute(None, write({**GIVEN, "also": "", "kind": ""} | {"expected_verdict": ""} | changed))
    message = str(error.value)
    assert "claims.csv, line 2: " in message and said in message and "\n" not in message


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "'id' is there 0 times"),
        (b"id,statement\n1,2\n", "'inputs' is there 0 times"),
        ((",".join([*GIVEN, "id"]) + "\n").encode(), "'id' is there 2 times"),
        ((",".join(GIVEN) + "\nX1,s\n").encode(), "line 2: more or fewer cells"),
        ((",".join(GIVEN) + "\n" + "," * 20 + "\n").encode(), "line 2: more or fewer cells"),
        ((",".join(GIVEN) + '\n"X1"x,s\n').encode(), "line 2: not CSV"),
        ((",".join(GIVEN) + "\n" + "x" * 200_000 + "\n").encode(), "not CSV"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"x" * (5 << 20), "more than 4 MiB"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, raw, said):
    path = tmp_path / "claims.csv"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"claims\.csv") as error:
        claims.load(path)
    assert said in str(error.value)


def test_an_id_is_there_once(write):
    with pytest.raises(InputError, match=r"line 3: id 'X1' is already on line 2"):
        claims.load(write(GIVEN, GIVEN))


def test_a_row_may_span_lines_and_hostile_text_stays_text(write, capsys):
    evil = "=cmd()\x1b[31m\n<script>{0.__class__}%s"
    path = write({**GIVEN, "statement": evil, "unit": f"bytes {evil}", "reason": evil, "value": "3"})
    row = claims.recompute(None, path)[0]
    assert row.statement == evil and "{0.__class__}" in row.why and "\x1b" not in row.why
    assert main(["claims", "--file", str(path)]) == 1
    assert "\x1b" not in "".join(capsys.readouterr())


# -- the command --------------------------------------------------------------------------------------------


def test_the_command_prints_every_claim(capsys):
    assert main(["claims", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["id"] for row in rows] == [claim.id for claim in ALL]
    promised = {"id", "stated", "computed", "unit", "verdict", "why"}
    assert promised | {"statement", "source", "quantity", "inputs"} <= set(rows[0])


def test_the_command_takes_ids_in_any_order(capsys):
    assert main(["claims", "PC31", "PC01", "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["PC31", "PC01"]
    assert main(["claims", "PC31"]) == 0
    out = capsys.readouterr().out
    assert "2,097,151" in out and "sign bit" in out


def test_an_unexpected_verdict_fails_the_command(write, capsys):
    path = write({**GIVEN, "value": "17"})
    assert main(["claims", "--file", str(path), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["rows"][0]["verdict"] == "differs"
    assert err == "note: X1: differs, but agrees was expected\n"


def test_the_command_refuses_in_one_line(write, capsys):
    bad = write({**GIVEN, "inputs": "{"})
    for args in (["PC99"], ["--file", str(bad)], ["--file", "/nonexistent.csv"]):
        assert main(["claims", *args]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("workbench claims: ") and err.count("\n") == 1


def test_the_command_has_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["claims", "--help"])
    assert "workbench claims" in capsys.readouterr().out.split("example:")[1]
