"""Every alignment file that samtools reads comes back from a store as samtools shows it: see conformance.py."""

import conformance
import pytest
from real_data import data_folder, is_there

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_reference_from_elsewhere(monkeypatch):
    monkeypatch.setenv("REF_PATH", "/nonexistent")


def pytest_generate_tests(metafunc):
    """One test a file; without the data there is one test, which is skipped."""
    if "case" in metafunc.fixturenames:
        asked = conformance.cases if metafunc.function is test_a_file_comes_back_as_samtools_shows_it else None
        found = (asked(data_folder()) if asked else conformance.cut_cases()) if is_there(data_folder()) else []
        metafunc.parametrize("case", found or [None], ids=[str(case) for case in found] or ["no-data"])


def test_a_file_comes_back_as_samtools_shows_it(shared_data, tmp_path, case):
    result = conformance.check(case, shared_data, tmp_path)
    assert result.outcome in ("equal", "refused"), result.why


def test_a_larger_file_cut_small_comes_back_as_samtools_shows_it(shared_data, tmp_path, case):
    result = conformance.check(case, shared_data, tmp_path)
    assert result.outcome == "equal", result.why


def test_no_file_of_the_suites_is_left_out(shared_data):
    found = conformance.cases(shared_data)
    assert len(found) == 568
    assert sum(case.path.startswith("aln/") for case in found) == 13
