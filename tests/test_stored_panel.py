"""Stored panels: what comes back of a block, what each question reads, and bytes that are wrong."""

import contextlib
import json
import random
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutate import damage
from panels import vcf_text
from stored_calls import keys_of, variants_of

from bams3.errors import CorruptDataError, InputError, StoreError
from bams3.format import panel_block, panel_manifest, spec
from bams3.format.directory import content_hash, crc32
from bams3.format.frames import PLAIN_ZSTD, pack_frames, unpack_frames
from bams3.format.manifest import Range, render
from bams3.format.panel_block import block_variants, build_block, parse_head, parse_planes, parse_sites
from bams3.panel.calls import Choice
from bams3.panel.importing import import_panel
from bams3.panel.stored import StoredPanel, open_panel
from bams3.panel.vcf_calls import VcfCalls
from bams3.store import LocalStore, MemoryStore
from bams3.variants import Planes, Sites, Texts, words_of

CONTIG_2 = "##contig=<ID=2,length=1000>\n"
SAMPLES = "s0 s1 s2".split()
ROWS = [
    "1 100 rs1 A G 0|0 0|1 1|0",
    "1 150 . C T 0/0 0/1 ./.",
    "1 150 . C T 0/0 0/1 ./.",
    "2 6 rs6 G A 0 1 0|1",
    "2 7 rs7 G <DEL> 0 1 .",
    "X 7 rs8 G A 0|0 1|1 0|0",
]

# ---- blocks ----


@st.composite
def blocks(draw):
    """(samples, sites, planes, names of contigs) of a block."""
    samples, n = draw(st.sampled_from([1, 2, 63, 64, 65, 200])), draw(st.integers(1, 9))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    flags = chance.random((4, n, samples)) < draw(st.sampled_from([0, 0.1, 0.9]))
    missing, haploid = flags[2], flags[3] & ~flags[2]
    first, second = flags[0] & ~missing, flags[1] & ~missing & ~haploid
    contig = np.sort(chance.integers(0, 3, n)).astype(np.int32)
    places = np.sort(chance.integers(-1, 2**31 - 1, n))
    names = [draw(st.text(st.characters(codec="utf-8"), max_size=5)) for _ in range(3)]
    texts = [
        Texts.of(draw(st.lists(st.text(st.characters(codec="utf-8"), max_size=6), min_size=n, max_size=n)))
        for _ in range(3)
    ]
    sites = Sites(
        contig,
        places,
        *texts,
        chance.random(n) < 0.5,
        first.sum(1) + second.sum(1),
        2 * (samples - missing.sum(1)) - haploid.sum(1),
        missing.sum(1),
    )
    planes = Planes(
        packed(first), packed(second), packed(missing) if missing.any() else None,
        packed(haploid) if haploid.any() else None,
    )  # fmt: skip
    return samples, sites, planes, names


def packed(flags):
    """(V, W) uint64, bit by bit."""
    rows = np.zeros((len(flags), words_of(flags.shape[1])), np.uint64)
    for v, k in np.argwhere(flags):
        rows[v, k // 64] |= np.uint64(1) << np.uint64(k % 64)
    return rows


def same_planes(a, b):
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in fields(Planes)]
    return all((x is None) == (y is None) and (x is None or np.array_equal(x, y)) for x, y in pairs)


def same_sites(a, b):
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in fields(Sites)]
    return all(list(x) == list(y) for x, y in pairs)


@given(blocks())
def test_a_block_comes_back(made):
    samples, sites, planes, names = made
    data, end = build_block(77, samples, sites, planes, names)
    head = parse_head(data)
    assert (head.samples, head.variants, head.first) == (samples, len(sites), 77)
    assert (head.sites_bytes + panel_block.HEAD_BYTES, head.planes_bytes) == (end, len(data) - end)
    found, runs = parse_sites(data[panel_block.HEAD_BYTES : end], len(sites), samples)
    assert [names[number] for number in sites.contig] == [runs[number][0] for number in found.contig]
    assert same_sites(replace(found, contig=sites.contig), sites)
    assert same_planes(parse_planes(data[end:], len(sites), samples), planes)


@given(blocks(), st.integers(0, 8), st.integers(1, 8))
def test_runs_of_variants_are_cut_and_joined(made, low, n):
    _, sites, planes, _ = made
    low = min(low, len(sites) - 1)
    cuts = [0, low, min(low + n, len(sites)), len(sites)]
    pairs = [pair for pair in pairwise(cuts) if pair[0] < pair[1]]
    assert same_sites(Sites.joined([sites.between(*pair) for pair in pairs]), sites)
    assert same_planes(Planes.joined([planes.between(*pair) for pair in pairs]), planes)
    numbers = np.array([v for pair in pairs for v in range(*pair)])[::-1]
    twice = sites.take(numbers).take(numbers)
    assert same_sites(twice, sites)
    assert same_planes(planes.take(numbers).take(numbers), planes)


