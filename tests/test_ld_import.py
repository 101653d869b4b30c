"""bams3 ld-import: every call of every kind of input, what is refused, and what is left behind."""

import gzip
import json
import random
import shutil
import subprocess
import sys

import pysam
import pytest
from commands import objects, run, run_apart
from hypothesis import given, settings
from hypothesis import strategies as st
from mutate import damage
from panels import CHR20, HEADER, vcf_text, write_pgen, write_plink, write_vcf
from stored_calls import Variant, keys_of, variants_of, variants_of_text

from bams3.bam import BGZF_EOF, compress_blocks
from bams3.errors import Bams3Error, InputError
from bams3.format import spec
from bams3.panel import AA, AB, BB, MISSING
from bams3.panel.bcf_calls import BcfCalls, is_bcf, parse_bcf_header
from bams3.panel.calls import Choice
from bams3.panel.importing import import_panel
from bams3.panel.stored import StoredPanel, open_panel
from bams3.panel.vcf_calls import VcfCalls
from bams3.store import MemoryStore

KINDS = [".vcf", ".vcf.gz", ".bcf"]
SAMPLES = "s0 s1 s2 s3 s4".split()
ROWS = [
    "1 100 rs1 A G 0|0 0|1 1|0 1|1 0|1",
    "1 100 rs2 A AT,<DEL> 0|0 0|1 1|2 2|2 0|2",
    "1 150 rs3;rs4 C T,G 0/0 0/1 1/2 2/2 ./2",
    "1 160 . C T . ./. .|. 0/. ./1",
    "1 170 mono C . 0|0 0|0 0|0 0|0 0|0",
    "1 180 half C T 0|0 ./1 0|1 1/1 0/0",
    "X 5 . G A 0 1 0|1 . 1|1",
    "X 6 . G A 0 1 0/1 . 1",
    "X 7 . G A 0 1 0 1 0",
    "X 7 . G A 1/0 0/0 0/0 0/0 0/0",
]
PS = '##FORMAT=<ID=PS,Number=1,Type=Integer,Description="Phase set">\n'


def imported(source, out, *options):
    """The panel that an import makes, which must work."""
    done = run("ld-import", "--quiet", *options, source, out)
    assert done.kind == "", done.err
    return open_panel(str(out))


def import_kind(source, out, *options):
    """The kind of the error of an import, and its words; it must leave no panel."""
    done = run("ld-import", "--quiet", *options, source, out)
    assert not (out / spec.MANIFEST_KEY).exists()
    return done.kind, done.err


# ---- VCF and BCF ----


