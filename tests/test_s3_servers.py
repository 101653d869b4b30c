"""The servers of the tests, and that every fault does what it says, for GET and for HEAD."""

import http.client
import random
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from s3_servers import NGINX, Fault, FaultProxy, moto_server, nginx_server, s3_client

pytestmark = pytest.mark.engine
BODY = random.Random(1).randbytes(1 << 20)


@pytest.fixture(scope="module")
def moto():
    with moto_server() as server:
        server.make_bucket("cohort")
        yield server


@pytest.fixture
def web(tmp_path):
    if not NGINX:
        pytest.skip("no nginx")
    (tmp_path / "store").mkdir()
    (tmp_path / "store/a").write_bytes(BODY)
    (tmp_path / "store/empty").write_bytes(b"")
    with nginx_server(tmp_path) as server:
        yield server


@pytest.fixture
def proxy(web):
    with FaultProxy(web.url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy):
    with Client(proxy.url) as client:
        yield client


class Client:
    """One connection, which tells what came: status, headers and body, or the error."""

    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def ask(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()

    def get(self, path="/store/a", size_bytes=1 << 16):
        return self.ask("GET", path, Range=f"bytes=0-{size_bytes - 1}")[::2]


def ask(proxy, *arguments, **headers):
    """A request on a connection of its own."""
    with Client(proxy.url) as client:
        return client.ask(*arguments, **headers)


def error_of(proxy, *arguments, **headers):
    """Type of the error that a request ends with."""
    with pytest.raises((OSError, http.client.HTTPException)) as caught:
        ask(proxy, *arguments, **headers)
    return caught.type


def test_nginx_serves_ranges_and_logs_what_it_sent(web):
    status, headers, body = ask(web, "GET", "/store/a?x=1", Range="bytes=5-14")
    assert (status, body, headers["Content-Range"]) == (206, BODY[5:15], "bytes 5-14/1048576")
    assert ask(web, "HEAD", "/store/a")[1]["Content-Length"] == "1048576"
    assert ask(web, "GET", "/store/b")[0] == 404
    first, second, third = web.log()
    assert (first.method, first.path, first.query, first.range) == ("GET", "/store/a", "x=1", "bytes=5-14")
    assert (first.status, first.sent_bytes, second.sent_bytes, third.status) == (206, 10, 0, 404)
    web.clear()
    assert web.log() == []


def test_nginx_takes_objects(web, tmp_path):
    assert ask(web, "PUT", "/store/deep/er/b", b"bytes")[0] == 201
    assert (tmp_path / "store/deep/er/b").read_bytes() == b"bytes"
    assert ask(web, "GET", "/store/deep/er/b")[2] == b"bytes"


def test_every_request_is_in_the_log_as_soon_as_it_is_answered(web):
    with ThreadPoolExecutor(8) as pool:
        for n_asked in range(1, 6):
            assert set(pool.map(lambda _: ask(web, "GET", "/store/a")[0], range(20))) == {200}
            assert len(web.log()) == 20 * n_asked


def test_moto_logs_what_was_asked(moto):
    client = moto.client()
    client.put_object(Bucket="cohort", Key="logged", Body=BODY)
    moto.clear()
    answer = client.get_object(Bucket="cohort", Key="logged", Range="bytes=10-19")
    assert answer["Body"].read() == BODY[10:20]
    client.head_object(Bucket="cohort", Key="logged")
    told = [(row.method, row.path, row.status, row.sent_bytes, row.range) for row in moto.log()]
    path = "/cohort/logged"
    assert told == [("GET", path, 206, 10, "bytes=10-19"), ("HEAD", path, 200, 0, "")]


def test_objects_of_any_size_pass_the_proxy_unchanged(moto):
    with FaultProxy(moto.url) as proxy:
        client = s3_client(proxy.url)
        for size_bytes in (0, 1, 1 << 16, 10_000_019):
            body = random.Random(size_bytes).randbytes(size_bytes)
            client.put_object(Bucket="cohort", Key=f"of/{size_bytes}", Body=body)
            assert client.get_object(Bucket="cohort", Key=f"of/{size_bytes}")["Body"].read() == body
        assert len(client.list_objects_v2(Bucket="cohort", Prefix="of/")["Contents"]) == 4
        put, get = proxy.log()[-3:-1]
        assert (put.method, put.received_bytes, put.headers["expect"]) == ("PUT", len(body), "100-continue")
        assert (get.sent_bytes, get.status, get.connection) == (len(body), 200, put.connection)


def test_chunked_bodies_pass_in_both_directions(proxy, client, tmp_path):
    client.connection.request("PUT", "/store/c", iter([b"ab", b"cde" * 99_999]), encode_chunked=True)
    assert client.connection.getresponse().status == 201
    assert (tmp_path / "store/c").read_bytes() == b"ab" + b"cde" * 99_999
    assert [row.received_bytes for row in proxy.log()] == [299_999]


def test_one_connection_serves_many_requests(proxy, client, web):
    for _ in range(50):
        assert client.get() == (206, BODY[: 1 << 16])
    assert {row.connection for row in proxy.log()} == {1}
    assert [row.sent_bytes for row in web.log()] == [row.sent_bytes for row in proxy.log()] == [1 << 16] * 50


def test_latency_is_paid_by_each_request_and_not_by_all_together(proxy):
    proxy.set(Fault("latency", seconds=0.05))

    def ten_of(_):
        with Client(proxy.url) as client:
            return [client.get()[0] for _ in range(10)]

    started_s = time.perf_counter()
    with ThreadPoolExecutor(32) as pool:
        assert [status for ten in pool.map(ten_of, range(32)) for status in ten] == [206] * 320
    assert 0.5 <= time.perf_counter() - started_s < 5
    assert all(row.seconds >= 0.05 for row in proxy.log())


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
@pytest.mark.parametrize(
    ("code", "status"),
    [("InternalError", 500), ("SlowDown", 503), ("ExpiredToken", 400), ("SignatureDoesNotMatch", 403)],
)
def test_an_error_is_answered_as_s3_does(proxy, client, web, code, status, method):
    proxy.set(Fault("error", code=code, count=2))
    for _ in range(2):
        got, _, body = client.ask(method, "/store/b", b"x" * 99_999 if method == "PUT" else None)
        assert got == status
        assert (f"<Code>{code}</Code>".encode() in body) == (method != "HEAD")
    assert client.get()[0] == 206
    assert [row.fault for row in proxy.log()] == [f"error:{code}"] * 2 + [""]
    assert len(web.log()) == 1


def test_a_redirect_names_the_region(proxy):
    proxy.set(Fault("error", code="PermanentRedirect", region="ap-south-1"))
    for method in ("GET", "HEAD"):
        status, headers, _ = ask(proxy, method, "/store/a")
        assert (status, headers["x-amz-bucket-region"]) == (301, "ap-south-1")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
@pytest.mark.parametrize("kind", ["reset", "lost"])
def test_a_reset_comes_instead_of_the_response(proxy, web, tmp_path, kind, method):
    proxy.set(Fault(kind, path="store/", count=1))
    body = b"x" * 5_000_000 if method == "PUT" else None
    assert issubclass(error_of(proxy, method, "/store/a", body), (ConnectionResetError, BrokenPipeError))
    assert [(row.status, row.fault) for row in proxy.log()] == [(0, kind)]
    assert len(web.log()) == (kind == "lost")
    done = method == "PUT" and kind == "lost"
    assert (tmp_path / "store/a").read_bytes() == (body if done else BODY)
    assert ask(proxy, "GET", "/store/a")[0] == 200


def test_a_body_is_reset_truncated_or_stalled_at_its_half(proxy):
    proxy.set(Fault("reset-in-body", count=1))
    assert error_of(proxy, "GET", "/store/a") is ConnectionResetError
    proxy.set(Fault("truncated", count=1))
    assert error_of(proxy, "GET", "/store/a") is http.client.IncompleteRead
    proxy.set(Fault("stall", seconds=0.5, count=1))
    assert ask(proxy, "GET", "/store/a")[2] == BODY
    rows = proxy.log()
    assert [row.sent_bytes for row in rows] == [1 << 19, 1 << 19, 1 << 20]
    assert [row.status for row in rows] == [200] * 3
    assert rows[2].seconds >= 0.5


@pytest.mark.parametrize("what", [("HEAD", "/store/a"), ("GET", "/store/empty")])
def test_without_a_body_the_head_is_cut(proxy, client, what):
    proxy.set(Fault("reset-in-body", count=1))
    assert error_of(proxy, *what) is ConnectionResetError
    proxy.set(Fault("truncated", count=1))
    client.connection.request(*what)
    assert "ETag" not in dict(client.connection.getresponse().getheaders())
    proxy.set(Fault("stall", seconds=0.3, count=1))
    assert ask(proxy, *what)[0] == 200
    assert proxy.log()[-1].seconds >= 0.3


def test_a_client_that_leaves_a_stall_ends_it(proxy, client):
    proxy.set(Fault("stall", seconds=30))
    client.connection.timeout = 0.2
    with pytest.raises(TimeoutError):
        client.get()
    client.connection.close()
    (row,) = proxy.log()
    assert row.done
    assert row.seconds < 5


def test_wrong_bytes_keep_the_length_and_can_be_right_at_the_next_try(proxy, client):
    proxy.set(Fault("wrong-bytes", wrong_bytes=5, once=True))
    for size_bytes in (1 << 16, 1 << 20):
        status, body = client.get(size_bytes=size_bytes)
        assert (status, len(body)) == (206, size_bytes)
        assert sum(a != b for a, b in zip(body, BODY, strict=False)) == 5
        assert client.get(size_bytes=size_bytes) == (206, BODY[:size_bytes])
    assert client.ask("HEAD", "/store/a")[0] == 200
    proxy.set(Fault("wrong-bytes"))
    assert all(client.get()[1] != BODY[: 1 << 16] for _ in range(5))


def test_faults_strike_after_a_while_in_bursts_and_where_they_are_meant_to(proxy, client):
    proxy.set(Fault("error", after=2, count=2, methods=("GET",), path="store/a"))
    assert client.ask("GET", "/store/empty")[0] == 200
    assert client.ask("HEAD", "/store/a")[0] == 200
    assert [client.get()[0] for _ in range(6)] == [206, 206, 500, 500, 206, 206]
    proxy.set(Fault("error", code="SlowDown", probability=0.1, burst=4, seed=3))
    told = "".join("x" if client.get()[0] == 503 else "." for _ in range(200))
    assert 20 < told.count("x") < 120
    assert {len(run) % 4 for run in told.split(".")[:-1]} == {0}


def test_races_do_not_change_who_is_struck(proxy):
    def struck(n_threads):
        proxy.set(Fault("error", probability=0.3, seed=7))
        with ThreadPoolExecutor(n_threads) as pool:
            tried = pool.map(lambda i: ask(proxy, "GET", "/store/a", Range=f"bytes={i}-{i}")[0], range(100))
        return list(tried)

    alone = struck(1)
    assert 15 < alone.count(500) < 45
    assert struck(16) == alone


def test_a_server_that_is_gone_is_a_bad_gateway():
    with FaultProxy("http://127.0.0.1:1") as proxy:
        assert ask(proxy, "GET", "/store/a")[0] == 502
        assert "upstream" in proxy.log()[0].fault


def test_boto3_tries_again(moto):
    moto.client().put_object(Bucket="cohort", Key="again", Body=BODY)
    with FaultProxy(moto.url) as proxy:
        client = s3_client(proxy.url, retries={"total_max_attempts": 3, "mode": "standard"})
        for fault in (
            Fault("error", code="SlowDown", count=1),
            Fault("reset", count=1),
            Fault("lost", count=1),
        ):
            proxy.set(fault)
            proxy.clear()
            client.put_object(Bucket="cohort", Key="put-again", Body=BODY)
            assert [row.status for row in proxy.log()][1:] == [200]
            assert client.get_object(Bucket="cohort", Key="again")["Body"].read() == BODY