@pytest.mark.parametrize(
    ("samples", "variants"), [(1, 65536), (64, 65536), (65, 65536), (2504, 4096), (10**6, 16)]
)
def test_a_block_has_four_megabytes_of_planes_at_most(samples, variants):
    assert block_variants(samples) == variants
    assert 16 * words_of(samples) * variants <= spec.BLOCK_PLANE_BYTES
    assert block_variants(10**9) == 1


def changed(data, number, stream):
    """The frames of a part of a block with one stream replaced, or left out."""
    streams = [bytes(one) for one in unpack_frames(data, 1 << 20)]
    streams[number : number + 1] = [] if stream is None else [stream]
    return pack_frames(streams, PLAIN_ZSTD)


@pytest.fixture
def parts():
    """Sites and planes of a block of two variants of three samples, as bytes."""
    texts = Texts.of(["a", "b"])
    counts = [np.array([1, 2]), np.array([5, 4]), np.array([0, 1])]
    sites = Sites(np.zeros(2, np.int32), np.array([5, 9]), texts, texts, texts, np.ones(2, bool), *counts)
    planes = Planes(
        *(np.array([[bits], [bits]], np.uint64) for bits in (1, 1)), np.array([[2], [0]], np.uint64), None
    )
    data, end = build_block(0, 3, sites, planes, ["1"])
    return data[panel_block.HEAD_BYTES : end], data[end:]


@pytest.mark.parametrize(
    ("number", "stream"),
    [
        (0, b"{}"),
        (0, b'{"contigs":[["1",1]]}'),
        (0, b'{"contigs":[["1",2.0]]}'),
        (0, b'{"contigs":[[1,2]]}'),
        (0, b'{"contigs":[["1",3],["2",-1]]}'),
        (0, b"[" * 3000),
        (0, None),
        (1, bytes(3)),  # start_bp: a value too many in one plane
        (1, b"\x0a\x09"),  # the second lies before the first
        (5, b"\x06\x02"),  # n_alt above n_alleles
        (9, b"\x07\x04"),  # n_alleles above two a sample
        (9, b"\x02\x04"),  # below one a sample
        (13, b"\x04\x00"),  # n_missing above the samples
        (17, b"\x01\x02"),  # phased neither 0 nor 1
        (17, b"\x01"),
        (18, b"\x01\x02"),  # lengths of ids
        (22, b"abc"),
        (32, None),
    ],
)
def test_sites_that_contradict_themselves_are_refused(parts, number, stream):
    parse_sites(parts[0], 2, 3)
    with pytest.raises(CorruptDataError):
        parse_sites(changed(parts[0], number, stream), 2, 3)


@pytest.mark.parametrize(
    ("number", "stream"),
    [
        (0, b"\x00"),
        (0, b"\x03"),
        (0, b"\x04"),
        (0, b""),
        (1, bytes(8)),
        (1, b"\x08" + bytes(15)),  # a bit beyond the last sample
        (1, b"\x02" + bytes(15)),  # a bit of a sample without a call
        (2, bytes([0] * 15 + [1])),
        (3, None),
    ],
)
def test_planes_that_contradict_themselves_are_refused(parts, number, stream):
    parse_planes(parts[1], 2, 3)
    with pytest.raises(CorruptDataError):
        parse_planes(changed(parts[1], number, stream), 2, 3)


@settings(max_examples=300)
@given(blocks(), st.integers(0, 2**32))
def test_damaged_parts_are_refused_or_read(made, seed):
    samples, sites, planes, names = made
    data, end = build_block(0, samples, sites, planes, names)
    chance = random.Random(seed)
    for part, parse in ((data[panel_block.HEAD_BYTES : end], parse_sites), (data[end:], parse_planes)):
        for _ in range(4):
            with contextlib.suppress(CorruptDataError):
                parse(damage(part, chance), len(sites), samples)


