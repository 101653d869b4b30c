"""Spans of one contig against records and row groups: the overlap of samtools view, for many at once.

A record overlaps [start, end) if its position is below ``end`` and its end above ``start``; one that
is unmapped, or covers no reference base, is one base long. The unplaced reads are one span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .columns import Array, Columns
from .regions import Region

_UNMAPPED = 0x4


def record_bounds(columns: Columns) -> tuple[Array, Array]:
    """Position and end of every record (R,) int64; one that covers no reference base is one base long."""
    assert columns.pos is not None
    assert columns.flag is not None
    assert columns.ref_len is not None
    pos = columns.pos.astype(np.int64)
    length = np.where(columns.flag & _UNMAPPED, 0, columns.ref_len.astype(np.int64))
    return pos, pos + np.maximum(length, 1)


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of a contig (-1: the unplaced reads, whatever the bounds); int64 arrays, in any order."""

    contig: int
    start: Array
    end: Array

    @classmethod
    def of(cls, contig: int, regions: Sequence[Region]) -> Spans:
        start = np.array([region.start_bp for region in regions], np.int64)
        return cls(contig, start, np.array([region.end_bp for region in regions], np.int64))

    def take(self, numbers: Array) -> Spans:
        """Some of the spans."""
        return Spans(self.contig, self.start[numbers], self.end[numbers])

    def meet(self, extent: Any) -> Array:
        """Which spans may hold records of an extent (a row of EXTENT)."""
        if self.contig < 0:
            return np.ones(self.start.size, bool)
        meets: Array = (self.start < extent["end"]) & (self.end > extent["start"])
        return meets

    def hold(self, extent: Any) -> Array:
        """Which spans hold every record of an extent."""
        if self.contig < 0:
            return np.ones(self.start.size, bool)
        holds: Array = (self.start <= extent["start"]) & (self.end >= extent["end"])
        return holds

    def _here(self, columns: Columns) -> Array:
        assert columns.contig is not None
        here: Array = columns.contig == self.contig
        return here

    def counts(self, columns: Columns, mask: Array | None) -> Array:
        """Records in each span, of those that ``mask`` marks (None: all); int64.

        Notes
        -----
        A record that ends at or before ``start`` begins below ``end``, so two sorted arrays are
        enough: those that begin below ``end``, less those that end at or before ``start``.
        """
        among = self._here(columns)
        if mask is not None:
            among = among & mask.astype(bool)
        if self.contig < 0:
            return np.full(self.start.size, int(np.count_nonzero(among)))
        pos, stop = (bound[among] for bound in record_bounds(columns))
        before = np.searchsorted(np.sort(pos), self.end, "left")
        counts: Array = before - np.searchsorted(np.sort(stop), self.start, "right")
        return counts

    def mask(self, columns: Columns) -> Array:
        """Which records overlap any span (R, uint8); the spans must be sorted and apart."""
        here = self._here(columns)
        if self.contig < 0:
            return here.view(np.uint8)
        pos, stop = record_bounds(columns)
        first = np.searchsorted(self.end, pos, "right")  # the first span that ends behind the record's start
        start = np.append(self.start, np.iinfo(np.int64).max)[first]
        return (here & (start < stop)).view(np.uint8)
