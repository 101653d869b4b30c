"""The process of ``s3_servers.FaultProxy``: faults between a client and an HTTP server.

Whether a fault strikes is drawn from its seed, the request (method, path, query, range), and how often that
request came since the faults were set: threads that race each other meet the same faults in every run. Only
``after``, ``count`` and ``burst`` go by the order in which requests come.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field

from s3_servers import AFTER, CUTS, S3_STATUS, Fault, Row

PIECE_BYTES = 1 << 18
PATIENCE_S = 60.0  # for one request, its latency and stall among it
_RANDOM_QUERY = re.compile(r"(uploadId|continuation-token)=[^&]*")


class _Plan:
    """A fault, and how often it met and struck requests."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.met = self.strikes = self.burst_left = 0
        self.struck: set[str] = set()

    def strikes_at(self, row: Row, name: str) -> bool:
        """Whether this fault befalls a request of that ``name``."""
        fault = self.fault
        if (fault.methods and row.method not in fault.methods) or fault.path not in f"{row.path}?{row.query}":
            return False
        self.met += 1
        if self.met <= fault.after or (fault.once and name in self.struck):
            return False
        if fault.count is not None and self.strikes >= fault.count:
            return False
        if self.burst_left == 0:
            if random.Random(f"{fault.seed} {name} {row.nth}").random() >= fault.probability:
                return False
            self.burst_left = fault.burst
        self.burst_left -= 1
        self.strikes += 1
        self.struck.add(name)
        return True


class _Faults:
    """What to do to which request."""

    def __init__(self, faults: list[Fault]) -> None:
        self.plans = [_Plan(fault) for fault in faults]
        self.seen: Counter[str] = Counter()

    def pick(self, row: Row, in_response: bool) -> list[Fault]:
        """What befalls a request before (or after) upstream did it: all latencies, one other at most."""
        if not self.plans:
            return []
        name = f"{row.method} {row.path} {_RANDOM_QUERY.sub('', row.query)} {row.range}"
        if not in_response:
            row.nth = self.seen[name]
            self.seen[name] += 1
        picked: list[Fault] = []
        for plan in self.plans:
            kind = plan.fault.kind
            if (kind in AFTER) != in_response or (kind == "wrong-bytes" and row.method != "GET"):
                continue
            if kind != "latency" and any(fault.kind != "latency" for fault in picked):
                continue
            if plan.strikes_at(row, name):
                picked.append(plan.fault)
        row.fault = "+".join(filter(None, [row.fault, *(fault.label for fault in picked)]))
        return picked


class _GoneError(Exception):
    """The client's connection is at its end."""


@dataclass
class _Head:
    """A request's or a response's first line and headers, as they came."""

    first: list[str]
    fields: list[tuple[str, str]]
    named: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.named = {name.lower(): value for name, value in self.fields}

    @property
    def chunked(self) -> bool:
        return "chunked" in self.named.get("transfer-encoding", "")

    def encode(self) -> bytes:
        """The bytes to send on: all but the headers of the hop itself, which stays open."""
        hop = {"connection", "keep-alive", "expect", "proxy-connection"}
        kept = [f"{name}: {value}" for name, value in self.fields if name.lower() not in hop]
        return "\r\n".join([" ".join(self.first), *kept, "", ""]).encode("latin-1")

    def frame(self, piece: bytes) -> bytes:
        """A piece of the body as it is sent; an empty one ends the body."""
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    pairs = [line.partition(":") for line in lines[1:]]
    return _Head(lines[0].split(" ", 2), [(name, value.strip()) for name, _, value in pairs])


async def _pieces(reader: asyncio.StreamReader, head: _Head) -> AsyncIterator[bytes]:
    """The body that follows a head: chunked, or of a known length."""
    if head.chunked:
        while length := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield await reader.readexactly(length)
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return
    left = int(head.named.get("content-length", 0))
    while left:
        if not (piece := await reader.read(min(left, PIECE_BYTES))):
            raise EOFError("the body ended early")
        left -= len(piece)
        yield piece


async def _to_close(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(PIECE_BYTES):
        yield piece


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _error(fault: Fault) -> tuple[_Head, bytes]:
    """S3's answer for the code of a fault."""
    status = S3_STATUS[fault.code]
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{fault.code}</Code>'
        f"<Message>injected</Message><RequestId>FA017</RequestId><HostId>proxy</HostId></Error>"
    ).encode()
    fields = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    fields.append(("x-amz-request-id", "FA017"))
    if status == 301:
        fields.append(("x-amz-bucket-region", fault.region))
    return _Head(["HTTP/1.1", str(status), fault.code], fields), body


