"""``bams3 chi2-merge``: the results of all slices as one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..arrow_files import check_name
from ..chi2.merge import merge_slices
from ..chi2.summary import place_beside, refuse_input_as_output, write_with_summary
from ..store import is_s3
from .options import quiet
from .remote import INPUT_FILE, OUTPUT_FILE, s3_options


@s3_options
@click.command(short_help="Join the results of chi2-batch --slice.", no_args_is_help=True)
@click.argument("slices", nargs=-1, required=True, metavar="SLICES...")
@click.option("--output", "-o", type=OUTPUT_FILE, required=True, metavar="FILE", help="Write TSV or Parquet.")
@quiet
def command(slices: Sequence[str], output: Path, quiet: bool) -> None:
    """Join SLICES, the results of all slices of chi2-batch, into what one run would have written.

    Q-values, which need all p-values, are computed here. The summary of each slice must lie beside it
    (SLICE.summary.json); beside FILE lie FILE.summary.txt and FILE.summary.json.

    \b
    Examples:
      for i in 1 2 3; do bams3 chi2-batch counts.tsv part$i.parquet --slice $i/3; done
      bams3 chi2-merge part*.parquet -o results.tsv
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    check_name(output)
    paths = [_with_summary(address) for address in slices]
    refuse_input_as_output(output, paths)
    summary, tables = merge_slices(paths)
    write_with_summary(tables, summary, output)
    if not quiet:
        click.echo(summary.as_text(), nl=False, err=True)


def _with_summary(address: str) -> Path:
    """A slice, on disk; one that lies in S3 is fetched, and its summary to where that belongs."""
    ctx = click.get_current_context()
    path: Path = INPUT_FILE.convert(address, None, ctx)
    if is_s3(address):
        summary: Path = INPUT_FILE.convert(f"{address}.summary.json", None, ctx)
        summary.rename(place_beside(path, "json"))
    return path
