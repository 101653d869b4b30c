"""A small cohort to plan work on, its commands in few words, and what logs say of each unit."""

import json
import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pysam
from bam_records import bam, header_bytes, record
from commands import EXIT_CODE, convert, run, run_apart

EXIT_CODE |= dict.fromkeys(("units-failed", "missing-units"), 5) | {"deadline": 6}
EXIT_CODE |= dict.fromkeys(("not-a-plan", "bad-slice", "bad-sheet", "unknown-contig", "bad-bed"), 2)
EXIT_CODE |= dict.fromkeys(("doubled-sample",), 2)

CONTIGS = (("chr1", 1_000_000), ("chr2", 200_000), *((f"tiny{i}", 20_000) for i in range(5)))
FLAGS = (0, 0, 0, 16, 99, 147, 256, 512, 1024, 2048)
BED = "".join(
    f"{row}\n"
    for row in (
        "track name=targets",
        "#contig\tstart\tend\tname",
        "chr1\t1000\t21000\texon 1",
        "chr1\t20000\t60000\tit's;{sample}$HOME",
        "chr1\t20000\t60000\tdoubled",
        "chr1\t20000\t60000",
        "chr1\t500\t500\tnothing",
        "chr1\t990000\t1500000\tbeyond",
        "chr2\t0\t200000\twhole",
        "tiny1\t5\t19000",
        "tiny3\t0\t20000\tr",
        "tiny3\t100\t101\tbase",
        "tiny4\t0\t10",
        "chr1\t700000\t700001",
    )
)


def make_bam(path: Path, seed: int, n: int = 6000, contigs=CONTIGS) -> Path:
    """A sorted and indexed BAM of random reads; tiny4 has none."""
    rng = random.Random(seed)
    several = []
    for contig, (_, length) in enumerate(CONTIGS[:-1]):
        for _ in range(n * length // 2_000_000 + 30):
            size = rng.choice((40, 100, 150))
            cigar = rng.choice((f"{size}M", f"10S{size - 10}M", f"{size - 20}M50N20M", f"{size - 9}M3D9M"))
            several.append((contig, rng.randrange(length - 300), size, cigar))
    several.sort()
    records = [
        record(
            b"r%d" % i,
            contig=contig,
            pos=pos,
            cigar=cigar,
            seq="ACGT" * (size // 4) + "A" * (size % 4),
            flag=rng.choice(FLAGS),
            mapq=rng.randrange(61),
        )
        for i, (contig, pos, size, cigar) in enumerate(several)
    ]
    records += [record(b"u%d" % i, contig=-1, pos=-1, flag=4, cigar="*") for i in range(20)]
    path.write_bytes(bam(records, header_bytes(contigs)))
    pysam.index(str(path))
    return path


def make_cohort(folder: Path, n: int = 3) -> "Cohort":
    """Samples S1, S2, ... as BAM files and stores, a sheet of them, and BED as targets.bed."""
    for i in range(1, n + 1):
        make_bam(folder / f"S{i}.bam", i)
        done = convert(folder / f"S{i}.bam", folder / f"S{i}.bams3", "--chunk-size", "256K")
        assert done.code == 0, done.err
    cohort = Cohort(folder, tuple(f"S{i}" for i in range(1, n + 1)))
    cohort.write_sheet(folder / "samples.tsv")
    (folder / "targets.bed").write_text(BED)
    return cohort


@dataclass(frozen=True)
class Cohort:
    """A folder of BAM files and stores."""

    folder: Path
    samples: tuple[str, ...]

    @property
    def sheet(self) -> Path:
        return self.folder / "samples.tsv"

    @property
    def bed(self) -> Path:
        return self.folder / "targets.bed"

    def bam(self, sample: str) -> Path:
        return self.folder / f"{sample}.bam"

    def store(self, sample: str) -> Path:
        return self.folder / f"{sample}.bams3"

    def write_sheet(self, path: Path, samples=None) -> Path:
        rows = [f"{name}\t{self.store(name)}" for name in samples or self.samples]
        path.write_text("\n".join(("sample\tstore", *rows)) + "\n")
        return path


@dataclass(frozen=True)
class Work:
    """A plan beside its work folder, which is ``WORK`` in its folder."""

    plan: Path

    @property
    def folder(self) -> Path:
        return self.plan.parent / "WORK"

    def run(self, *options):
        return run("run", self.plan, "--quiet", *options)

    def run_apart(self, *options, **how):
        return run_apart("run", self.plan, "--quiet", *options, **how)

    def gather(self, out: str = "tables") -> dict[str, bytes]:
        """Files that gather writes."""
        folder = self.plan.parent / out
        done = run("gather", self.plan, "-o", folder)
        assert done.code == 0, done.err
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def status(self) -> dict:
        done = run("status", self.plan, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    def missing(self) -> list[dict]:
        done = run("status", self.plan, "--missing", "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    def events(self, event: str) -> list[dict]:
        """Events of all logs of any plan in the work folder, in order of attempts."""
        lines = []
        for path in sorted(self.folder.glob("logs/*/*/*.jsonl"), key=lambda path: path.name):
            lines += [json.loads(line) for line in path.read_text().splitlines()[:-1]]
        return [line for line in lines if line["event"] == event]

    def times_done(self) -> Counter:
        """How often each unit was done, by its number."""
        return Counter(line["unit"] for line in self.events("done"))


def plan(folder: Path, *options, name: str = "plan.json") -> Work:
    """A plan in a folder."""
    done = run("plan", "-o", folder / name, "--work", folder / "WORK", *options)
    assert done.code == 0, done.err
    return Work(folder / name)


def many_regions(path: Path, n: int, step: int = 1500) -> Path:
    """A BED file of n regions of chr1, named r0, r1, ..."""
    path.write_text("".join(f"chr1\t{i * step}\t{i * step + 1000}\tr{i}\n" for i in range(n)))
    return path


def in_words(err: str) -> str:
    """The one line of an error."""
    lines = err.splitlines()
    assert lines, "nothing was said"
    assert re.fullmatch(r"bams3: .* \[[a-z0-9-]+\]", lines[0]), err
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: ")), err
    return lines[0]
