"""The FOLL_PIN counters of /proc/vmstat over time: what is left where pins cannot be traced.

Two counters, ``nr_foll_pin_acquired`` and ``nr_foll_pin_released``, in references (base pages) since boot.
They say how many pins there are, and nothing about which folios, whose they are or how long each one lasts.

A counter is kept in parts per CPU, which are folded in when they exceed a threshold of at most 125
(``calculate_normal_threshold()``, mm/vmstat.c, v6.12) or about once a second. Reading
/proc/sys/vm/stat_refresh, as root, folds them at once. Without that, each counter lags by up to 125 per
CPU and node, so that fewer may seem acquired than released.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.model.errors import InputError
from workbench.model.files import data_dir
from workbench.model.kernel.config import KernelConfig

_COUNTERS = ("nr_foll_pin_acquired", "nr_foll_pin_released")  # include/linux/mmzone.h, v5.7 and later
_HEADER = re.compile(r"# vmstat-series/1 kernel=(\S+) exact=([01])$")
_READING = re.compile(r"(\d{1,20}) (\d{1,20}) (\d{1,20})$", re.ASCII)
_MAX = (1 << 63) - 1
_MOMENTS = ("before", "registered", "after")


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Readings of the two counters, in the order of time.

    Parameters
    ----------
    ts_ns : ndarray of int64, shape (n,)
        Nanoseconds since the first reading.
    acquired_refs, released_refs : ndarray of int64, shape (n,)
        References (base pages) taken and dropped since boot. Neither ever falls.
    exact : bool
        Whether stat_refresh was read before every reading. The two counters are still not read in the same
        instant: on a busy machine their difference is off by what happens in between.
    kernel : str, optional
        The release of the machine.
    """

    ts_ns: np.ndarray
    acquired_refs: np.ndarray
    released_refs: np.ndarray
    exact: bool
    kernel: str | None = None
    name: str = "series"

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def outstanding_refs(self) -> np.ndarray:
        """References held at each reading; below 0 where a counter lagged."""
        return self.acquired_refs - self.released_refs


def load_series(path: str | os.PathLike[str]) -> Series:
    """Load what ``vmstat.sh`` wrote.

    Parameters
    ----------
    path : path
        Lines of ``ns acquired released`` below a line ``# vmstat-series/1 kernel=RELEASE exact=0|1``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "vmstat.series.txt")
    ...     _ = file.write_text("# vmstat-series/1 kernel=6.12.95 exact=1\\n1000 96 64\\n3000 160 64\\n")
    ...     series = load_series(file)
    >>> series.ts_ns.tolist(), series.outstanding_refs.tolist(), series.exact
    ([0, 2000], [32, 96], True)
    """
    file = Path(path)
    try:
        text = file.read_bytes().decode("utf-8", "backslashreplace")
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", file=file) from None
    lines = text.splitlines()
    header = _HEADER.match(lines[0]) if lines else None
    if not header:
        raise InputError(
            "it must begin with '# vmstat-series/1 kernel=RELEASE exact=0|1', as vmstat.sh writes it",
            file=file,
            place="line 1",
        )
    readings: list[tuple[int, ...]] = []
    for number, line in enumerate(lines[1:], 2):
        if line.startswith("#") or not line:
            continue
        place = f"line {number}"
        found = _READING.match(line)
        now = tuple(map(int, found.groups())) if found else ()
        if not now or max(now) > _MAX:
            raise InputError(
                f"{line!r} is not 'ns acquired released', three numbers below 2**63", file=file, place=place
            )
        if readings:
            _not_back(readings[-1], now, file, place)
        readings.append(now)
    if not readings:
        raise InputError("no reading in it", file=file)
    if not text.endswith("\n"):
        raise InputError(
            "the last line is cut short (it has no newline)", file=file, place=f"line {len(lines)}"
        )
    return _series(readings, exact=header[2] == "1", kernel=header[1], name=file.stem)


def watch(
    seconds: float,
    interval: float = 1.0,
    *,
    proc: str | os.PathLike[str] = "/proc",
    name: str = "this machine",
) -> Series:
    """Read this machine's counters for a while.

    Parameters
    ----------
    seconds : float
        How long, in seconds; there is a first and a last reading however short that is.
    interval : float
        Seconds from one reading to the next.
    proc : path
        Where proc is mounted.

    Returns
    -------
    Series
        ``exact`` where stat_refresh could be read each time, which takes root.
    """
    if not (0 <= seconds < float("inf") and 0 < interval < float("inf")):
        raise InputError(f"{seconds} s at intervals of {interval} s: they must be finite and not below 0")
    readings: list[tuple[int, ...]] = []
    exact = True
    start = time.monotonic()
    due = 0.0
    while True:
        exact &= _refresh(Path(proc))
        readings.append((time.monotonic_ns(), *_counters(Path(proc, "vmstat"))))
        if due >= seconds:
            break
        passed = time.monotonic() - start
        due = min(max(due + interval, passed), seconds)
        time.sleep(max(0.0, due - passed))
    return _series(readings, exact=exact, kernel=platform.release(), name=name)


