"""Where blocks and records of a BAM begin, found from anywhere in the file.

A block is believed if it and those behind it can be inflated. A record is believed if it and up to 31
records behind it are whole, of contigs that exist, in order, with printable names, and can be split into
columns. What is found is a function of the bytes from the place on, so all who look find the same. Bytes
that were made to look like records can still mislead: who cuts here must check that both sides meet.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from . import kernels
from .bam import MAX_BLOCK_DATA_BYTES, InflatedBatch, inflate, read_batches
from .columns import Array
from .errors import CorruptDataError

_BLOCK_START = b"\x1f\x8b\x08\x04"
_FIXED = struct.Struct("<iiiBBHHHiii")  # block_size to next_pos: what tells records from other bytes
_FIXED_BYTES = 36  # up to the name
_PRINTABLE = frozenset(range(32, 127))
_READ_BYTES = 256 << 10
#: Where a block is looked for: two whole blocks follow the first that begins here, or the file ends.
BLOCK_SEARCH_BYTES = 3 * MAX_BLOCK_DATA_BYTES
#: Records that are looked at; fewer where they are long, but two.
_RECORDS, _RECORDS_BYTES = 32, 256 << 10
#: Longer records are not believed; no record is looked for further than this.
_RECORD_BYTES, _SEARCH_BYTES = 32 << 20, 64 << 20
#: Places that are looked at together: a dozen arrays of them are in memory.
_PLACES = 128 << 10


class Inflated:
    """Inflated bytes of a file from a block on: as many as were asked for, less those that were dropped.

    Raises
    ------
    CorruptDataError
        From ``grow``: what ``read_batches`` and ``inflate`` say.
    """

    def __init__(self, file: BinaryIO, name: str, block_offset: int) -> None:
        file.seek(block_offset)
        self._batches = read_batches(file, _READ_BYTES, block_offset, source=name)
        self._inflated: list[tuple[int, InflatedBatch]] = []  # with their places in the stream
        self._start = 0  # of ``data`` in the stream
        self.data = b""

    def grow(self) -> bool:
        """Read on; false at the end of the file."""
        batch = next(self._batches, None)
        if batch is None:
            return False
        fresh = inflate(batch)
        self._inflated.append((self._start + len(self.data), fresh))
        self.data += fresh.data
        return True

    def reach(self, end: int) -> bool:
        """Read on until ``data`` has so many bytes; false if the file ends before."""
        while len(self.data) < end:
            if not self.grow():
                return False
        return True

    def drop(self, n: int) -> None:
        """Forget the first bytes of ``data``."""
        self.data, self._start = self.data[n:], self._start + n
        while len(self._inflated) > 1 and self._inflated[1][0] <= self._start:
            self._inflated.pop(0)

    def virtual_offset(self, at: int) -> int:
        """Of a byte of ``data``: its block and its place there, never the end of the block before."""
        place = self._start + at
        start, batch = next(one for one in reversed(self._inflated) if one[0] <= place)
        return batch.virtual_offset(place - start)


def find_block(file: BinaryIO, name: str, offset: int) -> int | None:
    """Byte offset of the first BGZF block that begins at ``offset`` or up to 64 KiB behind it, or None."""
    file.seek(offset)
    data = b"".join(iter(lambda: file.read(offset + BLOCK_SEARCH_BYTES - file.tell()), b""))
    at = data.find(_BLOCK_START)
    while 0 <= at < MAX_BLOCK_DATA_BYTES:
        if _is_block(data[at:], name):
            return offset + at
        at = data.find(_BLOCK_START, at + 1)
    return None


def _is_block(data: bytes, name: str) -> bool:
    """Whether blocks follow each other from the first byte on, as far as the data goes."""
    try:
        batch = next(read_batches(io.BytesIO(data), source=name), None)
        return batch is not None and bool(inflate(batch))
    except CorruptDataError:
        return False


def find_record(stream: Inflated, n_contigs: int) -> int | None:
    """Place in ``stream.data`` of the first record; None if none is found in 64 MB, or in the file."""
    at = 0
    while at < _SEARCH_BYTES and stream.reach(at + _FIXED_BYTES):
        n = min(len(stream.data) - _FIXED_BYTES + 1 - at, _PLACES)
        for place in _candidates(stream.data, at, n, n_contigs):
            if is_record(stream, place, n_contigs):
                return place
        at += n
    return None


def _candidates(data: bytes, at: int, n: int, n_contigs: int) -> list[int]:
    """Places, of ``n`` from ``at`` on, where the fixed fields of a record may stand."""

    def field(offset: int, dtype: str) -> Array:
        values: Array = np.ndarray((n,), dtype, data, at + offset, (1,))
        return values.astype(np.int64)

    size_bytes, seq = field(0, "<i4"), field(20, "<i4")
    need = 32 + field(12, "u1") + 4 * field(16, "<u2") + (seq + 1) // 2 + seq
    may_be = (seq >= 0) & (need <= size_bytes) & (size_bytes <= _RECORD_BYTES)
    for contig, pos in ((4, 8), (24, 28)):
        number = field(contig, "<i4")
        may_be &= (number >= -1) & (number < n_contigs) & (field(pos, "<i4") >= -1)
    places: list[int] = (np.flatnonzero(may_be) + at).tolist()
    return places


def is_record(stream: Inflated, at: int, n_contigs: int) -> bool:
    """Whether a record begins at a place of ``stream.data``, as far as it and those behind it tell."""
    n, end = 0, at
    for end in _ends(stream, at, n_contigs):
        n += 1
        if n == _RECORDS or (n > 1 and end - at >= _RECORDS_BYTES):
            break
    else:
        if n == 0 or stream.reach(end + 1):  # what follows is no record, and not the end of the file
            return False
    try:
        kernels.split(np.frombuffer(stream.data, np.uint8)[at:end], n)
    except kernels.KernelError:
        return False
    return True


def _ends(stream: Inflated, at: int, n_contigs: int) -> Iterator[int]:
    """Ends of the records from ``at`` on, as long as there are any."""
    last = (-1, -1)
    while stream.reach(at + _FIXED_BYTES):
        fields = _FIXED.unpack_from(stream.data, at)
        size_bytes, contig, pos, name_bytes, _, _, n_cigar, _, seq, mate, mate_pos = fields
        place = (contig, pos) if contig >= 0 else (n_contigs, 0)
        need = 32 + name_bytes + 4 * n_cigar + (seq + 1) // 2 + seq
        fits = seq >= 0 and need <= size_bytes <= _RECORD_BYTES
        known = max(contig, mate) < n_contigs and min(contig, pos, mate, mate_pos) >= -1
        if not fits or not known or place < last or not stream.reach(at + 4 + size_bytes):
            return
        name = stream.data[at + _FIXED_BYTES : at + _FIXED_BYTES + name_bytes - 1]
        if not name or stream.data[at + _FIXED_BYTES + name_bytes - 1] or not _PRINTABLE.issuperset(name):
            return
        at, last = at + 4 + size_bytes, place
        yield at
