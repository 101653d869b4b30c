"""The heat map of a region table: samples down, regions across."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.style import context as style_context

from ..tables import CountTable
from .style import LABEL_POINTS, PLAIN_NAMES, POINT_INCH, dpi_of, save, shortened

LIMIT_LOG2 = 2.0
"""The colours end at a quarter and at four times the median; what lies beyond has the colour of the end."""

MAX_INCHES = (30.0, 40.0)
"""The most that the cells may take, across and down; beyond it they shrink and labels are thinned out."""


@dataclass(frozen=True, slots=True)
class _Look:
    """How the numbers of a column are shown: title, unit, colours from ``low`` to ``high``, and steps."""

    title: str
    unit: str
    colours: str
    low: float
    high: float
    steps: dict[float, str]
    note: str = "each sample against its own median"


_FOLDS = {-2.0: "−2  (¼×)", -1.0: "−1  (½×)", 0.0: "0  (1×)", 1.0: "+1  (2×)", 2.0: "+2  (4×)"}
_RELATIVE = ("RdBu_r", -LIMIT_LOG2, LIMIT_LOG2, _FOLDS)
_LOOKS = {
    "count": _Look("Reads per region", "log₂ of reads per base / sample's median", *_RELATIVE),
    "mean": _Look("Mean depth", "log₂ of mean depth / sample's median", *_RELATIVE),
    "breadth": _Look(
        *("Breadth", "share of bases covered", "Blues", 0, 1),
        {0: "0", 0.25: "¼", 0.5: "½", 0.75: "¾", 1: "1"},
        "the share of a region's bases that are covered",
    ),
}

_SMALL_POINTS = 4.5
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
        return dpi_of(self.width, self.height)

    def box(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """A box in inches as fractions of the figure."""
        return left / self.width, bottom / self.height, width / self.width, height / self.height


def relative_depth(table: CountTable) -> npt.NDArray[np.float64]:
    """log2 of reads per base, or of another column's numbers, over the sample's median of them.

    0 is usual, -1 half, -inf no read at all.

    Returns
    -------
    float64 array (S, N). The median is over the sample's regions that have reads, so that a panel of which a
    sample covers a small part keeps its scale. NaN for a sample without reads, and for regions of no length.
    """
    lengths = np.array([region.end_bp - region.start_bp for region in table.regions], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_base = table.counts.T / (lengths if table.column == "count" else 1.0)
        per_base[:, lengths == 0] = np.nan
        result = np.full(per_base.shape, np.nan)
        for row, values in enumerate(per_base):
            covered = values[values > 0]
            if covered.size:
                result[row] = np.log2(values / np.median(covered))
    return result


def heat_map(table: CountTable) -> Figure:
    """Samples (down) x regions (across): ``relative_depth`` (blue for less, red for more), breadth as it is.

    Labels stay at a readable size: with more rows or columns than have room, every second, fifth, tenth and
    so on is named. Regions stay in the order of the table; contigs are parted by lines and named above.
    """
    with style_context(PLAIN_NAMES):
        layout = _layout(table)
        figure = Figure(figsize=(layout.width, layout.height), dpi=layout.dpi)
        axes = figure.add_axes(
            layout.box(layout.left, layout.bottom, layout.cells_width, layout.cells_height)
        )
        look = look_of(table)
        colours = matplotlib.colormaps[look.colours].with_extremes(bad=_NO_DATA)
        values = table.counts.T if table.column == "breadth" else relative_depth(table)
        values = np.clip(values, look.low, look.high)
        image = axes.imshow(
            values,
            cmap=colours,
            vmin=look.low,
            vmax=look.high,
            aspect="auto",
            interpolation="nearest" if layout.dpi * layout.cells_width >= values.shape[1] else "antialiased",
        )
        _label_cells(axes, table, layout)
        _mark_contigs(axes, table, layout)
        _draw_scale(figure, image, layout, look, no_data=bool(np.isnan(values).any()))
        _title(figure, table, layout, look)
    return figure


def look_of(table: CountTable) -> _Look:
    """How a table is shown; a column without a look of its own is taken relative to the sample's median."""
    other = _Look(table.column, f"log₂ of {table.column} / sample's median", *_RELATIVE)
    return _LOOKS.get(table.column, other)


