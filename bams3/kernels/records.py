"""Kernels over records: where they end, their columns and back, and what the index says of them."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np

from ..columns import (
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
from .door import (
    ERR_BAD_COLUMN,
    KernelError,
    LayoutsStruct,
    TagsStruct,
    address,
    call,
    offsets,
    out,
    struct,
    u64,
)

MAX_LAYOUTS = 65_535
MAX_LAYOUT_KEYS = 1 << 20
MAX_TAG_COLUMNS = 1_024
N_TOTALS = 34


def _layouts_struct(layouts: Layouts, columns: Array) -> LayoutsStruct:
    n_layouts = layouts.start.size - 1
    return LayoutsStruct(
        address(layouts.keys, np.uint32),
        address(columns, np.uint16, layouts.keys.size),
        address(layouts.start, np.uint32),
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
        self._limits = u64(max_records), u64(max_bytes)
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
        after, stop, where = out(), np.zeros(1, np.int32), out()
        n_contigs = u64(self._section.size)
        address(data, np.uint8)
        call(
            "bk_scan",
            *(data, u64(data.size), u64(at)),
            *(self._section, self._span, n_contigs, *self._limits),
            *(self._state, after, stop),
            where=where,
        )
        return int(after[0]), int(stop[0])


# ---- records to columns and back ----


class _Measured(NamedTuple):
    """What a first reading of records says of their columns."""

    layouts: Layouts
    key_columns: Array  # tag column of each key, uint16 (K,)
    tag_keys: Array  # of each tag column, uint32
    tag_values: Array  # occurrences in each tag column, uint64
    tag_bytes: Array  # payload of each tag column, uint64
    layout: Array  # of each record, uint32 (R,)
    sizes: Array  # CIGAR operations, name characters, base bytes, quality bytes, NULs that lack


def _measure(data: Array, n: int) -> _Measured:
    keys, columns = np.empty(MAX_LAYOUT_KEYS, np.uint32), np.empty(MAX_LAYOUT_KEYS, np.uint16)
    start, tag_keys = np.empty(MAX_LAYOUTS + 1, np.uint32), np.empty(MAX_TAG_COLUMNS, np.uint32)
    tag_values, tag_bytes = np.empty(MAX_TAG_COLUMNS, np.uint64), np.empty(MAX_TAG_COLUMNS, np.uint64)
    layouts = LayoutsStruct(*map(address, (keys, columns, start)), MAX_LAYOUT_KEYS, MAX_LAYOUTS, 0)
    tags = TagsStruct(*map(address, (tag_keys, tag_values, tag_bytes)), MAX_TAG_COLUMNS, 0)
    layout, sizes = np.empty(n, np.uint32), out(5)
    scratch = np.zeros(4096, np.uint16), np.zeros(1 << 17, np.uint32)
    call(
        "bk_measure",
        *(data, u64(data.size), u64(n), *scratch),
        *(layouts, tags, layout, sizes),
        where=out(),
    )
    n_layouts, n_tags = layouts.n_layouts, tags.n_columns
    n_keys = int(start[n_layouts])
    found = Layouts(keys[:n_keys].copy(), start[: n_layouts + 1].copy())
    per_tag = [values[:n_tags].copy() for values in (tag_keys, tag_values, tag_bytes)]
    return _Measured(found, columns[:n_keys].copy(), per_tag[0], per_tag[1], per_tag[2], layout, sizes)


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
    m = _measure(data, n)
    c = _empty_columns(n, data.size, m)
    data_at = offsets(m.tag_bytes)
    lengths_at = offsets(np.where(has_lengths(m.tag_keys), m.tag_values, 0))
    tag_data, tag_lengths = np.empty(int(data_at[-1]), np.uint8), np.empty(int(lengths_at[-1]), np.uint32)
    s = struct(c)
    assert c.cigar is not None
    s.tag_data, s.tag_data_at = address(tag_data), address(data_at)
    s.tag_lengths, s.tag_lengths_at = address(tag_lengths), address(lengths_at)
    tables, cursors = _layouts_struct(m.layouts, m.key_columns), (data_at.copy(), lengths_at.copy())
    call("bk_split", data, u64(data.size), tables, s, *cursors, where=out())
    c.cigar.lengths[:] *= 4  # the kernel counts operations
    long = has_lengths(m.tag_keys)
    for i, key in enumerate(m.tag_keys.tolist()):
        if key >> 24 != IN_CIGAR:
            values = tag_data[int(data_at[i]) : int(data_at[i + 1])]
            lengths = tag_lengths[int(lengths_at[i]) : int(lengths_at[i + 1])]
            c.tags[tag_name(key)] = Strings(lengths, values) if long[i] else values
    return c


def _empty_columns(n: int, size_bytes: int, m: _Measured) -> Columns:
    """Columns with room for what was measured."""
    ops, names, bases, quals, added = (int(size) for size in m.sizes)
    c = Columns(n, size_bytes + added, layouts=m.layouts)
    for name, dtype in INT_COLUMNS.items():
        setattr(c, name, np.empty(n, dtype))
    c.layout = m.layout
    c.cigar = Strings(np.empty(n, np.uint32), np.empty(4 * ops, np.uint8))
    c.name = Strings(np.empty(n, np.uint32), np.empty(names, np.uint8))
    c.bases, c.quals = np.empty(bases, np.uint8), np.empty(quals, np.uint8)
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
    return np.concatenate(data), offsets(sizes[0]), np.concatenate(lengths), offsets(sizes[1])


def operations(c: Columns) -> Array:
    """Operations of each record's CIGAR; ``bad-column`` where one has no whole number of them."""
    if c.cigar is None or np.bitwise_or.reduce(c.cigar.lengths) & 3:
        raise KernelError(ERR_BAD_COLUMN)
    return np.right_shift(c.cigar.lengths, np.uint32(2))