# ---- panels ----


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A panel of six variants in four blocks."""
    monkeypatch.setattr(spec, "BLOCK_VARIANTS", 2)
    (tmp_path / "a.vcf").write_text(vcf_text(SAMPLES, ROWS).replace("##INFO", CONTIG_2 + "##INFO", 1))
    import_panel(VcfCalls(tmp_path / "a.vcf", Choice()), LocalStore(tmp_path / "a.ldp"))
    return tmp_path / "a.ldp"


def in_memory(folder):
    store = MemoryStore()
    for key in keys_of(folder):
        store.put(key, (folder / key).read_bytes())
    return store


def test_a_panel_says_what_it_has_without_reading_blocks(folder):
    store = in_memory(folder)
    before = store.requests.gets
    panel = StoredPanel(store)
    assert store.requests.gets == before + 2
    assert panel.samples == ("s0", "s1", "s2")
    assert (panel.n_variants, panel.n_phased) == (6, 4)
    assert (panel.has_missing, panel.has_haploid) == (True, True)
    assert panel.block_starts.tolist() == [0, 2, 4]
    assert panel.contigs == [("1", 0, 3), ("2", 3, 2), ("X", 5, 1)]
    assert panel.identity == open_panel(str(folder)).identity
    assert panel.contig_of("2").first == 3


@pytest.mark.parametrize(
    ("first", "end", "n_blocks"), [(0, 1, 1), (1, 3, 2), (2, 4, 1), (0, 6, 3), (5, 6, 1)]
)
def test_a_run_of_variants_reads_its_blocks_only(folder, first, end, n_blocks):
    store = in_memory(folder)
    panel = StoredPanel(store)
    rows = json.loads(store.get(spec.MANIFEST_KEY))["blocks"]
    mine = [row for row in rows if row["first"] < end and row["first"] + row["variants"] > first]
    assert len(mine) == n_blocks
    for read, part in ((panel.sites, "sites"), (panel.planes, "planes")):
        gets, taken = store.requests.gets, store.requests.bytes_in
        read(first, end)
        assert store.requests.gets - gets == n_blocks
        assert store.requests.bytes_in - taken == sum(row[part][1] for row in mine)
    whole = variants_of(panel)
    assert [one for v in range(first, end) for one in [whole[v]]] == variants_of(panel, 1)[first:end]


@pytest.mark.parametrize(("first", "end"), [(-1, 2), (3, 3), (2, 7), (4, 3)])
def test_variants_that_are_not_there_are_a_bug_of_the_caller(folder, first, end):
    with pytest.raises(ValueError, match="of 6"):
        open_panel(str(folder)).planes(first, end)


def test_planes_that_a_run_does_not_need_are_none(folder):
    planes = open_panel(str(folder)).planes(0, 1)
    assert planes.missing is None
    assert planes.haploid is None
    assert open_panel(str(folder)).planes(0, 2).missing is not None


def test_an_unknown_contig_is_named(folder):
    with pytest.raises(InputError, match="chr1 is not in .*3 contigs") as caught:
        open_panel(str(folder)).contig_of("chr1")
    assert caught.value.kind == "unknown-contig"


def test_every_flipped_byte_is_found_or_changes_nothing(folder):
    store = in_memory(folder)
    want = variants_of(StoredPanel(store))
    for key in list(store.list()):
        data = store.get(key)
        for at in range(len(data)):
            store.put(key, data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
            with contextlib.suppress(CorruptDataError, *[InputError] * (key == spec.MANIFEST_KEY)):
                assert variants_of(StoredPanel(store)) == want, (key, at)
        store.put(key, data)


def test_damage_is_named_with_object_and_bytes(folder):
    [key, *_] = (key for key in keys_of(folder) if key.startswith("blocks/"))
    data = (folder / key).read_bytes()
    (folder / key).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CorruptDataError, match=rf"{key}: bytes [0-9]+-{len(data)} do not match") as caught:
        open_panel(str(folder)).planes(0, 2)
    assert caught.value.kind == "bad-checksum"
    (folder / key).write_bytes(data[:-1])
    with pytest.raises(CorruptDataError, match="do not match"):
        open_panel(str(folder)).planes(0, 2)
    (folder / key).unlink()
    with pytest.raises(CorruptDataError, match="is not there"):
        open_panel(str(folder)).planes(0, 2)


def test_a_panel_that_is_replaced_while_it_is_read_says_so(folder):
    store = in_memory(folder)
    panel = StoredPanel(store)
    store.delete(*[key for key in store.list() if key.startswith("blocks/")])
    store.put(spec.MANIFEST_KEY, b"{}")
    with pytest.raises(StoreError, match="was replaced"):
        panel.sites(0, 1)


def resealed(folder, change):
    """A panel in memory whose manifest is changed, its checksum right."""
    store = in_memory(folder)
    value = json.loads(store.get(spec.MANIFEST_KEY))
    del value["crc32"]
    change(value)
    store.put(spec.MANIFEST_KEY, render(value))
    return store


def set_in(*path):
    """A change of one value of the manifest: keys, then the value."""
    *keys, last, new = path

    def change(value):
        for key in keys:
            value = value[key]
        value[last] = new

    return change


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (set_in("format", "bams3"), "not-a-panel"),
        (set_in("version", "0.2"), "newer-format"),
        (set_in("version", "0.0"), "older-format"),
        (set_in("version", None), "bad-manifest"),
        (set_in("samples", 4), "bad-manifest"),
        (set_in("samples", 0), "bad-manifest"),
        (set_in("samples", -1), "bad-manifest"),
        (set_in("variants", 7), "bad-manifest"),
        (set_in("contigs", 0, 1, 4), "bad-manifest"),
        (set_in("contigs", 1, 0, "1"), "bad-manifest"),
        (set_in("contigs", None), "bad-manifest"),
        (set_in("names", "key", "../secret"), "bad-manifest"),
        (set_in("names", "range", 1, 1 << 52), "bad-manifest"),
        (set_in("blocks", 0, "variants", 0), "bad-manifest"),
        (set_in("blocks", 0, "variants", 1 << 40), "bad-manifest"),
        (set_in("blocks", 1, "first", 3), "bad-manifest"),
        (set_in("blocks", 1, "key", "../../etc/passwd"), "bad-manifest"),
        (set_in("blocks", 1, "start_bp", 1.5), "bad-manifest"),
        (set_in("blocks", 1, "missing", 1), "bad-manifest"),
        (set_in("blocks", 1, "phased", 3), "bad-manifest"),
        (set_in("blocks", 1, "planes", [0, 1, 2]), "bad-manifest"),
        (set_in("blocks", 1, "sites", [0, 1 << 40, 2]), "bad-manifest"),
        (set_in("blocks", []), "bad-manifest"),
        # what agrees in itself, but not with the blocks
        (set_in("contigs", 0, 0, "other"), "bad-block"),
        (set_in("contigs", [["1", 2], ["2", 3], ["X", 1]]), "bad-block"),
        (set_in("contigs", [["1", 5], ["X", 1]]), "bad-block"),
        (set_in("blocks", 0, "phased", 2), "bad-block"),
        (set_in("blocks", 0, "start_bp", 98), "bad-block"),
        (set_in("blocks", 2, "haploid", False), "bad-block"),
    ],
)
def test_a_manifest_that_lies_is_refused(folder, change, kind):
    with pytest.raises((CorruptDataError, InputError)) as caught:
        variants_of(StoredPanel(resealed(folder, change)))
    assert caught.value.kind == kind


def test_a_block_of_another_panel_is_refused(folder):
    """Ranges and checksums are right, but not the head."""

    def swap(value):
        rows = value["blocks"]
        for name in ("key", "sites", "planes", "phased", "start_bp", "last_bp", "missing", "haploid"):
            rows[0][name], rows[1][name] = rows[1][name], rows[0][name]

    with pytest.raises(
        CorruptDataError, match=r"blocks/.*: bytes 0-[0-9]+: the head is not that of the block"
    ):
        StoredPanel(resealed(folder, swap)).sites(0, 1)


@pytest.mark.parametrize("data", [b"", b"BAMS3\0L", b"BAMS3\0C\n" + bytes(60), bytes(60)])
def test_what_is_no_block_is_refused(data):
    with pytest.raises(CorruptDataError, match="not a block"):
        parse_head(data)


@pytest.mark.parametrize(("at", "kind"), [(8, "newer-format"), (10, "newer-format"), (20, "bad-block")])
def test_a_head_that_lies_is_refused(folder, at, kind):
    [key, *_] = (key for key in keys_of(folder) if key.startswith("blocks/"))
    data = bytearray((folder / key).read_bytes())
    data[at] += 1
    with pytest.raises(CorruptDataError) as caught:
        parse_head(bytes(data))
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "key",
    ["_metadata.json", "blocks/0000000000-01234567.block", "_samples-01234567.txt", "blocks/.x.1.2.partial"],
)
def test_keys_of_a_panel_are_known(key):
    assert panel_manifest.is_panel_key(key)


@pytest.mark.parametrize(
    "key", ["thesis.txt", "blocks/0-01234567.block", "data/chr1/0000000000.0-01234567.chunk"]
)
def test_keys_of_others_are_left_alone(key):
    assert not panel_manifest.is_panel_key(key)


def test_what_is_no_panel_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    for name in ("nothing", "file", "."):
        with pytest.raises(InputError, match="is not a panel") as caught:
            open_panel(str(tmp_path / name))
        assert caught.value.kind == "not-a-panel"


def test_names_of_samples_must_be_as_many_as_samples(folder):
    for names in (b"s0\ns1\n", b"s0\ns1\ns1\n", b"s0\ns1\ns2", b""):
        key = panel_manifest.samples_key(content_hash(names))

        def change(value, key=key, names=names):
            value["names"] = {"key": key, "range": list(vars_of(Range(0, len(names), crc32(names))))}

        store = resealed(folder, change)
        store.put(key, names)
        with pytest.raises(CorruptDataError, match="not a name for each sample"):
            StoredPanel(store)


def vars_of(where):
    return where.offset, where.size_bytes, where.crc32
