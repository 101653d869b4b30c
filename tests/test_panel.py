"""Panels of genotypes in VCF and BCF: what a call is, what is left out, and files that are wrong."""

import gzip
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panels import tables_of, tables_of_text, vcf_text, write_vcf
from real_data import data_folder

from bams3.errors import Bams3Error, CorruptDataError, InputError
from bams3.panel import AA, AB, BB, MISSING, Site, VcfPanel, blocks, plate_counts
from bams3.panel.blocks import UniqueIds
from bams3.slices import Slice

KINDS = [".vcf", ".vcf.gz", ".bcf"]
SUITE = sorted((data_folder() / "conf").rglob("*.vcf"))

SAMPLES = "s0 s1 s2 s3 s4".split()


def codes_in(path):
    """The codes of a panel as a list of lists."""
    return [row for block in VcfPanel(path).blocks() for row in block.codes.tolist()]


def kind_of(work):
    with pytest.raises(Bams3Error) as caught:
        work()
    return caught.value.kind


def read_all(path):
    return list(VcfPanel(path).blocks(unique=True))


# ---- what a call is ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("calls", "codes"),
    [
        ("0/0 0|0 0/1 1|0 1/1", [AA, AA, AB, AB, BB]),
        ("./. .|. . 0/. ./1", [MISSING] * 5),
        ("0 1 . 0 1", [AA, BB, MISSING, AA, BB]),
        ("0 1 0/1 ./. 1|1", [AA, BB, AB, MISSING, BB]),
        ("0/0/0 0/0/1 1/1/1 0/./1 0/1", [AA, AB, BB, MISSING, AB]),
    ],
    ids=["diploid", "missing", "haploid", "mixed", "triploid"],
)
def test_a_call_has_one_code(tmp_path, kind, calls, codes):
    path = write_vcf(tmp_path / f"a{kind}", SAMPLES, [f"1 10 rs1 A G {calls}"])
    assert codes_in(path) == [codes]


@pytest.mark.parametrize("kind", KINDS)
def test_sites_are_told_with_their_places(tmp_path, kind):
    rows = ["1 10 rs1 A G 0/1", "1 11 . AC A 0/1", "X 12 . A <DEL> 1", "X 13 . A * 0", "X 14 . T . 0"]
    (block,) = read_all(write_vcf(tmp_path / f"a{kind}", ["s"], rows))
    assert block.sites == [
        Site("1", 9, "rs1", "A", "G"),
        Site("1", 10, "1_11_AC_A", "AC", "A"),
        Site("X", 11, "X_12_A_<DEL>", "A", "<DEL>"),
        Site("X", 12, "X_13_A_*", "A", "*"),
        Site("X", 13, "X_14_T_.", "T", "."),
    ]
    assert block.codes.dtype == np.uint8
    assert block.codes.tolist() == [[AB], [AB], [BB], [AA], [AA]]


def test_records_with_several_alternates_are_left_out_and_noted(tmp_path):
    notes = []
    path = write_vcf(tmp_path / "a.vcf", ["s"], ["1 10 a A G 0/1", "1 11 b A G,T 1/2", "1 12 c A G 1/1"])
    found = [site.id for block in VcfPanel(path, on_note=notes.append).blocks() for site in block.sites]
    assert found == ["a", "c"]
    assert len(notes) == 1
    assert "1 records with several alternate alleles are left out; bcftools norm -m" in notes[0]


def test_everybody_is_missing_in_a_record_without_genotypes(tmp_path):
    path, notes = tmp_path / "a.vcf", []
    row = "\t".join("1 10 a A G . . . DP 3 4".split())
    path.write_text(vcf_text(["s0", "s1"], ["1 9 b A G 0/1 1/1"]) + row + "\n")
    (block,) = VcfPanel(path, on_note=notes.append).blocks()
    assert block.codes.tolist() == [[AB, BB], [MISSING, MISSING]]
    assert "1 records have no GT" in notes[0]


