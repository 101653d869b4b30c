"""``bams3 chi2-plot``: what tests of homogeneity found, in three figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..chi2.reading import read_results
from ..errors import InputError
from ..files import replaced
from ..htslib import write_errors
from ..store import is_s3
from .remote import INPUT_FILE, OUTPUT_FILE, address_of, s3_options

_FORMATS = ("png", "svg")


class _Formats(click.ParamType[tuple[str, ...]]):
    """Formats of files with commas between."""

    name = "formats"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        del param, ctx
        wanted = tuple(dict.fromkeys(str(value).lower().split(",")))
        if not set(wanted) <= set(_FORMATS):
            raise InputError(f"--format {value}: png, svg or png,svg", kind="usage")
        return wanted


@s3_options
@click.command(short_help="Figures of what chi2-batch found.", no_args_is_help=True)
@click.argument("results", type=INPUT_FILE, metavar="RESULTS")
@click.option(
    *("-o", "--output"),
    metavar="PREFIX|DIR",
    help="Begin the names of the files with this [RESULTS without its extension].",
)
@click.option(
    "--format",
    "formats",
    type=_Formats(),
    default="png,svg",
    show_default=True,
    metavar="png,svg",
    help="What to write.",
)
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
    from ..plots import chi2_figures, write_figure  # before anything is read: matplotlib may be missing

    name = _stem(Path(address_of(results)).name)
    prefix = _prefix(output, results, name)
    figures = chi2_figures(read_results(results), name, max_q)
    for what, figure in figures.items():
        for form in formats:
            path = prefix.with_name(f"{prefix.name}.{what}.{form}")
            with replaced(path) as partial, write_errors(str(path)):
                write_figure(figure, partial, form)


def _stem(name: str) -> str:
    return Path(name.removesuffix(".gz")).stem


def _prefix(output: str | None, results: Path, name: str) -> Path:
    """What the names of files begin with, folder included."""
    if output is None:
        if is_s3(address_of(results)):
            raise InputError("where to? RESULTS lies in S3", kind="usage", hint="add -o PREFIX")
        return results.with_name(name)
    if not is_s3(output):
        if output.endswith("/"):
            with write_errors(output):
                Path(output).mkdir(parents=True, exist_ok=True)
        return Path(output) / name if Path(output).is_dir() else Path(output)
    address = output + name if output.endswith("/") else output
    return OUTPUT_FILE.convert(address, None, click.get_current_context())
