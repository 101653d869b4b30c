"""A plan on AWS Batch: the tables of a run here, whatever befalls its jobs; and what cannot be submitted."""

import contextlib
import json
from pathlib import Path

import pytest
from batch_jobs import EXITED, GONE, RefusalError
from batch_server import BatchServer
from commands import EXIT_CODE, run
from s3_places import CREDENTIALS, environment
from work_cohort import make_cohort, many_regions

pytestmark = pytest.mark.engine

EXIT_CODE |= dict.fromkeys(("no-such-queue", "queue-disabled", "no-such-job-definition"), 2)
EXIT_CODE |= dict.fromkeys(("inactive-job-definition", "bad-job-definition", "batch-refused"), 2)
EXIT_CODE |= {"not-in-s3": 2, "batch-unavailable": 4}
QUEUE = ("--queue", "spot", "--job-definition", "bams3")
KINDS = ("--count", "--coverage", "--stats")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), 2)


@pytest.fixture
def away(cohort, s3_bucket):
    """The cohort in a bucket."""
    rows = ["sample\tstore"]
    rows += [
        f"{one}\t{s3_bucket.put_folder(cohort.store(one), f'stores/{one}.bams3')}" for one in cohort.samples
    ]
    s3_bucket.put("samples.tsv", ("\n".join(rows) + "\n").encode())
    s3_bucket.put("targets.bed", cohort.bed.read_bytes())
    return s3_bucket


@pytest.fixture(scope="module")
def planned(cohort):
    """A plan of two slices, with places for addresses."""
    place = cohort.folder / "planned.json"
    succeeds("plan", cohort.sheet, "-L", cohort.bed, "--count", "--slices", 2, "-o", place)
    return place.read_text().replace(f"{cohort.folder}/", "s3://BUCKET/")


@pytest.fixture
def address(planned, s3_bucket):
    """A plan in the bucket that nobody runs: its stores are not there."""
    return s3_bucket.put("plan.json", planned.replace("BUCKET", s3_bucket.name).encode())


@pytest.fixture
def serve(s3_server, monkeypatch):
    """Starts an AWS Batch with a queue and a job definition, to which the environment leads."""
    with contextlib.ExitStack() as stack:

        def start(**how) -> BatchServer:
            server = stack.enter_context(BatchServer(environment(s3_server.url), **how))
            server.add_queue("spot")
            server.add_definition("bams3")
            monkeypatch.setenv("AWS_ENDPOINT_URL_BATCH", server.url)
            return server

        yield start


@pytest.fixture
def batch(serve):
    return serve()


@pytest.fixture
def idle(serve):
    """An AWS Batch that runs nothing."""
    return serve(slots=0)


def succeeds(*arguments):
    done = run(*arguments)
    assert done.code == 0, done.err
    return done


def plan(bucket, *options, regions="targets.bed"):
    """A plan in the bucket, whose work folder lies beside it."""
    given = ("-L", bucket.address(regions), "-o", bucket.address("plan.json"), *options)
    succeeds("plan", bucket.address("samples.tsv"), *given)
    return bucket.address("plan.json")


def submit(address, *options):
    return run("batch", "submit", address, *QUEUE, *options)


def submitted(batch, address, *options):
    """The job that the slices of a plan are submitted as."""
    done = submit(address, *options)
    assert done.code == 0, done.err
    (job_id,) = done.out.split()
    return batch.jobs[job_id]


def gathered(address, folder: Path):
    succeeds("gather", address, "-o", folder)
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def here(cohort, folder: Path, *options):
    """The tables of the same plan, made and run on this machine without any scheduler."""
    succeeds("plan", cohort.sheet, "-L", cohort.bed, *options, "-o", folder / "plan.json")
    succeeds("run", folder / "plan.json", "--quiet")
    return gathered(folder / "plan.json", folder / "here")


def codes(job):
    """Exit codes of a job's attempts."""
    return [attempt["container"].get("exitCode") for attempt in job.attempts]


# What comes out -----------------------------------------------------------------------------------------


