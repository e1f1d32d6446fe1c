"""All pfn maps side by side: memory per entry against clustering, the data of one figure.

The same pages are placed as single pages, as runs of 2, of 4, ...: which map is smallest depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workbench.model import pfnmaps
from workbench.model.kernel.config import KernelConfig
from workbench.model.memory.pfns import PfnSet, Scatter


def bytes_per_entry(maps: Iterable[str], run_pages: Iterable[int], nr_pages: int, span: int,
                    kernel: KernelConfig, *, folios: bool = False) -> list[dict[str, Any]]:
    """Memory of each map for the same number of pages, placed at random in runs of different length.

    Expected counts, as each map's ``expected()`` gives them; whole slabs and roundings are in ``bytes``.

    Parameters
    ----------
    maps : iterable of str
        Names of ``pfnmaps.registry()``.
    run_pages : iterable of int
        Pages of a run, powers of two; a row for each map and each of them.
    nr_pages : int
        Pages to place; with ``folios`` rounded up to whole runs.
    span : int
        Pfns to place them in, and that tables must index: a machine's highest pfn + 1.
    kernel : KernelConfig
    folios : bool
        Each run is one folio and one entry, instead of one entry per page.

    Returns
    -------
    list of dict
        map, title, run_pages, order, nr_pages, nr_entries, bytes, bytes_per_entry, bytes_per_page, exact,
        note.

    Examples
    --------
    >>> rows = bytes_per_entry(["xarray", "maple"], [1, 512], 51_200, 1 << 28, KernelConfig())
    >>> [(row["map"], row["run_pages"], round(row["bytes_per_entry"])) for row in rows]
    [('xarray', 1, 1000), ('xarray', 512, 12), ('maple', 1, 43), ('maple', 512, 19)]
    """
    within = PfnSet.from_ranges([(0, span)])
    lengths = list(run_pages)
    rows = []
    for name in maps:
        pfn_map = pfnmaps.get(name)
        for length in lengths:
            order = length.bit_length() - 1 if folios else 0
            scatter = Scatter(nr_pages=nr_pages, run_pages=length, order=order, within=within)
            counts = pfn_map.expected(scatter, kernel, span=span)
            placed = counts.nr_entries << order
            rows.append({
                "map": name, "title": pfn_map.title, "run_pages": length, "order": order, "nr_pages": placed,
                "nr_entries": counts.nr_entries, "bytes": counts.bytes,
                "bytes_per_entry": counts.bytes / max(counts.nr_entries, 1),
                "bytes_per_page": counts.bytes / max(placed, 1), "exact": counts.exact, "note": counts.note,
            })
    return rows
