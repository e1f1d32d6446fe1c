"""What the pages of a capture are, as ``workbench pages`` prints it."""

from __future__ import annotations

from typing import Any

from workbench.model.errors import InputError
from workbench.model.memory.machine import Machine
from workbench.model.memory.pageflags import PageFlags


def of(capture: str, label: str | None = None, *, raw: bool = False) -> dict[str, Any]:
    """Pages by type, folios by order, and a row for each set of flags.

    Holes are told from pages where the capture says where RAM lies: since 6.18 a hole's flags are 0, as those
    of an ordinary kernel page. ``notes`` says where it does not.

    Returns
    -------
    dict
        nr_pages, types {type: pages}, folio_orders {type: {order: folios}}, flag_rows [{flags, pages,
        symbols}], raw, source (what was read), notes (list of str).
    """
    flags, notes = PageFlags.load(capture, label), []
    inside = flags
    try:
        inside = flags.within(Machine.load(capture).pfns("ram", "nomap"))
    except InputError as error:
        notes.append(f"holes are counted as pages: {error}")
    types = inside.types()
    if flags.nr_pages > inside.nr_pages:
        types["nopage"] = types.get("nopage", 0) + flags.nr_pages - inside.nr_pages
    orders = {kind: {str(order): nr for order, nr in sorted(by.items())}
              for kind, by in inside.folio_orders().items()}
    return {"nr_pages": flags.nr_pages, "types": types, "folio_orders": orders,
            "flag_rows": flags.flag_rows(raw=raw), "raw": raw, "source": flags.where, "notes": notes}
