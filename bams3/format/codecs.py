"""Column codecs: exact transforms into byte streams, and the frames that hold the streams.

A column of a row group is stored as one blob: frames, one after the other. A codec says how many
there are and what they mean; a frame says how its bytes are compressed. Both are chosen by the
writer and named in the file, so that others can follow without another layout.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import zstandard

from .. import kernels
from ..columns import Array, Columns, Layouts, Strings, as_bytes
from ..errors import CorruptDataError
from . import spec

RAW, ZSTD, CONSTANT = 0, 1, 2
_MAX_FRAMES = 128
_local = threading.local()


def corrupt(message: str) -> CorruptDataError:
    return CorruptDataError(message, kind="bad-column")


# ---- frames ----


@dataclass(frozen=True, slots=True)
class Compression:
    """How a writer compresses streams: ``method`` zstd or none, and zstd's ``level``."""

    method: str = "zstd"
    level: int = 1

    def compress(self, data: Array) -> bytes:
        made: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
        if self.level not in made:
            made[self.level] = zstandard.ZstdCompressor(level=self.level)
        return made[self.level].compress(data.data)


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


def pack_frame(stream: Array | bytes, compression: Compression) -> bytes:
    """One stream as a frame: constant, compressed, or raw if that is not larger."""
    data = as_bytes(stream)
    n = data.size
    if n and data[0] == data[-1] and not (data != data[0]).any():
        return bytes((CONSTANT,)) + _varint(n) + bytes((data[0],))
    if compression.method != "none" and n > 16:
        packed = compression.compress(data)
        if len(packed) < n:
            return b"".join((bytes((ZSTD,)), _varint(n), _varint(len(packed)), packed))
    return bytes((RAW,)) + _varint(n) + data.tobytes()


def pack_frames(streams: Sequence[Array | bytes], compression: Compression) -> bytes:
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
        if limit_bytes < 0 or len(out) == _MAX_FRAMES:
            raise corrupt(f"a frame of {n} bytes is more than its column can hold")
        if method == ZSTD:
            packed, at = _read_varint(data, at)
            stream = _decompress(data[at : at + packed], packed, n)
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


# ---- codecs ----

Value = Array | Strings


class Codec(Protocol):
    """Two exact inverses between plain values and streams.

    ``width`` is the size of one item in bytes; ``columns`` holds those that were decoded (or, when
    encoding, all of them).
    """

    def encode(self, value: Any, width: int, columns: Columns) -> list[Array]: ...

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Any: ...


def _expect(streams: list[Array], n: int) -> None:
    if len(streams) != n:
        raise corrupt(f"{len(streams)} frames where {n} are needed")


def _unsigned(values: Array) -> Array:
    return values.view(f"<u{values.dtype.itemsize}")


def _to_planes(values: Array, width: int) -> list[Array]:
    planes = kernels.split_planes(as_bytes(np.ascontiguousarray(values)), width)
    return [planes[k] for k in range(width)]


def _from_planes(streams: list[Array], dtype: Any) -> Array:
    if len({stream.size for stream in streams}) > 1:
        raise corrupt("byte planes of different lengths")
    return kernels.join_planes(streams).view(dtype)


