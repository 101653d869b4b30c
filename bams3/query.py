"""Questions to a store: manifest and index first, then only the byte ranges that the answer needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .columns import Array
from .coverage import Rules
from .errors import InputError
from .filters import Filters
from .format import spec
from .pipeline import ordered_map
from .reader import StoreIndex
from .regions import MAX_BP, Region, parse_region
from .rowgroups import ChunkReader, StoredChunk
from .spans import Spans
from .stats import Stats
from .store import LocalStore, Store

if TYPE_CHECKING:
    import pyarrow
    import pysam

OVERLAP = {"contig", "pos", "flag", "ref_len"}
NO_FILTERS = Filters()
Intervals = Mapping[str, list[tuple[int, int]]]


class StoreReader(StoreIndex):
    """A store, open for questions."""

    def region(self, region: Region | str) -> Region:
        """A region of this store, parsed if it is text (1-based, inclusive)."""
        return parse_region(region, self.contigs) if isinstance(region, str) else region

    def count(self, region: Region | str | None = None, filters: Filters = NO_FILTERS) -> int:
        """Records that overlap a region (all records without one) and pass the filters."""
        if region is not None:
            return self.counts([self.region(region)], filters)[0]
        if not filters.needs():
            return self.manifest.records
        tasks = self._fetch_all(filters, filters.needs())
        return sum(int(np.count_nonzero(keep)) for _, _, keep in tasks if keep is not None)

    def counts(self, regions: Sequence[Region], filters: Filters = NO_FILTERS) -> list[int]:
        """Records of each region.

        Notes
        -----
        Without filters a row group is read only where it lies across a region's bound, and a whole
        contig is answered from the totals. A row group is decoded once for all regions.
        """
        out = np.zeros(len(regions), np.int64)
        todo: dict[int, list[int]] = {}
        for i, region in enumerate(regions):
            contig = self.contigs.id_of(region.contig)
            whole = contig < 0 or (region.start_bp == 0 and region.end_bp >= MAX_BP)
            if whole and not filters.needs():
                before = self.total(contig, "before_start") if contig >= 0 else 0
                out[i] = self.total(contig, "records") - before
            else:
                todo.setdefault(contig, []).append(i)
        for contig, numbers in todo.items():
            spans = Spans.of(contig, [regions[i] for i in numbers])
            out[numbers] += sum(self._count(stored, spans, filters) for stored in self.chunks_of(contig))
        return [int(n) for n in out]

    def _count(self, stored: StoredChunk, spans: Spans, filters: Filters) -> Array:
        """Records of one chunk in each span."""
        needs = filters.needs()
        out, to_read = crossed(stored, spans, bool(needs))
        reader = ChunkReader(self.store, stored)
        reader.fetch([number for number, _ in to_read], OVERLAP | needs)
        for number, wanted in to_read:
            columns = reader.columns(number)
            out[wanted] += spans.take(wanted).counts(columns, filters.mask(columns))
        return out

    def records(
        self, regions: Iterable[Region] | None = None, filters: Filters = NO_FILTERS, workers: int = 1
    ) -> Iterator[bytes]:
        """BAM records (block_size first) of regions, one after the other, in file order in each.

        A record that overlaps two regions comes twice, as samtools view gives it. Without regions:
        all records. Runs of whole records, a run a row group.
        """
        if regions is None:
            return _joined(self._fetch_all(filters), workers)
        several = ((region.contig, [(region.start_bp, region.end_bp)]) for region in regions)
        return _joined(self._fetch(several, filters), workers)

    def records_once(
        self, intervals: Intervals, filters: Filters = NO_FILTERS, workers: int = 1
    ) -> Iterator[bytes]:
        """BAM records that overlap any interval, each once, in file order.

        ``intervals`` are those of regions.merge_intervals: sorted and apart, by contig.
        """
        return _joined(self._fetch(self._in_file_order(intervals), filters), workers)

    def count_once(self, intervals: Intervals, filters: Filters = NO_FILTERS) -> int:
        """How many records ``records_once`` gives."""
        kept = self._fetch(intervals.items(), filters, set())
        return sum(int(np.count_nonzero(keep)) for _, _, keep in kept)

    def groups(
        self, regions: Iterable[Region] | Intervals | None, filters: Filters, columns: set[str]
    ) -> Iterator[tuple[ChunkReader, int, Array | None]]:
        """Row groups with records of each region (None: all), with these columns, and which records pass.

        Of intervals, those of regions.merge_intervals, each record comes once.
        """
        if regions is None:
            return self._fetch_all(filters, columns | filters.needs())
        if isinstance(regions, Mapping):
            return self._fetch(self._in_file_order(regions), filters, columns)
        several = ((region.contig, [(region.start_bp, region.end_bp)]) for region in regions)
        return self._fetch(several, filters, columns)

    def _in_file_order(self, intervals: Intervals) -> list[tuple[str, list[tuple[int, int]]]]:
        last = len(self.contigs)  # unplaced reads
        return sorted(intervals.items(), key=lambda item: self.contigs.id_of(item[0]) % (last + 1))

    def _fetch(
        self,
        several: Iterable[tuple[str, list[tuple[int, int]]]],
        filters: Filters,
        columns: set[str] | None = None,
    ) -> Iterator[tuple[ChunkReader, int, Array]]:
        """Row groups of each contig's intervals, with these columns (None: all), and their records there."""
        located = set(spec.LOCATE) & (spec.COLUMN.keys() if columns is None else columns)
        for name, intervals in several:
            contig = self.contigs.id_of(name)
            spans = Spans.of(contig, [Region(name, start, end) for start, end in intervals])
            for stored in self.chunks_of(contig):
                groups = met(stored, spans)
                reader = ChunkReader(self.store, stored)
                reader.fetch(groups, OVERLAP | located | filters.needs())
                keeps = {}
                for number in groups:
                    plain = reader.columns(number)
                    mask = filters.mask(plain)
                    keep = spans.mask(plain) if mask is None else spans.mask(plain) & mask
                    if keep.any():
                        keeps[number] = keep
                reader.fetch(list(keeps), columns)
                yield from ((reader, number, keep) for number, keep in keeps.items())

    def _fetch_all(
        self, filters: Filters, columns: set[str] | None = None
    ) -> Iterator[tuple[ChunkReader, int, Array | None]]:
        """Every row group with these columns (None: all), and which of its records pass (None: all)."""
        for section in range(len(self.sections())):
            for stored in self.chunks(section):
                reader = ChunkReader(self.store, stored)
                reader.fetch([number for number, _ in stored.groups], columns)
                for number, _ in stored.groups:
                    keep = filters.mask(reader.columns(number)) if filters.needs() else None
                    yield reader, number, keep

    def columns(
        self, region: Region | str | None = None, names: Sequence[str] = (), filters: Filters = NO_FILTERS
    ) -> dict[str, Array]:
        """Fields of the records of a region (all records without one) as NumPy arrays.

        Parameters
        ----------
        names
            Those of fields.FIELDS (name, flag, contig, pos, end, mapq, cigar, ...), and ``tag:NM`` for a tag.

        Returns
        -------
        Arrays with an entry for each record, in file order: numbers (masked where some records have none),
        or objects: text, arrays, None. Positions are 0-based, as pysam's.

        Raises
        ------
        InputError
            ``unknown-column``, ``mixed-tag``; those of a region.
        """
        from .selection import Selection, select, to_numpy

        selection = Selection(self, names)
        return to_numpy(select(selection, self._of(region, filters, selection.needs)))

    def to_arrow(
        self, region: Region | str | None = None, names: Sequence[str] = (), filters: Filters = NO_FILTERS
    ) -> pyarrow.Table:
        """The same as a pyarrow.Table, of the same memory where that can be; without a value: null."""
        from .selection import Selection, select, to_arrow

        selection = Selection(self, names)
        return to_arrow(select(selection, self._of(region, filters, selection.needs)))

    def _of(
        self, region: Region | str | None, filters: Filters, columns: set[str]
    ) -> Iterator[tuple[ChunkReader, int, Array | None]]:
        return self.groups(None if region is None else [self.region(region)], filters, columns)

    def depth(self, region: Region | str, rules: Rules | None = None, workers: int = 1) -> Array:
        """Depth of every base of a region, up to its contig's end: uint32, by default as samtools depth.

        Reads positions and CIGARs of the row groups that the region meets.
        """
        from .depth import region_depth

        return region_depth(self, self.region(region), rules or Rules(), workers)

    def stats(self) -> Stats:
        """Reads by contig and by flag: samtools idxstats and flagstat, from the index alone."""
        return Stats.of(self.contigs, self.totals)

    def fetch(self, region: Region | str | None = None) -> Iterator[pysam.AlignedSegment]:
        """Records of a region (all records without one) as pysam.AlignedSegment, in file order."""
        from .sam import fetch_segments

        regions = None if region is None else [self.region(region)]
        return fetch_segments(self.records(regions), self.header)


