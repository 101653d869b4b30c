"""The table of chi2-batch, read again: values, forms of files, and what is refused with which words."""

import gzip

import commands
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the command that reads them draws them")

import pyarrow as pa
from chi2_tables import COLUMNS, table_of, write_tsv
from pyarrow import parquet

from bams3.chi2.reading import read_results
from bams3.chi2.twotier import METHODS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results as TSV and as Parquet."""
    folder = tmp_path_factory.mktemp("chi2")
    write_tsv(table_of(2000), folder / "study.tsv")
    parquet.write_table(table_of(2000), folder / "study.parquet")
    return folder


# ---- what is refused ----


def test_what_is_no_table_of_results_is_one_line_with_a_hint(folder, tmp_path):
    (tmp_path / "folder").mkdir()
    text = (folder / "study.tsv").read_text()
    damaged = (folder / "study.parquet").read_bytes()[:-200]
    files = {
        "empty.tsv": ("", "no columns pvalue, qvalue"),
        "other.tsv": (text.replace("\tqvalue\t", "\tq\t", 1), "it has no column qvalue"),
        "binary.tsv": (b"\x00\xff" * 999, "it has no columns"),
        "short.parquet": (damaged, "a damaged Parquet file"),
        "short.tsv.gz": (gzip.compress(text.encode())[:-50], "cannot be read"),
    }
    for name, (content, why) in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        done = commands.run("chi2-plot", tmp_path / name)
        assert (done.kind, why in done.err) == ("not-results", True), done.err
        assert "hint: make it with bams3 chi2-batch" in done.err
    assert commands.run("chi2-plot", tmp_path / "nothing").kind == "no-such-file"
    assert commands.run("chi2-plot", tmp_path / "folder").kind == "not-results"
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("column", "cell", "why"),
    [
        ("pvalue", "abc", "'abc' is not a number"),
        ("pvalue", "1.5", "1.5, not a number from 0 to 1"),
        ("pvalue", "-0.1", "-0.1, not a number from 0 to 1"),
        ("pvalue", "", "an empty cell, not a number from 0 to 1"),
        ("pvalue", "nan", "nan, not a number from 0 to 1"),
        ("qvalue", "2", "2, not a number from 0 to 1"),
        ("method", "magic", "'magic', not one of standard, monte_carlo, exact, skipped"),
        ("method", "", "an empty cell, not one of"),
        ("n_batches", "", "an empty cell, not a number of batches"),
        ("n_simulations", "inf", "inf, not a number of simulations"),
        ("worst_batch", "a\tb", "17 cells under a header of 16"),
    ],
)
def test_a_bad_cell_is_told_by_line_and_column(tmp_path, column, cell, why):
    table = table_of(50).filter(pa.compute.equal(table_of(50)["method"], "standard"))
    lines = write_tsv(table, tmp_path / "x.tsv").read_text().splitlines()
    cells = lines[7].split("\t")
    cells[COLUMNS.index(column)] = cell
    lines[7] = "\t".join(cells)
    (tmp_path / "x.tsv").write_text("\n".join(lines) + "\n")
    done = commands.run("chi2-plot", tmp_path / "x.tsv")
    assert done.kind == "not-results"
    assert "x.tsv line 8" in done.err
    assert why in done.err
    assert "\t" in cell or f"line 8 column {column}: " in done.err


def test_a_bad_value_of_parquet_is_told_by_row(tmp_path):
    table = table_of(20)
    place = table.schema.get_field_index("method")
    bad = table.set_column(place, "method", pa.array(["exact"] * 19 + ["best"]))
    parquet.write_table(bad.set_column(2, "pvalue", pa.array(np.full(20, 0.5))), tmp_path / "x.parquet")
    done = commands.run("chi2-plot", tmp_path / "x.parquet")
    assert (done.kind, "row 20 column method: 'best'" in done.err) == ("not-results", True)
    parquet.write_table(table.set_column(2, "pvalue", pa.array(["x"] * 20)), tmp_path / "x.parquet")
    done = commands.run("chi2-plot", tmp_path / "x.parquet")
    assert (done.kind, "column pvalue holds string, not double" in done.err) == ("not-results", True)


# ---- results ----


def test_results_are_read_as_they_are_written(folder):
    for name in ("study.tsv", "study.parquet"):
        found, told = read_results(folder / name), table_of(2000).to_pydict()
        assert [METHODS[code] for code in found.method] == told["method"]
        for column in ("pvalue", "qvalue"):
            expected = [np.nan if value is None else value for value in told[column]]
            np.testing.assert_array_equal(getattr(found, column), expected)
        assert [b or None for b in found.n_simulations.tolist()] == told["n_simulations"]
        assert [found.batches[i] if i >= 0 else None for i in found.worst_batch] == told["worst_batch"]
        assert found.tested.sum() == len(told["method"]) - told["method"].count("skipped")


def test_lines_may_end_as_on_windows_and_batches_have_quotes(tmp_path):
    lines = ["\t".join(COLUMNS), "a\t1\t0.5\t2\texact\t3\t9\t\t\t\t0.6\t0.1\tplate \"x\", 'y'\t1\t\t"]
    (tmp_path / "x.tsv").write_bytes("\r\n".join([*lines, "", ""]).encode())
    found = read_results(tmp_path / "x.tsv")
    assert (found.batches, found.worst_batch.tolist()) == (["plate \"x\", 'y'"], [0])
