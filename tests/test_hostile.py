"""Bad input and bad stores: one line, the right exit code, no traceback, and no half store that opens."""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import make_hostile
import numpy as np
import pytest
from bam_records import EOF_BLOCK, bam, bgzf, header_bytes, record, tag
from commands import convert, objects, run, run_apart, start
from conformance import REFERENCE_FOLDERS
from real_data import data_folder, is_there

from bams3.format import chunk, manifest
from bams3.format.directory import crc32
from bams3.format.manifest import render

HOSTILE = sorted(make_hostile.HOSTILE.rglob("*.*"))
CEU = "CEUTrio.HiSeq.WGS.b37.NA12878.20.first.8000.bam"


def is_no_store(path):
    """Whether nothing takes a folder for a store."""
    return run("query", "--count", path).kind == "not-a-store"


# ---- files that are wrong ----


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_bad_input_ends_with_the_error_that_its_folder_names(path, tmp_path):
    done = convert(path, tmp_path / "out.bams3")
    assert done.kind == path.parent.name
    assert path.name in done.err
    assert is_no_store(tmp_path / "out.bams3")


def test_the_bad_inputs_are_those_that_are_made(tmp_path):
    make_hostile.write(tmp_path)
    made, kept = objects(tmp_path), objects(make_hostile.HOSTILE)
    assert made == kept


def test_a_record_is_named_by_its_number(tmp_path):
    path = tmp_path / "bad.bam"
    path.write_bytes(bam([record(pos=i) for i in range(70)] + [record(pos=70, cigar="3M"), record(pos=71)]))
    assert "bad.bam: record 70: CIGAR and sequence differ" in convert(path, tmp_path / "out.bams3").err
    path.write_bytes(bam([record(pos=i) for i in range(70)] + [record(pos=3)]))
    assert "bad.bam: record 70 lies before" in convert(path, tmp_path / "out.bams3").err


def refused_by_samtools():
    """Files of the suites that samtools 1.24 does not read."""
    if not is_there(data_folder()):
        return [None]
    lines = (data_folder() / "conformance.tsv").read_text().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [row[0] for row in rows if row[1] == "aln" and row[3] == "fail"]


@pytest.mark.parametrize("name", refused_by_samtools())
def test_what_samtools_refuses_is_refused(shared_data, tmp_path, monkeypatch, name):
    monkeypatch.setenv("REF_PATH", "/nonexistent")
    references = [shared_data / folder for folder in REFERENCE_FOLDERS]
    assert all(folder.is_dir() for folder in references)
    done = convert(shared_data / name, tmp_path / "out.bams3")
    assert done.kind in ("bad-alignments", "not-alignments", "missing-reference", "truncated-file")
    assert is_no_store(tmp_path / "out.bams3")


def test_the_suites_hold_as_many_refused_files_as_they_did(shared_data):
    assert len(refused_by_samtools()) == 50


@pytest.mark.parametrize("records", [[], [record(), record(contig=-1, pos=-1, flag=4)]], ids=["none", "two"])
def test_a_file_without_end_block_is_read_with_a_warning(tmp_path, records):
    path = tmp_path / "cut.bam"
    path.write_bytes(bam(records, eof=b""))
    done = convert(path, tmp_path / "out.bams3")
    assert done.kind == ""
    assert "bams3: warning: " in done.err
    assert "no end-of-file block" in done.err
    assert run("query", "--count", tmp_path / "out.bams3").out == f"{len(records)}\n"


def test_end_blocks_in_the_middle_are_no_end(tmp_path):
    path = tmp_path / "joined.bam"
    path.write_bytes(bam([record(pos=1)]) + bam([record(pos=2)], b"") + EOF_BLOCK)
    done = convert(path, tmp_path / "out.bams3")
    assert (done.kind, "warning" in done.err) == ("", False)
    assert run("query", "--count", tmp_path / "out.bams3").out == "2\n"


