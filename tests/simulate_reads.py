"""Simulated genomes and reads of them, as arrays and alignments; ``simulate_cohort.py`` makes files of it.

How a read comes about: a sample has two haplotypes, which are the reference with the SNVs and small indels
of that sample, and in carriers without a deleted span. Every base of a haplotype knows the reference base
that it came from, or -1 for an inserted one. Fragments are drawn from haplotypes, so that deletions, split
reads and indels need no case of their own: a read's row of reference positions says how it aligns. Machine
errors follow the qualities, which fall along the read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

BASES = np.frombuffer(b"ACGT", dtype=np.uint8)
QUALITIES = np.array([8, 12, 22, 27, 32, 37, 41], dtype=np.uint8)
"""The reported values of a machine that bins its qualities in eight: these seven, and 2 for an N."""

READ_BP = 150
INSERT_MEAN_BP, INSERT_SD_BP, INSERT_MAX_BP = 380, 60, 700
LONGEST_GAP_BP = 50
SHORTEST_ANCHOR_BP = 10

PAIRED, PROPER, UNMAPPED, MATE_UNMAPPED, REVERSE, MATE_REVERSE = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
FIRST, LAST, DUPLICATE = 0x40, 0x80, 0x400


@dataclass(frozen=True)
class Haplotype:
    """One copy of a contig: its bases, and for each the reference position or -1 where inserted."""

    bases: Bytes
    origin: Ints


@dataclass(frozen=True)
class Variants:
    """Small variants of a contig in the whole cohort: sites, alternative bases or lengths, frequency."""

    snv_bp: Ints
    snv_base: Bytes
    snv_frequency: npt.NDArray[np.float64]
    indel_bp: Ints
    indel_length: Ints
    indel_frequency: npt.NDArray[np.float64]


# The reference ------------------------------------------------------------------------------------------


def random_contig(rng: np.random.Generator, length_bp: int) -> Bytes:
    """Bases of a contig whose GC content drifts between 32 % and 55 %, as isochores do."""
    stretch_bp = 4000
    gc = np.clip(0.42 + np.cumsum(rng.normal(0, 0.03, length_bp // stretch_bp + 1)), 0.32, 0.55)
    gc = np.repeat(gc, stretch_bp)[:length_bp]
    strong, second = rng.random(length_bp) < gc, rng.random(length_bp) < 0.5
    return np.where(strong, np.where(second, *BASES[[1, 2]]), np.where(second, *BASES[[0, 3]])).astype(
        np.uint8
    )


def random_variants(rng: np.random.Generator, contig: Bytes) -> Variants:
    """An SNV each 800 bp and an indel of 1 to 12 bp each 6 kb, mostly rare."""
    snv_bp = np.sort(rng.choice(contig.size, contig.size // 800, replace=False))
    shift = rng.integers(1, 4, snv_bp.size)
    snv_base = BASES[(np.searchsorted(BASES, contig[snv_bp]) + shift) % 4]
    margin = np.arange(READ_BP, contig.size - READ_BP, 6000)
    indel_bp = margin + rng.integers(0, 5000, margin.size)
    indel_bp = indel_bp[indel_bp < contig.size - READ_BP]
    length = rng.geometric(0.4, indel_bp.size).clip(1, 12) * rng.choice([-1, 1], indel_bp.size)
    return Variants(
        snv_bp, snv_base, rng.beta(0.6, 1.2, snv_bp.size), indel_bp, length, rng.beta(0.6, 1.2, indel_bp.size)
    )


def haplotype(rng: np.random.Generator, contig: Bytes, variants: Variants, gone: slice) -> Haplotype:
    """A copy of a contig with some of the cohort's variants, and without the span ``gone``."""
    bases, origin, keep = contig.copy(), np.arange(contig.size), np.ones(contig.size, dtype=bool)
    has_snv = rng.random(variants.snv_bp.size) < variants.snv_frequency
    bases[variants.snv_bp[has_snv]] = variants.snv_base[has_snv]
    has_indel = rng.random(variants.indel_bp.size) < variants.indel_frequency
    position, length = variants.indel_bp[has_indel], variants.indel_length[has_indel]
    for start, size in zip(position[length < 0], -length[length < 0], strict=True):
        keep[start : start + size] = False
    keep[gone] = False
    inserted = np.repeat(position[length > 0], length[length > 0])
    inserted = inserted[keep[inserted]]
    novel = BASES[(inserted * 7 + np.arange(inserted.size)) % 4]
    keep = np.insert(keep, inserted, True)
    return Haplotype(np.insert(bases, inserted, novel)[keep], np.insert(origin, inserted, -1)[keep])


# Fragments and reads ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reads:
    """Reads of one haplotype, rows 2i and 2i + 1 the left and the right one of fragment i.

    ``bases`` and ``qualities`` are of shape (R, B) in the direction of the reference, ``origin`` gives the
    reference position of every base, or -1. ``flags`` hold what the fragment fixes; the mate's come later.
    """

    bases: Bytes
    qualities: Bytes
    origin: Ints
    flags: Ints
    mapq: Ints


