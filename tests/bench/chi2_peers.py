"""Other ways to p-values of genotype counts: ``python -m tests.bench.chi2_peers WAY COUNTS OUT DRAWS``.

Each writes a line a probeset: its id, Pearson's statistic and the p-value. None looks at expected counts.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Answer = tuple[str, float, float]

GENOTYPES = ("n_AA", "n_AB", "n_BB", "n_NC")
_AT_A_TIME = 500  # tables whose arrays a cache holds


def main() -> None:
    """Test all tables in one way."""
    way, counts, out, draws = sys.argv[1:]
    with Path(out).open("w") as file:
        for name, statistic, pvalue in WAYS[way](Path(counts), int(draws)):
            file.write(f"{name}\t{statistic!r}\t{pvalue!r}\n")


def read_tables(path: Path) -> dict[str, Array]:
    """Batches by genotypes of each probeset; genotypes that no sample has are left out."""
    rows: dict[str, list[list[int]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            rows.setdefault(row["probeset_id"], []).append([int(row[name]) for name in GENOTYPES])
    tables = {name: np.array(counts) for name, counts in rows.items()}
    return {name: table[:, table.any(axis=0)] for name, table in tables.items()}


def shuffled(path: Path, draws: int) -> Iterator[Answer]:
    """Deal the genotypes of all samples to the batches anew, and count."""
    chance = np.random.default_rng(1)
    for name, table in read_tables(path).items():
        n_columns = table.shape[1]
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)).ravel() / table.sum()
        batch, genotype = (np.repeat(index.ravel(), table.ravel()) for index in np.indices(table.shape))
        first_cell, n_far = batch * n_columns, 0
        seen = float(((table.ravel() - expected) ** 2 / expected).sum())
        for _ in range(draws):
            chance.shuffle(genotype)
            drawn = np.bincount(first_cell + genotype, minlength=table.size)
            n_far += ((drawn - expected) ** 2 / expected).sum() >= seen * (1 - 1e-9)
        yield name, seen, (int(n_far) + 1) / (draws + 1)


def scipy_monte_carlo(path: Path, draws: int) -> Iterator[Answer]:
    """chi2_contingency with tables of the same margins, drawn by scipy.stats.random_table."""
    from scipy import stats

    for name, table in read_tables(path).items():
        method = stats.MonteCarloMethod(n_resamples=draws, rng=1)
        found = stats.chi2_contingency(table, correction=False, method=method)
        yield name, float(found.statistic), float(found.pvalue)


def scipy_permutation(path: Path, draws: int) -> Iterator[Answer]:
    """chi2_contingency with samples permuted."""
    from scipy import stats

    for name, table in read_tables(path).items():
        method = stats.PermutationMethod(n_resamples=draws, rng=1)
        found = stats.chi2_contingency(table, correction=False, method=method)
        yield name, float(found.statistic), float(found.pvalue)


def vectorised(path: Path, _: int) -> Iterator[Answer]:
    """The chi-square tail of many tables at once; rows are sorted, no batch is missing, none is empty."""
    from pyarrow import csv as arrow_csv
    from scipy import stats

    rows = arrow_csv.read_csv(path, parse_options=arrow_csv.ParseOptions(delimiter="\t"))
    ids = rows["probeset_id"].unique().to_pylist()
    shape = len(ids), len(rows) // len(ids), 4
    counts = np.stack([rows[name].to_numpy() for name in GENOTYPES], axis=1).reshape(shape)
    for low in range(0, len(ids), _AT_A_TIME):
        some = counts[low : low + _AT_A_TIME]
        row, column = some.sum(axis=2, keepdims=True), some.sum(axis=1, keepdims=True)
        expected = row * column / row.sum(axis=1, keepdims=True)
        squares = np.divide((some - expected) ** 2, expected, out=np.zeros_like(expected), where=expected > 0)
        statistic = squares.sum(axis=(1, 2))
        pvalue = stats.chi2.sf(statistic, (shape[1] - 1) * ((column[:, 0] > 0).sum(axis=1) - 1))
        yield from zip(ids[low : low + _AT_A_TIME], statistic.tolist(), pvalue.tolist(), strict=True)


WAYS: dict[str, Callable[[Path, int], Iterator[Answer]]] = {
    "shuffled": shuffled,
    "scipy-monte-carlo": scipy_monte_carlo,
    "scipy-permutation": scipy_permutation,
    "vectorised": vectorised,
}


if __name__ == "__main__":
    main()
