"""Requests to AWS Batch: within its limits, tried again as they say; and what answers them here."""

import pytest
from batch_jobs import LATE
from batch_server import BatchServer
from s3_places import CREDENTIALS

from bams3.slices import parse_slice_list
from bams3.work.aws_batch import Submission

pytestmark = pytest.mark.engine


@pytest.fixture
def batch():
    """An AWS Batch with a queue and a job definition, whose seconds of time limits are short."""
    with BatchServer({}, second_s=0.02) as server:
        server.add_queue("spot")
        server.add_definition("bams3")
        yield server


@pytest.fixture
def idle():
    """The same, which runs nothing."""
    with BatchServer({}, slots=0) as server:
        server.add_queue("spot")
        server.add_definition("bams3")
        yield server


def submission(**more):
    given = {"plan": "s3://b/my.plan.json", "queue": "spot", "definition": "bams3:1", "workers": 1}
    how = {"overrides": {}, "options": (), "attempts": 5, "timeout_s": None}
    return Submission(**given | how | more)


def aws(server):
    """A client of a stand-in."""
    import boto3

    keys = {key.lower(): value for key, value in CREDENTIALS.items()}
    return boto3.client("batch", endpoint_url=server.url, region_name="us-east-1", **keys)


def codes(job):
    """Exit codes of a job's attempts."""
    return [attempt["container"].get("exitCode") for attempt in job.attempts]


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_slices_that_are_left_here_and_there_fit_into_requests(idle, step):
    numbers = list(range(1, 25_001, step))
    client, found = aws(idle), []
    for request in submission(workers=64, timeout_s=86_400).requests(numbers, 25_000):
        client.submit_job(**request)
        mine, n = parse_slice_list(request["containerOverrides"]["command"][5])
        assert (n, len(mine)) == (25_000, request["arrayProperties"]["size"])
        found += mine
    assert found == numbers


def test_a_single_slice_is_a_job_and_no_array(idle):
    for numbers in ([7], list(range(1, 10_002))):
        last = submission().requests(numbers, 20_000)[-1]
        assert "arrayProperties" not in last
        assert last["containerOverrides"]["command"][3:5] == ["--slice", f"{numbers[-1]}/20000"]
        aws(idle).submit_job(**last)


@pytest.mark.parametrize(
    ("code", "is_tried_again"),
    [(1, False), (2, False), (3, False), (4, True), (5, True), (6, True), (137, True), (143, True)],
)
def test_only_what_may_heal_is_tried_again(batch, code, is_tried_again):
    (request,) = submission().requests([1], 1)
    client = aws(batch)
    request["containerOverrides"] = {
        "command": ["sh", "-c", f"[ $AWS_BATCH_JOB_ATTEMPT = 2 ] || exit {code}"]
    }
    job = batch.wait(client.submit_job(**request)["jobId"])
    assert codes(job) == [code, 0][: 1 + is_tried_again]


# The stand-in itself, against what AWS documents --------------------------------------------------------


def test_parameters_are_the_same_in_all_jobs_of_an_array(batch):
    """Hence a place in an array cannot stand in ``--parameters``, where the submitting shell reads it."""
    command = ["sh", "-c", "echo Ref::region $AWS_BATCH_JOB_ARRAY_INDEX"]
    batch.add_definition("query", containerProperties={"image": "bams3", "command": command})
    asked = {"jobName": "a", "jobQueue": "spot", "jobDefinition": "query", "arrayProperties": {"size": 2}}
    job = batch.wait(aws(batch).submit_job(**asked, parameters={"region": "chr20:M-1M"})["jobId"])
    assert [child.log for child in job.children] == ["chr20:M-1M 0\n", "chr20:M-1M 1\n"]


def test_what_runs_too_long_or_is_terminated_is_not_tried_again(batch):
    asked = {"jobName": "a", "jobQueue": "spot", "jobDefinition": "bams3", "retryStrategy": {"attempts": 3}}
    asked |= {"containerOverrides": {"command": ["sleep", "60"]}}
    client = aws(batch)
    late = client.submit_job(**asked, timeout={"attemptDurationSeconds": 60})["jobId"]
    stopped = client.submit_job(**asked)["jobId"]
    batch.until(lambda: batch.jobs[stopped].status == "RUNNING")
    client.terminate_job(jobId=stopped, reason="enough")
    for job_id, reason in ((late, LATE), (stopped, "enough")):
        job = batch.wait(job_id)
        (told,) = client.describe_jobs(jobs=[job_id])["jobs"]
        assert (told["status"], told["statusReason"], codes(job)) == ("FAILED", reason, [137])


@pytest.mark.parametrize(
    "wrong",
    [
        {"arrayProperties": {"size": 1}},
        {"arrayProperties": {"size": 10_001}},
        {"containerOverrides": {"command": ["x" * 8200]}},
        {"retryStrategy": {"attempts": 11}},
        {"retryStrategy": {"evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}] * 6}},
        {"timeout": {"attemptDurationSeconds": 59}},
        {"jobName": "plan.json"},
        {"jobQueue": "none"},
    ],
)
def test_requests_beyond_the_limits_are_refused(idle, wrong):
    client = aws(idle)
    with pytest.raises(client.exceptions.ClientException):
        client.submit_job(**{"jobName": "a", "jobQueue": "spot", "jobDefinition": "bams3"} | wrong)