@pytest.mark.parametrize("kind", KINDS)
def test_every_call_is_kept(tmp_path, kind):
    source = write_vcf(tmp_path / f"a{kind}", SAMPLES, ROWS)
    panel = imported(source, tmp_path / "a.ldp")
    assert panel.samples == tuple(SAMPLES)
    assert variants_of(panel) == variants_of_text(vcf_text(SAMPLES, ROWS))
    assert [(c.name, c.first, c.n) for c in panel.contigs] == [("1", 0, 8), ("X", 8, 4)]
    assert (panel.has_missing, panel.has_haploid) == (True, True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_summary_counts_what_was_met(tmp_path, kind):
    source = write_vcf(tmp_path / f"a{kind}", SAMPLES, [*ROWS, "X 9 rs1 G A . . . . ."])
    done = run("ld-import", "--json", source, tmp_path / "a.ldp")
    told = json.loads(done.out)
    want = {"samples": 5, "records": 11, "multiallelic": 2, "half_calls": 4, "variants": 13, "uncalled": 2}
    assert {name: told[name] for name in want} == want
    assert told["monomorphic"] == 1
    assert told["doubled_ids"] == 2  # rs1, and X_7_G_A
    assert "4 calls with some alleles missing count as missing" in done.err
    assert "2 variants have the id of another one" in done.err


@st.composite
def panels(draw):
    """Samples, and rows of calls of every kind."""
    n = draw(st.sampled_from([1, 2, 3, 63, 64, 65, 130]))
    chance = random.Random(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from([0, 0.05, 0.3, 1]))
    rows = []
    for k in range(draw(st.integers(1, 12))):
        alts = ",".join("T G <DEL> *".split()[: chance.choice([1, 1, 1, 2, 4])])
        top, bar = alts.count(",") + 1, chance.choice("|||/")
        calls = []
        for _ in range(n):
            alleles = [str(chance.randint(0, top)) for _ in range(chance.choice([1, 2, 2, 2]))]
            if chance.random() < share:
                alleles[chance.randrange(len(alleles))] = "."
            calls.append((bar if chance.random() < 0.99 else "/").join(alleles))
        place = f"{'1' if k < 5 else 'X'} {100 + k // 2} {chance.choice(['.', f'v{k}'])}"
        rows.append(f"{place} A {alts} {' '.join(calls)}")
    return [f"s{k}" for k in range(n)], rows


@settings(max_examples=40)
@given(panels(), st.sampled_from(KINDS))
def test_any_panel_comes_back(tmp_path_factory, panel, kind):
    samples, rows = panel
    folder = tmp_path_factory.mktemp("any")
    source = write_vcf(folder / f"a{kind}", samples, rows)
    reader = BcfCalls(source, Choice()) if kind == ".bcf" else VcfCalls(source, Choice())
    import_panel(reader, store := MemoryStore())
    assert variants_of(opened(store), 5) == variants_of_text(vcf_text(samples, rows))


def opened(store):
    return StoredPanel(store)


def test_bcf_decoded_here_is_that_of_htslib(shared_data):
    source = shared_data / CHR20
    assert is_bcf(source)
    here, there = MemoryStore(), MemoryStore()
    import_panel(BcfCalls(source, Choice()), here)
    import_panel(VcfCalls(source, Choice()), there)
    assert {key: here.get(key) for key in here.list()} == {key: there.get(key) for key in there.list()}


def test_numbers_of_a_bcf_header_are_given_or_counted():
    text = """##fileformat=VCFv4.3
##contig=<ID=one,length=5>
##FILTER=<ID=PASS,Description="All filters passed">
##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth, ID=PS,IDX=9>">
##FILTER=<ID=low,Description="x">
##FORMAT=<Number=1,ID=GT,Type=String,Description="x">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="x">
##contig=<ID=three,length=5,IDX=2>
##contig=<ID=four>
##FORMAT=<ID=PS,Number=1,Type=Integer,Description="x",IDX=70>
##FORMAT=<ID=AD,Number=1,Type=Integer,Description="x">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta b\tc
"""
    header = parse_bcf_header(text)
    assert header.contigs == ["one", "", "three", "four"]
    assert header.keys == {"GT": 3, "DP": 1, "PS": 70, "AD": 71}
    assert header.samples == ("a b", "c")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("values", [("Integer", "7 9 9000 700000"), ("String", "a b b cd")])
def test_a_site_of_other_phase_sets_is_not_phased(tmp_path, kind, values):
    form, sets = values[0], values[1].split()
    a, b, c, d = sets
    rows = [
        f"1\t100\tfirst\tA\tG\t.\t.\t.\tGT:PS\t0|1:{a}\t0|0:{c}\t1|1:.",
        f"1\t101\tagrees\tA\tG\t.\t.\t.\tGT:PS\t0|1:{a}\t0|1:{b}\t1|1:{d}",
        f"1\t102\tother\tA\tG\t.\t.\t.\tGT:PS\t0|1:{a}\t1|0:{a}\t1|1:{d}",
        f"1\t103\thomozygous\tA\tG\t.\t.\t.\tGT:PS\t0|0:{d}\t1|1:{d}\t0|1:{d}",
        "1\t104\tnone\tA\tG\t.\t.\t.\tGT\t0|0\t0|1\t1|1",
        f"1\t105\tslash\tA\tG\t.\t.\t.\tGT:PS\t0/1:{a}\t1|1:{b}\t0|0:.",
        f"X\t1\tnew\tA\tG\t.\t.\t.\tGT:PS\t0|1:{d}\t0|1:.\t1|0:{d}",
        "X\t2\tabsent\tA\tG\t.\t.\t.\tGT\t0|0\t0|1\t1|1",
    ]
    names = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", "s0", "s1", "s2"]
    text = HEADER + PS.replace("Integer", form) + "\t".join(names) + "\n" + "\n".join(rows) + "\n"
    panel = imported(written(tmp_path / f"a{kind}", text), tmp_path / "a.ldp")
    found = variants_of(panel)
    assert found == variants_of_text(text)
    assert [v.id for v in found if not v.is_phased] == ["other", "none", "slash"]
    assert panel.n_phased == 5


def written(path, text):
    """A VCF as its name says."""
    plain = path.with_name("plain.vcf")
    plain.write_text(text)
    if path.suffix == ".vcf":
        return plain.rename(path)
    with (
        pysam.VariantFile(str(plain)) as source,
        pysam.VariantFile(str(path), "wb" if path.suffix == ".bcf" else "wz", header=source.header) as out,
    ):
        for record in source:
            out.write(record)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_wanted_samples_come_in_the_order_of_the_input(tmp_path, kind):
    source = write_vcf(tmp_path / f"a{kind}", SAMPLES, ROWS)
    names = tmp_path / "names.txt"
    names.write_text("s4\tx\n\ns1\n")
    for k, given_names in enumerate(("s4,s1", names)):
        panel = imported(source, tmp_path / f"{k}.ldp", "--samples", given_names)
        assert panel.samples == ("s1", "s4")
        assert variants_of(panel) == variants_of_text(vcf_text(SAMPLES, ROWS), wanted=["s1", "s4"])


@pytest.mark.parametrize("kind", KINDS)
def test_wanted_regions_are_those_of_positions(tmp_path, kind):
    source = write_vcf(tmp_path / f"a{kind}", SAMPLES, ROWS)
    panel = imported(
        source, tmp_path / "a.ldp", "--region", "1:101-160", "--region", "X:7", "--region", "1:150-150"
    )
    want = [v for v in variants_of_text(vcf_text(SAMPLES, ROWS)) if v.pos in (150, 160, 7)]
    assert variants_of(panel) == want
    assert [(c.name, c.n) for c in panel.contigs] == [("1", 3), ("X", 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_sites_with_several_alternate_alleles_can_be_dropped(tmp_path, kind):
    source = write_vcf(tmp_path / f"a{kind}", SAMPLES, ROWS)
    panel = imported(source, tmp_path / "a.ldp", "--multiallelic", "drop")
    assert variants_of(panel) == variants_of_text(vcf_text(SAMPLES, ROWS), split=False)


@pytest.mark.parametrize("maf", [0.05, 0.1, 0.125, 0.2, 0.5])
def test_rare_variants_are_left_out_by_the_share_of_called_alleles(tmp_path, maf):
    source = write_vcf(tmp_path / "a.bcf", SAMPLES, ROWS)

    def share(variant):
        alleles = "".join(call for call in variant.calls if call != ".")
        return min(alleles.count("0"), alleles.count("1")) / max(len(alleles), 1)

    want = [v for v in variants_of_text(vcf_text(SAMPLES, ROWS)) if share(v) >= maf]
    assert variants_of(imported(source, tmp_path / "a.ldp", "--maf", str(maf))) == want


def test_records_without_gt_are_missing_and_told(tmp_path):
    text = vcf_text(SAMPLES, ROWS[:1]) + "1\t200\tdp\tA\tG\t.\t.\t.\tDP\t1\t2\t3\t4\t5\n"
    for kind in KINDS:
        done = run("ld-import", written(tmp_path / f"a{kind}", text), tmp_path / f"{kind}.ldp")
        assert "1 records have no GT: all their calls are missing" in done.err
        assert variants_of(tmp_path / f"{kind}.ldp") == variants_of_text(text)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_cut_by_variants_and_by_texts(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(spec, "BLOCK_VARIANTS", 4)
    monkeypatch.setattr(spec, "BLOCK_TEXT_BYTES", 60)
    rows = [f"1 {k + 1} v{k} {'A' * (50 if k == 6 else 1)} C 0|1" for k in range(11)]
    panel = imported(write_vcf(tmp_path / f"a{kind}", ["s"], rows), tmp_path / "a.ldp")
    assert panel.block_starts.tolist() == [0, 4, 7]
    assert variants_of(panel, 3) == variants_of_text(vcf_text(["s"], rows))


def test_the_same_bytes_at_any_number_of_threads(shared_data, tmp_path):
    for threads in ("1", "3"):
        imported(shared_data / CHR20, tmp_path / threads, "--maf", "0.01", "--threads", threads)
    assert objects(tmp_path / "1") == objects(tmp_path / "3")


# ---- PLINK ----

PEOPLE = [("f", f"i{k}") for k in range(6)]
SEXES = "112202"
CODES = [AA, AB, BB, MISSING, AB, BB]


def plink_set(prefix, sites, codes, sexes=SEXES):
    write_plink(prefix, PEOPLE, sites, codes)
    fam = "".join(f"f i{k} 0 0 {sex} -9\n" for k, sex in enumerate(sexes))
    prefix.with_name(prefix.name + ".fam").write_text(fam)
    return prefix


@pytest.mark.parametrize("name", ["a.bed", "a"])
def test_a_plink_set_is_read_with_allele_1_as_alternate(tmp_path, name):
    plink_set(
        tmp_path / "a", ["1 rs1 0 100 G A", "1 . 0 101 T C", "25 par 0 5 G A"], [CODES, CODES[::-1], CODES]
    )
    panel = imported(tmp_path / name, tmp_path / "a.ldp")
    calls = ("00", "01", "11", ".", "01", "11")
    assert panel.samples == tuple(f"i{k}" for k in range(6))
    assert variants_of(panel) == [
        Variant("1", 100, "rs1", "A", "G", False, calls),
        Variant("1", 101, "1_101_C_T", "C", "T", False, calls[::-1]),
        Variant("25", 5, "par", "A", "G", False, calls),
    ]


@pytest.mark.parametrize(
    ("contigs", "calls", "told"),
    [
        ("X 23 chrX chr23 x", ("0", ".", "11", ".", "01", "11"), ("1 heterozygous", None)),
        ("Y 24 chrY", ("0", ".", ".", ".", ".", "."), ("1 heterozygous", "3 calls on Y")),
        ("MT 26 chrM M", ("0", ".", "1", ".", ".", "1"), ("2 heterozygous", None)),
        ("XY 25 PAR1", ("00", "01", "11", ".", "01", "11"), (None, None)),
    ],
)
def test_males_have_one_allele_of_x(tmp_path, contigs, calls, told):
    for contig in contigs.split():
        plink_set(tmp_path / contig, [f"{contig} rs1 0 100 G A"], [CODES])
        done = run("ld-import", tmp_path / contig, tmp_path / f"{contig}.ldp")
        [found] = variants_of(tmp_path / f"{contig}.ldp")
        assert found.calls == calls
        for words, is_told in zip(("heterozygous", "calls on Y"), told, strict=True):
            assert (is_told or words) in done.err if is_told else words not in done.err


@pytest.mark.parametrize("samples", [1, 4, 63, 64, 65])
def test_any_number_of_samples_of_a_plink_set(tmp_path, monkeypatch, samples):
    monkeypatch.setattr(spec, "BLOCK_VARIANTS", 8)
    monkeypatch.setattr("bams3.panel.blocks._BLOCK_CODES", samples * 5)
    chance = random.Random(samples)
    codes = [chance.choices([AA, AB, BB, MISSING], k=samples) for _ in range(30)]
    sites = [f"{1 + k // 14} v{k} 0 {k + 1} C A" for k in range(30)]
    write_plink(tmp_path / "a", [("f", f"i{k}") for k in range(samples)], sites, codes)
    words = {AA: "00", AB: "01", BB: "11", MISSING: "."}
    want = [tuple(words[code] for code in row) for row in codes]
    assert [v.calls for v in variants_of(imported(tmp_path / "a", tmp_path / "a.ldp"), 7)] == want
    some = ",".join(f"i{k}" for k in range(0, samples, 3))
    panel = imported(tmp_path / "a", tmp_path / "b.ldp", "--samples", some, "--region", "2:20-25")
    assert [v.calls for v in variants_of(panel)] == [row[::3] for row in want[19:25]]


@pytest.mark.engine
def test_plink_counts_the_same_on_the_autosomes_and_x(shared_data, tmp_path):
    prefix = shared_data / "geno/hapmap3_flashpca"
    subprocess.run(
        [
            "plink1.9",
            "--bfile",
            prefix,
            "--keep-allele-order",
            "--freqx",
            "--nonfounders",
            "--out",
            tmp_path / "f",
        ],
        check=True,
        capture_output=True,
    )
    rows = [line.split("\t") for line in (tmp_path / "f.frqx").read_text().splitlines()[1:]]
    found = variants_of(imported(f"{prefix}.bed", tmp_path / "a.ldp"))
    for variant, (contig, name, _, _, *counts) in zip(found, rows, strict=True):
        assert (variant.contig, variant.id) == (contig, name)
        n = {call: variant.calls.count(call) for call in ("11", "01", "00", "1", "0", ".")}
        if contig == "26":  # plink counts MT as diploid
            assert [n["1"], 0, n["0"], 0, 0, n["."]] == list(map(int, counts))
        else:
            assert list(n.values()) == list(map(int, counts))


# ---- PLINK 2 ----


@pytest.fixture
def pgen(shared_data, tmp_path):
    """The prefix of a real set, with a .psam for it."""
    prefix = tmp_path / "chr21"
    for end in (".pgen", ".pvar.zst"):
        shutil.copyfile(shared_data / f"geno/chr21_phase3_start{end}", tmp_path / f"chr21{end}")
    with gzip.open(shared_data / "geno/1kg_phase3_chr21_start.vcf.gz", "rt") as lines:
        names = next(line for line in lines if line.startswith("#CHROM")).split()[9:]
    prefix.with_suffix(".psam").write_text("#IID\tSEX\n" + "".join(f"{name}\t0\n" for name in names))
    return prefix


@pytest.mark.parametrize("options", [(), ("--samples", "HG00097,NA21144,NA20502")])
def test_a_pgen_has_the_calls_of_its_vcf(shared_data, tmp_path, pgen, options):
    panel = imported(f"{pgen}.pgen", tmp_path / "a.ldp", *options)
    other = imported(shared_data / "geno/1kg_phase3_chr21_start.vcf.gz", tmp_path / "b.ldp", *options)
    assert panel.samples == other.samples
    want = {(v.pos, v.ref, v.alt): (v.is_phased, v.calls) for v in variants_of(other)}
    found = {(v.pos, v.ref, v.alt): (v.is_phased, v.calls) for v in variants_of(panel)}
    shared = found.keys() & want.keys()  # the .pgen splits some sites otherwise
    assert len(shared) >= 480
    assert {place: found[place] for place in shared} == {place: want[place] for place in shared}


def test_a_pgen_keeps_phase_and_alleles_and_males_have_one_of_x(tmp_path):
    rows = [
        "1 5 rs1 A G 0|1 1|0 1/1 ./. 0/0 0|1",
        "1 6 rs2 A G,T 0|1 1|2 2/2 ./. 0/0 0|2",
        "1 7 rs3;rs4 A G,T 0/1 1|2 2/2 ./. 0/0 0|2",
        "X 5 rs5 A G 1|1 1/0 1/1 ./. 0/1 0|1",
        "X 6 rs6 A G 1|1 1/0 1/1 ./. 0/0 0|1",
        "MT 6 rs7 A G 1|1 1/0 1/1 ./. 0/0 0/0",
    ]
    write_pgen(tmp_path / "a", rows, SEXES)
    found = variants_of(imported(tmp_path / "a", tmp_path / "a.ldp"))
    assert [(v.id, v.alt, v.is_phased, " ".join(v.calls)) for v in found] == [
        ("rs1", "G", True, "01 10 11 . 00 01"),
        ("rs2_G", "G", True, "01 10 00 . 00 00"),
        ("rs2_T", "T", True, "00 01 11 . 00 01"),
        ("rs3", "G", False, "01 10 00 . 00 00"),
        ("rs4", "T", False, "00 01 11 . 00 01"),
        ("rs5", "G", False, "1 . 11 . 01 01"),
        ("rs6", "G", True, "1 . 11 . 00 01"),
        ("rs7", "G", True, "1 . 1 . 0 0"),
    ]


def test_a_pgen_of_another_shape_is_refused(tmp_path, pgen):
    psam = pgen.with_suffix(".psam")
    whole = psam.read_text()
    psam.write_text(whole + "one_more\t0\n")
    assert import_kind(f"{pgen}.pgen", tmp_path / "a.ldp")[0] == "bad-size"
    psam.write_text("#IID\tSEX\n")
    assert import_kind(f"{pgen}.pgen", tmp_path / "a.ldp")[0] == "no-samples"
    psam.write_text(whole.replace("#IID", "#NAME"))
    assert import_kind(f"{pgen}.pgen", tmp_path / "a.ldp")[0] == "bad-psam"
    psam.write_text(whole)
    pgen.with_suffix(".pvar").write_text("#CHROM\tPOS\tID\tREF\tALT\n1\tx\t.\tA\tC\n")
    assert import_kind(f"{pgen}.pgen", tmp_path / "a.ldp")[0] == "bad-pvar"
    pgen.with_suffix(".pvar").write_text("#CHROM\tPOS\tID\tREF\tALT\n1\t1\t.\tA\tC\n")
    assert import_kind(f"{pgen}.pgen", tmp_path / "a.ldp")[0] == "bad-size"
    psam.unlink()
    kind, words = import_kind(f"{pgen}.pgen", tmp_path / "a.ldp")
    assert kind == "no-such-file"
    assert "PREFIX.psam" in words


@pytest.mark.parametrize(
    ("at", "data", "kinds"), [(100, b"", {"no-variants", "bad-size"}), (300, b"\xff" * 13_100, {"bad-pvar"})]
)
def test_a_damaged_pvar_is_refused(tmp_path, pgen, at, data, kinds):
    packed = pgen.with_name("chr21.pvar.zst")
    packed.write_bytes(packed.read_bytes()[:at] + data)
    assert import_kind(f"{pgen}.pgen", tmp_path / "a.ldp")[0] in kinds


def test_without_pgenlib_the_cure_is_named(tmp_path, pgen, monkeypatch):
    monkeypatch.setitem(sys.modules, "pgenlib", None)
    kind, words = import_kind(f"{pgen}.pgen", tmp_path / "a.ldp")
    assert kind == "missing-package"
    assert "pip install 'bams3[pgen]'" in words


# ---- what is refused ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        (["1 5 . A G 0/1", "1 4 . A G 0/1"], "unsorted", "record 2 (1:4) lies before record 1 (1:5)"),
        (
            ["1 5 . A G 0/1", "X 4 . A G 0/1", "1 6 . A G 0/1"],
            "unsorted",
            "record 3 (1:6) comes back behind other contigs, after record 1 (1:5)",
        ),
        (["1 5 . A G 0/1/1"], "polyploid", "1:5 A>G: s0 has more than two alleles"),
        ([], "no-variants", "no variants for a panel in 0 records"),
    ],
)
def test_what_cannot_be_a_panel_is_named(tmp_path, kind, rows, error, words):
    source = write_vcf(tmp_path / f"a{kind}", ["s0"], rows)
    found, said = import_kind(source, tmp_path / "a.ldp")
    assert (found, words in said) == (error, True), said
    assert f"a{kind}" in said


def test_a_position_of_more_than_31_bits_is_refused(tmp_path):
    for pos in (2**31, 2**32 + 6):
        source = write_vcf(tmp_path / "a.vcf", ["s0"], ["1 5 . A G 0/1", f"1 {pos} . A G 0/1"])
        assert import_kind(source, tmp_path / "a.ldp")[0] == "bad-position"
    source = write_vcf(tmp_path / "a.vcf", ["s0"], [f"1 {2**31 - 1} . A G 0/1"])
    assert [v.pos for v in variants_of(imported(source, tmp_path / "a.ldp"))] == [2**31 - 1]


def test_names_that_a_panel_cannot_keep_are_refused(tmp_path):
    source = write_vcf(tmp_path / "a.bcf", ["s0", "s1"], ["1 5 . A G 0/1 0/0"])
    header = gzip.decompress(source.read_bytes())
    for old, new, error in ((b"\ts1", b"\ts0", "doubled-sample"), (b"ID=1,", b"ID=\xff,", "not-a-panel")):
        assert old in header
        (tmp_path / "b.bcf").write_bytes(compress_blocks(header.replace(old, new), 1) + BGZF_EOF)
        assert import_kind(tmp_path / "b.bcf", tmp_path / "a.ldp")[0] == error
    text = (vcf_text(["s0"], []) + "\xff\t5\t.\tA\tG\t.\t.\t.\tGT\t0/1\n").encode("latin-1")
    (tmp_path / "c.vcf").write_bytes(text.replace(b"##contig=<ID=1", b"##contig=<ID=\xff"))
    assert import_kind(tmp_path / "c.vcf", tmp_path / "a.ldp")[0] == "not-a-panel"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--samples", "s0,nobody"), "unknown-sample"),
        (("--samples", ","), "bad-samples"),
        (("--region", "chr1"), "unknown-contig"),
        (("--region", "1:5-x"), "bad-region"),
        (("--region", "1:5-6"), "no-variants"),
        (("--maf", "0.6"), "usage"),
        (("--multiallelic", "x"), "usage"),
    ],
)
def test_options_that_fit_nothing_are_named(tmp_path, kind, options, error):
    source = write_vcf(tmp_path / f"a{kind}", SAMPLES, ROWS)
    assert import_kind(source, tmp_path / "a.ldp", *options)[0] == error


