"""Rows of tables of genotype counts, in arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..columns import Array
from .mistakes import COUNTS


@dataclass(frozen=True, slots=True)
class Rows:
    """R consecutive rows of a table. A run is of neighbours with the same probeset.

    Attributes
    ----------
    first
        Number of the first one in the table, from 0.
    runs
        Arrow array of strings: the probeset of each run.
    run_end
        int32. The row, of these, behind each run.
    batch
        (R,) int32. Which of ``names`` a row is.
    names
        The batches of these rows.
    counts
        (R, 4) int32, in the order of COUNTS.
    """

    first: int
    runs: Any
    run_end: Array
    batch: Array
    names: list[str]
    counts: Array


def rows_of(first: int, probeset: Any, batch: Any, counts: list[Array]) -> Rows:
    """Rows of columns: Arrow strings, an Arrow dictionary of strings, and one array for each of COUNTS."""
    from pyarrow import compute  # noqa: PLC0415  # a tenth of a second

    runs = compute.run_end_encode(probeset)
    table = np.empty((len(probeset), len(COUNTS)), np.int32)
    for k, column in enumerate(counts):
        table[:, k] = column
    return Rows(
        first=first,
        runs=runs.values,
        run_end=runs.run_ends.to_numpy(),
        batch=batch.indices.to_numpy(),
        names=batch.dictionary.to_pylist(),
        counts=table,
    )


class Table(Protocol):
    """A table that is open at its start. Its rows can be read once."""

    name: str

    def place(self, row: int) -> str:
        """How messages name a row; rows count from 0."""

    def rows(self) -> Iterator[Rows]:
        """All rows, a block at a time, each of them checked."""
