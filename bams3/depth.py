"""Depth from a store: from the sums in the index where they answer, from positions and CIGARs elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import NamedTuple

import numpy as np

from . import coverage, kernels
from .columns import Array, Columns
from .coverage import Merger, Piece, Rules, SpanDepths, add_columns, axis_of, begin_changes, by_contig
from .format import spec
from .kernels import Axis, Changes, SpanSums
from .pipeline import ordered_map
from .reader import StoreIndex
from .regions import Region
from .rowgroups import ChunkReader
from .spans import record_bounds

#: Spans of contigs (by number) that a question is about: starts and ends (int64), sorted and apart.
Wanted = Mapping[int, tuple[Array, Array]]


#: Regions whose sums are read from the index at once; those of chr1 take 20 MB.
_FRAMES_AT_ONCE = 4

#: Contig number, start and end of a region.
Bounds = tuple[int, int, int]


class ContigPiece(NamedTuple):
    """Changes of depth on one contig."""

    contig: int
    piece: Piece


class _Task(NamedTuple):
    axis: Axis
    section: int
    chunk: ChunkReader
    groups: list[int]
    extents: Array


def depth_pieces(
    reader: StoreIndex,
    rules: Rules,
    wanted: Wanted | None = None,
    workers: int = 1,
    tally: Tally | None = None,
) -> Iterator[ContigPiece]:
    """Changes of depth of all contigs, or of the wanted spans, in file order.

    Only row groups that meet a wanted span are read: outside of those depth is not complete.
    A ``tally`` counts the reads of every row group that is read.
    """
    needs = rules.needs() | (tally.needs() if tally else set())

    def work(task: _Task) -> tuple[_Task, Changes, Array | None]:
        task.chunk.fetch(task.groups, needs)
        changes, counts = begin_changes(task.axis, task.extents), None
        for group in task.groups:
            columns = task.chunk.columns(group)
            keep = rules.mask(columns)
            changes = add_columns(columns, keep, task.axis, rules, changes)
            if tally:
                more = tally.counts(columns, keep, task.axis)
                counts = more if counts is None else counts + more
        return task, changes, counts

    tasks = reader.ahead(
        _tasks(reader, wanted),
        lambda task: task.chunk.fetch(task.groups, needs),
        lambda task: task.chunk.size_bytes(task.groups, needs),
    )
    with ThreadPoolExecutor(workers, thread_name_prefix="bams3") as pool:
        merger, before = None, None
        for task, changes, counts in ordered_map(pool, work, tasks, workers + 1):
            if tally and counts is not None:
                tally.add(counts, task.axis)
            if before is None or task.section != before.section:
                yield from _by_contig(before, merger.finish() if merger else iter(()))
                merger, before = Merger(task.axis), task
            assert merger is not None
            yield from _by_contig(task, merger.add(changes))
        yield from _by_contig(before, merger.finish() if merger else iter(()))


def _by_contig(task: _Task | None, pieces: Iterator[Piece]) -> Iterator[ContigPiece]:
    if task is not None:
        for piece in pieces:
            yield from (ContigPiece(*part) for part in by_contig(task.axis, piece))


def _tasks(reader: StoreIndex, wanted: Wanted | None) -> Iterator[_Task]:
    """Chunks with the row groups that meet a wanted span."""
    lengths = np.array(reader.contigs.lengths, np.uint64)
    if wanted is None:
        chunks = reader.all_chunks()
    else:
        reader.load(wanted)
        numbers = sorted({n for contig in wanted if (n := reader.section_of(contig)) is not None})
        chunks = ((number, chunk) for number in numbers for chunk in reader.chunks(number))
    for number, chunk in chunks:
        section = reader.sections()[number]
        first, n = section.first_contig, section.n_contigs
        if first < 0:
            continue
        axis = axis_of(first, lengths[first : first + n])
        groups = [(g, extents) for g, extents in chunk.groups if wanted is None or _meets(extents, wanted)]
        if groups:
            extents = np.concatenate([rows for _, rows in groups])
            reading = ChunkReader(reader.objects, chunk)
            yield _Task(axis, number, reading, [g for g, _ in groups], extents)


def _meets(extents: Array, wanted: Wanted) -> bool:
    for extent in extents:
        start, end = wanted.get(int(extent["contig"]), (None, None))
        if start is not None and end is not None:
            first = int(np.searchsorted(end, extent["start"], "right"))
            if first < start.size and start[first] < extent["end"]:
                return True
    return False


class Tally:
    """Reads and qualities of one span of each contig: what samtools coverage says beside depth.

    Attributes
    ----------
    sums
        (4, C) uint64 for C contigs: reads that overlap the span, the sum of their mapping qualities,
        the sum of the qualities of the span's aligned bases, and how many those are.
    """

    def __init__(self, low: Array, high: Array, min_bq: int = 0) -> None:
        self._low, self._high, self._min_bq = low, high, min_bq  # (C,) int64
        self.sums = np.zeros((4, low.size), np.uint64)

    def needs(self) -> set[str]:
        """Columns that ``counts`` reads."""
        return {"contig", "pos", "flag", "ref_len", "mapq", "cigar", "seq_len", "quals"}

    def counts(self, c: Columns, keep: Array | None, axis: Axis) -> Array:
        """What one row group adds to the contigs of an axis: (4, contigs) uint64."""
        assert c.contig is not None
        assert c.mapq is not None
        sums = np.zeros((4, axis.base.size), np.uint64)
        here = slice(axis.first_contig, axis.first_contig + axis.base.size)
        low, high = self._low[here], self._high[here]
        pos, end = record_bounds(c)
        k = c.contig.astype(np.int64) - axis.first_contig
        among = (pos < high[k]) & (end > low[k])
        if keep is not None:
            among &= keep.view(bool)
        sums[0] = np.bincount(k[among], minlength=sums.shape[1])
        np.add.at(sums[1], k[among], c.mapq[among])
        kernels.add_quality(c, keep, axis.first_contig, low, high, self._min_bq, sums[2:])
        return sums

    def add(self, counts: Array, axis: Axis) -> None:
        """Add what ``counts`` gave."""
        self.sums[:, axis.first_contig : axis.first_contig + axis.base.size] += counts


def span_depths(
    reader: StoreIndex,
    rules: Rules,
    wanted: Wanted,
    spans_of: Callable[[int], tuple[Array, Array]],
    thresholds: tuple[int, ...] = (),
    workers: int = 1,
    tally: Tally | None = None,
) -> Iterator[tuple[int, Array, Array, SpanSums]]:
    """(contig, starts, ends, sums) of the spans (int64, in any order) of every wanted contig, in file order.

    ``spans_of`` tells the spans of a contig, which lie in those that are wanted of it.
    """
    found = _grouped(depth_pieces(reader, rules, wanted, workers, tally))
    for contig in sorted(wanted):
        start, end = spans_of(contig)
        spans = SpanDepths(start, end, thresholds)
        for piece in found(contig):
            spans.add(piece)
        yield contig, start, end, spans.sums()
    for _ in found(len(reader.contigs)):  # to the end: a tally counts every row group
        pass


def depths_of(
    reader: StoreIndex,
    rules: Rules,
    regions: Sequence[Region],
    thresholds: tuple[int, ...] = (),
    workers: int = 1,
) -> tuple[SpanSums, Array, Array]:
    """Sums of regions in any order, which may overlap, and where each starts and ends on its contig."""
    contigs = np.array([reader.contigs.id_of(region.contig) for region in regions], np.int64)
    lengths = np.array(reader.contigs.lengths, np.int64)[contigs]
    start = np.minimum(np.array([region.start_bp for region in regions], np.int64), lengths)
    end = np.minimum(np.array([region.end_bp for region in regions], np.int64), lengths)
    of = {int(k): np.flatnonzero(contigs == k) for k in np.unique(contigs)}
    wanted = {k: merge_spans(start[mine], end[mine]) for k, mine in of.items()}
    out = SpanSums.zeros(len(regions), len(thresholds))
    found = span_depths(reader, rules, wanted, lambda k: (start[of[k]], end[of[k]]), thresholds, workers)
    for contig, _, _, sums in found:
        for column, mine in zip(out, sums, strict=True):
            column[of[contig]] = mine
    return out, start, end


def region_runs(
    reader: StoreIndex, rules: Rules, bounds: Sequence[Bounds], workers: int = 1
) -> Iterator[tuple[int, tuple[Array, Array, Array]]]:
    """(contig, (starts, ends, depths)) of the runs of equal depth that tile each region, in their order.

    Regions on contigs that follow one another in the store, as all its contigs do, are read in one pass.
    """
    for batch in ascending(bounds):
        found = _grouped(depth_pieces(reader, rules, wanted_of(batch), workers))
        for contig, low, high in batch:
            clipped = (piece.clip(low, high) for piece in found(contig))
            for runs in coverage.runs((piece for piece in clipped if piece.dense.size), low, high):
                yield contig, runs


def ascending(bounds: Sequence[Bounds]) -> Iterator[list[Bounds]]:
    """Runs of regions whose contigs follow one another in the store."""
    batch: list[Bounds] = []
    for bound in bounds:
        if batch and bound[0] <= batch[-1][0]:
            yield batch
            batch = []
        batch.append(bound)
    if batch:
        yield batch


def wanted_of(bounds: Iterable[Bounds]) -> Wanted:
    """Regions, at most one a contig, as wanted spans."""
    return {k: (np.array([low], np.int64), np.array([high], np.int64)) for k, low, high in bounds}


def _grouped(pieces: Iterator[ContigPiece]) -> Callable[[int], Iterator[Piece]]:
    """A function that gives the pieces of a contig; contigs are asked for in ascending order."""
    found = groupby(pieces, key=lambda part: part.contig)
    at = -1
    here: Iterator[ContigPiece] = iter(())

    def of(contig: int) -> Iterator[Piece]:
        nonlocal at, here
        while at < contig:
            at, here = next(found, (1 << 62, iter(())))
        return (part.piece for part in here) if at == contig else iter(())

    return of


def merge_spans(start: Array, end: Array) -> tuple[Array, Array]:
    """Sorted spans that are apart and cover the same bases; empty ones go."""
    order = np.argsort(start, kind="stable")
    start, last = start[order], np.maximum.accumulate(end[order])
    full = end[order] > start
    start, last = start[full], last[full]
    first = np.append(True, start[1:] > last[:-1]) if start.size else np.zeros(0, bool)
    return start[first], last[np.append(first[1:], True)] if start.size else last


def region_depth(reader: StoreIndex, region: Region, rules: Rules, workers: int = 1) -> Array:
    """Depth of every base of a region (its contig's end at most), uint32."""
    contig = reader.contigs.id_of(region.contig)
    low, high = region.start_bp, min(region.end_bp, reader.contigs.lengths[contig])
    out = np.zeros(max(high - low, 0), np.uint32)
    wanted = {contig: (np.array([low], np.int64), np.array([high], np.int64))}
    for number, whole in depth_pieces(reader, rules, wanted, workers):
        piece = whole.clip(low, high)
        if number == contig and piece.dense.size:
            out[piece.start - low : piece.start - low + piece.dense.size] = piece.depth()
    return out


def indexed_sums(reader: StoreIndex, bounds: Sequence[Bounds]) -> Iterator[Array]:
    """Aligned bases in each 100 bp that a region meets (uint64), from the index alone; of each region.

    Frames that lie together are read with one request, those of several regions at once.
    """
    n = min(reader.store.parallel, _FRAMES_AT_ONCE)
    with ThreadPoolExecutor(n, thread_name_prefix="bams3") as pool:
        yield from ordered_map(pool, lambda bound: _indexed_sums(reader, bound), bounds, n)


def _indexed_sums(reader: StoreIndex, bound: Bounds) -> Array:
    contig, low_bp, high_bp = bound
    first, end = low_bp // spec.WINDOW_BP, -(-high_bp // spec.WINDOW_BP)
    out = np.zeros(max(end - first, 0), np.uint64)
    place = reader.section_of(contig)
    if place is None:
        return out
    section = reader.sections()[place]
    lengths = reader.contigs.lengths[section.first_contig : contig]
    first += sum(-(-length // spec.WINDOW_BP) for length in lengths)  # in the section
    size = spec.FRAME_WINDOWS
    wanted = [f for f in sorted(section.depth) if f * size < first + out.size and (f + 1) * size > first]
    for number, sums in zip(wanted, reader.depth_frames(section, wanted), strict=True):
        at = number * size - first
        low, high = max(at, 0), min(at + sums.size, out.size)
        out[low:high] = sums[low - at : high - at]
    return out