@pytest.mark.parametrize("kind", KINDS)
def test_a_panel_needs_samples(tmp_path, kind):
    text = HEADER + "\t".join("#CHROM POS ID REF ALT QUAL FILTER INFO".split()) + "\n1\t5\t.\tA\tG\t.\t.\t.\n"
    assert import_kind(written(tmp_path / f"a{kind}", text), tmp_path / "a.ldp")[0] == "no-samples"


def test_a_bcf_that_is_cut_anywhere_is_refused(tmp_path):
    source = write_vcf(tmp_path / "a.bcf", SAMPLES, ROWS)
    data = source.read_bytes()
    for size in [*range(0, len(data), 23), len(data) - 28, len(data) - 1]:
        source.write_bytes(data[:size])
        assert import_kind(source, tmp_path / "a.ldp")[0] in ("truncated-file", "not-a-panel"), size


@pytest.mark.parametrize("end", [".bed", ".bim", ".fam"])
def test_a_plink_set_that_disagrees_is_refused(tmp_path, end):
    prefix = plink_set(tmp_path / "a", ["1 rs1 0 100 G A", "1 rs2 0 101 T C"], [CODES] * 2)
    path = prefix.with_name("a" + end)
    data = path.read_bytes()
    for damaged, kinds in (
        (data + data[-14:], {"bad-size", "doubled-sample"}),
        (data[: -15 if end != ".fam" else 30], {"bad-size", "not-a-panel", "bad-fam", "bad-bim"}),
        (b"", {"not-a-panel", "no-variants", "no-samples"}),
    ):
        path.write_bytes(damaged)
        assert import_kind(tmp_path / "a.bed", tmp_path / "a.ldp")[0] in kinds
    path.unlink()
    assert import_kind(tmp_path / "a.bed", tmp_path / "a.ldp")[0] == "no-such-file"


