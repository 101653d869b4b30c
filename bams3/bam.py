"""BGZF blocks and the BAM header: the hot path into and out of BAM, without pysam.

Reading is three steps, so that each can run where it is cheapest: ``read_batches`` walks block headers in
one thread and decompresses nothing, ``inflate`` turns a batch into bytes in any thread (isal releases the
GIL), and ``parse_header`` reads the header once enough has arrived. Positions in a BAM are BGZF virtual
offsets: the file offset of a block, shifted by 16 bits, and the place inside its decompressed bytes.
"""

import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from isal import isal_zlib

from .errors import CorruptDataError, InputError
from .regions import ContigTable

BAM_MAGIC = b"BAM\1"
BLOCK_DATA_BYTES = 65_280
"""What ``compress_blocks`` puts into one block, as htslib does: stored, it still fits into 64 KiB."""
MAX_BLOCK_DATA_BYTES = 65_536
BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends every whole BGZF file."""

_GZIP_MAGIC = b"\x1f\x8b\x08\x04"  # gzip, deflate, with an extra field and nothing else
_USUAL_EXTRA = b"\x06\x00BC\x02\x00"  # six bytes of extra field: one subfield, the block's size
_PLAIN_GZIP = "compressed by gzip, not by bgzip"
_BLOCK_HEADER = _GZIP_MAGIC + b"\0\0\0\0\0\xff" + _USUAL_EXTRA
_HEADER_BYTES = 18
_TRAILER_BYTES = 8
_EMPTY_BLOCK_BYTES = 28
_BATCH_BLOCKS = 64  # 4 MB inflated at most, however well a file is compressed
_UINT16, _INT32, _UINT32, _TRAILER = (struct.Struct(f"<{code}") for code in ("H", "i", "I", "II"))
_SMALLEST_CONTIG_BYTES = 9


@dataclass(frozen=True)
class BamHeader:
    """The header of a BAM: its text, verbatim, and its contig table, which may differ from the @SQ lines."""

    text: bytes
    contigs: ContigTable

    def encode(self) -> bytes:
        """Header bytes of a decompressed BAM: magic, text and contig table."""
        names = [name.encode("utf-8", "surrogateescape") + b"\0" for name in self.contigs.names]
        parts = [BAM_MAGIC, _UINT32.pack(len(self.text)), self.text, _UINT32.pack(len(names))]
        for name, length_bp in zip(names, self.contigs.lengths, strict=True):
            parts += [_UINT32.pack(len(name)), name, _UINT32.pack(length_bp)]
        return b"".join(parts)


def parse_header(
    data: bytes | bytearray | memoryview, *, source: str = "BAM header"
) -> tuple[BamHeader, int] | None:
    """The header at the start of a decompressed BAM, and where the first record starts.

    Parameters
    ----------
    data
        The first bytes of the decompressed BAM, as many as have arrived.
    source
        The file's name, for messages.

    Returns
    -------
    Header and byte offset of the first record, or None if more bytes are needed. Nothing is reserved for a
    length that a field declares; a caller whose file ends while this is None has a truncated header.

    Raises
    ------
    InputError
        kind ``not-alignments`` if the bytes are not a BAM's.
    CorruptDataError
        kind ``bad-bam-header`` if a length is negative or a contig's name is not one NUL-terminated string.
    """
    with memoryview(data) as view:  # released at once: the caller may be growing a bytearray
        magic = bytes(view[: len(BAM_MAGIC)])
        if not BAM_MAGIC.startswith(magic):
            raise InputError(f"{source}: not a BAM", kind="not-alignments")
        text = _sized_field(view, 4, "the header text", source) if magic == BAM_MAGIC else None
        contigs = _parse_contigs(view, text[1], source) if text else None
        if text is None or contigs is None:
            return None
        return BamHeader(bytes(view[text[0] : text[1]]), contigs[0]), contigs[1]


def _parse_contigs(view: memoryview, at: int, source: str) -> tuple[ContigTable, int] | None:
    if len(view) < at + 4:
        return None
    n_contigs = _count(view, at, "the number of contigs", source)
    at += 4
    if n_contigs * _SMALLEST_CONTIG_BYTES > len(view) - at:
        return None
    names: list[str] = []
    lengths: list[int] = []
    for _ in range(n_contigs):
        field = _sized_field(view, at, "a contig's name", source)
        if field is None or len(view) < field[1] + 4:
            return None
        name = bytes(view[field[0] : field[1]])
        if not name or name.find(0) != len(name) - 1:
            raise _bad_header(f"the name of contig {len(names)} is not NUL-terminated", at, source)
        names.append(name[:-1].decode("utf-8", "surrogateescape"))
        lengths.append(_UINT32.unpack_from(view, field[1])[0])
        at = field[1] + 4
    return ContigTable(tuple(names), tuple(lengths)), at


def _sized_field(view: memoryview, at: int, what: str, source: str) -> tuple[int, int] | None:
    """Start and end of the bytes behind an int32 length, or None if they have not all arrived."""
    if len(view) < at + 4:
        return None
    end = at + 4 + _count(view, at, f"the length of {what}", source)
    return (at + 4, end) if end <= len(view) else None


def _count(view: memoryview, at: int, what: str, source: str) -> int:
    value: int = _INT32.unpack_from(view, at)[0]
    if value < 0:
        raise _bad_header(f"{what} is negative ({value})", at, source)
    return value


def _bad_header(problem: str, at: int, source: str) -> CorruptDataError:
    return CorruptDataError(f"{source}: {problem}, byte {at} of the BAM header", kind="bad-bam-header")


class BgzfBatch(NamedTuple):
    """A run of whole compressed blocks."""

    source: str
    """Name of the file, for messages."""
    offset: int
    """Byte offset in the file of the first block."""
    blocks: bytes
    """The blocks, end to end."""
    starts: list[int]
    """Where each block starts in ``blocks``."""

    @property
    def end_offset(self) -> int:
        """Byte offset in the file of the first byte behind this batch."""
        return self.offset + len(self.blocks)

    @property
    def ends_with_eof_block(self) -> bool:
        """Whether the last block is the end-of-file marker; false for a file's last batch: perhaps cut."""
        return self.blocks.endswith(BGZF_EOF)


