"""Bytes by key: a local folder, S3, memory. Stores never know what the bytes mean."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .base import AS_CONFIGURED, Requests, S3Options, Store, split_address
from .local import LocalStore
from .memory import MemoryStore

__all__ = [
    "AS_CONFIGURED",
    "LocalStore",
    "MemoryStore",
    "Requests",
    "S3Options",
    "Store",
    "is_s3",
    "split_address",
    "store_at",
]


def is_s3(address: str) -> bool:
    """Whether it names something in S3.

    Raises
    ------
    InputError
        ``unknown-scheme``: it names something elsewhere.
    """
    scheme, mark, _ = address.partition("://")
    if mark and scheme != "s3":
        hint = "give a path or s3://BUCKET/KEY"
        raise InputError(f"{address}: {scheme} is not known here", kind="unknown-scheme", hint=hint)
    return bool(mark)


def store_at(address: str, s3: S3Options = AS_CONFIGURED) -> Store:
    """The bytes behind a path or an S3 address, whether or not there is a store.

    Raises
    ------
    InputError
        ``unknown-scheme``, ``bad-address``.
    """
    if not is_s3(address):
        return LocalStore(Path(address))
    from .s3 import S3Store  # noqa: PLC0415  # boto3 takes 0.2 s

    bucket, key = split_address(address)
    return S3Store(bucket, f"{key}/", s3)
