"""Evidence: what a claim rests on, written down so that it can be made again.

Each kind is a small frozen recipe. ``recompute()`` makes its numbers anew, with the table that shows them,
what they were made on, the shell line that prints the same, sources, limits, and the points that other
designs can be compared at (``counter``). Nothing here measures; times come from cost tables.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.model import designs
from workbench.model.errors import InputError
from workbench.model.scenario import Row, Scenario, break_even, evaluate
from workbench.model.scenario.files import check_fields
from workbench.studies import claims
from workbench.studies.argument._mail import number, shell_word
from workbench.studies.argument._prose import Value, nr_bytes
from workbench.studies.versus import takes_more_from

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Point:
    """One number of one design, at a place where other designs have theirs. Less is better.

    ``low`` and ``high`` are the ends of a measurement; None where the number is a count.
    """

    metric: str
    unit: str
    place: str
    design: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Found:
    """What a recipe came to."""

    values: Mapping[str, Value]
    table: pd.DataFrame
    columns: Mapping[str, str]
    setup: Mapping[str, str]
    command: str
    sources: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    differs: tuple[str, ...] = ()  # published figures that do not hold


class Evidence(ABC):
    """A recipe; ``found`` is its answer, made once."""

    kind: ClassVar[str]

    @abstractmethod
    def recompute(self) -> Found:
        """Make all numbers anew."""

    @functools.cached_property
    def found(self) -> Found:
        return self.recompute()

    def values(self) -> Mapping[str, Value]:
        """Named numbers with their units, for prose."""
        return self.found.values

    def table(self) -> pd.DataFrame:
        """The same numbers as a table."""
        return self.found.table

    @property
    def setup(self) -> Mapping[str, str]:
        """What it was computed or measured on."""
        return self.found.setup

    @property
    def command(self) -> str:
        """A shell line that prints the same numbers."""
        return self.found.command

    @property
    def source(self) -> tuple[str, ...]:
        """For footnotes."""
        return self.found.sources

    def loses(self, proposed: str) -> list[str]:
        """From where on the proposed design costs more than another one, in words."""
        return []

    def recipe(self) -> dict[str, Any]:
        """What a file keeps of it."""
        return {"kind": self.kind, **_plain(asdict(self))}  # type: ignore[call-overload]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


_KINDS = {"str": str, "int": int, "tuple[str, ...]": (list, str), "tuple[int, ...]": (list, int)}


def from_recipe(given: Mapping[str, Any]) -> Evidence:
    """Evidence from what a file kept; an unknown kind or key, or a wrong type, is an InputError."""
    kinds: dict[str, Any] = {cls.kind: cls for cls in (Memory, Times, Pins, Published, Mistakes)}
    left = dict(given)
    kind = left.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"evidence kind {kind!r} is none of {', '.join(kinds)}")
    known = {f.name: str(f.type) for f in fields(kinds[kind])}
    if unknown := sorted(set(left) - set(known)):
        raise InputError(f"{kind} evidence has {unknown[0]!r}, which is none of {', '.join(known)}")
    for name, value in left.items():
        left[name] = _checked(value, known[name], f"{kind} evidence: {name}")
    try:
        return kinds[kind](**left)
    except TypeError as error:
        raise InputError(f"{kind} evidence: {error}") from None


def _checked(value: Any, declared: str, what: str) -> Any:
    """A value from a file as the recipe's field wants it."""
    wrong = InputError(f"{what} is {str(value)[:60]!r}, not of kind {declared}")
    if declared.startswith("Mapping"):
        if not isinstance(value, dict) or not all(isinstance(inner, dict) for inner in value.values()):
            raise wrong
        for name, inner in value.items():
            set_fields = {key: one for key, one in inner.items() if one is not None}
            check_fields(set_fields, f"{what} {name!r}")
        return value
    kind = _KINDS[declared]
    if not isinstance(kind, tuple):
        if type(value) is not kind:
            raise wrong
        return value
    if not isinstance(value, list | tuple) or not value or not all(type(inner) is kind[1] for inner in value):
        raise wrong
    return tuple(value)


