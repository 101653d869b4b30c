"""What every store can do, what it counts, and the one error that callers tell apart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Protocol

from ..errors import InputError, StoreError


class MissingObjectError(StoreError):
    """There is no object under this key."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} is not there", kind="missing-object")


@dataclass(frozen=True, slots=True)
class S3Options:
    """How S3 is reached; None: as the AWS CLI finds it in its environment and files.

    Attributes
    ----------
    endpoint_url
        Of an S3-compatible server, which is asked path-style.
    profile, region
        Of the AWS configuration.
    anonymous
        Whether requests are left unsigned, as public buckets allow.
    """

    endpoint_url: str | None = None
    profile: str | None = None
    region: str | None = None
    anonymous: bool = False


#: As the AWS CLI would reach it.
AS_CONFIGURED = S3Options()


@dataclass
class Requests:
    """What was asked of a store: numbers of requests, bytes, and seconds.

    Attributes
    ----------
    gets, puts, heads, lists, deletes
        Requests that were sent, those that had to be sent again too.
    bytes_in, bytes_out
        Bytes of objects that came and went.
    retries
        Requests that were sent again.
    waited_s
        Seconds that threads waited for answers, added up over the threads.
    """

    gets: int = 0
    puts: int = 0
    heads: int = 0
    lists: int = 0
    deletes: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    retries: int = 0
    waited_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, **more: float) -> None:
        """Count something, from any thread."""
        with self._lock:
            for name, n in more.items():
                setattr(self, name, getattr(self, name) + n)

    def as_dict(self) -> dict[str, Any]:
        """By name, as JSON has it."""
        names = [one.name for one in fields(self) if not one.name.startswith("_")]
        return {name: round(getattr(self, name), 3) for name in names}


class Entry(NamedTuple):
    """An object of a listing; ``modified_s`` in seconds since 1970."""

    key: str
    size_bytes: int
    modified_s: float


class Store(Protocol):
    """Objects by key: whole writes, ranged reads, conditional puts. Safe to use from threads.

    Attributes
    ----------
    name
        How a user would write it.
    requests
        What was asked of it so far.
    parallel
        How many requests are worth having under way at once; 1 where they cost no time.

    Raises
    ------
    MissingObjectError
        From ``get``, ``get_range`` and ``size`` of a key that is not there.
    StoreError, InputError
        Where disk or network fail, ``kind`` telling which.
    """

    requests: Requests
    parallel: int

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

    def delete(self, *keys: str) -> None:
        """Remove objects; one that is not there is no error."""
        ...

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Objects whose keys begin with ``prefix``, sorted by key."""
        ...

    def unfinished(self) -> Iterator[tuple[Entry, Callable[[], None]]]:
        """Uploads that were begun and not finished, and how each is given up."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin with ``prefix``, sorted."""
        ...


def split_address(address: str) -> tuple[str, str]:
    """Bucket and key of ``s3://BUCKET/KEY``; InputError ``bad-address``."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    key = key.rstrip("/")
    if not bucket or not key or key.startswith("/") or "//" in key:
        raise InputError(f"{address}: no S3 address", kind="bad-address", hint="write s3://BUCKET/KEY")
    return bucket, key
