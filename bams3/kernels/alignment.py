"""Kernels over aligned records: the reference that they imply, and what differs from it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from ..columns import Array, Columns, Strings
from .door import ERR_BAD_COLUMN, ERR_TOO_MANY, KernelError, address, call, offsets, out, struct, u64

LONG_GAP = 1000


class _PlacementStruct(ctypes.Structure):
    _fields_ = [
        ("n", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in "aligned seq_len cigar_len cigar block_at".split()),
    ]


class _MismatchesStruct(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in "first gap symbol ref".split()]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the records of a row group lie in the reference that they imply.

    Attributes
    ----------
    aligned
        uint8 (R,): which records have a place and a CIGAR that consumes exactly their sequence.
    block_at
        uint32: where each block of covered positions begins in the reference.
    covered
        Positions of the reference.
    n_loose
        Bases that are inserted, clipped, or of records that are not aligned.
    base_bytes, longest
        Bytes of all bases in BAM's four bits, and bases of the longest record.
    """

    aligned: Array
    block_at: Array
    covered: int
    n_loose: int
    base_bytes: int
    longest: int
    seq_len: Array
    n_ops: Array
    cigar: Array

    def struct(self) -> _PlacementStruct:
        arrays = self.aligned, self.seq_len, self.n_ops, self.cigar, self.block_at
        return _PlacementStruct(self.aligned.size, *map(address, arrays))

    def scratch(self) -> Array:
        """Room for the bases of one read, one a byte."""
        return np.empty(self.longest, np.uint8)


@dataclass(frozen=True, slots=True)
class Mismatches:
    """Bases that differ from the reference: ``first`` (R + 1) cuts the others (native/alignment.h)."""

    first: Array
    gap: Array
    symbol: Array
    ref: Array

    def struct(self) -> _MismatchesStruct:
        return _MismatchesStruct(*map(address, (self.first, self.gap, self.symbol, self.ref)))


