"""An interrupt of the Jupyter kernel reaches a drawing in whichever thread it runs.

A drawing in a cell runs in the main thread, which the interrupt (SIGINT) reaches anyway. What a control asks
for runs there too in older kernels; with ipykernel 7 and JupyterLab 4.4 or later it runs in a "subshell", a
thread of its own, which signals never reach, and while no cell runs ipykernel ignores them. So a handler
takes the place of "ignore", and raises KeyboardInterrupt in the threads that draw. It arrives between two
Python instructions: compiled code runs to its end first.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

RETRY_S = 0.2  # until the cell that makes the first explorer has ended
_drawing: set[int] = set()
_asked = False


def hear() -> None:
    """From now on an interrupt raises KeyboardInterrupt in this thread, until ``deaf``."""
    if threading.current_thread() is not threading.main_thread():
        _drawing.add(threading.get_ident())
    _install_once()


@contextmanager
def deaf() -> Iterator[None]:
    """Few and quick lines that no interrupt may cut short; after them this thread hears none."""
    if threading.current_thread() is not threading.main_thread():
        _drawing.discard(threading.get_ident())
        _raise_in(threading.get_ident(), None)  # one that is on its way
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    what = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)


def _interrupted(*_: Any) -> None:
    for thread in tuple(_drawing):
        _raise_in(thread, KeyboardInterrupt)


def _install_once() -> None:
    """In the kernel's main loop, between two messages: there "ignore" is what stands, and stays."""
    global _asked
    from IPython import get_ipython

    loop = getattr(getattr(get_ipython(), "kernel", None), "io_loop", None)
    if loop is None or _asked:
        return
    _asked = True

    def install() -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, _interrupted)
        else:  # a cell runs
            loop.call_later(RETRY_S, install)
    loop.add_callback(install)