def test_a_plink_set_that_is_not_sorted_is_refused(tmp_path):
    plink_set(tmp_path / "a", ["1 rs1 0 100 G A", "1 rs2 0 99 T C"], [CODES] * 2)
    kind, words = import_kind(tmp_path / "a", tmp_path / "a.ldp")
    assert (kind, "plink1.9 --bfile" in words) == ("unsorted", True)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("badfile", "not-a-panel"), ("smallmode0", "not-a-panel"), ("small_no_fam", "no-such-file")],
)
def test_the_edge_cases_of_bed_reader_are_refused(shared_data, tmp_path, name, kind):
    for end in (".bed", ".bim", ".fam"):
        path = shared_data / f"conf/bed-reader/{name}{end}"
        other = shared_data / f"conf/bed-reader/small{end}"
        if name != "small_no_fam" or end != ".fam":
            shutil.copyfile(path if path.exists() else other, tmp_path / f"a{end}")
    assert import_kind(tmp_path / "a.bed", tmp_path / "a.ldp")[0] == kind


def test_what_is_no_input_is_refused(tmp_path):
    (tmp_path / "text").write_text("no panel")
    assert import_kind(tmp_path / "text", tmp_path / "a.ldp")[0] == "not-a-panel"
    assert import_kind(tmp_path / "nothing.bcf", tmp_path / "a.ldp")[0] == "no-such-file"
    assert import_kind(tmp_path, tmp_path / "a.ldp")[0] == "not-a-file"


