"""What a command says that it asked of S3, and ``bams3 gc``: what it removes, and what it never does."""

import json

import bam_records
import pytest
from commands import convert, objects, run, run_apart
from s3_servers import Fault

pytestmark = pytest.mark.engine

SHORT = ("--older-than", "0s")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A BAM, and two stores of it that have no chunk in common."""
    folder = tmp_path_factory.mktemp("local")
    several = [bam_records.record(b"r%d" % i, pos=i * 900) for i in range(1_000)]
    header = bam_records.header_bytes((("chr1", 1_000_000),))
    (folder / "in.bam").write_bytes(bam_records.bam(several, header))
    assert convert(folder / "in.bam", folder / "s.bams3", "--chunk-size", "256K").code == 0
    plain = ("--chunk-size", "256K", "--compression", "none")
    assert convert(folder / "in.bam", folder / "other.bams3", *plain).code == 0
    return folder


@pytest.fixture
def store(local, s3_bucket):
    return s3_bucket.put_folder(local / "s.bams3", "s.bams3")


@pytest.fixture
def orphans(local, s3_bucket, store):
    """Objects of another conversion in the store, by their size: its chunks and a note."""
    other = objects(local / "other.bams3").items()
    made = {key: data for key, data in other if key.startswith(("data/", "_index"))}
    assert not made.keys() & objects(local / "s.bams3").keys()
    made["_resume/0123456789abcdef/00000003.json"] = b"{}"
    for key, data in made.items():
        s3_bucket.put(f"s.bams3/{key}", data)
    return {key: len(data) for key, data in made.items()}


def rows(text):
    """What gc wrote: bytes by key."""
    return {key: int(size) for key, size in (line.split("\t") for line in text.splitlines())}


def test_a_dry_run_names_what_nobody_names_and_removes_nothing(s3_bucket, store, orphans):
    before = s3_bucket.listed()
    done = run("gc", store, "--dry-run", *SHORT)
    assert (done.kind, rows(done.out)) == ("", orphans)
    assert rows(run("gc", store, "-n").out) == orphans
    assert s3_bucket.listed() == before


def test_what_was_written_just_now_is_left_alone(s3_bucket, store, orphans):
    before = s3_bucket.listed()
    for options in ((), ("--older-than", "1h"), ("--older-than", "0.5m")):
        done = run("gc", store, *options)
        assert (done.kind, done.out) == ("recent-writes", "")
    assert s3_bucket.listed() == before


def test_orphans_go_and_the_store_stays_whole(local, s3_bucket, store, orphans):
    s3_bucket.put("s.bams3/mine.txt", b"x")
    s3_bucket.put("s.bams3/data/chr1/mine.chunk", b"x")
    s3_bucket.put("s.bams3.old/data/chr1/0000000000.0-01234567.chunk", b"x")
    s3_bucket.put("_resume/0123456789abcdef/00000003.json", b"x")
    done = run_apart("gc", store, *SHORT)
    assert (done.kind, rows(done.out)) == ("", orphans)
    mine = {"mine.txt": b"x", "data/chr1/mine.chunk": b"x"}
    assert s3_bucket.objects("s.bams3") == objects(local / "s.bams3") | mine
    assert "s.bams3/_provenance.json" in s3_bucket.listed()
    assert len(s3_bucket.listed()) == len(s3_bucket.listed("s.bams3/")) + 2
    assert run("verify", store, "--quiet").kind == ""
    done = run("gc", store)
    assert (done.kind, done.out) == ("", "")


def test_uploads_that_were_not_finished_are_given_up(s3_bucket, store):
    for key in ("s.bams3/data/chr1/0000000000.0-01234567.chunk", "s.bams3.old/x", "elsewhere"):
        s3_bucket.client.create_multipart_upload(Bucket=s3_bucket.name, Key=key)
    done = run("gc", store, *SHORT)  # moto's were begun in 2010
    assert (done.kind, rows(done.out)) == ("", {"data/chr1/0000000000.0-01234567.chunk": 0})
    assert sorted(s3_bucket.uploads()) == ["elsewhere", "s.bams3.old/x"]


def test_what_a_killed_conversion_left_goes(local, s3_bucket, s3_proxy):
    out = s3_bucket.address("killed.bams3")
    s3_proxy.set(Fault("error", code="AccessDenied", methods=("PUT",), path="_metadata.json"))
    assert convert(local / "in.bam", out).kind == "no-permission"
    s3_proxy.set()
    left = s3_bucket.listed()
    assert len(left) > 2
    done = run("gc", out, *SHORT)
    assert done.kind == ""
    assert sorted(rows(done.out)) == sorted(key.removeprefix("killed.bams3/") for key in left)
    assert s3_bucket.listed() == []


@pytest.mark.parametrize("manifest", [b"", b"<html></html>", b"{}", b'{"format": "bams9"}', b"half"])
def test_a_store_that_cannot_be_read_loses_nothing(s3_bucket, store, orphans, manifest):
    if manifest == b"half":
        whole = s3_bucket.get("s.bams3/_metadata.json")
        manifest = whole[: len(whole) // 2]
    s3_bucket.put("s.bams3/_metadata.json", manifest)
    before = s3_bucket.listed()
    done = run("gc", store, *SHORT)
    assert (done.code in (2, 3), done.out) == (True, "")
    assert s3_bucket.listed() == before


@pytest.mark.parametrize("code", ["InternalError", "AccessDenied", "ExpiredToken", "SlowDown"])
@pytest.mark.parametrize("path", ["_metadata.json", "_index", "list-type", "uploads"])
def test_nothing_goes_where_something_cannot_be_asked(
    s3_bucket, s3_proxy, store, orphans, monkeypatch, code, path
):
    """A manifest that cannot be had is not a manifest that is not there."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    before = s3_bucket.listed()
    s3_proxy.set(Fault("error", code=code, path=path))
    done = run("gc", store, *SHORT)
    assert done.kind in ("s3-unavailable", "no-permission", "expired-token")
    assert s3_bucket.listed() == before


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1w", "1h30m", "nan s"])
def test_a_time_is_a_number_and_a_unit(s3_bucket, store, text):
    assert run("gc", store, f"--older-than={text}").kind == "bad-time"


