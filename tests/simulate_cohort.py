"""Simulate a small cohort: a reference, paired reads of a few samples, a samples sheet and regions.

    python tests/simulate_cohort.py OUTDIR [--samples 4] [--seed 1] [--depth 20] [--size-kb 300]

OUTDIR gets ``reference.fa``, ``alignments/SAMPLE.bam`` (the last sample is a CRAM), ``samples.tsv``,
``regions.bed``, ``truth.tsv`` (who carries the deletion) and, last, ``config.yaml``; paths in them are
relative to OUTDIR. The same options give the same bytes, wherever OUTDIR is.
"""

import argparse
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam
from simulate_reads import (
    INSERT_MAX_BP,
    LONGEST_GAP_BP,
    MATE_REVERSE,
    MATE_UNMAPPED,
    PROPER,
    READ_BP,
    REVERSE,
    Alignment,
    Bytes,
    Reads,
    Variants,
    align_all,
    draw_reads,
    haplotype,
    random_contig,
    random_variants,
)

SHARES = {"chr1": 0.5, "chr2": 1 / 3, "chr3": 1 / 6}
WINDOWS = 60


@dataclass(frozen=True)
class Deletion:
    """A deleted span, 0-based half-open, and how many of a sample's two copies lack it."""

    contig: str
    start_bp: int
    end_bp: int
    copies: int


# SAM ----------------------------------------------------------------------------------------------------


def read_names(rng: np.random.Generator, count: int, flow_cell: str) -> list[str]:
    """Distinct Illumina names: machine, run, flow cell, lane, tile, x, y."""
    keys = np.empty(0, dtype=np.int64)
    shape = (2, 2, 2, 78, 31_000, 37_000)
    while keys.size < count:
        keys = np.unique(np.append(keys, rng.integers(0, np.prod(shape), count + 100)))
    lane, surface, swath, tile, x, y = np.unravel_index(rng.permutation(keys)[:count], shape)
    tiles = 1101 + 1000 * surface + 100 * swath + tile
    fields = zip((lane + 1).tolist(), tiles.tolist(), (x + 1000).tolist(), (y + 1000).tolist(), strict=True)
    return [f"A00684:112:{flow_cell}:{lane}:{tile}:{x}:{y}" for lane, tile, x, y in fields]


@dataclass(frozen=True)
class Pair:
    """Both reads of a fragment, the left one first."""

    flags: tuple[int, ...]
    mapq: tuple[int, ...]
    bases: tuple[str, ...]
    qualities: tuple[str, ...]
    alignments: tuple[Alignment | None, ...]

    def length_bp(self) -> int:
        """The span of the reference that the fragment covers; 0 if a read of it is unmapped."""
        left, right = self.alignments
        return max(left.end_bp, right.end_bp) - min(left.start_bp, right.start_bp) if left and right else 0


def pairs(reads: Reads, contig: Bytes) -> Iterator[Pair]:
    """The fragments of a haplotype, aligned."""
    alignments = align_all(reads, contig)
    flags, mapq = reads.flags.tolist(), reads.mapq.tolist()
    bases = reads.bases.tobytes().decode("ascii")
    qualities = (reads.qualities + 33).tobytes().decode("ascii")
    for left in range(0, len(flags), 2):
        both, cuts = slice(left, left + 2), [slice(r * READ_BP, (r + 1) * READ_BP) for r in (left, left + 1)]
        yield Pair(
            tuple(flags[both]),
            tuple(mapq[both]),
            tuple(bases[cut] for cut in cuts),
            tuple(qualities[cut] for cut in cuts),
            tuple(alignments[both]),
        )


