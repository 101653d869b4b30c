"""The Snakemake wrappers: what they write is what the command writes, and they leave nothing half done."""

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import snakemake_forks
from commands import run as command
from test_workflow import jobs_of

pytestmark = pytest.mark.engine

WRAPPERS = Path(__file__).parents[1] / "wrappers"
NAMES = "chi2-batch convert coverage export ld-import ld-merge ld-tile query stats".split()
META = WRAPPERS / "meta/bams3_convert_query"
TESTS = [*(WRAPPERS / "bams3" / name / "test" for name in NAMES), META / "test"]

SAMPLE, PANEL = "sample.bams3", "cohort.ldp"
SOME = f"query {SAMPLE} chr1:100-300 chr2 --min-mapq 20 --exclude-flags DUP"
PLATES = "--plates sample_to_plate.tsv"
IMPORT = "ld-import --samples europeans.txt --maf 0.1 --region 1:100-250 cohort.vcf"
#: Of the example rules of a wrapper: each output, and the command that writes the same; none where that
#: before it does. EXPECTED is its place, without which the command writes to stdout.
EXAMPLES = {
    "convert": {f"{SAMPLE}/_metadata.json": "convert --chunk-size 2M sample.sam EXPECTED"},
    "query": {
        "regions/sample.bam": f"{SOME} -o EXPECTED",
        "regions/sample.n.txt": f"{SOME} --count",
        "regions/sample.counts.tsv": f"{SOME} --tsv",
        "columns/sample.parquet": f"query {SAMPLE} chr1 --columns pos,mapq,tag:NM -o EXPECTED",
        "targets/sample.sam": f"query {SAMPLE} -L targets.bed -o EXPECTED",
        "targets/sample.counts.tsv": f"query {SAMPLE} -L targets.bed --tsv",
    },
    "coverage": {
        "depth/sample.bedgraph": f"coverage {SAMPLE} -q 20",
        "depth/sample.windows.bed.gz": f"coverage {SAMPLE} -q 20 --window 100 --thresholds 1,2 -o EXPECTED",
        "depth/sample.windows.bed.gz.tbi": "",
        "depth/sample.regions.tsv": f"coverage {SAMPLE} -q 20 -L targets.bed --thresholds 1,2",
        "depth/sample.summary.tsv": f"coverage {SAMPLE} -q 20 --summary",
        "depth/sample.png": f"coverage {SAMPLE} -q 20 --thresholds 1,2 --plot EXPECTED",
        "region/sample.parquet": f"coverage {SAMPLE} chr1:200-400 -o EXPECTED",
    },
    "stats": {
        "stats/sample.idxstats.txt": f"stats {SAMPLE}",
        "stats/sample.flagstat.json": f"stats {SAMPLE} --flagstat --json",
        "stats/sample_mqc.json": f"stats {SAMPLE} --sample 'patient sample' --multiqc EXPECTED",
        "stats/sample_reads_mqc.json": "",
        "stats/sample.png": f"stats {SAMPLE} --sample 'patient sample' --plot EXPECTED",
    },
    "export": {
        "exported/sample.bam": f"export {SAMPLE} EXPECTED --level 6",
        "exported/sample.bam.bai": "",
        "exported/sample.cram": f"export {SAMPLE} EXPECTED --reference genome.fa",
    },
    "chi2-batch": {
        "chi2/counts.tsv": "chi2-batch counts.tsv EXPECTED --max-simulations 10000",
        "chi2/counts.summary.txt": "",
        "chi2/counts.summary.json": "",
        "chi2_vcf/cohort.parquet": f"chi2-batch --vcf cohort.vcf {PLATES} EXPECTED",
        "chi2_plink/cohort.tsv": f"chi2-batch --bfile cohort {PLATES} EXPECTED",
    },
    "ld-import": {
        f"{PANEL}/_metadata.json": f"{IMPORT} EXPECTED",
        f"plink/{PANEL}/_metadata.json": "ld-import cohort.bed EXPECTED",
    },
    "ld-tile": {
        "ld/cohort.tsv": f"ld-tile {PANEL} EXPECTED --min-r2 0.2 --max-distance 500kb",
        "ld/cohort/1-of-2.parquet": f"ld-tile {PANEL} EXPECTED --tiles 3 --slice 1/2",
    },
    "ld-merge": {"ld/cohort.tsv": f"ld-tile {PANEL} EXPECTED"},
}
#: Outputs that the command puts elsewhere.
BESIDE = {
    "chi2/counts.summary.txt": "chi2/counts.tsv.summary.txt",
    "chi2/counts.summary.json": "chi2/counts.tsv.summary.json",
}


