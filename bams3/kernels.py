"""The only door to the compiled library: checks dtype, contiguity and lengths, then calls it.

ctypes releases the GIL around every call, so kernels run beside each other in threads. Axes in
docstrings as in columns.py.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from .columns import (
    IN_CIGAR,
    INT_COLUMNS,
    Array,
    Columns,
    Layouts,
    Strings,
    as_bytes,
    has_lengths,
    tag_name,
)
from .errors import Bams3Error, CorruptDataError

MAX_LAYOUTS = 65_535
MAX_LAYOUT_KEYS = 1 << 20
MAX_TAG_COLUMNS = 1_024
N_TOTALS = 34
DICTIONARY_ENTRIES = 255

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
}
ERR_BAD_COLUMN, ERR_UNSORTED, ERR_TOO_MANY = 12, 10, 11


class KernelError(CorruptDataError):
    """A kernel found something wrong; ``code`` is its status, ``where`` the byte or record."""

    def __init__(self, code: int, where: int = 0) -> None:
        kind, words = _ERRORS.get(code, ("kernel", f"kernel status {code}"))
        super().__init__(words, kind=kind)
        self.code, self.where = code, where


def _load() -> ctypes.CDLL:
    found = sorted(Path(__file__).parent.glob("_kernels*.so"))
    if not found:
        raise Bams3Error(
            "the compiled library is missing",
            kind="no-kernels",
            hint="install the package with gcc or clang on the PATH: pip install .",
        )
    return ctypes.CDLL(str(found[0]))


_lib = _load()


# ---- how arguments cross ----


class _LayoutsStruct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("keys", "columns", "start")),
        *((name, ctypes.c_uint64) for name in ("max_keys", "max_layouts", "n_layouts")),
    ]


class _TagsStruct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("key", "n_values", "n_bytes")),
        *((name, ctypes.c_uint64) for name in ("max_columns", "n_columns")),
    ]


_PLAIN = (
    "contig pos flag mapq ref_len mate_contig mate_pos tlen seq_len layout cigar_len name_len"
).split()


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


def _address(array: Array, dtype: Any = None, length: int | None = None) -> int:
    """Address of a C-contiguous array, after its dtype and length were checked."""
    if not array.flags.c_contiguous or (dtype is not None and array.dtype != dtype):
        raise TypeError(f"a kernel needs a contiguous array of {dtype}, got {array.dtype}")
    if length is not None and array.size != length:
        raise KernelError(ERR_BAD_COLUMN)
    return int(array.ctypes.data)


def _argument(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(_address(value))
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    return ctypes.c_void_p(None) if value is None else value


def _call(function: str, *arguments: Any, where: Array | None = None) -> None:
    """Call a kernel: arrays as addresses, structures by reference, ctypes numbers by value.

    ``where`` is passed last, if given, and tells where an error was seen.
    """
    if where is not None:
        arguments = (*arguments, where)
    status = getattr(_lib, function)(*map(_argument, arguments))
    if status:
        raise KernelError(status, 0 if where is None else int(where[0]))


def _u64(value: int) -> ctypes.c_uint64:
    return ctypes.c_uint64(value)


def _out(n: int = 1) -> Array:
    return np.zeros(n, np.uint64)


def _struct(c: Columns) -> _ColumnsStruct:
    """The C view of columns, whose arrays must outlive it."""
    s = _ColumnsStruct(n=c.n)
    for name, dtype in INT_COLUMNS.items():
        values = getattr(c, name)
        if values is not None:
            setattr(s, name, _address(values, dtype, c.n))
    if c.cigar is not None:
        s.cigar_len = _address(c.cigar.lengths, np.uint32, c.n)
        s.cigar, s.cigar_ops = _address(c.cigar.data, np.uint8), c.cigar.data.size // 4
    if c.name is not None:
        s.name_len = _address(c.name.lengths, np.uint32, c.n)
        s.name, s.name_bytes = _address(c.name.data, np.uint8), c.name.data.size
    if c.bases is not None:
        s.bases, s.bases_bytes = _address(c.bases, np.uint8), c.bases.size
    if c.quals is not None:
        s.quals, s.quals_bytes = _address(c.quals, np.uint8), c.quals.size
    return s


def _offsets(sizes: Array) -> Array:
    out = np.zeros(len(sizes) + 1, np.uint64)
    np.cumsum(sizes, out=out[1:])
    return out


def _layouts_struct(layouts: Layouts, columns: Array) -> _LayoutsStruct:
    n_layouts = layouts.start.size - 1
    return _LayoutsStruct(
        _address(layouts.keys, np.uint32),
        _address(columns, np.uint16, layouts.keys.size),
        _address(layouts.start, np.uint32),
        layouts.keys.size,
        n_layouts,
        n_layouts,
    )


# ---- scanning ----


class Scanner:
    """Walks records in coordinate order and says where row groups end.

    Parameters
    ----------
    section, span_bp
        Per contig: the number of its section, and its span in bp (0: all of the contig, with its
        section's other contigs, is one span).
    max_records, max_bytes
        The size of a row group, whichever comes first; one record always fits.
    """

    NEED_MORE, SPAN, FULL = 0, 1, 2

    def __init__(self, section: Array, span_bp: Array, max_records: int, max_bytes: int) -> None:
        self._section = np.ascontiguousarray(section, np.int32)
        self._span = np.ascontiguousarray(span_bp, np.int64)
        self._limits = _u64(max_records), _u64(max_bytes)
        self._state = np.zeros(6, np.int64)
        self._state[0] = np.iinfo(np.int64).min

    @property
    def span(self) -> tuple[int, int]:
        """(section, window) of the row group at hand; section -1 holds the unplaced reads."""
        return int(self._state[0]), int(self._state[1])

    @property
    def records(self) -> int:
        """Records taken into the row group at hand."""
        return int(self._state[4])

    def begin_group(self) -> None:
        """The next record is the first of a row group."""
        self._state[4:6] = 0

    def scan(self, data: Array, at: int) -> tuple[int, int]:
        """(offset of the first record not taken, why it stopped), from offset ``at`` on.

        Raises
        ------
        KernelError
            ``unsorted``, or what is wrong with the record at ``where``.
        """
        after, stop, where = _out(), np.zeros(1, np.int32), _out()
        n_contigs = _u64(self._section.size)
        _address(data, np.uint8)
        _call(
            "bk_scan",
            *(data, _u64(data.size), _u64(at)),
            *(self._section, self._span, n_contigs, *self._limits),
            *(self._state, after, stop),
            where=where,
        )
        return int(after[0]), int(stop[0])


# ---- records to columns and back ----


def _measure(data: Array, n: int) -> tuple[Layouts, Array, Array, Array, Array, Array, Array]:
    """Layouts, column of each key, tag keys, their values and bytes, each record's layout, sizes."""
    keys, columns = np.empty(MAX_LAYOUT_KEYS, np.uint32), np.empty(MAX_LAYOUT_KEYS, np.uint16)
    start, tag_keys = np.empty(MAX_LAYOUTS + 1, np.uint32), np.empty(MAX_TAG_COLUMNS, np.uint32)
    tag_values, tag_bytes = np.empty(MAX_TAG_COLUMNS, np.uint64), np.empty(MAX_TAG_COLUMNS, np.uint64)
    layouts = _LayoutsStruct(*map(_address, (keys, columns, start)), MAX_LAYOUT_KEYS, MAX_LAYOUTS, 0)
    tags = _TagsStruct(*map(_address, (tag_keys, tag_values, tag_bytes)), MAX_TAG_COLUMNS, 0)
    layout, sizes = np.empty(n, np.uint32), _out(4)
    scratch = np.zeros(4096, np.uint16), np.zeros(1 << 17, np.uint32)
    _call(
        "bk_measure",
        *(data, _u64(data.size), _u64(n), *scratch),
        *(layouts, tags, layout, sizes),
        where=_out(),
    )
    n_layouts, n_tags = layouts.n_layouts, tags.n_columns
    n_keys = int(start[n_layouts])
    found = Layouts(keys[:n_keys].copy(), start[: n_layouts + 1].copy())
    per_tag = (values[:n_tags].copy() for values in (tag_keys, tag_values, tag_bytes))
    return found, columns[:n_keys].copy(), *per_tag, layout, sizes  # type: ignore[return-value]


def split(records: Any, n: int) -> Columns:
    """Plain columns of ``n`` whole BAM records (block_size first) that fill ``records``.

    Raises
    ------
    KernelError
        ``where`` is the byte offset of the bad record; ``too-many-tags`` where the records have
        more tag layouts than the tables hold.

    Notes
    -----
    Reads the records twice and writes their bytes once.
    """
    data = as_bytes(records)
    layouts, columns, keys, n_values, n_bytes, layout, sizes = _measure(data, n)
    ops, names, bases, quals = (int(size) for size in sizes)
    c = Columns(n, data.size, **{name: np.empty(n, dtype) for name, dtype in INT_COLUMNS.items()})
    c.layout, c.layouts = layout, layouts
    c.cigar = Strings(np.empty(n, np.uint32), np.empty(4 * ops, np.uint8))
    c.name = Strings(np.empty(n, np.uint32), np.empty(names, np.uint8))
    c.bases, c.quals = np.empty(bases, np.uint8), np.empty(quals, np.uint8)
    data_at = _offsets(n_bytes)
    lengths_at = _offsets(np.where(has_lengths(keys), n_values, 0))
    tag_data, tag_lengths = np.empty(int(data_at[-1]), np.uint8), np.empty(int(lengths_at[-1]), np.uint32)
    s = _struct(c)
    s.tag_data, s.tag_data_at = _address(tag_data), _address(data_at)
    s.tag_lengths, s.tag_lengths_at = _address(tag_lengths), _address(lengths_at)
    tables = _layouts_struct(layouts, columns)
    _call(
        "bk_split",
        *(data, _u64(data.size), tables, s, data_at.copy(), lengths_at.copy()),
        where=_out(),
    )
    c.cigar.lengths[:] *= 4
    for key, long, d0, d1, l0, l1 in zip(
        *(keys.tolist(), has_lengths(keys).tolist(), data_at[:-1].tolist(), data_at[1:].tolist()),
        *(lengths_at[:-1].tolist(), lengths_at[1:].tolist()),
        strict=True,
    ):
        if key >> 24 != IN_CIGAR:
            values = tag_data[d0:d1]
            c.tags[tag_name(key)] = Strings(tag_lengths[l0:l1], values) if long else values
    return c


def _tag_arrays(c: Columns, keys: Array) -> tuple[Array, Array, Array, Array]:
    """Tag columns laid end to end: data, its offsets, lengths, their offsets."""
    data, lengths, none = [np.empty(0, np.uint8)], [np.empty(0, np.uint32)], np.empty(0, np.uint32)
    for key in keys.tolist():
        value = np.empty(0, np.uint8) if key >> 24 == IN_CIGAR else c.tags.get(tag_name(key))
        if value is None:
            raise KernelError(ERR_BAD_COLUMN)
        strings = value if isinstance(value, Strings) else Strings(none, as_bytes(value))
        data.append(strings.data)
        lengths.append(strings.lengths)
    sizes = [np.array([part.size for part in parts[1:]], np.uint64) for parts in (data, lengths)]
    return np.concatenate(data), _offsets(sizes[0]), np.concatenate(lengths), _offsets(sizes[1])


def join(c: Columns, keep: Array | None = None) -> Array:
    """BAM records (uint8) of complete columns, or of those that ``keep`` (R, uint8) marks.

    Raises
    ------
    KernelError
        ``bad-column`` where a column is too short, too long, or names a layout that is not there.
    """
    if c.layouts is None or c.cigar is None:
        raise TypeError("join needs every column")
    keys = np.unique(c.layouts.keys)
    tags = _tag_arrays(c, keys)
    n_ops = np.right_shift(c.cigar.lengths, np.uint32(2))
    s = _struct(c)
    s.cigar_len = _address(n_ops)
    s.tag_data, s.tag_data_at, s.tag_lengths, s.tag_lengths_at = map(_address, tags)
    columns = np.searchsorted(keys, c.layouts.keys).astype(np.uint16)
    tables = _layouts_struct(c.layouts, columns)
    tag_struct = _TagsStruct(key=_address(keys), n_columns=keys.size)
    if keep is not None:
        _address(keep, np.uint8, c.n)
    size = _out()
    _call("bk_layouts_check", tables, tag_struct, where=_out())
    _call(
        "bk_join_measure", *(tables, s, keep, tags[1].copy(), tags[3].copy(), size), where=_out()
    )
    out = np.empty(int(size[0]), np.uint8)
    cursors = tags[1].copy(), tags[3].copy()
    _call("bk_join", *(tables, s, keep, *cursors, _u64(out.size), out), where=_out())
    return out


# ---- what the index says of a row group ----


def summarise(c: Columns, max_runs: int) -> tuple[Array, Array, Array, Array, Array]:
    """Runs of equal contig: contig, records, smallest start, largest end, and totals (runs, 34).

    Raises
    ------
    KernelError
        ``too-many-tags`` is not raised here; more than ``max_runs`` runs are (code TOO_MANY).
    """
    n_runs, contig, records = _out(), np.empty(max_runs, np.int32), np.empty(max_runs, np.uint64)
    start, end = np.empty(max_runs, np.int64), np.empty(max_runs, np.int64)
    totals = np.zeros((max_runs, N_TOTALS), np.uint64)
    _call("bk_summarise", _struct(c), _u64(max_runs), n_runs, contig, records, start, end, totals)
    n = int(n_runs[0])
    return contig[:n], records[:n], start[:n], end[:n], totals[:n]


def overlap(c: Columns, contig: int, start_bp: int, end_bp: int) -> tuple[Array, int]:
    """Which records overlap the span (R, uint8), as samtools view says, and how many."""
    keep, n_kept = np.empty(c.n, np.uint8), _out()
    span = ctypes.c_int32(contig), ctypes.c_int64(start_bp), ctypes.c_int64(end_bp)
    _call("bk_overlap", _struct(c), *span, keep, n_kept)
    return keep, int(n_kept[0])


def add_depth(
    c: Columns, first_contig: int, window_base: Array, n_windows: Array, first_window: int, sums: Array
) -> None:
    """Add aligned bases of records without flags 0x704 to ``sums`` (uint64, windows of 100 bp).

    Parameters
    ----------
    window_base, n_windows
        uint64, per contig of the section from ``first_contig`` on: where its windows begin, and
        how many it has; bases beyond its end are left out.
    first_window
        The section's window that ``sums[0]`` stands for.
    """
    if c.cigar is None:
        raise TypeError("depth needs the CIGAR column")
    n_ops = np.right_shift(c.cigar.lengths, np.uint32(2))
    s = _struct(c)
    s.cigar_len = _address(n_ops)
    _call(
        "bk_depth",
        *(s, ctypes.c_int32(first_contig), _u64(window_base.size), window_base, n_windows),
        *(ctypes.c_uint32(100), _u64(first_window), _u64(sums.size), sums),
    )


# ---- codecs ----


def split_planes(values: Array, width: int) -> Array:
    """Byte planes (width, n) of ``values`` (n * width bytes)."""
    n = values.size // width
    planes = np.empty((width, n), np.uint8)
    _call("bk_planes_split", values, _u64(n), ctypes.c_uint32(width), planes)
    return planes


def join_planes(planes: list[Array]) -> Array:
    """The inverse of split_planes: uint8, n * width bytes."""
    stacked = np.stack(planes)
    values = np.empty(stacked.size, np.uint8)
    _call("bk_planes_join", stacked, _u64(stacked.shape[1]), ctypes.c_uint32(len(planes)), values)
    return values


def measure_bases(bases: Array, seq_len: Array) -> tuple[int, int, bool]:
    """Bytes of the two-bit form, its exceptions, and whether odd records have set padding bits."""
    packed, exceptions, padded = _out(), _out(), np.zeros(1, np.uint8)
    _address(seq_len, np.uint32)
    sizes = _u64(bases.size), seq_len, _u64(seq_len.size)
    _call("bk_bases_measure", bases, *sizes, packed, exceptions, padded)
    return int(packed[0]), int(exceptions[0]), bool(padded[0])


def pack_bases(bases: Array, seq_len: Array) -> tuple[Array, Array, Array]:
    """Two-bit bases, gaps between exceptions (uint32) and their 4-bit codes."""
    n_packed, n_exceptions, _ = measure_bases(bases, seq_len)
    packed, codes = np.empty(n_packed, np.uint8), np.empty(n_exceptions, np.uint8)
    gaps = np.empty(n_exceptions, np.uint32)
    sizes = seq_len, _u64(seq_len.size), _u64(n_packed), _u64(n_exceptions)
    _call("bk_bases_pack", bases, *sizes, packed, gaps, codes)
    return packed, gaps, codes


def unpack_bases(packed: Array, gaps: Array, codes: Array, seq_len: Array) -> Array:
    """The inverse of pack_bases: BAM's 4-bit codes."""
    if gaps.size != codes.size:
        raise KernelError(ERR_BAD_COLUMN)
    n_bytes = int(((seq_len.astype(np.uint64) + 1) // 2).sum())
    if n_bytes > 2 * packed.size:
        raise KernelError(ERR_BAD_COLUMN)
    bases = np.empty(n_bytes, np.uint8)
    exceptions = np.ascontiguousarray(gaps), codes, _u64(codes.size)
    sizes = seq_len, _u64(seq_len.size), _u64(n_bytes)
    _call("bk_bases_unpack", packed, _u64(packed.size), *exceptions, *sizes, bases)
    return bases


def encode_dictionary(strings: Strings) -> tuple[Array, Strings, Strings]:
    """A code per string (255: in the rest), the entries, and the rest in order."""
    n, size = strings.lengths.size, strings.data.size
    slots, codes = np.zeros(1024, np.uint16), np.empty(n, np.uint8)
    first, first_at = _out(DICTIONARY_ENTRIES), _out(DICTIONARY_ENTRIES)
    n_entries, n_rest, rest_bytes = _out(), _out(), _out()
    rest_len, rest = np.empty(n, np.uint32), np.empty(size, np.uint8)
    _call(
        "bk_dict_encode",
        *(strings.data, _u64(size), strings.lengths, _u64(n), slots),
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
    entry_at, lengths, size = _offsets(entries.lengths), np.empty(codes.size, np.uint32), _out()
    sizes = entry_at, _u64(entries.lengths.size), rest.lengths, _u64(rest.lengths.size)
    _call("bk_dict_measure", codes, _u64(codes.size), *sizes, lengths, size)
    if int(size[0]) > limit_bytes:
        raise KernelError(ERR_BAD_COLUMN)
    data = np.empty(int(size[0]), np.uint8)
    _call(
        "bk_dict_decode",
        *(codes, _u64(codes.size), entry_at, entries.data, rest.data, _u64(rest.data.size)),
        *(lengths, _u64(data.size), data),
    )
    return Strings(lengths, data)


def subsample(names: Strings, seed: int, fraction: float) -> Array:
    """Which reads samtools view -s keeps (R, uint8), by a hash of their names."""
    keep = np.empty(names.lengths.size, np.uint8)
    sizes = _u64(names.data.size), names.lengths, _u64(keep.size)
    _call("bk_subsample", names.data, *sizes, ctypes.c_uint32(seed), ctypes.c_double(fraction), keep)
    return keep
