"""``bams3 check-sheet``: is the samples sheet of a cohort right, and what does it say."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import InputError
from ..regions import BedRow, ContigTable, read_bed
from ..tables import SHEET_COLUMNS, Sample
from . import counted, warn
from .options import cohort
from .remote import INPUT_FILE, s3_options


@s3_options
@click.command(short_help="Check the samples sheet of a cohort.", no_args_is_help=True)
@click.argument("samples", nargs=-1, required=True, metavar="SAMPLES|STORE...")
@click.option("--regions", type=INPUT_FILE, metavar="BED", help="Check this BED file too.")
@click.option("--json", "as_json", is_flag=True, help="Write what was understood as JSON.")
def command(samples: tuple[str, ...], regions: Path | None, as_json: bool) -> None:
    """Check the samples sheet SAMPLES, and write what it says.

    SAMPLES is a TSV or CSV file whose header names its columns: sample, alignment (a BAM, SAM or CRAM file)
    or store (a folder NAME.bams3), and reference (FASTA, for a CRAM). Every row fills either alignment or
    store. Relative paths start at the working directory; alignments and stores may be s3:// addresses, of
    which only the form is checked.

    A mistake is one line that names the file, line and column, and exit code 2. Contigs of the BED file are
    looked for in the first alignment that is on this disk; no other one is opened.

    \b
    Examples:
      bams3 check-sheet config/samples.tsv
      bams3 check-sheet config/samples.tsv --regions config/regions.bed --json
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    sheet = cohort(samples)
    rows = None if regions is None else read_bed(regions)
    if rows is not None:
        _check_contigs(sheet, rows, str(regions))
    if as_json:
        click.echo(_format_json(sheet, rows))
        return
    click.echo(_format_tsv(sheet))
    click.echo(_summary(sheet, rows), err=True)


def _check_contigs(sheet: Sequence[Sample], rows: Sequence[BedRow], bed: str) -> None:
    """Refuse a contig that the first alignment does not have, which else is found when all are converted.

    Only one is read: jobs of workflows check the sheet again, and a cohort's names are most often the same.
    """
    paths = (sample.alignment for sample in sheet if sample.alignment is not None)
    path = next((path for path in paths if not path.startswith("s3://")), None)
    contigs = None if path is None else _contigs_of(path)
    if contigs is None:
        return
    behind = []
    for row in rows:
        try:
            length_bp = contigs.lengths[contigs.id_of(row.contig)]
        except InputError as err:
            hint = err.hint.replace("the store names", "the alignment names")
            message = f"{bed} line {row.line} column 1: {row.contig} is not in {path}"
            raise InputError(message, kind=err.kind, hint=hint) from None
        if row.end_bp > length_bp:
            behind.append(
                f"line {row.line} column 3: end {row.end_bp} lies behind that of {row.contig}, {length_bp}"
            )
    if behind:
        more = f"; so do {len(behind) - 1:,} more" if len(behind) > 1 else ""
        warn(f"{bed} {behind[0]}, in {path}{more}")


def _contigs_of(path: str) -> ContigTable | None:
    """Contigs of an alignment; None if it has none, or cannot be read, of which its conversion says more."""
    import pysam

    verbosity = pysam.set_verbosity(0)  # htslib would complain on stderr
    try:
        with pysam.AlignmentFile(path, check_sq=False) as file:
            return ContigTable(tuple(file.references), tuple(file.lengths)) if file.references else None
    except (OSError, ValueError):
        return None
    finally:
        pysam.set_verbosity(verbosity)


def _format_json(sheet: Sequence[Sample], rows: Sequence[BedRow] | None) -> str:
    understood: dict[str, object] = {
        "samples": [
            {
                "sample": sample.name,
                "alignment": sample.alignment,
                "store": sample.store,
                "reference": sample.reference,
            }
            for sample in sheet
        ]
    }
    if rows is not None:
        understood["regions"] = len(rows)
    return json.dumps(understood, indent=1)


def _format_tsv(sheet: Sequence[Sample]) -> str:
    rows = [(sample.name, sample.alignment, sample.store, sample.reference) for sample in sheet]
    return "\n".join("\t".join(cell or "" for cell in row) for row in [tuple(SHEET_COLUMNS), *rows])


def _summary(sheet: Sequence[Sample], rows: Sequence[BedRow] | None) -> str:
    to_convert = sum(sample.alignment is not None for sample in sheet)
    stores = counted(len(sheet) - to_convert, "store")
    text = f"{counted(len(sheet), 'sample')}: {to_convert} to convert, {stores}"
    if rows is None:
        return text
    size_bp = sum(row.end_bp - row.start_bp for row in rows)
    return f"{text}; {counted(len(rows), 'region')}, {size_bp:,} bp"
