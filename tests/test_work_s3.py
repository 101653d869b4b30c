"""Work whose stores, sheet, regions, plan and work folder all lie in S3."""

import json
import time

import pysam
import pytest
from commands import run, run_apart, start
from work_cohort import make_cohort, many_regions

pytestmark = pytest.mark.engine

KINDS = ("--count", "--coverage", "--records", "--stats")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), 2)


@pytest.fixture
def away(cohort, s3_bucket):
    """The cohort in a bucket."""
    rows = ["sample\tstore"]
    for sample in cohort.samples:
        address = s3_bucket.put_folder(cohort.store(sample), f"stores/{sample}.bams3")
        rows.append(f"{sample}\t{address}")
    s3_bucket.put("in/samples.tsv", ("\n".join(rows) + "\n").encode())
    s3_bucket.put("in/targets.bed", cohort.bed.read_bytes())
    return s3_bucket


def succeeds(*arguments):
    done = run(*arguments)
    assert done.code == 0, done.err
    return done


def plan(bucket, *options):
    """A plan in the bucket, whose work folder lies beside it."""
    succeeds("plan", bucket.address("in/samples.tsv"), "-o", bucket.address("plan.json"), *options)
    return bucket.address("plan.json")


def events(bucket, event):
    lines = []
    for key in bucket.listed("plan.work/logs/"):
        lines += [json.loads(line) for line in bucket.get(key).splitlines()[:-1]]
    return [line for line in lines if line["event"] == event]


def requests(*arguments):
    """What a command in a process of its own asks, by --requests."""
    done = run_apart(*arguments, "--requests")
    assert done.code == 0, done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("requests: ")]
    return json.loads(line.removeprefix("requests: "))


def test_all_of_it_works_in_s3_and_gives_what_it_gives_on_a_disk(cohort, away, tmp_path):
    tool = ("--exec", "grep -vc ^@; echo {name}", "--exec-sam")
    address = plan(away, "-L", away.address("in/targets.bed"), *KINDS, *tool, "--slices", 3)
    for i in (2, 3, 1):
        summary = away.address(f"summary-{i}.json")
        succeeds("run", address, "--quiet", "--slice", f"{i}/3", "--summary", summary, "--workers", 2)
        assert json.loads(away.get(f"summary-{i}.json"))[0]["slice"] == i
    succeeds("gather", address, "-o", away.address("out"))
    assert "98 of 98 units done (100%)" in succeeds("status", address).out
    place = tmp_path / "p.json"
    succeeds("plan", cohort.sheet, "-L", cohort.bed, *KINDS, *tool, "-o", place)
    succeeds("run", place, "--quiet")
    succeeds("gather", place, "-o", tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.*"):
        name = path.relative_to(tmp_path / "out").as_posix()
        if name not in ("records.tsv", "exec.tsv"):
            assert away.get(f"out/{name}") == path.read_bytes(), name
    for name in ("records.tsv", "exec.tsv"):
        header, *rows = [line.split("\t") for line in away.get(f"out/{name}").decode().splitlines()]
        assert len(rows) == 24
        for row in rows:
            file = row[header.index("file")]
            data = away.get(file.removeprefix(f"s3://{away.name}/"))
            assert len(data) == int(row[header.index("bytes")])
            local = next(tmp_path.glob(f"p.work/*/*/{file.rpartition('/')[2]}"))
            assert data == local.read_bytes()
    assert away.uploads() == []


def test_a_runner_that_was_killed_goes_on_in_s3(cohort, away, tmp_path):
    away.put("in/many.bed", many_regions(tmp_path / "many.bed", 12).read_bytes())
    gate = tmp_path / "gate"
    tool = f"cat; [[ {{name}} < r2 ]] || until [ -e {gate} ]; do sleep 0.1; done"
    address = plan(away, "-L", away.address("in/many.bed"), "--count", "--exec", tool)
    process = start("run", address, "--quiet", "--workers", 2)
    while not events(away, "done"):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    gate.touch()
    before = {line["unit"] for line in events(away, "done")}
    lost = json.loads(succeeds("status", address, "--missing", "--json").out)
    assert len(lost) == 48 - len(before)
    assert {one["why"] for one in lost} <= {"was begun when its process ended", "was not run"}
    refused = run("gather", address, "-o", away.address("out"))
    assert refused.code == 5
    assert f"{len(lost)} of 48 units are not done" in refused.err
    succeeds("run", address, "--quiet", "--workers", 2)
    done = [line["unit"] for line in events(away, "done")]
    assert sorted(done) == list(range(48))
    succeeds("gather", address, "-o", away.address("out"))
    header, *rows = [line.split("\t") for line in away.get("out/counts.tsv").decode().splitlines()]
    for row in rows:
        place = f"{row[0]}:{int(row[1]) + 1}-{row[2]}"
        for sample, n in zip(header[4:], row[4:], strict=True):
            assert int(n) == int(pysam.view("-c", str(cohort.bam(sample)), place))


def test_many_units_take_few_requests(away, tmp_path):
    away.put("in/many.bed", many_regions(tmp_path / "many.bed", 500).read_bytes())
    address = plan(away, "-L", away.address("in/many.bed"), "--count", "--coverage", "--slices", 1)
    asked = requests("run", address, "--quiet", "--workers", 1)
    assert asked["gets"] < 80
    assert asked["puts"] < 30
    assert asked["lists"] < 5
    asked = requests("status", address)
    assert sum(asked[name] for name in ("gets", "puts", "lists", "heads")) <= 6
    asked = requests("gather", address, "-o", tmp_path / "out")
    assert sum(asked[name] for name in ("gets", "puts", "lists", "heads")) <= 10
    done = requests("run", address, "--quiet")
    assert done["puts"] == 0


def test_a_bucket_that_is_not_there_is_one_line(away, tmp_path):
    sheet, bed = away.address("in/samples.tsv"), away.address("in/targets.bed")
    options = ("--count", "-L", bed, "-o", tmp_path / "p.json", "--work", "s3://no-such-bucket/w")
    done = run("plan", sheet, *options)
    assert done.kind == "no-such-bucket"


def test_an_object_that_is_no_plan_is_called_as_the_user_does(away):
    address = away.put("not.json", b"{}")
    done = run("run", address)
    assert done.kind == "not-a-plan"
    assert f"{address} is no plan" in done.err
