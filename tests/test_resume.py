"""Conversions that are killed, repeated, raced or redone: always the same bytes, never a half store."""

import io
import json
import random
import signal
import struct
import subprocess

import bam_bytes
import pytest
from bam_records import EOF_BLOCK, bgzf, header_bytes, record, tag
from commands import convert, objects, run, run_apart, start
from test_hostile import is_no_store, large_bam, until

from bams3.errors import InputError
from bams3.ingest import ConvertOptions, Source
from bams3.ingest import convert as ingest
from bams3.query import StoreReader, open_store
from bams3.store import MemoryStore
from bams3.verify import named_keys, verify

CONTIGS = tuple((f"chr{i}", 3_000_000) for i in range(1, 7))
IDENTITY = {"size_bytes": 1, "mtime_ns": 2}
CUTS = ("--chunk-size", "256K")


class KilledError(Exception):
    """Stands in for a kill."""


class DyingStore(MemoryStore):
    """A store whose writer is killed at its n-th write, before or behind it."""

    def __init__(self, objects, writes_left, behind):
        super().__init__()
        self.objects = objects
        self._left, self._behind = writes_left, behind

    def put(self, key, data):
        self._left -= 1
        if self._left < 0 and not self._behind:
            raise KilledError
        super().put(key, data)
        if self._left < 0:
            raise KilledError

    def put_if_absent(self, key, data):
        if self._left < 0:
            raise KilledError
        return super().put_if_absent(key, data)


@pytest.fixture(scope="module")
def small():
    """A BAM of small blocks with seven spans on three contigs and unplaced reads, and its store's objects."""
    tags = [tag("NM", "C", 1)]
    several = [record(b"r%d" % i, pos=i * 77, tags=tags * (i % 3)) for i in range(400)]
    several += [record(contig=1, pos=i * 9, mate_contig=0) for i in range(90)]
    several += [record(contig=-1, pos=-1, flag=4, cigar="*") for _ in range(30)]
    header = header_bytes((("chr1", 40_000), ("chr2", 900), ("chr3", 5)))
    data = bgzf(header + b"".join(several), block_bytes=700) + EOF_BLOCK
    store = MemoryStore()
    report = converted(data, store)
    assert report.spans_encoded == 6
    return data, store.objects


def converted(data, store, seekable=True, **options):
    source = Source("small.bam", io.BytesIO(data), IDENTITY, seekable)
    return ingest(source, store, ConvertOptions(span_bp=8000, chunk_records=40, **options))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_store_does_not_depend_on_the_number_of_workers(small, workers):
    store = MemoryStore()
    converted(small[0], store, workers=workers)
    assert store.objects == small[1]


@pytest.mark.parametrize("seekable", [True, False], ids=["seekable", "stream"])
@pytest.mark.parametrize("behind", [True, False], ids=["behind", "before"])
def test_a_conversion_killed_at_any_write_goes_on_and_ends_with_the_same_bytes(small, seekable, behind):
    data, wanted = small
    resumed = []
    for writes in range(30):
        left = {}
        try:
            converted(data, DyingStore(left, writes, behind), seekable)
        except KilledError:
            assert "_metadata.json" not in left
        store = DyingStore(left, 1000, behind)
        if "_metadata.json" in left:
            break
        report = converted(data, store, seekable)
        assert store.objects == wanted
        assert report.spans_encoded + report.spans_resumed == 6
        assert report.records == 520
        resumed.append(report.spans_resumed)
    assert resumed == sorted(resumed)
    assert {resumed[0], resumed[-1]} == {0, 6}


def test_a_conversion_killed_again_and_again_ends_with_the_same_bytes(small):
    data, wanted = small
    left, resumed = {}, []
    for _ in range(40):
        try:
            report = converted(data, DyingStore(left, 4, True))
        except KilledError:
            continue
        resumed.append(report.spans_resumed)
        break
    assert resumed[0] >= 4
    assert left == wanted


def notes_and_chunks(small, writes=12):
    """What a killed conversion leaves."""
    left = {}
    with pytest.raises(KilledError):
        converted(small[0], DyingStore(left, writes, True))
    notes = sorted(key for key in left if key.startswith("_resume/"))
    assert len(notes) >= 3
    return left, notes


