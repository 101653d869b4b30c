"""Kernels of links, mates and alternatives against their slow twins, samtools, and streams that lie."""

from dataclasses import replace
from itertools import pairwise

import mates_twins as twins
import numpy as np
import pytest
from bam_records import cigar_bytes
from hypothesis import example, given
from hypothesis import strategies as st
from test_entropy import fare_alike, lie, lie_of
from test_kernels import BAD_CODE, BAD_COLUMN, code_of, same, u8
from test_transforms import u32
from transform_twins import cut, strings

from bams3 import kernels
from bams3.columns import Columns, Strings

pytestmark = pytest.mark.native

BAD_LINK = 18
NAMES = st.lists(
    st.sampled_from(
        [b"", b"a", b"b", b"ab", b"8 bytes.", b"8 bytes!", b"more than 8 bytes", b"more than 8 bytez"]
    )
    | st.binary(max_size=2),
    max_size=16,
)
FLAG = st.sampled_from([99, 147, 83, 163, 73, 133, 77, 141, 65, 129, 0, 16, 4, 193]) | st.integers(0, 65_535)
EXTRA = st.sampled_from([0, 0, 0, 0, 0x100, 0x200, 0x400, 0x800, 0xD00])
CIGAR = st.sampled_from("4M 2M1D2M 3S1M 1M3S 10M * 5H4M 2=1X1I 1M1000N3M".split()).map(cigar_bytes)
ANY_OP = st.builds(
    lambda n, op: (n << 4 | op).to_bytes(4, "little"), st.integers(0, 2**28 - 1), st.integers(0, 15)
)
CIGARS = st.lists(CIGAR | st.lists(ANY_OP, max_size=3).map(b"".join), max_size=6)


def i32(values):
    return np.array(values, np.int32)


def u16(values):
    return np.array(values, np.uint16)


@st.composite
def templates(draw):
    """Columns of records that share names: pairs, single reads, duplicates, supplementaries and lies."""
    names = draw(NAMES)
    n, near = len(names), st.integers(0, 40) | st.sampled_from([-1, 0, 2**31 - 1, -(2**31)])

    def some(one):
        return draw(st.lists(one, min_size=n, max_size=n))

    columns = Columns(n, contig=i32(some(st.sampled_from([0, 0, 0, 1, -1]))))
    columns.pos, columns.mate_pos = i32(some(near)), i32(some(near))
    columns.ref_len = u32(some(st.integers(0, 20) | st.sampled_from([0, 2**31 - 1])))
    columns.flag = u16([flag | more for flag, more in zip(some(FLAG), some(EXTRA), strict=True)])
    columns.cigar, columns.link = strings(some(CIGAR)), twins.find_links(strings(names))
    return columns


def distances(link):
    """The streams of links: distances of records that begin a chain, and of the others."""
    following = {before: record - before for record, before in enumerate(link.tolist()) if before >= 0}
    distance = u32([following.get(record, 0) for record in range(link.size)])
    return [distance[link < 0], distance[link >= 0]]


