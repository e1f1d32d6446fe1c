"""What each notebook answers, in words: functions of the tables that it computed, so that nothing is stale.

Each takes by name what the notebook has, and returns Markdown.
"""

from __future__ import annotations

from typing import Any

from workbench.model import designs
from workbench.model.designs import memdesc
from workbench.model.kernel.config import KernelConfig
from workbench.model.scenario import Scenario, break_even
from workbench.model.units import duration, size
from workbench.studies.times import SLOW_DESIGNS, model_checks, share_curve
from workbench.studies.versus import bytes_map, versus


def memory_overhead(
    *,
    clustered_even: Any,
    base: Any,
    rows: Any,
    beyond: Any,
    nr_nodes: Any,
    per_page: Any,
    best: Any,
    device_even: Any,
    even: Any,
) -> str:
    """What descriptors and maps cost, of the tables of notebook 02."""
    rest = f"below {clustered_even.percent[0]:.3g} %" if len(clustered_even) else "whatever share is in use"
    return f"""\
On **{base.machine}** the static memmap takes {size(rows.total_bytes["static"])}
({rows.percent_of_ram["static"]:.4g} % of RAM), and FOLL_PIN adds nothing to it. Tracking
{rows.nr_pinned["static"]:,} scattered pins adds {size(beyond["proxy_bit"])} with proxies and
**{size(beyond["dynamic_page"])}** with `dynamic_page` and an XArray.

**Clustering decides.** 131,072 single pages in 1 TiB need {nr_nodes[1]:,} XArray nodes, {per_page[1]:.0f}
bytes for each page; in runs of 512 they need {nr_nodes[512]:,}, {per_page[512]:.1f} bytes. The smallest
map is {best[1]} for single pages, {best[512]} for such runs.

**Instead of a memmap** `dynamic_page` takes less memory while less than **{device_even.percent[0]:.3g}
%** of the device memory is in use in single pages; in 2 MiB folios, {rest}. **Beside one** it only ever
adds, and comes to cost as much as the whole memmap at {even.percent[len(even) - 1]:.3g} % pinned."""


