"""The heat map: what it shows, how large it is, that the same numbers give the same bytes."""

import ast
from pathlib import Path

import numpy as np
import pytest

from bams3.tables import CountedRegion, CountTable

pytest.importorskip("matplotlib", reason="the heat map needs the extra plots")

from bams3.plots import LIMIT_LOG2, MAX_INCHES, MAX_PIXELS, heat_map, relative_depth, write_heat_map

PACKAGE = Path(__file__).parent.parent / "bams3"


def table_of(counts, length_bp=1000, contig="chr{}"):
    """A count table of regions x samples, a third of the regions on each of three contigs."""
    counts = np.asarray(counts, dtype=np.int64)
    n_regions, n_samples = counts.shape
    regions = tuple(
        CountedRegion(contig.format(1 + 3 * i // n_regions), i * length_bp, (i + 1) * length_bp, f"region{i}")
        for i in range(n_regions)
    )
    return CountTable(regions, tuple(f"sample{i}" for i in range(n_samples)), counts)


def drawn(figure):
    """The array on the figure and the labels of its rows and columns."""
    axes = figure.axes[0]
    rows, columns = (
        [label.get_text() for label in axis.get_ticklabels()] for axis in (axes.yaxis, axes.xaxis)
    )
    return axes.images[0].get_array(), rows, columns


def test_depth_is_relative_to_the_samples_own_median():
    counts = np.array([[100, 10], [100, 10], [50, 20], [100, 0], [200, 10]])
    result = relative_depth(table_of(counts))
    np.testing.assert_array_equal(result, [[0, 0, -1, 0, 1], [0, 0, 1, -np.inf, 0]])


def test_depth_is_per_base():
    regions = (
        CountedRegion("c", 0, 100, "a"),
        CountedRegion("c", 0, 200, "b"),
        CountedRegion("c", 0, 400, "c"),
    )
    result = relative_depth(CountTable(regions, ("A",), np.array([[10], [20], [40]])))
    np.testing.assert_array_equal(result, [[0, 0, 0]])


def test_a_sample_that_covers_few_regions_keeps_its_scale():
    result = relative_depth(table_of([[0], [0], [0], [8], [8], [4]]))
    np.testing.assert_array_equal(result, [[-np.inf, -np.inf, -np.inf, 0, 0, -1]])


def test_a_sample_without_reads_and_a_region_of_no_length_have_no_depth():
    assert np.isnan(relative_depth(table_of([[0], [0]]))).all()
    regions = (CountedRegion("c", 5, 5, "a"), CountedRegion("c", 0, 10, "b"))
    np.testing.assert_array_equal(
        relative_depth(CountTable(regions, ("A",), np.array([[3], [5]]))), [[np.nan, 0]]
    )


def test_the_drawing_shows_samples_down_and_regions_across():
    counts = np.full((6, 3), 100)
    counts[2, 1], counts[4, 2] = 50, 0
    values, rows, columns = drawn(heat_map(table_of(counts)))
    assert values.shape == (3, 6)
    assert values[1, 2] == -1
    assert values[2, 4] == -LIMIT_LOG2
    assert rows == ["sample0", "sample1", "sample2"]
    assert columns == [f"region{i}" for i in range(6)]


def test_a_sample_without_reads_is_grey_and_said_to_be():
    figure = heat_map(table_of([[0, 5], [0, 5]]))
    values, _, _ = drawn(figure)
    assert values.mask.tolist() == [[True, True], [False, False]]
    assert any("no reads" in text.get_text() for text in figure.axes[1].texts)


def test_the_scale_is_centred_and_has_its_unit():
    figure = heat_map(table_of([[5, 6], [5, 6]]))
    image = figure.axes[0].images[0]
    assert image.get_clim() == (-LIMIT_LOG2, LIMIT_LOG2)
    red, green, blue, _ = image.get_cmap()(0.5)
    assert min(red, green, blue) > 0.95
    assert "log" in figure.axes[1].get_ylabel()
    assert figure.texts[0].get_text() == "Reads per region"


def test_mean_depth_is_relative_without_the_length_and_breadth_is_as_it_is():
    depths = CountTable(table_of([[1], [1], [1]]).regions, ("A",), np.array([[8.0], [4.0], [8.0]]), "mean")
    figure = heat_map(depths)
    assert drawn(figure)[0].tolist() == [[0, -1, 0]]
    assert (figure.texts[0].get_text(), "depth" in figure.axes[1].get_ylabel()) == ("Mean depth", True)
    shares = CountTable(depths.regions, ("A",), np.array([[1.0], [0.25], [0.0]]), "breadth")
    figure = heat_map(shares)
    assert drawn(figure)[0].tolist() == [[1, 0.25, 0]]
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    assert figure.texts[0].get_text() == "Breadth"


def test_dollars_in_a_name_are_no_formula():
    region = CountedRegion("c", 0, 10, "$x^2$ and $")
    write = heat_map(CountTable((region,), ("A",), np.array([[4]])))
    assert not any(label.get_parse_math() for label in write.axes[0].xaxis.get_ticklabels())


@pytest.mark.parametrize(("n_regions", "n_samples"), [(1, 1), (3, 2), (60, 4), (20, 500), (3000, 7)])
def test_a_figure_has_a_sane_size_and_labels_that_do_not_collide(n_regions, n_samples):
    figure = heat_map(table_of(np.full((n_regions, n_samples), 9)))
    width, height = figure.get_size_inches()
    assert 4 < width < MAX_INCHES[0] + 4
    assert 2 < height < MAX_INCHES[1] + 4
    assert width * height * figure.dpi**2 <= MAX_PIXELS * 1.01
    _, rows, columns = drawn(figure)
    axes = figure.axes[0]
    room = axes.get_position()
    for axis, labels, inches in (
        (axes.yaxis, rows, height * room.height),
        (axes.xaxis, columns, width * room.width),
    ):
        points = axis.get_ticklabels()[0].get_fontsize()
        assert 4.5 <= points <= 7
        assert len(labels) * points / 72 < inches
    assert n_samples > 500 or len(rows) == n_samples


def test_lines_between_contigs_give_way_to_cells():
    few = heat_map(table_of(np.full((30, 2), 9)))
    assert len(few.axes[0].lines) == 2
    regions = tuple(CountedRegion(f"scaffold{i}", 0, 100, "") for i in range(2000))
    many = heat_map(CountTable(regions, ("A",), np.full((2000, 1), 9)))
    assert not many.axes[0].lines


def test_a_long_name_is_cut():
    region = CountedRegion("c", 0, 10, "x" * 500)
    _, _, (label,) = drawn(heat_map(CountTable((region,), ("A",), np.array([[4]]))))
    assert len(label) == 60


def test_the_same_table_gives_the_same_bytes(tmp_path, monkeypatch):
    table = table_of(np.arange(1, 41).reshape(20, 2))
    write_heat_map(table, tmp_path / "a.png")
    monkeypatch.setitem(__import__("matplotlib").rcParams, "font.size", 30)
    write_heat_map(table, tmp_path / "b.png")
    png = (tmp_path / "a.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert png == (tmp_path / "b.png").read_bytes()
    assert b"Software" not in png
    assert b"tEXt" not in png


def test_matplotlib_is_imported_in_one_package_alone():
    importers = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "matplotlib" for name in names):
                importers.add(path.parent.relative_to(PACKAGE).as_posix())
    assert importers == {"plots"}
