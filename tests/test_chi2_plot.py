"""bams3 chi2-plot: the files that it writes, what they show, the numbers behind them, what it refuses."""

import gzip
import re
import struct
import time
import xml.etree.ElementTree as ET

import commands
import numpy as np
import pytest
from scipy import stats

pytest.importorskip("matplotlib", reason="the figures need the extra plots")

import pyarrow as pa
from chi2_tables import COLUMNS, table_of, write_tsv
from matplotlib.colors import to_hex
from pyarrow import parquet

from bams3.chi2.reading import Results, read_results
from bams3.chi2.summary import genomic_control_lambda
from bams3.chi2.twotier import METHODS
from bams3.plots.chi2 import MAX_BATCHES, batches_figure, histogram_figure
from bams3.plots.qq import CELLS, EXTREMES, _points, drawn_points, qq_figure
from bams3.plots.quantiles import band_ranks, order_quantiles
from bams3.plots.style import BLUE, RED

FILES = [f"{what}.{form}" for what in ("batches", "pvalues", "qq") for form in ("png", "svg")]


def results_of(pvalue, method="standard", qvalue=None, worst=0, batches=("A", "B"), n_simulations=0):
    """Results of probesets in two batches or more; what is given once is the same for all."""
    pvalue = np.asarray(pvalue, float)
    method = np.broadcast_to(method, pvalue.shape)
    return Results(
        pvalue,
        pvalue if qvalue is None else np.broadcast_to(np.asarray(qvalue, float), pvalue.shape),
        np.array([METHODS.index(name) for name in method], np.uint8),
        np.full(pvalue.shape, len(batches), np.int64),
        np.where(method == "monte_carlo", n_simulations, 0),
        np.broadcast_to(np.asarray(worst, np.int32), pvalue.shape),
        list(batches),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results as TSV and as Parquet, and the figures of the TSV."""
    folder = tmp_path_factory.mktemp("chi2")
    write_tsv(table_of(2000), folder / "study.tsv")
    parquet.write_table(table_of(2000), folder / "study.parquet")
    assert commands.run("chi2-plot", folder / "study.tsv", "-o", f"{folder}/plots/").code == 0
    return folder


def words_of(figure):
    """All words of a figure."""
    return [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))]


def legend_of(figure):
    legend = figure.axes[0].get_legend()
    return [legend.get_title().get_text(), *(text.get_text() for text in legend.get_texts())]


# ---- files ----


def test_a_user_gets_three_figures_as_png_and_svg_named_as_the_results_are(folder):
    written = sorted(path.name for path in (folder / "plots").iterdir())
    assert written == [f"study.{name}" for name in FILES]
    for path in (folder / "plots").iterdir():
        data = path.read_bytes()
        if path.suffix == ".png":
            assert data.startswith(b"\x89PNG")
            width, height = struct.unpack(">II", data[16:24])
            assert 1400 < width < 3000
            assert 600 < height < 3000
            assert b"tEXt" not in data
        else:
            assert ET.fromstring(data).tag == "{http://www.w3.org/2000/svg}svg"
            assert b"<dc:date>" not in data
            assert len(data) < 500_000


def test_tsv_gzip_and_parquet_give_the_same_bytes_under_any_settings(folder, tmp_path, monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)
    (tmp_path / "study.tsv.gz").write_bytes(gzip.compress((folder / "study.tsv").read_bytes()))
    for source, prefix in ((folder / "study.parquet", "p"), (tmp_path / "study.tsv.gz", "g")):
        out = tmp_path / prefix
        out.mkdir()
        assert commands.run("chi2-plot", source, "-o", out) == commands.Done(0, "", "")
        for name in FILES:
            assert (out / f"study.{name}").read_bytes() == (folder / f"plots/study.{name}").read_bytes(), name


def test_prefix_and_formats_can_be_chosen(folder, tmp_path):
    source = tmp_path / "some.results.tsv"
    source.write_bytes((folder / "study.tsv").read_bytes())
    assert commands.run("chi2-plot", source, "--format", "svg").code == 0
    assert commands.run("chi2-plot", source, "-o", tmp_path / "x", "--format", "png").code == 0
    names = {path.name for path in tmp_path.iterdir()} - {source.name}
    assert names == {name for name in (f"some.results.{n}" for n in FILES) if name.endswith("svg")} | {
        name for name in (f"x.{n}" for n in FILES) if name.endswith("png")
    }


@pytest.mark.engine
def test_figures_in_s3_are_read_and_written(folder, s3_bucket):
    source = s3_bucket.put("study.tsv", (folder / "study.tsv").read_bytes())
    assert commands.run("chi2-plot", source).kind == "usage"
    assert commands.run("chi2-plot", source, "-o", s3_bucket.address("plots/")).code == 0
    assert s3_bucket.listed("plots/") == [f"plots/study.{name}" for name in FILES]


def test_help_and_the_version_import_no_matplotlib():
    import subprocess
    import sys

    for arguments in (["chi2-plot", "--help"], ["--version"]):
        program = [sys.executable, "-X", "importtime", "-m", "bams3", *arguments]
        done = subprocess.run(program, capture_output=True, text=True, check=True)
        assert not re.search(r"\b(matplotlib|pyarrow|scipy)\b", done.stderr)


def test_bad_options_are_told(folder):
    assert commands.run("chi2-plot", folder / "study.tsv", "--format", "pdf").kind == "usage"
    assert commands.run("chi2-plot", folder / "study.tsv", "--max-q", "0").kind == "usage"
    assert commands.run("chi2-plot", folder / "study.tsv", "--max-q", "nan").kind == "usage"


def test_a_table_without_rows_gives_figures_that_say_so(tmp_path):
    (tmp_path / "x.tsv").write_text("\t".join(COLUMNS) + "\n")
    assert commands.run("chi2-plot", tmp_path / "x.tsv").code == 0
    assert len(list(tmp_path.glob("x.*.svg"))) == 3
    assert "No p-values: the table has no rows." in words_of(qq_figure(read_results(tmp_path / "x.tsv"), "x"))


# ---- numbers ----


@pytest.mark.parametrize("n", [1, 2, 5, 100, 10_001])
@pytest.mark.parametrize("power", [0.3, 1, 40])
def test_lambda_is_the_median_of_chi_square_quantiles(n, power):
    pvalues = np.random.default_rng(n).uniform(size=n) ** power
    expected = np.median(stats.chi2.isf(pvalues, 1)) / stats.chi2.isf(0.5, 1)
    assert genomic_control_lambda(pvalues) == pytest.approx(expected, rel=1e-9)


def test_lambda_of_uniform_p_values_is_1_and_extremes_have_one():
    assert genomic_control_lambda((np.arange(1000) + 0.5) / 1000) == pytest.approx(1, abs=1e-5)
    assert genomic_control_lambda(np.ones(3)) == 0
    assert np.isfinite(genomic_control_lambda(np.full(3, 5e-324)))


@pytest.mark.parametrize("n", [1, 2, 7, 100, 19_999, 1_000_000])
@pytest.mark.parametrize("share", [0.025, 0.5, 0.975])
def test_the_band_is_that_of_beta(n, share):
    ranks = band_ranks(n)
    assert (ranks[0], ranks[-1], np.all(np.diff(ranks) > 0)) == (1, n, True)
    np.testing.assert_allclose(
        order_quantiles(ranks, n, share), stats.beta.ppf(share, ranks, n + 1 - ranks), rtol=1e-7
    )


# ---- QQ plot ----


def test_thinning_keeps_the_extremes_and_looks_the_same():
    chance = np.random.default_rng(3)
    pvalues = chance.uniform(size=300_000)
    method = np.zeros(pvalues.size, np.uint8)
    method[:40] = METHODS.index("exact")
    points = _points(pvalues, method, 7.0)
    drawn = drawn_points(points)
    assert drawn[:EXTREMES].tolist() == list(range(EXTREMES))
    assert drawn.size < 3 * CELLS + EXTREMES
    assert (points.method[drawn] == METHODS.index("exact")).sum() == 40
    for values, end in zip((points.expected, points.observed), points.ends, strict=True):
        assert (
            np.diff(values[drawn[EXTREMES - 1 :]]).min() >= -1.5 * end / CELLS
        )  # no hole that was not there


def test_the_qq_plot_says_lambda_and_how_many_probesets():
    figure = qq_figure(results_of([0.2, 0.4, 0.6, np.nan], ["standard"] * 3 + ["skipped"]), "study")
    control = stats.chi2.isf(0.4, 1) / stats.chi2.isf(0.5, 1)
    assert legend_of(figure)[0] == f"λ = {control:.3f}   (3 probesets)"
    assert "study: 3 probesets tested, 1 skipped" in words_of(figure)
    places = np.vstack([dots.get_offsets() for dots in figure.axes[0].collections[1:]])
    expected = [-np.log10(np.array([1, 2, 3]) / 4), -np.log10([0.2, 0.4, 0.6])]
    np.testing.assert_allclose(places[::-1], np.transpose(expected))


def test_a_few_p_values_of_1e_250_do_not_flatten_the_others():
    uniform = (np.arange(2000) + 0.5) / 2000
    figure = qq_figure(results_of([1e-250, 1e-200, 0, *uniform]), "x")
    assert figure.axes[0].get_ylim()[1] < 12
    assert "▲ 3 beyond the axis, down to p = 10⁻³²³" in words_of(figure)
    assert "1 p-value of 0 drawn as 5 × 10⁻³²⁴" in words_of(figure)
    many = qq_figure(results_of([*([1e-250] * 100), *uniform]), "x")
    assert 250 < many.axes[0].get_ylim()[1] < 270
    assert not any("▲" in word for word in words_of(many))


def test_the_floor_of_monte_carlo_p_values_is_marked_where_many_lie_on_it():
    uniform = (np.arange(900) + 0.5) / 900
    rough = (np.floor(uniform * 99) + 1) / 100
    on_floor = results_of([*rough, *([0.01] * 20)], "monte_carlo", n_simulations=99)
    count = int((on_floor.pvalue <= 0.01).sum())
    assert f"smallest Monte Carlo p, 1/100 ({count})" in legend_of(qq_figure(on_floor, "x"))
    off_floor = results_of(uniform, "monte_carlo", n_simulations=1_000_000)
    assert not any("smallest" in word for word in legend_of(qq_figure(off_floor, "x")))


@pytest.mark.parametrize("power", [0.2, 1, 8, 900])
def test_the_legend_covers_no_points(power):
    uniform = (np.arange(500) + 0.5) / 500
    figure = qq_figure(results_of(np.maximum(uniform**power, 1e-320)), "x")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    box = axes.get_legend().get_window_extent()
    places = axes.transData.transform(np.vstack([dots.get_offsets() for dots in axes.collections[1:]]))
    assert not any(box.contains(x, y) for x, y in places)


# ---- histogram and batches ----


def test_the_histogram_counts_every_p_value_by_its_method():
    pvalues = [0, 0.001, 0.02, 0.5, 1, np.nan]
    figure = histogram_figure(results_of(pvalues, ["exact"] + ["standard"] * 4 + ["skipped"]), "x")
    standard, exact = figure.axes[0].containers
    counts = np.array([[bar.get_height() for bar in bars] for bars in (standard, exact)])
    assert counts.shape == (2, 50)
    assert np.argwhere(counts).tolist() == [[0, 0], [0, 1], [0, 25], [0, 49], [1, 0]]
    assert exact[0].get_y() == 1
    assert {"standard χ² (4)", "exact (1)", "uniform: 0.1"} <= set(words_of(figure))


def bars_of(figure):
    """Name, length and colour of every bar, and the words behind it."""
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    bars = [(bar.get_width(), to_hex(bar.get_facecolor())) for bar in axes.patches]
    return names, bars, [text.get_text() for text in axes.texts]


def test_batches_are_ranked_and_one_that_stands_out_is_red():
    worst = [2] * 50 + [0] * 5 + [1] * 5 + [3] * 40
    qvalue = [0.01] * 60 + [0.05] * 40
    results = results_of(np.full(100, 0.001), qvalue=qvalue, worst=worst, batches=("B", "A", "bad", "none"))
    names, bars, words = bars_of(batches_figure(results, "x", 0.05))
    assert names == ["bad", "A", "B"]
    assert bars == [(50, RED), (5, BLUE), (5, BLUE)]
    assert words == ["50  83.3 %", "5  8.3 %", "5  8.3 %"]
    figure = batches_figure(results, "x", 0.05)
    assert figure.axes[0].lines[0].get_xdata()[0] == 15
    assert "60 of them with q < 0.05; the other batch: none" in words_of(figure)
    assert bars_of(batches_figure(results, "x", 0.06))[0] == ["bad", "none", "A", "B"]


def test_of_many_batches_the_first_thirty_have_bars_whose_words_have_room():
    names = tuple(f"{'W' * 70}{i}" for i in range(40))
    results = results_of(np.full(400, 1e-9), worst=np.arange(400) % 40, batches=names)
    figure = batches_figure(results, "x", 0.05)
    found, bars, _ = bars_of(figure)
    assert len(found) == len(bars) == MAX_BATCHES
    assert len(set(found)) == MAX_BATCHES
    assert {colour for _, colour in bars} == {BLUE}
    assert any("the 10 other batches: 100 (25.0 %)" in word for word in words_of(figure))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in (*axes.texts, *axes.get_yticklabels())]
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_without_a_small_q_the_figure_of_batches_says_so():
    assert "No probeset has q < 0.05 (the smallest is 0.2)." in words_of(
        batches_figure(results_of([0.2, 0.9]), "x", 0.05)
    )
    skipped = results_of([np.nan, np.nan], "skipped")
    for figure in (
        batches_figure(skipped, "x", 0.05),
        histogram_figure(skipped, "x"),
        qq_figure(skipped, "x"),
    ):
        assert "No p-values: all 2 probesets were skipped." in words_of(figure)


def test_without_q_values_the_figure_of_batches_says_that_it_is_of_a_slice():
    figure = batches_figure(results_of([1e-9, 0.2], qvalue=np.nan), "x", 0.05)
    assert "No q-values: these are results of a slice, for bams3 chi2-merge." in words_of(figure)


def test_names_with_dollars_are_no_formula(tmp_path):
    table = table_of(400)
    place = table.schema.get_field_index("worst_batch")
    write_tsv(table.set_column(place, "worst_batch", pa.array(["$\\frac$"] * 400)), tmp_path / "$x^$.tsv")
    assert commands.run("chi2-plot", tmp_path / "$x^$.tsv").code == 0


@pytest.mark.slow
def test_a_million_probesets_give_a_small_svg_in_seconds(tmp_path):
    parquet.write_table(table_of(1_000_000), tmp_path / "x.parquet")
    write_tsv(table_of(1_000_000), tmp_path / "x.tsv")
    start = time.perf_counter()
    assert read_results(tmp_path / "x.tsv").pvalue.size == 1_000_000
    assert time.perf_counter() - start < 10  # 1.5 s by itself
    assert commands.run("chi2-plot", tmp_path / "x.parquet").code == 0
    assert max(path.stat().st_size for path in tmp_path.glob("*.svg")) < 1_000_000
