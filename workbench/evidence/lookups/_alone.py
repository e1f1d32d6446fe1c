"""Two measurements at once spoil each other: whoever comes second says so, waits a while, and marks its rows.

An advisory lock (flock) on one file in the temporary folder, for all users of the machine; processes with
another TMPDIR do not see it. The file is opened without following links and written to by its owner only, to
say who measures. A lock that somebody holds for ever costs a stated time and no more. Where no file can be
locked, that is said once and the measurement goes on.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from workbench.model.errors import printable

WAIT_S = 30.0  # at most; assumed: twice a quick cost table
POLL_S = 0.2
NAME = "page-workbench-measuring.lock"

_mine = threading.local()
_said: set[str] = set()


def lock_path() -> Path:
    """The file: in ``WORKBENCH_LOCK_DIR``, else in the temporary folder."""
    return Path(os.environ.get("WORKBENCH_LOCK_DIR") or tempfile.gettempdir()) / NAME


@contextlib.contextmanager
def alone(what: str, *, wait_s: float | None = None,
          say: Callable[[str], None] | None = None) -> Iterator[str]:
    """Measure alone: gives "" or, where another went on measuring, a reason not to use the times.

    Parameters
    ----------
    what : str
        What is measured; others are told.
    wait_s : float, optional
        How long to wait for another, seconds; by default :data:`WAIT_S`.
    say : callable, optional
        Is told aloud what goes on; by default stderr is.
    """
    if getattr(_mine, "depth", 0):  # the outer one has the lock, or its reason
        yield _mine.reason
        return
    say = say or (lambda line: print(line, file=sys.stderr, flush=True))
    handle, reason = _locked(what, WAIT_S if wait_s is None else wait_s, say)
    _mine.depth, _mine.reason = 1, reason
    try:
        yield reason
    finally:
        _mine.depth = 0
        if handle is not None:
            if not reason:
                _tell(handle, "")
            os.close(handle)  # gives the lock back


def _locked(what: str, wait_s: float, say: Callable[[str], None]) -> tuple[int | None, str]:
    """The open file, and why the measurement is not alone."""
    handle = None
    try:
        import fcntl

        handle = _opened(lock_path())
        until, waits = time.monotonic() + wait_s, False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _tell(handle, f"{os.getpid()} {printable(what, 100)}")
                return handle, ""
            except BlockingIOError:
                if not waits:
                    waits = True
                    say(f"{_who(handle)} on this machine: waiting for it, {wait_s:g} s at most")
            if time.monotonic() >= until:
                break
            time.sleep(min(POLL_S, max(until - time.monotonic(), 0)))
        reason = f"another measurement ran meanwhile: {_who(handle)}"
        say(f"{reason}; going on beside it, and these times are marked")
        return handle, reason
    except (ImportError, OSError) as error:
        if handle is not None:
            os.close(handle)
        why = f"cannot tell whether another measurement runs here: {lock_path()}: {error}"
        if why not in _said:
            _said.add(why)
            say(printable(why))
        return None, ""
    except BaseException:  # Ctrl-C while waiting
        if handle is not None:
            os.close(handle)
        raise


def _opened(path: Path) -> int:
    """The lock file, for writing if it is ours: a regular file, no link to one."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | flags, 0o644)
    except FileExistsError:
        handle = os.open(path, os.O_RDONLY | flags)  # without O_CREAT: see fs.protected_regular
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(handle)
        raise OSError("is no plain file of its own")
    if found.st_uid == os.geteuid():
        with contextlib.suppress(OSError):
            own = os.open(path, os.O_RDWR | flags)
            if os.path.samestat(os.fstat(own), found):
                os.close(handle)
                return own
            os.close(own)
    return handle


def _tell(handle: int, text: str) -> None:
    """Write who measures, where the file is ours."""
    with contextlib.suppress(OSError):
        if os.fstat(handle).st_uid == os.geteuid():
            os.ftruncate(handle, 0)
            os.pwrite(handle, text.encode(), 0)


def _who(handle: int) -> str:
    """Who measures, as far as the file and /proc say."""
    with contextlib.suppress(OSError):
        pid, _, what = os.pread(handle, 300, 0).decode("utf-8", "replace").partition(" ")
        if pid.isascii() and pid.isdigit() and len(pid) < 10 and _is_alive(int(pid)):
            return f"process {pid} measures {printable(what, 100)}"
    return "another process measures"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return pid > 0