def slug(name: object) -> str:
    """A name as prose can have it: ``dynamic_page:range`` is ``dynamic_page_range``.

    Examples
    --------
    >>> slug("dynamic_page:range, nr_pinned 0.1%")
    'dynamic_page_range_nr_pinned_0_1pct'
    """
    return re.sub(r"\W+", "_", str(name).replace("%", "pct")).strip("_")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- bytes of scenarios -------------------------------------------------------------------------------------

#: Scenario fields, and the options of ``workbench overhead`` that set them.
_OPTIONS = {
    "nr_pinned": "--pinned",
    "run_pages": "--run-pages",
    "folio_order": "--folio-order",
    "pfn_map": "--map",
    "nr_device_used": "--device-used",
    "proxy_bytes": "--proxy-bytes",
    "kernel": "--kernel",
}
PLAIN_FIELDS = tuple(f.name for f in fields(Scenario) if f.name != "pinned")


@dataclass(frozen=True)
class Memory(Evidence):
    """Bytes of scenarios, side by side.

    Parameters
    ----------
    scenarios : mapping of str to Scenario, or to its fields
        By name; ``grid`` makes one from designs and fields.
    file : str
        The TOML file that they are from, which has to say the same still; the command is then
        ``workbench compare FILE``.

    Examples
    --------
    >>> found = Memory(grid(["foll_pin", "dynamic_page"], machine="ram=1GiB", nr_pinned=512))
    >>> str(found.values()["dynamic_page.added"]), str(found.values()["foll_pin.added"])
    ('364 KiB', '0 bytes')
    """

    kind: ClassVar[str] = "memory"
    scenarios: Mapping[str, Any]
    file: str = ""

    def __post_init__(self) -> None:
        if not self.scenarios:
            raise InputError("memory evidence of no scenario")
        kept = {}
        for name, given in self.scenarios.items():
            one = given if isinstance(given, Scenario) else Scenario().with_(**given)
            if not isinstance(one.machine, str) or one.machine == "live" or one.pinned is not None:
                raise InputError(
                    f"scenario {name!r}: evidence is made again from a name: a capture or a spec, not this "
                    "running machine, a Machine or a set of pages"
                )
            if (one.mix or one.folio_desc_bytes != Scenario.folio_desc_bytes) and not self.file:
                raise InputError(
                    f"scenario {name!r}: mix and folio_desc_bytes need a TOML file to be run from"
                )
            kept[name] = {f: getattr(one, f) for f in PLAIN_FIELDS}
        object.__setattr__(self, "scenarios", kept)

    def _check_file(self) -> None:
        """Raise InputError where the file, which the command reads, says something else of a scenario."""
        from workbench.model.scenario.files import load

        held = load(self.file).scenarios if self.file else {}
        for name, given in self.scenarios.items() if self.file else ():
            if name not in held:
                raise InputError(f"scenario {name!r} is not there (any more)", file=self.file)
            for key, value in given.items():
                if (now := getattr(held[name], key)) != value:
                    raise InputError(f"scenario {name!r}: {key} is {now!r}, not {value!r}", file=self.file)

    def _all(self) -> dict[str, Scenario]:
        return {name: Scenario(**given) for name, given in self.scenarios.items()}

    def recompute(self) -> Found:
        import pandas as pd

        self._check_file()
        values: dict[str, Value] = {}
        records, points, limits, sources = [], [], [], []
        setup: dict[str, str] = {}
        varied = [
            f
            for f in PLAIN_FIELDS
            if f not in ("design", "nr_pinned") and len({given[f] for given in self.scenarios.values()}) > 1
        ]
        for name, scenario in self._all().items():
            row = evaluate(scenario)
            added = row.total_bytes - evaluate(scenario.with_(design="static")).total_bytes
            values |= {
                f"{slug(name)}.{what}": value
                for what, value in {
                    "total": Value(row.total_bytes, "bytes"),
                    "added": Value(added, "bytes"),
                    "percent": Value(row.percent_of_ram, "%"),
                    "pinned": Value(row.nr_pinned, "pages"),
                    "per_pinned_page": Value(added / row.nr_pinned if row.nr_pinned else 0.0, "bytes"),
                }.items()
            }
            label = scenario.design if name.startswith(scenario.design) else name
            records.append(
                (label, *(getattr(scenario, f) for f in varied), row.nr_pinned, row.total_bytes, added,
                 row.percent_of_ram)
            )  # fmt: skip
            place = place_of(scenario)
            points.append(Point("bytes in all", "bytes", place, scenario.design, row.total_bytes))
            if not scenario.describe_device:
                points.append(Point("bytes over static", "bytes", place, scenario.design, added))
            limits += [f"{scenario.design}: {note}" for note in row.notes]
            setup |= machine_words(row)
            sources.append(machine_source(row))
        machines = list(setup)
        if shared := shared_fields(list(self._all().values())):
            setup["all scenarios"] = ", ".join(shared.values())
        if len(machines) == 1:
            values["ram"] = Value(row.machine.ram_bytes, "bytes")
            values["nr_pages"] = Value(row.machine.nr_pages_ram, "pages")
        values |= self._break_evens()
        columns = {
            "name": "design",
            **{f: f.replace("_", " ") for f in varied},
            "nr_pinned": "pinned pages",
            "total_bytes": "bytes in all",
            "added_bytes": "over static",
            "percent_of_ram": "% of RAM",
        }
        table = pd.DataFrame(records, columns=list(columns))
        if not table["nr_pinned"].any():
            del table["nr_pinned"], columns["nr_pinned"]
        used = dict.fromkeys(scenario.design for scenario in self._all().values())
        return Found(
            values=values,
            table=table,
            columns=columns,
            setup=setup,
            command=self._command(),
            sources=(
                *(f"{name}: {designs.get(name).source}" for name in used if name != "static"),
                *dict.fromkeys(sources),
            ),
            limits=tuple(dict.fromkeys(limits)),
            points=tuple(points),
        )

    def _break_evens(self) -> dict[str, Value]:
        """From which share one scenario takes more than another, where that is not from the start."""
        found = {}
        for (name, own), (other_name, other) in itertools.permutations(self._all().items(), 2):
            if place_of(own) == place_of(other) and own.design != other.design:
                share = _break_even(own, other)
                if share and share > 0.001:
                    found[f"{slug(name)}.break_even.{slug(other_name)}"] = Value(share, "%")
        return found

    def _command(self) -> str:
        if self.file:
            return f"workbench compare {shell_word(self.file)}"
        groups: dict[tuple[str, ...], list[str]] = {}
        for scenario in self._all().values():
            options: list[str] = []
            for name, option in _OPTIONS.items():
                if (value := getattr(scenario, name)) != getattr(Scenario, name):
                    options += [option, str(value)]
            options += ["--describe-device"] if scenario.describe_device else []
            groups.setdefault((str(scenario.machine), *options), []).append(scenario.design)
        return "\n".join(
            shlex.join(
                ["workbench", "overhead", machine, *options, "--design", *dict.fromkeys(["static", *names])]
            )
            for (machine, *options), names in groups.items()
        )

    def loses(self, proposed: str) -> list[str]:
        least: dict[str, tuple[float, str]] = {}  # the smallest share against each other design
        for own, other in _pairs(self._all().values(), proposed):
            share = _break_even(own, other)
            if share is None:
                continue
            row = evaluate(own)
            total = row.machine.pages("pmem", "device") if own.describe_device else row.machine.nr_pages_ram
            nr = round(share * total / 100)
            what = "pages of device memory in use" if own.describe_device else "pages pinned"
            more = f"{own.design} takes more bytes than {other.design}"
            where = place_of(own, without=("nr_device_used" if own.describe_device else "nr_pinned",))
            percent = f", {number(share)} %" if share > 0.001 else ""
            line = f"{more} from {nr:,} of {total:,} {what} on{percent} ({where})"
            back = _break_even(other, own)
            if back is not None and back > share:
                until = f"from {round(back * total / 100):,} on, {number(back)} %, it takes less or the same"
                line = f"{line}; {until}"
            least[more] = min(least.get(more, (share, line)), (share, line))
        return [line for _, line in least.values()]