def random_rows(number, samples, seed):
    """Rows of every sort of genotype."""
    chance = random.Random(seed)
    alleles = ["0", "0", "1", "."]
    for k in range(number):
        calls = [
            chance.choice("/|").join(chance.choices(alleles, k=chance.choices([1, 2, 3], [2, 9, 1])[0]))
            for _ in range(samples)
        ]
        alt = chance.choice(["G", "G", "G", "<DUP>", "G,T"])
        yield f"{chance.choice('1X')} {k + 1} {chance.choice(['.', f'rs{k}'])} A {alt} {' '.join(calls)}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 7, 64])
def test_counts_are_those_of_the_text_call_by_call(tmp_path, kind, samples):
    names = [f"s{k}" for k in range(samples)]
    rows = list(random_rows(60, samples, seed=samples))
    plates = {name: f"p{k % 5}" for k, name in enumerate(names) if k % 6 != 4}
    path = write_vcf(tmp_path / f"a{kind}", names, rows)
    want = tables_of_text(vcf_text(names, rows), plates)
    assert tables_of(plate_counts(VcfPanel(path), plates)) == want


@pytest.mark.parametrize("block_codes", [1, 70, 1000])
def test_the_size_of_blocks_changes_nothing(tmp_path, monkeypatch, block_codes):
    path = write_vcf(tmp_path / "a.vcf", SAMPLES, random_rows(50, 5, seed=1))
    plates = dict(zip(SAMPLES, "aabbc", strict=True))
    want = tables_of(plate_counts(VcfPanel(path), plates))
    monkeypatch.setattr(blocks, "_BLOCK_CODES", block_codes)
    assert tables_of(plate_counts(VcfPanel(path), plates)) == want


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_slices_take_turns_and_miss_nothing(tmp_path, n):
    path = write_vcf(tmp_path / "a.bcf", SAMPLES, random_rows(50, 5, seed=2))
    plates = dict.fromkeys(SAMPLES, "p")
    whole = list(tables_of(plate_counts(VcfPanel(path), plates)).items())
    for i in range(1, n + 1):
        own = tables_of(plate_counts(VcfPanel(path), plates, which=Slice(i, n)))
        assert list(own.items()) == whole[i - 1 :: n]


