"""Every module of the Nextflow pack by itself: its folder, its files against the command's, its stub."""

import contextlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import nextflow_runs
import pytest
import yaml
from commands import run as command
from nextflow_runs import ENGINE, PIPELINE, nextflow, run, trace

MODULES = sorted(path.parent for path in (PIPELINE / "modules/bams3").glob("*/main.nf"))
NAMES = [module.name for module in MODULES]
ASKED = (
    "convert query coverage stats export plan run gather chi2batch chi2merge chi2plot"
    " ldimport ldtile ldmerge lddecay ldplot"
)
#: The longest lines that are no text of a person.
VERSION = (
    """tuple val("${task.process}"), val('bams3'), eval("bams3 --version | sed 's/.* //'"), topic: versions"""
)


def sections(module: Path) -> dict[str, list[str]]:
    """The lines of a process by section; those before the first are ``directives``."""
    found, name = {"directives": []}, "directives"
    for line in (module / "main.nf").read_text().splitlines()[1:-1]:
        if label := re.fullmatch(r"    (input|output|when|script|stub):", line):
            name = label[1]
            found[name] = []
        elif line.strip():
            found[name].append(line.strip())
    return found


# Folders ------------------------------------------------------------------------------------------------


def test_there_is_a_module_for_every_command_of_the_pipeline():
    assert set(ASKED.split()) == set(NAMES)


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_a_module_is_one_process_with_the_usual_parts(module):
    text = (module / "main.nf").read_text()
    assert re.findall(r"^process (\w+) \{$", text, re.M) == [f"BAMS3_{module.name.upper()}"]
    assert len(text.splitlines()) <= 60
    parts = sections(module)
    assert list(parts) == ["directives", "input", "output", "when", "script", "stub"]
    directives = [line.split()[0] for line in parts["directives"] if line[0] not in "?:"]
    assert directives == ["tag", "label", "conda", "container"]
    assert all(re.match(r"tuple val\(meta\d?\), |path |val ", line) for line in parts["input"])
    assert parts["input"][0].startswith("tuple val(meta), ")
    assert parts["output"][-1] == f"{VERSION}, emit: versions_bams3"
    assert all(line.startswith("tuple val(meta), ") and " emit: " in line for line in parts["output"][:-1])
    script = "\n".join(parts["script"])
    assert "task.ext.args ?: ''" in script
    assert (
        f"bams3 {'chi2-' if 'chi2' in module.name else 'ld-' if module.name.startswith('ld') else ''}"
        in script
    )
    assert {path.name for path in module.iterdir()} == {"main.nf", "meta.yml", "environment.yml", "tests"}


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_the_description_of_a_module_has_its_inputs_and_outputs(module):
    told = yaml.safe_load((module / "meta.yml").read_text())
    assert told["name"] == f"bams3_{module.name}"
    assert len(told["keywords"]) >= 3
    assert told["tools"][0]["bams3"]["licence"] == ["MIT"]
    assert {"description", "authors", "maintainers", "topics"} < told.keys()
    parts = sections(module)
    inputs = [re.findall(r"(?:val|path)[ (](\w+)", line.split(", stageAs")[0]) for line in parts["input"]]
    assert inputs == [
        [*channel] if isinstance(channel, dict) else [name for one in channel for name in one]
        for channel in told["input"]
    ]
    outputs = {}
    for line in parts["output"]:
        emit = re.search(r"emit: (\w+)", line)[1]
        outputs[emit] = re.findall(r"""(?:val|path|eval)\((?:"([^"]*)"|'([^']*)'|(\w+))\)""", line)
        outputs[emit] = ["".join(names) for names in outputs[emit]]
    assert outputs == {
        emit: [name for channel in channels for one in channel for name in one]
        for emit, channels in told["output"].items()
    }
    elements = [
        one for channel in told["input"] for one in (channel if isinstance(channel, list) else [channel])
    ]
    assert all({"type", "description"} <= spec.keys() for one in elements for spec in one.values())


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_the_environment_of_a_module_is_this_package(module):
    told = yaml.safe_load((module / "environment.yml").read_text())
    version = re.search(r'__version__ = "(.*)"', (PIPELINE.parent / "bams3/__init__.py").read_text())[1]
    assert told == {"channels": ["conda-forge", "bioconda"], "dependencies": [f"bioconda::bams3={version}"]}
    assert f"'bams3:{version}'" in (module / "main.nf").read_text()


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_the_tests_of_a_module_name_what_it_takes_and_makes(module):
    text = (module / "tests/main.nf.test").read_text()
    process = f"BAMS3_{module.name.upper()}"
    assert f'process "{process}"' in text
    assert f'tag "bams3/{module.name}"' in text
    channels = len(sections(module)["input"])
    for test in text.split("\n    test(")[1:]:
        assert re.findall(r"^ {16}input\[(\d)\]", test, re.M) == [str(i) for i in range(channels)]
        emits = {re.search(r"emit: (\w+)", line)[1] for line in sections(module)["output"]}
        assert set(re.findall(r"process\.out\.(\w+)", test)) <= emits
    assert text.count('options "-stub"') == 1
    assert ("./nextflow.config" in text) == (module / "tests/nextflow.config").exists()