def grid(names: Iterable[str], **values: Any) -> dict[str, Scenario]:
    """Scenarios of some designs; a field that is a list has each of its values in turn.

    Examples
    --------
    >>> list(grid(["foll_pin"], machine="ram=1GiB", run_pages=[1, 512]))
    ['foll_pin, run_pages 1', 'foll_pin, run_pages 512']
    """
    many = {name: value for name, value in values.items() if isinstance(value, list | tuple)}
    base = Scenario().with_(**{name: value for name, value in values.items() if name not in many})
    found = {}
    for chosen in itertools.product(*many.values()):
        own = dict(zip(many, chosen, strict=True))
        for name in names:
            words = ", ".join([name, *(f"{key} {value}" for key, value in own.items())])
            found[words] = base.with_(design=name, **own)
    return found


def _break_even(own: Scenario, other: Scenario) -> float | None:
    """``scenario.takes_more_from``, or what of it fits: aligned runs may not fill a machine's last page."""
    try:
        return takes_more_from(own, other)
    except InputError:
        pass
    for upto in (99, 90, 50):
        try:
            return break_even(own, other, upto=upto)
        except InputError:
            continue
    return None


def set_fields(scenario: Scenario) -> dict[str, str]:
    """What is not as by default, in words, beside machine and design."""
    return {
        name: name if getattr(scenario, name) is True else f"{name} {getattr(scenario, name)}"
        for name in PLAIN_FIELDS
        if name not in ("machine", "design") and getattr(scenario, name) != getattr(Scenario, name)
    }


