# The config, checked before any job; and what all rules ask.

import shutil

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
        raise WorkflowError(
            f"config{f', key {key}' if key else ''}: {complaint(cause)}"
        ) from None
    if config["samples"] is None and config["chi2"] is None:
        raise WorkflowError("config: nothing to do, neither samples nor chi2 is given")
    if shutil.which("bams3") is None:
        raise WorkflowError(
            "bams3 is not on the PATH: activate its environment, such as `source .venv/bin/activate`"
        )


def complaint(cause):
    """What the schema has against a value; of keys that do not go together it says itself how they do."""
    if cause.validator in ("oneOf", "not"):
        return cause.schema["description"]
    if cause.validator == "additionalProperties":
        return f"{cause.message}; the keys are {', '.join(cause.schema['properties'])}"
    return cause.message


def local(paths):
    """Those that are files of this machine."""
    return [path for path in paths if path and not path.startswith("s3://")]


def growing(mem_mb):
    """Memory of a rule: twice as much with each try, for what killed the last may have been too little."""

    def memory(wildcards, attempt):
        del wildcards
        return mem_mb * 2 ** (attempt - 1)

    return memory


check_config()
