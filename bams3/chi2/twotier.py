"""Two tiers of tests of homogeneity: the chi-square tail, or the permutation distribution.

Pearson's statistic of a table of batches by genotypes follows the chi-square distribution where every
expected count is large enough. Elsewhere it is ranked among all tables of the same margins, each weighed by
its probability if samples were dealt to the batches at random: by enumeration where they are few, else by
drawing some.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..columns import Array
from ..errors import InputError
from ..genotype_counts import GENOTYPES, CountBlock
from ..kernels.chi2 import describe_tables, permute_tables

METHODS = ("standard", "monte_carlo", "exact", "skipped")
STANDARD, MONTE_CARLO, EXACT, SKIPPED = range(4)

#: Tables of the same margins are enumerated where they are at most so many: then that is cheaper than to
#: draw some ten thousand.
MAX_TABLES = 300_000
#: Besag and Clifford's h: drawing stops when so many tables were as far out as the one seen.
STOP_AT = 10
#: A kernel's limit of the samples in a table that it permutes.
_MOST_SAMPLES = (1 << 31) - 1
#: Nanoseconds of a table: at least, of a row that is described, and of a row in each table that is drawn.
_TABLE_NS, _ROW_NS, _DRAWN_ROW_NS = 300.0, 30.0, 12.0


@dataclass(frozen=True, slots=True)
class Options:
    """How tables are tested.

    Attributes
    ----------
    min_expected_count
        The least expected count of all cells with which the chi-square tail is taken.
    adaptive
        Whether to stop drawing as Besag and Clifford (1991) do, after STOP_AT tables as far out as the one
        seen, or at ``max_simulations``; else exactly ``n_simulations`` are drawn.
    random_seed
        With it and the probeset's id each table's random numbers are seeded, so that a result depends on
        neither order nor company.
    exclude_no_call
        Whether samples without a call are left out.
    """

    min_expected_count: float = 5.0
    adaptive: bool = True
    n_simulations: int = 10_000
    max_simulations: int = 1_000_000
    random_seed: int = 1
    exclude_no_call: bool = False

    def __post_init__(self) -> None:
        for name in ("n_simulations", "max_simulations"):
            if type(getattr(self, name)) is not int or not 1 <= getattr(self, name) <= 10**12:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 to 10^12", kind="usage")
        if not 0 <= self.min_expected_count < math.inf:
            message = f"min_expected_count is {self.min_expected_count}: give 0 or a number above it"
            raise InputError(message, kind="usage")
        if type(self.random_seed) is not int or not -(1 << 63) <= self.random_seed < 1 << 63:
            message = f"random_seed is {self.random_seed}: give a whole number of at most 64 bits"
            raise InputError(message, kind="usage")

    @property
    def most_draws(self) -> int:
        """Tables that are drawn at most."""
        return self.max_simulations if self.adaptive else self.n_simulations

    @property
    def stop_at(self) -> int:
        """After how many tables as far out as the one seen drawing stops; 0: never."""
        return STOP_AT if self.adaptive else 0


class Tested(NamedTuple):
    """What tests of P tables gave: (P,) each; NaN where there is no number.

    ``method`` and ``genotypes`` are codes: of METHODS, and bit c for each column that has samples;
    ``worst_row`` is a row of the block; ``error`` says why there is no p-value.
    """

    statistic: Array
    pvalue: Array
    dof: Array
    method: Array
    n_batches: Array
    total: Array
    draws: Array
    mc_se: Array
    genotypes: Array
    cramers_v: Array
    worst_row: Array
    worst_residual: Array
    pvalue_no_call: Array
    error: Sequence[str]


def describe(block: CountBlock, options: Options) -> Array:
    """Pearson's statistic of each table, and what decides how it is tested: (P,) of kernels.chi2.TABLE."""
    return describe_tables(block.start, _counted(block, options))


def _counted(block: CountBlock, options: Options) -> Array:
    """The counts that are tested."""
    if not options.exclude_no_call:
        return block.counts
    counts = block.counts.copy()
    counts[:, GENOTYPES.index("NC")] = 0
    return counts


