"""Figures of results. The only module that imports matplotlib; commands import it when they draw.

A figure depends on the numbers alone: matplotlib's own defaults, its own font, no date in the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.style import context as style_context
from matplotlib.ticker import EngFormatter, MaxNLocator

from .stats import FLAGSTAT, Stats
from .tables import CountTable

DPI, MAX_PIXELS = 150, 14_000_000
"""Dots per inch, fewer where the figure would have more pixels than this."""

LIMIT_LOG2 = 2.0
"""The colours end at a quarter and at four times the median; what lies beyond has the colour of the end."""

MAX_INCHES = (30.0, 40.0)
"""The most that the cells may take, across and down; beyond it they shrink and labels are thinned out."""

_LABEL_POINTS, _SMALL_POINTS = 7.0, 4.5
_POINT_INCH = 1 / 72
_NO_DATA = "0.8"


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things are, in inches: cells from (left, bottom), and around them margins for labels."""

    cells_width: float
    cells_height: float
    left: float
    bottom: float
    top: float = 0.85
    right: float = 1.65

    @property
    def width(self) -> float:
        return self.left + self.cells_width + self.right

    @property
    def height(self) -> float:
        return self.bottom + self.cells_height + self.top

    @property
    def dpi(self) -> float:
        return min(DPI, float(np.sqrt(MAX_PIXELS / (self.width * self.height))))

    def box(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """A box in inches as fractions of the figure."""
        return left / self.width, bottom / self.height, width / self.width, height / self.height


def relative_depth(table: CountTable) -> npt.NDArray[np.float64]:
    """log2 of reads per base over the sample's median of it: 0 is usual, -1 half, -inf no read at all.

    Returns
    -------
    float64 array (S, N). The median is over the sample's regions that have reads, so that a panel of which a
    sample covers a small part keeps its scale. NaN for a sample without reads, and for regions of no length.
    """
    lengths = np.array([region.end_bp - region.start_bp for region in table.regions], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_base = table.counts.T / lengths
        per_base[:, lengths == 0] = np.nan
        result = np.full(per_base.shape, np.nan)
        for row, values in enumerate(per_base):
            covered = values[values > 0]
            if covered.size:
                result[row] = np.log2(values / np.median(covered))
    return result


def heat_map(table: CountTable) -> Figure:
    """Samples (down) x regions (across), coloured by ``relative_depth``: blue for less, red for more.

    Labels stay at a readable size: with more rows or columns than have room, every second, fifth, tenth and
    so on is named. Regions stay in the order of the table; contigs are parted by lines and named above.
    """
    with style_context("default"):
        layout = _layout(table)
        figure = Figure(figsize=(layout.width, layout.height), dpi=layout.dpi)
        axes = figure.add_axes(
            layout.box(layout.left, layout.bottom, layout.cells_width, layout.cells_height)
        )
        colours = matplotlib.colormaps["RdBu_r"].with_extremes(bad=_NO_DATA)
        values = np.clip(relative_depth(table), -LIMIT_LOG2, LIMIT_LOG2)
        image = axes.imshow(
            values,
            cmap=colours,
            vmin=-LIMIT_LOG2,
            vmax=LIMIT_LOG2,
            aspect="auto",
            interpolation="nearest" if layout.dpi * layout.cells_width >= values.shape[1] else "antialiased",
        )
        _label_cells(axes, table, layout)
        _mark_contigs(axes, table, layout)
        _draw_scale(figure, image, layout, no_data=bool(np.isnan(values).any()))
        _title(figure, table, layout)
    return figure


def write_heat_map(table: CountTable, path: Path) -> None:
    """Write the heat map of a count table as PNG; the same table gives the same bytes."""
    with style_context("default"):
        figure = heat_map(table)
        figure.savefig(path, format="png", metadata={"Software": None})


def _layout(table: CountTable) -> _Layout:
    shape = (len(table.regions), len(table.samples))
    roomy, tight = (0.30, 0.34), (0.125, 0.125)
    sizes = []
    for count, most, wide, narrow in zip(shape, MAX_INCHES, roomy, tight, strict=True):
        sizes.append(min(count * max(narrow, min(wide, 9 / count)), most))
    cells_width, cells_height = max(sizes[0], 3.2), max(sizes[1], 0.7)
    names = max(len(sample) for sample in table.samples)
    labels = max(len(region.label) for region in table.regions)
    letter = 0.58 * _LABEL_POINTS * _POINT_INCH
    return _Layout(cells_width, cells_height, 0.45 + letter * min(names, 60), 0.45 + letter * min(labels, 60))


def _thinned(count: int, inches: float) -> tuple[npt.NDArray[np.int64], float]:
    """Which of ``count`` cells over ``inches`` have a label (all, or every 2nd, 5th, ...), and its points."""
    room = inches / count / _POINT_INCH / 1.25
    steps = (base * 10**power for power in range(9) for base in (1, 2, 5))
    step = next(step for step in steps if room * step >= _SMALL_POINTS)
    return np.arange(0, count, step), min(_LABEL_POINTS, room * step)


def _label_cells(axes: Axes, table: CountTable, layout: _Layout) -> None:
    columns, points = _thinned(len(table.regions), layout.cells_width)
    names = [_shortened(table.regions[column].label) for column in columns]
    axes.set_xticks(columns, names, rotation=90, fontsize=points)
    rows, points = _thinned(len(table.samples), layout.cells_height)
    axes.set_yticks(rows, [_shortened(table.samples[row]) for row in rows], fontsize=points)
    axes.tick_params(length=2, width=0.5, color="0.4")
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, color="0.4")
    if len(table.samples) * 0.12 <= layout.cells_height:
        axes.hlines(np.arange(1, len(table.samples)) - 0.5, *axes.get_xlim(), color="white", linewidth=0.8)


def _shortened(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:59]}…"


