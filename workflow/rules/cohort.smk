# Who is in the cohort: config and samples sheet, checked before any job, and what rules ask about a sample.

import json
import shutil
import subprocess

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate


def check_config():
    """Check the config and fill in its defaults; a mistake is one line that names the key."""
    try:
        validate(config, "../schemas/config.schema.yaml")
    except WorkflowError as err:
        cause = err.__context__
        if not hasattr(cause, "json_path"):
            raise
        key = cause.json_path.removeprefix("$").removeprefix(".")
        message = f"config{f', key {key}' if key else ''}: {cause.message}"
        if cause.validator == "additionalProperties":
            message += f"; the keys are {', '.join(cause.schema['properties'])}"
        raise WorkflowError(message) from None


def check_sheet():
    """The samples by name, as `bams3 check-sheet` understands the sheet; its complaint is ours."""
    if shutil.which("bams3") is None:
        raise WorkflowError(
            "bams3 is not on the PATH: activate its environment, such as `source .venv/bin/activate`"
        )
    command = [
        "bams3",
        "check-sheet",
        config["samples"],
        "--regions",
        config["regions"],
        "--json",
    ]
    checked = subprocess.run(command, capture_output=True, text=True)
    if checked.returncode:
        raise WorkflowError(checked.stderr.strip())
    return {row["sample"]: row for row in json.loads(checked.stdout)["samples"]}


def sample_of(wildcards):
    """The sheet's row of a sample."""
    if wildcards.sample not in SAMPLES:
        raise WorkflowError(f"{wildcards.sample} is not in {config['samples']}")
    return SAMPLES[wildcards.sample]


def alignment_of(wildcards):
    """The file that a sample is converted from, and its reference if it has one."""
    row = sample_of(wildcards)
    if row["alignment"] is None:
        raise WorkflowError(f"{wildcards.sample} is a store already")
    files = {"alignment": row["alignment"]}
    if row["reference"]:
        files["reference"] = row["reference"]
    return files


def manifest_of(wildcards):
    """The manifest of a sample's store: the store that the sheet names, or the one that `convert` makes."""
    store = sample_of(wildcards)["store"] or f"results/stores/{wildcards.sample}.bams3"
    return f"{store}/_metadata.json"


def reference_option(wildcards, input):
    """`--reference FASTA` for a sample that has one."""
    reference = input.get("reference")
    return ["--reference", reference] if reference else []


def filter_options():
    """The reads to count, as options of `bams3 query`."""
    filters = config["filters"]
    names = {"-f": "require_flags", "-F": "exclude_flags", "-q": "min_mapq"}
    return [
        word
        for option, key in names.items()
        if filters[key]
        for word in (option, str(filters[key]))
    ]


def depth_filter_options():
    """The reads whose depth is told, as options of `bams3 coverage`, whose -F takes the place of its own."""
    default = ["-F", "UNMAP,SECONDARY,QCFAIL,DUP"]
    return [*(default if config["filters"]["exclude_flags"] else []), *filter_options()]


check_config()
SAMPLES = check_sheet()
