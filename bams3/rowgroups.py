"""Row groups of a store: the byte ranges that hold their columns, read, checked and decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from . import kernels
from .columns import Array, Columns
from .errors import CorruptDataError
from .format import chunk, index
from .store import Store
from .store.base import MissingObjectError

#: Two ranges of an object with at most this between them are read as one.
GAP_BYTES = 128 << 10


@dataclass(frozen=True)
class StoredChunk:
    """A chunk as the index describes it; ``offsets`` of its blobs, the chunk's size last."""

    key: str
    row: Any
    directory: chunk.Directory
    offsets: Array

    @cached_property
    def groups(self) -> list[tuple[int, Array]]:
        """(number, EXTENT rows) of its row groups."""
        return list(index.groups_by_chunk(self.directory))

    def blobs_of(self, group: int, columns: set[str] | None) -> list[int]:
        """Numbers of a row group's blobs, of these columns (None: all)."""
        mine = np.flatnonzero(self.directory.blobs["group"] == group).tolist()
        if columns is None:
            return mine
        names, numbers = self.directory.columns, self.directory.blobs["column"]
        return [i for i in mine if names[numbers[i]] in columns]


@dataclass
class GroupReader:
    """One row group: reads the columns it is asked for, each once, and checks what it reads."""

    store: Store
    chunk: StoredChunk
    number: int
    extents: Array
    columns: Columns = field(init=False)
    _have: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        row = self.chunk.directory.groups[self.number]
        self.columns = Columns(int(row["records"]), int(row["decoded_bytes"]))

    def read(self, columns: set[str] | None) -> Columns:
        """Plain columns, those decoded before included; None reads all."""
        wanted = None if columns is None else chunk.needed(columns)
        numbers = [i for i in self.chunk.blobs_of(self.number, wanted) if self._name(i) not in self._have]
        blobs = read_blobs(self.store, self.chunk, numbers)
        codecs = self.chunk.directory.blobs["codec"]
        parts = [(self._name(i), int(codecs[i]), data) for i, data in blobs]
        try:
            chunk.decode_columns(self.columns.n, self.columns.decoded_bytes, parts, self.columns)
        except CorruptDataError as err:
            raise CorruptDataError(f"{self.store.name}/{self.chunk.key}: {err}", kind=err.kind) from err
        self._have |= {name for name, _, _ in parts}
        return self.columns

    def join(self, keep: Array | None) -> bytes:
        """The records that ``keep`` marks (None: all), as BAM."""
        try:
            return kernels.join(self.read(None), keep).tobytes()
        except kernels.KernelError as err:
            raise CorruptDataError(
                f"{self.store.name}/{self.chunk.key}: row group {self.number}: {err}", kind=err.kind
            ) from err

    def _name(self, blob: int) -> str:
        return self.chunk.directory.columns[int(self.chunk.directory.blobs["column"][blob])]


def read_blobs(store: Store, stored: StoredChunk, numbers: list[int]) -> list[tuple[int, memoryview]]:
    """Blobs of a chunk, each checked; neighbours are read with one request.

    Raises
    ------
    CorruptDataError
        ``bad-checksum``, naming object and byte range; ``missing-object``.
    """
    out: list[tuple[int, memoryview]] = []
    offsets = stored.offsets
    at = 0
    while at < len(numbers):
        last = at
        while (
            last + 1 < len(numbers) and offsets[numbers[last + 1]] - offsets[numbers[last] + 1] <= GAP_BYTES
        ):
            last += 1
        begin, end = int(offsets[numbers[at]]), int(offsets[numbers[last] + 1])
        data = memoryview(object_range(store, stored.key, begin, end - begin))
        for i in numbers[at : last + 1]:
            low, high = int(offsets[i]), int(offsets[i + 1])
            part = data[low - begin : high - begin]
            if len(part) != high - low or chunk.crc32(part) != int(stored.directory.blobs["crc32"][i]):
                raise bad_checksum(store, stored.key, low, high)
            out.append((i, part))
        at = last + 1
    return out


def object_range(store: Store, key: str, offset: int, size_bytes: int) -> bytes:
    try:
        return store.get_range(key, offset, size_bytes)
    except MissingObjectError as err:
        raise CorruptDataError(
            f"{store.name} names {key}, which is not there",
            kind="missing-object",
            hint="the store was copied in part or damaged: convert the alignments again",
        ) from err


def bad_checksum(store: Store, key: str, begin: int, end: int) -> CorruptDataError:
    return CorruptDataError(
        f"{store.name}/{key}: bytes {begin}-{end} do not match their checksum", kind="bad-checksum"
    )
