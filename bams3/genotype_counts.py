"""Counts of genotypes of probesets in batches: the tables that tests of homogeneity are made of."""

from __future__ import annotations

from dataclasses import dataclass

from .columns import Array

GENOTYPES = ("AA", "AB", "BB", "NC")
"""The columns of a table; NC is no call."""


@dataclass(frozen=True, slots=True)
class CountBlock:
    """Tables of P probesets, R rows in all: a row is a batch.

    Attributes
    ----------
    probesets
        (P,) Their ids, in the order in which the input names them first.
    start
        (P + 1,) uint64. Table p has rows ``start[p]`` up to ``start[p + 1]``.
    batch
        (R,) int32. Which of ``batches`` a row is; in a table the names ascend (bytes of UTF-8), none twice.
    batches
        Names of batches.
    counts
        (R, 4) int32. Samples by genotype, in the order of GENOTYPES.
    """

    probesets: list[str]
    start: Array
    batch: Array
    batches: list[str]
    counts: Array
