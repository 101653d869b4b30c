"""Regions, filters and counts: every answer is that of samtools view on the same alignments."""

import random

import pysam
import pytest
import queries
from bam_bytes import records

import bams3
from bams3.errors import InputError

REAL = {
    "wgs": "NA12878_S1.chr20.10_10p1mb.bam",
    "many_contigs": "NA12878.chr22.s.bam",
    "spliced": "test.rna.paired_end.sorted.chr6.bam",
    "unplaced": "possorted_genome_bam.bam",
    "ultralong": "ont.bam",
    "tiny_contigs": "longcontignames.bam",
    "hifi": "HG002-SRF.m84011_220902_175841_s1.GRCh38.bam",
}
#: These take the longest, and are asked when there is time.
LATER = ("wgs", "many_contigs", "spliced", "tiny_contigs")
FEW = 10
MANY = 100


@pytest.fixture(
    scope="module", params=[pytest.param(n, marks=pytest.mark.slow) if n in LATER else n for n in REAL]
)
def pair(shared_data, tmp_path_factory, request):
    """A real BAM, and its store cut into many chunks and row groups."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as monkeypatch:
        return queries.make_pair(shared_data / "aln" / REAL[request.param], folder, monkeypatch)


def each_region_agrees(pair, chance, n):
    for region in queries.regions(pair, chance, n):
        expected = pair.samtools(str(pair.bam), region)
        assert pair.records(region) == expected, region
        assert pair.count(region) == len(records(expected)), region


def each_filtered_region_agrees(pair, chance, n):
    for region in queries.regions(pair, chance, n):
        options = queries.filters(pair, chance)
        expected = pair.samtools(str(pair.bam), *options, region)
        assert pair.records(*options, region) == expected, (options, region)
        assert pair.count(*options, region) == len(records(expected)), (options, region)


def test_records_and_counts_of_a_region_are_those_of_samtools(pair):
    each_region_agrees(pair, random.Random(1), FEW)


def test_records_and_counts_under_filters_are_those_of_samtools(pair):
    each_filtered_region_agrees(pair, random.Random(2), FEW)


@pytest.mark.slow
def test_many_regions_are_answered_as_by_samtools(pair):
    each_region_agrees(pair, random.Random(3), MANY)


@pytest.mark.slow
def test_many_regions_under_filters_are_answered_as_by_samtools(pair):
    each_filtered_region_agrees(pair, random.Random(4), MANY // 2)


def test_regions_on_the_command_line_repeat_records_as_samtools_does(pair):
    chance = random.Random(7)
    asked = [*queries.regions(pair, chance, 8), *queries.regions(pair, random.Random(7), 8)]
    expected = pair.samtools(str(pair.bam), *asked)
    assert pair.records(*asked) == expected
    assert pair.count(*asked) == len(records(expected))


def test_no_region_means_every_record(pair):
    everything = pair.samtools(str(pair.bam))
    assert pair.records("--threads", "3") == everything
    assert pair.count() == len(records(everything))
    options = queries.filters(pair, random.Random(8))
    some = pair.samtools(str(pair.bam), *options)
    assert pair.records(*options) == some
    assert pair.count(*options) == len(records(some))


@pytest.mark.parametrize("seed", range(3))
def test_a_bed_gives_each_record_once_as_samtools_does(pair, tmp_path, seed):
    chance = random.Random(seed)
    bed = tmp_path / "targets.bed"
    rows = queries.bed_rows(pair, chance, 30)
    bed.write_text("".join(f"{name}\t{start}\t{end}\n" for name, start, end in rows))
    for options in ([], queries.filters(pair, chance)):
        expected = pair.samtools("-M", "-L", str(bed), str(pair.bam), *options)
        assert pair.records("-L", str(bed), *options) == expected
        assert pair.count("-L", str(bed), *options) == len(records(expected))


def test_a_table_counts_each_row_of_a_bed_by_itself(pair, tmp_path):
    chance = random.Random(9)
    rows = [(name, start, end) for name, start, end in queries.bed_rows(pair, chance, 25) if start < end]
    bed = tmp_path / "targets.bed"
    bed.write_text("".join(f"{name}\t{start}\t{end}\tt{i}\n" for i, (name, start, end) in enumerate(rows)))
    options = queries.filters(pair, chance)
    lines = queries.run("query", str(pair.store), "--tsv", "-L", str(bed), *options).splitlines()
    assert lines[0] == "contig\tstart\tend\tname\tcount"
    expected = []
    for i, (name, start, end) in enumerate(rows):
        found = pair.samtools(str(pair.bam), *options, f"{{{name}}}:{start + 1}-{end}")
        expected.append(f"{name}\t{start}\t{end}\tt{i}\t{len(records(found))}")
    assert lines[1:] == expected


def test_the_text_of_several_regions_is_that_of_samtools(pair):
    asked = queries.regions(pair, random.Random(10), 6)
    assert queries.bams3("query", pair.store, *asked) == pair.samtools_text(str(pair.bam), *asked)
    expected = pair.samtools_text("-h", "-q", "20", str(pair.bam), asked[0])
    assert queries.bams3("query", "-h", "-q", "20", pair.store, asked[0]) == expected


def test_the_python_interface_gives_what_pysam_gives(pair):
    store = bams3.open(pair.store)
    asked = queries.regions(pair, random.Random(11), 5)
    with pysam.AlignmentFile(str(pair.bam), check_sq=False) as file:
        assert store.header.text.decode() == str(file.text)
        assert list(zip(store.contigs.names, store.contigs.lengths, strict=True)) == pair.contigs
        for region in asked:
            expected = pair.samtools_text(str(pair.bam), region).decode().splitlines()
            assert [segment.to_string() for segment in store.fetch(region)] == expected
            assert store.count(region) == len(expected)
        everything = [segment.to_string() for segment in file.fetch(until_eof=True)]
    assert [segment.to_string() for segment in store.fetch()] == everything
    assert store.count() == len(everything)
    assert store.counts([store.region(region) for region in asked]) == [store.count(r) for r in asked]


def test_one_reader_answers_many_questions_as_fresh_readers_do(pair):
    store = bams3.open(pair.store)
    asked = [store.region(region) for region in queries.regions(pair, random.Random(12), 25)]
    together = store.counts(asked)
    assert together == [bams3.open(pair.store).count(region) for region in asked]


# -- what real files do not have, in a file of their own --

HEADER = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:a\tLN:1000\n@SQ\tSN:b\tLN:5000000\n@SQ\tSN:c:1-10\tLN:500\n"
LINES = (
    "before 0 a 1 1 4M RG:Z:x",
    "no_group 0 a 5 20 4M",
    "no_base 16 a 5 255 4I RG:Z:y",
    "placed 4 a 5 0 * RG:Z:xx",
    "two_groups 0 a 10 30 2M100N2M RG:Z:x XX:i:3 RG:Z:y",
    "number_first 0 a 12 30 4M RG:H:1A RG:Z:x",
    "empty_group 1024 a 998 30 4M RG:Z:",
    "past_the_end 512 a 1500 30 4M",
    "far_upstream 0 b 3 30 2M4000000N2M RG:Z:x",
    "left 99 b 100 30 4M RG:Z:x",
    "middle 147 b 2000000 30 4M RG:Z:x",
    "right 2048 b 4000004 30 4M RG:Z:x",
    "colon 0 c:1-10 3 30 4M RG:Z:y",
    "unplaced 4 * 0 0 * RG:Z:y",
    "unplaced_without 4 * 0 0 *",
)


ODD_QUESTIONS = (
    "a|a:1-1|a:0-1|a:5-5|a:50-60|a:1000-2000|a:1500-1500|a:2000-3000|b:1000000-1000001|b|c:1-10|c:1-10:3-4"
    "|{c:1-10}:3-4|*|a:5-5 a:5-6 * b:100|a:-5|b:4,000,004-|b:1M-2M|a a|-r x|-r y|-r x -r y|-r nobody|-r x a"
    "|-F 4 -F 1024|-f 16 -f 4|--rf 4 --rf 16|-G 4 -G 16|-G 6|-q 255|-q 30 b|-F unmap,dup|-F 0x404|-F 02004"
    "|-s 3.5|-s 1.0|-s -3.5|-s .5|-s 99999999999.5|-s 4294967296.5|-s 0.999999 b|-r x -s 5.5 -F 2048 b"
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Records of odd shapes, two to a chunk, one to a row group."""
    folder = tmp_path_factory.mktemp("odd")
    rows = []
    for line in LINES:
        name, flag, contig, pos, mapq, cigar, *tags = line.split(" ")
        rows.append("\t".join((name, flag, contig, pos, mapq, cigar, "*", "0", "0", "ACGT", "*", *tags)))
    (folder / "odd.sam").write_text(HEADER + "\n".join(rows) + "\n")
    pysam.samtools.sort("--no-PG", "-o", str(folder / "odd.bam"), str(folder / "odd.sam"), catch_stdout=False)
    with pytest.MonkeyPatch.context() as monkeypatch:
        cuts = ("--chunk-size", "256K", "--chunk-records", "2")
        return queries.make_pair(folder / "odd.bam", folder, monkeypatch, *cuts, group_records=1)


