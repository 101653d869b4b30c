"""The Snakemake workflow with linkage disequilibrium: one command's pairs, reruns, mistakes."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import run as command
from panels import write_pgen, write_plink, write_vcf
from s3_places import Bucket
from simulate_cohort import main as simulate
from test_workflow import WORK, run, snakemake
from test_workflow_slurm import resources_of_jobs

pytestmark = pytest.mark.engine

#: Jobs of LD.
LD = {"ld_import": 1, "ld_plan": 1, "ld_slice": 3, "ld_gather": 1, "ld_decay": 1}
OF_PANEL = {rule: n for rule, n in LD.items() if rule != "ld_import"}
ALONE = "samples: null\n"
CONFIG = "ld:\n  vcf: cohort.bcf\n  tiles: 10\n  slices: 3\n  min_r2: 0.01\n"
NAMES = [f"s{i}" for i in range(50)]


def write_genotypes(path, seed=1, n=60):
    """Random genotypes of n variants, two in three of them phased."""
    chance = np.random.default_rng(seed)
    share = chance.uniform(0.05, 0.5, (n, 1, 1))
    alleles = (chance.random((n, len(NAMES), 2)) < share).astype(int)
    rows = []
    for k, row in enumerate(alleles.tolist()):
        calls = " ".join(f"{a}{'|' if k % 3 else '/'}{b}" for a, b in row)
        rows.append(f"{1 if k < n - 9 else 'X'} {100 + 40 * k} rs{k} A G {calls}")
    write_vcf(path, NAMES, rows)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A cohort and genotypes, before the first run."""
    folder = tmp_path_factory.mktemp("started")
    simulate([str(folder), "--size-kb", "40", "--depth", "6", "--samples", "2"])
    write_genotypes(folder / "cohort.bcf")
    with (folder / "config.yaml").open("a") as config:
        config.write(CONFIG)
    return folder


@pytest.fixture(scope="module")
def finished(started, tmp_path_factory):
    """The cohort after its run. Tests that change it take a copy."""
    folder = shutil.copytree(started, tmp_path_factory.mktemp("finished") / "cohort")
    assert run(folder) == {"convert": 2, **WORK, **LD}
    return folder


@pytest.fixture
def fresh(started, tmp_path):
    return shutil.copytree(started, tmp_path / "cohort")


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "cohort")


def is_that_of_the_command(folder, panel, *options):
    """Whether the result is, byte for byte, that of one `bams3 ld-tile`."""
    done = command("ld-tile", "--quiet", folder / panel, folder / "alone.parquet", *options)
    assert done.kind == "", done.err
    return (folder / "alone.parquet").read_bytes() == (folder / "results/ld.parquet").read_bytes()


def units_done(folder):
    """Tiles that were run, as the logs say."""
    logs = (folder / "results/work/ld/logs").rglob("*.jsonl")
    return sum(log.read_text().count('"event":"done"') for log in logs)


# What comes out -----------------------------------------------------------------------------------------


def test_the_pairs_are_those_of_one_command(copy):
    command("ld-import", copy / "cohort.bcf", copy / "alone.ldp", "--quiet")
    assert is_that_of_the_command(copy, "alone.ldp", "--min-r2", "0.01")
    assert pq.read_metadata(copy / "results/ld.parquet").num_rows > 300
    assert json.loads((copy / "results/ld/plan.json").read_text())["kinds"][0]["kind"] == "ld"
    logs = {str(path.relative_to(copy / "logs/ld")) for path in (copy / "logs/ld").rglob("*.log")}
    slices = {f"slices/{i}-of-3.log" for i in (1, 2, 3)}
    assert logs == {"import.log", "plan.log", "gather.log", "decay.log", *slices}


