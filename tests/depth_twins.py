"""The kernels of depth once more, slow and plain, and reads whose depth is counted base by base.

The twins have the names and signatures of ``bams3.kernels``: one test class runs over both. What stands
below them knows nothing of changes of depth: it walks along every read, and is what all else is held against.
"""

import io
from itertools import accumulate, groupby
from typing import NamedTuple
from unittest import mock

import numpy as np
from bam_records import CONSUMES_QUERY, CONSUMES_REFERENCE, OPS, bam, header_bytes, record
from hypothesis import strategies as st
from transform_twins import strings, u8

from bams3.columns import INT_COLUMNS, Columns
from bams3.coverage import Rules
from bams3.filters import Filters
from bams3.format import spec
from bams3.ingest import ConvertOptions, Source, convert
from bams3.kernels import ALIGNED, SPAN, Axis, Changes, KernelError
from bams3.query import StoreReader
from bams3.store import MemoryStore

TOO_MANY, BAD_COLUMN = 11, 12
COVERING, LONGEST = "M=X", 2**28 - 1
UNMAPPED, LETTERS = 4, OPS + "?" * 7  # SAM has no letters for operations 9 to 15


# ---- twins ----


def check_lengths(c, keep, *needed):
    """KernelError where a column is missing, or has no value for some record."""
    per_record = [getattr(c, name) for name in INT_COLUMNS] + [c.cigar and c.cigar.lengths, keep]
    wrong = any(values is not None and values.size != c.n for values in per_record)
    if wrong or any(getattr(c, name) is None for name in needed):
        raise KernelError(BAD_COLUMN)


class Taken:
    """A column that is taken record by record; KernelError where it ends too early."""

    def __init__(self, values):
        self.values, self.at = values, 0

    def take(self, n):
        self.at += n
        if self.at > len(self.values):
            raise KernelError(BAD_COLUMN)
        return self.values[self.at - n : self.at]


