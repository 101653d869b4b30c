"""Every checksum, every count, and the index against the chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import kernels
from .columns import Columns
from .cutting import Layout
from .errors import CorruptDataError
from .format import chunk, index, spec
from .format.directory import content_hash, corrupt_chunk, crc32
from .format.index import ChunkSummary, Windows
from .format.manifest import SectionRanges
from .format.rowgroup import decode_columns, group_summary
from .pipeline import ordered_map
from .query import StoreReader
from .rowgroups import StoredChunk


def named_keys(reader: StoreReader) -> set[str]:
    """Keys of every object that a store's manifest and index name."""
    chunks = {stored.key for _, stored in reader.all_chunks()}
    return chunks | {reader.manifest.header_key, reader.manifest.index_key}


def read_chunk(data: bytes, head: chunk.Head) -> Iterator[tuple[int, int, Columns]]:
    """(group number, its offset in extents, complete plain columns) of a whole chunk in memory.

    Raises
    ------
    CorruptDataError
        ``bad-chunk`` or ``bad-column``, naming the byte range.
    """
    directory, view = head.directory, memoryview(data)
    offsets = directory.offsets(head.head_bytes).tolist()
    if offsets[-1] != len(data):
        raise corrupt_chunk(f"the chunk has {len(data)} bytes, its directory says {offsets[-1]}")
    mine: dict[int, list[tuple[str, int, Any]]] = {}
    for i, blob in enumerate(directory.blobs.tolist()):
        group, column, codec, _, _, crc = blob
        part = view[offsets[i] : offsets[i + 1]]
        if crc32(part) != crc:
            raise corrupt_chunk(f"bytes {offsets[i]}-{offsets[i + 1]} do not match their checksum")
        mine.setdefault(group, []).append((directory.columns[column], codec, part))
    extent = 0
    for g, row in enumerate(directory.groups.tolist()):
        records, decoded_bytes, n_extents = row
        yield g, extent, decode_columns(records, decoded_bytes, mine.get(g, []))
        extent += n_extents


def summarise_chunk(data: bytes, row: Any, windows: Windows) -> ChunkSummary:
    """What the index should say of a chunk, from its bytes alone; checks all of them.

    Parameters
    ----------
    row
        Its row of the index (index.CHUNK).

    Raises
    ------
    CorruptDataError
        Where the bytes contradict their checksums, the row, or each other.
    """
    if len(data) != int(row["bytes"]) or content_hash(data) != int(row["hash"]):
        raise corrupt_chunk("the bytes are not those that its name stands for")
    head = chunk.parse_head(data)
    frames, totals, extents = [], [], []
    for _, _, columns in read_chunk(data, head):
        joined = kernels.join(columns)
        if joined.size != columns.decoded_bytes:
            raise corrupt_chunk(f"a row group decodes to {joined.size} bytes, not {columns.decoded_bytes}")
        found, group_totals = group_summary(columns)
        _check_contigs(found, windows)
        extents.append(found)
        totals.append(group_totals)
        frames.append(index.group_depth(columns, found, windows))
    if not np.array_equal(np.concatenate(extents), head.directory.extents):
        raise corrupt_chunk("the extents of its row groups are not those of its records")
    if head.head_bytes != int(row["head_bytes"]) or int(row["records"]) != int(
        head.directory.groups["records"].sum(dtype=np.uint64)
    ):
        raise corrupt_chunk("its head is not the one that the index describes")
    return ChunkSummary(
        np.array([row.tolist()], index.CHUNK),
        head.directory,
        head.directory_bytes,
        np.concatenate(totals),
        index.add_frames(frames),
    )


