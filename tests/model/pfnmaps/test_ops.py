"""Ops files: the kernel's own answers, a slow XArray, and files that cannot be used."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.model import pfnmaps
from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.kernel.config import KernelConfig
from workbench.model.pfnmaps.ops import load_entries, read_ops, replay, verify, xas_set_range

X86 = KernelConfig()
GOLDEN = data_dir() / "golden" / "xarray_cases.json"
TOP = 2**64 - 1


def store(start, count=1, stride=1):
    return {"op": "store", "start": start, "count": count, "stride": stride}


def erase(start, count=1, stride=1):
    return {"op": "erase", "start": start, "count": count, "stride": stride}


def store_order(start, order, count=1):
    return {"op": "store_order", "start": start, "count": count, "stride": 1 << order, "order": order}


def store_range(first, last):
    return {"op": "store_range", "first": first, "last": last}


def nodes(*ops):
    return replay(ops).final.nodes_per_shift


def test_the_golden_file_passes_in_full():
    assert verify(GOLDEN) == {"cases": 61, "passed": 61, "failed": [], "differences": {}}


@pytest.mark.parametrize("key, value", [("nodes", 3), ("height", 9), ("root_entry", 1), ("per_shift", {}),
                                        ("occupancy", {}), ("bytes", 1), ("alloc_total", 0)])
def test_an_answer_that_is_not_ours_is_named(tmp_path, key, value):
    cases = json.loads(GOLDEN.read_text())["cases"][1:3]
    cases[1]["answer"]["checkpoints"]["final"][key] = value
    other = tmp_path / "cases.json"
    other.write_text(json.dumps({"cases": cases}))
    found = verify(other)
    assert (found["cases"], found["passed"], found["failed"]) == (2, 1, ["single_4095"])
    assert found["differences"]["single_4095"].startswith(f"final: {key} is")


def test_every_case_loads_for_every_map(tmp_path):
    case = tmp_path / "case.json"
    for golden in json.loads(GOLDEN.read_text())["cases"]:
        case.write_text(json.dumps(golden))
        entries, final = load_entries(case, X86), golden["answer"]["checkpoints"]["final"]
        for pfn_map in pfnmaps.registry().values():
            counts = entries.counts(pfn_map, X86)
            assert sum(counts.parts.values()) == counts.bytes
            if pfn_map.name == "xarray":
                assert (counts.nr_nodes, counts.height) == (final["nodes"], final["height"])


# A slow XArray after lib/xarray.c, slot by slot. Entries are [value]; siblings are offsets.

class PlainNode:
    def __init__(self, shift, parent, offset):
        self.shift, self.parent, self.offset, self.slots = shift, parent, offset, {}


class PlainXArray:
    """xas_create(), xas_store(), xas_shrink() and xa_store_range() of v6.12, one slot at a time."""

    def __init__(self):
        self.head = None

    def expand(self, reach):
        if self.head is None:
            shift = 0
            while reach >> shift >= 64:
                shift += 6
            return shift + 6 if reach else 0
        shift = self.head.shift + 6 if isinstance(self.head, PlainNode) else 0
        while reach > ((1 << shift) - 1 if isinstance(self.head, PlainNode) else 0):
            node = PlainNode(shift, None, 0)
            node.slots[0] = self.head
            if isinstance(self.head, PlainNode):
                self.head.parent = node
            self.head = node
            shift += 6
        return shift

    def descend(self, node, index):
        offset = index >> node.shift & 63
        while isinstance(node.slots.get(offset), int):
            offset = node.slots[offset]
        return offset

    def create(self, index, size, shift):
        reach = index
        if size > 1:
            reach |= size - 1
            reach += reach == size - 1
        at, node, offset = self.expand(reach), None, 0
        entry = self.head
        while at > shift:
            at -= 6
            if entry is None:
                new = PlainNode(at, node, offset)
                if node is None:
                    self.head = new
                else:
                    node.slots[offset] = new
                node = new
            elif isinstance(entry, PlainNode):
                node = entry
            else:
                break
            offset = self.descend(node, index)
            entry = node.slots.get(offset)
        return node, offset

    def store(self, index, slots, shift, value):
        """Store; the pages by which xa_store_range() goes on."""
        node, offset = self.create(index, slots << shift, shift)
        if node is None:
            self.head = [value]
            return 1
        if shift < node.shift:
            slots = 1
        node.slots[offset] = [value]
        for sibling in range(offset + 1, offset + slots):
            node.slots[sibling] = offset
        return slots << shift

    def erase(self, index):
        node, entry, offset = None, self.head, 0
        if not isinstance(entry, PlainNode):
            if index == 0:
                self.head = None
            return
        if index >> entry.shift + 6:
            return
        while isinstance(entry, PlainNode):
            node = entry
            offset = self.descend(node, index)
            entry = node.slots.get(offset)
        if entry is None:
            return
        del node.slots[offset]
        while isinstance(node.slots.get(offset + 1), int):
            offset += 1
            del node.slots[offset]
        while not node.slots:
            if node.parent is None:
                self.head = None
                return
            del node.parent.slots[node.offset]
            node = node.parent
        while node.parent is None and list(node.slots) == [0]:
            if not isinstance(node.slots[0], PlainNode) and node.shift:
                return
            self.head = node.slots[0]
            if not isinstance(self.head, PlainNode):
                return
            node = self.head
            node.parent = None

    def load(self, index):
        entry = self.head
        if isinstance(entry, PlainNode) and index >> entry.shift + 6:
            return 0
        if not isinstance(entry, PlainNode) and index:
            return 0
        while isinstance(entry, PlainNode):
            entry = entry.slots.get(self.descend(entry, index))
        return entry[0] if entry else 0

    def do(self, op):
        if op["op"] == "store_range":
            first, last = op["first"], op["last"]
            order = (last + 1 & -(last + 1)).bit_length() - 1
            self.create(last >> order << order, 1 << order, order - order % 6)
            while first <= last:
                low, high, shift = xas_set_range(first, last)
                first += self.store(low, high - low + 1 >> shift, shift, op["first"] + 1)
            return
        for nth in range(op["count"]):
            index = op["start"] + nth * op["stride"]
            if op["op"] == "erase":
                self.erase(index)
            elif op["op"] == "store":
                self.store(index, 1, 0, index + 1)
            else:
                self.store(index, 1 << op["order"] % 6, op["order"] - op["order"] % 6, nth + 1)

    def occupancy(self):
        found, todo = {}, [self.head]
        while todo:
            node = todo.pop()
            if isinstance(node, PlainNode):
                level = found.setdefault(node.shift, {})
                level[len(node.slots)] = level.get(len(node.slots), 0) + 1
                todo.extend(node.slots.values())
        return found


@st.composite
def op_lists(draw):
    bits = draw(st.sampled_from([5, 8, 13, 19, 31]))
    index = st.one_of(st.integers(0, 2**bits - 1), st.integers(0, 200),
                      st.integers(0, bits).map(lambda n: max(0, (1 << n) - 1)))
    count, stride = st.sampled_from([1, 1, 2, 5, 70]), st.sampled_from([1, 2, 3, 64, 65, 4096])
    single = st.builds(lambda op, start, nr, step: {"op": op, "start": start, "count": nr, "stride": step},
                       st.sampled_from(["store", "erase"]), index, count, stride)
    order = st.builds(lambda start, order, nr: store_order(start >> order << order, order, nr),
                      index, st.integers(0, bits), st.sampled_from([1, 1, 2, 5]))
    pair = st.builds(lambda a, b: store_range(min(a, b), max(a, b)), index, index)
    return draw(st.lists(st.one_of(single, single, order, pair), max_size=7))


@settings(max_examples=300, deadline=None)
@given(op_lists(), st.lists(st.integers(0, 2**13), max_size=5))
def test_replay_matches_a_plain_xarray(ops, probes):
    plain = PlainXArray()
    for op in ops:
        plain.do(op)
    done = replay(ops, probes=probes)
    assert done.final.occupancy == plain.occupancy()
    assert done.final.height == (plain.head.shift // 6 + 1 if isinstance(plain.head, PlainNode) else 0)
    assert done.loads == {index: plain.load(index) for index in probes}


def test_a_range_is_cut_as_xas_set_range_cuts_it():
    assert [xas_set_range(*cut) for cut in ((100, 127), (128, 10000), (4096, 10000), (8192, 10000))] == [
        (100, 127, 0), (128, 4095, 6), (4096, 8191, 12), (8192, 9983, 6)]
    entries = replay([store_range(100, 10000)]).final
    assert entries.nr_entries == 5
    assert entries.pfns.nr_pages == entries.slots.nr_pages == 9901
    sizes = [(last - first + 1) >> order for first, last, order in entries.pfns]
    assert entries.pfns.nr_entries == sum(sizes) > 5  # another map gets naturally aligned pieces


def test_an_op_inside_a_multi_index_entry_acts_on_the_whole():
    done = replay([store_order(512, 9), store(700), {"op": "checkpoint", "label": "stored"}, erase(600)],
                  probes=[512])
    assert done.checkpoints["stored"].nodes_per_shift == {6: 1}
    assert not done.final.slots and done.loads == {512: 0}
    assert replay([store_order(512, 9), store(700)], probes=[512, 1023]).loads == {512: 701, 1023: 701}


def test_a_larger_entry_replaces_what_it_covers():
    done = replay([store(0, 5000), store_order(0, 12)], track=True)
    assert done.final.nodes_per_shift == {0: 15, 6: 1, 12: 1}
    assert (done.allocated["final"], done.freed["final"]) == (82, 65)


def test_a_range_can_leave_the_root_taller_than_needed():
    late = store_range(2**18 - 10, 2**18 - 1)
    assert nodes(late) == {0: 1, 6: 1, 12: 1, 18: 1} != nodes(*[store(2**18 - 10, 10)])
    assert nodes(late, store(2**18), erase(2**18)) == {0: 1, 6: 1, 12: 1}  # xas_shrink() puts it right
    counts = replay([late]).final.counts(pfnmaps.get("xarray"), X86)
    assert (counts.nr_nodes, counts.height, counts.dependent_loads, counts.nr_entries) == (4, 4, 9, 1)


def test_bulk_ops_cost_extents_not_pages():
    everything = replay([store(5, 2**40), erase(2**30, 2**39), store_order(2**50, 9, 2**30)]).final
    assert everything.nr_entries == 2**40 - 2**39 + 2**30
    assert everything.aligned.nr_extents == 3


def test_runs_and_draws_are_stored():
    runs = {"op": "store_runs", "starts": [100, 0, 105], "lengths": [10, 4, 10]}
    final = replay([runs, {"op": "erase_runs", "starts": [2], "lengths": [100]}]).final
    assert list(final.aligned) == [(0, 1, 0), (102, 114, 0)]
    draw = {"op": "store_draw", "seed": 9002, "low": 0, "high": 4194304, "size": 1000, "n": 1000}
    assert replay([draw]).final.nr_nodes == 1656


def test_a_file_of_pfns_is_one_store_of_each(tmp_path):
    path = tmp_path / "pins.npy"
    np.save(path, np.array([4096, 0, 0, TOP], np.uint64))
    entries = load_entries(path, X86)
    assert (entries.nr_entries, entries.height) == (3, 11)
    np.save(path, np.empty(0, np.uint64))
    assert load_entries(path, X86).nr_nodes == 0


def test_a_list_an_object_and_a_case_are_all_ops_files(tmp_path):
    path = tmp_path / "ops.json"
    for content in ([store(1)], {"ops": [store(1)]}, {"name": "x", "ops": [store(1)], "answer": {}}):
        path.write_text(json.dumps(content))
        assert read_ops(path) == [store(1)]
        assert load_entries(path, X86).nodes_per_shift == {0: 1}


@pytest.mark.parametrize("op, message", [
    (store(-1), "start -1 is outside 0..2^64-1"),
    (store(2**64), "start 18446744073709551616 is outside"),
    (store(TOP, 2), "past 2^64-1"),
    (store(0, -1), "count -1 is outside"),
    (store(0, 2, 0), "stride 0 with count 2"),
    (store(0, 2**40, 2), "count 1099511627776 with stride 2 is too many"),
    (store(1.0), "start 1.0 is not an integer"),
    (store(True), "start True is not an integer"),
    (store("1"), "start '1' is not an integer"),
    (store_order(3, 9), "no multiples of an entry's 2^9 pages"),
    (store_order(0, 64), "order 64 is outside 0..63"),
    (store_range(5, 4), "range 5..4 is reversed"),
    (store_range(5, TOP), "never returns"),
    ({"op": "store", "start": 1}, "store has the keys start; it needs count, start, stride"),
    ({**store(1), "pfn": 1}, "and no others"),
    ({"op": "xa_store"}, "op 'xa_store' is none of store, erase"),
    ({"op": ["store"]}, "is none of"),
    ({}, "op None is none of"),
    (7, "7 is no object"),
    ({"op": "store_runs", "starts": [1], "lengths": []}, "lists of the same length"),
    ({"op": "store_runs", "starts": [TOP], "lengths": [2]}, "goes past 2^64-1"),
    ({"op": "store_runs", "starts": [-1], "lengths": [2]}, "start -1 is outside"),
    ({"op": "store_draw", "seed": 1, "low": 5, "high": 5, "size": 1}, "low 5 is not below high 5"),
    ({"op": "store_draw", "seed": 1, "low": 0, "high": 5, "size": 2**40}, "size 1099511627776 is outside"),
    ({"op": "store_draw", "seed": 1, "low": 0, "high": 5, "size": 1, "n": 2}, "not 2; another NumPy?"),
    ({"op": "store_draw", "seed": 1, "low": 0, "high": 5, "size": 1, "sha256_le_u64": "00"}, "not '00'"),
    ({"op": "checkpoint", "label": 1}, "label 1 is no text"),
    ({"op": "checkpoint", "label": "final"}, "label 'final' is taken"),
])
def test_an_op_that_cannot_be_done_is_named(tmp_path, op, message):
    path = tmp_path / "ops.json"
    path.write_text(json.dumps([store(1), op]))
    with pytest.raises(InputError) as caught:
        load_entries(path, X86)
    assert str(caught.value).startswith(f"{path}, op 2: ") and message in str(caught.value)


def pickled(path):
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def truncated(path):
    np.save(path, np.arange(100, dtype=np.uint64))
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("name, content, message", [
    ("x.json", b"[{", "is no JSON"), ("x.json", b"\xff\xfe\x00", "is no JSON"), ("x.json", b"", "is no JSON"),
    ("x.json", b"[" * 100_000, "is no JSON"), ("x.json", b"[" + b"9" * 10_000 + b"]", "is no JSON"),
    ("x.json", b"7", "no list of ops"), ("x.json", b'{"ops": 3}', "no list of ops"),
    ("x.npy", b"", "is no array"), ("x.npy", b"\x93NUMPY\x01\x00\xff", "is no array"),
    ("x.npy", truncated, "is no array"), ("x.npy", pickled, "is no array"),
    ("x.npy", b"PK\x03\x04", "is no array"),
    ("x.npy", lambda path: np.save(path, np.arange(4)), "holds int64 of shape (4,)"),
    ("x.npy", lambda path: np.save(path, np.zeros((2, 2), np.uint64)), "holds uint64 of shape (2, 2)"),
    ("x.npy", lambda path: np.save(path, np.zeros(3)), "holds float64"),
    ("x.json", None, "cannot be read"),
])
def test_a_file_that_holds_no_ops_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    if callable(content):
        content(path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_entries(path, X86)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"cases": [1]}', b"x", b'{"cases": [{"name": "a"}]}',
                                     b'{"cases": [{"name": "a", "ops": 1, "answer": {}}]}',
                                     b'{"cases": [{"name": "a", "ops": [], "answer": {"checkpoints": 3}}]}',
                                     b'{"cases": [{"name": "a", "ops": [], "answer": 3}]}',
                                     b'{"cases": [{"name": "a", "ops": [{"op": "store"}], "answer": {}}]}'])
def test_what_is_no_golden_file_is_refused(tmp_path, content):
    path = tmp_path / "cases.json"
    path.write_bytes(content)
    with pytest.raises(InputError):
        verify(path)
