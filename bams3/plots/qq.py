"""The figure of observed against expected p-values, and the words that figures of chi2-batch share."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context as style_context

from ..chi2.reading import Results
from ..chi2.summary import genomic_control_lambda
from ..chi2.twotier import METHODS
from .quantiles import Floats, band_ranks, order_quantiles, thinned
from .style import (
    BLUE,
    LABEL_POINTS,
    ORANGE,
    PLAIN_NAMES,
    RED,
    figure_of,
    plain_axes,
    printable,
    shortened,
    words_alone,
)

EXTREMES, RARE, CELLS = 1_000, 100, 400
"""Drawn in any case: the smallest p-values, and all of a method that has so few. Of the others one is drawn
in each of CELLS x CELLS cells."""

CUT_POINTS, CUT_FACTOR, CUT_GAIN = 20, 1.5, 3
"""The axis of observed p-values ends at CUT_FACTOR times what all but so many points (or a tenth of them)
need, where the highest point would make it CUT_GAIN times as long or more."""

LOOKS = {"standard": ("standard χ²", BLUE), "monte_carlo": ("Monte Carlo", ORANGE), "exact": ("exact", RED)}
"""What a method is called, and its colour."""

TITLE = "Observed against expected p-values"

_SMALLEST = 5e-324
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_BAND = "95 % of each rank, if nothing differs"


def about(results: Results, name: str) -> str:
    """How many probesets were tested, and of what."""
    n = int(results.tested.sum())
    n_skipped = results.method.size - n
    skipped = f", {n_skipped:,} skipped" if n_skipped else ""
    return f"{shortened(printable(name))}: {n:,} probeset{'s' * (n != 1)} tested{skipped}"


def none_tested(results: Results) -> str:
    """Why there is nothing to draw."""
    n = results.method.size
    return f"No p-values: all {n:,} probesets were skipped." if n else "No p-values: the table has no rows."


def label_axes(axes: Axes, across: str, up: str) -> None:
    """Name both axes."""
    axes.set_xlabel(across, fontsize=LABEL_POINTS + 2)
    axes.set_ylabel(up, fontsize=LABEL_POINTS + 2)


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """P-values by rank, the smallest first, as -log10; ``band_top`` is the highest point of the band."""

    expected: Floats
    observed: Floats
    method: npt.NDArray[np.uint8]
    n_zero: int
    band_top: float

    @property
    def ends(self) -> tuple[float, float]:
        """Where the axes end: beyond all points and the band, or where a few points are cut."""
        cut = min(CUT_POINTS, self.observed.size // 10)
        usual = CUT_FACTOR * max(self.band_top, float(self.observed[cut]))
        highest = float(self.observed[0])
        top = usual if highest > CUT_GAIN * usual else 1.03 * max(highest, self.band_top)
        return 1.04 * float(self.expected[0]), top

    @property
    def notes(self) -> list[str]:
        """What is not drawn where it is."""
        words = []
        n_cut = int((self.observed > self.ends[1]).sum())
        if n_cut:
            power = str(round(self.observed[0])).translate(_RAISED)
            words.append(f"▲ {n_cut:,} beyond the axis, down to p = 10⁻{power}")
        if self.n_zero:
            plural = "s" * (self.n_zero != 1)
            words.append(f"{self.n_zero:,} p-value{plural} of 0 drawn as 5 × 10⁻³²⁴")
        return words


def qq_figure(results: Results, name: str) -> Figure:
    """-log10 of p-values against what uniform ones would be, coloured by method.

    The band holds each rank with a chance of 95 % if nothing differs. Where points lie too close to be told
    apart, some stand for all; the EXTREMES smallest p-values are all drawn.
    """
    with style_context(PLAIN_NAMES):
        if not results.tested.any():
            return words_alone(TITLE, [about(results, name)], none_tested(results))
        pvalues = results.pvalue[results.tested]
        n = pvalues.size
        ranks = band_ranks(n)
        low, high = (-np.log10(order_quantiles(ranks, n, share)) for share in (0.975, 0.025))
        points = _points(pvalues, results.method[results.tested], float(high[0]))
        axes = plain_axes(4.4, 4.4, TITLE, [about(results, name), *points.notes])
        ends = points.ends
        axes.set(xlim=(0, ends[0]), ylim=(0, ends[1]))
        axes.fill_between(-np.log10(ranks / (n + 1)), low, high, color="0.88", linewidth=0, label=_BAND)
        axes.plot([0, min(ends)], [0, min(ends)], color="0.5", linewidth=0.7)
        _mark_floor(axes, results)
        _scatter(axes, points)
        _add_legend(axes, points, genomic_control_lambda(np.maximum(pvalues, _SMALLEST)))
        label_axes(axes, "expected −log₁₀ p", "observed −log₁₀ p")
    return figure_of(axes)


def _points(pvalues: Floats, method: npt.NDArray[np.uint8], band_top: float) -> _Points:
    order = np.argsort(pvalues, kind="stable")
    ranked = pvalues[order]
    expected = -np.log10(np.arange(1, ranked.size + 1) / (ranked.size + 1))
    observed = -np.log10(np.maximum(ranked, _SMALLEST)) + 0.0  # no -0
    return _Points(expected, observed, method[order], int((ranked == 0).sum()), band_top)


def drawn_points(points: _Points) -> npt.NDArray[np.int64]:
    """Ascending ranks, from 0, of the points that are drawn."""
    counts = np.bincount(points.method, minlength=len(METHODS))
    kept = (counts <= RARE)[points.method]
    kept[:EXTREMES] = True
    kept[thinned(points.expected, points.observed, points.ends, CELLS)] = True
    return np.flatnonzero(kept)


def _scatter(axes: Axes, points: _Points) -> None:
    """Points in the order of their rank, so that colours mix as methods do; cut ones as triangles."""
    colours = np.zeros((len(METHODS), 3))
    for method, (_, colour) in LOOKS.items():
        colours[METHODS.index(method)] = to_rgb(colour)
    shown, top = drawn_points(points)[::-1], points.ends[1]
    is_cut = points.observed[shown] > top
    for chosen, sign, area in ((shown[~is_cut], "o", 11), (shown[is_cut], "^", 26)):
        axes.scatter(
            points.expected[chosen],
            np.minimum(points.observed[chosen], top),
            s=area,
            c=colours[points.method[chosen]],
            marker=sign,
            linewidths=0,
            clip_on=False,
            zorder=3,
        )


def _mark_floor(axes: Axes, results: Results) -> None:
    """A line at the smallest p-value that simulations can give, where a hundredth of theirs lie on it."""
    simulated = results.method == METHODS.index("monte_carlo")
    runs = results.n_simulations[simulated]
    on_floor = runs[results.pvalue[simulated] * (runs + 1.0) <= 1 + 1e-6]
    if on_floor.size < max(10, runs.size / 100):
        return
    sizes, counts = np.unique(on_floor, return_counts=True)
    most = int(sizes[np.argmax(counts)])
    line = axes.axhline(float(np.log10(most + 1)), color=ORANGE, linewidth=0.9, linestyle=(0, (4, 3)))
    line.set_label(f"smallest Monte Carlo p, 1/{most + 1:,} ({counts.max():,})")


def _add_legend(axes: Axes, points: _Points, control: float) -> None:
    """Lambda and the colours, in the upper left; if points are there, the lower right has none."""
    ends, n = points.ends, points.observed.size
    crowded = bool(((points.expected < 0.6 * ends[0]) & (points.observed > 0.66 * ends[1])).any())
    handles, _ = axes.get_legend_handles_labels()
    for method, (label, colour) in LOOKS.items():
        count = int((points.method == METHODS.index(method)).sum())
        if count:
            dot = Line2D([], [], linestyle="", marker="o", markersize=5, markeredgewidth=0, color=colour)
            dot.set_label(f"{label} ({count:,})")
            handles.append(dot)
    axes.legend(
        handles=handles,
        title=f"λ = {control:.{3 if control < 100 else 1}f}   ({n:,} probeset{'s' * (n != 1)})",
        loc="lower right" if crowded else "upper left",
        bbox_to_anchor=(1, 0.05) if crowded else (0, 1),
        fontsize=LABEL_POINTS + 0.5,
        title_fontsize=LABEL_POINTS + 2,
        alignment="left",
        facecolor="white",
        edgecolor="none",
        framealpha=0.85,
        borderaxespad=0.2,
        handletextpad=0.5,
    )
