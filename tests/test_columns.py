"""Tables of fields: every value is pysam's, and no byte is read that is not needed."""

import random

import numpy as np
import pysam
import pytest
import queries
from bam_records import bam, record, tag
from commands import convert
from commands import run as run_kind

import bams3
from bams3.fields import FIELDS
from bams3.filters import Filters

REAL = {
    "wgs": "NA12878_S1.chr20.10_10p1mb.bam",
    "spliced": "test.rna.paired_end.sorted.chr6.bam",
    "unplaced": "possorted_genome_bam.bam",
    "hifi": "HG002-SRF.m84011_220902_175841_s1.GRCh38.bam",
    "ultralong": "ont.bam",
    "exome": "CEUTrio.HiSeq.WGS.b37.NA12878.20.first.8000.bam",
}
QUICK = ("hifi", "exome")


@pytest.fixture(
    scope="module", params=[n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in REAL]
)
def pair(shared_data, tmp_path_factory, request):
    """A real BAM, and its store cut into many chunks and row groups."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as monkeypatch:
        return queries.make_pair(shared_data / "aln" / REAL[request.param], folder, monkeypatch)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Records with everything that a tag may be, and with nothing at all."""
    arrays = [("BC", [1, 2, 255]), ("BC", [])]
    several = [
        record(b"a", cigar="*", seq="", tags=[tag("NM", "C", 200), tag("XX", "A", b"q")]),
        record(b"b", pos=200, cigar="2S3M", seq="ACGTN", tags=[tag("NM", "i", -5), tag("XF", "f", 0.5)]),
        record(
            b"c",
            pos=300,
            seq="ACGT",
            quals=b"\xff" * 4,
            tags=[tag("XX", "Z", b"two words"), tag("XB", *arrays[0])],
        ),
        record(
            b"d", pos=300, tags=[tag("XB", *arrays[1]), tag("XX", "H", b"1AFF"), tag("XX", "Z", b"again")]
        ),
        record(b"e", contig=-1, pos=-1, flag=4, cigar="*", tags=[tag("NM", "S", 60_000), tag("MX", "i", 3)]),
        record(b"f", contig=-1, pos=-1, flag=4, cigar="*", tags=[tag("MX", "BC", [3])]),
    ]
    folder = tmp_path_factory.mktemp("odd")
    (folder / "in.bam").write_bytes(bam(several))
    assert convert(folder / "in.bam", folder / "in.bams3").kind == ""
    return queries.Pair(folder / "in.bam", folder / "in.bams3")


def of_pysam(read, name):
    """What pysam says of a field; None where there is none."""
    if name.startswith("tag:"):
        value = read.get_tag(name[4:]) if read.has_tag(name[4:]) else None
        return list(value) if hasattr(value, "typecode") else value
    if name == "end":
        return read.reference_end if read.reference_length else None
    names = {
        "name": read.query_name,
        "flag": read.flag,
        "contig": read.reference_name,
        "pos": read.reference_start,
        "mapq": read.mapping_quality,
        "cigar": read.cigarstring,
        "mate_contig": read.next_reference_name,
        "mate_pos": read.next_reference_start,
        "tlen": read.template_length,
        "seq": read.query_sequence,
        "qual": None if read.query_qualities is None or not read.query_sequence else read.qual,
        "seq_len": len(read.query_sequence or ""),
        "ref_len": sum(n for op, n in read.cigartuples or [] if op in (0, 2, 3, 7, 8)),
    }
    return names[name]


def plain(value):
    """A value of NumPy or Arrow as pysam has it."""
    if value is np.ma.masked:
        return None
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def reads_of(bam):
    with pysam.AlignmentFile(str(bam), check_sq=False) as file:
        return list(file.fetch(until_eof=True))


def tags_of(reads):
    return sorted({f"tag:{name}" for read in reads for name, _ in read.tags})


def same_as_pysam(reads, found, names):
    for name in names:
        expected = [of_pysam(read, name) for read in reads]
        mine = [plain(value) for value in found[name]]
        assert mine == expected, name


def test_every_field_and_every_tag_is_pysams(pair):
    reads = reads_of(pair.bam)
    names = [*FIELDS, *tags_of(reads)]
    reader = bams3.open(str(pair.store))
    same_as_pysam(reads, reader.columns(None, names), names)
    arrow = reader.to_arrow(None, names)
    same_as_pysam(reads, {name: arrow[name].to_pylist() for name in names}, names)


