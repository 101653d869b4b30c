"""Regions, sizes and BED rows; the oracle for both grammars is samtools 1.24, through pysam."""

import gzip
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bams3.errors import InputError
from bams3.regions import (
    MAX_BP,
    ContigTable,
    Region,
    format_region,
    merge_intervals,
    parse_bed,
    parse_bp,
    parse_bytes,
    parse_region,
    read_bed,
)

NAMES = (
    "chr1",
    "2",
    "chrM",
    "HLA-A*01:01:01:01",
    "HLA-A*01:01",
    "amb",
    "amb:10-20",
    "sp:1-5",
    "chr{x",
    "x:y",
    "*z",
    "ch:",
)
CONTIGS = ContigTable(NAMES, (1_000_000,) * len(NAMES))
#: 0-based spans of the reads on every contig: single bases, and one read that spans many.
READS = sorted(
    [
        *(
            (at, at + 1)
            for at in (*range(40), *range(95, 125), *range(990, 1010), 1499, 1500, 9999, 499_999, 500_000)
        ),
        (50, 90),
    ]
)


@pytest.fixture(scope="module")
def indexed_bam(tmp_path_factory):
    """An indexed BAM with READS on every contig, and one unplaced read."""
    import pysam

    path = str(tmp_path_factory.mktemp("regions") / "reads.bam")
    sequences = [
        {"SN": name, "LN": length} for name, length in zip(CONTIGS.names, CONTIGS.lengths, strict=True)
    ]
    header = pysam.AlignmentHeader.from_dict({"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": sequences})
    with pysam.AlignmentFile(path, "wb", header=header) as bam:
        for contig in NAMES:
            for start_bp, end_bp in READS:
                row = f"r\t0\t{contig}\t{start_bp + 1}\t60\t{end_bp - start_bp}M\t*\t0\t0\t*\t*"
                bam.write(pysam.AlignedSegment.fromstring(row, header))
        bam.write(pysam.AlignedSegment.fromstring("u\t4\t*\t0\t0\t*\t*\t0\t0\tA\tI", header))
    pysam.index(path)
    return path


def reads_in(region):
    if region.contig == "*":
        return [("*", 0)]
    return [
        (region.contig, start_bp + 1)
        for start_bp, end_bp in READS
        if start_bp < region.end_bp and end_bp > region.start_bp
    ]


def samtools_view(*arguments):
    """What samtools prints, as (contig, position) rows; None where it warns that a region is invalid."""
    import pysam

    out = pysam.samtools.view(*arguments)
    if "specifies an invalid region" in pysam.samtools.view.get_messages():
        return None
    return [(row.split("\t")[2], int(row.split("\t")[3])) for row in out.splitlines()]


def our_view(text):
    try:
        return reads_in(parse_region(text, CONTIGS))
    except InputError:
        return None


SPANS = """
    100 100- -100 0 0-10 0-0 1-0 - 1K-500K 1,000-500,000 1-999999999999 1.5K- 1.5K-2K 1.0005K-2K 1e3-1e4
    1e-2-5 .5K-1K 1g 10-5 5-5 5--7 -5-7 --5 +5-+7 a-b 5x 5-7x 5-7, 5, ,5-7 5..7 3000000000 1-3000000000
    1-99999999999999999999999 99999999999999999999999 1-2-3 1k-2k
    0.5-3 5.7-9.9 -1K -0 -1 -1- x 1,,0-1,,1 100-100
""".split()
WHOLE = """
    chr1 chr1: chr9 chr9:1-2 1 2 2:1-3 M chrM HLA-A*01:01:01:01:1-10 HLA-A*01:01:01:01 HLA-A*01:01
    HLA-A*01:01:5-6 HLA-A*01:01:01 {HLA-A*01:01}:01 amb amb:10-20 amb:10-21 {amb}:10-20
    {amb:10-20} {amb:10-20}:3-4
        {chr1} {chr1}x {chr1}x:5 {chr1:5 {chr1}: {chr1}:5-7 chr{x:5-7 {chr{x}:5-7 x:y x:y:5-7 {x:y}:5-7
    sp:1-5 sp:1-5:2
    *z *z:5-7 * *:5-7 {*} ch: ch::5-7 {ch:}:5-7
""".split()


