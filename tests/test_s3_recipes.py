"""Command lines of the seed documents over S3, run as they stand: GNU parallel, and chunks from the AWS CLI.

Where a line cannot stand as it is, the test says what was changed. The AWS CLI needs a virtual environment of
its own, since its versions of other packages are not those of Snakemake:

    python3 -m venv build/aws && build/aws/bin/pip install -q awscli

``BAMS3_TEST_AWS`` names the program; without it, that of the lines above or the first on the PATH is taken.
"""

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pysam
import pytest
import queries
from s3_places import environment

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[1]
SEEDS = ROOT.parent / "shared" / "seeds"
CHROMOSOMES = [*map(str, range(1, 23)), "X", "Y"]
PLACES = [*(("1", start) for start in (1, 1, 2, 3, 3, 9, 15)), ("2", 1), ("X", 1), ("Y", 7)]


def program(name, hint):
    """Path of a program; the test is skipped where there is none that works."""
    found = shutil.which(name)
    if found is None or subprocess.run([found, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"no {name}: {hint}")
    return found


@pytest.fixture(scope="module")
def aws():
    """The AWS CLI."""
    beside = ROOT / "build" / "aws" / "bin" / "aws"
    name = os.environ.get("BAMS3_TEST_AWS") or (str(beside) if beside.exists() else "aws")
    return program(name, "python3 -m venv build/aws && build/aws/bin/pip install awscli; or BAMS3_TEST_AWS")


@pytest.fixture(scope="module")
def bam(tmp_path_factory):
    """A BAM with the contigs of a human genome, reads where the recipes ask for some, and elsewhere."""
    chance = random.Random(1)
    lines = ["@HD\tVN:1.6\tSO:coordinate", *(f"@SQ\tSN:chr{name}\tLN:60000000" for name in CHROMOSOMES)]
    for n, (name, start) in enumerate(PLACES * 3):
        for read in range(chance.randint(4, 9)):
            at_bp = start * 1_000_000 + chance.choice((chance.randint(1, 990), chance.randint(1, 999_000)))
            lines.append(f"r{n}.{read}\t0\tchr{name}\t{at_bp}\t60\t8M\t*\t0\t0\tACGTACGT\tIIIIIIII")
    lines += [f"u{n}\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\tIIII" for n in range(7)]
    path = tmp_path_factory.mktemp("recipes") / "sample.bam"
    path.with_suffix(".sam").write_text("\n".join(lines) + "\n")
    pysam.sort("-o", str(path), str(path.with_suffix(".sam")))
    pysam.index(str(path))
    return path


@pytest.fixture
def bucket(bam, s3_bucket):
    """A bucket with the store of the BAM, made there by ``bams3 convert``."""
    queries.run("convert", "--quiet", str(bam), s3_bucket.address("sample.bams3"))
    return s3_bucket


@pytest.fixture
def bash(bucket, tmp_path):
    """Runs lines that must succeed, with this Python's tools on the PATH; gives what they write."""
    program("parallel", "apt-get install parallel")

    def run(lines, *tools):
        folders = [str(Path(tool).parent) for tool in (sys.executable, *tools)]
        path = os.pathsep.join([*folders, os.environ["PATH"]])
        at_moto = environment(bucket.server.url)
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", lines.replace("s3://bucket", f"s3://{bucket.name}")],
            cwd=tmp_path,
            env={**os.environ, **at_moto, "PATH": path, "SHELL": "/bin/bash"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "bams3:" not in done.stderr
        return done.stdout

    return run


def stands_in(seed, lines):
    """Lines that are a quotation; checked where the seeds are."""
    for path in SEEDS.glob(f"{seed}_*.txt"):
        assert lines in path.read_text()
    return lines


def counted(bam, region):
    """What samtools counts."""
    return int(pysam.view("-c", str(bam), region))


def chunks_of(bucket):
    """Records of each chunk, by its name without the suffix."""
    rows = queries.run("chunks", bucket.address("sample.bams3")).splitlines()[1:]
    return {Path(row.split("\t")[0]).stem: int(row.split("\t")[2]) for row in rows}


def test_regions_are_counted_one_after_the_other(bam, bash):
    lines = stands_in(
        "001",
        """\
for i in {1..100}; do
  bams3 query s3://bucket/sample.bams3 chr1:${i}000000-${i}001000 --count
done
""",
    )
    found = [
        int(line) for line in bash(lines.replace("1..100", "1..3")).splitlines()
    ]  # of the hundred, three
    assert found == [counted(bam, f"chr1:{i}000000-{i}001000") for i in (1, 2, 3)]


def test_regions_are_counted_in_parallel(bam, bash):
    lines = stands_in(
        "001",
        """\
parallel -j 36 \\
  'bams3 query s3://bucket/sample.bams3 chr1:{}000000-{}001000 --count' \\
  ::: {1..100}
""",
    )
    lines = lines.replace("-j 36", "-k -j 4").replace("1..100", "1..4")  # fewer, and in order
    found = [int(line) for line in bash(lines).splitlines()]
    assert found == [counted(bam, f"chr1:{i}000000-{i}001000") for i in (1, 2, 3, 4)]
    assert sum(found) > 10


def test_a_chunk_from_the_aws_cli_is_read_from_a_pipe(bam, bucket, bash, aws):
    key = next(key for key in bucket.listed("sample.bams3/data/chrX/"))
    found = bash(f"aws s3 cp s3://bucket/{key} - | bams3 cat -", aws)
    assert found == pysam.view(str(bam), "chrX")


def test_every_chunk_is_processed_by_itself(bam, bucket, bash, aws, tmp_path):
    lines = stands_in(
        "000",
        """\
aws s3 ls s3://bucket/sample.bams3/data/ --recursive | \\
  grep ".chunk$" | \\
  awk '{print $4}' | \\
  parallel -j 50 \\
    'aws s3 cp s3://bucket/{} - | process_chunk > {/.}.result'
""",
    )
    # process_chunk is the seed's placeholder
    lines = lines.replace("-j 50", "-j 4").replace("process_chunk", "bams3 cat - | wc -l")
    bash(lines, aws)
    found = {path.stem: int(path.read_text()) for path in tmp_path.glob("*.result")}
    assert found == chunks_of(bucket)
    assert sum(found.values()) == int(pysam.view("-c", str(bam)))
    assert len(found) >= len({name for name, _ in PLACES}) + 1


def test_chunks_are_addressed_as_bams3_lists_them(bam, bash, bucket):
    lines = """
bams3 chunks s3://bucket/sample.bams3 --region chr1 | tail -n +2 | cut -f 1 | \\
  parallel -j 4 'bams3 cat s3://bucket/sample.bams3/{} | wc -l'
"""
    assert sum(map(int, bash(lines).splitlines())) == counted(bam, "chr1")


def test_a_store_is_copied_by_the_aws_cli_and_stays_whole(bam, bash, aws, tmp_path):
    bash("aws s3 cp --quiet --recursive s3://bucket/sample.bams3 local.bams3", aws)
    bash("aws s3 cp --quiet --recursive local.bams3 s3://bucket/again.bams3", aws)
    assert bash("bams3 query s3://bucket/again.bams3 chr1 --count") == f"{counted(bam, 'chr1')}\n"
    assert re.search("all as written", bash("bams3 verify s3://bucket/again.bams3 2>&1"))
