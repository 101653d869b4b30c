"""A BAM converted in slices, in any order, killed, raced or damaged: the store is that of one process."""

import functools
import random

import pytest
import sliced_bams
from bam_records import record, tag
from commands import convert
from sliced_bams import (
    OPTIONS,
    bam_of,
    kinds,
    plain,
    random_reads,
    run_slice,
    run_slices,
    seal,
    source_of,
)
from test_resume import DyingStore, KilledError

from bams3.converter import ConvertOptions
from bams3.errors import Bams3Error, InputError
from bams3.ingest import convert as ingest
from bams3.slices import Slice, format_slice_list, format_slices, parse_slice, parse_slice_list
from bams3.slicing import convert_slice
from bams3.store import MemoryStore

KINDS = kinds()
SOME = KINDS["one-contig"]
each_kind = pytest.mark.parametrize("name", KINDS)


@functools.cache
def store_of(name):
    """Objects of the store that one process makes of a kind of BAM."""
    return plain(KINDS[name])


# ---- the option ----


def test_a_slice_is_read_as_it_is_written():
    assert parse_slice("3/8") == Slice(3, 8)
    assert str(Slice(3, 8)) == "3/8"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0/8", "slices are numbered from 1/8 to 8/8"),
        ("9/8", "slices are numbered from 1/8 to 8/8"),
        ("1/0", "work is cut into 1 to 100,000 slices"),
        ("1/100001", "work is cut into 1 to 100,000 slices"),
        *[
            (text, "not a slice")
            for text in ("x", "", "3", "3/", "/8", "-1/8", "3/8/9", "1.5/8", "٣/8", " 3/8")
        ],
    ],
)
def test_what_is_no_slice_is_told(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        parse_slice(text)
    done = convert("in.bam", tmp_path / "out.bams3", f"--slice={text}")
    assert done.kind == "bad-slice"
    assert words in done.err


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([3], "slice 3/9"),
        ([5, 3], "slices 3/9 and 5/9"),
        ([1, 2], "slices 1/9 and 2/9"),
        ([1, 2, 3, 4], "slices 1/9 to 4/9"),
        ([1, 3, 4, 5, 9], "slices 1/9, 3/9 to 5/9 and 9/9"),
    ],
)
def test_slices_are_named_shortly(numbers, words):
    assert format_slices(Slice(i, 9) for i in numbers) == words


@pytest.mark.parametrize("numbers", [[1], [100_000], [1, 2], [3, 7, 8, 9, 12], list(range(2, 99, 2))])
def test_a_list_of_slices_is_read_as_it_is_written(numbers):
    assert parse_slice_list(format_slice_list(numbers, 100_000)) == (numbers, 100_000)


def test_runs_in_a_list_of_slices_are_written_as_such():
    assert format_slice_list([1, 3, 4, 5, 9], 9) == "1,3-5,9/9"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *(
            (text, "not a list of slices")
            for text in ("", "/9", "1", "1,/9", "1-/9", "1 2/9", "a/9", "1-2-3/9", "-1/9")
        ),
        *(
            (text, "not slices from 1 to 9 that ascend")
            for text in ("0/9", "10/9", "3-2/9", "2,2/9", "1-3,3/9", "9-10/9")
        ),
        ("1/100001", "work is cut into 1 to 100,000 slices"),
        ("1-999999999/9", "not slices from 1 to 9 that ascend"),
    ],
)
def test_what_is_no_list_of_slices_is_told(text, words):
    with pytest.raises(InputError, match=words):
        parse_slice_list(text)


# ---- the same bytes ----


@each_kind
@pytest.mark.parametrize("n", [1, 2, 3, 8, 50])
def test_a_sealed_store_is_that_of_one_process(name, n):
    store = MemoryStore()
    reports = run_slices(KINDS[name], store, n)
    assert "_metadata.json" not in store.objects
    store.forget()
    report = seal(KINDS[name], store)
    assert store.objects == store_of(name)
    assert sum(one.records for one in reports.values()) == report.records
    assert sum(one.chunks for one in reports.values()) == report.chunks
    assert not [key for key, _, _ in store.ranges if key.startswith("data/")]  # no chunk is read again


