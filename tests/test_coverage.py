"""Depth: every number is that of samtools depth, bedcov and coverage, or of mosdepth."""

import gzip
import itertools
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pysam
import pytest
import queries
from bam_records import bam, header_bytes, record
from commands import run as run_kind
from pyarrow import compute as pc
from pyarrow import csv

import bams3
from bams3.coverage import Rules
from bams3.depth import merge_spans, span_depths
from bams3.errors import InputError
from bams3.filters import Filters

REAL = {
    "wgs": "NA12878_S1.chr20.10_10p1mb.bam",
    "exome": "CEUTrio.HiSeq.WGS.b37.NA12878.20.first.8000.bam",
    "amplicon": "NA12878.bam",
    "spliced": "test.rna.paired_end.sorted.chr6.bam",
    "ultralong": "ont.bam",
    "hifi": "HG002-SRF.m84011_220902_175841_s1.GRCh38.bam",
    "tiny_contigs": "longcontignames.bam",
    "many_contigs": "NA12878.chr22.s.bam",
}
QUICK = ("exome",)
#: For tests of what the data has no part in.
ANY = pytest.mark.parametrize("pair", QUICK, indirect=True)
#: Options of ours, and of samtools depth.
RULES = {
    "default": ([], []),
    "mapq": (["-q", "20"], ["-Q", "20"]),
    "base quality": (["--min-bq", "20"], ["-q", "20"]),
    "all reads": (["-F", "UNMAP"], ["-g", "SECONDARY,QCFAIL,DUP"]),
    "proper pairs": (["-f", "PROPER_PAIR"], ["--require-flags", "2"]),
}