def test_an_array_of_jobs_gives_the_tables_of_a_run_here(cohort, away, batch, tmp_path):
    address = plan(away, *KINDS, "--slices", 3)
    done = submit(address, "--json")
    told = json.loads(done.out)
    (job,) = told["jobs"]
    assert (told["units"], job["slices"], job["name"]) == (50, 3, "bams3-plan")
    assert f"bams3 status {address} --watch" in done.err
    ended = batch.wait(job["id"])
    assert ended.status == "SUCCEEDED"
    assert [codes(child) for child in ended.children] == [[0], [0], [0]]
    status = json.loads(succeeds("status", address, "--json").out)
    assert (status["done"], status["slices_done"], status["runners"]) == (50, 3, 0)
    assert gathered(address, tmp_path / "there") == here(cohort, tmp_path, *KINDS, "--slices", 3)
    again = submit(address)
    assert (again.code, again.out) == (0, "")
    assert "all units are done" in again.err


def gated(away, tmp_path, *options):
    """A plan of two slices whose jobs run until the gate is there."""
    gate = tmp_path / "gate"
    tool = f"cat; until [ -e {gate} ]; do sleep 0.05; done"
    away.put("two.bed", b"chr1\t0\t5000\ta\n")
    return plan(away, "--exec", tool, "--count", "--slices", 2, regions="two.bed"), gate


def running(batch, away, job):
    """The jobs of an array once each has begun a unit that stands at the gate."""

    def begun() -> int:
        logs = [key for key in away.listed("plan.work/logs/") if key.endswith(".jsonl")]
        return sum(b'"event":"begin"' in away.get(key) for key in logs)

    batch.until(lambda: begun() == len(job.children))
    return job.children


def test_a_job_that_is_killed_and_one_whose_instance_goes_run_again(cohort, away, batch, tmp_path):
    address, gate = gated(away, tmp_path)
    job = submitted(batch, address)
    first, second = running(batch, away, job)
    batch.kill(first)
    batch.interrupt(second)
    gate.touch()
    assert batch.wait(job.id).status == "SUCCEEDED"
    assert (codes(first), codes(second)) == ([137, 0], [None, 0])
    assert [attempt["statusReason"] for attempt in second.attempts] == [GONE, EXITED]
    tables = gathered(address, tmp_path / "there")
    plain = here_of(cohort, tmp_path, b"chr1\t0\t5000\ta\n")
    assert tables[Path("counts.tsv")] == plain


def here_of(cohort, folder, bed):
    (folder / "two.bed").write_bytes(bed)
    succeeds("plan", cohort.sheet, "-L", folder / "two.bed", "--count", "-o", folder / "two.json")
    succeeds("run", folder / "two.json", "--quiet")
    return gathered(folder / "two.json", folder / "two")[Path("counts.tsv")]


def test_one_more_submission_runs_what_is_left_and_nothing_else(away, batch, tmp_path):
    address, gate = gated(away, tmp_path)
    job = submitted(batch, address, "--attempts", 1)
    first, second = running(batch, away, job)
    batch.kill(first)
    batch.until(lambda: first.status == "FAILED")
    gate.touch()
    assert batch.wait(job.id).status == "FAILED"
    assert (codes(first), codes(second)) == ([137], [0])
    assert succeeds("status", address, "--missing", "--json").out.count("was begun when its process ended")
    one = submitted(batch, address, "--attempts", 1)
    assert one.children == []
    assert "--slice 1/2" in " ".join(one.container["command"])
    assert batch.wait(one.id).status == "SUCCEEDED"
    assert "100%" in succeeds("status", address).out


def test_what_failed_for_good_is_left_out_until_it_is_asked_for(away, batch, tmp_path):
    address = plan(away, "--coverage", "--slices", 2)
    chunks = {key: away.get(key) for key in away.listed("stores/S1.bams3/data/")}
    for key, data in chunks.items():
        away.put(key, bytes(len(data)))
    job = batch.wait(submitted(batch, address, "--attempts", 2).id)
    assert (codes(job.children[0]), codes(job.children[1])) == ([5, 5], [0])
    left = submit(address)
    assert left.kind == "units-failed"
    assert "failed for good, and all others are done" in left.err
    for key, data in chunks.items():
        away.put(key, data)
    again = batch.wait(submitted(batch, address, "--retry-failed").id)
    assert codes(again) == [0]
    assert "100%" in succeeds("status", address).out


