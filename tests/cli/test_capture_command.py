"""Taking a capture: from fake trees that hold what shipped captures show, and from this machine."""

import ast
import errno
import io
import json
import os
import re
import resource
import signal
import stat
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from workbench import capture, cli
from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.kernel._btf import Btf
from workbench.model.memory.capture import load_capture
from workbench.model.memory.machine import Machine
from workbench.model.memory.pageflags import PageFlags
from workbench.model.scenario import Scenario, evaluate

FILE = Path(capture.__file__)
CAPTURES = data_dir() / "captures"
SHIPPED = sorted(str(path.parent.relative_to(CAPTURES)) for path in CAPTURES.rglob("kernel.txt"))
WITH_PAGES = ["debian-6.12-2g", "arm64-16k-3g-2node", "ppc64le-64k-3g-2node-radix"]
IS_ROOT = os.geteuid() == 0
root_only = pytest.mark.skipif(not IS_ROOT, reason="only root may read page flags, or become another user")


def put(tree, name, text):
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def fake_tree(tree, name, *, pages=False):
    """proc, sys and dev as the machine of a shipped capture had them."""
    shipped = load_capture(name)

    def text(part):
        found = shipped.text(part) or ""
        return "" if found.startswith("cat:") else found

    for part in ("iomem", "zoneinfo", "buddyinfo", "pagetypeinfo", "vmstat", "meminfo", "slabinfo"):
        if text(part):
            put(tree, f"proc/{part}", text(part))
    put(tree, "proc/sys/kernel/osrelease", f"{shipped.release}\n")
    put(tree, "proc/sys/kernel/arch", f"{shipped.arch}\n")
    put(tree, "proc/self/smaps", f"Size: 8 kB\nKernelPageSize: {shipped.page_size >> 10:8} kB\n")
    for part, path in (("hugetlb_optimize_vmemmap", "proc/sys/vm/hugetlb_optimize_vmemmap"),
                       ("memmap_on_memory", "sys/module/memory_hotplug/parameters/memmap_on_memory"),
                       ("memblock-memory", "sys/kernel/debug/memblock/memory")):
        if text(part):
            put(tree, path, text(part))
    memory, node = "sys/devices/system/memory", "sys/devices/system/node"
    for line in text("sys-memory-blocks").splitlines():
        if found := re.fullmatch(r"(\w+):(.*)", line):
            put(tree, f"{memory}/{found[1]}", found[2] + "\n")
            continue
        block, *_ = line.split()
        for key, value in re.findall(r"(\w+)=(.*?)(?= \w+=|$)", line):
            where = f"{memory}/{block}"
            put(tree, f"{where}/node{value}/x" if key == "node" else f"{where}/{key}", value + "\n")
    for line in text("sys-node").splitlines():
        path, value = line.split(":", 1)
        put(tree, f"{node}/{path}", value + "\n")
    for pool, nr, free in re.findall(r"^(\S+) nr=(\d+) free=(\d+)", text("hugepages"), re.M):
        put(tree, f"sys/kernel/mm/hugepages/{pool}/nr_hugepages", nr + "\n")
        put(tree, f"sys/kernel/mm/hugepages/{pool}/free_hugepages", free + "\n")
    for i, line in enumerate(text("nd-pfn").splitlines()):
        space, *fields = line.split()
        known = dict(field.split("=", 1) for field in fields)
        put(tree, f"sys/bus/nd/devices/{space}/mode", known.pop("mode") + "\n")
        for key, value in known.items():
            key = "mode" if key == "memmap" else key
            put(tree, f"sys/bus/nd/devices/pfn0.{i}/{key}", value + "\n")
            put(tree, f"sys/bus/nd/devices/pfn0.{i}/namespace", space + "\n")
    for line in text("sys-slab").splitlines():
        cache, *rest = line.split()
        if rest[0] == "->":
            (tree / "sys/kernel/slab").mkdir(parents=True, exist_ok=True)
            (tree / "sys/kernel/slab" / cache).symlink_to(rest[1])
        else:
            for field in rest:
                key, value = field.split("=", 1)
                put(tree, f"sys/kernel/slab/{cache}/{key}", f"{value} N0={value}\n")
    records = [f"6,{i},{int(sec)}{usec},-;{message}" for i, (sec, usec, message) in enumerate(
        re.findall(r"^\[ *(\d+)\.(\d{6})\] (.*)$", text("dmesg"), re.M))]
    records += ["5,9998,1000,-;Command line: root=/dev/secret", "14,9999,1000,-;Memory: said by user space"]
    put(tree, "dev/kmsg", "\n SUBSYSTEM=pci\n".join(records) + "\n")
    if pages:
        flags, counts = raw_pages(name)
        put(tree, "proc/kpageflags", flags.tobytes())
        put(tree, "proc/kpagecount", counts.tobytes())
    return tree