class InflatedBatch(NamedTuple):
    """The decompressed bytes of a batch, with the way back to virtual offsets."""

    data: bytes
    starts: list[int]
    """Where each block's bytes start in ``data``."""
    offsets: list[int]
    """Byte offset in the file of each block."""
    end_offset: int
    """Byte offset in the file of the first byte behind the batch."""

    def virtual_offset(self, at: int) -> int:
        """BGZF virtual offset of byte ``at`` of ``data``; ``len(data)`` is the start of the next batch."""
        if at >= len(self.data):
            return self.end_offset << 16
        block = bisect_right(self.starts, at) - 1
        return self.offsets[block] << 16 | (at - self.starts[block])


def is_bgzf(head: bytes) -> bool:
    """Whether a file that starts with these bytes (18 are enough for usual files) is compressed by blocks."""
    try:
        return _block_size_bytes(head, 0) is not None
    except ValueError:
        return False


def read_batches(
    file: BinaryIO, batch_bytes: int = 1 << 20, start_offset: int = 0, *, source: str | None = None
) -> Iterator[BgzfBatch]:
    """Runs of whole BGZF blocks, in file order, compressed as they are.

    Parameters
    ----------
    file
        Anything with ``read``: a file, a pipe, standard input. It is read from where it stands, never seeked.
    batch_bytes
        Compressed bytes of a batch, at most, but for one block; it has at most 64 blocks, 4 MB decompressed.
    start_offset
        Byte offset in the whole file at which ``file`` stands; must be the start of a block.
    source
        Name for messages; default is the file's own.

    Raises
    ------
    CorruptDataError
        kind ``not-bgzf`` if the first bytes are not a BGZF block, ``bad-bgzf-block`` if those of a later
        block are not, ``truncated-file`` if the file ends inside a block; each with the byte offset.

    Notes
    -----
    Looks at 18 bytes of each block. Holds one batch and the next.
    """
    source = source or str(getattr(file, "name", "the stream"))
    tail, offset = b"", start_offset
    while True:
        fresh = _read_fully(file, max(batch_bytes - len(tail), MAX_BLOCK_DATA_BYTES))
        if not fresh:
            break
        data = tail + fresh
        starts, used = _walk(data, offset, start_offset, source)
        for first in range(0, len(starts), _BATCH_BLOCKS):
            mine = starts[first : first + _BATCH_BLOCKS]
            end = starts[first + _BATCH_BLOCKS] if first + _BATCH_BLOCKS < len(starts) else used
            blocks = data[mine[0] : end]
            yield BgzfBatch(source, offset + mine[0], blocks, [start - mine[0] for start in mine])
        tail, offset = data[used:], offset + used
    if tail:
        raise _ended_inside_block(tail, offset, start_offset, source)