@pytest.mark.parametrize("options", [[], ["-c"]], ids=["bai", "csi"])
@each_kind
def test_a_store_cut_by_an_index_is_that_of_one_process(tmp_path, name, options):
    known = sliced_bams.index_of(tmp_path, KINDS[name], *options)
    for n in (2, 8):
        store = MemoryStore()
        run_slices(KINDS[name], store, n, known=known)
        seal(KINDS[name], store)
        assert store.objects == store_of(name)


@pytest.mark.parametrize("seed", range(12))
def test_random_files_and_options_give_the_store_of_one_process(tmp_path, seed):
    chance = random.Random(seed)
    contigs = tuple((f"c{i}", chance.choice((300, 9_000, 60_000))) for i in range(chance.randint(1, 9)))
    reads = random_reads(chance, chance.randint(1, 900), contigs, chance.choice((20, 3_000)))
    data = bam_of(
        [*reads, *sliced_bams.unplaced(chance.choice((0, 60)))],
        contigs,
        chance.choice((300, 5_000, 60_000)),
        chance.random() < 0.5,
    )
    options = ConvertOptions(chance.choice((1_000, 8_000, 50_000)), chance.choice((7, 90)), workers=1)
    store, n = MemoryStore(), chance.randint(2, 12)
    run_slices(data, store, n, options)
    seal(data, store, options)
    assert store.objects == plain(data, options)


# ---- killed, and run again ----


def noted(store):
    return {key for key in store.objects if key.startswith("_resume/")}


@pytest.mark.parametrize("behind", [True, False], ids=["behind", "before"])
def test_a_slice_killed_at_any_write_goes_on_from_its_last_finished_span(behind):
    whole = run_slice(SOME, MemoryStore(), 2, 3)
    assert whole.spans_encoded > 3
    resumed = []
    for writes in range(40):
        left = {}
        try:
            run_slice(SOME, DyingStore(left, writes, behind), 2, 3)
        except KilledError:
            assert behind or not [key for key in left if key.endswith("done.json")]
        else:
            break
        store = DyingStore(left, 1_000, behind)
        report = run_slice(SOME, store, 2, 3)
        assert report.spans_encoded + report.spans_resumed == whole.spans_encoded
        assert report.records == whole.records
        resumed.append(report.spans_resumed)
        run_slices(SOME, store, 3, only=(3, 1))
        seal(SOME, store)
        assert left == store_of("one-contig")
    assert resumed == sorted(resumed)
    assert {resumed[0], resumed[-1]} == {0, whole.spans_encoded}


def test_a_slice_that_is_done_does_nothing():
    store = MemoryStore()
    first = run_slice(SOME, store, 2, 3)
    before = dict(store.objects)
    store.forget()
    report = run_slice(SOME, store, 2, 3)
    assert (report.spans_encoded, report.spans_resumed) == (0, first.spans_encoded)
    assert store.requests.puts == 0
    assert store.objects == before


def test_slices_without_spans_are_done_at_once():
    store = MemoryStore()
    reports = run_slices(KINDS["amplicon"], store, 8)
    assert sum(report.records > 0 for report in reports.values()) <= 2
    assert len([key for key in noted(store) if key.endswith("done.json")]) == 8


def with_note_changed(store, change, which=1):
    """Change a note of a span of slice 2/3."""
    key = sorted(key for key in noted(store) if "/2-of-3." in key and "done" not in key)[which]
    change(store.objects, key)
    return key


DAMAGE = {
    "flipped": lambda objects, key: objects.update({key: objects[key][:90] + b"7" + objects[key][91:]}),
    "cut": lambda objects, key: objects.update({key: objects[key][:-9]}),
    "empty": lambda objects, key: objects.update({key: b""}),
    "gone": lambda objects, key: objects.pop(key),
    "not-json": lambda objects, key: objects.update({key: b"\xff[["}),
    "of-another": lambda objects, key: objects.update({key: objects[max(noted_in(objects))]}),
}


