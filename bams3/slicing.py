"""A conversion in slices: each converts whole spans of a range of the input; sealing makes them a store.

Slices know nothing of each other. What they leave are chunks and notes (slice_notes.py); the seal checks
that all are there and continue each other exactly, from the first record to the end of the file, and lays
out the index from the notes. It reads no chunk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from .bam import BamHeader, BgzfBatch
from .converter import Converter, ConvertOptions, ConvertReport
from .cuts import WRONG_CUT_HINT, Cuts, bad_cut
from .cutting import Layout
from .errors import CorruptDataError, InputError
from .format import spec
from .format.directory import content_hash
from .ingest import Source, batches_from, finish, identity_of, lost, read_beginning, seal, stale_keys
from .pipeline import ordered_map
from .resume import ResumeLog, SpanDone
from .slice_notes import SliceDone, SliceNotes, SpanNote, find_slices
from .slices import Slice, format_slices
from .store import Store
from .store.base import MissingObjectError

Say = Callable[[str], None]

# ---- one slice ----


def convert_slice(
    source: Source,
    store: Store,
    options: ConvertOptions,
    which: Slice,
    *,
    known: Sequence[int] = (),
    on_start: Callable[[int], None] = lambda _: None,
    on_progress: Callable[[int], None] = lambda _: None,
    on_warning: Say = lambda _: None,
) -> ConvertReport:
    """Convert one slice of a BAM that may be read from any block on; what was finished before is kept.

    Parameters
    ----------
    known
        Virtual offsets of records, sorted, as the input's index names them.
    on_start
        Called with the compressed bytes of the slice.

    Raises
    ------
    InputError
        ``unsorted``, ``bad-cut``; CorruptDataError where the input's bytes are wrong; StoreError where the
        store fails. What was finished is noted then.

    Notes
    -----
    Inflates twice what lies between its cuts and the spans behind them.
    """
    beginning = read_beginning(source, on_warning)
    header, start = beginning.header, beginning.virtual_offset
    layout = Layout.of(header, options.span_bp)
    cuts = Cuts(source.file, source.name, header, layout, start, which.n, known)
    notes = SliceNotes(store, _identity(source, header, options), which, cuts.cuts_of(which))
    converter = Converter(header, source.name, store, options, notes, on_progress)
    done, last = notes.done(), _go_on(converter, notes, store, options.workers)
    report = converter.report
    if done is None or (done.spans, done.records) != (report.spans_resumed, report.records):
        bounds = cuts.range_of(which)
        if bounds is not None:
            on_start((bounds[1] >> 16) - (bounds[0] >> 16))
            with _named(which, source.name):
                _convert_range(converter, source, bounds, cuts.end, last, on_warning)
        notes.finish(SliceDone(bounds, report.spans_resumed + report.spans_encoded, report.records))
    return report


def _identity(source: Source, header: BamHeader, options: ConvertOptions) -> str:
    identity = identity_of(source, header, options)
    if identity is None or not source.seekable:
        hint = "write it to a BAM file first, or convert it without --slice"
        raise InputError(f"{source.name} cannot be cut into slices", kind="not-sliceable", hint=hint)
    return identity


def _go_on(converter: Converter, notes: SliceNotes, store: Store, workers: int) -> SpanDone | None:
    """Take the spans that an earlier try finished and whose chunks are whole; give the last."""

    def checked(note: SpanNote) -> SpanNote | None:
        keys = _chunks(converter.layout, note)
        return note if all(_is_whole(store, key, size_bytes) for key, size_bytes in keys) else None

    last = None
    with ThreadPoolExecutor(max(workers, store.parallel), thread_name_prefix="bams3") as pool:
        for note in ordered_map(pool, checked, notes.spans(), workers + 1):
            if note is None:
                break
            converter.take(note.span.span, note.summaries)
            converter.report.spans_resumed += 1
            last = note.span
    return last


def _chunks(layout: Layout, note: SpanNote) -> list[tuple[str, int]]:
    """Keys and bytes of the chunks of a span."""
    rows = (summary.row[0] for summary in note.summaries)
    return [(layout.chunk_key(note.span.span, row), int(row["bytes"])) for row in rows]


def _is_whole(store: Store, key: str, size_bytes: int) -> bool:
    """Whether a chunk is there, with the bytes that its name stands for."""
    try:
        data = store.get(key)
    except MissingObjectError:
        return False
    return len(data) == size_bytes and key.endswith(f"-{content_hash(data):08x}.chunk")


def _convert_range(
    converter: Converter,
    source: Source,
    bounds: tuple[int, int],
    file_end: int,
    last: SpanDone | None,
    on_warning: Say,
) -> None:
    """Convert the records between two virtual offsets, or those behind the last finished span."""
    start, first, after = bounds[0], 0, 0
    if last is not None:
        start, first, after = last.offset, last.first_record, last.first_record + last.records
    batches = batches_from(source, start, on_warning)
    if bounds[1] == file_end:
        converter.run(batches, start & 0xFFFF, first, after)
        return
    try:
        limited = _batches_until(batches, bounds[1], source.name)
        converter.run(limited, start & 0xFFFF, first, after, bounds[1])
    except CorruptDataError as err:
        if err.kind == "truncated-file":  # what was found there is inside a record
            raise bad_cut(source.name, f"no record begins in the block at byte {bounds[1] >> 16}") from err
        raise


def _batches_until(batches: Iterator[BgzfBatch], end: int, name: str) -> Iterator[BgzfBatch]:
    """Batches up to the one that a virtual offset lies in or behind."""
    block, at = end >> 16, end & 0xFFFF
    for batch in batches:
        if batch.end_offset > block and block - batch.offset not in batch.starts:
            raise bad_cut(name, f"no block begins at byte {block}")
        yield batch
        if batch.end_offset > block or (batch.end_offset == block and not at):
            return


@contextlib.contextmanager
def _named(which: Slice, name: str) -> Iterator[None]:
    """Say of which slice an error speaks: it counts records from the slice's first."""
    try:
        yield
    except (InputError, CorruptDataError) as err:
        if not str(err).startswith(f"{name}: "):
            raise
        hint = err.hint
        if isinstance(err, CorruptDataError) and which.i > 1:
            hint = hint or WRONG_CUT_HINT
        raise type(err)(f"slice {which} of {err}", kind=err.kind, hint=hint) from err


