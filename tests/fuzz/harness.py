"""The fuzzing harness: hostile inputs through every reader, each under a limit, in a process of its own.

    python tests/fuzz/harness.py --seconds 600 [READER...]     fuzz; what is found goes to findings/
    python tests/fuzz/harness.py --file FILE READER            one input again, with its traceback

A worker process runs many inputs, so that an input takes milliseconds; it may die of any of them. What an
input may lead to: a result that its reader's own checks hold true, or an InputError of one line. What is a
finding: any other exception, a RuntimeWarning (a number that overflowed), an InputError that hides a
MemoryError, more than 2 s of CPU time or 30 s of waiting, more than 1 GiB of memory, a signal; and, by an
audit hook, a file opened for writing outside ``out``, a socket, a process, or an unpickled object. Input
``n`` of a reader is the same on every machine; the first are the seeds, which must be read.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FINDINGS = HERE / "findings"
CPU_SECONDS = 2
WALL_SECONDS = 30  # a worker may have to wait for a busy machine
MEMORY_BYTES = 1 << 30
MOST_SHRINKS = 150
MOST_SHRINK_SECONDS = 10


class Wrong(Exception):
    """A reader took an input and its result is not right."""


@dataclass(frozen=True)
class Reader:
    """One reader under test.

    Parameters
    ----------
    name : str
    seeds : callable
        Gives good inputs.
    mutate : callable
        Breaks them: ``mutate(rng, seeds) -> bytes``.
    read : callable
        ``read(path, out, rng)``: reads the input file ``path``, may write below the folder ``out``, raises
        Wrong where a result is not right.
    suffix : str
        Of the input's file.
    quick : int
        Inputs in ``make test``.
    warm : bool
        Read the seeds once before, without limits.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    mutate: Callable[[random.Random, Sequence[bytes]], bytes]
    read: Callable[[Path, Path, random.Random], None]
    suffix: str = ""
    quick: int = 200
    warm: bool = True


@dataclass(frozen=True)
class Finding:
    """What went wrong, and with which input: a number, or a file."""

    reader: str
    kind: str
    said: str
    number: int = -1
    trace: str = ""

    @property
    def key(self) -> str:
        """Findings of one key are one bug, most likely."""
        what = self.said[:40] if self.kind == "wrong" else self.trace
        return hashlib.sha256(f"{self.kind}{what or self.said[:40]}".encode()).hexdigest()[:8]


def make(reader: Reader, seeds: Sequence[bytes], number: int) -> bytes:
    """Input ``number`` of a reader."""
    if number < len(seeds):
        return seeds[number]
    return reader.mutate(random.Random(f"{reader.name}/{number}"), seeds)


# -- the worker --------------------------------------------------------------------------------------------


class Forbidden(BaseException):
    """Something that no reader may do; raised before it is done."""


class _Guard:
    """An audit hook that lets a reader write below one folder, and do nothing else to the world."""

    PATHS = frozenset(
        (
            "os.remove",
            "os.rename",
            "os.mkdir",
            "os.rmdir",
            "os.link",
            "os.symlink",
            "os.truncate",
            "os.chmod",
            "os.chown",
            "os.utime",
            "shutil.rmtree",
            "shutil.move",
            "os.setxattr",
        )
    )
    NEVER = (
        "socket.",
        "subprocess.",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "os.system",
        "os.kill",
        "pty.",
        "pickle.find_class",
        "ctypes.dlopen",
        "urllib.",
        "ftplib.",
        "http.",
        "smtplib.",
        "webbrowser.",
        "os.putenv",
        "os.chdir",
        "os.listxattr",
        "os.startfile",
    )

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] = ()
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        bad = ""
        if event == "open":
            path, mode, flags = args
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            )
            if writes and not self._may(path):
                bad = f"open {path!r} for writing"
        elif event in self.PATHS:
            if not all(self._may(path) for path in args if isinstance(path, (str, bytes, os.PathLike))):
                bad = f"{event} {args!r}"
        elif event == "pickle.find_class" and str(args[0]).split(".")[0] == "numba":
            pass  # Numba reads what it has compiled from its own cache
        elif event.startswith(self.NEVER):
            bad = f"{event} {args!r}"
        if bad:
            self.seen.append(bad[:300])
            raise Forbidden(bad[:300])

    def _may(self, path: Any) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return True  # a descriptor that was opened before
        path = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        return f"{path}/".startswith(self.allowed) or path == "/dev/null"


