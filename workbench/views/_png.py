"""PNGs made small: a palette where 256 colours will do, and where the picture came from.

Figures are flat colours and grey text, so 8 bits a pixel say nearly all that Chromium's 32 do, in a third of
the bytes. What is read here is what Chromium writes: 8 bits a channel, RGB or RGBA, not interlaced; any other
PNG is handed back as it is. The bytes depend on the zlib at hand, so pictures are compared by their source.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Iterator

import numpy as np

MAGIC = b"\x89PNG\r\n\x1a\n"  # PNG specification, 5.2
_KEYWORD = b"Source\0"  # a tEXt keyword of PNG specification, 11.3.4.2
_FAR = 24  # a channel may be this far off in a palette, of 255; assumed: not seen beside a line


def decoded(text: str) -> bytes:
    """A PNG from the base64 of a notebook; nothing if it is none."""
    try:
        found = base64.b64decode(text)
    except ValueError:
        return b""
    return found if found.startswith(MAGIC) else b""


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and data of each chunk; a ValueError for what is no PNG."""
    if png[:8] != MAGIC:
        raise ValueError("not a PNG")
    at = 8
    while at + 12 <= len(png):
        (size,) = struct.unpack_from(">I", png, at)
        yield png[at + 4: at + 8], png[at + 8: at + 8 + size]
        at += 12 + size


def pixels(png: bytes) -> np.ndarray | None:
    """The colours of a PNG on white, uint8 of shape (height, width, 3); None for a kind not read here.

    Examples
    --------
    >>> red = np.zeros((2, 3, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    >>> pixels(written(red)) is None    # a palette
    True
    """
    parts = list(chunks(png))
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", parts[0][1])
    if bits != 8 or colour not in (2, 6) or interlaced:
        return None
    deep = 3 if colour == 2 else 4
    raw = np.frombuffer(zlib.decompress(b"".join(data for kind, data in parts if kind == b"IDAT")), np.uint8)
    lines = raw.reshape(height, 1 + width * deep)
    out = np.zeros((height, width, deep), np.uint8)
    above = np.zeros((width, deep), np.uint8)
    for place, line in enumerate(lines):  # PNG specification, 9.2: each line has its own filter
        if line[0] > 2:  # average and Paeth: not what Chromium writes
            return None
        now = line[1:].reshape(width, deep)
        if line[0] == 1:
            now = np.cumsum(now, axis=0, dtype=np.uint8)
        elif line[0] == 2:
            now = now + above
        out[place] = above = now
    if deep == 3:
        return out
    opaque = out[..., 3:].astype(np.uint16)
    return ((out[..., :3] * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)


def _palette(image: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Up to 256 colours and each pixel's place among them; None where that would be seen."""
    packed = image.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    values, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1).astype(np.int16)
    kept = list(np.argsort(-counts, kind="stable")[:160])  # the frequent ones, then whatever is far from all
    far = np.full(len(colours), 255, np.int16)
    nearest = np.zeros(len(colours), np.uint8)
    for place in range(min(256, len(colours))):
        if place == len(kept):
            kept.append(far.argmax())
        away = np.abs(colours - colours[kept[place]]).max(axis=1)
        nearest[away < far] = place
        far = np.minimum(far, away)
    if far.max() > _FAR:
        return None
    return colours[kept].astype(np.uint8), nearest[places].reshape(image.shape[:2])


def written(image: np.ndarray, source: str = "") -> bytes:
    """A PNG of uint8 pixels (height, width, 3), with a palette if its colours fit one."""
    found = _palette(image)
    height, width = image.shape[:2]
    rows = image.reshape(height, -1) if found is None else found[1]
    packed = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes(), 9)  # filter 0 on each line
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if found is None else 3, 0, 0, 0)
    parts = [(b"IHDR", header), *([] if found is None else [(b"PLTE", found[0].tobytes())]),
             *([(b"tEXt", _KEYWORD + source.encode("latin-1"))] if source else []),
             (b"IDAT", packed), (b"IEND", b"")]
    return MAGIC + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts)


def small(png: bytes, source: str = "") -> bytes:
    """The same picture in fewer bytes, and with its source if one is given."""
    try:
        image = pixels(png)
    except (ValueError, IndexError, struct.error, zlib.error):  # cut short, or no picture at all
        image = None
    if image is None:
        if not source:
            return png
        text = _KEYWORD + source.encode("latin-1")
        chunk = struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", zlib.crc32(b"tEXt" + text))
        return png[:33] + chunk + png[33:]  # behind IHDR
    new = written(image, source)
    return new if source or len(new) < len(png) else png


def source_of(png: bytes) -> str:
    """What ``small`` was told that the picture came from; nothing if it was not told."""
    for kind, data in chunks(png):
        if kind == b"tEXt" and data.startswith(_KEYWORD):
            return data[len(_KEYWORD):].decode("latin-1")
    return ""


def fingerprint(png: bytes) -> str:
    """A name for exactly these bytes."""
    return hashlib.sha256(png).hexdigest()[:32]
