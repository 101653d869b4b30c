"""What every store can do, and the one error that callers tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..errors import StoreError


class MissingObjectError(StoreError):
    """There is no object under this key."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} is not there", kind="missing-object")


class Store(Protocol):
    """Objects by key: whole writes, ranged reads, conditional puts. Safe to use from threads.

    Raises
    ------
    MissingObjectError
        From ``get``, ``get_range`` and ``size`` of a key that is not there.
    StoreError
        Where disk or network fail, ``kind`` telling which.
    """

    @property
    def name(self) -> str:
        """How a user would write it."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write an object whole; a reader sees the old bytes or the new ones, never a mixture."""
        ...

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; whether it was written."""
        ...

    def put_if_match(self, key: str, data: bytes, expected: bytes) -> bool:
        """Write an object if it still holds ``expected``; whether it was written."""
        ...

    def get(self, key: str) -> bytes:
        """All bytes of an object."""
        ...

    def get_range(self, key: str, offset: int, size_bytes: int) -> bytes:
        """A range of an object; fewer bytes where it ends before."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is an object."""
        ...

    def size(self, key: str) -> int:
        """Bytes of an object."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin with ``prefix``, sorted."""
        ...
