"""The benchmark compares like with like, and pages show what the committed rows say."""

import pytest
from bench import chi2, chi2_counts, chi2_peers, report
from bench.harness import ROOT, NotTheSameWorkError, ratio, read_rows

from bams3.chi2 import Options, run_two_tier_chi2_test
from bams3.chi2.twotier import describe
from bams3.genotype_counts import read_genotype_counts

ROW = {"task": "count", "tool": "bams3", "seconds": [1.0, 3.0, 2.0], "records": 7, "sha256": ""}


def test_a_ratio_is_that_of_the_medians():
    assert ratio({**ROW, "seconds": [4.0, 4.0, 9.0]}, ROW) == 0.5


@pytest.mark.parametrize("other", [{"task": "read"}, {"records": 8}, {"sha256": "ab"}])
def test_there_is_no_ratio_of_different_work(other):
    with pytest.raises(NotTheSameWorkError, match="not the same work"):
        ratio({**ROW, **other, "tool": "samtools"}, ROW)


@pytest.mark.parametrize(
    ("page", "kind", "render"), [(page, *table) for page in report.PAGES for table in report.PAGES[page]]
)
def test_a_page_shows_the_newest_rows(page, kind, render):
    path = report.newest(kind)
    table = render(read_rows(path)) if path else ""  # no table without rows
    text = (ROOT / page).read_text()
    assert report.with_table(text, kind, table) == text


def test_the_asked_share_of_made_up_counts_is_rare(tmp_path):
    path = tmp_path / "counts.tsv"
    chi2_counts.write_made_up(path, 200, 100, 0.6, 1)
    blocks = list(read_genotype_counts(path))
    assert all((block.counts.sum(axis=1) == chi2_counts.SAMPLES).all() for block in blocks)
    assert sum((describe(block, Options())["least_expected"] < 5).sum() for block in blocks) == 120


@pytest.mark.parametrize("way", [*chi2_peers.WAYS])
def test_peers_find_our_p_values(tmp_path, way):
    path = tmp_path / "counts.tsv"
    is_tail = way == "vectorised"
    chi2_counts.write_made_up(path, 3, 30, 0.0 if is_tail else 1.0, 1)
    found = run_two_tier_chi2_test(path, adaptive=False, n_simulations=999, n_workers=1).to_pylist()
    mine = {row["probeset_id"]: (row["chi2_statistic"], row["pvalue"], row["n_simulations"]) for row in found}
    theirs = {name: (statistic, p, 300) for name, statistic, p in chi2_peers.WAYS[way](path, 300)}
    assert chi2.errors_apart(mine, theirs) <= chi2.MOST_ERRORS


@pytest.mark.parametrize(
    "theirs",
    [{}, {"a": (5.1, 0.5, 999)}, {"a": (5.0, 0.9, 999)}, {"b": (5.0, 0.5, 999)}],
    ids=["missing", "statistic", "p-value", "name"],
)
def test_other_p_values_are_told_from_ours(theirs):
    assert chi2.errors_apart({"a": (5.0, 0.5, 999)}, theirs) > chi2.MOST_ERRORS


def test_the_table_has_no_ratio_where_p_values_differ():
    about = {"of": "peers", "task": "t", "form": "", "bams3": "1", "numpy": "2", "scipy": "3"}
    about |= {"date": "", "cores": 2, "cpu": "", "python": "", "commit": ""}
    ours = about | {"tool": "bams3", "cpu_seconds": [1.0]}
    peer = about | {"tool": "peer", "cpu_seconds": [4.0]}
    assert "| t | 1 | `peer` 4 | 0.25 |" in report.render_chi2([ours, peer | {"agrees": True}])
    assert "| t | 1 | `peer` 4 | none: p-values differ |" in report.render_chi2(
        [ours, peer | {"agrees": False}]
    )


def test_drawing_is_clocked_apart_for_no_calls(tmp_path):
    path = tmp_path / "counts.tsv"
    chi2_counts.write_made_up(path, 20, 100, 1.0, 1)
    found = chi2.kernel_of(path, Options(adaptive=False, n_simulations=50))
    assert found["draws"] == 20 * 50
    assert found["cpu_s"] > 0
