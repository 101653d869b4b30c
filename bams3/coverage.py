"""Depth: which bases count, changes of depth put together in file order, and what spans have of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from . import kernels
from .columns import Array, Columns
from .errors import CorruptDataError, InputError
from .filters import Filters
from .format import spec
from .kernels import Axis, Changes, SpanSums

#: Reads that are not counted unless a user says so: unmapped, secondary, failed, duplicate.
DEFAULT_EXCLUDE_FLAGS = 0x704
_UNMAPPED = 0x4
#: Depth is held for this many positions at a time: the longest span of a chunk, and then some.
MAX_PIECE_BP = spec.MAX_CHUNK_SPAN_BP + (1 << 16)


@dataclass(frozen=True, slots=True)
class Rules:
    """Which bases a read covers, and which reads count.

    Attributes
    ----------
    mode
        What a read covers; an unmapped one covers nothing. ``depth``: the bases of M, = and X (samtools
        depth). ``span``: from the first base to the last, deletions and skips too (mosdepth -x, samtools
        bedcov).
    filters
        Which reads count.
    min_bq
        Least base quality, of mode ``depth`` only.

    Raises
    ------
    InputError
        ``usage``.
    """

    mode: str = "depth"
    filters: Filters = field(default_factory=lambda: Filters(exclude_flags=DEFAULT_EXCLUDE_FLAGS))
    min_bq: int = 0

    def __post_init__(self) -> None:
        if self.mode == "span" and self.min_bq:
            raise InputError(
                "a span covers bases that have no quality",
                kind="usage",
                hint="use --min-bq with --mode depth",
            )

    def needs(self) -> set[str]:
        """Columns that depth is made of under these rules."""
        covers = {"ref_len"} if self.mode == "span" else {"cigar"}
        quality = {"seq_len", "quals"} if self.min_bq else set()
        return {"contig", "pos", "flag"} | covers | quality | self.filters.needs()

    def mask(self, columns: Columns) -> Array:
        """Which records count (R, uint8)."""
        assert columns.flag is not None
        keep = self.filters.mask(columns)
        mapped: Array = (columns.flag & _UNMAPPED == 0).view(np.uint8)
        return mapped if keep is None else mapped & keep

    @property
    def indexed(self) -> bool:
        """Whether the index holds the sums of just these bases."""
        return self == Rules()


def axis_of(first_contig: int, lengths: Array) -> Axis:
    """The axis of a section whose contigs have these lengths (uint64)."""
    base = np.zeros(lengths.size, np.uint64)
    np.cumsum(lengths[:-1], out=base[1:])
    return Axis(first_contig, base, lengths)


def begin_changes(axis: Axis, extents: Array) -> Changes:
    """No changes yet, with room for records of these extents."""
    local = extents["contig"] - axis.first_contig
    base, length = axis.base[local].astype(np.int64), axis.length[local].astype(np.int64)
    # Records may lie beyond their contig's end, where the next one begins.
    start = int((base + np.clip(extents["start"], 0, length)).min())
    end = int((base + np.clip(extents["end"], 0, length)).max())
    dense = np.zeros(min(max(end - start, 0), MAX_PIECE_BP), np.int32)
    return Changes(start, dense, np.empty(0, np.int64))


def add_columns(columns: Columns, keep: Array | None, axis: Axis, rules: Rules, to: Changes) -> Changes:
    """Changes with those of one row group's records that ``keep`` marks added."""
    assert columns.pos is not None
    assert columns.contig is not None
    mode = kernels.SPAN if rules.mode == "span" else kernels.ALIGNED
    max_late = _max_late(columns, axis, to, mode)
    late = kernels.add_changes(columns, keep, axis, mode, rules.min_bq, to, max_late)
    return to._replace(late=np.concatenate((to.late, late)))


def _max_late(columns: Columns, axis: Axis, to: Changes, mode: int) -> int:
    """How many changes may lie behind ``to.dense``."""
    end = to.start + to.dense.size
    if end >= int(axis.length.sum()) or mode == kernels.SPAN:
        return 2 * columns.n  # where reads begin and end
    assert columns.cigar is not None
    # Two for each operation, of 4 bytes; and one for each base whose quality is of another kind.
    return columns.cigar.data.size // 2 + (0 if columns.quals is None else columns.quals.size)


class Piece(NamedTuple):
    """Changes of depth (int32) from position ``start`` on; ``before`` is the depth in front of it."""

    start: int
    before: int
    dense: Array

    def depth(self) -> Array:
        """Depth of each position (uint32)."""
        out = np.cumsum(self.dense, dtype=np.int32)
        out += np.int32(self.before)
        return out.view(np.uint32)

    def clip(self, low: int, high: int) -> Piece:
        """The part of it in [low, high)."""
        skip = min(max(low - self.start, 0), self.dense.size)
        before = self.before + int(self.dense[:skip].sum(dtype=np.int64)) if skip else self.before
        return Piece(self.start + skip, before, self.dense[skip : max(high - self.start, skip)])