def test_decay_and_regions_are_drawn(copy):
    (copy / "config.yaml").write_text(
        f"{ALONE}ld: {{vcf: cohort.bcf, slices: 3, max_distance: 1kb, draw: ['1:100-1500', X]}}\n"
    )
    assert run(copy) == {**OF_PANEL, "ld_draw": 2}
    how = "--max-distance 1kb --maf 0.05 --quiet".split()
    decay = command("ld-decay", copy / "results/ld/panel.ldp", *how)
    assert (copy / "results/ld/panel.decay.tsv").read_text() == decay.out
    for name in ("panel.decay", "regions/1_100-1500.ld", "regions/X.ld"):
        assert (copy / f"results/ld/{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (copy / f"results/ld/{name}.svg").stat().st_size > 10_000
    assert snakemake(copy, "--report", str(copy / "report.html")).returncode == 0
    assert "Dark triangles are blocks" in (copy / "report.html").read_text()


def test_options_of_the_config_reach_the_commands(fresh):
    (fresh / "some.txt").write_text("\n".join(NAMES[:40]) + "\n")
    keys = "regions: ['1:1-1500', X], samples: some.txt, maf: 0.1, multiallelic: drop, max_memory: 1G"
    keys += ", slices: 2, max_distance: 1kb, max_variants: 12, min_r2: 0.000001, max_p: 0.9"
    keys += ", unphased: true, em: true, counts: true"
    (fresh / "config.yaml").write_text(f"{ALONE}ld: {{vcf: cohort.bcf, {keys}}}\n")
    run(fresh)
    chosen = "--region 1:1-1500 --region X --samples some.txt --maf 0.1 --multiallelic drop".split()
    chosen[5] = fresh / "some.txt"
    command("ld-import", fresh / "cohort.bcf", fresh / "alone.ldp", "--quiet", *chosen)
    options = "--max-distance 1kb --max-variants 12 --min-r2 0.000001 --max-p 0.9 --unphased --em --counts"
    assert is_that_of_the_command(fresh, "alone.ldp", *options.split())
    assert pq.read_metadata(fresh / "results/ld.parquet").num_rows > 100


def test_pairs_of_different_contigs_are_paired_where_that_is_asked(copy):
    (copy / "config.yaml").write_text(f"{ALONE}{CONFIG}  inter_chr: true\n")
    assert run(copy) == {"ld_plan": 1, "ld_slice": 3, "ld_gather": 1}
    assert is_that_of_the_command(copy, "results/ld/panel.ldp", "--inter-chr", "--min-r2", "0.01")


def test_a_panel_is_used_as_it_is(finished, s3_bucket: Bucket, tmp_path):
    wanted = (finished / "results/ld.parquet").read_bytes()
    panel = finished / "results/ld/panel.ldp"
    for name, given in (("here", panel), ("there", s3_bucket.put_folder(panel, "in/panel.ldp"))):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text(ALONE + CONFIG.replace("vcf: cohort.bcf", f"panel: {given}"))
        assert run(folder) == OF_PANEL
        assert (folder / "results/ld.parquet").read_bytes() == wanted
        assert "Nothing to be done" in snakemake(folder).stderr


def test_plink_files_are_imported(tmp_path):
    codes = np.random.default_rng(1).integers(0, 3, (30, 40)).tolist()
    sites = [f"1 rs{i} 0 {100 + i} A G" for i in range(30)]
    write_plink(tmp_path / "set", [(f"f{i}", f"i{i}") for i in range(40)], sites, codes)
    (tmp_path / "config.yaml").write_text(f"{ALONE}ld: {{bfile: set, tiles: 3, slices: 3, min_r2: 0}}\n")
    assert run(tmp_path) == LD
    assert is_that_of_the_command(tmp_path, "results/ld/panel.ldp", "--min-r2", "0")


def test_plink_2_files_are_imported(tmp_path):
    write_pgen(tmp_path / "set", [f"1 {100 + i} rs{i} A G 0|1 1|0 0|0 1|1" for i in range(9)], [1, 2, 1, 2])
    (tmp_path / "config.yaml").write_text(f"{ALONE}ld: {{pfile: set, tiles: 1, slices: 3, min_r2: 0}}\n")
    assert run(tmp_path) == LD
    assert is_that_of_the_command(tmp_path, "results/ld/panel.ldp", "--min-r2", "0")
    (tmp_path / "set.pvar").rename(tmp_path / "set.pvar.zst")
    assert run(tmp_path, "--dry-run") == LD


# What runs, and what runs again -------------------------------------------------------------------------


def test_a_second_run_does_nothing(finished):
    done = snakemake(finished)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_another_number_of_slices_runs_no_tile(copy):
    assert units_done(copy) == 10
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("slices: 3", "slices: 20"))
    before = (copy / "results/ld.parquet").read_bytes()
    assert run(copy, "--keep-going", "ld") == {"ld_plan": 1, "ld_slice": 20, "ld_gather": 1, "ld": 1}
    assert units_done(copy) == 10
    assert (copy / "results/ld.parquet").read_bytes() == before


def test_other_genotypes_are_imported_and_nothing_else_runs(copy):
    write_genotypes(copy / "cohort.bcf", seed=2)
    before = (copy / "results/ld.parquet").read_bytes()
    assert run(copy) == LD
    assert (copy / "results/ld.parquet").read_bytes() != before
    assert is_that_of_the_command(copy, "results/ld/panel.ldp", "--min-r2", "0.01")
    assert units_done(copy) == 20


def test_another_region_of_the_cohort_runs_none_of_it(copy):
    with (copy / "regions.bed").open("a") as bed:
        bed.write("chr1\t100\t2100\tmore\n")
    assert run(copy, "--dry-run") == WORK


def test_the_target_ld_converts_nothing(fresh):
    assert run(fresh, "--dry-run", "ld") == {**LD, "ld": 1}


