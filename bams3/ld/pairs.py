"""The pairs of a tile that pass, with their statistics, in the order of their variants."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ..columns import Array
from ..errors import InputError
from ..kernels.ld import PAIR, ROWS_AT_ONCE, Form, Side, pairs
from ..pipeline import ordered_map
from .blocks import Block, as_columns, as_rows, form_of
from .tiles import Limits, ends_of, spans_of

#: Rows of a piece of work, fewer where they would keep more pairs than that: each takes 0.3 KB on its way.
_ROWS_OF_A_STEP, _MOST_OF_A_STEP = 256, 1 << 15
_MOST_DENOMINATOR = 10**6


@dataclass(frozen=True, slots=True)
class Rule:
    """Which pairs are kept, and how unphased genotypes are compared.

    Attributes
    ----------
    min_r2
        The least r2: compared without rounding, so at most six decimals.
    max_p
        The largest P.
    is_unphased
        Whether phase is left out of account where it is known.
    is_em
        Whether r, r2 and P of unphased pairs are those of maximum-likelihood haplotypes, not the
        correlation of genotypes.
    """

    min_r2: Fraction = field(default=Fraction(1, 10))
    max_p: float = 1.0
    is_unphased: bool = False
    is_em: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_r2 <= 1 or self.min_r2.denominator > _MOST_DENOMINATOR:
            message = f"the least r2 is {float(self.min_r2):g}: give 0 to 1, with at most six decimals"
            raise InputError(message, kind="usage")
        if not 0 <= self.max_p <= 1:
            raise InputError(f"the largest P is {self.max_p}: give 0 to 1", kind="usage")


class Pairs(NamedTuple):
    """P pairs of variants, ascending by the first one's number, then by the second one's.

    ``a`` and ``b`` (int64) are numbers of variants in their panel, a < b; ``is_phased`` (bool) tells whether
    haplotypes were compared; ``found`` is of kernels.ld.PAIR.
    """

    a: Array
    b: Array
    is_phased: Array
    found: Array

    def between(self, first: int, end: int) -> Pairs:
        """Pairs ``first`` up to ``end``."""
        return Pairs(*(column[first:end] for column in self))


def joined(parts: list[Pairs]) -> Pairs:
    """Pairs of several, end to end."""
    if not parts:
        empty = np.empty(0, np.int64)
        return Pairs(empty, empty, np.empty(0, bool), np.empty(0, PAIR))
    return Pairs(*map(np.concatenate, zip(*parts, strict=True)))


def pairs_of_tile(
    rows: Block,
    columns: Block,
    samples: int,
    limits: Limits,
    rule: Rule,
    pool: ThreadPoolExecutor,
    depth: int,
) -> Iterator[tuple[Pairs, int]]:
    """Pairs of a tile, some rows at a time, and from how many pairs they come.

    Parameters
    ----------
    rows, columns
        The two blocks of the tile, the same one on the diagonal.
    pool, depth
        Threads, and how many pieces of work are under way at once.

    Notes
    -----
    2,504 samples, one core: 280 million phased or 230 million unphased pairs a second with AVX-512, 75 and
    68 million with AVX2, 52 and 42 million without; a third of that where values are missing.
    """
    tile = PreparedTile(rows, columns, samples, rule)
    begins, stops = spans_of(
        (rows.first, rows.end), (columns.first, columns.end), _ends(rows, columns, limits)
    )

    def work(step: tuple[int, int]) -> tuple[tuple[int, int], Pairs | None, int]:
        spans = begins[slice(*step)], stops[slice(*step)]
        try:
            found = tile.pairs(step, *spans, None if step[1] - step[0] <= ROWS_AT_ONCE else _MOST_OF_A_STEP)
        except _TooMany:
            found = None
        return step, found, int((spans[1] - spans[0]).sum())

    def of_rows(first: int, end: int, at_once: int) -> Iterator[tuple[Pairs, int]]:
        steps = [(low, min(low + at_once, end)) for low in range(first, end, at_once)]
        for step, found, n in ordered_map(pool, work, steps, depth):
            if found is None:
                yield from of_rows(*step, at_once // 4)
            else:
                yield found, n

    return of_rows(0, len(begins), _ROWS_OF_A_STEP)


def _ends(rows: Block, columns: Block, limits: Limits) -> Array:
    """Behind which variant the partners of each row end, as far as the columns go."""
    apart = max(0, columns.first - rows.end)
    sites = (rows.sites,) if columns.first == rows.first else (rows.sites, columns.sites)
    contig = np.concatenate([one.contig for one in sites])
    start_bp = np.concatenate([one.start_bp for one in sites])
    numbers = np.arange(len(rows.sites))
    without = Limits(limits.max_distance_bp, None, limits.inter_chr)
    ends = ends_of(contig, start_bp, without, numbers) + rows.first
    ends[ends > rows.end] += apart
    if limits.max_variants is not None:
        ends = np.minimum(ends, numbers + rows.first + 1 + limits.max_variants)
    return ends


class _TooMany(Exception):  # noqa: N818  nothing is wrong
    """Rows keep more pairs than may be held at once."""


class PreparedTile:
    """The bits of a tile in each form that its pairs are compared in."""

    def __init__(self, rows: Block, columns: Block, samples: int, rule: Rule) -> None:
        self._rows, self._columns, self._rule = rows, columns, rule
        known = not rule.is_unphased
        self._is_phased = [block.sites.is_phased & known for block in (rows, columns)]
        forms = []
        if all(one.any() for one in self._is_phased):
            forms.append(True)
        if not all(one.all() for one in self._is_phased):
            forms.append(False)
        self._forms: list[tuple[Form, Side, Side]] = []
        for is_phased in forms:
            form = form_of(samples, rows.planes, columns.planes, is_phased=is_phased)
            self._forms.append((form, as_rows(rows.planes, form), as_columns(columns.planes, form)))

    def pairs(self, step: tuple[int, int], begins: Array, stops: Array, most: int | None = None) -> Pairs:
        """Pairs of rows ``step[0]`` up to ``step[1]`` with their columns, in order; a may follow b.

        _TooMany where there may be more than ``most``.
        """
        first, end = step
        parts = []
        for form, rows, columns in self._forms:
            some = rows.between(first, first + -(-(end - first) // 4) * 4)
            spans = np.zeros((2, some.sum.size), np.uint64)
            spans[0, : len(begins)], spans[1, : len(begins)] = begins, stops
            ratio = self._rule.min_r2.numerator, self._rule.min_r2.denominator
            found = pairs(
                form,
                some,
                columns,
                (spans[0], spans[1]),
                min_r2=ratio,
                max_p=self._rule.max_p,
                is_em=self._rule.is_em,
                most=most,
            )
            if most is not None and len(found) > most:
                raise _TooMany
            parts.append(self._in_form(form, found, first))
        return _sorted(parts[0] if len(parts) == 1 else joined(parts))

    def _in_form(self, form: Form, found: Array, first: int) -> Pairs:
        """Pairs that are compared in this form, by number."""
        row, column = found["row"].astype(np.int64) + first, found["column"].astype(np.int64)
        if len(self._forms) > 1:
            own = (self._is_phased[0][row] & self._is_phased[1][column]) == form.is_phased
            row, column, found = row[own], column[own], found[own]
        is_phased = np.full(len(found), form.is_phased)
        return Pairs(row + self._rows.first, column + self._columns.first, is_phased, found)


def _sorted(some: Pairs) -> Pairs:
    order = np.argsort(some.a << 32 | some.b, kind="stable")
    return Pairs(*(column[order] for column in some))
