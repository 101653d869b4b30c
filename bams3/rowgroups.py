"""Row groups of a store: the byte ranges that hold their columns, read, checked and decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from . import kernels
from .columns import Array, Columns
from .errors import CorruptDataError
from .format import index, spec
from .format.directory import Directory, crc32
from .format.rowgroup import decode_columns, needed
from .store import Store
from .store.base import MissingObjectError

#: Two ranges of an object with at most this between them are read as one.
GAP_BYTES = 128 << 10


@dataclass(frozen=True)
class StoredChunk:
    """A chunk as the index describes it; ``offsets`` of its blobs, the chunk's size last."""

    key: str
    row: Any
    directory: Directory
    offsets: Array

    @cached_property
    def groups(self) -> list[tuple[int, Array]]:
        """(number, EXTENT rows) of its row groups."""
        return list(index.groups_by_chunk(self.directory))


class ChunkReader:
    """The row groups of one chunk that a question needs: fetched together, decoded one by one.

    Notes
    -----
    A fetch costs one request for the locate columns, whichever groups are asked for, and one for
    the other columns of groups that lie together.
    """

    def __init__(self, store: Store, stored: StoredChunk) -> None:
        self._store, self.stored = store, stored
        self._fetched: dict[int, dict[str, tuple[int, memoryview]]] = {}
        self._columns: dict[int, Columns] = {}
        self._decoded: dict[int, set[str]] = {}

    def fetch(self, groups: Sequence[int], columns: set[str] | None) -> None:
        """Read the blobs of these columns (None: all) that are not there yet, and check them.

        Raises
        ------
        CorruptDataError
            ``bad-checksum``, naming object and byte range; ``missing-object``.
        """
        for run in self.runs(groups, columns):
            self._read(run)

    def runs(self, groups: Sequence[int], columns: set[str] | None) -> list[list[int]]:
        """The blobs that a fetch would read, a list a request."""
        locate: list[int] = []
        others: list[int] = []
        for group in groups:
            have, stored = self._fetched.get(group, {}), self._stored_columns(group)
            codecs = {name: codec for name, (_, codec) in stored.items()}
            wanted = stored.keys() if columns is None else needed(columns, codecs)
            for name in wanted - have.keys():
                (locate if name in spec.LOCATE else others).append(stored[name][0])
        return [run for run in (sorted(locate), *self._runs(sorted(others))) if run]

    def _stored_columns(self, group: int) -> dict[str, tuple[int, int]]:
        """Blob number and codec number of each column of a row group."""
        names, blobs = self.stored.directory.columns, self.stored.directory.blobs
        mine = np.flatnonzero(blobs["group"] == group)
        columns, codecs = blobs["column"][mine].tolist(), blobs["codec"][mine].tolist()
        return {names[c]: (i, codec) for i, c, codec in zip(mine.tolist(), columns, codecs, strict=True)}

    def _runs(self, numbers: list[int]) -> Iterator[list[int]]:
        """Blobs cut where more than GAP_BYTES lie between two of them."""
        offsets = self.stored.offsets
        run: list[int] = []
        for i in numbers:
            if run and offsets[i] - offsets[run[-1] + 1] > GAP_BYTES:
                yield run
                run = []
            run.append(i)
        if run:
            yield run

    def _read(self, numbers: list[int]) -> None:
        """Read blobs, which are in file order, with one request."""
        stored, blobs = self.stored, self.stored.directory.blobs
        begin, end = int(stored.offsets[numbers[0]]), int(stored.offsets[numbers[-1] + 1])
        data = memoryview(object_range(self._store, stored.key, begin, end - begin))
        for i in numbers:
            low, high = int(stored.offsets[i]), int(stored.offsets[i + 1])
            part = data[low - begin : high - begin]
            if len(part) != high - low or crc32(part) != int(blobs["crc32"][i]):
                raise bad_checksum(self._store, stored.key, low, high)
            name = stored.directory.columns[int(blobs["column"][i])]
            fetched = self._fetched.setdefault(int(blobs["group"][i]), {})
            fetched[name] = int(blobs["codec"][i]), part

    def columns(self, group: int) -> Columns:
        """Plain columns of a row group, as far as they were fetched."""
        row = self.stored.directory.groups[group]
        columns = self._columns.setdefault(group, Columns(int(row["records"]), int(row["decoded_bytes"])))
        done, fetched = self._decoded.setdefault(group, set()), self._fetched.get(group, {})
        parts = [(name, codec, data) for name, (codec, data) in fetched.items() if name not in done]
        try:
            decode_columns(columns.n, columns.decoded_bytes, parts, columns)
        except CorruptDataError as err:
            raise self._at(group, err) from err
        done.update(fetched)
        return columns

    def join(self, group: int, keep: Array | None) -> bytes:
        """The records of a row group that ``keep`` marks (None: all), as BAM; all columns are there."""
        try:
            return kernels.join(self.columns(group), keep).tobytes()
        except kernels.KernelError as err:
            raise self._at(group, err) from err

    def _at(self, group: int, err: CorruptDataError) -> CorruptDataError:
        where = f"{self._store.name}/{self.stored.key}"
        return CorruptDataError(f"{where}: row group {group}: {err}", kind=err.kind)


def object_range(store: Store, key: str, offset: int, size_bytes: int) -> bytes:
    """A range of an object that the store names, so that its absence is damage."""
    try:
        return store.get_range(key, offset, size_bytes)
    except MissingObjectError as err:
        raise CorruptDataError(
            f"{store.name} names {key}, which is not there",
            kind="missing-object",
            hint="the store was copied in part or damaged: convert the alignments again",
        ) from err


def bad_checksum(store: Store, key: str, begin: int, end: int) -> CorruptDataError:
    """The error for bytes that are not those that were written."""
    return CorruptDataError(
        f"{store.name}/{key}: bytes {begin}-{end} do not match their checksum", kind="bad-checksum"
    )
