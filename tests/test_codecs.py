"""Frames and codecs: exact inverses on whatever a record can hold, and bounded on whatever a file can say."""

import random
import tracemalloc

import numpy as np
import pytest
import zstandard
from bam_records import record, tag
from hypothesis import given
from hypothesis import strategies as st
from record_strategies import few, records
from test_kernels import columns_of, same

from bams3 import kernels
from bams3.columns import Columns, Strings, tag_width
from bams3.errors import CorruptDataError
from bams3.format import spec
from bams3.format.alignment import align, compare, placement
from bams3.format.frames import CONSTANT, RANS, RAW, ZSTD, Compression, pack_frames, unpack_frames
from bams3.format.predict import tag_records
from bams3.format.rowgroup import CODEC_ID, codec_of, decode_columns, needed

pytestmark = pytest.mark.native

COMPRESSIONS = [Compression("none"), Compression("auto"), Compression("zstd", 12)]
CHOICES = [(column.name, codec) for column in spec.COLUMNS for codec in column.codecs]
STREAMS = st.lists(
    st.binary(max_size=40)
    | st.builds(lambda b, n: b * n, st.binary(min_size=1, max_size=3), st.integers(0, 400)),
    max_size=5,
)


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def refused(data, limit=1 << 20):
    with pytest.raises(CorruptDataError) as caught:
        unpack_frames(data, limit)
    assert caught.value.kind == "bad-column"


def blob(name, codec, columns, compression=COMPRESSIONS[1]):
    """A column encoded as the writer does it."""
    if name.startswith("tag:"):
        value, width = columns.tags[name[4:]], tag_width(name)
    else:
        value = (columns.layout, columns.layouts) if name == "layout" else getattr(columns, name)
        width = 4 if name == "cigar" else np.dtype(spec.COLUMN[name].dtype).itemsize
    return pack_frames(codec_of(codec, name).encode(value, width, columns), compression)


def grouped(several):
    """Columns of records, with links, and with a reference that leaves differences where there is one."""
    columns = columns_of(*several)
    columns.link = kernels.find_links(columns.name)
    align(columns)
    if columns.reference is None:
        columns.reference = np.full(placement(columns).covered, 2, np.uint8)
        compare(columns, columns.reference)
    return columns


def suits(codec, name, columns):
    """Whether a column of these can have this codec."""
    if codec == "bases2":  # two bits cannot hold what stands in the padding of odd sequences
        return not kernels.measure_bases(columns.bases, columns.seq_len)[2]
    if codec == "aligned":
        return "mismatches" in columns.derived
    return codec != "qualities" or 0 < np.unique(columns.quals).size <= kernels.MAX_VALUES


def without(columns, name, codec):
    """Columns of the same row group, as they are before ``name`` is decoded."""
    all_columns = {column.name: CODEC_ID[list(column.codecs)[-1]] for column in spec.COLUMNS}
    names = needed([name], all_columns | {name: CODEC_ID[codec]}) - {name}
    before = Columns(columns.n, columns.decoded_bytes, **{one: getattr(columns, one) for one in names})
    if "layout" in names:
        before.layouts = columns.layouts
    if "bases" in names and codec == "aligned":
        before.derived["mismatches"] = columns.derived["mismatches"]
    return before


# ---- frames ----


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=str)
class TestFrames:
    @given(streams=STREAMS)
    def test_streams_come_back_from_their_frames(self, compression, streams):
        packed = pack_frames(streams, compression)
        assert [bytes(stream) for stream in unpack_frames(packed, sum(map(len, streams)))] == streams

    @given(streams=STREAMS, data=st.data())
    def test_mutated_frames_are_refused_or_read(self, compression, streams, data):
        packed = bytearray(pack_frames([*streams, b"x" * 30, bytes(range(30))], compression))
        for _ in range(data.draw(st.integers(1, 3))):
            packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
        del packed[data.draw(st.integers(0, len(packed))) :]
        try:
            assert sum(stream.size for stream in unpack_frames(packed, 3000)) <= 3000
        except CorruptDataError as err:
            assert err.kind == "bad-column"  # noqa: PT017  # any other error fails the test by itself


def test_a_frame_is_never_larger_than_its_stream_and_some_bytes():
    for size in (0, 1, 16, 17, 100, 70_000):
        stream = np.random.default_rng(size).integers(0, 256, size, np.uint8)
        assert len(pack_frames([stream], COMPRESSIONS[1])) <= size + 4


def test_a_constant_stream_takes_its_length_and_one_byte():
    assert pack_frames([b"\7" * 300], COMPRESSIONS[0]) == bytes([CONSTANT]) + varint(300) + b"\7"
    assert pack_frames([b""], COMPRESSIONS[0]) == bytes([RAW, 0])


