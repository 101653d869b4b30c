"""``bams3 export``: a whole store as BAM, CRAM or SAM."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from .. import kernels
from ..progress import Progress
from . import warn
from .options import quiet as quiet_option
from .options import threads as threads_option
from .remote import INPUT_FILE, OUTPUT_FILE, opened, refuse_existing, s3_options


@s3_options
@click.command(short_help="A store to BAM, CRAM or SAM.", no_args_is_help=True)
@click.argument("store", metavar="STORE")
@click.argument("output", type=OUTPUT_FILE, metavar="OUT.bam|cram|sam")
@click.option(
    "--reference",
    type=INPUT_FILE,
    metavar="FASTA",
    help="Reference of a CRAM; its .fai index is made beside it where there is none.",
)
@click.option("--level", type=click.IntRange(0, 9), help="Compression level (BAM: 3; CRAM: htslib's).")
@click.option("--no-index", is_flag=True, help="No .bai, .csi or .crai beside the output.")
@threads_option
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@quiet_option
def command(
    store: str,
    output: Path,
    reference: Path | None,
    level: int | None,
    no_index: bool,
    threads: int,
    force: bool,
    quiet: bool,
) -> None:
    """All records of STORE, header first, as OUT.bam, OUT.cram or OUT.sam (- writes SAM to stdout).

    BAM and CRAM come with their index.

    \b
    Examples:
      bams3 export sample.bams3 sample.bam
      bams3 export sample.bams3 sample.cram --reference GRCh38.fa
      bams3 export sample.bams3 - | grep -c XA:Z
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    from ..sam import write_alignments, write_alignments_file

    kernels.keep_freed_memory()
    if not force:
        refuse_existing(output)
    reader = opened(store)
    records = reader.records(workers=threads)
    if str(output) == "-":
        write_alignments(records, reader.header, sys.stdout.buffer, "sam", threads=threads, on_warning=warn)
        return
    with Progress(None, "bytes of records", "export", enabled=not quiet) as progress:

        def counted() -> Iterator[bytes]:
            for data in records:
                progress.advance(len(data))
                yield data

        write_alignments_file(
            counted(),
            reader.header,
            output,
            reference=reference,
            threads=threads,
            level=level,
            index=not no_index,
            force=force,
            on_warning=warn,
        )
