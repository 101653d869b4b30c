"""The figure of a store's stats: records per category of flags, and per contig."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context as style_context
from matplotlib.ticker import EngFormatter, MaxNLocator

from ..stats import FLAGSTAT, Stats
from .style import BLUE, DPI, LABEL_POINTS, ORANGE, PLAIN_NAMES, POINT_INCH, RED, printable, save, shortened

MAX_BARS = 40
"""Of more contigs than this, those with the most records have a bar each, and the others one together."""

_BAR_INCH, _BARS_WIDTH, _ABOVE_PANEL, _BELOW_PANEL = 0.18, 4.5, 0.4, 0.35


@dataclass(frozen=True, slots=True)
class _Bars:
    """Bars of one panel, from the top: a name, and two counts that lie end to end.

    ``legend`` is name and colour of the first and the second counts. Where ``whole`` is not 0, bars have
    their shares of it. ``limit`` is where the axis ends: a longer bar is shrunk to it, and says so.
    """

    title: str
    names: list[str]
    first: list[int]
    second: list[int]
    legend: tuple[tuple[str, str], tuple[str, str]]
    limit: int
    whole: int = 0

    @property
    def height(self) -> float:
        return _BAR_INCH * (len(self.names) + 0.4)

    @property
    def lengths(self) -> npt.NDArray[np.float64]:
        """Lengths (2, N) of both parts of each bar."""
        counts = np.array([self.first, self.second], dtype=np.float64)
        counts *= np.minimum(1, self.limit / np.maximum(counts.sum(axis=0), 1))
        return counts

    @property
    def ends(self) -> list[str]:
        """The text behind each bar."""
        totals = [first + second for first, second in zip(self.first, self.second, strict=True)]
        shares = [f"  {100 * n / self.whole:.2f}%" if n and self.whole else "" for n in totals]
        notes = [" (not to scale)" if n > self.limit else "" for n in totals]
        return [f"{n:,}{share}{note}" for n, share, note in zip(totals, shares, notes, strict=True)]


def stats_figure(stats: Stats, sample: str) -> Figure:
    """Two panels: records in each category of samtools flagstat, and per contig.

    Contigs stay in the order of the store, the records on none of them come last.
    """
    panels = (_category_bars(stats), _contig_bars(stats))
    with style_context(PLAIN_NAMES):
        left = _inches(name for panel in panels for name in panel.names)
        width = left + _BARS_WIDTH + _inches(text for panel in panels for text in panel.ends)
        height = 0.55 + sum(_ABOVE_PANEL + panel.height + _BELOW_PANEL for panel in panels)
        figure = Figure(figsize=(width, height), dpi=DPI)
        bottom = height - 0.55
        for panel in panels:
            bottom -= _ABOVE_PANEL + panel.height
            box = (left / width, bottom / height, _BARS_WIDTH / width, panel.height / height)
            _draw_bars(figure.add_axes(box), panel)
            bottom -= _BELOW_PANEL
        records, mapped = stats.total("records"), stats.total("mapped")
        title = figure.text(0.15 / width, 1 - 0.12 / height, shortened(sample), va="top")
        title.set(fontsize=11, weight="bold")
        about = f"{records:,} record{'s' * (records != 1)}, {mapped:,} mapped"
        figure.text(0.15 / width, 1 - 0.36 / height, about, fontsize=8, color="0.3", va="top")
    return figure


def write_stats(stats: Stats, sample: str, path: Path) -> None:
    """Write the figure of a store's stats as PNG; the same stats give the same bytes."""
    save(lambda: stats_figure(stats, sample), path)


def _inches(texts: Iterable[str]) -> float:
    """Room for the longest of some texts beside bars."""
    return 0.25 + 0.62 * LABEL_POINTS * POINT_INCH * max(map(len, texts))


def _category_bars(stats: Stats) -> _Bars:
    names = ["total", *(category.label for category in FLAGSTAT[1:])]
    passed, failed = (
        [counted[category.total] for category in FLAGSTAT] for counted in (stats.passed, stats.failed)
    )
    legend = (("passed quality control", BLUE), ("failed", RED))
    records = stats.total("records")
    return _Bars(
        "Records per category, and their share of all", names, passed, failed, legend, records, records
    )


def _contig_bars(stats: Stats) -> _Bars:
    """Bars of contigs. The axis ends with the longest of them: the others together would dwarf them all."""
    records = stats.mapped + stats.unmapped
    shown = np.arange(records.size)
    if records.size > MAX_BARS:
        most = np.argsort(-records, kind="stable")[: MAX_BARS - 1]
        shown = np.sort(most[records[most] > 0])
    names = [shortened(printable(stats.contigs.names[contig])) for contig in shown]
    first, second = stats.mapped[shown].tolist(), stats.unmapped[shown].tolist()
    if shown.size < records.size:
        n = records.size - shown.size
        names.append(f"{n:,} other contig{'s' * (n != 1)}")
        first.append(int(stats.mapped.sum()) - sum(first))
        second.append(int(stats.unmapped.sum()) - sum(second))
    limit = int(records[shown].max(initial=0)) or stats.n_unplaced
    legend = (("mapped", BLUE), ("unmapped", ORANGE))
    rows = [*names, "no contig"], [*first, 0], [*second, stats.n_unplaced]
    return _Bars("Records per contig", *rows, legend, limit)


def _draw_bars(axes: Axes, bars: _Bars) -> None:
    places = np.arange(len(bars.names))
    first, second = bars.lengths
    for (name, colour), widths, starts in zip(
        bars.legend, (first, second), (np.zeros_like(first), first), strict=True
    ):
        axes.barh(places, widths, left=starts, height=0.72, color=colour, label=name)
    axes.set_xlim(0, max(1, bars.limit))
    axes.set_ylim(places.size - 0.3, -0.7)
    axes.set_yticks(places, bars.names, fontsize=LABEL_POINTS)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(axis="x", labelsize=LABEL_POINTS, length=2, width=0.5, color="0.4")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(linewidth=0.5, color="0.4")
    for place, end, text in zip(places, first + second, bars.ends, strict=True):
        note = axes.annotate(text, (end, place), xytext=(3, 0), textcoords="offset points", va="center")
        note.set(fontsize=LABEL_POINTS - 1, color="0.25" if end else "0.65")
    axes.set_title(bars.title, loc="left", fontsize=9, pad=5)
    if any(bars.second):
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.02, 0.995),
            borderaxespad=0.2,
            ncols=2,
            fontsize=LABEL_POINTS,
            frameon=False,
        )