def test_without_samples_there_is_only_ld_and_without_the_section_none(fresh):
    text = (fresh / "config.yaml").read_text()
    for without in (text.replace(CONFIG, ""), text.replace(CONFIG, "ld:\n")):
        (fresh / "config.yaml").write_text(without)
        assert run(fresh, "--dry-run") == {"convert": 2, **WORK}
    (fresh / "config.yaml").write_text(ALONE + CONFIG)
    for sheet in ("samples.tsv", "regions.bed"):
        (fresh / sheet).unlink()
    assert run(fresh, "--dry-run") == LD


def test_slices_ask_for_the_memory_of_their_workers(fresh):
    for keys, threads, mem_mb in (
        ("tiles: 10", 1, 1224),
        ("max_memory: 400M", 1, 600),
        ("max_memory: 2G", 3, 3 * 2048 + 200),
    ):
        (fresh / "config.yaml").write_text(f"{ALONE}ld: {{vcf: cohort.bcf, {keys}, slices: 2}}\n")
        asked = ["--set-threads", f"ld_slice={threads}", "--cores", "4"]
        first, second = (resources_of_jobs(fresh, "--attempt", n, *asked) for n in ("1", "2"))
        assert len(first) == 6
        assert all("runtime" in job for job in first)
        assert [int(job["mem_mb"]) for job in first].count(mem_mb) == 2
        assert [2 * int(job["mem_mb"]) for job in first] == [int(job["mem_mb"]) for job in second]


# What is wrong is said before any job -------------------------------------------------------------------

ONE = "config, key ld: give one of vcf, bfile, pfile and panel, whose variants are paired\n"
IMPORTED = "config, key ld: regions, samples, maf and multiallelic are for what is imported"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("vcf: cohort.bcf, panel: a.ldp", ONE),
        ("vcf: cohort.bcf, bfile: a, tiles: 3", ONE),
        ("slices: 3", ONE),
        ("panel: a.ldp, maf: 0.1", IMPORTED),
        ("panel: a.ldp, regions: [chr20]", IMPORTED),
        ("vcf: cohort.bcf, tiles: 3, max_memory: 1G", "give tiles or max_memory, not both\n"),
        ("vcf: cohort.bcf, inter_chr: true, max_variants: 9", "pairs of different contigs have no distance"),
        ("vcf: cohort.bcf, slices: 0", "config, key ld.slices: 0 is less than the minimum of 1\n"),
        ("vcf: cohort.bcf, min_r2: 2", "config, key ld.min_r2: 2 is greater than the maximum of 1\n"),
        ("vcf: cohort.bcf, max_memory: much", "config, key ld.max_memory: 'much' does not match"),
        (
            "vcf: cohort.bcf, max_distance: far",
            "config, key ld.max_distance: 'far' does not match: pair variants",
        ),
        ("vcf: cohort.bcf, r2: 1", "config, key ld: unknown key r2; the keys are vcf, bfile, "),
        ("vcf: nope.bcf", "config, key ld.vcf: nope.bcf: no such file\n"),
        ("vcf: cohort.bcf, samples: nope", "config, key ld.samples: nope: no such file\n"),
        ("bfile: nope", "config, key ld.bfile: nope.bed: no such file\n"),
        ("pfile: nope", "config, key ld.pfile: nope.pgen: no such file\n"),
        (
            "vcf: cohort.bcf, draw: ['1:1-9', '1_1-9']",
            "key ld.draw: figures of two of 1:1-9, 1_1-9 have the same name\n",
        ),
        ("panel: nope.ldp/", "config, key ld.panel: nope.ldp/_metadata.json: no such file\n"),
    ],
)
def test_a_mistake_is_one_line_before_any_job(fresh, keys, expected):
    (fresh / "config.yaml").write_text(f"{ALONE}ld: {{{keys}}}\n")
    done = snakemake(fresh, "--dry-run")
    assert done.returncode == 1
    assert expected in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_number_of_tiles_that_there_is_not_is_told_in_the_log_of_the_plan(fresh):
    (fresh / "config.yaml").write_text(ALONE + CONFIG.replace("tiles: 10", "tiles: 11"))
    done = snakemake(fresh)
    assert done.returncode == 1
    assert "blocks of equal size do not make 11 tiles" in done.stdout + done.stderr
    assert "the nearest numbers are" in done.stdout + done.stderr
    assert not (fresh / "results/ld.parquet").exists()


def test_snakemakes_linter_has_nothing_to_say(fresh):
    for config in (CONFIG + "  draw: [X]\n", CONFIG.replace("vcf: cohort.bcf", "panel: s3://bucket/a.ldp")):
        (fresh / "config.yaml").write_text(ALONE + config)
        done = snakemake(fresh, "--lint")
        assert done.returncode == 0, done.stdout + done.stderr
