"""Bytes and nanoseconds as people read them; every number in a sentence goes through here."""

from __future__ import annotations

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))
_NS = ((10**9, "s"), (10**6, "ms"), (10**3, "us"), (1, "ns"))


def unit(largest_bytes: float) -> tuple[int, str]:
    """The unit whose axis shows this many bytes with one to four digits before the point.

    Examples
    --------
    >>> unit(3 * 2**30)
    (1073741824, 'GiB')
    """
    return next((scale, name) for scale, name in _UNITS if largest_bytes >= scale or scale == 1)


def size(nr_bytes: int) -> str:
    """Bytes for people, rounded: ``"1.5 GiB"``; exact where it says bytes.

    Examples
    --------
    >>> size(1536), size(1 << 40), size(80)
    ('1.5 KiB', '1 TiB', '80 bytes')
    """
    scale, name = unit(abs(nr_bytes))
    return f"{nr_bytes / scale:.4g} {name}"


def duration(ns: float) -> str:
    """Nanoseconds for people.

    Examples
    --------
    >>> duration(917_504), duration(0), duration(2.5e9)
    ('918 us', '0 ns', '2.5 s')
    """
    scale, name = next((scale, name) for scale, name in _NS if abs(ns) >= scale or scale == 1)
    return f"{ns / scale:.3g} {name}"
