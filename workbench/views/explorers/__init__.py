"""Explorers: controls keyed by scenario fields, linked figures, exact tables.

An explorer turns its controls into scenarios, calls what a notebook would call, and hands the figures to
``PlotHost``, which draws from synced state alone: the picture is right after a page reload and in Voila.
Input that cannot be used is answered in one line above the figures, never by a traceback, and the figures
then say that they show nothing. Executed without a front end (``WORKBENCH_BATCH=1``) an explorer leaves its
figures and its table as ordinary outputs.

``WalkExplorer`` follows a single pfn: its section, the pfn map's slots and cache lines, two designs' loads.
"""

from workbench.views._words import contents
from workbench.views.explorers._base import LIVE, Explorer, PlotHost
from workbench.views.explorers.claims import ClaimsExplorer, claims_table
from workbench.views.explorers.overhead import (
    SHARES,
    MixExplorer,
    OverheadExplorer,
    exact_table,
    pinned_curve,
)
from workbench.views.explorers.paths import PathsExplorer
from workbench.views.explorers.pins import PinsExplorer
from workbench.views.explorers.structs import MAIL, FlagBudgetExplorer, StructExplorer, pfn_anatomy
from workbench.views.explorers.typesafety import MistakesExplorer
from workbench.views.explorers.versus import VersusExplorer, scoreboard
from workbench.views.explorers.walk import WalkExplorer
