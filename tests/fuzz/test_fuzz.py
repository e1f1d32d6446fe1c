"""Hostile inputs through every reader: a right result or one InputError. ``make fuzz`` runs more of them."""

from pathlib import Path

import bad_readers
import harness
import mutations
import pytest
import readers

FOUND = sorted(path for path in harness.FINDINGS.glob("*/*") if path.is_file())


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with harness.Pool(tmp_path_factory.mktemp("fuzz")) as pool:
        yield pool


@pytest.fixture(scope="module")
def bad_pool(tmp_path_factory):
    with harness.Pool(tmp_path_factory.mktemp("bad"), Path(bad_readers.__file__)) as pool:
        yield pool


def said(tally):
    return "\n".join(f"{found.kind}, input {found.number}: {found.said}" for found in tally.findings[:5])


@pytest.mark.parametrize("name", readers.READERS)
def test_hostile_inputs_are_read_right_or_refused(name, pool):
    reader = readers.READERS[name]
    tally, number = pool.run(name, reader.quick)
    assert not tally.findings, said(tally)
    assert number == reader.quick == tally.inputs
    assert tally.ok, "no input is read: this tests nothing but refusals"


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_is_read_right_or_refused(path, pool):
    tally, _ = pool.run(path.parent.name, 1, first=1 << 40, file=path)
    assert tally.inputs == 1 and not tally.findings, said(tally)


@pytest.mark.parametrize("name", bad_readers.BAD)
def test_the_harness_notices_a_reader_that_is_wrong(name, bad_pool):
    tally, _ = bad_pool.run(name, 1, first=0)
    assert [found.kind for found in tally.findings] == [bad_readers.BAD[name][1]], said(tally)
    after, _ = bad_pool.run("right", 20)  # and goes on
    assert (after.ok, after.findings) == (20, [])


def test_the_harness_lets_a_good_reader_pass_and_counts(bad_pool):
    right, number = bad_pool.run("right", 100)
    refuses, _ = bad_pool.run("refuses", 50)
    assert (right.ok, right.refused, right.findings, number) == (100, 0, [], 100)
    assert (refuses.ok, refuses.refused, refuses.findings) == (0, 50, [])


def test_a_finding_is_shrunk_to_what_it_takes(bad_pool):
    name = "traceback"
    tally, _ = bad_pool.run(name, 1)
    assert bad_pool.shrink(name, b"x" * 1000, tally.findings[0]) == b""


@pytest.mark.parametrize("name", readers.READERS)
def test_an_input_is_the_same_each_time_and_the_inputs_differ(name):
    reader = readers.READERS[name]
    seeds = list(reader.seeds())
    made = [harness.make(reader, seeds, number) for number in range(len(seeds) + 15)]
    assert made == [harness.make(reader, seeds, number) for number in range(len(seeds) + 15)]
    assert len(set(made)) > len(seeds) + 5 and max(map(len, made)) < 4 << 20


def test_bundles_and_zips_are_packed_and_unpacked():
    parts = {"iomem": b"a\nb", "vmstat": b"", "zoneinfo": b"\n\n"}
    assert mutations.unbundle(mutations.bundle(parts)) == parts
    assert mutations.unzip(mutations.pack(list(parts.items()))) == parts
    assert readers.swapped(readers.swapped(readers._blobs()[0])) == readers._blobs()[0]
    assert readers.swapped(readers._blobs()[0]) == readers._blobs()[1]
