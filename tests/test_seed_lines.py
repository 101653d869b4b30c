"""The command lines of the seed documents, run as they stand: GNU parallel, loops, a chunk a process.

Where a line cannot stand as it is, the test says what was changed. The seeds' own placeholders
(``your_analysis_tool``, ``calculate_coverage``, ``process_chunk``) are scripts of one line each, with
``bams3 cat`` in it; ``aws`` is a script that lists and copies a folder.
"""

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pysam
import pytest
import queries

pytestmark = pytest.mark.engine

SEEDS = Path(__file__).resolve().parents[2] / "shared" / "seeds"
CHROMOSOMES = [*map(str, range(1, 23)), "X", "Y"]
#: Where reads lie: contig, start in Mb; those of the seeds' lines, and some beside.
PLACES = [
    *(("1", start) for start in (1, 1, 2, 5, 9, 10, 15)),
    *((str(n), 1) for n in range(2, 11)),
    *((name, 0) for name in ("11", "22", "X")),
]
TOOLS = {
    "your_analysis_tool": 'bams3 cat -u "$1" | samtools view -c -',
    "calculate_coverage": 'bams3 cat -b "$1" | samtools depth -',
    "process_chunk": 'bams3 cat "${1:--}" | wc -l',
    "aws": """
        if [[ "$1 $2" == "s3 ls" ]]; then
            find "${3#s3://bucket/}" -type f -printf '2026-01-01 00:00:00 %s %p\\n'
        else
            cat "${3#s3://bucket/}"
        fi""",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two BAMs with the contigs of a human genome, and their stores."""
    if shutil.which("parallel") is None:
        pytest.skip("GNU parallel is not installed: apt-get install parallel")
    folder = tmp_path_factory.mktemp("seeds")
    for seed, name in enumerate(("sample", "other")):
        make_bam(folder / f"{name}.bam", random.Random(seed))
        queries.run("convert", "--quiet", str(folder / f"{name}.bam"), str(folder / f"{name}.bams3"))
    (folder / "bin").mkdir()
    for name, lines in TOOLS.items():
        (folder / "bin" / name).write_text(f"#!/usr/bin/env bash\nset -eo pipefail\n{lines}\n")
        (folder / "bin" / name).chmod(0o755)
    return folder


def make_bam(path, chance):
    lines = ["@HD\tVN:1.6\tSO:coordinate", *(f"@SQ\tSN:chr{name}\tLN:60000000" for name in CHROMOSOMES)]
    for n, (name, start) in enumerate(PLACES * 3):
        for read in range(chance.randint(1, 9)):
            at_bp = start * 1_000_000 + chance.randint(1, 999_000)
            lines.append(f"r{n}.{read}\t0\tchr{name}\t{at_bp}\t60\t8M\t*\t0\t0\tACGTACGT\tIIIIIIII\tNM:i:0")
    lines += [f"u{n}\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\tIIII" for n in range(7)]
    unsorted = path.with_suffix(".sam")
    unsorted.write_text("\n".join(lines) + "\n")
    pysam.sort("-o", str(path), str(unsorted))
    pysam.index(str(path))


@pytest.fixture
def folder(made, tmp_path):
    """A folder with the stores as the seeds name them."""
    for name in ("sample", "other"):
        shutil.copytree(made / f"{name}.bams3", tmp_path / f"{name}.bams3")
    return tmp_path


def bash(made, folder, lines):
    """What lines write that must succeed, with the tools of this Python and the placeholders on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), str(made / "bin"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "SHELL": "/bin/bash"}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", lines], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "bams3:" not in done.stderr
    return done.stdout


def stands_in(seed, lines):
    """Lines that are a quotation; checked where the seeds are."""
    for path in SEEDS.glob(f"{seed}_*.txt"):
        assert lines in path.read_text()
    return lines


def counted(made, name, region):
    """What samtools counts."""
    return int(pysam.view("-c", str(made / f"{name}.bam"), region))


def numbers(folder, pattern):
    """The number in each file, by the file's name."""
    return {path.name: int(path.read_text()) for path in folder.glob(pattern)}


def chunks_of(folder):
    """Records of each chunk, by its file's name without the suffix."""
    rows = queries.run("chunks", str(folder / "sample.bams3")).splitlines()[1:]
    return {Path(row.split("\t")[0]).stem: int(row.split("\t")[2]) for row in rows}


