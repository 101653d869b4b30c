"""``bams3 chi2-batch``: whether genotype frequencies are the same in all batches, for every probeset."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ..arrow_files import check_name
from ..chi2.run import ReadBlocks, run_tests
from ..chi2.summary import Summary, refuse_input_as_output, write_with_summary
from ..count_tables.packing import opened
from ..errors import InputError
from ..genotype_counts import CountBlock, read_genotype_counts
from ..progress import Progress
from ..slices import Slice
from ..store import is_s3
from . import counted, warn
from .chi2_options import Chi2Tests, chi2_options
from .options import Threads, quiet
from .remote import INPUT_FILE, OUTPUT_FILE, s3_options
from .slices import slice_option


class BatchSize(click.ParamType[int]):
    """``auto`` (0) or a number of probesets."""

    name = "batch size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value in ("auto", 0):
            return 0
        if not (re.fullmatch("[0-9]{1,9}", str(value)) and int(value) >= 1):
            self.fail(f"{value!r} is neither auto nor a number of probesets, 1 to 999999999", param, ctx)
        return int(value)


@s3_options
@click.command(short_help="Test genotype frequencies for batch effects.", no_args_is_help=True)
@click.argument("paths", nargs=-1, required=True, metavar="[INPUT] OUTPUT")
@click.option("--vcf", type=INPUT_FILE, metavar="PANEL", help="Count the genotypes of a VCF or BCF file.")
@click.option("--bfile", metavar="PREFIX", help="Count the genotypes of PREFIX.bed, .bim and .fam.")
@click.option(
    "--plates",
    type=INPUT_FILE,
    metavar="TSV",
    help="Which plate each sample of --vcf or --bfile was on: two columns, sample and plate.",
)
@click.option(
    "--batch-size", type=BatchSize(), default="auto", metavar="auto|N", help="Probesets to a worker."
)
@click.option(
    *("--n-workers", "--workers", "--threads", "-@"),
    type=Threads(),
    default="auto",
    metavar="auto|N",
    help="Threads (auto: one a core).",
)
@click.option("--show-progress", is_flag=True, help="Show how many probesets are tested.")
@slice_option("Test the i-th of n slices of the probesets; bams3 chi2-merge joins the results.")
@chi2_options()
@quiet
def command(
    paths: tuple[str, ...],
    vcf: Path | None,
    bfile: str | None,
    plates: Path | None,
    batch_size: int,
    n_workers: int,
    show_progress: bool,
    which: Slice | None,
    tests: Chi2Tests,
    quiet: bool,
) -> None:
    """Test for every probeset of INPUT whether its genotype frequencies are the same in all batches.

    INPUT is a table, TSV (also .gz or .zst) or Parquet, with the columns probeset_id, batch_name, n_AA, n_AB,
    n_BB and n_NC (no call); or give --vcf or --bfile with --plates instead of it. OUTPUT is TSV or, where its
    name ends in .parquet, Parquet: a row a probeset with Pearson's statistic, p-value, q-value (Benjamini and
    Hochberg), Cramer's V, the batch that is the furthest out and its adjusted residual, and a p-value of the
    no-call rate. Beside it lie OUTPUT.summary.txt and OUTPUT.summary.json.

    Where each expected count is 5 or more the p-value is the chi-square tail. Elsewhere the statistic is
    ranked among all tables of the same margins, enumerated or drawn.

    \b
    Examples:
      bams3 chi2-batch counts.tsv results.tsv
      bams3 chi2-batch counts.tsv.gz results.parquet --batch-size 1000 --n-workers 8 --show-progress
      bams3 chi2-batch --vcf cohort.bcf --plates sample_to_plate.tsv results.tsv
      bams3 chi2-batch counts.tsv part3.parquet --slice 3/8
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    given, output, inputs, read = _places(paths, vcf, bfile, plates, which, tests.sum_duplicates)
    refuse_input_as_output(output, inputs)
    summary = Summary(given, tests.options, str(which or ""), _identity(inputs) if which else "")

    def tell(size: int) -> None:
        if not quiet:
            click.echo(f"Note: Using {n_workers} parallel workers for processing", err=True)
            click.echo(f"Note: Batch size = {size} probesets per worker", err=True)

    with Progress(None, "probesets", "Processing probesets", enabled=show_progress) as progress:
        tables = run_tests(read, summary, n_workers, batch_size or None, tell, progress.advance)
        write_with_summary(tables, summary, output)
    if not quiet:
        click.echo(summary.as_text(), nl=False, err=True)


def _places(
    paths: tuple[str, ...],
    vcf: Path | None,
    bfile: str | None,
    plates: Path | None,
    which: Slice | None,
    sum_duplicates: bool,
) -> tuple[str, Path, list[Path], ReadBlocks]:
    """What is tested, where results go, the files that are read, and what reads the tables."""
    panel = vcf if vcf is not None else bfile
    if vcf is not None and bfile is not None:
        raise InputError("--vcf and --bfile exclude each other", kind="usage")
    if (panel is None) != (plates is None):
        hint = "bams3 chi2-batch --vcf PANEL --plates sample_to_plate.tsv OUTPUT"
        raise InputError("--vcf or --bfile and --plates go together", kind="usage", hint=hint)
    n_wanted = 2 if panel is None else 1
    if len(paths) != n_wanted:
        names = "INPUT and OUTPUT" if panel is None else "OUTPUT, as the panel is the input"
        raise InputError(f"{counted(len(paths), 'file name')} where there are to be {names}", kind="usage")
    ctx = click.get_current_context()
    output = OUTPUT_FILE.convert(paths[-1], None, ctx)
    check_name(output)
    if panel is not None:
        assert plates is not None
        files = [vcf] if vcf is not None else [Path(f"{bfile}{end}") for end in (".bed", ".bim", ".fam")]
        return str(panel), output, [*files, plates], _from_panel(vcf, bfile, plates, which)
    table = INPUT_FILE.convert(paths[0], None, ctx)
    source = sys.stdin.buffer if str(table) == "-" else table

    def read(is_grouped: bool) -> Iterator[CountBlock]:
        return read_genotype_counts(source, which=which, sum_duplicates=sum_duplicates, grouped=is_grouped)

    return paths[0], output, [table], read


def _identity(inputs: Sequence[Path]) -> str:
    """A hash of what files hold, so that slices of one that was changed are not merged; empty for a pipe.

    Takes a second a gigabyte; reading a table takes seven.
    """
    if not all(path.is_file() for path in inputs):
        return ""
    whole = hashlib.blake2b(digest_size=16)
    for path in inputs:
        with opened(path) as file:
            whole.update(hashlib.file_digest(file, "blake2b").digest())  # type: ignore[arg-type]  # it has readinto
    return whole.hexdigest()


def _from_panel(vcf: Path | None, bfile: str | None, plates: Path, which: Slice | None) -> ReadBlocks:
    """What counts a panel's genotypes by plate; its probesets are never spread."""
    from ..panel import PlinkPanel, VcfPanel, plate_counts, read_plates

    if bfile is not None and is_s3(bfile):
        hint = "copy its .bed, .bim and .fam to a disk, or give a VCF or BCF file"
        raise InputError(f"--bfile {bfile}: three files, which are not fetched", kind="usage", hint=hint)
    if bfile is not None and not Path(bfile).name:
        raise InputError(f"--bfile {bfile!r}: not the beginning of files' names", kind="usage")
    plate_of = read_plates(plates)
    panel = VcfPanel(vcf, on_note=warn) if vcf is not None else PlinkPanel(Path(bfile or ""), on_note=warn)
    return lambda _: plate_counts(panel, plate_of, which=which, on_note=warn)
