"""The timed loops: how many loads they make, and what the designs' conversions give."""

import itertools

import numpy as np
import pytest

from workbench.evidence import _jit as jit
from workbench.evidence.lookups import _loops as loops
from workbench.evidence.lookups import _structures as structures
from workbench.evidence.lookups import subjects
from workbench.model import pfnmaps
from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet

Z = np.uint64(0)


class Counting:
    """Words that remember where they were read: the loop's own Python source runs over them, uncompiled."""

    def __init__(self, words):
        self.words, self.read = words, []

    def __getitem__(self, at):
        self.read.append(int(at))
        return self.words[int(at)]


def words_read(loop, key, a, *args):
    counting = Counting(a)
    with np.errstate(over="ignore"):
        result = loop.py_func(np.array([key], np.uint64), None, counting, *args)
    return int(result), counting.read


@pytest.mark.parametrize("height", range(8))
def test_an_xarray_lookup_takes_one_load_and_two_for_each_level(height):
    index = 1 << 6 * (height - 1) if height else 0
    pfns = PfnSet.from_pfns([index])
    built = structures.xarray(pfns)
    result, read = words_read(loops.xarray, index, *built.args)
    assert (built.height, result) == (height, 8)
    loads = 1 + len(set(read))  # xa_head, then words; the root's shift is read twice and loaded once
    assert loads == 1 + 2 * height == built.dependent_loads
    assert loads == pfnmaps.get("xarray").counts(pfns, KernelConfig()).dependent_loads
    lean = structures.xarray_lean(pfns)
    result, read = words_read(loops.xarray_lean, index, *lean.args)
    assert (result, 1 + len(read)) == (8, 1 + height)
    headers = {n for n in read if n % 73 == 0}
    assert not headers


def test_loads_of_every_entry_of_a_mixed_tree():
    pfns = PfnSet.from_extents([3, 64, 4096, 1 << 20], [3, 127, 8191, (1 << 20) + 3], [0, 6, 12, 1])
    a, head = structures.xarray(pfns).args
    by_hand = {3: 1 + 2 * 4, 64: 1 + 2 * 3, 4096: 1 + 2 * 2, 1 << 20: 1 + 2 * 4, (1 << 20) + 1: 1 + 2 * 4 + 1}
    found = {k: 1 + len(set(words_read(loops.xarray, k, a, head)[1])) for k in by_hand}
    assert found == by_hand  # a larger entry lies higher; a sibling's slot is one load more


@pytest.mark.parametrize("pfns", [
    PfnSet.from_extents([3, 64, 4096, 1 << 16], [3, 127, 8191, (1 << 16) + 3], [0, 6, 12, 1]),
    PfnSet.from_extents([64, 512], [67, 1023], [2, 9]), PfnSet.from_pfns([0], order=3)])
def test_mean_loads_are_those_of_all_pages(pfns):
    for build, loop in ((structures.xarray, loops.xarray), (structures.xarray_lean, loops.xarray_lean)):
        built = build(pfns)
        loads = [1 + len(set(words_read(loop, page, *built.args)[1])) for page in pfns.to_pfns().tolist()]
        assert built.dependent_loads == pytest.approx(sum(loads) / len(loads))


