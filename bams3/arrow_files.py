"""Arrow tables as TSV and Parquet files, whose bytes do not depend on how the rows came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .errors import InputError
from .files import replaced
from .htslib import write_errors

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".tsv", ".txt", ".parquet")
#: Rows of a Parquet row group, and of what is held while a table is written.
GROUP_ROWS = 1 << 17


def check_name(path: Path) -> None:
    """InputError ``usage`` where a file's name does not say how results are written."""
    if str(path) != "-" and path.suffix not in SUFFIXES:
        hint = f"results are TSV or Parquet: give a name that ends in {', '.join(SUFFIXES)}, or - for stdout"
        raise InputError(f"{path}: not the name of results", kind="usage", hint=hint)


def write_results(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    path: Path,
    metadata: Callable[[], dict[str, str]] | None = None,
    **encoding: Any,
) -> None:
    """Write tables by the name of the file: all of them, or no file; the rest is write_parquet's."""
    with replaced(path) as partial, write_errors(str(path)):
        if path.suffix == ".parquet":
            write_parquet(tables, schema, partial, metadata, **encoding)
        else:
            with partial.open("wb") as file:
                write_tsv(tables, schema, file)


def write_parquet(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    path: Path,
    metadata: Callable[[], dict[str, str]] | None = None,
    **encoding: Any,
) -> None:
    """Write tables as Parquet, whatever the name of the file.

    Parameters
    ----------
    metadata
        Gives, once all tables are written, what the file says of itself by key.
    encoding
        Arguments of pyarrow's writer.
    """
    from pyarrow import parquet  # noqa: PLC0415  # a tenth of a second

    with parquet.ParquetWriter(path, schema, compression="zstd", **encoding) as writer:
        for table in rebatched(tables, GROUP_ROWS):
            writer.write_table(table, row_group_size=GROUP_ROWS)
        if metadata is not None:
            writer.add_key_value_metadata(metadata())


def write_tsv(tables: Iterable[pa.Table], schema: pa.Schema, file: BinaryIO) -> None:
    """Write tables as text: names of columns, then a line a row; numbers as short as they are exact."""
    from pyarrow import csv  # noqa: PLC0415

    file.write(("\t".join(schema.names) + "\n").encode())
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    for table in tables:
        csv.write_csv(table, file, options)


def rebatched(tables: Iterable[pa.Table], n: int) -> Iterator[pa.Table]:
    """The same rows, n to a table but in the last."""
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