# Requests -----------------------------------------------------------------------------------------------


def test_twenty_five_thousand_slices_are_three_arrays(away, idle, tmp_path):
    away.put("many.bed", many_regions(tmp_path / "many.bed", 12_500, step=70).read_bytes())
    address = plan(away, "--count", "--slices", 25_000, regions="many.bed")
    requests = json.loads(succeeds("batch", "submit", address, *QUEUE, "--dry-run").out)
    assert idle.jobs == {}
    jobs = json.loads(succeeds("batch", "submit", address, *QUEUE, "--json").out)["jobs"]
    assert [job["slices"] for job in jobs] == [10_000, 10_000, 5_000]
    assert [idle.jobs[job["id"]].request for job in jobs] == requests
    assert [request["jobName"] for request in requests] == [f"bams3-plan-{i}" for i in (1, 2, 3)]
    lists = [request["containerOverrides"]["command"][5] for request in requests]
    assert lists == ["1-10000/25000", "10001-20000/25000", "20001-25000/25000"]


def test_a_job_of_the_second_array_runs_the_slice_at_its_place(away, monkeypatch):
    address = plan(away, "--count", "--slices", 12)
    summary = away.address("summary.json")
    for place, number in enumerate((2, 5, 6, 12)):
        monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", str(place))
        given = ("--slice-from-env", "--among", "2,5-6,12/12", "--summary", summary, "--quiet")
        succeeds("run", address, *given)
        assert json.loads(away.get("summary.json"))[0]["slice"] == number
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "4")
    assert run("run", address, "--slice-from-env", "--among", "2,5-6,12/12").kind == "bad-slice"
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "0")
    assert run("run", address, "--slice-from-env", "--among", "2,5-6/13").kind == "bad-slice"
    assert run("run", address, "--among", "2,5-6/12").kind == "usage"


def test_what_is_given_is_in_the_requests(address, idle, s3_server):
    given = ("--vcpus", 4, "--memory", "3G", "--timeout", "2h", "--attempts", 3, "--retry-failed")
    done = run("batch", "submit", address, *QUEUE, *given, "--aws-region", "us-east-1", "--dry-run")
    (request,) = json.loads(done.out)
    needs = request["containerOverrides"]["resourceRequirements"]
    assert needs == [{"type": "VCPU", "value": "4"}, {"type": "MEMORY", "value": "3072"}]
    assert request["timeout"] == {"attemptDurationSeconds": 7200}
    assert request["retryStrategy"]["attempts"] == 3
    assert request["jobDefinition"].endswith("job-definition/bams3:1")
    command = " ".join(request["containerOverrides"]["command"])
    assert command == (
        f"bams3 run {address} --slice-from-env --among 1-2/2 --workers 4"
        f" --endpoint-url {s3_server.url} --aws-region us-east-1 --retry-failed --stop-after 6900s"
    )


def test_what_is_not_given_is_the_definitions(address, idle):
    idle.add_definition("bams3", vcpus=2, memory_mb=4096, timeout={"attemptDurationSeconds": 1000})
    (request,) = json.loads(succeeds("batch", "submit", address, *QUEUE, "--dry-run").out)
    assert request["jobDefinition"].endswith("bams3:2")
    assert "resourceRequirements" not in request["containerOverrides"]
    command = " ".join(request["containerOverrides"]["command"])
    assert "--workers 2 --endpoint-url" in command
    assert command.endswith("--stop-after 800s")
    old = run("batch", "submit", address, *QUEUE[:3], "bams3:1", "--dry-run")
    assert "--workers 1 " in " ".join(json.loads(old.out)[0]["containerOverrides"]["command"])


