"""Structs, pfns and page flags, bit by bit."""

from __future__ import annotations

import html
import shlex
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets as w

from workbench.model.errors import InputError
from workbench.model.kernel.config import KernelConfig, presets
from workbench.model.kernel.flagbits import FlagBudget, budget_rows
from workbench.model.kernel.structs import Struct
from workbench.views import figures
from workbench.views.explorers._base import HALF, PRE, STYLE, WRAP, Explorer, control
from workbench.views.figures import inert

if TYPE_CHECKING:
    import pandas as pd

#: struct dynamic_page, as in the mail of 14 December 2018.
MAIL = "struct dynamic_page {\n\tstruct page;\n\tunsigned long vaddr;\n\tunsigned long pfn;\n};\n"


class StructExplorer(Explorer):
    """A struct from pasted C source, or one that a kernel build has: picture, pahole text, gcc's warnings.

    With an empty ``text`` the struct of that ``name`` comes from the kernel's own layouts.
    """

    views: ClassVar = {"layout": "figure", "pahole": "text"}
    presets: ClassVar = {
        "struct dynamic_page, as mailed": {},
        "the same without -fms-extensions: the page is lost": {"ms_extensions": False},
        "struct page of 6.12": {"kernel": "amd64_6.12.117-1", "text": ""},
        "a folio": {"kernel": "amd64_6.12.117-1", "name": "folio", "text": ""},
    }
    share_axes: ClassVar = {"kernel": ..., "ms_extensions": ..., "text": (MAIL, "")}

    def __init__(self, **values: Any):
        self.controls = {
            "kernel": control(w.Dropdown, "kernel",
                               options=[k.name for k in presets().values() if k.layouts],
                               tooltip="Gives the types that the text does not define"),
            "name": control(w.Text, "struct", continuous_update=False,
                             placeholder="the last one in the text"),
            "ms_extensions": control(w.Checkbox, "-fms-extensions", indent=False,
                                      tooltip="Makes `struct page;` a member; plain gcc drops it"),
            "text": w.Textarea(value=MAIL, description="C source", style=STYLE, rows=8,
                               tooltip="Empty: the struct is the kernel's own",
                               layout={"width": "98%"}),
        }
        self.controls["kernel"].value = "x86-64"
        self.controls["ms_extensions"].value = True
        super().__init__(**values)

    def struct(self) -> Struct:
        """The struct that the controls describe."""
        value = {name: self._value(name) for name in self.controls}
        kernel, name = KernelConfig.preset(value["kernel"]), value["name"].strip() or None
        if value["text"].strip():
            return Struct.from_c(value["text"], name, kernel, ms_extensions=value["ms_extensions"])
        return Struct.from_kernel(name or "page", kernel)

    def _draw(self, changed: str | None) -> None:
        import pandas as pd

        struct = self.struct()
        self.show("layout", figures.struct_layout(struct))
        warnings = "".join(f'<div class="workbench-note">warning: {inert(text)}</div>'
                           for text in struct.warnings)
        self.say("pahole", f'{warnings}<pre style="{PRE}">{html.escape(struct.pahole())}</pre>')
        self.tables = {"members": pd.DataFrame(struct.to_dict()["members"])}

    def title(self) -> str:
        return f"Layout of struct {self.struct().name}"

    def setup(self) -> dict[str, str]:
        return {"kernel": self._value("kernel"), "-fms-extensions": str(self._value("ms_extensions")),
                "C source": " ".join(self._value("text").split())[:200]}

    def command(self) -> str:
        """``workbench struct`` for a kernel's own struct; pasted source is in the state."""
        if self._value("text").strip():
            return ""
        return shlex.join(["workbench", "struct", self._value("name").strip() or "page",
                           "--kernel", self._value("kernel")])

    def result(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """Members and where they are; the size is a note."""
        return self.tables["members"], {name: name for name in ("name", "type", "offset", "size")}

    def notes(self) -> list[str]:
        struct = self.struct()
        return [f"size {struct.size} bytes, alignment {struct.align} bytes", *map(str, struct.warnings)]

    def sources(self) -> list[str]:
        kernel = KernelConfig.preset(self._value("kernel"))
        return [f"{self.struct().source}; types of {kernel.name}: {kernel.source}"]

    def _layout(self) -> w.Widget:
        c = self.controls
        right = w.VBox([c["kernel"], c["name"], c["ms_extensions"]], layout=HALF)
        controls = w.Box([w.Box([c["text"]], layout=HALF), right], layout=WRAP)
        return w.VBox([controls, self.error, *self.view_widgets()])


def pfn_anatomy(pfn: int, kernel: KernelConfig, nr_pages: int | None = None) -> pd.DataFrame:
    """Which bits of a pfn say what: to sparsemem, and to an XArray that holds pfns below ``nr_pages``.

    Returns
    -------
    DataFrame
        structure, field, first_bit, nr_bits, value; most significant first within a structure. The values
        put together give the pfn again, in each structure.

    Examples
    --------
    >>> anatomy = pfn_anatomy(0x12345, KernelConfig.preset("x86-64"), nr_pages=1 << 28)
    >>> [int(value) for value in anatomy[anatomy.structure == "XArray"].value]
    [0, 0, 18, 13, 5]
    """
    import pandas as pd

    pfn_bits = kernel.max_physmem_bits - kernel.page_shift
    if not 0 <= pfn < 1 << pfn_bits:
        raise InputError(f"pfn {pfn:#x} is not below 2^{pfn_bits}: {kernel.name} has MAX_PHYSMEM_BITS "
                         f"{kernel.max_physmem_bits}")
    nr_pages = max(nr_pages or 1 << pfn_bits, pfn + 1)
    in_root = kernel.sections_per_root.bit_length() - 1
    section = kernel.pfn_section_shift
    cuts = {"sparsemem": [("pfn in its section", section), ("section in its root", in_root),
                          ("section root", pfn_bits - section - in_root)]}
    height = max(1, -(-(nr_pages - 1).bit_length() // kernel.xa_chunk_shift))
    cuts["XArray"] = [(f"slot, shift {level * kernel.xa_chunk_shift}", kernel.xa_chunk_shift)
                      for level in range(height)]
    rows: list[tuple[str, str, int, int, int]] = []
    for structure, fields in cuts.items():
        at, found = 0, []
        for field, bits in fields:
            found.append((structure, field, at, bits, pfn >> at & ((1 << bits) - 1)))
            at += bits
        rows += reversed(found)
    return pd.DataFrame(rows, columns=["structure", "field", "first_bit", "nr_bits", "value"])


class FlagBudgetExplorer(Explorer):
    """Is there a bit for PG_dynamic? The bits of ``page->flags`` that a configuration leaves free."""

    views: ClassVar = {"answer": "text", "bits": "figure"}
    presets: ClassVar = {
        "a distribution's kernel with 8192 CPUs": {"nr_cpus": 8192, "nodes_shift": 10},
        "classic sparsemem, the section in the flags": {"section_bits": 19, "nodes_shift": 6},
        "hardware tags": {"kasan": "hw_tags"},
    }
    share_axes: ClassVar = {"nr_page_flags": ..., "nodes_shift": (0, 6, 10), "nr_cpus": (64, 512, 8192),
                            "section_bits": (0, 18), "lru_gen": ..., "kasan": ...}

    def __init__(self, **values: Any):
        self.controls = {
            "kernel": control(w.Dropdown, "start from", options=list(presets()),
                               tooltip="A preset; picking one sets the controls below"),
            "nr_page_flags": control(w.IntSlider, "page flags", min=18, max=32),
            "nr_zones": control(w.IntSlider, "zones", min=1, max=8),
            "nodes_shift": control(w.IntSlider, "NODES_SHIFT", min=0, max=10),
            "nr_cpus": control(w.SelectionSlider, "NR_CPUS", options=[1 << n for n in range(14)]),
            "section_bits": control(w.IntSlider, "section bits", min=0, max=25,
                                     tooltip="0 with vmemmap; classic sparsemem keeps the section number"),
            "numa_balancing": control(w.Checkbox, "NUMA_BALANCING", indent=False),
            "lru_gen": control(w.Checkbox, "LRU_GEN", indent=False),
            "kasan": control(w.Dropdown, "KASAN tags",
                              options=[("none", ""), ("sw_tags", "sw_tags"), ("hw_tags", "hw_tags")]),
        }
        self._start("x86-64")
        super().__init__(**values)

    def _start(self, preset: str) -> None:
        budget = FlagBudget.of(KernelConfig.preset(preset))
        for name in self.controls:
            if name != "kernel":
                self.controls[name].value = getattr(budget, name)
        self.controls["kernel"].value = preset

    def _changed(self, name: str, change: Any) -> None:
        if name == "kernel" and not self._quiet:
            with self._one_redraw():
                self._start(change["new"])
        else:
            super()._changed(name, change)

    def budget(self) -> FlagBudget:
        """The budget that the controls describe."""
        return FlagBudget(**{name: self._value(name) for name in self.controls if name != "kernel"})

    def _draw(self, changed: str | None) -> None:
        import pandas as pd

        budget = self.budget()
        named = {"as set above": budget}
        named |= {name: FlagBudget.of(KernelConfig.preset(name))
                  for name in ("x86-64", "arm64-4k", "amd64_6.12")}
        self.tables = {"flag bits": pd.DataFrame(budget_rows(named))}
        self.show("bits", figures.flag_bits(self.tables["flag bits"]))
        grown = " last_cpupid does not fit: struct page grows." if budget.last_cpupid_evicted else ""
        word = f"{budget.free_bits} bits are free: " if budget.free_bits != 1 else "1 bit is free: "
        fits = "PG_dynamic fits." if budget.free_bits else "no bit is left for PG_dynamic."
        self._answer = f"{word}{fits}{grown}"
        self.say("answer", f"<b>{word}{fits}</b>{grown}")

    def title(self) -> str:
        return "Is there a bit for PG_dynamic in page->flags?"

    def result(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """Bits by what uses them."""
        table = self.tables["flag bits"]
        return table[table["config"] == table["config"].iloc[0]], {"field": "field", "bits": "bits"}

    def notes(self) -> list[str]:
        return [self._answer]

    def sources(self) -> list[str]:
        preset = KernelConfig.preset(self._value("kernel"))
        return ["include/linux/page-flags-layout.h, v6.12", f"{preset.name}: {preset.source}"]

    def _layout(self) -> w.Widget:
        c = self.controls
        left = w.VBox([c[n] for n in ("kernel", "nr_page_flags", "nr_zones", "nodes_shift")], layout=HALF)
        right = w.VBox([c[n] for n in ("nr_cpus", "section_bits", "kasan")], layout=HALF)
        switches = w.HBox([c["numa_balancing"], c["lru_gen"]])
        return w.VBox([w.Box([left, right], layout=WRAP), switches, self.error, *self.view_widgets()])
