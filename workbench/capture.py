"""Take a capture of a machine: one file, standard library only, Python 3.6.2 or later.

As ``workbench capture OUT.mmsnap``, or alone, also on a machine that has no workbench::

    ssh host sudo python3 - < workbench/capture.py > host.mmsnap
    sudo python3 capture.py OUT.mmsnap

It reads /proc, /sys and /dev/kmsg, changes nothing, and goes without what it may not read: the manifest
says of each part whether it was taken, and if not, why. Text is kept verbatim; the loader parses it
(workbench/memory/capture.py). Without root the layout of RAM is still known by memory blocks; page flags,
mapcounts and slab statistics are not.

The archive is built in memory and written in one go: under a random name beside OUT, flushed to disk, then
linked to OUT, so that OUT is whole or not there; killed in between, it leaves ``.OUT.RANDOM.part``. An OUT
that exists is refused, or replaced with ``--force`` if it is a regular file; a link is never followed. As
root a folder that everybody may write to must be sticky, as /tmp is, or others could swap the file. The file
is for its owner alone (0600), and belongs to the caller of sudo.

``--scrub`` leaves out what says whose machine it is, but nothing that a count needs:

* iomem: only RAM, the kernel, reserved and persistent memory stay, with PCI ranges of 1 GiB and more, and
  what these lie in or hold; devices are called ``device``, PCI functions ``PCI device N``.
* slab caches that are not the core kernel's are called ``cache-N``, in both lists alike.
* of the kernel release, the version and Debian's mark stay: ``6.12.95+deb12``.
* host name, command line, process names and serial numbers are never taken in the first place.

Left out: traces; memory of devices without a line in iomem; a file whose read hangs in the kernel where no
signal reaches it (other slow files are given up, see ``LIMIT_SECONDS``). With ``--root DIR`` links in DIR are
followed, also out of it.
"""
# No newer syntax than Python 3.6 has, and no pathlib: files are opened relative to an open folder.
# ruff: noqa: SIM905, UP006, UP035, UP045, B905, PTH112, PTH114, PTH115, PTH118, PTH119, PTH208

import argparse
import contextlib
import datetime
import errno
import hashlib
import io
import json
import os
import re
import signal
import stat
import struct
import sys
import threading
import time
import zipfile
import zlib
from array import array
from collections import Counter
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, NamedTuple, NoReturn, Optional, Tuple

FORMAT = 1
TOOL = "workbench capture 1"
#: Limits, assumed: 16 MiB hold the memory blocks of 16 TiB; an allyesconfig kernel's BTF has about 30 MiB.
LIMIT_BYTES = 16 << 20
LIMIT_BTF_BYTES = 64 << 20
LIMIT_SECONDS = 10.0
LIMIT_PAGES_SECONDS = 900.0  # 128 GiB took 13 s of CPU
MAX_FLAG_VALUES = 1 << 16
CHUNK_PFNS = 1 << 17  # 1 MiB of u64: larger reads of /proc/kpageflags gain nothing
BLOCK_BYTES = 1 << 12  # of a window: those that hold one value only are counted whole
BAR_BYTES = 1 << 30  # DEVICE_BAR_BYTES, workbench/memory/reader.py

#: Structs and enums whose layout is kept, where the kernel has them; those of data/kernels.
STRUCTS = """
    address_space anon_vma anon_vma_chain bio bio_vec bucket_table compact_control dev_pagemap folio
    folio_batch free_area gup_pagevec hlist_node hstate hugepage_subpool inode iov_iter kmem_cache
    kmem_cache_cpu kmem_cache_node kmem_cache_order_objects kvm_memory_slot list_head lru_gen_folio
    lru_gen_struct lruvec ma_state maple_arange_64 maple_node maple_range_64 maple_tree mem_cgroup
    mem_cgroup_per_node mem_section mem_section_usage memblock memblock_region memblock_type memdesc_flags
    memory_block memory_notify memory_tier mm_struct movable_operations mutex net_iov obj_cgroup page
    page_ext page_ext_operations page_owner page_pool page_table_check pagevec per_cpu_nodestat
    per_cpu_pages per_cpu_zonestat pglist_data ptdesc radix_tree_root raw_spinlock rb_node rcu_head resource
    rhash_head rhashtable rw_semaphore scatterlist sg_table slab slabobj_ext spinlock swap_cluster_info
    swap_info_struct vm_area_struct vm_struct vmap_area vmem_altmap xa_limit xa_node xa_state xarray zone
    zonelist zoneref zpdesc zspage
""".split()
ENUMS = """
    compound_dtor_id lru_list maple_type mapping_flags meminit_context memcg_stat_item memory_type
    migratetype node_stat_item node_states numa_stat_item objext_flags page_memcg_data_flags pageflags
    pagetype vm_fault_reason zone_flags zone_stat_item zone_type zone_watermarks
    anon:SECTION_MARKED_PRESENT_BIT anon:MEMORY_HOTPLUG_MIN_BOOTMEM_TYPE
""".split()

RAM_NAME = re.compile(r"System RAM( \([^()]*\))?$")
PCI_NAME = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")
KEPT_NAME = re.compile(
    r"System RAM( \([^()]*\))?$|Persistent Memory( \(legacy\))?$|namespace\d+\.\d+$|[Rr]eserved$"
    r"|Kernel (code|rodata|data|bss)$")
#: Beginnings of the kernel's messages about memory; none of them holds the command line.
LOG_LINES = re.compile(
    r"BIOS-e820: |e820: |efi: mem|NUMA: |numa: |No NUMA |SRAT: Node |ACPI: SRAT: Node |Zone ranges:"
    r"|Movable zone "
    r"|Early memory node ranges|\s+(node\s+\d+: \[mem |Node \d+: |(DMA|DMA32|Normal|HighMem|Movable|Device) )"
    r"|Initmem setup |On node \d|Built \d+ zonelists|Memory: |HugeTLB|hugetlb|page_ext"
    r"|allocated \d+ bytes of page"
    r"|radix-mmu: |hash-mmu: |Page orders: |vmemmap|\[[0-9a-f]+-[0-9a-f]+\] potential offnode"
    r"|memory_hotplug|mem auto-init")
