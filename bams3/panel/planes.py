"""Variants of a panel as LD reads them: what is known of each site, and genotypes as planes of bits.

Axes in docstrings: V variants, S samples, W words of 64 bits, ``(S + 63) // 64`` of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..columns import Array


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """V texts, one behind the other: nothing is made of them before it is asked for.

    Attributes
    ----------
    start
        (V + 1,) int64. Text v is ``data[start[v]:start[v + 1]]``.
    data
        uint8. UTF-8; bytes that are none come out as lone surrogates.
    """

    start: Array
    data: Array

    def __len__(self) -> int:
        return len(self.start) - 1

    def __getitem__(self, v: int) -> str:
        return _text(self.data[int(self.start[v]) : int(self.start[v + 1])].tobytes())

    def __iter__(self) -> Iterator[str]:
        data, start = self.data.tobytes(), self.start.tolist()
        return (_text(data[at:end]) for at, end in zip(start, start[1:], strict=False))

    def between(self, first: int, end: int) -> Texts:
        """Texts ``first`` up to ``end``."""
        start = self.start[first : end + 1]
        return Texts(start - start[0], self.data[int(start[0]) : int(start[-1])])


def texts_of(values: list[str]) -> Texts:
    """The texts of a list."""
    encoded = [value.encode("utf-8", "surrogateescape") for value in values]
    start = np.zeros(len(values) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(values)), out=start[1:])
    return Texts(start, np.frombuffer(b"".join(encoded), np.uint8))


def joined_texts(parts: list[Texts]) -> Texts:
    """Texts of several runs, end to end."""
    lengths = [np.diff(part.start) for part in parts]
    start = np.zeros(sum(map(len, lengths)) + 1, np.int64)
    np.cumsum(np.concatenate(lengths) if lengths else start[1:], out=start[1:])
    return Texts(start, np.concatenate([part.data for part in parts]) if parts else np.zeros(0, np.uint8))


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """V variants of a panel without their genotypes.

    Attributes
    ----------
    contig
        (V,) int32. Number of the contig in the panel.
    start_bp
        (V,) int64. 0-based; -1 where the place is not known (position 0 of a .bim).
    id, ref, alt
        V texts.
    is_phased
        (V,) bool. Whether both haplotypes of every sample are known.
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


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Genotypes of V variants: bit ``k % 64`` of word ``k // 64`` belongs to sample k.

    In all planes the bits of samples without a call are zero but in ``missing``, and those beyond the last
    sample are zero.

    Attributes
    ----------
    first, second
        (V, W) uint64. Alternate allele on the first and on the second haplotype; a haploid call has none on
        the second. Where a site is not phased, which of them a heterozygous call has it on says nothing.
    missing
        (V, W) uint64. Samples without a call; None where all have one.
    haploid
        (V, W) uint64. Samples with one allele; None where all calls have two.
    """

    first: Array
    second: Array
    missing: Array | None
    haploid: Array | None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
