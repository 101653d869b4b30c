"""What is S3's own: keys, pages, uploads in parts, lost answers, what is sent again, and what is counted."""

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from s3_servers import Fault

from bams3.errors import InputError, StoreError
from bams3.store import S3Options
from bams3.store import s3 as s3_module
from bams3.store.s3 import S3Store

pytestmark = pytest.mark.engine

PREFIX = "cohort/s.bams3/"
MANIFEST = PREFIX + "m"
BODY = random.Random(1).randbytes(100_000)


@pytest.fixture
def store(s3_proxy, s3_bucket, monkeypatch):
    """A store that is reached through the proxy, and that does not wait between tries."""
    monkeypatch.setattr(s3_module, "_pause", lambda _: None)
    return S3Store(s3_bucket.name, PREFIX)


def statuses(proxy, method):
    return [row.status for row in proxy.log() if row.method == method]


def each_in_threads(work, items):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, items))


# ---- keys ----

ODD = ["100%/a", "a b+c/e\u0301 ü", "%2F%41", "a&b=c;d#e?f", "{chr 1}:5-9/~'!(*)", "日本/\U0001f9ec", "a\\b"]


@pytest.mark.parametrize("prefix", [PREFIX, "Proben 100%+ä/#1.bams3/"])
def test_keys_are_taken_as_they_are(s3_bucket, prefix):
    store = S3Store(s3_bucket.name, prefix)
    for key in ODD:
        assert store.put_if_absent(key, key.encode())
    assert sorted(s3_bucket.listed()) == sorted(prefix + key for key in ODD)
    assert list(store.list()) == sorted(ODD)
    for key in ODD:
        assert (store.get(key), store.size(key)) == (key.encode(), len(key.encode()))
        assert list(store.list(key)) == [key]
    store.delete(*ODD[:4])
    store.delete(ODD[4])
    assert list(store.list()) == sorted(ODD[5:])


def test_a_store_does_not_see_its_neighbours(store, s3_bucket):
    s3_bucket.put("cohort/s.bams3.old/a", b"x")
    s3_bucket.put("cohort/s.bams", b"x")
    store.put("a", b"y")
    assert list(store.list()) == ["a"]


def test_many_keys_are_listed_page_by_page_and_deleted_by_thousands(store, s3_bucket, s3_proxy):
    keys = [f"data/chr{n % 7}/{n:05}.chunk" for n in range(1_050)]
    each_in_threads(lambda key: s3_bucket.put(PREFIX + key, b"x"), keys)
    assert list(store.list()) == sorted(keys)
    assert statuses(s3_proxy, "GET") == [200, 200]
    assert store.requests.lists == 2
    never = [f"never/{n}" for n in range(1_450)]
    store.delete(*keys[:1_040], *never)
    assert list(store.list()) == sorted(keys[1_040:])
    assert statuses(s3_proxy, "POST") == [200] * 3
    assert store.requests.deletes == 3


def test_a_server_that_deletes_one_key_at_a_time_is_served(store, s3_proxy):
    for key in ("a", "b", "c"):
        store.put(key, b"x")
    s3_proxy.set(Fault("error", code="PreconditionFailed", methods=("POST",)))
    store.delete("a", "b")
    assert list(store.list()) == ["c"]
    assert len(statuses(s3_proxy, "DELETE")) == 2


# ---- uploads in parts ----


@pytest.fixture
def parted(monkeypatch):
    """An object of three parts, were it put: parts are as small as S3 takes them."""
    monkeypatch.setattr(s3_module, "_MULTIPART_BYTES", 6 << 20)
    monkeypatch.setattr(s3_module, "_PART_BYTES", 5 << 20)
    return random.Random(2).randbytes((11 << 20) + 3)


def test_a_large_object_goes_in_parts(store, s3_bucket, s3_proxy, parted):
    store.put("large", parted)
    assert s3_bucket.get(PREFIX + "large") == parted
    assert (store.get("large"), store.size("large")) == (parted, len(parted))
    assert sorted(row.received_bytes for row in s3_proxy.log() if row.method == "PUT") == sorted(
        [5 << 20, 5 << 20, (1 << 20) + 3]
    )
    assert s3_bucket.uploads() == []


def test_a_part_that_is_refused_leaves_nothing(store, s3_bucket, s3_proxy, parted):
    s3_proxy.set(Fault("error", code="AccessDenied", path="partNumber=2"))
    with pytest.raises(InputError) as caught:
        store.put("large", parted)
    assert caught.value.kind == "no-permission"
    assert s3_bucket.listed() == s3_bucket.uploads() == []


def test_a_part_whose_answer_is_lost_is_sent_again(store, s3_bucket, s3_proxy, parted):
    s3_proxy.set(Fault("lost", path="partNumber=2", count=1))
    store.put("large", parted)
    assert s3_bucket.get(PREFIX + "large") == parted
    assert store.requests.retries == 1
    assert store.requests.bytes_out >= len(parted) + (5 << 20)


