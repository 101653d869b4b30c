"""A block of a panel: consecutive variants, their sites and their planes, read apart (FORMAT.md, section 18).

head | sites: frames | planes: frames
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..columns import Array
from ..errors import CorruptDataError
from ..variants import Planes, Sites, Texts, starts_of, words_of
from . import spec
from .codecs import expect, from_planes, to_planes, unzigzag, zigzag
from .directory import crc32
from .frames import PLAIN_ZSTD, pack_frames, unpack_frames
from .versions import check_version

_HEAD = struct.Struct("<8sHHIIQIIII")
_HEAD_CRC = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _HEAD_CRC.size

_HAS_MISSING, _HAS_HAPLOID = 1, 2
_NUMBERS = ("n_alt", "n_alleles", "n_missing")
_TEXTS = ("id", "ref", "alt")
#: Streams of the sites: contigs, 4 planes of each number, phase, and 5 streams of each text.
_SITE_STREAMS = 1 + 4 * (1 + len(_NUMBERS)) + 1 + 5 * len(_TEXTS)


def corrupt_block(message: str) -> CorruptDataError:
    return CorruptDataError(message, kind="bad-block")


def block_variants(samples: int) -> int:
    """Most variants of a block: a power of two, of 4 MiB of first and second planes, and not above 65,536."""
    fitting = spec.BLOCK_PLANE_BYTES // (16 * max(words_of(samples), 1))
    return min(spec.BLOCK_VARIANTS, 1 << max(fitting.bit_length() - 1, 0))


@dataclass(frozen=True, slots=True)
class Head:
    """What a block says of itself; the sites begin at HEAD_BYTES, the planes behind them."""

    samples: int
    variants: int
    first: int
    sites_bytes: int
    planes_bytes: int
    sites_crc32: int
    planes_crc32: int


def build_block(
    first: int, samples: int, sites: Sites, planes: Planes, contigs: Sequence[str]
) -> tuple[bytes, int]:
    """The bytes of a block, and how many of them are head and sites.

    Parameters
    ----------
    first
        Number of its first variant in the panel.
    contigs
        Names that ``sites.contig`` numbers.
    """
    site_part = pack_frames(_site_streams(sites, contigs), PLAIN_ZSTD)
    plane_part = pack_frames(_plane_streams(planes), PLAIN_ZSTD)
    head = _HEAD.pack(
        *(spec.BLOCK_MAGIC, *spec.PANEL_VERSION, samples, len(sites), first),
        *(len(site_part), len(plane_part), crc32(site_part), crc32(plane_part)),
    )
    head += _HEAD_CRC.pack(crc32(head))
    return b"".join((head, site_part, plane_part)), len(head) + len(site_part)


def parse_head(data: bytes | memoryview) -> Head:
    """The head of a block, from the bytes that it begins with.

    Raises
    ------
    CorruptDataError
        ``bad-block``: not a block, cut short, a wrong checksum; ``newer-format``, ``older-format``.
    """
    if len(data) < HEAD_BYTES or bytes(data[:8]) != spec.BLOCK_MAGIC:
        raise corrupt_block("this is not a block of a panel")
    _, major, minor, *sizes = _HEAD.unpack_from(data)
    samples, variants, first, sites_bytes, planes_bytes, sites_crc32, planes_crc32 = sizes
    check_version((major, minor), spec.PANEL_VERSION, "panel", "genotypes")
    if crc32(data[: _HEAD.size]) != _HEAD_CRC.unpack_from(data, _HEAD.size)[0]:
        raise corrupt_block(f"the block's head (bytes 0-{HEAD_BYTES}) does not match its checksum")
    return Head(samples, variants, first, sites_bytes, planes_bytes, sites_crc32, planes_crc32)


# ---- sites ----


def _site_streams(sites: Sites, contigs: Sequence[str]) -> list[Any]:
    runs = [[contigs[number], n] for number, n in sites.contig_runs()]
    text = json.dumps({"contigs": runs}, separators=(",", ":")).encode()
    start = sites.start_bp.astype("<i4").view("<u4")
    streams: list[Any] = [text, *to_planes(zigzag(np.diff(start, prepend=np.uint32(0))), 4)]
    for name in _NUMBERS:
        streams += to_planes(getattr(sites, name).astype("<u4"), 4)
    streams.append(sites.is_phased.astype(np.uint8))
    for name in _TEXTS:
        texts: Texts = getattr(sites, name)
        streams += [*to_planes(np.diff(texts.start).astype("<u4"), 4), texts.data]
    return streams


def parse_sites(data: bytes | memoryview, n: int, samples: int) -> tuple[Sites, list[tuple[str, int]]]:
    """The n variants of a site part, and (name, variants) of each run of one contig.

    ``Sites.contig`` numbers these runs.

    Raises
    ------
    CorruptDataError
        ``bad-block``, ``bad-column``.
    """
    streams = unpack_frames(data, spec.MAX_SITES_BYTES)
    expect(streams, _SITE_STREAMS)
    runs = _parse_runs(streams[0].tobytes(), n)
    start, *numbers = (from_planes(streams[at : at + 4], "<u4") for at in range(1, 17, 4))
    if any(column.size != n for column in (start, *numbers, streams[17])):
        raise corrupt_block("a column of the sites does not have a value for each variant")
    ids, ref, alt = (_parse_texts(streams[at : at + 5], n) for at in range(18, _SITE_STREAMS, 5))
    start_bp = np.cumsum(unzigzag(start), dtype=np.uint32).view(np.int32).astype(np.int64)
    n_alt, n_alleles, n_missing = (column.astype(np.int64) for column in numbers)
    contig = np.repeat(np.arange(len(runs), dtype=np.int32), [length for _, length in runs])
    is_phased = streams[17].astype(bool)
    sites = Sites(contig, start_bp, ids, ref, alt, is_phased, n_alt, n_alleles, n_missing)
    _check_sites(sites, streams[17], samples)
    return sites, runs


def _parse_runs(text: bytes, n: int) -> list[tuple[str, int]]:
    try:
        runs = [(name, length) for name, length in json.loads(text)["contigs"]]
        if all(isinstance(name, str) and type(length) is int and length > 0 for name, length in runs) and (
            sum(length for _, length in runs) == n
        ):
            return runs
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise corrupt_block("the contigs of a block are garbled")


def _parse_texts(streams: list[Array], n: int) -> Texts:
    lengths = from_planes(streams[:4], "<u4")
    if lengths.size != n or int(lengths.sum(dtype=np.uint64)) != streams[4].size:
        raise corrupt_block("lengths of texts do not add up to their bytes")
    return Texts(starts_of(lengths), streams[4])


def _check_sites(sites: Sites, phased: Array, samples: int) -> None:
    back = np.diff(sites.start_bp) < 0
    sane = (
        not (back & (np.diff(sites.contig) == 0)).any()
        and (sites.start_bp >= -1).all()
        and (phased <= 1).all()
        and (sites.n_missing <= samples).all()
        and (sites.n_alt <= sites.n_alleles).all()
        and (sites.n_alleles <= 2 * (samples - sites.n_missing)).all()
        and (sites.n_alleles >= samples - sites.n_missing).all()
    )
    if not sane:
        raise corrupt_block("the sites of a block contradict each other")


# ---- planes ----


def _plane_streams(planes: Planes) -> list[Any]:
    flags = _HAS_MISSING * (planes.missing is not None) | _HAS_HAPLOID * (planes.haploid is not None)
    given = (planes.first, planes.second, planes.missing, planes.haploid)
    return [bytes([flags]), *(plane for plane in given if plane is not None)]


def parse_planes(data: bytes | memoryview, n: int, samples: int) -> Planes:
    """The planes (n, W) of a plane part.

    Raises
    ------
    CorruptDataError
        ``bad-block``, ``bad-column``.
    """
    size_bytes = 8 * n * words_of(samples)
    streams = unpack_frames(data, 1 + 4 * size_bytes)
    flags = int(streams[0][0]) if streams and streams[0].size == 1 else -1
    if not 0 <= flags <= _HAS_MISSING | _HAS_HAPLOID:
        raise corrupt_block("a block does not say which planes it has")
    expect(streams, 3 + bool(flags & _HAS_MISSING) + bool(flags & _HAS_HAPLOID))
    if any(stream.size != size_bytes for stream in streams[1:]):
        raise corrupt_block("a plane does not have a bit for each sample of each variant")
    first, second, *more = (stream.view("<u8").reshape(n, -1) for stream in streams[1:])
    missing = more.pop(0) if flags & _HAS_MISSING else None
    haploid = more.pop(0) if flags & _HAS_HAPLOID else None
    planes = Planes(first, second, missing, haploid)
    _check_planes(planes, samples)
    return planes


def _check_planes(planes: Planes, samples: int) -> None:
    """Whether bits are where they may be: kernels count on it."""
    given = [planes.first, planes.second, planes.missing, planes.haploid]
    apart = (0, 2), (1, 2), (3, 2), (1, 3)
    beyond = ~np.uint64((1 << (samples % 64 or 64)) - 1)
    overlap = any(
        a is not None and b is not None and (a & b).any() for a, b in ((given[i], given[k]) for i, k in apart)
    )
    if overlap or any(plane is not None and (plane[:, -1:] & beyond).any() for plane in given):
        raise corrupt_block("a plane has bits where none may be")
