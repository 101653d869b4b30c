"""The Snakemake workflow with tests for batch effects: one command's table, reruns, mistakes."""

import gzip
import json
import shutil

import numpy as np
import pytest
from commands import run as command
from panels import write_vcf
from s3_places import Bucket
from simulate_cohort import main as simulate
from test_workflow import WORK, run, snakemake
from test_workflow_slurm import resources_of_jobs

pytestmark = pytest.mark.engine

#: Jobs of the tests.
TESTS = {"chi2_slice": 3, "chi2_merge": 1, "chi2_plot": 1}
ALONE = "samples: null\n"
CONFIG = "chi2:\n  counts: counts.tsv.gz\n  slices: 3\n"
RESULTS = ["chi2.tsv", "chi2.tsv.summary.txt", "chi2.tsv.summary.json"]
FIGURES = [f"chi2.{what}.{form}" for what in ("batches", "pvalues", "qq") for form in ("png", "svg")]


def write_counts(path, seed=1, n=200):
    """Genotypes of rare and common variants in six batches; every eighth differs in plate_3."""
    chance = np.random.default_rng(seed)
    lines = ["probeset_id\tbatch_name\tn_AA\tn_AB\tn_BB\tn_NC"]
    for p in range(n):
        allele = chance.beta(0.5, 1, 6)[:1].repeat(6)
        allele[3] = 1 - allele[3] if p % 8 == 0 else allele[3]
        for batch, q in enumerate(allele):
            counts = chance.multinomial(90, [0.9 * (1 - q) ** 2, 1.8 * q * (1 - q), 0.9 * q * q, 0.1])
            lines.append("\t".join([f"AX-{p}", f"plate_{batch}", *map(str, counts)]))
    with gzip.open(path, "wt") as table:
        table.write("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A cohort and a table of counts, before the first run."""
    folder = tmp_path_factory.mktemp("started")
    simulate([str(folder), "--size-kb", "40", "--depth", "6", "--samples", "2"])
    write_counts(folder / "counts.tsv.gz")
    with (folder / "config.yaml").open("a") as config:
        config.write(CONFIG)
    return folder


@pytest.fixture(scope="module")
def finished(started, tmp_path_factory):
    """The cohort after its run. Tests that change it take a copy."""
    folder = shutil.copytree(started, tmp_path_factory.mktemp("finished") / "cohort")
    assert run(folder) == {"convert": 2, **WORK, **TESTS}
    return folder


@pytest.fixture
def fresh(started, tmp_path):
    return shutil.copytree(started, tmp_path / "cohort")


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "cohort")


def is_that_of_the_command(folder, monkeypatch, *arguments):
    """Whether the results are, byte for byte, those of one `bams3 chi2-batch`."""
    monkeypatch.chdir(folder)
    done = command("chi2-batch", "--quiet", *arguments, "alone.tsv")
    assert done.kind == "", done.err
    return all(
        (folder / f"alone{result.removeprefix('chi2')}").read_bytes()
        == (folder / "results" / result).read_bytes()
        for result in RESULTS
    )


# What comes out -----------------------------------------------------------------------------------------


def test_the_table_is_that_of_one_command(copy, monkeypatch):
    assert is_that_of_the_command(copy, monkeypatch, "counts.tsv.gz")
    summary = json.loads((copy / "results/chi2.tsv.summary.json").read_text())
    assert summary["probesets"] == 200
    assert min(summary["methods"][method] for method in ("standard", "monte_carlo")) > 20
    assert summary["worst_batches"]["plate_3"] == max(summary["worst_batches"].values()) > 15


def test_there_are_figures_and_logs_and_nothing_of_the_slices(finished):
    made = {path.name for path in (finished / "results").glob("chi2*") if path.is_file()}
    assert made == {*RESULTS, *FIGURES}
    for name in FIGURES:
        start = (finished / "results" / name).read_bytes()[:5]
        assert start == (b"\x89PNG\r" if name.endswith("png") else b"<?xml")
    assert not [path for path in (finished / "results/chi2").rglob("*") if path.is_file()]
    logs = {str(path.relative_to(finished / "logs/chi2")) for path in (finished / "logs/chi2").rglob("*.log")}
    assert logs == {"merge.log", "plot.log", *(f"slices/{i}-of-3.log" for i in (1, 2, 3))}