@pytest.mark.parametrize(
    "asked",
    ODD_QUESTIONS.split("|"),
)
def test_odd_records_are_found_as_samtools_finds_them(odd, asked):
    expected = odd.samtools(str(odd.bam), *asked.split(" "))
    assert odd.records(*asked.split(" ")) == expected
    assert odd.count(*asked.split(" ")) == len(records(expected))


@pytest.fixture(scope="module")
def early(tmp_path_factory):
    """Records at position -1 of a contig, which a BAM can hold: one reaches into it, one does not."""
    folder = tmp_path_factory.mktemp("early")
    header = pysam.AlignmentHeader.from_text(HEADER)
    with pysam.AlignmentFile(str(folder / "early.bam"), "wb", header=header) as file:
        for contig, pos, cigar in ((0, -1, "4M"), (0, 0, "4M"), (1, -1, None), (1, 7, "2M300000N2M")):
            record = pysam.AlignedSegment(header)
            record.query_name = f"at_{contig}_{pos}"
            record.flag = 0 if cigar else 4
            record.reference_id, record.reference_start, record.cigarstring = contig, pos, cigar
            file.write(record)
    with pytest.MonkeyPatch.context() as monkeypatch:
        return queries.make_pair(folder / "early.bam", folder, monkeypatch, "--chunk-size", "256K")


