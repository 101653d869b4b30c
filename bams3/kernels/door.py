"""How a call crosses into the compiled library, and what its status codes mean."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from ..columns import INT_COLUMNS, Array, Columns
from ..errors import Bams3Error, CorruptDataError

#: Status codes of native/kernels.h: kind, and words for the user.
_ERRORS = {
    1: ("truncated-record", "the data ends inside a record"),
    2: ("bad-record", "a record is shorter than its fixed fields"),
    3: ("bad-record", "a length field is negative"),
    4: ("bad-record", "name, CIGAR, sequence and qualities do not fit the record's size"),
    5: ("bad-record", "a read name has no room for its end"),
    6: ("bad-record", "a reference number is outside the header's contigs"),
    7: ("cigar-mismatch", "CIGAR and sequence differ in length"),
    8: ("bad-record", "a CIGAR covers more than 2^31 - 1 bases"),
    9: ("bad-tag", "an optional field is malformed"),
    10: ("unsorted", "a record lies before its predecessor in coordinate order"),
    11: ("too-many-tags", "more tags or tag layouts than a row group can hold"),
    12: ("bad-column", "a column does not have the length that the records need"),
    13: ("bad-column", "a record would be longer than 2^31 - 1 bytes"),
    14: ("bad-column", "a stored code names nothing"),
    15: ("bad-column", "a stream ends before its last symbol"),
    16: ("bad-column", "frequencies of symbols do not add up"),
    17: ("bad-column", "a stream goes on behind its last symbol"),
    18: ("bad-column", "a link leads to a record that is not there"),
}
ERR_BAD_COLUMN, ERR_UNSORTED, ERR_TOO_MANY = 12, 10, 11


class KernelError(CorruptDataError):
    """A kernel found something wrong; ``code`` is its status, ``where`` the byte or record."""

    def __init__(self, code: int, where: int = 0) -> None:
        kind, words = _ERRORS.get(code, ("kernel", f"kernel status {code}"))
        super().__init__(words, kind=kind)
        self.code, self.where = code, where


def _load() -> ctypes.CDLL:
    found = sorted(Path(__file__).parent.parent.glob("_kernels*.so"))
    if not found:
        raise Bams3Error(
            "the compiled library is missing",
            kind="no-kernels",
            hint="install the package with gcc or clang on the PATH: pip install .",
        )
    return ctypes.CDLL(str(found[0]))


_lib = _load()


#: glibc's mallopt: one arena for all threads; blocks up to 32 MB (its limit) from the heap; give memory
#: back above 1 GB.
_MALLOPT = ((-8, 1), (-3, 32 << 20), (-1, 1 << 30))


def keep_freed_memory() -> None:
    """Tell the C library to keep what is freed, for a process that does nothing else.

    Arrays of megabytes come and go with every row group. By default each is taken from the system and
    given back: a page fault for every 4 KB, a tenth of the time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOPT:
            mallopt(option, value)


# ---- how arguments cross ----


class LayoutsStruct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("keys", "columns", "start")),
        *((name, ctypes.c_uint64) for name in ("max_keys", "max_layouts", "n_layouts")),
    ]


class TagsStruct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("key", "n_values", "n_bytes")),
        *((name, ctypes.c_uint64) for name in ("max_columns", "n_columns")),
    ]


_PLAIN = ("contig pos flag mapq ref_len mate_contig mate_pos tlen seq_len layout cigar_len name_len").split()


class _ColumnsStruct(ctypes.Structure):
    _fields_ = [
        ("n", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in _PLAIN),
        ("cigar", ctypes.c_void_p),
        ("cigar_ops", ctypes.c_uint64),
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint64),
        ("bases", ctypes.c_void_p),
        ("bases_bytes", ctypes.c_uint64),
        ("quals", ctypes.c_void_p),
        ("quals_bytes", ctypes.c_uint64),
        *((n, ctypes.c_void_p) for n in "tag_data tag_data_at tag_lengths tag_lengths_at".split()),
    ]


def address(array: Any, dtype: Any = None, length: int | None = None) -> int:
    """Address of a C-contiguous array, after its dtype and length were checked."""
    if not array.flags.c_contiguous or (dtype is not None and array.dtype != dtype):
        raise TypeError(f"a kernel needs a contiguous array of {dtype}, got {array.dtype}")
    if length is not None and array.size != length:
        raise KernelError(ERR_BAD_COLUMN)
    return int(array.ctypes.data)


def argument(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(address(value))
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    return ctypes.c_void_p(None) if value is None else value


def call(function: str, *arguments: Any, where: Array | None = None) -> None:
    """Call a kernel: arrays as addresses, structures by reference, ctypes numbers by value.

    ``where`` is passed last, if given, and tells where an error was seen.
    """
    if where is not None:
        arguments = (*arguments, where)
    status = getattr(_lib, function)(*map(argument, arguments))
    if status:
        raise KernelError(status, 0 if where is None else int(where[0]))


def u64(value: int) -> ctypes.c_uint64:
    return ctypes.c_uint64(value)


def out(n: int = 1) -> Array:
    return np.zeros(n, np.uint64)


def struct(c: Columns, *needed: str) -> _ColumnsStruct:
    """The C view of columns, whose arrays must outlive it.

    Raises
    ------
    KernelError
        ``bad-column`` where a needed one is missing, or has no value for some record.
    """
    if any(getattr(c, name) is None for name in needed):
        raise KernelError(ERR_BAD_COLUMN)
    s = _ColumnsStruct(n=c.n)
    for name, dtype in INT_COLUMNS.items():
        values = getattr(c, name)
        if values is not None:
            setattr(s, name, address(values, dtype, c.n))
    if c.cigar is not None:
        s.cigar_len = address(c.cigar.lengths, np.uint32, c.n)
        s.cigar, s.cigar_ops = address(c.cigar.data, np.uint8), c.cigar.data.size // 4
    if c.name is not None:
        s.name_len = address(c.name.lengths, np.uint32, c.n)
        s.name, s.name_bytes = address(c.name.data, np.uint8), c.name.data.size
    if c.bases is not None:
        s.bases, s.bases_bytes = address(c.bases, np.uint8), c.bases.size
    if c.quals is not None:
        s.quals, s.quals_bytes = address(c.quals, np.uint8), c.quals.size
    return s


def offsets(sizes: Array) -> Array:
    out = np.zeros(len(sizes) + 1, np.uint64)
    np.cumsum(sizes, out=out[1:])
    return out
