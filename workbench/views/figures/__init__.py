"""Tables in, plotly figures out. Nothing is computed here that a test would want to check.

One module for each subject; all of their figures are names of this package.
"""

from workbench.figures.base import (
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
    size,
    unit,
    with_meta,
)
from workbench.figures.fleet import fleet_savings
from workbench.figures.memory import (
    bytes_per_entry,
    flag_bits,
    labels,
    overhead_against_pinned,
    overhead_by_part,
    percent_by_order,
    percent_of_ram,
    pfn_maps,
)
from workbench.figures.paths import latency, model_checks, path_costs, share_curve, slow_fast
from workbench.figures.pins import clusters, duration, lifetimes, pfn_heat, pins_over_time, pool_size, ratio
from workbench.figures.structs import CACHE_LINE, MAX_LINES, Piece, pfn_anatomy, pieces, struct_layout
from workbench.figures.sweep import break_even_surface, pareto, sobol, tornado
from workbench.figures.typesafety import callsites_over_releases, mistake_matrix
from workbench.figures.versus import bytes_map, nearest, ns_map
from workbench.figures.walk import CELLS, pfn_place, pfn_steps
