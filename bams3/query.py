"""Questions to a store: manifest and index first, then only the byte ranges that the answer needs."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import kernels
from .bam import BamHeader
from .columns import Array
from .errors import CorruptDataError, InputError
from .filters import Filters
from .format import chunk, index, manifest, spec
from .format.manifest import Manifest, Range, SectionRanges
from .pipeline import ordered_map
from .regions import MAX_BP, ContigTable, Region, parse_region
from .rowgroups import GroupReader, StoredChunk, bad_checksum, object_range
from .store import LocalStore, Store
from .store.base import MissingObjectError

if TYPE_CHECKING:
    import pysam

_OVERLAP = {"contig", "pos", "flag", "ref_len"}
NO_FILTERS = Filters()
Span = tuple[int, int, int]
"""Contig number, start and end in bp, 0-based half-open."""


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
            raise InputError(
                f"{store.name} is not a store: it has no {spec.MANIFEST_KEY}",
                kind="not-a-store",
                hint="make one with: bams3 convert IN.bam OUT.bams3 (a conversion that was killed goes on)",
            ) from err
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
            contigs = [(name, length) for name, length in value["contigs"]]
            sections = [SectionRanges.of(section) for section in value["sections"]]
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

    def _range(self, key: str, where: Range) -> bytes:
        if where.size_bytes > spec.MAX_INDEX_RANGE_BYTES:
            raise CorruptDataError(f"{self.store.name}/{key}: a range is too large", kind="bad-manifest")
        data = object_range(self.store, key, where.offset, where.size_bytes)
        if len(data) != where.size_bytes or chunk.crc32(data) != where.crc32:
            raise bad_checksum(self.store, key, where.offset, where.offset + where.size_bytes)
        return data

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
        first, second = section.chunks, section.directories
        if second.offset != first.offset + first.size_bytes:
            raise CorruptDataError(f"{self.store.name}: index ranges out of order", kind="bad-manifest")
        key, size = self.manifest.index_key, first.size_bytes + second.size_bytes
        data = object_range(self.store, key, first.offset, size)
        parts = data[: first.size_bytes], data[first.size_bytes :]
        for where, part in zip((first, second), parts, strict=True):
            if len(part) != where.size_bytes or chunk.crc32(part) != where.crc32:
                raise bad_checksum(self.store, key, where.offset, where.offset + where.size_bytes)
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

    def _groups(self, section: int | None) -> Iterator[GroupReader]:
        for stored in self.chunks(section) if section is not None else ():
            for number, extents in stored.groups:
                yield GroupReader(self.store, stored, number, extents)

    def depth_frame(self, section: SectionRanges, number: int) -> Array:
        """Aligned bases in each 100 bp of one frame of a section (uint64)."""
        return index.parse_depth(self._index_range(section.depth[number]))

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
        tasks = self._tasks(None)
        return sum(int(self._mask(group, spans, filters).sum()) for group, spans in tasks)

    def counts(self, regions: Sequence[Region], filters: Filters = NO_FILTERS) -> list[int]:
        """Records of each region; a row group is decoded once for all of them.

        Notes
        -----
        Without filters a row group is read only where it lies across a region's bound, and a whole
        contig is answered from the totals.
        """
        out = [0] * len(regions)
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
            for group in self._groups(self.section_of(contig)):
                self._count_group(group, contig, regions, numbers, filters, out)
        return out

    def _count_group(
        self,
        group: GroupReader,
        contig: int,
        regions: Sequence[Region],
        numbers: list[int],
        filters: Filters,
        out: list[int],
    ) -> None:
        mine = group.extents[group.extents["contig"] == contig]
        if not mine.size:
            return
        start, end, records = int(mine["start"][0]), int(mine["end"][0]), int(mine["records"][0])
        needs = filters.needs()
        for i in numbers:
            region = regions[i]
            if contig >= 0 and not (start < region.end_bp and end > region.start_bp):
                continue
            inside = contig < 0 or (region.start_bp <= start and end <= region.end_bp)
            if inside and not needs:
                out[i] += records
                continue
            columns = group.read(_OVERLAP | needs)
            keep, kept = kernels.overlap(columns, contig, region.start_bp, region.end_bp)
            mask = filters.mask(columns)
            out[i] += kept if mask is None else int(np.count_nonzero(keep & mask))

    def records(
        self, regions: Iterable[Region] | None = None, filters: Filters = NO_FILTERS, workers: int = 1
    ) -> Iterator[bytes]:
        """BAM records (block_size first) of regions, one after the other, in file order in each.

        A record that overlaps two regions comes twice, as samtools view gives it. Without regions:
        all records. Runs of whole records, a run a row group.
        """
        tasks = self._tasks([[region] for region in regions] if regions is not None else None)
        yield from self._run(tasks, filters, workers)

    def records_once(
        self, intervals: dict[str, list[tuple[int, int]]], filters: Filters = NO_FILTERS, workers: int = 1
    ) -> Iterator[bytes]:
        """BAM records that overlap any interval (0-based half-open, by contig), each once, in file order."""
        order = sorted(intervals, key=lambda name: self.contigs.id_of(name) % (len(self.contigs) + 1))
        several = [[Region(name, *interval) for interval in intervals[name]] for name in order]
        yield from self._run(self._tasks(several), filters, workers)

    def count_once(self, intervals: dict[str, list[tuple[int, int]]], filters: Filters = NO_FILTERS) -> int:
        """How many records ``records_once`` gives."""
        several = [[Region(name, *span) for span in spans] for name, spans in intervals.items()]
        return sum(int(self._mask(*task, filters).sum()) for task in self._tasks(several))

    def _tasks(self, several: list[list[Region]] | None) -> Iterator[tuple[GroupReader, list[Span]]]:
        """Row groups to read, each with the spans (contig, start, end) of which it may hold records."""
        if several is None:
            for section in range(len(self.sections())):
                yield from ((group, []) for group in self._groups(section))
            return
        for regions in several:
            contig = self.contigs.id_of(regions[0].contig)
            for group in self._groups(self.section_of(contig)):
                mine = group.extents[group.extents["contig"] == contig]
                if mine.size:
                    start, end = int(mine["start"][0]), int(mine["end"][0])
                    spans = [
                        (contig, r.start_bp, r.end_bp)
                        for r in regions
                        if contig < 0 or (start < r.end_bp and end > r.start_bp)
                    ]
                    if spans:
                        yield group, spans

    def _run(
        self, tasks: Iterator[tuple[GroupReader, list[Span]]], filters: Filters, workers: int
    ) -> Iterator[bytes]:
        def read(task: tuple[GroupReader, list[Span]]) -> bytes:
            group, spans = task
            if not spans and not filters.needs():
                return group.join(None)
            keep = self._mask(group, spans, filters)
            return group.join(keep) if keep.any() else b""

        with ThreadPoolExecutor(workers, thread_name_prefix="bams3") as pool:
            for data in ordered_map(pool, read, tasks, workers + 1):
                if data:
                    yield data

    @staticmethod
    def _mask(group: GroupReader, spans: list[Span], filters: Filters) -> Array:
        """Which records are in any of the spans (all, where there are none) and pass the filters."""
        columns = group.read((_OVERLAP if spans else set()) | filters.needs())
        keep = np.zeros(columns.n, np.uint8) if spans else np.ones(columns.n, np.uint8)
        for contig, start_bp, end_bp in spans:
            keep |= kernels.overlap(columns, contig, start_bp, end_bp)[0]
        mask = filters.mask(columns)
        return keep if mask is None else keep & mask

    def fetch(self, region: Region | str | None = None) -> Iterator[pysam.AlignedSegment]:
        """Records of a region (all records without one) as pysam.AlignedSegment, in file order."""
        from .sam import fetch_segments

        regions = None if region is None else [self.region(region)]
        return fetch_segments(self.records(regions), self.header)


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
