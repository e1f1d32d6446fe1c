"""What a result depends on most, what is worth choosing, and where one design overtakes another.

Everything is counted with the same scenarios as ``evaluate()``; times come from cost tables, as measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.model.errors import InputError
from workbench.model.scenario import Scenario, evaluate, machine_of
from workbench.model.scenario.batch import Choice, Column, Rows, evaluate_all
from workbench.studies.sweep._axes import FIELDS, Range, _values
from workbench.studies.times import share_curve

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evidence.lookups.costs import CostTable


def tornado(base: Scenario, inputs: Mapping[str, tuple[Any, Any]]) -> pd.DataFrame:
    """One input at a time to its low and its high value, all others as in ``base``; exact.

    Returns
    -------
    DataFrame
        field, low, high (as given), low_bytes, base_bytes, high_bytes, swing_bytes (between the least and the
        most of the three); the widest swing first.

    Examples
    --------
    >>> base = Scenario(machine="ram=1GiB", nr_pinned=1000)
    >>> found = tornado(base, {"nr_pinned": (0, 2000), "run_pages": (1, 64)})
    >>> found[["field", "swing_bytes"]].values.tolist()
    [['nr_pinned', 1130496], ['run_pages', 540672]]
    """
    import pandas as pd

    middle = evaluate(base).total_bytes
    rows = []
    for name, ends in inputs.items():
        _known(name)
        if isinstance(ends, str) or len(ends) != 2:
            raise InputError(f"{name}: {ends!r} is not a pair of a low and a high value")
        _values(name, ends)
        low, high = (evaluate(base.with_(**{name: end})).total_bytes for end in ends)
        found = (low, middle, high)
        rows.append((name, *ends, *found, max(found) - min(found)))
    columns = ["field", "low", "high", "low_bytes", "base_bytes", "high_bytes", "swing_bytes"]
    rows.sort(key=lambda row: -row[-1])
    return pd.DataFrame(rows, columns=columns)


def _known(name: str) -> None:
    if name not in FIELDS:
        raise InputError(f"{name!r} is no field that can vary: {', '.join(FIELDS)}")


def sobol(
    base: Scenario, inputs: Mapping[str, Range | Sequence[Any]], *, samples: int = 1024, seed: int = 1
) -> pd.DataFrame:
    """Sobol indices of total_bytes: which share of its variance each input explains, over whole ranges.

    Estimators of ``scipy.stats.sobol_indices``, over scrambled Sobol points. A first-order index is the input
    alone, the total one with all its interactions. SALib, which was used before, draws other points: the same
    seed gives other numbers, within their confidence.

    Parameters
    ----------
    inputs : mapping of field name to Range, or to list of values
        Sampled evenly and independently.
    samples : int
        A power of two; ``samples * (inputs + 2)`` scenarios are evaluated.

    Returns
    -------
    DataFrame
        input, first, first_confidence, total, total_confidence (half widths at 95 %).
    """
    axes = {}
    for name, given in inputs.items():
        _known(name)
        if isinstance(given, Range):
            given.ends(name)
        axes[name] = given if isinstance(given, Range) else _values(name, given)

    def total_bytes(u: NDArray[np.float64]) -> NDArray[np.float64]:
        columns: dict[str, Column] = {}
        for place, (name, axis) in enumerate(axes.items()):
            one = np.minimum(u[:, place], np.nextafter(1, 0))
            if isinstance(axis, Range):
                columns[name] = axis.at(name, one)
            else:
                columns[name] = Choice(axis, np.floor(one * len(axis)).astype(np.int64))
        return _without_errors(evaluate_all(base, columns, len(u))).total_bytes.astype(np.float64)

    return sobol_of(total_bytes, list(axes), samples=samples, seed=seed)


def sobol_of(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], names: Sequence[str], *,
    samples: int = 1024, seed: int = 1,
) -> pd.DataFrame:  # fmt: skip
    """The same of any function of points in the unit cube, shape (n, len(names)) to (n,)."""
    import pandas as pd
    from scipy.stats import bootstrap, norm, qmc, sobol_indices

    if samples < 2 or samples & (samples - 1) or samples > 1 << 20:
        raise InputError(f"{samples} samples: Sobol's sequence takes a power of two, from 2 to {1 << 20}")
    if not names:
        raise InputError("no inputs: there is nothing to tell apart")
    nr, rng = len(names), np.random.default_rng(seed)
    a, b = np.split(qmc.Sobol(2 * nr, rng=rng).random(samples), 2, axis=1)
    mixed = np.repeat(a[None], nr, axis=0)  # a, with one column of b at a time
    for place in range(nr):
        mixed[place, :, place] = b[:, place]
    values = function(np.concatenate([a, b, *mixed])).reshape(nr + 2, 1, samples)
    columns = ["input", "first", "first_confidence", "total", "total_confidence"]
    if np.ptp(values) == 0:  # nothing matters; the estimators would divide by the variance
        return pd.DataFrame([(name, 0.0, 0.0, 0.0, 0.0) for name in names], columns=columns)

    def indices(picked: NDArray[np.int64]) -> NDArray[np.float64]:
        own = values[..., picked]
        found = sobol_indices(func={"f_A": own[0], "f_B": own[1], "f_AB": own[2:]}, n=samples)
        return np.array([found.first_order, found.total_order])

    every = np.arange(samples)
    first, total = indices(every)
    with np.errstate(divide="ignore", invalid="ignore"):  # by a variance of 0, where samples are few
        spread = bootstrap([every], indices, n_resamples=100, vectorized=False, method="percentile", rng=rng)
    first_confidence, total_confidence = norm.ppf(0.975) * spread.standard_error
    return pd.DataFrame(dict(zip(columns, (list(names), first, first_confidence, total, total_confidence),
                                 strict=True)))  # fmt: skip


def _without_errors(rows: Rows) -> Rows:
    if (rows.error != "").any():
        raise InputError(f"one of the scenarios cannot be evaluated: {rows.error[rows.error != ''][0]}")
    return rows


def pareto(table: pd.DataFrame, minimise: Sequence[str] = ("total_bytes", "ns")) -> pd.DataFrame:
    """The rows that no other row beats: at most as much in every column, and less in one.

    Rows that are equal in all of them stay together. Rows without a number in one of them are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> pareto(pd.DataFrame({"total_bytes": [1, 2, 2, 3], "ns": [9.0, 5.0, 6.0, 5.0]})).index.tolist()
    [0, 1]
    """
    names = list(minimise)
    if not names:
        raise InputError("minimise names no column")
    for name in names:
        if name not in table:
            raise InputError(f"the table has no column {name!r}; it has {', '.join(map(str, table.columns))}")
    known = table[table[names].notna().all(axis=1)]
    if known.empty:
        return known
    # Ranks, so that ints beyond 2^53 stay apart.
    ranks = np.stack([np.unique(known[name].to_numpy(), return_inverse=True)[1] for name in names], axis=1)
    distinct, which = np.unique(ranks, axis=0, return_inverse=True)  # sorted: nothing later beats an earlier
    keep = np.zeros(len(distinct), np.bool_)
    front = np.empty((0, len(names)), ranks.dtype)
    for at, row in enumerate(distinct):
        if not (front <= row).all(axis=1).any():
            keep[at] = True
            front = np.concatenate([front, row[None]])
    return known[keep[which.ravel()]]


def with_ns(
    table: pd.DataFrame, costs: CostTable, *, share: float = 0.01, nr_descriptors: int = 100_000,
    page_to_pfn: float = 0.5,
) -> pd.DataFrame:  # fmt: skip
    """The table with a column ``ns``: what a conversion takes in each row's design, measured.

    As ``scenario.share_curve`` has it, with ``share`` of the calls meeting a dynamic page. NaN where the cost
    table does not have the design.
    """
    if not 0 <= share <= 1:
        raise InputError(f"a share of {share} dynamic calls is not in 0..1")
    found = {}
    for name in dict.fromkeys(table["design"]):
        try:
            curve, _ = share_curve(costs, [name], nr_descriptors=nr_descriptors, page_to_pfn=page_to_pfn)
        except InputError:
            found[name] = math.nan
            continue
        found[name] = float(np.interp(share, curve["share"], curve["ns"]))
    return table.assign(ns=table["design"].map(found).astype(float))


def break_even_surface(
    a: Scenario, b: Scenario, *, x: tuple[str, Any], y: tuple[str, Any], upto: float = 100.0
) -> pd.DataFrame:
    """``scenario.break_even(a, b)`` for every pair of values of two fields.

    Parameters
    ----------
    x, y : tuple of field name and list of values, or Range with ``steps``
        Set in both scenarios.

    Returns
    -------
    DataFrame
        A column for each field, and percent: the share of pages from which ``a`` takes more bytes than ``b``;
        NaN where it never does.

    Examples
    --------
    >>> gpu = Scenario(machine="ram=1GiB,device=1GiB@1TiB", describe_device=True)
    >>> dynamic, static = gpu.with_(design="dynamic_page"), gpu.with_(design="static")
    >>> cells = {"x": ("run_pages", [1]), "y": ("folio_order", [0, 3])}
    >>> found = break_even_surface(dynamic, static, **cells)
    >>> found.round().values.tolist()
    [[1.0, 0.0, 68.0], [1.0, 3.0, nan]]
    """
    import pandas as pd

    share = "nr_device_used" if a.describe_device else "nr_pinned"
    axes = {}
    for name, values in (x, y):
        _known(name)
        if name in ("machine", "kernel", "describe_device", share):
            raise InputError(f"{name} cannot be an axis of a break-even: its share is of one machine")
        axes[name] = values.values(name) if isinstance(values, Range) else _values(name, values)
    if len(axes) != 2:
        raise InputError(f"{x[0]!r} is both axes; a surface has two")
    if not 0 < upto <= 100:
        raise InputError(f"up to {upto} percent is not in 0..100")
    machine = machine_of(a)
    total = machine.pages("pmem", "device") if a.describe_device else machine.nr_pages_ram
    (name_x, values_x), (name_y, values_y) = axes.items()
    code_x, code_y = (code.ravel() for code in np.indices((len(values_x), len(values_y))))

    def over(nr: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.bool_]:
        columns: dict[str, Column] = {
            name_x: Choice(values_x, code_x[cells]), name_y: Choice(values_y, code_y[cells]), share: nr
        }  # fmt: skip
        left, right = (
            _without_errors(evaluate_all(one.with_(pinned=None), columns, nr.size)).total_bytes
            for one in (a, b)
        )
        return left > right

    every = np.arange(code_x.size)
    low, high = np.zeros(every.size, np.int64), np.full(every.size, int(total * upto / 100))
    percent = np.full(every.size, np.nan)
    at_once = over(low, every)
    percent[at_once] = 0.0
    ever = np.flatnonzero(~at_once & over(high, every))
    while (open_ := ever[high[ever] - low[ever] > 1]).size:
        middle = (low[open_] + high[open_]) // 2
        is_over = over(middle, open_)
        high[open_[is_over]] = middle[is_over]
        low[open_[~is_over]] = middle[~is_over]
    percent[ever] = 100 * high[ever] / total
    columns = {name_x: [values_x[at] for at in code_x], name_y: [values_y[at] for at in code_y]}
    return pd.DataFrame({**columns, "percent": percent})
