"""Spans against records, one at a time: what overlaps, as the specification of BAM puts it."""

import numpy as np
import pytest
from bam_bytes import place
from bam_records import cigar_bytes, record
from hypothesis import example, given
from hypothesis import strategies as st
from record_strategies import few, records
from twins import split

from bams3.format.rowgroup import group_summary
from bams3.regions import MAX_BP, Region
from bams3.spans import Spans


def columns_of(*several):
    return split(b"".join(several), len(several))


def spans(contig, *bounds):
    return Spans.of(contig, [Region("any", start, end) for start, end in bounds])


def overlaps(c, i, contig, start, end):
    """One record against one span; unplaced reads have no bounds."""
    if c.contig[i] != contig:
        return False
    length = 0 if c.flag[i] & 4 else int(c.ref_len[i])
    pos = int(c.pos[i])
    return contig < 0 or (pos < end and pos + max(length, 1) > start)


@st.composite
def bounds(draw):
    """A span that is near the records, or as long as spans can be."""
    start = draw(st.integers(0, 6000))
    return start, draw(st.integers(start + 1, start + 3000) | st.just(MAX_BP))


@st.composite
def bounds_apart(draw):
    """Sorted spans of which none touches another, as merging leaves them."""
    edges = sorted(draw(st.sets(st.integers(0, 9000), min_size=2, max_size=12)))
    return list(zip(edges[::2], edges[1::2], strict=False))


CONTIG = st.integers(-1, 3)
RECORDS = st.lists(records(), min_size=1, max_size=6)


@few
@given(several=RECORDS, contig=CONTIG, wanted=st.lists(bounds(), max_size=6), data=st.data())
def test_each_span_counts_the_records_that_overlap_it(several, contig, wanted, data):
    c = columns_of(*several)
    marks = data.draw(st.none() | st.lists(st.integers(0, 1), min_size=c.n, max_size=c.n))
    passing = [i for i in range(c.n) if marks is None or marks[i]]
    expected = [sum(overlaps(c, i, contig, start, end) for i in passing) for start, end in wanted]
    mask = None if marks is None else np.array(marks, np.uint8)
    assert spans(contig, *wanted).counts(c, mask).tolist() == expected


@few
@given(several=RECORDS, contig=CONTIG, wanted=bounds_apart())
@example(
    several=[record(pos=5), record(pos=20, cigar="2M30N2M")], contig=0, wanted=[(0, 5), (9, 10), (40, 41)]
)
def test_a_record_is_marked_if_it_overlaps_any_span(several, contig, wanted):
    c = columns_of(*several)
    expected = [any(overlaps(c, i, contig, *span) for span in wanted) for i in range(c.n)]
    assert spans(contig, *wanted).mask(c).tolist() == expected


@few
@given(several=RECORDS, wanted=st.lists(bounds(), min_size=1, max_size=6))
def test_what_an_extent_says_of_its_records_holds_for_each(several, wanted):
    c = columns_of(*sorted(several, key=place))
    for extent in group_summary(c)[0]:
        contig = int(extent["contig"])
        asked = spans(contig, *wanted)
        several_counts = zip(asked.meet(extent), asked.hold(extent), asked.counts(c, None), strict=True)
        here = int(np.count_nonzero(c.contig == contig))
        for meets, holds, n in several_counts:
            assert meets or n == 0
            assert not holds or n == here


@pytest.mark.parametrize(
    ("one", "first", "last"),
    [
        (record(pos=100, cigar="2M3D2M"), 100, 106),
        (record(pos=100, cigar="4S"), 100, 100),
        (record(pos=100, flag=4, cigar="4M"), 100, 100),
        (record(pos=100, cigar=cigar_bytes("4M500N"), seq="ACGT"), 100, 603),
    ],
    ids=["deletion", "clipped", "unmapped", "skip"],
)
def test_a_read_reaches_from_its_position_to_its_last_reference_base(one, first, last):
    at = [first - 1, first, last, last + 1]
    counts = spans(0, *((bp, bp + 1) for bp in at)).counts(columns_of(one), None)
    assert counts.tolist() == [0, 1, 1, 0]


def test_unplaced_reads_are_one_span_whatever_its_bounds():
    c = columns_of(record(pos=3), record(contig=-1, pos=-1, flag=4), record(contig=-1, pos=70, flag=4))
    unplaced = spans(-1, (0, 1), (50, 60))
    assert unplaced.counts(c, None).tolist() == [2, 2]
    assert unplaced.counts(c, np.array([1, 0, 1], np.uint8)).tolist() == [1, 1]
    assert unplaced.mask(c).tolist() == [0, 1, 1]


def test_spans_that_were_taken_are_those_of_the_numbers():
    taken = spans(2, (0, 5), (7, 9), (20, 30)).take(np.array([2, 0]))
    assert (taken.contig, taken.start.tolist(), taken.end.tolist()) == (2, [20, 0], [30, 5])
