"""What every reader of a panel gives: blocks of variants, and the promise that no id comes twice.

Axes in docstrings: V variants of a block, S samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ..columns import Array
from ..errors import InputError
from ..slices import Slice

AA, AB, BB, MISSING = range(4)
"""What a code says of a sample: two references, one of each, two alternates, or an allele is not known."""

Note = Callable[[str], None]

_BLOCK_CODES = 1 << 20
_BLOCK_VARIANTS = 4096
_IDS_AT_ONCE = 4096


class Site(NamedTuple):
    """A variant without its genotypes; ``start_bp`` is 0-based, and -1 where the place is not known."""

    contig: str
    start_bp: int
    id: str
    ref: str
    alt: str

    def __str__(self) -> str:
        return f"{self.contig}:{self.start_bp + 1} {self.ref}>{self.alt}"


@dataclass(frozen=True, slots=True)
class VariantBlock:
    """V variants of a panel in its order, and the genotypes of its S samples.

    Attributes
    ----------
    sites
        (V,) Contig, position, id, reference and alternate allele of each.
    codes
        (V, S) uint8. AA, AB, BB or MISSING of this module.
    """

    sites: list[Site]
    codes: Array


class Panel(Protocol):
    """Genotypes of samples, read front to back as often as asked."""

    @property
    def path(self) -> Path:
        """The file that messages name."""

    @property
    def samples(self) -> tuple[str, ...]:
        """(S,) Names of its samples, none twice."""

    def blocks(self, which: Slice | None = None, *, unique: bool = False) -> Iterator[VariantBlock]:
        """Its variants, or those whose number k from 0 has ``k % n == i - 1`` for the slice ``i/n``.

        Parameters
        ----------
        which
            Every slice reads all sites, so that it counts variants as the others do, and decodes its own.
        unique
            Whether an id that comes twice, be it in other slices, is an error.

        Raises
        ------
        InputError
            kind ``doubled-probeset``, ``no-variants``.
        CorruptDataError
            What the file's reader says of it.
        """


def is_own(number: int, which: Slice | None) -> bool:
    """Whether a variant lies in a slice; slices interleave, for neighbours cost alike."""
    return which is None or number % which.n == which.i - 1


def block_variants(samples: int) -> int:
    """Variants of a block: a million codes, so that memory does not grow with the panel."""
    return max(1, min(_BLOCK_VARIANTS, _BLOCK_CODES // max(samples, 1)))


def id_or_place(name: str | None, contig: str, start_bp: int, ref: str, alt: str) -> str:
    """The id of a variant, or CHROM_POS_REF_ALT where a file has none."""
    return name if name and name != "." else f"{contig}_{start_bp + 1}_{ref}_{alt}"


class UniqueIds:
    """Refuses the second variant of an id.

    Parameters
    ----------
    file
        Whom the message names.
    find
        What variant number k is, and the words for where it is; asked only of a pair that may be one.
    hint
        How variants get ids of their own.

    Notes
    -----
    Holds 16 bytes a variant: hashes in sorted runs, merged as they grow. Equal hashes are looked up before
    they are called equal ids.
    """

    def __init__(self, file: Path, find: Callable[[int], tuple[Site, str]], hint: str) -> None:
        self._file, self._find, self._hint = file, find, hint
        self._pending: list[str] = []
        self._runs: list[tuple[Array, Array]] = []
        self._seen = 0

    def add(self, name: str) -> None:
        """The id of the next variant; the refusal may come some variants later."""
        self._pending.append(name)
        if len(self._pending) == _IDS_AT_ONCE:
            self.check()

    def check(self) -> None:
        """Compare what was added since the last time; call it once more at the end.

        Raises
        ------
        InputError
            kind ``doubled-probeset``.
        """
        keys, numbers = self._next_run()
        order = np.flatnonzero(keys[1:] == keys[:-1])
        self._refuse(numbers[order], numbers[order + 1])
        for old_keys, old_numbers in self._runs:
            at = np.minimum(np.searchsorted(old_keys, keys), len(old_keys) - 1)
            twin = old_keys[at] == keys
            self._refuse(old_numbers[at[twin]], numbers[twin])
        while self._runs and len(self._runs[-1][0]) <= len(keys):
            old_keys, old_numbers = self._runs.pop()
            keys, numbers = _sorted(np.append(old_keys, keys), np.append(old_numbers, numbers))
        if len(keys):
            self._runs.append((keys, numbers))

    def _next_run(self) -> tuple[Array, Array]:
        names, self._pending = self._pending, []
        keys = np.fromiter(map(hash, names), np.int64, len(names))
        numbers = np.arange(self._seen, self._seen + len(names))
        self._seen += len(names)
        return _sorted(keys, numbers)

    def _refuse(self, firsts: Sequence[int] | Array, seconds: Sequence[int] | Array) -> None:
        for first, second in zip(firsts, seconds, strict=True):
            (one, where), (other, elsewhere) = self._find(int(first)), self._find(int(second))
            if one.id == other.id:
                message = f"{self._file}: {one.id} is the id of two variants, {where} and {elsewhere}"
                raise InputError(message, kind="doubled-probeset", hint=self._hint)


def _sorted(keys: Array, numbers: Array) -> tuple[Array, Array]:
    order = np.argsort(keys, kind="stable")
    return keys[order], numbers[order]
