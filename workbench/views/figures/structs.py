"""Pictures of structs and of a pfn, byte by byte and bit by bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.views.figures._base import GREY, axes, dressed, inert, panels, rows_of

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from workbench.model.kernel.structs import Struct

CACHE_LINE = 64  # bytes; x86-64, arm64 and riscv64 (ppc64 has 128, s390 256)
MAX_LINES = 64  # cache lines that a struct picture shows; longer structs are cut, and the title says so
#: kind of bytes -> fill; light, since the text on it is dark on any paper.
_FILLS = {"scalar": "#9FD3F2", "pointer": "#8FD9BF", "struct": "#F6CF80", "bit-field": "#E6B8D3",
          "hole": "#D6D6D6", "padding": "#D6D6D6"}
_HATCH = {"hole": "/", "padding": ".", "pointer": "\\", "struct": "-", "bit-field": "|"}


@dataclass(frozen=True)
class Piece:
    """A stretch of a struct inside one cache line, in one lane; offsets and widths in bytes."""

    line: int
    lane: int
    start: float
    width: float
    kind: str
    name: str
    hover: str


def struct_layout(*structs: Struct) -> go.Figure:
    """Structs as pictures: a row for each 64-byte cache line, a lane for each arm of a union.

    Holes are hatched. A member that crosses a cache line appears in both. What shares bytes stands one above
    the other, so nothing hides anything. Several structs stand below each other, on one scale.
    """
    drawn = [_rows(pieces(struct)) for struct in structs]
    lanes = [max((row for row, _ in rows), default=0) + 1 for rows in drawn]
    titles = [_struct_title(struct) for struct in structs]
    heights, gap = [27 * nr for nr in lanes], 84
    layout: dict[str, Any] = {"annotations": [], "shapes": []}
    data: list[dict[str, Any]] = []
    shown: set[str] = set()
    for panel, rows in enumerate(drawn):
        (x, y), domain = axes(panel), panels(heights, gap)[panel]
        for kind, fill in _FILLS.items():
            own = [(row, piece) for row, piece in rows if piece.kind == kind]
            if own:
                data.append(_bars(kind, fill, own, xaxis=x, yaxis=y, showlegend=kind not in shown))
                shown.add(kind)
        first = {piece.line: row for row, piece in reversed(rows)}
        layout[x.replace("x", "xaxis")] = {
            "range": [0, CACHE_LINE], "dtick": 8, "anchor": y,
            "title": {"text": "byte in the cache line" if panel == len(drawn) - 1 else ""}}
        layout[y.replace("y", "yaxis")] = {
            "range": [lanes[panel] - 0.5, -0.5], "showgrid": False, "zeroline": False, "anchor": x,
            "domain": domain, "tickvals": list(first.values()),
            "ticktext": [f"line {line}, byte {line * CACHE_LINE}" for line in first]}
        layout["shapes"] += [{"type": "line", "xref": x, "x0": 0, "x1": CACHE_LINE, "yref": y, "y0": at - 0.5,
                              "y1": at - 0.5, "line": {"color": GREY, "width": 1}}
                             for at in list(first.values())[1:]]
        if len(drawn) > 1:
            layout["annotations"].append({
                "text": f"{titles[panel]}<br><span style='font-size:11px'>"
                        f"{inert(structs[panel].source)}</span>",
                "align": "left", "showarrow": False, "xref": "paper", "x": 0, "xanchor": "left",
                "yref": "paper", "y": domain[1], "yanchor": "bottom", "font": {"size": 15}})
    height, one = sum(heights) + gap * (len(heights) - 1) + 144, len(structs) == 1
    return dressed(titles[0] if one else "", height, data, file="struct-layout", barmode="overlay",
                   bargap=0, alt="; ".join(titles), below=inert(structs[0].source) if one else "",
                   margin={"l": 8, "r": 16, "t": 52, "b": 8}, **layout)


def _bars(kind: str, fill: str, own: Sequence[tuple[int, Piece]], **more: Any) -> dict[str, Any]:
    """All pieces of one kind as one trace."""
    return {
        "type": "bar", "orientation": "h", "name": kind, "legendgroup": kind, "width": 0.9,
        "y": [row for row, _ in own], "base": [piece.start for _, piece in own],
        "x": [piece.width for _, piece in own], "textposition": "inside", "insidetextanchor": "middle",
        "text": [inert(piece.name) if len(piece.name) <= 3.5 * piece.width else "" for _, piece in own],
        "textangle": 0, "constraintext": "inside", "textfont": {"color": "#1c1c1c", "size": 12},
        "customdata": [piece.hover for _, piece in own],
        "hovertemplate": "%{customdata}<br>exact, by the compiler's rules or from BTF<extra></extra>",
        "marker": {"color": fill, "line": {"color": "#4d4d4d", "width": 1},
                   "pattern": {"shape": _HATCH.get(kind, ""), "size": 7,
                               "solidity": 0.25 if kind in ("hole", "padding") else 0.08,
                               "fgcolor": "#6d6d6d", "fillmode": "overlay"}},
        **more}


def _struct_title(struct: Struct) -> str:
    holes = sum(hole["size"] for hole in struct.holes)
    cut = f" (the first {MAX_LINES} cache lines)" if struct.size > MAX_LINES * CACHE_LINE else ""
    return (f"{struct.kind} {inert(struct.name)}: {struct.size:,} bytes, {holes:,} in holes, "
            f"{struct.padding:,} of padding{cut}")


def _rows(found: Iterable[Piece]) -> list[tuple[int, Piece]]:
    """Number the lanes in use of each cache line, lines one below the other."""
    found = sorted(found, key=lambda piece: (piece.line, piece.lane, piece.start))
    lanes = {lane: row for row, lane in enumerate(dict.fromkeys((p.line, p.lane) for p in found))}
    return [(lanes[piece.line, piece.lane], piece) for piece in found]


def pieces(struct: Struct) -> list[Piece]:
    """What a struct's picture shows, cut at cache lines: its innermost members, and what none of them uses.

    Unlike pahole this counts unused bytes and bits at every depth, also inside members that are structs.
    """
    found: list[Piece] = []
    leaves = _leaves(struct.members, struct.kind == "union")
    for member, lane in leaves:
        start, end = member.start_bit / 8, member.end_bit / 8
        bits = member.bit_size is not None
        what = f"{member.bit_size} bits from bit {member.bit_offset:,}" if bits else f"{member.size:,} bytes"
        hover = f"<b>{inert(member.name)}</b><br>{inert(member.type)}<br>offset {member.offset:,}, {what}"
        name = f"{member.name}:{member.bit_size}" if bits else member.name
        found += _cut(start, end - start, lane, _kind(member), name, hover)
    at, last = 0, max((member.end_bit for member, _ in leaves), default=0)
    ends = sorted((member.start_bit, member.end_bit) for member, _ in leaves)
    for start, end in [*ends, (8 * struct.size, 8 * struct.size)]:
        if start > at:
            kind = "padding" if at >= last else "hole"
            hover = f"<b>{kind}</b><br>offset {at / 8:,g}, {(start - at) / 8:,g} bytes that no member uses"
            found += _cut(at / 8, (start - at) / 8, 0, kind, kind, hover)
        at = max(at, end)
    return found


def _kind(member: Any) -> str:
    if member.bit_size is not None:
        return "bit-field"
    if member.type.rstrip().endswith("*") or "(*" in member.type:
        return "pointer"
    return "struct" if member.type.startswith(("struct ", "union ")) else "scalar"


def _cut(start: float, width: float, lane: int, kind: str, name: str, hover: str) -> list[Piece]:
    """One piece for each cache line that the stretch touches."""
    cut, end = [], min(start + width, MAX_LINES * CACHE_LINE)
    while start < end:
        line = int(start // CACHE_LINE)
        stop = min(end, (line + 1) * CACHE_LINE)
        cut.append(Piece(line, lane, start - line * CACHE_LINE, stop - start, kind, name, hover))
        start = stop
    return cut


def _leaves(members: Sequence[Any], union: bool) -> list[tuple[Any, int]]:
    """The innermost members, each with its lane: an arm of a union gets lanes of its own."""
    found: list[tuple[Any, int]] = []

    def place(at: int, end: int, lane: int, union: bool) -> int:
        """Place members[at:end]; return how many lanes they take."""
        used = 0
        while at < end:
            inner = at + 1
            while inner < end and members[inner].depth > members[at].depth:
                inner += 1
            own = lane + (used if union else 0)
            if inner > at + 1:
                took = place(at + 1, inner, own, members[at].type.startswith("union"))
            else:
                found.append((members[at], own))
                took = 1
            used = used + took if union else max(used, took)
            at = inner
        return used

    place(0, len(members), 0, union)
    return found


def pfn_anatomy(table: pd.DataFrame, pfn: int) -> go.Figure:
    """The bits of a pfn, most significant left, as each structure reads them.

    ``table`` has ``structure``, ``field``, ``first_bit``, ``nr_bits``, ``value``.
    """
    data = []
    for place, row in enumerate(rows_of(table)):
        last = row["first_bit"] + row["nr_bits"] - 1
        data.append({
            "type": "bar", "orientation": "h", "y": [inert(row["structure"])], "base": [row["first_bit"]],
            "x": [row["nr_bits"]], "text": [f"{inert(row['field'])}<br>{row['value']:,}"],
            "textposition": "inside", "insidetextanchor": "middle", "textangle": 0, "constraintext": "inside",
            "textfont": {"color": "#1c1c1c", "size": 12},
            "marker": {"color": list(_FILLS.values())[place % 4], "line": {"color": "#4d4d4d", "width": 1}},
            "hovertemplate": f"<b>{inert(row['structure'])}: {inert(row['field'])}</b><br>"
                             f"bits {row['first_bit']} to {last}: {row['value']:,}, exact<extra></extra>"})
    top = int((table["first_bit"] + table["nr_bits"]).max())
    return dressed(f"pfn {pfn:#x} = {pfn:,}", 108 + 62 * table["structure"].nunique(), data, bargap=0.25,
                   file="pfn-anatomy", alt="Bits of a pfn as sparsemem and an XArray read them",
                   showlegend=False, barmode="overlay",
                   xaxis={"range": [top, 0], "dtick": 6, "title": {"text": "bit of the pfn"}},
                   yaxis={"autorange": "reversed", "showgrid": False})
