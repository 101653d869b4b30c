"""What a question will read, before it is asked: objects, ranges and bytes, from the index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .filters import Filters
from .query import OVERLAP, Intervals, StoreReader, crossed, met
from .regions import MAX_BP, Region
from .rowgroups import ChunkReader, StoredChunk
from .spans import Spans


class Read(NamedTuple):
    """What is read of one object: how many ranges, and their bytes."""

    key: str
    ranges: int
    size_bytes: int


def of_index(reader: StoreReader) -> list[Read]:
    """What was read of manifest and index so far."""
    found: dict[str, Read] = {}
    for key, size_bytes in reader.reads:
        before = found.get(key, Read(key, 0, 0))
        found[key] = Read(key, before.ranges + 1, before.size_bytes + size_bytes)
    return list(found.values())


def of_counts(reader: StoreReader, regions: Sequence[Region], filters: Filters) -> list[Read]:
    """The chunks that ``StoreReader.counts`` reads."""
    needs = filters.needs()
    open_ended = [r for r in regions if needs or r.start_bp or r.end_bp < MAX_BP]  # others: from the totals
    of: dict[int, list[Region]] = {}
    for region in open_ended:
        of.setdefault(reader.contigs.id_of(region.contig), []).append(region)
    out = []
    for contig, mine in of.items():
        spans = Spans.of(contig, mine)
        for stored in reader.chunks_of(contig):
            groups = [number for number, _ in crossed(stored, spans, bool(needs))[1]]
            out += _read(reader, stored, groups, OVERLAP | needs)
    return out


def of_records(
    reader: StoreReader,
    regions: Iterable[Region] | Intervals | None,
    filters: Filters,
    columns: set[str] | None,
) -> list[Read]:
    """The chunks that records are read from, or these columns of them (None: all), at most.

    A row group that meets a region, though none of its records does, is taken as read whole.
    """
    if columns is not None:
        columns = columns | filters.needs()
    if regions is None:
        chunks = (c for section in range(len(reader.sections())) for c in reader.chunks(section))
        return [read for c in chunks for read in _read(reader, c, [n for n, _ in c.groups], columns)]
    if columns is not None:
        columns |= OVERLAP
    if isinstance(regions, Mapping):
        several = [(name, [Region(name, *span) for span in spans]) for name, spans in regions.items()]
    else:
        several = [(region.contig, [region]) for region in regions]
    out = []
    for name, mine in several:
        spans = Spans.of(reader.contigs.id_of(name), mine)
        for stored in reader.chunks_of(spans.contig):
            out += _read(reader, stored, met(stored, spans), columns)
    return out


def _read(
    reader: StoreReader, stored: StoredChunk, groups: list[int], columns: set[str] | None
) -> list[Read]:
    runs = ChunkReader(reader.store, stored).runs(groups, columns)
    size_bytes = sum(int(stored.offsets[run[-1] + 1] - stored.offsets[run[0]]) for run in runs)
    return [Read(stored.key, len(runs), size_bytes)] if runs else []
