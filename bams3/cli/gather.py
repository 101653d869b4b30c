"""``bams3 gather``: the tables of a plan whose units are all done."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from ..htslib import write_errors
from ..store import is_s3
from ..tables import format_counts
from . import counted, warn
from .remote import INPUT_FILE, OUTPUT_FILE, counting_opener, s3_options, store


@s3_options
@click.command(short_help="The tables of a plan.", no_args_is_help=True)
@click.argument("plan", type=INPUT_FILE, metavar="PLAN")
@click.option("--output", "-o", required=True, metavar="DIR", help="Write the tables into this folder.")
@click.option("--plots", is_flag=True, help="Draw a heat map of each table too.")
@click.option("--files-from", metavar="DIR", help="Name files as they are found from this folder [--output].")
def command(plan: Path, output: str, plots: bool, files_from: str | None) -> None:
    """Tables of PLAN, once all of its units are done, into a folder.

    counts.tsv, depth.tsv and breadth.tsv have a row a region and a column a sample. records.tsv and exec.tsv
    say where each sample's file of a region lies, from DIR, or from --files-from, where the tables will be.
    multiqc/ has what MultiQC reads. Of --chi2 there is chi2.tsv, as chi2-batch writes it, and its summary;
    bams3 chi2-plot draws it. Of --ld there is ld.parquet, as ld-tile writes it. Where units are missing,
    nothing is written; exit code 5.

    \b
    Examples:
      bams3 gather plan.json -o results --plots
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    from ..work.gather import gather
    from ..work.plan import read_plan

    if plots:
        from ..plots import write_heat_map  # before anything is written: matplotlib may be missing
    mine = read_plan(plan)
    found = gather(mine, store(mine.work), files_from or output, counting_opener())
    files = {f"{name}.tsv": "".join(format_counts(table)).encode() for name, table in found.tables.items()}
    files |= found.files
    if plots:
        with tempfile.TemporaryDirectory(prefix="bams3-") as place:
            for name, table in found.tables.items():
                path = Path(place, f"{name}.png")
                write_heat_map(table, path)
                files[path.name] = path.read_bytes()
    out = store(output)
    for name, data in files.items():
        out.put(name, data)
    names = [*files]
    for large in found.large:
        name, beside, drawn_by = large.kind.gathered, large.kind.beside, large.kind.drawn_by
        _write_large(large.write, output, name)
        names.append(f"{name} and {beside}" if beside else name)
        if plots:
            draw = f": bams3 {drawn_by} {output.rstrip('/')}/{name}" if drawn_by else ""
            warn(f"--plots draws region tables alone{draw}")
    what = names[0] if len(names) == 1 else counted(len(names), "file")
    click.echo(f"{what} in {output}", err=True)


def _write_large(write: Callable[[Path], None], output: str, name: str) -> None:
    """Write a file, and what belongs beside it, into a folder that need not be there."""
    if not is_s3(output):
        with write_errors(output):
            Path(output).mkdir(parents=True, exist_ok=True)
    write(OUTPUT_FILE.convert(f"{output.rstrip('/')}/{name}", None, click.get_current_context()))
