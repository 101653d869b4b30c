"""Arrow tables as TSV and Parquet files, whose bytes do not depend on how the rows came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .errors import InputError
from .files import remove_leftovers, replaced
from .htslib import write_errors

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".tsv", ".txt", ".parquet")
#: Rows of a Parquet row group, and of what is held while a table is written.
GROUP_ROWS = 1 << 17

Metadata = Callable[[], dict[str, str]]
"""Gives, once all tables are written, what a Parquet file says of itself."""


def check_name(path: Path) -> None:
    """InputError ``usage`` where a file's name does not say how results are written."""
    if str(path) != "-" and path.suffix not in SUFFIXES:
        hint = f"results are TSV or Parquet: give a name that ends in {', '.join(SUFFIXES)}, or - for stdout"
        raise InputError(f"{path}: not the name of results", kind="usage", hint=hint)


def write_results(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    path: Path,
    metadata: Metadata | None = None,
    encoding: dict[str, Any] | None = None,
) -> None:
    """Write tables by the name of the file: all of them, or no file; the rest is write_parquet's."""
    remove_leftovers(path)
    with replaced(path) as partial, write_errors(str(path)):
        if path.suffix == ".parquet":
            write_parquet(tables, schema, partial, metadata, encoding)
        else:
            with partial.open("wb") as file:
                write_tsv(tables, schema, file)


def write_parquet(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    path: Path,
    metadata: Metadata | None = None,
    encoding: dict[str, Any] | None = None,
) -> None:
    """Write tables as Parquet, whatever the name of the file; ``encoding`` is for pyarrow's writer."""
    from pyarrow import parquet  # noqa: PLC0415  # a tenth of a second

    options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True, **(encoding or {})}
    # Arrow opens no file whose name is not UTF-8
    with path.open("wb") as file, parquet.ParquetWriter(file, schema, **options) as writer:
        for table in rebatched(tables, GROUP_ROWS):
            writer.write_table(table, row_group_size=GROUP_ROWS)
        if metadata is not None:
            writer.add_key_value_metadata(metadata())


def write_tsv(tables: Iterable[pa.Table], schema: pa.Schema, file: BinaryIO) -> None:
    """Write tables as text: names of columns, then a line a row; numbers as short as they are exact.

    Raises
    ------
    InputError
        ``cannot-write``: a text has a quote, a tab or the end of a line in it.
    """
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    file.write(("\t".join(schema.names) + "\n").encode())
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    for table in tables:
        try:
            csv.write_csv(table, file, options)
        except pa.ArrowInvalid as err:
            hint = "rename it where it comes from; or write Parquet, which holds any name"
            name = str(err).rpartition("Invalid value: ")[2][:40]
            message = f"{name!r} has a quote or a line's end in it, which TSV cannot hold"
            raise InputError(message, kind="cannot-write", hint=hint) from err


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