def shared_fields(scenarios: Sequence[Scenario]) -> dict[str, str]:
    """Fields that all scenarios set to the same."""
    first, *others = (set_fields(scenario) for scenario in scenarios)
    return {name: text for name, text in first.items() if all(o.get(name) == text for o in others)}


def place_of(scenario: Scenario, without: Iterable[str] = ()) -> str:
    """Where a scenario stands, but for its design."""
    given = set_fields(scenario)
    return ", ".join([str(scenario.machine), *(given[name] for name in given if name not in without)])


def _pairs(scenarios: Iterable[Scenario], proposed: str) -> list[tuple[Scenario, Scenario]]:
    """The proposed design's scenarios, each with those of other designs at the same place."""
    places: dict[str, list[Scenario]] = {}
    for scenario in scenarios:
        places.setdefault(place_of(scenario), []).append(scenario)
    found = []
    for group in places.values():
        name = as_named(proposed, [scenario.design for scenario in group])
        own = [scenario for scenario in group if scenario.design == name]
        found += [(own[0], other) for other in group if own and other.design != name]
    return found


def as_named(proposed: str, names: Iterable[str]) -> str:
    """What some evidence calls a design: its own name, or that without the variant; "" if it is not there."""
    names = set(names)
    return next((name for name in (proposed, proposed.partition(":")[0]) if name in names), "")


def machine_source(row: Row) -> str:
    """For a footnote: which part of a capture the machine was read from, or that it is made up."""
    made_up = "=" in row.machine.name
    return f"machine {row.machine.name}: " + (
        "made up" if made_up else f"capture, read from {row.machine.source}"
    )


def machine_words(row: Row) -> dict[str, str]:
    machine = row.machine
    return {
        f"machine {machine.name}": f"{machine.nr_pages_ram:,} pages of RAM ({nr_bytes(machine.ram_bytes)}), "
        f"constants of {machine.kernel.name}"
    }


