"""The figure of bams3 stats: what it shows, that words have room, that the same stats give the same bytes."""

import numpy as np
import pytest

from bams3.format import spec
from bams3.regions import ContigTable
from bams3.stats import FLAGSTAT, Stats

pytest.importorskip("matplotlib", reason="the figure needs the extra plots")

import matplotlib.image
from matplotlib.backends.backend_agg import FigureCanvasAgg

from bams3.plots import stats_figure, write_stats


def stats_with(names, mapped, unmapped=0, n_unplaced=0, n_failed=0):
    """Stats of contigs with these reads, and of failed ones on none of them."""
    totals = np.zeros((len(names) + 1, len(spec.TOTALS)), np.uint64)
    at = spec.TOTALS.index
    totals[:-1, at("records")] = np.asarray(mapped) + unmapped
    totals[:-1, at("mapped")] = mapped
    totals[-1, at("records")], totals[-1, at("failed_records")] = n_unplaced, n_failed
    return Stats.of(ContigTable(tuple(names), (1000,) * len(names)), totals)


def panels_of(stats):
    return stats_figure(stats, "sample").axes


def bars_of(axes):
    """Names, widths of both parts of the bars, and the words behind them."""
    first, second = ([bar.get_width() for bar in bars] for bars in axes.containers)
    names = [label.get_text() for label in axes.get_yticklabels()]
    return names, first, second, [text.get_text() for text in axes.texts]


def test_the_figure_shows_each_contig_and_each_category():
    categories, contigs = panels_of(stats_with(["chr1", "chr2"], [4, 1], [1, 0], n_unplaced=1, n_failed=1))
    names, mapped, unmapped, words = bars_of(contigs)
    assert (names, mapped, unmapped) == (["chr1", "chr2", "no contig"], [4, 1, 0], [1, 0, 2])
    assert words == ["5", "1", "2"]
    names, passed, failed, words = bars_of(categories)
    assert names == ["total", *[category.label for category in FLAGSTAT[1:]]]
    assert (passed, failed) == ([7, *[0] * 5, 5, *[0] * 9], [1, *[0] * 15])
    assert words == ["8  100.00%", *["0"] * 5, "5  62.50%", *["0"] * 9]


def test_of_many_contigs_those_with_most_reads_have_a_bar_each():
    mapped = np.zeros(9592)
    mapped[[5, 4000, 9591]] = 30, 10, 20
    names, widths, _, words = bars_of(panels_of(stats_with([f"c{i}" for i in range(9592)], mapped))[1])
    assert names == ["c5", "c4000", "c9591", "9,589 other contigs", "no contig"]
    assert widths == [30, 10, 20, 0, 0]
    everywhere = panels_of(stats_with([f"c{i}" for i in range(9592)], np.arange(9592), n_unplaced=4))[1]
    names, widths, _, words = bars_of(everywhere)
    assert len(names) == 41
    assert names[0] == "c9553"
    assert widths[-2] == widths[-3] == 9591
    assert words[-2:] == [f"{sum(range(9553)):,} (not to scale)", "4"]


def test_a_bar_that_is_not_to_scale_keeps_its_proportions():
    stats = stats_with([f"c{i}" for i in range(100)], np.full(100, 3), np.full(100, 1))
    _, mapped, unmapped, _ = bars_of(panels_of(stats)[1])
    assert (mapped[-2], unmapped[-2]) == (3, 1)


@pytest.mark.parametrize("n", [0, 1, 41, 9592])
@pytest.mark.parametrize("reads", [0, 10**10])
def test_all_words_of_the_figure_lie_within_it(n, reads):
    stats = stats_with([f"SCAFFOLD_{'M' * 12}{i}" for i in range(n)], np.full(n, reads), n_unplaced=3 * reads)
    figure = stats_figure(stats, "sample")
    width, height = figure.canvas.get_width_height()
    renderer = FigureCanvasAgg(figure).get_renderer()  # one for all words: each takes as much as the picture
    for axes in figure.axes:
        words = (*axes.texts, *axes.get_yticklabels(), axes.title)
        boxes = [text.get_window_extent(renderer) for text in words]
        assert min(box.x0 for box in boxes) >= 0
        assert max(box.x1 for box in boxes) <= width
        assert max(box.y1 for box in boxes) <= height
    assert height / figure.dpi < 14


def test_the_same_stats_give_the_same_figure_whatever_the_settings(tmp_path, monkeypatch):
    stats = stats_with(["chr1", "chr2"], [4, 1], [1, 0], n_unplaced=1, n_failed=1)
    write_stats(stats, "sample", tmp_path / "a.png")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)
    write_stats(stats, "sample", tmp_path / "b.png")
    png = (tmp_path / "a.png").read_bytes()
    assert png == (tmp_path / "b.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert b"tEXt" not in png
    assert np.ptp(matplotlib.image.imread(tmp_path / "a.png")) > 0


def test_a_name_with_dollars_is_no_formula(tmp_path):
    write_stats(stats_with(["a$_$b", "$\\frac"], np.array([1, 2])), "$x^$", tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000
