"""S3 that is asked wrongly, or refuses: a line, a hint, the exit code of its kind; nothing half-written."""

import http.server
import threading

import bam_records
import pytest
from commands import convert, objects, run, run_apart
from s3_servers import Fault

pytestmark = pytest.mark.engine

#: What S3 says, and what a command ends with; 4 where a retry may heal it.
ANSWERS = {
    "AccessDenied": ("no-permission", 2),
    "InvalidAccessKeyId": ("bad-credentials", 2),
    "SignatureDoesNotMatch": ("bad-credentials", 2),
    "InvalidToken": ("bad-credentials", 2),
    "RequestTimeTooSkewed": ("bad-credentials", 2),
    "PermanentRedirect": ("wrong-region", 2),
    "NoSuchBucket": ("no-such-bucket", 2),
    "ExpiredToken": ("expired-token", 4),
    "SlowDown": ("s3-unavailable", 4),
    "InternalError": ("s3-unavailable", 4),
}
#: A HEAD's answer has no body that could say why: these are told by their status alone.
ANSWERS_OF_HEAD = {
    "AccessDenied": ("no-permission", 2),
    "InvalidAccessKeyId": ("no-permission", 2),
    "PermanentRedirect": ("wrong-region", 2),
    "SlowDown": ("s3-unavailable", 4),
    "InternalError": ("s3-unavailable", 4),
}
BAD_ADDRESSES = ["s3://", "s3://bucket", "s3://bucket/", "s3:///x", "s3://b//x", "s3://b/x//y", "s3:////"]
OTHER_SCHEMES = ["S3://bucket/x", "gs://bucket/x", "https://bucket.s3.amazonaws.com/x", "file:///x"]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A folder with a BAM and its store."""
    folder = tmp_path_factory.mktemp("local")
    several = [bam_records.record(b"r%d" % i, pos=i * 900) for i in range(1_000)]
    data = bam_records.bam(several, bam_records.header_bytes((("chr1", 1_000_000),)))
    (folder / "in.bam").write_bytes(data)
    assert convert(folder / "in.bam", folder / "s.bams3", "--chunk-size", "256K").code == 0
    return folder


@pytest.fixture
def store(local, s3_bucket, monkeypatch):
    """Address of the store in S3, in an environment that tries twice at most."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    return s3_bucket.put_folder(local / "s.bams3", "s.bams3")


def told(*arguments, runs=run):
    """Kind and exit code; the error is a line with a hint."""
    done = runs(*arguments)
    kind = done.kind
    lines = done.err.splitlines()
    assert len(lines) == 2, done.err
    assert lines[1].startswith("hint: ")
    return kind, done.code


# ---- what S3 answers ----


@pytest.mark.parametrize("code", ANSWERS)
def test_an_answer_to_a_get_is_told(s3_bucket, s3_proxy, store, code):
    s3_proxy.set(Fault("error", code=code, methods=("GET",)))
    assert told("query", store, "chr1", "-b", "-o", s3_bucket.address("out/x.bam")) == ANSWERS[code]
    assert told("verify", "--quiet", store) == ANSWERS[code]
    assert s3_bucket.listed("out/") == []


@pytest.mark.parametrize("code", ANSWERS)
@pytest.mark.parametrize("path", ["data/", "_index", "_metadata.json", "_resume"])
def test_an_answer_to_a_put_is_told(local, s3_bucket, s3_proxy, store, code, path):
    s3_proxy.set(Fault("error", code=code, methods=("PUT",), path=path))
    assert told("convert", "--quiet", local / "in.bam", s3_bucket.address("new.bams3")) == ANSWERS[code]
    assert "new.bams3/_metadata.json" not in s3_bucket.listed()


@pytest.mark.parametrize("code", ANSWERS)
def test_an_answer_to_a_put_of_an_output_is_told(s3_bucket, s3_proxy, store, code):
    s3_proxy.set(Fault("error", code=code, methods=("PUT",)))
    assert told("export", "--quiet", store, s3_bucket.address("out/x.bam")) == ANSWERS[code]
    assert s3_bucket.listed("out/") == s3_bucket.uploads() == []


@pytest.mark.parametrize("code", ANSWERS_OF_HEAD)
def test_an_answer_to_a_head_is_told(local, s3_bucket, s3_proxy, store, code):
    source = s3_bucket.put("in.bam", (local / "in.bam").read_bytes())
    s3_proxy.set(Fault("error", code=code, methods=("HEAD",)))
    assert told("convert", "--quiet", source, s3_bucket.address("new.bams3")) == ANSWERS_OF_HEAD[code]
    assert sorted({key.split("/")[0] for key in s3_bucket.listed()}) == ["in.bam", "s.bams3"]


