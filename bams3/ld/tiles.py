"""Tiles: which pairs of variants there are, and how they are cut into squares of a triangle or a band.

A block is a run of consecutive variants, a tile the pairs of block i with block j, i <= j. Blocks are of
equal size; tiles are numbered from 1 by row and then by column. In a band, where pairs are no further apart
than given, those without pairs are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..columns import Array
from ..errors import InputError

_CONTIG_BITS = 40  # positions are below 2^31; both in one number are compared at once


@dataclass(frozen=True, slots=True)
class Limits:
    """Which variants are paired: those of one contig, no further apart than given.

    Attributes
    ----------
    max_distance_bp
        Largest difference of two positions (bp).
    max_variants
        Largest difference of two variants' numbers.
    inter_chr
        Whether variants of different contigs are paired too; then there are no other limits.
    """

    max_distance_bp: int | None = None
    max_variants: int | None = None
    inter_chr: bool = False

    @property
    def is_band(self) -> bool:
        """Whether only near variants are paired."""
        return self.max_distance_bp is not None or self.max_variants is not None

    def __post_init__(self) -> None:
        if self.inter_chr and self.is_band:
            message = "pairs of different contigs have no distance: leave out one of the two"
            raise InputError(message, kind="usage")
        for name, words in (("max_distance_bp", "distance"), ("max_variants", "number of variants")):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"the largest {words} is {value}: give 1 or more", kind="usage")


class Tile(NamedTuple):
    """Pairs of two blocks; ``rows`` and ``columns`` are (first, end) variants."""

    number: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    pairs: int


class Tiling(NamedTuple):
    """All tiles of a panel."""

    blocks: int
    tiles: tuple[Tile, ...]

    @property
    def pairs(self) -> int:
        """Pairs of all tiles."""
        return sum(tile.pairs for tile in self.tiles)

    def tile(self, number: int) -> Tile:
        """A tile by its number.

        Raises
        ------
        InputError
            kind ``no-such-tile``.
        """
        if not 1 <= number <= len(self.tiles):
            raise InputError(
                f"there is no tile {number}: they are 1 to {len(self.tiles)}", kind="no-such-tile"
            )
        return self.tiles[number - 1]


def ends_of(contig: Array, start_bp: Array, limits: Limits, rows: Array | None = None) -> Array:
    """Behind which variant each one's partners end; they begin right behind itself.

    Parameters
    ----------
    contig, start_bp
        (V,) Of all variants, both ascending.
    rows
        (R,) int64. Numbers of the variants that are asked for; None: all.

    Returns
    -------
    (R,) int64. Numbers of variants.
    """
    numbers = np.arange(len(contig)) if rows is None else rows
    if limits.inter_chr:
        return np.full(len(numbers), len(contig), np.int64)
    of_contig = contig.astype(np.int64) << _CONTIG_BITS
    places = of_contig + start_bp + 1  # a position may be -1
    if limits.max_distance_bp is None:
        furthest = of_contig[numbers] + (1 << _CONTIG_BITS) - 1
    else:
        furthest = places[numbers] + min(limits.max_distance_bp, 1 << 31)
    end = np.searchsorted(places, furthest, side="right")
    if limits.max_variants is not None:
        end = np.minimum(end, numbers + 1 + limits.max_variants)
    return end


def spans_of(tile_rows: tuple[int, int], tile_columns: tuple[int, int], ends: Array) -> tuple[Array, Array]:
    """Where each row's partners begin and end among the columns of a tile: (R,) int64 each.

    Parameters
    ----------
    ends
        (R,) What ``ends_of`` gave for the rows of the tile.
    """
    first, end = tile_columns
    numbers = np.arange(*tile_rows)
    begins = (numbers + 1).clip(first, end) - first
    stops = ends.clip(first, end) - first
    return begins, np.maximum(begins, stops)


def tiling_of(ends: Array, blocks: int, *, is_band: bool) -> Tiling:
    """The tiles of ``blocks`` equal blocks of variants.

    Parameters
    ----------
    ends
        (V,) What ``ends_of`` gave for all variants.
    """
    bounds = (np.arange(blocks + 1) * len(ends) // blocks).tolist()
    tiles: list[Tile] = []
    for i, rows in enumerate(pairwise(bounds)):
        own = ends[rows[0] : rows[1]]
        furthest = int(own.max(initial=0))
        for columns in pairwise(bounds[i:]):
            if is_band and columns[0] >= furthest:
                break
            begins, stops = spans_of(rows, columns, own)
            pairs = int((stops - begins).sum())
            if pairs or not is_band:
                tiles.append(Tile(len(tiles) + 1, rows, columns, pairs))
    return Tiling(blocks, tuple(tiles))


def tiling_of_at_least(ends: Array, tiles: int, blocks: int, *, is_band: bool) -> Tiling:
    """The tiling of the fewest blocks, at least so many, that has so many tiles; or all there are."""
    low = high = blocks
    while len(tiling_of(ends, high, is_band=is_band).tiles) < tiles and high < len(ends):
        low, high = high, min(2 * high, len(ends))
    while low < high:
        middle = (low + high) // 2
        if len(tiling_of(ends, middle, is_band=is_band).tiles) >= tiles:
            high = middle
        else:
            low = middle + 1
    return tiling_of(ends, low, is_band=is_band)


def tiling_of_tiles(ends: Array, tiles: int, *, is_band: bool) -> Tiling:
    """The tiling that has so many tiles.

    Raises
    ------
    InputError
        kind ``bad-tiles``: no number of blocks makes that many; names the nearest numbers that are possible.
    """
    found = tiling_of_at_least(ends, tiles, 1, is_band=is_band)
    if len(found.tiles) == tiles:
        return found
    below = []
    if found.blocks > 1 and len(found.tiles) > tiles:
        below = [len(tiling_of(ends, found.blocks - 1, is_band=is_band).tiles)]
    nearest = " and ".join(f"{n:,}" for n in [*below, len(found.tiles)])
    raise InputError(
        f"blocks of equal size do not make {tiles:,} tiles",
        kind="bad-tiles",
        hint=f"the nearest numbers are {nearest}; without limits they are k (k + 1) / 2: 1, 3, 6, 10, 15, 21",
    )
