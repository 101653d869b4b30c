"""What ``bams3 cost`` says: against prices worked out by hand, requests counted, and conversions made."""

import io
import itertools
import json
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from bam_records import EOF_BLOCK, bgzf, header_bytes, record
from commands import convert, run
from hypothesis import given, settings
from hypothesis import strategies as st

from bams3.errors import InputError
from bams3.estimate import QUESTIONS, Bill, Holding, Prices, Usage, parse_prices, usage_by_region, usage_of
from bams3.format import spec
from bams3.ingest import ConvertOptions, Source
from bams3.ingest import convert as ingest
from bams3.planned import GRCH38, even_depth, even_pieces, planned_store
from bams3.query import StoreReader, open_store
from bams3.regions import ContigTable, Region, parse_region
from bams3.store import LocalStore, MemoryStore

ROOT = Path(__file__).parents[1]
PRICES = Prices(0.023, 0.005, 0.0004, 0.0, 0.02, 0.09, 0.0425, "2026-11-21", "us-east-1")
BRCA1 = "chr17:43044295-43125364"
CONTIGS = (("chr1", 3_000_000), ("chr2", 2_000_000), *((f"tiny{i}", 50_000) for i in range(9)))
SPANS = {"256K": 256_000, "512K": 512_000, "1M": 1_000_000, "4M": 4_000_000}


# ---- stores to ask ----


def small_bam():
    """Reads every 100 bp of chr1, every 30 behind its middle; some on chr2, the tiny ones and none."""
    steps = itertools.chain(range(0, 1_500_000, 100), range(1_500_000, 2_900_000, 30))
    several = [record(b"r%d" % i, pos=pos) for i, pos in enumerate(steps)]
    several += [record(contig=1, pos=600_000 + i * 90) for i in range(900)]
    several += [record(contig=k, pos=i * 40) for k in range(2, 11) for i in range(60)]
    several += [record(contig=-1, pos=-1, flag=4, cigar="*") for _ in range(300)]
    return bgzf(header_bytes(CONTIGS) + b"".join(several)) + EOF_BLOCK


def cut_finely(monkeypatch):
    """Row groups and chunks of few records, so that small stores have many."""
    monkeypatch.setattr(spec, "GROUP_RECORDS", 2_000)
    monkeypatch.setattr(spec, "CHUNK_RECORDS", 9_000)


@pytest.fixture(scope="module")
def stores():
    """The same reads in stores of each chunk size, of many row groups, and the requests that made them."""
    found, data = {}, small_bam()
    with pytest.MonkeyPatch.context() as monkeypatch:
        cut_finely(monkeypatch)
        for name, span_bp in SPANS.items():
            store = found[name] = MemoryStore(name)
            source = Source("small.bam", io.BytesIO(data), {"size_bytes": 1}, seekable=True)
            ingest(source, store, ConvertOptions(span_bp, spec.CHUNK_RECORDS, workers=1), provenance={})
    return found


@pytest.fixture(scope="module")
def folder(stores, tmp_path_factory):
    """The store of 512K chunks as a folder."""
    path = tmp_path_factory.mktemp("cost") / "small.bams3"
    for key, data in stores["512K"].objects.items():
        LocalStore(path).put(key, data)
    return path


