"""Row groups of a store: the byte ranges that hold their columns, read, checked and decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from . import kernels
from .columns import Array, Columns
from .errors import CorruptDataError, StoreError
from .format import index, spec
from .format.directory import Directory, crc32
from .format.rowgroup import decode_columns, needed
from .store import Store
from .store.base import MissingObjectError

T = TypeVar("T")
R = TypeVar("R")

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


class Objects:
    """The objects of a store that is open: ranges of them, each checked before it is used."""

    def __init__(self, store: Store, manifest: bytes) -> None:
        self.store, self._manifest = store, manifest
        self._pools: dict[int, ThreadPoolExecutor] = {}

    @property
    def name(self) -> str:
        """How a user would write the store."""
        return self.store.name

    def read(self, key: str, offset: int, size_bytes: int, check: Callable[[memoryview], None]) -> memoryview:
        """A range that passes a check; fetched once more where it does not.

        Raises
        ------
        CorruptDataError
            What ``check`` raises; ``missing-object``.
        StoreError
            ``store-changed``: the object is gone because a conversion replaced the store.
        """
        return self._checked(key, lambda: self.store.get_range(key, offset, size_bytes), check)

    def whole(self, key: str, check: Callable[[memoryview], None]) -> memoryview:
        """An object that passes a check; as ``read``."""
        return self._checked(key, lambda: self.store.get(key), check)

    def _checked(self, key: str, get: Callable[[], bytes], check: Callable[[memoryview], None]) -> memoryview:
        try:
            data = memoryview(get())
            try:
                check(data)
            except CorruptDataError:
                data = memoryview(get())
                check(data)
        except MissingObjectError as err:
            raise self.missing(key) from err
        return data

    def several(self, read: Callable[[T], R], items: Sequence[T]) -> Iterable[R]:
        """What ``read`` gives of each, several at a time where the store is far away."""
        if self.store.parallel == 1 or len(items) == 1:
            return map(read, items)
        process = os.getpid()  # threads do not follow into a child
        if process not in self._pools:
            self._pools[process] = ThreadPoolExecutor(self.store.parallel, thread_name_prefix="bams3-read")
        return self._pools[process].map(read, items)

    def missing(self, key: str) -> CorruptDataError:
        """The error for an object that the manifest names, and that is not there."""
        try:
            changed = self.store.get(spec.MANIFEST_KEY) != self._manifest
        except MissingObjectError:
            changed = True
        if changed:
            hint = "run again: the new store answers"
            raise StoreError(f"{self.name} was replaced while it was read", kind="store-changed", hint=hint)
        return CorruptDataError(
            f"{self.name} names {key}, which is not there",
            kind="missing-object",
            hint="the store was copied in part or damaged: convert the alignments again",
        )

    def bad_checksum(self, key: str, begin: int, end: int) -> CorruptDataError:
        """The error for bytes that are not those that were written."""
        return CorruptDataError(
            f"{self.name}/{key}: bytes {begin}-{end} do not match their checksum", kind="bad-checksum"
        )


class ChunkReader:
    """The row groups of one chunk that a question needs: fetched together, decoded one by one.

    Notes
    -----
    A fetch costs one request for the locate columns, whichever groups are asked for, and one for
    the other columns of groups that lie together; one in all where these follow those.
    """

    def __init__(self, objects: Objects, stored: StoredChunk) -> None:
        self._objects, self.stored = objects, stored
        self._fetched: dict[int, dict[str, tuple[int, memoryview]]] = {}
        self._columns: dict[int, Columns] = {}
        self._decoded: dict[int, set[str]] = {}

    @property
    def groups(self) -> list[int]:
        """Numbers of the chunk's row groups."""
        return [number for number, _ in self.stored.groups]

    def fetch(self, groups: Sequence[int], columns: Set[str] | None) -> None:
        """Read the blobs of these columns (None: all) that are not there yet, and check them.

        Raises
        ------
        CorruptDataError
            ``bad-checksum``, naming object and byte range; ``missing-object``.
        StoreError
            ``store-changed``; those of the store.
        """
        runs = self.runs(groups, columns)
        for run in self._objects.several(self._read, runs):
            self._keep(*run)

    def runs(
        self, groups: Sequence[int], columns: Set[str] | None, before: Set[str] | None = frozenset()
    ) -> list[list[int]]:
        """The blobs that a fetch would read, a list a request; behind a fetch of the columns ``before``."""
        locate: list[int] = []
        others: list[int] = []
        for group in groups:
            stored = self._stored_columns(group)
            codecs = {name: codec for name, (_, codec) in stored.items()}
            wanted, have = (stored.keys() if c is None else needed(c, codecs) for c in (columns, before))
            for name in wanted - have - self._fetched.get(group, {}).keys():
                (locate if name in spec.LOCATE else others).append(stored[name][0])
        others.sort()
        if locate and others and self._gap(max(locate), others[0]) <= GAP_BYTES:
            first, *rest = self._runs(others)
            return [sorted(locate) + first, *rest]
        return [run for run in (sorted(locate), *self._runs(others)) if run]

    def size_bytes(self, groups: Sequence[int], columns: Set[str] | None) -> int:
        """Bytes that a fetch would read."""
        return sum(self.run_bytes(run) for run in self.runs(groups, columns))

    def run_bytes(self, run: list[int]) -> int:
        """Bytes of one of the requests that ``runs`` names."""
        return int(self.stored.offsets[run[-1] + 1] - self.stored.offsets[run[0]])

    def _gap(self, before: int, behind: int) -> int:
        """Bytes between two blobs."""
        return int(self.stored.offsets[behind] - self.stored.offsets[before + 1])

    def _stored_columns(self, group: int) -> dict[str, tuple[int, int]]:
        """Blob number and codec number of each column of a row group."""
        names, blobs = self.stored.directory.columns, self.stored.directory.blobs
        mine = np.flatnonzero(blobs["group"] == group)
        columns, codecs = blobs["column"][mine].tolist(), blobs["codec"][mine].tolist()
        return {names[c]: (i, codec) for i, c, codec in zip(mine.tolist(), columns, codecs, strict=True)}

    def _runs(self, numbers: list[int]) -> Iterator[list[int]]:
        """Blobs cut where more than GAP_BYTES lie between two of them."""
        run: list[int] = []
        for i in numbers:
            if run and self._gap(run[-1], i) > GAP_BYTES:
                yield run
                run = []
            run.append(i)
        if run:
            yield run

    def _read(self, numbers: list[int]) -> tuple[list[int], memoryview]:
        """Read blobs, which are in file order, with one request."""
        stored, blobs = self.stored, self.stored.directory.blobs

        def check(data: memoryview) -> None:
            for i, part in self._parts(numbers, data):
                low, high = int(stored.offsets[i]), int(stored.offsets[i + 1])
                if len(part) != high - low or crc32(part) != int(blobs["crc32"][i]):
                    raise self._objects.bad_checksum(stored.key, low, high)

        begin = int(stored.offsets[numbers[0]])
        return numbers, self._objects.read(stored.key, begin, self.run_bytes(numbers), check)

    def _parts(self, numbers: list[int], data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Each of the blobs that were read together."""
        offsets = self.stored.offsets
        begin = int(offsets[numbers[0]])
        for i in numbers:
            yield i, data[int(offsets[i]) - begin : int(offsets[i + 1]) - begin]

    def _keep(self, numbers: list[int], data: memoryview) -> None:
        stored, blobs = self.stored, self.stored.directory.blobs
        for i, part in self._parts(numbers, data):
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
        where = f"{self._objects.name}/{self.stored.key}"
        return CorruptDataError(f"{where}: row group {group}: {err}", kind=err.kind)
