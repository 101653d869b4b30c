"""What a store says of itself: manifest, contig table, totals, costs, and where row groups lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from .bam import BamHeader
from .columns import Array
from .errors import CorruptDataError, InputError
from .format import index, manifest, spec
from .format.directory import crc32
from .format.manifest import Manifest, Range, SectionRanges
from .pipeline import ahead
from .regions import ContigTable
from .rowgroups import GAP_BYTES, Objects, StoredChunk
from .store import Store
from .store.base import MissingObjectError

T = TypeVar("T")

#: Neighbouring sections of the index are read together up to this.
_RUN_BYTES = 8 << 20


class StoreIndex:
    """A store whose manifest is read; the rest of the index when it is asked for.

    Attributes
    ----------
    manifest
        The parsed manifest; ``manifest_bytes`` as stored.
    reads
        (key, bytes) of every range that was read so far.

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
            self.manifest: Manifest = self._parsed()
        except (CorruptDataError, InputError) as err:
            raise type(err)(f"{store.name}: {err}", kind=err.kind, hint=err.hint) from err
        self.objects = Objects(store, self.manifest_bytes)
        self.reads: list[tuple[str, int]] = [(spec.MANIFEST_KEY, len(self.manifest_bytes))]
        self._sections: dict[int, list[StoredChunk]] = {}

    def _parsed(self) -> Manifest:
        """The manifest; it is read once more if its bytes are wrong."""
        try:
            return manifest.parse(self.manifest_bytes)
        except CorruptDataError:
            self.manifest_bytes = self.store.get(spec.MANIFEST_KEY)
            return manifest.parse(self.manifest_bytes)

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

    @cached_property
    def costs(self) -> Array:
        """What each chunk of placed records costs, in file order, to price questions without directories.

        Returns
        -------
        Rows of int64: ``contig`` (number of the first of its section), ``start`` (of its span, bp),
        ``records``, ``bytes`` (of the object), ``locate_bytes`` (of the columns that locate and filter)
        and ``groups`` (row groups).

        Raises
        ------
        CorruptDataError
            ``bad-index``.

        Notes
        -----
        One small range of the index: a few bytes a chunk.
        """
        rows = index.parse_costs(self._index_range(self.manifest.costs))
        if rows.size and int(rows["contig"][-1]) >= self.manifest.n_contigs:  # they ascend
            raise CorruptDataError(f"{self.store.name}: costs of no contig", kind="bad-index")
        return rows

    def _index_range(self, where: Range) -> bytes:
        return self._range(self.manifest.index_key, where)

    def _index_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Ranges of the index, in file order, with one request."""
        return self._ranges(self.manifest.index_key, ranges) if ranges else []

    def _range(self, key: str, where: Range) -> bytes:
        return self._ranges(key, [where])[0]

    def _ranges(self, key: str, ranges: Sequence[Range]) -> list[bytes]:
        begin, end = ranges[0].offset, ranges[-1].offset + ranges[-1].size_bytes
        if any(b.offset < a.offset + a.size_bytes for a, b in pairwise(ranges)):
            raise CorruptDataError(f"{self.store.name}: index ranges out of order", kind="bad-manifest")
        if end - begin > spec.MAX_INDEX_RANGE_BYTES:
            raise CorruptDataError(f"{self.store.name}/{key}: a range is too large", kind="bad-manifest")

        def part(data: memoryview, where: Range) -> memoryview:
            return data[where.offset - begin :][: where.size_bytes]

        def check(data: memoryview) -> None:
            for where in ranges:
                mine = part(data, where)
                if len(mine) != where.size_bytes or crc32(mine) != where.crc32:
                    raise self.objects.bad_checksum(key, where.offset, where.offset + where.size_bytes)

        self.reads.append((key, end - begin))
        data = self.objects.read(key, begin, end - begin, check)
        return [bytes(part(data, where)) for where in ranges]

    def ahead(
        self, items: Iterable[T], fetch: Callable[[T], object], size_of: Callable[[T], int]
    ) -> Iterator[T]:
        """The items, what they need fetched ahead where the store is far away (pipeline.ahead)."""
        return ahead(items, fetch, self.store.parallel, size_of)

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
        if section not in self._sections:
            self._load([section])
        return self._sections[section]

    def load(self, contigs: Iterable[int]) -> None:
        """Read what the index says of these contigs: neighbours with one request, several at a time."""
        found = {number for contig in contigs if (number := self.section_of(contig)) is not None}
        for run in self.ahead(self._runs(sorted(found)), self._load, lambda _: 0):
            self._load(run)

    def all_chunks(self) -> Iterator[tuple[int, StoredChunk]]:
        """Every chunk with the number of its section, in file order."""
        for run in self.ahead(self._runs(range(len(self.sections()))), self._load, lambda _: _RUN_BYTES):
            self._load(run)
            for section in run:
                yield from ((section, stored) for stored in self._sections[section])

    def _runs(self, numbers: Iterable[int]) -> Iterator[list[int]]:
        """Sections that are worth reading with one request."""
        run: list[int] = []
        for number in numbers:
            if run and not self._worth(run, number):
                yield run
                run = []
            run.append(number)
        if run:
            yield run

    def _worth(self, run: list[int], number: int) -> bool:
        first, last, more = (self.sections()[n] for n in (run[0], run[-1], number))
        gap = more.chunks.offset - last.directories.offset - last.directories.size_bytes
        size_bytes = more.directories.offset + more.directories.size_bytes - first.chunks.offset
        return 0 <= gap <= GAP_BYTES and size_bytes <= _RUN_BYTES

    def _load(self, run: Sequence[int]) -> None:
        """Read sections with one request, unless they are there."""
        missing = [number for number in run if number not in self._sections]
        sections = [self.sections()[number] for number in missing]
        parts = self._index_ranges([part for s in sections for part in (s.chunks, s.directories)])
        for number, rows, directories in zip(missing, parts[::2], parts[1::2], strict=True):
            self._sections[number] = list(self._parse_section(rows, directories))

    def _parse_section(self, chunks: bytes, directories: bytes) -> Iterator[StoredChunk]:
        rows = index.parse_chunks(chunks)
        for row, directory in zip(rows, index.parse_directories(directories, rows), strict=True):
            offsets = directory.offsets(int(row["head_bytes"]))
            if int(offsets[-1]) != int(row["bytes"]):
                raise CorruptDataError(f"{self.store.name}: the index contradicts itself", kind="bad-index")
            yield StoredChunk(self._key_of(row), row, directory, offsets)

    @cached_property
    def _folders(self) -> list[str]:
        return index.folder_names(self.contigs.names)

    def _key_of(self, row: Any) -> str:
        contig = int(row["contig"])
        if not -1 <= contig < len(self.contigs):
            raise CorruptDataError(f"{self.store.name}: a chunk of contig {contig}", kind="bad-index")
        return index.chunk_key(index.UNPLACED_FOLDER if contig < 0 else self._folders[contig], row)

    def chunks_of(self, contig: int) -> list[StoredChunk]:
        """Chunks of the section that holds a contig (-1: the unplaced reads)."""
        section = self.section_of(contig)
        return [] if section is None else self.chunks(section)

    def depth_frames(self, section: SectionRanges, numbers: Sequence[int]) -> list[Array]:
        """Aligned bases in each 100 bp of some frames of a section (uint64), with one request."""
        ranges = [section.depth[number] for number in numbers]
        return [index.parse_depth(data) for data in self._index_ranges(ranges)]


def _no_store(name: str) -> InputError:
    if "://" in name:
        reason = f"is not a store: it has no {spec.MANIFEST_KEY}"
        hint = "check the name; if a conversion was killed, run it again: it goes on"
    elif Path(name).is_file():
        reason, hint = "is a file, not a store", f"make one of it: bams3 convert {name} OUT.bams3"
    elif Path(name).is_dir():
        reason = f"is not a store: it has no {spec.MANIFEST_KEY}"
        hint = "make one with: bams3 convert IN.bam OUT.bams3 (a conversion that was killed goes on)"
    else:
        reason, hint = "is not there", "give the folder that bams3 convert made"
    return InputError(f"{name} {reason}", kind="not-a-store", hint=hint)
