"""Slow twins of the tests of homogeneity: all tables of given margins, one by one, and blocks of tables."""

from fractions import Fraction
from math import comb

import numpy as np

from bams3.genotype_counts import CountBlock


def as_block(tables, names=None):
    """A block of tables, each (batches, up to 4 genotypes); batches are called b000, b001, ..."""
    wide = [np.pad(np.asarray(t, np.int32), ((0, 0), (0, 4 - np.shape(t)[1]))) for t in tables]
    sizes = [len(t) for t in wide]
    batch = np.concatenate([np.arange(n, dtype=np.int32) for n in sizes])
    batches = [f"b{i:03}" for i in range(max(sizes))]
    start = np.append(0, np.cumsum(sizes)).astype(np.uint64)
    names = names or [f"p{i}" for i in range(len(wide))]
    return CountBlock(list(names), start, batch, batches, np.ascontiguousarray(np.concatenate(wide)))


def rows_of(total, room):
    """Every way to deal `total` items to places with so much room each."""
    if len(room) == 1:
        if total <= room[0]:
            yield (total,)
        return
    for first in range(min(total, room[0]) + 1):
        for rest in rows_of(total - first, room[1:]):
            yield (first, *rest)


def tables_of(rows, columns):
    """Every table with these margins, with its weight: in how many ways items can be dealt so."""
    if len(rows) == 1:
        yield (tuple(columns),), 1
        return
    for row in rows_of(rows[0], columns):
        left = [c - x for c, x in zip(columns, row, strict=True)]
        ways = 1
        for c, x in zip(columns, row, strict=True):
            ways *= comb(c, x)
        for others, more in tables_of(rows[1:], left):
            yield (row, *others), ways * more


def statistic_of(table, rows, columns):
    """Pearson's, as a fraction."""
    total = sum(rows)
    return sum(
        (Fraction(x) - Fraction(r * c, total)) ** 2 / Fraction(r * c, total)
        for row, r in zip(table, rows, strict=True)
        for x, c in zip(row, columns, strict=True)
    )


def exact_pvalue(table):
    """Share of the tables of the same margins that are at least as far out, in fractions throughout."""
    table = np.asarray(table)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    rows, columns = table.sum(1).tolist(), table.sum(0).tolist()
    seen = statistic_of(table.tolist(), rows, columns)
    far = every = 0
    for other, ways in tables_of(rows, columns):
        every += ways
        far += ways * (statistic_of(other, rows, columns) >= seen)
    return far / every


def usable(table):
    """Whether two rows and two columns have items."""
    table = np.asarray(table)
    return (table.sum(1) > 0).sum() > 1 and (table.sum(0) > 0).sum() > 1
