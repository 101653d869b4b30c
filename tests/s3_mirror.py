"""Every local store that a test asks, asked in S3: for ``pytest --s3``.

``install`` takes the place of ``bams3.store.store_at`` before ``bams3.query`` and ``bams3.cli.remote`` are
imported. A store that is opened by its path is brought into a bucket (what is new or changed by content goes
there, what is gone is removed), and read from there under its local name. ``convert`` and ``gc`` write, and
keep their folder. Children that are Python begin with ``mirrored/sitecustomize.py``, which does the same.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

#: URL of the server and name of the bucket.
PLACE = "BAMS3_TEST_MIRROR"
WRITERS = ("convert", "gc")


def install() -> None:
    """From now on, stores that are read lie in S3."""
    import bams3.store

    local_at = bams3.store.store_at

    def store_at(address: str, *options: Any) -> Any:
        if bams3.store.is_s3(address) or not Path(address).is_dir() or _command() in WRITERS:
            return local_at(address, *options)
        return mirrored(Path(address), address)

    bams3.store.store_at = store_at


def _command() -> str:
    """The command that this process runs, if it runs one."""
    import click

    context = click.get_current_context(silent=True)
    return (context and context.info_name) or ""


def mirrored(folder: Path, name: str) -> Any:
    """The folder's copy in S3, brought up to date."""
    from bams3.store import LocalStore, S3Options
    from bams3.store.s3 import S3Store

    url, bucket = os.environ[PLACE].split()

    class MirrorStore(S3Store):
        """A store that is called what its folder is."""

        @property
        def name(self) -> str:
            return LocalStore(Path(name)).name

    prefix = folder.resolve().as_posix().strip("/") + "/"
    store = MirrorStore(bucket, prefix, S3Options(endpoint_url=url, region="us-east-1"))
    _bring_up_to_date(folder, store, _SENT.setdefault(prefix, {}), url)
    return store


#: What lies in the bucket, by the prefix of a store: sums by key.
_SENT: dict[str, dict[str, str]] = {}
#: Sums of files, which hold while the files are as they were.
_SUMS: dict[Path, tuple[tuple[int, ...], str]] = {}


@cache
def _client(url: str) -> Any:
    """Whose requests nobody counts."""
    from s3_servers import s3_client

    return s3_client(url, max_pool_connections=8)


def _bring_up_to_date(folder: Path, store: Any, sent: dict[str, str], url: str) -> None:
    client = _client(url)
    if not sent:  # a child finds what its parent put there
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket, Prefix=store.prefix)
        for page in pages:
            sent |= {one["Key"]: one["ETag"].strip('"') for one in page.get("Contents", ())}
    files = {store.prefix + path.relative_to(folder).as_posix(): path for path in _files(folder)}
    sums = {key: _sum(path) for key, path in files.items()}

    def put(key: str) -> None:
        client.put_object(Bucket=store.bucket, Key=key, Body=files[key].read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, [key for key in sums if sums[key] != sent.get(key)]))
    for key in sent.keys() - sums.keys():
        client.delete_object(Bucket=store.bucket, Key=key)
    sent.clear()
    sent.update(sums)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _sum(path: Path) -> str:
    """MD5 of a file, as S3 has it for an ETag."""
    about = path.stat()
    state = about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino
    if _SUMS.get(path, ((), ""))[0] != state:
        _SUMS[path] = state, hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return _SUMS[path][1]
