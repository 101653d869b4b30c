"""The boto3 client of a process: how it is set up, and the count of what it sends."""

from __future__ import annotations

import os
import threading
import urllib.parse
from typing import Any

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.client import Config

from .. import __version__
from ..errors import InputError
from .base import Requests, S3Options

#: Requests under way at once; more do not help a client in Python.
PARALLEL = 16
#: How often botocore sends a request in all.
SENDS = 10
_CONNECT_S, _READ_S = 10, 30

_CLIENTS: dict[tuple[S3Options, int], tuple[Any, Requests]] = {}
_CONNECTING = threading.Lock()


def connect(options: S3Options) -> tuple[Any, Requests]:
    """The client of this process for these options, and what is counted of it."""
    mine = options, os.getpid()  # a child must not write into its parent's connections
    with _CONNECTING:
        if mine not in _CLIENTS:
            client, requests = _new_client(options), Requests()
            _count(client, requests)
            _CLIENTS[mine] = client, requests
        return _CLIENTS[mine]


def _new_client(options: S3Options) -> Any:
    place = urllib.parse.urlsplit(options.endpoint_url or "https://aws")
    if place.scheme not in ("http", "https") or not place.netloc:
        hint = "write http://HOST:PORT or https://HOST"
        raise InputError(f"{options.endpoint_url}: no address of a server", kind="bad-endpoint", hint=hint)
    session = botocore.session.Session(profile=options.profile)
    own = session.get_config_variable
    retries = {} if own("max_attempts") else {"total_max_attempts": SENDS}
    own_s3 = session.get_scoped_config().get("s3")
    style = own_s3.get("addressing_style") if isinstance(own_s3, dict) else None
    config = Config(
        retries={"mode": "standard", **retries},  # adaptive slows all threads down after a single 503
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        max_pool_connections=4 * PARALLEL,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": style or ("path" if options.endpoint_url else "auto")},
        signature_version=UNSIGNED if options.anonymous else None,
        user_agent_extra=f"bams3/{__version__}",
    )
    return boto3.Session(botocore_session=session, region_name=options.region).client(
        "s3", endpoint_url=options.endpoint_url, config=config
    )


def _count(client: Any, requests: Requests) -> None:
    """Count what is sent, each time that it is."""

    def sending(request: Any, **_: Any) -> None:
        kind = _kind(request)
        more = {"bytes_out": int(request.headers.get("Content-Length", 0))} if kind == "puts" else {}
        retry = getattr(_SENDING, "sent", False)
        _SENDING.sent = True
        requests.add(**{kind: 1}, **more, retries=int(retry))

    def calling(**_: Any) -> None:
        _SENDING.sent = False

    client.meta.events.register("before-call.s3", calling)
    client.meta.events.register("before-send.s3", sending)


_SENDING = threading.local()
_COUNTED = {"GET": "gets", "PUT": "puts", "POST": "puts", "HEAD": "heads", "DELETE": "deletes"}


def _kind(request: Any) -> str:
    """What a request counts as."""
    query = urllib.parse.urlsplit(request.url).query
    if request.method == "GET" and ("list-type=" in query or "uploads" in query):
        return "lists"
    if request.method == "POST" and query.startswith("delete"):
        return "deletes"
    return _COUNTED.get(request.method, "puts")
