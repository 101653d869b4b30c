"""What LD of a panel takes: its tiles, and the memory and time of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..columns import Array
from ..errors import InputError
from ..kernels.ld import instruction_sets
from ..slices import Slice
from ..variants import Planes, Sites, words_of
from .pairs import Rule
from .tiles import Limits, Tile, Tiling, ends_of, tiling_of_at_least, tiling_of_tiles

#: Bytes of a process without variants; of pairs that go to the file, were they all to pass; of a thread.
_BASE_BYTES, _WRITING_BYTES, _THREAD_BYTES = 110 << 20, 72 << 20, 24 << 20
#: Of a variant beside its bits: places, names, sums.
_SITE_BYTES = 160
#: Words of 64 bits that a core ANDs and counts in a nanosecond.
_WORDS_PER_NS = {"plain": 0.7, "popcnt": 4.2, "avx2": 6.0, "avx512": 22.0, "neon": 6.0}


class Panel(Protocol):
    """What is needed of panel.StoredPanel."""

    name: str
    identity: str
    samples: tuple[str, ...]
    n_variants: int
    n_phased: int
    has_missing: bool
    has_haploid: bool

    def sites(self, first: int, end: int) -> Sites: ...

    def planes(self, first: int, end: int) -> Planes: ...


@dataclass(frozen=True, slots=True)
class LdPlan:
    """All tiles of a panel, and what is asked of its pairs."""

    panel: Panel
    limits: Limits
    rule: Rule
    tiling: Tiling

    def asked(self) -> dict[str, Any]:
        """What decides which pairs come out, as JSON has it."""
        return {
            "panel": self.panel.identity,
            "max_distance_bp": self.limits.max_distance_bp,
            "max_variants": self.limits.max_variants,
            "inter_chr": self.limits.inter_chr,
            "min_r2": str(self.rule.min_r2),
            "max_p": self.rule.max_p,
            "unphased": self.rule.is_unphased,
            "em": self.rule.is_em,
        }

    def cut(self) -> dict[str, int]:
        """How pairs are cut into tiles, as JSON has it."""
        return {"blocks": self.tiling.blocks, "tiles": len(self.tiling.tiles)}

    def memory_bytes(self, tile: Tile, workers: int) -> int:
        """What a process that works on a tile holds at most."""
        variants = sum(end - first for first, end in {tile.rows, tile.columns})
        return _memory_bytes(self.panel, self.rule, variants, tile.rows == tile.columns, workers)

    def seconds(self, tile: Tile) -> float:
        """About how long one core of this machine works on a tile."""
        words = 2 * words_of(len(self.panel.samples))
        partial = 4 if self.panel.has_missing or self.panel.has_haploid else 1
        return tile.pairs * words * partial / _WORDS_PER_NS[instruction_sets()[-1]] / 1e9

    def slice(self, which: Slice) -> tuple[Tile, ...]:
        """The tiles of a slice: consecutive ones, of about equal pairs."""
        tiles = self.tiling.tiles
        middle = np.cumsum([tile.pairs for tile in tiles]) - np.array([tile.pairs for tile in tiles]) / 2
        of = (middle * which.n // max(1, self.tiling.pairs)).astype(int)
        return tuple(tile for tile, i in zip(tiles, of.tolist(), strict=True) if i == which.i - 1)


def _memory_bytes(panel: Panel, rule: Rule, variants: int, is_diagonal: bool, workers: int) -> int:
    """Two forms of each variant on the diagonal, else one; and its planes, from which they are made."""
    words = words_of(len(panel.samples))
    plane = 2 + panel.has_missing + panel.has_haploid
    n_phased = 0 if rule.is_unphased else panel.n_phased
    is_partial = panel.has_missing or panel.has_haploid
    form = (2 + 2 * is_partial) * (n_phased > 0)
    form += (2 + is_partial + panel.has_haploid) * (n_phased < panel.n_variants)
    per_variant = 8 * words * (plane + form * (1 + is_diagonal)) + _SITE_BYTES
    return _BASE_BYTES + _WRITING_BYTES + workers * _THREAD_BYTES + variants * per_variant


def make_plan(
    panel: Panel,
    limits: Limits,
    rule: Rule,
    *,
    tiles: int | None = None,
    max_memory_bytes: int | None = None,
    least_tiles: int = 1,
    workers: int = 1,
) -> LdPlan:
    """The tiles of a panel: so many, or the fewest whose memory is small enough, or a single one.

    Where ``tiles`` does not say it, there are at least ``least_tiles``, as far as there are pairs.

    Raises
    ------
    InputError
        ``bad-tiles``, ``no-pairs``; ``too-little-memory`` naming the smallest that works.
    """
    ends = _ends(panel, limits)
    if tiles is not None and max_memory_bytes is not None:
        hint = "with --tiles the memory is what tiles of that size need: bams3 ld-plan tells"
        raise InputError("--tiles and --max-memory exclude each other", kind="usage", hint=hint)
    if tiles is not None:
        plan = LdPlan(panel, limits, rule, tiling_of_tiles(ends, tiles, is_band=limits.is_band))
    else:
        blocks = 1 if max_memory_bytes is None else _fewest_blocks(panel, rule, max_memory_bytes, workers)
        tiling = tiling_of_at_least(ends, least_tiles, blocks, is_band=limits.is_band)
        plan = LdPlan(panel, limits, rule, tiling)
    if not plan.tiling.pairs:
        hint = "a panel of one variant, or limits that are too narrow"
        raise InputError(f"{panel.name}: no two variants are to be paired", kind="no-pairs", hint=hint)
    return plan


def _ends(panel: Panel, limits: Limits) -> Array:
    sites = panel.sites(0, panel.n_variants)
    return ends_of(sites.contig, sites.start_bp, limits)


def _fewest_blocks(panel: Panel, rule: Rule, most: int, workers: int) -> int:
    def needs(blocks: int) -> int:
        size = -(-panel.n_variants // blocks)
        if blocks == 1:
            return _memory_bytes(panel, rule, size, True, workers)
        return max(
            _memory_bytes(panel, rule, 2 * size, False, workers),
            _memory_bytes(panel, rule, size, True, workers),
        )

    low, high = 1, panel.n_variants
    if needs(high) > most:
        least = -(-needs(high) // 2**20)
        hint = f"give {least}M or more, or fewer --workers"
        raise InputError(f"{most / 2**20:.0f}M is too little memory", kind="too-little-memory", hint=hint)
    while low < high:
        middle = (low + high) // 2
        if needs(middle) <= most:
            high = middle
        else:
            low = middle + 1
    return low