def test_loads_of_the_other_maps():
    pfns = PfnSet.from_ranges([(0, 1000)])
    for name, key, loads in (("flat", 5, 1), ("flat", 1000, 0), ("two_level", 600, 2),
                             ("two_level", 1000, 0)):
        built = structures.build(name, pfns)
        assert len(words_read(built.loop, key, *built.args)[1]) == loads
    maple = structures.maple(pfns)
    _, read = words_read(loops.maple, 500, *maple.args)
    assert len({n // 32 for n in read}) == maple.height  # nodes


def test_a_search_loads_no_more_than_is_counted():
    nr = 1000
    built = structures.sorted_array(PfnSet.from_ranges([(0, nr)]))

    class Sized(Counting):
        size = 2 * nr
    for key in (0, 1, 499, 500, 998, 999):
        counting = Sized(built.args[0])
        assert int(loops.sorted_array.py_func(np.array([key], np.uint64), None, counting)) == (key + 1) * 8
        probes = len(counting.read) - 2  # the pair itself last
        assert 9 <= probes <= built.height == 10


# Designs

MIXES = [(0.0, 1), (0.3, 1), (0.5, 8), (1.0, 1)]


OPS = ("page_to_pfn", "pfn_to_page")
SUBJECTS = {
    "vmemmap": lambda: [subjects.vmemmap(op, order) for op in OPS for order in ("random", "sequential")],
    "sparsemem": lambda: [subjects.sparsemem(op, 1 << 17) for op in OPS],
    "steps": lambda: [subjects.flag_test(1 << 10), subjects.range_test(), subjects.chase(1 << 14)],
    "proxy_test": lambda: subjects.proxy("proxy_test", 100, MIXES),
    "proxy_bit": lambda: subjects.proxy("proxy_bit/page_to_pfn", 100, MIXES, "sequential"),
    "flag": lambda: subjects.dynamic_page_to_pfn("flag", 100, MIXES),
    "range": lambda: subjects.dynamic_page_to_pfn("range", 100, MIXES),
    "flag, back": lambda: subjects.dynamic_pfn_to_page("flag", 100, MIXES),
    "range, back": lambda: subjects.dynamic_pfn_to_page("range", 100, MIXES, "sequential"),
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_results_are_what_they_must_be(name):
    rng = np.random.default_rng(1)
    for subject in SUBJECTS[name]():
        for loop in subject.loops:
            keys = subject.draw(999, rng)
            z = Z if loop == "dependent" else None
            assert int(subject.loop(keys, z, *subject.args)) == subject.expected(keys), subject.path


def one(subject, key):
    return int(subject.loop(np.array([key], np.uint64), None, *subject.args))


def test_conversions_by_hand():
    vmemmap = 0xFFFF_EA00_0000_0000
    assert one(subjects.vmemmap("page_to_pfn"), vmemmap + 64 * 5) == 5
    assert one(subjects.vmemmap("pfn_to_page"), 5) == vmemmap + 64 * 5
    classic = subjects.sparsemem("pfn_to_page", 1 << 17)
    pages = classic.arrays[2].ctypes.data
    assert [one(classic, pfn) - pages for pfn in (0, 1, 40_000, 131_071)] == [
        0, 64, 64 * 40_000, 64 * 131_071]
    (proxy,) = subjects.proxy("proxy_bit/page_to_pfn", 10, [(0.5, 1)])
    proxies = proxy.arrays[0].ctypes.data
    assert [one(proxy, proxies + 64 * 3 | 1), one(proxy, vmemmap + 64 * 9)] == [3, 9]
    (flag,) = subjects.dynamic_page_to_pfn("flag", 10, [(0.5, 1)])
    memmap, objects = (a.ctypes.data for a in flag.arrays)
    assert [one(flag, memmap + 64 * 7), one(flag, objects + 80 * 4)] == [7, 160 + 4]
    (outside,) = subjects.dynamic_page_to_pfn("range", 10, [(0.5, 1)])
    objects = outside.arrays[1].ctypes.data
    assert [one(outside, vmemmap + 64 * 7), one(outside, objects + 80 * 4)] == [7, 160 + 4]


def test_pages_of_classic_sparsemem_know_their_section():
    pages = subjects.memmap(1 << 17)
    assert (pages[::8] >> np.uint64(45)).tolist() == (np.arange(1 << 17) >> 15).tolist()
    roots, table = subjects.sections(pages)
    assert np.count_nonzero(roots) == 1
    assert np.count_nonzero(table) == 4
    assert roots[0] == table.ctypes.data


@pytest.mark.parametrize(("share", "run"), [(0.25, 1), (0.25, 16), (0.0, 1), (1.0, 7)])
def test_the_share_and_the_runs_of_dynamic_calls(share, run):
    found = subjects.is_dynamic(160_000, share, run, np.random.default_rng(1))
    assert found.mean() == pytest.approx(share, abs=0.001)
    if run > 1:
        whole = found[: len(found) // run * run].reshape(-1, run)
        assert (whole == whole[:, :1]).all()


def test_keys_hit_as_often_as_asked():
    pfns = PfnSet.from_pfns(range(0, 4000, 4))
    built = structures.xarray(pfns)
    for hit, order in itertools.product((0.0, 0.25, 1.0), ("random", "sequential")):
        subject = subjects.pfn_map(built, pfns, hit=hit, order=order)
        keys = subject.draw(20_000, np.random.default_rng(1))
        assert pfns.contains(keys).mean() == pytest.approx(hit, abs=0.02)
        assert subject.facts["hit"] == hit
        if order == "sequential":
            assert np.count_nonzero(keys[1:] < keys[:-1]) <= 5 + 20  # only where it begins again
    runs = subjects.pfn_map(built, pfns, order="sequential").draw(100, np.random.default_rng(1))
    assert set(np.diff(runs.astype(np.int64)).tolist()) <= {4, 4 - 4000}


@pytest.mark.parametrize(("wrong", "told"), [
    ({"hit": 1.5}, r"hit 1\.5 is outside 0\.\.1"), ({"hit": float("nan")}, "hit nan is outside"),
    ({"order": "backwards"}, "order 'backwards' is neither 'random' nor 'sequential'")])
def test_bad_wishes_are_refused(wrong, told):
    pfns = PfnSet.from_pfns([1])
    with pytest.raises(InputError, match=told):
        subjects.pfn_map(structures.xarray(pfns), pfns, **wrong)


def test_bad_mixes_are_refused():
    for mix, told in (((1.5, 1), "share"), ((0.5, 0), "run")):
        with pytest.raises(InputError, match=told):
            subjects.proxy("proxy_test", 4, [mix])


def test_where_no_cache_folder_can_be_written_loops_compile_all_the_same(monkeypatch):
    real, asked = jit.njit, []

    def njit(function=None, **options):
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(function, **options) if function else real(**options)
    monkeypatch.setattr(jit, "njit", njit)
    doubled = loops._jit(lambda k: k + k)
    assert (doubled(np.uint64(4)), asked) == (8, [True, False])
