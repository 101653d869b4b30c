"""Figures of results. The only package that imports matplotlib; commands import it when they draw."""

from matplotlib.figure import Figure

from .chi2 import chi2_figures
from .depth import MAX_PANELS, Panel, depth_figure, write_depth
from .heat_map import LIMIT_LOG2, MAX_INCHES, heat_map, relative_depth, write_heat_map
from .ld import decay_figure, triangle_figure
from .stats import stats_figure, write_stats
from .style import MAX_PIXELS, write_figure

__all__ = [
    "LIMIT_LOG2",
    "MAX_INCHES",
    "MAX_PANELS",
    "MAX_PIXELS",
    "Figure",
    "Panel",
    "chi2_figures",
    "decay_figure",
    "depth_figure",
    "heat_map",
    "relative_depth",
    "stats_figure",
    "triangle_figure",
    "write_depth",
    "write_figure",
    "write_heat_map",
    "write_stats",
]
