"""Plans on SLURM and under GNU parallel: the same tables however they are run, and what faults cost."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pysam
import pytest
from real_cohort import ALIGNMENTS, RESULTS, TABLES
from test_workflow_slurm import WORKFLOW
from test_workflow_slurm import run as run_on_slurm

pytestmark = pytest.mark.engine

BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def bams3(folder, *arguments):
    """A command of a user in a folder."""
    command = [str(BIN / "bams3"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=ENVIRONMENT)


def results(folder, names=RESULTS):
    return {name: (folder / "results" / name).read_bytes() for name in names}


def events(work):
    """Lines of all logs of a work folder, by attempt."""
    for log in sorted(work.glob("logs/*/*/*.jsonl")):
        yield from (json.loads(line) for line in log.read_text().splitlines()[:-1])


def times_done(work):
    """How often each unit was done."""
    return Counter(event["key"] for event in events(work) if event["event"] == "done")


@pytest.fixture
def questions(real_cohort, tmp_path):
    """A plan of five slices about the stores of the real cohort, with a work folder of its own."""
    asked = ["--count", "--coverage", "--records", "--exec", "samtools view -c -F 1024 -"]
    stores = real_cohort / "results/stores"
    rows = [f"{sample}\t{stores}/{sample}.bams3\n" for sample in ALIGNMENTS]
    (tmp_path / "samples.tsv").write_text("sample\tstore\n" + "".join(rows))
    work = ["--work", "results/work", "--slices", "5", "-o", "plan.json"]
    done = bams3(tmp_path, "plan", "samples.tsv", "-L", str(real_cohort / "regions.bed"), *asked, *work)
    assert done.returncode == 0, done.stderr
    return tmp_path


def check_same(real_cohort, folder):
    """Gather a plan: the tables of the run by Snakemake here, and files of the same bytes."""
    done = bams3(folder, "gather", "plan.json", "-o", "results")
    assert done.returncode == 0, done.stderr
    assert results(folder, TABLES) == results(real_cohort, TABLES)
    files = [row.split("\t")[5] for row in (folder / "results/records.tsv").read_text().splitlines()[1:]]
    assert len(files) >= 50
    for file in files:
        assert (folder / "results" / file).read_bytes() == (real_cohort / "results" / file).read_bytes()


def test_snakemake_on_slurm_gives_the_results_of_snakemake_here(slurm, real_cohort, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    for path in real_cohort.iterdir():
        if path.is_file():
            shutil.copy(path, there)
    done = run_on_slurm(there, *WORKFLOW)
    assert done.returncode == 0, done.stdout + done.stderr
    assert results(there) == results(real_cohort)
    jobs = slurm.jobs()
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert {job.node for job in jobs} == {"n1", "n2"}


def test_a_bare_array_gives_them_too(slurm, real_cohort, questions):
    wrapped = "bams3 run plan.json --slice-from-env --workers 1"
    job = slurm.sbatch("--array=1-5", "--chdir", str(questions), "--export=ALL,PATH=" + ENVIRONMENT["PATH"],
                       "--output=/dev/null", "--wrap", wrapped)  # fmt: skip
    ended = slurm.wait(job, 120)
    assert {task.state for task in ended.values()} == {"COMPLETED"}
    assert {task.node for task in ended.values()} == {"n1", "n2"}
    check_same(real_cohort, questions)


def test_gnu_parallel_gives_them_too_and_repeats_a_slice_that_was_killed(real_cohort, questions):
    once = "[ -e killed ] || { touch killed; exec timeout -s KILL 0.8 bams3 run plan.json --slice {}/5; }"
    recipe = "bams3 run plan.json --slice {}/5"
    command = f"seq 5 | parallel --retries 3 --joblog jobs.log '{once}; {recipe}'"
    done = subprocess.run(
        ["bash", "-c", command], cwd=questions, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    check_same(real_cohort, questions)
    assert set(times_done(questions / "results/work").values()) == {1}


def test_after_a_dead_node_a_kill_a_137_and_a_deadline_one_more_array_ends_it(slurm, real_cohort, tmp_path):
    store = next((real_cohort / "results/stores").glob("*chr20.bams3"))
    bam = real_cohort / f"{store.stem}.bam"
    bed = [f"chr20\t{10_000_000 + 1000 * i}\t{10_001_000 + 1000 * i}\tr{i}" for i in range(96)]
    (tmp_path / "r.bed").write_text("\n".join(bed) + "\n")
    tool = "sleep 0.2; samtools view -c -"
    plan = ["plan", str(store), "-L", "r.bed", "--exec", tool, "--slices", "8", "-o", "plan.json"]
    assert bams3(tmp_path, *plan).returncode == 0
    run = "bams3 run plan.json --slice-from-env --workers 1"
    script = f"""#!/bin/bash
