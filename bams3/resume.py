"""What a killed conversion left behind, and how the next one goes on from there.

``_resume/IDENTITY/NUMBER.json`` are finished spans: where each begins in the input, how many records lie
before it and in it, and its chunks. IDENTITY is a hash of the input, the options and the versions, so
that another input or other options never meet these notes. Where a write takes long, a note holds all
spans that were finished during the one before.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import zstandard

from . import __version__
from .format import spec
from .format.directory import crc32
from .format.index import ChunkSummary
from .pipeline import ordered_map
from .store import Store
from .store.base import MissingObjectError


@dataclass(frozen=True, slots=True)
class SpanDone:
    """A span whose chunks are all written.

    Attributes
    ----------
    span
        (section, window).
    offset
        BGZF virtual offset of its first record in the input.
    first_record, records
        Records before it, and in it.
    rows
        Its rows of the index (fields of index.CHUNK, as numbers).
    """

    span: tuple[int, int]
    offset: int
    first_record: int
    records: int
    rows: tuple[tuple[int, ...], ...]


class SpanLog(Protocol):
    """Where a conversion notes what it has finished."""

    def add(self, span: SpanDone, summaries: Sequence[ChunkSummary]) -> None:
        """Note that a span is finished, with what its chunks hold."""
        ...

    def close(self) -> None:
        """Wait until all is written."""
        ...


def identity_hash(identity: dict[str, Any]) -> str:
    """Name of the notes of conversions of one input with one set of options."""
    versions = [spec.VERSION, __version__, zstandard.ZSTD_VERSION]
    text = json.dumps({"versions": versions, **identity}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _render(spans: Sequence[SpanDone]) -> bytes:
    """A note: the spans, and a checksum of them."""
    text = json.dumps([asdict(span) for span in spans])
    return f'{{"spans_done": {text}, "crc32": {crc32(text.encode())}}}\n'.encode()


def _parse(data: bytes) -> list[SpanDone]:
    """The inverse; nothing where a note is damaged."""
    try:
        spans = [span_of(fields) for fields in json.loads(data)["spans_done"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    return spans if data == _render(spans) else []


def span_of(fields: dict[str, Any]) -> SpanDone:
    """A span from its note; one of several errors where the note contradicts itself."""
    rows = tuple(tuple(map(int, row)) for row in fields.pop("rows"))
    section, window = map(int, fields.pop("span"))
    span = SpanDone(span=(section, window), rows=rows, **fields)
    numbers = span.offset, span.first_record, span.records
    if not all(isinstance(n, int) and n >= 0 for n in numbers) or span.records != sum(r[-1] for r in rows):
        raise ValueError("numbers that contradict each other")
    return span


class ResumeLog:
    """Notes of finished spans in a store, for one identity; None keeps no notes."""

    def __init__(self, store: Store, identity: str | None) -> None:
        self._store = store
        self._prefix = f"{spec.RESUME_PREFIX}{identity}/"
        self._keeps = identity is not None
        self._number = 0
        self._pending: list[SpanDone] = []
        self._lock = threading.Lock()
        self._busy = False
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None

    def load(self) -> list[tuple[int, SpanDone]]:
        """Finished spans in order, each with the number of its note, as far as notes are whole and go on.

        Two conversions at once write over each other's notes, which may hold other spans; the first that ends
        removes them.
        """
        found = set(self._store.list(self._prefix)) if self._keeps else set()
        keys = list(itertools.takewhile(found.__contains__, map(self._key, itertools.count())))
        done: list[tuple[int, SpanDone]] = []
        records = 0
        with ThreadPoolExecutor(self._store.parallel) as pool:
            notes = ordered_map(pool, self._read, keys, 2 * self._store.parallel)
            for number, spans in enumerate(notes):
                for span in spans:
                    if span.first_record != records:
                        return done
                    done.append((number, span))
                    records += span.records
                if not spans:
                    break
        return done

    def _read(self, key: str) -> list[SpanDone]:
        try:
            return _parse(self._store.get(key))
        except MissingObjectError:
            return []

    def go_on(self, number: int, spans: Sequence[SpanDone] = ()) -> None:
        """Write from this note on, first these spans."""
        self._number = number
        if spans:
            self._write(spans)

    def add(self, span: SpanDone, summaries: Sequence[ChunkSummary] = ()) -> None:
        """Note that a span is finished; where a write takes long, in a thread."""
        del summaries  # who goes on reads the chunks again, and checks them so
        if not self._keeps:
            return
        if self._store.parallel == 1:
            self._write([span])
            return
        with self._lock:
            self._pending.append(span)
            if self._busy:
                self._raise()
                return
            self._busy = True
            self._writer = self._writer or ThreadPoolExecutor(1, "bams3-notes")
            self._writing = self._writer.submit(self._drain)

    def close(self) -> None:
        """Wait until all is written."""
        if self._writer is not None:
            self._writer.shutdown()
        self._raise()

    def _raise(self) -> None:
        """What went wrong in the thread."""
        if self._writing is not None and self._writing.done():
            self._writing.result()

    def _drain(self) -> None:
        while True:
            with self._lock:
                spans, self._pending = self._pending, []
                if not spans:
                    self._busy = False
                    return
            self._write(spans)

    def _write(self, spans: Sequence[SpanDone]) -> None:
        self._store.put(self._key(self._number), _render(spans))
        self._number += 1

    def clear(self) -> None:
        """Remove these notes."""
        if self._keeps:
            self._store.delete(*self._store.list(self._prefix))

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:08d}.json"
