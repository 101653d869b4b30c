"""What a slice of a conversion leaves for itself, if it is killed, and for the one who seals the store.

    _resume/IDENTITY/3-of-8.CUT-CUT/000000123456.json   a finished span, by the slice's records before it
    _resume/IDENTITY/3-of-8.CUT-CUT/done.json           the slice is done: its range of the input, its records

IDENTITY is that of a conversion in one process (resume.py), CUT a virtual offset in hex (cuts.py). So slices
of other inputs, options, versions, of another n, or cut elsewhere, never meet. What a note holds follows from
its name: two who run the same slice write the same notes. A note of a span holds what the index needs of it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from .errors import CorruptDataError
from .format import index, spec
from .format.directory import crc32
from .format.frames import PLAIN_ZSTD, pack_frame
from .format.index import ChunkSummary
from .pipeline import ordered_map
from .resume import SpanDone, span_of
from .slices import Slice
from .store import Store
from .store.base import MissingObjectError

#: Notes that are written or read at once, where that takes long.
_AT_ONCE = 8
#: What a note that is damaged, or none, makes of itself while it is read.
_DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    CorruptDataError,
    MissingObjectError,
)


@dataclass(frozen=True, slots=True)
class SliceDone:
    """A slice whose spans are all done; ``range`` is None where it has none.

    Attributes
    ----------
    range
        Virtual offsets of its first record, and of the first behind it.
    """

    range: tuple[int, int] | None
    spans: int
    records: int


class SpanNote(NamedTuple):
    """A finished span, its ``first_record`` counted from the slice's, and what its chunks hold."""

    span: SpanDone
    summaries: list[ChunkSummary]


# ---- notes and their bytes ----


def _render(value: dict[str, Any]) -> bytes:
    text = json.dumps(value)
    return f'{{"note": {text}, "crc32": {crc32(text.encode())}}}\n'.encode()


def _parse(data: bytes) -> dict[str, Any]:
    """The inverse; ValueError for other bytes."""
    value: dict[str, Any] = json.loads(data)["note"]
    if data != _render(value):
        raise ValueError("not as it was written")
    return value


def _render_span(note: SpanNote) -> bytes:
    summaries = note.summaries
    totals = np.concatenate([summary.totals for summary in summaries]).astype(np.uint64)
    frames = index.add_frames(summary.frames for summary in summaries)
    return _render(
        asdict(note.span)
        | {
            "directories": _text(pack_frame(b"".join(one.encoded for one in summaries), PLAIN_ZSTD)),
            "totals": _text(index.pack_uint64(totals)),
            "depth": [[number, _text(index.pack_uint64(sums))] for number, sums in sorted(frames.items())],
        }
    )


def _parse_span(data: bytes) -> SpanNote:
    fields = _parse(data)
    directories, totals, depth = (fields.pop(name) for name in ("directories", "totals", "depth"))
    span = span_of(fields)
    rows = np.array(list(span.rows), index.CHUNK)
    all_totals = index.parse_uint64(_bytes(totals), "totals").reshape(-1, len(spec.TOTALS))
    frames = {number: index.parse_depth(_bytes(text)) for number, text in depth}
    summaries, at = [], 0
    for i, directory in enumerate(index.parse_directories(_bytes(directories), rows)):
        mine = all_totals[at : at + directory.extents.size]
        row = rows[i : i + 1]
        summaries.append(ChunkSummary(row, directory, directory.encode(), mine, {} if i else frames))
        at += directory.extents.size
    if at != len(all_totals) or not summaries:
        raise ValueError("totals and extents that contradict each other")
    return SpanNote(span, summaries)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _parse_done(data: bytes) -> SliceDone:
    fields = _parse(data)
    bounds, spans, records = fields["range"], fields["spans"], fields["records"]
    if bounds is not None:
        start, end = map(int, bounds)
        bounds = start, end
    return SliceDone(bounds, int(spans), int(records))


