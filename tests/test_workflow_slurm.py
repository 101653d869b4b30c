"""The workflow on SLURM with the profile that is shipped: the same tables, and what is done about jobs that fail."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from simulate_cohort import main as simulate
from test_workflow import SNAKEFILE
from test_workflow import run as run_here

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("slurm")]

PROFILES = SNAKEFILE.parent / "profiles"
#: Options that make small runs quick: SLURM is looked at each second at first, and one machine has one file system.
QUICK = ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"]


def snakemake(folder, *options):
    """Command and environment of a Snakemake with the shipped profile, started in a folder."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "snakemake", *options]
    return {"args": command, "cwd": folder, "text": True, "env": {**os.environ, "PATH": path}}


def run(folder, *options):
    return subprocess.run(**snakemake(folder, *options), capture_output=True, timeout=300)


def jobs_of(slurm, done):
    """The jobs that a run submitted, as SLURM remembers them."""
    run_id = re.search(r"SLURM run ID: (\S+)", done.stdout + done.stderr)[1]
    return [job for job in slurm.jobs() if job.name == run_id]


def test_the_cohort_run_on_slurm_gives_the_tables_of_a_run_here(slurm, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    simulate([str(here), "--size-kb", "40", "--depth", "6"])
    shutil.copytree(here, there)
    run_here(here)
    options = ["--snakefile", str(SNAKEFILE), "--configfile", "config.yaml", "--workflow-profile", "slurm"]
    done = run(there, *options, *QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
    tables = [table.relative_to(here) for table in (here / "results").glob("*.tsv")]
    assert len(tables) >= 3
    for table in tables:
        assert (there / table).read_bytes() == (here / table).read_bytes()
    jobs = jobs_of(slurm, done)
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert {job.node for job in jobs} == {"n1", "n2"}


# What is done about jobs that fail ----------------------------------------------------------------------

HUNGRY = """
rule all:
    input: "from_rule", "from_profile", "from_option"

rule from_rule:
    output: touch("from_rule")
    resources: mem_mb=lambda wildcards, attempt: 150 * 2 ** (attempt - 1)
    shell: "echo {resources.mem_mb} >> {rule}.tries; [ {resources.mem_mb} -ge 300 ]"

rule from_profile:
    output: touch("from_profile")
    shell: "echo {resources.mem_mb} >> {rule}.tries; [ {resources.mem_mb} -ge 2000 ]"

rule from_option:
    output: touch("from_option")
    resources: mem_mb=50
    shell: "echo {resources.mem_mb} >> {rule}.tries; [ {resources.mem_mb} -ge 200 ]"
"""


def test_a_job_that_fails_is_tried_again_with_twice_the_memory(slurm, tmp_path):
    (tmp_path / "Snakefile").write_text(HUNGRY)
    option = ["--set-resources", "from_option:mem_mb=100 * 2 ** (attempt - 1)"]
    done = run(tmp_path, "--workflow-profile", str(PROFILES / "slurm"), *option, *QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = jobs_of(slurm, done)
    for rule, first_mb in {"from_rule": 150, "from_profile": 1000, "from_option": 100}.items():
        tried = [(job.state, job.mem_mb) for job in jobs if job.comment == f"rule_{rule}"]
        assert tried == [("FAILED", first_mb), ("COMPLETED", 2 * first_mb)]
        # once a job, and with the memory that it has
        assert (tmp_path / f"{rule}.tries").read_text().split() == [str(first_mb), str(2 * first_mb)]


SLOW = """
rule slow:
    output: touch("done")
    shell: "[ -e started ] || (touch started; sleep 600)"
"""


def test_a_job_whose_node_dies_is_no_failure(slurm, tmp_path):
    (tmp_path / "Snakefile").write_text(SLOW)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    options = ["--workflow-profile", str(PROFILES / "slurm"), *QUICK]
    with subprocess.Popen(**snakemake(tmp_path, *options), **pipes) as running:
        end_s = time.monotonic() + 60
        while not (tmp_path / "started").exists() and time.monotonic() < end_s:
            time.sleep(0.1)
        (first,) = [job for job in slurm.jobs() if job.state == "RUNNING"]
        try:
            slurm.kill_node(first.node)
            told, _ = running.communicate(timeout=120)
        finally:
            running.terminate()
            slurm.revive_node(first.node)
    assert running.returncode == 0, told
    assert "Trying to restart" not in told
    (last,) = slurm.jobs(first.job_id)
    assert (last.state, last.restarts) == ("COMPLETED", 1)
    assert {first.node, last.node} == {"n1", "n2"}


# The profile itself, without a cluster ------------------------------------------------------------------


def test_its_name_is_enough_and_it_takes_the_place_of_the_default(tmp_path):
    simulate([str(tmp_path), "--size-kb", "40", "--depth", "1"])
    options = ["--snakefile", str(SNAKEFILE), "--configfile", "config.yaml", "--dry-run"]
    done = run(tmp_path, *options, "--workflow-profile", "slurm")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Using workflow specific profile {PROFILES / 'slurm'} for" in done.stderr
    slurm, default = (
        yaml.safe_load((PROFILES / name / "config.yaml").read_text()) for name in ("slurm", "default")
    )
    assert default.keys() <= slurm.keys()
    assert default["default-resources"].keys() <= slurm["default-resources"].keys()


def test_every_rule_asks_for_more_memory_at_its_second_attempt(tmp_path):
    simulate([str(tmp_path), "--size-kb", "40", "--depth", "1"])
    options = ["--snakefile", str(SNAKEFILE), "--configfile", "config.yaml", "--dry-run"]
    asked = []
    for attempt in ("1", "2"):
        done = run(tmp_path, *options, "--workflow-profile", "slurm", "--attempt", attempt)
        asked.append([int(mem_mb) for mem_mb in re.findall(r"mem_mb=(\d+)", done.stdout + done.stderr)])
    first, second = asked
    assert len(first) >= 5
    assert second == [2 * mem_mb for mem_mb in first]
