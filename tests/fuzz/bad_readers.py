"""Readers that are wrong on purpose, each in its own way: the harness has to notice every one."""

import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import harness
from harness import Reader, Wrong

from workbench.model.errors import InputError


class _Evil:
    def __reduce__(self):
        return os.getcwd, ()


_PICKLED = pickle.dumps(_Evil())


def _right(path, out, rng):
    (out / "result").write_bytes(path.read_bytes())


def _refuses(path, out, rng):
    raise InputError("no good", file=path)


def _recurse(path, out, rng):
    return _recurse(path, out, rng)


def _hides_memory_error(path, out, rng):
    try:
        bytearray(1 << 32)
    except Exception as error:
        raise InputError(f"damaged: {error}") from None


def _loud(path, out, rng):
    raise InputError.__new__(InputError, "two\nlines")


def _overflow(path, out, rng):
    warnings.warn("overflow encountered in multiply", RuntimeWarning, stacklevel=1)


def _wrong(path, out, rng):
    raise Wrong("1 + 1 is 3")


def _swallows(path, out, rng):
    try:
        (path.parent.parent / "elsewhere").write_bytes(b"x")
    except BaseException:  # the audit hook's own exception too
        return


BAD = {
    "hang": (lambda p, o, r: all(True for _ in iter(int, 1)), "hang"),
    "traceback": (lambda p, o, r: {}["x"], "traceback"),
    "recursion": (_recurse, "traceback"),
    "memory": (lambda p, o, r: bytearray(1 << 32), "traceback"),
    "hidden-memory": (_hides_memory_error, "memory"),
    "crash": (lambda p, o, r: os.abort(), "crash"),
    "exit": (lambda p, o, r: os._exit(3), "crash"),
    "segfault": (lambda p, o, r: signal.raise_signal(signal.SIGSEGV), "crash"),
    "write": (lambda p, o, r: (p.parent.parent / "x").write_bytes(b""), "forbidden"),
    "traversal": (lambda p, o, r: (o / "../x").write_bytes(b""), "forbidden"),
    "remove": (lambda p, o, r: p.unlink(), "forbidden"),
    "swallowed-write": (_swallows, "forbidden"),
    "network": (lambda p, o, r: socket.create_connection(("127.0.0.1", 9)), "forbidden"),
    "process": (lambda p, o, r: subprocess.run(["true"], check=True), "forbidden"),
    "fork": (
        lambda p, o, r: multiprocessing.get_context("fork").Process(target=time.time).start(),
        "forbidden",
    ),
    "pickle": (lambda p, o, r: pickle.loads(_PICKLED), "forbidden"),
    "message": (_loud, "message"),
    "overflow": (_overflow, "traceback"),
    "wrong": (_wrong, "wrong"),
    "seed-refused": (_refuses, "seed refused"),
}
READERS = {
    name: Reader(name, lambda: [b"seed"], lambda rng, seeds: rng.randbytes(8), read, warm=False)
    for name, (read, _) in BAD.items()
}
READERS["right"] = Reader("right", lambda: [b"seed"], lambda rng, seeds: rng.randbytes(8), _right)
READERS["refuses"] = Reader("refuses", list, lambda rng, seeds: rng.randbytes(8), _refuses)

if __name__ == "__main__":
    raise SystemExit(harness.main(READERS))
