"""Where records begin, found in the bytes or by the index, and where a file is cut for slices."""

import io
import itertools
import random
import struct

import numpy as np
import pytest
import sliced_bams
from bam_records import bam, bgzf, record, tag
from sliced_bams import OPTIONS, WIDE, bam_of, kinds, record_starts, source_of

from bams3 import cuts as cuts_module
from bams3 import starts as starts_module
from bams3.bai import index_keys, load_record_starts, record_starts_in
from bams3.bam import inflate
from bams3.cuts import Cuts
from bams3.cutting import Layout
from bams3.ingest import read_beginning
from bams3.slices import Slice
from bams3.starts import Inflated, find_block, find_record
from bams3.store import MemoryStore

KINDS = kinds()
each_kind = pytest.mark.parametrize("name", KINDS)


def cuts_of(data, n, known=()):
    beginning = read_beginning(source_of(data), print)
    layout = Layout.of(beginning.header, OPTIONS.span_bp)
    return Cuts(io.BytesIO(data), "x.bam", beginning.header, layout, beginning.virtual_offset, n, known)


# ---- in the bytes ----


@each_kind
def test_a_block_is_found_from_any_byte(name):
    data = KINDS[name]
    blocks, at = [], 0
    while at < len(data):
        blocks.append(at)
        at += struct.unpack_from("<H", data, at + 16)[0] + 1
    file = io.BytesIO(data)
    for offset in range(0, len(data), 97):
        assert find_block(file, "x.bam", offset) == next((one for one in blocks if one >= offset), None)


