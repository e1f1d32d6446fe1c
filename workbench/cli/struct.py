"""``workbench struct``: the layout of a C struct, from a kernel's BTF or from C source."""

from __future__ import annotations

import argparse
import sys

from workbench.cli._command import Answer, Command, call
from workbench.model.errors import InputError, printable


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("struct", nargs="?", metavar="NAME", help="the struct's name")
    sub.add_argument("--kernel", metavar="PRESET", help="a shipped kernel (default: x86-64)")
    sub.add_argument("--btf", metavar="FILE", help="BTF: a raw blob, an ELF vmlinux, or a vmlinuz")
    sub.add_argument("--c", metavar="FILE", help="C source; - reads standard input")
    sub.add_argument("--name", metavar="NAME", help="which struct of the C source (default: the last)")
    sub.add_argument(
        "--ms-extensions",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="compile as with -fms-extensions (default: as the kernel preset does)",
    )


def _run(args: argparse.Namespace) -> Answer:
    from workbench.model.kernel.config import KernelConfig
    from workbench.model.kernel.structs import Struct

    _check(args)
    kernel = KernelConfig.preset(args.kernel or "x86-64")
    if args.c is not None:
        text = sys.stdin.read() if args.c == "-" else _read_text(args.c)
        try:
            found = Struct.from_c(
                text, name=args.name or args.struct, kernel=kernel, ms_extensions=args.ms_extensions
            )
        except InputError as error:
            raise InputError(str(error), file=None if args.c == "-" else args.c) from None
    elif args.btf:
        found = Struct.from_btf(args.struct, args.btf)
    else:
        found = Struct.from_kernel(args.struct, kernel)
    for warning in found.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    return found.to_dict(), found.pahole, 0


def _check(args: argparse.Namespace) -> None:
    if args.c is not None and args.btf:
        raise InputError("--c and --btf: give one source of layouts")
    if args.c is None and not args.struct:
        raise InputError("name a struct, or give C source with --c FILE")


def _read_text(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123
        data = file.read((1 << 24) + 1)
    if len(data) > 1 << 24:
        raise InputError("more than 16 MiB of C source", file=path)
    return data.decode("utf-8", errors="replace")


def _python(args: argparse.Namespace) -> str:
    _check(args)
    given = {"kernel": args.kernel or "x86-64"}
    if args.c is not None:
        text = "sys.stdin.read()" if args.c == "-" else f"Path({args.c!r}).read_text()"
        name, extensions = args.name or args.struct, args.ms_extensions
        more = "".join(f", {key}={value!r}" for key, value in
                       (("name", name), ("ms_extensions", extensions)) if value is not None)
        made = f"Struct.from_c({text}, kernel=KernelConfig.preset({given['kernel']!r}){more})"
        before = "import sys\n" if args.c == "-" else "from pathlib import Path\n\n"
        return f"{before}from workbench import KernelConfig, Struct\n\nfound = {made}\nfound.to_dict()"
    made = call("Struct.from_btf", args.struct, args.btf) if args.btf else \
        call("Struct.from_kernel", args.struct, given["kernel"])
    return f"from workbench import Struct\n\nfound = {made}\nfound.to_dict()"


COMMAND = Command(
    wing="model",
    about="the layout of a C struct, from a kernel's BTF or from C source",
    example="workbench struct page --kernel amd64_6.12",
    arguments=_arguments,
    run=_run,
    python=_python,
)
