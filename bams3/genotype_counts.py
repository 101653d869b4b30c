"""Counts of genotypes of probesets in batches: the tables that tests of homogeneity are made of.

A table whose rows are grouped by probeset is read in little memory, a block at a time. Where a probeset comes
again after it had ended, ``NotGroupedError`` says so and the caller starts anew: what was yielded cannot be
taken back. A second reading then holds all rows, 24 bytes each. Of tables on pipes it is the only one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .columns import Array
from .count_tables import BLOCK_BYTES, COUNTS, MAX_COUNT, Rows, Table, bad_counts, open_table
from .count_tables.names import BatchNames, BegunProbesets
from .errors import InputError
from .slices import Slice

GENOTYPES = ("AA", "AB", "BB", "NC")
"""The columns of a table; NC is no call."""

_OUT_ROWS = 1 << 18  # rows of a block made of rows in memory, at least
_OUT_BLOCKS = 32  # blocks that are made of them, at most: each one looks through all rows


@dataclass(frozen=True, slots=True)
class CountBlock:
    """Tables of P probesets, R rows in all: a row is a batch.

    Attributes
    ----------
    probesets
        (P,) Their ids, in the order in which the input names them first.
    start
        (P + 1,) uint64. Table p has rows ``start[p]`` up to ``start[p + 1]``.
    batch
        (R,) int32. Which of ``batches`` a row is; in a table the names ascend (bytes of UTF-8), none twice.
    batches
        Names of batches. Those of a block begin with those of the block before.
    counts
        (R, 4) int32. Samples by genotype, in the order of GENOTYPES; those of a row are below 2**31 in all.
    """

    probesets: list[str]
    start: Array
    batch: Array
    batches: list[str]
    counts: Array


class NotGroupedError(Exception):
    """A probeset came again after another one: read anew with ``grouped=False``. Not for users' eyes."""