# ---- notes of one slice ----

#: Whether a key is that of a finished span, and not of what a killed process was writing.
_IS_SPAN = re.compile(r"/[0-9]{12}\.json\Z").search


class SliceNotes:
    """The notes of one slice in a store.

    Parameters
    ----------
    identity
        Of the conversion.
    cuts
        Virtual offsets between which it was cut out.
    """

    def __init__(self, store: Store, identity: str, which: Slice, cuts: tuple[int, int]) -> None:
        self.which, self.cuts = which, cuts
        self._store = store
        before, behind = cuts
        self._prefix = f"{spec.RESUME_PREFIX}{identity}/{which.i}-of-{which.n}.{before:016x}-{behind:016x}/"
        self._writer: ThreadPoolExecutor | None = None
        self._writing: list[Future[None]] = []

    # -- writing --

    def add(self, span: SpanDone, summaries: Sequence[ChunkSummary]) -> None:
        """Note that a span is finished; where a write takes long, in a thread."""
        key = f"{self._prefix}{span.first_record:012d}.json"
        data = _render_span(SpanNote(span, list(summaries)))
        if self._store.parallel == 1:
            self._store.put(key, data)
            return
        self._writer = self._writer or ThreadPoolExecutor(_AT_ONCE, "bams3-notes")
        self._writing.append(self._writer.submit(self._store.put, key, data))
        while self._writing and self._writing[0].done():
            self._writing.pop(0).result()

    def close(self) -> None:
        """Wait until all is written."""
        for written in self._writing:
            written.result()
        self._writing.clear()
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = None

    def finish(self, done: SliceDone) -> None:
        """Note that all is done."""
        self._store.put(f"{self._prefix}done.json", _render(asdict(done)))

    # -- reading --

    def done(self) -> SliceDone | None:
        """What was noted last; None if that is not there, or damaged."""
        try:
            return _parse_done(self._store.get(f"{self._prefix}done.json"))
        except _DAMAGE:
            return None

    def spans(self, keys: Sequence[str] | None = None) -> Iterator[SpanNote]:
        """Finished spans in order, as far as notes are whole and continue each other.

        Parameters
        ----------
        keys
            Those of the notes, as the store lists them; None: it is asked.
        """
        found = filter(_IS_SPAN, self._store.list(self._prefix) if keys is None else keys)
        records = 0
        with ThreadPoolExecutor(min(self._store.parallel, _AT_ONCE)) as pool:
            for note in ordered_map(pool, self._read, found, _AT_ONCE):
                if note is None or note.span.first_record != records:
                    return
                records += note.span.records
                yield note

    def _read(self, key: str) -> SpanNote | None:
        try:
            return _parse_span(self._store.get(key))
        except _DAMAGE:
            return None


# ---- notes of all slices ----

_KEY = re.compile(r"([0-9]+)-of-([0-9]+)\.([0-9a-f]{16})-([0-9a-f]{16})/(?:done|[0-9]{12})\.json")


def find_slices(store: Store, identity: str) -> dict[int, list[tuple[SliceNotes, list[str]]]]:
    """The slices that notes of a conversion speak of, and the keys of the notes, by the number of slices."""
    prefix = f"{spec.RESUME_PREFIX}{identity}/"
    keys: dict[tuple[int, ...], list[str]] = {}
    for key in store.list(prefix):
        found = _KEY.fullmatch(key.removeprefix(prefix))
        if found:
            i, n, before, behind = found.groups()
            keys.setdefault((int(n), int(i), int(before, 16), int(behind, 16)), []).append(key)
    slices: dict[int, list[tuple[SliceNotes, list[str]]]] = {}
    for (n, i, before, behind), mine in sorted(keys.items()):
        notes = SliceNotes(store, identity, Slice(i, n), (before, behind))
        slices.setdefault(n, []).append((notes, mine))
    return slices
