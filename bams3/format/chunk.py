"""A chunk: row groups of encoded columns, their directory, and what is needed to read it alone.

    magic | version | sizes | context | directory | crc32 | locate columns, column by column
    | the other columns, row group by row group

``encode_group`` and ``decode_columns`` turn plain columns into blobs and back; ``build_chunk`` and
``parse_head`` lay blobs out and find them again. The index holds copies of directories, so a
reader that has the index never reads a chunk's head.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import kernels
from ..columns import INT_COLUMNS, Array, Columns, Strings, tag_width
from ..errors import CorruptDataError
from . import codecs, spec
from .codecs import CODEC_ID, Compression
from .directory import BLOB, EXTENT, GROUP, Directory, corrupt_chunk, crc32, parse_directory

__all__ = [
    "BLOB",
    "EXTENT",
    "GROUP",
    "Blob",
    "Directory",
    "EncodedGroup",
    "Head",
    "build_chunk",
    "check_version",
    "corrupt_chunk",
    "crc32",
    "decode_columns",
    "encode_group",
    "group_summary",
    "head_bytes_of",
    "needed",
    "parse_directory",
    "parse_head",
]

_HEAD = struct.Struct("<8sHHII")
#: What the columns of a row group may take beyond a multiple of its records: entries of dictionaries.
_SPARE_BYTES = 1 << 20


# ---- encoding ----


@dataclass(frozen=True, slots=True)
class Blob:
    """One column of one row group, encoded."""

    column: str
    codec: str
    data: bytes


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """A row group ready for a chunk: its blobs, and what the index says of it.

    ``extents`` is an EXTENT array, one entry a contig; ``totals`` (contigs, 34) goes with it.
    """

    records: int
    decoded_bytes: int
    blobs: tuple[Blob, ...]
    extents: Array
    totals: Array


def encode_group(columns: Columns, compression: Compression) -> EncodedGroup:
    """Encode complete plain columns.

    Raises
    ------
    KernelError
        Where a column contradicts another; columns from ``kernels.split`` never do.
    """
    blobs = [_encode_column(column.name, columns, compression) for column in spec.COLUMNS]
    blobs += [_encode_tag(name, columns, compression) for name in sorted(columns.tags)]
    extents, totals = group_summary(columns)
    return EncodedGroup(columns.n, columns.decoded_bytes, tuple(blobs), extents, totals)


def group_summary(columns: Columns) -> tuple[Array, Array]:
    """EXTENT array and totals (contigs, 34) of a row group, from its plain columns."""
    assert columns.contig is not None
    n_runs = int(np.count_nonzero(np.diff(columns.contig))) + 1
    contig, records, start, end, totals = kernels.summarise(columns, n_runs)
    extents = np.empty(contig.size, EXTENT)
    extents["contig"], extents["records"], extents["start"], extents["end"] = contig, records, start, end
    return extents, totals


def _encode_column(name: str, columns: Columns, compression: Compression) -> Blob:
    value = getattr(columns, name)
    if name == "layout":
        value = (columns.layout, columns.layouts)
    if name == "bases":
        return _encode_bases(columns, compression)
    width = 4 if name == "cigar" else np.dtype(INT_COLUMNS.get(name, np.uint8)).itemsize
    return _blob(name, spec.COLUMN[name].codecs[0], value, width, columns, compression)


def _blob(name: str, codec: str, value: Any, width: int, columns: Columns, compression: Compression) -> Blob:
    streams = codecs.codec_of(codec, name).encode(value, width, columns)
    return Blob(name, codec, codecs.pack_frames(streams, compression))


def _encode_bases(columns: Columns, compression: Compression) -> Blob:
    """The smaller of BAM's four bits, whose repeats zstd finds in deep data, and two bits."""
    plain = _blob("bases", "bytes", columns.bases, 1, columns, compression)
    assert columns.bases is not None
    assert columns.seq_len is not None
    packed_bytes, exceptions, padded = kernels.measure_bases(columns.bases, columns.seq_len)
    if padded or 5 * exceptions > packed_bytes:
        return plain
    packed = _blob("bases", "bases2", columns.bases, 1, columns, compression)
    return min(plain, packed, key=lambda blob: len(blob.data))


def _encode_tag(name: str, columns: Columns, compression: Compression) -> Blob:
    value = columns.tags[name]
    codec = "planes"
    if isinstance(value, Strings):
        codec = "dictionary" if name[3] != "B" and codecs.Dictionary.suits(value) else "strings"
    return _blob(spec.TAG_PREFIX + name, codec, value, tag_width(name), columns, compression)


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
    framed = codecs.pack_frame(text, Compression())
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
    check_version(major, minor)
    end = head_bytes_of(context_bytes + directory_bytes)
    if end > len(data):
        raise corrupt_chunk("the chunk's head is cut short")
    if crc32(data[: end - 4]) != struct.unpack_from("<I", data, end - 4)[0]:
        raise corrupt_chunk(f"the chunk's head (bytes 0-{end}) does not match its checksum")
    split_at = _HEAD.size + context_bytes
    streams = codecs.unpack_frames(data[_HEAD.size : split_at], spec.MAX_INDEX_RANGE_BYTES)
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