def test_fields_of_regions_are_pysams(pair):
    chance, reader = random.Random(1), bams3.open(str(pair.store))
    names = [*FIELDS, *tags_of(reads_of(pair.bam))]
    for region in queries.regions(pair, chance, 12):
        pair.samtools("-q", "20", str(pair.bam), region)
        reads = reads_of(pair.bam.with_name("expected.bam"))
        same_as_pysam(reads, reader.columns(region, names, Filters(min_mapq=20)), names)


def test_tags_of_every_type_and_reads_without_anything_are_pysams(odd):
    reads, reader = reads_of(odd.bam), bams3.open(str(odd.store))
    names = [*FIELDS, "tag:NM", "tag:XX", "tag:XF", "tag:XB"]
    same_as_pysam(reads, reader.columns(None, names), names)
    arrow = reader.to_arrow(None, names)
    same_as_pysam(reads, {name: arrow[name].to_pylist() for name in names}, names)
    assert str(arrow.schema.field("tag:XB").type) == "large_list<item: uint8>"


def test_a_region_without_records_gives_empty_columns_of_the_same_types(odd):
    reader = bams3.open(str(odd.store))
    names = [*FIELDS, "tag:NM", "tag:XX"]
    whole, none = reader.to_arrow(None, names), reader.to_arrow("chr2:5-9", names)
    assert none.num_rows == 0
    assert none.schema == whole.schema
    assert all(column.size == 0 for column in reader.columns("chr2:5-9", names).values())


# ---- the command ----


def test_the_command_writes_positions_as_sam_does(pair, tmp_path):
    from pyarrow import feather, parquet

    names = [
        "name",
        "flag",
        "contig",
        "pos",
        "mapq",
        "cigar",
        "mate_contig",
        "mate_pos",
        "tlen",
        "seq",
        "qual",
    ]
    contig, start, end = next(span for span in pair.spans if span[0] != "*")
    region = f"{contig}:{start + 1}-{end + 300}"
    sam = [line.split("\t")[:11] for line in pair.samtools_text(str(pair.bam), region).decode().splitlines()]
    expected = [[*row[:6], row[2] if row[6] == "=" else row[6], *row[7:]] for row in sam]
    out = queries.bams3("query", pair.store, region, "--columns", ",".join(names)).decode().splitlines()
    assert out[0] == "\t".join(names)
    assert [line.split("\t") for line in out[1:]] == expected
    for suffix, read in (("parquet", parquet.read_table), ("arrow", feather.read_table)):
        file = tmp_path / f"x.{suffix}"
        queries.run("query", str(pair.store), region, "--columns", "pos,mapq,contig", "-o", str(file))
        rows = list(map(list, zip(*(column.to_pylist() for column in read(file).columns), strict=True)))
        assert rows == [[int(row[3]), int(row[4]), row[2]] for row in expected]


def test_a_bed_file_gives_each_record_once(pair, tmp_path):
    rows = [row for row in queries.bed_rows(pair, random.Random(2), 20) if row[0] != "*"]
    bed = tmp_path / "r.bed"
    bed.write_text("".join(f"{contig}\t{low}\t{high}\n" for contig, low, high in rows))
    sam = pair.samtools_text("-M", "-L", str(bed), str(pair.bam)).decode().splitlines()
    out = queries.bams3("query", pair.store, "-L", bed, "--columns", "name,pos").decode().splitlines()[1:]
    assert [line.split("\t") for line in out] == [line.split("\t")[0:4:3] for line in sam]


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "tsv"])
def test_a_region_without_records_makes_a_table_without_rows(odd, tmp_path, suffix):
    from pyarrow import feather, parquet

    file = tmp_path / f"x.{suffix}"
    queries.run("query", str(odd.store), "chr2:1-9", "--columns", "pos,tag:NM", "-o", str(file))
    if suffix == "tsv":
        assert file.read_text() == "pos\ttag:NM\n"
    else:
        table = {"parquet": parquet.read_table, "arrow": feather.read_table}[suffix](file)
        assert (table.num_rows, table.column_names) == (0, ["pos", "tag:NM"])


REFUSED = {
    "unknown-column": ("nothing", "tag:ZZ", "tag:", "NM", "pos,", "tag:N"),
    "mixed-tag": ("tag:MX",),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_column_that_is_not_there_is_refused(odd, kind):
    for names in REFUSED[kind]:
        done = run_kind("query", odd.store, "--columns", names)
        assert f"[{kind}]" in done.err
        assert done.code == 2
    assert kind == "mixed-tag" or "tag:NM, tag:XB, tag:XF" in done.err


def test_columns_exclude_other_outputs(odd):
    for other in ("--count", "--tsv", "-b", "-h"):
        done = run_kind("query", odd.store, "chr1", "--columns", "pos", other)
        assert (done.code, "[usage]" in done.err) == (2, True)