def sam_line(name: str, sample: str, contig: str, pair: Pair, mine: int) -> tuple[int, str]:
    """Position, -1 if unplaced, and SAM line of one read of a fragment, with what it says of its mate."""
    other = 1 - mine
    own, mate = pair.alignments[mine], pair.alignments[other]
    here, there = own or mate, mate or own
    length_bp = pair.length_bp()
    flag = pair.flags[mine] | (MATE_UNMAPPED if mate is None else 0)
    flag |= MATE_REVERSE if pair.flags[other] & REVERSE else 0
    flag |= PROPER if 0 < length_bp <= INSERT_MAX_BP + LONGEST_GAP_BP else 0
    if own and mate and (own.start_bp, mine) > (mate.start_bp, other):
        length_bp = -length_bp
    at, mate_at = (place.start_bp if place else -1 for place in (here, there))
    fields = [name, str(flag), contig if here else "*", str(at + 1), str(pair.mapq[mine])]
    fields += [own.cigar if own else "*", "=" if there else "*", str(mate_at + 1), str(length_bp)]
    fields += [pair.bases[mine], pair.qualities[mine], f"RG:Z:{sample}.L{name.split(':')[3]}"]
    fields += [f"MC:Z:{mate.cigar}", f"MQ:i:{pair.mapq[other]}"] if mate else []
    fields += [f"MD:Z:{own.md}", f"NM:i:{own.edits}", f"AS:i:{own.score}"] if own else []
    return at, "\t".join(fields) + "\n"


def sam_header(sample: str, contigs: dict[str, Bytes]) -> str:
    """Header with the checksums that CRAM asks for, and a read group for each of two lanes."""
    lines = ["@HD\tVN:1.6\tSO:coordinate"]
    for name, bases in contigs.items():
        checksum = hashlib.md5(bases.tobytes()).hexdigest()
        lines += [f"@SQ\tSN:{name}\tLN:{bases.size}\tM5:{checksum}"]
    for lane in (1, 2):
        lines += [f"@RG\tID:{sample}.L{lane}\tSM:{sample}\tLB:{sample}.A\tPL:ILLUMINA\tPU:flowcell.{lane}"]
    return "\n".join(lines) + "\n"