def test_the_report_has_the_figures_and_not_the_table(finished, tmp_path):
    done = snakemake(finished, "--report", str(tmp_path / "report.html"))
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "report.html").read_text()
    assert "Batch effects" in page
    for words in (
        "QQ plot",
        "worst batches",
        "as -log10; grey",
        "about flat if nothing differs",
        "Tested was",
    ):
        assert words in page
    for result in ("chi2.qq.png", "chi2.pvalues.png", "chi2.batches.png", "chi2.tsv.summary.txt"):
        assert f'"results/{result}": {{"name"' in page
    assert '"results/chi2.tsv": {"name"' not in page


def test_options_of_the_config_reach_the_command(fresh, monkeypatch):
    keys = "adaptive: false, n_simulations: 300, random_seed: 7, min_expected_count: 2"
    keys += ", exclude_no_call: true, sum_duplicates: true, slices: 2"
    (fresh / "config.yaml").write_text(f"{ALONE}chi2: {{counts: counts.tsv.gz, {keys}}}\n")
    run(fresh)
    options = "--no-adaptive --n-simulations 300 --random-seed 7 --min-expected-count 2 --exclude-no-call"
    assert is_that_of_the_command(fresh, monkeypatch, *options.split(), "--sum-duplicates", "counts.tsv.gz")


def test_genotypes_of_a_panel_are_counted_by_plate(tmp_path, monkeypatch):
    chance = np.random.default_rng(1)
    names = [f"s{i}" for i in range(40)]
    calls = chance.choice(["0/0", "0/1", "1/1", "./."], (30, 40), p=[0.5, 0.3, 0.15, 0.05])
    rows = [f"1 {100 + i} rs{i} A G {' '.join(row)}" for i, row in enumerate(calls)]
    write_vcf(tmp_path / "panel.bcf", names, rows)
    plates = "".join(f"{name}\tplate_{i % 3}\n" for i, name in enumerate(names))
    (tmp_path / "plates.tsv").write_text("sample\tplate\n" + plates)
    keys = "vcf: panel.bcf, plates: plates.tsv, slices: 3, max_simulations: 500"
    (tmp_path / "config.yaml").write_text(f"{ALONE}chi2: {{{keys}}}\n")
    assert run(tmp_path) == TESTS
    options = ["--vcf", "panel.bcf", "--plates", "plates.tsv", "--max-simulations", "500"]
    assert is_that_of_the_command(tmp_path, monkeypatch, *options)


def test_a_table_in_s3_gives_the_results_of_one_on_a_disk(finished, s3_bucket: Bucket, tmp_path):
    address = s3_bucket.put("counts.tsv.gz", (finished / "counts.tsv.gz").read_bytes())
    (tmp_path / "config.yaml").write_text(f"{ALONE}chi2: {{counts: '{address}', slices: 3}}\n")
    assert run(tmp_path) == TESTS
    assert (tmp_path / "results/chi2.tsv").read_bytes() == (finished / "results/chi2.tsv").read_bytes()
    assert "Nothing to be done" in snakemake(tmp_path).stderr


# What runs, and what runs again -------------------------------------------------------------------------


def test_a_second_run_does_nothing(finished):
    done = snakemake(finished)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_other_counts_are_tested_again_and_nothing_else_runs(copy, monkeypatch):
    write_counts(copy / "counts.tsv.gz", seed=2)
    assert run(copy) == TESTS
    assert is_that_of_the_command(copy, monkeypatch, "counts.tsv.gz")


@pytest.mark.parametrize(("line", "slices"), [("  random_seed: 2\n", 3), ("  slices: 2\n", 2)])
def test_another_option_or_number_of_slices_tests_again(copy, line, slices):
    text = (copy / "config.yaml").read_text()
    key = line.split(":")[0]
    kept = [one for one in text.splitlines(keepends=True) if not one.startswith(f"{key}:")]
    (copy / "config.yaml").write_text("".join(kept) + line)
    assert run(copy, "--dry-run") == TESTS | {"chi2_slice": slices}


def test_another_region_tests_nothing(copy):
    with (copy / "regions.bed").open("a") as bed:
        bed.write("chr1\t100\t2100\tmore\n")
    assert run(copy, "--dry-run") == WORK


