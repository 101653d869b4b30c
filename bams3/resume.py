"""What a killed conversion left behind, and how the next one goes on from there.

``_resume/IDENTITY/NUMBER.json`` is one finished span: where it begins in the input, how many
records lie before it and in it, and its chunks. IDENTITY is a hash of the input, the options and
the versions, so that another input or other options never meet these notes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import zstandard

from . import __version__
from .format import spec
from .format.directory import crc32
from .store import Store


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


def identity_hash(identity: dict[str, Any]) -> str:
    """Name of the notes of conversions of one input with one set of options."""
    versions = [spec.VERSION, __version__, zstandard.ZSTD_VERSION]
    text = json.dumps({"versions": versions, **identity}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _render(span: SpanDone) -> bytes:
    """A note: the span, and a checksum of it."""
    text = json.dumps(asdict(span))
    return f'{{"span_done": {text}, "crc32": {crc32(text.encode())}}}\n'.encode()


def _parse(data: bytes) -> SpanDone | None:
    """The inverse; None where a note is damaged."""
    try:
        value = json.loads(data)
        fields = value["span_done"]
        rows = tuple(tuple(map(int, row)) for row in fields.pop("rows"))
        section, window = map(int, fields.pop("span"))
        done = SpanDone(span=(section, window), rows=rows, **fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return done if data == _render(done) else None


class ResumeLog:
    """Notes of finished spans in a store, for one identity; None keeps no notes."""

    def __init__(self, store: Store, identity: str | None) -> None:
        self._store = store
        self._prefix = f"{spec.RESUME_PREFIX}{identity}/"
        self._keeps = identity is not None
        self._number = 0

    def load(self) -> list[SpanDone]:
        """Finished spans in order, as far as the notes are whole."""
        done: list[SpanDone] = []
        while self._keeps and self._store.exists(self._key(len(done))):
            span = _parse(self._store.get(self._key(len(done))))
            if span is None:
                break
            done.append(span)
        return done

    def keep(self, n_spans: int) -> None:
        """Go on after the first ``n_spans`` of what was loaded."""
        self._number = n_spans

    def add(self, span: SpanDone) -> None:
        """Note that a span is finished."""
        if self._keeps:
            self._store.put(self._key(self._number), _render(span))
        self._number += 1

    def clear(self) -> None:
        """Remove these notes."""
        for key in list(self._store.list(self._prefix)) if self._keeps else ():
            self._store.delete(key)

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:08d}.json"