# -- measured times -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Times(Evidence):
    """Measured ns of whole conversions, by the share of calls that meet a dynamic page.

    ``scenario.share_curve`` between the sizes that a cost table has. Minimum and maximum are, in proportion,
    those of the rows next to it.

    Parameters
    ----------
    table : str
        A cost table of whole conversions: a shipped one's name, or a file.
    names : tuple of str
        Designs.
    nr_descriptors : int
    percents : tuple of int
        Shares of dynamic calls, in whole percent.
    """

    kind: ClassVar[str] = "times"
    table_name: str
    names: tuple[str, ...]
    nr_descriptors: int = 100_000
    percents: tuple[int, ...] = (0, 1, 50, 100)

    def recompute(self) -> Found:
        import pandas as pd

        from workbench.evidence.lookups.costs import CostTable
        from workbench.evidence.lookups.paths import OPS, timed_path
        from workbench.studies.times import share_curve

        cost = CostTable.load(self.table_name)
        values, records, points = {}, [], []
        where = f"{cost.cpu}, {self.nr_descriptors:,} descriptors"
        for op in OPS:
            share_of_op = float(op == OPS[0])
            curve, _ = share_curve(
                cost, self.names, nr_descriptors=self.nr_descriptors, page_to_pfn=share_of_op
            )
            for name, percent in itertools.product(self.names, self.percents):
                rows = curve[(curve["design"] == name) & ((100 * curve["share"]).round() == percent)]
                if rows.empty:
                    raise InputError(f"{percent} % of calls is not a whole percent from 0 to 100")
                ns, beyond = float(rows["ns"].iloc[0]), bool(rows["extrapolated"].iloc[0])
                low, high = _spread(
                    cost, timed_path(designs.get(name), op), percent / 100, self.nr_descriptors
                )
                key = f"{slug(name)}.{op}_{percent}pct"
                values[key] = Value(ns, "ns")
                values[f"{key}_min"], values[f"{key}_max"] = Value(ns * low, "ns"), Value(ns * high, "ns")
                records.append((op, percent, name, ns * low, ns, ns * high, beyond))
                points.append(
                    Point(
                        f"ns of {op}()",
                        "ns",
                        f"{percent} % of calls dynamic, {where}",
                        name,
                        ns,
                        ns * low,
                        ns * high,
                    )
                )
        values["cpu"], values["date"] = Value(cost.cpu), Value(cost.date[:10])
        values["descriptors"] = Value(self.nr_descriptors)
        columns = {
            "op": "call",
            "percent": "% dynamic",
            "design": "design",
            "ns_min": "ns min",
            "ns": "ns median",
            "ns_max": "ns max",
            "extrapolated": "beyond",
        }
        if not any(record[-1] for record in records):
            columns.pop("extrapolated")
        given = ["table_name=" + self.table_name, "names=" + ",".join(self.names)]
        given += [f"nr_descriptors={self.nr_descriptors}", "percents=" + ",".join(map(str, self.percents))]
        return Found(
            values=values,
            table=pd.DataFrame(
                records, columns=["op", "percent", "design", "ns_min", "ns", "ns_max", "extrapolated"]
            ),
            columns=columns,
            setup={
                "measured on": f"{cost.machine}, {cost.date[:10]}",
                "kernel": cost.versions.get("kernel", "not stated"),
                "loop": "dependent calls over random keys: latency",
                "descriptors": f"{self.nr_descriptors:,}",
                "cost table": self.table_name,
            },
            command=shlex.join(["workbench", "argue", "times", *given]),
            sources=(
                f"cost table {cost.name}: the workbench's own loops on {cost.machine}, {cost.date[:10]}",
            ),
            limits=(
                "user space: no RCU, no TLB entries of vmemmap, one thread",
                "a page in 16 is dynamic there, so that the map of pfn_to_page() is dense; with as few in a "
                "large machine it is taller and its walk slower",
                "min and max are, in proportion, those of the measured rows next to it",
                *(["beyond: outside the measured sizes"] if "extrapolated" in columns else []),
            ),
            points=tuple(points),
        )

    def loses(self, proposed: str) -> list[str]:
        from workbench.evidence.lookups.costs import CostTable
        from workbench.evidence.lookups.paths import OPS
        from workbench.studies.times import share_curve

        name = as_named(proposed, self.names)
        cost = CostTable.load(self.table_name)
        lines = []
        for op in OPS if name else ():
            _, crossed = share_curve(
                cost, self.names, nr_descriptors=self.nr_descriptors, page_to_pfn=float(op == OPS[0])
            )
            row: Any
            for row in crossed[crossed["design"] == name].itertuples():
                lines.append(
                    f"{op}() of {name} takes longer than that of {row.other} where more than "
                    f"{number(100 * float(row.share))} % of calls are dynamic ({cost.cpu})"
                )
        return lines


