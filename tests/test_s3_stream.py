"""An object in S3 as a file: what is read, what is asked for, and an object that changes meanwhile."""

import io
import os
import random

import pytest
from s3_servers import Fault

from bams3.errors import InputError
from bams3.store import s3 as s3_module
from bams3.store import s3_stream
from bams3.store.base import MissingObjectError
from bams3.store.s3 import S3Store

pytestmark = pytest.mark.engine

PREFIX = "cohort/"
BODY = random.Random(1).randbytes(100_000)


@pytest.fixture
def store(s3_proxy, s3_bucket, monkeypatch):
    """A store that is reached through the proxy, and that does not wait between tries."""
    monkeypatch.setattr(s3_module, "_pause", lambda _: None)
    return S3Store(s3_bucket.name, PREFIX)


@pytest.fixture
def small_parts(monkeypatch):
    """Streams that ask for 1,000 bytes at a time, and for three parts ahead."""
    monkeypatch.setattr(s3_stream, "_PART_BYTES", 1_000)
    monkeypatch.setattr(s3_stream, "_PARTS", 3)


def stream_of(store, key):
    return s3_stream.S3Stream(store, key)


@pytest.mark.parametrize("size", [0, 1, 999, 1_000, 1_001, 12_345])
def test_a_stream_is_the_object(store, s3_bucket, small_parts, size):
    s3_bucket.put(PREFIX + "a", BODY[:size])
    with stream_of(store, "a") as stream:
        assert stream.size_bytes == size
        assert stream.read() == BODY[:size]
        assert stream.read(5) == b""
        assert stream.tell() == size


def test_a_stream_reads_and_seeks_as_a_file_does(store, s3_bucket, small_parts):
    s3_bucket.put(PREFIX + "a", BODY[:20_000])
    expected, chance = io.BytesIO(BODY[:20_000]), random.Random(3)
    with io.BufferedReader(stream_of(store, "a"), 700) as stream:
        for _ in range(200):
            if chance.random() < 0.3:
                whence = chance.choice((os.SEEK_SET, os.SEEK_END, os.SEEK_CUR))
                low, high = {0: (0, 21_000), 1: (-expected.tell(), 3_000), 2: (-20_000, 50)}[whence]
                offset = chance.randint(low, high)
                assert stream.seek(offset, whence) == expected.seek(offset, whence)
            n = chance.choice((1, 10, 700, 3_000))
            assert stream.read(n) == expected.read(n)
            assert stream.tell() == expected.tell()


def test_a_stream_reads_each_byte_once(store, s3_bucket, small_parts):
    s3_bucket.put(PREFIX + "a", BODY)
    with stream_of(store, "a") as stream:
        assert len(stream.read()) == len(BODY)
    assert (store.requests.gets, store.requests.heads) == (100, 1)
    assert store.requests.bytes_in == len(BODY)


@pytest.mark.parametrize("after", [BODY[:50_000], BODY[::-1], b""])
def test_an_object_that_changes_while_it_is_read_is_told(store, s3_bucket, small_parts, after):
    s3_bucket.put(PREFIX + "a", BODY)
    with stream_of(store, "a") as stream:
        assert stream.read(10) == BODY[:10]
        s3_bucket.put(PREFIX + "a", after)
        with pytest.raises(InputError, match="was changed while it was read") as caught:
            stream.read()
    assert caught.value.kind == "input-changed"


def test_an_object_that_goes_while_it_is_read_is_missing(store, s3_bucket, small_parts):
    s3_bucket.put(PREFIX + "a", BODY)
    with stream_of(store, "a") as stream:
        stream.read(10)
        s3_bucket.delete(PREFIX + "a")
        with pytest.raises(MissingObjectError):
            stream.read()


def test_a_stream_heals_what_breaks_off(store, s3_bucket, s3_proxy, small_parts):
    s3_bucket.put(PREFIX + "a", BODY)
    s3_proxy.set(Fault("reset-in-body", methods=("GET",), once=True, probability=0.3))
    with stream_of(store, "a") as stream:
        assert stream.read() == BODY
    assert store.requests.retries == sum(bool(row.fault) for row in s3_proxy.log()) > 10