def noted_in(objects):
    return [key for key in objects if "/2-of-3." in key and "done" not in key]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_note_is_not_believed(damage):
    store = MemoryStore()
    run_slices(SOME, store, 3)
    with_note_changed(store, DAMAGE[damage])
    before = dict(store.objects)
    with pytest.raises(InputError, match=r"slice 2/3 is not done") as caught:
        seal(SOME, store)
    assert caught.value.kind == "slices-missing"
    assert store.objects == before
    report = run_slice(SOME, store, 2, 3)
    assert report.spans_resumed == 1
    seal(SOME, store)
    assert store.objects == store_of("one-contig")


def test_what_a_killed_runner_was_writing_is_no_note():
    store = MemoryStore()
    run_slices(SOME, store, 3)
    for key in noted(store):
        folder, _, name = key.rpartition("/")
        store.put(f"{folder}/.{name}.9.9.partial", store.objects[key][:50])
    assert run_slice(SOME, store, 2, 3).spans_encoded == 0
    seal(SOME, store)
    assert store.objects == store_of("one-contig")


@pytest.mark.parametrize("at", range(0, 400, 13))
def test_a_note_with_a_flipped_byte_is_not_believed(at):
    store = MemoryStore()
    run_slices(SOME, store, 3)
    key = sorted(key for key in noted(store) if "/2-of-3." in key)[at % 3]
    data = bytearray(store.objects[key])
    data[at * 7 % len(data)] ^= 1
    store.objects[key] = bytes(data)
    with pytest.raises(InputError, match=r"slice 2/3 is not done"):
        seal(SOME, store)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:50] + b"x" + data[51:], None])
def test_a_slice_whose_chunk_is_damaged_or_gone_is_done_again(damage):
    store = MemoryStore()
    run_slices(SOME, store, 3)
    key = sorted(key for key in store.objects if key.startswith("data/"))[6]
    data = store.objects.pop(key)
    if damage:
        store.objects[key] = damage(data)
    if damage is None or len(damage(data)) != len(data):  # other bytes are for verify: seal reads no chunk
        with pytest.raises(InputError, match=r"slice ./3 is not done"):
            seal(SOME, store)
    run_slices(SOME, store, 3)
    seal(SOME, store)
    assert store.objects == store_of("one-contig")


# ---- what is not there, or not of this conversion ----


def test_a_seal_names_the_slices_that_are_missing_and_changes_nothing():
    store = MemoryStore()
    run_slices(SOME, store, 8, only=(1, 2, 4, 6, 7, 8))
    before = dict(store.objects)
    with pytest.raises(InputError, match=r"^memory: slices 3/8 and 5/8 are not done$") as caught:
        seal(SOME, store)
    assert (caught.value.kind, caught.value.exit_code) == ("slices-missing", 2)
    assert store.objects == before


def test_a_seal_without_slices_says_so():
    store = MemoryStore()
    with pytest.raises(InputError, match="holds no slices of x.bam") as caught:
        seal(SOME, store)
    assert "--slice 1/8" in caught.value.hint
    run_slice(SOME, store, 1, 2)
    with pytest.raises(InputError, match="holds no slices of x.bam") as caught:
        seal(SOME, store, ConvertOptions(8000, 101))
    assert "of other options" in caught.value.hint


def test_slices_of_other_options_numbers_or_inputs_are_not_mixed():
    store, other = MemoryStore(), ConvertOptions(8000, 101)
    run_slices(SOME, store, 3, only=(1, 2))
    run_slices(SOME, store, 3, other, only=(3,))
    run_slices(SOME, store, 4, only=(3, 4))
    convert_slice(source_of(SOME, mtime_ns=3), store, OPTIONS, Slice(3, 3))
    with pytest.raises(InputError, match=r"slice 3/3 is not done"):
        seal(SOME, store)
    run_slice(SOME, store, 3, 3)
    seal(SOME, store)
    assert store.objects == store_of("one-contig")


def test_of_several_numbers_of_slices_the_one_that_is_complete_is_sealed():
    store = MemoryStore()
    run_slices(SOME, store, 2, only=(2,))
    run_slices(SOME, store, 5)
    run_slices(SOME, store, 9, only=(1, 2, 3))
    seal(SOME, store)
    assert store.objects == store_of("one-contig")