# ---- seed 000, section 2 ----


def test_regions_in_parallel(made, folder):
    lines = r"""
parallel -j 10 \
  'bams3 query sample.bams3 chr{}:1M-2M > region_{}.txt' \
  ::: {1..10}
"""
    bash(made, folder, stands_in("000", lines))
    found = {path.name: len(path.read_text().splitlines()) for path in folder.glob("region_*.txt")}
    assert found == {f"region_{n}.txt": counted(made, "sample", f"chr{n}:1M-2M") for n in range(1, 11)}
    assert min(found.values()) > 0


def test_all_chromosomes_at_once(made, folder):
    lines = r"""
for chr in {1..22} X Y; do
  bams3 query sample.bams3 chr${chr}:1-999999999 \
    --count > chr${chr}_count.txt &
done
wait
echo "All chromosomes processed!"
"""
    assert bash(made, folder, stands_in("000", lines)) == "All chromosomes processed!\n"
    expected = {f"chr{name}_count.txt": counted(made, "sample", f"chr{name}") for name in CHROMOSOMES}
    assert numbers(folder, "*_count.txt") == expected


def test_a_list_of_samples(made, folder):
    """``ls *.bams3`` of the seed lists what is in the folders that stores are: here it is ``ls -d``."""
    lines = r"""
cat samples.txt | parallel -j 16 \
  'bams3 query {} chr1:10M-20M --count > {/.}_coverage.txt'
"""
    bash(made, folder, "ls -d *.bams3 > samples.txt" + stands_in("000", lines))
    expected = {f"{name}_coverage.txt": counted(made, name, "chr1:10M-20M") for name in ("sample", "other")}
    assert numbers(folder, "*_coverage.txt") == expected
    out = bash(made, folder, "ls -d *.bams3 | parallel -k 'bams3 query {} chr1 chrX --count'")
    wanted = [counted(made, name, "chr1") + counted(made, name, "chrX") for name in ("other", "sample")]
    assert list(map(int, out.split())) == wanted


# ---- seed 000, section 3 ----

FIND = r"""
find sample.bams3/data -name "*.chunk" -type f > chunks.txt
"""


def test_a_tool_for_each_chunk(made, folder):
    lines = r"""
cat chunks.txt | parallel -j 32 \
  'your_analysis_tool {} > {/.}_result.txt'
"""
    bash(made, folder, stands_in("000", FIND) + stands_in("000", lines))
    chunks = chunks_of(folder)
    assert numbers(folder, "*_result.txt") == {f"{name}_result.txt": n for name, n in chunks.items()}
    assert sum(chunks.values()) == int(pysam.view("-c", str(made / "sample.bam")))


@pytest.mark.parametrize("tool", ["bams3 cat {} | wc -l", "bams3 cat -u {} | samtools view -c -"])
def test_a_pipe_for_each_chunk(made, folder, tool):
    """The same with what the placeholder stands for written out."""
    bash(made, folder, f"{FIND} cat chunks.txt | parallel -j 32 '{tool} > {{/.}}_result.txt'")
    expected = {f"{name}_result.txt": n for name, n in chunks_of(folder).items()}
    assert numbers(folder, "*_result.txt") == expected


def test_the_chunks_of_a_chromosome(made, folder):
    lines = r"""
find sample.bams3/data/chr1 -name "*.chunk" | \
  parallel -j 16 \
    'calculate_coverage {} > {/.}_coverage.txt'
"""
    bash(made, folder, stands_in("000", lines))
    found = [path.read_text().splitlines() for path in folder.glob("*_coverage.txt")]
    assert len(found) == len(list((folder / "sample.bams3/data/chr1").iterdir())) > 1
    together = Counter()
    for contig, pos, depth in (line.split("\t") for lines in found for line in lines):
        together[contig, pos] += int(depth)
    whole = pysam.depth("-r", "chr1", str(made / "sample.bam")).splitlines()
    assert together == {tuple(line.split("\t")[:2]): int(line.split("\t")[2]) for line in whole}


