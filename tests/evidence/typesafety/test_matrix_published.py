"""Our verdicts against the published table of mistake classes: where we differ, and that we say why."""

from __future__ import annotations

import pytest

from workbench.evidence.typesafety import matrix, mistakes

NA, C, R, S = matrix.NOT_APPLICABLE, matrix.COMPILE, matrix.RUNTIME, matrix.SILENT

#: Every cell where our verdict is not what the published words mean.
DIFFERENT = {
    # a memdesc says what memory is, not how it is held
    ("put_on_pin", "memdesc_typed"): R,
    ("unpin_on_get", "memdesc_typed"): R,
    ("mixed_list", "memdesc_typed"): R,
    ("pointer_compare", "memdesc_typed"): NA,
    ("xarray_store", "memdesc_typed"): NA,
    ("alloc_failure", "memdesc_typed"): NA,
    # the refcount falls below 0, and the next gup of the page warns
    ("mixed_list", "foll_pin"): R,
    # C compares two pointers of one type, and makes every pointer a void *
    ("pointer_compare", "proxy_typed"): S,
    ("pointer_compare", "proxy_bitwise"): S,
    ("pointer_compare", "dynamic_page_typed"): S,
    ("xarray_store", "proxy_typed"): S,
    ("xarray_store", "dynamic_page_typed"): NA,
    # it looks like a head, but of another folio
    ("folio_of_pin", "dynamic_page"): S,
    # the descriptors here hold a reference on the page
    **{("pin_outlives", design): R for design in (
        "proxy_bit", "dynamic_page", "proxy_typed", "proxy_bitwise", "proxy_struct", "dynamic_page_typed",
        "memdesc_typed")},
}  # fmt: skip


@pytest.fixture(scope="module")
def compared():
    return matrix.agreement()


def test_every_published_cell_is_compared(compared):
    assert len(compared) == len(mistakes.CLASSES) * sum(map(len, matrix.COLUMNS.values())) == 96
    assert {row["mistake"] for row in compared} == set(mistakes.CLASSES)
    assert all(set(row["means"]) <= {NA, C, R, S} and row["published"] for row in compared)


def test_we_differ_exactly_where_we_say_and_say_why(compared):
    different = {(row["mistake"], row["design"]): row for row in compared if not row["agrees"]}
    assert {place: row["ours"] for place, row in different.items()} == DIFFERENT
    assert all(len(row["why"]) > 40 for row in different.values())


def test_no_reason_is_given_for_a_cell_that_agrees(compared):
    told = {(row["mistake"], row["design"]) for row in matrix._table("differences.csv")}
    assert told == set(DIFFERENT)
    assert not [row for row in compared if row["agrees"] and row["why"]]


def test_agreement_takes_a_part_of_the_matrix():
    part = matrix.agreement(matrix.rows(["foll_pin"], mistake=["pfn_of_pin"]))
    (row,) = part
    assert (row["mistake"], row["design"], row["agrees"]) == ("pfn_of_pin", "foll_pin", True)
