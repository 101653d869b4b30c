"""``pytest --s3`` asks S3: what it reads is what lies there, under the name of the folder."""

import os
import subprocess
import sys
from pathlib import Path

import bam_records
import pytest
import s3_mirror
from commands import convert

from bams3.query import StoreReader
from bams3.store.s3 import S3Store

pytestmark = pytest.mark.engine


@pytest.fixture
def folder(s3_bucket, tmp_path, monkeypatch):
    """A local store, and an empty bucket that mirrors."""
    monkeypatch.setenv(s3_mirror.PLACE, f"{s3_bucket.server.url} {s3_bucket.name}")
    (tmp_path / "in.bam").write_bytes(bam_records.bam([bam_records.record(pos=i) for i in range(100)]))
    assert convert(tmp_path / "in.bam", tmp_path / "s.bams3").code == 0
    return tmp_path / "s.bams3"


def in_s3(bucket, folder):
    prefix = folder.as_posix().strip("/") + "/"
    return {key.removeprefix(prefix): bucket.get(key) for key in bucket.listed(prefix)}


def in_folder(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_copy_follows_the_folder(s3_bucket, folder):
    store = s3_mirror.mirrored(folder, str(folder))
    assert isinstance(store, S3Store)
    assert store.name == str(folder)
    assert in_s3(s3_bucket, folder) == in_folder(folder)
    [chunk] = folder.rglob("*.chunk")
    data = chunk.read_bytes()
    chunk.write_bytes(data[::-1])
    (folder / "more").write_bytes(b"x")
    (folder / "_provenance.json").unlink()
    store = s3_mirror.mirrored(folder, str(folder))
    assert in_s3(s3_bucket, folder) == in_folder(folder)
    assert store.get(chunk.relative_to(folder).as_posix()) == data[::-1]


def test_answers_come_from_the_copy(s3_bucket, folder):
    store = s3_mirror.mirrored(folder, str(folder))
    for key in s3_bucket.listed():
        if key.endswith(".chunk"):
            s3_bucket.put(key, b"nonsense")
    with pytest.raises(Exception, match="chunk"):
        list(StoreReader(store).records())


def test_a_child_asks_s3_too(s3_bucket, folder):
    mirrored = str(Path(__file__).with_name("mirrored"))
    program = [sys.executable, "-m", "bams3", "query", str(folder), "chr1", "--count"]
    s3_bucket.server.clear()
    environment = {**os.environ, "PYTHONPATH": mirrored}
    assert subprocess.run(program, env=environment, capture_output=True, check=True).stdout == b"100\n"
    asked = [row.path for row in s3_bucket.server.log() if row.method == "GET"]
    assert any(path.endswith("/_metadata.json") for path in asked)
    assert in_s3(s3_bucket, folder) == in_folder(folder)
