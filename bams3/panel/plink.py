"""Panels from PLINK 1: .bed, .bim and .fam.

NumPy reads a .bed as fast as a library of its own would, in 20 lines: a byte is a row of a table of 256.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..columns import Array
from ..errors import CorruptDataError, InputError
from ..slices import Slice
from .blocks import (
    AA,
    AB,
    BB,
    MISSING,
    Note,
    Site,
    UniqueIds,
    VariantBlock,
    block_variants,
    id_or_place,
    is_own,
)

_MAGIC = b"\x6c\x1b"
_SAMPLE_MAJOR, _VARIANT_MAJOR = 0, 1
_HEADER_BYTES = 3

# What two bits say, the lowest first: two of allele 1, missing, one of each, two of allele 2.
_OF_BITS = np.array([BB, MISSING, AB, AA], np.uint8)
_OF_BYTE = _OF_BITS[np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & 3].copy().view(np.uint32)[:, 0]


class PlinkPanel:
    """The genotypes of a PLINK 1 fileset.

    A, the reference, is allele 2 (the sixth column of the .bim, where PLINK keeps the reference or the major
    allele), B is allele 1. A sample's name is its IID; where an IID comes twice, all are named ``FID_IID``.
    An id is that of the .bim, or CHROM_POS_A2_A1 where that is ``.``.

    Parameters
    ----------
    prefix
        The path of the three files without .bed, .bim and .fam.
    on_note
        Told, at once, where samples are named by FID and IID.

    Raises
    ------
    InputError
        kind ``no-such-file``, ``not-a-file``, ``not-readable``, ``not-a-panel``, ``bad-fam``,
        ``doubled-sample``, ``no-samples``, ``no-variants``.
    CorruptDataError
        kind ``bad-size``: the .bed is not as long as the other two say.
    """

    def __init__(self, prefix: Path, *, on_note: Note | None = None) -> None:
        self.path, self._bim, fam = (prefix.with_name(prefix.name + end) for end in (".bed", ".bim", ".fam"))
        for path in (self.path, self._bim, fam):
            check_there(path)
        self.samples = _samples(fam, on_note)
        self._row_bytes = (len(self.samples) + 3) // 4
        self._variants = sum(1 for _ in rows_of(self._bim, "bad-bim"))
        if not self._variants:
            raise InputError(f"{self._bim}: has no variants", kind="no-variants")
        self._check_bed()

    def blocks(self, which: Slice | None = None, *, unique: bool = False) -> Iterator[VariantBlock]:
        """See ``Panel.blocks``.

        Raises
        ------
        InputError
            kind ``bad-bim``, ``doubled-probeset``.
        CorruptDataError
            kind ``input-changed``: the .bed became shorter meanwhile.
        """
        ids = UniqueIds(self._bim, self._find, _UNIQUE_HINT) if unique else None
        most, sites = block_variants(len(self.samples)), list[Site]()
        first, step = (which.i - 1, which.n) if which else (0, 1)
        with self.path.open("rb") as file:
            for number, site in enumerate(self.sites()):
                if ids is not None:
                    ids.add(site.id)
                if is_own(number, which):
                    sites.append(site)
                if len(sites) == most:
                    yield VariantBlock(sites, self._codes(file.fileno(), range(first, number + 1, step)))
                    sites, first = [], number + step
            if ids is not None:
                ids.check()
            if sites:
                yield VariantBlock(sites, self._codes(file.fileno(), range(first, self._variants, step)))

    def _codes(self, file: int, numbers: range) -> Array:
        """(V, S) uint8. The genotypes of some variants."""
        size = self._row_bytes
        if numbers.step == 1:
            raw = os.pread(file, len(numbers) * size, _HEADER_BYTES + numbers.start * size)
        else:
            raw = b"".join(os.pread(file, size, _HEADER_BYTES + number * size) for number in numbers)
        if len(raw) != len(numbers) * size:
            raise CorruptDataError(f"{self.path}: became shorter while it was read", kind="input-changed")
        codes: Array = _OF_BYTE[np.frombuffer(raw, np.uint8)].view(np.uint8).reshape(len(numbers), -1)
        return codes[:, : len(self.samples)]

    def sites(self) -> Iterator[Site]:
        """Every variant without its genotypes; InputError ``bad-bim``."""
        for line, cells in rows_of(self._bim, "bad-bim"):
            if len(cells) != 6:
                message = f"{self._bim} line {line}: {len(cells)} columns where a .bim has 6"
                hint = "they are: contig, id, centimorgans, position, allele 1, allele 2"
                raise InputError(message, kind="bad-bim", hint=hint)
            contig, name, _, position, b, a = cells
            if not (position.isascii() and position.isdigit() and len(position) < 18):
                hint = "plink --make-bed leaves out what has a negative one" * position.startswith("-")
                message = f"{self._bim} line {line} column 4: {position!r} is not a position"
                raise InputError(message, kind="bad-bim", hint=hint)
            start_bp = int(position) - 1
            yield Site(contig, start_bp, id_or_place(name, contig, start_bp, a, b), a, b)

    def _find(self, number: int) -> tuple[Site, str]:
        return next((site, f"variant {k + 1} ({site})") for k, site in enumerate(self.sites()) if k == number)

    def _check_bed(self) -> None:
        with self.path.open("rb") as file:
            start, size = file.read(_HEADER_BYTES), os.fstat(file.fileno()).st_size
        if start[:2] != _MAGIC or (len(start) > 2 and start[2] not in (_SAMPLE_MAJOR, _VARIANT_MAJOR)):
            message = f"{self.path}: not a PLINK 1 .bed file: it starts with {start.hex(' ') or 'nothing'}"
            raise InputError(message, kind="not-a-panel", hint="a .bed of PLINK 1 starts with 6c 1b 01")
        if start[2:] == bytes([_SAMPLE_MAJOR]):
            hint = "plink1.9 --bfile OLD --make-bed --out NEW writes variant after variant"
            raise InputError(f"{self.path}: holds sample after sample", kind="not-a-panel", hint=hint)
        due = _HEADER_BYTES + self._variants * self._row_bytes
        if size != due:
            shape = f"{self._variants:,} variants of {len(self.samples):,} samples"
            message = f"{self.path}: {size:,} bytes, where {shape} make {due:,}"
            hint = "it is damaged, or the .bed, .bim and .fam are not of one set"
            raise CorruptDataError(message, kind="bad-size", hint=hint)


_UNIQUE_HINT = (
    "plink2 --set-all-var-ids '@_#_$r_$a' --make-bed names variants by their place, --rm-dup drops twins"
)


_FILES_HINT = "give the path without .bed, .bim and .fam, and all three files beside each other"


def check_there(path: Path, hint: str = _FILES_HINT) -> None:
    """Whether a file can be read; ``hint`` says what is to be given where it is not there."""
    if not path.exists():
        raise InputError(f"{path}: no such file", kind="no-such-file", hint=hint)
    if not path.is_file():
        raise InputError(f"{path}: not a regular file", kind="not-a-file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: cannot be read", kind="not-readable")


def rows_of(path: Path, kind: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not empty."""
    try:
        with path.open(encoding="utf-8") as lines:
            for line, text in enumerate(lines, 1):
                if cells := text.split():
                    yield line, cells
    except UnicodeDecodeError as err:
        raise InputError(f"{path}: not a text file: {err}", kind=kind) from err


