"""The Snakemake cohort run, on a simulated cohort: its counts, its reruns, what it says when it cannot."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pysam
import pytest
import snakemake_forks
from simulate_cohort import main as simulate

from bams3.tables import read_counts

pytestmark = pytest.mark.engine

SNAKEFILE = Path(__file__).parent.parent / "workflow" / "Snakefile"
MANIFEST = "results/stores/{}.bams3/_metadata.json"
#: Jobs that answer questions, however many samples and regions there are.
WORK = {"plan": 1, "run_slice": 2, "gather": 1}
#: Units of a sample: reads and depth of each of 60 regions, and its statistics.
UNITS = 121


def snakemake(folder, *options, cores=2):
    """Run the workflow in a folder, with the tools of this Python first on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["--snakefile", str(SNAKEFILE), "--cores", str(cores), "--directory", str(folder)]
    command += ["--configfile", str(folder / "config.yaml"), *options]
    return snakemake_forks.snakemake(command, {**os.environ, "PATH": path})


def run(folder, *options):
    """Run the workflow, which must succeed; its jobs by rule."""
    done = snakemake(folder, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return jobs_of(done)


def jobs_of(done):
    """How many jobs of each rule Snakemake announced."""
    table = re.search(r"Job stats:\n.*\n[ -]+\n((?:\w+ +\d+\n)+)", done.stdout + done.stderr)
    jobs = dict(line.split() for line in table[1].splitlines()) if table else {}
    return {rule: int(count) for rule, count in jobs.items() if rule not in ("all", "total")}


def units_done(folder):
    """Units that were run, as the logs say: each line is one."""
    logs = (folder / "results/work/logs").rglob("*.jsonl")
    return sum(log.read_text().count('"event":"done"') for log in logs)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A cohort before its first run."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate([str(folder), "--size-kb", "60", "--depth", "8"])
    return folder


@pytest.fixture(scope="module")
def finished(simulated, tmp_path_factory):
    """The cohort after its run. Tests that change it take a copy."""
    folder = shutil.copytree(simulated, tmp_path_factory.mktemp("finished") / "cohort")
    assert run(folder) == {"convert": 4, **WORK}
    return folder


@pytest.fixture
def fresh(simulated, tmp_path):
    return shutil.copytree(simulated, tmp_path / "cohort")


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "cohort")


def samtools_counts(folder, alignment, *options):
    """Reads of an alignment in each region of the cohort's BED, by samtools."""
    rows = [line.split("\t") for line in (folder / "regions.bed").read_text().splitlines()]
    regions = [f"{contig}:{int(start) + 1}-{end}" for contig, start, end, _ in rows]
    reference = ["-T", str(folder / "reference.fa")]
    return [int(pysam.view("-c", *reference, *options, str(alignment), region)) for region in regions]


def add_row(folder, row):
    with (folder / "samples.tsv").open("a") as sheet:
        sheet.write(row + "\n")


# What comes out -----------------------------------------------------------------------------------------


def test_counts_are_those_of_samtools(finished):
    table = read_counts(finished / "results/counts.tsv")
    assert table.samples == ("sample1", "sample2", "sample3", "sample4")
    for sample, counts in zip(table.samples, table.counts.T.tolist(), strict=True):
        suffix = "cram" if sample == "sample4" else "bam"
        assert counts == samtools_counts(finished, finished / "alignments" / f"{sample}.{suffix}")
    bed = [tuple(line.split("\t")) for line in (finished / "regions.bed").read_text().splitlines()]
    assert [(r.contig, str(r.start_bp), str(r.end_bp), r.name) for r in table.regions] == bed


def test_depth_and_breadth_are_those_of_samtools(finished):
    bed, alignment = finished / "regions.bed", finished / "alignments/sample2.bam"
    found = [read_counts(finished / f"results/{what}.tsv") for what in ("depth", "breadth")]
    column = found[0].samples.index("sample2")
    rows = [line.split("\t") for line in pysam.bedcov("-j", str(bed), str(alignment)).splitlines()]
    for (contig, start, end, _, total), mean, breadth in zip(
        rows, *(table.counts[:, column].tolist() for table in found), strict=True
    ):
        length = int(end) - int(start)
        assert abs(mean - int(total) / length) < 0.000051
        depth = pysam.coverage("-H", "-r", f"{contig}:{int(start) + 1}-{end}", str(alignment)).split("\t")
        assert abs(breadth - int(depth[4]) / length) < 0.000051


