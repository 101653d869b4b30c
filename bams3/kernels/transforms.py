"""Kernels of codecs: byte planes, two-bit bases, dictionaries, names as fields."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from ..columns import Array, Strings
from .door import ERR_BAD_COLUMN, KernelError, address, call, offsets, out, u64

DICTIONARY_ENTRIES = 255


def split_planes(values: Array, width: int) -> Array:
    """Byte planes (width, n) of ``values`` (n * width bytes)."""
    n = values.size // width
    planes = np.empty((width, n), np.uint8)
    call("bk_planes_split", values, u64(n), ctypes.c_uint32(width), planes)
    return planes


def join_planes(planes: list[Array]) -> Array:
    """The inverse of split_planes: uint8, n * width bytes."""
    stacked = np.stack(planes)
    values = np.empty(stacked.size, np.uint8)
    call("bk_planes_join", stacked, u64(stacked.shape[1]), ctypes.c_uint32(len(planes)), values)
    return values


def measure_bases(bases: Array, seq_len: Array) -> tuple[int, int, bool]:
    """Bytes of the two-bit form, its exceptions, and whether odd records have set padding bits."""
    packed, exceptions, padded = out(), out(), np.zeros(1, np.uint8)
    address(seq_len, np.uint32)
    sizes = u64(bases.size), seq_len, u64(seq_len.size)
    call("bk_bases_measure", bases, *sizes, packed, exceptions, padded)
    return int(packed[0]), int(exceptions[0]), bool(padded[0])


def pack_bases(bases: Array, seq_len: Array) -> tuple[Array, Array, Array]:
    """Two-bit bases, gaps between exceptions (uint32) and their 4-bit codes."""
    n_packed, n_exceptions, _ = measure_bases(bases, seq_len)
    packed, codes = np.empty(n_packed, np.uint8), np.empty(n_exceptions, np.uint8)
    gaps = np.empty(n_exceptions, np.uint32)
    sizes = seq_len, u64(seq_len.size), u64(n_packed), u64(n_exceptions)
    call("bk_bases_pack", bases, *sizes, packed, gaps, codes)
    return packed, gaps, codes


def unpack_bases(packed: Array, gaps: Array, codes: Array, seq_len: Array) -> Array:
    """The inverse of pack_bases: BAM's 4-bit codes."""
    if gaps.size != codes.size:
        raise KernelError(ERR_BAD_COLUMN)
    n_bytes = int(((seq_len.astype(np.uint64) + 1) // 2).sum())
    if n_bytes > 2 * packed.size:
        raise KernelError(ERR_BAD_COLUMN)
    bases = np.empty(n_bytes, np.uint8)
    exceptions = np.ascontiguousarray(gaps), codes, u64(codes.size)
    sizes = seq_len, u64(seq_len.size), u64(n_bytes)
    call("bk_bases_unpack", packed, u64(packed.size), *exceptions, *sizes, bases)
    return bases


def encode_dictionary(strings: Strings) -> tuple[Array, Strings, Strings]:
    """A code per string (255: in the rest), the entries, and the rest in order."""
    n, size = strings.lengths.size, strings.data.size
    slots, codes = np.zeros(1024, np.uint16), np.empty(n, np.uint8)
    first, first_at = out(DICTIONARY_ENTRIES), out(DICTIONARY_ENTRIES)
    n_entries, n_rest, rest_bytes = out(), out(), out()
    rest_len, rest = np.empty(n, np.uint32), np.empty(size, np.uint8)
    call(
        "bk_dict_encode",
        *(strings.data, u64(size), strings.lengths, u64(n), slots),
        *(codes, first, first_at, n_entries, rest_len, rest, n_rest, rest_bytes),
    )
    k = int(n_entries[0])
    lengths = strings.lengths[first[:k].astype(np.int64)]
    parts = [
        strings.data[at : at + length]
        for at, length in zip(first_at[:k].tolist(), lengths.tolist(), strict=True)
    ]
    entries = Strings(lengths, np.concatenate([np.empty(0, np.uint8), *parts]))
    return codes, entries, Strings(rest_len[: int(n_rest[0])], rest[: int(rest_bytes[0])])


def decode_dictionary(codes: Array, entries: Strings, rest: Strings, limit_bytes: int) -> Strings:
    """The inverse of encode_dictionary; refuses more than ``limit_bytes``."""
    entry_at, lengths, size = offsets(entries.lengths), np.empty(codes.size, np.uint32), out()
    sizes = entry_at, u64(entries.lengths.size), rest.lengths, u64(rest.lengths.size)
    call("bk_dict_measure", codes, u64(codes.size), *sizes, lengths, size)
    if int(size[0]) > limit_bytes or int(entry_at[-1]) != entries.data.size:
        raise KernelError(ERR_BAD_COLUMN)
    data = np.empty(int(size[0]), np.uint8)
    call(
        "bk_dict_decode",
        *(codes, u64(codes.size), entry_at, entries.data, rest.data, u64(rest.data.size)),
        *(lengths, u64(data.size), data),
    )
    return Strings(lengths, data)


# ---- names ----

MAX_FIELDS, MAX_TEXTS = 16, 64


class _NamesStruct(ctypes.Structure):
    _fields_ = [
        ("n_fields", ctypes.c_uint32),
        *((n, ctypes.c_void_p) for n in "separators is_text first_text text_at text".split()),
    ]


@dataclass(frozen=True, slots=True)
class NameFields:
    """Names cut into fields.

    Attributes
    ----------
    separators, is_text
        The template: uint8, F - 1 and F; F is 0 where the first name has more than 16 fields.
    regular
        uint8 (R,): which names fit the template.
    values
        uint32 (F, regular names): a field's number, or the number of its text.
    n_texts, texts
        How many texts each field has (uint8, F), and all of them, field by field.
    rest
        The names that do not fit.
    """

    separators: Array
    is_text: Array
    regular: Array
    values: Array
    n_texts: Array
    texts: Strings
    rest: Strings


def split_names(names: Strings) -> NameFields:
    """Names as fields by the template of the first one."""
    n, size = names.lengths.size, names.data.size
    fields, separators = np.zeros(1, np.uint32), np.zeros(MAX_FIELDS, np.uint8)
    is_text = np.zeros(MAX_FIELDS, np.uint8)
    first_len = ctypes.c_uint32(int(names.lengths[0]) if n else 0)
    call("bk_names_template", names.data, first_len, fields, separators, is_text)
    f = int(fields[0])
    regular, values = np.empty(n, np.uint8), np.empty((f, n), np.uint32)
    n_regular, n_rest, rest_bytes = out(), out(), out()
    rest_len, rest = np.empty(n, np.uint32), np.empty(size, np.uint8)
    text_at, text_len = np.empty((f, MAX_TEXTS), np.uint64), np.empty((f, MAX_TEXTS), np.uint32)
    n_texts = np.empty(f, np.uint32)
    call(
        "bk_names_split",
        *(names.data, u64(size), names.lengths, u64(n), ctypes.c_uint32(f), separators, is_text),
        *(regular, values, n_regular, rest_len, rest, n_rest, rest_bytes, text_at, text_len, n_texts),
    )
    used = [(int(text_at[i, j]), int(text_len[i, j])) for i in range(f) for j in range(int(n_texts[i]))]
    parts = [names.data[at : at + length] for at, length in used]
    texts = Strings(
        np.array([length for _, length in used], np.uint32), np.concatenate([np.empty(0, np.uint8), *parts])
    )
    return NameFields(
        separators[: max(f - 1, 0)],
        is_text[:f],
        regular,
        values[:, : int(n_regular[0])],
        n_texts.astype(np.uint8),
        texts,
        Strings(rest_len[: int(n_rest[0])], rest[: int(rest_bytes[0])]),
    )


def join_names(fields: NameFields) -> Strings:
    """The inverse of split_names.

    Raises
    ------
    KernelError
        ``bad-column`` where values name texts that are not there, or lengths do not add up.
    """
    f, n = fields.is_text.size, fields.regular.size
    if f > MAX_FIELDS or fields.separators.size != max(f - 1, 0) or fields.n_texts.size != f:
        raise KernelError(ERR_BAD_COLUMN)
    first_text = np.zeros(f + 1, np.uint32)
    np.cumsum(fields.n_texts, out=first_text[1:])
    text_at = offsets(fields.texts.lengths)
    values = np.ascontiguousarray(fields.values)
    if int(first_text[-1]) != fields.texts.lengths.size or int(text_at[-1]) != fields.texts.data.size:
        raise KernelError(ERR_BAD_COLUMN)
    arrays = fields.separators, fields.is_text, first_text, text_at, fields.texts.data
    template = _NamesStruct(f, *map(address, arrays))
    lengths, size = np.empty(n, np.uint32), out()
    n_regular = u64(values.shape[1] if f else 0)
    rest = fields.rest
    sizes = fields.regular, u64(n), values, n_regular
    call("bk_names_measure", template, *sizes, rest.lengths, u64(rest.lengths.size), lengths, size)
    data = np.empty(int(size[0]), np.uint8)
    call("bk_names_join", template, *sizes, rest.data, u64(rest.data.size), lengths, u64(data.size), data)
    return Strings(lengths, data)
