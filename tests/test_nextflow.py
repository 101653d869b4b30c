"""The Nextflow pipeline by the real engine: Snakemake's tables, what runs again, what fails."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from commands import convert
from nextflow_runs import PIPELINE, nextflow, ran, run, started, trace
from test_workflow import run as run_snakemake

from bams3.tables import read_counts

pytestmark = pytest.mark.engine

DATA = PIPELINE / "assets/test"
#: What is asked of the test profile's cohort besides what the profile asks.
KINDS, TOOL = "count,coverage,records", "samtools view -c -F 1024 - | sed 's/$/ reads/'"
#: The same for Snakemake.
CONFIG = f"""
samples: samples.tsv
regions: regions.bed
slices: 2
kinds: [{KINDS}]
exec: {json.dumps(TOOL)}
chi2: {{counts: counts.tsv, slices: 2}}
ld: {{vcf: panel.vcf, tiles: 3, slices: 2, min_r2: 0.01, draw: [chr1]}}
"""
#: Results that must be the same bytes.
TABLES = [
    *(f"{name}.tsv" for name in ("counts", "depth", "breadth", "records", "exec")),
    *("chi2.tsv", "chi2.tsv.summary.*", "ld.parquet", "ld/panel.decay.tsv", "multiqc/*_mqc.json"),
]
#: Tasks of the test profile.
COHORT = [*(f"BAMS3_CONVERT (sample{i})" for i in (1, 2)), "BAMS3_PLAN (cohort)"]
COHORT += [*(f"BAMS3_RUN (cohort {i}/2)" for i in (1, 2)), "BAMS3_GATHER (cohort)"]
CHI2 = [*(f"BAMS3_CHI2BATCH (chi2 {i}/2)" for i in (1, 2)), "BAMS3_CHI2MERGE (chi2)", "BAMS3_CHI2PLOT (chi2)"]
LD = ["BAMS3_LDIMPORT (panel)", "BAMS3_PLAN (panel)", *(f"BAMS3_RUN (panel {i}/2)" for i in (1, 2))]
LD += ["BAMS3_GATHER (panel)", "BAMS3_LDDECAY (panel)", "BAMS3_LDPLOT_DECAY (panel)"]


def results(folder):
    """Files and folders of results by name, but for what is inside of stores, work folders and reports."""
    inside = ("work", "pipeline_info", "benchmarks")
    found = [path.relative_to(folder) for path in (folder / "results").rglob("*")]
    found = [path for path in found if path.parts[1] not in inside]
    return {str(path) for path in found if not any(p.endswith((".bams3", ".ldp")) for p in path.parts[:-1])}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The test profile's run with more questions."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "more.json").write_text(
        json.dumps({"kinds": KINDS.split(","), "exec": TOOL, "ld": {"draw": ["chr1"]}})
    )
    run(folder, "-profile", "test", "-params-file", "more.json")
    return folder


@pytest.fixture
def cohort(tmp_path):
    """The test profile's data, in folders as a user has them: an alignment, and a store."""
    for file in DATA.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    assert convert(tmp_path / "sample1.bam", tmp_path / "given.bams3").code == 0
    rows = (DATA / "regions.bed").read_text().splitlines(keepends=True)
    (tmp_path / "regions.bed").write_text("".join(rows[:4]))
    (tmp_path / "samples.tsv").write_text("sample\talignment\tstore\nb\tsample1.bam\t\na\t\tgiven.bams3\n")
    return tmp_path


# What comes out -----------------------------------------------------------------------------------------


def test_tables_are_those_of_snakemake(finished, tmp_path):
    for file in DATA.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    (tmp_path / "config.yaml").write_text(CONFIG)
    run_snakemake(tmp_path)
    tables = [path for form in TABLES for path in (tmp_path / "results").glob(form)]
    assert len(tables) == 5 + 3 + 2 + 4
    for table in tables:
        name = table.relative_to(tmp_path)
        assert (finished / name).read_bytes() == table.read_bytes(), name
    # the slices of one are named after what they are of, the reports are the engine's
    own = {"results/slices", "results/ld/slices", "results/benchmarks", "results/chi2"}
    names = {
        name
        for name in results(tmp_path)
        if ".snakemake" not in name and not any(name.startswith(one) for one in own)
    }
    assert names == {name for name in results(finished) if not any(name.startswith(one) for one in own)}


def test_files_of_regions_are_where_the_tables_say(finished):
    for kind, start in (("records", b"\x1f\x8b"), ("exec", b"")):
        rows = [line.split("\t") for line in (finished / f"results/{kind}.tsv").read_text().splitlines()[1:]]
        assert len(rows) == 24
        for row in rows:
            assert (finished / "results" / row[5]).read_bytes().startswith(start)


