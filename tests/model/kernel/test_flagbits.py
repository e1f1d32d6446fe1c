"""Flag budgets against the ones that were compiled."""

import pytest

from workbench import InputError, KernelConfig
from workbench.model.kernel.flagbits import FlagBudget

COMPILED = [  # flags, zone, node, section, last_cpupid, lru gen + refs, used, free
    (FlagBudget(), (22, 2, 6, 0, 14, 5, 49, 15)),
    (FlagBudget(nr_page_flags=25, nodes_shift=10, nr_cpus=8192), (25, 2, 10, 0, 21, 5, 63, 1)),
    (FlagBudget(nr_page_flags=21, section_bits=19), (21, 2, 6, 19, 0, 5, 53, 11)),
    (FlagBudget.of(KernelConfig.preset("arm64-4k")), (24, 2, 4, 0, 17, 0, 47, 17)),
    (FlagBudget.of(KernelConfig.preset("ppc64-64k")), (21, 2, 8, 0, 19, 0, 50, 14)),
    (FlagBudget.of(KernelConfig.preset("s390")), (23, 2, 1, 0, 17, 0, 43, 21)),
]


@pytest.mark.parametrize(("budget", "row"), COMPILED)
def test_budgets_are_those_that_were_compiled(budget, row):
    f = budget.fields
    found = (
        f["flags"],
        f["zone"],
        f["node"],
        f["section"],
        f["last cpupid"],
        f["lru gen"] + f["lru refs"],
        budget.used_bits,
        budget.free_bits,
    )
    assert found == row


def test_x86_preset_is_defconfig():
    assert FlagBudget.of(KernelConfig.preset("x86-64")) == FlagBudget()


@pytest.mark.parametrize(("kasan", "bits"), [("sw_tags", 8), ("hw_tags", 4)])
def test_kasan_tags_take_their_bits(kasan, bits):
    assert FlagBudget.of(KernelConfig.preset("arm64-4k"), kasan=kasan).free_bits == 17 - bits


def test_debians_build_has_few_bits_left():
    budget = FlagBudget.of(KernelConfig.preset("amd64_6.12"))
    assert budget.fields["last cpupid"] == 21
    assert budget.fields["node"] == 10
    assert 0 <= budget.free_bits <= 2


def test_what_cannot_be_built_is_refused():
    with pytest.raises(InputError, match="does not build"):
        FlagBudget(section_bits=40)
    with pytest.raises(InputError, match="kasan"):
        FlagBudget(kasan="generic")
