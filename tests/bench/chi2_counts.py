"""Tables of genotype counts that ``make chi2`` tests: made up under the null, or taken from a file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

Array = np.ndarray[Any, Any]

COLUMNS = ("probeset_id", "batch_name", "n_AA", "n_AB", "n_BB", "n_NC")
SAMPLES = 100
"""Samples of a batch."""

#: Allele frequencies: of 100 samples 0.25 to 4.4 are expected to be BB in the one, 6.25 to 25 in the other.
RARE, FREQUENT = (0.05, 0.21), (0.25, 0.5)
#: Half of the rare probesets have no-calls, at this rate.
NO_CALL_RATE = 0.002
_BLOCK_ROWS = 1_000_000


def write_made_up(path: Path, n_probesets: int, n_batches: int, share_rare: float, seed: int) -> None:
    """A TSV sorted by probeset: genotypes in Hardy-Weinberg proportions, the same in all batches.

    Parameters
    ----------
    share_rare
        Of the probesets, those with an expected count below 5; the others have no no-calls, which would
        make them such.
    """
    chance = np.random.default_rng(seed)
    size = max(1, _BLOCK_ROWS // n_batches)
    batches = pa.array([f"plate_{i:03d}" for i in range(n_batches)])
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with path.open("wb") as file:
        file.write(("\t".join(COLUMNS) + "\n").encode())
        for low in range(0, n_probesets, size):
            n = min(size, n_probesets - low)
            counts = drawn_counts(chance, n, n_batches, share_rare).reshape(-1, 4)
            ids = pa.array([f"AX-{100_000_000 + low + i}" for i in range(n)])
            columns = [
                ids.take(pa.array(np.repeat(np.arange(n), n_batches))),
                batches.take(pa.array(np.tile(np.arange(n_batches), n))),
                *(pa.array(counts[:, c]) for c in range(4)),
            ]
            csv.write_csv(pa.table(columns, COLUMNS), file, options)


def drawn_counts(chance: np.random.Generator, n: int, n_batches: int, share_rare: float) -> Array:
    """(n, n_batches, 4) int32. Genotypes of SAMPLES samples each; ``share_rare`` of the tables are rare."""
    is_rare = chance.permutation(n) < round(share_rare * n)
    b = np.where(is_rare, chance.uniform(*RARE, n), chance.uniform(*FREQUENT, n))
    no_call = np.where(is_rare & (chance.random(n) < 0.5), NO_CALL_RATE, 0.0)
    called = np.stack([(1 - b) ** 2, 2 * b * (1 - b), b**2], axis=1) * (1 - no_call[:, None])
    rates = np.column_stack([called, no_call])
    return chance.multinomial(SAMPLES, rates[:, None, :], (n, n_batches)).astype(np.int32)


def write_some(counts: Path, probesets: Collection[str], path: Path) -> None:
    """Those rows of a TSV whose probeset is wanted."""
    header, *lines = counts.read_text().splitlines(keepends=True)
    at = header.rstrip("\n").split("\t").index(COLUMNS[0])
    wanted = set(probesets)
    path.write_text(header + "".join(line for line in lines if line.rstrip("\n").split("\t")[at] in wanted))
