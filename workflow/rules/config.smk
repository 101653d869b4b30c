# The config, checked before any job; and what all rules ask.

import difflib
import shutil
from pathlib import Path

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
    if all(config[key] is None for key in ("samples", "chi2", "ld")):
        raise WorkflowError(
            "config: nothing to do, none of samples, chi2 and ld is given"
        )
    if shutil.which("bams3") is None:
        raise WorkflowError(
            "bams3 is not on the PATH: activate its environment, such as `source .venv/bin/activate`"
        )


def address(path):
    """Where a path of the config lies for bams3: where jobs share no disk below the prefix in S3, as rules' files."""
    if SHARES_DISK or path.startswith("s3://"):
        return path
    refuse_this_machine(path if Path(path).is_absolute() else None, "config")
    return f"{workflow.storage_settings.default_storage_prefix.rstrip('/')}/{path}"


def refuse_this_machine(path, where):
    """Say of a path on this machine that jobs on others cannot reach it."""
    if path and not SHARES_DISK:
        raise WorkflowError(
            f"{where}: {path} is on this machine, and jobs share no disk with it: give an s3:// address"
        )


def complaint(cause):
    """What the schema has against a value; of keys that do not go together it says itself how they do."""
    if cause.validator in ("oneOf", "not"):
        return cause.schema["description"]
    if cause.validator == "pattern" and "description" in cause.schema:
        return f"{cause.instance!r} does not match: {cause.schema['description']}"
    if cause.validator == "additionalProperties":
        known = list(cause.schema["properties"])
        unknown = next(key for key in cause.instance if key not in known)
        near = difflib.get_close_matches(str(unknown), known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"unknown key {unknown}{hint}; the keys are {', '.join(known)}"
    return cause.message


def option(key, values):
    """A key of the config as an option of the command and its value; nothing where it has none."""
    return [f"--{key.replace('_', '-')}", str(values[key])] if key in values else []


def flag(key, values):
    """A key of the config that is true or false as an option of the command."""
    return [f"--{key.replace('_', '-')}"] if values.get(key) else []


def check_files(section, found):
    """Files of keys of a section, those that rules wait for, which must be there."""
    for key, paths in found.items():
        for path in local(paths):
            if SHARES_DISK and not Path(path).is_file():
                raise WorkflowError(
                    f"config, key {section}.{key}: {path}: no such file"
                )
    return local(path for paths in found.values() for path in paths)


def stop_after(wildcards, resources):
    """When a slice stops by itself: before its job's time is over."""
    del wildcards
    return f"{max(resources.runtime - 5, resources.runtime * 0.8):.0f}m"


def local(paths):
    """Those that are files to Snakemake, on this machine or below its prefix in S3."""
    return [path for path in paths if path and not path.startswith("s3://")]


def growing(mem_mb):
    """Memory of a rule: twice as much with each try, for what killed the last may have been too little."""

    def memory(wildcards, attempt):
        del wildcards
        return mem_mb * 2 ** (attempt - 1)

    return memory


#: Whether all jobs see this disk. Else Snakemake keeps files of rules below a prefix in S3.
SHARES_DISK = workflow.storage_settings.default_storage_provider is None
check_config()