def write_heat_map(table: CountTable, path: Path) -> None:
    """Write the heat map of a region table as PNG; the same table gives the same bytes."""
    save(lambda: heat_map(table), path)


def _layout(table: CountTable) -> _Layout:
    shape = (len(table.regions), len(table.samples))
    roomy, tight = (0.30, 0.34), (0.125, 0.125)
    sizes = []
    for count, most, wide, narrow in zip(shape, MAX_INCHES, roomy, tight, strict=True):
        sizes.append(min(count * max(narrow, min(wide, 9 / count)), most))
    cells_width, cells_height = max(sizes[0], 3.2), max(sizes[1], 0.7)
    names = max(len(sample) for sample in table.samples)
    labels = max(len(region.label) for region in table.regions)
    letter = 0.58 * LABEL_POINTS * POINT_INCH
    return _Layout(cells_width, cells_height, 0.45 + letter * min(names, 60), 0.45 + letter * min(labels, 60))


def _thinned(count: int, inches: float) -> tuple[npt.NDArray[np.int64], float]:
    """Which of ``count`` cells over ``inches`` have a label (all, or every 2nd, 5th, ...), and its points."""
    room = inches / count / POINT_INCH / 1.25
    steps = (base * 10**power for power in range(9) for base in (1, 2, 5))
    step = next(step for step in steps if room * step >= _SMALL_POINTS)
    return np.arange(0, count, step), min(LABEL_POINTS, room * step)


def _label_cells(axes: Axes, table: CountTable, layout: _Layout) -> None:
    columns, points = _thinned(len(table.regions), layout.cells_width)
    names = [shortened(table.regions[column].label) for column in columns]
    axes.set_xticks(columns, names, rotation=90, fontsize=points)
    rows, points = _thinned(len(table.samples), layout.cells_height)
    axes.set_yticks(rows, [shortened(table.samples[row]) for row in rows], fontsize=points)
    axes.tick_params(length=2, width=0.5, color="0.4")
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, color="0.4")
    if len(table.samples) * 0.12 <= layout.cells_height:
        axes.hlines(np.arange(1, len(table.samples)) - 0.5, *axes.get_xlim(), color="white", linewidth=0.8)


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
        if len(contig) * 0.68 * (LABEL_POINTS + 1) * POINT_INCH <= count * inch:
            axes.annotate(
                contig,
                (at + count / 2 - 0.5, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=LABEL_POINTS + 1,
                color="0.25",
            )
        at += count


def _draw_scale(figure: Figure, image: AxesImage, layout: _Layout, look: _Look, *, no_data: bool) -> None:
    """The colour bar, of one size in every figure, with its unit and what the steps mean."""
    height = min(2.2, max(layout.cells_height, 1.3))
    top = layout.bottom + layout.cells_height
    scale = figure.add_axes(layout.box(layout.left + layout.cells_width + 0.25, top - height, 0.14, height))
    bar = figure.colorbar(image, cax=scale, extend="both" if look.low < 0 else "neither", extendfrac=0.04)
    bar.set_ticks(list(look.steps), labels=list(look.steps.values()))
    bar.ax.tick_params(labelsize=LABEL_POINTS, length=2, width=0.5)
    bar.outline.set_linewidth(0.5)
    bar.set_label(look.unit if height > 2 else look.unit.replace(" / ", "\n/ "), fontsize=LABEL_POINTS)
    if no_data:
        scale.annotate(
            "grey: no reads", (0, -0.16), xycoords="axes fraction", fontsize=LABEL_POINTS, color="0.35"
        )


def _title(figure: Figure, table: CountTable, layout: _Layout, look: _Look) -> None:
    samples, regions = len(table.samples), len(table.regions)
    about = f"{samples:,} sample{'s' * (samples != 1)} × {regions:,} region{'s' * (regions != 1)}"
    left, line = layout.left / layout.width, 1 / layout.height
    top = 1 - 0.14 * line
    figure.text(left, top, look.title, fontsize=11, weight="bold", va="top")
    figure.text(
        left,
        top - 0.24 * line,
        f"{about}; {look.note}",
        fontsize=8,
        color="0.3",
        va="top",
    )
