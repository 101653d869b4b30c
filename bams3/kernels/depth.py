"""Kernels of depth, and of the tables that it is written in."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from ..columns import Array, Columns
from .door import ERR_BAD_COLUMN, KernelError, address, call, out, struct, u64
from .records import operations

ALIGNED, SPAN = 0, 1


class Axis(NamedTuple):
    """The positions of a section: contig ``first_contig`` + k lies at base[k], and has length[k] bp.

    ``base`` and ``length`` are uint64, one contig lies behind the other.
    """

    first_contig: int
    base: Array
    length: Array


class Changes(NamedTuple):
    """Where depth changes: ``dense[i]`` at position start + i of an axis (int32), and beyond.

    ``late`` holds what lies behind ``dense`` (int64): position * 2, + 1 for a depth less by one.
    """

    start: int
    dense: Array
    late: Array


def add_changes(
    c: Columns, keep: Array | None, axis: Axis, mode: int, min_bq: int, changes: Changes, max_late: int
) -> Array:
    """Add the bases that records cover to ``changes.dense``; gives what lies behind it.

    Parameters
    ----------
    keep
        Which records count (R, uint8); None: all.
    mode
        ALIGNED: the bases of M, = and X, with ``min_bq`` those of at least this quality. SPAN: from
        the first to the last base.
    max_late
        How many changes may lie behind ``changes.dense``.
    """
    needed = ["contig", "pos", "ref_len" if mode == SPAN else "cigar"]
    s = struct(c, *needed, *(("seq_len", "quals") if min_bq else ()))
    n_ops = operations(c) if mode == ALIGNED else None
    if n_ops is not None:
        s.cigar_len = address(n_ops)
    if keep is not None:
        address(keep, np.uint8, c.n)
    late, n_late = np.empty(max_late, np.int64), out()
    address(changes.dense, np.int32)
    call(
        "bk_depth_changes",
        *(s, keep, ctypes.c_int32(axis.first_contig), u64(axis.base.size), axis.base, axis.length),
        *(ctypes.c_uint32(mode), ctypes.c_uint32(min_bq), u64(changes.start), u64(changes.dense.size)),
        *(changes.dense, u64(max_late), late, n_late),
    )
    return late[: int(n_late[0])]


def depth_runs(dense: Array, before: int) -> tuple[Array, Array]:
    """(where it begins, its depth) of every run of equal depth, from changes (int64).

    The first begins at 0; ``before`` is the depth in front of it.
    """
    n_runs, most = out(), int(np.count_nonzero(dense)) + 1
    start, depth = np.empty(most, np.int64), np.empty(most, np.int64)
    address(dense, np.int32)
    sizes = u64(dense.size), ctypes.c_int64(before), u64(most)
    call("bk_depth_runs", dense, *sizes, start, depth, n_runs)
    return start[: int(n_runs[0])], depth[: int(n_runs[0])]


class SpanSums(NamedTuple):
    """What spans of one contig have: (S,) each, ``above`` (S, thresholds).

    Sum of depths, covered bases (uint64), least and most depth (uint32), and how many bases are at
    or above each threshold (uint64).
    """

    sum: Array
    covered: Array
    least: Array
    most: Array
    above: Array

    @classmethod
    def zeros(cls, n: int, n_thresholds: int) -> SpanSums:
        """Of spans that nothing was added to; ``least`` is the largest uint32."""
        least, most = np.full(n, np.iinfo(np.uint32).max, np.uint32), np.zeros(n, np.uint32)
        return cls(out(n), out(n), least, most, np.zeros((n, n_thresholds), np.uint64))


def add_spans(depth: Array, at: int, start: Array, end: Array, thresholds: Array, sums: SpanSums) -> None:
    """Add the depths (uint32) of positions from ``at`` on to spans [start, end) (int64), in any order."""
    address(depth, np.uint32)
    for bound in (start, end):
        address(bound, np.int64, sums.sum.size)
    address(thresholds, np.uint32, sums.above.shape[1])
    sizes = u64(start.size), start, end, u64(thresholds.size), thresholds
    call("bk_depth_spans", depth, u64(depth.size), ctypes.c_int64(at), *sizes, *sums)


def add_quality(
    c: Columns, keep: Array | None, first_contig: int, low: Array, high: Array, min_bq: int, sums: Array
) -> None:
    """Add the sum (``sums[0]``) and number (``sums[1]``) of the qualities of aligned bases.

    Those of at least ``min_bq`` in [low[k], high[k]) (int64) of contig ``first_contig`` + k; ``sums``
    is (2, contigs) uint64.
    """
    n_ops = operations(c)
    s = struct(c, "contig", "pos", "cigar", "seq_len", "quals")
    s.cigar_len = address(n_ops)
    if keep is not None:
        address(keep, np.uint8, c.n)
    for bound in (low, high):
        address(bound, np.int64)
    if not low.size == high.size == sums.shape[1]:
        raise KernelError(ERR_BAD_COLUMN)
    sizes = ctypes.c_int32(first_contig), u64(low.size), low, high, ctypes.c_uint32(min_bq)
    call("bk_aligned_quality", s, keep, *sizes, sums[0], sums[1])


def format_rows(prefix: bytes, columns: list[Array], decimals: list[int]) -> bytes:
    """Lines of a prefix and one number of each column, tabs between them.

    A number stands for value / 10**decimals: 12345 with 4 decimals is 1.2345.
    """
    numbers = np.ascontiguousarray(np.stack(columns), np.int64)
    n_columns, n_rows = numbers.shape
    text = np.empty(n_rows * (len(prefix) + 22 * n_columns + 1), np.uint8)
    written = out()
    shape = u64(len(prefix)), u64(n_rows), u64(n_columns)
    places = np.array(decimals, np.uint32)
    call(
        "bk_format_rows",
        *(np.frombuffer(prefix, np.uint8), *shape, numbers, places, u64(text.size), text, written),
    )
    return text[: int(written[0])].tobytes()
