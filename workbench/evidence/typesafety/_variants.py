"""What a call site sees of each design: one header each in ``headers/``, and headers of your own.

A header defines the types ``pin_t`` (what a pin hands out) and ``got_t`` (what a plain reference hands out),
its functions, and a mapping: macros or functions that say how a call site of this variant writes each step of
the patterns. ``MAPPING`` lists them. Start from a copy of ``foll_pin.h``; ``pages.h`` (struct page and its
helpers) and ``world.h`` (the machine, the checks) can be included by name. Three comment lines name it::

    /* title: what figures call it */
    /* designs: the workbench's designs that look like this at a call site */
    /* about: one sentence */

A descriptor that is not ``struct page`` brings the ``desc_*`` functions that ``world.h`` declares, as
``memdesc_typed.h`` does.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from workbench.model.errors import InputError

HEADERS = Path(__file__).with_name("headers")
#: The shipped variants, plain ones first.
ORDER = (
    "get_put", "foll_pin", "proxy_bit", "dynamic_page", "proxy_typed", "proxy_bitwise", "proxy_struct",
    "dynamic_page_typed", "memdesc_typed",
)  # fmt: skip
#: What the patterns use of a variant, and what each is.
MAPPING = {
    "pin_t": "type of a pin",
    "got_t": "type of a plain reference",
    "pin": "long pin(uaddr, nr, gup_flags, pin_t *): pages pinned, or a negative error",
    "unpin": "void unpin(pin_t)",
    "unpin_list": "void unpin_list(pin_t *, nr)",
    "unpin_list_dirty": "void unpin_list_dirty(pin_t *, nr, make_dirty)",
    "release_list": "void release_list(pin_t *, nr): the release of a bio's pages",
    "get": "long get(uaddr, nr, gup_flags, got_t *)",
    "put": "void put(got_t)",
    "put_list": "void put_list(got_t *, nr)",
    "pin_page": "struct page *pin_page(pin_t): what page helpers take",
    "got_page": "struct page *got_page(got_t)",
    "pin_to_entry": "void *pin_to_entry(pin_t): for an XArray",
    "entry_to_pin": "pin_t entry_to_pin(void *)",
}
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Variant:
    """One header.

    Parameters
    ----------
    name : str
        The file's name without ``.h``.
    title, about : str
        For figures and tables.
    designs : tuple of str
        Which of the workbench's designs look like this at a call site.
    text : str
        The header.
    folder : Path
        Where it lies; it may include what lies beside it.
    own : bool
        It is not one of the shipped ones.
    """

    name: str
    title: str
    designs: tuple[str, ...]
    about: str
    text: str
    folder: Path
    own: bool = False

    @property
    def file(self) -> str:
        return f"{self.name}.h"


def _read(path: Path, *, own: bool) -> Variant:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", file=path) from None
    if len(data) > _MAX_BYTES:
        raise InputError("more than 1 MiB of C: a header of call-site types is smaller", file=path)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start} is not UTF-8: a header is text", file=path) from None
    said = {
        key: match[1].strip() if (match := re.search(rf"/\*\s*{key}:\s*(.*?)\s*\*/", text)) else ""
        for key in ("title", "designs", "about")
    }
    if not re.fullmatch(r"[A-Za-z_]\w*", path.stem):
        raise InputError(f"the name {path.stem!r} is no C name, by which the variant goes", file=path)
    if own and (path.stem in ORDER or path.stem in _SUPPORT):
        raise InputError(f"{path.stem} is a shipped header's name; give yours another", file=path)
    designs = tuple(name.strip() for name in said["designs"].split(",") if name.strip())
    return Variant(path.stem, said["title"] or path.stem, designs, said["about"], text, path.parent, own)


_SUPPORT = ("world", "pages", "proxies", "dynamic_pages", "call", "run")


@functools.cache
def shipped() -> dict[str, Variant]:
    """The shipped variants by name.

    Examples
    --------
    >>> shipped()["foll_pin"].title
    'pin_user_pages(), unpin_user_page()'
    """
    return {name: _read(HEADERS / f"{name}.h", own=False) for name in ORDER}


@functools.cache
def support_text() -> str:
    """Every header that a shipped variant may include, for the content hash of a result."""
    return "".join((HEADERS / f"{name}.h").read_text() for name in _SUPPORT)


def own_variants(path: str | os.PathLike[str]) -> list[Variant]:
    """The variant of a header, or of each header of a folder that maps ``pin``."""
    path = Path(path)
    if not path.is_dir():
        return [_read(path, own=True)]
    found = [_read(file, own=True) for file in sorted(path.glob("*.h"))]
    found = [variant for variant in found if re.search(r"\bpin_t\b", variant.text)]
    if not found:
        raise InputError("no .h file in it defines pin_t", file=path)
    return found


def select(names: list[str] | tuple[str, ...] | None) -> list[Variant]:
    """Variants by their own names or by a design's name; all of them by default.

    Examples
    --------
    >>> [variant.name for variant in select(["memdesc8", "netmem"])]
    ['proxy_bitwise', 'memdesc_typed']
    """
    known = shipped()
    if names is None:
        return list(known.values())
    chosen = set()
    for name in names:
        base = name.split(":")[0]  # dynamic_page:flag
        found = {base} & known.keys() or {v.name for v in known.values() if base in v.designs}
        if not found:
            designs = sorted({design for variant in known.values() for design in variant.designs})
            raise InputError(
                f"design {name!r} has no call-site header; known are {', '.join(known)}, and the designs "
                f"{', '.join(designs)}"
            )
        chosen |= found
    return [variant for variant in known.values() if variant.name in chosen]
