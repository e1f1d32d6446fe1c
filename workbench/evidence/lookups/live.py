"""The node-count models and the time of a walk, proven on the running kernel without a module.

* **XArray**: the page cache of a file is an XArray indexed by page. One byte written into some pages of a
  sparse memfd builds the tree of exactly these indices. ``lseek(SEEK_DATA)`` on a page that exists is one
  lookup: it walks to the page, takes a reference on its folio, and returns the offset it was given.
* **maple tree**: the VMAs of a process are a maple tree indexed by address. Small mappings that cannot merge
  build it in a child process. ``msync(MS_ASYNC)`` on one of them is one find_vma() and nothing else.

The nodes are counted in /proc/slabinfo (root only) before and after, each time after the cache was shrunk, so
that no free object on a CPU's own slab counts as used. An idle interval of the same length tells how much
other programs add. Two rounds without such drift that agree are taken, else the median of all rounds.

Times are those of one system call at a time in random order; ``ns_walk`` takes off the same call on a tree of
one page, but holds the cache misses on the folio or VMA found as well as the walk.

Left out: value entries, marks, multi-order entries; what a lookup costs without a system call around it.
"""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

import workbench
from workbench.evidence._jit import jit
from workbench.evidence.lookups._alone import alone
from workbench.model.errors import InputError, printable
from workbench.model.kernel.config import KernelConfig, kernel_version
from workbench.model.kernel.slab import SlabCache
from workbench.model.memory.pfns import MAX_PFN, PfnSet, Scatter
from workbench.model.pfnmaps.maple import MAPLE_RANGE64_SLOTS, SIZEOF_MAPLE_NODE, _Node
from workbench.model.pfnmaps.xarray import XArray

PROC, SYS_SLAB, CGROUPS = Path("/proc"), Path("/sys/kernel/slab"), Path("/sys/fs/cgroup")
SHMEM_HUGE = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")

XA_CACHE = "radix_tree_node"  # lib/radix-tree.c, v6.18
XARRAY_SINCE = (4, 20)  # the page cache became an XArray in v4.20
MAPLE_SINCE = (6, 1)  # VMAs lie in a maple tree since v6.1
MAPLE_ARANGE64_SLOTS = 10  # include/linux/maple_tree.h, v6.1 to v7.3; inner nodes of gap-tracking trees
VMA_BYTES = 256  # assumed: vm_area_struct is 136 to 256 bytes, v6.1 to v7.3
PASSES = 9
LOOKUPS = 100_000  # of a pass; larger trees are sampled anew in each pass
TOLERANCE = 0.01  # of the predicted nodes, beside the noise
MEMORY_SHARE = 0.8  # assumed: the rest of what is available stays for others
ROUNDS = 5  # of counting at most, until two quiet ones agree
READINGS = 8  # of slabinfo at most, until three in a row agree
SETTLE_S = 0.1  # between readings; longer than an RCU grace period usually is
QUIET_SHARE = 0.0005  # of the predicted nodes; a round that drifts by no more is quiet

MAP_FIXED_NOREPLACE = 0x100000  # include/uapi/asm-generic/mman-common.h, v4.17
_FLAGS = np.int32(0x02 | 0x20 | MAP_FIXED_NOREPLACE)  # MAP_PRIVATE, MAP_ANONYMOUS; the same header
_PROT_READ, _MS_ASYNC, _SEEK_DATA = np.int32(1), np.int32(1), np.int32(3)  # uapi: mman-common.h, mman.h, fs.h
_NO_FILE, _AT_START = np.int32(-1), np.int64(0)

# Called by symbol, as ctypes functions would keep the loops out of Numba's cache.
_lseek: Any = types.ExternalFunction("lseek", types.int64(types.int32, types.int64, types.int32))
_msync: Any = types.ExternalFunction("msync", types.int32(types.uintp, types.uintp, types.int32))
_mmap: Any = types.ExternalFunction(
    "mmap", types.intp(types.uintp, types.uintp, types.int32, types.int32, types.int32, types.int64)
)

Pass = Callable[[int], tuple[float, int]]  # seed -> ns per lookup, lookups that found something else


class CannotMeasure(Exception):
    """This kernel or sandbox does not let us; the message is the reason. The prediction still holds."""


_jit = jit()


@_jit
def _seek_all(fd, offsets):
    """Look all these offsets up; how many were not found where they are."""
    wrong = 0
    for i in range(offsets.size):
        wrong += _lseek(fd, offsets[i], _SEEK_DATA) != offsets[i]
    return wrong


