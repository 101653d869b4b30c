"""Chunks one by one: those of a store, from its index alone, and those in hand, from their bytes alone.

A chunk in hand knows no store: its context names the contigs and read groups that its records use, and of
that the header of what it is written to is made.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import kernels
from .bam import BAM_MAGIC, BamHeader
from .columns import Array, Columns
from .errors import CorruptDataError, InputError
from .format import chunk, spec
from .format.chunk import Head
from .format.directory import corrupt_chunk, crc32
from .format.rowgroup import decode_columns
from .format.versions import check_version
from .query import StoreReader
from .regions import MAX_BP, UNPLACED, ContigTable, Region, format_region
from .rowgroups import StoredChunk
from .spans import Spans

#: Version and sizes of context and directory, behind the magic (FORMAT.md, section 6.1).
_FIXED = struct.Struct("<8xHHII")
#: How much is read at a time: what a length declares is not reserved before it has come.
_PIECE_BYTES = 1 << 20
_ALIGNMENTS = (b"\x1f\x8b", b"CRAM", BAM_MAGIC, b"@HD\t", b"@SQ\t")
_AGAIN = "copy the chunk again; if it is so in its store, bams3 verify names what else is damaged"

Contig = tuple[str, int]
Place = tuple[int, int]


# ---- chunks of a store ----


def chunks_of(reader: StoreReader, regions: Sequence[Region] = ()) -> Iterator[StoredChunk]:
    """Chunks that may hold records of any of the regions (all chunks without one), once, in file order.

    Notes
    -----
    Reads the index of the sections that the regions lie in, and no chunk.
    """
    wanted: dict[int, list[Region]] = {}
    for region in regions:
        wanted.setdefault(reader.contigs.id_of(region.contig), []).append(region)
    spans = [Spans.of(contig, several) for contig, several in wanted.items()]
    if not regions:
        yield from (stored for _, stored in reader.all_chunks())
        return
    reader.load(wanted)
    sections = {number for contig in wanted if (number := reader.section_of(contig)) is not None}
    for section in sorted(sections):
        for stored in reader.chunks(section):
            if any(_meets(stored, one) for one in spans):
                yield stored


def _meets(stored: StoredChunk, spans: Spans) -> bool:
    extents = stored.directory.extents
    return any(spans.meet(extent).any() for extent in extents[extents["contig"] == spans.contig])


def region_text(stored: StoredChunk, contigs: ContigTable) -> str:
    """What a chunk's records cover, 1-based inclusive; ``chr1:5-900,+12`` if 12 more contigs follow."""
    extents = stored.directory.extents
    numbers = np.unique(extents["contig"])
    if numbers.size and numbers[0] < 0:
        return UNPLACED
    if not numbers.size or numbers[-1] >= len(contigs):
        words = f"{stored.key}: the index gives it contigs that are not there"
        raise CorruptDataError(words, kind="bad-index")
    mine = extents[extents["contig"] == numbers[0]]
    start_bp = min(max(int(mine["start"].min()), 0), MAX_BP)
    # A record at position -1 may end before the contig begins: an empty span would read back as an open one.
    end_bp = min(max(int(mine["end"].max()), start_bp + 1), MAX_BP)
    text = format_region(Region(contigs.names[int(numbers[0])], start_bp, end_bp))
    return f"{text},+{numbers.size - 1}" if numbers.size > 1 else text


# ---- a chunk in hand ----