def simulate_sam(
    rng: np.random.Generator,
    sample: str,
    depth: float,
    genome: dict[str, tuple[Bytes, Variants]],
    deletion: Deletion,
) -> str:
    """The whole SAM text of a sample, sorted by position, unplaced pairs last."""
    placed: list[str] = []
    unplaced: list[str] = []
    flow_cell = f"H{''.join(rng.choice(list('ABCDFGKLMTWXY23457'), 5))}DSX2"
    for contig, (bases, variants) in genome.items():
        lines: list[tuple[int, str]] = []
        for copy in (0, 1):
            lost = contig == deletion.contig and copy < deletion.copies
            gone = slice(deletion.start_bp, deletion.end_bp) if lost else slice(0, 0)
            source = haplotype(rng, bases, variants, gone)
            reads = draw_reads(rng, source, round(depth * source.bases.size / (4 * READ_BP)))
            names = read_names(rng, len(reads.flags) // 2, flow_cell)
            for name, pair in zip(names, pairs(reads, bases), strict=True):
                lines += [sam_line(name, sample, contig, pair, mine) for mine in (0, 1)]
        lines.sort(key=lambda line: line[0])
        placed += [text for at, text in lines if at >= 0]
        unplaced += [text for at, text in lines if at < 0]
    return sam_header(sample, {name: bases for name, (bases, _) in genome.items()}) + "".join(
        placed + unplaced
    )


def write_reference(path: Path, contigs: dict[str, Bytes]) -> None:
    """FASTA with 60 bases a line, and its .fai."""
    with path.open("w", encoding="ascii") as file:
        for name, bases in contigs.items():
            text = bases.tobytes().decode("ascii")
            file.write(f">{name}\n")
            file.writelines(f"{text[at : at + 60]}\n" for at in range(0, len(text), 60))
    pysam.faidx(str(path))


# The cohort ---------------------------------------------------------------------------------------------


def write_alignment(text: str, path: Path) -> None:
    """BAM or CRAM, by the suffix, with its index."""
    sam = path.with_suffix(".sam")
    sam.write_text(text, encoding="ascii")
    pysam.view(
        "--no-PG", "-C" if path.suffix == ".cram" else "-b", "-o", str(path), str(sam), catch_stdout=False
    )
    pysam.index(str(path))
    sam.unlink()


@contextlib.contextmanager
def contigs_by_checksum(contigs: dict[str, Bytes]) -> Iterator[None]:
    """Let htslib find contigs by their M5, for given a FASTA it writes its path into a CRAM's header."""
    before = os.environ.get("REF_PATH")
    with tempfile.TemporaryDirectory() as folder:
        for bases in contigs.values():
            Path(folder, hashlib.md5(bases.tobytes()).hexdigest()).write_bytes(bases.tobytes())
        os.environ["REF_PATH"] = f"{folder}/%s"
        try:
            yield
        finally:
            del os.environ["REF_PATH"]
            os.environ.update({"REF_PATH": before} if before is not None else {})


def write_regions(path: Path, contigs: dict[str, Bytes], window_bp: int) -> None:
    """BED of windows that cover every contig, each named by its contig and start."""
    with path.open("w", encoding="ascii") as file:
        for contig, bases in contigs.items():
            for start in range(0, bases.size, window_bp):
                end = min(start + window_bp, bases.size)
                file.write(f"{contig}\t{start}\t{end}\t{contig}_{start / 1000:g}kb\n")


def deletion_of(number: int, samples: int, window_bp: int) -> Deletion:
    """The second sample lacks three windows of chr1 in one copy, the third in both."""
    copies = {1: 1, 2: 2}.get(number, 0) if samples > 2 else 2 * number
    return Deletion("chr1", int(11.95 * window_bp), int(15.04 * window_bp), copies)


def simulate(out: Path, samples: int, seed: int, depth: float, size_kb: int) -> None:
    """Write the cohort into ``out``, config.yaml last."""
    rng = np.random.default_rng([seed])
    contigs = {name: random_contig(rng, int(size_kb * 1000 * share)) for name, share in SHARES.items()}
    genome = {name: (bases, random_variants(rng, bases)) for name, bases in contigs.items()}
    window_bp = size_kb * 1000 // WINDOWS
    (out / "alignments").mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(out), contigs_by_checksum(contigs):
        write_reference(Path("reference.fa"), contigs)
        write_regions(Path("regions.bed"), contigs, window_bp)
        sheet, truth = ["sample\talignment\treference"], ["sample\tcontig\tstart\tend\tcopies_lost"]
        for number in range(samples):
            sample, gone = f"sample{number + 1}", deletion_of(number, samples, window_bp)
            own = np.random.default_rng([seed, number + 1])
            text = simulate_sam(own, sample, depth * own.uniform(0.65, 1.35), genome, gone)
            last = number == samples - 1
            path = Path("alignments", f"{sample}.{'cram' if last else 'bam'}")
            write_alignment(text, path)
            sheet.append(f"{sample}\t{path}\t{'reference.fa' if last else ''}")
            if gone.copies:
                truth.append(f"{sample}\t{gone.contig}\t{gone.start_bp}\t{gone.end_bp}\t{gone.copies}")
        Path("samples.tsv").write_text("\n".join(sheet) + "\n", encoding="ascii")
        Path("truth.tsv").write_text("\n".join(truth) + "\n", encoding="ascii")
        config = "samples: samples.tsv\nregions: regions.bed\nslices: 2\n"
        Path("config.yaml").write_text(config, encoding="ascii")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Simulate a small cohort of paired-end reads.")
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--samples", type=int, default=4, help="number of samples [4]")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same bytes [1]")
    parser.add_argument("--depth", type=float, default=20, help="mean depth; samples differ by a third [20]")
    parser.add_argument(
        "--size-kb", type=int, default=300, help="length of the reference, three contigs [300]"
    )
    options = parser.parse_args(arguments)
    simulate(options.outdir, options.samples, options.seed, options.depth, options.size_kb)


if __name__ == "__main__":
    main()