def two_tier_tests(block: CountBlock, tables: Array, options: Options) -> Tested:
    """Test every table of a block; one that cannot be tested is skipped, and ``error`` says why.

    Parameters
    ----------
    tables
        What ``describe`` gave.

    Notes
    -----
    About 1 us a table, and where tables are drawn 10 ns a row of each.
    """
    method, pvalue, draws = _two_tiers(
        tables, block.probesets, block.start, _counted(block, options), options, b"genotypes"
    )
    is_skipped = method == SKIPPED
    error = [""] * tables.size
    for i in np.flatnonzero(is_skipped):
        error[i] = _why_unfit(tables[i])
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.minimum(tables["n_rows"], tables["n_columns"]).astype(np.int64) - 1
        cramers_v = np.sqrt(tables["statistic"] / (tables["total"] * least))
        mc_se = np.where(draws > 0, np.sqrt(pvalue * (1 - pvalue) / draws), 0.0)
    worst_row = block.start[:-1] + tables["worst_row"]
    return Tested(
        statistic=_but(is_skipped, tables["statistic"]),
        pvalue=pvalue,
        dof=tables["dof"],
        method=method,
        n_batches=tables["n_rows"],
        total=tables["total"],
        draws=draws,
        mc_se=_but(is_skipped, mc_se),
        genotypes=tables["columns"],
        cramers_v=_but(is_skipped, cramers_v),
        worst_row=worst_row.astype(np.int64),
        worst_residual=_but(is_skipped, tables["worst_residual"]),
        pvalue_no_call=_no_call(block, options),
        error=error,
    )


def expected_ns(tables: Array, options: Options) -> Array:
    """About how long each table takes to test, in nanoseconds of one core: (P,)."""
    draws = np.zeros(tables.size)
    drawn = np.flatnonzero(tables["least_expected"] < options.min_expected_count)
    draws[drawn] = options.most_draws
    if options.adaptive and drawn.size:
        draws[drawn] = np.minimum(options.most_draws, STOP_AT / np.maximum(tables["tail"][drawn], 1e-300))
    out: Array = _TABLE_NS + tables["n_rows"] * (_ROW_NS + _DRAWN_ROW_NS * draws)
    return out


def _two_tiers(
    tables: Array, probesets: Sequence[str], start: Array, counts: Array, options: Options, what: bytes
) -> tuple[Array, Array, Array]:
    """Method, p-value and draws of each table; ``what`` tells its random numbers from another's."""
    method = np.full(tables.size, STANDARD, np.int8)
    draws = np.zeros(tables.size, np.int64)
    method[tables["least_expected"] < options.min_expected_count] = MONTE_CARLO
    unfit = (tables["n_rows"] < 2) | (tables["n_columns"] < 2)
    unfit |= (method == MONTE_CARLO) & (tables["total"] > _MOST_SAMPLES)
    method[unfit] = SKIPPED
    pvalue = np.where(unfit, np.nan, tables["tail"])
    permuted = np.flatnonzero(method == MONTE_CARLO)
    if permuted.size:
        seeds = _seeds([probesets[i] for i in permuted.tolist()], options.random_seed, what)
        some_start, some_counts = _only(permuted, start, counts)
        limits = MAX_TABLES, options.most_draws, options.stop_at
        tiers = permute_tables(some_start, some_counts, seeds, *limits)
        pvalue[permuted], draws[permuted] = tiers["pvalue"], tiers["draws"]
        method[permuted[tiers["draws"] == 0]] = EXACT
    return method, pvalue, draws


def _why_unfit(table: np.void) -> str:
    if table["total"] == 0:
        return "no samples"
    if table["n_rows"] < 2:
        return "one batch has samples"
    if table["n_columns"] < 2:
        (only,) = (name for c, name in enumerate(GENOTYPES) if table["columns"] >> c & 1)
        return f"one genotype: {only}"
    return f"more than {_MOST_SAMPLES} samples"


def _but(where: Array, values: Array) -> Array:
    out: Array = np.where(where, np.nan, values)
    return out


def _seeds(probesets: Sequence[str], random_seed: int, what: bytes) -> Array:
    """(P, 4) uint64, each from a probeset's id."""
    key = str(random_seed).encode()
    texts = (probeset.encode("utf-8", "surrogateescape") for probeset in probesets)
    digests = (hashlib.blake2b(text, digest_size=32, key=key, person=what).digest() for text in texts)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _only(which: Array, start: Array, counts: Array) -> tuple[Array, Array]:
    """Some of the tables, one behind the other."""
    sizes = (start[1:] - start[:-1])[which].astype(np.int64)
    bounds = np.append(0, np.cumsum(sizes))
    rows = np.repeat(start[which].astype(np.int64) - bounds[:-1], sizes) + np.arange(bounds[-1])
    return bounds.astype(np.uint64), counts[rows]


def _no_call(block: CountBlock, options: Options) -> Array:
    """P-values of the rate of samples without a call; 1 where all have one or none has: rates are equal."""
    counts = np.zeros_like(block.counts)
    for c, name in enumerate(GENOTYPES):
        counts[:, int(name == "NC")] += block.counts[:, c]
    tables = describe_tables(block.start, counts)
    method, pvalue, _ = _two_tiers(tables, block.probesets, block.start, counts, options, b"no call")
    pvalue[(method == SKIPPED) & (tables["n_columns"] == 1) & (tables["n_rows"] > 1)] = 1
    return pvalue
