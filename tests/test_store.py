"""Stores: one contract for all of them, and what each question to a store may cost."""

import io
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import bam_bytes
import pytest
from bam_records import bam, header_bytes, record, tag

from bams3.errors import InputError, StoreError
from bams3.ingest import ConvertOptions, Source, convert
from bams3.query import OVERLAP, StoreReader
from bams3.store import LocalStore, MemoryStore, S3Options
from bams3.store.base import MissingObjectError


class StoreContract:
    """Every store subclasses this and supplies ``make``; the tests live here."""

    @pytest.fixture
    def store(self, tmp_path):
        return self.make(tmp_path)

    def test_an_object_is_what_was_put(self, store):
        store.put("data/chr1/a.chunk", b"abc")
        assert store.get("data/chr1/a.chunk") == b"abc"
        assert store.size("data/chr1/a.chunk") == 3
        assert store.exists("data/chr1/a.chunk")

    def test_a_second_put_replaces_the_first(self, store):
        store.put("a", b"first, and longer")
        store.put("a", b"second")
        assert store.get("a") == b"second"

    def test_an_empty_object_is_one(self, store):
        store.put("a", b"")
        assert (store.get("a"), store.size("a"), store.exists("a")) == (b"", 0, True)
        assert store.get_range("a", 0, 10) == b""

    @pytest.mark.parametrize(
        ("offset", "size", "wanted"),
        [(0, 3, b"012"), (7, 3, b"789"), (7, 99, b"789"), (10, 5, b""), (99, 5, b""), (4, 0, b"")],
    )
    def test_a_range_ends_where_the_object_does(self, store, offset, size, wanted):
        store.put("a", b"0123456789")
        assert store.get_range("a", offset, size) == wanted

    def test_a_range_that_claims_a_terabyte_is_what_there_is(self, store):
        store.put("a", b"0123456789")
        assert store.get_range("a", 8, 1 << 40) == b"89"

    def test_an_object_that_is_not_there_is_missing(self, store):
        store.put("data/a", b"x")
        for key in ("b", "data/b", "data", "data/a/b"):
            assert not store.exists(key)
            for work in (store.get, store.size, lambda key: store.get_range(key, 0, 1)):
                with pytest.raises(MissingObjectError, match=f"{key} is not there") as caught:
                    work(key)
                assert (caught.value.kind, caught.value.exit_code) == ("missing-object", 4)

    def test_second_writer_loses(self, store):
        assert store.put_if_absent("_metadata.json", b"first")
        assert not store.put_if_absent("_metadata.json", b"second")
        assert not store.put_if_absent("_metadata.json", b"first")
        assert store.get("_metadata.json") == b"first"

    def test_of_many_writers_one_wins(self, store):
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda i: store.put_if_absent("m", b"%d" % i), range(40)))
        assert sum(won) == 1
        assert store.get("m") == b"%d" % won.index(True)

    def test_an_object_is_replaced_only_if_it_is_what_was_expected(self, store):
        assert not store.put_if_match("m", b"new", b"old")
        assert not store.exists("m")
        store.put("m", b"old")
        assert not store.put_if_match("m", b"new", b"other")
        assert store.put_if_match("m", b"new", b"old")
        assert not store.put_if_match("m", b"newer", b"old")
        assert store.get("m") == b"new"

    def test_of_many_replacements_one_wins(self, store):
        store.put("m", b"old")
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda i: store.put_if_match("m", b"%d" % i, b"old"), range(40)))
        assert sum(won) == 1
        assert store.get("m") == b"%d" % won.index(True)

    def test_a_deleted_object_is_gone_and_deleting_it_again_is_no_error(self, store):
        store.put("data/chr1/a", b"x")
        store.put("data/chr2/a", b"x")
        store.delete("data/chr1/a")
        store.delete("data/chr1/a")
        assert not store.exists("data/chr1/a")
        assert list(store.list()) == ["data/chr2/a"]

    def test_keys_are_listed_in_order_below_a_prefix(self, store):
        for key in ("data/chr2/b", "_metadata.json", "data/chr10/a", "data/chr2/a", "_resume/x/1"):
            store.put(key, b"x")
        assert list(store.list("data/chr2/")) == ["data/chr2/a", "data/chr2/b"]
        assert list(store.list("_")) == ["_metadata.json", "_resume/x/1"]
        assert list(store.list()) == sorted(store.list())
        assert list(store.list("nothing")) == []

    def test_a_store_that_holds_nothing_lists_nothing(self, store):
        assert list(store.list()) == []
        assert store.name

    def test_readers_see_the_old_bytes_or_the_new_ones(self, store):
        versions = [bytes([i]) * 100_000 for i in range(4)]
        store.put("a", versions[0])
        stop, seen = threading.Event(), set()

        def read():
            while not stop.is_set():
                seen.add(store.get("a"))

        reader = threading.Thread(target=read)
        reader.start()
        for i in range(60):
            store.put("a", versions[i % 4])
        stop.set()
        reader.join()
        assert seen <= set(versions)

    def test_threads_may_write_and_delete_side_by_side(self, store):
        def work(i):
            store.put(f"data/{i % 3}/{i}", b"x")
            store.delete(f"data/{i % 3}/{i}")
            store.put(f"kept/{i % 3}/{i}", b"%d" % i)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(200)))
        assert sorted(store.list()) == sorted(f"kept/{i % 3}/{i}" for i in range(200))