def place(c: Columns) -> Placement:
    """Where the records lie.

    Raises
    ------
    KernelError
        ``bad-column`` where columns contradict each other, or cover more than 2^32 - 1 positions.
    """
    s = struct(c, "contig", "pos", "cigar", "seq_len")
    assert c.cigar is not None
    assert c.seq_len is not None
    n_ops = np.right_shift(c.cigar.lengths, np.uint32(2))
    s.cigar_len = address(n_ops)
    operations = c.cigar.data.view("<u4")
    kinds = operations & 15
    cuts = np.count_nonzero((kinds == 3) | ((kinds == 2) & (operations >> 4 > LONG_GAP)))
    aligned, n_blocks, n_loose = np.empty(c.n, np.uint8), out(), out()
    start, length = np.empty(c.n + cuts, np.uint64), np.empty(c.n + cuts, np.uint32)
    call("bk_blocks", s, u64(start.size), aligned, start, length, n_blocks, n_loose)
    n = int(n_blocks[0])
    block_at, covered = _lay_out(start[:n], length[:n])
    base_bytes = int(((c.seq_len.astype(np.uint64) + 1) // 2).sum())
    longest = int(c.seq_len.max(initial=0))
    sizes = covered, int(n_loose[0]), base_bytes, longest
    return Placement(aligned, block_at, *sizes, c.seq_len, n_ops, operations)


def _lay_out(start: Array, length: Array) -> tuple[Array, int]:
    """Where blocks begin among the positions that any of them covers, and how many those are."""
    if not start.size:
        return np.empty(0, np.uint32), 0
    order = np.argsort(start, kind="stable")
    sorted_start = start[order]
    reach = np.maximum.accumulate(sorted_start + length[order])
    begins = np.concatenate(([True], sorted_start[1:] > reach[:-1]))
    island = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    last = np.append(first[1:], start.size) - 1
    sizes = reach[last] - sorted_start[first]
    at = offsets(sizes)
    if int(at[-1]) > np.iinfo(np.uint32).max:
        raise KernelError(ERR_BAD_COLUMN)
    block_at = np.empty(start.size, np.uint32)
    block_at[order] = at[island] + sorted_start - sorted_start[first][island]
    return block_at, int(at[-1])


def infer_reference(p: Placement, bases: Array, md_of: Array, md: Strings) -> Array:
    """The reference (uint8 4-bit codes) by MD tags, and where they say nothing by what most reads do.

    ``md_of`` (int32, R) is the number of each record's MD in ``md``, -1 for none.
    """
    address(bases, np.uint8, p.base_bytes), address(md_of, np.int32, p.aligned.size)
    reference, s, scratch = np.zeros(p.covered, np.uint8), p.struct(), p.scratch()
    if md.lengths.size:
        call("bk_reference_learn", s, bases, md_of, md.data, offsets(md.lengths), scratch, reference)
    if not reference.all():
        votes = np.zeros(p.covered, np.uint8)
        call("bk_reference_vote", s, bases, u64(p.covered), scratch, votes, reference)
    return reference


def differ(p: Placement, bases: Array, reference: Array) -> tuple[Array, Mismatches, Array] | None:
    """Mismatches of each record (uint32), what they are, and loose bases as 4-bit codes, one a byte.

    None where more than a quarter of the bases are mismatches, or padding bits are set: this form
    does not suit, or would lose them.
    """
    address(bases, np.uint8, p.base_bytes), address(reference, np.uint8, p.covered)
    n_bases = int(p.seq_len.sum(dtype=np.uint64))
    room = n_bases // 4 + 64
    counts, n_found = np.empty(p.aligned.size, np.uint32), out()
    gap, symbol, ref = np.empty(room, np.uint32), np.empty(room, np.uint8), np.empty(room, np.uint8)
    loose, padded = np.empty(p.n_loose, np.uint8), np.zeros(1, np.uint8)
    try:
        call(
            "bk_bases_differ",
            *(p.struct(), bases, reference, p.scratch(), u64(room)),
            *(counts, gap, symbol, ref, n_found, loose, padded),
        )
    except KernelError as err:
        if err.code != ERR_TOO_MANY:
            raise
        return None
    n = int(n_found[0])
    found = Mismatches(offsets(counts), gap[:n].copy(), symbol[:n].copy(), ref[:n].copy())
    return None if padded[0] else (counts, found, loose)


def restore(p: Placement, m: Mismatches, reference: Array, loose: Array) -> Array:
    """The inverse: BAM's 4-bit codes; ``m.ref`` is filled.

    Raises
    ------
    KernelError
        ``bad-column`` where mismatches or loose bases are too few, too many, or lie outside; ``where``
        is the record.
    """
    address(reference, np.uint8, p.covered)
    if int(m.first[-1]) != m.gap.size or m.gap.size != m.symbol.size or m.ref.size != m.gap.size:
        raise KernelError(ERR_BAD_COLUMN)
    bases = np.empty(p.base_bytes, np.uint8)
    call(
        "bk_bases_restore",
        *(p.struct(), m.struct(), reference, loose, u64(loose.size), p.scratch(), bases, m.ref),
        where=out(),
    )
    return bases


def pack_codes(codes: Array) -> tuple[Array, Array, Array]:
    """4-bit codes, one a byte, as two bits each; gaps between the others (uint32), and their codes."""
    packed, n = np.empty((codes.size + 3) // 4, np.uint8), out()
    gap, other = np.empty(codes.size, np.uint32), np.empty(codes.size, np.uint8)
    call("bk_codes_pack", codes, u64(codes.size), u64(codes.size), packed, gap, other, n)
    return packed, gap[: int(n[0])].copy(), other[: int(n[0])].copy()


def unpack_codes(packed: Array, n: int, gap: Array, other: Array) -> Array:
    """The inverse: ``n`` codes."""
    if packed.size != (n + 3) // 4 or gap.size != other.size:
        raise KernelError(ERR_BAD_COLUMN)
    codes = np.empty(n, np.uint8)
    call("bk_codes_unpack", packed, u64(n), np.ascontiguousarray(gap), other, u64(gap.size), codes)
    return codes


def md_lengths(p: Placement, m: Mismatches, reference: Array, wanted: Array) -> Array:
    """Bytes of the MD of each record that ``wanted`` (uint8, R) marks: uint32."""
    lengths = np.empty(np.count_nonzero(wanted), np.uint32)
    address(wanted, np.uint8, p.aligned.size)
    call("bk_md", p.struct(), m.struct(), reference, wanted, u64(0), lengths, out(), None)
    return lengths


def md_texts(p: Placement, m: Mismatches, reference: Array, wanted: Array, lengths: Array) -> Strings:
    """MD of the records that ``wanted`` marks, whose ``lengths`` are known, as samtools calmd has it."""
    size = int(lengths.sum(dtype=np.uint64))
    text, again = np.empty(size, np.uint8), np.empty(np.count_nonzero(wanted), np.uint32)
    address(wanted, np.uint8, p.aligned.size)
    call("bk_md", p.struct(), m.struct(), reference, wanted, u64(size), again, out(), text)
    return Strings(again, text)


def alignment_counts(p: Placement, m: Mismatches) -> Array:
    """Of each record: matches, mismatches but N, N, gaps, bases in gaps: int32 (5, R)."""
    counts = np.empty((5, p.aligned.size), np.int32)
    call("bk_alignment_counts", p.struct(), m.struct(), counts)
    return counts