@pytest.mark.parametrize("folder", sorted((PIPELINE / "subworkflows").iterdir()), ids=lambda path: path.name)
def test_the_description_of_a_subworkflow_has_what_it_takes_and_emits(folder):
    told = yaml.safe_load((folder / "meta.yml").read_text())
    text = (folder / "main.nf").read_text()
    takes, emits = (
        re.findall(r"^    (\w+) +//", text.split(f"    {part}:\n")[1].split("\n\n")[0], re.M)
        for part in ("take", "emit")
    )
    assert [name for one in told["input"] for name in one] == takes
    assert [name for one in told["output"] for name in one] == emits
    assert told["name"] == folder.name
    assert told["components"] == list(dict.fromkeys(re.findall(r"modules/(bams3/\w+)/main.nf", text)))


# What they make -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    """All modules run on real data: results/PROCESS has what each of them made."""
    folder = tmp_path_factory.mktemp("real")
    aln, geno = shared_data / "aln", shared_data / "geno"
    shutil.copyfile(aln / "NA12878.chr22.s.bam", folder / "sample.bam")
    shutil.copyfile(shared_data / "counts/chi2mc_fixture.tsv", folder / "counts.tsv")
    shutil.copyfile(geno / "1kg_phase3_chr21_start.vcf.gz", folder / "panel.vcf.gz")
    (folder / "regions.bed").write_text("chr22\t16600000\t16700000\ta\nchr22\t16750000\t16760000\tb\n")
    run(folder, *OPTIONS, pipeline=ENGINE / "modules.nf")
    return folder


OPTIONS = ["-c", ENGINE / "modules.config", "--alignment", "sample.bam", "--counts", "counts.tsv"]
OPTIONS += ["--genotypes", "panel.vcf.gz", "--regions", "regions.bed", "--region", "21:9.4M-9.5M"]


@pytest.fixture(scope="module")
def commands(real, tmp_path_factory):
    """The same by the command line, in one folder."""
    out = tmp_path_factory.mktemp("commands")
    steps = [
        ["convert", real / "sample.bam", out / "sample.bams3"],
        [
            "query",
            out / "sample.bams3",
            "-L",
            real / "regions.bed",
            "-q",
            "30",
            "-F",
            "DUP",
            "-o",
            out / "query/sample.bam",
        ],
        ["coverage", out / "sample.bams3", "-L", real / "regions.bed", "-o", out / "sample.bed.gz"],
        ["stats", out / "sample.bams3", "--multiqc", out / "sample_mqc.json"],
        ["export", out / "sample.bams3", out / "sample.bam"],
        [
            "plan",
            out / "sample.bams3",
            "-L",
            real / "regions.bed",
            "--count",
            "--coverage",
            "--stats",
            "-o",
            out / "plan.json",
        ],
        ["run", out / "plan.json"],
        ["gather", out / "plan.json", "-o", out, "--plots"],
        ["chi2-batch", "counts.tsv", out / "chi2.tsv", "--max-simulations", "2000"],
        ["chi2-plot", out / "chi2.tsv"],
        ["ld-import", real / "panel.vcf.gz", out / "panel.ldp"],
        ["ld-tile", out / "panel.ldp", out / "panel.parquet", "--min-r2", "0.2"],
        ["ld-decay", out / "panel.ldp", "-o", out / "panel.decay.tsv"],
        ["ld-plot", out / "panel.ldp", "--region", "21:9.4M-9.5M", "-o", out / "panel"],
    ]
    (out / "query").mkdir()
    with contextlib.chdir(real):  # a summary names its table as it was given
        for step in steps:
            assert command(*step).code == 0, step
    for option, name in (("--flagstat", "sample.flagstat"), ("--json", "json"), (None, "sample.idxstats")):
        (out / name).write_text(command("stats", out / "sample.bams3", *filter(None, [option])).out)
    return out