def fragment_starts(rng: np.random.Generator, copy: Haplotype, count: int) -> tuple[Ints, Ints]:
    """Starts and lengths of ``count`` fragments, fewer of them where GC is far from 42 %."""
    starts: Ints = np.empty(0, dtype=np.int64)
    lengths: Ints = np.empty(0, dtype=np.int64)
    gc = np.concatenate([[0], np.cumsum((copy.bases == BASES[1]) | (copy.bases == BASES[2]))])
    while starts.size < count:
        length = rng.normal(INSERT_MEAN_BP, INSERT_SD_BP, 2 * count).round().astype(np.int64)
        length = length.clip(READ_BP, INSERT_MAX_BP)
        start = (rng.random(2 * count) * (copy.bases.size - length)).astype(np.int64)
        share = (gc[start + length] - gc[start]) / length
        kept = rng.random(2 * count) < 1 - 2 * np.abs(share - 0.42)
        starts, lengths = np.append(starts, start[kept]), np.append(lengths, length[kept])
    return starts[:count], lengths[:count]


def machine_qualities(rng: np.random.Generator, cycles_reversed: npt.NDArray[np.bool_]) -> Bytes:
    """Binned qualities (R, B): high, falling along the cycles, and a whole read better or worse."""
    count = cycles_reversed.size
    cycle = np.arange(READ_BP) / READ_BP
    mean = 40 - 9 * cycle**3 - 6 * np.exp(-cycle * 40)
    noise = rng.normal(0, 2.5, (count, READ_BP)) - rng.exponential(1.0, (count, READ_BP)) * (1 + 4 * cycle)
    score = mean - rng.exponential(1.5, (count, 1)) + noise
    edges = (QUALITIES[1:].astype(float) + QUALITIES[:-1]) / 2
    qualities: Bytes = QUALITIES[np.digitize(score, edges)]
    qualities[cycles_reversed] = qualities[cycles_reversed, ::-1]
    return qualities


