"""A row group: plain columns to encoded blobs and back.

``encode_group`` chooses a codec for every column; ``decode_columns`` runs the inverse of those that
the blobs name, each after the columns that it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import kernels
from ..columns import Array, Columns, Strings, tag_width
from ..errors import CorruptDataError
from . import codecs, qualities, spec
from .alignment import AlignedBases, MdTexts, Reference, Score, align
from .codecs import Codec, Difference
from .directory import EXTENT
from .frames import MAX_FRAMES, Compression, corrupt, pack_frames, stream_bytes, unpack_frames
from .predict import (
    Alternatives,
    LinkedFlags,
    LinkedNames,
    LinkedText,
    Links,
    MateCigars,
    OfMate,
    TemplateLengths,
    tag_records,
)

#: What the columns of a row group may take beyond a multiple of its records: entries of dictionaries.
_SPARE_BYTES = 1 << 20
#: Below this many bytes of qualities, the tables of contexts may cost more than they save.
_FEW_QUALITIES = 1 << 16

CODEC_ID = {name: number for number, name in spec.CODECS.items()}

_CODECS: dict[str, Codec] = {
    "planes": codecs.PLANES,
    "delta": codecs.Delta(),
    "bytes": codecs.Bytes(),
    "bases2": codecs.Bases2(),
    "strings": codecs.STRINGS,
    "dictionary": codecs.DICTIONARY,
    "names": codecs.NAMES,
    "layouts": codecs.LayoutsCodec(),
    "links": Links(),
    "reference": Reference(),
    "qualities": qualities.Qualities(),
    "linked flag": LinkedFlags(),
    "linked name": LinkedNames(),
    "mate mate_contig": OfMate("contig", otherwise="contig"),
    "mate mate_pos": OfMate("pos", otherwise="pos"),
    "mate tlen": TemplateLengths(),
    "mate tag:MC:Z": MateCigars(),
    "aligned bases": AlignedBases(),
    "aligned tag:MD:Z": MdTexts(),
    "alternatives": Alternatives(),
}


def codec_of(name: str, column: str) -> Codec:
    """The codec ``name`` as ``column``, which may have it, uses it."""
    found = _CODECS.get(name) or _CODECS.get(f"{name} {column}")
    if found is not None:
        return found
    if name == "difference":
        return Difference(spec.COLUMN[column].codecs[name])
    tag = column.removeprefix(spec.TAG_PREFIX)
    if name == "linked":
        return LinkedText(tag)
    if name == "mate":
        return OfMate("mapq" if tag.startswith("MQ") else "ms", tag=tag)
    return Score(tag)


def _width(column: str) -> int:
    """Bytes of one item of a column."""
    if column.startswith(spec.TAG_PREFIX):
        return tag_width(column)
    return 4 if column == "cigar" else np.dtype(spec.COLUMN[column].dtype).itemsize


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
    blobs = None
    if compression.method == "auto":
        assert columns.name is not None
        columns.link = kernels.find_links(columns.name)
        align(columns)
        blobs = _encode_columns(columns, compression, predicts=True)
    if blobs is None:  # plain, or what is predicted so badly that readers would take it for damage
        columns.link = columns.reference = None
        columns.derived.clear()
        blobs = _encode_columns(columns, compression, predicts=False)
    assert blobs is not None
    extents, totals = group_summary(columns)
    return EncodedGroup(columns.n, columns.decoded_bytes, tuple(blobs), extents, totals)


def _encode_columns(columns: Columns, compression: Compression, *, predicts: bool) -> list[Blob] | None:
    """The blobs of all columns; None where some would pass the limits that readers keep."""
    names = [c.name for c in spec.COLUMNS if getattr(columns, c.name) is not None]
    names += [spec.TAG_PREFIX + tag for tag in sorted(columns.tags)]
    blobs, columns.taken_bytes = [], 0
    for name in names:
        blob = _encode_column(name, columns, compression, predicts)
        if blob is None:
            return None
        blobs.append(blob)
    return blobs


def group_summary(columns: Columns) -> tuple[Array, Array]:
    """EXTENT array and totals (contigs, 34) of a row group, from its plain columns."""
    assert columns.contig is not None
    n_runs = int(np.count_nonzero(np.diff(columns.contig))) + 1
    contig, records, start, end, totals = kernels.summarise(columns, n_runs)
    extents = np.empty(contig.size, EXTENT)
    extents["contig"], extents["records"], extents["start"], extents["end"] = contig, records, start, end
    return extents, totals


def _encode_column(name: str, columns: Columns, compression: Compression, predicts: bool) -> Blob | None:
    """The column under the best of the codecs that suit it; the first of those that are as good.

    The next is not tried where one takes no more than a bit for each value. None where the streams of
    all pass the limits that readers keep.
    """
    value = _value(columns, name)
    best, taken_bytes = None, 0
    for codec in _choices(name, value, columns, predicts):
        streams = codec_of(codec, name).encode(value, _width(name), columns)
        size_bytes = sum(stream_bytes(stream) for stream in streams)
        if size_bytes > _room_bytes(columns) or len(streams) > MAX_FRAMES:
            continue
        blob = Blob(name, codec, pack_frames(streams, compression))
        if best is None or len(blob.data) < len(best.data):
            best, taken_bytes = blob, size_bytes
        if 8 * len(best.data) <= columns.n:
            break
    if best is None and predicts:
        return _encode_column(name, columns, compression, predicts=False)
    columns.taken_bytes += taken_bytes + _value_bytes(value)
    return best


def _value(columns: Columns, name: str) -> Any:
    if name.startswith(spec.TAG_PREFIX):
        return columns.tags[name.removeprefix(spec.TAG_PREFIX)]
    return (columns.layout, columns.layouts) if name == "layout" else getattr(columns, name)


def _choices(name: str, value: Any, columns: Columns, predicts: bool) -> list[str]:
    """The codecs that are worth a try."""
    if name.startswith(spec.TAG_PREFIX):
        return _tag_choices(name, value, columns, predicts)
    first, *others = spec.COLUMN[name].codecs
    if name == "bases":
        if columns.reference is not None:
            return ["aligned"]
        return ["bytes", "bases2"] if _suits_two_bits(columns) else ["bytes"]
    if name == "quals" and predicts and qualities.suits(value, columns):
        return ["qualities", "bytes"] if value.size < _FEW_QUALITIES else ["qualities"]
    return [others[-1]] if predicts and others and name != "quals" else [first]


def _suits_two_bits(columns: Columns) -> bool:
    """Whether two bits lose nothing, and exceptions are few."""
    assert columns.bases is not None
    assert columns.seq_len is not None
    packed_bytes, exceptions, padded = kernels.measure_bases(columns.bases, columns.seq_len)
    return not padded and 5 * exceptions <= packed_bytes


def _tag_choices(name: str, value: Any, columns: Columns, predicts: bool) -> list[str]:
    tag, possible = name.removeprefix(spec.TAG_PREFIX), spec.codecs_of(name)
    once = predicts and len(possible) > 1 and tag_records(columns, tag) is not None
    if not isinstance(value, Strings):
        predicted = [codec for codec in possible if codec != "planes" and once]
        return [*(c for c in predicted if c != "aligned" or columns.reference is not None), "planes"]
    for codec in ("mate", "alternatives"):
        if once and codec in possible:
            return [codec]
    if once and "aligned" in possible and columns.reference is not None:
        return ["aligned"]
    if once and "linked" in possible and LinkedText(tag).suits(value, columns):
        return ["linked"]
    return ["dictionary" if "dictionary" in possible and codecs.Dictionary.suits(value) else "strings"]


# ---- decoding ----


def needed(columns: Iterable[str], stored: Mapping[str, int]) -> set[str]:
    """The named columns and those that they need, among the ``stored`` ones: name to codec number."""
    out: set[str] = set()
    waiting = list(columns)
    while waiting:
        name = waiting.pop()
        if name not in out and name in stored:
            out.add(name)
            waiting += spec.codecs_of(name).get(spec.CODECS.get(stored[name], ""), ())
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
        ``bad-column``, naming column, codec and, where a kernel knows it, the offset.
    """
    columns = Columns(records, decoded_bytes) if into is None else into
    for name, codec, data in sorted(blobs, key=lambda blob: (_ORDER.get(blob[0], len(_ORDER)), blob[0])):
        try:
            _decode_column(columns, name, codec, data)
        except CorruptDataError as err:
            at = f" at {err.where}" if isinstance(err, kernels.KernelError) and err.where else ""
            words = f"column {name}, codec {spec.CODECS.get(codec, codec)}: {err}{at}"
            raise CorruptDataError(words, kind="bad-column") from err
    return columns


