"""SAM, BAM and CRAM in and out: against samtools of pysam, on real files and on bad ones."""

import errno
import gzip
import io
import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pysam
import pytest

from bams3 import htslib, sam
from bams3.bam import BGZF_EOF, BamHeader, compress_blocks, inflate, parse_header, read_batches
from bams3.errors import Bams3Error, CorruptDataError, InputError, StoreError
from bams3.regions import ContigTable

BAMS = ("NA12878.bam", "cigar-64k.bam", "longcontignames.bam", "ont.bam", "test.bam")
OTHERS = (
    "htslib/auxf#values.sam",
    "htslib/no_hdr_sq_1.bam",
    "htslib/xx#large_aux.sam",
    "hts-specs/sam/passed/aux.pass.sam",
    "hts-specs/cram/3.0/passed/0301_unmapped.cram",
)
CRAM, CRAM_REFERENCE = "conf/hts-specs/cram/3.0/passed/0501_mapped.cram", "conf/hts-specs/cram/ce.fa"
HEADER_LINES = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:1000\n@SQ\tSN:chr2\tLN:2000\n"
RECORD_LINES = """\
r1\t99\tchr1\t11\t60\t4M\t=\t21\t14\tACGT\tIIII\tNM:i:0\tXA:Z:a b
r1\t147\tchr1\t21\t60\t4M\t=\t11\t-14\tACGN\tIII#\tXB:B:c,1,-2
r2\t4\t*\t0\t0\t*\t*\t0\t0\tA\t*
"""


@pytest.fixture(autouse=True)
def no_reference_from_elsewhere(monkeypatch):
    monkeypatch.setenv("REF_PATH", "/nonexistent")


@pytest.fixture(autouse=True)
def no_child_is_left_behind():
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def samtools(tmp_path):
    """What ``samtools view --no-PG`` writes; in this process, not by the code under test."""

    def view(path, *options):
        target = tmp_path / "samtools.out"
        pysam.samtools.view("--no-PG", *options, "-o", str(target), str(path), catch_stdout=False)
        return target.read_bytes()

    return view


@pytest.fixture
def small_sam(tmp_path):
    path = tmp_path / "small.sam"
    path.write_text(HEADER_LINES + RECORD_LINES)
    return path


@pytest.fixture
def small(small_sam):
    """Header and records of the small file."""
    return load(small_sam)


def load(path, **options):
    """Header and record bytes of any file, as convert reads them."""
    opened = path.open("rb") if sam.detect(path) == "bam" else sam.open_as_bam(path, **options)
    with opened as file:
        return parsed(file)


def parsed(file):
    data = b"".join(inflate(batch).data for batch in read_batches(file))
    header, end = parse_header(data)
    return header, data[end:]


def written(records, header, fmt, **options):
    out = io.BytesIO()
    sam.write_alignments(records, header, out, fmt, **options)
    return out.getvalue()


def kind_of(function, *arguments, error=InputError, **options):
    with pytest.raises(error) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return caught.value.kind


# detection


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (compress_blocks(b"BAM\1", 6), "bam"),
        (BGZF_EOF + compress_blocks(b"BAM\1", 6), "bam"),
        (compress_blocks(b"BAM\1", 6)[:-9] + b"\xff" * 9, "bam"),
        (BGZF_EOF, "bam"),
        (b"BAM\1", "other-bam"),
        (gzip.compress(b"BAM\1"), "other-bam"),
        (b"CRAM\3\1", "cram"),
        (HEADER_LINES.encode(), "sam"),
        (RECORD_LINES.encode(), "sam"),
        (gzip.compress(HEADER_LINES.encode()), "sam"),
        (compress_blocks(RECORD_LINES.encode(), 6), "sam"),
    ],
)
def test_the_form_of_a_file_is_told_by_its_first_bytes(tmp_path, data, form):
    path = tmp_path / "no-suffix"
    path.write_bytes(data)
    assert sam.detect(path) == form
    assert sam.sniff(data, "x") == form


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"@r1\nACGT\n+\nIIII\n",
        b">chr1\nACGT\n",
        b"chr1\t1\t2\n",
        gzip.compress(b">x\nA\n"),
        b"\x1f\x8b" + bytes(9),
    ],
)
def test_what_is_no_alignment_file_is_refused_by_name(tmp_path, data):
    path = tmp_path / "x.bam"
    path.write_bytes(data)
    assert kind_of(sam.detect, path) == "not-alignments"


def test_a_file_that_is_not_there_a_folder_and_a_pipe_are_told_apart(tmp_path):
    assert kind_of(sam.detect, tmp_path / "none.bam") == "no-such-file"
    assert kind_of(sam.detect, tmp_path) == "not-a-file"
    os.mkfifo(tmp_path / "fifo")
    assert kind_of(sam.detect, tmp_path / "fifo") == "not-a-file"


# reading and writing, whole files


@pytest.mark.parametrize("name", BAMS)
def test_a_real_bam_is_written_as_samtools_writes_it(shared_data, samtools, name):
    path = shared_data / "aln" / name
    header, records = load(path)
    assert written([records], header, "sam") == samtools(path, "-h")
    assert written([records], header, "sam", with_header=False, threads=2) == samtools(path)
    again = parsed(io.BytesIO(written([records], header, "bam", threads=2)))
    assert again == (header, records)


@pytest.mark.parametrize("name", OTHERS)
def test_other_forms_are_read_as_samtools_reads_them(shared_data, samtools, name):
    path = shared_data / "conf" / name
    header, records = load(path, threads=2)
    assert written([records], header, "sam") == samtools(path, "-h")