@pytest.fixture(
    scope="module", params=[n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in REAL]
)
def pair(shared_data, tmp_path_factory, request):
    """A real BAM, and its store cut into many chunks and row groups."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as monkeypatch:
        return queries.make_pair(shared_data / "aln" / REAL[request.param], folder, monkeypatch)


def coverage(pair, *arguments):
    """Rows that ``bams3 coverage`` writes, without the header."""
    out = pair.bam.with_name("coverage.tsv")
    assert queries.run("coverage", str(pair.store), "-o", str(out), *arguments) == ""
    return [line.split("\t") for line in out.read_text().splitlines() if not line.startswith("#")]


def covered_by_samtools(pair, *options):
    """Contig to the positions (0-based) and depths that samtools depth gives."""
    out = pair.bam.with_name("depth.tsv")
    pysam.depth("-o", str(out), *options, str(pair.bam), catch_stdout=False)
    if not out.stat().st_size:
        return {}
    names = csv.ReadOptions(column_names=["contig", "position", "depth"])
    types = csv.ConvertOptions(column_types={"contig": "string"})
    table = csv.read_csv(out, names, csv.ParseOptions(delimiter="\t"), types)
    table = table.filter(pc.field("depth") > 0)
    contigs = table["contig"].combine_chunks().dictionary_encode()
    rows = np.stack([table["position"].to_numpy() - 1, table["depth"].to_numpy()], 1)
    ends = np.flatnonzero(np.diff(contigs.indices)) + 1
    return dict(zip(contigs.dictionary.to_pylist(), np.split(rows, ends), strict=False))  # no row: one part


def covered_by_bams3(pair, *options):
    """The same, from bedGraph rows that tile every contig."""
    found, at = {}, {}
    for contig, start, end, depth in coverage(pair, *options):
        assert int(start) == at.get(contig, 0)
        at[contig] = int(end)
        if int(depth):
            found.setdefault(contig, []).append((int(start), int(end), int(depth)))
    assert at == {name: length for name, length in pair.contigs if length}
    return {contig: by_base(np.array(rows)) for contig, rows in found.items()}


def by_base(rows):
    """Position and depth of each base of rows (R, 3): start, end, depth."""
    lengths = rows[:, 1] - rows[:, 0]
    firsts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    positions = np.repeat(rows[:, 0], lengths) + np.arange(lengths.sum()) - firsts
    return np.stack([positions, np.repeat(rows[:, 2], lengths)], 1)


@pytest.mark.parametrize("rules", RULES)
def test_depth_of_every_base_is_that_of_samtools_depth(pair, rules):
    ours, theirs = RULES[rules]
    mine, expected = covered_by_bams3(pair, *ours), covered_by_samtools(pair, *theirs)
    expected = {contig: rows for contig, rows in expected.items() if rows.size}
    assert mine.keys() == expected.keys()
    for contig, rows in expected.items():
        assert np.array_equal(mine[contig], rows), contig


def random_bed(pair, chance, n):
    """Regions on and beside the reads, in no order, some empty, some over others."""
    lengths, rows = dict(pair.contigs), []
    placed = [span for span in pair.spans if span[0] != "*"]
    for _ in range(n):
        contig, start, end = chance.choice(placed)
        low = max(0, start - chance.choice((0, 1, 50, 5_000, 300_000)))
        high = low + chance.choice((0, 1, 100, end - start, 10_000, 1_000_000))
        rows.append((contig, min(low, lengths[contig]), min(high, lengths[contig])))
    return rows


def bedcov(pair, rows, *options):
    """Sum of depths of each row, by samtools bedcov."""
    bed = pair.bam.with_name("bedcov.bed")
    bed.write_text("".join(f"{contig}\t{low}\t{high}\n" for contig, low, high in rows))
    lines = pysam.bedcov(*options, str(bed), str(pair.bam)).splitlines()
    return [int(line.split("\t")[3]) for line in lines]


def sums_of(pair, rows, rules):
    """Sums of each row as the library has them."""
    reader = bams3.open(str(pair.store))
    out = np.zeros(len(rows), np.int64)
    of = {}
    for number, (contig, low, high) in enumerate(rows):
        of.setdefault(reader.contigs.id_of(contig), []).append((number, low, high))
    spans = {contig: np.array(found, np.int64) for contig, found in of.items()}
    wanted = {contig: merge_spans(found[:, 1], found[:, 2]) for contig, found in spans.items()}
    ends = {k: (np.ascontiguousarray(v[:, 1]), np.ascontiguousarray(v[:, 2])) for k, v in spans.items()}
    for contig, _, _, sums in span_depths(reader, rules, wanted, ends.__getitem__, (), 2):
        out[spans[contig][:, 0]] = sums.sum
    return out.tolist()


@pytest.mark.parametrize("mode", ["depth", "span"])
def test_sums_of_regions_are_those_of_samtools_bedcov(pair, mode):
    rows = [row for row in random_bed(pair, random.Random(3), 60) if row[1] < row[2]]
    options = ["-j"] if mode == "depth" else []
    expected = bedcov(pair, rows, *options)
    assert sums_of(pair, rows, Rules(mode)) == expected
    by_mapq = Rules(mode, Filters(exclude_flags=0x704, min_mapq=30))
    assert sums_of(pair, rows, by_mapq) == bedcov(pair, rows, *options, "-Q", "30")
    bed = pair.bam.with_name("regions.bed")
    bed.write_text("".join(f"{c}\t{low}\t{high}\tr{i}\n" for i, (c, low, high) in enumerate(rows)))
    written = coverage(pair, "-L", str(bed), "--mode", mode)
    assert [row[:4] for row in written] == [[c, str(a), str(b), f"r{i}"] for i, (c, a, b) in enumerate(rows)]
    for row, (_, low, high), total in zip(written, rows, expected, strict=True):
        assert abs(float(row[4]) - total / (high - low)) < 0.000051


def test_breadth_least_most_and_thresholds_are_those_of_the_bases(pair):
    rows = random_bed(pair, random.Random(4), 40)
    bed = pair.bam.with_name("regions.bed")
    bed.write_text("".join(f"{contig}\t{low}\t{high}\n" for contig, low, high in rows))
    reader = bams3.open(str(pair.store))
    written = coverage(pair, "-L", str(bed), "--thresholds", "1,5,30")
    for row, (contig, low, high) in zip(written, rows, strict=True):
        depth = reader.depth(bams3.regions.Region(contig, low, high)) if low < high else np.zeros(0, int)
        some = depth if depth.size else np.zeros(1, int)
        assert abs(float(row[5]) - np.count_nonzero(depth) / max(depth.size, 1)) < 0.000051
        assert [int(row[6]), int(row[7])] == [some.min(), some.max()]
        assert [int(n) for n in row[8:]] == [np.count_nonzero(depth >= t) for t in (1, 5, 30)]


@pytest.mark.parametrize("options", [[], ["-q", "20"], ["--min-bq", "25"]], ids=str)
def test_the_summary_is_that_of_samtools_coverage(pair, options):
    theirs = [{"--min-bq": "-Q"}.get(option, option) for option in options]
    expected = pysam.coverage("-H", *theirs, str(pair.bam)).splitlines()
    mine = ["\t".join(row) for row in coverage(pair, "--summary", *options)]
    assert sorted(mine) == sorted(line for line in expected if line.split("\t")[2] != "0")
    contig, low, high = next(row for row in random_bed(pair, random.Random(5), 50) if row[2] - row[1] > 1)
    region = f"{contig}:{low + 1}-{high}"
    expected = pysam.coverage("-H", *theirs, "-r", region, str(pair.bam)).splitlines()
    assert ["\t".join(row) for row in coverage(pair, "--summary", *options, region)] == expected


def test_reads_beyond_the_end_of_a_contig_count_as_in_samtools(tmp_path):
    reads = [record(b"a", pos=10), record(b"b", pos=98), record(b"c", pos=150), record(b"d", contig=1, pos=5)]
    (tmp_path / "in.bam").write_bytes(bam(reads, header_bytes((("chr1", 100), ("chr2", 50)))))
    pysam.index(str(tmp_path / "in.bam"))
    expected = pysam.coverage("-H", str(tmp_path / "in.bam")).splitlines()
    for records in ("1", "2", "1000"):
        store = tmp_path / f"{records}.bams3"
        queries.run("convert", "--quiet", "--chunk-records", records, str(tmp_path / "in.bam"), str(store))
        made = queries.Pair(tmp_path / "in.bam", store)
        assert ["\t".join(row) for row in coverage(made, "--summary")] == expected
        assert coverage(made, "--window", "100") == [
            row[:4] for row in coverage(made, "--window", "100", "--thresholds", "1")
        ]


@pytest.mark.parametrize("window", ["100", "500", "1K", "12300"])
def test_windows_from_the_index_equal_those_from_chunks(pair, window):
    contig, low, _ = next(row for row in random_bed(pair, random.Random(9), 50))
    regions = [f"{contig}:{low // 100 * 100 + 1}-{low // 100 * 100 + 3_000_000}"]
    for asked in (regions, []) if window == "12300" else (regions,):
        from_index = coverage(pair, "--window", window, *asked)
        from_chunks = coverage(pair, "--window", window, "--thresholds", "1", *asked)
        assert from_index == [row[:4] for row in from_chunks]
        assert any(float(row[3]) for row in from_index)


@pytest.fixture(scope="session")
def mosdepth(tmp_path_factory):
    """A function that runs mosdepth; Debian's looks for the library under a name that it does not have."""
    if shutil.which("mosdepth") is None:
        pytest.skip("mosdepth is not installed")
    folder = tmp_path_factory.mktemp("libhts")
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = next(line.split(" => ")[1] for line in listed.splitlines() if "libhts.so.3 " in line)
    (folder / "libhts.so").symlink_to(found)

    def run(*arguments):
        subprocess.run(
            ["mosdepth", *arguments], check=True, env={"LD_LIBRARY_PATH": str(folder), "PATH": "/usr/bin"}
        )

    return run


