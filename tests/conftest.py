"""What every test may use: the real data beside the checkout, and a skip that CI does not overlook."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from real_data import data_folder, is_there

# Tests run beside each other on shared machines: an example's wall time says nothing there. Lists of
# records are large inputs, and are meant to be.
_LARGE = [HealthCheck.data_too_large, HealthCheck.too_slow]
settings.register_profile("bams3", deadline=None, suppress_health_check=_LARGE)
settings.load_profile("bams3")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data: ``BAMS3_TEST_DATA``, or ``../shared/data`` beside the checkout."""
    folder = data_folder()
    if not is_there(folder):
        pytest.skip(f"no real data in {folder}; BAMS3_TEST_DATA names another folder")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="a skipped test fails, unless its skip marker gives a reason"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    marked = any(mark.kwargs.get("reason") for name in ("skip", "skipif") for mark in item.iter_markers(name))
    if not marked and not hasattr(report, "wasxfail"):
        fail_if_skipped(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    fail_if_skipped(report, collector.config)
    return report


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    if report.skipped and config.getoption("--no-skips"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"not allowed with --no-skips: {reason}"