class Worker:
    """Runs inputs of readers one after the other in this process."""

    def __init__(self, readers: dict[str, Reader], folder: Path, here: mmap.mmap | None = None):
        self.readers, self.folder, self.here = readers, folder, here
        self.seeds: dict[str, list[bytes]] = {}
        self.guard = _Guard()
        # Numba keeps what it compiles; the rest is what the readers are allowed.
        cache = os.environ.get("NUMBA_CACHE_DIR", "")
        self.guard.allowed = (str(folder / "out") + "/", *((cache,) if cache else ()))
        for name in ("in", "out"):
            (folder / name).mkdir(exist_ok=True)

    def warm_up(self, name: str) -> None:
        """Import and compile what a reader takes: not part of any input's time."""
        reader = self.readers[name]
        self.seeds[name] = list(reader.seeds())
        for nr, seed in enumerate(self.seeds[name] if reader.warm else ()):
            with contextlib.suppress(Exception):
                reader.read(*self._place(reader, seed), random.Random(nr))

    def run(self, name: str, number: int, data: bytes | None = None) -> tuple[str, Finding | None]:
        """One input: "ok", "refused" or "finding", and the finding."""
        if name not in self.seeds:
            self.warm_up(name)
        reader = self.readers[name]
        if data is None:
            data = make(reader, self.seeds[name], number)
        path, out = self._place(reader, data)
        if self.here is not None:
            self.here[:8] = struct.pack("q", number)  # who dies of it cannot say so
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY_BYTES, hard))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
        self.guard.seen.clear()
        error: BaseException | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", RuntimeWarning)
                self.guard.on = True
                reader.read(path, out, random.Random(number))
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            error = raised
        finally:
            self.guard.on = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        left = [p.name for p in self.folder.iterdir() if p.name not in ("in", "out")]
        for stray in left:
            (self.folder / stray).unlink()
        kind, said = self._judged(error, left, is_seed=0 <= number < len(self.seeds[name]))
        if not kind:
            return said, None
        trace = "" if error is None else "".join(traceback.format_exception(error))
        place = "" if error is None else _place_of(error)
        return "finding", Finding(name, kind, f"{said}\n{trace[-3000:]}", number, place)

    def _judged(self, error: BaseException | None, left: list[str], is_seed: bool) -> tuple[str, str]:
        from workbench.model.errors import InputError

        if self.guard.seen:
            return "forbidden", self.guard.seen[0]
        if left:
            return "stray file", ", ".join(left)
        if error is None:
            return "", "ok"
        if isinstance(error, Wrong):
            return "wrong", str(error)
        if not isinstance(error, InputError):
            return "traceback", f"{type(error).__name__}: {str(error)[:300]}"
        if _hides_memory_error(error):
            return "memory", str(error)
        message = str(error)
        if len(message) > 2000 or not message or not message.isprintable():
            return "message", repr(message[:300])
        if is_seed:
            return "seed refused", message
        return "", "refused"

    def _place(self, reader: Reader, data: bytes) -> tuple[Path, Path]:
        """The input as a file in an otherwise empty folder, and an empty folder to write to."""
        out = self.folder / "out"
        for folder in (self.folder / "in", out):
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        path = self.folder / "in" / f"input{reader.suffix}"
        path.write_bytes(data)
        return path, out


def _address_space() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[0]) * mmap.PAGESIZE


