"""Folders of the Snakemake wrappers: what a rule gives reaches the command; they are as others' are."""

import ast
import importlib.metadata
import os
import re
import runpy
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from commands import run as command
from snakemake.iocontainers import Namedlist
from test_wrappers import META, NAMES, WRAPPERS, stand_in

import bams3

pytestmark = pytest.mark.engine

HEADER = "__author__ __copyright__ __email__ __license__".split()
#: What a wrapper may import: Python, and what each environment of wrappers has or lists.
IMPORTS = {*"sys pathlib shlex tempfile snakemake.shell snakemake_wrapper_utils.snakemake".split()}


# What reaches the command -------------------------------------------------------------------------------


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A function that runs a wrapper as a rule of these files would, and gives the commands it calls."""
    monkeypatch.chdir(tmp_path)
    text = f'printf "%s\\t" "$@" >> "{tmp_path}/asked"; echo >> "{tmp_path}/asked"'
    monkeypatch.setenv("PATH", stand_in(tmp_path / "bin", text) + os.pathsep + os.environ["PATH"])

    def run(name, input=(), output=(), params=(), resources=(), threads=1):
        given = {"input": input, "output": output, "params": params, "resources": resources}
        rule = SimpleNamespace(
            threads=threads,
            log=Namedlist(),
            **{kind: Namedlist(fromdict=dict(values)) for kind, values in given.items()},
        )
        (tmp_path / "asked").write_text("")
        runpy.run_path(str(WRAPPERS / "bams3" / name / "wrapper.py"), {"snakemake": rule})
        return [line.split("\t")[:-1] for line in (tmp_path / "asked").read_text().splitlines()]

    return run


STORE = {"store": "a b.bams3/_metadata.json"}
PAIRS, MADE = {"panel": "p.ldp/_metadata.json"}, {"panel": "a b.ldp/_metadata.json"}


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        (
            "convert",
            {"input": {"aln": "a b.cram", "ref": "r f.fa"}, "output": STORE, "resources": {"mem_mb": 900}},
            "convert|a b.cram|a b.bams3|--reference|r f.fa|--threads|3|--max-memory|900M|--force",
        ),
        (
            "convert",
            {
                "input": {"aln": "-"},
                "output": STORE,
                "resources": {"mem_gb": 2},
                "params": {"extra": "--level 3"},
            },
            "convert|-|a b.bams3|--threads|3|--max-memory|2048M|--force|--level|3",
        ),
        ("convert", {"input": {"aln": "a"}, "output": STORE}, "convert|a|a b.bams3|--threads|3|--force"),
        (
            "query",
            {"input": {**STORE, "bed": "b d"}, "output": {"aln": "o p.cram"}},
            "query|a b.bams3|--regions-file|b d|--threads|3|--output|o p.cram",
        ),
        (
            "query",
            {"input": STORE, "output": {"aln": "o"}, "params": {"region": ["HLA-A*01:1", "*"]}},
            "query|a b.bams3|HLA-A*01:1|*|--threads|3|--output|o",
        ),
        (
            "query",
            {"input": STORE, "output": {"table": "o p"}, "params": {"columns": "pos, cigar"}},
            "query|a b.bams3|--threads|3|--columns|pos, cigar|--output|o p",
        ),
        (
            "coverage",
            {"input": {**STORE, "bed": "b d"}, "output": {"regions": "o p"}, "params": {"region": "*"}},
            "coverage|a b.bams3|--threads|3|--regions-file|b d|--output|o p",
        ),
        (
            "coverage",
            {
                "input": STORE,
                "output": {"summary": "o p"},
                "params": {"region": "c:1-2", "thresholds": "1,2"},
            },
            "coverage|a b.bams3|--threads|3|c:1-2|--summary|--output|o p",
        ),
        (
            "stats",
            {"input": STORE, "output": {"plot": "o p"}, "params": {"sample": "s 1", "extra": "--anonymous"}},
            "stats|a b.bams3|--anonymous|--sample|s 1|--plot|o p",
        ),
        (
            "export",
            {"input": {**STORE, "ref": "r f"}, "output": {"aln": "o p.cram", "idx": "o p.cram.crai"}},
            "export|a b.bams3|o p.cram|--reference|r f|--threads|3|--force",
        ),
        (
            "export",
            {"input": STORE, "output": {"aln": "o p.sam"}},
            "export|a b.bams3|o p.sam|--threads|3|--force|--no-index",
        ),
        (
            "ld-import",
            {
                "input": {"pgen": "c d.pgen", "samples": "s t"},
                "output": MADE,
                "params": {"extra": "--maf 0.1"},
            },
            "ld-import|c d.pgen|a b.ldp|--samples|s t|--threads|3|--force|--maf|0.1",
        ),
        (
            "ld-tile",
            {"input": PAIRS, "output": {"pairs": "o p.tsv"}, "resources": {"mem_mb": 500}},
            "ld-tile|p.ldp|o p.tsv|--threads|3|--max-memory|500M",
        ),
        (
            "ld-tile",
            {
                "input": PAIRS,
                "output": {"pairs": "o"},
                "resources": {"mem_mb": 500},
                "params": {"extra": "--tiles=3"},
            },
            "ld-tile|p.ldp|o|--threads|3|--tiles=3",
        ),
        ("ld-tile", {"input": PAIRS, "output": {"pairs": "o"}}, "ld-tile|p.ldp|o|--threads|3"),
        (
            "ld-merge",
            {"input": {"tiles": ["t 1", "t 2"]}, "output": {"pairs": "o p"}, "params": {"extra": "--quiet"}},
            "ld-merge|t 1|t 2|--output|o p|--quiet",
        ),
        ("ld-merge", {"input": {"tiles": "t 1"}, "output": {"pairs": "o"}}, "ld-merge|t 1|--output|o"),
    ],
)
def test_what_the_rule_gives_reaches_the_command(asked, name, given, expected):
    assert asked(name, **given, threads=3) == [expected.split("|")]


@pytest.mark.parametrize(
    ("name", "input", "output", "message"),
    [
        ("convert", {}, STORE, "input.aln is missing: a BAM, SAM or CRAM file"),
        ("convert", {"aln": "a"}, {}, "output.store is missing: NAME.bams3/_metadata.json"),
        ("convert", {"aln": "a"}, {"store": "a.bams3"}, "output.store is missing: NAME.bams3/_metadata.json"),
        ("query", {}, {"aln": "a"}, "input.store is missing: NAME.bams3/_metadata.json"),
        ("query", STORE, {"bam": "a"}, "an output is missing: any of aln, table, n_records, counts"),
        ("query", STORE, {"table": "a"}, "params.columns is missing: the fields of output.table"),
        ("coverage", {"store": "a.bams3"}, {}, "input.store is missing: NAME.bams3/_metadata.json"),
        (
            "coverage",
            STORE,
            {},
            "an output is missing: any of per_base, windows, regions, summary, plot",
        ),
        ("coverage", STORE, {"regions": "a"}, "input.bed is missing, which output.regions needs"),
        ("coverage", STORE, {"windows": "a"}, "params.window is missing, which output.windows needs"),
        ("stats", {}, {"idxstats": "a"}, "input.store is missing: NAME.bams3/_metadata.json"),
        ("stats", STORE, {}, "an output is missing: any of idxstats, flagstat, multiqc, plot"),
        ("export", {}, {"aln": "a"}, "input.store is missing: NAME.bams3/_metadata.json"),
        ("export", STORE, {"idx": "a"}, "output.aln is missing: a .bam, .cram or .sam file"),
        ("chi2-batch", {"vcf": "a"}, {}, "an input is missing: counts, or plates and vcf or bed"),
        ("chi2-batch", {"plates": "a"}, {}, "an input is missing: counts, or plates and vcf or bed"),
        ("chi2-batch", {"counts": "a"}, {}, "output.table is missing: a .tsv or .parquet file"),
        ("ld-import", {"samples": "a"}, MADE, "an input is missing: vcf, bed or pgen"),
        ("ld-import", {"vcf": "a"}, {}, "output.panel is missing: NAME.ldp/_metadata.json"),
        ("ld-tile", {}, {"pairs": "a"}, "input.panel is missing: NAME.ldp/_metadata.json"),
        ("ld-tile", PAIRS, {}, "output.pairs is missing: a .tsv or .parquet file"),
        ("ld-merge", {}, {"pairs": "a"}, "input.tiles is missing: the files of bams3 ld-tile"),
        ("ld-merge", {"tiles": "a"}, {}, "output.pairs is missing: a .tsv or .parquet file"),
    ],
)
def test_what_is_missing_is_one_line_and_nothing_is_called(asked, tmp_path, name, input, output, message):
    with pytest.raises(SystemExit) as stopped:
        asked(name, input, output)
    assert stopped.value.code == f"bams3 {name}: {message}"
    assert (tmp_path / "asked").read_text() == ""


# What a folder has --------------------------------------------------------------------------------------


def test_there_is_a_wrapper_of_each_of_these_commands():
    assert sorted(path.name for path in (WRAPPERS / "bams3").iterdir()) == NAMES
    assert sorted(path.name for path in (WRAPPERS / "meta").iterdir()) == [META.name]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_as_the_repository_of_wrappers_wants_it(name):
    folder = WRAPPERS / "bams3" / name
    files = {path.name for path in folder.iterdir()}
    assert files == {"wrapper.py", "meta.yaml", "environment.yaml", "test"}
    text = (folder / "wrapper.py").read_text()
    assert text.count("\n") <= 40
    lines = ast.parse(text).body[:4]
    assert [line.targets[0].id for line in lines] == HEADER
    assert lines[3].value.value == "MIT"
    modules = re.findall(r"^(?:from|import) ([\w.]+)", text, re.MULTILINE)
    assert set(modules) <= IMPORTS
    assert f'"master/bio/bams3/{name}"' in (folder / "test/Snakefile").read_text()
    assert sum(path.stat().st_size for path in (folder / "test").iterdir()) < 12_000


@pytest.mark.parametrize("name", NAMES)
def test_the_description_names_what_the_wrapper_knows(name):
    folder = WRAPPERS / "bams3" / name
    meta = yaml.safe_load((folder / "meta.yaml").read_text())
    assert set(meta) - {"notes"} == {"name", "description", "url", "authors", "input", "output", "params"}
    assert meta["name"] == f"bams3 {name}"
    text = (folder / "wrapper.py").read_text()
    for kind in ("input", "output", "params"):
        told = [next(iter(entry)) for entry in meta[kind]]
        assert all(len(entry) == 1 for entry in meta[kind])
        assert all(f'"{one}"' in text or f"'{one}'" in text for one in told)
        used = re.findall(rf"snakemake\.{kind}\.get\([\"'](\w+)", text)
        assert set(used) <= set(told)
    options = re.findall(r"--[a-z][a-z0-9-]+", text)
    known = command(name, "--help").out
    assert all(re.search(rf"{option}\b", known) for option in options)


@pytest.mark.parametrize("name", NAMES)
def test_the_environment_pins_what_the_wrapper_imports(name):
    folder = WRAPPERS / "bams3" / name
    environment = yaml.safe_load((folder / "environment.yaml").read_text())
    assert environment["channels"] == ["conda-forge", "bioconda", "nodefaults"]
    pins = dict(line.split(" =") for line in environment["dependencies"])
    assert pins.pop("bams3") == bams3.__version__.rpartition(".")[0]
    imports = "snakemake_wrapper_utils" in (folder / "wrapper.py").read_text()
    utils = importlib.metadata.version("snakemake-wrapper-utils").rpartition(".")[0]
    assert pins.pop("snakemake-wrapper-utils", None) == (utils if imports else None)
    draws = "--plot" in (folder / "wrapper.py").read_text()
    assert [*pins] == ["matplotlib-base"] * draws


def test_the_meta_wrapper_names_the_wrappers_that_it_uses():
    used = yaml.safe_load((META / "used_wrappers.yaml").read_text())["wrappers"]
    text = (META / "meta_wrapper.smk").read_text()
    assert re.findall(r'"master/(.*)"', text) == used
    assert all((WRAPPERS / name.removeprefix("bio/")).is_dir() for name in used)
    told = yaml.safe_load((META / "meta.yaml").read_text())["pathvars"]
    assert set(re.findall(r"<(\w+)>", text)) == {*told["default"], *told["custom"]}


@pytest.mark.parametrize("tool", ["black --quiet", "snakefmt"])
def test_it_is_formatted_as_the_repository_of_wrappers_wants_it(tool):
    check = [sys.executable, "-m", *shlex.split(tool), "--check", str(WRAPPERS)]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
