"""Where a BAM is cut into n slices, each of whole spans: all who cut the same file so agree, unasked.

Cut k lies at a record near the k-th n-th of the file's bytes: the next that its index names, or, without
one, the next that is found in the bytes. What follows it of its span belongs to the slice before: slice k + 1
begins with the span behind. So a slice is a range of the file between two spans, and may be empty.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from . import kernels
from .bam import BamHeader
from .cutting import Layout
from .errors import Bams3Error, CorruptDataError, InputError
from .slices import Slice
from .starts import BLOCK_SEARCH_BYTES, Inflated, find_block, find_record, is_record

_NO_LIMIT = 1 << 62
#: A span is read to its end from as near as this, if records are found there.
_NEAR_BYTES = 2 << 20
#: For damage behind a cut, which may be none.
WRONG_CUT_HINT = "if samtools quickcheck finds no damage: index it, and run all slices again"


class Cut(NamedTuple):
    """Virtual offset of a record, and its span (section, number); None at the end of the file."""

    offset: int
    span: tuple[int, int] | None


class Cuts:
    """The cuts of one file into ``n`` slices.

    Parameters
    ----------
    file, name
        The BAM, which may be read from any block on, and its name in messages.
    start
        Virtual offset of its first record.
    known
        Virtual offsets of records that its index names, sorted; those that hold none are not believed.

    Notes
    -----
    A cut reads a few blocks where the index or the writer put records at the start of blocks. The end of the
    span that it lies in is found by halving what lies before the next cut, then read.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        header: BamHeader,
        layout: Layout,
        start: int,
        n: int,
        known: Sequence[int] = (),
    ) -> None:
        self._file, self._name = file, name
        self._n_contigs, self._layout = len(header.contigs), layout
        self._known, self._n = known, n
        self._size_bytes = file.seek(0, 2)
        self._cuts: dict[int, Cut] = {}
        self._ends: dict[int, int] = {}
        self.start, self.end = start, self._size_bytes << 16

    def cuts_of(self, which: Slice) -> tuple[int, int]:
        """Virtual offsets of the cuts before and behind a slice: these tell it from slices cut otherwise."""
        return self._cut(which.i - 1).offset, self._cut(which.i).offset

    def range_of(self, which: Slice) -> tuple[int, int] | None:
        """Virtual offsets of a slice's first record and of the first behind it; None if it has no spans."""
        before, behind = self._cut(which.i - 1), self._cut(which.i)
        if which.i > 1 and (before.span == behind.span or before.span == (-1, 0)):
            return None
        start = self.start if which.i == 1 else self._next_span(which.i - 1)
        end = self.end if which.i == self._n else self._next_span(which.i)
        if start > end:
            raise bad_cut(self._name, f"slice {which} would end before it begins")
        return (start, end) if start < end else None

    def _cut(self, k: int) -> Cut:
        if k not in self._cuts:
            self._cuts[k] = self._new_cut(k)
        return self._cuts[k]

    def _new_cut(self, k: int) -> Cut:
        if k == 0:
            return Cut(self.start, None)
        first = self.start >> 16
        for later in range(k, self._n):  # where bytes are damaged, the next cut takes this one's place
            wanted = first + later * (self._size_bytes - first) // self._n
            found = self._indexed(wanted) or self._found(wanted)
            if found:
                return found
        return Cut(self.end, None)

    def _indexed(self, wanted: int) -> Cut | None:
        """At the next record that the index names; a stale index names places where none is."""
        i = bisect_left(self._known, wanted << 16)
        if i == len(self._known):
            return None
        offset = self._known[i]
        try:
            stream = Inflated(self._file, self._name, offset >> 16)
            at = offset & 0xFFFF
            if stream.reach(at + 1) and is_record(stream, at, self._n_contigs):
                return self._at(stream, at)
        except CorruptDataError:
            pass
        return None

    def _found(self, wanted: int) -> Cut | None:
        """At the next record that is found in the bytes, or the end of the file."""
        try:
            block = find_block(self._file, self._name, wanted)
            if block is None:
                return Cut(self.end, None) if wanted + BLOCK_SEARCH_BYTES >= self._size_bytes else None
            stream = Inflated(self._file, self._name, block)
            at = find_record(stream, self._n_contigs)
            if at is not None:
                return self._at(stream, at)
            return None if stream.grow() else Cut(self.end, None)
        except CorruptDataError:  # whoever converts this place says what is wrong with it
            return None

    def _at(self, stream: Inflated, at: int) -> Cut:
        scanner = self._scanner(most_records=1)
        scanner.scan(np.frombuffer(stream.data, np.uint8), at)
        return Cut(stream.virtual_offset(at), scanner.span)

    def _scanner(self, most_records: int = _NO_LIMIT) -> kernels.Scanner:
        sections, spans = self._layout.contig_section, self._layout.contig_span
        return kernels.Scanner(sections, spans, most_records, _NO_LIMIT)

    def _next_span(self, k: int) -> int:
        """Virtual offset of the first span behind a cut."""
        span = self._cut(k).span
        if span is None or span == (-1, 0):  # unplaced reads are the last span
            return self.end
        if self._cut(k + 1).span == span:
            k += bisect_right(range(k + 1, self._n), False, key=lambda j: self._cut(j).span != span)
        if k not in self._ends:
            self._ends[k] = self._end_of_span(self._late_in_span(k))
        return self._ends[k]

    def _late_in_span(self, k: int) -> int:
        """Virtual offset of a record not far from the end of a cut's span, which ends before the next cut."""
        low, high = self._cut(k).offset, self._cut(k + 1).offset
        while high - low > _NEAR_BYTES << 16:
            middle = (low + high) >> 17
            found = self._found(middle)
            if found and found.span == self._cut(k).span:
                low = found.offset
            else:
                high = middle << 16
        return low

    def _end_of_span(self, offset: int) -> int:
        stream, scanner, at = Inflated(self._file, self._name, offset >> 16), self._scanner(), offset & 0xFFFF
        while stream.grow():
            try:
                at, stop = scanner.scan(np.frombuffer(stream.data, np.uint8), at)
            except kernels.KernelError as err:
                raise self._bad_record(err, stream.virtual_offset(at)) from err
            if stop == kernels.Scanner.SPAN:
                return stream.virtual_offset(at)
            stream.drop(at)
            at = 0
        return self.end

    def _bad_record(self, err: kernels.KernelError, offset: int) -> Bams3Error:
        where = f"{self._name}: behind byte {offset >> 16}"
        if err.code == kernels.ERR_UNSORTED:
            hint = f"sort it first: samtools sort -o sorted.bam {self._name}"
            return InputError(f"{where}: not in coordinate order", kind="unsorted", hint=hint)
        return CorruptDataError(f"{where}: {err}", kind=err.kind, hint=WRONG_CUT_HINT)


def bad_cut(name: str, words: str) -> InputError:
    """The error for what looked like records, and was none."""
    hint = f"index it (samtools index {name}) and run all slices again, or convert it without --slice"
    return InputError(f"{name} cannot be cut so: {words}", kind="bad-cut", hint=hint)
