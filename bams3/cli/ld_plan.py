"""``bams3 ld-plan``: which tiles the pairs of a panel make, and what each takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ..ld.plan import LdPlan, make_plan
from ..panel.stored import StoredPanel
from ..regions import parse_bytes
from . import counted
from .ld_options import ld_options, tiling_options
from .options import threads
from .remote import s3_options, store

if TYPE_CHECKING:
    from ..ld.pairs import Rule
    from ..ld.tiles import Limits


@s3_options
@click.command(short_help="Tiles of a panel: pairs, memory and time of each.", no_args_is_help=True)
@click.argument("panel", metavar="PANEL.ldp")
@tiling_options
@ld_options
@click.option("--json", "as_json", is_flag=True, help="Write every tile as JSON.")
@threads
def command(
    panel: str,
    tiles: int | None,
    max_memory: str | None,
    limits: Limits,
    rule: Rule,
    as_json: bool,
    threads: int,
) -> None:
    """Say how the pairs of variants in PANEL are cut into tiles: blocks of variants against each other.

    Without --tiles and --max-memory there is one tile, and all variants are in memory. Without limits k
    blocks make k (k + 1) / 2 tiles; with --max-distance or --max-variants those without pairs are left out.
    Seconds are of one core of this machine, memory is that of a process with so many --workers.

    \b
    Examples:
      bams3 ld-plan cohort.ldp --max-memory 400M
      bams3 ld-plan cohort.ldp --tiles 45 --json
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    memory = None if max_memory is None else parse_bytes(max_memory)
    opened = StoredPanel(store(panel))
    plan = make_plan(opened, limits, rule, tiles=tiles, max_memory_bytes=memory, workers=threads)
    click.echo(_as_json(plan, threads) if as_json else _as_text(plan, threads))


def _as_json(plan: LdPlan, workers: int) -> str:
    rows = [
        {
            "tile": tile.number,
            "rows": tile.rows,
            "columns": tile.columns,
            "pairs": tile.pairs,
            "memory_bytes": plan.memory_bytes(tile, workers),
            "seconds": round(plan.seconds(tile), 3),
        }
        for tile in plan.tiling.tiles
    ]
    told = {**plan.asked(), **plan.cut(), "pairs": plan.tiling.pairs}
    return json.dumps({"plan": told, "tiles": rows}, indent=1)


def _as_text(plan: LdPlan, workers: int) -> str:
    tiles = plan.tiling.tiles
    variants = max(end - first for tile in tiles for first, end in (tile.rows, tile.columns))
    most = max(plan.memory_bytes(tile, workers) for tile in tiles)
    seconds = [plan.seconds(tile) for tile in tiles]
    return "\n".join(
        [
            f"variants          {plan.panel.n_variants:,}",
            f"pairs             {plan.tiling.pairs:,}",
            f"blocks            {plan.tiling.blocks:,} of up to {counted(variants, 'variant')}",
            f"tiles             {len(tiles):,} of up to {counted(max(t.pairs for t in tiles), 'pair')}",
            f"memory of a tile  {-(-most // 2**20):,} MB",
            f"time of a tile    {max(seconds):,.1f} s of one core, {sum(seconds):,.1f} s for all",
        ]
    )