def test_slices_that_were_cut_elsewhere_are_not_mixed(tmp_path):
    data = KINDS["tiny-contigs"]
    known, store = sliced_bams.index_of(tmp_path, data), MemoryStore()
    known = known[len(known) // 3 :: 40]
    run_slices(data, store, 4, only=(1, 2))
    run_slices(data, store, 4, only=(3, 4), known=known)
    with pytest.raises(InputError, match="not all cut at the same places") as caught:
        seal(data, store)
    assert caught.value.kind == "bad-cut"
    reports = run_slices(data, store, 4, known=known)
    assert sum(report.spans_resumed > 0 for report in reports.values()) >= 1
    seal(data, store)
    assert store.objects == store_of("tiny-contigs")


def test_a_plain_conversion_after_slices_makes_the_store_and_removes_their_notes():
    store = MemoryStore()
    run_slices(SOME, store, 3, only=(1, 3))
    run_slices(SOME, store, 3, ConvertOptions(5_000), only=(2,))
    ingest(source_of(SOME), store, OPTIONS)
    assert store.objects == store_of("one-contig")


# ---- files that are wrong ----


def refused(data, n):
    """Kinds of errors of the slices and of the seal; there is no store then."""
    store, found = MemoryStore(), set()
    for i in range(1, n + 1):
        try:
            run_slice(data, store, i, n)
        except Bams3Error as err:
            found.add(err.kind)
    with pytest.raises(Bams3Error) as caught:
        seal(data, store)
    assert "_metadata.json" not in store.objects
    return found | {caught.value.kind}


@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_a_file_that_is_not_sorted_is_refused_by_slices_too(n):
    reads = [record(b"r%d" % i, pos=i * 50) for i in range(1_000)]
    for swap in (300, 500, 990):
        mixed = [*reads[:swap], reads[swap - 290], *reads[swap:]]
        assert refused(bam_of(mixed), n) == {"unsorted", "slices-missing"}
    assert "unsorted" in refused(bam_of(reads[500:] + reads[:500]), n)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_file_that_was_cut_short_is_refused_by_slices_too(n):
    assert refused(SOME[:-500], n) == {"truncated-file", "slices-missing"}


@pytest.mark.parametrize("n", [2, 7])
def test_a_damaged_block_is_told_with_its_slice(n):
    damaged = bytearray(SOME)
    damaged[len(SOME) // 2] ^= 0x10
    assert refused(bytes(damaged), n) <= {"bad-bgzf-crc", "bad-bgzf-block", "bad-cut", "slices-missing"}


def test_a_bad_record_is_told_with_its_slice():
    reads = [record(b"r%d" % i, pos=i * 50) for i in range(900)]
    reads[700] = record(b"bad", pos=700 * 50, cigar="3M")
    words = r"^slice 3/3 of x.bam: record [0-9]{1,2}: CIGAR and sequence differ"
    with pytest.raises(Bams3Error, match=words) as caught:
        run_slice(bam_of(reads), MemoryStore(), 3, 3)
    assert caught.value.kind == "cigar-mismatch"


@pytest.mark.parametrize("seed", range(8))
def test_bytes_that_look_like_records_never_make_a_wrong_store(seed):
    chance = random.Random(seed)
    contigs = (("chr1", 90_000),)
    fakes = b"".join(random_reads(chance, 400, contigs))
    real = list(random_reads(chance, 60, contigs))
    trap = record(b"t", pos=40_000, tags=[tag("ZZ", "BC", b"\0" * chance.randint(0, 9) + fakes)])
    reads = sorted([*real, trap], key=lambda one: int.from_bytes(one[8:12], "little"))
    data = bam_of(reads, contigs, chance.choice((500, 4_000)))
    wanted, found = plain(data), set()
    for n in (2, 3, 9):
        store = MemoryStore()
        try:
            run_slices(data, store, n)
            seal(data, store)
            assert store.objects == wanted
        except Bams3Error as err:
            assert "_metadata.json" not in store.objects
            found.add(err.kind)
    assert found <= {"bad-cut", "bad-record", "unsorted", "bad-tag", "cigar-mismatch"}
    assert found or seed != 1  # they do mislead
