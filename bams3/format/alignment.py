"""Codecs that know the reference which the records of a row group imply (FORMAT.md, section 8.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import kernels
from ..columns import Array, Columns, Strings
from ..kernels import Mismatches, Placement
from .codecs import expect, from_planes, to_planes, unzigzag, zigzag
from .frames import Dense, Stream, corrupt, stream_bytes
from .predict import (
    derived,
    limit_bytes,
    marked,
    predicted_texts,
    records_of,
    tag_records,
    texts_of,
)

#: What aligners give a match, a mismatch, an N, a gap, and each base in it: bwa, then minimap2's
#: presets, then bowtie2; the first of those that predict as many.
_SCORES = (
    (1, -4, -1, -6, -1),
    (2, -4, -1, -4, -2),
    (1, -4, -1, -6, -2),
    (2, -8, -2, -12, -2),
    (0, -6, -1, -5, -3),
)
#: Values by which weights are chosen.
_SAMPLE = 4096
_EDITS = (0, 1, 1, 0, 1)
_MISMATCH_BITS = 10


def placement(columns: Columns) -> Placement:
    """Where the records lie in their reference."""
    return derived(columns, "placement", kernels.place)  # type: ignore[no-any-return]


def mismatches(columns: Columns) -> Mismatches:
    """What differs from the reference, as the codec ``aligned`` left it."""
    if "mismatches" not in columns.derived:
        raise corrupt("it is predicted from aligned bases, and these are stored in another way")
    return columns.derived["mismatches"]  # type: ignore[no-any-return]


def align(columns: Columns) -> None:
    """Infer the reference, and keep it where bases are smaller with it than without."""
    p, mds = placement(columns), columns.tags.get("MD:Z")
    n_bases = int(p.seq_len.sum(dtype=np.uint64))
    if p.covered == 0 or p.covered > n_bases:
        return
    md_of, texts = np.full(columns.n, -1, np.int32), Strings(np.empty(0, np.uint32), np.empty(0, np.uint8))
    records = tag_records(columns, "MD:Z")
    if isinstance(mds, Strings) and records is not None:
        md_of[records], texts = np.arange(records.size), mds
    assert columns.bases is not None
    reference = kernels.infer_reference(p, columns.bases, md_of, texts)
    if not compare(columns, reference):
        return
    if sum(map(stream_bytes, AlignedBases().encode(columns.bases, 1, columns))) > limit_bytes(columns):
        return  # so many loose bases are none of A, C, G, T that readers would take them for damage
    # An MD tag says again what a mismatch is: without the reference it would be stored.
    mismatch_bits = 0 if texts.lengths.size else _MISMATCH_BITS * mismatches(columns).gap.size
    if 2 * p.covered + mismatch_bits <= 2 * (n_bases - p.n_loose):
        columns.reference = reference


def compare(columns: Columns, reference: Array) -> bool:
    """Find what differs from a reference; False where this form does not suit the bases."""
    assert columns.bases is not None
    found = kernels.differ(placement(columns), columns.bases, reference)
    if found is None:
        return False
    counts, columns.derived["mismatches"], loose = found
    columns.derived["bases"] = counts, *kernels.pack_codes(loose)
    return True


class Reference:
    """One base for each position that is covered, A C G T as 0 to 3, four a byte, the first lowest."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Stream]:
        return [Dense(kernels.pack_codes(value)[0])]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        expect(streams, 1)
        p, none = placement(columns), np.empty(0, np.uint8)
        return kernels.unpack_codes(streams[0], p.covered, np.empty(0, np.uint32), none)