def cost(*arguments):
    """The report of a command."""
    done = run("cost", *arguments, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@contextmanager
def counted(monkeypatch):
    """Requests for objects of folders, and bytes, while the block runs."""
    seen = []
    with monkeypatch.context() as patch:
        get, get_range = LocalStore.get, LocalStore.get_range
        patch.setattr(LocalStore, "get", lambda s, key: seen.append(len(d := get(s, key))) or d)
        patch.setattr(
            LocalStore, "get_range", lambda s, *where: seen.append(where[2]) or get_range(s, *where)
        )
        yield seen


# ---- prices, by hand ----


def test_requests_transfer_and_compute_cost_what_a_bill_says():
    bill = Bill.of(Usage(3_000_000, 10 << 30, 14_400), PRICES)
    assert bill.requests_usd == pytest.approx(1.20)  # 3,000 thousands at 0.0004
    assert bill.transfer_usd == pytest.approx({"same_region": 0, "cross_region": 0.20, "internet": 0.90})
    start_hours = 14_400 * 0.25 / 3600
    read_hours = 10_737.41824 * 0.065 / 3600
    assert bill.compute_usd == pytest.approx((start_hours + read_hours) * 0.0425)
    assert bill.total_usd["internet"] == pytest.approx(1.20 + 0.90 + bill.compute_usd)


def test_a_month_of_storage_and_a_conversion_cost_what_a_bill_says():
    holding = Holding(chunks=3_100, objects=3_104, size_bytes=30 << 30, puts=6_204)
    assert holding.storage_usd_per_month(PRICES) == pytest.approx(0.69)
    assert holding.put_usd(PRICES) == pytest.approx(0.03102)
    assert holding.convert_vcpu_hours == pytest.approx(32_212.254720 * 0.056 / 3600)


def test_the_seeds_hundred_thousand_queries_of_three_requests_cost_twelve_cents():
    assert Bill.of(Usage(300_000, 0), PRICES).requests_usd == pytest.approx(0.12)


@given(st.integers(0, 10**9), st.integers(0, 10**15), st.integers(0, 10**6), st.integers(1, 1000))
def test_n_samples_cost_n_times_one(requests, size_bytes, processes, n):
    one = Usage(requests, size_bytes, processes)
    many, single = Bill.of(one.times(n), PRICES), Bill.of(one, PRICES)
    assert many.total_usd == pytest.approx({case: n * usd for case, usd in single.total_usd.items()})
    assert one + one == one.times(2)


# ---- requests, as counted ----


def test_a_conversion_puts_what_its_store_says(stores):
    for store in stores.values():
        holding = Holding.of(StoreReader(store))
        assert holding.puts == store.requests.puts
        assert holding.objects == len(store.objects)
        provenance = len(store.objects[spec.PROVENANCE_KEY])
        assert holding.size_bytes == sum(map(len, store.objects.values())) - provenance


REGIONS = (
    "chr1:1,000,001-1,000,900",
    "chr1:400,000-2,600,000",
    "chr2:1-700,000",
    "tiny3:100-900",
    "tiny5",
    "*",
)
COMMANDS = {
    "count": ("query", "--count"),
    "records": ("query", "-u", "-o", "out.bam"),
    "depth": ("coverage", "-o", "out.bedgraph"),
    "windows": ("coverage", "--window", "500", "-o", "out.bed"),
}


def asks(question):
    """Regions that a question can be put to by the command line; windows are those of whole contigs."""
    if question == "windows":
        return ("chr1", "tiny3")
    return REGIONS[:-1] if question == "depth" else REGIONS


@pytest.mark.parametrize(
    ("question", "region"), [(q, r) for q in QUESTIONS for r in (*asks(q), None)], ids=str
)
def test_a_question_costs_the_requests_that_its_command_makes(
    folder, monkeypatch, tmp_path, question, region
):
    monkeypatch.chdir(tmp_path)
    command, *options = COMMANDS[question]
    region = [] if region is None else [region]
    with counted(monkeypatch) as seen:
        done = run(command, folder, *region, *options)
    assert done.code == 0, done.err
    asked = cost(folder, *region, "--question", question)["asked"][0]
    assert asked["get_requests"] == len(seen)
    assert asked["read_mb"] == pytest.approx(sum(seen) / 1e6)


def test_a_bed_costs_the_requests_of_one_process(folder, monkeypatch, tmp_path):
    bed = tmp_path / "targets.bed"
    bed.write_text("chr1\t1000\t2000\nchr1\t1500\t800000\nchr2\t0\t650000\ntiny1\t5\t900\ntiny2\t5\t900\n")
    monkeypatch.chdir(tmp_path)
    for question, (command, *options) in (COMMANDS | {"count": ("query", "--tsv")}).items():
        if question == "windows":
            continue
        with counted(monkeypatch) as seen:
            assert run(command, folder, "-L", bed, *options).code == 0
        one, each = cost(folder, "-L", bed, "--question", question)["asked"]
        assert (one["processes"], one["get_requests"], one["n_processes"]) == ("one a sample", len(seen), 1)
        assert one["read_mb"] == pytest.approx(sum(seen) / 1e6)
        assert (each["processes"], each["n_processes"]) == ("one a region", 5)


def test_a_process_a_region_costs_what_those_processes_do(stores):
    store = stores["256K"]
    regions = [parse_region(text, StoreReader(store).contigs) for text in (*REGIONS, *REGIONS[:2])]
    for question in ("count", "records"):
        several = [usage_of(store, question, [region]) for region in regions]
        together = usage_by_region(store, question, regions)
        assert together.values() == tuple(np.sum([usage.values() for usage in several], axis=0))


def test_depth_of_unplaced_reads_is_refused(folder):
    done = run("cost", folder, "*", "--question", "depth")
    assert (done.code, "[bad-region]" in done.err) == (2, True)


# ---- stores that are not there ----


@pytest.mark.parametrize("base", ["512K", "4M"])
def test_the_model_of_a_chunk_size_is_near_the_conversion(stores, base, tmp_path, monkeypatch):
    """Reads lie evenly here: what is left is what chunks and row groups cost by themselves."""
    cut_finely(monkeypatch)
    path = tmp_path / "base.bams3"
    for key, data in stores[base].objects.items():
        LocalStore(path).put(key, data)
    inside = ("chr1:1,041,001-1,041,900", "chr1:403,017-2,611,013", "chr2:1-700,000", None)
    for region, question in itertools.product(inside, ("count", "records", "depth")):
        where = [region] if region else []
        rows = cost(path, *where, "--what-if", "--question", question)["what_if"]
        for row in rows:
            name = next((n for n, bp in SPANS.items() if bp == row["chunk_size_bp"]), None)
            if name is None:
                continue
            real = StoreReader(stores[name])
            asked = usage_of(real.store, question, [parse_region(r, real.contigs) for r in where])
            assert row["figures"] == ("indexed" if name == base else "modelled")
            assert row["stores"]["chunks"] == real.manifest.chunks
            assert row["stores"]["put_requests"] == Holding.of(real).puts
            assert abs(row["asked"]["get_requests"] - asked.requests) <= 1
            assert row["asked"]["read_mb"] * 1e6 == pytest.approx(asked.size_bytes, rel=0.15, abs=3_000)


REAL = {"wgs": "NA12878_S1.chr20.10_10p1mb.bam", "hifi": "HG002-SRF.m84011_220902_175841_s1.GRCh38.bam"}


@pytest.mark.parametrize("kind", REAL)
def test_the_model_of_real_reads_is_near_the_conversion(shared_data, tmp_path, kind):
    source = shared_data / "aln" / REAL[kind]
    for name in ("256K", "4M"):
        assert convert(source, tmp_path / f"{name}.bams3", "--chunk-size", name).code == 0
    for row in cost(tmp_path / "4M.bams3", "--what-if")["what_if"]:
        if row["chunk_size_bp"] == 256_000:
            real = Holding.of(open_store(str(tmp_path / "256K.bams3")))
            assert row["stores"]["chunks"] == pytest.approx(real.chunks, rel=0.25)
            assert row["stores"]["mb"] * 1e6 == pytest.approx(real.size_bytes, rel=0.3)


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 20_000_000), min_size=1, max_size=6),
    st.integers(1, 3_000_000),
    st.integers(30, 20_000),
    st.sampled_from([256_000, 1_000_000, 8_000_000]),
)
def test_a_plan_holds_every_read_within_the_limits_of_the_format(lengths, reads, read_length_bp, span_bp):
    contigs = ContigTable(tuple(f"c{i}" for i in range(len(lengths))), tuple(lengths))
    pieces = even_pieces(contigs, reads, read_length_bp)
    reader = StoreReader(planned_store(pieces, contigs, span_bp, even_depth(contigs), 100))
    assert reader.manifest.records == reads
    found = 0
    for _, stored in reader.all_chunks():  # the reader checks what it parses
        d = stored.directory
        found += int(d.groups["records"].sum())
        assert d.groups["records"].max() <= spec.GROUP_RECORDS
        assert d.groups.size == 1 or d.groups["decoded_bytes"].sum() <= spec.CHUNK_BYTES
        starts = d.extents["start"]
        if contigs.lengths[int(d.extents["contig"][0])] >= span_bp:
            assert starts.min() >= int(stored.row["start"])
            assert starts.max() < int(stored.row["start"]) + span_bp
    assert found == reads