def fast_slow_paths(*, ratios: Any, own: Any, mixed: Any, live: Any, maple: Any) -> str:
    """How much longer slow paths take, of the tables of notebook 03."""

    def told(design, op, run, cpu):
        found = ratios[
            (ratios["design"] == design)
            & (ratios["op"] == op)
            & (ratios["run_pages"] == run)
            & (ratios["cpu"] == cpu)
        ]
        return (
            ", ".join(f"{row.ratio:,.3g} with {row.nr_pinned:,} pinned" for row in found.itertuples())
            or "not measured"
        )

    cpus = list(ratios["cpu"].unique())
    lines = [
        f"* **{design}, {op}()**, {'scattered' if run == 1 else f'in runs of {run}'}: "
        + "; ".join(f"{cpu}: {told(design, op, run, cpu)}" for cpu in cpus)
        for design in SLOW_DESIGNS
        for op in ("page_to_pfn", "pfn_to_page")
        for run in (1, 512)
        if run == 1
        or (design, op) in {("dynamic_page:flag", "pfn_to_page"), ("dynamic_page:range", "pfn_to_page")}
    ]
    lines = [line for line in lines if not line.startswith("* **proxy_bit, pfn_to_page")]
    curve, _ = share_curve(
        own, ["proxy_bit", "dynamic_page:range"], nr_descriptors=100_000, page_to_pfn=0.5
    )
    crossed = share_curve(own, ["static", *SLOW_DESIGNS], nr_descriptors=100_000, page_to_pfn=1.0)[1]
    even = (
        "; ".join(
            f"{row.design} comes to take longer than {row.other} at {row.share:.1%}"
            for row in crossed.itertuples()
        )
        or "none cross"
    )
    assert "proxy_bit" not in set(
        share_curve(own, ["proxy_bit", "dynamic_page:flag", "dynamic_page:range"], page_to_pfn=0.5)[1][
            "design"
        ]
    )
    half = {
        run: mixed[run].query("design == 'proxy_bit' and share in (0, 1)")["ns"].mean() for run in mixed
    }
    flag = ratios.query("design == 'dynamic_page:flag' and op == 'page_to_pfn'")["fast_ns"].iloc[0]
    at = {
        name: curve[(curve["design"] == name) & (curve["share"] == 0.01)]["ns"].iloc[0]
        for name in ("proxy_bit", "dynamic_page:range")
    }
    bump = {run: mixed[run].query("design == 'proxy_bit' and share == 0.5")["ns"].iloc[0] for run in mixed}
    step = live.set_index("set")
    far, near = "random in 2^34", "random in 2^22"
    kernel, walk = (step.loc[far, column] - step.loc[near, column] for column in ("ns_lookup", "walk_ns"))
    off = (live["measured_nodes"] - live["predicted_nodes"]).abs()
    times = live["kernel : user space"]
    clustered = ratios.query(
        "design == 'dynamic_page:range' and op == 'pfn_to_page' and nr_pinned == 100000"
    ).pivot(index="cpu", columns="run_pages", values="slow_ns")
    gain = ", ".join(f"{row[1] / row[512]:.0f} on the {cpu}" for cpu, row in clustered.iterrows())
    errors = model_checks(own).groupby("path")["error_percent"].median()
    shares = sorted(set(ratios["slow_percent"]))
    return f"""\
A slow path takes this many fast ones, on a machine of 1 TiB:

{chr(10).join(lines)}

The proxy leaves the fast path alone and its slow path loads one line; dynamic_page by range does the same
for page_to_pfn(), and pays in pfn_to_page(), for the walk of the map. With a flag in struct page every
fast call loads a page too: {flag:.2g} ns measured whole, over a memmap of 128 MiB, against
{own.ns("vmemmap/page_to_pfn", "dependent", 0).ns_median:.2g} ns for the arithmetic.

**Break-even**, page_to_pfn() among 100,000 descriptors by the share of dynamic calls, on the {own.cpu}:
{even}. Below that share the order of the designs is that of their fast paths. With pfn_to_page() in the
mix no design catches up with the proxy, which leaves that one alone. Pinned in runs of 512, the map is
small and the walk faster, at 100,000 pages by a factor of {gain}. How many calls are slow is another
matter: {", ".join(f"{share:.2g} %" for share in shares)} of all pages are pinned in these cases. On the
{own.cpu}, where 1 % of all calls are slow, as many page_to_pfn() as pfn_to_page(), among 100,000
descriptors, a call takes {at["proxy_bit"]:.2g} ns with the proxy and {at["dynamic_page:range"]:.2g} ns
with dynamic_page by range (one page in 16 dynamic, so that the map is dense; in 1 TiB the same number
makes a taller one, whose walk takes what the ratios say). There a random mix of proxies costs
{bump[1]:.2g} ns a call at one half with everything in the cache, and {bump[64]:.2g} ns where 64 calls in
a row go the same way; half the calls at either cost alone would come to {half[1]:.2g}, so that the
mispredicted branch takes about {bump[1] - half[1]:.2g} ns.

The cost model is for orders of magnitude: its median error is {errors.min():+.0f} to {errors.max():+.0f}
% by structure, and it is too low for most.

In a running kernel the XArray has the predicted number of nodes to within {int(off.max())} of
{int(live["predicted_nodes"].max()):,} (the maple tree of a process's mappings:
{maple["predicted_nodes"]:,} predicted, {maple["measured_nodes"]:,} measured, noise
{maple["noise_nodes"]}). Its lookups take {times.min():.2f} to {times.max():.1f} times what the user-space
walk takes: most where the tree fits into the cache, least where it does not. From 2^22 to 2^34 a lookup
takes {kernel:.0f} ns longer in the kernel, {walk:.0f} ns in user space ({kernel / walk - 1:+.0%}): the
ratios above are those of the walk alone."""