def test_chunks_through_pipes_from_s3(made, folder):
    lines = r"""
aws s3 ls s3://bucket/sample.bams3/data/ --recursive | \
  grep ".chunk$" | \
  awk '{print $4}' | \
  parallel -j 50 \
    'aws s3 cp s3://bucket/{} - | process_chunk > {/.}.result'
"""
    bash(made, folder, stands_in("000", lines))
    assert numbers(folder, "*.result") == {f"{name}.result": n for name, n in chunks_of(folder).items()}


# ---- seed 000, section 9 ----


def test_failed_jobs_are_tried_again_and_logged(made, folder):
    lines = r"""
parallel -j 16 --retries 3 --joblog jobs.log \
  'bams3 query sample.bams3 chr{}:1M-10M || exit 1' \
  ::: {1..22}
"""
    out = bash(made, folder, stands_in("000", lines))
    assert len(out.splitlines()) == sum(counted(made, "sample", f"chr{n}:1M-10M") for n in range(1, 23))
    log = [line.split("\t") for line in (folder / "jobs.log").read_text().splitlines()]
    assert {row[log[0].index("Exitval")] for row in log[1:]} == {"0"}
    assert len(log) == 23


def test_progress_over_chunks(made, folder):
    lines = r"""
total=$(find sample.bams3/data -name "*.chunk" | wc -l)
find sample.bams3/data -name "*.chunk" | \
  parallel --progress --eta -j 16 \
    'process_chunk {} > {/.}.result'
"""
    bash(made, folder, stands_in("000", lines))
    assert numbers(folder, "*.result") == {f"{name}.result": n for name, n in chunks_of(folder).items()}


# ---- seed 000, section 6 ----


def test_its_snakefile_counts_samples_by_chromosomes(made, folder):
    """``glob_wildcards`` gives a tuple: of the seed's SAMPLES the comma is missing."""
    lines = r'''
SAMPLES = glob_wildcards("data/{sample}.bams3")
CHROMOSOMES = [f"chr{i}" for i in range(1, 23)] + ["chrX", "chrY"]

rule all:
    input:
        expand("results/{sample}_{chr}_coverage.txt",
               sample=SAMPLES, chr=CHROMOSOMES)

rule calculate_coverage:
    input:
        "data/{sample}.bams3"
    output:
        "results/{sample}_{chr}_coverage.txt"
    threads: 1
    shell:
        """
        bams3 query {input} {wildcards.chr}:1-999999999 --count > {output}
        """
'''
    text = stands_in("000", lines).replace("SAMPLES = ", "SAMPLES, = ")
    (folder / "Snakefile").write_text(text)
    (folder / "data").mkdir()
    for name in ("sample", "other"):
        (folder / f"{name}.bams3").rename(folder / f"data/{name}.bams3")
    bash(made, folder, stands_in("000", "\nsnakemake --cores 50\n"))
    expected = {
        f"{name}_chr{contig}_coverage.txt": counted(made, name, f"chr{contig}")
        for name in ("sample", "other")
        for contig in CHROMOSOMES
    }
    assert numbers(folder / "results", "*_coverage.txt") == expected


# ---- seed 001 ----


def test_a_count_of_each_chromosome(made, folder):
    lines = r"""
for chr in {1..22} X Y; do
  bams3 query sample.bams3 chr${chr} --count > chr${chr}_coverage.txt &
done
wait
"""
    bash(made, folder, stands_in("001", lines))
    expected = {f"chr{name}_coverage.txt": counted(made, "sample", f"chr{name}") for name in CHROMOSOMES}
    assert numbers(folder, "*_coverage.txt") == expected


def test_what_the_reader_is_asked_to_try(made, tmp_path):
    shutil.copy(made / "sample.bam", tmp_path)
    convert = "\nbams3 convert sample.bam sample.bams3\n"
    loop = r"""
time for i in {1..10}; do
  bams3 query sample.bams3 chr1:${i}000000-$((i+1))000000 --count
done
"""
    at_once = r"""
time parallel -j 10 \
  'bams3 query sample.bams3 chr1:{}000000-$(({}+1))000000 --count' \
  ::: {1..10}
"""
    bash(made, tmp_path, stands_in("001", convert))
    expected = [counted(made, "sample", f"chr1:{i}000000-{i + 1}000000") for i in range(1, 11)]
    assert list(map(int, bash(made, tmp_path, stands_in("001", loop)).split())) == expected
    assert Counter(map(int, bash(made, tmp_path, stands_in("001", at_once)).split())) == Counter(expected)
