"""``bams3 verify``: is every byte of a store right."""

from __future__ import annotations

import json

import click

from .. import kernels
from ..errors import CorruptDataError
from ..progress import Progress
from ..verify import verify
from . import counted
from .options import quiet as quiet_option
from .options import threads as threads_option
from .remote import opened, requests, s3_options


@s3_options
@click.command(short_help="Check every byte of a store.", no_args_is_help=True)
@click.argument("store", metavar="STORE")
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Write what was found as JSON.")
@quiet_option
def command(store: str, threads: int, as_json: bool, quiet: bool) -> None:
    """Check every checksum and count of STORE, and its index against its chunks.

    Damage is named, object by object, with its byte range; exit code 3.

    \b
    Examples:
      bams3 verify sample.bams3
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    kernels.keep_freed_memory()
    reader = opened(store)
    with Progress(reader.manifest.chunks, "chunks", "verify", enabled=not quiet) as progress:
        result = verify(reader, threads, progress.advance)
    if as_json:
        value = {"records": result.records, "chunks": result.chunks, "problems": result.problems}
        value["requests"] = requests()
        click.echo(json.dumps(value, indent=1))
    else:
        for problem in result.problems:
            click.echo(problem)
    if result.problems:
        raise CorruptDataError(
            f"{store}: {counted(len(result.problems), 'problem')}",
            kind="damaged",
            hint="convert the alignments again with --force",
        )
    if not quiet:
        held = f"{counted(result.records, 'record')} in {counted(result.chunks, 'chunk')}"
        click.echo(f"{store}: {held}, all as written", err=True)
