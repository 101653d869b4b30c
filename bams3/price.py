"""What a question will read, before it is asked: objects, ranges and bytes, from the index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

from .filters import Filters
from .query import OVERLAP, Intervals, StoreReader
from .regions import Region
from .rowgroups import ChunkReader


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
    needs = OVERLAP | filters.needs()
    if any(reader.answers_whole(region, filters) for region in regions):
        _ = reader.totals
    found = (_read(task.reader, task.groups, needs) for task in reader.crossings(regions, filters))
    return [read for read in found if read.ranges]


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
        chunks = (ChunkReader(reader.objects, stored) for _, stored in reader.all_chunks())
        return [_read(chunk, chunk.groups, columns) for chunk in chunks]
    meetings = reader.meetings(regions, filters, columns)
    return [_read(task.reader, task.groups, columns, task.first) for task in meetings]


def _read(
    chunk: ChunkReader,
    groups: list[int],
    columns: set[str] | None,
    first: Set[str] | None = frozenset(),
) -> Read:
    """What two fetches read: first these columns, then those that are left."""
    runs = ([] if first == set() else chunk.runs(groups, first)) + chunk.runs(groups, columns, first)
    return Read(chunk.stored.key, len(runs), sum(map(chunk.run_bytes, runs)))
