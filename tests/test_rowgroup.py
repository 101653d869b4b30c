"""Row groups: a writer stores nothing that a reader would refuse, and takes little memory."""

import tracemalloc

import pytest
from bam_records import cigar_bytes, record, tag

from bams3 import kernels
from bams3.format import rowgroup
from bams3.format.frames import Compression
from bams3.format.rowgroup import CODEC_ID, decode_columns, encode_group

pytestmark = pytest.mark.native


def odd_places(j):
    """An XA value that takes more when it is taken apart."""
    places = ((33 + k % 10, 65 + j % 60, 66 + k % 8, 66 + j % 26) for k in range(255))
    return b"".join(b"%c%c,+1,%c%c,0;" % place for place in places)


BEYOND_LIMITS = {
    "loose N": [record(b"a", cigar="100M", seq="ACGT" * 25)]
    + [record(b"n%d" % i, flag=4, cigar="", seq="N" * 100) for i in range(100)],
    "clipped N": [record(b"r%d" % i, cigar="140S10M", seq="N" * 140 + "ACGTACGTAC") for i in range(200)],
    "odd XA": [record(b"r%d" % i, tags=[tag("XA", "Z", odd_places(i))]) for i in range(100)],
}


@pytest.mark.parametrize("case", BEYOND_LIMITS)
def test_what_no_reader_would_take_is_stored_in_another_way(case):
    several = BEYOND_LIMITS[case]
    group = encode_group(kernels.split(b"".join(several), len(several)), Compression())
    assert joined(group) == b"".join(several)


def joined(group):
    blobs = [(blob.column, CODEC_ID[blob.codec], blob.data) for blob in group.blobs]
    return kernels.join(decode_columns(group.records, group.decoded_bytes, blobs)).tobytes()


def test_a_row_group_whose_predictions_take_too_much_is_stored_plain(monkeypatch):
    several = [record(b"p%d" % (i // 2), pos=i, cigar="8M", seq="ACGTACGA") for i in range(300)]
    room, plain = rowgroup._room_bytes, []  # nothing real takes six times its bytes

    def less_room(columns):
        plain.append(columns.link is None)
        return room(columns) if columns.link is None else 100

    with monkeypatch.context() as patched:
        patched.setattr(rowgroup, "_room_bytes", less_room)
        group = encode_group(kernels.split(b"".join(several), len(several)), Compression())
    assert not plain[0]
    assert plain[-1]
    codecs_used = {blob.codec for blob in group.blobs}
    assert not codecs_used & {"links", "linked", "mate", "reference", "aligned"}
    assert joined(group) == b"".join(several)


def test_a_mate_or_a_reference_far_longer_than_the_tags_that_speak_of_it_takes_no_memory():
    long_mate = [record(b"r", flag=0x81, cigar=cigar_bytes("1M") * 20_000, seq="A" * 20_000)]
    long_mate += [record(b"r", flag=0x41, cigar="4M", seq="ACGT", tags=[tag("MC", "Z", b"4M")])] * 2_000
    deleted = [record(b"a", cigar="600000M", seq="A" * 600_000)]
    deleted += [record(b"d", cigar="1000D1M" * 590, seq="A" * 590, tags=[tag("MD", "Z", b"x")])] * 200
    for several in (long_mate, deleted):
        columns = kernels.split(b"".join(several), len(several))
        tracemalloc.start()
        group = encode_group(columns, Compression())
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak_bytes < 60e6
        assert joined(group) == b"".join(several)
