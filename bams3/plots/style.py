"""How all figures look, and how they are written.

A figure depends on the numbers alone: matplotlib's own defaults, its own font, no date in the file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.style import context as style_context

DPI, MAX_PIXELS = 150, 14_000_000
"""Dots per inch, fewer where the figure would have more pixels than this."""

LABEL_POINTS = 7.0
POINT_INCH = 1 / 72
BLUE, ORANGE, RED = "#437bb1", "#f0a04b", "#b1084c"

#: A name of a contig is no formula, though it may hold dollars.
PLAIN_NAMES: list[str | Path | dict[str, Any]] = ["default", {"text.parse_math": False}]


def dpi_of(width: float, height: float) -> float:
    """Dots per inch of a figure of this size in inches."""
    return min(DPI, float((MAX_PIXELS / (width * height)) ** 0.5))


def save(draw: Callable[[], Figure], path: Path) -> None:
    """Draw a figure and write it as PNG; the same figure gives the same bytes."""
    with style_context(PLAIN_NAMES):
        draw().savefig(path, format="png", metadata={"Software": None})


def shortened(name: str) -> str:
    """The first 60 characters of a name at most."""
    return name if len(name) <= 60 else f"{name[:59]}…"


def printable(name: str) -> str:
    """A name with a replacement for bytes that are no UTF-8, which no font has."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
