"""Signed r of the variants of two sets, as a matrix, and nothing else of them.

Axes in docstrings: R rows, C columns of the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..columns import Array
from ..kernels.ld import ROWS_AT_ONCE, Form, Side, correlations, r2_sums
from ..pipeline import ordered_map
from ..variants import Planes
from .blocks import as_columns, as_rows, form_of

#: Rows of a piece of work, a multiple of ROWS_AT_ONCE, and about how many cells it may hold.
_MOST_ROWS, _CELLS = 256, 1 << 20


class Genotypes(NamedTuple):
    """Variants without their places: (V,) bool whether each is phased, and V rows of planes."""

    is_phased: Array
    planes: Planes


class Correlator:
    """Two sets of variants, their bits laid out to be compared.

    Parameters
    ----------
    rows, columns
        R and C variants of the same samples.
    samples
        S.
    is_unphased
        Whether genotypes are compared where haplotypes could be, too.

    Notes
    -----
    Holds the variants once more, twice where some are phased and some are not.
    """

    def __init__(self, rows: Genotypes, columns: Genotypes, samples: int, *, is_unphased: bool) -> None:
        self._rows, self._columns = len(rows.planes), len(columns.planes)
        self._is_phased = [one.is_phased & (not is_unphased) for one in (rows, columns)]
        forms = [True] * all(one.any() for one in self._is_phased)
        forms += [False] * (not all(one.all() for one in self._is_phased))
        self._forms: list[tuple[Form, Side, Side]] = []
        for is_phased in forms:
            form = form_of(samples, rows.planes, columns.planes, is_phased=is_phased)
            self._forms.append((form, as_rows(rows.planes, form), as_columns(columns.planes, form)))

    def r(self, first: int, end: int, begins: Array | None = None, stops: Array | None = None) -> Array:
        """Signed r of rows ``first`` up to ``end``: (end - first, C) float64, NaN where there is none.

        Parameters
        ----------
        first
            A multiple of four.
        begins, stops
            (end - first,) int64. Each row's columns; elsewhere cells are NaN, or r. None: all of them.
        """
        padded = -(-(end - first) // ROWS_AT_ONCE) * ROWS_AT_ONCE
        spans = np.zeros((2, padded), np.uint64)
        spans[0, : end - first] = 0 if begins is None else begins
        spans[1, : end - first] = self._columns if stops is None else stops
        found = [
            correlations(form, rows.between(first, first + padded), columns, (spans[0], spans[1]))
            for form, rows, columns in self._forms
        ]
        cut = [one[: end - first, : self._columns] for one in found]
        if len(cut) == 1:
            return cut[0]
        both = self._is_phased[0][first:end, None] & self._is_phased[1]
        mixed: Array = np.where(both, *cut)
        return mixed

    def r2_sums(self, first: int, end: int, edges: Array) -> tuple[Array, Array]:
        """Pairs of rows ``first`` up to ``end`` that have an r2, and the sum of it, by spans of columns.

        Parameters
        ----------
        first
            A multiple of four.
        edges
            (end - first, K + 1) int64, ascending. Where each row's spans begin and end.

        Returns
        -------
        (K,) int64 and (K,) float64.
        """
        if len(self._forms) > 1:
            return _by_spans(np.square(self.r(first, end, edges[:, 0], edges[:, -1])), edges)
        form, rows, columns = self._forms[0]
        padded = -(-(end - first) // ROWS_AT_ONCE) * ROWS_AT_ONCE
        spans = np.zeros((padded, edges.shape[1]), np.uint64)
        spans[: end - first] = edges
        pairs, sums = r2_sums(form, rows.between(first, first + padded), columns, spans)
        return pairs.astype(np.int64), sums

    def varies(self) -> Array:
        """(C,) bool. Whether the columns' variants have values that differ, as they are compared first."""
        spread: Array = self._forms[0][2].spread[: self._columns]
        return spread > 0

    def steps(self, cells: int = 0) -> list[tuple[int, int]]:
        """Runs of rows whose matrices are small enough to be held several at a time.

        ``cells`` is what else of 8 bytes there is of each row.
        """
        size = max(self._columns, cells, 1)
        most = min(max(_CELLS // size // ROWS_AT_ONCE, 1) * ROWS_AT_ONCE, _MOST_ROWS)
        return [(first, min(first + most, self._rows)) for first in range(0, self._rows, most)]


def r_matrix(some: Genotypes, samples: int, *, is_unphased: bool, workers: int = 1) -> Array:
    """Signed r of all pairs of variants: (V, V) float64.

    1 on the diagonal; NaN where a variant does not vary among the samples that both know.

    Notes
    -----
    Holds the matrix, 8·V·V bytes, and for each worker 16 MiB.
    """
    V = len(some.planes)
    all_pairs = Correlator(some, some, samples, is_unphased=is_unphased)
    out = np.empty((V, V))
    stops = np.full(V, V)

    def work(step: tuple[int, int]) -> None:
        cut = slice(*step)
        begins = np.arange(*step) // 4 * 4
        out[cut] = all_pairs.r(*step, begins, stops[cut])

    with ThreadPoolExecutor(workers, "bams3-ld") as pool:
        for _ in ordered_map(pool, work, all_pairs.steps(), workers + 1):
            pass
    diagonal = np.diag(out).copy()
    _mirror(out)
    np.fill_diagonal(out, np.where(np.isnan(diagonal), np.nan, 1.0))
    return out


def _mirror(square: Array) -> None:
    """Make what lies below the diagonal what lies above it."""
    size = 512
    for first in range(0, len(square), size):
        own = square[first : first + size, first : first + size]
        own[:] = np.triu(own) + np.triu(own, 1).T
        square[first + size :, first : first + size] = square[first : first + size, first + size :].T


def _by_spans(r2: Array, edges: Array) -> tuple[Array, Array]:
    """What r2_sums gives, of a matrix."""
    is_there = ~np.isnan(r2)
    running = np.zeros((2, r2.shape[0], r2.shape[1] + 1))
    np.cumsum(is_there, axis=1, out=running[0, :, 1:])
    np.cumsum(np.where(is_there, r2, 0), axis=1, out=running[1, :, 1:])
    pairs, sums = (np.diff(np.take_along_axis(one, edges, axis=1), axis=1).sum(axis=0) for one in running)
    return pairs.astype(np.int64), sums


def found_in_order(pool: ThreadPoolExecutor, work: Correlator, depth: int) -> Iterator[tuple[int, Array]]:
    """Runs of rows of a matrix: the first row's number, and (rows, C) r."""

    def one(step: tuple[int, int]) -> tuple[int, Array]:
        return step[0], work.r(*step)

    return ordered_map(pool, one, work.steps(), depth)