def test_a_plan_of_the_benchmark_has_the_size_of_its_store():
    """6,007,447 reads of 101 bases on 13.64 Mb: 197,973,809 bytes of chunks, 127 row groups, 17 chunks."""
    contigs = ContigTable(("chr20", "chr21"), (10_000_000, 3_640_000))
    pieces = even_pieces(contigs, 6_007_447, 101)
    reader = StoreReader(planned_store(pieces, contigs, 1_000_000, even_depth(contigs), 600))
    groups = sum(stored.directory.groups.size for _, stored in reader.all_chunks())
    assert reader.manifest.text["chunk_bytes"] == pytest.approx(197_973_809, rel=0.01)
    assert groups == pytest.approx(127, abs=6)
    assert abs(reader.manifest.chunks - 17) <= 3


def test_brca1_in_a_thousand_planned_genomes_takes_three_requests_each():
    report = cost("--reads", "800M", "--samples", "1000", BRCA1)
    asked = report["asked"][0]
    assert report["basis"] == "plan"
    assert asked["get_requests"] == 3_000
    assert asked["get_usd"] == pytest.approx(0.0012)
    assert 100 < asked["read_mb"] < 1_000
    assert 3_088_286_401 == sum(GRCH38.lengths) == report["genome_bp"]
    assert 3_100_000 <= report["stores"]["chunks"] <= 3_110_000  # 3,088 spans, and the ends of 24 contigs
    assert report["stores"]["storage_usd_per_month"] == pytest.approx(
        report["stores"]["mb"] * 1e6 / 2**30 * 0.023
    )