@pytest.mark.parametrize("path", SUITE, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_file_of_the_suites_is_counted_right_or_refused(path):
    """Files that must fail are read leniently by htslib here and there; what is counted must be right."""
    read, kind = counted(path)
    wrong = "bad-genotype bad-vcf not-a-panel truncated-file".split()
    assert kind in ("", "doubled-probeset", "no-samples", "no-variants", *wrong)
    if path.parent.name == "passed" and path.read_bytes().endswith(b"\n"):
        assert kind not in wrong
        text = path.read_text(encoding="utf-8")
        assert kind or read == tables_of_text(text, dict.fromkeys(VcfPanel(path).samples, "p"))


def counted(path):
    """The tables of a panel, all samples on one plate, or the kind of the error."""
    try:
        panel = VcfPanel(path)
        return tables_of(plate_counts(panel, dict.fromkeys(panel.samples, "p"))), ""
    except (InputError, CorruptDataError) as err:
        return {}, err.kind


# ---- ids ----


def test_an_id_that_comes_twice_is_named_with_both_places(tmp_path):
    path = write_vcf(tmp_path / "a.vcf", ["s"], ["1 10 rs1 A G 0", "1 11 rs2 A G,T 0", "X 12 rs1 C T 0"])
    with pytest.raises(InputError, match="rs1 is the id of two variants, 1:10 A>G and X:12 C>T") as caught:
        list(plate_counts(VcfPanel(path), {"s": "p"}))
    assert caught.value.kind == "doubled-probeset"
    assert "bcftools annotate --set-id" in caught.value.hint


@pytest.mark.parametrize("i", [1, 2, 3])
def test_every_slice_sees_an_id_that_comes_twice(tmp_path, i):
    rows = ["1 10 rs1 A G 0", "1 11 rs2 A C 0", "X 12 rs3 C T 0", "X 13 rs2 C T 0"]
    panel = VcfPanel(write_vcf(tmp_path / "a.vcf", ["s"], rows))
    assert kind_of(lambda: list(panel.blocks(Slice(i, 3), unique=True))) == "doubled-probeset"
    assert len(list(panel.blocks(Slice(i, 3)))) == 1


@given(st.lists(st.integers(0, 400), max_size=300), st.integers(1, 40))
def test_the_second_of_an_id_is_found_however_far_apart(numbers, at_once):
    def find(number):
        return Site("1", number, str(numbers[number]), "A", "C"), f"line {number}"

    ids = UniqueIds("x.vcf", find, "")
    try:
        for k, number in enumerate(numbers):
            ids.add(str(number))
            if k % at_once == 0:
                ids.check()
        ids.check()
    except InputError as err:
        places = re.fullmatch(r"x.vcf: (\d+) is the id of two variants, line (\d+) and line (\d+)", str(err))
        name, first, second = map(int, places.groups())
        assert first < second
        assert numbers[first] == numbers[second] == name
    else:
        assert len(set(numbers)) == len(numbers)


def test_equal_hashes_of_other_ids_are_no_twins():
    class Same(str):
        __slots__ = ()

        def __hash__(self):
            return 1

    names = [Same("a"), Same("b"), Same("c")]
    ids = UniqueIds("x.vcf", lambda k: (Site("1", k, names[k], "A", "C"), ""), "")
    for name in names:
        ids.add(name)
        ids.check()


# ---- samples and plates ----


def small_panel(tmp_path):
    return VcfPanel(write_vcf(tmp_path / "a.vcf", SAMPLES, ["1 10 rs1 A G 0/0 0/1 1/1 ./. 1/1"]))


def test_samples_on_one_side_only_are_noted(tmp_path):
    notes = []
    plates = {"s4": "b", "s0": "a", "x1": "a", "x2": "c"}
    found = tables_of(plate_counts(small_panel(tmp_path), plates, on_note=notes.append))
    assert found == {"rs1": {"a": (1, 0, 0, 0), "b": (0, 0, 1, 0)}}
    assert notes == [
        "3 samples of the panel on no plate, left out: s1, s2, s3",
        "2 samples of the plates not in the panel: x1, x2",
    ]


def test_no_samples_in_common_is_an_error_that_shows_both_sides_names(tmp_path):
    with pytest.raises(InputError) as caught:
        plate_counts(small_panel(tmp_path), {"F_s0": "a", "F_s1": "b"})
    assert caught.value.kind == "no-samples-in-common"
    assert "s0, s1, s2, ..." in caught.value.hint
    assert "F_s0, F_s1" in caught.value.hint


def test_plates_are_in_the_order_of_their_bytes(tmp_path):
    plates = dict(zip(SAMPLES, ["p10", "é", "p2", "Z", "\U0001f600"], strict=True))
    (block,) = plate_counts(small_panel(tmp_path), plates)
    assert block.batches == ["Z", "p10", "p2", "é", "\U0001f600"]
    assert block.counts.argmax(axis=1).tolist() == [3, 0, 2, 1, 2]


# ---- files that are wrong ----


@pytest.fixture(scope="module", params=KINDS)
def long_file(request, tmp_path_factory):
    """A panel of several BGZF blocks."""
    names = [f"s{k}" for k in range(500)]
    path = tmp_path_factory.mktemp("long") / f"long{request.param}"
    rows = list(random_rows(400, 500, seed=3))
    return write_vcf(path, names, [row for row in rows if "G,T" not in row])


def bgzf_starts(data):
    at, starts = 0, []
    while at < len(data):
        starts.append(at)
        at += int.from_bytes(data[at + 16 : at + 18], "little") + 1
    return starts


def test_a_file_cut_anywhere_is_an_error(long_file, tmp_path):
    data = long_file.read_bytes()
    cuts = [*range(1, len(data), len(data) // 40), len(data) - 1, len(data) - 2, len(data) - 10]
    if long_file.suffix != ".vcf":
        cuts += bgzf_starts(data)[1:]  # the last one cuts the end marker off
    for cut in cuts:
        path = tmp_path / f"cut{long_file.suffix}"
        path.write_bytes(data[:cut])
        assert kind_of(lambda path=path: read_all(path)) in ("truncated-file", "bad-vcf", "not-a-panel"), cut


def test_a_damaged_block_is_an_error(long_file, tmp_path):
    if long_file.suffix == ".vcf":
        return
    data = long_file.read_bytes()
    starts = bgzf_starts(data)
    assert len(starts) > 5
    damaged = bytearray(data)
    damaged[starts[3] + 100] ^= 0xFF
    (tmp_path / "a").write_bytes(damaged)
    assert kind_of(lambda: read_all(tmp_path / "a")) == "bad-vcf"


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.9999])
def test_plain_gzip_that_is_cut_is_an_error(tmp_path, kept):
    names = [f"s{k}" for k in range(500)]
    data = gzip.compress(vcf_text(names, random_rows(400, 500, seed=3)).encode())
    path = tmp_path / "a.vcf.gz"
    path.write_bytes(data)
    assert read_all(path)
    path.write_bytes(data[: int(len(data) * kept)])
    assert kind_of(lambda: read_all(path)) in ("bad-vcf", "not-a-panel")


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (["1 10 a A G 0/2 0/0"], "bad-genotype"),
        (["1 10 a A G 0/x 0/0"], "bad-vcf"),
        (["1 10 a A G 0/1"], "bad-vcf"),
        (["1 ten a A G 0/1 0/0"], "bad-vcf"),
        ([], "no-variants"),
        (["1 10 a A G,T 0/1 0/0"], "no-variants"),
    ],
)
def test_a_record_that_is_wrong_is_an_error(tmp_path, rows, kind):
    path = tmp_path / "a.vcf"
    path.write_text(vcf_text(["s0", "s1"], ["1 9 b A C 0/1 1/1"] * (kind.startswith("bad")) + rows))
    assert kind_of(lambda: read_all(path)) == kind


