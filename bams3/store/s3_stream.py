"""An object in S3 as a file that is read on from any place, the next parts fetched meanwhile."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..errors import InputError
from .s3 import S3Store

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Bytes of a request, and how many are under way.
_PART_BYTES, _PARTS = 4 << 20, 6
#: Bytes of the first request at a new place, of which little may be wanted; the next ones double.
_FIRST_BYTES = 256 << 10


class S3Stream(io.RawIOBase):
    """The bytes of an object, which must not change while they are read.

    Raises
    ------
    InputError
        From a read: ``input-changed``; those of the store.
    """

    def __init__(self, store: S3Store, key: str) -> None:
        self.name = f"{store.name}/{key}"
        self._store, self._key = store, key
        self.size_bytes, self.etag = store.identity(key)
        self._pool = ThreadPoolExecutor(_PARTS, thread_name_prefix="bams3-input")
        self._parts: deque[Future[bytes]] = deque()
        self._next = 0  # of the part that is asked for next
        self._at = 0  # of what is read next
        self._asked = 0  # requests since the last seek
        self._part = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go on from another place; what was fetched ahead is dropped."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size_bytes}[whence]
        if start + offset != self._at:
            for part in self._parts:
                part.cancel()
            self._parts.clear()
            self._part = memoryview(b"")
            self._at = self._next = start + offset
            self._asked = 0
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._part:
            self._part = memoryview(next(self._fetched(), b""))
        view = memoryview(buffer).cast("B")
        n = min(len(view), len(self._part))
        view[:n], self._part = self._part[:n], self._part[n:]
        self._at += n
        return n

    def _fetched(self) -> Iterator[bytes]:
        most = min(_PARTS, self._asked // 2 + 1)
        while self._next < self.size_bytes and len(self._parts) < most:
            size_bytes = min(_PART_BYTES, _FIRST_BYTES << self._asked, self.size_bytes - self._next)
            self._parts.append(self._pool.submit(self._fetch, self._next, size_bytes))
            self._next += size_bytes
            self._asked = min(self._asked + 1, 20)
        if self._parts:
            yield self._parts.popleft().result()

    def _fetch(self, offset: int, size_bytes: int) -> bytes:
        data = self._store.get_range_of(self._key, self.etag, offset, size_bytes)
        if len(data) != size_bytes:
            raise InputError(f"{self.name} was changed while it was read", kind="input-changed")
        return data

    def close(self) -> None:
        """Give up what was fetched ahead."""
        if not self.closed:
            self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()
