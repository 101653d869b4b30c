"""Tables in and out: the samples sheet of a cohort, and tables of samples x regions.

The samples sheet says which samples a cohort has and where each one's alignments are; ``read_samples``
checks every cell of it, so that a mistake is one line before the first job runs and not a failure an hour
later. A region table has one row a region and one column a sample: reads, mean depth, breadth. A sample's own
table has a column for each of these.
"""

import csv
import difflib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .store import is_s3, split_address

SHEET_COLUMNS = {
    "sample": "name of the sample; letters, digits and . _ + - only, for it names files",
    "alignment": "BAM, SAM or CRAM file of the sample",
    "store": "store (NAME.bams3) of the sample, used as it is",
    "reference": "FASTA file that a CRAM was made against",
}
"""The columns of a samples sheet and what they hold. A row fills exactly one of alignment and store."""

REGION_COLUMNS = ("contig", "start", "end", "name")
"""The first columns of every region table: a region in BED coordinates, 0-based half-open."""

_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a samples sheet: a name, and an alignment file or a store."""

    name: str
    alignment: str | None
    store: str | None
    reference: str | None
    line: int


class _Problem(NamedTuple):
    """What is wrong with a row, in which column, and the cure."""

    column: str
    message: str
    hint: str = ""


class CountedRegion(NamedTuple):
    """A row of a region table: a named region, 0-based half-open."""

    contig: str
    start_bp: int
    end_bp: int
    name: str

    @property
    def label(self) -> str:
        """Its name, or where it has none its place, 1-based inclusive."""
        return self.name or f"{self.contig}:{self.start_bp + 1}-{self.end_bp}"

    def __str__(self) -> str:
        return f"{self.contig}:{self.start_bp + 1}-{self.end_bp}{f' ({self.name})' * bool(self.name)}"


@dataclass(frozen=True, slots=True)
class CountTable:
    """Numbers of N regions in S samples.

    ``counts`` has shape (N, S): int64 where all are whole numbers, else float64. ``regions`` and
    ``samples`` name its rows and columns; ``column`` says what is told: count (reads), mean (depth),
    breadth (share of bases covered), or whatever the samples' tables call it.
    """

    regions: tuple[CountedRegion, ...]
    samples: tuple[str, ...]
    counts: npt.NDArray[Any]
    column: str = "count"


def read_samples(path: Path) -> list[Sample]:
    """Every sample of a sheet, checked: names, columns, and that the files are there.

    Parameters
    ----------
    path
        A TSV file with a header line, or a CSV file: a tab in the header tells. Empty lines and lines that
        start with ``#`` are skipped. Relative paths in it are relative to the working directory.

    Raises
    ------
    InputError
        kind ``bad-sheet``: a file, line and column to look at, and the cure. Of several mistakes the first
        is named and the others are counted.

    Notes
    -----
    Opens no alignment: one ``stat`` a cell.
    """
    rows = _sheet_rows(path)
    header_line, header = next(rows, (1, []))
    _check_header(path, header_line, header)
    samples: list[Sample] = []
    problems: list[tuple[int, _Problem]] = []
    seen: dict[str, Sample] = {}
    for line, cells in rows:
        sample = _sample(header, cells, line)
        problems += [(line, problem) for problem in (*_surplus(header, cells), *_problems(sample, seen))]
        samples.append(sample)
        seen.setdefault(sample.name.casefold(), sample)
    if problems:
        raise _bad_row(path, problems)
    if not samples:
        hint = "add a line for each sample: its name, and its alignment file or its store"
        raise InputError(f"{path}: no samples, only a header", kind="bad-sheet", hint=hint)
    return samples


def _sheet_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of every line that is neither empty nor a comment."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such samples sheet", kind="bad-sheet") from None
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path}: not a readable text file: {err}", kind="bad-sheet") from None
    used = [(n, text) for n, text in enumerate(lines, 1) if text.strip() and not text.startswith("#")]
    delimiter = "\t" if used and "\t" in used[0][1] else ","
    for line, text in used:
        cells = [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter))]
        if any(cells):
            yield line, cells


def _sample(header: Sequence[str], cells: Sequence[str], line: int) -> Sample:
    row = dict(zip(header, cells, strict=False))
    return Sample(
        name=row.get("sample", ""),
        alignment=row.get("alignment") or None,
        store=row.get("store") or None,
        reference=row.get("reference") or None,
        line=line,
    )


def _check_header(path: Path, line: int, header: Sequence[str]) -> None:
    where = f"{path} line {line}"
    known = ", ".join(SHEET_COLUMNS)
    if not header:
        raise InputError(
            f"{path}: the samples sheet is empty", kind="bad-sheet", hint=f"its header names columns: {known}"
        )
    for number, column in enumerate(header, 1):
        if column not in SHEET_COLUMNS:
            near = difflib.get_close_matches(column.lower(), SHEET_COLUMNS, n=1)
            raise InputError(
                f"{where} column {number}: unknown column {column!r}",
                kind="bad-sheet",
                hint=f"did you mean {near[0]!r}?" if near else f"the columns are {known}",
            )
        if column in header[: number - 1]:
            raise InputError(f"{where} column {number}: column {column!r} is there twice", kind="bad-sheet")
    for need in (("sample",), ("alignment", "store")):
        if not set(need) & set(header):
            raise InputError(
                f"{where}: no column {' or '.join(map(repr, need))}",
                kind="bad-sheet",
                hint=f"the first line names the columns, of {known}, with tabs (or commas) between",
            )


def _bad_row(path: Path, problems: Sequence[tuple[int, _Problem]]) -> InputError:
    line, (column, message, hint) = problems[0]
    others = len(problems) - 1
    more = f" (and {others} more mistake{'s' if others > 1 else ''})" if others else ""
    return InputError(f"{path} line {line} column {column}: {message}{more}", kind="bad-sheet", hint=hint)


def _surplus(header: Sequence[str], cells: Sequence[str]) -> Iterator[_Problem]:
    if len(cells) > len(header):
        yield _Problem(
            str(len(header) + 1),
            f"{len(cells)} cells under a header of {len(header)}",
            "a stray tab or comma? a comma inside a cell of a CSV file needs quotes around the cell",
        )


def _problems(sample: Sample, seen: dict[str, Sample]) -> Iterator[_Problem]:
    """What is wrong with one row; ``seen`` holds the rows above it by case-folded name."""
    twin = seen.get(sample.name.casefold())
    if not sample.name:
        yield _Problem("sample", "the cell is empty", "every row needs the name of its sample")
    elif not _SAFE_NAME.fullmatch(sample.name):
        yield _Problem(
            "sample",
            f"{sample.name!r} cannot name a file",
            "use letters, digits and . _ + -, and start with a letter or digit",
        )
    elif twin:
        case = "" if twin.name == sample.name else f" but for upper and lower case, as {twin.name}"
        yield _Problem(
            "sample",
            f"{sample.name} is in line {twin.line} already{case}",
            "give each sample its own name",
        )
    yield from _source_problems(sample)


def _source_problems(sample: Sample) -> Iterator[_Problem]:
    if sample.alignment and sample.store:
        yield _Problem(
            "store",
            f"{sample.name} has an alignment and a store",
            "fill one and leave the other empty",
        )
    elif not sample.alignment and not sample.store:
        yield _Problem(
            "alignment",
            f"the cell is empty, and {sample.name or 'the row'} has no store either",
            "give the path of a BAM, SAM or CRAM file, or of a store in the column store",
        )
    yield from _address_problems(sample)
    if _is_remote(sample.alignment):
        pass  # convert finds out
    elif sample.alignment and Path(sample.alignment, "_metadata.json").is_file():
        yield _Problem("alignment", f"{sample.alignment} is a store", "put it in the column store")
    elif sample.alignment:
        yield from _missing_file("alignment", sample.alignment)
    if sample.reference and not _is_remote(sample.reference):
        yield from _missing_file("reference", sample.reference)
    if sample.store and not _is_remote(sample.store) and not Path(sample.store, "_metadata.json").is_file():
        missing = "not a store: it has no _metadata.json" if Path(sample.store).exists() else "no such store"
        yield _Problem("store", f"{sample.store}: {missing}", _path_hint(sample.store))


def _is_remote(path: str | None) -> bool:
    return path is not None and "://" in path


def _address_problems(sample: Sample) -> Iterator[_Problem]:
    """S3 addresses that cannot be right; whether there is anything is not asked."""
    for column, path in (("alignment", sample.alignment), ("store", sample.store)):
        if path is not None and _is_remote(path):
            try:
                is_s3(path)
                split_address(path)
            except InputError as err:
                yield _Problem(column, str(err), err.hint)
    if _is_remote(sample.reference):
        hint = "copy it to a disk that every job sees"
        yield _Problem("reference", f"{sample.reference}: a reference is a file", hint)


def _missing_file(column: str, path: str) -> Iterator[_Problem]:
    if Path(path).is_dir():
        yield _Problem(column, f"{path}: a folder, not a file")
    elif not Path(path).exists():
        yield _Problem(column, f"{path}: no such file", _path_hint(path))
    elif not os.access(path, os.R_OK, effective_ids=True):
        yield _Problem(column, f"{path}: permission denied", "ask its owner for permission to read it")


def _path_hint(path: str) -> str:
    if Path(path).is_absolute():
        return ""
    return f"relative paths start at the working directory, {Path.cwd()}"


def read_counts(path: Path, column: str | None = None) -> CountTable:
    """The region table of a file: all of its samples, or one ``column`` of a sample's own table.

    A sample's own table names it by the file's stem: that of ``bams3 query --tsv`` (column ``count``), or of
    ``bams3 coverage -L`` (``mean``, ``breadth``, ...).

    Raises
    ------
    InputError
        kind ``bad-counts``, naming the line and column.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path}: not a readable table: {err}", kind="bad-counts") from None
    header = lines[0].removeprefix("#").split("\t") if lines else []
    told = header[len(REGION_COLUMNS) :]
    if tuple(header[: len(REGION_COLUMNS)]) != REGION_COLUMNS or not told:
        raise InputError(
            f"{path} line 1: not the header of a region table",
            kind="bad-counts",
            hint=f"it starts with {', '.join(REGION_COLUMNS)}, as query --tsv and coverage -L write it",
        )
    if column is not None and column not in told:
        raise InputError(
            f"{path} line 1: no column {column!r}", kind="bad-counts", hint=f"there are {', '.join(told)}"
        )
    if column is None and "mean" in told:
        message = f"{path}: a table of one sample has several columns"
        raise InputError(message, kind="bad-counts", hint=f"--column names one of {', '.join(told)}")
    if len(lines) < 2:
        raise InputError(f"{path}: no regions, only a header", kind="bad-counts")
    column = "count" if column is None and told == ["count"] else column
    wanted = told if column is None else [column]
    regions, rows = [], []
    for number, text in enumerate(lines[1:], 2):
        cells = _cells(path, number, header, text)
        regions.append(CountedRegion(cells["contig"], int(cells["start"]), int(cells["end"]), cells["name"]))
        rows.append([cells[name] for name in wanted])
    whole = all(cell.isdigit() for row in rows for cell in row)
    counts = np.array(rows).astype(np.int64 if whole else np.float64)
    samples = tuple(told) if column is None else (path.stem,)
    return CountTable(tuple(regions), samples, counts, column or "count")


