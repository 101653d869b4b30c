"""Figures of LD: what stands where, and what is refused."""

import numpy as np
import pytest
from commands import run
from ld_panels import stored, write_calls
from ld_twins import random_calls

pytest.importorskip("matplotlib", reason="the figures need the extra plots")

from matplotlib.collections import QuadMesh

from bams3.plots import decay_figure, triangle_figure
from bams3.plots import ld as plots


def mesh_of(figure):
    (mesh,) = (one for one in figure.axes[0].collections if isinstance(one, QuadMesh))
    return mesh


def words_of(figure):
    return " | ".join(text.get_text() for text in figure.texts)


def test_a_pair_stands_between_its_variants_and_as_high_as_they_are_apart():
    start_bp = np.array([1_000_000, 1_004_000, 1_010_000])
    values = np.array([[1, 0.25, 0.5], [0.25, 1, 0.75], [0.5, 0.75, 1]])
    figure = triangle_figure(values, start_bp, "r²", "chr1:1M-1.1M", ["a note"])
    mesh = mesh_of(figure)
    shown = mesh.get_array()
    assert shown[0, 2] == 0.5
    assert (shown.mask == np.tri(3, dtype=bool)).all()  # itself, and each pair the other way round
    corners = mesh.get_coordinates()[0:2, 2:4].reshape(4, 2)  # of the first and the last
    assert (corners.min(0) < [1.005, 10]).all()
    assert (corners.max(0) > [1.005, 10]).all()
    assert "LD of chr1:1M-1.1M | 3 variants | a note" in words_of(figure)


def test_many_variants_share_cells_that_show_their_mean(monkeypatch):
    monkeypatch.setattr(plots, "MOST_CELLS", 2)
    values = np.random.default_rng(1).random((5, 5))
    values[0, 4] = np.nan
    figure = triangle_figure(values, np.arange(5) * 100, "r²", "x", [])
    shown = mesh_of(figure).get_array()
    assert shown.shape == (2, 2)
    assert shown[0, 1] == pytest.approx(np.nanmean(values[:3, 3:]))
    assert "a cell is the mean of 3 x 3 pairs" in words_of(figure)


def test_decay_is_drawn_where_there_are_enough_pairs():
    low, high = np.array([0, 1000, 2000]), np.array([1000, 2000, 3000])
    figure = decay_figure(low, high, np.array([50, 9, 20]), np.array([0.5, 0.9, 0.1]), "x")
    (line,) = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[0.5, 0.5], [2.5, 0.1]]
    assert (
        "No step"
        in decay_figure(low, high, np.zeros(3, int), np.full(3, np.nan), "x").axes[0].texts[0].get_text()
    )


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ld-plot")
    calls = random_calls(np.random.default_rng(2), 30, 40)
    return stored(write_calls(folder, calls, ["chr1"] * 30, range(0, 30_000, 1000)))


def test_the_command_draws_a_region_and_the_decay(panel, tmp_path):
    for more in ((), ("--dprime",)):
        done = run("ld-plot", panel, "--region", "chr1", "-o", f"{tmp_path}/", *more)
        assert done.code == 0, done.err
    assert run("ld-decay", panel, "-o", tmp_path / "decay.tsv").code == 0
    assert run("ld-plot", tmp_path / "decay.tsv", "--format", "svg").code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"calls.ld.png", "calls.ld.svg", "decay.tsv", "decay.decay.svg"}
    assert (tmp_path / "calls.ld.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_refused(panel, tmp_path):
    assert run("ld-plot", panel).kind == "usage"
    assert run("ld-plot", panel, "--region", "chr9").kind == "unknown-contig"
    (tmp_path / "other.tsv").write_text("a\tb\n1\t2\n")
    assert run("ld-plot", tmp_path / "other.tsv").kind == "not-results"
    assert run("ld-plot", tmp_path / "none.tsv").kind == "no-such-file"
    assert [path.name for path in tmp_path.iterdir()] == ["other.tsv"]
