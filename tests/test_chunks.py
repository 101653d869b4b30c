"""``bams3 chunks`` and ``bams3 cat``: a store's chunks named, and each of them read without the others."""

import dataclasses
import io
import itertools
import json
import random
import re
import shutil
import struct
import subprocess
import sys
import tracemalloc
from collections import Counter

import numpy as np
import pysam
import pytest
import queries
from bam_records import bam, header_bytes, record
from commands import convert, run
from hypothesis import given
from hypothesis import strategies as st
from record_strategies import few
from record_strategies import records as drawn_records
from test_kernels import columns_of, in_order

from bams3.chunkfile import MadeHeader, chunks_of, read_chunk_file
from bams3.errors import CorruptDataError, InputError
from bams3.format import chunk
from bams3.format.frames import Compression
from bams3.format.rowgroup import encode_group
from bams3.query import StoreReader
from bams3.store import LocalStore, MemoryStore

SMALL_CUTS = ("--chunk-size", "256K", "--chunk-records", "1000")
BAMS3 = f"{sys.executable} -m bams3"
#: A BAM, and how its store is cut.
REAL = {
    "wgs": ("NA12878_S1.chr20.10_10p1mb.bam", ("--chunk-records", "4000")),
    "many_contigs": ("NA12878.chr22.s.bam", SMALL_CUTS),
    "spliced": ("test.rna.paired_end.sorted.chr6.bam", ()),
    "unplaced": ("possorted_genome_bam.bam", SMALL_CUTS),
    "ultralong": ("ont.bam", SMALL_CUTS),
    "hifi": ("HG002-SRF.m84011_220902_175841_s1.GRCh38.bam", SMALL_CUTS),
    "tiny_contigs": ("longcontignames.bam", ("--chunk-size", "8M")),
}
#: These take the longest.
LATER = ("many_contigs", "spliced")


@dataclasses.dataclass
class Stored:
    """A store, and what ``bams3 chunks`` and ``samtools view`` say of it."""

    pair: queries.Pair
    rows: list[dict]
    lines: list[str]

    @property
    def paths(self):
        return [self.pair.store / row["key"] for row in self.rows]

    @property
    def parts(self):
        """The lines of each chunk."""
        ends = list(itertools.accumulate(row["records"] for row in self.rows))
        return [self.lines[end - row["records"] : end] for end, row in zip(ends, self.rows, strict=True)]


@pytest.fixture(
    scope="module", params=[pytest.param(n, marks=pytest.mark.slow) if n in LATER else n for n in REAL]
)
def stored(shared_data, tmp_path_factory, request):
    return stored_of(shared_data, tmp_path_factory.mktemp(request.param), *REAL[request.param])


@pytest.fixture(scope="module")
def wgs(shared_data, tmp_path_factory):
    return stored_of(shared_data, tmp_path_factory.mktemp("one"), *REAL["wgs"])


def stored_of(shared_data, folder, source, cuts):
    with pytest.MonkeyPatch.context() as monkeypatch:
        pair = queries.make_pair(shared_data / "aln" / source, folder, monkeypatch, "--threads", "1", *cuts)
    return Stored(pair, rows_of(pair.store), pair.samtools_text(str(pair.bam)).decode().splitlines())


def rows_of(store, *options):
    return json.loads(queries.run("chunks", str(store), "--json", *options))


def in_bash(program, **options):
    return subprocess.run(["bash", "-c", program], capture_output=True, text=True, **options)


def segments(path):
    """Header text, and the lines of a BAM."""
    with pysam.AlignmentFile(str(path), check_sq=False) as file:
        return str(file.text), [segment.to_string() for segment in file]


# ---- the chunks of a store ----


def test_the_rows_are_the_chunks_that_the_store_has(stored):
    store, rows = stored.pair.store, stored.rows
    verified = json.loads(queries.run("verify", str(store), "--json"))
    manifest = json.loads((store / "_metadata.json").read_text())
    assert len(rows) == verified["chunks"] == manifest["chunks"]
    assert sum(row["records"] for row in rows) == verified["records"] == manifest["records"]
    assert sum(row["bytes"] for row in rows) == manifest["chunk_bytes"]
    assert {path: path.stat().st_size for path in store.rglob("*.chunk")} == {
        path: row["bytes"] for path, row in zip(stored.paths, rows, strict=True)
    }


