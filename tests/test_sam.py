"""SAM, BAM and CRAM in: what is read, against samtools of pysam, and what is refused."""

import errno
import gzip
import io
import os

import pysam
import pytest
from alignment_files import HEADER_LINES, RECORD_LINES, load, parsed, written

from bams3 import sam
from bams3.bam import BGZF_EOF, compress_blocks, read_batches
from bams3.errors import Bams3Error, CorruptDataError, InputError

BAMS = ("NA12878.bam", "cigar-64k.bam", "longcontignames.bam", "ont.bam", "test.bam")
OTHERS = (
    "htslib/auxf#values.sam",
    "htslib/no_hdr_sq_1.bam",
    "htslib/xx#large_aux.sam",
    "hts-specs/sam/passed/aux.pass.sam",
    "hts-specs/cram/3.0/passed/0301_unmapped.cram",
)
CRAM, CRAM_REFERENCE = "conf/hts-specs/cram/3.0/passed/0501_mapped.cram", "conf/hts-specs/cram/ce.fa"


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
        (gzip.compress(b"BAM\1", mtime=0), "other-bam"),
        (b"CRAM\3\1", "cram"),
        (HEADER_LINES.encode(), "sam"),
        (RECORD_LINES.encode(), "sam"),
        (gzip.compress(HEADER_LINES.encode(), mtime=0), "sam"),
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
        gzip.compress(b">x\nA\n", mtime=0),
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


# whole files


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


# leaving early


def test_leaving_early_ends_the_child(shared_data):
    with sam.open_as_bam(shared_data / "conf/htslib/xx#large_aux.sam") as file:
        assert file.read(10)


def test_the_callers_own_error_is_not_replaced(shared_data):
    with pytest.raises(KeyError), sam.open_as_bam(shared_data / "conf/htslib/xx#large_aux.sam") as file:
        raise KeyError(file.read(1))
