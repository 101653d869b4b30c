"""Kernels over records of one name: links, mates, what they predict; and strings by number."""

from __future__ import annotations

import ctypes
import os

import numpy as np

from ..columns import Array, Columns, Strings
from .door import ERR_BAD_COLUMN, KernelError, address, call, offsets, out, u64

#: Changes where names lie in a table, never what is found.
_SEED = u64(int.from_bytes(os.urandom(8), "little"))


def find_links(names: Strings) -> Array:
    """The record before each one with the same name, -1 where there is none: int32 (R,)."""
    n = names.lengths.size
    prev = np.empty(n, np.int32)
    slots = np.zeros(1 << max(2 * n, 2).bit_length(), np.uint32)
    call("bk_links_find", names.data, offsets(names.lengths), u64(n), _SEED, slots, u64(slots.size), prev)
    return prev


def join_links(first: Array, later: Array, n: int) -> Array:
    """Links from the distance of each record to the next of its chain (0: none), uint32 each.

    Raises
    ------
    KernelError
        ``bad-column`` where a link leads beyond the row group or to a record that has one, or there
        are too few or too many; ``where`` is the record.
    """
    prev = np.empty(n, np.int32)
    call(
        "bk_links_join",
        *(np.ascontiguousarray(first), u64(first.size), np.ascontiguousarray(later), u64(later.size)),
        *(u64(n), prev),
        where=out(),
    )
    return prev


def find_mates(prev: Array, flag: Array) -> Array:
    """The mate of each record by links and flags, -1 where there is none: int32 (R,)."""
    address(flag, np.uint16, prev.size)
    mate = np.empty(prev.size, np.int32)
    call("bk_mates", prev, flag, u64(prev.size), np.empty(3 * prev.size, np.int32), mate)
    return mate


def flags_unlike_mates(prev: Array, flag: Array) -> Array:
    """What of each flag differs (xor) from the flag before it in its chain, as a mate would have it."""
    differences = flag.copy()
    call("bk_flags", prev, u64(prev.size), ctypes.c_int(0), differences)
    return differences


def flags_of_differences(prev: Array, differences: Array) -> Array:
    """The inverse of flags_unlike_mates."""
    flag = differences.copy()
    address(flag, np.uint16, prev.size)
    call("bk_flags", prev, u64(prev.size), ctypes.c_int(1), flag)
    return flag


class _TemplatesStruct(ctypes.Structure):
    _fields_ = [
        ("n", ctypes.c_uint64),
        *((n, ctypes.c_void_p) for n in "mate contig pos mate_pos ref_len flag".split()),
    ]


def tlen_residuals(c: Columns, mate: Array, tlen: Array, outermost: bool, undo: bool) -> Array:
    """TLEN less its prediction, or (``undo``) the inverse: uint32 (R,), wrapping."""
    arrays = [
        (mate.astype(np.int32), np.int32),
        *((getattr(c, name), np.int32) for name in ("contig", "pos", "mate_pos")),
        (c.ref_len, np.uint32),
        (c.flag, np.uint16),
    ]
    values = tlen.astype(np.uint32)
    address(values, np.uint32, c.n)
    s = _TemplatesStruct(c.n, *(address(array, dtype, c.n) for array, dtype in arrays))
    call("bk_tlens", s, ctypes.c_int(outermost), ctypes.c_int(undo), values)
    return values


# ---- strings by number ----


def take_strings(strings: Strings, index: Array, limit_bytes: int) -> Strings:
    """Strings ``index[0]``, ``index[1]``, ... (below their number).

    Raises
    ------
    KernelError
        ``bad-column`` where they are longer than ``limit_bytes`` together.
    """
    index = np.ascontiguousarray(index, np.uint32)
    lengths = strings.lengths[index]
    size = int(lengths.sum(dtype=np.uint64))
    if size > limit_bytes:
        raise KernelError(ERR_BAD_COLUMN)
    data = np.empty(size, np.uint8)
    at = offsets(strings.lengths)
    call("bk_strings_take", strings.data, at, index, u64(index.size), u64(size), data)
    return Strings(lengths, data)


def equal_strings(strings: Strings, left: Array, others: Strings, right: Array) -> Array:
    """Whether string ``left[k]`` is string ``right[k]`` of ``others``: uint8."""
    left, right = np.ascontiguousarray(left, np.uint32), np.ascontiguousarray(right, np.uint32)
    equal = np.empty(left.size, np.uint8)
    call(
        "bk_strings_equal",
        *(strings.data, offsets(strings.lengths), left),
        *(others.data, offsets(others.lengths), right, u64(left.size), equal),
    )
    return equal


def cigar_text_lengths(cigar: Strings) -> Array:
    """Bytes of each CIGAR as SAM text: uint32 (R,)."""
    n_ops = np.right_shift(cigar.lengths, np.uint32(2))
    lengths = np.empty(n_ops.size, np.uint32)
    call("bk_cigar_text_lengths", cigar.data, n_ops, u64(n_ops.size), u64(cigar.data.size // 4), lengths)
    return lengths


def cigar_texts(cigar: Strings, index: Array, limit_bytes: int) -> Strings:
    """The CIGARs ``index[0]``, ``index[1]``, ... as SAM text.

    Raises
    ------
    KernelError
        ``bad-column`` where they are longer than ``limit_bytes`` together.
    """
    index = np.ascontiguousarray(index, np.uint32)
    n_ops = np.right_shift(cigar.lengths, np.uint32(2))
    lengths = cigar_text_lengths(cigar)[index]
    size = int(lengths.sum(dtype=np.uint64))
    if size > limit_bytes:
        raise KernelError(ERR_BAD_COLUMN)
    data = np.empty(size, np.uint8)
    call("bk_cigar_texts", cigar.data, offsets(n_ops), index, u64(index.size), u64(size), data)
    return Strings(lengths, data)