@each_kind
def test_the_record_that_is_found_is_the_next_one(name):
    data, file = KINDS[name], io.BytesIO(KINDS[name])
    n_contigs = struct.unpack_from("<i", data, 0)[0] and len(
        read_beginning(source_of(data), print).header.contigs
    )
    starts = record_starts(data)
    for offset in range(0, len(data), max(1, len(data) // 150)):
        block = find_block(file, "x.bam", offset)
        if block is None:
            continue
        stream = Inflated(file, "x.bam", block)
        place = find_record(stream, n_contigs)
        found = None if place is None else stream.virtual_offset(place)
        assert found == next((one for one in starts if one >= block << 16), None)


def test_bytes_of_real_reads_are_told_from_records(shared_data):
    for name in ("ont.bam", "NA12878.bam", "HG002-SRF.m84011_220902_175841_s1.GRCh38.bam"):
        data = (shared_data / "aln" / name).read_bytes()
        header = read_beginning(source_of(data), print).header
        starts, file = np.array(record_starts(data)), io.BytesIO(data)
        for offset in random.Random(name).sample(range(len(data)), 25):
            block = find_block(file, name, offset)
            if block is not None:
                stream = Inflated(file, name, block)
                place = find_record(stream, len(header.contigs))
                after = starts[starts >= block << 16]
                found = None if place is None else stream.virtual_offset(place)
                assert found == (int(after[0]) if after.size else None)


def test_a_block_inside_a_block_is_not_taken_for_one():
    inner = bgzf(b"x" * 500, level=0)
    data = bam([record(pos=1, tags=[tag("ZX", "BC", inner)]), record(pos=2)])
    stored = bgzf(b"a" * 100 + inner + b"b" * 100, level=0) + data
    assert find_block(io.BytesIO(stored), "x", 30) == len(stored) - len(data)


def test_no_record_is_found_in_other_bytes():
    chance = random.Random(8)
    for data in (bytes(300_000), chance.randbytes(300_000), bytes(range(256)) * 1_000, b"\1\0\0\0" * 70_000):
        stream = Inflated(io.BytesIO(bgzf(data, level=1)), "x", 0)
        assert find_record(stream, 3_000) is None


# ---- by the index ----


@pytest.mark.parametrize("options", [[], ["-c"], ["-c", "-m", "10"]], ids=["bai", "csi", "csi-10"])
@pytest.mark.parametrize("name", ["tiny-contigs", "one-contig", "tail", "amplicon", "no-reads"])
def test_an_index_names_records(tmp_path, name, options):
    data = KINDS[name]
    known = sliced_bams.index_of(tmp_path, data, *options)
    assert known == sorted(set(known))
    assert bool(known) == (name != "no-reads")
    starts = {*record_starts(data), len(data) << 16}
    canonical = cuts_of(data, 2, known)
    for offset in known:
        stream = Inflated(io.BytesIO(data), "x", offset >> 16)
        assert stream.reach((offset & 0xFFFF) + 1)
        assert stream.virtual_offset(offset & 0xFFFF) in starts
    assert canonical.cuts_of(Slice(1, 2))[1] in starts


def test_an_index_that_is_damaged_is_none(tmp_path):
    sliced_bams.index_of(tmp_path, KINDS["tiny-contigs"])
    whole = (tmp_path / "index").read_bytes()
    chance = random.Random(2)
    for end in chance.sample(range(len(whole) - 8), 40):
        assert record_starts_in(whole[:end]) == []
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        assert isinstance(record_starts_in(bytes(damaged)), list)
    for other in (b"", b"BAI\1", b"CSI\1", b"\x1f\x8b", b"what is this", b"BAI\1" + b"\xff" * 40):
        assert record_starts_in(other) == []


def test_an_index_is_looked_for_under_its_names(tmp_path):
    assert index_keys("a.bam") == ("a.bam.bai", "a.bai", "a.bam.csi", "a.csi")
    sliced_bams.index_of(tmp_path, KINDS["one-contig"], "-c")
    store = MemoryStore()
    assert load_record_starts(store, "a.bam") == []
    store.put("a.csi", (tmp_path / "index").read_bytes())
    assert load_record_starts(store, "a.bam") == record_starts_in((tmp_path / "index").read_bytes()) != []


# ---- cuts ----


@each_kind
@pytest.mark.parametrize("n", [1, 7, 50])
def test_ranges_of_slices_continue_each_other_and_begin_with_spans(name, n):
    data = KINDS[name]
    at = read_beginning(source_of(data), print).virtual_offset
    ranges = [cuts_of(data, n).range_of(Slice(i, n)) for i in range(1, n + 1)]
    cuts = [cuts_of(data, n).cuts_of(Slice(i, n)) for i in range(1, n + 1)]
    assert cuts[0][0] == at
    assert all(one[1] == following[0] for one, following in itertools.pairwise(cuts))
    starts = {at, len(data) << 16, *record_starts(data)}
    for one in filter(None, ranges):
        assert one[0] == at
        at = one[1]
        assert at in starts
    assert at == len(data) << 16 == cuts[-1][1]


def test_slices_are_about_as_large_as_each_other():
    reads = (record(b"r%d" % i, pos=i * 9) for i in range(10_000))
    data = bam_of(reads, block_bytes=2_000)
    sizes = []
    for i in range(1, 5):
        start, end = cuts_of(data, 4).range_of(Slice(i, 4))
        sizes.append((end >> 16) - (start >> 16))
    assert max(sizes) < 1.5 * min(sizes)


def test_a_span_over_many_slices_costs_no_slice_more_than_its_share(monkeypatch):
    reads = [record(b"a%d" % i, pos=9_000, seq="A" * 150, cigar="150M") for i in range(20_000)]
    reads.append(record(b"z", pos=80_000))
    data, read = bam_of(reads, block_bytes=30_000, level=0), []
    monkeypatch.setattr(
        starts_module, "inflate", lambda batch: read.append(len(batch.blocks)) or inflate(batch)
    )
    for i in range(1, 21):
        read.clear()
        cuts_of(data, 20).range_of(Slice(i, 20))
        assert sum(read) < len(data) // 20 + 12 * 350_000  # a few reads for each cut that it looks at
        if 2 < i < 19:
            assert cuts_of(data, 20).range_of(Slice(i, 20)) is None


def test_a_stale_index_is_not_believed(tmp_path):
    data = bam_of(random_reads_of(1), block_bytes=700)
    stale = sliced_bams.index_of(tmp_path, bam_of(random_reads_of(2), block_bytes=900))
    cuts, starts = cuts_of(data, 5, stale), record_starts(data)
    for i in range(1, 5):
        assert cuts.cuts_of(Slice(i, 5))[1] in starts


def random_reads_of(seed):
    return sliced_bams.random_reads(random.Random(seed), 900, WIDE)


@each_kind
def test_the_end_of_a_span_does_not_depend_on_how_it_is_looked_for(name, monkeypatch):
    data = KINDS[name]
    ranges = [cuts_of(data, 7).range_of(Slice(i, 7)) for i in range(1, 8)]
    monkeypatch.setattr(cuts_module, "_NEAR_BYTES", 1_000)
    assert ranges == [cuts_of(data, 7).range_of(Slice(i, 7)) for i in range(1, 8)]
