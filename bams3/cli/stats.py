"""``bams3 stats``: reads per contig and per category of flags, from the index alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..files import replaced
from ..htslib import write_errors
from ..stats import (
    Stats,
    format_flagstat,
    format_flagstat_json,
    format_idxstats,
    format_idxstats_json,
    multiqc_general,
    multiqc_graph,
)
from .options import sample_name
from .remote import OUTPUT_FILE, opened, s3_options

_MULTIQC_END = "_mqc.json"


@s3_options
@click.command(short_help="Reads per contig and per flag, from the index.", no_args_is_help=True)
@click.argument("store", metavar="STORE")
@click.option("--flagstat", is_flag=True, help="Write what samtools flagstat writes.")
@click.option(
    "--json", "as_json", is_flag=True, help="Write it as JSON (with --flagstat: as flagstat -O json)."
)
@click.option(
    "--multiqc",
    type=OUTPUT_FILE,
    metavar="NAME_mqc.json",
    help="Write general statistics for MultiQC here, and a bar graph to NAME_reads_mqc.json beside it.",
)
@click.option(
    "--plot",
    type=OUTPUT_FILE,
    metavar="PNG",
    help="Draw records per category of flags and per contig here.",
)
@click.option(
    "--sample",
    metavar="NAME",
    help="Name of the sample in --multiqc and --plot [name of STORE without .bams3].",
)
def command(
    store: str, flagstat: bool, as_json: bool, multiqc: Path | None, plot: Path | None, sample: str | None
) -> None:
    """Reads of STORE per contig: name, length, mapped, unmapped, as samtools idxstats writes them.

    The last row, *, counts the reads on no contig. Only the totals of the index are read, whatever the size
    of STORE. With --multiqc or --plot, those files alone are written; add --flagstat to have its text on
    stdout too.

    \b
    Examples:
      bams3 stats sample.bams3
      bams3 stats sample.bams3 --flagstat > sample.flagstat
      bams3 stats sample.bams3 --multiqc qc/sample_mqc.json --plot qc/sample.png
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    has_files = multiqc is not None or plot is not None
    _check_options(as_json and not flagstat, multiqc, plot, sample)
    if plot is not None:
        from ..plots import write_stats  # before anything is written: matplotlib may be missing
    reader = opened(store)
    stats = Stats.of(reader.contigs, reader.totals)
    name = sample or sample_name(store)
    if multiqc is not None:
        _write_json(multiqc, multiqc_general(stats, name))
        _write_json(_graph_beside(multiqc), multiqc_graph(stats, name))
    if plot is not None:
        with replaced(plot) as partial, write_errors(str(plot)):
            write_stats(stats, name, partial)
    if flagstat:
        _write(format_flagstat_json(stats) if as_json else format_flagstat(stats))
    elif not has_files:
        _write(format_idxstats_json(stats) if as_json else format_idxstats(stats))


def _check_options(json_alone: bool, multiqc: Path | None, plot: Path | None, sample: str | None) -> None:
    has_files = multiqc is not None or plot is not None
    if json_alone and has_files:
        raise InputError(
            "--json is for stdout, to which --multiqc and --plot write nothing",
            kind="usage",
            hint="leave it out, or add --flagstat",
        )
    if sample is not None and not (has_files and sample.strip()):
        raise InputError("--sample names the sample of --multiqc or --plot", kind="usage")
    if multiqc is not None and multiqc.name.removesuffix(_MULTIQC_END) in ("", multiqc.name):
        message = f"{multiqc}: MultiQC finds no file of this name"
        raise InputError(message, kind="usage", hint=f"give it a name that ends in {_MULTIQC_END}")
    if plot is not None and plot.suffix.lower() != ".png":
        raise InputError(f"{plot}: a plot is PNG", kind="usage", hint="give it a name with .png")


def _graph_beside(path: Path) -> Path:
    """Where the bar graph goes: one file of MultiQC's custom content holds one kind of content."""
    return path.with_name(path.name.removesuffix(_MULTIQC_END) + "_reads" + _MULTIQC_END)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replaced(path) as partial, write_errors(str(path)):
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _write(text: str) -> None:
    """Text on standard output; names of contigs may be no UTF-8."""
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