def test_the_table_says_what_the_list_says(stored):
    head, *lines = queries.run("chunks", str(stored.pair.store)).splitlines()
    assert head == "key\tregion\trecords\tbytes"
    assert [line.split("\t") for line in lines] == [list(map(str, row.values())) for row in stored.rows]


def region_of(spans):
    """The region of a chunk whose records have these spans, as the help says it."""
    first = spans[0][0]
    if first == "*":
        return "*"
    mine = [span for span in spans if span[0] == first]
    name = f"{{{first}}}" if ":" in first else first
    more = len({span[0] for span in spans}) - 1
    text = f"{name}:{min(s for _, s, _ in mine) + 1}-{max(e for _, _, e in mine)}"
    return f"{text},+{more}" if more else text


def spans_by_chunk(stored):
    spans = iter(stored.pair.spans)
    return [list(itertools.islice(spans, row["records"])) for row in stored.rows]


def test_a_region_is_what_the_records_of_its_chunk_cover(stored):
    assert [row["region"] for row in stored.rows] == list(map(region_of, spans_by_chunk(stored)))


def test_a_store_of_tiny_contigs_has_chunks_of_several(shared_data, tmp_path):
    shared = stored_of(shared_data, tmp_path, *REAL["tiny_contigs"])
    assert any(",+" in row["region"] for row in shared.rows)


@pytest.mark.parametrize("seed", range(3))
def test_regions_choose_every_chunk_that_holds_one_of_their_records(stored, seed):
    reader = StoreReader(LocalStore(stored.pair.store))
    for text in queries.regions(stored.pair, random.Random(seed), 6):
        asked = reader.region(text)
        chosen = rows_of(stored.pair.store, "--region", text)
        assert [row for row in stored.rows if row in chosen] == chosen
        for row, spans in zip(stored.rows, spans_by_chunk(stored), strict=True):
            mine = [(start, end) for name, start, end in spans if name == asked.contig]
            holds = any(start < asked.end_bp and end > asked.start_bp for start, end in mine)
            assert row in chosen or not (holds or (mine and text == "*"))
            assert row not in chosen or mine


def test_several_regions_name_a_chunk_once_in_file_order(wgs):
    twice = rows_of(wgs.pair.store, "--region", "chr20:10,050,000-", "--region", "chr20")
    assert twice == [row for row in wgs.rows if row["region"].startswith("chr20:")]
    assert rows_of(wgs.pair.store, "--region", "chr21") == []
    assert queries.run("chunks", str(wgs.pair.store), "--region", "chr21") == "key\tregion\trecords\tbytes\n"


def test_the_index_is_all_that_chunks_reads(wgs):
    store = MemoryStore()
    for path in wgs.pair.store.rglob("*"):
        if path.is_file() and path.suffix != ".chunk":
            store.put(path.relative_to(wgs.pair.store).as_posix(), path.read_bytes())
    reader = StoreReader(store)
    assert [one.key for one in chunks_of(reader)] == [row["key"] for row in wgs.rows]
    assert len(store.ranges) == 1 + len(reader.sections())  # the manifest, and a range for each
    store.ranges.clear()
    reader = StoreReader(store)
    assert list(chunks_of(reader, [reader.region("chr20:10,050,000-10,050,001")]))
    assert len(store.ranges) == 2


def test_a_region_can_be_asked_for_however_odd_its_records_are(tmp_path):
    several = [
        record(b"before", contig=0, pos=-1, flag=4, cigar="*"),
        record(b"plain", contig=1, pos=4),
        record(b"colon", contig=2, pos=9),
        record(b"last", contig=2, pos=2**31 - 2, flag=4, cigar="*"),
    ]
    contigs = (("a", 1_000_000), ("b", 1_000_000), ("HLA:1", 2_000_000))
    source, store = tmp_path / "odd.bam", tmp_path / "odd.bams3"
    source.write_bytes(bam(several, header_bytes(contigs)))
    assert convert(source, store).kind == ""
    rows = rows_of(store)
    assert [row["region"] for row in rows] == ["a:1-1", "b:5-8", "{HLA:1}:10-13", "{HLA:1}:2147483647-"]
    assert [int(queries.run("query", str(store), row["region"], "-c")) for row in rows] == [0, 1, 1, 1]
    assert rows_of(store, "--region", "{HLA:1}:1-10", "--region", "b") == rows[1:3]


# ---- what cat gives ----