def draw_reads(rng: np.random.Generator, copy: Haplotype, count: int) -> Reads:
    """Both reads of ``count`` fragments, 4 % of which are flagged duplicates of others."""
    starts, lengths = fragment_starts(rng, copy, count)
    doubled = rng.random(count) < 0.04
    doubled[: count // 2] = False
    model = rng.integers(0, max(count // 2, 1), count)
    starts, lengths = (np.where(doubled, values[model], values) for values in (starts, lengths))
    left_is_first = rng.random(count) < 0.5
    left_is_first = np.where(doubled, left_is_first[model], left_is_first)
    begin = np.stack([starts, starts + lengths - READ_BP], axis=1).ravel()
    index = begin[:, None] + np.arange(READ_BP)
    reverse = np.tile([False, True], count)
    first = np.stack([left_is_first, ~left_is_first], axis=1).ravel()
    flags = PAIRED + np.where(reverse, REVERSE, 0) + np.where(first, FIRST, LAST)
    flags += np.repeat(np.where(doubled, DUPLICATE, 0), 2)
    weak = np.array([0, 3, 13, 27, 40, 48])
    mapq = np.where(rng.random(2 * count) < 0.96, 60, weak[rng.integers(0, weak.size, 2 * count)])
    reads = Reads(copy.bases[index], machine_qualities(rng, reverse), copy.origin[index], flags, mapq)
    add_machine_errors(rng, reads)
    add_clips(rng, reads)
    add_unmapped(rng, reads)
    return reads


def add_machine_errors(rng: np.random.Generator, reads: Reads) -> None:
    """Wrong bases as often as the qualities say, and an N of quality 2 in a few places."""
    chance = 10 ** (reads.qualities / -10.0)
    row, column = np.nonzero(rng.random(reads.bases.shape) < chance)
    was = np.searchsorted(BASES, reads.bases[row, column])
    reads.bases[row, column] = BASES[(was + rng.integers(1, 4, row.size)) % 4]
    lost = rng.random(reads.bases.shape) < 2e-4
    reads.bases[lost] = ord("N")
    reads.qualities[lost] = 2


def add_clips(rng: np.random.Generator, reads: Reads) -> None:
    """Foreign bases at the end of 2 % of the reads: they stay, and align nowhere."""
    for row in np.flatnonzero(rng.random(len(reads.flags)) < 0.02):
        length = int(rng.integers(5, 60))
        end = slice(0, length) if reads.flags[row] & REVERSE else slice(READ_BP - length, READ_BP)
        reads.bases[row, end] = BASES[rng.integers(0, 4, length)]
        reads.origin[row, end] = -1


def add_unmapped(rng: np.random.Generator, reads: Reads) -> None:
    """Foreign reads: 1 % of the fragments lose one read, 0.5 % both."""
    count = len(reads.flags) // 2
    kind = rng.random(count)
    one = 2 * np.flatnonzero(kind < 0.01)
    both = 2 * np.flatnonzero((kind >= 0.01) & (kind < 0.015))
    rows = np.concatenate([one + rng.integers(0, 2, one.size), both, both + 1])
    reads.bases[rows] = BASES[rng.integers(0, 4, (rows.size, READ_BP))]
    reads.origin[rows] = -1
    reads.flags[rows] = (reads.flags[rows] | UNMAPPED) & ~np.int64(REVERSE | DUPLICATE)
    reads.mapq[rows] = 0
    reads.flags[both] &= ~np.int64(DUPLICATE)


# How a read aligns --------------------------------------------------------------------------------------


def aligned_runs(origin: Sequence[int]) -> list[tuple[int, int, int]]:
    """Runs (first base, end base, reference position) of a read that align without a gap.

    Of a read across a large deletion only the longer side stays; a last run too short to anchor goes too.
    """
    runs: list[tuple[int, int, int]] = []
    begin = 0
    for at in range(1, len(origin) + 1):
        if at == len(origin) or origin[at] != origin[at - 1] + 1 or origin[at] < 0:
            if origin[begin] >= 0:
                runs.append((begin, at, origin[begin]))
            begin = at
    sides: list[list[tuple[int, int, int]]] = []
    for run in runs:
        last = sides[-1][-1] if sides else None
        if last and run[2] - last[2] - (last[1] - last[0]) <= LONGEST_GAP_BP:
            sides[-1].append(run)
        else:
            sides.append([run])
    kept = max(sides, key=lambda side: sum(end - start for start, end, _ in side))
    while len(kept) > 1 and kept[0][1] - kept[0][0] < SHORTEST_ANCHOR_BP:
        kept = kept[1:]
    while len(kept) > 1 and kept[-1][1] - kept[-1][0] < SHORTEST_ANCHOR_BP:
        kept = kept[:-1]
    return kept


@dataclass(frozen=True)
class Alignment:
    """Where and how a read aligns: span on the reference, CIGAR, MD, NM and AS."""

    start_bp: int
    end_bp: int
    cigar: str
    md: str
    edits: int
    score: int


def align(runs: Sequence[tuple[int, int, int]], mismatches: Sequence[int], contig: str) -> Alignment:
    """The alignment of a read from its runs; ``mismatches`` are its bases that differ, ascending."""
    cigar = [f"{runs[0][0]}S"] if runs[0][0] else []
    md, matched, edits, gaps = [], 0, 0, 0
    for number, (start, end, position) in enumerate(runs):
        if number:
            _, last_end, last_position = runs[number - 1]
            behind = last_position + last_end - runs[number - 1][0]
            inserted, deleted = start - last_end, position - behind
            cigar += [f"{inserted}I"] if inserted else []
            cigar += [f"{deleted}D"] if deleted else []
            if deleted:
                md.append(f"{matched}^{contig[behind:position]}")
                matched = 0
            edits += inserted + deleted
            gaps += 6 * ((inserted > 0) + (deleted > 0)) + inserted + deleted
        cigar.append(f"{end - start}M")
        at = start
        for wrong in mismatches:
            if start <= wrong < end:
                md.append(f"{matched + wrong - at}{contig[position + wrong - start]}")
                matched, at, edits = 0, wrong + 1, edits + 1
                gaps += 5
        matched += end - at
    if runs[-1][1] < READ_BP:
        cigar.append(f"{READ_BP - runs[-1][1]}S")
    start, end, position = runs[-1]
    bases = sum(run[1] - run[0] for run in runs)
    return Alignment(
        runs[0][2],
        position + end - start,
        "".join(cigar),
        f"{''.join(md)}{matched}",
        edits,
        max(bases - gaps, 0),
    )


def align_all(reads: Reads, contig: Bytes) -> list[Alignment | None]:
    """Alignments of all reads, None where unmapped. Reads that match end to end take the short way."""
    whole = (reads.origin[:, -1] - reads.origin[:, 0] == READ_BP - 1) & (reads.origin.min(axis=1) >= 0)
    wrong = (reads.bases != contig[reads.origin]) & (reads.origin >= 0)
    row, column = np.nonzero(wrong)
    bounds = np.searchsorted(row, np.arange(len(reads.flags) + 1)).tolist()
    columns, first, text = column.tolist(), reads.origin[:, 0].tolist(), contig.tobytes().decode("ascii")
    alignments: list[Alignment | None] = []
    for number, (straight, flag) in enumerate(zip(whole.tolist(), reads.flags.tolist(), strict=True)):
        if flag & UNMAPPED:
            alignments.append(None)
            continue
        runs = [(0, READ_BP, first[number])] if straight else aligned_runs(reads.origin[number].tolist())
        alignments.append(align(runs, columns[bounds[number] : bounds[number + 1]], text))
    return alignments