class AlignedBases:
    """Differences from the reference, and loose bases.

    Streams: mismatches of each aligned record (4 planes); gaps (4 planes); symbols; loose bases in two
    bits; the gaps (4 planes) and codes of those that have none.
    """

    def encode(self, value: Array, width: int, columns: Columns) -> list[Stream]:
        p, m = placement(columns), mismatches(columns)
        counts, packed, gaps, codes = columns.derived["bases"]
        return [
            *to_planes(counts[p.aligned != 0], 4),
            *(*to_planes(m.gap, 4), m.symbol),
            *(packed, *to_planes(gaps, 4), codes),
        ]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        expect(streams, 15)
        p, reference = placement(columns), columns.reference
        assert reference is not None
        if p.base_bytes > columns.decoded_bytes:
            raise corrupt("there are more bases than the records can hold")
        counts, gap, gaps = (from_planes(streams[i : i + 4], "<u4") for i in (0, 4, 10))
        first = np.zeros(columns.n + 1, np.uint64)
        if counts.size != np.count_nonzero(p.aligned):
            raise corrupt("there is not one number of mismatches for each aligned record")
        first[1:][p.aligned != 0] = counts
        first = np.cumsum(first, dtype=np.uint64)
        m = Mismatches(first, gap, streams[8], np.empty(gap.size, np.uint8))
        loose = kernels.unpack_codes(streams[9], p.n_loose, gaps, streams[14])
        bases = kernels.restore(p, m, reference, loose)
        columns.derived["mismatches"] = m
        return bases


class MdTexts:
    """MD: 1 for each value that follows from the bases; the others, as ``dictionary``."""

    def encode(self, value: Strings, width: int, columns: Columns) -> list[Array]:
        records = records_of(columns, "MD:Z", value.lengths.size)
        lengths = self._lengths(columns, records)
        likely = np.flatnonzero(lengths == value.lengths)
        texts = self._texts(columns, records[likely], lengths[likely])
        return predicted_texts(value, np.arange(records.size), likely, texts, columns)

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Strings:
        records = tag_records(columns, "MD:Z")
        if records is None:
            raise corrupt("a predicted tag stands twice in a record")
        hit = marked(streams, np.arange(records.size))
        lengths = self._lengths(columns, records[hit])
        if int(lengths.sum(dtype=np.uint64)) > limit_bytes(columns):
            raise corrupt("there is more text than the records can hold")
        texts = self._texts(columns, records[hit], lengths)
        return texts_of(streams, hit, texts, records.size, columns)

    def _lengths(self, columns: Columns, records: Array) -> Array:
        return kernels.md_lengths(*self._of(columns, records))

    def _texts(self, columns: Columns, records: Array, lengths: Array) -> Strings:
        return kernels.md_texts(*self._of(columns, records), lengths)

    @staticmethod
    def _of(columns: Columns, records: Array) -> tuple[Placement, Mismatches, Array, Array]:
        wanted = np.zeros(columns.n, np.uint8)
        wanted[records] = 1
        assert columns.reference is not None
        return placement(columns), mismatches(columns), columns.reference, wanted


@dataclass(frozen=True, slots=True)
class Score:
    """Numbers that follow from the alignment, such as NM and AS: differences from a weighted sum.

    Streams: five i2 weights, of matches, mismatches but N, N, gaps (insertions and deletions), and
    bases in them; the planes of the zigzagged differences.
    """

    tag: str

    def _features(self, columns: Columns, n_values: int) -> Array:
        m = mismatches(columns)
        counts = derived(columns, "counts", lambda c: kernels.alignment_counts(placement(c), m))
        records = records_of(columns, self.tag, n_values)
        out: Array = counts if n_values == columns.n else counts[:, records]
        return out

    @staticmethod
    def _predicted(weights: Array, features: Array, width: int) -> Array:
        with np.errstate(over="ignore"):
            total = (weights.astype(np.int32)[:, None] * features).sum(axis=0, dtype=np.int32)
        out: Array = total.astype(f"<u{width}")
        return out

    def encode(self, value: Array, width: int, columns: Columns) -> list[Array]:
        values = value.view(f"<u{width}")
        features = self._features(columns, values.size)
        tries = [np.array(w, "<i2") for w in ((_EDITS,) if self.tag.startswith("NM") else _SCORES)]
        some, few = values[:_SAMPLE], features[:, :_SAMPLE]
        weights = max(tries, key=lambda w: np.count_nonzero(self._predicted(w, few, width) == some))
        differences = values - self._predicted(weights, features, width)
        return [weights.view(np.uint8), *to_planes(zigzag(differences), width)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        expect(streams, 1 + width)
        if streams[0].size != 10:
            raise corrupt("there are not five weights")
        differences = unzigzag(from_planes(streams[1:], f"<u{width}"))
        features = self._features(columns, differences.size)
        out: Array = self._predicted(streams[0].copy().view("<i2"), features, width) + differences
        return out
