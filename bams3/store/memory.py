"""A store in memory that counts what it is asked: tests state with it what a question may cost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from .base import MissingObjectError


@dataclass
class Counts:
    """Requests and bytes since the last reset."""

    gets: int = 0
    puts: int = 0
    got_bytes: int = 0
    ranges: list[tuple[str, int, int]] = field(default_factory=list)


class MemoryStore:
    """Objects in a dictionary; ``counts`` is what was asked of it."""

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self._lock = threading.Lock()
        self.objects: dict[str, bytes] = {}
        self.counts = Counts()

    @property
    def name(self) -> str:
        return self._name

    def put(self, key: str, data: bytes) -> None:
        with self._lock:
            self.counts.puts += 1
            self.objects[key] = bytes(data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self._lock:
            self.counts.puts += 1
            if key in self.objects:
                return False
            self.objects[key] = bytes(data)
            return True

    def put_if_match(self, key: str, data: bytes, expected: bytes) -> bool:
        with self._lock:
            self.counts.puts += 1
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
            self.counts.gets += 1
            self.counts.got_bytes += len(data)
            self.counts.ranges.append((key, offset, size_bytes))
            return data

    def exists(self, key: str) -> bool:
        return key in self.objects

    def size(self, key: str) -> int:
        if key not in self.objects:
            raise MissingObjectError(f"{self.name}/{key}")
        return len(self.objects[key])

    def delete(self, key: str) -> None:
        with self._lock:
            self.objects.pop(key, None)

    def list(self, prefix: str = "") -> Iterator[str]:
        yield from sorted(key for key in self.objects if key.startswith(prefix))
