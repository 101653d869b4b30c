"""What stores and questions cost in S3: requests and bytes, and what they are in USD.

Requests and bytes of a question come from an index, by the functions that ``query --explain`` uses: that
of a store, or the one that planned.py makes of a store that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from . import price
from .coverage import Rules
from .errors import InputError
from .filters import Filters
from .format import spec
from .query import StoreReader, met
from .regions import MAX_BP, UNPLACED, BedRow, Region, merge_intervals
from .rowgroups import ChunkReader
from .spans import Spans
from .store import Store

#: A GB on AWS's bill.
GB_BYTES = 1 << 30
MB_BYTES = 10**6

#: CPU-seconds, medians of tests/bench/rows/2026-11-convert-query.jsonl: a process that reads the manifest
#: and stops ("count of all"); a MB that it reads ("records of 1 Mb as SAM": 1.02 s more for 15.8 MB; "store
#: to SAM" needs 0.053 a MB); a conversion, for a MB of the store ("BAM to store": 11.0 s, 198 MB).
PROCESS_VCPU_S = 0.25
READ_VCPU_S_PER_MB = 0.065
CONVERT_VCPU_S_PER_MB = 0.056

#: Objects of a store beside its chunks: manifest, header, index, provenance.
OTHER_OBJECTS = 4

QUESTIONS = ("count", "records", "depth", "windows")
CASES = ("same_region", "cross_region", "internet")


# ---- prices ----


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in USD, each with its unit in its name; a GB is 2**30 bytes."""

    storage_usd_per_gb_month: float
    put_usd_per_1000: float
    get_usd_per_1000: float
    transfer_same_region_usd_per_gb: float
    transfer_cross_region_usd_per_gb: float
    transfer_internet_usd_per_gb: float
    vcpu_usd_per_hour: float
    as_of: str
    region: str


def parse_prices(value: Any, source: str) -> Prices:
    """Prices from what a YAML file holds.

    Raises
    ------
    InputError
        ``bad-prices``, naming ``source`` and the key: one is missing, unknown, or no price.
    """
    names = [field.name for field in fields(Prices)]
    if not isinstance(value, dict):
        raise _bad_prices(source, "holds no prices", f"its keys are {', '.join(names)}")
    known = [name for name in value if name in names]
    for name in value:
        if name not in known:
            raise _bad_prices(source, f"{name}: no such price", f"its keys are {', '.join(names)}")
    for name in names:
        if name not in value:
            raise _bad_prices(source, f"{name} is missing", "config/prices.yaml has every key")
    words = {name: _word(source, name, value[name]) for name in ("as_of", "region")}
    numbers = {name: _price(source, name, value[name]) for name in names if name not in words}
    return Prices(**numbers, **words)  # type: ignore[arg-type]  # numbers and words by their names


