"""What the Nextflow pipeline says of mistakes, before any task that costs something."""

import json
import shutil

import pytest
import yaml
from nextflow_runs import ENGINE, PIPELINE, nextflow

pytestmark = pytest.mark.engine

SCHEMA = json.loads((PIPELINE / "nextflow_schema.json").read_text())
SNAKEMAKES = yaml.safe_load((PIPELINE.parent / "workflow/schemas/config.schema.yaml").read_text())
FULL = {"counts": "c.tsv", "slices": 3, "adaptive": False, "n_simulations": 9, "min_expected_count": 2.5}

#: Parameters, and what is said of them; "nothing" of what is right.
CASES = [
    ({}, "nothing"),
    ({"samples": "s.tsv", "kinds": "count,records", "filters": {"exclude_flags": "DUP,UNMAP"}}, "nothing"),
    (
        {"kinds": ["count"], "exec": None, "slices": 9, "chi2": FULL, "ld": {"panel": "a.ldp", "em": True}},
        "nothing",
    ),
    (
        {"sample": "x"},
        "unknown parameter sample (did you mean samples?); there are samples, regions",
    ),
    ({"slices": 0}, "parameter slices: 0 is less than the minimum of 1"),
    ({"slices": "many"}, "parameter slices: 'many' is not of type integer"),
    ({"kinds": "count,depth"}, "parameter kinds: 'count,depth' does not match: what is asked of each"),
    ({"kinds": ["depth"]}, "parameter kinds: 'depth' is not one of count, coverage, records"),
    (
        {"filters": {"mapq": 3}},
        "unknown parameter filters.mapq; there are require_flags, exclude_flags, min_mapq",
    ),
    ({"filters": {"min_mapq": 300}}, "parameter filters.min_mapq: 300 is greater than the maximum of 255"),
    ({"filters": {"min_mapq": "high"}}, "parameter filters.min_mapq: 'high' is not of type integer"),
    ({"stores": "here"}, "parameter stores: 'here' does not match: s3:// address that stores of alignments"),
    ({"publish_dir_mode": "cp"}, "parameter publish_dir_mode: 'cp' is not one of copy, link"),
    ({"chi2": "c.tsv"}, "parameter chi2: 'c.tsv' is not of type object, null"),
    ({"chi2": {"slices": 3}}, "parameter chi2: give one of counts, vcf and bfile, which is tested"),
    (
        {"chi2": {"counts": "a", "vcf": "b", "plates": "p"}},
        "parameter chi2: give one of counts, vcf and bfile",
    ),
    ({"chi2": {"vcf": "b"}}, "parameter chi2: plates goes with vcf and bfile: they need it"),
    ({"chi2": {"counts": "a", "plates": "p"}}, "parameter chi2: plates goes with vcf and bfile"),
    ({"chi2": {"counts": "a", "n_simulations": 9}}, "parameter chi2: n_simulations is for adaptive: false"),
    ({"chi2": FULL | {"max_simulations": 9}}, "parameter chi2: max_simulations is for adaptive: true"),
    ({"chi2": {"bfile": "s3://b/c", "plates": "p"}}, "parameter chi2.bfile: 's3://b/c' does not match"),
    ({"ld": {"vcf": "a", "panel": "b"}}, "parameter ld: give one of vcf, bfile, pfile and panel"),
    (
        {"ld": {"panel": "b", "maf": 0.1}},
        "parameter ld: regions, samples, maf and multiallelic are for what is",
    ),
    (
        {"ld": {"vcf": "a", "tiles": 3, "max_memory": "1G"}},
        "parameter ld: give tiles or max_memory, not both",
    ),
    (
        {"ld": {"vcf": "a", "inter_chr": True, "max_variants": 9}},
        "parameter ld: pairs of different contigs have no",
    ),
    ({"ld": {"vcf": "a", "max_memory": "much"}}, "parameter ld.max_memory: 'much' does not match"),
    ({"ld": {"vcf": "a", "min_r2": 2}}, "parameter ld.min_r2: 2 is greater than the maximum of 1"),
    ({"ld": {"vcf": "a", "r2": 1}}, "unknown parameter ld.r2; there are vcf, bfile, pfile, panel"),
]
#: Profiles and what they need.
PROFILES = [
    ("awsbatch", {}, "profile awsbatch needs --queue: the job queue"),
    (
        "test,awsbatch",
        {"queue": "q"},
        "profile awsbatch needs --bucket: where tasks leave files, s3://bucket/folder",
    ),
    (
        "awsbatch",
        {"queue": "q", "bucket": "s3://b"},
        "profile awsbatch needs --aws_region: where the queue and",
    ),
    ("conda", {}, "profile conda needs --conda_env: the folder of an environment with bams3"),
    ("slurm", {}, "nothing"),
]


def test_a_mistake_in_parameters_is_one_line_that_names_the_key(tmp_path):
    cases = [(given, "standard", words) for given, words in CASES]
    cases += [(given, profile, words) for profile, given, words in PROFILES]
    given = [{"params": params, "profile": profile} for params, profile, _ in cases]
    (tmp_path / "cases.json").write_text(json.dumps(given))
    done = nextflow(tmp_path, "run", ENGINE / "params.nf", "--cases", "cases.json")
    said = [line.removeprefix("SAID ") for line in done.stdout.splitlines() if line.startswith("SAID ")]
    assert len(said) == len(cases), done.stdout
    for (params, _, words), line in zip(cases, said, strict=True):
        assert line.startswith(words), params


@pytest.mark.parametrize(
    ("file", "text", "options", "expected"),
    [
        (
            *("samples.tsv", "sample\talignment\nA\tnope.bam\n", []),
            "bams3: samples.tsv line 2 column alignment: nope.bam: no such file [bad-sheet]",
        ),
        (
            *("regions.bed", "chr1\t10\t5\n", ["--samples", "given.bams3"]),
            "bams3: regions.bed line 1 column 3: end 5 lies before start 10",
        ),
        ("none", "", ["--chi2.counts", "nope.tsv"], "parameter chi2.counts: nope.tsv: no such file"),
    ],
)
def test_a_mistake_in_files_is_told_with_row_and_column(tmp_path, file, text, options, expected):
    for name in ("samples.tsv", "regions.bed"):
        shutil.copyfile(PIPELINE / "assets/test" / name, tmp_path / name)
    (tmp_path / "given.bams3").mkdir()
    (tmp_path / "given.bams3/_metadata.json").write_text("{}")
    (tmp_path / file).write_text(text)
    call = ["--samples", "samples.tsv", "--regions", "regions.bed", *options]
    done = nextflow(tmp_path, "run", PIPELINE, *call)
    assert done.returncode == 1
    assert expected in done.stdout
    assert not (tmp_path / "results/stores").exists()


def test_the_schema_says_of_the_configs_keys_what_snakemakes_says():
    mine = {key: rule for group in SCHEMA["$defs"].values() for key, rule in group["properties"].items()}
    cohort = set(SCHEMA["$defs"]["cohort"]["properties"])
    assert set(SNAKEMAKES["properties"]) == cohort | {"stores"}  # here with what else says where results go
    assert "stores" in mine
    assert set(SNAKEMAKES["properties"]["filters"]["properties"]) == set(mine["filters"]["properties"])
    for section in ("chi2", "ld"):
        theirs = SNAKEMAKES["properties"][section]["then"]
        assert set(theirs["properties"]) == set(mine[section]["properties"])
        for key, rule in theirs["properties"].items():
            for word in ("type", "minimum", "maximum", "enum"):
                assert mine[section]["properties"][key].get(word) == rule.get(word), (section, key)