def test_a_cram_is_decoded_with_its_reference_as_samtools_decodes_it(shared_data, samtools):
    path, reference = shared_data / CRAM, shared_data / CRAM_REFERENCE
    header, records = load(path, reference=reference)
    text = written([records], header, "sam")
    assert text == samtools(path, "-h", "-T", str(reference))
    assert b"\tMD:Z:" in text


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["raw", "gzip"])
def test_a_bam_without_blocks_is_read_by_htslib(tmp_path, small, pack):
    header, records = small
    path = tmp_path / "raw.bam"
    path.write_bytes(pack(header.encode() + records))
    assert load(path) == small


def test_a_stream_is_read_behind_what_a_peek_has_taken(small_sam, small):
    with small_sam.open("rb") as stream:
        assert sam.sniff(stream.peek(), "stdin") == "sam"
        with sam.open_as_bam(stream) as file:
            assert parsed(file) == small


def test_a_name_with_odd_characters_is_read(tmp_path, small_sam, small):
    path = tmp_path / "-é \udcff:x.sam"
    small_sam.rename(path)
    assert load(path) == small


def test_warnings_of_htslib_are_handed_back(tmp_path):
    path = tmp_path / "x.sam"
    path.write_text(HEADER_LINES + RECORD_LINES.replace("4M", "*"))
    said = []
    load(path, on_warning=said.append)
    assert said == [f"{path}: mapped query must have a CIGAR; treated as unmapped"]


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


def test_a_cram_is_written_against_a_reference(tmp_path, samtools):
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
    with (
        pysam.AlignmentFile(io.BytesIO(b""))
        if False
        else pysam.AlignmentFile(shared_data / "aln" / "NA12878.bam") as theirs
    ):
        assert sum(1 for _ in theirs.fetch(until_eof=True)) == sum(
            1 for _ in sam.fetch_segments(runs, header)
        )


# bad input


def test_a_cram_without_its_reference_says_which(shared_data):
    with pytest.raises(InputError, match="0501_mapped.cram: needs its reference, .*: CHROMOSOME_I") as caught:
        load(shared_data / CRAM)
    assert caught.value.kind == "missing-reference"
    assert "--reference" in caught.value.hint


def test_a_reference_that_is_wrong_unusable_or_absent_is_told_apart(tmp_path, shared_data):
    right = (shared_data / CRAM_REFERENCE).read_text()
    wrong = tmp_path / "wrong.fa"
    wrong.write_text("\n".join(x if x[:1] == ">" else x.replace("A", "C") for x in right.split("\n")))
    assert kind_of(load, shared_data / CRAM, reference=wrong) == "wrong-reference"
    packed = tmp_path / "packed.fa.gz"
    packed.write_bytes(gzip.compress(right.encode()))
    assert kind_of(load, shared_data / CRAM, reference=packed) == "bad-reference"
    assert kind_of(load, shared_data / CRAM, reference=tmp_path / "none.fa") == "no-such-file"


def test_a_position_that_bam_cannot_hold_is_refused_by_name(tmp_path):
    path = tmp_path / "long.sam"
    path.write_text("@SQ\tSN:c\tLN:9000000000\nr\t0\tc\t5000000000\t9\t1M\t*\t0\t0\tA\tI\n")
    with pytest.raises(InputError, match="long.sam: a position lies beyond 2,147,483,647") as caught:
        load(path)
    assert caught.value.kind == "position-too-long"


def test_a_bad_line_is_told_with_its_number_and_htslibs_own_words(tmp_path):
    path = tmp_path / "bad.sam"
    path.write_text(HEADER_LINES + RECORD_LINES.replace("IIII", "III"))
    with pytest.raises(CorruptDataError) as caught:
        load(path)
    said = "SEQ and QUAL are of different length; Parse error at line 4"
    assert str(caught.value) == f"{path}: htslib cannot read it: {said}"


def test_a_cut_file_is_an_error_when_its_end_is_read(tmp_path, shared_data):
    path = tmp_path / "cut.bam.gz"
    data = gzip.decompress((shared_data / "aln" / "NA12878.bam").read_bytes())
    path.write_bytes(data[: len(data) // 2])
    with sam.open_as_bam(path) as file:
        batches = read_batches(file)
        next(batches)
        with pytest.raises(CorruptDataError, match="cut.bam.gz"):
            list(batches)


def test_an_error_comes_up_on_leaving_even_if_nothing_was_read(tmp_path):
    path = tmp_path / "bad.sam"
    path.write_text("@SQ\tLN:5\n")
    with pytest.raises(CorruptDataError, match="no SN"), sam.open_as_bam(path) as file:
        file.peek()


def test_a_stream_that_fails_raises_its_own_error():
    class Broken(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise OSError(errno.EIO, "the cable is out")

    with (
        pytest.raises(OSError, match="the cable is out"),
        sam.open_as_bam(io.BufferedReader(Broken())) as file,
    ):
        file.read()


def test_mutated_crams_raise_our_errors_and_no_others(tmp_path, shared_data):
    whole = (shared_data / "conf/hts-specs/cram/3.0/passed/0301_unmapped.cram").read_bytes()
    path = tmp_path / "x.cram"
    for at in range(4, len(whole), 90):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            load(path)
        except Bams3Error as err:
            assert err.exit_code in (2, 3)  # noqa: PT017  # any other error fails the test by itself


# ends


def test_leaving_early_ends_the_child(shared_data):
    with sam.open_as_bam(shared_data / "conf/htslib/xx#large_aux.sam") as file:
        assert file.read(10)


def test_the_callers_own_error_is_not_replaced(shared_data):
    with pytest.raises(KeyError), sam.open_as_bam(shared_data / "conf/htslib/xx#large_aux.sam") as file:
        raise KeyError(file.read(1))


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
    assert "disk-full" == caught.value.kind or "disk full" in caught.value.hint


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


# whole files


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
