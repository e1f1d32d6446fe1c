"""Which call-site mistakes each way to describe pages turns into errors, and which stay silent.

Every cell is a C function: a correct call site (``patterns/``) with one mistake edited in (``mistakes``),
over one variant's header (``headers/``). It is compiled with the kernel's flags, and if it compiles, it is
run. So a verdict is what a compiler and a run said:

- ``compile error``: the compiler refuses it;
- ``runtime error``: it ran into a check (an oops, BUG_ON(), WARN_ON_ONCE(), KASAN, a refusal, a hang);
- ``silent``: it ran to its end, and what it left behind is wrong;
- ``not applicable``: it compiled, ran to its end and left everything right: in this variant it is no mistake;
- ``not run here``: it compiles, there is no C compiler to run it, and no recorded run is of this very text.

A run is of a debug kernel (CONFIG_DEBUG_VM, KASAN); ``production`` has the verdict without those checks. A
compiler's warning stops nothing, unless ``werror`` (CONFIG_WERROR) is asked for; the column ``warning`` has
it.

Modelled in user space, from the documented behaviour and not from kernel source: references and pins of small
pages and of one large folio, dirty bits, a device that writes, migration, hot-remove, XArray entries,
scatterlists, gup's pool. Left out: concurrency, reuse of freed memory, writeback. A real kernel may meet a
wrong pointer later, and in another way.

Checks that kernels have (v6.12): try_grab_folio() warns of a refcount of 0 or less, and gup refuses
FOLL_LONGTERM on fsdax (mm/gup.c); sg_assign_page() is BUG_ON(page & 3) (include/linux/scatterlist.h);
put_page_testzero() is VM_BUG_ON_PAGE() of a refcount of 0 (include/linux/mm.h); freeing a mapped page, or a
large folio with a pin count, is a bad page state (mm/page_alloc.c). Checks that the designs would bring are
assumed: unpin warns of a page without tag or flag, put_page() of one with the flag. So is that a proxy and a
dynamic_page hold a reference on the page. After each call site, every page is looked up once more and the
process exits: "later" in a diagnostic means then.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import os
import re
import signal
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.evidence.typesafety import _compilers as compilers
from workbench.evidence.typesafety import _variants as variants
from workbench.evidence.typesafety import mistakes
from workbench.evidence.typesafety._variants import Variant
from workbench.evidence.typesafety.mistakes import Mistake, Pattern
from workbench.model.errors import InputError
from workbench.model.files import data_dir

COMPILE, RUNTIME, SILENT, NOT_APPLICABLE, NOT_RUN = (
    "compile error", "runtime error", "silent", "not applicable", "not run here",
)  # fmt: skip
VERDICTS = (COMPILE, RUNTIME, SILENT, NOT_APPLICABLE, NOT_RUN)
_WEAKEST_FIRST = (NOT_RUN, SILENT, RUNTIME, COMPILE)
_CORRECT = Mistake("", "", "nothing is wrong", ())
RECORDED = "typesafety/matrix.json"
#: Which column of the published table speaks of which headers. It has none for get_put.
COLUMNS = {
    "plain": ("foll_pin",),
    "proxy_bit": ("proxy_bit",),
    "dynamic_page": ("dynamic_page",),
    "distinct": ("proxy_typed", "proxy_bitwise", "proxy_struct", "dynamic_page_typed", "memdesc_typed"),
}


@dataclass(frozen=True)
class _Snippet:
    """One call site as it is compiled: the function's name says its mistake."""

    mistake: Mistake
    pattern: Pattern
    source: str
    function: str

    @property
    def name(self) -> str:
        return f"{self.mistake.name or 'correct'}/{self.pattern.name}"