@pytest.mark.parametrize("region", ["a", "a:1", "a:1-1", "a:2-9", "a:4-9", "b", "b:1-7", "b:8-8", "c:1-10"])
def test_a_record_that_begins_before_its_contig_is_found_where_it_reaches(early, region):
    expected = early.samtools(str(early.bam), region)
    assert early.records(region) == expected
    assert early.count(region) == len(records(expected))


def test_an_empty_read_group_is_a_name_too(odd):
    assert odd.records("-r", "") == odd.samtools("-r", "", str(odd.bam))


@pytest.mark.parametrize("seed", range(40))
def test_seeds_choose_the_reads_that_samtools_chooses(odd, seed):
    asked = f"{random.Random(seed).randrange(-5, 2**32)}.4"
    assert odd.records("-s", asked) == odd.samtools("-s", asked, str(odd.bam))


def test_a_bed_may_hold_points_the_unplaced_and_compressed_rows(odd, tmp_path):
    import gzip

    bed = tmp_path / "points.bed.gz"
    bed.write_bytes(
        gzip.compress(b"b\t50\t50\nc:1-10\t0\t5\nb\t3999999\t4000010\na\t4\t4\na\t996\t996\nb\t0\t9\n")
    )
    expected = odd.samtools("-M", "-L", str(bed), str(odd.bam))
    assert expected
    assert odd.records("-L", str(bed)) == expected
    assert odd.count("-L", str(bed)) == len(records(expected))


def test_a_table_names_regions_as_they_were_typed(odd):
    asked = ("a", "b:4,000,004-", "{c:1-10}:3-4", "*")
    lines = queries.run("query", str(odd.store), "--tsv", *asked).splitlines()
    assert lines[1:] == [
        "a\t0\t1000\ta\t8",
        "b\t4000003\t5000000\tb:4,000,004-\t2",
        "c:1-10\t2\t4\t{c:1-10}:3-4\t1",
        "*\t0\t0\t*\t2",
    ]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["chr_a"], "unknown-contig"),
        (["a:10-5"], "bad-region"),
        (["-F", "UNMAPPED"], "bad-flag"),
        (["-F", "65536"], "bad-flag"),
        (["-F", "1_024"], "bad-flag"),
        (["-s", "3"], "bad-subsample"),
        (["-s", "3."], "bad-subsample"),
        (["--tsv"], "usage"),
        (["--count", "-o", "x.bam"], "usage"),
        (["-b", "-o", "x.sam"], "usage"),
        (["-o", "x.txt"], "unknown-format"),
        (["-L", "absent.bed"], "bad-bed"),
        (["-L", "absent.bed", "a"], "usage"),
    ],
)
def test_a_question_that_makes_no_sense_is_an_input_error(odd, capsys, arguments, kind):
    assert queries._run(["query", str(odd.store), *arguments]) == 2
    out, words = capsys.readouterr()
    assert out == ""
    assert words.splitlines()[0].endswith(f"[{kind}]")


def test_a_contig_of_another_naming_is_named_in_the_hint(odd):
    with pytest.raises(InputError) as caught:
        bams3.open(odd.store).count("chrA:1-10")
    assert caught.value.hint == "the store names it a"
