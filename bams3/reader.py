"""What a store says of itself: manifest, contig table, totals, and where its chunks' row groups lie."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from .bam import BamHeader
from .columns import Array
from .errors import CorruptDataError, InputError
from .format import index, manifest, spec
from .format.directory import crc32
from .format.manifest import Manifest, Range, SectionRanges
from .regions import ContigTable
from .rowgroups import StoredChunk, bad_checksum, object_range
from .store import Store
from .store.base import MissingObjectError


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
            self.manifest: Manifest = manifest.parse(self.manifest_bytes)
        except (CorruptDataError, InputError) as err:
            raise type(err)(f"{store.name}: {err}", kind=err.kind, hint=err.hint) from err
        self.reads: list[tuple[str, int]] = [(spec.MANIFEST_KEY, len(self.manifest_bytes))]
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
        self.reads.append((key, size_bytes))
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

    def chunks_of(self, contig: int) -> list[StoredChunk]:
        """Chunks of the section that holds a contig (-1: the unplaced reads)."""
        section = self.section_of(contig)
        return [] if section is None else self.chunks(section)

    def depth_frames(self, section: SectionRanges, numbers: Sequence[int]) -> list[Array]:
        """Aligned bases in each 100 bp of some frames of a section (uint64), with one request."""
        ranges = [section.depth[number] for number in numbers]
        return [index.parse_depth(data) for data in self._index_ranges(ranges)]


def _no_store(name: str) -> InputError:
    if Path(name).is_file():
        reason, hint = "is a file, not a store", f"make one of it: bams3 convert {name} OUT.bams3"
    elif Path(name).is_dir():
        reason = f"is not a store: it has no {spec.MANIFEST_KEY}"
        hint = "make one with: bams3 convert IN.bam OUT.bams3 (a conversion that was killed goes on)"
    else:
        reason, hint = "is not there", "give the folder that bams3 convert made"
    return InputError(f"{name} {reason}", kind="not-a-store", hint=hint)
