"""The codec of qualities: static rANS in contexts that suit the data (FORMAT.md, section 8.4)."""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..columns import Array, Columns
from ..kernels import QualityForm
from .codecs import expect
from .frames import Dense, Stream, corrupt
from .predict import derived

#: Classes of the value before the last, and positions, of the contexts that a writer tries: for
#: qualities of many values, and for binned ones.
_FORMS = (1, 16), (1, 4), (4, 1)
_BINNED_FORMS = (8, 8), (4, 1)
_BINNED_VALUES = 16
_SAMPLE_BYTES = 1 << 18
_MIN_LANE_BYTES = 1 << 15
_LANES = 8
#: Bits of a symbol of frequency f of 4,096, in 256ths.
_BITS = np.round(256 * np.log2(4096 / np.maximum(np.arange(4097), 1))).astype(np.int64)


class Qualities:
    """Streams: alphabet; classes, shift, positions (u1, u1, u2); tables; lane sizes; lanes."""

    def encode(self, value: Array, width: int, columns: Columns) -> list[Stream]:
        assert columns.seq_len is not None
        assert columns.flag is not None
        alphabet = alphabet_of(value, columns)
        values = kernels.orient_qualities(value, columns.seq_len, columns.flag, alphabet)
        form = _best_form(values, columns.seq_len, alphabet.size)
        freq, tables = kernels.quality_tables(kernels.count_qualities(values, columns.seq_len, form, 1), form)
        n_lanes = _LANES if value.size >= _LANES * _MIN_LANE_BYTES else 1
        lanes, payload = kernels.encode_qualities(values, columns.seq_len, form, freq, n_lanes)
        shape = np.array([form.n_classes | form.shift << 8 | form.n_positions << 16], "<u4")
        return [alphabet, shape.view(np.uint8), tables, lanes.view(np.uint8), Dense(payload)]

    def decode(self, streams: list[Array], width: int, columns: Columns) -> Array:
        assert columns.seq_len is not None
        assert columns.flag is not None
        expect(streams, 5)
        alphabet, shape, tables, lanes, payload = streams
        if shape.size != 4 or lanes.size % 4:
            raise corrupt("the form of the qualities is cut short")
        packed = int.from_bytes(shape.tobytes(), "little")
        form = QualityForm(alphabet.size, packed & 255, packed >> 8 & 255, packed >> 16)
        if int(columns.seq_len.sum(dtype=np.uint64)) > columns.decoded_bytes:
            raise corrupt("there are more qualities than the records can hold")
        values = kernels.decode_qualities(payload, lanes.copy().view("<u4"), tables, columns.seq_len, form)
        kernels.restore_qualities(values, columns.seq_len, columns.flag, alphabet)
        return values


def alphabet_of(quals: Array, columns: Columns) -> Array:
    """The different qualities of a row group, ascending: uint8."""
    out: Array = derived(columns, "alphabet", lambda _: np.flatnonzero(kernels.histogram(quals)))
    return out.astype(np.uint8)


def suits(quals: Array, columns: Columns) -> bool:
    """Whether there are qualities to tell apart, and few enough for contexts."""
    return 1 < alphabet_of(quals, columns).size <= kernels.MAX_VALUES


def _best_form(values: Array, seq_len: Array, n_values: int) -> QualityForm:
    """The form with the fewest bits, by a sample of the reads."""
    longest = int(seq_len.max())
    step = max(1, values.size // _SAMPLE_BYTES)
    forms = []
    for classes, positions in _BINNED_FORMS if n_values <= _BINNED_VALUES else _FORMS:
        shift = 0
        while longest - 1 >> shift >= positions:
            shift += 1
        form = QualityForm(n_values, min(classes, n_values), shift, positions)
        if form.valid and form not in forms:
            forms.append(form)
    return min(forms, key=lambda form: _bits(values, seq_len, form, step))


def _bits(values: Array, seq_len: Array, form: QualityForm, step: int) -> int:
    """Bits of all values in this form, by every ``step``-th read.

    A frequency costs about 9 bits in the tables; and a sample looks smaller than the whole by about
    1 / (2 ln 2) bits for each, because it fits itself.
    """
    counts = kernels.count_qualities(values, seq_len, form, step)
    freq, _ = kernels.quality_tables(counts, form)
    in_use = int(np.count_nonzero(counts))
    return step * (int((counts * _BITS[freq]).sum()) // 256 + 3 * in_use // 4) + 9 * in_use