# ---- what was asked ----


def told(done):
    """What stands behind --requests."""
    [line] = [line for line in done.err.splitlines() if line.startswith("requests: ")]
    return json.loads(line.removeprefix("requests: "))


def logged(proxy):
    """The same numbers, as the proxy knows them."""
    rows = proxy.log()
    lists = [
        row for row in rows if row.method == "GET" and ("list-type" in row.query or "uploads" in row.query)
    ]
    gets = [row for row in rows if row.method == "GET" and row not in lists]
    puts = [row for row in rows if row.method == "PUT" or (row.method == "POST" and row.query != "delete")]
    return {
        "gets": len(gets),
        "puts": len(puts),
        "heads": sum(row.method == "HEAD" for row in rows),
        "lists": len(lists),
        "deletes": sum(row.method == "DELETE" or row.query.startswith("delete") for row in rows),
        "bytes_in": sum(row.sent_bytes for row in gets if row.status < 300),
        "bytes_out": sum(row.received_bytes for row in puts),
        "retries": 0,
    }


def without_time(asked):
    assert asked.pop("waited_s") >= 0
    return asked


@pytest.mark.parametrize(
    "command",
    [
        ("query", "{}", "chr1:5001-400000", "--count"),
        ("query", "{}", "chr1", "-b", "-o", "[out]/x.bam"),
        ("coverage", "{}", "--window", "500", "-o", "[out]/x.bed.gz"),
        ("export", "--quiet", "{}", "[out]/x.bam"),
        ("verify", "--quiet", "{}"),
        ("stats", "{}"),
        ("gc", "{}", "--dry-run"),
    ],
    ids=" ".join,
)
def test_requests_are_those_that_the_server_sees(s3_bucket, s3_proxy, store, command):
    words = {"{}": store, "[out]": s3_bucket.address("out")}
    for mark, word in words.items():
        command = [one.replace(mark, word) for one in command]
    done = run(*command, "--requests")
    assert done.code == 0
    assert without_time(told(done)) == logged(s3_proxy)


def test_requests_are_told_where_a_command_fails(s3_proxy, store):
    done = run("query", store, "chrX", "--requests")
    assert done.code == 2
    assert without_time(told(done)) == logged(s3_proxy)


def test_requests_are_in_the_json_of_convert_and_verify(local, s3_bucket, s3_proxy):
    source, out = s3_bucket.put("x.bam", (local / "in.bam").read_bytes()), s3_bucket.address("new.bams3")
    asked = json.loads(run("convert", "--quiet", "--json", source, out).out)["requests"]
    assert without_time(asked) == logged(s3_proxy)
    assert asked["bytes_out"] >= sum(len(s3_bucket.get(key)) for key in s3_bucket.listed("new.bams3/"))
    s3_proxy.clear()
    from bams3.store import s3_client

    s3_client._CLIENTS.clear()  # as in a process of its own
    asked = json.loads(run("verify", "--quiet", "--json", out).out)["requests"]
    assert without_time(asked) == logged(s3_proxy)


def test_requests_to_a_disk_are_told_too(local):
    asked = told(run("query", local / "s.bams3", "chr1:5001-400000", "--requests"))
    assert asked["gets"] > 2
    assert asked["bytes_in"] > 1_000
    assert asked["retries"] == asked["puts"] == 0