@pytest.mark.slow
def test_spans_are_those_of_mosdepth(pair, mosdepth):
    prefix = pair.bam.with_name("mosdepth")
    mosdepth("-x", "-b", "10000", str(prefix), str(pair.bam))
    per_base = gzip.decompress(prefix.with_name("mosdepth.per-base.bed.gz").read_bytes()).decode()
    mine = ["\t".join(row) for row in coverage(pair, "--mode", "span")]
    assert mine == per_base.splitlines()
    regions = gzip.decompress(prefix.with_name("mosdepth.regions.bed.gz").read_bytes()).decode()
    theirs = [line.split("\t") for line in regions.splitlines()]
    windows = coverage(pair, "--mode", "span", "--window", "10K")
    assert [row[:3] for row in windows] == [row[:3] for row in theirs]
    assert all(abs(float(a[3]) - float(b[3])) < 0.00506 for a, b in zip(windows, theirs, strict=True))


# ---- what is written ----


def test_a_compressed_table_has_an_index_that_finds_its_rows(pair):
    contig, low, high = next(row for row in random_bed(pair, random.Random(6), 50) if row[2] - row[1] > 5_000)
    for suffix, options in (("bedgraph.gz", []), ("bed.gz", ["--window", "30K"])):
        out = pair.bam.with_name(f"depth.{suffix}")
        queries.run("coverage", str(pair.store), "-o", str(out), *options)
        plain = coverage(pair, *options)
        assert gzip.decompress(out.read_bytes()).decode().count("\n") == len(plain) + bool(options)
        wanted = [row for row in plain if row[0] == contig and int(row[1]) < high and int(row[2]) > low]
        with pysam.TabixFile(str(out)) as found:
            assert [row.split("\t") for row in found.fetch(contig, low, high)] == wanted


