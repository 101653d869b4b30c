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

BLOCK_BYTES = 1 << 22
"""How much text is taken at a time: its arrays are a few times that, whatever the size of the table."""

_LARGER_BLOCKS = 4  # fewer blocks look up fewer names
_BYTES_PER_ROW = 32  # of text, about: a block of a Parquet file has as many rows as one of text


@contextlib.contextmanager
def open_table(source: Path | BinaryIO, block_bytes: int, *, again: bool) -> Iterator[tuple[Table, bool]]:
    """A table, and whether it can be read ``again``, if that is asked for: a pipe cannot.

    What cannot is going to be held in memory, and comes in larger blocks.

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
        again = again and stream.seekable()
        size_bytes = block_bytes if again else block_bytes * _LARGER_BLOCKS
        if head.startswith(b"PAR1"):
            yield ParquetTable(whole, name, size_bytes // _BYTES_PER_ROW + 1), again
        else:
            yield TextTable(Text(whole, head, name), name, size_bytes), again