case $SLURM_ARRAY_TASK_ID in
3) {run} & sleep 1.5; kill -9 $!; wait $! ;;
4) timeout -s KILL 1.5 {run}; exit 137 ;;
5) {run} --stop-after 1s ;;
*) {run} ;;
esac
"""
    (tmp_path / "job.sh").write_text(script)
    options = ["--chdir", str(tmp_path), "--export=ALL,PATH=" + ENVIRONMENT["PATH"], "--output=/dev/null"]
    job = slurm.sbatch("--array=1-8", "--requeue", *options, str(tmp_path / "job.sh"))
    work = tmp_path / "plan.work"
    slurm.until(lambda: len(times_done(work)) >= 8, 60, "nothing was done")
    try:
        slurm.kill_node("n1")
        before = times_done(work)
        ended = slurm.wait(job, 120)
    finally:
        slurm.revive_node("n1")
    assert ended[3].state == ended[4].state == ended[5].state == "FAILED"
    assert (ended[4].exit_code, ended[5].exit_code) == (137, 6)
    assert any(task.restarts for task in ended.values())
    assert bams3(tmp_path, "gather", "plan.json", "-o", "out").returncode == 5
    again = slurm.wait(slurm.sbatch("--array=1-8", *options, "--wrap", run), 120)
    assert {task.state for task in again.values()} == {"COMPLETED"}
    told = json.loads(bams3(tmp_path, "status", "plan.json", "--json").stdout)
    assert (told["units"], told["done"], told["set_aside"], told["slices_done"]) == (96, 96, 0, 8)
    assert before.keys() <= times_done(work).keys()
    assert set(times_done(work).values()) == {1}
    assert bams3(tmp_path, "gather", "plan.json", "-o", "out").returncode == 0
    rows = [row.split("\t") for row in (tmp_path / "out/exec.tsv").read_text().splitlines()[1:]]
    found = [int((tmp_path / "out" / row[5]).read_text()) for row in rows]
    places = [f"{row[1]}:{int(row[2]) + 1}-{row[3]}" for row in rows]
    assert found == [int(pysam.view("-c", str(bam), place)) for place in places]


def test_one_bam_is_converted_by_an_array_of_which_two_are_killed(slurm, shared_data, tmp_path):
    bam = shared_data / "aln/NA12878_S1.chr20.10_10p1mb.bam"
    options = ["--chdir", str(tmp_path), "--export=ALL,PATH=" + ENVIRONMENT["PATH"], "--output=/dev/null"]
    small = "--chunk-size 256K --chunk-records 5000"
    run = f"bams3 convert {bam} sliced.bams3 {small} --slice $SLURM_ARRAY_TASK_ID/8 --quiet"
    killed = f"case $SLURM_ARRAY_TASK_ID in 1|4) timeout -s KILL 0.25 {run};; *) {run};; esac"
    first = slurm.wait(slurm.sbatch("--array=1-8", *options, "--wrap", killed), 120)
    assert sorted(n for n, task in first.items() if task.state == "FAILED") == [1, 4]
    refused = bams3(tmp_path, "convert", str(bam), "sliced.bams3", *small.split(), "--seal")
    assert refused.returncode == 2
    assert "slices 1/8 and 4/8" in refused.stderr
    again = slurm.wait(slurm.sbatch("--array=1,4", *options, "--wrap", run), 120)
    assert {task.state for task in again.values()} == {"COMPLETED"}
    sealed = bams3(tmp_path, "convert", str(bam), "sliced.bams3", *small.split(), "--seal")
    assert sealed.returncode == 0, sealed.stderr
    assert bams3(tmp_path, "convert", str(bam), "whole.bams3", *small.split()).returncode == 0
    differ = subprocess.run(["diff", "-rq", "sliced.bams3", "whole.bams3"], cwd=tmp_path, capture_output=True)
    assert differ.stdout.decode().split() == (
        "Files sliced.bams3/_provenance.json and whole.bams3/_provenance.json differ".split()
    )


def test_status_tells_how_far_it_is_while_it_runs(slurm, real_cohort, tmp_path):
    store = next((real_cohort / "results/stores").glob("*chr20.bams3"))
    (tmp_path / "r.bed").write_text("".join(f"chr20\t{i}\t{i + 9}\n" for i in range(10_000_000, 10_000_040)))
    plan = ["plan", str(store), "-L", "r.bed", "--exec", "sleep 0.2", "--slices", "2", "-o", "plan.json"]
    assert bams3(tmp_path, *plan).returncode == 0
    options = ["--chdir", str(tmp_path), "--export=ALL,PATH=" + ENVIRONMENT["PATH"], "--output=/dev/null"]
    job = slurm.sbatch("--array=1-2", *options, "--wrap", "bams3 run plan.json --slice-from-env --workers 1")
    seen = []
    end_s = time.monotonic() + 60
    while (not seen or seen[-1]["done"] < 40) and time.monotonic() < end_s:
        seen.append(json.loads(bams3(tmp_path, "status", "plan.json", "--json").stdout))
    assert slurm.wait(job)
    done = [told["done"] for told in seen]
    assert done == sorted(done)
    assert any(0 < told["done"] < 40 and told["runners"] and told["eta_s"] is not None for told in seen)
    assert (seen[-1]["done"], seen[-1]["running"], seen[-1]["slices_done"]) == (40, 0, 2)