def _refresh(proc: Path) -> bool:
    try:
        (proc / "sys/vm/stat_refresh").read_bytes()
    except OSError:
        return False
    return True


def _counters(vmstat: Path) -> tuple[int, ...]:
    try:
        text = vmstat.read_text(errors="backslashreplace")
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", file=vmstat) from None
    values = []
    for counter in _COUNTERS:
        found = re.search(rf"^{counter} (\d+)$", text, re.M | re.ASCII)
        if not found:
            raise InputError(f"it has no {counter}, which Linux has since 5.7", file=vmstat)
        values.append(int(found[1]))
    return tuple(values)


def _not_back(before: tuple[int, ...], now: tuple[int, ...], file: Path, place: str) -> None:
    for what, old, new in zip(("time", *_COUNTERS), before, now, strict=True):
        if new < old:
            raise InputError(
                f"{what} {new} is below {old} before it; it only grows: are these two boots?",
                file=file,
                place=place,
            )


def _series(readings: list[tuple[int, ...]], *, exact: bool, kernel: str | None, name: str) -> Series:
    ts_ns, acquired, released = np.array(readings, dtype=np.int64).T
    return Series(
        ts_ns=ts_ns - ts_ns[0],
        acquired_refs=acquired,
        released_refs=released,
        exact=exact,
        kernel=kernel,
        name=name,
    )


# -- one large, long-lived registration ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Registration:
    """The counters around one buffer that a device registered: before, while, and after.

    Parameters
    ----------
    registered_bytes : int
        Bytes of the buffer.
    registered_pages : int
        Its base pages: what its registration must pin.
    register_ns : int
        Nanoseconds that registering took.
    acquired_refs, released_refs : dict of int
        References (base pages) since boot, for "before", "registered" and "after". Read without
        stat_refresh: each lags by up to 125 per CPU and node.
    """

    name: str
    registered_bytes: int
    registered_pages: int
    register_ns: int
    acquired_refs: dict[str, int]
    released_refs: dict[str, int]

    @property
    def outstanding_refs(self) -> dict[str, int]:
        """References held at each moment."""
        return {moment: self.acquired_refs[moment] - self.released_refs[moment] for moment in _MOMENTS}

    @property
    def other_refs(self) -> int:
        """References acquired between "before" and "registered" that the buffer does not explain."""
        return self.acquired_refs["registered"] - self.acquired_refs["before"] - self.registered_pages


def registration(capture: str | os.PathLike[str] = "h100-128g-6.18") -> Registration:
    """Load the ``pins.json`` of a capture.

    Parameters
    ----------
    capture : path
        A folder with a ``pins.json``, or the name of a shipped capture.

    Examples
    --------
    >>> h100 = registration("h100-128g-6.18")
    >>> h100.registered_pages, h100.outstanding_refs["registered"], h100.other_refs
    (1048576, 1050625, 2049)
    >>> h100.acquired_refs["before"], h100.register_ns
    (2048, 717714786)
    """
    folder = Path(capture)
    if not folder.is_dir():
        folder = data_dir() / "captures" / folder
    file = folder / "pins.json"
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", file=file) from None
    except (ValueError, RecursionError):
        raise InputError("not JSON", file=file) from None

    def number(*keys: str) -> int:
        value = found
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX:
            raise InputError(f"{value!r} is not a number of 0 or more", file=file, place=".".join(keys))
        return value

    size, page_size = number("registered_bytes"), 1 << KernelConfig().page_shift
    seconds = found.get("register_seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        raise InputError(f"{seconds!r} is not a number of seconds", file=file, place="register_seconds")
    acquired, released = (
        {moment: number(f"vmstat_{moment}", counter) for moment in _MOMENTS} for counter in _COUNTERS
    )
    return Registration(
        name=folder.name,
        registered_bytes=size,
        registered_pages=-(-size // page_size),
        register_ns=int(seconds * 1e9),
        acquired_refs=acquired,
        released_refs=released,
    )
