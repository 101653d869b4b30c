"""``bams3 ld-query``: LD of a variant with its neighbours, of a region, or of a list of variants."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
import numpy as np

from ..arrow_files import check_name, write_results, write_tsv
from ..errors import InputError
from ..files import replaced
from ..htslib import write_errors
from ..ld.ask import matrix_of, neighbours, pairs_of_region
from ..ld.find import Finder
from ..ld.table import encoding, schema
from ..panel.stored import StoredPanel
from .ld_options import query_options
from .options import threads
from .remote import INPUT_FILE, OUTPUT_FILE, s3_options, store

if TYPE_CHECKING:
    import pyarrow as pa

    from ..columns import Array
    from ..ld.pairs import Rule
    from ..ld.tiles import Limits

_DISTANCE_BP = 1_000_000
_MOST_VARIANTS = 40_000


@s3_options
@click.command(short_help="LD of a variant and its neighbours, or of a region.", no_args_is_help=True)
@click.argument("panel", metavar="PANEL.ldp")
@click.argument("variants", nargs=-1, metavar="[VARIANT]...")
@click.option("--region", metavar="REGION", help="All pairs of the variants here, such as chr20:1M-1.2M.")
@click.option("--ids", type=INPUT_FILE, metavar="FILE", help="A matrix of these variants, one a line.")
@click.option("--matrix", is_flag=True, help="A square matrix of the variants of --region too.")
@click.option("--signed", is_flag=True, help="In a matrix r, with the sign of ALT with ALT, not r2.")
@click.option(
    "--output",
    "-o",
    type=OUTPUT_FILE,
    default="-",
    metavar="FILE",
    help="Write TSV or Parquet; a matrix as .tsv or .npy [stdout].",
)
@query_options
@threads
def command(
    panel: str,
    variants: tuple[str, ...],
    region: str | None,
    ids: Path | None,
    matrix: bool,
    signed: bool,
    output: Path,
    limits: Limits,
    rule: Rule,
    threads: int,
) -> None:
    """Ask PANEL for the LD of one VARIANT with its neighbours, of a region, or of a list of variants.

    A variant is asked for by its id, as contig:position, or as contig:position:ref:alt.

    One VARIANT: its pairs with those at most --max-distance away [1M], before and behind, in the order of
    their positions; a is VARIANT in every row, b the neighbour. --region: all pairs of its variants. Columns
    are those of bams3 ld-tile, and all pairs that have an r2 are there unless --min-r2 says otherwise.

    Several VARIANTs, --ids, or --matrix with --region: r2 as a square matrix, in the order that is asked for,
    1 on the diagonal, NaN where a variant does not vary. As TSV its first row and column are the names; as
    .npy it is float64.

    \b
    Examples:
      bams3 ld-query cohort.ldp rs6078030 --min-r2 0.8
      bams3 ld-query cohort.ldp chr20:61098:C:T --max-distance 200kb
      bams3 ld-query cohort.ldp --region chr20:1M-1.1M -o pairs.parquet
      bams3 ld-query s3://bucket/cohort.ldp --ids snps.txt --signed -o r.npy
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    names = [*variants, *([] if ids is None else _lines(ids))]
    if (region is not None) == bool(names):
        hint = "bams3 ld-query --help has examples"
        raise InputError("give either variants or a --region", kind="usage", hint=hint)
    is_square = matrix or ids is not None or len(names) > 1
    _check(output, limits, rule, is_square=is_square, is_signed=signed)
    finder = Finder(StoredPanel(store(panel)))
    if region is not None:
        span = finder.region(region)
        if not is_square:
            _write(pairs_of_region(finder, span, limits, rule, threads), output)
            return
        numbers = np.arange(*span)
        names = finder.labels(numbers)
    else:
        numbers = np.array(finder.numbers(names))
        if not is_square:
            distance = _DISTANCE_BP if limits.max_distance_bp is None else limits.max_distance_bp
            _write(neighbours(finder, int(numbers[0]), distance, rule), output)
            return
    if len(numbers) > _MOST_VARIANTS:
        message = f"a matrix of {len(numbers):,} variants is {len(numbers) ** 2 * 8 / 2**30:.0f}G"
        hint = f"give {_MOST_VARIANTS:,} at most; bams3 ld-tile writes pairs as a table"
        raise InputError(message, kind="too-many-variants", hint=hint)
    found = matrix_of(finder, numbers, signed=signed, is_unphased=rule.is_unphased, workers=threads)
    _write_matrix(found.r2, names, output)


def _check(output: Path, limits: Limits, rule: Rule, *, is_square: bool, is_signed: bool) -> None:
    """InputError ``usage`` for options that do not go with what is asked."""
    if not (is_square and output.suffix == ".npy"):
        check_name(output)
    if is_signed and not is_square:
        raise InputError("--signed is of a matrix: a table has both r and r2", kind="usage")
    if is_square and output.suffix == ".parquet":
        raise InputError(f"{output}: a matrix is written as .npy or .tsv", kind="usage")
    if is_square and (rule.min_r2 or rule.max_p < 1 or rule.is_em or limits.max_distance_bp is not None):
        hint = "leave them out, or ask for the table of a --region"
        message = "--min-r2, --max-p, --max-distance and --em are of tables, not of a matrix"
        raise InputError(message, kind="usage", hint=hint)


def _lines(path: Path) -> list[str]:
    """Names of variants, the first word of each line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"--ids {path}: not a text file: {err}", kind="bad-ids") from err
    names = [words[0] for line in text.splitlines() if (words := line.split())]
    if not names:
        raise InputError(f"--ids {path}: names no variants", kind="bad-ids")
    return names


def _write(tables: Iterable[pa.Table], output: Path) -> None:
    like = schema(with_counts=False, with_numbers=False)
    if str(output) == "-":
        write_tsv(tables, like, sys.stdout.buffer)
    else:
        write_results(tables, like, output, encoding=encoding(like))


def _write_matrix(values: Array, names: Sequence[str], output: Path) -> None:
    if str(output) == "-":
        _write_square(values, names, sys.stdout.buffer)
        return
    with replaced(output) as partial, write_errors(str(output)), partial.open("wb") as file:
        if output.suffix == ".npy":
            np.save(file, values)
        else:
            _write_square(values, names, file)


def _write_square(values: Array, names: Sequence[str], file: BinaryIO) -> None:
    """Names, then a line for each of them; numbers as short as they are exact."""
    file.write(("\t".join(["id", *names]) + "\n").encode("utf-8", "surrogateescape"))
    for name, row in zip(names, values.tolist(), strict=True):
        file.write(("\t".join([name, *map(repr, row)]) + "\n").encode("utf-8", "surrogateescape"))
