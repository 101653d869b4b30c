"""The manifest: the small, human-readable object that makes a store exist."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ..errors import CorruptDataError, InputError
from . import chunk, spec


def _corrupt(message: str) -> CorruptDataError:
    return CorruptDataError(message, kind="bad-manifest")


@dataclass(frozen=True, slots=True)
class Range:
    """A checked byte range of an object."""

    offset: int
    size_bytes: int
    crc32: int

    @classmethod
    def of(cls, value: Any) -> Range:
        if not (isinstance(value, list) and len(value) == 3 and all(_natural(v) for v in value)):
            raise _corrupt("the manifest holds a malformed range")
        return cls(*value)


def _natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


@dataclass(frozen=True, slots=True)
class SectionRanges:
    """Where the index holds one section."""

    first_contig: int
    n_contigs: int
    chunks: Range
    directories: Range
    depth: dict[int, Range]

    @classmethod
    def of(cls, value: dict[str, Any]) -> SectionRanges:
        first, n = value["contigs"]
        depth = {frame: Range.of(where) for frame, *where in value["depth"]}
        return cls(first, n, Range.of(value["chunks"]), Range.of(value["directories"]), depth)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parsed manifest; ``contigs`` and ``sections`` are None above 1,000 contigs.

    Attributes
    ----------
    header
        Range of the header object: all of it.
    totals, contig_table
        Ranges of the index object.
    text
        The JSON value as stored.
    """

    header_key: str
    header: Range
    index_key: str
    totals: Range
    contig_table: Range | None
    contigs: list[tuple[str, int]] | None
    sections: list[SectionRanges] | None
    records: int
    n_contigs: int
    span_bp: int
    text: dict[str, Any]


def render(value: dict[str, Any]) -> bytes:
    """The manifest's bytes: JSON, one key a line, the CRC-32 of all before it last."""
    lines = [f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items()]
    body = ("{\n" + ",\n".join(lines) + ",\n").encode()
    return body + f'"crc32": "{chunk.crc32(body):08x}"\n}}\n'.encode()


_TAIL = re.compile(rb'"crc32": "([0-9a-f]{8})"\n\}\n\Z')


def parse(data: bytes) -> Manifest:
    """Parse and check a manifest.

    Raises
    ------
    CorruptDataError
        ``bad-manifest``, ``newer-format`` or ``older-format``.
    InputError
        ``not-a-store``: JSON of something else.
    """
    value = _checked_json(data)
    try:
        return _manifest(value)
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise _corrupt(f"the manifest lacks or garbles {err}") from err


def _checked_json(data: bytes) -> dict[str, Any]:
    tail = _TAIL.search(data)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise _corrupt(f"the manifest is not JSON: {err}") from err
    if not isinstance(value, dict) or value.get("format") != spec.FORMAT:
        raise InputError("this manifest is not of a bams3 store", kind="not-a-store")
    try:
        major, minor = map(int, str(value.get("version")).split("."))
    except ValueError as err:
        raise _corrupt("the manifest has no version") from err
    chunk.check_version(major, minor)
    if not tail or int(tail[1], 16) != chunk.crc32(data[: tail.start()]):
        raise _corrupt("the manifest does not match its checksum")
    return value


def _manifest(value: dict[str, Any]) -> Manifest:
    index, header = value["index"], value["header"]
    contigs, table = index.get("contigs"), index.get("contig_table")
    return Manifest(
        header_key=_plain_key(header["key"]),
        header=Range.of(header["range"]),
        index_key=_plain_key(index["key"]),
        totals=Range.of(index["totals"]),
        contig_table=None if table is None else Range.of(table),
        contigs=None if contigs is None else [(str(name), int(length)) for name, length in contigs],
        sections=None if contigs is None else [SectionRanges.of(s) for s in index["sections"]],
        records=int(value["records"]),
        n_contigs=int(value["contigs"]),
        span_bp=int(value["chunk_span_bp"]),
        text=value,
    )


def _plain_key(key: Any) -> str:
    """A key that names an object beside the manifest, and nothing else."""
    if not isinstance(key, str) or not re.fullmatch(r"_[a-z]+-[0-9a-f]{8}\.[a-z]+", key):
        raise _corrupt(f"the manifest names an object {key!r}")
    return key
