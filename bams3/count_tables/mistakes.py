"""What is wrong with a table of genotype counts: the line, the column, the words and the cure.

Text is read fast and all at once; only where that fails is it looked through here, a cell at a time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from ..errors import InputError

IDS = ("probeset_id", "batch_name")
COUNTS = ("n_AA", "n_AB", "n_BB", "n_NC")
COLUMNS = (*IDS, *COUNTS)
"""What a table must have; other columns are passed over."""

MAX_COUNT = 2**31 - 1

_R_HINT = "write the table without quotes (in R: quote = FALSE, row.names = FALSE)"
_ROW_HINT = f"a row has a tab between its cells: {', '.join(COLUMNS)}, in the header's order"
_COUNT_HINT = "a count is a number of samples in plain digits, such as 0 or 112"
_SHOWN_CHARACTERS = 40
#: How a VCF, a BCF and a .bed of PLINK begin, unpacked.
_PANELS = (b"##fileformat=VCF", b"BCF\2", b"l\x1b\x01")


@dataclass(frozen=True, slots=True)
class Header:
    """Of how many cells a line consists, and which of them are COLUMNS, in their order."""

    n_cells: int
    cells: tuple[int, ...]

    def name_of(self, cell: int) -> str:
        """The column that a cell belongs to, one of COLUMNS."""
        return COLUMNS[self.cells.index(cell)]


def parse_header(line: bytes, source: str) -> Header:
    """Where the columns of a table are, from its first line.

    Raises
    ------
    InputError
        ``not-a-table`` if it is no text or of a panel, ``missing-column``, ``doubled-column``.
    """
    if line.startswith(_PANELS):
        hint = "chi2-batch counts its genotypes: --vcf FILE, or --bfile PREFIX, and --plates"
        raise InputError(f"{source}: a panel, not a table of counts", kind="not-a-table", hint=hint)
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        words = "UTF-16 text" if line[:2] in (b"\xff\xfe", b"\xfe\xff") else "no text"
        hint = f"save it as UTF-8 text with tabs, or as Parquet, with the columns {', '.join(COLUMNS)}"
        raise InputError(f"{source}: {words}, not a table of counts", kind="not-a-table", hint=hint)
    names = text.split("\t")
    check_columns(names, f"{source} line 1", text)
    return Header(len(names), tuple(names.index(column) for column in COLUMNS))


def check_columns(names: Sequence[str], where: str, text: str = "") -> None:
    """Refuse a table that lacks one of COLUMNS or has it twice; ``text`` is the header's line."""
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        words = f"no column{'s' * (len(missing) > 1)} {_listed(missing)}"
        raise InputError(f"{where}: {words}", kind="missing-column", hint=_missing_hint(names, missing, text))
    for column in COLUMNS:
        found = [str(number) for number, name in enumerate(names, 1) if name == column]
        if len(found) > 1:
            words = f"column {column} is there {len(found)} times: columns {_listed(found)}"
            hint = "remove or rename all but one"
            raise InputError(f"{where}: {words}", kind="doubled-column", hint=hint)


def _missing_hint(names: Sequence[str], missing: Sequence[str], text: str) -> str:
    """The likely cause: another separator, quotes, upper and lower case or blanks, in this order."""
    for sign, word in ((",", "commas"), (";", "semicolons"), (" ", "blanks")):
        if "\t" not in text and {cell.strip(' "') for cell in text.split(sign)} & set(COLUMNS):
            return f"the table must be tab-separated: this header has {word} and no tabs"
    if any(name.strip("\"'") in missing and name not in missing for name in names):
        return f"the names are in quotes: {_R_HINT}"
    for column in missing:
        near = [name for name in names if name.strip(" \"'").casefold() == column.casefold()]
        if near:
            return f"there is {near[0]!r}: names are compared letter by letter; rename it to {column}"
    return f"the first line names the columns {', '.join(COLUMNS)}, in any order, with tabs between"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def refuse_mistakes(block: bytes, header: Header, source: str, first_line: int) -> None:
    """Look through lines of a table, the first of which has number ``first_line``.

    Raises
    ------
    InputError
        ``bad-counts`` for the first line that is wrong, and in it the first cell.

    Notes
    -----
    About 1 us a cell.
    """
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", block), first_line):
        cells = line.split(b"\t")
        if len(cells) != header.n_cells:
            _refuse_width(cells, header, f"{source} line {number}")
        for cell in sorted(header.cells):
            column = header.name_of(cell)
            check_cell(cells[cell], column, f"{source} line {number} column {column}")


def _refuse_width(cells: list[bytes], header: Header, where: str) -> NoReturn:
    if cells == [b""]:
        hint = "remove it; only behind the last row may there be empty lines"
        raise bad_counts(f"{where}: the line is empty", hint)
    n_cells = f"{len(cells)} cell{'s' * (len(cells) > 1)}"
    hint = "row names or a stray tab? in R: row.names = FALSE" if len(cells) > header.n_cells else _ROW_HINT
    raise bad_counts(f"{where}: {n_cells} under a header of {header.n_cells}", hint)


def check_cell(cell: bytes, column: str, where: str) -> None:
    """Refuse what is not an id, or in one of COUNTS not a count from 0 to MAX_COUNT in plain digits."""
    if column in COUNTS and re.fullmatch(rb"0*[0-9]{1,10}", cell) and int(cell) <= MAX_COUNT:
        return
    try:
        text = cell.decode("utf-8")
    except UnicodeDecodeError:
        raise bad_counts(f"{where}: {cell[:_SHOWN_CHARACTERS]!r} is not UTF-8", "save it as UTF-8") from None
    if column in COUNTS:
        refuse_count(text, where)
    check_id(text, where)


def check_id(text: str, where: str) -> None:
    """Refuse an id that is empty, or that no line of a table could hold."""
    if not text:
        raise bad_counts(f"{where}: the cell is empty", "every row names its probeset and its batch")
    if '"' in text:
        raise bad_counts(f"{where}: {shown(text)} has a quote in it", _R_HINT)
    if re.search(r"[\t\r\n]", text):
        raise bad_counts(f"{where}: {shown(text)} has a tab or a line's end in it", "rename it")


def refuse_count(text: str, where: str) -> NoReturn:
    """Say what is wrong with a cell that is not a count."""
    if not text or text.upper() in ("NA", "NAN", "NULL", "NONE", "."):
        what = f"{shown(text)} is not a count" if text else "the cell is empty"
        hint = "leave the row out where a batch was not genotyped; samples without a call count in n_NC"
        raise bad_counts(f"{where}: {what}", hint)
    if text in COLUMNS:
        hint = "were tables put one behind the other? remove every header but the first"
        raise bad_counts(f"{where}: {text!r} is the header once more", hint)
    if '"' in text:
        raise bad_counts(f"{where}: {shown(text)} has a quote in it", _R_HINT)
    if re.fullmatch("-[0-9]+", text):
        raise bad_counts(f"{where}: {shown(text)} is negative", _COUNT_HINT)
    if re.fullmatch("[0-9]+", text, re.ASCII):
        raise bad_counts(f"{where}: {shown(text)} is more than {MAX_COUNT:,}", _COUNT_HINT)
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise bad_counts(f"{where}: {shown(text)} is not a whole number in plain digits", _COUNT_HINT)
    raise bad_counts(f"{where}: {shown(text)} is not a count", _COUNT_HINT)


def shown(text: str) -> str:
    """A cell as a message shows it: one line, and not too long."""
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!r}..."


def bad_counts(message: str, hint: str) -> InputError:
    """The error for a row or a cell."""
    return InputError(message, kind="bad-counts", hint=hint)
