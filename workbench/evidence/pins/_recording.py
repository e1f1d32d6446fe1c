"""What ``record.sh`` writes beside the trace text, and what it says about losses.

A folder with ``trace.txt`` (or ``.gz``, ``.zst``) and ``kernel.txt`` (uname -r and -m), ``zoneinfo.txt``,
``definitions.txt`` (the probes and their filters), four readings of /proc/vmstat, ``stats.txt``
(``per_cpu/cpu*/stats``) and ``kprobe_profile.txt``. A file that is absent proves nothing, and that is said.

The readings ``before`` and ``after`` lie around the recording, ``start`` and ``end`` inside it. The counters
only grow, so that what they grew by from start to end is the least number of references that the trace must
hold, and from before to after the most. On a quiet machine both are the same number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.evidence.pins.trace import counted
from workbench.model.errors import InputError
from workbench.model.memory.layout import parse_zoneinfo

_COUNTERS = ("nr_foll_pin_acquired", "nr_foll_pin_released")


@dataclass(frozen=True)
class Recording:
    """One folder of ``record.sh``."""

    folder: Path
    text: Path
    kernel: str | None
    end_pfn: int | None

    @classmethod
    def load(cls, folder: Path) -> Recording:
        """Find the trace text and what is known of the machine."""
        texts = [path for suffix in ("", ".gz", ".zst") if (path := folder / f"trace.txt{suffix}").is_file()]
        if len(texts) != 1:
            raise InputError(f"{len(texts) or 'no'} trace.txt[.gz|.zst]; a recording has one", file=folder)
        release = _read(folder / "kernel.txt").split()
        zoneinfo = folder / "zoneinfo.txt"
        ends = [zone.start_pfn + zone.spanned for zone in parse_zoneinfo(_read(zoneinfo), str(zoneinfo))]
        return cls(folder, texts[0], release[0] if release else None, max(ends, default=None))

    def check(self, balance: Mapping[str, int], why: list[str]) -> dict[str, Any]:
        """Compare the trace with the kernel's own counters; what disagrees is added to `why`.

        Parameters
        ----------
        balance : mapping
            ``acquired_refs`` and ``released_refs`` of the trace, in references (base pages).
        why : list of str
            Reasons why the trace is incomplete.

        Returns
        -------
        dict of int
            ``missed`` probe hits, ``overrun`` events, and of each counter the growth around the recording
            (``vmstat_acquired``, ``vmstat_released``) and inside it (``..._least``), where known.
        """
        found: dict[str, Any] = {}
        profile = re.findall(r"^ *(\S+) +\d+ +(\d{1,20})$", self._text("kprobe_profile.txt", why), re.M)
        found["missed"] = sum(int(misses) for _, misses in profile)
        if found["missed"]:
            hits = counted(found["missed"], "probe hit was", "probe hits were")
            why.append(f"kprobe_profile: {hits} missed")
        stats = self._text("stats.txt", why)
        found["overrun"] = sum(
            int(nr) for nr in re.findall(r"(?:overrun|dropped events): (\d{1,20})\b", stats)
        )  # overrun, commit overrun, dropped events
        if found["overrun"]:
            why.append(f"per_cpu/*/stats: the ring dropped {counted(found['overrun'], 'event', 'events')}")
        before, start, end, after = (
            _counters(self._text(f"vmstat.{when}.txt", why)) for when in ("before", "start", "end", "after")
        )
        for counter, ours in zip(_COUNTERS, ("acquired_refs", "released_refs"), strict=True):
            if not all(counter in reading for reading in (before, start, end, after)):
                why.append(f"the vmstat files do not all hold {counter}: nothing proves the trace whole")
                continue
            least, most = end[counter] - start[counter], after[counter] - before[counter]
            key = f"vmstat_{ours.removesuffix('_refs')}"
            found |= {key: most, f"{key}_least": least}
            if not least <= balance[ours] <= most:
                grew = f"{most:,}" if least == most else f"{least:,} to {most:,}"
                why.append(f"vmstat {counter} grew by {grew}, the trace has {balance[ours]:,}")
        return found

    def objections(self, balance: Mapping[str, int]) -> list[str]:
        """What disagrees with a trace of that balance; empty where the recording is whole."""
        why: list[str] = []
        self.check(balance, why)
        return why

    def _text(self, name: str, why: list[str]) -> str:
        path = self.folder / name
        if not path.is_file():
            why.append(f"{name} is missing: was the recording interrupted?")
        return _read(path)


def _counters(vmstat: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"^(\w+) (\d{1,20})$", vmstat, re.M)}


def _read(path: Path) -> str:
    return path.read_text(errors="backslashreplace") if path.is_file() else ""