@dataclass(frozen=True)
class _Outcome:
    """What became of a snippet: a compiler's errors and warnings, and how it ran (debug, production)."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    runs: tuple[tuple[str, str], ...] = ()  # verdict, diagnostic
    recorded: str = ""


def _snippet(mistake: Mistake, pattern: Pattern) -> _Snippet | None:
    source = mistake.apply(pattern.source) if mistake.edits else pattern.source
    if source is None:
        return None
    function = f"{pattern.name}__{mistake.name}" if mistake.name else pattern.name
    source = re.sub(rf"^(long ){pattern.name}\(", rf"\1{function}(", source, flags=re.MULTILINE)
    return _Snippet(mistake, pattern, source, function)


@functools.cache
def _snippets(chosen: tuple[Mistake, ...]) -> tuple[_Snippet, ...]:
    """The correct call sites, and those with a mistake, one mistake after the other."""
    made = [_snippet(mistake, pattern)
            for mistake in (_CORRECT, *chosen) for pattern in mistakes.patterns().values()]  # fmt: skip
    return tuple(snippet for snippet in made if snippet)


# -- compile ------------------------------------------------------------------------------------------------


def _unit(variant: Variant, snippets: Iterable[_Snippet]) -> tuple[str, list[tuple[int, int]]]:
    """A translation unit of all the snippets, and the first and last line of each."""
    lines = [f'#include "{variant.file}"', '#include "call.h"', ""]
    places = []
    for snippet in snippets:
        lines.append(f"long {snippet.function}(void);")
        first = len(lines) + 1
        lines += snippet.source.rstrip("\n").split("\n")
        places.append((first, len(lines)))
        lines.append("")
    return "\n".join(lines) + "\n", places


def _files(variant: Variant, unit: str) -> dict[str, str]:
    return {"call-sites.c": unit, variant.file: variant.text}


@functools.lru_cache(maxsize=64)
def _compiled(
    variant: Variant, snippets: tuple[_Snippet, ...], compiler: str, ms_extensions: bool
) -> tuple[_Outcome, ...]:
    """What the compiler says of each snippet; all are in one unit, so that the header is read once."""
    unit, places = _unit(variant, snippets)
    files, folders = _files(variant, unit), _folders(variant)
    said = compilers.diagnose(compiler, files, "call-sites.c", ms_extensions=ms_extensions, folders=folders)
    for found in said:
        if found.file != "call-sites.c" and found.error:
            if found.file in ("", variant.file):
                raise InputError(found.text, file=variant.file, place=f"line {found.line}")
            # a file beside it, or one of ours that takes what this header defines
            raise InputError(f"{found.file}, line {found.line}: {found.text}", file=variant.file)
    outcomes = []
    for first, last in places:
        here = [d for d in said if d.file == "call-sites.c" and first <= d.line <= last]
        told = [(d.error, f"line {d.line - first + 1}: {d.text}") for d in here]
        outcomes.append(
            _Outcome(
                tuple(text for error, text in told if error), tuple(text for error, text in told if not error)
            )
        )
    return tuple(outcomes)


def _folders(variant: Variant) -> tuple[Path, ...]:
    return (variant.folder.resolve(),) if variant.own else ()


# -- run ----------------------------------------------------------------------------------------------------


def _program(variant: Variant, snippets: tuple[_Snippet, ...]) -> str:
    unit, _ = _unit(variant, snippets)
    rows = [
        f"\t{{ {snippet.function}, {snippet.pattern.expected}, {int(snippet.mistake.dax)}, "
        f"{snippet.mistake.pool} }},"
        for snippet in snippets
    ]
    return "\n".join(
        [
            unit,
            '#include "run.h"',
            "static const struct call_site sites[] = {",
            *rows,
            "};",
            "int main(int argc, char **argv)",
            "{",
            "\treturn run_all(sites, sizeof(sites) / sizeof(sites[0]), argc > 1 && atoi(argv[1]));",
            "}",
            "",
        ]
    )


def _read_run(text: str, nr: int) -> list[tuple[str, str]]:
    """Verdict and diagnostic of each call site from what the program printed.

    Examples
    --------
    >>> _read_run("== 0\\nTRAP Oops: bad\\n-- 768\\n== 1\\n-- 0\\n== end\\n", 2)[0]
    ('runtime error', 'Oops: bad')
    """
    found = []
    parts = re.split(r"^== (?:\d+|end)\n", text, flags=re.MULTILINE)[1:]
    for part in parts[:nr]:
        status = re.search(r"^-- (-?\d+)$", part, re.MULTILINE)
        code = int(status[1]) if status else -1
        trapped = re.search(r"^TRAP (.*)$", part, re.MULTILINE)
        wrong = list(dict.fromkeys(re.findall(r"^WRONG silent: (.*)$", part, re.MULTILINE)))
        if trapped:
            found.append((RUNTIME, trapped[1]))
        elif os.WIFSIGNALED(code):
            name = signal.Signals(os.WTERMSIG(code)).name
            text = "hangs: no end after 2 seconds" if name == "SIGALRM" else f"dies of {name}"
            found.append((RUNTIME, text))
        elif wrong:
            found.append((SILENT, "; ".join(wrong)))
        elif code == 0:
            found.append((NOT_APPLICABLE, "no mistake here: compiles, runs, leaves everything right"))
        else:
            found.append((RUNTIME, f"ends with status {code}"))
    return found + [(RUNTIME, "the program died before it came to this")] * (nr - len(found))


@functools.lru_cache(maxsize=64)
def _ran(
    variant: Variant, snippets: tuple[_Snippet, ...], runner: str, ms_extensions: bool
) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Verdict and diagnostic of each snippet on a debug kernel and on another."""
    files, folders = _files(variant, _program(variant, snippets)), _folders(variant)
    printed = compilers.build_and_run(
        files, "call-sites.c", ("1", "0"), compiler=runner, ms_extensions=ms_extensions, folders=folders
    )
    debug, production = (_read_run(text, len(snippets)) for text in printed)
    return tuple(zip(debug, production, strict=True))


