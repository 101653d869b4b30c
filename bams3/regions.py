"""Where the user asks: contigs, regions, sizes and BED rows.

The grammar is that of ``samtools view`` 1.24. Text is 1-based inclusive; every value made here is 0-based
half-open. One difference is meant: what samtools answers with a warning and no reads (a contig that is not
there, ``chr1:10-5``) is an error here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .errors import InputError

MAX_BP = 2**31 - 1
"""The end of an open region, and the largest position that BAM can hold."""

UNPLACED = "*"
"""The contig name that stands for reads without a position."""

_MANY_DIGITS = 19  # more digits than this cannot be a position; also keeps "1e999999999" cheap

_DECIMAL = re.compile(
    r"\s*(?P<sign>[+-]?)(?P<whole>[0-9,]*)(?:\.(?P<fraction>[0-9]*))?"
    r"(?:[eE](?P<exponent>[+-]?[0-9]*)|(?P<suffix>[kKmMgG]))?",
    re.ASCII,
)
_SIZE = re.compile(
    r"(?P<whole>[0-9][0-9,]{0,24})(?:\.(?P<fraction>[0-9]{1,12}))?(?P<suffix>[KMGT]?)", re.ASCII | re.I
)
_POWER = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_REGION_HINT = "write it as chr1, chr1:1000-2000, chr1:1M-2M or * (1-based, both ends included)"


@dataclass(frozen=True, slots=True)
class Region:
    """A span of one contig, 0-based half-open; up to the contig's end when end_bp is MAX_BP.

    A read overlaps it when ``read.start_bp < end_bp`` and ``read.end_bp > start_bp``. An empty span is
    allowed: it is the point between two bases, and the same test then asks for the reads that cross it.

    Raises
    ------
    InputError
        kind ``bad-region`` unless ``0 <= start_bp <= end_bp <= MAX_BP``.
    """

    contig: str
    start_bp: int = 0
    end_bp: int = MAX_BP

    def __post_init__(self) -> None:
        if not 0 <= self.start_bp <= self.end_bp <= MAX_BP:
            raise InputError(
                f"{self.contig} from {self.start_bp} to {self.end_bp} is not a span",
                kind="bad-region",
                hint=f"0 <= start <= end <= {MAX_BP}",
            )


@dataclass(frozen=True)
class ContigTable:
    """The contigs of a store in file order, with lengths in bp. Of two equal names the first counts."""

    names: tuple[str, ...]
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.lengths):
            raise ValueError(f"{len(self.names)} contig names, {len(self.lengths)} lengths")

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def id_of(self, name: str) -> int:
        """Index of a contig in file order; -1 for ``*``.

        Raises
        ------
        InputError
            kind ``unknown-contig``; the hint names the contig where only its naming differs
            (``chr1`` and ``1``, ``chrM`` and ``MT``).
        """
        if name == UNPLACED:
            return -1
        found = self._ids.get(name)
        if found is None:
            contigs = "1 contig" if len(self) == 1 else f"{len(self):,} contigs"
            message = f"{name} is not in the store ({contigs})"
            raise InputError(message, kind="unknown-contig", hint=self._hint_for(name))
        return found

    @cached_property
    def _ids(self) -> dict[str, int]:
        ids: dict[str, int] = {}
        for index, name in enumerate(self.names):
            ids.setdefault(name, index)
        return ids

    def _hint_for(self, name: str) -> str:
        known = {_plain_name(other): other for other in reversed(self.names)}
        other = known.get(_plain_name(name))
        if other is not None:
            return f"the store names it {other}"
        if not self.names:
            return f"the store holds unplaced reads only: ask for {UNPLACED}"
        more = ", ..." if len(self) > 3 else ""
        return f"its contigs are {', '.join(self.names[:3])}{more}"


def parse_region(text: str, contigs: ContigTable) -> Region:
    """Region that a user typed, as ``samtools view`` 1.24 reads it.

    Parameters
    ----------
    text
        ``chr1``; ``chr1:100`` and ``chr1:100-`` (from 100 to the contig's end); ``chr1:-200`` (the first
        200); ``chr1:1,000-2,000``, ``chr1:1M-2M``, ``chr1:1.5K-1e4`` (K, M, G are powers of ten; what is
        left of a fraction is dropped); ``*`` (unplaced reads). A name that holds colons is tried whole
        first; ``{name}`` and ``{name}:1-10`` say where it ends. An end past the contig's is allowed, and 0
        as a start is 1.
    contigs
        The contigs that may be named.

    Raises
    ------
    InputError
        kind ``unknown-contig`` when the contig is not there; ``bad-region`` when the text is not a region,
        its end lies before its start, or it is both a contig's name and a span of another.
    """
    if text == UNPLACED:
        return Region(UNPLACED)
    if text in ("", "."):
        raise _bad_region(text, "names no contig", hint="leave the region out to get every read")
    contig, span = _split_name(text, contigs)
    if contigs.id_of(contig) < 0:
        raise _bad_region(text, "gives unplaced reads a position", hint=f"ask for {UNPLACED} alone")
    if not span:
        return Region(contig)
    start_bp, end_bp = _parse_span(text, span)
    return Region(contig, min(start_bp, MAX_BP), min(end_bp, MAX_BP))


def format_region(region: Region) -> str:
    """Text of a region, 1-based inclusive, that :func:`parse_region` and samtools read back.

    Names with a colon stand in braces. An empty span comes out as ``chr1:11-10``: for messages only.
    """
    name = region.contig
    if ":" in name or name.startswith("{"):
        name = f"{{{name}}}"
    if region.start_bp == 0 and region.end_bp == MAX_BP:
        return name
    end = "" if region.end_bp == MAX_BP else str(region.end_bp)
    return f"{name}:{region.start_bp + 1}-{end}"


def parse_bp(text: str) -> int:
    """Number of base pairs in ``1000``, ``1,000,000``, ``256K`` or ``1.5M``; K, M and G are powers of ten.

    Raises
    ------
    InputError
        kind ``bad-size`` when it is not a number of that form, or not a whole one.
    """
    return _parse_size(text, 1000, "base pairs", "write a number such as 500, 256K or 1.5M (K = 1,000)")


def parse_bytes(text: str) -> int:
    """Number of bytes in ``4096``, ``512M`` or ``1.5G``; K, M, G and T are powers of 1,024; rounded down.

    Raises
    ------
    InputError
        kind ``bad-size`` when it is not a number of that form.
    """
    return _parse_size(text, 1024, "bytes", "write a number such as 512M or 1.5G (K = 1,024)")


@dataclass(frozen=True, slots=True)
class BedRow:
    """One row of a BED file: a 0-based half-open span, its name (empty where it has none) and its line."""

    contig: str
    start_bp: int
    end_bp: int
    name: str
    line: int

    @property
    def region(self) -> Region:
        """The row's span."""
        return Region(self.contig, self.start_bp, self.end_bp)


