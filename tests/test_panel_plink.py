"""Panels of PLINK 1, and the tables of plates."""

import random
import shutil
import subprocess

import pytest
from panels import CHR22, populations, tables_of, write_plink
from test_panel import kind_of

from bams3.errors import CorruptDataError, InputError
from bams3.panel import AA, AB, BB, MISSING, PlinkPanel, Site, VcfPanel, plate_counts, read_plates
from bams3.slices import Slice

PEOPLE = [("f1", "i1"), ("f1", "i2"), ("f2", "i3"), ("f3", "i4"), ("f3", "i5")]
SITES = ["1 rs1 0 100 G A", "1 . 0 101 T C", "23 rs3 0.5 0 0 AT"]
CODES = [[AA, AB, BB, MISSING, AA], [BB] * 5, [MISSING, AA, AA, AA, AB]]
EDGE = "conf/bed-reader"


@pytest.fixture
def small(tmp_path):
    """A prefix of three variants of five samples."""
    return write_plink(tmp_path / "small.v1", PEOPLE, SITES, CODES)


def beside(prefix, end):
    return prefix.with_name(prefix.name + end)


def test_a_fileset_is_read_with_allele_2_as_reference(small):
    panel = PlinkPanel(small)
    (block,) = panel.blocks()
    assert panel.samples == ("i1", "i2", "i3", "i4", "i5")
    assert block.sites == [
        Site("1", 99, "rs1", "A", "G"),
        Site("1", 100, "1_101_C_T", "C", "T"),
        Site("23", -1, "rs3", "AT", "0"),
    ]
    assert block.codes.tolist() == CODES


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5, 8, 9, 33])
@pytest.mark.parametrize("n", [1, 3, 50])
def test_any_number_of_samples_and_slices_is_read(tmp_path, monkeypatch, samples, n):
    monkeypatch.setattr("bams3.panel.blocks._BLOCK_CODES", samples * 4)
    chance = random.Random(samples)
    codes = [chance.choices([AA, AB, BB, MISSING], k=samples) for _ in range(30)]
    people = [("f", f"i{k}") for k in range(samples)]
    panel = PlinkPanel(write_plink(tmp_path / "a", people, [f"1 v{k} 0 {k} A C" for k in range(30)], codes))
    for i in range(1, n + 1):
        blocks = list(panel.blocks(Slice(i, n)))
        assert [row for block in blocks for row in block.codes.tolist()] == codes[i - 1 :: n]
        assert [s.id for block in blocks for s in block.sites] == [f"v{k}" for k in range(i - 1, 30, n)]
        assert all(len(block.sites) <= 4 for block in blocks)


def test_doubled_iids_are_named_with_their_families(tmp_path):
    notes = []
    prefix = write_plink(tmp_path / "a", [("f1", "i"), ("f2", "i"), ("f2", "j")], SITES[:1], [[AA, AB, BB]])
    panel = PlinkPanel(prefix, on_note=notes.append)
    assert panel.samples == ("f1_i", "f2_i", "f2_j")
    assert "lines 1 and 2 (i) have one IID, so samples are named FID_IID, such as f1_i" in notes[0]
    with pytest.raises(InputError) as caught:
        plate_counts(panel, {"i": "p", "j": "q"})
    assert caught.value.kind == "no-samples-in-common"
    assert "f1_i, f2_i, f2_j" in caught.value.hint


def test_one_person_twice_is_an_error(tmp_path):
    prefix = write_plink(tmp_path / "a", [("f1", "i"), ("f1", "i")], SITES[:1], [[AA, AB]])
    with pytest.raises(InputError, match=r"lines 1 and 2 \(f1_i\) are one sample") as caught:
        PlinkPanel(prefix)
    assert caught.value.kind == "doubled-sample"