@pytest.mark.parametrize("bad", ["2 x d A C 0/1", "2 13 d A C 0/x", "2 13 d A C"])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_bad_record_of_a_contig_that_the_header_lacks_is_no_crash(tmp_path, bad, before, capfd):
    path = tmp_path / "a.vcf"
    path.write_text(vcf_text(["s0"], [f"{3 + k} 9 b{k} A C 0/1" for k in range(before)] + [bad]))
    assert kind_of(lambda: read_all(path)) == "bad-vcf"
    path.write_text(vcf_text(["s0"], [f"{3 + k} 9 b{k} A C 0/1" for k in range(before)] + ["2 9 d A C 1/1"]))
    assert codes_in(path) == [[AB]] * before + [[BB]]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"\tx\n",
        b"word\n",
        b"\xff\t1\ta\tA\tC\n",
    ],
)
def test_a_line_that_is_no_record_is_no_crash(tmp_path, line, packed):
    text = vcf_text(["s0"], ["1 9 b A C 0/1"]).encode() + line + b"1\t19\tc\tA\tC\t.\t.\t.\tGT\t0\n"
    path = tmp_path / "a.vcf"
    path.write_bytes(gzip.compress(text) if packed else text)
    with pytest.raises(CorruptDataError, match="cannot read record 2, after 1:9") as caught:
        read_all(path)
    assert caught.value.kind == "bad-vcf"


def test_a_bad_record_is_named_by_its_number_and_the_place_before(tmp_path):
    path = tmp_path / "a.vcf"
    path.write_text(vcf_text(["s0"], ["1 9 b A C 0/1", "1 12 c A C 0/1", "1 x d A C 0/1"]))
    with pytest.raises(CorruptDataError, match="cannot read record 3, after 1:12"):
        read_all(path)


def test_what_is_no_panel_is_refused(tmp_path, capfd):
    path = tmp_path / "a.vcf"
    assert kind_of(lambda: VcfPanel(path)) == "no-such-file"
    assert kind_of(lambda: VcfPanel(tmp_path)) == "not-a-file"
    for data in (
        b"",
        b"hello\n",
        bytes(100),
        b"BCF\2\2",
        b"\x1f\x8b\x08\x00" + bytes(50),
        b"BAM\1" + bytes(20),
    ):
        path.write_bytes(data)
        assert kind_of(lambda: VcfPanel(path)) == "not-a-panel", data
    path.write_text(vcf_text(["s", "s"], ["1 10 a A G 0/1 0/0"]))
    assert kind_of(lambda: VcfPanel(path)) == "not-a-panel"
    path.write_text(vcf_text([], ["1 10 a A G"]))
    assert kind_of(lambda: VcfPanel(path)) == "no-samples"
    assert capfd.readouterr().err == ""  # htslib's own words stay away