@pytest.mark.parametrize("k", [twins, kernels], ids=["twin", "native"])
class TestMates:
    """What the kernels of links and mates and their twins must do alike."""

    @given(names=NAMES)
    @example(names=[b"a"] * 40)
    def test_a_link_leads_to_the_last_record_of_the_same_name(self, k, names):
        link = k.find_links(strings(names))
        assert same(link, twins.find_links(strings(names)))
        assert same(k.join_links(*distances(link), link.size), link)

    @given(columns=templates())
    def test_mates_are_those_of_the_twin(self, k, columns):
        mates = k.find_mates(columns.link, columns.flag)
        assert same(mates, twins.find_mates(columns.link, columns.flag))

    def test_a_mate_is_the_first_primary_read_of_the_other_kind_wherever_it_stands(self, k):
        flag = u16([99 | 0x800, 147 | 0x100, 147, 99, 147 | 0x400, 99, 0, 193, 147])
        link = i32([-1, 0, 1, 2, 3, 4, 5, 6, -1])
        assert k.find_mates(link, flag).tolist() == [2, 3, 3, 2, 3, 2, -1, -1, -1]

    @given(columns=templates())
    def test_flags_come_back_from_how_they_differ_from_a_mates(self, k, columns):
        differences = k.flags_unlike_mates(columns.link, columns.flag)
        assert same(differences, twins.flags_unlike_mates(columns.link, columns.flag))
        assert same(k.flags_of_differences(columns.link, differences), columns.flag)

    def test_flags_of_a_pair_are_as_expected_and_other_bits_are_not_predicted(self, k):
        link = i32([-1, 0, -1, 2, -1, 4])
        flag = u16([99, 147, 73, 133, 0xFF00, 0])
        assert k.flags_unlike_mates(link, flag).tolist() == [99, 0, 73, 0, 0xFF00, 0x600]

    @given(columns=templates(), outermost=st.booleans(), data=st.data())
    def test_template_lengths_come_back_from_what_mates_say(self, k, columns, outermost, data):
        values = st.integers(-300, 300) | st.sampled_from([2**31 - 1, -(2**31)])
        tlen = i32(data.draw(st.lists(values, min_size=columns.n, max_size=columns.n)))
        mates = twins.find_mates(columns.link, columns.flag)
        residuals = k.tlen_residuals(columns, mates, tlen, outermost, undo=False)
        assert same(residuals, twins.tlen_residuals(columns, mates, tlen, outermost, undo=False))
        assert same(k.tlen_residuals(columns, mates, residuals, outermost, undo=True), tlen.view(np.uint32))

    @pytest.mark.parametrize(
        ("flag", "pos", "ref_len", "contig", "ends", "outermost"),
        [
            ([99, 147], [100, 300], [50, 50], [0, 0], 250, 250),
            ([65, 129], [100, 300], [50, 50], [0, 0], 201, 250),
            ([113, 177], [100, 300], [50, 60], [0, 0], 211, 260),
            ([99, 147], [100, 100], [50, 50], [0, 0], 50, 50),
            ([65, 129], [100, 100], [50, 60], [0, 0], 0, 60),
            ([81, 161], [100, 100], [1, 50], [0, 0], 0, 50),
            ([81, 161], [100, 100], [0, 50], [0, 0], 2, 50),
            ([99, 147], [100, 300], [50, 50], [0, 1], 0, 0),
            ([97, 149], [100, 100], [50, 0], [0, 0], 0, 0),
        ],
    )
    def test_the_two_forms_of_a_template_length_are_these(
        self, k, flag, pos, ref_len, contig, ends, outermost
    ):
        columns = Columns(2, flag=u16(flag), pos=i32(pos), ref_len=u32(ref_len), contig=i32(contig))
        columns.mate_pos = i32(pos[::-1])
        for form, length in ((False, ends), (True, outermost)):
            residuals = k.tlen_residuals(columns, i32([1, 0]), i32([length, -length]), form, undo=False)
            assert residuals.tolist() == [0, 0]

    @pytest.mark.parametrize(
        ("first", "later", "n", "code"),
        [
            ([], [], 1, BAD_COLUMN),
            ([0], [], 2, BAD_COLUMN),
            ([0, 0], [], 1, BAD_COLUMN),
            ([0], [0], 1, BAD_COLUMN),
            ([1], [], 2, BAD_COLUMN),
            ([0], [], 0, BAD_COLUMN),
            ([1], [], 1, BAD_LINK),
            ([1], [1], 2, BAD_LINK),
            ([2**32 - 1, 0], [], 2, BAD_LINK),
            ([2, 1], [0], 3, BAD_LINK),
        ],
    )
    def test_links_that_lie_are_refused_by_name(self, k, first, later, n, code):
        assert code_of(k.join_links, u32(first), u32(later), n) == code

    # -- strings --

    @given(several=st.lists(st.binary(max_size=5), min_size=1, max_size=6), data=st.data())
    def test_strings_are_taken_by_number_and_compared(self, k, several, data):
        number = st.lists(st.integers(0, len(several) - 1), max_size=9)
        left, right = (np.array(data.draw(number), np.int64) for _ in range(2))
        size = sum(len(several[i]) for i in left)
        assert cut(k.take_strings(strings(several), left, size)) == [several[i] for i in left]
        both = min(left.size, right.size)
        equal = k.equal_strings(strings(several), left[:both], strings(several[::-1]), right[:both])
        wanted = zip(left, right, strict=False)
        assert equal.tolist() == [several[i] == several[::-1][j] for i, j in wanted]
        if size:
            assert code_of(k.take_strings, strings(several), left, size - 1) == BAD_COLUMN

    @given(cigars=CIGARS.filter(len), data=st.data())
    def test_cigars_become_text(self, k, cigars, data):
        index = np.array(data.draw(st.lists(st.integers(0, len(cigars) - 1), max_size=9)), np.int64)
        texts = k.cigar_texts(strings(cigars), index, 1000)
        assert same(texts, twins.cigar_texts(strings(cigars), index, 1000))
        if texts.data.size:
            assert code_of(k.cigar_texts, strings(cigars), index, texts.data.size - 1) == BAD_COLUMN

    def test_cigar_texts_are_those_of_sam_and_unknown_operations_a_question_mark(self, k):
        odd = b"".join((5 << 4 | op).to_bytes(4, "little") for op in (9, 15))
        cigars = strings([cigar_bytes("0M268435455N7=8X"), b"", odd])
        texts = cut(k.cigar_texts(cigars, np.array([2, 1, 0, 1]), 100))
        assert texts == [b"5?5?", b"*", b"0M268435455N7=8X", b"*"]

    @pytest.mark.parametrize("lengths", [[4], [4, 4, 4], [], [2**32 - 4, 8]])
    def test_cigars_of_another_length_are_refused(self, k, lengths):
        cigars = Strings(u32(lengths), u8(cigar_bytes("1M2I")))
        assert code_of(k.cigar_texts, cigars, np.zeros(0, np.int64), 100) == BAD_COLUMN