@pytest.fixture
def place(tmp_path):
    """A folder whose ``master/bio`` is ours, as the repository of wrappers is laid out."""
    (tmp_path / "master").mkdir()
    (tmp_path / "master/bio").symlink_to(WRAPPERS)
    return tmp_path


def stand_in(folder, text):
    """Put a program in a folder that is to be called in the place of bams3."""
    folder.mkdir()
    (folder / "bams3").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "bams3").chmod(0o755)
    return str(folder)


def snakemake(folder, *options, first=()):
    """Run the Snakefile of a folder, with these folders and the tools of this Python first on the PATH."""
    path = os.pathsep.join([*first, str(Path(sys.executable).parent), os.environ["PATH"]])
    root = next(parent for parent in folder.parents if (parent / "master").exists())
    chosen = ["--snakefile", str(folder / "Snakefile"), "--directory", str(folder), "--cores", "2"]
    chosen += ["--wrapper-prefix", f"file://{root}/"]
    return snakemake_forks.snakemake([*chosen, *options], {**os.environ, "PATH": path})


def rules_of(snakefile):
    return re.findall(r"^rule (\w+):", snakefile.read_text(), re.MULTILINE)


def contents(path):
    """The bytes of a file; of a store or panel those of its objects, without what tells of its making."""
    if path.name != "_metadata.json":
        return path.read_bytes()
    found = [p for p in path.parent.rglob("*") if p.is_file() and p.name != "_provenance.json"]
    assert len(found) > 2
    return {str(p.relative_to(path.parent)): p.read_bytes() for p in found}


def write_expected(line, target, folder):
    """Let the command write what a target should be, below a folder; give its place."""
    place = folder / BESIDE.get(target, target)
    place.parent.mkdir(parents=True, exist_ok=True)
    if line:
        named = str(place.parent if place.name == "_metadata.json" else place)
        done = command(*(named if word == "EXPECTED" else word for word in shlex.split(line)))
        assert done.kind == "", done.err
        if "EXPECTED" not in line:
            place.write_text(done.out)
    return place


# What comes out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_example_writes_what_the_command_writes(name, place, monkeypatch):
    folder = shutil.copytree(WRAPPERS / "bams3" / name / "test", place / name)
    done = snakemake(folder, *EXAMPLES[name])
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(jobs_of(done)) == sorted(rules_of(folder / "Snakefile"))
    monkeypatch.chdir(folder)
    for target, line in EXAMPLES[name].items():
        assert contents(folder / target) == contents(write_expected(line, target, folder / "expected"))
    assert len(list(folder.rglob("logs/**/*.log"))) >= len(jobs_of(done))
    assert not [p for p in folder.rglob("*") if "partial" in p.name]