@pytest.mark.parametrize("method", [RAW, ZSTD, CONSTANT, RANS])
def test_a_frame_that_claims_a_terabyte_reserves_nothing(method):
    tracemalloc.start()
    refused(bytes([method]) + varint(1 << 40) + b"\5\1\2\3\4\5", 4 << 20)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_frames_that_together_pass_the_limit_are_refused():
    packed = pack_frames([b"a" * 600, b"b" * 600], COMPRESSIONS[0])
    assert len(unpack_frames(packed, 1200)) == 2
    refused(packed, 1199)


def test_a_compressed_frame_that_says_two_sizes_is_refused():
    inside = zstandard.ZstdCompressor().compress(b"abc" * 1000)
    head = bytes([ZSTD])
    assert bytes(unpack_frames(head + varint(3000) + varint(len(inside)) + inside, 3000)[0]) == b"abc" * 1000
    refused(head + varint(2999) + varint(len(inside)) + inside)
    refused(head + varint(3001) + varint(len(inside)) + inside)
    refused(head + varint(3000) + varint(len(inside) - 1) + inside)
    refused(head + varint(3000) + varint(len(inside) + 1) + inside + b"x")
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"abc" * 1000)
    refused(head + varint(3000) + varint(len(unsized)) + unsized)


@pytest.mark.parametrize(
    "data",
    [
        b"\4\0",
        bytes([RANS, 4]),
        bytes([RANS, 4, 0]),
        bytes([RANS, 4, 4]) + b"abcd",
        bytes([RAW]),
        bytes([RAW, 2, 1]),
        bytes([RAW, 0x80]),
        bytes([RAW]) + b"\xff" * 20,
        bytes([CONSTANT, 4]),
        bytes([ZSTD, 4]),
        bytes([ZSTD, 4, 0]),
        bytes([ZSTD, 4, 4]) + b"abcd",
        bytes([RAW, 0]) * 129,
    ],
    ids=lambda data: data[:4].hex(),
)
def test_a_frame_that_is_cut_short_or_unknown_is_refused(data):
    refused(data)


# ---- codecs ----


@given(several=st.lists(records(), min_size=1, max_size=5))
def test_every_column_comes_back_from_its_codecs(several):
    columns = grouped(several)
    for name, codec in CHOICES:
        if not suits(codec, name, columns):
            continue
        part = (name, CODEC_ID[codec], blob(name, codec, columns))
        decoded = decode_columns(columns.n, columns.decoded_bytes, [part], without(columns, name, codec))
        assert same(getattr(decoded, name), getattr(columns, name)), (name, codec)
        assert same(decoded.layouts, columns.layouts) or name != "layout"


@given(several=st.lists(records(), min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_mutated_streams_are_refused_or_decoded(several, seed):
    columns, chance = grouped(several), random.Random(seed)
    tags = [(f"tag:{tag}", codec) for tag in columns.tags for codec in tag_codecs(tag, columns)]
    for name, codec in [*CHOICES, *tags]:
        if not suits(codec, name, columns):
            continue
        streams = unpack_frames(blob(name, codec, columns, COMPRESSIONS[0]), 1 << 20)
        for number, stream in enumerate(streams):
            changed = bytearray(stream.tobytes())
            if changed and chance.random() < 0.4:
                changed[chance.randrange(len(changed))] = chance.choice((0, 1, 127, 128, 255))
            if chance.random() < 0.1:
                del changed[chance.randrange(len(changed) + 1) :]
            streams[number] = np.frombuffer(changed, np.uint8)
        part = (name, CODEC_ID[codec], pack_frames(streams, COMPRESSIONS[0]))
        try:
            decode_columns(columns.n, columns.decoded_bytes, [part], without(columns, name, codec))
        except CorruptDataError as err:
            assert err.kind == "bad-column"  # noqa: PT017  # any other error fails the test by itself
            assert f"column {name}, codec {codec}" in str(err)  # noqa: PT017


def tag_codecs(tag, columns):
    """Codecs that these values of a tag can have: predicted ones where no record has it twice."""
    once = tag_records(columns, tag) is not None
    return [codec for codec, needs in spec.codecs_of(f"tag:{tag}").items() if once or not needs]


PAIR = [
    record(flag=99, pos=100, quals=bytes([30, 31, 30, 2]), tags=[tag("NM", "C", 1)]),
    record(flag=147, pos=102, seq="GTAN", quals=bytes([30, 30, 2, 2])),
]


@pytest.mark.parametrize(("name", "codec"), CHOICES)
class TestCodecs:
    def test_a_column_of_no_or_other_records_is_refused(self, name, codec):
        columns = grouped(PAIR)
        part = (name, CODEC_ID[codec], blob(name, codec, columns))
        if name not in ("bases", "quals", "reference"):  # joining checks those
            others = without(columns, name, codec)
            others.n = 3
            with pytest.raises(CorruptDataError, match=f"column {name}"):
                decode_columns(3, columns.decoded_bytes, [part], others)
        with pytest.raises(CorruptDataError, match=f"column {name}"):
            decode_columns(2, columns.decoded_bytes, [(name, part[1], b"")], without(columns, name, codec))

    def test_a_column_without_those_that_it_needs_is_refused(self, name, codec):
        columns = grouped(PAIR)
        part = (name, CODEC_ID[codec], blob(name, codec, columns))
        if spec.COLUMN[name].codecs[codec]:
            with pytest.raises(CorruptDataError, match=f"column {name}.* needs the column"):
                decode_columns(2, columns.decoded_bytes, [part])


@given(several=st.lists(records(), min_size=1, max_size=5))
@few
def test_tag_columns_come_back_from_every_codec_of_theirs(several):
    columns = grouped(several)
    for key, value in columns.tags.items():
        for codec in tag_codecs(key, columns):
            name = f"tag:{key}"
            if not suits(codec, name, columns):
                continue
            part = (name, CODEC_ID[codec], blob(name, codec, columns))
            before = without(columns, name, codec)
            decoded = decode_columns(columns.n, columns.decoded_bytes, [part], before).tags[key]
            if isinstance(value, Strings):
                assert same(decoded, value)
            else:
                assert bytes(decoded.view(np.uint8)) == bytes(value)


AUTO = {column.name: CODEC_ID[list(column.codecs)[-1]] for column in spec.COLUMNS} | {
    "tag:NM:C": CODEC_ID["aligned"],
    "tag:MQ:C": CODEC_ID["mate"],
}


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ("mapq", "mapq"),
        ("contig pos ref_len flag", "contig pos ref_len flag link"),
        ("mate_pos", "mate_pos link flag pos"),
        ("name", "name link"),
        ("quals", "quals flag link seq_len"),
        ("tag:NM:C", "tag:NM:C bases reference contig pos cigar seq_len layout"),
        ("tag:MQ:C", "tag:MQ:C link flag mapq layout"),
    ],
)
def test_a_question_reads_a_column_and_what_it_needs(asked, read):
    assert needed(asked.split(), AUTO) == set(read.split())


