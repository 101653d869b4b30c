"""Running tiles: blocks are read, pairs found and written, with a receipt of what was done."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arrow_files import write_parquet
from .blocks import Block
from .merge import merged, parts_in, receipt
from .pairs import pairs_of_tile
from .plan import LdPlan, Panel
from .table import as_table, encoding, schema
from .tiles import Tile

if TYPE_CHECKING:
    import pyarrow as pa


class HeldBlocks:
    """Blocks of a panel; the two of a tile are kept for the next one, which often shares one with it."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._held: dict[tuple[int, int], Block] = {}

    def of(self, tile: Tile) -> tuple[Block, Block]:
        """Rows and columns of a tile, the same block on the diagonal."""
        spans = tile.rows, tile.columns
        self._held = {span: self._held[span] for span in spans if span in self._held}
        for span in spans:
            if span not in self._held:
                self._held[span] = Block(span[0], self._panel.sites(*span), self._panel.planes(*span))
        return self._held[tile.rows], self._held[tile.columns]


@dataclass
class Run:
    """Some or all tiles of a plan, and what they gave so far.

    Attributes
    ----------
    contigs
        Names, by number.
    with_counts
        Whether the haplotypes of each pair are written.
    on_pairs
        Told how many more pairs were computed.
    done
        Of each tile that is done: number, first variant of its rows, pairs computed and kept.
    as_part
        Whether what is written can be merged, even of all tiles.
    blocks
        Where blocks are taken from; None: they are read anew.
    """

    plan: LdPlan
    tiles: Sequence[Tile]
    contigs: Sequence[str]
    workers: int
    with_counts: bool = False
    on_pairs: Callable[[int], None] = lambda _: None
    done: list[dict[str, int]] = field(default_factory=list)
    as_part: bool = False
    blocks: HeldBlocks | None = None

    @property
    def is_part(self) -> bool:
        """Whether there are other tiles too: then they are to be merged."""
        return self.as_part or len(self.tiles) < len(self.plan.tiling.tiles)

    @property
    def schema(self) -> pa.Schema:
        """Of the tables."""
        return schema(with_counts=self.with_counts, with_numbers=self.is_part)

    @property
    def pairs(self) -> int:
        """Pairs that were computed."""
        return sum(tile["pairs"] for tile in self.done)

    @property
    def kept(self) -> int:
        """Pairs that passed."""
        return sum(tile["kept"] for tile in self.done)

    def metadata(self) -> dict[str, str]:
        """The receipt, as a Parquet file keeps it; of all tiles it does not tell how they were cut."""
        return receipt(self.asked(), self.done, self.plan.cut() if self.is_part else None)

    def asked(self) -> dict[str, Any]:
        """What decides what is written."""
        return {**self.plan.asked(), "counts": self.with_counts}

    def tables(self) -> Iterator[pa.Table]:
        """Pairs of the tiles: of a part tile after tile, of all of them in the order of the panel."""
        with ThreadPoolExecutor(self.workers, "bams3-ld") as pool:
            if self.is_part or len(self.tiles) == 1:
                yield from self._pairs(self.tiles, pool, self.schema)
            else:
                yield from self._in_order(pool)

    def _in_order(self, pool: ThreadPoolExecutor) -> Iterator[pa.Table]:
        """Tiles of the same rows are merged on disk."""
        like = schema(with_counts=self.with_counts, with_numbers=True)
        with tempfile.TemporaryDirectory(prefix="bams3-ld-") as folder:
            path = Path(folder, "tiles.parquet")
            for _, row in groupby(self.tiles, lambda tile: tile.rows):
                before = len(self.done)
                write_parquet(self._pairs(list(row), pool, like), like, path, encoding=encoding(like))
                yield from merged(parts_in(path, self.done[before:]))

    def _pairs(self, tiles: Sequence[Tile], pool: ThreadPoolExecutor, like: pa.Schema) -> Iterator[pa.Table]:
        plan, samples = self.plan, len(self.plan.panel.samples)
        blocks = self.blocks or HeldBlocks(plan.panel)
        for tile in tiles:
            sides, kept = blocks.of(tile), 0
            for some, n in pairs_of_tile(*sides, samples, plan.limits, plan.rule, pool, self.workers + 1):
                kept += len(some.a)
                self.on_pairs(n)
                yield as_table(some, *sides, self.contigs, like)
            told = {"tile": tile.number, "block": tile.rows[0], "pairs": tile.pairs, "kept": kept}
            self.done.append(told)
