"""The designs beside the first five: formulas by hand, the break-even table, page mixes."""

import shutil
from dataclasses import replace

import pytest

from workbench import InputError, KernelConfig, Machine, Scenario, evaluate
from workbench.model import designs
from workbench.model.designs import memdesc, netmem, page_ext
from workbench.model.designs.compound_devmap import dedup_pages
from workbench.model.files import data_dir
from workbench.model.kernel.structs import Struct
from workbench.model.memory.pagemix import ASSUMED, PageMix, mix_for

X86 = KernelConfig.preset("x86-64")
PRESETS = ["amd64_6.1", "amd64_6.12", "arm64_6.1", "microvm", "ppc64el"]


def test_every_design_of_the_contract_is_there():
    assert set(designs.names()) >= {
        "static", "hvo", "altmap", "compound_devmap", "proxy_bit", "dynamic_page", "lru_field", "foll_pin",
        "flag_side_table", "page_ext", "memdesc32", "memdesc16", "memdesc8", "netmem",
    }  # fmt: skip


BREAK_EVEN = {  # order: today, 32 + 80, 16 + 80, 8 + 80, in percent to three digits
    0: (1.563, 2.734, 2.344, 2.148), 1: (1.563, 1.758, 1.367, 1.172), 2: (1.563, 1.270, 0.879, 0.684),
    4: (1.563, 0.903, 0.513, 0.317), 9: (1.563, 0.785, 0.394, 0.199),
}  # fmt: skip


@pytest.mark.parametrize("order", BREAK_EVEN)
def test_the_break_even_table_to_the_digit(order):
    found = [
        memdesc.folio_percent(64, order, X86, 0),
        *(memdesc.folio_percent(n, order, X86) for n in (32, 16, 8)),
    ]
    # half a unit of the last digit: the table rounds 1.5625 up
    assert all(abs(a - b) <= 0.0005 + 1e-9 for a, b in zip(found, BREAK_EVEN[order], strict=True)), found


def test_break_even_orders():
    assert [memdesc.break_even_order(n, X86) for n in (32, 16, 8)] == [2, 1, 1]
    assert memdesc.break_even_order(64, X86) is None


@pytest.mark.parametrize(("name", "size"), [("memdesc32", 32), ("memdesc16", 16), ("memdesc8", 8)])
def test_memdesc_structs_have_the_sizes_of_the_plan(name, size):
    structs = designs.get(name).structs(X86)
    assert Struct.from_c(structs["memdesc_page"], kernel=X86, ms_extensions=True).size == size
    folio = Struct.from_c(structs["folio_desc"], kernel=X86)
    assert (folio.size, {m.name: m.offset for m in folio.members}["pfn"]) == (memdesc.FOLIO_BYTES, 64)


@pytest.mark.parametrize("preset", PRESETS)
def test_slab_and_page_table_descriptors_are_as_large_as_their_structs_today(preset):
    kernel = KernelConfig.preset(preset)
    assert Struct.from_kernel("slab", kernel).size == memdesc.SLAB_DESC_BYTES
    if not preset.endswith("6.1") and preset != "ppc64el":
        assert Struct.from_kernel("ptdesc", kernel).size == memdesc.PTDESC_BYTES