@_jit
def _msync_all(page_size, addresses):
    """Look all these addresses up; how many have no mapping."""
    wrong = 0
    for i in range(addresses.size):
        wrong += _msync(addresses[i], page_size, _MS_ASYNC) != 0
    return wrong


@_jit
def _map_all(page_size, addresses):
    """Map a page at each address, in this order, neighbours with different protection; how many failed."""
    failed = 0
    for i in range(addresses.size):
        protection = np.int32(addresses[i] // page_size & np.uint64(1)) * _PROT_READ
        failed += _mmap(addresses[i], page_size, protection, _FLAGS, _NO_FILE, _AT_START) == -1
    return failed


# -- counting nodes in the kernel ---------------------------------------------------------------------------


def read_slabinfo() -> str:
    """/proc/slabinfo; only root can read it, and sandboxes may lack it."""
    try:
        return (PROC / "slabinfo").read_text()
    except OSError as error:
        raise CannotMeasure(f"/proc/slabinfo: {error.strerror}; counting nodes takes root") from None


class _NodeCache:
    """One slab cache of the running kernel.

    Its row may bear the name of a cache it is merged with, whose objects are then counted too.
    """

    def __init__(self, name: str) -> None:
        self.name, self.shrinks = name, True
        rows = {line.split(" ", 1)[0] for line in read_slabinfo().splitlines()}
        self.row = name if name in rows else self._merged_with(rows)

    def _merged_with(self, rows: set[str]) -> str:
        own = (SYS_SLAB / self.name).resolve()
        with suppress(OSError):
            for other in SYS_SLAB.iterdir():
                if other.name in rows and own.exists() and other.resolve() == own:
                    return other.name
        raise CannotMeasure(f"/proc/slabinfo: no cache {self.name}")

    def read(self) -> tuple[int, int, int]:
        """Objects in use, bytes of one, objects of a slab."""
        for line in read_slabinfo().splitlines():
            field = line.split()
            if field and field[0] == self.row and len(field) > 4 and all(n.isdigit() for n in field[1:5]):
                return int(field[1]), int(field[3]), int(field[4])
        raise CannotMeasure(f"/proc/slabinfo: no numbers for {self.row}")

    def shrink(self) -> None:
        """Put every CPU's own slabs back, or SLUB counts their free objects as used: mm/slub.c, v6.18."""
        try:
            (SYS_SLAB / self.row / "shrink").write_text("1")
        except OSError:
            self.shrinks = False

    def settled(self) -> int:
        """Objects in use, once RCU has freed what it held: when three readings in a row agree, or soon."""
        readings: list[int] = []
        for _ in range(READINGS):
            self.shrink()
            readings.append(self.read()[0])
            if len(readings) > 2 and max(readings[-3:]) - min(readings[-3:]) <= 2:
                break
            time.sleep(SETTLE_S)
        return round(statistics.median(readings[-3:]))

    @property
    def uncertain(self) -> int:
        """Objects that may count as used and are free, where the cache cannot be shrunk: a slab a CPU."""
        return 0 if self.shrinks else self.read()[2] * (os.cpu_count() or 1)


# -- trees in the kernel ------------------------------------------------------------------------------------


class _Tree(ABC):
    """A tree in the running kernel that can be built, looked up in, and dropped."""

    @abstractmethod
    def build(self) -> None:
        """Store the entries."""

    @abstractmethod
    def drop(self) -> None:
        """Remove them again."""

    @abstractmethod
    def contenders(self) -> dict[str, Pass]:
        """What to time: ``lookup``, ``baseline`` (one page) and ``one_node`` (64 pages side by side)."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""

    def __enter__(self) -> _Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _SparseFile(_Tree):
    """A memfd with one byte in some of its pages."""

    def __init__(self, pages: list[NDArray[np.uint64]], page_size: int) -> None:
        self.page_size, self.fds = page_size, [-1] * len(pages)
        self.offsets = [(page * np.uint64(page_size)).astype(np.int64) for page in pages]

    def build(self) -> None:
        if not hasattr(os, "memfd_create"):
            raise CannotMeasure("memfd_create: this Python was built without it")
        try:
            for nth, offsets in enumerate(self.offsets):
                self.fds[nth] = os.memfd_create("workbench-live", os.MFD_CLOEXEC)
                for offset in offsets.tolist():
                    os.pwrite(self.fds[nth], b"x", offset)
                self._check(nth)
        except OSError as error:
            raise CannotMeasure(f"memfd: {error.strerror}") from None

    def _check(self, nth: int) -> None:
        """No huge pages: with them the tree has other entries than the pages written."""
        took, wanted = os.fstat(self.fds[nth]).st_blocks * 512, self.offsets[nth].size * self.page_size
        if took > wanted:
            how = SHMEM_HUGE.read_text().strip() if SHMEM_HUGE.is_file() else "unknown"
            raise CannotMeasure(f"memfd: {wanted} bytes of pages took {took}: shared memory takes huge pages "
                                f"here ({SHMEM_HUGE}: {how}; it must be never, advise or deny)")

    def drop(self) -> None:
        for nth, fd in enumerate(self.fds):
            if fd >= 0:
                self.fds[nth] = -1
                os.close(fd)

    def close(self) -> None:
        self.drop()

    def contenders(self) -> dict[str, Pass]:
        return {name: self._pass(nth) for nth, name in enumerate(("lookup", "baseline", "one_node"))}

    def _pass(self, nth: int) -> Pass:
        def run(seed: int) -> tuple[float, int]:
            return _timed(_seek_all, np.int32(self.fds[nth]), self.offsets[nth], seed)

        return run


class _Mappings(_Tree):
    """Single-page mappings in a child process, which ends when we do; a second one for the baselines."""

    def __init__(self, pages: list[NDArray[np.uint64]], page_size: int, span: int) -> None:
        self.children: list[_Child] = []
        self.pages, self.page_size, self.span = pages, page_size, span

    def start(self) -> list[tuple[int, int]]:
        """Start the children and choose the addresses; the mappings the first one has already."""
        for nth in (0, 1):
            child = _Child()
            self.children.append(child)
            base = _window(child.maps(), self.span, self.page_size)
            self.place(child, base, self.pages[nth])
        return self.children[0].maps()

    def place(self, child: _Child, base: int, pages: NDArray[np.uint64]) -> None:
        """Tell a child where its mappings will be."""
        child.addresses = (pages * np.uint64(self.page_size) + np.uint64(base)).tolist()
        child.ask("place", child.addresses)

    def build(self) -> None:
        for child in self.children:
            failed = child.ask("build")
            if failed:
                raise CannotMeasure(f"mmap: {failed} of {len(child.addresses)} mappings were refused")

    def drop(self) -> None:
        for child in self.children:
            child.ask("drop")

    def close(self) -> None:
        for child in self.children:
            child.kill()

    def contenders(self) -> dict[str, Pass]:
        full, small = self.children

        def run(child: _Child, nr: int) -> Pass:
            return lambda seed: tuple(child.ask("time", nr, seed))  # type: ignore[return-value]

        return {"lookup": run(full, 0), "baseline": run(small, 1), "one_node": run(small, 0)}


def recorded(name: str = "epyc-6.18") -> list[dict[str, Any]]:
    """The runs of a recorded measurement, as data/README.md says how it was made."""
    from workbench.model.files import data_dir

    return json.loads((data_dir() / "live" / f"{name}.json").read_text())["runs"]


class _Child:
    """A Python of its own that maps and looks up at our word, over pipes; it ends when they close."""

    def __init__(self) -> None:
        self.addresses: list[int] = []
        code = ("import sys; sys.path.insert(0, sys.argv[1]); "
                "from workbench.evidence.lookups import live; live.serve()")
        home = str(Path(workbench.__file__).parents[1])
        try:
            self.process = subprocess.Popen(  # in a session of its own, so that Ctrl-C reaches only us
                [sys.executable, "-c", code, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, start_new_session=True,
            )
        except OSError as error:
            raise CannotMeasure(f"no child process: {error.filename}: {error.strerror}") from None

    def ask(self, *what: Any) -> Any:
        """One command, one answer."""
        assert self.process.stdin and self.process.stdout and self.process.stderr
        try:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended; the empty answer says so
        answer = self.process.stdout.readline()
        if not answer:
            said = self.process.stderr.read().strip().splitlines()
            raise CannotMeasure(f"the child process ended: {printable(said[-1], 200) if said else 'no word'}")
        return json.loads(answer)

    def maps(self) -> list[tuple[int, int]]:
        """Its mappings: first and end address."""
        return [(first, end) for first, end in self.ask("maps")]

    def kill(self) -> None:
        """End it and wait for that."""
        self.process.kill()
        with suppress(BrokenPipeError):
            self.process.communicate()


def serve() -> None:
    """The child: answer commands, one JSON list a line, until the pipe closes."""
    page_size = np.uint64(os.sysconf("SC_PAGESIZE"))
    addresses = np.empty(0, np.uint64)
    for loop in (_msync_all, _map_all):
        loop(page_size, addresses)  # compiled, so that nothing is mapped for that later
    for line in sys.stdin:
        what, *args = json.loads(line)
        answer: Any = None
        if what == "maps":
            answer = _read_maps((PROC / "self/maps").read_text())
        elif what == "place":
            addresses = np.array(args[0], dtype=np.uint64)
        elif what == "build":
            answer = int(_map_all(page_size, addresses))
        elif what == "time":
            answer = _timed(_msync_all, page_size, addresses[:args[0] or None], args[1])
        elif what == "drop":
            _unmap(addresses, int(page_size))
        print(json.dumps(answer), flush=True)


def _unmap(addresses: NDArray[np.uint64], page_size: int) -> None:
    import ctypes

    munmap = ctypes.CDLL(None).munmap
    munmap.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    for address in addresses.tolist():
        munmap(address, page_size)


def _read_maps(text: str) -> list[tuple[int, int]]:
    """First and end address of each VMA of a /proc/PID/maps; x86's [vsyscall] is none."""
    ranges = [line.split(" ", 1)[0].split("-") for line in text.splitlines()]
    return [(int(first, 16), int(end, 16)) for first, end in ranges if int(first, 16) < 1 << 63]


def _window(maps: list[tuple[int, int]], span: int, page_size: int) -> int:
    """First address of so many pages in the middle of the largest gap between mappings."""
    ends = [1 << 20, *(end for _, end in maps)]  # the first MiB stays free: vm.mmap_min_addr
    gaps = [(first - end, end) for end, (first, _) in zip(ends, maps, strict=False)]
    size, start = max(gaps, default=(0, 0))
    room = size // page_size - 2
    if span > room:
        raise InputError(f"--bits {span.bit_length() - 1}: the largest gap between this process's mappings "
                         f"has {max(room, 0)} pages, enough for {max(room, 1).bit_length() - 1} bits")
    return start + (room - span) // 2 * page_size + page_size


# -- timing -------------------------------------------------------------------------------------------------


def _timed(loop: Callable[..., int], first: Any, keys: NDArray[Any], seed: int) -> tuple[float, int]:
    """Look keys up in random order, :data:`LOOKUPS` of them, repeated where there are fewer."""
    rng = np.random.default_rng(seed)
    keys = np.resize(keys, LOOKUPS) if keys.size < LOOKUPS else keys
    keys = rng.permutation(keys)[:LOOKUPS]
    start = time.perf_counter_ns()
    wrong = loop(first, keys)
    return (time.perf_counter_ns() - start) / LOOKUPS, int(wrong)


@contextmanager
def _on_one_cpu() -> Iterator[None]:
    """Stay on one CPU, where the system lets us; children too that start meanwhile."""
    before = None
    with suppress(OSError, AttributeError):
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        if before:
            with suppress(OSError):
                os.sched_setaffinity(0, before)


def _times(contenders: dict[str, Pass], seed: int, passes: int) -> dict[str, Any]:
    """All of them in turn, pass by pass, after one pass that warms up."""
    ns: dict[str, list[float]] = {name: [] for name in contenders}
    nr_wrong = 0
    for nth in range(passes + 1):
        for name, run in contenders.items():
            took, wrong = run(seed + nth)
            nr_wrong += wrong
            if nth:
                ns[name].append(took)
    if nr_wrong:
        raise CannotMeasure(f"{nr_wrong} of {LOOKUPS * len(ns) * (passes + 1)} lookups did not find the page "
                            f"that was stored")
    spread = {name: {"ns_min": round(min(of), 1), "ns_median": round(statistics.median(of), 1),
                     "ns_max": round(max(of), 1)} for name, of in ns.items()}
    lookup, baseline = spread["lookup"]["ns_median"], spread["baseline"]["ns_median"]
    return {"ns_lookup": lookup, "ns_baseline": baseline, "ns_walk": round(lookup - baseline, 1),
            "ns_one_node": spread["one_node"]["ns_median"], "spread": spread, "passes": passes,
            "nr_lookups": LOOKUPS}


# -- what to build, and whether it fits ---------------------------------------------------------------------


def _choose(nr_entries: int, bits: int, seed: int, dense: bool) -> PfnSet:
    if nr_entries < 1 or seed < 0:
        raise InputError(f"--entries {nr_entries} --seed {seed}: at least 1 entry, and a seed of 0 or more")
    if nr_entries > 1 << bits:
        raise InputError(f"--entries {nr_entries}: there are {1 << bits} indices of {bits} bits")
    if dense:
        return PfnSet.from_ranges([(0, nr_entries)])
    return Scatter(nr_pages=nr_entries, within=PfnSet.from_ranges([(0, 1 << bits)])).draw(seed)


def available_bytes() -> dict[str, int]:
    """What limits the memory of this process, by where it says so, in bytes."""
    fields = {}
    with suppress(OSError):
        for line in (PROC / "meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            fields[name] = int(value.split()[0]) * 1024
    found = {"MemAvailable of /proc/meminfo": fields["MemAvailable"]} if "MemAvailable" in fields else {}
    with suppress(OSError):
        if (PROC / "sys/vm/overcommit_memory").read_text().strip() == "2":  # pages of a memfd are charged
            found["CommitLimit of /proc/meminfo"] = fields["CommitLimit"] - fields["Committed_AS"]
    found.update(_cgroup_room())
    return found


def _cgroup_room() -> dict[str, int]:
    """Limit less use of each memory cgroup above us; page cache that can go counts as free."""
    found = {}
    with suppress(OSError):
        for line in (PROC / "self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                root, limit, used, cache = CGROUPS, "memory.max", "memory.current", "inactive_file"
            elif "memory" in controllers.split(","):
                root, limit, used = CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
                cache = "total_inactive_file"
            else:
                continue
            at = root / path.lstrip("/")
            for folder in (at, *at.parents):
                with suppress(OSError, ValueError, KeyError):
                    stat = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
                    most, now = (int((folder / name).read_text()) for name in (limit, used))
                    found[str(folder / limit)] = most - now + int(stat[cache])
                if folder == root:
                    break
    return found


def _check_memory(nr_bytes: int) -> None:
    for where, free in available_bytes().items():
        if nr_bytes > MEMORY_SHARE * free:
            raise InputError(f"this takes {_mib(nr_bytes)}, and {where} leaves {_mib(free)}, of which at "
                             f"most {MEMORY_SHARE:.0%} are taken; use fewer --entries")


def _mib(nr_bytes: int) -> str:
    return f"{max(nr_bytes, 0) / (1 << 20):,.1f} MiB"


def _check_release(since: tuple[int, int], what: str) -> None:
    uname = os.uname()
    if uname.sysname != "Linux":
        raise CannotMeasure(f"{uname.sysname} is not Linux")
    if kernel_version(uname.release) < since:
        raise CannotMeasure(f"Linux {uname.release}: {what} since v{since[0]}.{since[1]}")


def _kernel() -> KernelConfig:
    """The running kernel as far as it counts here: page size, CPUs, and xa_nodes as its slab cache has them.

    Who cannot read that gets xa_nodes of 64 slots.
    """
    page_shift = os.sysconf("SC_PAGESIZE").bit_length() - 1
    kernel = replace(KernelConfig(), page_shift=page_shift, nr_cpus=os.cpu_count() or 1)
    with suppress(CannotMeasure):
        if _NodeCache(XA_CACHE).read()[1] < kernel.sizeof_xa_node:  # CONFIG_BASE_SMALL: 16 slots
            return replace(kernel, xa_chunk_shift=4, sizeof_xa_node=192)
    return kernel


def _cpu_model() -> str:
    """What /proc/cpuinfo calls the CPU; the architecture where it has no name."""
    with suppress(OSError):
        for line in (PROC / "cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "cpu model", "cpu", "machine") and value.strip():
                return printable(value.strip(), 100)
    return os.uname().machine


# -- the two measurements -----------------------------------------------------------------------------------


def live_xarray(nr_entries: int = 100_000, bits: int = 28, seed: int = 1,
                progress: Callable[[str], None] = lambda _: None, *, dense: bool = False,
                passes: int = PASSES) -> dict[str, Any]:
    """Build an XArray of page indices in the running kernel: its nodes and the time of a lookup.

    Exact prediction. Takes one page of memory for each entry, and says so first; nothing stays behind.

    Parameters
    ----------
    nr_entries : int
        Pages written.
    bits : int
        They lie at random among ``2**bits`` pages; at most 63 less the page shift, as an offset is a loff_t.
    seed : int
        Of that choice, and of the order of lookups.
    progress : callable
        Is told in a line what goes on.
    dense : bool
        The first ``nr_entries`` pages instead.
    passes : int
        Passes of :data:`LOOKUPS` lookups each; the median of them is reported.

    Returns
    -------
    dict
        ``predicted_nodes``, ``measured_nodes`` (None: ``reason`` says why), ``noise_nodes`` (largest drift
        over an interval that added nothing), ``agrees`` (within 1 % and the noise; None where not measured),
        ``ns_lookup``, ``ns_baseline`` (the same call on a file of one page), ``ns_one_node`` (64 pages),
        ``ns_walk`` (lookup less baseline), ``spread``, ``nodes_left``, ``kernel``, ``cpu``, ``beside``
        (another measurement that ran meanwhile, or ""), and what was asked for.
    """
    kernel = _kernel()
    most = 63 - kernel.page_shift
    if not 0 <= bits <= most:
        raise InputError(f"--bits {bits} is not 0..{most}: a file's offset is below 2^63, a page is "
                         f"2^{kernel.page_shift} bytes")
    _check_memory(nr_entries * kernel.page_size)
    pfns = _choose(nr_entries, bits, seed, dense)
    counts = XArray().counts(pfns, kernel)
    size = (pfns.max_pfn or 0) * kernel.page_size + 1
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and size > limit:
        raise InputError(f"the file would have {size} bytes; ulimit -f (RLIMIT_FSIZE) is {limit} bytes")
    memory_bytes = (nr_entries + 65) * kernel.page_size + counts.bytes
    _check_memory(memory_bytes)
    progress(f"takes {_mib(memory_bytes)}: {nr_entries:,} pages of {kernel.page_size:,} bytes and "
             f"{counts.nr_nodes:,} nodes")
    pages = pfns.to_pfns(limit=1 << 34)
    _seek_all(np.int32(-1), np.empty(0, np.int64))  # compiled, so that its cache file is read before
    file = _SparseFile([pages, np.zeros(1, np.uint64), np.arange(64, dtype=np.uint64)], kernel.page_size)
    with file, _on_one_cpu():
        try:
            _check_release(XARRAY_SINCE, "the page cache is an XArray")
        except CannotMeasure as why:
            found = {"reason": str(why), "ns_reason": str(why)}
        else:  # the file of 64 pages has one or more nodes too, and the file of page 0 none
            few = XArray().counts(PfnSet.from_ranges([(0, 64)]), kernel).nr_nodes
            found = _measure(file, XA_CACHE, counts.nr_nodes, few, progress, seed, passes)
    return _answer("xarray", found, counts.nr_nodes, True, nr_entries, bits, dense, seed, memory_bytes, {
        "nodes_per_shift": {str(shift): nr for shift, nr in counts.nodes_per_shift.items()},
        "height": counts.height, "insertion": "ascending",
        "lookup_is": "lseek(SEEK_DATA) on a page of a memfd",
    })


def live_maple(nr_entries: int = 50_000, bits: int = 28, seed: int = 1,
               progress: Callable[[str], None] = lambda _: None, *, dense: bool = False,
               passes: int = PASSES) -> dict[str, Any]:
    """Build a maple tree of VMAs in a child process: its nodes and the time of a find_vma().

    The prediction replays the split rule with 10 slots for inner nodes, on top of what the child has mapped;
    how these older nodes are filled is assumed (as if mapped in ascending order), so it is not exact.
    Scattered pages are mapped in random order, dense ones in ascending order. Parameters and result as
    :func:`live_xarray`; ``nr_entries`` is bounded by vm.max_map_count, ``bits`` by the address space.
    """
    kernel = _kernel()
    page_size = kernel.page_size
    if not 0 <= bits <= 51:
        raise InputError(f"--bits {bits} is not 0..51, more than any address space has")
    _check_map_count(nr_entries, 0)
    pfns = _choose(nr_entries, bits, seed, dense)
    slabs = SlabCache.of(SIZEOF_MAPLE_NODE, kernel, align=SIZEOF_MAPLE_NODE).slab_bytes(nr_entries // 4 + 1)
    memory_bytes = nr_entries * VMA_BYTES + slabs
    _check_memory(memory_bytes)
    progress(f"takes at most {_mib(memory_bytes)} for {nr_entries:,} VMAs and their nodes, and two Pythons")
    pages = pfns.to_pfns()
    if not dense:
        pages = np.random.default_rng(seed).permutation(pages)
    tree = _Mappings([pages, np.arange(64, dtype=np.uint64)], page_size, max(1 << bits, 64))
    with tree, _on_one_cpu():
        try:
            _check_release(MAPLE_SINCE, "VMAs lie in a maple tree")
            existing = tree.start()
        except CannotMeasure as why:
            levels = replay_gap_tracking((pages * np.uint64(page_size)).tolist(), page_size)
            found = {"reason": str(why), "ns_reason": str(why)}
            predicted = sum(levels)
        else:
            _check_map_count(nr_entries, len(existing))
            full, small = (child.addresses for child in tree.children)
            predicted, levels = _added(existing, full, page_size)
            few = _added(existing, small, page_size)[0]
            found = _measure(tree, "maple_node", predicted, few, progress, seed, passes)
    return _answer("maple", found, predicted, False, nr_entries, bits, dense, seed, memory_bytes, {
        "nodes_per_level": levels, "height": len(levels), "insertion": "ascending" if dense else "random",
        "lookup_is": "msync(MS_ASYNC) on a page of a process with these mappings",
    })


def _check_map_count(nr_entries: int, existing: int) -> None:
    try:
        most = int((PROC / "sys/vm/max_map_count").read_text())
    except OSError:
        return
    if nr_entries + existing > most:
        raise InputError(f"--entries {nr_entries}: a process may have {most} mappings "
                         f"(vm.max_map_count), and has {existing or 'some'} already")


def _measure(tree: _Tree, cache_name: str, predicted: int, beside: int, progress: Callable[[str], None],
             seed: int, passes: int) -> dict[str, Any]:
    """Count rounds of building the tree, then build it once more and time lookups; reasons where it fails."""
    found: dict[str, Any] = {"reason": None, "ns_reason": None}
    try:
        found.update(_count_rounds(tree, _NodeCache(cache_name), predicted, beside, progress))
    except CannotMeasure as why:
        found["reason"] = str(why)
    tree.drop()
    progress(f"timing {passes} passes of {LOOKUPS:,} lookups")
    try:
        with alone("lookups in the running kernel", say=progress) as found["beside"]:
            tree.build()
            found.update(_times(tree.contenders(), seed, passes))
    except CannotMeasure as why:
        found["ns_reason"] = str(why)
    tree.drop()
    return found


def _count_rounds(tree: _Tree, cache: _NodeCache, predicted: int, beside: int,
                  progress: Callable[[str], None]) -> dict[str, Any]:
    """Nodes before, with the tree, after it, and after idling as long; until two quiet rounds agree."""
    rounds: list[dict[str, int]] = []
    quiet: list[int] = []
    limit = max(2, QUIET_SHARE * predicted)
    before = cache.settled()
    for nth in range(ROUNDS):
        progress(f"building the tree to count its nodes, round {nth + 1} of at most {ROUNDS}")
        start = time.monotonic()
        tree.build()
        measured = cache.settled() - before - beside
        took = time.monotonic() - start
        tree.drop()
        after = cache.settled()
        time.sleep(took)
        idle = cache.settled()
        rounds.append({"measured_nodes": measured, "nodes_left": after - before, "drift": idle - after})
        if max(abs(after - before), abs(idle - after)) <= limit:
            quiet.append(measured)
        before = idle
        if len(quiet) > 1 and abs(quiet[-1] - quiet[-2]) <= limit:
            counted = [each for each in rounds if each["measured_nodes"] in quiet[-2:]]
            break
    else:
        counted = rounds
    noise = max(max(abs(each["nodes_left"]), abs(each["drift"])) for each in counted)
    return {"measured_nodes": round(statistics.median(each["measured_nodes"] for each in counted)),
            "noise_nodes": noise + cache.uncertain, "nodes_left": rounds[-1]["nodes_left"],
            "rounds": rounds, "slab_cache": cache.row}


def _answer(name: str, found: dict[str, Any], predicted: int, exact: bool, nr_entries: int, bits: int,
            dense: bool, seed: int, memory_bytes: int, more: dict[str, Any]) -> dict[str, Any]:
    """All keys, whatever could be measured."""
    keys = ("measured_nodes", "noise_nodes", "ns_lookup", "ns_baseline", "ns_one_node", "ns_walk", "spread",
            "passes", "nr_lookups", "rounds", "nodes_left", "slab_cache", "reason", "ns_reason", "beside")
    result = {key: found.get(key) for key in keys}
    measured, difference, agrees = result["measured_nodes"], None, None
    if measured is not None:
        difference = measured - predicted
        agrees = abs(difference) <= math.ceil(TOLERANCE * predicted) + (result["noise_nodes"] or 0)
    return {
        "map": name, "nr_entries": nr_entries, "bits": bits, "dense": dense, "seed": seed,
        "predicted_nodes": predicted, "exact": exact, "difference_nodes": difference, "agrees": agrees,
        **result, **more, "memory_bytes": memory_bytes, "page_size": os.sysconf("SC_PAGESIZE"),
        "kernel": os.uname().release, "cpu": _cpu_model(),
    }


# -- the maple tree of VMAs ---------------------------------------------------------------------------------
# It tracks gaps, so its inner nodes have 10 slots, and its leaves 16. The functions follow those of the same
# names in workbench/pfnmaps/maple.py, which replay trees with 16 slots everywhere.


def _added(existing: list[tuple[int, int]], addresses: list[int], page_size: int) -> tuple[int, list[int]]:
    """Nodes that mappings of one page add to those there are; and the levels of the whole tree."""
    before = [(first, end - 1) for first, end in existing]
    levels = _levels(before + [(first, first + page_size - 1) for first in addresses])
    return sum(levels) - sum(_levels(before)), levels


def replay_gap_tracking(addresses: list[int], page_size: int = 4096,
                        inner_slots: int = MAPLE_ARANGE64_SLOTS) -> list[int]:
    """Nodes per level, leaves first, of a gap-tracking tree of single-page mappings, in order of insertion.

    Examples
    --------
    >>> replay_gap_tracking([0x1000 * n for n in range(1, 101)])
    [7, 1]
    """
    return _levels([(first, first + page_size - 1) for first in addresses], inner_slots)


def _levels(ranges: list[tuple[int, int]], inner_slots: int = MAPLE_ARANGE64_SLOTS) -> list[int]:
    root = _Node([MAX_PFN], [False], True)
    for first, last in ranges:
        root = _store(root, first, last, inner_slots)
    levels, row = [], [root]
    while row:
        levels.append(len(row))
        row = [] if row[0].is_leaf else [child for node in row for child in node.slot]
    return levels[::-1]


def _store(root: _Node, first: int, last: int, inner_slots: int) -> _Node:
    path, node, start = [], root, 0
    while not node.is_leaf:
        at = bisect_left(node.last, first)
        start = node.last[at - 1] + 1 if at else start
        path.append((node, at))
        node = node.slot[at]
    at = bisect_left(node.last, first)
    start, end = node.last[at - 1] + 1 if at else start, node.last[at]
    before, after = first > start, last < end
    node.last[at:at + 1] = [first - 1] * before + [last] + [end] * after
    node.slot[at:at + 1] = [False] * before + [True] + [False] * after
    while len(node.last) > _nr_slots(node, inner_slots):  # mas_split()
        split = (len(node.last) - 1) // 2
        if not path:
            left, right = node.cut(split)
            return _Node([left.last[-1], right.last[-1]], [left, right], False)
        parent, at = path.pop()
        if _push(parent, at, at - 1, inner_slots) or _push(parent, at, at + 1, inner_slots):
            return root
        left, right = node.cut(split)
        parent.slot[at:at + 1], parent.last[at:at + 1] = [left, right], [left.last[-1], right.last[-1]]
        node = parent
    return root


def _nr_slots(node: _Node, inner_slots: int) -> int:
    return MAPLE_RANGE64_SLOTS if node.is_leaf else inner_slots


def _push(parent: _Node, at: int, to: int, inner_slots: int) -> bool:
    """mas_push_data()."""
    if not 0 <= to < len(parent.slot):
        return False
    node, beside = parent.slot[at], parent.slot[to]
    slots = _nr_slots(node, inner_slots)
    slot_total = len(node.last) - 1 + len(beside.last) - 1
    if slot_total >= 2 * slots - 2 - node.is_leaf - (node.last[-1] == MAX_PFN):
        return False
    split = slots - 2
    left, right = (beside + node).cut(split) if to < at else (node + beside).cut(slot_total - split)
    low = min(at, to)
    parent.slot[low:low + 2], parent.last[low] = [left, right], left.last[-1]
    return True
