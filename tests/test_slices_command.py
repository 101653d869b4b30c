"""The commands that convert a BAM in slices: at once, killed, refused, and on real reads."""

import gzip
import json
import os
import random
import subprocess

import pysam
import pytest
from bam_records import bam, record
from commands import convert, objects, run, run_apart, start
from sliced_bams import bam_of, random_reads
from test_hostile import is_no_store, large_bam, until
from test_resume import spread_reads

CUTS = ("--chunk-size", "256K")


@pytest.fixture
def source(tmp_path):
    return large_bam(tmp_path / "in.bam", 60_000)


@pytest.fixture
def whole(source, tmp_path):
    assert convert(source, tmp_path / "whole.bams3", *CUTS).kind == ""
    return objects(tmp_path / "whole.bams3")


def test_slices_at_once_in_processes_of_their_own_make_the_store(source, whole, tmp_path):
    store = tmp_path / "out.bams3"
    waiting = [
        start("convert", "--quiet", *CUTS, "--slice", f"{i}/3", source, store) for i in (3, 1, 2, 2, 1)
    ]
    words = [process.communicate(timeout=120) for process in waiting]
    assert [process.returncode for process in waiting] == [0] * 5, words
    assert is_no_store(store)
    done = run_apart("convert", *CUTS, "--seal", "--json", source, store)
    report = json.loads(done.out)
    assert (report["records"], report["spans_resumed"], report["spans_encoded"]) == (60_000, 5, 0)
    assert objects(store) == whole
    provenance = json.loads((store / "_provenance.json").read_bytes())
    assert "--seal" in provenance["command"]
    assert run("verify", "--quiet", store).kind == ""


def test_a_slice_says_what_it_did(source, tmp_path):
    done = run("convert", *CUTS, "--slice", "1/2", "--json", source, tmp_path / "out.bams3")
    report = json.loads(done.out)
    assert report["slice"] == "1/2"
    assert 0 < report["records"] < 60_000
    assert report["spans_encoded"] == report["chunks"] > 1
    again = run("convert", *CUTS, "--slice", "1/2", source, tmp_path / "out.bams3")
    assert again.err.startswith("slice 1/2: ")
    assert f"{report['chunks']} spans were done before" in again.err


def test_a_missing_slice_is_named_by_the_command(source, tmp_path):
    store = tmp_path / "out.bams3"
    for i in (1, 2, 4, 6, 7, 8):
        assert convert(source, store, *CUTS, "--slice", f"{i}/8").kind == ""
    before = objects(store)
    done = convert(source, store, *CUTS, "--seal")
    assert (done.code, done.kind) == (2, "slices-missing")
    assert "slices 3/8 and 5/8 are not done" in done.err
    assert objects(store) == before


def test_slices_and_seal_replace_a_store_only_with_force(source, whole, tmp_path):
    store, other = tmp_path / "out.bams3", large_bam(tmp_path / "other.bam", 10_000)
    assert convert(other, store).kind == ""
    old = objects(store)
    assert convert(source, store, *CUTS, "--slice", "1/2").kind == "output-exists"
    assert convert(source, store, *CUTS, "--seal").kind == "output-exists"
    assert objects(store) == old
    for i in (1, 2):
        assert convert(source, store, *CUTS, "--slice", f"{i}/2", "--force").kind == ""
        assert old.items() <= objects(store).items()
        assert run("query", "--count", store).out == "10000\n"
    assert convert(source, store, *CUTS, "--seal").kind == "output-exists"
    assert convert(source, store, *CUTS, "--seal", "--force").kind == ""
    assert objects(store) == whole


def test_slices_of_a_file_that_changed_are_not_mixed(source, tmp_path):
    store = tmp_path / "out.bams3"
    assert convert(source, store, *CUTS, "--slice", "1/2").kind == ""
    data = source.read_bytes()
    source.write_bytes(data)  # another time
    assert convert(source, store, *CUTS, "--slice", "2/2").kind == ""
    done = convert(source, store, *CUTS, "--seal")
    assert "slice 1/2 is not done" in done.err
    assert convert(source, store, *CUTS, "--slice", "1/2").kind == ""
    assert convert(source, store, *CUTS, "--seal").kind == ""


