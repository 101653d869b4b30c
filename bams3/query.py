"""Questions to a store: manifest and index first, then only the byte ranges that the answer needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .columns import Array
from .coverage import Rules
from .filters import Filters
from .format import spec
from .pipeline import ordered_map
from .reader import StoreIndex
from .regions import MAX_BP, UNPLACED, Region, parse_region
from .rowgroups import ChunkReader, StoredChunk
from .spans import Spans
from .stats import Stats
from .store import AS_CONFIGURED, S3Options, store_at

if TYPE_CHECKING:
    import pyarrow
    import pysam
OVERLAP = {"contig", "pos", "flag", "ref_len"}
NO_FILTERS = Filters()
Intervals = Mapping[str, list[tuple[int, int]]]


class Crossing(NamedTuple):
    """A chunk, the regions on its contig by number, how many records each holds for sure, and what to read.

    ``to_read`` are row groups, each with the regions (places in ``numbers``) whose bounds it lies across.
    """

    numbers: list[int]
    spans: Spans
    reader: ChunkReader
    held: Array
    to_read: list[tuple[int, Array]]

    @property
    def groups(self) -> list[int]:
        """Row groups that are read."""
        return [group for group, _ in self.to_read]


class Meeting(NamedTuple):
    """A chunk, the row groups of it that spans meet, and the columns that are read first (None: all)."""

    reader: ChunkReader
    spans: Spans
    groups: list[int]
    first: set[str] | None


class StoreReader(StoreIndex):
    """A store, open for questions.

    Attributes
    ----------
    keeps_chunk
        Whether the last chunk of ``records`` stays in memory, decoded: for many small regions side by side.
    """

    keeps_chunk = False
    _spare: ChunkReader | None = None
    _last: ChunkReader | None = None

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
        for i, region in enumerate(regions):
            if self.answers_whole(region, filters):
                contig = self.contigs.id_of(region.contig)
                before = self.total(contig, "before_start") if contig >= 0 else 0
                out[i] = self.total(contig, "records") - before
        needs = OVERLAP | filters.needs()

        def to_read() -> Iterator[Crossing]:
            for task in self.crossings(regions, filters):
                out[task.numbers] += task.held
                if task.to_read:
                    yield task

        for task in self.ahead(
            to_read(),
            lambda task: task.reader.fetch(task.groups, needs),
            lambda task: task.reader.size_bytes(task.groups, needs),
        ):
            task.reader.fetch(task.groups, needs)
            for group, crossing in task.to_read:
                columns = task.reader.columns(group)
                found = task.spans.take(crossing).counts(columns, filters.mask(columns))
                out[np.array(task.numbers)[crossing]] += found
        return [int(n) for n in out]

    def answers_whole(self, region: Region, filters: Filters) -> bool:
        """Whether the totals answer how many records there are: of a contig, or of the unplaced reads."""
        is_whole = region.contig == UNPLACED or (region.start_bp == 0 and region.end_bp >= MAX_BP)
        return is_whole and not filters.needs()

    def crossings(self, regions: Sequence[Region], filters: Filters) -> Iterator[Crossing]:
        """Chunks that the counts of regions need, but for whole contigs that the totals answer."""
        filtered = bool(filters.needs())
        todo: dict[int, list[int]] = {}
        for i, region in enumerate(regions):
            if not self.answers_whole(region, filters):
                todo.setdefault(self.contigs.id_of(region.contig), []).append(i)
        self.load(todo)
        for contig, numbers in todo.items():
            spans = Spans.of(contig, [regions[i] for i in numbers])
            for stored in self.chunks_of(contig):
                known, to_read = crossed(stored, spans, filtered)
                yield Crossing(numbers, spans, ChunkReader(self.objects, stored), known, to_read)

    def records(
        self, regions: Iterable[Region] | None = None, filters: Filters = NO_FILTERS, workers: int = 1
    ) -> Iterator[bytes]:
        """BAM records (block_size first) of regions, one after the other, in file order in each.

        A record that overlaps two regions comes twice, as samtools view gives it. Without regions:
        all records. Runs of whole records, a run a row group.
        """
        self._last = None
        yield from _joined(
            self._fetch_all(filters) if regions is None else self._fetch(regions, filters), workers
        )
        self._spare = self._last if self.keeps_chunk else None  # here no thread is at it any more

    def records_once(
        self, intervals: Intervals, filters: Filters = NO_FILTERS, workers: int = 1
    ) -> Iterator[bytes]:
        """BAM records that overlap any interval, each once, in file order.

        ``intervals`` are those of regions.merge_intervals: sorted and apart, by contig.
        """
        return _joined(self._fetch(intervals, filters), workers)

    def count_once(self, intervals: Intervals, filters: Filters = NO_FILTERS) -> int:
        """How many records ``records_once`` gives."""
        kept = self._fetch(intervals, filters, set())
        return sum(int(np.count_nonzero(keep)) for _, _, keep in kept)

    def groups(
        self, regions: Iterable[Region] | Intervals | None, filters: Filters, columns: set[str]
    ) -> Iterator[tuple[ChunkReader, int, Array | None]]:
        """Row groups with records of each region (None: all), with these columns, and which records pass.

        Of intervals, those of regions.merge_intervals, each record comes once.
        """
        if regions is None:
            return self._fetch_all(filters, columns | filters.needs())
        return self._fetch(regions, filters, columns)

    def _fetch(
        self,
        regions: Iterable[Region] | Intervals,
        filters: Filters,
        columns: set[str] | None = None,
    ) -> Iterator[tuple[ChunkReader, int, Array]]:
        """Row groups that regions meet, with these columns (None: all), and their records there."""
        for reader, keeps in self.ahead(
            self._kept(self.meetings(regions, filters, columns), filters),
            lambda found: found[0].fetch(list(found[1]), columns),
            lambda found: found[0].size_bytes(list(found[1]), columns),
        ):
            reader.fetch(list(keeps), columns)
            yield from ((reader, number, keep) for number, keep in keeps.items())

    def _kept(
        self, meetings: Iterator[Meeting], filters: Filters
    ) -> Iterator[tuple[ChunkReader, dict[int, Array]]]:
        """Chunks that have wanted records, and which, by row group."""
        for task in self.ahead(
            meetings,
            lambda task: task.reader.fetch(task.groups, task.first),
            lambda task: task.reader.size_bytes(task.groups, task.first),
        ):
            task.reader.fetch(task.groups, task.first)
            keeps = {}
            for number in task.groups:
                plain = task.reader.columns(number)
                mask = filters.mask(plain)
                keep = task.spans.mask(plain) if mask is None else task.spans.mask(plain) & mask
                if keep.any():
                    keeps[number] = keep
            if keeps:
                yield task.reader, keeps

    def meetings(
        self, regions: Iterable[Region] | Intervals, filters: Filters, columns: set[str] | None
    ) -> Iterator[Meeting]:
        """Chunks that each region meets; of intervals, those that all of a contig meet, in file order.

        All columns are read at once where every row group is known to hold wanted records; else first those
        that tell which records are.
        """
        needs = filters.needs()
        locate = OVERLAP | needs | (set(spec.LOCATE) & (spec.COLUMN.keys() if columns is None else columns))
        several = list(self._spans_of(regions))
        self.load(spans.contig for spans in several)
        spare, self._spare = self._spare, None
        for spans in several:
            for stored in self.chunks_of(spans.contig):
                groups = met(stored, spans)
                at_once = not needs and all(_is_held(stored, spans, group) for group in groups)
                first = locate if not at_once else None if columns is None else columns | locate
                if groups:
                    again = spare is not None and spare.stored is stored
                    self._last = spare if spare and again else ChunkReader(self.objects, stored)
                    spare = None
                    yield Meeting(self._last, spans, groups, first)

    def _spans_of(self, regions: Iterable[Region] | Intervals) -> Iterator[Spans]:
        if not isinstance(regions, Mapping):
            yield from (Spans.of(self.contigs.id_of(region.contig), [region]) for region in regions)
            return
        last = len(self.contigs) + 1  # unplaced reads
        for name in sorted(regions, key=lambda name: self.contigs.id_of(name) % last):
            mine = [Region(name, start, end) for start, end in regions[name]]
            yield Spans.of(self.contigs.id_of(name), mine)

    def _fetch_all(
        self, filters: Filters, columns: set[str] | None = None
    ) -> Iterator[tuple[ChunkReader, int, Array | None]]:
        """Every row group with these columns (None: all), and which of its records pass (None: all)."""
        readers = (ChunkReader(self.objects, stored) for _, stored in self.all_chunks())
        for reader in self.ahead(
            readers,
            lambda reader: reader.fetch(reader.groups, columns),
            lambda reader: reader.size_bytes(reader.groups, columns),
        ):
            reader.fetch(reader.groups, columns)
            for number in reader.groups:
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


def _is_held(stored: StoredChunk, spans: Spans, group: int) -> bool:
    """Whether a row group lies wholly in one of the spans."""
    extents = stored.groups[group][1]
    mine = len(extents) == 1 and int(extents[0]["contig"]) == spans.contig
    return mine and bool(spans.hold(extents[0]).any())


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


def open_store(address: str, s3: S3Options = AS_CONFIGURED) -> StoreReader:
    """A store by its path or S3 address.

    Raises
    ------
    InputError
        ``not-a-store``; those of store_at.
    """
    return StoreReader(store_at(address, s3))
