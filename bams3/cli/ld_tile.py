"""``bams3 ld-tile``: linkage disequilibrium of pairs of variants, of a tile or of a whole panel."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..arrow_files import check_name, write_results, write_tsv
from ..errors import CorruptDataError, InputError
from ..ld.merge import check_rows, receipt_in
from ..ld.plan import LdPlan, make_plan
from ..ld.run import Run
from ..ld.table import encoding
from ..panel.stored import StoredPanel
from ..progress import Progress
from ..regions import parse_bytes
from ..slices import Slice
from .ld_options import ld_options, tiling_options
from .options import quiet, threads
from .remote import OUTPUT_FILE, s3_options, store
from .slices import slice_option

if TYPE_CHECKING:
    from ..ld.pairs import Rule
    from ..ld.tiles import Limits, Tile


@s3_options
@click.command(short_help="LD of all pairs of variants, or of a tile of them.", no_args_is_help=True)
@click.argument("panel", metavar="PANEL.ldp")
@click.argument("output", type=OUTPUT_FILE, metavar="OUT")
@tiling_options
@click.option("--tile", "-C", "number", type=int, metavar="K", help="Do the K-th of these tiles alone.")
@slice_option("Do the tiles of the i-th of n slices, of about equal numbers of pairs.")
@ld_options
@click.option("--counts", is_flag=True, help="Add columns with the haplotypes of each pair.")
@click.option("--force", is_flag=True, help="Do it again where it is done.")
@threads
@quiet
def command(
    panel: str,
    output: Path,
    tiles: int | None,
    max_memory: str | None,
    number: int | None,
    which: Slice | None,
    limits: Limits,
    rule: Rule,
    counts: bool,
    force: bool,
    threads: int,
    quiet: bool,
) -> None:
    """Compute r2, r, D, D' and P of all pairs of variants in PANEL, and write those that pass to OUT.

    OUT is TSV or, where its name ends in .parquet, Parquet: each pair once, in the order of the panel, with
    the columns chrom_a pos_a id_a chrom_b pos_b id_b n r r2 d dprime p phased. n are samples that both
    variants know; r has the sign of ALT with ALT (allele 1 of a .bed); P is that of a chi-square test.

    Where both variants are phased haplotypes are counted. Else r is the correlation of genotypes, as plink's
    --r2, and D and D' are those of maximum-likelihood haplotypes; with --em r, r2 and P are too.

    A tile holds two blocks of variants in memory. Tiles that were run by themselves (--tile, --slice) are
    joined by bams3 ld-merge; they hold the variants' numbers in the panel too.

    \b
    Examples:
      bams3 ld-tile cohort.ldp pairs.parquet
      bams3 ld-tile cohort.ldp near.tsv --max-distance 500kb --min-r2 0.2
      bams3 ld-tile cohort.ldp tile7.parquet --tiles 45 --tile 7
      bams3 ld-tile cohort.ldp part3.parquet --tiles 105 --slice 3/8
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    check_name(output)
    opened = StoredPanel(store(panel))
    memory = None if max_memory is None else parse_bytes(max_memory)
    least = 1 if which is None else which.n
    plan = make_plan(
        opened, limits, rule, tiles=tiles, max_memory_bytes=memory, least_tiles=least, workers=threads
    )
    contigs = [contig.name for contig in opened.contigs]
    run = Run(plan, _chosen(plan, number, which, output), contigs, threads, counts)
    if not force and _is_done(output, run):
        if not quiet:
            click.echo(f"{output} is done; --force does it again", err=True)
        return
    total = sum(tile.pairs for tile in run.tiles)
    with Progress(total, "pairs", "Computing LD", enabled=not quiet) as progress:
        run.on_pairs = progress.advance
        if str(output) == "-":
            write_tsv(run.tables(), run.schema, sys.stdout.buffer)
        else:
            write_results(run.tables(), run.schema, output, run.metadata, encoding(run.schema))
    if not quiet:
        click.echo(f"{run.pairs:,} pairs, {run.kept:,} kept", err=True)


def _is_done(output: Path, run: Run) -> bool:
    """Whether the file holds what this run would write."""
    if output.suffix != ".parquet" or not output.exists():
        return False
    try:
        told = receipt_in(output)
        check_rows(output)
    except (InputError, CorruptDataError):
        return False
    numbers = [tile["tile"] for tile in told.get("tiles", ())]
    wanted = [tile.number for tile in run.tiles] if run.is_part else []
    return (told["asked"], told.get("cut"), numbers) == (
        run.asked(),
        run.plan.cut() if run.is_part else None,
        wanted,
    )


def _chosen(plan: LdPlan, number: int | None, which: Slice | None, output: Path) -> Sequence[Tile]:
    """The tiles that are to be done."""
    if number is not None and which is not None:
        raise InputError("--tile and --slice exclude each other", kind="usage")
    if (number is not None or which is not None) and output.suffix != ".parquet":
        hint = "give OUT a name that ends in .parquet; bams3 ld-merge writes either"
        raise InputError(f"{output}: tiles are written as Parquet, to be merged", kind="usage", hint=hint)
    if number is not None:
        return (plan.tiling.tile(number),)
    return plan.tiling.tiles if which is None else plan.slice(which)