def counted(c, keep, first_contig, n_contigs, cigars, quals):
    """(record, number of its contig, operations, qualities) of the records that count."""
    if cigars and (c.cigar.lengths % 4).any():
        raise KernelError(BAD_COLUMN)
    whole = c.cigar.data[: c.cigar.data.size // 4 * 4].tobytes() if cigars else b""
    words, scores = Taken(np.frombuffer(whole, "<u4").tolist()), Taken(bytes(c.quals) if quals else b"")
    for i in range(c.n):
        operations = words.take(int(c.cigar.lengths[i]) // 4) if cigars else []
        read = scores.take(int(c.seq_len[i])) if quals else b""
        k = int(c.contig[i]) - first_contig
        if (keep is None or keep[i]) and c.pos[i] >= 0 and 0 <= k < n_contigs:
            yield i, k, operations, read


def aligned(operations, at, limit, n_quals):
    """(offset in the read, position, length) of every M, = and X that begins in front of ``limit``."""
    read = 0
    for word in operations:
        n, op = word >> 4, LETTERS[word & 15]
        if at >= limit:
            return
        if op in CONSUMES_QUERY and n_quals and read + n > n_quals:
            raise KernelError(BAD_COLUMN)
        if op in COVERING:
            yield read, at, n
        read += n if op in CONSUMES_QUERY else 0
        at += n if op in CONSUMES_REFERENCE else 0


def covered_runs(c, keep, axis, mode, min_bq):
    """(number of the contig, first base, end) of every run of bases that a record covers."""
    records = counted(c, keep, axis.first_contig, axis.base.size, mode != SPAN, min_bq > 0)
    for i, k, operations, quals in records:
        pos = int(c.pos[i])
        if mode == SPAN:
            yield k, pos, pos + (int(c.ref_len[i]) or 1)
            continue
        for read, at, n in aligned(operations, pos, int(axis.length[k]), len(quals)):
            if not quals:
                yield k, at, at + n
                continue
            good = [quality >= min_bq for quality in quals[read : read + n]]
            for is_good, run in groupby(range(at, at + n), lambda p, at=at, good=good: good[p - at]):
                first, *more = run
                if is_good:
                    yield k, first, first + len(more) + 1


def add_changes(c, keep, axis, mode, min_bq, changes, max_late):
    needed = ["contig", "pos", "ref_len" if mode == SPAN else "cigar"]
    check_lengths(c, keep, *needed, *(["seq_len", "quals"] if min_bq else []))
    late = []
    for k, low, high in covered_runs(c, keep, axis, mode, min_bq):
        high = min(high, int(axis.length[k]))
        for at, step in ((low, 1), (high, -1)) if low < high else ():
            number = max(int(axis.base[k]) + at - changes.start, 0)
            if number < changes.dense.size:
                changes.dense[number] += step
            elif len(late) == max_late:
                raise KernelError(TOO_MANY)
            else:
                late.append(2 * (changes.start + number) + (step < 0))
    return np.array(late, np.int64)


def depth_runs(dense, before):
    depths = [before + sum(dense[: i + 1].tolist()) for i in range(dense.size)]
    starts = [i for i, depth in enumerate(depths) if i == 0 or depth != depths[i - 1]]
    return np.array(starts, np.int64), np.array([depths[i] for i in starts], np.int64)


def add_spans(depth, at, start, end, thresholds, sums):
    if not start.size == end.size == sums.sum.size or thresholds.size != sums.above.shape[1]:
        raise KernelError(BAD_COLUMN)
    for position, here in enumerate(depth.tolist(), at):
        for s in range(start.size):
            if start[s] <= position < end[s]:
                sums.sum[s] += np.uint64(here)
                sums.covered[s] += np.uint64(here > 0)
                sums.least[s], sums.most[s] = min(sums.least[s], here), max(sums.most[s], here)
                sums.above[s] += np.array([here >= least for least in thresholds.tolist()], np.uint64)


def add_quality(c, keep, first_contig, low, high, min_bq, sums):
    check_lengths(c, keep, "contig", "pos", "cigar", "seq_len", "quals")
    if not low.size == high.size == sums.shape[1]:
        raise KernelError(BAD_COLUMN)
    for i, k, operations, quals in counted(c, keep, first_contig, low.size, True, True):
        for read, at, n in aligned(operations, int(c.pos[i]), int(high[k]), len(quals)) if quals else ():
            inside = [quals[read + j] for j in range(n) if low[k] <= at + j < high[k]]
            good = [quality for quality in inside if quality >= min_bq]
            sums[:, k] += np.array([sum(good), len(good)], np.uint64)


def format_rows(prefix, columns, decimals):
    lines = []
    for row in zip(*(column.tolist() for column in columns), strict=True):
        texts = [prefix]
        for value, places in zip(row, decimals, strict=True):
            digits = str(abs(value)).rjust(places + 1, "0")
            point = f"{digits[:-places]}.{digits[-places:]}" if places else digits
            texts.append(("-" * (value < 0) + point).encode())
        lines.append(b"\t".join(texts) + b"\n")
    return b"".join(lines)


# ---- reads, base by base ----


class Read(NamedTuple):
    """A read: operations as (length, letter); no ``quals``: its SEQ is ``*``."""

    contig: int
    pos: int
    ops: tuple[tuple[int, str], ...] = ()
    quals: bytes = b""
    flag: int = 0
    mapq: int = 60

    @property
    def ref_len(self):
        return sum(n for n, op in self.ops if op in CONSUMES_REFERENCE)

    @property
    def end(self):
        """Where it ends; one that covers no reference base is one base long, as an unmapped one is."""
        return self.pos + max(0 if self.flag & UNMAPPED else self.ref_len, 1)

    @property
    def cigar(self):
        return b"".join((n << 4 | LETTERS.index(op)).to_bytes(4, "little") for n, op in self.ops)

    def bases(self, length_bp, mode="depth", min_bq=0):
        """Positions that it covers of a contig of this length."""
        if self.pos < 0:
            return []
        if mode == "span":
            return list(range(self.pos, min(self.pos + max(self.ref_len, 1), length_bp)))
        return [at for at, quality in self.aligned(length_bp) if not self.quals or quality >= min_bq]

    def qualities(self, low, high, min_bq):
        """Qualities of at least ``min_bq`` of its aligned bases in a span."""
        if self.pos < 0 or not self.quals:
            return []
        return [quality for at, quality in self.aligned(high) if at >= low and quality >= min_bq]

    def aligned(self, end_bp):
        """(position, quality) of its aligned bases in front of ``end_bp``."""
        at, read = self.pos, 0
        for n, op in self.ops:
            for j in range(min(n, end_bp - at) if op in COVERING else 0):
                yield at + j, self.quals[read + j] if self.quals else 0
            at += n if op in CONSUMES_REFERENCE else 0
            read += n if op in CONSUMES_QUERY else 0


def depth_of(reads, lengths, mode="depth", min_bq=0, first_contig=0):
    """Depth of every base of every contig."""
    depth = [np.zeros(length, np.uint32) for length in lengths]
    for read in reads:
        k = read.contig - first_contig
        for at in read.bases(lengths[k], mode, min_bq) if 0 <= k < len(lengths) else ():
            depth[k][at] += 1
    return depth


def passing(reads, filters):
    """The mapped reads that pass filters of flags and mapping quality."""
    require, exclude = filters.require_flags, filters.exclude_flags | UNMAPPED
    flagged = [read for read in reads if read.flag & require == require and not read.flag & exclude]
    return [read for read in flagged if read.mapq >= filters.min_mapq]


def columns_of(reads):
    """Columns of reads, without those that depth does not know."""
    c = Columns(len(reads))
    for name in "contig pos flag mapq ref_len".split():
        setattr(c, name, np.array([getattr(read, name) for read in reads], INT_COLUMNS[name]))
    c.mate_contig = np.full(c.n, -1, np.int32)
    c.seq_len = np.array([len(read.quals) for read in reads], np.uint32)
    c.cigar, c.quals = strings([read.cigar for read in reads]), u8(b"".join(read.quals for read in reads))
    return c


def record_of(read):
    """A read as BAM has it."""
    flags = {"flag": read.flag, "contig": read.contig, "pos": read.pos, "mapq": read.mapq}
    return record(b"r", cigar=read.cigar, seq=[1] * len(read.quals), quals=read.quals, **flags)


# ---- what tests ask of both ----


def i64(values):
    return np.array(values, np.int64)


def axis(lengths, first_contig=0, base=0):
    """Contigs one behind the other, the first at ``base``."""
    bases = accumulate(lengths[:-1], initial=base)
    return Axis(first_contig, np.array([*bases], np.uint64), np.array(lengths, np.uint64))


def changes_of(k, c, on, where, mode=ALIGNED, min_bq=0, keep=None, max_late=1_000):
    """(dense, late) changes that columns make; ``where`` is (start, size) of the dense ones."""
    changes = Changes(where[0], np.zeros(where[1], np.int32), i64([]))
    late = k.add_changes(c, keep, on, mode, min_bq, changes, max_late)
    return changes.dense, late


def depth_behind(dense, late, start, end):
    """Depth of positions ``start`` up to ``end`` of changes that begin there."""
    total = np.zeros(max(end - start, dense.size) + 1, np.int64)
    total[: dense.size] = dense
    for one in late.tolist():
        assert one >> 1 >= start + dense.size
        total[(one >> 1) - start] += -1 if one & 1 else 1
    return np.cumsum(total)[: max(end - start, 0)]


def reached(depths, bounds, thresholds):
    """Sum, covered bases, least, most, and bases at thresholds, of a span of known depths."""
    here = depths[max(bounds[0], 0) : max(bounds[1], 0)].tolist()
    above = [sum(d >= least for d in here) for least in thresholds]
    return sum(here), sum(d > 0 for d in here), min(here, default=0), max(here, default=0), above


def arrays(spans, at=0):
    """Starts and ends of spans, moved by ``at``."""
    return tuple(i64([span[j] + at for span in spans]) for j in range(2))


def rows_of(columns):
    """Arrays as rows, such as those of SpanSums: what ``reached`` gives."""
    return list(zip(*(column.tolist() for column in columns), strict=True))


def runs_of(depths, low, high):
    """(start, end, depth) of the runs of equal depth of known depths, which are 0 behind their end."""
    full = [*depths.tolist(), *[0] * max(high - depths.size, 0)]
    runs = [(depth, list(run)) for depth, run in groupby(range(low, high), full.__getitem__)]
    return [(run[0], run[-1] + 1, depth) for depth, run in runs]


class Stored(NamedTuple):
    """A store of many small chunks and the reads that it was made of."""

    reader: StoreReader
    reads: list[Read]
    lengths: list[int]
    workers: int

    def depth(self, rules):
        return depth_of(passing(self.reads, rules.filters), self.lengths, rules.mode, rules.min_bq)

    def spans(self, k):
        """Spans of a contig, most of them on bounds of reads."""
        ends = [edge for read in self.reads if read.contig == k for edge in (read.pos, read.end)]
        near = {edge + more for edge in ends for more in (-1, 0, 1)} | {0, self.lengths[k]}
        return bounds(self.lengths[k], sorted(edge for edge in near if 0 <= edge <= self.lengths[k]))


def stored(reads, lengths, span_bp=150, chunk_records=2, group_records=1):
    header = header_bytes([(f"c{k}", length) for k, length in enumerate(lengths)])
    file, store = io.BytesIO(bam(map(record_of, reads), header)), MemoryStore()
    with mock.patch.object(spec, "GROUP_RECORDS", group_records):
        convert(Source("x.bam", file, None, False), store, ConvertOptions(span_bp, chunk_records, workers=1))
    return StoreReader(store)


# ---- strategies ----

QUALITY = st.sampled_from([0, 1, 19, 20, 21, 40, 93, 254, 255])
FLAG = st.sampled_from([0, 99] * 6 + [16, 0x400, 0x100, 0x200, 0x800, UNMAPPED, UNMAPPED | 0x400])
MIN_BQ = st.sampled_from([0, 0, 1, 20, 93, 255])
SHORT = st.integers(0, 7)
U32 = st.integers(0, 5) | st.sampled_from([2**31 - 1, 2**31, 2**32 - 1])
I64 = st.integers(-(2**63), 2**63 - 1) | st.integers(-1000, 1000)
ANY_LENGTH = SHORT | st.sampled_from([40, 150, LONGEST])
STRIPED = Read(2, 3, ((7, "M"),), bytes([30, 10] * 3 + [30]))


@st.composite
def operations(draw, has_seq):
    """Operations of any kind; those that take no bases of a read, which has any, may be huge."""
    ops = draw(st.lists(st.sampled_from("MMMIDNSHP=X?"), max_size=5))
    return tuple((draw(SHORT if has_seq and op in CONSUMES_QUERY else ANY_LENGTH), op) for op in ops)


@st.composite
def any_read(draw, lengths, first_contig=0, beyond_bp=5):
    """A read on one of some contigs, from position -1 to ``beyond_bp`` behind the contig's end."""
    k, has_seq = draw(st.integers(0, len(lengths) - 1)), draw(st.integers(0, 3)) > 0
    ops = draw(operations(has_seq))
    size = sum(n for n, op in ops if op in CONSUMES_QUERY) if has_seq else 0
    quals = draw(st.lists(QUALITY, min_size=size, max_size=size))
    pos = draw(st.integers(-1, lengths[k] - 1 + beyond_bp))
    return Read(first_contig + k, pos, ops, bytes(quals), draw(FLAG), draw(st.sampled_from([0, 20, 60])))


@st.composite
def several_reads(draw, lengths, max_size=8, **options):
    """Reads in coordinate order."""
    one, n = any_read(lengths, **options), draw(st.integers(0, max_size))
    return sorted(draw(st.lists(one, min_size=n, max_size=n)), key=lambda read: read[:2])


@st.composite
def cut_chunks(draw, lengths, **options):
    """Chunks of row groups of reads, in file order."""
    chunks = []
    for read in draw(several_reads(lengths, **options)):
        how = draw(st.sampled_from(["same", "group", "chunk"]))
        if how == "chunk" or not chunks:
            chunks.append([[]])
        elif how == "group":
            chunks[-1].append([])
        chunks[-1][-1].append(read)
    return chunks


@st.composite
def any_rules(draw):
    """Rules with filters of flags and mapping quality."""
    mode = draw(st.sampled_from(["depth", "depth", "span"]))
    choices = [0, 0, 0, 0x41], [0x704, 0x704, UNMAPPED | 16, 0x400, 0], [0, 0, 20]
    required, excluded, min_mapq = (draw(st.sampled_from(choice)) for choice in choices)
    filters = Filters(required, excluded, min_mapq=min_mapq)
    return Rules(mode, filters, draw(MIN_BQ) if mode == "depth" else 0)


def bounds(top, edges=()):
    """Start and end of a span, which may be empty; most of them are one of ``edges``."""
    edge = st.sampled_from(edges) | st.integers(0, top) if edges else st.integers(0, top)
    return st.tuples(edge, edge).map(sorted).map(tuple)


@st.composite
def stores(draw):
    lengths = draw(st.lists(st.sampled_from([0, 1, 30, 99, 100, 130, 350]), min_size=1, max_size=4))
    reads = draw(several_reads(lengths, max_size=12)) + [Read(-1, -1, flag=UNMAPPED)] * draw(
        st.integers(0, 2)
    )
    sizes = draw(st.sampled_from([100, 400, 1000])), draw(st.integers(1, 8)), draw(st.integers(1, 4))
    return Stored(stored(reads, lengths, *sizes), reads, lengths, draw(st.integers(1, 3)))
