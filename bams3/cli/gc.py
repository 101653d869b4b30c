"""``bams3 gc``: remove what killed conversions left."""

from __future__ import annotations

import re
import time

import click

from ..errors import InputError, StoreError
from ..leftovers import leftovers, newest_s
from . import counted
from .options import quiet as quiet_option
from .remote import s3_options
from .remote import store as store_of

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@s3_options
@click.command(short_help="Remove what killed conversions left.", no_args_is_help=True)
@click.argument("store", metavar="STORE")
@click.option(
    "--older-than",
    default="1h",
    show_default=True,
    metavar="TIME",
    help="Remove nothing if anything was written since: a conversion may be running. 90s, 15m, 1h, 2d.",
)
@click.option("--dry-run", "-n", is_flag=True, help="Only tell what would be removed.")
@quiet_option
def command(store: str, older_than: str, dry_run: bool, quiet: bool) -> None:
    """Remove objects of STORE that its manifest does not name, and uploads to S3 that were not finished.

    They are left where a conversion was killed and not run again. (Run again, it goes on where it stopped
    and removes them.) Without a manifest all that a conversion wrote goes, slices that are not sealed yet
    too. Writes key and bytes of each.

    \b
    Examples:
      bams3 gc s3://bucket/sample.bams3 --dry-run
      bams3 gc sample.bams3 --older-than 2d
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    age_s = _seconds(older_than)
    there = store_of(store)
    found = leftovers(there)
    idle_s = time.time() - newest_s(found)
    if found and idle_s < age_s and not dry_run:
        raise StoreError(
            f"{there.name} was written to {max(idle_s, 0):.0f} s ago: a conversion may be running",
            kind="recent-writes",
            hint="wait, or give a shorter --older-than",
        )
    if not dry_run:  # a conversion may have sealed its store since
        still = {one.entry.key for one in leftovers(there)}
        found = [one for one in found if one.entry.key in still]
    for one in found:
        if not dry_run:
            one.remove()
        click.echo(f"{one.entry.key}\t{one.entry.size_bytes}")
    if not quiet:
        size_bytes = sum(one.entry.size_bytes for one in found)
        done = "would be removed" if dry_run else "removed"
        click.echo(f"{counted(len(found), 'object')} {done}, {size_bytes / 1e6:,.1f} MB", err=True)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found:
        raise InputError(f"--older-than {text}: write 90s, 15m, 1h or 2d", kind="bad-time")
    return float(found[1]) * _SECONDS[found[2]]
