"""Random damage, many pieces a process: what reads foreign bytes must refuse it or read it, no more.

    python tests/mutate.py KIND SEED COUNT BAM...

KIND is ``file`` (bytes of a BAM), ``records`` (its records, in valid BGZF again), ``object`` (an object of
a store), ``column`` (a column of a row group, its checksums right) or ``sealed`` (columns, directories, index
or manifest of a store whose names and checksums are all right). Prints a line a surprise with its seed,
and at the end how many pieces were refused, by kind. A hang of over 10 s ends the process with a traceback.
"""

import faulthandler
import io
import random
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bams3 import ingest, kernels
from bams3.bam import BGZF_EOF, compress_blocks
from bams3.errors import Bams3Error
from bams3.filters import Filters
from bams3.format import chunk, index, manifest
from bams3.format.directory import EXTENT, Directory, crc32, parse_directory
from bams3.format.frames import PLAIN_ZSTD, Compression, pack_frame, pack_frames, unpack_frames
from bams3.format.rowgroup import CODEC_ID, EncodedGroup, decode_columns, group_summary
from bams3.query import StoreReader
from bams3.regions import Region
from bams3.sam import write_alignments
from bams3.store import MemoryStore
from bams3.verify import verify

HANG_S = 10
FILTERS = Filters(require_flags=1, min_mapq=3, read_groups=("x",), subsample=(7, 0.5))


