# Who is in the cohort: the samples sheet, checked before any job, and what rules ask about a sample.

import json
import subprocess
from pathlib import Path

from snakemake.exceptions import WorkflowError


def check_sheet():
    """The samples by name, as `bams3 check-sheet` understands the sheet; its complaint is ours."""
    sheet = address(config["samples"])
    command = ["bams3", "check-sheet", sheet, "--json"]
    command += ["--regions", address(config["regions"])]
    checked = subprocess.run(command, capture_output=True, text=True)
    if checked.returncode:
        others = [key for key in ("chi2", "ld") if config[key] is not None]
        alone = others and "no such samples sheet" in checked.stderr
        hint = f"\nfor {' and '.join(others)} alone: `samples: null`" if alone else ""
        raise WorkflowError(checked.stderr.strip() + hint)
    for warning in checked.stderr.splitlines():
        logger.warning(warning)
    rows = json.loads(checked.stdout)["samples"]
    for row in rows:
        for path in local([row["alignment"], row["store"], row["reference"]]):
            refuse_this_machine(path, f"{sheet}, sample {row['sample']}")
    return {row["sample"]: row for row in rows}


def sample_of(wildcards):
    """The sheet's row of a sample."""
    if wildcards.sample not in SAMPLES:
        raise WorkflowError(f"{wildcards.sample} is not in {config['samples']}")
    return SAMPLES[wildcards.sample]


def alignment_of(wildcards):
    """What a sample is converted from: a path or an S3 address."""
    alignment = sample_of(wildcards)["alignment"]
    if alignment is None:
        raise WorkflowError(f"{wildcards.sample} is a store already")
    return alignment


def sources_of(wildcards):
    """The files that a sample is converted from. What lies in S3 is read by bams3, which no rule need wait for."""
    return local([alignment_of(wildcards), sample_of(wildcards)["reference"]])


def reference_option(wildcards):
    """`--reference FASTA` for a sample that has one."""
    reference = sample_of(wildcards)["reference"]
    return ["--reference", reference] if reference else []


def store_of(wildcards):
    """Where a sample's store is made."""
    return f"{STORES}/{wildcards.sample}.bams3"


def manifests(wildcards):
    """The manifests of all samples' stores, those that are files; or what is one's sign of it."""
    del wildcards
    given = local(
        f"{row['store']}/_metadata.json" for row in SAMPLES.values() if row["store"]
    )
    made = [sample for sample, row in SAMPLES.items() if not row["store"]]
    return given + expand(CONVERTED, sample=made)


def plan_options(wildcards):
    """The cohort and what is asked of it, as arguments of `bams3 plan`."""
    del wildcards
    options = [
        address(config["samples"]),
        "--regions-file",
        address(config["regions"]),
        "--stores",
        STORES,
    ]
    options += ["--work", address(config["work"])]
    options += ["--slices", str(config["slices"]), "--stats"]
    options += [f"--{kind}" for kind in config["kinds"]]
    options += ["--exec", config["exec"]] if config["exec"] else []
    names = {"-f": "require_flags", "-F": "exclude_flags", "-q": "min_mapq"}
    for option, key in names.items():
        options += (
            [option, str(config["filters"][key])] if config["filters"][key] else []
        )
    return options


#: Tables of kinds of units: kind, name, and category and label in the report.
TABLES = [
    ("count", "counts", "Counts", "reads"),
    ("coverage", "depth", "Depth", "mean depth"),
    ("coverage", "breadth", "Depth", "breadth"),
]


def results():
    """What `bams3 gather` makes of the kinds of units that the config asks for."""
    kinds = config["kinds"] + ["exec"] * bool(config["exec"])
    lists = {
        kind: f"results/{kind}.tsv" for kind in kinds if kind in ("records", "exec")
    }
    found = {"multiqc": for_multiqc(), **lists}
    for kind, name, category, label in TABLES:
        if kind in kinds:
            found[f"{name}_table"] = in_report(name, "table", "tsv", category, label)
            found[f"{name}_plot"] = in_report(name, "plot", "png", category, label)
    return found


def for_multiqc():
    """What MultiQC reads; file by file in S3, where a folder that was once seen to be missing stays missing."""
    if SHARES_DISK:
        return directory("results/multiqc")
    names = [
        "results/multiqc/{sample}_mqc.json",
        "results/multiqc/{sample}_reads_mqc.json",
    ]
    return expand(names, sample=SAMPLES)


def gathered_into(wildcards, output):
    """The folder of the tables, wherever Snakemake has it."""
    del wildcards
    first = Path(output[0])  # of MultiQC
    return str(first.parent if SHARES_DISK else first.parent.parent)


def in_report(name, form, suffix, category, label):
    """A table or its heat map, as the report shows it."""
    caption, labels = f"../report/{name}_{form}.rst", {"result": f"{label}, {form}"}
    return report(
        f"results/{name}.{suffix}", caption=caption, category=category, labels=labels
    )


SAMPLES = check_sheet()
STORES = address(config["stores"].rstrip("/"))
#: The file that says that a sample is converted: its store's manifest, or where Snakemake may not touch this,
#: for it removes what a job that failed had made, and a bucket that becomes empty, one of its own.
CONVERTED = (
    "results/converted/{sample}.json"
    if STORES.startswith("s3://")
    else f"{STORES}/{{sample}}.bams3/_metadata.json"
)
IS_SHEET = not SHARES_DISK or Path(config["samples"]).is_file()