def test_an_id_that_comes_twice_is_named_with_both_places(tmp_path):
    sites = ["1 a 0 5 G A", "1 b 0 6 G A", "2 a 0 7 G A"]
    panel = PlinkPanel(write_plink(tmp_path / "a", [("f", "i")], sites, [[AA]] * 3))
    message = r"a.bim: a is the id of two variants, variant 1 \(1:5 A>G\) and variant 3 \(2:7 A>G\)"
    for i in (1, 2, 3):
        with pytest.raises(InputError, match=message):
            list(panel.blocks(Slice(i, 3), unique=True))


# ---- files that are wrong ----


@pytest.mark.parametrize("end", [".bed", ".bim", ".fam"])
def test_a_missing_file_is_named(small, end):
    beside(small, end).unlink()
    with pytest.raises(InputError, match=f"small.v1{end}: no such file"):
        PlinkPanel(small)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "not-a-panel"),
        (b"This is no bed", "not-a-panel"),
        (b"\x6c\x1b\x00" + bytes(6), "not-a-panel"),
        (b"\x6c\x1b\x30" + bytes(6), "not-a-panel"),
        (b"\x6c\x1b", "bad-size"),
        (b"\x6c\x1b\x01", "bad-size"),
        (b"\x6c\x1b\x01" + bytes(5), "bad-size"),
        (b"\x6c\x1b\x01" + bytes(7), "bad-size"),
    ],
)
def test_a_bed_that_is_none_or_has_another_size_is_refused(small, data, kind):
    beside(small, ".bed").write_bytes(data)
    assert kind_of(lambda: PlinkPanel(small)) == kind


@pytest.mark.parametrize(
    ("end", "text", "kind"),
    [
        (".fam", "", "no-samples"),
        (".fam", "f i 0 0\n", "bad-fam"),
        (".fam", b"\xff\xfe\x00", "bad-fam"),
        (".bim", "", "no-variants"),
        (".bim", "1 a 0 1 A C\n1 b 0 2 A C\n1 c 3 A C\n", "bad-bim"),
        (".bim", "1 a 0 1 A C\n1 b 0 2.5 A C\n1 c 0 3 A C\n", "bad-bim"),
        (".bim", "1 a 0 1 A C\n1 b 0 -2 A C\n1 c 0 3 A C\n", "bad-bim"),
        (".bim", b"1 a 0 1 A C\n\xff\n", "bad-bim"),
    ],
)
def test_a_bad_bim_or_fam_is_refused(small, end, text, kind):
    beside(small, end).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert kind_of(lambda: list(PlinkPanel(small).blocks())) == kind


def test_a_bed_that_shrinks_while_it_is_read_is_an_error(small):
    panel = PlinkPanel(small)
    beside(small, ".bed").write_bytes(beside(small, ".bed").read_bytes()[:-1])
    with pytest.raises(CorruptDataError, match="became shorter"):
        list(panel.blocks())


@pytest.mark.parametrize(
    ("bed", "bim", "fam", "kind"),
    [
        ("badfile.bed", "small.bim", "small.fam", "not-a-panel"),
        ("smallmode0.bed", "smallmode0.bim", "smallmode0.fam", "not-a-panel"),
        ("smallmodebad.bed", "small.bim", "small.fam", "not-a-panel"),
        ("small_too_short.bed", "small.bim", "small.fam", "bad-size"),
        ("small.bed", "small.bad_bim", "small.fam", "bad-bim"),
        ("small.bed", "small.bim_bad_positions.bim", "small.fam", "bad-bim"),
        ("sparse.bed", "some_missing.bim", "sparse.fam", "bad-size"),
    ],
)
def test_the_edge_cases_of_bed_reader_are_refused(shared_data, tmp_path, bed, bim, fam, kind):
    for name, end in ((bed, ".bed"), (bim, ".bim"), (fam, ".fam")):
        shutil.copyfile(shared_data / EDGE / name, tmp_path / f"a{end}")
    assert kind_of(lambda: list(PlinkPanel(tmp_path / "a").blocks())) == kind


# ---- other people's tools ----