def test_plain_columns_need_nothing_that_is_not_stored():
    plain = {
        column.name: CODEC_ID[next(iter(column.codecs))] for column in spec.COLUMNS if not column.optional
    }
    assert needed(["flag"], plain) == {"flag"}
    assert needed(["tlen"], plain) == {"tlen", "mate_pos", "pos"}


@pytest.mark.parametrize(
    "text",
    [
        b"c,+7,1M,0;",
        b"c,+7,1M,0;c,-7,",  # whole, then cut short
        b"c,+7,1M,0;c",
        b"c,+7,1M,0;;",
        b"c,+07,1M,0;",
        b"c,+0,1M,0;",
        b"c,7,1M,0;",
        b"c,+2147483648,1M,0;",
        b",+7,1M,0;",
        b"c,+7,1M,00;",
        b"c,+7,,0;",
        b"",
        b";",
        b"c,-7,4M,3;" * 255,
        b"c,-7,4M,3;" * 256,
        b"\xff,+1,*,0;d,-2147483647,9X,2147483647;",
    ],
)
@pytest.mark.parametrize("flag", [0, 16])
def test_an_xa_tag_comes_back_whatever_it_is(text, flag):
    several = [record(flag=flag, tags=[tag("XA", "Z", one)]) for one in (b"c,+7,1M,0;", text, b"c,-9,4M,0;")]
    columns = grouped(several)
    part = ("tag:XA:Z", CODEC_ID["alternatives"], blob("tag:XA:Z", "alternatives", columns))
    before = without(columns, "tag:XA:Z", "alternatives")
    decoded = decode_columns(columns.n, columns.decoded_bytes, [part], before)
    assert same(decoded.tags["XA:Z"], columns.tags["XA:Z"])


@pytest.mark.parametrize(
    ("name", "codec"), [("pos", "planes"), ("pos", 99), ("tag:XX", "planes"), ("x", "planes")]
)
def test_an_unknown_column_or_codec_is_refused(name, codec):
    with pytest.raises(CorruptDataError, match="no such codec"):
        decode_columns(1, 100, [(name, CODEC_ID.get(codec, codec), b"")])


def test_a_row_group_never_decodes_to_much_more_than_its_records():
    """However many columns claim however much, they are bounded together."""
    columns = [f"tag:{a}{b}:C" for a in "ABCDEFGH" for b in "ABCDEFGH"]
    bomb = bytes([CONSTANT]) + varint(8 << 20) + b"\0"
    tracemalloc.start()
    with pytest.raises(CorruptDataError, match="more than"):
        decode_columns(50_000, 4 << 20, [(name, 1, bomb) for name in columns])
    assert tracemalloc.get_traced_memory()[1] < 40 << 20
    tracemalloc.stop()