def _decode_column(columns: Columns, name: str, codec: int, data: Any) -> None:
    codec_name = spec.CODECS.get(codec, "")
    needs = spec.codecs_of(name).get(codec_name)
    if needs is None:
        raise corrupt("it has no such codec")
    _require(columns, needs)
    streams = unpack_frames(data, _room_bytes(columns))
    value = codec_of(codec_name, name).decode(streams, _width(name), columns)
    columns.taken_bytes += sum(stream.size for stream in streams) + _value_bytes(value)
    if name.startswith(spec.TAG_PREFIX):
        columns.tags[name.removeprefix(spec.TAG_PREFIX)] = value
        return
    if name == "layout":
        columns.layout, columns.layouts = value
    elif isinstance(value, np.ndarray):
        setattr(columns, name, value.view(spec.COLUMN[name].dtype))
    else:
        setattr(columns, name, value)
    _check_length(columns, name, value)


def _require(columns: Columns, names: Iterable[str]) -> None:
    missing = [name for name in names if getattr(columns, name) is None]
    if missing:
        raise corrupt(f"it needs the column {missing[0]}, which is missing")


def _room_bytes(columns: Columns) -> int:
    """What the streams of the next column may take.

    No column takes twice the bytes of the records, nor all of them together six times as many.
    """
    return min(
        2 * columns.decoded_bytes + 4096, 6 * columns.decoded_bytes + _SPARE_BYTES - columns.taken_bytes
    )


def _value_bytes(value: Any) -> int:
    """Memory that a decoded column takes."""
    if isinstance(value, Strings):
        return int(value.lengths.nbytes + value.data.nbytes)
    return int(value.nbytes) if isinstance(value, np.ndarray) else 0


def _check_length(columns: Columns, name: str, value: Any) -> None:
    """A column of one value a record must have as many."""
    if name in ("bases", "quals", "reference"):
        return
    if name == "layout":
        n = value[0].size
    else:
        n = value.lengths.size if isinstance(value, Strings) else value.size
    if n != columns.n:
        raise corrupt(f"{n} values for {columns.n} records")
