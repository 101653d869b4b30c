"""``bams3 cat``: the records of single chunks, without the rest of their store."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from .. import kernels
from ..chunkfile import ChunkFile, MadeHeader, open_chunk, read_chunk_file
from ..errors import CorruptDataError, InputError
from ..store import is_s3
from ..store.base import MissingObjectError
from .options import threads as threads_option
from .options import write_records
from .remote import OUTPUT_FILE, folder, s3_options


@s3_options
@click.command(short_help="Records of single chunks, without their store.", no_args_is_help=True)
@click.argument("chunks", metavar="CHUNK...", nargs=-1, required=True)
@click.option("--with-header", "-h", is_flag=True, help="Begin SAM with a header.")
@click.option("--bam", "-b", "as_bam", is_flag=True, help="Write BAM.")
@click.option("--uncompressed", "-u", is_flag=True, help="Write uncompressed BAM.")
@click.option(
    "--output",
    "-o",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="x.bam, x.sam or x.cram (without a reference), with header.",
)
@threads_option
def command(
    chunks: tuple[str, ...],
    with_header: bool,
    as_bam: bool,
    uncompressed: bool,
    output: Path | None,
    threads: int,
) -> None:
    """Records of every CHUNK, in the order given, as SAM on stdout.

    A CHUNK is a file below STORE/data, or - for one that comes through a pipe; nothing else of the store is
    needed. The header is made of what chunks hold: the contigs of their records and mates, and @RG lines.

    \b
    Examples:
      bams3 cat sample.bams3/data/chr20/0001000000.0-1a2b3c4d.chunk
      find sample.bams3/data/chr1 -name '*.chunk' | parallel 'bams3 cat {} | wc -l > {/.}_result.txt'
      aws s3 cp s3://bucket/sample.bams3/data/chrX/0001000000.0-1a2b3c4d.chunk - | bams3 cat -b - > x.bam
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    as_bam = as_bam or uncompressed
    if chunks.count("-") > 1:
        raise InputError(
            "- is one chunk, and can be given once", kind="usage", hint="give others by their names"
        )
    if as_bam and output is not None and str(output) != "-" and output.suffix.lower() != ".bam":
        raise InputError(f"{output}: -b and -u write BAM", kind="usage", hint="give it a name with .bam")
    kernels.keep_freed_memory()
    made, records = _header_and_records(chunks)
    form = "uncompressed" if uncompressed else "bam" if as_bam else "sam"
    write_records(records, made.header(), output, form, with_header, threads)


def _load(name: str) -> ChunkFile:
    if name == "-":
        return read_chunk_file(sys.stdin.buffer, "stdin")
    if is_s3(name):
        return _load_from_s3(name)
    with open_chunk(Path(name)) as file:
        return read_chunk_file(file, name)


def _load_from_s3(address: str) -> ChunkFile:
    """A chunk, which is fetched once more if its bytes are wrong."""
    there, name = folder(address)
    try:
        try:
            return read_chunk_file(io.BytesIO(there.get(name)), address)
        except CorruptDataError:
            return read_chunk_file(io.BytesIO(there.get(name)), address)
    except MissingObjectError as err:
        raise InputError(f"{address}: no such object", kind="no-such-file") from err


def _header_and_records(names: tuple[str, ...]) -> tuple[MadeHeader, Iterator[bytes]]:
    """The header of all chunks, and their records; every chunk is checked before the first record comes.

    Files are read twice, for the header and for the records, so that one chunk at a time is in memory;
    what can be read once is held.
    """
    made = MadeHeader()
    held: dict[str, ChunkFile] = {}
    for name in names:
        one = _load(name)
        made.add(one)
        if len(names) == 1 or name == "-" or not (is_s3(name) or Path(name).is_file()):
            held[name] = one

    def records() -> Iterator[bytes]:
        for name in names:
            yield from (held.get(name) or _load(name)).records(made.numbers)

    return made, records()
