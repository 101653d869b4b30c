"""A bucket of the tests' S3, the environment that leads there, and what lies in it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from s3_servers import MotoServer

#: What the tests' S3 takes for credentials: it asks for some, and knows none.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
#: Nothing of the machine that runs the tests: neither its files nor its role.
NOTHING_ELSE = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


def environment(url: str) -> dict[str, str]:
    """What leads boto3 and the AWS CLI to a server."""
    return {**CREDENTIALS, **NOTHING_ELSE, "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}


def lead_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and its children find S3 at ``url``, with clients and counters of their own."""
    from bams3.store import s3_client

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environment(url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3_client, "_CLIENTS", {})  # a client remembers the environment that it was made in


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own."""

    server: MotoServer
    name: str
    client: Any

    def address(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, data: bytes) -> str:
        """Put an object; its address."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data)
        return self.address(key)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def listed(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Every object of a store, by its key in it, but the provenance: as ``commands.objects``."""
        found = {key.removeprefix(f"{prefix}/"): self.get(key) for key in self.listed(f"{prefix}/")}
        found.pop("_provenance.json", None)
        return found

    def put_folder(self, folder: Path, prefix: str) -> str:
        """Put all files of a folder; the address of the folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return self.address(prefix)

    def uploads(self) -> list[str]:
        """Keys of uploads in parts that are not finished."""
        found = self.client.list_multipart_uploads(Bucket=self.name)
        return [one["Key"] for one in found.get("Uploads", ())]
