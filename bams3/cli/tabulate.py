"""``bams3 tabulate``: one table and one heat map from the region tables of many samples."""

from collections.abc import Sequence
from pathlib import Path

import click

from ..tables import join_counts, write_counts
from .remote import INPUT_FILE, OUTPUT_FILE, s3_options


@s3_options
@click.command(short_help="Region tables of samples to one table and a heat map.", no_args_is_help=True)
@click.argument("tables", nargs=-1, required=True, type=INPUT_FILE, metavar="TABLES...")
@click.option("--column", metavar="NAME", help="The column to join, such as mean or breadth [count].")
@click.option("--table", type=OUTPUT_FILE, metavar="TSV", help="Write the joined table here.")
@click.option("--plot", type=OUTPUT_FILE, metavar="PNG", help="Write a heat map of it here.")
def command(tables: Sequence[Path], column: str | None, table: Path | None, plot: Path | None) -> None:
    """Join one column of TABLES into a table of samples x regions, and draw it.

    TABLES are files of `bams3 query --tsv` or `bams3 coverage -L BED` over the same BED file, one a sample;
    the name of a file without .tsv is the name of its sample. The table has a row a region (contig, start,
    end: 0-based half-open; name) and a column a sample, in the order given. The heat map shows reads per
    base, or mean depth, as log2 over the sample's median (white is usual, light blue half of it, red more),
    and breadth as it is.

    \b
    Examples:
      bams3 tabulate results/counts/*.tsv --table counts.tsv --plot counts.png
      bams3 tabulate results/depth/*.tsv --column mean --table depth.tsv --plot depth.png
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    if table is None and plot is None:
        raise click.UsageError("nothing to write: give --table, --plot or both")
    if plot is not None:
        from ..plots import write_heat_map  # before anything is written: matplotlib may be missing
    joined = join_counts(tables, column)
    if table is not None:
        write_counts(joined, table)
    if plot is not None:
        write_heat_map(joined, plot)
