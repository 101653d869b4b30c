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
from isal import isal_zlib

from .. import kernels
from ..columns import INT_COLUMNS, Array, Columns, Strings, tag_width
from ..errors import CorruptDataError
from . import codecs, spec
from .codecs import CODEC_ID, Compression

GROUP = np.dtype([("records", "<u4"), ("decoded_bytes", "<u4"), ("n_extents", "<u4")])
EXTENT = np.dtype([("contig", "<i4"), ("records", "<u4"), ("start", "<i8"), ("end", "<i8")])
BLOB = np.dtype(
    [
        ("group", "<u2"),
        ("column", "<u2"),
        ("codec", "u1"),
        ("reserved", "u1"),
        ("bytes", "<u4"),
        ("crc32", "<u4"),
    ]
)
_HEAD = struct.Struct("<8sHHII")
_COUNTS = struct.Struct("<HIII")
#: What the columns of a row group may take beyond a multiple of its records: entries of dictionaries.
_SPARE_BYTES = 1 << 20


def crc32(data: Any) -> int:
    """CRC-32 (ISO-HDLC, as in gzip)."""
    return int(isal_zlib.crc32(data))


def corrupt_chunk(message: str) -> CorruptDataError:
    return CorruptDataError(message, kind="bad-chunk")


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


# ---- the directory ----


@dataclass(frozen=True, slots=True)
class Directory:
    """What a chunk holds and where: parsed from its head, or from the index.

    Attributes
    ----------
    groups, extents, blobs
        Structured arrays GROUP, EXTENT (in group order) and BLOB (in file order).
    columns
        Names that ``blobs["column"]`` numbers.
    """

    columns: tuple[str, ...]
    groups: Array
    extents: Array
    blobs: Array

    def encode(self) -> bytes:
        names = b"".join(bytes((len(name.encode()),)) + name.encode() for name in self.columns)
        counts = _COUNTS.pack(len(self.columns), self.groups.size, self.extents.size, self.blobs.size)
        return b"".join((counts, names, self.groups.tobytes(), self.extents.tobytes(), self.blobs.tobytes()))

    def offsets(self, head_bytes: int) -> Array:
        """Byte offset of every blob, and the chunk's size last (int64)."""
        out = np.empty(self.blobs.size + 1, np.int64)
        out[0] = head_bytes
        np.cumsum(self.blobs["bytes"], out=out[1:])
        out[1:] += head_bytes
        return out


def parse_directory(data: bytes | memoryview) -> Directory:
    """Inverse of ``Directory.encode``; every count is checked against the bytes that are there.

    Raises
    ------
    CorruptDataError
        ``bad-chunk``.
    """
    data = memoryview(data)
    if len(data) < _COUNTS.size:
        raise corrupt_chunk("a chunk's directory is cut short")
    n_columns, n_groups, n_extents, n_blobs = _COUNTS.unpack_from(data)
    at, names = _COUNTS.size, []
    for _ in range(n_columns):
        end = at + 1 + (data[at] if at < len(data) else 0)
        names.append(bytes(data[at + 1 : end]).decode("utf-8", "replace"))
        at = end
    need = n_groups * GROUP.itemsize + n_extents * EXTENT.itemsize + n_blobs * BLOB.itemsize
    if at + need != len(data):
        raise corrupt_chunk("a chunk's directory does not add up")
    groups = np.frombuffer(data, GROUP, n_groups, at)
    extents = np.frombuffer(data, EXTENT, n_extents, at + groups.nbytes)
    blobs = np.frombuffer(data, BLOB, n_blobs, at + groups.nbytes + extents.nbytes)
    directory = Directory(tuple(names), groups, extents, blobs)
    _check_directory(directory)
    return directory


def _check_directory(d: Directory) -> None:
    many = d.groups["records"] > 1
    sane = (
        (d.blobs["group"] < d.groups.size).all()
        and (d.blobs["column"] < len(d.columns)).all()
        and int(d.groups["n_extents"].sum(dtype=np.uint64)) == d.extents.size
        and (d.groups["records"] > 0).all()
        and (d.groups["records"] <= spec.GROUP_RECORDS).all()
        and (d.groups["decoded_bytes"][many] <= spec.GROUP_BYTES).all()
        and (d.groups["decoded_bytes"] < (1 << 31) + 4).all()
        and (d.groups["decoded_bytes"] >= 36 * d.groups["records"].astype(np.uint64)).all()
    )
    if not sane or not _has_each_column_once(d):
        raise corrupt_chunk("a chunk's directory contradicts itself")


def _has_each_column_once(d: Directory) -> bool:
    """Whether every row group has each column of the specification, and none twice."""
    places = d.blobs["group"].astype(np.int64) * len(d.columns) + d.blobs["column"]
    plain = [number for number, name in enumerate(d.columns) if name in spec.COLUMN]
    n_plain = int(np.count_nonzero(np.isin(d.blobs["column"], plain)))
    return (
        len(set(d.columns)) == len(d.columns)
        and np.unique(places).size == places.size
        and n_plain == d.groups.size * len(spec.COLUMNS)
    )


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