def test_odd_but_legal_records_are_read_and_come_back(tmp_path):
    path = tmp_path / "odd.bam"
    odd = [
        record(b"", pos=-1, cigar="*", seq=""),
        record(b"no nul", pos=0, nul=b""),
        record(b"x" * 254, pos=0, cigar="0M4M0D", quals=b"\xff" * 4),
        record(pos=999_999, cigar="4M", tags=[tag("NM", "C", 1), tag("NM", "C", 2), tag("NM", "Z", b"")]),
        record(pos=2**31 - 1, cigar="4S", seq="=RYN"),
        record(contig=1, pos=7, flag=0xFFFF, cigar="9M"),
        record(contig=-1, pos=50, flag=4, mate_contig=1, mate_pos=-5, tlen=-(2**31)),
        record(contig=-1, pos=-1, flag=0, cigar="4M"),
    ]
    path.write_bytes(bam(odd))
    store = tmp_path / "out.bams3"
    assert convert(path, store).kind == ""
    assert run("verify", "--quiet", store).kind == ""
    assert run("export", "--quiet", "--no-index", store, tmp_path / "back.bam").kind == ""
    whole = [*odd[:1], record(b"no nul", pos=0), *odd[2:]]
    assert convert(tmp_path / "back.bam", tmp_path / "again.bams3").kind == ""
    assert objects(tmp_path / "again.bams3") == objects(store)
    (tmp_path / "whole.bam").write_bytes(bam(whole))
    assert convert(tmp_path / "whole.bam", tmp_path / "third.bams3").kind == ""
    assert objects(tmp_path / "third.bams3") == objects(store)


@pytest.mark.parametrize(
    ("source", "kind"), [("nothing.bam", "no-such-file"), (".", "not-a-file"), ("/dev/null", "not-a-file")]
)
def test_an_input_that_is_no_file_is_told(tmp_path, monkeypatch, source, kind):
    monkeypatch.chdir(tmp_path)
    assert convert(source, "out.bams3").kind == kind
    assert not Path("out.bams3").exists()


# ---- outputs that are in the way, or full ----


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.bam"
    path.write_bytes(bam([record(pos=0), record(pos=950_000)]))
    return path


def test_an_output_that_exists_is_kept(good, tmp_path):
    store = tmp_path / "out.bams3"
    assert convert(good, store).kind == ""
    before = objects(store)
    done = convert(good, store)
    assert done.kind == "output-exists"
    assert "--force" in done.err
    assert objects(store) == before


@pytest.mark.parametrize(
    "name", ["notes.txt", "data/notes.txt", ".hidden", "_metadata.json.bak", "data/chr1/x.chunk"]
)
def test_a_folder_that_holds_other_things_is_left_alone(good, tmp_path, name):
    other = tmp_path / "out.bams3" / name
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    assert convert(good, tmp_path / "out.bams3").kind == "output-exists"
    assert convert(good, tmp_path / "out.bams3", "--force").kind == "output-exists"
    assert objects(tmp_path / "out.bams3") == {name: b"mine"}


def test_force_never_removes_what_is_not_a_stores(good, tmp_path):
    store = tmp_path / "out.bams3"
    assert convert(good, store).kind == ""
    (store / "notes.txt").write_text("mine")
    convert(good, store, "--force", "--chunk-size", "8M")
    assert (store / "notes.txt").read_text() == "mine"


def test_a_file_in_the_place_of_the_output_is_kept(good, tmp_path):
    (tmp_path / "out.bams3").write_text("mine")
    for options in ([], ["--force"]):
        assert convert(good, tmp_path / "out.bams3", *options).kind == "output-exists"
    assert (tmp_path / "out.bams3").read_text() == "mine"


def test_an_empty_folder_is_not_in_the_way(good, tmp_path):
    (tmp_path / "out.bams3").mkdir()
    assert convert(good, tmp_path / "out.bams3").kind == ""