def test_multiqc_makes_a_report_of_all_samples(finished, tmp_path):
    command = [sys.executable, "-m", "multiqc", "--strict", "-o", str(tmp_path), "results/multiqc"]
    done = subprocess.run(command, cwd=finished, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads((tmp_path / "multiqc_data/multiqc_data.json").read_text())
    told = {sample for table in data["report_general_stats_data"].values() for sample in table}
    assert told == {f"sample{i}" for i in range(1, 5)}


def test_there_are_heat_maps_a_log_and_a_benchmark(finished):
    for what in ("counts", "depth", "breadth"):
        assert (finished / f"results/{what}.png").read_bytes().startswith(b"\x89PNG")
    for number in range(1, 5):
        assert (finished / f"logs/convert/sample{number}.log").is_file()
        header, values = (
            (finished / f"results/benchmarks/convert/sample{number}.tsv").read_text().splitlines()
        )
        assert "max_rss" in dict(zip(header.split("\t"), values.split("\t"), strict=True))


def test_filters_of_the_config_reach_samtools_answer(copy):
    with (copy / "config.yaml").open("a") as config:
        config.write("filters:\n  exclude_flags: DUP,UNMAP\n  min_mapq: 30\n  require_flags: 2\n")
    assert run(copy) == WORK
    column = read_counts(copy / "results/counts.tsv").counts[:, 1].tolist()
    alignment = copy / "alignments/sample2.bam"
    assert column == samtools_counts(copy, alignment, "-F", "DUP,UNMAP", "-q", "30", "-f", "2")


# What runs, and what runs again -------------------------------------------------------------------------


def test_a_dry_run_tells_the_jobs_and_makes_nothing(fresh):
    assert run(fresh, "--dry-run") == {"convert": 4, **WORK}
    assert not (fresh / "results").exists()


def test_a_second_run_does_nothing(finished):
    done = snakemake(finished)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_another_sample_runs_its_own_jobs_only(copy):
    fewer = copy / "alignments/sample5.bam"
    pysam.view("-b", "-s", "1.5", "-o", str(fewer), str(copy / "alignments/sample1.bam"), catch_stdout=False)
    pysam.index(str(fewer))
    add_row(copy, "sample5\talignments/sample5.bam\t")
    before = units_done(copy)
    assert before == 4 * UNITS
    assert run(copy) == {"convert": 1, **WORK}
    assert units_done(copy) == before + UNITS
    table = read_counts(copy / "results/counts.tsv")
    assert table.samples[4] == "sample5"
    assert table.counts[:, 4].tolist() == samtools_counts(copy, fewer)


def test_a_store_in_the_sheet_is_used_as_it_is(finished, fresh):
    store = finished / "results/stores/sample2.bams3"
    (fresh / "samples.tsv").write_text(f"sample,alignment,store\nA,alignments/sample1.bam,\nB,,{store}\n")
    done = snakemake(fresh)
    assert jobs_of(done) == {"convert": 1, **WORK}
    assert f"tables and figures are in {fresh}/results" in done.stdout + done.stderr
    table = read_counts(fresh / "results/counts.tsv")
    assert table.counts[:, 1].tolist() == samtools_counts(fresh, fresh / "alignments/sample2.bam")


def test_a_changed_alignment_is_converted_again_over_its_store(copy):
    for suffix in ("bam", "bam.bai"):
        shutil.copyfile(copy / f"alignments/sample2.{suffix}", copy / f"alignments/sample1.{suffix}")
    assert run(copy) == {"convert": 1, **WORK}
    table = read_counts(copy / "results/counts.tsv")
    assert table.counts[:, 0].tolist() == table.counts[:, 1].tolist()
    store = copy / "results/stores/sample1.bams3"
    names = {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}
    other = copy / "results/stores/sample2.bams3"
    assert names == {str(path.relative_to(other)) for path in other.rglob("*") if path.is_file()}


def test_another_region_is_all_that_runs(copy):
    bed = copy / "regions.bed"
    bed.write_text("chr1\t100\t2100\tmore\n" + bed.read_text())
    before = units_done(copy)
    assert run(copy) == WORK
    assert units_done(copy) == before + 4 * 2
    column = read_counts(copy / "results/counts.tsv").counts[:, 1].tolist()
    assert column == samtools_counts(copy, copy / "alignments/sample2.bam")


def test_fewer_regions_and_other_slices_run_no_unit(copy):
    bed = copy / "regions.bed"
    bed.write_text("".join(bed.read_text().splitlines(keepends=True)[:5]))
    with (copy / "config.yaml").open("a") as config:
        config.write("slices: 3\n")
    before = units_done(copy)
    assert run(copy) == WORK | {"run_slice": 3}
    assert units_done(copy) == before
    assert len(read_counts(copy / "results/counts.tsv").regions) == 5


def test_reads_and_a_tool_of_the_user_go_through_it_too(copy):
    with (copy / "config.yaml").open("a") as config:
        config.write("kinds: [records]\nexec: samtools view -c -\n")
    assert run(copy) == WORK
    for kind in ("records", "exec"):
        rows = [line.split("\t") for line in (copy / f"results/{kind}.tsv").read_text().splitlines()[1:]]
        mine = [copy / "results" / row[5] for row in rows if row[0] == "sample2"]
        counts = [
            int(pysam.view("-c", str(path))) if kind == "records" else int(path.read_text()) for path in mine
        ]
        assert counts == samtools_counts(copy, copy / "alignments/sample2.bam")


def test_one_bad_alignment_leaves_no_store_and_does_not_stop_other_conversions(fresh):
    whole = (fresh / "alignments/sample1.bam").read_bytes()
    (fresh / "alignments/sample1.bam").write_bytes(whole[: len(whole) // 2])
    done = snakemake(fresh)
    assert done.returncode == 1
    assert not (fresh / MANIFEST.format("sample1")).exists()
    assert (fresh / MANIFEST.format("sample2")).exists()
    assert not (fresh / "results/counts.tsv").exists()
    (fresh / "alignments/sample1.bam").write_bytes(whole)
    assert run(fresh) == {"convert": 1, **WORK}
    counts = read_counts(fresh / "results/counts.tsv").counts[:, 0].tolist()
    assert counts == samtools_counts(fresh, fresh / "alignments/sample1.bam")


# What is wrong is said before any job -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (
            "samples.tsv",
            "sample\talignment\nA\tnope.bam\n",
            "samples.tsv line 2 column alignment: nope.bam: no such file",
        ),
        ("samples.tsv", "sample\tbma\nA\tx.bam\n", "samples.tsv line 1 column 2: unknown column 'bma'"),
        ("samples.tsv", "sample\talignment\n", "samples.tsv: no samples, only a header"),
        ("regions.bed", "chr1\t10\t5\n", "regions.bed line 1 column 3: end 5 lies before start 10"),
        ("config.yaml", "samples: nope.tsv\n", "nope.tsv: no such samples sheet"),
        (
            "config.yaml",
            "sample: x\n",
            "config: unknown key sample (did you mean samples?); the keys are samples, ",
        ),
        (
            "config.yaml",
            "filters:\n  min_mapq: high\n",
            "config, key filters.min_mapq: 'high' is not of type",
        ),
        (
            "config.yaml",
            "colour: red\n",
            "config: unknown key colour; the keys are samples, regions, filters",
        ),
        (
            "config.yaml",
            "filters:\n  mapq: 3\n",
            "config, key filters: unknown key mapq (did you mean min_mapq?); ",
        ),
    ],
)
def test_a_mistake_is_one_line_before_any_job(fresh, file, text, expected):
    (fresh / file).write_text(text)
    done = snakemake(fresh)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not (fresh / "results").exists()


def test_the_template_says_that_it_is_to_be_filled_in(fresh):
    root = SNAKEFILE.parent.parent
    shutil.copytree(root / "config", fresh / "config")
    shutil.copyfile(root / "config/config.yaml", fresh / "config.yaml")
    done = snakemake(fresh)
    assert done.returncode == 1
    assert "config/samples.tsv: no samples, only a header" in done.stderr
    assert "add a line for each sample" in done.stderr


def test_snakemakes_linter_has_nothing_to_say(simulated):
    done = snakemake(simulated, "--lint")
    assert done.returncode == 0, done.stdout + done.stderr