def test_the_target_chi2_runs_the_tests_and_no_conversion(fresh):
    assert run(fresh, "--keep-going", "chi2") == {**TESTS, "chi2": 1}
    assert not (fresh / "results/stores").exists()


def test_without_samples_there_are_only_tests(fresh):
    (fresh / "config.yaml").write_text(ALONE + CONFIG)
    for sheet in ("samples.tsv", "regions.bed"):
        (fresh / sheet).unlink()
    assert run(fresh, "--dry-run") == TESTS


def test_without_the_section_there_are_none(fresh):
    text = (fresh / "config.yaml").read_text()
    for without in (text.replace(CONFIG, ""), text.replace(CONFIG, "chi2:\n")):
        (fresh / "config.yaml").write_text(without)
        assert run(fresh, "--dry-run") == {"convert": 2, **WORK}


def test_most_slices_are_planned_and_every_job_asks_for_time_and_memory(fresh):
    (fresh / "config.yaml").write_text(ALONE + CONFIG.replace("3", "500"))
    first, second = (resources_of_jobs(fresh, "--attempt", attempt) for attempt in ("1", "2"))
    assert len(first) == 500 + 2
    assert all("runtime" in job for job in first)
    assert [2 * int(job["mem_mb"]) for job in first] == [int(job["mem_mb"]) for job in second]


# What is wrong is said before any job -------------------------------------------------------------------

ONE = "config, key chi2: give one of counts, vcf and bfile, which is tested\n"
PLATES = "config, key chi2: plates goes with vcf and bfile: they need it, and counts has its batches\n"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("counts: counts.tsv.gz, vcf: a.bcf", ONE),
        ("counts: counts.tsv.gz, vcf: a.bcf, plates: p.tsv", ONE),
        ("slices: 3", ONE),
        ("vcf: a.bcf", PLATES),
        ("counts: counts.tsv.gz, plates: p.tsv", PLATES),
        ("counts: counts.tsv.gz, slices: 0", "config, key chi2.slices: 0 is less than the minimum of 1\n"),
        ("counts: counts.tsv.gz, seed: 1", "config, key chi2: unknown key seed; the keys are counts, vcf, "),
        ("counts: counts.tsv.gz, n_simulations: 9", "n_simulations is for adaptive: false"),
        (
            "counts: counts.tsv.gz, adaptive: false, max_simulations: 9",
            "max_simulations is for adaptive: true",
        ),
        ("bfile: s3://b/panel, plates: p.tsv", "they are not fetched from S3\n"),
        ("counts: nope.tsv", "config, key chi2.counts: nope.tsv: no such file\n"),
        ("bfile: nope, plates: counts.tsv.gz", "config, key chi2.bfile: nope.bed: no such file\n"),
    ],
)
def test_a_mistake_is_one_line_before_any_job(fresh, keys, expected):
    (fresh / "config.yaml").write_text(f"{ALONE}chi2: {{{keys}}}\n")
    done = snakemake(fresh, "--dry-run")
    assert done.returncode == 1
    assert expected in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chi2: counts.tsv.gz\n", "config, key chi2: 'counts.tsv.gz' is not of type 'object', 'null'\n"),
        ("samples: null\n", "config: nothing to do, none of samples, chi2 and ld is given\n"),
    ],
)
def test_a_config_without_keys_of_its_own_is_told_what_it_lacks(fresh, text, expected):
    (fresh / "config.yaml").write_text(text)
    done = snakemake(fresh, "--dry-run")
    assert done.returncode == 1
    assert expected in done.stdout + done.stderr


def test_a_table_that_cannot_be_tested_is_told_in_the_log_of_its_slice(fresh):
    (fresh / "config.yaml").write_text(ALONE + CONFIG)
    with gzip.open(fresh / "counts.tsv.gz", "wt") as table:
        table.write("probeset_id\tbatch_name\tn_AA\nAX-1\tplate_1\t5\n")
    done = snakemake(fresh)
    assert done.returncode == 1
    assert "bams3: counts.tsv.gz" in done.stdout + done.stderr
    assert not (fresh / "results/chi2.tsv").exists()


def test_snakemakes_linter_has_nothing_to_say(fresh):
    done = snakemake(fresh, "--lint")
    assert done.returncode == 0, done.stdout + done.stderr
