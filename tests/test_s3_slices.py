"""Slices of a BAM in S3, into a store in S3: the store that one process makes on disk."""

import json

import pysam
import pytest
from commands import convert, objects, run, run_apart, start
from s3_servers import Fault
from test_hostile import large_bam

pytestmark = pytest.mark.engine

CUTS = ("--chunk-size", "256K")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A BAM of 8 MB, its index, and the objects of its store."""
    folder = tmp_path_factory.mktemp("local")
    source = large_bam(folder / "in.bam", 60_000)
    pysam.samtools.index(str(source), catch_stdout=False)
    assert convert(source, folder / "s.bams3", *CUTS).kind == ""
    return folder


def sliced(source, store, n, *, order):
    for i in order:
        done = run("convert", "--quiet", *CUTS, "--slice", f"{i}/{n}", source, store)
        assert done.kind == "", done.err
    done = run("convert", "--quiet", *CUTS, "--seal", source, store)
    assert done.kind == "", done.err


@pytest.mark.parametrize("index", [None, "x.bam.bai", "x.bai"])
def test_slices_in_s3_make_the_local_store(local, s3_bucket, index):
    source = s3_bucket.put("in/x.bam", (local / "in.bam").read_bytes())
    if index:
        s3_bucket.put(f"in/{index}", (local / "in.bam.bai").read_bytes())
    sliced(source, s3_bucket.address("out/s.bams3"), 3, order=(2, 3, 1))
    assert s3_bucket.objects("out/s.bams3") == objects(local / "s.bams3")


def test_slices_of_a_local_file_go_to_s3_at_once(local, s3_bucket):
    store = s3_bucket.address("s.bams3")
    command = ("convert", "--quiet", *CUTS, local / "in.bam", store)
    waiting = [start(*command, "--slice", f"{i}/3") for i in (1, 2, 3, 2)]
    words = [process.communicate(timeout=120)[1] for process in waiting]
    assert [process.returncode for process in waiting] == [0] * 4, words
    assert run_apart(*command, "--seal").kind == ""
    assert s3_bucket.objects("s.bams3") == objects(local / "s.bams3")


def test_slices_of_an_object_go_to_a_local_store(local, s3_bucket, tmp_path):
    source = s3_bucket.put("x.bam", (local / "in.bam").read_bytes())
    sliced(source, tmp_path / "s.bams3", 2, order=(2, 1))
    assert objects(tmp_path / "s.bams3") == objects(local / "s.bams3")


def test_a_slice_reads_little_more_than_its_share(local, s3_bucket, tmp_path):
    data = (local / "in.bam").read_bytes()
    source = s3_bucket.put("x.bam", data)
    done = run("convert", *CUTS, "--json", "--slice", "4/8", source, tmp_path / "s.bams3")
    report = json.loads(done.out)
    assert 0 < report["bytes_in"] < len(data) / 2
    assert report["requests"]["bytes_in"] < 16 << 20  # with what was fetched ahead at each place


def test_an_object_that_changed_is_not_mixed(local, s3_bucket, tmp_path):
    source, store = s3_bucket.put("x.bam", (local / "in.bam").read_bytes()), tmp_path / "s.bams3"
    assert convert(source, store, *CUTS, "--slice", "1/2").kind == ""
    s3_bucket.put("x.bam", large_bam(tmp_path / "other.bam", 59_000).read_bytes())
    assert convert(source, store, *CUTS, "--slice", "2/2").kind == ""
    done = convert(source, store, *CUTS, "--seal")
    assert (done.kind, "slice 1/2 is not done" in done.err) == ("slices-missing", True)


def test_slices_and_seal_come_through_faults(local, s3_bucket, s3_proxy):
    source = s3_bucket.put("x.bam", (local / "in.bam").read_bytes())
    s3_proxy.set(
        Fault("error", code="SlowDown", probability=0.1),
        Fault("reset-in-body", methods=("GET",), probability=0.1),
    )
    sliced(source, s3_bucket.address("s.bams3"), 3, order=(3, 1, 2))
    s3_proxy.set()
    assert s3_bucket.objects("s.bams3") == objects(local / "s.bams3")


def test_a_missing_slice_is_named(local, s3_bucket):
    store = s3_bucket.address("s.bams3")
    assert convert(local / "in.bam", store, *CUTS, "--slice", "2/2").kind == ""
    before = s3_bucket.objects("s.bams3")
    done = convert(local / "in.bam", store, *CUTS, "--seal")
    assert (done.kind, "slice 1/2 is not done" in done.err) == ("slices-missing", True)
    assert s3_bucket.objects("s.bams3") == before


def test_a_cram_in_s3_is_refused(local, s3_bucket, tmp_path):
    source = s3_bucket.put("x.cram", b"CRAM" + bytes(99))
    assert convert(source, tmp_path / "s.bams3", "--slice", "1/2").kind == "not-sliceable"
