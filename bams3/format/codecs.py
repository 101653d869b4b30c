"""Plain codecs: exact transforms of one column into byte streams (FORMAT.md, section 8).

A column of a row group is stored as one blob: frames, one after the other. A codec says how many
there are and what they mean; a frame says how its bytes are compressed. Both are chosen by the
writer and named in the file, so that others can follow without another layout. Codecs that predict
a column from others are in predict.py and alignment.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .. import kernels
from ..columns import Array, Columns, Layouts, Strings, as_bytes
from .frames import Stream, corrupt


class Codec(Protocol):
    """Two exact inverses between plain values and streams.

    ``width`` is the size of one item in bytes; ``columns`` holds those that were decoded (or, when
    encoding, all of them).
    """

    def encode(self, value: Any, width: int, columns: Columns) -> Sequence[Stream]: ...

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Any: ...


def expect(streams: list[Array], n: int) -> None:
    """Refuse another number of streams."""
    if len(streams) != n:
        raise corrupt(f"{len(streams)} frames where {n} are needed")


def unsigned(values: Array) -> Array:
    """The same bits without a sign."""
    return values.view(f"<u{values.dtype.itemsize}")


def to_planes(values: Array, width: int) -> list[Array]:
    """Byte k of every value in stream k."""
    planes = kernels.split_planes(as_bytes(np.ascontiguousarray(values)), width)
    return [planes[k] for k in range(width)]


def from_planes(streams: list[Array], dtype: Any) -> Array:
    """The inverse of to_planes."""
    if len({stream.size for stream in streams}) > 1:
        raise corrupt("byte planes of different lengths")
    return kernels.join_planes(streams).view(dtype)


class Planes:
    """Byte k of every value in stream k: high bytes become constant, low bytes stay together."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        return to_planes(value, width)

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        expect(streams, width)
        return from_planes(streams, f"<u{width}")


def zigzag(values: Array) -> Array:
    """Small differences of either sign to small unsigned numbers, in wrapping arithmetic."""
    width = values.dtype.itemsize
    signed = values.view(f"<i{width}")
    out: Array = ((signed << 1) ^ (signed >> (8 * width - 1))).view(f"<u{width}")
    return out


def unzigzag(values: Array) -> Array:
    """The inverse of zigzag."""
    one = values.dtype.type(1)
    out: Array = (values >> one) ^ (~(values & one) + one)
    return out


class Delta:
    """The zigzagged difference from the value before (0 before the first), as planes; 32 bits."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        return to_planes(zigzag(np.diff(unsigned(value), prepend=np.uint32(0))), 4)

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        expect(streams, 4)
        return np.cumsum(unzigzag(from_planes(streams, "<u4")), dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class Difference:
    """The zigzagged difference from a prediction made of other columns, as planes; 32 bits.

    The prediction of mate_contig is contig, of mate_pos pos, of tlen mate_pos - pos.
    """

    of: tuple[str, ...]

    def _prediction(self, columns: Columns) -> Array:
        first, *rest = (unsigned(getattr(columns, name)) for name in self.of)
        return first - rest[0] if rest else first

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        return to_planes(zigzag(unsigned(value) - self._prediction(columns)), 4)

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        expect(streams, 4)
        difference = unzigzag(from_planes(streams, "<u4"))
        prediction = self._prediction(columns)
        if difference.size != prediction.size:
            raise corrupt("a column does not have a value for each record")
        return prediction + difference


class Bytes:
    """Plain bytes; another column says where a record's begin."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        return [value]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        expect(streams, 1)
        return streams[0]


def _lengths(columns: Columns) -> Array:
    if columns.seq_len is None:
        raise corrupt("the column of sequence lengths is missing")
    return columns.seq_len


class Bases2:
    """A, C, G, T in two bits; the others as gap from the exception before and 4-bit code."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        packed, gaps, codes = kernels.pack_bases(value, _lengths(columns))
        return [packed, *to_planes(gaps, 4), codes]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        expect(streams, 6)
        gaps = from_planes(streams[1:5], "<u4")
        return kernels.unpack_bases(streams[0], gaps, streams[5], _lengths(columns))


class StringsCodec:
    """Lengths in items as planes (4 streams), then the items as planes (``width`` streams)."""

    def encode(self, value: Strings, width: int, columns: Columns) -> list[Array]:
        lengths = value.lengths // np.uint32(width) if width > 1 else value.lengths
        return [*to_planes(lengths, 4), *to_planes(value.data, width)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Strings:
        expect(streams, 4 + width)
        items = from_planes(streams[:4], "<u4")
        data = as_bytes(from_planes(streams[4:], f"<u{width}"))
        if int(items.sum(dtype=np.uint64)) * width != data.size:
            raise corrupt("lengths of strings do not add up to their bytes")
        return Strings(items * np.uint32(width), data)


class Dictionary:
    """A byte per string: its number among the first 255 distinct ones, or 255 = in the rest.

    Streams: codes; the entries as ``strings``; the rest as ``strings``.
    """

    def encode(self, value: Strings, width: int, columns: Columns) -> list[Array]:
        codes, entries, rest = kernels.encode_dictionary(value)
        return [codes, *STRINGS.encode(entries, width, columns), *STRINGS.encode(rest, width, columns)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Strings:
        expect(streams, 1 + 2 * (4 + width))
        entries = STRINGS.decode(streams[1 : 5 + width], width, columns)
        rest = STRINGS.decode(streams[5 + width :], width, columns)
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
        streams = [fields.separators, fields.is_text, fields.regular, fields.n_texts]
        streams += [*STRINGS.encode(fields.texts, 1, columns), *STRINGS.encode(fields.rest, 1, columns)]
        for text, values in zip(fields.is_text.tolist(), fields.values, strict=True):
            streams += to_planes(values, 4)[: 1 if text else 4]
        return streams

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Strings:
        if len(streams) < 14:
            raise corrupt("a frame of the names is missing")
        separators, is_text, regular, n_texts = streams[:4]
        texts, rest = (STRINGS.decode(streams[i : i + 5], 1, columns) for i in (4, 9))
        sizes = [1 if text else 4 for text in is_text.tolist()]
        expect(streams, 14 + sum(sizes))
        values, at = [], 14
        for size in sizes:
            planes = streams[at : at + size]
            values.append(from_planes(planes, "<u4") if size == 4 else planes[0].astype(np.uint32))
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
        return [*to_planes(n_keys, 4), *to_planes(layouts.keys, 4), *to_planes(numbers, 4)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> tuple[Array, Layouts]:
        expect(streams, 12)
        n_keys, keys, numbers = (from_planes(streams[i : i + 4], "<u4") for i in (0, 4, 8))
        start = np.zeros(n_keys.size + 1, np.uint64)
        np.cumsum(n_keys, out=start[1:])
        if start[-1] != keys.size or keys.size > kernels.MAX_LAYOUT_KEYS:
            raise corrupt("tag layouts do not add up to their keys")
        if numbers.size and int(numbers.max()) >= n_keys.size:
            raise corrupt("a record names a tag layout that is not there")
        return numbers, Layouts(keys, start.astype(np.uint32))


PLANES, STRINGS, DICTIONARY, NAMES = Planes(), StringsCodec(), Dictionary(), Names()
