"""Every checksum, every count, and the index against the chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import kernels
from .columns import Columns
from .errors import CorruptDataError
from .format import chunk, index
from .format.index import ChunkSummary, Windows


def content_hash(data: bytes) -> int:
    """The 8 hex digits of an object's name: the first 32 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(data).digest()[:4], "big")


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
        raise chunk.corrupt_chunk(f"the chunk has {len(data)} bytes, its directory says {offsets[-1]}")
    mine: dict[int, list[tuple[str, int, Any]]] = {}
    for i, blob in enumerate(directory.blobs.tolist()):
        group, column, codec, _, _, crc = blob
        part = view[offsets[i] : offsets[i + 1]]
        if chunk.crc32(part) != crc:
            raise chunk.corrupt_chunk(f"bytes {offsets[i]}-{offsets[i + 1]} do not match their checksum")
        mine.setdefault(group, []).append((directory.columns[column], codec, part))
    extent = 0
    for g, row in enumerate(directory.groups.tolist()):
        records, decoded_bytes, n_extents = row
        yield g, extent, chunk.decode_columns(records, decoded_bytes, mine.get(g, []))
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
        raise chunk.corrupt_chunk("the bytes are not those that its name stands for")
    head = chunk.parse_head(data)
    frames, totals, extents = [], [], []
    for _, _, columns in read_chunk(data, head):
        joined = kernels.join(columns)
        if joined.size != columns.decoded_bytes:
            raise chunk.corrupt_chunk(f"a row group decodes to {joined.size} bytes, not {columns.decoded_bytes}")
        found, group_totals = chunk.group_summary(columns)
        extents.append(found)
        totals.append(group_totals)
        frames.append(index.group_depth(columns, found, windows))
    all_extents = np.concatenate(extents)
    if not np.array_equal(all_extents, head.directory.extents):
        raise chunk.corrupt_chunk("the extents of its row groups are not those of its records")
    if head.head_bytes != int(row["head_bytes"]) or int(row["records"]) != int(
        head.directory.groups["records"].sum(dtype=np.uint64)
    ):
        raise chunk.corrupt_chunk("its head is not the one that the index describes")
    return ChunkSummary(
        np.array([row.tolist()], index.CHUNK),
        head.directory_bytes,
        all_extents,
        np.concatenate(totals),
        index.add_frames(frames),
    )