def _read_fully(file: BinaryIO, size_bytes: int) -> bytes:
    first = file.read(size_bytes)
    if len(first) == size_bytes or not first:
        return first
    parts, missing = [first], size_bytes - len(first)
    while missing and (part := file.read(missing)):  # a pipe gives less than was asked for
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _walk(data: bytes, offset: int, first_offset: int, source: str) -> tuple[list[int], int]:
    """Starts of the whole blocks in ``data``, and where the last of them ends."""
    starts, at, end = [], 0, len(data)
    try:
        while (size_bytes := _block_size_bytes(data, at)) is not None and at + size_bytes <= end:
            starts.append(at)
            at += size_bytes
    except ValueError as err:
        raise _bad_block(str(err), offset + at, first_offset, source) from None
    return starts, at


def _block_size_bytes(data: bytes, at: int) -> int | None:
    """Size of the block at ``at``, or None if its header is not all there; ValueError if it is no block."""
    head = data[at : at + _HEADER_BYTES]
    if len(head) == _HEADER_BYTES and head.startswith(_GZIP_MAGIC) and head[10:16] == _USUAL_EXTRA:
        size_bytes = (head[16] | head[17] << 8) + 1
    else:
        found = _unusual_block_size_bytes(data, at)
        if found is None:
            return None
        size_bytes = found
    if size_bytes < 12 + (head[10] | head[11] << 8) + _TRAILER_BYTES:
        raise ValueError(f"a block of {size_bytes} bytes is smaller than its own header")
    return size_bytes


def _unusual_block_size_bytes(data: bytes, at: int) -> int | None:
    """Size of a block whose extra field holds other subfields too."""
    head = data[at : at + 12]
    if not _GZIP_MAGIC.startswith(head[:4]) and not (head[:3] == _GZIP_MAGIC[:3] and head[3] & 4):
        raise ValueError(_PLAIN_GZIP if head[:2] == _GZIP_MAGIC[:2] else "no BGZF block")
    if len(head) < 12:
        return None
    extra = data[at + 12 : at + 12 + _UINT16.unpack_from(head, 10)[0]]
    field = 0
    while field + 4 <= len(extra):
        length = _UINT16.unpack_from(extra, field + 2)[0]
        if extra[field : field + 2] == b"BC" and length == 2 and field + 6 <= len(extra):
            return int(_UINT16.unpack_from(extra, field + 4)[0]) + 1
        field += 4 + length
    if len(extra) < _UINT16.unpack_from(head, 10)[0]:
        return None
    raise ValueError(_PLAIN_GZIP)


def _bad_block(problem: str, offset: int, first_offset: int, source: str) -> CorruptDataError:
    kind = "not-bgzf" if offset == first_offset else "bad-bgzf-block"
    return CorruptDataError(f"{source}: {problem}, at byte {offset}", kind=kind)


def _ended_inside_block(tail: bytes, offset: int, first_offset: int, source: str) -> CorruptDataError:
    if offset == first_offset and len(tail) < _HEADER_BYTES:
        return _bad_block("too short to be a BGZF file", offset, first_offset, source)
    return CorruptDataError(
        f"{source}: the file ends at byte {offset + len(tail)}, inside the block that starts at {offset}",
        kind="truncated-file",
        hint="the file was cut short: copy or make it again",
    )


