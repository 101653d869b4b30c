"""Figures of what ``bams3 chi2-batch`` found: QQ plot (qq.py), histogram of p-values, the worst batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from matplotlib.style import context as style_context
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..chi2.reading import Results
from ..chi2.twotier import METHODS
from .qq import LOOKS, about, label_axes, none_tested, qq_figure
from .style import (
    BLUE,
    LABEL_POINTS,
    PLAIN_NAMES,
    POINT_INCH,
    RED,
    figure_of,
    plain_axes,
    printable,
    words_alone,
)

MAX_BATCHES = 30
"""The most batches that have a bar each."""

N_STEPS = 50
"""Steps of the histogram."""

STANDS_OUT, STANDS_OUT_SD = 2, 4
"""A batch stands out with this many times the equal share, and so many standard deviations of it above."""

_INK, _DASHES = "0.1", (0, (4, 3))


def chi2_figures(results: Results, name: str, max_q: float) -> dict[str, Figure]:
    """All figures by what they show; ``name`` says of what, and ``max_q`` which probesets rank batches."""
    return {
        "qq": qq_figure(results, name),
        "pvalues": histogram_figure(results, name),
        "batches": batches_figure(results, name, max_q),
    }


def _count_in_full(axis: Axis) -> None:
    """Ticks at whole numbers, with commas."""
    axis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))


def _add_legend(axes: Axes, handles: Sequence[object] | None = None) -> None:
    """What colours and lines mean, above the axes."""
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=4,
        fontsize=LABEL_POINTS + 0.5,
        frameon=False,
        borderaxespad=0.1,
        columnspacing=1.2,
        handlelength=1.6,
    )


# ---- histogram ----


def histogram_figure(results: Results, name: str) -> Figure:
    """How many p-values lie in each of N_STEPS equal steps, stacked by method, with the line of uniform."""
    title, notes = "Histogram of p-values", [about(results, name)]
    with style_context(PLAIN_NAMES):
        if not results.tested.any():
            return words_alone(title, notes, none_tested(results))
        axes = plain_axes(5.2, 3.2, title, notes, head=0.7)
        highest = _stack(axes, results)
        uniform = float(results.tested.sum()) / N_STEPS
        line = axes.axhline(uniform, color=_INK, linewidth=0.8, linestyle=_DASHES)
        line.set_label(f"uniform: {uniform:,.{0 if uniform >= 100 else 1}f}")
        top = 1.05 * max(highest, uniform)
        axes.set(xlim=(0, 1), ylim=(0, top), xticks=np.arange(0, 1.01, 0.1))
        _count_in_full(axes.yaxis)
        label_axes(axes, "p-value", f"probesets in each step of {1 / N_STEPS:g}")
        _add_legend(axes)
    return figure_of(axes)


def _stack(axes: Axes, results: Results) -> float:
    """Draw the bars of each method upon those of the one before; the height of the highest."""
    edges, base = np.linspace(0, 1, N_STEPS + 1), np.zeros(N_STEPS)
    for method, (label, colour) in LOOKS.items():
        chosen = results.pvalue[results.method == METHODS.index(method)]
        if chosen.size:
            counts = np.histogram(chosen, edges)[0]
            bars = axes.bar(edges[:-1], counts, 1 / N_STEPS, base, align="edge", color=colour)
            for bar in bars:
                bar.set(edgecolor="white", linewidth=0.3)
            bars.set_label(f"{label} ({chosen.size:,})")
            base += counts
    return float(base.max())


# ---- batches ----


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """Batches by how often they are the worst of ``n_hits`` probesets.

    ``equal`` is how often each would be if all were alike; ``n_batches`` counts those that never are too.
    """

    names: list[str]
    counts: npt.NDArray[np.int64]
    n_hits: int
    n_batches: int
    equal: float

    @property
    def stands_out(self) -> npt.NDArray[np.bool_]:
        """Which batches are the worst far more often than others are."""
        enough = max(STANDS_OUT * self.equal, self.equal + STANDS_OUT_SD * self.equal**0.5)
        return np.asarray(self.counts >= enough)

    def share(self, count: float) -> str:
        """A count as percent of the probesets."""
        return f"{100 * count / self.n_hits:.1f} %"


def batches_figure(results: Results, name: str, max_q: float) -> Figure:
    """Bars of the batches that are most often the worst among probesets with q below ``max_q``."""
    ranked = _ranked(results, max_q)
    title = "Batches by how often they are the worst"
    notes = [about(results, name), _hits_note(ranked, max_q)]
    shown = ranked.names[:MAX_BATCHES]
    with style_context(PLAIN_NAMES):
        if not shown:
            return words_alone(title, notes, _no_hits(results, ranked, max_q))
        left = 0.3 + max(map(_inches, shown))
        height = max(0.19 * (len(shown) + 0.2), 0.5)
        axes = plain_axes(5, height, title, notes, left, head=0.7)
        _draw_batches(axes, ranked, shown)
    return figure_of(axes)


def _ranked(results: Results, max_q: float) -> _Ranked:
    hits = results.tested & (results.qvalue < max_q)
    worst = results.worst_batch[hits & (results.worst_batch >= 0)]
    counts = np.bincount(worst, minlength=len(results.batches))
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda i: (-counts[i], results.batches[i]))
    names = [_fitted(printable(results.batches[i])) for i in order]
    equal = float((1 / np.maximum(results.n_batches[hits], 1)).sum())
    n_batches = max(int(results.n_batches.max(initial=0)), len(order))
    return _Ranked(names, counts[order], int(hits.sum()), n_batches, equal)


def _inches(name: str) -> float:
    """How wide the name of a bar is."""
    font = FontProperties(size=LABEL_POINTS)
    width, _, _ = text_to_path.get_text_width_height_descent(name, font, ismath=False)
    return float(width) * POINT_INCH


def _fitted(name: str) -> str:
    """A name of 60 characters at most; names of plates often differ at their end only."""
    return name if len(name) <= 60 else f"{name[:30]}…{name[-29:]}"


def _hits_note(ranked: _Ranked, max_q: float) -> str:
    n, left = ranked.n_hits, ranked.n_batches - min(len(ranked.names), MAX_BATCHES)
    if not n or not ranked.names:
        return ""
    words = f"{n:,} of them with q < {max_q:g}"
    if left > 0:
        rest = int(ranked.counts[MAX_BATCHES:].sum())
        them = "the other batch" if left == 1 else f"the {left:,} other batches"
        words += f"; {them}: {f'{rest:,} ({ranked.share(rest)})' if rest else 'none'}"
    return words


def _no_hits(results: Results, ranked: _Ranked, max_q: float) -> str:
    if not results.tested.any():
        return none_tested(results)
    if ranked.n_hits:
        return f"No probeset with q < {max_q:g} names its worst batch."
    known = results.qvalue[~np.isnan(results.qvalue)]
    if not known.size:
        return "No q-values: these are results of a slice, for bams3 chi2-merge."
    return f"No probeset has q < {max_q:g} (the smallest is {known.min():.3g})."


def _draw_batches(axes: Axes, ranked: _Ranked, shown: Sequence[str]) -> None:
    counts, stands_out = ranked.counts[: len(shown)], ranked.stands_out[: len(shown)]
    places = np.arange(len(shown))
    axes.barh(places, counts, height=0.72, color=np.where(stands_out, RED, BLUE).tolist())
    line = axes.axvline(ranked.equal, color=_INK, linewidth=0.8, linestyle=_DASHES)
    line.set_label(f"equal share: {ranked.equal:,.1f} ({ranked.share(ranked.equal)})")
    longest = max(float(counts[0]), ranked.equal)
    for place, count, is_out in zip(places, counts.tolist(), stands_out.tolist(), strict=True):
        text = f"{count:,}  {ranked.share(count)}"
        # beyond the line, for it to be seen and the words to be read
        at = ranked.equal if count < ranked.equal < count + 0.16 * longest else count
        note = axes.annotate(text, (at, place), xytext=(3, 0), textcoords="offset points", va="center")
        note.set(
            fontsize=LABEL_POINTS, color=RED if is_out else "0.25", weight="bold" if is_out else "normal"
        )
    axes.set_yticks(places, list(shown), fontsize=LABEL_POINTS)
    axes.set(xlim=(0, 1.24 * longest), ylim=(len(shown) - 0.4, -0.6))
    _count_in_full(axes.xaxis)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("probesets of which it is the worst batch", fontsize=LABEL_POINTS + 2)
    out = Patch(color=RED, label=f"at least {STANDS_OUT} × the equal share, and beyond chance")
    _add_legend(axes, [line, out] if stands_out.any() else [line])