class TestMemoryStore(StoreContract):
    def make(self, tmp_path):
        return MemoryStore()

    def test_requests_and_bytes_are_counted(self, store):
        store.put("a", b"0123456789")
        store.get_range("a", 2, 3)
        store.get("a")
        assert (store.requests.puts, store.requests.gets, store.requests.bytes_in) == (1, 2, 13)
        assert store.ranges == [("a", 2, 3), ("a", 0, 10)]


class TestLocalStore(StoreContract):
    def make(self, tmp_path):
        return LocalStore(tmp_path / "s.bams3")

    def test_a_write_that_fails_leaves_nothing_behind(self, store, tmp_path, monkeypatch):
        store.put("data/a", b"old")

        def full(path, data):
            path.touch()
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(type(tmp_path), "write_bytes", full)
        for work in (store.put, store.put_if_absent):
            with pytest.raises(StoreError, match="No space left") as caught:
                work("data/a", b"new")
            assert caught.value.exit_code == 4
        assert list(store.list()) == ["data/a"]
        assert store.get("data/a") == b"old"

    def test_folders_that_became_empty_go_and_the_root_stays(self, store, tmp_path):
        store.put("_resume/ab/1.json", b"x")
        store.delete("_resume/ab/1.json")
        assert list((tmp_path / "s.bams3").iterdir()) == []

    def test_a_file_in_the_place_of_a_folder_is_told(self, tmp_path):
        (tmp_path / "file").write_text("x")
        store = LocalStore(tmp_path / "file")
        for work in (lambda: store.put("a", b"x"), lambda: store.get("a")):
            with pytest.raises(StoreError):
                work()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_may_not_be_written_is_the_users_affair(self, tmp_path):
        (tmp_path / "s").mkdir(mode=0o500)
        with pytest.raises(InputError, match="Permission denied"):
            LocalStore(tmp_path / "s").put("a", b"x")


@pytest.mark.engine
class TestS3Store(StoreContract):
    @pytest.fixture(autouse=True)
    def find_bucket(self, s3_bucket):
        self.bucket = s3_bucket

    def make(self, tmp_path):
        from bams3.store.s3 import S3Store

        return S3Store(self.bucket.name, "cohort/s.bams3/", self.options())

    def options(self):
        return S3Options()


