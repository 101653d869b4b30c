"""What questions cost: requests and bytes, counted by a store in memory, and what --explain says before."""

import random
from itertools import pairwise

import numpy as np
import pytest
import queries

from bams3 import price
from bams3.coverage import Rules
from bams3.depth import indexed_sums, region_depth
from bams3.filters import Filters
from bams3.format import spec
from bams3.query import OVERLAP, StoreReader, met
from bams3.regions import Region
from bams3.rowgroups import GAP_BYTES, ChunkReader
from bams3.selection import Selection
from bams3.spans import Spans
from bams3.store import MemoryStore

REAL = {"wgs": "NA12878_S1.chr20.10_10p1mb.bam", "hifi": "HG002-SRF.m84011_220902_175841_s1.GRCh38.bam"}
NO_FILTERS = Filters()


@pytest.fixture(scope="module", params=REAL)
def pair(shared_data, tmp_path_factory, request):
    """A real BAM, and its store cut into many chunks and row groups."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as monkeypatch:
        return queries.make_pair(shared_data / "aln" / REAL[request.param], folder, monkeypatch)


@pytest.fixture
def opened(pair):
    """The store in memory, opened, and nothing counted yet."""
    store = MemoryStore()
    for path in pair.store.rglob("*"):
        if path.is_file():
            store.put(path.relative_to(pair.store).as_posix(), path.read_bytes())
    store.forget()
    return StoreReader(store)


def asked(reader):
    """Requests for chunks, and for all else, since it was opened."""
    ranges = reader.store.ranges
    of_chunks = [r for r in ranges if r[0].startswith("data/")]
    return of_chunks, [r for r in ranges if not r[0].startswith("data/")]


def some_regions(pair, n):
    chance = random.Random(5)
    placed = [span for span in pair.spans if span[0] != "*"]
    for _ in range(n):
        contig, start, end = chance.choice(placed)
        yield Region(contig, start, max(end, start + chance.choice((1, 1_000, 30_000))))


def test_opening_a_store_reads_its_manifest_once(opened):
    assert opened.store.ranges == [(spec.MANIFEST_KEY, 0, len(opened.manifest_bytes))]


def test_totals_statistics_and_contig_counts_cost_one_range_of_the_index(opened):
    opened.stats()
    for name in opened.contigs.names[:50]:
        opened.count(name)
    chunks, index = asked(opened)
    assert not chunks
    assert [r[2] for r in index[1:]] == [opened.manifest.totals.size_bytes]


def test_windows_cost_one_range_of_the_index_a_contig(opened):
    contigs = [section.first_contig for section in opened.sections() if section.first_contig >= 0]
    for contig in contigs:
        list(indexed_sums(opened, [(contig, 0, opened.contigs.lengths[contig])]))
    chunks, index = asked(opened)
    assert not chunks
    assert len(index) == 1 + len(contigs)
    assert sum(r[2] for r in index[1:]) == sum(
        where.size_bytes for section in opened.sections() for where in section.depth.values()
    )


def test_the_count_of_a_region_reads_only_the_row_groups_on_its_bounds(pair, opened):
    for region in some_regions(pair, 20):
        opened.store.ranges.clear()
        opened.counts([region])
        chunks, index = asked(opened)
        assert len(index) <= 1
        assert len({key for key, _, _ in chunks}) == len(chunks) <= 2


def test_depth_of_a_region_costs_one_range_a_chunk(pair, opened):
    for region in some_regions(pair, 20):
        opened.store.ranges.clear()
        region_depth(opened, region, Rules())
        chunks, index = asked(opened)
        assert len(index) <= 1
        assert len({key for key, _, _ in chunks}) == len(chunks)
        for key, offset, size_bytes in chunks:
            stored = next(c for c in opened.chunks_of(opened.contigs.id_of(region.contig)) if c.key == key)
            located = [i for i, n in enumerate(stored.directory.blobs["column"]) if is_located(stored, n)]
            assert offset + size_bytes <= stored.offsets[max(located) + 1]


def is_located(stored, number):
    return stored.directory.columns[number] in spec.LOCATE


def test_records_of_a_region_cost_two_ranges_a_chunk(pair, opened):
    for region in some_regions(pair, 10):
        opened.store.ranges.clear()
        for _ in opened.records([region]):
            pass
        chunks, _ = asked(opened)
        keys = [key for key, _, _ in chunks]
        assert all(keys.count(key) <= 2 for key in keys)


COLUMNS = (["pos", "mapq"], ["name"], ["tag:RG"], ["seq"], ["qual", "pos"], ["cigar", "tlen", "tag:RG"])


@pytest.mark.parametrize("names", COLUMNS, ids=",".join)
def test_columns_cost_what_they_and_their_needs_take_and_short_gaps(pair, opened, names):
    needs = Selection(opened, names).needs
    every = {c.key: c for s in range(len(opened.sections())) for c in opened.chunks(s)}
    for region in [None, *some_regions(pair, 6)]:
        opened.store.ranges.clear()
        opened.columns(region, names)
        for key in {key for key, _, _ in asked(opened)[0]}:
            stored = every[key]
            ranges = [(offset, offset + n) for k, offset, n in opened.store.ranges if k == key]
            wanted = wanted_blobs(opened, stored, ranges, region, needs)
            needed = sum(int(stored.directory.blobs["bytes"][i]) for i in wanted)
            read = sum(end - start for start, end in ranges)
            gaps = gaps_between(stored, ranges, wanted)
            assert needed <= read <= 1.1 * needed + sum(gaps)
            assert all(gap <= GAP_BYTES for gap in gaps)


def wanted_blobs(reader, stored, ranges, region, needs):
    """Blobs that the question needs: located in all row groups that it meets, others where asked for."""
    groups = [number for number, _ in stored.groups]
    if region is not None:
        groups = met(stored, Spans.of(reader.contigs.id_of(region.contig), [region]))
        needs = needs | OVERLAP
    runs = ChunkReader(reader.store, stored).runs(groups, needs)
    return sorted(i for run in runs for i in run if any(a <= stored.offsets[i] < b for a, b in ranges))


def gaps_between(stored, ranges, wanted):
    """Bytes between two blobs that are needed and were read together."""
    ends = [(int(stored.offsets[a + 1]), int(stored.offsets[b])) for a, b in pairwise(wanted)]
    return [b - a for a, b in ends if any(low <= a and b <= high for low, high in ranges)]


# ---- explain ----


def total_of(reads):
    return sum(read.ranges for read in reads), sum(read.size_bytes for read in reads)


def what_was_read(reader):
    chunks, _ = asked(reader)
    return len(chunks), sum(size_bytes for _, _, size_bytes in chunks)


def test_what_is_explained_is_what_is_read(pair, opened):
    for region in some_regions(pair, 15):
        for filters in (NO_FILTERS, Filters(exclude_flags=4, min_mapq=20)):
            opened.store.ranges.clear()
            expected = price.of_counts(opened, [region], filters)
            assert not asked(opened)[0]
            opened.counts([region], filters)
            assert total_of(expected) == what_was_read(opened)
        opened.store.ranges.clear()
        expected = price.of_records(opened, [region], NO_FILTERS, None)
        for _ in opened.records([region]):
            pass
        ranges, size_bytes = what_was_read(opened)
        assert ranges <= total_of(expected)[0]
        assert size_bytes <= total_of(expected)[1]
    opened.store.ranges.clear()
    assert total_of(price.of_records(opened, None, NO_FILTERS, {"mapq", "quals"})) == (
        opened.columns(None, ["mapq", "qual"]) and what_was_read(opened)
    )


def test_the_command_names_every_object_and_reads_no_chunk(pair):
    contig, start, end = next(span for span in pair.spans if span[0] != "*")
    region = f"{contig}:{start + 1}-{end}"
    rows = [
        row.split("\t") for row in queries.run("query", str(pair.store), region, "--explain").splitlines()
    ]
    assert rows[0] == ["object", "ranges", "bytes"]
    assert rows[1][0] == spec.MANIFEST_KEY
    assert rows[-1] == ["total", *(str(sum(int(row[k]) for row in rows[1:-1])) for k in (1, 2))]
    kinds = (["--count"], ["--tsv"], ["--columns", "mapq"], [])
    totals = [queries.run("query", str(pair.store), region, "--explain", *k).splitlines()[-1] for k in kinds]
    assert len(set(totals)) >= 3
    assert np.all(np.diff([int(t.split("\t")[2]) for t in totals]) >= 0)
