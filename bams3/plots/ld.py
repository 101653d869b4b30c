"""Figures of linkage disequilibrium: the pairs of a region as a triangle, and mean r2 by distance."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context as style_context
from matplotlib.ticker import FuncFormatter

from .style import BLUE, LABEL_POINTS, PLAIN_NAMES, figure_of, plain_axes, printable, shortened, words_alone

MOST_CELLS = 1_000
"""Variants, or runs of neighbours, on a side of the triangle."""

_COLOURS = "magma_r"
_LEAST_PAIRS = 10

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def triangle_figure(values: Floats, start_bp: Ints, value: str, name: str, notes: list[str]) -> Figure:
    """LD of all pairs of a region, each where its two variants are: their middle across, their distance up.

    A cell reaches half-way to the neighbours. Where there are more than MOST_CELLS variants, runs of as many
    neighbours as needed share one, which shows their mean.

    Parameters
    ----------
    values
        (V, V) 0 to 1, symmetric; NaN where there is none: not drawn.
    start_bp
        (V,) 0-based, ascending.
    value
        What they are, as the scale is named.
    """
    with style_context(PLAIN_NAMES):
        title, V = f"LD of {shortened(printable(name))}", len(start_bp)
        if V < 2:
            return words_alone(title, notes, "There are no two variants.")
        size = -(-V // MOST_CELLS)
        cells = _pooled(values, size)
        edges = _edges(start_bp, size) / 1e6
        if size > 1:
            notes = [*notes, f"a cell is the mean of {size} x {size} pairs"]
        axes = plain_axes(7.2, 3.6, title, [f"{V:,} variants", *notes])
        shown = np.ma.masked_invalid(np.where(np.tri(len(cells), dtype=bool), np.nan, cells))
        mesh = axes.pcolormesh(
            (edges[:, None] + edges) / 2,
            (edges - edges[:, None]) * 1e3,
            shown,
            cmap=_COLOURS,
            vmin=0,
            vmax=1,
            rasterized=True,
            linewidth=0,
        )
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, (edges[-1] - edges[0]) * 1e3))
        _label(axes, "position (Mb)", "distance (kb)")
        scale = axes.inset_axes((0.03, 0.62, 0.02, 0.3))
        bar = figure_of(axes).colorbar(mesh, cax=scale, ticks=[0, 0.5, 1])
        bar.outline.set_linewidth(0.4)
        bar.ax.tick_params(labelsize=LABEL_POINTS, length=2, width=0.5)
        bar.ax.set_title(value, fontsize=LABEL_POINTS + 1, loc="left")
    return figure_of(axes)


def _pooled(values: Floats, size: int) -> Floats:
    """Means of ``size`` x ``size`` values, those that there are."""
    if size == 1:
        return values
    starts = np.arange(0, len(values), size)
    known = ~np.isnan(values)
    sums = np.add.reduceat(np.add.reduceat(np.where(known, values, 0), starts, 0), starts, 1)
    counts = np.add.reduceat(np.add.reduceat(known.astype(np.int64), starts, 0), starts, 1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _edges(start_bp: Ints, size: int) -> Floats:
    """Where cells begin and the last ends: half-way between neighbours."""
    between = (start_bp[1:] + start_bp[:-1]) / 2
    halves = start_bp[1] - between[0], start_bp[-1] - between[-1]
    bounds = np.concatenate([[start_bp[0] - halves[0]], between, [start_bp[-1] + halves[1]]])
    edges: Floats = np.append(bounds[:-1:size], bounds[-1])
    return edges


def decay_figure(from_bp: Ints, to_bp: Ints, pairs: Ints, mean_r2: Floats, name: str) -> Figure:
    """Mean r2 in the middle of each step of distance; steps of fewer than ten pairs are left out."""
    with style_context(PLAIN_NAMES):
        title = "Mean r² by distance"
        enough = (pairs >= _LEAST_PAIRS) & ~np.isnan(mean_r2)
        about = f"{shortened(printable(name))}: {int(pairs.sum()):,} pairs"
        if not enough.any():
            return words_alone(title, [about], f"No step has {_LEAST_PAIRS} pairs.")
        axes = plain_axes(5.2, 3.2, title, [about])
        middle = (from_bp + to_bp)[enough] / 2e3
        axes.plot(middle, mean_r2[enough], color=BLUE, linewidth=1.2)
        axes.set(xlim=(0, to_bp[-1] / 1e3), ylim=(0, 1.05 * float(mean_r2[enough].max())))
        _label(axes, "distance (kb)", "mean r²")
    return figure_of(axes)


def _label(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across, fontsize=LABEL_POINTS + 2)
    axes.set_ylabel(up, fontsize=LABEL_POINTS + 2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