def test_a_hundred_regions_cost_a_process_a_region_more(tmp_path):
    bed = tmp_path / "hundred.bed"
    bed.write_text("".join(f"chr1\t{i}500000\t{i}501000\n" for i in range(1, 101)))
    one, each = cost("--reads", "800M", "--samples", "1000", "-L", bed)["asked"]
    assert one["get_requests"] == 1_000 * (1 + 1 + 100)  # manifest, chr1 of the index, a chunk a region
    assert each["get_requests"] == 1_000 * 100 * 3
    assert each["get_usd"] == pytest.approx(0.12)
    assert each["n_processes"] == 100_000


def test_a_genome_of_ones_own_is_read_from_its_fai(tmp_path):
    fai = tmp_path / "g.fa.fai"
    fai.write_text("one\t5000000\t5\t60\t61\ntwo\t3000000\t9\t60\t61\n")
    report = cost("--reads", "1M", "--genome", fai, "one:1M-1.1M", "--chunk-size", "500K")
    assert (report["genome_bp"], report["chunk_size_bp"], report["stores"]["chunks"]) == (
        8_000_000,
        500_000,
        16,
    )


# ---- the command ----


def test_twice_the_samples_cost_twice(folder):
    one, two = (cost(folder, "chr1:1M-2M", "--samples", n) for n in ("1", "2"))
    for part in ("stores", "asked"):
        a, b = (report[part] if part == "stores" else report[part][0] for report in (one, two))
        for name in a:
            if isinstance(a[name], int | float):
                assert b[name] == pytest.approx(2 * a[name]), name


def test_without_regions_all_records_are_asked_for(folder):
    report = cost(folder)
    assert (report["question"], report["regions"], len(report["asked"])) == ("records", 0, 1)


