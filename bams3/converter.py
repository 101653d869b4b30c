"""The stages of a conversion: inflate, cut, split into columns, encode, write, all overlapping.

    batches of BGZF blocks -> inflated bytes -> row groups -> encoded row groups -> chunks -> index

Each arrow is an ``ordered_map`` over one pool of threads, with a bounded number of items under
way, so memory does not grow with the file and the store's bytes do not depend on the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from . import kernels
from .bam import BamHeader, BgzfBatch, InflatedBatch, inflate
from .columns import Array
from .cutting import Cutter, Layout, RowGroup, halves, record_starts, until
from .errors import Bams3Error, CorruptDataError, InputError
from .format import chunk, index, spec
from .format.directory import content_hash
from .format.frames import Compression
from .format.index import ChunkSummary
from .format.rowgroup import EncodedGroup, encode_group
from .pipeline import StageClock, ordered_map
from .resume import ResumeLog, SpanDone, SpanLog
from .store import Store
from .verify import summarise_chunk

#: Resident memory at most, measured with incompressible long reads, the worst there is: 522, 647
#: and 848 MB with 1, 2 and 4 workers. A CRAM or SAM adds the process of htslib that decodes it.
_BASE_BYTES, _WORKER_BYTES, _HTSLIB_BYTES = 400 << 20, 130 << 20, 200 << 20

#: Chunks that are written at once, but for one.
_WRITE_BYTES = 32 << 20


def memory_bytes(workers: int, through_htslib: bool) -> int:
    """Resident memory that a conversion stays below, however large its input.

    Records that are longer than a row group (24 MB) add their own size.
    """
    return _BASE_BYTES + workers * _WORKER_BYTES + through_htslib * _HTSLIB_BYTES


def workers_within(limit_bytes: int, through_htslib: bool) -> int:
    """The most threads that this memory allows; 0 or less where none do."""
    return (limit_bytes - memory_bytes(0, through_htslib)) // _WORKER_BYTES


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """What decides a store's bytes, and how many threads make it."""

    span_bp: int = spec.CHUNK_SPAN_BP
    chunk_records: int = spec.CHUNK_RECORDS
    compression: Compression = field(default_factory=Compression)
    workers: int = 2

    def identity(self) -> dict[str, Any]:
        """All of it that decides bytes."""
        method, level = self.compression.method, self.compression.level
        return {
            "span_bp": self.span_bp,
            "chunk_records": self.chunk_records,
            "method": method,
            "level": level,
        }


@dataclass
class ConvertReport:
    """What a conversion did."""

    records: int = 0
    chunks: int = 0
    spans_encoded: int = 0
    spans_resumed: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    stages: dict[str, dict[str, float]] = field(default_factory=dict)


# ---- row groups to chunks ----


class _Encoded(NamedTuple):
    span: tuple[int, int]
    offset: int
    first_record: int
    group: EncodedGroup
    contigs: Array  # those that records and mates use
    frames: dict[int, Array]


class _PendingChunk(NamedTuple):
    """Encoded row groups of a chunk, the k-th of its span; ``last`` if the span ends with it."""

    k: int
    groups: list[_Encoded]
    last: bool

    def size_bytes(self) -> int:
        """Bytes of its columns, more or less those of the chunk."""
        return sum(len(blob.data) for one in self.groups for blob in one.group.blobs)


class _Written(NamedTuple):
    span: tuple[int, int]
    offset: int
    first_record: int
    summary: ChunkSummary
    last: bool


def _chunks(groups: Iterable[_Encoded], chunk_records: int) -> Iterator[_PendingChunk]:
    """Cut a stream of encoded row groups into chunks: at spans, and by records and bytes."""
    mine: list[_Encoded] = []
    k = records = size = 0
    for group in groups:
        if mine:
            new_span = group.span != mine[0].span
            full = records + group.group.records > chunk_records
            if new_span or full or size + group.group.decoded_bytes > spec.CHUNK_BYTES:
                yield _PendingChunk(k, mine, new_span)
                mine, k, records, size = [], 0 if new_span else k + 1, 0, 0
        mine.append(group)
        records += group.group.records
        size += group.group.decoded_bytes
    if mine:
        yield _PendingChunk(k, mine, True)