# -- recorded runs ------------------------------------------------------------------------------------------


def _key(variant: Variant, snippet: _Snippet) -> str:
    """Hash of all the C text that a result depends on."""
    text = "\0".join([variants.support_text(), variant.text, snippet.source, repr(snippet.mistake)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def _recorded() -> Mapping[str, Any]:
    path = data_dir() / RECORDED
    try:
        return json.loads(path.read_text())
    except OSError:
        return {"runs": {}}
    except ValueError as error:
        raise InputError(f"not JSON: {error}", file=path) from None


def record(date: str) -> dict[str, Any]:
    """The runs of the whole shipped matrix, to ship as ``data/typesafety/matrix.json``.

    Parameters
    ----------
    date : str
        The day, for those who read the file.

    Returns
    -------
    dict
        The file's content: who ran it, and by content hash what came of each call site.
    """
    runner = compilers.runner()
    if runner is None:
        raise InputError("nothing to record: no C compiler to run call sites with")
    runs = {}
    snippets = _snippets(mistakes.MISTAKES)
    for variant in variants.select(None):
        outcomes = _outcomes(variant, snippets, compilers.default(), True)
        for snippet, outcome in zip(snippets, outcomes, strict=True):
            if outcome.runs:
                row = {"design": variant.name, "call_site": snippet.name}
                runs[_key(variant, snippet)] = row | {"runs": [list(run) for run in outcome.runs]}
    return {
        "format": "typesafety-runs/1",
        "whose": "the workbench's own run of workbench/typesafety; no kernel ran",
        "date": date,
        "compiled": f"{compilers.default()}: {compilers.versions()[compilers.default()]}",
        "run": compilers._version_line(runner),
        "flags": " ".join((*compilers.KERNEL_FLAGS, "-fms-extensions")),
        "columns": "runs: [verdict, diagnostic] on a debug kernel, then on a production kernel",
        "runs": runs,
    }


def write_record(path: str | os.PathLike[str], date: str) -> None:
    """Write `record` as JSON, a line for each call site."""
    found = record(date)
    runs = found.pop("runs")
    head = json.dumps(found, indent=1).removesuffix("\n}")
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in runs.items())
    Path(path).write_text(f'{head},\n "runs": {{\n{lines}\n }}\n}}\n')


# -- the matrix ---------------------------------------------------------------------------------------------


def _outcomes(
    variant: Variant, snippets: tuple[_Snippet, ...], compiler: str, ms_extensions: bool
) -> list[_Outcome]:
    compiled = _compiled(variant, snippets, compiler, ms_extensions)
    _check_compiled(variant, snippets, compiled)
    good = tuple(snippet for snippet, out in zip(snippets, compiled, strict=True) if not out.errors)
    ran: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {}
    if runner := compilers.runner():
        found = _ran(variant, good, runner, ms_extensions)
        ran = {snippet.name: (runs, "") for snippet, runs in zip(good, found, strict=True)}
    else:
        known = _recorded()
        for snippet in good:
            if row := known["runs"].get(_key(variant, snippet)):
                runs = tuple((verdict, text) for verdict, text in row["runs"])
                ran[snippet.name] = (runs, f"{known['run']}, {known['date']}")
    return [
        _Outcome(out.errors, out.warnings, *ran.get(snippet.name, ((), "")))
        for snippet, out in zip(snippets, compiled, strict=True)
    ]


def _check_compiled(
    variant: Variant, snippets: tuple[_Snippet, ...], compiled: tuple[_Outcome, ...]
) -> None:
    """The correct call sites must compile without a warning, or nothing that follows means anything."""
    for snippet, out in zip(snippets, compiled, strict=True):
        if not snippet.mistake.name and (out.errors or out.warnings):
            why = f"the correct call site {snippet.pattern.name}, {(out.errors + out.warnings)[0]}"
            raise InputError(why, file=variant.file)


def _check_ran(variant: Variant, snippets: tuple[_Snippet, ...], outcomes: list[_Outcome]) -> None:
    """And they must run clean."""
    for snippet, out in zip(snippets, outcomes, strict=True):
        for verdict, text in out.runs:
            if not snippet.mistake.name and verdict != NOT_APPLICABLE:
                why = f"the correct call site {snippet.pattern.name} goes wrong: {text}"
                raise InputError(why, file=variant.file)


def rows(
    designs: Iterable[str] | None = None,
    *,
    mistake: Iterable[str] | None = None,
    header: str | os.PathLike[str] | None = None,
    compiler: str | None = None,
    ms_extensions: bool = True,
    werror: bool = False,
) -> list[dict[str, Any]]:
    """The matrix, one row for each mistake, pattern and design.

    Parameters
    ----------
    designs : iterable of str, optional
        Variants (``foll_pin``, ``proxy_typed``) or designs of the workbench (``memdesc8``); default: all.
    mistake : iterable of str, optional
        Default: all.
    header : path, optional
        A header of your own, or a folder of them; see `_variants`. Without ``designs``
        its rows are the only ones.
    compiler : str, optional
        ``libclang``, ``gcc``, ``clang`` or ``sparse``, as far as they are here; default: libclang.
    ms_extensions : bool
        Compile with -fms-extensions.
    werror : bool
        Warnings are errors (CONFIG_WERROR).

    Returns
    -------
    list of dict
        mistake, pattern, design, verdict, diagnostic, warning, production, compiler, run_by, source.

    Examples
    --------
    >>> found = rows(["proxy_typed"], mistake=["put_on_pin"])
    >>> {row["verdict"] for row in found}
    {'compile error'}
    """
    chosen_names = _as_list(mistake)
    chosen = tuple(mistakes.select(chosen_names))
    compiler = compilers.check(compiler)
    own = variants.own_variants(header) if header is not None else []
    shipped = [] if own and designs is None else variants.select(_as_list(designs))
    snippets = _snippets(chosen)
    with ThreadPoolExecutor(2) as pool:
        jobs = [(v, pool.submit(_outcomes, v, snippets, compiler, ms_extensions)) for v in (*shipped, *own)]
        done = [(variant, job.result()) for variant, job in jobs]
    found = []
    for variant, outcomes in done:
        _check_ran(variant, snippets, outcomes)
        found += [
            _row(variant, snippet, outcome, compiler, werror)
            for snippet, outcome in zip(snippets, outcomes, strict=True)
            if snippet.mistake.name
        ]
    place = {item.name: at for at, item in enumerate(mistakes.MISTAKES)}
    return sorted(found, key=lambda row: place[row["mistake"]])


def _as_list(names: Iterable[str] | None) -> list[str] | None:
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)


