"""Questions to a store: manifest and index first, then only the byte ranges that the answer needs."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .bam import BamHeader
from .columns import Array
from .errors import CorruptDataError, InputError
from .filters import Filters
from .format import index, manifest, spec
from .format.directory import crc32
from .format.manifest import Manifest, Range, SectionRanges
from .pipeline import ordered_map
from .regions import MAX_BP, ContigTable, Region, parse_region
from .rowgroups import ChunkReader, StoredChunk, bad_checksum, object_range
from .spans import Spans
from .store import LocalStore, Store
from .store.base import MissingObjectError

if TYPE_CHECKING:
    import pysam

OVERLAP = {"contig", "pos", "flag", "ref_len"}
NO_FILTERS = Filters()
Intervals = Mapping[str, list[tuple[int, int]]]


class StoreReader:
    """A store, open for questions.

    Attributes
    ----------
    manifest
        The parsed manifest; ``manifest_bytes`` as stored.

    Raises
    ------
    InputError
        ``not-a-store``: there is no manifest.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        try:
            self.manifest_bytes = store.get(spec.MANIFEST_KEY)
        except MissingObjectError as err:
            raise _no_store(store.name) from err
        try:
            self.manifest: Manifest = manifest.parse(self.manifest_bytes)
        except (CorruptDataError, InputError) as err:
            raise type(err)(f"{store.name}: {err}", kind=err.kind, hint=err.hint) from err
        self._sections: dict[int, list[StoredChunk]] = {}
        self._lock = threading.Lock()

    # -- what the store says of itself --

    @cached_property
    def _tables(self) -> tuple[ContigTable, list[SectionRanges]]:
        contigs, sections = self.manifest.contigs, self.manifest.sections
        if contigs is None or sections is None:
            if self.manifest.contig_table is None:
                raise CorruptDataError(f"{self.store.name}: no contig table", kind="bad-manifest")
            value = index.parse_contig_table(self._index_range(self.manifest.contig_table))
            contigs, sections = manifest.parse_contig_range(value, self.manifest.n_contigs)
        return ContigTable(tuple(n for n, _ in contigs), tuple(length for _, length in contigs)), sections

    @property
    def contigs(self) -> ContigTable:
        """Names and lengths (bp) of the contigs."""
        return self._tables[0]

    @cached_property
    def header(self) -> BamHeader:
        """The header's text, verbatim, and the contig table."""
        return BamHeader(self._range(self.manifest.header_key, self.manifest.header), self.contigs)

    @cached_property
    def totals(self) -> Array:
        """Totals (contigs + 1, 34) as spec.TOTALS names them, the unplaced reads last."""
        return index.parse_totals(self._index_range(self.manifest.totals), self.manifest.n_contigs)

    def total(self, contig: int, name: str) -> int:
        """One total of a contig (-1: unplaced reads), failed reads included."""
        row = self.totals[contig]
        failed = f"failed_{name}"
        more = int(row[spec.TOTALS.index(failed)]) if failed in spec.TOTALS else 0
        return int(row[spec.TOTALS.index(name)]) + more

    def _index_range(self, where: Range) -> bytes:
        return self._range(self.manifest.index_key, where)

    def _index_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Ranges of the index that lie one behind the other, with one request."""
        if not ranges:
            return []
        key, start, end = self.manifest.index_key, ranges[0].offset, ranges[0].offset
        for where in ranges:
            if where.offset != end:
                raise CorruptDataError(f"{self.store.name}: index ranges out of order", kind="bad-manifest")
            end += where.size_bytes
        data = memoryview(self._read(key, start, end - start))
        return [
            self._checked(key, where, data[where.offset - start :][: where.size_bytes]) for where in ranges
        ]

    def _range(self, key: str, where: Range) -> bytes:
        return self._checked(key, where, memoryview(self._read(key, where.offset, where.size_bytes)))

    def _read(self, key: str, offset: int, size_bytes: int) -> bytes:
        if size_bytes > spec.MAX_INDEX_RANGE_BYTES:
            raise CorruptDataError(f"{self.store.name}/{key}: a range is too large", kind="bad-manifest")
        return object_range(self.store, key, offset, size_bytes)

    def _checked(self, key: str, where: Range, data: memoryview) -> bytes:
        if len(data) != where.size_bytes or crc32(data) != where.crc32:
            raise bad_checksum(self.store, key, where.offset, where.offset + where.size_bytes)
        return bytes(data)

    # -- chunks and row groups --

    def sections(self) -> list[SectionRanges]:
        """Sections that hold records, in file order."""
        return self._tables[1]

    def section_of(self, contig: int) -> int | None:
        """Number of the section that holds a contig; None where it has no records."""
        for number, section in enumerate(self.sections()):
            if section.first_contig <= contig < section.first_contig + section.n_contigs:
                return number
        return None

    def chunks(self, section: int) -> list[StoredChunk]:
        """Chunks of a section, in file order."""
        with self._lock:
            if section not in self._sections:
                self._sections[section] = self._load_section(self.sections()[section])
            return self._sections[section]

    def _load_section(self, section: SectionRanges) -> list[StoredChunk]:
        parts = self._index_ranges([section.chunks, section.directories])
        rows = index.parse_chunks(parts[0])
        out = []
        for row, directory in zip(rows, index.parse_directories(parts[1], rows), strict=True):
            offsets = directory.offsets(int(row["head_bytes"]))
            if int(offsets[-1]) != int(row["bytes"]):
                raise CorruptDataError(f"{self.store.name}: the index contradicts itself", kind="bad-index")
            out.append(StoredChunk(self._key_of(row), row, directory, offsets))
        return out

    @cached_property
    def _folders(self) -> list[str]:
        return index.folder_names(self.contigs.names)

    def _key_of(self, row: Any) -> str:
        contig = int(row["contig"])
        if not -1 <= contig < len(self.contigs):
            raise CorruptDataError(f"{self.store.name}: a chunk of contig {contig}", kind="bad-index")
        return index.chunk_key(index.UNPLACED_FOLDER if contig < 0 else self._folders[contig], row)

    def _chunks_of(self, contig: int) -> list[StoredChunk]:
        """Chunks of the section that holds a contig (-1: the unplaced reads)."""
        section = self.section_of(contig)
        return [] if section is None else self.chunks(section)

    def depth_frames(self, section: SectionRanges, numbers: Sequence[int]) -> list[Array]:
        """Aligned bases in each 100 bp of some frames of a section (uint64), with one request."""
        ranges = [section.depth[number] for number in numbers]
        return [index.parse_depth(data) for data in self._index_ranges(ranges)]

    # -- questions --

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
            out[numbers] += sum(self._count(stored, spans, filters) for stored in self._chunks_of(contig))
        return [int(n) for n in out]

    def _count(self, stored: StoredChunk, spans: Spans, filters: Filters) -> Array:
        """Records of one chunk in each span."""
        out, needs = np.zeros(spans.start.size, np.int64), filters.needs()
        to_read: list[tuple[int, Array]] = []
        for number, extents in stored.groups:
            for extent in extents[extents["contig"] == spans.contig]:
                meets = spans.meet(extent)
                inside = meets & spans.hold(extent) if not needs else np.zeros_like(meets)
                out[inside] += int(extent["records"])
                if (meets & ~inside).any():
                    to_read.append((number, np.flatnonzero(meets & ~inside)))
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
        kept = self._fetch(intervals.items(), filters, join=False)
        return sum(int(np.count_nonzero(keep)) for _, _, keep in kept)

    def _in_file_order(self, intervals: Intervals) -> list[tuple[str, list[tuple[int, int]]]]:
        last = len(self.contigs)  # unplaced reads
        return sorted(intervals.items(), key=lambda item: self.contigs.id_of(item[0]) % (last + 1))

    def _fetch(
        self,
        several: Iterable[tuple[str, list[tuple[int, int]]]],
        filters: Filters,
        join: bool = True,
    ) -> Iterator[tuple[ChunkReader, int, Array]]:
        """Row groups with records of each contig's intervals: which records, and all columns for ``join``."""
        for name, intervals in several:
            contig = self.contigs.id_of(name)
            spans = Spans.of(contig, [Region(name, start, end) for start, end in intervals])
            for stored in self._chunks_of(contig):
                groups = [
                    number
                    for number, extents in stored.groups
                    for extent in extents[extents["contig"] == contig]
                    if spans.meet(extent).any()
                ]
                reader = ChunkReader(self.store, stored)
                reader.fetch(groups, (set(spec.LOCATE) if join else OVERLAP) | filters.needs())
                keeps = {}
                for number in groups:
                    columns = reader.columns(number)
                    mask = filters.mask(columns)
                    keep = spans.mask(columns) if mask is None else spans.mask(columns) & mask
                    if keep.any():
                        keeps[number] = keep
                if join:
                    reader.fetch(list(keeps), None)
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

    def fetch(self, region: Region | str | None = None) -> Iterator[pysam.AlignedSegment]:
        """Records of a region (all records without one) as pysam.AlignedSegment, in file order."""
        from .sam import fetch_segments

        regions = None if region is None else [self.region(region)]
        return fetch_segments(self.records(regions), self.header)


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


def _no_store(name: str) -> InputError:
    if Path(name).is_file():
        reason, hint = "is a file, not a store", f"make one of it: bams3 convert {name} OUT.bams3"
    elif Path(name).is_dir():
        reason = f"is not a store: it has no {spec.MANIFEST_KEY}"
        hint = "make one with: bams3 convert IN.bam OUT.bams3 (a conversion that was killed goes on)"
    else:
        reason, hint = "is not there", "give the folder that bams3 convert made"
    return InputError(f"{name} {reason}", kind="not-a-store", hint=hint)


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
