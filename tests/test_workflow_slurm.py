"""The profile of SLURM: what is done about failures, and what jobs ask for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from simulate_cohort import main as simulate
from test_workflow import SNAKEFILE

pytestmark = pytest.mark.engine

PROFILES = SNAKEFILE.parent / "profiles"
#: Snakemake as it is, but for its pauses between looks at the queue: 20 s and more in the profile.
IMPATIENT = """
from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor
Executor.next_seconds_between_status_checks = property(lambda self: 0.5, lambda self, seconds: None)
main()
"""
#: The run as config/README.md has it, of a cohort in the working directory.
WORKFLOW = ["--snakefile", str(SNAKEFILE), "--configfile", "config.yaml", "--workflow-profile", "slurm"]


def snakemake(folder, *options):
    """Command and environment of a Snakemake with the shipped profile, started in a folder."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-c", IMPATIENT, *options]
    return {"args": command, "cwd": folder, "text": True, "env": {**os.environ, "PATH": path}}


def run(folder, *options):
    return subprocess.run(**snakemake(folder, *options), capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A cohort before its first run."""
    folder = tmp_path_factory.mktemp("cohort")
    simulate([str(folder), "--size-kb", "40", "--depth", "6", "--samples", "2"])
    return folder


# What is done about jobs that fail ----------------------------------------------------------------------

HUNGRY = """
rule all:
    input: "from_rule", "from_default", "from_option"

rule from_rule:
    output: touch("from_rule")
    resources: mem_mb=lambda wildcards, attempt: 150 * 2 ** (attempt - 1)
    shell: "echo {resources.mem_mb} >> {rule}.tries; [ {resources.mem_mb} -ge 300 ]"

rule from_default:
    output: touch("from_default")
    shell: "echo {resources.mem_mb} >> {rule}.tries; [ {resources.mem_mb} -ge 400 ]"

rule from_option:
    output: touch("from_option")
    resources: mem_mb=50
    shell: "echo {resources.mem_mb} >> {rule}.tries; [ {resources.mem_mb} -ge 200 ]"
"""


def test_a_job_that_fails_is_tried_again_with_twice_the_memory(slurm, tmp_path):
    (tmp_path / "Snakefile").write_text(HUNGRY)
    options = ["--set-resources", "from_option:mem_mb=100 * 2 ** (attempt - 1)"]
    options += ["--default-resources", "mem_mb=200 * 2 ** (attempt - 1)"]
    done = run(tmp_path, "--workflow-profile", str(PROFILES / "slurm"), *options)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = slurm.jobs()
    for rule, first_mb in {"from_rule": 150, "from_default": 200, "from_option": 100}.items():
        tried = [(job.state, job.mem_mb) for job in jobs if job.comment == f"rule_{rule}"]
        assert tried == [("FAILED", first_mb), ("COMPLETED", 2 * first_mb)]
        # once a job, and told of the memory that it has
        assert (tmp_path / f"{rule}.tries").read_text().split() == [str(first_mb), str(2 * first_mb)]


SLOW = """
rule slow:
    output: touch("done")
    shell: "[ -e started ] || (touch started; sleep 600)"
"""


def test_a_job_whose_node_dies_is_no_failure(slurm, tmp_path):
    (tmp_path / "Snakefile").write_text(SLOW)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    options = ["--workflow-profile", str(PROFILES / "slurm")]
    with subprocess.Popen(**snakemake(tmp_path, *options), **pipes) as running:
        try:
            slurm.until((tmp_path / "started").exists, 60, "the job did not start")
            (first,) = slurm.jobs()
            slurm.kill_node(first.node)
            told, _ = running.communicate(timeout=120)
        finally:
            running.kill()
    assert running.returncode == 0, told
    assert "Trying to restart" not in told
    (last,) = slurm.jobs(first.job_id)
    assert (last.state, last.restarts) == ("COMPLETED", 1)
    assert {first.node, last.node} == {"n1", "n2"}


# The profile itself, without a cluster ------------------------------------------------------------------


def resources_of_jobs(cohort, *options):
    """What a dry run of the workflow says of the resources of each job; a job is what has an output."""
    done = run(cohort, *WORKFLOW, "--dry-run", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = re.findall(
        r"^    output: .*\n(?:    .*\n)*?    resources: (.*)$", done.stdout + done.stderr, re.MULTILINE
    )
    return [dict(resource.split("=", 1) for resource in job.split(", ")) for job in jobs]


def test_its_name_is_enough_and_it_says_all_that_the_default_says(cohort):
    done = run(cohort, *WORKFLOW, "--dry-run")
    assert f"Using workflow specific profile {PROFILES / 'slurm'} for" in done.stderr
    slurm, default = (
        yaml.safe_load((PROFILES / name / "config.yaml").read_text()) for name in ("slurm", "default")
    )
    assert default.keys() - slurm.keys() == {"default-resources"}


def test_every_job_asks_for_time_and_for_more_memory_at_its_second_attempt(cohort):
    first, second = (resources_of_jobs(cohort, "--attempt", attempt) for attempt in ("1", "2"))
    assert len(first) >= 3
    assert all("runtime" in job for job in first)
    assert [int(job["mem_mb"]) for job in second] == [2 * int(job["mem_mb"]) for job in first]


def test_a_profile_of_the_cluster_adds_to_it(cohort, tmp_path):
    lab = {"default-resources": {"slurm_account": "lab", "mem_mb": 1}, "jobs": 7}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(lab))
    jobs = resources_of_jobs(cohort, "--profile", str(tmp_path))
    assert {job["slurm_account"] for job in jobs} == {"lab"}
    assert "1" not in {job["mem_mb"] for job in jobs}
