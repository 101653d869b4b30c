"""What regions of a store hold, told by its index: what the units of a plan may cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..columns import Array
from ..format import index
from ..reader import StoreIndex
from ..regions import Region


class Load(NamedTuple):
    """What R regions hold, (R,) float64 each.

    Attributes
    ----------
    inside_bytes
        Of the records in a region, all columns.
    read_bytes, locate_bytes
        Of the row groups that a region meets, but for those that the one before it met too: all columns, and
        those that locate.
    bound_bytes
        Locate columns of the row groups at its bounds alone, which is what a count reads.
    """

    inside_bytes: Array
    read_bytes: Array
    locate_bytes: Array
    bound_bytes: Array


def loads(reader: StoreIndex, regions: Sequence[Region]) -> Load:
    """Loads of regions, whose contigs the store has, sorted on each; reads one small range of the index.

    Notes
    -----
    Records of a span are taken to lie evenly in it, so that the amount up to a position is a line between
    known points. A region's bound lies in the middle of a row group, on average, which is read whole. Small
    contigs that share chunks are one span.
    """
    costs = reader.costs
    if not costs.size or not regions:
        return Load(*(np.zeros(len(regions)) for _ in Load._fields))
    base, width = _axis(reader)
    start, first = np.unique(base[costs["contig"]] + costs["start"], return_index=True)
    stop = start + width[costs["contig"][first]]
    group_bp = (stop - start) / np.maximum(np.add.reduceat(costs["groups"], first), 1)
    low, high = _on_axis(reader, regions, base)
    half_bp = [group_bp[np.maximum(np.searchsorted(start, at, "right") - 1, 0)] / 2 for at in (low, high - 1)]
    begin, end = low - half_bp[0], high + half_bp[1]
    begin = np.minimum(np.maximum(begin, _behind(reader, regions, end, base[-1])), end)

    def between(name: str, begin: Array, end: Array) -> Array:
        """How much of a column lies between positions."""
        of_span = np.add.reduceat(costs[name], first).astype(np.float64)
        total = np.cumsum(of_span)
        edges = np.stack([start, stop], axis=1).reshape(-1)
        rising = np.stack([total - of_span, total], axis=1).reshape(-1)
        return np.interp(end, edges, rising) - np.interp(begin, edges, rising)

    locate = between("locate_bytes", begin, end)
    at_low, at_high = (
        between("locate_bytes", at - half, at + half) for at, half in zip((low, high), half_bp, strict=True)
    )
    read = between("bytes", begin, end)
    return Load(between("bytes", low, high), read, locate, np.minimum(locate, at_low + at_high))


def _behind(reader: StoreIndex, regions: Sequence[Region], end: Array, size_bp: float) -> Array:
    """How far the regions before each one on its contig have read."""
    contigs = np.array([reader.contigs.id_of(region.contig) for region in regions], np.int64)
    run = np.cumsum(np.append(0, contigs[1:] != contigs[:-1])) * (2.0 * size_bp)
    return np.append(-np.inf, np.maximum.accumulate(end + run)[:-1]) - run


def _axis(reader: StoreIndex) -> tuple[Array, Array]:
    """Contigs laid end to end, (contigs + 1,): where each begins, and the bp of its spans."""
    lengths, span_bp = reader.contigs.lengths, reader.manifest.span_bp
    room, width = np.maximum(np.array([*lengths, 1], np.int64), 1), np.zeros(len(lengths) + 1, np.int64)
    for section in index.sections_of(lengths, span_bp)[:-1]:  # the last is of the unplaced reads
        mine = slice(section.first, section.first + section.n)
        if section.span_bp:
            room[mine] = -(-lengths[section.first] // span_bp) * span_bp
        width[mine] = section.span_bp or room[mine].sum()
    return np.cumsum(room) - room, width


def _on_axis(reader: StoreIndex, regions: Sequence[Region], base: Array) -> tuple[Array, Array]:
    """First position of each region, and the one behind its last, of contigs laid end to end."""
    contigs = np.array([reader.contigs.id_of(region.contig) for region in regions], np.int64)
    room = base[contigs + 1] - base[contigs]
    start = np.minimum(np.array([region.start_bp for region in regions], np.int64), room - 1)
    end = np.minimum(np.array([region.end_bp for region in regions], np.int64), room)
    return base[contigs] + start, base[contigs] + np.maximum(end, start + 1)