@pytest.mark.parametrize(
    "text", [*WHOLE, *(f"chr1:{span}" for span in SPANS), "chr1: 5- 7", "chr1:5 -7", "chr1:5-7 ", " chr1:5-7"]
)
def test_a_region_means_what_it_means_to_samtools(indexed_bam, text):
    assert our_view(text) == samtools_view(indexed_bam, text)


numbers = st.from_regex(r"[0-9][0-9,]{0,4}(\.[0-9]{0,3})?([kKmMgG]|e[0-5])?", fullmatch=True)
well_formed = st.one_of(
    numbers, numbers.map("-{}".format), st.tuples(numbers, numbers | st.just("")).map("-".join)
)


@given(well_formed)
def test_a_span_means_what_it_means_to_samtools(indexed_bam, span):
    assert our_view(f"chr1:{span}") == samtools_view(indexed_bam, f"chr1:{span}")


@given(st.text("0123456789-+.,eKMg ", max_size=9).filter(lambda span: not re.search("e[+-]?[0-9]{2}", span)))
def test_nothing_is_taken_for_a_span_that_samtools_reads_otherwise(indexed_bam, span):
    # The reverse does not hold: after a zero samtools passes over digits and commas (chr1:0g0), refused here.
    # Large exponents are left out: htslib overflows.
    ours = our_view(f"chr1:{span}")
    assert ours is None or ours == samtools_view(indexed_bam, f"chr1:{span}")


bounds = st.integers(0, MAX_BP)


@given(st.sampled_from(NAMES), bounds, bounds)
def test_a_formatted_region_is_read_back(contig, one, other):
    start_bp, end_bp = sorted((one, other))
    region = Region(contig, start_bp, end_bp if end_bp > start_bp else MAX_BP)
    if region.start_bp < region.end_bp:
        assert parse_region(format_region(region), CONTIGS) == region


@pytest.mark.parametrize(
    ("region", "text"),
    [
        (Region("chr1"), "chr1"),
        (Region("chr1", 0, 100), "chr1:1-100"),
        (Region("chr1", 99), "chr1:100-"),
        (Region("HLA-A*01:01", 0, 9), "{HLA-A*01:01}:1-9"),
        (Region("*"), "*"),
    ],
)
def test_a_region_is_written_as_samtools_reads_it(region, text):
    assert format_region(region) == text


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("chr1:10-5", "'chr1:10-5' ends before it starts", "1-based"),
        ("chr1:5x", "'5x' is not a span", "1-based"),
        ("chr1:5-7x", "'x' is left over", "1-based"),
        (
            "amb:10-20",
            "is a contig and also a span of amb",
            "write {amb:10-20} for the contig, or {amb}:10-20 for the span",
        ),
        ("{chr1", "brace", "{name}:1-10"),
        ("", "names no contig", "leave the region out"),
        ("*:5-7", "gives unplaced reads a position", "ask for * alone"),
        (".", "names no contig", "leave the region out"),
        ("chr1:1e999999999-5", "ends before it starts", ""),
    ],
)
def test_a_bad_region_is_named_with_its_cure(text, message, hint):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        parse_region(text, CONTIGS)
    assert caught.value.kind == "bad-region"
    assert hint in caught.value.hint


@pytest.mark.parametrize(("start_bp", "end_bp"), [(-1, 5), (6, 5), (0, MAX_BP + 1)])
def test_a_region_outside_a_contig_cannot_be_made(start_bp, end_bp):
    with pytest.raises(InputError, match="is not a span"):
        Region("chr1", start_bp, end_bp)


def test_a_position_past_the_last_one_of_bam_is_an_empty_region():
    assert parse_region("chr1:3,000,000,000", CONTIGS) == Region("chr1", MAX_BP, MAX_BP)


@pytest.mark.parametrize(
    ("asked", "names", "hint"),
    [
        ("chr9", ("8", "9"), "the store names it 9"),
        ("9", ("chr8", "chr9"), "the store names it chr9"),
        ("chrM", ("1", "MT"), "the store names it MT"),
        ("MT", ("chr1", "chrM"), "the store names it chrM"),
        ("ChrX", ("chr1", "chrX"), "the store names it chrX"),
        ("chr9", ("a", "b"), "its contigs are a, b"),
        ("chr9", ("a", "b", "c", "d"), "its contigs are a, b, c, ..."),
        ("chr9", (), "the store holds unplaced reads only: ask for *"),
    ],
)
def test_an_unknown_contig_comes_with_the_name_that_is_there(asked, names, hint):
    with pytest.raises(InputError) as caught:
        parse_region(f"{asked}:1-2", ContigTable(names, (9,) * len(names)))
    assert caught.value.kind == "unknown-contig"
    assert caught.value.hint == hint


