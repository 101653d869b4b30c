"""Running tiles: blocks are read, pairs found, and written with a receipt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .blocks import Block
from .pairs import Pairs, pairs_of_tile
from .plan import LdPlan
from .table import as_table, schema
from .tiles import Tile

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa


@dataclass
class Receipt:
    """What tiles gave: pairs that were computed and kept."""

    plan: LdPlan
    tiles: list[dict[str, int]] = field(default_factory=list)

    def as_json(self) -> str:
        """As a file holds it."""
        told = {"key": self.plan.key, "plan": self.plan.described(), "tiles": self.tiles}
        return json.dumps(told | {"pairs": self.pairs, "kept": self.kept}, indent=1) + "\n"

    @property
    def pairs(self) -> int:
        """Pairs that were computed."""
        return sum(tile["pairs"] for tile in self.tiles)

    @property
    def kept(self) -> int:
        """Pairs that passed."""
        return sum(tile["kept"] for tile in self.tiles)


def run_tiles(
    plan: LdPlan,
    tiles: Sequence[Tile],
    contigs: Sequence[str],
    receipt: Receipt,
    *,
    workers: int,
    with_counts: bool,
    with_numbers: bool,
    on_pairs: Callable[[int], None],
) -> Iterator[pa.Table]:
    """Pairs of some tiles, tile after tile; the receipt is whole when the last table has been taken.

    Parameters
    ----------
    on_pairs
        Told how many more pairs were computed.
    """
    like = schema(with_counts=with_counts, with_numbers=with_numbers)
    with ThreadPoolExecutor(workers, "bams3-ld") as pool:
        for tile, rows, columns, found in _tiles(plan, tiles, pool, workers):
            kept = 0
            for some, done in found:
                kept += len(some.a)
                on_pairs(done)
                yield as_table(some, rows, columns, contigs, like)
            receipt.tiles.append({"tile": tile.number, "pairs": tile.pairs, "kept": kept})


def _tiles(
    plan: LdPlan, tiles: Sequence[Tile], pool: ThreadPoolExecutor, workers: int
) -> Iterator[tuple[Tile, Block, Block, Iterator[tuple[Pairs, int]]]]:
    held: dict[tuple[int, int], Block] = {}
    for tile in tiles:
        held = {span: held.get(span) or _read(plan, span) for span in (tile.rows, tile.columns)}
        rows, columns = held[tile.rows], held[tile.columns]
        samples = len(plan.panel.samples)
        yield (
            tile,
            rows,
            columns,
            pairs_of_tile(rows, columns, samples, plan.limits, plan.rule, pool, workers + 1),
        )


def _read(plan: LdPlan, span: tuple[int, int]) -> Block:
    return Block(span[0], plan.panel.sites(*span), plan.panel.planes(*span))