@ANY
def test_a_parquet_table_holds_what_the_text_does(pair):
    from pyarrow import parquet

    out = pair.bam.with_name("windows.parquet")
    assert queries.run("coverage", str(pair.store), "--window", "70K", "-o", str(out)) == ""
    table = parquet.read_table(out)
    assert table.column_names == ["contig", "start", "end", "mean"]
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    text = [[c, str(a), str(b), f"{np.rint(mean * 1e4) / 1e4:.4f}"] for c, a, b, mean in rows]
    assert text == coverage(pair, "--window", "70K")


# ---- regions ----


def test_a_region_is_the_part_of_its_contig(pair):
    contig, low, high = next(row for row in random_bed(pair, random.Random(7), 50) if row[2] - row[1] > 1_000)
    region = f"{contig}:{low + 1}-{high}"
    found = coverage(pair, region)
    assert [found[0][1], found[-1][2]] == [str(low), str(high)]
    reader = bams3.open(str(pair.store))
    by_base = [int(d) for _, start, end, d in found for _ in range(int(start), int(end))]
    assert by_base == reader.depth(region).tolist()
    assert all(a[2] == b[1] and a[3] != b[3] for a, b in itertools.pairwise(found))
    windows = coverage(pair, region, "--window", "77")
    assert [int(row[2]) - int(row[1]) for row in windows[:-1]] == [77] * (len(windows) - 1)
    means = [np.mean(by_base[i : i + 77]) for i in range(0, len(by_base), 77)]
    assert np.allclose([float(row[3]) for row in windows], means, atol=0.000051)


def test_several_regions_come_one_after_the_other(pair):
    rows = [row for row in random_bed(pair, random.Random(8), 30) if row[2] - row[1] > 10][:4]
    regions = [f"{contig}:{low + 1}-{high}" for contig, low, high in rows]
    together = coverage(pair, *regions)
    assert together == [row for region in regions for row in coverage(pair, region)]


# ---- what is refused ----

REFUSED = {
    "bad-window": (["--window", "0"],),
    "bad-size": (["--window", "ten"], ["--window", "-5"], ["--window", "1.5"]),
    "bad-thresholds": (["--window", "500", "--thresholds", "0"], ["--window", "500", "--thresholds", "1,,2"]),
    "usage": (
        ["--thresholds", "3"],
        ["--window", "500", "--summary"],
        ["--mode", "span", "--min-bq", "3"],
        ["--summary", "-L", "x.bed"],
    ),
    "bad-region": (["*"], ["{}:9-3"]),
    "unknown-contig": (["nowhere"],),
}


@ANY
@pytest.mark.parametrize("kind", REFUSED)
def test_what_makes_no_sense_is_refused(pair, kind):
    contig = pair.contigs[0][0]
    for arguments in REFUSED[kind]:
        done = run_kind("coverage", pair.store, *(a.format(contig) for a in arguments))
        assert f"[{kind}]" in done.err, done.err
        assert done.code == 2


@ANY
def test_a_bed_file_with_a_contig_that_is_not_there_names_the_line(pair, tmp_path):
    contig = pair.contigs[0][0]
    bed = tmp_path / "r.bed"
    other = contig.removeprefix("chr") if contig.startswith("chr") else f"chr{contig}"
    bed.write_text(f"# mine\r\n{contig}\t0\t10\r\n{other}\t5\t9\r\n")
    for command in ("coverage", "query"):
        done = run_kind(command, pair.store, "-L", bed)
        assert f"{bed} line 3: {other} is not in {pair.store}" in done.err
        assert f"hint: the store names it {contig}" in done.err