def made(folder: Path, process: str) -> dict[str, Path]:
    """Files that tasks of a module made, by name: what is staged is a link."""
    found = {}
    for task in trace(folder):
        if task["process"] == process:
            place = Path(task["workdir"])
            files = [path for path in place.rglob("[!.]*") if path.is_file() and not path.is_symlink()]
            found |= {path.relative_to(place).as_posix(): path for path in files}
    return {name: path for name, path in found.items() if not name.endswith("_provenance.json")}


#: Files of each process.
FILES = {
    "QUERY": "sample.bam",
    "COVERAGE": "sample.bed.gz sample.bed.gz.tbi",
    "STATS": "sample.flagstat sample.idxstats sample_mqc.json sample_reads_mqc.json",
    "EXPORT": "sample.bam sample.bam.bai",
    "GATHER": "counts.tsv depth.tsv breadth.tsv counts.png depth.png breadth.png"
    " multiqc/sample_mqc.json multiqc/sample_reads_mqc.json",
    "CHI2MERGE": "chi2.tsv chi2.tsv.summary.txt chi2.tsv.summary.json",
    "CHI2PLOT": "chi2.qq.png chi2.pvalues.png chi2.batches.png chi2.qq.svg chi2.pvalues.svg chi2.batches.svg",
    "LDMERGE": "panel.parquet",
    "LDDECAY": "panel.decay.tsv",
    "LDPLOT": "panel.ld.png panel.ld.svg",
}


@pytest.mark.engine
@pytest.mark.parametrize("process", FILES)
def test_files_of_a_module_are_those_of_the_command(real, commands, process):
    found = made(real, f"BAMS3_{process}")
    assert sorted(found) == sorted(FILES[process].split())
    for name, path in found.items():
        wanted = commands / ("query/sample.bam" if process == "QUERY" else name)
        assert path.read_bytes() == wanted.read_bytes(), name
        assert path.stat().st_size


@pytest.mark.engine
@pytest.mark.parametrize(("process", "folder"), [("CONVERT", "sample.bams3"), ("LDIMPORT", "panel.ldp")])
def test_stores_and_panels_are_those_of_the_command(real, commands, process, folder):
    found = made(real, f"BAMS3_{process}")
    report = json.loads(found.pop(f"{folder.split('.')[0]}.json").read_text())
    assert report["records"] == {"CONVERT": 50_531, "LDIMPORT": 600}[process]
    mine = {
        path.relative_to(commands).as_posix(): path
        for path in (commands / folder).rglob("*")
        if path.is_file()
    }
    mine = {name: path for name, path in mine.items() if not name.endswith("_provenance.json")}
    assert found.keys() == mine.keys()
    assert all(found[name].read_bytes() == mine[name].read_bytes() for name in mine)


@pytest.mark.engine
def test_slices_of_modules_are_what_is_joined(real, commands):
    assert (made(real, "BAMS3_CHI2BATCH")["chi2.tsv"]).read_bytes() == (commands / "chi2.tsv").read_bytes()
    slices = {
        f"{what}.{i}-of-2.{end}"
        for i in (1, 2)
        for what, end in (("chi2", "parquet"), ("panel", "parquet"), ("sample", "json"))
    }
    every = {name for process in ("CHI2BATCH", "LDTILE", "RUN") for name in made(real, f"BAMS3_{process}")}
    assert slices < every
    summaries = [json.loads(path.read_text())[0] for path in made(real, "BAMS3_RUN").values()]
    assert sum(one["units"] for one in summaries) == 2 * 2 + 1
    plan = json.loads(made(real, "BAMS3_PLAN")["sample.json"].read_text())
    assert plan["samples"][0][1].startswith(str(real / "work"))  # where the link leads


