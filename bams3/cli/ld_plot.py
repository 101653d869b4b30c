"""``bams3 ld-plot``: LD of a region as a triangle, or its decay with distance."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from ..errors import InputError
from ..ld.ask import dprime_matrix, matrix_of
from ..ld.find import Finder, is_common
from ..ld.pairs import Rule
from ..panel.stored import StoredPanel
from .figures import formats_option, prefix_of, stem, write_forms
from .ld_options import Share
from .options import threads
from .remote import INPUT_FILE, s3_options, store

if TYPE_CHECKING:
    from fractions import Fraction

    from ..plots import Figure

#: Variants of a region: its matrix takes 8 bytes for each pair of them.
_MOST_VARIANTS = 20_000
_DECAY = ("from_bp", "to_bp", "pairs", "mean_r2")


@s3_options
@click.command(short_help="Figures of LD: a region, or decay with distance.", no_args_is_help=True)
@click.argument("source", metavar="PANEL.ldp|DECAY.tsv")
@click.option("--region", metavar="REGION", help="Of PANEL: the region to draw, such as chr20:1M-1.2M.")
@click.option("--dprime", is_flag=True, help="Draw |D'|, not r2.")
@click.option("--unphased", is_flag=True, help="Compare genotypes where phase is known too.")
@click.option(
    "--maf",
    type=Share(),
    default="0",
    metavar="SHARE",
    help="Leave out variants whose rarer allele has a smaller share.",
)
@click.option(
    *("-o", "--output"),
    metavar="PREFIX|DIR",
    help="Begin the names of the files with this [the name of the source].",
)
@formats_option
@threads
def command(
    source: str,
    region: str | None,
    dprime: bool,
    unphased: bool,
    maf: Fraction,
    output: str | None,
    formats: tuple[str, ...],
    threads: int,
) -> None:
    """Draw LD as PNG and SVG: all pairs of a --region of PANEL, or DECAY.tsv of `bams3 ld-decay`.

    \b
      PREFIX.ld.png, .svg      each pair where its two variants are: their middle across, their distance up;
                               blocks are dark triangles, and a hotspot of recombination parts them
      PREFIX.decay.png, .svg   mean r2 by distance

    In a folder (an existing one, or a name with / at its end) they are named as the source is.

    \b
    Examples:
      bams3 ld-plot cohort.ldp --region chr20:1M-1.5M --maf 0.05
      bams3 ld-decay cohort.ldp -o decay.tsv && bams3 ld-plot decay.tsv -o plots/
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    name = stem(Path(source.rstrip("/")).name)
    prefix = prefix_of(output, Path(source.rstrip("/")), name)
    if region is not None:
        write_forms(_triangle(source, region, dprime, unphased, maf, threads), prefix, "ld", formats)
        return
    path = INPUT_FILE.convert(source, None, click.get_current_context())
    if path.is_dir():
        hint = "add --region, such as --region chr20:1M-1.2M"
        raise InputError(f"{source} is a panel: which region of it?", kind="usage", hint=hint)
    write_forms(_decay(path, name), prefix, "decay", formats)


def _triangle(panel: str, region: str, dprime: bool, unphased: bool, maf: Fraction, workers: int) -> Figure:
    from ..plots import triangle_figure  # before anything is read: matplotlib may be missing

    finder = Finder(StoredPanel(store(panel)))
    span = finder.region(region)
    numbers = np.arange(*span)
    sites = finder.sites_at(numbers)
    is_drawn = is_common(sites, maf) & (sites.n_alt > 0) & (sites.n_alt < sites.n_alleles)
    n = int(is_drawn.sum())
    if not n:
        rare = f", or are rarer than {float(maf):g}" if maf else ""
        raise InputError(
            f"nothing to draw: all variants in {region} have one allele{rare}", kind="no-variants"
        )
    if n > _MOST_VARIANTS:
        message = f"{region} has {n:,} variants: {_MOST_VARIANTS:,} can be drawn"
        raise InputError(message, kind="too-many-variants", hint="draw a smaller region, or give --maf")
    if dprime:
        rule = Rule(0 * maf, is_unphased=unphased)
        values = dprime_matrix(finder, span, rule, workers)[np.ix_(is_drawn, is_drawn)]
    else:
        values = matrix_of(finder, numbers[is_drawn], is_unphased=unphased, workers=workers).r2
    left_out = len(numbers) - n
    rare = f", or rarer than {float(maf):g}" if maf else ""
    notes = [f"{left_out:,} are left out: of one allele{rare}"] if left_out else []
    what = "|D′|" if dprime else "r²"
    return triangle_figure(values, sites.start_bp[is_drawn], what, region, notes)


def _decay(path: Path, name: str) -> Figure:
    from ..plots import decay_figure

    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        columns = [np.array([float(row[key] or "nan") for row in rows]) for key in _DECAY]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", kind="no-such-file") from None
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as err:
        hint = "give what bams3 ld-decay wrote as TSV; or a panel with --region"
        raise InputError(f"{path}: not a table of ld-decay", kind="not-results", hint=hint) from err
    if not rows:
        raise InputError(f"{path}: has no rows", kind="not-results")
    low, high, pairs = (column.astype(np.int64) for column in columns[:3])
    return decay_figure(low, high, pairs, columns[3], name)
