"""What every test may use: the real data beside the checkout, and a skip that CI does not overlook."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3_mirror
from hypothesis import HealthCheck, settings
from real_data import data_folder, is_there
from s3_places import Bucket, environment, lead_to
from s3_servers import FaultProxy, MotoServer, moto_server
from slurm_cluster import SlurmCluster, why_not

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


@pytest.fixture(scope="session")
def real_cohort(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished cohort run of real BAMs, counts and genotypes on this machine."""
    from real_cohort import make

    folder = tmp_path_factory.mktemp("real")
    make(shared_data, folder)
    return folder


# ---- S3 ----


@pytest.fixture(scope="session")
def s3_server() -> Iterator[MotoServer]:
    """A server of S3, for the tests of this worker."""
    with moto_server() as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A new bucket; the environment leads to it, in a process whose clients have not asked anything yet."""
    lead_to(s3_server.url, monkeypatch)
    name = f"bams3-{next(_NUMBERS)}"
    return Bucket(s3_server, s3_server.make_bucket(name), s3_server.client())


_NUMBERS = itertools.count(1)


@pytest.fixture
def s3_proxy(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy in front of the bucket, to which the environment leads: it logs, and makes faults."""
    with FaultProxy(s3_bucket.server.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


_AT_END = contextlib.ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """With ``--s3``, stores that tests ask by their path are asked in S3."""
    is_controller = getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput")
    if not config.getoption("--s3") or is_controller:
        return
    server = _AT_END.enter_context(moto_server())
    bucket = server.make_bucket("mirror")
    os.environ |= environment(server.url) | {s3_mirror.PLACE: f"{server.url} {bucket}"}
    mirrored = str(Path(__file__).with_name("mirrored"))
    os.environ["PYTHONPATH"] = os.pathsep.join([mirrored, *filter(None, [os.environ.get("PYTHONPATH")])])
    s3_mirror.install()


#: Tests that are of local stores by nature, and why.
_LOCAL = {"test_no_heavy_package_is_imported": "a store in S3 needs boto3"}


#: Files whose tests start a SLURM, of which there can be one, or take the finished run of the real cohort.
_CLUSTER = (
    "test_work_slurm",
    "test_workflow_slurm",
    "test_slurm_cluster",
    "test_workflow_real",
    "test_workflow_batch",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadfile a worker has all tests of a file, and one has those of all _CLUSTER."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "cluster" if Path(file).stem in _CLUSTER else file

    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in _CLUSTER)  # which take longest
    if config.getoption("--s3"):
        for item in items:
            if reason := _LOCAL.get(item.name):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_unconfigure() -> None:
    _AT_END.close()


# ---- SLURM ----


@pytest.fixture
def slurm() -> Iterator[SlurmCluster]:
    """A SLURM of two nodes, started for this test; another worker's has ended by then."""
    if reason := why_not():
        pytest.skip(reason)
    with SlurmCluster() as cluster:
        yield cluster


# ---- options ----


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--s3", action="store_true", help="stores that tests ask are asked in S3, by moto")
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