#: Slab caches of mm/, fs/*.c, kernel/ and lib/ in every build; all others tell drivers, filesystems, guests.
CORE_CACHES = re.compile(
    r":[A-Za-z]*-?\d+$|(dma-|rcl-|cg-|cgroup-)?kmalloc-\S+$|kmem_cache(_node)?$|pgtable-2\^\d+$|(bio|biovec)-\S+$"
    r"|(page->ptl|radix_tree_node|maple_node|vm_area_struct|vma_lock|anon_vma|anon_vma_chain|mm_struct"
    r"|task_struct|task_group|signal_cache|sighand_cache|files_cache|fs_cache|cred|cred_jar|pid|pid_namespace"
    r"|dentry|inode_cache|shmem_inode_cache|proc_inode_cache|sock_inode_cache|kernfs_node_cache|filp|file_lock"
    r"|names_cache|buffer_head|vmap_area|pool_workqueue|numa_policy|shared_policy_node|hugetlbfs_inode_cache"
    r"|skbuff_\S+|eventpoll_(epi|pwq)|inotify_\S+|fsnotify_\S+|seq_file|ep_head|khugepaged_mm_slot"
    r"|ksm_\S+|rmap_\S+|mnt_cache|nsproxy|uts_namespace|user_namespace|trace_event_file|ftrace_event_field"
    r"|request_queue|blkdev_ioc|bdev_cache|iint_cache|perf_event|mem_cgroup\S*|lsm_\S+|avc_\S+)$")


class CannotWrite(Exception):
    """The capture cannot be put where it should go; one line that names the file and the rule."""


class NotTaken(Exception):
    """Why a part is missing, as the manifest says it."""


class Part(NamedTuple):
    """What one part came to: ``status`` is "ok" or the reason."""

    file: str
    status: str
    content: bytes


# -- reading -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Give up what takes longer; without effect outside the main thread, where no alarm can be caught."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(_signal: int, _frame: Any) -> None:
        raise NotTaken(f"too slow: more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _why(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO):
        return "absent"
    return errno.errorcode.get(error.errno or 0, "cannot be read: " + str(error))


class Root:
    """The files of the running system, or of the tree under a folder; bounded reads of regular files."""

    def __init__(self, folder: str = "/"):
        self.folder = folder

    def path(self, name: str) -> str:
        """Where a file such as ``proc/iomem`` is."""
        return os.path.join(self.folder, name)

    def open(self, name: str, device: bool = False) -> int:
        """A descriptor that never waits: a pipe, and a device where none is wanted, is refused."""
        fd = os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISREG(mode) or (device and stat.S_ISCHR(mode))):
            os.close(fd)
            raise NotTaken("not a regular file")
        return fd

    def read(self, name: str, limit: int = LIMIT_BYTES) -> bytes:
        """A whole file; OSError where it cannot be read, NotTaken where it is too large."""
        fd = self.open(name)
        try:
            found: List[bytes] = []
            nr_bytes = 0
            while nr_bytes <= limit:
                piece = os.read(fd, 1 << 17)
                if not piece:
                    return b"".join(found)
                found.append(piece)
                nr_bytes += len(piece)
        finally:
            os.close(fd)
        raise NotTaken(f"too large: more than {limit} bytes")

    def word(self, name: str) -> Optional[str]:
        """A small file's text without its line end; None where it cannot be read."""
        try:
            return self.read(name, 1 << 16).decode("utf-8", "backslashreplace").strip()
        except (OSError, NotTaken):
            return None

    def names(self, folder: str, pattern: str) -> List[str]:
        """The entries of a folder that match, by their numbers."""
        found = [name for name in os.listdir(self.path(folder)) if re.match(pattern + r"\Z", name)]
        return sorted(found, key=lambda name: [int(n) for n in re.findall(r"\d+", name)] or [0])


# -- parts that are put together from many small files -----------------------------------------------------


def _attributes(root: Root, folder: str, names: str, first_word: bool = False) -> List[str]:
    """``name=value`` for each of the attributes that can be read."""
    found = []
    for name in names.split():
        value = root.word(folder + "/" + name)
        if value is not None:
            found.append(name + "=" + (value.split() or [""])[0] if first_word else name + "=" + value)
    return found


def memory_blocks(root: Root) -> str:
    """Block size and, for each block, its index, state, zones and node."""
    top = "sys/devices/system/memory"
    lines = ["block_size_bytes:" + root.read(top + "/block_size_bytes").decode("ascii", "replace").strip()]
    auto = root.word(top + "/auto_online_blocks")
    lines += ["auto_online_blocks:" + auto] if auto is not None else []
    for block in root.names(top, r"memory\d+"):
        folder = top + "/" + block
        known = _attributes(root, folder, "phys_index phys_device state valid_zones removable")
        known += ["node=" + name[4:] for name in root.names(folder, r"node\d+")[:1]]
        lines.append(" ".join([block, *known]))
    return "\n".join(lines) + "\n"


def nodes(root: Root) -> str:
    """CPUs, distances and memory blocks of each node, and which nodes there are."""
    top, lines = "sys/devices/system/node", []
    for node in root.names(top, r"node\d+"):
        for name in ("cpulist", "distance"):
            value = root.word("/".join((top, node, name)))
            lines += [f"{node}/{name}:{value}"] if value is not None else []
        for block in root.names(top + "/" + node, r"memory\d+"):
            index = root.word("/".join((top, node, block, "phys_index")))
            lines += [f"{node}/{block}/phys_index:{index}"] if index is not None else []
    for name in ("possible", "online", "has_memory", "has_normal_memory", "has_cpu"):
        value = root.word(top + "/" + name)
        lines += [name + ":" + value] if value is not None else []
    return "\n".join(lines) + "\n"