class _Flips:
    """Bytes of a body to be changed, each by another amount than zero."""

    def __init__(self, fault: Fault, row: Row, body_bytes: int) -> None:
        draw = random.Random(f"{fault.seed} {row.path} {row.range} {row.nth}")
        self.at = sorted(draw.sample(range(body_bytes), min(body_bytes, fault.wrong_bytes)))
        self.done_bytes = 0

    def apply(self, piece: bytes) -> bytes:
        """The next piece of the body."""
        changed = bytearray(piece)
        for at in self.at:
            if 0 <= at - self.done_bytes < len(piece):
                changed[at - self.done_bytes] ^= 1 + at % 255
        self.done_bytes += len(piece)
        return bytes(changed)


class _Connection:
    """One connection of a client, and the one that the proxy keeps to upstream for it."""

    def __init__(self, proxy: "_Proxy", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.proxy, self.reader, self.writer = proxy, reader, writer
        self.number = proxy.n_connections = proxy.n_connections + 1
        self.upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        writer.transport.set_write_buffer_limits(high=0)  # what is drained is in the kernel

    async def serve(self) -> None:
        """Answer requests until either side has enough."""
        gone = (_GoneError, OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError)
        with contextlib.suppress(*gone):
            while await self._serve_one(await _read_head(self.reader)):
                pass
        self._forget_upstream()
        self.writer.close()

    async def _serve_one(self, request: _Head) -> bool:
        """One request; whether the client may send another."""
        path, _, query = request.first[1].partition("?")
        row = Row(self.number, request.first[0], path, query, request.named, time.time())
        self.proxy.rows.append(row)
        started_s = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._answer(request, row)
        finally:
            row.seconds, row.done = time.perf_counter() - started_s, True
        return request.named.get("connection", "").lower() != "close" and request.first[2] == "HTTP/1.1"

    async def _answer(self, request: _Head, row: Row) -> None:
        picked = self.proxy.faults.pick(row, in_response=False)
        wait_s = sum(fault.seconds for fault in picked if fault.kind == "latency")
        other = next((fault for fault in picked if fault.kind != "latency"), None)
        if other and other.kind == "reset":
            await self._wait(wait_s)
            self._reset()
        if "100-continue" in request.named.get("expect", "").lower():
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if other is None:
            await self._forward(request, row, wait_s)
            return
        async for piece in _pieces(self.reader, request):
            row.received_bytes += len(piece)
        await self._wait(wait_s)
        head, body = _error(other)
        await self._send(row, head, None if row.method == "HEAD" else _one(body))

    async def _forward(self, request: _Head, row: Row, wait_s: float) -> None:
        """Have upstream answer, and befall a response that succeeded with what is due."""
        try:
            head, pieces = await self._ask_upstream(request, row)
        except (OSError, EOFError) as error:
            self._forget_upstream()
            row.fault = f"upstream: {error!r}"
            await self._send(row, _Head(["HTTP/1.1", "502", "Bad Gateway"], [("Content-Length", "0")]), None)
            raise _GoneError from error  # what is left of the request's body is not a request
        await self._wait(wait_s)
        due = self.proxy.faults.pick(row, in_response=True) if head.first[1].startswith("2") else []
        if due and due[0].kind == "lost":
            self._reset()
        await self._send(row, head, pieces, due[0] if due else None)
        if head.named.get("connection", "").lower() == "close":
            self._forget_upstream()

    async def _ask_upstream(self, request: _Head, row: Row) -> tuple[_Head, AsyncIterator[bytes] | None]:
        """Send a request on as it streams in: the head of the answer, and its body to be streamed out."""
        if not self.upstream or self.upstream[0].at_eof():
            self._forget_upstream()
            self.upstream = await asyncio.open_connection(*self.proxy.upstream, limit=PIECE_BYTES)
        reader, writer = self.upstream
        writer.write(request.encode())
        async for piece in _pieces(self.reader, request):
            row.received_bytes += len(piece)
            writer.write(request.frame(piece))
            await writer.drain()
        writer.write(request.frame(b""))
        head = await _read_head(reader)
        while head.first[1].startswith("1"):
            head = await _read_head(reader)
        if row.method == "HEAD" or head.first[1] in ("204", "304"):
            return head, None
        if head.chunked or "content-length" in head.named:
            return head, _pieces(reader, head)
        fields = [*head.fields, ("Connection", "close"), ("Transfer-Encoding", "chunked")]
        return _Head(head.first, fields), _to_close(reader)

    async def _send(
        self, row: Row, head: _Head, pieces: AsyncIterator[bytes] | None, fault: Fault | None = None
    ) -> None:
        """Send a response on, whole or cut at its half; one of unknown length is cut before its end."""
        row.status = int(head.first[1])
        start, body_bytes = head.encode(), int(head.named.get("content-length", 1 << 62))
        cut = fault if fault and fault.kind in CUTS else None
        if pieces is None or body_bytes == 0:
            await self._send_in_halves(start, cut)
            return
        flips = (
            _Flips(fault, row, 1 if head.chunked else body_bytes)
            if fault and fault.kind == "wrong-bytes"
            else None
        )
        self.writer.write(start)
        left = body_bytes // 2
        async for whole in pieces:
            piece = flips.apply(whole) if flips else whole
            if cut and left <= len(piece):
                await self._put(row, head, piece[:left])
                await self._cut(cut)
                piece, cut = piece[left:], None
            left -= len(piece)
            await self._put(row, head, piece)
        if cut:
            await self._cut(cut)
        self.writer.write(head.frame(b""))
        await self.writer.drain()

    async def _put(self, row: Row, head: _Head, piece: bytes) -> None:
        row.sent_bytes += len(piece)  # first: whoever has the bytes finds them in the log
        if piece:
            self.writer.write(head.frame(piece))
            await self.writer.drain()

    async def _send_in_halves(self, start: bytes, cut: Fault | None) -> None:
        half = len(start) // 2 if cut else len(start)
        self.writer.write(start[:half])
        if cut:
            await self._cut(cut)
            self.writer.write(start[half:])
        await self.writer.drain()

    async def _cut(self, fault: Fault) -> None:
        """What happens at the half of a response."""
        await self.writer.drain()
        if fault.kind == "truncated":
            raise _GoneError
        if fault.kind == "reset-in-body":
            await self._wait(0.01)  # a reset overtakes bytes that are still under way
            self._reset()
        await self._wait(fault.seconds)

    async def _wait(self, seconds: float) -> None:
        """Wait, unless the client leaves."""
        end_s = time.perf_counter() + seconds
        while (left_s := end_s - time.perf_counter()) > 0:
            await asyncio.sleep(min(left_s, 0.1))
            if self.reader.at_eof() or self.writer.transport.is_closing():
                raise _GoneError

    def _reset(self) -> None:
        """Close the client's connection by a TCP reset."""
        on = struct.pack("ii", 1, 0)
        self.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, on)
        self.writer.transport.abort()
        raise _GoneError

    def _forget_upstream(self) -> None:
        if self.upstream:
            self.upstream[1].close()
            self.upstream = None


class _Proxy:
    """What the connections share, and the commands that come by the pipe."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self.upstream = (host, int(port))
        self.faults, self.rows, self.n_connections = _Faults([]), list[Row](), 0

    async def serve(self) -> None:
        """Listen on a free port, say which, and serve until the pipe of commands is closed."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _Connection(self, reader, writer).serve()

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=PIECE_BYTES, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        threading.Thread(target=self._obey, daemon=True).start()
        await server.serve_forever()

    def _obey(self) -> None:
        for line in sys.stdin:
            verb, value = json.loads(line)
            print(json.dumps(getattr(self, f"_do_{verb}")(value)), flush=True)
        os._exit(0)

    def _do_set(self, faults: list[dict]) -> None:
        self.faults = _Faults([Fault(**fault) for fault in faults])

    def _do_clear(self, _: None) -> None:
        self.rows = []

    def _do_log(self, settle_s: float) -> list[dict]:
        end_s = time.perf_counter() + settle_s
        while any(not row.done for row in self.rows) and time.perf_counter() < end_s:
            time.sleep(0.005)
        return [asdict(row) for row in self.rows]


if __name__ == "__main__":
    asyncio.run(_Proxy(sys.argv[1]).serve())
