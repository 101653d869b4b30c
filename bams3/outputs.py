"""Tables as text, BGZF or Parquet: written beside their place and renamed once, or to standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from . import kernels
from .bam import BGZF_EOF, compress_blocks
from .columns import Array
from .errors import Bams3Error, InputError
from .fields import Field
from .files import replaced
from .htslib import write_errors
from .pipeline import ordered_map

#: Decimals of numbers that are not whole, in text.
DECIMALS = 4
#: isal's level for BGZF, and how many rows are made into text at a time, at least.
_LEVEL, _BATCH_ROWS = 2, 1 << 14
#: Rows of a Parquet row group, at least.
_PARQUET_ROWS = 1 << 20
#: The longest contig of a .tbi index; above it the index is .csi.
_MAX_TBI_BP = 1 << 29

#: One text for all rows, a list of text, an array, or a field of records.
Column = str | list[str] | Array | Field
#: A run of rows: columns by name.
Rows = Mapping[str, Column]


def write_table(
    rows: Iterator[Rows],
    path: Path | None,
    *,
    header: str | None = "",
    longest_bp: int | None = None,
    workers: int = 1,
) -> None:
    """Write runs of rows: all of them, or no file.

    Parameters
    ----------
    path
        ``.parquet`` and ``.arrow`` (Arrow's file format) hold columns; ``.gz`` is BGZF; else text. None:
        text on standard output.
    header
        Stands before the names of the columns in text; None: no names.
    longest_bp
        Of rows that begin as in BED: the longest contig. Then BGZF comes with a tabix index, ``.csi``
        beyond 2**29 bp.

    Raises
    ------
    InputError
        ``usage`` for the name of another kind of file.
    Bams3Error
        ``write-failed``, ``disk-full``, ``index-failed``.
    """
    if path is not None and path.suffix.lower() in (".bam", ".sam", ".cram", ".png"):
        hint = "a table is text, .gz, .parquet or .arrow"
        raise InputError(f"{path}: not the name of a table", kind="usage", hint=hint)
    with ThreadPoolExecutor(workers, "bams3-write") as pool:
        if path is None:
            for text in _texts(rows, header, pool, workers, _plain):
                sys.stdout.buffer.write(text)
            return
        with replaced(path) as partial, write_errors(str(path)):
            if path.suffix in (".parquet", ".arrow"):
                _write_arrow(rows, partial, path.suffix)
                return
            is_bgzf = path.suffix == ".gz"
            with partial.open("wb") as file:
                file.writelines(_texts(rows, header, pool, workers, _bgzf if is_bgzf else _plain))
                file.write(BGZF_EOF if is_bgzf else b"")
            for old in (".tbi", ".csi") if is_bgzf else ():  # of the table that was there
                path.with_name(path.name + old).unlink(missing_ok=True)
            if is_bgzf and longest_bp is not None:
                _index(partial, path, longest_bp)


# ---- text ----


def _texts(
    rows: Iterator[Rows],
    header: str | None,
    pool: ThreadPoolExecutor,
    workers: int,
    pack: Callable[[bytes], bytes],
) -> Iterator[bytes]:
    """The table in pieces, each of them packed."""

    def work(batch: list[Rows]) -> bytes:
        return pack(b"".join(map(format_rows, batch)))

    first = next(rows, None)
    if first is not None:
        if header is not None:
            yield pack((header + "\t".join(first) + "\n").encode())
        yield from ordered_map(pool, work, _batches(chain([first], rows)), workers + 1)


def _plain(text: bytes) -> bytes:
    return text


def _bgzf(text: bytes) -> bytes:
    return compress_blocks(text, _LEVEL)


def _batches(rows: Iterator[Rows]) -> Iterator[list[Rows]]:
    """Runs of rows that together are worth a block or more."""
    batch: list[Rows] = []
    n = 0
    for run in rows:
        batch.append(run)
        n += _n_rows(run)
        if n >= _BATCH_ROWS:
            yield batch
            batch, n = [], 0
    yield batch


def _n_rows(rows: Rows) -> int:
    return max(len(column) for column in rows.values() if not isinstance(column, str))


def format_rows(rows: Rows) -> bytes:
    """Lines with tabs between the columns; numbers that are not whole have four decimals."""
    names = list(rows)
    first, others = rows[names[0]], [rows[name] for name in names[1:]]
    if isinstance(first, str) and all(isinstance(column, np.ndarray) for column in others):
        numbers = [_whole(column) for column in others]
        decimals = [DECIMALS if column.dtype.kind == "f" else 0 for column in others]  # type: ignore[union-attr]
        return kernels.format_rows(first.encode("utf-8", "surrogateescape"), numbers, decimals)
    n = _n_rows(rows)
    lines = zip(*(_as_text(column, n) for column in rows.values()), strict=True)
    return "".join("\t".join(line) + "\n" for line in lines).encode("utf-8", "surrogateescape")


def _whole(column: Any) -> Array:
    """Numbers as format_rows of the kernels takes them."""
    scaled = np.rint(column * 10**DECIMALS) if column.dtype.kind == "f" else column
    out: Array = scaled.astype(np.int64)
    return out


def _as_text(column: Column, n: int) -> list[str]:
    if isinstance(column, Field):
        column = column.texts()
    if isinstance(column, str):
        return [column] * n
    if isinstance(column, list):
        return column
    return [f"{x:.{DECIMALS}f}" if isinstance(x, float) else str(x) for x in column.tolist()]


def _index(partial: Path, path: Path, longest_bp: int) -> None:
    """A tabix index beside a BGZF file that is not yet in its place."""
    import pysam  # noqa: PLC0415  # 30 ms that only this function needs

    suffix = ".csi" if longest_bp > _MAX_TBI_BP else ".tbi"
    with replaced(path.with_name(path.name + suffix)) as index:
        try:
            pysam.tabix_index(str(partial), preset="bed", csi=suffix == ".csi", index=str(index), force=True)
        except OSError as err:
            raise Bams3Error(f"{path}: cannot be indexed: {err}", kind="index-failed") from err


# ---- Parquet and Arrow ----


def _write_arrow(rows: Iterator[Rows], path: Path, suffix: str) -> None:
    import pyarrow as pa  # noqa: PLC0415  # a tenth of a second

    writer, waiting, n = None, [], 0
    try:
        for run in rows:
            waiting.append(_arrow(run))
            n += waiting[-1].num_rows
            if writer is None:
                writer = _arrow_writer(path, waiting[0].schema, suffix)
            if n >= _PARQUET_ROWS:
                writer.write_table(pa.concat_tables(waiting).unify_dictionaries())
                waiting, n = [], 0
        writer = writer or _arrow_writer(path, pa.schema([]), suffix)
        if waiting:
            writer.write_table(pa.concat_tables(waiting).unify_dictionaries())
    finally:
        if writer:
            writer.close()


def _arrow_writer(path: Path, schema: Any, suffix: str) -> Any:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    if suffix == ".arrow":
        return pa.ipc.new_file(path, schema)
    return parquet.ParquetWriter(path, schema, compression="zstd")


def _arrow(rows: Rows) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    n = _n_rows(rows)
    return pa.table({name: _arrow_column(column, n) for name, column in rows.items()})


def _arrow_column(column: Column, n: int) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    if isinstance(column, Field):
        return column.arrow()
    if isinstance(column, str):  # the same in all rows, as contig names are
        return pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), pa.array([column]))
    return pa.array(column)
