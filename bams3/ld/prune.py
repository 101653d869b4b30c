"""Variants in approximate linkage equilibrium: what plink 1.9's --indep-pairwise keeps.

A window slides over the variants of a contig, ``step`` of them at a time. At each stop, rounds go over its
variants that are left, each time in order: one that has an r2 above the threshold with a later one costs the
rarer of the two, the later one where their minor alleles are equally frequent; then it is the next one's
turn, until a round costs none. r2 is that of genotypes, whatever is known of phase. A variant that does not
vary goes at once. (Purcell et al. 2007; Chang et al. 2015.)

Variants that are gone are compared with nothing: of those behind the front, only the kept ones are held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..columns import Array
from ..errors import InputError
from ..variants import Planes
from .correlate import Correlator, Genotypes, found_in_order
from .find import Finder

if TYPE_CHECKING:
    from ..format.panel_manifest import ContigRange
    from ..panel.stored import StoredPanel

#: The contig of variants without a place, which plink leaves out of account.
UNPLACED = "0"
#: How much r2 must exceed the threshold, as a share of it: plink's tolerance of rounding.
_TOLERANCE = 2.0**-44
#: New variants that are compared at once with those before them.
_COLUMNS = 1024


@dataclass(frozen=True, slots=True)
class Window:
    """A window that slides over variants.

    Attributes
    ----------
    step
        Variants that it moves by.
    n_variants, span_bp
        What it holds: so many variants; or all those up to so far behind its first one. One of the two is
        None.
    """

    step: int
    n_variants: int | None
    span_bp: int | None

    def __post_init__(self) -> None:
        if self.step < 1:
            raise InputError(f"the window's step is {self.step}: give 1 or more", kind="usage")
        if self.n_variants is not None and self.n_variants < 2:
            message = f"a window of {self.n_variants} variants holds no pair: give 2 or more"
            raise InputError(message, kind="usage")
        if self.n_variants is not None and self.step > self.n_variants:
            message = f"steps of {self.step} variants leave some of them out of a window of {self.n_variants}"
            raise InputError(message, kind="usage", hint="give a step of the window's size or less")
        if self.span_bp is not None and self.span_bp < 1:
            raise InputError("the window is 0kb: give 1kb or more", kind="usage")

    def stops(self, start_bp: Array) -> tuple[Array, Array]:
        """The first variant and the end of the window at each of its stops, where there are new variants."""
        V = len(start_bp)
        first = np.arange(0, V, self.step)
        if self.n_variants is not None:
            end = np.minimum(first + self.n_variants, V)
        else:
            end = np.searchsorted(start_bp, start_bp[first] + self.span_bp, side="right")
        has_new = np.diff(end, prepend=0) > 0
        return first[has_new], end[has_new]


class _Stop(NamedTuple):
    """A window that has variants from ``new`` on which no window before had."""

    first: int
    new: int
    end: int


def prune(
    panel: StoredPanel,
    window: Window,
    max_r2: float,
    *,
    workers: int = 1,
    on_variants: Callable[[int], None] = lambda _: None,
) -> tuple[Array, Array]:
    """Which variants are kept, and which were looked at: (V,) bool each.

    Parameters
    ----------
    max_r2
        Pairs above it lose a variant; 0 up to 1, but not 1.
    on_variants
        Told how many more were decided on.

    Raises
    ------
    InputError
        ``usage``: a threshold that no r2 exceeds.

    Notes
    -----
    Holds the kept variants of a window, and those that are new in it, or 1,024.
    """
    if not 0 <= max_r2 < 1:
        raise InputError(f"the largest r2 is {max_r2:g}: give 0 or more, and less than 1", kind="usage")
    finder = Finder(panel)
    kept, considered = np.ones((2, panel.n_variants), bool)
    with ThreadPoolExecutor(workers, "bams3-ld") as pool:
        for contig in panel.contigs:
            own = slice(contig.first, contig.first + contig.n)
            if contig.name == UNPLACED:
                kept[own] = considered[own] = False
            else:
                one = _Contig(finder, contig, max_r2, workers)
                kept[own] = one.kept(window, pool, on_variants)
    return kept, considered


class _Contig:
    """The variants of a contig, numbered from its first one, and which of them are left."""

    def __init__(self, finder: Finder, contig: ContigRange, max_r2: float, workers: int) -> None:
        self._finder, self._first, self._workers = finder, contig.first, workers
        self._samples = len(finder.panel.samples)
        self._above = max_r2 * (1 + _TOLERANCE)
        sites = finder.panel.sites(contig.first, contig.first + contig.n)
        self._start_bp = sites.start_bp
        self._minor = np.minimum(sites.n_alt, sites.n_alleles - sites.n_alt)
        self._alleles = sites.n_alleles
        self._left = np.ones(contig.n, bool)
        self._held: tuple[Array, Planes | None] = np.zeros(0, np.int64), None

    def kept(self, window: Window, pool: ThreadPoolExecutor, on_variants: Callable[[int], None]) -> Array:
        """(V,) bool."""
        for stops in _together(*window.stops(self._start_bp)):
            new, end = stops[0].new, stops[-1].end
            for stop, i, j in self._pairs(stops, pool):
                self._thin(i[i >= stop.first], j[i >= stop.first])
            on_variants(end - new)
        return self._left

    def _pairs(self, stops: list[_Stop], pool: ThreadPoolExecutor) -> Iterator[tuple[_Stop, Array, Array]]:
        """Pairs above the threshold of each window: variants that are left, with new ones behind them."""
        first, new, end = stops[0].first, stops[0].new, stops[-1].end
        block = self._finder.run(self._first + new, self._first + end)
        numbers, before = self._left_from(first)
        columns = Genotypes(np.zeros(end - new, bool), block.planes)
        numbers = np.append(numbers, np.arange(new, end))
        planes = Planes.joined([*before, block.planes])
        rows = Genotypes(np.zeros(len(numbers), bool), planes)
        work = Correlator(rows, columns, self._samples, is_unphased=True)
        if end > 1:  # plink does not look at the first variant while it is alone
            self._left[new:end] &= work.varies()
        found = [np.zeros((2, 0), np.int64)]
        for at, r in found_in_order(pool, work, self._workers + 1):
            row, column = np.nonzero(r * r > self._above)
            both = np.array([numbers[at + row], column + new])
            found.append(both[:, both[0] < both[1]])
        self._held = numbers, planes
        i, j = np.concatenate(found, axis=1)
        order = np.lexsort((i, j))
        i, j = i[order], j[order]
        for stop in stops:
            own = slice(*np.searchsorted(j, (stop.new, stop.end)))
            yield stop, i[own], j[own]

    def _left_from(self, first: int) -> tuple[Array, list[Planes]]:
        """Variants that are left, of those that were held, from a number on."""
        numbers, planes = self._held
        own = np.flatnonzero(self._left[numbers] & (numbers >= first))
        return numbers[own], [] if planes is None else [planes.take(own)]

    def _thin(self, i: Array, j: Array) -> None:
        """The rounds of one window, over pairs of a variant and a later one."""
        live = self._left[i] & self._left[j]
        i, j = i[live], j[live]
        order = np.lexsort((j, i))
        i, j = i[order], j[order]
        begin = np.flatnonzero(np.diff(i, prepend=-1))
        rest = {
            int(one): iter(partners.tolist())
            for one, partners in zip(i[begin], np.split(j, begin[1:]), strict=bool(len(i)))
        }
        left = self._left
        while rest:
            for one in list(rest):
                other = next((k for k in rest[one] if left[k]), None) if left[one] else None
                if other is None:
                    del rest[one]
                elif self._is_rarer(one, other):
                    left[one] = False
                else:
                    left[other] = False

    def _is_rarer(self, one: int, other: int) -> bool:
        """Whether the minor allele of one is less frequent than that of the other, without rounding."""
        of = self._minor, self._alleles
        (n, all_n), (m, all_m) = ([int(column[k]) for column in of] for k in (one, other))
        return n * all_m < m * all_n


def _together(first: Array, end: Array) -> Iterator[list[_Stop]]:
    """Stops whose new variants are compared at once."""
    held: list[_Stop] = []
    new = 0
    for start, stop in zip(first.tolist(), end.tolist(), strict=True):
        if held and stop - held[0].new > _COLUMNS:
            yield held
            held = []
        held.append(_Stop(start, new, stop))
        new = stop
    if held:
        yield held
