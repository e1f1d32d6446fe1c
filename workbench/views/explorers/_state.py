"""An explorer's state as one line of text that survives addresses, mails and shells.

    OverheadExplorer.1~machine=ram=64TiB,nodes=8~nr_pinned=5*25~designs=,static,proxy_bit~end

The explorer and its version, then the controls that are not where they start, then ``end``. Only what differs
is said, so that the line stays short and can be read and edited by hand; for the same reason it is no
base64. The version stands for the starting values as well: whoever moves one raises the version.

=============  =======================================================================
value          written as
=============  =======================================================================
number, truth  as in JSON: ``0.5``, ``true``, ``null``
list           a comma before each item: ``,static,hvo``; ``*`` where it is empty
text           itself; what is neither a letter, a digit nor one of ``-._:/@=,`` becomes
               ``*`` and two hex digits for each byte of UTF-8; so does the first letter
               where the text could be taken for one of the others
long text      ``*z`` and base64url of its zlib stream, where that is shorter
=============  =======================================================================

There is no ``%``, no ``+`` and no blank, so that nothing changes where an address is escaped or unescaped
once too often; what a mail client did to the line (broken it, quoted it, escaped it) is undone on
reading. ``end`` tells
a line that was cut off from a whole one.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from workbench.model.errors import InputError

LONGEST = 1 << 17  # characters; browsers take addresses of that length
LONGEST_TEXT = 1 << 20  # bytes of one text, unpacked
PACK_FROM = 300  # characters; shorter texts stay readable
_LITERAL = re.compile(r"true|false|null|-?\d+(\.\d+)?(e-?\d+)?")
_PLAIN = re.compile(rb"[A-Za-z0-9._:/@=,-]")
_NAME = re.compile(r"[A-Za-z0-9._:/@,-]+")
_WRITTEN = re.compile(r"(?:[A-Za-z0-9._:/@=,-]|\*[0-9a-f]{2})*")


def encode(explorer: str, version: int, values: Mapping[str, Any]) -> str:
    """The line for these controls' values.

    Examples
    --------
    >>> encode("MixExplorer", 1, {"anon:0": 12.5})
    'MixExplorer.1~anon:0=12.5~end'
    """
    fields = [f"{name}={_written(value)}" for name, value in values.items()]
    line = "~".join([f"{explorer}.{version}", *fields, "end"])
    if len(line) > LONGEST:
        raise InputError(f"this state takes {len(line):,} characters; a state string has at most "
                         f"{LONGEST:,}. state() gives it as JSON")
    return line


def decode(line: str) -> dict[str, Any]:
    """What ``encode`` was given, as ``from_state`` takes it.

    Examples
    --------
    >>> decode("MixExplorer.1~anon:0=12.5~end")
    {'explorer': 'MixExplorer', 'version': 1, 'anon:0': 12.5}
    """
    if not isinstance(line, str) or len(line) > 3 * LONGEST:
        what = f"{len(line):,} characters" if isinstance(line, str) else f"{type(line).__name__}"
        raise InputError(f"a state string is text of at most {LONGEST:,} characters, not {what}")
    line = re.sub(r"[\s\\<>]+", "", line).removeprefix("#")
    head, *fields = (unquote(line) if "%" in line else line).split("~")
    known = re.fullmatch(r"([A-Za-z]\w*)\.(\d{1,4})", head, re.ASCII)
    if not known:
        raise InputError(f"state string starts with {head[:60]!r}, not with an explorer and its version "
                         "such as 'OverheadExplorer.1'")
    if not fields or fields.pop() != "end":
        raise InputError(f"state string of {known[1]} has no '~end' at its end: it was cut off after "
                         f"{line[-30:]!r}")
    state: dict[str, Any] = {"explorer": known[1], "version": int(known[2])}
    for field in fields:
        name, equals, written = field.partition("=")
        if not equals or not _NAME.fullmatch(name) or name in state:
            raise InputError(f"state string of {known[1]}: {field[:60]!r} is not a control=value that comes "
                             "once")
        try:
            state[name] = _read(written)
        except (ValueError, binascii.Error, zlib.error) as error:
            raise InputError(f"state string of {known[1]}: {name}={written[:60]!r} cannot be read: {error}"
                             ) from None
    return state


def _written(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "".join("," + _scalar(item).replace(",", "*2c") for item in value) or "*"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        written = json.dumps(value, allow_nan=False).replace("e+", "e")
        if not _LITERAL.fullmatch(written):
            raise InputError(f"{value!r} cannot stand in a state string")
        return written
    data = value.encode("utf-8", "surrogatepass")
    written = "".join(chr(byte) if _PLAIN.match(bytes([byte])) else f"*{byte:02x}" for byte in data)
    if len(written) > PACK_FROM:
        packed = "*z" + base64.urlsafe_b64encode(zlib.compress(data, 9)).decode().rstrip("=")
        if len(packed) < len(written):
            return packed
    if _LITERAL.fullmatch(written) or written.startswith(","):
        return f"*{data[0]:02x}{written[1:]}"
    return written


def _read(written: str) -> Any:
    if written == "*":
        return []
    if written.startswith(","):
        return [_read_scalar(item) for item in written[1:].split(",")]
    return _read_scalar(written)


def _read_scalar(written: str) -> Any:
    if _LITERAL.fullmatch(written):
        number = json.loads(written)
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError("larger than any number")
        return number
    if written.startswith("*z"):
        return _unpacked(written[2:]).decode("utf-8", "surrogatepass")
    if not _WRITTEN.fullmatch(written):
        at = _WRITTEN.match(written).end()  # type: ignore[union-attr]
        raise ValueError(f"{written[at:at + 3]!r} is neither plain text nor * with two hex digits")
    data = re.sub(rb"\*(..)", lambda found: bytes.fromhex(found[1].decode()), written.encode())
    return data.decode("utf-8", "surrogatepass")


def _unpacked(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    stream = zlib.decompressobj()
    found = stream.decompress(data, LONGEST_TEXT)
    if not stream.eof or stream.unused_data:
        raise ValueError(f"not one whole zlib stream of at most {LONGEST_TEXT:,} bytes")
    return found
