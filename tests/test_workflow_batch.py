"""The workflow on AWS Batch with its own profile, nothing shared but S3: the tables of a run here."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import snakemake_forks
import yaml
from batch_jobs import GONE
from batch_server import BatchServer
from commands import run
from real_cohort import ALIGNMENTS, CONFIG, COUNTS, GENOTYPES, RESULTS
from s3_places import environment
from test_workflow import SNAKEFILE

pytestmark = pytest.mark.engine

PROFILES = SNAKEFILE.parent / "profiles"
#: Snakemake as it is, but for its pauses of 5 s between looks at the jobs.
IMPATIENT = """
from snakemake.cli import main
from snakemake_executor_plugin_aws_batch import Executor
Executor.next_seconds_between_status_checks = property(lambda self: 0.5, lambda self, seconds: None)
main()
"""
PLUGIN = "snakemake-storage-plugin-s3"
#: As in envs/Dockerfile: what a job installs is in a folder, and pip asks no network.
PIP = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
#: Tables of files, and which of their columns says where a file is.
LISTS, FILE = ("records.tsv", "exec.tsv"), 5
RULES = re.compile(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", re.MULTILINE)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder with the storage plugin, which every job installs, as a wheel."""
    folder = tmp_path_factory.mktemp("wheels")
    found = importlib.metadata.distribution(PLUGIN)
    name = f"{PLUGIN.replace('-', '_')}-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for file in found.files:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                wheel.write(file.locate(), str(file))
    return folder


@pytest.fixture
def away(real_cohort, s3_bucket):
    """The real cohort in a bucket: three alignments and a store, and below the prefix of the run all else."""
    *converted, last = ALIGNMENTS
    rows = [("sample", "alignment", "store")]
    for name in converted:
        address = s3_bucket.put(f"in/{name}.bam", (real_cohort / f"{name}.bam").read_bytes())
        rows += [(name, address, "")]
    store = s3_bucket.put_folder(real_cohort / f"results/stores/{last}.bams3", f"in/{last}.bams3")
    rows += [(last, "", store)]
    s3_bucket.put("run/samples.csv", "".join(",".join(row) + "\n" for row in rows).encode())
    for name in ("regions.bed", COUNTS):
        s3_bucket.put(f"run/{name}", (real_cohort / name).read_bytes())
    return s3_bucket


@pytest.fixture
def checkout(tmp_path):
    """A checkout with a config; what git tracks in it is what Snakemake gives to jobs."""
    folder, source = tmp_path / "checkout", SNAKEFILE.parent.parent
    for name in ("workflow", "config", "envs"):
        shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    config = yaml.safe_load(CONFIG) | {"slices": 2}  # a job takes seconds of Python's start
    config["ld"] = {**config["ld"], "panel": "panel.ldp"}
    del config["ld"]["vcf"]  # a panel is made on a disk
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for command in ("init --quiet", "add ."):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    return folder


def options(bucket, *more):
    """Of the run as the profile has it, with all that the profile leaves to users."""
    given = ["--configfile", "config.yaml", "--workflow-profile", "aws-batch", "--container-image", "bams3"]
    given += ["--aws-batch-region", "us-east-1", "--default-storage-prefix", bucket.address("run")]
    return [*given, "--storage-s3-endpoint-url", bucket.server.url, *more]


