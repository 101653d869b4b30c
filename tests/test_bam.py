"""BGZF and the BAM header: against htslib, against blocks made by zlib here, and against bad bytes."""

import gzip
import io
import itertools
import os
import random
import struct
import tracemalloc
import zlib

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bams3.bam import (
    BGZF_EOF,
    BLOCK_DATA_BYTES,
    BamHeader,
    compress_blocks,
    inflate,
    is_bgzf,
    parse_header,
    read_batches,
)
from bams3.errors import Bams3Error, CorruptDataError, InputError
from bams3.regions import ContigTable

REAL = ("NA12878.bam", "cigar-64k.bam", "longcontignames.bam", "test.bam")
HEADER = BamHeader(b"@HD\tVN:1.6\n@CO\t\xff\n", ContigTable(("chr1", "HLA-A*01:01"), (1000, 3_000_000_000)))


def block(data, before=b"", after=b"", size_bytes=None, crc=None):
    """A BGZF block made without the code under test, with subfields before and after its size."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    payload = packer.compress(data) + packer.flush()
    extra_bytes = len(before) + 6 + len(after)
    total = 12 + extra_bytes + len(payload) + 8
    head = struct.pack("<4B4xBBH", 31, 139, 8, 4, 0, 255, extra_bytes)
    trailer = struct.pack("<II", zlib.crc32(data) if crc is None else crc, size_bytes or len(data))
    return head + before + b"BC\2\0" + struct.pack("<H", total - 1) + after + payload + trailer


def read_all(data, **options):
    """Decompressed bytes of a file, and whether it ends as it should."""
    batches = list(read_batches(io.BytesIO(data), **options))
    return b"".join(inflate(batch).data for batch in batches), batches[-1].ends_with_eof_block


def kind_of(data):
    with pytest.raises(CorruptDataError) as caught:
        read_all(data, source="x.bam")
    assert "x.bam" in str(caught.value)
    return caught.value.kind


class Trickle(io.BytesIO):
    """A pipe that gives a few bytes at a time."""

    def read(self, size=-1):
        return super().read(min(size, 700))


@pytest.fixture(scope="module")
def small_bam():
    """Three blocks and the end marker."""
    records = random.Random(3).randbytes(2000)
    return block(HEADER.encode()) + block(records[:1500]) + block(records[1500:]) + BGZF_EOF


@pytest.mark.parametrize("name", REAL)
def test_a_real_header_is_what_htslib_reads_and_encodes_to_its_own_bytes(shared_data, name):
    path = shared_data / "aln" / name
    data, whole = read_all(path.read_bytes())
    header, end = parse_header(data)
    with pysam.AlignmentFile(path, check_sq=False) as theirs:
        assert header.contigs == ContigTable(theirs.references, theirs.lengths)
        assert header.text.rstrip(b"\0\n").decode() == str(theirs.header).rstrip("\n")
    assert header.encode() == data[:end]
    assert whole


@pytest.mark.parametrize("name", REAL)
def test_inflated_bytes_are_those_of_gzip(shared_data, name):
    compressed = (shared_data / "aln" / name).read_bytes()
    assert read_all(compressed)[0] == gzip.decompress(compressed)


@pytest.mark.parametrize("batch_bytes", [1, 70_000, 1 << 20])
@pytest.mark.parametrize("file_type", [io.BytesIO, Trickle])
def test_batches_hold_every_block_once_whatever_their_size(shared_data, batch_bytes, file_type):
    compressed = (shared_data / "aln" / "cigar-64k.bam").read_bytes()
    got = list(read_batches(file_type(compressed), batch_bytes))
    assert [batch.offset for batch in got[1:]] == [batch.end_offset for batch in got[:-1]]
    starts = [batch.offset + start for batch in got for start in batch.starts]
    sizes = [struct.unpack_from("<H", compressed, start + 16)[0] + 1 for start in starts]
    assert starts == [0, *itertools.accumulate(sizes)][:-1]
    assert b"".join(batch.blocks for batch in got) == compressed


def test_virtual_offsets_are_those_of_htslib(shared_data):
    path = shared_data / "aln" / "cigar-64k.bam"
    with pysam.AlignmentFile(path) as theirs:
        wanted = [theirs.tell(), *(theirs.tell() for _ in theirs)]
    data, got, base = b"", [], 0
    for batch in read_batches(io.BytesIO(path.read_bytes()), 100_000):
        inflated = inflate(batch)
        data += inflated.data
        if base == 0:
            at = parse_header(data)[1]
        while at - base < len(inflated.data):
            got.append(inflated.virtual_offset(at - base))
            at += 4 + struct.unpack_from("<i", gzip_once(path), at)[0]
        base += len(inflated.data)
    assert got == wanted[:-1]


def gzip_once(path, cache={}):  # noqa: B006  # the cache is the point
    return cache.setdefault(path, gzip.decompress(path.read_bytes()))


def test_the_offset_of_the_end_of_a_batch_is_the_start_of_the_next(small_bam):
    batch = inflate(next(read_batches(io.BytesIO(small_bam), start_offset=5_000_000_000)))
    assert batch.virtual_offset(0) == 5_000_000_000 << 16
    assert batch.virtual_offset(len(batch.data)) == 5_000_000_000 + len(small_bam) << 16
    assert batch.virtual_offset(batch.starts[1]) == batch.offsets[1] << 16
    assert batch.virtual_offset(batch.starts[1] - 1) == batch.offsets[0] << 16 | len(HEADER.encode()) - 1


def test_reading_goes_on_from_a_block_in_the_middle(small_bam):
    batch = inflate(next(read_batches(io.BytesIO(small_bam))))
    offset = batch.offsets[1]
    rest = next(read_batches(io.BytesIO(small_bam[offset:]), start_offset=offset))
    assert inflate(rest).data == batch.data[batch.starts[1] :]
    assert inflate(rest).offsets == batch.offsets[1:]


def test_a_file_cut_anywhere_is_truncated_or_lacks_its_end_marker(small_bam):
    batch = inflate(next(read_batches(io.BytesIO(small_bam))))
    for cut in range(1, len(small_bam)):
        if cut in batch.offsets:
            assert not read_all(small_bam[:cut])[1]
        elif cut < 18:
            assert kind_of(small_bam[:cut]) == "not-bgzf"
        else:
            assert kind_of(small_bam[:cut]) == "truncated-file"
    assert read_all(small_bam)[1]


def test_a_truncated_file_is_told_with_its_name_and_offsets(small_bam):
    start = inflate(next(read_batches(io.BytesIO(small_bam)))).offsets[2]
    with pytest.raises(CorruptDataError) as caught:
        read_all(small_bam[: start + 40], source="s1.bam")
    wanted = f"s1.bam: the file ends at byte {start + 40}, inside the block that starts at {start}"
    assert str(caught.value) == wanted


@pytest.mark.parametrize(
    ("before", "after"), [(b"RA\3\0abc", b""), (b"", b"ZZ\0\0"), (b"BC\1\0x", b"QQ\1\0y")]
)
def test_other_subfields_of_a_block_header_are_passed_over(before, after):
    data = block(b"hello", before, after) + block(b" world") + BGZF_EOF
    assert read_all(data) == (b"hello world", True)
    assert is_bgzf(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"@HD\tVN:1.6\n", b"BAM\1", gzip.compress(b"BAM\1", mtime=0), b"\x1f\x8b\x08\x04" + bytes(20)],
    ids=["nothing", "text", "raw BAM", "plain gzip", "gzip with an empty extra field"],
)
def test_what_is_not_bgzf_is_named_so(data):
    assert not is_bgzf(data)
    if data:
        assert kind_of(data) == "not-bgzf"


def test_an_empty_file_has_no_batches():
    assert list(read_batches(io.BytesIO(b""))) == []


@pytest.mark.parametrize("junk", [b"junk behind the end", gzip.compress(b"more", mtime=0), bytes(18)])
def test_bytes_behind_the_last_block_are_refused_with_their_offset(small_bam, junk):
    with pytest.raises(CorruptDataError, match=f"at byte {len(small_bam)}") as caught:
        read_all(small_bam + junk)
    assert caught.value.kind == "bad-bgzf-block"


def test_a_block_smaller_than_its_header_is_refused():
    assert kind_of(BGZF_EOF[:16] + b"\x05\0" + BGZF_EOF[18:]) == "not-bgzf"


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (block(b"hello", crc=1), "bad-bgzf-crc"),
        (block(b"hello", size_bytes=4), "bad-bgzf-crc"),
        (block(b"hello", size_bytes=6), "bad-bgzf-crc"),
        (block(b"hello", size_bytes=65_537), "bad-bgzf-block"),
        (block(b"hello", size_bytes=0xFFFF_FFFF), "bad-bgzf-block"),
        (BGZF_EOF[:18] + b"\xff\xff" + BGZF_EOF[20:], "bad-bgzf-block"),
    ],
    ids=["CRC", "longer", "shorter", "above 64 KiB", "4 GiB", "no deflate"],
)
def test_a_damaged_block_is_named_by_its_offset(small_bam, bad, kind):
    with pytest.raises(CorruptDataError, match=f"the block at byte {len(small_bam)} ") as caught:
        read_all(small_bam + bad)
    assert caught.value.kind == kind


def test_a_block_that_lies_about_its_size_takes_little_memory():
    bomb = block(bytes(60_000_000), size_bytes=65_536)
    assert len(bomb) < 65_536
    tracemalloc.start()
    assert kind_of(bomb) == "bad-bgzf-crc"
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()


def test_mutated_files_raise_our_errors_and_no_others(small_bam):
    source = random.Random(7)
    for _ in range(1500):
        data = bytearray(small_bam)
        for _ in range(source.randint(1, 4)):
            data[source.randrange(len(data))] = source.randrange(256)
        if source.random() < 0.3:
            del data[source.randrange(len(data)) :]
        try:
            parse_header(read_all(bytes(data) or b"x")[0])
        except Bams3Error as err:
            assert err.exit_code in (2, 3)  # noqa: PT017  # any other error fails the test by itself


def test_a_header_asks_for_more_until_its_last_byte():
    data = HEADER.encode()
    assert all(parse_header(data[:end]) is None for end in range(len(data)))
    assert parse_header(data + b"records") == (HEADER, len(data))
    assert parse_header(memoryview(data)) == (HEADER, len(data))


def test_a_buffer_can_grow_between_two_tries():
    data, buffer = HEADER.encode(), bytearray()
    while parse_header(buffer) is None:
        buffer += data[len(buffer) : len(buffer) + 7]
    assert parse_header(buffer) == (HEADER, len(data))


def test_a_name_that_is_not_utf8_survives():
    header = BamHeader(b"", ContigTable((b"chr\xff\xfe".decode("utf-8", "surrogateescape"),), (5,)))
    assert b"chr\xff\xfe\0" in header.encode()
    assert parse_header(header.encode())[0] == header


@given(
    st.binary(max_size=200),
    st.lists(st.tuples(st.text(st.characters(exclude_characters="\0")), st.integers(0, 2**32 - 1))),
)
def test_every_header_survives(text, contigs):
    names, lengths = zip(*contigs, strict=True) if contigs else ((), ())
    names = tuple(name.encode("utf-8", "replace").decode() for name in names)
    header = BamHeader(text, ContigTable(names, lengths))
    assert parse_header(header.encode()) == (header, len(header.encode()))


@pytest.mark.parametrize(
    "data",
    [
        b"BAM\1" + struct.pack("<i", -1),
        b"BAM\1" + struct.pack("<ii", 0, -5),
        b"BAM\1" + struct.pack("<iii", 0, 1, -5) + bytes(9),
        b"BAM\1" + struct.pack("<iii", 0, 1, 0) + bytes(9),
        b"BAM\1" + struct.pack("<iii4si", 0, 1, 4, b"chr1", 9) + bytes(9),
        b"BAM\1" + struct.pack("<iii4si", 0, 1, 4, b"c\0r\0", 9) + bytes(9),
    ],
    ids=["negative text", "negative contigs", "negative name", "empty name", "no NUL", "NUL inside"],
)
def test_a_header_that_cannot_be_is_refused(data):
    with pytest.raises(CorruptDataError, match=r"^s\.bam: .*byte \d+ of the BAM header") as caught:
        parse_header(data, source="s.bam")
    assert caught.value.kind == "bad-bam-header"


@pytest.mark.parametrize(
    "lie",
    [struct.pack("<i", 2**31 - 1), struct.pack("<ii", 0, 2**31 - 1), struct.pack("<iii", 0, 1, 2**31 - 1)],
    ids=["text", "contigs", "name"],
)
def test_a_length_that_lies_reserves_nothing(lie):
    data = b"BAM\1" + lie + bytes(1000)
    tracemalloc.start()
    assert parse_header(data) is None
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


@pytest.mark.parametrize("data", [b"B@M", b"CRAM\3", b"@HD\tVN:1.6\n", b"BAM\2"])
def test_what_is_not_a_bam_is_an_input_error(data):
    with pytest.raises(InputError) as caught:
        parse_header(data)
    assert caught.value.kind == "not-alignments"


@pytest.mark.parametrize("level", range(10))
def test_htslib_reads_what_every_level_compresses(tmp_path, level):
    source = random.Random(level)
    data = source.randbytes(BLOCK_DATA_BYTES + 77) + b"ACGT" * 40_000 + source.randbytes(5)
    path = tmp_path / "data.gz"
    path.write_bytes(compress_blocks(data, level) + BGZF_EOF)
    with pysam.BGZFile(path) as theirs:
        assert theirs.read(len(data) + 1) == data
    assert read_all(path.read_bytes()) == (data, True)


def test_higher_levels_make_smaller_blocks(shared_data):
    data = gzip.decompress((shared_data / "aln" / "NA12878.bam").read_bytes())[: 20 * BLOCK_DATA_BYTES]
    sizes = [len(compress_blocks(data, level)) for level in (0, 1, 3, 6, 9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == len(data) + 20 * 31


@given(st.binary(max_size=300), st.sampled_from([0, 1, 6]))
def test_compressed_blocks_inflate_to_themselves(data, level):
    assert read_all(compress_blocks(data, level) + BGZF_EOF) == (data, True)


def test_nothing_makes_no_block():
    assert compress_blocks(b"", 3) == b""


@pytest.mark.parametrize("level", [-1, 10])
def test_a_level_that_does_not_exist_is_refused(level):
    with pytest.raises(InputError) as caught:
        compress_blocks(b"x", level)
    assert caught.value.kind == "bad-level"


def test_the_name_of_an_open_file_is_in_its_errors(tmp_path):
    path = tmp_path / "s2.bam"
    path.write_bytes(os.urandom(8) * 100)
    with path.open("rb") as file, pytest.raises(CorruptDataError, match="s2.bam"):
        next(read_batches(file))
