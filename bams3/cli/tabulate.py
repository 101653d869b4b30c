"""``bams3 tabulate``: one table and one heat map from the counts of many samples."""

from collections.abc import Sequence
from pathlib import Path

import click

from ..tables import join_counts, write_counts


@click.command(short_help="Count tables to one table and a heat map.", no_args_is_help=True)
@click.argument("counts", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="COUNTS...")
@click.option("--table", type=click.Path(path_type=Path), metavar="TSV", help="Write the joined table here.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="PNG", help="Write a heat map of it here.")
def command(counts: Sequence[Path], table: Path | None, plot: Path | None) -> None:
    """Join the count tables COUNTS into one of samples x regions, and draw it.

    COUNTS are files of `bams3 query --count --tsv` over the same BED file, one a sample; the name of a file
    without .tsv is the name of its sample. The table has a row a region (contig, start, end: 0-based
    half-open; name) and a column a sample, in the order given. The heat map shows log2 of reads per base over
    the sample's median: white is usual, light blue half of it, red more.

    \b
    Example:
      bams3 tabulate results/counts/*.tsv --table counts.tsv --plot counts.png
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    if table is None and plot is None:
        raise click.UsageError("nothing to write: give --table, --plot or both")
    if plot is not None:
        from ..plots import write_heat_map  # before anything is written: matplotlib may be missing
    joined = join_counts(counts)
    if table is not None:
        write_counts(joined, table)
    if plot is not None:
        write_heat_map(joined, plot)