def _cells(path: Path, line: int, header: Sequence[str], text: str) -> dict[str, str]:
    """The cells of a row by column; all but contig and name are numbers."""
    cells = text.split("\t")
    if len(cells) != len(header):
        raise InputError(
            f"{path} line {line}: {len(cells)} cells under a header of {len(header)}", kind="bad-counts"
        )
    for column, cell in zip(header, cells, strict=True):
        is_number = _NUMBER.fullmatch(cell) and ("." not in cell or column not in REGION_COLUMNS)
        if column not in ("contig", "name") and not is_number:
            raise InputError(
                f"{path} line {line} column {column}: {cell!r} is not a number", kind="bad-counts"
            )
    return dict(zip(header, cells, strict=True))


def join_counts(paths: Sequence[Path], column: str | None = None) -> CountTable:
    """One table of all samples from tables of the same regions in the same order.

    Raises
    ------
    InputError
        kind ``region-mismatch`` where two tables differ in a region, naming both; ``doubled-sample`` where
        two have a sample of the same name; ``bad-counts`` as ``read_counts``.

    Notes
    -----
    Holds every table once: 8 bytes a region and sample.
    """
    tables = [read_counts(path, column) for path in paths]
    first = tables[0]
    origin: dict[str, Path] = {}
    for path, table in zip(paths, tables, strict=True):
        _check_same_regions(paths[0], first, path, table)
        for sample in table.samples:
            if sample in origin:
                raise InputError(
                    f"sample {sample} is in {origin[sample]} and in {path}",
                    kind="doubled-sample",
                    hint="the name of a table's file is the name of its sample",
                )
            origin[sample] = path
    counts = np.hstack([table.counts for table in tables])
    return CountTable(first.regions, tuple(origin), counts, first.column)


def _check_same_regions(path: Path, table: CountTable, other_path: Path, other: CountTable) -> None:
    hint = "count every sample over the same BED file, then tabulate"
    for row, (mine, theirs) in enumerate(zip(table.regions, other.regions, strict=False), 2):
        if mine != theirs:
            raise InputError(
                f"{other_path} line {row}: region {theirs}, where {path} has {mine}",
                kind="region-mismatch",
                hint=hint,
            )
    if len(table.regions) != len(other.regions):
        raise InputError(
            f"{other_path} has {len(other.regions)} regions, where {path} has {len(table.regions)}",
            kind="region-mismatch",
            hint=hint,
        )


def format_counts(table: CountTable) -> Iterator[str]:
    """Lines of the TSV form of a region table, header first; what is not whole has four decimals."""
    yield "\t".join([*REGION_COLUMNS, *table.samples]) + "\n"
    whole = table.counts.dtype.kind == "i"
    for region, row in zip(table.regions, table.counts.tolist(), strict=True):
        yield "\t".join((*map(str, region), *(str(n) if whole else f"{n:.4f}" for n in row))) + "\n"


def write_counts(table: CountTable, path: Path) -> None:
    """Write the table as TSV: contig, start, end, name, then one column a sample."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(format_counts(table))