@pytest.mark.parametrize("at", range(0, 200, 9))
def test_a_note_with_a_flipped_byte_is_not_believed(small, at):
    left, notes = notes_and_chunks(small)
    damaged = bytearray(left[notes[1]])
    damaged[at % len(damaged)] ^= 1
    left[notes[1]] = bytes(damaged)
    store = DyingStore(left, 1000, True)
    assert converted(small[0], store).spans_resumed == 1
    assert store.objects == small[1]


def test_a_note_about_a_damaged_or_missing_chunk_is_not_believed(small):
    for damage in (lambda data: data[:-1], lambda data: data[:50] + b"x" + data[51:], lambda _: None):
        left, _ = notes_and_chunks(small)
        key = max(key for key in left if key.startswith("data/chr1/0000008000"))
        data = damage(left.pop(key))
        left.update({key: data} if data else {})
        store = DyingStore(left, 1000, True)
        assert converted(small[0], store).spans_resumed == 1
        assert store.objects == small[1]


def test_notes_of_other_options_or_of_another_input_are_not_used(small):
    for options in ({"chunk_records": 41}, {"span_bp": 8001}):
        left, _ = notes_and_chunks(small)
        source = Source("small.bam", io.BytesIO(small[0]), IDENTITY, True)
        store = DyingStore(left, 1000, True)
        report = ingest(source, store, ConvertOptions(**{"span_bp": 8000, "chunk_records": 40} | options))
        assert report.spans_resumed == 0
        assert verify(StoreReader(store), 1).problems == []
    left, _ = notes_and_chunks(small)
    store = DyingStore(left, 1000, True)
    source = Source("small.bam", io.BytesIO(small[0]), IDENTITY | {"mtime_ns": 3}, True)
    assert ingest(source, store, ConvertOptions(span_bp=8000, chunk_records=40)).spans_resumed == 0
    assert store.objects == small[1]


def test_an_input_that_is_not_known_leaves_no_notes(small):
    left = {}
    source = Source("-", io.BytesIO(small[0]), None, False)
    with pytest.raises(KilledError):
        ingest(source, DyingStore(left, 12, True), ConvertOptions(span_bp=8000, chunk_records=40))
    assert not [key for key in left if key.startswith("_resume/")]


class RacedStore(MemoryStore):
    """A store where another conversion, of other options, wins before this one's manifest."""

    def __init__(self, data):
        super().__init__()
        self._data = data

    def put_if_absent(self, key, data):
        if self._data:
            other, self._data = self._data, None
            source = Source("other.bam", io.BytesIO(other), IDENTITY, True)
            ingest(source, self, ConvertOptions(span_bp=8000, chunk_records=99))
        return super().put_if_absent(key, data)


def test_of_two_conversions_the_second_to_finish_says_so_and_leaves_the_first_store_whole(small):
    store = RacedStore(small[0])
    with pytest.raises(InputError, match="written by another conversion") as caught:
        converted(small[0], store)
    assert caught.value.kind == "output-exists"
    reader = StoreReader(store)
    assert verify(reader, 1).problems == []
    assert set(store.objects) == {"_metadata.json", *named_keys(reader)}


def test_a_conversion_whose_notes_another_one_removes_says_that_the_other_won(small):
    data, store = small[0], MemoryStore()
    with pytest.raises(KilledError):
        converted(data, DyingStore(store.objects, 12, True))

    class Raced(MemoryStore):
        def list(self, prefix=""):
            keys = [*super().list(prefix)]
            if prefix and keys:  # the notes; the other one ends before they are read
                converted(data, store)
            return iter(keys)

    raced = Raced()
    raced.objects = store.objects
    with pytest.raises(InputError) as caught:
        converted(data, raced)
    assert caught.value.kind == "output-exists"
    assert store.objects == small[1]


# ---- the command ----


@pytest.fixture
def source(tmp_path):
    return large_bam(tmp_path / "in.bam", 30_000)


def test_stdin_and_any_number_of_workers_give_the_same_store(source, tmp_path):
    for number, options in enumerate((["--workers", "1"], ["--workers", "2"], ["--workers", "7"])):
        assert convert(source, tmp_path / f"{number}.bams3", *CUTS, *options).kind == ""
    with source.open("rb") as file:
        assert run_apart("convert", "--quiet", *CUTS, "-", tmp_path / "3.bams3", stdin=file).kind == ""
    stores = [objects(tmp_path / f"{number}.bams3") for number in range(4)]
    assert stores[0] == stores[1] == stores[2] == stores[3]
    assert sum(key.endswith(".chunk") for key in stores[0]) == 3
    provenance = json.loads((tmp_path / "3.bams3" / "_provenance.json").read_bytes())
    assert provenance["input"] == "-"


