"""A chunk: row groups of encoded columns, their directory, and what is needed to read it alone.

    magic | version | sizes | context | directory | crc32 | locate columns, column by column
    | the other columns, row group by row group

``build_chunk`` and ``parse_head`` lay the blobs of row groups out and find them again. The index
holds copies of directories, so a reader that has the index never reads a chunk's head.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..columns import Array
from . import spec
from .directory import BLOB, GROUP, Directory, corrupt_chunk, crc32, parse_directory
from .frames import PLAIN_ZSTD, pack_frame, unpack_frames
from .rowgroup import CODEC_ID, Blob, EncodedGroup
from .versions import check_version

_HEAD = struct.Struct("<8sHHII")


# ---- laying out ----


def build_chunk(groups: Sequence[EncodedGroup], context: dict[str, Any]) -> tuple[bytes, Directory]:
    """The bytes of a chunk, and its directory.

    Parameters
    ----------
    context
        What makes the chunk readable alone: ``contigs`` ([number, name, length] of those that its
        records and their mates use) and ``read_groups`` (the header's @RG lines).
    """
    columns = tuple(dict.fromkeys(blob.column for group in groups for blob in group.blobs))
    number = {name: i for i, name in enumerate(columns)}
    placed = list(_in_file_order(groups))
    blobs = np.array(
        [
            (g, number[blob.column], CODEC_ID[blob.codec], 0, len(blob.data), crc32(blob.data))
            for g, blob in placed
        ],
        BLOB,
    )
    rows = [(group.records, group.decoded_bytes, group.extents.size) for group in groups]
    extents = np.concatenate([group.extents for group in groups])
    directory = Directory(columns, np.array(rows, GROUP), extents, blobs)
    encoded = directory.encode()
    text = json.dumps(context, separators=(",", ":"), sort_keys=True).encode()
    framed = pack_frame(text, PLAIN_ZSTD)
    head = _HEAD.pack(spec.CHUNK_MAGIC, *spec.VERSION, len(framed), len(encoded)) + framed + encoded
    head += struct.pack("<I", crc32(head))
    return b"".join((head, *(blob.data for _, blob in placed))), directory


def _in_file_order(groups: Sequence[EncodedGroup]) -> Iterable[tuple[int, Blob]]:
    for name in spec.LOCATE:
        for g, group in enumerate(groups):
            yield from ((g, blob) for blob in group.blobs if blob.column == name)
    for g, group in enumerate(groups):
        yield from ((g, blob) for blob in group.blobs if blob.column not in spec.LOCATE)


def head_bytes_of(framed_and_directory: int) -> int:
    """Size of a head whose context and directory have this many bytes together."""
    return _HEAD.size + framed_and_directory + 4


@dataclass(frozen=True, slots=True)
class Head:
    """A parsed chunk head: ``head_bytes`` is where the first blob begins."""

    context: dict[str, Any]
    directory: Directory
    directory_bytes: bytes
    head_bytes: int


def parse_head(data: bytes | memoryview) -> Head:
    """Parse the head of a chunk from the bytes it begins with.

    Raises
    ------
    CorruptDataError
        ``bad-chunk``: not a chunk, cut short, a wrong checksum; ``newer-format``.
    """
    data = memoryview(data)
    if len(data) < _HEAD.size or bytes(data[:8]) != spec.CHUNK_MAGIC:
        raise corrupt_chunk("this is not a bams3 chunk")
    _, major, minor, context_bytes, directory_bytes = _HEAD.unpack_from(data)
    check_version((major, minor), spec.VERSION, "store", "alignments")
    end = head_bytes_of(context_bytes + directory_bytes)
    if end > len(data):
        raise corrupt_chunk("the chunk's head is cut short")
    if crc32(data[: end - 4]) != struct.unpack_from("<I", data, end - 4)[0]:
        raise corrupt_chunk(f"the chunk's head (bytes 0-{end}) does not match its checksum")
    split_at = _HEAD.size + context_bytes
    streams = unpack_frames(data[_HEAD.size : split_at], spec.MAX_INDEX_RANGE_BYTES)
    directory_data = bytes(data[split_at : end - 4])
    return Head(_parse_context(streams), parse_directory(directory_data), directory_data, end)


def _parse_context(streams: list[Array]) -> dict[str, Any]:
    try:
        context = json.loads(b"".join(stream.tobytes() for stream in streams))
    except (ValueError, RecursionError) as err:
        raise corrupt_chunk(f"the chunk's context is not JSON: {err}") from err
    if not isinstance(context, dict):
        raise corrupt_chunk("the chunk's context is not an object")
    return context