def test_what_killed_or_unsealed_slices_left_is_collected(source, tmp_path):
    store = tmp_path / "out.bams3"
    assert convert(source, store, *CUTS, "--slice", "1/2").kind == ""
    assert run("gc", "--quiet", "--older-than", "0s", store).kind == ""
    assert objects(store) == {}


@pytest.mark.parametrize("form", ["sam", "cram", "gzip", "plain"])
@pytest.mark.parametrize("how", [["--slice", "1/2"], ["--seal"]], ids=["slice", "seal"])
def test_only_a_bam_is_cut_into_slices(tmp_path, form, how):
    made, source = tmp_path / "in.bam", tmp_path / f"in.{form}"
    made.write_bytes(bam([record(pos=1)]))
    if form == "gzip":
        source.write_bytes(gzip.compress(gzip.decompress(made.read_bytes())))
    elif form == "plain":
        source.write_bytes(gzip.decompress(made.read_bytes()))
    else:
        options = ["-h"] if form == "sam" else ["-C", "--output-fmt-option", "no_ref=1"]
        pysam.samtools.view(*options, "-o", str(source), str(made), catch_stdout=False)
    done = convert(source, tmp_path / "out.bams3", *how)
    assert done.kind == "not-sliceable"
    assert "samtools view -b" in done.err
    assert not (tmp_path / "out.bams3").exists()


@pytest.mark.parametrize("how", [["--slice", "1/2"], ["--seal"]], ids=["slice", "seal"])
def test_a_pipe_is_not_cut_into_slices(tmp_path, how):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for source in ("-", fifo):
        assert convert(source, tmp_path / "out.bams3", *how).kind == "not-sliceable"


def test_slice_and_seal_exclude_each_other(tmp_path):
    assert convert("in.bam", tmp_path / "out.bams3", "--slice", "1/2", "--seal").kind == "usage"


def test_an_index_beside_the_input_is_used(tmp_path):
    reads = random_reads(random.Random(7), 20_000, (("chr1", 2_000_000),), 150)
    source = tmp_path / "in.bam"
    source.write_bytes(bam_of(reads, (("chr1", 2_000_000),), 30_000))
    assert convert(source, tmp_path / "whole.bams3", *CUTS).kind == ""
    pysam.samtools.index("-o", str(tmp_path / "in.bai"), str(source), catch_stdout=False)
    found = []
    for name in ("in.bai", "elsewhere"):
        store = tmp_path / f"{name}.bams3"
        for i in (1, 2, 3):
            assert convert(source, store, *CUTS, "--slice", f"{i}/3").kind == ""
        found.append({path.parent.name for path in store.glob("_resume/*/*/done.json")})
        assert convert(source, store, *CUTS, "--seal").kind == ""
        assert objects(store) == objects(tmp_path / "whole.bams3")
        if name == "in.bai":
            (tmp_path / "in.bai").rename(tmp_path / "elsewhere")
    assert found[0] != found[1]


def test_a_slice_keeps_to_the_memory_that_it_is_given(source, tmp_path):
    done = convert(source, tmp_path / "out.bams3", *CUTS, "--slice", "1/2", "--max-memory", "100M")
    assert done.kind == "too-little-memory"


def all_ended(processes):
    """Exit codes of processes, whose words nobody wants."""
    for process in processes:
        process.communicate(timeout=300)
    return {process.returncode for process in processes}


# ---- real reads ----


@pytest.fixture(scope="module")
def spread(shared_data, tmp_path_factory):
    return spread_reads(shared_data, tmp_path_factory.mktemp("spread") / "spread.bam")