def damage(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four of: bits flipped, a number set, a piece cut, moved or doubled."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not out:
            break
        at = rng.randrange(len(out))
        end = min(len(out), at + rng.choice((1, 2, 4, 4, 16, 200)))
        what = rng.randrange(6)
        if what == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            out[at:end] = rng.choice((b"\0", b"\x7f", b"\x80", b"\xff")) * (end - at)
        elif what == 2:
            del out[at:end]
        elif what == 3:
            del out[at:]
        elif what == 4:
            out[at:at] = out[at:end]
        else:
            to = rng.randrange(len(out))
            out[to : to + end - at] = out[at:end]
    return bytes(out)


def convert(bam: bytes) -> MemoryStore:
    store = MemoryStore()
    options = ingest.ConvertOptions(span_bp=256_000, chunk_records=40, workers=1)
    ingest.convert(ingest.Source("mutated.bam", io.BytesIO(bam), None, True), store, options)
    return store


def read_all(store: MemoryStore) -> bytes:
    """Every question that reaches every decoder; the records."""
    reader = StoreReader(store)
    assert verify(reader, 1).problems == []
    everything = b"".join(reader.records())
    for name in reader.contigs.names[:2]:
        region = Region(name, 100, 20_000)
        assert reader.count(region) == len(starts_of(b"".join(reader.records([region]))))
    reader.count(None, FILTERS)
    return everything


def starts_of(records: bytes) -> list[int]:
    starts, at = [], 0
    while at < len(records):
        starts.append(at)
        at += 4 + int.from_bytes(records[at : at + 4], "little")
    return starts


def without_bins(records: bytes) -> bytes:
    """Records with ``bin``, which is computed anew, set to 0."""
    out = bytearray(records)
    for at in starts_of(records):
        out[at + 14 : at + 16] = b"\0\0"
    return bytes(out)


def inflated(bam: bytes) -> tuple[bytes, bytes]:
    """Header and records of a BAM."""
    data, rest = b"", bam
    while rest:
        stream = zlib.decompressobj(31)
        data += stream.decompress(rest)
        rest = stream.unused_data
    at = 8 + int.from_bytes(data[4:8], "little")
    n_contigs, at = int.from_bytes(data[at : at + 4], "little"), at + 4
    for _ in range(n_contigs):
        at += 8 + int.from_bytes(data[at : at + 4], "little")
    return data[:at], data[at:]


# ---- the kinds ----


def mutate_file(bam: bytes, rng: random.Random) -> None:
    read_all(convert(damage(bam, rng)))


def mutate_records(bam: bytes, rng: random.Random) -> None:
    header, records = inflated(bam)
    damaged = damage(header, rng) if rng.random() < 0.1 else header
    mutated = damage(records, rng)
    read = read_all(convert(compress_blocks(damaged + mutated, 1) + BGZF_EOF))
    if damaged == header and len(read) == len(mutated):  # a name without its end gains a byte
        assert without_bins(read) == without_bins(mutated), "what was accepted came back changed"


def mutate_object(bam: bytes, rng: random.Random) -> None:
    store = convert(bam)
    expected = b"".join(StoreReader(store).records())
    key = rng.choice(sorted(store.objects))
    whole, store.objects[key] = store.objects[key], damage(store.objects[key], rng)
    seen = store.objects[key] == whole or refused_or_named(store)
    found = b"".join(StoreReader(store).records())
    assert found == expected, f"a damaged {key} gives other records"
    assert seen, f"verify does not see that {key} is damaged"


def refused_or_named(store: MemoryStore) -> bool:
    """Whether verify finds fault with a store."""
    try:
        return verify(StoreReader(store), 1).problems != []
    except Bams3Error:
        return True


def mutate_column(bam: bytes, rng: random.Random) -> None:
    store = convert(bam)
    key = rng.choice([key for key in store.objects if key.endswith(".chunk")])
    data = store.objects[key]
    head = chunk.parse_head(data)
    if rng.random() < 0.2:
        parse_damaged(store, head, rng)
        return
    offsets, directory = head.directory.offsets(head.head_bytes), head.directory
    number = rng.randrange(directory.groups.size)
    records, decoded_bytes, _ = directory.groups[number].tolist()
    blobs = [
        (directory.columns[blob["column"]], int(blob["codec"]), data[offsets[i] : offsets[i + 1]])
        for i, blob in enumerate(directory.blobs)
        if blob["group"] == number
    ]
    victim = rng.randrange(len(blobs))
    name, codec, blob = blobs[victim]
    streams = unpack_frames(blob, 1 << 30)
    if streams and rng.random() < 0.8:  # the frames stay whole, a stream in them does not
        at = rng.randrange(len(streams))
        streams[at] = np.frombuffer(damage(streams[at].tobytes(), rng), np.uint8)
        blobs[victim] = name, codec, pack_frames(streams, Compression())
    else:
        blobs[victim] = name, codec, damage(blob, rng)
    columns = decode_columns(records, decoded_bytes, blobs)
    kernels.join(columns)
    extents, _ = group_summary(columns)
    here = extents[extents["contig"] == 0]
    if here.size:
        index.group_depth(columns, here, index.Windows.of(index.Section(0, 1, 256_000), [100_000_000]))
    FILTERS.mask(columns)


def parse_damaged(store: MemoryStore, head: chunk.Head, rng: random.Random) -> None:
    """Directory, manifest or index range, damaged, with a checksum that is right."""
    which = rng.randrange(3)
    if which == 0:
        parse_directory(damage(head.directory_bytes, rng))
    elif which == 1:
        text = damage(store.objects["_metadata.json"].rpartition(b'"crc32"')[0], rng)
        manifest.parse(text + f'"crc32": "{crc32(text):08x}"\n}}\n'.encode())
    else:
        if rng.random() < 0.5:
            index.parse_costs(damage(index.pack_costs(np.ones(5, index.COST)), rng))
        index.parse_totals(damage(pack_frames([np.zeros(68, np.uint8)] * 8, PLAIN_ZSTD), rng), 1)
        index.parse_chunks(damage(pack_frame(np.zeros(88, np.uint8), PLAIN_ZSTD), rng))


class Forger:
    """Stands in for what a conversion seals, and damages some of it before it is sealed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._build, self._render, self._add = chunk.build_chunk, manifest.render, index._Ranges.add

    def build_chunk(self, groups: Sequence[EncodedGroup], context: dict[str, Any]) -> tuple[bytes, Directory]:
        damaged = [self._group(group) if self._rng.random() < 0.3 else group for group in groups]
        return self._build(damaged, context)

    def _group(self, group: EncodedGroup) -> EncodedGroup:
        what, rng = self._rng.randrange(8), self._rng
        if what == 0:
            return replace(group, records=rng.choice((1, 2, 39, 41, 50_000)))
        if what == 1:
            return replace(group, decoded_bytes=rng.choice((0, 1, 40, 5000, 24 << 20, (1 << 31) + 3)))
        if what == 2:
            extents = np.frombuffer(damage_in_place(group.extents.tobytes(), rng), EXTENT)
            return replace(group, extents=extents) if in_table(extents) else group
        blobs = list(group.blobs)
        at = rng.randrange(len(blobs))
        if what == 3:
            del blobs[at]
        elif what == 4:
            blobs[at] = replace(blobs[at], codec=rng.choice(sorted(CODEC_ID)))
        else:
            streams = unpack_frames(blobs[at].data, 1 << 30)
            which = rng.randrange(len(streams))
            streams[which] = np.frombuffer(damage(streams[which].tobytes(), rng), np.uint8)
            blobs[at] = replace(blobs[at], data=pack_frames(streams, Compression()))
        return replace(group, blobs=tuple(blobs))

    def add(self, ranges: Any, data: bytes) -> list[int]:
        """A range of the index: totals, costs, contig table, chunks, directories or depth."""
        if self._rng.random() < 0.04:
            streams = unpack_frames(data, 1 << 30)
            which = self._rng.randrange(len(streams))
            streams[which] = np.frombuffer(damage(streams[which].tobytes(), self._rng), np.uint8)
            data = pack_frames(streams, PLAIN_ZSTD)
        return self._add(ranges, data)

    def render(self, value: dict[str, Any]) -> bytes:
        data = self._render(value)
        if self._rng.random() < 0.9:
            return data
        text = damage(data.rpartition(b'"crc32"')[0], self._rng)
        return text + f'"crc32": "{crc32(text):08x}"\n}}\n'.encode()


def damage_in_place(data: bytes, rng: random.Random) -> bytes:
    """Damaged bytes of the same length."""
    return (damage(data, rng) + bytes(len(data)))[: len(data)]


def in_table(extents: np.ndarray) -> bool:
    """Whether a writer can add up an index of these extents."""
    return bool(((extents["contig"] >= -1) & (extents["contig"] < 1)).all())


def mutate_sealed(bam: bytes, rng: random.Random) -> None:
    forger = Forger(rng)
    with (
        mock.patch.object(chunk, "build_chunk", forger.build_chunk),
        mock.patch.object(manifest, "render", forger.render),
        mock.patch.object(index._Ranges, "add", lambda ranges, data: forger.add(ranges, data)),
    ):
        store = convert(bam)
    questions: list[Callable[[StoreReader], object]] = [
        lambda reader: verify(reader, 1),
        lambda reader: [reader.count(name) for name in (*reader.contigs.names[:2], "*")],
        lambda reader: [reader.count(Region(name, 100, 20_000)) for name in reader.contigs.names[:2]],
        lambda reader: b"".join(reader.records([Region(reader.contigs.names[0], 100, 20_000_000)])),
        lambda reader: reader.count(None, FILTERS),
        lambda reader: reader.costs,
        lambda reader: [reader.depth_frames(s, sorted(s.depth)) for s in reader.sections()],
        lambda reader: write_alignments(reader.records(), reader.header, io.BytesIO(), "bam"),
    ]
    if rng.random() < 0.05:  # a process of htslib each
        questions.append(lambda r: write_alignments(r.records(), r.header, io.BytesIO(), "sam"))
    problems = [problem for question in questions if (problem := refusal(question, store))]
    if problems:
        raise problems[0]


def refusal(question: Callable[[StoreReader], object], store: MemoryStore) -> Bams3Error | None:
    """The error with which a question ends; one that is not ours goes through."""
    try:
        question(StoreReader(store))
    except Bams3Error as err:
        if err.exit_code not in (2, 3, 4):
            raise RuntimeError(f"exit code {err.exit_code}: {err}") from err
        return err
    return None


KINDS: dict[str, Callable[[bytes, random.Random], None]] = {
    "file": mutate_file,
    "records": mutate_records,
    "object": mutate_object,
    "column": mutate_column,
    "sealed": mutate_sealed,
}


def main() -> None:
    kind, seed, count, *paths = sys.argv[1:]
    bams = [Path(path).read_bytes() for path in paths]
    outcomes: Counter[str] = Counter()
    for number in range(int(seed), int(seed) + int(count)):
        rng = random.Random(f"{kind} {number}")
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        try:
            KINDS[kind](rng.choice(bams), rng)
            outcomes["read"] += 1
        except Bams3Error as err:
            outcomes[err.kind if err.exit_code in (2, 3, 4) else f"exit {err.exit_code}"] += 1
        except Exception as err:  # noqa: BLE001  anything else is what this looks for
            print(f"{kind} {number}: {type(err).__name__}: {err}", flush=True)
        faulthandler.cancel_dump_traceback_later()
    print("outcomes", dict(outcomes.most_common()), flush=True)


if __name__ == "__main__":
    main()
