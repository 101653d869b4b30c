"""``bams3 chi2-plot``: what tests of homogeneity found, in three figures."""

from __future__ import annotations

from pathlib import Path

import click

from ..chi2.reading import read_results
from ..errors import InputError
from .figures import formats_option, prefix_of, stem, write_forms
from .remote import INPUT_FILE, address_of, s3_options


@s3_options
@click.command(short_help="Figures of what chi2-batch found.", no_args_is_help=True)
@click.argument("results", type=INPUT_FILE, metavar="RESULTS")
@click.option(
    *("-o", "--output"),
    metavar="PREFIX|DIR",
    help="Begin the names of the files with this [RESULTS without its extension].",
)
@formats_option
@click.option(
    "--max-q",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.05,
    show_default=True,
    metavar="Q",
    help="Rank the batches of probesets with a q-value below this.",
)
def command(results: Path, output: str | None, formats: tuple[str, ...], max_q: float) -> None:
    """Draw RESULTS of `bams3 chi2-batch` (TSV or Parquet):

    \b
      PREFIX.qq.png, .svg        -log10 of observed against expected p-values, with the band that holds 95 %
                                 of each rank if nothing differs, and lambda of genomic control
      PREFIX.pvalues.png, .svg   histogram of p-values by method
      PREFIX.batches.png, .svg   batches by how often they are the worst one among probesets with q < 0.05

    In a folder (an existing one, or a name with / at its end) they are named as RESULTS is. Existing files
    are replaced.

    \b
    Examples:
      bams3 chi2-plot results.tsv
      bams3 chi2-plot results.parquet -o plots/ --format svg
      bams3 chi2-plot results.tsv -o plots/study1 --max-q 0.01
    """  # noqa: D301, D400  click keeps the lines of a paragraph that starts with this mark
    if not max_q > 0:  # nan
        raise InputError(f"--max-q {max_q}: a number above 0, 1 at most", kind="usage")
    from ..plots import chi2_figures  # before anything is read: matplotlib may be missing

    name = stem(Path(address_of(results)).name)
    prefix = prefix_of(output, results, name)
    for what, figure in chi2_figures(read_results(results), name, max_q).items():
        write_forms(figure, prefix, what, formats)
