"""The index of a store that is not there: one that is planned, or a store as it would be with other spans.

Records are taken to lie evenly in pieces: those of a whole contig for a plan, those of a row group of a
store. They are cut into spans, row groups and chunks as a conversion cuts them, and index and manifest are
written by the code that writes real ones. What questions read can then be asked as of any store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .columns import Array
from .format import index, manifest, spec
from .format.directory import BLOB, EXTENT, GROUP, Directory, crc32
from .format.index import CHUNK, ChunkSummary, IndexWriter, Section
from .reader import StoreIndex
from .regions import ContigTable
from .store import MemoryStore, Store

#: Contigs of GRCh38, chr1 to chr22, X, Y and M: names and bp.
GRCH38 = ContigTable(
    tuple(f"chr{name}" for name in (*range(1, 23), "X", "Y", "M")),
    (
        *(248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636),
        *(138394717, 133797422, 135086622, 133275309, 114364328, 107043718, 101991189, 90338345),
        *(83257441, 80373285, 58617616, 64444167, 46709983, 50818468, 156040895, 57227415, 16569),
    ),
)

#: Bytes of the columns of the benchmark's store (6,007,447 reads of 101 bases, 45 times 13.6 Mb), a read:
#: tests/bench/rows/2026-11-convert-profile.jsonl, bytes_out over records. Three that grow with something else
#: are below.
READ_BYTES = {
    "link": 0.458,
    "contig": 0.0004,
    "flag": 0.0748,
    "pos": 0.357,
    "ref_len": 0.0312,
    "mapq": 0.0202,
    "cigar": 0.0656,
    "seq_len": 0.0044,
    "mate_contig": 0.0020,
    "mate_pos": 0.0321,
    "tlen": 0.0173,
    "name": 2.545,
    "reference": 0.0,
    "bases": 0.0,
    "quals": 0.0,
    "layout": 0.0217,
    "tag:AS:C": 0.0322,
    "tag:MC:Z": 0.0049,
    "tag:MD:Z": 0.0006,
    "tag:MQ:i": 0.0052,
    "tag:NM:C": 0.0004,
    "tag:RG:Z": 0.0641,
    "tag:SA:Z": 0.0272,
    "tag:XA:Z": 0.178,
    "tag:XS:C": 0.212,
    "tag:ms:i": 0.0167,
}
#: Of the same rows: bytes of a base that was read, and of a base of the genome that is covered.
BASE_BYTES = {"quals": 0.2737, "bases": 0.0055}
COVERED_BYTES = {"reference": 0.25}
#: Decoded bytes of a record (298 in that store): 1.5 a base, and the rest. They decide where chunks end.
DECODED_READ_BYTES, DECODED_BASE_BYTES = 146.0, 1.5
#: Bytes of a depth window that is covered (FORMAT.md, section 16), of a chunk's context, and of a header.
WINDOW_BYTES, CONTEXT_BYTES, HEADER_BYTES = 1.49, 100, 4000
READ_LENGTH_BP = 101

_CODEC = {name: number for number, name in spec.CODECS.items()}


@dataclass(frozen=True)
class Pieces:
    """Runs of records in file order, each spread evenly over a stretch of one contig.

    Attributes
    ----------
    contig, start, stop, reach
        (P,) Contig, first position, end of the stretch that positions lie in, and how far beyond it records
        reach, bp.
    records, decoded
        (P,) Records, and their bytes as BAM.
    blobs
        (P, C) Bytes of each of C ``columns``, which have these ``codecs``.
    """

    contig: Array
    start: Array
    stop: Array
    reach: Array
    records: Array
    decoded: Array
    blobs: Array
    columns: tuple[str, ...]
    codecs: tuple[int, ...]

    def take(self, which: Array) -> Pieces:
        """Some of the pieces."""
        rows = "contig start stop reach records decoded blobs".split()
        return replace(self, **{name: getattr(self, name)[which] for name in rows})


def even_pieces(contigs: ContigTable, reads: int, read_length_bp: int) -> Pieces:
    """Reads of one length that cover all contigs evenly, a piece a contig, from the constants above."""
    length = np.array(contigs.lengths, np.float64)
    ends = np.rint(np.cumsum(length) / max(length.sum(), 1) * reads)
    records = np.diff(ends, prepend=0)
    columns = tuple(READ_BYTES)
    a_read = [READ_BYTES[name] + BASE_BYTES.get(name, 0) * read_length_bp for name in columns]
    covered = np.minimum(length, records * read_length_bp)
    blobs = np.outer(records, a_read)
    for name, size in COVERED_BYTES.items():
        blobs[:, columns.index(name)] = covered * size
    codecs = tuple(_CODEC["linked"] if name == "flag" else 1 for name in columns)
    decoded = records * (DECODED_READ_BYTES + DECODED_BASE_BYTES * read_length_bp)
    number, reach = np.arange(length.size), np.full(length.size, read_length_bp)
    all_pieces = Pieces(
        number, np.zeros(length.size), length, reach, records, decoded, blobs, columns, codecs
    )
    return all_pieces.take(records > 0)


def even_depth(contigs: ContigTable) -> list[int]:
    """Bytes of the depth frames of each contig, all of it covered."""
    return [round(WINDOW_BYTES * -(-length // spec.WINDOW_BP)) for length in contigs.lengths]


def pieces_of(reader: StoreIndex) -> Pieces:
    """The row groups of a store as pieces, a piece for each contig that one meets; reads its whole index."""
    chunks = [stored.directory for _, stored in reader.all_chunks()]
    codecs: dict[str, int] = {}
    for d in chunks:
        for number, codec in zip(d.blobs["column"].tolist(), d.blobs["codec"].tolist(), strict=True):
            codecs.setdefault(d.columns[number], codec)
    place = {name: number for number, name in enumerate(codecs)}
    extents, sizes = [np.zeros(0, EXTENT)], [np.zeros((0, 1 + len(place)))]
    for d in chunks:
        group = np.repeat(np.arange(d.groups.size), d.groups["n_extents"])
        share = d.extents["records"] / d.groups["records"][group]
        table = np.zeros((d.groups.size, 1 + len(place)))
        table[:, -1] = d.groups["decoded_bytes"]
        column = np.array([place[name] for name in d.columns])[d.blobs["column"]]
        np.add.at(table, (d.blobs["group"], column), d.blobs["bytes"])
        extents.append(d.extents)
        sizes.append(table[group] * share[:, None])
    size = np.concatenate(sizes)
    return _spread(np.concatenate(extents), size[:, -1], size[:, :-1], codecs)


def _spread(extents: Array, decoded: Array, blobs: Array, codecs: dict[str, int]) -> Pieces:
    """Pieces of extents: positions go on to the next extent's start, and records reach to their own end."""
    contig, start, end = extents["contig"], extents["start"].astype(float), extents["end"].astype(float)
    following = np.append(start[1:], np.inf)
    following[:-1][contig[1:] != contig[:-1]] = np.inf
    over = (end - following)[following < end]
    typical = float(np.median(over)) if over.size else 1.0
    stop = np.maximum(np.where(following < end, following, end - typical), start + 1)
    reach = np.maximum(end - stop, 0)
    records = extents["records"].astype(float)
    return Pieces(contig, start, stop, reach, records, decoded, blobs, tuple(codecs), tuple(codecs.values()))


