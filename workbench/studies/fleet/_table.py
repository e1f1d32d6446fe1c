"""The table of a fleet: a row for each capture and design; a capture that failed is one row with its reason.

Every column, in order:

=================  ==========================================================================================
capture            its name: the path below the place that was searched, made printable
error              why there are no numbers: of the whole capture (design is null) or of this design; or null
design             name, with its variant
generated          its manifest says that it was generated
release, arch      ``uname -r``, ``uname -m``
page_size          bytes
kernel             version, architecture and page size, to group by
ram_bytes          RAM without NOMAP ranges
size               class of ram_bytes, to group by
nr_nodes           NUMA nodes with RAM
nr_sections        sections with a memmap
memmap_pages       what nr_memmap_boot_pages + nr_memmap_pages is by the model
counter_pages      what the capture's own kernel counted; null where its vmstat does not say
page_mix           what most pages of RAM are, to group by; "no page flags" where the capture has none
nr_folios          folios of all types, single pages among them; null without page flags
pages:TYPE         pages of each type (memory/pageflags.py); null without page flags
pfn_map            of the designs that keep one
nr_pinned          pages
run_pages          pinned pages come in aligned runs of so many
total_bytes        of the design
saved_bytes        those of the design ``static`` on the same machine, less total_bytes; negative: takes more
saved_percent      saved_bytes as percent of RAM
bytes_per_page     total_bytes for each page of RAM
exact              counted, and not an expectation over random placement
notes              what the design says of its numbers
part:NAME          bytes of each part; they sum to total_bytes
=================  ==========================================================================================
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from workbench.model.memory.pageflags import TYPES
from workbench.model.scenario import PART
from workbench.studies._store import to_bytes
from workbench.studies.fleet._answers import Options, Seen

BYTES = "pages:"


@functools.cache
def _fixed() -> Any:
    import pyarrow as pa

    text, whole, yes = pa.string(), pa.int64(), pa.bool_()
    facts = [
        ("generated", yes),
        ("release", text),
        ("arch", text),
        ("page_size", whole),
        ("kernel", text),
        ("ram_bytes", whole),
        ("size", text),
        ("nr_nodes", whole),
        ("nr_sections", whole),
        ("memmap_pages", whole),
        ("counter_pages", whole),
        ("page_mix", text),
        ("nr_folios", whole),
        *((f"{BYTES}{kind}", whole) for kind in TYPES if kind != "nopage"),
    ]
    answer = [
        ("pfn_map", text),
        ("nr_pinned", whole),
        ("run_pages", whole),
        ("total_bytes", whole),
        ("saved_bytes", whole),
        ("saved_percent", pa.float64()),
        ("bytes_per_page", pa.float64()),
        ("exact", yes),
        ("notes", text),
    ]
    return pa.schema([("capture", text), ("error", text), ("design", text), *facts, *answer])


def rows_of(seen: Sequence[Seen], options: Options) -> bytes:
    """A batch's rows as an Arrow file; its metadata count captures, failed ones, and those to try again."""
    import pyarrow as pa

    rows = [row for one in seen for row in _rows(one, options)]
    schema = _fixed()
    columns = [pa.array([row.get(name) for row in rows], schema.field(name).type) for name in schema.names]
    parts = dict.fromkeys(name for row in rows for name in row.get("parts", ()))
    for name in parts:
        schema = schema.append(pa.field(PART + name, pa.int64()))
        missing = [0 if "parts" in row else None for row in rows]
        columns.append(
            pa.array(
                [row.get("parts", {}).get(name, none) for row, none in zip(rows, missing, strict=True)],
                pa.int64(),
            )
        )
    counts = {
        "captures": str(len(seen)),
        "failed": str(sum(bool(one.reason) for one in seen)),
        "again": str(sum(one.again for one in seen)),
    }
    table = pa.table(columns, schema=schema.with_metadata(counts))
    return to_bytes(table)


def _rows(seen: Seen, options: Options) -> list[dict[str, Any]]:
    if seen.reason:
        return [{"capture": seen.capture, "error": seen.reason}]
    ram, page = seen.facts["ram_bytes"], seen.facts["page_size"]
    base = seen.static_bytes
    found = []
    for answer in seen.answers:
        row = {
            "capture": seen.capture,
            **seen.facts,
            "design": answer["design"],
            "pfn_map": options.pfn_map,
            "run_pages": options.run_pages,
        }
        found.append(row)
        if answer["error"]:
            row["error"] = answer["error"]
            continue
        total = sum(answer["parts"].values())
        row |= {name: answer[name] for name in ("nr_pinned", "exact", "notes", "parts")}
        row |= {
            "total_bytes": total,
            "saved_bytes": base - total,
            "bytes_per_page": total * page / ram if ram else 0.0,
            "saved_percent": 100 * (base - total) / ram if ram else 0.0,
        }
    return found
