"""``bams3 status``: how far a plan is."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..progress import format_seconds
from .remote import INPUT_FILE, s3_options, store

if TYPE_CHECKING:
    from ..work.gather import Status

_WATCH_S = 5.0


@s3_options
@click.command(short_help="How far a plan is.", no_args_is_help=True)
@click.argument("plan", type=INPUT_FILE, metavar="PLAN")
@click.option("--watch", is_flag=True, help="Write a line every 5 s until all is done, or failed.")
@click.option("--missing", is_flag=True, help="List each unit that is not done, its slice, and why.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(plan: Path, watch: bool, missing: bool, as_json: bool) -> None:
    """How far PLAN is, from the logs in its work folder, whatever scheduler runs it.

    \b
    Examples:
      bams3 status plan.json --watch
      bams3 status plan.json --missing
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    from ..work import gather
    from ..work.journal import receipts
    from ..work.plan import read_plan

    mine = read_plan(plan)
    work = store(mine.work)
    if missing:
        lost = gather.missing(mine, work, receipts(work))
        if as_json:
            click.echo(json.dumps([asdict(one) for one in lost], indent=1))
        else:
            click.echo("slice\tunit\twhy")
            for one in lost:
                click.echo(f"{one.slice_number}/{mine.n_slices}\t{one.what}\t{one.why}")
        return
    while True:
        now = gather.status(mine, work)
        click.echo(json.dumps(asdict(now)) if as_json else _format(now))
        if not watch or now.is_over:
            return
        time.sleep(_WATCH_S)


def _format(now: Status) -> str:
    share = now.done / now.units if now.units else 1.0
    parts = [f"{now.done:,} of {now.units:,} units done ({share:.0%})"]
    parts += [
        f"{n:,} {what}"
        for n, what in (
            (now.running, "begun"),
            (now.failed, "failed"),
            (now.set_aside, "set aside"),
            (now.units - now.done - now.running - now.failed - now.set_aside, "left"),
        )
        if n
    ]
    parts.append(f"{now.slices_done} of {now.slices} slices done")
    if now.runners:
        parts.append(f"{now.runners} running")
    if now.eta_s is not None:
        parts.append(f"{format_seconds(now.eta_s)} left")
    parts.append(f"{now.cpu_s:,.1f} s of units, {now.peak_mb} MB")
    if now.requests:
        asked = sum(int(now.requests.get(name, 0)) for name in ("gets", "puts", "heads", "lists"))
        parts.append(f"{asked:,} requests, {now.requests.get('bytes_in', 0) / 1e6:,.1f} MB read")
    return ", ".join(parts)