def check_version(major: int, minor: int) -> None:
    """Refuse a format that this version cannot read; 0.x formats are read by the same minor only."""
    if (major, minor) <= spec.VERSION and (major or minor == spec.VERSION[1]):
        return
    ours = ".".join(map(str, spec.VERSION))
    raise CorruptDataError(
        f"the store has format {major}.{minor}, this version reads {ours}",
        kind="newer-format" if (major, minor) > spec.VERSION else "older-format",
        hint="install a bams3 that reads it, or convert the alignments again",
    )


# ---- decoding ----


def needed(columns: Iterable[str]) -> set[str]:
    """The named columns and those that they need, theirs included."""
    out: set[str] = set()
    waiting = list(columns)
    while waiting:
        name = waiting.pop()
        if name not in out:
            out.add(name)
            waiting += spec.COLUMN[name].needs if name in spec.COLUMN else ()
    return out


_ORDER = {column.name: i for i, column in enumerate(spec.COLUMNS)}


def decode_columns(
    records: int, decoded_bytes: int, blobs: Iterable[tuple[str, int, Any]], into: Columns | None = None
) -> Columns:
    """Plain columns from (column name, codec number, bytes) of one row group.

    Columns that others need must be among ``blobs``, or decoded before in ``into``.

    Raises
    ------
    CorruptDataError
        ``bad-column``, naming the column.
    """
    columns = Columns(records, decoded_bytes) if into is None else into
    for name, codec, data in sorted(blobs, key=lambda blob: _ORDER.get(blob[0], len(_ORDER))):
        try:
            _decode_column(columns, name, codec, data)
        except CorruptDataError as err:
            raise CorruptDataError(f"column {name}: {err}", kind="bad-column") from err
    return columns


def _decode_column(columns: Columns, name: str, codec: int, data: Any) -> None:
    tag = name.removeprefix(spec.TAG_PREFIX) if name.startswith(spec.TAG_PREFIX) else ""
    allowed = _tag_codecs(tag) if tag else spec.COLUMN[name].codecs if name in spec.COLUMN else ()
    codec_name = spec.CODECS.get(codec, "")
    if codec_name not in allowed:
        raise codecs.corrupt(f"unknown column or codec {codec}")
    dtype = np.dtype(INT_COLUMNS.get(name, np.uint8))
    width = tag_width(tag) if tag else 4 if name == "cigar" else dtype.itemsize
    _require(columns, spec.COLUMN[name].needs if not tag else ())
    # No column takes twice the bytes of the records, nor all of them together six times as many.
    room_bytes = 6 * columns.decoded_bytes + _SPARE_BYTES - columns.taken_bytes
    streams = codecs.unpack_frames(data, min(2 * columns.decoded_bytes + 4096, room_bytes))
    value = codecs.codec_of(codec_name, name).decode(streams, width, columns)
    columns.taken_bytes += sum(stream.size for stream in streams) + _size_bytes(value)
    if tag:
        columns.tags[tag] = value
    elif name == "layout":
        columns.layout, columns.layouts = value
    else:
        setattr(columns, name, value.view(dtype) if isinstance(value, np.ndarray) else value)
    _check_length(columns, name, value, bool(tag))


def _require(columns: Columns, names: Iterable[str]) -> None:
    missing = [name for name in names if getattr(columns, name) is None]
    if missing:
        raise codecs.corrupt(f"it needs the column {missing[0]}, which is missing")


def _size_bytes(value: Any) -> int:
    """Memory that a decoded column takes."""
    if isinstance(value, Strings):
        return int(value.lengths.nbytes + value.data.nbytes)
    return int(value.nbytes) if isinstance(value, np.ndarray) else 0


def _tag_codecs(tag: str) -> tuple[str, ...]:
    if len(tag) < 4 or tag[2] != ":":
        return ()
    return spec.TAG_CODECS.get(tag[3], spec.TAG_CODECS["A"])


def _check_length(columns: Columns, name: str, value: Any, tag: bool) -> None:
    """A column of one value a record must have as many."""
    if tag or name in ("bases", "quals"):
        return
    if name == "layout":
        n = value[0].size
    else:
        n = value.lengths.size if isinstance(value, Strings) else value.size
    if n != columns.n:
        raise codecs.corrupt(f"{n} values for {columns.n} records")
