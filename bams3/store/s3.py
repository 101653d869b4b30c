"""A store in S3: a key is an object below a prefix. boto3 signs, sends and tries again.

One client a process and set of options, shared by its threads. Checksums are Content-MD5, which every
S3-compatible server takes; newer ones are sent only where an operation demands them.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import math
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, cast

import urllib3
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from ..errors import Bams3Error, InputError, StoreError
from .base import AS_CONFIGURED, Entry, MissingObjectError, S3Options, split_address
from .s3_client import PARALLEL, SENDS, connect
from .s3_errors import code_of, error_of, not_s3

#: Above this an object is uploaded in parts.
_MULTIPART_BYTES, _PART_BYTES, _PART_THREADS = 64 << 20, 16 << 20, 4
#: How often an answer is asked for that breaks off.
_READS = 6
#: Bodies from this size on are read into their place, in pieces of it.
_PIECE_BYTES = 1 << 20
#: S3 has no larger objects.
_MOST_BYTES = 50 << 40
_DELETE_KEYS = 1000
#: Says which conversion wrote a manifest, so that a put whose answer was lost is known for what it is.
_WRITE_ID = "bams3-write-id"
#: Answers that broke off behind their headers, which botocore does not ask for again.
_BROKEN = (
    boto.IncompleteReadError,
    boto.ReadTimeoutError,
    boto.ResponseStreamingError,
    ResponseParserError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
)


def s3_folder(address: str, options: S3Options) -> tuple[S3Store, str]:
    """The objects beside one, and its name among them."""
    bucket, key = split_address(address)
    folder, slash, name = key.rpartition("/")
    return S3Store(bucket, folder + slash, options), name


class S3Store:
    """Objects of a bucket, below a prefix that ends with ``/`` or is empty.

    Raises
    ------
    MissingObjectError
        There is no such object.
    InputError
        What a retry cannot heal: ``no-credentials``, ``no-permission``, ``no-such-bucket``, ``wrong-region``,
        ``bad-credentials``, ``bad-address``, ``archived``, ``s3-refused``.
    StoreError
        What it may: ``s3-unavailable``, ``no-connection``, ``expired-token``.

    Notes
    -----
    botocore tries again, with growing and random pauses, what throttling, 5xx and broken connections spoil;
    answers that break off later are asked for again here.
    """

    parallel = PARALLEL

    def __init__(self, bucket: str, prefix: str, options: S3Options = AS_CONFIGURED) -> None:
        self.bucket, self.prefix = bucket, prefix
        with self._errors(""):
            _, self.requests = connect(options)
        self._options = options

    @property
    def _client(self) -> Any:
        return connect(self._options)[0]

    @property
    def name(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def as_object(self) -> tuple[S3Store, str]:
        """The objects beside the one whose key is this prefix without its last ``/``, and its name."""
        folder, slash, name = self.prefix.rstrip("/").rpartition("/")
        return S3Store(self.bucket, folder + slash, self._options), name

    # -- reading --

    def get(self, key: str) -> bytes:
        return self._get_with_etag(key, {})[0]

    def get_range(self, key: str, offset: int, size_bytes: int) -> bytes:
        if size_bytes <= 0:
            return b""
        last = min(offset + size_bytes, 1 << 63) - 1
        try:
            return self._get_with_etag(key, {"Range": f"bytes={offset}-{last}"}, size_bytes)[0]
        except InputError as err:
            if err.kind == "s3-refused" and code_of(err.__cause__) in ("InvalidRange", "416"):
                return b""
            raise

    def get_range_of(self, key: str, etag: str, offset: int, size_bytes: int) -> bytes:
        """A range of an object that still has this ETag; InputError ``input-changed``."""
        try:
            how = {"Range": f"bytes={offset}-{offset + size_bytes - 1}", "IfMatch": etag}
            return self._get_with_etag(key, how, size_bytes)[0]
        except InputError as err:
            if code_of(err.__cause__) not in ("PreconditionFailed", "412"):
                raise
            words = f"{self.name}/{key} was changed while it was read"
            raise InputError(words, kind="input-changed", hint="run again") from err

    def _get_with_etag(
        self, key: str, how: dict[str, str], most_bytes: float = math.inf
    ) -> tuple[bytes, str]:
        with self._errors(key):
            for tries_left in range(_READS - 1, -1, -1):
                answer = self._call("get_object", Key=self.prefix + key, **how)
                if answer.get("ContentLength", math.inf) > min(most_bytes, _MOST_BYTES):
                    answer["Body"].close()
                    raise not_s3(f"{self.name}/{key}")
                try:
                    data = self._body(answer)
                except _BROKEN:
                    if not tries_left:
                        raise
                    self.requests.add(retries=1)
                    _pause(_READS - tries_left)
                else:
                    return data, answer.get("ETag", "")
        raise AssertionError

    def _body(self, answer: dict[str, Any]) -> bytes:
        start_s = time.perf_counter()
        with contextlib.closing(answer["Body"]) as body:
            size_bytes = int(answer["ContentLength"])
            data = body.read() if size_bytes < _PIECE_BYTES else _filled(body, size_bytes)
        self.requests.add(bytes_in=len(data), waited_s=time.perf_counter() - start_s)
        return data

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except MissingObjectError:
            return False
        return True

    def size(self, key: str) -> int:
        return int(self._head(key)["ContentLength"])

    def identity(self, key: str) -> tuple[int, str]:
        """Bytes of an object, and its ETag, which changes with them."""
        found = self._head(key)
        return int(found["ContentLength"]), str(found["ETag"])

    def _head(self, key: str) -> dict[str, Any]:
        try:
            return self._whole_head(key)
        except InputError as err:
            if code_of(err.__cause__) in ("400", "403"):  # a HEAD has no body that says more
                self.get_range(key, 0, 1)
            raise

    def _whole_head(self, key: str) -> dict[str, Any]:
        with self._errors(key):
            for tries_left in range(_READS - 1, -1, -1):
                answer = self._call("head_object", Key=self.prefix + key)
                if "ContentLength" in answer and "ETag" in answer:
                    return answer
                if tries_left:  # it broke off within its headers, which looks like an end of them
                    self.requests.add(retries=1)
                    _pause(_READS - tries_left)
            raise boto.IncompleteReadError(actual_bytes=0, expected_bytes=0)

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        more: dict[str, str] = {}
        while more is not None:
            with self._errors(prefix):
                page = self._call("list_objects_v2", Prefix=self.prefix + prefix, **more)
            try:
                found = [(one["Key"], one["Size"], one["LastModified"]) for one in page.get("Contents", ())]
                token = page["NextContinuationToken"] if page.get("IsTruncated") else ""
            except KeyError as err:
                raise not_s3(self.name) from err
            for key, size_bytes, modified in found:
                yield Entry(key.removeprefix(self.prefix), size_bytes, modified.timestamp())
            if not token:
                return
            if more.get("ContinuationToken") == token:
                raise not_s3(self.name)
            more = {"ContinuationToken": token}

    def list(self, prefix: str = "") -> Iterator[str]:
        yield from (entry.key for entry in self.entries(prefix))

    # -- writing --

    def put(self, key: str, data: bytes) -> None:
        with self._errors(key):
            if len(data) > _MULTIPART_BYTES:
                self.upload(key, io.BytesIO(data))
            else:
                self._put(key, data)

    def _put(self, key: str, data: bytes, **how: Any) -> None:
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        answer = self._call("put_object", Key=self.prefix + key, Body=data, ContentMD5=md5, **how)
        if "ETag" not in answer:
            raise not_s3(f"{self.name}/{key}")

    def upload(self, key: str, file: BinaryIO) -> None:
        """Write an object from a file, in parts where it is large; all of it, or nothing."""
        how = TransferConfig(
            multipart_threshold=_MULTIPART_BYTES,
            multipart_chunksize=_PART_BYTES,
            max_concurrency=_PART_THREADS,
        )
        with self._errors(key), self._waiting():
            self._client.upload_fileobj(file, self.bucket, self.prefix + key, Config=how)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self._put_if(key, data, IfNoneMatch="*")

    def put_if_match(self, key: str, data: bytes, expected: bytes) -> bool:
        try:
            found, etag = self._get_with_etag(key, {})
        except MissingObjectError:
            return False
        return found == expected and self._put_if(key, data, IfMatch=etag)

    def _put_if(self, key: str, data: bytes, **condition: str) -> bool:
        """Write under a condition; true also where the answer to a put that succeeded was lost."""
        write_id = uuid.uuid4().hex
        for tries_left in range(SENDS - 1, -1, -1):
            try:
                with self._errors(key):
                    self._put(key, data, Metadata={_WRITE_ID: write_id}, **condition)
            except (InputError, StoreError) as err:
                if self._wrote(key, write_id, err):
                    return True
                code = code_of(err.__cause__)
                if code in ("PreconditionFailed", "412") or isinstance(err, MissingObjectError):
                    return False
                if code != "ConditionalRequestConflict" or not tries_left:  # S3 asks to try those again
                    raise
                _pause(SENDS - tries_left)
            else:
                return True
        raise AssertionError

    def _wrote(self, key: str, write_id: str, failure: Bams3Error) -> bool:
        """Whether a put that failed is there all the same; raises the failure where nobody can tell."""
        try:
            return bool(self._head(key)["Metadata"].get(_WRITE_ID) == write_id)
        except MissingObjectError:
            return False
        except Bams3Error as err:
            raise err if isinstance(err, StoreError) else failure from err

    def delete(self, *keys: str) -> None:
        for first in range(0, len(keys), _DELETE_KEYS):
            self._delete(keys[first : first + _DELETE_KEYS])

    def _delete(self, keys: Sequence[str]) -> None:
        with self._errors(keys[0]):
            if len(keys) > 1 and self._deleted_at_once(keys):
                return
        for key in keys:
            with self._errors(key):
                self._call("delete_object", Key=self.prefix + key)

    def _deleted_at_once(self, keys: Sequence[str]) -> bool:
        """One request for many keys, where the server knows it."""
        objects = [{"Key": self.prefix + key} for key in keys]
        try:
            answer = self._call("delete_objects", Delete={"Objects": objects, "Quiet": True})
        except boto.ClientError as err:
            if code_of(err) in ("AccessDenied", "NoSuchBucket"):
                with self._errors(keys[0]):
                    raise
            return False
        return not answer.get("Errors")

    def unfinished(self) -> Iterator[tuple[Entry, Callable[[], None]]]:
        more: dict[str, str] | None = {}
        while more is not None:
            with self._errors(""):
                page = self._call("list_multipart_uploads", Prefix=self.prefix, **more)
            for one in page.get("Uploads", ()):
                key = one["Key"].removeprefix(self.prefix)
                give_up = functools.partial(self._abandon, key, one["UploadId"])
                yield Entry(key, 0, one["Initiated"].timestamp()), give_up
            markers = ("KeyMarker", "UploadIdMarker")
            more = {name: page[f"Next{name}"] for name in markers} if page.get("IsTruncated") else None

    def _abandon(self, key: str, upload_id: str) -> None:
        with self._errors(key), contextlib.suppress(self._client.exceptions.NoSuchUpload):
            self._call("abort_multipart_upload", Key=self.prefix + key, UploadId=upload_id)

    # -- the way there --

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        with self._waiting():
            answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self.bucket, **arguments)
            return answer

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.requests.add(waited_s=time.perf_counter() - start_s)

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """What boto3 raises as ours, in one line that names the object."""
        try:
            yield
        except RecursionError as err:  # botocore follows redirects without end
            raise not_s3(f"{self.name}/{key}".rstrip("/")) from err
        except (boto.BotoCoreError, boto.ClientError, *_BROKEN, ValueError, OSError) as err:
            raise error_of(err, f"{self.name}/{key}".rstrip("/"), self.bucket) from err


def _filled(body: Any, size_bytes: int) -> bytes:
    """A large body, which read() would hold twice for a moment."""
    data = bytearray(size_bytes)
    view, at = memoryview(data), 0
    while at < size_bytes:
        at += body.readinto(view[at : at + _PIECE_BYTES])  # raises where the body ends before
    return cast(bytes, data)


def _pause(attempt: int) -> None:
    """Wait before the n-th try: a random time that may be longer each time."""
    time.sleep(random.uniform(0, min(0.1 * 2**attempt, 5)))
