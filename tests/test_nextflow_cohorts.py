"""The Nextflow pipeline on a SLURM of two nodes, and with a thousand samples."""

import os
import shutil

import pysam
import pytest
from commands import convert
from nextflow_runs import BIN, PIPELINE, nextflow, run, trace
from s3_places import Bucket
from test_workflow import samtools_counts

from bams3.tables import read_counts

pytestmark = pytest.mark.engine

DATA = PIPELINE / "assets/test"
#: The profile as it is, but for its pauses between looks at the queue.
IMPATIENT = """
executor {
    queueStatInterval = '1 sec'
    pollInterval      = '500 ms'
}
process {
    // a node of the tests' cluster has 4 CPUs and 8 GB
    resourceLimits = [cpus: 1, memory: 6.GB, time: 1.h]
}
"""
#: Release 25.04.0 of the strict parser, which tests else use, looks for profiles in every file of -c.
V1 = {"NXF_SYNTAX_PARSER": "v1"}
#: bams3, but for the first of all slices, which is killed as for its memory.
KILLED = """#!/bin/sh
if [ "$1" = run ] && mkdir {folder}/killed 2>/dev/null; then exit 137; fi
exec {bams3} "$@"
"""


def test_on_slurm_slices_are_tasks_of_one_array_on_both_nodes(slurm, tmp_path):
    for file in DATA.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    (tmp_path / "impatient.config").write_text(
        f"{IMPATIENT}env.PATH = '{tmp_path}/bin:{os.environ['PATH']}'\n"
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/bams3").write_text(KILLED.format(folder=tmp_path, bams3=BIN / "bams3"))
    (tmp_path / "bin/bams3").chmod(0o755)
    call = ["--samples", "samples.tsv", "--regions", "regions.bed", "--slices", "6", "--kinds", "count"]
    ours = ["--queue", "debug", "--account", "lab"]
    run(tmp_path, *call, *ours, "--outdir", "there", "-profile", "slurm", "-c", "impatient.config", **V1)
    jobs = slurm.jobs()
    assert [job.state for job in jobs if job.state != "COMPLETED"] == ["FAILED"]
    assert {job.node for job in jobs} == {"n1", "n2"}
    arrays = {job.job_id: [one for one in jobs if one.job_id == job.job_id] for job in jobs}
    # the sheet, the plan, the tables, and the killed slice once more; conversions; slices
    assert sorted(len(tasks) for tasks in arrays.values()) == [1, 1, 1, 1, 2, 6]
    killed = next(job for job in jobs if job.state == "FAILED")
    (again,) = [job for job in jobs if "BAMS3_RUN" in job.name and len(arrays[job.job_id]) == 1]
    assert again.mem_mb == 2 * killed.mem_mb
    assert {job.node for job in next(tasks for tasks in arrays.values() if len(tasks) == 6)} == {"n1", "n2"}
    ids = [row["native_id"] for row in trace(tmp_path, "there") if row["process"] == "BAMS3_RUN"]
    assert sorted(id.partition("_")[2] for id in ids) == ["", *"012345"]
    pysam.index(str(tmp_path / "sample1.bam"))
    column = read_counts(tmp_path / "there/counts.tsv").counts[:, 0].tolist()
    assert column == samtools_counts(tmp_path, tmp_path / "sample1.bam")


def test_what_lies_in_s3_is_asked_there(s3_bucket: Bucket, tmp_path):
    for file in DATA.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    assert convert(tmp_path / "sample1.bam", tmp_path / "given.bams3").code == 0
    store = s3_bucket.put_folder(tmp_path / "given.bams3", "given.bams3")
    place = store.removesuffix("/given.bams3")
    rows = [f"given\t\t{store}", f"read\t{s3_bucket.put('a.bam', (tmp_path / 'sample1.bam').read_bytes())}\t"]
    (tmp_path / "samples.tsv").write_text(
        "\n".join(["sample\talignment\tstore", *rows, "here\tsample1.bam\t", ""])
    )
    call = ["--samples", "samples.tsv", "--regions", "regions.bed", "--kinds", "count", "--slices", "2"]
    run(tmp_path, *call, "--stores", f"{place}/made", "--work", f"{place}/work")
    table = read_counts(tmp_path / "results/counts.tsv")
    assert table.samples == ("given", "read", "here")
    pysam.index(str(tmp_path / "sample1.bam"))
    assert table.counts.T.tolist() == [samtools_counts(tmp_path, tmp_path / "sample1.bam")] * 3
    assert not [*(tmp_path / "results/stores").rglob("*")]
    assert f"{place}/made/read.bams3" in (tmp_path / "results/plan.json").read_text()


def test_a_thousand_samples_are_few_tasks(tmp_path):
    for i in range(1000):
        store = tmp_path / f"samples/s{i:03}.bams3"
        store.mkdir(parents=True)
        (store / "_metadata.json").write_text("{}")
    (tmp_path / "regions.bed").write_text("".join(f"chr1\t{i}000\t{i}500\n" for i in range(100)))
    call = ["--samples", "samples/*.bams3", "--regions", "regions.bed", "--slices", "12", "-stub"]
    done = nextflow(tmp_path, "run", PIPELINE, *call)
    assert done.returncode == 0, done.stdout
    tasks = trace(tmp_path)
    assert len(tasks) == 12 + 3
    assert {row["status"] for row in tasks} == {"COMPLETED"}