def limited_files():
    """In a child: no file may pass 3,000 bytes, as if the disk were full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))


def large_bam(path, n=20_000):
    """Records with random qualities, 20 bp apart, not compressed: 142 bytes each."""
    one = np.frombuffer(record(b"r", cigar="50M", seq="ACGTT" * 10, tags=[tag("NM", "C", 1)]), np.uint8)
    rows = np.tile(one, (n, 1))
    rows[:, 8:12] = (np.arange(n, dtype="<u4") * 20).view(np.uint8).reshape(n, 4)
    rows[:, -54:-4] = np.random.default_rng(1).integers(0, 60, (n, 50), np.uint8)
    contigs = (("chr1", 20 * n + 100),)
    path.write_bytes(bgzf(header_bytes(contigs) + rows.tobytes(), level=0) + EOF_BLOCK)
    return path


def test_a_full_disk_is_told_and_leaves_no_store(tmp_path):
    source, store = large_bam(tmp_path / "large.bam", 2000), tmp_path / "out.bams3"
    done = run_apart("convert", "--quiet", source, store, preexec_fn=limited_files)
    assert done.kind == "disk"
    assert is_no_store(store)
    assert not [key for key in objects(store) if key.endswith(".partial")]
    assert convert(source, store).kind == ""
    assert run("verify", "--quiet", store).kind == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_disk_that_fills_up_is_told_and_leaves_no_store(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        done = run_apart("convert", "--quiet", large_bam(tmp_path / "large.bam", 20_000), disk / "out.bams3")
        assert done.kind == "disk"
        assert "No space left" in done.err
        assert is_no_store(disk / "out.bams3")
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    "arguments",
    [["query", "--count"], ["query", "--tsv", "chr1"], ["query"], ["query", "-b"], ["verify", "--json"]],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_standard_output_is_told(good, tmp_path, arguments):
    store = tmp_path / "out.bams3"
    assert convert(good, store).kind == ""
    with open("/dev/full", "w") as full:
        command, *options = arguments
        regions = [options.pop()] if options[-1:] == ["chr1"] else []
        done = run_apart(command, *options, store, *regions, stdout=full)
    assert done.kind in ("disk-full", "write-failed")


# ---- signals ----


def heed_interrupts() -> None:
    """Undo what a shell does to jobs in the background, and nohup: their children would ignore signals."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_stopped_conversion_says_so_and_leaves_no_store(tmp_path, number, code):
    data, store = large_bam(tmp_path / "large.bam", 150_000).read_bytes(), tmp_path / "out.bams3"
    options = ["--quiet", "--chunk-size", "256K", "--workers", "2"]
    pipes = {"stdin": subprocess.PIPE, "text": False, "preexec_fn": heed_interrupts}
    with start("convert", *options, "-", store, **pipes) as process:
        try:
            process.stdin.write(data[:-100])  # all but the end: it is at work, and waits
            process.stdin.flush()
            until(lambda: any(store.rglob("*.chunk")))
        finally:
            process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert b"Traceback" not in err
    assert len(err.splitlines()) <= 1
    assert is_no_store(store)


def until(true, patience_s=20.0):
    """Wait for something to become true."""
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_reader_that_goes_away_ends_a_query_quietly(tmp_path):
    store = tmp_path / "out.bams3"
    assert convert(large_bam(tmp_path / "large.bam", 20_000), store).kind == ""
    for options in ([], ["-b"], ["--with-header", "chr1"]):
        with start("query", *options[:1], store, *options[1:], text=False) as process:
            process.stdout.read(10)
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 0


# ---- stores that are wrong ----


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of several chunks, row groups and contigs, and unplaced reads."""
    folder = tmp_path_factory.mktemp("store")
    several = [record(b"r%d" % i, pos=i * 2000, tags=[tag("NM", "C", i % 5)]) for i in range(400)]
    several += [record(contig=1, pos=i) for i in range(20)] + [record(contig=-1, pos=-1, flag=4)] * 3
    (folder / "in.bam").write_bytes(bam(several))
    assert convert(folder / "in.bam", folder / "s.bams3", "--chunk-size", "256K").kind == ""
    return folder / "s.bams3"


@pytest.fixture
def copy(store, tmp_path):
    shutil.copytree(store, tmp_path / "copy.bams3")
    return tmp_path / "copy.bams3"


def questions(path):
    """Kinds of errors of every command on a store."""
    asked = [
        run("verify", "--quiet", path),
        run("query", "--count", path),
        run("query", "--count", path, "chr1"),
        run("query", "--count", path, "chr1:300,000-600,000"),
        run("query", "-u", "-o", path.with_suffix(".1.bam"), path, "chr1:300,000-600,000"),
        run("export", "--quiet", "--force", path, path.with_suffix(".2.bam")),
    ]
    return [done.kind for done in asked]


def flip(path, at=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 0x04
    path.write_bytes(data)


def test_a_good_store_answers(copy):
    assert questions(copy) == [""] * 6


def test_a_store_without_manifest_is_none(copy):
    (copy / "_metadata.json").unlink()
    assert set(questions(copy)) == {"not-a-store"}


def test_nothing_is_no_store(tmp_path):
    (tmp_path / "empty.bams3").mkdir()
    assert set(questions(tmp_path / "empty.bams3")) == {"not-a-store"}
    assert set(questions(tmp_path / "nothing.bams3")) == {"not-a-store"}


def test_any_flipped_byte_of_the_manifest_is_seen(copy):
    size = (copy / "_metadata.json").stat().st_size
    for at in range(0, size, 5):
        flip(copy / "_metadata.json", at)
        done = run("query", "--count", copy)
        assert done.kind == "bad-manifest"
        assert str(copy) in done.err
        flip(copy / "_metadata.json", at)
    assert questions(copy) == [""] * 6


def head_bytes_of(path):
    """Bytes of a chunk's head, which only those read who have no index."""
    return chunk.parse_head(path.read_bytes()).head_bytes if path.suffix == ".chunk" else 0