def test_an_upload_that_was_begun_is_found_and_given_up(store, s3_bucket):
    for key in (PREFIX + "data/a.chunk", "cohort/other/b"):
        s3_bucket.client.create_multipart_upload(Bucket=s3_bucket.name, Key=key)
    [(entry, give_up)] = store.unfinished()
    assert (entry.key, entry.size_bytes) == ("data/a.chunk", 0)
    assert entry.modified_s > 1_000_000_000
    give_up()
    assert s3_bucket.uploads() == ["cohort/other/b"]
    give_up()
    assert list(store.unfinished()) == []


# ---- conditional puts ----


def test_a_put_if_absent_whose_answer_is_lost_has_written(store, s3_bucket, s3_proxy):
    s3_proxy.set(Fault("lost", methods=("PUT",), count=1))
    assert store.put_if_absent("m", b"mine")
    assert statuses(s3_proxy, "PUT") == [0, 412]
    assert s3_bucket.get(MANIFEST) == b"mine"


def test_a_put_if_absent_behind_another_writer_has_not_written(store, s3_bucket, s3_proxy):
    s3_bucket.put(MANIFEST, b"mine")  # the same bytes: what tells them apart is who wrote them
    s3_proxy.set(Fault("reset", methods=("PUT",), count=1))
    assert not store.put_if_absent("m", b"mine")
    assert statuses(s3_proxy, "PUT") == [0, 412]


def test_a_put_if_match_whose_answer_is_lost_has_written(store, s3_bucket, s3_proxy):
    s3_bucket.put(MANIFEST, b"old")
    s3_proxy.set(Fault("lost", methods=("PUT",), count=1))
    assert store.put_if_match("m", b"new", b"old")
    assert s3_bucket.get(MANIFEST) == b"new"


def test_a_put_if_match_loses_to_who_wrote_in_between(store, s3_bucket, monkeypatch):
    s3_bucket.put(MANIFEST, b"old")
    read = store._get_with_etag

    def read_slowly(key, how):
        found = read(key, how)
        s3_bucket.put(MANIFEST, b"theirs")
        return found

    monkeypatch.setattr(store, "_get_with_etag", read_slowly)
    assert not store.put_if_match("m", b"new", b"old")
    assert s3_bucket.get(MANIFEST) == b"theirs"


def test_a_put_if_match_of_an_object_that_was_deleted_in_between_loses(store, s3_bucket, monkeypatch):
    s3_bucket.put(MANIFEST, b"old")
    read = store._get_with_etag

    def read_slowly(key, how):
        found = read(key, how)
        s3_bucket.delete(MANIFEST)
        return found

    monkeypatch.setattr(store, "_get_with_etag", read_slowly)
    assert not store.put_if_match("m", b"new", b"old")
    assert s3_bucket.listed() == []


def test_writers_that_conflict_try_again(store, s3_bucket, s3_proxy):
    s3_proxy.set(Fault("error", code="ConditionalRequestConflict", methods=("PUT",), count=2))
    assert store.put_if_absent("m", b"mine")
    assert statuses(s3_proxy, "PUT") == [409, 409, 200]
    assert s3_bucket.get(MANIFEST) == b"mine"


def test_a_conflict_without_end_is_an_error(store, s3_bucket, s3_proxy):
    s3_proxy.set(Fault("error", code="ConditionalRequestConflict", methods=("PUT",)))
    with pytest.raises((InputError, StoreError), match="ConditionalRequestConflict"):
        store.put_if_absent("m", b"mine")
    assert 1 < len(statuses(s3_proxy, "PUT")) < 20
    assert s3_bucket.listed() == []


# ---- answers that break off ----


@pytest.mark.parametrize("kind", ["reset", "reset-in-body", "truncated", "lost"])
def test_an_answer_that_breaks_off_is_asked_for_again(store, s3_bucket, s3_proxy, kind):
    s3_bucket.put(PREFIX + "a", BODY)
    s3_proxy.set(Fault(kind, methods=("GET",), count=2))
    assert store.get("a") == BODY
    assert (store.requests.gets, store.requests.retries) == (3, 2)
    s3_proxy.set(Fault(kind, methods=("GET",), count=2))
    assert store.get_range("a", 500, 90_000) == BODY[500:90_500]
    assert (store.requests.gets, store.requests.retries) == (6, 4)
    assert store.requests.bytes_in == len(BODY) + 90_000


@pytest.mark.parametrize("kind", ["reset-in-body", "truncated"])
def test_answers_that_always_break_off_are_an_error(store, s3_bucket, s3_proxy, kind):
    s3_bucket.put(PREFIX + "a", BODY)
    s3_proxy.set(Fault(kind, methods=("GET",)))
    with pytest.raises(StoreError) as caught:
        store.get("a")
    assert (caught.value.kind, caught.value.exit_code) == ("no-connection", 4)
    assert 1 < len(statuses(s3_proxy, "GET")) < 20


