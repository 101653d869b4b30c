"""Blocks of variants as the kernels take them: bits of haplotypes, or of samples.

Axes in docstrings: V variants, W words of a row of a plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..columns import Array
from ..kernels.ld import COLUMNS_AT_ONCE, LANES, ROWS_AT_ONCE, Form, Side
from ..variants import Planes, Sites


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive variants of a panel.

    Attributes
    ----------
    first
        The number of its first variant in the panel.
    sites, planes
        Of its variants.
    """

    first: int
    sites: Sites
    planes: Planes

    @property
    def end(self) -> int:
        """The number behind its last variant."""
        return self.first + len(self.sites)


def form_of(samples: int, rows: Planes, columns: Planes, *, is_phased: bool) -> Form:
    """What the bits of a tile have to tell."""
    both = rows, columns
    has_single = any(planes.haploid is not None for planes in both)
    has_missing = any(planes.missing is not None for planes in both)
    return Form(
        samples,
        is_phased,
        has_known=has_missing or has_single,
        has_single=has_single and not is_phased,
    )


def as_rows(planes: Planes, form: Form) -> Side:
    """Variants as rows of a tile, and rows without items that make their number a multiple."""
    return _side(planes, form, ROWS_AT_ONCE)


def as_columns(planes: Planes, form: Form) -> Side:
    """Variants as columns of a tile, and columns without items that make their number a multiple."""
    side = _side(planes, form, COLUMNS_AT_ONCE)
    together = side.words.reshape(-1, LANES, *side.words.shape[1:]).transpose(0, 2, 3, 1)
    return Side(np.ascontiguousarray(together), side.sum, side.spread, side.is_partial)


def _side(planes: Planes, form: Form, multiple: int) -> Side:
    V = len(planes.first)
    padded = -(-V // multiple) * multiple
    words = np.zeros((padded, form.planes, form.plane_words), np.uint64)
    known = _known(planes, form)
    if form.is_phased:
        W = form.plane_words // 2
        words[:V, 0, :W], words[:V, 0, W:] = planes.first, planes.second
        total = squares = _bits(words[:V, 0])
    else:
        words[:V, 0] = ~(planes.first ^ planes.second) & known
        words[:V, 1] = planes.first & planes.second
        squares = _bits(words[:V, 0])
        total = 2 * _bits(words[:V, 1]) - squares
    if form.has_known:
        words[:V, 1 if form.is_phased else 2] = known
    if form.has_single and planes.haploid is not None:
        words[:V, 3] = planes.haploid
    items = _bits(known)
    sums, spread = np.zeros((2, padded))
    sums[:V], spread[:V] = total, items * squares - total * total
    is_partial = np.zeros(padded, np.uint8)
    is_partial[:V] = items < form.samples * (2 if form.is_phased else 1)
    return Side(words, sums, spread, is_partial)


def _known(planes: Planes, form: Form) -> Array:
    """(V, words of a plane). The items that have a value."""
    known = np.broadcast_to(_samples(form.samples), planes.first.shape)
    if planes.missing is not None:
        known = known & ~planes.missing
    if not form.is_phased:
        return known
    second = known if planes.haploid is None else known & ~planes.haploid
    return np.concatenate([known, second], axis=1)


def _samples(samples: int) -> Array:
    """(W,) uint64. A bit for each sample."""
    words = np.full((samples + 63) // 64, ~np.uint64(0))
    if samples % 64:
        words[-1] >>= np.uint64(64 - samples % 64)
    return words


def _bits(words: Array) -> Array:
    """(V,) int64. Bits that are set in each row."""
    bits: Array = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    return bits
