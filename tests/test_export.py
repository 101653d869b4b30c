"""Stores to files that other tools use (BAM with .bai, CRAM with .crai, SAM), and to pipes."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pysam
import pytest
import queries
from bam_bytes import decompressed, parted, records

WGS, REFERENCE = "NA12878_S1.chr20.10_10p1mb.bam", "ucsc.hg19.chr20.unittest.fasta.gz"


@pytest.fixture(scope="module")
def wgs(shared_data, tmp_path_factory):
    """52,035 reads of a real BAM, and their store."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("wgs")
        return queries.make_pair(shared_data / "aln" / WGS, folder, monkeypatch, group_records=50_000)


def exported(pair, path, *options):
    assert queries.run("export", str(pair.store), str(path), "--quiet", *options) == ""
    return path


def segments(path, *region, **options):
    with pysam.AlignmentFile(str(path), **options) as file:
        return [segment.to_string() for segment in file.fetch(*region)]


REGIONS = (("chr20",), ("chr20", 10_050_000, 10_050_001), ("chr20", 10_099_000, 60_000_000), ("chr19",))


def test_an_exported_bam_is_fetched_by_its_index(wgs, tmp_path):
    bam = exported(wgs, tmp_path / "out.bam")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.bam", "out.bam.bai"]
    assert [segments(bam, *region) for region in REGIONS] == [segments(wgs.bam, *r) for r in REGIONS]
    assert decompressed(bam) == decompressed(wgs.bam)


@pytest.mark.parametrize("with_reference", [False, True], ids=["alone", "reference"])
def test_an_exported_cram_is_fetched_by_its_index(wgs, shared_data, tmp_path, monkeypatch, with_reference):
    monkeypatch.setenv("REF_PATH", "/nonexistent")
    options, same, reading = [], ["--output-fmt-option", "no_ref=1"], {}
    if with_reference:
        fasta = unpacked_reference(shared_data, tmp_path)
        options, same, reading = ["--reference", fasta], ["-T", fasta], {"reference_filename": fasta}
    folder, by_samtools = tmp_path / "out", tmp_path / "expected.cram"
    folder.mkdir()
    cram = exported(wgs, folder / "out.cram", *options)
    assert sorted(path.name for path in folder.iterdir()) == ["out.cram", "out.cram.crai"]
    pysam.samtools.view("-C", *same, "-o", str(by_samtools), str(wgs.bam), catch_stdout=False)
    pysam.index(str(by_samtools))
    for region in REGIONS:  # not those of the BAM: CRAM holds no CIGAR of an unmapped read
        assert segments(cram, *region, **reading) == segments(by_samtools, *region, **reading)


def unpacked_reference(shared_data, folder):
    fasta = folder / "reference.fa"
    with gzip.open(shared_data / "aln" / REFERENCE) as source, fasta.open("wb") as target:
        shutil.copyfileobj(source, target)
    return str(fasta)


def test_a_cram_against_a_reference_is_smaller(wgs, shared_data, tmp_path):
    fasta = unpacked_reference(shared_data, tmp_path)
    alone = exported(wgs, tmp_path / "alone.cram")
    against = exported(wgs, tmp_path / "against.cram", "--reference", fasta)
    assert against.stat().st_size < alone.stat().st_size


def test_an_exported_sam_is_the_text_of_samtools(wgs, tmp_path):
    sam = exported(wgs, tmp_path / "out.sam")
    expected = wgs.samtools_text("-h", str(wgs.bam))
    assert sam.read_bytes() == expected
    assert queries.bams3("export", wgs.store, "-") == expected


def test_an_export_can_go_without_an_index(wgs, tmp_path):
    exported(wgs, tmp_path / "out.bam", "--no-index")
    assert [path.name for path in tmp_path.iterdir()] == ["out.bam"]


def test_an_output_that_exists_is_refused_and_replaced_by_force(wgs, tmp_path, capsys):
    bam = tmp_path / "out.bam"
    bam.write_text("precious")
    assert queries._run(["export", str(wgs.store), str(bam), "--quiet"]) == 2
    assert "[output-exists]" in capsys.readouterr().err
    assert bam.read_text() == "precious"
    exported(wgs, bam, "--force")
    assert decompressed(bam) == decompressed(wgs.bam)


REGION = "chr20:10,050,000-10,050,100"


def test_records_go_to_a_bam_by_its_name(wgs, tmp_path):
    expected = wgs.samtools(str(wgs.bam), REGION)
    assert records(expected)
    for options, level in ([], 1), (["-b"], 1), (["-u"], 0):
        path = tmp_path / "x.bam"
        assert queries.run("query", str(wgs.store), REGION, "-o", str(path), *options) == ""
        assert parted(decompressed(path))[1] == expected
        assert (first_block_type(path) == "stored") == (level == 0)


def first_block_type(path):
    """Of the first deflate block of a BGZF file."""
    return "stored" if path.read_bytes()[18] & 6 == 0 else "packed"


def test_bam_goes_to_stdout_whole(wgs, tmp_path):
    expected = wgs.samtools(str(wgs.bam), REGION)
    for option in ("-b", "-u"):
        path = tmp_path / "out.bam"
        path.write_bytes(queries.bams3("query", wgs.store, REGION, option))
        assert parted(decompressed(path)) == (parted(decompressed(wgs.bam))[0], expected)
        pysam.quickcheck(str(path))


def test_sam_in_a_file_has_its_header(wgs, tmp_path):
    path = tmp_path / "x.sam"
    assert queries.run("query", str(wgs.store), REGION, "-o", str(path)) == ""
    assert path.read_bytes() == wgs.samtools_text("-h", str(wgs.bam), REGION)


def test_sam_on_stdout_has_a_header_if_asked(wgs):
    plain, headed = wgs.samtools_text(str(wgs.bam), REGION), wgs.samtools_text("-h", str(wgs.bam), REGION)
    assert queries.bams3("query", wgs.store, REGION) == plain
    assert queries.bams3("query", wgs.store, REGION, "-o", "-") == plain
    assert queries.bams3("query", wgs.store, REGION, "-h") == headed


@pytest.mark.parametrize(
    "arguments",
    [
        "query STORE",
        "query STORE -h",
        "query STORE -b",
        "query STORE -u",
        "export STORE -",
        "query STORE chr20 -@ 2",
    ],
)
def test_a_reader_that_leaves_ends_a_command_quietly(wgs, arguments):
    with start(wgs, arguments) as process:
        assert process.stdout.read(100)
        process.stdout.close()
        assert (process.stderr.read(), process.wait(30)) == (b"", 0)


@pytest.mark.parametrize(
    "arguments",
    ["query STORE --count", f"query STORE {REGION}", "query STORE --tsv chr20", "query STORE -b *", "--help"],
)
def test_a_reader_that_has_left_before_a_short_answer_ends_it_quietly(wgs, arguments):
    with start(wgs, arguments) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait(30)) == (b"", 0)


def start(pair, arguments):
    program = [sys.executable, "-m", "bams3", *arguments.replace("STORE", str(pair.store)).split()]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "arguments", ["query STORE --count", "query STORE chr20", "query STORE -b", "export STORE -"]
)
def test_a_full_disk_behind_stdout_is_worth_a_retry(wgs, arguments):
    program = [sys.executable, "-m", "bams3", *arguments.replace("STORE", str(wgs.store)).split()]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.splitlines()[0].endswith(("[disk-full]", "[write-failed]"))
    assert "Traceback" not in done.stderr