@pytest.mark.parametrize("prefix", ["_header", "_index", "data/chr1/0000256000", "data/chr2", "data/%2A"])
def test_a_flipped_byte_of_any_object_is_seen_and_named(copy, prefix):
    [path] = [copy / key for key in objects(copy) if key.startswith(prefix)]
    head_bytes = head_bytes_of(path)
    for at in range(0, path.stat().st_size, max(1, path.stat().st_size // 23)):
        flip(path, at)
        done = run("verify", "--quiet", copy)
        assert done.kind in ("damaged", "bad-checksum")
        assert path.name in done.out + done.err
        assert done.code == 3
        exported = run("export", "--quiet", "--force", copy, copy.with_suffix(".bam"))
        assert exported.kind in ("", "bad-checksum")
        assert exported.kind or prefix == "_index" or at < head_bytes
        flip(path, at)
    assert questions(copy) == [""] * 6


@pytest.mark.parametrize("prefix", ["_header", "_index", "data/chr1/0000256000"])
@pytest.mark.parametrize("how", ["missing", "empty", "half", "longer"])
def test_an_object_that_is_missing_or_cut_is_named(copy, prefix, how):
    [path] = [copy / key for key in objects(copy) if key.startswith(prefix)]
    data = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "longer": data + b"x"}[how])
    done = run("verify", "--quiet", copy)
    assert done.kind in ("damaged", "bad-checksum", "missing-object")
    assert path.name in done.out + done.err
    assert all(kind in ("", "damaged", "bad-checksum", "missing-object") for kind in questions(copy))


def test_a_chunk_of_another_store_under_the_right_name_is_seen(copy, tmp_path):
    other = tmp_path / "other.bams3"
    (tmp_path / "other.bam").write_bytes(bam([record(b"x%d" % i, pos=300_000 + i) for i in range(200)]))
    assert convert(tmp_path / "other.bam", other, "--chunk-size", "256K").kind == ""
    [foreign] = other.rglob("*.chunk")
    [mine] = [copy / key for key in objects(copy) if key.startswith("data/chr1/0000256000")]
    shutil.copy(foreign, mine)
    verified = run("verify", "--quiet", copy)
    assert verified.kind == "damaged"
    assert mine.name in verified.out
    assert questions(copy)[3:] == ["bad-checksum"] * 3


def test_chunks_that_changed_places_are_seen(copy):
    first, second = sorted((copy / "data" / "chr1").iterdir())[:2]
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    assert run("verify", "--quiet", copy).kind == "damaged"
    assert run("export", "--quiet", copy, copy.with_suffix(".bam")).kind == "bad-checksum"


def rewritten(store, change):
    """Change the manifest's JSON and make its checksum right again."""
    path = store / "_metadata.json"
    value = json.loads(path.read_bytes())
    del value["crc32"]
    change(value)
    path.write_bytes(render(value))


@pytest.mark.parametrize(
    ("version", "kind"), [("1.0", "newer-format"), ("2.7", "newer-format"), ("0.8", "older-format")]
)
def test_another_version_is_refused_and_the_cure_is_named(copy, version, kind):
    rewritten(copy, lambda value: value.update(version=version))
    done = run("query", "--count", copy)
    assert done.kind == kind
    assert version in done.err
    assert "hint: " in done.err


