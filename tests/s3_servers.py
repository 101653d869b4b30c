"""Real servers for tests, and a proxy that puts faults between a client and one of them. All on 127.0.0.1.

    with moto_server() as s3, FaultProxy(s3.url) as proxy:      # moto takes 1 s to start: once for a session
        s3.client().put_object(Bucket=s3.make_bucket("cohort"), Key="a", Body=b"bytes")
        proxy.set(Fault("latency", seconds=0.05), Fault("error", code="SlowDown", methods=("GET",), count=3))
        s3_client(proxy.url, retries={"total_max_attempts": 4}).get_object(Bucket="cohort", Key="a")
        assert [row.status for row in proxy.log()] == [503, 503, 503, 200]

    with nginx_server(folder) as web:                           # in 0.02 s: one for each test
        ...                                                     # GET web.url + "/store/_metadata.json"
        assert sum(row.sent_bytes for row in web.log()) < 100_000

Every server is a process of its own, on a port that nobody else can have, and ends with the tests' process.
"""

import contextlib
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or ""
START_S = 30.0  # a server that has not answered by then never will

BEFORE = {"latency", "error", "reset"}  # upstream is not asked, or what it says does not matter
CUTS = {"reset-in-body", "truncated", "stall"}
AFTER = {"lost", "wrong-bytes"} | CUTS  # befall a response that succeeded (2xx), and only such a one
S3_STATUS = {
    "InternalError": 500, "SlowDown": 503, "ServiceUnavailable": 503, "RequestTimeout": 400,
    "ExpiredToken": 400, "InvalidToken": 400, "AccessDenied": 403, "SignatureDoesNotMatch": 403,
    "InvalidAccessKeyId": 403, "RequestTimeTooSkewed": 403, "PermanentRedirect": 301,
    "NoSuchKey": 404, "NoSuchBucket": 404, "PreconditionFailed": 412, "ConditionalRequestConflict": 409,
}  # fmt: skip


@dataclass(frozen=True)
class ServerRow:
    """A request as the server itself logged it."""

    method: str
    path: str
    query: str
    status: int
    sent_bytes: int  # of the body; moto: as announced
    range: str
    seconds: float  # moto: 0


class LoggedServer:
    """A server at ``url`` whose log is a file of JSON lines."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log
        self._start_byte = 0

    def log(self) -> list[ServerRow]:
        """Every request since the last clear whose response the client has."""
        self._settle()
        with self._log.open("rb") as file:
            file.seek(self._start_byte)
            return [row for row in map(_row, file) if not row.path.startswith("/.settle-")]

    def clear(self) -> None:
        """Forget the log."""
        self._settle()
        self._start_byte = self._log.stat().st_size

    def _settle(self) -> None:
        """Wait until every request that is answered is logged."""


def _row(line: bytes) -> ServerRow:
    told = json.loads(line)
    path, _, query = told.pop("target").partition("?")
    return ServerRow(path=path, query=query, **told)


# ------------------------------------------------------------------------------------------------ moto


def s3_client(url: str, **config: Any) -> Any:
    """A boto3 client for ``url`` with made-up credentials and no retries; ``config`` is botocore's."""
    import boto3
    from botocore.config import Config

    config = {"retries": {"total_max_attempts": 1}, "proxies": {}} | config
    made_up = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    return boto3.client(
        "s3", endpoint_url=url, config=Config(s3={"addressing_style": "path"}, **config), **made_up
    )


class MotoServer(LoggedServer):
    """S3 by moto, in memory."""

    def client(self, **config: Any) -> Any:
        """A boto3 client; each call makes a new one."""
        return s3_client(self.url, **config)

    def make_bucket(self, name: str, **options: Any) -> str:
        """A new bucket, whose name is returned; ``ACL="public-read"`` lets unsigned requests read."""
        self.client().create_bucket(Bucket=name, **options)
        return name


@contextlib.contextmanager
def moto_server() -> Iterator[MotoServer]:
    """A process of moto's S3. Takes 1 s to start: have one for a session, and a bucket for each test."""
    with tempfile.TemporaryDirectory(prefix="moto-") as folder, contextlib.ExitStack() as stack:
        log, errors = Path(folder, "log"), Path(folder, "errors")
        log.touch()
        with errors.open("wb") as sink:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": sink}
            process = subprocess.Popen([sys.executable, __file__, "moto", str(log)], **pipes)
        stack.callback(_stop, process)
        line = _line(process.stdout, START_S)
        if not line:
            raise RuntimeError(f"moto did not start: {errors.read_text()[-2000:]}")
        yield MotoServer(f"http://127.0.0.1:{int(line)}", log)


