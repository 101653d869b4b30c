"""2,500 pieces of damage, and what reads them: no crash, no hang, no memory beyond a gigabyte."""

import os
import subprocess
import sys
from pathlib import Path

import pysam
import pytest

WORKER = Path(__file__).with_name("mutate.py")
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
FILES = (
    "NA12878.chr22.s.bam",
    "test.rna.paired_end.sorted.chr6.bam",
    "possorted_genome_bam.bam",
    "CEUTrio.HiSeq.WGS.b37.NA12878.20.first.8000.bam",
)
LIMIT_BYTES = 1 << 30


@pytest.fixture(scope="module")
def small_bams(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Sixty real records of each file, with a header of those contigs alone."""
    folder = tmp_path_factory.mktemp("small")
    return [write_small(shared_data / "aln" / name, folder / name) for name in FILES]


def write_small(source: Path, target: Path) -> str:
    with pysam.AlignmentFile(str(source), check_sq=False) as file:
        records = [record for record, _ in zip(file.fetch(until_eof=True), range(60), strict=False)]
        used = sorted({tid for r in records for tid in (r.reference_id, r.next_reference_id) if tid >= 0})
        contigs = [{"SN": file.get_reference_name(tid), "LN": file.lengths[tid]} for tid in used]
    header = pysam.AlignmentHeader.from_dict({"HD": {"VN": "1.6"}, "SQ": contigs})
    with pysam.AlignmentFile(str(target), "wb", header=header) as out:
        for record in records:
            moved = pysam.AlignedSegment.fromstring(record.to_string(), header)
            out.write(moved)
    return str(target)


def run(kind: str, seed: int, count: int, bams: list[str]) -> str:
    """Output of a worker that must end well; its peak memory is checked by the worker's own parent."""
    command = [sys.executable, str(WORKER), kind, str(seed), str(count), *bams]
    watched = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
        "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", watched, *command], capture_output=True, text=True, timeout=550, check=False
    )
    assert done.returncode == 0, f"{kind} {seed}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    *lines, outcomes, peak = done.stdout.splitlines()
    assert lines == []
    assert SANITIZED or int(peak.split()[1]) < LIMIT_BYTES
    return outcomes


@pytest.mark.native
@pytest.mark.parametrize("kind", ["file", "records", "object", "column", "sealed"])
def test_damage_is_refused_or_read(kind: str, small_bams: list[str]) -> None:
    print(kind, run(kind, 0, 40, small_bams))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "records", "object", "column", "sealed"])
def test_five_hundred_pieces_of_damage_are_refused_or_read(kind: str, small_bams: list[str]) -> None:
    print(kind, run(kind, 1000, 500, small_bams))
