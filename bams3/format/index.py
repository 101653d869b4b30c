"""The index: one object, read by ranges, each with its own checksum in the manifest.

    totals | costs | chunks and directories of every section | depth frames of every section | contig table

The costs are a few numbers of every chunk, for who prices questions about many stores; the contig table
stands here only above 1,000 contigs.

A *section* is what one index range covers: a contig, or a run of consecutive small contigs that
together are no longer than one span; the unplaced reads are the last section.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import kernels
from ..columns import Array, Columns
from ..errors import CorruptDataError
from . import spec
from .directory import Directory, crc32, parse_directory
from .frames import PLAIN_ZSTD, pack_frame, pack_frames, unpack_frames

CHUNK = np.dtype(
    [
        ("contig", "<i4"),
        ("start", "<i8"),
        ("k", "<u4"),
        ("hash", "<u4"),
        ("bytes", "<u8"),
        ("head_bytes", "<u4"),
        ("directory_bytes", "<u4"),
        ("records", "<u8"),
    ]
)
COST = np.dtype([(name, "<i8") for name in spec.COSTS])


def corrupt_index(message: str) -> CorruptDataError:
    return CorruptDataError(message, kind="bad-index")


# ---- sections and keys ----


@dataclass(frozen=True, slots=True)
class Section:
    """Contigs ``first`` to ``first + n - 1``; chunks of ``span_bp`` (0: one span holds them all).

    The unplaced reads have ``first`` -1.
    """

    first: int
    n: int
    span_bp: int


def sections_of(lengths: Sequence[int], span_bp: int) -> tuple[Section, ...]:
    """Sections of a contig table, from the lengths alone; the unplaced reads' comes last."""
    out: list[Section] = []
    first = total = 0
    for i, length in enumerate(lengths):
        if i > first and (length >= span_bp or total + length > span_bp):
            out.append(Section(first, i - first, 0))
            first, total = i, 0
        if length >= span_bp:
            out.append(Section(i, 1, span_bp))
            first = i + 1
        else:
            total += length
    if first < len(lengths):
        out.append(Section(first, len(lengths) - first, 0))
    return (*out, Section(-1, 1, 0))


_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")


def folder_names(contigs: Sequence[str]) -> list[str]:
    """A safe folder for every contig: percent-encoded, never hidden, unique without case.

    A name that is too long, or that equals an earlier one but for case, ends in ``~`` and the
    contig's number.
    """
    seen: set[str] = set()
    out = []
    for i, name in enumerate(contigs):
        raw = name.encode("utf-8", "surrogateescape")
        safe = "".join(chr(b) if b in _PLAIN else f"%{b:02X}" for b in raw)
        safe = f"%2E{safe[1:]}" if safe.startswith(".") else safe
        if len(safe) > 200 or not safe or safe.casefold() in seen:
            safe = f"{safe[:180]}~{i}"
        seen.add(safe.casefold())
        out.append(safe)
    return out


UNPLACED_FOLDER = "%2A"


def chunk_key(folder: str, row: Any) -> str:
    """Object key of a chunk from its row of the index."""
    name = f"{int(row['start']):010d}.{int(row['k'])}-{int(row['hash']):08x}"
    return f"{spec.DATA_PREFIX}{folder}/{name}.chunk"


_STORE_KEY = re.compile(
    r"_metadata\.json|_provenance\.json|_header-[0-9a-f]{8}\.sam|_index-[0-9a-f]{8}\.bin"
    r"|data/[^/]+/[0-9]{10,}\.[0-9]+-[0-9a-f]{8}\.chunk|_resume/[0-9a-f]{16}/[0-9]{8}\.json"
    r"|_resume/[0-9a-f]{16}/[0-9]+-of-[0-9]+\.[0-9a-f]{16}-[0-9a-f]{16}/(?:done|[0-9]{12})\.json"
)


def is_store_key(key: str) -> bool:
    """Whether a key is one that a conversion writes (or the aside of one): all else is the user's."""
    folder, _, name = key.rpartition("/")
    if name.startswith(".") and name.endswith(".partial"):
        return folder.startswith(("data/", "_resume/")) or name.startswith("._")
    return _STORE_KEY.fullmatch(key) is not None


# ---- depth ----


