"""Kernels of linkage disequilibrium: pairs of variants of two blocks."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from ..columns import Array
from .door import address, call, out, u64

#: Variants that lie side by side in columns, and what numbers of rows and of columns are multiples of.
LANES, ROWS_AT_ONCE, COLUMNS_AT_ONCE = 8, 4, 16
#: Pairs that a call makes room for: at least those of one step of the kernel.
_LEAST_FOUND, _MOST_FOUND = 512, 1 << 16

PAIR = np.dtype(
    [
        ("row", np.uint32),
        ("column", np.uint32),
        ("n", np.uint64),
        ("r", np.float64),
        ("r2", np.float64),
        ("d", np.float64),
        ("dprime", np.float64),
        ("p", np.float64),
        ("haplotypes", np.float64, (4,)),
    ]
)
"""A pair that is kept: struct bk_ld_pair of native/ld.h."""

_SETS = ("plain", "popcnt", "avx2", "avx512", "neon")


class _Form(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("samples", "is_phased", "has_known", "has_single")]


class _Rule(ctypes.Structure):
    _fields_ = [
        ("num", ctypes.c_uint64),
        ("den", ctypes.c_uint64),
        ("max_p", ctypes.c_double),
        ("is_em", ctypes.c_uint64),
    ]


class _Side(ctypes.Structure):
    _fields_ = [
        ("n", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in ("words", "sum", "spread", "is_partial")),
    ]


@dataclass(frozen=True, slots=True)
class Form:
    """What bits of variants mean, as native/ld.h has it."""

    samples: int
    is_phased: bool
    has_known: bool
    has_single: bool

    @property
    def plane_words(self) -> int:
        """Words of 64 bits in a plane."""
        return (self.samples + 63) // 64 * (2 if self.is_phased else 1)

    @property
    def planes(self) -> int:
        """Planes of a variant."""
        return (1 if self.is_phased else 2) + self.has_known + self.has_single

    def bytes_of(self, variants: int) -> int:
        """Memory that variants take."""
        return variants * self.plane_words * self.planes * 8


@dataclass(frozen=True, slots=True)
class Side:
    """Variants of a tile, as rows or as columns.

    Attributes
    ----------
    words
        uint64. Rows (V, planes, words), or columns (V / LANES, planes, words, LANES); V of rows is a multiple
        of ROWS_AT_ONCE, of columns of COLUMNS_AT_ONCE.
    sum, spread
        (V,) float64. Of the items that know x: sum(x), and n sum(x^2) - sum(x)^2.
    is_partial
        (V,) uint8. Whether an item does not know x.
    """

    words: Array
    sum: Array
    spread: Array
    is_partial: Array

    def between(self, first: int, end: int) -> Side:
        """Rows ``first`` up to ``end``."""
        cut = slice(first, end)
        return Side(self.words[cut], self.sum[cut], self.spread[cut], self.is_partial[cut])


def instruction_sets() -> tuple[str, ...]:
    """Names of the sets of instructions that this machine's kernels can use, the fastest last."""
    sets = out()
    call("bk_ld_sets", sets)
    return tuple(name for k, name in enumerate(_SETS) if int(sets[0]) >> k & 1)


def pairs(
    form: Form,
    rows: Side,
    columns: Side,
    spans: tuple[Array, Array],
    *,
    min_r2: tuple[int, int],
    max_p: float = 1.0,
    is_em: bool = False,
    instructions: str | None = None,
    most: int | None = None,
) -> Array:
    """Pairs of variants whose r2 and P pass: (P,) of PAIR, in no order of use.

    Parameters
    ----------
    spans
        (V,) uint64 each. Row i is paired with the columns from ``begin[i]`` up to ``end[i]``.
    min_r2
        Numerator and denominator of the least r2, decided in integers.
    max_p
        The largest P.
    is_em
        Whether r2 of unphased pairs is that of maximum-likelihood haplotypes; it is then decided as a float.
    instructions
        A name of ``instruction_sets``; None: the fastest.
    most
        Where there are more pairs than that, some of them, but more than that, are returned.

    Raises
    ------
    KernelError
        ``bad-column`` where arrays do not fit each other, or the machine lacks the instructions.
    """
    n_rows, n_columns = rows.sum.size, columns.sum.size
    for span in spans:
        address(span, np.uint64, n_rows)
    what = (
        _form(form),
        _Rule(*min_r2, max_p, is_em),
        *(_side(side, form) for side in (rows, columns)),
        *spans,
        _number(instructions),
    )
    likely = n_rows * n_columns // (16 if min_r2[0] else 1)
    size = max(_LEAST_FOUND, min(likely, _MOST_FOUND))
    cursor, n_found, found = out(2), out(), [np.empty(0, PAIR)]
    while int(cursor[0]) < n_columns and (most is None or sum(map(len, found)) <= most):
        some = np.empty(size, PAIR)
        call("bk_ld_tile", *what, cursor, u64(size), n_found, some)
        found.append(some[: int(n_found[0])])
    return np.concatenate(found)


def correlations(
    form: Form,
    rows: Side,
    columns: Side,
    spans: tuple[Array, Array],
    *,
    instructions: str | None = None,
) -> Array:
    """Signed r of every row with the columns of its span: (rows, columns) float64.

    NaN where one of the two does not vary, and outside the spans.

    Parameters
    ----------
    spans, instructions
        As for pairs.

    Raises
    ------
    KernelError
        As for pairs.

    Notes
    -----
    2,504 samples, one core, AVX-512: about 130 million pairs a second, of complete genotypes.
    """
    n_rows, n_columns = rows.sum.size, columns.sum.size
    for span in spans:
        address(span, np.uint64, n_rows)
    r = np.full((n_rows, n_columns), np.nan)
    what = (
        _form(form),
        *(_side(side, form) for side in (rows, columns)),
        *spans,
        _number(instructions),
    )
    call("bk_ld_r", *what, r)
    return r


def r2_sums(
    form: Form, rows: Side, columns: Side, edges: Array, *, instructions: str | None = None
) -> tuple[Array, Array]:
    """How many pairs have an r2, and the sum of them, by spans of columns: (K,) uint64 and (K,) float64.

    Parameters
    ----------
    edges
        (rows, K + 1) uint64, each row ascending. Span k of a row is its columns from edge k up to the next.

    Raises
    ------
    KernelError
        As for pairs.

    Notes
    -----
    2,504 samples, one core, AVX-512: about 130 million pairs a second, of complete genotypes.
    """
    n_rows = rows.sum.size
    n_spans = edges.size // n_rows - 1
    address(edges, np.uint64, n_rows * (n_spans + 1))
    counts, sums = np.zeros(n_spans, np.uint64), np.zeros(n_spans)
    call(
        "bk_ld_sums",
        _form(form),
        *(_side(side, form) for side in (rows, columns)),
        *(np.ascontiguousarray(edges[:, k]) for k in (0, -1)),
        _number(instructions),
        u64(n_spans),
        edges,
        counts,
        sums,
    )
    return counts, sums


def _form(form: Form) -> _Form:
    return _Form(form.samples, form.is_phased, form.has_known, form.has_single)


def _number(instructions: str | None) -> ctypes.c_uint64:
    """Of a set of instructions, or of the fastest."""
    return u64(_SETS.index(instructions or instruction_sets()[-1]))


def _side(side: Side, form: Form) -> _Side:
    n = side.sum.size
    return _Side(
        n,
        address(side.words, np.uint64, n * form.planes * form.plane_words),
        address(side.sum, np.float64, n),
        address(side.spread, np.float64, n),
        address(side.is_partial, np.uint8, n),
    )