def proxy_or_dynamic_page(
    *,
    a: Any,
    b: Any,
    tib: Any,
    large: Any,
    by_range: Any,
    with_flag: Any,
    ranged: Any,
    table: Any,
    real: Any,
    verdicts: Any,
    found: Any,
    gpu: Any,
    most: Any,
) -> str:
    """Which of the two, when, of what notebook 04 compared."""

    def of(versus, criterion):
        return versus.row(criterion).value_a, versus.row(criterion).value_b

    def outcomes(cells):
        return ", ".join(
            f"{name} in {nr}"
            for name, nr in cells["better"]
            .map({"a": "the proxy in front", "b": "dynamic_page in front", "undecided": "undecided"})
            .value_counts()
            .items()
        )

    def cell(cells, percent, run):
        return cells[(cells["percent"] == percent) & (cells["run_pages"] == run)].iloc[0]

    grid, wide = bytes_map(a, b, tib), bytes_map(a, b, tib.with_(proxy_bytes=256))
    assert not (grid["better"] == "b").any() and set(wide["better"]) >= {"a", "b"}
    added, per, flags = (
        of(large, "beyond the static memmap"),
        of(large, "beyond it, per pinned page"),
        of(large, "flag bits left, a distribution-like build"),
    )
    fast, _, _, walk = (
        of(large, name)
        for name in (
            "page_to_pfn(), no call dynamic",
            "page_to_pfn(), all calls dynamic",
            "a call of the mix",
            "a walk of the pfn map on this machine",
        )
    )
    assert (
        large.row("page_to_pfn(), no call dynamic").better == "a"
        and not (by_range["better"] == "b").any()
        and not (with_flag["better"] == "b").any()
    )
    silent, typed, must = (
        of(large, name)
        for name in (
            "classes of mistakes: silent",
            "compile errors, with a type of its own",
            "call sites that must change, with a type of its own",
        )
    )
    every = (
        versus(
            a,
            ranged,
            base=Scenario(machine="microvm-24g-6.18", nr_pinned="1%"),
            table=table,
            trace="pins-fio",
        )
        .row("walks per 1,000 pins, pins-fio")
        .value_b
    )
    kept, walks, empty = (
        of(real, name)
        for name in (
            "peak bytes kept, pins-fio",
            "walks per 1,000 pins, pins-fio",
            "pins that find a pool of 16 empty, pins-fio",
        )
    )
    both, never = (
        verdicts.index[(verdicts[names] == "silent").all(axis=1)]
        for names in ([a, b], list(verdicts.columns))
    )
    index = found.set_index(["design", "run_pages"])["added_bytes"]
    even = {
        run: break_even(gpu.with_(design=b, run_pages=run), gpu.with_(design=a, run_pages=run), upto=99)
        for run in (1, 512)
    }
    shares = "; ".join(
        f"runs of {run}: "
        + (f"up to {share:.1f} % of it in use" if share else "at any share tried, up to 99 %")
        for run, share in even.items()
    )
    return f"""\
**Beside a memmap and at the assumed 64 bytes the proxy takes less memory in every case computed here, and
in no measured mix of page_to_pfn() is dynamic_page in front. dynamic_page is the one to take where it
replaces a memmap, where page pointers must stay usable as they are, or where a descriptor has to be found
from its pfn anyway: then the two cost nearly the same.**

**Memory.** With 100,000 scattered pages of 1 TiB pinned the proxy adds {added[0]:,} bytes, dynamic_page
{added[1]:,}: {per[0]:.1f} against {per[1]:.0f} a page, since an XArray of scattered pages costs far more
than what it leads to. In runs of 512 at 1 % of RAM the factor is {cell(grid, 1.0, 512)["factor"]:.2f}.
All of it rests on the assumed 64 bytes: a proxy breaks even at {most["one by one"]} bytes for scattered
pages, at {most["in runs of 512"]} in runs of 512. One of 256 bytes loses in
{int((wide["better"] == "b").sum())} of the {int(wide["better"].isin(["a", "b"]).sum())} cells with an
answer: clustered or dense.

**Time.** On the {table.cpu}, a static page_to_pfn() takes {fast[0]:.2g} ns with the proxy's test in a
register, {fast[1]:.2g} with the flag in struct page. Over the map of shares and numbers:
{outcomes(with_flag)} of {len(with_flag)} cells. By address range dynamic_page tests in registers too:
{outcomes(by_range)} of {len(by_range)}. What is left is pfn_to_page(): a walk of the XArray of those
100,000 pages takes about {walk[1]:.0f} ns ({large.row("a walk of the pfn map on this machine").how}); the
proxy has no such walk, and no such answer.

**Finding the descriptor.** With the same pfn map a proxy takes {index["proxy_bit:indexed", 1]:,} bytes
against {index[ranged, 1]:,} scattered, and {index["proxy_bit:indexed", 512]:,} against
{index[ranged, 512]:,} in runs of 512: the difference of 64 and 80 bytes is all that stays.

**Memory without a memmap.** On the H100's device memory dynamic_page takes less than a memmap ({shares});
a proxy does not help there.

**Flag bits and limits.** dynamic_page by flag takes one of page->flags: a distribution-like build has
{flags[0]} left without it, {flags[1]} with it; by range it takes none, nor does the proxy. The proxy's
price is stated in its limits: {", ".join(designs.get(a).limits(KernelConfig()))}.

**Type safety.** As a `struct page *` neither is caught at compile time; {silent[0]} classes of mistakes
stay silent with the proxy, {silent[1]} with dynamic_page. With a type of its own the strongest header
makes {typed[0]} and {typed[1]} of all {len(verdicts)} classes compile errors, at the price of {must[0]}
call sites at least in either case. Silent with both: {", ".join(both)}; even with types of their own:
{", ".join(never)}.

**Real pins.** fio's keep {kept[0]:,} and {kept[1]:,} bytes at their peak; with the flag {walks[1]:.2g} in
1,000 pins meet a page that is pinned already and walk the map, with the address range {every:,.0f} do:
nothing in the static page says whether to look. Either finds a pool of 16 empty at {empty[0]} pins,
{real.row("pins that find a pool of 16 empty, pins-fio").how}: the allocation in gup_fast is the problem
that both share.

FOLL_PIN takes no byte, no flag and no allocation. It gives up exactness:
{designs.get("foll_pin").limits(KernelConfig())["pins per small page"]} pins per small page, and false
positives."""


