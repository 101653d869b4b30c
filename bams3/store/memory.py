"""A store in memory that keeps what it is asked: tests state with it what a question may cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from .base import Entry, MissingObjectError, Requests


class MemoryStore:
    """Objects in a dictionary; ``ranges`` are the (key, offset, size_bytes) that were read."""

    parallel = 1

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self._lock = threading.Lock()
        self.objects: dict[str, bytes] = {}
        self.forget()

    def forget(self) -> None:
        """Count from now on."""
        self.requests = Requests()
        self.ranges: list[tuple[str, int, int]] = []

    @property
    def name(self) -> str:
        return self._name

    def put(self, key: str, data: bytes) -> None:
        self.requests.add(puts=1, bytes_out=len(data))
        with self._lock:
            self.objects[key] = bytes(data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        self.requests.add(puts=1, bytes_out=len(data))
        with self._lock:
            if key in self.objects:
                return False
            self.objects[key] = bytes(data)
            return True

    def put_if_match(self, key: str, data: bytes, expected: bytes) -> bool:
        self.requests.add(puts=1, bytes_out=len(data))
        with self._lock:
            if self.objects.get(key) != expected:
                return False
            self.objects[key] = bytes(data)
            return True

    def get(self, key: str) -> bytes:
        return self.get_range(key, 0, self.size(key))

    def get_range(self, key: str, offset: int, size_bytes: int) -> bytes:
        with self._lock:
            if key not in self.objects:
                raise MissingObjectError(f"{self.name}/{key}")
            data = self.objects[key][offset : offset + size_bytes]
            self.ranges.append((key, offset, size_bytes))
        self.requests.add(gets=1, bytes_in=len(data))
        return data

    def exists(self, key: str) -> bool:
        return key in self.objects

    def size(self, key: str) -> int:
        if key not in self.objects:
            raise MissingObjectError(f"{self.name}/{key}")
        return len(self.objects[key])

    def delete(self, *keys: str) -> None:
        with self._lock:
            for key in keys:
                self.objects.pop(key, None)

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        yield from (Entry(key, len(self.objects[key]), time.time()) for key in keys)

    def unfinished(self) -> Iterator[tuple[Entry, Callable[[], None]]]:
        yield from ()

    def list(self, prefix: str = "") -> Iterator[str]:
        yield from (entry.key for entry in self.entries(prefix))