def read_genotype_counts(
    source: Path | BinaryIO,
    *,
    which: Slice | None = None,
    sum_duplicates: bool = False,
    grouped: bool = True,
    on_note: Callable[[str], None] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[CountBlock]:
    """Tables of counts of all probesets, or of every n-th one, in the order of their first rows.

    Parameters
    ----------
    source
        TSV, also packed by gzip or zstd, or Parquet, told by its bytes: a file, a pipe, or an open stream,
        which messages call stdin. It has the columns ``probeset_id, batch_name, n_AA, n_AB, n_BB, n_NC``
        in any order; others are passed over. Rows may come in any order.
    which
        Of the probesets, numbered from 0 as they appear, those whose number is ``i - 1`` modulo ``n``. All
        rows are checked, but for rows that are there twice.
    sum_duplicates
        Add up the rows of one probeset and batch.
    grouped
        Count on the rows of each probeset being neighbours. Pipes are never counted on.
    on_note
        Told in a line that rows are not grouped, before the error that says so.
    block_bytes
        How much text is taken at a time. What the tables hold does not depend on it.

    Raises
    ------
    NotGroupedError
        ``grouped`` and the table is not; ``source``, if it is a stream, is then where it was at the start.
    InputError
        ``bad-counts``, ``doubled-batch``, ``missing-column``, ``doubled-column``, ``empty-table``,
        ``not-a-table``, ``no-such-file``, ``not-a-file``, ``not-readable``; all before a table of the block
        with the mistake is yielded.
    CorruptDataError
        ``truncated-file``, ``damaged-file``.

    Notes
    -----
    Grouped: a few blocks, and 8 bytes a probeset. Else 24 bytes a row (28 with ``which``) of the wanted
    probesets, the distinct names, and a few blocks.
    """
    start = source.tell() if not isinstance(source, Path) and source.seekable() else 0
    with open_table(source, block_bytes, again=grouped) as (table, can_restart):
        read = _Reading(table, which or Slice(1, 1), sum_duplicates)
        if not can_restart:
            yield from read.whole()
            return
        try:
            yield from read.streamed()
        except NotGroupedError as err:
            if not isinstance(source, Path):
                source.seek(start)
            if on_note:
                on_note(str(err))
            raise


@dataclass(slots=True)
class _Kept:
    """Rows on their way into tables: ``probeset`` counts those to be made, ``row`` the rows of the input."""

    probeset: Array
    batch: Array
    counts: Array
    row: Array

    def __getitem__(self, rows: Any) -> _Kept:
        return _Kept(self.probeset[rows], self.batch[rows], self.counts[rows], self.row[rows])


def _joined(several: Sequence[_Kept]) -> _Kept:
    return _Kept(
        np.concatenate([kept.probeset for kept in several]),
        np.concatenate([kept.batch for kept in several]),
        np.concatenate([kept.counts for kept in several]),
        np.concatenate([kept.row for kept in several]),
    )


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows in memory, 24 bytes each; those of a slice have their places after ``first`` in ``at``."""

    first: int
    at: Array | None
    probeset: Array
    batch: Array
    counts: Array

    def between(self, low: int, high: int) -> _Kept:
        """The rows of some probesets, which count from ``low`` on."""
        found = np.flatnonzero((self.probeset >= low) & (self.probeset < high))
        place = found if self.at is None else self.at[found].astype(np.int64)
        probeset = self.probeset[found].astype(np.int64) - low
        return _Kept(probeset, self.batch[found], self.counts[found], place + self.first)


@dataclass(slots=True)
class _Reading:
    """One reading of a table, in one of two ways."""

    table: Table
    which: Slice
    sum_duplicates: bool
    batches: BatchNames = field(default_factory=BatchNames)

    def streamed(self) -> Iterator[CountBlock]:
        """Blocks of a table with grouped rows; the last probeset of each is held until it has ended."""
        begun, n_begun, last = BegunProbesets(), 0, ""
        ids: list[str] = []
        held: list[_Kept] = []
        for rows in self.table.rows():
            runs = rows.runs.to_numpy(zero_copy_only=False).tolist()
            goes_on = int(runs[0] == last)  # no id is empty
            self._check_grouped(begun, rows.runs[goes_on:], runs[goes_on:])
            wanted = (
                np.arange(n_begun - goes_on, n_begun - goes_on + len(runs)) % self.which.n == self.which.i - 1
            )
            n_begun, last = n_begun + len(runs) - goes_on, runs[-1]
            n_held = 0 if goes_on else len(ids)
            ids = ids[:n_held] + [name for name, mine in zip(runs, wanted.tolist(), strict=True) if mine]
            kept = _joined([*held, self._wanted(rows, wanted, n_held)])
            n_done = len(ids) - int(wanted[-1])
            end = int(np.searchsorted(kept.probeset, n_done))
            if n_done:
                yield self._block(ids[:n_done], kept[:end])
            held, ids = [kept[end:]], ids[n_done:]
            held[0].probeset = np.zeros(len(held[0].row), np.int64)
        if ids:
            yield self._block(ids, _joined(held))

    def _check_grouped(self, begun: BegunProbesets, runs: Any, ids: list[str]) -> None:
        again = begun.add(runs, ids) if ids else None
        if again is not None:
            words = f"{self.table.name}: the rows of probeset {again} are not neighbours"
            raise NotGroupedError(f"{words}, so the table is held in memory (about 24 bytes a row)")

    def _wanted(self, rows: Rows, wanted: Array, first: int) -> _Kept:
        """The rows of the runs that are wanted, which are tables ``first`` and following."""
        table = np.cumsum(wanted) - 1 + first
        length = np.diff(rows.run_end, prepend=0)
        place = np.arange(rows.first, rows.first + len(rows.batch))
        kept = _Kept(np.repeat(table, length), self.batches.code(rows.names)[rows.batch], rows.counts, place)
        return kept if self.which.n == 1 else kept[np.repeat(wanted, length)]

    def whole(self) -> Iterator[CountBlock]:
        """Blocks of a table whose rows come in any order, made when all are in memory."""
        numbers: dict[str, int] = {}
        pieces = [self._piece(rows, numbers) for rows in self.table.rows()]
        ids = list(numbers)[self.which.i - 1 :: self.which.n]
        del numbers
        n_rows = np.zeros(len(ids), np.int64)
        for piece in pieces:
            n_rows += np.bincount(piece.probeset, minlength=len(ids))
        end = np.cumsum(n_rows)
        most = max(_OUT_ROWS, int(n_rows.sum()) // _OUT_BLOCKS)
        low = 0
        while low < len(ids):
            limit = end[low] - n_rows[low] + most
            high = max(low + 1, int(np.searchsorted(end, limit, side="right")))
            yield self._block(ids[low:high], _joined([piece.between(low, high) for piece in pieces]))
            low = high

    def _piece(self, rows: Rows, numbers: dict[str, int]) -> _Piece:
        """Rows with their probesets as numbers, those not wanted dropped; ``numbers`` gets what is new."""
        runs = rows.runs.dictionary_encode()
        names = runs.dictionary.to_numpy(zero_copy_only=False).tolist()
        numbers.update(zip([name for name in names if name not in numbers], itertools.count(len(numbers))))
        number = np.fromiter(map(numbers.__getitem__, names), np.int32, len(names))
        probeset = np.repeat(number[runs.indices.to_numpy()], np.diff(rows.run_end, prepend=0))
        batch = self.batches.code(rows.names)[rows.batch]
        if self.which.n == 1:
            return _Piece(rows.first, None, probeset, batch, rows.counts)
        at = np.flatnonzero(probeset % self.which.n == self.which.i - 1).astype(np.int32)
        return _Piece(rows.first, at, probeset[at] // self.which.n, batch[at], rows.counts[at])

    def _block(self, ids: list[str], kept: _Kept) -> CountBlock:
        """Tables of rows in any order."""
        rank = self.batches.ranks()
        key = kept.probeset * len(rank) + rank[kept.batch]
        if (key[1:] <= key[:-1]).any():
            order = np.argsort(key, kind="stable")  # of equal rows the first of the input stays first
            key, kept = key[order], kept[order]
            again = key[1:] == key[:-1]
            if again.any():
                kept = self._summed(ids, kept, again)
        self._check_samples(ids, kept)
        start = np.zeros(len(ids) + 1, np.uint64)
        start[1:] = np.cumsum(np.bincount(kept.probeset, minlength=len(ids)))
        return CountBlock(ids, start, kept.batch, list(self.batches.names), kept.counts)

    def _summed(self, ids: list[str], kept: _Kept, again: Array) -> _Kept:
        """Sorted rows, each that comes ``again`` added to the one before it."""
        if not self.sum_duplicates:
            again_at = np.flatnonzero(again)
            at = int(again_at[np.argmin(kept.row[1:][again])])
            place, before = self.table.place(int(kept.row[at + 1])), self.table.place(int(kept.row[at]))
            raise InputError(
                f"{self.table.name} {place}: {self._row_name(ids, kept, at)} has a row already, {before}",
                kind="doubled-batch",
                hint="a probeset has one row a batch; --sum-duplicates adds them up",
            )
        first = np.flatnonzero(np.concatenate([[True], ~again]))
        counts = np.add.reduceat(kept.counts, first, axis=0, dtype=np.int64)
        if counts.max() > MAX_COUNT:
            at, column = (int(k) for k in np.unravel_index(np.argmax(counts), counts.shape))
            where = f"{self.table.name} {self.table.place(int(kept.row[first[at]]))} column {COUNTS[column]}"
            words = f"{self._row_name(ids, kept, first[at])}: its rows add up to {counts[at, column]:,}"
            raise bad_counts(f"{where}: {words}", f"the largest count is {MAX_COUNT:,}")
        summed = kept[first]
        summed.counts = counts.astype(np.int32)
        return summed

    def _check_samples(self, ids: list[str], kept: _Kept) -> None:
        """Whether each row's samples can be counted."""
        if kept.counts.max(initial=0) <= MAX_COUNT // kept.counts.shape[1]:
            return
        samples = kept.counts.sum(axis=1, dtype=np.int64)
        at = int(np.argmax(samples))
        if samples[at] > MAX_COUNT:
            where = f"{self.table.name} {self.table.place(int(kept.row[at]))}"
            words = f"{self._row_name(ids, kept, at)} has {samples[at]:,} samples"
            raise bad_counts(f"{where}: {words}", f"the most is {MAX_COUNT:,}")

    def _row_name(self, ids: list[str], kept: _Kept, row: int) -> str:
        probeset, batch = ids[kept.probeset[row]], self.batches.names[kept.batch[row]]
        return f"probeset {probeset} in batch {batch}"
