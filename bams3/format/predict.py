"""Codecs that predict a record's fields from the other records of its name (FORMAT.md, section 8.2).

A prediction is a pure function of columns that were decoded before, and what is stored is how the
values differ from it: no prediction, however wrong, changes what comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import kernels
from ..columns import Array, Columns, Strings, tag_key
from .codecs import DICTIONARY, NAMES, expect, from_planes, to_planes, unsigned, unzigzag, zigzag
from .frames import corrupt


def derived(columns: Columns, name: str, work_out: Callable[[Columns], Any]) -> Any:
    """What ``work_out`` makes of the columns, made once."""
    if name not in columns.derived:
        columns.derived[name] = work_out(columns)
    return columns.derived[name]


def tag_records(columns: Columns, tag: str) -> Array | None:
    """Numbers of the records that have a tag, one for each of its values, in order.

    None where a record has it twice: then nothing is predicted.
    """
    out: Array | None = derived(columns, f"records {tag}", lambda c: _find_tag(c, tag))
    return out


def _find_tag(columns: Columns, tag: str) -> Array | None:
    layout, layouts = columns.layout, columns.layouts
    if layout is None or layouts is None:
        raise corrupt("it needs the column layout, which is missing")
    has = layouts.keys == np.uint32(tag_key(tag))
    n_layouts = layouts.start.size - 1
    of_key = np.repeat(np.arange(n_layouts), np.diff(layouts.start))
    per_layout = np.bincount(of_key[has], minlength=n_layouts)
    if per_layout.max(initial=0) > 1:
        return None
    return np.flatnonzero((per_layout > 0)[layout])


def records_of(columns: Columns, tag: str, n_values: int) -> Array:
    """The records of a predicted tag, which must be as many as its values."""
    records = tag_records(columns, tag)
    if records is None or records.size != n_values:
        raise corrupt("a predicted tag does not have a value for each record that has it")
    return records


def limit_bytes(columns: Columns) -> int:
    """What strings that are predicted may take."""
    return 2 * columns.decoded_bytes + 4096


def mates(columns: Columns) -> Array:
    """The mate of each record, -1 where there is none: intp."""
    out: Array = derived(columns, "mates", _find_mates)
    return out


def _find_mates(columns: Columns) -> Array:
    assert columns.link is not None
    assert columns.flag is not None
    return kernels.find_mates(columns.link, columns.flag).astype(np.intp)  # as indexing wants it


# ---- links ----


class Links:
    """Distances to the next record of the name: of records that begin a chain, of the others."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        linked = np.flatnonzero(value >= 0)
        distance = np.zeros(value.size, np.uint32)
        distance[value[linked]] = linked - value[linked]
        return [*to_planes(distance[value < 0], 4), *to_planes(distance[value >= 0], 4)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        expect(streams, 8)
        first, later = from_planes(streams[:4], "<u4"), from_planes(streams[4:], "<u4")
        return kernels.join_links(first, later, columns.n)


class LinkedFlags:
    """Flags of records that begin a chain; how the others differ from the one before, as a mate's."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        assert columns.link is not None
        differences = kernels.flags_unlike_mates(columns.link, value)
        begins = columns.link < 0
        return [*to_planes(differences[begins], 2), *to_planes(differences[~begins], 2)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        assert columns.link is not None
        expect(streams, 4)
        parts = from_planes(streams[:2], "<u2"), from_planes(streams[2:], "<u2")
        begins = columns.link < 0
        if parts[0].size != np.count_nonzero(begins) or parts[0].size + parts[1].size != columns.n:
            raise corrupt("there is not one flag for each record")
        differences = np.empty(columns.n, np.uint16)
        differences[begins], differences[~begins] = parts
        return kernels.flags_of_differences(columns.link, differences)


class LinkedNames:
    """Names of records that begin a chain, as ``names``; the others have that of the one before."""

    def encode(self, value: Strings, width: int, columns: Columns) -> list[Array]:
        assert columns.link is not None
        begins = np.flatnonzero(columns.link < 0)
        return NAMES.encode(kernels.take_strings(value, begins, value.data.size), width, columns)

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Strings:
        assert columns.link is not None
        begins = columns.link < 0
        names = NAMES.decode(streams, width, columns)
        if names.lengths.size != np.count_nonzero(begins):
            raise corrupt("there is not one name for each chain")
        own = np.cumsum(begins) - 1
        return kernels.take_strings(names, own[_roots(columns.link)], limit_bytes(columns))


def _roots(before: Array) -> Array:
    """The first of each chain, from the one before each (-1: none)."""
    roots = np.where(before < 0, np.arange(before.size), before)
    while True:
        further = roots[roots]
        if (further == roots).all():
            return roots
        roots = further


@dataclass(frozen=True, slots=True)
class LinkedText:
    """Text that a record may share with the one before it in its chain, such as RG or a barcode.

    Streams: for each value whose record has one before it with the tag, 1 where it is the same;
    the values that are not the same, as ``dictionary``.
    """

    tag: str

    def _before(self, columns: Columns, records: Array) -> Array:
        """The value of the record before, by number; -1 where there is none."""
        assert columns.link is not None
        value_of = np.full(columns.n + 1, -1)  # the last entry stands for no record
        value_of[records] = np.arange(records.size)
        out: Array = value_of[columns.link[records]]
        return out

    def suits(self, value: Strings, columns: Columns) -> bool:
        """Whether the values of linked records are the same for at least half of them."""
        records = tag_records(columns, self.tag)
        if records is None or not records.size:
            return False
        has, same = self._same(value, columns, records)
        return 0 < has.size <= 2 * int(np.count_nonzero(same))

    def _same(self, value: Strings, columns: Columns, records: Array) -> tuple[Array, Array]:
        """Which values have one before them, and whether they equal it."""

        def work_out(columns: Columns) -> tuple[Array, Array]:
            before = self._before(columns, records)
            has = np.flatnonzero(before >= 0)
            return has, kernels.equal_strings(value, has, value, before[has])

        out: tuple[Array, Array] = derived(columns, f"same {self.tag}", work_out)
        return out

    def encode(self, value: Strings, width: int, columns: Columns) -> list[Array]:
        records = records_of(columns, self.tag, value.lengths.size)
        has, same = self._same(value, columns, records)
        stored = np.ones(records.size, bool)
        stored[has] = same == 0
        rest = kernels.take_strings(value, np.flatnonzero(stored), value.data.size)
        return [same, *DICTIONARY.encode(rest, 1, columns)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Strings:
        expect(streams[:1], 1)
        rest = DICTIONARY.decode(streams[1:], 1, columns)
        same = streams[0] != 0
        records = tag_records(columns, self.tag)
        if records is None:
            raise corrupt("a predicted tag stands twice in a record")
        before = self._before(columns, records)
        has = before >= 0
        if np.count_nonzero(has) != same.size:
            raise corrupt("there is not one mark for each linked record")
        before[np.flatnonzero(has)[~same]] = -1
        stored = before < 0
        if np.count_nonzero(stored) != rest.lengths.size:
            raise corrupt("there is not one text for each record that needs it")
        own = np.cumsum(stored) - 1
        return kernels.take_strings(rest, own[_roots(before)], limit_bytes(columns))


# ---- mates ----


@dataclass(frozen=True, slots=True)
class OfMate:
    """Numbers that a record says of its mate: zigzagged difference from the mate's own, as planes.

    ``field`` is the mate's column; ``otherwise`` the record's own column that predicts it where there
    is no mate, or "" for 0; ``tag`` the tag that holds the numbers, or "" for a column.
    """

    field: str
    otherwise: str = ""
    tag: str = ""

    def _prediction(self, columns: Columns, n_values: int, width: int) -> Array:
        mate = mates(columns)
        source = quality_sums(columns) if self.field == "ms" else getattr(columns, self.field)
        own = getattr(columns, self.otherwise) if self.otherwise else np.zeros(1, source.dtype)
        predicted = np.where(mate >= 0, source[mate], own)
        if self.tag:
            predicted = predicted[records_of(columns, self.tag, n_values)]
        return unsigned(predicted).astype(f"<u{width}")

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        values = value.view(f"<u{width}")
        return to_planes(zigzag(values - self._prediction(columns, values.size, width)), width)

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        expect(streams, width)
        differences = unzigzag(from_planes(streams, f"<u{width}"))
        predicted = self._prediction(columns, differences.size, width)
        if predicted.size != differences.size:
            raise corrupt("there is not one value for each record")
        return predicted + differences


def quality_sums(columns: Columns) -> Array:
    """Sum of the qualities of at least 15 of each record, as samtools fixmate -m has it in ms."""
    out: Array = derived(columns, "quality_sums", _sum_qualities)
    return out


def _sum_qualities(columns: Columns) -> Array:
    assert columns.seq_len is not None
    assert columns.quals is not None
    return kernels.quality_sums(columns.quals, columns.seq_len)


class TemplateLengths:
    """TLEN: zigzagged difference from what mate, positions and lengths say.

    Streams: one byte, 0 where lengths are from 5' end to 5' end, 1 from leftmost to rightmost base;
    4 planes.
    """

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        mate = mates(columns)
        tries = [kernels.tlen_residuals(columns, mate, value, bool(o), undo=False) for o in (0, 1)]
        best = min((0, 1), key=lambda outermost: np.count_nonzero(tries[outermost]))
        return [np.full(1, best, np.uint8), *to_planes(zigzag(tries[best]), 4)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        expect(streams, 5)
        differences = unzigzag(from_planes(streams[1:], "<u4"))
        if differences.size != columns.n or streams[0].size != 1 or streams[0][0] > 1:
            raise corrupt("there is not one value for each record, or an unknown form")
        mate = mates(columns)
        return kernels.tlen_residuals(columns, mate, differences, bool(streams[0][0]), undo=True)


class MateCigars:
    """MC: 1 for each value that is the mate's CIGAR; the others, as ``dictionary``."""

    def encode(self, value: Strings, width: int, columns: Columns) -> list[Array]:
        records = records_of(columns, "MC:Z", value.lengths.size)
        mate = mates(columns)[records]
        has = np.flatnonzero(mate >= 0)
        assert columns.cigar is not None
        lengths = kernels.cigar_text_lengths(columns.cigar)[mate[has]]
        likely = np.flatnonzero(lengths == value.lengths[has])
        texts = kernels.cigar_texts(columns.cigar, mate[has[likely]], value.data.size)
        return predicted_texts(value, has, likely, texts, columns)

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Strings:
        records = tag_records(columns, "MC:Z")
        if records is None:
            raise corrupt("a predicted tag stands twice in a record")
        mate = mates(columns)[records]
        assert columns.cigar is not None
        hit = marked(streams, np.flatnonzero(mate >= 0))
        texts = kernels.cigar_texts(columns.cigar, mate[hit], limit_bytes(columns))
        return texts_of(streams, hit, texts, records.size, columns)


def predicted_texts(
    value: Strings, has: Array, likely: Array, texts: Strings, columns: Columns
) -> list[Array]:
    """Streams of texts, of which those numbered ``has`` are predicted: marks, and the rest.

    Only the predictions ``texts`` of ``has[likely]``, which have the right length, were made: what a
    record says of itself may be far shorter than what is predicted of it.
    """
    same = np.zeros(has.size, np.uint8)
    same[likely] = kernels.equal_strings(value, has[likely], texts, np.arange(likely.size))
    stored = np.ones(value.lengths.size, bool)
    stored[has] = same == 0
    rest = kernels.take_strings(value, np.flatnonzero(stored), value.data.size)
    return [same, *DICTIONARY.encode(rest, 1, columns)]


def marked(streams: list[Array], has: Array) -> Array:
    """Numbers of the values, among ``has``, that are as predicted."""
    expect(streams[:1], 1)
    if streams[0].size != has.size:
        raise corrupt("there is not one mark for each value that is predicted")
    out: Array = has[streams[0] != 0]
    return out


def texts_of(streams: list[Array], hit: Array, texts: Strings, n_values: int, columns: Columns) -> Strings:
    """The inverse of predicted_texts, from the predictions that hold."""
    rest = DICTIONARY.decode(streams[1:], 1, columns)
    return with_rest(texts, hit, rest, n_values, columns)


def with_rest(texts: Strings, hit: Array, rest: Strings, n_values: int, columns: Columns) -> Strings:
    """``n_values`` texts: those numbered ``hit`` are ``texts``, the others ``rest``, both in order."""
    if rest.lengths.size + hit.size != n_values:
        raise corrupt("there is not one text for each value that needs it")
    if not rest.lengths.size:
        return texts
    source = np.empty(n_values, np.int64)
    kept = np.ones(n_values, bool)
    kept[hit] = False
    source[hit] = np.arange(hit.size)
    source[kept] = hit.size + np.arange(rest.lengths.size)
    both = Strings(np.concatenate((texts.lengths, rest.lengths)), np.concatenate((texts.data, rest.data)))
    return kernels.take_strings(both, source, limit_bytes(columns))


# ---- alternatives ----


class Alternatives:
    """XA: other places where a read aligns, by their distance from it.

    Streams: counts; ranks; same; edits (4 planes, zigzagged); of new distances the strands, the
    distances (4 planes) and the names, as ``dictionary``; CIGARs and whole values that are kept as
    text, as ``dictionary`` each.
    """

    def encode(self, value: Strings, width: int, columns: Columns) -> list[Array]:
        records = records_of(columns, "XA:Z", value.lengths.size)
        a = kernels.split_alternatives(columns, records, value)
        rest = kernels.take_strings(value, np.flatnonzero(a.counts == 0), value.data.size)
        return [
            *(a.counts, a.ranks, a.same, *to_planes(zigzag(a.edits), 4)),
            *(a.own_strand, *to_planes(a.apart, 4), *DICTIONARY.encode(a.names, 1, columns)),
            *(*DICTIONARY.encode(a.cigars, 1, columns), *DICTIONARY.encode(rest, 1, columns)),
        ]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Strings:
        expect(streams, 12 + 3 * 11)
        records = tag_records(columns, "XA:Z")
        if records is None:
            raise corrupt("a predicted tag stands twice in a record")
        edits, apart = unzigzag(from_planes(streams[3:7], "<u4")), from_planes(streams[8:12], "<u4")
        names, cigars, rest = (DICTIONARY.decode(streams[i : i + 11], 1, columns) for i in (12, 23, 34))
        counts, ranks, same, own_strand = (streams[i] for i in (0, 1, 2, 7))
        a = kernels.Alternatives(counts, ranks, same, edits, own_strand, apart, names, cigars)
        joined = kernels.join_alternatives(columns, records, a, limit_bytes(columns))
        hit = np.flatnonzero(counts)
        texts = Strings(joined.lengths[hit], joined.data)
        return with_rest(texts, hit, rest, records.size, columns)
