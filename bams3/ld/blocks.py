"""Blocks of variants as the kernels take them: bits of haplotypes, or of samples.

Axes in docstrings: V variants, W words of a row of a plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..columns import Array
from ..kernels.ld import COLUMNS_AT_ONCE, LANES, ROWS_AT_ONCE, Form, Side
from ..variants import Planes, Sites

#: Variants whose bits are made at a time.
_AT_ONCE = 1024


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
    padded = -(-len(planes.first) // ROWS_AT_ONCE) * ROWS_AT_ONCE
    words = np.zeros((padded, form.planes, form.plane_words), np.uint64)
    return _filled(words, words, planes, form)


def as_columns(planes: Planes, form: Form) -> Side:
    """Variants as columns of a tile, and columns without items that make their number a multiple."""
    padded = -(-len(planes.first) // COLUMNS_AT_ONCE) * COLUMNS_AT_ONCE
    words = np.zeros((padded // LANES, form.planes, form.plane_words, LANES), np.uint64)
    return _filled(words, words.transpose(0, 3, 1, 2), planes, form)


def _filled(words: Array, by_variant: Array, planes: Planes, form: Form) -> Side:
    """The side of some words, once variants are in them: some at a time, as what is between takes memory too.

    Parameters
    ----------
    by_variant
        The same words as (V, planes, words), or (V / LANES, LANES, planes, words).
    """
    V, padded = len(planes.first), words.size // (form.planes * form.plane_words)
    sums, spread = np.zeros((2, padded))
    is_partial = np.zeros(padded, np.uint8)
    for first in range(0, V, _AT_ONCE):
        some = planes.between(first, min(first + _AT_ONCE, V))
        end = first + len(some.first)
        bits, known = _bits_of(some, form)
        if by_variant.ndim == 3:
            by_variant[first:end] = bits
        else:
            by_variant[np.arange(first, end) // LANES, np.arange(first, end) % LANES] = bits
        items, squares = _count(known), _count(bits[:, 0])
        total = squares if form.is_phased else 2 * _count(bits[:, 1]) - squares
        sums[first:end], spread[first:end] = total, items * squares - total * total
        is_partial[first:end] = items < form.samples * (2 if form.is_phased else 1)
    return Side(words, sums, spread, is_partial)


def _bits_of(planes: Planes, form: Form) -> tuple[Array, Array]:
    """(V, planes, words) of native/ld.h, and the (V, words) items that have a value."""
    V, W = planes.first.shape
    known = _known(planes, form)
    bits = np.zeros((V, form.planes, form.plane_words), np.uint64)
    if form.is_phased:
        bits[:, 0, :W], bits[:, 0, W:] = planes.first, planes.second
    else:
        bits[:, 0] = ~(planes.first ^ planes.second) & known
        bits[:, 1] = planes.first & planes.second
    if form.has_known:
        bits[:, 1 if form.is_phased else 2] = known
    if form.has_single and planes.haploid is not None:
        bits[:, 3] = planes.haploid
    return bits, known


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


def _count(words: Array) -> Array:
    """(V,) int64. Bits that are set in each row."""
    bits: Array = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    return bits