@dataclass(frozen=True, slots=True)
class ChunkFile:
    """The bytes of one chunk, each of them checked against its checksum; decoded row group by row group.

    Attributes
    ----------
    contigs
        Name and length (bp) of the contigs that records and mates lie on, by their number in the store.
    read_groups
        The header's @RG lines.
    """

    name: str
    data: bytes
    head: Head
    contigs: dict[int, Contig]
    read_groups: tuple[str, ...]

    @property
    def n_groups(self) -> int:
        """How many row groups it has."""
        return int(self.head.directory.groups.size)

    def columns(self, group: int, wanted: tuple[str, ...] = ()) -> Columns:
        """Plain columns of a row group: all, or those that are ``wanted``, which must need no others."""
        directory, view = self.head.directory, memoryview(self.data)
        offsets = directory.offsets(self.head.head_bytes)
        parts = []
        for i in np.flatnonzero(directory.blobs["group"] == group).tolist():
            name = directory.columns[int(directory.blobs["column"][i])]
            if not wanted or name in wanted:
                part = view[int(offsets[i]) : int(offsets[i + 1])]
                parts.append((name, int(directory.blobs["codec"][i]), part))
        row = directory.groups[group]
        with _named(f"{self.name}: row group {group}"):
            return decode_columns(int(row["records"]), int(row["decoded_bytes"]), parts)

    def places(self) -> list[Place]:
        """Contig and position of the first and the last record; none of a chunk without records."""
        found = []
        for group, record in ((0, 0), (self.n_groups - 1, -1)) if self.n_groups else ():
            columns = self.columns(group, ("contig", "pos"))
            assert columns.contig is not None
            assert columns.pos is not None
            contig, pos = int(columns.contig[record]), int(columns.pos[record])
            found.append((contig, pos) if contig >= 0 else (MAX_BP, 0))  # unplaced reads: last, in any order
        return found

    def records(self, numbers: Array) -> Iterator[bytes]:
        """BAM records (block_size first), a run a row group, their contigs renumbered.

        Parameters
        ----------
        numbers
            The store's numbers of the header's contigs, ascending (int64): the i-th becomes i.

        Raises
        ------
        CorruptDataError
            ``bad-column``, ``bad-chunk`` where columns contradict each other.

        Notes
        -----
        Holds one row group, as columns and as records, beside the chunk's bytes.
        """
        for group in range(self.n_groups):
            yield self._join(group, numbers)

    def _join(self, group: int, numbers: Array) -> bytes:
        columns = self.columns(group)
        with _named(f"{self.name}: row group {group}"):
            columns.contig = _renumbered(columns.contig, numbers)
            columns.mate_contig = _renumbered(columns.mate_contig, numbers)
            joined = kernels.join(columns)
            if joined.size != columns.decoded_bytes:
                raise corrupt_chunk(f"it decodes to {joined.size} bytes, not {columns.decoded_bytes}")
            return joined.tobytes()


def _renumbered(contig: Array | None, numbers: Array) -> Array:
    assert contig is not None
    known = np.append(-1, numbers)
    at = np.minimum(np.searchsorted(known, contig), known.size - 1)
    if (known[at] != contig).any():
        raise corrupt_chunk("it holds records of contigs that its context does not name")
    return (at - 1).astype(np.int32)


# ---- reading ----


def open_chunk(path: Path) -> BinaryIO:
    """A chunk's file, open.

    Raises
    ------
    InputError
        ``no-such-file``, ``not-readable``; ``not-a-chunk`` for a folder.
    """
    if path.is_dir():
        raise _folder(path)
    try:
        return path.open("rb")
    except FileNotFoundError:
        hint = "bams3 chunks STORE names chunks as they lie in STORE: put its path before them"
        raise InputError(f"{path}: no such file", kind="no-such-file", hint=hint) from None
    except OSError as err:
        hint = "a chunk is a file that you may read, or - for a pipe"
        raise InputError(f"{path}: cannot be read: {err.strerror}", kind="not-readable", hint=hint) from None


def _folder(path: Path) -> InputError:
    what, hint = "a folder", f"find {path} -name '*.chunk' names the chunks in it"
    if (path / spec.MANIFEST_KEY).exists():
        what, hint = "a store", f"bams3 query {path} writes its records, bams3 chunks {path} names its chunks"
    return InputError(f"{path} is {what}, not a chunk", kind="not-a-chunk", hint=hint)


def read_chunk_file(file: BinaryIO, name: str) -> ChunkFile:
    """One chunk from a file or pipe, to whose end it must go; every checksum is checked.

    Raises
    ------
    InputError
        ``not-a-chunk``.
    CorruptDataError
        ``truncated-file``, naming where it ends; ``bad-chunk``; ``newer-format``, ``older-format``.

    Notes
    -----
    Holds the compressed bytes, twice for a moment. Of what is no chunk, no more than 20 bytes are read.
    """
    fixed = _read(file, _FIXED.size)
    if not spec.CHUNK_MAGIC.startswith(fixed[: len(spec.CHUNK_MAGIC)]):
        raise _not_a_chunk(name, fixed)
    with _named(name):
        _check_end(fixed, _FIXED.size)
        major, minor, context_bytes, directory_bytes = _FIXED.unpack(fixed)
        check_version((major, minor), spec.VERSION, "store", "alignments")
        head_bytes = chunk.head_bytes_of(context_bytes + directory_bytes)
        start = fixed + _read(file, head_bytes - len(fixed))
        _check_end(start, head_bytes)
        head = chunk.parse_head(start)
        size_bytes = int(head.directory.offsets(head_bytes)[-1])
        data = start + _read(file, size_bytes - head_bytes)
        _check_end(data, size_bytes)
        if file.read(1):
            words = f"it goes on behind byte {size_bytes}, its end"
            hint = "- takes one chunk, and a file holds one: give several by their names"
            raise CorruptDataError(words, kind="bad-chunk", hint=hint)
        _check_blobs(data, head)
        return ChunkFile(name, data, head, _contigs_in(head.context), _read_groups_in(head.context))


