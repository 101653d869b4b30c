"""Kernels of XA tags: other places where a read aligns, by their distance from it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from ..columns import Array, Columns, Strings
from .door import ERR_BAD_COLUMN, KernelError, address, call, offsets, out, u64
from .mates import cigar_text_lengths

#: An alternative takes at least this many characters: "c,+1,*,0;".
_MIN_CHARACTERS = 9


class _ReadsStruct(ctypes.Structure):
    _fields_ = [
        ("n", ctypes.c_uint64),
        *((n, ctypes.c_void_p) for n in "pos ref_len flag op_at ops text_len".split()),
    ]


class _SplitStruct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("ranks", "same", "edits")),
        ("n", ctypes.c_uint64),
        *((n, ctypes.c_void_p) for n in "own_strand apart name_at cigar_at name_len cigar_len".split()),
        *((name, ctypes.c_uint64) for name in ("n_new", "n_cigars")),
    ]


class _JoinStruct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("ranks", "same", "edits")),
        ("n", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in ("own_strand", "apart")),
        *((name, ctypes.c_uint64) for name in ("n_new", "n_cigars")),
        *((name, ctypes.c_void_p) for name in ("names", "cigars", "name_at", "cigar_at")),
    ]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """XA tags taken apart (native/alternatives.c).

    Attributes
    ----------
    counts
        uint8, one a value: its alternatives; 0 where it is kept as text.
    ranks, same, edits
        One an alternative (uint8, uint8, uint32): which of the distances met last, 255 for a new one;
        whether its CIGAR is the record's; NM less that of the one before it in its value.
    own_strand, apart, names
        Of the new distances (uint8, uint32, text).
    cigars
        Those that are not the record's.
    """

    counts: Array
    ranks: Array
    same: Array
    edits: Array
    own_strand: Array
    apart: Array
    names: Strings
    cigars: Strings


class _Reads:
    """The records that have the tag, for the kernels; keeps the arrays alive."""

    def __init__(self, c: Columns, records: Array) -> None:
        assert c.cigar is not None
        n_ops = np.right_shift(c.cigar.lengths, np.uint32(2))
        text_len = cigar_text_lengths(c.cigar)
        # The CIGARs of these records, end to end: operations are taken as strings of 4-byte items.
        at = offsets(n_ops)
        order = np.arange(int(n_ops[records].sum(dtype=np.uint64)))
        begins = offsets(n_ops[records])
        shift = np.repeat(at[records].astype(np.int64) - begins[:-1].astype(np.int64), n_ops[records])
        ops = c.cigar.data.view("<u4")[order + shift]
        fields = [getattr(c, name)[records] for name in ("pos", "ref_len", "flag")]
        self.text_len = text_len[records]
        self.arrays = [*fields, begins, ops, self.text_len]
        self.struct = _ReadsStruct(records.size, *map(address, self.arrays))


def split_alternatives(c: Columns, records: Array, values: Strings) -> Alternatives:
    """XA values of ``records``, one each, taken apart."""
    reads, n = _Reads(c, records), values.data.size // _MIN_CHARACTERS + 1
    bytes_, u4, u8 = ([np.empty(n, dtype) for _ in range(4)] for dtype in (np.uint8, np.uint32, np.uint64))
    counts = np.empty(records.size, np.uint8)
    s = _SplitStruct(
        *(address(bytes_[0]), address(bytes_[1]), address(u4[0]), 0, address(bytes_[2]), address(u4[1])),
        *(address(u8[0]), address(u8[1]), address(u4[2]), address(u4[3]), 0, 0),
    )
    scratch = np.empty(int(reads.text_len.max(initial=0)), np.uint8)
    call("bk_alternatives_split", reads.struct, values.data, values.lengths, scratch, counts, s)
    return Alternatives(
        *(counts, bytes_[0][: s.n], bytes_[1][: s.n], u4[0][: s.n]),
        *(bytes_[2][: s.n_new], u4[1][: s.n_new]),
        _spans(values.data, u8[0][: s.n_new], u4[2][: s.n_new]),
        _spans(values.data, u8[1][: s.n_cigars], u4[3][: s.n_cigars]),
    )


def _spans(data: Array, at: Array, lengths: Array) -> Strings:
    """Pieces of a text."""
    text = data.tobytes()
    pieces = [text[a : a + n] for a, n in zip(at.tolist(), lengths.tolist(), strict=True)]
    return Strings(lengths.copy(), np.frombuffer(b"".join(pieces), np.uint8))


def join_alternatives(c: Columns, records: Array, a: Alternatives, limit_bytes: int) -> Strings:
    """The inverse; values that were kept as text are empty.

    Raises
    ------
    KernelError
        ``bad-column`` where lists are too short or too long, a rank names no distance, or the values
        are longer than ``limit_bytes`` together; ``where`` is the value.
    """
    sizes = (
        {x.size for x in (a.ranks, a.same, a.edits)},
        {a.own_strand.size, a.apart.size, a.names.lengths.size},
    )
    if any(len(several) > 1 for several in sizes) or a.counts.size != records.size:
        raise KernelError(ERR_BAD_COLUMN)
    reads, at = _Reads(c, records), (offsets(a.names.lengths), offsets(a.cigars.lengths))
    edits, apart = np.ascontiguousarray(a.edits), np.ascontiguousarray(a.apart)
    s = _JoinStruct(
        *(address(a.ranks), address(a.same), address(edits), a.ranks.size, address(a.own_strand)),
        *(address(apart), a.apart.size, a.cigars.lengths.size, address(a.names.data)),
        *(address(a.cigars.data), address(at[0]), address(at[1])),
    )
    lengths, size, where = np.empty(records.size, np.uint32), out(), out()
    call("bk_alternatives_join", reads.struct, a.counts, s, u64(0), lengths, size, None, where=where)
    if int(size[0]) > limit_bytes:
        raise KernelError(ERR_BAD_COLUMN)
    text = np.empty(int(size[0]), np.uint8)
    call("bk_alternatives_join", reads.struct, a.counts, s, u64(text.size), lengths, size, text, where=where)
    return Strings(lengths, text)
