"""Kernels of codecs against their slow twins, and against streams that lie."""

import numpy as np
import pytest
import transform_twins as twins
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import BAD_CODE, BAD_COLUMN, BAD_NAME, code_of, outcome, same, u8

from bams3 import kernels
from bams3.columns import Strings

pytestmark = pytest.mark.native

NAMES = st.lists(
    st.from_regex(r"[A-C]{0,2}[0-9]{0,3}(:|_|\.|/|-)[0-9]{1,11}(:[a-c0]{0,3})?", fullmatch=True)
    | st.from_regex(r"HWI-[12]:[0-9]{1,3}:[ab]{1,2}:0?[0-9]", fullmatch=True)
    | st.text(st.characters(max_codepoint=127), max_size=8),
    max_size=12,
).map(lambda names: [name.encode() for name in names])
STRINGS = st.lists(st.binary(max_size=4), max_size=12)
U32 = st.integers(0, 2**32 - 1)


def u32(values):
    return np.array(values, np.uint32)


@st.composite
def reads(draw):
    """Bases in BAM's codes, and the lengths of the reads."""
    seq_len = draw(st.lists(st.integers(0, 9), max_size=6))
    code = st.sampled_from([1, 2, 4, 8]) | st.integers(0, 15)
    out = []
    for n in seq_len:
        codes = draw(st.lists(code, min_size=n, max_size=n)) + [0] * (n % 2)
        out += [codes[i] << 4 | codes[i + 1] for i in range(0, n, 2)]
    return u8(out), u32(seq_len)