REAL = (
    "NA12878.chr22.s.bam",
    "test.rna.paired_end.sorted.chr6.bam",
    "possorted_genome_bam.bam",
    "longcontignames.bam",
    "HG002-SRF.m84011_220902_175841_s1.GRCh38.bam",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_slices_of_real_reads_give_the_store_of_one_process(shared_data, tmp_path, name):
    source = shared_data / "aln" / name
    assert convert(source, tmp_path / "whole.bams3", *CUTS).kind == ""
    for n in (3, 8):
        store = tmp_path / f"{n}.bams3"
        waiting = [
            start("convert", "--quiet", *CUTS, "--slice", f"{i}/{n}", source, store) for i in range(1, n + 1)
        ]
        assert all_ended(waiting) == {0}
        assert convert(source, store, *CUTS, "--seal").kind == ""
        assert objects(store) == objects(tmp_path / "whole.bams3")


# ---- killed for good ----


def notes_in(store):
    return {path for path in store.glob("_resume/*/*/*.json") if path.name != "done.json"}


@pytest.mark.slow
def test_slices_killed_again_and_again_encode_no_finished_span_twice(spread, tmp_path):
    whole, store, chance = tmp_path / "whole.bams3", tmp_path / "out.bams3", random.Random(6)
    options = ("--quiet", "--level", "9", *CUTS)
    assert run_apart("convert", *options, spread, whole).kind == ""
    resumed = 0
    for i in (3, 1, 2):
        command = ("convert", *options, "--workers", "1", "--slice", f"{i}/3", spread, store)
        for _ in range(2):
            process, wanted = start(*command), len(notes_in(store)) + chance.randint(2, 5)
            until(
                lambda process=process, n=wanted: process.poll() is not None or len(notes_in(store)) >= n, 60
            )
            process.kill()
            process.communicate()
        noted = len(notes_in(store))
        chunks = {path: path.stat().st_mtime_ns for path in store.rglob("*.chunk")}
        report = json.loads(run_apart(*command, "--json").out)
        resumed += report["spans_resumed"]
        kept = [path for path, mtime_ns in chunks.items() if path.stat().st_mtime_ns == mtime_ns]
        assert len(kept) >= noted == len(notes_in(store)) - report["spans_encoded"]
    assert resumed >= 12
    assert run_apart("convert", *options, "--seal", spread, store).kind == ""
    assert objects(store) == objects(whole)


@pytest.mark.slow
def test_slices_killed_at_any_moment_never_leave_a_store_that_is_wrong(spread, tmp_path):
    whole, store, chance = tmp_path / "whole.bams3", tmp_path / "out.bams3", random.Random(11)
    assert run_apart("convert", "--quiet", *CUTS, spread, whole).kind == ""
    for _ in range(12):
        how = ["--slice", f"{chance.randint(1, 4)}/4"] if chance.random() < 0.8 else ["--seal"]
        process = start("convert", "--quiet", *CUTS, *how, spread, store)
        try:
            process.wait(chance.uniform(0.05, 1.2))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    if not (store / "_metadata.json").exists():  # it is there if a seal came when all slices were done
        waiting = [
            start("convert", "--quiet", *CUTS, "--slice", f"{i}/4", spread, store) for i in range(1, 5)
        ]
        assert all_ended(waiting) == {0}
        assert run_apart("convert", "--quiet", *CUTS, "--seal", spread, store).kind == ""
    assert objects(store) == objects(whole)


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--force"]], ids=["plain", "force"])
def test_a_seal_killed_at_any_moment_leaves_the_old_store_or_the_new_one(spread, tmp_path, how):
    whole, store, chance = tmp_path / "whole.bams3", tmp_path / "out.bams3", random.Random(12)
    assert run_apart("convert", "--quiet", *CUTS, spread, whole).kind == ""
    if how:
        assert run_apart("convert", "--quiet", "--chunk-size", "300K", spread, store).kind == ""
    for i in (1, 2):
        assert run_apart("convert", "--quiet", *CUTS, "--slice", f"{i}/2", *how, spread, store).kind == ""
    for _ in range(8):
        process = start("convert", "--quiet", *CUTS, "--seal", *how, spread, store)
        try:
            process.wait(chance.uniform(0.1, 0.9))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        if (store / "_metadata.json").exists():
            assert run("verify", "--quiet", store).kind == ""
    if not (store / "_metadata.json").exists() or objects(store) != objects(whole):
        for i in (1, 2):
            assert (
                run_apart("convert", "--quiet", *CUTS, "--slice", f"{i}/2", "--force", spread, store).kind
                == ""
            )
        assert run_apart("convert", "--quiet", *CUTS, "--seal", "--force", spread, store).kind == ""
    assert objects(store) == objects(whole)
