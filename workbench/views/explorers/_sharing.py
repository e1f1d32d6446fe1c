"""What leaves an explorer: a mail, tables as CSV, its state; a row that opens below the controls.

The row is text that can be selected, with buttons that copy it where the browser has a clipboard (it has none
on a page that came over plain http). PNG and SVG stand in the bar above each figure.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from workbench.views._assets import TEMPLATES
from workbench.views.figures import PART

if TYPE_CHECKING:
    import pandas as pd

#: Characters at a cell's start that make spreadsheets take it for a formula (OWASP, "CSV Injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_text(table: pd.DataFrame) -> str:
    r"""A table as CSV: integers exact, floats as Python prints them, headings with their units.

    Columns are named as everywhere in the workbench, so that the unit ends the name; parts are bytes. Text
    that a spreadsheet would take for a formula gets an apostrophe in front, which spreadsheets hide and other
    readers see; control and direction characters are escaped as in Python. A missing value is empty.

    Examples
    --------
    >>> import pandas as pd
    >>> csv_text(pd.DataFrame({"comm": ["=1+1", "fio"], "part:memmap": [2**60, 1], "ns": [0.1, None]}))
    "comm,part:memmap_bytes,ns\r\n'=1+1,1152921504606846976,0.1\r\nfio,1,\r\n"
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([_text(f"{name}_bytes" if str(name).startswith(PART) else name) for name in table])
    writer.writerows(zip(*([_cell(value) for value in table[name].tolist()] for name in table.columns),
                         strict=True))
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:  # NaN
        return ""
    if isinstance(value, (bool, int, float)):
        return repr(value)
    return _text(value if isinstance(value, str) else json.dumps(value, default=str))


def _text(value: object) -> str:
    text = "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode()
                   for c in str(value))
    return "'" + text if text.startswith(FORMULA) else text


class ShareRow(anywidget.AnyWidget):
    """One line that opens: the mail, the state, a CSV of each table; made when they are wanted."""

    _esm = TEMPLATES / "sharing.js"
    is_open = traitlets.Bool(False).tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)

    def __init__(self, ask: Callable[[], Mapping[str, Any]], table: Callable[[str], tuple[str, str]],
                 **traits: Any):
        super().__init__(**traits)
        self._ask, self._table = ask, table
        self.observe(lambda _: self.renew(), "is_open")
        self.on_msg(self._answer)

    def renew(self) -> None:
        """What is open shows what is drawn; what is closed costs nothing."""
        self.shown = dict(self._ask()) if self.is_open else {}

    def _answer(self, _: Any, message: Any, __: Any) -> None:
        if isinstance(message, Mapping) and isinstance(name := message.get("csv"), str):
            file, text = self._table(name)
            self.send({"file": file, "text": text})