def names():
    """The environment of Snakemake, with the names that the profile asks for there."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    role = {"SNAKEMAKE_AWS_BATCH_JOB_ROLE": "arn:aws:iam::123456789012:role/bams3"}
    return {**os.environ, **role, "SNAKEMAKE_AWS_BATCH_JOB_QUEUE": "spot", "PATH": path}


def dry_run(checkout, bucket, monkeypatch, *more):
    monkeypatch.chdir(checkout)
    return snakemake_forks.snakemake(options(bucket, "--dry-run", *more), names())


def jobs_of(batch, rule):
    return [job for job in batch.all_jobs() if job.request["jobName"].startswith(f"snakejob-{rule}-")]


# The run ------------------------------------------------------------------------------------------------


def test_the_real_cohort_on_aws_batch_gives_the_results_of_a_run_here(
    real_cohort, away, checkout, wheels, tmp_path, monkeypatch
):
    imported = run("ld-import", real_cohort / GENOTYPES, away.address("run/panel.ldp"), "--quiet")
    assert imported.code == 0, imported.err
    given = environment(away.server.url) | PIP | {"PIP_FIND_LINKS": str(wheels)}
    with BatchServer(given) as batch, (tmp_path / "told").open("w+") as told:
        batch.add_queue("spot")
        monkeypatch.setenv("AWS_ENDPOINT_URL_BATCH", batch.url)
        command = [sys.executable, "-c", IMPATIENT, *options(away)]
        running = subprocess.Popen(command, cwd=checkout, env=names(), stdout=told, stderr=told)
        try:
            batch.until(lambda: running.poll() is not None or bool(jobs_of(batch, "convert")))
            first = jobs_of(batch, "convert")[0]
            batch.until(lambda: first.status == "RUNNING")
            batch.interrupt(first)
            running.wait(600)
        finally:
            running.kill()
        text = (tmp_path / "told").read_text()
        logs = "\n".join(f"== {job.request['jobName']} {job.status}\n{job.log}" for job in batch.all_jobs())
        assert running.returncode == 0, text + logs
        assert [job.reason == GONE for job in jobs_of(batch, "convert")] == [True, False, False, False]
        check_jobs(batch)
    here = real_cohort / "results"
    for name in RESULTS:
        found = away.get(f"run/results/{name}")
        if name in LISTS:
            check_same_files(away, found.decode(), here, (here / name).read_text())
        elif not name.endswith("summary.json"):  # which names the counts by their place
            assert found == (here / name).read_bytes()
    # all of it is in S3, and the stores where bams3 put them
    assert not list(checkout.rglob("results"))
    assert away.get("run/results/stores/hifi_grch38_chr6.bams3/_metadata.json")
    assert b'"mapped"' in away.get("run/results/converted/wgs_hg19_chr20.json")
    again = dry_run(checkout, away, monkeypatch)
    assert "Nothing to be done" in again.stdout, again.stdout + again.stderr


def check_same_files(away, listed, here, listed_here):
    """Two lists of files, here and in S3, are of the same questions, and their files have the same bytes."""
    rows, rows_here = ([row.split("\t") for row in text.splitlines()[1:]] for text in (listed, listed_here))
    assert len(rows) >= 200
    for row, row_here in zip(rows, rows_here, strict=True):
        (file, file_here) = (one.pop(FILE) for one in (row, row_here))
        assert row == row_here
        assert away.get(file.removeprefix(away.address(""))) == (here / file_here).read_bytes()


def check_jobs(batch):
    """Every job has the memory that the profile says, and none of their definitions is left."""
    assert sorted({job.status for job in batch.all_jobs()}) == ["FAILED", "SUCCEEDED"]
    assert {one["status"] for one in batch.definitions} == {"INACTIVE"}
    asked = {name: [] for name, *_ in rules()}
    for job in batch.all_jobs():
        needs = {one["type"]: one["value"] for one in job.container["resourceRequirements"]}
        rule = re.fullmatch(r"snakejob-(\w+)-[-0-9a-f]+", job.request["jobName"])[1]
        asked[rule].append((int(needs["VCPU"]), int(needs["MEMORY"])))
    assert asked.pop("ld_import") == []
    assert asked.pop("convert") == 3 * [(2, 4096)] + [(2, 8192)]  # the one that was interrupted asks for more
    for rule, threads, _ in rules():
        assert set(asked.get(rule, [])) <= {(threads, 2048 * threads)}
    assert all(asked.values())


# What it cannot do, before any job ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("regions: /data/regions.bed\n", "/data/regions.bed is on this machine, and jobs share no disk"),
        ("regions: none.bed\n", "none.bed: no such file"),
        ("samples: local.tsv\n", "SELF is on this machine, and jobs share no disk"),
        (
            "samples: null\nld: {vcf: s3://b/a.vcf}\n",
            "`bams3 ld-import GENOTYPES s3://...`, and give ld.panel",
        ),
    ],
)
def test_what_jobs_cannot_reach_is_told_before_any_job(away, checkout, monkeypatch, config, words):
    this_file = str(Path(__file__))
    away.put("run/local.tsv", f"sample\talignment\na\t{this_file}\n".encode())
    given = yaml.safe_load((checkout / "config.yaml").read_text()) | yaml.safe_load(config)
    (checkout / "config.yaml").write_text(yaml.safe_dump(given))
    done = dry_run(checkout, away, monkeypatch)
    assert done.returncode != 0
    assert words.replace("SELF", this_file) in " ".join((done.stdout + done.stderr).split())


def test_tests_of_batch_effects_and_ld_take_what_lies_below_the_prefix(away, checkout, monkeypatch):
    away.put("run/counts.tsv", b"x")
    away.put("run/cohort.ldp/_metadata.json", b"{}")
    config = "samples: null\nchi2: {counts: counts.tsv, slices: 1}\nld: {panel: cohort.ldp, slices: 1}\n"
    (checkout / "config.yaml").write_text(config)
    done = dry_run(checkout, away, monkeypatch, "--printshellcmds")
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout + done.stderr
    prefix = away.address("run")
    assert f"bams3 chi2-batch {prefix}/counts.tsv " in told
    assert f"bams3 plan --ld {prefix}/cohort.ldp --work {prefix}/results/work/ld " in told


# The profile itself -------------------------------------------------------------------------------------


def test_the_profile_says_all_that_the_default_says():
    mine, default = (
        yaml.safe_load((PROFILES / name / "config.yaml").read_text()) for name in ("aws-batch", "default")
    )
    assert default.keys() - mine.keys() == {"default-resources"}
    assert mine["executor"] == "aws-batch"


def rules():
    """Each rule that becomes a job, its threads and its minutes."""
    for path in sorted((SNAKEFILE.parent / "rules").glob("*.smk")):
        for name, body in RULES.findall(path.read_text()):
            if found := re.search(r"threads: (\d+)", body):
                yield name, int(found[1]), int(re.search(r"runtime=(\d+)", body)[1])


def test_every_rule_asks_for_memory_that_the_executor_leaves_as_it_is():
    from snakemake_executor_plugin_aws_batch.constant import VALID_RESOURCES_MAPPING

    profile = yaml.safe_load((PROFILES / "aws-batch/config.yaml").read_text())
    found = {name: (threads, runtime) for name, threads, runtime in rules() if name != "ld_import"}
    assert found.keys() == profile["set-resources"].keys()
    for name, (threads, runtime) in found.items():
        asked = profile["set-resources"][name]["mem_mb"]
        assert ast.parse(asked, mode="eval")
        mem_mb = [eval(asked, {"min": min, "attempt": i}) for i in range(1, profile["retries"] + 2)]
        assert mem_mb[1] == 2 * mem_mb[0]
        assert all(threads in VALID_RESOURCES_MAPPING[one_mb] for one_mb in mem_mb)
        assert profile["aws-batch-task-timeout"] > 60 * runtime