def pins(*, runs: Any, short: Any, made: Any, kept: Any, mixed: Any, least: Any, fio: Any, gpu: Any) -> str:
    """What real pins look like, of the replays of notebook 05."""
    of = {(name, d.design, d.map): d for name, r in runs.items() for d in r.designs}
    io, _, low, high = (of[name, "dynamic_page", "xarray"] for name in runs)
    proxy = {name: of[name, "proxy_bit", ""] for name in runs}
    first, below = (duration(ns) for ns in short.lifetime_ns(0.5))
    large = {d.design: d for d in made["GPU, 4 GiB as captured"].designs}["dynamic_page"]
    return f"""\
**Direct I/O** pins few folios for a short time. In the fio trace, without its registered buffers, at most
{short.peak_live_folios:,} folios were pinned at once, half of the {short.lives.sum():,} times for less
than {below} ({first} or more, on an emulated machine). dynamic_page keeps {size(io.peak_bytes)}
for that with an XArray, a proxy without an index
{size(proxy["fio, without registered buffers"].peak_bytes)}: memory does not decide between them.
The rate does: {io.descriptors_allocated:,} descriptors are allocated for {short.pins:,} pins. In the
mixed load {kept.peak_live_folios:,} to {mixed.peak_live_folios:,} folios were pinned at once (without and
with those whose release was lost), and {low.percent_met:.1f} to {high.percent_met:.1f} % of the pins
found a descriptor in place; with dynamic_page each of these walks the map.

**Pools.** The smallest pool of a CPU that fio's pins never find empty has {least["pins-fio", "10 us"]},
{least["pins-fio", "100 us"]} and {least["pins-fio", "1 ms"]} descriptors, refilled after 10 us, 100 us
and 1 ms; in the mixed load {least["pins-mixed-lossy-kprobe", "10 us"]},
{least["pins-mixed-lossy-kprobe", "100 us"]} and {least["pins-mixed-lossy-kprobe", "1 ms"]}. These are two
CPUs of an emulated machine: faster ones make larger bursts.

**Registrations** are the other end: fio's {fio.peak_live_folios - short.peak_live_folios:,} registered
folios stay for the run, and {gpu.registered_pages:,} pages on the GPU host for as long as the program
likes. A dynamic_page for each of these, in folios of one page, takes {size(large.peak_bytes)}
with the XArray, by a synthetic twin. A design has to suit both: allocation at the rate of I/O, and memory
for millions that stay."""


