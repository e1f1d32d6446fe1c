"""A process of its own for what strangers sent: one capture at a time, with a time and a memory limit.

A capture that takes too long, or that ends the process, costs its row and a new process, and nothing else.
The process is started as a plain child, not by ``multiprocessing``: workers of Dask may have no children of
that kind. Answers come back as JSON: nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from multiprocessing.connection import Connection, Pipe

from workbench.model.errors import InputError
from workbench.studies.fleet._answers import Options, Seen, look
from workbench.studies.fleet._captures import Found

LIMIT_S = 30.0  # for one capture; assumed: a real one of 24 GiB takes 0.2 s
MEMORY_BYTES = 4 << 30  # beyond what Python, numpy and the workbench take at the start; assumed
START_S = 120.0  # until a new process is ready
MAX_ANSWER_BYTES = 16 << 20
CHILD = ("-c", "import sys; from workbench.studies.fleet._guard import serve; serve(sys.argv[1])")


class Guard:
    """A child process that looks at captures; started when it is first asked, and again when it died."""

    def __init__(self, options: Options, limit_s: float = LIMIT_S):
        self.options, self.limit_s = options, limit_s
        self._folder = ""  # its temporary files, also those that it can no longer remove itself
        self._child: subprocess.Popen[bytes] | None = None
        self._link: Connection | None = None

    def ask(self, found: Found) -> Seen:
        """What :func:`look` says, or why it could not say anything."""
        link = self._link or self._start()
        try:
            link.send_bytes(json.dumps(asdict(found)).encode())
            if not link.poll(self.limit_s):
                self.close()
                return Seen(found.name, f"took longer than {self.limit_s:g} s", again=True)
            return Seen(**json.loads(link.recv_bytes(MAX_ANSWER_BYTES)))
        except (EOFError, OSError):
            return Seen(found.name, self._how_it_ended(), again=True)

    def _start(self) -> Connection:
        here, there = Pipe()
        self._folder = tempfile.mkdtemp(prefix="workbench-fleet-")
        with there:
            os.set_inheritable(there.fileno(), True)
            env = {
                **os.environ,
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "TMPDIR": self._folder,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            }
            self._child = subprocess.Popen(
                [sys.executable, *CHILD, str(there.fileno())],
                env=env,
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._link = here
        try:
            here.send_bytes(json.dumps({"options": self.options.to_dict(), "memory": MEMORY_BYTES}).encode())
            if not here.poll(START_S):
                raise EOFError
            here.recv_bytes(64)
        except (EOFError, OSError):
            raise InputError(f"a worker process did not start: {self._how_it_ended()}") from None
        return here

    def _how_it_ended(self) -> str:
        child = self._child
        if child is None:
            return "its worker was gone"
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)
        status = child.returncode
        self.close()
        if status is not None and status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
            return f"its worker was ended by {name}" + "; too little memory?" * (name == "SIGKILL")
        return f"its worker ended by itself, with status {status}"

    def close(self) -> None:
        """End the process; it is started again when there is more to do."""
        if self._link is not None:
            self._link.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._link = self._child = None

    def kill(self) -> None:
        """End the process from another thread than the one that asks, which then learns of it."""
        if (child := self._child) is not None:
            child.kill()


def serve(fd: str) -> None:
    """The child: answer until the other end is closed."""
    link = Connection(int(fd))
    first = json.loads(link.recv_bytes())
    options = Options(**first["options"])
    _limit_memory(first["memory"])
    link.send_bytes(b"ready")
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            seen = look(Found(**json.loads(link.recv_bytes())), options)
            link.send_bytes(json.dumps(asdict(seen)).encode())


def _limit_memory(nr_bytes: int) -> None:
    """Address space: what is there now, and so much more. Not every system keeps to it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as file:  # noqa: PTH123
            now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = now + nr_bytes
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
