"""Streams of tables: their first bytes, and the text in those that are packed by gzip or zstd."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

from isal import igzip, isal_zlib

from ..errors import CorruptDataError, InputError

_HEAD_BYTES = 8
_PIPE_BYTES = 1 << 20
_FOREIGN = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip, as workbooks are"}


def opened(path: Path) -> BinaryIO:
    """A file to read.

    Raises
    ------
    InputError
        ``no-such-file``, ``not-a-file``, ``not-readable``.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", kind="no-such-file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder, not a file", kind="not-a-file") from None
    except OSError as err:
        raise InputError(f"{path}: cannot be read: {err.strerror}", kind="not-readable") from None


def peeked(stream: BinaryIO) -> tuple[bytes, BinaryIO]:
    """The first bytes, and a stream that still has them; a peek into a pipe could give fewer."""
    head = b""
    while len(head) < _HEAD_BYTES and (more := stream.read(_HEAD_BYTES - len(head))):
        head += more
    if stream.seekable():
        stream.seek(-len(head), io.SEEK_CUR)
        return head, stream
    if head.startswith(b"PAR1"):  # its directory is at its end
        return head, io.BytesIO(head + stream.read())
    return head, io.BufferedReader(_Rejoined(head, stream), _PIPE_BYTES)


class _Rejoined(io.RawIOBase):
    """A stream with the bytes that were taken from it in front."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head or self._rest.read(len(buffer))
        data, self._head = data[: len(buffer)], data[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def refuse_foreign(head: bytes, name: str) -> None:
    """Refuse a file that is packed in a way that is not read here: kind ``not-a-table``."""
    for magic, form in _FOREIGN.items():
        if head.startswith(magic):
            words, hint = f"{name}: packed by {form}", "unpack it, or give it as .gz, .zst or Parquet"
            raise InputError(words, kind="not-a-table", hint=hint)


class Text:
    """The text in a stream that is packed by gzip or zstd, or not at all. A file that was cut is noticed."""

    def __init__(self, stream: BinaryIO, head: bytes, name: str) -> None:
        self._name = name
        self._inner: Any = stream
        if _is_zstd(head):
            import pyarrow as pa  # noqa: PLC0415  # a tenth of a second

            # zstandard's own reader ends quietly where a file was cut; Arrow's closes what is below it
            below = pa.PythonFile(_Rejoined(b"", stream), "r")
            self._inner = pa.CompressedInputStream(below, "zstd")
        elif head.startswith(b"\x1f\x8b"):
            self._inner = igzip.IGzipFile(fileobj=stream)  # type: ignore[no-untyped-call]

    def read(self, n_bytes: int) -> bytes:
        """Some of the next bytes; none at the end.

        Raises
        ------
        CorruptDataError
            ``truncated-file``, ``damaged-file``.
        """
        try:
            return bytes(self._inner.read(n_bytes))
        except EOFError:
            raise truncated(self._name) from None
        except isal_zlib.error as err:  # type: ignore[misc]  # its stub declares exceptions as instances
            raise damaged(self._name, err) from None
        except OSError as err:
            if err.errno is not None:  # of the disk, not of what is on it
                words = f"{self._name}: cannot be read: {err.strerror}"
                raise InputError(words, kind="not-readable") from None
            if "Truncated" in str(err):
                raise truncated(self._name) from None
            raise damaged(self._name, err) from None


def _is_zstd(head: bytes) -> bool:
    """A frame, or one to skip, with which pzstd begins."""
    return head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5)


def truncated(name: str) -> CorruptDataError:
    """The error for a file that ends too early."""
    words = f"{name}: the file was cut short, its end is missing"
    return CorruptDataError(words, kind="truncated-file", hint="copy it again, or make it anew")


def damaged(name: str, err: Exception) -> CorruptDataError:
    """The error for packed bytes that cannot be what was written."""
    reason = str(err).splitlines()[0].rstrip(".") if str(err) else type(err).__name__
    hint = "copy it again, or make it anew"
    return CorruptDataError(f"{name}: the file is damaged: {reason}", kind="damaged-file", hint=hint)
