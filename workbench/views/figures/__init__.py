"""Tables in, plotly figures out. Nothing is computed here that a test would want to check.

One module for each subject; all of their figures are names of this package.
"""

from workbench.model.units import duration, size, unit
from workbench.views.figures._base import (
    COLOURS,
    DASHES,
    MARKERS,
    PART,
    PATTERNS,
    PNG_WIDTH,
    inert,
    nothing,
    parts_of,
    plain,
    rows_of,
    with_meta,
)
from workbench.views.figures.fleet import fleet_savings
from workbench.views.figures.memory import (
    bytes_per_entry,
    flag_bits,
    labels,
    overhead_against_pinned,
    overhead_by_part,
    percent_by_order,
    percent_of_ram,
    pfn_maps,
)
from workbench.views.figures.paths import latency, model_checks, path_costs, share_curve, slow_fast
from workbench.views.figures.pins import (
    clusters,
    lifetimes,
    pfn_heat,
    pins_over_time,
    pool_size,
    ratio,
)
from workbench.views.figures.structs import CACHE_LINE, MAX_LINES, Piece, pfn_anatomy, pieces, struct_layout
from workbench.views.figures.sweep import break_even_surface, pareto, sobol, tornado
from workbench.views.figures.typesafety import callsites_over_releases, mistake_matrix
from workbench.views.figures.versus import bytes_map, nearest, ns_map
from workbench.views.figures.walk import CELLS, pfn_place, pfn_steps