@pytest.mark.parametrize("kind", ["truncated", "reset-in-body", "lost", "reset"])
def test_a_head_that_breaks_off_is_asked_for_again(store, s3_bucket, s3_proxy, kind):
    s3_bucket.put(PREFIX + "a", BODY)
    s3_proxy.set(Fault(kind, methods=("HEAD",), once=True))
    assert store.size("a") == len(BODY)
    s3_proxy.set(Fault(kind, methods=("HEAD",), once=True))
    assert store.exists("a")
    assert (store.requests.heads, store.requests.retries) == (4, 2)


@pytest.mark.parametrize("kind", ["truncated", "reset-in-body", "lost"])
def test_a_page_of_a_listing_that_breaks_off_is_asked_for_again(store, s3_bucket, s3_proxy, kind):
    s3_bucket.put(PREFIX + "a", BODY)
    s3_proxy.set(Fault(kind, path="list-type=2", count=2))
    assert list(store.list()) == ["a"]


def test_a_throttled_request_is_sent_again(store, s3_bucket, s3_proxy):
    s3_proxy.set(Fault("error", code="SlowDown", count=1), Fault("error", code="InternalError", count=1))
    store.put("a", BODY)
    assert s3_bucket.get(PREFIX + "a") == BODY
    assert (store.requests.puts, store.requests.retries) == (3, 2)


@pytest.mark.parametrize("region", ["eu-west-1", ""])
def test_a_bucket_in_another_region_is_told(store, s3_bucket, s3_proxy, region):
    s3_proxy.set(Fault("error", code="PermanentRedirect", region=region))
    for work in (lambda: store.get("a"), lambda: store.size("a"), lambda: store.put("a", b"x")):
        with pytest.raises(InputError, match="another region") as caught:
            work()
        assert caught.value.kind == "wrong-region"


# ---- what is counted ----


def test_what_is_counted_is_what_was_sent(store, s3_bucket, s3_proxy):
    s3_proxy.set(
        Fault("error", code="InternalError", methods=("GET",), path="/a3", count=1),
        Fault("reset-in-body", methods=("GET",), path="/a5", count=1),
        Fault("lost", methods=("PUT",), path="/a7", count=1),
        Fault("truncated", methods=("HEAD",), path="/a1", count=1),
    )
    keys = [f"a{n}" for n in range(10)]
    each_in_threads(lambda key: store.put(key, BODY[: 1000 * int(key[1:])]), keys)
    each_in_threads(store.get, keys)
    each_in_threads(lambda key: store.get_range(key, 100, 500), keys[1:])
    each_in_threads(store.size, keys)
    assert store.put_if_absent("m", b"x")
    assert store.put_if_match("m", b"y", b"x")
    assert not store.exists("nothing")
    assert len(list(store.list())) == 11
    assert list(store.unfinished()) == []
    store.delete("a0")
    store.delete(*keys[1:5])
    rows = s3_proxy.log()
    asked = [row for row in rows if row.method == "GET"]
    listed = [row for row in asked if "list-type" in row.query or "uploads" in row.query]
    gets = [row for row in asked if row not in listed]
    puts = [row for row in rows if row.method == "PUT"]
    deletes = [row for row in rows if row.method in ("DELETE", "POST")]
    counted = store.requests
    assert (counted.gets, counted.puts, counted.lists) == (len(gets), len(puts), len(listed))
    assert (counted.heads, counted.deletes) == (sum(row.method == "HEAD" for row in rows), len(deletes))
    assert counted.bytes_in == sum(row.sent_bytes for row in gets if row.status < 300 and not row.fault)
    assert counted.bytes_out == sum(row.received_bytes for row in puts)
    assert counted.retries == 4 == sum(bool(row.fault) for row in rows)
    assert counted.waited_s > 0


def test_threads_share_a_client_and_options_have_their_own(s3_bucket):
    found = []

    def make():
        found.append(S3Store(s3_bucket.name, PREFIX)._client)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    other = S3Store(s3_bucket.name, PREFIX, S3Options(endpoint_url=s3_bucket.server.url))
    assert other._client is not found[0]
    assert other.requests is not S3Store(s3_bucket.name, PREFIX).requests


def test_a_forked_child_has_connections_of_its_own(store, s3_bucket, s3_proxy):
    s3_bucket.put(PREFIX + "a", BODY)
    assert store.get("a") == BODY
    client = store._client
    child = os.fork()
    if not child:
        try:
            mine = S3Store(s3_bucket.name, PREFIX)
            right = mine._client is not client and mine.get("a") == BODY and mine.requests.gets == 1
            right &= store._client is mine._client and store.get("a") == BODY
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get("a") == BODY
    connections = [row.connection for row in s3_proxy.log()]
    assert len(connections) == 4
    assert connections[0] == connections[3] != connections[1] == connections[2]