@given(columns=templates(), more=st.sampled_from([0, 0, 0, 1, -1]), data=st.data())
def test_mutated_links_fare_as_in_the_twin(columns, more, data):
    first, later = lie_of(data, distances(columns.link))
    assert fare_alike(kernels.join_links, twins.join_links, first, later, max(columns.n + more, 0))


# ---- alternatives ----


def reads_of(*several):
    """Columns of reads (pos, ref_len, flag, CIGAR)."""
    pos, ref_len, flag, cigars = zip(*several, strict=True) if several else ((), (), (), ())
    columns = Columns(len(several), pos=i32(pos), ref_len=u32(ref_len), flag=u16(flag))
    columns.cigar = strings([cigar_bytes(cigar) for cigar in cigars])
    return columns


@st.composite
def alternatives(draw):
    """(columns, records that have the tag, values) that are of the form, or nearly."""

    def odd(good, bad):
        return draw(st.sampled_from(bad if draw(st.integers(0, 30)) == 0 else good))

    cigars = ["4M", "2M1D2S", "3S1M", "10M", "*"]
    places = st.integers(0, 9) | st.sampled_from([-1, 2**31 - 1])
    read = st.tuples(places, st.integers(0, 9), st.sampled_from([0, 16, 83, 99]), st.sampled_from(cigars))
    reads = draw(st.lists(read, max_size=6))
    records = [number for number in range(len(reads)) if draw(st.booleans()) or draw(st.booleans())]
    values = []
    for _ in records:
        value = ""
        for _ in range(draw(st.integers(0, 4))):
            name = odd(["c", "c", "chr1", "HLA*01:01"], ["", "a;b", "+", "\n"])
            strand = odd(["+", "-"], ["", "*", "+-", "++"])
            pos = odd(
                ["1", "5", "6", "7", "8"], ["0", "01", "", "2147483647", "2147483648", "4294967297", "1e1"]
            )
            cigar = odd([*cigars, "2S1D2M", "1M3S", "5H"], ["", "x", "4M,", ";"])
            edits = odd(["0", "1", "2", "2147483647"], ["00", "", "-1", "2147483648", "99999999999", " 1"])
            value += f"{name},{strand}{pos},{cigar},{edits}" + odd([";"], ["", ",", ";;"])
        values.append(value.encode())
    return reads_of(*reads), np.array(records, np.int64), values


ONE = reads_of((100, 4, 0, "2M1D1M1S"))
FIRST = np.array([0])