# ---- what is left behind ----


def test_a_panel_is_replaced_only_by_force(tmp_path):
    out = tmp_path / "a.ldp"
    first = write_vcf(tmp_path / "a.bcf", SAMPLES, ROWS)
    second = write_vcf(tmp_path / "b.bcf", SAMPLES, ROWS[:3])
    imported(first, out)
    before = objects(out)
    assert run("ld-import", second, out).kind == "output-exists"
    assert objects(out) == before
    assert len(variants_of(imported(second, out, "--force"))) == 5
    assert len(keys_of(out)) == 3
    assert not {key for key in keys_of(out) if key.startswith("blocks/")} & before.keys()


@pytest.mark.parametrize("kind", [".vcf", ".bcf"])
def test_an_import_that_fails_leaves_the_panel_that_was_there(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(spec, "BLOCK_VARIANTS", 2)
    out, good = tmp_path / "a.ldp", write_vcf(tmp_path / f"a{kind}", SAMPLES, ROWS)
    bad = write_vcf(tmp_path / f"b{kind}", SAMPLES, [*ROWS[1:], ROWS[0]])
    assert run("ld-import", bad, out).kind == "unsorted"
    assert not (out / spec.MANIFEST_KEY).exists()
    want = variants_of(imported(good, out))  # over the blocks of the one that failed, which go
    assert len(keys_of(out)) == 2 + 6
    assert run("ld-import", "--force", bad, out).kind == "unsorted"
    assert variants_of(out) == want


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    source = write_vcf(tmp_path / "a.bcf", SAMPLES, ROWS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    assert run("ld-import", source, tmp_path / "mine").kind == "output-exists"
    assert run("ld-import", source, source).kind == "output-exists"
    (tmp_path / "mine/thesis.txt").rename(tmp_path / "mine/_metadata.json")
    (tmp_path / "mine/_metadata.json").write_text('{"format": "bams3"}')
    assert run("ld-import", "--force", source, tmp_path / "mine").kind == "output-exists"
    assert (tmp_path / "mine/_metadata.json").read_text() == '{"format": "bams3"}'


def test_two_imports_at_once_do_not_mix(tmp_path):
    first = BcfCalls(write_vcf(tmp_path / "a.bcf", SAMPLES, ROWS), Choice())
    second = BcfCalls(write_vcf(tmp_path / "b.bcf", SAMPLES, ROWS[:4]), Choice())
    store = MemoryStore()

    class Slow:
        path, samples, counts = second.path, second.samples, second.counts

        def runs(self, on_progress):
            yield from second.runs(on_progress)
            import_panel(first, store)

    with pytest.raises(InputError, match="written by another import"):
        import_panel(Slow(), store)
    assert variants_of(opened(store)) == variants_of_text(vcf_text(SAMPLES, ROWS))
    assert len(list(store.list())) == 3


def test_an_import_whose_blocks_another_one_removed_does_not_win(tmp_path):
    first = BcfCalls(write_vcf(tmp_path / "a.bcf", SAMPLES, ROWS), Choice())
    second = BcfCalls(write_vcf(tmp_path / "b.bcf", SAMPLES, ROWS[:4]), Choice())

    class Swept(MemoryStore):
        """One that loses what is not named when it is listed for the third time."""

        lists = 0

        def list(self, *prefix):
            self.lists += 1
            if self.lists == 3:  # the same panel came again, and took those of the new one for leftovers
                self.delete(*(key for key in super().list() if key.startswith("blocks/") and key not in kept))
            return super().list(*prefix)

    store = Swept()
    import_panel(first, store)
    kept, before = set(store.list()), store.get(spec.MANIFEST_KEY)
    store.lists = 1
    with pytest.raises(InputError, match="written by another import"):
        import_panel(second, store, replaces=before)
    assert store.get(spec.MANIFEST_KEY) == before
    assert variants_of(opened(store)) == variants_of_text(vcf_text(SAMPLES, ROWS))


def test_the_command_has_examples_and_a_line_at_its_end(tmp_path):
    assert "bams3 ld-import cohort.bcf cohort.ldp" in run("ld-import", "--help").out
    done = run_apart("ld-import", write_vcf(tmp_path / "a.bcf", SAMPLES, ROWS[:1]), tmp_path / "a.ldp")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("1 variant of 5 samples (1 phased); 0.0 MB in 1 block, ")


# ---- S3 ----


@pytest.mark.engine
@pytest.mark.parametrize("kind", [*KINDS, ".bed"])
def test_an_import_from_s3_to_s3_is_the_local_one(tmp_path, s3_bucket, kind):
    if kind == ".bed":
        plink_set(tmp_path / "a", ["1 rs1 0 100 G A"], [CODES])
    else:
        write_vcf(tmp_path / f"a{kind}", SAMPLES, ROWS)
    imported(tmp_path / f"a{kind}", tmp_path / "a.ldp")
    for path in tmp_path.glob("a.*"):
        if path.is_file():
            s3_bucket.put(f"in/{path.name}", path.read_bytes())
    done = run("ld-import", "--quiet", s3_bucket.address(f"in/a{kind}"), s3_bucket.address("out/a.ldp"))
    assert done.kind == "", done.err
    assert s3_bucket.objects("out/a.ldp") == objects(tmp_path / "a.ldp")
    assert variants_of(open_panel(s3_bucket.address("out/a.ldp"))) == variants_of(tmp_path / "a.ldp")
    again = run("ld-import", "--quiet", s3_bucket.address(f"in/a{kind}"), s3_bucket.address("out/a.ldp"))
    assert again.kind == "output-exists"


@pytest.mark.engine
def test_a_set_of_files_in_s3_that_is_not_whole_is_named(tmp_path, s3_bucket):
    s3_bucket.put("in/a.bed", b"")
    kind, words = import_kind(s3_bucket.address("in/a.bed"), tmp_path / "a.ldp")
    assert kind == "no-such-file"
    assert s3_bucket.address("in/a.bim") in words


# ---- damage ----


def test_damaged_bytes_in_sound_blocks_are_refused_or_read(tmp_path):
    """Bytes of a BCF that lie inside BGZF blocks with right checksums: never an error of another kind."""
    with pysam.BGZFile(str(write_vcf(tmp_path / "a.bcf", SAMPLES, ROWS))) as file:
        data = file.read()
    chance, path, kinds = random.Random(7), tmp_path / "b.bcf", set()
    records = 9 + int.from_bytes(data[5:9], "little")
    for k in range(600):
        start = 0 if k % 3 else records
        path.write_bytes(compress_blocks(data[:start] + damage(data[start:], chance), 1) + BGZF_EOF)
        if not is_bcf(path):
            continue
        try:
            import_panel(BcfCalls(path, Choice()), store := MemoryStore())
            variants_of(opened(store))
        except Bams3Error as err:
            kinds.add(err.kind)
    assert kinds <= {
        *("bad-vcf", "bad-genotype", "truncated-file", "no-samples", "unsorted", "no-variants", "polyploid"),
        *(
            "doubled-sample",
            "not-a-panel",
        ),
    }
    assert "bad-vcf" in kinds
