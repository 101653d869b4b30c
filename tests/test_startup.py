"""What a command costs before it does anything: the modules that it imports."""

import re
import subprocess
import sys

import pytest
import queries
from alignment_files import HEADER_LINES, RECORD_LINES

import bams3

HEAVY = {"numpy", "pysam", "scipy", "matplotlib", "boto3", "pyarrow", "click", "zstandard", "isal", "tqdm"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small BAM, and its store."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.sam").write_text(HEADER_LINES + RECORD_LINES)
    queries.run("convert", str(folder / "small.sam"), str(folder / "small.bams3"), "--quiet")
    queries.run("export", str(folder / "small.bams3"), str(folder / "small.bam"), "--quiet")
    return folder


def imports_of(*arguments):
    """Top-level modules that a command imports, and what it writes."""
    program = [sys.executable, "-X", "importtime", "-m", "bams3", *map(str, arguments)]
    done = subprocess.run(program, capture_output=True, check=True)
    names = re.findall(r"^import time:[^|]*\|[^|]*\|\s*([\w.]+)$", done.stderr.decode(), re.M)
    assert "bams3" in names
    return {name.split(".")[0] for name in names}, done.stdout


def test_the_version_is_one_short_line_that_imports_nothing_heavy():
    imported, out = imports_of("--version")
    assert out == f"bams3 {bams3.__version__}\n".encode()
    assert not imported & HEAVY


def test_importing_the_package_imports_nothing_heavy():
    program = "import bams3, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in done.stdout.split()} & HEAVY


def test_help_imports_no_numbers(small):
    assert not imports_of("--help")[0] & {"pysam", "scipy", "matplotlib", "boto3", "pyarrow"}


def test_a_count_imports_what_it_uses_and_no_more(small):
    imported, out = imports_of("query", small / "small.bams3", "chr1", "--count")
    assert out == b"2\n"
    assert not imported & {"pysam", "scipy", "matplotlib", "boto3", "pyarrow", "tqdm"}


@pytest.mark.parametrize("command", ["query", "query -b", "verify", "convert"])
def test_no_command_but_fetch_imports_pysam(small, tmp_path, command):
    name, *options = command.split()
    given = [small / "small.bam", tmp_path / "again.bams3"] if name == "convert" else [small / "small.bams3"]
    assert not imports_of(name, *given, *options)[0] & {"pysam", "scipy", "matplotlib", "boto3", "pyarrow"}


def test_every_command_has_help_with_an_example():
    from bams3.cli import COMMANDS

    for name in COMMANDS:
        text = queries.run(name, "--help")
        assert f"bams3 {name} " in text.split("Example", 1)[1]
