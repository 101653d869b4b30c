"""SAM, BAM and CRAM out, to files, pipes and full disks; and records as segments."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pysam
import pytest
from alignment_files import HEADER_LINES, RECORD_LINES, load, written

from bams3 import htslib, sam
from bams3.bam import BamHeader
from bams3.errors import Bams3Error, CorruptDataError, InputError, StoreError
from bams3.regions import ContigTable


@pytest.fixture(autouse=True)
def no_reference_from_elsewhere(monkeypatch):
    monkeypatch.setenv("REF_PATH", "/nonexistent")


@pytest.fixture(autouse=True)
def no_child_is_left_behind():
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def small_sam(tmp_path):
    path = tmp_path / "small.sam"
    path.write_text(HEADER_LINES + RECORD_LINES)
    return path


@pytest.fixture
def small(small_sam):
    """Header and records of the small file."""
    return load(small_sam)


def kind_of(function, *arguments, error=InputError, **options):
    with pytest.raises(error) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return caught.value.kind


def test_a_small_file_comes_back_from_every_format(tmp_path, small):
    header, records = small
    for name in ("x.sam", "x.bam", "x.cram"):
        sam.write_alignments_file([records], header, tmp_path / name)
        assert load(tmp_path / name) == small


def test_no_records_make_a_whole_file(tmp_path, small):
    header = small[0]
    for name in ("x.sam", "x.bam", "x.cram"):
        sam.write_alignments_file([], header, tmp_path / name)
        assert load(tmp_path / name) == (header, b"")
    assert written([], header, "sam", with_header=False) == b""


def test_a_file_goes_to_an_open_descriptor_behind_what_was_written_before(tmp_path, small):
    header, records = small
    with (tmp_path / "out").open("wb") as out:
        out.write(b"before\n")
        sam.write_alignments([records], header, out, "sam", with_header=False)
        out.write(b"after\n")
    assert (tmp_path / "out").read_text() == f"before\n{RECORD_LINES}after\n"


def test_a_cram_is_written_against_a_reference(tmp_path):
    reference = tmp_path / "ref.fa"
    reference.write_text(">chr1\n" + "ACGT" * 250 + "\n>chr2\n" + "ACGT" * 500 + "\n")
    (tmp_path / "in.sam").write_text(HEADER_LINES + RECORD_LINES)
    header, records = load(tmp_path / "in.sam")
    path = tmp_path / "x.cram"
    sam.write_alignments_file([records], header, path, reference=reference, level=9)
    reference.rename(tmp_path / "moved.fa")
    reference.with_name("ref.fa.fai").unlink()
    assert kind_of(load, path) == "missing-reference"
    assert load(path, reference=tmp_path / "moved.fa")[0].contigs == header.contigs


def test_runs_of_records_of_any_size_make_the_same_bam(shared_data):
    header, records = load(shared_data / "aln" / "NA12878.bam")
    whole = written([records], header, "bam", level=1)
    cuts = [*range(0, len(records), 77_777), len(records)]
    runs = [records[a:b] for a, b in itertools.pairwise(cuts)]
    assert written(runs, header, "bam", level=1, threads=2) == whole
    assert sum(1 for _ in sam.fetch_segments(runs, header)) == 14_917


def many(records, stop):
    for _ in range(200):
        yield records * 2000
    stop.append(True)


@pytest.mark.parametrize("fmt", ["sam", "bam", "cram"])
def test_a_reader_that_leaves_ends_the_writer_quietly(small, fmt):
    header, records = small
    read_end, write_end = os.pipe()
    reader = threading.Thread(target=lambda: (os.read(read_end, 100), os.close(read_end)))
    reader.start()
    stop = []
    with pytest.raises(BrokenPipeError), os.fdopen(write_end, "wb", 0) as out:
        sam.write_alignments(many(records, stop), header, out, fmt)
    reader.join()
    assert not stop


def test_a_reader_that_leaves_before_a_short_answer_is_noticed(small):
    header, records = small
    read_end, write_end = os.pipe()
    os.close(read_end)
    with pytest.raises(BrokenPipeError), os.fdopen(write_end, "wb", 0) as out:
        sam.write_alignments([records], header, out, "sam")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("fmt", ["sam", "bam", "cram"])
def test_a_full_disk_is_worth_a_retry(small, fmt):
    header, records = small
    out = Path("/dev/full")
    with pytest.raises(StoreError, match="^/dev/full: ") as caught:
        sam.write_alignments([records * 100_000], header, out, fmt)
    assert caught.value.kind == "disk-full" or "disk full" in caught.value.hint


@pytest.mark.parametrize("fmt", ["sam", "bam"])
def test_a_folder_that_is_not_there_is_an_input_error(tmp_path, small, fmt):
    header, records = small
    assert kind_of(sam.write_alignments, [records], header, tmp_path / "no" / "x", fmt) == "cannot-write"


def test_records_that_htslib_refuses_are_our_bug(small):
    header, records = small
    bad = records[:4] + b"\xff" * 32
    assert kind_of(written, [bad], header, "sam", error=Bams3Error) == "bad-records"


@pytest.mark.parametrize(
    ("code", "error", "kind"),
    [
        (-signal.SIGKILL, StoreError, "htslib-killed"),
        (-signal.SIGSEGV, CorruptDataError, "htslib-crashed"),
        (1, CorruptDataError, "bad-alignments"),
    ],
)
def test_a_child_that_dies_is_told_by_its_signal(code, error, kind):
    err = htslib.reading_error("x.cram", htslib.Outcome(code, []))
    assert (type(err), err.kind) == (error, kind)


def test_a_bam_comes_with_an_index_that_pysam_uses(tmp_path, shared_data):
    header, records = load(shared_data / "aln" / "NA12878.bam")
    path = tmp_path / "é.bam"
    sam.write_alignments_file([records], header, path, threads=2)
    assert sorted(os.listdir(tmp_path)) == ["é.bam", "é.bam.bai"]
    with (
        pysam.AlignmentFile(path) as ours,
        pysam.AlignmentFile(shared_data / "aln" / "NA12878.bam") as theirs,
    ):
        wanted = sum(a.reference_end > 999 and a.reference_start < 1010 for a in theirs if not a.is_unmapped)
        assert ours.count("chrM", 999, 1010, read_callback=lambda read: not read.is_unmapped) == wanted > 0


def test_long_contigs_get_a_csi_index_and_crams_a_crai(tmp_path, small):
    header, records = small
    long = BamHeader(header.text, ContigTable(("chr1", "chr2"), (1000, (1 << 29) + 1)))
    sam.write_alignments_file([records], long, tmp_path / "x.bam")
    sam.write_alignments_file([records], header, tmp_path / "x.cram")
    sam.write_alignments_file([records], header, tmp_path / "y.bam", index=False)
    wanted = {"x.bam", "x.bam.csi", "x.cram", "x.cram.crai", "y.bam"}
    assert {name for name in os.listdir(tmp_path) if name != "small.sam"} == wanted


def test_an_output_that_exists_is_kept_without_force(tmp_path, small):
    header, records = small
    path = tmp_path / "x.bam"
    path.write_text("mine")
    assert kind_of(sam.write_alignments_file, [records], header, path) == "output-exists"
    assert path.read_text() == "mine"
    sam.write_alignments_file([records], header, path, force=True)
    assert load(path) == small


def test_a_failure_on_the_way_leaves_nothing_behind(tmp_path, small):
    header, records = small

    def failing():
        yield records
        raise CorruptDataError("a bad chunk", kind="bad-checksum")

    for name in ("x.bam", "x.sam", "x.cram"):
        with pytest.raises(CorruptDataError, match="a bad chunk"):
            sam.write_alignments_file(failing(), header, tmp_path / name)
    assert os.listdir(tmp_path) == ["small.sam"]


def test_records_out_of_order_cannot_be_indexed(tmp_path, small):
    header, records = small
    path = tmp_path / "x.bam"
    assert (
        kind_of(sam.write_alignments_file, [records, records], header, path, error=Bams3Error)
        == "index-failed"
    )
    assert not path.exists()


def test_an_unknown_suffix_is_refused(tmp_path, small):
    assert kind_of(sam.write_alignments_file, [small[1]], small[0], tmp_path / "x.txt") == "unknown-format"


# segments


@pytest.mark.parametrize("name", ["cigar-64k.bam", "longcontignames.bam"])
def test_segments_are_those_of_pysam(shared_data, name):
    path = shared_data / "aln" / name
    header, records = load(path)
    with pysam.AlignmentFile(path, check_sq=False) as theirs:
        for ours, wanted in zip(
            sam.fetch_segments([records], header), theirs.fetch(until_eof=True), strict=True
        ):
            assert ours.to_string() == wanted.to_string()


def test_segments_can_be_abandoned_early(small):
    header, records = small
    n_open = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    stop = []
    segments = sam.fetch_segments(many(records, stop), header)
    assert next(segments).query_name == "r1"
    segments.close()
    assert not stop
    assert not [thread for thread in threading.enumerate() if thread.name == "bams3-feeder"]
    if n_open is not None:
        assert len(os.listdir("/proc/self/fd")) == n_open


def test_segments_before_an_error_are_given_and_then_the_error(small):
    header, records = small

    def failing():
        yield records
        raise CorruptDataError("a bad chunk", kind="bad-checksum")

    segments = sam.fetch_segments(failing(), header)
    assert [next(segments).query_name for _ in range(3)] == ["r1", "r1", "r2"]
    with pytest.raises(CorruptDataError, match="a bad chunk"):
        next(segments)


def test_an_error_before_the_first_segment_is_the_one_that_is_raised(small):
    def failing():
        raise CorruptDataError("a bad chunk", kind="bad-checksum")
        yield

    with pytest.raises(CorruptDataError, match="a bad chunk"):
        list(sam.fetch_segments(failing(), small[0]))


def test_reading_and_writing_do_not_import_pysam_here(small_sam):
    code = "import sys, bams3.sam; sys.exit('pysam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
