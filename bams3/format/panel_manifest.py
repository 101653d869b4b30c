"""The manifest of a panel, and the keys of its objects (FORMAT.md, section 18)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from . import spec
from .manifest import Range, checked_json, contig_table, corrupt_manifest, parse_count, render
from .panel_block import HEAD_BYTES, block_variants

_BLOCK_KEY = re.compile(r"blocks/[0-9]{10,}-[0-9a-f]{8}\.block")
_SAMPLES_KEY = re.compile(r"_samples-[0-9a-f]{8}\.txt")


def block_key(first: int, content_hash: int) -> str:
    """Key of the block whose first variant has this number."""
    return f"{spec.BLOCK_PREFIX}{first:010d}-{content_hash:08x}.block"


def samples_key(content_hash: int) -> str:
    return f"_samples-{content_hash:08x}.txt"


def is_panel_key(key: str) -> bool:
    """Whether a key is one that an import writes (or the aside of one): all else is the user's."""
    name = key.rpartition("/")[2]
    fixed = (spec.MANIFEST_KEY, spec.PROVENANCE_KEY)
    return bool(
        key in fixed
        or _BLOCK_KEY.fullmatch(key)
        or _SAMPLES_KEY.fullmatch(key)
        or (name.startswith(".") and name.endswith(".partial"))
    )


class ContigRange(NamedTuple):
    """A contig of a panel: its variants have the numbers ``first`` up to ``first + n``."""

    name: str
    first: int
    n: int


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block as the manifest describes it.

    Attributes
    ----------
    first, n
        Number of its first variant, and how many it has.
    start_bp, last_bp
        Positions of its first and its last variant.
    sites, planes
        Byte ranges of its head and sites, and of its planes.
    n_phased
        Phased variants.
    has_missing, has_haploid
        Whether it has these planes.
    """

    first: int
    n: int
    start_bp: int
    last_bp: int
    key: str
    sites: Range
    planes: Range
    n_phased: int
    has_missing: bool
    has_haploid: bool

    def as_json(self) -> dict[str, Any]:
        sites, planes = ([r.offset, r.size_bytes, r.crc32] for r in (self.sites, self.planes))
        return {
            "first": self.first,
            "variants": self.n,
            "start_bp": self.start_bp,
            "last_bp": self.last_bp,
            "key": self.key,
            "sites": sites,
            "planes": planes,
            "phased": self.n_phased,
            "missing": self.has_missing,
            "haploid": self.has_haploid,
        }

    @classmethod
    def of(cls, value: dict[str, Any]) -> BlockRow:
        row = cls(
            first=parse_count(value["first"]),
            n=parse_count(value["variants"]),
            start_bp=value["start_bp"],
            last_bp=value["last_bp"],
            key=value["key"],
            sites=Range.of(value["sites"]),
            planes=Range.of(value["planes"]),
            n_phased=parse_count(value["phased"]),
            has_missing=value["missing"],
            has_haploid=value["haploid"],
        )
        if not row.is_sane():
            raise corrupt_manifest("the manifest holds a malformed block")
        return row

    def is_sane(self) -> bool:
        """Whether its fields are of their types, and agree."""
        return (
            all(type(flag) is bool for flag in (self.has_missing, self.has_haploid))
            and all(type(bp) is int and -1 <= bp < 1 << 31 for bp in (self.start_bp, self.last_bp))
            and isinstance(self.key, str)
            and _BLOCK_KEY.fullmatch(self.key) is not None
            and self.sites.offset == 0
            and HEAD_BYTES <= self.sites.size_bytes <= spec.MAX_SITES_BYTES
            and self.planes.offset == self.sites.size_bytes
            and self.planes.size_bytes <= spec.MAX_SITES_BYTES
            and self.n_phased <= self.n
        )


@dataclass(frozen=True, slots=True)
class PanelManifest:
    """The parsed manifest of a panel.

    Attributes
    ----------
    n_samples, n_variants
        S and V.
    samples_key, samples
        The object that holds the names of samples, and all of its bytes.
    contigs
        In the order of the panel.
    blocks
        In the order of their variants, without gaps.
    """

    n_samples: int
    n_variants: int
    samples_key: str
    samples: Range
    contigs: list[ContigRange]
    blocks: list[BlockRow]

    def render(self, block_variants: int) -> bytes:
        """The manifest's bytes."""
        where = self.samples
        return render(
            {
                "format": spec.PANEL_FORMAT,
                "version": ".".join(map(str, spec.PANEL_VERSION)),
                "samples": self.n_samples,
                "variants": self.n_variants,
                "phased": sum(block.n_phased for block in self.blocks),
                "block_variants": block_variants,
                "block_bytes": sum(b.sites.size_bytes + b.planes.size_bytes for b in self.blocks),
                "names": {"key": self.samples_key, "range": [where.offset, where.size_bytes, where.crc32]},
                "contigs": [[contig.name, contig.n] for contig in self.contigs],
                "blocks": [block.as_json() for block in self.blocks],
            }
        )


def parse(data: bytes) -> PanelManifest:
    """Parse and check the manifest of a panel.

    Raises
    ------
    CorruptDataError
        ``bad-manifest``, ``newer-format`` or ``older-format``.
    InputError
        ``not-a-panel``: JSON of something else.
    """
    value = checked_json(data, spec.PANEL_FORMAT, spec.PANEL_VERSION, "panel", "genotypes")
    try:
        return _checked(value)
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise corrupt_manifest(f"the manifest lacks or garbles {err}") from err


def _checked(value: dict[str, Any]) -> PanelManifest:
    key, where = value["names"]["key"], Range.of(value["names"]["range"])
    if not (isinstance(key, str) and _SAMPLES_KEY.fullmatch(key)) or where.offset:
        raise corrupt_manifest(f"the manifest names an object {key!r}")
    manifest = PanelManifest(
        n_samples=parse_count(value["samples"]),
        n_variants=parse_count(value["variants"]),
        samples_key=key,
        samples=where,
        contigs=contig_ranges(contig_table(value["contigs"])),
        blocks=[BlockRow.of(block) for block in value["blocks"]],
    )
    _check_sums(manifest)
    return manifest


def contig_ranges(lengths: Sequence[tuple[str, int]]) -> list[ContigRange]:
    """Contigs with the numbers of their variants, from names and how many variants each has."""
    ends = accumulate(n for _, n in lengths)
    return [ContigRange(name, end - n, n) for (name, n), end in zip(lengths, ends, strict=True)]


def _check_sums(manifest: PanelManifest) -> None:
    at, most = 0, block_variants(manifest.n_samples)
    for block in manifest.blocks:
        if block.first != at or not 0 < block.n <= most:
            raise corrupt_manifest("the blocks of the manifest do not continue each other")
        at += block.n
    names = {contig.name for contig in manifest.contigs}
    whole = (
        at == manifest.n_variants == sum(contig.n for contig in manifest.contigs)
        and len(names) == len(manifest.contigs)
        and all(contig.n for contig in manifest.contigs)
        and 0 < manifest.n_samples < 1 << 31
    )
    if not whole:
        raise corrupt_manifest("the manifest contradicts itself")