def test_memdesc_bytes_follow_the_mix_by_hand():
    """1 GiB: 8 bytes for each of 2^18 pages, 51 descriptors of 80 bytes in each slab page."""
    machine = Machine.load("ram=1GiB")
    row = evaluate(Scenario(machine=machine, design="memdesc8", mix="small anon"))
    mix, _ = mix_for(machine, "small anon")
    nr = sum(mix.nr_folios(kind) for kind in ("anon", "file", "shmem", "hugetlb"))
    assert row.parts["memmap"] == 2**18 * 8
    assert row.parts["folio descriptor objects"] == nr * 80
    assert (
        row.parts["folio descriptor objects"] + row.parts["folio descriptor slab waste"]
        == -(-nr // 51) * 4096
    )
    assert not row.exact


def test_the_captures_own_mix_is_exact():
    row = evaluate(Scenario(machine="microvm-24g-6.18", design="memdesc8"))
    assert row.exact
    folios = 31350 + 764  # anon, of the golden histogram
    assert row.parts["folio descriptor objects"] // 80 > folios


@pytest.mark.parametrize("name", ASSUMED)
def test_assumed_mixes_sum_to_the_machine(name):
    machine = Machine.load("ram=1TiB")
    mix, note = mix_for(machine, name)
    assert mix.nr_pages == machine.nr_pages_ram
    assert "assumed" in note


def test_shares_that_do_not_sum_are_refused():
    with pytest.raises(InputError, match="sum to 90"):
        PageMix.from_shares("odd", {"anon": {0: 90.0}}, 1000)
    with pytest.raises(InputError, match="anonymous"):
        PageMix.from_shares("odd", {"anonymous": {0: 100.0}}, 1000)
    with pytest.raises(InputError, match="nonesuch"):
        mix_for(Machine.load("ram=1TiB"), "nonesuch")


def test_compound_devmap_keeps_two_pages_of_each_memmap():
    assert (dedup_pages(2 << 20, X86), dedup_pages(1 << 30, X86)) == (2, 2)
    assert dedup_pages(2 << 20, KernelConfig.preset("arm64-4k")) == 8
    row = evaluate(
        Scenario(machine="ram=1GiB,pmem=1TiB@1TiB", design="compound_devmap", describe_device=True)
    )
    assert row.parts["device memmap"] == 2**19 * 2 * 4096
    gib = evaluate(
        Scenario(machine="ram=1GiB,pmem=1TiB@1TiB", design="compound_devmap:1G", describe_device=True)
    )
    assert gib.parts["device memmap"] == 2**10 * 2 * 4096


def test_altmap_takes_no_ram_and_says_what_it_takes_of_the_device():
    row = evaluate(Scenario(machine="ram=1GiB,pmem=1TiB@1TiB", design="altmap", describe_device=True))
    assert row.elsewhere == {"memmap on the device": 2**28 * 64}
    static = evaluate(Scenario(machine="ram=1GiB", design="static"))
    assert row.total_bytes == static.total_bytes
    captured = evaluate(Scenario(machine="debian-6.12-4g-pmem-fsdax-ram", design="altmap"))
    assert captured.elsewhere == {"memmap on the device": 2**19 * 64}
    assert "pmem memmap" not in captured.parts


def test_page_ext_is_16_bytes_a_page_and_doubles_mem_section():
    kernel = KernelConfig.preset("arm64-64k")
    assert page_ext.page_ext_bytes(3, kernel, 64) == 27 * 65536  # page_owner: 72 bytes, measured on a boot
    row = evaluate(Scenario(machine="ram=1TiB", design="page_ext"))
    assert row.parts["pin counts in page_ext"] == 16 * 2**28
    assert row.parts["section roots"] == 32768 + 64 * 4096


def test_netmem_is_64_bytes_for_each_bound_chunk():
    text = designs.get("netmem").structs(X86)["net_iov"]
    assert Struct.from_c(text, kernel=X86).size == netmem.NET_IOV_BYTES
    row = evaluate(
        Scenario(
            machine="ram=1GiB,device=1GiB@1TiB", design="netmem", describe_device=True, nr_device_used="25%"
        )
    )
    assert row.parts["net_iov"] == 2**16 * 64


def test_flag_side_table_needs_no_descriptors():
    base = Scenario(machine="ram=1TiB", nr_pinned=100000)
    table, dynamic = (
        evaluate(base.with_(design="flag_side_table")),
        evaluate(base.with_(design="dynamic_page")),
    )
    assert dynamic.total_bytes - table.total_bytes == sum(
        value for name, value in dynamic.parts.items() if name.startswith("dynamic_page")
    )


@pytest.mark.parametrize(
    ("preset", "freed"), [("x86-64", 7), ("riscv64", 7), ("arm64-4k", 0), ("s390", 0), ("ppc64-64k", 0)]
)
def test_hvo_is_there_for_some_architectures_only(preset, freed):
    from workbench.model.memory.memmap import hvo_freed_pages

    assert hvo_freed_pages(2 << 20, KernelConfig.preset(preset)) == freed


def test_pinned_ram_and_device_memory_in_use_add_up():
    base = Scenario(machine="ram=64GiB,device=64GiB@1TiB", describe_device=True)
    both = evaluate(base.with_(nr_pinned=1000, nr_device_used=5000))
    ram, device = evaluate(base.with_(nr_pinned=1000)), evaluate(base.with_(nr_device_used=5000))
    key = "dynamic_page objects"
    assert both.parts[key] == ram.parts[key] + device.parts[key] == 6000 * 80


def test_a_larger_descriptor_moves_the_break_even():
    assert memdesc.break_even_order(8, X86, folio_bytes=160) == 2
    machine = Machine.load("microvm-24g-6.18")
    rows = [evaluate(Scenario(machine=machine, design="memdesc8", folio_desc_bytes=n)) for n in (80, 96)]
    nr = rows[0].parts["folio descriptor objects"] // 80
    assert rows[1].parts["folio descriptor objects"] == nr * 96
    assert replace(machine).nr_sections == machine.nr_sections


@pytest.mark.parametrize(
    ("variant", "kept", "shared"), [("reserve2", 2, 0), ("reserve1", 1, 0), ("shared", 1, 1)]
)
def test_hvo_in_its_three_generations(variant, kept, shared):
    machine = Machine.load("debian-6.12-8g-hugetlb-hvo")
    static, hvo = (evaluate(Scenario(machine=machine, design=d)) for d in ("static", f"hvo:{variant}"))
    assert static.parts["memmap"] - hvo.parts["memmap"] == 1024 * (8 - kept) * 4096
    assert hvo.parts.get("shared tail pages", 0) == shared * 4096


@pytest.mark.parametrize(
    ("release", "generation"),
    [("5.10.223", "reserve2"), ("6.12.95", "reserve1"), ("7.2.13", "reserve1"), ("7.3.4", "shared")],
)
def test_the_release_decides_the_generation(release, generation):
    assert designs.get("hvo").generation(replace(X86, release=release)) == generation


def test_a_capture_anywhere_has_its_own_page_mix(tmp_path):
    """Not that of a shipped capture of the same name, nor a stand-in."""
    elsewhere = tmp_path / "debian-6.12-2g"
    shutil.copytree(data_dir() / "captures" / "microvm-24g-6.18", elsewhere)
    mix, note = mix_for(Machine.load(elsewhere))
    assert note == "" and mix.folios == mix_for(Machine.load("microvm-24g-6.18"))[0].folios
    assert mix_for(Machine.load("ram=1GiB"))[1] != ""