def join(c: Columns, keep: Array | None = None) -> Array:
    """BAM records (uint8) of complete columns, or of those that ``keep`` (R, uint8) marks.

    Raises
    ------
    KernelError
        ``bad-column`` where a column is missing, too short, too long, or names a layout that is not
        there; or where the records are longer than ``c.decoded_bytes``.
    """
    if c.layouts is None:
        raise KernelError(ERR_BAD_COLUMN)
    keys = np.unique(c.layouts.keys)
    tags = _tag_arrays(c, keys)
    n_ops = operations(c)
    s = struct(c, *INT_COLUMNS, "name", "bases", "quals")
    s.cigar_len = address(n_ops)
    s.tag_data, s.tag_data_at, s.tag_lengths, s.tag_lengths_at = map(address, tags)
    columns = np.searchsorted(keys, c.layouts.keys).astype(np.uint16)
    tables = _layouts_struct(c.layouts, columns)
    tag_struct = TagsStruct(key=address(keys), n_columns=keys.size)
    if keep is not None:
        address(keep, np.uint8, c.n)
    size = out()
    call("bk_layouts_check", tables, tag_struct, where=out())
    call("bk_join_measure", *(tables, s, keep, tags[1].copy(), tags[3].copy(), size), where=out())
    if int(size[0]) > c.decoded_bytes:
        raise KernelError(ERR_BAD_COLUMN)
    joined = np.empty(int(size[0]), np.uint8)
    cursors = tags[1].copy(), tags[3].copy()
    call("bk_join", *(tables, s, keep, *cursors, u64(joined.size), joined), where=out())
    return joined


# ---- what the index says of a row group ----


def summarise(c: Columns, max_runs: int) -> tuple[Array, Array, Array, Array, Array]:
    """Runs of equal contig: contig, records, smallest start, largest end, and totals (runs, 34).

    Raises
    ------
    KernelError
        ``too-many-tags`` is not raised here; more than ``max_runs`` runs are (code TOO_MANY).
    """
    n_runs, contig, records = out(), np.empty(max_runs, np.int32), np.empty(max_runs, np.uint64)
    start, end = np.empty(max_runs, np.int64), np.empty(max_runs, np.int64)
    totals = np.zeros((max_runs, N_TOTALS), np.uint64)
    s = struct(c, "contig", "pos", "flag", "mapq", "ref_len", "mate_contig", "seq_len")
    call("bk_summarise", s, u64(max_runs), n_runs, contig, records, start, end, totals)
    n = int(n_runs[0])
    return contig[:n], records[:n], start[:n], end[:n], totals[:n]


def add_depth(
    c: Columns, first_contig: int, window_base: Array, length: Array, first_window: int, sums: Array
) -> None:
    """Add aligned bases of records without flags 0x704 to ``sums`` (uint64, windows of 100 bp).

    Parameters
    ----------
    window_base, length
        uint64, per contig of the section from ``first_contig`` on: where its windows begin, and
        its length (bp); bases beyond are left out.
    first_window
        The section's window that ``sums[0]`` stands for.
    """
    n_ops = operations(c)
    s = struct(c, "contig", "pos", "flag")
    s.cigar_len = address(n_ops)
    call(
        "bk_depth",
        *(s, ctypes.c_int32(first_contig), u64(window_base.size), window_base, length),
        *(ctypes.c_uint32(100), u64(first_window), u64(sums.size), out(sums.size + 1), sums),
    )


def subsample(names: Strings, seed: int, fraction: float) -> Array:
    """Which reads samtools view -s keeps (R, uint8), by a hash of their names."""
    keep = np.empty(names.lengths.size, np.uint8)
    sizes = u64(names.data.size), names.lengths, u64(keep.size)
    call("bk_subsample", names.data, *sizes, ctypes.c_uint32(seed), ctypes.c_double(fraction), keep)
    return keep