def cache(root: Root) -> str:
    """The caches of the first CPU."""
    top, lines = "sys/devices/system/cpu/cpu0/cache", []
    for index in root.names(top, r"index\d+"):
        for name in ("level", "type", "size", "coherency_line_size", "ways_of_associativity",
                     "number_of_sets", "shared_cpu_list"):
            value = root.word("/".join((top, index, name)))
            lines += [f"{index}/{name}:{value}"] if value is not None else []
    return "\n".join(lines) + "\n"


def slab(root: Root) -> str:
    """Sizes and counts of each slab cache; a name that was merged into another points to it."""
    top, lines = "sys/kernel/slab", []
    for name in sorted(os.listdir(root.path(top))):
        if os.path.islink(root.path(top + "/" + name)):
            lines.append(name + " -> " + os.path.basename(os.readlink(root.path(top + "/" + name))))
            continue
        root.read("/".join((top, name, "object_size")))  # fails where only root may read them
        lines.append(" ".join([name, *_attributes(root, top + "/" + name, (
            "object_size slab_size objs_per_slab order align objects total_objects slabs partial cpu_slabs "
            "aliases sheaf_capacity"), first_word=True)]))
    return "\n".join(lines) + "\n"


def hugepages(root: Root) -> str:
    """Each hugetlb pool: how many pages it has, and how many of them are free."""
    top, lines = "sys/kernel/mm/hugepages", []
    for pool in root.names(top, r"hugepages-\d+kB"):
        nr, free = (root.word("/".join((top, pool, name))) for name in ("nr_hugepages", "free_hugepages"))
        lines += [f"{pool} nr={nr} free={free}"] if nr and free else []
    return "\n".join(lines) + "\n"


def nd_pfn(root: Root) -> str:
    """Persistent-memory namespaces, and where the memmap of each lies; sizes in bytes."""
    top, lines = "sys/bus/nd/devices", []
    claims = {}
    for name in root.names(top, r"(pfn|dax)\d+\.\d+"):
        claims[root.word("/".join((top, name, "namespace")))] = top + "/" + name
    for name in root.names(top, r"namespace\d+\.\d+"):
        line = [name, "mode=" + (root.word("/".join((top, name, "mode"))) or "raw")]
        for field, title in (("mode", "memmap"), ("align", "align"), ("size", "size"),
                             ("resource", "resource")):
            value = root.word(claims[name] + "/" + field) if name in claims else None
            line += [title + "=" + value] if value is not None else []
        lines.append(" ".join(line))
    return "\n".join(lines) + "\n" if lines else ""


def kernel_log(root: Root) -> str:
    """The kernel's own messages about memory, as dmesg prints them.

    From /dev/kmsg (Documentation/ABI/testing/dev-kmsg, v6.12): ``PRIORITY,NUMBER,MICROSECONDS,FLAGS;TEXT``,
    lines with a blank before them belong to no message text. Messages of user space are left out.
    """
    fd = root.open("dev/kmsg", device=True)
    records: List[bytes] = []
    nr_bytes = 0
    try:
        while nr_bytes <= LIMIT_BYTES:
            try:
                record = os.read(fd, 1 << 14)
            except BlockingIOError:
                break  # the last message
            except BrokenPipeError:
                continue  # overwritten while we read; the next read goes on behind the gap
            if not record:
                break
            records.append(record)
            nr_bytes += len(record)
    finally:
        os.close(fd)
    lines = []
    for line in b"".join(records).decode("utf-8", "backslashreplace").splitlines():
        found = re.match(r"(\d+),\d+,(\d+),[^;]*;(.*)", line)
        if found and int(found.group(1)) >> 3 == 0 and LOG_LINES.match(found.group(3)):
            seconds, rest = divmod(int(found.group(2)), 10**6)
            lines.append(f"[{seconds:5d}.{rest:06d}] {found.group(3)}")
    return "\n".join(lines) + "\n" if lines else ""


# -- struct layouts out of BTF -----------------------------------------------------------------------------


#: Words behind the three of a type record, by kind: fixed, and for each of its entries.
BTF_TAIL = {1: (1, 0), 3: (3, 0), 4: (0, 3), 5: (0, 3), 6: (0, 2), 13: (0, 2), 14: (1, 0), 15: (0, 3),
            17: (1, 0), 19: (0, 3)}


