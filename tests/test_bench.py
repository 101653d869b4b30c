"""The benchmark compares like with like, and pages show what the committed rows say."""

import pytest
from bench import report
from bench.harness import ROOT, NotTheSameWorkError, ratio, read_rows

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
    assert path is not None
    text = (ROOT / page).read_text()
    assert report.with_table(text, kind, render(read_rows(path))) == text