# ---- cuts ----


@dataclass(frozen=True)
class _Groups:
    """Row groups of a section: G of them, with their span, and E extents."""

    span: Array
    records: Array
    decoded: Array
    blobs: Array
    extents: Array
    group_of: Array


def _groups(p: Pieces, span_bp: int) -> _Groups:
    """Pieces of one section, cut into spans (0: one) and these into row groups."""
    ends = np.append(0, np.cumsum(p.records)).astype(np.int64)
    decoded = np.append(0, np.cumsum(p.decoded))
    cuts, spans = _cuts(p, span_bp, ends, decoded)
    sizes = np.stack([np.interp(cuts, ends, np.append(0, np.cumsum(column))) for column in p.blobs.T], axis=1)
    of_group = np.minimum(np.diff(np.interp(cuts, ends, decoded)), spec.GROUP_BYTES)
    blobs = np.diff(np.rint(sizes), axis=0).astype(np.int64)
    low_bp, high_bp = (spans * span_bp, (spans + 1) * span_bp) if span_bp else (-np.inf, np.inf)
    bounds_bp = np.broadcast_to(low_bp, spans.shape), np.broadcast_to(high_bp, spans.shape)
    return _Groups(spans, np.diff(cuts), of_group, blobs, *_extents(p, cuts, ends, bounds_bp))


