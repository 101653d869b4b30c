"""Frames: how the streams of a column are compressed, one by one (FORMAT.md, section 7)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import zstandard

from .. import kernels
from ..columns import Array, as_bytes
from ..errors import CorruptDataError

RAW, ZSTD, CONSTANT, RANS = 0, 1, 2, 3
#: Streams of a column, at most.
MAX_FRAMES = 128
#: Shorter streams gain nothing from compression.
_MIN_BYTES = 17
#: What zstd makes as small as this is not tried with rANS, the tables of which take a good part of it.
_LITTLE = 32
_local = threading.local()


def corrupt(message: str) -> CorruptDataError:
    return CorruptDataError(message, kind="bad-column")


@dataclass(frozen=True, slots=True)
class Dense:
    """A stream that a codec has compressed already: stored as it is."""

    data: Array


Stream = Array | bytes | Dense


@dataclass(frozen=True, slots=True)
class Compression:
    """How a writer compresses: ``method`` auto, zstd or none, and zstd's ``level``.

    ``zstd`` and ``none`` keep columns plain, for readers that know few codecs; ``auto`` lets codecs
    predict columns from each other, and takes the smaller of zstd and rANS for each stream.
    """

    method: str = "auto"
    level: int = 1

    def compress(self, data: Array) -> bytes:
        made: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
        if self.level not in made:
            made[self.level] = zstandard.ZstdCompressor(level=self.level)
        return made[self.level].compress(data.data)


#: How all but columns is compressed: the index, a chunk's context.
PLAIN_ZSTD = Compression("zstd")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise corrupt("a frame's length is cut short")


def stream_bytes(stream: Stream) -> int:
    """Bytes of a stream before compression."""
    return as_bytes(stream.data if isinstance(stream, Dense) else stream).size


def pack_frame(stream: Stream, compression: Compression) -> bytes:
    """One stream as a frame: constant, compressed, or raw if that is not larger."""
    dense = isinstance(stream, Dense)
    data = as_bytes(stream.data if isinstance(stream, Dense) else stream)
    n = data.size
    if n and data[0] == data[-1] and not (data != data[0]).any():
        return bytes((CONSTANT,)) + _varint(n) + bytes((data[0],))
    if n < _MIN_BYTES or dense or compression.method == "none":
        return bytes((RAW,)) + _varint(n) + data.tobytes()
    method, packed = ZSTD, compression.compress(data)
    if compression.method == "auto" and len(packed) > _LITTLE:
        coded = kernels.encode_rans(data, min(n, len(packed)) - 1)
        method, packed = (RANS, coded) if coded else (method, packed)
    if len(packed) < n:
        return b"".join((bytes((method,)), _varint(n), _varint(len(packed)), packed))
    return bytes((RAW,)) + _varint(n) + data.tobytes()


def pack_frames(streams: Sequence[Stream], compression: Compression) -> bytes:
    """The blob of a column."""
    return b"".join([pack_frame(stream, compression) for stream in streams])


def unpack_frames(blob: bytes | memoryview, limit_bytes: int) -> list[Array]:
    """The streams of a blob (uint8 each, together at most ``limit_bytes``).

    Raises
    ------
    CorruptDataError
        ``bad-column``: an unknown method, or a length that does not fit, checked before any
        memory is reserved for it.
    """
    data = memoryview(blob)
    out: list[Array] = []
    at = 0
    while at < len(data):
        method = data[at]
        n, at = _read_varint(data, at + 1)
        limit_bytes -= n
        if limit_bytes < 0 or len(out) == MAX_FRAMES:
            raise corrupt(f"a frame of {n} bytes is more than its column can hold")
        if method == ZSTD:
            packed, at = _read_varint(data, at)
            stream = _decompress(data[at : at + packed], packed, n)
            at += packed
        elif method == RANS:
            packed, at = _read_varint(data, at)
            stream = kernels.decode_rans(np.frombuffer(data[at : at + packed], np.uint8), n)
            at += packed
        elif method == RAW:
            stream = np.frombuffer(data[at : at + n], np.uint8)
            at += n
        elif method == CONSTANT and at < len(data):
            stream = np.full(n, data[at], np.uint8)
            at += 1
        else:
            raise corrupt(f"unknown compression method {method}")
        if stream.size != n or at > len(data):
            raise corrupt("a frame is cut short")
        out.append(stream)
    return out


def _decompress(packed: memoryview, n_packed: int, n: int) -> Array:
    if "decompressor" not in _local.__dict__:
        _local.decompressor = zstandard.ZstdDecompressor()
    try:
        if len(packed) != n_packed or zstandard.frame_content_size(packed) != n:
            raise corrupt("a frame's sizes contradict each other")
        plain = _local.decompressor.decompress(packed, allow_extra_data=False)
    except zstandard.ZstdError as err:
        raise corrupt(f"a frame does not decompress: {err}") from err
    return np.frombuffer(plain, np.uint8)
