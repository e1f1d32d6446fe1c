"""The gallery page: one stored figure of each notebook, so that what is shown is what was computed.

``workbench render --gallery`` takes the picture that a notebook stores (the first of a cell with
the tag ``gallery``, else the first of all), makes it small, writes it to ``docs/gallery/``, and writes the
section of ``docs/gallery.md`` between its two marks. It runs no notebook and needs no browser and no network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.model.errors import InputError
from workbench.views import _png as png
from workbench.views._words import question, title
from workbench.views.pages._run import PLOTLY, notebooks, read, write

TAG = "gallery"
FOLDER = Path("docs/gallery")
PAGE = Path("docs/gallery.md")
MAX_BYTES = 60_000  # of one picture; chosen: a page with a dozen loads at once
BEGIN, END = "<!-- gallery: written by `make gallery` -->", "<!-- end of the gallery -->"


def picture(notebook: Any) -> tuple[bytes, str] | None:
    """The PNG that stands for a notebook, and what it shows in words; None if it stores none."""
    found = [(TAG not in cell.metadata.get("tags", ()), place, out.data)
             for place, cell in enumerate(notebook.cells) for out in cell.get("outputs", ())
             if png.decoded(out.get("data", {}).get("image/png", ""))]
    if not found:
        return None
    _, _, data = min(found, key=lambda one: one[:2])
    alt = data.get(PLOTLY, {}).get("layout", {}).get("meta", {}).get("alt", "")
    return png.decoded(data["image/png"]), alt


def entries(root: Path) -> Iterator[tuple[Path, Any, bytes]]:
    """Each notebook with its picture; an InputError for a notebook that stores none."""
    for path in notebooks(root / "notebooks"):
        notebook = read(path)
        found = picture(notebook)
        if found is None:
            raise InputError(f"stores no picture for the gallery; show a figure in a cell with the tag {TAG}",
                             file=path)
        yield path, notebook, found[0]


def section(root: Path) -> str:
    """The page's section: two notebooks to a row, picture over question."""
    cells = []
    for path, notebook, _ in entries(root):
        head, asks = (_escaped(text(notebook)) for text in (title, question))
        link = f"../notebooks/{path.name}"
        cells.append(f"[![{head}]({FOLDER.name}/{path.stem}.png)]({link})<br>**[{head}]({link})** {asks}")
    rows = [f"| {left} | {right} |" for left, right in zip(cells[::2], [*cells[1::2], ""], strict=False)]
    return "\n".join([BEGIN, "| | |", "|---|---|", *rows, END])


def _escaped(text: str) -> str:
    return re.sub(r"([\\\[\]|<>*_])", r"\\\1", text)


def with_section(page: str, new: str) -> str:
    """The page with its section replaced; an InputError if it has no such section."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"has no section between {BEGIN} and {END}", file=PAGE)
    return before + new + after


def shrunk(picture: bytes) -> bytes:
    """A picture of at most ``MAX_BYTES`` with its source in it: a palette, and half the size if need be."""
    source = png.fingerprint(picture)
    done, image = png.small(picture, source), png.pixels(picture)
    while len(done) > MAX_BYTES and image is not None and min(image.shape[:2]) > 100:
        height, width = (side // 2 * 2 for side in image.shape[:2])
        quarters = image[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
        image = quarters.mean(axis=(1, 3)).round().astype("uint8")
        done = png.written(image, source)
    return done


def build(root: Path) -> list[Path]:
    """Write the pictures and the page's section, remove pictures of no notebook; return the pictures."""
    page = root / PAGE
    text = with_section(page.read_text(encoding="utf-8"), section(root))
    pictures = {root / FOLDER / f"{path.stem}.png": found for path, _, found in entries(root)}
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for path, found in pictures.items():
        if not path.is_file() or png.source_of(path.read_bytes()) != png.fingerprint(found):
            write(path, shrunk(found))
    for path in set((root / FOLDER).glob("*.png")) - set(pictures):
        path.unlink()
    write(page, text)
    return sorted(pictures)


def stale(root: Path) -> list[str]:
    """What no longer agrees between notebooks, pictures and page; nothing if all do."""
    wrong = []
    known = {root / FOLDER / f"{path.stem}.png": found for path, _, found in entries(root)}
    for path, found in known.items():
        if not path.is_file():
            wrong.append(f"{path.name}: missing")
        elif png.source_of(path.read_bytes()) != png.fingerprint(found):
            wrong.append(f"{path.name}: not the notebook's picture")
        elif path.stat().st_size > MAX_BYTES:
            wrong.append(f"{path.name}: more than {MAX_BYTES} bytes")
    wrong += [f"{path.name}: of no notebook" for path in sorted(set((root / FOLDER).glob("*")) - set(known))]
    if section(root) not in (root / PAGE).read_text(encoding="utf-8"):
        wrong.append(f"{PAGE}: the section differs")
    return wrong