class TestS3StoreByEndpoint(TestS3Store):
    """Found by an option, in a process whose environment leads nowhere; a prefix that is empty."""

    def make(self, tmp_path):
        from bams3.store.s3 import S3Store

        return S3Store(self.bucket.name, "", self.options())

    @pytest.fixture(autouse=True)
    def lead_nowhere(self, find_bucket, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    def options(self):
        return S3Options(endpoint_url=self.bucket.server.url, region="us-east-1")


# ---- what a question costs ----

SPAN_BP = 10_000
N_CHUNKS = 10


@pytest.fixture(scope="module")
def stored():
    """A store of ten chunks of 500 records of one contig, ten on another, and its record count."""
    tags = [tag("NM", "C", 1), tag("RG", "Z", b"a"), tag("XX", "Z", b"x" * 300)]
    several = [
        record(b"read:%d" % i, pos=i * 20, cigar="50M", seq="ACGTN" * 10, quals=os.urandom(50), tags=tags)
        for i in range(N_CHUNKS * SPAN_BP // 20)
    ]
    several += [record(contig=1, pos=i) for i in range(10)] + [record(contig=-1, pos=-1, flag=4)]
    data = bam(several, header_bytes((("chr1", 100_000), ("chr2", 20_000))))
    store = MemoryStore()
    convert(Source("x.bam", io.BytesIO(data), None, False), store, ConvertOptions(span_bp=SPAN_BP))
    return store


@pytest.fixture
def reader(stored):
    """The store, opened; what it cost is forgotten."""
    opened = StoreReader(stored)
    stored.forget()
    return opened


def sizes_of(reader, columns, chunks):
    """Bytes of some columns (None: of all) of some chunks of the first contig."""
    total = 0
    for number in chunks:
        directory = reader.chunks(0)[number].directory
        names = [directory.columns[column] for column in directory.blobs["column"]]
        sizes = directory.blobs["bytes"].tolist()
        total += sum(n for name, n in zip(names, sizes, strict=True) if columns is None or name in columns)
    return total


def test_opening_a_store_costs_one_request(stored):
    stored.forget()
    StoreReader(stored)
    assert stored.ranges == [("_metadata.json", 0, stored.size("_metadata.json"))]


def test_a_count_of_the_store_costs_no_more_than_opening_it(reader, stored):
    assert reader.count() == 5011
    assert stored.requests.gets == 0


@pytest.mark.parametrize(("region", "n"), [("chr1", 5000), ("chr2", 10), ("*", 1)])
def test_a_count_of_a_contig_costs_one_range_of_the_index(reader, stored, region, n):
    assert reader.count(region) == n
    where = reader.manifest.totals
    assert stored.ranges == [(reader.manifest.index_key, where.offset, where.size_bytes)]


def test_a_count_of_whole_chunks_costs_one_range_of_the_index(reader, stored):
    assert reader.count("chr1:1-999999999") == 5000
    [(key, _, size)] = stored.ranges
    assert (key, size) == (reader.manifest.index_key, stored.requests.bytes_in)


@pytest.mark.parametrize(
    ("region", "n", "chunks"),
    [("chr1:15001-15001", 3, [1]), ("chr1:5001-85000", 4002, [0, 8]), ("chr1:10001-80000", 3502, [0, 7])],
)
def test_a_count_of_a_region_reads_only_chunks_on_its_bounds(reader, stored, region, n, chunks):
    assert reader.count(region) == n
    index_range, *others = stored.ranges
    assert index_range[0] == reader.manifest.index_key
    assert [key for key, _, _ in others] == [reader.chunks(0)[number].key for number in chunks]
    least = sizes_of(reader, OVERLAP, chunks)
    read = sum(size for _, _, size in others)
    assert least <= read <= sizes_of(reader, OVERLAP | {"mapq", "cigar"}, chunks)


def test_many_regions_read_each_chunk_once(reader, stored):
    regions = [reader.region(f"chr1:{at + 1}-{at + 30}") for at in range(0, 100_000, 1000)]
    assert sum(reader.counts(regions)) == 100 * 4 - 2
    assert stored.requests.gets == 1 + N_CHUNKS


def test_a_question_outside_of_all_records_reads_no_chunk(reader, stored):
    assert reader.count("chr2:10000-20000") == 0
    assert list(reader.records([reader.region("chr2:10000-20000")])) == []
    assert stored.requests.gets == 1


def test_records_of_a_region_cost_two_requests_a_chunk(reader, stored):
    records = b"".join(reader.records([reader.region("chr1:15001-25000")]))
    assert len(bam_bytes.records(records)) == 502
    index_range, *others = stored.ranges
    assert index_range[0] == reader.manifest.index_key
    keys = [key for key, _, _ in others]
    assert all(keys.count(key) <= 2 for key in keys)
    assert set(keys) == {reader.chunks(0)[number].key for number in (1, 2)}
    assert sum(size for _, _, size in others) <= 1.1 * sizes_of(reader, None, [1, 2])


def test_no_byte_is_read_twice_and_none_of_the_heads(reader, stored):
    assert len(b"".join(reader.records())) > 1_000_000
    seen = {}
    for key, offset, size in stored.ranges:
        seen.setdefault(key, []).append((offset, offset + size))
    for key, ranges in seen.items():
        ranges.sort()
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ranges)), key
    for one in reader.chunks(0):
        assert seen[one.key][0][0] >= int(one.row["head_bytes"])
        assert sum(end - start for start, end in seen[one.key]) == int(one.row["bytes"]) - int(
            one.row["head_bytes"]
        )
