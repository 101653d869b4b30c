"""``bams3 query``: records and counts of regions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from .. import kernels
from ..bam import BamHeader
from ..errors import InputError
from ..filters import Filters, parse_subsample
from ..query import OVERLAP, Intervals, StoreReader
from ..regions import MAX_BP, UNPLACED, BedRow, Region, merge_intervals, parse_region
from .options import all_bits, bed_rows, write_records
from .options import threads as threads_option
from .remote import INPUT_FILE, OUTPUT_FILE, opened, s3_options


@s3_options
@click.command(short_help="Records and counts of regions.", no_args_is_help=True)
@click.argument("store", metavar="STORE")
@click.argument("regions", metavar="[REGION...]", nargs=-1)
@click.option("--count", "-c", is_flag=True, help="Write how many records there are, nothing else.")
@click.option(
    "--tsv",
    is_flag=True,
    help="Write a row a region, counted by itself: contig, start, end (as in BED), name, count.",
)
@click.option(
    "--regions-file",
    "-L",
    type=INPUT_FILE,
    metavar="BED",
    help="Regions from a BED file. Each record comes, and is counted by -c, once, as in samtools view -M -L.",
)
@click.option("--with-header", "-h", is_flag=True, help="Begin SAM with the header.")
@click.option("--bam", "-b", "as_bam", is_flag=True, help="Write BAM.")
@click.option("--uncompressed", "-u", is_flag=True, help="Write uncompressed BAM.")
@click.option(
    "--columns",
    metavar="NAME,...",
    help="Write a table of these fields, reading nothing else: name, flag, contig, pos, end, mapq, cigar,"
    " mate_contig, mate_pos, tlen, seq, qual, seq_len, ref_len, tag:NM. Positions are SAM's, from 1 on.",
)
@click.option("--explain", is_flag=True, help="Write what would be read, and read no chunk.")
@click.option(
    "--output",
    "-o",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="x.bam, x.sam or x.cram (without a reference), with header; --columns: x.parquet, x.arrow, text.",
)
@click.option(
    "--require-flags", "-f", multiple=True, metavar="FLAG", help="Only records with all of these bits."
)
@click.option(
    "--exclude-flags", "-F", multiple=True, metavar="FLAG", help="Only records with none of these bits."
)
@click.option(
    "--exclude-all-flags", "-G", multiple=True, metavar="FLAG", help="No records with all of these bits."
)
@click.option(
    "--include-flags", "--rf", multiple=True, metavar="FLAG", help="Only records with any of these bits."
)
@click.option("--min-mapq", "-q", default=0, type=click.IntRange(0, 255), help="Least mapping quality.")
@click.option(
    "--read-group", "-r", multiple=True, metavar="ID", help="Only records of this read group, or of none."
)
@click.option("--subsample", "-s", metavar="SEED.FRACTION", help="Keep this fraction of the templates.")
@threads_option
def command(
    store: str,
    regions: tuple[str, ...],
    count: bool,
    tsv: bool,
    regions_file: Path | None,
    with_header: bool,
    as_bam: bool,
    uncompressed: bool,
    columns: str | None,
    explain: bool,
    output: Path | None,
    require_flags: tuple[str, ...],
    exclude_flags: tuple[str, ...],
    exclude_all_flags: tuple[str, ...],
    include_flags: tuple[str, ...],
    min_mapq: int,
    read_group: tuple[str, ...],
    subsample: str | None,
    threads: int,
) -> None:
    """Records of STORE that overlap any REGION, as SAM on stdout; all records without one.

    A REGION is written as for samtools: chr1, chr1:1M-2M, chr1:1,000,000-2,000,000 (1-based, both ends
    included), or * for unplaced reads. FLAG is a number or names such as UNMAP,DUP; options that take one,
    and -r, may be repeated. Records and counts are those of samtools view.

    \b
    Examples:
      bams3 query sample.bams3 chr1:1M-2M
      bams3 query sample.bams3 chr22:1-999999999 --count
      bams3 query sample.bams3 -L targets.bed --tsv
      bams3 query sample.bams3 chr20 --columns pos,mapq,tag:NM -o chr20.parquet
      bams3 query sample.bams3 chr20 -b -q 30 -F UNMAP,DUP -o chr20.bam
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    if regions and regions_file:
        raise InputError("regions and --regions-file exclude each other", kind="usage")
    _check_output(output, count or tsv, as_bam or uncompressed, with_header, columns is not None)
    kernels.keep_freed_memory()
    filters = Filters(
        all_bits(require_flags),
        all_bits(exclude_flags),
        all_bits(include_flags),
        all_bits(exclude_all_flags),
        min_mapq,
        read_group,
        parse_subsample(subsample) if subsample is not None else None,
    )
    reader = opened(store)
    rows = bed_rows(regions_file, reader) if regions_file else None
    wanted = [parse_region(text, reader.contigs) for text in regions]
    places = merge_intervals(rows) if rows is not None else wanted or None
    if explain:
        counted = [row.region for row in rows or []] or wanted if tsv or (count and rows is None) else None
        _explain(reader, places, counted, filters, set(OVERLAP) if count else columns)
    elif columns is not None:
        _write_columns(reader, columns, places, filters, output, threads)
    elif tsv:
        _write_table(reader, rows if rows is not None else _as_rows(wanted, regions), filters)
    elif count:
        click.echo(_count(reader, wanted, rows, filters))
    else:
        records = _records(reader, wanted, rows, filters, threads)
        form = "uncompressed" if uncompressed else "bam" if as_bam else "sam"
        shown = with_header or form != "sam" or (output is not None and str(output) != "-")
        header = reader.header if shown else BamHeader(b"", reader.contigs)  # one request less
        write_records(records, header, output, form, with_header, threads)


