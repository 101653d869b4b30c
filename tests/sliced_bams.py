"""BAMs of many kinds, cut into slices and sealed in memory: what a plain conversion must equal."""

import io
import random
import struct
import zlib

import pysam
from bam_records import EOF_BLOCK, bgzf, header_bytes, record, tag

from bams3.bai import record_starts_in
from bams3.ingest import ConvertOptions, Source
from bams3.ingest import convert as ingest
from bams3.slices import Slice
from bams3.slicing import convert_slice, seal_slices
from bams3.store import MemoryStore

IDENTITY = {"size_bytes": 1, "mtime_ns": 2}
OPTIONS = ConvertOptions(span_bp=8000, chunk_records=100)
WIDE = (("chr1", 90_000), ("chr2", 400), ("chr3", 300), ("chr4", 30_000))


def random_reads(chance, n, contigs, longest=60):
    """Reads anywhere, a few of them unmapped beside their mate, with tags of small numbers."""
    places = sorted((c := chance.randrange(len(contigs)), chance.randrange(contigs[c][1])) for _ in range(n))
    for i, (contig, pos) in enumerate(places):
        length = chance.randint(1, longest)
        flag = 4 * (chance.random() < 0.05)
        yield record(
            b"r%d" % i,
            contig=contig,
            pos=pos,
            flag=flag,
            cigar="*" if flag else f"{length}M",
            seq="".join(chance.choices("ACGT", k=length)),
            quals=chance.randbytes(length).translate(bytes(i % 60 for i in range(256))),
            mate_contig=contig,
            mate_pos=pos,
            tags=[tag("ZB", "BI", [0, 1, 60, 200] * chance.randint(0, 9)), tag("NM", "C", 1)][: i % 3],
        )


def spliced_reads(chance):
    """Reads that are longer than a block, and reads over introns that are longer than a span."""
    for i, pos in enumerate(sorted(chance.randrange(60_000) for _ in range(120))):
        if i % 3:
            yield record(b"s%d" % i, pos=pos, cigar=f"2M{chance.randint(1, 29_000)}N2M")
        else:
            length = chance.choice((3_000, 20_000))
            yield record(b"l%d" % i, pos=pos, cigar=f"{length}M", seq="ACGT" * (length // 4))


def unplaced(n):
    return [record(b"u%d" % i, contig=-1, pos=-1, flag=4, cigar="*") for i in range(n)]


def bam_of(records, contigs=WIDE, block_bytes=900, at_block_starts=False, level=1):
    """A BAM whose records lie across blocks, or begin with them, as htslib writes them."""
    header, records = header_bytes(contigs), list(records)
    if not at_block_starts:
        return bgzf(header + b"".join(records), block_bytes, level) + EOF_BLOCK
    out, block = bgzf(header, level=level), b""
    for one in records:
        if block and len(block) + len(one) > block_bytes:
            out, block = out + bgzf(block, level=level), b""
        block += one
    return out + bgzf(block, level=level) + EOF_BLOCK


def kinds():
    """BAMs by name."""
    chance = random.Random(4)
    tiny = tuple((f"t{i}", chance.randint(1, 900)) for i in range(700))
    one = (("chr1", 100_000),)
    amplicon = [record(b"a%d" % i, pos=9_000) for i in range(2_000)] + [record(b"z", pos=80_000)]
    return {
        "tiny-contigs": bam_of(random_reads(chance, 1_500, tiny), tiny, at_block_starts=True),
        "one-contig": bam_of(random_reads(chance, 1_500, one), one),
        "one-read": bam_of([record(pos=5)]),
        "tail": bam_of([*random_reads(chance, 300, WIDE), *unplaced(1_500)], at_block_starts=True),
        "tail-alone": bam_of(unplaced(400)),
        "spliced": bam_of(spliced_reads(chance), block_bytes=4_000),
        "amplicon": bam_of(amplicon),
        "end-blocks-inside": EOF_BLOCK.join(
            [bam_of(random_reads(chance, 400, one), one)[:-28], bgzf(b"".join(unplaced(90)), 500), b""]
        ),
        "no-reads": bam_of([]),
        "no-contigs": bam_of([], ()),
    }


def source_of(data, **identity):
    return Source("x.bam", io.BytesIO(data), IDENTITY | identity, True)


def plain(data, options=OPTIONS):
    """Objects of the store that one process makes."""
    store = MemoryStore()
    ingest(source_of(data), store, options)
    return store.objects


def run_slices(data, store, n, options=OPTIONS, *, only=None, known=(), order=None):
    """Run slices in any order; their reports by number."""
    numbers = list(only or range(1, n + 1))
    (order or random.Random(n)).shuffle(numbers)
    return {i: run_slice(data, store, i, n, options, known=known) for i in numbers}


def run_slice(data, store, i, n, options=OPTIONS, known=()):
    return convert_slice(source_of(data), store, options, Slice(i, n), known=known)


def seal(data, store, options=OPTIONS, **how):
    return seal_slices(source_of(data), store, options, **how)


def index_of(folder, data, *options):
    """Virtual offsets of records, from the index that samtools makes."""
    path = folder / "indexed.bam"
    path.write_bytes(data)
    pysam.samtools.index(*options, "-o", str(folder / "index"), str(path), catch_stdout=False)
    return record_starts_in((folder / "index").read_bytes())


def record_starts(data):
    """Virtual offset of every record and of the end, walked from the header on; and all blocks."""
    text, blocks, at = b"", [], 0
    while at < len(data):
        size = struct.unpack_from("<H", data, at + 16)[0] + 1
        blocks.append((len(text), at))
        text += zlib.decompress(data[at + 18 : at + size - 8], -15)
        at += size
    blocks.append((len(text), len(data)))
    where = 8 + struct.unpack_from("<i", text, 4)[0]
    n_contigs, where = struct.unpack_from("<i", text, where)[0], where + 4
    for _ in range(n_contigs):
        where += 8 + struct.unpack_from("<i", text, where)[0]
    starts = []
    while where < len(text):
        start, offset = max(block for block in blocks if block[0] <= where)
        starts.append(offset << 16 | (where - start))
        where += 4 + struct.unpack_from("<i", text, where)[0]
    return starts
