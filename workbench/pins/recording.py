"""What ``record.sh`` writes beside the trace text, and what it says about losses.

A folder with ``trace.txt`` (or ``.gz``, ``.zst``) and, as far as the machine gave them: ``kernel.txt``
(uname -r and -m), ``zoneinfo.txt``, ``vmstat.before.txt`` and ``vmstat.after.txt``, ``kprobe_profile.txt``,
``stats.txt`` (``per_cpu/cpu*/stats``) and ``definitions.txt`` (the probes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import InputError

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
        ends = [
            int(start) + int(spanned)
            for spanned, start in re.findall(
                r"spanned +(\d+)\n(?:(?!Node).*\n)*?.*start_pfn: +(\d+)", _read(folder / "zoneinfo.txt")
            )
            if int(spanned)
        ]
        return cls(folder, texts[0], release[0] if release else None, max(ends, default=None))

    def check(self, balance: Mapping[str, int], why: list[str]) -> dict[str, Any]:
        """Compare the trace with the kernel's own counters; what disagrees is added to `why`."""
        found: dict[str, Any] = {}
        profile = re.findall(r"^ *(\S+) +\d+ +(\d+)$", _read(self.folder / "kprobe_profile.txt"), re.M)
        found["missed"] = sum(int(misses) for _, misses in profile)
        if found["missed"]:
            why.append(f"kprobe_profile: {found['missed']:,} probe hits were missed")
        stats = _read(self.folder / "stats.txt")
        found["overrun"] = sum(
            int(nr) for nr in re.findall(r"(?:overrun|dropped events): (\d+)", stats)
        )  # overrun, commit overrun, dropped events
        if found["overrun"]:
            why.append(f"per_cpu/*/stats: the ring dropped {found['overrun']:,} events")
        before, after = (_counters(_read(self.folder / f"vmstat.{when}.txt")) for when in ("before", "after"))
        for counter, ours in zip(_COUNTERS, ("acquired_refs", "released_refs"), strict=True):
            if counter in before and counter in after:
                delta = after[counter] - before[counter]
                found[f"vmstat_{ours.removesuffix('_refs')}"] = delta
                if delta != balance[ours]:
                    why.append(f"vmstat {counter} grew by {delta:,}, the trace has {balance[ours]:,}")
        return found


def _counters(vmstat: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", vmstat, re.M)}


def _read(path: Path) -> str:
    return path.read_text(errors="backslashreplace") if path.is_file() else ""