@pytest.mark.parametrize("k", [twins, kernels], ids=["twin", "native"])
class TestBoth:
    """What the kernels and their twins must do alike."""

    @given(data=st.binary(max_size=64), width=st.sampled_from([1, 2, 4, 8]))
    def test_planes_hold_the_bytes_of_values_apart(self, k, data, width):
        values = u8(data[: len(data) // width * width])
        planes = k.split_planes(values, width)
        assert planes.shape == (width, values.size // width)
        assert all(bytes(planes[i]) == bytes(values[i::width]) for i in range(width))
        assert bytes(k.join_planes(list(planes))) == bytes(values)

    @given(read=reads())
    def test_two_bit_bases_and_their_exceptions_are_those_of_the_twin(self, k, read):
        packed, gaps, codes = k.pack_bases(*read)
        assert same((packed, gaps, codes), twins.pack_bases(*read))
        assert k.measure_bases(*read) == (packed.size, codes.size, False)
        assert bytes(k.unpack_bases(packed, gaps, codes, read[1])) == bytes(read[0])

    def test_two_bit_bases_are_as_the_format_says(self, k):
        packed, gaps, codes = k.pack_bases(u8([0x12, 0x48, 0xF1, 0x20]), u32([4, 3]))  # ACGT, NAC
        assert (bytes(packed), gaps.tolist(), codes.tolist()) == (b"\xe4\x10", [4], [15])

    def test_set_padding_bits_are_seen(self, k):
        assert k.measure_bases(u8([0x12, 0x43]), u32([3])) == (1, 0, True)
        assert k.measure_bases(u8([0x12, 0x40]), u32([3])) == (1, 0, False)

    @pytest.mark.parametrize("seq_len", [[5], [3, 3], [], [2], [4_294_967_295]])
    def test_bases_of_another_length_are_refused(self, k, seq_len):
        assert code_of(k.measure_bases, u8([0x12, 0x48]), u32(seq_len)) == BAD_COLUMN

    @pytest.mark.parametrize(
        ("packed", "gaps", "codes", "seq_len", "code"),
        [
            (b"\0", [4], [15], [4], BAD_COLUMN),
            (b"\0", [1, 2], [15, 15], [4], BAD_COLUMN),
            (b"\0", [0, 4_294_967_295], [15, 15], [4], BAD_COLUMN),
            (b"\0", [0], [15, 15], [4], BAD_COLUMN),
            (b"\0", [0], [16], [4], BAD_CODE),
            (b"\0", [], [], [5], BAD_COLUMN),
            (b"\0", [], [], [4_294_967_295], BAD_COLUMN),
            (b"\0\0", [], [], [4], BAD_COLUMN),
            (b"", [0], [15], [], BAD_COLUMN),
        ],
    )
    def test_streams_of_bases_that_contradict_each_other_are_refused(
        self, k, packed, gaps, codes, seq_len, code
    ):
        assert code_of(k.unpack_bases, u8(packed), u32(gaps), u8(codes), u32(seq_len)) == code

    @given(several=STRINGS)
    def test_a_dictionary_gives_its_strings_back(self, k, several):
        codes, entries, rest = k.encode_dictionary(twins.strings(several))
        assert same((codes, entries, rest), twins.encode_dictionary(twins.strings(several)))
        decoded = k.decode_dictionary(codes, entries, rest, 1000)
        assert twins.cut(decoded) == several

    def test_the_256th_string_of_a_dictionary_is_in_the_rest(self, k):
        several = [b"%d" % i for i in range(300)] + [b"7", b"299"]
        codes, entries, rest = k.encode_dictionary(twins.strings(several))
        assert twins.cut(entries) == several[:255]
        assert twins.cut(rest) == [*several[255:300], b"299"]
        assert codes.tolist() == [*range(255), *[255] * 45, 7, 255]
        assert twins.cut(k.decode_dictionary(codes, entries, rest, 10_000)) == several

    @pytest.mark.parametrize(
        ("codes", "entries", "rest", "code"),
        [
            ([1], [b"a"], [], BAD_CODE),
            ([0], [], [], BAD_CODE),
            ([255], [b"a"], [], BAD_COLUMN),
            ([0], [b"a"], [b"b"], BAD_COLUMN),
            ([0] * 11, [b"0123456789"], [], BAD_COLUMN),
        ],
    )
    def test_a_dictionary_that_lies_is_refused(self, k, codes, entries, rest, code):
        work = k.decode_dictionary
        assert code_of(work, u8(codes), twins.strings(entries), twins.strings(rest), 100) == code

    @pytest.mark.parametrize("lengths", [[3], [2, 1], [1], [4_294_967_295], [0]])
    def test_strings_that_do_not_add_up_are_refused(self, k, lengths):
        assert code_of(k.encode_dictionary, Strings(u32(lengths), u8(b"ab"))) == BAD_COLUMN

    @given(several=NAMES)
    def test_names_cut_into_fields_come_back(self, k, several):
        fields = k.split_names(twins.strings(several))
        assert same(fields, twins.split_names(twins.strings(several)))
        assert twins.cut(k.join_names(fields)) == several

    def test_names_of_the_template_are_fields_and_others_are_kept(self, k):
        fields = k.split_names(twins.strings([b"HWI:1:2", b"HWJ:30:0", b"HWI:01:2", b"x", b"HWI:1_2"]))
        assert (bytes(fields.separators), fields.is_text.tolist()) == (b"::", [1, 0, 0])
        assert fields.regular.tolist() == [1, 1, 0, 0, 0]
        assert fields.values.tolist() == [[0, 1], [1, 30], [2, 0]]
        assert twins.cut(fields.texts)[:2] == [b"HWI", b"HWJ"]
        assert twins.cut(fields.rest) == [b"HWI:01:2", b"x", b"HWI:1_2"]

    def test_more_texts_or_fields_than_there_is_room_for_are_kept_whole(self, k):
        several = [b"%c%c:1" % (65 + i // 26, 65 + i % 26) for i in range(70)]
        assert k.split_names(twins.strings(several)).regular.tolist() == [1] * 64 + [0] * 6
        many = [b":".join([b"1"] * 17), b"1:2"]
        assert k.split_names(twins.strings(many)).regular.tolist() == [0, 0]
        assert twins.cut(k.join_names(k.split_names(twins.strings(many)))) == many

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"values": np.array([[2, 0], [1, 2]], np.uint32)}, BAD_CODE),
            ({"values": np.array([[0], [1]], np.uint32)}, BAD_COLUMN),
            ({"values": np.array([[0, 0, 0], [1, 2, 3]], np.uint32)}, BAD_COLUMN),
            ({"separators": u8(b"::")}, BAD_COLUMN),
            ({"n_texts": u8([1, 0])}, BAD_COLUMN),
            ({"n_texts": u8([2])}, BAD_COLUMN),
            ({"regular": u8([1, 0, 0])}, BAD_COLUMN),
            ({"rest": twins.strings([])}, BAD_COLUMN),
            ({"rest": twins.strings([b"x", b"y"])}, BAD_COLUMN),
            ({"rest": twins.strings([b"x" * 256])}, BAD_NAME),
            ({"texts": twins.strings([b"x" * 250, b"y" * 255])}, BAD_NAME),
            ({"rest": Strings(u32([3]), u8(b"x"))}, BAD_COLUMN),
            ({"texts": Strings(u32([3, 3]), u8(b"x"))}, BAD_COLUMN),
        ],
    )
    def test_fields_of_names_that_lie_are_refused(self, k, change, code):
        fields = kernels.split_names(twins.strings([b"ab:1", b"cd:2", b"x"]))
        lying = {name: getattr(fields, name) for name in fields.__slots__} | change
        assert code_of(k.join_names, kernels.NameFields(**lying)) == code


class TestNative:
    """What only the compiled side can get wrong."""

    @given(several=st.lists(st.binary(min_size=1, max_size=3), min_size=1), data=st.data())
    def test_mutated_dictionaries_fare_as_in_the_twin(self, several, data):
        codes, entries, rest = kernels.encode_dictionary(twins.strings(several))
        arrays = [a for a in (codes, entries.lengths, rest.lengths) if a.size]
        for _ in range(data.draw(st.integers(1, 2))):
            raw = data.draw(st.sampled_from(arrays)).view(np.uint8)
            raw[data.draw(st.integers(0, raw.size - 1))] = data.draw(st.integers(0, 255))
        native = outcome(kernels.decode_dictionary, codes, entries, rest, 4000)
        plain = outcome(twins.decode_dictionary, codes, entries, rest, 4000)
        assert isinstance(native, int) if isinstance(plain, int) else same(native, plain)

    @given(several=NAMES.filter(len), data=st.data())
    def test_mutated_fields_of_names_fare_as_in_the_twin(self, several, data):
        fields = kernels.split_names(twins.strings(several))
        arrays = [getattr(fields, name) for name in "separators is_text regular n_texts".split()]
        arrays += [fields.texts.lengths, fields.rest.lengths, np.ascontiguousarray(fields.values)]
        changed = [a.copy() for a in arrays]
        for _ in range(data.draw(st.integers(1, 2))):
            raw = data.draw(st.sampled_from([a for a in changed if a.size])).view(np.uint8).reshape(-1)
            raw[data.draw(st.integers(0, raw.size - 1))] = data.draw(st.integers(0, 255))
        separators, is_text, regular, n_texts, text_len, rest_len, values = changed
        texts, rest = Strings(text_len, fields.texts.data), Strings(rest_len, fields.rest.data)
        lying = kernels.NameFields(separators, is_text, regular, values, n_texts, texts, rest)
        native, plain = outcome(kernels.join_names, lying), outcome(twins.join_names, lying)
        assert isinstance(native, int) if isinstance(plain, int) else same(native, plain)

    @given(read=reads(), data=st.data())
    def test_mutated_bases_fare_as_in_the_twin(self, read, data):
        packed, gaps, codes = kernels.pack_bases(*read)
        seq_len = read[1].copy()
        arrays = [a for a in (packed, gaps, codes, seq_len) if a.size] or [np.zeros(1, np.uint8)]
        for _ in range(data.draw(st.integers(1, 2))):
            raw = data.draw(st.sampled_from(arrays)).view(np.uint8)
            raw[data.draw(st.integers(0, raw.size - 1))] = data.draw(st.integers(0, 255))
        native = outcome(kernels.unpack_bases, packed, gaps, codes, seq_len)
        plain = outcome(twins.unpack_bases, packed, gaps, codes, seq_len)
        assert isinstance(native, int) if isinstance(plain, int) else same(native, plain)
