"""Genotypes of BCF with their phase, as planes, decoded here.

htslib and cyvcf2 make an array of numbers of each record first, at 50 us for 2,504 samples; here planes are
made of the bytes of a record, at 3 us. What the bytes mean is in VCFv4.3, section 6.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..bam import inflate, is_bgzf, read_batches
from ..columns import Array
from ..errors import CorruptDataError, InputError
from ..kernels import KernelError, PlaneRows, scan_bcf
from ..pipeline import ordered_map
from .blocks import Site, id_or_place
from .calls import Choice, Counts, FileOrder, OnProgress, Run, RunRoom, Wanted, allele_ids, chosen_samples
from .vcf import check_file
from .vcf_calls import NO_SET, PhaseSets, bad_genotype, numbered, polyploid

_MAGICS = (b"BCF\2\1", b"BCF\2\2")
_MAX_HEADER_BYTES = 256 << 20
_RECORDS_AT_ONCE = 4096
_MISSING = {1: -(1 << 7), 2: -(1 << 15), 3: -(1 << 31)}
_TEXT = 7
_ENTRY = re.compile(r"##(\w+)=<(?:[^\"]*?,)?ID=([^,>]+)")
_SURROGATE = re.compile("[\ud800-\udfff]")  # a byte that is not UTF-8
_INDEX = re.compile(r"[,<]IDX=([0-9]{1,9})[,>]")


@dataclass(frozen=True, slots=True)
class BcfHeader:
    """What records of a BCF refer to by number.

    Attributes
    ----------
    contigs
        Names by number; empty for numbers that are not given.
    keys
        Numbers of FORMAT keys.
    """

    contigs: list[str]
    keys: dict[str, int]
    samples: tuple[str, ...]


def parse_bcf_header(text: str) -> BcfHeader:
    """The dictionaries of a BCF's header.

    FILTER, INFO and FORMAT share one: PASS is 0, others are numbered as they come, or by their IDX; contigs
    have one of their own.
    """
    names, contigs, keys = {"PASS": 0}, dict[str, int](), dict[str, int]()
    samples: tuple[str, ...] = ()
    for line in text.split("\n"):
        if line.startswith("#CHROM"):
            samples = tuple(line.rstrip("\r").split("\t")[9:])
        found = _ENTRY.match(line)
        kind = found[1] if found else ""
        if not found or kind not in ("FILTER", "INFO", "FORMAT", "contig"):
            continue
        table = contigs if kind == "contig" else names
        given = _INDEX.search(line.rpartition('"')[2])  # not in a description
        number = int(given[1]) if given else max(table.values(), default=-1) + 1
        table.setdefault(found[2], number)
        if kind == "FORMAT":
            keys[found[2]] = table[found[2]]
    if strange := next((name for name in contigs if _SURROGATE.search(name)), ""):
        raise ValueError(f"the name of the contig {strange!a} is not UTF-8")
    by_number = {number: name for name, number in contigs.items()}
    if len(by_number) != len(contigs) or max(by_number, default=-1) >= 1 << 24:
        raise ValueError("its contigs do not have numbers of their own")
    return BcfHeader([by_number.get(k, "") for k in range(max(by_number, default=-1) + 1)], keys, samples)


def is_bcf(path: Path) -> bool:
    """Whether a file is BCF2 in BGZF blocks: others are left to htslib."""
    try:
        with path.open("rb") as file:
            if not is_bgzf(file.read(18)):
                return False
            file.seek(0)
            return inflate(next(read_batches(file))).data[:5] in _MAGICS
    except (OSError, CorruptDataError, StopIteration):
        return False


class _Row(NamedTuple):
    """A variant: which record of a run it is of, and which of its alleles."""

    record: int
    allele: int
    site: Site


class BcfCalls:
    """The genotypes of a BCF file, as VcfCalls gives them.

    Parameters
    ----------
    path
        A regular file of BCF2 in BGZF blocks.
    threads
        That decompress.

    Raises
    ------
    InputError
        kind ``not-a-panel``, ``no-samples``, ``unknown-sample``.
    CorruptDataError
        kind ``truncated-file``, ``bad-bgzf-block``, ``bad-bgzf-crc``.

    Notes
    -----
    A record of 2,504 samples takes 10 us. Holds 4 MB of records a thread, or one longer record.
    """

    def __init__(self, path: Path, choice: Choice, threads: int = 2) -> None:
        self.path, self.counts = path, Counts()
        self._choice, self._threads = choice, threads
        check_file(path)
        with path.open("rb") as file, ThreadPoolExecutor(1, "bams3-inflate") as pool:
            self._header, _ = self._begin(_pieces(file, path, pool, 1))
        names = self._header.samples
        if not names:
            hint = "genotypes stand behind the FORMAT column, a column a sample"
            raise InputError(f"{path}: has no samples, only sites", kind="no-samples", hint=hint)
        columns = chosen_samples(path, names, choice.samples)
        self.samples = tuple(names[k] for k in columns)
        self._columns = np.array(columns, np.uint32) if len(columns) < len(names) else None
        self._sets = PhaseSets(len(self.samples)) if "PS" in self._header.keys else None

    def runs(self, on_progress: OnProgress) -> Iterator[Run]:
        """See ``CallSource.runs``.

        Raises
        ------
        InputError
            kind ``unsorted``, ``polyploid``, ``unknown-contig``, ``bad-region``.
        CorruptDataError
            kind ``bad-vcf``, ``bad-genotype``, ``bad-bgzf-block``, ``bad-bgzf-crc``.
        """
        order = FileOrder(self.path, f"bcftools sort -O b -o sorted.bcf {self.path}")
        wanted = Wanted(self._choice.regions, [name for name in self._header.contigs if name])
        room = RunRoom(len(self.samples))
        with self.path.open("rb") as file, ThreadPoolExecutor(self._threads, "bams3-inflate") as pool:
            _, pieces = self._begin(_pieces(file, self.path, pool, self._threads))
            for data, records in self._scan(pieces):
                rows = list(self._sites(data, records, order, wanted))
                yield from self._add(room, data, records, rows)
                on_progress(len(records))
        if room.row:
            yield room.take()

    # -- header and records --

    def _begin(self, pieces: Iterator[bytes]) -> tuple[BcfHeader, Iterator[bytes]]:
        """The header, and what follows it."""
        data = b""
        for piece in pieces:
            data += piece
            size = struct.unpack_from("<I", data, 5)[0] if len(data) >= 9 else 0
            if size > _MAX_HEADER_BYTES:
                break
            if len(data) >= 9 + size:
                text = data[9 : 9 + size].rstrip(b"\0").decode("utf-8", "surrogateescape")
                try:
                    header = parse_bcf_header(text)
                except ValueError as err:
                    message = f"{self.path}: not a BCF file: {err}"
                    raise InputError(message, kind="not-a-panel") from err
                return header, _chained(data[9 + size :], pieces)
        message = f"{self.path}: the file ends inside its header"
        raise CorruptDataError(message, kind="truncated-file", hint="copy or make it again")

    def _scan(self, pieces: Iterator[bytes]) -> Iterator[tuple[bytes, Array]]:
        """Bytes and the records in them."""
        header, tail = self._header, b""
        keys = header.keys.get("GT", -1), header.keys.get("PS", -1)
        for piece in pieces:
            data = tail + piece if tail else piece
            view, at, n = np.frombuffer(data, np.uint8), 0, _RECORDS_AT_ONCE
            while n == _RECORDS_AT_ONCE:
                shape = len(header.samples), len(header.contigs)
                try:
                    records, used = scan_bcf(view[at:], *shape, *keys, _RECORDS_AT_ONCE)
                except KernelError as err:
                    raise self._unreadable(str(err)) from err
                n = len(records)
                for name in ("id_at", "alleles_at", "gt_at", "ps_at"):
                    records[name] += np.uint64(at)
                if n:
                    yield data, records
                at += used
                self.counts.records += n
            tail = data[at:]
        if tail:
            raise self._unreadable("the file ends inside it")

    def _unreadable(self, words: str) -> CorruptDataError:
        message = f"{self.path}: cannot read record {self.counts.records + 1:,}: {words}"
        hint = "the file may be cut short; bcftools view says what is wrong with the record"
        return CorruptDataError(message, kind="bad-vcf", hint=hint)

    # -- variants --

    def _sites(self, data: bytes, records: Array, order: FileOrder, wanted: Wanted) -> Iterator[_Row]:
        """The variants of records."""
        names = "contig pos id_at id_len alleles_at n_alleles gt_count".split()
        columns = (records[name].tolist() for name in names)
        for k, (number, start_bp, id_at, id_len, at, n, n_calls) in enumerate(zip(*columns, strict=True)):
            contig = self._header.contigs[number]
            if not contig:
                raise self._unreadable(f"its contig {number} is not in the header")
            order.see(contig, start_bp)
            if not wanted.has(contig, start_bp):
                continue
            ref, *alts = _alleles(data, at, n)
            self.counts.multiallelic += len(alts) > 1
            self.counts.without_calls += not n_calls
            if len(alts) > 1 and self._choice.drops_multiallelic:
                continue
            alts = alts or ["."]
            name = data[id_at : id_at + id_len].decode("utf-8", "surrogateescape")
            for allele, (own, alt) in enumerate(zip(allele_ids(name, alts), alts, strict=True), 1):
                own = id_or_place(own, contig, start_bp, ref, alt)
                yield _Row(k, allele, Site(contig, start_bp, own, ref, alt))

    def _add(self, room: RunRoom, data: bytes, records: Array, rows: list[_Row]) -> Iterator[Run]:
        """Keep variants; runs that became full."""
        at, is_phased = 0, True
        while at < len(rows):
            part, first = rows[at : at + room.variants - room.row], room.row
            mine = records[[row.record for row in part]]
            tallies, is_full = self._pack(room.run.planes, first, data, mine, part), False
            for k, (row, (half, unphased, n_polyploid, culprit)) in enumerate(
                zip(part, tallies, strict=True)
            ):
                if n_polyploid:
                    raise polyploid(self.path, row.site, self.samples[culprit])
                if row.allele == 1:
                    self.counts.half_calls += half
                    is_phased = not unphased
                    if self._sets is not None:
                        sets = self._sets_of(data, mine[k])
                        is_phased &= self._sets.agree(
                            row.site.contig, sets, room.run.planes.phased[first + k]
                        )
                is_full |= room.add(row.site, is_phased)
            if is_full:
                yield room.take()
            at += len(part)

    def _pack(
        self, planes: PlaneRows, first: int, data: bytes, records: Array, rows: list[_Row]
    ) -> list[list[int]]:
        """Fill rows of planes; a tally each."""
        alts = np.array([row.allele for row in rows], np.int32)
        view, n_all = np.frombuffer(data, np.uint8), len(self._header.samples)
        try:
            found: list[list[int]] = planes.pack_bcf(
                first, view, n_all, records, alts, self._columns
            ).tolist()
        except KernelError as err:
            raise bad_genotype(self.path, rows[err.where].site) from err
        return found

    def _sets_of(self, data: bytes, record: Any) -> Array | None:
        """(S,) int64. The phase set of each sample; None where the record has none."""
        n_all = len(self._header.samples)
        count, kind, at = (int(record[name]) for name in ("ps_count", "ps_type", "ps_at"))
        if not count:
            return None
        if kind == _TEXT:
            texts = np.frombuffer(data, f"S{count}", n_all, at)
            sets = numbered(text.decode("latin-1") for text in texts.tolist())
        else:
            values = np.frombuffer(data, f"<i{1 << kind - 1}", n_all * count, at)[::count].astype(np.int64)
            sets = np.where(values == _MISSING[kind], NO_SET, values)
        return sets if self._columns is None else sets[self._columns]


def _alleles(data: bytes, at: int, n: int) -> list[str]:
    """The n texts from ``at`` on, which scan_bcf has looked at."""
    out = []
    for _ in range(n):
        length = data[at] >> 4
        at += 1
        if length == 15:
            width = 1 << (data[at] & 15) - 1
            length = int.from_bytes(data[at + 1 : at + 1 + width], "little")
            at += 1 + width
        out.append(data[at : at + length].decode("utf-8", "surrogateescape"))
        at += length
    return out


def _chained(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _pieces(file: BinaryIO, path: Path, pool: ThreadPoolExecutor, threads: int) -> Iterator[bytes]:
    """The decompressed bytes of a BGZF file."""
    batches = read_batches(file, source=str(path))
    return (piece.data for piece in ordered_map(pool, inflate, batches, threads + 1))