def parse_bed(lines: Iterable[str], source: str) -> list[BedRow]:
    """Rows of a BED file in file order.

    Parameters
    ----------
    lines
        Text lines, with or without their ends. Columns are parted by tabs or spaces: contig, start, end
        and, if there is one, a name (``.`` is none). Blank lines, ``#`` comments, ``track`` and ``browser``
        lines and a first row such as ``chrom start end`` are passed over.
    source
        What the lines came from, for messages.

    Returns
    -------
    At least one row. Contigs are not looked up. Spans are cut at MAX_BP. A row of length zero is kept and
    means, as for samtools, the reads that cross that point: ``Region`` says how.

    Raises
    ------
    InputError
        kind ``bad-bed``, naming source, line and column: fewer than three columns, a bound that is not a
        whole number from 0, an end before its start; or no row at all.
    """
    rows: list[BedRow] = []
    for number, line in enumerate(lines, start=1):
        fields = line.split(None, 3)
        if not fields or fields[0].startswith("#") or _is_heading(fields, first=not rows):
            continue
        rows.append(_parse_bed_row(fields, f"{source} line {number}", number, has_tabs="\t" in line))
    if not rows:
        raise InputError(f"{source} holds no region", kind="bad-bed", hint="a row is: contig, start, end")
    return rows


