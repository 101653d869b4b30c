"""Hypothesis strategies of BAM records: whatever the format allows, and what it rarely sees."""

import os
import struct

from bam_records import FORMATS, OPS, cigar_bytes, record, reference_length, tag
from hypothesis import settings
from hypothesis import strategies as st

#: Records are slow to draw, and everything is slow under sanitizers.
few = settings(max_examples=8 if "libasan" in os.environ.get("LD_PRELOAD", "") else 30)

INT32 = st.integers(-(2**31), 2**31 - 1)
BYTE = st.integers(0, 255)
NAMES = st.binary(min_size=0, max_size=254).map(lambda name: name.replace(b"\0", b"-"))
TAG_NAMES = st.sampled_from(["NM", "RG", "XA", "CG", "ML", "a1", "\xff\xfe"])


def width_of(kind):
    """Bytes of one number of a tag type."""
    return struct.calcsize("<" + FORMATS[kind])


@st.composite
def tags(draw):
    """One optional field of any type."""
    name, kind = draw(TAG_NAMES), draw(st.sampled_from("AcCsSiIfdZHB"))
    if kind in "ZH":
        return tag(name, kind, draw(st.binary(max_size=9)).replace(b"\0", b" "))
    if kind == "B":
        item = draw(st.sampled_from("cCsSiIfd"))
        raw = draw(st.binary(max_size=8)) * width_of(item)
        head = name.encode("latin-1") + b"B" + item.encode()
        return head + struct.pack("<I", len(raw) // width_of(item)) + raw
    raw = draw(st.binary(min_size=8, max_size=8))
    return name.encode("latin-1") + kind.encode() + raw[: width_of(kind)]


@st.composite
def cigars(draw, seq_len):
    """BAM operations that take ``seq_len`` bases of the read."""
    out, left = b"", seq_len
    while left or draw(st.booleans()):
        if left and draw(st.booleans()):
            n, op = draw(st.integers(1, left)), draw(st.sampled_from("MIS=X"))
            left -= n
        else:
            n, op = draw(st.integers(0, 3000)), draw(st.sampled_from("DNHP"))
        out += struct.pack("<I", n << 4 | OPS.index(op))
    return out


@st.composite
def long_cigars(draw, seq_len):
    """(field, CG tag) of a CIGAR that stands in a tag: as writers do it, or almost so."""
    real = draw(cigars(seq_len))
    covered = reference_length(real)
    field = cigar_bytes(f"{seq_len}S{covered}N")
    kind, how = "I", draw(st.sampled_from(["usual", "usual", "signed", "other N", "more", "less"]))
    if how == "signed":
        kind = "i"
    elif how == "other N":
        field = cigar_bytes(f"{seq_len}S{covered + 1}N")
    elif how == "more":
        field += cigar_bytes("3D")
    elif how == "less":
        field = cigar_bytes(f"{seq_len}S")
    return field, b"CGB" + kind.encode() + struct.pack("<I", len(real) // 4) + real


@st.composite
def records(draw, contigs=3):
    """A whole record that a converter must take; its sequence, CIGAR and tags agree."""
    seq = draw(st.lists(st.integers(0, 15), max_size=9))
    optional = draw(st.lists(tags(), max_size=4))
    flag, cigar = draw(st.integers(0, 65_535)), draw(cigars(len(seq)))
    if draw(st.integers(0, 3)) == 0:
        cigar, moved = draw(long_cigars(len(seq)))
        optional.insert(draw(st.integers(0, len(optional))), moved)
        # where another CG tag comes first, or the field is no placeholder, only an unmapped read may disagree
        flag |= 4 if draw(st.booleans()) or not agrees(cigar, len(seq), optional, moved) else 0
    elif (
        seq
        and cigar.startswith(cigar_bytes(f"{len(seq)}S"))
        and any(one.startswith(b"CGB") for one in optional)
    ):
        flag |= 4  # what counts is that tag, by chance
    return record(
        draw(NAMES),
        flag=flag,
        contig=draw(st.integers(-1, contigs - 1)),
        pos=draw(st.integers(-1, 2**31 - 1) | st.integers(-1, 5000)),
        mapq=draw(BYTE),
        cigar=cigar,
        mate_contig=draw(st.integers(-1, contigs - 1)),
        mate_pos=draw(INT32),
        tlen=draw(INT32),
        seq=seq,
        quals=draw(st.binary(min_size=len(seq), max_size=len(seq))),
        tags=optional,
        padding=draw(st.sampled_from([0, 0, 0, 7])),
    )


def agrees(field, seq_len, optional, moved):
    """Whether the CIGAR that counts takes as many bases as the read has, wherever the read lies."""
    first = next(one for one in optional if one.startswith(b"CG"))
    return seq_len == 0 or (first == moved and field == cigar_bytes(f"{seq_len}S"))
