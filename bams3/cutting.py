"""Where a stream of records is cut: sections, spans and row groups."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import kernels
from .bam import BamHeader, InflatedBatch
from .columns import Array
from .errors import Bams3Error, CorruptDataError, InputError
from .format import index, spec
from .format.index import Section, Windows

_BUFFER_BYTES = 24 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """How a contig table is cut into sections and spans."""

    sections: tuple[Section, ...]
    folders: list[str]
    windows: list[Windows]
    contig_section: Array
    contig_span: Array

    @classmethod
    def of(cls, header: BamHeader, span_bp: int) -> Layout:
        lengths = header.contigs.lengths
        sections = index.sections_of(lengths, span_bp)
        contig_section = np.zeros(len(lengths), np.int32)
        contig_span = np.zeros(len(lengths), np.int64)
        for number, section in enumerate(sections[:-1]):
            contig_section[section.first : section.first + section.n] = number
            contig_span[section.first : section.first + section.n] = section.span_bp
        windows = [Windows.of(section, lengths) for section in sections]
        return cls(sections, index.folder_names(header.contigs.names), windows, contig_section, contig_span)

    def section_number(self, first_contig: int) -> int:
        """Number of the section that begins with a contig (-1: the unplaced reads')."""
        return len(self.sections) - 1 if first_contig < 0 else int(self.contig_section[first_contig])

    def place(self, span: tuple[int, int]) -> tuple[int, int, str]:
        """(contig, start in bp, folder) of the chunks of a span (section, window)."""
        section = self.sections[span[0]]
        folder = index.UNPLACED_FOLDER if section.first < 0 else self.folders[section.first]
        return section.first, span[1] * section.span_bp, folder

    def chunk_key(self, span: tuple[int, int], row: Any) -> str:
        """Object key of a chunk of a span, from its row of the index."""
        return index.chunk_key(self.place(span)[2], row)


def until(inflated: Iterable[InflatedBatch], end: int) -> Iterator[InflatedBatch]:
    """Batches up to a virtual offset; no batch may follow the one that its block lies in or behind."""
    block, at = end >> 16, end & 0xFFFF
    for batch in inflated:
        if block in batch.offsets:
            size_bytes = batch.starts[batch.offsets.index(block)] + at
            yield batch._replace(data=batch.data[:size_bytes])
            return
        yield batch


# ---- cutting a stream of records into row groups ----


class RowGroup(NamedTuple):
    """Whole records of one span, still as BAM; ``offset`` is where the first one begins."""

    span: tuple[int, int]
    data: Array
    records: int
    first_record: int
    offset: int


class Cutter:
    """Inflated batches in, row groups out; keeps what no row group has taken yet."""

    def __init__(self, layout: Layout, group_records: int, source: str, first_record: int) -> None:
        self._scanner = kernels.Scanner(
            layout.contig_section, layout.contig_span, group_records, spec.GROUP_BYTES
        )
        self._source = source
        self._buffer = np.empty(_BUFFER_BYTES, np.uint8)
        self._start = self._at = self._end = 0  # of the row group, of the next record, of the data
        self._batches: deque[tuple[int, InflatedBatch]] = deque()  # with their ends in the stream
        self._base = 0  # stream position of buffer[0]
        self.records = first_record

    def push(self, batch: InflatedBatch, skip: int = 0) -> Iterator[RowGroup]:
        """Take the next batch, without its first ``skip`` bytes, and give the groups it completes."""
        self._append(np.frombuffer(batch.data, np.uint8)[skip:])
        self._batches.append((self._base + self._end, batch))
        while True:
            try:
                self._at, stop = self._scanner.scan(self._buffer[: self._end], self._at)
            except kernels.KernelError as err:
                raise self._bad_record(err) from err
            if stop == kernels.Scanner.NEED_MORE:
                return
            yield self._cut()

    def finish(self) -> Iterator[RowGroup]:
        """The last row group; the data must end with a record."""
        if self._at != self._end:
            raise CorruptDataError(
                f"{self._source}: the data ends inside record {self.records + self._scanner.records:,}",
                kind="truncated-file",
                hint="the file was cut short: copy or make it again",
            )
        if self._scanner.records:
            yield self._cut()

    def _append(self, fresh: Array) -> None:
        if self._end + fresh.size > self._buffer.size:
            tail = self._buffer[self._start : self._end]
            grown = np.empty(max(_BUFFER_BYTES, tail.size + fresh.size + (tail.size >> 1)), np.uint8)
            grown[: tail.size] = tail
            self._base += self._start
            self._at, self._end, self._start = self._at - self._start, tail.size, 0
            self._buffer = grown
        self._buffer[self._end : self._end + fresh.size] = fresh
        self._end += fresh.size

    def _cut(self) -> RowGroup:
        data = self._buffer[self._start : self._at]
        group = RowGroup(
            self._scanner.span, data, self._scanner.records, self.records, self._virtual_offset()
        )
        self.records += group.records
        self._start = self._at
        self._scanner.begin_group()
        return group

    def _virtual_offset(self) -> int:
        """BGZF virtual offset of the row group's first record."""
        at = self._base + self._start
        while self._batches[0][0] <= at and len(self._batches) > 1:
            self._batches.popleft()
        end, batch = self._batches[0]
        return batch.virtual_offset(len(batch.data) - (end - at))

    def _bad_record(self, err: kernels.KernelError) -> Bams3Error:
        number = self.records + self._scanner.records
        if err.code == kernels.ERR_UNSORTED:
            return InputError(
                f"{self._source}: record {number:,} lies before its predecessor: not in coordinate order",
                kind="unsorted",
                hint="sort it first: samtools sort -o sorted.bam " + self._source,
            )
        return CorruptDataError(f"{self._source}: record {number:,}: {err}", kind=err.kind)


def record_starts(group: RowGroup) -> Array:
    """Where each record begins, walked in Python: only for what goes wrong."""
    data, at, starts = group.data, 0, []
    while at < data.size:
        starts.append(at)
        at += 4 + int.from_bytes(data[at : at + 4].tobytes(), "little")
    return np.array(starts)


def halves(group: RowGroup) -> Iterator[RowGroup]:
    """A row group of two or more records as two."""
    half = group.records // 2
    cut = int(record_starts(group)[half])
    yield group._replace(data=group.data[:cut], records=half)
    rest = group.records - half
    yield group._replace(data=group.data[cut:], records=rest, first_record=group.first_record + half)