LIES = {
    "no records": lambda v: v.pop("records"),
    "text for records": lambda v: v.update(records="many"),
    "negative records": lambda v: v.update(records=-1),
    "infinite records": lambda v: v.update(records=float("inf")),
    "true records": lambda v: v.update(records=True),
    "no chunks": lambda v: v.pop("chunks"),
    "a version that is none": lambda v: v.update(version="new"),
    "no index": lambda v: v.pop("index"),
    "an index of text": lambda v: v.update(index="x"),
    "more contigs": lambda v: v.update(contigs=10**9),
    "fewer contigs": lambda v: v.update(contigs=1),
    "contig names of numbers": lambda v: v["index"].update(contigs=[[1, 5], [2, 5]]),
    "negative contigs": lambda v: v["index"].update(contigs=[["chr1", -5], ["chr2", 5]]),
    "contigs of 2^64": lambda v: v["index"].update(contigs=[["chr1", 2**64], ["chr2", 5]]),
    "a section that is not there": lambda v: v["index"]["sections"][0].update(contigs=[7, 1]),
    "a section of text": lambda v: v["index"]["sections"][0].update(contigs=["a", "b"]),
    "a section of too many": lambda v: v["index"]["sections"][0].update(contigs=[0, 10**12]),
    "an offset of 2^70": lambda v: v["index"].update(totals=[2**70, 4, 0]),
    "an offset of text": lambda v: v["index"].update(totals=["0", 4, 0]),
    "no costs": lambda v: v["index"].pop("costs"),
    "costs of two numbers": lambda v: v["index"].update(costs=[0, 4]),
    "a header elsewhere": lambda v: v["header"].update(key="../../etc/passwd"),
    "depth of text": lambda v: v["index"]["sections"][0].update(depth=[["x", 0, 0, 0]]),
    "depth of a list": lambda v: v["index"]["sections"][0].update(depth=[[[], 0, 0, 0]]),
    "no span": lambda v: v.pop("chunk_span_bp"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_under_a_right_checksum_is_refused(copy, lie):
    rewritten(copy, LIES[lie])
    assert set(questions(copy)) == {"bad-manifest"}


@pytest.mark.parametrize("size", [2**40, 2**31, 10**15])
def test_a_range_that_claims_too_much_reserves_nothing(copy, size):
    rewritten(copy, lambda value: value["index"].update(totals=[0, size, 0]))
    assert run("query", "--count", copy, "chr1").kind in ("bad-manifest", "bad-checksum")


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"7", b'{"format": "zarr"}', b"\x80", b"[" * 100_000],
    ids=lambda d: d[:9],
)
def test_a_manifest_of_something_else_is_no_store(copy, data):
    (copy / "_metadata.json").write_bytes(data)
    assert run("query", "--count", copy).kind in ("not-a-store", "bad-manifest")


def test_a_manifest_cut_anywhere_is_refused(copy):
    data = (copy / "_metadata.json").read_bytes()
    for end in range(0, len(data) - 1, 7):
        (copy / "_metadata.json").write_bytes(data[:end])
        assert run("query", "--count", copy).kind in ("bad-manifest", "newer-format")


def test_manifests_are_rendered_and_parsed_alike(copy):
    data = (copy / "_metadata.json").read_bytes()
    parsed = manifest.parse(data)
    assert parsed.records == 423
    assert parsed.n_contigs == 2
    value = {key: item for key, item in parsed.text.items() if key != "crc32"}
    assert render(value) == data
    assert crc32(data[: data.rindex(b'"crc32"')]) == int(parsed.text["crc32"], 16)


def test_a_contig_table_of_the_index_is_checked_like_the_manifests(tmp_path):
    path, store = tmp_path / "many.bam", tmp_path / "many.bams3"
    contigs = tuple((f"contig{i}", 1000) for i in range(1500))
    path.write_bytes(bam([record(contig=i, pos=3) for i in range(0, 1500, 100)], header_bytes(contigs)))
    assert convert(path, store).kind == ""
    assert run("query", "--count", store, "contig700").out == "1\n"
    rewritten(store, lambda value: value.update(contigs=1499))
    assert run("query", "--count", store, "contig700").kind == "bad-manifest"