def inflate(batch: BgzfBatch) -> InflatedBatch:
    """The decompressed bytes of a batch, every block checked against its CRC32 and length.

    Raises
    ------
    CorruptDataError
        kind ``bad-bgzf-block`` if a block cannot be decompressed or declares more than 64 KiB,
        ``bad-bgzf-crc`` if its bytes are not those that were written; with the block's byte offset.

    Notes
    -----
    Runs without the GIL but for some microseconds a block: about 1 GB of decompressed bytes a second and
    core. Holds the result twice for a moment. A block that lies about its size costs at most 128 MB.
    """
    view, parts, starts, at = memoryview(batch.blocks), [], [], 0
    ends = [*batch.starts[1:], len(batch.blocks)]
    for start, end in zip(batch.starts, ends, strict=True):
        part = _inflate_block(view[start:end], batch.offset + start, batch.source)
        parts.append(part)
        starts.append(at)
        at += len(part)
    offsets = [batch.offset + start for start in batch.starts]
    return InflatedBatch(b"".join(parts), starts, offsets, batch.end_offset)


def _inflate_block(block: memoryview, offset: int, source: str) -> bytes:
    crc, size_bytes = _TRAILER.unpack_from(block, len(block) - _TRAILER_BYTES)
    if size_bytes > MAX_BLOCK_DATA_BYTES:
        raise _damaged("bad-bgzf-block", f"declares {size_bytes} bytes, more than 64 KiB", offset, source)
    payload = block[12 + (block[10] | block[11] << 8) : len(block) - _TRAILER_BYTES]
    try:
        # one byte more than needed: a full buffer would be doubled to look for more
        data = isal_zlib.decompress(payload, -zlib.MAX_WBITS, size_bytes + 1)
    except isal_zlib.error as err:  # type: ignore[misc]  # isal's stub declares its exceptions as instances
        raise _damaged("bad-bgzf-block", f"cannot be decompressed ({err})", offset, source) from None
    if len(data) != size_bytes or isal_zlib.crc32(data) != crc:
        raise _damaged("bad-bgzf-crc", "fails its checksum", offset, source)
    return data


def _damaged(kind: str, problem: str, offset: int, source: str) -> CorruptDataError:
    return CorruptDataError(f"{source}: the block at byte {offset} {problem}", kind=kind)


def compress_blocks(data: bytes | bytearray | memoryview, level: int) -> bytes:
    """BGZF blocks of 65,280 bytes each (the last one smaller) that hold these bytes; no end-of-file block.

    Parameters
    ----------
    level
        0: stored, not compressed. 1 to 3: isal's levels, 9 to 15 times as fast as zlib's level 6, for 12 to
        15 % more bytes. 4 to 9: zlib's levels.

    Raises
    ------
    InputError
        kind ``bad-level`` if ``level`` is not one of 0 to 9.
    """
    if not 0 <= level <= 9:
        raise InputError(f"compression level {level} is not one of 0 to 9", kind="bad-level")
    view = memoryview(data).cast("B")
    parts: list[bytes | memoryview] = []
    for start in range(0, len(view), BLOCK_DATA_BYTES):
        part = view[start : start + BLOCK_DATA_BYTES]
        payload = _deflate(part, level)
        size_bytes = _HEADER_BYTES + len(payload) + _TRAILER_BYTES
        parts += [_BLOCK_HEADER, _UINT16.pack(size_bytes - 1), payload]
        parts.append(_TRAILER.pack(isal_zlib.crc32(part), len(part)))
    return b"".join(parts)


def _deflate(part: memoryview, level: int) -> bytes:
    if level > 3:
        packed = zlib.compress(part, level, -zlib.MAX_WBITS)
    elif level > 0:
        packed = isal_zlib.compress(part, level, -zlib.MAX_WBITS)
    if level == 0 or len(packed) > len(part) + 5:
        return b"\1" + struct.pack("<HH", len(part), len(part) ^ 0xFFFF) + part.tobytes()
    return packed
