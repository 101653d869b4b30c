"""Tables of genotype counts as they lie in files: text or Parquet, packed or not, rows in any order.

What a file is, its first bytes say and never its name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .mistakes import COLUMNS, COUNTS, MAX_COUNT, bad_counts
from .packing import Text, opened, peeked, refuse_foreign
from .parquet import ParquetTable
from .rows import Rows, Table
from .text import TextTable

__all__ = [
    "BLOCK_BYTES",
    "COLUMNS",
    "COUNTS",
    "MAX_COUNT",
    "Rows",
    "Table",
    "bad_counts",
    "open_table",
]

BLOCK_BYTES = 1 << 23
"""How much text is taken at a time: its arrays are a few times that, whatever the size of the table."""

_BYTES_PER_ROW = 32  # of text, about: a block of a Parquet file has as many rows as one of text


@contextlib.contextmanager
def open_table(source: Path | BinaryIO, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[Table, BinaryIO]]:
    """A table, and the stream that it comes from: what can seek can be read again.

    Raises
    ------
    InputError
        ``no-such-file``, ``not-a-file``, ``not-readable``; ``not-a-table``, ``empty-table``,
        ``missing-column``, ``doubled-column``, ``bad-counts`` (a Parquet column of another type).
    CorruptDataError
        ``truncated-file``, ``damaged-file``.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(source, Path):
            name, stream = str(source), stack.enter_context(opened(source))
        else:
            name, stream = "stdin", source
        head, whole = peeked(stream)
        refuse_foreign(head, name)
        if head.startswith(b"PAR1"):
            yield ParquetTable(whole, name, block_bytes // _BYTES_PER_ROW + 1), stream
        else:
            yield TextTable(Text(whole, head, name), name, block_bytes), stream
