"""What one pfn's conversion touches: against trees built node by node, the kernel's answers, the captures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import InputError, KernelConfig, Machine, PfnSet
from workbench.model import designs, pfnmaps
from workbench.model.files import data_dir
from workbench.model.pfnmaps import ops
from workbench.model.pfnmaps.rhashtable import HASH_RND, nr_buckets
from workbench.model.pfnmaps.walks import Touch, nr_lines
from workbench.model.pfnmaps.xarray import slots_used, xa_load
from workbench.studies.walk import (
    CLASSIC,
    OPS,
    convert,
    landmarks,
    parse_pfn,
    parse_pfns,
    pinned_set,
    place_of,
    steps_table,
    vmemmap_of,
)

X86 = KernelConfig()
CAPTURES = sorted({str(file.parent.relative_to(data_dir() / "captures"))
                   for file in (data_dir() / "captures").rglob("*.txt")})


# A tree of dicts, grown entry by entry as lib/xarray.c does, to walk against.

def tree_of(entries):
    """Of (first, order). A node is {"shift": s, slot: a node, an entry or ("sibling", slot)}."""
    root = None
    for first, order in entries:
        shift, top = order - order % 6, first + (1 << order) - 1
        if root is None:
            if not top:
                root = (0, 0)
                continue
            root = {"shift": shift}
        elif isinstance(root, tuple):
            root = grown({"shift": 0, 0: root}, shift)
        while top >> root["shift"] + 6 or root["shift"] < shift:
            if len(root) == 1:  # empty so far: xas_expand() starts tall
                root["shift"] += 6
            else:
                root = grown(root, root["shift"] + 6)
        node = root
        while node["shift"] > shift:
            node = node.setdefault(first >> node["shift"] & 63, {"shift": node["shift"] - 6})
        slot = first >> shift & 63
        for sibling in range(slot, slot + (1 << order % 6)):
            node[sibling] = ("sibling", slot)
        node[slot] = (first, order)
    return root


def grown(root, shift):
    while root["shift"] < shift:
        root = {"shift": root["shift"] + 6, 0: root}
    return root


def loads_in(root, index):
    """(what each load gave, found) of a lookup in such a tree."""
    if not isinstance(root, dict):
        return ["head"], root is not None and index == 0
    seen = ["head", "shift"]
    if index >> root["shift"] + 6:
        return seen, False
    node = root
    while True:
        slot = index >> node["shift"] & 63
        seen.append(slot)
        at = node.get(slot)
        if isinstance(at, tuple) and at[0] == "sibling":
            seen.append(at[1])
            at = node[at[1]]
        if not isinstance(at, dict):
            return seen, at is not None
        node = at
        seen.append("shift")


def read(walk):
    return ["head" if t.what == "xa_head" else "shift" if t.what == "shift" else t.slot for t in walk.touches]


@given(st.sets(st.integers(0, 2**40 - 1), max_size=40), st.integers(0, 2**41), st.randoms())
def test_xa_load_reads_what_a_tree_grown_entry_by_entry_holds(pfns, other, random):
    order = sorted(pfns)
    random.shuffle(order)
    tree, held = tree_of([(pfn, 0) for pfn in order]), PfnSet.from_pfns(sorted(pfns))
    near = {pfn ^ bit for pfn in list(pfns)[:8] for bit in (1, 64, 1 << 17)}
    for pfn in {other, *pfns, *near}:
        walk = xa_load(held, pfn, X86)
        assert (read(walk), walk.found) == loads_in(tree, pfn)
        assert walk.found == (pfn in pfns)


@given(st.dictionaries(st.integers(0, 2**22), st.integers(0, 13), max_size=25), st.data())
def test_folios_end_a_walk_early_and_siblings_add_a_load(folios, data):
    kept, entries = PfnSet.empty(), []
    for place, order in folios.items():
        first = place >> order << order
        one = PfnSet.from_pfns([first], order=order)
        if not (kept & one):
            kept, entries = kept | one, [*entries, (first, order)]
    tree = tree_of(sorted(entries, key=lambda _: data.draw(st.integers(0, 99))))
    for first, order in entries:
        inside = data.draw(st.integers(first, first + (1 << order) - 1))
        for pfn in (inside, first + (1 << order)):
            walk = xa_load(kept, pfn, X86)
            assert (read(walk), walk.found) == loads_in(tree, pfn)


@given(st.sets(st.integers(0, 2**30), min_size=1, max_size=50))
def test_all_walks_together_pass_every_node_and_no_other(pfns):
    held = PfnSet.from_pfns(sorted(pfns))
    nodes = {touch.object for pfn in pfns for touch in xa_load(held, pfn, X86).touches
             if touch.shift is not None}
    counts = pfnmaps.get("xarray").counts(held, X86)
    assert len(nodes) == counts.nr_nodes
    assert {xa_load(held, pfn, X86).nr_loads for pfn in pfns} == {counts.dependent_loads}
    leaves = {touch.object for pfn in pfns for touch in pfnmaps.get("two_level").walk(held, pfn, X86).touches
              if touch.object.startswith("leaf")}
    assert len(leaves) == pfnmaps.get("two_level").counts(held, X86).nr_nodes


@given(st.sets(st.integers(0, 2**13), min_size=1, max_size=60), st.integers(0, 2**13),
       st.sampled_from([0, 6, 12]))
def test_slots_used_are_the_prefixes_below(pfns, pfn, shift):
    below = {member >> shift for member in pfns if member >> shift + 6 == pfn >> shift + 6}
    used = slots_used(PfnSet.from_pfns(sorted(pfns)), pfn, shift)
    assert [slot for slot in range(64) if used[slot]] == sorted(prefix & 63 for prefix in below)


def golden_cases():
    cases = json.loads((data_dir() / "golden" / "xarray_cases.json").read_text())["cases"]
    return [pytest.param(case, id=case["name"]) for case in cases if case["answer"]["loads"]
            and not ops.replay(case["ops"]).final.odd]  # pieces of ranges that are no folio have no PfnSet


@pytest.mark.parametrize("case", golden_cases())
def test_the_kernels_own_lookups_hit_where_ours_do(case):
    loads = {int(index): value for index, value in case["answer"]["loads"].items()}
    entries = ops.replay(case["ops"]).final
    for index, value in loads.items():
        assert xa_load(entries.aligned, index, X86, entries.root).found == (value != 0), index


def test_most_golden_loads_are_walked():
    assert sum(len(case.values[0]["answer"]["loads"]) for case in golden_cases()) > 50


def test_instructions_of_the_kernels_xa_load_grow_by_the_levels_that_we_walk():
    dense = PfnSet.from_ranges([(0, 4096)])
    walk = xa_load(dense, 4095, X86)
    assert [(t.what, t.byte, t.line) for t in walk.touches] == [
        ("xa_head", 8, 0), ("shift", 0, 0), ("slots[63]", 544, 8), ("shift", 0, 0), ("slots[63]", 544, 8)]
    assert nr_lines(walk.touches) == (5, 5)
    assert nr_lines(xa_load(dense, 1, X86).touches) == (3, 5)  # slots 0 and 1 may share the header's line


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 71).map(lambda n: 8 * n)), max_size=12))
def test_lines_are_those_of_the_worst_and_the_best_placement(reads):
    touches = [Touch(name, "", byte, "", stride=584) for name, byte in reads]
    each = []
    for name in {name for name, _ in reads}:
        each.append([len({(start * 584 + byte) // 64 for other, byte in reads if other == name})
                     for start in range(64)])
    assert nr_lines(touches) == (sum(map(min, each)), sum(map(max, each)))


# Other maps

@given(st.sets(st.integers(0, 4000), min_size=1, max_size=90), st.integers(0, 5000))
def test_every_map_finds_exactly_what_is_in_it(pfns, other):
    held = PfnSet.from_pfns(sorted(pfns))
    for name, one in pfnmaps.registry().items():
        for pfn in {other, min(pfns), max(pfns), max(pfns) + 1}:
            walk = one.walk(held, pfn, X86, span=6000)
            if walk is None:
                assert name == "maple"
                continue
            assert walk.found == (pfn in pfns), (name, pfn)
            if walk.found and name not in ("rhashtable", "sorted_array"):
                assert walk.nr_loads == one.counts(held, X86, span=6000).dependent_loads


@given(st.sets(st.integers(0, 2**34), min_size=1, max_size=200), st.integers(0, 2**34))
def test_a_sorted_array_is_halved_until_one_pair_is_left(pfns, other):
    held, array = PfnSet.from_pfns(sorted(pfns)), sorted(pfns)
    for pfn in {other, array[0], array[-1]}:
        walk = pfnmaps.get("sorted_array").walk(held, pfn, X86)
        low, size, probed = 0, len(array), []
        while size > 1:
            probed.append(low + size // 2)
            if array[low + size // 2] <= pfn:
                low += size // 2
            size -= size // 2
        probed += [low] if low not in probed else []
        assert [touch.slot for touch in walk.touches] == probed
        most = pfnmaps.get("sorted_array").counts(held, X86).dependent_loads
        assert walk.nr_loads <= most
    assert pfnmaps.get("sorted_array").walk(held, array[0], X86).nr_loads == most


def jhash2(pfn, seed):
    """jhash2() in plain integers, word by word, as include/linux/jhash.h writes it."""
    def rol(x, by):
        return (x << by | x >> 32 - by) & 0xFFFFFFFF
    a = b = c = 0xDEADBEEF + 8 + seed & 0xFFFFFFFF
    a, b = a + (pfn & 0xFFFFFFFF) & 0xFFFFFFFF, b + (pfn >> 32) & 0xFFFFFFFF
    for left, right, by in (("c", "b", 14), ("a", "c", 11), ("b", "a", 25), ("c", "b", 16), ("a", "c", 4),
                            ("b", "a", 14), ("c", "b", 24)):
        words = {"a": a, "b": b, "c": c}
        words[left] = (words[left] ^ words[right]) - rol(words[right], by) & 0xFFFFFFFF
        a, b, c = words["a"], words["b"], words["c"]
    return c


@given(st.sets(st.integers(0, 2**40), min_size=1, max_size=150), st.integers(0, 2**40))
def test_a_hash_walk_is_its_buckets_chain(pfns, other):
    held, buckets = PfnSet.from_pfns(sorted(pfns)), nr_buckets(len(pfns))
    for pfn in (other, max(pfns)):
        walk = pfnmaps.get("rhashtable").walk(held, pfn, X86)
        bucket = jhash2(pfn, HASH_RND) % buckets
        chain = sorted((p for p in pfns if jhash2(p, HASH_RND) % buckets == bucket), reverse=True)
        assert walk.touches[2].slot == bucket and not walk.exact
        assert walk.nr_loads == 3 + (chain.index(pfn) + 1 if pfn in pfns else len(chain))


def test_a_folio_has_one_descriptor_in_each_map_that_knows_folios():
    held = PfnSet.from_pfns([512, 2048], order=9)
    for name in ("xarray", "rhashtable", "sorted_array"):
        assert pfnmaps.get(name).walk(held, 700, X86).found
        assert not pfnmaps.get(name).walk(held, 1030, X86).found
    walk = xa_load(held, 700, X86)  # order 9: 8 slots at shift 6; 700 lies in the third of them
    assert [t.found for t in walk.touches[-2:]] == ["a sibling of slot 8", "the entry"]


# Conversions

PINNED = PfnSet.from_ranges([(0x1000, 0x1010), (0x30000, 0x30001)])
MACHINE = Machine.load("ram=1TiB,nodes=2,hole=3GiB-4GiB,device=128GiB@16TiB")


@pytest.mark.parametrize("name", list(designs.registry()))
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("pfn", [0x1003, 0x2000, 0x30000, (16 << 40) >> 12])
def test_loads_are_those_that_the_design_says(name, op, pfn):
    design, place = designs.get(name), place_of(pfn, MACHINE)
    for kind, one in pfnmaps.registry().items():
        found = convert(name, op, place, PINNED, kind)
        walk = one.walk(PINNED, pfn, X86, span=MACHINE.span)
        loads = walk.nr_loads if walk else one.counts(PINNED, X86, span=MACHINE.span).dependent_loads
        paths = {path.case: path for path in design.paths(MACHINE.kernel, loads) if path.op == op}
        want = "dynamic" if PINNED.contains([pfn])[0] and "dynamic" in paths else "static"
        assert found.case == want
        assert found.dependent_loads == paths[want].dependent_loads


@pytest.mark.parametrize("name", list(pfnmaps.registry()))
def test_every_load_of_the_two_proposals_has_its_line(name):
    for design in ("proxy_bit", "proxy_bit:indexed", "dynamic_page:flag", "dynamic_page:range"):
        for op in OPS:
            found = convert(design, op, place_of(0x1003, MACHINE), PINNED, name)
            if name == "maple" and any(step.in_map for step in found.steps):
                assert found.lines is None and not found.exact
            else:
                low, high = found.lines
                assert low <= high <= found.dependent_loads


def test_dynamic_page_reads_its_flags_and_in_the_second_line_its_pfn():
    found = convert("dynamic_page:flag", "page_to_pfn", place_of(0x1003, MACHINE), PINNED)
    touches = [step.touch for step in found.steps if step.touch]
    assert [(t.object, t.byte, t.line) for t in touches] == [("dynamic_page", 0, 0), ("dynamic_page", 72, 1)]
    assert found.lines == (2, 2)
    static = convert("dynamic_page:flag", "page_to_pfn", place_of(0x2000, MACHINE), PINNED)
    assert [(s.touch.object, s.touch.byte) for s in static.steps if s.touch] == [("vmemmap", 0x2000 * 64)]
    assert convert("static", "page_to_pfn", place_of(0x2000, MACHINE), PINNED).lines == (0, 0)


def test_a_proxys_pfn_lies_behind_its_page_pointer():
    found = convert("proxy_bit", "page_to_pfn", place_of(0x1003, MACHINE), PINNED)
    assert [(s.touch.object, s.touch.byte) for s in found.steps if s.touch] == [("page_proxy", 8)]


def test_classic_sparsemem_takes_three_and_four_loads():
    place = place_of(0x212345, MACHINE)
    to_page, to_pfn = (convert(CLASSIC, op, place, PINNED) for op in ("pfn_to_page", "page_to_pfn"))
    assert (to_page.dependent_loads, to_pfn.dependent_loads) == (3, 4)
    section = 0x212345 >> 15
    touches = [step.touch for step in to_pfn.steps if step.touch]
    assert touches[0].byte == (0x212345 & 0x7FFF) * 64
    assert (touches[2].byte, touches[3].byte) == (section // 256 * 8, section % 256 * 16)


def test_arithmetic_gives_the_pfn_again():
    place = place_of(0x12345, MACHINE)
    assert place.page_address() == 0xFFFFEA0000000000 + 0x12345 * 64
    (step,) = convert("static", "page_to_pfn", place, PINNED).steps
    assert f"{place.page_address():#x}" in step.gives and step.gives.endswith("pfn 0x12345")
    (step,) = convert("memdesc8", "pfn_to_page", place, PINNED).steps
    assert step.gives.endswith(f"{0xFFFFEA0000000000 + 0x12345 * 8:#x}")
    kaslr = place_of(0x12345, MACHINE, 0xFFFFD10000000000)
    assert kaslr.page_address() - place.page_address() == 0xFFFFD10000000000 - 0xFFFFEA0000000000


def test_arm64_counts_vmemmap_from_the_start_of_ram():
    machine = Machine.load("ram=1GiB,base=1GiB,kernel=arm64-4k")
    first = machine.regions[0].first_pfn
    assert place_of(first, machine).page_address() == machine.kernel.vmemmap_start
    assert vmemmap_of(Machine.load("ram=1GiB,kernel=s390")) is None


# Places

@pytest.mark.parametrize("name", CAPTURES)
def test_captures_sections_are_those_of_their_pfns(name):
    machine = Machine.load(name)
    kernel, sections = machine.kernel, set()
    for region in machine.regions:
        for pfn in (region.first_pfn, (region.first_pfn + region.end_pfn) // 2, region.end_pfn - 1):
            place = place_of(pfn, machine)
            assert place.region == region
            section = place.root * kernel.sections_per_root + place.in_root
            assert place.pfn == section * kernel.pages_per_section + place.in_section
            assert 0 <= place.subsection < kernel.subsections_per_section
            if region.kind in ("ram", "nomap"):
                assert place.is_valid and place.is_present
    start, end = machine.section_ranges
    for first, last in zip(start.tolist(), end.tolist(), strict=True):
        for section in {*range(first, min(last, first + 50)), last - 1}:
            assert place_of(section * kernel.pages_per_section, machine).is_present
        sections |= set(range(first, last))
        if last * kernel.pages_per_section < 1 << kernel.max_physmem_bits - kernel.page_shift:
            assert place_of(last * kernel.pages_per_section, machine).is_present == (last in start.tolist())
    assert len(sections) == machine.nr_sections
    for pfn in landmarks(machine, PfnSet.empty(), most=500).values():
        place = place_of(pfn, machine)
        if place.region is None:
            present = pfn >> kernel.pfn_section_shift in sections
            assert place.is_present == present
            assert place.is_valid == (present or place.has_device_memmap)


def test_a_hole_inside_a_present_section_has_struct_pages_and_a_missing_section_has_none():
    machine = Machine.load("debian-6.12-2g")
    vga = place_of(0xA0, machine)
    assert vga.kind == "hole" and vga.is_valid
    assert not place_of(machine.max_pfn + (1 << 20), machine).is_valid


def test_pmem_with_a_memmap_is_valid_and_device_memory_without_one_is_not():
    mapped = Machine.load("debian-6.12-4g-pmem-fsdax-ram")
    pmem = next(r for r in mapped.regions if r.memmap)
    assert place_of(pmem.first_pfn + (pmem.nr_pages >> 1), mapped).is_valid
    device = place_of((16 << 40) >> 12, MACHINE)
    assert (device.kind, device.is_valid) == ("device", False)
    assert any("no struct page" in note for note in convert("static", "pfn_to_page", device, PINNED).notes)
    used = PfnSet.from_pfns([device.pfn])
    assert convert("dynamic_page", "pfn_to_page", device, used).dependent_loads == 1 + 2 * 6
    assert convert("netmem", "page_to_pfn", device, used).case == "net_iov"


# Input

@pytest.mark.parametrize(("text", "pfn"), [
    ("0", 0), ("4096", 4096), ("0x10", 16), ("1_000_000", 1000000), ("64GiB", 1 << 24), ("@4096", 1),
    ("@0x100000000", 1 << 20), ("1.5GiB", 3 << 17), (" 0XFF ", 255), ("8192B", 2)])
def test_pfns_and_addresses_are_told_apart(text, pfn):
    assert parse_pfn(text, X86) == pfn


@pytest.mark.parametrize("text", ["", "-1", "ten", "0x", "0xZZ", "1e9", "64XiB", str(1 << 34), "1PiB",
                                  "@", "@-5", "1.5"])
def test_what_is_no_pfn_is_one_line(text):
    with pytest.raises(InputError) as error:
        parse_pfn(text, X86)
    assert "\n" not in str(error.value)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 40)), max_size=12))
def test_a_typed_list_is_the_union_of_its_ranges(pairs):
    text = ", ".join(f"{first}-{first + more:#x}" if more else str(first) for first, more in pairs)
    want = sorted({pfn for first, more in pairs for pfn in range(first, first + more + 1)})
    assert parse_pfns(text, X86).to_pfns().tolist() == want


@pytest.mark.parametrize("text", ["5-3", "1-2-3", "x", "1GiB-1GiB", "-"])
def test_a_typed_list_that_cannot_be_read_is_refused(text):
    with pytest.raises(InputError):
        parse_pfns(text, X86)


@given(st.integers(0, 300), st.sampled_from([1, 8, 64]), st.integers(0, 5))
def test_a_drawn_population_is_in_ram_and_comes_again(nr, run, seed):
    machine = Machine.load("ram=64MiB,hole=8MiB-9MiB")
    drawn = pinned_set(machine, nr_pinned=nr, run_pages=run, seed=seed)
    assert drawn.nr_pages == nr and not (drawn - machine.ram)
    assert drawn == pinned_set(machine, nr_pinned=nr, run_pages=run, seed=seed)


def test_a_table_has_every_step_and_its_loads_add_up():
    found = [convert(name, "pfn_to_page", place_of(0x1003, MACHINE), PINNED)
             for name in ("proxy_bit:indexed", "dynamic_page:flag", CLASSIC)]
    table = steps_table(found)
    loads = table.groupby("design", sort=False)["nr_loads"].sum()
    assert list(loads) == [one.dependent_loads for one in found]
    for _, rows in table.groupby("design"):
        assert list(rows["loads_before"]) == [0, *np.cumsum(rows["nr_loads"])[:-1]]


def test_landmarks_lie_on_the_machine():
    marks = landmarks(MACHINE, PINNED)
    kinds = {place_of(pfn, MACHINE).kind for pfn in marks.values()}
    assert kinds == {"ram", "hole", "device"}
    assert PINNED.contains([marks["first pinned"], marks["last pinned"]]).all()
