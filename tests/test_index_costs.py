"""The costs in the index: a few numbers of every chunk, that a planner reads instead of directories."""

import io

import numpy as np
import pytest
from bam_records import bam, record, tag

from bams3.errors import CorruptDataError
from bams3.format import index, manifest, spec
from bams3.format.directory import crc32
from bams3.format.frames import PLAIN_ZSTD, pack_frames
from bams3.ingest import ConvertOptions, Source, convert
from bams3.planned import GRCH38, even_depth, even_pieces, planned_store
from bams3.query import StoreReader
from bams3.store import MemoryStore
from bams3.verify import content_hash, verify

UNPLACED = [record(contig=-1, pos=-1, flag=4)] * 3
PLACED = [record(b"r%d" % i, pos=i * 2000, tags=[tag("NM", "C", i % 5)]) for i in range(400)]
PLACED += [record(contig=1, pos=i) for i in range(20)]


def made(records, **options):
    """A store in memory of these records, in spans of 256 kb."""
    store = MemoryStore()
    source = Source("x.bam", io.BytesIO(bam(records)), None, False)
    convert(source, store, ConvertOptions(span_bp=256_000, **options))
    return store


@pytest.fixture(scope="module")
def stored():
    """Four spans of a contig, the chunks of which hold 100 records, another contig, and unplaced reads."""
    return made(PLACED + UNPLACED, chunk_records=100)


def of_directories(reader):
    """The costs, from CHUNK rows and directories."""
    for _, chunk in reader.all_chunks():
        d, row = chunk.directory, chunk.row
        own = [int(row[name]) for name in ("contig", "start", "records", "bytes")]
        located = [d.columns[blob["column"]] in spec.LOCATE for blob in d.blobs]
        assert located == sorted(located, reverse=True)
        if own[0] >= 0:
            yield (*own, int(d.blobs["bytes"][located].sum()), d.groups.size)


def test_costs_are_those_of_every_chunk_of_placed_records(stored):
    reader = StoreReader(stored)
    assert reader.costs.dtype == index.COST
    assert reader.costs.tolist() == list(of_directories(reader))
    assert reader.costs["contig"].tolist() == [0] * 7 + [1]
    assert reader.costs["start"].tolist() == [0, 0, 256_000, 256_000, 512_000, 512_000, 768_000, 0]
    assert int(reader.costs["records"].sum()) == len(PLACED)


def test_costs_are_one_range_of_the_index_behind_the_totals(stored):
    reader = StoreReader(stored)
    stored.forget()
    assert reader.costs.size == 8
    totals, costs = reader.manifest.totals, reader.manifest.costs
    assert stored.ranges == [(reader.manifest.index_key, costs.offset, costs.size_bytes)]
    assert totals.offset + totals.size_bytes == costs.offset
    assert reader.sections()[0].chunks.offset == costs.offset + costs.size_bytes


@pytest.mark.parametrize("records", [[], UNPLACED], ids=["nothing", "unplaced reads"])
def test_a_store_without_placed_reads_has_costs_of_no_chunk(records):
    reader = StoreReader(made(records))
    assert reader.manifest.costs.size_bytes > 0
    assert (reader.costs.size, reader.costs.dtype) == (0, index.COST)
    assert verify(reader, 1).problems == []


def test_a_planned_genome_has_costs_of_its_chunks_in_a_small_range():
    pieces = even_pieces(GRCH38, 620_000_000, 150)
    reader = StoreReader(planned_store(pieces, GRCH38, 1_000_000, even_depth(GRCH38), 4000))
    assert reader.costs.tolist() == list(of_directories(reader))
    assert 3000 < reader.costs.size < 3200
    assert reader.manifest.costs.size_bytes < 12 * reader.costs.size


# ---- costs that lie ----


def forged(store, data):
    """A copy of a store with other bytes for costs, and all checksums and names made right."""
    copy = MemoryStore()
    copy.objects |= store.objects
    value = {k: v for k, v in manifest.parse(store.get(spec.MANIFEST_KEY)).text.items() if k != "crc32"}
    before = copy.objects.pop(value["index"]["key"])
    whole = before + data
    value["index"] |= {
        "key": f"_index-{content_hash(whole):08x}.bin",
        "bytes": len(whole),
        "costs": [len(before), len(data), crc32(data)],
    }
    copy.put(value["index"]["key"], whole)
    copy.put(spec.MANIFEST_KEY, manifest.render(value))
    return copy


def rows_of(store):
    return StoreReader(store).costs.copy()


def test_the_true_costs_elsewhere_in_the_index_are_as_good(stored):
    assert verify(StoreReader(forged(stored, index.pack_costs(rows_of(stored)))), 1).problems == []


@pytest.mark.parametrize("name", spec.COSTS)
def test_a_forged_cost_under_right_checksums_is_found(stored, name):
    rows = rows_of(stored)
    rows[name][-1] += -1 if name in ("contig", "locate_bytes", "groups") else 1
    if name == "contig":
        rows["start"][-1] = rows["start"][-2]  # in order, or reading them would tell
    reader = StoreReader(forged(stored, index.pack_costs(rows)))
    assert verify(reader, 1).problems == [f"{reader.manifest.index_key}: costs are not those of the chunks"]


@pytest.mark.parametrize("change", ["a chunk less", "a chunk twice", "none"])
def test_costs_of_other_chunks_under_right_checksums_are_found(stored, change):
    rows = rows_of(stored)
    wrong = {"a chunk less": rows[1:], "a chunk twice": np.repeat(rows, 2), "none": rows[:0]}[change]
    assert len(verify(StoreReader(forged(stored, index.pack_costs(wrong))), 1).problems) == 1


def changed(name, row, value):
    def change(rows):
        rows[name][row] = value
        return rows

    return change


LIES = {
    "a negative start": changed("start", 0, -1),
    "a size of 2^53": changed("bytes", 0, 1 << 53),
    "located bytes beyond the chunk": changed("locate_bytes", 0, 1 << 40),
    "more row groups than records": changed("groups", 0, 101),
    "contigs out of order": changed("contig", 0, 1),
    "starts out of order": changed("start", 0, 512_001),
    "a contig that is not there": changed("contig", -1, 2),
}


@pytest.mark.parametrize("lie", LIES)
def test_costs_that_cannot_be_are_refused(stored, lie):
    reader = StoreReader(forged(stored, index.pack_costs(LIES[lie](rows_of(stored)))))
    with pytest.raises(CorruptDataError) as caught:
        _ = reader.costs
    assert caught.value.kind == "bad-index"


@pytest.mark.parametrize(
    "planes", [[b"x" * 7] * 8, [b"x" * 6] * 7, [b"x" * 6] * 7 + [b"x" * 12], []], ids=str
)
def test_costs_that_are_no_table_are_refused(planes):
    data = pack_frames([np.frombuffer(plane, np.uint8) for plane in planes], PLAIN_ZSTD)
    with pytest.raises(CorruptDataError) as caught:
        index.parse_costs(data)
    assert caught.value.kind == "bad-index"