def _check_contigs(extents: Any, windows: Windows) -> None:
    first, n = windows.first_contig, max(windows.n.size, 1)
    if ((extents["contig"] < first) | (extents["contig"] >= first + n)).any():
        raise corrupt_chunk("it holds records of contigs that are not its own")


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check of a store found; ``problems`` name object and byte range, a line each."""

    records: int
    chunks: int
    problems: list[str]


def verify(reader: StoreReader, workers: int, on_chunk: Callable[[int], None] = lambda _: None) -> Verified:
    """Check a whole store: header, index, every chunk, and one against the other.

    Raises
    ------
    CorruptDataError
        Where the index itself cannot be read; damaged chunks are collected.
    """
    _check_whole_object(reader, reader.manifest.header_key)
    _check_whole_object(reader, reader.manifest.index_key)
    layout = Layout.of(reader.header, reader.manifest.span_bp)
    totals = np.zeros_like(reader.totals)
    costs = [np.zeros(0, index.COST)]
    problems: list[str] = []
    records = n_chunks = 0
    with ThreadPoolExecutor(workers, thread_name_prefix="bams3") as pool:
        for number, section in enumerate(reader.sections()):
            windows = layout.windows[layout.section_number(section.first_contig)]

            def check(stored: StoredChunk, windows: Windows = windows) -> ChunkSummary | str:
                return _check_chunk(reader, stored, windows)

            summaries: list[ChunkSummary] = []
            for result in ordered_map(pool, check, reader.chunks(number), workers + 1):
                on_chunk(1)
                n_chunks += 1
                if isinstance(result, str):
                    problems.append(result)
                else:
                    summaries.append(result)
                    records += int(result.row["records"][0])
                    np.add.at(totals, result.directory.extents["contig"], result.totals)
            if len(summaries) == len(reader.chunks(number)):
                problems += _check_depth(reader, section, summaries)
            if section.first_contig >= 0:
                costs += [summary.cost for summary in summaries]
    if not problems and not np.array_equal(totals, reader.totals):
        problems.append(f"{reader.manifest.index_key}: totals are not those of the chunks")
    if not problems and not np.array_equal(np.concatenate(costs), reader.costs):
        problems.append(f"{reader.manifest.index_key}: costs are not those of the chunks")
    if not problems and (records, n_chunks) != (reader.manifest.records, reader.manifest.chunks):
        problems.append(f"{spec.MANIFEST_KEY}: counts are not those of the chunks")
    return Verified(records, n_chunks, problems)


def _check_whole_object(reader: StoreReader, key: str) -> None:
    """An object's name stands for its bytes, also those that no range covers."""

    def check(data: memoryview) -> None:
        if not key.rpartition(".")[0].endswith(f"-{content_hash(data):08x}"):
            raise reader.objects.bad_checksum(key, 0, len(data))

    reader.objects.whole(key, check)


def _check_chunk(reader: StoreReader, stored: StoredChunk, windows: Windows) -> ChunkSummary | str:
    try:
        data = reader.objects.whole(stored.key, lambda data: _check_blobs(data, stored))
        summary = summarise_chunk(bytes(data), stored.row, windows)
        if summary.encoded != stored.directory.encode():
            return f"{stored.key}: the directory in its head is not the one in the index"
    except CorruptDataError as err:
        return f"{stored.key}: {'not there' if err.kind == 'missing-object' else err}"
    return summary


def _check_blobs(data: memoryview, stored: StoredChunk) -> None:
    """Name the damaged byte range before the checksum of the whole object says less."""
    offsets = stored.offsets.tolist()
    for i, crc in enumerate(stored.directory.blobs["crc32"].tolist()):
        if crc32(data[offsets[i] : offsets[i + 1]]) != crc:
            raise corrupt_chunk(f"bytes {offsets[i]}-{offsets[i + 1]} do not match their checksum")


def _check_depth(reader: StoreReader, section: SectionRanges, summaries: list[ChunkSummary]) -> list[str]:
    """The depth frames of a section against those of its chunks."""
    frames = index.add_frames(summary.frames for summary in summaries)
    wrong = list(set(frames) ^ set(section.depth))
    wrong += [
        number
        for number in set(frames) & set(section.depth)
        if not np.array_equal(frames[number], reader.depth_frames(section, [number])[0])
    ]
    return [
        f"{reader.manifest.index_key}: depth frame {n} of contig {section.first_contig}"
        for n in sorted(wrong)
    ]
