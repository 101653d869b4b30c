"""Tables of genotype counts in Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from ..columns import Array
from ..errors import InputError
from .mistakes import COLUMNS, COUNTS, IDS, MAX_COUNT, bad_counts, check_columns, check_id, refuse_count
from .packing import damaged, truncated
from .rows import Rows, rows_of


class ParquetTable:
    """A Parquet file of the same columns; counts of any width, also whole numbers as floats."""

    def __init__(self, stream: BinaryIO, name: str, block_rows: int) -> None:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415

        self.name = name
        self._block_rows = block_rows
        start = stream.tell()
        stream.seek(-4, io.SEEK_END)
        if stream.read(4) != b"PAR1":
            raise truncated(name)
        stream.seek(start)
        try:
            # row groups may be large: their pages are read as they are needed
            self._file = parquet.ParquetFile(stream, buffer_size=1 << 20)
            schema = self._file.schema_arrow
        except (OSError, pa.ArrowException) as err:
            raise damaged(name, err) from None
        check_columns(schema.names, name)
        for column in COLUMNS:
            _check_type(schema.field(column).type, column, name)

    def place(self, row: int) -> str:
        return f"row {row + 1}"

    def rows(self) -> Iterator[Rows]:
        import pyarrow as pa  # noqa: PLC0415

        first = 0
        blocks = self._file.iter_batches(self._block_rows, columns=list(COLUMNS), use_threads=False)
        while True:
            try:
                block = next(blocks, None)
            except (OSError, pa.ArrowException) as err:
                raise damaged(self.name, err) from None
            if block is None:
                break
            if block.num_rows:
                yield self._checked(block, first)
            first += block.num_rows
        if not first:
            raise InputError(f"{self.name}: no rows", kind="empty-table")

    def _checked(self, block: Any, first: int) -> Rows:
        probeset, batch = (self._ids(block.column(name), name, first) for name in IDS)
        counts = [self._counts(block.column(name), name, first) for name in COUNTS]
        return rows_of(first, probeset, batch.dictionary_encode(), counts)

    def _where(self, column: str, row: int) -> str:
        return f"{self.name} {self.place(row)} column {column}"

    def _check_nulls(self, values: Any, column: str, first: int) -> None:
        if values.null_count:
            row = first + int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
            raise bad_counts(f"{self._where(column, row)}: a null", "leave the row out, or fill the cell")

    def _ids(self, values: Any, column: str, first: int) -> Any:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import compute  # noqa: PLC0415

        try:
            values.validate(full=True)
            if isinstance(values, pa.DictionaryArray):
                values = values.dictionary_decode()
            values = values.cast(pa.string())
        except pa.ArrowInvalid:
            raise bad_counts(
                f"{self.name} rows {first + 1} to {first + len(values)} column {column}: not UTF-8",
                "save it as UTF-8",
            ) from None
        self._check_nulls(values, column, first)
        bad = compute.match_substring_regex(values, '^$|["\t\r\n]').to_numpy(zero_copy_only=False)
        if bad.any():
            at = int(np.argmax(bad))
            check_id(values[at].as_py(), self._where(column, first + at))
        return values

    def _counts(self, values: Any, column: str, first: int) -> Array:
        self._check_nulls(values, column, first)
        numbers: Array = values.to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore"):  # NaN is neither
            good = (numbers >= 0) & (numbers <= MAX_COUNT) & (numbers == np.floor(numbers))
        if not good.all():
            at = int(np.argmin(good))
            refuse_count(str(numbers[at]).removesuffix(".0"), self._where(column, first + at))
        return numbers.astype(np.int32)


def _check_type(kind: Any, column: str, name: str) -> None:
    import pyarrow as pa  # noqa: PLC0415

    if column in COUNTS:
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            hint = "a count is an integer (or a whole number as a float)"
            raise bad_counts(f"{name} column {column}: {kind}, not numbers", hint)
        return
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)):
        raise bad_counts(f"{name} column {column}: {kind}, not strings", "save the ids as strings")
