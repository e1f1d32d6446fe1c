"""Many scenarios at a time equal evaluate(), one by one, to the last bit and to the last letter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import InputError, Machine, PfnSet, Scenario, evaluate
from workbench.model import designs, pfnmaps
from workbench.model.kernel.config import KernelConfig, presets
from workbench.model.kernel.slab import SlabCache, slab_bytes
from workbench.model.memory.pfns import Scatter, bit_length, rounded
from workbench.model.pfnmaps.rhashtable import kvmalloc_bytes, longest_chain, nr_buckets
from workbench.model.scenario.batch import Choice, Shares, evaluate_all, scenario_at

MACHINES = ("ram=1TiB", "ram=256MiB", "ram=3GiB,hole=1GiB-2GiB,device=1GiB@1TiB,pmem=2GiB@2TiB",
            "microvm-24g-6.18", "debian-6.12-8g-hugetlb-hvo", "ppc64le-64k-3g-2node-radix",
            "ram=300MiB,hole=3MiB-5MiB,hole=77MiB-78MiB", "h100-128g-6.18", "no-such-machine")


def assert_same(base, columns, nr):
    rows = evaluate_all(base, columns, nr)
    for at in range(nr):
        try:
            one = evaluate(scenario_at(base, columns, at))
        except InputError as error:
            assert rows.error[at] == str(error)
            continue
        if one.total_bytes >= 1 << 63:
            assert rows.error[at] == "a part of more than 2^63 bytes"
            continue
        assert rows.error[at] == ""
        assert {name: int(values[at]) for name, values in rows.parts.items() if values[at]} == {
            name: value for name, value in one.parts.items() if value
        }
        assert (rows.total_bytes[at], rows.nr_pinned[at]) == (one.total_bytes, one.nr_pinned)
        assert rows.bytes_per_page[at] == one.bytes_per_page
        assert rows.percent_of_ram[at] == one.percent_of_ram
        assert rows.exact[at] == one.exact
        assert rows.notes[at] == "; ".join(one.notes)
    return rows


pages = st.one_of(st.integers(-1, 70_000), st.integers(0, 1 << 28), st.sampled_from([0, 1, 2, 1 << 62]))


@st.composite
def sweeps(draw):
    nr = draw(st.integers(1, 12))
    ints = {"nr_pinned": pages, "nr_device_used": pages, "run_pages": st.sampled_from([1, 2, 8, 512, 3, 0]),
            "folio_order": st.sampled_from([0, 1, 3, 9, -1, 41]), "proxy_bytes": st.integers(7, 300),
            "folio_desc_bytes": st.integers(0, 200)}
    columns = {}
    for name, values in ints.items():
        if draw(st.booleans()):
            columns[name] = np.array(draw(st.lists(values, min_size=nr, max_size=nr)), dtype=np.int64)
    if draw(st.booleans()):
        share = st.floats(0, 100, allow_nan=False)
        columns["nr_pinned"] = Shares(np.array(draw(st.lists(share, min_size=nr, max_size=nr))))
    names = {"design": [*designs.names(variants=True), "nothing"], "pfn_map": [*pfnmaps.registry(), "none"],
             "describe_device": [False, True], "mix": ["", "GPU host", "anon:9=40"], "machine": MACHINES,
             "kernel": [None, *list(presets())[:6]], "nr_pinned": ["1%", 17, "x"]}
    base = {name: draw(st.sampled_from(values[:-1] if name == "nr_pinned" else values))
            for name, values in names.items() if name != "kernel"}
    for name, values in names.items():
        if draw(st.integers(0, 3)) == 0:
            codes = draw(st.lists(st.integers(0, len(values) - 1), min_size=nr, max_size=nr))
            columns[name] = Choice(values, np.array(codes, dtype=np.int64))
    return Scenario(**base), columns, nr


@settings(max_examples=60)
@given(sweeps())
def test_every_row_is_evaluates_own(sweep):
    assert_same(*sweep)


CLOSED = [(design, name) for design in designs.names(variants=True)
          for name, one in pfnmaps.registry().items()
          if (one.by_arrays if designs.get(design).uses_pfn_map else name == "xarray")]


@pytest.mark.parametrize(("design", "pfn_map"), CLOSED)
def test_closed_forms_are_taken_and_right(design, pfn_map):
    """Of 90 points none is evaluated alone; they are right on machines of regular and irregular memory."""
    rng = np.random.default_rng(1)
    columns = {"nr_pinned": rng.integers(1, 4000, 90),
               "run_pages": np.repeat([1, 4, 8], 30), "folio_order": np.repeat([0, 2], 45),
               "proxy_bytes": rng.integers(8, 256, 90), "folio_desc_bytes": rng.integers(8, 256, 90)}
    for machine in "microvm-24g-6.18", MACHINES[2]:
        base = Scenario(machine=machine, design=design, pfn_map=pfn_map)
        if machine == MACHINES[2]:
            base = base.with_(describe_device=True)
            columns["nr_device_used"] = rng.integers(1, 4000, 90)
        assert assert_same(base, columns, 90).vectorised == 90


def test_what_has_no_closed_form_is_evaluated_one_by_one():
    columns = {"nr_pinned": np.arange(1, 9), "pfn_map": Choice(["maple", "xarray"], np.arange(8) % 2)}
    assert assert_same(Scenario(machine="ram=1GiB"), columns, 8).vectorised == 4


def test_an_exact_set_of_pages_counts_in_every_row():
    base = Scenario(machine="ram=1GiB", pinned=PfnSet.from_pfns([5, 600, 601]))
    rows = assert_same(base, {"design": Choice(["proxy_bit", "dynamic_page"], np.arange(8) % 2)}, 8)
    assert rows.nr_pinned.tolist() == [3] * 8


def test_parts_beyond_63_bits_are_an_error_of_their_point():
    base = Scenario(machine="ram=1GiB,device=1GiB@1TiB", design="netmem", describe_device=True)
    rows = evaluate_all(base, {"nr_device_used": np.array([64, 1 << 62, 64])}, 3)
    assert rows.error.tolist() == ["", "a part of more than 2^63 bytes", ""]


def irregular(seed, nr):
    """Memory of ``nr`` ranges, no two alike."""
    cuts = np.sort(np.random.default_rng(seed).choice(1 << 22, 2 * nr, replace=False))
    return PfnSet.from_extents(cuts[::2].astype(np.uint64), cuts[1::2].astype(np.uint64))


@pytest.mark.parametrize("nr_ranges", [1, 3, 40, 900])
@pytest.mark.parametrize("run", [1, 64])
def test_a_number_of_many_is_the_number_alone(nr_ranges, run):
    """SIMD, sums and their shapes must not show: bit for bit, in batches of 1, 7 and 1000."""
    within = irregular(nr_ranges, nr_ranges)
    room = Scatter(nr_pages=0, run_pages=run, within=within).places.nr_pages
    many = np.random.default_rng(2).integers(0, room * run // 2, 1000)
    alone = [Scatter(nr_pages=nr, run_pages=run, within=within) for nr in many.tolist()]
    for shift in (3, 6, 12, 18, 24):
        wanted = [one.expected_prefixes(shift) for one in alone[:: 1 if nr_ranges < 900 else 25]]
        for size in (1, 7, 1000):
            found = np.concatenate([
                Scatter(nr_pages=many[at:at + size], run_pages=run, within=within).expected_prefixes(shift)
                for at in range(0, 1000, size)])
            assert found[:: 1 if nr_ranges < 900 else 25].tolist() == wanted


@given(st.lists(st.integers(0, 1 << 44), min_size=1, max_size=9))
def test_helpers_say_of_an_array_what_they_say_of_each(numbers):
    many, kernel = np.array(numbers, dtype=np.int64), KernelConfig()
    buckets = [nr_buckets(nr) for nr in numbers]
    assert bit_length(many).tolist() == [bit_length(nr) for nr in numbers]
    assert nr_buckets(many).tolist() == buckets
    assert kvmalloc_bytes(many, kernel).tolist() == [kvmalloc_bytes(nr, kernel) for nr in numbers]
    assert longest_chain(many, np.array(buckets)).tolist() == list(map(longest_chain, numbers, buckets))
    halves = many / 2
    assert rounded(halves).tolist() == [rounded(half) for half in halves.tolist()]
    assert slab_bytes(80, many, kernel).tolist() == [
        SlabCache(object_size=80).slab_bytes(nr) for nr in numbers]


def test_buckets_double_one_by_one():
    for nr in [*range(200), 49152, 49153]:
        size = 64
        while nr > size // 4 * 3:
            size *= 2
        assert nr_buckets(nr) == size


def test_a_design_that_asks_if_is_evaluated_one_by_one(monkeypatch):
    foll_pin = designs.get("foll_pin")
    plain = foll_pin.footprint
    asked = []

    def footprint(setting):
        if setting.population.nr_pinned > 4:
            asked.append(setting.population.nr_pinned)
        return plain(setting)

    monkeypatch.setattr(foll_pin, "footprint", footprint)
    base = Scenario(machine=Machine.load("ram=1GiB"), design="foll_pin")
    assert assert_same(base, {"nr_pinned": np.arange(1, 9)}, 8).vectorised == 0
    assert sorted(set(asked)) == [5, 6, 7, 8]
