"""The table that ``bams3 chi2-batch`` writes, read again: TSV (also gzip) or Parquet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from ..columns import Array
from ..errors import InputError
from .results import schema
from .twotier import METHODS

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERS = ("pvalue", "qvalue", "n_batches", "n_simulations")
_NAMES = ("method", "worst_batch")
_HINT = "make it with bams3 chi2-batch"


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What was found of P probesets, in the order of the table.

    Attributes
    ----------
    pvalue, qvalue
        (P,) float64. NaN where there is none; no p-value of a probeset that was not skipped is.
    method
        (P,) uint8. Which of METHODS.
    n_batches, n_simulations
        (P,) int64. 0 where there is none.
    worst_batch
        (P,) int32. Which of ``batches``; -1 where there is none.
    batches
        Names of batches.
    """

    pvalue: npt.NDArray[np.float64]
    qvalue: npt.NDArray[np.float64]
    method: npt.NDArray[np.uint8]
    n_batches: npt.NDArray[np.int64]
    n_simulations: npt.NDArray[np.int64]
    worst_batch: npt.NDArray[np.int32]
    batches: list[str]

    @property
    def tested(self) -> npt.NDArray[np.bool_]:
        """(P,) Whether a probeset was not skipped."""
        return np.asarray(self.method != METHODS.index("skipped"))


def read_results(path: Path) -> Results:
    """The results of a TSV or Parquet file, whose first bytes tell which.

    Raises
    ------
    InputError
        kind ``no-such-file``; ``not-results``: a column that is missing, a line and column to look at.

    Notes
    -----
    Holds the file once, and 40 bytes a probeset.
    """
    data = _bytes_of(path)
    if data[:4] == b"PAR1":
        table, unit, first = _parquet_table(path, data), "row", 1
    else:
        table, unit, first = _text_table(path, data), "line", 2
    return _results(path, table, unit, first)