def _row(variant: Variant, snippet: _Snippet, out: _Outcome, compiler: str, werror: bool) -> dict[str, Any]:
    errors = out.errors or (out.warnings if werror else ())
    if errors:
        verdict, text = COMPILE, errors[0]
        production = COMPILE
    elif out.runs:
        (verdict, text), (production, _) = out.runs
    else:
        verdict, text, production = NOT_RUN, "compiles; there is no C compiler to run it with", NOT_RUN
    runner = compilers.runner()
    ran_by = "" if not out.runs or errors else out.recorded or compilers._version_line(runner or "")
    return {
        "mistake": snippet.mistake.name, "pattern": snippet.pattern.name, "design": variant.name,
        "verdict": verdict, "diagnostic": text, "warning": "; ".join(out.warnings),
        "production": production, "compiler": f"{compiler}: {compilers.versions()[compiler]}",
        "run_by": ran_by, "source": snippet.source,
    }  # fmt: skip


def controls(
    designs: Iterable[str] | None = None, *, compiler: str | None = None, ms_extensions: bool = True
) -> list[dict[str, Any]]:
    """The correct call sites: as `rows`, where every verdict should be that there is nothing wrong."""
    compiler = compilers.check(compiler)
    snippets = _snippets(())
    return [
        _row(variant, snippet, out, compiler, False)
        for variant in variants.select(_as_list(designs))
        for snippet, out in zip(snippets, _outcomes(variant, snippets, compiler, ms_extensions), strict=True)
    ]