@dataclass(frozen=True, slots=True)
class Windows:
    """Where the 100 bp windows of a section's contigs lie.

    ``base`` (the first of each contig), ``n`` (how many) and ``length`` (bp of the contig) are uint64.
    """

    first_contig: int
    base: Array
    n: Array
    length: Array

    @classmethod
    def of(cls, section: Section, lengths: Sequence[int]) -> Windows:
        mine = lengths[section.first : section.first + section.n] if section.first >= 0 else ()
        n = np.array([-(-length // spec.WINDOW_BP) for length in mine], np.uint64)
        base = np.zeros(n.size, np.uint64)
        np.cumsum(n[:-1], out=base[1:])
        return cls(section.first, base, n, np.array(mine, np.uint64))

    @property
    def total(self) -> int:
        return int(self.n.sum())


def group_depth(columns: Columns, extents: Array, windows: Windows) -> dict[int, Array]:
    """Aligned bases per window that one row group adds, as frames of 65,536 windows (uint64)."""
    if not windows.total:
        return {}
    local = (extents["contig"] - windows.first_contig).astype(np.int64)
    base, last = windows.base[local].astype(np.int64), windows.n[local].astype(np.int64) - 1
    low = base + np.clip(extents["start"] // spec.WINDOW_BP, 0, np.maximum(last, 0))
    high = base + np.clip((extents["end"] - 1) // spec.WINDOW_BP, 0, np.maximum(last, 0))
    frames = {}
    size = spec.FRAME_WINDOWS
    for number in range(int(low.min()) // size, int(high.max()) // size + 1):
        first = number * size
        sums = np.zeros(min(size, windows.total - first), np.uint64)
        kernels.add_depth(columns, windows.first_contig, windows.base, windows.length, first, sums)
        if sums.any():
            frames[number] = sums
    return frames


def add_frames(several: Iterable[dict[int, Array]]) -> dict[int, Array]:
    """The sum of frames by number."""
    out: dict[int, Array] = {}
    for frames in several:
        for number, sums in frames.items():
            out[number] = out[number] + sums if number in out else sums
    return out


# ---- writing ----


@dataclass(frozen=True, slots=True)
class ChunkSummary:
    """What the index needs of one chunk; ``frames`` are the depth that it adds to its section.

    ``totals`` (E, 34) has a row for each extent; ``encoded`` is the directory as it is stored.
    """

    row: Array  # one CHUNK
    directory: Directory
    encoded: bytes
    totals: Array
    frames: dict[int, Array]

    @property
    def cost(self) -> Array:
        """Its row of the costs: one COST."""
        d, out = self.directory, np.zeros(1, COST)
        for name in ("contig", "start", "records", "bytes"):
            out[name] = self.row[name]
        locate = [number for number, name in enumerate(d.columns) if name in spec.LOCATE]
        out["locate_bytes"] = d.blobs["bytes"][np.isin(d.blobs["column"], locate)].sum(dtype=np.int64)
        out["groups"] = d.groups.size
        return out


@dataclass
class _SectionParts:
    rows: list[Array] = field(default_factory=list)
    directories: list[bytes] = field(default_factory=list)
    frames: dict[int, Array] = field(default_factory=dict)
    packed: dict[int, bytes] = field(default_factory=dict)

    def pack(self) -> None:
        """Compress the depth of a section that is complete: a genome's would take 250 MB."""
        self.packed |= {number: pack_uint64(sums) for number, sums in self.frames.items()}
        self.frames = {}


class IndexWriter:
    """Collects chunk summaries in file order and lays the index out."""

    def __init__(self, n_contigs: int, sections: Sequence[Section]) -> None:
        self._totals = np.zeros((n_contigs + 1, len(spec.TOTALS)), np.uint64)
        self._sections = sections
        self._parts = [_SectionParts() for _ in sections]
        self._costs = [np.zeros(0, COST)]
        self._current = 0

    def add(self, section: int, summary: ChunkSummary) -> None:
        """Take the next chunk of a section (-1: the unplaced reads)."""
        if section != self._current:
            self._parts[self._current].pack()
            self._current = section
        parts = self._parts[section]
        parts.rows.append(summary.row)
        parts.directories.append(summary.encoded)
        parts.frames = add_frames((parts.frames, summary.frames))
        np.add.at(self._totals, summary.directory.extents["contig"], summary.totals)
        if self._sections[section].first >= 0:  # no region asks for the unplaced reads
            self._costs.append(summary.cost)

    @property
    def totals(self) -> Array:
        """Totals of every contig and, last, of the unplaced reads: (contigs + 1, 34) uint64."""
        return self._totals

    def finish(self, contigs: list[list[Any]]) -> tuple[bytes, dict[str, Any]]:
        """The index object, and the part of the manifest that finds things in it."""
        out = _Ranges()
        self._parts[self._current].pack()
        ranges: dict[str, Any] = {"totals": out.add(pack_uint64(self._totals))}
        ranges["costs"] = out.add(pack_costs(np.concatenate(self._costs)))
        filled = [pair for pair in zip(self._sections, self._parts, strict=True) if pair[1].rows]
        sections = [out.section(section, parts) for section, parts in filled]
        for value, (_, parts) in zip(sections, filled, strict=True):  # behind all that a region needs
            value["depth"] = [[number, *out.add(data)] for number, data in sorted(parts.packed.items())]
        if len(contigs) > spec.MANIFEST_CONTIGS:
            table = pack_frame(_json({"contigs": contigs, "sections": sections}), PLAIN_ZSTD)
            ranges["contig_table"] = out.add(table)
        else:
            ranges["contigs"], ranges["sections"] = contigs, sections
        return b"".join(out.parts), ranges


def pack_uint64(values: Array) -> bytes:
    """Numbers as an index range; ``parse_uint64`` is the inverse."""
    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    return pack_frames(list(kernels.split_planes(flat, 8)), PLAIN_ZSTD)


def pack_costs(rows: Array) -> bytes:
    """The range of costs (COST rows): number by number, as those of one kind compress best together."""
    return pack_uint64(rows.view(np.uint64).reshape(-1, len(spec.COSTS)).T)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class _Ranges:
    """Bytes of the index, laid end to end."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._at = 0

    def add(self, data: bytes) -> list[int]:
        """[offset, bytes, crc32] of a range, now appended."""
        where = [self._at, len(data), crc32(data)]
        self.parts.append(data)
        self._at += len(data)
        return where

    def section(self, section: Section, parts: _SectionParts) -> dict[str, Any]:
        rows = np.concatenate(parts.rows)
        directories = b"".join(parts.directories)
        return {
            "contigs": [section.first, section.n],
            "chunks": self.add(pack_frame(rows.tobytes(), PLAIN_ZSTD)),
            "directories": self.add(pack_frame(directories, PLAIN_ZSTD)),
        }


# ---- reading ----

#: Numbers of costs are at most this: those of 2^63 on would turn negative.
_MOST = np.uint64((1 << 53) - 1)


def _one_frame(data: bytes) -> Array:
    streams = unpack_frames(data, spec.MAX_INDEX_RANGE_BYTES)
    if len(streams) != 1:
        raise corrupt_index("an index range is not one frame")
    return streams[0]


def parse_uint64(data: bytes, what: str) -> Array:
    """Numbers of an index range; ``what`` names it in errors."""
    streams = unpack_frames(data, spec.MAX_INDEX_RANGE_BYTES)
    if len(streams) != 8 or len({stream.size for stream in streams}) != 1:
        raise corrupt_index(f"the index range of {what} is malformed")
    return kernels.join_planes(streams).view("<u8")


def parse_totals(data: bytes, n_contigs: int) -> Array:
    """Totals (contigs + 1, 34), the unplaced reads last."""
    values = parse_uint64(data, "totals")
    if values.size != (n_contigs + 1) * len(spec.TOTALS):
        raise corrupt_index("the index does not have totals for every contig")
    return values.reshape(n_contigs + 1, len(spec.TOTALS))


def parse_costs(data: bytes) -> Array:
    """COST rows of all chunks but those of unplaced reads, in file order."""
    values = parse_uint64(data, "costs")
    if values.size % len(spec.COSTS):
        raise corrupt_index("the index does not have every cost of a chunk")
    rows = np.ascontiguousarray(values.reshape(len(spec.COSTS), -1).T).view(COST).reshape(-1)
    contig, step = rows["contig"], np.diff(rows["start"])
    sane = (
        (values <= _MOST).all()
        and (rows["locate_bytes"] <= rows["bytes"]).all()
        and (rows["groups"] <= rows["records"]).all()
        and (np.diff(contig) >= 0).all()
        and (step[contig[1:] == contig[:-1]] >= 0).all()
    )
    if not sane:
        raise corrupt_index("the index's costs contradict themselves")
    return rows


def parse_contig_table(data: bytes) -> Any:
    """The contig table and sections of a store with more than 1,000 contigs."""
    try:
        return json.loads(_one_frame(data).tobytes())
    except (ValueError, RecursionError) as err:
        raise corrupt_index(f"the index's contig table is not JSON: {err}") from err


def parse_chunks(data: bytes) -> Array:
    """CHUNK rows of a section, in file order."""
    stream = _one_frame(data)
    if stream.size % CHUNK.itemsize:
        raise corrupt_index("the index range of chunks is malformed")
    return stream.view(CHUNK)


def parse_directories(data: bytes, rows: Array) -> list[Directory]:
    """The directory of each chunk of a section."""
    stream = _one_frame(data)
    if int(rows["directory_bytes"].sum(dtype=np.uint64)) != stream.size:
        raise corrupt_index("the index's directories do not add up")
    view, at, out = memoryview(stream.tobytes()), 0, []
    for size in rows["directory_bytes"].tolist():
        out.append(parse_directory(view[at : at + size]))
        at += size
    return out


def parse_depth(data: bytes) -> Array:
    """Aligned bases per window of one frame (uint64)."""
    return parse_uint64(data, "depth")


def groups_by_chunk(directory: Directory) -> Iterable[tuple[int, Array]]:
    """(group number, its EXTENT rows) of a chunk."""
    ends = np.cumsum(directory.groups["n_extents"])
    for g, end in enumerate(ends.tolist()):
        yield g, directory.extents[end - int(directory.groups["n_extents"][g]) : end]
