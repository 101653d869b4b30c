"""Genotypes of PLINK 1 filesets as planes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from ..columns import Array
from .blocks import AB, BB, MISSING, Note, Site, VariantBlock
from .calls import Choice, Counts, FileOrder, OnProgress, Run, RunRoom, Wanted, chosen_samples
from .plink import PlinkPanel, rows_of
from .ploidy import Ploidy, pack_bits

_MALE = "1"


class PlinkCalls:
    """The genotypes of PREFIX.bed, .bim and .fam: ALT is allele 1, REF allele 2; no site is phased.

    Samples and ids are named as by PlinkPanel, ploidy is that of ploidy.py.

    Parameters
    ----------
    prefix
        The path of the three files without .bed, .bim and .fam.

    Raises
    ------
    InputError
        As PlinkPanel, and ``unknown-sample``.
    CorruptDataError
        kind ``bad-size``: the .bed is not as long as the other two say.
    """

    def __init__(self, prefix: Path, choice: Choice, *, on_note: Note | None = None) -> None:
        self._panel, self._choice, self.counts = PlinkPanel(prefix, on_note=on_note), choice, Counts()
        self.path = self._panel.path
        self._columns = chosen_samples(self.path, self._panel.samples, choice.samples)
        self.samples = tuple(self._panel.samples[k] for k in self._columns)
        fam = prefix.with_name(prefix.name + ".fam")
        sexes = [cells[4] for _, cells in rows_of(fam, "bad-fam")]
        self._ploidy = Ploidy([sexes[k] == _MALE for k in self._columns], self.counts)

    def runs(self, on_progress: OnProgress) -> Iterator[Run]:
        """See ``CallSource.runs``.

        Raises
        ------
        InputError
            kind ``unsorted``, ``bad-bim``, ``unknown-contig``, ``bad-region``.
        CorruptDataError
            kind ``input-changed``.
        """
        prefix = self.path.with_suffix("")
        order = FileOrder(self.path, f"plink1.9 --bfile {prefix} --make-bed --out sorted")
        regions = self._choice.regions
        contigs = tuple(dict.fromkeys(s.contig for s in self._panel.sites())) if regions else ()
        wanted, room = Wanted(regions, contigs), RunRoom(len(self.samples))
        for block in self._panel.blocks():
            for site in block.sites:
                order.see(site.contig, site.start_bp)
            self.counts.records += len(block.sites)
            on_progress(len(block.sites))
            for sites, codes in self._by_contig(block, wanted):
                yield from self._add(room, sites, codes)
        if room.row:
            yield room.take()

    def _by_contig(self, block: VariantBlock, wanted: Wanted) -> Iterator[tuple[list[Site], Array]]:
        """The wanted variants of a block, contig by contig, and the codes of the wanted samples."""
        kept = [k for k, site in enumerate(block.sites) if wanted.has(site.contig, site.start_bp)]
        for _, rows in groupby(kept, key=lambda k: block.sites[k].contig):
            numbers = list(rows)
            whole = len(numbers) == len(block.sites) and len(self._columns) == block.codes.shape[1]
            codes = block.codes.copy() if whole else block.codes[np.ix_(numbers, self._columns)]
            yield [block.sites[k] for k in numbers], codes

    def _add(self, room: RunRoom, sites: list[Site], codes: Array) -> Iterator[Run]:
        """Variants of one contig; runs that became full."""
        haploid = self._ploidy.mend(sites[0].contig, codes, MISSING, AB)
        second = (codes == BB) | (codes == AB)
        first, missing = codes == BB, codes == MISSING
        one = np.zeros_like(missing) if haploid is None else haploid & ~missing
        planes = [pack_bits(flags) for flags in (first, second & ~one, missing, one)]
        at = 0
        while at < len(sites):
            n = min(len(sites) - at, room.variants - room.row)
            rows, here = room.run.planes, slice(room.row, room.row + n)
            for place, plane in zip(
                (rows.first, rows.second, rows.missing, rows.haploid), planes, strict=True
            ):
                place[here] = plane[at : at + n]
            if room.extend(sites[at : at + n]):
                yield room.take()
            at += n