def _cuts(p: Pieces, span_bp: int, ends: Array, decoded: Array) -> tuple[Array, Array]:
    """Numbers of the records that row groups begin with, and of the last's end; the span of each group."""
    bounds, numbers = np.array([0, ends[-1]]), np.zeros(1, np.int64)
    if span_bp:
        numbers = np.arange(int(p.start[0] // span_bp), int(p.stop[-1] // span_bp) + 1)
        at = numbers[1:] * span_bp
        piece = np.maximum(np.searchsorted(p.start, at, "right") - 1, 0)
        share = np.clip((at - p.start[piece]) / (p.stop[piece] - p.start[piece]), 0, 1)
        inner = np.rint(ends[piece] + share * p.records[piece]).astype(np.int64)
        bounds = np.concatenate([[0], inner, [ends[-1]]])
    cuts: list[int] = []
    spans: list[int] = []
    for number, low, high in zip(numbers.tolist(), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if low < high:
            size = float(np.interp(high, ends, decoded) - np.interp(low, ends, decoded)) / (high - low)
            step = max(1, min(spec.GROUP_RECORDS, int(spec.GROUP_BYTES // max(size, 1))))
            starts = range(low, high, step)
            cuts += starts
            spans += [number] * len(starts)
    return np.array([*cuts, ends[-1]], np.int64), np.array(spans, np.int64)


def _extents(p: Pieces, cuts: Array, ends: Array, bounds_bp: tuple[Array, Array]) -> tuple[Array, Array]:
    """EXTENT rows of the row groups between cuts, and the row group of each; bounds are those of spans."""
    contigs = ends[np.append(True, np.append(p.contig[1:] != p.contig[:-1], True))]
    edges = np.union1d(cuts, contigs)
    low, high = edges[:-1], edges[1:]
    group_of = np.searchsorted(cuts, low, "right") - 1
    first = np.searchsorted(ends, low, "right") - 1
    last = np.searchsorted(ends, high, "left") - 1
    slope = (p.stop - p.start) / np.maximum(p.records, 1)
    start = p.start[first] + (low - ends[first]) * slope[first]
    stop = p.start[last] + (high - ends[last]) * slope[last]
    out = np.zeros(low.size, EXTENT)
    out["contig"], out["records"] = p.contig[first], high - low
    out["start"] = np.maximum(start, bounds_bp[0][group_of])
    out["end"] = np.ceil(np.minimum(stop, bounds_bp[1][group_of]) + p.reach[last])
    return out, group_of


def _chunk_bounds(groups: _Groups) -> Iterator[tuple[int, int, int]]:
    """(first group, end, k) of each chunk: cut at spans, and by records and bytes, as converter._chunks."""
    first = k = records = size = 0
    sizes = zip(groups.span.tolist(), groups.records.tolist(), groups.decoded.tolist(), strict=True)
    for number, (span, n, decoded) in enumerate(sizes):
        full = records + n > spec.CHUNK_RECORDS or size + decoded > spec.CHUNK_BYTES
        new_span = span != groups.span[first]
        if number > first and (new_span or full):
            yield first, number, k
            first, k, records, size = number, 0 if new_span else k + 1, 0, 0
        records += n
        size += decoded
    yield first, groups.span.size, k


# ---- chunks, index, manifest ----


def planned_store(
    pieces: Pieces, contigs: ContigTable, span_bp: int, depth_bytes: Sequence[int], header_bytes: int
) -> Store:
    """A store of these pieces, cut into spans of ``span_bp``, in memory: all of it but its chunks.

    Parameters
    ----------
    depth_bytes
        Bytes of the depth frames of each contig.
    header_bytes
        Of the header. Frames and header hold noise.
    """
    sections = index.sections_of(contigs.lengths, span_bp)
    writer = IndexWriter(len(contigs), sections)
    chance = np.random.default_rng(0)
    chunks = chunk_bytes = 0
    for number, section in enumerate(sections):
        mine = pieces.take((pieces.contig >= section.first) & (pieces.contig < section.first + section.n))
        frames = _frames(section, contigs.lengths, depth_bytes, chance)
        for summary in _summaries(mine, section, chance) if mine.records.size else ():
            writer.add(number, replace(summary, frames=frames))
            chunks, frames = chunks + 1, {}
            chunk_bytes += int(summary.row["bytes"][0])
    table = [[n, length] for n, length in zip(contigs.names, contigs.lengths, strict=True)]
    data, ranges = writer.finish(table)
    totals = {"records": int(pieces.records.sum()), "chunks": chunks, "chunk_bytes": chunk_bytes}
    return _sealed(
        data, ranges, bytes(header_bytes), totals | {"contigs": len(table), "chunk_span_bp": span_bp}
    )


def _sealed(data: bytes, ranges: dict[str, Any], header: bytes, counts: dict[str, int]) -> Store:
    """Index, header and a manifest of them, as ingest seals a store."""
    header_key, index_key = "_header-00000000.sam", "_index-00000000.bin"
    value = {
        "format": spec.FORMAT,
        "version": ".".join(map(str, spec.VERSION)),
        **counts,
        "compression": "auto",
        "header": {"key": header_key, "range": [0, len(header), crc32(header)]},
        "index": {"key": index_key, "bytes": len(data), **ranges},
    }
    store = MemoryStore("the plan")
    store.put(header_key, header)
    store.put(index_key, data)
    store.put(spec.MANIFEST_KEY, manifest.render(value))
    return store


def _frames(
    section: Section, lengths: Sequence[int], depth_bytes: Sequence[int], chance: np.random.Generator
) -> dict[int, Array]:
    """Depth frames of a section, as large as they should be: of noise, a byte a value."""
    if section.first < 0:
        return {}
    here = slice(section.first, section.first + section.n)
    n = -(-sum(-(-length // spec.WINDOW_BP) for length in lengths[here]) // spec.FRAME_WINDOWS)
    at = np.linspace(0, sum(depth_bytes[here]), n + 1).astype(np.int64)
    sizes = np.diff(at).tolist()
    return {i: chance.integers(1, 256, size, np.uint8).astype("<u8") for i, size in enumerate(sizes) if size}


def _summaries(pieces: Pieces, section: Section, chance: np.random.Generator) -> Iterator[ChunkSummary]:
    """The chunks of a section as the index has them."""
    groups = _groups(pieces, section.span_bp)
    for first, end, k in _chunk_bounds(groups):
        directory = _directory(pieces, groups, first, end, chance)
        encoded = directory.encode()
        head_bytes = 24 + CONTEXT_BYTES + len(encoded)
        size_bytes = head_bytes + int(directory.blobs["bytes"].sum(dtype=np.int64))
        start_bp = int(groups.span[first]) * section.span_bp
        content = int(chance.integers(1 << 32))
        records = int(groups.records[first:end].sum())
        row = (section.first, start_bp, k, content, size_bytes, head_bytes, len(encoded), records)
        totals = np.tile(directory.extents["records"].astype(np.uint64)[:, None], len(spec.TOTALS))
        yield ChunkSummary(np.array([row], CHUNK), directory, encoded, totals, {})


def _directory(p: Pieces, groups: _Groups, first: int, end: int, chance: np.random.Generator) -> Directory:
    """The directory of a chunk of these row groups: locate columns first, column by column."""
    located = [number for number, name in enumerate(p.columns) if name in spec.LOCATE]
    others = [number for number, name in enumerate(p.columns) if name not in spec.LOCATE]
    located.sort(key=lambda number: spec.LOCATE.index(p.columns[number]))
    numbers = range(end - first)
    order = [(g, c) for c in located for g in numbers] + [(g, c) for g in numbers for c in others]
    group, column = np.array(order).T
    size = groups.blobs[first:end][group, column]
    has = (size > 0) | np.isin(column, [i for i, name in enumerate(p.columns) if name in spec.COLUMN])
    blobs = np.zeros(int(has.sum()), BLOB)
    blobs["group"], blobs["column"], blobs["bytes"] = group[has], column[has], size[has]
    blobs["codec"] = np.array(p.codecs)[column[has]]
    blobs["crc32"] = chance.integers(1 << 32, size=blobs.size)
    mine = (groups.group_of >= first) & (groups.group_of < end)
    table = np.zeros(end - first, GROUP)
    table["records"] = groups.records[first:end]
    table["decoded_bytes"] = np.maximum(groups.decoded[first:end], 36 * groups.records[first:end])
    table["n_extents"] = np.bincount(groups.group_of[mine] - first, minlength=end - first)
    return Directory(p.columns, table, groups.extents[mine], blobs)
