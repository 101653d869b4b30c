"""Mean r2 of pairs of variants by their distance.

Axes in docstrings: K spans of distance, R rows and C columns of a matrix of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..columns import Array
from ..errors import InputError
from ..pipeline import ordered_map
from ..variants import Planes
from .correlate import Correlator, Genotypes
from .find import Finder, is_common

if TYPE_CHECKING:
    from ..format.panel_manifest import ContigRange
    from ..panel.stored import StoredPanel

#: Variants of the rows and of the columns that are compared at once.
_ROWS, _COLUMNS = 1024, 4096
_MOST_SPANS = 1_000_000


@dataclass(frozen=True, slots=True)
class Distances:
    """Spans of distance of equal width (bp) from 0 up to, and without, ``max_bp``; the last may be less."""

    width_bp: int
    max_bp: int

    def __post_init__(self) -> None:
        if not 1 <= self.width_bp <= self.max_bp:
            message = f"steps of {self.width_bp:,} bp up to {self.max_bp:,} bp"
            hint = "give steps of 1 or more that are not above the largest distance"
            raise InputError(message, kind="usage", hint=hint)
        if self.n > _MOST_SPANS:
            raise InputError(f"{self.n:,} steps of distance", kind="usage", hint=f"{_MOST_SPANS:,} at most")

    @property
    def n(self) -> int:
        """K."""
        return -(-self.max_bp // self.width_bp)

    @property
    def bounds_bp(self) -> Array:
        """(K + 1,) int64."""
        return np.minimum(np.arange(self.n + 1) * self.width_bp, self.max_bp)


class Decay(NamedTuple):
    """Pairs that have an r2, and its sum: (K,) int64 and (K,) float64."""

    pairs: Array
    r2_sum: Array

    @property
    def mean_r2(self) -> Array:
        """(K,) float64; NaN where there are no pairs."""
        none = np.full(len(self.pairs), np.nan)
        mean: Array = np.divide(self.r2_sum, self.pairs, out=none, where=self.pairs > 0)
        return mean


def decay(
    panel: StoredPanel,
    distances: Distances,
    *,
    min_maf: Fraction = Fraction(0),
    is_unphased: bool = False,
    workers: int = 1,
    on_variants: Callable[[int], None] = lambda _: None,
) -> Decay:
    """Sums of r2 over all pairs of each contig that are close enough, in their spans of distance.

    Parameters
    ----------
    min_maf
        Variants whose rarer allele has a smaller share of the called ones are left out.
    is_unphased
        Whether genotypes are compared where both are phased, too.
    on_variants
        Told how many more variants were compared with all that follow.

    Notes
    -----
    Keeps no pairs: holds the variants of one row of tiles, and for each worker 40 MiB, or 100·K bytes where
    that is more.
    2,504 samples, a core with AVX-512: about 100 million pairs a second where all or none are phased.
    """
    total = Decay(np.zeros(distances.n, np.int64), np.zeros(distances.n))
    with ThreadPoolExecutor(workers, "bams3-ld") as pool:
        for contig in panel.contigs:
            one = _Contig(Finder(panel), contig, distances, min_maf, is_unphased)
            for rows, part in one.parts(pool, workers + 1):
                total.pairs[:] += part.pairs
                total.r2_sum[:] += part.r2_sum
                on_variants(rows)
    return total


class _Contig:
    """The variants of a contig, numbered from its first one."""

    def __init__(
        self,
        finder: Finder,
        contig: ContigRange,
        distances: Distances,
        min_maf: Fraction,
        is_unphased: bool,
    ) -> None:
        self._finder, self._first, self._is_unphased = finder, contig.first, is_unphased
        sites = finder.panel.sites(contig.first, contig.first + contig.n)
        self._is_rare = ~is_common(sites, min_maf)
        self._start_bp, self._bounds_bp = sites.start_bp, distances.bounds_bp
        self._end = np.searchsorted(self._start_bp, self._start_bp + distances.max_bp)

    def parts(self, pool: ThreadPoolExecutor, depth: int) -> Iterator[tuple[int, Decay]]:
        """Sums of some rows each, and how many rows are done by them."""
        V = len(self._start_bp)
        for low in range(0, V, _ROWS):
            high = min(low + _ROWS, V)
            rows = self._genotypes(low, high)
            for first in range(low, int(self._end[high - 1]), _COLUMNS):
                end = min(first + _COLUMNS, int(self._end[high - 1]))
                tile = _Tile(self, rows, (low, high), (first, end))
                for part in ordered_map(pool, tile.sums, tile.steps, depth):
                    yield 0, part
            yield high - low, Decay(*np.zeros((2, self.n_spans), np.int64))

    @property
    def n_spans(self) -> int:
        """K."""
        return len(self._bounds_bp) - 1

    def _genotypes(self, first: int, end: int) -> Genotypes:
        block = self._finder.run(self._first + first, self._first + end)
        alleles = np.array([block.planes.first, block.planes.second])
        alleles[:, self._is_rare[first:end]] = 0  # what does not vary has no r2
        planes = Planes(alleles[0], alleles[1], block.planes.missing, block.planes.haploid)
        return Genotypes(block.sites.is_phased, planes)

    def correlator(self, rows: Genotypes, columns: tuple[int, int]) -> Correlator:
        samples = len(self._finder.panel.samples)
        return Correlator(rows, self._genotypes(*columns), samples, is_unphased=self._is_unphased)

    def edges(self, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
        """(R, K + 1) int64. Where each row's partners of each span of distance begin, among the columns."""
        there = self._start_bp[slice(*columns)]
        bounds = self._start_bp[slice(*rows), None] + self._bounds_bp
        edges = np.searchsorted(there, bounds)
        behind = np.arange(*rows)[:, None] + 1 - columns[0]
        found: Array = np.maximum(edges, np.minimum(behind, len(there)))
        return found


class _Tile:
    """Rows by columns of a contig."""

    def __init__(
        self, contig: _Contig, rows: Genotypes, numbers: tuple[int, int], columns: tuple[int, int]
    ) -> None:
        self._contig, self._first, self._columns = contig, numbers[0], columns
        self._pairs = contig.correlator(rows, columns)
        self.steps = self._pairs.steps(contig.n_spans + 1)

    def sums(self, step: tuple[int, int]) -> Decay:
        """Sums of some rows."""
        rows = self._first + step[0], self._first + step[1]
        edges = self._contig.edges(rows, self._columns)
        return Decay(*self._pairs.r2_sums(*step, edges))
