"""Kernels of the tests of homogeneity."""

from __future__ import annotations

import ctypes

import numpy as np

from ..columns import Array
from .door import ERR_BAD_COLUMN, KernelError, address, call, out, u64

N_COLUMNS = 4

TABLE = np.dtype(
    [
        ("statistic", np.float64),
        ("least_expected", np.float64),
        ("worst_residual", np.float64),
        ("worst_row", np.uint64),
        ("total", np.uint64),
        ("tail", np.float64),
        ("n_rows", np.uint32),
        ("n_columns", np.uint32),
        ("columns", np.uint32),
        ("dof", np.uint32),
    ]
)
"""What ``describe_tables`` tells of a table: struct bk_table of native/chi2.c."""

TIER = np.dtype([("pvalue", np.float64), ("draws", np.uint64), ("far", np.uint64)])
"""What ``permute_tables`` tells of a table: struct bk_tier of native/chi2.c."""


def _check(start: Array, counts: Array) -> None:
    """Whether tables lie in the rows of counts: T + 1 ascending bounds, from 0 or later on."""
    address(start, np.uint64)
    address(counts, np.int32)
    if (
        start.size < 1
        or counts.shape[1:] != (N_COLUMNS,)
        or (start[1:] < start[:-1]).any()
        or start[-1] > len(counts)
        or (counts.size and counts.min() < 0)
    ):
        raise KernelError(ERR_BAD_COLUMN)


def describe_tables(start: Array, counts: Array) -> Array:
    """Pearson's statistic of tables, and what decides how they are tested: (T,) of TABLE.

    Parameters
    ----------
    start
        (T + 1,) uint64. Table t has rows start[t] up to start[t + 1].
    counts
        (R, 4) int32, none negative.
    """
    _check(start, counts)
    tables = np.empty(start.size - 1, TABLE)
    call("bk_chi2_describe", u64(tables.size), start, counts, tables)
    return tables


def permute_tables(
    start: Array, counts: Array, seeds: Array, max_tables: int, max_draws: int, stop_at: int
) -> Array:
    """P-values of tables among all those of the same margins: (T,) of TIER.

    Parameters
    ----------
    start, counts
        As for describe_tables; the total of a table is below 2**31.
    seeds
        (T, 4) uint64, of the random numbers of each table.
    max_tables
        All tables of the same margins are enumerated where they are no more than these.
    max_draws, stop_at
        So many are drawn, or until so many of them are as far out as the one seen; 0: never.
    """
    _check(start, counts)
    tiers = np.empty(start.size - 1, TIER)
    address(seeds, np.uint64, 4 * tiers.size)
    size = out()
    call("bk_chi2_work", u64(int(np.diff(start).max(initial=0))), size)
    work = np.empty(int(size[0]), np.uint8)
    limits = ctypes.c_double(max_tables), u64(max_draws), u64(stop_at)
    call("bk_chi2_permute", u64(tiers.size), start, counts, seeds, *limits, u64(work.size), work, tiers)
    return tiers
