"""Compilers: libclang from PyPI, which every installation has, and gcc, clang and sparse where they exist.

All get the kernel's flags. libclang only looks; what runs is made by ``cc``. sparse only warns: its warnings
about types count as errors in its own rows. The C here includes no system
header, so a compiler without a C library's headers takes it too.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.evidence.typesafety._variants import HEADERS
from workbench.model.errors import InputError

#: As KBUILD_CFLAGS of Makefile and scripts/Makefile.extrawarn, v6.12, as far as types go. int-conversion is
#: not among them: gcc 14 and clang 16 make it an error by themselves, and older ones are told to here.
KERNEL_FLAGS = (
    "-std=gnu11", "-Wall", "-Wundef", "-fshort-wchar", "-funsigned-char", "-fno-common",
    "-fno-strict-aliasing", "-Wmissing-declarations", "-Wmissing-prototypes", "-Wvla", "-Wcast-function-type",
    "-Wno-gnu", "-Wno-pointer-sign", "-Werror=implicit-function-declaration",
    "-Werror=implicit-int", "-Werror=return-type", "-Werror=strict-prototypes",
    "-Werror=incompatible-pointer-types", "-Werror=int-conversion",
)  # fmt: skip
#: One line for each diagnostic, at the place where a macro is used, and all of them.
_PLAIN = {
    "gcc": ("-fdiagnostics-color=never", "-fno-diagnostics-show-caret", "-ftrack-macro-expansion=0",
            "-fmax-errors=0"),
    "clang": ("-fno-color-diagnostics", "-fno-caret-diagnostics", "-ferror-limit=0"),
}  # fmt: skip
_SECONDS = 30
_MAX_OUTPUT = 8 << 20


@dataclass(frozen=True)
class Diagnostic:
    """What a compiler said: of which file, which line (from 1), and whether it stops the build."""

    file: str
    line: int
    error: bool
    text: str


def _libclang_index():  # type: ignore[no-untyped-def]
    try:
        from clang import cindex

        return cindex, cindex.Index.create()
    except (ImportError, OSError, AttributeError):  # AttributeError: another package named clang
        return None, None
    except Exception as error:  # cindex.LibclangError, which cannot be named before the import
        if type(error).__name__ == "LibclangError":
            return None, None
        raise


@functools.cache
def versions() -> dict[str, str]:
    """Compilers that are here, by name, with their versions."""
    found = {}
    cindex, _ = _libclang_index()
    if cindex:
        get_version = cindex.conf.lib.clang_getClangVersion
        get_version.restype = cindex._CXString
        get_version.errcheck = cindex._CXString.from_result
        found["libclang"] = str(get_version())
    for name in ("gcc", "clang", "sparse"):
        path = shutil.which(name)
        if path and (text := _version_line(path)):
            found[name] = text
    return found


def _version_line(path: str) -> str:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else ""


def default() -> str:
    """libclang, or what else is here."""
    found = versions()
    if not found:
        raise InputError("no compiler: install the PyPI package libclang, or gcc or clang")
    return next(iter(found))


def check(compiler: str | None) -> str:
    """That compiler's name, if it is here."""
    if compiler is None:
        return default()
    if compiler not in versions():
        here = ", ".join(versions()) or "none"
        raise InputError(f"compiler {compiler!r} is not here; here are: {here}")
    return compiler


def runner() -> str | None:
    """The compiler whose programs are run: $CC, cc, gcc or clang; None where none makes one that runs.

    An empty ``CC`` says that nothing is to be run.
    """
    names: tuple[str, ...] = ("cc", "gcc", "clang")
    if "CC" in os.environ:
        names = tuple(os.environ["CC"].split()[:1])
    return next((path for name in names if (path := shutil.which(name)) and _works(path)), None)


@functools.cache
def _works(compiler: str) -> bool:
    """Whether it takes our flags, finds a C library, and what it makes may run in the temporary folder."""
    unit = {"a.c": "int main(void) { return 0; }\n"}
    try:
        return build_and_run(unit, "a.c", ("",), compiler=compiler) == [""]
    except InputError:
        return False


def _flags(ms_extensions: bool, folders: tuple[Path, ...]) -> list[str]:
    ms = ["-fms-extensions", "-Wno-microsoft-anon-tag"] if ms_extensions else []  # gcc skips unknown -Wno-
    return [*KERNEL_FLAGS, *ms, *(f"-I{folder}" for folder in (*folders, HEADERS))]