def test_every_task_is_one_of_few_and_told_in_reports(finished):
    tasks = trace(finished)
    expected = ["BAMS3_LDPLOT (chr1)", *COHORT, *CHI2, *LD]
    assert [name for name in ran(tasks) if "CHECKSHEET" not in name] == sorted(expected)
    for name in ("report.html", "timeline.html"):
        assert (finished / "results/pipeline_info" / name).stat().st_size > 10_000
    versions = (finished / "results/pipeline_info/software_versions.yml").read_text()
    assert "BAMS3_CONVERT:\n    bams3: 0." in versions


def test_a_stub_run_makes_files_of_the_same_names(finished, tmp_path):
    shutil.copyfile(finished / "more.json", tmp_path / "more.json")
    run(tmp_path, "-profile", "test", "-params-file", "more.json", "-stub")
    assert ran(trace(tmp_path)) == ran(trace(finished))
    assert {name for name in results(finished) if "/multiqc/" not in name} == results(tmp_path)
    assert (tmp_path / "results/counts.tsv").stat().st_size == 0


# What runs, and what runs again -------------------------------------------------------------------------


def kill_when(folder, is_time, *options):
    """Run the pipeline in a folder, and kill all of it, as a power cut does, once it is time."""
    process = subprocess.Popen(**started(folder, "run", PIPELINE, *options), start_new_session=True)
    end_s = time.monotonic() + 120
    while not is_time():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end_s
        time.sleep(0.05)
    time.sleep(1)  # for the engine to note what is done, which nothing shows
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_after_a_kill_only_the_rest_runs_and_a_rebuilt_store_is_asked_again(cohort):
    gate, sheet = cohort / "gate", ["--samples", "samples.tsv", "--regions", "regions.bed"]
    tool = f"[ {{sample}} = b ] || until [ -e {gate} ]; do sleep 0.1; done; samtools view -c -"
    options = [*sheet, "--kinds", "count", "--exec", tool, "--slices", "2"]

    def is_time():
        return (cohort / "results/slices/cohort.1-of-2.json").exists() and list(
            cohort.glob("results/work/logs/*/*")
        )

    kill_when(cohort, is_time, *options)
    gate.touch()
    run(cohort, *options, "-resume")
    whole = ["BAMS3_CONVERT (b)", "BAMS3_PLAN (cohort)", "BAMS3_RUN (cohort 1/2)"]
    rest = ["BAMS3_CHECKSHEET (samples.tsv)", "BAMS3_GATHER (cohort)", "BAMS3_RUN (cohort 2/2)"]
    assert ran(trace(cohort), "CACHED") == whole
    assert ran(trace(cohort)) == rest
    before = read_counts(cohort / "results/counts.tsv")
    assert before.samples == ("b", "a")
    assert before.counts[:, 0].tolist() == before.counts[:, 1].tolist()

    reference = ["--reference", str(cohort / "reference.fa")]
    assert convert(cohort / "sample2.cram", cohort / "given.bams3", "--force", *reference).code == 0
    run(cohort, *options, "-resume")
    assert ran(trace(cohort), "CACHED") == ["BAMS3_CONVERT (b)"]
    after = read_counts(cohort / "results/counts.tsv").counts
    assert after[:, 0].tolist() == before.counts[:, 0].tolist()
    assert after[:, 1].tolist() != before.counts[:, 1].tolist()


def test_the_call_of_few_words_and_a_slice_that_fails(cohort):
    """Stores by a pattern, BED with a header; one of three slices fails, and is all that is left."""
    (cohort / "samples").mkdir()
    for name in "abc":
        shutil.copytree(cohort / "given.bams3", cohort / f"samples/{name}.bams3")
    bed = (cohort / "regions.bed").read_text()
    (cohort / "regions.bed").write_text("chr\tstart\tend\tname\n" + bed)
    call = ["--samples", "samples/*.bams3", "--regions", "regions.bed"]
    # with the lock of another slice there a unit fails: one slice runs at a time
    alone = f"mkdir {cohort}/lock && sleep 0.1 && samtools view -c - && rmdir {cohort}/lock"
    tool = f"[ {{sample}} != b ] || [ -e {cohort}/mended ] && {alone}"
    options = [*call, "--kinds", "count", "--exec", tool, "--slices", "3", "-process.maxForks", "1"]
    done = nextflow(cohort, "run", PIPELINE, *options)
    assert done.returncode == 1, done.stdout
    assert "units are not done, the first: exec of b at chr1:1-1000" in done.stdout
    tasks = [row for row in trace(cohort) if row["process"] == "BAMS3_RUN"]
    assert sorted(row["exit"] for row in tasks) == ["0", "0", "5"]
    (cohort / "mended").touch()
    run(cohort, *options, "-resume")
    assert ran(trace(cohort))[1:] == ["BAMS3_GATHER (cohort)", "BAMS3_RUN (cohort 2/3)"]
    assert read_counts(cohort / "results/counts.tsv").samples == ("a", "b", "c")
