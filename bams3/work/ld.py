"""Linkage disequilibrium as units: each of one tile of a panel's pairs of variants, merged at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..arrow_files import write_parquet
from ..columns import Array
from ..ld.merge import write_merged
from ..ld.pairs import Rule
from ..ld.plan import LdPlan, Panel
from ..ld.run import Run
from ..ld.table import encoding
from ..ld.tiles import Limits, Tile, Tiling
from ..panel.stored import StoredPanel
from ..tables import CountedRegion
from .inputs import Input, PanelInput
from .jobs import Job, OfOneInput, remove_what_was_left, result_file

#: Seconds of one core that a tile takes beside its pairs: blocks are read, a file is written.
_TILE_S = 0.02


@dataclass(frozen=True)
class Ld(OfOneInput):
    """Pairs of a tile that pass: the result is a Parquet file, as ld-tile --tile writes it.

    Attributes
    ----------
    limits, rule, tiling
        As those of LdPlan; of a plan, so that nobody need read a panel to tell how far it is.
    counts
        Whether haplotypes of pairs are written.
    mem_mb
        Memory of a worker: that of the largest tile.
    """

    name: ClassVar[str] = "ld"
    input: ClassVar[type[Input]] = PanelInput
    gathered: ClassVar[str] = "ld.parquet"
    limits: Limits
    rule: Rule
    tiling: Tiling
    counts: bool
    mem_mb: int

    def __post_init__(self) -> None:
        tiles = self.tiling.tiles
        numbers = [n for tile in tiles for n in (tile.pairs, *tile.rows, *tile.columns)]
        if not tiles or [tile.number for tile in tiles] != list(range(1, len(tiles) + 1)):
            raise ValueError("tiles are not numbered")
        if any(type(n) is not int or n < 0 for n in (self.tiling.blocks, self.mem_mb, *numbers)):
            raise ValueError("a number of a tile is none")
        if any(len(span) != 2 for tile in tiles for span in (tile.rows, tile.columns)):
            raise ValueError("a tile is not of two blocks")

    @classmethod
    def of(cls, plan: LdPlan, counts: bool) -> Ld:
        """The units of a plan of LD."""
        most_bytes = max(plan.memory_bytes(tile, 1) for tile in plan.tiling.tiles)
        return cls(plan.limits, plan.rule, plan.tiling, counts, -(-most_bytes // (1 << 20)))

    def _plan(self, panel: Panel) -> LdPlan:
        return LdPlan(panel, self.limits, self.rule, self.tiling)

    def places(self, regions: Sequence[CountedRegion]) -> Sequence[Tile]:
        del regions
        return self.tiling.tiles

    def seconds(self, load: StoredPanel) -> Array:
        plan = self._plan(load)
        return np.array([_TILE_S + plan.seconds(tile) for tile in self.tiling.tiles])

    def question(self, sample: str, place: Tile) -> str:
        del sample, place
        return f"{self.limits},{self.rule},{self.counts},{self.tiling.blocks}/{len(self.tiling.tiles)}"

    def run(self, job: Job[PanelInput], places: Sequence[Tile]) -> Iterator[Any]:
        plan, n = self._plan(job.input.panel), len(self.tiling.tiles)
        contigs = [contig.name for contig in job.input.panel.contigs]
        for key, tile in zip(job.keys, places, strict=True):
            blocks = job.input.blocks  # tiles that follow each other share one
            run = Run(plan, (tile,), contigs, job.threads, self.counts, as_part=True, blocks=blocks)
            file = f"{self.name}/{tile.number}-of-{n}.{key[:8]}.parquet"
            remove_what_was_left(job.work, file)
            with result_file(job.work, file) as path:
                write_parquet(run.tables(), run.schema, path, run.metadata, encoding(run.schema))
                size_bytes = path.stat().st_size
            yield {"file": file, "bytes": size_bytes, "kept": run.kept}

    def join(self, parts: Sequence[Path], path: Path) -> None:
        write_merged(parts, path)