def test_each_chunk_gives_its_records_in_order(stored, tmp_path):
    for path, expected in zip(stored.paths, stored.parts, strict=True):
        shutil.copy(path, tmp_path / "alone.chunk")
        assert queries.run("cat", "-u", "-o", str(tmp_path / "x.bam"), str(tmp_path / "alone.chunk")) == ""
        header, lines = segments(tmp_path / "x.bam")
        assert lines == expected
        assert header.startswith("@HD\tVN:1.6\tSO:coordinate\n")


def test_chunks_in_any_order_hold_what_the_store_holds(stored, tmp_path):
    order = list(range(len(stored.rows)))
    random.Random(4).shuffle(order)
    mixed = [str(stored.paths[i]) for i in order]
    text = queries.bams3("cat", *mixed).decode().splitlines()
    assert text == [line for i in order for line in stored.parts[i]]
    assert queries.run("cat", "-b", "-o", str(tmp_path / "mixed.bam"), *mixed) == ""
    pysam.sort("-o", str(tmp_path / "sorted.bam"), str(tmp_path / "mixed.bam"))
    header, lines = segments(tmp_path / "sorted.bam")
    assert Counter(lines) == Counter(stored.lines)
    assert list(map(place, lines)) == list(map(place, stored.lines))
    whole = pysam.AlignmentHeader.from_text(stored.pair.samtools_text("-H", str(stored.pair.bam)).decode())
    made = pysam.AlignmentHeader.from_text(header)
    contigs = list(zip(whole.references, whole.lengths, strict=True))
    made_contigs = list(zip(made.references, made.lengths, strict=True))
    assert made_contigs == [contig for contig in contigs if contig in made_contigs]
    assert made.to_dict().get("RG") == whole.to_dict().get("RG")


def place(line):
    return line.split("\t", 4)[2:4]


def test_sam_has_a_header_if_asked_and_bam_has_one_always(wgs, tmp_path):
    path, expected = wgs.paths[-1], wgs.parts[-1]
    text = queries.bams3("cat", "-h", path).decode()
    header = "".join(line + "\n" for line in text.splitlines() if line.startswith("@"))
    assert text == header + "".join(line + "\n" for line in expected)
    assert "@SQ\tSN:chr20\tLN:63025520\n" in header
    assert "@RG\tID:NA12878" in header
    for option in ("-b", "-u"):
        (tmp_path / "out.bam").write_bytes(queries.bams3("cat", option, path))
        pysam.quickcheck(str(tmp_path / "out.bam"))
        assert segments(tmp_path / "out.bam") == (header, expected)
    assert (tmp_path / "out.bam").read_bytes()[18] & 6 == 0  # -u: a stored block
    assert queries.run("cat", "-o", str(tmp_path / "out.sam"), str(path)) == ""
    assert (tmp_path / "out.sam").read_text() == text
    assert queries.bams3("cat", "-o", "-", path).decode() == text.removeprefix(header)


def test_the_header_says_sorted_only_where_the_records_are(wgs):
    def order(*paths):
        text = queries.bams3("cat", "-h", *paths).decode()
        return text.splitlines()[0].partition("SO:")[2]

    first, second, third = wgs.paths[:3]
    assert order(first, second, third) == "coordinate"
    assert order(second, first) == "unsorted"
    assert order(first, first) == "unsorted"