@pytest.mark.parametrize("options", [[], ["--force"]], ids=["plain", "force"])
def test_a_store_whose_manifest_an_engine_removed_is_made_again(source, tmp_path, options):
    store = tmp_path / "out.bams3"
    assert convert(source, store, *CUTS).kind == ""
    before = objects(store)
    (store / "_metadata.json").unlink()
    assert is_no_store(store)
    assert convert(source, store, *CUTS, *options).kind == ""
    assert objects(store) == before
    (store / "_metadata.json").unlink()
    assert convert(source, store, "--chunk-size", "300K", *options).kind == ""
    assert run("verify", "--quiet", store).kind == ""
    assert set(objects(store)) == {"_metadata.json", *named_keys(open_store(str(store)))}


def test_force_replaces_a_store_and_removes_its_objects(source, tmp_path):
    store, fresh = tmp_path / "out.bams3", tmp_path / "fresh.bams3"
    other = large_bam(tmp_path / "other.bam", 10_000)
    assert convert(source, store, *CUTS).kind == ""
    assert convert(other, store, "--force").kind == ""
    assert convert(other, fresh).kind == ""
    assert objects(store) == objects(fresh)
    assert run("query", "--count", store).out == "10000\n"


def test_a_forced_conversion_that_fails_leaves_the_old_store(source, tmp_path):
    store, bad = tmp_path / "out.bams3", tmp_path / "bad.bam"
    assert convert(source, store, *CUTS).kind == ""
    before = objects(store)
    bad.write_bytes(source.read_bytes()[:-500])
    assert convert(bad, store, "--force", *CUTS).kind == "truncated-file"
    assert before.items() <= objects(store).items()
    assert run("verify", "--quiet", store).kind == ""
    assert run("query", "--count", store).out == "30000\n"


def test_leftovers_of_a_killed_conversion_are_gone_after_the_next(source, tmp_path):
    store = tmp_path / "out.bams3"
    assert convert(source, store, *CUTS).kind == ""
    clean = objects(store)
    (store / "_metadata.json").unlink()
    for key in (
        "data/chr1/0000256000.0-00000000.chunk",
        "data/chr1/.0000256000.0-12345678.chunk.99.1.partial",
        "._metadata.json.99.1.partial",
        "data/chr9/0000000000.0-01234567.chunk",
        "_resume/0123456789abcdef/00000000.json",
        "_resume/0123456789abcdef/.00000001.json.99.1.partial",
        "_header-00000000.sam",
        "_index-00000000.bin",
    ):
        (store / key).parent.mkdir(parents=True, exist_ok=True)
        (store / key).write_bytes(b"half")
    assert convert(source, store, *CUTS).kind == ""
    assert objects(store) == clean
    assert not (store / "_resume").exists()
    assert not (store / "data" / "chr9").exists()


def test_two_conversions_at_once_leave_one_whole_store(source, tmp_path):
    store = tmp_path / "out.bams3"
    processes = [start("convert", "--quiet", "--workers", "1", *CUTS, source, store) for _ in range(3)]
    words = [process.communicate(timeout=60)[1] for process in processes]
    codes = sorted(process.returncode for process in processes)
    assert codes == [0, 2, 2], words
    assert sum("[output-exists]" in text for text in words) == 2
    assert "Traceback" not in "".join(words)
    assert run("verify", "--quiet", store).kind == ""
    assert convert(source, tmp_path / "alone.bams3", *CUTS).kind == ""
    assert objects(store) == objects(tmp_path / "alone.bams3")


def test_two_forced_conversions_of_other_options_at_once_leave_one_whole_store(source, tmp_path):
    store = tmp_path / "out.bams3"
    assert convert(source, store, *CUTS).kind == ""
    processes = [
        start("convert", "--quiet", "--force", "--chunk-size", size, source, store)
        for size in ("300K", "400K")
    ]
    words = [process.communicate(timeout=60)[1] for process in processes]
    assert {process.returncode for process in processes} <= {0, 2}, words
    assert 0 in [process.returncode for process in processes]
    assert "Traceback" not in "".join(words)
    assert run("verify", "--quiet", store).kind == ""
    assert set(objects(store)) == {"_metadata.json", *named_keys(open_store(str(store)))}