# ---- all of them ----


def seal_slices(
    source: Source,
    store: Store,
    options: ConvertOptions,
    *,
    replaces: bytes | None = None,
    provenance: dict[str, Any] | None = None,
    on_warning: Say = lambda _: None,
) -> ConvertReport:
    """Make a store of the slices that were converted with these options.

    Raises
    ------
    InputError
        ``slices-missing``, naming those that are not done, or whose notes or chunks are not whole;
        ``bad-cut``; ``output-exists``. Nothing has changed then.

    Notes
    -----
    Reads the input's header, the notes, and a list of the store's objects.
    """
    beginning = read_beginning(source, on_warning)
    header = beginning.header
    identity = _identity(source, header, options)
    stale = stale_keys(store)
    several = _choose(source.name, store, identity, beginning.virtual_offset, source.file.seek(0, 2) << 16)
    sizes = {entry.key: entry.size_bytes for entry in store.entries(spec.DATA_PREFIX)}
    converter = Converter(header, source.name, store, options, ResumeLog(store, None))
    _take_slices(converter, several, sizes, store, source.name)
    sealed = seal(converter, header, store, options, replaces)
    if sealed is None:
        raise lost(store)
    finish(store, sealed, stale - converter.keys, provenance, on_warning)
    return converter.report


class _Found(NamedTuple):
    """A slice that is done: its notes, their keys, and what they say of it as a whole."""

    notes: SliceNotes
    keys: list[str]
    done: SliceDone

    @property
    def which(self) -> Slice:
        return self.notes.which


