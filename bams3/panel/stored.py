"""A stored panel, open for reading: sites and planes of any run of its variants."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ..columns import Array
from ..errors import CorruptDataError, InputError
from ..format import panel_manifest, spec
from ..format.directory import crc32
from ..format.manifest import Range
from ..format.panel_block import HEAD_BYTES, Head, corrupt_block, parse_head, parse_planes, parse_sites
from ..format.panel_manifest import BlockRow, ContigRange, PanelManifest
from ..rowgroups import Objects
from ..store import AS_CONFIGURED, S3Options, Store, store_at
from ..store.base import MissingObjectError
from ..variants import Planes, Sites

T = TypeVar("T")


class StoredPanel:
    """A panel whose manifest and samples are read; sites and planes are read when they are asked for.

    Attributes
    ----------
    name
        How a user would write it.
    samples
        (S,) Names, in the order of their bits.
    n_variants
        V.
    n_phased
        Variants whose site is phased.
    has_missing, has_haploid
        Whether any variant has samples without a call, or with one allele.
    identity
        Changes with every byte of the panel: 64 hex digits.
    contigs
        Those with variants, in the order of the panel; the variants of each lie together, by position.
    block_starts
        (blocks,) int64. Numbers of the variants that stored blocks begin with.

    Raises
    ------
    InputError
        ``not-a-panel``: there is no manifest, or one of something else.
    CorruptDataError
        ``bad-manifest``, ``newer-format``, ``older-format``, ``bad-checksum``, ``missing-object``.

    Notes
    -----
    Safe to use from threads. Keeps nothing of what it reads but the manifest, 400 bytes a block, and the
    names of samples.
    """

    def __init__(self, store: Store) -> None:
        try:
            data = store.get(spec.MANIFEST_KEY)
        except MissingObjectError as err:
            hint = "give the folder or prefix that bams3 ld-import made"
            raise InputError(f"{store.name} is not a panel", kind="not-a-panel", hint=hint) from err
        self.store, self.name = store, store.name
        self._manifest = self._parsed(data)
        self._objects = Objects(store, data)
        self.identity = hashlib.sha256(data).hexdigest()
        self.n_variants, self.contigs = self._manifest.n_variants, self._manifest.contigs
        blocks = self._manifest.blocks
        self.n_phased = sum(block.n_phased for block in blocks)
        self.has_missing = any(block.has_missing for block in blocks)
        self.has_haploid = any(block.has_haploid for block in blocks)
        self.block_starts: Array = np.array([block.first for block in blocks], np.int64)
        self.samples = self._read_samples()

    def sites(self, first: int, end: int) -> Sites:
        """The variants with numbers ``first`` up to ``end``, without their genotypes.

        Raises
        ------
        CorruptDataError
            ``bad-checksum``, ``bad-block``, ``bad-column``, ``missing-object``: the object is named.

        Notes
        -----
        One request for each block that they lie in, of its sites alone.
        """
        return Sites.joined(
            [
                self._block(block, block.sites, self._sites_of).between(low, high)
                for block, low, high in self._meeting(first, end)
            ]
        )

    def planes(self, first: int, end: int) -> Planes:
        """The genotypes of the variants with numbers ``first`` up to ``end``.

        Raises
        ------
        CorruptDataError
            As for sites.

        Notes
        -----
        One request for each block that they lie in, of its planes alone; a block is 4 MiB at most for each
        pair of planes. What lies in one block is not copied, and cannot be written to.
        """
        return Planes.joined(
            [
                self._block(block, block.planes, self._planes_of).between(low, high)
                for block, low, high in self._meeting(first, end)
            ]
        )

    def contig_of(self, name: str) -> ContigRange:
        """A contig by its name.

        Raises
        ------
        InputError
            ``unknown-contig``.
        """
        for contig in self.contigs:
            if contig.name == name:
                return contig
        names = ", ".join(contig.name for contig in self.contigs[:3]) + ", ..." * (len(self.contigs) > 3)
        message = f"{name} is not in {self.name} ({len(self.contigs):,} contigs)"
        raise InputError(message, kind="unknown-contig", hint=f"its contigs are {names}")

    # -- reading --

    def _parsed(self, data: bytes) -> PanelManifest:
        try:
            return panel_manifest.parse(data)
        except (CorruptDataError, InputError) as err:
            raise type(err)(f"{self.name}: {err}", kind=err.kind, hint=err.hint) from err

    def _read_samples(self) -> tuple[str, ...]:
        where = self._manifest.samples
        if where.size_bytes > spec.MAX_INDEX_RANGE_BYTES:
            raise CorruptDataError(f"{self.name}: too many names of samples", kind="bad-manifest")
        text = bytes(self._range(self._manifest.samples_key, where)).decode("utf-8", "surrogateescape")
        names = tuple(text.split("\n")[:-1])
        if len(names) != self._manifest.n_samples or len(set(names)) != len(names):
            message = f"{self.name}/{self._manifest.samples_key}: not a name for each sample"
            raise CorruptDataError(message, kind="bad-manifest")
        return names

    def _range(self, key: str, where: Range) -> memoryview:
        def check(data: memoryview) -> None:
            if len(data) != where.size_bytes or crc32(data) != where.crc32:
                raise self._objects.bad_checksum(key, where.offset, where.offset + where.size_bytes)

        return self._objects.read(key, where.offset, where.size_bytes, check)

    def _block(self, block: BlockRow, where: Range, parse: Callable[[BlockRow, memoryview], T]) -> T:
        """One part of a block, parsed; what is wrong with it is said with its name and bytes."""
        data = self._range(block.key, where)
        try:
            return parse(block, data)
        except CorruptDataError as err:
            at = f"{self.name}/{block.key}: bytes {where.offset}-{where.offset + where.size_bytes}"
            raise CorruptDataError(f"{at}: {err}", kind=err.kind, hint=err.hint) from err

    def _sites_of(self, block: BlockRow, data: memoryview) -> Sites:
        head = parse_head(data)
        due = Head(
            *(self._manifest.n_samples, block.n, block.first),
            *(block.sites.size_bytes - HEAD_BYTES, block.planes.size_bytes),
            *(crc32(data[HEAD_BYTES:]), block.planes.crc32),
        )
        if head != due:
            raise corrupt_block("the head is not that of the block in the manifest")
        sites, runs = parse_sites(data[HEAD_BYTES:], block.n, self._manifest.n_samples)
        numbers = self._contigs_of(block, runs)
        places = int(sites.start_bp[0]), int(sites.start_bp[-1]), int(sites.is_phased.sum())
        if places != (block.start_bp, block.last_bp, block.n_phased):
            raise corrupt_block("the sites are not those of the block in the manifest")
        return replace(sites, contig=numbers[sites.contig])

    def _contigs_of(self, block: BlockRow, runs: list[tuple[str, int]]) -> Array:
        """(runs,) int32. Numbers of the contigs of a block, which the manifest says too."""
        starts = [contig.first for contig in self.contigs]
        number, at, numbers = bisect_right(starts, block.first) - 1, block.first, []
        for name, n in runs:
            if number == len(self.contigs) or self.contigs[number].name != name:
                break
            numbers.append(number)
            at += n
            contig = self.contigs[number]
            number += at == contig.first + contig.n
        if len(set(numbers)) != len(runs) or any(
            self._overlap(block, number) != n for number, (_, n) in zip(numbers, runs, strict=True)
        ):
            raise corrupt_block("the contigs are not those of the block in the manifest")
        return np.array(numbers, np.int32)

    def _overlap(self, block: BlockRow, number: int) -> int:
        """How many variants of a contig lie in a block."""
        contig = self.contigs[number]
        return min(block.first + block.n, contig.first + contig.n) - max(block.first, contig.first)

    def _planes_of(self, block: BlockRow, data: memoryview) -> Planes:
        planes = parse_planes(data, block.n, self._manifest.n_samples)
        if (planes.missing is not None, planes.haploid is not None) != (block.has_missing, block.has_haploid):
            raise corrupt_block("the planes are not those of the block in the manifest")
        return planes

    def _meeting(self, first: int, end: int) -> Iterator[tuple[BlockRow, int, int]]:
        """Blocks that a run of variants lies in, and from where to where, counted from each block's first."""
        if not 0 <= first < end <= self.n_variants:
            raise ValueError(f"variants {first} to {end} of {self.n_variants}")
        number = int(np.searchsorted(self.block_starts, first, side="right")) - 1
        for block in self._manifest.blocks[number:]:
            if block.first >= end:
                return
            yield block, max(first - block.first, 0), min(end - block.first, block.n)


def open_panel(where: str, s3: S3Options = AS_CONFIGURED) -> StoredPanel:
    """The panel in a local folder or below an S3 address; as StoredPanel.

    Raises
    ------
    InputError
        ``unknown-scheme``, ``bad-address``.
    """
    return StoredPanel(store_at(where, s3))