def raw_pages(name):
    """kpageflags and kpagecount as the kernel gives them: u64 from pfn 0 on."""
    known = PageFlags.load(name)
    flags = np.full(int(known.ram[-1, 1]), 1 << 20, np.uint64)  # nopage in the holes
    counts = np.zeros(flags.size, np.uint64)
    at = np.concatenate([np.arange(low, high) for low, high in known.ram.tolist()])
    flags[at] = known.values[known.codes]
    counts[at[known.mapped_at]] = known.mapcount
    return flags, counts


def numbers(machine):
    """All that a machine says, without its name, its notes and the names of its regions."""
    found = machine.to_dict()
    for key in ("name", "notes", "release"):
        del found[key]
    for region in found["regions"]:
        del region["name"]
    return found


def take(tree, out, **options):
    return capture.take(str(out), root=str(tree), **options)


@pytest.fixture
def tree(tmp_path):
    return fake_tree(tmp_path / "tree", "debian-6.12-8g-2node")


# -- one file, alone ---------------------------------------------------------------------------------------


def test_the_file_is_python_3_6_and_imports_the_standard_library_only():
    source = FILE.read_text()
    names = {alias.name for node in ast.walk(ast.parse(source, feature_version=(3, 6)))
             if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
    assert "annotations" not in source  # a future of 3.7
    assert not re.search(r"\.removesuffix|\.removeprefix|preadv|:=|compresslevel", source)


def test_it_runs_from_standard_input_without_any_package(tree):
    command = [sys.executable, "-I", "-S", "-", "--root", str(tree)]
    done = subprocess.run(command, stdin=FILE.open(), capture_output=True, check=True)
    assert b"iomem" in done.stderr
    with zipfile.ZipFile(io.BytesIO(done.stdout)) as archive:
        assert archive.testzip() is None
        assert json.loads(archive.read("manifest.json"))["arch"] == "x86_64"


# -- what it takes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scrub", [False, True], ids=["whole", "scrubbed"])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_captured_tree_is_the_same_machine_as_the_folder(name, scrub, tmp_path):
    fake_tree(tmp_path / "tree", name)
    found = take(tmp_path / "tree", tmp_path / "x.mmsnap", scrub=scrub)
    folder, loaded = load_capture(name), load_capture(tmp_path / "x.mmsnap")
    assert (loaded.arch, loaded.page_size) == (folder.arch, folder.page_size)
    assert numbers(Machine.from_capture(loaded)) == numbers(Machine.from_capture(folder))
    assert found["bytes"] == (tmp_path / "x.mmsnap").stat().st_size
    if not scrub:
        assert loaded.release == folder.release
        for part in ("iomem", "zoneinfo", "vmstat", "meminfo", "slabinfo", "pagetypeinfo"):
            assert loaded.text(part) == folder.text(part)  # byte for byte


def test_small_files_come_in_the_shipped_form(tmp_path):
    for name, parts in (("microvm-24g-6.18", ["sys-memory-blocks", "sys-slab"]),
                        ("debian-6.12-8g-hugetlb-hvo", ["sys-memory-blocks", "sys-node", "hugepages"]),
                        ("debian-6.12-4g-pmem-fsdax-ram", ["nd-pfn"]),
                        ("amd64-6g-hvo-1g", ["dmesg", "hugepages", "hugetlb_optimize_vmemmap"])):
        out = tmp_path / f"{name}.mmsnap"
        take(fake_tree(tmp_path / name, name), out)
        for part in parts:
            lines = [set(load_capture(which).text(part).splitlines()) for which in (out, name)]
            assert lines[0] == lines[1] or (part == "dmesg" and lines[0] <= lines[1]), part


@pytest.mark.parametrize("name", WITH_PAGES)
def test_page_flags_and_mapcounts_are_those_of_the_tree(name, tmp_path):
    found = take(fake_tree(tmp_path / "tree", name, pages=True), tmp_path / "x.mmsnap")
    assert found["parts"]["kpageflags"] == found["parts"]["kpagecount"] == "ok"
    flags, counts = raw_pages(name)
    again = PageFlags.load(str(tmp_path / "x.mmsnap"))
    at = np.concatenate([np.arange(low, high) for low, high in again.ram.tolist()])
    assert again.nr_pages == Machine.load(name).nr_pages_ram == at.size
    assert (again.values[again.codes] == flags[at]).all()
    assert (counts[at][again.mapped_at] == again.mapcount).all() and again.mapcount.sum() == counts[at].sum()
    assert again.types() == PageFlags.load(name).within(Machine.load(name).ram).types()
    npz = load_capture(tmp_path / "x.mmsnap").npz()
    assert npz.names == load_capture(name).npz().names  # member by member, as the shipped ones
    assert (np.diff(npz.read("flag_counts", kinds="i")) <= 0).all()


@pytest.mark.parametrize("nr_values", [256, 257, 3000])
def test_codes_take_two_bytes_where_one_is_too_few(nr_values, tree):
    nr = 300_000
    flags = (np.arange(nr, dtype=np.uint64) * nr_values // nr) << np.uint64(3)
    put(tree, "proc/kpageflags", flags.tobytes())
    put(tree, "proc/kpagecount", (flags >> np.uint64(3) << np.uint64(10)).tobytes())
    reader = capture.PageReader(capture.Root(str(tree)), [(5, 131_080), (200_000, 1 << 40)])
    reader.read()
    with np.load(io.BytesIO(reader.npz({"page_size": 4096}))) as npz:
        assert npz["ram"].tolist() == [[5, 131_080], [200_000, nr]]
        at = np.r_[5:131_080, 200_000:nr]
        assert npz["flag_code"].dtype == (np.uint8 if len(np.unique(flags[at])) <= 256 else np.uint16)
        assert (npz["flag_values"][npz["flag_code"]] == flags[at]).all()
        positions = np.cumsum(npz["mapcount_idx"], dtype=np.int64)
        wanted = np.minimum(flags[at] >> np.uint64(3) << np.uint64(10), 0xFFFF)
        assert (positions == np.flatnonzero(wanted)).all()
        assert (npz["mapcount"] == wanted[positions]).all()
        assert json.loads(str(npz["meta"])) == {"page_size": 4096}


def test_layouts_from_btf_are_those_that_ship():
    source = Path("/sys/kernel/btf/vmlinux")
    if not source.exists():
        pytest.skip("this kernel shows no BTF")
    found, reference = capture.Btf(source.read_bytes()).layouts(), Btf.load(source)
    assert {"page", "folio", "xa_node", "mem_section"} <= set(found["structs"])
    for name, layout in found["structs"].items():
        known = reference.struct(name)
        rows = [(m.name, m.type, m.offset, m.size, m.bit_offset, m.bit_size) for m in known.members]
        assert layout["size"] == known.size and [
            (m["name"], m["type"], m["off"], m["size"], m.get("bit_offset"), m.get("bits"))
            for m in layout["members"]] == rows
    assert found["enums"]["pageflags"] == reference.enum("pageflags")
    assert not set(found["absent"]) & set(found["structs"])


def test_bit_fields_of_older_btf_lie_where_their_integer_type_says():
    strings = b"\0page\0a\0int\0"
    words = [8, 1 << 24, 4, 1 << 16 | 3,  # int, 3 bits from bit 1 on
             1, 4 << 24 | 1, 4, 6, 1, 5]  # struct page: member a at bit 5
    types = struct.pack(f"={len(words)}I", *words)
    head = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    blob = head + types + strings
    (row,) = capture.Btf(blob).layouts()["structs"]["page"]["members"]
    (known,) = Btf.load(blob).struct("page").members
    assert (row["bit_offset"], row["bits"]) == (known.bit_offset, known.bit_size) == (6, 3)


def test_page_flags_are_read_where_the_best_source_says_ram_is():
    blocks = "block_size_bytes:8000000\nmemory1 phys_index=00000001 state=online\n"
    zeros = "00000000-00000000 : System RAM\n"
    assert capture.pfn_ranges(zeros, blocks, 4096, "x86_64") == [(0x8000, 0x10000)]
    assert capture.pfn_ranges("", "", 4096, "x86_64") == [(0, 1 << 52)]
    iomem = "00001000-00001fff : reserved\n00001800-000047ff : System RAM\n"  # half pages do not count
    assert capture.pfn_ranges(iomem, blocks, 4096, "x86_64") == [(2, 4)]
    assert capture.pfn_ranges(iomem, blocks, 4096, "aarch64") == [(1, 4)]


def test_the_log_holds_neither_the_command_line_nor_what_users_wrote(tree, tmp_path):
    fake_tree(tree, "amd64-6g-hvo-1g")
    take(tree, tmp_path / "x.mmsnap")
    log = load_capture(tmp_path / "x.mmsnap").text("dmesg")
    assert "Early memory node ranges" in log and "secret" not in log and "user space" not in log


# -- what is missing ---------------------------------------------------------------------------------------


def test_each_missing_part_has_its_reason(tree, tmp_path, monkeypatch):
    (tree / "proc/iomem").unlink()
    os.mkfifo(tree / "proc/iomem")  # would wait for ever
    os.truncate(tree / "proc/zoneinfo", capture.LIMIT_BYTES + 1)
    put(tree, "proc/kpageflags", b"1234567")
    put(tree, "sys/kernel/btf/vmlinux", b"\x9f\xeb\1\0" + b"\xff" * 60)
    monkeypatch.setattr(capture, "LIMIT_SECONDS", 2)
    monkeypatch.setattr(capture, "nodes", lambda root: time.sleep(20))
    parts = take(tree, tmp_path / "x.mmsnap")["parts"]
    assert parts["iomem"] == "not a regular file"
    assert parts["zoneinfo"] == f"too large: more than {capture.LIMIT_BYTES} bytes"
    assert parts["kpageflags"] == parts["kpagecount"] == "empty: no pfn of RAM is in it"
    assert parts["slabinfo"] == parts["sys-slab"] == "absent"
    assert parts["btf-structs.json"] != "ok"
    assert parts["vmstat.end"] == "ok"


def test_a_part_that_takes_too_long_is_given_up():
    taker = capture.Collector()
    start = time.monotonic()
    taker.take("x", "x.txt", lambda: time.sleep(20) or b"", seconds=0.05)
    assert taker.parts["x"].status == "too slow: more than 0.05 s" and time.monotonic() - start < 10
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_a_capture_says_what_it_cannot_answer(tree, tmp_path):
    iomem = re.sub(r"[0-9a-f]+(?=[- ])", "00000000", (tree / "proc/iomem").read_text())
    put(tree, "proc/iomem", re.sub(r"^( *)\S+ : ", r"\g<1>00000000-00000000 : ", iomem, flags=re.M))
    take(tree, tmp_path / "x.mmsnap")
    loaded = load_capture(tmp_path / "x.mmsnap")
    lacks = {lack.part: lack for lack in loaded.missing()}
    assert lacks["iomem"].reason.startswith("addresses hidden") and "persistent" in lacks["iomem"].unanswered
    assert lacks["kpageflags"].reason == "absent" and "page types" in str(lacks["kpageflags"])
    assert "vmstat" not in lacks and "nd-pfn" not in lacks
    machine = Machine.from_capture(loaded)
    assert any("without iomem" in note for note in machine.notes)
    assert machine.source == "memory blocks" and machine.memmap_pages == sum(machine.counter)
    with pytest.raises(InputError, match=r"no page flags \(absent\) when the capture was taken"):
        PageFlags.load(loaded)


@pytest.mark.parametrize("root", [False, True])
def test_a_refused_part_says_whether_root_would_help(root, tmp_path):
    hint = "EACCES; even as root" if root else "EACCES; root may read it"
    manifest = {"root": root, "parts": {"kpageflags": {"file": "pages.npz", "status": "EACCES"}}}
    with zipfile.ZipFile(tmp_path / "x.mmsnap", "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
    loaded = load_capture(tmp_path / "x.mmsnap")
    assert {lack.part: lack.reason for lack in loaded.missing()}["kpageflags"] == hint
    with pytest.raises(InputError) as caught:
        loaded.npz()
    assert ("sudo" in str(caught.value)) is not root


@pytest.mark.parametrize("bad", ['{"parts": []}', '{"parts": {"iomem": 7}}',
                                 '{"parts": {"iomem": {"status": 7}}}'],
                         ids=["parts", "part", "status"])
def test_a_manifest_of_another_shape_hides_nothing(bad, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.mmsnap", "w") as archive:
        archive.writestr("manifest.json", bad)
    assert "kpageflags" in {lack.part for lack in load_capture(tmp_path / "x.mmsnap").missing()}


def test_an_older_capture_lists_its_gaps_too():
    lacks = {lack.part: lack.reason for lack in load_capture("debian-6.12-2g").missing()}
    assert lacks["slabinfo"] == "not in the capture" and "kpageflags" not in lacks and "iomem" not in lacks


def test_memory_that_comes_meanwhile_is_noticed(tree, tmp_path, monkeypatch):
    def hotplug(root):
        put(tree, "sys/devices/system/memory/memory4000/phys_index", "00000fa0\n")
        return "node0/cpulist:0\n"

    monkeypatch.setattr(capture, "nodes", hotplug)
    assert take(tree, tmp_path / "x.mmsnap")["changed"] == ["sys-memory-blocks"]
    assert any("came or went" in note for note in Machine.load(tmp_path / "x.mmsnap").notes)


def test_the_build_s_own_sizes_are_used(tree, tmp_path):
    def with_layouts(text):
        take(tree, tmp_path / "x.mmsnap", force=True)
        with zipfile.ZipFile(tmp_path / "x.mmsnap", "a") as archive:
            archive.writestr("btf-structs.json", text)
        return Machine.load(tmp_path / "x.mmsnap")

    patched, plain = with_layouts('{"sizes": {"page": 96}}'), Machine.load("debian-6.12-8g-2node")
    assert patched.kernel.sizeof_page == 96 and patched.memmap_pages * 2 == plain.memmap_pages * 3
    for bad in ('{"sizes": {"page": "64"}}', '{"sizes": {"page": 0}}', "[]", "{"):
        with pytest.raises(InputError, match=r"btf-structs\.json"):
            with_layouts(bad)


# -- scrubbing ---------------------------------------------------------------------------------------------


def test_scrubbing_leaves_no_name_of_a_device_a_module_or_a_build(tmp_path):
    tree = fake_tree(tmp_path / "tree", "h100-128g-6.18")
    put(tree, "proc/sys/kernel/osrelease", "6.18.44-acme-prod7\n")
    put(tree, "proc/slabinfo", (tree / "proc/slabinfo").read_text()
        + "dentry(99:docker-abc)   1 1 192 21 1 : tunables 0 0 0 : slabdata 1 1 0\n")
    take(tree, tmp_path / "x.mmsnap", scrub=True)
    loaded = load_capture(tmp_path / "x.mmsnap")
    text = "\n".join(loaded.text(part) for part in loaded.parts if not part.endswith(".npz"))
    for word in ("nvidia", "virtio", "0000:00", "PCI Bus", "btrfs", "xfs", "acme", "docker"):
        assert word not in text, word
    assert "PCI device 0" in text and loaded.release == "6.18.44"
    (device,) = [r for r in Machine.from_capture(loaded).regions if r.kind == "device"]
    assert device.name == "PCI BAR of PCI device 0" and device.nr_pages << 12 == 128 << 30
    before, after = (
        evaluate(Scenario(machine=machine, design="dynamic_page", describe_device=True, nr_device_used="10%",
                          nr_pinned="0.1%")).parts
        for machine in (Machine.load("h100-128g-6.18"), Machine.from_capture(loaded)))
    assert before == after


def test_a_scrubbed_range_that_a_driver_holds_is_no_free_device_memory():
    iomem = ("00000000-3fffffff : System RAM\n  01000000-01ffffff : Kernel code\n"
             "100000000-7ffffffff : PCI Bus 0000:00\n"
             "  100000000-1ffffffff : 0000:00:06.0\n    100000000-1ffffffff : acme_gpu\n"
             "  200000000-2ffffffff : 0000:00:07.0\n  300000000-3000fffff : 0000:00:06.0\n")
    assert capture.scrub_iomem(iomem).splitlines() == [
        "00000000-3fffffff : System RAM", "  01000000-01ffffff : Kernel code", "100000000-7ffffffff : device",
        "  100000000-1ffffffff : PCI device 0", "    100000000-1ffffffff : device",
        "  200000000-2ffffffff : PCI device 1"]


def test_scrubbed_slab_names_agree_in_both_lists(tmp_path):
    tree = fake_tree(tmp_path / "tree", "microvm-24g-6.18")
    take(tree, tmp_path / "x.mmsnap", scrub=True)
    plain, scrubbed = load_capture("microvm-24g-6.18"), load_capture(tmp_path / "x.mmsnap")

    def rows(which, part):
        return [line.split(maxsplit=1) for line in which.text(part).splitlines() if line[0] != "#"][1:]

    new = {}
    for part in ("slabinfo", "sys-slab"):
        for (old, rest), (name, again) in zip(rows(plain, part), rows(scrubbed, part), strict=True):
            assert new.setdefault(old, name) == name and (rest == again or rest.startswith("-> "))
    assert new["vm_area_struct"] == "vm_area_struct" and re.fullmatch(r"cache-\d+", new["btrfs_delayed_node"])
    assert len(set(new.values())) == len(new)


@pytest.mark.parametrize(("release", "left"), [
    ("6.12.95+deb12-amd64", "6.12.95+deb12"), ("5.14.0-503.el9.acme.x86_64", "5.14.0"),
    ("6.8.0-31-generic", "6.8.0-31"), ("acme", ""), ("6.18.44", "6.18.44")])
def test_a_scrubbed_release_keeps_its_version(release, left):
    assert capture.scrub_release(release) == left


# -- writing -----------------------------------------------------------------------------------------------


def run(*args, **options):
    return subprocess.run([sys.executable, str(FILE), *map(str, args)], capture_output=True, text=True,
                          check=False, **options)


def refused(done, words):
    *parts, last = done.stderr.splitlines()
    assert done.returncode == 2 and words in last and "Traceback" not in done.stderr
    return parts


def test_what_exists_is_refused_and_force_replaces_only_regular_files(tree, tmp_path):
    out = tmp_path / "x.mmsnap"
    out.write_text("mine")
    assert not refused(run("--root", tree, out), "exists; --force replaces it")  # before any work
    assert out.read_text() == "mine"
    assert run("--root", tree, "--force", out).returncode == 0 and zipfile.is_zipfile(out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    target = tmp_path / "target"
    target.write_text("theirs")
    for link, to in ((tmp_path / "link", target), (tmp_path / "dangling", tmp_path / "nowhere")):
        link.symlink_to(to)
        refused(run("--root", tree, "--force", link), "is a symbolic link, which is not followed")
    os.mkfifo(tmp_path / "pipe")
    for place in ("pipe", "tree"):
        refused(run("--root", tree, "--force", tmp_path / place), "is no regular file")
    refused(run("--root", tree, tmp_path / "none/x.mmsnap"), "No such file or directory")
    refused(run("--root", tmp_path, tmp_path / "y.mmsnap"), "holds no proc")
    refused(run("--root", tree, f"{tmp_path}/"), "names no file")
    assert target.read_text() == "theirs" and not (tmp_path / "nowhere").exists()
    assert not list(tmp_path.glob(".*"))


def test_what_somebody_else_made_meanwhile_stays(tmp_path, monkeypatch):
    out = tmp_path / "x.mmsnap"
    monkeypatch.setattr(os, "fsync", lambda fd: out.write_text("theirs"))
    with pytest.raises(capture.CannotWrite, match="exists"):
        capture.write(b"ours", str(out))
    check_name = capture._check_name
    monkeypatch.setattr(capture, "_check_name", lambda *args: None)  # in the moment after the check
    with pytest.raises(FileExistsError):
        capture.write(b"ours", str(out))
    monkeypatch.setattr(capture, "_check_name", check_name)
    assert out.read_text() == "theirs" and list(tmp_path.iterdir()) == [out]


def test_a_link_laid_where_the_hidden_file_goes_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "urandom", bytes)  # as if somebody had guessed it
    (tmp_path / f".x.mmsnap.{'00' * 6}.part").symlink_to(tmp_path / "target")
    (tmp_path / "target").write_text("theirs")
    with pytest.raises(FileExistsError):
        capture.write(b"ours", str(tmp_path / "x.mmsnap"))
    assert (tmp_path / "target").read_text() == "theirs" and not (tmp_path / "x.mmsnap").exists()


def test_a_filesystem_without_links_gets_a_rename(tmp_path, monkeypatch):
    def no_links(*_args, **_options):
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    capture.write(b"ours", str(tmp_path / "x.mmsnap"))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"ours"]


@root_only
def test_root_refuses_a_folder_where_others_could_swap_the_file(tree, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    refused(run("--root", tree, folder / "x.mmsnap"), "everybody may write to this folder and it is not")
    folder.chmod(0o1777)
    environment = {**os.environ, "SUDO_UID": "65534"}
    assert run("--root", tree, folder / "x.mmsnap", env=environment).returncode == 0
    assert (folder / "x.mmsnap").stat().st_uid == 65534


def test_a_full_disk_is_one_line_and_leaves_nothing(tree, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    refused(run("--root", tree, folder / "x.mmsnap", preexec_fn=small_files), "File too large")
    assert not list(folder.iterdir())
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, str(FILE), "--root", str(tree)], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)
    refused(done, "No space left on device")


@pytest.mark.parametrize(("call", "nth"), [("pread", 7), ("write", 1), ("fsync", 1), ("link", 1)])
def test_killed_while_reading_or_writing_there_is_no_half_file(call, nth, tree, tmp_path):
    put(tree, "proc/kpageflags", "")
    os.truncate(tree / "proc/kpageflags", 64 << 21)  # of 64 GiB
    (tree / "proc/iomem").unlink()
    folder = tmp_path / "out"
    folder.mkdir()
    out = folder / "x.mmsnap"
    code = ("import itertools, os, runpy, sys\n"
            f"calls, real = itertools.count(1), os.{call}\n"
            f"def die(*a, **k): return os.kill(os.getpid(), 9) if next(calls) == {nth} else real(*a, **k)\n"
            f"os.{call} = die\n"
            "sys.argv.insert(1, '--root')\n"
            f"runpy.run_path({str(FILE)!r}, run_name='__main__')")
    command = [sys.executable, "-c", code, str(tree), str(out)]
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL and not out.exists()
    assert len(list(folder.iterdir())) == (call != "pread")  # the hidden one, if it had begun to write
    assert run("--root", tree, out).returncode == 0
    assert PageFlags.load(str(out)).types()


def test_a_large_machine_takes_little_memory(tree, tmp_path):
    nr_pages = 1 << 24  # 64 GiB
    with (tree / "proc/kpageflags").open("wb") as file:
        rows = np.random.default_rng(1).choice([0x400, 0x5828, 0x68, 0x80], 1 << 16).astype(np.uint64)
        for at in range(0, nr_pages, 1 << 20):
            file.seek(8 * at)
            file.write(rows.tobytes())
        file.truncate(8 * nr_pages)
    (tree / "proc/iomem").write_text(f"00000000-{(nr_pages << 12) - 1:x} : System RAM\n")
    code = ("import runpy, sys; sys.argv.insert(1, '--root')\n"
            f"try: runpy.run_path({str(FILE)!r}, run_name='__main__')\n"
            "except SystemExit: print(open('/proc/self/status').read())")
    done = subprocess.run([sys.executable, "-c", code, str(tree), str(tmp_path / "x")], capture_output=True,
                          text=True, check=True)
    assert int(re.search(r"VmHWM:\s+(\d+) kB", done.stdout)[1]) << 10 < 100 << 20
    assert PageFlags.load(str(tmp_path / "x")).nr_pages == nr_pages


# -- the command -------------------------------------------------------------------------------------------


def test_the_command_prints_one_json_document(tree, tmp_path, capsys):
    out = str(tmp_path / "x.mmsnap")
    assert cli.main(["capture", out, "--root", str(tree), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parts"]["iomem"] == "ok" and found["parts"]["slabinfo"] == "absent"
    assert found["bytes"] == Path(out).stat().st_size and found["seconds"] >= 0
    assert cli.main(["capture", out, "--root", str(tree)]) == 2
    assert capsys.readouterr().err.splitlines() == [f"workbench capture: {out}: exists; --force replaces it"]
    assert cli.main(["capture", out, "--root", str(tree), "--force", "--scrub"]) == 0
    assert "kpageflags" in capsys.readouterr().out
    assert cli.main(["pages", out]) == 2
    assert "no page flags (absent) when the capture was taken" in capsys.readouterr().err


def test_alone_it_wants_a_place_for_its_bytes(tree):
    refused(run("--json", "--root", tree), "name a file")
    refused(run("--nonsense"), "unrecognized arguments")
    master, terminal = os.openpty()
    try:
        done = subprocess.run([sys.executable, str(FILE), "--root", str(tree)], stdout=terminal,
                              stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(master)
        os.close(terminal)
    refused(done, "name a file, or send standard output to one")


# -- this machine ------------------------------------------------------------------------------------------


def as_nobody(work):
    """Run it in a child that has become another user; its exit status."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check_live(path, *, root):
    loaded = load_capture(path)
    machine = Machine.from_capture(loaded)
    assert loaded.manifest()["root"] is root
    if machine.counter:
        assert machine.memmap_pages == sum(machine.counter)
    return loaded, {lack.part for lack in loaded.missing()}


@root_only
def test_as_root_this_machine_gives_the_kernel_s_own_memmap_pages(tmp_path):
    found = capture.take(str(tmp_path / "x.mmsnap"))
    loaded, missing = check_live(tmp_path / "x.mmsnap", root=True)
    if found["parts"]["kpageflags"] == "ok":
        ram = Machine.from_capture(loaded).ram
        assert PageFlags.load(loaded).within(ram).nr_pages == ram.nr_pages
        assert "kpageflags" not in missing


def test_without_root_too(tmp_path):
    folder = tmp_path / "nobody"
    folder.mkdir()
    path = folder / "x.mmsnap"
    if IS_ROOT:
        with path.open("wb") as stream:
            assert as_nobody(lambda: capture.take(stream=stream)) == 0
    else:
        capture.take(str(path))
    loaded, missing = check_live(path, root=False)
    assert {"kpageflags", "kpagecount", "slabinfo"} <= missing
    with pytest.raises(InputError, match=r"take the capture with sudo|absent"):
        PageFlags.load(loaded)