class Converter:
    """One conversion of one file into one store, up to its index.

    Parameters
    ----------
    header, source
        Of the input; ``source`` is its name in messages.
    log
        Notes of finished spans.
    on_progress
        Called with the compressed bytes of each batch that was read.
    """

    def __init__(
        self,
        header: BamHeader,
        source: str,
        store: Store,
        options: ConvertOptions,
        log: SpanLog,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._header, self._source, self._store, self._options = header, source, store, options
        self._log, self._on_progress = log, on_progress
        self.layout = Layout.of(header, options.span_bp)
        lines = header.text.decode("utf-8", "replace").split("\n")
        self._read_groups = [line for line in lines if line.startswith("@RG")]
        self._clock = StageClock("read", "inflate", "split", "encode", "write")
        self.index = index.IndexWriter(len(header.contigs), self.layout.sections)
        self.report = ConvertReport()
        self.keys: set[str] = set()

    def resume(self, log: ResumeLog) -> SpanDone | None:
        """Take the spans that an earlier try finished and whose chunks are whole; give the last."""
        done = log.load()
        if done:  # a sign of life: what is read back here looks old to bams3 gc
            log.go_on(done[0][0], [span for n, span in done if n == done[0][0]])
        kept: list[tuple[int, SpanDone]] = []
        with ThreadPoolExecutor(self._options.workers, thread_name_prefix="bams3") as pool:
            checked = ordered_map(pool, self._summaries_of, done, self._options.workers + 1)
            for note, summaries in zip(done, checked, strict=True):
                if summaries is None:
                    break
                self.take(note[1].span, summaries)
                kept.append(note)
        self.report.spans_resumed = len(kept)
        if not kept:
            return None
        number, last = kept[-1]
        mine = [span for n, span in kept if n == number]
        if len(mine) == sum(n == number for n, _ in done):
            log.go_on(number + 1)
        else:  # its other spans are to be done again
            log.go_on(number, mine)
        return last

    def _summaries_of(self, note: tuple[int, SpanDone]) -> list[ChunkSummary] | None:
        """What the chunks of a finished span hold; None if any is not what was noted."""
        span = note[1]
        try:
            return [self._summary_of(span, row) for row in span.rows]
        except (Bams3Error, IndexError, ValueError, OverflowError):  # or a note that cannot be
            return None

    def _summary_of(self, span: SpanDone, row: tuple[int, ...]) -> ChunkSummary:
        rows = np.array([row], index.CHUNK)
        data = self._store.get(self.layout.chunk_key(span.span, rows[0]))
        return summarise_chunk(data, rows[0], self.layout.windows[span.span[0]])

    def take(self, span: tuple[int, int], summaries: Iterable[ChunkSummary]) -> None:
        """Take the chunks of the next span, which are written, into the index."""
        for summary in summaries:
            self.index.add(span[0], summary)
            self.keys.add(self.layout.chunk_key(span, summary.row[0]))
            self.report.records += int(summary.row["records"][0])
            self.report.bytes_out += int(summary.row["bytes"][0])
            self.report.chunks += 1

    def run(
        self,
        batches: Iterator[BgzfBatch],
        skip_bytes: int,
        first_record: int = 0,
        skip_records: int = 0,
        end: int | None = None,
    ) -> None:
        """Convert what ``batches`` hold.

        Parameters
        ----------
        skip_bytes
            Inflated bytes before the first record.
        first_record
            Number of the first record that follows them.
        skip_records
            Number of the first record that is to be converted; those before are done.
        end
            Virtual offset of the first record that is not; None: there is none.
        """
        workers = self._options.workers
        cutter = Cutter(
            self.layout, min(spec.GROUP_RECORDS, self._options.chunk_records), self._source, first_record
        )
        parallel = max(self._store.parallel, 2)
        with (
            ThreadPoolExecutor(workers, thread_name_prefix="bams3") as pool,
            ThreadPoolExecutor(parallel, thread_name_prefix="bams3-write") as writers,
        ):
            inflated = ordered_map(
                pool, self._inflate, self._read(batches), 2 * workers + 4, self._clock, "inflate"
            )
            if end is not None:
                inflated = until(inflated, end)
            groups = (g for g in _row_groups(cutter, inflated, skip_bytes) if g.first_record >= skip_records)
            encoded = ordered_map(pool, self._encode, groups, workers + 1, self._clock, "encode")
            pending = _chunks((g for several in encoded for g in several), self._options.chunk_records)
            written = ordered_map(
                writers,
                self._write,
                pending,
                parallel,
                self._clock,
                "write",
                size_of=_PendingChunk.size_bytes,
                most_bytes=_WRITE_BYTES,
            )
            for span in _spans(written):
                self._finish_span(span)
            self._log.close()
        self.report.stages = self._clock.report()

    def _finish_span(self, written: list[_Written]) -> None:
        first, summaries = written[0], [one.summary for one in written]
        self.take(first.span, summaries)
        self.report.spans_encoded += 1
        rows = [summary.row[0].tolist() for summary in summaries]
        records = sum(int(summary.row["records"][0]) for summary in summaries)
        span = SpanDone(first.span, first.offset, first.first_record, records, tuple(rows))
        self._log.add(span, summaries)

    # -- the stages --

    def _read(self, batches: Iterator[BgzfBatch]) -> Iterator[BgzfBatch]:
        while True:
            with self._clock.working("read"):
                batch = next(batches, None)
            if batch is None:
                return
            self.report.bytes_in += len(batch.blocks)
            self._on_progress(len(batch.blocks))
            yield batch

    def _inflate(self, batch: BgzfBatch) -> InflatedBatch:
        with self._clock.working("inflate"):
            return inflate(batch)

    def _encode(self, group: RowGroup) -> list[_Encoded]:
        """Usually one row group; more where it would need too many tag layouts."""
        with self._clock.working("split"):
            try:
                columns = kernels.split(group.data, group.records)
            except kernels.KernelError as err:
                if err.code != kernels.ERR_TOO_MANY or group.records == 1:
                    raise self._bad_group(group, err) from err
                return [one for half in halves(group) for one in self._encode(half)]
        with self._clock.working("encode"):
            encoded = encode_group(columns, self._options.compression)
            frames = index.group_depth(columns, encoded.extents, self.layout.windows[group.span[0]])
            contigs = columns.contigs_used()
        where = group.span, group.offset, group.first_record
        return [_Encoded(*where, encoded, contigs, frames)]

    def _bad_group(self, group: RowGroup, err: kernels.KernelError) -> CorruptDataError | InputError:
        starts = record_starts(group)
        number = group.first_record + int(np.searchsorted(starts, err.where))
        if err.code == kernels.ERR_TOO_MANY:
            message = f"{self._source}: record {number:,} has more than {kernels.MAX_TAG_COLUMNS:,} tags"
            return InputError(message, kind=err.kind, hint="a store holds fewer tags a record")
        return CorruptDataError(f"{self._source}: record {number:,}: {err}", kind=err.kind)

    def _write(self, pending: _PendingChunk) -> _Written:
        with self._clock.working("write"):
            contig, start_bp, folder = self.layout.place(pending.groups[0].span)
            groups = [one.group for one in pending.groups]
            data, directory = chunk.build_chunk(groups, self._context(pending.groups))
            encoded = directory.encode()
            head_bytes = len(data) - int(directory.blobs["bytes"].sum(dtype=np.int64))
            records = sum(group.records for group in groups)
            fields = (contig, start_bp, pending.k, content_hash(data), len(data), head_bytes)
            row = np.array([(*fields, len(encoded), records)], index.CHUNK)
            self._store.put(index.chunk_key(folder, row[0]), data)
            frames = index.add_frames(one.frames for one in pending.groups)
            totals = np.concatenate([group.totals for group in groups])
        first = pending.groups[0]
        summary = ChunkSummary(row, directory, encoded, totals, frames)
        return _Written(first.span, first.offset, first.first_record, summary, pending.last)

    def _context(self, groups: list[_Encoded]) -> dict[str, Any]:
        used = np.unique(np.concatenate([group.contigs for group in groups]))
        names, lengths = self._header.contigs.names, self._header.contigs.lengths
        contigs = [[i, names[i], lengths[i]] for i in used.tolist()]
        return {"contigs": contigs, "read_groups": self._read_groups}


def _row_groups(cutter: Cutter, inflated: Iterable[InflatedBatch], skip_bytes: int) -> Iterator[RowGroup]:
    for batch in inflated:
        skip = min(skip_bytes, len(batch.data))
        skip_bytes -= skip
        yield from cutter.push(batch, skip)
    yield from cutter.finish()


def _spans(written: Iterable[_Written]) -> Iterator[list[_Written]]:
    mine: list[_Written] = []
    for one in written:
        mine.append(one)
        if one.last:
            yield mine
            mine = []
