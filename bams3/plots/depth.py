"""Depth along contigs and regions: a panel each, one depth axis for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context as style_context
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .style import (
    BLUE,
    LABEL_POINTS,
    ORANGE,
    PLAIN_NAMES,
    POINT_INCH,
    RED,
    dpi_of,
    printable,
    save,
    shortened,
)

MAX_PANELS = 60
"""The most panels that keep a readable height in one figure."""

CUT_SHARE, CUT_FACTOR = 0.995, 1.5
"""The axis ends at the depth that this share of covered bases do not pass, times this factor, where the
highest depth is as much higher again."""

MOST_ROOM = 1.5
"""How many times as long the axis may become to hold a threshold."""

_WIDTH, _LEFT, _RIGHT = 10.0, 0.6, 0.95
_ABOVE_PANEL, _BELOW_PANEL, _NOTE_INCH = 0.3, 0.24, 0.17
_PALE, _INK, _GREY = "#b9d0e6", "0.1", "0.35"
_UNITS = ((1_000_000, "Mb", 3), (1_000, "kb", 1))


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Mean depths along one span.

    Attributes
    ----------
    name
        What the span is called.
    start_bp, end_bp
        What is shown of the contig.
    starts, ends, means
        Windows that follow one another, and the mean depth of each (W,). They may reach beyond the span.
    """

    name: str
    start_bp: int
    end_bp: int
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    means: npt.NDArray[np.float64]


def depth_figure(
    panels: Sequence[Panel], title: str, notes: Sequence[str] = (), thresholds: Sequence[int] = ()
) -> Figure:
    """A filled line of each panel's depths with their median, one below the other.

    Parameters
    ----------
    panels
        At most MAX_PANELS. Depths beyond the end of the axis are cut there, and marked.
    title, notes
        The first line, in bold, and what stands below it, a line each.
    thresholds
        Depths that dashed lines mark, if they lie not far above all others.
    """
    panel_height = _panel_height(len(panels))
    head = 0.3 + _NOTE_INCH * len(notes)
    height = head + len(panels) * (_ABOVE_PANEL + panel_height + _BELOW_PANEL) + 0.1
    with style_context(PLAIN_NAMES):
        figure = Figure(figsize=(_WIDTH, height), dpi=dpi_of(_WIDTH, height))
        _write_head(figure, title, notes)
        top = axis_top(panels, thresholds)
        bottom = height - head
        for panel in panels:
            bottom -= _ABOVE_PANEL + panel_height
            width = _WIDTH - _LEFT - _RIGHT
            box = (_LEFT / _WIDTH, bottom / height, width / _WIDTH, panel_height / height)
            axes = figure.add_axes(box, xlim=_edges_of(panel.start_bp, panel.end_bp), ylim=(0, top))
            _draw_panel(axes, panel, thresholds, panel_height)
            bottom -= _BELOW_PANEL
    return figure


def write_depth(
    panels: Sequence[Panel], title: str, notes: Sequence[str], thresholds: Sequence[int], path: Path
) -> None:
    """Write the depth figure as PNG; the same numbers and words give the same bytes."""
    save(lambda: depth_figure(panels, title, notes, thresholds), path)


def axis_top(panels: Sequence[Panel], thresholds: Sequence[int]) -> float:
    """Where the depth axis of all panels ends: above all depths, or where a few tall ones are cut."""
    means = np.concatenate([np.zeros(0), *(panel.means for panel in panels)])
    sizes = np.concatenate([np.zeros(0), *(panel.ends - panel.starts for panel in panels)])
    order = np.flatnonzero(means)[np.argsort(means[means > 0], kind="stable")]
    if order.size:
        so_far = np.cumsum(sizes[order])
        usual = CUT_FACTOR * float(means[order[np.searchsorted(so_far, CUT_SHARE * so_far[-1])]])
        most = float(means[order[-1]])
        top = usual if most > CUT_FACTOR * usual else 1.05 * most
    else:
        top = 1.0
    return max([top, *(1.05 * depth for depth in thresholds if 1.05 * depth <= MOST_ROOM * top)])


def _panel_height(n_panels: int) -> float:
    return float(np.clip(5.5 / max(n_panels, 1), 0.75, 2.6))


def _edges_of(start_bp: int, end_bp: int) -> tuple[float, float]:
    """Both ends of a span on an axis of positions counted from 1, each in the middle of its base, or 0."""
    return start_bp + 0.5 if start_bp else 0, max(end_bp, start_bp + 1) + 0.5


def _write_head(figure: Figure, title: str, notes: Sequence[str]) -> None:
    width, height = figure.get_size_inches()
    left, at = _LEFT / width, height - 0.12
    figure.text(left, at / height, shortened(printable(title)), fontsize=11, weight="bold", va="top")
    for i, note in enumerate(notes):
        y = (at - 0.24 - i * _NOTE_INCH) / height
        figure.text(left, y, printable(note), fontsize=8, color=_GREY, va="top")


# ---- one panel ----


