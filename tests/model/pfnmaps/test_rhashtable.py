"""The resizable hash table: its growth rule step by step, and its bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.model.kernel.config import KernelConfig, presets
from workbench.model.memory.pfns import PfnSet, Scatter
from workbench.model.pfnmaps.rhashtable import (
    RHashTable,
    kvmalloc_bytes,
    longest_chain,
    mean_chain,
    nr_buckets,
)

X86 = KernelConfig()
TIB = PfnSet.from_ranges([(0, 1 << 28)])


def buckets_one_by_one(peak, nr_entries, *, shrinking):
    """Insert one by one and remove one by one; the deferred worker runs after each."""
    size = 64
    for nelems in range(1, peak + 1):
        if nelems > size // 4 * 3:
            size *= 2
    for nelems in range(peak - 1, nr_entries - 1, -1):
        if shrinking and nelems < size * 3 // 10 and size > 4:
            wanted = max(1 << (nelems * 3 // 2 - 1).bit_length() if nelems else 0, 4)
            size = min(size, wanted)
    return size


@pytest.mark.parametrize("nr, buckets", [(0, 64), (48, 64), (49, 128), (96, 128), (97, 256), (1000, 2048),
                                         (100_000, 1 << 18), (1_000_000, 1 << 21)])
def test_a_table_doubles_above_75_percent(nr, buckets):
    assert nr_buckets(nr) == buckets


@given(st.integers(0, 3000), st.integers(0, 3000), st.booleans())
def test_buckets_match_one_by_one_insertion_and_removal(one, other, shrinking):
    peak, nr = max(one, other), min(one, other)
    assert nr_buckets(nr, peak=peak, automatic_shrinking=shrinking) == buckets_one_by_one(
        peak, nr, shrinking=shrinking)


@pytest.mark.parametrize("nr, size_bytes", [(1000, 24_384), (100_000, 2_897_152), (1_000_000, 24_777_216)])
def test_buckets_and_links_take_the_published_bytes(nr, size_bytes):
    scattered = Scatter(nr_pages=nr, within=TIB)
    counts = RHashTable().expected(scattered, X86)
    assert counts.node_bytes == size_bytes and counts.exact
    assert counts == RHashTable().counts(scattered.draw(seed=1), X86)


def test_the_header_pushes_a_table_into_the_next_kmalloc_size():
    parts = RHashTable().expected(Scatter(nr_pages=100_000, within=TIB), X86).parts
    assert parts == {"buckets": 1 << 21, "rhash_heads": 800_000, "bucket_table header": 64,
                     "table rounding": (1 << 21) - 64, "struct rhashtable": 160}
    big = RHashTable().expected(Scatter(nr_pages=1_000_000, within=TIB), X86).parts  # by vmalloc()
    assert big["table rounding"] == 4096 - 64


def test_struct_sizes_come_from_the_build():
    sizes = {name: RHashTable().counts(PfnSet.empty(), kernel).parts for name, kernel in presets().items()}
    assert sizes["amd64_6.12.117-1"]["struct rhashtable"] == 136
    assert sizes["ppc64el_6.1.176-1"]["bucket_table header"] == 128  # cache lines of 128 bytes
    assert sizes["s390"]["struct rhashtable"] == 160  # no build: mainline 7.3


@given(st.integers(1, 1 << 24), st.sampled_from(["x86-64", "arm64-16k", "arm64-64k"]))
def test_an_allocation_holds_its_size_and_at_most_twice_that(size, name):
    kernel = KernelConfig.preset(name)
    assert size <= kvmalloc_bytes(size, kernel) < 2 * size


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_more_entries_never_take_less(one, other):
    few, many = sorted((one, other))
    held = [PfnSet.from_ranges([(0, nr)] if nr else []) for nr in (few, many)]
    small, large = (RHashTable().counts(pfns, X86) for pfns in held)
    assert small.bytes <= large.bytes and sum(large.parts.values()) == large.bytes
    assert few == 0 or 3 < small.dependent_loads <= 3 + 16  # RHT_ELASTICITY


def test_a_folio_is_one_object():
    assert RHashTable().counts(PfnSet.from_pfns([0, 512], order=9), X86).parts["rhash_heads"] == 16


@pytest.mark.parametrize("nr", [48, 1000, 100_000])
def test_chains_are_as_long_as_uniform_hashes_make_them(nr):
    buckets = nr_buckets(nr)
    chains = [np.bincount(np.random.default_rng(seed).integers(buckets, size=nr)) for seed in range(20)]
    mean = np.mean([(chain * (chain + 1) / 2).sum() / nr for chain in chains])
    assert abs(mean - mean_chain(nr, buckets)) < 0.05
    assert abs(np.median([chain.max() for chain in chains]) - longest_chain(nr, buckets)) <= 1


def test_an_empty_table_has_its_buckets_and_no_loads():
    counts = RHashTable().counts(PfnSet.empty(), X86)
    assert (counts.node_bytes, counts.bytes, counts.dependent_loads, counts.height) == (512, 1184, 0, 0)