def test_a_store_of_no_reads_has_a_price(tmp_path):
    (tmp_path / "none.bam").write_bytes(bgzf(header_bytes(CONTIGS)) + EOF_BLOCK)
    assert convert(tmp_path / "none.bam", tmp_path / "none.bams3").code == 0
    for question in QUESTIONS:
        for region in ([], ["chr1:1-100"]):
            report = cost(tmp_path / "none.bams3", *region, "--question", question, "--what-if")
            assert report["stores"]["chunks"] == 0
            assert report["asked"][0]["get_requests"] >= 1


def test_what_if_has_a_row_for_each_size_and_the_stores_own(folder, tmp_path):
    rows = cost(folder, "chr1:1M-2M", "--what-if")["what_if"]
    assert [row["chunk_size_bp"] for row in rows] == [256_000, 512_000, 1_000_000, 2_000_000, 4_000_000]
    assert [row["figures"] for row in rows] == ["modelled", "indexed", *["modelled"] * 3]
    (tmp_path / "g.fai").write_text("one\t30000000\n")
    rows = cost("--reads", "100K", "--genome", tmp_path / "g.fai", "--chunk-size", "8M", "--what-if")[
        "what_if"
    ]
    assert [row["chunk_size_bp"] for row in rows][-1] == 8_000_000
    assert {row["figures"] for row in rows} == {"modelled"}


def test_tables_line_up_and_name_their_units(folder):
    done = run("cost", folder, "chr1:1M-2M", "chr2:1-9K", "--samples", "1000", "--what-if")
    assert done.code == 0
    tables = [part.splitlines() for part in done.out.split("\n\n")]
    assert len(tables) == 5
    for table in tables[1:]:
        assert re.search(r"_usd\b|\busd_", table[0])
        columns = [m.end() for m in re.finditer(r"\S+(?=  |$)", table[0])]
        rows = [line for line in table if re.search(r"\d$", line)]
        assert rows
        assert all(len(line) in columns for line in rows)
    names = tables[4][0].split()
    assert names[0] == "chunk_size"
    assert {"PUT_usd", "GET_requests", "read_MB", "usd_per_month", "internet_usd"} <= set(names)
    assert "us-east-1" in tables[0][1]