def _spread(cost: Any, path: str | None, share: float, nr: int) -> tuple[float, float]:
    """The least and the most, in medians, of the rows around a share and a number of entries."""
    rows = [row for row in cost.usable(path=path, loop="dependent", order="random") if row.run == 1]
    shares = {row.dynamic for row in rows}
    near = min(shares, key=lambda known: abs(known - share), default=0.0)
    rows = [row for row in rows if row.dynamic == near and row.ns_median]
    below = max((row.nr_entries for row in rows if (row.nr_entries or 0) <= nr), default=None)
    above = min((row.nr_entries for row in rows if (row.nr_entries or 0) >= nr), default=None)
    used = [row for row in rows if row.nr_entries in (below, above)] or rows
    return (
        min((row.ns_min / row.ns_median for row in used), default=1.0),
        max((row.ns_max / row.ns_median for row in used if row.ns_max), default=1.0),
    )


# -- a trace ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pins(Evidence):
    """What designs keep for the pins of a recorded trace.

    Parameters
    ----------
    trace : str
        A shipped trace's name, or a Parquet file.
    names : tuple of str
        Designs.
    pfn_map : str
    """

    kind: ClassVar[str] = "pins"
    trace: str
    names: tuple[str, ...]
    pfn_map: str = "xarray"

    def recompute(self) -> Found:
        import pandas as pd

        from workbench.evidence.pins.replay import replay
        from workbench.evidence.pins.trace import shipped

        found = replay(self.trace, designs=self.names, maps=[self.pfn_map])
        path = Path(shipped().get(self.trace, self.trace))
        sha256 = digest(path)
        peaks = [peak for peak in found.designs if peak.map in ("", self.pfn_map)]
        values = {
            "pins": Value(found.pins),
            "folios": Value(found.folios_distinct),
            "peak_live": Value(found.peak_live_folios, "folios"),
            "peak_refs": Value(found.peak_refs, "pages"),
            "seconds": Value(found.duration_ns / 1e9, "s"),
            "sha256": Value(sha256),
            "complete": Value("complete" if found.complete else "incomplete"),
        }
        points, records = [], []
        for peak in peaks:
            values |= {
                f"{slug(peak.design)}.peak": Value(peak.peak_bytes, "bytes"),
                f"{slug(peak.design)}.allocated": Value(peak.descriptors_allocated),
                f"{slug(peak.design)}.walks": Value(peak.lookups),
                f"{slug(peak.design)}.met": Value(peak.percent_met, "%"),
            }
            records.append(
                (peak.design, peak.map or "-", peak.peak_descriptors, peak.peak_bytes,
                 peak.descriptors_allocated, peak.lookups)
            )  # fmt: skip
            for metric, unit, value in (
                ("bytes kept for pins at the peak", "bytes", peak.peak_bytes),
                ("descriptors allocated", "", peak.descriptors_allocated),
                ("walks of a pfn map", "", peak.lookups),
            ):
                points.append(Point(metric, unit, f"trace {found.name}", peak.design, value))
        columns = {
            "design": "design",
            "map": "pfn map",
            "peak_descriptors": "peak descriptors",
            "peak_bytes": "peak bytes",
            "allocated": "descriptors allocated",
            "walks": "walks of the map",
        }
        recorded = [f"Linux {found.meta.get('kernel', 'unknown')}", str(found.meta.get("tool", ""))]
        limits = [found.caveat] if found.caveat else []
        limits += [f"{name}: {kept.note}" for name, kept in found.maps.items() if kept.note]
        return Found(
            values=values,
            table=pd.DataFrame(records, columns=list(columns)),
            columns=columns,
            setup={
                "trace": f"{found.name}, {found.events:,} pins and unpins in "
                f"{number(found.duration_ns / 1e9)} s, {values['complete']}",
                "recorded on": ", ".join(part for part in recorded if part),
                "workload": str(found.meta.get("workload", "not stated")),
                "sha256": sha256,
            },
            command=shlex.join(
                ["workbench", "replay", self.trace, "--json", "--map", self.pfn_map, "--design", *self.names]
            ),
            sources=(f"trace {found.name}: {', '.join(part for part in recorded if part)}",),
            limits=(*limits, "left out: RCU's delay before an object is used again, partly filled slabs"),
            points=tuple(points),
        )


