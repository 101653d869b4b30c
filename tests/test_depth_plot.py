"""The figure of bams3 coverage: what it shows and marks, that words have room, that bytes are the same."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib", reason="the figure needs the extra plots")

import matplotlib.image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from bams3.plots import MAX_PANELS, MAX_PIXELS, Panel, depth_figure, write_depth
from bams3.plots.depth import place_text, spread, unit_of
from bams3.plots.style import RED


def panel(means, name="chr1", start_bp=0, window_bp=1000):
    """A panel of windows of one size with these depths."""
    starts = start_bp + window_bp * np.arange(len(means))
    end_bp = start_bp + window_bp * len(means)
    return Panel(name, start_bp, end_bp, starts, starts + window_bp, np.array(means, float))


def filled(axes):
    """Depths and edges of the filled line."""
    fill = next(patch for patch in axes.patches if patch.get_fill())
    return fill.get_data().values.tolist(), fill.get_data().edges.tolist()


def lines_of(axes):
    """Depth and colour of the lines across a panel, and whether they are dashed."""
    across = [line for line in axes.lines if line.get_marker() == "None"]
    return [(line.get_ydata()[0], to_hex(line.get_color()), line.is_dashed()) for line in across]


def words(axes):
    """Name of a panel, what stands above it on the right, and what stands beside its lines."""
    return axes.get_title("left"), axes.get_title("right"), [text.get_text() for text in axes.texts]


def positions(axes):
    """Labels of the positions that are in view."""
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    return [label for place, label in ticks if low <= place <= high]


# ---- the figure ----


def test_each_panel_shows_its_windows_and_their_median():
    panels = [panel([1, 4, 2], "chr1"), panel([0, 0, 3, 5], "chr2:5,001-9,000", 5000)]
    first, second = depth_figure(panels, "Depth of x").axes
    assert filled(first) == ([1, 4, 2], [0.5, 1000.5, 2000.5, 3000.5])
    assert filled(second) == ([0, 0, 3, 5], [5000.5, 6000.5, 7000.5, 8000.5, 9000.5])
    assert words(first) == ("chr1", "mean of each 1 kb, highest 4 at 1,001 bp", ["median 2"])
    assert words(second) == ("chr2:5,001-9,000", "mean of each 1 kb, highest 5 at 8,001 bp", ["median 1.5"])
    assert [line[0] for line in lines_of(first) + lines_of(second)] == [2, 1.5]
    assert first.get_ylim() == second.get_ylim() == (0, 5.25)
    assert first.get_xlim() == (0, 3000.5)
    assert second.get_xlim() == (5000.5, 9000.5)


def test_windows_of_one_base_are_depths_and_not_means():
    axes = depth_figure([panel([7, 9], window_bp=1)], "x").axes[0]
    assert words(axes)[1] == "highest 9 at 2 bp"
    assert words(depth_figure([panel([0, 0])], "x").axes[0])[1] == "mean of each 1 kb, depth 0 everywhere"


def test_title_and_notes_stand_above():
    figure = depth_figure([panel([1])], "Depth of x", ["a note", "another"])
    assert [text.get_text() for text in figure.texts] == ["Depth of x", "a note", "another"]
    assert figure.texts[1].get_position()[1] > figure.texts[2].get_position()[1]
    assert depth_figure([], "x", ["No contig has mapped reads."]).axes == []


def test_thresholds_are_dashed_lines_with_their_depth():
    axes = depth_figure([panel([20, 40, 36])], "x", thresholds=(30, 10, 30)).axes[0]
    assert lines_of(axes)[1:] == [(10, RED, True), (30, RED, True)]
    assert words(axes)[2] == ["10", "30", "median 36"]


def test_the_axis_is_longer_for_a_threshold_unless_that_lies_far_above():
    axes = depth_figure([panel([20, 40])], "x", thresholds=(50, 1000)).axes[0]
    assert axes.get_ylim() == (0, 52.5)
    assert [line[0] for line in lines_of(axes)] == [30, 50]
    assert words(axes)[2] == ["median 30", "50", "1,000 ↑"]


def test_few_high_windows_are_cut_and_marked():
    means = np.full(1000, 30)
    means[[500, 501, 700]] = 3000, 5000, 300
    first, second = depth_figure([panel(means), panel(np.full(1000, 31))], "x").axes
    assert first.get_ylim() == second.get_ylim() == (0, 46.5)
    (marks,) = (line for line in first.lines if line.get_marker() == "^")
    assert marks.get_xdata().tolist() == [501_000.5, 700_500.5]
    assert set(marks.get_ydata()) == {46.5}
    assert words(first)[1] == "mean of each 1 kb, highest 5,000 at 501,001 bp, ▲ cut at 46.5"
    assert filled(first)[0] == means.tolist()
    assert "cut" not in words(second)[1]
    assert all(line.get_marker() != "^" for line in second.lines)


def test_what_is_a_little_higher_is_not_cut():
    means = np.full(1000, 30)
    means[3] = 60
    axes = depth_figure([panel(means)], "x").axes[0]
    assert axes.get_ylim() == (0, 63)
    assert "cut" not in words(axes)[1]


def test_a_short_contig_of_many_windows_does_not_flatten_the_long_ones():
    mitochondrion = panel(np.full(1000, 4000), "chrM", window_bp=16)
    genome, own = depth_figure([panel(np.full(900, 30), window_bp=250_000), mitochondrion], "x").axes
    assert genome.get_ylim() == (0, 45)
    assert words(own)[2] == ["median 4,000 ↑"]
    assert "cut at 45" in words(own)[1]


@pytest.mark.parametrize(
    ("start_bp", "n", "window_bp", "expected"),
    [
        (0, 1000, 64_000, ["0", "20 Mb", "40 Mb", "60 Mb"]),
        (0, 300, 5_000, ["0", "0.2 Mb", "1.0 Mb", "1.4 Mb"]),
        (999_999, 1000, 5, ["1.000 Mb", "1.002 Mb", "1.004 Mb"]),
        (0, 1000, 17, ["0", "5 kb", "10 kb", "15 kb"]),
        (2_000_000, 50, 1, ["2,000,020 bp", "2,000,040 bp"]),
        (99, 21, 1, ["100 bp", "110 bp", "120 bp"]),
    ],
)
def test_positions_have_units_that_tell_them_apart(start_bp, n, window_bp, expected):
    axes = depth_figure([panel(np.ones(n), start_bp=start_bp, window_bp=window_bp)], "x").axes[0]
    shown = [label.get_text() for label in positions(axes)]
    assert set(expected) <= set(shown)
    assert len(set(shown)) == len(shown) >= 3
    assert len({text.partition(" ")[2] for text in shown if text != "0"}) == 1


@given(places=st.lists(st.floats(0, 100), max_size=20).map(sorted), gap=st.sampled_from([1, 8, 30]))
def test_words_beside_lines_lie_apart_and_in_order(places, gap):
    moved = spread(places, gap, 100)
    gap = min(gap, 100 / max(len(places) - 1, 1))
    assert all(high - low >= gap - 1e-6 for low, high in pairwise(moved))
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in moved)
    if all(high - low >= gap for low, high in pairwise(places)):
        assert np.allclose(moved, places)


@pytest.mark.parametrize("n", [1, 4, 30, MAX_PANELS])
def test_all_words_lie_within_the_figure_and_panels_are_high_enough(n):
    high = panel(np.full(900, 1e6), f"SCAFFOLD_{'M' * 80}", 2_147_000_000, 100)
    figure = depth_figure([high] * n, "x" * 300, ["a note"], (1, 10, 100, 10**6, 10**9))
    renderer = FigureCanvasAgg(figure).get_renderer()  # one for all words: each takes as much as the picture

    def box_of(text):
        return text.get_window_extent(renderer)

    assert renderer.width * renderer.height <= MAX_PIXELS * 1.01
    for axes in figure.axes:
        boxes = [box_of(text) for text in [*axes.texts, *axes.get_yticklabels(), axes.yaxis.label]]
        places = [box_of(label) for label in positions(axes)]
        assert box_of(axes._left_title).x1 < box_of(axes._right_title).x0
        assert all(left.x1 < right.x0 for left, right in pairwise(places))
        assert min(box.x0 for box in boxes) >= 0
        assert max(box.x1 for box in [*boxes, *places]) <= renderer.width
        assert axes.get_position().height * renderer.height / figure.dpi >= 0.74
    for upper, lower in pairwise(figure.axes):
        assert box_of(lower._left_title).y1 < min(box_of(label).y0 for label in positions(upper))


def test_the_same_panels_give_the_same_bytes_whatever_the_settings(tmp_path, monkeypatch):
    panels = [panel([1, 4, 2], "a$_$b"), panel([5, 900, 3], "$\\frac")]
    write_depth(panels, "$x^$", ["note"], (3,), tmp_path / "a.png")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)
    write_depth(panels, "$x^$", ["note"], (3,), tmp_path / "b.png")
    png = (tmp_path / "a.png").read_bytes()
    assert png == (tmp_path / "b.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert b"tEXt" not in png
    assert np.ptp(matplotlib.image.imread(tmp_path / "a.png")) > 0


def test_of_a_long_name_both_ends_are_shown():
    name = f"{'scaffold_' * 9}:123,456,789-123,457,788"
    (shown, _, _) = words(depth_figure([panel([1], name)], "x").axes[0])
    assert shown == "scaffold_scaffo…:123,456,789-123,457,788"


def test_depths_have_three_digits_or_a_unit():
    depths = 0, 0.000456, 0.5, 31.94, 99.97, 100, 999.6, 9_999, 12_345, 999_449, 999_600, 2_147_483_647
    shown = [words(depth_figure([panel([depth] * 3)], "x").axes[0])[2][0] for depth in depths]
    assert [text.removeprefix("median ") for text in shown] == (
        "0 0.000456 0.5 31.9 100 100 1,000 9,999 12.3k 999k 1M 2.15G".split()
    )


def test_a_window_is_named_in_its_own_unit():
    names = [place_text(size, unit_of(size, size)) for size in (17, 100, 2_500, 64_000, 1_000_000, 2_200_000)]
    assert names == ["17 bp", "100 bp", "2.5 kb", "64 kb", "1 Mb", "2.2 Mb"]