def read_bed(path: Path | str) -> list[BedRow]:
    """Rows of a BED file, plain or compressed by gzip or bgzip (told by its bytes); see :func:`parse_bed`.

    Raises
    ------
    InputError
        kind ``bad-bed``, also when the file cannot be read or is not text.
    """
    try:
        return parse_bed(_text_lines(Path(path)), str(path))
    except (OSError, EOFError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
        raise InputError(f"cannot read {path}: {reason}", kind="bad-bed") from err


def merge_intervals(rows: Iterable[BedRow]) -> dict[str, list[tuple[int, int]]]:
    """Spans of each contig, sorted, with those that overlap or touch made one.

    A read overlaps a merged span exactly if it overlaps a row of it, so that reading the spans in turn and
    dropping what was seen gives each read once. Contigs stand in the order of their first rows. Costs a sort.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        spans.setdefault(row.contig, []).append((row.start_bp, row.end_bp))
    return {contig: list(_merge_sorted(sorted(found))) for contig, found in spans.items()}


def _merge_sorted(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start_bp, end_bp = spans[0]
    for next_start_bp, next_end_bp in spans[1:]:
        if next_start_bp > end_bp:
            yield start_bp, end_bp
            start_bp, end_bp = next_start_bp, next_end_bp
        end_bp = max(end_bp, next_end_bp)
    yield start_bp, end_bp


def _plain_name(name: str) -> str:
    """The name as it would be without ``chr``, in lower case, with the mitochondrion as ``m``."""
    plain = name.lower().removeprefix("chr")
    return "m" if plain == "mt" else plain


def _split_name(text: str, contigs: ContigTable) -> tuple[str, str]:
    """Contig name, and what follows its colon (empty: the whole contig)."""
    if text.startswith("{"):
        name, brace, rest = text[1:].partition("}")
        if not brace or (rest and not rest.startswith(":")):
            raise _bad_region(text, "has a brace out of place", hint="write it as {name} or {name}:1-10")
        return name, rest[1:]
    name, colon, span = text.rpartition(":")
    if not colon:
        return text, ""
    if text not in contigs:
        return name, span
    if name in contigs:
        hint = f"write {{{text}}} for the contig, or {{{name}}}:{span} for the span"
        raise _bad_region(text, f"is a contig and also a span of {name}", hint=hint)
    return text, ""


def _parse_span(text: str, span: str) -> tuple[int, int]:
    """0-based half-open bounds of ``100``, ``100-``, ``-200`` or ``100-200``, not yet cut at MAX_BP."""
    first, at = _parse_decimal(span, 0)
    if first < 0 and at == len(span):
        return 0, -first
    if first < 0 or span[at : at + 1] not in ("", "-"):
        raise _bad_region(text, f"is not a region: {span!r} is not a span")
    last, at = _parse_decimal(span, at + 1)
    if at < len(span):
        raise _bad_region(text, f"is not a region: {span[at:]!r} is left over")
    start_bp, end_bp = max(first - 1, 0), last or max(first, MAX_BP)
    if start_bp >= end_bp:
        raise _bad_region(text, "ends before it starts")
    return start_bp, end_bp


def _parse_decimal(text: str, at: int) -> tuple[int, int]:
    """The number that starts at ``at`` (0 if there is none) and where it stops."""
    match = _DECIMAL.match(text, at)
    assert match is not None  # the pattern can match nothing at all
    fraction = match["fraction"] or ""
    digits = match["whole"].replace(",", "") + fraction
    if not digits:
        return 0, at
    power = int((match["exponent"] or "").strip("+-")[:_MANY_DIGITS] or 0)
    if (match["exponent"] or "").startswith("-"):
        power = -power
    power += 3 * _POWER[(match["suffix"] or "").upper()] - len(fraction)
    value = _shift(digits.lstrip("0"), power)
    return (-value if match["sign"] == "-" else value), match.end()


def _shift(digits: str, power: int) -> int:
    """Whole part of ``digits * 10**power``, held under 10**20."""
    if not digits or len(digits) + power <= 0:
        return 0
    if len(digits) + power > _MANY_DIGITS:
        return int(10**_MANY_DIGITS)
    return int(digits) * int(10**power) if power >= 0 else int(digits[:power])


def _parse_size(text: str, kilo: int, what: str, hint: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} is not a number of {what}", kind="bad-size", hint=hint)
    fraction = match["fraction"] or ""
    scaled = int(match["whole"].replace(",", "") + fraction) * kilo ** _POWER[match["suffix"].upper()]
    value, left = divmod(scaled, 10 ** len(fraction))
    if left and kilo == 1000:
        raise InputError(f"{text!r} is not a whole number of {what}", kind="bad-size", hint=hint)
    return int(value)


def _bad_region(text: str, what: str, hint: str = _REGION_HINT) -> InputError:
    return InputError(f"{text!r} {what}", kind="bad-region", hint=hint)


def _is_heading(fields: list[str], *, first: bool) -> bool:
    """Whether a row is a ``track`` or ``browser`` line or names its columns; a contig may be ``track``."""
    if len(fields) > 1 and fields[1].isdecimal():
        return False
    if fields[0] in ("track", "browser"):
        return True
    return first and len(fields) > 2 and "start" in fields[1].lower() and "end" in fields[2].lower()


def _parse_bed_row(fields: list[str], where: str, line: int, *, has_tabs: bool) -> BedRow:
    if len(fields) < 3:
        columns = "1 column" if len(fields) == 1 else f"{len(fields)} columns"
        message = f"{where} has {columns}, not contig, start and end"
        raise InputError(message, kind="bad-bed", hint="the base at position 100 alone is: chr1 99 100")
    start_bp = _parse_bound(fields[1], f"{where} column 2")
    end_bp = _parse_bound(fields[2], f"{where} column 3")
    if end_bp < start_bp:
        message = f"{where} column 3: end {fields[2]} lies before start {fields[1]}"
        raise InputError(message, kind="bad-bed", hint="BED counts from 0, and the end is not included")
    rest = fields[3].rstrip("\r\n") if len(fields) > 3 else ""
    name = rest.split("\t")[0].strip() if has_tabs else (rest.split() or [""])[0]
    return BedRow(fields[0], start_bp, end_bp, "" if name == "." else name, line)


def _parse_bound(text: str, where: str) -> int:
    if text.isascii() and text.isdecimal():
        return MAX_BP if len(text.lstrip("0")) > _MANY_DIGITS else min(int(text), MAX_BP)
    what = "is negative" if re.fullmatch(r"-[0-9]+", text) else "is not a whole number"
    hint = "a row is: contig, start, end, with start and end as plain digits"
    raise InputError(f"{where}: {text!r} {what}", kind="bad-bed", hint=hint)


def _text_lines(path: Path) -> Iterator[str]:
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
    if not compressed:
        with path.open(encoding="utf-8-sig") as lines:
            yield from lines
        return
    import gzip  # noqa: PLC0415  only here: most commands read no compressed BED
    import zlib  # noqa: PLC0415

    try:
        with gzip.open(path, "rt", encoding="utf-8-sig") as lines:
            yield from lines
    except zlib.error as err:
        raise OSError(f"damaged gzip data ({err})") from err