def _draw_panel(axes: Axes, panel: Panel, thresholds: Sequence[int], height: float) -> None:
    _style_axes(axes, panel, height)
    axes.set_title(_fitted(printable(panel.name)), loc="left", fontsize=9, pad=4)
    if not panel.means.size:
        axes.set_xticks([])
        why = axes.text(0.5, 0.5, "the contig ends before this region", transform=axes.transAxes)
        why.set(ha="center", va="center", fontsize=8, color=_GREY)
        return
    edges = np.append(panel.starts, panel.ends[-1]) + 0.5
    axes.stairs(panel.means, edges, fill=True, color=_PALE)
    axes.stairs(panel.means, edges, baseline=None, color=BLUE, linewidth=0.6)
    top, median = axes.get_ylim()[1], float(np.median(panel.means))
    lines = [_Line(median, f"median {_depth_text(median)}", _INK, "-")]
    lines += [_Line(depth, _depth_text(depth), RED, (0, (5, 3))) for depth in sorted(set(thresholds))]
    for line in lines:
        if line.depth <= top:
            axes.axhline(line.depth, color=line.colour, linewidth=0.7, linestyle=line.style)
    _name_lines(axes, lines, height)
    _mark_cuts(axes, panel, top)
    axes.set_title(_about(panel, top), loc="right", fontsize=LABEL_POINTS, color=_GREY, pad=4)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line across a panel, and what stands at its end."""

    depth: float
    text: str
    colour: str
    style: Any


def _style_axes(axes: Axes, panel: Panel, height: float) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(linewidth=0.5, color="0.4")
    axes.tick_params(labelsize=LABEL_POINTS, length=2, width=0.5, color="0.4", pad=2)
    axes.yaxis.set_major_locator(MaxNLocator(4 if height < 1.2 else 5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda depth, _: _depth_text(depth)))
    axes.set_ylabel("depth", fontsize=LABEL_POINTS, color=_GREY)
    axes.yaxis.set_label_coords(-0.42 / (_WIDTH - _LEFT - _RIGHT), 0.5)
    places = MaxNLocator(8, integer=True, steps=[1, 2, 5, 10])
    ticks = places.tick_values(*axes.get_xlim())
    unit = unit_of(panel.end_bp, float(ticks[1] - ticks[0]))
    axes.xaxis.set_major_locator(places)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: place_text(place, unit)))


def _name_lines(axes: Axes, lines: Sequence[_Line], height: float) -> None:
    """What lines mean, to the right of them, with room between the words; ↑ where one is above the axis."""
    points, top = height / POINT_INCH, axes.get_ylim()[1]
    lines = sorted(lines, key=lambda line: line.depth)
    places = spread([min(line.depth / top, 1) * points for line in lines], LABEL_POINTS + 1, points)
    for place, line in zip(places, lines, strict=True):
        axes.annotate(
            line.text if line.depth <= top else f"{line.text} ↑",
            (1, place / points),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=LABEL_POINTS,
            color=line.colour,
        )


def spread(places: Sequence[float], gap: float, room: float) -> list[float]:
    """Ascending places moved so that they lie ``gap`` apart, from 0 to ``room``; less apart if they must."""
    gap = min(gap, room / max(len(places) - 1, 1))
    out: list[float] = []
    for i, place in enumerate(places):
        highest = room - gap * (len(places) - 1 - i)
        out.append(min(max([place, *(low + gap for low in out[-1:])]), highest))
    return out


def _mark_cuts(axes: Axes, panel: Panel, top: float) -> None:
    """A triangle where depths pass the end of the axis, one for windows side by side."""
    cut = panel.means > top
    first = np.flatnonzero(cut & ~np.append(False, cut[:-1]))
    last = np.flatnonzero(cut & ~np.append(cut[1:], False))
    if first.size:
        middle = (panel.starts[first] + panel.ends[last]) / 2 + 0.5
        axes.plot(
            middle,
            np.full(first.size, top),
            linestyle="",
            marker="^",
            markersize=4,
            color=ORANGE,
            markeredgecolor=RED,
            markeredgewidth=0.5,
            clip_on=False,
        )


def _about(panel: Panel, top: float) -> str:
    """Size of the windows, the highest depth and its place, and where depths are cut."""
    window_bp = int(panel.ends[0] - panel.starts[0])
    highest = int(np.argmax(panel.means))
    depth, place = panel.means[highest], int(panel.starts[highest]) + 1
    words = [f"mean of each {place_text(window_bp, unit_of(window_bp, window_bp))}"] if window_bp > 1 else []
    words.append(f"highest {_depth_text(depth)} at {place:,} bp" if depth else "depth 0 everywhere")
    return ", ".join([*words, f"▲ cut at {_depth_text(top)}"] if depth > top else words)


# ---- words ----


class Unit(NamedTuple):
    """A unit of positions: its size, and the decimals that tell neighbours apart."""

    size_bp: int
    name: str
    decimals: int


def unit_of(most_bp: int, step_bp: float) -> Unit:
    """The unit of positions up to ``most_bp`` that lie ``step_bp`` apart; bp if others need many decimals."""
    for size_bp, name, most in _UNITS:
        if most_bp >= size_bp:
            digits = f"{Decimal(step_bp) / size_bp:f}".partition(".")[2].rstrip("0")
            return Unit(size_bp, name, len(digits)) if len(digits) <= most else Unit(1, "bp", 0)
    return Unit(1, "bp", 0)


def place_text(place_bp: float, unit: Unit) -> str:
    """A position, such as ``1.25 Mb``, or ``0``."""
    return f"{place_bp / unit.size_bp:,.{unit.decimals}f} {unit.name}" if place_bp else "0"


def _fitted(name: str) -> str:
    """A name that leaves room for what stands beside it; the end of a longer one may be a region's span."""
    return name if len(name) <= 40 else f"{name[:15]}…{name[-24:]}"


def _depth_text(depth: float) -> str:
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if depth >= max(0.9995 * size, 1e4):
            return f"{depth / size:.3g}{sign}"
    return f"{depth:,.0f}" if depth >= 100 else f"{depth:.3g}"