def test_a_plan_says_that_it_is_one():
    done = run("cost", "--reads", "1M", "chr1:1M-2M")
    assert done.out.startswith("a plan, from measured constants: 1 sample of 1,000,000 reads")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--samples", "3"), "no STORE"),
        (("STORE", "--samples", "0"), "--samples"),
        (("STORE", "--samples", "-5"), "--samples"),
        (("STORE", "--samples", "many"), "--samples"),
        (("STORE", "--question", "why"), "--question"),
        (("STORE", "--reads", "800M"), "is a store"),
        (("STORE", "--chunk-size", "1M"), "--chunk-size is for plans"),
        (("STORE", "--read-length", "150"), "--read-length is for plans"),
        (("STORE", "--genome", "x.fai"), "--genome is for plans"),
        (("STORE", "chr1", "-L", "x.bed"), "exclude"),
        (("STORE", "chr9"), "chr9"),
        (("STORE", "chr1:9-1"), "ends before"),
        (("STORE", "-L", "/nowhere/x.bed"), "x.bed"),
        (("/nowhere/x.bams3",), "x.bams3"),
        (("--reads", "0"), "--reads 0"),
        (("--reads", "-1"), "--reads -1"),
        (("--reads", "lots"), "--reads lots"),
        (("--reads", "1M", "--chunk-size", "9M"), "256K to 8M"),
        (("--reads", "1M", "--chunk-size", "small"), "small"),
        (("--reads", "1M", "--read-length", "0"), "--read-length"),
        (("--reads", "1M", "17:1-2"), "chr17"),
        (("--reads", "1M", "--genome", "/nowhere/g.fai"), "g.fai"),
        (("STORE", "--prices", "/nowhere/p.yaml"), "p.yaml"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_asked_is_refused_in_one_line(folder, arguments, words):
    done = run("cost", *(str(folder) if a == "STORE" else a for a in arguments))
    assert (done.code, done.out) == (2, "")
    first, *hint = done.err.splitlines()
    assert re.fullmatch(r"bams3: .* \[[a-z-]+\]", first)
    assert words in done.err
    assert len(hint) <= 1


# ---- the file of prices ----


def as_yaml(**changes):
    """The prices of the project as YAML, changed; None leaves one out."""
    text = (ROOT / "config" / "prices.yaml").read_text()
    values = dict(re.findall(r"^(\w+): (.*)$", text, re.M)) | changes
    return "\n".join(f"{key}: {value}" for key, value in values.items() if value is not None) + "\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (as_yaml(get_usd_per_1000=None), "get_usd_per_1000 is missing"),
        (as_yaml(as_of=None), "as_of is missing"),
        (as_yaml(region=""), "region is empty"),
        (as_yaml(put_usd_per_1000="cheap"), "put_usd_per_1000: 'cheap' is not a number"),
        (as_yaml(put_usd_per_1000="true"), "put_usd_per_1000: True is not a number"),
        (as_yaml(put_usd_per_1000=""), "put_usd_per_1000: None is not a number"),
        (as_yaml(vcpu_usd_per_hour="-1"), "vcpu_usd_per_hour: -1 is not a price"),
        (as_yaml(vcpu_usd_per_hour=".nan"), "vcpu_usd_per_hour: nan is not a price"),
        (as_yaml(vcpu_usd_per_hour=".inf"), "vcpu_usd_per_hour: inf is not a price"),
        (as_yaml(vcpu_usd_per_hour="1" + "0" * 400), "vcpu_usd_per_hour"),
        (as_yaml(get_usd_per_thousand="1"), "get_usd_per_thousand: no such price"),
        (as_yaml(as_of="2026-13-45"), "is not YAML"),
        ("- 1\n- 2\n", "holds no prices"),
        ("", "holds no prices"),
        ("a: [1\nb: 2\n", "line 2 is not YAML"),
        ("[" * 100_000, "is not YAML"),
        ("\0", "is not YAML"),
    ],
)
def test_a_bad_price_is_refused_by_file_and_key(folder, tmp_path, text, words):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    done = run("cost", folder, "--prices", path)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"bams3: {path}")
    assert words in done.err.splitlines()[0]
    assert done.err.splitlines()[0].endswith("[bad-prices]")


def test_prices_that_are_not_text_or_a_folder_are_refused(folder, tmp_path):
    (tmp_path / "p.yaml").write_bytes(b"\xff\xfe\x80")
    for path in (tmp_path / "p.yaml", tmp_path):
        done = run("cost", folder, "--prices", path)
        assert (done.code, "[bad-prices]" in done.err) == (2, True)


def test_prices_of_ones_own_are_used(folder, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(as_yaml(get_usd_per_1000="1000", region="eu-central-1"))
    report = cost(folder, "chr1:1M-2M", "--prices", path)
    assert report["asked"][0]["get_usd"] == report["asked"][0]["get_requests"]
    assert report["prices"]["region"] == "eu-central-1"


def test_the_shipped_prices_are_those_of_config_and_say_what_they_are():
    text = (ROOT / "config" / "prices.yaml").read_text()
    assert (ROOT / "bams3" / "prices.yaml").read_text() == text
    for line, before in zip(text.splitlines()[1:], text.splitlines(), strict=False):
        if "usd_per" in line and not line.startswith("#"):
            assert before.startswith("# ")
    assert "price list" in text.split("\n\n")[0]


def test_prices_are_parsed_by_their_names():
    value = dict.fromkeys(Prices.__dataclass_fields__, 1) | {"as_of": "today", "region": "here"}
    assert parse_prices(value, "p").get_usd_per_1000 == 1.0
    with pytest.raises(InputError, match="is missing"):
        parse_prices({}, "p")


def test_regions_that_hold_no_reads_cost_the_index_alone(stores):
    store = stores["1M"]
    assert usage_of(store, "count", [Region("chr2", 1_900_000, 1_950_000)]).requests == 2