def _choose(name: str, store: Store, identity: str, start: int, end: int) -> list[_Found]:
    """Slices that were cut at the same places and are all done; of several n, the smallest."""
    several = {n: _done_ones(store, found) for n, found in find_slices(store, identity).items()}
    for n, found in several.items():
        row = _row(found, n, start, end)
        if row is not None:
            _check_meeting(name, row, start, end)
            return row
    if not several:
        others = any(store.list(spec.RESUME_PREFIX))
        hint = "convert them first: --slice 1/8, --slice 2/8, ..."
        if others:
            hint = "those that are there are of another input, of other options, or of another version"
        raise InputError(f"{store.name} holds no slices of {name}", kind="slices-missing", hint=hint)
    n = max(several, key=lambda n: len({one.which for one in several[n]}) / n)
    missing = {Slice(i, n) for i in range(1, n + 1)} - {one.which for one in several[n]}
    if missing:
        raise _not_done(store, sorted(missing))
    hint = f"run all {n} again, with the same index beside the input, or without one; what is right is kept"
    raise InputError(f"the slices of {name} were not all cut at the same places", kind="bad-cut", hint=hint)


def _done_ones(store: Store, found: list[tuple[SliceNotes, list[str]]]) -> list[_Found]:
    with ThreadPoolExecutor(store.parallel) as pool:
        done = ordered_map(pool, lambda one: one[0].done(), found, 2 * store.parallel)
        return [_Found(*one, it) for one, it in zip(found, done, strict=True) if it is not None]


def _row(found: list[_Found], n: int, start: int, end: int) -> list[_Found] | None:
    """One of each slice, each cut where the one before it was; None where there is no such row."""
    ways: dict[int, list[_Found]] = {end: []}  # from a cut to the end of the file, last slice first
    for i in range(n, 0, -1):
        mine = [one for one in found if one.which.i == i and one.notes.cuts[1] in ways]
        ways = {one.notes.cuts[0]: [*ways[one.notes.cuts[1]], one] for one in mine}
    row = ways.get(start)
    return None if row is None else row[::-1]


def _check_meeting(name: str, row: list[_Found], start: int, end: int) -> None:
    """Each slice must begin where the one before it ended, and the last one end with the file."""
    before, at = "the header", start
    for one in row:
        if one.done.range is not None:
            if one.done.range[0] != at:
                raise bad_cut(name, f"slice {one.which} does not begin where {before} ends")
            before, at = f"slice {one.which}", one.done.range[1]
    if at != end:
        raise bad_cut(name, f"{before} ends before the file does")


def _take_slices(
    converter: Converter, row: list[_Found], sizes: dict[str, int], store: Store, name: str
) -> None:
    """Take the spans of all slices into the index, each behind the one before it."""
    last, missing = (-1, -1), []
    for one in row:
        spans = records = 0
        for note in one.notes.spans(one.keys):
            if any(sizes.get(key) != size_bytes for key, size_bytes in _chunks(converter.layout, note)):
                break
            section, number = note.span.span
            place = (section % len(converter.layout.sections), number)  # -1 is the last
            if place <= last:
                raise bad_cut(name, f"slice {one.which} begins inside a span")
            converter.take(note.span.span, note.summaries)
            last, spans, records = place, spans + 1, records + note.span.records
        if (spans, records) != (one.done.spans, one.done.records):
            missing.append(one.which)
        converter.report.spans_resumed += spans
    if missing:
        raise _not_done(store, missing)


def _not_done(store: Store, missing: list[Slice]) -> InputError:
    words = f"{store.name}: {format_slices(missing)} {'is' if len(missing) == 1 else 'are'} not done"
    hint = f"run the same command with --slice {missing[0]} instead of --seal"
    return InputError(words, kind="slices-missing", hint=hint)