# What cannot be submitted -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        (("--queue", "none"), "no-such-queue", "no job queue none"),
        (("--queue", "off"), "queue-disabled", "DISABLED"),
        (("--queue", "broken"), "queue-disabled", "INVALID"),
        (("--job-definition", "none"), "no-such-job-definition", "none"),
        (("--job-definition", "bams3:9"), "no-such-job-definition", "bams3:9"),
        (("--job-definition", "old"), "inactive-job-definition", "old is inactive"),
        (("--job-definition", "old:1"), "inactive-job-definition", "old:1 is inactive"),
        (("--job-definition", "nodes"), "bad-job-definition", "not of one container"),
        (("--job-definition", "small"), "too-little-memory", "gives a job 100 MB, and 1 worker may need"),
        (("--vcpus", "64"), "too-little-memory", "64 workers may need"),
        (("--timeout", "30s"), "usage", "no limit below 60 s"),
        (("--attempts", "11"), "usage", "11"),
    ],
)
def test_what_jobs_cannot_run_with_is_one_line(address, idle, options, kind, words):
    idle.add_queue("off", state="DISABLED")
    idle.add_queue("broken", status="INVALID")
    idle.add_definition("small", memory_mb=100)
    idle.add_definition("nodes", type="multinode")
    idle.deregister_job_definition({"jobDefinition": idle.add_definition("old")})
    done = submit(address, *options)
    assert done.kind == kind
    assert words in done.err
    assert idle.jobs == {}


def test_memory_that_the_user_gives_is_his_to_know(address, idle):
    idle.add_definition("small", memory_mb=100)
    given = ("--queue", "spot", "--job-definition", "small", "--memory", "50M")
    done = run("batch", "submit", address, *given)
    assert done.code == 0
    assert "warning: --memory 50M: 1 worker may need" in done.err


def test_jobs_cannot_reach_what_lies_on_this_machine(cohort, away, idle, tmp_path):
    sheet, bed = away.address("samples.tsv"), away.address("targets.bed")
    here, there = tmp_path / "plan.json", away.address("plan.json")
    for samples, place, work in (
        (sheet, here, away.address("w")),
        (sheet, there, str(tmp_path / "w")),
        (cohort.sheet, there, away.address("w")),
    ):
        succeeds("plan", samples, "-L", bed, "--count", "-o", place, "--work", work)
        done = submit(place)
        assert done.kind == "not-in-s3"
        assert "share no disk" in done.err


def test_nobody_and_nowhere_is_one_line(address, idle, monkeypatch):
    with monkeypatch.context() as nowhere:
        nowhere.delenv("AWS_DEFAULT_REGION")
        assert submit(address).kind == "bad-configuration"
    with monkeypatch.context() as unreachable:
        unreachable.setenv("AWS_ENDPOINT_URL_BATCH", "http://127.0.0.1:1")
        unreachable.setenv("AWS_MAX_ATTEMPTS", "2")
        assert submit(address).kind == "no-connection"
    with monkeypatch.context() as nobody:
        for name in CREDENTIALS:
            nobody.delenv(name)
        assert submit(address, "--profile", "nobody").kind == "no-credentials"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDeniedException", 403, "no-permission"),
        ("UnrecognizedClientException", 403, "bad-credentials"),
        ("ExpiredTokenException", 403, "expired-token"),
        ("ClientException", 400, "batch-refused"),
    ],
)
def test_what_aws_says_of_who_asks_is_one_line(address, idle, code, status, kind):
    idle.refusals.append(RefusalError("no", code, status))
    assert submit(address).kind == kind


def throttled(n):
    return [RefusalError("Too Many Requests", "TooManyRequestsException", 429) for _ in range(n)]


def test_throttling_is_waited_for(address, idle):
    idle.refusals += throttled(2)
    assert submit(address).code == 0
    assert idle.log.count("DescribeJobQueues") == 3


def test_throttling_without_end_says_what_was_submitted_before(away, idle, tmp_path, monkeypatch):
    away.put("many.bed", many_regions(tmp_path / "many.bed", 5_001, step=70).read_bytes())
    address = plan(away, "--count", "--slices", 10_002, regions="many.bed")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    send = idle.submit_job

    def once(asked):
        idle.refusals += throttled(2)
        return send(asked)

    monkeypatch.setattr(idle, "submit_job", once)
    done = submit(address)
    assert done.kind == "batch-unavailable"
    (job_id,) = idle.jobs
    assert f"submitted before: {job_id}" in done.err
