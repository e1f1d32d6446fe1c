"""The mistakes, as edits of correct call sites, and the call sites, in ``patterns/``.

A pattern is a C function that is right in every variant. A mistake is an edit: a regular expression over the
pattern's text and what its first match becomes. Where it matches nothing, the pattern has no place for that
mistake.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from workbench.model.errors import InputError

PATTERNS = Path(__file__).with_name("patterns")
_ARG = r"((?:[^(),]|\([^()]*\))+)"  # one argument of a call, calls in it allowed


@dataclass(frozen=True)
class Mistake:
    """One class of mistakes.

    Parameters
    ----------
    name, title : str
        For commands and for tables.
    about : str
        What is done wrong.
    edits : pairs of str
        Regular expression over a correct pattern, and what its first match becomes, as in `re.sub`. The first
        pair that matches is taken.
    dax : bool
        The user memory is fsdax.
    pool : int
        Descriptors that gup can allocate before its pool is empty; plenty by default.
    """

    name: str
    title: str
    about: str
    edits: tuple[tuple[str, str], ...]
    dax: bool = False
    pool: int = 60

    def apply(self, source: str) -> str | None:
        """The pattern with this mistake, None where it has no place for it."""
        for find, become in self.edits:
            made, count = re.subn(find, become, source, count=1, flags=re.MULTILINE)
            if count:
                return made
        return None


MISTAKES = (
    Mistake("put_on_pin", "put_page() on a pinned page", "a pin is released as a plain reference is",
            ((rf"\bunpin(_list)?\({_ARG}(, \w+)?\);", r"put\1(\2\3);"),)),
    Mistake("unpin_on_get", "unpin on a get page", "a plain reference is released as a pin is",
            ((rf"\bput(_list)?\({_ARG}(, \w+)?\);", r"unpin\1(\2\3);"),)),
    Mistake("double_unpin", "double unpin", "a pin is released twice",
            ((r"^(?<!\)\n)(\t+unpin.*;\n)", r"\1\1"),)),  # not below a for without braces
    Mistake("no_dirty", "missing set_page_dirty_lock before release", "what was written is not marked dirty",
            ((r"^\t+set_page_dirty_lock\(.*\);\n", ""), (r"(unpin_list_dirty\(.*, )true\)", r"\1false)"))),
    Mistake("mixed_list", "mixing sources in one bio/release list",
            "plain references end up in the list of pins and are released with it",
            ((r"^\tput_list\(pages, m\);\n", "\tfor (i = 0; i < m; i++)\n\t\tpins[n++] = pages[i];\n"),)),
    Mistake("pfn_of_pin", "page_to_pfn/phys on a proxy", "a page helper for DMA takes the pin itself",
            ((r"\b(page_to_pfn\(|page_to_phys\(|sg_set_page\(&sg\[i\], )pin_page\(([^()]*)\)", r"\1\2"),)),
    Mistake("pointer_compare", "comparing pages by pointer", "pins are compared instead of their pages",
            ((r"pin_page\(([^()]*)\) ([!=]=) (?:pin|got)_page\(([^()]*)\)", r"\1 \2 \3"),)),
    Mistake("xarray_store", "pointer stored in page cache/XArray", "the pin itself is stored as the entry",
            ((r"pin_to_entry\(([^()]*)\)", r"\1"),)),
    Mistake("folio_of_pin", "page_folio()/compound_head on it", "folio or head are asked of the pin itself",
            ((r"\b(page_folio|compound_head)\(pin_page\(([^()]*)\)\)", r"\1(\2)"),)),
    Mistake("longterm_dax", "longterm pin in MOVABLE/CMA/DAX", "fsdax memory is pinned for long",
            ((r"\A(/\*.*\*/\n)(?=(?:.|\n)*FOLL_LONGTERM)", r"\1/* here UADDR is an fsdax mapping */\n"),),
            dax=True),
    Mistake("alloc_failure", "allocation failure in gup", "the call site takes for granted that gup succeeds",
            ((r"^\tif \([\w.]+ < NR\)\n\t\treturn give_up\(.*\);\n", ""),), pool=2),
    Mistake("pin_outlives", "pin outlives mapping / hot-remove", "memory goes before its pins are released",
            ((r"^(\tunpin.*;\n)(\thot_remove\(.*\);\n)", r"\2\1"),)),
    Mistake("longterm_missing", "long-lived pin without FOLL_LONGTERM", "a pin held for long does not say so",
            ((r" \| FOLL_LONGTERM", ""),)),
)  # fmt: skip
#: The classes of the published table; the last mistake is one more.
CLASSES = tuple(mistake.name for mistake in MISTAKES[:-1])


@dataclass(frozen=True)
class Pattern:
    """A correct call site: its name, what it does, its C text, and what it returns when all is well."""

    name: str
    about: str
    source: str
    expected: str = "0"


@functools.cache
def patterns() -> dict[str, Pattern]:
    """The call sites by name.

    Examples
    --------
    >>> patterns()["direct_io"].about
    'case 1: direct I/O reads into user memory, page by page'
    """
    found = {}
    for path in sorted(PATTERNS.glob("*.c")):
        text = path.read_text()
        expected = re.match(r"/\* expected: (-?\w+) \*/\n", text)
        source = text[expected.end() :] if expected else text
        about = re.match(r"/\* (.*) \*/\n", source)
        if not about:
            raise InputError("the first line is a comment that says what the call site does", file=path)
        found[path.stem] = Pattern(path.stem, about[1], source, expected[1] if expected else "0")
    return found


def select(names: list[str] | tuple[str, ...] | None) -> list[Mistake]:
    """Mistakes by name; all of them by default."""
    known = {mistake.name: mistake for mistake in MISTAKES}
    if names is None:
        return list(MISTAKES)
    for name in names:
        if name not in known:
            raise InputError(f"mistake {name!r} is none of {', '.join(known)}")
    return [mistake for mistake in MISTAKES if mistake.name in names]