def test_who_may_write_and_not_look_may_write_an_output(s3_bucket, s3_proxy, store):
    s3_proxy.set(Fault("error", code="AccessDenied", methods=("HEAD",)))
    assert run("query", store, "-b", "-o", s3_bucket.address("out/x.bam")).kind == ""
    assert s3_bucket.listed("out/") == ["out/x.bam"]


def test_an_expired_token_is_told_where_a_head_comes_first(local, s3_bucket, s3_proxy, store):
    source = s3_bucket.put("in.bam", (local / "in.bam").read_bytes())
    s3_proxy.set(Fault("error", code="ExpiredToken"))
    assert told("convert", "--quiet", source, s3_bucket.address("new.bams3")) == ("expired-token", 4)
    assert told("query", store, "-b", "-o", s3_bucket.address("out/x.bam")) == ("expired-token", 4)


@pytest.mark.parametrize("command", ["verify", "query", "export"])
def test_a_token_that_expires_in_the_middle_is_told(s3_bucket, s3_proxy, store, command):
    words = {"verify": [store], "query": [store, "-b", "-o"], "export": [store]}[command]
    out = [] if command == "verify" else [s3_bucket.address("out/x.bam")]
    s3_proxy.set(Fault("error", code="ExpiredToken", methods=("GET",), after=3))
    assert told(command, *words, *out) == ("expired-token", 4)
    assert s3_bucket.listed("out/") == []


def test_a_token_that_expires_while_an_input_is_read_is_told(local, s3_bucket, s3_proxy, store, monkeypatch):
    from bams3.store import s3_stream

    monkeypatch.setattr(s3_stream, "_PART_BYTES", 2_000)
    source = s3_bucket.put("in.bam", (local / "in.bam").read_bytes())
    s3_proxy.set(Fault("error", code="ExpiredToken", methods=("GET",), path="in.bam", after=2))
    assert told("convert", "--quiet", source, s3_bucket.address("new.bams3")) == ("expired-token", 4)
    assert "new.bams3/_metadata.json" not in s3_bucket.listed()


def test_403_is_told_from_404(s3_bucket, s3_proxy, store):
    assert told("query", s3_bucket.address("nothing.bams3"))[0] == "not-a-store"
    s3_proxy.set(Fault("error", code="AccessDenied"))
    assert told("query", store)[0] == told("query", s3_bucket.address("nothing.bams3"))[0] == "no-permission"


# ---- what is not there ----


def test_a_bucket_that_is_not_there_is_told(local, s3_bucket, store):
    for arguments in (
        ["query", "s3://no-such-bucket/s.bams3"],
        ["convert", local / "in.bam", "s3://no-such-bucket/s"],
    ):
        assert told(*arguments) == ("no-such-bucket", 2)
    assert told("export", "--quiet", store, "s3://no-such-bucket/x.bam")[1] == 2
    assert run("convert", "s3://no-such-bucket/x.bam", s3_bucket.address("new.bams3")).kind == "no-such-file"
    assert s3_bucket.listed("new") == []


def test_an_input_that_is_not_there_is_told(s3_bucket, store):
    nothing = s3_bucket.address("nothing")
    for arguments in (
        ["convert", "--quiet", nothing, s3_bucket.address("new.bams3")],
        ["query", store, "-L", nothing],
        ["cat", f"{store}/data/chr1/0000000000.0-01234567.chunk"],
        ["tabulate", nothing, "--table", s3_bucket.address("out.tsv")],
    ):
        assert (run(*arguments).kind, run(*arguments).code) == ("no-such-file", 2), arguments
    assert s3_bucket.listed("new") == s3_bucket.listed("out") == []


def test_a_prefix_that_is_no_store_is_told(s3_bucket, store):
    s3_bucket.put("folder/x", b"y")
    for command in ("query", "stats", "chunks", "verify", "coverage"):
        for key in ("folder", "s.bams3/data", "s.bams"):
            assert told(command, s3_bucket.address(key)) == ("not-a-store", 2)


@pytest.mark.parametrize("what", ["_index", ".chunk", "_header"])
def test_an_object_that_is_missing_behind_a_manifest_is_damage(s3_bucket, store, what):
    for key in s3_bucket.listed():
        if what in key:
            s3_bucket.delete(key)
    out = s3_bucket.address("out/x.bam")
    done = run("query", store, "-b", "-o", out)
    assert (done.kind, done.code) == ("missing-object", 3)
    assert what in done.err
    assert "--endpoint" not in done.err
    assert s3_bucket.listed("out/") == []


# ---- addresses and options ----


