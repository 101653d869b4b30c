"""Clumps of associated variants: what plink 1.9's --clump makes of a table of P values.

From the smallest P up, each variant that no clump has yet, and whose P is small enough, is the index of a
clump: of all variants of the table within a distance that no clump has and whose r2 with it is above the
threshold. r2 is that of maximum-likelihood haplotypes of genotypes, whatever is known of phase. (Purcell et
al. 2007; Chang et al. 2015.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..columns import Array
from ..errors import InputError
from ..kernels.ld import Form, Side, pairs
from .blocks import as_columns, as_rows
from .find import Finder

if TYPE_CHECKING:
    from ..panel.stored import StoredPanel

#: P values below which results are counted apart, as plink's report has them.
LEVELS = (0.05, 0.01, 0.001, 0.0001)
_CONTIG_BITS = 40  # positions are below 2^31; both in one number are compared at once
#: Variants that are made ready together, and what of them is kept.
_TOGETHER, _KEPT_BYTES = 1024, 128 << 20


@dataclass(frozen=True, slots=True)
class ClumpRule:
    """What makes a clump.

    Attributes
    ----------
    max_p_index
        The largest P of an index variant (plink's p1).
    max_p_listed
        Members are listed whose P is below (p2).
    min_r2
        Members have an r2 above.
    radius_bp
        Members lie closer than that to the index variant.
    """

    max_p_index: float = 1e-4
    max_p_listed: float = 0.01
    min_r2: float = 0.5
    radius_bp: int = 250_000

    def __post_init__(self) -> None:
        for name, words in (("max_p_index", "p1"), ("max_p_listed", "p2"), ("min_r2", "r2")):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{words} is {getattr(self, name):g}: give 0 to 1", kind="usage")
        if self.radius_bp < 1:
            raise InputError("the radius is 0 kb: give 0.001 or more", kind="usage")


class Results(NamedTuple):
    """Results of variants of a panel, in the order of their table: (R,) numbers, and (R,) P values."""

    number: Array
    p: Array


class Clump(NamedTuple):
    """A clump.

    Attributes
    ----------
    number, p
        Of its index variant.
    below
        Other results in it by P: 0.05 or more, then below each of LEVELS and not below the next.
    listed
        Numbers of the variants whose other results are below p2, in the order of the panel; once a result.
    """

    number: int
    p: float
    below: tuple[int, ...]
    listed: tuple[int, ...]


def clumps(
    panel: StoredPanel,
    results: Results,
    rule: ClumpRule,
    *,
    on_variants: Callable[[int], None] = lambda _: None,
) -> Iterator[Clump]:
    """Clumps, by ascending P of their index variants; of equal P the first in the panel comes first.

    Parameters
    ----------
    on_variants
        Told how many more possible index variants were looked at.

    Notes
    -----
    Compares each index variant with all results around it. Holds the bits of those that were used last,
    128 MiB at most, and eight blocks of the panel.
    """
    search = _Search(Finder(panel), results, rule)
    for index in search.indexes():
        on_variants(1)
        if not search.is_clumped[index]:
            yield search.clump(index)


class _Search:
    """Variants that have results, ascending, numbered from 0; and which of them are in clumps."""

    def __init__(self, finder: Finder, results: Results, rule: ClumpRule) -> None:
        self._finder, self._rule = finder, rule
        panel = finder.panel
        has_known = panel.has_missing or panel.has_haploid
        self._form = Form(len(panel.samples), False, has_known, panel.has_haploid)
        self._held: OrderedDict[int, Side] = OrderedDict()
        order = np.lexsort((-np.arange(len(results.p)), results.number))  # plink tells the last line first
        self._p, number = results.p[order], results.number[order]
        self._begin = np.flatnonzero(np.diff(number, prepend=-1))
        self._number = number[self._begin]
        self._end = np.append(self._begin[1:], len(number))
        self.is_clumped = np.zeros(len(self._number), bool)
        sites = finder.sites_at(self._number) if len(number) else None
        self._place = (
            np.zeros(0, np.int64) if sites is None else sites.contig.astype(np.int64) << _CONTIG_BITS
        )
        if sites is not None:
            self._place += sites.start_bp + 1

    def indexes(self) -> Sequence[int]:
        """Variants that may be the index of a clump, by P."""
        if not len(self._number):
            return []
        least = np.minimum.reduceat(self._p, self._begin)
        order = np.argsort(least, kind="stable")
        few: list[int] = order[least[order] <= self._rule.max_p_index].tolist()
        return few

    def clump(self, index: int) -> Clump:
        """The clump of a variant, whose members are marked."""
        own = self._p[self._begin[index] : self._end[index]]
        at = int(np.argmin(own))
        members = self._members(index)
        self.is_clumped[members] = True
        others = [(k, self._p[self._begin[k] : self._end[k]]) for k in members.tolist()]
        others.append((index, np.delete(own, at)))
        others.sort(key=lambda one: one[0])
        p = np.concatenate([some for _, some in others])
        below = np.searchsorted(-np.array(LEVELS), -p, side="left")  # how many levels each P is below
        listed = [int(self._number[k]) for k, some in others for one in some if one < self._rule.max_p_listed]
        counts = np.bincount(below, minlength=len(LEVELS) + 1)
        return Clump(int(self._number[index]), float(own[at]), tuple(counts.tolist()), tuple(listed))

    def _members(self, index: int) -> Array:
        """Variants around an index variant that no clump has, and that are in LD with it."""
        here, radius = int(self._place[index]), self._rule.radius_bp
        contig = here >> _CONTIG_BITS << _CONTIG_BITS
        first = np.searchsorted(self._place, max(here - radius + 1, contig))
        end = np.searchsorted(self._place, min(here + radius, contig + (1 << _CONTIG_BITS)))
        r2 = self._r2(index, int(first), int(end))
        r2[index - first] = np.nan
        members: Array = first + np.flatnonzero((r2 > self._rule.min_r2) & ~self.is_clumped[first:end])
        return members

    def _r2(self, index: int, first: int, end: int) -> Array:
        """(end - first,) r2 of a variant with a run of those that have results; NaN where there is none."""
        r2 = np.full(end - first, np.nan)
        rows = as_rows(self._finder.planes_at(self._number[[index]]), self._form)
        for start in range(first // _TOGETHER * _TOGETHER, end, _TOGETHER):
            spans = np.zeros((2, rows.sum.size), np.uint64)
            spans[:, 0] = max(first - start, 0), min(end - start, _TOGETHER)
            both = rows, self._columns(start)
            found = pairs(self._form, *both, (spans[0], spans[1]), min_r2=(0, 1), is_em=True)
            r2[found["column"] + np.int64(start - first)] = found["r2"]
        return r2

    def _columns(self, start: int) -> Side:
        """A run of variants that have results, ready to be compared; those that were used last are kept."""
        if start in self._held:
            self._held.move_to_end(start)
        else:
            numbers = self._number[start : start + _TOGETHER]
            self._held[start] = as_columns(self._finder.planes_at(numbers), self._form)
            if len(self._held) * self._form.bytes_of(_TOGETHER) > _KEPT_BYTES:
                self._held.popitem(last=False)
        return self._held[start]
