"""Variants of a panel in memory: what is known of each site, and genotypes as planes of bits.

Axes in docstrings: V variants, S samples, W words of 64 bits, ``(S + 63) // 64`` of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from .columns import Array


def words_of(samples: int) -> int:
    """Words of a row of a plane."""
    return (samples + 63) // 64


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """V texts, one behind the other: no strings are made before they are asked for.

    Attributes
    ----------
    start
        (V + 1,) int64. Text v is ``data[start[v]:start[v + 1]]``.
    data
        uint8. UTF-8; bytes that are none come out as lone surrogates.
    """

    start: Array
    data: Array

    @classmethod
    def of(cls, values: Sequence[str]) -> Texts:
        """The texts of strings."""
        encoded = [value.encode("utf-8", "surrogateescape") for value in values]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls(starts_of(lengths), np.frombuffer(b"".join(encoded), np.uint8))

    @classmethod
    def joined(cls, parts: Sequence[Texts]) -> Texts:
        """The texts of several, end to end."""
        if len(parts) == 1:
            return parts[0]
        lengths = [np.zeros(0, np.int64), *(np.diff(part.start) for part in parts)]
        data = [np.zeros(0, np.uint8), *(part.data for part in parts)]
        return cls(starts_of(np.concatenate(lengths)), np.concatenate(data))

    def __len__(self) -> int:
        return len(self.start) - 1

    def __getitem__(self, v: int) -> str:
        return _text(self.data[int(self.start[v]) : int(self.start[v + 1])].tobytes())

    def __iter__(self) -> Iterator[str]:
        data = self.data.tobytes()
        return (_text(data[at:end]) for at, end in pairwise(self.start.tolist()))

    def between(self, first: int, end: int) -> Texts:
        """Texts ``first`` up to ``end``."""
        start = self.start[first : end + 1]
        return Texts(start - start[0], self.data[int(start[0]) : int(start[-1])])

    def take(self, numbers: Array) -> Texts:
        """Some of the texts."""
        lengths = np.diff(self.start)[numbers]
        start = starts_of(lengths)
        at = np.repeat(self.start[:-1][numbers] - start[:-1], lengths) + np.arange(start[-1])
        return Texts(start, self.data[at])


def starts_of(lengths: Array) -> Array:
    """(V + 1,) int64. Where texts of some lengths begin, and the last ends."""
    start = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=start[1:])
    return start


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """V variants of a panel without their genotypes.

    Attributes
    ----------
    contig
        (V,) int32. Number of the contig in the panel.
    start_bp
        (V,) int64. 0-based; -1 where the place is not known (position 0 of a file).
    id, ref, alt
        V texts.
    is_phased
        (V,) bool. Whether it is known which alleles lie on one haplotype with those of other phased sites.
    n_alt
        (V,) int64. Alternate alleles.
    n_alleles
        (V,) int64. Alleles that were called: two of a diploid call, one of a haploid one.
    n_missing
        (V,) int64. Samples without a call.
    """

    contig: Array
    start_bp: Array
    id: Texts
    ref: Texts
    alt: Texts
    is_phased: Array
    n_alt: Array
    n_alleles: Array
    n_missing: Array

    def __len__(self) -> int:
        return len(self.start_bp)

    def between(self, first: int, end: int) -> Sites:
        """Variants ``first`` up to ``end``."""

        def cut(column: Any) -> Any:
            return column.between(first, end) if isinstance(column, Texts) else column[first:end]

        return Sites(*(cut(getattr(self, name)) for name in _SITE_FIELDS))

    def take(self, numbers: Array) -> Sites:
        """Some of the variants."""

        def take(column: Any) -> Any:
            return column.take(numbers) if isinstance(column, Texts) else column[numbers]

        return Sites(*(take(getattr(self, name)) for name in _SITE_FIELDS))

    def contig_runs(self) -> list[tuple[int, int]]:
        """(contig, variants) of every run of variants on one contig."""
        begin = np.flatnonzero(np.diff(self.contig, prepend=-1))
        lengths = np.diff(begin, append=len(self.contig))
        return list(zip(self.contig[begin].tolist(), lengths.tolist(), strict=True))

    @classmethod
    def joined(cls, parts: Sequence[Sites]) -> Sites:
        """The variants of several, end to end; one at least."""

        def join(columns: list[Any]) -> Any:
            return Texts.joined(columns) if isinstance(columns[0], Texts) else np.concatenate(columns)

        if len(parts) == 1:
            return parts[0]
        return cls(*(join([getattr(part, name) for part in parts]) for name in _SITE_FIELDS))


_SITE_FIELDS = tuple(field.name for field in fields(Sites))


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Genotypes of V variants: bit ``k % 64`` of word ``k // 64`` belongs to sample k.

    The bits of a sample without a call are zero but in ``missing``; those beyond the last sample are zero.

    Attributes
    ----------
    first, second
        (V, W) uint64. An alternate allele on the first, on the second haplotype; a haploid call has none on
        the second. Which of them it is says nothing where a site is not phased.
    missing
        (V, W) uint64. Samples without a call; None where there are none.
    haploid
        (V, W) uint64. Samples with one allele; None where there are none.
    """

    first: Array
    second: Array
    missing: Array | None
    haploid: Array | None

    def __len__(self) -> int:
        return len(self.first)

    def between(self, first: int, end: int) -> Planes:
        """Variants ``first`` up to ``end``, without planes that are zero there."""
        missing, haploid = (
            plane[first:end] if plane is not None and plane[first:end].any() else None
            for plane in (self.missing, self.haploid)
        )
        return Planes(self.first[first:end], self.second[first:end], missing, haploid)

    def take(self, numbers: Array) -> Planes:
        """Some of the variants."""
        missing, haploid = (
            None if plane is None else plane[numbers] for plane in (self.missing, self.haploid)
        )
        return Planes(self.first[numbers], self.second[numbers], missing, haploid)

    @classmethod
    def joined(cls, parts: Sequence[Planes]) -> Planes:
        """The genotypes of several, end to end; one at least."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.first for part in parts]),
            np.concatenate([part.second for part in parts]),
            _joined_optional(parts, [part.missing for part in parts]),
            _joined_optional(parts, [part.haploid for part in parts]),
        )


def _joined_optional(parts: Sequence[Planes], planes: Sequence[Array | None]) -> Array | None:
    """Planes end to end, zeros where there are none; None where there are none at all."""
    if all(plane is None for plane in planes):
        return None
    pairs = zip(parts, planes, strict=True)
    return np.concatenate([np.zeros_like(part.first) if plane is None else plane for part, plane in pairs])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
