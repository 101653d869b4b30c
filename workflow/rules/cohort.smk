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
    """What a sample is converted from: a path or an S3 address."""
    alignment = sample_of(wildcards)["alignment"]
    if alignment is None:
        raise WorkflowError(f"{wildcards.sample} is a store already")
    return alignment


def sources_of(wildcards):
    """The files that a sample is converted from. What lies in S3 is read by bams3, which no rule need wait for."""
    return local([alignment_of(wildcards), sample_of(wildcards)["reference"]])


def store_of(wildcards):
    """A sample's store: the one that the sheet names, or the one that `convert` makes."""
    return sample_of(wildcards)["store"] or f"results/stores/{wildcards.sample}.bams3"


def manifest_of(wildcards):
    """The manifest of a sample's store, if it is a file."""
    return local([f"{store_of(wildcards)}/_metadata.json"])


def local(paths):
    """Those that are files of this machine."""
    return [path for path in paths if path and not path.startswith("s3://")]


def reference_option(wildcards):
    """`--reference FASTA` for a sample that has one."""
    reference = sample_of(wildcards)["reference"]
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
