"""The image of jobs on AWS Batch, and their job definition, as far as no image need be built."""

import json
import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bams3

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "envs"
DOCKERFILE = (ENVS / "Dockerfile").read_text()
DEFINITION = json.loads((ENVS / "batch-job-definition.json").read_text())
PLUGIN = "snakemake-storage-plugin-s3"


def test_the_job_definition_is_what_aws_registers():
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import validate_parameters

    model = ServiceModel(Loader().load_service_model("batch", "service-2"), "batch")
    validate_parameters(DEFINITION, model.operation_model("RegisterJobDefinition").input_shape)
    container = DEFINITION["containerProperties"]
    assert {one["type"] for one in container["resourceRequirements"]} == {"VCPU", "MEMORY"}
    assert container["command"][0] == "bams3"
    tag = re.search(r"--tag (\S+)", DOCKERFILE)[1]
    assert container["image"].endswith(f"/{tag}")
    assert bams3.__version__.startswith(tag.partition(":")[2])


def instructions():
    """Instructions of the Dockerfile and their arguments, lines joined, without comments."""
    text = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    return re.findall(r"^([A-Z]+) (.*)$", text.replace("\\\n", " "), re.MULTILINE)


def test_the_image_runs_no_job_as_root_and_brings_no_compiler():
    stages = "\n".join(f"{name} {rest}" for name, rest in instructions()).split("FROM ")
    assert len(stages) == 3
    final = stages[-1]
    assert "gcc" not in final
    assert re.findall(r"^USER (\S+)$", final, re.MULTILINE) == ["bams3"]
    assert "ENTRYPOINT" not in final
    assert not re.search(r":latest|:\s*$", re.search(r"ARG BASE=(\S+)", DOCKERFILE)[1])


def test_all_that_the_image_copies_is_there_and_not_ignored():
    ignored = (ENVS / "Dockerfile.dockerignore").read_text().splitlines()
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in ignored


def needed():
    """Every package that the image gets, by name, and its version here."""
    found: dict[str, str] = {}
    queue = [("bams3", ("plots", "workflow")), (PLUGIN, ())]
    seen = set(queue)
    for name, extras in queue:  # grows
        told = distribution(name)
        found[canonicalize_name(name)] = told.version
        for text in told.requires or ():
            one = Requirement(text)
            key = (canonicalize_name(one.name), tuple(sorted(one.extras)))
            wanted = one.marker is None or any(one.marker.evaluate({"extra": e}) for e in (*extras, ""))
            if wanted and key not in seen:
                seen.add(key)
                queue.append(key)
    del found["bams3"]
    return found


def test_every_package_of_the_image_has_its_version():
    lines = [line for line in (ENVS / "image.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    assert needed().keys() - pinned.keys() == set()
    asked = [Requirement(text) for text in distribution("bams3").requires]
    for one in asked:
        if one.marker is None and one.name in pinned:
            assert pinned[one.name] in one.specifier


@pytest.mark.parametrize("plugin", [PLUGIN, "snakemake-executor-plugin-aws-batch"])
def test_the_extra_brings_the_plugins(plugin):
    extra = [text for text in distribution("bams3").requires if 'extra == "aws-batch"' in text]
    assert any(text.startswith(plugin) for text in extra)