def test_an_unknown_contig_is_told_with_how_many_there_are():
    with pytest.raises(InputError, match=re.escape("chr9 is not in the store (25 contigs)")):
        ContigTable(tuple(map(str, range(100, 125))), (9,) * 25).id_of("chr9")


def test_a_contig_is_found_by_its_first_place_and_unplaced_is_minus_one():
    table = ContigTable(("a", "b", "a"), (1, 2, 3))
    assert [table.id_of(name) for name in ("a", "b", "*")] == [0, 1, -1]
    assert len(table) == 3
    assert "a" in table
    assert "*" not in table


def test_contig_names_and_lengths_must_be_as_many():
    with pytest.raises(ValueError, match="2 contig names, 1 lengths"):
        ContigTable(("a", "b"), (1,))


@pytest.mark.parametrize(
    ("text", "bp"),
    [
        ("0", 0),
        ("500", 500),
        ("1M", 1_000_000),
        ("256k", 256_000),
        ("1,000,000", 1_000_000),
        ("1.5M", 1_500_000),
        ("2G", 2 * 10**9),
        (" 7 ", 7),
    ],
)
def test_base_pairs_count_in_thousands(text, bp):
    assert parse_bp(text) == bp


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("4096", 4096), ("1K", 1024), ("512m", 2**29), ("1.5G", 3 * 2**29), ("2T", 2**41), ("0.3K", 307)],
)
def test_bytes_count_in_1024s(text, size_bytes):
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "M", "1X", "-5", "1.M", "1e6", "one", "1.0005K", "1 M", "9" * 5000, "٣"]
)
def test_what_is_no_number_of_base_pairs_is_refused(text):
    with pytest.raises(InputError) as caught:
        parse_bp(text)
    assert caught.value.kind == "bad-size"
    assert "K = 1,000" in caught.value.hint


def test_a_unit_of_bytes_is_refused_with_the_form():
    with pytest.raises(InputError, match="'8GB' is not a number of bytes") as caught:
        parse_bytes("8GB")
    assert "K = 1,024" in caught.value.hint


def spans(text):
    return [
        (row.contig, row.start_bp, row.end_bp) for row in parse_bed(text.splitlines(keepends=True), "t.bed")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "chr1\t10\t20\n",
        "chr1 10 20 a b\n",
        "  chr1 10\t20\n",
        "chr1\t10\t20\r\n\r\n",
        "chr1\t10\t20\tname\r\n",
        "track name=x\nbrowser position chr1:1-2\n#c\n\nchr1\t10\t20\n",
        "chr1\t10\t20\nchr1\t15\t25\nchr1\t25\t26\n",
        "2\t10\t20\nchr1\t15\t25\nchr1\t2\t4\n",
        "chr1\t10\t99999999999\n",
        "chr1\t3000000000\t99999999999\n",
        "*\t0\t1\n",
        "HLA-A*01:01\t0\t1\n",
        *(f"chr1\t{at}\t{at}\n" for at in (0, 10, 50, 51, 70, 89, 90)),
        "chr1\t70\t70\nchr1\t9\t10\n",
        "chr1\t5\t75\nchr1\t70\t70\n",
    ],
)
def test_bed_rows_mean_what_they_mean_to_samtools(indexed_bam, tmp_path, text):
    bed = tmp_path / "t.bed"
    bed.write_text(text, newline="")
    merged = merge_intervals(read_bed(bed))
    found = {
        read for contig, rows in merged.items() for row in rows for read in reads_in(Region(contig, *row))
    }
    theirs = samtools_view("-M", "-L", str(bed), indexed_bam)
    assert found == set(theirs)
    assert len(found) == len(theirs)  # each read once, in samtools too


small = st.integers(0, 130)


@given(st.lists(st.tuples(st.sampled_from(["chr1", "2"]), small, small), min_size=1, max_size=6))
def test_merged_rows_reach_the_reads_of_their_rows_and_no_others(drawn):
    text = "".join(f"{contig}\t{min(pair)}\t{max(pair)}\n" for contig, *pair in drawn)
    rows = parse_bed(text.splitlines(), "t.bed")
    merged = merge_intervals(rows)
    for ours in merged.values():
        assert ours == sorted(ours)
        assert all(left[1] < right[0] for left, right in itertools.pairwise(ours))
    by_row = {read for row in rows for read in reads_in(row.region)}
    assert by_row == {
        read for contig, ours in merged.items() for span in ours for read in reads_in(Region(contig, *span))
    }