# ---- killed for good ----


@pytest.fixture(scope="module")
def spread(shared_data, tmp_path_factory):
    return spread_reads(shared_data, tmp_path_factory.mktemp("spread") / "spread.bam")


def spread_reads(shared_data, path):
    """50,000 real reads, spread over six contigs: 72 spans of 256 kb."""
    _, data = bam_bytes.parted(bam_bytes.decompressed(shared_data / "aln" / "NA12878.chr22.s.bam"))
    chance = random.Random(5)
    several = [bytearray(one) for one in bam_bytes.records(data)]
    places = sorted((chance.randrange(6), chance.randrange(2_999_000)) for _ in several)
    for one, (contig, pos) in zip(several, places, strict=True):
        struct.pack_into("<ii", one, 4, contig, pos)
        struct.pack_into("<ii", one, 24, contig, max(pos - 200, 0))
    header = header_bytes(CONTIGS)
    path.write_bytes(bgzf(header + b"".join(several), level=1) + EOF_BLOCK)
    return path


def kill_at(process, store, notes):
    """Kill -9 a conversion as soon as it has noted so many spans; whether it was still at work."""
    until(lambda: process.poll() is not None or count_notes(store) >= notes, 60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def count_notes(store):
    return len(list((store / "_resume").glob("*/*.json")))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["bam", "cram"])
def test_a_conversion_killed_three_times_ends_with_the_same_store_and_encodes_no_span_twice(
    spread, tmp_path, form
):
    source = spread
    if form == "cram":
        source = tmp_path / "spread.cram"
        run_samtools("view", "-C", "--output-fmt-option", "no_ref=1", "-o", source, spread)
    whole, store = tmp_path / "whole.bams3", tmp_path / "killed.bams3"
    options = ("--quiet", "--level", "9", *CUTS)
    assert run_apart("convert", *options, "--workers", "1", source, whole).kind == ""
    chance, noted = random.Random(form), 0
    for _ in range(3):
        process = start("convert", *options, "--workers", "2", source, store)
        assert kill_at(process, store, noted + chance.randint(3, 15))
        assert is_no_store(store)
        noted = count_notes(store)
    chunks = {path: path.stat().st_mtime_ns for path in store.rglob("*.chunk")}
    done = run_apart("convert", *options, "--workers", "2", "--json", source, store)
    report = json.loads(done.out)
    assert report["spans_resumed"] == noted >= 9
    assert report["spans_resumed"] + report["spans_encoded"] == 72
    assert report["records"] == 50_531
    assert objects(store) == objects(whole)
    kept = [path for path, mtime_ns in chunks.items() if path.stat().st_mtime_ns == mtime_ns]
    assert len(kept) >= noted
    assert run("verify", "--quiet", store).kind == ""


def run_samtools(command, *options):
    import pysam

    getattr(pysam.samtools, command)(*map(str, options), catch_stdout=False)


@pytest.mark.slow
def test_stores_of_real_reads_do_not_depend_on_workers_or_pipes(spread, tmp_path):
    made = []
    for workers in ("1", "2", "3"):
        out = tmp_path / f"{workers}.bams3"
        assert run_apart("convert", "--quiet", *CUTS, "--workers", workers, spread, out).kind == ""
        made.append(objects(out))
    with subprocess.Popen(["cat", spread], stdout=subprocess.PIPE) as cat:
        out = tmp_path / "pipe.bams3"
        assert run_apart("convert", "--quiet", *CUTS, "-", out, stdin=cat.stdout).kind == ""
    made.append(objects(out))
    assert all(one == made[0] for one in made)


@pytest.mark.slow
def test_conversions_killed_at_any_moment_never_leave_a_store_that_is_wrong(spread, tmp_path):
    store, chance = tmp_path / "out.bams3", random.Random(9)
    for _ in range(12):
        process = start("convert", "--quiet", "--force", *CUTS, spread, store)
        try:
            process.wait(chance.uniform(0.05, 1.2))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        if (store / "_metadata.json").exists():
            assert run("verify", "--quiet", store).kind == ""
    assert run_apart("convert", "--quiet", "--force", *CUTS, spread, store).kind == ""
    assert set(objects(store)) == {"_metadata.json", *named_keys(open_store(str(store)))}