def _mark_contigs(axes: Axes, table: CountTable, layout: _Layout) -> None:
    """A line where the contig changes, unless lines would hide the cells; its name above, if it fits."""
    at = 0
    inch = layout.cells_width / len(table.regions)
    runs = [
        (contig, sum(1 for _ in run)) for contig, run in groupby(table.regions, lambda region: region.contig)
    ]
    for contig, count in runs:
        if at and len(runs) * 0.1 <= layout.cells_width:
            axes.axvline(at - 0.5, color="0.25", linewidth=0.8)
        if len(contig) * 0.68 * (_LABEL_POINTS + 1) * _POINT_INCH <= count * inch:
            axes.annotate(
                contig,
                (at + count / 2 - 0.5, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=_LABEL_POINTS + 1,
                color="0.25",
            )
        at += count


def _draw_scale(figure: Figure, image: AxesImage, layout: _Layout, *, no_data: bool) -> None:
    """The colour bar, of one size in every figure, with its unit and what the steps mean."""
    height = min(2.2, max(layout.cells_height, 1.3))
    top = layout.bottom + layout.cells_height
    scale = figure.add_axes(layout.box(layout.left + layout.cells_width + 0.25, top - height, 0.14, height))
    bar = figure.colorbar(image, cax=scale, extend="both", extendfrac=0.04)
    bar.set_ticks([-2, -1, 0, 1, 2], labels=["−2  (¼×)", "−1  (½×)", "0  (1×)", "+1  (2×)", "+2  (4×)"])
    bar.ax.tick_params(labelsize=_LABEL_POINTS, length=2, width=0.5)
    bar.outline.set_linewidth(0.5)
    unit = "log₂ of reads per base / sample's median"
    bar.set_label(unit if height > 2 else unit.replace(" / ", "\n/ "), fontsize=_LABEL_POINTS)
    if no_data:
        scale.annotate(
            "grey: no reads", (0, -0.16), xycoords="axes fraction", fontsize=_LABEL_POINTS, color="0.35"
        )


def _title(figure: Figure, table: CountTable, layout: _Layout) -> None:
    samples, regions = len(table.samples), len(table.regions)
    about = f"{samples:,} sample{'s' * (samples != 1)} × {regions:,} region{'s' * (regions != 1)}"
    left, line = layout.left / layout.width, 1 / layout.height
    top = 1 - 0.14 * line
    figure.text(left, top, "Reads per region", fontsize=11, weight="bold", va="top")
    figure.text(
        left,
        top - 0.24 * line,
        f"{about}; each sample against its own median",
        fontsize=8,
        color="0.3",
        va="top",
    )


# ---- records per category and per contig ----

MAX_BARS = 40
"""Of more contigs than this, those with the most records have a bar each, and the others one together."""

_BAR_INCH, _BARS_WIDTH, _ABOVE_PANEL, _BELOW_PANEL = 0.18, 4.5, 0.4, 0.35
_BLUE, _ORANGE, _RED = "#437bb1", "#f0a04b", "#b1084c"
#: A name of a contig is no formula, though it may hold dollars.
_STATS_STYLE: list[str | Path | dict[str, Any]] = ["default", {"text.parse_math": False}]


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
    with style_context(_STATS_STYLE):
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
        title = figure.text(0.15 / width, 1 - 0.12 / height, _shortened(sample), va="top")
        title.set(fontsize=11, weight="bold")
        about = f"{records:,} record{'s' * (records != 1)}, {mapped:,} mapped"
        figure.text(0.15 / width, 1 - 0.36 / height, about, fontsize=8, color="0.3", va="top")
    return figure


def write_stats(stats: Stats, sample: str, path: Path) -> None:
    """Write the figure of a store's stats as PNG; the same stats give the same bytes."""
    with style_context(_STATS_STYLE):
        stats_figure(stats, sample).savefig(path, format="png", metadata={"Software": None})


def _inches(texts: Iterable[str]) -> float:
    """Room for the longest of some texts beside bars."""
    return 0.25 + 0.62 * _LABEL_POINTS * _POINT_INCH * max(map(len, texts))


def _category_bars(stats: Stats) -> _Bars:
    names = ["total", *(category.label for category in FLAGSTAT[1:])]
    passed, failed = (
        [counted[category.total] for category in FLAGSTAT] for counted in (stats.passed, stats.failed)
    )
    legend = (("passed quality control", _BLUE), ("failed", _RED))
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
    names = [_shortened(_printable(stats.contigs.names[contig])) for contig in shown]
    first, second = stats.mapped[shown].tolist(), stats.unmapped[shown].tolist()
    if shown.size < records.size:
        n = records.size - shown.size
        names.append(f"{n:,} other contig{'s' * (n != 1)}")
        first.append(int(stats.mapped.sum()) - sum(first))
        second.append(int(stats.unmapped.sum()) - sum(second))
    limit = int(records[shown].max(initial=0)) or stats.n_unplaced
    legend = (("mapped", _BLUE), ("unmapped", _ORANGE))
    rows = [*names, "no contig"], [*first, 0], [*second, stats.n_unplaced]
    return _Bars("Records per contig", *rows, legend, limit)


def _printable(name: str) -> str:
    """A name with a replacement for bytes that are no UTF-8, which no font has."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _draw_bars(axes: Axes, bars: _Bars) -> None:
    places = np.arange(len(bars.names))
    first, second = bars.lengths
    for (name, colour), widths, starts in zip(
        bars.legend, (first, second), (np.zeros_like(first), first), strict=True
    ):
        axes.barh(places, widths, left=starts, height=0.72, color=colour, label=name)
    axes.set_xlim(0, max(1, bars.limit))
    axes.set_ylim(places.size - 0.3, -0.7)
    axes.set_yticks(places, bars.names, fontsize=_LABEL_POINTS)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(axis="x", labelsize=_LABEL_POINTS, length=2, width=0.5, color="0.4")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(linewidth=0.5, color="0.4")
    for place, end, text in zip(places, first + second, bars.ends, strict=True):
        note = axes.annotate(text, (end, place), xytext=(3, 0), textcoords="offset points", va="center")
        note.set(fontsize=_LABEL_POINTS - 1, color="0.25" if end else "0.65")
    axes.set_title(bars.title, loc="left", fontsize=9, pad=5)
    if any(bars.second):
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.02, 0.995),
            borderaxespad=0.2,
            ncols=2,
            fontsize=_LABEL_POINTS,
            frameon=False,
        )