@pytest.mark.parametrize(
    "heading",
    ["chrom\tstart\tend", "contig chromStart chromEnd name", "#chrom start end", "chr start_bp end_bp"],
)
def test_a_row_of_column_names_is_passed_over(heading):
    assert spans(f"{heading}\nchr1\t1\t2\n") == [("chr1", 1, 2)]


def test_a_contig_may_be_called_track():
    assert spans("track\t1\t2\n") == [("track", 1, 2)]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("chr1\t1\t2", ""),
        ("chr1\t1\t2\t.", ""),
        ("chr1\t1\t2\tgene one\t0\t+", "gene one"),
        ("chr1 1 2 gene one", "gene"),
        ("chr1\t1\t2\tlast", "last"),
        ("chr1\t1\t2\t\r\n", ""),
    ],
)
def test_the_fourth_column_is_the_name(row, name):
    assert parse_bed([row], "t.bed")[0].name == name


def test_a_row_knows_its_line_and_region():
    row = parse_bed(["#c\n", "\n", "chr1\t1\t2\n"], "t.bed")[0]
    assert row.line == 3
    assert row.region == Region("chr1", 1, 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("chr1\tten\t20", "t.bed line 2 column 2: 'ten' is not a whole number"),
        ("chr1\t10\t20.5", "t.bed line 2 column 3: '20.5' is not a whole number"),
        ("chr1\t1,000\t2,000", "t.bed line 2 column 2: '1,000' is not a whole number"),
        ("chr1\t-5\t10", "t.bed line 2 column 2: '-5' is negative"),
        ("chr1\t20\t10", "t.bed line 2 column 3: end 10 lies before start 20"),
        ("chr1\t20", "t.bed line 2 has 2 columns, not contig, start and end"),
        ("chr1", "t.bed line 2 has 1 column, not contig, start and end"),
        ("chrom\tstart\tend", "t.bed line 2 column 2: 'start' is not a whole number"),
        ("chr1\t٣\t9", "t.bed line 2 column 2: '٣' is not a whole number"),
    ],
)
def test_a_bad_row_is_named_by_line_and_column(row, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        spans(f"chr1\t1\t2\n{row}\n")
    assert caught.value.kind == "bad-bed"
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "# nothing\n\n", "track name=x\n"])
def test_a_bed_without_rows_is_refused(text):
    with pytest.raises(InputError, match="t.bed holds no region"):
        spans(text)


def test_a_compressed_bed_is_told_by_its_bytes(tmp_path):
    bed = tmp_path / "regions"
    bed.write_bytes(gzip.compress(b"chr1\t1\t2\r\n"))
    assert read_bed(bed)[0].region == Region("chr1", 1, 2)


def test_a_byte_order_mark_is_no_part_of_the_contig(tmp_path):
    bed = tmp_path / "t.bed"
    bed.write_bytes(b"\xef\xbb\xbfchr1\t1\t2\n")
    assert read_bed(bed)[0].contig == "chr1"


damaged = gzip.compress(b"chr1\t1\t2\n" * 99, mtime=0)


@pytest.mark.parametrize(
    "content",
    [
        damaged[:-9],
        damaged[:20] + b"\0\0\0\0" + damaged[24:],
        damaged[:-6] + b"\1" + damaged[-5:],
        b"\xff\xfe\xfd 1 2\n",
    ],
)
def test_a_damaged_bed_is_refused(tmp_path, content):
    bed = tmp_path / "t.bed"
    bed.write_bytes(content)
    with pytest.raises(InputError, match="cannot read .*t.bed: ") as caught:
        read_bed(bed)
    assert caught.value.kind == "bad-bed"


def test_a_missing_bed_is_refused(tmp_path):
    with pytest.raises(InputError, match="none.bed: No such file or directory"):
        read_bed(tmp_path / "none.bed")


def test_a_name_in_a_bed_file_with_tabs_may_hold_spaces():
    rows = parse_bed(["chr1\t0\t9\tgene1 exon1\n", "chr1\t0\t9\tgene1 exon2\t7\n", "chr1 0 9 a b\n"], "x")
    assert [row.name for row in rows] == ["gene1 exon1", "gene1 exon2", "a"]