def diagnose(
    compiler: str, files: Mapping[str, str], main: str, *, ms_extensions: bool, folders: tuple[Path, ...] = ()
) -> list[Diagnostic]:
    """Errors and warnings of one translation unit.

    Parameters
    ----------
    compiler : str
        One of `versions`.
    files : mapping of str to str
        The unit and the headers that are not in ``headers/``, by file name.
    main : str
        Which of them is the unit.
    ms_extensions : bool
        Compile as with -fms-extensions, which the kernel does from v7.3 on.
    folders : tuple of Path
        Where else headers lie.

    Returns
    -------
    list of Diagnostic
    """
    if compiler == "libclang":
        return _ask_libclang(files, main, _flags(ms_extensions, folders))
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        flags = _flags(ms_extensions, folders)
        if compiler == "sparse":
            command = ["sparse", *(flag for flag in flags if not flag.startswith("-Werror")), main]
        else:
            command = [compiler, *flags, *_PLAIN[compiler], "-fsyntax-only", main]
        done = _run(command, folder)
    said = _parse(done.stderr, compiler)
    if done.returncode and not any(found.error for found in said):
        raise InputError(f"{compiler} fails: {(done.stderr.strip() or 'it says nothing').splitlines()[0]}")
    return said


def _ask_libclang(files: Mapping[str, str], main: str, flags: list[str]) -> list[Diagnostic]:
    cindex, index = _libclang_index()
    if not cindex:
        raise InputError("libclang is not installed; install the PyPI package libclang")
    try:
        unit = index.parse(main, args=[*flags, "-ferror-limit=0"], unsaved_files=list(files.items()))
    except cindex.TranslationUnitLoadError:
        raise InputError(f"libclang cannot read {main}") from None
    found = []
    for said in unit.diagnostics:
        if said.severity < cindex.Diagnostic.Warning:
            continue
        option = f" [{said.option}]" if said.option else ""
        name = Path(said.location.file.name).name if said.location.file else ""
        error = said.severity >= cindex.Diagnostic.Error
        found.append(Diagnostic(name, said.location.line, error, said.spelling + option))
    return found


def _parse(text: str, compiler: str) -> list[Diagnostic]:
    """What gcc, clang and sparse print, a line each.

    Examples
    --------
    >>> _parse("a.c:7:3: error: no such type\\n", "gcc")
    [Diagnostic(file='a.c', line=7, error=True, text='no such type')]
    """
    found = []
    for line in text.splitlines():
        if said := re.match(r"(.*?):(\d+):\d+: (fatal error|error|warning): (.*)", line):
            error = said[3] != "warning"
            if compiler == "sparse":  # it warns where its own types, such as __bitwise, forbid something
                error |= bool(re.match(r"incorrect type|restricted|incompatible types", said[4]))
            found.append(Diagnostic(Path(said[1]).name, int(said[2]), error, said[4]))
    return found


def _run(command: list[str], folder: str | Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, errors="replace", timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(f"{Path(command[0]).name} took more than {_SECONDS} seconds") from None
    except OSError as error:
        raise InputError(f"{Path(command[0]).name} cannot be run: {error.strerror}") from None


def build_and_run(
    files: Mapping[str, str], main: str, arguments: tuple[str, ...], *, compiler: str,
    ms_extensions: bool = True, folders: tuple[Path, ...] = (),
) -> list[str]:  # fmt: skip
    """Compile a program and run it once for each argument, in a folder of its own.

    Returns
    -------
    list of str
        What it printed, for each argument.
    """
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        quiet = ["-w", "-O0", "-o", "call-sites", main]
        done = _run([compiler, *_flags(ms_extensions, folders), *quiet], folder)
        if done.returncode:
            first = next((said for said in _parse(done.stderr, "gcc") if said.error), None)
            why = f"{first.file}, line {first.line}: {first.text}" if first else done.stderr[:200]
            raise InputError(f"{Path(compiler).name} cannot build the call sites: {why}")
        return [
            _run([str(Path(folder) / "call-sites"), argument], folder).stdout[:_MAX_OUTPUT]
            for argument in arguments
        ]