def _price(source: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad_prices(source, f"{name}: {value!r} is not a number", "write it as 0.023")
    if not 0 <= value < 10**9:
        raise _bad_prices(source, f"{name}: {str(value)[:20]} is not a price", "a price is 0 or more")
    return float(value)


def _word(source: str, name: str, value: Any) -> str:
    text = "" if value is None or isinstance(value, bool | list | dict) else str(value).strip()
    if not text:
        raise _bad_prices(source, f"{name} is empty", "say of which day and region the prices are")
    return text


def _bad_prices(source: str, message: str, hint: str) -> InputError:
    return InputError(f"{source}: {message}", kind="bad-prices", hint=hint)


# ---- requests, bytes and processes to USD ----


@dataclass(frozen=True, slots=True)
class Usage:
    """What is asked of S3: GET requests, bytes read, and processes that start cold."""

    requests: int
    size_bytes: int
    processes: int = 0

    def __add__(self, other: Usage) -> Usage:
        pairs = zip(self.values(), other.values(), strict=True)
        return Usage(*(a + b for a, b in pairs))

    def times(self, n: int) -> Usage:
        """The same for each of ``n`` samples."""
        return Usage(*(n * value for value in self.values()))

    def values(self) -> tuple[int, int, int]:
        """Requests, bytes, processes."""
        return self.requests, self.size_bytes, self.processes

    @property
    def vcpu_hours(self) -> float:
        """Estimate: a start each process, and decoding by the MB; waiting for S3 is not in it."""
        read_s = READ_VCPU_S_PER_MB * self.size_bytes / MB_BYTES
        return (PROCESS_VCPU_S * self.processes + read_s) / 3600


@dataclass(frozen=True, slots=True)
class Bill:
    """What a usage costs in USD; transfer by where the reader is, one of CASES."""

    requests_usd: float
    compute_usd: float
    transfer_usd: dict[str, float]

    @classmethod
    def of(cls, usage: Usage, prices: Prices) -> Bill:
        gb = usage.size_bytes / GB_BYTES
        return cls(
            usage.requests / 1000 * prices.get_usd_per_1000,
            usage.vcpu_hours * prices.vcpu_usd_per_hour,
            {case: gb * getattr(prices, f"transfer_{case}_usd_per_gb") for case in CASES},
        )

    @property
    def total_usd(self) -> dict[str, float]:
        """Requests, transfer and compute, by case."""
        return {case: self.requests_usd + usd + self.compute_usd for case, usd in self.transfer_usd.items()}


@dataclass(frozen=True, slots=True)
class Holding:
    """What a store is to S3: chunks, objects, bytes, and the PUTs of the conversion that made it."""

    chunks: int
    objects: int
    size_bytes: int
    puts: int

    @classmethod
    def of(cls, reader: StoreReader) -> Holding:
        """Of a store; reads its whole index.

        Notes
        -----
        A conversion puts every chunk, a resume note for every span, and OTHER_OBJECTS; the notes are deleted,
        which is free. The provenance, a few hundred bytes, is not in ``size_bytes``.
        """
        m = reader.manifest
        spans = len({(int(c.row["contig"]), int(c.row["start"])) for _, c in reader.all_chunks()})
        size_bytes = int(m.text["chunk_bytes"]) + int(m.text["index"]["bytes"])
        size_bytes += m.header.size_bytes + len(reader.manifest_bytes)
        return cls(m.chunks, m.chunks + OTHER_OBJECTS, size_bytes, m.chunks + spans + OTHER_OBJECTS)

    def storage_usd_per_month(self, prices: Prices) -> float:
        """USD for keeping it a month."""
        return self.size_bytes / GB_BYTES * prices.storage_usd_per_gb_month

    def put_usd(self, prices: Prices) -> float:
        """USD for the PUTs of its conversion."""
        return self.puts / 1000 * prices.put_usd_per_1000

    @property
    def convert_vcpu_hours(self) -> float:
        """Estimate for its conversion."""
        return CONVERT_VCPU_S_PER_MB * self.size_bytes / MB_BYTES / 3600


# ---- questions ----


def usage_of(store: Store, question: str, regions: Sequence[Region]) -> Usage:
    """What one process reads that starts cold and asks for regions (none: the whole store).

    Parameters
    ----------
    question
        ``count``: ``query --tsv`` of the regions. ``records``: ``query -L``, each record once. ``depth``:
        ``coverage -L``. ``windows``: ``coverage --window`` of whole contigs, those that regions lie on.

    Raises
    ------
    InputError
        ``bad-region``: depth of unplaced reads.

    Notes
    -----
    Reads what the process would read of manifest and index, and no chunk.
    """
    reader = StoreReader(store)
    return _sum(_reads(reader, question, regions)) + _opened(reader)


def usage_by_region(store: Store, question: str, regions: Sequence[Region]) -> Usage:
    """The same with a process a region, which all start cold."""
    total = Usage(0, 0)
    opened: dict[tuple[str, bool], tuple[StoreReader, Usage]] = {}
    for region in regions:  # two processes that ask for one contig read the same of the index
        kind = region.contig, _is_whole(region)
        reader, of_index = opened.get(kind) or (StoreReader(store), None)
        reads = _sum(_reads(reader, question, [region]))
        if of_index is None:
            of_index = _opened(reader)
            opened[kind] = reader, of_index
        total += reads + of_index
    return total


def _sum(reads: Iterable[price.Read]) -> Usage:
    return sum((Usage(read.ranges, read.size_bytes) for read in reads), Usage(0, 0))


def _opened(reader: StoreReader) -> Usage:
    """What a process has read of manifest, index and header."""
    return _sum(price.of_index(reader)) + Usage(0, 0, 1)


def _is_whole(region: Region) -> bool:
    """Whether the totals of the index count a region."""
    return region.contig == UNPLACED or (region.start_bp == 0 and region.end_bp >= MAX_BP)


def _reads(reader: StoreReader, question: str, regions: Sequence[Region]) -> list[price.Read]:
    """What is read of chunks and depth frames; ``reader`` has then read what leads there."""
    if question == "count":
        if any(map(_is_whole, regions)):
            _ = reader.totals
        return price.of_counts(reader, [r for r in regions if not _is_whole(r)], Filters()) if regions else []
    if question == "records":
        _ = reader.header  # of the records that are written
        places = merge_intervals(_rows(regions)) if regions else None
        return price.of_records(reader, places, Filters(), None)
    wanted = regions or [Region(name) for name in reader.contigs.names]
    if any(region.contig == UNPLACED for region in wanted):
        raise InputError("unplaced reads have no depth", kind="bad-region")
    if question == "depth":
        return list(_depth_reads(reader, wanted))
    sizes = [frames_bytes(reader, reader.contigs.id_of(name)) for name in {r.contig for r in wanted}]
    return [price.Read(reader.manifest.index_key, 1, size) for size in sizes if size]


def _rows(regions: Sequence[Region]) -> list[BedRow]:
    return [BedRow(r.contig, r.start_bp, r.end_bp, "", 0) for r in regions]


def _depth_reads(reader: StoreReader, wanted: Sequence[Region]) -> Iterator[price.Read]:
    """What depth.depth_pieces reads: one range of each chunk that a region meets."""
    of: dict[int, list[Region]] = {}
    for region in wanted:
        of.setdefault(reader.contigs.id_of(region.contig), []).append(region)
    reader.load(of)
    for number in sorted({n for contig in of if (n := reader.section_of(contig)) is not None}):
        section = reader.sections()[number]
        here = [k for k in of if section.first_contig <= k < section.first_contig + section.n_contigs]
        for stored in reader.chunks(number):
            groups = sorted({g for k in here for g in met(stored, Spans.of(k, of[k]))})
            chunk = ChunkReader(reader.objects, stored)
            runs = chunk.runs(groups, Rules().needs())
            yield price.Read(stored.key, len(runs), sum(map(chunk.run_bytes, runs)))


def frames_bytes(reader: StoreReader, contig: int) -> int:
    """Bytes of the depth frames that depth.indexed_sums reads, with one request, for a contig."""
    place = reader.section_of(contig)
    if place is None:
        return 0
    section, lengths = reader.sections()[place], reader.contigs.lengths
    first = sum(-(-length // spec.WINDOW_BP) for length in lengths[section.first_contig : contig])
    last = first + -(-lengths[contig] // spec.WINDOW_BP)
    frames = range(first // spec.FRAME_WINDOWS, -(-last // spec.FRAME_WINDOWS))
    return sum(section.depth[frame].size_bytes for frame in frames if frame in section.depth)
