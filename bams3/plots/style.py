"""How all figures look, and how they are written.

A figure depends on the numbers alone: matplotlib's own defaults, its own font, no date in the file.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context as style_context

DPI, PRINT_DPI, MAX_PIXELS = 150, 300, 14_000_000
"""Dots per inch of figures for screens and for papers, fewer where one would have more pixels than this."""

LABEL_POINTS = 7.0
POINT_INCH = 1 / 72
BLUE, ORANGE, RED = "#437bb1", "#f0a04b", "#b1084c"

#: A name of a contig is no formula, though it may hold dollars. The names of shapes in an SVG are not random.
PLAIN_NAMES: list[str | Path | dict[str, Any]] = [
    "default",
    {"text.parse_math": False, "svg.hashsalt": "bams3"},
]

#: What each kind of file would say of its making, left out.
_UNSAID: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Creator": None, "Date": None}}


def dpi_of(width: float, height: float, most: float = DPI) -> float:
    """Dots per inch of a figure of this size in inches."""
    return min(most, float((MAX_PIXELS / (width * height)) ** 0.5))


def save(draw: Callable[[], Figure], path: Path, form: str = "png") -> None:
    """Draw a figure and write it as PNG or SVG; the same figure gives the same bytes."""
    with style_context(PLAIN_NAMES):
        draw().savefig(path, format=form, metadata=_UNSAID[form])


def write_figure(figure: Figure, path: Path, form: str) -> None:
    """Write a figure that is drawn already, as PNG or SVG."""
    save(lambda: figure, path, form)


def shortened(name: str) -> str:
    """The first 60 characters of a name at most."""
    return name if len(name) <= 60 else f"{name[:59]}…"


def printable(name: str) -> str:
    """A name with a replacement for bytes that are no UTF-8, which no font has."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def plain_axes(
    width: float, height: float, title: str, notes: Sequence[str], left: float = 0.75, head: float = 0.5
) -> Axes:
    """The axes of a new figure, under a title in bold and lines of notes.

    Parameters
    ----------
    width, height
        Of the axes, in inches.
    notes
        Empty ones take no room.
    left, head
        Room for names beside the axes, and above them without the notes.
    """
    notes = [note for note in notes if note]
    above, below = head + 0.17 * len(notes), 0.5
    all_width, all_height = left + width + 0.2, above + height + below
    figure = Figure(figsize=(all_width, all_height), dpi=dpi_of(all_width, all_height, PRINT_DPI))
    axes = figure.add_axes((left / all_width, below / all_height, width / all_width, height / all_height))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(linewidth=0.5, color="0.4")
    axes.tick_params(labelsize=LABEL_POINTS + 1, length=2.5, width=0.5, color="0.4")
    at = 0.15 / all_width
    figure.text(at, 1 - 0.12 / all_height, title, fontsize=11, weight="bold", va="top")
    for i, note in enumerate(notes):
        figure.text(at, 1 - (0.36 + 0.17 * i) / all_height, note, fontsize=8, color="0.35", va="top")
    return axes


def words_alone(title: str, notes: Sequence[str], words: str) -> Figure:
    """A figure that has nothing to draw, and says why."""
    axes = plain_axes(4.6, 0.6, title, notes)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=9, color="0.35")
    return figure_of(axes)


def figure_of(axes: Axes) -> Figure:
    """The figure that axes are in."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    return figure