def test_the_meta_wrapper_converts_and_asks(place, monkeypatch):
    folder = shutil.copytree(META, place / "meta") / "test"
    done = snakemake(folder, "results/counts/a.tsv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs_of(done) == {"bams3_convert": 1, "bams3_query": 1}
    monkeypatch.chdir(folder)
    store = "results/stores/a.bams3"
    ask = f"query {store} -L targets.bed --exclude-flags UNMAP,DUP"
    for target, line in {
        f"{store}/_metadata.json": "convert alignments/a.sam EXPECTED",
        "results/records/a.bam": f"{ask} -o EXPECTED",
        "results/counts/a.tsv": f"{ask} --tsv",
    }.items():
        assert contents(folder / target) == contents(write_expected(line, target, folder / "expected"))


def test_paths_may_have_spaces_and_wrappers_be_named_by_their_path(place):
    """All of it in one: files, logs, temporary folder; and an index that is not beside its file."""
    folder = place / "a folder"
    (folder / "my temp").mkdir(parents=True)
    shutil.copyfile(WRAPPERS / "bams3/query/test/sample.sam", folder / "it's one.sam")
    genotypes = WRAPPERS / "bams3/chi2-batch/test"
    shutil.copyfile(genotypes / "sample_to_plate.tsv", folder / "my plates.tsv")
    for suffix in (".bed", ".bim", ".fam"):
        shutil.copyfile(genotypes / f"cohort{suffix}", folder / f"it's one{suffix}")
    (folder / "Snakefile").write_text(
        f"""
rule convert:
    input: aln="{{name}}.sam"
    output: store="out of/{{name}}.bams3/_metadata.json"
    log: "the logs/{{name}}.log"
    wrapper: "file:{WRAPPERS}/bams3/convert"

rule query:
    input: store=rules.convert.output.store
    output: n_records="some {{name}} n.txt", counts="some {{name}}.tsv"
    params: region="chr1"
    wrapper: "file:{WRAPPERS}/bams3/query"

rule export:
    input: store=rules.convert.output.store
    output: aln="some {{name}}.bam", idx="its index/{{name}}.bai"
    log: "the logs/{{name}} export.log"
    wrapper: "file:{WRAPPERS}/bams3/export"

rule chi2_batch:
    input: bed="{{name}}.bed", plates="my plates.tsv"
    output: table="a table of/{{name}}.tsv", json="{{name}}.json"
    wrapper: "file:{WRAPPERS}/bams3/chi2-batch"
"""
    )
    targets = ["some it's one n.txt", "some it's one.bam", "it's one.json"]
    done = snakemake(folder, *targets, "--default-resources", f"tmpdir='{folder / 'my temp'}'")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "some it's one n.txt").read_text() == "22\n"
    assert (folder / "some it's one.tsv").read_text().endswith("chr1\t0\t900\tchr1\t22\n")
    assert (folder / "its index/it's one.bai").read_bytes().startswith(b"BAI\1")
    assert (folder / "a table of/it's one.tsv").read_text().count("\n") == 7
    assert json.loads((folder / "it's one.json").read_text())["probesets"] == 6
    assert sorted(path.name for path in folder.glob("*.ba*")) == ["some it's one.bam"]
    assert "34 reads" in (folder / "the logs/it's one.log").read_text()
    assert list((folder / "my temp").iterdir()) == []


# What goes wrong ----------------------------------------------------------------------------------------


def test_what_fails_leaves_no_output_and_its_words_in_the_log(place):
    folder = shutil.copytree(WRAPPERS / "bams3/query/test", place / "query")
    sam = folder / "sample.sam"
    sam.write_text(sam.read_text().replace("40M", "41M", 1))
    done = snakemake(folder, "regions/sample.bam")
    assert done.returncode == 1
    assert re.match(r"bams3: .*\[\S+\]\n", (folder / "logs/convert/sample.log").read_text())
    assert not list(folder.rglob("_metadata.json"))


def test_a_killed_command_leaves_no_half_output(place):
    """Nor is it Snakemake that removes it: it is told to keep what there is."""
    folder = shutil.copytree(WRAPPERS / "bams3/query/test", place / "query")
    (folder / "sample.bams3").mkdir()
    (folder / "sample.bams3/_metadata.json").touch()
    killed = (
        'case "$*" in *--tsv*) echo half; kill -9 $$;; *) for last; do :; done; echo whole > "$last";; esac'
    )
    first = [stand_in(place / "bin", killed)]
    (place / "temp").mkdir()
    options = ["--keep-incomplete", "--default-resources", f"tmpdir='{place / 'temp'}'"]
    done = snakemake(folder, "targets/sample.counts.tsv", *options, first=first)
    assert done.returncode == 1
    assert "137" in done.stderr
    assert [path.name for path in (folder / "targets").iterdir()] == ["sample.sam"]
    assert list((place / "temp").iterdir()) == []


def test_a_rule_without_what_its_wrapper_needs_is_told_so(place):
    folder = shutil.copytree(WRAPPERS / "bams3/convert/test", place / "convert")
    text = (folder / "Snakefile").read_text()
    (folder / "Snakefile").write_text(text.replace("aln=", "alignments="))
    done = snakemake(folder, "sample.bams3/_metadata.json")
    assert done.returncode == 1
    assert "\nbams3 convert: input.aln is missing: a BAM, SAM or CRAM file\n" in done.stderr
    assert not (folder / "sample.bams3").exists()


@pytest.mark.parametrize("test", TESTS, ids=lambda path: path.parent.name)
def test_snakemakes_linter_has_nothing_to_say(test, place):
    folder = shutil.copytree(test.parent, place / test.parent.name) / "test"
    done = snakemake(folder, "--lint")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Congratulations" in done.stdout + done.stderr