def type_safety(*, table: Any, weakest: Any, whole: Any, silent: Any, agreement: Any) -> str:
    """What the compiler catches, of the verdicts of notebook 06."""
    count = {
        design: rows["verdict"].value_counts().to_dict()
        for design, rows in table.groupby("design", sort=False)
    }
    production = {
        design: rows["production"].value_counts().to_dict()
        for design, rows in table.groupby("design", sort=False)
    }

    def told(design):
        c = count[design]
        p = production[design]
        return (
            f"{c.get('compile error', 0)} of the {len(weakest)} classes are compile errors, "
            f"{c.get('runtime error', 0)} are caught at run time by a debug kernel "
            f"({p.get('runtime error', 0)} by a production one), "
            f"{c.get('silent', 0)} stay silent ({p.get('silent', 0)}), "
            f"{c.get('not applicable', 0)} do not arise"
        )

    plain, typed = "dynamic_page", "dynamic_page_typed"
    gained = [
        m
        for m in weakest.index
        if weakest.loc[m, typed] == "compile error" and weakest.loc[m, plain] != "compile error"
    ]
    best = max(count, key=lambda d: count[d].get("compile error", 0))
    now = whole.pivot(index="quantity", columns="release", values="count")["7.3"]
    return f"""\
With today's pins (`foll_pin`) {told("foll_pin")}. A dynamic_page that is still a `struct page *` catches
no more at compile time, and makes new mistakes possible: {told(plain)}. A type of its own changes that:
{told(typed)}; it gains {", ".join(gained)}. The strongest is `{best}`, a word in a struct: {told(best)}.

No design catches {" and ".join(silent)}. An API that asks whether data are dirty, as
unpin_user_pages_dirty_lock() does, makes forgetting harder, not impossible (a call site above answers it
wrongly); nothing asks whether a pin will be long. Not to check for a failed allocation in gup is a
mistake that only the allocating designs make possible. What "run time" says rests on the checks of the
user-space world, some of them assumed.

Of {len(agreement)} published cells {int(agreement["agrees"].sum())} hold. The price is the conversion:
Linux 7.3 has {int(now["pin_user_pages"])} calls that pin and {int(now["unpin"])} that unpin, and at least
these change their type; what else a file does with its pins comes on top (`workbench callsites TREE
--design dynamic_page_typed` gives both bounds)."""


def memdescs(*, kernel: Any, words: Any, real: Any, captures: Any) -> str:
    """From which order a memdesc pays, of the tables of notebook 07."""
    even = {name: memdesc.break_even_order(int(name.removeprefix("memdesc")), kernel) for name in words}
    zero = memdesc.folio_percent(8, 0, kernel)
    total = real.set_index(["machine", "design"])["percent_of_ram"]
    return f"""\
Folios of order {even["memdesc32"]} and up take less with a 32-byte page than today, of order
{even["memdesc16"]} and up with 16 or 8 bytes. Order-0 memory gets dearer: {zero:.3f} % with an 8-byte
page, {100 * 64 / 4096:.3f} % today. On the busy 24 GiB machine the whole comes to
{total[captures[0], "memdesc8"]:.3f} % against {total[captures[0], "static"]:.3f} %, because most of its
memory is free, unknown to the flags, or in large folios: the claim holds for this mix, and fails for one
of small anonymous pages alone."""


def published_claims(*, rows: Any) -> str:
    """How the published figures stand, of the rows of notebook 08."""
    count = {v: sum(row.verdict == v for row in rows) for v in ("agrees", "differs", "measured elsewhere")}
    assert all(row.verdict == row.expected_verdict for row in rows)
    differ = ", ".join(row.id for row in rows if row.verdict == "differs")
    return f"""\
Of {len(rows)} published figures {count["agrees"]} agree within their own rounding, {count["differs"]} do
not recompute ({differ}), and {count["measured elsewhere"]} are measurements that counts cannot settle. A
new claim is one row of `data/claims.csv`, where the models already have its quantity."""