class Merger:
    """Changes of one section's chunks, taken in file order, given as pieces that nothing is added to.

    Where there is no piece depth is 0.
    """

    def __init__(self, axis: Axis) -> None:
        self._end = int(axis.length.sum())
        self._at = self._depth = 0
        self._dense, self._late = np.zeros(0, np.int32), np.zeros(0, np.int64)

    def add(self, changes: Changes) -> Iterator[Piece]:
        """Take the changes of the next chunk; pieces in front of it."""
        yield from self._until(changes.start)
        at = changes.start - self._at
        if at < 0:
            raise CorruptDataError("row groups overlap a chunk before theirs", kind="bad-index")
        n = max(at + changes.dense.size, self._dense.size)
        dense = np.zeros(n, np.int32)
        dense[: self._dense.size] = self._dense
        dense[at : at + changes.dense.size] += changes.dense
        self._dense = dense
        self._late = np.concatenate((self._late, changes.late))

    def finish(self) -> Iterator[Piece]:
        """What is left."""
        yield from self._until(self._end)

    def _until(self, end: int) -> Iterator[Piece]:
        while self._at < end:
            room = end - self._at
            if not self._dense.size and not self._depth and not self._is_late(end):
                self._at = end
                return
            n = min(room, self._dense.size or MAX_PIECE_BP)
            dense = self._dense[:n] if self._dense.size else np.zeros(n, np.int32)
            self._add_late(dense)
            yield Piece(self._at, self._depth, dense)
            self._depth += int(dense.sum(dtype=np.int64))
            self._at += n
            self._dense = self._dense[n:]

    def _is_late(self, end: int) -> bool:
        return bool((self._late < end << 1).any())

    def _add_late(self, dense: Array) -> None:
        """Move the late changes that lie in ``dense``, which begins at the place reached, into it."""
        if self._late.size:
            here = self._late < (self._at + dense.size) << 1
            late = self._late[here]
            np.add.at(dense, (late >> 1) - self._at, 1 - 2 * (late & 1).astype(np.int32))
            self._late = self._late[~here]


def by_contig(axis: Axis, piece: Piece) -> Iterator[tuple[int, Piece]]:
    """(contig, its part with positions of its own) of a piece of an axis."""
    base, length = axis.base.astype(np.int64), axis.length.astype(np.int64)
    first = int(np.searchsorted(base + length, piece.start, "right"))
    for k in range(first, base.size):
        low, high = int(base[k]), int(base[k] + length[k])
        if low >= piece.start + piece.dense.size:
            return
        if high > low:
            part = piece.clip(low, high)
            yield axis.first_contig + k, part._replace(start=part.start - low)
            piece = piece.clip(high, piece.start + piece.dense.size)


class SpanDepths:
    """Depth of spans of one contig, in any order: sum, breadth, least and most, bases above thresholds."""

    def __init__(self, start: Array, end: Array, thresholds: tuple[int, ...] = ()) -> None:
        self.start, self.end = start, end
        self._order = np.argsort(start, kind="stable")
        self._start, self._end = start[self._order], end[self._order]
        self._last_end = np.maximum.accumulate(self._end) if start.size else self._end
        self._thresholds = np.array(thresholds, np.uint32)
        self._sums = SpanSums.zeros(start.size, len(thresholds))
        self._seen = np.zeros(start.size, np.int64)

    def add(self, piece: Piece) -> None:
        """Take a piece's depths."""
        stop = piece.start + piece.dense.size
        low = int(np.searchsorted(self._last_end, piece.start, "right"))
        high = int(np.searchsorted(self._start, stop, "left"))
        if low >= high:
            return
        spans = slice(low, high)
        start, end = self._start[spans], self._end[spans]
        sums = SpanSums(*(column[spans] for column in self._sums))
        kernels.add_spans(piece.depth(), piece.start, start, end, self._thresholds, sums)
        self._seen[spans] += np.maximum(np.minimum(end, stop) - np.maximum(start, piece.start), 0)

    def sums(self) -> SpanSums:
        """The sums, in the order of the spans; positions that no piece had have depth 0."""
        least = np.where(self._seen < self._end - self._start, 0, self._sums.least)
        least[self._end <= self._start] = 0
        back = np.empty_like(self._order)
        back[self._order] = np.arange(back.size)
        return SpanSums(*(column[back] for column in self._sums._replace(least=least)))


def windows(start_bp: int, end_bp: int, window_bp: int) -> tuple[Array, Array]:
    """Starts and ends (int64) of the windows that tile a span; the last may be shorter."""
    start = np.arange(start_bp, end_bp, window_bp, dtype=np.int64)
    return start, np.minimum(start + window_bp, end_bp)


def runs(pieces: Iterator[Piece], start_bp: int, end_bp: int) -> Iterator[tuple[Array, Array, Array]]:
    """Starts, ends and depths (int64) of the runs of equal depth that tile [start_bp, end_bp)."""
    open_at, depth, at = start_bp, 0, start_bp
    for piece in pieces:
        starts, depths = kernels.depth_runs(piece.dense, piece.before)
        starts += piece.start
        if piece.start > at:
            starts, depths = np.insert(starts, 0, at), np.insert(depths, 0, 0)
        at = piece.start + piece.dense.size
        new = np.diff(depths, prepend=depth) != 0
        starts, depths = np.insert(starts[new], 0, open_at), np.insert(depths[new], 0, depth)
        if starts.size > 1 and starts[1] == open_at:  # nothing lies in front of the first run
            starts, depths = starts[1:], depths[1:]
        if starts.size > 1:
            yield starts[:-1], starts[1:], depths[:-1]
        open_at, depth = int(starts[-1]), int(depths[-1])
    last = [(open_at, at, depth), (at, end_bp, 0)] if depth else [(open_at, end_bp, 0)]
    left = np.array([run for run in last if run[0] < run[1]], np.int64).reshape(-1, 3)
    if left.size:
        yield left[:, 0], left[:, 1], left[:, 2]


def means(sums: Array, start: Array, end: Array) -> Array:
    """Sums by the length of their spans (float64); 0 for an empty one."""
    out: Array = sums / np.maximum(end - start, 1)
    return out
