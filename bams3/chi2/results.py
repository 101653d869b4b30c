"""Results of the tests, a row a probeset: as Arrow tables, as TSV and as Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..columns import Array
from ..errors import InputError
from ..files import remove_leftovers, replaced
from ..genotype_counts import GENOTYPES, CountBlock
from ..htslib import write_errors
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

SUFFIXES = (".tsv", ".txt", ".parquet")
#: Rows of a Parquet row group, and of what is held while results are written.
_GROUP_ROWS = 1 << 17


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


# ---- files ----


def check_name(path: Path) -> None:
    """InputError ``usage`` where a file's name does not say how results are written."""
    if str(path) != "-" and path.suffix not in SUFFIXES:
        hint = f"results are TSV or Parquet: give a name that ends in {', '.join(SUFFIXES)}, or - for stdout"
        raise InputError(f"{path}: not the name of results", kind="usage", hint=hint)


def write_results(tables: Iterable[pa.Table], path: Path) -> None:
    """Write results by the name of the file: all of them, or no file."""
    remove_leftovers(path)
    with replaced(path) as partial, write_errors(str(path)):
        if path.suffix == ".parquet":
            write_parquet(tables, partial)
        else:
            with partial.open("wb") as file:
                write_tsv(tables, file)


def write_parquet(tables: Iterable[pa.Table], path: Path) -> None:
    """Write results as Parquet, whatever the name of the file."""
    from pyarrow import parquet  # noqa: PLC0415

    # Arrow opens no file whose name is not UTF-8
    options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
    with path.open("wb") as file, parquet.ParquetWriter(file, schema(), **options) as writer:
        for table in rebatched(tables, _GROUP_ROWS):
            writer.write_table(table, row_group_size=_GROUP_ROWS)


def write_tsv(tables: Iterable[pa.Table], file: BinaryIO) -> None:
    """Write results as text: names of columns, then a line a probeset; numbers as short as they are exact."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    file.write(("\t".join(COLUMNS) + "\n").encode())
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    for table in tables:
        try:
            csv.write_csv(table, file, options)
        except pa.ArrowInvalid as err:
            hint = "rename the probeset, or the plate; or write Parquet, which holds any name"
            name = str(err).rpartition("Invalid value: ")[2][:40]
            message = f"{name!r} has a quote or a line's end in it, which TSV cannot hold"
            raise InputError(message, kind="cannot-write", hint=hint) from err


def rebatched(tables: Iterable[pa.Table], n: int) -> Iterator[pa.Table]:
    """The same rows, n to a table but in the last: what is written does not depend on how they came."""
    import pyarrow as pa  # noqa: PLC0415

    waiting: list[pa.Table] = []
    held = 0
    for table in tables:
        waiting.append(table)
        held += table.num_rows
        while held >= n:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, n).combine_chunks()
            waiting, held = [joined.slice(n)], held - n
    if held:
        yield pa.concat_tables(waiting).combine_chunks()


def is_drawn(table: pa.Table) -> Array:
    """Which probesets had tables drawn for them."""
    import pyarrow.compute as pc  # noqa: PLC0415

    out: Array = pc.equal(table["method"], METHODS[MONTE_CARLO]).to_numpy()
    return out