class Btf:
    """As much of BTF as layouts need (include/uapi/linux/btf.h, v6.12); workbench/kernel/btf.py reads all.

    A word is 32 bits. Type records: name, info (kind in bits 24..28, entries in 0..15), size or type, then
    words by kind.
    """

    INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
    FUNC_PROTO, FLOAT, TYPE_TAG, ENUM64 = 13, 16, 18, 19
    QUALIFIERS = (VOLATILE, CONST, RESTRICT, TYPE_TAG)
    MAX_DEPTH = 64

    def __init__(self, blob: bytes):
        if len(blob) < 24 or struct.unpack_from("=H", blob)[0] != 0xEB9F:
            raise NotTaken("not BTF of this machine's byte order")
        _, _, _, header, types_at, types_len, strings_at, strings_len = struct.unpack_from("=HBBIIIII", blob)
        if types_len % 4 or header + max(types_at + types_len, strings_at + strings_len) > len(blob):
            raise NotTaken("BTF: shorter than its header says")
        self.words = array("I", blob[header + types_at:header + types_at + types_len])
        self.strings = blob[header + strings_at:header + strings_at + strings_len]
        self.starts = [0]
        at, words = 0, self.words
        while at < len(words):
            info = words[at + 1]
            fixed, each = BTF_TAIL.get(info >> 24 & 31, (0, 0))
            self.starts.append(at)
            at += 3 + fixed + each * (info & 0xFFFF)

    def string(self, offset: int) -> str:
        """The text at an offset of the string section."""
        return self.strings[offset:self.strings.index(b"\0", offset)].decode("utf-8", "replace")

    def kind(self, number: int) -> int:
        """The kind of a type; 0 is void."""
        return self.words[self.starts[number] + 1] >> 24 & 31 if number else 0

    def third(self, number: int) -> int:
        """Its size, or the type that it refers to."""
        return self.words[self.starts[number] + 2]

    def behind(self, number: int, kinds: Tuple[int, ...]) -> int:
        """The type behind some kinds of references."""
        for _ in range(self.MAX_DEPTH):
            if self.kind(number) not in kinds:
                return number
            number = self.third(number)
        raise NotTaken("BTF: types in a circle")

    def plain(self, number: int) -> int:
        """The type behind qualifiers and typedefs."""
        return self.behind(number, (*self.QUALIFIERS, self.TYPEDEF))

    def type_name(self, number: int) -> str:
        """C-like text: ``struct page *``, ``void *[64]``, ``fnptr``."""
        suffix = dims = ""
        for _ in range(self.MAX_DEPTH):
            number = self.behind(number, self.QUALIFIERS)
            kind = self.kind(number)
            if kind == self.ARRAY:
                at = self.starts[number]
                number, dims = self.words[at + 3], dims + f"[{self.words[at + 5]}]"
                continue
            suffix, dims = dims + suffix, ""
            if kind == self.PTR:
                number = self.third(number)
                if self.kind(self.plain(number)) == self.FUNC_PROTO and self.kind(number) != self.TYPEDEF:
                    return "fnptr" + suffix
                suffix = " *" + suffix
                continue
            if kind == self.FWD:
                kind = self.UNION if self.words[self.starts[number] + 1] >> 31 else self.STRUCT
            word = {self.STRUCT: "struct ", self.UNION: "union ", self.ENUM: "enum ",
                    self.ENUM64: "enum "}.get(kind, "")
            name = self.string(self.words[self.starts[number]]) if kind else "void"
            return word + (name or "(anon)") + suffix
        raise NotTaken("BTF: types in a circle")

    def size(self, number: int) -> int:
        """Bytes of a member's type; a pointer has those of long."""
        count = 1
        for _ in range(self.MAX_DEPTH):
            number = self.plain(number)
            if self.kind(number) == self.ARRAY:
                at = self.starts[number]
                number, count = self.words[at + 3], count * self.words[at + 5]
            elif self.kind(number) == self.PTR:
                return count * struct.calcsize("l")
            else:
                return count * self.third(number)
        raise NotTaken("BTF: types in a circle")

    def rows(self, number: int, base_bit: int = 0, path: str = "", depth: int = 0) -> List[Dict[str, Any]]:
        """The members of a struct, those of anonymous members behind a row that gives their extent."""
        if depth > self.MAX_DEPTH:
            raise NotTaken("BTF: types in a circle")
        start, words, found = self.starts[number], self.words, []  # type: ignore[var-annotated]
        info = words[start + 1]
        for at in range(start + 3, start + 3 + 3 * (info & 0xFFFF), 3):
            name, member, bit, bits = self.string(words[at]), words[at + 1], words[at + 2], 0
            if info >> 31:
                bits, bit = bit >> 24, bit & 0xFFFFFF
            target, type_name, size = self.plain(member), self.type_name(member), self.size(member)
            if self.kind(target) == self.INT and not bits:
                encoding = words[self.starts[target] + 3]  # before kind_flag: a type of its own per width
                if encoding & 0xFF != 8 * size:
                    bits, bit = encoding & 0xFF, bit + (encoding >> 16 & 0xFF)
            inside = type_name in ("struct (anon)", "union (anon)")
            if not name and not inside and not type_name.startswith(("struct ", "union ")):
                continue  # an unnamed bit-field holds nothing
            bit += base_bit
            row = {"name": path + name if name else f"<anon {type_name.split()[0]}>",
                   "off": bit // 8, "size": size, "type": type_name}
            if bits:
                row.update(bit=bit % 8, bits=bits, bit_offset=bit)
            found.append(row)
            if inside:
                found += self.rows(target, bit, path + name + "." if name else path, depth + 1)
        return found

    def enumerators(self, number: int) -> Dict[str, int]:
        """The constants of an enum."""
        start, words, found = self.starts[number], self.words, {}
        info = words[start + 1]
        nr_words = 3 if self.kind(number) == self.ENUM64 else 2
        bits = 32 * (nr_words - 1)
        for at in range(start + 3, start + 3 + nr_words * (info & 0xFFFF), nr_words):
            value = words[at + 1] | (words[at + 2] << 32 if nr_words == 3 else 0)
            found[self.string(words[at])] = value - ((info >> 31 and value >> (bits - 1)) << bits)
        return found

    def layouts(self) -> Dict[str, Any]:
        """The chosen structs and enums, in the form of data/kernels/layouts_*.json; first of a name wins."""
        names: Dict[Tuple[bool, int], str] = {}
        anonymous = {}
        for wanted in STRUCTS + ENUMS:
            is_enum = wanted in ENUMS
            text = wanted.replace("anon:", "").encode() + b"\0"
            at = self.strings.find(b"\0" + text)
            if at < 0:
                continue
            if wanted.startswith("anon:"):
                anonymous[at + 1] = wanted
            else:
                names[is_enum, at + 1] = wanted
        structs, enums = {}, {}  # type: ignore[var-annotated]
        words = self.words
        for number in range(1, len(self.starts)):
            at = self.starts[number]
            kind = words[at + 1] >> 24 & 31
            if kind in (self.STRUCT, self.UNION):
                name = names.get((False, words[at]))
                if name and name not in structs:
                    word = "struct" if kind == self.STRUCT else "union"
                    structs[name] = {"size": words[at + 2], "kind": word, "members": self.rows(number)}
            elif kind in (self.ENUM, self.ENUM64):
                name = names.get((True, words[at]))
                if not words[at] and words[at + 1] & 0xFFFF:
                    name = anonymous.get(words[at + 3])
                if name and name not in enums:
                    enums[name] = self.enumerators(number)
        if not structs:
            raise NotTaken("BTF: none of the structs is in it")
        structs = {name: structs[name] for name in sorted(structs)}
        return {"endian": sys.byteorder, "pointer_bytes": struct.calcsize("l"),
                "source": "/sys/kernel/btf/vmlinux",
                "sizes": {name: found["size"] for name, found in structs.items()},
                "absent": [name for name in STRUCTS if name not in structs],
                "structs": structs, "enums": enums}


# -- page flags --------------------------------------------------------------------------------------------


def iomem_lines(text: str) -> List[Tuple[int, int, int, str]]:
    """(depth, first byte, end, name) of each line of /proc/iomem."""
    found = []
    for line in text.splitlines():
        match = re.match(r"( *)([0-9a-fA-F]{1,16})-([0-9a-fA-F]{1,16}) : ?(.*)", line)
        if match:
            found.append((len(match.group(1)) // 2, int(match.group(2), 16), int(match.group(3), 16) + 1,
                          match.group(4).strip()))
    return found


def pfn_ranges(iomem: str, blocks: str, page_size: int, arch: str) -> List[Tuple[int, int]]:
    """Where page flags are worth reading: RAM of iomem, else memory blocks, else the whole file.

    On arm64 and riscv64 also what iomem calls reserved at the top: NOMAP memory, which has a memmap.
    """
    nomap = {"aarch64": "reserved", "riscv64": "Reserved"}.get(arch)
    found = [(-(-first // page_size), end // page_size) for depth, first, end, name in iomem_lines(iomem)
             if end > 1 and (RAM_NAME.match(name) or (not depth and name == nomap))]
    size = re.search(r"^block_size_bytes:([0-9a-fA-F]+)$", blocks, re.M)
    if not found and size and int(size.group(1), 16) >= page_size:
        per = int(size.group(1), 16) // page_size
        found = [(int(i, 16) * per, (int(i, 16) + 1) * per)
                 for i in re.findall(r"^memory\d+ phys_index=([0-9a-fA-F]+)", blocks, re.M)]
    merged: List[Tuple[int, int]] = []
    for first, end in sorted(found) or [(0, 1 << 52)]:
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif first < end:
            merged.append((first, end))
    return merged


class _Dictionary(Dict[int, int]):
    """Codes by value, in the order in which values turn up."""

    def __missing__(self, value: int) -> int:
        self[value] = code = len(self)
        return code


class PageReader:
    """/proc/kpageflags and kpagecount, encoded as they come: a dictionary of flag words, a code per pfn.

    What is kept is packed at once, so that memory stays small on any machine: the whole process had 34 MiB
    for 128 GiB of a busy machine's flags, measured.
    The two files are read window by window in turn. They are no snapshot: pages move meanwhile.
    """

    def __init__(self, root: Root, ranges: List[Tuple[int, int]]):
        self.root, self.ranges = root, ranges
        self.ram: List[List[int]] = []
        self.nr_pages = 0
        self.nr_mapped = 0
        self.codes: List[Tuple[str, bytes]] = []  # packed; "B" or "H"
        self.mapped: List[Tuple[bytes, bytes]] = []  # packed steps (u32) and mapcounts (u16)
        self.pages = Counter()  # type: Counter
        self.count_status = "ok"
        self._dictionary = _Dictionary()
        self._last_mapped = 0

    def read(self) -> None:
        """Read all ranges; NotTaken or OSError where not one flag can be read."""
        flags = self.root.open("proc/kpageflags")
        counts = -1
        try:
            counts = self.root.open("proc/kpagecount")
        except (OSError, NotTaken) as error:
            self.count_status = _why(error) if isinstance(error, OSError) else str(error)
        late = time.monotonic() + LIMIT_PAGES_SECONDS
        try:
            for first, end in self.ranges:
                while first < end:
                    if time.monotonic() > late:
                        raise NotTaken(f"too slow: more than {LIMIT_PAGES_SECONDS:g} s")
                    want = 8 * min(end - first, CHUNK_PFNS)
                    window = os.pread(flags, want, 8 * first)
                    nr = len(window) // 8
                    if not nr:
                        break  # behind the last pfn
                    self._flags(first, window[:8 * nr])
                    if self.count_status == "ok":
                        self._counts(counts, first, nr)
                    self.nr_pages += nr
                    first += nr
        finally:
            for fd in (flags, counts):
                if fd >= 0:
                    os.close(fd)
        if not self.nr_pages:
            raise NotTaken("empty: no pfn of RAM is in it")

    def _flags(self, first: int, window: bytes) -> None:
        nr, codes = len(window) // 8, array("H")
        for at in range(0, len(window), BLOCK_BYTES):
            block = window[at:at + BLOCK_BYTES]
            words = array("Q", block[:8]) if block == block[:8] * (len(block) // 8) else array("Q", block)
            if len(words) == 1:  # all alike: most of a machine is
                self.pages[words[0]] += len(block) // 8
                codes.extend(array("H", [self._dictionary[words[0]]]) * (len(block) // 8))
            else:
                values = words.tolist()
                self.pages.update(values)
                codes.extend(map(self._dictionary.__getitem__, values))
        if len(self._dictionary) > MAX_FLAG_VALUES:
            raise NotTaken(f"too many: more than {MAX_FLAG_VALUES} distinct flag words")
        kind = "B" if len(self._dictionary) <= 256 else "H"
        self.codes.append((kind, zlib.compress(array(kind, codes).tobytes(), 1)))
        if self.ram and self.ram[-1][1] == first:
            self.ram[-1][1] += nr
        else:
            self.ram.append([first, first + nr])

    def _counts(self, fd: int, first: int, nr: int) -> None:
        try:
            window = os.pread(fd, 8 * nr, 8 * first)
        except OSError as error:
            self.count_status = _why(error)
            return
        at: List[int] = []
        mapcounts = array("H")
        for start in range(0, len(window), BLOCK_BYTES):
            block = window[start:start + BLOCK_BYTES]
            if block != bytes(len(block)):
                counts = array("Q", block[:len(block) // 8 * 8]).tolist()
                at += [i for i, count in enumerate(counts, self.nr_pages + start // 8) if count]
                mapcounts.extend([min(count, 0xFFFF) for count in counts if count])
        if not at:
            return
        steps = array("I", [here - before for here, before in zip(at, [self._last_mapped, *at])])
        self._last_mapped = at[-1]
        self.nr_mapped += len(at)
        self.mapped.append((zlib.compress(_little(steps), 1), zlib.compress(_little(mapcounts), 1)))

    def npz(self, about: Dict[str, Any]) -> bytes:
        """An ``.npz`` of ram, flag_values, flag_counts (by count), flag_code, mapcounts, meta."""
        by_count = sorted(self.pages, key=lambda value: (-self.pages[value], value))
        new = {value: i for i, value in enumerate(by_count)}
        place = [new[value] for value in self._dictionary]  # a code as it was given, to its place by count
        kind = "B" if len(by_count) <= 256 else "H"
        table = bytes(place + [0] * (256 - len(place))) if kind == "B" else b""

        def codes() -> Iterator[bytes]:
            for given, packed in self.codes:
                data = zlib.decompress(packed)
                if kind == "B":
                    yield data.translate(table)
                else:
                    yield _little(array("H", map(place.__getitem__, array(given, data))))

        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            ram = array("Q", [pfn for extent in self.ram for pfn in extent])
            _npy(archive, "ram", "<u8", (len(self.ram), 2), iter([_little(ram)]))
            _npy(archive, "flag_values", "<u8", (len(by_count),), iter([_little(array("Q", by_count))]))
            counts = array("q", [self.pages[value] for value in by_count])
            _npy(archive, "flag_counts", "<i8", (len(by_count),), iter([_little(counts)]))
            _npy(archive, "flag_code", "|u1" if kind == "B" else "<u2", (self.nr_pages,), codes())
            if self.count_status == "ok":
                for i, (name, dtype) in enumerate((("mapcount_idx", "<u4"), ("mapcount", "<u2"))):
                    _npy(archive, name, dtype, (self.nr_mapped,),
                         (zlib.decompress(packed[i]) for packed in self.mapped))
            text = json.dumps(about)
            _npy(archive, "meta", f"<U{len(text)}", (), iter([text.encode("utf-32-le")]))
        return buffer.getvalue()


def _little(values: "array[int]") -> bytes:
    """The bytes of an array, lowest first."""
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()


def _npy(archive: zipfile.ZipFile, name: str, dtype: str, shape: Tuple[int, ...],
         data: Iterator[bytes]) -> None:
    """One array into an ``.npz``: NumPy's format 1.0 (numpy/lib/format.py), header padded to 64 bytes."""
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    info = _member(name + ".npy", zipfile.ZIP_DEFLATED)
    nr_items = 1
    for length in shape:
        nr_items *= length
    width = int(dtype[2:]) * (4 if dtype[1] == "U" else 1)
    info.file_size = 10 + len(header) + nr_items * width  # tells zipfile whether it needs 64-bit sizes
    with archive.open(info, "w") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin-1"))
        for piece in data:
            file.write(piece)


def _member(name: str, how: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = how
    info.external_attr = 0o100600 << 16
    return info


# -- scrubbing ---------------------------------------------------------------------------------------------


def scrub_iomem(text: str) -> str:
    """iomem with the lines that a machine's model needs, and no device by name."""
    lines = iomem_lines(text)
    keep = [bool(KEPT_NAME.match(name)) or (bool(PCI_NAME.match(name)) and end - first >= BAR_BYTES)
            for _, first, end, name in lines]
    wanted = set()
    above: List[int] = []
    for i, (depth, _, _, _) in enumerate(lines):
        del above[depth:]
        holder = above[-1] if above else None
        if keep[i]:
            wanted.update([*above, i])
        elif holder is not None and keep[holder] and PCI_NAME.match(lines[holder][3]):
            wanted.add(i)  # a range that a driver holds is no free device memory
        above.append(i)
    found, pci = [], {}  # type: ignore[var-annotated]
    for i, line in enumerate(line for line in text.splitlines() if iomem_lines(line)):
        if i in wanted:
            head, _, _ = line.partition(" : ")
            name = lines[i][3]
            if PCI_NAME.match(name):
                name = f"PCI device {pci.setdefault(name, len(pci))}"
            elif not KEPT_NAME.match(name):
                name = "device"
            found.append(head + " : " + name)
    return "\n".join(found) + "\n" if found else ""


class CacheNames:
    """Slab cache names, those beyond the core kernel's replaced by ``cache-N``, the same in every part."""

    def __init__(self) -> None:
        self._names: Dict[str, str] = {}

    def name(self, name: str) -> str:
        """The name to show; what stands in parentheses behind it (a memory cgroup) goes in any case."""
        core = name.partition("(")[0]
        if CORE_CACHES.match(core):
            return core
        return self._names.setdefault(name, f"cache-{len(self._names)}")

    def slabinfo(self, text: str) -> str:
        """/proc/slabinfo with other names."""
        return re.sub(r"^(?!slabinfo |#)(\S+)", lambda m: self.name(m.group(1)), text, flags=re.M)

    def slab(self, text: str) -> str:
        """sys/slab.txt with other names, also behind the arrow."""
        text = re.sub(r"^(\S+)", lambda m: self.name(m.group(1)), text, flags=re.M)
        return re.sub(r" -> (\S+)$", lambda m: " -> " + self.name(m.group(1)), text, flags=re.M)


def scrub_release(release: str) -> str:
    """``6.12.95+deb12-amd64-ours`` -> ``6.12.95+deb12``."""
    found = re.match(r"\d+(\.\d+)*(-\d+(?=-|$))?(\+deb\d+)?", release)
    return found.group(0) if found else ""


# -- the capture -------------------------------------------------------------------------------------------


class Collector:
    """Takes the parts one after the other; ``parts`` has what each came to."""

    def __init__(self, root: str = "/", scrub: bool = False, say: Callable[[str], None] = lambda line: None):
        self.root, self.scrub, self.say = Root(root), scrub, say
        self.parts: Dict[str, Part] = {}
        self.caches = CacheNames()
        live = root == "/"
        uname = os.uname()
        self.release = (None if live else self.root.word("proc/sys/kernel/osrelease")) or uname.release
        self.arch = (None if live else self.root.word("proc/sys/kernel/arch")) or uname.machine
        self.page_size = (None if live else self._smaps_page_size()) or os.sysconf("SC_PAGE_SIZE")

    def _smaps_page_size(self) -> Optional[int]:
        found = re.search(r"^KernelPageSize:\s+(\d+) kB", self.root.word("proc/self/smaps") or "", re.M)
        return int(found.group(1)) << 10 if found else None

    def text(self, name: str) -> str:
        """A part that was taken, as text; empty where it was not."""
        return self.parts[name].content.decode("utf-8", "backslashreplace") if name in self.parts else ""

    def take(self, name: str, file: str, make: Callable[[], bytes],
             seconds: Optional[float] = None) -> None:
        """One part, or the reason why it is missing."""
        try:
            with _time_limit(seconds or LIMIT_SECONDS):
                content = make()
            status = "ok" if content.strip() else "empty"
        except NotTaken as error:
            content, status = b"", str(error)
        except OSError as error:
            content, status = b"", _why(error)
        except (ValueError, LookupError, struct.error, MemoryError) as error:
            content, status = b"", f"not understood: {error or type(error).__name__}"
        lines = iomem_lines(content.decode("utf-8", "backslashreplace")) if name == "iomem" else []
        if status == "ok" and lines and not any(end > 1 for _, _, end, _ in lines):
            status = "addresses hidden: shown with CAP_SYS_ADMIN only"
        self.parts[name] = Part(file, status, content)
        self.say("{:24} {}".format(name, status if status != "ok" else f"{len(content):,} bytes"))

    def run(self) -> None:
        """Take everything."""
        self.start, began = _now(), time.monotonic()
        for name in ("vmstat", "meminfo"):
            self._file(name + ".start", "proc/" + name)
        self._file("iomem", "proc/iomem", scrub_iomem)
        self._made("sys-memory-blocks", "sys/memory-blocks.txt", memory_blocks)
        for name in ("zoneinfo", "buddyinfo", "pagetypeinfo"):
            self._file(name, "proc/" + name)
        self._file("slabinfo", "proc/slabinfo", self.caches.slabinfo)
        self._file("hugetlb_optimize_vmemmap", "proc/sys/vm/hugetlb_optimize_vmemmap")
        self._file("memmap_on_memory", "sys/module/memory_hotplug/parameters/memmap_on_memory")
        self._file("memblock-memory", "sys/kernel/debug/memblock/memory")
        for name, file, make in (
            ("sys-node", "sys/nodes.txt", nodes), ("cpu-cache", "sys/cache.txt", cache),
            ("sys-slab", "sys/slab.txt", lambda root: self._scrubbed(self.caches.slab, slab(root))),
            ("hugepages", "sys/hugepages.txt", hugepages), ("nd-pfn", "sys/nd-pfn.txt", nd_pfn),
            ("dmesg", "dmesg-memory.txt", kernel_log),
        ):
            self._made(name, file, make)
        self.take("btf-structs.json", "btf-structs.json", self._btf)
        self._pages()
        for name in ("vmstat", "meminfo"):
            self._file(name + ".end", "proc/" + name)
        self.changed = self._changed()
        self.end, self.seconds = _now(), round(time.monotonic() - began, 3)

    def _scrubbed(self, change: Callable[[str], str], text: str) -> str:
        return change(text) if self.scrub else text

    def _file(self, name: str, path: str, change: Callable[[str], str] = lambda text: text) -> None:
        def make() -> bytes:
            content = self.root.read(path)
            if not self.scrub:
                return content  # byte for byte
            return change(content.decode("utf-8", "backslashreplace")).encode()

        top = path.partition("/")[0]
        self.take(name, f"{top}/{name}.txt", make)

    def _made(self, name: str, file: str, make: Callable[[Root], str]) -> None:
        self.take(name, file, lambda: make(self.root).encode())

    def _btf(self) -> bytes:
        found = Btf(self.root.read("sys/kernel/btf/vmlinux", LIMIT_BTF_BYTES)).layouts()
        release = scrub_release(self.release) if self.scrub else self.release
        return json.dumps(dict(found, arch=self.arch, kernel=release)).encode()

    def _pages(self) -> None:
        reader = PageReader(self.root, pfn_ranges(
            self.text("iomem"), self.text("sys-memory-blocks"), self.page_size, self.arch))

        def make() -> bytes:
            start = _now()
            reader.read()
            return reader.npz({"page_size": self.page_size, "start": start, "end": _now()})

        self.take("kpageflags", "pages.npz", make, 2 * LIMIT_PAGES_SECONDS)
        flags = self.parts["kpageflags"]
        status = reader.count_status if flags.status == "ok" else flags.status
        self.parts["kpagecount"] = Part("pages.npz", status, flags.content if status == "ok" else b"")

    def _changed(self) -> List[str]:
        """The parts about the layout of memory that differ between start and end."""
        again = Collector.__new__(Collector)
        again.root, again.scrub, again.say, again.parts = self.root, self.scrub, lambda line: None, {}
        again._file("iomem", "proc/iomem", scrub_iomem)
        again._made("sys-memory-blocks", "sys/memory-blocks.txt", memory_blocks)
        return [name for name, part in again.parts.items()
                if _layout(part.content) != _layout(self.parts[name].content)]

    def manifest(self) -> Dict[str, Any]:
        """What was taken where and when, and why the rest is missing."""
        parts: Dict[str, Dict[str, Any]] = {}
        for name, part in self.parts.items():
            parts[name] = {"file": part.file, "status": part.status}
            if part.content:
                parts[name].update(bytes=len(part.content), sha256=hashlib.sha256(part.content).hexdigest())
        release = scrub_release(self.release) if self.scrub else self.release
        return {"format": FORMAT, "tool": TOOL, "release": release, "arch": self.arch,
                "page_size": self.page_size, "byteorder": sys.byteorder, "start": self.start,
                "end": self.end, "seconds": self.seconds, "root": os.geteuid() == 0, "scrubbed": self.scrub,
                "changed": self.changed, "parts": parts}

    def archive(self) -> bytes:
        """The zip; texts deflated, the npz, which is packed already, as it is."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            text = json.dumps(self.manifest(), indent=1)
            archive.writestr(_member("manifest.json", zipfile.ZIP_DEFLATED), text)
            for name, part in self.parts.items():
                if part.content and name != "kpagecount":
                    how = zipfile.ZIP_STORED if part.file.endswith(".npz") else zipfile.ZIP_DEFLATED
                    archive.writestr(_member(part.file, how), part.content)
        return buffer.getvalue()


def _layout(content: bytes) -> bytes:
    """A text without the words that change while memory stays where it is."""
    return re.sub(rb" (state|valid_zones|removable)=[^=\n]*(?= |$)", b"", content, flags=re.M)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: UP017


# -- writing -----------------------------------------------------------------------------------------------


def check_target(out: str, force: bool = False) -> None:
    """Refuse a place that :func:`write` would refuse, before the work is done."""
    with _folder(out) as (fd, name):
        _check_name(fd, name, out, force)


@contextlib.contextmanager
def _folder(out: str) -> Iterator[Tuple[int, str]]:
    folder, name = os.path.split(out)
    if name in ("", ".", ".."):
        raise CannotWrite("{}: names no file".format(out or "''"))
    fd = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mode = os.fstat(fd).st_mode
        if os.geteuid() == 0 and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise CannotWrite("{}: everybody may write to this folder and it is not sticky; as root, choose "
                              "another".format(folder or "."))
        yield fd, name
    finally:
        os.close(fd)


def _check_name(fd: int, name: str, out: str, force: bool) -> None:
    try:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise CannotWrite(f"{out}: is a symbolic link, which is not followed")
    if not stat.S_ISREG(found.st_mode):
        raise CannotWrite(f"{out}: exists and is no regular file")
    if not force:
        raise CannotWrite(f"{out}: exists; --force replaces it")


def write(content: bytes, out: str, force: bool = False) -> None:
    """Put a file where it should go, whole or not at all; CannotWrite or OSError if not."""
    with _folder(out) as (folder, name):
        _check_name(folder, name, out, force)
        temp = f".{name[:200]}.{os.urandom(6).hex()}.part"
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600,
                     dir_fd=folder)
        try:
            try:
                if os.geteuid() == 0 and re.match(r"\d{1,9}\Z", os.environ.get("SUDO_UID", "")):
                    os.fchown(fd, int(os.environ["SUDO_UID"]), -1)
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(fd, rest[:1 << 24]):]
                os.fsync(fd)
            finally:
                os.close(fd)
            _check_name(folder, name, out, force)
            if force:
                os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                try:
                    os.link(temp, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                except OSError as error:
                    if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
                        raise  # also EEXIST: somebody else made it meanwhile
                    os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)  # no links here, as on vfat
            with contextlib.suppress(OSError):
                os.fsync(folder)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temp, dir_fd=folder)


def take(out: Optional[str] = None, scrub: bool = False, force: bool = False, root: str = "/",
         say: Callable[[str], None] = lambda line: None, stream: Optional[BinaryIO] = None) -> Dict[str, Any]:
    """Take a capture and write it to a file, or to an open binary stream.

    Parameters
    ----------
    out : str, optional
        The file to make.
    scrub, force : bool
        As on the command line.
    root : str
        The folder that holds proc, sys and dev.
    say : callable
        Gets a line per part.
    stream : file, optional
        Where the bytes go without ``out``.

    Returns
    -------
    dict
        parts {name: "ok" or reason}, bytes, seconds, root (taken by root), scrubbed, changed.
    """
    try:
        if out is not None:
            check_target(out, force)
        if not os.path.isdir(os.path.join(root, "proc")):
            raise CannotWrite(f"{root}: holds no proc, there is nothing to capture")
        capture = Collector(root, scrub, say)
        capture.run()
        content = capture.archive()
        if out is not None:
            write(content, out, force)
        elif stream is not None:
            stream.write(content)
            stream.flush()
    except OSError as error:
        raise CannotWrite("{}: {}".format(out or "standard output", error.strerror or error)) from None
    return {"parts": {name: part.status for name, part in capture.parts.items()}, "bytes": len(content),
            "seconds": capture.seconds, "root": os.geteuid() == 0, "scrubbed": scrub,
            "changed": capture.changed}


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(2)


def main(argv: Optional[List[str]] = None) -> int:
    """Run alone; exit status 0 done, 2 the capture cannot be written."""
    parser = _Parser(prog="capture", description="Take a capture of this machine's memory; root sees more.")
    parser.add_argument("out", nargs="?", metavar="OUT.mmsnap",
                        help="default: standard output, unless that is a terminal")
    parser.add_argument("--json", action="store_true", help="print what was taken as JSON; needs OUT")
    parser.add_argument("--scrub", action="store_true", help="leave out names of devices, drivers and builds")
    parser.add_argument("--force", action="store_true", help="replace OUT if it is a regular file")
    parser.add_argument("--root", metavar="DIR", default="/", help="holds proc and sys (default: /)")
    args = parser.parse_args(argv)
    try:
        if args.out is None and (args.json or sys.stdout.isatty()):
            raise CannotWrite("name a file" + (": --json needs standard output" if args.json else
                                               ", or send standard output to one"))
        found = take(args.out, args.scrub, args.force, args.root,
                     say=lambda line: print(line, file=sys.stderr), stream=sys.stdout.buffer)
    except CannotWrite as error:
        print("capture: " + "".join(c if c.isprintable() else "?" for c in str(error)), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("capture: interrupted", file=sys.stderr)
        return 130
    print("{bytes:,} bytes in {seconds:.2f} s".format(**found), file=sys.stderr)
    if args.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