def test_a_chunk_comes_through_a_pipe(wgs):
    data, expected = wgs.paths[2].read_bytes(), wgs.parts[2]
    lines = "".join(line + "\n" for line in expected)
    done = subprocess.run([sys.executable, "-m", "bams3", "cat", "-"], input=data, capture_output=True)
    assert (done.returncode, done.stderr, done.stdout.decode()) == (0, b"", lines)
    done = in_bash(f"cat {wgs.paths[2]} | {BAMS3} cat {wgs.paths[1]} - {wgs.paths[3]}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [*wgs.parts[1], *expected, *wgs.parts[3]]


def test_named_pipes_are_read_once_like_those_of_a_shell(wgs):
    done = in_bash(f"{BAMS3} cat <(cat {wgs.paths[1]}) <(cat {wgs.paths[2]})")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == wgs.parts[1] + wgs.parts[2]
    done = in_bash(f"{BAMS3} cat <(cat {wgs.paths[1]}) <(head -c 30000 {wgs.paths[2]})")
    assert (done.returncode, done.stdout) == (3, "")
    assert "[truncated-file]" in done.stderr


@pytest.mark.parametrize("options", [(), ("-b",)], ids=["sam", "bam"])
def test_a_reader_that_leaves_ends_cat_quietly(wgs, options):
    program = [sys.executable, "-m", "bams3", "cat", *options, *map(str, wgs.paths)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(100)
        process.stdout.close()
        assert (process.stderr.read(), process.wait(30)) == (b"", 0)


# ---- simulated records ----

#: What a store numbers 0, 1 and 2 has these numbers in its chunks.
NUMBERS = np.array([3, 7, 4000])
NAMES = {3: "chr\udcff1", 7: "HLA:2", 4000: "x"}


def renumbered(data, numbers):
    """A record with other contig numbers; -1 stays."""
    contig, mate = (struct.unpack_from("<i", data, at)[0] for at in (4, 24))
    out = bytearray(data)
    for at, number in ((4, contig), (24, mate)):
        struct.pack_into("<i", out, at, numbers[number] if number >= 0 else -1)
    return bytes(out)


def chunk_of(several, group_records=3, **context):
    """A chunk of records with the numbers 0, 1 and 2, as a store that has more contigs writes it."""
    given_numbers = [renumbered(one, NUMBERS) for one in several]
    used = {struct.unpack_from("<i", one, at)[0] for one in given_numbers for at in (4, 24)} - {-1}
    contigs = [[n, NAMES[n], 1000 + n] for n in sorted(used)]
    groups = [
        encode_group(columns_of(*given_numbers[i : i + group_records]), Compression())
        for i in range(0, len(several), group_records)
    ]
    return chunk.build_chunk(groups, {"contigs": contigs, "read_groups": ["@RG\tID:a"], **context})[0]


def catted(*several):
    """Header and records of chunks, from their bytes."""
    made = MadeHeader()
    found = [read_chunk_file(io.BytesIO(data), f"{i}.chunk") for i, data in enumerate(several)]
    for one in found:
        made.add(one)
    return made.header(), b"".join(run for one in found for run in one.records(made.numbers))


@pytest.mark.native
@given(several=st.lists(drawn_records(), min_size=1, max_size=9), cut=st.integers(0, 9))
@few
def test_simulated_records_come_back_under_the_made_header(several, cut):
    several = in_order(several)
    header, data = catted(*(chunk_of(part) for part in (several[:cut], several[cut:]) if part))
    used = sorted({struct.unpack_from("<i", one, at)[0] for one in several for at in (4, 24)} - {-1})
    assert data == b"".join(renumbered(one, {n: i for i, n in enumerate(used)}) for one in several)
    assert header.contigs.names == tuple(NAMES[NUMBERS[n]] for n in used)
    lines = header.text.decode("utf-8", "surrogateescape").splitlines()
    assert lines[0] == "@HD\tVN:1.6\tSO:coordinate"
    assert lines[1:-1] == [f"@SQ\tSN:{NAMES[NUMBERS[n]]}\tLN:{1000 + NUMBERS[n]}" for n in used]
    assert lines[-1] == "@RG\tID:a"


@pytest.mark.native
@given(several=st.lists(drawn_records(), min_size=1, max_size=5), at=st.floats(0, 1, exclude_max=True))
@few
def test_a_simulated_chunk_cut_anywhere_is_refused(several, at):
    data = chunk_of(several)
    with pytest.raises(CorruptDataError) as caught:
        read_chunk_file(io.BytesIO(data[: int(at * len(data))]), "x.chunk")
    assert caught.value.kind == "truncated-file"


def test_a_row_group_at_a_time_is_in_memory():
    several = [record(b"r%d" % i, pos=i, cigar="2000M", seq=[1, 2] * 1000) for i in range(4000)]
    data = chunk_of(several, group_records=200)
    one = read_chunk_file(io.BytesIO(data), "x.chunk")
    whole_bytes = sum(map(len, several))
    tracemalloc.start()
    try:
        size_bytes = sum(map(len, one.records(np.array([3]))))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size_bytes == whole_bytes
    assert peak_bytes < whole_bytes // 2


# ---- what is no whole chunk ----


def refused(*arguments, stdin=None):
    """Exit code, kind and hint of a command that must fail with one line, a hint, and no output."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        done = run("cat", *arguments)
    found = re.fullmatch(r"bams3: \S.* \[([a-z0-9-]+)\]\nhint: (\S.*)\n", done.err)
    assert found, done.err
    assert done.out == ""
    return done.code, found[1], found[2]


@pytest.fixture(scope="module")
def one(wgs):
    """The bytes of a chunk of several row groups, and its parsed head."""
    data = wgs.paths[1].read_bytes()
    head = chunk.parse_head(data)
    assert head.directory.groups.size > 2
    return data, head


def test_a_chunk_cut_at_any_kind_of_place_is_refused(one, tmp_path):
    data, head = one
    context_bytes = struct.unpack_from("<I", data, 12)[0]
    offsets = head.directory.offsets(head.head_bytes).tolist()
    ends = {0, 1, 7, 8, 10, 12, 19, 20, 21, 20 + context_bytes // 2, 20 + context_bytes}
    ends |= {head.head_bytes + more for more in (-5, -4, -1, 0, 1)} | {len(data) - 1}
    ends |= {offset + more for offset in offsets[:-1:9] for more in (0, 1)}
    for end in sorted(ends):
        (tmp_path / "cut.chunk").write_bytes(data[:end])
        assert refused(tmp_path / "cut.chunk")[:2] == (3, "truncated-file"), end
        assert refused("-", stdin=data[:end])[:2] == (3, "truncated-file"), end


def test_a_pipe_that_breaks_is_not_taken_for_the_end(one, wgs):
    data, head = one
    for end in (0, 12, head.head_bytes, len(data) // 2, len(data) - 1):
        for output in ([], ["-b"]):
            program = [sys.executable, "-m", "bams3", "cat", *output, "-"]
            done = subprocess.run(program, input=data[:end], capture_output=True)
            assert (done.returncode, done.stdout) == (3, b"")
            assert b"[truncated-file]\nhint: " in done.stderr
            assert done.stderr.startswith(b"bams3: stdin: ")


def test_every_flipped_byte_is_seen_before_a_record_is_written(one):
    data, _ = one
    for at in [*range(40), *range(40, len(data), 4999)]:
        flipped = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        code, kind, _ = refused("-", stdin=flipped)
        if at < 8:
            assert (code, kind) == (2, "not-a-chunk")
        else:
            assert code == 3
            assert kind in ("bad-chunk", "truncated-file", "newer-format", "older-format")


def test_damage_of_a_later_chunk_is_seen_before_a_record_of_the_first(wgs, one, tmp_path):
    data, _ = one
    (tmp_path / "bad.chunk").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    output = ("-o", tmp_path / "x.sam")
    for options in ((), output):
        assert refused(*options, wgs.paths[0], tmp_path / "bad.chunk")[:2] == (3, "bad-chunk")
    assert not output[1].exists()


def test_bytes_behind_a_chunk_are_refused_and_not_waited_for(one, wgs, tmp_path):
    data, _ = one
    (tmp_path / "longer.chunk").write_bytes(data + b"\0")
    assert refused(tmp_path / "longer.chunk")[:2] == (3, "bad-chunk")
    code, kind, hint = refused("-", stdin=data + data)
    assert (code, kind) == (3, "bad-chunk")
    assert "several by their names" in hint
    done = in_bash(f"cat {wgs.paths[1]} /dev/zero | {BAMS3} cat -", timeout=60)
    assert (done.returncode, done.stdout) == (3, "")


@pytest.mark.parametrize("source", ["cat /dev/zero", "yes", "head -c 100000 /dev/urandom"])
def test_what_never_ends_is_no_chunk_and_not_waited_for(source):
    done = in_bash(f"{source} | {BAMS3} cat -", timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "[not-a-chunk]" in done.stderr


def test_what_is_no_chunk_is_told_with_a_hint(wgs, tmp_path):
    store = wgs.pair.store
    queries_it = f"bams3 query {store} writes its records, bams3 chunks {store} names its chunks"
    assert refused(store) == (2, "not-a-chunk", queries_it)
    finds_it = f"find {store}/data -name '*.chunk' names the chunks in it"
    assert refused(store / "data") == (2, "not-a-chunk", finds_it)
    for name in ("x.bam", "x.sam", "x.cram"):
        assert (
            queries.run("query", str(store), "chr20:10,000,000-10,000,100", "-o", str(tmp_path / name)) == ""
        )
    for source in tmp_path.glob("x.*"):
        code, kind, hint = refused(source)
        assert (code, kind) == (2, "not-a-chunk")
        assert "bams3 convert" in hint
        assert refused("-", stdin=source.read_bytes()) == (code, kind, hint)
    for other in (store / "_metadata.json", next(store.glob("_index-*"))):
        assert refused(other)[:2] == (2, "not-a-chunk")
    code, kind, hint = refused(wgs.rows[0]["key"])
    assert (code, kind) == (2, "no-such-file")
    assert "STORE" in hint
    assert refused(store / "_metadata.json" / "x.chunk")[:2] == (2, "not-readable")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["-", "-"], "usage"),
        (["-b", "-o", "x.sam", "-"], "usage"),
        (["-o", "x.txt", "CHUNK"], "unknown-format"),
    ],
)
def test_options_that_make_no_sense_are_input_errors(wgs, arguments, kind):
    done = run("cat", *(str(wgs.paths[0]) if text == "CHUNK" else text for text in arguments))
    assert done.code == 2
    assert done.err.splitlines()[0].endswith(f"[{kind}]")


@pytest.mark.parametrize(("version", "kind"), [((1, 0), "newer-format"), ((0, 8), "older-format")])
def test_another_version_is_refused_whatever_its_head_says(one, version, kind):
    other = one[0][:8] + struct.pack("<HHII", *version, 2**32 - 1, 2**32 - 1) + one[0][20:]
    assert refused("-", stdin=other)[:2] == (3, kind)


SOME = [record(b"r%d" % i, contig=i % 2, mate_contig=0, pos=i) for i in range(4)]


@pytest.mark.parametrize(
    "context",
    [
        {"contigs": None},
        {"contigs": [[3, "chr1"], [7, "x", 9]]},
        {"contigs": [[-3, "chr1", 9], [7, "x", 9]]},
        {"contigs": [["3", "chr1", 9], [7, "x", 9]]},
        {"contigs": [[3, "chr1", 1 << 32], [7, "x", 9]]},
        {"contigs": [[3, "chr1\n@PG", 9], [7, "x", 9]]},
        {"contigs": [[3, "chr1\tLN:7", 9], [7, "x", 9]]},
        {"contigs": [[3, "\ud800", 9], [7, "x", 9]]},
        {"read_groups": "@RG\tID:a"},
        {"read_groups": ["@PG\tID:a"]},
        {"read_groups": ["@RG\tID:a\n@CO"]},
        {"read_groups": [7]},
    ],
    ids=str,
)
def test_a_context_that_makes_no_header_is_damage(context):
    with pytest.raises(CorruptDataError, match="context") as caught:
        catted(chunk_of(SOME, **context))
    assert caught.value.kind == "bad-chunk"


def test_contigs_that_the_context_does_not_name_are_damage():
    for contigs in ([], [[3, "chr1", 9]], [[4, "chr1", 9], [8, "x", 9]]):
        with pytest.raises(CorruptDataError, match="does not name") as caught:
            catted(chunk_of(SOME, contigs=contigs))
        assert caught.value.kind == "bad-chunk"


def test_records_of_another_size_than_the_directory_says_are_damage():
    group = encode_group(columns_of(*SOME), Compression())
    lying = dataclasses.replace(group, decoded_bytes=group.decoded_bytes + 1)
    contigs = [[0, "a", 9], [1, "b", 9]]
    with pytest.raises(CorruptDataError, match="row group 0: it decodes to") as caught:
        catted(chunk.build_chunk([lying], {"contigs": contigs, "read_groups": []})[0])
    assert caught.value.kind == "bad-chunk"


@pytest.mark.parametrize(
    "context",
    [
        {"read_groups": ["@RG\tID:b"]},
        {"contigs": [[3, "other", 1003], [7, "HLA:2", 1007]]},
        {"contigs": [[3, NAMES[3], 99], [7, "HLA:2", 1007]]},
        {"contigs": [[3, NAMES[3], 1003], [7, "HLA:2", 1007], [8, NAMES[3], 1003]]},
    ],
    ids=["read groups", "names", "lengths", "numbers"],
)
def test_chunks_of_different_stores_are_not_mixed(context):
    with pytest.raises(InputError) as caught:
        catted(chunk_of(SOME), chunk_of(SOME, **context))
    assert caught.value.kind == "mixed-stores"
    assert caught.value.hint