def _bytes_of(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            from isal import igzip  # noqa: PLC0415  # only gzip needs it

            data = igzip.decompress(data)  # type: ignore[no-untyped-call]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", kind="no-such-file", hint=_HINT) from None
    except IsADirectoryError:
        _refuse(f"{path}: a folder, not a table of results")
    except (OSError, EOFError) as err:
        _refuse(f"{path}: cannot be read: {err}")
    return data


def _refuse(message: str) -> NoReturn:
    raise InputError(message, kind="not-results", hint=_HINT)


def _check_columns(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in (*_NUMBERS, *_NAMES) if name not in names]
    if missing:
        noun = "column" if len(missing) == 1 else "columns"
        _refuse(f"{path}: not a table of results: it has no {noun} {', '.join(missing)}")


# ---- Parquet ----


def _parquet_table(path: Path, data: bytes) -> Any:
    import pyarrow as pa  # noqa: PLC0415  # a tenth of a second
    from pyarrow import parquet  # noqa: PLC0415

    wanted = {**dict.fromkeys(_NUMBERS, pa.float64()), **dict.fromkeys(_NAMES, pa.string())}
    try:
        file = parquet.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        _check_columns(path, file.schema_arrow.names)
        table = file.read(columns=list(wanted))
    except (pa.ArrowException, OSError) as err:
        _refuse(f"{path}: a damaged Parquet file: {_first_words(err)}")
    for name, kind in wanted.items():
        try:
            column = table[name].cast(kind)
        except pa.ArrowException:
            _refuse(f"{path}: column {name} holds {table[name].type}, not {kind}")
        if kind == pa.string():
            column = column.dictionary_encode()
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def _first_words(err: Exception) -> str:
    return (str(err).splitlines() or ["?"])[0][:200]


# ---- text ----


def _text_table(path: Path, data: bytes) -> Any:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    data = data.rstrip(b"\r\n")
    header = _header(data)
    _check_columns(path, header)
    kinds = dict.fromkeys(_NUMBERS, pa.float64())
    kinds |= dict.fromkeys(_NAMES, pa.dictionary(pa.int32(), pa.string()))
    if b"\n" not in data:
        return pa.table({name: pa.array([], kind) for name, kind in kinds.items()})
    try:
        return csv.read_csv(
            pa.BufferReader(data),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                include_columns=list(kinds), column_types=kinds, null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowException as err:
        for problem in _bad_lines(data, header):
            _refuse(f"{path} {problem}")
        _refuse(f"{path}: not a table of results: {_first_words(err)}")


def _header(data: bytes) -> list[str]:
    line = data[: data.find(b"\n")] if b"\n" in data else data
    return line.decode("utf-8", "replace").removesuffix("\r").split("\t")


def _bad_lines(data: bytes, header: Sequence[str]) -> Iterator[str]:
    """Where a table that cannot be read is at fault; pyarrow reads in threads and does not know the line."""
    for number, line in enumerate(data.split(b"\n")[1:], 2):
        cells = line.removesuffix(b"\r").split(b"\t")
        if len(cells) != len(header):
            yield f"line {number}: {len(cells)} cells under a header of {len(header)}"
            continue
        for name, cell in zip(header, cells, strict=True):
            text = cell.decode("utf-8", "backslashreplace")
            if name in _NUMBERS and cell and not _is_number(text):
                yield f"line {number} column {name}: {text[:40]!r} is not a number"
            if name in _NAMES and text != cell.decode("utf-8", "replace"):
                yield f"line {number} column {name}: {text[:40]!r} is not UTF-8"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


# ---- values ----


def _results(path: Path, table: Any, unit: str, first: int) -> Results:
    """Columns as arrays; ``first`` is the number of the first row, in lines or rows."""
    columns = {name: _numbers(table[name]) for name in _NUMBERS}
    method, methods = _indices(table, "method")
    worst, batches = _indices(table, "worst_batch")
    codes = np.array([METHODS.index(name) if name in METHODS else -1 for name in [*methods, ""]])
    code = codes[method]
    for name, is_bad, why in _problems(columns, code):
        if is_bad.any():
            row = int(np.argmax(is_bad))
            cell = table[name][row].as_py()
            shown = "an empty cell" if cell is None else f"{cell:g}" if name in _NUMBERS else repr(cell)
            _refuse(f"{path} {unit} {row + first} column {name}: {shown}, {why}")
    tested = code != METHODS.index("skipped")
    return Results(
        np.where(tested, columns["pvalue"], math.nan),
        np.where(tested, columns["qvalue"], math.nan),
        code.astype(np.uint8),
        np.nan_to_num(columns["n_batches"]).astype(np.int64),
        np.nan_to_num(columns["n_simulations"]).astype(np.int64),
        worst.astype(np.int32),
        batches,
    )


def _problems(columns: dict[str, Array], code: Array) -> Iterator[tuple[str, Array, str]]:
    """Column, rows and reason of what cannot be; where one is refused, the next are not asked for."""
    p, q, n, b = (columns[name] for name in _NUMBERS)
    yield "method", code < 0, f"not one of {', '.join(METHODS)}"
    tested = code != METHODS.index("skipped")
    yield "pvalue", tested & ~((p >= 0) & (p <= 1)), "not a number from 0 to 1"
    yield "qvalue", tested & ((q < 0) | (q > 1)), "not a number from 0 to 1"
    yield "n_batches", tested & ~((n >= 1) & (n < 2**31)), "not a number of batches"
    yield "n_simulations", tested & ((b < 0) | (b >= 2**53)), "not a number of simulations"


def _numbers(column: Any) -> Array:
    """float64 (P,), NaN for null."""
    found: Array = column.fill_null(math.nan).to_numpy()
    return found


def _indices(table: Any, name: str) -> tuple[Array, list[str]]:
    """Which of some names each row has, -1 for null and an empty one."""
    column = table.select([name]).unify_dictionaries()[name].combine_chunks()
    names = column.dictionary.to_pylist()
    indices: Array = column.indices.fill_null(-1).to_numpy()
    return (np.where(indices == names.index(""), -1, indices) if "" in names else indices), names


# ---- all columns, as they were written ----


def open_results(path: Path) -> Iterator[pa.Table]:
    """All columns of results, in runs of rows; at least one, which may be empty.

    Raises
    ------
    InputError
        ``no-such-file``, ``not-results``.
    """
    import pyarrow as pa  # noqa: PLC0415

    try:
        yield schema().empty_table()
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        for table in _parquet_rows(path) if is_parquet else _text_rows(path):
            if table.schema.names != schema().names:
                _refuse(f"{path}: its columns are not those of results")
            table = table.cast(schema())
            _check_rows(path, table)
            yield table
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", kind="no-such-file", hint=_HINT) from None
    except (pa.ArrowException, OSError) as err:
        _refuse(f"{path}: not a table of results: {_first_words(err)}")


def _check_rows(path: Path, table: pa.Table) -> None:
    """Refuse rows that a hand or a program has changed into what no test gives."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute as pc  # noqa: PLC0415

    p, method = table["pvalue"], table["method"]
    is_sound = pc.and_(pc.greater_equal(p, 0), pc.less_equal(p, 1))
    is_sound = pc.fill_null(is_sound, pc.equal(method, "skipped"))  # which has none, alone
    for name, is_bad, why in (
        ("method", pc.invert(pc.is_in(method, pa.array(METHODS))), f"not one of {', '.join(METHODS)}"),
        ("pvalue", pc.invert(is_sound), "not a number from 0 to 1"),
    ):
        if pc.any(is_bad).as_py():
            row = table.slice(pc.index(is_bad, True).as_py(), 1).to_pylist()[0]
            _refuse(f"{path} probeset {row['probeset_id']} column {name}: {row[name]!r}, {why}")


def _parquet_rows(path: Path) -> Iterator[pa.Table]:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    with path.open("rb") as stream, parquet.ParquetFile(stream, page_checksum_verification=True) as file:
        for batch in file.iter_batches():
            yield pa.Table.from_batches([batch])


def _text_rows(path: Path) -> Iterator[pa.Table]:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    types = {field.name: field.type for field in schema()}
    options = {
        "parse_options": csv.ParseOptions(delimiter="\t", quote_char=False),
        "convert_options": csv.ConvertOptions(column_types=types, null_values=[""]),
    }
    # Arrow opens no file whose name is not UTF-8
    with path.open("rb") as stream, csv.open_csv(stream, **options) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])