@ANY
def test_what_is_no_plain_file_is_written_in_place(pair, tmp_path):
    expected = coverage(pair, "--window", "1M")
    (tmp_path / "target.bed").write_text("before")
    (tmp_path / "link.bed").symlink_to("target.bed")
    assert queries.run("coverage", str(pair.store), "--window", "1M", "-o", str(tmp_path / "link.bed")) == ""
    assert (tmp_path / "link.bed").is_symlink()
    assert len((tmp_path / "target.bed").read_text().splitlines()) == len(expected) + 1
    assert run_kind("coverage", pair.store, "--window", "1M", "-o", "/dev/full").kind == "disk-full"
    assert Path("/dev/full").is_char_device()


def test_a_region_past_the_end_of_its_contig_keeps_its_bounds_and_is_measured_up_to_the_end(tmp_path):
    (tmp_path / "in.bam").write_bytes(bam([record(pos=90, cigar="4M")], header_bytes((("chr1", 100),))))
    queries.run("convert", "--quiet", str(tmp_path / "in.bam"), str(tmp_path / "s.bams3"))
    (tmp_path / "r.bed").write_text("chr1\t80\t500\nchr1\t200\t300\n")
    found = coverage(queries.Pair(tmp_path / "in.bam", tmp_path / "s.bams3"), "-L", str(tmp_path / "r.bed"))
    assert found[0] == ["chr1", "80", "500", "", "0.2000", "0.2000", "0", "1"]
    assert found[1] == ["chr1", "200", "300", "", "0.0000", "0.0000", "0", "0"]


@ANY
def test_rows_out_of_order_are_written_without_an_index_and_said_to_be(pair, tmp_path):
    first, other = pair.contigs[0][0], pair.contigs[-1][0]
    bed, out = tmp_path / "r.bed", tmp_path / "out.gz"
    for rows, has_index in (
        ([(first, 5, 9), (first, 7, 20), (other, 30, 34)], True),
        ([(first, 7, 9), (first, 5, 20)], False),
        ([(first, 5, 9), (other, 0, 4), (first, 9, 20)], False),
    ):
        bed.write_text("".join(f"{contig}\t{low}\t{high}\n" for contig, low, high in rows))
        done = run_kind("coverage", pair.store, "-L", bed, "-o", out)
        assert (done.code, "no tabix index" in done.err) == (0, not has_index)
        assert gzip.decompress(out.read_bytes()).count(b"\n") == len(rows) + 1
        assert out.with_name("out.gz.tbi").exists() == has_index
    for regions, has_index in (
        ((f"{first}:1-10", f"{first}:11-20"), True),
        ((f"{first}:1-10", f"{first}:10-20"), False),
    ):
        done = run_kind("coverage", pair.store, *regions, "-o", out)
        assert (done.code, "no tabix index" in done.err) == (0, not has_index)


@ANY
@pytest.mark.parametrize("name", ["x.bam", "x.png", "{}/_metadata.json", "{}/x.tsv"])
def test_a_table_goes_neither_under_a_wrong_name_nor_into_a_store(pair, tmp_path, name):
    before = (pair.store / "_metadata.json").read_bytes()
    out = tmp_path / name if "{" not in name else name.format(pair.store)
    for command in (["coverage"], ["query", "--columns", "pos"]):
        done = run_kind(command[0], pair.store, *command[1:], "-o", out)
        assert (done.code, "[usage]" in done.err) == (2, True)
    assert (pair.store / "_metadata.json").read_bytes() == before


@ANY
def test_unplaced_reads_have_no_depth(pair, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("*\t0\t10\n")
    done = run_kind("coverage", pair.store, "-L", bed)
    assert (done.code, "unplaced reads have no depth" in done.err) == (2, True)


@ANY
def test_a_file_appears_whole_or_not_at_all(pair, tmp_path):
    assert run_kind("coverage", pair.store, "-o", tmp_path / "no" / "x.gz").code == 2
    with pytest.raises(InputError):
        bams3.open(str(pair.store)).depth("nowhere")
    assert list(tmp_path.iterdir()) == []
