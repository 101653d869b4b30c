"""Tables of genotype counts as lines of text: read by Arrow, and checked for what Arrow would let pass."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..columns import Array
from ..errors import InputError
from .mistakes import COLUMNS, Header, bad_counts, parse_header, refuse_mistakes
from .packing import Text
from .rows import Rows, rows_of

_LONGEST_LINE_BYTES = 1 << 24
_BOM = b"\xef\xbb\xbf"


class TextTable:
    """A table of lines with tabs; CRLF, a byte order mark and empty lines at the end are fine."""

    def __init__(self, text: Text, name: str, block_bytes: int) -> None:
        self.name = name
        self._blocks = _whole_lines(text, name, block_bytes)
        first = next(self._blocks, b"").removeprefix(_BOM)
        line = re.match(rb"[^\r\n]*", first)[0]  # type: ignore[index]  # it matches nothing at least
        self._rest = first[len(line) :]
        if not first:
            hint = f"the first line names the columns {', '.join(COLUMNS)}, with tabs between"
            raise InputError(f"{name}: the file is empty", kind="empty-table", hint=hint)
        self._header = parse_header(line, name)

    def place(self, row: int) -> str:
        return f"line {row + 2}"  # no line is empty, so that rows and lines go together

    def rows(self) -> Iterator[Rows]:
        n_rows = 0
        for block in self._row_blocks():
            rows = self._parse(block, n_rows)
            n_rows += len(rows.batch)
            yield rows
        if not n_rows:
            hint = "a row for each probeset and batch is needed"
            raise InputError(f"{self.name}: no rows, only a header", kind="empty-table", hint=hint)

    def _row_blocks(self) -> Iterator[bytes]:
        if self._rest:
            yield _without_line_end(self._rest)
        self._rest = b""
        yield from self._blocks

    def _parse(self, block: bytes, first: int) -> Rows:
        import pyarrow as pa  # noqa: PLC0415  # a tenth of a second

        rows = None
        with contextlib.suppress(pa.ArrowInvalid):
            rows = _parsed(block, self._header, first)
        if rows is None or _has_bad_ids(rows, block):
            refuse_mistakes(block, self._header, self.name, first + 2)
        if rows is None:
            last_line = first + 2 + block.count(b"\n")
            words = f"{self.name} lines {first + 2} to {last_line}: not rows of a table of counts"
            raise bad_counts(words, "see that every line has the header's cells")
        return rows


def _whole_lines(text: Text, name: str, block_bytes: int) -> Iterator[bytes]:
    """Runs of lines, without the end of the last one; empty lines at the end of the text are dropped."""
    data, started = b"", False
    while more := text.read(block_bytes):
        data += more
        # the last byte may be one half of CRLF
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1))
        while end > 0 and data[end - 1] in b"\r\n":
            end -= 1
        if end > 0:
            yield _without_line_end(data[:end]) if started else data[:end]
            data, started = data[end:], True
        elif len(data) > _LONGEST_LINE_BYTES:
            words = f"{name}: a line of more than {_LONGEST_LINE_BYTES >> 20} MB, no table of counts"
            raise InputError(words, kind="not-a-table", hint="lines end in a newline, cells in a tab")
    data = data.rstrip(b"\r\n")
    if data:
        yield _without_line_end(data) if started else data


def _without_line_end(data: bytes) -> bytes:
    """What follows the line end at the start of ``data``, which is that of the line before it."""
    return data[2:] if data.startswith(b"\r\n") else data[1:]


def _parsed(block: bytes, header: Header, first: int) -> Rows:
    """Rows of text by Arrow.

    Raises
    ------
    pyarrow.ArrowInvalid
        Something is wrong somewhere.

    Notes
    -----
    Counts come as strings: Arrow would take 0x1F, -0 and blanks around digits for numbers.
    """
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    names = [str(cell) for cell in range(header.n_cells)]
    wanted = [names[cell] for cell in header.cells]
    types = {**dict.fromkeys(wanted, pa.string()), wanted[1]: pa.dictionary(pa.int32(), pa.string())}
    if block.startswith(_BOM):
        block = _BOM + block  # Arrow drops one in front, and here it is not the file's
    table = csv.read_csv(
        pa.BufferReader(block),
        csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
        csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
        csv.ConvertOptions(column_types=types, include_columns=wanted, null_values=[]),
    )
    probeset, batch, *cells = [column.chunk(0) for column in table.columns]
    return rows_of(first, probeset, batch, [_digits_as_counts(column) for column in cells])


def _digits_as_counts(cells: Any) -> Array:
    """int32 of strings, each of plain digits and nothing else."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute  # noqa: PLC0415

    _, ends, characters = cells.buffers()
    n_bytes = np.frombuffer(ends, np.int32)[len(cells)]
    text = np.frombuffer(characters or b"", np.uint8)[:n_bytes]
    if ((text - np.uint8(ord("0"))) > 9).any():
        raise pa.ArrowInvalid("something that is not a digit")
    return compute.cast(cells, pa.int32()).to_numpy()  # type: ignore[no-any-return]


def _has_bad_ids(rows: Rows, block: bytes) -> bool:
    """Whether one is empty or has a quote in it."""
    from pyarrow import compute  # noqa: PLC0415

    if "" in rows.names or compute.min(compute.binary_length(rows.runs)).as_py() == 0:
        return True
    if b'"' not in block:
        return False
    quoted = compute.any(compute.match_substring(rows.runs, '"')).as_py()
    return bool(quoted) or any('"' in name for name in rows.names)