# -- published figures --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Published(Evidence):
    """Published figures, recomputed.

    Parameters
    ----------
    ids : tuple of str
        Of ``data/claims.csv``.
    """

    kind: ClassVar[str] = "published"
    ids: tuple[str, ...]

    def recompute(self) -> Found:
        import pandas as pd

        rows = claims.recompute(self.ids)
        values: dict[str, Value] = {}
        for row in rows:
            values[f"{row.id}.stated"] = Value(row.stated, row.unit)
            values[f"{row.id}.verdict"] = Value(row.verdict)
            if row.computed is not None:
                values[f"{row.id}.computed"] = Value(row.computed, row.unit)
        columns = {
            "id": "id",
            "statement": "published",
            "stated": "stated",
            "computed": "computed",
            "unit": "unit",
            "verdict": "verdict",
        }
        return Found(
            values=values,
            table=pd.DataFrame(
                [[getattr(row, name) for name in columns] for row in rows],
                columns=list(columns),
                dtype=object,
            ),
            columns=columns,
            setup={},
            command=shlex.join(["workbench", "claims", *self.ids]),
            sources=tuple(f"{row.id}: {row.source}" for row in rows),
            differs=tuple(
                f"{row.id} ({row.statement}): {row.why}" for row in rows if row.verdict == claims.DIFFERS
            ),
        )


# -- type safety --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mistakes(Evidence):
    """Call-site mistakes compiled against designs' headers, and what came of each.

    Parameters
    ----------
    names : tuple of str
        Headers or designs, as ``workbench typesafety --design`` takes them.
    """

    kind: ClassVar[str] = "mistakes"
    names: tuple[str, ...]

    def recompute(self) -> Found:
        import pandas as pd

        from workbench.evidence.typesafety import matrix

        all_rows = matrix.rows(list(self.names))
        rows = matrix.summary(all_rows)
        table = pd.DataFrame([(r["mistake"], r["design"], r["verdict"]) for r in rows],
                             columns=["mistake", "design", "verdict"])  # fmt: skip
        names = list(dict.fromkeys(table["design"]))
        wide = table.pivot(index="mistake", columns="design", values="verdict")
        wide = wide.reindex(list(dict.fromkeys(table["mistake"])))[names].reset_index()
        values, points = {"classes": Value(len(wide))}, []
        for name in names:
            counts = table[table["design"] == name]["verdict"].value_counts()
            for what in (matrix.COMPILE, matrix.RUNTIME, matrix.SILENT, matrix.NOT_APPLICABLE):
                values[f"{slug(name)}.{slug(what)}"] = Value(int(counts.get(what, 0)))
            for metric, what in (
                ("classes of mistakes that stay silent", matrix.SILENT),
                ("classes found at run time only, by a debug kernel", matrix.RUNTIME),
            ):
                points.append(Point(metric, "", "call sites", name, int(counts.get(what, 0))))
        return Found(
            values=values,
            table=wide,
            columns={"mistake": "mistake", **{name: name for name in names}},
            setup={"compiled by": all_rows[0]["compiler"] if all_rows else "none"},
            command=shlex.join(["workbench", "typesafety", "--design", *self.names]),
            sources=("call sites: workbench/typesafety/patterns and headers, written for this comparison",),
            limits=(
                "a class counts by its weakest call site; what compiles is run in user space, with checks "
                "that stand for those of a debug kernel, some of them assumed",
            ),
            points=tuple(points),
        )