def _serve_moto(log: str) -> None:
    """The process of moto: says its port once it listens, ends with its standard input."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    rows = open(log, "a", buffering=1)  # noqa: SIM115 - for the life of the process

    class Handler(MotoRequestHandler):
        told: dict[str, Any] | None = None

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            asked = {"method": self.command, "target": self.path, "range": self.headers.get("Range", "")}
            self.told = asked | {"status": int(code), "sent_bytes": 0, "seconds": 0.0}

        def send_header(self, keyword: str, value: str) -> None:
            if self.told and keyword.lower() == "content-length" and self.command != "HEAD":
                self.told["sent_bytes"] = int(value)
            super().send_header(keyword, value)

        def end_headers(self) -> None:
            if self.told:  # not before, such as for 100 Continue
                rows.write(json.dumps(self.told) + "\n")
            super().end_headers()

        def log(self, *_: Any) -> None:
            """Nothing on the terminal."""

    app, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def atomic(environ: dict[str, Any], start_response: Any) -> Any:
        """Conditions and writes in one step, as S3 does it and moto does not."""
        has_condition = bool({"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"} & environ.keys())
        with lock if has_condition else contextlib.nullcontext():
            return app(environ, start_response)

    server = make_server("127.0.0.1", 0, atomic, threaded=True, request_handler=Handler)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


# ----------------------------------------------------------------------------------------------- nginx


_NGINX_CONFIG = """
daemon off;
worker_processes 1;  # so that a request is logged before a later one is answered
pid {scratch}/pid;
error_log {scratch}/errors;
{user}
events {{ worker_connections 1024; }}
http {{
    log_format rows escape=json '{{"method":"$request_method","target":"$request_uri","status":$status,'
        '"sent_bytes":$body_bytes_sent,"range":"$http_range","seconds":$request_time}}';
    access_log {scratch}/log rows;
    client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy; scgi_temp_path {scratch}/scgi;
    fastcgi_temp_path {scratch}/fastcgi; uwsgi_temp_path {scratch}/uwsgi;
    client_max_body_size 0;
    keepalive_requests 1000000;
    sendfile on; tcp_nopush on;
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port};
        location = /.settle-{token} {{ return 204; }}
        location / {{
            root "{folder}";
            dav_methods PUT;
            create_full_put_path on;
            absolute_redirect off;
            max_ranges 1;
        }}
    }}
}}
"""


class NginxServer(LoggedServer):
    """A folder served by nginx: GET and HEAD with ranges, PUT; queries and signatures are ignored."""

    def __init__(self, url: str, log: Path, token: str) -> None:
        super().__init__(url, log)
        self._token = token

    def _settle(self) -> None:
        """Ask, and await the row: nginx logs after it answers, but one worker does one thing at a time."""
        mark = f"/.settle-{self._token}?{secrets.token_hex(8)}"
        no_proxy = urllib.request.ProxyHandler({})  # whatever the environment names
        urllib.request.build_opener(no_proxy).open(self.url + mark, timeout=START_S).close()
        end_s = time.monotonic() + START_S
        while mark.encode() not in self._log.read_bytes():
            if time.monotonic() > end_s:
                raise TimeoutError("nginx does not log")
            time.sleep(0.001)


@contextlib.contextmanager
def nginx_server(folder: Path | str) -> Iterator[NginxServer]:
    """A process of nginx that serves ``folder``. Starts in about 0.02 s; start it in the main thread."""
    with tempfile.TemporaryDirectory(prefix="nginx-") as scratch, contextlib.ExitStack() as stack:
        token = secrets.token_hex(8)
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
        port = listening.getsockname()[1]
        config = Path(scratch, "config")
        user = "user root;" if os.geteuid() == 0 else ""
        names = {"scratch": scratch, "folder": Path(folder).absolute(), "port": port}
        config.write_text(_NGINX_CONFIG.format(**names, token=token, user=user))
        process = _start_nginx(scratch, config, listening)
        stack.callback(_stop, process)
        listening.close()  # nginx has it; should nginx die, nobody listens
        server = NginxServer(f"http://127.0.0.1:{port}", Path(scratch, "log"), token)
        try:
            server.clear()
        except OSError as error:
            raise RuntimeError(f"nginx did not start: {Path(scratch, 'errors').read_text()}") from error
        yield server


def _start_nginx(scratch: str, config: Path, listening: socket.socket) -> "subprocess.Popen[bytes]":
    """Give nginx a socket that listens already: no other process can take its port in between."""
    program = [NGINX, "-p", scratch, "-e", f"{scratch}/errors", "-c", str(config)]
    if setpriv := shutil.which("setpriv"):
        program = [setpriv, "--pdeathsig", "TERM", *program]
    given = {"pass_fds": [listening.fileno()], "env": os.environ | {"NGINX": f"{listening.fileno()};"}}
    null = subprocess.DEVNULL
    return subprocess.Popen(program, stdin=null, stdout=null, stderr=null, **given)


# ---------------------------------------------------------------------------------------------- faults


@dataclass(frozen=True)
class Fault:
    """One fault and when it strikes.

    ============= ============================================================================
    latency       the response (an error or a reset, too) waits ``seconds``; latencies add up
    error         S3's answer for ``code``; the request's body is read, and upstream never asked
    reset         TCP reset before the request's body is read; upstream never asked
    lost          upstream does what was asked, and the client gets a reset
    reset-in-body half of the response, then a TCP reset
    truncated     half of the response, then an orderly close
    stall         half of the response, nothing for ``seconds``, then the rest
    wrong-bytes   ``wrong_bytes`` bytes of a GET's body are changed, its length is not
    ============= ============================================================================

    The last five befall only responses that succeeded (2xx). Of faults that would strike a request every
    latency does, and the first of the others. A response without a body (HEAD, an empty object) is cut
    within its head; an error has no body there either.
    """

    kind: str
    code: str = "InternalError"  # of an error, from S3_STATUS
    seconds: float = 0.0  # of a latency or a stall; a request ends after 60, come what may
    wrong_bytes: int = 3
    region: str = "eu-west-1"  # x-amz-bucket-region of a PermanentRedirect
    methods: tuple[str, ...] = ()  # none: all
    path: str = ""  # what the path and query, as sent, hold somewhere
    after: int = 0  # this many matching requests pass first
    count: int | None = None  # this many strikes at most
    once: bool = False  # one strike for each method, path, query and range: the next try is right
    probability: float = 1.0
    burst: int = 1  # a strike takes this many matching requests in a row
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in BEFORE | AFTER or self.code not in S3_STATUS:
            raise ValueError(f"no such fault: {self}")

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.code}" if self.kind == "error" else self.kind


@dataclass
class Row:
    """A request that the proxy got, and what it answered."""

    connection: int
    method: str
    path: str
    query: str
    headers: dict[str, str]
    started_s: float
    status: int = 0  # sent to the client; 0: none
    sent_bytes: int = 0  # of the body, to the client
    received_bytes: int = 0  # of the body, from the client
    nth: int = 0  # how many requests of this method, path, query and range came before, since the last set
    fault: str = ""  # labels of what struck, joined by +
    seconds: float = 0.0
    done: bool = False

    @property
    def range(self) -> str:
        return self.headers.get("range", "")


class FaultProxy:
    """A proxy in front of ``upstream_url``, running within ``with``. Starts in about 0.1 s."""

    def __init__(self, upstream_url: str) -> None:
        self.upstream_url = upstream_url
        self.url = ""
        self._lock = threading.Lock()

    def __enter__(self) -> "FaultProxy":
        program = [sys.executable, str(Path(__file__).with_name("fault_proxy.py"))]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen([*program, urlsplit(self.upstream_url).netloc], **pipes)
        try:
            self.url = f"http://127.0.0.1:{self._reply()}"
        except BaseException:
            _stop(self._process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _stop(self._process)

    def set(self, *faults: Fault) -> None:
        """From now on these faults and no others; none: a plain proxy. Counts and draws start anew."""
        self._ask("set", [asdict(fault) for fault in faults])

    def log(self, settle_s: float = 2.0) -> list[Row]:
        """Every request since the last clear, after up to ``settle_s`` for those that are still under way."""
        return [Row(**row) for row in self._ask("log", settle_s)]

    def clear(self) -> None:
        """Forget the log; faults and their counts stay."""
        self._ask("clear", None)

    def _ask(self, verb: str, value: object) -> Any:
        with self._lock:
            self._process.stdin.write(json.dumps([verb, value]).encode() + b"\n")
            self._process.stdin.flush()
            return self._reply()

    def _reply(self) -> Any:
        if line := _line(self._process.stdout, START_S):
            return json.loads(line)
        raise TimeoutError("the proxy does not answer")


# ------------------------------------------------------------------------------------------- processes


def _line(pipe: IO[bytes], limit_s: float) -> bytes:
    """The next line of a process; empty if it ended or ``limit_s`` passed."""
    return pipe.readline() if select.select([pipe], [], [], limit_s)[0] else b""


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


if __name__ == "__main__":
    _serve_moto(sys.argv[2])
