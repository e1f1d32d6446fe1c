"""Captures as folders and zips, inheritance, and inputs made to do harm."""

import io
import json
import os
import shutil
import stat
import struct
import zipfile
import zlib

import pytest

from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.memory.capture import MAX_TEXT_BYTES, load_capture

CAPTURES = data_dir() / "captures"
SHIPPED = sorted(str(path.parent.relative_to(CAPTURES)) for path in CAPTURES.rglob("kernel.txt"))
MANIFEST = {"format": 1, "release": "6.12.95", "arch": "aarch64", "page_size": 16384}


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refused(path, rule):
    with pytest.raises(InputError, match=rule) as caught:
        load_capture(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_capture_says_what_it_is(name):
    capture = load_capture(name)
    folder = CAPTURES / name
    release, arch = (folder / "kernel.txt").read_text().split()
    assert (capture.name, capture.release, capture.arch) == (name, release, arch)
    assert capture.page_size == (65536 if "64k" in name else 16384 if "16k" in name else 4096)
    for file in folder.glob("*.txt"):
        part = file.name.removesuffix(".txt")
        assert capture.text(part) == file.read_text()
        assert capture.where(part) == str(file)
        assert part in capture and part not in capture.inherited
    assert set(capture.npz_names) == {file.name for file in folder.glob("*.npz")}
    assert load_capture(folder).parts == capture.parts


def test_root_and_user_iomem_are_two_parts():
    capture = load_capture("microvm-24g-6.18")
    assert "System RAM" in capture.text("iomem")
    assert set(capture.text("iomem.nonroot").split("-")[0]) == {"0"}


def test_a_later_snapshot_inherits_texts_but_no_page_flags():
    later = load_capture("amd64-6g-hvo-1g/after-free")
    first = load_capture("amd64-6g-hvo-1g")
    assert later.inherited == {"dmesg", "getconf"}
    assert later.text("dmesg") == first.text("dmesg") and later.where("dmesg") == first.where("dmesg")
    assert later.text("vmstat") != first.text("vmstat")
    assert later.npz_names == ()
    with pytest.raises(InputError, match="no page flags"):
        later.npz()


def test_only_the_parent_is_inherited_from_and_only_if_it_is_a_capture(tmp_path):
    for folder, part in (("", "dmesg"), ("a", "kernel"), ("a/b", "vmstat"), ("other/c", "vmstat")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / f"{part}.txt").write_text(folder)
    (tmp_path / "a" / "page-types.txt").write_text("of another moment")
    assert load_capture(tmp_path / "a" / "b").parts == ("kernel", "vmstat")
    assert load_capture(tmp_path / "a").parts == ("kernel", "page-types")  # its parent has no kernel or iomem
    assert load_capture(tmp_path / "other" / "c").parts == ("vmstat",)
    assert load_capture("debian-6.12-states/before").inherited == frozenset()


def test_a_relative_path_inherits_too(tmp_path, monkeypatch):
    shutil.copytree(CAPTURES / "amd64-6g-hvo-1g", tmp_path / "boot")
    monkeypatch.chdir(tmp_path / "boot" / "after-free")
    assert load_capture(".").page_size == 4096
    assert load_capture(".").name == "after-free"


def test_several_page_flag_files_go_by_label():
    capture = load_capture("h100-128g-6.18")
    assert capture.npz_names == ("kpageflags.before.npz", "kpageflags.pinned.npz")
    assert capture.npz("pinned").where.endswith("kpageflags.pinned.npz")
    assert capture.npz().where == capture.npz("kpageflags.before.npz").where
    with pytest.raises(InputError, match=r"'after'.*kpageflags.before.npz"):
        capture.npz("after")


@pytest.mark.parametrize("text, release, arch", [
    ("6.12.95+deb12-amd64\nx86_64\n", "6.12.95+deb12-amd64", "x86_64"),
    ("ppc64le\n6.12.95+deb12-powerpc64le-64k\n", "6.12.95+deb12-powerpc64le-64k", "ppc64le"),
    ("release: 6.1.0\r\nmachine: aarch64\r\n", "6.1.0", "aarch64"),
    ("Linux host 7.2.13-1 #1 SMP Debian (2026-01-01) s390x GNU/Linux\n", "7.2.13-1", "s390x"),
    ("6.18.0-arm64\n", "6.18.0-arm64", None),
    ("", None, None),
])
def test_kernel_lines_in_any_order(tmp_path, text, release, arch):
    (tmp_path / "kernel.txt").write_text(text)
    capture = load_capture(tmp_path)
    assert (capture.release, capture.arch, capture.page_size) == (release, arch, None)


def test_page_size_comes_from_the_best_source_there_is(tmp_path):
    shutil.copy(CAPTURES / "arm64-16k-3g-2node" / "kpageflags.npz", tmp_path)
    assert load_capture(tmp_path).page_size == 16384  # what the collector noted in the npz
    (tmp_path / "smaps.txt").write_text("Size:  4 kB\nKernelPageSize:       64 kB\nMMUPageSize:  4 kB\n")
    assert load_capture(tmp_path).page_size == 65536
    (tmp_path / "getconf.txt").write_text("PAGE_SIZE 4096\n")
    assert load_capture(tmp_path).page_size == 4096
    for wrong in ("4095", "0", "-4096", "4k", "1" * 5000, "33554432", "²"):
        (tmp_path / "getconf.txt").write_text(f"PAGE_SIZE {wrong}\n")
        with pytest.raises(InputError, match=r"getconf.txt: page size .* power of two"):
            _ = load_capture(tmp_path).page_size


def test_text_that_is_not_utf8_is_shown_and_read_on(tmp_path):
    (tmp_path / "dmesg.txt").write_bytes(b"node \xff\xfe\nMemory: 5K\n")
    assert load_capture(tmp_path).text("dmesg") == "node \\xff\\xfe\nMemory: 5K\n"


# Zips


def test_a_snapshot_zip_has_the_parts_of_a_folder(tmp_path):
    source = CAPTURES / "arm64-16k-3g-2node"
    members = {"manifest.json": json.dumps(MANIFEST), "proc/iomem.txt": (source / "iomem.txt").read_bytes(),
               "proc/vmstat.start.txt": "first", "proc/vmstat.end.txt": "last",
               "proc/meminfo.start.txt": "only", "sys/memory-blocks.txt": "blocks", "sys/nodes.txt": "nodes",
               "sys/hugepages.txt": "huge", "dmesg-memory.txt": "dmesg", "proc/slabinfo.txt": "slab",
               "pages.npz": (source / "kpageflags.npz").read_bytes(), "traces/pins.parquet": b"PAR1"}
    for folder in ("", "some-name/"):
        path = zipped(tmp_path / "arm.mmsnap", {folder + name: text for name, text in members.items()})
        capture = load_capture(path)
        assert (capture.name, capture.release, capture.arch, capture.page_size) == \
            ("arm", "6.12.95", "aarch64", 16384)
        assert capture.text("iomem") == (source / "iomem.txt").read_text()
        expected = {"vmstat": "last", "vmstat.start": "first", "meminfo": "only", "dmesg": "dmesg",
                    "slabinfo": "slab", "sys-memory-blocks": "blocks", "sys-node": "nodes",
                    "hugepages": "huge"}
        assert {part: capture.text(part) for part in expected} == expected
        assert capture.text("zoneinfo") is None and capture.where("zoneinfo") == f"{path}/zoneinfo.txt"
        assert capture.npz_names == ("kpageflags.npz",) and capture.npz().read("ram", shape=(2, 2)).any()
        assert capture.where("iomem") == f"{path}/{folder}proc/iomem.txt"
        assert capture.where("kernel") == f"{path}/{folder}manifest.json"


@pytest.mark.parametrize("manifest", ["", "[]", "{", "\x00", "[" * 100_000, "{\"page_size\": 5"])
def test_a_broken_manifest_is_an_input_error(tmp_path, manifest):
    capture = load_capture(zipped(tmp_path / "x.mmsnap", {"manifest.json": manifest}))
    for what in ("release", "arch", "page_size"):
        with pytest.raises(InputError, match=r"manifest\.json"):
            getattr(capture, what)


@pytest.mark.parametrize("size", [4095, "4096bytes", None, True, [], 1e9])
def test_a_wrong_page_size_in_a_manifest(tmp_path, size):
    capture = load_capture(zipped(tmp_path / "x.mmsnap", {"manifest.json": json.dumps({"page_size": size})}))
    with pytest.raises(InputError, match="power of two"):
        _ = capture.page_size


def test_a_zip_of_a_folder_is_that_folder(tmp_path):
    source = CAPTURES / "amd64-6g-hvo-1g"
    for root in (source, source.parent):
        path = tmp_path / "boot.zip"
        files = [file for file in source.rglob("*") if file.is_file()]
        zipped(path, {str(file.relative_to(root)): file.read_bytes() for file in files})
        capture = load_capture(path)
        assert capture.parts == load_capture(source).parts  # its sub-folders are other snapshots
        assert capture.text("vmstat") == (source / "vmstat.txt").read_text()
    states = CAPTURES / "debian-6.12-states"
    zipped(path, {str(file.relative_to(states)): file.read_bytes() for file in states.rglob("*.txt")})
    refused(path, "several captures .before, during.")


def test_a_single_npz_is_a_capture():
    assert load_capture(CAPTURES / "debian-6.12-2g" / "kpageflags.npz").npz_names == ("kpageflags.npz",)


# Harm


@pytest.mark.parametrize("name", ["../iomem.txt", "a/../../iomem.txt", "/etc/iomem.txt", "C:\\iomem.txt",
                                  "..", "proc\\..\\iomem.txt"])
def test_names_that_lead_out_of_a_zip_are_refused(tmp_path, name):
    refused(zipped(tmp_path / "x.mmsnap", {"iomem.txt": "", name: ""}), "leads out of the archive")


def test_links_and_duplicates_and_other_packings_are_refused(tmp_path):
    path = tmp_path / "x.mmsnap"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("iomem.txt")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/shadow")
    refused(path, "a link")
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("iomem.txt", "one")
        archive.writestr("iomem.txt", "two")
    refused(path, "occurs twice")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("iomem.txt", "one")
    refused(path, "else than deflate")
    zipped(path, {"iomem.txt": "one"})
    encrypted = bytearray(path.read_bytes())
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(encrypted)
    refused(path, "encrypted")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "x.mmsnap"
    zipped(path, {"iomem.txt": bytes(MAX_TEXT_BYTES + 1), "vmstat.txt": "fine"})
    capture = load_capture(path)
    with pytest.raises(InputError, match=r"iomem.txt: 67108865 bytes are too many"):
        capture.text("iomem")
    assert capture.text("vmstat") == "fine"
    small = zlib.compress(bytes(1000))[2:-4]
    for declared, rule in ((1 << 31, "bytes are too many"), ((1 << 32) - 2, "bytes are too many"),
                           (10, "Bad CRC|Error")):
        local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(small), declared, 9, 0)
        central = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 8, 0, 0, 0, len(small), declared,
                              9, 0, 0, 0, 0, 0, 0)
        body = local + b"iomem.txt" + small
        end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(central) + 9, len(body), 0)
        path.write_bytes(body + central + b"iomem.txt" + end)
        with pytest.raises(InputError, match=rule):
            load_capture(path).text("iomem")
    zipped(path, {f"{nr}.txt": "" for nr in range(10_001)})
    refused(path, "members are too many")


