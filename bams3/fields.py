"""Fields of records as users name them, from stored columns: NumPy arrays, Arrow, or text as in SAM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from . import kernels
from .columns import Array, Columns, Strings
from .errors import InputError
from .format import spec

_UNMAPPED = 0x4
_CODES = np.frombuffer(b"=ACMGRSVTWYHKDBN", np.uint8)
_NO_STRINGS = Strings(np.zeros(0, np.uint32), np.zeros(0, np.uint8))


@dataclass(frozen=True, slots=True)
class Field:
    """One field of some records.

    Attributes
    ----------
    values
        An array of numbers; Strings (UTF-8, surrogates escaped, or items of an array); or contig numbers.
    valid
        Which records have it (bool); None: all.
    kind
        ``number``, ``text``, ``contig`` (numbers of ``names``), or the NumPy type of a list's items.
    names
        Contig names.
    one_based
        Whether the number is a 0-based position, which SAM writes from 1 on.
    """

    values: Array | Strings
    valid: Array | None = None
    kind: str = "number"
    names: Sequence[str] = ()
    one_based: bool = False

    def __len__(self) -> int:
        return self.values.lengths.size if isinstance(self.values, Strings) else self.values.size

    def numpy(self) -> Array:
        """Numbers (masked where some have none), or Python objects: text, lists of numbers, None."""
        if isinstance(self.values, Strings) or self.kind == "contig":
            out = np.empty(len(self), object)
            out[:] = self._objects()
            return out
        if self.valid is None:
            return self.values
        masked: Array = np.ma.MaskedArray(self.values, ~self.valid)
        return masked

    def as_in_sam(self) -> Field:
        """The same with positions from 1 on."""
        if not self.one_based:
            return self
        assert isinstance(self.values, np.ndarray)
        return replace(self, values=self.values.astype(np.int64) + 1, one_based=False)

    def texts(self) -> list[str] | Array:
        """Values as text: ``*`` or, of numbers, nothing where there is none."""
        if self.kind == "number":
            assert isinstance(self.values, np.ndarray)
            if self.valid is None and self.values.dtype.kind in "iu":
                return self.values
            form = _float_text if self.values.dtype.kind == "f" else str
            return [form(v) if ok else "" for v, ok in zip(self.values.tolist(), self._valid(), strict=True)]
        return [_as_text(value) for value in self._objects()]

    def _valid(self) -> Iterable[bool]:
        n = len(self)
        return [True] * n if self.valid is None else self.valid.tolist()

    def _objects(self) -> list[Any]:
        if isinstance(self.values, Strings):
            ends = np.cumsum(self.values.lengths, dtype=np.int64).tolist()
            data = self.values.data.tobytes()
            parts = [data[a:b] for a, b in pairwise([0, *ends])]
            if self.kind == "text":
                found: list[Any] = [part.decode("utf-8", "surrogateescape") for part in parts]
            else:
                found = [np.frombuffer(part, self.kind) for part in parts]
        else:
            found = [self.names[i] if i >= 0 else None for i in self.values.tolist()]
        return [value if ok else None for value, ok in zip(found, self._valid(), strict=True)]

    def arrow(self) -> Any:
        """The same as a pyarrow array, of the same memory where that can be."""
        import pyarrow as pa  # noqa: PLC0415  # a tenth of a second

        mask = None if self.valid is None else ~self.valid
        if self.kind == "contig":
            assert isinstance(self.values, np.ndarray)
            numbers = pa.array(self.values, mask=self.values < 0)
            return pa.DictionaryArray.from_arrays(numbers, pa.array(self.names, pa.string()))
        if not isinstance(self.values, Strings):
            return pa.array(self.values, mask=mask)
        width = 1 if self.kind == "text" else np.dtype(self.kind).itemsize
        offsets = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self.values.lengths // width, out=offsets[1:])
        nulls = None if mask is None else pa.array(self.valid).buffers()[1]
        if self.kind == "text":
            buffers = [nulls, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(self.values.data))]
            return pa.Array.from_buffers(pa.large_string(), len(self), buffers)
        items = pa.array(self.values.data.view(self.kind))
        kind = pa.large_list(items.type)
        return pa.Array.from_buffers(kind, len(self), [nulls, pa.py_buffer(offsets)], children=[items])


def _float_text(value: float) -> str:
    return f"{value:g}"


def _as_text(value: Any) -> str:
    if value is None:
        return "*"
    return value if isinstance(value, str) else ",".join(map(str, value.tolist()))


# ---- fields that are no tags ----


def _number(column: str, one_based: bool = False) -> Callable[[Columns, Array, Sequence[str]], Field]:
    def make(c: Columns, index: Array, names: Sequence[str]) -> Field:
        del names
        return Field(getattr(c, column)[index], one_based=one_based)

    return make


def _contig(column: str) -> Callable[[Columns, Array, Sequence[str]], Field]:
    def make(c: Columns, index: Array, names: Sequence[str]) -> Field:
        numbers = getattr(c, column)[index]
        return Field(numbers, numbers >= 0, "contig", names)

    return make


def _end(c: Columns, index: Array, names: Sequence[str]) -> Field:
    del names
    assert c.pos is not None
    assert c.ref_len is not None
    assert c.flag is not None
    covered = c.ref_len[index].astype(np.int64)
    return Field(c.pos[index] + covered, (covered > 0) & (c.flag[index] & _UNMAPPED == 0))


def _name(c: Columns, index: Array, names: Sequence[str]) -> Field:
    del names
    assert c.name is not None
    return Field(kernels.take_strings(c.name, index, c.decoded_bytes), kind="text")


def _cigar(c: Columns, index: Array, names: Sequence[str]) -> Field:
    del names
    assert c.cigar is not None
    # At most 10 digits and a letter for 4 bytes of an operation.
    texts = kernels.cigar_texts(c.cigar, index, 3 * c.decoded_bytes)
    return Field(texts, c.cigar.lengths[index] > 0, "text")


def _seq(c: Columns, index: Array, names: Sequence[str]) -> Field:
    del names
    assert c.seq_len is not None
    assert c.bases is not None
    packed = kernels.take_strings(Strings((c.seq_len + np.uint32(1)) // 2, c.bases), index, c.decoded_bytes)
    letters = np.empty(2 * packed.data.size, np.uint8)
    letters[0::2], letters[1::2] = _CODES[packed.data >> 4], _CODES[packed.data & 15]
    lengths = c.seq_len[index]
    ends = 2 * np.cumsum(packed.lengths, dtype=np.int64)
    is_base = np.ones(letters.size, bool)
    is_base[ends[lengths % 2 == 1] - 1] = False  # the half byte behind an odd sequence
    return Field(Strings(lengths, letters[is_base]), lengths > 0, "text")


def _qual(c: Columns, index: Array, names: Sequence[str]) -> Field:
    del names
    assert c.seq_len is not None
    assert c.quals is not None
    quals = kernels.take_strings(Strings(c.seq_len, c.quals), index, c.decoded_bytes)
    starts = np.cumsum(quals.lengths, dtype=np.int64) - quals.lengths
    there = quals.lengths > 0
    there[there] = quals.data[starts[there]] != 255
    return Field(Strings(quals.lengths, quals.data + np.uint8(33)), there, "text")


Maker = Callable[[Columns, Array, Sequence[str]], Field]
#: Name, the stored columns that it is made of, and how.
FIELDS: dict[str, tuple[set[str], Maker]] = {
    "name": ({"name"}, _name),
    "flag": ({"flag"}, _number("flag")),
    "contig": ({"contig"}, _contig("contig")),
    "pos": ({"pos"}, _number("pos", one_based=True)),
    "end": ({"pos", "ref_len", "flag"}, _end),
    "mapq": ({"mapq"}, _number("mapq")),
    "cigar": ({"cigar"}, _cigar),
    "mate_contig": ({"mate_contig"}, _contig("mate_contig")),
    "mate_pos": ({"mate_pos"}, _number("mate_pos", one_based=True)),
    "tlen": ({"tlen"}, _number("tlen")),
    "seq": ({"seq_len", "bases"}, _seq),
    "qual": ({"seq_len", "quals"}, _qual),
    "seq_len": ({"seq_len"}, _number("seq_len")),
    "ref_len": ({"ref_len"}, _number("ref_len")),
}

# ---- tags ----

_INTEGERS, _TEXTS = frozenset("cCsSiI"), frozenset("AZH")


def tag_kind(types: Iterable[str]) -> str:
    """How the values of a tag are given that has these types (``C``, ``Z``, ``BS``) in a store."""
    found = {t[0] if t[0] != "B" else t for t in types}
    if found <= _INTEGERS:
        return "integer"
    if found <= _INTEGERS | {"f", "d"}:
        return "float"
    arrays = {"c": "i1", "C": "u1", "s": "<i2", "S": "<u2", "i": "<i4", "I": "<u4", "f": "<f4"}
    if len(found) == 1 and min(found)[0] == "B":
        return arrays[min(found)[1]]
    if found <= _TEXTS:
        return "text"
    raise InputError(
        f"a tag has values of the types {', '.join(sorted(found))}, which make no column", kind="mixed-tag"
    )


def tag_field(c: Columns, tag: str, types: Sequence[str], kind: str, index: Array) -> Field:
    """The first value of a tag in each record, where it has one (as pysam's get_tag).

    ``types`` are those that the row group has the tag in.
    """
    has, parts = np.zeros(c.n, bool), []
    for type_ in types:
        mine, first = _firsts(c, tag, type_)
        has |= mine
        parts.append((type_, mine, first))
    if kind in ("integer", "float"):
        out = np.zeros(c.n, np.int64 if kind == "integer" else np.float64)
        for type_, mine, first in parts:
            column = c.tags[f"{tag}:{type_}"]
            assert isinstance(column, np.ndarray)
            out[mine] = column.view(_NUMPY[type_])[first[mine]]
        return Field(out[index], has[index])
    whole, at, order = [_NO_STRINGS], 0, np.zeros(c.n, np.int64)
    for type_, mine, first in parts:
        column = c.tags[f"{tag}:{type_}"]
        strings = column if isinstance(column, Strings) else Strings(np.ones(column.size, np.uint32), column)
        order[mine] = at + first[mine]
        at += strings.lengths.size
        whole.append(strings)
    both = Strings(
        np.concatenate([strings.lengths for strings in whole] + [np.zeros(1, np.uint32)]),
        np.concatenate([strings.data for strings in whole]),
    )
    order[~has] = at  # an empty one, behind all others
    taken = kernels.take_strings(both, order[index], c.decoded_bytes)
    return Field(taken, has[index], kind)


_NUMPY = {"c": "i1", "C": "u1", "s": "<i2", "S": "<u2", "i": "<i4", "I": "<u4", "f": "<f4", "d": "<f8"}


def _firsts(c: Columns, tag: str, type_: str) -> tuple[Array, Array]:
    """Which records have the tag, and it is of this type where it stands first; the number of its value."""
    assert c.layout is not None
    assert c.layouts is not None
    keys, start = c.layouts.keys, c.layouts.start.astype(np.int64)
    n_keys = np.diff(start)
    of_layout = np.repeat(np.arange(n_keys.size), n_keys)
    name = np.uint32(ord(tag[0]) | ord(tag[1]) << 8)
    full = type_.encode().ljust(2, b"\0")
    key = name | np.uint32(full[0] << 16 | full[1] << 24)
    is_tag = keys & np.uint32(0xFFFF) == name
    first = np.zeros(n_keys.size, np.uint32)
    first[of_layout[is_tag][::-1]] = keys[is_tag][::-1]
    per_layout = np.bincount(of_layout[keys == key], minlength=n_keys.size)
    counts = per_layout[c.layout]
    return (first == key)[c.layout], np.cumsum(counts) - counts


def stored_types(columns: Iterable[str], tag: str) -> list[str]:
    """The types that stored columns have a tag in."""
    prefix = f"{spec.TAG_PREFIX}{tag}:"
    return sorted({name.removeprefix(prefix) for name in columns if name.startswith(prefix)})
