"""Kernels of entropy coding against their slow twins, and against streams that lie."""

import random

import entropy_twins as twins
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_kernels import BAD_COLUMN, code_of, outcome, same, u8

from bams3 import kernels
from bams3.kernels import KernelError, QualityForm

pytestmark = pytest.mark.native

SHORT_STREAM, BAD_FREQUENCIES, LONG_STREAM = 15, 16, 17
LOW_STATE = (32_768).to_bytes(4, "little")
SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 4095, 4096, 4097]
SYMBOLS = {
    "one": [7],
    "one rare": [0] * 5000 + [255],
    "two": [3, 4],
    "skewed": [b for b in range(12) for _ in range(1 << 11 - b)],
    "flat": list(range(256)),
    "one often, all others once": [9] * 60_000 + list(range(256)),
}
STREAMS = (
    st.binary(max_size=64)
    | st.text(st.sampled_from("AAAAAAAAAAAAAAAAAAAACCCCG"), max_size=200).map(str.encode)
    | st.builds(lambda b, n: b * n, st.binary(min_size=1, max_size=4), st.integers(0, 70))
)


def lie(data, stream):
    """A stream cut, extended, or with one of its numbers changed."""
    values, top = stream.tolist(), int(np.iinfo(stream.dtype).max)
    number = st.sampled_from([0, 1, 2, 127, 128, 144, 255, top // 2, top - 1, top]) | st.integers(0, top)
    how = data.draw(st.sampled_from(["change", "change", "cut", "extend"]))
    if how == "extend":
        values += data.draw(st.lists(number, min_size=1, max_size=5))
    elif how == "cut":
        del values[data.draw(st.integers(0, len(values))) :]
    elif values:
        values[data.draw(st.integers(0, len(values) - 1))] = data.draw(number)
    return np.array(values, np.uint64).astype(stream.dtype)


def lie_of(data, streams):
    """Streams of which one or two lie."""
    streams = list(streams)
    for _ in range(data.draw(st.integers(1, 2))):
        which = data.draw(st.integers(0, len(streams) - 1))
        streams[which] = lie(data, streams[which])
    return streams


def fare_alike(native, twin, *arguments):
    """Whether a kernel and its twin both refuse, or give the same."""
    a, b = outcome(native, *arguments), outcome(twin, *arguments)
    return isinstance(a, int) if isinstance(b, int) else same(a, b)


# ---- rANS ----


@pytest.mark.parametrize("k", [twins, kernels], ids=["twin", "native"])
class TestRans:
    """What the kernels of rANS and their twins must do alike."""

    @given(stream=STREAMS)
    def test_a_histogram_counts_every_byte(self, k, stream):
        counts = k.histogram(u8(stream))
        assert same(counts, twins.histogram(stream))
        assert counts.sum() == len(stream)

    @given(stream=STREAMS)
    def test_a_stream_is_packed_as_the_twin_packs_it_and_comes_back(self, k, stream):
        packed = k.encode_rans(u8(stream), 10_000)
        assert packed == twins.encode_rans(stream, 10_000)
        if stream:
            assert bytes(k.decode_rans(u8(packed), len(stream))) == stream

    @pytest.mark.parametrize("n", SIZES)
    @pytest.mark.parametrize("symbols", SYMBOLS)
    def test_streams_of_every_kind_and_length_come_back(self, k, symbols, n):
        stream = bytes(random.Random(n).choices(SYMBOLS[symbols], k=n))
        packed = k.encode_rans(u8(stream), 20_000)
        assert packed == twins.encode_rans(stream, 20_000)
        assert not n or bytes(k.decode_rans(u8(packed), n)) == stream

    @pytest.mark.parametrize("symbols", SYMBOLS)
    def test_a_stream_that_takes_one_byte_more_than_its_limit_is_not_packed(self, k, symbols):
        stream = u8(random.Random(3).choices(SYMBOLS[symbols], k=301))
        packed = k.encode_rans(stream, 10_000)
        assert k.encode_rans(stream, len(packed)) == packed
        for limit in (0, 1, 17, 24, len(packed) - 3, len(packed) - 2, len(packed) - 1):
            assert k.encode_rans(stream, min(limit, len(packed) - 1)) == b""

    def test_the_bytes_are_those_of_the_format(self, k):
        stream = "02010000 00000100 00000200 00010000 02030102 00010201 00000000 02030002"
        stream, table = bytes.fromhex(stream), bytes.fromhex("03 00 8880 01 8300 02 8380 03 8100")
        packed = table + bytes.fromhex("803b6d04 ecfa0100 8084800e 80a62d05 8061")
        assert k.encode_rans(u8(stream), 100) == packed
        assert bytes(k.decode_rans(u8(packed), 32)) == stream

    def test_a_stream_of_no_bytes_is_a_table_and_four_states(self, k):
        assert k.encode_rans(u8(b""), 100) == b""
        assert k.decode_rans(u8(b"\0\7\x90\0" + LOW_STATE * 4), 0).size == 0

    def test_one_symbol_of_all_frequencies_takes_no_words(self, k):
        packed = b"\0\7\x90\0" + LOW_STATE * 4
        assert k.encode_rans(u8(b"\7" * 4097), 100) == packed
        assert bytes(k.decode_rans(u8(packed), 4097)) == b"\7" * 4097

    @pytest.mark.parametrize(
        ("packed", "n", "code"),
        [
            ("00", 0, SHORT_STREAM),
            ("00 07 90", 0, SHORT_STREAM),
            ("00 07 90 00 00 80 00 00", 4, SHORT_STREAM),
            ("00 07 90 00" + "00 80 00 00" * 3 + "00 80 00", 4, SHORT_STREAM),
            ("00 07 8f ff" + "00 80 00 00" * 4, 4, BAD_FREQUENCIES),
            ("00 07 90 01" + "00 80 00 00" * 4, 4, BAD_FREQUENCIES),
            ("01 07 88 00 08 87 ff" + "00 80 00 00" * 4, 4, BAD_FREQUENCIES),
            ("01 07 88 00 08 88 01" + "00 80 00 00" * 4, 4, BAD_FREQUENCIES),
            ("01 07 88 00 07 88 00" + "00 80 00 00" * 4, 4, BAD_FREQUENCIES),
            ("01 08 88 00 07 88 00" + "00 80 00 00" * 4, 4, BAD_FREQUENCIES),
            ("01 07 90 00 08 00 00" + "00 80 00 00" * 4, 4, BAD_FREQUENCIES),
            ("01 07 ff ff 08 90 01" + "00 80 00 00" * 4, 4, BAD_FREQUENCIES),
            ("00 07 90 00" + "00 80 00 00" * 4 + "00 00", 4, LONG_STREAM),
            ("00 07 90 00" + "00 80 00 00" * 4 + "00", 4, LONG_STREAM),
            ("00 07 90 00" + "01 80 00 00" * 4, 4, LONG_STREAM),
            ("00 07 90 00" + "00 80 00 00" * 3 + "ff ff ff ff", 4, LONG_STREAM),
            ("00 07 90 00" + "ff 7f 00 00" * 4, 1, SHORT_STREAM),
            ("00 07 90 00" + "ff 7f 00 00" * 4 + "00", 1, SHORT_STREAM),
        ],
    )
    def test_a_packed_stream_that_lies_is_refused_by_name(self, k, packed, n, code):
        assert code_of(k.decode_rans, u8(bytes.fromhex(packed)), n) == code

    @pytest.mark.parametrize("n", [5, 6, 4096])
    def test_a_stream_cut_by_a_word_is_short_and_one_more_is_long(self, k, n):
        stream = random.Random(n).choices(range(200), k=n)
        packed = twins.encode_rans(stream, 10_000)
        assert code_of(k.decode_rans, u8(packed[:-2]), n) == SHORT_STREAM
        assert code_of(k.decode_rans, u8(packed[:-1]), n) == SHORT_STREAM
        assert code_of(k.decode_rans, u8(packed + b"\0\0"), n) == LONG_STREAM
        assert code_of(k.decode_rans, u8(packed + b"\0"), n) == LONG_STREAM
        assert code_of(k.decode_rans, u8(packed), n - 1) == LONG_STREAM


@given(stream=STREAMS.filter(len), more=st.integers(-2, 2), data=st.data())
def test_mutated_packed_streams_fare_as_in_the_twin(stream, more, data):
    packed = lie(data, u8(kernels.encode_rans(u8(stream), 10_000)))
    n = max(len(stream) + data.draw(st.sampled_from([0, 0, more])), 0)
    assert fare_alike(kernels.decode_rans, twins.decode_rans, packed, n)


# ---- qualities ----


@st.composite
def quality_reads(draw, max_reads=12):
    """(qualities, lengths, flags), of few or many different values."""
    seq_len = draw(st.lists(st.integers(0, 9), max_size=max_reads))
    value = draw(st.sampled_from([st.just(40), st.sampled_from([2, 12, 37, 37]), st.integers(0, 127)]))
    quals = draw(st.lists(value, min_size=sum(seq_len), max_size=sum(seq_len)))
    flag = st.sampled_from([0, 16, 99, 147, 0xFFFF, 0xFFEF])
    flags = draw(st.lists(flag, min_size=len(seq_len), max_size=len(seq_len)))
    return u8(quals), np.array(seq_len, np.uint32), np.array(flags, np.uint16)


@st.composite
def forms(draw, n_values):
    classes = draw(st.integers(1, min(n_values, 4096 // n_values)))
    positions = draw(st.integers(1, min(5, 4096 // (n_values * classes))))
    return QualityForm(n_values, classes, draw(st.integers(0, 4)), positions)


def oriented(k, read):
    quals, seq_len, flag = read
    alphabet = np.unique(np.append(quals, np.uint8(30)))
    return k.orient_qualities(quals, seq_len, flag, alphabet), alphabet


def encoded(k, values, seq_len, form, n_lanes=1):
    """Tables, sizes of lanes, lanes."""
    freq, tables = k.quality_tables(k.count_qualities(values, seq_len, form, 1), form)
    return (tables, *k.encode_qualities(values, seq_len, form, freq, n_lanes))


PAIR_FORM = QualityForm(2, 2, 1, 1)


@pytest.mark.parametrize("k", [twins, kernels], ids=["twin", "native"])
class TestQualities:
    """What the kernels of qualities and their twins must do alike."""

    @given(read=quality_reads())
    def test_qualities_turned_around_come_back(self, k, read):
        values, alphabet = oriented(k, read)
        assert same(values, oriented(twins, read)[0])
        values = values.copy()
        k.restore_qualities(values, *read[1:], alphabet)
        assert bytes(values) == bytes(read[0])

    @given(read=quality_reads(), step=st.integers(1, 4), data=st.data())
    def test_counts_and_tables_are_those_of_the_twin(self, k, read, step, data):
        values, alphabet = oriented(k, read)
        form = data.draw(forms(alphabet.size))
        counts = k.count_qualities(values, read[1], form, step)
        assert same(counts, twins.count_qualities(values, read[1], form, step))
        assert same(k.quality_tables(counts, form), twins.quality_tables(counts, form))

    @given(
        counts=st.lists(
            st.sampled_from([0, 0, 1, 1, 2, 3, 1000, 2**32 - 1]) | st.integers(0, 2**32 - 1),
            min_size=1,
            max_size=16,
        )
    )
    @example(counts=[1] * 3)
    @example(counts=[1_000_000, *[1] * 63])
    @example(counts=[*[1] * 62, 1000, 1000])
    @example(counts=[2**32 - 1] * 64)
    @example(counts=[0] * 64)
    def test_any_counts_become_frequencies_that_add_up(self, k, counts):
        form = QualityForm(len(counts), 1, 0, 1)
        rows = np.array([counts] * len(counts), np.uint32)
        freq, tables = k.quality_tables(rows, form)
        assert same((freq, tables), twins.quality_tables(rows, form))
        assert (freq.sum(axis=1) == (4096 if any(counts) else 0)).all()
        assert ((freq > 0) == (rows > 0)).all()

    @given(read=quality_reads(), n_lanes=st.sampled_from([1, 2, 3, 4, 5, 8, 9, 255]), data=st.data())
    def test_qualities_are_packed_as_the_twin_packs_them_and_come_back(self, k, read, n_lanes, data):
        values, alphabet = oriented(k, read)
        form = data.draw(forms(alphabet.size))
        tables, lanes, payload = encoded(k, values, read[1], form, n_lanes)
        assert same((tables, lanes, payload), encoded(twins, values, read[1], form, n_lanes))
        assert same(k.decode_qualities(payload, lanes, tables, read[1], form), values)

    @pytest.mark.parametrize("n", SIZES)
    @pytest.mark.parametrize("n_values", [1, 2, 8, 64, 128])
    def test_any_number_of_qualities_comes_back_in_one_lane_and_in_eight(self, k, n, n_values):
        chance = random.Random(n)
        values = u8([min(int(chance.expovariate(0.3)), n_values - 1) for _ in range(n)])
        seq_len = np.array([0] * 5 + [min(101, n - at) for at in range(0, n, 101)] + [0] * 3, np.uint32)
        form = QualityForm(n_values, 2 if n_values < 64 else 1, 3, 4)
        for n_lanes in (1, 8):
            made = encoded(k, values, seq_len, form, n_lanes)
            assert same(made, encoded(twins, values, seq_len, form, n_lanes)) or k is twins
            tables, lanes, payload = made
            assert bytes(k.decode_qualities(payload, lanes, tables, seq_len, form)) == bytes(values)

    def test_the_bytes_are_those_of_the_format(self, k):
        read = u8([30, 20, 20, 30, 20, 20]), np.array([2, 2, 2], np.uint32), np.array([0, 16, 0], np.uint16)
        values, alphabet = oriented(k, read)
        assert (values.tolist(), alphabet.tolist()) == ([1, 0, 1, 0, 0, 0], [20, 30])
        tables, lanes, payload = encoded(k, values, read[1], PAIR_FORM)
        assert bytes(tables) == bytes.fromhex("88008800ff90000000ff")
        assert (lanes.tolist(), bytes(payload)) == ([4], b"\x08\0\0\x18")

    def test_a_context_that_was_never_met_reads_the_value_0(self, k):
        form, tables = QualityForm(2, 1, 0, 1), u8(b"\xff\xff")
        seq_len, lanes = np.array([3, 0, 2], np.uint32), np.array([4], np.uint32)
        assert k.decode_qualities(u8(b"\0\0\0\x80"), lanes, tables, seq_len, form).tolist() == [0] * 5

    @pytest.mark.parametrize(
        ("tables", "code"),
        [
            ("", SHORT_STREAM),
            ("88", SHORT_STREAM),
            ("88 00", SHORT_STREAM),
            ("00", SHORT_STREAM),
            ("ff", SHORT_STREAM),
            ("88 00 88 00", SHORT_STREAM),
            ("88 00 88 01 ff", BAD_FREQUENCIES),
            ("88 00 87 ff ff", BAD_FREQUENCIES),
            ("90 01 00 00 ff", BAD_FREQUENCIES),
            ("90 00 01 ff", BAD_FREQUENCIES),
            ("90 00 00 01 ff", BAD_FREQUENCIES),
            ("00 01 ff", BAD_FREQUENCIES),
            ("00 00 00 00 ff", BAD_FREQUENCIES),
            ("ff 88 00 88 00 00", LONG_STREAM),
        ],
    )
    def test_tables_that_lie_are_refused_by_name(self, k, tables, code):
        form, seq_len = QualityForm(2, 1, 0, 1), np.array([1], np.uint32)
        lanes, tables = np.array([4], np.uint32), u8(bytes.fromhex(tables))
        assert code_of(k.decode_qualities, u8(b"\0\0\0\x80"), lanes, tables, seq_len, form) == code

    def test_bytes_behind_the_tables_are_refused_where_the_last_context_was_never_met(self, k):
        form, seq_len = QualityForm(2, 1, 0, 1), np.array([1], np.uint32)
        lanes, tables = np.array([4], np.uint32), u8(b"\xff\xff\xff")
        assert code_of(k.decode_qualities, u8(b"\0\0\0\x80"), lanes, tables, seq_len, form) == LONG_STREAM

    @pytest.mark.parametrize(
        ("payload", "lanes", "code"),
        [
            ("0000 0080", [2], SHORT_STREAM),
            ("0000 0080 00", [5], SHORT_STREAM),
            ("0000 0080", [5], SHORT_STREAM),
            ("0000 0080", [6], SHORT_STREAM),
            ("0000 0080", [4, 4], SHORT_STREAM),
            ("0000 0080", [0], SHORT_STREAM),
            ("0000 0080", [2**32 - 4], SHORT_STREAM),
            ("0000 ff7f", [4], SHORT_STREAM),
            ("0000 0080 0000", [6], LONG_STREAM),
            ("0000 0080 0000", [4], LONG_STREAM),
            ("0100 0080", [4], LONG_STREAM),
            ("0000 0080", [], BAD_COLUMN),
            ("0000 0080" * 256, [4] * 256, BAD_COLUMN),
        ],
    )
    def test_lanes_that_lie_are_refused_by_name(self, k, payload, lanes, code):
        form, tables, seq_len = QualityForm(2, 1, 0, 1), u8(b"\xff\xff"), np.array([2], np.uint32)
        payload, lanes = u8(bytes.fromhex(payload)), np.array(lanes, np.uint32)
        assert code_of(k.decode_qualities, payload, lanes, tables, seq_len, form) == code

    @pytest.mark.parametrize(
        "form",
        [
            (0, 1, 0, 1),
            (129, 1, 0, 1),
            (2, 0, 0, 1),
            (2, 1, 32, 1),
            (2, 1, 0, 0),
            (2, 1, 0, 2049),
            (1, 129, 0, 1),
        ],
    )
    def test_a_form_outside_the_limits_is_refused(self, k, form):
        assert not QualityForm(*form).valid
        lanes, seq_len = np.array([4], np.uint32), np.array([], np.uint32)
        arguments = u8(b"\0\0\0\x80"), lanes, u8(b"\xff" * 5000), seq_len, QualityForm(*form)
        assert code_of(k.decode_qualities, *arguments) == BAD_COLUMN

    @given(read=quality_reads())
    def test_sums_are_those_of_qualities_of_15_and_more(self, k, read):
        sums = k.quality_sums(*read[:2])
        assert same(sums, twins.quality_sums(*read[:2]))
        assert k.quality_sums(u8([14, 15, 16, 255]), np.array([1, 2, 0, 1], np.uint32)).tolist() == [
            0,
            31,
            0,
            255,
        ]

    @pytest.mark.parametrize("seq_len", [[], [3], [5], [2, 1], [2, 3], [2**32 - 1]])
    def test_qualities_of_another_length_are_refused(self, k, seq_len):
        seq_len, quals, alphabet = np.array(seq_len, np.uint32), u8([1, 2, 3, 4]), u8(range(256))
        flag = np.full(seq_len.size, 16, np.uint16)
        assert code_of(k.orient_qualities, quals, seq_len, flag, alphabet) == BAD_COLUMN
        assert code_of(k.restore_qualities, quals, seq_len, flag, alphabet) == BAD_COLUMN
        assert code_of(k.quality_sums, quals, seq_len) == BAD_COLUMN


@given(read=quality_reads(20), n_lanes=st.sampled_from([1, 4, 7]), data=st.data())
def test_mutated_qualities_fare_as_in_the_twin(read, n_lanes, data):
    values, alphabet = oriented(kernels, read)
    form = data.draw(forms(alphabet.size))
    tables, lanes, payload = lie_of(data, encoded(kernels, values, read[1], form, n_lanes))
    arguments = payload, lanes, tables, read[1], form
    assert fare_alike(kernels.decode_qualities, twins.decode_qualities, *arguments)


@given(read=quality_reads(), data=st.data())
def test_qualities_under_any_form_and_lengths_are_refused_or_read(read, data):
    values, alphabet = oriented(kernels, read)
    streams = encoded(kernels, values, read[1], data.draw(forms(alphabet.size)))
    small = st.integers(0, 5)
    form = QualityForm(alphabet.size, data.draw(small), data.draw(small), data.draw(small))
    seq_len = np.array(data.draw(st.lists(st.integers(0, 9), max_size=12)), np.uint32)
    tables, lanes, payload = streams
    try:
        decoded = kernels.decode_qualities(payload, lanes, tables, seq_len, form)
    except KernelError as err:
        assert err.kind == "bad-column"  # noqa: PT017  # any other error fails the test by itself
    else:
        assert decoded.size == seq_len.sum()
        assert not decoded.size or decoded.max() < alphabet.size
