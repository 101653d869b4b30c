"""Kernels of entropy coding: rANS of order 0 for streams, rANS in contexts for qualities."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from ..columns import Array
from .door import ERR_BAD_COLUMN, KernelError, address, call, out, u64

MAX_VALUES, MAX_CONTEXTS, TOTAL = 128, 4096, 4096


def histogram(data: Array) -> Array:
    """Occurrences of each byte: uint32 (256,)."""
    counts = np.empty(256, np.uint32)
    call("bk_histogram", data, u64(data.size), counts)
    return counts


def encode_rans(data: Array, limit_bytes: int) -> bytes:
    """``data`` (uint8) under static rANS of order 0; empty where that takes over ``limit_bytes``."""
    packed, size = np.empty(limit_bytes + 8, np.uint8), out()
    call("bk_rans_encode", data, u64(data.size), histogram(data), u64(packed.size), packed, size)
    return packed[: int(size[0])].tobytes() if int(size[0]) <= limit_bytes else b""


def decode_rans(packed: Array, n: int) -> Array:
    """The inverse: ``n`` bytes.

    Raises
    ------
    KernelError
        ``bad-column`` with the offset: a table that does not add up, a stream too short or long.
    """
    data = np.empty(n, np.uint8)
    call("bk_rans_decode", packed, u64(packed.size), u64(n), data, where=out())
    return data


# ---- qualities ----


class _FormStruct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("n_values", "n_classes", "shift", "n_positions")),
        ("class_of", ctypes.c_uint8 * MAX_VALUES),
    ]


@dataclass(frozen=True, slots=True)
class QualityForm:
    """What a context is made of: the value before, the class of the one before it, the position.

    Value v of ``n_values`` is of class ``v * n_classes // n_values``; position j of a read is
    ``min(j >> shift, n_positions - 1)``.
    """

    n_values: int
    n_classes: int
    shift: int
    n_positions: int

    @property
    def n_contexts(self) -> int:
        return self.n_values * self.n_classes * self.n_positions

    @property
    def valid(self) -> bool:
        """Whether decoding it stays within bounds."""
        return (
            0 < self.n_values <= MAX_VALUES
            and self.shift < 32
            and 0 < self.n_contexts <= MAX_CONTEXTS
            and self.n_classes <= MAX_VALUES
        )

    def struct(self) -> _FormStruct:
        classes = (v * self.n_classes // self.n_values for v in range(self.n_values))
        class_of = (ctypes.c_uint8 * MAX_VALUES)(*classes)
        return _FormStruct(self.n_values, self.n_classes, self.shift, self.n_positions, class_of)


def orient_qualities(quals: Array, seq_len: Array, flag: Array, alphabet: Array) -> Array:
    """Qualities as numbers in ``alphabet`` (uint8, ascending), each read in sequencing order."""
    number_of, values = np.zeros(256, np.uint8), np.empty(quals.size, np.uint8)
    number_of[alphabet] = np.arange(alphabet.size)
    address(seq_len, np.uint32), address(flag, np.uint16, seq_len.size)
    call("bk_qualities_orient", quals, u64(quals.size), seq_len, flag, u64(flag.size), number_of, values)
    return values


def restore_qualities(values: Array, seq_len: Array, flag: Array, alphabet: Array) -> None:
    """The inverse, in place."""
    address(seq_len, np.uint32), address(flag, np.uint16, seq_len.size)
    call("bk_qualities_restore", values, u64(values.size), seq_len, flag, u64(flag.size), alphabet)


def count_qualities(values: Array, seq_len: Array, form: QualityForm, step: int) -> Array:
    """Occurrences of each value in each context (contexts, values) of every ``step``-th read."""
    counts = np.zeros((form.n_contexts, form.n_values), np.uint32)
    call("bk_qualities_count", values, seq_len, u64(seq_len.size), u64(step), form.struct(), counts)
    return counts


def quality_tables(counts: Array, form: QualityForm) -> tuple[Array, Array]:
    """Frequencies of counts (uint16, same shape), and as the bytes that a store keeps."""
    freq, size = np.empty(counts.shape, np.uint16), out()
    tables = np.empty(2 * counts.size + form.n_contexts, np.uint8)
    call("bk_qualities_tables", counts, form.struct(), freq, tables, size)
    return freq, tables[: int(size[0])].copy()


def encode_qualities(
    values: Array, seq_len: Array, form: QualityForm, freq: Array, n_lanes: int
) -> tuple[Array, Array]:
    """Bytes of each lane (uint32), and the lanes."""
    room = 2 * values.size + 4 * n_lanes  # a value never takes more than one word of 16 bits
    payload, lanes, size = np.empty(room, np.uint8), np.empty(n_lanes, np.uint32), out()
    symbols = np.empty(16 * freq.size, np.uint8)
    call(
        "bk_qualities_encode",
        *(values, seq_len, u64(seq_len.size), form.struct(), freq, symbols),
        *(ctypes.c_uint32(n_lanes), payload, size, lanes),
    )
    return lanes, payload[: int(size[0])]


def decode_qualities(payload: Array, lanes: Array, tables: Array, seq_len: Array, form: QualityForm) -> Array:
    """Numbers of the alphabet, in sequencing order (the sum of ``seq_len``).

    Raises
    ------
    KernelError
        ``bad-column`` with the offset in the tables or the payload.
    """
    if not form.valid or not 0 < lanes.size < 256:
        raise KernelError(ERR_BAD_COLUMN)
    freq = np.zeros((form.n_contexts, form.n_values), np.uint16)
    s = form.struct()
    call("bk_qualities_read_tables", tables, u64(tables.size), s, freq, where=out())
    n_values = int(seq_len.sum(dtype=np.uint64))
    values, slots = np.empty(n_values, np.uint8), np.zeros(form.n_contexts * TOTAL, np.uint8)
    call(
        "bk_qualities_decode",
        *(payload, u64(payload.size), np.ascontiguousarray(lanes, np.uint32), ctypes.c_uint32(lanes.size)),
        *(seq_len, u64(seq_len.size), s, freq, slots, np.empty(freq.size, np.uint32)),
        *(u64(n_values), values),
        where=out(),
    )
    return values


def quality_sums(quals: Array, seq_len: Array) -> Array:
    """Sum of the qualities of at least 15 of each read: uint32 (R,)."""
    sums = np.empty(seq_len.size, np.uint32)
    call("bk_qualities_sum", quals, u64(quals.size), seq_len, u64(seq_len.size), sums)
    return sums
