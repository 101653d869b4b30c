"""Nextflow for tests: the real engine, installed once in build/nextflow, its runs and what they leave.

``nextflow`` on the PATH is used where there is one. Else its jars come from Maven Central, by
nextflow_engine/pom.xml, which takes Java 17, Maven and about a minute.
"""

import csv
import fcntl
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

PIPELINE = Path(__file__).parent.parent / "nextflow"
ENGINE = Path(__file__).parent / "nextflow_engine"
BUILD = Path(__file__).parent.parent / "build" / "nextflow"
BIN = Path(sys.executable).parent
#: What a run needs that makes an archive of most classes that others use.
_WARM_UP = """
process ECHO {
    output:
    stdout

    script:
    "echo"
}

workflow {
    ECHO()
}
"""


def why_not() -> str:
    """Why there is no engine here; empty if there is one, or can be."""
    if shutil.which("nextflow"):
        return ""
    missing = [program for program in ("java", "mvn") if not shutil.which(program)]
    return f"no {', '.join(missing)}: apt-get install openjdk-17-jre-headless maven" if missing else ""


@functools.cache
def engine() -> str:
    """The program ``nextflow``; installed where that has not been done yet."""
    if found := shutil.which("nextflow"):
        return found
    if reason := why_not():
        pytest.skip(reason)
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:  # of several workers one installs
        fcntl.flock(lock, fcntl.LOCK_EX)
        done, pom = BUILD / "installed", (ENGINE / "pom.xml").read_bytes()
        if not done.exists() or done.read_bytes() != pom:
            _install()
            done.write_bytes(pom)
    return str(ENGINE / "nextflow")


def _install() -> None:
    shutil.rmtree(BUILD / "lib", ignore_errors=True)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={BUILD / 'lib'}"]
    subprocess.run(["mvn", "-q", "-B", "-f", str(ENGINE / "pom.xml"), *goal], check=True)
    folder = BUILD / "warm-up"
    folder.mkdir(exist_ok=True)
    (folder / "main.nf").write_text(_WARM_UP)
    how = environment() | {"NEXTFLOW_ARCHIVE": "new"}
    subprocess.run(
        [ENGINE / "nextflow", "run", "main.nf"], cwd=folder, env=how, check=True, capture_output=True
    )
    shutil.rmtree(folder)


def environment() -> dict[str, str]:
    """Variables of a run: the tools of this Python come first on the PATH."""
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "NEXTFLOW_JARS": str(BUILD / "lib")}


def nextflow(folder: Path, *arguments: str | Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """A command of Nextflow in a folder, to its end; stdout has all that it says."""
    return subprocess.run(**started(folder, *arguments, **env), timeout=600)


def started(folder: Path, *arguments: str | Path, **env: str) -> dict[str, object]:
    """The same as arguments of ``subprocess.Popen``."""
    command = [engine(), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return {"args": command, "cwd": folder, "env": environment() | env, **pipes}


def run(folder: Path, *options: str | Path, pipeline: Path = PIPELINE, **env: str) -> str:
    """Run the pipeline, which must succeed; what was said."""
    done = nextflow(folder, "run", pipeline, *options, **env)
    assert done.returncode == 0, done.stdout
    return done.stdout


def trace(folder: Path, outdir: str = "results") -> list[dict[str, str]]:
    """Tasks of the last run, as trace.txt has them, with the process's own name as ``process``."""
    with (folder / outdir / "pipeline_info/trace.txt").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row | {"process": row["name"].partition(" ")[0].rpartition(":")[2]} for row in rows]


def ran(tasks: Sequence[dict[str, str]], status: str = "COMPLETED") -> list[str]:
    """Names of tasks that ended so, without the workflows that they are in, sorted."""
    return sorted(row["name"].rpartition(":")[2] for row in tasks if row["status"] == status)