class Planes:
    """Byte k of every value in stream k: high bytes become constant, low bytes stay together."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        return _to_planes(value, width)

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        _expect(streams, width)
        return _from_planes(streams, f"<u{width}")


def _zigzag(values: Array) -> Array:
    """Small differences of either sign to small unsigned numbers, in wrapping arithmetic."""
    signed = values.view("<i4")
    return ((signed << 1) ^ (signed >> 31)).view("<u4")


def _unzigzag(values: Array) -> Array:
    return (values >> np.uint32(1)) ^ (~(values & np.uint32(1)) + np.uint32(1))


class Delta:
    """The zigzagged difference from the value before (0 before the first), as planes; 32 bits."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        return _to_planes(_zigzag(np.diff(_unsigned(value), prepend=np.uint32(0))), 4)

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        _expect(streams, 4)
        return np.cumsum(_unzigzag(_from_planes(streams, "<u4")), dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class Difference:
    """The zigzagged difference from a prediction made of other columns, as planes; 32 bits.

    The prediction of mate_contig is contig, of mate_pos pos, of tlen mate_pos - pos.
    """

    of: tuple[str, ...]

    def _prediction(self, columns: Columns) -> Array:
        first, *rest = (_unsigned(getattr(columns, name)) for name in self.of)
        return first - rest[0] if rest else first

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        return _to_planes(_zigzag(_unsigned(value) - self._prediction(columns)), 4)

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        _expect(streams, 4)
        difference = _unzigzag(_from_planes(streams, "<u4"))
        prediction = self._prediction(columns)
        if difference.size != prediction.size:
            raise corrupt("a column does not have a value for each record")
        return prediction + difference


class Bytes:
    """Plain bytes; another column says where a record's begin."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        return [value]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        _expect(streams, 1)
        return streams[0]


def _lengths(columns: Columns) -> Array:
    if columns.seq_len is None:
        raise corrupt("the column of sequence lengths is missing")
    return columns.seq_len


class Bases2:
    """A, C, G, T in two bits; the others as gap from the exception before and 4-bit code."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        packed, gaps, codes = kernels.pack_bases(value, _lengths(columns))
        return [packed, *_to_planes(gaps, 4), codes]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        _expect(streams, 6)
        gaps = _from_planes(streams[1:5], "<u4")
        return kernels.unpack_bases(streams[0], gaps, streams[5], _lengths(columns))


class StringsCodec:
    """Lengths in items as planes (4 streams), then the items as planes (``width`` streams)."""

    def encode(self, value: Strings, width: int, columns: Columns) -> list[Array]:
        lengths = value.lengths // np.uint32(width) if width > 1 else value.lengths
        return [*_to_planes(lengths, 4), *_to_planes(value.data, width)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Strings:
        _expect(streams, 4 + width)
        items = _from_planes(streams[:4], "<u4")
        data = as_bytes(_from_planes(streams[4:], f"<u{width}"))
        if int(items.sum(dtype=np.uint64)) * width != data.size:
            raise corrupt("lengths of strings do not add up to their bytes")
        return Strings(items * np.uint32(width), data)


class Dictionary:
    """A byte per string: its number among the first 255 distinct ones, or 255 = in the rest.

    Streams: codes; the entries as ``strings``; the rest as ``strings``.
    """

    def encode(self, value: Strings, width: int, columns: Columns) -> list[Array]:
        codes, entries, rest = kernels.encode_dictionary(value)
        strings = StringsCodec()
        return [codes, *strings.encode(entries, width, columns), *strings.encode(rest, width, columns)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Strings:
        _expect(streams, 1 + 2 * (4 + width))
        strings = StringsCodec()
        entries = strings.decode(streams[1 : 5 + width], width, columns)
        rest = strings.decode(streams[5 + width :], width, columns)
        return kernels.decode_dictionary(streams[0], entries, rest, columns.decoded_bytes)

    @staticmethod
    def suits(value: Strings) -> bool:
        """Whether a sample of the strings repeats enough."""
        sample = value.lengths[:4096]
        head = Strings(sample, value.data[: int(sample.sum(dtype=np.uint64))])
        codes = kernels.encode_dictionary(head)[0]
        return int((codes == 255).sum()) * 2 <= codes.size


class Names:
    """Fields between separators, each apart; names of another shape than the first as they are.

    Streams: separators, which fields are text, which names are regular, texts of each field; the
    texts as ``strings``; the rest as ``strings``; per field its values: 1 plane of a text's
    number, 4 planes of a number.
    """

    def encode(self, value: Strings, width: int, columns: Columns) -> list[Array]:
        fields = kernels.split_names(value)
        strings = StringsCodec()
        streams = [fields.separators, fields.is_text, fields.regular, fields.n_texts]
        streams += [*strings.encode(fields.texts, 1, columns), *strings.encode(fields.rest, 1, columns)]
        for text, values in zip(fields.is_text.tolist(), fields.values, strict=True):
            streams += _to_planes(values, 4)[: 1 if text else 4]
        return streams

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Strings:
        if len(streams) < 14:
            raise corrupt("a frame of the names is missing")
        separators, is_text, regular, n_texts = streams[:4]
        if regular.size != columns.n:
            raise corrupt(f"{regular.size} names for {columns.n} records")
        strings = StringsCodec()
        texts, rest = (strings.decode(streams[i : i + 5], 1, columns) for i in (4, 9))
        sizes = [1 if text else 4 for text in is_text.tolist()]
        _expect(streams, 14 + sum(sizes))
        values, at = [], 14
        for size in sizes:
            planes = streams[at : at + size]
            values.append(_from_planes(planes, "<u4") if size == 4 else planes[0].astype(np.uint32))
            at += size
        if len({row.size for row in values}) > 1:
            raise corrupt("fields of names have different lengths")
        table = np.stack(values) if values else np.empty((0, 0), np.uint32)
        return kernels.join_names(
            kernels.NameFields(separators, is_text, regular, table, n_texts, texts, rest)
        )


class LayoutsCodec:
    """Streams: keys of each layout (planes of uint16), all keys (planes), each record's layout."""

    def encode(self, value: tuple[Array, Layouts], width: int, columns: Columns) -> list[Array]:
        numbers, layouts = value
        n_keys = np.diff(layouts.start)
        return [*_to_planes(n_keys, 4), *_to_planes(layouts.keys, 4), *_to_planes(numbers, 4)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> tuple[Array, Layouts]:
        _expect(streams, 12)
        n_keys, keys, numbers = (_from_planes(streams[i : i + 4], "<u4") for i in (0, 4, 8))
        start = np.zeros(n_keys.size + 1, np.uint64)
        np.cumsum(n_keys, out=start[1:])
        if start[-1] != keys.size or keys.size > kernels.MAX_LAYOUT_KEYS:
            raise corrupt("tag layouts do not add up to their keys")
        if numbers.size and int(numbers.max()) >= n_keys.size:
            raise corrupt("a record names a tag layout that is not there")
        return numbers, Layouts(keys, start.astype(np.uint32))


_PLAIN: dict[str, Codec] = {
    "planes": Planes(),
    "delta": Delta(),
    "bytes": Bytes(),
    "bases2": Bases2(),
    "strings": StringsCodec(),
    "dictionary": Dictionary(),
    "names": Names(),
    "layouts": LayoutsCodec(),
}
CODEC_ID = {name: number for number, name in spec.CODECS.items()}


def codec_of(name: str, column: str) -> Codec:
    """The codec ``name`` as ``column`` uses it."""
    if name == "difference":
        return Difference(spec.COLUMN[column].needs)
    return _PLAIN[name]
