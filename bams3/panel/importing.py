"""An import: genotypes from a reader to blocks, and the manifest that makes them a panel."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..columns import Array
from ..errors import Bams3Error, InputError
from ..format import panel_manifest, spec
from ..format.directory import content_hash, crc32
from ..format.manifest import Range
from ..format.panel_block import block_variants, build_block
from ..format.panel_manifest import BlockRow, PanelManifest, block_key, contig_ranges, is_panel_key
from ..kernels import count_bits
from ..pipeline import ordered_map
from ..store import Store
from ..variants import Planes, Sites, Texts
from .blocks import Site
from .calls import CallSource, OnProgress, Run


@dataclass(slots=True)
class ImportReport:
    """What an import made.

    Attributes
    ----------
    variants
        Of the panel; ``phased``, ``monomorphic`` (of one allele among the calls) and ``uncalled`` (no calls
        at all) are of these.
    rare
        Variants left out, as their rarer allele is rarer than ``--maf``.
    doubled_ids
        Variants whose id another one before has.
    blocks, bytes_out
        Of the panel.
    """

    variants: int = 0
    phased: int = 0
    monomorphic: int = 0
    uncalled: int = 0
    rare: int = 0
    doubled_ids: int = 0
    blocks: int = 0
    bytes_out: int = 0


def import_panel(
    source: CallSource,
    store: Store,
    *,
    min_maf: float = 0.0,
    workers: int = 1,
    replaces: bytes | None = None,
    provenance: dict[str, Any] | None = None,
    on_progress: OnProgress = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> ImportReport:
    """Make a panel of what a reader gives; where it fails, there is none, or the one that was there.

    Parameters
    ----------
    min_maf
        Leave variants out whose rarer allele has a smaller share of the called alleles.
    replaces
        The manifest that the new one takes the place of; None: there must be none.
    provenance
        What to keep in ``_provenance.json``.

    Raises
    ------
    InputError
        ``no-variants``, ``output-exists``, and what the reader says.

    Notes
    -----
    Holds a block for each worker and two more, 10 bytes a variant for ids that come twice, and the manifest.
    """
    stale = {key for key in store.list() if is_panel_key(key)} - {spec.MANIFEST_KEY, spec.PROVENANCE_KEY}
    writer = _Writer(source, store, min_maf)
    rows = writer.write(workers, on_progress)
    sealed = _seal(writer, rows, replaces)
    if sealed is None:
        _withdraw(writer)
        hint = "keep that panel, or run again with --force"
        message = f"{store.name} was written by another import meanwhile"
        raise InputError(message, kind="output-exists", hint=hint)
    try:
        if provenance is not None:
            store.put(spec.PROVENANCE_KEY, (json.dumps(provenance, indent=1) + "\n").encode())
        if store.get(spec.MANIFEST_KEY) == sealed:
            store.delete(*sorted(stale - writer.keys))
    except Bams3Error as err:
        on_warning(f"the panel is done, but: {err}")
    return writer.report


class _Block(NamedTuple):
    """A block that is to be written."""

    first: int
    sites: Sites
    planes: Planes
    contigs: list[str]


@dataclass(slots=True)
class _Writer:
    """The blocks of an import on their way.

    ``numbers`` are those of contigs that were met, ``lengths`` the variants of those that have some.
    """

    source: CallSource
    store: Store
    min_maf: float
    numbers: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    report: ImportReport = field(default_factory=ImportReport)
    _ids: list[Array] = field(default_factory=list)

    def write(self, workers: int, on_progress: OnProgress) -> list[BlockRow]:
        """Write all blocks."""
        with ThreadPoolExecutor(workers, "bams3-import") as pool:
            blocks = self._blocks(on_progress)
            rows = list(ordered_map(pool, self._put, blocks, workers + 1))
        self.report.doubled_ids = _doubled(self._ids)
        if not rows:
            left_out = f"; {self.report.rare:,} are rarer than --maf" * bool(self.report.rare)
            read = f"{self.source.path}: no variants for a panel in {self.source.counts.records:,} records"
            raise InputError(read + left_out, kind="no-variants", hint="look at --region and --maf")
        return rows

    def _blocks(self, on_progress: OnProgress) -> Iterator[_Block]:
        """Variants as blocks: full ones, but for texts that are too long, and the last."""
        most = block_variants(len(self.source.samples))
        held: list[tuple[Sites, Planes]] = []
        for run in self.source.runs(on_progress):
            kept = self._kept(run)
            held += [kept] if len(kept[0]) else []
            while n := _full(held, most):
                block, held = _cut(held, n)
                yield self._counted(*block)
        if held:
            yield self._counted(*_joined(held))

    def _counted(self, sites: Sites, planes: Planes) -> _Block:
        """A block of variants, with contigs numbered as they have variants."""
        report, minor = self.report, np.minimum(sites.n_alt, sites.n_alleles - sites.n_alt)
        first, report.variants = report.variants, report.variants + len(sites)
        report.phased += int(sites.is_phased.sum())
        report.uncalled += int((sites.n_alleles == 0).sum())
        report.monomorphic += int(((minor == 0) & (sites.n_alleles > 0)).sum())
        self._ids.append(np.fromiter(map(hash, sites.id), np.int64, len(sites)))
        names = list(self.numbers)
        for number, n in sites.contig_runs():
            self.lengths[names[number]] = self.lengths.get(names[number], 0) + n
        return _Block(first, sites, planes, names)

    def _kept(self, run: Run) -> tuple[Sites, Planes]:
        """Sites and planes of the variants that are frequent enough, counted."""
        n, rows, samples = len(run.sites), run.planes, len(self.source.samples)
        planes = Planes(rows.first[:n], rows.second[:n], rows.missing[:n], rows.haploid[:n])
        n_alt = count_bits(planes.first) + count_bits(planes.second)
        n_missing = count_bits(rows.missing[:n])
        n_alleles = 2 * (samples - n_missing) - count_bits(rows.haploid[:n])
        is_phased = np.asarray(run.is_phased, bool)
        sites = self._sites(run.sites, is_phased, n_alt, n_alleles, n_missing)
        if self.min_maf > 0:
            minor = np.minimum(n_alt, n_alleles - n_alt)
            keep = np.flatnonzero(minor / np.maximum(n_alleles, 1) >= self.min_maf)
            self.report.rare += n - len(keep)
            sites, planes = sites.take(keep), planes.take(keep)
        return sites, planes.between(0, len(sites))

    def _sites(
        self, sites: list[Site], is_phased: Array, n_alt: Array, n_alleles: Array, n_missing: Array
    ) -> Sites:
        numbers = self.numbers
        contigs, starts, ids, refs, alts = zip(*sites, strict=True)
        for name in contigs:
            numbers.setdefault(name, len(numbers))
        return Sites(
            contig=np.fromiter(map(numbers.__getitem__, contigs), np.int32, len(sites)),
            start_bp=np.array(starts, np.int64),
            id=Texts.of(ids),
            ref=Texts.of(refs),
            alt=Texts.of(alts),
            is_phased=is_phased,
            n_alt=n_alt,
            n_alleles=n_alleles,
            n_missing=n_missing,
        )

    def _put(self, block: _Block) -> BlockRow:
        """Write a block; from any thread."""
        sites, planes = block.sites, block.planes
        samples = len(self.source.samples)
        data, sites_bytes = build_block(block.first, samples, sites, planes, block.contigs)
        key = block_key(block.first, content_hash(data))
        self.store.put(key, data)
        view = memoryview(data)
        return BlockRow(
            first=block.first,
            n=len(sites),
            start_bp=int(sites.start_bp[0]),
            last_bp=int(sites.start_bp[-1]),
            key=key,
            sites=Range(0, sites_bytes, crc32(view[:sites_bytes])),
            planes=Range(sites_bytes, len(data) - sites_bytes, crc32(view[sites_bytes:])),
            n_phased=int(sites.is_phased.sum()),
            has_missing=planes.missing is not None,
            has_haploid=planes.haploid is not None,
        )


def _full(held: list[tuple[Sites, Planes]], most: int) -> int:
    """Variants of the next block if there are enough for one, else 0."""
    text = total = 0
    for sites, _ in held:
        ends = sites.id.start[1:] + sites.ref.start[1:] + sites.alt.start[1:]
        if len(ends) and text + ends[-1] >= spec.BLOCK_TEXT_BYTES:
            n = int(np.searchsorted(ends, spec.BLOCK_TEXT_BYTES - text)) + 1
            return min(total + n, most)
        text += int(ends[-1]) if len(ends) else 0
        total += len(ends)
        if total >= most:
            return most
    return 0


def _joined(held: list[tuple[Sites, Planes]]) -> tuple[Sites, Planes]:
    return Sites.joined([sites for sites, _ in held]), Planes.joined([planes for _, planes in held])


def _cut(held: list[tuple[Sites, Planes]], n: int) -> tuple[tuple[Sites, Planes], list[tuple[Sites, Planes]]]:
    """The first n variants, and the others."""
    sites, planes = _joined(held)
    block = sites.between(0, n), planes.between(0, n)
    rest = sites.between(n, len(sites)), planes.between(n, len(sites))
    return block, [rest] if len(sites) > n else []


def _doubled(hashes: list[Array]) -> int:
    """How many ids come after an equal one."""
    ordered = np.sort(np.concatenate([np.zeros(0, np.int64), *hashes]))
    return int((ordered[1:] == ordered[:-1]).sum())


def _seal(writer: _Writer, rows: list[BlockRow], replaces: bytes | None) -> bytes | None:
    """Write the names of samples, then the manifest, which makes the panel; None if another was faster."""
    names = "".join(f"{name}\n" for name in writer.source.samples).encode("utf-8", "surrogateescape")
    key = panel_manifest.samples_key(content_hash(names))
    manifest = PanelManifest(
        n_samples=len(writer.source.samples),
        n_variants=writer.report.variants,
        samples_key=key,
        samples=Range(0, len(names), crc32(names)),
        contigs=contig_ranges(list(writer.lengths.items())),
        blocks=rows,
    )
    data = manifest.render(block_variants(manifest.n_samples))
    writer.store.put(key, names)
    writer.keys |= {key, *(row.key for row in rows)}
    if replaces is None:
        written = writer.store.put_if_absent(spec.MANIFEST_KEY, data)
    elif not writer.keys <= set(writer.store.list()):
        written = (
            False  # another import took them for leftovers, and then wrote the very manifest that it replaced
        )
    else:
        written = writer.store.put_if_match(spec.MANIFEST_KEY, data, replaces)
    writer.report.blocks = len(rows)
    writer.report.bytes_out = sum(row.sites.size_bytes + row.planes.size_bytes for row in rows) + len(data)
    return data if written else None


def _withdraw(writer: _Writer) -> None:
    """Remove what an import wrote that lost, but for the objects that the winner names too."""
    with contextlib.suppress(Bams3Error):
        winner = panel_manifest.parse(writer.store.get(spec.MANIFEST_KEY))
        kept = {winner.samples_key, *(block.key for block in winner.blocks)}
        writer.store.delete(*sorted(writer.keys - kept))
