"""Same bytes from any number of threads and after any kill; what is left behind, and who wins."""

import json
import signal
import time
from pathlib import Path

import pysam
import pytest
from commands import run, start

from bams3.errors import StoreError
from bams3.ingest import ConvertOptions, Source, convert
from bams3.resume import ResumeLog
from bams3.store import LocalStore

CONTIGS, RECORDS = 16, 12_000


@pytest.fixture(scope="module")
def bam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs on sixteen contigs of a span each, with unplaced reads at the end."""
    path = tmp_path_factory.mktemp("resume") / "many.bam"
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": f"c{i}", "LN": 1_000_000} for i in range(CONTIGS)]}
    with pysam.AlignmentFile(str(path), "wb", header=header) as out:
        for contig in range(CONTIGS):
            for i in range(RECORDS):
                out.write(record(out.header, contig, 20 * i, f"r{contig}:{7919 * i % 65537}:{i}"))
        for i in range(300):
            out.write(record(out.header, -1, -1, f"u{i}"))
    return path


def record(header: pysam.AlignmentHeader, contig: int, pos: int, name: str) -> pysam.AlignedSegment:
    read = pysam.AlignedSegment(header)
    read.query_name, read.reference_id, read.reference_start = name, contig, pos
    read.flag = 0 if contig >= 0 else 4
    read.query_sequence = "ACGTTGCAAC"[pos % 10 :] + "GATTACA" * 12
    if contig >= 0:
        read.cigarstring, read.mapping_quality = f"{len(read.query_sequence)}M", pos % 61
    quals = ("IIIIFFFF,,FF::FF"[pos % 7 :] * 12)[: read.query_length]
    read.query_qualities = pysam.qualitystring_to_array(quals)
    read.set_tag("NM", pos % 5)
    return read


@pytest.fixture(scope="module")
def undisturbed(bam: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Objects of a conversion that nothing disturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "s.bams3"
    assert run("convert", "-q", "--workers", "1", bam, out).code == 0
    return objects(out)


def objects(store: Path) -> dict[str, bytes]:
    """Every file of a store but the one that tells of the conversion."""
    paths = (path for path in store.rglob("*") if path.is_file() and path.name != "_provenance.json")
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


def notes(store: Path) -> int:
    return len(list(store.glob("_resume/*/*.json")))


@pytest.mark.parametrize("workers", ["2", "5"])
def test_any_number_of_workers_makes_the_same_bytes(bam, undisturbed, tmp_path, workers):
    assert run("convert", "-q", "--workers", workers, bam, tmp_path / "s.bams3").code == 0
    assert objects(tmp_path / "s.bams3") == undisturbed


def test_standard_input_makes_the_same_bytes(bam, undisturbed, tmp_path):
    with bam.open("rb") as file:
        process = start("convert", "-q", "-", tmp_path / "s.bams3", stdin=file)
    assert process.communicate()[1].startswith("192,300 reads")
    assert objects(tmp_path / "s.bams3") == undisturbed


def test_a_conversion_killed_three_times_goes_on_and_ends_with_the_same_bytes(bam, undisturbed, tmp_path):
    out, before = tmp_path / "s.bams3", 0
    for _ in range(3):
        process = start("convert", "-q", "--workers", "2", bam, out)
        while notes(out) <= before and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
        assert not (out / "_metadata.json").exists()
        assert run("query", out, "--count").kind == "not-a-store"
        before = notes(out)
    done = run("convert", "-q", "--json", bam, out)
    report = json.loads(done.out)
    assert before >= 3
    assert report["spans_resumed"] == before
    assert report["spans_resumed"] + report["spans_encoded"] == CONTIGS + 1
    assert objects(out) == undisturbed


@pytest.mark.parametrize("form", ["sam", "cram"])
def test_an_input_that_htslib_reads_goes_on_too(bam, tmp_path, form):
    path = tmp_path / f"many.{form}"
    options = ["-O", "cram,no_ref"] if form == "cram" else ["-h"]
    pysam.view("--no-PG", *options, "-o", str(path), str(bam), catch_stdout=False)
    out, whole = tmp_path / "s.bams3", tmp_path / "whole.bams3"
    process = start("convert", "-q", path, out)
    while notes(out) < 3 and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    left = notes(out)
    report = json.loads(run("convert", "-q", "--json", path, out).out)
    assert (report["spans_resumed"], report["spans_encoded"]) == (left, CONTIGS + 1 - left)
    assert run("convert", "-q", path, whole).code == 0
    assert objects(out) == objects(whole)


class FailingStore(LocalStore):
    """A folder whose disk fails at the n-th object."""

    def __init__(self, root: Path, n: int) -> None:
        super().__init__(root)
        self.left = n

    def put(self, key: str, data: bytes) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreError("the disk failed", kind="disk")
        super().put(key, data)


def fail_at(bam: Path, out: Path, n: int) -> None:
    """A conversion whose n-th object cannot be written."""
    stat = bam.stat()
    identity = {"size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    with bam.open("rb") as file:
        source = Source(str(bam), file, identity, True)
        with pytest.raises(StoreError):
            convert(source, FailingStore(out, n), ConvertOptions(workers=2))
    assert not (out / "_metadata.json").exists()


@pytest.mark.parametrize("n", [0, 1, 7, 20, 33, 35])
def test_a_disk_that_fails_anywhere_leaves_what_the_next_run_needs(bam, undisturbed, tmp_path, n):
    out = tmp_path / "s.bams3"
    fail_at(bam, out, n)
    assert run("convert", "-q", bam, out).code == 0
    assert objects(out) == undisturbed


def test_a_damaged_chunk_is_made_again(bam, undisturbed, tmp_path):
    out = tmp_path / "s.bams3"
    fail_at(bam, out, 20)
    chunk = sorted(out.glob("data/c3/*.chunk"))[0]
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    report = json.loads(run("convert", "-q", "--json", bam, out).out)
    assert report["spans_resumed"] == 3
    assert objects(out) == undisturbed


def test_other_options_do_not_go_on_from_these_notes(bam, tmp_path):
    out = tmp_path / "s.bams3"
    fail_at(bam, out, 20)
    report = json.loads(run("convert", "-q", "--json", "--level", "3", bam, out).out)
    assert report["spans_resumed"] == 0
    assert run("verify", "-q", out).code == 0
    assert notes(out) == 0


def test_one_of_two_conversions_to_a_store_wins(bam, undisturbed, tmp_path):
    out = tmp_path / "s.bams3"
    both = [start("convert", "-q", "--workers", "1", bam, out) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    assert any("[output-exists]" in text for text in said)
    assert objects(out) == undisturbed


def test_force_replaces_a_store_and_removes_what_is_left_of_the_old_one(bam, undisturbed, tmp_path):
    out = tmp_path / "s.bams3"
    assert run("convert", "-q", "--compression", "none", bam, out).code == 0
    assert run("convert", "-q", bam, out).kind == "output-exists"
    assert run("convert", "-q", "--force", bam, out).code == 0
    assert objects(out) == undisturbed


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_store_that_lost_its_manifest_alone_is_made_again(bam, undisturbed, tmp_path, force):
    out = tmp_path / "s.bams3"
    assert run("convert", "-q", "--level", "3", bam, out).code == 0
    (out / "_metadata.json").unlink()  # as Snakemake does before it runs a rule again
    (out / "data" / "c0" / ".0000000000.0-01234567.chunk.1.2.partial").write_bytes(b"half")
    assert run("convert", "-q", *force, bam, out).code == 0
    assert objects(out) == undisturbed


def test_notes_are_read_in_order_up_to_the_first_that_is_not_whole(tmp_path):
    log = ResumeLog(LocalStore(tmp_path), "0" * 16)
    assert log.load() == []
    folder = tmp_path / "_resume" / ("0" * 16)
    folder.mkdir(parents=True)
    (folder / "00000000.json").write_bytes(b'{"span": [0')
    assert log.load() == []
