"""Plain columns of a row group in memory: what kernels make of records, and records of.

Axes in docstrings: R records of a row group, T values of a tag column, K tag keys, L layouts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: Columns with one number a record, and their types.
INT_COLUMNS: dict[str, Any] = {
    "contig": np.int32,
    "pos": np.int32,
    "flag": np.uint16,
    "mapq": np.uint8,
    "ref_len": np.uint32,
    "mate_contig": np.int32,
    "mate_pos": np.int32,
    "tlen": np.int32,
    "seq_len": np.uint32,
    "layout": np.uint32,
}

#: The subtype of the key that stands for a CG tag whose array is the CIGAR column.
IN_CIGAR = ord("*")


@dataclass(frozen=True, slots=True)
class Strings:
    """Values of varying length: ``lengths`` (uint32, bytes each) cut ``data`` (uint8)."""

    lengths: Array
    data: Array


@dataclass(frozen=True, slots=True)
class Layouts:
    """The distinct ordered lists of (tag, type) in a row group.

    Layout l is ``keys[start[l]:start[l + 1]]``. A key is a uint32: the two characters of the tag,
    the type, and the subtype of an array (0 otherwise; ``*`` for a CG tag whose array is the
    CIGAR column), low byte first. ``keys`` has shape (K,), ``start`` (L + 1,), both uint32.
    """

    keys: Array
    start: Array


@dataclass
class Columns:
    """Plain columns of one row group of ``n`` records; those that were not asked for are None.

    ``cigar`` holds BAM operations, 4 bytes each; ``bases`` BAM's 4-bit codes, a record starting at
    a byte; ``quals`` are as in BAM. ``tags`` maps ``NM:C`` to its values in record order: uint8
    bytes of numbers, Strings for the types Z, H and B. ``decoded_bytes`` is the size of the records:
    it bounds what columns may decode to, and ``taken_bytes`` counts what they did.

    ``link`` and ``reference`` are no fields of a record; others are predicted from them: the record
    before with the same name (int32, -1: none), and the bases (BAM's 4-bit codes, one a byte) of the
    positions that the records cover. ``derived`` keeps what codecs worked out, by name.
    """

    n: int
    decoded_bytes: int = 0
    taken_bytes: int = 0
    contig: Array | None = None
    pos: Array | None = None
    flag: Array | None = None
    mapq: Array | None = None
    ref_len: Array | None = None
    cigar: Strings | None = None
    mate_contig: Array | None = None
    mate_pos: Array | None = None
    tlen: Array | None = None
    seq_len: Array | None = None
    name: Strings | None = None
    bases: Array | None = None
    quals: Array | None = None
    layout: Array | None = None
    layouts: Layouts | None = None
    link: Array | None = None
    reference: Array | None = None
    tags: dict[str, Array | Strings] = field(default_factory=dict)
    derived: dict[str, Any] = field(default_factory=dict)

    def contigs_used(self) -> Array:
        """Numbers of the contigs that records and their mates lie on, sorted."""
        assert self.contig is not None
        assert self.mate_contig is not None
        used = np.union1d(np.unique(self.contig), np.unique(self.mate_contig))
        return used[used >= 0]


def tag_name(key: int) -> str:
    """``NM:C``, ``RG:Z`` or, for an array, ``ML:BC``."""
    text = bytes((key & 255, key >> 8 & 255, key >> 16 & 255, key >> 24)).rstrip(b"\0")
    return f"{text[:2].decode('latin-1')}:{text[2:].decode('latin-1')}"


def tag_key(name: str) -> int:
    """The inverse of tag_name."""
    tag, kind = name[:2].encode("latin-1"), name[3:].encode("latin-1").ljust(2, b"\0")
    return int.from_bytes(tag + kind, "little")


def tag_width(name: str) -> int:
    """Bytes of one value of a tag column (of one element for arrays); 1 for text."""
    return {"s": 2, "S": 2, "i": 4, "I": 4, "f": 4, "d": 8}.get(name[-1], 1)


def has_lengths(keys: Array) -> Array:
    """Which tag keys are of a type of varying length: Z, H or B."""
    types: Array = keys >> 16 & 255
    return np.isin(types, list(b"ZHB"))


def as_bytes(data: Any) -> Array:
    """A flat uint8 view of a bytes-like object or array, without a copy."""
    if isinstance(data, np.ndarray):
        return data.reshape(-1).view(np.uint8)
    return np.frombuffer(data, np.uint8)
