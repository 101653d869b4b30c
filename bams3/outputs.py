"""Tables as text, BGZF or Parquet: written beside their place and renamed once, or to standard output."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import kernels
from .bam import BGZF_EOF, BLOCK_DATA_BYTES, compress_blocks
from .columns import Array
from .errors import Bams3Error
from .htslib import write_errors
from .pipeline import ordered_map

#: Decimals of numbers that are not whole, in text.
DECIMALS = 4
#: isal's level for BGZF, and how much text is compressed at a time.
_LEVEL, _SLAB_BYTES = 2, 16 * BLOCK_DATA_BYTES
#: Rows of a Parquet row group, at least.
_PARQUET_ROWS = 1 << 20
#: The longest contig of a .tbi index; above it the index is .csi.
_MAX_TBI_BP = 1 << 29

#: A run of rows: columns by name, each an array, a list of text, or one text for all rows.
Rows = Mapping[str, "Array | list[str] | str"]


def write_table(
    rows: Iterator[Rows], path: Path | None, *, header: bool, longest_bp: int = 0, workers: int = 1
) -> None:
    """Write runs of rows: all of them, or no file.

    Parameters
    ----------
    path
        ``.parquet`` is Parquet; ``.gz`` is BGZF with a tabix index of its first three columns as BED; else
        text. None: text on standard output.
    header
        Whether text begins with the names of the columns, behind a ``#``.
    longest_bp
        The longest contig: beyond 2**29 bp the index is ``.csi``.

    Raises
    ------
    Bams3Error
        ``write-failed``, ``disk-full``, ``index-failed``.
    """
    if path is None:
        for text in _texts(rows, header):
            sys.stdout.buffer.write(text)
        return
    with _replaced(path) as partial, write_errors(str(path)):
        if path.suffix == ".parquet":
            _write_parquet(rows, partial)
            return
        with partial.open("wb") as file:
            if path.suffix != ".gz":
                file.writelines(_texts(rows, header))
                return
            _write_bgzf(_texts(rows, header), file, workers)
        _index(partial, path, longest_bp)


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A name to write to that becomes ``path`` at the end, and goes where something fails."""
    partial = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.partial")
    try:
        yield partial
        with write_errors(str(path)):
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


# ---- text ----


def _texts(rows: Iterator[Rows], header: bool) -> Iterator[bytes]:
    for run in rows:
        if header:
            yield b"#" + "\t".join(run).encode() + b"\n"
            header = False
        yield format_rows(run)


def format_rows(rows: Rows) -> bytes:
    """Lines with tabs between the columns; numbers that are not whole have four decimals."""
    names = list(rows)
    first, others = rows[names[0]], [rows[name] for name in names[1:]]
    if isinstance(first, str) and all(isinstance(column, np.ndarray) for column in others):
        numbers = [_whole(column) for column in others]
        decimals = [DECIMALS if column.dtype.kind == "f" else 0 for column in others]  # type: ignore[union-attr]
        return kernels.format_rows(first.encode("utf-8", "surrogateescape"), numbers, decimals)
    n = max(len(column) for column in rows.values() if not isinstance(column, str))
    lines = zip(*(_as_text(column, n) for column in rows.values()), strict=True)
    return "".join("\t".join(line) + "\n" for line in lines).encode("utf-8", "surrogateescape")


def _whole(column: Any) -> Array:
    """Numbers as format_rows of the kernels takes them."""
    scaled = np.rint(column * 10**DECIMALS) if column.dtype.kind == "f" else column
    out: Array = scaled.astype(np.int64)
    return out


def _as_text(column: Array | list[str] | str, n: int) -> list[str]:
    if isinstance(column, str):
        return [column] * n
    if isinstance(column, list):
        return column
    return [f"{x:.{DECIMALS}f}" if isinstance(x, float) else str(x) for x in column.tolist()]


# ---- BGZF ----


def _write_bgzf(texts: Iterator[bytes], file: BinaryIO, workers: int) -> None:
    with ThreadPoolExecutor(workers, "bams3-compress") as pool:
        for block in ordered_map(
            pool, lambda slab: compress_blocks(slab, _LEVEL), _slabs(texts), workers + 1
        ):
            file.write(block)
    file.write(BGZF_EOF)


def _slabs(texts: Iterator[bytes]) -> Iterator[bytes]:
    """Text in runs of whole blocks."""
    buffer = bytearray()
    for text in texts:
        buffer += text
        whole = len(buffer) - len(buffer) % _SLAB_BYTES
        for start in range(0, whole, _SLAB_BYTES):
            yield bytes(buffer[start : start + _SLAB_BYTES])
        del buffer[:whole]
    yield bytes(buffer)


def _index(partial: Path, path: Path, longest_bp: int) -> None:
    """A tabix index beside a BGZF file that is not yet in its place."""
    import pysam  # noqa: PLC0415  # 30 ms that only this function needs

    suffix = ".csi" if longest_bp > _MAX_TBI_BP else ".tbi"
    with _replaced(path.with_name(path.name + suffix)) as index:
        try:
            pysam.tabix_index(str(partial), preset="bed", csi=suffix == ".csi", index=str(index), force=True)
        except OSError as err:
            raise Bams3Error(f"{path}: cannot be indexed: {err}", kind="index-failed") from err


# ---- Parquet ----


def _write_parquet(rows: Iterator[Rows], path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415  # large, and not always installed
    from pyarrow import parquet  # noqa: PLC0415

    writer, waiting, n = None, [], 0
    try:
        for run in rows:
            waiting.append(_arrow(run))
            n += waiting[-1].num_rows
            writer = writer or parquet.ParquetWriter(path, waiting[0].schema, compression="zstd")
            if n >= _PARQUET_ROWS:
                writer.write_table(pa.concat_tables(waiting))
                waiting, n = [], 0
        if writer and waiting:
            writer.write_table(pa.concat_tables(waiting))
    finally:
        if writer:
            writer.close()


def _arrow(rows: Rows) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    n = max(len(column) for column in rows.values() if not isinstance(column, str))
    columns = {name: [column] * n if isinstance(column, str) else column for name, column in rows.items()}
    return pa.table({name: pa.array(column) for name, column in columns.items()})
