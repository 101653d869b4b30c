"""The directory of a chunk: its row groups, their extents, and the blobs that hold their columns.

    counts | column names | GROUP rows | EXTENT rows | BLOB rows

It stands in the head of a chunk, and the index holds a copy.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from isal import isal_zlib

from ..columns import Array
from ..errors import CorruptDataError
from . import spec

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
_COUNTS = struct.Struct("<HIII")


def crc32(data: Any) -> int:
    """CRC-32 (ISO-HDLC, as in gzip)."""
    return int(isal_zlib.crc32(data))


def content_hash(data: bytes | memoryview) -> int:
    """The 8 hex digits of an object's name: the first 32 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(data).digest()[:4], "big")


def corrupt_chunk(message: str) -> CorruptDataError:
    return CorruptDataError(message, kind="bad-chunk")


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
    """Whether every row group has each column that is not optional, and none twice."""
    places = d.blobs["group"].astype(np.int64) * len(d.columns) + d.blobs["column"]
    required = {column.name for column in spec.COLUMNS if not column.optional}
    numbers = [number for number, name in enumerate(d.columns) if name in required]
    n_required = int(np.count_nonzero(np.isin(d.blobs["column"], numbers)))
    return (
        len(set(d.columns)) == len(d.columns)
        and np.unique(places).size == places.size
        and n_required == d.groups.size * len(required)
    )