def test_a_bomb_inside_an_npz_is_refused_by_its_declared_size(tmp_path):
    path = tmp_path / "x.mmsnap"
    head = b"\x93NUMPY\x01\x00"
    for shape, rule in ((1 << 40, "its header says"), (1 << 62, "its header says")):
        text = f"{{'descr': '<u8', 'fortran_order': False, 'shape': ({shape}, 2), }}".encode()
        inner = zipped(io.BytesIO(), {"ram.npy": head + struct.pack("<H", len(text)) + text + bytes(99)})
        zipped(path, {"pages.npz": inner.getvalue()})
        with pytest.raises(InputError, match=rule):
            load_capture(path).npz().read("ram", shape=(None, 2))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "iomem.txt").touch(mode=0)
    with pytest.raises(InputError, match="may not be read"):
        load_capture(tmp_path).text("iomem")


def test_unreadable_files_are_named_also_for_root(tmp_path, monkeypatch):
    (tmp_path / "iomem.txt").touch()
    capture = load_capture(tmp_path)

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(InputError, match=r"iomem.txt: may not be read"):
        capture.text("iomem")


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "iomem.txt")
    (tmp_path / "vmstat.txt").mkdir()
    (tmp_path / "dmesg.txt").symlink_to("/dev/zero")
    (tmp_path / "meminfo.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "kernel.txt").symlink_to("kernel.txt")
    os.mkfifo(tmp_path / "kpageflags.npz")
    capture = load_capture(tmp_path)
    for part in ("iomem", "vmstat", "dmesg", "meminfo", "kernel"):
        with pytest.raises(InputError, match=rf"{part}.txt"):
            capture.text(part)
    with pytest.raises(InputError, match="not a regular file"):
        capture.npz()
    refused(tmp_path / "iomem.txt", "not a regular file")


@pytest.mark.parametrize("what", ["", "no-such-capture", "../captures/debian-6.12-2g-not", "a\0b", "x" * 5000,
                                  "/dev/null", "/proc/self/mem"])
def test_what_is_no_capture_is_refused(what):
    refused(what, ".")


def test_folders_without_a_capture_are_refused(tmp_path):
    refused(tmp_path, "no part of a capture")
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path, "no part of a capture")
    refused("debian-6.12-states", "sub-folders: before, during")
    refused(zipped(tmp_path / "x.mmsnap", {"notes.txt": "hello"}), "no part of a capture")
    refused(zipped(tmp_path / "y.mmsnap", {}), "no part of a capture")
    (tmp_path / "z.mmsnap").write_bytes(b"PK\5\6 but no zip")
    refused(tmp_path / "z.mmsnap", "neither a folder nor a zip")


def test_a_zip_cut_anywhere_or_with_a_flipped_bit_is_refused_or_means_the_same(tmp_path):
    source = CAPTURES / "arm64-64k-1100m"
    path = zipped(tmp_path / "x.mmsnap", {f.name: f.read_bytes() for f in sorted(source.iterdir())})
    whole = path.read_bytes()
    expected = {part: load_capture(source).text(part) for part in ("iomem", "vmstat")}
    changed = [whole[:cut] for cut in range(0, len(whole), len(whole) // 80)]
    for at in (*range(0, len(whole), 211), *range(len(whole) - 1200, len(whole), 3)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        changed.append(bytes(flipped))
    refusals = 0
    for content in changed:
        path.write_bytes(content)
        try:
            capture = load_capture(path)
            found = {part: capture.text(part) for part in expected}
        except InputError as error:
            assert "\n" not in str(error)
            refusals += 1
        else:
            assert all(found[part] in (None, expected[part]) for part in found)
    assert refusals >= 80
