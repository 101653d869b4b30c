"""``bams3 ld-decay``: mean r2 by distance."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..arrow_files import check_name, write_results, write_tsv
from ..ld.decay import Decay, Distances, decay
from ..panel.stored import StoredPanel
from ..progress import Progress
from .ld_options import Share, distance_bp
from .options import quiet, threads
from .remote import OUTPUT_FILE, s3_options, store

if TYPE_CHECKING:
    from fractions import Fraction

    import pyarrow as pa


@s3_options
@click.command(short_help="Mean r2 by distance.", no_args_is_help=True)
@click.argument("panel", metavar="PANEL.ldp")
@click.option(
    "--max-distance",
    default="500kb",
    show_default=True,
    metavar="BP",
    help="Pair variants less far apart than that.",
)
@click.option(
    "--step",
    default="1kb",
    show_default=True,
    metavar="BP",
    help="Pairs whose distances lie in one step are averaged.",
)
@click.option(
    "--unphased", is_flag=True, help="Compare genotypes, as plink --r2 does, where phase is known too."
)
@click.option(
    "--maf",
    type=Share(),
    default="0",
    metavar="SHARE",
    help="Leave out variants whose rarer allele has a smaller share.",
)
@click.option(
    "--output", "-o", type=OUTPUT_FILE, default="-", metavar="FILE", help="Write TSV or Parquet [stdout]."
)
@threads
@quiet
def command(
    panel: str,
    max_distance: str,
    step: str,
    unphased: bool,
    maf: Fraction,
    output: Path,
    threads: int,
    quiet: bool,
) -> None:
    """Average r2 over all pairs of variants of PANEL by their distance, each pair of a contig once.

    A row is a step of distance, from_bp up to, and without, to_bp: how many pairs have an r2, and its mean
    (empty where there are none). r2 is of haplotypes where both variants are phased, else of genotypes;
    variants that do not vary have none. All pairs count, however small their r2: without --maf rare variants
    rule the mean.

    \b
    Examples:
      bams3 ld-decay cohort.ldp --maf 0.05 > decay.tsv
      bams3 ld-decay cohort.ldp --maf 0.05 --max-distance 2M --step 10kb -o decay.tsv
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    check_name(output)
    distances = Distances(distance_bp(step) or 0, distance_bp(max_distance) or 0)
    opened = StoredPanel(store(panel))
    with Progress(opened.n_variants, "variants", "Averaging LD", enabled=not quiet) as progress:
        found = decay(
            opened,
            distances,
            min_maf=maf,
            is_unphased=unphased,
            workers=threads,
            on_variants=progress.advance,
        )
    table = _table(found, distances)
    if str(output) == "-":
        write_tsv([table], table.schema, sys.stdout.buffer)
    else:
        write_results([table], table.schema, output)
    if not quiet:
        click.echo(f"{int(found.pairs.sum()):,} pairs", err=True)


def _table(found: Decay, distances: Distances) -> pa.Table:
    import pyarrow as pa

    bounds = distances.bounds_bp
    mean = pa.array(found.mean_r2, from_pandas=True)
    return pa.table({"from_bp": bounds[:-1], "to_bp": bounds[1:], "pairs": found.pairs, "mean_r2": mean})