def _read(file: BinaryIO, size_bytes: int) -> bytes:
    """So many bytes, or all up to the end."""
    parts = []
    while size_bytes and (part := file.read(min(size_bytes, _PIECE_BYTES))):
        parts.append(part)
        size_bytes -= len(part)
    return b"".join(parts)


def _check_end(data: bytes, need_bytes: int) -> None:
    if not data:
        hint = "did the command that made it fail?"
        raise CorruptDataError("empty, no chunk", kind="truncated-file", hint=hint)
    if len(data) < need_bytes:
        words = f"it ends at byte {len(data)} of {need_bytes} or more"
        raise CorruptDataError(words, kind="truncated-file", hint=f"it was cut short: {_AGAIN}")


def _not_a_chunk(name: str, start: bytes) -> InputError:
    hint = "chunks are the files that bams3 chunks STORE names"
    if start.startswith(_ALIGNMENTS):
        hint = "it may hold alignments: bams3 convert IN OUT.bams3 makes a store of them"
    return InputError(f"{name} is not a bams3 chunk", kind="not-a-chunk", hint=hint)


def _check_blobs(data: bytes, head: Head) -> None:
    offsets, view = head.directory.offsets(head.head_bytes).tolist(), memoryview(data)
    for i, crc in enumerate(head.directory.blobs["crc32"].tolist()):
        if crc32(view[offsets[i] : offsets[i + 1]]) != crc:
            raise corrupt_chunk(f"bytes {offsets[i]}-{offsets[i + 1]} do not match their checksum")


def _contigs_in(context: dict[str, Any]) -> dict[int, Contig]:
    rows = context.get("contigs")
    if not isinstance(rows, list) or not all(map(_is_contig, rows)):
        raise corrupt_chunk("its context does not name its contigs")
    return {number: (name, length) for number, name, length in rows}


def _is_contig(row: Any) -> bool:
    match row:
        case [int(number), str(name), int(length)]:
            return 0 <= number < 1 << 31 and 0 <= length < 1 << 32 and _is_text(name) and "\t" not in name
    return False


def _read_groups_in(context: dict[str, Any]) -> tuple[str, ...]:
    lines = context.get("read_groups")
    if not isinstance(lines, list) or not all(_is_text(line) and line.startswith("@RG") for line in lines):
        raise corrupt_chunk("its context does not give its read groups")
    return tuple(lines)


def _is_text(value: Any) -> bool:
    """Whether it is text that a line of a header can hold."""
    if not isinstance(value, str) or "\n" in value or "\0" in value:
        return False
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a pair of surrogates, which JSON can spell
        return False
    return True


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Put before an error's words what it is about, and behind them a hint where there is none."""
    try:
        yield
    except CorruptDataError as err:
        raise CorruptDataError(f"{what}: {err}", kind=err.kind, hint=err.hint or _AGAIN) from err


# ---- several chunks behind each other ----


class MadeHeader:
    """The header of chunks that are written one behind the other, made of what they hold.

    It has the contigs that records and mates lie on, in the store's order, and the @RG lines, and says
    ``SO:coordinate`` only if the records are in that order.
    """

    def __init__(self) -> None:
        self._contigs: dict[int, Contig] = {}
        self._numbers: dict[str, int] = {}
        self._read_groups: tuple[str, ...] | None = None
        self._last: Place = (-1, -1)
        self._in_order = True

    def add(self, one: ChunkFile) -> None:
        """Take the next chunk.

        Raises
        ------
        InputError
            ``mixed-stores``: its contigs or read groups contradict those of a chunk before.
        """
        same = self._read_groups in (None, one.read_groups)
        for number, contig in one.contigs.items():
            same &= self._contigs.setdefault(number, contig) == contig
            same &= self._numbers.setdefault(contig[0], number) == number
        if not same:
            raise InputError(
                f"{one.name} has other contigs or read groups than the chunks before it",
                kind="mixed-stores",
                hint="write the chunks of each store by themselves, as BAM, and use samtools merge",
            )
        self._read_groups = one.read_groups
        for place in one.places():
            self._in_order &= self._last <= place
            self._last = place

    @property
    def numbers(self) -> Array:
        """The store's numbers of the header's contigs (int64), ascending."""
        return np.array(sorted(self._contigs), np.int64)

    def header(self) -> BamHeader:
        """Text and contig table."""
        contigs = [self._contigs[number] for number in sorted(self._contigs)]
        order = "coordinate" if self._in_order else "unsorted"
        lines = [f"@HD\tVN:1.6\tSO:{order}"]
        lines += [f"@SQ\tSN:{name}\tLN:{length}" for name, length in contigs]
        text = "".join(f"{line}\n" for line in (*lines, *(self._read_groups or ())))
        names, lengths = tuple(name for name, _ in contigs), tuple(length for _, length in contigs)
        return BamHeader(text.encode("utf-8", "surrogateescape"), ContigTable(names, lengths))
