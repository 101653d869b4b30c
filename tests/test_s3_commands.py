"""Commands with s3:// where a path may stand: what they write is what they write beside a local store."""

import json
import subprocess
import sys
from pathlib import Path

import bam_records
import pysam
import pytest
from commands import convert, objects, run, run_apart
from s3_servers import Fault

pytestmark = pytest.mark.engine

CONTIGS = (("chr1", 900_000), ("chr2", 60_000))
CUTS = ("--chunk-size", "256K", "--chunk-records", "100")
BED = b"chr1\t1000\t2000\ta\nchr1\t300000\t320000\tb\nchr2\t0\t900\tc\n"
PNG = b"\x89PNG\r\n\x1a\n"


def made_records():
    """Reads on two contigs, and a few on none."""
    for i in range(900):
        tags = [bam_records.tag("NM", "C", i % 3), bam_records.tag("RG", "Z", b"a")]
        quals = bytes((i * k) % 40 for k in range(40))
        yield bam_records.record(
            b"r%d" % i, pos=i * 990, cigar="40M", seq="ACGT" * 10, quals=quals, tags=tags
        )
    for i in range(150):
        yield bam_records.record(b"s%d" % i, contig=1, pos=i * 300, flag=16)
    yield bam_records.record(b"u", contig=-1, pos=-1, flag=4)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A folder with the same alignments as BAM, SAM and CRAM, a store of each, and regions."""
    folder = tmp_path_factory.mktemp("local")
    header = bam_records.header_bytes(CONTIGS, "@HD\tVN:1.6\tSO:coordinate\n@RG\tID:a\tSM:s\n")
    (folder / "in.bam").write_bytes(bam_records.bam(list(made_records()), header))
    pysam.index(str(folder / "in.bam"))
    for name, options in (("in.sam", ["-h"]), ("in.cram", ["-C", "--output-fmt-option", "no_ref=1"])):
        path = str(folder / name)
        pysam.samtools.view("--no-PG", *options, "-o", path, str(folder / "in.bam"), catch_stdout=False)
    for form in ("bam", "sam", "cram"):
        assert convert(folder / f"in.{form}", folder / form / "s.bams3", *CUTS).code == 0
    (folder / "targets.bed").write_bytes(BED)
    return folder


@pytest.fixture
def store(local, s3_bucket):
    """Address of the store of the BAM, in S3."""
    return s3_bucket.put_folder(local / "bam" / "s.bams3", "cohort/s.bams3")


def succeeds(*arguments):
    """What a command writes to stdout."""
    done = run(*arguments)
    assert done.kind == "", done.err
    return done.out


def succeeds_apart(*arguments):
    """The same, of a process of its own."""
    done = run_apart(*arguments)
    assert done.kind == "", done.err
    return done.out


# ---- convert ----


@pytest.mark.parametrize("form", ["bam", "sam", "cram"])
def test_a_store_made_from_s3_in_s3_is_the_local_one(local, s3_bucket, form):
    source = s3_bucket.put(f"in/x.{form}", (local / f"in.{form}").read_bytes())
    succeeds("convert", "--quiet", *CUTS, source, s3_bucket.address("out/s.bams3"))
    assert s3_bucket.objects("out/s.bams3") == objects(local / form / "s.bams3")
    assert s3_bucket.uploads() == []


def test_a_local_file_becomes_a_store_in_s3(local, s3_bucket):
    succeeds_apart("convert", "--quiet", *CUTS, local / "in.bam", s3_bucket.address("s.bams3/"))
    assert s3_bucket.objects("s.bams3") == objects(local / "bam" / "s.bams3")
    provenance = json.loads(s3_bucket.get("s.bams3/_provenance.json"))
    assert provenance["input"] == str(local / "in.bam")


def test_an_object_becomes_a_local_store(local, s3_bucket, tmp_path):
    source = s3_bucket.put("x.bam", (local / "in.bam").read_bytes())
    succeeds("convert", "--quiet", *CUTS, source, tmp_path / "s.bams3")
    assert objects(tmp_path / "s.bams3") == objects(local / "bam" / "s.bams3")


def test_a_pipe_becomes_a_store_in_s3(local, s3_bucket):
    program = [sys.executable, "-m", "bams3", "convert", "--quiet", *CUTS, "-", s3_bucket.address("s.bams3")]
    with (local / "in.bam").open("rb") as file:
        done = subprocess.run(program, stdin=file, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert s3_bucket.objects("s.bams3") == objects(local / "bam" / "s.bams3")


def test_a_cram_and_its_reference_are_taken_from_s3(local, s3_bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("REF_PATH", "/nonexistent")
    fasta = tmp_path / "ref.fa"
    fasta.write_text("".join(f">{name}\n{'ACGT' * (length // 4)}\n" for name, length in CONTIGS))
    cram = tmp_path / "x.cram"
    pysam.samtools.view("-C", "-T", str(fasta), "-o", str(cram), str(local / "in.bam"), catch_stdout=False)
    assert convert(cram, tmp_path / "s.bams3", *CUTS, "--reference", str(fasta)).code == 0
    source = s3_bucket.put("x.cram", cram.read_bytes())
    reference = s3_bucket.put("ref/ref.fa", fasta.read_bytes())
    out = s3_bucket.address("s.bams3")
    succeeds("convert", "--quiet", *CUTS, "--reference", reference, source, out)
    assert s3_bucket.objects("s.bams3") == objects(tmp_path / "s.bams3")
    assert s3_bucket.listed("ref/") == ["ref/ref.fa"]


def test_a_store_in_s3_is_replaced_only_by_force(local, s3_bucket, store):
    before = s3_bucket.objects("cohort/s.bams3")
    assert convert(local / "in.bam", store).kind == "output-exists"
    assert s3_bucket.objects("cohort/s.bams3") == before
    assert convert(local / "in.bam", store, "--force", "--compression", "none", *CUTS).kind == ""
    after = s3_bucket.objects("cohort/s.bams3")
    assert after.keys() & before.keys() <= {"_metadata.json", *(key for key in before if "_header" in key)}
    assert succeeds("query", store, "chr1", "--count") == "900\n"


def test_a_prefix_that_holds_something_else_is_left_alone(local, s3_bucket):
    s3_bucket.put("mine/notes.txt", b"x")
    assert convert(local / "in.bam", s3_bucket.address("mine")).kind == "output-exists"
    assert s3_bucket.listed() == ["mine/notes.txt"]


def test_a_conversion_that_is_run_again_goes_on(local, s3_bucket, s3_proxy):
    s3_proxy.set(Fault("error", code="ExpiredToken", methods=("PUT",), path="data/chr2/"))
    out = s3_bucket.address("s.bams3")
    assert convert(local / "in.bam", out, *CUTS).kind == "expired-token"
    assert "s.bams3/_metadata.json" not in s3_bucket.listed()
    s3_proxy.set()
    done = json.loads(succeeds("convert", "--quiet", "--json", *CUTS, local / "in.bam", out))
    assert done["spans_resumed"] > 0
    assert s3_bucket.objects("s.bams3") == objects(local / "bam" / "s.bams3")


# ---- questions ----

QUESTIONS = [
    ("query", "{}", "chr1:5001-40000"),
    ("query", "{}", "-h", "-q", "20", "chr2"),
    ("query", "{}", "--count"),
    ("query", "{}", "chr1:5001-400000", "chr2", "--count"),
    ("query", "{}", "-F", "REVERSE", "--count"),
    ("query", "{}", "--tsv", "-L", "[bed]"),
    ("query", "{}", "-L", "[bed]"),
    ("query", "{}", "--columns", "name,pos,tag:NM", "chr2"),
    ("query", "{}", "--explain", "chr1:5001-40000"),
    ("coverage", "{}", "chr2"),
    ("coverage", "{}", "--window", "500"),
    ("coverage", "{}", "-L", "[bed]", "--thresholds", "1,2"),
    ("coverage", "{}", "--summary"),
    ("stats", "{}"),
    ("stats", "{}", "--flagstat", "--json"),
    ("chunks", "{}"),
    ("chunks", "{}", "--region", "chr1:300000-400000", "--json"),
    ("cost", "{}", "chr1"),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_an_answer_is_that_of_the_local_store(local, s3_bucket, store, question):
    bed = s3_bucket.put("targets.bed", BED)
    here = {"{}": str(local / "bam" / "s.bams3"), "[bed]": str(local / "targets.bed")}
    there = {"{}": store, "[bed]": bed}
    expected = succeeds(*(here.get(word, word) for word in question))
    found = succeeds(*(there.get(word, word) for word in question))
    assert found.replace(store, here["{}"]) == expected
    assert expected


def test_a_question_in_a_process_of_its_own(local, store):
    expected = pysam.view(str(local / "in.bam"), "chr1:5001-40000")
    assert succeeds_apart("query", store, "chr1:5001-40000") == expected
    assert succeeds_apart("query", store, "chr2", "--count") == "150\n"


def test_the_python_interface_takes_an_address(s3_bucket, store):
    import bams3

    for options in ({}, {"endpoint_url": s3_bucket.server.url, "region": "eu-west-1"}):
        reader = bams3.open(store, **options)
        assert reader.count("chr1:1-999999") == 900
        assert [segment.query_name for segment in reader.fetch("chr2:1-300")] == ["s0"]


@pytest.mark.parametrize("n", [1, 3])
def test_chunks_are_written_without_their_store(s3_bucket, store, n):
    keys = [row.split("\t")[0] for row in succeeds("chunks", store).splitlines()[1:]][:n]
    counts = [int(row.split("\t")[2]) for row in succeeds("chunks", store).splitlines()[1:]][:n]
    alone = {key: s3_bucket.get(f"cohort/s.bams3/{key}") for key in keys}
    for key in s3_bucket.listed():
        s3_bucket.delete(key)
    addresses = [
        s3_bucket.put(f"elsewhere/{number}.chunk", data) for number, data in enumerate(alone.values())
    ]
    lines = succeeds("cat", *addresses).splitlines()
    assert [line.split("\t")[0] for line in lines] == [f"r{i}" for i in range(sum(counts))]
    assert succeeds_apart("cat", *addresses).splitlines() == lines


# ---- files that are written ----


def folder_of(bucket, prefix):
    return {key.removeprefix(prefix): bucket.get(key) for key in bucket.listed(prefix)}


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FILES = [
    (("query", "{}", "chr1", "-b"), "-o", "x.bam"),
    (("query", "{}", "chr2"), "-o", "x.sam"),
    (("query", "{}", "chr2", "--columns", "name,pos"), "-o", "x.parquet"),
    (("cat", "{}/[chunk]", "-b"), "-o", "x.bam"),
    (("coverage", "{}", "--window", "500"), "-o", "x.bed.gz"),
    (("coverage", "{}", "chr1"), "-o", "x.bedgraph"),
    (("coverage", "{}", "chr1"), "--plot", "x.png"),
    (("stats", "{}"), "--multiqc", "s_mqc.json"),
    (("stats", "{}"), "--plot", "x.png"),
    (("export", "--quiet", "{}"), "", "x.bam"),
    (("export", "--quiet", "{}"), "", "x.sam"),
    (("export", "--quiet", "{}"), "", "x.cram"),
    (("export", "--quiet", "{}", "--no-index"), "", "x.bam"),
]


@pytest.mark.parametrize(("command", "option", "name"), FILES, ids=[f"{c[0]} {n}" for c, _, n in FILES])
def test_a_file_in_s3_is_that_on_disk(local, s3_bucket, store, tmp_path, monkeypatch, command, option, name):
    monkeypatch.setenv("REF_PATH", "/nonexistent")
    here = str(local / "bam" / "s.bams3")
    chunk = succeeds("chunks", here).splitlines()[1].split("\t")[0]

    def asked(source, output):
        words = [word.replace("{}", source).replace("[chunk]", chunk) for word in command]
        return [*words, *filter(None, [option]), output]

    for suffix in (".bai", ".tbi"):
        s3_bucket.put(f"out/deep/{name}{suffix}", b"of an older file")
    s3_bucket.put("out/deep/other.bam.bai", b"of another file")
    succeeds(*asked(here, tmp_path / name))
    succeeds(*asked(store, s3_bucket.address(f"out/deep/{name}")), *(["--force"] if not option else []))
    found = folder_of(s3_bucket, "out/deep/")
    assert found.pop("other.bam.bai") == b"of another file"
    if Path(name).suffix not in (".gz", ".bam", ".cram"):  # what never has an index is not looked after
        assert (found.pop(f"{name}.bai"), found.pop(f"{name}.tbi")) == (b"of an older file",) * 2
    expected = files_in(tmp_path)
    assert sorted(found) == sorted(expected)
    assert found == expected
    assert all(len(data) > 20 for data in found.values())
    if name.endswith(".png"):
        assert found[name].startswith(PNG)


def test_an_export_replaces_a_file_only_by_force(local, s3_bucket, store, tmp_path):
    address = s3_bucket.put("x.bam", b"mine")
    assert run("export", "--quiet", store, address).kind == "output-exists"
    assert s3_bucket.get("x.bam") == b"mine"
    succeeds("export", "--quiet", "--force", store, address)
    (tmp_path / "x.bam").write_bytes(s3_bucket.get("x.bam"))
    assert pysam.view(str(tmp_path / "x.bam")) == pysam.view(str(local / "in.bam"))


def test_no_file_goes_into_a_store(s3_bucket, store):
    before = s3_bucket.listed()
    for command in (["query", store, "-b", "-o"], ["export", store], ["stats", store, "--plot"]):
        name = "x.png" if "--plot" in command else "x.bam"
        assert run(*command, f"{store}/{name}").kind == "usage"
    assert s3_bucket.listed() == before


def test_nothing_is_written_where_a_question_fails(s3_bucket, store):
    for arguments in (["query", store, "chrX", "-b"], ["coverage", store, "chrX"]):
        assert run(*arguments, "-o", s3_bucket.address("out/x.bam")).code == 2
    assert s3_bucket.listed("out/") == []


# ---- verify ----


def test_a_whole_store_is_verified(store):
    assert run("verify", store, "--quiet").kind == ""
    found = json.loads(succeeds("verify", store, "--quiet", "--json"))
    assert (found["records"], found["problems"]) == (1051, [])


def test_damage_is_found_in_s3(s3_bucket, store):
    key = next(key for key in s3_bucket.listed() if key.endswith(".chunk"))
    data = s3_bucket.get(key)
    s3_bucket.put(key, data[:-1] + bytes([data[-1] ^ 1]))
    done = run("verify", store, "--quiet")
    assert done.kind == "damaged"
    assert key.removeprefix("cohort/s.bams3/") in done.out
