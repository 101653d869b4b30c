"""What a killed conversion left behind, and how the next one goes on from there.

``_resume/IDENTITY/NUMBER.json`` is one finished span: where it begins in the input, how many
records lie before it and in it, and its chunks. IDENTITY is a hash of the input, the options and
the version, so that another input or other options never meet these notes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from .format import spec
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
    text = json.dumps({"version": spec.VERSION, **identity}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
            try:
                value = json.loads(self._store.get(self._key(len(done))))
                rows = tuple(tuple(map(int, row)) for row in value["rows"])
                section, window = map(int, value["span"])
                offset, first, records = (int(value[k]) for k in ("offset", "first_record", "records"))
                done.append(SpanDone((section, window), offset, first, records, rows))
            except (ValueError, KeyError, TypeError):
                break
        return done

    def keep(self, n_spans: int) -> None:
        """Go on after the first ``n_spans`` of what was loaded."""
        self._number = n_spans

    def add(self, span: SpanDone) -> None:
        """Note that a span is finished."""
        if self._keeps:
            self._store.put(self._key(self._number), json.dumps(asdict(span)).encode())
        self._number += 1

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:08d}.json"