@pytest.mark.parametrize("k", [twins, kernels], ids=["twin", "native"])
class TestAlternatives:
    """What the kernels of alternatives and their twins must do alike."""

    @given(given_=alternatives())
    def test_values_are_split_as_in_the_twin_and_come_back(self, k, given_):
        columns, records, values = given_
        parts = k.split_alternatives(columns, records, strings(values))
        assert same(parts, twins.split_alternatives(columns, records, strings(values)))
        of_form = [value if count else b"" for value, count in zip(values, parts.counts, strict=True)]
        size = sum(map(len, of_form))
        assert cut(k.join_alternatives(columns, records, parts, size)) == of_form
        assert not size or code_of(k.join_alternatives, columns, records, parts, size - 1) == BAD_COLUMN

    @pytest.mark.parametrize(
        "value",
        (
            "|;|c,+1,4M,0|c,+1,4M,0;c|c,+1,4M,0;;|c,1,4M,0;|c,+0,4M,0;|c,+01,4M,0;|,+1,4M,0;|c,+1,,0;|c,+1,4M,;"
            "|c,+1,4M,00;|c,+2147483648,4M,0;|c,+1,4M,2147483648;|c,+1,4M;0;|c,+1,4M,0,|c,+1,4M,-1;|c,+1,4M,+1;"
            "|c,+,4M,0;|c,++1,4M,0;|c;+1,4M,0;|c,+1,4M,0;\n|c,+1,4M,0;c,+1,4M,0|c,+10000000000,4M,0;|c,+1,4M,0,0;"
            "|chr1,+1,4M,60,0;|x,+1,4M,0:|c,+1,4M,0;c,+0,4M,0;|c,+1,4M,0;c,+1,4M,00;"
        ).split("|"),
    )
    def test_values_that_are_nearly_of_the_form_are_kept_as_text(self, k, value):
        parts = k.split_alternatives(ONE, FIRST, strings([value.encode()]))
        assert (parts.counts.tolist(), parts.ranks.size, parts.names.data.size) == ([0], 0, 0)
        assert cut(k.join_alternatives(ONE, FIRST, parts, 0)) == [b""]

    @pytest.mark.parametrize(
        "value", ["c,+1,4M,0;", "\xff,-2147483647,?,2147483647;", "*,+9,1M,0;-,-9,+,0;", "a b,+1,\n,0;"]
    )
    def test_values_that_are_strange_but_of_the_form_come_back(self, k, value):
        value = value.encode("latin-1")
        parts = k.split_alternatives(ONE, FIRST, strings([value]))
        assert parts.counts.tolist() == [value.count(b";")]
        assert cut(k.join_alternatives(ONE, FIRST, parts, 100)) == [value]

    def test_a_cigar_is_turned_around_on_the_other_strand(self, k):
        value = b"c,+9,2M1D1M1S,0;c,-9,1S1M1D2M,0;c,-9,2M1D1M1S,0;"
        parts = k.split_alternatives(ONE, FIRST, strings([value]))
        assert (parts.same.tolist(), cut(parts.cigars)) == ([1, 1, 0], [b"2M1D1M1S"])
        assert (parts.own_strand.tolist(), parts.apart.tolist()) == ([1, 0], [2**32 - 92, 112])

    @pytest.mark.parametrize(("n", "count"), [(254, 254), (255, 255), (256, 0), (257, 0), (512, 0)])
    def test_a_value_of_more_than_255_places_is_kept_as_text(self, k, n, count):
        parts = k.split_alternatives(ONE, FIRST, strings([b"c,+1,4M,0;" * n]))
        assert (parts.counts.tolist(), parts.ranks.tolist()) == (
            [count],
            [255, *[0] * (n - 1)] if count else [],
        )

    def test_the_last_255_distances_are_kept_the_latest_first(self, k):
        values = [b"c,+%d,4M,0;" % place for place in (*range(1, 257), 2, 1, 256, 1, 3)]
        columns = reads_of(*[(0, 4, 0, "4M")] * len(values))
        parts = k.split_alternatives(columns, np.arange(len(values)), strings(values))
        assert parts.ranks.tolist() == [255] * 256 + [254, 255, 2, 1, 255]
        assert cut(k.join_alternatives(columns, np.arange(len(values)), parts, 10_000)) == values

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"ranks": u8([255, 1])}, BAD_CODE),
            ({"ranks": u8([0, 255])}, BAD_CODE),
            ({"ranks": u8([255, 254])}, BAD_CODE),
            ({"ranks": u8([255, 255])}, BAD_COLUMN),
            ({"counts": u8([3])}, BAD_COLUMN),
            ({"counts": u8([0])}, BAD_COLUMN),
            ({"counts": u8([])}, BAD_COLUMN),
            ({"same": u8([0, 0])}, BAD_COLUMN),
            ({"same": u8([1, 1])}, BAD_COLUMN),
            ({"edits": u32([0])}, BAD_COLUMN),
            ({"own_strand": u8([])}, BAD_COLUMN),
            ({"names": strings([b"c", b"d"])}, BAD_COLUMN),
            ({"names": strings([]), "apart": u32([]), "own_strand": u8([])}, BAD_COLUMN),
            ({"cigars": strings([])}, BAD_COLUMN),
            ({"cigars": strings([b"1M", b"2M"])}, BAD_COLUMN),
            ({"cigars": strings([b"1M" * 100])}, BAD_COLUMN),
        ],
    )
    def test_alternatives_that_lie_are_refused_by_name(self, k, change, code):
        parts = kernels.split_alternatives(ONE, FIRST, strings([b"c,+9,2M1D1M1S,0;c,+9,4M,0;"]))
        assert code_of(k.join_alternatives, ONE, FIRST, replace(parts, **change), 100) == code