def plink(*arguments):
    subprocess.run(["plink1.9", "--allow-no-sex", *map(str, arguments)], check=True, capture_output=True)


def counts_of_plink(prefix, tmp_path, keep, names):
    """AA, AB, BB, NC by PLINK's id, of some samples; A1 is kept as it is."""
    keep_file = tmp_path / "keep.txt"
    keep_file.write_text("".join(line for line in keep))
    plink(
        "--bfile", prefix, "--keep-allele-order", "--keep", keep_file, "--freqx", "--out", tmp_path / "freq"
    )
    found = {}
    for line in (tmp_path / "freq.frqx").read_text().splitlines()[1:]:
        _, name, _, _, hom1, het, hom2, hap1, hap2, missing = line.split("\t")
        found[names(name)] = (int(hom2) + int(hap2), int(het), int(hom1) + int(hap1), int(missing))
    return found


@pytest.mark.engine
@pytest.mark.parametrize("name", ["geno/hapmap3_flashpca", f"{EDGE}/some_missing"])
def test_plink_counts_the_same(shared_data, tmp_path, name):
    prefix = shared_data / name
    people = beside(prefix, ".fam").read_text().splitlines()
    panel = PlinkPanel(prefix)
    plates = {sample: f"p{k % 3}" for k, sample in enumerate(panel.samples)}
    found = tables_of(plate_counts(panel, plates))
    for plate in ("p0", "p2"):
        keep = [
            " ".join(line.split()[:2]) + "\n"
            for sample, line in zip(panel.samples, people, strict=True)
            if plates[sample] == plate
        ]
        want = counts_of_plink(prefix, tmp_path, keep, str)
        assert {probeset: table[plate] for probeset, table in found.items()} == want


@pytest.mark.engine
def test_plink_makes_the_same_panel_of_a_vcf(shared_data, tmp_path):
    source, made = shared_data / CHR22, tmp_path / "chr22"
    plink("--vcf", source, "--biallelic-only", "strict", "--keep-allele-order", "--make-bed", "--out", made)
    pops = populations(shared_data)
    want = list(tables_of(plate_counts(VcfPanel(source), pops)).values())
    assert list(tables_of(plate_counts(PlinkPanel(made), pops)).values()) == want


# ---- tables of plates ----


@pytest.mark.parametrize(
    "text",
    [
        "s1\tp1\ns2\tp 2\n",
        "sample\tplate\ns1\tp1\ns2\tp 2\n",
        "Sample ID\tBatch name\r\ns1\tp1\r\n\r\ns2\tp 2",
        "# made by hand\nsample_id\tbatch_name\n#s9\tp9\ns1\tp1\n s2 \tp 2\t\ns1\tp1\n",
        "\ufeffIID\tlot\ns1\tp1\ns2\tp 2\n",
    ],
)
def test_plates_are_read_with_and_without_a_header(tmp_path, text):
    path = tmp_path / "plates.tsv"
    path.write_bytes(text.encode())
    assert read_plates(path) == {"s1": "p1", "s2": "p 2"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no samples"),
        ("sample\tplate\n", "names no samples"),
        ("s1 p1\n", "line 1: 1 column where there are 2"),
        ("s1\tp1\n\nf2\ts2\tp1\n", "line 3: 3 columns where there are 2"),
        ("s1\tp1\n\tp1\n", "line 2: an empty cell"),
        ("sample\tplate\ns1\tp1\ns2\tp1\ns1\tp2\n", "lines 2 and 4: s1 is on two plates, p1 and p2"),
        (b"\xff\xfe\n", "not a readable text file"),
    ],
)
def test_bad_plates_are_named_by_their_lines(tmp_path, text, words):
    path = tmp_path / "plates.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=words) as caught:
        read_plates(path)
    assert caught.value.kind == "bad-plates"


def test_plates_that_are_not_there_are_named(tmp_path):
    assert kind_of(lambda: read_plates(tmp_path / "no.tsv")) == "no-such-file"
