"""What a notebook says of itself: title, question, answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def title(notebook: Any) -> str:
    """The first heading of a notebook, as plain text."""
    found = re.search(r"^#\s+(.+)$", _markdown(notebook), re.MULTILINE)
    return _plain(found[1]) if found else "Untitled"


def question(notebook: Any) -> str:
    """What a notebook asks: the first paragraph below its heading, as plain text."""
    found = re.search(r"^#\s+.+\n+((?:[^#\n].*\n?)+)", _markdown(notebook), re.MULTILINE)
    return _plain(re.sub(r"\[|\]\([^)]*\)", "", found[1])) if found else ""


def answer(notebook: Any) -> str:
    """What a notebook answers, as Markdown: the section that says so in its heading, else the last one.

    A section counts with what its cells put out as Markdown. A table is no answer in words.
    """
    sections: list[tuple[str, list[str]]] = [("", [])]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            before, *parts = re.split(r"^##\s+(.+)$", cell.source, flags=re.MULTILINE)
            sections[-1][1].append(before)
            sections += [(head, [text]) for head, text in zip(parts[::2], parts[1::2], strict=True)]
        sections[-1][1].extend(out.data["text/markdown"] for out in cell.get("outputs", ())
                               if "text/markdown" in out.get("data", {}))
    named = [text for head, text in sections if re.search(r"\banswer\b|\bin words\b", head, re.I)]
    text = "\n\n".join(part.strip() for part in (named or [sections[-1][1]])[-1] if part.strip())
    return "" if not sections[1:] or text.startswith("|") else text


def _plain(text: str) -> str:
    """One line without Markdown's marks and without control and direction characters."""
    return "".join(c for c in " ".join(re.sub(r"[`*]", "", text).split()) if c.isprintable())


def _markdown(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def contents(folder: str | Path = ".") -> str:
    """A Markdown table of the notebooks in a folder: what each asks. For notebook 00."""
    import nbformat

    paths = sorted(Path(folder).glob("*.ipynb"))
    rows = [(path, nbformat.read(path, as_version=4)) for path in paths]
    lines = [f"| [{path.stem}]({path.name}) | {question(notebook)} |" for path, notebook in rows]
    return "\n".join(["| notebook | question |", "|---|---|", *lines])