def _hides_memory_error(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _place_of(error: BaseException) -> str:
    """The line of the package that an exception came through last."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "/workbench/" in frame.filename:
            return f"{Path(frame.filename).name}:{frame.name}:{type(error).__name__}"
    return type(error).__name__


def serve(readers: dict[str, Reader]) -> None:
    """A worker's main loop: a request a line on stdin, answers on the descriptor that stdout had."""
    answers = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # what the readers say
    if not os.environ.get("FUZZ_STDERR"):
        os.dup2(null, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder, progress = Path(sys.argv[2]), sys.argv[3]
    with open(progress, "r+b") as file:  # noqa: PTH123
        here = mmap.mmap(file.fileno(), 24)
    worker = Worker(readers, folder, here)
    for line in sys.stdin:
        request = json.loads(line)
        data = Path(request["file"]).read_bytes() if request.get("file") else None
        if request["reader"] not in worker.seeds:
            worker.warm_up(request["reader"])
        counts = {"ok": 0, "refused": 0, "finding": 0}
        until = time.monotonic() + request.get("seconds", 1e9)
        number = first = request["first"]
        while number < first + request["count"] and time.monotonic() < until:
            outcome, finding = worker.run(request["reader"], number, data)
            counts[outcome] += 1
            here[8:] = struct.pack("qq", counts["ok"], counts["refused"])
            number += 1
            if finding is not None:
                print(json.dumps({"found": finding.__dict__}), file=answers, flush=True)
        print(
            json.dumps({"done": number, **counts, "seeds": len(worker.seeds[request["reader"]])}),
            file=answers,
            flush=True,
        )


# -- the parent --------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of a reader's inputs."""

    ok: int = 0
    refused: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return self.ok + self.refused + len(self.findings)


class Pool:
    """One worker, started anew whenever it dies. ``module`` is the file that has ``READERS``."""

    def __init__(self, folder: Path, module: Path = HERE / "readers.py"):
        self.folder, self.module = folder, module
        self.progress = folder / "progress"
        self.progress.write_bytes(bytes(24))
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            self.process = None

    def _ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Answers of one request; the last is ``done``, or ``died`` with a signal or status."""
        if self.process is None:
            work = self.folder / "work"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            # Arrow's own allocator reserves address space by the GiB, which the limit counts.
            env = {
                **os.environ,
                "ARROW_DEFAULT_MEMORY_POOL": "system",
                "PYTHONFAULTHANDLER": "",
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "WORKBENCH_BATCH": "1",
            }
            self.process = subprocess.Popen(
                [sys.executable, str(self.module), "--worker", str(work), str(self.progress)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=env,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.progress.write_bytes(struct.pack("qqq", -1, 0, 0))
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                answer = json.loads(line)
                yield answer
                if "done" in answer:
                    return
        except BrokenPipeError:
            pass
        status = self.process.wait()
        self._stop()
        at, ok, refused = struct.unpack("qqq", self.progress.read_bytes())
        yield {"died": status, "at": at, "ok": ok, "refused": refused}

    def run(
        self,
        name: str,
        count: int = 1 << 60,
        seconds: float = 1e9,
        first: int = 0,
        file: Path | None = None,
        most: int = 30,
    ) -> tuple[Tally, int]:
        """Run inputs of a reader; stop after ``most`` findings. Gives the tally and the next number."""
        tally, start, number, end = Tally(), time.monotonic(), first, first + count
        while (
            number < end and (left := seconds - (time.monotonic() - start)) > 0 and len(tally.findings) < most
        ):
            request = {
                "reader": name,
                "first": number,
                "count": min(end - number, 2000),
                "seconds": min(left, 20),
            }
            for answer in self._ask(request | ({"file": str(file)} if file else {})):
                if "found" in answer:
                    tally.findings.append(Finding(**answer["found"]))
                    continue
                tally.ok, tally.refused = tally.ok + answer["ok"], tally.refused + answer["refused"]
                if "died" in answer:
                    at = answer["at"]
                    tally.findings.append(Finding(name, *_death(answer["died"]), at))
                    if at < 0:  # not of an input
                        tally.seconds = time.monotonic() - start
                        return tally, number
                    number = at + 1
                else:
                    number = answer["done"]
        tally.seconds = time.monotonic() - start
        return tally, number

    def shrink(self, name: str, data: bytes, found: Finding) -> bytes:
        """A shorter input that leads to the same finding."""
        tries, size, until = 0, max(len(data) // 2, 1), time.monotonic() + MOST_SHRINK_SECONDS
        path = self.folder / "shrunk"
        while size and tries < MOST_SHRINKS and time.monotonic() < until:
            at, shorter = 0, False
            while at < len(data) and tries < MOST_SHRINKS and time.monotonic() < until:
                less = data[:at] + data[at + size :]
                path.write_bytes(less)
                tally, _ = self.run(name, 1, first=1 << 40, file=path)
                tries += 1
                if any((f.kind, f.trace) == (found.kind, found.trace) for f in tally.findings):
                    data, shorter = less, True
                else:
                    at += size
            size = size if shorter and size > 64 else size // 2
        return data


def _death(status: int) -> tuple[str, str]:
    if status == -signal.SIGPROF:
        return "hang", f"more than {CPU_SECONDS} s of CPU time"
    if status == -signal.SIGALRM:
        return "hang", f"no end after {WALL_SECONDS} s"
    return "crash", f"signal {signal.Signals(-status).name}" if status < 0 else f"exit {status}"


def fuzz(readers: dict[str, Reader], names: Sequence[str], seconds: float, first: int, folder: Path) -> int:
    """Fuzz each reader for its share of the time; the number of different findings."""
    nr_found, nr_inputs, start = 0, 0, time.monotonic()
    print(f"{'reader':<14}{'inputs':>9}{'read':>9}{'refused':>9}{'inputs/s':>10}  findings", flush=True)
    with Pool(folder) as pool:
        for nr, name in enumerate(names):
            left = seconds - (time.monotonic() - start)
            share = left / (len(names) - nr)
            tally, _ = pool.run(name, seconds=share, first=first)
            different = {finding.key: finding for finding in tally.findings}
            nr_inputs, nr_found = nr_inputs + tally.inputs, nr_found + len(different)
            print(
                f"{name:<14}{tally.inputs:>9,}{tally.ok:>9,}{tally.refused:>9,}"
                f"{tally.inputs / max(tally.seconds, 1e-9):>10,.0f}  {len(different) or 'none'}",
                flush=True,
            )
            seeds = list(readers[name].seeds()) if different else []
            for key, finding in different.items():
                path = FINDINGS / name / f"{finding.kind.replace(' ', '-')}-{key}"
                if finding.number >= 0:
                    data = pool.shrink(name, make(readers[name], seeds, finding.number), finding)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
                print(
                    f"  {path.relative_to(HERE)}: {finding.kind}, input {finding.number}: "
                    f"{finding.said.splitlines()[0][:150]} [{finding.trace}]",
                    flush=True,
                )
    took = time.monotonic() - start
    print(
        f"{nr_inputs:,} inputs in {took:.0f} s, {nr_inputs / took:,.0f} a second; {nr_found or 'no'} findings"
    )
    return nr_found


def main(readers: dict[str, Reader]) -> int:
    if sys.argv[1:2] == ["--worker"]:
        serve(readers)
        return 0
    parser = argparse.ArgumentParser(description="Fuzz the readers.")
    parser.add_argument("reader", nargs="*", help=f"default: all of {', '.join(readers)}")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--first", type=int, help="number of the first input; default: another each day")
    parser.add_argument("--file", type=Path, help="this input alone, in this process")
    args = parser.parse_args()
    if unknown := set(args.reader) - set(readers):
        parser.error(f"no reader {', '.join(sorted(unknown))}; there are {', '.join(readers)}")
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_fast_folder()) as folder:
        if args.file:
            worker = Worker(readers, Path(folder))
            outcome, finding = worker.run(args.reader[0], 1 << 40, args.file.read_bytes())
            print(outcome if finding is None else f"{finding.kind}: {finding.said}")
            return finding is not None
        first = int(time.time()) // 60 * 1_000_000 if args.first is None else args.first
        return bool(fuzz(readers, args.reader or list(readers), args.seconds, first, Path(folder)))


def _fast_folder() -> str | None:
    """Where files cost no disk, if there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