def your_machine(
    *,
    missing: Any,
    types: Any,
    who: Any,
    taken: Any,
    machine: Any,
    matches: Any,
    rows: Any,
    extra: Any,
    readable: Any,
) -> str:
    """What descriptors cost on a machine, of the tables of notebook 09."""
    unknown = (
        "; ".join(f"{row.unanswered} ({row.reason})" for row in missing.itertuples())
        or "nothing that was asked"
    )
    busiest = max(types, key=types.get) if types else None
    pages = (
        f"Most of its pages are `{busiest}`: {types[busiest]:,} of {sum(types.values()):,}."
        if types
        else ""
    )
    return f"""\
Taken as {who} in {taken["bytes"]:,} bytes. This machine has {machine.nr_pages_ram:,} pages of RAM in
{machine.nr_sections} sections, known from {machine.source}; its memmap takes {machine.memmap_pages:,}
pages, {matches}. {pages}

The static memmap and what belongs to it come to **{size(rows.total_bytes["static"])}**,
{rows.percent_of_ram["static"]:.4g} % of RAM. With one page in a thousand pinned
({rows.nr_pinned["static"]:,}), proxies add {size(extra["proxy_bit"])}, `dynamic_page` with an
XArray **{size(extra["dynamic_page"])}**, and FOLL_PIN {size(extra["foll_pin"])}. An
8-byte memdesc page would take {size(rows.total_bytes["memdesc8"])} in
all{"" if readable else ", for the page mix of another machine"}.

What it could not say: {unknown}."""


def design_argument(*, pinned: Any, device: Any, times: Any, mistakes: Any, why: Any) -> str:
    """What dynamic_page buys and costs, of the evidence of notebook 10."""
    v, d, t, m = pinned.values(), device.values(), times.values(), mistakes.values()

    def diff(a, b):
        return type(a)(a.value - b.value, a.unit)

    worse = why.against()
    assert (
        v["foll_pin_run_pages_1.added"].value
        == 0
        < diff(d["static.total"], d["dynamic_page_range.total"]).value
    )
    assert m["foll_pin.silent"].value < m["dynamic_page.silent"].value < m["proxy_bit.silent"].value
    return f"""\
For pins beside a memmap `dynamic_page` buys no memory and no time: it adds
{v["dynamic_page_range_run_pages_1.added"]} on the {v["ram"]} host where proxies add
{v["proxy_bit_run_pages_1.added"]} and FOLL_PIN {v["foll_pin_run_pages_1.added"]}, most of it the map. In
aligned runs it comes to {v["dynamic_page_range_run_pages_512.added"]}. Its page_to_pfn() is as fast as
the proxy's ({t["dynamic_page_range.page_to_pfn_100pct_min"]} to
{t["dynamic_page_range.page_to_pfn_100pct_max"]} and {t["proxy_bit.page_to_pfn_100pct_min"]} to
{t["proxy_bit.page_to_pfn_100pct_max"]} with all calls dynamic); pfn_to_page() pays
{t["dynamic_page_range.pfn_to_page_100pct_min"]} to {t["dynamic_page_range.pfn_to_page_100pct_max"]} for a
walk; a proxy is not found from its pfn at all.

What it buys: memory that has no memmap ({diff(d["static.total"], d["dynamic_page_range.total"])} less
than one for the GPU's memory with one percent in use; more than a memmap from
{d["dynamic_page_range.break_even.static"]} on, more than a deduplicated one from
{d["dynamic_page_range.break_even.compound_devmap"]} on), a pin count that need not share a word (in the
_refcount of the page inside it: no field of its own is priced), and
{m["proxy_bit.silent"].value - m["dynamic_page.silent"].value} silent classes of mistakes fewer than a
proxy behind bit 0 ({m["dynamic_page.silent"].value} against {m["proxy_bit.silent"].value}; FOLL_PIN has
{m["foll_pin.silent"].value}). A type of its own makes {m["dynamic_page_typed.compile_error"]} of
{m["classes"]} compile errors; that is a property of the type, and a proxy can have one too.

Against it stand {sum(len(texts) for texts in worse.values())} lines under {len(worse)} rules. On these
numbers FOLL_PIN is the right answer for pins, and dynamic_page one for memory without struct pages, of
which little is in use."""
