"""The manifest: the small, human-readable object that makes a store exist."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ..errors import CorruptDataError, InputError
from . import spec
from .directory import crc32
from .versions import check_version


def corrupt_manifest(message: str) -> CorruptDataError:
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
            raise corrupt_manifest("the manifest holds a malformed range")
        return cls(*value)


def _natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def parse_count(value: Any) -> int:
    """A number from 0 on."""
    if not _natural(value):
        raise corrupt_manifest(f"the manifest holds {value!r} where a number belongs")
    return int(value)


def contig_table(value: Any) -> list[tuple[str, int]]:
    """Names and lengths (bp) from [[name, length], ...]."""
    contigs = [(name, parse_count(length)) for name, length in value]
    try:
        "".join(name for name, _ in contigs).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as err:  # half a pair of surrogates, which JSON can spell
        raise corrupt_manifest("the manifest holds a contig's name that is no text") from err
    if not all(isinstance(name, str) and length < 1 << 32 for name, length in contigs):
        raise corrupt_manifest("the manifest holds a malformed contig")
    return contigs


@dataclass(frozen=True, slots=True)
class SectionRanges:
    """Where the index holds one section."""

    first_contig: int
    n_contigs: int
    chunks: Range
    directories: Range
    depth: dict[int, Range]

    @classmethod
    def of(cls, value: dict[str, Any], n_contigs: int) -> SectionRanges:
        first, n = value["contigs"]
        if first != -1 and not parse_count(first) + parse_count(n) <= n_contigs:
            raise corrupt_manifest("the manifest holds a section of contigs that are not there")
        depth = {parse_count(frame): Range.of(where) for frame, *where in value["depth"]}
        return cls(first, parse_count(n), Range.of(value["chunks"]), Range.of(value["directories"]), depth)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parsed manifest; ``contigs`` and ``sections`` are None above 1,000 contigs.

    Attributes
    ----------
    header
        Range of the header object: all of it.
    totals, costs, contig_table
        Ranges of the index object.
    text
        The JSON value as stored.
    """

    header_key: str
    header: Range
    index_key: str
    totals: Range
    costs: Range
    contig_table: Range | None
    contigs: list[tuple[str, int]] | None
    sections: list[SectionRanges] | None
    records: int
    chunks: int
    n_contigs: int
    span_bp: int
    text: dict[str, Any]


def render(value: dict[str, Any]) -> bytes:
    """The manifest's bytes: JSON, one key a line (of lists of objects, one object), its CRC-32 last."""
    lines = [f"{json.dumps(key)}: {_rendered(item)}" for key, item in value.items()]
    body = ("{\n" + ",\n".join(lines) + ",\n").encode()
    return body + f'"crc32": "{crc32(body):08x}"\n}}\n'.encode()


def _rendered(item: Any) -> str:
    if isinstance(item, list) and item and all(isinstance(one, dict) for one in item):
        return "[\n" + ",\n".join(map(json.dumps, item)) + "\n]"
    return json.dumps(item)


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
    value = checked_json(data, spec.FORMAT, spec.VERSION, "store", "alignments")
    try:
        return _manifest(value)
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise corrupt_manifest(f"the manifest lacks or garbles {err}") from err


def is_foreign(data: bytes, form: str = spec.FORMAT) -> bool:
    """Whether bytes in a manifest's place are JSON of something else; a damaged manifest is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return not isinstance(value, dict) or value.get("format") != form


def parse_contig_range(value: Any, n_contigs: int) -> tuple[list[tuple[str, int]], list[SectionRanges]]:
    """Contigs and sections from the index's contig table, that of more than 1,000 contigs."""
    try:
        contigs = contig_table(value["contigs"])
        if len(contigs) != n_contigs:
            raise corrupt_manifest("the index does not have the manifest's contigs")
        return contigs, [SectionRanges.of(section, n_contigs) for section in value["sections"]]
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise corrupt_manifest(f"the contig table lacks or garbles {err}") from err


def checked_json(data: bytes, form: str, ours: tuple[int, int], noun: str, source: str) -> dict[str, Any]:
    """The JSON of a manifest whose `format` is ``form``, after its version and checksum were checked.

    ``ours`` is the version that is read here; ``noun`` and ``source`` are those of check_version.
    """
    tail = _TAIL.search(data)
    if tail and int(tail[1], 16) != crc32(data[: tail.start()]):
        raise corrupt_manifest("the manifest does not match its checksum")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise corrupt_manifest(f"the manifest is not JSON: {err}") from err
    if not isinstance(value, dict) or value.get("format") != form:
        raise InputError(f"this manifest is not of a bams3 {noun}", kind=f"not-a-{noun}")
    try:
        major, minor = map(int, str(value.get("version")).split("."))
    except ValueError as err:
        raise corrupt_manifest("the manifest has no version") from err
    check_version((major, minor), ours, noun, source)
    if not tail:
        raise corrupt_manifest("the manifest has no checksum")
    return value


def _manifest(value: dict[str, Any]) -> Manifest:
    index, header = value["index"], value["header"]
    table, n_contigs = index.get("contig_table"), parse_count(value["contigs"])
    contigs = contig_table(index["contigs"]) if table is None else None
    if contigs is not None and len(contigs) != n_contigs:
        raise corrupt_manifest("the manifest does not name as many contigs as it says")
    return Manifest(
        header_key=_plain_key(header["key"]),
        header=Range.of(header["range"]),
        index_key=_plain_key(index["key"]),
        totals=Range.of(index["totals"]),
        costs=Range.of(index["costs"]),
        contig_table=None if table is None else Range.of(table),
        contigs=contigs,
        sections=None if contigs is None else [SectionRanges.of(s, n_contigs) for s in index["sections"]],
        records=parse_count(value["records"]),
        chunks=parse_count(value["chunks"]),
        n_contigs=n_contigs,
        span_bp=parse_count(value["chunk_span_bp"]),
        text=value,
    )


def _plain_key(key: Any) -> str:
    """A key that names an object beside the manifest, and nothing else."""
    if not isinstance(key, str) or not re.fullmatch(r"_[a-z]+-[0-9a-f]{8}\.[a-z]+", key):
        raise corrupt_manifest(f"the manifest names an object {key!r}")
    return key
