"""Machines against the kernel's own counters, against plain references, and against broken input."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import InputError, KernelConfig, Machine, load_capture
from workbench.model.files import data_dir
from workbench.model.memory import layout, memmap
from workbench.model.memory._spec import parse_size
from workbench.model.memory.regions import (
    NO_RANGES,
    HugeTlb,
    Region,
    distinct_blocks,
    merge_ranges,
    section_ranges,
)

CAPTURES = sorted(
    str(path.parent.relative_to(data_dir() / "captures"))
    for path in (data_dir() / "captures").rglob("vmstat.txt")
)


class Without:
    """A capture with some of its parts taken away."""

    def __init__(self, capture, *parts):
        self._capture, self._parts = capture, parts

    def __getattr__(self, name):
        return getattr(self._capture, name)

    def text(self, part):
        return None if part in self._parts else self._capture.text(part)


class Texts:
    """A capture made of strings."""

    def __init__(self, arch="x86_64", release="6.12.95", page_size=4096, **parts):
        self.name, self.arch, self.release, self.page_size = "made", arch, release, page_size
        self.parts = {name.replace("_", "-"): text for name, text in parts.items()}

    def text(self, part):
        return self.parts.get(part)

    def where(self, part):
        return f"{part}.txt"


def test_there_are_captures_of_every_architecture():
    assert len(CAPTURES) >= 25
    assert {Machine.load(c).kernel.arch for c in CAPTURES} == {
        "x86_64",
        "aarch64",
        "ppc64le",
        "s390x",
        "riscv64",
    }


@pytest.mark.parametrize("name", CAPTURES)
def test_memmap_pages_equal_the_kernels_own_counters(name):
    machine = Machine.load(name)
    assert machine.memmap_pages == sum(machine.counter)


@pytest.mark.parametrize("name", CAPTURES)
@pytest.mark.parametrize(
    "missing",
    [
        ("dmesg",),
        ("dmesg", "memblock-memory"),
        ("sys-memory-blocks",),
        ("zoneinfo",),
        ("meminfo", "sys-node"),
    ],
)
def test_memmap_pages_do_not_depend_on_which_source_is_there(name, missing):
    machine = Machine.from_capture(Without(load_capture(name), *missing))
    assert machine.memmap_pages == sum(machine.counter)


def test_a_source_that_over_counts_says_so():
    capture = Without(load_capture("amd64-66g-pc-1gblocks-hole"), "iomem", "dmesg")
    machine = Machine.from_capture(capture)
    assert machine.memmap_pages > sum(machine.counter)
    assert any("holes" in note for note in machine.notes)


def test_regions_are_disjoint_and_sum_to_what_iomem_calls_ram():
    for name in CAPTURES:
        machine = Machine.load(name)
        pfns = sorted((r.first_pfn, r.end_pfn) for r in machine.regions)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(pfns)), name
        resources = layout.parse_iomem(load_capture(name).text("iomem"))
        page = machine.kernel.page_size
        ram = sum(r.end // page - -(-r.start // page) for r in resources if layout.RAM_NAME.match(r.name))
        assert abs(machine.nr_pages_ram - ram) * page <= 4096 * 16, name  # ACPI tables, rounding of e820


def test_nodes_of_an_odd_machine_are_those_of_its_log():
    machine = Machine.load("amd64-3node-odd-hotplug")
    boot = {0: 0x44C00 - 0x100 + 0x9E, 1: 0x7FFDC - 0x44C00 + 0x54800, 2: 0x18CC00 - 0x154800}
    early = machine.early_sections[-1][1] << machine.kernel.pfn_section_shift
    for node, pages in boot.items():
        own = [r for r in machine.regions if r.node == node and r.kind == "ram" and r.end_pfn <= early]
        assert sum(r.nr_pages for r in own) == pages
    assert sum(n["nr_pages"] for n in machine.nodes) == machine.nr_pages_ram


def test_nomap_memory_has_a_memmap_but_is_not_ram():
    machine = Machine.load("arm64-4k-1g-uefi-dimm")
    nomap = [r for r in machine.regions if r.kind == "nomap"]
    assert (nomap[0].first_pfn, nomap[0].end_pfn) == (0x4000, 0x8000)
    assert machine.nr_sections == 9


def test_the_gpus_bar_is_device_memory_without_a_memmap():
    bars = [r for r in Machine.load("h100-128g-6.18").regions if r.kind == "device"]
    assert [(r.nr_pages, r.memmap) for r in bars] == [(128 << 30 >> 12, None)]


# -- rules worked out by hand, and measured on booted kernels (data/README.md) ------------------------------


@pytest.mark.parametrize(
    ("ranges_gib", "backed"),
    [
        ([(0, 1)], 2 << 20),
        ([(0, 1), (1, 3)], 4 << 20),
        ([(0, 6.75), (6.75, 16)], 16 << 20),
    ],
)
def test_ppc64_radix_backs_the_memmap_of_2_gib_with_one_block(ranges_gib, backed):
    machine = _ppc([(int(a * 2**30) >> 16, int(b * 2**30) >> 16) for a, b in ranges_gib], "radix")
    assert memmap.backed_bytes(machine)[0] == backed


@pytest.mark.parametrize(("shift", "backed"), [(16, 1 << 20), (24, 16 << 20)])
def test_ppc64_hash_backs_it_in_blocks_of_the_vmemmap_page(shift, backed):
    machine = _ppc([(0, 1 << 14)], f"hash:{shift}")
    assert machine.memmap_bytes == 4 << 20
    assert memmap.backed_bytes(machine)[0] == backed


def test_ppc64_radix_uses_base_pages_where_a_range_starts_inside_a_block():
    sections = np.array([[64, 96]])  # the third quarter of the first 2 GiB: 32 sections of 16 KiB
    machine = replace(_ppc([(0, 1)], "radix"), early_sections=sections)
    assert memmap.backed_bytes(machine)[0] == 32 * (16 << 10)


def _ppc(ranges, mmu):
    kernel = KernelConfig.preset("ppc64-64k")
    regions = tuple(Region(a, b, "ram", 0, "System RAM") for a, b in ranges)
    return Machine(
        name="ppc",
        kernel=kernel,
        regions=regions,
        mmu=mmu,
        early_sections=section_ranges(ranges, kernel),
        hot_sections=NO_RANGES,
    )


@pytest.mark.parametrize(
    ("preset", "root_bytes", "usage_bytes"),
    [
        ("riscv64", 16 << 20, 56),
        ("ppc64-4k", 4 << 20, 32),
        ("ppc64el_6.1", 512 << 10, 32),
        ("arm64_6.1", 128 << 10, 56),
        ("arm64-16k", 16 << 10, 32),
    ],
)
def test_section_tables_are_what_memblock_debug_showed(preset, root_bytes, usage_bytes):
    kernel = KernelConfig.preset(preset)
    assert (kernel.section_root_array_bytes, kernel.mem_section_usage_bytes) == (root_bytes, usage_bytes)


def test_captures_of_debian_have_the_root_arrays_that_were_measured():
    measured = {
        "riscv64-2g-hugetlb-hvo-boot": 32 << 20,
        "ppc64le-4k-1280m-radix": 8 << 20,
        "ppc64le-64k-3g-2node-radix": 512 << 10,
        "arm64-4k-1100m": 128 << 10,
        "arm64-16k-3g-2node": 512 << 10,
        "s390x-1100m": 16 << 10,
    }
    for name, size in measured.items():
        assert Machine.load(name).kernel.section_root_array_bytes == size, name
    assert Machine.load("s390x-1100m").kernel.mem_section_usage_bytes == 160


@pytest.mark.parametrize(("name", "tables"), [("riscv64-2g-hugetlb-hvo-boot", 3), ("arm64-16k-3g-2node", 2)])
def test_vmemmap_page_tables_are_as_many_as_were_measured(name, tables):
    machine = Machine.load(name)
    assert memmap.beside_parts(machine)["vmemmap page tables"] == tables * machine.kernel.page_size


def test_page_ext_counts_per_section():
    dmesg = (
        load_capture("arm64-64k-1100m").text("dmesg") or ""
    ) + f"\nallocated {72 * 8192 * 3} bytes of page_ext"
    capture = Without(load_capture("arm64-64k-1100m"))
    capture.text = lambda part: dmesg if part == "dmesg" else load_capture("arm64-64k-1100m").text(part)
    assert Machine.from_capture(capture).memmap_terms["page_ext"] == 27


def test_zone_device_counts_pieces_and_nothing_inside_an_early_section():
    kernel = KernelConfig()
    machine = Machine.from_spec("ram=192MiB")
    assert machine.nr_sections == 2
    assert memmap.zone_device_pages(machine, 48 << 8, 64 << 8) == 0
    assert memmap.zone_device_pages(machine, 2 * 32768, 2 * 32768 + 512) == 8
    whole = memmap.zone_device_pages(machine, 65536 - 512, 65536 + 3 * 32768 + 512)
    assert whole == 3 * kernel.memmap_pages_per_section + 8


def test_hvo_frees_what_the_kernel_log_says():
    kernel = KernelConfig()
    for name in CAPTURES:
        said = layout.parse_freed_vmemmap(load_capture(name).text("dmesg") or "")
        machine = Machine.load(name)
        for size, freed in said.items():
            expected = memmap.hvo_freed_pages(size, machine.kernel) << machine.kernel.page_shift
            assert freed == expected, (name, size)
    assert memmap.hvo_freed_pages(2 << 20, replace(kernel, sizeof_page=80)) == 0


def test_hvo_off_takes_nothing_off():
    machine = Machine.load("debian-6.12-8g-hugetlb-hvo")
    assert machine.hugetlb == (HugeTlb(2 << 20, 1024, 7),)
    assert replace(machine, hvo_on=False).memmap_pages == 32768


# -- properties -------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), max_size=12))
def test_merged_ranges_cover_the_same_numbers(pairs):
    start, end = merge_ranges(*np.array([(a, a + n) for a, n in pairs], dtype=np.int64).reshape(-1, 2).T)
    covered = {x for a, b in zip(start.tolist(), end.tolist(), strict=True) for x in range(a, b)}
    assert covered == {x for a, n in pairs for x in range(a, a + n)}
    assert all(b < c for b, c in zip(end[:-1].tolist(), start[1:].tolist(), strict=True))
    for size in (1, 3, 16):
        assert distinct_blocks(start, end, size) == len({x // size for x in covered})


@given(st.lists(st.tuples(st.integers(0, 2**22), st.integers(1, 2**18)), min_size=1, max_size=8))
def test_sections_are_those_that_any_page_touches(pairs):
    kernel = replace(KernelConfig(), section_size_bits=20)  # 256 pages a section: pages can be listed
    sections = section_ranges([(a, a + n) for a, n in pairs], kernel)
    slow = {page >> 8 for a, n in pairs for page in range(a, a + n, 256)} | {
        (a + n - 1) >> 8 for a, n in pairs
    }
    assert {x for a, b in sections.tolist() for x in range(a, b)} == slow


@given(st.integers(1, 64), st.integers(1, 5), st.lists(st.integers(0, 40), max_size=3, unique=True))
def test_a_spec_lays_all_ram_around_its_holes(ram, nodes, holes):
    text = f"ram={ram}GiB,nodes={nodes}" + "".join(f",hole={h}GiB-{h + 1}GiB" for h in holes)
    machine = Machine.from_spec(text)
    assert machine.ram_bytes == ram << 30
    assert machine.memmap_pages == ram * 8 * 512
    assert len(machine.nodes) == nodes
    per_node = [node["nr_pages"] for node in machine.nodes]
    assert max(per_node) - min(per_node) <= 1
    for hole in holes:
        assert not machine.ram.contains([hole << 18, ((hole + 1) << 18) - 1]).any()


# -- bad input: one line, naming the value and the rule ---------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("00001000-00000fff : System RAM", "ends before it starts"),
        ("00000000-0fffffff : System RAM\n08000000-1fffffff : System RAM", "overlaps"),
        ("hello", "is not 'START-END : NAME'"),
        ("   00001000-00001fff : odd indent", "indented by twos"),
        ("\n\n", "no line"),
        ("00000000-00ffffff : a\n    00000000-0000ffff : b", "indented"),
    ],
)
def test_bad_iomem_is_named(text, says):
    with pytest.raises(InputError, match=says):
        layout.parse_iomem(text)


def test_a_blank_iomem_falls_back_to_memory_blocks_or_is_refused():
    capture = load_capture("microvm-24g-6.18")
    blank = (
        capture.text("iomem.nonroot")
        or (data_dir() / "captures/microvm-24g-6.18/iomem.nonroot.txt").read_text()
    )
    assert layout.parse_iomem(blank) is None
    parts = {"iomem": blank, "zoneinfo": None, "sys_memory_blocks": capture.text("sys-memory-blocks")}
    machine = Machine.from_capture(Texts(**parts))
    assert machine.memmap_pages == 98304
    assert any("without root" in note for note in machine.notes)
    with pytest.raises(InputError, match="without root"):
        Machine.from_capture(Texts(iomem=blank))


def test_odd_boundaries_round_inwards_for_pages_and_outwards_for_sections():
    machine = Machine.from_capture(
        Texts(iomem="00001000-0009fbff : System RAM\n10000000-10000fff : System RAM")
    )
    assert [(r.first_pfn, r.end_pfn) for r in machine.regions] == [(1, 0x9F), (0x10000, 0x10001)]
    assert machine.nr_sections == 2


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("ram=1TiB,cpu=4", "cpu=4"),
        ("ram=1XiB", "1XiB"),
        ("ram=1TiB,ram=2TiB", "given twice"),
        ("nodes=2", "missing"),
        ("ram=1GiB,hole=4GiB-3GiB", "ends before"),
        ("ram=1GiB,hole=1GiB-3GiB,hole=2GiB-4GiB", "overlap"),
        ("ram=1TiB,pmem=1GiB@1GiB", "overlaps"),
        ("ram=1TiB,pmem=1GiB", "SIZE@ADDRESS"),
        ("ram=1000", "page size"),
        ("ram=128TiB", "2\\^46"),
        ("ram=1TiB,nodes=0", "nodes"),
        ("ram=1TiB,kernel=vax", "vax"),
        ("ram=-1GiB", "-1GiB"),
        ("ram=1GiB,", "KEY=VALUE"),
        ("ram=9999999PiB", "2\\^63"),
    ],
)
def test_a_bad_spec_is_named(spec, says):
    with pytest.raises(InputError, match=says):
        Machine.load(spec)


def test_sizes_are_exact():
    assert parse_size("0.5KiB") == 512
    with pytest.raises(InputError, match="whole number"):
        parse_size("0.3KiB")


def test_an_unknown_architecture_or_page_size_is_said_aloud():
    iomem = "00000000-3fffffff : System RAM"
    assert any("taken as x86_64" in n for n in Machine.from_capture(Texts(arch=None, iomem=iomem)).notes)
    zoneinfo = (
        "Node 0, zone   Normal\n        spanned  16384\n        present  16384\n  start_pfn:           0\n"
    )
    machine = Machine.from_capture(Texts(arch="ppc64le", page_size=None, iomem=iomem, zoneinfo=zoneinfo))
    assert machine.kernel.page_size == 65536
    with pytest.raises(InputError, match="page size of 8192"):
        Machine.from_capture(Texts(page_size=8192, iomem=iomem))


def test_the_running_machine_agrees_with_its_own_counter():
    if not Path("/proc/iomem").exists():
        pytest.skip("no /proc/iomem")
    machine = Machine.live()
    if machine.counter is None:
        pytest.skip("this kernel has no memmap counters")
    assert machine.memmap_pages == sum(machine.counter)


def test_hot_removed_boot_sections_are_taken_off(tmp_path):
    shutil.copytree(data_dir() / "captures/ppc64le-64k-1g-radix-hotplug", tmp_path / "c")
    blocks = tmp_path / "c/sys-memory-blocks.txt"
    kept = [line for line in blocks.read_text().splitlines() if not line.startswith(("memory2", "memory3"))]
    blocks.write_text("\n".join(kept))
    machine = Machine.load(tmp_path / "c")
    assert (machine.nr_sections, machine.memmap_pages) == (32, 32)
    assert machine.ram_bytes == 512 << 20


def test_broken_page_flags_do_not_hide_where_ram_lies(tmp_path):
    (tmp_path / "iomem.txt").write_text("00000000-3fffffff : System RAM")
    (tmp_path / "kpageflags.npz").write_text("not a zip")
    machine = Machine.load(tmp_path)
    assert machine.nr_pages_ram == 1 << 18
    assert any("kpageflags.npz" in note for note in machine.notes)