def _check_output(output: Path | None, counts: bool, as_bam: bool, with_header: bool, columns: bool) -> None:
    if counts + columns > 1 or ((counts or columns) and (as_bam or with_header)):
        message = "--count, --tsv, --columns and records (-b, -u, -h) exclude each other"
        raise InputError(message, kind="usage")
    if output is None or str(output) == "-":
        return
    if counts:
        raise InputError("--count and --tsv write to stdout", kind="usage", hint="use > FILE")
    if as_bam and output.suffix.lower() != ".bam":
        raise InputError(f"{output}: -b and -u write BAM", kind="usage", hint="give it a name with .bam")


def _explain(
    reader: StoreReader,
    places: list[Region] | Intervals | None,
    counted: list[Region] | None,
    filters: Filters,
    columns: str | set[str] | None,
) -> None:
    """Write what counts of regions read, or records of places, or only these columns of them."""
    from .. import price
    from ..selection import Selection

    if counted is not None:
        reads = price.of_counts(reader, counted, filters)
    else:
        needs = (
            Selection(reader, columns.replace(" ", "").split(",")).needs
            if isinstance(columns, str)
            else columns
        )
        reads = price.of_records(reader, places, filters, needs)
    reads = price.of_index(reader) + reads
    click.echo("object\tranges\tbytes")
    for read in reads:
        click.echo("\t".join(map(str, read)))
    total = f"{sum(read.ranges for read in reads)}\t{sum(read.size_bytes for read in reads)}"
    click.echo(f"total\t{total}")


def _write_columns(
    reader: StoreReader,
    columns: str,
    places: list[Region] | Intervals | None,
    filters: Filters,
    output: Path | None,
    threads: int,
) -> None:
    from ..outputs import write_table
    from ..selection import Selection, select

    selection = Selection(reader, columns.replace(" ", "").split(","))
    runs = select(selection, reader.groups(places, filters, selection.needs), threads)
    in_sam = ({name: field.as_in_sam() for name, field in run.items()} for run in runs)
    write_table(in_sam, None if str(output) == "-" else output, workers=threads)


def _as_rows(regions: list[Region], texts: tuple[str, ...]) -> list[BedRow]:
    return [
        BedRow(region.contig, region.start_bp, region.end_bp, text, number)
        for number, (region, text) in enumerate(zip(regions, texts, strict=True), 1)
    ]


def _write_table(reader: StoreReader, rows: list[BedRow], filters: Filters) -> None:
    if not rows:
        raise InputError("--tsv needs regions", kind="usage", hint="name them, or give --regions-file BED")
    counts = reader.counts([row.region for row in rows], filters)
    click.echo("contig\tstart\tend\tname\tcount")
    lengths = dict(zip(reader.contigs.names, reader.contigs.lengths, strict=True)) | {UNPLACED: 0}
    for row, n in zip(rows, counts, strict=True):
        is_open = row.end_bp == MAX_BP
        end_bp = max(row.start_bp, lengths[row.contig]) if is_open else row.end_bp
        name = row.name or f"{row.contig}:{row.start_bp + 1}-{row.end_bp}"
        click.echo(f"{row.contig}\t{row.start_bp}\t{end_bp}\t{name}\t{n}")


def _count(reader: StoreReader, regions: list[Region], rows: list[BedRow] | None, filters: Filters) -> int:
    if rows is not None:
        return reader.count_once(merge_intervals(rows), filters)
    return sum(reader.counts(regions, filters)) if regions else reader.count(None, filters)


def _records(
    reader: StoreReader, regions: list[Region], rows: list[BedRow] | None, filters: Filters, threads: int
) -> Iterator[bytes]:
    if rows is not None:
        return reader.records_once(merge_intervals(rows), filters, threads)
    return reader.records(regions or None, filters, threads)
