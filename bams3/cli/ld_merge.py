"""``bams3 ld-merge``: the tiles of ld-tile as one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..arrow_files import check_name
from ..ld.merge import write_merged
from .options import quiet
from .remote import INPUT_FILE, OUTPUT_FILE, s3_options


@s3_options
@click.command(short_help="Join the tiles of ld-tile.", no_args_is_help=True)
@click.argument("tiles", nargs=-1, required=True, type=INPUT_FILE, metavar="TILES...")
@click.option("--output", "-o", type=OUTPUT_FILE, required=True, metavar="FILE", help="Write TSV or Parquet.")
@quiet
def command(tiles: Sequence[Path], output: Path, quiet: bool) -> None:
    """Join TILES, the files of ld-tile --tile or --slice, into what one run would have written.

    They must hold every tile of one plan exactly once, in any order.

    \b
    Examples:
      for k in $(seq 45); do bams3 ld-tile cohort.ldp tile$k.parquet --tiles 45 --tile $k; done
      bams3 ld-merge tile*.parquet -o pairs.parquet
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    check_name(output)
    done = write_merged(tiles, output)
    if not quiet:
        pairs, kept = (sum(tile[name] for tile in done) for name in ("pairs", "kept"))
        click.echo(f"{len(done):,} tiles, {pairs:,} pairs, {kept:,} kept", err=True)