def summary(matrix: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each mistake and design.

    The verdict is the weakest of its call sites: a mistake counts as a compile error only if every call site
    that has it fails to compile; one that stays silent makes it silent. Call sites where it is no mistake
    count only if all are such. ``mixed`` says that the call sites differ, and ``verdicts`` how.

    Parameters
    ----------
    matrix : iterable of dict
        What `rows` returned.

    Returns
    -------
    list of dict
        mistake, design, verdict, mixed, verdicts, production, warned, diagnostic.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in matrix:
        groups.setdefault((row["mistake"], row["design"]), []).append(row)
    found = []
    for (mistake, design), group in groups.items():
        verdict = _weakest(row["verdict"] for row in group)
        counts = {name: sum(row["verdict"] == name for row in group) for name in VERDICTS}
        counts = {name: count for name, count in counts.items() if count}
        first = next(row for row in group if row["verdict"] == verdict)
        text = f"{first['pattern']}: {first['diagnostic']}"
        if len(counts) > 1:
            told = ", ".join(f"{name} in {count}" for name, count in counts.items())
            text = f"mixed ({told}); {text}"
        row = {
            "mistake": mistake, "design": design, "verdict": verdict, "mixed": len(counts) > 1,
            "verdicts": counts, "production": _weakest(row["production"] for row in group),
            "warned": sum(bool(row["warning"]) for row in group), "diagnostic": text,
        }  # fmt: skip
        found.append(row)
    return found


def _weakest(verdicts: Iterable[str]) -> str:
    found = set(verdicts)
    return next((verdict for verdict in _WEAKEST_FIRST if verdict in found), NOT_APPLICABLE)


# -- against the published table ----------------------------------------------------------------------------


def _table(name: str) -> list[dict[str, str]]:
    path = data_dir() / "typesafety" / name
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def agreement(matrix: Iterable[Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
    """The published table of mistake classes (``data/typesafety/published.csv``) beside our verdicts.

    Parameters
    ----------
    matrix : iterable of dict, optional
        What `rows` returned; default: all of it, made now.

    Returns
    -------
    list of dict
        mistake, design, column, published (its words), means (the verdicts they stand for), ours, mixed,
        agrees, why (where we differ).
    """
    ours = {(row["mistake"], row["design"]): row for row in summary(rows() if matrix is None else matrix)}
    why = {(row["mistake"], row["design"]): row["why"] for row in _table("differences.csv")}
    found = []
    for cell in _table("published.csv"):
        for design in COLUMNS[cell["column"]]:
            place = (cell["mistake"], design)
            if place not in ours:
                continue
            means = cell["means"].split("|")
            agrees = ours[place]["verdict"] in means
            row = {
                "mistake": cell["mistake"], "design": design, "column": cell["column"],
                "published": cell["words"], "means": means, "ours": ours[place]["verdict"],
                "mixed": ours[place]["mixed"], "agrees": agrees,
                "why": "" if agrees else why.get(place, ""),
            }  # fmt: skip
            found.append(row)
    return found