@pytest.mark.engine
def test_stubs_make_files_of_the_names_of_real_ones(real, tmp_path):
    for name in ("sample.bam", "counts.tsv", "panel.vcf.gz", "regions.bed"):
        (tmp_path / name).touch()
    run(tmp_path, *OPTIONS, "-stub", pipeline=ENGINE / "modules.nf")
    for module in MODULES:
        process = f"BAMS3_{module.name.upper()}"
        real_names, stub_names = (
            {name.split("/")[0] for name in made(one, process)} for one in (real, tmp_path)
        )
        assert real_names - {"multiqc"} == stub_names  # a stub's folder is empty
        assert real_names


# What checkers say --------------------------------------------------------------------------------------


@pytest.mark.engine
def test_the_engines_linter_has_nothing_to_say(tmp_path):
    done = nextflow(tmp_path, "lint", PIPELINE, ENGINE / "modules.nf", ENGINE / "params.nf")
    files = [*PIPELINE.rglob("*.nf"), *PIPELINE.rglob("*.config")]
    assert f"{len(files) + 2} files had no errors" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("Linting")]
    assert len(lines) == 2, done.stdout  # that it is done, and how many files have no errors


@pytest.mark.engine
@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        (
            "test,docker,slurm",
            """docker.enabled = true
            process.executor = 'slurm'
            process.'withName:BAMS3_CONVERT|BAMS3_RUN|BAMS3_CHI2BATCH'.array = 200
            executor.queueSize = 200
            executor.submitRateLimit = '20/1sec'
            params.chi2.slices = 2""",
        ),
        (
            "singularity,conda,awsbatch",
            """singularity.enabled = true
            process.executor = 'awsbatch'
            process.'withName:BAMS3_CONVERT|BAMS3_RUN|BAMS3_CHI2BATCH'.array = 1000
            aws.region = 'eu-west-1'
            aws.batch.maxSpotAttempts = 3
            workDir = 's3://lab/run1/tasks'
            params.outdir = 's3://lab/run1/results'
            params.stores = 's3://lab/run1/stores'
            trace.file = 's3://lab/run1/results/pipeline_info/trace.txt'""",
        ),
    ],
)
def test_every_profile_resolves(tmp_path, profiles, expected):
    copy = shutil.copytree(PIPELINE, tmp_path / "nextflow")
    text = (copy / "nextflow.config").read_text()
    given = {"queue": "jobs", "account": "lab", "bucket": "s3://lab/run1", "aws_region": "eu-west-1"}
    for key, value in (
        given | {"conda_env": "/envs/bams3"}
    ).items():  # as --queue jobs and so on do, which config knows not
        text = re.sub(rf"^( +{key} += )null$", rf"\1'{value}'", text, flags=re.M)
    (copy / "nextflow.config").write_text(text)
    done = nextflow(tmp_path, "config", "-flat", "-profile", profiles, copy)
    assert done.returncode == 0, done.stdout
    lines = {line.strip() for line in done.stdout.splitlines()}
    assert {line.strip() for line in expected.splitlines()} - lines == set()


@pytest.mark.engine
def test_files_for_nf_test_are_groovy():
    files = [str(path) for path in PIPELINE.rglob("*.nf.test")]
    unit = "new org.codehaus.groovy.control.CompilationUnit()"
    program = f"args.each {{ def unit = {unit}; unit.addSource(new File(it)); unit.compile(3) }}"
    nextflow_runs.engine()
    java = [
        "java",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        f"{nextflow_runs.BUILD / 'lib'}/*",
        "groovy.ui.GroovyMain",
        "-e",
        program,
    ]
    done = subprocess.run([*java, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