def met(stored: StoredChunk, spans: Spans) -> list[int]:
    """Row groups of a chunk that may hold records of any span."""
    return [
        number
        for number, extents in stored.groups
        for extent in extents[extents["contig"] == spans.contig]
        if spans.meet(extent).any()
    ]


def crossed(stored: StoredChunk, spans: Spans, filtered: bool) -> tuple[Array, list[tuple[int, Array]]]:
    """Records that each span is known to hold, and the row groups to read for the rest: for which spans.

    Where records are ``filtered`` nothing is known beforehand.
    """
    out = np.zeros(spans.start.size, np.int64)
    to_read: list[tuple[int, Array]] = []
    for number, extents in stored.groups:
        for extent in extents[extents["contig"] == spans.contig]:
            meets = spans.meet(extent)
            inside = np.zeros_like(meets) if filtered else meets & spans.hold(extent)
            out[inside] += int(extent["records"])
            if (meets & ~inside).any():
                to_read.append((number, np.flatnonzero(meets & ~inside)))
    return out, to_read


def _joined(tasks: Iterable[tuple[ChunkReader, int, Array | None]], workers: int) -> Iterator[bytes]:
    """Joined records of row groups, in order, several at a time."""

    def join(task: tuple[ChunkReader, int, Array | None]) -> bytes:
        reader, number, keep = task
        return reader.join(number, keep)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="bams3")
    try:
        yield from filter(None, ordered_map(pool, join, tasks, workers + 1))
    finally:
        # Not waited for: who drops this iterator half-way may do so from a thread of the pool.
        pool.shutdown(wait=False, cancel_futures=True)


def open_store(path: str) -> StoreReader:
    """A store by its path.

    Raises
    ------
    InputError
        ``not-a-store``; ``no-s3`` for an address that this version does not read.
    """
    return StoreReader(store_at(path))


def store_at(path: str) -> Store:
    """The bytes behind a path, whether or not there is a store."""
    if "://" in path:
        raise InputError(
            f"{path}: this version reads and writes local stores only", kind="no-s3", hint="give a path"
        )
    return LocalStore(Path(path))
