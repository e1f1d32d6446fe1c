"""Constants against the kernel's own layouts, and against the table of compiled values."""

import pytest

from workbench import InputError, KernelConfig
from workbench.model.kernel.config import ARCH_FAMILY, kernel_version, load_layouts, presets

BUILDS = [name for name, config in presets().items() if config.layouts == name]

# Compiled from mainline 7.3.4 with defconfig plus MEMCG; s390 and ppc64-4k from the source.
COMPILED = {
    # preset: PAGE_SHIFT, PMD, PUD, SECTION, PHYSMEM, pages/section, NR_MEM_SECTIONS log2, per root, usage
    "x86-64": (12, 21, 30, 27, 46, 32768, 19, 256, 24),
    "x86-64-5level": (12, 21, 30, 27, 52, 32768, 25, 256, 24),
    "arm64-4k": (12, 21, 30, 27, 48, 32768, 21, 256, 24),
    "arm64-16k": (14, 25, 36, 27, 48, 8192, 21, 1024, 24),
    "arm64-64k": (16, 29, 42, 29, 52, 8192, 23, 4096, 48),
    "ppc64-64k": (16, 21, 30, 24, 51, 256, 27, 4096, 24),
    "s390": (12, 20, 31, 27, 46, 32768, 19, 256, 24),
}


@pytest.mark.parametrize("name", COMPILED)
def test_architecture_constants_are_those_that_were_compiled(name):
    k = KernelConfig.preset(name)
    found = (
        k.page_shift,
        k.pmd_shift,
        k.pud_shift,
        k.section_size_bits,
        k.max_physmem_bits,
        k.pages_per_section,
        k.nr_mem_sections.bit_length() - 1,
        k.sections_per_root,
        k.sizeof_mem_section_usage,
    )
    assert found == COMPILED[name]


@pytest.mark.parametrize(
    ("name", "kib"),
    [
        ("x86-64", 16),
        ("x86-64-5level", 1024),
        ("arm64-4k", 64),
        ("arm64-16k", 16),
        ("arm64-64k", 16),
        ("ppc64-64k", 256),
        ("s390", 16),
    ],
)
def test_root_pointer_arrays_are_those_of_the_table(name, kib):
    assert KernelConfig.preset(name).section_root_array_bytes == kib << 10


@pytest.mark.parametrize(
    ("name", "orders"),
    [
        ("x86-64", (10, 22)),
        ("arm64-16k", (11, 20)),
        ("arm64-64k", (13, 18)),
        ("ppc64-64k", (8, 18)),
        ("s390", (10, 22)),
    ],
)
def test_largest_orders(name, orders):
    kernel = KernelConfig.preset(name)
    assert (kernel.max_page_order, kernel.max_folio_order) == orders


def test_s390_sections_were_twice_as_large_until_7():
    assert KernelConfig.for_machine("s390x", 4096, "6.12.95").pages_per_section == 65536
    assert KernelConfig.for_machine("s390x", 4096, "7.3.4").pages_per_section == 32768


@pytest.mark.parametrize("name", BUILDS)
def test_a_builds_sizes_are_those_of_its_btf(name):
    config, known = KernelConfig.preset(name), load_layouts(name)
    assert config.release == known["kernel"]
    for struct in ("page", "mem_section", "mem_section_usage", "xa_node"):
        assert getattr(config, f"sizeof_{struct}") == known["structs"][struct]["size"], struct
    assert config.nodes_shift == int(known["config"]["NODES_SHIFT"])
    assert config.nr_page_flags == known["enums"]["pageflags"]["__NR_PAGEFLAGS"]
    assert config.hugetlb_vmemmap == ("HUGETLB_PAGE_OPTIMIZE_VMEMMAP" in known["config"])


def test_there_are_five_builds_and_nine_architectures():
    assert len(BUILDS) == 5
    assert len(presets()) == 14


def test_every_uname_has_constants():
    for machine in ARCH_FAMILY:
        sizes = [4096, 65536] if ARCH_FAMILY[machine] in ("aarch64", "ppc64le") else [4096]
        for size in sizes:
            assert KernelConfig.for_machine(machine, size).page_size == size


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: KernelConfig.preset("vax"), "is none of"),
        (lambda: KernelConfig.preset("arm64"), "fits"),
        (lambda: KernelConfig.preset(""), "is none of"),
        (lambda: KernelConfig.for_machine("vax", 4096), "vax"),
        (lambda: KernelConfig.for_machine("x86_64", 8192), "8192"),
        (lambda: KernelConfig(page_shift=3), "page_shift is 3"),
        (lambda: load_layouts("nonesuch"), "nonesuch"),
    ],
)
def test_what_is_not_known_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()


def test_an_unambiguous_part_of_a_name_is_enough():
    assert KernelConfig.preset("6.12").name == "amd64_6.12.117-1"
    assert KernelConfig.preset("x86-64").name == "x86-64"


def test_versions():
    assert kernel_version("7.2.13-1") == (7, 2)
    assert kernel_version(None) == (0, 0)


@pytest.mark.parametrize(
    ("name", "nodes_shift", "flags", "vmemmap"),
    [
        ("x86-64", 6, 22, 0xFFFFEA0000000000),
        ("x86-64-5level", 6, 22, 0xFFD4000000000000),
        ("arm64-4k", 4, 24, 0xFFFFFDFFC0000000),
        ("arm64-64k", 4, 24, 0xFFFFFC1FC0000000),
        ("ppc64-64k", 8, 21, 0xC00C000000000000),
        ("s390", 1, 23, None),
    ],
)
def test_node_and_flag_bits_and_where_vmemmap_starts(name, nodes_shift, flags, vmemmap):
    kernel = KernelConfig.preset(name)
    assert (kernel.nodes_shift, kernel.nr_page_flags, kernel.vmemmap_start) == (nodes_shift, flags, vmemmap)
