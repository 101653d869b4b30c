"""Results of the tests, a row a probeset: as Arrow tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..columns import Array
from ..genotype_counts import GENOTYPES, CountBlock
from .twotier import METHODS, MONTE_CARLO, Tested

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = {
    "probeset_id": "string",
    "chi2_statistic": "double",
    "pvalue": "double",
    "dof": "int64",
    "method": "string",
    "n_batches": "int64",
    "total_samples": "int64",
    "n_simulations": "int64",
    "error": "string",
    "excluded_genotypes": "string",
    "qvalue": "double",
    "cramers_v": "double",
    "worst_batch": "string",
    "worst_residual": "double",
    "pvalue_no_call": "double",
    "mc_se": "double",
}
"""Columns of results, in order, and their Arrow types. A number that there is not is null, in TSV empty."""


def schema() -> pa.Schema:
    """The Arrow schema of results."""
    import pyarrow as pa  # noqa: PLC0415  # a tenth of a second

    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])


def as_table(block: CountBlock, tested: Tested) -> pa.Table:
    """Results of the tables of a block; q-values are null until all p-values are known."""
    import pyarrow as pa  # noqa: PLC0415

    names = np.array(METHODS, object)[tested.method]
    excluded = np.array([_without(bits) for bits in range(1 << len(GENOTYPES))], object)
    worst = np.array(block.batches, object)[block.batch[tested.worst_row]] if block.batches else names
    has_worst = ~np.isnan(tested.worst_residual)
    columns: dict[str, Any] = {
        "probeset_id": block.probesets,
        "chi2_statistic": _numbers(tested.statistic),
        "pvalue": _numbers(tested.pvalue),
        "dof": tested.dof,
        "method": names,
        "n_batches": tested.n_batches,
        "total_samples": tested.total,
        "n_simulations": tested.draws,
        "error": list(tested.error),
        "excluded_genotypes": excluded[tested.genotypes],
        "qvalue": _numbers(np.full(len(block.probesets), np.nan)),
        "cramers_v": _numbers(tested.cramers_v),
        "worst_batch": np.where(has_worst, worst, ""),
        "worst_residual": _numbers(tested.worst_residual),
        "pvalue_no_call": _numbers(tested.pvalue_no_call),
        "mc_se": _numbers(tested.mc_se),
    }
    assert list(columns) == list(COLUMNS)
    return pa.table(columns).cast(schema())


def _numbers(values: Array) -> pa.Array:
    import pyarrow as pa  # noqa: PLC0415

    return pa.array(values, mask=np.isnan(values))


def _without(bits: int) -> str:
    return ",".join(name for c, name in enumerate(GENOTYPES) if not bits >> c & 1)


def qvalues(pvalues: Array) -> Array:
    """Adjusted p-values that bound the false discovery rate: Benjamini and Hochberg (1995).

    Parameters
    ----------
    pvalues
        (P,) NaN where there was no test: such are not counted.
    """
    q = np.full(pvalues.size, np.nan)
    order = np.argsort(pvalues, kind="stable")[: np.count_nonzero(~np.isnan(pvalues))]
    ranked = pvalues[order] * order.size / np.arange(1, order.size + 1)
    q[order] = np.minimum.accumulate(ranked[::-1])[::-1]
    return q


def is_drawn(table: pa.Table) -> Array:
    """Which probesets had tables drawn for them."""
    import pyarrow.compute as pc  # noqa: PLC0415

    out: Array = pc.equal(table["method"], METHODS[MONTE_CARLO]).to_numpy()
    return out