def _samples(fam: Path, on_note: Note | None) -> tuple[str, ...]:
    """(S,) The name of every sample."""
    people = []
    for line, cells in rows_of(fam, "bad-fam"):
        if len(cells) < 6:
            message = f"{fam} line {line}: {len(cells)} columns where a .fam has 6"
            raise InputError(
                message, kind="bad-fam", hint="they start with the family's id and the sample's id"
            )
        people.append((line, cells[0], cells[1]))
    return names_of(fam, people, on_note)


def names_of(path: Path, people: list[tuple[int, str, str]], on_note: Note | None) -> tuple[str, ...]:
    """(S,) The IID of each sample (line, FID, IID), or FID_IID where an IID comes twice."""
    if not people:
        raise InputError(f"{path}: has no samples", kind="no-samples")
    twin = _twin([(line, iid) for line, _, iid in people])
    if twin is None:
        return tuple(iid for _, _, iid in people)
    full = [(line, f"{fid}_{iid}") for line, fid, iid in people]
    if again := _twin(full):
        raise InputError(f"{path}: {again} are one sample, by FID and IID", kind="doubled-sample")
    if on_note:
        on_note(f"{path}: {twin} have one IID, so samples are named FID_IID, such as {full[0][1]}")
    return tuple(name for _, name in full)


def _twin(names: list[tuple[int, str]]) -> str | None:
    """The words for the first two lines of one name."""
    seen: dict[str, int] = {}
    for line, name in names:
        if name in seen:
            return f"lines {seen[name]} and {line} ({name})"
        seen[name] = line
    return None
