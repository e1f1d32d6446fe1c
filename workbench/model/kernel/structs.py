"""``Struct``: a struct's layout and where it comes from: a shipped kernel, BTF, or C source."""

from __future__ import annotations

import os
from dataclasses import fields

from workbench.model.errors import InputError
from workbench.model.kernel._layout import Layout, shipped, split_keyword
from workbench.model.kernel.config import KernelConfig, presets


class Struct(Layout):
    """A struct, union or typedef of one, laid out."""

    @classmethod
    def from_kernel(cls, name: str, kernel: KernelConfig | str) -> Struct:
        """A struct of a shipped build, by its tag (``"page"`` or ``"struct page"``)."""
        config = KernelConfig.preset(kernel) if isinstance(kernel, str) else kernel
        if config.layouts is None:
            having = ", ".join(k.name for k in presets().values() if k.layouts)
            raise InputError(f"kernel {config.name} ships without struct layouts; these have them: {having}")
        return cls._of(shipped(split_keyword(name)[1], config.layouts))

    @classmethod
    def from_btf(cls, name: str, source: str | os.PathLike[str] | bytes) -> Struct:
        """A struct, union or typedef of one, from BTF: a file (see `_btf`) or the blob itself."""
        from workbench.model.kernel._btf import Btf

        return cls._of(Btf.load(source).struct(name))

    @classmethod
    def from_c(cls, text: str, name: str | None = None, kernel: KernelConfig | None = None,
               ms_extensions: bool | None = None) -> Struct:
        """Lay out a struct of pasted C source by the System V x86-64 ABI, as gcc does.

        Parameters
        ----------
        text : str
            Declarations, as in a kernel header; `_cparse` says what it understands.
        name : str, optional
            The struct's tag or typedef. None takes the last struct or union that the text defines at file
            scope.
        kernel : KernelConfig, optional
            Its layouts give the types that the text does not define, its options decide the #ifdefs, and
            its constants are PAGE_SIZE and the like. None: x86-64's constants, no layouts, no options.
        ms_extensions : bool, optional
            Whether ``struct page;`` inside a struct is a member (gcc -fms-extensions) or, as in plain gcc,
            dropped with a warning. None takes what the kernel is built with; without a kernel, False.
        """
        from workbench.model.kernel._cparse import parse_struct

        if ms_extensions is None:
            ms_extensions = kernel is not None and kernel.ms_extensions
        return cls._of(parse_struct(text, name, kernel, ms_extensions))

    @classmethod
    def _of(cls, found: Layout) -> Struct:
        return cls(**{field.name: getattr(found, field.name) for field in fields(found)})