@pytest.mark.parametrize("address", [*BAD_ADDRESSES, *OTHER_SCHEMES, "s3://Bad_Bucket!/x"])
def test_what_is_no_address_is_told(local, s3_bucket, store, address):
    kind = "unknown-scheme" if address in OTHER_SCHEMES else "bad-address"
    for arguments in (
        ["query", address],
        ["stats", address],
        ["gc", address],
        ["convert", "--quiet", local / "in.bam", address],
        ["convert", "--quiet", address, s3_bucket.address("new.bams3")],
        ["cat", address],
        ["query", store, "-L", address],
        ["query", store, "-b", "-o", address],
        ["export", store, address],
    ):
        assert told(*arguments) == (kind, 2), arguments
    assert s3_bucket.listed("new") == []


@pytest.mark.parametrize(
    "text", ["nonsense", "127.0.0.1:80", "http://", "ftp://127.0.0.1/x", "http:// /", ""]
)
def test_an_endpoint_that_is_no_url_is_told(store, text):
    assert told("query", store, "--endpoint-url", text)[1] == 2


def test_nobody_who_listens_is_told(local, s3_bucket, store, tmp_path):
    nobody = ("--endpoint-url", "http://127.0.0.1:9")
    assert told("query", store, "--count", *nobody) == ("no-connection", 4)
    assert told("convert", "--quiet", store, tmp_path / "s.bams3", *nobody) == ("no-connection", 4)
    assert told("convert", "--quiet", local / "in.bam", store, *nobody) == ("no-connection", 4)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def web_page():
    """URL of a server that answers every question with the same page."""

    class Page(http.server.BaseHTTPRequestHandler):
        status = 200

        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            page = b"" if self.command == "HEAD" else b"<!DOCTYPE html><html><body>Log in</body></html>"
            self.send_response(self.status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  http.server's names

        def log_message(self, *_):
            """Nothing on the terminal."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Page, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 500])
def test_a_server_that_is_not_s3_is_told(local, store, web_page, tmp_path, status):
    page, url = web_page
    page.status = status
    for arguments in (
        ["query", store, "--count"],
        ["verify", store],
        ["convert", "--quiet", local / "in.bam", store],
        ["convert", "--quiet", f"{store}/in.bam", tmp_path / "s.bams3"],
        ["gc", store, "--older-than", "0s"],
    ):
        done = run(*arguments, "--endpoint-url", url)
        if arguments[0] != "gc":
            assert done.code in (2, 3, 4), (arguments, done)
        assert done.code == 0 or done.kind
    assert list(tmp_path.iterdir()) == []


# ---- credentials ----


@pytest.fixture
def without_credentials(store, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)


@pytest.mark.parametrize("runs", [run, run_apart])
def test_credentials_that_are_not_there_are_told(local, s3_bucket, store, without_credentials, runs):
    out = s3_bucket.address("new.bams3")
    assert told("query", store, "--count", runs=runs) == ("no-credentials", 2)
    assert told("convert", "--quiet", local / "in.bam", out, runs=runs) == ("no-credentials", 2)
    assert s3_bucket.listed("new") == []


def test_half_of_the_credentials_are_told(store, without_credentials, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    assert told("query", store, "--count") == ("no-credentials", 2)


def test_a_public_bucket_needs_none(s3_bucket, s3_proxy, store, without_credentials):
    s3_bucket.client.put_bucket_acl(Bucket=s3_bucket.name, ACL="public-read")
    for key in s3_bucket.listed():
        s3_bucket.client.put_object_acl(Bucket=s3_bucket.name, Key=key, ACL="public-read")
    assert run("query", store, "--count", "--anonymous").out == "1000\n"
    assert all("authorization" not in row.headers for row in s3_proxy.log())


def test_a_profile_that_is_not_there_is_told(store):
    done = run("query", store, "--profile", "nobody's")
    assert (done.kind, done.code) == ("no-credentials", 2)
    assert "nobody's" in done.err


def test_a_profile_gives_credentials_and_region(s3_proxy, store, without_credentials, tmp_path, monkeypatch):
    (tmp_path / "config").write_text("[profile mine]\nregion = eu-central-1\n")
    (tmp_path / "keys").write_text("[mine]\naws_access_key_id = MINE\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert run("query", store, "--count", "--profile", "mine").out == "1000\n"
    assert run("query", store, "--count", "--profile", "mine", "--aws-region", "us-west-2").out == "1000\n"
    signed = [row.headers["authorization"] for row in s3_proxy.log()]
    assert all("Credential=MINE/" in one for one in signed)
    assert "/eu-central-1/s3/" in signed[0]
    assert "/us-west-2/s3/" in signed[-1]


def test_a_store_is_what_it_was_after_all_that(local, s3_bucket, store):
    """The fixture's own oracle: what these tests put into S3 is a store."""
    assert s3_bucket.objects("s.bams3") == objects(local / "s.bams3")
    assert run("query", store, "--count").out == "1000\n"
