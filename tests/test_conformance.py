"""Every file that samtools reads comes back from a store as samtools shows it: see conformance.py."""

import conformance
import pytest
from real_data import data_folder, is_there

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_reference_from_elsewhere(monkeypatch):
    monkeypatch.setenv("REF_PATH", "/nonexistent")


def each(cases):
    """One test a file; without the data there is one test, which is skipped."""
    found = cases() if is_there(data_folder()) else []
    return pytest.mark.parametrize("case", found or [None], ids=[str(case) for case in found] or ["no-data"])


@each(lambda: conformance.cases(data_folder()))
def test_a_file_comes_back_as_samtools_shows_it(shared_data, tmp_path, case):
    result = conformance.check(case, shared_data, tmp_path)
    assert result.outcome in ("equal", "refused"), result.why


@each(conformance.cut_cases)
def test_a_larger_file_cut_small_comes_back_as_samtools_shows_it(shared_data, tmp_path, case):
    result = conformance.check(case, shared_data, tmp_path)
    assert result.outcome == "equal", result.why


def test_no_file_of_the_suites_is_left_out(shared_data):
    found = conformance.cases(shared_data)
    assert len(found) == 568
    assert sum(case.path.startswith("aln/") for case in found) == 13