@given(given_=alternatives(), data=st.data())
def test_mutated_alternatives_fare_as_in_the_twin(given_, data):
    columns, records, values = given_
    parts = kernels.split_alternatives(columns, records, strings(values))
    for name in data.draw(st.sets(st.sampled_from(parts.__slots__), min_size=1, max_size=2)):
        stream = getattr(parts, name)
        changed = strings(cut(stream)[:-1]) if isinstance(stream, Strings) else lie(data, stream)
        parts = replace(parts, **{name: changed})
    assert fare_alike(kernels.join_alternatives, twins.join_alternatives, columns, records, parts, 10_000)


# ---- real reads ----


@pytest.fixture(scope="module")
def fixed_reads(shared_data, tmp_path_factory):
    """Real reads by name, with what samtools fixmate -m says of their mates."""
    import pysam

    folder = tmp_path_factory.mktemp("fixmate")
    with pysam.AlignmentFile(str(shared_data / "aln" / "NA12878.chr22.s.bam")) as real:
        reads = sorted((next(real) for _ in range(3000)), key=lambda read: read.query_name)
        header = real.header.to_dict() | {"HD": {"VN": "1.6", "SO": "queryname"}}
    with pysam.AlignmentFile(str(folder / "names.bam"), "wb", header=header) as by_name:
        for read in reads:
            read.set_tags([tag for tag in read.get_tags() if tag[0] == "XA"])
            by_name.write(read)
    pysam.samtools.fixmate("-m", str(folder / "names.bam"), str(folder / "fixed.bam"), catch_stdout=False)
    with pysam.AlignmentFile(str(folder / "fixed.bam"), check_sq=False) as fixed:
        return list(fixed)


def columns_of_reads(reads):
    columns = Columns(len(reads), flag=u16([read.flag for read in reads]))
    columns.contig, columns.pos = (
        i32([getattr(r, n) for r in reads]) for n in ("reference_id", "reference_start")
    )
    columns.mate_pos = i32([read.next_reference_start for read in reads])
    columns.ref_len = u32([read.reference_length or 0 for read in reads])
    columns.cigar = strings([cigar_bytes(read.cigarstring or "*") for read in reads])
    columns.seq_len = u32([read.query_length for read in reads])
    columns.quals = u8(b"".join(bytes(read.query_qualities or b"") for read in reads))
    columns.link = kernels.find_links(strings([read.query_name.encode() for read in reads]))
    return columns


def test_mates_of_real_reads_are_those_of_samtools_fixmate(fixed_reads):
    columns = columns_of_reads(fixed_reads)
    mates = kernels.find_mates(columns.link, columns.flag)
    sums = kernels.quality_sums(columns.quals, columns.seq_len)
    texts = cut(kernels.cigar_texts(columns.cigar, np.arange(columns.n), 1 << 20))
    assert texts == [(read.cigarstring or "*").encode() for read in fixed_reads]
    told = [(i, read) for i, read in enumerate(fixed_reads) if read.has_tag("ms")]
    assert len(told) > 2000
    assert [sums[mates[i]] for i, _ in told] == [read.get_tag("ms") for _, read in told]
    told = [(i, read) for i, read in enumerate(fixed_reads) if read.has_tag("MC")]
    assert len(told) > 2000
    assert [texts[mates[i]].decode() for i, _ in told] == [read.get_tag("MC") for _, read in told]


def test_flags_and_template_lengths_of_real_pairs_are_as_predicted(fixed_reads):
    """Where the two have opposite strands: samtools fixmate counts differently where they have not."""
    pairs = [pair for pair in pairwise(fixed_reads) if pair[0].query_name == pair[1].query_name]
    pairs = [(a, b) for a, b in pairs if not (a.flag | b.flag) & 0x904 and a.is_reverse != b.is_reverse]
    columns = columns_of_reads([read for pair in pairs for read in pair])
    mates = kernels.find_mates(columns.link, columns.flag)
    tlen = i32([read.template_length for pair in pairs for read in pair])
    assert len(pairs) > 1000
    assert not kernels.flags_unlike_mates(columns.link, columns.flag)[1::2].any()
    assert not kernels.tlen_residuals(columns, mates, tlen, False, undo=False).any()


def test_real_alternatives_are_all_of_the_form(fixed_reads):
    reads = [read for read in fixed_reads if read.has_tag("XA")]
    values, columns = [read.get_tag("XA").encode() for read in reads], columns_of_reads(reads)
    parts = kernels.split_alternatives(columns, np.arange(columns.n), strings(values))
    assert len(values) > 10
    assert parts.counts.tolist() == [value.count(b";") for value in values]
    assert cut(kernels.join_alternatives(columns, np.arange(columns.n), parts, 1 << 20)) == values
